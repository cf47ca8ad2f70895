//! Reads the settings that are numbers, and holds each against the bounds that `defaults.rs` has for it.
//!
//! What is wrong is reported and then read as if it were left out; a configuration with a problem never takes effect.

use std::time::Duration;

use toml::de::DeValue;

use super::defaults::Amount;
use super::problem::ProblemKind;
use super::read::{Context, Table, Value};
use super::units::{AmountError, Unit};

impl Table<'_> {
    /// The amount that is written, or its default; `None` is unlimited, or left to the machine.
    pub(super) fn amount(&mut self, context: &mut Context<'_>, setting: &Amount) -> Option<u64> {
        match self.take(setting.name()) {
            None => setting.default,
            Some(value) => match value.amount(context, setting) {
                Some(Written::Amount(amount)) => Some(amount),
                Some(Written::Unlimited) => None,
                None => setting.default,
            },
        }
    }

    /// An amount that is never unlimited.
    pub(super) fn bounded(&mut self, context: &mut Context<'_>, setting: &Amount) -> u64 {
        self.amount(context, setting).unwrap_or(setting.most)
    }

    /// A time that may be unlimited.
    pub(super) fn patience(&mut self, context: &mut Context<'_>, setting: &Amount) -> Option<Duration> {
        self.amount(context, setting).map(Duration::from_millis)
    }

    /// A time that is never unlimited.
    pub(super) fn deadline(&mut self, context: &mut Context<'_>, setting: &Amount) -> Duration {
        Duration::from_millis(self.bounded(context, setting))
    }

    /// A number that may be unlimited; its bounds lie within 32 bits.
    pub(super) fn count(&mut self, context: &mut Context<'_>, setting: &Amount) -> Option<u32> {
        self.amount(context, setting).map(|count| u32::try_from(count).unwrap_or(u32::MAX))
    }
}

impl Value<'_> {
    /// This value as a count that is never unlimited; `None` where it is not one, which has been reported.
    pub(super) fn count_of(&self, context: &mut Context<'_>, setting: &Amount) -> Option<u32> {
        match self.amount(context, setting)? {
            Written::Amount(count) => Some(u32::try_from(count).unwrap_or(u32::MAX)),
            Written::Unlimited => None,
        }
    }
}

/// What a configuration says about an amount.
enum Written {
    Amount(u64),
    Unlimited,
}

impl Value<'_> {
    fn amount(&self, context: &mut Context<'_>, setting: &Amount) -> Option<Written> {
        let written = match (self.value, setting.unit) {
            (DeValue::String(_), _) => {
                let text = self.text(context)?;
                if text == UNLIMITED {
                    return self.unlimited(context, setting);
                }
                // Numbers are written without quotes; those from the environment can only come as strings.
                if setting.unit == Unit::Count && !context.has_variable(&self.place) {
                    return self.wrong_type(context, &allowed(setting));
                }
                setting.unit.parse(&text)
            }
            (DeValue::Integer(integer), Unit::Count) => integer_amount(integer.as_str(), integer.radix()),
            (DeValue::Integer(_), Unit::Milliseconds | Unit::Bytes) => Err(AmountError::NoUnit),
            _ => return self.wrong_type(context, &allowed(setting)),
        };
        match written {
            Ok(amount) if amount < setting.least => self.refuse(context, setting, "is too little"),
            Ok(amount) if amount > setting.most => self.refuse(context, setting, "is too much"),
            Ok(amount) => Some(Written::Amount(amount)),
            Err(error) => self.refuse(context, setting, &error.to_string()),
        }
    }

    fn unlimited(&self, context: &mut Context<'_>, setting: &Amount) -> Option<Written> {
        if setting.unlimited_allowed {
            return Some(Written::Unlimited);
        }
        self.refuse(context, setting, "cannot be unlimited")
    }

    fn refuse(&self, context: &mut Context<'_>, setting: &Amount, wrong: &str) -> Option<Written> {
        context.report(&self.place, ProblemKind::NotAllowed, wrong, &format!("write {}", allowed(setting)));
        None
    }
}

/// What may be written for `setting`.
fn allowed(setting: &Amount) -> String {
    let (least, most) = (setting.render(setting.least), setting.render(setting.most));
    let unlimited = if setting.unlimited_allowed { ", or \"unlimited\"" } else { "" };
    format!("{}, from {least} to {most}{unlimited}", setting.unit.describe())
}

/// A TOML integer; what is negative is less than any bound.
fn integer_amount(digits: &str, radix: u32) -> Result<u64, AmountError> {
    if digits.starts_with('-') {
        return Err(AmountError::Negative);
    }
    u64::from_str_radix(digits, radix).map_err(|_| AmountError::TooLarge)
}

/// The word that lifts a limit.
const UNLIMITED: &str = "unlimited";
