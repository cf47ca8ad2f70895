//! The same bytes through our receiver, tungstenite and tokio-websockets: they agree, or the difference is a known one.
//!
//! A difference counts as known only when it is proven to be of its kind: the stream is changed so that the cause is
//! gone (the frame completed, the length written minimally, the limit lifted), and then all must agree. The kinds are
//! [`Disagreement`]'s, and docs/differential.md is made of them (`UPDATE_DOCS=1` writes it).

mod disagreement;
mod peers;
mod streams;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use disagreement::{Disagreement, Peer};
use drawgate_protocol::{CloseCode, Limits, MessageKind, Violation};
use peers::{End, Got, Ours, Outcome, Place};
use streams::Sample;

#[test]
fn engines_agree_or_the_difference_is_a_known_one() {
    let mut seen = BTreeMap::<(Disagreement, Peer), u64>::new();
    let mut broken = HashMap::<Violation, u64>::new();
    for seed in 0..STREAMS {
        let sample = streams::sample(seed);
        if let Some((violation, _)) = peers::ours(&sample.stream, sample.limits, sample.piece_bytes).broken {
            *broken.entry(violation).or_default() += 1;
        }
        for peer in Peer::ALL {
            let differences = compare(peer, &sample)
                .unwrap_or_else(|unknown| panic!("seed {seed}, {peer:?}: {unknown}\n{:02x?}", sample.stream));
            for difference in differences {
                *seen.entry((difference, peer)).or_default() += 1;
            }
        }
    }
    for disagreement in Disagreement::ALL {
        for peer in Peer::ALL {
            let is_listed = disagreement.peers().contains(&peer);
            assert_eq!(seen.contains_key(&(disagreement, peer)), is_listed, "{disagreement:?}, {peer:?}");
        }
    }
    for violation in Violation::ALL {
        let is_reached = broken.contains_key(&violation);
        // Only a client can meet a masked frame that it must refuse; compression is not agreed on here.
        let is_elsewhere = matches!(violation, Violation::Masked | Violation::DeflateInvalid);
        assert_eq!(is_reached, !is_elsewhere, "{violation:?}");
    }
}

#[test]
fn the_page_of_differences_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/differential.md");
    let page = disagreement::page(STREAMS);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == page, "docs/differential.md is not what this test says: run it with UPDATE_DOCS=1");
}

/// How `peer` differs from us on `sample`; an error where it cannot be explained.
fn compare(peer: Peer, sample: &Sample) -> Result<BTreeSet<Disagreement>, String> {
    let mut differences = BTreeSet::new();
    // The stream as the peer gets it, and as we get it once known differences are taken out of it.
    let (mut theirs_stream, mut ours_stream) = (sample.stream.clone(), sample.stream.clone());
    let mut limits = sample.limits;
    loop {
        let ours = peers::ours(&ours_stream, limits, sample.piece_bytes);
        let theirs = match peer {
            Peer::Tungstenite => peers::tungstenite(&theirs_stream, sample.limits, sample.piece_bytes),
            Peer::TokioWebsockets => {
                peers::tokio_websockets(&theirs_stream, sample.limits, sample.piece_bytes)
            }
        };
        let Some((violation, place)) = &ours.broken else {
            differences.extend(explain_acceptance(&ours.outcome, &theirs)?);
            return Ok(differences);
        };
        if *violation == Violation::FragmentsTooMany {
            differences.insert(Disagreement::FragmentsUncounted);
            limits.message_fragments_max = u32::MAX;
        } else if let (End::Open, Some(rest)) = (theirs.end, rest_of_frame(&ours_stream, place, limits)) {
            differences.insert(Disagreement::LaterVerdict);
            ours_stream.extend_from_slice(&rest);
            theirs_stream.extend_from_slice(&rest);
        } else if let (Peer::Tungstenite, Some(minimal)) = (peer, with_minimal_length(&ours_stream, place)) {
            differences.insert(Disagreement::LengthNotMinimalAccepted);
            ours_stream = minimal;
        } else {
            let codes = codes_of_rules_broken(&ours_stream, place, limits);
            let empty_frame = ours_stream.get(place.frame_start + 1).is_some_and(|second| second & 0x7F == 0);
            differences.extend(explain_refusal(&ours, *violation, &theirs, &codes, empty_frame)?);
            return Ok(differences);
        }
    }
}

