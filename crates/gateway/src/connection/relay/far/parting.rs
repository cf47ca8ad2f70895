//! How the far side of a relayed connection ends: by its Close, its fault or its loss, or since the client's side does.
//!
//! Each side is told what ended the other, behind all that it still has to be given. What flows until then is [`super`]'s.

use std::mem;

use drawgate_protocol::{CloseCode, CloseFrame, LocalCode, Violation};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Stage;
use crate::clock::Moment;
use crate::connection::Ending;
use crate::connection::relay::closing::{LINGER_BYTES_MAX, LINGER_TIME_MAX};
use crate::connection::relay::{Phase, Relay, Turn};
use crate::observe::{Direction, FrameKind, TrafficDelta};
use crate::reason::Reason;

/// What the client is told when the application is through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// The answer to its own Close.
    Answer(Option<CloseCode>),
    /// That the gateway or the application drains.
    Drain(Reason),
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Relay<S> {
    /// The application's Close: answered with the same code, unless it is itself an answer, and passed on.
    pub(super) fn take_far_close(&mut self, close: Option<CloseFrame<'_>>, turn: &mut Turn<'_>) {
        let until = turn.now + LINGER_TIME_MAX;
        let Some(far) = self.far_mut() else { return };
        if !far.sender.is_closed() {
            let answer = close.map(|close| CloseFrame { code: close.code, reason: "" });
            let _ = far.sender.close(turn.onward, answer, turn.keys.next());
        }
        far.stage = Stage::Finishing { until, bytes_left: LINGER_BYTES_MAX };
        match self.phase {
            Phase::Open => {
                let code = close.map_or(CloseCode::NORMAL, |close| close.code);
                let close_code = Some(close.map_or(LocalCode::NoStatus.get(), |close| close.code.get()));
                self.queue_close_frame(close, turn.fresh, turn.now);
                self.ending
                    .get_or_insert_with(|| Box::new(Ending { close_code, ..Ending::by_application(code) }));
            }
            Phase::Leaving { .. } => self.bid_farewell(turn.fresh, turn.now),
            Phase::Closing { .. } | Phase::Finishing { .. } | Phase::Lingering { .. } | Phase::Done => {}
        }
    }

    /// The application broke a rule of the protocol: what it sends can no longer be read, its Close included.
    pub(super) fn far_broke(&mut self, violation: Violation, turn: &mut Turn<'_>) {
        let until = turn.now + LINGER_TIME_MAX;
        let limits = self.terms.message_limits();
        let Some(far) = self.far_mut() else { return };
        let declared_bytes = far.receiver.declared_bytes();
        let told = Reason::from(violation).row();
        let close = told.close.map(|code| CloseFrame { code, reason: told.close_reason });
        let _ = far.sender.close(turn.onward, close, turn.keys.next());
        far.stage = Stage::Finishing { until, bytes_left: LINGER_BYTES_MAX };
        let ending = Ending::by_violation(Reason::UpstreamMisbehaved, violation, limits, declared_bytes);
        self.far_ended(ending, turn.now, Some(turn));
    }

    /// What the application sends inflates to more bytes a second than the route allows.
    pub(super) fn far_inflates_too_much(&mut self, turn: &mut Turn<'_>) {
        let until = turn.now + LINGER_TIME_MAX;
        let limit = self.terms.limits.inflated_bytes_per_second;
        let Some(far) = self.far_mut() else { return };
        let told = Reason::InflationRateExceeded.row();
        let close = told.close.map(|code| CloseFrame { code, reason: told.close_reason });
        let _ = far.sender.close(turn.onward, close, turn.keys.next());
        far.stage = Stage::Finishing { until, bytes_left: LINGER_BYTES_MAX };
        let detail = Some(told.label.to_owned());
        let ending = Ending { limit, detail, ..Ending::by_gate(Reason::UpstreamMisbehaved) };
        self.far_ended(ending, turn.now, Some(turn));
    }

    /// The application's side of the transport has ended, or failed.
    pub(super) fn far_lost(&mut self, detail: Option<String>, now: Moment, turn: Option<&mut Turn<'_>>) {
        if let Some(far) = self.far_mut() {
            far.cut();
        }
        self.far_ended(Ending { detail, ..Ending::by_gate(Reason::UpstreamLost) }, now, turn);
    }

    /// Nothing more will come from the application: the client is told by `ending`, unless there is a farewell for it.
    ///
    /// Within a turn that stands behind what the turn has produced.
    fn far_ended(&mut self, ending: Ending, now: Moment, turn: Option<&mut Turn<'_>>) {
        match (self.phase, turn) {
            (Phase::Open, Some(turn)) => self.close(ending, turn),
            (Phase::Open, None) => self.close_from_outside(ending, now),
            (Phase::Leaving { .. }, Some(turn)) => self.bid_farewell(turn.fresh, now),
            (Phase::Leaving { .. }, None) => self.bid_farewell_from_outside(now),
            (Phase::Closing { .. } | Phase::Finishing { .. } | Phase::Lingering { .. } | Phase::Done, _) => {}
        }
    }

    /// Tells a client that leaves, or must, that this is the end.
    fn bid_farewell(&mut self, frames: &mut Vec<u8>, now: Moment) {
        match self.far_mut().and_then(|far| far.farewell.take()) {
            Some(Farewell::Drain(reason)) => {
                // Closing is what the drain does from here on as anywhere.
                self.phase = Phase::Open;
                self.queue_close(Ending::by_operator(reason), self.terms.notice, frames, now);
            }
            Some(Farewell::Answer(code)) => {
                let answer = code.map(|code| CloseFrame { code, reason: "" });
                let bytes = answer.map_or(0, |_| 2);
                if self.sender.close(frames, answer, None).is_ok() {
                    self.terms.metrics.add(&TrafficDelta::whole(Direction::Out, FrameKind::Close, bytes));
                }
                self.phase = Phase::Finishing { until: self.close_until(now) };
            }
            None => self.phase = Phase::Finishing { until: self.close_until(now) },
        }
    }

    pub(in crate::connection::relay) fn bid_farewell_from_outside(&mut self, now: Moment) {
        let mut frames = mem::take(self.output.frames());
        self.bid_farewell(&mut frames, now);
        *self.output.frames() = frames;
    }

    /// The client has closed: so do we, and what the application still has to say before it answers goes to the client. Whether
    /// there is an application to ask.
    pub(in crate::connection::relay) fn leave_with(
        &mut self,
        close: Option<CloseFrame<'_>>,
        turn: &mut Turn<'_>,
    ) -> bool {
        let until = self.close_until(turn.now);
        let Some(far) = self.far_mut().filter(|far| far.stage == Stage::Open) else { return false };
        let _ = far.sender.close(turn.onward, close, turn.keys.next());
        far.stage = Stage::Closing { until };
        far.farewell = Some(Farewell::Answer(close.map(|close| close.code)));
        (self.phase, self.message_since) = (Phase::Leaving { until }, None);
        true
    }

    /// The gateway drains, and the application has been given all that the client sent: it may still answer that. Whether there
    /// is an application to ask.
    pub(in crate::connection::relay) fn leave_for_drain(&mut self, now: Moment) -> bool {
        let until = self.close_until(now);
        let reason = self.drained().reason;
        let key = self.facilities.chance.bytes();
        let Some(far) = self.far_mut().filter(|far| far.stage == Stage::Open) else { return false };
        let close = CloseFrame { code: CloseCode::GOING_AWAY, reason: reason.row().label };
        let _ = far.sender.close(far.output.frames(), Some(close), Some(key));
        far.stage = Stage::Closing { until };
        far.farewell = Some(Farewell::Drain(reason));
        (self.phase, self.message_since) = (Phase::Leaving { until }, None);
        true
    }

    /// Where the client's side is over, or about to be, the application is told so.
    pub(in crate::connection::relay) fn part(&mut self, now: Moment) {
        if self.is_delivering() || !self.far().is_some_and(|far| far.stage == Stage::Open) {
            return;
        }
        let until = self.close_until(now);
        let key = self.facilities.chance.bytes();
        let reason = self.ending.as_ref().map_or("", |ending| ending.reason.row().label);
        let Some(far) = self.far_mut() else { return };
        let close = CloseFrame { code: CloseCode::GOING_AWAY, reason };
        let _ = far.sender.close(far.output.frames(), Some(close), Some(key));
        far.stage = Stage::Closing { until };
    }

    fn far_stalls_at(&self) -> Option<Moment> {
        Some(self.far()?.output.blocked_since()? + self.terms.limits.stall_timeout?)
    }

    fn far_pong_until(&self) -> Option<Moment> {
        let far = self.far().filter(|far| far.paused_since.is_none())?;
        Some(far.pinged_at? + self.terms.limits.pong_timeout?)
    }

    fn far_ping_at(&self) -> Option<Moment> {
        let far = self.far()?;
        let is_deaf = far.paused_since.is_some() || far.pinged_at.is_some() || !far.output.is_empty();
        if is_deaf { None } else { Some(far.heard_at + self.terms.limits.ping_interval?) }
    }

    /// The next moment at which something about the far side is due.
    pub(in crate::connection::relay) fn far_due(&self) -> Option<Moment> {
        match self.far()?.stage {
            Stage::Open => {
                [self.far_stalls_at(), self.far_pong_until(), self.far_ping_at()].into_iter().flatten().min()
            }
            Stage::Closing { until } | Stage::Finishing { until, .. } => Some(until),
            Stage::Done => None,
        }
    }

    /// Does what is due.
    pub(in crate::connection::relay) fn check_far_deadlines(&mut self, now: Moment) {
        let passed = |deadline: Option<Moment>| deadline.is_some_and(|deadline| now >= deadline);
        if !passed(self.far_due()) {
            return;
        }
        let (stalls, is_silent) = (passed(self.far_stalls_at()), passed(self.far_pong_until()));
        let key = self.facilities.chance.bytes();
        let limits = &self.terms.limits;
        let (stall_timeout, pong_timeout) = (limits.stall_timeout, limits.pong_timeout);
        let Some(far) = self.far_mut() else { return };
        let since = |moment: Option<Moment>| moment.map(|moment| now.since(moment)).unwrap_or_default();
        let ending = match far.stage {
            Stage::Done => return,
            Stage::Closing { .. } | Stage::Finishing { .. } => Ending::by_gate(Reason::UpstreamLost),
            Stage::Open if stalls => {
                Ending::late(Reason::UpstreamStalled, stall_timeout, since(far.output.blocked_since()))
            }
            Stage::Open if is_silent => {
                Ending::late(Reason::UpstreamSilent, pong_timeout, since(far.pinged_at))
            }
            Stage::Open => {
                if far.sender.ping(far.output.frames(), &[], Some(key)).is_ok() {
                    far.pinged_at = Some(now);
                }
                return;
            }
        };
        far.cut();
        self.far_ended(ending, now, None);
    }
}
