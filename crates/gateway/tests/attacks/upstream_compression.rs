//! Z: compression towards the application behind the gate, and what it may answer and send wrong.

use std::collections::BTreeSet;
use std::path::Path;

use drawgate::Server;
use drawgate::config::Config;
use drawgate::reason::Reason;
use drawgate_protocol::deflate::INFLATER_BYTES_MAX;
use serde_json::json;

use crate::application::{Application, Seen, accepting, before, unmasked};
use crate::compression::{deflated, inflated, read_message};
use crate::sessions::token;
use crate::support::{
    Case, Frame, PATIENCE, Raw, eventually, eventually_within, frame, payload, request, settled,
};
use crate::upstream::tokens_toml;

/// What the gateway offers.
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                     client_max_window_bits=12\r\n";
/// What an application answers that takes it as it is.
const ANSWER: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";
/// What a client offers.
const CLIENT_OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

/// The configuration of a gateway that compresses towards the application at `address`.
fn compressing(application: &Application, limits: &str) -> String {
    let toml = before(application.address, limits, "");
    toml.replacen("connect_timeout", "compression = \"on\", connect_timeout", 1)
}

/// A client that sends these header lines, and the connection that the application sees, which answers with those.
async fn join(application: &Application, case: &Case, offer: &str, answer: &str) -> (Raw, Seen) {
    let mut client = case.connect().await;
    client.send(request("/app/", offer).as_bytes()).await;
    let mut seen = application.accept().await;
    let head = seen.upgrade(answer).await;
    assert_eq!(head.matches("Sec-WebSocket-Extensions").count(), 1, "{head}");
    assert!(head.contains(&format!("\r\n{OFFER}")), "{head}");
    if !answer.is_empty() {
        seen.takes_compression();
    }
    let head = client.read_head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    (client, seen)
}

/// A plain client before an application that has agreed to compress.
async fn open(application: &Application, limits: &str) -> (Case, Raw, Seen) {
    let case = Case::start(&compressing(application, limits)).await;
    let (client, seen) = join(application, &case, "", ANSWER).await;
    (case, client, seen)
}

/// What the application gets next, inflated where it is compressed, and whether it was.
async fn read(seen: &mut Seen) -> (Vec<u8>, bool) {
    let frames = seen.read_message().await;
    let (first, rest) = frames.split_first().unwrap();
    assert!(rest.iter().all(|frame| frame.first & 0x40 == 0), "RSV1 is for the first frame");
    let is_compressed = first.first & 0x40 != 0;
    let mut bytes = payload(&frames);
    (if is_compressed { inflated(&mut bytes) } else { bytes }, is_compressed)
}

/// Text that shrinks, and in which no part is like another.
fn text(words: u32) -> Vec<u8> {
    (0..words).flat_map(|number| format!("{number:x}, ").into_bytes()).collect()
}

/// The application is told `code`, and the client 1014, for what the application sent.
async fn misbehaves(mut case: Case, mut client: Raw, mut seen: Seen, code: u16) -> serde_json::Value {
    while let Some(frame) = seen.next_frame().await {
        if frame.first == 0x88 {
            assert_eq!(frame.payload[..2], code.to_be_bytes());
            break;
        }
    }
    loop {
        // What was good before may have come.
        let frame = client.read_frame().await;
        if frame.first == 0x88 {
            let row = Reason::UpstreamMisbehaved.row();
            let told = [&1014_u16.to_be_bytes()[..], row.close_reason.as_bytes()].concat();
            assert_eq!(frame.payload, told);
            break;
        }
        assert_eq!(frame.first & 0x80, 0, "no message looks whole: {frame:?}");
    }
    drop((client, seen));
    case.refused(Reason::UpstreamMisbehaved, b"").await
}

