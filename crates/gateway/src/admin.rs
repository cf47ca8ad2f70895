//! Health, readiness and metrics, on a listener of their own.
//!
//! Answers only who addresses it by its own name: a page that a browser loaded from elsewhere reaches loopback too, by a
//! name that was made to resolve to it (DNS rebinding) or as another origin, and gets nothing. Reads what others counted;
//! never changes a connection. Floor 4; [`serve`] runs beside the listeners, and outlasts them while they drain.
//!
//! A connection carries one request: there is no idle connection to keep, and one deadline holds for all of it.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

/// The `[admin]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where to listen; loopback only, until TLS can be required of others.
    pub address: SocketAddr,
}

/// What the listener tells, and how long it waits.
#[derive(Clone)]
pub struct AdminState {
    /// Writes the metrics out as OpenMetrics text, up to and with its `# EOF`.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Whether new connections are welcome: false from the moment draining begins.
    pub ready: Arc<dyn Fn() -> bool + Send + Sync>,
    /// How long clients may take.
    pub timeouts: Timeouts,
}

impl AdminState {
    /// State with the default timeouts.
    pub fn new(
        metrics: impl Fn() -> String + Send + Sync + 'static,
        ready: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { metrics: Arc::new(metrics), ready: Arc::new(ready), timeouts: Timeouts::default() }
    }
}

impl fmt::Debug for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminState").field("timeouts", &self.timeouts).finish_non_exhaustive()
    }
}

/// How long a client may take, from the accept on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To send its request head.
    pub head: Duration,
    /// Until it has read the whole answer.
    pub request: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { head: Duration::from_secs(5), request: Duration::from_secs(10) }
    }
}

/// Answers on `listener` until `shutdown`; then takes no new connections, lets requests in flight finish within their
/// deadline, and returns.
pub async fn serve(listener: TcpListener, state: AdminState, shutdown: impl Future<Output = ()>) {
    let state = Arc::new(state);
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stop, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_ended) = connections.join_next() => {}
            (stream, permit) = accept(&listener, &permits) => {
                connections.spawn(serve_connection(stream, permit, Arc::clone(&state), stopping.clone()));
            }
        }
    }
    drop(listener);
    drop(stop);
    while connections.join_next().await.is_some() {}
}

/// The next connection, once there is a permit for it: until then it waits with the kernel.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let permit = Arc::clone(permits).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            // Most likely there is no file descriptor left: trying again at once would only spin.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Reads one request and answers it. What fails here, fails the client alone: there is nothing to tell.
async fn serve_connection(
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
    state: Arc<AdminState>,
    mut stopping: watch::Receiver<()>,
) {
    let Ok(own_addr) = stream.local_addr() else { return };
    let Timeouts { head, request } = state.timeouts;
    let respond = |request: Request<_>| {
        let response = answer(&request, own_addr, &state);
        async move { Ok::<_, Infallible>(response) }
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service_fn(respond));
    let mut connection = pin!(connection);
    let _ = tokio::time::timeout(request, async {
        tokio::select! {
            _ = &mut connection => {}
            // The sender is only ever dropped: the listener stops.
            _ = stopping.changed() => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    })
    .await;
}

/// The answer to one request that came to `own_addr`.
fn answer<B>(request: &Request<B>, own_addr: SocketAddr, state: &AdminState) -> Response<Full<Bytes>> {
    if let Err((status, detail)) = check_addressee(request, own_addr) {
        return problem(status, detail);
    }
    let path = request.uri().path();
    if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
        return problem(StatusCode::NOT_FOUND, "There are only /metrics, /healthz and /readyz here.");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = problem(StatusCode::METHOD_NOT_ALLOWED, "This can only be read.");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match path {
        "/metrics" => respond(StatusCode::OK, OPENMETRICS, (state.metrics)()),
        "/readyz" if !(state.ready)() => respond(StatusCode::SERVICE_UNAVAILABLE, PLAIN_TEXT, "draining"),
        "/readyz" => respond(StatusCode::OK, PLAIN_TEXT, "ready"),
        _ => respond(StatusCode::OK, PLAIN_TEXT, "ok"),
    }
}

/// Whether the request means this listener, and comes from no page of another origin; else how it is refused.
fn check_addressee<B>(request: &Request<B>, own_addr: SocketAddr) -> Result<(), (StatusCode, &'static str)> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    // RFC 9112 §3.2: a request without Host, or with more than one, is answered with 400.
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err((StatusCode::BAD_REQUEST, "The request must have one Host header."));
    };
    if !is_own_host(host.as_bytes(), own_addr) || !is_own_target(request.uri(), own_addr) {
        return Err((StatusCode::MISDIRECTED_REQUEST, "This listener answers only to its own address."));
    }
    let is_own_origin = |origin: &HeaderValue| {
        origin.as_bytes().strip_prefix(b"http://").is_some_and(|host| is_own_host(host, own_addr))
    };
    if !request.headers().get_all(header::ORIGIN).iter().all(is_own_origin) {
        return Err((StatusCode::FORBIDDEN, "Pages of other origins may not read this."));
    }
    Ok(())
}

/// RFC 9112 §3.2.2: a target in absolute form takes the place of Host, so it must name us as well.
fn is_own_target(target: &Uri, own_addr: SocketAddr) -> bool {
    let is_http = target.scheme_str().is_none_or(|scheme| scheme == "http");
    is_http && target.authority().is_none_or(|host| is_own_host(host.as_str().as_bytes(), own_addr))
}

