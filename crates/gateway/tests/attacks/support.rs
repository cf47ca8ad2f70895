//! A gateway to attack, a raw client to do it with, and what must hold afterwards.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use drawgate::config::Config;
use drawgate::control::Control;
use drawgate::observe::Observer;
use drawgate::reason::Reason;
use drawgate::server::{AddressBans, Builder, Drained, Entry, Reloader, UpstreamDrains};
use drawgate::session::Sessions;
use drawgate::{CloseCode, Server};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::subscriber::DefaultGuard;

/// A running gateway, and a well-behaved client on it that must not notice what happens beside it.
pub(crate) struct Case {
    pub(crate) address: SocketAddr,
    /// Of every listener, in their order.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) observer: Observer,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) control: Control,
    pub(crate) bans: AddressBans,
    pub(crate) upstreams: UpstreamDrains,
    pub(crate) reloader: Reloader,
    pub(crate) admin: Option<SocketAddr>,
    /// The first listener's way in for sockets from elsewhere, and the last one's.
    pub(crate) entry: Entry,
    pub(crate) last_entry: Entry,
    neighbour: Raw,
    records: Records,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Drained>,
    _subscriber: DefaultGuard,
}

/// The shape of most cases: an echo, with short deadlines. `limits` are lines of `[routes.echo.limits]`, `more` is
/// anything that follows.
pub(crate) fn echo(limits: &str, more: &str) -> String {
    format!(
        r#"
        [listeners.main]
        address = "127.0.0.1:0"
        tls = "none"
        head_timeout = "300ms"
        [routes.echo]
        listeners = ["main"]
        path = "/*"
        origins = "any"
        auth = "none"
        backend = "echo"
        [routes.echo.limits]
        close_timeout = "300ms"
        {limits}
        {more}
        "#
    )
}

impl Case {
    /// Starts a gateway with this configuration, and its neighbour. Tests run on a current-thread runtime, so that the
    /// subscriber of their thread sees every record.
    pub(crate) async fn start(toml: &str) -> Self {
        let config = Config::from_toml(toml, Path::new("."), &|_| None)
            .unwrap_or_else(|problems| panic!("{problems}"));
        Self::start_with(Server::from_config(config)).await
    }

    /// Starts the gateway that `builder` builds; its first route must be an open echo at `/`.
    pub(crate) async fn start_with(builder: Builder) -> Self {
        let records = Records::default();
        let writer = records.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        // What is logged on other threads meanwhile must not settle that nobody listens here: tracing remembers that for
        // all of them.
        static LISTENING: Once = Once::new();
        LISTENING
            .call_once(|| tracing::subscriber::set_global_default(tracing_subscriber::registry()).unwrap());
        let subscriber = tracing::subscriber::set_default(subscriber);
        let server = builder.bind().unwrap_or_else(|error| panic!("{error}"));
        let addresses = server.addresses().map(|(_, address)| address).collect();
        let (address, admin, observer) = (server.address(), server.admin_address(), server.observer());
        let (sessions, control, bans) = (server.sessions(), server.control(), server.firewall());
        let (reloader, upstreams) = (server.reloader(), server.upstreams());
        let listener = server.addresses().next().map(|(name, _)| name.to_owned()).unwrap();
        let entry = server.entry(&listener).unwrap();
        let last = server.addresses().last().map(|(name, _)| name.to_owned()).unwrap();
        let last_entry = server.entry(&last).unwrap();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        let mut neighbour = Raw::connect(address).await;
        neighbour.upgrade("/").await;
        Self {
            address,
            addresses,
            observer,
            sessions,
            control,
            bans,
            upstreams,
            reloader,
            admin,
            entry,
            last_entry,
            neighbour,
            records,
            stop: Some(stop),
            running,
            _subscriber: subscriber,
        }
    }

    /// A new connection to the gateway, not yet upgraded.
    pub(crate) async fn connect(&self) -> Raw {
        Raw::connect(self.address).await
    }

    /// A new connection that is upgraded on `/`.
    pub(crate) async fn open(&self) -> Raw {
        let mut raw = self.connect().await;
        raw.upgrade("/").await;
        raw
    }

    /// How often connections have ended for `reason`.
    pub(crate) fn ends(&self, reason: Reason) -> u64 {
        let label = format!("reason=\"{}\"", reason.row().label);
        self.metric_sum(|line| line.starts_with("drawgate_ends_total{") && line.contains(&label))
    }

