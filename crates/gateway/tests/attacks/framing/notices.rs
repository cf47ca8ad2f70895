//! What a client is told beside the close code.

use drawgate::reason::Reason;
use serde_json::{Value, json};

use super::with_close_timeout;
use crate::support::{Case, Frame, frame};

/// An echo that tells refusals by `notice`.
fn with_notice(notice: &str) -> String {
    let toml = with_close_timeout("20ms", r#"message_timeout = "100ms""#);
    toml.replace(r#"backend = "echo""#, &format!("backend = \"echo\"\nnotice = \"{notice}\""))
}

#[tokio::test]
async fn a_notice_of_close_is_the_close_alone() {
    let case = Case::start(&with_notice("close")).await;
    let mut raw = case.open().await;
    raw.send(&[0x83]).await;
    let row = Reason::FrameOpcodeUnknown.row();
    let close = [&1002_u16.to_be_bytes()[..], row.close_reason.as_bytes()].concat();
    assert_eq!(raw.read_frame().await, Frame::whole(0x88, &close));
    raw.expect_end().await;
}

#[tokio::test]
async fn a_json_notice_is_a_message_before_the_close_in_the_shape_of_a_problem() {
    let mut case = Case::start(&with_notice("json")).await;
    let mut raw = case.open().await;
    raw.send(&[0x83]).await;
    let notice = raw.read_frame().await;
    assert_eq!(notice.first, 0x81);
    let row = Reason::FrameOpcodeUnknown.row();
    let expected = json!({
        "type": row.type_uri,
        "title": "Frame Opcode Unknown",
        "detail": row.sentence,
        "retry": "never",
        "close_code": 1002,
    });
    assert_eq!(serde_json::from_slice::<Value>(&notice.payload).unwrap(), expected);
    raw.expect_close(Reason::FrameOpcodeUnknown).await;
    drop(raw);
    case.refused(Reason::FrameOpcodeUnknown, b"").await;
}

#[tokio::test]
async fn a_text_notice_is_the_title_alone() {
    let mut case = Case::start(&with_notice("text")).await;
    let mut raw = case.open().await;
    raw.send(&[0x83]).await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"Frame Opcode Unknown"));
    raw.expect_close(Reason::FrameOpcodeUnknown).await;
    drop(raw);
    case.refused(Reason::FrameOpcodeUnknown, b"").await;
}

#[tokio::test]
async fn a_notice_inside_an_echoed_message_is_dropped() {
    for notice in ["json", "text"] {
        // By a rule of the protocol, and by a deadline.
        for (after, reason) in [(&[0x83][..], Reason::FrameOpcodeUnknown), (&[][..], Reason::MessageTimeout)]
        {
            let mut case = Case::start(&with_notice(notice)).await;
            let mut raw = case.open().await;
            raw.send(&[&frame(0x01, b"begun"), after].concat()).await;
            assert_eq!(raw.read_frame().await, Frame::whole(0x01, b"begun"));
            let close = raw.read_frame().await;
            assert_eq!((close.first, &close.payload[2..]), (0x88, reason.row().close_reason.as_bytes()));
            raw.expect_end().await;
            drop(raw);
            case.refused(reason, b"").await;
        }
    }
}

#[tokio::test]
async fn a_notice_reflects_nothing_of_what_was_sent() {
    for notice in ["close", "json", "text"] {
        let mut case = Case::start(&with_notice(notice)).await;
        let mut raw = case.open().await;
        let plain = b"sixteen bytes or more <script>";
        raw.send(&frame(0xC1, plain)).await;
        loop {
            let frame = raw.read_frame().await;
            assert!(
                !String::from_utf8(frame.payload[frame.payload.len().min(2)..].to_vec())
                    .unwrap()
                    .contains("script")
            );
            if frame.first == 0x88 {
                break;
            }
        }
        raw.expect_end().await;
        drop(raw);
        case.refused(Reason::FrameReservedBits, plain).await;
    }
}
