//! The end of a connection: Close frames that break a rule, what comes after a Close, and peers that leave without one.

use std::io::ErrorKind;
use std::net::Shutdown;
use std::path::Path;
use std::time::Duration;

use drawgate::Server;
use drawgate::config::Config;
use drawgate::limits::Limits;
use drawgate::reason::Reason;
use drawgate::server::Drained;
use serde_json::Value;
use socket2::SockRef;
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::time::timeout;

use super::{all_refused, assert_took, block_output, now, refused, whole_messages, with_close_timeout};
use crate::support::{Case, Frame, PATIENCE, Raw, echo, eventually, frame, payload, request};

/// A gateway that lets one address connect as often as it likes.
fn many_times() -> String {
    echo("", "[firewall]\nhandshakes_per_client_per_minute = \"unlimited\"")
}

#[tokio::test]
async fn f18_a_close_reason_is_refused_at_its_first_wrong_byte() {
    for wrong in [&b"\xff"[..], b"ok \x80", b"ok \xc0", b"\xed\xa0", b"\xf4\x90", b"\xe2\x28"] {
        // The frame declares more than comes.
        let mut sent = frame(0x88, &[b"\x03\xe8", wrong, &[b'x'; 80]].concat());
        sent.truncate(6 + 2 + wrong.len());
        refused(&echo("", ""), &sent, &sent, Reason::CloseReasonNotUtf8).await;
        let whole = frame(0x88, &[b"\x03\xe8", wrong].concat());
        refused(&echo("", ""), &whole, &whole, Reason::CloseReasonNotUtf8).await;
    }
    // It ends inside a character.
    all_refused([frame(0x88, b"\x03\xe8caf\xc3")], Reason::CloseReasonNotUtf8).await;
}

#[tokio::test]
async fn f19_a_close_body_of_one_byte_is_refused_at_the_header() {
    all_refused([vec![0x88, 0x81], frame(0x88, b"\x03")], Reason::CloseBodyInvalid).await;
}

/// Opens a connection that closes with `body` at once; returns the answer.
async fn answer_to(case: &Case, body: &[u8]) -> Frame {
    let mut raw = case.connect().await;
    raw.send(&[request("/", "").as_bytes(), &frame(0x88, body)].concat()).await;
    assert_eq!(raw.read_response().await.status, 101);
    let answer = raw.read_frame().await;
    raw.expect_end().await;
    answer
}

#[tokio::test]
async fn f20_each_code_that_may_not_be_sent_closes_with_1002() {
    let mut case = Case::start(&many_times()).await;
    let far = (5000..=u16::MAX).step_by(19).chain([5001, 32_767, 32_768, u16::MAX - 1, u16::MAX]);
    let mut count = 0;
    for code in (0..1000).chain(1004..=1006).chain(1015..3000).chain(far) {
        let answer = answer_to(&case, &code.to_be_bytes()).await;
        let row = Reason::CloseCodeInvalid.row();
        let expected = [&1002_u16.to_be_bytes()[..], row.close_reason.as_bytes()].concat();
        assert_eq!(answer, Frame::whole(0x88, &expected), "{code}");
        count += 1;
    }
    eventually(|| case.ends(Reason::CloseCodeInvalid) == count, || "not every end is counted".to_owned())
        .await;
    // Some have a record of their own, the others were suppressed and counted.
    let records = case.records_of(Reason::CloseCodeInvalid);
    let is_own = |record: &&Value| record["connection"].is_string() && record["close_code"] == 1002;
    let logged = records.iter().filter(is_own).count() as u64;
    assert!((50..count).contains(&logged), "{logged} records");
    assert!(logged + case.metric("drawgate_log_records_suppressed_total") >= count);
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn f20_each_code_that_may_be_sent_is_answered_with_itself() {
    let mut case = Case::start(&many_times()).await;
    for code in
        (1000..=1003_u16).chain(1007..=1014).chain((3000..=4999).step_by(13)).chain([3999, 4000, 4999])
    {
        let body = [&code.to_be_bytes()[..], b"a reason of the client's own"].concat();
        assert_eq!(answer_to(&case, &body).await, Frame::whole(0x88, &code.to_be_bytes()), "{code}");
    }
    assert_eq!(case.ends(Reason::CloseCodeInvalid), 0);
    eventually(
        || {
            let codes: Vec<u64> = case
                .records_of(Reason::ClosedByClient)
                .iter()
                .filter_map(|record| record["close_code"].as_u64())
                .collect();
            codes.starts_with(&[1000, 1001, 1002, 1003, 1007]) && codes.ends_with(&[3999, 4000, 4999])
        },
        || case.log_text(),
    )
    .await;
    case.keeps_nothing_of(b"a reason of the client's own");
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn f21_a_close_without_a_code_is_answered_in_kind_and_recorded_as_1005() {
    let mut case = Case::start(&echo("", "")).await;
    let mut raw = case.open().await;
    raw.send_frame(0x88, b"").await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x88, b""));
    raw.expect_end().await;
    drop(raw);
    let record = case.refused(Reason::ClosedByClient, b"").await;
    assert_eq!((record["close_code"].as_u64(), record["ended_by"].as_str()), (Some(1005), Some("client")));
}

