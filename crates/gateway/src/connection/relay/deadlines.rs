//! The deadlines of a relay, computed from its state, and the one timer that it has at a time.
//!
//! While input stands still the clocks that judge the client by what it sends stand still too.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Application, Phase, Relay};
use crate::clock::Instant;
use crate::connection::Ending;
use crate::observe::{Direction, FrameKind, TrafficDelta};
use crate::reason::Reason;

impl<S: AsyncRead + AsyncWrite + Unpin> Relay<S> {
    /// Does what is due.
    pub(super) fn check_deadlines(&mut self, now: Instant) {
        match self.phase {
            Phase::Open => {}
            Phase::Closing { until } if now >= until => {
                self.ending = self.ending.take().map(|ending| Box::new(ending.unanswered()));
                self.phase = Phase::Done;
                return;
            }
            Phase::Finishing { until } | Phase::Lingering { until, .. } if now >= until => {
                self.phase = Phase::Done;
                return;
            }
            Phase::Closing { .. } | Phase::Finishing { .. } | Phase::Lingering { .. } | Phase::Done => return,
        }
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| now >= deadline);
        let limits = &self.terms.limits;
        let since = |moment: Option<Instant>| {
            moment.map_or(Duration::ZERO, |moment| now.saturating_duration_since(moment))
        };
        if passed(self.stalls_at()) {
            let elapsed = since(self.output.blocked_since());
            self.give_up_output(Ending::late(Reason::OutputStalled, limits.stall_timeout, elapsed), now);
        } else if passed(self.first_message_until()) {
            self.close_from_outside(Ending::by_gate(Reason::FirstMessageTimeout), now);
        } else if let Some(ending) = self.tenure_ended(now) {
            self.end_session(ending, now);
        } else if passed(self.message_until()) {
            let elapsed = since(self.message_since);
            self.close_from_outside(
                Ending::late(Reason::MessageTimeout, limits.message_timeout, elapsed),
                now,
            );
        } else if passed(self.pong_until()) {
            let elapsed = since(self.pinged_at);
            self.close_from_outside(Ending::late(Reason::PongTimeout, limits.pong_timeout, elapsed), now);
        } else if passed(self.input_until) {
            self.input_ended(now);
        } else if passed(self.ping_at()) && self.sender.ping(self.output.frames(), &[], None).is_ok() {
            self.terms.metrics.add(&TrafficDelta::whole(Direction::Out, FrameKind::Ping, 0));
            self.pinged_at = Some(now);
        }
    }

    pub(super) fn stalls_at(&self) -> Option<Instant> {
        self.output.blocked_since()?.checked_add(self.terms.limits.stall_timeout?)
    }

    pub(super) fn first_message_until(&self) -> Option<Instant> {
        match self.application {
            Application::Unauthenticated(ref nobody) => Some(nobody.until),
            Application::Echo(_) | Application::Handler(_) => None,
        }
    }

    pub(super) fn message_until(&self) -> Option<Instant> {
        if self.paused_since.is_some() {
            return None;
        }
        self.message_since?.checked_add(self.terms.limits.message_timeout?)
    }

    pub(super) fn pong_until(&self) -> Option<Instant> {
        if self.paused_since.is_some() {
            return None;
        }
        self.pinged_at?.checked_add(self.terms.limits.pong_timeout?)
    }

    /// Pings go out only while input and output flow: while they stand still no answer could be seen.
    pub(super) fn ping_at(&self) -> Option<Instant> {
        let is_deaf = self.paused_since.is_some() || self.input_until.is_some();
        if is_deaf || self.pinged_at.is_some() || !self.output.is_empty() {
            return None;
        }
        self.heard_at.checked_add(self.terms.limits.ping_interval?)
    }

    /// `None` where no limit is set, and where one lies beyond all time.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Open => [
                self.stalls_at(),
                self.first_message_until(),
                self.message_until(),
                self.pong_until(),
                self.ping_at(),
                self.input_until,
                self.tenure_due(),
            ]
            .into_iter()
            .flatten()
            .min(),
            Phase::Closing { until } | Phase::Finishing { until } | Phase::Lingering { until, .. } => {
                Some(until)
            }
            Phase::Done => None,
        }
    }

    /// Sees to it that the next deadline wakes this connection. A timer that comes too early only looks again.
    pub(super) fn arm(&mut self) {
        let Some(deadline) = self.next_deadline() else { return };
        if self.timer.as_ref().is_some_and(|(at, _)| *at <= deadline) {
            return;
        }
        self.disarm();
        self.timer = Some((deadline, self.facilities.timers.schedule(deadline, Arc::clone(&self.pulse))));
    }

    pub(super) fn disarm(&mut self) {
        if let Some((_, timer)) = self.timer.take() {
            self.facilities.timers.cancel(timer);
        }
    }

    /// Input flows again: the time that it stood still does not count against the client.
    pub(super) fn resume(&mut self, now: Instant) {
        let Some(paused_since) = self.paused_since.take() else { return };
        let pause = now.saturating_duration_since(paused_since);
        self.message_since = self.message_since.map(|since| since + pause);
        self.heard_at = now;
        self.pinged_at = None;
        self.note_message(now);
    }
}
