//! What happens between a client and the application behind the gate once both are there.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use drawgate::Server;
use drawgate::clock::Clock;
use drawgate::config::Config;
use drawgate::reason::Reason;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::application::{Application, Seen, before, unmasked};
use crate::compression::deflated;
use crate::resources::flood;
use crate::sessions::{logout, revoke, token};
use crate::support::{Case, Frame, Raw, echo, eventually, frame, payload, request, settled};
use crate::upstream::with_tokens;

#[tokio::test]
async fn messages_go_through_both_ways() {
    let application = Application::start().await;
    let (_case, mut client, mut seen) = application.open("message_bytes_max = \"4MiB\"").await;
    for (first, size) in [(0x81, 0), (0x81, 5), (0x82, 125), (0x82, 126), (0x81, 60_000)] {
        let sent = vec![b'm'; size];
        client.send_frame(first, &sent).await;
        let frames = seen.read_message().await;
        assert_eq!((frames[0].first & 0x0F, payload(&frames)), (first & 0x0F, sent.clone()));
        seen.send_frame(first, &sent).await;
        let frames = client.read_message().await;
        assert_eq!((frames[0].first & 0x0F, payload(&frames)), (first & 0x0F, sent));
    }
    // Small frames that arrive whole leave as they came.
    client.send_frame(0x01, b"fr").await;
    assert_eq!(seen.read_frame().await, Frame::whole(0x01, b"fr"));
    client.send_frame(0x80, b"agments").await;
    assert_eq!(seen.read_frame().await, Frame::whole(0x80, b"agments"));
    seen.send_frame(0x02, b"and").await;
    assert_eq!(client.read_frame().await, Frame::whole(0x02, b"and"));
    seen.send_frame(0x80, b" back").await;
    assert_eq!(client.read_frame().await, Frame::whole(0x80, b" back"));
}

#[tokio::test]
async fn large_messages_go_through_in_pieces_that_are_never_tiny() {
    let application = Application::start().await;
    let (case, mut client, mut seen) = application.open("message_bytes_max = \"4MiB\"").await;
    let sent: Vec<u8> = (0..=250_u8).cycle().take(2 * 1024 * 1024).collect();
    let (frames, ()) = tokio::join!(seen.read_message(), client.send_frame(0x82, &sent));
    assert!(payload(&frames) == sent, "the message arrives as it was sent");
    let (_, fragments) = frames.split_last().unwrap();
    assert!(!fragments.is_empty() && fragments.iter().all(|fragment| fragment.payload.len() >= 1024));
    let (frames, ()) = tokio::join!(client.read_message(), seen.send_frame(0x82, &sent));
    assert!(payload(&frames) == sent, "and so does the answer");
    let (_, fragments) = frames.split_last().unwrap();
    assert!(!fragments.is_empty() && fragments.iter().all(|fragment| fragment.payload.len() >= 1024));
    drop(client);
    eventually(|| !case.records_of(Reason::ConnectionLost).is_empty(), || case.log_text()).await;
    let record = &case.records_of(Reason::ConnectionLost)[0];
    assert_eq!(
        (&record["bytes_in"], &record["bytes_out"]),
        (&json!(sent.len()), &json!(sent.len())),
        "{record}"
    );
}

