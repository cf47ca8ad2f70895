//! The program as a person or a script calls it: what it prints, how it exits, what it leaves behind.
//!
//! Drives the real binary, on ports that the system chooses. What the servers do with clients is tested in the library.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use drawgate::config::{demo_text, start_text};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tungstenite::Message;

#[test]
fn init_writes_a_file_that_passes_and_runs() {
    let folder = folder();
    assert_eq!(
        drawgate(&folder, &["init"]).fine(),
        "wrote drawgate.toml; read through it, then:\n  drawgate check drawgate.toml\n  drawgate run --config \
         drawgate.toml\n"
    );
    let text = fs::read_to_string(folder.path().join("drawgate.toml")).unwrap();
    assert_eq!(text, start_text());
    let fine =
        "drawgate.toml: fine (1 listener, 1 route); start it with: drawgate run --config drawgate.toml\n";
    assert_eq!(drawgate(&folder, &["check", "drawgate.toml"]).fine(), fine);
    assert_eq!(drawgate(&folder, &["check", "--config", "drawgate.toml"]).fine(), fine);

    write_on_free_ports(&folder, "copy.toml", &text);
    let running = Running::start(&folder, "copy.toml");
    let address = running.listens("public");
    running.listens("admin");
    assert_eq!(answers(&address, "/chat", &["hello"]), [Message::text("Server received: hello")]);
    running.stop();
}

#[test]
fn what_is_sealed_opens_by_the_same_words_and_by_no_others() {
    let folder = folder();
    for (name, content) in [("seal.key", "0a"), ("other.key", "0b")] {
        fs::write(folder.path().join(name), content.repeat(32)).unwrap();
    }
    fs::write(folder.path().join("short.key"), "0a").unwrap();
    let salt = "A".repeat(43);
    let right = [("--key", "seal.key"), ("--kid", "k1"), ("--salt", &salt), ("--to", "gate"), ("--seq", "7")];
    let run = |verb: &str, changed: (&str, &str), stdin: &str| {
        let mut words = vec![verb];
        for (name, value) in right {
            words.extend([name, if name == changed.0 { changed.1 } else { value }]);
        }
        drawgate_with_stdin(&folder, &words, stdin)
    };
    let sealed = run("seal", ("", ""), "hello \u{20ac}").fine();
    assert_ne!(run("seal", ("", ""), "hello \u{20ac}").fine(), sealed, "nonces are drawn");
    assert_eq!(run("open", ("", ""), &sealed).fine(), "hello \u{20ac}");
    let other_salt = format!("{}A", "B".repeat(42));
    let advice = "hold --key, --kid, --salt, --to and --seq against whoever sealed it";
    for (name, value) in
        [("--key", "other.key"), ("--kid", "k2"), ("--salt", &other_salt), ("--to", "client"), ("--seq", "8")]
    {
        let said = run("open", (name, value), &sealed).failed();
        assert!(said.contains(advice) && !said.contains("hello"), "{name}: {said}");
    }
    let tampered = sealed.replacen('e', "f", 1);
    for damaged in [&*tampered, &sealed[1..], "", "hello"] {
        let said = run("open", ("", ""), damaged).failed();
        assert!(said.contains(advice), "{damaged}: {said}");
    }
    for (name, value, advice) in [
        ("--key", "short.key", "openssl rand -hex 32"),
        ("--key", "none.key", "cannot be read"),
        ("--key", "none.key", "secret_file"),
        ("--kid", "a b", "write 1 to 64"),
        ("--salt", "AAAA", "43 characters"),
    ] {
        let said = run("seal", (name, value), "hello").failed();
        assert!(said.contains(advice), "{name}: {said}");
    }
}