#[tokio::test]
async fn f22_data_after_a_close_is_never_echoed() {
    let mut case = Case::start(&echo("", "")).await;
    let mut raw = case.open().await;
    let after = [frame(0x81, b"said after the goodbye"), frame(0x89, b"ping"), frame(0x88, b"\x03\xe9")];
    raw.send(&[frame(0x81, b"before"), frame(0x88, b"\x03\xe8"), after.concat(), vec![0xFF; 100]].concat())
        .await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"before"));
    assert_eq!(raw.read_frame().await, Frame::whole(0x88, b"\x03\xe8"));
    raw.expect_end().await;
    drop(raw);
    let record = case.refused(Reason::ClosedByClient, b"said after the goodbye").await;
    assert_eq!((record["close_code"].as_u64(), record["messages_in"].as_u64()), (Some(1000), Some(1)));
}

#[tokio::test]
async fn f22_more_than_64_kib_after_a_close_are_met_by_a_reset() {
    // After the client's Close, and after ours.
    for (goodbye, reason) in
        [(frame(0x88, b"\x03\xe8"), Reason::ClosedByClient), (vec![0x83], Reason::FrameOpcodeUnknown)]
    {
        let mut case = Case::start(&echo("", "")).await;
        let mut raw = case.open().await;
        raw.send(&goodbye).await;
        raw.read_close().await;
        raw.expect_end().await;
        let sent = raw.stream.write_all(&frame(0x82, &[0; 4096]).repeat(100)).await;
        case.refused(reason, b"").await;
        // Had all of it been taken, the end would have been a quiet one.
        assert!(sent.is_err() || raw.stream.take_error().unwrap().is_some(), "the rest was taken as well");
    }
}

/// Whether a byte that the client sends behind the end of the connection is met by a reset, which the next one finds.
async fn is_reset(raw: &mut Raw) -> bool {
    raw.stream.write_all(b"x").await.unwrap();
    raw.stream.write_all(b"x").await.is_err_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

#[tokio::test]
async fn f22_once_both_sides_have_closed_nothing_is_waited_for() {
    // Whoever closed first.
    for (limits, is_ours_first) in [("", false), ("session_time_max = \"100ms\"", true)] {
        let case = Case::start(&echo(limits, "")).await;
        let mut raw = case.open().await;
        if is_ours_first {
            raw.read_close().await;
        }
        raw.send_frame(0x88, b"\x03\xe8").await;
        if !is_ours_first {
            assert_eq!(raw.read_frame().await, Frame::whole(0x88, b"\x03\xe8"));
        }
        raw.expect_end().await;
        // The socket went with its end.
        assert!(is_reset(&mut raw).await);
    }
}

#[tokio::test]
async fn f22_no_reset_overtakes_our_close_where_something_may_come_behind_the_clients() {
    // Of bytes that came with its Close more may be on their way.
    let case = Case::start(&echo("", "")).await;
    let mut raw = case.open().await;
    raw.send(&[&frame(0x88, b"\x03\xe8")[..], b"x"].concat()).await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x88, b"\x03\xe8"));
    raw.expect_end().await;
    assert!(!is_reset(&mut raw).await);
    // RFC 6455 §5.5.2: a ping that crosses a Close is answered.
    let case = Case::start(&echo("ping_interval = \"50ms\"", "")).await;
    let mut raw = case.open().await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x89, b""));
    raw.send_frame(0x88, b"\x03\xe8").await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x88, b"\x03\xe8"));
    raw.expect_end().await;
    assert!(!is_reset(&mut raw).await);
}

