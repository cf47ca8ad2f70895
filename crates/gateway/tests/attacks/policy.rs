//! Rules of the operator's on messages, through real sockets: M13, and what records, counters and clients learn of them.

use drawgate::reason::Reason;
use serde_json::{Value, json};

use crate::sessions::{token, with_sessions};
use crate::support::{Case, Raw, eventually, request};

const RULES: &str = r#"
    [routes.token.inspect]
    format = "json"
    rules = [
      { name = "admins only", when = 'message.type.startsWith("admin.") && !("admin" in claims.roles)', then = "refuse" },
      { name = "no bots", when = 'message.type == "bot"', then = "close" },
      { name = "no noise", when = 'message.type == "noise"', then = "drop" },
      { name = "whispers", when = 'message.type == "whisper"', then = "log" },
      { name = "longer texts", when = 'message.type == "long"', then = "close", shadow = true },
    ]
"#;

async fn start() -> Case {
    Case::start(&with_sessions("", "").replace("[auth.users]", &format!("{RULES}\n[auth.users]"))).await
}

async fn open(case: &Case, roles: &Value) -> Raw {
    let mut raw = case.connect().await;
    let bearer = format!("Authorization: Bearer {}\r\n", token("alice", &json!({ "roles": roles })));
    raw.send(request("/token", &bearer).as_bytes()).await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 101 "));
    raw
}

async fn says(raw: &mut Raw, message: &str) -> Value {
    raw.send_frame(0x81, message.as_bytes()).await;
    let frame = raw.read_frame().await;
    assert_eq!(frame.first, 0x81, "{frame:?}");
    serde_json::from_slice(&frame.payload).unwrap()
}

fn applied(case: &Case, rule: &str, effect: &str) -> u64 {
    case.metric(&format!(r#"drawgate_rules_applied_total{{route="token",rule="{rule}",effect="{effect}"}}"#))
}

#[tokio::test]
async fn m13_an_action_that_the_policy_does_not_allow_is_refused_and_the_rest_goes_on() {
    let mut case = start().await;
    let mut chatter = open(&case, &json!(["chat"])).await;
    let secret = r#"{"type":"admin.kick","who":"hunter2-correct-horse"}"#;
    let told = says(&mut chatter, secret).await;
    assert_eq!(
        (&told["type"], &told["rule"]),
        (&Reason::PolicyRefused.row().type_uri.into(), &"admins only".into())
    );
    assert_eq!(says(&mut chatter, r#"{"type":"chat"}"#).await, json!({ "type": "chat" }));
    let mut admin = open(&case, &json!(["admin"])).await;
    assert_eq!(says(&mut admin, secret).await["type"], "admin.kick");
    eventually(|| case.records_of(Reason::PolicyRefused).len() == 1, || case.log_text()).await;
    let record = &case.records_of(Reason::PolicyRefused)[0];
    assert!(record["detail"].as_str().unwrap().contains("admins only"), "{record}");
    assert_eq!((&record["subject"], applied(&case, "admins only", "refused")), (&"alice".into(), 1));
    assert!(!case.log_text().contains("hunter2"));
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn m13_a_rule_closes_or_drops_where_it_says_so() {
    let mut case = start().await;
    let mut raw = open(&case, &json!([])).await;
    raw.send_frame(0x81, br#"{"type":"noise"}"#).await;
    assert_eq!(
        says(&mut raw, r#"{"type":"chat"}"#).await["type"],
        "chat",
        "nobody is told of what is dropped"
    );
    assert_eq!(applied(&case, "no noise", "dropped"), 1);
    raw.send_frame(0x81, br#"{"type":"bot"}"#).await;
    let told: Value = serde_json::from_slice(&raw.read_frame().await.payload).unwrap();
    assert_eq!(told["rule"], "no bots");
    raw.expect_close(Reason::PolicyRefused).await;
    assert_eq!(applied(&case, "no bots", "closed"), 1);
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn m13_a_rule_that_cannot_be_told_refuses() {
    let mut case = start().await;
    let mut raw = open(&case, &json!([])).await;
    for message in [r#"{"kind":"chat"}"#, r#"{"type":7}"#, "[]", "7"] {
        let told = says(&mut raw, message).await;
        assert_eq!(
            (&told["type"], &told["rule"]),
            (&Reason::PolicyRuleFailed.row().type_uri.into(), &"admins only".into())
        );
    }
    eventually(|| case.records_of(Reason::PolicyRuleFailed).len() == 4, || case.log_text()).await;
    assert_eq!(applied(&case, "admins only", "failed"), 4);
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn what_a_rule_logs_or_would_do_is_recorded_and_goes_on() {
    let case = start().await;
    let mut raw = open(&case, &json!([])).await;
    for kind in ["whisper", "long", "chat"] {
        assert_eq!(says(&mut raw, &json!({ "type": kind }).to_string()).await["type"], kind);
    }
    let records = || {
        case.records().into_iter().filter(|record| record["message"] == "rule applied").collect::<Vec<_>>()
    };
    eventually(|| records().len() == 2, || case.log_text()).await;
    let told: Vec<_> =
        records().iter().map(|record| (record["rule"].clone(), record["effect"].clone())).collect();
    assert_eq!(told, [("whispers".into(), "logged".into()), ("longer texts".into(), "shadowed".into())]);
    assert_eq!((applied(&case, "whispers", "logged"), applied(&case, "longer texts", "shadowed")), (1, 1));
    assert_eq!(case.records_of(Reason::PolicyRefused).len(), 0);
}

#[tokio::test]
async fn rules_judge_what_the_application_sends_too() {
    let rules = "[routes.token.inspect_replies]\nformat = \"text\"\n\
        rules = [{ name = \"no names\", when = 'message.contains(session.subject)', then = \"refuse\" }]\n[auth.users]";
    let case = Case::start(&with_sessions("", "").replace("[auth.users]", rules)).await;
    let mut raw = open(&case, &json!([])).await;
    raw.send_frame(0x81, b"alice").await;
    raw.send_frame(0x81, b"somebody").await;
    assert_eq!(raw.read_frame().await.payload, b"somebody");
    assert_eq!(applied(&case, "no names", "dropped"), 1);
}

#[tokio::test]
async fn what_rules_say_of_an_echo_on_its_way_there_and_back_is_all_recorded() {
    let rules = "[routes.token.inspect]\nformat = \"text\"\n\
        rules = [{ name = \"there\", when = 'message.contains(\"!\")', then = \"log\" }]\n\
        [routes.token.inspect_replies]\nformat = \"text\"\n\
        rules = [{ name = \"back\", when = 'message.contains(\"!\")', then = \"log\" }]\n[auth.users]";
    let case = Case::start(&with_sessions("", "").replace("[auth.users]", rules)).await;
    let mut raw = open(&case, &json!([])).await;
    let records = || {
        let records = case.records().into_iter().filter(|record| record["message"] == "rule applied");
        records.map(|record| record["rule"].clone()).collect::<Vec<_>>()
    };
    for count in 1..=2 {
        raw.send_frame(0x81, b"hear!").await;
        assert_eq!(raw.read_frame().await.payload, b"hear!");
        eventually(|| records() == ["there", "back"].repeat(count), || case.log_text()).await;
    }
    assert_eq!(["there", "back"].map(|rule| applied(&case, rule, "logged")), [2; 2]);
}
