//! The short way against the `cel` crate: where it has an answer, the crate has the same, for conditions and messages that are drawn.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::*;
use crate::clock::UnixTime;
use crate::inspect::policy::condition::Language;
use crate::inspect::policy::{Action, Policy, Rule};
use crate::inspect::{Format, Inspection, Toward};
use crate::json::Limits;
use crate::principal::{ClientAddr, Principal};
use drawgate_protocol::MessageKind;

/// What the two ways make of a condition: the short one, if it has an answer, and all that there is to be seen of either.
fn both_ways(
    when: &str,
    message: &Value,
    principal: Option<&Principal>,
) -> Option<Option<Result<bool, &'static str>>> {
    let rule = Rule { name: "rule".into(), when: when.to_owned(), then: Action::Refuse, is_shadow: false };
    let policy = Policy::compile(vec![rule]).ok()?;
    let client = ClientAddr::new("192.0.2.7".parse().unwrap());
    let context = Context { toward: Toward::Backend, client, session: None, principal };
    let text = message.to_string();
    let judge = |policy| {
        let inspection =
            Inspection { policy: Some(policy), ..Inspection::new(Format::Json(Limits::default())) };
        inspection.judge(MessageKind::Text, text.as_bytes(), &context)
    };
    assert_eq!(judge(policy.clone()), judge(policy.interpreted()), "{when} of {text}");
    let message = inspected(&text);
    let condition = Language::new().compile(when).unwrap_or_else(|flaws| panic!("{when}: {flaws:?}"));
    Some(condition.holds_at_once(&Known::new(&message, &context, &Cell::default())))
}

/// A text message that has been read.
fn inspected(text: &str) -> Inspected<'_> {
    Inspected {
        kind: MessageKind::Text,
        bytes: text.as_bytes(),
        document: Some(crate::json::read(text, &Limits::default()).unwrap()),
        value: Default::default(),
    }
}

fn principal() -> Principal {
    let claims = json!({
        "a": "b", "b": { "a": 1, "c": "b" }, "c": ["a", "b", 1, null], "d": 2.5, "e": true, "roles": ["a", "b"], "n": null,
    });
    Principal {
        subject: "b".into(),
        token_id: None,
        issued_at: None,
        expires_at: UnixTime::from_seconds(2_000_000_000),
        key: None,
        claims: claims.as_object().unwrap().clone().into(),
    }
}

#[test]
fn what_conditions_are_mostly_made_of_is_told_the_short_way() {
    let message = json!({
        "a": "ab", "b": { "a": 1, "c": "b" }, "c": [{ "n": 1 }, { "n": 5 }], "d": 2.5, "e": true, "n": null, "i": 7,
        "big": u64::MAX,
    });
    let principal = principal();
    for (when, holds) in [
        ("message.a.startsWith('a') && !('x' in claims.roles)", true),
        ("has(message.a) && message.a == 'ab' && session.subject != 'root'", true),
        ("size(message.c) > 50", false),
        ("message.c.exists(c, c.n > 4) && !message.c.all(c, c.n > 4)", true),
        ("claims.roles.exists(role, role == 'b') && claims.roles.all(role, size(role) == 1)", true),
        ("!client.address.inNetwork('192.0.2.0/24') || client.address != '192.0.2.7'", false),
        ("message['i'] * 2 + 1 == 15 && -message.i < 0 && message.i % 4 == 3 && message.i / 2 == 3", true),
        ("message.d * 2.0 == 5.0 && message.d >= 2 && message.i < 7.5", true),
        ("message.c[1].n == 5 && message.n == null && message.e != null", true),
        ("message.a in ['x', 'ab'] && 'c' in message.b && !('z' in message)", true),
        ("message.a.matches('^[ab]+$') && message.a.contains('b') && message.a.endsWith('b')", true),
        ("direction == 'client' ? has(session.subject) : has(session.id)", true),
        ("message.a.size() == 2 && claims.d == 2.5 && claims.b.a == 1 && claims.c[0] == 'a'", true),
        ("client.address == client.address && !(client.address in ['192.0.2.8', null])", true),
        ("message.big == 18446744073709551615u && message.a != 5", true),
    ] {
        assert_eq!(both_ways(when, &message, Some(&principal)), Some(Some(Ok(holds))), "{when}");
    }
}

