//! One coarse timer for all connections, so that none of them carries a timer of its own.
//!
//! Whoever must wake at some moment schedules an entry; one task runs the timers and hands each entry that is due to one
//! function, which wakes its owner. Nothing is decided here, and nothing ticks while nothing is scheduled. Floor 3.
//!
//! Entries that are due within one tick share a slot, and slots are kept in order: scheduling costs a look-up among the
//! slots, firing costs the same whatever else is scheduled, and an entry is held in little more than its own size.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::convert::Infallible;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::{Clock, Instant};

/// Entries to be fired at their moments. Shared by reference.
///
/// An entry never fires before its moment, and at most one [`TICK`] after it, plus the time until the runtime comes to it.
pub(crate) struct Timers<T> {
    clock: Clock,
    epoch: Instant,
    schedule: Mutex<Schedule<T>>,
    /// Told when an entry comes that is due before all others.
    earlier: Notify,
}

/// Names one scheduled entry, for [`Timers::cancel`]; dropping it changes nothing.
#[derive(Debug)]
pub(crate) struct Timer {
    tick: u64,
    /// Its place in the slot, from 1 on, so that no timer takes no room of its own.
    place: NonZeroUsize,
}

impl<T> Timers<T> {
    /// No entries; the ticks are counted from now on.
    #[must_use]
    pub(crate) fn new(clock: Clock) -> Self {
        let epoch = clock.now();
        let schedule = Mutex::new(Schedule { slots: BTreeMap::new(), fired: None });
        Self { clock, epoch, schedule, earlier: Notify::new() }
    }

    /// Fires `entry` at `at`; where that has passed, with the next tick at the latest.
    pub(crate) fn schedule(&self, at: Instant, entry: T) -> Timer {
        let wanted = ticks_until(at.saturating_duration_since(self.epoch));
        let (timer, is_first) = self.locked().insert(wanted, entry);
        if is_first {
            self.earlier.notify_one();
        }
        timer
    }

    /// Whether `timer` fires as early as one for `at` would. One that has fired is as early as can be: its owner looks.
    pub(crate) fn fires_by(&self, timer: &Timer, at: Instant) -> bool {
        timer.tick <= ticks_until(at.saturating_duration_since(self.epoch))
    }

    /// Takes back what was scheduled and gives its memory back; `None` where it has fired.
    ///
    /// Whoever ends before its moment cancels, so that nothing of it is held until then.
    #[expect(clippy::needless_pass_by_value, reason = "a timer can be cancelled only once")]
    pub(crate) fn cancel(&self, timer: Timer) -> Option<T> {
        self.locked().remove(&timer)
    }

    /// Fires what is due, until it is dropped. Run it once; entries wait while it does not run.
    ///
    /// `fire` is called outside all locks and may schedule and cancel. It must neither block nor panic.
    pub(crate) async fn run(&self, mut fire: impl FnMut(T)) -> Infallible {
        loop {
            let mut fired_in_a_row = 0;
            while let Some(entries) = self.take_due() {
                for entry in entries {
                    fire(entry);
                    fired_in_a_row += 1;
                    if fired_in_a_row % FIRED_IN_A_ROW_MAX == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            }
            self.until_due().await;
        }
    }

    /// The entries of the first slot, where that is due.
    fn take_due(&self) -> Option<impl Iterator<Item = T>> {
        let elapsed = self.clock.now().saturating_duration_since(self.epoch);
        self.locked().take_through(ticks_in(elapsed)).map(|slot| slot.entries.into_iter().flatten())
    }

    /// Waits until the first slot is due, or another has come before it.
    async fn until_due(&self) {
        let earlier = self.earlier.notified();
        let first = self.locked().slots.first_key_value().map(|(tick, _)| *tick);
        let due = first.and_then(|tick| self.epoch.checked_add(ticks(tick)));
        match due {
            // An entry that comes meanwhile leaves its notice, so none is overlooked.
            Some(due) => {
                let _ = tokio::time::timeout_at(due, earlier).await;
            }
            None => earlier.await,
        }
    }

    fn locked(&self) -> MutexGuard<'_, Schedule<T>> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Timers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers").finish_non_exhaustive()
    }
}