/// We take the stream as it is: so must they, but for 1014.
fn explain_acceptance(ours: &Outcome, theirs: &Outcome) -> Result<Option<Disagreement>, String> {
    if ours == theirs {
        return Ok(None);
    }
    let mut expected = ours.clone();
    if let Some(Got::Close(Some((1014, _)))) = expected.events.last() {
        expected.events.pop();
        expected.events.push(close_of_tungstenite());
        if expected == *theirs {
            return Ok(Some(Disagreement::Code1014Refused));
        }
    }
    Err(format!("we take it: {ours:?}; they: {theirs:?}"))
}

/// We refuse the stream, and the frame at fault is there: so must they, but for what is known.
fn explain_refusal(
    ours: &Ours,
    violation: Violation,
    theirs: &Outcome,
    codes: &BTreeSet<u16>,
    empty_frame: bool,
) -> Result<Vec<Disagreement>, String> {
    let (before, our_code) = (&ours.outcome.events, violation.close_code().get());
    let unknown = || Err(format!("we: {violation:?} {:?}; they: {theirs:?}; codes {codes:?}", ours.outcome));
    let Some(after) = theirs.events.strip_prefix(&before[..]) else { return unknown() };
    match (after, theirs.end) {
        ([], End::Refused { code, told }) if code == our_code || codes.contains(&code) => {
            let other = (code != our_code).then_some(Disagreement::OtherRuleNamed);
            let silent = (!told && code == 1009).then_some(Disagreement::LongMessageWithoutClose);
            if told || silent.is_some() { Ok(other.into_iter().chain(silent).collect()) } else { unknown() }
        }
        ([close], End::Closed)
            if violation == Violation::CloseCodeInvalid && *close == close_of_tungstenite() =>
        {
            Ok(vec![Disagreement::CloseCodeAnswered])
        }
        ([Got::Text(text), ..], _)
            if violation == Violation::TextNotUtf8 && empty_frame && core::str::from_utf8(text).is_err() =>
        {
            Ok(vec![Disagreement::CharacterCutByEmptyFrame])
        }
        _ => unknown(),
    }
}

/// What tungstenite makes of a Close whose code it does not allow.
fn close_of_tungstenite() -> Got {
    Got::Close(Some((1002, b"Protocol violation".to_vec())))
}

/// A frame read with no rule in mind.
struct Lenient<'a> {
    first: u8,
    is_masked: bool,
    /// In how many bytes the length is written, after the second byte.
    width: usize,
    length: u64,
    /// What has come of the payload, unmasked.
    payload: Vec<u8>,
    after_length: &'a [u8],
}

impl<'a> Lenient<'a> {
    /// The frame that `bytes` begin with; `None` if its length has not come.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
        let (is_masked, short) = (second & 0x80 != 0, second & 0x7F);
        let width = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let (wide, after_length) = rest.split_at_checked(width)?;
        let wide = wide.iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
        let length = if width == 0 { u64::from(short) } else { wide };
        // Without a whole key there is no payload yet.
        let (key, payload) = match after_length.split_first_chunk::<4>() {
            _ if !is_masked => ([0; 4], after_length),
            Some((key, payload)) => (*key, payload),
            None => ([0; 4], &[][..]),
        };
        let have = usize::try_from(length).unwrap_or(usize::MAX).min(payload.len());
        let payload = payload[..have].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        Some(Self { first, is_masked, width, length, payload, after_length })
    }
}

