//! Which applications an operator has drained, by their address: nobody is sent there, whichever route names it, and whatever the
//! configuration becomes.
//!
//! Asked with one load, where a place is taken and where a connection is told to look. Outlives plans, not the process. Tells nobody: that
//! is the server's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The applications that are drained, and those that could be.
#[derive(Debug, Default)]
pub(crate) struct Drains(Mutex<BTreeMap<String, Arc<Drain>>>);

/// Whether one application is drained; shared by all that has to do with it.
#[derive(Debug, Default)]
pub(crate) struct Drain(AtomicBool);

impl Drain {
    pub(crate) fn is_on(&self) -> bool {
        // Told after it was said, so that whoever hears of it finds it: see `Live::look_at_routes`.
        self.0.load(Ordering::Acquire)
    }
}

impl Drains {
    /// That of the application at `url`, for whoever goes there.
    pub(crate) fn of(&self, url: &str) -> Arc<Drain> {
        let mut drains = self.locked();
        // What no configuration names any more is forgotten, unless somebody has said something of it.
        drains.retain(|_, drain| drain.is_on() || Arc::strong_count(drain) > 1);
        Arc::clone(drains.entry(url.to_owned()).or_default())
    }

    /// Drains the application at `url`, or takes that back. Whether that changed anything; `None` where nobody goes there and nobody
    /// had drained it.
    pub(crate) fn set(&self, url: &str, is_on: bool) -> Option<bool> {
        let drains = self.locked();
        let drain = drains.get(url).filter(|drain| drain.is_on() || Arc::strong_count(drain) > 1)?;
        Some(drain.0.swap(is_on, Ordering::AcqRel) != is_on)
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Drain>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drained_stays_so_until_that_is_taken_back() {
        let drains = Drains::default();
        assert_eq!(drains.set("ws://a", true), None, "nobody goes there");
        let one = drains.of("ws://a");
        assert_eq!((drains.set("ws://a", true), one.is_on()), (Some(true), true));
        assert_eq!(drains.set("ws://a", true), Some(false));
        // The next configuration does not name it, and the one after it does.
        drop(one);
        drop(drains.of("ws://b"));
        assert!(drains.of("ws://a").is_on());
        assert_eq!(drains.set("ws://a", false), Some(true));
        drop(drains.of("ws://b"));
        assert_eq!(drains.locked().len(), 1, "what nobody names and nobody has drained is forgotten");
        assert_eq!(drains.set("ws://a", false), None);
    }
}
