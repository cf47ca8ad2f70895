//! The client's side of one open connection: frames in and frames out.
//!
//! Everything that is to be sent is put into one buffer, and written while the client listens: whoever only wrote would wait
//! for a server that waits to be read. [`super::opening`] makes the connection.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use drawgate::CloseCode;
use drawgate::chance::Chance;
use drawgate::clock::{Clock, Instant};
use drawgate_protocol::close::REASON_BYTES_MAX;
use drawgate_protocol::deflate::{Agreement, Contexts, Deflation, Inflation};
use drawgate_protocol::{
    Assembler, Chunk, CloseFrame, Event, Limits, Message, MessageKind, Receiver, Role, Sender, Violation,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::time::timeout;

use super::explain::Ending;
use super::opening::Opened;
use super::tls::Socket;

/// What is news to whoever talks.
pub(super) enum Heard {
    /// A message.
    Message(Message),
    /// A ping, which has been answered.
    Ping(Vec<u8>),
    /// A pong, and how long after our last ping, if that is what it answers.
    Pong(Option<Duration>),
    /// Nothing from the server: more may be said again.
    Room,
    /// The end.
    Ended(Ending),
}

/// One open connection.
pub(super) struct Client {
    reading: ReadHalf<Socket>,
    writing: WriteHalf<Socket>,
    receiver: Receiver,
    sender: Sender,
    assembler: Assembler,
    compression: Option<Compression>,
    chance: Chance,
    clock: Clock,
    unread: Vec<u8>,
    heard: VecDeque<Heard>,
    unsent: Unsent,
    pinged_at: Option<Instant>,
}

/// Messages that are compressed.
struct Compression {
    inflation: Inflation,
    deflation: Deflation,
    contexts: Contexts,
    buffer: Vec<u8>,
}

/// Frames on their way out.
#[derive(Default)]
struct Unsent {
    bytes: Vec<u8>,
    written_bytes: usize,
    /// All is written, but not all of it need have left what encrypts it.
    needs_flush: bool,
}

impl Client {
    /// Takes over a connection that the server has accepted, with what came behind its answer.
    pub(super) fn new(opened: Opened, chance: Chance) -> Self {
        let (reading, writing) = tokio::io::split(opened.socket);
        let mut receiver = Receiver::new(Role::Client, LIMITS);
        if opened.agreement.is_some() {
            receiver.allow_compression();
        }
        let mut client = Self {
            reading,
            writing,
            receiver,
            sender: Sender::new(Role::Client),
            assembler: Assembler::new(LIMITS),
            compression: opened.agreement.map(Compression::new),
            chance,
            clock: Clock::system(),
            unread: opened.unread,
            heard: VecDeque::new(),
            unsent: Unsent::default(),
            pinged_at: None,
        };
        client.take_in();
        client
    }

    /// Waits for what comes next, or for room to say more, and writes meanwhile. May be dropped and called again without loss.
    pub(super) async fn hear(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return heard;
            }
            self.unread.reserve(READ_BYTES);
            let was_full = !self.has_room();
            tokio::select! {
                read = self.reading.read_buf(&mut self.unread) => match read {
                    Ok(0) => return Heard::Ended(Ending::Lost("the server ended it".to_owned())),
                    Ok(_) => self.take_in(),
                    Err(error) => return Heard::Ended(Ending::Lost(error.to_string())),
                },
                written = self.unsent.write(&mut self.writing), if !self.unsent.is_empty() => {
                    if written.is_err() {
                        // Of a server that has gone, reading tells more: what it said before.
                        self.unsent = Unsent::default();
                    }
                    if was_full && self.has_room() {
                        return Heard::Room;
                    }
                }
            }
        }
    }

    /// Whether all that was said has been sent.
    pub(super) const fn has_sent_all(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Whether more may be said: a server that does not read is to slow its client down.
    pub(super) const fn has_room(&self) -> bool {
        self.unsent.bytes.len() < UNSENT_BYTES_MAX
    }

    pub(super) fn send_text(&mut self, text: &str) {
        let (out, key) = (&mut self.unsent.bytes, Some(self.chance.bytes()));
        // After a Close there is nothing to send, and the end is on its way.
        let _ = match &mut self.compression {
            Some(compression) => {
                let deflated = compression.deflate(text.as_bytes());
                self.sender.compressed_data(out, MessageKind::Text, true, &[deflated], key)
            }
            None => self.sender.data(out, MessageKind::Text, true, &[text.as_bytes()], key),
        };
    }

    pub(super) fn ping(&mut self) {
        self.pinged_at = Some(self.clock.now());
        let _ = self.sender.ping(&mut self.unsent.bytes, b"drawgate", Some(self.chance.bytes()));
    }

    pub(super) fn close(&mut self, code: CloseCode, reason: &str) {
        let end = reason.floor_char_boundary(REASON_BYTES_MAX);
        let close = CloseFrame { code, reason: &reason[..end] };
        let _ = self.sender.close(&mut self.unsent.bytes, Some(close), Some(self.chance.bytes()));
    }

    /// Sends what is left, such as the answer to a Close, and ends the transport. Whoever does not take it is left.
    pub(super) async fn finish(mut self) {
        let all = async {
            while !self.unsent.is_empty() {
                self.unsent.write(&mut self.writing).await?;
            }
            self.writing.shutdown().await
        };
        let _ = timeout(FINISH_TIME_MAX, all).await;
    }

    /// Works through what has been read.
    fn take_in(&mut self) {
        let mut unread = std::mem::take(&mut self.unread);
        let mut input = &mut unread[..];
        let left = loop {
            let violation = match self.receiver.receive(&mut input) {
                Ok(None) => break input.len(),
                Ok(Some(event)) => self.take_event(event).err(),
                Err(violation) => Some(violation),
            };
            if let Some(violation) = violation {
                self.heard.push_back(Heard::Ended(Ending::Violated(violation)));
                self.close(violation.close_code(), "");
                return;
            }
        };
        let used = unread.len() - left;
        unread.drain(..used);
        self.unread = unread;
    }

    fn take_event(&mut self, event: Event<'_>) -> Result<(), Violation> {
        match event {
            Event::Data(chunk) => self.take_data(chunk)?,
            Event::Ping(payload) => {
                let key = Some(self.chance.bytes());
                let _ = self.sender.pong(&mut self.unsent.bytes, payload, key);
                self.heard.push_back(Heard::Ping(payload.to_vec()));
            }
            Event::Pong(_) => {
                let pinged_at = self.pinged_at.take();
                let after = pinged_at.map(|then| self.clock.now().saturating_duration_since(then));
                self.heard.push_back(Heard::Pong(after));
            }
            Event::Close(close) => {
                let by_us = self.sender.is_closed();
                let reason = close.map_or_else(String::new, |close| close.reason.to_owned());
                let code = close.map(|close| close.code.get());
                self.heard.push_back(Heard::Ended(Ending::Closed { code, reason, by_us }));
                let answer = close.map(|close| CloseFrame { code: close.code, reason: "" });
                let key = Some(self.chance.bytes());
                let _ = self.sender.close(&mut self.unsent.bytes, answer, key);
            }
        }
        Ok(())
    }

    fn take_data(&mut self, mut chunk: Chunk<'_>) -> Result<(), Violation> {
        let Some(compression) = self.compression.as_mut().filter(|_| chunk.compressed) else {
            let message = self.assembler.push(&chunk)?;
            self.heard.extend(message.map(Heard::Message));
            return Ok(());
        };
        let Compression { inflation, contexts, buffer, .. } = compression;
        buffer.resize(INFLATED_BYTES, 0);
        while let Some(inflated) = inflation.inflate(&mut chunk, buffer, &LIMITS, contexts)? {
            let message = self.assembler.push(&inflated)?;
            self.heard.extend(message.map(Heard::Message));
        }
        Ok(())
    }
}

