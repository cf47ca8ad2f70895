//! The client's side of one connection: the handshake, frames in and frames out.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::Duration;

use drawgate::CloseCode;
use drawgate::chance::Chance;
use drawgate::clock::{Clock, Instant};
use drawgate_protocol::close::REASON_BYTES_MAX;
use drawgate_protocol::handshake::{ClientRequest, HeadLimits, HeadScanner, ResponseRefusal};
use drawgate_protocol::{Assembler, CloseFrame, Event, Limits, Message, MessageKind, Receiver, Role, Sender};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::explain::Ending;
use super::tls::{self, Socket};
use super::url::Url;
use crate::Failure;
use crate::token::shown;

/// What is asked for beside the address.
pub(super) struct Offer<'a> {
    pub(super) origin: Option<&'a str>,
    pub(super) subprotocols: &'a [String],
    /// Whose certificates are trusted, where that is not the system's to say.
    pub(super) authority: Option<&'a Path>,
}

/// What comes from the server.
pub(super) enum Heard {
    /// A message, as text to show.
    Message(String),
    /// The answer to our last ping, and how long it took.
    Pong(Duration),
    /// The end.
    Ended(Ending),
}

/// One open connection.
pub(super) struct Client {
    socket: Socket,
    receiver: Receiver,
    sender: Sender,
    assembler: Assembler,
    chance: Chance,
    clock: Clock,
    subprotocol: Option<String>,
    unread: Vec<u8>,
    heard: VecDeque<Heard>,
    pinged_at: Option<Instant>,
    closes_sent: u32,
}

impl Client {
    /// Connects and upgrades.
    pub(super) async fn open(url: &Url, offer: &Offer<'_>, chance: Chance) -> Result<Self, Failure> {
        let connecting = TcpStream::connect((url.host.as_str(), url.port));
        let socket = timeout(CONNECT_TIME_MAX, connecting)
            .await
            .map_err(|_| Failure(format!("{url} does not answer")))?;
        let socket = socket.map_err(|error| {
            Failure(format!("{url} cannot be reached: {error}; is a server running there?"))
        })?;
        let _ = socket.set_nodelay(true);
        let mut socket = timeout(CONNECT_TIME_MAX, tls::secure(url, offer.authority, socket))
            .await
            .map_err(|_| Failure(format!("{url} does not answer the TLS handshake")))??;
        let subprotocols: Vec<&str> = offer.subprotocols.iter().map(String::as_str).collect();
        let request = ClientRequest {
            host: &url.authority,
            target: &url.target,
            origin: offer.origin,
            protocols: &subprotocols,
            extensions: None,
            headers: &[],
            nonce: chance.bytes(),
        };
        let mut head = Vec::new();
        request.write(&mut head).map_err(|error| Failure(format!("the request cannot be sent: {error}")))?;
        socket.write_all(&head).await.map_err(|error| lost(&error))?;
        socket.flush().await.map_err(|error| lost(&error))?;
        let (mut response, head_bytes) = timeout(CONNECT_TIME_MAX, read_head(&mut socket))
            .await
            .map_err(|_| Failure(format!("{url} does not answer the request")))??;
        let accepted = match request.verify(&response[..head_bytes], &HeadLimits::default()) {
            Ok(accepted) => accepted,
            Err(refusal) => return Err(refused(refusal, &mut socket, response.split_off(head_bytes)).await),
        };
        let subprotocol = accepted.protocol.map(str::to_owned);
        let unread = response.split_off(head_bytes);
        let limits = Limits { message_bytes_max: MESSAGE_BYTES_MAX, message_fragments_max: u32::MAX };
        let mut client = Self {
            socket,
            receiver: Receiver::new(Role::Client, limits),
            sender: Sender::new(Role::Client),
            assembler: Assembler::new(limits),
            chance,
            clock: Clock::system(),
            subprotocol,
            unread,
            heard: VecDeque::new(),
            pinged_at: None,
            closes_sent: 0,
        };
        client.take_in().await?;
        Ok(client)
    }

    /// What to say of the subprotocol that the server chose.
    pub(super) fn subprotocol_note(&self) -> String {
        self.subprotocol.as_ref().map(|name| format!(", speaking {name}")).unwrap_or_default()
    }

