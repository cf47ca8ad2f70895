//! The second step: a message that is JSON against a JSON Schema, draft 2020-12, with its formats asserted.
//!
//! Schemas are compiled when the configuration is read; `load` says all that is wrong with one, each with its place. Patterns are
//! matched in linear time, and nothing is ever fetched. What a refusal says is the schema's own words: a pointer ends at
//! the first name that the schema does not have.

mod formats;
mod lent;
mod load;
mod refs;
mod walk;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jsonschema::Validator;
use lent::Lent;
use serde_json::Value;

pub use load::{Flaw, SCHEMA_BYTES_MAX};

use super::{Inspected, Refusal};
use crate::json::{Document, Element};
use crate::reason::Reason;

/// A schema that is ready.
#[derive(Clone, Debug)]
pub struct Schema(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    /// What nearly all messages are held to: whether one fits is told where it lies.
    quick: Validator<Lent>,
    /// The same, which tells why one does not fit.
    validator: Validator,
    /// Every name of a member that the schema has anywhere.
    names: HashSet<String>,
    /// What it was made of.
    text: String,
}

/// Which schema a message is held to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schemas {
    /// All to this.
    One(Schema),
    /// Each to that of its type.
    ByType(ByType),
}

/// Which schema is whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByType {
    /// The member at the top of each message whose string says its type.
    pub member: String,
    /// The schema of each type.
    pub schemas: BTreeMap<String, Schema>,
    /// Whether messages of other types, or of none, go on unchecked; otherwise they are refused.
    pub unknown_passes: bool,
}

impl Schema {
    /// Compiles the text of a schema.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn compile(text: &str) -> Result<Self, Vec<Flaw>> {
        let load::Loaded { quick, validator, names } = load::load(text)?;
        Ok(Self(Arc::new(Compiled { quick, validator, names, text: text.to_owned() })))
    }

    /// Whether the message is what the schema asks for.
    ///
    /// # Errors
    /// The first place, in the schema's order, that is not.
    pub fn check_document(&self, message: &Document<'_>) -> Result<(), Refusal> {
        // Nearly all messages pass, and whether one does is told faster than why not.
        if self.fits(message) { Ok(()) } else { self.check(&message.to_value()) }
    }

    /// Whether the message is what the schema asks for, and nothing of why it is not.
    #[must_use]
    pub fn fits(&self, message: &Document<'_>) -> bool {
        self.0.quick.is_valid(message.root())
    }

    /// The same of a value that others have read.
    ///
    /// # Errors
    /// As [`check_document`](Self::check_document).
    pub fn check(&self, value: &Value) -> Result<(), Refusal> {
        let Err(error) = self.0.validator.validate(value) else { return Ok(()) };
        Err(Refusal {
            pointer: Some(self.known_part(error.instance_path().as_str())),
            keyword: Some(error.kind().keyword().to_owned()),
            detail: Some(format!("the schema at {:?} is not met", error.schema_path().as_str()).into()),
            ..Refusal::because(Reason::MessageSchemaMismatch)
        })
    }

    /// `pointer` up to the first name that a client may have made up.
    fn known_part(&self, pointer: &str) -> String {
        let mut known = String::new();
        for segment in pointer.split('/').skip(1) {
            let name = segment.replace("~1", "/").replace("~0", "~");
            let is_index = segment.len() < 8 && segment.bytes().all(|byte| byte.is_ascii_digit());
            if !is_index && !self.0.names.contains(&name) {
                break;
            }
            known.push('/');
            known.push_str(segment);
        }
        known
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for Schema {}

impl Schemas {
    pub(super) fn check(&self, message: &Inspected<'_>) -> Result<(), Refusal> {
        // A configuration has schemas for JSON alone, which the step before this one has read.
        let Some(document) = &message.document else {
            return Err(Refusal::because(Reason::MessageNotJson));
        };
        match self {
            Self::One(schema) => schema.check_document(document),
            Self::ByType(by_type) => by_type.check(document),
        }
    }
}

impl ByType {
    fn check(&self, message: &Document<'_>) -> Result<(), Refusal> {
        let named = message.root().get(&self.member).and_then(Element::as_str);
        match named.and_then(|name| self.schemas.get(name)) {
            Some(schema) => schema.check_document(message),
            None if self.unknown_passes => Ok(()),
            None => Err(Refusal {
                pointer: Some(format!("/{}", self.member.replace('~', "~0").replace('/', "~1"))),
                ..Refusal::because(Reason::MessageTypeUnknown)
            }),
        }
    }
}
