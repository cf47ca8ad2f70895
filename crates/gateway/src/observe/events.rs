//! The newest things that went wrong or that operators did, for whoever watches: a bounded number, in memory.
//!
//! Fed where a record is written, so that a flood is as few of a kind as in the log.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::encode::Encoded;
use crate::clock::UnixTime;

/// The newest events, oldest first.
#[derive(Debug, Default)]
pub(super) struct Events(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    kept: VecDeque<Event>,
    /// How many there have been.
    count: u64,
}

/// One of them. What a peer chose is encoded.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Event {
    /// Counts from 1.
    pub(crate) number: u64,
    pub(crate) time: String,
    /// `refused`, `ended`, `message_refused`, `operated`, or `banned`.
    pub(crate) kind: &'static str,
    pub(crate) client: Option<String>,
    pub(crate) route: Option<String>,
    pub(crate) subject: Option<String>,
    /// A label of the reason table, or of an operator's action.
    pub(crate) reason: &'static str,
    pub(crate) detail: Option<String>,
}

impl Event {
    pub(super) const fn new(kind: &'static str, reason: &'static str) -> Self {
        let time = String::new();
        Self { number: 0, time, kind, client: None, route: None, subject: None, reason, detail: None }
    }

    pub(super) fn detailed(mut self, detail: Option<&dyn Display>) -> Self {
        self.detail = detail.map(|detail| Encoded(&detail).to_string());
        self
    }
}

impl Events {
    pub(super) fn push(&self, event: Event, time: UnixTime) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.count = ring.count.saturating_add(1);
        if ring.kept.len() == EVENTS_MAX {
            ring.kept.pop_front();
        }
        let number = ring.count;
        ring.kept.push_back(Event { number, time: time.to_string(), ..event });
    }

    /// Those behind number `after` that are still kept, and the number of the newest.
    pub(super) fn after(&self, after: u64) -> (Vec<Event>, u64) {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (ring.kept.iter().filter(|event| event.number > after).cloned().collect(), ring.count)
    }
}

/// At some 300 bytes each.
const EVENTS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_told_by_number() {
        let events = Events::default();
        for _ in 0..EVENTS_MAX + 50 {
            events.push(
                Event::new("refused", "token_invalid").detailed(Some(&"a\nb")),
                UnixTime::from_seconds(1),
            );
        }
        let (all, newest) = events.after(0);
        assert_eq!((all.len(), all[0].number, newest), (EVENTS_MAX, 51, 250));
        assert!(!all[0].detail.as_ref().unwrap().contains('\n'));
        assert_eq!(events.after(248).0.len(), 2);
        assert_eq!(events.after(u64::MAX).0.len(), 0);
    }
}
