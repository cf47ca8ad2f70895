//! A gateway behind in-memory pipes, and clients of raw bytes.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use drawgate::config::Config;
use drawgate::observe::Observer;
use drawgate::server::{Builder, Entry};
use drawgate::session::Sessions;
use drawgate::{Access, Handler, Origins, Route, Server};
use drawgate_protocol::{Event, Limits, MessageKind, Receiver, Role, Sender};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex,
};
use tokio::sync::oneshot;
use tokio::task::yield_now;

pub(crate) const LISTENER: &str = "pipe";

pub(crate) const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

pub(crate) fn peer() -> std::net::SocketAddr {
    "127.0.0.1:4711".parse().unwrap()
}

/// A server whose only route is the built-in echo; `server` is what the `[server]` table has beside.
pub(crate) fn echo(notice: &str, server: &str) -> Builder {
    let text = format!(
        "[server]\n{server}\n\
         [listeners.{LISTENER}]\naddress = \"127.0.0.1:0\"\ntls = \"none\"\n\
         [routes.route]\nlisteners = [\"{LISTENER}\"]\npath = \"/*\"\norigins = \"any\"\nauth = \"none\"\n\
         backend = \"echo\"\nnotice = \"{notice}\"\n"
    );
    Server::from_config(Config::from_toml(&text, Path::new("."), &|_| None).unwrap())
}

pub(crate) fn bind(builder: Builder, change: impl FnOnce(Builder) -> Builder) -> Server {
    change(builder).bind().unwrap()
}

/// One of our tasks runs at a time, so after some turns all have gone as far as they can.
pub(crate) async fn let_others_run() {
    for _ in 0..1000 {
        yield_now().await;
    }
}

/// A masked frame from a client.
pub(crate) fn frame(kind: MessageKind, last: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Sender::new(Role::Client).data(&mut out, kind, last, &[payload], Some([1, 2, 3, 4])).unwrap();
    out
}

/// A frame that continues a message.
pub(crate) fn continuation(last: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = frame(MessageKind::Binary, last, payload);
    out[0] &= 0xF0;
    out
}

/// A gateway that runs.
pub(crate) struct Gateway {
    entry: Entry,
    observer: Observer,
    sessions: Arc<Sessions>,
    stop: std::sync::Mutex<Option<oneshot::Sender<()>>>,
    run: tokio::task::JoinHandle<()>,
}

impl Gateway {
    pub(crate) fn start(builder: Builder) -> Self {
        Self::build(builder, |builder| builder)
    }

    pub(crate) fn build(builder: Builder, change: impl FnOnce(Builder) -> Builder) -> Self {
        let server = bind(builder, change);
        let entry = server.entry(LISTENER).unwrap();
        let (observer, sessions) = (server.observer(), server.sessions());
        let (stop, stopped) = oneshot::channel::<()>();
        let run = tokio::spawn(async move {
            server
                .run(async {
                    let _ = stopped.await;
                })
                .await;
        });
        Self { entry, observer, sessions, stop: Some(stop).into(), run }
    }

    pub(crate) fn handler(handler: impl Handler) -> Self {
        Self::handler_with(handler, |builder| builder)
    }

    pub(crate) fn handler_with(handler: impl Handler, change: impl FnOnce(Builder) -> Builder) -> Self {
        let route = Route::new("route", "/*", Origins::Any, Access::Open, handler).unwrap();
        Self::build(Self::builder(route), change)
    }

    fn builder(route: Route) -> Builder {
        Self::builder_with(route, Duration::from_secs(5))
    }

    pub(crate) fn builder_with(route: Route, head_timeout: Duration) -> Builder {
        let listener = drawgate::config::ListenerConfig {
            tls: None,
            tls_timeout: Duration::from_secs(5),
            name: LISTENER.to_owned(),
            address: "127.0.0.1:0".parse().unwrap(),
            head_timeout,
            proxy_protocol: None,
            proxy_header_timeout: Duration::from_secs(3),
            required: true,
        };
        Server::builder().listener(listener).route(route)
    }

