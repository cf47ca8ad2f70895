//! Clients that are refused again and again are banned without an operator, or would be.

use drawgate::reason::Reason;
use serde_json::json;

use crate::sessions::{open, show, token, with_sessions};
use crate::support::{Case, eventually, request};

async fn start(bans: &str) -> Case {
    let toml = with_sessions("failures_per_client_per_minute = \"unlimited\"", "");
    Case::start(&format!("{toml}\n[firewall.automatic_bans]\n{bans}\n")).await
}

fn counted(case: &Case, effect: &str) -> u64 {
    case.metric(&format!(r#"drawgate_automatic_bans_total{{effect="{effect}"}}"#))
}

async fn guess(case: &Case, times: usize) {
    for _ in 0..times {
        let (raw, head) = show(case, "no-token").await;
        assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
        drop(raw);
    }
}

#[tokio::test]
async fn a_client_that_is_refused_too_often_is_banned_for_a_while_and_all_it_has_ends() {
    let case = start("per_minute = { token_invalid = 3 }\nfirst = \"2s\"").await;
    let mut held = open(&case, "alice", &json!({})).await;
    guess(&case, 4).await;
    eventually(|| counted(&case, "banned") == 1, || case.log_text()).await;
    held.expect_close(Reason::AddressBanned).await;
    let mut late = case.connect().await;
    late.send(request("/", "").as_bytes()).await;
    late.expect_refusal(Reason::AddressBanned).await;
    let records = case.records();
    let told = records.iter().find(|record| record["message"] == "automatic ban").unwrap();
    assert_eq!(
        (&told["network"], &told["reason"]),
        (&"127.0.0.1/32".into(), &"automatic: token_invalid".into()),
        "{told}"
    );
    // By itself it is over.
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    let mut back = open(&case, "alice", &json!({})).await;
    back.send_frame(0x81, b"hello").await;
    assert_eq!(back.read_frame().await.payload, b"hello");
    assert_eq!(counted(&case, "banned"), 1);
}

#[tokio::test]
async fn in_shadow_nobody_is_banned_and_it_is_counted_once() {
    let mut case = start("per_minute = { token_invalid = 2 }\nshadow = true").await;
    guess(&case, 6).await;
    eventually(|| counted(&case, "shadowed") == 1, || case.log_text()).await;
    let bearer = format!("Authorization: Bearer {}\r\n", token("alice", &json!({})));
    let mut raw = case.connect().await;
    raw.send(request("/token", &bearer).as_bytes()).await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!((counted(&case, "shadowed"), counted(&case, "banned")), (1, 0));
    case.neighbour_is_unharmed().await;
}
