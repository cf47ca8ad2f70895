//! Every subschema of a schema (JSON Schema 2020-12 §10, §11): what stands where a schema is read, and nothing in `enum`, `const` or
//! `examples`.

use serde_json::{Map, Value};

/// One subschema, and where it is.
pub(super) struct Sub<'s> {
    /// A JSON pointer from the top of the document.
    pub(super) pointer: String,
    pub(super) members: &'s Map<String, Value>,
    /// The identifier of the resource that it is in (JSON Schema 2020-12 §8.2.1).
    pub(super) base: String,
}

/// All subschemas, the whole among them, in a fixed order. Booleans are none that anything could be said of.
pub(super) fn subschemas(schema: &Value) -> Vec<Sub<'_>> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), schema, DEFAULT_BASE.to_owned())];
    while let Some((pointer, value, base)) = open.pop() {
        let Value::Object(members) = value else { continue };
        let base = members.get("$id").and_then(Value::as_str).map_or(base.clone(), |id| resolve(&base, id));
        for (keyword, value) in members {
            let place = format!("{pointer}/{}", escape(keyword));
            match (Applies::of(keyword), value) {
                (Applies::One, value) => open.push((place, value, base.clone())),
                (Applies::List, Value::Array(values)) => {
                    let values = values.iter().enumerate();
                    open.extend(
                        values.map(|(index, value)| (format!("{place}/{index}"), value, base.clone())),
                    );
                }
                (Applies::Map, Value::Object(values)) => open.extend(
                    values
                        .iter()
                        .map(|(name, value)| (format!("{place}/{}", escape(name)), value, base.clone())),
                ),
                (Applies::List | Applies::Map | Applies::No, _) => {}
            }
        }
        found.push(Sub { pointer, members, base });
    }
    found.sort_by(|one, other| one.pointer.cmp(&other.pointer));
    found
}

/// What a keyword holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Applies {
    One,
    List,
    Map,
    No,
}

impl Applies {
    fn of(keyword: &str) -> Self {
        match keyword {
            "additionalProperties"
            | "contains"
            | "contentSchema"
            | "else"
            | "if"
            | "items"
            | "not"
            | "propertyNames"
            | "then"
            | "unevaluatedItems"
            | "unevaluatedProperties" => Self::One,
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => Self::List,
            "$defs" | "definitions" | "dependentSchemas" | "patternProperties" | "properties" => Self::Map,
            _ => Self::No,
        }
    }
}

/// `reference` as seen from `base`, without its fragment (RFC 3986 §5.2, for what schemas are named by).
pub(super) fn resolve(base: &str, reference: &str) -> String {
    let reference = reference.split('#').next().unwrap_or_default();
    if reference.is_empty() {
        return base.to_owned();
    }
    let has_scheme = reference.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    });
    if has_scheme {
        return reference.to_owned();
    }
    let path_at = base.find("://").and_then(|at| base[at + 3..].find('/').map(|slash| at + 3 + slash));
    match path_at {
        Some(at) if reference.starts_with('/') => format!("{}{reference}", &base[..at]),
        _ => format!("{}{reference}", &base[..=base.rfind('/').unwrap_or(base.len() - 1)]),
    }
}

/// A name as a pointer has it (RFC 6901 §3).
pub(super) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What a document without an identifier of its own is known by.
const DEFAULT_BASE: &str = "json-schema:///";