/// Whether `host` names `own_addr`: by its address and port, or on loopback by any usual name of loopback and the port.
fn is_own_host(host: &[u8], own_addr: SocketAddr) -> bool {
    let Ok(host) = str::from_utf8(host) else { return false };
    let (name, port) = match host.rsplit_once(':') {
        // A colon within the brackets belongs to the address.
        Some((name, port)) if !port.ends_with(']') => (name, port),
        Some(_) | None => (host, HTTP_PORT),
    };
    if port != own_addr.port().to_string() {
        return false;
    }
    let own_ip = own_addr.ip().to_canonical();
    let is_loopback = own_ip.is_loopback();
    match parse_ip(name) {
        Some(ip) => ip == own_ip || is_loopback && (ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST),
        None => is_loopback && name.eq_ignore_ascii_case("localhost"),
    }
}

/// The address that a URI's host writes out (RFC 3986 §3.2.2), if it is one.
fn parse_ip(name: &str) -> Option<IpAddr> {
    match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse().map(IpAddr::V6).ok(),
        None => name.parse().map(IpAddr::V4).ok(),
    }
}

/// A refusal as RFC 9457 has it; its type is the status alone.
fn problem(status: StatusCode, detail: &str) -> Response<Full<Bytes>> {
    let title = status.canonical_reason().unwrap_or_default();
    let body = serde_json::json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail,
    });
    respond(status, PROBLEM_JSON, body.to_string())
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let fields: [(HeaderName, &'static str); 3] = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fields {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

const PLAIN_TEXT: &str = "text/plain; charset=utf-8";
const PROBLEM_JSON: &str = "application/problem+json";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The port that a Host without one means (RFC 9110 §4.2.1).
const HTTP_PORT: &str = "80";

/// Connections at once: many times what scrapers and probes need. Others wait to be accepted.
const CONNECTIONS_MAX: usize = 64;

/// The most bytes of a request head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The most fields of a request head.
const HEADERS_MAX: usize = 64;

/// How long to wait after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::*;
    use crate::clock::{Clock, Instant};

    /// A listener that runs, and what a test turns on it.
    struct Running {
        addr: SocketAddr,
        ready: Arc<AtomicBool>,
        stop: oneshot::Sender<()>,
        serving: JoinHandle<()>,
    }

    async fn start(timeouts: Timeouts, metrics: impl Fn() -> String + Send + Sync + 'static) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let ready = Arc::new(AtomicBool::new(true));
        let is_ready = Arc::clone(&ready);
        let mut state = AdminState::new(metrics, move || is_ready.load(Ordering::Relaxed));
        state.timeouts = timeouts;
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
        assert_answer(
            &admin.get("/healthz").await,
            "200 OK",
            &["text/plain; charset=utf-8\r\n", "\r\n\r\nok"],
        );
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
        let ask =
            async |host: &str| admin.ask(&format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        for host in ["127.0.0.1", "localhost", "LocalHost", "[::1]", "[0:0::1]"] {
            assert_answer(&ask(&format!("{host}:{port}")).await, "200 OK", &[]);
            assert_answer(&ask(host).await, "421 Misdirected Request", &["\"status\":421"]);
        }
        let other_names =
            ["evil.example", "localhost.evil.example", "localhost.", "127.0.0.2", "127.1", "::1", "", "a@b"];
        for host in other_names {
            assert_answer(&ask(&format!("{host}:{port}")).await, "421 Misdirected Request", &[]);
        }
        for host in
            [format!("localhost:{port}0"), format!("localhost:+{port}"), format!("[::1]:{port}:{port}")]
        {
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

    #[test]
    fn port_80_need_not_be_written_and_beyond_loopback_only_the_address_counts() {
        let own = |addr: &str, host: &str| is_own_host(host.as_bytes(), addr.parse().unwrap());
        assert!(own("127.0.0.1:80", "localhost") && own("[::1]:80", "[::1]") && own("[::1]:80", "[::1]:80"));
        assert!(own("[::ffff:127.0.0.1]:9090", "127.0.0.1:9090"));
        assert!(own("192.0.2.1:9090", "192.0.2.1:9090"));
        assert!(!own("192.0.2.1:9090", "localhost:9090") && !own("192.0.2.1:9090", "127.0.0.1:9090"));
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

    #[tokio::test]
    async fn who_does_not_read_the_answer_is_left_at_the_request_deadline() {
        let request = Duration::from_millis(300);
        let more_than_buffers_hold = || "#".repeat(32 * 1024 * 1024);
        let admin = start(Timeouts { request, ..Timeouts::default() }, more_than_buffers_hold).await;
        let start = now();
        let mut slow = admin.send(&format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", admin.addr)).await;
        slow.read_u8().await.unwrap();
        admin.stop.send(()).unwrap();
        timeout(Duration::from_secs(5), admin.serving)
            .await
            .expect("the listener should have ended")
            .unwrap();
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
        timeout(Duration::from_secs(5), admin.serving)
            .await
            .expect("the listener should have ended")
            .unwrap();
        assert!(now() - start < Timeouts::default().head);
        assert!(TcpStream::connect(admin.addr).await.is_err());
    }

    #[test]
    fn the_default_timeouts_are_5_and_10_seconds() {
        let Timeouts { head, request } = Timeouts::default();
        assert_eq!((head, request), (Duration::from_secs(5), Duration::from_secs(10)));
    }
}