/// The slots that have entries, by tick.
struct Schedule<T> {
    slots: BTreeMap<u64, Slot<T>>,
    /// The last tick whose time has come. No slot is made for it or before it again, so a timer never names the entry
    /// of another.
    fired: Option<u64>,
}

impl<T> Schedule<T> {
    /// Puts `entry` where `wanted` says, or in the next slot that is still to come; whether that slot is now the first.
    fn insert(&mut self, wanted: u64, entry: T) -> (Timer, bool) {
        let next = self.fired.map_or(0, |fired| fired.saturating_add(1));
        let tick = wanted.max(next);
        let is_first = self.slots.first_key_value().is_none_or(|(first, _)| tick < *first);
        let position = self.slots.entry(tick).or_default().insert(entry);
        (Timer { tick, place: NonZeroUsize::MIN.saturating_add(position) }, is_first)
    }

    fn remove(&mut self, timer: &Timer) -> Option<T> {
        let Entry::Occupied(mut slot) = self.slots.entry(timer.tick) else { return None };
        let entry = slot.get_mut().remove(timer.place.get() - 1);
        if slot.get().is_empty() {
            slot.remove();
        }
        entry
    }

    /// The first slot, where its tick is `now` or before. Where there is none, `now` has fired.
    fn take_through(&mut self, now: u64) -> Option<Slot<T>> {
        if let Some(first) = self.slots.first_entry()
            && *first.key() <= now
        {
            self.fired = self.fired.max(Some(*first.key()));
            return Some(first.remove());
        }
        self.fired = self.fired.max(Some(now));
        None
    }
}

/// The entries of one tick. Places of cancelled ones are used again, so that it never has more places than it once had
/// entries.
struct Slot<T> {
    entries: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slot<T> {
    fn insert(&mut self, entry: T) -> usize {
        if let Some(position) = self.free.pop() {
            self.entries[position] = Some(entry);
            return position;
        }
        self.entries.push(Some(entry));
        self.entries.len() - 1
    }

    fn remove(&mut self, position: usize) -> Option<T> {
        let entry = self.entries.get_mut(position)?.take()?;
        self.free.push(position);
        Some(entry)
    }

    fn is_empty(&self) -> bool {
        self.free.len() == self.entries.len()
    }
}

/// The whole ticks in `elapsed`.
fn ticks_in(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_nanos() / TICK.as_nanos()).unwrap_or(u64::MAX)
}

/// The first tick that is not before `elapsed`.
fn ticks_until(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX)
}

