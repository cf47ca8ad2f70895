//! The formats that a schema may name. Each is asserted; one that is not here is a flaw of the schema, not an annotation.

use std::sync::Arc;

use jsonschema::json::{Json, SerdeJson};
use jsonschema::{Draft, PatternOptions, Retrieve, ValidationOptions};

use crate::inspect::email::{self, Domain};
use crate::json::Unseen;

/// How every schema is compiled: draft 2020-12, formats asserted, patterns in linear time, nothing fetched.
pub(super) fn options<F: Json>() -> ValidationOptions<'static, Arc<dyn Retrieve>, F> {
    jsonschema::options_for()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES_MAX))
        .with_format("email", |text: &str| email::is_address(text, Domain::Ascii))
        .with_format("idn-email", |text: &str| email::is_address(text, Domain::Any))
        .with_format(PLAIN_TEXT, is_plain)
        .offline()
}

/// Whether a schema may name this format.
pub(super) fn is_known(name: &str) -> bool {
    options::<SerdeJson>().is_known_format(Draft::Draft202012, name)
}

/// Text in which all is seen: no controls, and none of [`Unseen`].
fn is_plain(text: &str) -> bool {
    !text.contains(char::is_control) && Unseen::ALL.iter().all(|(_, unseen)| !unseen.is_in(text))
}

/// A format of our own, for names and identifiers.
const PLAIN_TEXT: &str = "plain-text";

/// What a compiled pattern may take; one that needs more is a flaw of the schema.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;