#[tokio::test]
async fn z10_each_side_compresses_or_not_whatever_the_other_does() {
    let application = Application::start().await;
    let case = Case::start(&compressing(&application, "compression = \"on\"")).await;
    let long = text(3000);
    for (offer, answer) in [("", ""), ("", ANSWER), (CLIENT_OFFER, ""), (CLIENT_OFFER, ANSWER)] {
        let (mut client, mut seen) = join(&application, &case, offer, answer).await;
        for message in [&b""[..], b"short", &long] {
            let is_long = message.len() > 127;
            let (sent, first) =
                if offer.is_empty() { (message.to_vec(), 0x81) } else { (deflated(message), 0xC1) };
            client.send_frame(first, &sent).await;
            let (came, is_compressed) = read(&mut seen).await;
            assert!(came == message, "{} bytes, {offer:?}, {answer:?}", message.len());
            assert_eq!(is_compressed, is_long && !answer.is_empty());

            let (sent, first) =
                if answer.is_empty() { (message.to_vec(), 0x81) } else { (deflated(message), 0xC1) };
            seen.send_frame(first, &sent).await;
            let frames = client.read_message().await;
            assert_eq!(frames[0].first & 0x40 != 0, is_long && !offer.is_empty());
            let mut came = payload(&frames);
            let came = if frames[0].first & 0x40 == 0 { came } else { inflated(&mut came) };
            assert!(came == message, "{} bytes back, {offer:?}, {answer:?}", message.len());
        }
        // Either may send plain messages all the same.
        client.send_frame(0x81, b"plain").await;
        assert_eq!(seen.read_frame().await, Frame::whole(0x81, b"plain"));
        seen.send_frame(0x81, b"plain").await;
        assert_eq!(client.read_frame().await, Frame::whole(0x81, b"plain"));
    }
}

#[tokio::test]
async fn z10_nothing_is_offered_to_an_application_by_default() {
    let application = Application::start().await;
    let case = Case::start(&before(application.address, "compression = \"on\"", "")).await;
    let mut client = case.connect().await;
    client.send(request("/app/", CLIENT_OFFER).as_bytes()).await;
    let head = application.accept().await.read_head().await;
    assert!(!head.contains("Sec-WebSocket-Extensions"), "{head}");
}

#[tokio::test]
async fn z08_an_answer_that_does_not_accept_the_offer_is_a_502() {
    let application = Application::start().await;
    let agreed = "permessage-deflate; server_no_context_takeover";
    for (answer, detail) in [
        ("permessage-deflate".to_owned(), "keeps its context"),
        ("permessage-deflate; client_no_context_takeover".to_owned(), "keeps its context"),
        (format!("{agreed}; server_max_window_bits=7"), "out of range"),
        (format!("{agreed}; server_max_window_bits=16"), "out of range"),
        (format!("{agreed}; server_max_window_bits"), "out of range"),
        (format!("{agreed}; server_max_window_bits=010"), "out of range"),
        (format!("{agreed}; client_max_window_bits"), "out of range"),
        (format!("{agreed}; client_max_window_bits=7"), "out of range"),
        (format!("{agreed}; client_max_window_bits=8"), "8 bits"),
        (format!("{agreed}; client_max_window_bits=16"), "out of range"),
        (format!("{agreed}; server_no_context_takeover"), "doubled"),
        (format!("{agreed}=1"), "out of range"),
        (format!("{agreed}; client_max_window_bits=9; client_max_window_bits=9"), "doubled"),
        (format!("{agreed}; something_else"), "unknown"),
        (format!("{agreed}, {agreed}"), "twice"),
        (format!("{agreed}, permessage-bzip2"), "not offered"),
        ("x-webkit-deflate-frame".to_owned(), "not offered"),
        (format!("{agreed}\r\nSec-WebSocket-Extensions: {agreed}"), ""),
        ("permessage-deflate;".to_owned(), ""),
        ("permessage-deflate; =1".to_owned(), ""),
    ] {
        let mut case = Case::start(&compressing(&application, "compression = \"on\"")).await;
        let mut client = case.connect().await;
        let mut sent = request("/app/", CLIENT_OFFER).into_bytes();
        sent.extend(frame(0x81, b"too early"));
        client.send(&sent).await;
        let mut seen = application.accept().await;
        let head = seen.read_head().await;
        seen.send(accepting(&head, &format!("Sec-WebSocket-Extensions: {answer}\r\n")).as_bytes()).await;
        client.expect_refusal(Reason::UpstreamAnswerInvalid).await;
        seen.expect_end().await;
        drop(client);
        let record = case.refused(Reason::UpstreamAnswerInvalid, b"").await;
        let told = record["detail"].as_str().unwrap();
        assert!(told.contains(detail), "{answer}: {told}");
        assert_eq!(case.metric("drawgate_compression_bytes"), 0, "{answer}");
    }
}

