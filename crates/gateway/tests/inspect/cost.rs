//! What the look into a message costs by itself: the time of the stage for the order that the bench sends. It means something in an
//! optimised build alone: `make cost` prints the figures.

use std::hint::black_box;
use std::time::Duration;

use drawgate::clock::{Clock, UnixTime};
use drawgate::inspect::policy::{Action, Rule};
use drawgate::inspect::{Context, Format, Inspection, Policy, Schema, Schemas, Toward, Verdict};
use drawgate::json::Limits;
use drawgate::principal::{ClientAddr, Principal};
use drawgate_protocol::MessageKind;
use serde_json::json;

#[test]
#[expect(clippy::print_stderr, reason = "figures are what this is for")]
fn m16_an_order_is_looked_into_in_no_longer_than_it_may() {
    let order = order();
    assert_eq!(order.len(), 1024);
    let principal = principal();
    let client = ClientAddr::new("127.0.0.1".parse().unwrap());
    let context = Context { toward: Toward::Backend, client, session: None, principal: Some(&principal) };
    let json = Inspection::new(Format::Json(Limits::default()));
    let schemas = Some(Schemas::One(Schema::compile(SCHEMA).unwrap()));
    let schema = Inspection { schemas, ..json.clone() };
    let rules = RULES.map(|(name, when)| Rule {
        name: name.into(),
        when: when.to_owned(),
        then: Action::Refuse,
        is_shadow: false,
    });
    let policy = Policy::compile(rules.into()).unwrap();
    let interpreted = Inspection { policy: Some(policy.clone().interpreted()), ..schema.clone() };
    let ruled = Inspection { policy: Some(policy), ..schema.clone() };
    let inspections = [
        ("strict JSON", json, TIME_MAX),
        ("strict JSON and a schema", schema, TIME_MAX),
        ("the same and five rules", ruled, TIME_MAX),
        ("the same by the interpreter", interpreted, INTERPRETED_TIME_MAX),
    ];
    for (what, inspection, time_max) in inspections {
        let judge = || inspection.judge(MessageKind::Text, black_box(order.as_bytes()), &context);
        assert_eq!(judge().verdict, Verdict::Pass, "{what}");
        let time = best_of(&mut || _ = black_box(judge()));
        eprintln!("{what}: {} ns", time.as_nanos());
        assert!(time < time_max, "{what}: {time:?}");
    }
}

