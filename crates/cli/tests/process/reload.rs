//! The configuration read again by the real program: for a signal, for an operator, and for a service manager that listens.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Client, PATIENCE, Program, drawgate, echo, eventually};

const MORE: &str = "tokens.operator = { file = \"admin.token\", scopes = [\"operate\"] }";

fn start() -> Program {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    fs::write(folder.path().join("admin.token"), "the-operators-token-of-a-test-77b0c2d4").unwrap();
    Program::start_in(folder, &echo("message_bytes_max = \"1KiB\"", MORE))
}

fn rewrite(program: &Program, change: impl Fn(&str) -> String) {
    let file = program.path("drawgate.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, change(&text)).unwrap();
}

fn count(program: &Program, message: &str) -> usize {
    program.records().iter().filter(|record| record["message"] == message).count()
}

fn hang_up(program: &Program, message: &str) {
    let before = count(program, message);
    program.signal(Signal::HUP);
    eventually(|| count(program, message) > before, || program.log());
}

const RELOADED: &str = "configuration reloaded";
const REFUSED: &str = "configuration not reloaded, the old one stays in force";

#[test]
fn o01_o03_sighup_puts_a_good_file_in_force_and_leaves_everything_at_a_bad_one() {
    let program = start();
    let mut old = program.open();
    old.echo(b"before");
    rewrite(&program, |text| text.replace("\"1KiB\"", "\"2 kibibytes\"").replace("\"any\"", "\"anybody\""));
    hang_up(&program, REFUSED);
    let problems = program.records();
    let problems: Vec<_> =
        problems.iter().filter(|record| record["message"] == "configuration problem").collect();
    assert_eq!(problems.len(), 2, "{}", program.log());
    for key in ["routes.echo.origins", "routes.echo.limits.message_bytes_max"] {
        assert!(
            problems.iter().any(|record| record["problem"].as_str().unwrap().contains(key)),
            "{problems:?}"
        );
    }
    program.open().echo(b"as before");
    rewrite(&program, |text| text.replace("\"2 kibibytes\"", "\"2KiB\"").replace("\"anybody\"", "\"any\""));
    hang_up(&program, RELOADED);
    let mut new = program.open();
    new.echo(&[0x61; 1500]);
    old.echo(b"still here");
    old.send_frame(0x82, &[0; 1500]);
    assert_eq!(old.read_close(), 1009);
}

#[test]
fn an_operator_reloads_from_a_shell_and_is_told_what_has_changed_or_what_is_wrong() {
    let program = start();
    let ask = || {
        let mut command = drawgate();
        command.args(["reload", "--admin", &format!("http://{}", program.admin), "--token-file"]);
        command.arg(program.path("admin.token"));
        command.stdin(Stdio::null()).output().unwrap()
    };
    rewrite(&program, |text| text.replace("1KiB", "3KiB") + "\n[server]\nworkers = 7\n");
    let output = ask();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}");
    for line in ["is in force", "changed routes: echo", "needs a restart: server.workers"] {
        assert!(told.contains(line), "{told}");
    }
    rewrite(&program, |text| text.replace("3KiB", "3QiB").replace("workers = 7", "wrokers = 7"));
    let output = ask();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    for line in ["refused with status 422", "message_bytes_max = \"3QiB\"", "wrokers"] {
        assert!(told.contains(line), "{told}");
    }
    // Who names the file hears it from the file itself.
    let output = drawgate().args(["reload", "--config"]).arg(program.path("drawgate.toml")).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("wrokers"), "{output:?}");
    program.open().echo(&[0x61; 2500]);
}

