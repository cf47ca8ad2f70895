//! How much of JSON is read: what RFC 8259 §9 leaves to each reader.

use super::Unseen;

/// Bounds on a text. Each holds whatever the text's size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many arrays and objects may be open at once.
    pub depth_max: usize,
    /// How many digits a number may have, those of its fraction and exponent included.
    pub number_digits_max: usize,
    /// How many values there may be in all, arrays and objects among them.
    pub values_max: u32,
    /// How many members one object may have.
    pub members_max: usize,
    /// What no string and no name may hold.
    pub refused: Vec<Unseen>,
}

impl Limits {
    pub(crate) const VALUES_MAX: u32 = 10_000;
    pub(crate) const MEMBERS_MAX: usize = 1_000;

    /// Depth and digits alone are bounded, for texts that are small themselves.
    pub(crate) const UNCOUNTED: Self = Self {
        depth_max: DEPTH_MAX,
        number_digits_max: NUMBER_DIGITS_MAX,
        values_max: u32::MAX,
        members_max: usize::MAX,
        refused: Vec::new(),
    };
}

impl Default for Limits {
    /// The defaults of docs/defaults.md.
    fn default() -> Self {
        Self { values_max: Self::VALUES_MAX, members_max: Self::MEMBERS_MAX, ..Self::UNCOUNTED }
    }
}

/// How many arrays and objects may be open at once.
pub const DEPTH_MAX: usize = 32;

/// How many digits a number may have.
pub const NUMBER_DIGITS_MAX: usize = 40;
