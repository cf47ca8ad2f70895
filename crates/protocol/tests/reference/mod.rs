//! A second decoder, written to be read and not to be fast: whole stream in, the events and the first proof out.
//!
//! It shares no code with the engine, and comes to its verdicts another way: by asking, for each byte, whether any
//! continuation could still keep the rule. Lengths are intervals, characters and close codes are searched for. Where
//! one byte proves several rules broken it names them all; the engine must name one of these, at that byte.

pub(crate) mod engine;

use drawgate_protocol::{CloseCode, Event, Limits, MessageKind, Role, Violation};

/// What a stream holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// The events, in order; pieces of one frame are one.
    pub(crate) events: Vec<Seen>,
    /// The first broken rule.
    pub(crate) proof: Option<Proof>,
    /// A Close ended the stream.
    pub(crate) closed: bool,
}

/// A broken rule, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    /// How many bytes of the stream it takes to know.
    pub(crate) bytes: usize,
    /// Every rule that these bytes, and no fewer, prove broken.
    pub(crate) violations: Vec<Violation>,
}

/// An event with its bytes, comparable however it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// What came of one frame.
    Data {
        /// The kind of the message.
        kind: MessageKind,
        /// The bytes that came.
        payload: Vec<u8>,
        /// This frame begins its message.
        message_start: bool,
        /// The frame is complete.
        frame_end: bool,
        /// The message is complete.
        message_end: bool,
    },
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A Close.
    Close(Option<(u16, String)>),
}

impl Seen {
    /// Adds `event` to `events`: to the piece before it, if both are of one frame.
    pub(crate) fn gather(events: &mut Vec<Self>, event: Event<'_>) {
        let chunk = match event {
            Event::Data(chunk) => chunk,
            Event::Ping(payload) => return events.push(Self::Ping(payload.to_vec())),
            Event::Pong(payload) => return events.push(Self::Pong(payload.to_vec())),
            Event::Close(close) => {
                let close = close.map(|close| (close.code.get(), close.reason.to_owned()));
                return events.push(Self::Close(close));
            }
        };
        assert!(chunk.frame_start || !chunk.payload.is_empty(), "an empty piece of a frame that is not");
        if chunk.frame_start {
            return events.push(Self::Data {
                kind: chunk.kind,
                payload: chunk.payload.to_vec(),
                message_start: chunk.message_start,
                frame_end: chunk.frame_end,
                message_end: chunk.message_end,
            });
        }
        // Nothing comes between the pieces of one frame.
        let Some(Self::Data { kind, payload, frame_end, message_end, .. }) = events.last_mut() else {
            panic!("a piece without a beginning")
        };
        assert!(!*frame_end && *kind == chunk.kind && !chunk.message_start);
        payload.extend_from_slice(chunk.payload);
        (*frame_end, *message_end) = (chunk.frame_end, chunk.message_end);
    }
}

/// Decodes `stream` as an end with `role` must.
pub(crate) fn decode(stream: &[u8], role: Role, limits: Limits) -> Decoded {
    let mut decoded = Decoded::default();
    let mut message = Message { kind: None, bytes: 0, frames: 0, character: Vec::new() };
    let mut at = 0;
    while !decoded.closed && at < stream.len() {
        let mut frame = Frame { stream, start: at, proofs: Vec::new() };
        let Some(end) = frame.read(&mut message, role, limits, &mut decoded) else { break };
        at = end;
    }
    decoded
}

/// The message that is open.
struct Message {
    kind: Option<MessageKind>,
    bytes: u64,
    frames: u32,
    /// The bytes of the character that is not complete.
    character: Vec<u8>,
}

/// The frame that is being read, and what has been proven about it.
struct Frame<'a> {
    stream: &'a [u8],
    start: usize,
    proofs: Vec<(usize, Violation)>,
}

