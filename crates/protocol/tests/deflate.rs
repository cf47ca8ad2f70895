//! permessage-deflate over frames, in both roles: against a second inflater and against another library.

#![allow(clippy::unwrap_used, reason = "tests: what fails here should panic")]

#[path = "reference/inflate.rs"]
mod reference;

use drawgate_protocol::deflate::{Agreement, Contexts, Deflation, Flow, Inflation, WindowBits};
use drawgate_protocol::{Event, Limits, MaskKey, MessageKind, Receiver, Role, Sender, Violation};
use flate2::{Compress, Compression, FlushCompress};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Messages as they came out: their bytes, and whether each is complete.
#[derive(Debug, Default, PartialEq, Eq)]
struct Taken {
    messages: Vec<(Vec<u8>, bool)>,
    violation: Option<Violation>,
}

/// How the wire and the caller cut things.
#[derive(Clone, Debug)]
struct Cuts {
    /// How many bytes are read at a time.
    read_bytes: usize,
    /// How many bytes the caller's buffer has.
    output_bytes: usize,
    /// How many payload bytes a frame has.
    frame_bytes: usize,
}

const WHOLE: Cuts = Cuts { read_bytes: usize::MAX, output_bytes: 64 * 1024, frame_bytes: usize::MAX };

/// Puts compressed payloads into frames of `role`'s peer.
fn framed(payloads: &[Vec<u8>], kind: MessageKind, role: Role, cuts: &Cuts) -> Vec<u8> {
    let (from, key) = match role {
        Role::Server => (Role::Client, Some([0x37, 0xfa, 0x21, 0x3d] as MaskKey)),
        Role::Client => (Role::Server, None),
    };
    let (mut sender, mut wire) = (Sender::new(from), Vec::new());
    for payload in payloads {
        let mut rest = &payload[..];
        loop {
            let (frame, after) = rest.split_at(rest.len().min(cuts.frame_bytes));
            sender.compressed_data(&mut wire, kind, after.is_empty(), &[frame], key).unwrap();
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
    }
    wire
}

/// Takes the wire in, as `role`.
fn taken(wire: &[u8], flow: Flow, role: Role, limits: Limits, cuts: &Cuts) -> Taken {
    let mut receiver = Receiver::new(role, limits);
    receiver.allow_compression();
    let (mut inflation, mut contexts) = (Inflation::new(flow), Contexts::default());
    let mut output = vec![0; cuts.output_bytes];
    let mut taken = Taken::default();
    let mut left = Vec::new();
    for read in wire.chunks(cuts.read_bytes.min(wire.len()).max(1)) {
        let mut buffer = [&left[..], read].concat();
        let mut input = &mut buffer[..];
        loop {
            let mut piece = match receiver.receive(&mut input) {
                Ok(Some(Event::Data(piece))) => piece,
                Ok(Some(event)) => panic!("{event:?}"),
                Ok(None) => break,
                Err(violation) => {
                    taken.violation = Some(violation);
                    return taken;
                }
            };
            assert!(piece.compressed);
            loop {
                match inflation.inflate(&mut piece, &mut output, &limits, &mut contexts) {
                    Ok(None) => break,
                    Ok(Some(chunk)) => {
                        assert!(!chunk.compressed && (chunk.frame_end || !chunk.payload.is_empty()));
                        if chunk.message_start {
                            assert!(chunk.frame_start);
                            taken.messages.push((Vec::new(), false));
                        }
                        let (bytes, is_whole) = taken.messages.last_mut().unwrap();
                        assert!(!*is_whole);
                        bytes.extend_from_slice(chunk.payload);
                        *is_whole = chunk.message_end;
                    }
                    Err(violation) => {
                        // A message that was only begun, by empty frames, is none.
                        taken.messages.pop_if(|(bytes, is_whole)| bytes.is_empty() && !*is_whole);
                        let again = inflation.inflate(&mut piece, &mut output, &limits, &mut contexts);
                        assert_eq!(again, Err(violation), "a violation stays");
                        taken.violation = Some(violation);
                        return taken;
                    }
                }
            }
        }
        left = input.to_vec();
    }
    taken
}

/// What the second inflater makes of the same payloads.
fn expected(payloads: &[Vec<u8>], flow: Flow) -> Taken {
    let (mut expected, mut history) = (Taken::default(), Vec::new());
    for payload in payloads {
        match reference::message(payload, &history) {
            Ok(inflated) => {
                if inflated.forgets_until.is_some() {
                    history.clear();
                }
                history.extend(&inflated.bytes[inflated.forgets_until.unwrap_or(0)..]);
                let excess = history.len().saturating_sub(flow.window_bits.window_bytes());
                history.drain(..excess);
                expected.messages.push((inflated.bytes, true));
            }
            Err(inflated) => {
                if !inflated.bytes.is_empty() {
                    expected.messages.push((inflated.bytes, false));
                }
                expected.violation = Some(Violation::DeflateInvalid);
                return expected;
            }
        }
        if !flow.takeover {
            history.clear();
        }
    }
    expected
}

/// Another library's payload for one message; it knows the largest window only.
fn compressed_elsewhere(bytes: &[u8], compress: &mut Compress) -> Vec<u8> {
    let mut payload = Vec::with_capacity(bytes.len() + 1024);
    compress.compress_vec(bytes, &mut payload, FlushCompress::Sync).unwrap();
    assert!(payload.ends_with(&[0, 0, 0xFF, 0xFF]));
    payload.truncate(payload.len() - 4);
    payload
}

fn deflated(message: &[u8], deflation: &mut Deflation, contexts: &mut Contexts) -> Vec<u8> {
    let mut payload = Vec::new();
    deflation.deflate(&[message], true, &mut payload, contexts);
    payload
}

fn flow(takeover: bool, bits: u8) -> Flow {
    Flow { takeover, window_bits: WindowBits::new(bits).unwrap() }
}

fn flows() -> impl Strategy<Value = Flow> {
    (any::<bool>(), 9..=15_u8).prop_map(|(takeover, bits)| flow(takeover, bits))
}

fn roles() -> impl Strategy<Value = Role> {
    select(vec![Role::Client, Role::Server])
}

fn cuts() -> impl Strategy<Value = Cuts> {
    (
        select(vec![1, 2, 7, 100, 4096, 70_000]),
        select(vec![1, 3, 64, 1000, 65_536]),
        select(vec![1, 5, 200, 1 << 20]),
    )
        .prop_map(|(read_bytes, output_bytes, frame_bytes)| Cuts {
            read_bytes,
            output_bytes,
            frame_bytes,
        })
}

/// Bytes with something to compress, near and far.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..200),
        (vec(any::<u8>(), 1..40), 1..200_usize).prop_map(|(unit, times)| unit.repeat(times)),
        (vec(select(b"abcd {}:,\"".to_vec()), 0..3000), 1..4_usize, vec(any::<u8>(), 0..900))
            .prop_map(|(text, times, noise)| [text.repeat(times), noise, text].concat()),
    ]
}

