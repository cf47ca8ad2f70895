//! One request and its answer, to the last byte; and a pipe that tells how much of a request was read.
//!
//! Every request that is made here carries [`TRACER`], which nobody may see again.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use drawgate::Server;
use drawgate::config::Config;
use drawgate::reason::Reason;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};

use crate::support::{Case, Frame, Response, echo, request};

/// A request that is sound but for what `from`, which must be in it, is changed to.
pub(crate) fn changed(from: &str, to: &str) -> Vec<u8> {
    let head = request("/", "X-Tracer: tracer-7f3a\r\n");
    assert!(head.contains(from), "{from:?}");
    head.replacen(from, to, 1).into_bytes()
}

/// A request that is sound, with further header lines.
pub(crate) fn sound(more: &str) -> Vec<u8> {
    request("/", &format!("X-Tracer: tracer-7f3a\r\n{more}")).into_bytes()
}

/// `sent` opens a WebSocket, and the answer has nothing beyond what it must have.
pub(crate) async fn accepts(sent: &[u8]) {
    let mut case = Case::start(&echo("", "")).await;
    let mut raw = case.connect().await;
    raw.send(sent).await;
    let response = raw.read_response().await;
    assert_eq!(response.head, SWITCHING, "{}", sent.escape_ascii());
    raw.send_frame(0x81, b"hello").await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"hello"));
    case.keeps_nothing_of(&without_names(sent));
    case.neighbour_is_unharmed().await;
}

/// A gateway of its own refuses `sent` for `reason`. Returns the record.
pub(crate) async fn refuses(sent: Vec<u8>, reason: Reason) -> Value {
    let mut case = Case::start(&echo("", "")).await;
    answers(&mut case, &sent, reason).await
}

/// `case` refuses `sent` for `reason`, with exactly what the table says: nothing of what was sent can be in it.
pub(crate) async fn answers(case: &mut Case, sent: &[u8], reason: Reason) -> Value {
    let mut raw = case.connect().await;
    raw.send(sent).await;
    let Response { status: _, head, body } = raw.expect_refusal(reason).await;
    assert_eq!(head, head_of(reason), "{}", sent.escape_ascii());
    assert_eq!(body, reason.problem_json());
    drop(raw);
    refused(case, reason, sent).await
}

/// What holds of every refusal, and the tracer is not in the log but in what says that it is an origin.
pub(crate) async fn refused(case: &mut Case, reason: Reason, sent: &[u8]) -> Value {
    let record = case.refused(reason, &without_names(sent)).await;
    for mut record in case.records() {
        record.as_object_mut().unwrap().remove("origin");
        assert!(!record.to_string().contains(TRACER), "{record}");
    }
    assert_eq!(record["http_status"].as_u64(), reason.row().status.map(u64::from), "{record}");
    record
}

/// What was sent less the names of headers and an origin, which a record may well say.
fn without_names(sent: &[u8]) -> Vec<u8> {
    let value = |line: &'_ [u8]| line.iter().position(|byte| *byte == b':').map_or(0, |colon| colon + 1);
    let is_origin = |line: &&[u8]| line.get(..7).is_some_and(|name| name.eq_ignore_ascii_case(b"origin:"));
    let lines = sent.split(|byte| *byte == b'\n').filter(|line| !is_origin(line));
    lines.flat_map(|line| line[value(line)..].to_vec()).collect()
}

/// The head of the refusal that `reason` stands for, to the last byte.
pub(crate) fn head_of(reason: Reason) -> String {
    let row = reason.row();
    let status_line = match row.status.unwrap() {
        400 => "400 Bad Request",
        403 => "403 Forbidden",
        404 => "404 Not Found",
        405 => "405 Method Not Allowed\r\nAllow: GET",
        408 => "408 Request Timeout",
        414 => "414 URI Too Long",
        426 => {
            "426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"
        }
        429 => "429 Too Many Requests",
        431 => "431 Request Header Fields Too Large",
        505 => "505 HTTP Version Not Supported",
        status => panic!("{status} is no answer to a handshake"),
    };
    let retry_after = row.retry.after_seconds().map(|seconds| format!("Retry-After: {seconds}\r\n"));
    format!(
        "HTTP/1.1 {status_line}\r\n{}Content-Type: application/problem+json\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n",
        retry_after.unwrap_or_default(),
        reason.problem_json().len(),
    )
}

/// How many bytes of `sent` a gateway reads that answers it with `status`, all that it does afterwards included.
pub(crate) async fn read_of(sent: &[u8], status: u16) -> usize {
    let (mut client, server) = tokio::io::duplex(sent.len());
    let (counted, reading) = Counted::new(server);
    client.write_all(sent).await.unwrap();
    let serving = serve(counted, &echo("", ""));
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{}", answer.escape_ascii());
    serving.await.unwrap();
    reading.bytes()
}

/// Lives one connection over `stream`, through all stages but the accept.
pub(crate) fn serve(stream: Counted, toml: &str) -> tokio::task::JoinHandle<()> {
    let config = Config::from_toml(toml, std::path::Path::new("."), &|_| None).unwrap();
    let server = Server::from_config(config).bind().unwrap();
    let entry = server.entry("main").unwrap();
    tokio::spawn(async move {
        let running = server.run(std::future::pending());
        tokio::select! {
            _ = running => {}
            () = entry.serve(stream, ([127, 0, 0, 1], 1024).into()) => {}
        }
    })
}

/// A pipe whose reader is watched.
pub(crate) struct Counted {
    stream: DuplexStream,
    reading: Arc<Reading>,
}

/// What the reader of a [`Counted`] has taken.
#[derive(Default)]
pub(crate) struct Reading {
    bytes: AtomicUsize,
    bytes_before_answer: OnceLock<usize>,
}

impl Counted {
    pub(crate) fn new(stream: DuplexStream) -> (Self, Arc<Reading>) {
        let reading = Arc::<Reading>::default();
        (Self { stream, reading: Arc::clone(&reading) }, reading)
    }
}

impl Reading {
    /// How much was read.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How much was read before the first byte was written.
    pub(crate) fn bytes_before_answer(&self) -> usize {
        *self.bytes_before_answer.get().expect("there is an answer")
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let filled_bytes = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.reading.bytes.fetch_add(buffer.filled().len() - filled_bytes, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let _ = self.reading.bytes_before_answer.set(self.reading.bytes());
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Stands somewhere in every request of these cases; in answers and logs it must never be.
pub(crate) const TRACER: &str = "tracer-7f3a";
/// The answer to a handshake that negotiates nothing.
pub(crate) const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
