//! Z: compression.

use drawgate::Server;
use drawgate::config::Config;
use drawgate::reason::Reason;
use drawgate_protocol::deflate::{Agreement, Contexts, Deflation, INFLATER_BYTES_MAX, Inflation};
use drawgate_protocol::{Chunk, Limits, MessageKind};

use crate::support::{Case, Frame, Raw, echo, eventually, frame, request};

/// A gateway whose echo takes compression.
async fn compressing(limits: &str, more: &str) -> Case {
    Case::start(&echo(&format!("compression = \"on\"\n{limits}"), more)).await
}

/// A connection on `/` that offers compression in these words, and what it is answered.
async fn offering(case: &Case, offer: &str) -> (Raw, Option<String>) {
    let mut raw = case.connect().await;
    let header = format!("Sec-WebSocket-Extensions: {offer}\r\n");
    raw.send(request("/", &header).as_bytes()).await;
    let response = raw.read_response().await;
    assert_eq!(response.status, 101, "{response:?}");
    let answer = response.head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    (raw, answer.map(str::to_owned))
}

/// A connection on `/` with compression.
async fn open(case: &Case) -> Raw {
    let (raw, answer) = offering(case, "permessage-deflate; client_max_window_bits").await;
    let expected = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=12";
    assert_eq!(answer.as_deref(), Some(expected));
    raw
}

/// The compressed payload of a message.
pub(crate) fn deflated(message: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut deflation = Deflation::new(Agreement::FRUGAL.client);
    deflation.deflate(&[message], true, &mut payload, &mut Contexts::default());
    payload
}

/// Reads one message, all its frames, and inflates it where it is compressed.
pub(crate) async fn read_message(raw: &mut Raw) -> Vec<u8> {
    let (mut payload, mut is_compressed, mut is_first) = (Vec::new(), false, true);
    loop {
        let Frame { first, payload: part } = raw.read_frame().await;
        assert_eq!(first & 0x0F == 0, !is_first, "{first:#x}");
        is_compressed |= first & 0x40 != 0;
        assert!(is_first || first & 0x40 == 0, "RSV1 is for the first frame");
        is_first = false;
        payload.extend(part);
        if first & 0x80 != 0 {
            return if is_compressed { inflated(&mut payload) } else { payload };
        }
    }
}

/// What a compressed message says.
pub(crate) fn inflated(payload: &mut [u8]) -> Vec<u8> {
    let mut piece = Chunk {
        kind: MessageKind::Binary,
        payload,
        compressed: true,
        frame_start: true,
        frame_end: true,
        message_start: true,
        message_end: true,
    };
    let (mut inflation, mut contexts) = (Inflation::new(Agreement::FRUGAL.server), Contexts::default());
    let (mut output, mut bytes) = (vec![0; 4096], Vec::new());
    while let Some(chunk) =
        inflation.inflate(&mut piece, &mut output, &Limits::UNLIMITED, &mut contexts).unwrap()
    {
        bytes.extend_from_slice(chunk.payload);
    }
    bytes
}

/// The connection is closed for `reason`, by the rules of every refusal.
async fn refused(mut case: Case, mut raw: Raw, reason: Reason, sent: &[u8]) -> serde_json::Value {
    let row = reason.row();
    let (code, text) = raw.read_close().await;
    assert_eq!((Some(code), &*text), (row.close.map(drawgate::CloseCode::get), row.close_reason));
    raw.send_frame(0x88, &code.to_be_bytes()).await;
    raw.expect_end().await;
    drop(raw);
    let record = case.refused(reason, sent).await;
    assert_eq!(record["close_code"], code);
    record
}

