//! Values of conditions, and what is beyond doubt of them.

use std::cell::Cell;
use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::super::condition::{BEYOND_THE_END, NO_MEMBER, NO_RESULT, OTHER_TYPE};
use super::{Calculation, Comparison, Found, Literal, TextTest, Told, Untold, any};
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

    /// The member of this name, where there is one.
    pub(super) fn member(self, name: &str) -> Told<Option<Self>> {
        match self {
            Self::Part(element) if !element.is_array() => Ok(element.get(name).map(Self::of_element)),
            Self::Map(members) => Ok(members.get(name).map(Self::of_value)),
            Self::Nothing => Ok(None),
            _ => Err(Untold::Fails(OTHER_TYPE)),
        }
    }

    pub(super) fn at(self, index: Self) -> Told<Self> {
        let place = |index| usize::try_from(index).map_err(|_| Untold::Fails(BEYOND_THE_END));
        match (self, index) {
            (Self::Part(element), Self::Int(index)) if element.is_array() => {
                let element = element.elements().nth(place(index)?).map(Self::of_element);
                element.ok_or(Untold::Fails(BEYOND_THE_END))
            }
            (Self::List(elements), Self::Int(index)) => {
                elements.get(place(index)?).map(Self::of_value).ok_or(Untold::Fails(BEYOND_THE_END))
            }
            (holder, Self::Text(name)) => holder.member(name)?.ok_or(Untold::Fails(NO_MEMBER)),
            _ => Err(Untold::InDoubt),
        }
    }

    pub(super) const fn text(self) -> Told<&'v str> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Address(_) => Err(Untold::InDoubt),
            _ => Err(Untold::Fails(OTHER_TYPE)),
        }
    }

    pub(super) fn negated(self) -> Told<Self> {
        match self {
            Self::Int(number) => number.checked_neg().map(Self::Int).ok_or(Untold::InDoubt),
            Self::Double(number) => Ok(Self::Double(-number)),
            _ => Err(Untold::Fails(OTHER_TYPE)),
        }
    }

    /// Whether `test` holds on any element of a list.
    pub(super) fn any_element(self, looks_left: &Cell<u32>, test: impl Fn(Self) -> Told<bool>) -> Told<bool> {
        match self {
            Self::Part(list) if list.is_array() => {
                any(list.elements().map(Self::of_element), looks_left, test)
            }
            Self::List(list) => any(list.iter().map(Self::of_value), looks_left, test),
            Self::Part(_) | Self::Map(_) | Self::Nothing | Self::Address(_) => Err(Untold::InDoubt),
            _ => Err(Untold::Fails(OTHER_TYPE)),
        }
    }

    pub(super) fn size(self) -> Told<i64> {
        let size = match self {
            Self::Text(text) => text.chars().count(),
            Self::Part(element) => match element.kind() {
                Kind::Array(count) | Kind::Object(count) => count,
                Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => {
                    return Err(Untold::InDoubt);
                }
            },
            Self::List(elements) => elements.len(),
            Self::Map(members) => members.len(),
            Self::Nothing => 0,
            Self::Address(_) => return Err(Untold::InDoubt),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Uint(_) | Self::Double(_) => {
                return Err(Untold::Fails(OTHER_TYPE));
            }
        };
        i64::try_from(size).map_err(|_| Untold::InDoubt)
    }

    /// Whether `needle` is an element of a list, or the name of a member.
    pub(super) fn contains(self, needle: Self, looks_left: &Cell<u32>) -> Told<bool> {
        match (self, needle) {
            (Self::Part(map), needle) if !map.is_array() => {
                if let Self::Text(name) = needle {
                    Ok(map.get(name).is_some())
                } else {
                    Err(Untold::InDoubt)
                }
            }
            (Self::Map(map), Self::Text(name)) => Ok(map.contains_key(name)),
            (Self::Nothing, Self::Text(_)) => Ok(false),
            (Self::Map(_) | Self::Nothing, _) => Err(Untold::InDoubt),
            (list, needle) => list.any_element(looks_left, |element| element.equals(needle)),
        }
    }

    /// Values of two kinds are not equal, but for numbers, which are what they are worth.
    pub(super) fn equals(self, other: Self) -> Told<bool> {
        match (self, other) {
            (Self::Null, Self::Null) => Ok(true),
            (Self::Bool(one), Self::Bool(other)) => Ok(one == other),
            (Self::Text(one), Self::Text(other)) => Ok(one == other),
            (Self::Address(one), Self::Address(other)) => Ok(one == other),
            (Self::Address(address), Self::Text(text)) | (Self::Text(text), Self::Address(address)) => {
                Ok(address.to_string() == text)
            }
            (one, other) if one.is_number() && other.is_number() => {
                one.order(other).map(|order| order == Ordering::Equal)
            }
            (one, other) if one.is_plain() || other.is_plain() => Ok(false),
            _ => Err(Untold::InDoubt),
        }
    }

    pub(super) fn order(self, other: Self) -> Told<Ordering> {
        match (self, other) {
            (Self::Int(one), Self::Int(other)) => Ok(one.cmp(&other)),
            (Self::Uint(one), Self::Uint(other)) => Ok(one.cmp(&other)),
            (Self::Int(one), Self::Uint(other)) => Ok(i128::from(one).cmp(&i128::from(other))),
            (Self::Uint(one), Self::Int(other)) => Ok(i128::from(one).cmp(&i128::from(other))),
            (Self::Text(one), Self::Text(other)) => Ok(one.cmp(other)),
            (Self::Bool(one), Self::Bool(other)) => Ok(one.cmp(&other)),
            (Self::Address(_), _) | (_, Self::Address(_)) => Err(Untold::InDoubt),
            (one, other) => match (one.as_double(), other.as_double()) {
                (Some(one), Some(other)) => one.partial_cmp(&other).ok_or(Untold::InDoubt),
                _ => Err(Untold::Fails(OTHER_TYPE)),
            },
        }
    }

    /// A number as a double; where it cannot be told apart from its neighbours there, the crate does not either.
    #[expect(
        clippy::cast_precision_loss,
        reason = "conditions compare a whole number and a double as doubles"
    )]
    const fn as_double(self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(number as f64),
            Self::Uint(number) => Some(number as f64),
            Self::Double(number) => Some(number),
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
    pub(super) fn of(self, one: Found<'_>, other: Found<'_>) -> Told<bool> {
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
    pub(super) fn of<'v>(self, one: Found<'v>, other: Found<'v>) -> Told<Found<'v>> {
        match (one, other) {
            (Found::Int(one), Found::Int(other)) => {
                let result = match self {
                    Self::Add => one.checked_add(other),
                    Self::Subtract => one.checked_sub(other),
                    Self::Multiply => one.checked_mul(other),
                    Self::Divide => one.checked_div(other),
                    Self::Remainder => one.checked_rem(other),
                };
                result.map(Found::Int).ok_or(Untold::Fails(NO_RESULT))
            }
            (Found::Double(one), Found::Double(other)) => {
                let result = match self {
                    Self::Add => one + other,
                    Self::Subtract => one - other,
                    Self::Multiply => one * other,
                    Self::Divide => one / other,
                    Self::Remainder => return Err(Untold::InDoubt),
                };
                if result.is_finite() { Ok(Found::Double(result)) } else { Err(Untold::InDoubt) }
            }
            (one, other) if one.is_number() && other.is_number() => Err(Untold::InDoubt),
            (Found::Int(_) | Found::Double(_), _) => Err(Untold::Fails(OTHER_TYPE)),
            _ => Err(Untold::InDoubt),
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