    /// The value of one metric line, named with its labels as it is printed; 0 where it is not there.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        self.metric_sum(|line| line.rsplit_once(' ').is_some_and(|(found, _)| found == name))
    }

    fn metric_sum(&self, is_wanted: impl Fn(&str) -> bool) -> u64 {
        let text = self.observer.render();
        let values = text.lines().filter(|line| is_wanted(line)).filter_map(|line| line.rsplit_once(' '));
        values.map(|(_, value)| value.parse::<u64>().unwrap()).sum()
    }

    /// Every record so far.
    pub(crate) fn records(&self) -> Vec<Value> {
        self.records.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The records of ends for `reason`.
    pub(crate) fn records_of(&self, reason: Reason) -> Vec<Value> {
        self.records().into_iter().filter(|record| record["reason"] == reason.row().label).collect()
    }

    /// All records as they were written.
    pub(crate) fn log_text(&self) -> String {
        self.records.text()
    }

    /// What holds of every refusal: it ended once for `reason`, in one record and one count; the record names connection
    /// and client; nothing of `sent` is in the log; within a second nothing of it is left; the neighbour is unharmed.
    /// Returns the record.
    pub(crate) async fn refused(&mut self, reason: Reason, sent: &[u8]) -> Value {
        self.refused_from("127.0.0.1", reason, sent).await
    }

    /// The same, of a client at this address.
    pub(crate) async fn refused_from(&mut self, client: &str, reason: Reason, sent: &[u8]) -> Value {
        let record = self.ended_from(client, reason).await;
        self.keeps_nothing_of(sent);
        self.neighbour_is_unharmed().await;
        record
    }

    /// Waits until exactly one connection has ended for `reason`, and none but the neighbour is left.
    pub(crate) async fn ended(&mut self, reason: Reason) -> Value {
        self.ended_from("127.0.0.1", reason).await
    }

    async fn ended_from(&mut self, client: &str, reason: Reason) -> Value {
        eventually(
            || self.ends(reason) >= 1 && !self.records_of(reason).is_empty(),
            || format!("no end for {}:\n{}", reason.row().label, self.log_text()),
        )
        .await;
        assert_eq!(self.ends(reason), 1, "ends for {}", reason.row().label);
        let mut records = self.records_of(reason);
        assert_eq!(records.len(), 1, "{records:?}");
        let record = records.remove(0);
        assert_eq!(record["connection"].as_str().map(str::len), Some(16), "{record}");
        assert_eq!(record["client"], client, "{record}");
        let live = r#"drawgate_connections{route="echo"}"#;
        eventually(|| self.metric(live) == 1, || format!("{} connections are left", self.metric(live))).await;
        record
    }

    /// No part of what a peer sent, of more than 15 bytes in a row, is in the log; but the page's origin is.
    pub(crate) fn keeps_nothing_of(&self, sent: &[u8]) {
        let log = self.log_text();
        let lines = sent.split_inclusive(|byte| *byte == b'\n');
        let sent: Vec<u8> = lines.filter(|line| !line.starts_with(b"Origin:")).flatten().copied().collect();
        for part in sent.chunks(16).filter(|part| part.len() == 16) {
            let text = String::from_utf8_lossy(part);
            assert!(!log.contains(&*text), "{text:?} is in the log");
        }
    }

    /// The neighbour still gets its echo.
    pub(crate) async fn neighbour_is_unharmed(&mut self) {
        self.neighbour.send_frame(0x81, b"still here?").await;
        assert_eq!(self.neighbour.read_frame().await, Frame::whole(0x81, b"still here?"));
    }

    /// How many messages or control frames of `kind` have gone over the echo in `direction`.
    pub(crate) fn messages(&self, direction: &str, kind: &str) -> u64 {
        self.metric(&format!(
            r#"drawgate_messages_total{{route="echo",direction="{direction}",kind="{kind}"}}"#
        ))
    }

    /// How many bytes of payload have come to the echo in messages of `kind`.
    pub(crate) fn bytes_in(&self, kind: &str) -> u64 {
        self.metric(&format!(r#"drawgate_payload_bytes_total{{route="echo",direction="in",kind="{kind}"}}"#))
    }

    /// What the admin listener answers on `path`: the status and the body.
    pub(crate) async fn ask_admin(&self, path: &str) -> (u16, String) {
        let admin = self.admin.expect("the case has an admin listener");
        let mut raw = Raw::connect(admin).await;
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\n\r\n").as_bytes()).await;
        while raw.read_more().await {}
        let answer = String::from_utf8(raw.unread).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// The neighbour is sent the Close of `reason`.
    pub(crate) async fn neighbour_is_told(&mut self, reason: Reason) {
        let (code, text) = self.neighbour.read_close().await;
        assert_eq!((Some(code), &*text), (reason.row().close.map(CloseCode::get), reason.row().close_reason));
    }

    /// How much output waits for slow clients, as the admin listener tells it.
    pub(crate) async fn buffered_bytes(&self) -> u64 {
        let (_, page) = self.ask_admin("/metrics").await;
        page.lines().find_map(|line| line.strip_prefix("drawgate_buffered_bytes ")).unwrap().parse().unwrap()
    }

    /// Begins the drain.
    pub(crate) fn drain(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until the gateway has stopped; its counts and records can still be asked for.
    pub(crate) async fn stopped(mut self) -> Self {
        timeout(PATIENCE * 10, &mut self.running).await.expect("the gateway stops").unwrap();
        self
    }

    /// Drains and waits until the gateway has stopped.
    pub(crate) async fn stop(mut self) -> Drained {
        self.drain();
        timeout(PATIENCE * 10, self.running).await.expect("the gateway stops").unwrap()
    }
}

/// Waits until `is_so`, at most a second.
pub(crate) async fn eventually(is_so: impl FnMut() -> bool, complaint: impl Fn() -> String) {
    eventually_within(Duration::from_secs(1), is_so, complaint).await;
}

/// Waits until `is_so`, at most as long as this.
pub(crate) async fn eventually_within(
    patience: Duration,
    mut is_so: impl FnMut() -> bool,
    complaint: impl Fn() -> String,
) {
    let until = Instant::now() + patience;
    while !is_so() {
        assert!(Instant::now() < until, "{}", complaint());
        // The gateway runs on this thread: it gets its turn while this waits.
        sleep(Duration::from_millis(5)).await;
    }
}

/// A socket that sends whatever it is told, and reads with patience but not without end.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
}

/// An HTTP response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    /// What `Retry-After` says, which the body says too.
    pub(crate) fn retry_after(&self) -> Option<u32> {
        let seconds = self.head.split("Retry-After: ").nth(1)?.split("\r\n").next()?.parse().unwrap();
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["retry_after_seconds"], seconds, "{self:?}");
        Some(seconds)
    }
}

/// A frame as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn whole(first: u8, payload: &[u8]) -> Self {
        Self { first, payload: payload.to_vec() }
    }
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// Sends bytes; a peer that has closed already is no failure of the client's.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await;
    }

    /// Sends a masked frame whose first byte is `first`.
    pub(crate) async fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send(&frame(first, payload)).await;
    }

    /// Opens a WebSocket on `target`.
    pub(crate) async fn upgrade(&mut self, target: &str) {
        self.send(request(target, "").as_bytes()).await;
        let response = self.read_response().await;
        assert_eq!(response.status, 101, "{response:?}");
        assert!(
            response.head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            "{response:?}"
        );
    }

    /// Reads the head of an HTTP response.
    pub(crate) async fn read_head(&mut self) -> String {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(
                self.read_more().await,
                "the response ends early: {:?}",
                String::from_utf8_lossy(&self.unread)
            );
        };
        String::from_utf8(self.unread.drain(..end).collect()).unwrap()
    }

    /// Reads an HTTP response and its body.
    pub(crate) async fn read_response(&mut self) -> Response {
        let head = self.read_head().await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < length {
            assert!(self.read_more().await, "the body ends early: {head}");
        }
        let body = String::from_utf8(self.unread.drain(..length).collect()).unwrap();
        Response { status, head, body }
    }

    /// Reads one unmasked frame.
    pub(crate) async fn read_frame(&mut self) -> Frame {
        self.next_frame().await.expect("a frame comes before the end")
    }

    /// Reads one unmasked frame, or the end of the connection.
    pub(crate) async fn next_frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(bytes) = drawgate_protocol::frame::frame_bytes(&self.unread)
                && self.unread.len() >= bytes
            {
                let frame: Vec<u8> = self.unread.drain(..bytes).collect();
                assert_eq!(frame[1] & 0x80, 0, "servers do not mask");
                let header_bytes = match frame[1] {
                    126 => 4,
                    127 => 10,
                    _ => 2,
                };
                return Some(Frame { first: frame[0], payload: frame[header_bytes..].to_vec() });
            }
            if !self.read_more().await {
                assert!(self.unread.is_empty(), "the connection ends inside a frame");
                return None;
            }
        }
    }

    /// Reads messages until the Close comes; it must be `reason`'s, and nothing may follow it.
    pub(crate) async fn expect_close(&mut self, reason: Reason) {
        let row = reason.row();
        let (code, text) = self.read_close().await;
        assert_eq!(Some(code), row.close.map(CloseCode::get), "{text}");
        assert_eq!(text, row.close_reason);
        self.expect_end().await;
    }

    /// Reads messages until the Close comes.
    pub(crate) async fn read_close(&mut self) -> (u16, String) {
        loop {
            let frame = self.read_frame().await;
            if frame.first == 0x88 {
                let (code, reason) = frame.payload.split_at(2);
                return (u16::from_be_bytes([code[0], code[1]]), String::from_utf8(reason.to_vec()).unwrap());
            }
        }
    }

    /// The connection ends, by a FIN or a reset, and nothing comes before.
    pub(crate) async fn expect_end(&mut self) {
        assert!(self.unread.is_empty(), "{:?} comes before the end", self.unread);
        assert!(!self.read_more().await, "{:?} comes before the end", self.unread);
    }

    /// The refusal that `reason` stands for: status, headers, and the problem of RFC 9457; then the end.
    pub(crate) async fn expect_refusal(&mut self, reason: Reason) -> Response {
        let row = reason.row();
        let response = self.read_response().await;
        assert_eq!(Some(response.status), row.status, "{response:?}");
        assert!(response.head.contains("Content-Type: application/problem+json\r\n"), "{response:?}");
        assert!(response.head.contains("Connection: close\r\n") || response.status == 426, "{response:?}");
        let problem: Value = serde_json::from_str(&response.body).unwrap();
        assert_eq!(problem["type"], row.type_uri);
        assert_eq!(problem["title"], row.title);
        assert_eq!(problem["status"], row.status.unwrap());
        self.expect_end().await;
        response
    }

    /// Reads more; false at the end, by a FIN or a reset.
    async fn read_more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.unread)).await;
        read.expect("the gateway answers in time").is_ok_and(|count| count > 0)
    }

    /// Sends a byte at a time, with a pause after each, until the gateway answers or ends the connection; how many were
    /// sent.
    pub(crate) async fn drip(&mut self, bytes: &[u8], pause: Duration) -> usize {
        for (sent, byte) in bytes.iter().enumerate() {
            self.send(&[*byte]).await;
            if timeout(pause, self.stream.peek(&mut [0])).await.is_ok() {
                return sent + 1;
            }
        }
        bytes.len()
    }
}