#[tokio::test]
async fn z01_a_bomb_is_stopped_at_the_limit() {
    let case = compressing("inflated_bytes_per_second = \"unlimited\"", "").await;
    let mut raw = open(&case).await;
    let bomb = deflated(&vec![0; 64 << 20]);
    assert!(bomb.len() < 128 * 1024, "{} bytes", bomb.len());
    raw.send_frame(0xC2, &bomb).await;
    let record = refused(case, raw, Reason::MessageTooBig, &bomb).await;
    assert_eq!(record["limit"], 1 << 20);
    // Counted as it came out: not a byte beyond the limit.
    assert_eq!(record["bytes_in"], 1 << 20, "{record}");
}

#[tokio::test]
async fn z02_limits_see_inflated_bytes() {
    let case = compressing("message_bytes_max = \"1000B\"", "").await;
    let mut raw = open(&case).await;
    raw.send_frame(0xC1, &deflated(&[b'a'; 1000])).await;
    assert_eq!(read_message(&mut raw).await, [b'a'; 1000]);
    let sent = deflated(&[b'a'; 1001]);
    assert!(sent.len() < 30);
    raw.send_frame(0xC1, &sent).await;
    assert_eq!(refused(case, raw, Reason::MessageTooBig, b"").await["limit"], 1000);
}

#[tokio::test]
async fn z02_a_first_message_is_bounded_when_it_is_inflated() {
    let key = std::env::temp_dir().join(format!("drawgate-compression-{}.secret", std::process::id()));
    std::fs::write(&key, "0123456789abcdef0123456789abcdef").unwrap();
    let token = format!(
        r#"
        [routes.token]
        listeners = ["main"]
        path = "/token"
        origins = "any"
        auth = "users"
        backend = "echo"
        limits = {{ compression = "on", close_timeout = "100ms" }}
        [auth.users]
        credentials = ["first_message"]
        algorithms = ["HS256"]
        keys = {{ secret_file = {key:?} }}
        issuer = "any"
        audience = "any"
        "#
    );
    for (bytes, reason) in [(8193, Reason::FirstMessageTooBig), (8192, Reason::TokenInvalid)] {
        let case = Case::start(&echo("", &token)).await;
        let mut raw = case.connect().await;
        let header = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        raw.send(request("/token", header).as_bytes()).await;
        assert_eq!(raw.read_response().await.status, 101);
        raw.send_frame(0xC1, &deflated(&vec![b'a'; bytes])).await;
        refused(case, raw, reason, b"").await;
    }
    std::fs::remove_file(key).unwrap();
}

#[tokio::test]
async fn z03_high_ratios_under_the_cap_have_a_budget_a_second() {
    let case = compressing("message_bytes_max = \"64KiB\"\ninflated_bytes_per_second = \"1MiB\"", "").await;
    let mut raw = open(&case).await;
    let message = frame(0xC2, &deflated(&[0; 60_000]));
    assert!(message.len() < 200);
    raw.send(&message.repeat(50)).await;
    let record = refused(case, raw, Reason::InflationRateExceeded, b"").await;
    assert_eq!(record["limit"], 1 << 20);
    assert_eq!(record["messages_in"], (1 << 20) / 60_000, "{record}");
}

#[tokio::test]
async fn z04_corrupt_deflate_closes_with_1007() {
    let whole = deflated(b"a message that is cut short, short, short");
    let at_the_cap = [&b"\x00\x32\x00\xcd\xff"[..], &[b'a'; 50], b"\xff\xff"].concat();
    for sent in [&b"\xff\xff\xff\xff"[..], &whole[..whole.len() - 3], &at_the_cap, b"\x02\xb2\x00\x00"] {
        let case = compressing("message_bytes_max = \"50B\"", "").await;
        let mut raw = open(&case).await;
        raw.send_frame(0xC2, sent).await;
        let record = refused(case, raw, Reason::DeflateInvalid, sent).await;
        assert_eq!((&record["close_code"], &record["section"]), (&1007.into(), &"RFC 7692 §7.2.2".into()));
    }
}

