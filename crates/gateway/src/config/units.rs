//! Amounts as people write them, `30s` and `64KiB`, to whole numbers and back.
//!
//! Never guesses a unit, rounds or overflows: what is not exactly an amount is refused. Reads nothing itself;
//! `amount.rs` hands it strings and prints what it renders.

use std::fmt;

/// What an amount counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Time, in milliseconds.
    Milliseconds,
    /// Size, in bytes.
    Bytes,
    /// Anything else; written as a TOML integer.
    Count,
}

impl Unit {
    /// The amount that `text` writes in this unit.
    pub(super) fn parse(self, text: &str) -> Result<u64, AmountError> {
        let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, suffix) = text.split_at(digits_end);
        if digits.is_empty() {
            return Err(AmountError::NotAnAmount);
        }
        let Some((_, factor)) = self.suffixes().iter().find(|(name, _)| *name == suffix) else {
            return Err(match (self, suffix) {
                (Self::Milliseconds | Self::Bytes, "") => AmountError::NoUnit,
                (Self::Bytes, "KB" | "kB" | "MB" | "GB" | "TB" | "K" | "M" | "G" | "T") => {
                    AmountError::DecimalUnit
                }
                (Self::Milliseconds | Self::Bytes | Self::Count, _) => AmountError::NotAnAmount,
            });
        };
        // A string of ASCII digits fails to parse only where it is too large.
        let number: u64 = digits.parse().map_err(|_| AmountError::TooLarge)?;
        number.checked_mul(*factor).ok_or(AmountError::TooLarge)
    }

    /// `amount` as a configuration would write it, in the largest unit that says it exactly.
    pub(super) fn render(self, amount: u64) -> Rendered {
        let exact = self.suffixes().iter().rev().find(|(_, factor)| amount.is_multiple_of(*factor));
        let (suffix, factor) = match exact {
            Some(exact) if amount > 0 => *exact,
            Some(_) | None => self.zero_suffix(),
        };
        Rendered { number: amount / factor, suffix }
    }

    /// What an amount in this unit is called, with examples.
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::Milliseconds => "a duration such as \"300ms\", \"30s\", \"5m\", \"12h\" or \"1d\"",
            Self::Bytes => "a size such as \"10B\", \"64KiB\", \"1MiB\" or \"1GiB\"",
            Self::Count => "a whole number",
        }
    }

    /// The suffixes of this unit, the smallest first, with what they multiply by.
    const fn suffixes(self) -> &'static [(&'static str, u64)] {
        match self {
            Self::Milliseconds => {
                &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)]
            }
            Self::Bytes => {
                &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)]
            }
            Self::Count => &[("", 1)],
        }
    }

    /// How nothing of this unit is written.
    const fn zero_suffix(self) -> (&'static str, u64) {
        match self {
            Self::Milliseconds => ("s", 1_000),
            Self::Bytes => ("B", 1),
            Self::Count => ("", 1),
        }
    }
}

/// Why a string is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AmountError {
    /// Not a whole number followed by a unit.
    #[error("is not a whole number with a unit")]
    NotAnAmount,
    /// A number alone.
    #[error("has no unit")]
    NoUnit,
    /// A unit of 1000 bytes, or one that leaves open which.
    #[error("has a unit of which nobody knows whether it is 1000 or 1024 bytes")]
    DecimalUnit,
    /// Less than nothing.
    #[error("is negative")]
    Negative,
    /// More than 64 bits hold.
    #[error("is far too large")]
    TooLarge,
}

/// An amount as a configuration writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rendered {
    number: u64,
    suffix: &'static str,
}

impl fmt::Display for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, self.suffix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("300ms", 300),
            ("30s", 30_000),
            ("5m", 300_000),
            ("12h", 43_200_000),
            ("24h", 86_400_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(Unit::Milliseconds.parse(text), Ok(milliseconds), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_in_every_unit() {
        for (text, bytes) in
            [("10B", 10), ("64KiB", 65_536), ("1MiB", 1 << 20), ("1GiB", 1 << 30), ("1TiB", 1 << 40)]
        {
            assert_eq!(Unit::Bytes.parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_exactly_an_amount_is_refused() {
        for text in ["", "s", "-1s", "+1s", "1.5s", " 1s", "1s ", "1 s", "1S", "1h30m", "٣s", "1sec", "0x1s"]
        {
            assert_eq!(Unit::Milliseconds.parse(text), Err(AmountError::NotAnAmount), "{text}");
        }
        assert_eq!(Unit::Milliseconds.parse("30"), Err(AmountError::NoUnit));
        assert_eq!(Unit::Bytes.parse("30"), Err(AmountError::NoUnit));
        assert_eq!(Unit::Bytes.parse("1MB"), Err(AmountError::DecimalUnit));
        assert_eq!(Unit::Count.parse("1s"), Err(AmountError::NotAnAmount));
    }

    #[test]
    fn amounts_too_large_for_64_bits_are_refused_without_overflow() {
        assert_eq!(Unit::Milliseconds.parse("18446744073709551615d"), Err(AmountError::TooLarge));
        assert_eq!(Unit::Bytes.parse("99999999999999999999999999B"), Err(AmountError::TooLarge));
        assert_eq!(Unit::Count.parse("18446744073709551615"), Ok(u64::MAX));
    }

    #[test]
    fn amounts_are_rendered_in_the_largest_exact_unit() {
        assert_eq!(Unit::Milliseconds.render(90_000).to_string(), "90s");
        assert_eq!(Unit::Milliseconds.render(86_400_000).to_string(), "1d");
        assert_eq!(Unit::Milliseconds.render(0).to_string(), "0s");
        assert_eq!(Unit::Bytes.render(1 << 20).to_string(), "1MiB");
        assert_eq!(Unit::Bytes.render(1025).to_string(), "1025B");
        assert_eq!(Unit::Count.render(1000).to_string(), "1000");
    }

    proptest::proptest! {
        #[test]
        fn rendered_amounts_read_back_as_themselves(amount: u64) {
            for unit in [Unit::Milliseconds, Unit::Bytes, Unit::Count] {
                proptest::prop_assert_eq!(unit.parse(&unit.render(amount).to_string()), Ok(amount));
            }
        }

        #[test]
        fn arbitrary_text_is_read_or_refused(text: String) {
            let _ = Unit::Milliseconds.parse(&text);
            let _ = Unit::Bytes.parse(&text);
        }
    }
}
