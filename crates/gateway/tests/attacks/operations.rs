//! O: operations. What only a whole process can show (signals, exit codes, kill -9) is in the program's own tests.

mod drain;
mod reload;

use std::sync::Arc;
use std::time::Duration;

use drawgate::config::Config;
use drawgate::limits::Limits;
use drawgate::reason::Reason;
use drawgate::server::Builder;
use drawgate::{Access, Handler, Message, Origins, Route, Server, Session};
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use self::reload::route_changed;
use crate::support::{Case, Frame, Raw, echo, eventually, request, settled};

/// Answers with the message itself, unless that names a place to panic in.
#[derive(Clone, Copy)]
struct Fragile;

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a bomb");
    }
}

impl Handler for Fragile {
    async fn message(&self, session: &Session, message: Message) {
        match message.as_bytes() {
            b"panic before the answer" => panic!("{SECRET_WORD}"),
            b"panic after the answer" => {
                let _ = session.send(Message::Text("answered".into())).await;
                panic!("{SECRET_WORD}");
            }
            b"panic later" => {
                tokio::task::yield_now().await;
                panic!("{SECRET_WORD}");
            }
            b"panic when dropped" => {
                let _bomb = Bomb;
                let _ = session.send(Message::Text("waiting".into())).await;
                std::future::pending::<()>().await;
            }
            _ => {
                let _ = session.send(message).await;
            }
        }
    }

    fn ended(&self, session: &Session, _: Reason) {
        assert!(session.client().to_string() != "127.0.0.9", "{SECRET_WORD}");
    }
}

/// What a panic says is for the operator's log alone.
const SECRET_WORD: &str = "a word that no client may see";

fn fragile() -> Builder {
    let route = Route::new("echo", "/*", Origins::Any, Access::Open, Fragile).unwrap();
    let limits = Limits { close_timeout: Duration::from_millis(300), ..Limits::default() };
    Server::builder().listen("127.0.0.1:0".parse().unwrap()).route(route.limits(limits))
}

#[tokio::test]
async fn o15_a_panic_in_a_handler_closes_that_connection_with_1011_and_nothing_else() {
    for message in ["panic before the answer", "panic after the answer", "panic later"] {
        let mut case = Case::start_with(fragile()).await;
        let mut raw = case.open().await;
        raw.send_frame(0x81, message.as_bytes()).await;
        let (code, reason) = raw.read_close().await;
        assert_eq!((code, &*reason), (1011, Reason::HandlerPanicked.row().close_reason));
        raw.send_frame(0x88, &1011_u16.to_be_bytes()).await;
        raw.expect_end().await;
        let record = case.refused(Reason::HandlerPanicked, message.as_bytes()).await;
        assert_eq!((&record["level"], &record["close_code"]), (&"ERROR".into(), &1011.into()));
        assert!(!case.log_text().contains(SECRET_WORD));
        case.open().await;
    }
}

#[tokio::test]
async fn o15_what_was_answered_before_the_panic_still_arrives() {
    let case = Case::start_with(fragile()).await;
    let mut raw = case.open().await;
    raw.send_frame(0x81, b"fine").await;
    raw.send_frame(0x81, b"panic after the answer").await;
    raw.send_frame(0x81, b"never looked at").await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"fine"));
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"answered"));
    raw.expect_close_answered(Reason::HandlerPanicked).await;
}