/// How long `count` ticks take; the longest duration where that is too long.
fn ticks(count: u64) -> Duration {
    let millis = u64::try_from(TICK.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(count.saturating_mul(millis))
}

/// How coarse the timers are. No deadline of a connection is so short that 10 ms matter, and in 10 ms one wake-up
/// serves all who are due.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// After so many entries the other tasks of the worker have their turn.
const FIRED_IN_A_ROW_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::future::poll_fn;
    use std::pin::{Pin, pin};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;
    use tokio::time::{sleep, timeout};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Runs `timers` for `time`, and says what fired and when, in milliseconds from now.
    async fn fired_within<T>(timers: &Timers<T>, time: Duration) -> Vec<(u128, T)> {
        let start = timers.clock.now();
        let mut fired = Vec::new();
        let record = |entry| fired.push(((timers.clock.now() - start).as_millis(), entry));
        let _ = timeout(time, timers.run(record)).await;
        fired
    }

    #[tokio::test(start_paused = true)]
    async fn entries_fire_in_order_and_with_the_tick_at_or_after_their_moment() {
        let timers = Timers::new(Clock::system());
        let now = timers.clock.now();
        for at in [95, 11, 10, 3, 20] {
            timers.schedule(now + at * MS, at);
        }
        let fired = fired_within(&timers, Duration::from_secs(1)).await;
        assert_eq!(fired, [(10, 10), (10, 3), (20, 11), (20, 20), (100, 95)]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_whose_moment_has_passed_fires_with_the_next_tick_at_the_latest() {
        let timers = Timers::new(Clock::system());
        sleep(25 * MS).await;
        timers.schedule(timers.epoch, "first");
        assert_eq!(fired_within(&timers, 35 * MS).await, [(0, "first")]);
        timers.schedule(timers.epoch, "in a tick that has not fired");
        assert_eq!(fired_within(&timers, MS).await, [(0, "in a tick that has not fired")]);
        timers.schedule(timers.epoch, "in a tick that has fired");
        assert_eq!(fired_within(&timers, Duration::from_secs(1)).await, [(9, "in a tick that has fired")]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_entry_that_comes_while_waiting_is_not_overslept() {
        let timers = Arc::new(Timers::new(Clock::system()));
        let now = timers.clock.now();
        timers.schedule(now + Duration::from_secs(3600), "far");
        let (from_outside, schedule) = (Arc::clone(&timers), now + 50 * MS);
        tokio::spawn(async move {
            sleep(30 * MS).await;
            from_outside.schedule(schedule, "near");
        });
        assert_eq!(fired_within(&timers, Duration::from_secs(1)).await, [(50, "near")]);
        assert_eq!(fired_within(&timers, Duration::from_secs(3600)).await, [(3_599_000, "far")]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_can_be_scheduled_while_another_fires() {
        let timers = Timers::new(Clock::system());
        let now = timers.clock.now();
        timers.schedule(now + 10 * MS, 1);
        let mut fired = Vec::new();
        let again = |turn: u32| {
            fired.push(turn);
            timers.schedule(timers.clock.now(), turn + 1);
        };
        let _ = timeout(105 * MS, timers.run(again)).await;
        assert_eq!(fired, (1..=10).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_entry_does_not_fire_and_leaves_nothing_behind() {
        let timers = Timers::new(Clock::system());
        let at = timers.clock.now() + 10 * MS;
        let (kept, cancelled) = (timers.schedule(at, "kept"), timers.schedule(at, "cancelled"));
        assert_eq!(timers.cancel(cancelled), Some("cancelled"));
        assert_eq!(fired_within(&timers, Duration::from_secs(1)).await, [(10, "kept")]);
        assert_eq!(timers.cancel(kept), None);
        let only = timers.schedule(at, "only");
        timers.cancel(only);
        assert!(timers.locked().slots.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_has_fired_never_cancels_the_entry_of_another() {
        let timers = Timers::new(Clock::system());
        let at = timers.clock.now() + 10 * MS;
        let fired = timers.schedule(at, "fired");
        assert_eq!(fired_within(&timers, 15 * MS).await.len(), 1);
        timers.schedule(at, "other");
        assert_eq!(timers.cancel(fired), None);
        assert_eq!(fired_within(&timers, Duration::from_secs(1)).await.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn r21_scheduling_and_cancelling_for_ever_takes_no_more_room() {
        let timers = Timers::new(Clock::system());
        let at = timers.clock.now() + Duration::from_secs(300);
        timers.schedule(at, 0);
        for turn in 0..10_000 {
            let timer = timers.schedule(at, turn);
            timers.cancel(timer);
        }
        let places: usize =
            timers.locked().slots.values().map(|slot| slot.entries.len() + slot.free.len()).sum();
        assert_eq!(places, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_moment_beyond_all_time_waits_and_does_not_overflow() {
        let timers = Timers::new(Clock::system());
        let far = timers.clock.now() + Duration::from_secs(u64::MAX / 4);
        timers.schedule(far, ());
        assert_eq!(fired_within(&timers, Duration::from_secs(3600)).await, []);
        timers.schedule(timers.clock.now(), ());
        assert_eq!(fired_within(&timers, Duration::from_secs(1)).await.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn r20_a_hundred_thousand_timers_fire_once_each_at_their_moments() {
        let timers = Arc::new(Timers::new(Clock::system()));
        let now = timers.clock.now();
        for entry in 0..100_000_u32 {
            timers.schedule(now + entry % 20_000 * MS + 1 * MS, entry);
        }
        assert_eq!(timers.locked().slots.len(), 2000);
        let fired = fired_within(&timers, Duration::from_secs(30)).await;
        assert!(fired.iter().all(|(at, entry)| {
            let wanted = u128::from(entry % 20_000 + 1);
            (wanted..wanted + TICK.as_millis()).contains(at)
        }));
        let mut entries: Vec<_> = fired.into_iter().map(|(_, entry)| entry).collect();
        entries.sort_unstable();
        assert_eq!(entries, (0..100_000).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_ticks_while_nothing_is_due() {
        let timers: Timers<()> = Timers::new(Clock::system());
        let mut run = pin!(timers.run(|()| {}));
        assert_eq!(polls_within(&mut run, Duration::from_secs(3600)).await, 2);
        timers.schedule(timers.clock.now() + Duration::from_secs(1800), ());
        assert_eq!(polls_within(&mut run, Duration::from_secs(3600)).await, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn many_entries_at_once_leave_other_tasks_their_turn() {
        const ENTRIES: usize = 10 * FIRED_IN_A_ROW_MAX;
        let timers = Timers::new(Clock::system());
        for _ in 0..ENTRIES {
            timers.schedule(timers.epoch, ());
        }
        let fired = Arc::new(AtomicUsize::new(0));
        let watched = Arc::clone(&fired);
        let other = tokio::spawn(async move {
            let mut turns = 0;
            while watched.load(Ordering::Relaxed) < ENTRIES {
                turns += 1;
                tokio::task::yield_now().await;
            }
            turns
        });
        let count = |()| {
            fired.fetch_add(1, Ordering::Relaxed);
        };
        let _ = timeout(15 * MS, timers.run(count)).await;
        assert!(other.await.unwrap() >= 9);
    }

    /// How often `run` is polled in `time`: once at each end, and whenever it woke between.
    async fn polls_within(run: &mut Pin<&mut impl Future>, time: Duration) -> usize {
        let mut polls = 0;
        let counted = poll_fn(|context| {
            polls += 1;
            run.as_mut().poll(context).map(|_| ())
        });
        assert!(timeout(time, counted).await.is_err(), "the timers ended");
        polls
    }

    proptest! {
        #[test]
        fn whatever_is_scheduled_and_cancelled_fires_once_or_not_at_all(
            steps in prop::collection::vec((0..50_u64, prop::option::of(0..20_usize)), 1..100),
        ) {
            let mut schedule = Schedule { slots: BTreeMap::new(), fired: None };
            let (mut timers, mut expected) = (Vec::new(), BTreeSet::new());
            for (entry, (tick, cancel)) in steps.into_iter().enumerate() {
                timers.push((entry, schedule.insert(tick, entry).0));
                expected.insert(entry);
                if let Some(index) = cancel.filter(|index| *index < timers.len()) {
                    let (cancelled, timer) = timers.swap_remove(index);
                    let was_waiting = expected.remove(&cancelled);
                    prop_assert_eq!(schedule.remove(&timer), was_waiting.then_some(cancelled));
                }
                if entry % 10 == 9 {
                    while let Some(slot) = schedule.take_through(entry as u64 / 2) {
                        for fired in slot.entries.into_iter().flatten() {
                            prop_assert!(expected.remove(&fired));
                        }
                    }
                }
            }
            while let Some(slot) = schedule.take_through(u64::MAX) {
                for fired in slot.entries.into_iter().flatten() {
                    prop_assert!(expected.remove(&fired));
                }
            }
            prop_assert!(expected.is_empty());
        }
    }
}