#[tokio::test]
async fn f13_a_frame_that_comes_byte_by_byte_waits_for_a_piece_worth_sending() {
    let application = Application::start().await;
    let (_case, mut client, mut seen) = application.open("").await;
    for byte in frame(0x81, "z\u{fc}rich".as_bytes()) {
        client.send(&[byte]).await;
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(seen.read_frame().await, Frame::whole(0x81, "z\u{fc}rich".as_bytes()));
    for byte in unmasked(0x81, "z\u{fc}rich".as_bytes()) {
        seen.send(&[byte]).await;
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(client.read_frame().await, Frame::whole(0x81, "z\u{fc}rich".as_bytes()));
}

#[tokio::test]
async fn f26_every_frame_to_the_application_has_a_fresh_key() {
    let application = Application::start().await;
    let (_case, mut client, mut seen) = application.open("").await;
    let mut burst = Vec::new();
    for _ in 0..500 {
        burst.extend(frame(0x81, b"the same"));
    }
    client.send(&burst).await;
    for _ in 0..500 {
        assert_eq!(seen.read_frame().await, Frame::whole(0x81, b"the same"));
    }
    let keys: BTreeSet<[u8; 4]> = seen.keys.iter().copied().collect();
    assert!(keys.len() >= 499, "{} different keys", keys.len());
    assert!(!keys.contains(&[0x37, 0xfa, 0x21, 0x3d]), "the client's own key is not used again");
}

#[tokio::test]
async fn pings_are_answered_on_the_side_that_they_came_from() {
    let application = Application::start().await;
    let (_case, mut client, mut seen) = application.open("").await;
    client.send_frame(0x01, b"open").await;
    client.send_frame(0x89, b"from the client").await;
    assert_eq!(client.read_frame().await, Frame::whole(0x8A, b"from the client"));
    assert_eq!(seen.read_frame().await, Frame::whole(0x01, b"open"));
    seen.send_frame(0x01, b"open").await;
    seen.send_frame(0x89, b"from the application").await;
    assert_eq!(seen.read_frame().await, Frame::whole(0x8A, b"from the application"));
    assert_eq!(client.read_frame().await, Frame::whole(0x01, b"open"));
    client.send_frame(0x80, b"end").await;
    assert_eq!(seen.read_frame().await, Frame::whole(0x80, b"end"));
}

#[tokio::test]
async fn a_compressed_message_goes_on_plain_and_its_answer_comes_back_compressed() {
    let application = Application::start().await;
    let case = Case::start(&before(application.address, "compression = \"on\"", "")).await;
    let mut client = case.connect().await;
    client
        .send(
            request("/app/", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n")
                .as_bytes(),
        )
        .await;
    let mut seen = application.accept().await;
    let head = seen.upgrade("").await;
    assert!(!head.contains("Sec-WebSocket-Extensions"), "each hop has its own: {head}");
    assert!(client.read_head().await.contains("permessage-deflate"));
    client.send_frame(0xC2, &deflated(&[b'z'; 5000])).await;
    assert_eq!(payload(&seen.read_message().await), [b'z'; 5000]);
    seen.send_frame(0x82, &[b'z'; 5000]).await;
    let answer = client.read_message().await;
    assert!(answer[0].first & 0x40 != 0 && payload(&answer).len() < 500, "{answer:?}");
}

#[tokio::test]
async fn u14_the_close_of_the_application_goes_on_with_its_code_and_reason() {
    for (sent, code) in [
        (&b"\x0f\xa0room closed"[..], Some(4000)),
        (b"\x03\xe8", Some(1000)),
        (b"\x03\xf4", Some(1012)),
        (b"", None),
    ] {
        let application = Application::start().await;
        let (mut case, mut client, mut seen) = application.open("").await;
        seen.send(
            &[unmasked(0x81, b"last words"), unmasked(0x88, sent), unmasked(0x81, b"after it")].concat(),
        )
        .await;
        assert_eq!(client.read_frame().await, Frame::whole(0x81, b"last words"));
        assert_eq!(client.read_frame().await, Frame::whole(0x88, sent));
        assert_eq!(seen.read_frame().await, Frame::whole(0x88, &sent[..sent.len().min(2)]));
        drop(seen);
        client.send_frame(0x88, &sent[..sent.len().min(2)]).await;
        client.expect_end().await;
        let record = case.refused(Reason::ClosedByApplication, b"last words, all of").await;
        assert_eq!(
            (&record["close_code"], &record["ended_by"]),
            (&json!(code.unwrap_or(1005)), &json!("application"))
        );
    }
}

#[tokio::test]
async fn u14_the_close_of_the_client_goes_on_and_what_the_application_still_says_comes_back() {
    let application = Application::start().await;
    let (mut case, mut client, mut seen) = application.open("").await;
    client
        .send(&[frame(0x81, b"bye"), frame(0x88, b"\x0f\xa1done"), frame(0x81, b"after it")].concat())
        .await;
    assert_eq!(seen.read_frame().await, Frame::whole(0x81, b"bye"));
    assert_eq!(seen.read_frame().await, Frame::whole(0x88, b"\x0f\xa1done"));
    seen.send(&[unmasked(0x81, b"bye, too"), unmasked(0x88, b"\x0f\xa1")].concat()).await;
    assert_eq!(client.read_frame().await, Frame::whole(0x81, b"bye, too"));
    assert_eq!(client.read_frame().await, Frame::whole(0x88, b"\x0f\xa1"));
    drop(seen);
    client.expect_end().await;
    let record = case.refused(Reason::ClosedByClient, b"").await;
    assert_eq!(record["close_code"], 4001, "{record}");
}

#[tokio::test]
async fn f24_an_application_that_does_not_answer_a_close_is_not_waited_for() {
    let application = Application::start().await;
    let (mut case, mut client, mut seen) = application.open("").await;
    let began = Instant::now();
    client.send_frame(0x88, b"\x03\xe8").await;
    assert_eq!(client.read_frame().await, Frame::whole(0x88, b"\x03\xe8"));
    assert!((250..1500).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    client.expect_end().await;
    seen.read_close().await;
    seen.expect_end().await;
    case.ended(Reason::ClosedByClient).await;
}

#[tokio::test]
async fn u05_an_application_that_is_gone_is_a_1014_and_half_a_message_stays_half() {
    for is_reset in [false, true] {
        let application = Application::start().await;
        let (mut case, mut client, mut seen) = application.open("").await;
        seen.send(&unmasked(0x82, &[7; 9000])[..5000]).await;
        let part = client.read_frame().await;
        assert_eq!(part.first, 0x02, "it does not end the message");
        if is_reset {
            seen.stream.set_zero_linger().unwrap();
        }
        drop(seen);
        let close = client.read_frame().await;
        let row = Reason::UpstreamLost.row();
        let told = [&1014_u16.to_be_bytes(), row.close_reason.as_bytes()].concat();
        assert_eq!(close, Frame::whole(0x88, &told));
        client.send_frame(0x88, &told[..2]).await;
        client.expect_end().await;
        case.refused(Reason::UpstreamLost, &[7; 16]).await;
    }
}

#[tokio::test]
async fn u06_what_the_application_may_not_send_is_named_to_it_and_a_1014_to_the_client() {
    let masked = frame(0x81, b"masked");
    for (sent, code) in [
        (masked, 1002),
        (unmasked(0x83, b""), 1002),
        (unmasked(0xC1, b"\0"), 1002),
        (unmasked(0x80, b"orphan"), 1002),
        (unmasked(0x81, b"\xff"), 1007),
        (unmasked(0x88, b"\0"), 1002),
        (unmasked(0x82, &[7; 2000])[..4].to_vec(), 1009),
        (unmasked(0x00, b"").repeat(20), 1002),
        ([unmasked(0x01, b""), unmasked(0x00, b"").repeat(20)].concat(), 1008),
    ] {
        let application = Application::start().await;
        let limits = "message_bytes_max = \"1KiB\"\nmessage_fragments_max = 10";
        let (mut case, mut client, mut seen) = application.open(limits).await;
        seen.send(&sent).await;
        assert_eq!(seen.read_close().await.0, code);
        let row = Reason::UpstreamMisbehaved.row();
        assert_eq!(client.read_close().await, (1014, row.close_reason.to_owned()));
        drop((client, seen));
        let record = case.refused(Reason::UpstreamMisbehaved, b"").await;
        assert!(record["rule"].is_string(), "{record}");
    }
}

#[tokio::test]
async fn u07_an_application_that_is_stopped_is_found() {
    let application = Application::start().await;
    let (mut case, mut client, mut seen) =
        application.open("ping_interval = \"100ms\"\npong_timeout = \"100ms\"").await;
    let answering = async {
        // The client answers; the application's kernel does, and nothing else.
        loop {
            let frame = client.read_frame().await;
            match frame.first {
                0x89 => client.send_frame(0x8A, &frame.payload).await,
                first => return (first, frame.payload),
            }
        }
    };
    let (first, told) = answering.await;
    let row = Reason::UpstreamSilent.row();
    assert_eq!((first, &told[2..]), (0x88, row.close_reason.as_bytes()));
    assert_eq!(seen.read_frame().await.first, 0x89);
    seen.expect_end().await;
    drop(client);
    case.refused(Reason::UpstreamSilent, b"").await;
}

#[tokio::test]
async fn a_busy_application_is_not_taken_for_one_that_is_stopped() {
    let application = Application::start().await;
    let (case, mut client, mut seen) =
        application.open("ping_interval = \"100ms\"\npong_timeout = \"100ms\"").await;
    let until = Instant::now() + Duration::from_millis(600);
    let mut pings = 0;
    while Instant::now() < until {
        for from in [0, 1] {
            let next = timeout(Duration::from_millis(20), async {
                if from == 0 { client.read_frame().await } else { seen.read_frame().await }
            });
            let Ok(frame) = next.await else { continue };
            assert_eq!(frame, Frame::whole(0x89, b""));
            pings += 1;
            if from == 0 { client.send_frame(0x8A, b"").await } else { seen.send_frame(0x8A, b"").await }
        }
    }
    assert!(pings > 4, "{pings} pings");
    assert_eq!(case.ends(Reason::UpstreamSilent), 0);
}

fn with_admin(application: &Application, limits: &str) -> String {
    let limits = format!("message_bytes_max = \"1MiB\"\n{limits}");
    before(application.address, &limits, "[admin]\naddress = \"127.0.0.1:0\"")
}

/// The most that may wait on one side of a connection, and what one read may add.
const SIDE_BYTES_MAX: u64 = 256 * 1024;

#[tokio::test]
async fn u04_r08_a_flood_for_a_slow_application_waits_at_the_client_and_a_stall_is_found() {
    let application = Application::start().await;
    let mut case = Case::start(&with_admin(&application, "stall_timeout = \"500ms\"")).await;
    let (mut client, mut seen) = application.join(&case, "/app/", "").await;
    let flooding = tokio::spawn(async move {
        flood(&mut client).await;
        client
    });
    let most = settled(async || case.buffered_bytes().await).await;
    assert!((64 * 1024..=SIDE_BYTES_MAX).contains(&most), "{most} bytes wait");
    case.neighbour_is_unharmed().await;
    // It goes on where it stopped as soon as the application reads.
    for _ in 0..10 {
        assert_eq!(payload(&seen.read_message().await), [b'f'; 60_000]);
    }
    let mut client = flooding.await.unwrap();
    let (code, text) = client.read_close().await;
    assert_eq!((code, &*text), (1014, Reason::UpstreamStalled.row().close_reason));
    drop(client);
    case.refused(Reason::UpstreamStalled, &[b'f'; 16]).await;
    assert_eq!(case.buffered_bytes().await, 0);
}

#[tokio::test]
async fn r06_a_flood_for_a_slow_client_waits_at_the_application_and_a_stall_is_found() {
    let application = Application::start().await;
    let mut case = Case::start(&with_admin(&application, "stall_timeout = \"500ms\"")).await;
    let mut client = Raw::connect_bounded(case.address).await;
    client.send(request("/app/", "").as_bytes()).await;
    let mut seen = application.accept().await;
    seen.upgrade("").await;
    client.read_head().await;
    let flooding = tokio::spawn(async move {
        let message = unmasked(0x82, &[b'f'; 60_000]);
        while timeout(Duration::from_millis(100), seen.stream.write_all(&message)).await.is_ok() {}
        seen
    });
    let most = settled(async || case.buffered_bytes().await).await;
    assert!((64 * 1024..=SIDE_BYTES_MAX).contains(&most), "{most} bytes wait");
    case.neighbour_is_unharmed().await;
    for _ in 0..10 {
        assert_eq!(payload(&client.read_message().await), [b'f'; 60_000]);
    }
    let mut seen = flooding.await.unwrap();
    // It stopped in the middle of a frame, and hears the end all the same.
    assert_eq!(seen.read_close().await, (1001, "output_stalled".to_owned()));
    assert_eq!(client.read_close().await.0, 3008);
    drop((client, seen));
    case.refused(Reason::OutputStalled, &[b'f'; 16]).await;
    assert_eq!(case.buffered_bytes().await, 0);
}

#[tokio::test]
async fn f23_a_client_that_is_lost_is_a_1001_to_the_application_within_a_second() {
    for is_reset in [false, true] {
        let application = Application::start().await;
        let (mut case, mut client, mut seen) = application.open("").await;
        client.send(&frame(0x82, &[7; 9000])[..5000]).await;
        let part = seen.read_frame().await;
        assert_eq!(part.first, 0x02, "it does not end the message");
        if is_reset {
            client.stream.set_zero_linger().unwrap();
        }
        let began = Instant::now();
        drop(client);
        let reason = if is_reset { Reason::ConnectionReset } else { Reason::ConnectionLost };
        assert_eq!(seen.read_close().await, (1001, reason.row().label.to_owned()));
        assert!(began.elapsed() < Duration::from_secs(1));
        seen.send_frame(0x88, b"\x03\xe9").await;
        drop(seen);
        let record = case.refused(reason, &[7; 16]).await;
        assert_eq!(record["close_code"], 1006, "{record}");
    }
}

#[tokio::test]
async fn f25_http_behind_the_101_never_reaches_the_application() {
    let application = Application::start().await;
    let (mut case, mut client, mut seen) = application.open("").await;
    client.send(b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.read_close().await.0, 1002);
    assert_eq!(seen.read_close().await, (1001, "frame_reserved_bits".to_owned()));
    drop((client, seen));
    case.refused(Reason::FrameReservedBits, b"").await;
}

#[tokio::test]
async fn f22_data_behind_our_close_goes_nowhere() {
    let application = Application::start().await;
    let (_case, mut client, mut seen) = application.open("idle_timeout = \"100ms\"").await;
    assert_eq!(client.read_close().await.0, Reason::IdleTimeout.row().close.unwrap().get());
    assert_eq!(seen.read_close().await, (1001, "idle_timeout".to_owned()));
    client.send_frame(0x81, b"to the application").await;
    seen.send_frame(0x81, b"to the client").await;
    seen.send_frame(0x88, b"\x03\xe9").await;
    client.send_frame(0x88, b"\x0b\xc0").await;
    client.expect_end().await;
    seen.expect_end().await;
}

#[tokio::test]
async fn f22_what_comes_behind_a_close_while_the_application_answers_it_does_not_reset_the_answer() {
    let application = Application::start().await;
    let (_case, mut client, mut seen) = application.open("").await;
    client.send_frame(0x88, b"\x03\xe8").await;
    assert_eq!(seen.read_close().await.0, 1000);
    client.send_frame(0x89, b"a ping behind it").await;
    seen.send_frame(0x88, b"\x03\xe8").await;
    drop(seen);
    assert_eq!(client.read_frame().await, Frame::whole(0x88, b"\x03\xe8"));
    client.expect_end().await;
}

#[tokio::test]
async fn messages_of_either_side_keep_a_connection_from_being_idle() {
    let application = Application::start().await;
    let (case, mut client, mut seen) = application.open("idle_timeout = \"200ms\"").await;
    for _ in 0..4 {
        sleep(Duration::from_millis(100)).await;
        seen.send_frame(0x81, b"news").await;
        assert_eq!(client.read_frame().await, Frame::whole(0x81, b"news"));
    }
    assert_eq!(case.ends(Reason::IdleTimeout), 0);
}

#[tokio::test]
async fn o08_a_drain_gives_the_application_all_and_the_client_every_answer() {
    let application = Application::start().await;
    let (mut case, mut client, mut seen) = application.open("").await;
    // Sent and not yet read when the drain begins.
    for number in 0..100_u8 {
        client.send_frame(0x82, &[number; 1000]).await;
    }
    case.drain();
    for number in 0..100_u8 {
        assert_eq!(seen.read_frame().await, Frame::whole(0x82, &[number; 1000]));
    }
    assert_eq!(seen.read_close().await, (1001, "draining".to_owned()));
    // Nothing that is sent from here on is taken, and what was taken is still answered.
    client.send_frame(0x81, b"too late").await;
    for number in 0..100_u8 {
        seen.send_frame(0x82, &[number; 1000]).await;
    }
    seen.send_frame(0x88, b"\x03\xe9").await;
    for number in 0..100_u8 {
        assert_eq!(client.read_frame().await, Frame::whole(0x82, &[number; 1000]));
    }
    assert_eq!(client.read_close().await, (1012, Reason::Draining.row().close_reason.to_owned()));
    client.send_frame(0x88, &1012_u16.to_be_bytes()).await;
    client.expect_end().await;
    seen.expect_end().await;
    case.stop().await;
}

#[tokio::test]
async fn o08_a_drain_does_not_wait_for_an_application_that_does_not_close() {
    let application = Application::start().await;
    let (mut case, mut client, mut seen) = application.open("").await;
    let began = Instant::now();
    case.drain();
    assert_eq!(seen.read_close().await.0, 1001);
    assert_eq!(client.read_close().await.0, 1012);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    client.send_frame(0x88, &1012_u16.to_be_bytes()).await;
    seen.expect_end().await;
}

/// A connection of whoever has `token` on the route that wants one.
async fn with_token(case: &Case, application: &Application, token: &str) -> (Raw, Seen) {
    application.join(case, "/token", &format!("Authorization: Bearer {token}\r\n")).await
}

#[tokio::test]
async fn a22_a23_the_end_of_a_session_is_told_to_both() {
    let application = Application::start().await;
    let case = with_tokens(application.address, "\"authorization_header\"", "").await;
    let now = Clock::system().unix_now().seconds();
    let (mut client, mut seen) =
        with_token(&case, &application, &token("alice", &json!({ "exp": now + 2 }))).await;
    let (mut other, mut other_seen) = with_token(&case, &application, &token("bob", &json!({}))).await;
    assert_eq!(revoke(&case, logout("bob")), 1);
    // Its notice comes first.
    assert_eq!(other.read_close().await, (3000, Reason::TokenRevoked.row().close_reason.to_owned()));
    assert_eq!(other_seen.read_close().await, (1001, "token_revoked".to_owned()));
    seen.send_frame(0x81, b"still there").await;
    let mut frame = client.read_frame().await;
    // The warning that it is about to end may come between two of the application's messages.
    if frame.payload.windows(16).any(|part| part == b"session_expiring") {
        frame = client.read_frame().await;
    }
    assert_eq!(frame, Frame::whole(0x81, b"still there"));
    assert_eq!(client.read_close().await, (3000, Reason::TokenExpired.row().close_reason.to_owned()));
    assert_eq!(seen.read_close().await, (1001, "token_expired".to_owned()));
}

#[tokio::test]
async fn a23_who_has_closed_and_is_kept_out_hears_nothing_more_of_the_application() {
    let application = Application::start().await;
    let mut case = with_tokens(application.address, "\"authorization_header\"", "").await;
    let (mut client, mut seen) = with_token(&case, &application, &token("bob", &json!({}))).await;
    client.send_frame(0x88, &1000_u16.to_be_bytes()).await;
    assert_eq!(seen.read_close().await.0, 1000);
    seen.send_frame(0x81, b"goodbye").await;
    assert_eq!(client.read_frame().await, Frame::whole(0x81, b"goodbye"));
    assert_eq!(revoke(&case, logout("bob")), 1);
    // Its notice comes first.
    assert_eq!(client.read_close().await, (3000, Reason::TokenRevoked.row().close_reason.to_owned()));
    seen.send_frame(0x81, b"of others").await;
    client.expect_end().await;
    case.ended(Reason::TokenRevoked).await;
}

#[tokio::test]
async fn a24_a_new_token_in_band_never_reaches_the_application() {
    let application = Application::start().await;
    let case = with_tokens(application.address, "\"authorization_header\"", "refresh = \"on\"").await;
    let (mut client, mut seen) = with_token(&case, &application, &token("alice", &json!({}))).await;
    client.send_frame(0x81, b"drawgate.refres").await;
    client.send_frame(0x81, format!("drawgate.refresh {}", token("alice", &json!({}))).as_bytes()).await;
    client.send_frame(0x81, b"after it").await;
    assert_eq!(seen.read_frame().await, Frame::whole(0x81, b"drawgate.refres"));
    assert_eq!(seen.read_frame().await, Frame::whole(0x81, b"after it"));
    // Nor where it lies between others that come with it.
    let refresh = format!("drawgate.refresh {}", token("alice", &json!({})));
    let texts: [&[u8]; 5] = [b"before", b"drawgate.refresh", refresh.as_bytes(), b"", b"behind"];
    client.stream.write_all(&texts.map(|text| frame(0x81, text)).concat()).await.unwrap();
    for text in [&b"before"[..], b"drawgate.refresh", b"", b"behind"] {
        assert_eq!(seen.read_frame().await, Frame::whole(0x81, text));
    }
}

#[tokio::test]
async fn r07_where_all_buffers_are_full_a_connection_that_waits_for_its_application_is_shed() {
    let application = Application::start().await;
    let more = "[server]\nbuffers_bytes_max = \"100KiB\"\n[admin]\naddress = \"127.0.0.1:0\"";
    let mut case = Case::start(&before(application.address, "", more)).await;
    let (mut client, seen) = application.join(&case, "/app/", "").await;
    // Until it is told: what it sends from then on is read and dropped.
    let message = frame(0x82, &[b'f'; 60_000]);
    while timeout(Duration::from_millis(1), client.stream.readable()).await.is_err() {
        let _ = timeout(Duration::from_millis(20), client.stream.write_all(&message)).await;
    }
    let (code, text) = client.read_close().await;
    assert_eq!((code, &*text), (1013, Reason::Overloaded.row().close_reason));
    drop((client, seen));
    case.refused(Reason::Overloaded, &[b'f'; 16]).await;
    assert_eq!(case.buffered_bytes().await, 0);
}

/// A gateway before another, which echoes.
async fn before_an_echo() -> Case {
    let limits = "message_bytes_max = \"4MiB\"";
    let config = Config::from_toml(&echo(limits, ""), Path::new("."), &|_| None).unwrap();
    let server = Server::from_config(config).bind().unwrap();
    let address = server.address();
    tokio::spawn(server.run(std::future::pending()));
    Case::start(&before(address, limits, "")).await
}

#[tokio::test]
async fn a_client_that_sends_a_large_message_whole_before_it_reads_gets_its_answer() {
    let case = before_an_echo().await;
    let mut client = Raw::connect_bounded(case.address).await;
    client.upgrade("/app/").await;
    let sent: Vec<u8> = (0..=250_u8).cycle().take(3 * 1024 * 1024).collect();
    client.send_frame(0x82, &sent).await;
    assert!(payload(&client.read_message().await) == sent);
}

#[tokio::test]
async fn messages_stay_whole_and_in_order_however_they_are_cut() {
    let case = before_an_echo().await;
    for seed in 1..=8_u64 {
        let mut client = case.connect().await;
        client.upgrade("/app/").await;
        let mut state = seed;
        let mut below = |bound: usize| {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % bound as u64).unwrap()
        };
        let (mut bytes, mut messages) = (Vec::new(), Vec::new());
        for number in 0..60_u8 {
            let sizes = [10, 200, 3000, 70_000];
            let size = sizes[below(4)];
            let message = vec![b'a' + number % 26; below(size)];
            let kind = if below(2) == 0 { 0x01 } else { 0x02 };
            let mut rest = &message[..];
            let mut opcode = kind;
            loop {
                let (part, after) = rest.split_at(below(rest.len() + 1));
                rest = after;
                let is_last = rest.is_empty() || below(3) == 0;
                let part = if is_last { [part, rest].concat() } else { part.to_vec() };
                bytes.extend(frame(opcode | if is_last { 0x80 } else { 0 }, &part));
                if is_last {
                    break;
                }
                opcode = 0;
                if below(4) == 0 {
                    bytes.extend(frame(0x89, b"between"));
                }
            }
            messages.push((kind, message));
        }
        let writer = std::net::TcpStream::from(client.stream.as_fd().try_clone_to_owned().unwrap());
        let mut writer = TcpStream::from_std(writer).unwrap();
        let cuts: Vec<usize> = (0..10_000).map(|_| 1 + below(5000)).collect();
        let sending = tokio::spawn(async move {
            let mut rest = &bytes[..];
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                writer.write_all(now).await.unwrap();
                if later.is_empty() {
                    break;
                }
                rest = later;
                tokio::task::yield_now().await;
            }
            writer
        });
        for (kind, message) in messages {
            let (mut answer, mut found) = (Vec::new(), 0);
            loop {
                let frame = client.read_frame().await;
                if frame.first == 0x8A {
                    assert_eq!(frame.payload, b"between");
                    continue;
                }
                found |= frame.first & 0x0F;
                answer.extend(frame.payload);
                if frame.first & 0x80 != 0 {
                    break;
                }
            }
            assert!(
                found == kind && answer == message,
                "{} bytes instead of {}",
                answer.len(),
                message.len()
            );
        }
        sending.await.unwrap();
    }
}

#[tokio::test]
async fn o08_in_a_drain_at_any_moment_what_the_application_has_got_has_been_answered() {
    const CLIENTS: u64 = 40;
    const MESSAGES: u64 = 200;
    for moment in [0, 5, 30] {
        let config = Config::from_toml(&echo("", ""), Path::new("."), &|_| None).unwrap();
        let server = Server::from_config(config).bind().unwrap();
        let (address, application) = (server.address(), server.observer());
        tokio::spawn(server.run(std::future::pending()));
        let patient = |text: String| {
            text.replace(
                "[routes.app.limits]\n        close_timeout = \"300ms\"",
                "[routes.app.limits]\n        close_timeout = \"3s\"",
            )
        };
        let mut case = Case::start(&patient(before(address, "", ""))).await;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = case.connect().await;
            client.upgrade("/app/").await;
            clients.push(tokio::spawn(async move {
                let writer = std::net::TcpStream::from(client.stream.as_fd().try_clone_to_owned().unwrap());
                let mut writer = TcpStream::from_std(writer).unwrap();
                let sending = tokio::spawn(async move {
                    for number in 0..MESSAGES {
                        // Once the gateway has gone nobody takes it.
                        let _ = writer.write_all(&frame(0x82, &number.to_be_bytes())).await;
                        tokio::task::yield_now().await;
                    }
                });
                let mut answers = 0_u64;
                loop {
                    let frame = client.read_frame().await;
                    if frame.first == 0x88 {
                        assert_eq!(frame.payload[..2], 1012_u16.to_be_bytes());
                        break;
                    }
                    assert_eq!(frame, Frame::whole(0x82, &answers.to_be_bytes()), "without a gap");
                    answers += 1;
                }
                sending.await.unwrap();
                client.send_frame(0x88, &1012_u16.to_be_bytes()).await;
                answers
            }));
        }
        sleep(Duration::from_millis(moment)).await;
        case.drain();
        let mut answers = 0;
        for client in clients {
            answers += client.await.unwrap();
        }
        let name = r#"drawgate_messages_total{route="echo",direction="in",kind="binary"} "#;
        let text = application.render();
        let got: u64 = text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap();
        assert_eq!(got, answers, "{moment} ms");
        case.stop().await;
    }
}
