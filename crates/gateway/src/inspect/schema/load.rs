//! From the text of a schema to one that is ready, or all that is wrong with it.

use std::collections::HashSet;
use std::fmt;

use jsonschema::json::SerdeJson;
use jsonschema::{ValidationError, Validator, draft202012};
use serde_json::{Value, json};

use super::lent::Lent;
use super::walk::{Sub, escape, subschemas};
use super::{formats, refs};
use crate::json;

/// What is wrong at one place of a schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flaw {
    /// Where, as a JSON pointer; empty for the whole.
    pub pointer: String,
    /// What, and what to do.
    pub wrong: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            f.write_str(&self.wrong)
        } else {
            write!(f, "{}: {}", self.pointer, self.wrong)
        }
    }
}

/// A schema that is ready.
pub(super) struct Loaded {
    pub(super) quick: Validator<Lent>,
    pub(super) validator: Validator,
    /// Every name of a member that it has.
    pub(super) names: HashSet<String>,
}

/// From a text to what it says.
pub(super) fn load(text: &str) -> Result<Loaded, Vec<Flaw>> {
    let whole = |wrong: String| vec![Flaw { pointer: String::new(), wrong }];
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(whole("is larger than 1 MiB".to_owned()));
    }
    let limits = json::Limits { depth_max: DEPTH_MAX, values_max: VALUES_MAX, ..json::Limits::default() };
    let schema =
        json::parse_within(text, &limits).map_err(|fault| whole(format!("is no strict JSON: {fault}")))?;
    if !schema.is_object() && !schema.is_boolean() {
        return Err(whole("is no JSON Schema: write an object".to_owned()));
    }
    let dialects = dialect_flaws(&schema);
    if !dialects.is_empty() {
        return Err(dialects);
    }
    let subs = subschemas(&schema);
    let mut flaws: Vec<Flaw> = draft202012::meta::validator()
        .iter_errors(&schema)
        .map(|error| Flaw {
            pointer: error.instance_path().as_str().to_owned(),
            wrong: format!("is not what JSON Schema 2020-12 has here ({})", error.kind().keyword()),
        })
        .collect();
    flaws.extend(subs.iter().flat_map(keyword_flaws));
    flaws.extend(refs::flaws(&subs));
    if flaws.is_empty() {
        // What is left is what only the compiler sees, one at a time.
        let flaw = |error: ValidationError<'_>| {
            vec![Flaw { pointer: error.schema_path().as_str().to_owned(), wrong: error.to_string() }]
        };
        let validator = formats::options().build(&schema).map_err(flaw)?;
        let quick = formats::options().build(&schema).map_err(flaw)?;
        return Ok(Loaded { quick, validator, names: names(&subs) });
    }
    flaws.sort();
    flaws.dedup();
    flaws.truncate(FLAWS_MAX);
    Err(flaws)
}

/// Another dialect would be read by rules that are not its own.
fn dialect_flaws(schema: &Value) -> Vec<Flaw> {
    let subs = subschemas(schema);
    let others = subs.iter().filter_map(|sub| {
        let dialect = sub.members.get("$schema")?;
        let is_ours = dialect.as_str().is_some_and(|uri| uri.trim_end_matches('#') == DIALECT);
        (!is_ours).then(|| Flaw {
            pointer: format!("{}/$schema", sub.pointer),
            wrong: format!("names another dialect; only {DIALECT} is read"),
        })
    });
    others.collect()
}

/// Formats that nobody would check, and patterns that cannot be matched in linear time.
fn keyword_flaws(sub: &Sub<'_>) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    if let Some(Value::String(format)) = sub.members.get("format")
        && !formats::is_known(format)
    {
        let wrong =
            "is no format that is known, so that nothing would be checked (docs/validation.md lists them)";
        flaws.push(Flaw { pointer: format!("{}/format", sub.pointer), wrong: wrong.to_owned() });
    }
    let pattern = sub.members.get("pattern").and_then(Value::as_str);
    let patterns = pattern.map(|pattern| (format!("{}/pattern", sub.pointer), pattern));
    let names = sub.members.get("patternProperties").and_then(Value::as_object);
    let names = names
        .into_iter()
        .flat_map(|names| names.keys())
        .map(|pattern| (format!("{}/patternProperties/{}", sub.pointer, escape(pattern)), &**pattern));
    flaws.extend(patterns.into_iter().chain(names).filter_map(|(pointer, pattern)| {
        formats::options::<SerdeJson>().build(&json!({ "pattern": pattern })).err().map(|_| Flaw {
            pointer,
            wrong: "is no pattern that can be matched in linear time: look-around and back-references cannot, and very \
                    large repetitions are too large"
                .to_owned(),
        })
    }));
    flaws
}

/// What a pointer into a message may name.
fn names(subs: &[Sub<'_>]) -> HashSet<String> {
    let mut names = HashSet::new();
    for sub in subs {
        for keyword in ["properties", "dependentSchemas", "dependentRequired"] {
            let members = sub.members.get(keyword).and_then(Value::as_object);
            names.extend(members.into_iter().flat_map(|members| members.keys().cloned()));
        }
        let required = sub.members.get("required").and_then(Value::as_array);
        names.extend(required.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
    }
    names
}

/// The only one that is read.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The most bytes of a schema.
pub const SCHEMA_BYTES_MAX: usize = 1024 * 1024;

const DEPTH_MAX: usize = 100;
const VALUES_MAX: u32 = 200_000;

/// The most flaws of one schema that are told.
const FLAWS_MAX: usize = 20;
