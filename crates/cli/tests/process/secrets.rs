//! O19: what the program prints, logs and keeps, and no secret among it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Program, drawgate, echo, eventually};

/// Made for this test: nothing else may contain it.
const KEY: &str = "d5ae91c0f3-the-key-of-a-test-93b7c1aa";

fn write_key(folder: &Path) {
    let file = folder.join("token.secret");
    fs::write(&file, KEY).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const TOKEN_ROUTE: &str = r#"
    [routes.token]
    listeners = ["main"]
    path = "/token"
    origins = "any"
    auth = "users"
    backend = "echo"
    [auth.users]
    credentials = ["first_message"]
    algorithms = ["HS256"]
    keys = { secret_file = "token.secret" }
    issuer = "any"
    audience = "any"
    [log]
    level = "trace"
    error_file = { path = "websocket_errors.log" }
"#;

fn token(folder: &Path, arguments: &[&str]) -> String {
    let mut command = drawgate();
    command.args(["token", "issue", "--subject", "alice", "--config"]).arg(folder.join("drawgate.toml"));
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn o19_no_token_payload_or_key_is_logged_at_any_level() {
    let folder = tempfile::tempdir().unwrap();
    write_key(folder.path());
    let mut program = Program::start_in(folder.into(), &echo("", TOKEN_ROUTE));
    let good = token(program.folder.path(), &[]);
    let expired = token(program.folder.path(), &["--expires-in=-1h"]);
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    for first in [&*good, &*expired, &*forged, KEY] {
        let mut client = crate::support::Client::connect(program.address);
        client.send(b"GET /token?access_token=");
        client.send(good.as_bytes());
        client.send(b" HTTP/1.1\r\nHost: gate.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
        client.send(format!("Authorization: Bearer {good}\r\nCookie: token={KEY}\r\n").as_bytes());
        client.send(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n");
        assert!(client.read_head().starts_with("HTTP/1.1 101 "));
        client.send_frame(0x81, first.as_bytes());
        if first == good {
            client.echo(b"a payload that nobody else may see");
            client.close();
        } else {
            assert_eq!(client.read_close(), 3000);
        }
    }
    let ends = || program.records().iter().filter(|record| record["route"] == "token").count();
    eventually(|| ends() == 8, || program.log());
    program.signal(Signal::TERM);
    program.wait();
    let kept = fs::read_to_string(program.path("websocket_errors.log")).unwrap();
    assert_eq!(kept.lines().filter(|line| line.contains("token_")).count(), 3, "{kept}");
    let log = program.log();
    for part in good.split('.').chain(expired.split('.')).chain(forged.split('.')) {
        has_none_of(&log, part);
        has_none_of(&kept, part);
    }
    for text in [&log, &kept] {
        has_none_of(text, KEY);
        has_none_of(text, "a payload that nobody");
    }
    let subject = |record: &&Value| record["subject"] == "alice";
    assert_eq!(program.records().iter().filter(subject).count(), 1, "who was let in is known");
}

/// Neither `secret` nor a piece of it is in `text`.
#[track_caller]
fn has_none_of(text: &str, secret: &str) {
    for piece in secret.as_bytes().chunks_exact(12) {
        let piece = str::from_utf8(piece).unwrap();
        assert!(!text.contains(piece), "{piece} is in:\n{text}");
    }
}

#[test]
fn o19_whatever_is_wrong_with_a_configuration_check_repeats_no_key() {
    let folder = tempfile::tempdir().unwrap();
    write_key(folder.path());
    fs::write(folder.path().join("short.secret"), &KEY[..31]).unwrap();
    fs::write(folder.path().join("long.secret"), KEY.repeat(1000)).unwrap();
    let file = folder.path().join("drawgate.toml");
    let keys = "keys = { secret_file = \"token.secret\" }";
    for wrong in [
        format!("keys = \"{KEY}\""),
        format!("keys = [\"{KEY}\"]"),
        format!("keys = {{ secret = \"{KEY}\" }}"),
        format!("keys = {{ secret_file = \"{KEY}\" }}"),
        format!("keys = {{ secret_file = [\"{KEY}\"] }}"),
        format!("keys = {{ secret_file = {{ text = \"{KEY}\" }} }}"),
        format!("keys = {{ secret_file = \"token.secret\", secret = \"{KEY}\" }}"),
        format!("{keys}\nsecret = \"{KEY}\""),
        format!("{keys}\nkey = \"{KEY}"),
        format!("{keys}\npassword = {KEY}"),
        "keys = { secret_file = \"short.secret\" }".to_owned(),
        "keys = { secret_file = \"long.secret\" }".to_owned(),
        "keys = { secret_file = \"${DRAWGATE_TEST_KEY}\" }".to_owned(),
        "keys = { secret = \"${DRAWGATE_TEST_KEY}\" }".to_owned(),
    ] {
        fs::write(&file, echo("", &TOKEN_ROUTE.replace(keys, &wrong))).unwrap();
        for arguments in
            [&["check"][..], &["run", "--config"], &["token", "issue", "--subject", "a", "--config"]]
        {
            let mut command = drawgate();
            command.args(arguments).arg(&file).env("DRAWGATE_TEST_KEY", KEY);
            let output = command.output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{wrong}: {}", said(&output));
            assert!(said(&output).contains("line "), "{wrong}: {}", said(&output));
            has_none_of(&said(&output), KEY);
        }
    }
}

#[test]
fn o19_what_is_printed_on_request_has_no_key_in_it() {
    let folder = tempfile::tempdir().unwrap();
    write_key(folder.path());
    let file = folder.path().join("drawgate.toml");
    fs::write(&file, echo("", TOKEN_ROUTE)).unwrap();
    let mut commands: Vec<Command> = (0..4).map(|_| drawgate()).collect();
    commands[0].args(["demo", "--print-config", "--data"]).arg(folder.path());
    commands[1].arg("check").arg(&file);
    commands[2].arg("init").arg(folder.path().join("begun.toml"));
    commands[3].args(["token", "inspect", "--config"]).arg(&file).arg(token(folder.path(), &[]));
    for command in &mut commands {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", said(&output));
        assert!(!said(&output).is_empty());
        has_none_of(&said(&output), KEY);
    }
}
