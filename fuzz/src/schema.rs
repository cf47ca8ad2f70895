//! Target `schema`: the text of a JSON Schema, and behind a NUL a message to hold to it.
//!
//! Promises: no panic; a schema is ready, or refused with flaws in their order, each once; a message is judged the same each time,
//! where it lies as when it has been copied, and what is said of one that is refused is a pointer into it and a keyword.

use drawgate::inspect::Schema;
use drawgate::json::{Limits, read};

use crate::Seed;

/// Checks one input.
pub fn run(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let texts = [parts.next(), parts.next()].map(|part| std::str::from_utf8(part.unwrap_or_default()));
    let [Ok(text), Ok(message)] = texts else { return };
    let schema = match Schema::compile(text) {
        Ok(schema) => schema,
        Err(flaws) => {
            assert!(!flaws.is_empty() && flaws.windows(2).all(|pair| pair[0] < pair[1]), "{flaws:?}");
            assert!(flaws.iter().all(|flaw| !flaw.wrong.is_empty()));
            return;
        }
    };
    let Ok(document) = read(message, &Limits::default()) else { return };
    let value = document.to_value();
    let judged = schema.check_document(&document);
    assert_eq!(judged, schema.check_document(&document), "judged twice");
    assert_eq!(judged, schema.check(&value), "judged where it lies, and as a copy");
    assert_eq!(judged.is_ok(), schema.fits(&document), "judged with words, and without");
    if let Err(refusal) = judged {
        let pointer = refusal.pointer.expect("a place is named");
        assert!(value.pointer(&pointer).is_some(), "{pointer} is not in the message");
        assert!(refusal.keyword.is_some());
    }
}

/// Each way in which a schema holds or is refused.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let seed = |name: &str, schema: &str, message: &str| Seed {
        name: name.to_owned(),
        bytes: format!("{schema}\0{message}").into_bytes(),
    };
    vec![
        seed(
            "object",
            r#"{"type":"object","properties":{"a":{"type":"string","maxLength":3}},"required":["a"],"additionalProperties":false}"#,
            r#"{"a":"long"}"#,
        ),
        seed("formats", r#"{"items":{"format":"email"}}"#, r#"["a@b.example","x"]"#),
        seed("pattern", r#"{"pattern":"^(a+)+$","patternProperties":{"^x":{"minimum":1}}}"#, r#"{"x1":0}"#),
        seed("tree", r##"{"properties":{"left":{"$ref":"#"}},"type":"object"}"##, r#"{"left":{"left":7}}"#),
        seed("loop", r##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"allOf":[{"$ref":"#/$defs/a"}]}}}"##, "1"),
        seed("remote", r#"{"$ref":"https://a.example/b.json"}"#, "1"),
        seed("anchors", r##"{"$id":"https://a.example/","$anchor":"x","items":{"$ref":"#x"}}"##, "[[]]"),
        seed("choices", r#"{"oneOf":[{"const":1},{"enum":[2,"3"]}],"not":{"type":"null"}}"#, "4"),
        seed(
            "conditions",
            r#"{"if":{"required":["a"]},"then":{"minProperties":2},"else":false}"#,
            r#"{"a":1}"#,
        ),
        seed(
            "unevaluated",
            r#"{"allOf":[{"properties":{"a":true}}],"unevaluatedProperties":false}"#,
            r#"{"b":1}"#,
        ),
        seed("flaws", r#"{"type":"strnig","format":"emial","pattern":"("}"#, ""),
        seed("numbers", r#"{"multipleOf":0.01,"maximum":1e308}"#, "1.005"),
    ]
}
