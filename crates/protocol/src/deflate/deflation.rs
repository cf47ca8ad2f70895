//! Messages deflated as they go out (RFC 7692 §7.2.1).
//!
//! Every piece is flushed, so that nothing of it waits here. Whether a message is worth the work is the caller's to
//! decide, once for each message.

use core::fmt;

use zlib_rs::{Deflate, DeflateFlush, Status};

use super::contexts::Contexts;
use super::negotiation::Flow;

/// Deflates the messages of one direction.
pub struct Deflation {
    flow: Flow,
    /// With takeover only.
    context: Option<Box<Deflate>>,
}

impl Deflation {
    /// For the direction that we send, as it was agreed on.
    #[must_use]
    pub const fn new(flow: Flow) -> Self {
        Self { flow, context: None }
    }

    /// Whether a message whose compressed form is given up can go out plain: not where later ones refer to it.
    #[must_use]
    pub const fn may_be_given_up(&self) -> bool {
        !self.flow.takeover
    }

    /// Appends `parts`, one behind the other, as the payload of one frame of a compressed message; `message_end` says
    /// that it is the last.
    pub fn deflate(
        &mut self,
        parts: &[&[u8]],
        message_end: bool,
        out: &mut Vec<u8>,
        contexts: &mut Contexts,
    ) {
        let mut context = self.context.take().unwrap_or_else(|| contexts.deflater(self.flow.window_bits));
        let start = out.len();
        for part in parts {
            compress(&mut context, part, DeflateFlush::NoFlush, out);
        }
        compress(&mut context, &[], DeflateFlush::SyncFlush, out);
        if self.flow.takeover {
            self.context = Some(context);
        } else {
            // What follows may refer to nothing before it, so that it can come of another context.
            contexts.return_deflater(self.flow.window_bits, context);
        }
        if message_end {
            // RFC 7692 §7.2.1: the end of the flush is left out.
            if out[start..].ends_with(&FLUSH_TAIL) {
                out.truncate(out.len() - FLUSH_TAIL.len());
            } else {
                // Nothing has come since the last flush. §7.2.3.6: the front of an empty block, whose rest is left out.
                out.push(0);
            }
        }
    }
}

/// Appends all that `flush` lets out of what `input` gives.
fn compress(context: &mut Deflate, input: &[u8], flush: DeflateFlush, out: &mut Vec<u8>) {
    let mut rest = input;
    loop {
        let (start, taken_before, made_before) = (out.len(), context.total_in(), context.total_out());
        out.resize(start + OUTPUT_STEP_BYTES.min(rest.len() + FLUSH_BYTES_MAX), 0);
        let status = context
            .compress(rest, &mut out[start..], flush)
            .expect("the context was made for valid settings, and its stream never ends");
        let taken = usize::try_from(context.total_in() - taken_before).unwrap_or(rest.len());
        let made = usize::try_from(context.total_out() - made_before).unwrap_or(0);
        rest = rest.get(taken..).unwrap_or_default();
        let is_full = start + made == out.len();
        out.truncate(start + made);
        let is_stuck = status == Status::BufError || (taken == 0 && made == 0);
        if (rest.is_empty() && !is_full) || is_stuck {
            return;
        }
    }
}

impl fmt::Debug for Deflation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflation").field("flow", &self.flow).finish_non_exhaustive()
    }
}

/// What a flush ends with (RFC 7692 §7.2.1).
pub(super) const FLUSH_TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// Room for a flush that has little to let out.
const FLUSH_BYTES_MAX: usize = 256;

const OUTPUT_STEP_BYTES: usize = 16 * 1024;
