//! The only reader of time.
//!
//! Durations are measured on the monotonic clock, which tests can stop and move (`tokio::time::pause`); wall-clock time
//! is for tokens and records only, and can be anchored to the monotonic clock so that both move together.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::Add;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
pub use tokio::time::Instant;

/// Reads time; handed to whatever needs it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock {
    wall: Wall,
}

#[derive(Clone, Debug)]
enum Wall {
    System,
    Anchored { unix: UnixTime, at: Instant },
    Set(Arc<AtomicU64>),
}

impl Clock {
    /// The system's clocks.
    #[must_use]
    pub const fn system() -> Self {
        Self { wall: Wall::System }
    }

    /// A clock whose wall time is `unix` now and moves with the monotonic clock.
    #[must_use]
    pub fn anchored(unix: UnixTime) -> Self {
        Self { wall: Wall::Anchored { unix, at: monotonic() } }
    }

    /// A clock whose wall time is what is in `millis`, milliseconds since 1970: one that an operator sets, or that jumps.
    #[must_use]
    pub const fn set_by(millis: Arc<AtomicU64>) -> Self {
        Self { wall: Wall::Set(millis) }
    }

    /// Monotonic time.
    #[must_use]
    pub fn now(&self) -> Instant {
        monotonic()
    }

    /// Wall-clock time.
    #[must_use]
    pub fn unix_now(&self) -> UnixTime {
        match &self.wall {
            Wall::System => system(),
            Wall::Set(millis) => UnixTime::from_millis(millis.load(Ordering::Relaxed)),
            Wall::Anchored { unix, at } => unix.plus(monotonic().duration_since(*at)),
        }
    }
}

/// A moment of monotonic time, as whole nanoseconds after an epoch that all who compare such moments share: 8 bytes, also
/// where there may be none, and half of what an [`Instant`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(NonZeroU64);

impl Moment {
    /// The epoch itself.
    #[cfg(test)]
    pub(crate) const EPOCH: Self = Self(NonZeroU64::MIN);

    /// What `at` is after `epoch`; the epoch itself where it is not later.
    pub(crate) fn after(epoch: Instant, at: Instant) -> Self {
        Self::at(at.saturating_duration_since(epoch))
    }

    /// The moment this long after the epoch; the last one, in 584 years, where that is too far.
    fn at(offset: Duration) -> Self {
        let offset_ns = u64::try_from(offset.as_nanos()).unwrap_or(u64::MAX);
        Self(NonZeroU64::MIN.saturating_add(offset_ns))
    }

    /// How long after the epoch.
    pub(crate) fn since_epoch(self) -> Duration {
        Duration::from_nanos(self.0.get() - 1)
    }

    /// How long from `earlier` until this moment; zero if it is not later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// Stops at the last moment there is.
    fn add(self, duration: Duration) -> Self {
        Self::at(self.since_epoch().saturating_add(duration))
    }
}

/// Wall-clock time, in milliseconds since 1970-01-01 00:00 UTC.
///
/// Stored as that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The last second that RFC 3339 can write.
    pub const LAST_OF_RFC_3339: Self = Self::from_seconds(253_402_300_799);

    /// `millis` milliseconds after the epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// `seconds` seconds after the epoch; the last representable moment where that is too far.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// The moment that `text` writes as RFC 3339 §5.6 has it, in whatever time zone; `None` where it is no such moment, or
    /// one before the epoch. Less than a millisecond is left out; a leap second is the one before it.
    #[must_use]
    pub fn from_rfc_3339(text: &str) -> Option<Self> {
        let field = |range: std::ops::Range<usize>| {
            let digits = text.get(range)?;
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok())?
        };
        let is = |at: usize, marks: &[u8]| text.as_bytes().get(at).is_some_and(|byte| marks.contains(byte));
        if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt") && is(13, b":") && is(16, b":")) {
            return None;
        }
        let (year, month, day) = (field(0..4)?, field(5..7)?, field(8..10)?);
        let (hour, minute, second) = (field(11..13)?, field(14..16)?, field(17..19)?);
        let days = days_from_civil(year, month, day)?;
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let rest = text.get(19..)?;
        let (millis, zone) = match rest.strip_prefix('.') {
            None => (0, rest),
            Some(fraction) => {
                let count = fraction.bytes().take_while(u8::is_ascii_digit).count();
                let thousandths: String =
                    fraction.get(..count)?.chars().chain("00".chars()).take(3).collect();
                (thousandths.parse().ok().filter(|_| count > 0)?, fraction.get(count..)?)
            }
        };
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second.min(59);
        let local = Self::from_seconds(seconds).plus(Duration::from_millis(millis));
        if matches!(zone, "Z" | "z") {
            return Some(local);
        }
        let start = text.len().checked_sub(6)?;
        let (hours, minutes) = (field(start + 1..start + 3)?, field(start + 4..start + 6)?);
        if zone.len() != 6 || !is(start + 3, b":") || hours > 23 || minutes > 59 {
            return None;
        }
        let offset_ms = (hours * 60 + minutes) * 60_000;
        match zone.as_bytes().first() {
            Some(b'+') => local.0.checked_sub(offset_ms).map(Self),
            Some(b'-') => Some(Self(local.0.saturating_add(offset_ms))),
            Some(_) | None => None,
        }
    }

    /// Whole milliseconds since the epoch.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// The moment `duration` later, or the last representable one.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long from `earlier` until this moment; zero if it is not later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for UnixTime {
    /// RFC 3339 in UTC, to the second: `2026-11-22T08:44:14Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.seconds();
        let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// The proleptic Gregorian date of a day since the epoch. Eras of 400 years begin on 1 March, so that the leap day is