impl Compression {
    fn new(agreement: Agreement) -> Self {
        Self {
            inflation: Inflation::new(agreement.server),
            deflation: Deflation::new(agreement.client),
            contexts: Contexts::default(),
            buffer: Vec::new(),
        }
    }

    fn deflate(&mut self, message: &[u8]) -> &[u8] {
        self.buffer.clear();
        self.deflation.deflate(&[message], true, &mut self.buffer, &mut self.contexts);
        &self.buffer
    }
}

impl Unsent {
    const fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.needs_flush
    }

    /// Writes some of it. May be dropped and called again without loss.
    async fn write(&mut self, writing: &mut WriteHalf<Socket>) -> io::Result<()> {
        if self.bytes.is_empty() {
            writing.flush().await?;
            self.needs_flush = false;
            return Ok(());
        }
        let count = writing.write(&self.bytes[self.written_bytes..]).await?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.written_bytes += count;
        self.needs_flush = true;
        if self.written_bytes == self.bytes.len() {
            self.bytes.clear();
            self.written_bytes = 0;
        }
        Ok(())
    }
}

/// A client for people has patience and memory; this is where both end.
const LIMITS: Limits = Limits { message_bytes_max: 256 * 1024 * 1024, message_fragments_max: u32::MAX };
/// How much waits to be sent before no more input is taken.
const UNSENT_BYTES_MAX: usize = 64 * 1024;
const READ_BYTES: usize = 64 * 1024;
/// How much of a compressed message is looked at at a time.
const INFLATED_BYTES: usize = 64 * 1024;
const FINISH_TIME_MAX: Duration = Duration::from_secs(1);
