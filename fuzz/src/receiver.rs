//! Target `receiver`: any bytes into the receiver, cut in any way.
//!
//! The input's first byte chooses role and limits, the second where the rest, the stream, is cut. Promises: no panic;
//! the events of the reference decoder, however the stream is cut; a violation at its first byte; bounded remainders and
//! messages; and what was taken can be sent again and is then the same.

use drawgate_protocol::{
    Assembler, CloseCode, CloseFrame, Event, Limits, Message, MessageKind, Receiver, Role, Sender,
};

use crate::Seed;
use crate::reference::engine::{agrees, received, received_whole};
use crate::reference::{self, Decoded, Seen};

/// Checks one input.
pub fn run(data: &[u8]) {
    let [settings, cutting, stream @ ..] = data else { return };
    let stream = &stream[..stream.len().min(STREAM_BYTES_MAX)];
    let role = if settings & 1 == 0 { Role::Server } else { Role::Client };
    let limits = LIMITS[usize::from(settings >> 1) % LIMITS.len()];
    let expected = reference::decode(stream, role, limits);

    let at_once = received(stream, &[], role, limits);
    assert!(agrees(&at_once, &expected), "at once: {at_once:?}; expected: {expected:?}");
    let whole = received_whole(stream, &[], role, limits);
    assert_eq!(whole, at_once, "messages that are taken whole are the same");
    let cuts = cuts(*cutting, stream.len());
    let cut = received(stream, &cuts, role, limits);
    assert!(agrees(&cut, &expected), "cut at {cuts:?}: {cut:?}; expected: {expected:?}");
    let every_byte: Vec<usize> = (0..stream.len()).collect();
    let bytewise = received(stream, &every_byte, role, limits);
    assert!(agrees(&bytewise, &expected), "by bytes: {bytewise:?}; expected: {expected:?}");
    assert_eq!(bytewise.proof.map(|proof| proof.bytes), expected.proof.as_ref().map(|proof| proof.bytes));

    assert_within(limits, &at_once);
    assert_assembles(stream, role, limits, &at_once);
    assert_sends_again(role, &at_once);
}

/// Nothing above the limits is handed out.
fn assert_within(limits: Limits, decoded: &Decoded) {
    let (mut bytes, mut frames) = (0, 0);
    for event in &decoded.events {
        let Seen::Data { payload, message_start, .. } = event else { continue };
        if *message_start {
            (bytes, frames) = (0, 0);
        }
        bytes += payload.len() as u64;
        frames += 1;
        assert!(bytes <= limits.message_bytes_max && frames <= limits.message_fragments_max);
    }
}

/// An assembler with the receiver's limits never refuses, and its messages are the pieces in a row.
fn assert_assembles(stream: &[u8], role: Role, limits: Limits, decoded: &Decoded) {
    let mut pieces = Vec::new();
    let mut expected = Vec::new();
    for event in &decoded.events {
        let Seen::Data { payload, message_end, .. } = event else { continue };
        pieces.extend_from_slice(payload);
        if *message_end {
            expected.push(std::mem::take(&mut pieces));
        }
    }
    let (mut receiver, mut assembler) = (Receiver::new(role, limits), Assembler::new(limits));
    let mut buffer = stream.to_vec();
    let mut input = &mut buffer[..];
    let mut assembled: Vec<Message> = Vec::new();
    while let Ok(Some(event)) = receiver.receive(&mut input) {
        if let Event::Data(chunk) = event {
            assembled.extend(assembler.push(&chunk).expect("the receiver has the same limits"));
        }
    }
    assert!(assembled.iter().map(Message::as_bytes).eq(expected.iter().map(Vec::as_slice)));
}

