//! Rates: so many events in so much time, with a bounded burst; for one holder, or for many keys in fixed memory.
//!
//! Decides only; `now` is an argument, and monotonic, so that a step of the wall clock changes nothing. Floor 2: the
//! firewall counts handshakes with it, authentication its failures, a connection its pings and messages.
//!
//! The algorithm is GCRA (ITU-T I.371): all that is kept is the moment at which the burst will be whole again. Each event
//! moves that moment on by one interval, and is refused where it would then lie further ahead than a whole burst.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher as _, Hash};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Instant, Moment};

/// How many events are let through in a time, and how many of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// What one event costs: the time until it is made up for. At least 1.
    interval_ns: u64,
    /// How far ahead of now the debt may reach: one interval for each event of the burst. Zero lets nothing through.
    burst_ns: u64,
}

impl Rate {
    /// `count` events every `per`, at most `burst` of them at once; where either count is zero, none at all.
    ///
    /// The interval is rounded up to a nanosecond, so that the limit is never exceeded.
    #[must_use]
    pub(crate) fn new(count: u32, per: Duration, burst: u32) -> Self {
        let per_ns = nanoseconds(per).max(1);
        if count == 0 {
            return Self { interval_ns: per_ns, burst_ns: 0 };
        }
        let interval_ns = per_ns.div_ceil(u64::from(count));
        Self { interval_ns, burst_ns: interval_ns.saturating_mul(u64::from(burst)) }
    }

    /// The debt after one more event, or how much of it must pass before there may be one.
    fn charge(&self, debt_ns: u64) -> Result<u64, u64> {
        self.charge_many(debt_ns, 1)
    }

    /// The same for `count` events that come together.
    fn charge_many(&self, debt_ns: u64, count: u32) -> Result<u64, u64> {
        let cost_ns = self.interval_ns.saturating_mul(u64::from(count));
        // A debt too large to be written down is refused too: saturating would let every later event through.
        match debt_ns.checked_add(cost_ns) {
            Some(charged_ns) if charged_ns <= self.burst_ns => Ok(charged_ns),
            Some(_) | None => Err(debt_ns.saturating_add(cost_ns).saturating_sub(self.burst_ns).max(1)),
        }
    }

    /// The debt after `count` events more, whether or not they are within the rate, and how long until they would have been, up to
    /// [`WAIT_MAX`]. What is owed beyond that is forgiven: those who share a key wait for one another, but not for hours for one who has gone.
    fn spend(&self, debt_ns: u64, count: u32) -> (u64, Duration) {
        // Leaves room for all that is added to it.
        let debt_ns_max = self.burst_ns.saturating_add(nanoseconds(WAIT_MAX)).min(u64::MAX / 2);
        let spent_ns = debt_ns.saturating_add(self.interval_ns.saturating_mul(u64::from(count)));
        let spent_ns = spent_ns.min(debt_ns_max);
        (spent_ns, Duration::from_nanos(spent_ns.saturating_sub(self.burst_ns)))
    }
}

/// How much of a [`Rate`] one holder has used: 8 bytes, and no allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gcra {
    whole_at: Option<Moment>,
}

impl Gcra {
    /// Nothing used yet.
    pub(crate) const NEW: Self = Self { whole_at: None };

    /// Counts one event at `now`.
    ///
    /// # Errors
    /// When it is over the rate: the time after which one would not be. A refused event costs nothing.
    pub(crate) fn check(&mut self, rate: &Rate, now: Moment) -> Result<(), Duration> {
        self.check_many(rate, 1, now)
    }

    /// Counts `count` events at `now`, all or none.
    ///
    /// # Errors
    /// As [`Gcra::check`].
    pub(crate) fn check_many(&mut self, rate: &Rate, count: u32, now: Moment) -> Result<(), Duration> {
        let debt = self.whole_at.map_or(Duration::ZERO, |whole_at| whole_at.since(now));
        let charged_ns = rate.charge_many(nanoseconds(debt), count).map_err(Duration::from_nanos)?;
        self.whole_at = Some(now + Duration::from_nanos(charged_ns));
        Ok(())
    }