#[tokio::test]
async fn o15_a_panic_at_the_news_of_the_end_harms_nobody_else() {
    let mut case = Case::start_with(fragile()).await;
    let mut raw = Raw::connect_from(9, case.address).await;
    raw.upgrade("/").await;
    drop(raw);
    eventually(|| !case.records_of(Reason::ConnectionLost).is_empty(), || case.log_text()).await;
    let record = case.records_of(Reason::ConnectionLost).remove(0);
    assert!(record["detail"].as_str().unwrap().contains("the handler panicked"), "{record}");
    assert!(!case.log_text().contains(SECRET_WORD));
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn o15_a_call_that_panics_when_it_is_cut_short_is_cut_all_the_same() {
    let case = Case::start_with(fragile().drain_timeout(Duration::from_millis(300))).await;
    let mut raw = case.open().await;
    raw.send_frame(0x81, b"panic when dropped").await;
    assert_eq!(raw.read_frame().await.payload, b"waiting");
    let observer = case.observer.clone();
    assert!(case.stop().await.cut >= 1);
    let live = r#"drawgate_connections{route="echo"} 0"#;
    assert!(observer.render().contains(live), "{}", observer.render());
}

impl Raw {
    /// The Close of `reason` comes next; it is answered, and the connection ends.
    async fn expect_close_answered(&mut self, reason: Reason) {
        let Frame { first, payload } = self.read_frame().await;
        let code = reason.row().close.unwrap().get().to_be_bytes();
        assert_eq!((first, &payload[..2]), (0x88, &code[..]));
        self.send_frame(0x88, &code).await;
        self.expect_end().await;
    }
}

fn echo_with_admin() -> String {
    echo("", "[admin]\naddress = \"127.0.0.1:0\"")
        .replace("close_timeout = \"300ms\"", "close_timeout = \"1s\"")
}

#[tokio::test]
async fn o08_a_drain_delivers_what_has_come_and_says_1012_and_readiness_turns_first() {
    let mut case = Case::start(&echo_with_admin()).await;
    assert_eq!(case.ask_admin("/readyz").await, (200, "ready".to_owned()));
    let mut raw = case.open().await;
    let mut half_open = case.connect().await;
    half_open.send(&request("/", "").as_bytes()[..40]).await;
    // Sent and not yet read when the drain begins.
    for _ in 0..100 {
        raw.send_frame(0x82, &[7; 1000]).await;
    }
    case.drain();
    for _ in 0..100 {
        assert_eq!(raw.read_frame().await, Frame::whole(0x82, &[7; 1000]));
    }
    assert_eq!(raw.read_close().await, (1012, Reason::Draining.row().close_reason.to_owned()));
    half_open.expect_refusal(Reason::Draining).await;
    drop(half_open);
    // That client has not answered the Close yet, and the neighbour neither.
    assert_eq!(case.ask_admin("/readyz").await, (503, "draining".to_owned()));
    assert_eq!(case.ask_admin("/healthz").await.0, 200);
    eventually(|| case.ends(Reason::Draining) == 1, || case.log_text()).await;
    let ended = r#"drawgate_ends_total{reason="draining",side="operator"} 1"#;
    assert!(case.ask_admin("/metrics").await.1.contains(ended));
    assert!(tokio::net::TcpStream::connect(case.address).await.is_err(), "nobody else is let in");
    raw.send_frame(0x88, &1012_u16.to_be_bytes()).await;
    raw.expect_end().await;
    assert_eq!(case.stop().await.cut, 0);
}

/// Answers `wait` once it is let go, and everything else at once.
struct Waiting(Arc<Notify>);

impl Handler for Waiting {
    async fn message(&self, session: &Session, message: Message) {
        if message.as_bytes() == b"wait" {
            self.0.notified().await;
        }
        let _ = session.send(message).await;
    }
}

#[tokio::test]
async fn o08_an_application_that_is_busy_answers_all_that_has_come_before_the_1012() {
    let release = Arc::new(Notify::new());
    let handler = Waiting(Arc::clone(&release));
    let route = Route::new("echo", "/*", Origins::Any, Access::Open, handler).unwrap();
    let builder = Server::builder().listen("127.0.0.1:0".parse().unwrap()).route(route);
    let mut case = Case::start_with(builder).await;
    let mut raw = case.open().await;
    raw.send_frame(0x81, b"wait").await;
    for _ in 0..20 {
        raw.send_frame(0x81, b"behind it").await;
    }
    case.drain();
    // The drain has reached everybody when it has come to rest.
    case.neighbour_is_told(Reason::Draining).await;
    settled(async || case.ends(Reason::Draining)).await;
    release.notify_one();
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"wait"));
    for _ in 0..20 {
        assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"behind it"));
    }
    assert_eq!(raw.read_close().await.0, 1012);
}

