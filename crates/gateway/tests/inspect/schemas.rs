//! What is refused of a schema when it is loaded, and what a message is told by.

use std::time::Duration;

use drawgate::clock::Clock;
use drawgate::inspect::Schema;
use drawgate::json::{Limits, parse_within, read};
use drawgate::reason::Reason;
use serde_json::{Value, json};

use crate::text::worst_documents;

fn flaws(schema: &Value) -> Vec<(String, String)> {
    let Err(flaws) = Schema::compile(&schema.to_string()) else { return Vec::new() };
    flaws.into_iter().map(|flaw| (flaw.pointer, flaw.wrong)).collect()
}

fn pointers(schema: &Value) -> Vec<String> {
    flaws(schema).into_iter().map(|(pointer, _)| pointer).collect()
}

#[test]
fn m07_remote_references_are_refused_each_by_its_place() {
    let schema = json!({
        "properties": {
            "a": { "$ref": "https://schemas.example/a.json" },
            "b": { "items": { "$ref": "other.json#/$defs/b" } },
            "c": { "$ref": "file:///etc/passwd" },
            "d": { "$ref": "#/$defs/d" },
            "e": { "enum": [{ "$ref": "https://not.a/reference" }] },
        },
        "$defs": { "d": { "type": "string" } },
    });
    assert_eq!(pointers(&schema), ["/properties/a/$ref", "/properties/b/items/$ref", "/properties/c/$ref"]);
    assert!(flaws(&schema)[0].1.contains("nothing is fetched"));
    for missing in ["#/$defs/missing", "#missing"] {
        assert_eq!(flaws(&json!({ "$ref": missing })).len(), 1, "{missing}");
    }
}

