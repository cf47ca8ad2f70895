//! The operators' commands against a gateway that runs: what they show, what they do, and what they say when they cannot.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Client, Program, drawgate, echo, eventually};

/// Made for this test: nothing that is printed or logged may contain them.
const KEY: &str = "d5ae91c0f3-the-key-of-a-test-93b7c1aa";
const OPERATOR: &str = "77b0c2d4e6-the-operators-token-of-a-test";
const READER: &str = "19af03be55-the-readers-token-of-this-test";

const MORE: &str = r#"
    tokens.reader = { file = "reader.token", scopes = ["read"] }
    tokens.operator = { file = "admin.token", scopes = ["read", "operate", "tickets"] }
    [routes.token]
    listeners = ["main"]
    path = "/token"
    origins = "any"
    auth = "users"
    backend = "echo"
    [auth.users]
    credentials = ["authorization_header", "ticket"]
    algorithms = ["HS256"]
    keys = { secret_file = "token.secret" }
    issuer = "any"
    audience = "any"
"#;

fn folder() -> Arc<TempDir> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("token.secret", KEY), ("admin.token", OPERATOR), ("reader.token", READER)] {
        let file = folder.path().join(name);
        fs::write(&file, format!("{text}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    Arc::new(folder)
}

fn start() -> Program {
    Program::start_in(folder(), &echo("", MORE))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs a command against `program`, with the token in `file`.
fn ask(program: &Program, file: &str, arguments: &[&str]) -> Output {
    let url = format!("http://{}", program.admin);
    let mut command = drawgate();
    command.args(arguments).args(["--admin", &url, "--token-file"]).arg(program.path(file));
    let output = command.output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr) + &program.log();
    for secret in [KEY, OPERATOR, READER] {
        assert!(!said.contains(secret), "{said}");
    }
    output
}

/// What a command prints that does what it is asked.
fn done(program: &Program, arguments: &[&str]) -> String {
    let output = ask(program, "admin.token", arguments);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    text(&output.stdout)
}

/// What a command says that cannot.
#[track_caller]
fn failed(output: &Output, parts: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{output:?}");
    assert!(said.starts_with("error: "), "{said}");
    for part in parts {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}

fn token(program: &Program, subject: &str) -> String {
    let mut command = drawgate();
    command.args(["token", "issue", "--subject", subject, "--config"]).arg(program.path("drawgate.toml"));
    text(&command.output().unwrap().stdout).trim().to_owned()
}

/// A connection that asks for `target` with these lines, and the status that answers.
fn show(program: &Program, target: &str, lines: &str) -> (Client, String) {
    let mut client = Client::connect(program.address);
    client.send(format!("GET {target} HTTP/1.1\r\nHost: gate.example\r\n{lines}").as_bytes());
    client.send(b"Upgrade: websocket\r\nConnection: Upgrade\r\n");
    client.send(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n");
    let head = client.read_head();
    (client, head.split(' ').nth(1).unwrap().to_owned())
}

fn open(program: &Program, subject: &str) -> Client {
    let line = format!("Authorization: Bearer {}\r\n", token(program, subject));
    let (client, status) = show(program, "/token", &line);
    assert_eq!(status, "101");
    client
}

#[test]
fn sessions_are_listed_for_people_and_for_scripts() {
    let program = start();
    assert_eq!(done(&program, &["sessions"]), "no sessions\n");
    let _sessions = [open(&program, "alice"), open(&program, "alice"), open(&program, "bob")];
    let table = done(&program, &["sessions"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    let columns = ["SESSION", "SUBJECT", "ROUTE", "CLIENT", "SINCE", "UNTIL"];
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), columns);
    assert!(lines[1].contains("  alice    token  127.0.0.1  "), "{table}");
    let listed = done(&program, &["sessions", "--subject", "alice", "--json"]);
    let ids: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(ids.len() == 2 && ids.iter().all(|session| session["subject"] == "alice"), "{listed}");
    assert!(lines[1].starts_with(ids[0]["id"].as_str().unwrap()), "{table}");
    assert_eq!(done(&program, &["sessions", "--route", "none"]), "no sessions\n");
    assert_eq!(done(&program, &["sessions", "--subject", "carol", "--json"]), "");
}

#[test]
fn what_is_revoked_from_a_shell_closes_and_is_recorded() {
    let program = start();
    let (mut alice, mut bob) = (open(&program, "alice"), open(&program, "bob"));
    let old = token(&program, "alice");
    let said = done(&program, &["revoke", "--subject", "alice"]);
    assert!(said.starts_with("revoked subject alice: 1 session closed; tokens issued until "), "{said}");
    assert_eq!(alice.read_close(), 3000);
    bob.echo(b"still here?");
    let (_, status) = show(&program, "/token", &format!("Authorization: Bearer {old}\r\n"));
    assert_eq!(status, "401");
    let listed = done(&program, &["sessions", "--json"]);
    let id = serde_json::from_str::<Value>(listed.trim()).unwrap()["id"].as_str().unwrap().to_owned();
    let answer = done(&program, &["revoke", "--session", &id, "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&answer).unwrap()["closed"], 1, "{answer}");
    assert_eq!(bob.read_close(), 3000);
    for (target, said) in [
        (&["--token-id", "t1"][..], "revoked token id t1: 0 sessions closed; it is refused from now on\n"),
        (&["--everyone"], "revoked everyone: 0 sessions closed; tokens issued until "),
    ] {
        let printed = done(&program, &[&["revoke"], target].concat());
        assert!(printed.starts_with(said), "{printed}");
    }
    let changes = || program.records().into_iter().filter(|record| record["action"] == "revoke");
    eventually(|| changes().count() == 4, || program.log());
    let changes: Vec<_> = changes().collect();
    let on: Vec<_> = changes.iter().map(|change| change["on"].as_str().unwrap()).collect();
    assert_eq!(on, ["subject:alice", &format!("session:{id}"), "token_id:t1", "everyone"]);
    assert!(changes.iter().all(|change| change["operator"] == "operator" && change["outcome"] == "done"));
}

#[test]
fn a_ban_holds_until_it_is_lifted() {
    let program = start();
    let mut alice = open(&program, "alice/ü");
    let said = done(&program, &["ban", "alice/ü", "--for", "1h"]);
    assert!(said.starts_with("banned alice/ü until 20") && said.ends_with(": 1 session closed\n"), "{said}");
    assert_eq!(alice.read_close(), 3003);
    let fresh = || format!("Authorization: Bearer {}\r\n", token(&program, "alice/ü"));
    assert_eq!(show(&program, "/token", &fresh()).1, "403");
    assert_eq!(done(&program, &["unban", "alice/ü"]), "alice/ü is let in again\n");
    assert_eq!(show(&program, "/token", &fresh()).1, "101");
    failed(&ask(&program, "admin.token", &["unban", "alice/ü"]), &["404", "not banned"]);
    assert_eq!(done(&program, &["ban", "bob"]), "banned bob for good: 0 sessions closed\n");
}

#[test]
fn a_ban_of_a_network_ends_its_connections_and_outlives_the_process() {
    let folder = folder();
    let config = echo("", &format!("{MORE}\n[state]\nstore = \"embedded\""));
    let mut program = Program::start_in(Arc::clone(&folder), &config);
    assert_eq!(done(&program, &["bans"]), "no bans\n");
    let mut client = program.open();
    let arguments = ["ban", "--address", "127.0.0.0/30", "--for", "1h", "--reason", "a flood"];
    let said = done(&program, &arguments);
    let is_said = said.starts_with("banned 127.0.0.0/30 until 20");
    assert!(is_said && said.ends_with(": 1 connection closed\n"), "{said}");
    let (first, close) = client.read_frame();
    let code = 1008_u16.to_be_bytes();
    assert!(first == 0x88 && close.starts_with(&[&code[..], b"address_banned"].concat()), "{close:?}");
    assert_eq!(show(&program, "/", "").1, "403");
    assert_eq!(
        done(&program, &["ban", "--address", "2001:db8::1"]),
        "banned 2001:db8::/64 for good: 0 connections closed\n"
    );
    done(&program, &["ban", "bob"]);

    program.signal(Signal::TERM);
    program.wait();
    let program = Program::start_in(folder, &config);
    assert_eq!(show(&program, "/", "").1, "403");
    let table = done(&program, &["bans"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 4, "{table}");
    assert_eq!(rows[0], ["KIND", "BANNED", "UNTIL", "REASON"]);
    assert_eq!((&rows[1][..2], &rows[1][3..]), (&["address", "127.0.0.0/30"][..], &["a", "flood"][..]));
    assert_eq!(rows[2], ["address", "2001:db8::/64", "for", "good"]);
    assert_eq!(rows[3], ["subject", "bob", "for", "good"]);
    let listed = done(&program, &["bans", "--json"]);
    let bans: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&bans[0]["network"], &bans[0]["reason"]), (&"127.0.0.0/30".into(), &"a flood".into()));
    assert_eq!((bans.len(), &bans[2]["subject"]), (3, &"bob".into()), "{listed}");

    let unban = ["unban", "--address", "127.0.0.0/30"];
    assert_eq!(done(&program, &unban), "127.0.0.0/30 is let in again\n");
    program.open().echo(b"hello");
    failed(&ask(&program, "admin.token", &unban), &["404", "not banned"]);
    failed(&ask(&program, "reader.token", &arguments), &["403", "the scope \"operate\""]);
    for arguments in [
        &["ban"][..],
        &["ban", "alice", "--address", "192.0.2.1"],
        &["ban", "alice", "--reason", "a flood"],
        &["ban", "--address", "192.0.2.1/24"],
        &["unban", "alice", "--address", "192.0.2.1"],
    ] {
        assert_eq!(ask(&program, "admin.token", arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a20_a_ticket_from_a_shell_opens_its_route_once() {
    let program = start();
    let claims = r#"{"roles":["admin"]}"#;
    let ticket = done(
        &program,
        &["ticket", "--subject", "carol", "--route", "token", "--session-time", "10m", "--claims", claims],
    );
    let ticket = ticket.trim();
    assert!(ticket.starts_with("dgt_") && ticket.len() == 47, "{ticket}");
    let (mut client, status) = show(&program, &format!("/token?ticket={ticket}"), "");
    assert_eq!(status, "101");
    client.echo(b"hello");
    assert!(done(&program, &["sessions"]).contains("  carol  "));
    assert_eq!(show(&program, &format!("/token?ticket={ticket}"), "").1, "401");
    assert!(!program.log().contains(ticket), "{}", program.log());
    let no_route = ask(&program, "admin.token", &["ticket", "--subject", "carol", "--route", "echo"]);
    failed(&no_route, &["422", "takes no tickets", "credentials of its auth"]);
}

#[test]
fn a_command_that_cannot_says_what_is_wrong_where_and_what_to_do() {
    let program = start();
    let reader = ask(&program, "reader.token", &["revoke", "--everyone"]);
    failed(&reader, &["403", "the scope \"operate\"", "reader.token"]);
    let wrong = ask(&program, "token.secret", &["sessions"]);
    failed(&wrong, &["401", "token.secret", "start the gateway anew"]);
    let missing = ask(&program, "no.token", &["sessions"]);
    failed(&missing, &["no.token cannot be read", "name the file with a token"]);
    fs::write(program.path("two.token"), "one\ntwo\n").unwrap();
    failed(&ask(&program, "two.token", &["sessions"]), &["two.token holds no token"]);

    let at = |url: &str| {
        let mut command = drawgate();
        command.args(["sessions", "--admin", url, "--token-file"]).arg(program.path("admin.token"));
        command.output().unwrap()
    };
    failed(&at(&format!("http://{}", program.address)), &["is it the address of [admin]"]);
    failed(&at(&format!("https://{}", program.admin)), &["https://", "speaks no TLS; try http://"]);
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    failed(&at(&format!("http://{nobody}")), &["cannot be reached", "is a server running there?"]);
    failed(&at(&format!("http://127.0.0.2:{}", program.admin.port())), &["cannot be reached"]);

    let elsewhere = tempfile::tempdir().unwrap();
    let output = drawgate().args(["sessions", "--data"]).arg(elsewhere.path()).output().unwrap();
    failed(&output, &["admin.json", "start `drawgate demo`", "--config FILE"]);
    let usage = drawgate().args(["revoke", "--subject", "a", "--everyone"]).output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn a_configuration_tells_where_the_listener_is_and_which_token_opens_it() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let config = echo("", MORE);
    let (before, after) = config.split_once("[admin]").unwrap();
    let config = format!("{before}[admin]{}", after.replacen("127.0.0.1:0", &format!("127.0.0.1:{port}"), 1));
    let program = Program::start_in(folder(), &config);
    let _alice = open(&program, "alice");
    let by_config = |arguments: &[&str], file: &Path| {
        let output = drawgate().args(arguments).arg("--config").arg(file).output().unwrap();
        for secret in [OPERATOR, READER] {
            assert!(!text(&output.stdout).contains(secret) && !text(&output.stderr).contains(secret));
        }
        output
    };
    let file = program.path("drawgate.toml");
    let listed = by_config(&["sessions"], &file);
    assert!(text(&listed.stdout).contains("alice"), "{listed:?}");
    // The first token is for reading alone; the second is taken for this.
    let revoked = by_config(&["revoke", "--subject", "alice"], &file);
    assert!(text(&revoked.stdout).starts_with("revoked subject alice: 1 session closed"), "{revoked:?}");

    let other = program.path("other.toml");
    for (lines, parts) in [
        (echo("", MORE), &["lets the system choose", "--admin URL --token-file FILE"][..]),
        (
            config.replace(", \"operate\"", ""),
            &["no admin token with the scope \"operate\"", "tokens.NAME = "],
        ),
        (before.to_owned(), &["has no [admin] table", "docs/admin.md"]),
    ] {
        fs::write(&other, lines).unwrap();
        failed(&by_config(&["revoke", "--everyone"], &other), &[&["other.toml"], parts].concat());
    }
}

#[test]
fn the_applications_behind_the_gate_are_listed_with_how_they_stand() {
    let program = Program::start_in(folder(), &echo("", MORE));
    assert_eq!(done(&program, &["upstreams"]), "no route leads to an application\n");
    drop(program);
    let nobody = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let [one, other] = [nobody(), nobody()];
    let route = format!(
        "{MORE}\n[routes.game]\nlisteners = [\"main\"]\npath = \"/game\"\norigins = \"any\"\nauth = \"none\"\n\
         backend = {{ urls = [\"ws://{one}\", \"ws://{other}\"], failures_max = 1 }}"
    );
    let program = Program::start_in(folder(), &echo("", &route));
    assert_eq!(show(&program, "/game", "").1, "502");
    let table = done(&program, &["upstreams"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["APPLICATION", "ROUTE", "STATE", "CONNECTIONS", "DIALS", "FAILED"], "{table}");
    assert_eq!((rows.len(), &rows[1][1..]), (3, &["game", "left", "alone", "0", "1"][..]), "{table}");
    let (name, other) = (format!("ws://{one}"), format!("ws://{other}"));
    let drained = done(&program, &["upstreams", "--drain", &name]);
    assert_eq!(drained, format!("nobody is sent to {name} any more: it has no connection\n"));
    let table = done(&program, &["upstreams"]);
    assert!(table.lines().any(|line| line.contains(&name) && line.contains("drained")), "{table}");
    assert_eq!(
        done(&program, &["upstreams", "--resume", &name]),
        format!("{name} takes connections again\n")
    );
    failed(
        &ask(&program, "admin.token", &["upstreams", "--resume", &other]),
        &["This application is not drained"],
    );
    failed(&ask(&program, "admin.token", &["upstreams", "--drain", "ws://127.0.0.1:1"]), &["No route leads"]);
    let listed = done(&program, &["upstreams", "--json"]);
    assert!(listed.lines().count() == 2 && listed.contains(&format!("ws://{one}")), "{listed}");
}
