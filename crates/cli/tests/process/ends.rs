//! O: how the program ends, by signals and by force.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Client, Program, REQUEST, echo, echo_at, eventually};

#[test]
fn o08_sigterm_answers_what_has_come_says_1012_over_a_while_and_exits_with_0() {
    const CONNECTIONS: usize = 200;
    let mut program = Program::start(&echo("close_timeout = \"1s\"", ""));
    assert_eq!(program.ask_admin("/readyz"), (200, "ready".to_owned()));
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| program.open()).collect();
    for client in &mut clients {
        client.send_frame(0x81, b"first");
        client.send_frame(0x81, b"second");
    }
    program.signal(Signal::TERM);
    let begun = Instant::now();
    let waiting: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            std::thread::spawn(move || {
                assert_eq!(client.read_frame(), (0x81, b"first".to_vec()));
                assert_eq!(client.read_frame(), (0x81, b"second".to_vec()));
                assert_eq!(client.read_close(), 1012);
                (begun.elapsed(), client)
            })
        })
        .collect();
    let mut told: Vec<_> = waiting.into_iter().map(|waiting| waiting.join().unwrap()).collect();
    // Nobody has answered the Close yet: the program waits, and says so.
    assert_eq!(program.ask_admin("/readyz"), (503, "draining".to_owned()));
    assert!(TcpStream::connect(program.address).is_err(), "nobody else is let in");
    told.sort_by_key(|(at, _)| *at);
    let spread = told[CONNECTIONS - 1].0 - told[0].0;
    // Two milliseconds for each connection, so that not all come back at once.
    assert!(spread >= Duration::from_millis(200), "{spread:?}");
    for (_, client) in &mut told {
        client.send_frame(0x88, &1012_u16.to_be_bytes());
    }
    assert_eq!(program.wait().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn o08_a_client_that_does_not_answer_cannot_hold_the_exit_up() {
    let config = echo("close_timeout = \"30s\"", "[server]\ndrain_timeout = \"500ms\"");
    let mut program = Program::start(&config);
    let mut client = program.open();
    let begun = Instant::now();
    program.signal(Signal::INT);
    assert_eq!(client.read_close(), 1012);
    assert_eq!(program.wait().code(), Some(0));
    assert!((Duration::from_millis(400)..Duration::from_secs(3)).contains(&begun.elapsed()));
    client.read_to_end();
}

#[test]
fn o09_a_second_sigterm_ends_at_once_with_3() {
    let config = echo("close_timeout = \"30s\"", "[server]\ndrain_timeout = \"30s\"");
    let mut program = Program::start(&config);
    let mut client = program.open();
    program.signal(Signal::TERM);
    assert_eq!(client.read_close(), 1012);
    let begun = Instant::now();
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(3));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    client.read_to_end();
}

#[test]
fn o16_after_an_abort_or_a_kill_the_next_start_is_clean() {
    let files = "[log]\nerror_file = { path = \"websocket_errors.log\" }";
    let mut program = Program::start(&echo("", files));
    let (port, folder) = (program.address.port(), Arc::clone(&program.folder));
    let mut refusals = 0;
    for signal in [Signal::KILL, Signal::ABORT, Signal::KILL] {
        let mut client = program.open();
        client.echo(b"alive");
        refuse(&program, 20);
        refusals += 20;
        eventually(|| error_lines(&program).len() >= refusals, || format!("{refusals} lines are missing"));
        refuse(&program, 20);
        program.signal(signal);
        assert!(!program.wait().success());
        client.read_to_end();
        // Death in the middle of a line: all that is left of it.
        let mut file =
            fs::OpenOptions::new().append(true).open(program.path("websocket_errors.log")).unwrap();
        file.write_all(b"{\"time\":\"torn").unwrap();
        refusals = error_lines(&program).len();

        // The same port, though connections to it have just been torn down, and the same files.
        program = Program::start_in(Arc::clone(&folder), &echo_at(port, "", files));
        let mut client = program.open();
        client.echo(b"again");
        client.close();
        refuse(&program, 1);
        refusals += 1;
        eventually(|| error_lines(&program).len() == refusals, || format!("{:?}", error_lines(&program)));
        let last = error_lines(&program).pop().unwrap();
        let last: Value = serde_json::from_str(&last).unwrap();
        assert_eq!(last["reason"], "route_not_found");
    }
    let lines = error_lines(&program);
    let torn = lines.iter().filter(|line| serde_json::from_str::<Value>(line).is_err()).count();
    assert_eq!(torn, 3, "only the torn lines are no records");
}

/// Has this many requests refused, one after the other.
fn refuse(program: &Program, count: usize) {
    for _ in 0..count {
        let mut client = Client::connect(program.address);
        client.send(&[b"GET /nowhere", &REQUEST[b"GET /".len()..]].concat());
        client.read_head();
    }
}

fn error_lines(program: &Program) -> Vec<String> {
    let text = fs::read_to_string(program.path("websocket_errors.log")).unwrap();
    text.lines().map(ToOwned::to_owned).collect()
}
