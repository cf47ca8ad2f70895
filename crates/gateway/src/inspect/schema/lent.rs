//! A document of the strict reader's as the schema library looks at it: where it lies, so that nothing is copied to be checked.
//!
//! What is said of a message that does not fit is worked out over `serde_json`'s values, whose members have an order of their own.

use std::borrow::Cow;

use jsonschema::JsonType;
use jsonschema::json::{Array, Json, Node, NodeIdentity, Object, cmp};
use serde_json::{Number, Value};

use crate::json::{Document, Element, Elements, Kind, Members};

/// The strict reader's documents.
#[derive(Debug)]
pub(super) struct Lent;

/// An element that is an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct LentObject<'d>(Element<'d>, usize);

/// An element that is an array.
#[derive(Clone, Copy, Debug)]
pub(super) struct LentArray<'d>(Element<'d>, usize);

impl Json for Lent {
    type Node<'a> = Element<'a>;
    type PreparedKey = Box<str>;
    type StringBuffer = Option<Document<'static>>;

    /// To look a name up in a small object is to look at each of its members.
    const KEYS_PER_LOOKUP: usize = 4;
    const ACYCLIC: bool = true;

    fn prepare_key(key: &str) -> Box<str> {
        key.into()
    }

    fn with_string_node<T>(
        buffer: &mut Self::StringBuffer,
        string: &str,
        f: impl FnOnce(Element<'_>) -> T,
    ) -> T {
        f(buffer.insert(Document::of_text(string.to_owned())).root())
    }
}

impl<'a> Node<'a, Lent> for Element<'a> {
    type Object = LentObject<'a>;
    type Array = LentArray<'a>;
    type Number = &'a Number;

    fn as_object(&self) -> Option<LentObject<'a>> {
        if let Kind::Object(count) = self.kind() { Some(LentObject(*self, count)) } else { None }
    }

    fn as_array(&self) -> Option<LentArray<'a>> {
        if let Kind::Array(count) = self.kind() { Some(LentArray(*self, count)) } else { None }
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        self.as_str().map(Cow::Borrowed)
    }

    fn as_number(&self) -> Option<&'a Number> {
        if let Kind::Number(number) = self.kind() { Some(number) } else { None }
    }

    fn as_boolean(&self) -> Option<bool> {
        if let Kind::Bool(holds) = self.kind() { Some(holds) } else { None }
    }

    fn is_null(&self) -> bool {
        matches!(self.kind(), Kind::Null)
    }

    fn json_type(&self) -> JsonType {
        match self.kind() {
            Kind::Null => JsonType::Null,
            Kind::Bool(_) => JsonType::Boolean,
            Kind::Number(_) => JsonType::Number,
            Kind::String(_) => JsonType::String,
            Kind::Array(_) => JsonType::Array,
            Kind::Object(_) => JsonType::Object,
        }
    }

    fn string_length_within(&self, min: u64, max: u64) -> Option<bool> {
        let text = self.as_str()?;
        // A character is one to four bytes, so that they need not be counted where the bytes say enough.
        let (fewest, most) = (text.len().div_ceil(4) as u64, text.len() as u64);
        if most < min || fewest > max {
            return Some(false);
        }
        let is_within = min <= fewest && most <= max;
        Some(is_within || (min..=max).contains(&(text.chars().count() as u64)))
    }

    fn equals_value(&self, expected: &Value) -> bool {
        match (self.kind(), expected) {
            (Kind::String(text), Value::String(expected)) => text == expected,
            (Kind::Bool(holds), Value::Bool(expected)) => holds == *expected,
            (Kind::Null, Value::Null) => true,
            (Kind::String(_) | Kind::Bool(_) | Kind::Null, _) => false,
            (Kind::Number(_) | Kind::Array(_) | Kind::Object(_), _) => {
                cmp::equal(&Element::to_value(*self), expected)
            }
        }
    }

    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Owned(Element::to_value(*self))
    }

    fn identity(&self) -> Option<NodeIdentity> {
        Some(NodeIdentity::new(self.address()))
    }
}

impl<'a> Object<'a, Lent> for LentObject<'a> {
    type Node = Element<'a>;
    type MemberName = &'a str;
    type MembersIter = Members<'a>;

    fn len(&self) -> usize {
        self.1
    }

    fn get(&self, key: &Box<str>) -> Option<Element<'a>> {
        self.0.get(key)
    }

    fn members(&self) -> Members<'a> {
        self.0.members()
    }
}

impl<'a> Array<'a, Lent> for LentArray<'a> {
    type Node = Element<'a>;
    type ElementsIter = Elements<'a>;

    fn len(&self) -> usize {
        self.1
    }

    fn elements(&self) -> Elements<'a> {
        self.0.elements()
    }
}
