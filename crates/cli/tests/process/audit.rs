//! The audit log of the real program: made, killed at any moment, and verified by its own command.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Client, Program, drawgate, echo};

const AUDIT: &str = "[audit]\npath = \"audit.log\"\nkey_file = \"audit.key\"\nbytes_max = \"16KiB\"\nwhen_full = \"closed\"\n";

fn asked(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = drawgate().args(arguments).current_dir(folder).output().unwrap();
    (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

#[test]
fn a_kill_at_any_moment_leaves_a_log_that_is_verified_and_goes_on() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    // Behind all that `echo` opens last; a table of its own.
    let config = format!("{}\n{AUDIT}", echo("", ""));
    fs::write(folder.path().join("drawgate.toml"), &config).unwrap();
    let output = drawgate()
        .args(["audit", "create", "--config", "drawgate.toml"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::write(folder.path().join("first.key"), &output.stdout).unwrap();
    let create = ["audit", "create", "--config", "drawgate.toml"];
    // There is a key now, and no other takes its place.
    let (code, told) = asked(folder.path(), &create);
    assert!(code == Some(1) && told.contains("cannot be made"), "{told}");
    let verify = ["audit", "verify", "--key", "first.key", "--config", "drawgate.toml"];
    for round in 0..12 {
        let mut program = Program::start_in(Arc::clone(&folder), &config);
        let address = program.listening("main");
        let clients: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(move || {
                    // Until the program is gone.
                    while std::net::TcpStream::connect(address).is_ok() {
                        let _ = std::panic::catch_unwind(|| Client::connect(address).upgrade());
                    }
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(20 + 13 * round));
        program.signal(Signal::KILL);
        program.wait();
        for client in clients {
            client.join().unwrap();
        }
        // The key is behind the lines at most; the next start makes up for it.
        let mut program = Program::start_in(Arc::clone(&folder), &config);
        program.signal(Signal::TERM);
        assert!(program.wait().success());
        let (code, told) = asked(folder.path(), &verify);
        assert!(code == Some(0) && told.starts_with("verified: "), "round {round}: {told}");
    }
    let files =
        fs::read_dir(folder.path()).unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    assert!(
        files.filter(|name| name.starts_with("audit.log.")).count() > 1,
        "the log has gone on into other files"
    );
    // No new chain begins beside the old one, not even where only its full files are left.
    for (gone, left) in [("audit.key", "audit.log.000000000001"), ("audit.log", "audit.log.000000000001")] {
        fs::rename(folder.path().join(gone), folder.path().join(format!("{gone}.away"))).unwrap();
        let (code, told) = asked(folder.path(), &create);
        let expected = format!("{left}: there is a log already");
        assert!(code == Some(1) && told.contains(&expected), "without {gone}: {told}");
    }
    for gone in ["audit.key", "audit.log"] {
        fs::rename(folder.path().join(format!("{gone}.away")), folder.path().join(gone)).unwrap();
    }
    // What is cut off is missed.
    let log = folder.path().join("audit.log");
    let text = fs::read_to_string(&log).unwrap();
    let cut = text.trim_end().rsplit_once('\n').map_or("", |(rest, _)| rest);
    fs::write(&log, format!("{cut}\n")).unwrap();
    let (code, told) = asked(folder.path(), &verify);
    assert!(code == Some(1) && told.contains("NOT VERIFIED"), "{told}");
}

/// The program for a moment, so that the log gets lines.
fn run_once(folder: &Arc<tempfile::TempDir>, config: &str) {
    let mut program = Program::start_in(Arc::clone(folder), config);
    let mut client = Client::connect(program.listening("main"));
    client.upgrade();
    client.close();
    program.signal(Signal::TERM);
    assert!(program.wait().success());
}

#[test]
fn o06_an_older_log_put_back_with_its_key_is_known_by_the_state() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let config = format!("{}\n{AUDIT}[state]\nstore = \"embedded\"\ndirectory = \"state\"\n", echo("", ""));
    let path = |name: &str| folder.path().join(name);
    fs::write(path("drawgate.toml"), &config).unwrap();
    let create = ["audit", "create", "--config", "drawgate.toml"];
    let run = ["run", "--config", "drawgate.toml"];
    assert_eq!(asked(folder.path(), &create).0, Some(0));
    run_once(&folder, &config);
    let text = fs::read_to_string(path("audit.log")).unwrap();
    assert!(text.lines().last().unwrap().contains(r#""kind":"stopped""#), "{text}");
    let older = ["audit.log", "audit.key"].map(|name| (name, fs::read(path(name)).unwrap()));
    run_once(&folder, &config);
    let newer = ["audit.log", "audit.key"].map(|name| (name, fs::read(path(name)).unwrap()));
    let put = |files: &[(&str, Vec<u8>)]| {
        files.iter().for_each(|(name, text)| fs::write(path(name), text).unwrap());
    };
    put(&older);
    let (code, told) = asked(folder.path(), &run);
    assert!(
        code == Some(1) && told.contains("and the state knows 8: an older log was put in its place"),
        "{told}"
    );
    put(&newer);
    run_once(&folder, &config);
    // Another chain is begun on purpose; not while a gateway writes the old one.
    let program = Program::start_in(Arc::clone(&folder), &config);
    for name in ["audit.log", "audit.key"] {
        fs::remove_file(path(name)).unwrap();
    }
    let (code, told) = asked(folder.path(), &create);
    assert!(code == Some(1) && told.contains("is in use by process"), "{told}");
    drop(program);
    for name in ["audit.log", "audit.key"] {
        let _ = fs::remove_file(path(name));
    }
    assert_eq!(asked(folder.path(), &create).0, Some(0));
    run_once(&folder, &config);
}

#[test]
fn without_a_key_the_program_does_not_start_and_says_how_to_make_one() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("drawgate.toml"), format!("{}\n{AUDIT}", echo("", ""))).unwrap();
    let (code, told) = asked(folder.path(), &["run", "--config", "drawgate.toml"]);
    assert!(code == Some(1) && told.contains("drawgate audit create"), "{told}");
    let (code, told) =
        asked(folder.path(), &["audit", "verify", "--key", "none", "--config", "drawgate.toml"]);
    assert!(code == Some(1) && told.contains("none: cannot be read"), "{told}");
}