#[test]
fn try_says_what_would_become_of_a_message_and_why() {
    let folder = folder();
    fs::write(folder.path().join("demo.toml"), demo_text()).unwrap();
    for name in ["token.secret", "admin.token"] {
        let file = folder.path().join(name);
        fs::write(&file, "0a".repeat(32)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::write(folder.path().join("claims.json"), r#"{"sub":"ada"}"#).unwrap();
    let email = ["--config", "demo.toml", "--route", "email"];
    type Case<'a> = (&'a [u8], &'a [&'a str], i32, &'a [&'a str]);
    let cases: [Case<'_>; 9] = [
        (br#"{"email":"ada@example.com"}"#, &[], 0, &["passes: it goes on as it is"]),
        (br#"{"email":"ada@example.com"}"#, &["--claims", "claims.json"], 0, &["passes"]),
        (
            br#"{"email":"hunter2"}"#,
            &[],
            1,
            &["refused: message_schema_mismatch", "/email", "format", "goes on"],
        ),
        (b"{}", &[], 1, &["the whole message", "required"]),
        (b"[1,]", &[], 1, &["refused: message_not_json", "byte      3"]),
        (b"{}", &["--binary"], 1, &["refused: message_kind_refused", "is closed"]),
        (b"\xff", &[], 1, &["refused: text_not_utf8"]),
        (&[b' '; 70_000], &[], 1, &["refused: message_too_big"]),
        (b"anything", &["--direction", "reply"], 0, &["has no inspect_replies"]),
    ];
    for (message, more, code, parts) in cases {
        let output = tried(&folder, &[&email[..], more].concat(), message);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    for (arguments, part) in [
        (&["--config", "demo.toml", "--route", "none"][..], "there are: "),
        (&["--config", "none.toml", "--route", "email"], "cannot be read"),
        (&["--config", "demo.toml", "--route", "email", "--claims", "demo.toml"], "no strict JSON"),
        (
            &["--config", "demo.toml", "--route", "email", "--claims", "none.json"],
            "name a file with the claims",
        ),
        (&["--config", "demo.toml"], "--route"),
    ] {
        let output = tried(&folder, arguments, b"{}");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8(output.stderr).unwrap().contains(part), "{arguments:?}");
    }
}

#[test]
fn the_demo_s_third_route_checks_addresses() {
    let folder = folder();
    for name in ["token.secret", "admin.token"] {
        let file = folder.path().join(name);
        fs::write(&file, "0a".repeat(32)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    write_on_free_ports(&folder, "demo.toml", demo_text());
    let running = Running::start(&folder, "demo.toml");
    let address = running.listens("echo");
    let told = answers(&address, "/email", &[r#"{"email":"ada@example.com"}"#, r#"{"email":"ada"}"#, "ada"]);
    assert_eq!(told[0], Message::text(r#"Valid: {"email":"ada@example.com"}"#));
    let told: Vec<Value> =
        told[1..].iter().map(|told| serde_json::from_str(told.to_text().unwrap()).unwrap()).collect();
    assert_eq!((&told[0]["pointer"], &told[0]["keyword"]), (&"/email".into(), &"format".into()));
    assert_eq!((&told[1]["title"], &told[1]["offset_bytes"]), (&"Message Not JSON".into(), &0.into()));
    running.stop();
}

fn tried(folder: &TempDir, arguments: &[&str], message: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_drawgate"))
        .current_dir(folder.path())
        .arg("try")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(message);
    child.wait_with_output().unwrap()
}

#[test]
fn init_leaves_what_exists_alone() {
    let folder = folder();
    fs::write(folder.path().join("mine.toml"), "mine").unwrap();
    assert_eq!(
        drawgate(&folder, &["init", "mine.toml"]).failed(),
        "error: mine.toml exists and was left alone: name another file, or move it away first\n"
    );
    assert_eq!(fs::read_to_string(folder.path().join("mine.toml")).unwrap(), "mine");
    let error = drawgate(&folder, &["init", "missing/new.toml"]).failed();
    assert!(error.contains("name a file in a folder that exists and is yours"), "{error}");
}

#[test]
fn check_lists_every_problem_with_its_place_and_what_to_do() {
    let folder = folder();
    for (text, expected) in [
        // A key with a slip of the pen.
        (
            start_text().replacen("drain_timeout", "drain_timout", 1),
            "error: wrong.toml has 1 problem:\nline 10: server.drain_timout\n    is no key that exists; did you mean \
             drain_timeout?\n",
        ),
        // A name that leads nowhere, and something that must be said and is not.
        (
            start_text().replacen("\"public\"", "\"publik\"", 1).replacen("\norigins =", "\n#", 1),
            "error: wrong.toml has 2 problems:\nline 22: routes.main.origins\n    is missing and has no default; write \"any\", \
             \"same\", or a list such as [\"https://app.example.com\"] (Which web pages may connect is a security \
             choice (RFC 6455 §10.2))\nline 23: routes.main.listeners[0] = \"publik\"\n    names a listener that does \
             not exist; write \"public\"\n",
        ),
        // No TOML at all.
        (
            "[server]\ndrain_timeout = 10s\n".to_owned(),
            "error: wrong.toml has 1 problem:\nline 2, column 17: the file\n    is no TOML here: string values must \
             be quoted, expected literal string; see https://toml.io for how it is written\n",
        ),
    ] {
        fs::write(folder.path().join("wrong.toml"), text).unwrap();
        for words in [
            &["check", "wrong.toml"][..],
            &["check", "--config", "wrong.toml"],
            &["run", "--config", "wrong.toml"],
        ] {
            assert_eq!(drawgate(&folder, words).failed(), expected);
        }
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_told_how_to_mend() {
    let folder = folder();
    fs::write(folder.path().join("binary.toml"), [0xff, 0xfe]).unwrap();
    for (file, advice) in [
        ("missing.toml", "; make one to start from with: drawgate init missing.toml\n"),
        ("binary.toml", "; a configuration is text in UTF-8\n"),
        (".", "; name the file in it\n"),
    ] {
        for words in [
            &["check", file][..],
            &["run", "--config", file],
            &["token", "issue", "--subject", "a", "--config", file],
        ] {
            let error = drawgate(&folder, words).failed();
            assert!(error.starts_with(&format!("error: {file} cannot be read: ")), "{error}");
            assert!(error.ends_with(advice), "{error}");
        }
    }
}

#[test]
fn arguments_that_make_no_sense_exit_with_2() {
    let folder = folder();
    for words in [
        &["nonsense"][..],
        &[],
        &["run"],
        &["check"],
        &["check", "a.toml", "--config", "b.toml"],
        &["completions", "cmd"],
        &["token", "issue"],
    ] {
        let ran = drawgate(&folder, words);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{words:?}");
        assert!(ran.stderr.contains("--help") || ran.stderr.contains("Usage: drawgate"), "{}", ran.stderr);
    }
}

#[test]
fn the_version_is_said_in_both_ways() {
    let folder = folder();
    let version = format!("drawgate {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(drawgate(&folder, &["version"]).fine(), version);
    assert_eq!(drawgate(&folder, &["--version"]).fine(), version);
}

#[test]
fn completions_are_scripts_of_their_shells() {
    let folder = folder();
    for (shell, words) in
        [("bash", "complete -F _drawgate"), ("zsh", "#compdef drawgate"), ("fish", "complete -c drawgate")]
    {
        let script = drawgate(&folder, &["completions", shell]).fine();
        assert!(script.contains(words) && script.contains("inspect"), "{script}");
        fs::write(folder.path().join(shell), script).unwrap();
    }
    let checked = Command::new("bash").arg("-n").arg(folder.path().join("bash")).output().unwrap();
    assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}");
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let folder = folder();
    assert_eq!(drawgate(&folder, &["manual", "."]).fine(), "");
    let page = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    for (name, words) in [
        ("drawgate.1", "drawgate\\-run(1)"),
        ("drawgate-run.1", "The configuration file"),
        ("drawgate-token-inspect.1", ".SH OPTIONS"),
    ] {
        assert!(page(name).contains(words), "{}", page(name));
    }
    let ran = drawgate(&folder, &["manual", "nowhere"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("error: the manual cannot be written into nowhere: "), "{}", ran.stderr);
}

#[test]
fn the_demo_prints_a_configuration_that_passes_and_runs() {
    let folder = folder_with_key();
    let text = drawgate(&folder, &["demo", "--print-config"]).fine();
    assert_eq!(text, demo_text());
    fs::write(folder.path().join("data/demo.toml"), &text).unwrap();
    let checked = drawgate(&folder, &["check", "data/demo.toml"]).fine();
    assert!(checked.starts_with("data/demo.toml: fine (3 listeners, 3 routes);"), "{checked}");

    write_on_free_ports(&folder, "data/demo.toml", &text);
    let running = Running::start(&folder, "data/demo.toml");
    let (echo, token) = (running.listens("echo"), running.listens("token"));
    let issue = |words: &[&str]| {
        let words = [&["token", "issue", "--subject", "alice", "--data", "data"], words].concat();
        drawgate(&folder, &words).fine().trim_end().to_owned()
    };
    assert_eq!(answers(&echo, "/", &["hello"]), [Message::text("Server received: hello")]);
    assert_eq!(
        answers(&token, "/", &[&issue(&[]), "hello"]),
        [Message::text("Authenticated!"), Message::text("Server received: hello")]
    );
    assert_eq!(answers(&token, "/", &[&issue(&["--expires-in", "-1h"])]), [Message::text("Token Expired")]);
    running.stop();
}

#[test]
fn the_demo_makes_its_key_once_and_keeps_it_private() {
    let folder = folder();
    start_demo_in_vain(&folder);
    let file = folder.path().join("data/token.secret");
    let key = fs::read_to_string(&file).unwrap();
    assert_eq!(key.len(), 64);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    start_demo_in_vain(&folder);
    assert_eq!(fs::read_to_string(&file).unwrap(), key);
}

#[test]
fn a_demo_whose_ports_are_taken_says_how_to_have_others() {
    let expected = "error: listener echo cannot listen on 127.0.0.1:8765: Address already in use (os error 98); \
                    another program has it: stop that one (ss -ltnp shows it), or choose another port; for other \
                    ports than the demo's: drawgate demo --print-config > data/demo.toml, change them there, then \
                    drawgate run --config data/demo.toml\n";
    assert_eq!(start_demo_in_vain(&folder()), expected);
}

#[test]
fn a_demo_without_a_usable_folder_says_so() {
    let folder = folder_with_key();
    fs::write(folder.path().join("file"), "").unwrap();
    for data in ["file", "file/data"] {
        let error = drawgate(&folder, &["demo", "--data", data]).failed();
        assert!(error.starts_with(&format!("error: {data} cannot be made (")), "{error}");
        assert!(error.ends_with("): choose a folder that can be written with `--data DIR`\n"), "{error}");
    }
    fs::write(folder.path().join("data/token.secret"), "short").unwrap();
    assert_eq!(
        drawgate(&folder, &["demo", "--data", "data"]).failed(),
        "error: the key at data/token.secret cannot be used: the demo's configuration names a file that is too short \
         for a key, which could be guessed; remove it, and `drawgate demo` makes a new one\n"
    );
}

#[test]
fn tokens_are_issued_and_explained() {
    let folder = folder_with_key();
    let issue = |words: &[&str]| {
        drawgate(&folder, &[&["token", "issue", "--subject", "alice", "--data", "data"], words].concat())
    };
    let inspect = |token: &str| drawgate_with_stdin(&folder, &["token", "inspect", "--data", "data"], token);

    let token = issue(&["--claim", "role=admin", "--claim", "level=3"]).fine();
    assert_eq!((token.lines().count(), token.matches('.').count()), (1, 2));
    let said = inspect(&token).fine();
    assert!(said.starts_with("This token is valid for another "), "{said}");
    for claim in ["  level  3\n", "  role   \"admin\"\n"] {
        assert!(said.contains(claim), "{said}");
    }
    assert!(said.contains("  sub    \"alice\"     the subject: who speaks on the connection\n"), "{said}");

    let expired = inspect(&issue(&["--expires-in", "-1h"]).fine());
    assert_eq!((expired.code, expired.stderr.as_str()), (Some(1), ""));
    assert!(expired.stdout.starts_with("This token is not valid: the token has expired.\n"));
}

#[test]
fn tokens_are_issued_with_a_private_key_for_the_public_one_of_the_configuration() {
    let folder = folder();
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let private = folder.path().join("issuer.private.pem");
    fs::write(&private, pair.serialize_pem()).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(folder.path().join("issuer.pem"), pair.public_key_pem()).unwrap();
    let text = "[listeners.public]\naddress = \"127.0.0.1:8080\"\ntls = \"none\"\n\
                [routes.chat]\nlisteners = [\"public\"]\npath = \"/\"\norigins = \"any\"\nauth = \"users\"\nbackend = \"echo\"\n\
                [auth.users]\ncredentials = [\"first_message\"]\nissuer = \"any\"\naudience = \"any\"\n\
                algorithms = [\"EdDSA\"]\nkeys = { public_key_file = \"issuer.pem\" }\n";
    fs::write(folder.path().join("gate.toml"), text).unwrap();
    let words = ["token", "issue", "--config", "gate.toml", "--subject", "alice"];
    let token =
        drawgate(&folder, &[&words[..], &["--private-key-file", "issuer.private.pem"]].concat()).fine();
    let said = drawgate_with_stdin(&folder, &["token", "inspect", "--config", "gate.toml"], &token).fine();
    assert!(said.starts_with("This token is valid for another ") && said.contains("\"EdDSA\""), "{said}");
    let error = drawgate(&folder, &words).failed();
    assert!(error.contains("--private-key-file FILE"), "{error}");
}

#[test]
fn what_an_argument_cannot_be_is_told_with_what_it_can() {
    let folder = folder();
    for (words, advice) in [
        (&["sessions", "--admin", "here", "--token-file", "t"][..], "write it as http://HOST:PORT"),
        (&["connect", "here"], "write it as ws://HOST:PORT, or wss:// for TLS"),
        (&["connect", "ws://a", "--wait-ms", "soon"], "write a number of milliseconds"),
        (&["proxy", "--to", "ws://a", "--listen", "8080"], "such as 127.0.0.1:8080"),
        (&["try", "--config", "c", "--route", "r", "--client", "me"], "such as 203.0.113.7"),
        (&["ban", "alice", "--for", "long"], "write it like 90s, 15m, 1h30m or 7d\n"),
    ] {
        let ran = drawgate(&folder, words);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{words:?}");
        assert!(ran.stderr.contains(advice), "{words:?}: {}", ran.stderr);
    }
    for (words, advice) in [
        (&["connect", "ws://127.0.0.1:1", "--token-file", "none"][..], "`drawgate token issue`"),
        (&["audit", "verify", "--key", "none", "a.log"], "`drawgate audit create`"),
    ] {
        let error = drawgate(&folder, words).failed();
        assert!(error.contains("none: cannot be read: ") && error.contains(advice), "{words:?}: {error}");
    }
}

#[test]
fn tokens_that_cannot_be_issued_are_said_why() {
    let folder = folder_with_key();
    for (words, complaint) in [
        (["--claim", "role"], "write it as NAME=VALUE, such as role=admin"),
        (["--claim", "exp=1"], "say when it expires with --expires-in"),
        (["--expires-in", "soon"], "soon is no time: write it like 90s, 15m, 1h30m, 7d or -1h"),
    ] {
        let ran = drawgate(
            &folder,
            &[&["token", "issue", "--subject", "alice", "--data", "data"], &words[..]].concat(),
        );
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
        assert!(ran.stderr.contains(complaint), "{}", ran.stderr);
    }
    assert_eq!(
        drawgate(&folder, &["token", "issue", "--subject", "alice"]).failed(),
        "error: there is no key at drawgate-data/token.secret: run `drawgate demo` once to make it, or name its folder \
         with `--data DIR`\n"
    );
}

#[test]
fn a_port_that_is_taken_is_said_with_what_to_do() {
    let folder = folder();
    write_on_free_ports(&folder, "first.toml", start_text());
    let first = Running::start(&folder, "first.toml");
    let address = first.listens("public");
    let text = start_text().replace("127.0.0.1:8080", &address);
    write_on_free_ports(&folder, "second.toml", &text);
    assert_eq!(
        drawgate(&folder, &["run", "--config", "second.toml"]).failed(),
        format!(
            "error: listener public cannot listen on {address}: Address already in use (os error 98); another program \
             has it: stop that one (ss -ltnp shows it), or choose another port\n"
        )
    );
    first.stop();
}

#[test]
fn an_error_file_whose_folder_is_missing_is_said_with_what_to_do() {
    let folder = folder();
    let text = start_text().replace("#error_file = { path = \"", "error_file = { path = \"missing/");
    write_on_free_ports(&folder, "gate.toml", &text);
    let error = drawgate(&folder, &["run", "--config", "gate.toml"]).failed();
    assert!(error.contains("missing/websocket_errors.log"), "{error}");
    assert!(error.contains("make its folder") && error.contains("No such file or directory"), "{error}");
}

#[test]
fn a_reader_that_has_heard_enough_is_no_failure() {
    let folder = folder_with_key();
    for words in [
        &["demo", "--print-config"][..],
        &["completions", "bash"],
        &["version"],
        &["token", "issue", "--subject", "a", "--data", "data"],
        &["check", "--help"],
    ] {
        // The read end is gone before anything can be written.
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let ran = command(folder.path(), words).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let stderr = String::from_utf8(ran.stderr).unwrap();
        assert_eq!((ran.status.code(), stderr.as_str()), (Some(0), ""), "{words:?}");
    }
}

/// What a command came to.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The standard output of a command that worked and had nothing to complain about.
    #[track_caller]
    fn fine(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{}", self.stdout);
        self.stdout
    }

    /// The complaint of a command that could not do its work, and printed nothing else.
    #[track_caller]
    fn failed(self) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (Some(1), ""), "{}", self.stderr);
        self.stderr
    }
}

fn command(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drawgate"));
    command.current_dir(folder).args(words).stdin(Stdio::null());
    command
}

fn drawgate(folder: &TempDir, words: &[&str]) -> Ran {
    drawgate_with_stdin(folder, words, "")
}

fn drawgate_with_stdin(folder: &TempDir, words: &[&str], stdin: &str) -> Ran {
    let mut command = command(folder.path(), words);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that does not want to hear it may have ended already.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let pid = Pid::from_child(&child);
    let (sender, ended) = channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match ended.recv_timeout(PATIENCE) {
        Ok(output) => Ran::of(output.unwrap()),
        Err(_) => {
            let _ = kill_process(pid, Signal::KILL);
            panic!("drawgate {words:?} does not end");
        }
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A folder whose `data` has a key, made by the demo.
fn folder_with_key() -> TempDir {
    let folder = folder();
    start_demo_in_vain(&folder);
    folder
}

/// Starts the demo where one of its ports is taken, so that it gets no further than its key. Returns its complaint.
fn start_demo_in_vain(folder: &TempDir) -> String {
    // Held until the tests end: a child of another thread could hold it for a moment longer than this one. Where another
    // program has it already, that does as well.
    static TAKEN: OnceLock<io::Result<TcpListener>> = OnceLock::new();
    TAKEN.get_or_init(|| TcpListener::bind("127.0.0.1:8765"));
    drawgate(folder, &["demo", "--data", "data"]).failed()
}

/// A `drawgate run`, ended when it is dropped.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(folder: &TempDir, file: &str) -> Self {
        let mut command = command(folder.path(), &["run", "--config", file]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    /// Where `listener` listens, by the records up to that; each line must be a record.
    fn listens(&self, listener: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("a record comes");
            let record: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no record: {line}"));
            if record["message"] == "listening" && record["listener"] == listener {
                return record["address"].as_str().unwrap().to_owned();
            }
        }
    }

    /// Ends it as an operator would; it must say so, in records alone, and exit with 0.
    fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        let records: Vec<Value> =
            self.lines.iter().map(|line| serde_json::from_str(&line).unwrap()).collect();
        for message in ["draining", "drained"] {
            assert!(records.iter().any(|record| record["message"] == message), "{records:?}");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes `text` with ports that the system chooses.
fn write_on_free_ports(folder: &TempDir, file: &str, text: &str) {
    let ports = [":8080\"", ":8765\"", ":8888\"", ":9090\""];
    let text = ports.iter().fold(text.to_owned(), |text, port| text.replace(port, ":0\""));
    fs::write(folder.path().join(file), text).unwrap();
}

/// Opens a WebSocket at `address`, sends `messages` and returns as many answers.
fn answers(address: &str, path: &str, messages: &[&str]) -> Vec<Message> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut client, _) = tungstenite::client(format!("ws://{address}{path}"), stream).unwrap();
    let answer = |message: &&str| {
        client.send(Message::text(*message)).unwrap();
        client.read().unwrap()
    };
    messages.iter().map(answer).collect()
}

/// How long the program may take to say something.
const PATIENCE: Duration = Duration::from_secs(10);