#[tokio::test]
async fn f22_a_client_that_goes_on_for_long_after_a_close_is_cut() {
    let mut case = Case::start(&echo("", "")).await;
    let mut raw = case.open().await;
    raw.send(&[&frame(0x88, b"\x03\xe8")[..], b"and on"].concat()).await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x88, b"\x03\xe8"));
    let closed = now();
    raw.expect_end().await;
    // Little by little, far from 64 KiB.
    while case.ends(Reason::ClosedByClient) == 0 {
        let _ = raw.stream.try_write(b"still here");
        assert!(closed.elapsed() < PATIENCE, "the connection is held for as long as the client goes on");
        let _ = timeout(Duration::from_millis(10), raw.stream.ready(Interest::ERROR)).await;
    }
    assert_took(closed, Duration::from_millis(500));
    case.refused(Reason::ClosedByClient, b"").await;
}

#[tokio::test]
async fn f23_a_fin_without_a_close_is_recorded_as_1006() {
    for sent in
        [vec![], frame(0x01, b"an open message"), frame(0x82, &[0; 2000])[..1500].to_vec(), vec![0x81]]
    {
        let mut case = Case::start(&with_close_timeout("20ms", "")).await;
        let mut raw = case.open().await;
        raw.send(&sent).await;
        SockRef::from(&raw.stream).shutdown(Shutdown::Write).unwrap();
        while raw.next_frame().await.is_some() {}
        drop(raw);
        let record = case.refused(Reason::ConnectionLost, &sent).await;
        assert_eq!(
            (record["close_code"].as_u64(), record["ended_by"].as_str()),
            (Some(1006), Some("client"))
        );
        // The neighbour's end would be a loss too, in the log of the next gateway on this thread.
        case.stop().await;
    }
}

