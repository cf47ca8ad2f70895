//! One stream through three engines, and what each makes of it, in words that can be compared.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use drawgate_protocol::{Assembler, Event, Limits, Message, MessageKind, Receiver, Role, Violation};
use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What came of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Whole messages and control frames, in order of completion.
    pub(crate) events: Vec<Got>,
    /// How it stands at the end of the stream.
    pub(crate) end: End,
}

/// A whole message, or a control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// A text message; bytes, since a peer may fail to check them.
    Text(Vec<u8>),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A Close with its code and reason.
    Close(Option<(u16, Vec<u8>)>),
}

/// How a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It waits for more.
    Open,
    /// The peer's Close has come.
    Closed,
    /// It was refused, for a reason with this close code.
    Refused {
        /// The code of the reason.
        code: u16,
        /// A Close frame with that code was sent, where the engine sends one by itself.
        told: bool,
    },
}

/// What we make of a stream, and where a refusal happened.
#[derive(Debug)]
pub(crate) struct Ours {
    /// What came of it.
    pub(crate) outcome: Outcome,
    /// The rule that was broken, and the frame that broke it.
    pub(crate) broken: Option<(Violation, Place)>,
}

/// A frame, and the message that was open when it began.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Where the frame begins in the stream.
    pub(crate) frame_start: usize,
    /// The open message so far.
    pub(crate) message: Option<(MessageKind, Vec<u8>)>,
}

/// Our receiver and assembler, as a server.
pub(crate) fn ours(stream: &[u8], limits: Limits, piece_bytes: usize) -> Ours {
    let (mut receiver, mut assembler) = (Receiver::new(Role::Server, limits), Assembler::new(limits));
    let mut buffer = stream.to_vec();
    let mut events = Vec::new();
    let mut place = Place { frame_start: 0, message: None };
    let mut frame_payload = Vec::new();
    let (mut start, mut end) = (0, 0);
    while end < buffer.len() {
        end = buffer.len().min(end + piece_bytes);
        let mut input = &mut buffer[start..end];
        loop {
            let event = match receiver.receive(&mut input) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(violation) => {
                    let end = End::Refused { code: violation.close_code().get(), told: true };
                    return Ours { outcome: Outcome { events, end }, broken: Some((violation, place)) };
                }
            };
            let frame_is_whole = match event {
                Event::Ping(payload) => {
                    events.push(Got::Ping(payload.to_vec()));
                    true
                }
                Event::Pong(payload) => {
                    events.push(Got::Pong(payload.to_vec()));
                    true
                }
                Event::Close(close) => {
                    let close = close.map(|close| (close.code.get(), close.reason.as_bytes().to_vec()));
                    events.push(Got::Close(close));
                    return Ours { outcome: Outcome { events, end: End::Closed }, broken: None };
                }
                Event::Data(chunk) => {
                    frame_payload.extend_from_slice(chunk.payload);
                    match assembler.push(&chunk).expect("the receiver has the same limits") {
                        Some(Message::Text(text)) => events.push(Got::Text(text.into_bytes())),
                        Some(Message::Binary(bytes)) => events.push(Got::Binary(bytes)),
                        None => {}
                    }
                    if chunk.message_end {
                        place.message = None;
                    } else if chunk.frame_end {
                        place.message.get_or_insert((chunk.kind, Vec::new())).1.append(&mut frame_payload);
                    }
                    if chunk.frame_end {
                        frame_payload.clear();
                    }
                    chunk.frame_end
                }
            };
            if frame_is_whole {
                place.frame_start = end - input.len();
            }
        }
        start = end - input.len();
    }
    Ours { outcome: Outcome { events, end: End::Open }, broken: None }
}