/// What must follow `stream` so that the frame at `place` is whole, or its header, if it declares more than the limit.
fn rest_of_frame(stream: &[u8], place: &Place, limits: Limits) -> Option<Vec<u8>> {
    let frame = &stream[place.frame_start..];
    let mut whole = frame.to_vec();
    while Lenient::read(&whole).is_none() {
        // An empty, masked frame, as far as that is still open.
        whole.push(if whole.len() == 1 { 0x80 } else { 0 });
    }
    let Lenient { is_masked, width, length, .. } = Lenient::read(&whole)?;
    let header_bytes = 2 + width + if is_masked { 4 } else { 0 };
    let payload_bytes = if length <= limits.message_bytes_max { usize::try_from(length).ok()? } else { 0 };
    whole.resize(whole.len().max(header_bytes + payload_bytes), 0);
    let rest = whole.split_off(frame.len());
    (!rest.is_empty()).then_some(rest)
}

/// The stream with the length of the frame at `place` in as few bytes as it needs, if it is not already.
fn with_minimal_length(stream: &[u8], place: &Place) -> Option<Vec<u8>> {
    let (before, frame) = stream.split_at(place.frame_start);
    let frame = Lenient::read(frame)?;
    let mask_bit = u8::from(frame.is_masked) << 7;
    let length_bytes = frame.length.to_be_bytes();
    let (marker, written) = match (frame.width, frame.length) {
        (2 | 8, 0..=125) => (length_bytes[7], &[][..]),
        (8, 126..=0xFFFF) => (126, &length_bytes[6..]),
        (_, _) => return None,
    };
    Some([before, &[frame.first, mask_bit | marker], written, frame.after_length].concat())
}

/// The close codes of all rules that the frame at `place` breaks, whichever is noticed first.
fn codes_of_rules_broken(stream: &[u8], place: &Place, limits: Limits) -> BTreeSet<u16> {
    // Refused before the length had come: then they saw no more than we did.
    let Some(frame) = Lenient::read(&stream[place.frame_start..]) else { return BTreeSet::new() };
    let (fin, opcode) = (frame.first & 0x80 != 0, frame.first & 0x0F);
    let is_control = opcode >= 8;
    let close_code =
        (opcode == 8).then(|| frame.payload.split_first_chunk().map(|(code, _)| *code)).flatten();
    let breaks_protocol = frame.first & 0x70 != 0
        || matches!(opcode, 3..=7 | 11..=15)
        || (is_control && (!fin || frame.length > 125))
        || (opcode == 0 && place.message.is_none())
        || (matches!(opcode, 1 | 2) && place.message.is_some())
        || !frame.is_masked
        || (frame.width == 2 && frame.length < 126)
        || (frame.width == 8 && (frame.length < 65_536 || frame.length >> 63 != 0))
        || (opcode == 8 && frame.length == 1)
        || close_code.is_some_and(|code| CloseCode::new(u16::from_be_bytes(code)).is_none());

    let (kind, before) = match &place.message {
        Some((kind, before)) if opcode == 0 => (Some(*kind), &before[..]),
        Some(_) | None => ((opcode == 1).then_some(MessageKind::Text), &[][..]),
    };
    let is_too_big = frame.length.saturating_add(if is_control { 0 } else { before.len() as u64 })
        > limits.message_bytes_max;
    let text = match (kind, opcode) {
        (_, 8) => frame.payload.get(2..).unwrap_or_default().to_vec(),
        (Some(MessageKind::Text), 0 | 1) => [before, &frame.payload].concat(),
        (_, _) => Vec::new(),
    };
    let ends_here = (fin || opcode == 8) && frame.payload.len() as u64 == frame.length;
    let is_not_utf8 =
        core::str::from_utf8(&text).is_err_and(|error| error.error_len().is_some() || ends_here);
    [(breaks_protocol, 1002), (is_not_utf8, 1007), (is_too_big, 1009)]
        .into_iter()
        .filter_map(|(is_broken, code)| is_broken.then_some(code))
        .collect()
}

/// How many streams are compared.
const STREAMS: u64 = 30_000;
