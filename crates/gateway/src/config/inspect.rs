//! Reads `[routes.NAME.inspect]` and `[routes.NAME.inspect_replies]`: what messages must be, and what becomes of those that are not.

use super::defaults;
use super::read::{Context, Table, Value};
use crate::inspect::{Consequence, Format, Inspection, Inspections};

/// Takes both tables out of a route's.
pub(super) fn inspections(context: &mut Context<'_>, route: &mut Table<'_>) -> Option<Inspections> {
    let messages = route.take("inspect").map(|value| messages(context, &value));
    let replies = route.take("inspect_replies").map(|value| replies(context, &value));
    // One that could not be read is none at all: a route without it would let everything through.
    Some(Inspections { messages: whole(messages)?, replies: whole(replies)? })
}

fn whole(inspection: Option<Option<Inspection>>) -> Option<Option<Inspection>> {
    inspection.map_or(Some(None), |inspection| inspection.map(Some))
}

fn messages(context: &mut Context<'_>, value: &Value<'_>) -> Option<Inspection> {
    let mut table = value.table(context)?;
    let format = format(context, &mut table);
    let consequences = [("notice", Consequence::Notice), ("close", Consequence::Close)];
    let on_refusal = table.choice(context, &defaults::ON_REFUSAL, &consequences, &[]);
    let refusals_max = table.count(context, &defaults::REFUSALS_MAX);
    table.finish(context);
    Some(Inspection { format: format?, on_refusal, refusals_max })
}

fn replies(context: &mut Context<'_>, value: &Value<'_>) -> Option<Inspection> {
    let mut table = value.table(context)?;
    let format = format(context, &mut table);
    let consequences = [("drop", Consequence::Drop), ("close", Consequence::Close)];
    let on_refusal = table.choice(context, &defaults::REPLIES_ON_REFUSAL, &consequences, &[]);
    let refusals_max = table.count(context, &defaults::REPLIES_REFUSALS_MAX);
    table.finish(context);
    Some(Inspection { format: format?, on_refusal, refusals_max })
}

fn format(context: &mut Context<'_>, table: &mut Table<'_>) -> Option<Format> {
    let formats = [("text", Format::Text), ("binary", Format::Binary), ("json", Format::Json)];
    table.required(context, "format")?.choice(context, &formats, &[])
}
