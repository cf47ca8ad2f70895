//! Messages without end: too many bytes, too many frames, too much time. Memory is measured: gateway and client run on
//! this thread, and nobody else's allocations are counted.

use std::time::Duration;

use allocation_counter::measure;
use drawgate::Server;
use drawgate::config::Config;
use drawgate::limits::Limits;
use drawgate::reason::Reason;
use tokio::runtime::{Builder as RuntimeBuilder, Runtime};
use tokio::time::timeout;

use super::{assert_took, now, refused, whole_messages, with_close_timeout};
use crate::support::{Case, Frame, Raw, echo, eventually, frame, payload};

fn runtime() -> Runtime {
    RuntimeBuilder::new_current_thread().enable_all().build().unwrap()
}

/// A header that declares `bytes`, in eight bytes, and its mask.
fn declaring(first: u8, bytes: u64) -> Vec<u8> {
    [&[first, 0xFF][..], &bytes.to_be_bytes(), &[1, 2, 3, 4]].concat()
}

#[test]
fn f08_a_declared_length_of_2_to_62_is_refused_at_the_header_and_allocates_nothing() {
    let runtime = runtime();
    let mut case = runtime.block_on(Case::start(&echo("", "")));
    let mut raw = runtime.block_on(case.open());
    runtime.block_on(case.neighbour_is_unharmed());
    let allocated = measure(|| {
        runtime.block_on(async {
            raw.send(&declaring(0x82, 1 << 62)).await;
            raw.expect_close(Reason::MessageTooBig).await;
        });
    });
    assert!(allocated.bytes_max < 64 * 1024, "{allocated:?}");
    drop(raw);
    let record = runtime.block_on(case.refused(Reason::MessageTooBig, b""));
    assert_eq!((record["close_code"].as_u64(), record["limit"].as_u64()), (Some(1009), Some(1 << 20)));
}

#[tokio::test]
async fn f08_the_bytes_of_a_length_that_are_enough_are_enough() {
    for sent in [
        // 2^62 at the first byte of the length; one byte over the limit at its last; over it in the second frame.
        vec![0x82, 0xFF, 0x40],
        declaring(0x81, (1 << 20) + 1)[..10].to_vec(),
        [frame(0x01, b"begun"), declaring(0x80, 1 << 20)[..10].to_vec()].concat(),
    ] {
        refused(&echo("", ""), &sent, b"", Reason::MessageTooBig).await;
    }
}

#[test]
fn f08_a_declared_length_within_the_limit_allocates_nothing_either() {
    let runtime = runtime();
    let echoes = echo(r#"message_bytes_max = "1GiB""#, "");
    let config = Config::from_toml(&echoes, std::path::Path::new("."), &|_| None).unwrap();
    let limits = Limits { message_bytes_max: Some(1 << 30), ..Limits::default() };
    for builder in [Server::from_config(config), whole_messages(limits)] {
        let mut case = runtime.block_on(Case::start_with(builder));
        let mut raws = runtime.block_on(open_many(&case, 20));
        runtime.block_on(case.neighbour_is_unharmed());
        let sent = [&declaring(0x82, 1 << 30)[..], b"a few"].concat();
        let allocated = measure(|| {
            runtime.block_on(async {
                for raw in &mut raws {
                    raw.send(&sent).await;
                }
                eventually(|| case.bytes_in("binary") == 20 * 5, || "not all has come".to_owned()).await;
            });
        });
        assert!(allocated.bytes_max < 20 * 4096, "{allocated:?}");
    }
}

async fn open_many(case: &Case, count: usize) -> Vec<Raw> {
    let mut raws = Vec::new();
    for _ in 0..count {
        raws.push(case.open().await);
    }
    raws
}

#[tokio::test]
async fn f11_a_continuation_flood_is_refused_at_the_header_that_reaches_the_cap() {
    let toml = echo(r#"message_bytes_max = "64KiB""#, "");
    let mut case = Case::start(&toml).await;
    let mut raw = case.open().await;
    let plain = b"sixteen bytes ok".repeat(256);
    raw.send_frame(0x02, &plain).await;
    for _ in 1..16 {
        raw.send_frame(0x00, &plain).await;
    }
    let mut echoed = 0;
    while echoed < 64 * 1024 {
        echoed += raw.read_frame().await.payload.len();
    }
    assert_eq!(echoed, 64 * 1024);
    // An empty frame fits, a single byte more does not.
    raw.send_frame(0x00, b"").await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x00, b""));
    raw.send(&[0x00, 0x81]).await;
    raw.expect_close(Reason::MessageTooBig).await;
    let record = case.refused(Reason::MessageTooBig, &plain).await;
    assert_eq!((record["close_code"].as_u64(), record["limit"].as_u64()), (Some(1009), Some(65536)));
    assert_eq!(record["bytes_in"].as_u64(), Some(65536));
}

#[tokio::test]
async fn f12_the_frame_over_the_cap_is_refused_at_its_first_byte_however_empty_all_are() {
    for fragment in [&b""[..], b"f"] {
        let begun = [frame(0x01, fragment), frame(0x00, fragment).repeat(1023)].concat();
        let sent = [&begun[..], &[0x80]].concat();
        let record = refused(&echo("", ""), &sent, b"", Reason::FragmentsTooMany).await;
        assert_eq!((record["close_code"].as_u64(), record["limit"].as_u64()), (Some(1008), Some(1024)));
        assert_eq!(record["bytes_in"].as_u64(), Some(1024 * fragment.len() as u64));
    }
}

