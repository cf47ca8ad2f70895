//! Reads `rules`: conditions on messages, compiled here, so that what is wrong with one is told with all else that is wrong with the
//! configuration.

use super::super::defaults;
use super::super::problem::ProblemKind;
use super::super::read::{Context, Table, Value};
use crate::inspect::Policy;
use crate::inspect::policy::{Action, NAME_BYTES_MAX, RULES_MAX, Rule};

/// Takes `rules` out of a table; `None` where what is there cannot be used.
pub(super) fn rules(context: &mut Context<'_>, table: &mut Table<'_>) -> Option<Option<Policy>> {
    let Some(value) = table.take(defaults::INSPECT_RULES.name()) else { return Some(None) };
    let elements =
        value.list(context, "a list of rules, such as { name = \"…\", when = \"…\", then = \"refuse\" }")?;
    if elements.len() > RULES_MAX {
        let wrong = format!("has {} rules, and {RULES_MAX} are allowed", elements.len());
        context.report_unseen(&value.place, ProblemKind::NotAllowed, &wrong, "join conditions with ||");
        return None;
    }
    let read: Vec<Option<Rule>> = elements.iter().map(|element| rule(context, element)).collect();
    let rules: Vec<Rule> = read.into_iter().collect::<Option<_>>()?;
    match Policy::compile(rules) {
        Ok(policy) => Some(Some(policy)),
        Err(flaws) => {
            for flaw in flaws {
                let place = elements.get(flaw.index).map_or(&value.place, |element| &element.place);
                // What is wrong is said in the condition's own words, which may be the variable's.
                let (wrong, advice) = match context.has_variable(place) {
                    true => (
                        "has a condition that cannot be used, with the variable's value in it",
                        WITHOUT_VARIABLE,
                    ),
                    false => (&*flaw.wrong, flaw.advice),
                };
                context.report_unseen(place, ProblemKind::NotAllowed, wrong, advice);
            }
            None
        }
    }
}

fn rule(context: &mut Context<'_>, value: &Value<'_>) -> Option<Rule> {
    let mut table = value.table(context)?;
    let name = table.required(context, "name").and_then(|value| name(context, &value));
    let when = table.required(context, "when").and_then(|value| value.text(context));
    let then = table.required(context, "then").and_then(|value| value.choice(context, &Action::ALL, &[]));
    let is_shadow = match table.take("shadow") {
        None => Some(false),
        Some(value) => value.boolean(context),
    };
    table.finish(context);
    Some(Rule { name: name?.into(), when: when?, then: then?, is_shadow: is_shadow? })
}

fn name(context: &mut Context<'_>, value: &Value<'_>) -> Option<String> {
    let name = value.text(context)?;
    let is_plain = !name.trim().is_empty() && !name.chars().any(char::is_control);
    if !is_plain || name.len() > NAME_BYTES_MAX {
        let wrong = format!("is no name of 1 to {NAME_BYTES_MAX} bytes without control characters");
        context.report(
            &value.place,
            ProblemKind::NotAllowed,
            &wrong,
            "write what the rule is for, in a few words",
        );
        return None;
    }
    Some(name)
}

const WITHOUT_VARIABLE: &str = "write it without, to be told what is wrong";
