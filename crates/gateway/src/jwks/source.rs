//! A value that is fetched, kept for a stated time, and fetched again.
//!
//! One task fetches ([`Source::keep`]), so that there is never more than one request in flight: from time to time, sooner
//! after a failure, and when somebody has met what the value does not know. That last is bounded to once in 30 seconds,
//! since strangers can cause it. A value that could not be renewed is used up to a stated age and not a moment longer. Never
//! logs or counts: it tells whoever keeps it. Comes after `fetch.rs`; the connection asks it.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{sleep_until, timeout};

use crate::causes::in_one_line;
use crate::clock::{Clock, Instant};

/// A value from elsewhere, shared by all who use it.
#[derive(Debug)]
pub(crate) struct Source<T> {
    clock: Clock,
    state: Mutex<State<T>>,
    /// Wakes the task that fetches.
    wanted: Notify,
    /// How many fetches have ended.
    ended: watch::Sender<u64>,
}

/// How often a value is renewed, and how old it may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    /// From one fetch that went well to the next.
    pub(crate) refresh_interval: Duration,
    /// The age, counted from the request that brought it, at which a value is used no longer.
    pub(crate) stale_max: Duration,
}

#[derive(Debug)]
struct State<T> {
    timing: Timing,
    held: Option<Held<T>>,
    flight: Flight,
    /// When somebody last caused a fetch.
    caused_at: Option<Instant>,
}

/// A value and where it comes from.
#[derive(Debug)]
struct Held<T> {
    value: Arc<T>,
    /// What it was read from: the same bytes are the same value.
    bytes: Vec<u8>,
    /// When they were asked for.
    asked_at: Instant,
}

/// Whether a fetch is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flight {
    None,
    /// The task has been woken for one.
    Wanted,
    Flying,
}

/// What came of asking for a newer value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refreshed {
    /// A fetch has ended since: what there is now is worth another look.
    Ended,
    /// Somebody caused a fetch less than 30 seconds ago, and it has ended.
    TooSoon,
    /// A fetch is on its way and has not ended in time.
    TimedOut,
}

