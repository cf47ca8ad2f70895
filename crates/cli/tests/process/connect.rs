//! `drawgate connect` in a pipe: what scripts send and see, and how it ends.

use std::io::Write as _;
use std::process::{Output, Stdio};

use crate::support::{Program, drawgate, echo};

#[test]
fn each_line_is_a_message_and_each_message_is_a_line() {
    let program = Program::start(&echo("", ""));
    let output = connect(&program, "/", &[], "one\n/ping is no command in a pipe\nκόσμε\n");
    assert_eq!(stdout(&output), "one\n/ping is no command in a pipe\nκόσμε\n");
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).starts_with(&format!("connected to ws://{}/\n", program.address)), "{output:?}");
    assert!(stderr(&output).ends_with("\nclosed\n"), "{output:?}");
}

#[test]
fn the_token_goes_first_from_an_argument_a_file_or_standard_input() {
    let (program, token) = with_tokens();
    std::fs::write(program.path("token"), format!("{token}\n")).unwrap();
    let file = program.path("token").display().to_string();
    for (arguments, input) in [
        (vec!["--token", &token], "hello\n".to_owned()),
        (vec!["--token-file", &file], "hello\n".to_owned()),
        (vec!["--token-file", "-"], format!("{token}\nhello\n")),
    ] {
        let output = connect(&program, "/token", &arguments, &input);
        assert_eq!(stdout(&output), "Authenticated!\nhello\n", "{arguments:?}: {output:?}");
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn the_token_goes_into_the_request_where_it_is_to() {
    let (program, token) = with_tokens();
    let header = format!("Authorization: Bearer {token}");
    for arguments in [vec!["--token", &token, "--token-as", "header"], vec!["--header", &header]] {
        let output = connect(&program, "/header", &arguments, "hello\n");
        assert_eq!(stdout(&output), "hello\n", "{arguments:?}: {output:?}");
        assert_eq!(output.status.code(), Some(0));
    }
    let output = connect(&program, "/header", &["--token", &token], "hello\n");
    let told = ["error: the server refused with status 401: a token is required\n", "--token-as header"];
    assert!(told.iter().all(|told| stderr(&output).contains(told)), "{output:?}");
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("", Some(1)));
}

#[test]
fn messages_are_compressed_where_both_want_it() {
    let program = Program::start(&echo("compression = \"on\"", ""));
    let line = "0123456789abcdef".repeat(10_000);
    for (arguments, terms) in [
        (
            &["--compress"][..],
            ", compressed: from the server without takeover in a window of 15 bits, to it ",
        ),
        (&["--verbose"][..], ", not compressed\n"),
        (&[][..], "/\n"),
    ] {
        let output = connect(&program, "/", arguments, &format!("{line}\nsmall\n\n"));
        assert_eq!(stdout(&output), format!("{line}\nsmall\n\n"));
        assert!(stderr(&output).contains(terms), "{:?}", stderr(&output));
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn a_close_by_the_server_is_explained_and_is_a_no() {
    let (program, _) = with_tokens();
    let output = connect(&program, "/token", &["--token", "none"], "");
    assert_eq!(stdout(&output), "Token Invalid\n");
    let told = "closed by the server with 3000 (unauthorized): token_invalid: the token is not valid\n  The token is";
    assert!(stderr(&output).contains(told), "{output:?}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_refusal_is_told_with_its_status_and_where_to_read_on() {
    let program = Program::start(&echo("", ""));
    let output = connect(&program, "/nowhere", &[], "");
    assert_eq!(stdout(&output), "");
    let told = "error: the server refused with status 404: nothing is served at this address\n";
    assert!(stderr(&output).starts_with(told), "{output:?}");
    assert!(stderr(&output).trim_end().ends_with("docs/errors.md#route_not_found"), "{output:?}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn nobody_there_and_addresses_that_are_none_say_what_to_do() {
    for (url, code, told) in [
        ("ws://127.0.0.1:1", 1, "is a server running there?"),
        ("wss://127.0.0.1:1", 1, "is a server running there?"),
        ("127.0.0.1:1", 2, "write it as ws://HOST:PORT"),
    ] {
        let output = drawgate().args(["connect", url]).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{url}");
        assert!(stderr(&output).contains(told), "{url}: {output:?}");
    }
}

/// Runs the client with `input` piped into it.
fn connect(program: &Program, path: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = drawgate()
        .arg("connect")
        .arg(format!("ws://{}{path}", program.address))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A client that has been refused reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// A gateway with a route that wants a token, and a token for it.
fn with_tokens() -> (Program, String) {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("token.secret"), "0123456789abcdef".repeat(4)).unwrap();
    let route = r#"
        [routes.token]
        listeners = ["main"]
        path = "/token"
        origins = "any"
        auth = "users"
        notice = "text"
        backend = "echo"
        [routes.header]
        listeners = ["main"]
        path = "/header"
        origins = "any"
        auth = "headers"
        backend = "echo"
        [auth.headers]
        credentials = ["authorization_header"]
        algorithms = ["HS256"]
        keys = { secret_file = "token.secret" }
        issuer = "any"
        audience = "any"
        [auth.users]
        credentials = ["first_message"]
        algorithms = ["HS256"]
        keys = { secret_file = "token.secret" }
        issuer = "any"
        audience = "any"
        "#;
    let program = Program::start_in(folder, &echo("", route));
    let config = program.path("drawgate.toml");
    let issued = drawgate()
        .args(["token", "issue", "--subject", "alice", "--auth", "users", "--config"])
        .arg(config)
        .output()
        .unwrap();
    (program, stdout(&issued).trim_end().to_owned())
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
