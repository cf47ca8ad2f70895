//! Bytes of an open frame that are too few for a fragment of their own.
//!
//! Only whole frames go out. A frame that arrived whole leaves as one; one that spans reads leaves as fragments of what is there, at
//! least [`FRAGMENT_BYTES_MIN`] unless it ends the frame, so that nothing waits inside a frame for bytes that may not come, and
//! a slow peer cannot turn each byte into a frame.

use std::mem;

use drawgate_protocol::Chunk;

/// What waits for more of one direction; no more than a pointer, since mostly nothing does.
#[derive(Debug, Default)]
pub(crate) struct Held(Option<Box<Bytes>>);

#[derive(Debug, Default)]
struct Bytes(Vec<u8>);

impl Held {
    /// What goes out before `chunk`, if that goes out now; `None` where it waits for more.
    #[inline]
    pub(crate) fn release(&mut self, chunk: &Chunk<'_>) -> Option<Vec<u8>> {
        if self.0.is_none() && chunk.frame_end { Some(Vec::new()) } else { self.gather(chunk) }
    }

    /// The same where something is held, or is to be.
    fn gather(&mut self, chunk: &Chunk<'_>) -> Option<Vec<u8>> {
        let held_bytes = self.0.as_ref().map_or(0, |held| held.0.len());
        if !chunk.frame_end && held_bytes + chunk.payload.len() < FRAGMENT_BYTES_MIN {
            self.0.get_or_insert_default().0.extend_from_slice(chunk.payload);
            return None;
        }
        Some(self.0.take().map_or_else(Vec::new, |mut held| mem::take(&mut held.0)))
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// The least payload of a fragment that does not end its frame.
const FRAGMENT_BYTES_MIN: usize = 1024;
