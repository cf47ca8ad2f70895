//! Target `json`: any text, to the strict reader of messages, tokens and key sets.
//!
//! Promises: no panic; what is read is what `serde_json` reads of the same text, and within the limits; what is refused for the
//! grammar `serde_json` refuses too; each fault lies within the text, and is found again.

use drawgate::json::{Limits, Rule, Unseen, parse_within};
use serde_json::Value;

use crate::Seed;

/// Checks one input.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let lenient = serde_json::from_str::<Value>(text);
    let tight = Limits {
        depth_max: 3,
        number_digits_max: 5,
        values_max: 8,
        members_max: 2,
        refused: Unseen::ALL.map(|(_, unseen)| unseen).to_vec(),
    };
    for limits in [Limits::default(), tight] {
        let read = parse_within(text, &limits);
        assert_eq!(read, parse_within(text, &limits), "read twice");
        match read {
            Ok(value) => {
                assert_eq!(lenient.as_ref().ok(), Some(&value));
                let (depth, values, members) = measure(&value);
                assert!(
                    depth <= limits.depth_max && values <= limits.values_max && members <= limits.members_max
                );
            }
            Err(fault) => {
                assert!(fault.offset_bytes <= text.len());
                let is_our_own = matches!(
                    fault.rule,
                    Rule::DuplicateName
                        | Rule::TooDeep
                        | Rule::NumberTooLong
                        | Rule::TooManyValues
                        | Rule::TooManyMembers
                        | Rule::UnseenCharacter(_)
                );
                assert!(is_our_own || lenient.is_err(), "{fault} in what is JSON");
            }
        }
    }
}

/// How deep a value is, how many it holds with itself, and the members of its largest object.
fn measure(value: &Value) -> (usize, u32, usize) {
    let (mut deepest, mut count, mut largest) = (0, 0, 0);
    let mut open = vec![(value, 0)];
    while let Some((value, depth)) = open.pop() {
        count += 1;
        match value {
            Value::Array(values) => {
                deepest = deepest.max(depth + 1);
                open.extend(values.iter().map(|value| (value, depth + 1)));
            }
            Value::Object(members) => {
                deepest = deepest.max(depth + 1);
                largest = largest.max(members.len());
                open.extend(members.values().map(|value| (value, depth + 1)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    (deepest, count, largest)
}

/// Each kind of value, and each rule.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let seed = |name: &str, text: &str| Seed { name: name.to_owned(), bytes: text.as_bytes().to_vec() };
    vec![
        seed("values", r#"{"a":[1,-0.5e-7,true,false,null,"x"],"b":{}}"#),
        seed("escapes", r#"["\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"]"#),
        seed("name-twice", r#"{"a":1,"\u0061":2}"#),
        seed("lone-surrogate", r#"["\ud800"]"#),
        seed("number-long", "[1234567890123456789012345678901234567890.1]"),
        seed("number-large", "[1e999999]"),
        seed("deep", &format!("{}{}", "[".repeat(33), "]".repeat(33))),
        seed("comment", "[1,/* */2]"),
        seed("trailing", "{} x"),
        seed("byte-order-mark", "\u{feff}[]"),
        seed("unseen", "{\"ad\u{200b}min\":\"\u{202e}\\u0000\"}"),
        seed("white-space", " \t\r\n[ ]\n"),
    ]
}
