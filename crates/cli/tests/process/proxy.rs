//! `drawgate proxy`: the one-liner, before a real application.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};

use drawgate::Origins;
use drawgate::config::{BackendConfig, Config};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Client, Program, drawgate, echo};

/// The proxy, and what it says first.
fn start(to: &str) -> (Child, SocketAddr) {
    let mut child = drawgate()
        .args(["proxy", "--listen", "127.0.0.1:0", "--to", to])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let rest = line.strip_prefix("Drawgate passes ws://").unwrap_or_else(|| panic!("{line:?}"));
    let (address, rest) = rest.split_once(' ').unwrap();
    assert_eq!(rest, format!("on to {to}; Ctrl-C ends it.\n"));
    (child, address.parse().unwrap())
}

#[test]
fn the_one_liner_passes_messages_on_and_drains() {
    let application = Program::start(&echo("", ""));
    let (mut proxy, address) = start(&format!("ws://{}", application.address));
    let mut client = Client::connect(address);
    client.upgrade();
    client.echo(b"through both");
    client.echo(&[b'm'; 10_000]);

    let mut stranger = Client::connect(address);
    stranger.send(
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nOrigin: https://evil.example\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    assert!(stranger.read_head().starts_with("HTTP/1.1 403 "), "pages of other origins are refused");

    kill_process(Pid::from_child(&proxy), Signal::TERM).unwrap();
    assert_eq!(client.read_close(), 1012);
    client.send_frame(0x88, &1012_u16.to_be_bytes());
    assert_eq!(proxy.wait().unwrap().code(), Some(0));
    assert!(
        application.log().contains("\"close_code\":1001"),
        "the application was told: {}",
        application.log()
    );
}

#[test]
fn an_application_that_is_not_there_is_a_502_to_the_client() {
    let (mut proxy, address) = start("ws://127.0.0.1:9");
    let mut client = Client::connect(address);
    client.request_upgrade();
    assert!(client.read_head().starts_with("HTTP/1.1 502 Bad Gateway\r\n"));
    proxy.kill().unwrap();
    proxy.wait().unwrap();
}

#[test]
fn what_it_runs_with_can_be_printed_and_arguments_that_are_none_are_named() {
    let print = |args: &[&str]| drawgate().arg("proxy").args(args).output().unwrap();
    let printed = print(&["--to", "ws://app.example/ws", "--print-config"]);
    let text = String::from_utf8(printed.stdout).unwrap();
    let config =
        Config::from_toml(&text, Path::new("."), &|_| None).unwrap_or_else(|error| panic!("{error}: {text}"));
    let BackendConfig::Upstream(upstream) = &config.routes[0].backend else { panic!("{text}") };
    assert_eq!(
        (upstream.members[0].url.host(), upstream.members[0].url.path()),
        ("app.example", Some("/ws"))
    );
    assert_eq!(config.routes[0].origins, Origins::Same);
    let printed = print(&["--to", "wss://app.example", "--ca", "a \"b\".pem", "--print-config"]);
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(text.contains(r#"ca_file = "a \"b\".pem""#), "{text}");

    let refused = print(&["--to", "http://127.0.0.1:9000"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("does not begin with ws://, wss:// or unix:/"), "{said}");
    let refused = print(&["--to", "wss://127.0.0.1:9000", "--ca", "missing.pem"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("missing.pem") && refused.status.code() == Some(1), "{said}");
}