#[tokio::test]
async fn z04_corrupt_deflate_behind_the_cap_is_not_reached() {
    let case = compressing("message_bytes_max = \"20B\"", "").await;
    let mut raw = open(&case).await;
    raw.send_frame(0xC2, b"\x00\x18\x00\xe7\xff24 bytes, of which 20 go\xff\xff").await;
    refused(case, raw, Reason::MessageTooBig, b"").await;
}

#[tokio::test]
async fn z05_rsv1_belongs_on_the_first_frame_of_a_message_alone() {
    let first = frame(0x41, &deflated(b"a")[..1]);
    for sent in [[first, frame(0xC0, b"")].concat(), frame(0xC9, b""), frame(0xCA, b""), frame(0xC8, b"")] {
        let case = compressing("", "").await;
        let mut raw = open(&case).await;
        raw.send(&sent).await;
        refused(case, raw, Reason::FrameReservedBits, b"").await;
    }
}

#[tokio::test]
async fn z06_message_boundaries_come_from_fin_only() {
    let case = compressing("", "").await;
    let mut raw = open(&case).await;
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let flushed_twice = [&hello[..], b"\x00\x00\xff\xff", hello].concat();
    let ended_twice = b"\xf3\x48\xcd\xc9\xc9\x07\x00".repeat(2);
    for payload in [&flushed_twice, &ended_twice] {
        for cut in 0..=payload.len() {
            let (front, back) = payload.split_at(cut);
            raw.send(&[frame(0x41, front), frame(0x89, b"between"), frame(0x80, back)].concat()).await;
            let mut text = Vec::new();
            loop {
                let Frame { first, mut payload } = raw.read_frame().await;
                if first == 0x8A {
                    assert_eq!(payload, b"between");
                    continue;
                }
                // What is echoed of fragments is one message, too.
                text.append(&mut payload);
                if first & 0x80 != 0 {
                    break;
                }
            }
            assert_eq!(inflated(&mut text), b"HelloHello", "cut at {cut}");
        }
    }
}

#[tokio::test]
async fn z07_offers_with_other_windows_are_declined_and_the_next_is_tried() {
    let case = compressing("", "").await;
    for parameter in [
        "server_max_window_bits=7",
        "server_max_window_bits=8",
        "server_max_window_bits=16",
        "server_max_window_bits",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=\"\\9\"; client_max_window_bits",
        "client_max_window_bits; client_max_window_bits",
        "server_no_context_takeover; server_no_context_takeover",
        "something_else",
    ] {
        let offer = format!("permessage-deflate; {parameter}");
        let (mut raw, answer) = offering(&case, &offer).await;
        assert_eq!(answer, None, "{offer}");
        raw.send_frame(0x81, b"plain").await;
        assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"plain"));
        let (_, answer) =
            offering(&case, &format!("{offer}, permessage-deflate; server_max_window_bits=9")).await;
        let expected = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9";
        assert_eq!(answer.as_deref(), Some(expected), "{offer}");
    }
}

#[tokio::test]
async fn z09_offers_are_declined_where_all_contexts_are_taken() {
    let toml = echo("compression = \"on\"", "");
    let config = Config::from_toml(&toml, std::path::Path::new("."), &|_| None).unwrap();
    let builder = Server::from_config(config).compression_bytes_max(2 * INFLATER_BYTES_MAX);
    let case = Case::start_with(builder).await;
    let (mut first, second) = (open(&case).await, open(&case).await);
    let (mut third, answer) = offering(&case, "permessage-deflate").await;
    assert_eq!(answer, None);
    assert_eq!(case.metric("drawgate_compression_declined_total"), 1);
    third.send_frame(0x81, &[b'a'; 500]).await;
    assert_eq!(third.read_frame().await, Frame::whole(0x81, &[b'a'; 500]));
    drop(second);
    eventually(|| case.ends(Reason::ConnectionLost) == 1, || "the second is still there".to_owned()).await;
    let mut fourth = open(&case).await;
    for raw in [&mut first, &mut fourth] {
        raw.send_frame(0xC1, &deflated(&[b'a'; 500])).await;
        assert_eq!(read_message(raw).await, [b'a'; 500]);
    }
}