/// the last of its year.
const fn civil_from_days(days_since_epoch: u64) -> (u64, u64, u64) {
    const DAYS_FROM_MARCH_YEAR_ZERO: u64 = 719_468;
    const DAYS_PER_ERA: u64 = 146_097;
    let days = days_since_epoch.saturating_add(DAYS_FROM_MARCH_YEAR_ZERO);
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// The day since the epoch of a proleptic Gregorian date; `None` where there is no such date, or it is before the epoch.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days_of_month = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => return None,
    };
    if year < 1970 || !(1..=days_of_month).contains(&day) {
        return None;
    }
    // The inverse of `civil_from_days`: years begin on 1 March.
    let (year, month_from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
fn monotonic() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn system() -> UnixTime {
    // A clock set before 1970 reads as 1970: every token is then not yet valid, which is the safe side.
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime(0).plus(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_small_and_never_overflow() {
        let epoch = Clock::system().now();
        let second = Duration::from_secs(1);
        let moment = Moment::after(epoch, epoch + second);
        assert_eq!((moment.since_epoch(), (moment + second).since(moment)), (second, second));
        assert_eq!(
            (moment.since(moment + second), Moment::after(epoch + second, epoch).since_epoch()),
            Default::default()
        );
        let last = moment + Duration::MAX;
        assert!(last > moment && last + second == last);
        assert_eq!(size_of::<Option<Moment>>(), 8);
    }

    #[test]
    fn unix_times_print_as_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_793_349_854, "2026-10-30T08:44:14Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(UnixTime::from_seconds(seconds).to_string(), text);
        }
    }

    #[test]
    fn rfc_3339_is_read_in_any_zone_and_nothing_else_is() {
        for seconds in [0, 951_782_400, 1_793_349_854, 4_107_542_399, 4_107_542_400, 253_402_300_799] {
            let time = UnixTime::from_seconds(seconds);
            assert_eq!(UnixTime::from_rfc_3339(&time.to_string()), Some(time));
        }
        for (text, millis) in [
            ("2026-10-30t08:44:14z", 1_793_349_854_000),
            ("2026-10-30T08:44:14.5Z", 1_793_349_854_500),
            ("2026-10-30T08:44:14.0079Z", 1_793_349_854_007),
            ("2026-10-30T10:44:14+02:00", 1_793_349_854_000),
            ("2026-10-29T23:14:14.25-09:30", 1_793_349_854_250),
            ("1990-12-31T23:59:60Z", 662_687_999_000),
        ] {
            assert_eq!(UnixTime::from_rfc_3339(text), Some(UnixTime::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "2026-10-30",
            "2026-10-30 08:44:14Z",
            "2026-10-30T08:44:14",
            "2026-10-30T08:44:14.Z",
            "2026-10-30T08:44:14Zz",
            "2026-10-30T08:44:14+2:00",
            "2026-10-30T08:44:14+02:00Z",
            "2026-10-30T08:44:14*02:00",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-10-00T00:00:00Z",
            "2026-10-30T24:00:00Z",
            "+026-10-30T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "2026-10-30T08:44:1üZ",
        ] {
            assert_eq!(UnixTime::from_rfc_3339(text), None, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_anchored_clock_moves_with_virtual_time() {
        let clock = Clock::anchored(UnixTime::from_seconds(1000));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.unix_now(), UnixTime::from_seconds(1005));
    }
}