/// Whole frames that were taken can be sent again by the other end, and are then taken as the same.
fn assert_sends_again(role: Role, decoded: &Decoded) {
    let from = if role == Role::Server { Role::Client } else { Role::Server };
    let key = (from == Role::Client).then_some([0x12, 0x00, 0xff, 0x34]);
    let (mut sender, mut out, mut sent) = (Sender::new(from), Vec::new(), Vec::new());
    for event in &decoded.events {
        let result = match event {
            // The last frame has not come whole.
            Seen::Data { frame_end: false, .. } => break,
            Seen::Data { kind, payload, message_end, .. } => {
                sender.data(&mut out, *kind, *message_end, &[payload], key)
            }
            Seen::Ping(payload) => sender.ping(&mut out, payload, key),
            Seen::Pong(payload) => sender.pong(&mut out, payload, key),
            Seen::Close(close) => {
                let close = close.as_ref().map(|(code, reason)| CloseFrame {
                    code: CloseCode::new(*code).expect("it was received"),
                    reason,
                });
                sender.close(&mut out, close, key)
            }
        };
        assert_eq!(result, Ok(()), "{event:?}");
        sent.push(event.clone());
    }
    let again = received(&out, &[], role, Limits::UNLIMITED);
    assert_eq!((again.proof, again.events), (None, sent));
}

/// Places to cut a stream of `length` bytes at: pieces of a few bytes, as `cutting` has it.
pub(crate) fn cuts(cutting: u8, length: usize) -> Vec<usize> {
    let mut state = u32::from(cutting);
    let mut cuts = Vec::new();
    let mut at = 0;
    loop {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        at += usize::from(state.to_be_bytes()[0] & 0x1F);
        if at > length {
            return cuts;
        }
        cuts.push(at);
    }
}

/// Valid streams for both roles, and each rule broken once.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (role, settings, name) in [(Role::Client, 0, "server"), (Role::Server, 1, "client")] {
        let key = (role == Role::Client).then_some([0x37, 0xfa, 0x21, 0x3d]);
        let mut add = |what: &str, write: &dyn Fn(&mut Sender, &mut Vec<u8>)| {
            let mut bytes = vec![settings, 7];
            write(&mut Sender::new(role), &mut bytes);
            seeds.push(Seed { name: format!("{name}-takes-{what}"), bytes });
        };
        let send = |sender: &mut Sender, out: &mut Vec<u8>, kind, last, payload: &[u8]| {
            sender.data(out, kind, last, &[payload], key).expect("in order");
        };
        add("text", &|sender, out| send(sender, out, MessageKind::Text, true, "Hello κόσμε".as_bytes()));
        add("a-character-in-two-frames-and-a-ping", &|sender, out| {
            send(sender, out, MessageKind::Text, false, b"\xe2\x82");
            sender.ping(out, b"between", key).expect("in order");
            send(sender, out, MessageKind::Text, false, b"");
            send(sender, out, MessageKind::Text, true, b"\xac");
        });
        add("lengths-in-2-bytes", &|sender, out| send(sender, out, MessageKind::Binary, true, &[0xa5; 126]));
        add("the-front-of-a-length-in-8-bytes", &|sender, out| {
            send(sender, out, MessageKind::Binary, true, &[0xa5; 65_536]);
            out.truncate(40);
        });
        add("empty-messages", &|sender, out| {
            send(sender, out, MessageKind::Text, true, b"");
            send(sender, out, MessageKind::Binary, true, b"");
        });
        add("ping-pong-close", &|sender, out| {
            sender.ping(out, &[b'p'; 125], key).expect("in order");
            sender.pong(out, b"", key).expect("in order");
            let close = CloseFrame { code: CloseCode::GOING_AWAY, reason: "tschüss" };
            sender.close(out, Some(close), key).expect("in order");
        });
        add("close-without-a-code", &|sender, out| sender.close(out, None, key).expect("in order"));
    }
    for (name, stream) in BROKEN {
        seeds.push(Seed { name: format!("server-refuses-{name}"), bytes: [&[0, 7], *stream].concat() });
    }
    seeds.push(Seed { name: "client-refuses-masked".into(), bytes: b"\x01\x07\x81\x81\0\0\0\0a".to_vec() });
    // Settings 4 and 6: the small limits.
    let too_many = [&[6, 7], &b"\x02\x80\0\0\0\0\x00\x80\0\0\0\0"[..]].concat();
    seeds.push(Seed { name: "server-refuses-fragments-too-many".into(), bytes: too_many });
    let too_big = [&[4, 7], &b"\x02\xfe\0\xc8\0\0\0\0"[..], &[b'x'; 200], b"\x80\x81\0\0\0\0"].concat();
    seeds.push(Seed { name: "server-refuses-message-too-big".into(), bytes: too_big });
    seeds
}

