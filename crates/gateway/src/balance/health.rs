//! What checks of an application say about it: out after so many failures in a row, in again after so many successes.
//!
//! Pure (floor 2), and when the next one is due as well: the backend asks, and does as it is told here.

use std::time::Duration;

/// What the checks of one application have shown. One that has not been checked is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Health {
    is_out: bool,
    /// Checks in a row that spoke against it staying as it is.
    against: u32,
}

/// What a check has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// No connection goes there from now on.
    Out,
    /// Connections go there again.
    In,
}

impl Health {
    /// A check has ended, well or not.
    pub(crate) fn checked(&mut self, is_well: bool, failures_max: u32, successes_min: u32) -> Option<Turn> {
        if is_well != self.is_out {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let needed = if self.is_out { successes_min } else { failures_max };
        if self.against < needed {
            return None;
        }
        *self = Self { is_out: !self.is_out, against: 0 };
        Some(if self.is_out { Turn::Out } else { Turn::In })
    }
}

/// How long to wait for the first check: anywhere within `interval`, by random `bits`, so that those of many applications and many
/// gateways are spread.
pub(crate) fn first_pause(interval: Duration, bits: u64) -> Duration {
    part_of(interval, bits)
}

/// How long to wait from the beginning of one check to the beginning of the next: `interval`, give or take a tenth, by random `bits`.
pub(crate) fn next_pause(interval: Duration, bits: u64) -> Duration {
    interval * 9 / 10 + part_of(interval / 5, bits)
}

/// A part of `whole`, evenly spread over 65,536 steps.
fn part_of(whole: Duration, bits: u64) -> Duration {
    let step = u32::try_from(bits & 0xFFFF).unwrap_or(0);
    whole.saturating_mul(step) / 0x1_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_in_a_row_turn_it_and_one_of_the_other_kind_begins_anew() {
        let mut health = Health::default();
        let turns: Vec<_> = [
            (false, None),
            (false, None),
            (true, None),
            (false, None),
            (false, None),
            (false, Some(Turn::Out)),
            (false, None),
            (true, None),
            (false, None),
            (true, None),
            (true, Some(Turn::In)),
            (true, None),
            (false, None),
        ]
        .into_iter()
        .map(|(is_well, expected)| (health.checked(is_well, 3, 2), expected))
        .collect();
        for (place, (turn, expected)) in turns.iter().enumerate() {
            assert_eq!(turn, expected, "check {place}");
        }
        let mut strict = Health::default();
        assert_eq!(strict.checked(false, 1, 1), Some(Turn::Out));
        assert_eq!(strict.checked(true, 1, 1), Some(Turn::In));
    }

    #[test]
    fn checks_are_spread_in_time() {
        let interval = Duration::from_secs(10);
        assert_eq!(first_pause(interval, 0), Duration::ZERO);
        assert!(first_pause(interval, u64::MAX) < interval && first_pause(interval, 0x8000) == interval / 2);
        assert_eq!(next_pause(interval, 0), Duration::from_secs(9));
        assert_eq!(next_pause(interval, 0x8000), interval);
        assert!(next_pause(interval, 0xFFFF) < Duration::from_secs(11));
        // Long times do not overflow.
        assert!(next_pause(Duration::from_hours(1), u64::MAX) > Duration::from_hours(1));
    }
}