/// What whoever keeps a source hears.
#[derive(Debug)]
pub(crate) enum Event<'a, T> {
    /// Another value than before has come. Told before anybody who waits for it wakes.
    Replaced(&'a Arc<T>),
    /// The same value has come again, and is young again.
    Confirmed,
    /// No value has come: the error, and those below it.
    Failed(&'a str),
    /// The value has become too old; nobody gets it any longer.
    Expired,
}

impl<T> Source<T> {
    /// A source that has nothing yet.
    pub(crate) fn new(timing: Timing, clock: Clock) -> Self {
        let state = State { timing, held: None, flight: Flight::None, caused_at: None };
        let (wanted, ended) = (Notify::new(), watch::Sender::new(0));
        Self { clock, state: Mutex::new(state), wanted, ended }
    }

    /// Renews the value so often from the next time on, and uses it for so long from now on.
    pub(crate) fn set_timing(&self, timing: Timing) {
        self.locked().timing = timing;
    }

    /// The value; `None` where there is none, or where it has become too old.
    pub(crate) fn current(&self) -> Option<Arc<T>> {
        let state = self.locked();
        let held = state.held.as_ref()?;
        (self.age(held) < state.timing.stale_max).then(|| Arc::clone(&held.value))
    }

    /// Asks for a newer value, because somebody has met what this one does not know, and waits at most `wait` for what comes
    /// of it. Strangers cause this: all who ask while a fetch is on its way share it, and after it there is no other for
    /// their sake until 30 seconds have passed since it was asked for.
    pub(crate) async fn refresh(&self, wait: Duration) -> Refreshed {
        let mut ended = self.ended.subscribe();
        let goal = {
            let mut state = self.locked();
            if state.flight == Flight::None {
                let now = self.clock.now();
                let is_too_soon = |at: Instant| now.saturating_duration_since(at) < CAUSED_INTERVAL;
                if state.caused_at.is_some_and(is_too_soon) {
                    return Refreshed::TooSoon;
                }
                state.caused_at = Some(now);
                state.flight = Flight::Wanted;
                self.wanted.notify_one();
            }
            *self.ended.borrow() + 1
        };
        match timeout(wait, ended.wait_for(|ended| *ended >= goal)).await {
            Ok(_) => Refreshed::Ended,
            Err(_) => Refreshed::TimedOut,
        }
    }

    /// Fetches at once and from then on whenever it is time, until it is dropped. At most one such task runs at a time.
    pub(crate) async fn keep<F, FetchFailed, ParseFailed>(
        &self,
        fetch: impl Fn() -> F,
        parse: impl Fn(&[u8]) -> Result<T, ParseFailed>,
        tell: impl Fn(Event<'_, T>),
    ) where
        F: Future<Output = Result<Vec<u8>, FetchFailed>>,
        FetchFailed: Error,
        ParseFailed: Error,
    {
        let (mut failures, mut is_usable) = (0_u32, false);
        loop {
            let asked_at = self.begin();
            let fetched = fetch().await.map_err(|error| in_one_line(&error));
            let taken = fetched.and_then(|bytes| self.take(bytes, asked_at, &parse));
            failures = if taken.is_ok() { 0 } else { failures.saturating_add(1) };
            is_usable |= taken.is_ok();
            match &taken {
                Ok(Some(value)) => tell(Event::Replaced(value)),
                Ok(None) => tell(Event::Confirmed),
                Err(error) => tell(Event::Failed(error)),
            }
            self.end();
            let until = self.clock.now() + self.pause(failures);
            self.wait(until, &mut is_usable, || tell(Event::Expired)).await;
        }
    }

    /// Marks the fetch that begins now.
    fn begin(&self) -> Instant {
        self.locked().flight = Flight::Flying;
        self.clock.now()
    }

    /// Takes what has come; the value where it is another one.
    fn take<E: Error>(
        &self,
        bytes: Vec<u8>,
        asked_at: Instant,
        parse: impl Fn(&[u8]) -> Result<T, E>,
    ) -> Result<Option<Arc<T>>, String> {
        {
            let mut state = self.locked();
            let stale_max = state.timing.stale_max;
            if let Some(held) = state.held.as_mut().filter(|held| held.bytes == bytes) {
                // One that had been too old has been given up by those who use it.
                let was_usable = self.age(held) < stale_max;
                held.asked_at = asked_at;
                return Ok((!was_usable).then(|| Arc::clone(&held.value)));
            }
        }
        let value = Arc::new(parse(&bytes).map_err(|error| in_one_line(&error))?);
        self.locked().held = Some(Held { value: Arc::clone(&value), bytes, asked_at });
        Ok(Some(value))
    }

    /// Marks the end of the fetch, and wakes those who wait for it.
    fn end(&self) {
        // Both at once: whoever looks in between would take the fetch that has just ended for one that never was.
        let mut state = self.locked();
        state.flight = Flight::None;
        self.ended.send_modify(|ended| *ended += 1);
    }

    /// How long after a fetch the next one is, where nobody wants it sooner.
    fn pause(&self, failures: u32) -> Duration {
        let longest = self.locked().timing.refresh_interval.max(PAUSE_MIN);
        match failures.checked_sub(1) {
            None => longest,
            Some(earlier) => {
                let doubled = 2_u32.saturating_pow(earlier);
                RETRY_FIRST.saturating_mul(doubled).min(RETRY_LONGEST).min(longest)
            }
        }
    }

    /// Waits until `until`, or until a fetch is wanted; tells once of a value that is usable and becomes too old.
    async fn wait(&self, until: Instant, is_usable: &mut bool, tell_expired: impl Fn()) {
        loop {
            let expires_at = self.expires_at().filter(|_| *is_usable).unwrap_or(until);
            tokio::select! {
                biased;
                () = self.wanted.notified() => {
                    // The word may be an old one, which another fetch has answered.
                    if self.locked().flight == Flight::Wanted {
                        return;
                    }
                }
                () = sleep_until(expires_at.min(until)) => {
                    if *is_usable && self.current().is_none() {
                        tell_expired();
                        *is_usable = false;
                    }
                    if self.clock.now() >= until {
                        return;
                    }
                }
            }
        }
    }

    fn expires_at(&self) -> Option<Instant> {
        let state = self.locked();
        state.held.as_ref().and_then(|held| held.asked_at.checked_add(state.timing.stale_max))
    }

    fn age(&self, held: &Held<T>) -> Duration {
        self.clock.now().saturating_duration_since(held.asked_at)
    }

    fn locked(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time between two fetches that strangers cause.
pub(crate) const CAUSED_INTERVAL: Duration = Duration::from_secs(30);
/// However short a program that uses the library makes the interval.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// After the first failure, and doubled after each that follows.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The most between two attempts while nothing comes.
const RETRY_LONGEST: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a32_an_old_word_that_a_fetch_is_wanted_causes_none() {
        let timing = Timing { refresh_interval: Duration::from_mins(5), stale_max: Duration::from_hours(1) };
        let source = Source::<()>::new(timing, Clock::system());
        let fetches = AtomicUsize::new(0);
        let fetch = async || {
            fetches.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Infallible>(Vec::new())
        };
        let keeping = source.keep(fetch, |_| Ok::<_, Infallible>(()), |_| {});
        let looking = async {
            sleep_until(source.clock.now() + Duration::from_secs(1)).await;
            // As if it had been given while another fetch was about to begin.
            source.wanted.notify_one();
            sleep_until(source.clock.now() + Duration::from_secs(1)).await;
            assert_eq!(fetches.load(Ordering::SeqCst), 1);
            assert_eq!(source.refresh(Duration::from_secs(1)).await, Refreshed::Ended);
            assert_eq!(fetches.load(Ordering::SeqCst), 2);
        };
        tokio::select! {
            () = keeping => {}
            () = looking => {}
        }
    }
}
