//! Verdicts of the stage alone; what the relay makes of them is in tests/attacks/messages.rs.

use super::*;
use crate::json;

fn context(toward: Toward) -> Context<'static> {
    Context { toward, client: ClientAddr::new("192.0.2.1".parse().unwrap()), session: None, principal: None }
}

fn judge(inspection: &Inspection, kind: MessageKind, bytes: &[u8]) -> Verdict {
    inspection.judge(kind, bytes, &context(Toward::Backend)).verdict
}

#[test]
fn m12_a_message_of_the_wrong_kind_always_closes() {
    for (format, right, wrong) in [
        (Format::Text, MessageKind::Text, MessageKind::Binary),
        (Format::Json(json::Limits::default()), MessageKind::Text, MessageKind::Binary),
        (Format::Binary, MessageKind::Binary, MessageKind::Text),
    ] {
        let inspection = Inspection::new(format.clone());
        assert_eq!(judge(&inspection, right, b"1"), Verdict::Pass);
        let Verdict::Close(refusal) = judge(&inspection, wrong, b"1") else { panic!("{format:?}") };
        assert_eq!(refusal.reason, Reason::MessageKindRefused);
        // What the application sends is not the client's doing.
        let verdict = inspection.judge(wrong, b"1", &context(Toward::Client)).verdict;
        assert!(matches!(verdict, Verdict::Refuse(_)), "{verdict:?}");
    }
}

#[test]
fn any_is_text_and_binary() {
    let inspection = Inspection::new(Format::Any);
    assert_eq!(judge(&inspection, MessageKind::Text, b"{"), Verdict::Pass);
    assert_eq!(judge(&inspection, MessageKind::Binary, &[0xff]), Verdict::Pass);
}

#[test]
fn a_refusal_has_the_consequence_of_its_direction() {
    for (on_refusal, is_right) in [
        (Consequence::Notice, (|verdict| matches!(verdict, Verdict::Refuse(_))) as fn(&Verdict) -> bool),
        (Consequence::Close, |verdict| matches!(verdict, Verdict::Close(_))),
        (Consequence::Drop, |verdict| matches!(verdict, Verdict::Drop(_))),
    ] {
        let inspection = Inspection { on_refusal, ..Inspection::new(Format::Json(json::Limits::default())) };
        let verdict = judge(&inspection, MessageKind::Text, br#"{"a":1,"a":2}"#);
        assert!(is_right(&verdict), "{verdict:?}");
    }
}

#[test]
fn what_is_no_json_is_told_by_its_place_and_rule_and_by_nothing_of_its_own() {
    let Verdict::Refuse(refusal) = judge(
        &Inspection::new(Format::Json(json::Limits::default())),
        MessageKind::Text,
        br#"{"secret": hunter2}"#,
    ) else {
        panic!("it passed")
    };
    assert_eq!((refusal.reason, refusal.offset_bytes), (Reason::MessageNotJson, Some(11)));
    assert!(!format!("{refusal:?}").contains("hunter2"));
}
