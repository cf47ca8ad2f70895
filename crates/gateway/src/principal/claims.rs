//! What a credential says, kept small.
//!
//! A session holds its claims for as long as it lives, and most are never asked for one: as text they take a quarter of
//! what they take as a tree.

use std::ops::Index;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use crate::json::{self, Limits};

/// Every claim of a credential.
#[derive(Clone, Debug)]
pub struct Claims {
    /// One strict JSON object.
    text: Box<str>,
    /// The same, once somebody has asked for it.
    object: OnceLock<Box<Map<String, Value>>>,
}

impl Claims {
    /// Those of `object`.
    #[must_use]
    pub fn new(object: &Map<String, Value>) -> Self {
        let text = serde_json::to_string(object).expect("names and values of JSON always serialize");
        Self::of_text(&text)
    }

    /// Those of the object that `text` is: it has been read, and strictly.
    pub(crate) fn of_text(text: &str) -> Self {
        Self { text: text.into(), object: OnceLock::new() }
    }

    /// All of them. What is made here is kept: it is for who asks with every message.
    pub fn object(&self) -> &Map<String, Value> {
        self.object.get_or_init(|| Box::new(self.read()))
    }

    /// The claim `name`. Nothing is kept: it is for who asks once.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Value> {
        match self.object.get() {
            Some(object) => object.get(name).cloned(),
            None if !self.may_have(name) => None,
            None => self.read().remove(name),
        }
    }

    /// Whether the name is in the text, in whatever place; no name with escapes is looked for.
    fn may_have(&self, name: &str) -> bool {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        !name.bytes().all(is_plain) || self.text.contains(name)
    }

    fn read(&self) -> Map<String, Value> {
        match json::parse_within(&self.text, &UNBOUNDED) {
            Ok(Value::Object(object)) => object,
            Ok(_) | Err(_) => unreachable!("it was read before, or written from an object"),
        }
    }
}

impl Default for Claims {
    /// None.
    fn default() -> Self {
        Self::new(&Map::new())
    }
}

impl PartialEq for Claims {
    /// However they are written.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text || self.read() == other.read()
    }
}

impl Eq for Claims {}

impl From<Map<String, Value>> for Claims {
    fn from(object: Map<String, Value>) -> Self {
        Self::new(&object)
    }
}

impl Index<&str> for Claims {
    type Output = Value;

    /// The claim `name`, or `null`; as with a JSON value.
    fn index(&self, name: &str) -> &Value {
        self.object().get(name).unwrap_or(&Value::Null)
    }
}

/// Whoever made the object has bounded it; what was written from one is read whatever it is.
const UNBOUNDED: Limits = Limits {
    depth_max: usize::MAX,
    number_digits_max: usize::MAX,
    values_max: u32::MAX,
    members_max: usize::MAX,
    refused: Vec::new(),
};

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object() -> Map<String, Value> {
        let value = json!({
            "sub": "ann", "exp": 1_800_000_000_u64, "ratio": 0.1, "large": u64::MAX, "tiny": 5e-324,
            "deep": { "sid": ["x", null, true] }, "a \"quoted\" näme": "\u{0}\u{1f}\\",
        });
        value.as_object().unwrap().clone()
    }

    #[test]
    fn claims_come_out_as_they_went_in() {
        let claims = Claims::from(object());
        assert_eq!(claims.object(), &object());
        assert_eq!(claims, Claims::from(object()));
        assert_ne!(claims, Claims::default());
        assert_eq!((&claims["sub"], &claims["nobody"]), (&json!("ann"), &Value::Null));
    }

    #[test]
    fn claims_are_the_same_however_they_are_written() {
        let [one, other] =
            [r#"{"a":1,"b":["\u0061"]}"#, r#"{ "b" : [ "a" ], "a" : 1 }"#].map(Claims::of_text);
        assert_eq!(one, other);
        assert_ne!(one, Claims::of_text(r#"{"a":1}"#));
        assert_eq!(other.get("b"), Some(json!(["a"])));
    }

    #[test]
    fn claims_of_whatever_depth_come_out_as_they_went_in() {
        let deep = (0..2 * json::DEPTH_MAX).fold(json!(1), |inner, _| json!({ "in": [inner] }));
        let object = deep.as_object().unwrap();
        assert_eq!(Claims::new(object).object(), object);
        assert_eq!(Claims::new(object).get("in").as_ref(), object.get("in"));
    }

    #[test]
    fn one_claim_is_the_same_whether_all_were_asked_for_before_or_not() {
        let claims = Claims::from(object());
        let all = |claims: &Claims| {
            let names = ["sub", "large", "a \"quoted\" näme", "sid", "deep", "x", "nobody"];
            names.map(|name| claims.get(name))
        };
        let before = all(&claims);
        assert!(claims.object.get().is_none(), "nothing is kept");
        assert_eq!(
            before,
            all(&{
                let _ = claims.object();
                claims
            })
        );
        assert_eq!((&before[0], &before[3]), (&Some(json!("ann")), &None));
    }
}