    /// Counts `count` events that have happened at `now`, over the rate or not; the time after which they would not have
    /// been, up to [`WAIT_MAX`].
    pub(crate) fn spend(&mut self, rate: &Rate, count: u32, now: Moment) -> Duration {
        let debt = self.whole_at.map_or(Duration::ZERO, |whole_at| whole_at.since(now));
        let (spent_ns, wait) = rate.spend(nanoseconds(debt), count);
        self.whole_at = Some(now + Duration::from_nanos(spent_ns));
        wait
    }
}

/// How much of a [`Rate`] each of many keys has used, in fixed memory: 65,536 entries of 16 bytes, whatever comes.
///
/// A key's hash names the one set of 16 entries that it can be in. A key that is not there takes the entry of its set
/// that is the first to be whole again, and **takes over its debt**. Hence:
/// - An entry whose debt is paid is the same as none, so forgetting it is exact. As long as at most 16 keys of a set are
///   in debt at a time, every key is counted as if it had a [`Gcra`] of its own.
/// - Beyond that the table errs on the strict side alone. A key that was pushed out finds on its return at least the debt
///   it left, because the least debt of a set only grows; so no flood of other keys can buy it a second burst. A key that
///   is over the rate is never pushed out: whoever would take over its debt is refused as well.
/// - New keys can be refused in error only when all 16 entries of their set are over the rate, which takes events at
///   about 65,536 times the rate of one key. No one can aim at a set: the hash is keyed with a random secret, which
///   decides nothing but the place.
pub(crate) struct RateTable {
    rate: Rate,
    epoch: Instant,
    hasher: RandomState,
    /// Shared with the table that takes its place when the rate changes.
    shards: Arc<[Mutex<Box<[Set]>>]>,
}

type Set = [Entry; WAYS];

/// One key's state. All zero is an entry that no key has used, and that owes nothing.
#[derive(Clone, Copy, Default)]
struct Entry {
    /// The key's whole hash. Two keys of the same hash would share a limit: with a secret of 128 bits in the hash
    /// nobody can look for them, and by chance it is one in 2^60 for a key in a full set.
    fingerprint: u64,
    /// When the burst is whole again, counted from the table's epoch.
    whole_at_ns: u64,
}

