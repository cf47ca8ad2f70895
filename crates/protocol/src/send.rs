//! The sending half (RFC 6455 §5, §5.1, §5.5): frames out, appended to the caller's buffer.
//!
//! The sender keeps what may follow what: no data after Close, no message inside another, no oversized control frame.
//! It takes masking keys from the caller, who has the randomness; it does not check that text is UTF-8 where it is
//! given bytes: they come from a [`crate::Receiver`] or a `str`.

use core::fmt;

use crate::close::{CloseFrame, REASON_BYTES_MAX};
use crate::frame::{FIN_BIT, Header, MASK_BIT, OpCode, RSV1_BIT, Role};
use crate::limits::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX};
use crate::mask::{self, MaskKey};
use crate::receive::MessageKind;

/// Produces one direction of a connection.
#[derive(Clone, Debug)]
pub struct Sender {
    role: Role,
    message: Option<MessageKind>,
    closed: bool,
}

/// Why nothing was sent: each is a mistake of the calling code, not of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendError {
    /// A frame after our Close (§5.5.1).
    AfterClose,
    /// A message of another kind inside one that is not finished (§5.4).
    Interleaved,
    /// A control payload of more than 125 bytes (§5.5).
    ControlTooLong,
    /// A close reason of more than 123 bytes (§5.5).
    ReasonTooLong,
    /// A client without a masking key (§5.1).
    KeyRequired,
    /// A server with a masking key (§5.1).
    KeyForbidden,
}