/// Frames from a client, masked with zeros, that each break one rule.
const BROKEN: &[(&str, &[u8])] = &[
    ("reserved-bits", b"\xc1\x80\0\0\0\0"),
    ("opcode-unknown", b"\x83\x80\0\0\0\0"),
    ("control-fragmented", b"\x09\x80\0\0\0\0"),
    ("control-too-long", b"\x89\xfe\x00\x7e\0\0\0\0"),
    ("not-masked", b"\x81\x01a"),
    ("length-not-minimal-2", b"\x82\xfe\x00\x7d\0\0\0\0"),
    ("length-not-minimal-8", b"\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0"),
    ("length-top-bit-set", b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0"),
    ("length-2-to-62", b"\x82\xff\x40\0\0\0\0\0\0\0\0\0\0\0"),
    ("continuation-unexpected", b"\x80\x80\0\0\0\0"),
    ("message-interleaved", b"\x01\x80\0\0\0\0\x81\x80\0\0\0\0"),
    ("text-overlong", b"\x81\x82\0\0\0\0\xc0\x80"),
    ("text-surrogate", b"\x81\x83\0\0\0\0\xed\xa0\x80"),
    ("text-cut-at-the-end", b"\x81\x84\0\0\0\0ab\xe2\x82"),
    ("text-cut-by-an-empty-frame", b"\x01\x81\0\0\0\0\xc3\x80\x80\0\0\0\0"),
    ("text-unfinishable-then-wrong", b"\x81\x83\0\0\0\0a\xe7b"),
    ("close-body-one-byte", b"\x88\x81\0\0\0\0\x03"),
    ("close-code-1005", b"\x88\x82\0\0\0\0\x03\xed"),
    ("close-reason-not-utf8", b"\x88\x85\0\0\0\0\x03\xe8a\xc3\x28"),
    ("http-after-the-upgrade", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
];

/// As the input's first byte chooses them.
const LIMITS: [Limits; 4] = [
    Limits { message_bytes_max: 1024 * 1024, message_fragments_max: 1024 },
    Limits::UNLIMITED,
    Limits { message_bytes_max: 200, message_fragments_max: 4 },
    Limits { message_bytes_max: 3, message_fragments_max: 1 },
];

/// Streams longer than this are cut off: the frame layer has nothing that only they reach, and slow inputs find less.
const STREAM_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use drawgate_protocol::Violation;

    use super::*;

    #[test]
    fn seeds_break_every_rule_and_the_others_none() {
        let mut missing = Violation::ALL.to_vec();
        for Seed { name, bytes } in seeds() {
            let [settings, _, stream @ ..] = &bytes[..] else { panic!("{name} is too short") };
            let role = if settings & 1 == 0 { Role::Server } else { Role::Client };
            let limits = LIMITS[usize::from(settings >> 1)];
            let proof = reference::decode(stream, role, limits).proof;
            assert_eq!(proof.is_some(), name.contains("refuses"), "{name}: {proof:?}");
            missing.retain(|violation| proof.as_ref().is_none_or(|proof| proof.violations[0] != *violation));
        }
        // Found behind the receiver, where compression was agreed on: target `deflate`.
        assert_eq!(missing, [Violation::DeflateInvalid]);
    }
}
