//! The echo: each message goes back as it came, behind a prefix, piece by piece and never held whole.

use std::sync::Arc;

use drawgate_protocol::{Chunk, SendError};

use super::held::Held;
use crate::compression::Outlet;
use crate::route;

/// One connection's echo.
#[derive(Debug)]
pub(crate) struct Echoing {
    echo: Arc<route::Echo>,
    held: Held,
}

impl Echoing {
    pub(crate) fn new(echo: Arc<route::Echo>) -> Self {
        Self { echo, held: Held::default() }
    }

    /// What each answer begins with.
    pub(crate) fn prefix(&self) -> &str {
        &self.echo.prefix
    }

    /// Answers one piece; returns how many payload bytes went into `out`.
    #[inline]
    pub(crate) fn chunk(
        &mut self,
        chunk: &Chunk<'_>,
        outlet: &mut Outlet<'_>,
        out: &mut Vec<u8>,
    ) -> Result<usize, SendError> {
        let Some(held) = self.held.release(chunk) else { return Ok(0) };
        if self.echo.prefix.is_empty() && held.is_empty() {
            outlet.data(out, chunk.kind, chunk.message_end, &[chunk.payload])?;
            return Ok(chunk.payload.len());
        }
        // The prefix opens the message, so it goes out with the first frame that does.
        let prefix = if outlet.is_within_message() { "" } else { self.echo.prefix.as_str() };
        let parts: [&[u8]; 3] = [prefix.as_bytes(), &held, chunk.payload];
        outlet.data(out, chunk.kind, chunk.message_end, &parts)?;
        Ok(parts.iter().map(|part| part.len()).sum())
    }
}

#[cfg(test)]
mod tests {
    use drawgate_protocol::{MessageKind, Role, Sender};

    use super::*;

    fn echoing() -> (Echoing, Sender) {
        (Echoing::new(Arc::new(route::Echo { prefix: "> ".into() })), Sender::new(Role::Server))
    }

    fn plain(sender: &mut Sender) -> Outlet<'_> {
        Outlet { sender, compression: None }
    }

    fn piece(payload: &mut [u8], frame_start: bool, frame_end: bool, fin: bool) -> Chunk<'_> {
        Chunk {
            kind: MessageKind::Text,
            payload,
            compressed: false,
            frame_start,
            frame_end,
            message_start: frame_start,
            message_end: frame_end && fin,
        }
    }

    #[test]
    fn a_frame_that_arrived_whole_leaves_as_one() {
        let (mut echoing, mut sender) = echoing();
        let mut out = Vec::new();
        let bytes = echoing.chunk(
            &piece(&mut b"hello".to_vec(), true, true, true),
            &mut plain(&mut sender),
            &mut out,
        );
        assert_eq!(bytes, Ok(7));
        assert_eq!(out, b"\x81\x07> hello");
    }

    #[test]
    fn small_pieces_of_a_frame_wait_for_a_fragment_worth_sending() {
        let (mut echoing, mut sender) = echoing();
        let mut out = Vec::new();
        for index in 0..1023 {
            echoing
                .chunk(&piece(&mut [b'x'], index == 0, false, true), &mut plain(&mut sender), &mut out)
                .unwrap();
        }
        assert!(out.is_empty());
        echoing.chunk(&piece(&mut [b'x'], false, false, true), &mut plain(&mut sender), &mut out).unwrap();
        assert_eq!(out[..6], *b"\x01\x7e\x04\x02> ");
        out.clear();
        echoing.chunk(&piece(&mut [b'y'], false, true, true), &mut plain(&mut sender), &mut out).unwrap();
        assert_eq!(out, b"\x80\x01y");
        assert!(echoing.held.is_empty(), "nothing is held while idle");
    }

    #[test]
    fn fragments_stay_fragments_and_the_prefix_comes_once() {
        let (mut echoing, mut sender) = echoing();
        let mut out = Vec::new();
        echoing
            .chunk(&piece(&mut b"a".to_vec(), true, true, false), &mut plain(&mut sender), &mut out)
            .unwrap();
        echoing.chunk(&piece(&mut [], true, true, false), &mut plain(&mut sender), &mut out).unwrap();
        echoing
            .chunk(&piece(&mut b"b".to_vec(), true, true, true), &mut plain(&mut sender), &mut out)
            .unwrap();
        assert_eq!(out, b"\x01\x03> a\x00\x00\x80\x01b");
    }
}