#[test]
fn m07_looping_references_are_refused_and_recursive_ones_are_not() {
    for looping in [
        json!({ "$ref": "#" }),
        json!({ "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } }, "$ref": "#/$defs/a" }),
        json!({ "allOf": [{ "anyOf": [true, { "$ref": "#" }] }] }),
        json!({ "$id": "https://x.example/a", "not": { "$ref": "a#" } }),
        json!({ "$dynamicAnchor": "node", "if": { "$dynamicRef": "#node" } }),
        json!({ "$anchor": "top", "dependentSchemas": { "a/b": { "$ref": "#top" } } }),
    ] {
        let found = flaws(&looping);
        assert!(found.iter().any(|(_, wrong)| wrong.contains("leads back")), "{looping}: {found:?}");
    }
    let tree =
        json!({ "properties": { "left": { "$ref": "#" }, "right": { "$ref": "#" } }, "type": "object" });
    let schema = Schema::compile(&tree.to_string()).unwrap();
    let deep = (0..120).fold(json!({}), |inner, _| json!({ "left": inner }));
    assert!(schema.check(&deep).is_ok());
    let wrong = (0..120).fold(json!(7), |inner, _| json!({ "left": inner }));
    let pointer = schema.check(&wrong).unwrap_err().pointer.unwrap();
    assert_eq!(pointer, "/left".repeat(120));
}

#[test]
fn m06_patterns_match_in_linear_time_and_others_are_refused_when_loaded() {
    let schema = Schema::compile(r#"{"pattern": "^(a+)+$"}"#).unwrap();
    let hostile = Value::String(format!("{}!", "a".repeat(60_000)));
    let (clock, begun) = (Clock::system(), Clock::system().now());
    assert!(schema.check(&hostile).is_err());
    assert!(clock.now() - begun < Duration::from_secs(1));
    let schema = json!({
        "properties": { "a": { "pattern": "(?=a)b" }, "b": { "pattern": "(a)\\1" }, "c": { "pattern": "(" } },
        "patternProperties": { "(?<!x)y": {}, "ok": { "pattern": "((a{100}){100}){100}" } },
    });
    assert_eq!(
        pointers(&schema),
        [
            "/patternProperties/(?<!x)y",
            "/patternProperties/ok/pattern",
            "/properties/a/pattern",
            "/properties/b/pattern",
            "/properties/c/pattern"
        ]
    );
}

#[test]
fn every_other_flaw_is_told_with_its_place() {
    let schema = json!({
        "type": "strnig",
        "properties": { "email": { "format": "emial" }, "n": { "minimum": "1" }, "x": 7 },
        "required": "email",
    });
    let mut found = pointers(&schema);
    found.dedup();
    assert_eq!(
        found,
        ["/properties/email/format", "/properties/n/minimum", "/properties/x", "/required", "/type"]
    );
    for (text, wrong) in [
        ("", "is no strict JSON"),
        ("{\"type\":\"object\",\"type\":\"object\"}", "two members of the same name"),
        ("[]", "write an object"),
        ("{\"$schema\":\"http://json-schema.org/draft-07/schema#\"}", "another dialect"),
        (&"[".repeat(1_000_000), "nested too deeply"),
        (&" ".repeat(2_000_000), "larger than 1 MiB"),
    ] {
        let flaws = Schema::compile(text).unwrap_err();
        assert!(flaws[0].to_string().contains(wrong), "{flaws:?}");
    }
}

#[test]
fn the_first_place_that_is_wrong_is_always_the_same_one() {
    let text = json!({
        "properties": {
            "zeta": { "type": "string" },
            "alpha": { "type": "object", "properties": { "deep": { "minimum": 5 } } },
            "list": { "items": { "format": "email" } },
        },
        "required": ["zeta", "must"],
        "additionalProperties": false,
    })
    .to_string();
    let message = json!({ "zeta": 1, "alpha": { "deep": 1 }, "list": ["a@b.example", "x"], "surprise": 1 });
    let first = Schema::compile(&text).unwrap().check(&message).unwrap_err();
    assert_eq!(first.reason, Reason::MessageSchemaMismatch);
    for _ in 0..50 {
        assert_eq!(Schema::compile(&text).unwrap().check(&message).unwrap_err(), first);
    }
}

#[test]
fn a_refusal_names_what_the_schema_names_and_nothing_of_the_message() {
    let schema = json!({
        "properties": { "known/~name": { "additionalProperties": { "properties": { "n": { "type": "integer" } } } } },
    });
    let schema = Schema::compile(&schema.to_string()).unwrap();
    let refusal =
        schema.check(&json!({ "known/~name": { "hunter2": { "n": "correct horse" } } })).unwrap_err();
    assert_eq!(refusal.pointer.as_deref(), Some("/known~1~0name"));
    assert_eq!(refusal.keyword.as_deref(), Some("type"));
    // What comes last in the schema's path is the name of a member here, and no keyword.
    let never = Schema::compile(r#"{"properties": {"type": false}}"#).unwrap();
    assert_eq!(never.check(&json!({ "type": 1 })).unwrap_err().keyword.as_deref(), Some("falseSchema"));
    let shown = format!("{refusal:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("correct horse"), "{shown}");
}

#[test]
fn formats_are_asserted() {
    for (format, good, bad) in [
        ("email", "ada@example.com", "ada@example"),
        ("idn-email", "ada@b\u{fc}cher.example", "ada@[127.0.0.1]"),
        ("uri", "https://a.example/b?c#d", "a b"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000"),
        ("date-time", "2026-11-26T10:00:00Z", "2026-13-26T10:00:00Z"),
        ("ipv4", "192.0.2.1", "192.0.2.256"),
        ("ipv6", "2001:db8::1", "2001:db8:::1"),
        ("hostname", "gate.example", "-gate.example"),
        ("plain-text", "Ada \u{5e9}", "Ada\u{200b}"),
    ] {
        let schema = Schema::compile(&json!({ "format": format }).to_string()).unwrap();
        assert!(schema.check(&good.into()).is_ok(), "{format}: {good}");
        let refusal = schema.check(&bad.into()).unwrap_err();
        assert_eq!(refusal.keyword.as_deref(), Some("format"), "{format}: {bad}");
        assert!(schema.check(&7.into()).is_ok(), "a format is about strings alone");
    }
}

#[test]
fn m14_long_dates_numbers_and_strings_are_bounded_work() {
    let schema = Schema::compile(
        r#"{"items":{"format":"date-time","pattern":"^[a-z]*$","maxLength":20,"multipleOf":0.01,"maximum":10}}"#,
    )
    .unwrap();
    let limits = Limits::default();
    for text in [
        format!("[\"{}\"]", "2026-".repeat(13_000)),
        format!("[\"2026-11-26T10:00:00.{}Z\"]", "9".repeat(60_000)),
        "[1e308, -1e308, 0.0000000000000000000000000000000000001, 9999999999999999999999999999999999999999]"
            .to_owned(),
    ] {
        let value = parse_within(&text, &limits).unwrap();
        let (clock, begun) = (Clock::system(), Clock::system().now());
        assert!(schema.check(&value).is_err());
        assert!(clock.now() - begun < Duration::from_millis(200));
    }
}

#[test]
fn m16_the_worst_document_is_held_to_a_schema_in_no_longer_than_it_may() {
    let schema = Schema::compile(
        r#"{"uniqueItems":true,"items":{"type":["number","string","array","object"],"pattern":"^(a+)+$"},
            "additionalProperties":{"type":"number"},"propertyNames":{"pattern":"^[a-z0-9]{1,50}$"}}"#,
    )
    .unwrap();
    let limits = Limits::default();
    worst_documents(|text| {
        if let Ok(document) = read(text, &limits) {
            _ = schema.check_document(&document);
        }
    });
}