    /// Waits for what comes next. May be dropped and called again without loss.
    pub(super) async fn hear(&mut self) -> Result<Heard, Failure> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return Ok(heard);
            }
            match self.socket.read_buf(&mut self.unread).await {
                Ok(0) => return Ok(Heard::Ended(Ending::Lost("the server ended it".to_owned()))),
                Ok(_) => self.take_in().await?,
                Err(error) => return Ok(Heard::Ended(Ending::Lost(error.to_string()))),
            }
        }
    }

    pub(super) async fn send_text(&mut self, text: &str) -> Result<(), Failure> {
        let key = self.chance.bytes();
        self.send(|sender, out| sender.data(out, MessageKind::Text, true, &[text.as_bytes()], Some(key)))
            .await
    }

    pub(super) async fn ping(&mut self) -> Result<(), Failure> {
        let key = self.chance.bytes();
        self.pinged_at = Some(self.clock.now());
        self.send(|sender, out| sender.ping(out, b"drawgate", Some(key))).await
    }

    pub(super) async fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Failure> {
        self.closes_sent = self.closes_sent.saturating_add(1);
        let (key, end) = (self.chance.bytes(), reason.floor_char_boundary(REASON_BYTES_MAX));
        let close = CloseFrame { code, reason: &reason[..end] };
        self.send(|sender, out| sender.close(out, Some(close), Some(key))).await
    }

    /// Whether a Close was to be sent a second time: the first has had its time.
    pub(super) fn has_waited_for_close(&self) -> bool {
        self.closes_sent > 1
    }

    /// Works through what has been read.
    async fn take_in(&mut self) -> Result<(), Failure> {
        let mut unread = std::mem::take(&mut self.unread);
        let mut input = &mut unread[..];
        let mut answers = Vec::new();
        loop {
            match self.receiver.receive(&mut input) {
                Ok(None) => break,
                Ok(Some(event)) => self.take_event(event, &mut answers),
                Err(violation) => {
                    self.heard.push_back(Heard::Ended(Ending::Violated(violation)));
                    let close = CloseFrame { code: violation.close_code(), reason: "" };
                    let _ = self.sender.close(&mut answers, Some(close), Some(self.chance.bytes()));
                    input = &mut [];
                    break;
                }
            }
        }
        self.unread = input.to_vec();
        // A server that has gone needs no answer.
        let _ = self.write(&answers).await;
        Ok(())
    }

    fn take_event(&mut self, event: Event<'_>, answers: &mut Vec<u8>) {
        let key = Some(self.chance.bytes());
        match event {
            Event::Data(chunk) => match self.assembler.push(&chunk) {
                Ok(None) => {}
                Ok(Some(Message::Text(text))) => self.heard.push_back(Heard::Message(text)),
                Ok(Some(Message::Binary(bytes))) => self.heard.push_back(Heard::Message(hexadecimal(&bytes))),
                Err(violation) => self.heard.push_back(Heard::Ended(Ending::Violated(violation))),
            },
            Event::Ping(payload) => {
                let _ = self.sender.pong(answers, payload, key);
            }
            Event::Pong(_) => {
                if let Some(pinged_at) = self.pinged_at.take() {
                    let after = self.clock.now().saturating_duration_since(pinged_at);
                    self.heard.push_back(Heard::Pong(after));
                }
            }
            Event::Close(close) => {
                let by_us = self.sender.is_closed();
                let reason = close.map_or_else(String::new, |close| close.reason.to_owned());
                let code = close.map(|close| close.code.get());
                self.heard.push_back(Heard::Ended(Ending::Closed { code, reason, by_us }));
                let answer = close.map(|close| CloseFrame { code: close.code, reason: "" });
                let _ = self.sender.close(answers, answer, key);
            }
        }
    }

    /// Sends a frame. After a Close there is nothing to send, and the end is on its way.
    async fn send<E>(
        &mut self,
        write: impl FnOnce(&mut Sender, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), Failure> {
        let mut out = Vec::new();
        if write(&mut self.sender, &mut out).is_ok() {
            // A server that has gone is noticed by reading.
            let _ = self.write(&out).await;
        }
        Ok(())
    }

    /// Writes all of it, also through what encrypts it and keeps what the socket does not take.
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await?;
        self.socket.flush().await
    }
}

/// Reads a response's head; what came behind it is in the same vector.
async fn read_head(socket: &mut Socket) -> Result<(Vec<u8>, usize), Failure> {
    let mut scanner = HeadScanner::response();
    let mut bytes = Vec::new();
    loop {
        if socket.read_buf(&mut bytes).await.map_err(|error| lost(&error))? == 0 {
            return Err(Failure("the server ended the connection before it answered".to_owned()));
        }
        match scanner.scan(&bytes, &HeadLimits::default()) {
            Ok(Some(head_bytes)) => return Ok((bytes, head_bytes)),
            Ok(None) => {}
            Err(fault) => return Err(Failure(format!("the server's answer is not HTTP/1.1: {fault}"))),
        }
    }
}

/// What the server said instead of yes.
async fn refused(refusal: ResponseRefusal, socket: &mut Socket, mut body: Vec<u8>) -> Failure {
    if let ResponseRefusal::StatusNotSwitching(status) = refusal {
        // Errors tell less than the status does; whatever came of the body is used.
        let _ = timeout(BODY_TIME_MAX, async {
            while body.len() < BODY_BYTES_MAX && socket.read_buf(&mut body).await.is_ok_and(|count| count > 0)
            {
            }
        })
        .await;
        let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let text = |name: &str| problem.as_ref().and_then(|problem| problem[name].as_str()).map(shown);
        let detail = text("detail").map(|detail| format!(": {detail}")).unwrap_or_default();
        let kind = text("type").map(|kind| format!("\n  {kind}")).unwrap_or_default();
        return Failure(format!("the server refused with status {status}{detail}{kind}"));
    }
    Failure(format!("the server's answer is no WebSocket's ({}): {refusal}", refusal.source()))
}

fn lost(error: &io::Error) -> Failure {
    Failure(format!("the connection failed: {error}"))
}

/// A binary message as text: its size, and its first bytes.
fn hexadecimal(bytes: &[u8]) -> String {
    let digits: Vec<String> =
        bytes.iter().take(HEXADECIMAL_BYTES_MAX).map(|byte| format!("{byte:02x}")).collect();
    let more = if bytes.len() > HEXADECIMAL_BYTES_MAX { " …" } else { "" };
    format!("(binary, {} bytes) {}{more}", bytes.len(), digits.join(" "))
}

const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// A client for people has patience and memory; this is where both end.
const MESSAGE_BYTES_MAX: u64 = 256 * 1024 * 1024;
const BODY_TIME_MAX: Duration = Duration::from_secs(2);
const BODY_BYTES_MAX: usize = 16 * 1024;
const HEXADECIMAL_BYTES_MAX: usize = 64;
