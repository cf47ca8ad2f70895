//! Reading from the client: one read into the worker's buffer, and what of it can be used now.
//!
//! Where input must wait, a little is read ahead, so that a client that leaves is noticed; what it holds is used later, in order.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::remainder::Remainder;
use super::{Application, Phase, Relay, Turn, kind_of};
use crate::clock::Moment;
use crate::compression::step_bytes;
use crate::inspect::Toward;
use crate::observe::Direction;

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Relay<S> {
    /// Works on what was read before and has not been looked at to its end.
    pub(super) fn use_remainder(&mut self, turn: &mut Turn<'_>) -> bool {
        if !self.remainder_is_fresh || self.must_wait(turn) {
            return false;
        }
        let mut remainder = mem::take(&mut self.remainder);
        let mut rest = remainder.unused_mut();
        self.process(&mut rest, turn);
        let left = rest.len();
        remainder.leave(left);
        self.remainder = remainder;
        true
    }

    /// Reads once, if input may flow, and works on what has come.
    pub(super) fn read(&mut self, cx: &mut Context<'_>, input: &mut [u8], turn: &mut Turn<'_>) -> bool {
        // The remainder may have held the peer's Close, after which nothing is read.
        if !self.is_receiving() {
            return false;
        }
        if self.remainder_is_fresh || self.is_paused(turn.fresh.len(), turn.onward.len()) {
            return self.read_ahead(cx, input, turn);
        }
        self.resume(turn.now);
        if self.input_until().is_some() {
            self.input_ended(turn.now);
            return true;
        }
        let remainder = self.remainder.unused();
        let kept = remainder.len();
        input[..kept].copy_from_slice(remainder);
        let read_bytes_max = self.facilities.budget.read_bytes_max();
        let mut buffer = ReadBuf::new(&mut input[kept..kept + read_bytes_max]);
        let count = match Pin::new(&mut self.socket).poll_read(cx, &mut buffer) {
            Poll::Pending => return false,
            Poll::Ready(Err(error)) => {
                self.fail(&error);
                return true;
            }
            Poll::Ready(Ok(())) => buffer.filled().len(),
        };
        if count == 0 {
            self.input_ended(turn.now);
            return true;
        }
        self.heard_at = turn.now;
        self.pinged_at = None;
        self.remainder = Remainder::default();
        let mut rest = &mut input[..kept + count];
        self.process(&mut rest, turn);
        if !rest.is_empty() {
            self.remainder = Remainder::new(rest.to_vec());
        }
        true
    }

    /// While the application works nothing is processed; a little is read, so that a client that leaves is noticed.
    fn read_ahead(&mut self, cx: &mut Context<'_>, input: &mut [u8], turn: &Turn<'_>) -> bool {
        let kept = self.remainder.unused().len();
        let room = READ_AHEAD_BYTES_MAX.saturating_sub(kept);
        let is_full = self.output.is_full(turn.fresh.len(), self.sending_bytes as usize);
        if is_full || room == 0 || self.input_until().is_some() || self.is_held() || self.waits_for_room() {
            self.paused_since.get_or_insert(turn.now);
            return false;
        }
        self.resume(turn.now);
        let mut buffer = ReadBuf::new(&mut input[..room]);
        match Pin::new(&mut self.socket).poll_read(cx, &mut buffer) {
            Poll::Pending => return false,
            Poll::Ready(Err(error)) => self.fail(&error),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                // It may only have closed its own side: what it asked for before may still be answered, for a while.
                let until = self.close_until(turn.now);
                match &mut self.application {
                    Application::Handler(handling) => handling.input_until = Some(until),
                    Application::Upstream(far) => far.input_until = Some(until),
                    Application::Unauthenticated(_) | Application::Echo(_) => self.input_ended(turn.now),
                }
            }
            Poll::Ready(Ok(())) => {
                (self.heard_at, self.pinged_at) = (turn.now, None);
                self.remainder.extend(buffer.filled());
                self.remainder_is_fresh = true;
            }
        }
        true
    }

    /// Whether what has been read has to be kept. After our Close nothing comes of it, so it need not.
    fn must_wait(&self, turn: &Turn<'_>) -> bool {
        self.is_paused(turn.fresh.len(), turn.onward.len()) && !self.sender.is_closed()
    }

    /// Works through `input` until it is used up or must wait; what is left stays in it.
    fn process(&mut self, input: &mut &mut [u8], turn: &mut Turn<'_>) {
        self.remainder_is_fresh = false;
        while self.is_receiving() {
            if self.must_wait(turn) {
                self.remainder_is_fresh = !input.is_empty();
                return;
            }
            if self.pass_whole(input, turn) {
                continue;
            }
            // Where little input can become much output, less of it is looked at at a time.
            let step = step_bytes(self.compression.is_some()).min(input.len());
            let mut front = &mut input[..step];
            let needs_more = match self.receiver.receive(&mut front) {
                Ok(None) => true,
                Ok(Some(event)) => {
                    self.take_event(event, turn);
                    if !self.receiver.is_within_message() {
                        self.message_since = None;
                    }
                    false
                }
                Err(violation) => {
                    self.break_off(violation, turn);
                    false
                }
            };
            let used = step - front.len();
            let is_all = step == input.len();
            *input = &mut mem::take(input)[used..];
            // What is left of a step is less than a control frame; its rest may lie behind the step.
            if needs_more && is_all {
                return;
            }
        }
        self.is_through &= input.is_empty();
        *input = &mut [];
    }

    /// Hands on whole messages for as long as one lies behind the other, on a route that looks into none of them: what is asked of each piece
    /// elsewhere is the same for all of these, and asked once. Whether there was one; what is left has to be received.
    fn pass_whole(&mut self, input: &mut &mut [u8], turn: &mut Turn<'_>) -> bool {
        let before = input.len();
        if self.terms.paces.is_some() || self.inspects(Toward::Backend) || self.inspects(Toward::Client) {
            return false;
        }
        while self.takes_whole(turn)
            && let Some(chunk) = self.receiver.whole_message(input)
        {
            if self.tenure.as_ref().is_some_and(|tenure| tenure.may_be_token(chunk.payload)) {
                self.take_chunk(&chunk, turn);
                break;
            }
            turn.tally.chunk(Direction::In, kind_of(chunk.kind), chunk.payload.len(), true);
            self.hand_on(&chunk, turn);
        }
        if input.len() == before {
            return false;
        }
        self.note_message(turn.now);
        self.message_since = None;
        true
    }

    /// Whether there is room for another message where none makes the next one wait.
    #[inline]
    fn takes_whole(&self, turn: &Turn<'_>) -> bool {
        self.phase == Phase::Open
            && match &self.application {
                Application::Unauthenticated(_) | Application::Handler(_) => false,
                Application::Echo(_) => !self.output.is_full(turn.fresh.len(), self.sending_bytes as usize),
                Application::Upstream(far) => !far.is_full(turn.onward.len()),
            }
    }

    /// A message begins with the first byte of its header: that may be all that ever comes.
    pub(super) fn note_begun(&mut self, now: Moment) {
        let is_begun = !self.remainder.is_empty() && !self.remainder_is_fresh;
        if self.phase == Phase::Open && (is_begun || self.receiver.is_within_message()) {
            self.message_since.get_or_insert(now);
        }
    }
}

/// How much is read of a client whose messages the application has yet to get to.
const READ_AHEAD_BYTES_MAX: usize = 16 * 1024;
