//! The short way to a condition's answer: worked out where the message lies, for what conditions are mostly made of.
//!
//! It says that a condition holds, does not, or fails where that is beyond doubt, and else nothing: what is in doubt, or not known here,
//! is for the `cel` crate, whose word is the last. No loop is within another, and expressions lie as deep in each other as
//! `scope.rs` allows; what it does not know is told by `read.rs` when the configuration is read. A failure is told here, too, where
//! messages could bring it about at will: the crate would take long to come to the same.

mod read;
mod value;

use std::cell::Cell;
use std::net::IpAddr;

use regex::Regex;
use serde_json::{Map, Value};

use super::super::{Context, Inspected};
use super::condition::{NO_MEMBER, NOT_WORKED_OUT, TOO_LONG};
use crate::json::Element;
use crate::network::Network;
pub(super) use read::read;

/// What is worked out.
#[derive(Debug)]
pub(super) enum Step {
    Literal(Literal),
    Direction,
    ClientAddress,
    Message,
    Claims,
    /// `session.subject`
    Subject,
    /// What the loop around this place is at.
    Element,
    Member(Box<Step>, Box<str>),
    Index(Box<[Step; 2]>),
    Choice(Box<[Step; 3]>),
    Calculate(Calculation, Box<[Step; 2]>),
    Negate(Box<Step>),
    Size(Box<Step>),
    Test(Test),
}

/// What is true or false.
#[derive(Debug)]
pub(super) enum Test {
    Not(Box<Step>),
    And(Box<[Step; 2]>),
    Or(Box<[Step; 2]>),
    Has(Box<Step>, Box<str>),
    /// `has(session.subject)`
    HasSubject,
    /// `has(session.id)`
    HasSession,
    Compare(Comparison, Box<[Step; 2]>),
    Text(TextTest, Box<[Step; 2]>),
    Matches(Box<Step>, Regex),
    InNetwork(Box<Step>, Network),
    InList(Box<Step>, Vec<Literal>),
    In(Box<[Step; 2]>),
    /// `exists()` where true, `all()` where false: the first element for which the condition is that settles it.
    Loop(bool, Box<[Step; 2]>),
}

/// What stands in the condition itself.
#[derive(Debug)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Box<str>),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Calculation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum TextTest {
    Contains,
    StartsWith,
    EndsWith,
}

/// What is known of one message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'v> {
    message: Option<Found<'v>>,
    context: &'v Context<'v>,
    /// What the loop is at.
    element: Option<Found<'v>>,
    /// How many elements the condition may still look at.
    looks_left: &'v Cell<u32>,
}

