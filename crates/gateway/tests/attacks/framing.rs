//! F: frames and messages.

mod closing;
mod controls;
mod headers;
mod limits;
mod notices;
mod pieces;
mod text;

use std::time::{Duration, Instant};

use drawgate::limits::Limits;
use drawgate::reason::Reason;
use drawgate::server::Builder;
use drawgate::{Access, CloseCode, Handler, Message, Origins, Route, Server, Session};
use serde_json::Value;

use crate::support::{Case, Raw, echo, eventually};

/// Sends `sent` on a fresh connection of a fresh gateway and nothing after it: it must be enough for the Close of
/// `reason`. Nothing of `plain`, the payload in it, may be kept. Returns the record.
async fn refused(toml: &str, sent: &[u8], plain: &[u8], reason: Reason) -> Value {
    let mut case = Case::start(toml).await;
    let mut raw = case.open().await;
    raw.send(sent).await;
    raw.expect_close(reason).await;
    drop(raw);
    let record = case.refused(reason, plain).await;
    assert_eq!(record["close_code"], reason.row().close.map(CloseCode::get).unwrap());
    record
}

/// Each of `attacks` is refused on the plain echo for `reason`.
async fn all_refused(attacks: impl IntoIterator<Item = Vec<u8>>, reason: Reason) {
    for sent in attacks {
        let record = refused(&echo("", ""), &sent, &sent, reason).await;
        assert!(record["rule"].is_string() && record["section"].is_string(), "{record}");
    }
}

/// An echo that waits no longer than `close_timeout` for the answer to its Close.
fn with_close_timeout(close_timeout: &str, limits: &str) -> String {
    let toml = echo(limits, "");
    toml.replace(r#"close_timeout = "300ms""#, &format!(r#"close_timeout = "{close_timeout}""#))
}

/// An application that gets messages whole, and sends them back after it has let others go first.
struct Whole;

impl Handler for Whole {
    async fn message(&self, session: &Session, message: Message) {
        tokio::task::yield_now().await;
        let _ = session.send(message).await;
    }
}

/// A gateway to that application.
fn whole_messages(limits: Limits) -> Builder {
    let route = Route::new("echo", "/*", Origins::Any, Access::Open, Whole).unwrap().limits(limits);
    Server::builder().listen("127.0.0.1:0".parse().unwrap()).route(route)
}

/// Sends `message` and reads none of its echoes, until the gateway's socket takes no more; its output is then far from
/// its bound. Returns how often it was sent, and how many bytes wait.
async fn block_output(case: &Case, raw: &mut Raw, message: &[u8]) -> (u64, u64) {
    for sent in 1..1000 {
        raw.send_frame(0x82, message).await;
        eventually(|| case.messages("in", "binary") == sent, || format!("message {sent} is not read")).await;
        match case.buffered_bytes().await {
            0 => {}
            bytes => return (sent, bytes),
        }
    }
    panic!("the output never blocks");
}

/// Which time it is, for those who check deadlines.
fn now() -> Instant {
    Instant::now()
}

/// `since` is at least `least` ago, and at most a second more.
fn assert_took(since: Instant, least: Duration) {
    let elapsed = since.elapsed();
    assert!(elapsed >= least, "after {elapsed:?} it is too early");
    assert!(elapsed < least + Duration::from_secs(1), "after {elapsed:?} it is too late");
}

#[tokio::test]
async fn f05_an_unmasked_frame_closes_with_1002() {
    let mut case = Case::start(&echo("", "")).await;
    let mut raw = case.open().await;
    raw.send(b"\x81\x10not masked at all").await;
    raw.expect_close(Reason::FrameNotMasked).await;
    let record = case.refused(Reason::FrameNotMasked, b"not masked at all").await;
    assert_eq!(record["close_code"], 1002);
    assert_eq!(record["section"], "RFC 6455 §5.1");
}

#[tokio::test]
async fn f05_every_unmasked_frame_is_refused_at_its_second_byte() {
    let opcodes = [0x01, 0x02, 0x81, 0x82, 0x88, 0x89, 0x8A];
    let headers = opcodes.into_iter().flat_map(|first| [vec![first, 0], vec![first, 5], vec![first, 0x7F]]);
    all_refused(headers, Reason::FrameNotMasked).await;
}
