//! Rules alone: what holds, what fails, and what no rule may be made of.

use std::net::IpAddr;

use drawgate_protocol::MessageKind;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::clock::UnixTime;
use crate::inspect::{Format, Inspection, Judgement, Verdict};
use crate::json as strict;
use crate::principal::{ClientAddr, Principal};

fn rule(name: &str, when: &str, then: Action) -> Rule {
    Rule { name: name.into(), when: when.to_owned(), then, is_shadow: false }
}

fn shadow(name: &str, when: &str) -> Rule {
    Rule { is_shadow: true, ..rule(name, when, Action::Close) }
}

fn inspection(rules: Vec<Rule>) -> Inspection {
    let policy = Some(Policy::compile(rules).unwrap());
    Inspection { policy, ..Inspection::new(Format::Json(strict::Limits::default())) }
}

fn principal(claims: &Value) -> Principal {
    let claims: Map<String, Value> = claims.as_object().unwrap().clone();
    Principal {
        subject: "alice".into(),
        token_id: None,
        issued_at: None,
        expires_at: UnixTime::from_seconds(2_000_000_000),
        key: None,
        claims: claims.into(),
    }
}

fn judged(rules: Vec<Rule>, message: &Value) -> Judgement {
    let principal = principal(&json!({ "roles": ["admin", "chat"], "tier": 3, "org": { "id": "o1" } }));
    let address: IpAddr = "192.0.2.7".parse().unwrap();
    let (client, principal) = (ClientAddr::new(address), Some(&principal));
    let context = Context { toward: Toward::Backend, client, session: None, principal };
    inspection(rules).judge(MessageKind::Text, message.to_string().as_bytes(), &context)
}

/// Whether a rule with this condition holds; `None` if it fails.
fn holds(when: &str, message: &Value) -> Option<bool> {
    match judged(vec![rule("the rule", when, Action::Refuse)], message).verdict {
        Verdict::Pass => Some(false),
        Verdict::Refuse(refusal) if refusal.reason == Reason::PolicyRefused => Some(true),
        Verdict::Refuse(refusal) if refusal.reason == Reason::PolicyRuleFailed => None,
        other => panic!("{when}: {other:?}"),
    }
}

use crate::inspect::Toward;

#[test]
fn conditions_see_the_message_the_claims_the_session_and_the_client() {
    let message = json!({
        "type": "admin.kick", "n": 5, "big": 18_446_744_073_709_551_615_u64, "half": 0.5, "none": null, "yes": true,
        "to": { "room": "lobby" }, "tags": ["a", "b"], "text": "hello world",
    });
    for when in [
        "message.type.startsWith('admin.') && 'admin' in claims.roles",
        "message['type'] == 'admin.kick'",
        "message.n == 5 && message.n < 6 && message.n * 2 == 10 && message.n >= 4.5",
        "message.big > 9223372036854775807u && message.half == 0.5",
        "message.none == null && message.yes",
        "message.to.room == 'lobby' && has(message.to.room) && !has(message.to.other)",
        "has(message.type) && !has(message.absent)",
        "size(message.tags) == 2 && message.tags == ['a', 'b'] && 'a' in message.tags",
        "message.tags.exists(tag, tag == 'b') && message.tags.all(tag, size(tag) == 1)",
        "message.tags.exists(tag, has(message.text) && tag in claims.roles || tag == 'b')",
        "message.tags.filter(tag, tag != 'a').all(tag, tag == 'b') || message.tags.exists(tag, tag == 'a')",
        "message.tags.map(tag, tag == 'a') == [true, false] && size(message.tags.filter(tag, tag != 'a')) == 1",
        "message.text.matches('^hello [a-z]+$') && message.text.contains('lo w') && message.text.endsWith('d')",
        "claims.tier == 3 && claims.org.id == 'o1' && !has(claims.absent)",
        "session.subject == 'alice' && !has(session.id)",
        "client.address == '192.0.2.7' && client.address.inNetwork('192.0.2.0/24')",
        "!client.address.inNetwork('2001:db8::/32') && direction == 'client'",
        "type(message.n) == int && (message.n > 3 ? message.yes : false)",
        "size(message) == 9 && message.text.size() == 11",
        "message.tags.exists(message, message == 'b') && dyn(message.n) == 5 && string(message.n) == '5'",
    ] {
        assert_eq!(holds(when, &message), Some(true), "{when}");
        assert_eq!(holds(&format!("!({when})"), &message), Some(false), "{when}");
    }
}

