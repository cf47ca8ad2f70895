//! Keeps a flood of ends from becoming a flood of records.
//!
//! Each reason has an allowance of its own, so that a flood of one never hides another. What is beyond it is counted, and
//! the count goes with the next record that passes, or into a summary. Deciding only: `now` is an argument; the counters
//! of the metrics are not asked and miss nothing.

use std::array;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Instant;
use crate::reason::{Fault, Reason};

/// The allowances for every kind of record.
#[derive(Debug)]
pub(super) struct Suppressor {
    opened: Allowance,
    tickets: Allowance,
    not_let_in: Allowance,
    rules: Allowance,
    refused: [Allowance; Reason::ALL.len()],
    ended: [Allowance; Reason::ALL.len()],
}

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordKind {
    /// A connection was opened.
    Opened,
    /// A ticket was issued.
    Ticket,
    /// The admin listener refused a request for its token.
    NotLetIn,
    /// A rule held on a message that goes on.
    Rule,
    /// A message was refused, and its connection goes on.
    Refused(Reason),
    /// A connection ended.
    Ended(Reason),
}

impl Suppressor {
    pub(super) fn new() -> Self {
        Self {
            opened: Allowance::new(ROUTINE),
            tickets: Allowance::new(ROUTINE),
            not_let_in: Allowance::new(FAULTS),
            rules: Allowance::new(ROUTINE),
            refused: array::from_fn(|index| Allowance::new(pace(Reason::ALL[index]))),
            ended: array::from_fn(|index| Allowance::new(pace(Reason::ALL[index]))),
        }
    }

    /// Whether a record may be written: `Some` with how many of its kind were suppressed since the last one, or `None`
    /// where this one is to be suppressed.
    pub(super) fn pass(&self, kind: RecordKind, now: Instant) -> Option<u64> {
        self.allowance(kind).pass(now)
    }

    /// Every kind with suppressed records that no record has told of; they count as told from now on.
    pub(super) fn take_suppressed(&self) -> impl Iterator<Item = (RecordKind, u64)> {
        let kinds = [RecordKind::Opened, RecordKind::Ticket, RecordKind::NotLetIn, RecordKind::Rule];
        let of_reasons = |kind: fn(Reason) -> RecordKind| Reason::ALL.into_iter().map(kind);
        let kinds =
            kinds.into_iter().chain(of_reasons(RecordKind::Refused)).chain(of_reasons(RecordKind::Ended));
        kinds.map(|kind| (kind, self.allowance(kind).take_suppressed())).filter(|(_, count)| *count > 0)
    }

    fn allowance(&self, kind: RecordKind) -> &Allowance {
        match kind {
            RecordKind::Opened => &self.opened,
            RecordKind::Ticket => &self.tickets,
            RecordKind::NotLetIn => &self.not_let_in,
            RecordKind::Rule => &self.rules,
            // The macro that makes `Reason::ALL` lists the variants in their order.
            RecordKind::Refused(reason) => &self.refused[reason as usize],
            RecordKind::Ended(reason) => &self.ended[reason as usize],
        }
    }
}

const fn pace(reason: Reason) -> Pace {
    match reason.row().fault {
        Fault::None => ROUTINE,
        Fault::Client | Fault::Upstream | Fault::Operator | Fault::Gateway => FAULTS,
    }
}

/// A token bucket, kept as the moment at which it is full again (the generic cell rate algorithm).
#[derive(Debug)]
struct Allowance {
    pace: Pace,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    full_at: Option<Instant>,
    suppressed: u64,
}

impl Allowance {
    fn new(pace: Pace) -> Self {
        Self { pace, state: Mutex::default() }
    }

    fn pass(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = state.full_at.map_or(now, |full_at| full_at.max(now));
        let missing = full_at.duration_since(now);
        if missing > self.pace.interval * (self.pace.burst - 1) {
            state.suppressed = state.suppressed.saturating_add(1);
            return None;
        }
        state.full_at = Some(full_at + self.pace.interval);
        Some(std::mem::take(&mut state.suppressed))
    }

    fn take_suppressed(&self) -> u64 {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).suppressed)
    }
}

#[derive(Clone, Copy, Debug)]
struct Pace {
    /// At least 1.
    burst: u32,
    interval: Duration,
}

/// For refusals and abnormal ends: enough to see what happens, too few to fill a disk (10 a second).
const FAULTS: Pace = Pace { burst: 50, interval: Duration::from_millis(100) };

/// For opens and normal ends, which an operator wants to see each of (1,000 a second).
const ROUTINE: Pace = Pace { burst: 2000, interval: Duration::from_millis(1) };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const REFUSED: RecordKind = RecordKind::Ended(Reason::OriginRefused);

    #[test]
    fn a_burst_passes_and_the_rest_is_counted() {
        let (suppressor, now) = (Suppressor::new(), Clock::system().now());
        let passed = (0..1000).filter(|_| suppressor.pass(REFUSED, now).is_some()).count();
        assert_eq!(passed, 50);
        assert!(suppressor.take_suppressed().eq([(REFUSED, 950)]));
        assert_eq!(suppressor.take_suppressed().count(), 0);
    }

    #[test]
    fn the_next_record_that_passes_tells_how_many_did_not() {
        let (suppressor, now) = (Suppressor::new(), Clock::system().now());
        for _ in 0..53 {
            suppressor.pass(REFUSED, now);
        }
        assert_eq!(suppressor.pass(REFUSED, now + Duration::from_millis(99)), None);
        assert_eq!(suppressor.pass(REFUSED, now + Duration::from_millis(100)), Some(4));
        assert_eq!(suppressor.pass(REFUSED, now + Duration::from_secs(60)), Some(0));
    }

    #[test]
    fn a_flood_of_one_reason_leaves_the_others_alone() {
        let (suppressor, now) = (Suppressor::new(), Clock::system().now());
        while suppressor.pass(REFUSED, now).is_some() {}
        for reason in Reason::ALL.into_iter().filter(|reason| *reason != Reason::OriginRefused) {
            assert_eq!(suppressor.pass(RecordKind::Ended(reason), now), Some(0));
        }
        assert_eq!(suppressor.pass(RecordKind::Opened, now), Some(0));
    }

    #[test]
    fn routine_records_have_more_room_and_yet_a_bound() {
        let (suppressor, now) = (Suppressor::new(), Clock::system().now());
        for kind in [RecordKind::Opened, RecordKind::Ended(Reason::ClosedByClient)] {
            assert_eq!((0..5000).filter(|_| suppressor.pass(kind, now).is_some()).count(), 2000);
        }
    }

    #[test]
    fn a_long_silence_saves_up_one_burst_and_no_more() {
        let (suppressor, now) = (Suppressor::new(), Clock::system().now());
        assert_eq!(suppressor.pass(REFUSED, now), Some(0));
        let later = now + Duration::from_secs(3600);
        assert_eq!((0..1000).filter(|_| suppressor.pass(REFUSED, later).is_some()).count(), 50);
    }

    #[test]
    fn a_moment_earlier_than_the_last_is_no_fault() {
        let (suppressor, now) = (Suppressor::new(), Clock::system().now());
        let later = now + Duration::from_secs(1);
        assert_eq!(suppressor.pass(REFUSED, later), Some(0));
        assert_eq!(suppressor.pass(REFUSED, now), Some(0));
    }
}
