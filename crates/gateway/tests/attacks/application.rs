//! A scripted application behind the gate: a real socket that does what it is told, right or wrong.

use std::net::SocketAddr;
use std::time::Duration;

use drawgate_protocol::handshake::accept_key;
use drawgate_protocol::{Event, Limits, Receiver, Role};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::{Case, Frame, PATIENCE, Raw, echo, request};

/// An application that waits for connections.
pub(crate) struct Application {
    pub(crate) address: SocketAddr,
    listener: TcpListener,
}

/// One connection to it, as it sees it.
pub(crate) struct Seen<S = TcpStream> {
    pub(crate) stream: S,
    unread: Vec<u8>,
    /// The masking keys of the frames that came.
    pub(crate) keys: Vec<[u8; 4]>,
    receiver: Receiver,
}

/// The configuration of a gateway before the application at `address`, on `/app/*`; beside it the echo of other cases.
pub(crate) fn before(address: SocketAddr, limits: &str, more: &str) -> String {
    before_url(&format!("ws://{address}"), limits, more)
}

pub(crate) fn before_url(url: &str, limits: &str, more: &str) -> String {
    let route = format!(
        r#"
        [routes.app]
        listeners = ["main"]
        path = "/app/*"
        origins = "any"
        auth = "none"
        backend = {{ urls = ["{url}"], connect_timeout = "200ms", answer_timeout = "300ms" }}
        [routes.app.limits]
        close_timeout = "300ms"
        {limits}
        {more}
        "#
    );
    echo("", &route)
}

impl Application {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { address: listener.local_addr().unwrap(), listener }
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> Seen {
        let (stream, _) =
            timeout(PATIENCE, self.listener.accept()).await.expect("the gateway dials").unwrap();
        stream.set_nodelay(true).unwrap();
        Seen::over(stream)
    }

    /// The next connection, whenever it comes.
    pub(crate) async fn take(&self) -> std::io::Result<(TcpStream, SocketAddr)> {
        self.listener.accept().await
    }

    /// No connection comes for a while.
    pub(crate) async fn sees_nothing(&self) {
        let accepted = timeout(Duration::from_millis(100), self.listener.accept()).await;
        assert!(accepted.is_err(), "the application is dialled");
    }

    /// A gateway before it, a client that asks for `/app/`, and the connection that the application sees.
    pub(crate) async fn open(&self, limits: &str) -> (Case, Raw, Seen) {
        let case = Case::start(&before(self.address, limits, "")).await;
        let (client, seen) = self.join(&case, "/app/", "").await;
        (case, client, seen)
    }

    /// A client that asks for `target` with further header lines, and the connection that the application sees, accepted.
    pub(crate) async fn join(&self, case: &Case, target: &str, more: &str) -> (Raw, Seen) {
        let mut client = case.connect().await;
        client.send(request(target, more).as_bytes()).await;
        let mut seen = self.accept().await;
        seen.upgrade("").await;
        let head = client.read_head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        (client, seen)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Seen<S> {
    pub(crate) fn over(stream: S) -> Self {
        let receiver = Receiver::new(
            Role::Server,
            Limits { message_bytes_max: u64::MAX, message_fragments_max: u32::MAX },
        );
        Self { stream, unread: Vec::new(), keys: Vec::new(), receiver }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await;
        let _ = self.stream.flush().await;
    }

    /// It has agreed to compression: RSV1 may be set on what comes.
    pub(crate) fn takes_compression(&mut self) {
        self.receiver.allow_compression();
    }

    /// Sends an unmasked frame.
    pub(crate) async fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send(&unmasked(first, payload)).await;
    }

    /// The request's head.
    pub(crate) async fn read_head(&mut self) -> String {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(self.read_more().await, "the request ends early");
        };
        String::from_utf8(self.unread.drain(..end).collect()).unwrap()
    }

    /// Reads the request and accepts it, with further header lines. Returns the request.
    pub(crate) async fn upgrade(&mut self, more: &str) -> String {
        let head = self.read_head().await;
        self.send(accepting(&head, more).as_bytes()).await;
        head
    }

    /// Reads one masked frame.
    pub(crate) async fn read_frame(&mut self) -> Frame {
        self.next_frame().await.expect("a frame comes before the end")
    }

    /// Reads one masked frame, or the end of the connection.
    pub(crate) async fn next_frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(bytes) = drawgate_protocol::frame::frame_bytes(&self.unread)
                && self.unread.len() >= bytes
            {
                let mut frame: Vec<u8> = self.unread.drain(..bytes).collect();
                return Some(self.take_apart(&mut frame));
            }
            if !self.read_more().await {
                assert!(self.unread.is_empty(), "the connection ends inside a frame");
                return None;
            }
        }
    }

    /// What an engine of our own makes of a frame: it must be one.
    fn take_apart(&mut self, frame: &mut [u8]) -> Frame {
        let first = frame[0];
        let key_at = match frame[1] & 0x7F {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        self.keys.push(frame[key_at..key_at + 4].try_into().unwrap());
        let mut payload = Vec::new();
        let mut rest = frame;
        while let Some(event) = self.receiver.receive(&mut rest).unwrap() {
            match event {
                Event::Data(chunk) => payload.extend_from_slice(chunk.payload),
                Event::Ping(bytes) | Event::Pong(bytes) => payload.extend_from_slice(bytes),
                Event::Close(close) => {
                    if let Some(close) = close {
                        payload.extend(close.code.get().to_be_bytes());
                        payload.extend(close.reason.bytes());
                    }
                    break;
                }
            }
            if rest.is_empty() {
                break;
            }
        }
        Frame { first, payload }
    }

    /// The next message, whole.
    pub(crate) async fn read_message(&mut self) -> Vec<Frame> {
        let mut frames = vec![self.read_frame().await];
        while frames.last().is_some_and(|frame| frame.first & 0x80 == 0) {
            frames.push(self.read_frame().await);
        }
        frames
    }

    /// The code and the reason of the Close that comes next.
    pub(crate) async fn read_close(&mut self) -> (u16, String) {
        let frame = self.read_frame().await;
        assert_eq!(frame.first, 0x88, "{frame:?}");
        let (code, reason) = frame.payload.split_at(2);
        (u16::from_be_bytes([code[0], code[1]]), String::from_utf8(reason.to_vec()).unwrap())
    }

    /// The connection ends, and nothing comes before.
    pub(crate) async fn expect_end(&mut self) {
        assert!(self.unread.is_empty(), "{:?} comes before the end", self.unread);
        assert!(!self.read_more().await, "{:?} comes before the end", self.unread);
    }

    async fn read_more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.unread)).await;
        read.expect("the gateway goes on in time").is_ok_and(|count| count > 0)
    }
}

/// The `101` to the request that `head` is, with further header lines.
pub(crate) fn accepting(head: &str, more: &str) -> String {
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = accept_key(key.as_bytes().try_into().unwrap());
    let accept = String::from_utf8(accept.to_vec()).unwrap();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
}

/// A frame as servers send it; nothing stops it from being wrong.
pub(crate) fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(u8::try_from(length).unwrap()),
        length @ 126..=0xFFFF => {
            frame.push(126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}