/// A value, and nothing of it copied.
#[derive(Clone, Copy, Debug)]
enum Found<'v> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    /// Finite.
    Double(f64),
    Text(&'v str),
    Address(IpAddr),
    /// An array or an object of the message.
    Part(Element<'v>),
    /// An array of the claims.
    List(&'v [Value]),
    /// An object of the claims, or all of them.
    Map(&'v Map<String, Value>),
    /// The claims of whom nobody knows.
    Nothing,
}

/// What is told, or why nothing is.
type Told<T> = Result<T, Untold>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untold {
    /// The crate is to be asked.
    InDoubt,
    /// It fails, with these words.
    Fails(&'static str),
}

impl<'v> Known<'v> {
    /// For one condition after another; `looks_left` is counted down anew for each.
    pub(super) fn new(
        message: &'v Inspected<'_>,
        context: &'v Context<'v>,
        looks_left: &'v Cell<u32>,
    ) -> Self {
        let message = message.document.as_ref().map(|document| Found::of_element(document.root()));
        Self { message, context, element: None, looks_left }
    }

    /// Another condition is asked.
    pub(super) fn begin(&self) {
        self.looks_left.set(LOOKS_MAX);
    }
}

impl Step {
    /// Whether the condition holds, or how it fails, if that is beyond doubt.
    pub(super) fn holds(&self, known: &Known<'_>) -> Told<bool> {
        match self.value(known)? {
            Found::Bool(holds) => Ok(holds),
            _ => Err(Untold::InDoubt),
        }
    }

    fn value<'v>(&'v self, known: &Known<'v>) -> Told<Found<'v>> {
        match self {
            Self::Literal(literal) => Ok(Found::of_literal(literal)),
            Self::Direction => Ok(Found::Text(known.context.toward.from_whom())),
            Self::ClientAddress => Ok(Found::Address(known.context.client.ip())),
            Self::Message => known.message.ok_or(Untold::InDoubt),
            Self::Claims => {
                let claims = known.context.principal.map(|principal| Found::Map(principal.claims.object()));
                Ok(claims.unwrap_or(Found::Nothing))
            }
            Self::Subject => {
                let subject = known.context.principal.map(|principal| Found::Text(&principal.subject));
                subject.ok_or(Untold::Fails(NO_MEMBER))
            }
            Self::Element => known.element.ok_or(Untold::InDoubt),
            Self::Member(holder, name) => holder.value(known)?.member(name)?.ok_or(Untold::Fails(NO_MEMBER)),
            Self::Index(pair) => pair[0].value(known)?.at(pair[1].value(known)?),
            Self::Choice(parts) => {
                let chosen = if parts[0].holds(known)? { &parts[1] } else { &parts[2] };
                chosen.value(known)
            }
            Self::Calculate(calculation, pair) => {
                calculation.of(pair[0].value(known)?, pair[1].value(known)?)
            }
            Self::Negate(step) => step.value(known)?.negated(),
            Self::Size(step) => step.value(known)?.size().map(Found::Int),
            Self::Test(test) => test.holds(known).map(Found::Bool),
        }
    }
}

impl Test {
    fn holds(&self, known: &Known<'_>) -> Told<bool> {
        match self {
            Self::Not(step) => step.holds(known).map(|holds| !holds),
            Self::And(pair) => either(false, pair, known),
            Self::Or(pair) => either(true, pair, known),
            Self::Has(holder, name) => holder.value(known)?.member(name).map(|member| member.is_some()),
            Self::HasSubject => Ok(known.context.principal.is_some()),
            Self::HasSession => Ok(known.context.session.is_some()),
            Self::Compare(comparison, pair) => comparison.of(pair[0].value(known)?, pair[1].value(known)?),
            Self::Text(test, pair) => {
                // Arguments are worked out before what they are asked of.
                let part = pair[1].value(known)?;
                Ok(test.of(pair[0].value(known)?.text()?, part.text()?))
            }
            Self::Matches(step, pattern) => Ok(pattern.is_match(step.value(known)?.text()?)),
            Self::InNetwork(step, network) => match step.value(known)? {
                Found::Address(address) => Ok(network.contains(address)),
                other => {
                    let address = other.text()?.parse().map_err(|_| Untold::Fails(NOT_WORKED_OUT))?;
                    Ok(network.contains(address))
                }
            },
            Self::InList(step, list) => {
                let needle = step.value(known)?;
                any(list.iter().map(Found::of_literal), known.looks_left, |element| element.equals(needle))
            }
            Self::In(pair) => {
                let needle = pair[0].value(known)?;
                pair[1].value(known)?.contains(needle, known.looks_left)
            }
            Self::Loop(until, parts) => {
                let settled = parts[0].value(known)?.any_element(known.looks_left, |element| {
                    let within = Known { element: Some(element), ..*known };
                    parts[1].holds(&within).map(|holds| holds == *until)
                })?;
                Ok(settled == *until)
            }
        }
    }
}

/// `&&` and `||`: the value that settles it on either side does, whatever the other is.
fn either(settles: bool, pair: &[Step; 2], known: &Known<'_>) -> Told<bool> {
    let one = pair[0].holds(known);
    if one == Ok(settles) || one == Err(Untold::InDoubt) {
        return one;
    }
    match (one, pair[1].holds(known)) {
        (Err(failure), Ok(other)) if other != settles => Err(failure),
        (_, other) => other,
    }
}

/// Whether `test` holds on any of them; nothing is asked beyond the first on which it does, or is in doubt. A failure counts where it holds on none.
///
/// A list of the message's within which each element is looked for among many of the claims is a product that nobody waits for.
fn any<T>(
    elements: impl Iterator<Item = T>,
    looks_left: &Cell<u32>,
    test: impl Fn(T) -> Told<bool>,
) -> Told<bool> {
    let mut failed = Ok(false);
    for element in elements {
        looks_left.set(looks_left.get().checked_sub(1).ok_or(Untold::Fails(TOO_LONG))?);
        match test(element) {
            Ok(false) => {}
            Err(Untold::Fails(words)) if failed.is_ok() => failed = Err(Untold::Fails(words)),
            Err(Untold::Fails(_)) => {}
            settled @ (Ok(true) | Err(Untold::InDoubt)) => return settled,
        }
    }
    failed
}

/// Elements that one condition looks at, of the message, the claims and the rule: some 2 ms.
const LOOKS_MAX: u32 = 400_000;

#[cfg(test)]
mod tests;
