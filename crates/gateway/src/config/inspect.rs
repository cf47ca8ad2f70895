//! Reads `[routes.NAME.inspect]`, `[routes.NAME.inspect_replies]` and `[routes.NAME.seal]`: what messages must be, and what becomes of those that are not.

mod rules;
mod schemas;
mod seal;

use super::defaults;
use super::problem::ProblemKind;
use super::read::{Context, Table, Value};
use crate::inspect::{Consequence, Format, Inspection, Inspections};
use crate::json::{self, Unseen};

/// Takes the tables out of a route's.
pub(super) fn inspections(context: &mut Context<'_>, route: &mut Table<'_>) -> Option<Inspections> {
    let limits_value = route.take("json");
    let limits = json_limits(context, limits_value.as_ref());
    let messages = route.take("inspect").map(|value| (messages(context, &value, &limits), value));
    let replies = route.take("inspect_replies").map(|value| (replies(context, &value, &limits), value));
    let seal = route.take("seal").map_or(Some(None), |value| seal::seal(context, &value).map(Some));
    let is_json = |inspection: &Option<(Option<Inspection>, Value<'_>)>| match inspection {
        None => false,
        // One that could not be read may be.
        Some((None, _)) => true,
        Some((Some(inspection), _)) => matches!(inspection.format, Format::Json(_)),
    };
    if let Some(value) = limits_value
        && !is_json(&messages)
        && !is_json(&replies)
    {
        let wrong = "bounds JSON, and no message of this route is inspected as JSON";
        let advice = "write format = \"json\" in inspect or inspect_replies, or leave it out";
        context.report_unseen(&value.place, ProblemKind::NotAllowed, wrong, advice);
    }
    if let Some(Some(_)) = &seal {
        for inspection in [&messages, &replies] {
            if let Some((Some(Inspection { format: Format::Binary, .. }), value)) = inspection {
                let wrong = "lets binary pass alone, and what is sealed is text";
                let advice = "write format = \"text\" or \"json\", or leave out seal";
                context.report_unseen(&value.place, ProblemKind::NotAllowed, wrong, advice);
            }
        }
    }
    // One that could not be read is none at all: a route without it would let everything through.
    Some(Inspections { messages: whole(messages)?, replies: whole(replies)?, seal: seal? })
}

fn whole(inspection: Option<(Option<Inspection>, Value<'_>)>) -> Option<Option<Inspection>> {
    inspection.map_or(Some(None), |(inspection, _)| inspection.map(Some))
}

fn messages(context: &mut Context<'_>, value: &Value<'_>, limits: &json::Limits) -> Option<Inspection> {
    let mut table = value.table(context)?;
    let format = format(context, &mut table, limits);
    let schemas = schemas::schemas(context, &mut table, format.as_ref());
    let policy = rules::rules(context, &mut table);
    let consequences = [("notice", Consequence::Notice), ("close", Consequence::Close)];
    let on_refusal = table.choice(context, &defaults::ON_REFUSAL, &consequences, &[]);
    let refusals_max = table.count(context, &defaults::REFUSALS_MAX);
    table.finish(context);
    Some(Inspection { format: format?, schemas: schemas?, policy: policy?, on_refusal, refusals_max })
}

fn replies(context: &mut Context<'_>, value: &Value<'_>, limits: &json::Limits) -> Option<Inspection> {
    let mut table = value.table(context)?;
    let format = format(context, &mut table, limits);
    let schemas = schemas::schemas(context, &mut table, format.as_ref());
    let policy = rules::rules(context, &mut table);
    let consequences = [("drop", Consequence::Drop), ("close", Consequence::Close)];
    let on_refusal = table.choice(context, &defaults::REPLIES_ON_REFUSAL, &consequences, &[]);
    let refusals_max = table.count(context, &defaults::REPLIES_REFUSALS_MAX);
    table.finish(context);
    Some(Inspection { format: format?, schemas: schemas?, policy: policy?, on_refusal, refusals_max })
}

fn format(context: &mut Context<'_>, table: &mut Table<'_>, limits: &json::Limits) -> Option<Format> {
    let formats = [
        ("text", Format::Text),
        ("binary", Format::Binary),
        ("json", Format::Json(limits.clone())),
        ("any", Format::Any),
    ];
    table.required(context, "format")?.choice(context, &formats, &[])
}

/// Reads `[routes.NAME.json]`; a table that is not there is one that is empty.
fn json_limits(context: &mut Context<'_>, value: Option<&Value<'_>>) -> json::Limits {
    let empty = toml::de::DeTable::default();
    let table = value.and_then(|value| value.table(context));
    let mut table = table.unwrap_or_else(|| Table::root(&empty));
    let size = |amount: u64| usize::try_from(amount).unwrap_or(usize::MAX);
    let limits = json::Limits {
        depth_max: size(table.bounded(context, &defaults::JSON_DEPTH_MAX)),
        number_digits_max: size(table.bounded(context, &defaults::JSON_NUMBER_DIGITS_MAX)),
        values_max: table.count(context, &defaults::JSON_VALUES_MAX).unwrap_or(u32::MAX),
        members_max: size(table.bounded(context, &defaults::JSON_MEMBERS_MAX)),
        refused: table
            .take(defaults::JSON_REFUSED.name())
            .and_then(|value| {
                let what = "a list of \"nul\", \"bidi\" and \"zero_width\"";
                value.list_of(context, what, |context, element| element.choice(context, &Unseen::ALL, &[]))
            })
            .map_or_else(Vec::new, |list| list.into_iter().map(|(unseen, _)| unseen).collect()),
    };
    table.finish(context);
    limits
}
