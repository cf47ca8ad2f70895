//! Schemas and messages that are drawn: a message is judged where it lies as its copy is.

use std::cell::Cell;

use drawgate::inspect::Schema;
use drawgate::json::{Limits, read};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

/// What a schema may ask for, alone.
fn keyword() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!({ "type": "object" }),
        json!({ "type": "integer" }),
        json!({ "type": ["number", "null", "array"] }),
        json!({ "type": "string" }),
        json!({ "required": ["a", "c"] }),
        json!({ "required": ["b", "d", "é"], "type": "object" }),
        json!({ "minProperties": 2, "maxProperties": 3 }),
        json!({ "dependentRequired": { "a": ["b"] } }),
        json!({ "propertyNames": { "pattern": "^[a-c]$" } }),
        json!({ "minItems": 1, "maxItems": 3, "uniqueItems": true }),
        json!({ "uniqueItems": true }),
        json!({ "minLength": 2, "maxLength": 3 }),
        json!({ "maxLength": 1 }),
        json!({ "pattern": "^[a-z]+$" }),
        json!({ "pattern": "é|b" }),
        json!({ "format": "email" }),
        json!({ "format": "ipv4" }),
        json!({ "minimum": 0, "maximum": 10 }),
        json!({ "exclusiveMinimum": 1, "exclusiveMaximum": 2.5 }),
        json!({ "multipleOf": 0.5 }),
        json!({ "const": { "a": 1.0, "b": [null, "a"] } }),
        json!({ "const": "ab" }),
        json!({ "enum": [1, "a", null, [1.0], { "a": false }, true] }),
        json!({ "contains": { "type": "string" }, "maxContains": 1 }),
        json!(true),
        json!(false),
    ])
}

fn schema() -> impl Strategy<Value = Value> {
    keyword().prop_recursive(4, 24, 4, |inner| {
        let members = || prop::collection::btree_map("[a-d]|é", inner.clone(), 1..4);
        let few = || prop::collection::vec(inner.clone(), 1..4);
        let merged = |one: Value, other: Value| match (one, other) {
            (Value::Object(mut one), Value::Object(other)) => {
                one.extend(other);
                Value::Object(one)
            }
            (_, other) => other,
        };
        prop_oneof![
            members().prop_map(|members| json!({ "properties": members })),
            (members(), inner.clone()).prop_map(
                |(members, others)| json!({ "properties": members, "additionalProperties": others })
            ),
            members().prop_map(
                |members| json!({ "properties": members, "additionalProperties": false, "required": ["a"] })
            ),
            inner.clone().prop_map(
                |one| json!({ "patternProperties": { "^[ab]": one }, "additionalProperties": false })
            ),
            inner.clone().prop_map(|one| json!({ "propertyNames": one })),
            inner.clone().prop_map(|one| json!({ "items": one })),
            (few(), inner.clone()).prop_map(|(few, others)| json!({ "prefixItems": few, "items": others })),
            inner.clone().prop_map(|one| json!({ "contains": one, "minContains": 2 })),
            few().prop_map(|few| json!({ "allOf": few, "unevaluatedProperties": false })),
            few().prop_map(|few| json!({ "anyOf": few, "unevaluatedItems": false })),
            few().prop_map(|few| json!({ "oneOf": few })),
            inner.clone().prop_map(|one| json!({ "not": one })),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(one, two, three)| json!({ "if": one, "then": two, "else": three })),
            (inner.clone(), inner.clone()).prop_map(move |(one, other)| merged(one, other)),
            inner
                .clone()
                .prop_map(|one| json!({ "$defs": { "one": one }, "items": { "$ref": "#/$defs/one" } })),
        ]
    })
}

fn message() -> impl Strategy<Value = Value> {
    let leaf = prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(1.0),
        json!(-0.0),
        json!(2.5),
        json!(-3),
        json!(11),
        json!(u64::MAX),
        json!("a"),
        json!("ab"),
        json!("abcd"),
        json!(""),
        json!("é"),
        json!("\u{1f600}\u{1f600}"),
        json!("a@b.example"),
        json!("1.2.3.4"),
        json!("a\"b\\"),
    ]);
    leaf.prop_recursive(3, 24, 5, |inner| {
        let few = prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from);
        let members = prop::collection::btree_map("[a-d]|é", inner.clone(), 0..5);
        // More than the reader looks through one by one.
        let many = prop::collection::btree_map("[a-z][a-z]?", inner, 17..24);
        prop_oneof![
            2 => few,
            4 => members.prop_map(|members| members.into_iter().collect::<Value>()),
            1 => many.prop_map(|members| members.into_iter().collect::<Value>()),
        ]
    })
}

#[test]
fn a_message_is_judged_where_it_lies_as_its_copy_is() {
    let (fits, does_not) = (Cell::new(0_u32), Cell::new(0_u32));
    let config = ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(
        &(schema(), prop::collection::vec(message(), 4)),
        |(schema, messages)| {
            let Ok(compiled) = Schema::compile(&schema.to_string()) else { return Ok(()) };
            for message in messages {
                let text = message.to_string();
                let document = read(&text, &Limits::default()).unwrap();
                prop_assert_eq!(&document.to_value(), &message);
                let judged = compiled.check_document(&document);
                prop_assert_eq!(&judged, &compiled.check(&message), "{} by {}", &message, &schema);
                prop_assert_eq!(judged.is_ok(), compiled.fits(&document), "{} by {}", &message, &schema);
                let count = if judged.is_ok() { &fits } else { &does_not };
                count.set(count.get() + 1);
            }
            Ok(())
        },
    );
    assert_eq!(outcome, Ok(()));
    assert!(fits.get() > 500 && does_not.get() > 500, "{fits:?} fit, {does_not:?} do not");
}