impl RateTable {
    /// A table for `rate`, empty, whose time begins at `now`.
    #[must_use]
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        Self::with_sets(rate, now, SHARDS, SETS_PER_SHARD)
    }

    fn with_sets(rate: Rate, now: Instant, shards: usize, sets_per_shard: usize) -> Self {
        let shard = || Mutex::new(vec![[Entry::default(); WAYS]; sets_per_shard].into_boxed_slice());
        let shards = std::iter::repeat_with(shard).take(shards).collect();
        Self { rate, epoch: now, hasher: RandomState::new(), shards }
    }

    /// The same keys at another rate: each owes as much time as before.
    #[must_use]
    pub(crate) fn at(&self, rate: Rate) -> Self {
        Self { rate, epoch: self.epoch, hasher: self.hasher.clone(), shards: Arc::clone(&self.shards) }
    }

    /// Counts one event of `key` at `now`.
    ///
    /// # Errors
    /// When it is over the rate: the time after which one would not be. A refused event costs nothing.
    pub(crate) fn check(&self, key: &impl Hash, now: Instant) -> Result<(), Duration> {
        self.check_many(key, 1, now)
    }

    /// Counts `count` events of `key` at `now`, all or none.
    ///
    /// # Errors
    /// As [`RateTable::check`].
    pub(crate) fn check_many(&self, key: &impl Hash, count: u32, now: Instant) -> Result<(), Duration> {
        self.with_entry(key, now, |entry, debt_ns| {
            let charged_ns = self.rate.charge_many(debt_ns, count).map_err(Duration::from_nanos)?;
            entry.owe(charged_ns);
            Ok(())
        })
    }

    /// Counts `count` events of `key` that have happened at `now`, over the rate or not; the time after which they would not
    /// have been, up to [`WAIT_MAX`].
    pub(crate) fn spend(&self, key: &impl Hash, count: u32, now: Instant) -> Duration {
        self.with_entry(key, now, |entry, debt_ns| {
            let (spent_ns, wait) = self.rate.spend(debt_ns, count);
            entry.owe(spent_ns);
            wait
        })
    }

    /// Whether one event of `key` at `now` would be let through; it is not counted.
    ///
    /// # Errors
    /// When it is over the rate, as [`RateTable::check`].
    pub(crate) fn has_room(&self, key: &impl Hash, now: Instant) -> Result<(), Duration> {
        self.with_entry(key, now, |_, debt_ns| {
            self.rate.charge(debt_ns).map(|_| ()).map_err(Duration::from_nanos)
        })
    }

    /// Gives `use_entry` the place of `key`, and what it owes at `now`.
    fn with_entry<T>(
        &self,
        key: &impl Hash,
        now: Instant,
        use_entry: impl FnOnce(&mut Place<'_>, u64) -> T,
    ) -> T {
        let fingerprint = self.hasher.hash_one(key);
        let now_ns = nanoseconds(now.saturating_duration_since(self.epoch));
        let (shard, rest) = pick(fingerprint, self.shards.len());
        let mut sets = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        let (set, _) = pick(rest, sets.len());
        let entry = entry_for(&mut sets[set], fingerprint);
        let debt_ns = entry.whole_at_ns.saturating_sub(now_ns);
        use_entry(&mut Place { entry, fingerprint, now_ns }, debt_ns)
    }
}

/// The entry that a key has or would take over.
struct Place<'e> {
    entry: &'e mut Entry,
    fingerprint: u64,
    now_ns: u64,
}

impl Place<'_> {
    /// The key owes that much from now on.
    fn owe(&mut self, debt_ns: u64) {
        let whole_at_ns = self.now_ns.saturating_add(debt_ns);
        *self.entry = Entry { fingerprint: self.fingerprint, whole_at_ns };
    }
}

impl fmt::Debug for RateTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateTable").field("rate", &self.rate).finish_non_exhaustive()
    }
}

/// The key's own entry, or the one that it would take over: the first of the set to be whole again.
fn entry_for(set: &mut Set, fingerprint: u64) -> &mut Entry {
    let own = set.iter().position(|entry| entry.fingerprint == fingerprint);
    let first_whole = || (0..WAYS).min_by_key(|&way| set[way].whole_at_ns);
    let way = own.or_else(first_whole).expect("a set has at least one entry");
    &mut set[way]
}

/// One of `len` by the low part of `hash`, and the part of the hash that is left.
fn pick(hash: u64, len: usize) -> (usize, u64) {
    let len = len as u64;
    let index = usize::try_from(hash % len).expect("less than a length, which is a usize");
    (index, hash / len)
}

/// `duration` in nanoseconds; 584 years where it is more.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// For how long whoever may spend more than there is has to wait at most.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(10);

/// Entries a set, scanned one by one. While 20,000 keys are in debt at a time, one set in 67,000 has more than its 16.
const WAYS: usize = 16;

/// Locks: enough that accepting workers seldom wait for each other.
const SHARDS: usize = 64;