/// Noise, with blocks between that say that they are the last, or are empty.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let known = select(vec![
        &b"\xf3\x48\xcd\xc9\xc9\x07\x00"[..],
        b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff",
        b"\xf2\x00\x11\x00",
        b"\x03\x00",
        b"\x01\x02\x00\xfd\xffab",
        b"\x00",
        b"",
    ]);
    let piece = prop_oneof![vec(any::<u8>(), 0..40), known.prop_map(<[u8]>::to_vec)];
    vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_deflated_is_inflated_in_any_pieces(
        messages in vec(messages(), 1..4),
        flow in flows(),
        role in roles(),
        cuts in cuts(),
        parts in vec(any::<Index>(), 0..4),
    ) {
        let (mut deflation, mut contexts) = (Deflation::new(flow), Contexts::default());
        let mut payloads = Vec::new();
        for message in &messages {
            let mut places: Vec<usize> = parts.iter().map(|part| part.index(message.len() + 1)).collect();
            places.sort_unstable();
            let (mut payload, mut start) = (Vec::new(), 0);
            for place in places {
                deflation.deflate(&[&message[start..place]], false, &mut payload, &mut contexts);
                start = place;
            }
            deflation.deflate(&[&message[start..], &[]], true, &mut payload, &mut contexts);
            payloads.push(payload);
        }
        let whole: Vec<_> = messages.into_iter().map(|message| (message, true)).collect();
        prop_assert_eq!(&expected(&payloads, flow).messages, &whole, "by the second inflater");
        let wire = framed(&payloads, MessageKind::Binary, role, &cuts);
        let found = taken(&wire, flow, role, Limits::UNLIMITED, &cuts);
        prop_assert_eq!(found, Taken { messages: whole, violation: None });
    }

    #[test]
    fn no_match_goes_back_further_than_the_window(
        messages in vec(messages(), 1..4),
        flow in flows(),
    ) {
        let (mut deflation, mut contexts) = (Deflation::new(flow), Contexts::default());
        let mut history = Vec::new();
        for message in messages {
            let payload = deflated(&message, &mut deflation, &mut contexts);
            let inflated = reference::message(&payload, &history).unwrap();
            prop_assert!(inflated.distance_max <= flow.window_bits.window_bytes());
            prop_assert_eq!(&inflated.bytes, &message);
            if flow.takeover {
                history.extend(message);
            }
        }
    }

    #[test]
    fn damaged_payloads_give_what_the_second_inflater_says(
        messages in vec(messages(), 1..3),
        damage in vec((any::<Index>(), any::<u8>()), 0..4),
        cut in any::<Index>(),
        is_cut in any::<bool>(),
        flow in flows(),
        cuts in cuts(),
    ) {
        let (mut deflation, mut contexts) = (Deflation::new(flow), Contexts::default());
        let mut payloads: Vec<Vec<u8>> =
            messages.iter().map(|message| deflated(message, &mut deflation, &mut contexts)).collect();
        let last = payloads.last_mut().unwrap();
        for (place, value) in damage {
            let place = place.index(last.len());
            last[place] ^= value;
        }
        if is_cut {
            last.truncate(cut.index(last.len()));
        }
        let wire = framed(&payloads, MessageKind::Binary, Role::Server, &cuts);
        let found = taken(&wire, flow, Role::Server, Limits::UNLIMITED, &cuts);
        prop_assert_eq!(found, expected(&payloads, flow));
    }

    #[test]
    fn noise_gives_what_the_second_inflater_says(payloads in vec(noise(), 1..4), cuts in cuts()) {
        let wire = framed(&payloads, MessageKind::Binary, Role::Client, &cuts);
        let found = taken(&wire, Flow::FULL, Role::Client, Limits::UNLIMITED, &cuts);
        prop_assert_eq!(found, expected(&payloads, Flow::FULL));
    }

    #[test]
    fn what_another_library_deflates_is_inflated(
        messages in vec(messages(), 1..4),
        takeover in any::<bool>(),
        level in 0..=9_u32,
        cuts in cuts(),
    ) {
        let mut compress = Compress::new(Compression::new(level), false);
        let mut payloads = Vec::new();
        for message in &messages {
            payloads.push(compressed_elsewhere(message, &mut compress));
            if !takeover {
                compress.reset();
            }
        }
        let wire = framed(&payloads, MessageKind::Binary, Role::Server, &cuts);
        let found = taken(&wire, flow(takeover, 15), Role::Server, Limits::UNLIMITED, &cuts);
        let whole = messages.into_iter().map(|message| (message, true)).collect();
        prop_assert_eq!(found, Taken { messages: whole, violation: None });
    }

    #[test]
    fn z02_the_limit_is_on_inflated_bytes_to_the_byte(message in messages(), short in 0..3_usize, cuts in cuts()) {
        let payloads = [deflated(&message, &mut Deflation::new(Flow::FRUGAL), &mut Contexts::default())];
        let wire = framed(&payloads, MessageKind::Binary, Role::Server, &cuts);
        let allowed = message.len().saturating_sub(short);
        let limits = Limits { message_bytes_max: allowed as u64, ..Limits::UNLIMITED };
        let found = taken(&wire, Flow::FRUGAL, Role::Server, limits, &cuts);
        if allowed == message.len() {
            prop_assert_eq!(found, Taken { messages: vec![(message, true)], violation: None });
        } else {
            prop_assert_eq!(found.violation, Some(Violation::MessageTooBig));
            prop_assert!(found.messages.concat_len() <= allowed);
        }
    }

    #[test]
    fn text_is_checked_as_it_is_without_compression(
        mut text in "\\PC{0,200}".prop_map(String::into_bytes),
        damage in proptest::option::of((any::<Index>(), any::<u8>())),
        cuts in cuts(),
    ) {
        if let Some((place, value)) = damage && !text.is_empty() {
            let place = place.index(text.len());
            text[place] = value;
        }
        let payloads = [deflated(&text, &mut Deflation::new(Flow::FULL), &mut Contexts::default())];
        let wire = framed(&payloads, MessageKind::Text, Role::Server, &cuts);
        let found = taken(&wire, Flow::FULL, Role::Server, Limits::UNLIMITED, &cuts);
        let is_text = std::str::from_utf8(&text).is_ok();
        prop_assert_eq!(found.violation, (!is_text).then_some(Violation::TextNotUtf8));
        if is_text {
            prop_assert_eq!(found.messages, vec![(text, true)]);
        }
    }
}