impl Sender {
    /// A sender for the end that we are.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Self { role, message: None, closed: false }
    }

    /// Whether a message has begun and its last frame has not been sent.
    #[must_use]
    pub const fn is_within_message(&self) -> bool {
        self.message.is_some()
    }

    /// Whether our Close has been sent.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Appends one data frame whose payload is `parts`, one behind the other; `last` ends the message.
    ///
    /// The first frame of a message carries its kind, the others continue it.
    ///
    /// # Errors
    /// As [`SendError`] says; nothing is appended then.
    #[inline]
    pub fn data(
        &mut self,
        out: &mut Vec<u8>,
        kind: MessageKind,
        last: bool,
        parts: &[&[u8]],
        key: Option<MaskKey>,
    ) -> Result<(), SendError> {
        if let ([payload], true, None) = (parts, last, self.message)
            && let Ok(length @ 0..=SHORT_BYTES_MAX) = u8::try_from(payload.len())
        {
            return self.short_message(out, kind, (payload, length), key);
        }
        let opcode = match (self.message, kind) {
            (None, MessageKind::Text) => OpCode::Text,
            (None, MessageKind::Binary) => OpCode::Binary,
            (Some(open), kind) if open == kind => OpCode::Continuation,
            (Some(_), _) => return Err(SendError::Interleaved),
        };
        self.frame(out, opcode, last, parts, key)?;
        self.message = if last { None } else { Some(kind) };
        Ok(())
    }

    /// The same for one frame of a message that [`Deflation`](crate::deflate::Deflation) has compressed (RFC 7692 §7.2.1):
    /// `parts` is what came of it. All frames of such a message go through here.
    ///
    /// # Errors
    /// As [`SendError`] says; nothing is appended then.
    pub fn compressed_data(
        &mut self,
        out: &mut Vec<u8>,
        kind: MessageKind,
        last: bool,
        parts: &[&[u8]],
        key: Option<MaskKey>,
    ) -> Result<(), SendError> {
        let start = out.len();
        let is_first = self.message.is_none();
        self.data(out, kind, last, parts, key)?;
        // RFC 7692 §6: RSV1 is set on the first frame of a message and on no other.
        if is_first && let Some(first) = out.get_mut(start) {
            *first |= RSV1_BIT;
        }
        Ok(())
    }

    /// Appends a ping.
    ///
    /// # Errors
    /// As [`SendError`] says; nothing is appended then.
    pub fn ping(&mut self, out: &mut Vec<u8>, payload: &[u8], key: Option<MaskKey>) -> Result<(), SendError> {
        self.control(out, OpCode::Ping, &[payload], key)
    }

    /// Appends a pong.
    ///
    /// # Errors
    /// As [`SendError`] says; nothing is appended then.
    pub fn pong(&mut self, out: &mut Vec<u8>, payload: &[u8], key: Option<MaskKey>) -> Result<(), SendError> {
        self.control(out, OpCode::Pong, &[payload], key)
    }

    /// Appends our Close, after which nothing else can be sent; `None` is one without a code.
    ///
    /// # Errors
    /// As [`SendError`] says; nothing is appended then.
    pub fn close(
        &mut self,
        out: &mut Vec<u8>,
        close: Option<CloseFrame<'_>>,
        key: Option<MaskKey>,
    ) -> Result<(), SendError> {
        match close {
            None => self.control(out, OpCode::Close, &[], key)?,
            Some(CloseFrame { reason, .. }) if reason.len() > REASON_BYTES_MAX => {
                return Err(SendError::ReasonTooLong);
            }
            Some(CloseFrame { code, reason }) => {
                self.control(out, OpCode::Close, &[&code.get().to_be_bytes(), reason.as_bytes()], key)?;
            }
        }
        self.closed = true;
        Ok(())
    }

    /// A whole message in a frame with the shortest kind of length, as most are.
    #[inline]
    fn short_message(
        &self,
        out: &mut Vec<u8>,
        kind: MessageKind,
        (payload, length): (&[u8], u8),
        key: Option<MaskKey>,
    ) -> Result<(), SendError> {
        self.check(key)?;
        let first = FIN_BIT
            | match kind {
                MessageKind::Text => OpCode::Text.bits(),
                MessageKind::Binary => OpCode::Binary.bits(),
            };
        out.reserve(HEADER_BYTES_MAX + payload.len());
        if let Some(key @ [a, b, c, d]) = key {
            out.extend_from_slice(&[first, MASK_BIT | length, a, b, c, d]);
            let start = out.len();
            out.extend_from_slice(payload);
            mask::apply(key, &mut out[start..]);
        } else {
            out.extend_from_slice(&[first, length]);
            out.extend_from_slice(payload);
        }
        Ok(())
    }

    /// Whether a frame may be sent, with or without this key.
    #[inline]
    const fn check(&self, key: Option<MaskKey>) -> Result<(), SendError> {
        match (self.role, key) {
            _ if self.closed => Err(SendError::AfterClose),
            (Role::Client, None) => Err(SendError::KeyRequired),
            (Role::Server, Some(_)) => Err(SendError::KeyForbidden),
            (Role::Client, Some(_)) | (Role::Server, None) => Ok(()),
        }
    }

    fn control(
        &mut self,
        out: &mut Vec<u8>,
        opcode: OpCode,
        parts: &[&[u8]],
        key: Option<MaskKey>,
    ) -> Result<(), SendError> {
        if parts.iter().map(|part| part.len()).sum::<usize>() > CONTROL_BYTES_MAX {
            return Err(SendError::ControlTooLong);
        }
        self.frame(out, opcode, true, parts, key)
    }

    fn frame(
        &mut self,
        out: &mut Vec<u8>,
        opcode: OpCode,
        fin: bool,
        parts: &[&[u8]],
        mask: Option<MaskKey>,
    ) -> Result<(), SendError> {
        self.check(mask)?;
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        out.reserve(HEADER_BYTES_MAX + bytes);
        Header { fin, compressed: false, opcode, mask, payload_bytes: bytes as u64 }.append(out);
        let start = out.len();
        for part in parts.iter().filter(|part| !part.is_empty()) {
            out.extend_from_slice(part);
        }
        if let Some(key) = mask {
            mask::apply(key, &mut out[start..]);
        }
        Ok(())
    }
}

/// The longest payload whose length fits a frame's second byte (§5.2).
const SHORT_BYTES_MAX: u8 = 125;

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AfterClose => "nothing may follow a Close frame",
            Self::Interleaved => "another message is not finished",
            Self::ControlTooLong => "a control payload may have 125 bytes at most",
            Self::ReasonTooLong => "a close reason may have 123 bytes at most",
            Self::KeyRequired => "a client masks its frames",
            Self::KeyForbidden => "a server does not mask its frames",
        })
    }
}