/// A request to open a WebSocket on `target`; `more` is further header lines, each with its line end.
pub(crate) fn request(target: &str, more: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: gate.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

/// A masked frame whose first byte is `first`; nothing stops it from being wrong.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// What has been logged so far.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<u8>>>);

impl Records {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Records {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Raw {
    /// A connection from the loopback address that ends in `host`: another client than the others.
    pub(crate) async fn connect_from(host: u8, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::new(127, 0, 0, host), 0).into()).unwrap();
        Self::over(socket, address).await
    }

    /// A connection for which the kernel keeps no more than usual that has not been read.
    pub(crate) async fn connect_bounded(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(KERNEL_BYTES).unwrap();
        Self::over(socket, address).await
    }

    async fn over(socket: TcpSocket, address: SocketAddr) -> Self {
        let stream = socket.connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// A socket that takes in little before its peer's output is blocked.
    pub(crate) async fn connect_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self { stream: socket.connect(address).await.unwrap(), unread: Vec::new() }
    }

    /// Reads one message: its frames, the last of which has FIN.
    pub(crate) async fn read_message(&mut self) -> Vec<Frame> {
        let mut frames = vec![self.read_frame().await];
        while frames.last().is_some_and(|frame| frame.first & 0x80 == 0) {
            frames.push(self.read_frame().await);
            assert_eq!(frames.last().map(|frame| frame.first & 0x7F), Some(0), "a fragment continues");
        }
        frames
    }

    /// Sends `bytes` one at a time, one every `interval`, until an answer comes or none is left.
    pub(crate) async fn trickle(&mut self, bytes: &[u8], interval: Duration) {
        for byte in bytes {
            if timeout(interval, self.stream.readable()).await.is_ok() {
                return;
            }
            self.send(&[*byte]).await;
        }
    }
}

/// The payload of a message's frames.
pub(crate) fn payload(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.payload.iter().copied()).collect()
}

/// Waits until what `measure` measures has not changed for a while; returns that.
pub(crate) async fn settled<F: Future<Output = u64>>(mut measure: impl FnMut() -> F) -> u64 {
    let until = Instant::now() + PATIENCE;
    let (mut last, mut since) = (measure().await, Instant::now());
    while since.elapsed() < Duration::from_millis(100) {
        assert!(Instant::now() < until, "{last} has not settled");
        sleep(Duration::from_millis(5)).await;
        let next = measure().await;
        if next != last {
            (last, since) = (next, Instant::now());
        }
    }
    last
}

/// How long a client waits for an answer before the test fails. Deadlines in tests are much shorter.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const KERNEL_BYTES: u32 = 128 * 1024;