/// Orders of 64 KiB on which rules look at each item: with the answer in the last one, with none, and with a price that is none there, so
/// that the short way ends where the work is done, and the interpreter begins anew.
#[test]
#[expect(clippy::print_stderr, reason = "figures are what this is for")]
fn m16_the_worst_order_is_looked_into_in_no_longer_than_it_may() {
    let rules = [
        r#"message.items.exists(item, item.cents > 1000000 || item.sku == "none")"#,
        "!message.items.all(item, item.count < 100 && item.cents >= 0)",
    ];
    let rules = rules.map(|when| Rule {
        name: when.into(),
        when: when.to_owned(),
        then: Action::Refuse,
        is_shadow: true,
    });
    let policy = Some(Policy::compile(rules.into()).unwrap());
    let schema =
        SCHEMA.replace(r#","maxItems":100"#, "").replace(r#""type":"integer","minimum":0"#, r#""minimum":0"#);
    let schemas = Some(Schemas::One(Schema::compile(&schema).unwrap()));
    let inspection = Inspection { schemas, policy, ..Inspection::new(Format::Json(Limits::default())) };
    let client = ClientAddr::new("127.0.0.1".parse().unwrap());
    let context = Context { toward: Toward::Backend, client, session: None, principal: None };
    for (what, last) in [("none", "1"), ("the last", "1000001"), ("no price", r#""1""#)] {
        let begin = order().split_once('[').unwrap().0.to_owned();
        let item = r#"{"sku":"SKU-00001","count":1,"cents":1}"#;
        let items = vec![item; (64 * 1024 - begin.len() - 8) / (item.len() + 1) - 1].join(",");
        let text = format!(r#"{begin}[{items},{{"sku":"SKU-00001","count":1,"cents":{last}}}]}}"#);
        assert!(text.len() <= 64 * 1024);
        let judge = || inspection.judge(MessageKind::Text, black_box(text.as_bytes()), &context);
        assert!(matches!(judge().verdict, Verdict::Pass), "{what}: {:?}", judge().verdict);
        let clock = Clock::system();
        let time = (0..5).map(|_| {
            let begun = clock.now();
            _ = black_box(judge());
            clock.now() - begun
        });
        let time = time.min().unwrap_or_default();
        eprintln!("{what}: {} µs", time.as_micros());
        assert!(time < WORST_TIME_MAX, "{what}: {time:?}");
    }
}

/// Lists of 64 KiB, and rules that only the interpreter knows: that is slower, and grows with the list and no faster. And one that holds each
/// element against a thousand claims, which is not worked out to its end.
#[test]
#[expect(clippy::print_stderr, reason = "figures are what this is for")]
fn m16_what_is_left_to_the_interpreter_takes_no_longer_than_it_may() {
    let list = |element: &dyn Fn(usize) -> String, count: usize| {
        format!(r#"{{"v":[{}]}}"#, (0..count).map(element).collect::<Vec<_>>().join(","))
    };
    let texts = [
        list(&|number| (10_000 + number).to_string(), 9_990),
        list(&|number| format!(r#""t{}""#, number % 10), 9_990),
        list(&|number| format!(r#"{{"id":{}}}"#, number % 1000), 4_990),
    ];
    let claims: Vec<String> = (0..1_000).map(|number| format!("r{number}")).collect();
    let mut principal = principal();
    principal.claims = json!({ "roles": claims }).as_object().cloned().unwrap_or_default().into();
    let client = ClientAddr::new("127.0.0.1".parse().unwrap());
    let context = Context { toward: Toward::Backend, client, session: None, principal: Some(&principal) };
    for (when, time_max) in [
        ("message.v == [1, 2]", INTERPRETED_LIST_TIME_MAX),
        ("message.v == message.v", INTERPRETED_LIST_TIME_MAX),
        ("message.v.map(x, x) == [1]", INTERPRETED_LIST_TIME_MAX),
        ("size(message.v.filter(x, x == 5)) > 3", INTERPRETED_LIST_TIME_MAX),
        ("message.v.exists_one(x, x == 5)", INTERPRETED_LIST_TIME_MAX),
        ("message.v.exists(x, type(x) == uint)", INTERPRETED_LIST_TIME_MAX),
        ("message.v.exists(x, string(x) == 'a')", INTERPRETED_LIST_TIME_MAX),
        ("message.v.exists(x, x == {'a': 1})", INTERPRETED_LIST_TIME_MAX),
        ("message.v.exists(x, x < 1 || type(x) == uint)", INTERPRETED_LIST_TIME_MAX),
        ("message.v.exists(x, x in claims.roles)", CLAIMS_TIME_MAX),
    ] {
        let rule = Rule { name: when.into(), when: when.to_owned(), then: Action::Refuse, is_shadow: true };
        let policy = Some(Policy::compile(vec![rule]).unwrap());
        let inspection = Inspection { policy, ..Inspection::new(Format::Json(Limits::default())) };
        let times = texts.each_ref().map(|text| {
            assert!(text.len() <= 64 * 1024);
            let judge = || inspection.judge(MessageKind::Text, black_box(text.as_bytes()), &context);
            let clock = Clock::system();
            let time = (0..5).map(|_| {
                let begun = clock.now();
                assert_eq!(black_box(judge()).verdict, Verdict::Pass);
                clock.now() - begun
            });
            time.min().unwrap_or_default()
        });
        eprintln!("{when}: {:?} µs", times.map(|time| time.as_micros()));
        assert!(times.iter().all(|time| *time < time_max), "{when}: {times:?}");
    }
}

/// The shortest time that `work` took, on the average of a run of them.
fn best_of(work: &mut dyn FnMut()) -> Duration {
    let clock = Clock::system();
    let run = |_| {
        let begun = clock.now();
        (0..TIMES).for_each(|_| work());
        (clock.now() - begun) / TIMES
    };
    (0..RUNS).map(run).min().unwrap_or_default()
}

fn principal() -> Principal {
    let claims = json!({ "sub": "alice", "roles": ["chat", "orders"], "tier": 3 });
    Principal {
        subject: "alice".into(),
        token_id: None,
        issued_at: None,
        expires_at: UnixTime::from_seconds(2_000_000_000),
        key: None,
        claims: claims.as_object().cloned().unwrap_or_default().into(),
    }
}

/// A message as a shop's page might send it, of 1 KiB.
fn order() -> String {
    let item = |number: usize| {
        format!(
            r#"{{"sku":"SKU-{number:05}","name":"a thing of many","count":{},"cents":{}}}"#,
            number % 9 + 1,
            number * 199
        )
    };
    let items: Vec<String> = (1..=10).map(item).collect();
    let mut text = format!(
        r#"{{"type":"order.place","id":"7d444840-9dc0-11d1-b245-5ffdce74fad2","email":"ada@example.com","at":"2026-11-26T12:00:00Z","items":[{}],"note":""#,
        items.join(",")
    );
    let left = 1024 - text.len() - 2;
    text.push_str(&"ring twice, please; ".repeat(60)[..left]);
    text.push_str("\"}");
    text
}

const SCHEMA: &str = r##"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","required":["type"],"properties":{"type":{"type":"string","maxLength":64}},"if":{"properties":{"type":{"const":"order.place"}}},"then":{"required":["id","email","at","items"],"additionalProperties":false,"properties":{"type":true,"id":{"type":"string","format":"uuid"},"email":{"type":"string","format":"email"},"at":{"type":"string","format":"date-time"},"note":{"type":"string","maxLength":2000},"items":{"type":"array","minItems":1,"maxItems":100,"items":{"$ref":"#/$defs/item"}}}},"$defs":{"item":{"type":"object","required":["sku","count","cents"],"additionalProperties":false,"properties":{"sku":{"type":"string","pattern":"^SKU-[0-9]{5}$"},"name":{"type":"string","maxLength":100},"count":{"type":"integer","minimum":1,"maximum":99},"cents":{"type":"integer","minimum":0}}}}}"##;

const RULES: [(&str, &str); 5] = [
    ("admins only", r#"message.type.startsWith("admin.") && !("admin" in claims.roles)"#),
    (
        "own address",
        r#"has(message.email) && message.email == "root@example.com" && session.subject != "root""#,
    ),
    ("large orders", "has(message.items) && size(message.items) > 50"),
    ("dear things", "has(message.items) && message.items.exists(item, item.cents > 1000000)"),
    ("near by", r#"!client.address.inNetwork("127.0.0.0/8")"#),
];

const TIMES: u32 = if cfg!(debug_assertions) { 5 } else { 2_000 };
const RUNS: u32 = if cfg!(debug_assertions) { 2 } else { 25 };
/// The most that a document of 64 KiB may take.
const WORST_TIME_MAX: Duration = Duration::from_millis(if cfg!(debug_assertions) { 200 } else { 2 });
/// Some five times what it takes on the machine of docs/performance.md, so that a busy one does not fail it.
const TIME_MAX: Duration = Duration::from_micros(if cfg!(debug_assertions) { 5_000 } else { 25 });
const INTERPRETED_TIME_MAX: Duration =
    Duration::from_micros(if cfg!(debug_assertions) { 50_000 } else { 200 });
/// Two or three times what the slowest of them takes.
const INTERPRETED_LIST_TIME_MAX: Duration =
    Duration::from_millis(if cfg!(debug_assertions) { 1_000 } else { 25 });
const CLAIMS_TIME_MAX: Duration = Duration::from_millis(if cfg!(debug_assertions) { 200 } else { 10 });
