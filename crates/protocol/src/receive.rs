//! The receiving half (RFC 6455 §5.4 to §5.6, §8.1): bytes in, events out, on the caller's buffer in place.
//!
//! The receiver unmasks where the bytes lie and hands out pieces of messages as they arrive. It holds no payload: what
//! it cannot use yet (an incomplete header or control frame, at most [`REMAINDER_BYTES_MAX`] bytes) it leaves in the
//! input, for the caller to present again with more behind it. It never answers: that is [`crate::send`]'s. Whole
//! messages are [`crate::assemble`]'s.
//!
//! [`REMAINDER_BYTES_MAX`]: crate::limits::REMAINDER_BYTES_MAX

use core::mem;

use crate::close::CloseFrame;
use crate::frame::{self, Expectation, Header, OpCode, Role};
use crate::limits::{CONTROL_BYTES_MAX, Limits};
use crate::mask::{self, MaskKey};
use crate::utf8::{self, Utf8};
use crate::violation::Violation;

/// Whether a message is text or binary; it keeps its kind through all its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// What the peer sent. Borrows from the buffer that it arrived in.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// A piece of a message.
    Data(Chunk<'b>),
    /// A ping: to be answered with a pong of the same payload (§5.5.2).
    Ping(&'b [u8]),
    /// A pong; it may be unasked (§5.5.3).
    Pong(&'b [u8]),
    /// The peer's Close; `None` is one without a code. Nothing after it is looked at.
    Close(Option<CloseFrame<'b>>),
}

/// A piece of a message: what has arrived of one frame. Text is valid so far, but a piece may end inside a character.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunk<'b> {
    /// The kind of the message.
    pub kind: MessageKind,
    /// The bytes, unmasked. Empty only if the whole frame is, or where it ends a frame that was compressed.
    pub payload: &'b mut [u8],
    /// The bytes are compressed: [`crate::deflate::Inflation`] gives what they stand for, and checks that instead.
    pub compressed: bool,
    /// These are the first bytes of their frame.
    pub frame_start: bool,
    /// These are the last bytes of their frame.
    pub frame_end: bool,
    /// This is the first piece of the message.
    pub message_start: bool,
    /// This is the last piece of the message.
    pub message_end: bool,
}

/// Takes in one direction of a connection.
#[derive(Clone, Debug)]
pub struct Receiver {
    limits: Limits,
    /// How many bytes of the open message have been declared by headers.
    message_bytes: u64,
    /// How many bytes of the open frame have not come.
    frame_bytes_left: u64,
    /// How many frames the open message has.
    fragments: u32,
    /// The key as the next byte of the open frame needs it.
    mask: MaskKey,
    utf8: Utf8,
    role: Role,
    stage: Stage,
    /// The message that is open; while its first frame is, too.
    message: Option<MessageKind>,
    /// The open frame is the last of its message.
    frame_is_last: bool,
    /// No piece of the open frame has been handed out.
    frame_is_fresh: bool,
    /// permessage-deflate was negotiated.
    compression: bool,
    /// The message that is open is compressed.
    message_is_compressed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Between frames.
    Header,
    /// Inside a data frame.
    Payload,
    /// After the peer's Close.
    Closed,
    /// After a violation.
    Violated(Violation),
}

impl Receiver {
    /// A receiver for the end that we are.
    #[must_use]
    pub fn new(role: Role, limits: Limits) -> Self {
        Self {
            limits,
            message_bytes: 0,
            frame_bytes_left: 0,
            fragments: 0,
            mask: [0; 4],
            utf8: Utf8::default(),
            role,
            stage: Stage::Header,
            message: None,
            frame_is_last: false,
            frame_is_fresh: false,
            compression: false,
            message_is_compressed: false,
        }
    }

    /// Takes compressed messages from now on (RFC 7692 §6), after an [`Agreement`](crate::deflate::Agreement) to have them.
    pub fn allow_compression(&mut self) {
        self.compression = true;
    }

    /// The next event in `input`, which is advanced past what it took.
    ///
    /// `None` means that more bytes are needed: what is left in `input` must come again, with more behind it. After the
    /// peer's Close everything is taken and nothing comes of it.
    ///
    /// # Errors
    /// The rule that the peer broke. The receiver stays broken: every later call gives the same.
    pub fn receive<'b>(&mut self, input: &mut &'b mut [u8]) -> Result<Option<Event<'b>>, Violation> {
        if let Some(chunk) = self.whole_message(input) {
            return Ok(Some(Event::Data(chunk)));
        }
        let result = match self.stage {
            Stage::Header => self.receive_frame(input),
            Stage::Payload => self.receive_payload(input),
            Stage::Closed => {
                *input = &mut [];
                Ok(None)
            }
            Stage::Violated(violation) => Err(violation),
        };
        if let Err(violation) = result {
            if violation == Violation::MessageTooBig && self.stage == Stage::Header {
                self.message_bytes = self.message_bytes.saturating_add(frame::payload_bytes_at_least(input));
            }
            self.stage = Stage::Violated(violation);
        }
        result
    }

    /// The next message in `input`, where it has come whole in one frame of the shortest kind, as most do: just what [`Self::receive`]
    /// would say of it, in less time, since nothing need be kept of it.
    ///
    /// `None` where that is not so, or where a rule is broken, or might be: nothing is taken then, the bytes are as they came, and
    /// `receive` finds what they are.
    #[inline]
    pub fn whole_message<'b>(&mut self, input: &mut &'b mut [u8]) -> Option<Chunk<'b>> {
        let &mut [first, second, ..] = &mut **input else { return None };
        let kind = match first {
            TEXT_WHOLE => MessageKind::Text,
            BINARY_WHOLE => MessageKind::Binary,
            _ => return None,
        };
        // RFC 6455 §5.1: a client masks, a server does not. With the wrong bit this is more than the shortest kind of length can be.
        let (bytes, header_bytes) = match self.role {
            Role::Server => (second ^ frame::MASK_BIT, SHORT_HEADER_BYTES + size_of::<MaskKey>()),
            Role::Client => (second, SHORT_HEADER_BYTES),
        };
        let is_expected = self.stage == Stage::Header
            && self.message.is_none()
            && usize::from(bytes) <= CONTROL_BYTES_MAX
            && u64::from(bytes) <= self.limits.message_bytes_max
            && self.limits.message_fragments_max > 0;
        let frame = input.get_mut(..header_bytes + usize::from(bytes)).filter(|_| is_expected)?;
        let (header, payload) = frame.split_at_mut(header_bytes);
        let key = header.last_chunk().copied().filter(|_| self.role == Role::Server).unwrap_or_default();
        mask::apply(key, payload);
        if kind == MessageKind::Text && !utf8::is_valid(payload) {
            mask::apply(key, payload);
            return None;
        }
        take(input, header_bytes);
        Some(Chunk {
            kind,
            payload: take(input, usize::from(bytes)),
            compressed: false,
            frame_start: true,
            frame_end: true,
            message_start: true,
            message_end: true,
        })
    }

    /// How large the message is that was refused as too big: at least, if its header is not complete.
    #[must_use]
    pub fn declared_bytes(&self) -> Option<u64> {
        (self.stage == Stage::Violated(Violation::MessageTooBig)).then_some(self.message_bytes)
    }

    /// Changes the limits, from the next frame on: for connections whose first message is bounded more tightly.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Whether a message has begun and not ended.
    #[must_use]
    pub fn is_within_message(&self) -> bool {
        self.message.is_some()
    }

    /// Whether the peer's Close has come.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.stage == Stage::Closed
    }

    #[inline]
    fn receive_frame<'b>(&mut self, input: &mut &'b mut [u8]) -> Result<Option<Event<'b>>, Violation> {
        let Some((header, header_bytes)) = frame::decode(input, &self.expectation())? else {
            return Ok(None);
        };
        let kind = match header.opcode {
            OpCode::Close | OpCode::Ping | OpCode::Pong => {
                return self.receive_control(input, header, header_bytes);
            }
            OpCode::Text => MessageKind::Text,
            OpCode::Binary => MessageKind::Binary,
            // `decode` has refused a continuation where no message is open.
            OpCode::Continuation => self.message.ok_or(Violation::ContinuationUnexpected)?,
        };
        take(input, header_bytes);
        if self.message.is_none() {
            self.message_is_compressed = header.compressed;
        }
        self.message = Some(kind);
        self.message_bytes = self.message_bytes.saturating_add(header.payload_bytes);
        self.fragments = self.fragments.saturating_add(1);
        self.frame_bytes_left = header.payload_bytes;
        self.frame_is_last = header.fin;
        self.frame_is_fresh = true;
        self.mask = header.mask.unwrap_or_default();
        self.stage = Stage::Payload;
        self.receive_payload(input)
    }

    fn receive_control<'b>(
        &mut self,
        input: &mut &'b mut [u8],
        header: Header,
        header_bytes: usize,
    ) -> Result<Option<Event<'b>>, Violation> {
        let key = header.mask.unwrap_or_default();
        // `decode` has refused control frames of more than 125 bytes.
        let payload_bytes = usize::try_from(header.payload_bytes).map_err(|_| Violation::ControlTooLong)?;
        let frame_bytes = header_bytes + payload_bytes;
        if input.len() < frame_bytes {
            if header.opcode == OpCode::Close {
                check_close_prefix(key, &input[header_bytes..], frame_bytes - input.len())?;
            }
            return Ok(None);
        }
        let frame = take(input, frame_bytes);
        let payload = &mut frame[header_bytes..];
        mask::apply(key, payload);
        Ok(Some(match header.opcode {
            OpCode::Ping => Event::Ping(payload),
            OpCode::Pong => Event::Pong(payload),
            OpCode::Close | OpCode::Continuation | OpCode::Text | OpCode::Binary => {
                let close = CloseFrame::parse(payload)?;
                self.stage = Stage::Closed;
                Event::Close(close)
            }
        }))
    }

    /// Hands out what has arrived of the open frame; nothing only where nothing has and something must.
    #[inline]
    fn receive_payload<'b>(&mut self, input: &mut &'b mut [u8]) -> Result<Option<Event<'b>>, Violation> {
        let available =
            usize::try_from(self.frame_bytes_left).map_or(input.len(), |left| input.len().min(left));
        // A data frame is open, so a message is.
        let Some(kind) = self.message else { return Ok(None) };
        if available == 0 && self.frame_bytes_left > 0 {
            return Ok(None);
        }
        let mut payload = take(input, available);
        self.mask = mask::apply(self.mask, payload);
        self.frame_bytes_left -= available as u64;
        let is_text = kind == MessageKind::Text && !self.message_is_compressed;
        let valid = if is_text { self.valid_text(payload) } else { available };
        let is_valid = valid == available;
        if !is_valid {
            self.stage = Stage::Violated(Violation::TextNotUtf8);
            if valid == 0 {
                return Err(Violation::TextNotUtf8);
            }
            // What was good before the wrong byte goes out first, as it would have in a segment of its own; the next
            // call gives the violation.
            payload = &mut payload[..valid];
        }
        let frame_start = mem::replace(&mut self.frame_is_fresh, false);
        let frame_end = is_valid && self.frame_bytes_left == 0;
        let chunk = Chunk {
            kind,
            payload,
            compressed: self.message_is_compressed,
            frame_start,
            frame_end,
            message_start: frame_start && self.fragments == 1,
            message_end: frame_end && self.frame_is_last,
        };
        if frame_end {
            self.stage = Stage::Header;
        }
        if chunk.message_end {
            (self.message, self.message_bytes, self.fragments) = (None, 0, 0);
            self.message_is_compressed = false;
        }
        Ok(Some(Event::Data(chunk)))
    }

    /// How much of `payload` can be part of valid text.
    #[inline]
    fn valid_text(&mut self, payload: &[u8]) -> usize {
        let valid = self.utf8.accept(payload);
        // RFC 6455 §8.1: a character that the rest of the last frame cannot finish is wrong from its first byte on,
        // whether or not a later byte that is wrong as well has come.
        let after_valid = (payload.len() - valid) as u64 + self.frame_bytes_left;
        let lacking = u64::from(self.utf8.lacking());
        if lacking > after_valid && self.frame_is_last {
            return valid.saturating_sub(self.utf8.partial_bytes());
        }
        valid
    }

    #[inline]
    fn expectation(&self) -> Expectation {
        Expectation {
            role: self.role,
            compression: self.compression,
            message_compressed: self.message_is_compressed,
            message_open: self.message.is_some(),
            message_bytes_left: self.limits.message_bytes_max.saturating_sub(self.message_bytes),
            compressed_bytes_left: match self.compression {
                true => self.limits.compressed_bytes_max().saturating_sub(self.message_bytes),
                // Nobody asks.
                false => 0,
            },
            fragments_left: self.limits.message_fragments_max.saturating_sub(self.fragments),
            character_bytes_lacking: self.utf8.lacking(),
        }
    }
}