    pub(crate) fn entry(&self) -> Entry {
        self.entry.clone()
    }

    /// Cuts the gateway off where it is.
    pub(crate) fn stop(&self) {
        self.run.abort();
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    pub(crate) fn metrics(&self) -> String {
        self.observer.render()
    }

    pub(crate) fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, socket: S) {
        tokio::spawn(self.entry().serve(socket, peer()));
    }

    /// A client whose connection has been accepted.
    pub(crate) fn open(&self, pipe_bytes: usize) -> Client {
        let (ours, socket) = duplex(pipe_bytes);
        self.serve(ours);
        Client { socket }
    }

    /// A client that has been upgraded.
    pub(crate) async fn connect(&self, pipe_bytes: usize) -> Client {
        let mut client = self.open(pipe_bytes);
        client.upgrade().await;
        client
    }

    /// Drains; ready when no connection is left.
    pub(crate) async fn until_none_lives(self) {
        drop(self.stop.lock().unwrap().take());
        self.run.await.unwrap();
    }
}

/// The other end of a pipe.
pub(crate) struct Client {
    pub(crate) socket: DuplexStream,
}

/// What came up to the end of the stream.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) texts: Vec<String>,
    /// The code of the Close, and whether the stream ended behind it.
    pub(crate) close: Option<(u16, bool)>,
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn take(&mut self, bytes: usize) -> Vec<u8> {
        let mut taken = vec![0; bytes];
        self.socket.read_exact(&mut taken).await.unwrap();
        taken
    }

    pub(crate) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.socket.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    pub(crate) async fn upgrade(&mut self) {
        self.send(REQUEST).await;
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    }

    /// Reads to the end. Whatever breaks a rule of the protocol fails the test.
    pub(crate) async fn until_close(&mut self) -> Told {
        let mut receiver = Receiver::new(Role::Client, Limits::UNLIMITED);
        let (mut told, mut text, mut kept) = (Told::default(), Vec::new(), Vec::new());
        loop {
            let mut buffer = [0; 1024];
            let count = self.socket.read(&mut buffer).await.unwrap();
            if count == 0 {
                return told;
            }
            kept.extend_from_slice(&buffer[..count]);
            let mut input = &mut kept[..];
            while let Some(event) = receiver.receive(&mut input).expect("the gateway breaks no rule") {
                match event {
                    Event::Data(chunk) => {
                        text.extend_from_slice(chunk.payload);
                        if chunk.message_end {
                            let whole = std::mem::take(&mut text);
                            if chunk.kind == MessageKind::Text {
                                told.texts.push(String::from_utf8(whole).unwrap());
                            }
                        }
                    }
                    Event::Close(close) => {
                        told.close = close.map(|close| (close.code.get(), true));
                        let mut answer = Vec::new();
                        Sender::new(Role::Client).close(&mut answer, close, Some([0; 4])).unwrap();
                        self.send(&answer).await;
                    }
                    Event::Ping(_) | Event::Pong(_) => {}
                }
            }
            kept = input.to_vec();
        }
    }
}

/// A pipe's end that counts its writes, and does something else at one of them.
pub(crate) struct Tampered {
    pipe: DuplexStream,
    writes: Arc<AtomicUsize>,
    panics_at: Option<usize>,
}

impl Tampered {
    pub(crate) fn pipe(pipe_bytes: usize) -> (Client, Self) {
        let (pipe, socket) = duplex(pipe_bytes);
        (Client { socket }, Self { pipe, writes: Arc::default(), panics_at: None })
    }

    pub(crate) fn panic_at_write(self, number: usize) -> Self {
        Self { panics_at: Some(number), ..self }
    }

    pub(crate) fn writes(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.writes)
    }
}

impl AsyncRead for Tampered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tampered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let number = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        assert_ne!(self.panics_at, Some(number), "this write was to panic");
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}