#[tokio::test]
async fn z08_every_answer_that_accepts_the_offer_is_kept_to() {
    let application = Application::start().await;
    let case = Case::start(&compressing(&application, "")).await;
    let long = text(3000);
    for more in [
        "",
        "; client_no_context_takeover",
        "; server_max_window_bits=8",
        "; server_max_window_bits=15; client_max_window_bits=9",
        "; client_max_window_bits=\"15\"; client_no_context_takeover",
    ] {
        let answer =
            format!("Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover{more}\r\n");
        let (mut client, mut seen) = join(&application, &case, "", &answer).await;
        // Twice the same: no message refers to the one before.
        for _ in 0..2 {
            client.send_frame(0x81, &long).await;
            assert!(read(&mut seen).await == (long.clone(), true), "{more}");
            seen.send_frame(0xC1, &deflated(&long)).await;
            assert!(payload(&client.read_message().await) == long, "{more}");
        }
    }
}

#[tokio::test]
async fn z05_rsv1_from_an_application_that_did_not_agree_is_named() {
    let application = Application::start().await;
    let case = Case::start(&compressing(&application, "")).await;
    let (client, mut seen) = join(&application, &case, CLIENT_OFFER, "").await;
    seen.send_frame(0xC1, &deflated(b"a")).await;
    misbehaves(case, client, seen, 1002).await;
}

#[tokio::test]
async fn z05_rsv1_belongs_on_the_first_frame_of_a_message_alone() {
    let first = unmasked(0x41, &deflated(b"a")[..1]);
    let application = Application::start().await;
    for sent in [
        [first, unmasked(0xC0, b"")].concat(),
        [unmasked(0x01, b"plain"), unmasked(0xC0, b"")].concat(),
        unmasked(0xC9, b""),
        unmasked(0xCA, b""),
        unmasked(0xC8, b""),
        unmasked(0xA1, b""),
    ] {
        let (case, client, mut seen) = open(&application, "").await;
        seen.send(&sent).await;
        let record = misbehaves(case, client, seen, 1002).await;
        assert!(record["rule"].is_string(), "{record}");
    }
}

#[tokio::test]
async fn z01_a_bomb_of_the_applications_is_stopped_at_the_limit() {
    let application = Application::start().await;
    let (case, client, mut seen) = open(&application, "inflated_bytes_per_second = \"unlimited\"").await;
    let bomb = deflated(&vec![0; 64 << 20]);
    assert!(bomb.len() < 128 * 1024, "{} bytes", bomb.len());
    seen.send_frame(0xC2, &bomb).await;
    let record = misbehaves(case, client, seen, 1009).await;
    assert_eq!((&record["limit"], &record["bytes_out"]), (&json!(1 << 20), &json!(1 << 20)), "{record}");
}

#[tokio::test]
async fn z02_limits_see_the_inflated_bytes_of_the_application() {
    let application = Application::start().await;
    let (case, mut client, mut seen) = open(&application, "message_bytes_max = \"1000B\"").await;
    seen.send_frame(0xC1, &deflated(&[b'a'; 1000])).await;
    assert_eq!(payload(&client.read_message().await), [b'a'; 1000]);
    seen.send_frame(0xC1, &deflated(&[b'a'; 1001])).await;
    assert_eq!(misbehaves(case, client, seen, 1009).await["limit"], 1000);
}

#[tokio::test]
async fn z03_what_an_application_inflates_to_has_a_budget_a_second() {
    let application = Application::start().await;
    let limits = "message_bytes_max = \"64KiB\"\ninflated_bytes_per_second = \"1MiB\"";
    let (mut case, mut client, mut seen) = open(&application, limits).await;
    seen.send(&unmasked(0xC2, &deflated(&[0; 60_000])).repeat(50)).await;
    for _ in 0..(1 << 20) / 60_000 {
        assert_eq!(payload(&client.read_message().await).len(), 60_000);
    }
    assert_eq!(seen.read_close().await, (1008, Reason::InflationRateExceeded.row().close_reason.to_owned()));
    let (code, told) = client.read_close().await;
    assert_eq!((code, &*told), (1014, Reason::UpstreamMisbehaved.row().close_reason));
    drop((client, seen));
    let record = case.refused(Reason::UpstreamMisbehaved, b"").await;
    assert_eq!(
        (&record["limit"], &record["detail"]),
        (&json!(1 << 20), &json!(Reason::InflationRateExceeded.row().label)),
        "{record}"
    );
}