#[test]
fn m13_what_fails_fails_the_short_way_and_what_is_in_doubt_is_left_to_the_crate() {
    let message = json!({ "a": "x", "i": i64::MAX, "c": [1, "b"], "b": { "c": 1 }, "z": 0 });
    for when in [
        "message.absent == 1",
        "message.absent || false",
        "message.i + 1 > 0",
        "message.i / message.z == 0",
        "message.i % message.z == 0",
        "message.a < 5",
        "message.c[2] == 1",
        "message.c[-1] == 1",
        "message.c.exists(c, c.startsWith('x'))",
        "message.a.inNetwork('10.0.0.0/8')",
        "message.i.startsWith('a')",
        "claims.a == 'b'",
        "session.subject == 'b'",
        "size(message.i) == 1",
        "message.a.b == 1",
    ] {
        let told = both_ways(when, &message, None);
        assert!(matches!(told, Some(Some(Err(_)))), "{when}: {told:?}");
    }
    for when in [
        "message.a && true",
        "message.a",
        "message.b == {'c': 1}",
        "1 in message.b",
        "type(message.a) == string",
        "message.c.map(c, c) == [1, 'b']",
        "client.address.startsWith('192.')",
    ] {
        assert_eq!(both_ways(when, &message, None), Some(None), "{when}");
    }
    for when in ["message.absent || true", "message.c.exists(c, c.startsWith('b'))"] {
        assert_eq!(both_ways(when, &message, None), Some(Some(Ok(true))), "{when}");
    }
    assert_eq!(both_ways("has(claims.a) || has(session.subject)", &message, None), Some(Some(Ok(false))));
}

#[test]
fn m16_what_would_take_too_long_fails_and_does_not_take_long_to_say_so() {
    let many = |count: usize| (0..count).map(|number| json!(format!("r{number}"))).collect::<Vec<_>>();
    let message = json!({ "tags": vec!["t"; 9_000] });
    let asked = |when: &str, count| {
        let mut principal = principal();
        principal.claims = json!({ "roles": many(count) }).as_object().unwrap().clone().into();
        let text = message.to_string();
        let message = inspected(&text);
        let client = ClientAddr::new("192.0.2.7".parse().unwrap());
        let context = Context { toward: Toward::Backend, client, session: None, principal: Some(&principal) };
        let condition = Language::new().compile(when).unwrap_or_else(|flaws| panic!("{when}: {flaws:?}"));
        let looks_left = Cell::default();
        let known = Known::new(&message, &context, &looks_left);
        // Each has as many as any.
        assert_eq!(condition.holds_at_once(&known), condition.holds_at_once(&known));
        condition.holds_at_once(&known)
    };
    let when = "message.tags.exists(tag, tag in claims.roles)";
    assert_eq!(asked(when, 40), Some(Ok(false)));
    assert_eq!(asked(when, 1_000), Some(Err(TOO_LONG)));
    assert_eq!(asked(&format!("!({when})"), 1_000), Some(Err(TOO_LONG)), "it lets nothing pass");
    assert_eq!(asked(&format!("{when} || size(message.tags) > 8000"), 1_000), Some(Ok(true)));
    let listed =
        format!("message.tags.exists(tag, tag in {})", json!(many(100)).to_string().replace('"', "'"));
    assert_eq!(asked(&listed, 0), Some(Err(TOO_LONG)));
}

/// What stands for a value in a condition.
fn operand() -> impl Strategy<Value = String> {
    let written = prop::sample::select(vec![
        "message",
        "message.a",
        "message.b",
        "message.c",
        "message.d",
        "message.b.a",
        "message.b.c",
        "message['a']",
        "message.c[0]",
        "message.c[1].a",
        "claims.a",
        "claims.b",
        "claims.c",
        "claims.c[2]",
        "claims.d",
        "claims.roles",
        "claims.n",
        "claims.absent",
        "session.subject",
        "client.address",
        "direction",
        "x",
        "x.a",
        "1",
        "0",
        "-1",
        "2.5",
        "1.0",
        "1u",
        "0u",
        "'a'",
        "'b'",
        "''",
        "null",
        "true",
        "false",
        "9223372036854775807",
        "18446744073709551615u",
        "'192.0.2.7'",
        "['a', 1, null]",
        "['b']",
        "[]",
        "{'a': 1}",
        "size(message.c)",
        "size(message.a)",
        "size(claims)",
        "'client'",
        "b'a'",
        "9007199254740993",
        "9007199254740992.0",
        "'é'",
    ]);
    written.prop_map(str::to_owned)
}

/// Conditions as they are meant: on values of one kind.
fn meant_condition() -> impl Strategy<Value = String> {
    let numbers = prop::sample::select(vec![
        "message.d",
        "message.b.a",
        "message.c[0]",
        "size(message.c)",
        "1",
        "-1",
        "2.5",
        "claims.d",
        "claims.b.a",
        "message.d * 3",
        "message.b.a - 1",
        "-message.d",
        "message.d % 2",
        "message.b.a / 2",
        "1u",
        "message.d + 0.5",
        "9007199254740993",
    ]);
    let texts = prop::sample::select(vec![
        "message.a",
        "message.b.c",
        "'a'",
        "'b'",
        "session.subject",
        "claims.a",
        "direction",
        "client.address",
        "message['a']",
        "claims.c[0]",
        "''",
        "'client'",
    ]);
    let order = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let tests = prop::sample::select(vec!["startsWith", "endsWith", "contains"]);
    let of_list = prop::sample::select(vec![
        "message.c.exists(x, x == 1)",
        "message.c.all(x, x > 0)",
        "claims.roles.exists(x, x.startsWith('a'))",
        "1 in message.c",
        "claims.roles.all(x, x in ['a', 'b'])",
        "'b' in claims.roles",
        "'a' in message.b",
        "message.a in ['a', 'b', 'ab']",
        "message.c.exists(x, has(x.a) && x.a == 1)",
        "message.d in [1, 2.5]",
        "'a' in message",
    ]);
    prop_oneof![
        (numbers.clone(), order.clone(), numbers).prop_map(|(a, test, b)| format!("{a} {test} {b}")),
        (texts.clone(), order, texts.clone()).prop_map(|(a, test, b)| format!("{a} {test} {b}")),
        (texts.clone(), tests, texts).prop_map(|(a, test, b)| format!("{a}.{test}({b})")),
        of_list.prop_map(str::to_owned),
    ]
}

