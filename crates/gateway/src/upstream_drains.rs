//! Drains applications of a running server: nobody is sent there any more, and whoever is there is closed with 1012, a few at a time.
//!
//! Comes above the connections, beside [`crate::server::AddressBans`]; where connections go is decided by what is kept here. What is
//! drained is known by its address: another configuration changes nothing about it, a restart forgets it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep_until;

use crate::connection::Gate;
use crate::pulse::Signal;
use crate::url::UpstreamUrl;

/// The applications behind one server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UpstreamDrains(Arc<Gate>);

impl UpstreamDrains {
    pub(crate) const fn new(gate: Arc<Gate>) -> Self {
        Self(gate)
    }

    /// Drains the application at `url`, on every route: no connection goes there, and those that it has are closed with 1012 as in a
    /// drain of the server, spread over up to 3 seconds. Returns how many those are at once; `None` where no route leads there. To be
    /// called within a runtime.
    #[must_use]
    pub fn drain(&self, url: &UpstreamUrl) -> Option<u64> {
        let gate = &self.0;
        let name = url.to_string();
        // First the word, then the telling: whoever takes a place there meanwhile finds one of the two.
        gate.drains.set(&name, true)?;
        let count = gate.observer.upstream_drained(&name, true);
        let pulses = gate.live.pulses();
        let begun_at = gate.facilities.clock.now() + SETTLE_TIME;
        let each = u32::try_from(count).unwrap_or(u32::MAX);
        let jitter = DRAIN_JITTER_MAX.min(DRAIN_JITTER_EACH.saturating_mul(each));
        tokio::spawn(async move {
            let of_all = u32::try_from(pulses.len()).unwrap_or(u32::MAX).max(1);
            for (pulse, position) in pulses.iter().zip(0..of_all) {
                sleep_until(begun_at + jitter.saturating_mul(position) / of_all).await;
                pulse.signal(Signal::Retired);
            }
        });
        Some(count)
    }

    /// Lets connections go to the application at `url` again. Whether it had been drained.
    #[must_use]
    pub fn resume(&self, url: &UpstreamUrl) -> bool {
        let name = url.to_string();
        let was_drained = self.0.drains.set(&name, false) == Some(true);
        if was_drained {
            self.0.observer.upstream_drained(&name, false);
        }
        was_drained
    }
}

/// Before the first goodbye, so that what has come is seen first, as in a drain of the server.
const SETTLE_TIME: Duration = Duration::from_millis(2);
/// The longest time over which goodbyes are spread, and the share of each connection in it.
const DRAIN_JITTER_MAX: Duration = Duration::from_secs(3);
const DRAIN_JITTER_EACH: Duration = Duration::from_millis(2);