#[tokio::test]
async fn z04_corrupt_deflate_of_the_applications_is_a_1007_to_it() {
    let whole = deflated(b"a message that is cut short, short, short");
    let application = Application::start().await;
    for sent in [&b"\xff\xff\xff\xff"[..], &whole[..whole.len() - 3], b"\x02\xb2\x00\x00"] {
        let (case, client, mut seen) = open(&application, "").await;
        seen.send_frame(0xC2, sent).await;
        let record = misbehaves(case, client, seen, 1007).await;
        assert_eq!(record["section"], "RFC 7692 §7.2.2", "{record}");
    }
    let (case, client, mut seen) = open(&application, "").await;
    seen.send_frame(0xC1, &deflated(b"no text: \xff")).await;
    misbehaves(case, client, seen, 1007).await;
}

#[tokio::test]
async fn z06_boundaries_come_from_fin_only_and_control_frames_stand_between() {
    let application = Application::start().await;
    let (_case, mut client, mut seen) = open(&application, "").await;
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let flushed_twice = [&hello[..], b"\x00\x00\xff\xff", hello].concat();
    let ended_twice = b"\xf3\x48\xcd\xc9\xc9\x07\x00".repeat(2);
    for payload_sent in [&flushed_twice, &ended_twice] {
        for cut in 0..=payload_sent.len() {
            let (front, back) = payload_sent.split_at(cut);
            seen.send(&[unmasked(0x41, front), unmasked(0x89, b"ping"), unmasked(0x80, back)].concat()).await;
            assert_eq!(seen.read_frame().await, Frame::whole(0x8A, b"ping"));
            let frames = client.read_message().await;
            assert_eq!(payload(&frames), b"HelloHello", "cut at {cut}");
        }
    }
    // And towards the application.
    let long = text(500);
    let (front, back) = long.split_at(1500);
    client.send(&[frame(0x01, front), frame(0x89, b"ping"), frame(0x80, back)].concat()).await;
    assert_eq!(client.read_frame().await, Frame::whole(0x8A, b"ping"));
    assert_eq!(read(&mut seen).await, (long, true));
}

#[tokio::test]
async fn z09_nothing_is_offered_where_all_contexts_are_taken() {
    let application = Application::start().await;
    let toml = compressing(&application, "compression = \"on\"");
    let config = Config::from_toml(&toml, Path::new("."), &|_| None).unwrap();
    let case =
        Case::start_with(Server::from_config(config).compression_bytes_max(2 * INFLATER_BYTES_MAX)).await;
    let (first, seen) = join(&application, &case, CLIENT_OFFER, ANSWER).await;
    assert_eq!(case.metric("drawgate_compression_bytes"), 2 * INFLATER_BYTES_MAX as u64, "both sides count");
    let mut second = case.connect().await;
    second.send(request("/app/", CLIENT_OFFER).as_bytes()).await;
    let mut plain = application.accept().await;
    let head = plain.upgrade("").await;
    assert!(!head.contains("Sec-WebSocket-Extensions"), "{head}");
    assert!(!second.read_head().await.contains("permessage-deflate"));
    assert_eq!(case.metric("drawgate_compression_declined_total"), 2);
    second.send_frame(0x81, &[b'a'; 500]).await;
    assert_eq!(plain.read_frame().await, Frame::whole(0x81, &[b'a'; 500]));
    drop((first, seen, second, plain));
    eventually(|| case.metric("drawgate_compression_bytes") == 0, || case.log_text()).await;
    // What an application does not take up is given back at once.
    let _declining = join(&application, &case, "", "").await;
    assert_eq!(case.metric("drawgate_compression_bytes"), 0);
}

#[tokio::test]
async fn z11_noise_of_the_applications_goes_on_or_is_named() {
    let application = Application::start().await;
    let mut case = Case::start(&compressing(&application, "message_bytes_max = \"4KiB\"")).await;
    let (mut state, mut refusals) = (7_u64, 0);
    for _ in 0..100 {
        let mut noise = Vec::new();
        while noise.len() < 40 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            noise.push(state.to_be_bytes()[0]);
        }
        noise[0] = noise[0] & !7 | [2, 4, 3][usize::from(noise[1]) % 3];
        let (mut client, mut seen) = join(&application, &case, "", ANSWER).await;
        seen.send(&[unmasked(0xC2, &noise), unmasked(0x88, b"\x03\xe8")].concat()).await;
        let code = loop {
            let Frame { first, payload } = client.read_frame().await;
            if first == 0x88 {
                break u16::from_be_bytes([payload[0], payload[1]]);
            }
        };
        assert!([1000, 1014].contains(&code), "{code}");
        refusals += u64::from(code != 1000);
    }
    eventually(|| case.ends(Reason::UpstreamMisbehaved) == refusals, || format!("{refusals}")).await;
    assert!(refusals > 50, "{refusals}");
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn z12_an_empty_compressed_message_of_the_applications_works() {
    let application = Application::start().await;
    let (_case, mut client, mut seen) = open(&application, "").await;
    for sent in [&b"\x00"[..], b"\x02\x00", b"\x03\x00", b""] {
        seen.send_frame(0xC1, sent).await;
        assert_eq!(client.read_frame().await, Frame::whole(0x81, b""));
    }
}

