//! Whole messages from pieces: a layer on top of [`crate::receive`], for whoever must have a message in one piece.
//!
//! Memory grows with what has arrived, never with what a header declares.

use crate::limits::Limits;
use crate::receive::{Chunk, MessageKind};
use crate::violation::Violation;

/// A whole message, owned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Text.
    Text(String),
    /// Any bytes.
    Binary(Vec<u8>),
}

impl Message {
    /// Whether the message is text or binary.
    #[must_use]
    pub const fn kind(&self) -> MessageKind {
        match self {
            Self::Text(_) => MessageKind::Text,
            Self::Binary(_) => MessageKind::Binary,
        }
    }

    /// The payload.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// Puts pieces together, within bounds of its own.
#[derive(Clone, Debug)]
pub struct Assembler {
    limits: Limits,
    bytes: Vec<u8>,
    fragments: u32,
}

impl Assembler {
    /// An assembler that holds no more than `limits` allow.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { limits, bytes: Vec::new(), fragments: 0 }
    }

    /// How much memory is held for the message that is open.
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// One with the same bounds that holds nothing.
    #[must_use]
    pub const fn emptied(&self) -> Self {
        Self::new(self.limits)
    }

    /// Adds a piece; gives the message when it was the last.
    ///
    /// # Errors
    /// [`Violation::MessageTooBig`] or [`Violation::FragmentsTooMany`]; what was gathered is then given up.
    pub fn push(&mut self, chunk: &Chunk<'_>) -> Result<Option<Message>, Violation> {
        if chunk.frame_start {
            self.fragments = self.fragments.saturating_add(1);
        }
        let total = (self.bytes.len() as u64).saturating_add(chunk.payload.len() as u64);
        if total > self.limits.message_bytes_max {
            self.bytes = Vec::new();
            return Err(Violation::MessageTooBig);
        }
        if self.fragments > self.limits.message_fragments_max {
            self.bytes = Vec::new();
            return Err(Violation::FragmentsTooMany);
        }
        self.bytes.extend_from_slice(chunk.payload);
        if !chunk.message_end {
            return Ok(None);
        }
        self.fragments = 0;
        let bytes = core::mem::take(&mut self.bytes);
        Ok(Some(match chunk.kind {
            MessageKind::Binary => Message::Binary(bytes),
            // The receiver has checked every byte; the type wants to hear it again.
            MessageKind::Text => Message::Text(String::from_utf8(bytes).map_err(|_| Violation::TextNotUtf8)?),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(assembler: &mut Assembler, bytes: &[u8], last: bool) -> Result<Option<Message>, Violation> {
        push_of(MessageKind::Text, assembler, bytes, last)
    }

    fn push_of(
        kind: MessageKind,
        assembler: &mut Assembler,
        bytes: &[u8],
        last: bool,
    ) -> Result<Option<Message>, Violation> {
        let mut payload = bytes.to_vec();
        assembler.push(&Chunk {
            kind,
            payload: &mut payload,
            compressed: false,
            frame_start: true,
            frame_end: true,
            message_start: false,
            message_end: last,
        })
    }

    #[test]
    fn pieces_become_one_message_and_nothing_is_kept() {
        let mut assembler = Assembler::new(Limits::default());
        assert_eq!(push(&mut assembler, "caf\u{e9}".as_bytes(), false), Ok(None));
        assert_eq!(push(&mut assembler, b"!", true), Ok(Some(Message::Text("café!".into()))));
        assert_eq!(assembler.bytes.capacity(), 0);
    }

    #[test]
    fn what_is_held_is_told_and_one_like_it_is_empty_with_the_same_bounds() {
        let mut assembler = Assembler::new(Limits { message_bytes_max: 4, ..Limits::default() });
        assert_eq!(push(&mut assembler, b"abc", false), Ok(None));
        assert!((3..=8).contains(&assembler.held_bytes()));
        let mut emptied = assembler.emptied();
        assert_eq!(emptied.held_bytes(), 0);
        assert_eq!(push(&mut emptied, b"abcd", false), Ok(None));
        assert_eq!(push(&mut emptied, b"e", true), Err(Violation::MessageTooBig));
    }

    #[test]
    fn a_message_is_of_its_frames_kind_and_has_their_bytes() {
        let mut assembler = Assembler::new(Limits::default());
        for (kind, bytes) in [(MessageKind::Text, "é".as_bytes()), (MessageKind::Binary, b"\xff\x00")] {
            let message = push_of(kind, &mut assembler, bytes, true).unwrap().unwrap();
            assert_eq!((message.kind(), message.as_bytes()), (kind, bytes));
        }
    }

    #[test]
    fn section_8_1_text_that_no_receiver_has_checked_is_checked() {
        let mut assembler = Assembler::new(Limits::default());
        assert_eq!(push(&mut assembler, b"\xff", true), Err(Violation::TextNotUtf8));
        assert_eq!(push(&mut assembler, b"a", true), Ok(Some(Message::Text("a".into()))));
    }

    #[test]
    fn bounds_hold_in_bytes_and_in_fragments() {
        let limits = Limits { message_bytes_max: 4, message_fragments_max: 3 };
        let mut assembler = Assembler::new(limits);
        assert_eq!(push(&mut assembler, b"abcd", false), Ok(None));
        assert_eq!(push(&mut assembler, b"e", true), Err(Violation::MessageTooBig));
        let mut assembler = Assembler::new(limits);
        for _ in 0..3 {
            assert_eq!(push(&mut assembler, b"", false), Ok(None));
        }
        assert_eq!(push(&mut assembler, b"", true), Err(Violation::FragmentsTooMany));
    }
}