impl Frame<'_> {
    /// Reads the frame as far as it has come; gives its end if it is whole and in order.
    fn read(&mut self, message: &mut Message, role: Role, limits: Limits, to: &mut Decoded) -> Option<usize> {
        self.judge_first(self.byte(0)?, message, limits);
        if self.settle(to) {
            return None;
        }
        let (fin, opcode) = (self.byte(0)? & 0x80 != 0, self.byte(0)? & 0x0F);
        self.judge_second(self.byte(1)?, opcode, role);
        let room = limits.message_bytes_max.saturating_sub(message.bytes);
        let length = self.judge_length(opcode, fin, message, room);
        if self.settle(to) {
            return None;
        }
        let (length, mut at) = length?;
        let key = match role {
            Role::Client => [0; 4],
            Role::Server => {
                at += 4;
                *self.stream.get(at - 4..at)?.first_chunk()?
            }
        };
        let have = usize::try_from(length).map_or(usize::MAX, |length| length).min(self.stream.len() - at);
        let payload: Vec<u8> =
            self.stream[at..at + have].iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
        let is_whole = have as u64 == length;
        if opcode >= 8 {
            self.control(opcode, &payload, length, at, to);
        } else {
            self.data(opcode, fin, payload, length, at, message, to);
        }
        (!self.settle(to) && is_whole).then_some(at + have)
    }

    fn judge_first(&mut self, first: u8, message: &Message, limits: Limits) {
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0F);
        let rules = [
            (first & 0x70 != 0, Violation::ReservedBits),
            (matches!(opcode, 3..=7 | 11..=15), Violation::OpcodeUnknown),
            (opcode >= 8 && !fin, Violation::ControlFragmented),
            (opcode == 0 && message.kind.is_none(), Violation::ContinuationUnexpected),
            (matches!(opcode, 1..=2) && message.kind.is_some(), Violation::MessageInterleaved),
            (opcode < 8 && message.frames >= limits.message_fragments_max, Violation::FragmentsTooMany),
        ];
        self.prove_if(1, &rules);
    }

    fn judge_second(&mut self, second: u8, opcode: u8, role: Role) {
        let (masked, short) = (second & 0x80 != 0, second & 0x7F);
        let rules = [
            (role == Role::Server && !masked, Violation::NotMasked),
            (role == Role::Client && masked, Violation::Masked),
            (opcode >= 8 && short > 125, Violation::ControlTooLong),
            (opcode == 8 && short == 1, Violation::CloseBodyOneByte),
        ];
        self.prove_if(2, &rules);
    }

    /// The payload's length and where the bytes after it begin, once it has come.
    fn judge_length(&mut self, opcode: u8, fin: bool, message: &Message, room: u64) -> Option<(u64, usize)> {
        let short = u64::from(self.byte(1)? & 0x7F);
        let (width, minimum) = match short {
            126 => (2, 126),
            127 => (8, 65_536),
            _ => (0, 0),
        };
        let mut known = if width == 0 { short } else { 0 };
        for come in 0..=width {
            if come > 0 {
                known = known << 8 | u64::from(self.byte(1 + come)?);
            }
            let unknown_bits = 8 * (width - come);
            let least = if unknown_bits == 64 { 0 } else { known << unknown_bits };
            let most = if unknown_bits == 64 { u64::MAX } else { least | ((1 << unknown_bits) - 1) };
            let is_data = opcode < 8;
            let rules = [
                (most < minimum, Violation::LengthNotMinimal),
                (least > i64::MAX as u64, Violation::LengthTopBitSet),
                (is_data && least > room, Violation::MessageTooBig),
                (is_data && fin && !could_finish(&message.character, most), Violation::TextNotUtf8),
            ];
            self.prove_if(2 + come, &rules);
        }
        Some((known, self.start + 2 + width))
    }

    fn control(&mut self, opcode: u8, payload: &[u8], length: u64, at: usize, to: &mut Decoded) {
        if opcode == 8 {
            self.judge_close(payload, length, at);
        }
        if self.settle(to) || payload.len() as u64 != length {
            return;
        }
        to.closed = opcode == 8;
        to.events.push(match opcode {
            9 => Seen::Ping(payload.to_vec()),
            10 => Seen::Pong(payload.to_vec()),
            _ => Seen::Close(payload.split_first_chunk().map(|(code, reason)| {
                (u16::from_be_bytes(*code), String::from_utf8(reason.to_vec()).expect("judged"))
            })),
        });
    }

    fn judge_close(&mut self, payload: &[u8], length: u64, at: usize) {
        let may_be_sent = |code| CloseCode::new(code).is_some();
        for come in 1..=payload.len() {
            let room = length - come as u64;
            let (code_is_possible, reason) = match &payload[..come] {
                [high] => ((0..=255).any(|low| may_be_sent(u16::from_be_bytes([*high, low]))), &[][..]),
                [high, low, reason @ ..] => (may_be_sent(u16::from_be_bytes([*high, *low])), reason),
                [] => (true, &[][..]),
            };
            let rules = [
                (!code_is_possible, Violation::CloseCodeInvalid),
                (!could_finish(reason, room), Violation::CloseReasonNotUtf8),
            ];
            self.prove_if(at - self.start + come, &rules);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one frame, used once")]
    fn data(
        &mut self,
        opcode: u8,
        fin: bool,
        mut payload: Vec<u8>,
        length: u64,
        at: usize,
        message: &mut Message,
        to: &mut Decoded,
    ) {
        let message_start = opcode != 0;
        let kind = match opcode {
            1 => MessageKind::Text,
            2 => MessageKind::Binary,
            _ => message.kind.expect("judged"),
        };
        (message.kind, message.bytes, message.frames) =
            (Some(kind), message.bytes + length, message.frames + 1);
        let is_whole = payload.len() as u64 == length;
        if kind == MessageKind::Text {
            for index in 0..payload.len() {
                message.character.push(payload[index]);
                let room = if fin { length - index as u64 - 1 } else { u64::MAX };
                if !could_finish(&message.character, room) {
                    self.proofs.push((at + index + 1, Violation::TextNotUtf8));
                    payload.truncate(index);
                    break;
                }
                if core::str::from_utf8(&message.character).is_ok() {
                    message.character.clear();
                }
            }
        }
        let frame_end = is_whole && self.proofs.is_empty();
        if !payload.is_empty() || frame_end {
            let message_end = frame_end && fin;
            to.events.push(Seen::Data { kind, payload, message_start, frame_end, message_end });
        }
        if fin {
            *message = Message { kind: None, bytes: 0, frames: 0, character: Vec::new() };
        }
    }

    fn byte(&self, index: usize) -> Option<u8> {
        self.stream.get(self.start + index).copied()
    }

    /// Notes the rules that the first `bytes` bytes of the frame break.
    fn prove_if(&mut self, bytes: usize, rules: &[(bool, Violation)]) {
        for (_, violation) in rules.iter().filter(|(broken, _)| *broken) {
            self.proofs.push((self.start + bytes, *violation));
        }
    }

    /// Hands out the earliest of the proofs, if there are any.
    fn settle(&self, to: &mut Decoded) -> bool {
        let Some(bytes) = self.proofs.iter().map(|(bytes, _)| *bytes).min() else { return false };
        let earliest = self.proofs.iter().filter(|(at, _)| *at == bytes);
        to.proof = Some(Proof { bytes, violations: earliest.map(|(_, violation)| *violation).collect() });
        true
    }
}

/// Whether `text` can be made UTF-8 by at most `room` more bytes, found by trying.
fn could_finish(text: &[u8], room: u64) -> bool {
    // Every lead byte has a valid second byte among these, and every later place takes any of them.
    const TRIED: [u8; 3] = [0x80, 0x90, 0xA0];
    let Err(error) = core::str::from_utf8(text) else { return true };
    if error.error_len().is_some() || room == 0 {
        return false;
    }
    TRIED.iter().any(|byte| could_finish(&[&text[error.valid_up_to()..], &[*byte]].concat(), room - 1))
}