/// Splits `count` bytes off the front of `input`.
#[inline]
fn take<'b>(input: &mut &'b mut [u8], count: usize) -> &'b mut [u8] {
    let (taken, rest) = mem::take(input).split_at_mut(count);
    *input = rest;
    taken
}

/// Looks at an incomplete Close payload without touching it: it will come again.
fn check_close_prefix(key: MaskKey, masked: &[u8], bytes_lacking: usize) -> Result<(), Violation> {
    let mut copy = [0; CONTROL_BYTES_MAX];
    let prefix = &mut copy[..masked.len()];
    prefix.copy_from_slice(masked);
    mask::apply(key, prefix);
    CloseFrame::check_prefix(prefix, bytes_lacking)
}

/// The first byte of a text message in one frame: FIN and the opcode (§5.2).
const TEXT_WHOLE: u8 = 0x81;
/// That of a binary one.
const BINARY_WHOLE: u8 = 0x82;
/// The shortest header, without a key.
const SHORT_HEADER_BYTES: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::close::CloseCode;

    fn server() -> Receiver {
        Receiver::new(Role::Server, Limits::default())
    }

    /// A masked frame from a client.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let opcode = OpCode::from_bits(first & 0x0F).unwrap();
        let header = Header {
            fin: first & 0x80 != 0,
            compressed: false,
            opcode,
            mask: Some([1, 2, 3, 4]),
            payload_bytes: payload.len() as u64,
        };
        let (bytes, used) = header.encode();
        let mut out = bytes[..used].to_vec();
        let mut payload = payload.to_vec();
        mask::apply([1, 2, 3, 4], &mut payload);
        out.extend(payload);
        out
    }

    #[test]
    fn section_5_7_examples_are_received() {
        let mut bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let mut input = &mut bytes[..];
        let event = server().receive(&mut input).unwrap();
        let Some(Event::Data(chunk)) = event else { panic!("{event:?}") };
        assert_eq!(chunk.payload, b"Hello");
        assert!(chunk.message_start && chunk.message_end && chunk.kind == MessageKind::Text);
        assert!(input.is_empty());

        let mut bytes = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
        let mut input = &mut bytes[..];
        let mut client = Receiver::new(Role::Client, Limits::default());
        let mut text = Vec::new();
        while let Some(Event::Data(chunk)) = client.receive(&mut input).unwrap() {
            text.extend_from_slice(chunk.payload);
        }
        assert_eq!(text, b"Hello");
    }

    #[test]
    fn control_frames_are_taken_whole_and_between_fragments() {
        let mut bytes = [frame(0x01, b"He"), frame(0x89, b"ping"), frame(0x80, b"llo")].concat();
        let mut receiver = server();
        let mut input = &mut bytes[..9 + 3];
        assert!(matches!(receiver.receive(&mut input), Ok(Some(Event::Data(_)))));
        assert_eq!(receiver.receive(&mut input), Ok(None));
        assert_eq!(input.len(), 4, "an incomplete control frame stays in the input");
        let mut input = &mut bytes[8..];
        assert_eq!(receiver.receive(&mut input), Ok(Some(Event::Ping(b"ping"))));
        let Ok(Some(Event::Data(chunk))) = receiver.receive(&mut input) else { panic!() };
        assert!(!chunk.message_start && chunk.message_end);
        assert!(!receiver.is_within_message());
    }

    #[test]
    fn nothing_after_a_close_is_looked_at() {
        let mut bytes = [frame(0x88, b"\x03\xe8bye"), vec![0xFF; 20]].concat();
        let mut input = &mut bytes[..];
        let mut receiver = server();
        let close = CloseFrame { code: CloseCode::NORMAL, reason: "bye" };
        assert_eq!(receiver.receive(&mut input), Ok(Some(Event::Close(Some(close)))));
        assert_eq!(receiver.receive(&mut input), Ok(None));
        assert!(input.is_empty() && receiver.is_closed());
    }

    #[test]
    fn a_violation_stays() {
        let mut receiver = server();
        let mut bytes = [0x83, 0x80];
        assert_eq!(receiver.receive(&mut &mut bytes[..]), Err(Violation::OpcodeUnknown));
        let mut bytes = frame(0x81, b"fine");
        assert_eq!(receiver.receive(&mut &mut bytes[..]), Err(Violation::OpcodeUnknown));
    }

    #[test]
    fn section_8_1_valid_text_before_a_wrong_byte_is_handed_out() {
        let mut bytes = frame(0x81, b"good\xff bad");
        let mut input = &mut bytes[..];
        let mut receiver = server();
        let Ok(Some(Event::Data(chunk))) = receiver.receive(&mut input) else { panic!() };
        assert_eq!(chunk.payload, b"good");
        assert!(!chunk.frame_end);
        assert_eq!(receiver.receive(&mut input), Err(Violation::TextNotUtf8));
    }

    #[test]
    fn section_8_1_text_that_cannot_finish_its_character_is_refused_at_its_first_byte() {
        let mut bytes = frame(0x81, b"ab\xe2\x82");
        let mut input = &mut bytes[..9];
        let mut receiver = server();
        let Ok(Some(Event::Data(chunk))) = receiver.receive(&mut input) else { panic!() };
        assert_eq!(chunk.payload, b"ab");
        assert_eq!(receiver.receive(&mut input), Err(Violation::TextNotUtf8));
    }

    #[test]
    fn section_8_1_the_first_wrong_byte_is_the_same_however_text_is_cut() {
        // U+7xxx begins where two bytes are left of the last frame; the byte after it is wrong as well.
        let stream = frame(0x81, b"a\xe7b");
        for cut in 0..=stream.len() {
            let (mut head, mut receiver, mut text) = (stream[..cut].to_vec(), server(), Vec::new());
            let mut input = &mut head[..];
            let mut result = Ok(());
            while let Some(event) = receiver.receive(&mut input).unwrap_or_else(|violation| {
                result = Err(violation);
                None
            }) {
                let Event::Data(chunk) = event else { panic!("{event:?}") };
                text.extend_from_slice(chunk.payload);
            }
            assert_eq!(result, if cut >= 8 { Err(Violation::TextNotUtf8) } else { Ok(()) }, "cut at {cut}");
            assert_eq!(text, &b"a"[..usize::from(cut >= 7)], "cut at {cut}");
        }
    }

    #[test]
    fn limits_count_all_frames_and_empty_ones() {
        let limits = Limits { message_bytes_max: 4, message_fragments_max: 2 };
        let mut receiver = Receiver::new(Role::Server, limits);
        let mut bytes = [frame(0x02, b"abc"), frame(0x80, b"de")].concat();
        let mut input = &mut bytes[..];
        assert!(matches!(receiver.receive(&mut input), Ok(Some(_))));
        assert_eq!(receiver.declared_bytes(), None);
        assert_eq!(receiver.receive(&mut input), Err(Violation::MessageTooBig));
        assert_eq!(receiver.declared_bytes(), Some(5));

        let mut receiver = Receiver::new(Role::Server, limits);
        let mut bytes = [frame(0x02, b""), frame(0x00, b""), frame(0x00, b"")].concat();
        let mut input = &mut bytes[..];
        assert!(matches!(receiver.receive(&mut input), Ok(Some(_))));
        assert!(matches!(receiver.receive(&mut input), Ok(Some(_))));
        assert_eq!(receiver.receive(&mut input), Err(Violation::FragmentsTooMany));
    }

    type Judged = (Vec<(MessageKind, Vec<u8>, bool)>, Option<Violation>);

    /// What comes of `bytes`, of which the first `cut` come before the rest: text and kinds, joined, and the verdict.
    fn judged(role: Role, limits: Limits, bytes: &[u8], cut: usize) -> Judged {
        let (mut receiver, mut buffer, mut seen) = (Receiver::new(role, limits), Vec::new(), Vec::new());
        for part in [&bytes[..cut], &bytes[cut..]] {
            buffer.extend_from_slice(part);
            let mut input = &mut buffer[..];
            loop {
                match receiver.receive(&mut input) {
                    Ok(Some(Event::Data(chunk))) if !chunk.frame_start => {
                        let (_, payload, is_end): &mut (_, Vec<u8>, _) = seen.last_mut().unwrap();
                        payload.extend_from_slice(chunk.payload);
                        *is_end = chunk.message_end;
                    }
                    Ok(Some(Event::Data(chunk))) => {
                        seen.push((chunk.kind, chunk.payload.to_vec(), chunk.message_end));
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(violation) => return (seen, Some(violation)),
                }
            }
            buffer = input.to_vec();
        }
        (seen, None)
    }

    #[test]
    fn a_small_message_is_judged_whole_as_it_is_in_pieces() {
        let texts: [&[u8]; 5] = [b"", b"plain", "grün €".as_bytes(), b"cut \xe2\x82", b"wrong \xff byte"];
        let limits = [Limits::default(), Limits { message_bytes_max: 5, message_fragments_max: 1 }]
            .into_iter()
            .chain([Limits { message_bytes_max: 100, message_fragments_max: 0 }]);
        for limits in limits {
            for (first, role) in
                (0..=u8::MAX).flat_map(|first| [(first, Role::Server), (first, Role::Client)])
            {
                for (text, is_masked) in texts.iter().flat_map(|text| [(text, true), (text, false)]) {
                    let mut bytes = vec![first, u8::try_from(text.len()).unwrap()];
                    bytes.extend_from_slice(text);
                    if is_masked {
                        let key = [1, 2, 3, 4];
                        bytes[1] |= frame::MASK_BIT;
                        mask::apply(key, &mut bytes[2..]);
                        bytes.splice(2..2, key);
                    }
                    // Behind the first byte of its header it is no longer seen as one.
                    let (whole, pieces) = (judged(role, limits, &bytes, 0), judged(role, limits, &bytes, 2));
                    assert_eq!(whole, pieces, "{role:?} {bytes:02x?}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_whole_message_is_left_as_it_came() {
        let tight = Limits { message_bytes_max: 2, ..Limits::default() };
        for (role, limits, bytes) in [
            (Role::Server, Limits::default(), frame(0x81, b"not \xff text")),
            (Role::Server, Limits::default(), frame(0x89, b"ping")),
            (Role::Server, Limits::default(), frame(0x01, b"a piece")),
            (Role::Server, Limits::default(), frame(0x82, &[0; 126])),
            (Role::Server, Limits::default(), frame(0x82, b"cut")[..8].to_vec()),
            (Role::Server, Limits::default(), vec![0x81]),
            (Role::Server, tight, frame(0x82, b"long")),
            (Role::Client, Limits::default(), frame(0x82, b"masked")),
            (Role::Client, Limits::default(), b"\x81\x02a\xff".to_vec()),
            (Role::Client, Limits::default(), b"\x81\x02a".to_vec()),
            (Role::Client, tight, b"\x81\x03abc".to_vec()),
        ] {
            let (mut receiver, mut buffer) = (Receiver::new(role, limits), bytes.clone());
            let mut input = &mut buffer[..];
            assert_eq!(receiver.whole_message(&mut input), None, "{bytes:02x?}");
            assert_eq!(input, &bytes[..]);
        }
        let mut bytes = b"\x01\x01a\x81\x01b".to_vec();
        let (mut receiver, mut input) = (Receiver::new(Role::Client, Limits::default()), &mut bytes[..]);
        assert!(matches!(receiver.receive(&mut input), Ok(Some(Event::Data(_)))));
        assert_eq!(receiver.whole_message(&mut input), None, "another message is open");
        assert_eq!(receiver.receive(&mut input), Err(Violation::MessageInterleaved));
        assert_eq!(
            receiver.whole_message(&mut &mut b"\x81\x01c".to_vec()[..]),
            None,
            "nothing follows a violation"
        );
    }

    #[test]
    fn limits_change_from_the_next_frame_on() {
        let limits = |message_bytes_max| Limits { message_bytes_max, ..Limits::default() };
        let mut receiver = Receiver::new(Role::Server, limits(2));
        let mut bytes = [frame(0x81, b"ab"), frame(0x81, b"abcd"), frame(0x81, b"abc")].concat();
        let mut input = &mut bytes[..];
        assert!(matches!(receiver.receive(&mut input), Ok(Some(Event::Data(_)))));
        receiver.set_limits(limits(4));
        assert!(matches!(receiver.receive(&mut input), Ok(Some(Event::Data(_)))));
        receiver.set_limits(limits(2));
        assert_eq!(receiver.receive(&mut input), Err(Violation::MessageTooBig));
    }

    #[test]
    fn the_state_between_calls_is_a_few_dozen_bytes() {
        assert!(size_of::<Receiver>() <= 72, "{}", size_of::<Receiver>());
    }
}
