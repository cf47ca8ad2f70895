//! What a connection holds that is on its way: told to whoever sheds load, and counted against the budget of all of them.
//!
//! Output counts itself, and so do messages that are inspected. What is left is counted here, once a poll: input that was read and may not
//! be used yet, messages that have come in part, and what a handler has sent to a client that does not read. Each by the memory that it
//! takes, not by its payload.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::far::Far;
use super::inspecting::Inspecting;
use super::{Application, Relay};
use crate::clock::Moment;

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Relay<S> {
    /// Keeps the budget's count of it true, and tells how much waits here on both sides, and since when.
    pub(super) fn record_held(&mut self) {
        let beside_bytes = self.beside_bytes();
        self.hold(beside_bytes);
        let (mut since, mut bytes) = (self.output.blocked_since(), self.output.len() + beside_bytes);
        let mut note = |held: Option<(Moment, usize)>| {
            if let Some((held_since, held_bytes)) = held {
                since = Some(since.map_or(held_since, |since| since.min(held_since)));
                bytes += held_bytes;
            }
        };
        note(self.far().and_then(Far::blocked));
        note(self.inspecting().and_then(Inspecting::held));
        if beside_bytes > 0 {
            // What has stood still for longest goes first; what comes in only might.
            since = since.or(self.paused_since).or(self.message_since);
            // What was read ahead of a handler that still works on something stands still as well.
            if let Application::Handler(_) = self.application {
                since = since.or(Some(self.heard_at));
            }
        }
        self.pulse.record_blocked(bytes, since.map(Moment::since_epoch));
    }

    /// Whether nothing may be added to a message that has come in part, since all buffers together are full: somebody is told to go
    /// now, and then it goes on. Nothing else would stop those who send many such messages before they are told.
    pub(super) fn waits_for_room(&self) -> bool {
        let is_gathering = match &self.application {
            Application::Handler(handling) => handling.is_gathering(),
            Application::Unauthenticated(_) | Application::Echo(_) | Application::Upstream(_) => false,
        };
        (is_gathering || self.inspecting().is_some_and(|inspecting| inspecting.held().is_some()))
            && self.facilities.budget.excess() > 0
    }

    /// When to look again whether there is room: nobody says so.
    pub(super) fn room_due(&self) -> Option<Moment> {
        self.waits_for_room().then(|| self.facilities.now() + ROOM_RETRY_TIME)
    }

    /// What is held and counts itself nowhere.
    fn beside_bytes(&self) -> usize {
        let remainder_bytes = if self.remainder_is_fresh { self.remainder.held_bytes() } else { 0 };
        remainder_bytes
            + match &self.application {
                Application::Echo(_) => 0,
                Application::Unauthenticated(nobody) => nobody.held_bytes(),
                // While output flows the outbox has just been emptied.
                Application::Handler(handling) => handling.held_bytes(self.output.blocked_since().is_some()),
                Application::Upstream(far) => far.held_bytes(),
            }
    }

    /// Whether anything is held that [`Self::record_held`] counts.
    pub(super) const fn holds_anything(&self) -> bool {
        self.held_bytes > 0
    }
}

impl<S> Relay<S> {
    fn hold(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if bytes != self.held_bytes {
            self.facilities.budget.charge(self.held_bytes as usize, bytes as usize);
            self.held_bytes = bytes;
        }
    }
}

/// Longer than it takes to tell those who have to go.
const ROOM_RETRY_TIME: Duration = Duration::from_millis(100);

impl<S> Drop for Relay<S> {
    fn drop(&mut self) {
        self.hold(0);
    }
}
