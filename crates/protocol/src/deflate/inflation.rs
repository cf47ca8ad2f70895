//! Messages inflated as they come in (RFC 7692 §7.2.2), a layer between frames and UTF-8.
//!
//! Streams: what a piece inflates to is handed out in as many chunks as the caller's buffer makes of it, and nothing is
//! held but a window. Where a message ends is the frames' to say alone; here it is only checked that the compressed data
//! ends there too. Text is checked, and bytes are counted, as they come out.

use core::fmt;
use core::mem;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::contexts::Contexts;
use super::negotiation::Flow;
use crate::limits::Limits;
use crate::receive::{Chunk, MessageKind};
use crate::utf8::Utf8;
use crate::violation::Violation;

/// Inflates the messages of one direction.
pub struct Inflation {
    flow: Flow,
    /// While a compressed message is open, from its first byte on.
    context: Option<Box<Inflate>>,
    /// The context is in the middle of a deflate stream: not before its first byte, nor behind a last block.
    stream_is_open: bool,
    /// The caller's buffer was full, so that the context may have more to give without more input.
    output_was_full: bool,
    /// What the open message has inflated to.
    message_bytes: u64,
    /// With takeover: the end of all that was inflated, as much as the window has.
    history: Vec<u8>,
    utf8: Utf8,
    /// No chunk of the open frame has been handed out.
    frame_is_fresh: bool,
    /// No chunk of the open message has been handed out.
    message_is_fresh: bool,
    violation: Option<Violation>,
}

impl Inflation {
    /// For the direction that we receive, as it was agreed on.
    #[must_use]
    pub fn new(flow: Flow) -> Self {
        Self {
            flow,
            context: None,
            stream_is_open: false,
            output_was_full: false,
            message_bytes: 0,
            history: Vec::new(),
            utf8: Utf8::default(),
            frame_is_fresh: false,
            message_is_fresh: false,
            violation: None,
        }
    }

