//! The program under a service manager: the sockets that it is handed, and what it tells. The manager is the test.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram, UnixListener};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Client, PATIENCE, Program, echo, echo_at, eventually};

/// The program as systemd would start it with these two sockets: descriptors 3 and 4, `LISTEN_PID` its own. It takes the place
/// of a shell, which has them as standard input and output.
fn activated(first: impl Into<OwnedFd>, second: impl Into<OwnedFd>, count: usize, names: &str) -> Command {
    let script = r#"exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_PID=${PRETENDED_PID:-$$}; export LISTEN_PID; exec "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_drawgate")]);
    command.stdin(Stdio::from(first.into())).stdout(Stdio::from(second.into()));
    command.env("LISTEN_FDS", count.to_string());
    if !names.is_empty() {
        command.env("LISTEN_FDNAMES", names);
    }
    command
}

fn socket() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

/// What the program says when it does not start with these sockets.
fn refusal(mut command: Command, config: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("drawgate.toml");
    fs::write(&file, config).unwrap();
    let output = command.args(["run", "--config"]).arg(&file).stderr(Stdio::piped()).spawn().unwrap();
    let output = output.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    stderr
}

fn inside(config: &str) -> String {
    format!("{config}\n[listeners.inside]\naddress = \"127.0.0.1:0\"\ntls = \"none\"\n")
        .replace(r#"listeners = ["main"]"#, r#"listeners = ["main", "inside"]"#)
}

/// A manager that hears.
struct Manager(UnixDatagram);

impl Manager {
    fn at(address: &UnixAddr) -> Self {
        let socket = UnixDatagram::bind_addr(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn hear(&self) -> String {
        let mut bytes = [0; 1024];
        let length = self.0.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// What it hears next that `is_it`.
    fn hear_until(&self, is_it: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let state = self.hear();
            if is_it(&state) {
                return state;
            }
            assert!(Instant::now() < until, "{state}");
        }
    }
}

fn told_at(notify_socket: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drawgate"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).env("NOTIFY_SOCKET", notify_socket);
    command
}

#[test]
fn sockets_that_are_handed_over_serve_by_their_names_and_others_are_opened() {
    let (main, inside_socket) = (socket(), socket());
    let addresses = [&inside_socket, &main].map(|socket| socket.local_addr().unwrap());
    // A client that came before the program waits in the socket, and is served.
    let mut early = Client::connect(addresses[1]);
    early.request_upgrade();
    let command = activated(inside_socket, main, 2, "inside:main");
    let config = inside(&echo("", ""));
    let mut program = Program::start_by(command, Arc::new(tempfile::tempdir().unwrap()), &config);
    assert_eq!([program.listening("inside"), program.address], addresses);
    assert!(early.read_head().starts_with("HTTP/1.1 101 "));
    early.echo(b"early");
    let mut client = Client::connect(addresses[0]);
    client.upgrade();
    client.echo(b"inside");

    let (main, spare) = (socket(), socket());
    let address = main.local_addr().unwrap();
    let command = activated(main, spare, 1, "main");
    let mut program = Program::start_by(command, Arc::new(tempfile::tempdir().unwrap()), &config);
    assert_eq!(program.address, address);
    let mut client = Client::connect(program.listening("inside"));
    client.upgrade();
    client.echo(b"its own");
}

#[test]
fn a_socket_that_was_handed_over_is_kept_when_the_configuration_is_read_again() {
    let given = socket();
    let address = given.local_addr().unwrap();
    let command = activated(given, UnixDatagram::unbound().unwrap(), 1, "main");
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let program = Program::start_by(command, folder, &echo("", ""));
    let mut client = program.open();
    // An address that nobody could listen at: the socket is used as it is.
    let elsewhere = echo("", "").replacen("127.0.0.1:0", "192.0.2.1:9", 1);
    fs::write(program.path("drawgate.toml"), elsewhere).unwrap();
    program.signal(Signal::HUP);
    let is_reloaded = |program: &Program| {
        program.records().iter().any(|record| record["message"] == "configuration reloaded")
    };
    eventually(|| is_reloaded(&program), || program.log());
    client.echo(b"as before");
    assert_eq!(program.address, address);
    program.open().echo(b"at the same socket");
}

#[test]
fn a_socket_outlives_the_program_so_that_a_restart_refuses_nobody() {
    let socket = socket();
    let address = socket.local_addr().unwrap();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let start = || {
        let spare = UnixDatagram::unbound().unwrap();
        // systemd gives a socket whose unit names no listener the name of the unit.
        let command = activated(socket.try_clone().unwrap(), spare, 1, "drawgate.socket");
        Program::start_by(command, Arc::clone(&folder), &echo("", ""))
    };
    let mut program = start();
    assert_eq!(program.address, address);
    program.signal(Signal::TERM);
    assert!(program.wait().success());
    let mut between = Client::connect(address);
    between.request_upgrade();
    let _program = start();
    assert!(between.read_head().starts_with("HTTP/1.1 101 "));
    between.echo(b"between");
}

#[test]
fn a_socket_that_is_not_where_the_configuration_says_is_used_and_told_of() {
    let (given, taken) = (socket(), socket());
    let (address, elsewhere) = (given.local_addr().unwrap(), taken.local_addr().unwrap().port());
    let command = activated(given, UnixDatagram::unbound().unwrap(), 1, "");
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let program = Program::start_by(command, folder, &echo_at(elsewhere, "", ""));
    assert_eq!(program.address, address);
    let warned = |program: &Program| {
        program.records().iter().any(|record| {
            record["level"] == "WARN"
                && record["address"] == address.to_string()
                && record["listener"] == "main"
        })
    };
    eventually(|| warned(&program), || program.log());
}

#[test]
fn sockets_that_fit_no_listener_are_told_with_the_names_of_both() {
    let config = inside(&echo("", ""));
    let web = refusal(activated(socket(), socket(), 2, "web:main"), &config);
    assert!(web.contains(r#"named "web""#) && web.contains("main, inside"), "{web}");
    let nameless = refusal(activated(socket(), socket(), 1, ""), &config);
    assert!(nameless.contains("without a name") && nameless.contains("main, inside"), "{nameless}");
    let twice = refusal(activated(socket(), socket(), 2, "main:main"), &config);
    assert!(twice.contains("two sockets named \"main\""), "{twice}");
    let few = refusal(activated(socket(), socket(), 2, "main"), &config);
    assert!(few.contains("2 sockets") && few.contains("LISTEN_FDNAMES"), "{few}");
}

#[test]
fn what_is_no_listening_tcp_socket_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let unix = UnixListener::bind(folder.path().join("socket")).unwrap();
    let told = refusal(activated(unix, socket(), 1, "main"), &echo("", ""));
    assert!(told.contains("no TCP socket"), "{told}");
    let client = std::net::TcpStream::connect(socket().local_addr().unwrap());
    let peer = socket();
    let client = client.or_else(|_| std::net::TcpStream::connect(peer.local_addr().unwrap())).unwrap();
    let told = refusal(activated(client, peer, 1, "main"), &echo("", ""));
    assert!(told.contains("listener main") && told.contains("does not listen"), "{told}");
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let given = socket();
    let address = given.local_addr().unwrap();
    let mut command = activated(given, UnixDatagram::unbound().unwrap(), 1, "web");
    command.env("PRETENDED_PID", "1");
    let program = Program::start_by(command, Arc::new(tempfile::tempdir().unwrap()), &echo("", ""));
    assert_ne!(program.address, address);
    program.open().echo(b"its own");
}

#[test]
fn a_manager_hears_readiness_connections_and_the_drain() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let path = folder.path().join("notify");
    let manager = Manager::at(&UnixAddr::from_pathname(&path).unwrap());
    let command = told_at(path.to_str().unwrap());
    let config = echo("", "[server]\ndrain_timeout = \"7s\"");
    let mut program = Program::start_by(command, Arc::clone(&folder), &config);
    assert_eq!(manager.hear(), "READY=1\nSTATUS=0 connections");
    let mut client = program.open();
    client.echo(b"ready");
    // Without WATCHDOG_USEC nothing else comes.
    manager.hear_until(|state| {
        assert!(state.starts_with("STATUS="), "{state}");
        state == "STATUS=1 connection"
    });
    program.signal(Signal::TERM);
    let last = manager.hear_until(|state| !state.starts_with("STATUS="));
    assert_eq!(last, "STOPPING=1\nEXTEND_TIMEOUT_USEC=12000000\nSTATUS=draining, 1 connection to end");
    assert_eq!(client.read_close(), 1012);
    client.send_frame(0x88, &1012_u16.to_be_bytes());
    assert!(program.wait().success());
}

#[test]
fn readiness_comes_when_every_listener_accepts_and_not_where_one_cannot() {
    let name = format!("drawgate-test-{}", std::process::id());
    let manager = Manager::at(&UnixAddr::from_abstract_name(&name).unwrap());
    let taken = socket();
    let config = echo_at(taken.local_addr().unwrap().port(), "", "");
    let told = refusal(told_at(&format!("@{name}")), &config);
    assert!(told.contains("another program has it"), "{told}");
    manager.0.set_nonblocking(true).unwrap();
    assert!(manager.0.recv(&mut [0; 64]).is_err(), "it was never ready");
    manager.0.set_nonblocking(false).unwrap();

    let free = socket();
    let address: SocketAddr = free.local_addr().unwrap();
    drop(free);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("drawgate.toml");
    fs::write(&file, echo_at(address.port(), "", "")).unwrap();
    let mut child = told_at(&format!("@{name}"))
        .args(["run", "--config"])
        .arg(&file)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ready = manager.hear();
    let client = std::net::TcpStream::connect(address);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(ready.starts_with("READY=1\n") && client.is_ok(), "{ready} {client:?}");
}

#[test]
fn o17_the_watchdog_hears_the_workers_and_nothing_of_a_process_that_stands_still() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let path = folder.path().join("notify");
    let manager = Manager::at(&UnixAddr::from_pathname(&path).unwrap());
    let mut command = told_at(path.to_str().unwrap());
    command.env("WATCHDOG_USEC", "200000");
    let program = Program::start_by(command, Arc::clone(&folder), &echo("", ""));
    assert!(manager.hear().starts_with("READY=1\n"));
    let is_life = |state: &str| state == "WATCHDOG=1";
    manager.hear_until(is_life);
    let begun = Instant::now();
    for _ in 0..5 {
        manager.hear_until(is_life);
    }
    assert!(begun.elapsed() > Duration::from_millis(250), "every 100 ms: {:?}", begun.elapsed());
    program.signal(Signal::STOP);
    manager.0.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let heard = std::iter::from_fn(|| manager.0.recv(&mut [0; 64]).ok()).count();
    assert!(heard <= 2, "{heard}");
    program.signal(Signal::CONT);
    manager.0.set_read_timeout(Some(PATIENCE)).unwrap();
    manager.hear_until(is_life);
    program.open().echo(b"goes on");
}

#[test]
fn a_manager_that_is_not_there_or_does_not_read_holds_nothing_up() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let nowhere = folder.path().join("nobody");
    let program = Program::start_by(told_at(nowhere.to_str().unwrap()), Arc::clone(&folder), &echo("", ""));
    program.open().echo(b"alone");
    assert!(program.log().contains("the service manager cannot be reached at NOTIFY_SOCKET"));
    drop(program);

    let path = folder.path().join("notify");
    let manager = Manager::at(&UnixAddr::from_pathname(&path).unwrap());
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"full", &path).is_ok() {}
    let mut command = told_at(path.to_str().unwrap());
    command.env("WATCHDOG_USEC", "20000");
    let mut program = Program::start_by(command, folder, &echo("", ""));
    let client = program.open();
    client.close();
    program.signal(Signal::TERM);
    assert!(program.wait().success());
    drop(manager);
}
