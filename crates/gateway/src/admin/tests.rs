//! The listener itself: whom it answers, how long, and how many.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::chance::Chance;
use crate::clock::{Clock, Instant};
use crate::principal::{Claims, ClientAddr, ConnectionId, Principal};
use crate::secret::Secret;
use crate::session::revocation::Target;
use crate::session::{self, End, Opening, Revoked};
use crate::{Access, Handler, Origins, Route, Server};

/// Answers nothing.
struct Silent;

impl Handler for Silent {
    async fn message(&self, _: &crate::Session, _: crate::Message) {}
}

/// A listener that runs, and what a test turns on it.
struct Running {
    addr: SocketAddr,
    ready: Arc<AtomicBool>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

async fn start(timeouts: Timeouts, metrics: impl Fn() -> String + Send + Sync + 'static) -> Running {
    let ready = Arc::new(AtomicBool::new(true));
    let is_ready = Arc::clone(&ready);
    let mut state =
        AdminState::new(metrics, move || (!is_ready.load(Ordering::Relaxed)).then_some("draining"));
    state.timeouts = timeouts;
    start_with(state, ready).await
}

async fn start_with(state: AdminState, ready: Arc<AtomicBool>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(serve(listener, state, async move {
        let _ = stopped.await;
    }));
    Running { addr, ready, stop, serving }
}

async fn start_default() -> Running {
    start(Timeouts::default(), || "# EOF\n".to_owned()).await
}

impl Running {
    async fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// All that comes back to `request`, in which `HOST` stands for the listener's address.
    async fn ask(&self, request: &str) -> String {
        read_all(self.send(&request.replace("HOST", &self.addr.to_string())).await).await
    }

    async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: HOST\r\n\r\n")).await
    }
}

async fn read_all(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("the connection should have been closed");
    String::from_utf8(bytes).unwrap()
}

fn now() -> Instant {
    Clock::system().now()
}

#[track_caller]
fn assert_answer(answer: &str, status: &str, contains: &[&str]) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
    let always =
        ["x-content-type-options: nosniff\r\n", "cache-control: no-store\r\n", "connection: close\r\n"];
    for part in always.iter().chain(contains) {
        assert!(answer.contains(part), "no {part:?} in {answer}");
    }
}

#[tokio::test]
async fn health_readiness_and_metrics_are_told() {
    let admin = start_default().await;
    assert_answer(&admin.get("/healthz").await, "200 OK", &["text/plain; charset=utf-8\r\n", "\r\n\r\nok"]);
    let content_type = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert_answer(&admin.get("/metrics?all").await, "200 OK", &[content_type, "\r\n\r\n# EOF\n"]);
    assert_answer(&admin.get("/readyz").await, "200 OK", &["\r\n\r\nready"]);
    admin.ready.store(false, Ordering::Relaxed);
    assert_answer(&admin.get("/readyz").await, "503 Service Unavailable", &["\r\n\r\ndraining"]);
    assert_answer(&admin.get("/healthz").await, "200 OK", &[]);
}