    /// The next of what `piece`, of a compressed message, inflates to; `None` when there is no more. Call it again with
    /// the same piece until then. What comes lies at the front of `output`, which must not be empty.
    ///
    /// The chunks have the frames of the compressed message. One that ends a frame can be empty, and is never left out.
    ///
    /// # Errors
    /// [`Violation::DeflateInvalid`]; [`Violation::MessageTooBig`] where the message inflates to more bytes than `limits`
    /// allow; [`Violation::TextNotUtf8`]. It stays broken: every later call gives the same.
    pub fn inflate<'o>(
        &mut self,
        piece: &mut Chunk<'_>,
        output: &'o mut [u8],
        limits: &Limits,
        contexts: &mut Contexts,
    ) -> Result<Option<Chunk<'o>>, Violation> {
        if let Some(violation) = self.violation {
            return Err(violation);
        }
        self.begin(piece);
        let is_spent = piece.payload.is_empty() && !piece.frame_end && !self.output_was_full;
        if is_spent || output.is_empty() {
            return Ok(None);
        }
        let mut filled = Filled::default();
        let result = self.fill(piece, output, &mut filled, limits, contexts);
        self.message_bytes = self.message_bytes.saturating_add(filled.bytes as u64);
        if let Err(violation) = result {
            self.violate(violation);
            if filled.bytes == 0 {
                return Err(violation);
            }
            // What was good before goes out first, as it would have in a piece of its own; the next call gives the violation.
        }
        if self.flow.takeover {
            self.remember(&output[filled.remembered_from..filled.bytes]);
        }
        let frame_end = piece.frame_end && filled.is_all && result.is_ok();
        self.hand_out(piece, &mut output[..filled.bytes], frame_end)
    }

    /// Notes where a message or a frame begins.
    fn begin(&mut self, piece: &mut Chunk<'_>) {
        if mem::take(&mut piece.frame_start) {
            self.frame_is_fresh = true;
        }
        if mem::take(&mut piece.message_start) {
            self.message_is_fresh = true;
            (self.context, self.stream_is_open, self.output_was_full) = (None, false, false);
            (self.message_bytes, self.utf8) = (0, Utf8::default());
        }
    }

    /// Inflates until `output` is full or nothing more comes of `piece`; at the end of the message, checks the end.
    fn fill(
        &mut self,
        piece: &mut Chunk<'_>,
        output: &mut [u8],
        filled: &mut Filled,
        limits: &Limits,
        contexts: &mut Contexts,
    ) -> Result<(), Violation> {
        let allowed = limits.message_bytes_max.saturating_sub(self.message_bytes);
        let allowed = usize::try_from(allowed).unwrap_or(usize::MAX).min(output.len());
        while self.output_was_full || !piece.payload.is_empty() {
            if filled.bytes == output.len() {
                self.output_was_full = true;
                return Ok(());
            }
            // At the limit one byte more is asked for: whether it comes decides.
            let mut beyond = [0];
            let is_at_limit = filled.bytes >= allowed;
            let room = if is_at_limit { &mut beyond[..] } else { &mut output[filled.bytes..allowed] };
            let context = self.context.get_or_insert_with(|| begun(contexts, &self.history));
            let step = step(context, piece.payload, room);
            if is_at_limit && step.made > 0 {
                return Err(Violation::MessageTooBig);
            }
            self.output_was_full = step.made == room.len();
            filled.bytes += step.made;
            piece.payload = mem::take(&mut piece.payload).get_mut(step.taken..).unwrap_or_default();
            if step.is_invalid {
                return Err(Violation::DeflateInvalid);
            }
            match step.status {
                Status::StreamEnd => {
                    context.reset(false);
                    self.end_stream(filled);
                }
                Status::Ok | Status::BufError => self.stream_is_open = true,
            }
        }
        filled.is_all = true;
        if piece.message_end { self.finish(contexts) } else { Ok(()) }
    }

    /// RFC 1951 §3.2.3: a block may say that it is the last. What follows it is a stream of its own, as deflaters that
    /// cannot flush in another way write it (RFC 7692 §7.2.3.4).
    fn end_stream(&mut self, filled: &mut Filled) {
        self.history.clear();
        filled.remembered_from = filled.bytes;
        (self.stream_is_open, self.output_was_full) = (false, false);
    }

    /// RFC 7692 §7.2.2: with the end of the flush put back, the data must come to a block's end, and nothing may come of
    /// it. An empty last block behind shows whether it did. A message without a byte of data is taken for an empty one.
    fn finish(&mut self, contexts: &mut Contexts) -> Result<(), Violation> {
        let Some(mut context) = self.context.take() else { return Ok(()) };
        if mem::take(&mut self.stream_is_open) {
            let end = step(&mut context, &MESSAGE_TAIL, &mut [0]);
            if end.status != Status::StreamEnd || end.made > 0 || end.taken < MESSAGE_TAIL.len() {
                return Err(Violation::DeflateInvalid);
            }
        }
        contexts.return_inflater(context);
        Ok(())
    }

    fn violate(&mut self, violation: Violation) {
        (self.context, self.history) = (None, Vec::new());
        self.violation = Some(violation);
    }

    /// Keeps the end of what was inflated, for the next message to refer to.
    fn remember(&mut self, bytes: &[u8]) {
        let window_bytes = self.flow.window_bits.window_bytes();
        let bytes = &bytes[bytes.len().saturating_sub(window_bytes)..];
        let excess = (self.history.len() + bytes.len()).saturating_sub(window_bytes);
        self.history.drain(..excess);
        self.history.extend_from_slice(bytes);
    }

    /// Checks text; `frame_end` says that nothing more of its frame will come.
    fn hand_out<'o>(
        &mut self,
        piece: &mut Chunk<'_>,
        mut payload: &'o mut [u8],
        mut frame_end: bool,
    ) -> Result<Option<Chunk<'o>>, Violation> {
        if piece.kind == MessageKind::Text {
            let valid = self.utf8.accept(payload);
            let ends_early = frame_end && piece.message_end && self.utf8.lacking() > 0;
            if valid < payload.len() || ends_early {
                self.violate(Violation::TextNotUtf8);
                frame_end = false;
                payload = &mut payload[..valid];
                if valid == 0 {
                    return Err(Violation::TextNotUtf8);
                }
            }
        }
        if payload.is_empty() && !frame_end {
            return Ok(None);
        }
        if frame_end {
            // Nothing more comes of this piece.
            piece.frame_end = false;
        }
        let message_start = mem::take(&mut self.message_is_fresh);
        let frame_start = mem::take(&mut self.frame_is_fresh);
        Ok(Some(Chunk {
            kind: piece.kind,
            payload,
            compressed: false,
            frame_start,
            frame_end,
            message_start,
            message_end: frame_end && piece.message_end,
        }))
    }
}

/// What one call has put into the caller's buffer.
#[derive(Debug, Default)]
struct Filled {
    bytes: usize,
    /// Later messages may refer to what lies behind this.
    remembered_from: usize,
    /// Nothing more comes of the piece.
    is_all: bool,
}

/// What one call of the context did.
struct Step {
    taken: usize,
    made: usize,
    status: Status,
    is_invalid: bool,
}

fn step(context: &mut Inflate, input: &[u8], output: &mut [u8]) -> Step {
    let (taken_before, made_before) = (context.total_in(), context.total_out());
    let result = context.decompress(input, output, InflateFlush::NoFlush);
    let taken = usize::try_from(context.total_in() - taken_before).unwrap_or(input.len());
    let made = usize::try_from(context.total_out() - made_before).unwrap_or(output.len());
    // With input and room there is always something to do.
    let is_stuck = taken == 0 && made == 0 && !input.is_empty() && result != Ok(Status::StreamEnd);
    Step { taken, made, status: result.unwrap_or(Status::BufError), is_invalid: result.is_err() || is_stuck }
}

/// A context that has seen `history`.
fn begun(contexts: &mut Contexts, history: &[u8]) -> Box<Inflate> {
    let mut context = contexts.inflater();
    if !history.is_empty() {
        context.set_dictionary(history).expect("a raw stream takes a dictionary before its first byte");
    }
    context
}

impl fmt::Debug for Inflation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflation").field("flow", &self.flow).finish_non_exhaustive()
    }
}

/// The end of a flush, which senders leave out (RFC 7692 §7.2.1), and an empty last block without compression.
const MESSAGE_TAIL: [u8; 9] = [0x00, 0x00, 0xFF, 0xFF, 0x01, 0x00, 0x00, 0xFF, 0xFF];
