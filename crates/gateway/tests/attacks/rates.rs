//! R12 to R14: clients that send faster than a route allows are closed, or slowed, and others keep their share.

use std::time::Duration;

use drawgate::reason::Reason;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::sessions::{open, with_sessions};
use crate::support::{Case, Frame, Raw, echo, eventually, frame};

async fn start(limits: &str) -> Case {
    Case::start(&echo(limits, "")).await
}

/// What comes of `count` messages of `bytes` sent at once: the echoes, until there are no more.
async fn flood(raw: &mut Raw, count: usize, bytes: usize) {
    let message = frame(0x82, &vec![7; bytes]);
    raw.send(&message.repeat(count)).await;
}

#[tokio::test]
async fn r12_messages_faster_than_the_rate_close_and_are_told() {
    let mut case = start("messages_per_second = 5").await;
    let mut raw = case.open().await;
    flood(&mut raw, 6, 3).await;
    for _ in 0..5 {
        assert_eq!(raw.read_frame().await, Frame::whole(0x82, &[7; 3]));
    }
    raw.expect_close(Reason::MessageRateExceeded).await;
    let record = case.refused(Reason::MessageRateExceeded, b"").await;
    assert_eq!(
        (&record["limit"], &record["detail"]),
        (&5.into(), &"the rate of the session".into()),
        "{record}"
    );
    // The rate is the connection's: another has its own.
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn r12_pieces_of_one_message_are_one_message_and_a_second_later_there_are_more() {
    let mut case = start("messages_per_second = 2").await;
    let mut raw = case.open().await;
    raw.send(&[frame(0x02, b"a"), frame(0x00, b"b"), frame(0x00, b"c"), frame(0x80, b"d")].concat()).await;
    raw.send(&frame(0x82, b"two")).await;
    sleep(Duration::from_millis(1100)).await;
    flood(&mut raw, 2, 1).await;
    let mut echoed = 0;
    while echoed < 9 {
        echoed += raw.read_frame().await.payload.len();
    }
    assert_eq!((echoed, case.ends(Reason::MessageRateExceeded)), (9, 0));
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn r13_bytes_faster_than_the_rate_close_and_a_message_that_is_allowed_does_not() {
    let mut case = start("message_bytes_max = \"8KiB\"\nbytes_per_second = \"1KiB\"").await;
    let mut raw = case.open().await;
    flood(&mut raw, 1, 8 * 1024).await;
    assert_eq!(raw.read_frame().await.payload.len(), 8 * 1024);
    flood(&mut raw, 1, 2048).await;
    raw.expect_close(Reason::ByteRateExceeded).await;
    case.refused(Reason::ByteRateExceeded, b"").await;
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn r13_inflated_bytes_and_messages_that_are_refused_count() {
    let inspected = "[routes.inspected]\nlisteners = [\"main\"]\npath = \"/inspected\"\norigins = \"any\"\nauth = \"none\"\n\
        backend = \"echo\"\nnotice = \"json\"\n[routes.inspected.inspect]\nformat = \"json\"\n\
        [routes.inspected.limits]\nclose_timeout = \"300ms\"\nmessages_per_second = 3\n";
    let mut case = Case::start(&echo("", inspected)).await;
    let mut raw = case.connect().await;
    raw.upgrade("/inspected").await;
    for _ in 0..4 {
        raw.send_frame(0x81, b"{no json").await;
    }
    for _ in 0..3 {
        assert_eq!(raw.read_frame().await.first, 0x81);
    }
    let told = raw.read_frame().await;
    assert!(String::from_utf8_lossy(&told.payload).contains("message_rate_exceeded"), "{told:?}");
    raw.expect_close(Reason::MessageRateExceeded).await;
    case.refused(Reason::MessageRateExceeded, b"").await;
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn r14_one_hot_connection_is_slowed_loses_nothing_and_others_keep_their_share() {
    let mut case = start("messages_per_second = 50\nover_rate = \"slow\"").await;
    let mut hot = case.open().await;
    let began = Instant::now();
    flood(&mut hot, 75, 3).await;
    let mut other = case.open().await;
    for _ in 0..5 {
        let asked = Instant::now();
        other.send_frame(0x81, b"mine").await;
        assert_eq!(other.read_frame().await.payload, b"mine");
        assert!(asked.elapsed() < Duration::from_millis(450), "{:?}", asked.elapsed());
    }
    for _ in 0..75 {
        assert_eq!(hot.read_frame().await, Frame::whole(0x82, &[7; 3]));
    }
    // 50 at once, 25 at 50 a second.
    let took = began.elapsed();
    assert!(took > Duration::from_millis(450) && took < Duration::from_secs(3), "{took:?}");
    assert!(case.metric(r#"drawgate_input_slowed_total{route="echo"}"#) > 0);
    assert_eq!(case.ends(Reason::MessageRateExceeded), 0);
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn r14_the_clocks_of_a_connection_that_is_slowed_stand_still() {
    let limits = "bytes_per_second = \"4KiB\"\nmessage_bytes_max = \"4KiB\"\nover_rate = \"slow\"\n\
        message_timeout = \"300ms\"\nping_interval = \"200ms\"\npong_timeout = \"100ms\"";
    let mut case = start(limits).await;
    let mut raw = case.open().await;
    flood(&mut raw, 2, 4096).await;
    let mut echoed = 0;
    let read = async {
        while echoed < 2 * 4096 {
            let frame = raw.read_frame().await;
            if frame.first & 0x0f == 9 {
                raw.send_frame(0x8a, &frame.payload).await;
            } else {
                echoed += frame.payload.len();
            }
        }
    };
    timeout(Duration::from_secs(5), read).await.expect("all comes in its time");
    assert_eq!((case.ends(Reason::MessageTimeout), case.ends(Reason::PongTimeout)), (0, 0));
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn r14_a_drain_does_not_wait_for_who_is_slowed() {
    let mut case = start("messages_per_second = 1\nover_rate = \"slow\"").await;
    let mut raw = case.open().await;
    flood(&mut raw, 6, 3).await;
    assert_eq!(raw.read_frame().await.payload.len(), 3);
    let began = Instant::now();
    case.drain();
    for _ in 0..5 {
        assert_eq!(raw.read_frame().await.payload.len(), 3);
    }
    raw.expect_close(Reason::Draining).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn r12_the_sessions_of_a_subject_share_a_rate_and_so_do_the_connections_of_a_client() {
    for (limit, whose) in [
        ("messages_per_second_per_subject = 3", "the rate of the subject"),
        ("messages_per_second_per_client = 3", "the rate of the client"),
    ] {
        let mut case = Case::start(&with_sessions("", limit)).await;
        let mut first = open(&case, "alice", &json!({})).await;
        let mut second = open(&case, "alice", &json!({})).await;
        for raw in [&mut first, &mut second] {
            raw.send_frame(0x81, b"hello").await;
            assert_eq!(raw.read_frame().await.payload, b"hello");
        }
        flood(&mut second, 2, 1).await;
        assert_eq!(second.read_frame().await.payload, [7]);
        let told = second.read_frame().await;
        assert!(String::from_utf8_lossy(&told.payload).contains("message_rate_exceeded"), "{told:?}");
        second.expect_close(Reason::MessageRateExceeded).await;
        eventually(|| !case.records_of(Reason::MessageRateExceeded).is_empty(), || case.log_text()).await;
        assert_eq!(case.records_of(Reason::MessageRateExceeded)[0]["detail"], whose);
        if whose.ends_with("subject") {
            let mut bob = open(&case, "bob", &json!({})).await;
            bob.send_frame(0x81, b"hello").await;
            assert_eq!(bob.read_frame().await.payload, b"hello");
        }
        case.neighbour_is_unharmed().await;
    }
}