#[tokio::test]
async fn head_is_answered_like_get_without_the_body() {
    let admin = start_default().await;
    let answer = admin.ask("HEAD /metrics HTTP/1.1\r\nHost: HOST\r\n\r\n").await;
    assert_answer(&answer, "200 OK", &["content-length: 6\r\n"]);
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_as_problems() {
    let admin = start_default().await;
    for path in ["/", "/metrics/", "/metrics%00", "//metrics", "/admin"] {
        let answer = admin.get(path).await;
        assert_answer(
            &answer,
            "404 Not Found",
            &["content-type: application/problem+json\r\n", "\"status\":404"],
        );
    }
    for method in ["POST", "DELETE", "OPTIONS", "TRACE"] {
        let answer = admin.ask(&format!("{method} /metrics HTTP/1.1\r\nHost: HOST\r\n\r\n")).await;
        assert_answer(&answer, "405 Method Not Allowed", &["allow: GET, HEAD\r\n", "\"status\":405"]);
    }
}

#[tokio::test]
async fn only_its_own_host_is_answered() {
    let admin = start_default().await;
    let port = admin.addr.port();
    let ask = async |host: &str| admin.ask(&format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
    for host in ["127.0.0.1", "localhost", "LocalHost", "[::1]", "[0:0::1]"] {
        assert_answer(&ask(&format!("{host}:{port}")).await, "200 OK", &[]);
        assert_answer(&ask(host).await, "421 Misdirected Request", &["\"status\":421"]);
    }
    let other_names =
        ["evil.example", "localhost.evil.example", "localhost.", "127.0.0.2", "127.1", "::1", "", "a@b"];
    for host in other_names {
        assert_answer(&ask(&format!("{host}:{port}")).await, "421 Misdirected Request", &[]);
    }
    for host in [format!("localhost:{port}0"), format!("localhost:+{port}"), format!("[::1]:{port}:{port}")] {
        assert_answer(&ask(&host).await, "421 Misdirected Request", &[]);
    }
}

#[tokio::test]
async fn a_request_has_one_host_and_its_target_agrees_with_it() {
    let admin = start_default().await;
    let none = admin.ask("GET /healthz HTTP/1.1\r\n\r\n").await;
    assert_answer(&none, "400 Bad Request", &["\"status\":400"]);
    let two = admin.ask("GET /healthz HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n").await;
    assert_answer(&two, "400 Bad Request", &[]);
    for (target, status) in [
        ("http://HOST/healthz", "200 OK"),
        ("http://evil.example/healthz", "421 Misdirected Request"),
        ("http://HOST@evil.example/healthz", "421 Misdirected Request"),
        ("https://HOST/healthz", "421 Misdirected Request"),
    ] {
        let answer = admin.ask(&format!("GET {target} HTTP/1.1\r\nHost: HOST\r\n\r\n")).await;
        assert_answer(&answer, status, &[]);
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let admin = start_default().await;
    for (origin, status) in [
        ("http://HOST", "200 OK"),
        ("https://HOST", "403 Forbidden"),
        ("http://evil.example", "403 Forbidden"),
        ("http://HOST.evil.example", "403 Forbidden"),
        ("null", "403 Forbidden"),
        ("", "403 Forbidden"),
        ("http://HOST\r\nOrigin: http://evil.example", "403 Forbidden"),
    ] {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: HOST\r\nOrigin: {origin}\r\n\r\n");
        assert_answer(&admin.ask(&request).await, status, &[]);
    }
}

#[tokio::test]
async fn one_connection_carries_one_request() {
    let admin = start_default().await;
    let request = "GET /healthz HTTP/1.1\r\nHost: HOST\r\nConnection: keep-alive\r\n\r\n";
    let answer = admin.ask(&request.repeat(3)).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

#[tokio::test]
async fn a_head_of_too_many_bytes_or_fields_is_refused() {
    let admin = start_default().await;
    let with = |fields: &str| format!("GET /healthz HTTP/1.1\r\nHost: HOST\r\n{fields}\r\n");
    assert_answer(&admin.ask(&with(&"A: b\r\n".repeat(60))).await, "200 OK", &[]);
    let too_many = admin.ask(&with(&"A: b\r\n".repeat(64))).await;
    assert!(too_many.starts_with("HTTP/1.1 431 "), "{too_many}");
    let field_of = |bytes| format!("A: {}\r\n", "b".repeat(bytes));
    assert_answer(&admin.ask(&with(&field_of(15 * 1024))).await, "200 OK", &[]);
    let too_long = admin.ask(&with(&field_of(17 * 1024))).await;
    assert!(too_long.starts_with("HTTP/1.1 431 ") || too_long.is_empty(), "{too_long}");
    assert!(!too_long.contains("bbb"));
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_ends_the_connection() {
    let head = Duration::from_millis(200);
    let admin = start(Timeouts { head, ..Timeouts::default() }, String::new).await;
    let start = now();
    assert_eq!(read_all(admin.send("").await).await, "");
    assert!((head..Duration::from_secs(2)).contains(&(now() - start)));

    let (start, mut stream) = (now(), admin.send("GET /healthz HTTP/1.1\r\nA: ").await);
    // A byte now and then does not move the deadline.
    while let Err(_still_open) = timeout(head / 20, stream.read_u8()).await {
        let _ = stream.write_all(b"b").await;
    }
    assert!((head..Duration::from_secs(2)).contains(&(now() - start)));
}

/// What can be done to a server that does not run.
fn operations() -> Operations {
    let server = Server::builder().listen("127.0.0.1:0".parse().unwrap());
    let server =
        server.route(Route::new("echo", "/", Origins::Any, Access::Open, Silent).unwrap()).bind().unwrap();
    Operations {
        control: server.control(),
        address_bans: server.firewall(),
        upstreams: server.upstreams(),
        tickets: Arc::default(),
        routes: Arc::new(RwLock::new(Arc::new([]))),
        reload: Arc::new(|| Box::pin(async { Err(NotReloaded::NoFile) })),
        observer: server.observer(),
        clock: Clock::system(),
        chance: Chance::seeded(1),
        runtime: tokio::runtime::Handle::current(),
    }
}

#[tokio::test]
async fn a_session_that_is_revoked_by_its_id_ends_though_it_has_just_been_refreshed() {
    let operations = operations();
    let (sessions, now) = (operations.control.sessions(), operations.now());
    let principal = |token_id: &str| Principal {
        subject: "alice".into(),
        token_id: Some(token_id.into()),
        issued_at: Some(now),
        expires_at: now.plus(Duration::from_mins(10)),
        key: None,
        claims: Claims::default(),
    };
    let opening = Opening {
        route: &"chat".into(),
        client: ClientAddr::new([192, 0, 2, 1].into()),
        connection: ConnectionId::new(1),
        pulse: &Arc::default(),
    };
    let guard = sessions.open(Arc::new(principal("t1")), &opening, &session::Config::default(), now);
    let guard = guard.unwrap();
    let id = guard.live().id();
    let target = sessions.target_of(id);
    assert_eq!(target, Target::Token { token_id: "t1".to_owned() });
    guard.live().refresh(Arc::new(principal("t2")), now).unwrap();
    let revocation = sessions.revocation(target, now);
    let revoked = operations.revoke("ops".into(), revocation, "token_id:t1".to_owned(), Some(id)).await;
    assert_eq!(revoked.unwrap(), Revoked { closed: 1 });
    assert_eq!((guard.live().end(), sessions.count()), (Some(End::Revoked), 0));
}

#[tokio::test]
async fn a_body_that_does_not_come_in_time_ends_the_connection() {
    let request = Duration::from_millis(300);
    let secret = "0123456789abcdef0123456789abcdef";
    let tokens = [Token {
        name: "a".to_owned(),
        secret: Secret::new(secret.as_bytes()),
        scopes: vec![Scope::Operate],
    }];
    let operations = operations();
    let sessions = Arc::clone(operations.control.sessions());
    let mut state =
        AdminState::new(String::new, || None).with_api(Arc::new(Api::new(&tokens, operations)), Vec::new());
    state.timeouts = Timeouts { request, ..Timeouts::default() };
    let admin = start_with(state, Arc::default()).await;
    let head = format!(
        "POST /v1/bans HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {secret}\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\n\r\n{{\"subject\":\"a\"}}",
        admin.addr
    );
    let (start, mut stream) = (now(), admin.send(&head).await);
    // A byte now and then does not move the deadline.
    while let Err(_still_open) = timeout(request / 20, stream.read_u8()).await {
        let _ = stream.write_all(b" ").await;
    }
    assert!((request..Duration::from_secs(2)).contains(&(now() - start)));
    assert_eq!(sessions.kept_count(), 0, "nothing was changed");
}

#[tokio::test]
async fn who_does_not_read_the_answer_is_left_at_the_request_deadline() {
    let request = Duration::from_millis(300);
    let more_than_buffers_hold = || "#".repeat(32 * 1024 * 1024);
    let admin = start(Timeouts { request, ..Timeouts::default() }, more_than_buffers_hold).await;
    let start = now();
    let mut slow = admin.send(&format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", admin.addr)).await;
    slow.read_u8().await.unwrap();
    admin.stop.send(()).unwrap();
    timeout(Duration::from_secs(5), admin.serving).await.expect("the listener should have ended").unwrap();
    assert!((request..Duration::from_secs(3)).contains(&(now() - start)));
}

#[tokio::test]
async fn one_connection_too_many_waits_for_another_to_end() {
    let admin = start_default().await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        silent.push(admin.send("").await);
    }
    let mut waiting = admin.send(&format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", admin.addr)).await;
    assert!(timeout(Duration::from_millis(100), waiting.read_u8()).await.is_err());
    silent.pop();
    assert!(read_all(waiting).await.ends_with("\r\n\r\nok"));
}

#[tokio::test]
async fn shutdown_lets_a_request_in_flight_finish_and_ends_the_idle() {
    let stop: Arc<Mutex<Option<oneshot::Sender<()>>>> = Arc::default();
    let stop_within = Arc::clone(&stop);
    let metrics = move || {
        if let Some(stop) = stop_within.lock().unwrap().take() {
            let _ = stop.send(());
        }
        "#".repeat(8 * 1024 * 1024)
    };
    let mut admin = start(Timeouts::default(), metrics).await;
    *stop.lock().unwrap() = Some(std::mem::replace(&mut admin.stop, oneshot::channel().0));
    let start = now();
    let idle = admin.send("").await;
    let answer = admin.get("/metrics").await;
    assert_answer(&answer, "200 OK", &["content-length: 8388608\r\n"]);
    assert!(answer.len() > 8 * 1024 * 1024, "the answer was cut");
    assert_eq!(read_all(idle).await, "");
    timeout(Duration::from_secs(5), admin.serving).await.expect("the listener should have ended").unwrap();
    assert!(now() - start < Timeouts::default().head);
    assert!(TcpStream::connect(admin.addr).await.is_err());
}

#[test]
fn the_default_timeouts_are_5_and_10_seconds() {
    let Timeouts { head, request } = Timeouts::default();
    assert_eq!((head, request), (Duration::from_secs(5), Duration::from_secs(10)));
}
