//! Values of conditions, and what is beyond doubt of them.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::{Calculation, Comparison, Found, Literal, TextTest, any};
use crate::json::{Element, Kind};

impl<'v> Found<'v> {
    pub(super) fn of_literal(literal: &'v Literal) -> Self {
        match literal {
            Literal::Null => Self::Null,
            Literal::Bool(holds) => Self::Bool(*holds),
            Literal::Int(number) => Self::Int(*number),
            Literal::Uint(number) => Self::Uint(*number),
            Literal::Double(number) => Self::Double(*number),
            Literal::Text(text) => Self::Text(text),
        }
    }

    pub(super) fn of_element(element: Element<'v>) -> Self {
        match element.kind() {
            Kind::Null => Self::Null,
            Kind::Bool(holds) => Self::Bool(holds),
            Kind::Number(number) => Self::of_number(number),
            Kind::String(text) => Self::Text(text),
            Kind::Array(_) | Kind::Object(_) => Self::Part(element),
        }
    }

    fn of_value(value: &'v Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(holds) => Self::Bool(*holds),
            Value::Number(number) => Self::of_number(number),
            Value::String(text) => Self::Text(text),
            Value::Array(elements) => Self::List(elements),
            Value::Object(members) => Self::Map(members),
        }
    }

    /// As `convert.rs` has it: whole numbers are `int`, those beyond its range `uint`, and all others `double`.
    fn of_number(number: &Number) -> Self {
        match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Self::Int(number),
            (None, Some(number)) => Self::Uint(number),
            (None, None) => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
        }
    }

    /// The member of this name: `Some(None)` where there is none, and `None` where there are no members at all.
    pub(super) fn member(self, name: &str) -> Option<Option<Self>> {
        match self {
            Self::Part(element) if !element.is_array() => Some(element.get(name).map(Self::of_element)),
            Self::Map(members) => Some(members.get(name).map(Self::of_value)),
            Self::Nothing => Some(None),
            _ => None,
        }
    }

    pub(super) fn at(self, index: Self) -> Option<Self> {
        match (self, index) {
            (Self::Part(element), Self::Int(index)) if element.is_array() => {
                element.elements().nth(usize::try_from(index).ok()?).map(Self::of_element)
            }
            (Self::List(elements), Self::Int(index)) => {
                elements.get(usize::try_from(index).ok()?).map(Self::of_value)
            }
            (holder, Self::Text(name)) => holder.member(name)?,
            _ => None,
        }
    }

    pub(super) const fn text(self) -> Option<&'v str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn negated(self) -> Option<Self> {
        match self {
            Self::Int(number) => number.checked_neg().map(Self::Int),
            Self::Double(number) => Some(Self::Double(-number)),
            _ => None,
        }
    }

    /// Whether `test` holds on any element of a list.
    pub(super) fn any_element(self, test: impl Fn(Self) -> Option<bool>) -> Option<bool> {
        match self {
            Self::Part(list) if list.is_array() => any(list.elements().map(Self::of_element), test),
            Self::List(list) => any(list.iter().map(Self::of_value), test),
            _ => None,
        }
    }

    pub(super) fn size(self) -> Option<i64> {
        let size = match self {
            Self::Text(text) => text.chars().count(),
            Self::Part(element) => match element.kind() {
                Kind::Array(count) | Kind::Object(count) => count,
                Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => return None,
            },
            Self::List(elements) => elements.len(),
            Self::Map(members) => members.len(),
            Self::Nothing => 0,
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Uint(_)
            | Self::Double(_)
            | Self::Address(_) => {
                return None;
            }
        };
        i64::try_from(size).ok()
    }

    /// Whether `needle` is an element of a list, or the name of a member.
    pub(super) fn contains(self, needle: Self) -> Option<bool> {
        match (self.member(needle.text().unwrap_or_default()), needle) {
            (Some(member), Self::Text(_)) => Some(member.is_some()),
            (Some(_), _) => None,
            (None, needle) => self.any_element(|element| element.equals(needle)),
        }
    }

    /// Values of two kinds are not equal, but for numbers, which are what they are worth.
    pub(super) fn equals(self, other: Self) -> Option<bool> {
        match (self, other) {
            (Self::Null, Self::Null) => Some(true),
            (Self::Bool(one), Self::Bool(other)) => Some(one == other),
            (Self::Text(one), Self::Text(other)) => Some(one == other),
            (Self::Address(address), Self::Text(text)) | (Self::Text(text), Self::Address(address)) => {
                Some(address.to_string() == text)
            }
            (one, other) if one.is_number() && other.is_number() => {
                one.order(other).map(|order| order == Ordering::Equal)
            }
            (one, other) if one.is_plain() && other.is_plain() => Some(false),
            _ => None,
        }
    }

    pub(super) fn order(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(one), Self::Int(other)) => Some(one.cmp(&other)),
            (Self::Uint(one), Self::Uint(other)) => Some(one.cmp(&other)),
            (Self::Double(one), Self::Double(other)) => one.partial_cmp(&other),
            (Self::Int(one), Self::Double(other)) => exact(one)?.partial_cmp(&other),
            (Self::Double(one), Self::Int(other)) => one.partial_cmp(&exact(other)?),
            (Self::Text(one), Self::Text(other)) => Some(one.cmp(other)),
            _ => None,
        }
    }

    const fn is_number(self) -> bool {
        matches!(self, Self::Int(_) | Self::Uint(_) | Self::Double(_))
    }

    /// Neither a list nor a map, which are of one kind wherever they come from.
    const fn is_plain(self) -> bool {
        self.is_number() || matches!(self, Self::Null | Self::Bool(_) | Self::Text(_) | Self::Address(_))
    }
}

impl Comparison {
    pub(super) fn of(self, one: Found<'_>, other: Found<'_>) -> Option<bool> {
        match self {
            Self::Equal => one.equals(other),
            Self::NotEqual => one.equals(other).map(|is_equal| !is_equal),
            Self::Less => one.order(other).map(Ordering::is_lt),
            Self::LessOrEqual => one.order(other).map(Ordering::is_le),
            Self::Greater => one.order(other).map(Ordering::is_gt),
            Self::GreaterOrEqual => one.order(other).map(Ordering::is_ge),
        }
    }
}

impl Calculation {
    /// What comes out, if it has a result within its type.
    pub(super) fn of<'v>(self, one: Found<'v>, other: Found<'v>) -> Option<Found<'v>> {
        match (one, other) {
            (Found::Int(one), Found::Int(other)) => match self {
                Self::Add => one.checked_add(other),
                Self::Subtract => one.checked_sub(other),
                Self::Multiply => one.checked_mul(other),
                Self::Divide => one.checked_div(other),
                Self::Remainder => one.checked_rem(other),
            }
            .map(Found::Int),
            (Found::Double(one), Found::Double(other)) => {
                let result = match self {
                    Self::Add => one + other,
                    Self::Subtract => one - other,
                    Self::Multiply => one * other,
                    Self::Divide => one / other,
                    Self::Remainder => return None,
                };
                result.is_finite().then_some(Found::Double(result))
            }
            _ => None,
        }
    }
}

impl TextTest {
    pub(super) fn of(self, text: &str, part: &str) -> bool {
        match self {
            Self::Contains => text.contains(part),
            Self::StartsWith => text.starts_with(part),
            Self::EndsWith => text.ends_with(part),
        }
    }
}

/// A whole number that a double holds as it is.
fn exact(number: i64) -> Option<f64> {
    let small = i32::try_from(number).ok()?;
    Some(f64::from(small))
}