/// 64 shards of 64 sets of 16 entries of 16 bytes: 1 MiB.
const SETS_PER_SHARD: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Clock;

    fn start() -> Instant {
        Clock::system().now()
    }

    /// 3,000 a minute, 300 at once: the firewall's default.
    fn handshakes() -> Rate {
        Rate::new(3000, Duration::from_secs(60), 300)
    }

    fn admitted_at_once(mut check: impl FnMut() -> Result<(), Duration>) -> usize {
        std::iter::repeat_with(|| check().is_ok()).take(1000).filter(|admitted| *admitted).count()
    }

    /// The most events that any window holds beyond what the rate allows it: `burst` and one for each interval.
    fn exceeds(admitted_ns: &[u64], rate: &Rate) -> bool {
        let burst = rate.burst_ns / rate.interval_ns;
        (0..admitted_ns.len()).any(|first| {
            (first..admitted_ns.len()).any(|last| {
                let allowed = burst + (admitted_ns[last] - admitted_ns[first]) / rate.interval_ns;
                (last - first + 1) as u64 > allowed
            })
        })
    }

    #[test]
    fn a_burst_is_let_through_and_then_one_an_interval() {
        let (rate, now) = (handshakes(), Moment::EPOCH);
        let mut gcra = Gcra::default();
        assert_eq!(admitted_at_once(|| gcra.check(&rate, now)), 300);
        assert_eq!(gcra.check(&rate, now), Err(Duration::from_millis(20)));
        assert_eq!(gcra.check(&rate, now + Duration::from_millis(19)), Err(Duration::from_millis(1)));
        assert_eq!(gcra.check(&rate, now + Duration::from_millis(20)), Ok(()));
        assert_eq!(admitted_at_once(|| gcra.check(&rate, now + Duration::from_secs(3))), 149);
        assert_eq!(admitted_at_once(|| gcra.check(&rate, now + Duration::from_secs(3600))), 300);
    }

    #[test]
    fn a_rate_of_nothing_lets_nothing_through() {
        let mut gcra = Gcra::default();
        let now = Moment::EPOCH;
        for rate in [Rate::new(0, Duration::from_secs(60), 10), Rate::new(1, Duration::from_secs(60), 0)] {
            assert_eq!(gcra.check(&rate, now), Err(Duration::from_secs(60)));
        }
    }

    #[test]
    fn extreme_rates_neither_overflow_nor_let_everything_through() {
        let now = Moment::EPOCH;
        let slow = Rate::new(1, Duration::MAX, u32::MAX);
        let mut gcra = Gcra::default();
        assert_eq!(gcra.check(&slow, now), Ok(()));
        assert!(gcra.check(&slow, now).is_err());
        let fast = Rate::new(u32::MAX, Duration::ZERO, 1);
        let mut gcra = Gcra::default();
        assert_eq!(gcra.check(&fast, now), Ok(()));
        assert_eq!(gcra.check(&fast, now), Err(Duration::from_nanos(1)));
    }

    #[test]
    fn one_holder_takes_8_bytes_and_one_of_many_16() {
        assert_eq!(size_of::<Gcra>(), 8);
        assert_eq!(size_of::<Entry>(), 16);
    }

    #[test]
    fn r25_a_now_that_lies_back_is_no_second_burst() {
        let (rate, hour, start) = (handshakes(), Duration::from_secs(3600), start());
        let (mut gcra, table) = (Gcra::default(), RateTable::new(rate, start + hour));
        assert_eq!(admitted_at_once(|| gcra.check(&rate, Moment::EPOCH + hour)), 300);
        assert_eq!(admitted_at_once(|| table.check(&1, start + hour)), 300);
        for earlier in [hour - Duration::from_secs(1), Duration::ZERO] {
            assert!(gcra.check(&rate, Moment::EPOCH + earlier).is_err());
            assert!(table.check(&1, start + earlier).is_err());
        }
    }

    #[test]
    fn r18_ten_million_keys_leave_who_is_over_the_rate_over_it_and_others_unharmed() {
        let mut now = start();
        let table = RateTable::new(handshakes(), now);
        let entries = |table: &RateTable| {
            table.shards.iter().map(|shard| shard.lock().unwrap().as_flattened().len()).sum::<usize>()
        };
        assert_eq!(entries(&table), 65_536);
        for round in 0..100_u64 {
            let _ = admitted_at_once(|| table.check(&u64::MAX, now));
            for key in 0..100_000 {
                assert_eq!(table.check(&(round * 100_000 + key), now), Ok(()));
            }
            assert!(table.check(&u64::MAX, now).is_err(), "in round {round}");
            now += Duration::from_millis(50);
        }
        assert_eq!(entries(&table), 65_536);
    }

    #[test]
    fn r19_two_tables_place_the_same_keys_differently() {
        let now = start();
        let tables = [RateTable::new(handshakes(), now), RateTable::new(handshakes(), now)];
        let [one, other] =
            tables.map(|table| (0..8).map(|key| table.hasher.hash_one(key)).collect::<Vec<_>>());
        assert_ne!(one, other);
    }

    #[test]
    fn a_full_set_refuses_new_keys_rather_than_forget_one_that_is_over_the_rate() {
        let now = start();
        let table = RateTable::with_sets(Rate::new(1, Duration::from_secs(1), 2), now, 1, 1);
        for key in 0..WAYS {
            assert_eq!(admitted_at_once(|| table.check(&key, now)), 2);
        }
        assert!(table.check(&"new", now).is_err());
        assert!((0..WAYS).all(|key| table.check(&key, now).is_err()));
        assert_eq!(table.check(&"new", now + Duration::from_secs(2)), Ok(()));
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_the_burst_and_the_rate(
            (count, burst) in (1..50_u32, 1..20_u32),
            gaps_us in prop::collection::vec(0..100_000_u64, 1..200),
        ) {
            let rate = Rate::new(count, Duration::from_secs(1), burst);
            let mut gcra = Gcra::default();
            let (mut elapsed_us, mut admitted_ns) = (0, Vec::new());
            for gap_us in gaps_us {
                elapsed_us += gap_us;
                if gcra.check(&rate, Moment::EPOCH + Duration::from_micros(elapsed_us)).is_ok() {
                    admitted_ns.push(elapsed_us * 1000);
                }
            }
            prop_assert!(!exceeds(&admitted_ns, &rate));
        }

        #[test]
        fn a_client_that_conforms_is_never_refused(
            (count, burst) in (1..50_u32, 1..20_u32),
            waits in prop::collection::vec((0..20_u32, 0..1_000_000_u64), 1..100),
        ) {
            let (rate, start) = (Rate::new(count, Duration::from_secs(1), burst), start());
            let (mut gcra, table) = (Gcra::default(), RateTable::new(rate, start));
            let mut elapsed_ns = 0;
            for (events, more_ns) in waits {
                let events = events.min(burst);
                let elapsed = Duration::from_nanos(elapsed_ns);
                for _ in 0..events {
                    prop_assert_eq!(gcra.check(&rate, Moment::EPOCH + elapsed), Ok(()));
                    prop_assert_eq!(table.check(&"client", start + elapsed), Ok(()));
                }
                elapsed_ns += u64::from(events) * rate.interval_ns + more_ns;
            }
        }

        #[test]
        fn an_overfull_table_never_lets_a_key_exceed_its_rate(
            (count, burst) in (1..50_u32, 1..5_u32),
            events in prop::collection::vec((0..3 * WAYS, 0..20_000_u64), 1..600),
        ) {
            let (rate, start) = (Rate::new(count, Duration::from_secs(1), burst), start());
            let table = RateTable::with_sets(rate, start, 1, 1);
            let mut admitted_ns = vec![Vec::new(); 3 * WAYS];
            let mut elapsed_us = 0;
            for (key, gap_us) in events {
                elapsed_us += gap_us;
                if table.check(&key, start + Duration::from_micros(elapsed_us)).is_ok() {
                    admitted_ns[key].push(elapsed_us * 1000);
                }
            }
            for admitted_ns in admitted_ns {
                prop_assert!(!exceeds(&admitted_ns, &rate));
            }
        }
    }
}
