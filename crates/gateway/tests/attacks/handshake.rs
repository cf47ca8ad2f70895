//! H: the opening handshake.

use drawgate::reason::Reason;

use crate::support::{Case, echo, request};

#[tokio::test]
async fn h02_another_version_is_answered_with_ours() {
    let mut case = Case::start(&echo("", "")).await;
    let sent = request("/", "").replace("Version: 13", "Version: 777");
    let mut raw = case.connect().await;
    raw.send(sent.as_bytes()).await;
    let response = raw.expect_refusal(Reason::WebSocketVersionUnsupported).await;
    assert!(response.head.contains("Sec-WebSocket-Version: 13\r\n"), "{response:?}");
    case.refused(Reason::WebSocketVersionUnsupported, sent.as_bytes()).await;
}