#[test]
fn m13_a_condition_that_fails_lets_nothing_pass() {
    let message = json!({ "type": 7, "list": [1], "text": "x" });
    for when in [
        "message.absent == 1",
        "message.type.startsWith('a')",
        "claims.absent.deep",
        "message.list[4] == 1",
        "message.type / 0 == 1",
        "message.type + message.text == 'x'",
        "9223372036854775807 + message.type > 0",
        "message.text.inNetwork('10.0.0.0/8')",
        "client.address.inNetwork(message.text)",
        "message.type",
        "message.text",
        "message.text && true",
        "message.type < 'a'",
        "[1, 2]",
    ] {
        assert_eq!(holds(when, &message), None, "{when}");
    }
    // What is told does not show the message.
    let secret = json!({ "text": "hunter2" });
    let verdict = judged(vec![rule("numbers", "message.text > 5", Action::Refuse)], &secret).verdict;
    let shown = format!("{verdict:?}");
    assert!(shown.contains("numbers") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn each_action_has_its_verdict_and_the_first_that_stops_a_message_is_the_last_asked() {
    let message = json!({ "n": 1 });
    let verdict = |then| judged(vec![rule("r", "message.n == 1", then)], &message).verdict;
    assert!(matches!(verdict(Action::Refuse), Verdict::Refuse(_)));
    assert!(matches!(verdict(Action::Close), Verdict::Close(_)));
    assert!(matches!(verdict(Action::Drop), Verdict::Drop(_)));
    assert_eq!(verdict(Action::Log), Verdict::Pass);
    let rules = vec![
        rule("logs", "true", Action::Log),
        rule("drops", "message.n == 1", Action::Drop),
        rule("fails", "message.absent", Action::Refuse),
    ];
    let Judgement { verdict, notes } = judged(rules, &message);
    let Verdict::Drop(refusal) = verdict else { panic!("{verdict:?}") };
    assert_eq!(refusal.rule.as_deref(), Some("drops"));
    assert_eq!(Effect::of(&refusal, Consequence::Notice), Effect::Dropped);
    assert_eq!(notes, [Note { rule: "logs".into(), effect: Effect::Logged }]);
}

#[test]
fn a_rule_in_shadow_is_noted_and_stops_nothing() {
    let message = json!({ "n": 1 });
    let rules = vec![
        shadow("would", "message.n == 1"),
        shadow("would not", "message.n == 2"),
        shadow("fails", "message.absent"),
    ];
    let Judgement { verdict, notes } = judged(rules, &message);
    assert_eq!(verdict, Verdict::Pass);
    let expected = [("would", Effect::Shadowed), ("fails", Effect::ShadowFailed)];
    assert_eq!(notes, expected.map(|(rule, effect)| Note { rule: rule.into(), effect }));
}

#[test]
fn without_a_session_there_are_no_claims_and_no_subject() {
    let context = Context {
        toward: Toward::Client,
        client: ClientAddr::new("2001:db8::1".parse().unwrap()),
        session: None,
        principal: None,
    };
    let rules =
        vec![rule("r", "has(claims.sub) || has(session.subject) || direction != 'backend'", Action::Refuse)];
    assert_eq!(inspection(rules).judge(MessageKind::Text, b"{}", &context).verdict, Verdict::Pass);
    // What is no JSON is a text, or bytes.
    for (kind, format, when) in [
        (MessageKind::Text, Format::Text, "message == 'abc' && size(message) == 3"),
        (MessageKind::Binary, Format::Binary, "message == b'abc' && size(message) == 3"),
        (MessageKind::Text, Format::Any, "type(message) == string && message == 'abc'"),
        (MessageKind::Binary, Format::Any, "type(message) == bytes && message == b'abc'"),
    ] {
        let policy = Some(Policy::compile(vec![rule("r", when, Action::Drop)]).unwrap());
        let inspection = Inspection { policy, ..Inspection::new(format) };
        assert!(matches!(inspection.judge(kind, b"abc", &context).verdict, Verdict::Drop(_)), "{when}");
    }
}

#[test]
fn what_no_rule_may_be_made_of_is_told_when_it_is_read() {
    for (when, part) in [
        ("", "no CEL expression"),
        ("message.", "no CEL expression"),
        ("massage.type == 1", "names \"massage\""),
        ("now() > 1", "calls now()"),
        ("message.text.lowerAscii() == 'a'", "calls lowerAscii()"),
        ("matches(message.text, 'a')", "other than as text.matches("),
        ("message.text.matches()", "other than as text.matches("),
        ("message.text.contains('a', 'b')", "other than as text.contains("),
        ("inNetwork(client.address, '10.0.0.0/8')", "other than as text.inNetwork("),
        ("client.address.inNetwork('10.0.0.0/33')", "\"10.0.0.0/33\", which is no network"),
        ("size() == 1", "other than as size(value)"),
        ("message.n.string() == '1'", "other than as string(value)"),
        ("client.adress == '192.0.2.7'", "names client.adress"),
        ("session.user == 'alice'", "names session.user"),
        ("message.text.matches(message.pattern)", "no string in quotes"),
        ("message.text.matches('(a')", "cannot be used"),
        ("message.text.matches('(a)\\\\1')", "cannot be used"),
        ("message.text.matches('a{1000}{1000}')", "cannot be used"),
        ("message.a.exists(x, message.b.exists(y, x == y))", "a loop within a loop"),
        ("message.a.map(x, x + x) == []", "adds within a loop"),
        ("message.a.map(x, [x, x]).map(x, [x, x]) == []", "has a loop over what map() makes"),
        ("(true ? message.a.map(x, true, x.b) : []).exists(x, x == 1)", "has a loop over what map() makes"),
        ("message.a.exists(x, x in message.b)", "looks at the message within a loop"),
        ("message.a.exists(x, message.text.contains(x))", "looks at the message within a loop"),
        ("message.a.exists(x, message.text.matches('a'))", "looks at the message within a loop"),
        ("message.a.exists(x, size(message.text) == x)", "looks at the message within a loop"),
        ("message.a.exists(x, [message.b] == x)", "looks at the message within a loop"),
        ("message.a.exists(x, x == message.b)", "looks at the message within a loop"),
        ("message.a.map(x, true ? message.b : [x]) == []", "looks at the message within a loop"),
        ("message.a.exists(x, message.flag && x)", "looks at the message within a loop"),
        ("message.a.exists(x, x.owner in x.members)", "looks for a part of the message in another"),
        ("message.b in message.a", "looks for a part of the message in another"),
        ("[message.b] in message.a.map(x, [x])", "looks for a part of the message in another"),
        ("Thing{a: 1} == message", "makes a Thing"),
        (&"(".repeat(5000), "5000 bytes long"),
        (&format!("{}1{} == 1", "(".repeat(200), ")".repeat(200)), "more than 32 pairs of brackets"),
        (&format!("message{} == 1", ".a".repeat(500)), "more than 64 deep"),
        (&format!("1{} == 1", " + 1".repeat(500)), "more than 64 deep"),
    ] {
        let flaws = Policy::compile(vec![rule("fine", "true", Action::Log), rule("r", when, Action::Refuse)])
            .err()
            .unwrap_or_default();
        assert!(flaws.iter().any(|flaw| flaw.index == 1 && flaw.wrong.contains(part)), "{when}: {flaws:?}");
    }
    let twice =
        Policy::compile(vec![rule("r", "true", Action::Log), rule("r", "true", Action::Log)]).unwrap_err();
    assert!(twice[0].index == 1 && twice[0].wrong.contains("a second \"r\""), "{twice:?}");
}

#[test]
fn a_deep_condition_and_a_deep_message_are_worked_out_on_a_small_stack() {
    let deepest = |written: &dyn Fn(usize) -> String| {
        let fits = |when: &String| Policy::compile(vec![rule("r", when, Action::Log)]).is_ok();
        (1..200).rev().map(written).find(fits).unwrap()
    };
    let rules = [
        deepest(&|depth| format!("{}true{}", "!(".repeat(depth), ")".repeat(depth))),
        deepest(&|depth| format!("has(message{}) || true", ".a".repeat(depth))),
        deepest(&|depth| format!("1{} > 0", " + 1".repeat(depth))),
        // What the parser makes shallow is long instead.
        format!("{}true", "!".repeat(4000)),
        format!("{}true", "!message.b || ".repeat(280)),
        deepest(&|depth| format!("[1].exists(x, {}x == 1{})", "!(".repeat(depth), ")".repeat(depth))),
    ];
    let rules: Vec<Rule> =
        rules.iter().enumerate().map(|(number, when)| rule(&number.to_string(), when, Action::Log)).collect();
    let nested = (0..30).fold(json!(1), |inner, _| json!({ "a": inner }));
    let work = move || {
        let whole = rule("whole", "message == {}", Action::Refuse);
        judged([rules, vec![whole]].concat(), &nested).verdict
    };
    // As much as a worker thread of the runtime has.
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(work).unwrap();
    assert_eq!(thread.join().unwrap(), Verdict::Pass);
}

proptest! {
    #[test]
    fn no_condition_breaks_the_reader_and_what_it_takes_can_be_asked(
        when in r#"[a-z.()!&|=<>'"0-9+*\[\] ?:,{}]{0,60}|(message|claims)(\.[ab]|\[[0-9]\]){0,3} ?(==|<|in|&&) ?(1|'a'|\[1\]|message)"#,
    ) {
        if let Ok(policy) = Policy::compile(vec![rule("r", &when, Action::Refuse)]) {
            let inspection = Inspection { policy: Some(policy), ..Inspection::new(Format::Json(strict::Limits::default())) };
            let client = ClientAddr::new("192.0.2.1".parse().unwrap());
            let context = Context { toward: Toward::Backend, client, session: None, principal: None };
            let first = inspection.judge(MessageKind::Text, br#"{"a": 1, "b": [1, "a"]}"#, &context);
            let second = inspection.judge(MessageKind::Text, br#"{"a": 1, "b": [1, "a"]}"#, &context);
            prop_assert_eq!(first, second);
        }
    }
}
