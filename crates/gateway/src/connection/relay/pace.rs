//! A client that sends faster than its route allows: closed, or not read for as long as it was too fast.

use drawgate_protocol::Chunk;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Relay, Turn};
use crate::clock::Moment;
use crate::connection::Ending;
use crate::connection::pace::{Over, Piece};

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Relay<S> {
    /// Counts a piece of a message, whatever becomes of it. Whether it may go on.
    pub(super) fn keeps_pace(&mut self, chunk: &Chunk<'_>, turn: &mut Turn<'_>) -> bool {
        let Some(paces) = &self.terms.paces else { return true };
        let Some(tenure) = &mut self.tenure else { return true };
        let Some(pacing) = &mut tenure.pacing else { return true };
        let Some(instant) = self.facilities.instant(turn.now) else { return true };
        let piece = Piece { is_first: chunk.message_start, bytes: chunk.payload.len() };
        match paces.take(pacing, piece, turn.now, instant) {
            Ok(wait) => {
                if !wait.is_zero() {
                    tenure.held_until = Some(turn.now + wait);
                    self.terms.metrics.input_slowed();
                }
                true
            }
            Err(Over { reason, limit, whose }) => {
                let detail = Some(format!("the rate {whose}"));
                self.close(Ending { detail, ..Ending::over(reason, limit) }, turn);
                false
            }
        }
    }

    /// Whether input waits because there was too much of it. What has come before a drain is no longer slowed.
    pub(super) fn is_held(&self) -> bool {
        !self.draining && self.tenure.as_ref().is_some_and(|tenure| tenure.held_until.is_some())
    }

    /// Until when input waits.
    pub(super) fn held_until(&self) -> Option<Moment> {
        self.tenure.as_ref()?.held_until
    }

    /// Lets input flow again, once it has waited long enough.
    pub(super) fn release(&mut self, now: Moment) {
        if let Some(tenure) = &mut self.tenure
            && tenure.held_until.is_some_and(|until| now >= until)
        {
            tenure.held_until = None;
        }
    }
}