#[tokio::test]
async fn o08_what_does_not_end_in_the_drains_time_is_cut() {
    let toml = echo("ping_interval = \"unlimited\"", "[server]\ndrain_timeout = \"300ms\"")
        .replace("close_timeout = \"300ms\"", "close_timeout = \"30s\"");
    let case = Case::start(&toml).await;
    let mut raw = case.open().await;
    let begun = Instant::now();
    // Neither client answers the Close.
    assert_eq!(case.stop().await.cut, 2);
    assert!(begun.elapsed() < Duration::from_millis(1000), "{:?}", begun.elapsed());
    assert_eq!(raw.read_close().await.0, 1012);
    raw.expect_end().await;
}

#[tokio::test]
async fn metrics_name_every_end_by_its_reason_and_only_to_those_who_mean_them() {
    let mut case = Case::start(&echo_with_admin()).await;
    let mut raw = case.open().await;
    raw.send(b"\x81\x05hello").await;
    raw.expect_close(Reason::FrameNotMasked).await;
    drop(raw);
    let mut raw = case.connect().await;
    raw.send(request("/", "").replace("GET", "POST").as_bytes()).await;
    raw.expect_refusal(Reason::MethodNotAllowed).await;
    case.ended(Reason::MethodNotAllowed).await;
    let (status, page) = case.ask_admin("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        r#"drawgate_ends_total{reason="frame_not_masked",side="gateway"} 1"#,
        r#"drawgate_ends_total{reason="method_not_allowed",side="gateway"} 1"#,
        r#"drawgate_handshakes_total{result="accepted"} 2"#,
        r#"drawgate_handshakes_total{result="failed"} 1"#,
        r#"drawgate_connections{route="echo"} 1"#,
    ] {
        assert!(page.lines().any(|found| found == line), "no {line} in\n{page}");
    }
    // DNS rebinding: a page reaches the address by a name of its own.
    let mut raw = Raw::connect(case.admin.unwrap()).await;
    raw.send(b"GET /metrics HTTP/1.1\r\nHost: rebound.example\r\n\r\n").await;
    let response = raw.read_response().await;
    assert_eq!(response.status, 421);
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn o19_nothing_that_can_be_printed_for_debugging_has_a_secret_in_it() {
    const KEY: &str = "d5ae91c0-the-key-of-a-test-93b7c1aa";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token.secret"), KEY).unwrap();
    let more = r#"
        [auth.users]
        credentials = ["first_message"]
        algorithms = ["HS256"]
        keys = { secret_file = "token.secret" }
        issuer = "any"
        audience = "any"
        [admin]
        address = "127.0.0.1:0"
        tokens.operator = { file = "token.secret", scopes = ["read"] }
    "#;
    let toml = echo("", more).replace("auth = \"none\"", "auth = \"users\"");
    let config = Config::from_toml(&toml, folder.path(), &|_| None).unwrap_or_else(|p| panic!("{p}"));
    let mut printed = format!("{config:?} {config:#?}");
    assert!(printed.contains("redacted"), "the key is in the configuration");
    let builder = Server::from_config(config);
    printed += &format!("{builder:?} {builder:#?}");
    let server = builder.bind().unwrap();
    printed += &format!("{server:?} {:?} {:?}", server.entry("main"), server.observer());
    // Neither the text nor its bytes as numbers.
    let numbers: Vec<_> = KEY.bytes().map(|byte| byte.to_string()).collect();
    for needle in [KEY, &KEY[..8], &numbers[..4].join(", ")] {
        assert!(!printed.contains(needle), "{needle}");
    }
}