#[tokio::test]
async fn z10_compression_is_off_by_default_and_on_by_route() {
    let off = Case::start(&echo("", "")).await;
    let (mut raw, answer) = offering(&off, "permessage-deflate").await;
    assert_eq!(answer, None);
    raw.send_frame(0xC1, &deflated(b"a")).await;
    refused(off, raw, Reason::FrameReservedBits, b"").await;
    let on = compressing("", "").await;
    let mut raw = open(&on).await;
    raw.send_frame(0x81, &[b'a'; 500]).await;
    let answer = raw.read_frame().await;
    assert_eq!(answer.first, 0xC1);
    assert!(answer.payload.len() < 30);
    // A client that does not offer it does not get it.
    let mut plain = on.open().await;
    plain.send_frame(0x81, &[b'a'; 500]).await;
    assert_eq!(plain.read_frame().await, Frame::whole(0x81, &[b'a'; 500]));
}

#[tokio::test]
async fn z11_noise_is_echoed_or_refused() {
    let mut case = compressing("message_bytes_max = \"4KiB\"", "").await;
    let mut state = 7_u64;
    let mut refusals = 0;
    for _ in 0..200 {
        let mut payload = Vec::new();
        while payload.len() < 40 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            payload.push(state.to_be_bytes()[0]);
        }
        // The block types that noise seldom keeps to.
        payload[0] = payload[0] & !7 | [2, 4, 3][usize::from(payload[1]) % 3];
        let mut raw = open(&case).await;
        raw.send(&[frame(0xC2, &payload), frame(0x88, b"\x03\xe8")].concat()).await;
        let (code, _) = raw.read_close().await;
        assert!([1000, 1007, 1009].contains(&code), "{code}");
        refusals += u64::from(code != 1000);
    }
    let ends = || case.ends(Reason::DeflateInvalid) + case.ends(Reason::MessageTooBig);
    eventually(|| ends() == refusals, || format!("{} ends, {refusals} refusals", ends())).await;
    assert!(refusals > 100, "{refusals}");
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn z12_an_empty_compressed_message_works() {
    let case = compressing("", "").await;
    let mut raw = open(&case).await;
    for payload in [&b"\x00"[..], b"\x02\x00", b"\x03\x00", b""] {
        raw.send_frame(0xC1, payload).await;
        assert_eq!(raw.read_frame().await, Frame::whole(0x81, b""));
    }
}

#[tokio::test]
async fn f14_a_message_has_its_deadline_though_nothing_comes_of_it_yet() {
    let case = compressing("message_timeout = \"100ms\"", "").await;
    let mut raw = open(&case).await;
    // A first frame that ends inside the header of a block.
    raw.send_frame(0x42, b"\x04").await;
    refused(case, raw, Reason::MessageTimeout, b"").await;
}

#[tokio::test]
async fn large_messages_are_echoed_compressed_however_they_are_cut() {
    let case = compressing("inflated_bytes_per_second = \"unlimited\"", "").await;
    let mut raw = open(&case).await;
    let text: Vec<u8> = (0..60_000_u32).flat_map(|number| format!("{number:x}, ").into_bytes()).collect();
    let payload = deflated(&text);
    for frame_bytes in [payload.len(), 30_000, 1001] {
        let frames: Vec<Vec<u8>> = payload.chunks(frame_bytes).map(<[u8]>::to_vec).collect();
        let mut wire = Vec::new();
        for (index, part) in frames.iter().enumerate() {
            let first = if index == 0 { 0x41 } else { 0 } | if index + 1 == frames.len() { 0x80 } else { 0 };
            wire.extend(frame(first, part));
        }
        raw.send(&wire).await;
        assert!(read_message(&mut raw).await == text, "in frames of {frame_bytes}");
    }
}
