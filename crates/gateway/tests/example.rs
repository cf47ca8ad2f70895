//! `examples/echo.rs` is what it claims to be: short, and a server that clients can use.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tungstenite::Message;

#[test]
fn the_echo_example_answers_a_client_in_under_thirty_lines() {
    let mut echo = Ended(
        Command::new(example("echo")).arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().expect("it starts"),
    );
    let mut said = String::new();
    BufReader::new(echo.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let url = said.strip_prefix("listening on ").expect("it says where it listens").trim_end();

    let stream = TcpStream::connect(url.strip_prefix("ws://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let (mut client, _) = tungstenite::client(url, stream).unwrap();
    for message in [Message::text("grüße"), Message::binary(vec![0, 255])] {
        client.send(message.clone()).unwrap();
        assert_eq!(client.read().unwrap(), message);
    }

    let lines = include_str!("../../../examples/echo.rs").lines().count();
    assert!(lines < 30, "{lines} lines");
}

/// Where cargo puts the examples, beside the folder of this test. It builds them before it runs all tests of a package;
/// where this test is run alone that is made up for.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(|deps| deps.parent()).expect("tests lie in target/PROFILE/deps");
    let example = folder.join("examples").join(name);
    if !example.exists() {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--example", name, "--target-dir"])
            .arg(folder.parent().unwrap())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.unwrap().success(), "the example does not build");
    }
    example
}

/// Ends the process when the test ends, however it does.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