#[tokio::test]
async fn f23_a_reset_in_mid_frame_is_recorded_as_1006() {
    let mut case = Case::start(&echo("", "")).await;
    let mut raw = case.open().await;
    raw.send(&frame(0x82, &[0; 600])[..500]).await;
    eventually(|| case.bytes_in("binary") == 492, || "the half of the frame has not come".to_owned()).await;
    SockRef::from(&raw.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(raw);
    let record = case.refused(Reason::ConnectionReset, b"").await;
    assert_eq!((record["close_code"].as_u64(), record["ended_by"].as_str()), (Some(1006), Some("client")));
    assert_eq!(record["messages_in"], 0);
}

#[tokio::test]
async fn f24_a_client_that_ignores_our_close_is_cut_at_the_close_timeout() {
    let mut case = Case::start(&echo("", "")).await;
    let mut raw = case.open().await;
    raw.send(&frame(0x89, b"ping").repeat(200)).await;
    let begun = now();
    let (code, _) = raw.read_close().await;
    assert_eq!(code, 1008);
    // It goes on as if nothing had been said; none of it is answered and nothing of it moves the deadline.
    let waiting = || "the connection outlives its close timeout".to_owned();
    let mut sent = 0;
    eventually(
        || {
            let _ = raw.stream.try_write(&frame(0x81, b"not listening"));
            let _ = raw.stream.try_write(&frame(0x89, b"not listening"));
            sent += 1;
            case.ends(Reason::PingRateExceeded) == 1
        },
        waiting,
    )
    .await;
    assert!(sent > 5, "the client had no time to go on");
    assert_took(begun, Duration::from_millis(300));
    raw.expect_end().await;
    let record = case.refused(Reason::PingRateExceeded, b"").await;
    assert_eq!(record["detail"], "our Close was not answered in time");
}

#[tokio::test]
async fn f24_a_close_that_is_answered_needs_no_timeout() {
    let mut case = Case::start(&with_close_timeout("60s", "")).await;
    let mut raw = case.open().await;
    raw.send(&frame(0x89, b"ping").repeat(200)).await;
    raw.read_close().await;
    raw.send_frame(0x88, b"\x03\xf0").await;
    raw.expect_end().await;
    drop(raw);
    let record = case.refused(Reason::PingRateExceeded, b"").await;
    assert_eq!((record["close_code"].as_u64(), record.get("detail")), (Some(1008), None));
}

#[tokio::test]
async fn f24_a_client_that_ignores_the_drains_close_is_cut_at_the_close_timeout() {
    let mut case = Case::start(&echo("", "")).await;
    let mut raw = case.open().await;
    let begun = now();
    case.drain();
    let (code, text) = raw.read_close().await;
    assert_eq!((code, &*text), (1012, Reason::Draining.row().close_reason));
    raw.expect_end().await;
    assert_took(begun, Duration::from_millis(300));
    // This client, and the neighbour, who does not answer either.
    eventually(|| case.records_of(Reason::Draining).len() == 2, || case.log_text()).await;
    for record in case.records_of(Reason::Draining) {
        assert_eq!(record["detail"], "our Close was not answered in time");
        assert_eq!(
            (record["close_code"].as_u64(), record["ended_by"].as_str()),
            (Some(1012), Some("operator"))
        );
    }
    assert_eq!(case.stop().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_client_that_has_closed_only_its_side_still_gets_its_answers() {
    let config = Config::from_toml(&with_close_timeout("20ms", ""), Path::new("."), &|_| None).unwrap();
    let limits = Limits { close_timeout: Duration::from_millis(20), ..Limits::default() };
    for builder in [Server::from_config(config), whole_messages(limits)] {
        let mut case = Case::start_with(builder).await;
        let mut raw = case.open().await;
        let plain = vec![b'h'; 10_000];
        raw.send(&frame(0x81, &plain).repeat(40)).await;
        SockRef::from(&raw.stream).shutdown(Shutdown::Write).unwrap();
        for _ in 0..40 {
            assert_eq!(payload(&raw.read_message().await), plain);
        }
        raw.expect_end().await;
        drop(raw);
        let record = case.refused(Reason::ConnectionLost, &plain).await;
        assert_eq!((record["messages_in"].as_u64(), record["messages_out"].as_u64()), (Some(40), Some(40)));
        // The neighbour's end would be a loss too, in the log of the next gateway on this thread.
        case.stop().await;
    }
}

#[tokio::test]
async fn a_client_that_has_closed_only_its_side_still_gets_what_waits_for_it() {
    let toml = with_close_timeout("10s", "") + "\n[admin]\naddress = \"127.0.0.1:0\"";
    let case = Case::start(&toml).await;
    let mut raw = Raw::connect_narrow(case.address).await;
    raw.upgrade("/").await;
    let message = vec![b'm'; 32 * 1024];
    let (echoes, _) = block_output(&case, &mut raw, &message).await;
    SockRef::from(&raw.stream).shutdown(Shutdown::Write).unwrap();
    // The gateway runs on this thread: it gets its turn to see the end.
    tokio::task::yield_now().await;
    assert!(case.buffered_bytes().await > 0);
    for _ in 0..echoes {
        assert_eq!(payload(&raw.read_message().await), message);
    }
    raw.expect_end().await;
    eventually(|| case.ends(Reason::ConnectionLost) == 1, || case.log_text()).await;
}

#[tokio::test]
async fn a_client_that_closes_its_side_and_reads_nothing_is_cut_at_the_close_timeout() {
    let toml = with_close_timeout("100ms", "") + "\n[admin]\naddress = \"127.0.0.1:0\"";
    let mut case = Case::start(&toml).await;
    let mut raw = Raw::connect_narrow(case.address).await;
    raw.upgrade("/").await;
    block_output(&case, &mut raw, &vec![b'm'; 32 * 1024]).await;
    SockRef::from(&raw.stream).shutdown(Shutdown::Write).unwrap();
    case.refused(Reason::ConnectionLost, b"").await;
    assert_eq!(case.buffered_bytes().await, 0);
}

#[tokio::test]
async fn a_close_in_mid_message_is_answered_at_once() {
    let mut case = Case::start(&echo("", "")).await;
    let mut raw = case.open().await;
    raw.send(&[frame(0x01, b"begun"), frame(0x88, b"\x03\xe8")].concat()).await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x01, b"begun"));
    assert_eq!(raw.read_frame().await, Frame::whole(0x88, b"\x03\xe8"));
    raw.expect_end().await;
    drop(raw);
    let record = case.refused(Reason::ClosedByClient, b"").await;
    assert_eq!((record["messages_in"].as_u64(), record["bytes_in"].as_u64()), (Some(0), Some(5)));
}
