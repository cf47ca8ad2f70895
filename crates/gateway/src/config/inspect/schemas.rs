//! Reads `schema_file` and `schemas`: what messages are held to, compiled here, so that what is wrong with a schema is told with
//! all else that is wrong with the configuration.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::super::problem::ProblemKind;
use super::super::read::{Context, Table, Value};
use crate::inspect::schema::{ByType, SCHEMA_BYTES_MAX};
use crate::inspect::{Format, Schema, Schemas};

/// Takes both out of a table; `None` where what is there cannot be used.
pub(super) fn schemas(
    context: &mut Context<'_>,
    table: &mut Table<'_>,
    format: Option<&Format>,
) -> Option<Option<Schemas>> {
    let (file, inline, by_type) = (table.take("schema_file"), table.take("schema"), table.take("schemas"));
    let schemas = match (&file, &inline, &by_type) {
        (None, None, None) => return Some(None),
        (Some(value), None, None) => schema(context, value).map(Schemas::One),
        (None, Some(value), None) => written(context, value).map(Schemas::One),
        (None, None, Some(value)) => each(context, value).map(Schemas::ByType),
        (_, Some(value), _) | (_, None, Some(value)) => {
            let wrong = "stands beside another schema, and a message is held to one";
            context.report_unseen(&value.place, ProblemKind::NotAllowed, wrong, "leave one out");
            None
        }
    };
    let is_json = format.is_none_or(|format| matches!(format, Format::Json(_)));
    if let Some(value) = file.or(inline).or(by_type).filter(|_| !is_json) {
        let wrong = "is for JSON, which these messages are not";
        context.report_unseen(&value.place, ProblemKind::NotAllowed, wrong, "write format = \"json\"");
        return None;
    }
    schemas.map(Some)
}

fn each(context: &mut Context<'_>, value: &Value<'_>) -> Option<ByType> {
    let mut table = value.table(context)?;
    let member = table.required(context, "member").and_then(|value| value.text(context));
    let files = table.required(context, "files").and_then(|value| {
        let named = value.table(context)?.named(context);
        if named.is_empty() {
            let advice = "write the schema of each type, such as files = { chat = \"chat.schema.json\" }";
            context.report_unseen(&value.place, ProblemKind::Missing, "is empty", advice);
            return None;
        }
        let read: Vec<_> =
            named.into_iter().map(|(name, value)| Some((name, schema(context, &value)?))).collect();
        read.into_iter().collect::<Option<BTreeMap<_, _>>>()
    });
    let choices = [("refuse", false), ("pass", true)];
    let unknown_passes =
        table.required(context, "unknown").and_then(|value| value.choice(context, &choices, &[]));
    table.finish(context);
    Some(ByType { member: member?, schemas: files?, unknown_passes: unknown_passes? })
}

/// Compiles the schema in the file that `value` names.
fn schema(context: &mut Context<'_>, value: &Value<'_>) -> Option<Schema> {
    let name = value.text(context)?;
    let text = match read(&context.resolve(&name)) {
        Ok(text) => text,
        Err(wrong) => {
            let advice =
                "write the name of a file with a JSON Schema, relative to the configuration's folder";
            context.report(&value.place, ProblemKind::File, &wrong, advice);
            return None;
        }
    };
    compiled(context, value, &text)
}

/// Compiles the schema that stands in the configuration itself, as JSON in a string.
fn written(context: &mut Context<'_>, value: &Value<'_>) -> Option<Schema> {
    let text = value.text(context)?;
    if !context.has_variable(&value.place) {
        return compiled(context, value, &text);
    }
    let schema = Schema::compile(&text).ok();
    if schema.is_none() {
        // Places in it are made of its names, which may be the variable's.
        let wrong = "is a schema that cannot be used, with the variable's value in it";
        context.report_unseen(
            &value.place,
            ProblemKind::File,
            wrong,
            "write it without, to be told what is wrong",
        );
    }
    schema
}

fn compiled(context: &mut Context<'_>, value: &Value<'_>, text: &str) -> Option<Schema> {
    match Schema::compile(text) {
        Ok(schema) => Some(schema),
        Err(flaws) => {
            for flaw in flaws {
                let wrong = format!("is a schema that cannot be used: {flaw}");
                context.report_unseen(
                    &value.place,
                    ProblemKind::File,
                    &wrong,
                    "see docs/validation.md for what schemas may have",
                );
            }
            None
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("names a file that cannot be read ({})", error.kind());
    // What is no plain file could make the reader wait forever.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err("names what is no plain file".to_owned());
    }
    let mut text = String::new();
    let limit = u64::try_from(SCHEMA_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path).map_err(unreadable)?.take(limit).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}
