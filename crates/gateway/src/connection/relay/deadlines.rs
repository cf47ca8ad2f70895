//! The deadlines of a relay, computed from its state, and the one timer that it has at a time.
//!
//! While input stands still the clocks that judge the client by what it sends stand still too.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Application, Phase, Relay};
use crate::clock::Moment;
use crate::connection::Ending;
use crate::observe::{Direction, FrameKind, TrafficDelta};
use crate::reason::Reason;

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Relay<S> {
    /// Ends a session whose time is over, before anything more of it is taken.
    pub(super) fn check_term(&mut self, now: Moment) {
        if self.phase == Phase::Open
            && let Some(ending) = self.term_ended(now)
        {
            self.end_session(ending, now);
        }
    }

    /// Does what is due.
    pub(super) fn check_deadlines(&mut self, now: Moment) {
        self.check_far_deadlines(now);
        match self.phase {
            Phase::Open => {}
            Phase::Closing { until } if now >= until => {
                self.ending = self.ending.take().map(|ending| Box::new(ending.unanswered()));
                self.phase = Phase::Done;
                return;
            }
            Phase::Leaving { until } if now >= until => return self.bid_farewell_from_outside(now),
            Phase::Finishing { until } | Phase::Lingering { until, .. } if now >= until => {
                self.phase = Phase::Done;
                return;
            }
            Phase::Closing { .. }
            | Phase::Leaving { .. }
            | Phase::Finishing { .. }
            | Phase::Lingering { .. }
            | Phase::Done => return,
        }
        let passed = |deadline: Option<Moment>| deadline.is_some_and(|deadline| now >= deadline);
        let limits = &self.terms.limits;
        let since = |moment: Option<Moment>| moment.map_or(Duration::ZERO, |moment| now.since(moment));
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
        } else if passed(self.input_until()) {
            self.input_ended(now);
        } else if passed(self.ping_at()) && self.sender.ping(self.output.frames(), &[], None).is_ok() {
            self.terms.metrics.add(&TrafficDelta::whole(Direction::Out, FrameKind::Ping, 0));
            (self.pinged_at, self.awaits_pong) = (Some(now), true);
        }
    }

    pub(super) fn stalls_at(&self) -> Option<Moment> {
        Some(self.output.blocked_since()? + self.terms.limits.stall_timeout?)
    }

    pub(super) fn first_message_until(&self) -> Option<Moment> {
        match self.application {
            Application::Unauthenticated(ref nobody) => (!nobody.is_taken).then_some(nobody.until),
            Application::Echo(_) | Application::Handler(_) | Application::Upstream(_) => None,
        }
    }

    /// A client that has ended its side while the application worked leaves it that long.
    pub(super) fn input_until(&self) -> Option<Moment> {
        match &self.application {
            Application::Handler(handling) => handling.input_until,
            Application::Upstream(far) => far.input_until,
            Application::Unauthenticated(_) | Application::Echo(_) => None,
        }
    }

    pub(super) fn message_until(&self) -> Option<Moment> {
        if self.paused_since.is_some() {
            return None;
        }
        Some(self.message_since? + self.terms.limits.message_timeout?)
    }

    pub(super) fn pong_until(&self) -> Option<Moment> {
        if self.paused_since.is_some() {
            return None;
        }
        Some(self.pinged_at? + self.terms.limits.pong_timeout?)
    }

    /// Pings go out only while input and output flow: while they stand still no answer could be seen.
    pub(super) fn ping_at(&self) -> Option<Moment> {
        let is_deaf = self.paused_since.is_some() || self.input_until().is_some();
        if is_deaf || self.pinged_at.is_some() || !self.output.is_empty() {
            return None;
        }
        Some(self.heard_at + self.terms.limits.ping_interval?)
    }

    /// `None` where no limit is set, and where one lies beyond all time.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        let own = match self.phase {
            Phase::Open => [
                self.stalls_at(),
                self.first_message_until(),
                self.message_until(),
                self.pong_until(),
                self.ping_at(),
                self.input_until(),
                self.tenure_due(),
                self.held_until(),
            ]
            .into_iter()
            .flatten()
            .min(),
            Phase::Closing { until }
            | Phase::Leaving { until }
            | Phase::Finishing { until }
            | Phase::Lingering { until, .. } => Some(until),
            Phase::Done => None,
        };
        own.into_iter().chain(self.far_due()).min()
    }

    /// Sees to it that the next deadline wakes this connection. A timer that comes too early only looks again.
    pub(super) fn arm(&mut self) {
        let Some(deadline) = self.next_deadline().into_iter().chain(self.room_due()).min() else { return };
        let Some(at) = self.facilities.instant(deadline) else { return };
        if self.timer.as_ref().is_some_and(|timer| self.facilities.timers.fires_by(timer, at)) {
            return;
        }
        self.disarm();
        self.timer = Some(self.facilities.timers.schedule(at, Arc::clone(&self.pulse)));
    }

    pub(super) fn disarm(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.facilities.timers.cancel(timer);
        }
    }

    /// Input flows again: the time that it stood still does not count against the client.
    pub(super) fn resume(&mut self, now: Moment) {
        let Some(paused_since) = self.paused_since.take() else { return };
        let pause = now.since(paused_since);
        self.message_since = self.message_since.map(|since| since + pause);
        self.heard_at = now;
        self.pinged_at = None;
        self.note_message(now);
    }
}