#[tokio::test]
async fn f26_compressed_frames_to_the_application_have_a_fresh_key_each() {
    let application = Application::start().await;
    let (_case, mut client, mut seen) = open(&application, "").await;
    client.send(&frame(0x81, &[b'a'; 200]).repeat(300)).await;
    for _ in 0..300 {
        assert_eq!(read(&mut seen).await, (vec![b'a'; 200], true));
    }
    let keys: BTreeSet<[u8; 4]> = seen.keys.iter().copied().collect();
    assert!(keys.len() >= 299, "{} different keys", keys.len());
}

#[tokio::test]
async fn small_messages_and_those_that_do_not_shrink_go_to_the_application_plain() {
    let application = Application::start().await;
    let (_case, mut client, mut seen) = open(&application, "").await;
    let mut noise = vec![1_u8; 200];
    for index in 1..noise.len() {
        noise[index] = noise[index - 1].wrapping_mul(181).wrapping_add(59);
    }
    for (message, first) in [(&[b'a'; 127][..], 0x82), (&[b'a'; 128], 0xC2), (&noise, 0x82)] {
        client.send_frame(0x82, message).await;
        assert_eq!(seen.read_frame().await.first, first, "{} bytes", message.len());
    }
}

#[tokio::test]
async fn large_messages_go_both_ways_in_pieces_however_they_are_cut() {
    let application = Application::start().await;
    let limits = "compression = \"on\"\ninflated_bytes_per_second = \"unlimited\"";
    let case = Case::start(&compressing(&application, limits)).await;
    let long = text(60_000);
    let (plain, compressed) = ([long.clone(), long.clone()], [deflated(&long), long.clone()]);
    for (offer, answer, sent) in
        [("", ANSWER, [&plain[0], &compressed[0]]), (CLIENT_OFFER, ANSWER, [&compressed[0], &compressed[0]])]
    {
        let (mut client, mut seen) = join(&application, &case, offer, answer).await;
        let rsv1 = if offer.is_empty() { 0 } else { 0x40 };
        for frame_bytes in [usize::MAX, 30_000, 1001] {
            client.send(&fragmented(sent[0], frame_bytes, 0x01 | rsv1, frame)).await;
            assert!(read(&mut seen).await == (long.clone(), true), "in frames of {frame_bytes}");
            seen.send(&fragmented(sent[1], frame_bytes, 0x41, unmasked)).await;
            assert!(read_message(&mut client).await == long, "back in frames of {frame_bytes}");
        }
    }
}

/// The most that may wait on one side of a connection, and what one piece may inflate to beside it.
const WAITING_BYTES_MAX: u64 = 256 * 1024 + 64 * 1024;

#[tokio::test]
async fn z03_r06_what_inflates_for_a_slow_client_waits_at_the_application() {
    const MESSAGES: usize = 200;
    let application = Application::start().await;
    let admin = "[admin]\naddress = \"127.0.0.1:0\"";
    let limits = "stall_timeout = \"20s\"\ninflated_bytes_per_second = \"unlimited\"";
    let mut case = Case::start(&format!("{}\n{admin}", compressing(&application, limits))).await;
    let mut client = Raw::connect_bounded(case.address).await;
    client.send(request("/app/", "").as_bytes()).await;
    let mut seen = application.accept().await;
    seen.upgrade(ANSWER).await;
    client.read_head().await;
    // Kilobytes that inflate to three times what the kernel may hold of a connection, and come in one read.
    let sent = unmasked(0xC2, &deflated(&[b'z'; 60_000])).repeat(MESSAGES);
    assert!(sent.len() < 16 * 1024, "{} bytes", sent.len());
    seen.send(&sent).await;
    // On a busy machine what has been sent may take its time to come.
    let is_there = || case.metric("drawgate_buffered_bytes") >= 64 * 1024;
    eventually_within(PATIENCE * 3, is_there, || case.log_text()).await;
    let most = settled(async || case.buffered_bytes().await).await;
    assert!((64 * 1024..=WAITING_BYTES_MAX).contains(&most), "{most} bytes wait");
    case.neighbour_is_unharmed().await;
    for _ in 0..MESSAGES {
        assert_eq!(payload(&client.read_message().await), [b'z'; 60_000]);
    }
    assert_eq!(settled(async || case.buffered_bytes().await).await, 0);
}

