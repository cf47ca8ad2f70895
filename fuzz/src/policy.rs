//! Target `policy`: a condition of a rule, and behind a NUL a message to ask it of.
//!
//! Promises: no panic; a condition is ready, or refused with what is wrong and what to do; a message is judged the same each time, as
//! text and as JSON, the short way as by the interpreter, and no part of it is in what is said of it.

use std::net::{IpAddr, Ipv4Addr};

use drawgate::inspect::policy::{Action, Rule};
use drawgate::inspect::{Context, Format, Inspection, Policy, Toward, Verdict};
use drawgate::json::Limits;
use drawgate::principal::ClientAddr;
use drawgate::reason::Reason;
use drawgate_protocol::MessageKind;

use crate::Seed;

/// Checks one input.
pub fn run(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let texts = [parts.next(), parts.next()].map(|part| std::str::from_utf8(part.unwrap_or_default()));
    let [Ok(when), Ok(message)] = texts else { return };
    let rule = Rule { name: "rule".into(), when: when.to_owned(), then: Action::Refuse, is_shadow: false };
    let policy = match Policy::compile(vec![rule]) {
        Ok(policy) => policy,
        Err(flaws) => {
            assert!(!flaws.is_empty() && flaws.iter().all(|flaw| flaw.index == 0 && !flaw.wrong.is_empty()));
            return;
        }
    };
    for format in [Format::Json(Limits::default()), Format::Text] {
        let inspection = Inspection { policy: Some(policy.clone()), ..Inspection::new(format) };
        let client = ClientAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
        let context = Context { toward: Toward::Backend, client, session: None, principal: None };
        let judge = || inspection.judge(MessageKind::Text, message.as_bytes(), &context);
        let judgement = judge();
        assert_eq!(judgement, judge(), "judged twice");
        let interpreted = policy.clone().interpreted();
        let interpreted = Inspection { policy: Some(interpreted), ..inspection.clone() };
        let as_interpreted = interpreted.judge(MessageKind::Text, message.as_bytes(), &context);
        assert_eq!(judgement, as_interpreted, "the short way, and the long one");
        assert!(judgement.notes.is_empty());
        match judgement.verdict {
            Verdict::Pass => {}
            Verdict::Refuse(refusal) => {
                let of_rule = matches!(refusal.reason, Reason::PolicyRefused | Reason::PolicyRuleFailed);
                assert_eq!(of_rule, refusal.rule.is_some());
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Each kind of condition, one that holds, one that fails, and some that cannot be used.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let seed = |name: &str, when: &str, message: &str| Seed {
        name: name.to_owned(),
        bytes: format!("{when}\0{message}").into_bytes(),
    };
    vec![
        seed(
            "roles",
            r#"message.type.startsWith("admin.") && !("admin" in claims.roles)"#,
            r#"{"type":"admin.x"}"#,
        ),
        seed("numbers", "message.n * 2 + 1 > 4.5 || message.n % 3 == 0u", r#"{"n":18446744073709551615}"#),
        seed(
            "loops",
            "message.a.exists(x, x == 'b') && message.a.map(x, size(x)) == [1, 1]",
            r#"{"a":["a","b"]}"#,
        ),
        seed("whole", "message == {'a': [1, null, true]}", r#"{"a":[1,null,true]}"#),
        seed("pattern", "message.text.matches('^[a-z]+(b|c)*$')", r#"{"text":"abc"}"#),
        seed("network", "client.address.inNetwork('192.0.2.0/24') && direction == 'client'", "{}"),
        seed("types", "type(message.a) == int && has(message.a) && string(message.a) == '1'", r#"{"a":1}"#),
        seed("choice", "message.a ? message.b[0] : message['c']", r#"{"a":true,"b":[false]}"#),
        seed("bytes", r"bytes(message.a) == b'\x61' && dyn(1) != '1'", r#"{"a":"a"}"#),
        seed("fails", "message.absent.deeper == 1 / 0", "{}"),
        seed("nested", "[[1]].exists(x, x.exists(y, y == 1))", "1"),
        seed("unknown", "nobody.knows(this)", "1"),
        seed("grows", "message.a.map(x, x + x + x)", r#"{"a":["a"]}"#),
        seed("syntax", "message.(a && ", "1"),
        seed("deep", &format!("{}true", "!".repeat(90)), "1"),
    ]
}
