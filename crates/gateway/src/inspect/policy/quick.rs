//! The short way to a condition's answer: worked out where the message lies, for what conditions are mostly made of.
//!
//! It says that a condition holds or does not where that is beyond doubt, and else nothing: whatever is an error, or of another type than
//! was meant, or is not known here, is for the `cel` crate, whose word is the last. So there is nothing that it could let pass. No loop
//! is within another, and expressions lie as deep in each other as `scope.rs` allows; what it does not know is told by `read.rs`
//! when the configuration is read.

mod read;
mod value;

use std::net::IpAddr;

use regex::Regex;
use serde_json::{Map, Value};

use super::super::{Context, Inspected};
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

impl<'v> Known<'v> {
    pub(super) fn new(message: &'v Inspected<'_>, context: &'v Context<'v>) -> Self {
        let message = message.document.as_ref().map(|document| Found::of_element(document.root()));
        Self { message, context, element: None }
    }
}

impl Step {
    /// Whether the condition holds, if that is beyond doubt.
    pub(super) fn holds(&self, known: &Known<'_>) -> Option<bool> {
        match self.value(known)? {
            Found::Bool(holds) => Some(holds),
            _ => None,
        }
    }

    fn value<'v>(&'v self, known: &Known<'v>) -> Option<Found<'v>> {
        match self {
            Self::Literal(literal) => Some(Found::of_literal(literal)),
            Self::Direction => Some(Found::Text(known.context.toward.from_whom())),
            Self::ClientAddress => Some(Found::Address(known.context.client.ip())),
            Self::Message => known.message,
            Self::Claims => Some(
                known
                    .context
                    .principal
                    .map_or(Found::Nothing, |principal| Found::Map(principal.claims.object())),
            ),
            Self::Subject => known.context.principal.map(|principal| Found::Text(&principal.subject)),
            Self::Element => known.element,
            Self::Member(holder, name) => holder.value(known)?.member(name)?,
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
    fn holds(&self, known: &Known<'_>) -> Option<bool> {
        match self {
            Self::Not(step) => step.holds(known).map(|holds| !holds),
            Self::And(pair) => Some(pair[0].holds(known)? && pair[1].holds(known)?),
            Self::Or(pair) => Some(pair[0].holds(known)? || pair[1].holds(known)?),
            Self::Has(holder, name) => holder.value(known)?.member(name).map(|member| member.is_some()),
            Self::HasSubject => Some(known.context.principal.is_some()),
            Self::HasSession => Some(known.context.session.is_some()),
            Self::Compare(comparison, pair) => comparison.of(pair[0].value(known)?, pair[1].value(known)?),
            Self::Text(test, pair) => {
                Some(test.of(pair[0].value(known)?.text()?, pair[1].value(known)?.text()?))
            }
            Self::Matches(step, pattern) => Some(pattern.is_match(step.value(known)?.text()?)),
            Self::InNetwork(step, network) => match step.value(known)? {
                Found::Address(address) => Some(network.contains(address)),
                other => other.text()?.parse().ok().map(|address| network.contains(address)),
            },
            Self::InList(step, list) => {
                let needle = step.value(known)?;
                any(list.iter().map(Found::of_literal), |element| element.equals(needle))
            }
            Self::In(pair) => pair[1].value(known)?.contains(pair[0].value(known)?),
            Self::Loop(until, parts) => {
                let settled = parts[0].value(known)?.any_element(|element| {
                    let within = Known { element: Some(element), ..*known };
                    parts[1].holds(&within).map(|holds| holds == *until)
                })?;
                Some(settled == *until)
            }
        }
    }
}

/// Whether `test` holds on any of them; nothing is asked beyond the first on which it does, or on which it cannot be told.
fn any<T>(mut elements: impl Iterator<Item = T>, test: impl Fn(T) -> Option<bool>) -> Option<bool> {
    elements
        .find_map(|element| match test(element) {
            Some(false) => None,
            settled => Some(settled),
        })
        .unwrap_or(Some(false))
}

#[cfg(test)]
mod tests;