impl core::error::Error for SendError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::close::CloseCode;

    #[test]
    fn section_5_7_examples_are_sent() {
        let mut out = Vec::new();
        let mut server = Sender::new(Role::Server);
        server.data(&mut out, MessageKind::Text, true, &[b"Hel", b"lo"], None).unwrap();
        assert_eq!(out, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);

        out.clear();
        let mut client = Sender::new(Role::Client);
        client.data(&mut out, MessageKind::Text, true, &[b"Hello"], Some([0x37, 0xfa, 0x21, 0x3d])).unwrap();
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);

        out.clear();
        server.data(&mut out, MessageKind::Text, false, &[b"Hel"], None).unwrap();
        server.ping(&mut out, b"", None).unwrap();
        server.data(&mut out, MessageKind::Text, true, &[b"lo"], None).unwrap();
        assert_eq!(out, [0x01, 0x03, 0x48, 0x65, 0x6c, 0x89, 0x00, 0x80, 0x02, 0x6c, 0x6f]);
    }

    #[test]
    fn a_short_message_is_the_same_in_one_part_as_in_two() {
        for (role, key) in [(Role::Server, None), (Role::Client, Some([1, 2, 3, 4]))] {
            for (kind, bytes) in
                (0..=130).flat_map(|bytes| [(MessageKind::Text, bytes), (MessageKind::Binary, bytes)])
            {
                let (payload, mut sender) = (vec![b'm'; bytes], Sender::new(role));
                let (mut one, mut two) = (Vec::new(), Vec::new());
                sender.data(&mut one, kind, true, &[&payload], key).unwrap();
                sender
                    .data(&mut two, kind, true, &[&payload[..bytes / 2], &payload[bytes / 2..]], key)
                    .unwrap();
                assert_eq!(one, two, "{bytes} bytes");
                assert!(!sender.is_within_message());
            }
        }
    }

    #[test]
    fn what_has_begun_and_what_has_ended_is_known() {
        let (mut server, mut out) = (Sender::new(Role::Server), Vec::new());
        let mut data =
            |server: &mut Sender, last| server.data(&mut out, MessageKind::Text, last, &[b"a"], None);
        data(&mut server, true).unwrap();
        assert!(!server.is_within_message());
        data(&mut server, false).unwrap();
        assert!(server.is_within_message());
        data(&mut server, true).unwrap();
        assert!(!server.is_within_message() && !server.is_closed());
        server.close(&mut out, None, None).unwrap();
        assert!(server.is_closed());
    }

    #[test]
    fn what_must_not_be_sent_is_not() {
        let mut out = Vec::new();
        let mut server = Sender::new(Role::Server);
        assert_eq!(server.ping(&mut out, &[0; 126], None), Err(SendError::ControlTooLong));
        assert_eq!(server.ping(&mut out, &[], Some([0; 4])), Err(SendError::KeyForbidden));
        let long = "x".repeat(124);
        let close = CloseFrame { code: CloseCode::NORMAL, reason: &long };
        assert_eq!(server.close(&mut out, Some(close), None), Err(SendError::ReasonTooLong));
        let client = &mut Sender::new(Role::Client);
        assert_eq!(client.pong(&mut out, &[], None), Err(SendError::KeyRequired));
        assert_eq!(client.close(&mut out, None, None), Err(SendError::KeyRequired));
        let close = CloseFrame { code: CloseCode::NORMAL, reason: "" };
        assert_eq!(client.close(&mut out, Some(close), None), Err(SendError::KeyRequired));
        let text = client.data(&mut out, MessageKind::Text, false, &[b"a"], None);
        assert_eq!(text, Err(SendError::KeyRequired));
        let whole = client.data(&mut out, MessageKind::Text, true, &[b"a"], None);
        assert_eq!(whole, Err(SendError::KeyRequired));
        let compressed = client.compressed_data(&mut out, MessageKind::Text, false, &[b"a"], None);
        assert_eq!(compressed, Err(SendError::KeyRequired));
        assert!(out.is_empty() && !client.is_closed() && !client.is_within_message());

        server.data(&mut out, MessageKind::Text, false, &[b"a"], None).unwrap();
        out.clear();
        let other = server.data(&mut out, MessageKind::Binary, true, &[b"b"], None);
        assert_eq!(other, Err(SendError::Interleaved));
        assert!(out.is_empty());

        let close = CloseFrame { code: CloseCode::NORMAL, reason: &long[..123] };
        server.close(&mut out, Some(close), None).unwrap();
        assert_eq!(out.len(), 127);
        assert_eq!(server.pong(&mut out, &[], None), Err(SendError::AfterClose));
        assert_eq!(server.close(&mut out, None, None), Err(SendError::AfterClose));
    }
}