/// `bytes` as a message in frames of so many, the first of which begins by `first`.
fn fragmented(bytes: &[u8], frame_bytes: usize, first: u8, make: fn(u8, &[u8]) -> Vec<u8>) -> Vec<u8> {
    let parts: Vec<&[u8]> = bytes.chunks(frame_bytes).collect();
    let frames = parts.iter().enumerate().map(|(index, part)| {
        let is_last = index + 1 == parts.len();
        make(if index == 0 { first } else { 0 } | if is_last { 0x80 } else { 0 }, part)
    });
    frames.collect::<Vec<_>>().concat()
}

#[tokio::test]
async fn a_compressed_message_that_the_application_does_not_end_never_looks_whole() {
    let application = Application::start().await;
    let (_case, mut client, mut seen) = open(&application, "").await;
    let long = deflated(&text(3000));
    seen.send(&unmasked(0xC1, &long)[..long.len() / 2]).await;
    drop(seen);
    let mut has_begun = false;
    loop {
        let frame = client.read_frame().await;
        if frame.first == 0x88 {
            assert_eq!(frame.payload[..2], 1014_u16.to_be_bytes());
            break;
        }
        has_begun = true;
        assert_eq!(frame.first & 0x80, 0, "{frame:?}");
    }
    assert!(has_begun, "what came goes on as it comes");
}

#[tokio::test]
async fn messages_that_are_inspected_whole_are_inflated_before_and_deflated_behind() {
    let application = Application::start().await;
    let rules = |toml: String| {
        let inspect = "then = \"refuse\" }] }";
        toml.replace(
            "[routes.app.limits]",
            &format!(
                "inspect = {{ format = \"json\", rules = [{{ name = \"no\", when = \"message.no\", {inspect}\n\
                 inspect_replies = {{ format = \"json\", rules = [{{ name = \"no\", when = \"message.no\", {inspect}\n\
                 [routes.app.limits]"
            ),
        )
    };
    let case = Case::start(&rules(compressing(&application, "message_bytes_max = \"64KiB\""))).await;
    let (mut client, mut seen) = join(&application, &case, "", ANSWER).await;
    let good = json!({"no": false, "text": String::from_utf8(text(3000)).unwrap()}).to_string().into_bytes();
    let bad = json!({"no": true, "text": String::from_utf8(text(3000)).unwrap()}).to_string().into_bytes();
    for message in [&bad, &good] {
        client.send(&fragmented(message, 3000, 0x01, frame)).await;
    }
    assert_eq!(read(&mut seen).await, (good.clone(), true));
    for message in [&bad, &good] {
        seen.send(&fragmented(&deflated(message), 3000, 0x41, unmasked)).await;
    }
    assert_eq!(payload(&client.read_message().await), good);
}

#[tokio::test]
async fn an_application_behind_a_first_message_is_offered_compression_too() {
    let application = Application::start().await;
    let toml = tokens_toml(application.address, "\"first_message\"", "");
    let case = Case::start(&toml.replace("\"] }", "\"], compression = \"on\" }")).await;
    let mut client = case.connect().await;
    client.send(request("/token", "").as_bytes()).await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 101 "));
    client.send_frame(0x81, token("alice", &json!({})).as_bytes()).await;
    client.send_frame(0x81, &[b'a'; 500]).await;
    let mut seen = application.accept().await;
    let head = seen.upgrade(ANSWER).await;
    seen.takes_compression();
    assert!(head.contains(OFFER), "{head}");
    assert_eq!(read(&mut seen).await, (vec![b'a'; 500], true));
    seen.send_frame(0xC1, &deflated(b"welcome")).await;
    // Behind the notice that the token was good.
    client.read_frame().await;
    assert_eq!(client.read_frame().await, Frame::whole(0x81, b"welcome"));
}