trait Total {
    fn concat_len(&self) -> usize;
}

impl Total for Vec<(Vec<u8>, bool)> {
    fn concat_len(&self) -> usize {
        self.iter().map(|(bytes, _)| bytes.len()).sum()
    }
}

fn inflated(payloads: &[&[u8]], flow: Flow) -> Taken {
    let payloads: Vec<Vec<u8>> = payloads.iter().map(|payload| payload.to_vec()).collect();
    let whole = taken(
        &framed(&payloads, MessageKind::Text, Role::Server, &WHOLE),
        flow,
        Role::Server,
        Limits::UNLIMITED,
        &WHOLE,
    );
    for frame_bytes in [1, 3] {
        let cuts = Cuts { read_bytes: 1, output_bytes: 1, frame_bytes };
        let wire = framed(&payloads, MessageKind::Text, Role::Server, &cuts);
        assert_eq!(taken(&wire, flow, Role::Server, Limits::UNLIMITED, &cuts), whole);
    }
    whole
}

fn texts(texts: &[&str]) -> Taken {
    let messages = texts.iter().map(|text| (text.as_bytes().to_vec(), true)).collect();
    Taken { messages, violation: None }
}

#[test]
fn rfc_7692_section_7_2_3_examples_are_inflated() {
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    assert_eq!(inflated(&[hello], Flow::FULL), texts(&["Hello"]));
    // §7.2.3.2: the second refers to the first.
    let again = b"\xf2\x00\x11\x00\x00";
    assert_eq!(inflated(&[hello, again], Flow::FULL), texts(&["Hello", "Hello"]));
    let without_takeover = inflated(&[hello, again], Flow::FRUGAL);
    assert_eq!(without_takeover.violation, Some(Violation::DeflateInvalid));
    // §7.2.3.3: without compression.
    assert_eq!(inflated(&[b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"], Flow::FULL), texts(&["Hello"]));
    // §7.2.3.4: a block that says that it is the last.
    assert_eq!(inflated(&[b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"], Flow::FULL), texts(&["Hello"]));
    // §7.2.3.5: two blocks.
    assert_eq!(
        inflated(&[b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"], Flow::FULL),
        texts(&["Hello"])
    );
}

#[test]
fn blocks_that_say_that_they_are_the_last_may_stand_anywhere() {
    let last = b"\xf3\x48\xcd\xc9\xc9\x07\x00";
    assert_eq!(inflated(&[last], Flow::FULL), texts(&["Hello"]));
    assert_eq!(inflated(&[&last.repeat(3)], Flow::FULL), texts(&["HelloHelloHello"]));
    // What comes behind it may not refer to what came before.
    let again = b"\xf2\x00\x11\x00\x00";
    for flow in [Flow::FULL, Flow::FRUGAL] {
        assert_eq!(inflated(&[last, again], flow).violation, Some(Violation::DeflateInvalid));
        let in_one = [&last[..], again].concat();
        assert_eq!(inflated(&[&in_one], flow).violation, Some(Violation::DeflateInvalid));
    }
}

#[test]
fn z12_an_empty_compressed_message_works() {
    // §7.2.3.6; and no byte at all, which some clients send.
    for payload in [&b"\x00"[..], b"\x02\x00", b"\x03\x00", b""] {
        assert_eq!(inflated(&[payload, b"\xf2\x48\xcd\xc9\xc9\x07\x00"], Flow::FULL), texts(&["", "Hello"]));
    }
    let mut payload = Vec::new();
    let mut contexts = Contexts::default();
    for flow in [Flow::FULL, Flow::FRUGAL] {
        let mut deflation = Deflation::new(flow);
        for _ in 0..3 {
            payload.clear();
            deflation.deflate(&[], true, &mut payload, &mut contexts);
            assert_eq!(payload, b"\x00");
        }
    }
}

#[test]
fn z04_data_that_ends_inside_a_block_is_refused() {
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    for bytes in 1..hello.len() {
        assert_eq!(
            inflated(&[&hello[..bytes]], Flow::FULL).violation,
            Some(Violation::DeflateInvalid),
            "{bytes}"
        );
    }
    // The end of the flush is to be left out.
    let with_tail = [&hello[..], b"\x00\x00\xff\xff"].concat();
    assert_eq!(inflated(&[&with_tail], Flow::FULL).violation, Some(Violation::DeflateInvalid));
}

#[test]
fn z06_the_end_of_a_block_ends_no_message() {
    // Two flushed blocks in one message, and the next message behind it in the same read.
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let two_blocks = [&hello[..], b"\x00\x00\xff\xff", hello].concat();
    assert_eq!(inflated(&[&two_blocks, hello], Flow::FULL), texts(&["HelloHello", "Hello"]));
}

#[test]
fn f27_a_context_keeps_nothing_of_the_connection_it_came_from() {
    let mut contexts = Contexts::default();
    let secret = deflated(b"secret secret secret", &mut Deflation::new(Flow::FRUGAL), &mut contexts);
    // One match: three bytes, ten bytes back. The one who sent the secret may refer to it.
    let thief = b"\x02\xb2\x00\x00";
    assert_eq!(inflated(&[&secret, thief], Flow::FULL), texts(&["secret secret secret", "ret"]));
    let mut output = [0; 100];
    for (payload, expected) in [(secret, None), (thief.to_vec(), Some(Violation::DeflateInvalid))] {
        let mut wire = framed(&[payload], MessageKind::Binary, Role::Server, &WHOLE);
        let mut receiver = Receiver::new(Role::Server, Limits::UNLIMITED);
        receiver.allow_compression();
        let Ok(Some(Event::Data(mut piece))) = receiver.receive(&mut &mut wire[..]) else { panic!() };
        let mut inflation = Inflation::new(Flow::FRUGAL);
        let result = inflation.inflate(&mut piece, &mut output, &Limits::UNLIMITED, &mut contexts);
        assert_eq!(result.map(|_| ()).err(), expected);
    }
}

#[test]
fn a_message_may_be_given_up_only_where_later_ones_do_not_refer_to_it() {
    let text = "a message that is worth remembering, and that the next one repeats";
    for takeover in [false, true] {
        let flow = flow(takeover, 15);
        let (mut deflation, mut contexts) = (Deflation::new(flow), Contexts::default());
        // The first is compressed, and never sent.
        deflated(text.as_bytes(), &mut deflation, &mut contexts);
        let second = deflated(text.as_bytes(), &mut deflation, &mut contexts);
        let is_understood = inflated(&[&second], flow) == texts(&[text]);
        assert_eq!(deflation.may_be_given_up(), is_understood, "with takeover: {takeover}");
        assert_eq!(is_understood, !takeover);
    }
}

#[test]
fn data_that_inflates_to_nothing_has_its_limit() {
    let limits = Limits { message_bytes_max: 1000, message_fragments_max: u32::MAX };
    let payload = b"\x00\x00\x00\xff\xff".repeat(3000);
    let wire = framed(&[payload], MessageKind::Binary, Role::Server, &WHOLE);
    assert_eq!(
        taken(&wire, Flow::FULL, Role::Server, limits, &WHOLE).violation,
        Some(Violation::MessageTooBig)
    );
}

#[test]
fn a_message_that_cannot_be_compressed_passes_at_the_limit() {
    let mut noise = Vec::new();
    let mut state = 1_u64;
    while noise.len() < 100_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise.extend(&state.to_be_bytes()[..4]);
    }
    let limits = Limits { message_bytes_max: noise.len() as u64, message_fragments_max: 1024 };
    let (mut deflation, mut contexts) = (Deflation::new(Flow::FULL), Contexts::default());
    let (mut sender, mut wire, mut payload) = (Sender::new(Role::Server), Vec::new(), Vec::new());
    let pieces = noise.chunks(100);
    let count = pieces.len();
    for (index, piece) in pieces.enumerate() {
        payload.clear();
        deflation.deflate(&[piece], index + 1 == count, &mut payload, &mut contexts);
        sender
            .compressed_data(&mut wire, MessageKind::Binary, index + 1 == count, &[&payload], None)
            .unwrap();
    }
    let found = taken(&wire, Flow::FULL, Role::Client, limits, &WHOLE);
    assert_eq!(found, Taken { messages: vec![(noise, true)], violation: None });
}

#[test]
fn both_roles_speak_by_what_they_agreed_on() {
    let wish = Agreement { server: flow(true, 10), client: flow(false, 11) };
    let offer = wish.offer();
    assert!(offer.contains("server_max_window_bits=10"));
    for (flow, role) in [(wish.server, Role::Client), (wish.client, Role::Server)] {
        let (mut deflation, mut contexts) = (Deflation::new(flow), Contexts::default());
        let payloads = [b"one two three one two three".to_vec(), b"one two three".to_vec()]
            .map(|message| deflated(&message, &mut deflation, &mut contexts));
        let found =
            taken(&framed(&payloads, MessageKind::Text, role, &WHOLE), flow, role, Limits::default(), &WHOLE);
        assert_eq!(found, texts(&["one two three one two three", "one two three"]));
        assert_eq!(payloads[1].len() < 8, flow.takeover, "only takeover can refer to the first message");
    }
}