#[tokio::test]
async fn f12_as_many_fragments_as_allowed_are_echoed_as_they_came() {
    let case = Case::start(&echo("", "")).await;
    let mut raw = case.open().await;
    for fragment in [&b""[..], b"f"] {
        raw.send(
            &[frame(0x01, fragment), frame(0x00, fragment).repeat(1022), frame(0x80, fragment)].concat(),
        )
        .await;
        let frames = raw.read_message().await;
        assert_eq!((frames.len(), payload(&frames)), (1024, fragment.repeat(1024)));
    }
}

#[test]
fn f12_tiny_fragments_hold_no_more_than_the_message_and_4_kib() {
    let runtime = runtime();
    let limits = Limits { message_bytes_max: Some(1024), ..Limits::default() };
    let mut case = runtime.block_on(Case::start_with(whole_messages(limits)));
    let mut raws = runtime.block_on(open_many(&case, 50));
    runtime.block_on(case.neighbour_is_unharmed());
    let sent = [frame(0x02, b"f"), frame(0x00, b"f").repeat(1022), frame(0x00, b"")].concat();
    let allocated = measure(|| {
        runtime.block_on(async {
            for raw in &mut raws {
                raw.send(&sent).await;
            }
            eventually(|| case.bytes_in("binary") == 50 * 1023, || "not all has come".to_owned()).await;
        });
    });
    let held = allocated.bytes_current / 50;
    assert!((1023..1024 + 4096).contains(&held), "{held} bytes are held for each connection");
    // It is not yet too much: the message may still end.
    drop(raws.pop());
    assert_eq!(case.ends(Reason::FragmentsTooMany), 0);
}

#[tokio::test]
async fn f14_a_message_that_never_ends_is_closed_at_its_deadline() {
    let toml = with_close_timeout("20ms", r#"message_timeout = "100ms""#);
    let slow = frame(0x81, &[b'x'; 100]);
    for (at_once, slowly) in [
        // A byte at a time, inside a frame and in frames; from the header on.
        (&slow[..7], &slow[7..]),
        (&[], &slow[..]),
        (&frame(0x01, b"f"), &frame(0x00, b"f").repeat(20)),
        // Nothing at all after what began it: a piece, an open message, a header, a part of one.
        (&slow[..20], &[]),
        (&frame(0x01, b"f"), &[]),
        (&slow[..6], &[]),
        (&slow[..1], &[]),
        (&frame(0x01, b""), &[]),
    ] {
        let mut case = Case::start(&toml).await;
        let mut raw = case.open().await;
        let begun = now();
        raw.send(at_once).await;
        raw.trickle(slowly, Duration::from_millis(10)).await;
        raw.expect_close(Reason::MessageTimeout).await;
        assert_took(begun, Duration::from_millis(100));
        drop(raw);
        let record = case.refused(Reason::MessageTimeout, &[]).await;
        assert_eq!((record["close_code"].as_u64(), record["limit"].as_u64()), (Some(1008), Some(100)));
    }
}

#[tokio::test]
async fn f14_control_frames_do_not_move_the_deadline() {
    let mut case = Case::start(&with_close_timeout("20ms", r#"message_timeout = "100ms""#)).await;
    let mut raw = case.open().await;
    let begun = now();
    raw.send_frame(0x01, b"f").await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x01, b"f"));
    let mut pongs = 0;
    while timeout(Duration::from_millis(5), raw.stream.readable()).await.is_err() {
        raw.send_frame(0x89, b"alive").await;
        match raw.read_frame().await {
            frame if frame == Frame::whole(0x8A, b"alive") => pongs += 1,
            frame => {
                assert_eq!(frame.first, 0x88);
                assert_eq!(&frame.payload[2..], Reason::MessageTimeout.row().close_reason.as_bytes());
                break;
            }
        }
    }
    assert!(pongs > 0);
    assert_took(begun, Duration::from_millis(100));
    drop(raw);
    case.refused(Reason::MessageTimeout, b"").await;
}

#[tokio::test]
async fn f14_the_deadline_is_each_frames_own_between_messages() {
    let case = Case::start(&echo(r#"message_timeout = "400ms""#, "")).await;
    let mut raw = case.open().await;
    let begun = now();
    // Each read ends inside a frame, a ping or a message, and each frame is complete in good time.
    let (ping, message) = (frame(0x89, b"half and half"), frame(0x82, b"half and half"));
    raw.send(&ping[..9]).await;
    while begun.elapsed() < Duration::from_millis(600) {
        raw.send(&[&ping[9..], &message[..9]].concat()).await;
        assert_eq!(raw.read_frame().await, Frame::whole(0x8A, b"half and half"));
        raw.send(&[&message[9..], &ping[..9]].concat()).await;
        assert_eq!(raw.read_frame().await, Frame::whole(0x82, b"half and half"));
        let _ = timeout(Duration::from_millis(30), raw.stream.readable()).await;
    }
    assert_eq!(case.ends(Reason::MessageTimeout), 0);
}