/// tungstenite, as a server. It tells its caller about a refusal and leaves the Close frame to it.
pub(crate) fn tungstenite(stream: &[u8], limits: Limits, piece_bytes: usize) -> Outcome {
    use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
    use tungstenite::{Error, Message};

    let bytes_max = usize::try_from(limits.message_bytes_max).ok();
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_message_size(bytes_max)
        .max_frame_size(bytes_max);
    let mut socket = WebSocketContext::new(Role::Server, Some(config));
    let mut pipe = Pipe { input: stream, piece_bytes, output: Vec::new() };
    let mut events = Vec::new();
    let refused = |code| End::Refused { code, told: true };
    let end = loop {
        match socket.read(&mut pipe) {
            Ok(Message::Text(text)) => events.push(Got::Text(text.as_bytes().to_vec())),
            Ok(Message::Binary(bytes)) => events.push(Got::Binary(bytes.to_vec())),
            Ok(Message::Ping(bytes)) => events.push(Got::Ping(bytes.to_vec())),
            Ok(Message::Pong(bytes)) => events.push(Got::Pong(bytes.to_vec())),
            Ok(Message::Close(close)) => events
                .push(Got::Close(close.map(|close| (close.code.into(), close.reason.as_bytes().to_vec())))),
            Ok(Message::Frame(frame)) => panic!("never given by read: {frame:?}"),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break End::Open,
            Err(Error::ConnectionClosed) => break End::Closed,
            Err(Error::Protocol(_)) => break refused(1002),
            Err(Error::Utf8(_)) => break refused(1007),
            Err(Error::Capacity(_)) => break refused(1009),
            Err(other) => panic!("not an answer to bytes: {other}"),
        }
    };
    Outcome { events, end }
}

/// tokio-websockets, as a server. It sends a Close frame for most refusals.
pub(crate) fn tokio_websockets(stream: &[u8], limits: Limits, piece_bytes: usize) -> Outcome {
    use tokio_websockets::Error;
    use tokio_websockets::proto::ProtocolError;

    let bytes_max = usize::try_from(limits.message_bytes_max).ok();
    let mut socket = tokio_websockets::ServerBuilder::new()
        .limits(tokio_websockets::Limits::default().max_payload_len(bytes_max))
        .serve(Pipe { input: stream, piece_bytes, output: Vec::new() });
    let mut context = Context::from_waker(Waker::noop());
    let mut events = Vec::new();
    let end = loop {
        let message = match Pin::new(&mut socket).poll_next(&mut context) {
            Poll::Pending => break End::Open,
            Poll::Ready(None) => break End::Closed,
            Poll::Ready(Some(Ok(message))) => message,
            Poll::Ready(Some(Err(error))) => {
                let code = match error {
                    Error::Protocol(ProtocolError::InvalidUtf8) => 1007,
                    Error::Protocol(_) => 1002,
                    Error::PayloadTooLong { .. } => 1009,
                    other => panic!("not an answer to bytes: {other}"),
                };
                // Polled again, it sends the Close frame that it has queued, or reads on.
                let _ = Pin::new(&mut socket).poll_next(&mut context);
                break End::Refused { code, told: close_sent(&mut socket.get_mut().output) == Some(code) };
            }
        };
        // Not `as_text`: the library takes its own check for granted there.
        let payload = message.as_payload().to_vec();
        events.push(match () {
            () if message.is_text() => Got::Text(payload),
            () if message.is_binary() => Got::Binary(payload),
            () if message.is_ping() => Got::Ping(payload),
            () if message.is_pong() => Got::Pong(payload),
            () => Got::Close(
                payload
                    .split_first_chunk()
                    .map(|(code, reason)| (u16::from_be_bytes(*code), reason.to_vec())),
            ),
        });
    };
    Outcome { events, end }
}

/// The code of the Close frame in what a server has sent.
fn close_sent(mut output: &mut [u8]) -> Option<u16> {
    let mut client = Receiver::new(Role::Client, Limits::UNLIMITED);
    loop {
        match client.receive(&mut output).expect("peers send in order") {
            Some(Event::Close(close)) => return close.map(|close| close.code.get()),
            Some(Event::Data(_) | Event::Ping(_) | Event::Pong(_)) => {}
            None => return None,
        }
    }
}

/// A transport that gives `input` in pieces and then blocks, and keeps what is written.
struct Pipe<'a> {
    input: &'a [u8],
    piece_bytes: usize,
    output: Vec<u8>,
}

impl io::Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.piece_bytes.min(buffer.len()).min(self.input.len());
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (piece, rest) = self.input.split_at(count);
        buffer[..count].copy_from_slice(piece);
        self.input = rest;
        Ok(count)
    }
}

impl io::Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Pipe<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.piece_bytes.min(buffer.remaining()).min(self.input.len());
        if count == 0 {
            return Poll::Pending;
        }
        let (piece, rest) = self.input.split_at(count);
        buffer.put_slice(piece);
        self.input = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.output.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
