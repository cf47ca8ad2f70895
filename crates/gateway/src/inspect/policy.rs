//! Rules of the operator's on messages: each a condition in the Common Expression Language, and what becomes of a message on which it
//! holds.
//!
//! Pure (floor 2). Conditions are compiled where the configuration is read, and bounded there (`condition.rs`): what a message
//! can make them cost grows with its length and no faster. A condition that fails, or is neither true nor false, refuses the
//! message: it never lets one pass. No part of a message is in what is said of one.

mod condition;
mod convert;
mod quick;
mod scope;

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use super::{Consequence, Context, Inspected, Refusal};
use crate::reason::Reason;
use condition::{Condition, Language, holds};
use convert::Facts;
use quick::Known;

/// The rules of one direction, in their order.
#[derive(Clone)]
pub struct Policy {
    compiled: Arc<Compiled>,
    /// Whether conditions are asked the short way first.
    is_quick: bool,
}

struct Compiled {
    language: Language,
    rules: Vec<(Rule, Condition)>,
}

/// One rule, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it is called in records, metrics and notices.
    pub name: Arc<str>,
    /// The condition, in CEL.
    pub when: String,
    /// What becomes of a message on which it holds.
    pub then: Action,
    /// It is looked at and counted, and changes nothing.
    pub is_shadow: bool,
}

/// What becomes of a message on which a rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is refused, as the direction's `on_refusal` says.
    Refuse,
    /// It is refused, and the connection ends.
    Close,
    /// It does not go on, and nobody is told.
    Drop,
    /// It goes on, and there is a record of it.
    Log,
}

/// Why a rule cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFlaw {
    /// Its place in the list.
    pub index: usize,
    /// What is wrong with it.
    pub wrong: String,
    /// What to do about it.
    pub advice: &'static str,
}

/// A rule held on a message that goes on, or would not have if the rule were in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The rule's name.
    pub rule: Arc<str>,
    /// What came of it.
    pub effect: Effect,
}

/// What a rule brought about, as metrics and records name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The message was refused.
    Refused,
    /// The message was refused, and the connection ended.
    Closed,
    /// The message was dropped.
    Dropped,
    /// The message went on, and a record says so.
    Logged,
    /// The rule is in shadow, and would have done what it says.
    Shadowed,
    /// The condition could not be told, and the message was refused.
    Failed,
    /// The condition could not be told, and the rule is in shadow.
    ShadowFailed,
}

impl Policy {
    /// Compiles `rules`, which are looked at in this order.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn compile(rules: Vec<Rule>) -> Result<Self, Vec<RuleFlaw>> {
        let mut language = Language::new();
        let mut flaws = Vec::new();
        let mut compiled: Vec<(Rule, Condition)> = Vec::new();
        for (index, rule) in rules.into_iter().enumerate() {
            if compiled.iter().any(|(other, _)| other.name == rule.name) {
                let advice = "give each rule a name of its own; records and metrics tell them apart by it";
                flaws.push(RuleFlaw { index, wrong: format!("is a second {:?}", rule.name), advice });
            }
            match language.compile(&rule.when) {
                Ok(condition) => compiled.push((rule, condition)),
                Err(found) => {
                    flaws.extend(found.into_iter().map(|(wrong, advice)| RuleFlaw { index, wrong, advice }));
                }
            }
        }
        if !flaws.is_empty() {
            return Err(flaws);
        }
        Ok(Self { compiled: Arc::new(Compiled { language, rules: compiled }), is_quick: true })
    }

    /// The same, with every condition worked out by the `cel` crate; what is told the short way is held to this by tests.
    #[must_use]
    pub fn interpreted(self) -> Self {
        Self { is_quick: false, ..self }
    }

    /// The rules, in their order.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &Rule> {
        self.compiled.rules.iter().map(|(rule, _)| rule)
    }

    /// Asks every rule in turn, until one that is in force stops the message.
    pub(super) fn check(
        &self,
        message: &Inspected<'_>,
        context: &Context<'_>,
        notes: &mut Vec<Note>,
    ) -> Result<(), Refusal> {
        let language = &self.compiled.language;
        let looks_left = Cell::default();
        let known = Known::new(message, context, &looks_left);
        let facts = Facts::new(message, context, language.reads());
        let names = language.names(&facts);
        // Made for the first condition that is not told the short way.
        let mut interpreter = None;
        for (rule, condition) in &self.compiled.rules {
            let at_once = if self.is_quick { condition.holds_at_once(&known) } else { None };
            let outcome = at_once.unwrap_or_else(|| {
                holds(condition, interpreter.get_or_insert_with(|| language.context(&names)))
            });
            let effect = match (outcome, rule.then) {
                (Ok(false), _) => continue,
                (Ok(true), _) if rule.is_shadow => Effect::Shadowed,
                (Err(_), _) if rule.is_shadow => Effect::ShadowFailed,
                (Ok(true), Action::Log) => Effect::Logged,
                (Ok(true), action) => return Err(rule.refusal(action)),
                (Err(failure), _) => return Err(rule.failure(failure)),
            };
            notes.push(Note { rule: Arc::clone(&rule.name), effect });
        }
        Ok(())
    }
}

impl Rule {
    fn refusal(&self, action: Action) -> Refusal {
        let then = match action {
            Action::Refuse | Action::Log => None,
            Action::Close => Some(Consequence::Close),
            Action::Drop => Some(Consequence::Drop),
        };
        Refusal { rule: Some(Arc::clone(&self.name)), then, ..Refusal::because(Reason::PolicyRefused) }
    }

    fn failure(&self, failure: &'static str) -> Refusal {
        Refusal {
            rule: Some(Arc::clone(&self.name)),
            detail: Some(failure.into()),
            ..Refusal::because(Reason::PolicyRuleFailed)
        }
    }
}

impl Action {
    /// Every action, by the word for it.
    pub const ALL: [(&'static str, Self); 4] =
        [("refuse", Self::Refuse), ("close", Self::Close), ("drop", Self::Drop), ("log", Self::Log)];
}

impl Effect {
    /// Every effect.
    pub const ALL: [Self; 7] = [
        Self::Refused,
        Self::Closed,
        Self::Dropped,
        Self::Logged,
        Self::Shadowed,
        Self::Failed,
        Self::ShadowFailed,
    ];

    /// The word for it in records and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Closed => "closed",
            Self::Dropped => "dropped",
            Self::Logged => "logged",
            Self::Shadowed => "shadowed",
            Self::Failed => "failed",
            Self::ShadowFailed => "shadow_failed",
        }
    }

    /// What `refusal` means for the rule that brought it about, with the direction's own consequence where it has none.
    #[must_use]
    pub fn of(refusal: &Refusal, on_refusal: Consequence) -> Self {
        if refusal.reason == Reason::PolicyRuleFailed {
            return Self::Failed;
        }
        match refusal.then.unwrap_or(on_refusal) {
            Consequence::Notice => Self::Refused,
            Consequence::Close => Self::Closed,
            Consequence::Drop => Self::Dropped,
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.rules()).finish()
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.rules().eq(other.rules())
    }
}

impl Eq for Policy {}

/// The most rules of one direction: each is asked of each message.
pub const RULES_MAX: usize = 64;

/// The longest name of a rule, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests;