/// A message as conditions mean it.
fn meant() -> impl Strategy<Value = Value> {
    let texts = || {
        prop::sample::select(vec![
            json!("a"),
            json!("ab"),
            json!("b"),
            json!(""),
            json!("client"),
            json!("é"),
        ])
    };
    let numbers = || {
        let numbers =
            vec![json!(0), json!(1), json!(-1), json!(2.5), json!(3), json!(u64::MAX), json!(i64::MIN)];
        prop::sample::select(numbers)
    };
    let elements = prop_oneof![numbers(), numbers().prop_map(|number| json!({ "a": number }))];
    (texts(), numbers(), texts(), prop::collection::vec(elements, 0..4), numbers())
        .prop_map(|(a, b, c, list, d)| json!({ "a": a, "b": { "a": b, "c": c }, "c": list, "d": d }))
}

fn condition() -> impl Strategy<Value = String> {
    let compared = (operand(), prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">=", "in"]), operand())
        .prop_map(|(one, operator, other)| format!("{one} {operator} {other}"));
    let calculated = (operand(), prop::sample::select(vec!["+", "-", "*", "/", "%"]), operand(), operand())
        .prop_map(|(one, operator, other, result)| format!("{one} {operator} {other} == {result}"));
    let texts = (operand(), prop::sample::select(vec!["startsWith", "endsWith", "contains"]), operand())
        .prop_map(|(one, function, other)| format!("{one}.{function}({other})"));
    let others = (
        operand(),
        prop::sample::select(vec![
            ".matches('^a?b*$')",
            ".inNetwork('192.0.2.0/24')",
            " == null",
            ".size() == 1",
            "[0] == 'a'",
            "['a'] == 1",
            ".a.a == 1",
        ]),
    )
        .prop_map(|(one, test)| format!("{one}{test}"));
    let has = prop::sample::select(vec![
        "has(message.a)",
        "has(message.b.a)",
        "has(message.a.b)",
        "has(claims.b.c)",
        "has(claims.absent)",
        "has(session.id)",
        "has(session.subject)",
        "has(x.a)",
        "has(client.address)",
    ])
    .prop_map(str::to_owned);
    let leaf = prop_oneof![12 => meant_condition(), 4 => compared, 2 => calculated, 2 => texts, 2 => others, 1 => has, 1 => operand()];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one}) && ({other})")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one}) || ({other})")),
            inner.clone().prop_map(|one| format!("!({one})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("({a}) ? ({b}) : ({c})")),
            (operand(), prop::sample::select(vec!["exists", "all", "exists_one"]), inner)
                .prop_map(|(list, function, test)| format!("{list}.{function}(x, {test})")),
        ]
    })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(-1),
        json!(2.5),
        json!(1.0),
        json!(-0.0),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(9_007_199_254_740_993_i64),
        json!("a"),
        json!("b"),
        json!("ab"),
        json!(""),
        json!("é"),
        json!("192.0.2.7"),
        json!("client"),
    ]);
    leaf.prop_recursive(2, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-d]", inner, 0..5)
                .prop_map(|members| members.into_iter().collect::<Value>()),
        ]
    })
}

#[test]
fn both_ways_lead_to_the_same() {
    let members = prop_oneof![
        3 => meant(),
        1 => prop::collection::btree_map("[a-d]", value(), 0..5)
            .prop_map(|members| members.into_iter().collect()),
    ];
    let drawn = (condition(), members, value(), prop::bool::ANY);
    let (asked, told) = (Cell::new(0_u32), Cell::new(0_u32));
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 5_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&drawn, |(when, members, other, is_known)| {
        let principal = principal();
        let principal = is_known.then_some(&principal);
        for message in [members, other] {
            if let Some(short) = both_ways(&when, &message, principal) {
                asked.set(asked.get() + 1);
                told.set(told.get() + u32::from(short.is_some()));
            }
        }
        Ok(())
    });
    assert_eq!(outcome, Ok(()));
    // Most of what is drawn can be asked, and a good part of that is told.
    assert!(asked.get() > 2_000 && told.get() > asked.get() / 8, "{told:?} of {asked:?}");
}