#[test]
fn a_manager_hears_that_the_configuration_is_read_and_that_all_is_ready_again() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = drawgate();
    command.stdin(Stdio::null()).stdout(Stdio::null()).env("NOTIFY_SOCKET", &path);
    let program = Program::start_by(command, folder, &echo("", ""));
    let hear = || {
        let mut bytes = [0; 1024];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    let hear_until = |start: &str| {
        let until = Instant::now() + PATIENCE;
        loop {
            let state = hear();
            if state.starts_with(start) {
                return state;
            }
            assert!(Instant::now() < until, "{state}");
        }
    };
    assert!(hear().starts_with("READY=1\n"));
    let patient = echo("", "[server]\ndrain_timeout = \"7s\"");
    for (text, is_refused) in [(patient, false), ("nonsense".to_owned(), true)] {
        fs::write(program.path("drawgate.toml"), text).unwrap();
        program.signal(Signal::HUP);
        let reloading = hear_until("RELOADING=1\nMONOTONIC_USEC=");
        let microseconds = reloading.lines().nth(1).unwrap().trim_start_matches("MONOTONIC_USEC=");
        assert!(microseconds.parse::<u64>().unwrap() > 0, "{reloading}");
        let ready = hear_until("READY=1\n");
        assert_eq!(ready.contains("refused"), is_refused, "{ready}");
    }
    // What is in force also says how long the end may take.
    program.signal(Signal::TERM);
    assert!(hear_until("STOPPING=1\n").contains("EXTEND_TIMEOUT_USEC=12000000"));
}

#[test]
fn o02_reloads_leave_no_descriptor_no_thread_and_no_memory_behind() {
    let program = start();
    let mut client = program.open();
    let side = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plain = echo("message_bytes_max = \"1KiB\"", MORE);
    let other = format!("{plain}\n[listeners.side]\naddress = \"{side}\"\ntls = \"none\"\n")
        .replace("listeners = [\"main\"]", "listeners = [\"main\", \"side\"]")
        .replace("1KiB", "2KiB");
    let rounds = |count: usize| {
        for _ in 0..count {
            for text in [&other, &plain] {
                fs::write(program.path("drawgate.toml"), text).unwrap();
                hang_up(&program, RELOADED);
            }
            let mut come = Client::connect(program.address);
            come.upgrade();
            come.echo(b"come and gone");
            come.close();
        }
    };
    rounds(10);
    client.echo(b"warm");
    let measured = |what: &str| settled(|| program.measure(what));
    let before = [measured("fd"), measured("task")];
    let memory_before = program.resident_bytes();
    rounds(60);
    client.echo(b"still here");
    assert_eq!([measured("fd"), measured("task")], before);
    // 120 plans: were each kept, tables of a MiB and all that is read would be. The log grows by nothing that is kept.
    let grown = program.resident_bytes().saturating_sub(memory_before);
    assert!(grown < 6 * 1024 * 1024, "{grown} bytes more");
}

/// What `measure` measures once it has not changed for a while.
fn settled(measure: impl Fn() -> usize) -> usize {
    let until = Instant::now() + PATIENCE;
    let (mut last, mut since) = (measure(), Instant::now());
    while since.elapsed() < Duration::from_millis(200) {
        assert!(Instant::now() < until, "{last} has not settled");
        std::thread::sleep(Duration::from_millis(10));
        let next = measure();
        if next != last {
            (last, since) = (next, Instant::now());
        }
    }
    last
}

impl Program {
    /// How many entries the process has in this folder of /proc.
    fn measure(&self, folder: &str) -> usize {
        fs::read_dir(format!("/proc/{}/{folder}", self.id())).unwrap().count()
    }
}

#[test]
fn a_command_without_a_file_says_so_and_goes_on() {
    let mut child = drawgate()
        .args(["proxy", "--listen", "127.0.0.1:0", "--to", "ws://127.0.0.1:9"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let process = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let mut first = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut first)
        .unwrap();
    assert!(first.starts_with("Drawgate passes"), "{first}");
    rustix::process::kill_process(process, Signal::HUP).unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let told = lines.find(|line| line.as_ref().unwrap().contains("SIGHUP")).unwrap().unwrap();
    assert!(told.contains("without a configuration file"), "{told}");
    rustix::process::kill_process(process, Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}
