//! Floods of pings and pongs.

use drawgate::reason::Reason;

use super::block_output;
use crate::support::{Case, Frame, Raw, echo, eventually, frame, payload};

#[tokio::test]
async fn f15_each_ping_is_answered_in_order_while_output_flows() {
    let case = Case::start(&echo("", "")).await;
    let mut raw = case.open().await;
    // A burst is 100.
    let pings: Vec<Vec<u8>> =
        (0..100_u8).map(|number| [&[number][..], &vec![b'p'; usize::from(number)]].concat()).collect();
    raw.send(&pings.iter().flat_map(|ping| frame(0x89, ping)).collect::<Vec<u8>>()).await;
    for ping in &pings {
        assert_eq!(raw.read_frame().await, Frame::whole(0x8A, ping));
    }
    assert_eq!((case.messages("in", "ping"), case.messages("out", "pong")), (100, 100));
}

#[tokio::test]
async fn f15_a_ping_flood_closes_with_1008() {
    let mut case = Case::start(&echo("", "")).await;
    let mut raw = case.open().await;
    raw.send(&frame(0x89, b"many of these, sixteen or more").repeat(300)).await;
    let mut pongs = 0;
    let close = loop {
        match raw.read_frame().await {
            frame if frame.first == 0x8A => pongs += 1,
            frame => break frame,
        }
    };
    assert_eq!(close.first, 0x88);
    assert_eq!(close.payload[..2], 1008_u16.to_be_bytes());
    assert_eq!(&close.payload[2..], Reason::PingRateExceeded.row().close_reason.as_bytes());
    // Nothing is refused within the burst, and little beyond it.
    assert!((100..250).contains(&pongs), "{pongs}");
    let record = case.refused(Reason::PingRateExceeded, b"many of these, sixteen or more").await;
    assert_eq!((record["close_code"].as_u64(), record["limit"].as_u64()), (Some(1008), Some(50)));
}

#[tokio::test]
async fn f15_only_the_latest_pong_is_kept_while_output_is_blocked() {
    let mut case =
        Case::start(&echo(r#"ping_interval = "unlimited""#, "[admin]\naddress = \"127.0.0.1:0\"")).await;
    let mut raw = Raw::connect_narrow(case.address).await;
    raw.upgrade("/").await;
    let message = vec![b'm'; 32 * 1024];
    let (echoes, blocked_bytes) = block_output(&case, &mut raw, &message).await;
    for number in 0..90_u8 {
        raw.send_frame(0x89, &[number; 100]).await;
    }
    eventually(|| case.messages("in", "ping") == 90, || "the pings are not read".to_owned()).await;
    let with_pong = case.buffered_bytes().await;
    assert!(with_pong <= blocked_bytes + 114, "{blocked_bytes} and then {with_pong} bytes wait");

    for _ in 0..echoes {
        assert_eq!(payload(&raw.read_message().await), message);
    }
    assert_eq!(raw.read_frame().await, Frame::whole(0x8A, &[89; 100]));
    // No other pong is behind it, and what comes after the jam is answered at once.
    raw.send_frame(0x89, b"free").await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x8A, b"free"));
    case.neighbour_is_unharmed().await;
    assert_eq!(case.buffered_bytes().await, 0);
}

#[tokio::test]
async fn f16_unasked_pongs_are_counted_and_otherwise_ignored() {
    let case = Case::start(&echo("", "")).await;
    let mut raw = case.open().await;
    raw.send(&frame(0x8A, b"unasked").repeat(100)).await;
    raw.send_frame(0x81, b"after them").await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"after them"));
    assert_eq!(case.messages("in", "pong"), 100);
}

#[tokio::test]
async fn f16_a_pong_flood_closes_with_1008() {
    let mut case = Case::start(&echo("", "")).await;
    let mut raw = case.open().await;
    raw.send(&frame(0x8A, b"many of these, sixteen or more").repeat(300)).await;
    raw.expect_close(Reason::PongRateExceeded).await;
    let record = case.refused(Reason::PongRateExceeded, b"many of these, sixteen or more").await;
    assert_eq!((record["close_code"].as_u64(), record["limit"].as_u64()), (Some(1008), Some(50)));
}
