//! F: frames and messages.

use drawgate::reason::Reason;

use crate::support::{Case, echo};

#[tokio::test]
async fn f05_an_unmasked_frame_closes_with_1002() {
    let mut case = Case::start(&echo("", "")).await;
    let mut raw = case.open().await;
    raw.send(b"\x81\x10not masked at all").await;
    raw.expect_close(Reason::FrameNotMasked).await;
    let record = case.refused(Reason::FrameNotMasked, b"not masked at all").await;
    assert_eq!(record["close_code"], 1002);
    assert_eq!(record["section"], "RFC 6455 §5.1");
}
