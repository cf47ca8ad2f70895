//! Target `deflate`: compressed messages of any bytes, however they are framed, read and taken out.
//!
//! The input's first two bytes choose takeover, window, kind, limit and cuts; then come messages, each behind its length
//! in two bytes. Promises: no panic; the same events however things are cut; what comes out is what the second inflater
//! says, or text and size were against it; never more than the limit; what came out, deflated, inflates to itself.

use drawgate_protocol::deflate::{Contexts, Deflation, Flow, Inflation, WindowBits};
use drawgate_protocol::{Event, Limits, MessageKind, Receiver, Role, Sender, Violation};

use crate::Seed;
use crate::bounds::aside;
use crate::inflate::message;

/// Checks one input.
pub fn run(data: &[u8]) {
    let Some((&[settings, cuts], rest)) = data.split_first_chunk() else { return };
    let bits = WindowBits::new(9 + settings % 7).expect("it is 9 to 15");
    let flow = Flow { takeover: settings & 0x80 != 0, window_bits: bits };
    let kind = if settings & 0x40 == 0 { MessageKind::Binary } else { MessageKind::Text };
    let limits = if settings & 0x20 == 0 { LARGE } else { SMALL };
    let payloads = split(rest);

    let whole =
        taken(&payloads, flow, kind, limits, &Cuts { frame: usize::MAX, read: usize::MAX, output: 65_536 });
    let cuts = Cuts {
        frame: 1 + usize::from(cuts & 0x0F) * 7,
        read: 1 + usize::from(cuts >> 4) * 31,
        output: 1 + usize::from(cuts) * 5,
    };
    assert_eq!(taken(&payloads, flow, kind, limits, &cuts), whole, "{cuts:?}");
    for (bytes, _) in &whole.messages {
        assert!(bytes.len() as u64 <= limits.message_bytes_max);
    }
    aside(|| judge(&payloads, flow, kind, limits, &whole));
    deflates_back(flow, &whole);
}

/// What was taken in.
#[derive(Debug, Default, PartialEq, Eq)]
struct Taken {
    /// Each message, and whether it was complete.
    messages: Vec<(Vec<u8>, bool)>,
    violation: Option<Violation>,
}

/// How many bytes a frame, a read and the caller's buffer have.
#[derive(Debug)]
struct Cuts {
    frame: usize,
    read: usize,
    output: usize,
}

/// Messages, each behind its length in two bytes; the last may be cut.
fn split(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut payloads = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let (payload, after) = after.split_at(length);
        payloads.push(payload);
        rest = after;
    }
    payloads
}

/// Frames the payloads as a client does, and takes them in as a server.
fn taken(payloads: &[&[u8]], flow: Flow, kind: MessageKind, limits: Limits, cuts: &Cuts) -> Taken {
    let (mut sender, mut wire) = (Sender::new(Role::Client), Vec::new());
    for payload in payloads {
        let mut rest = *payload;
        loop {
            let (frame, after) = rest.split_at(rest.len().min(cuts.frame));
            let sent = sender.compressed_data(&mut wire, kind, after.is_empty(), &[frame], Some(*b"key!"));
            sent.expect("the calls are in order");
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
    }
    let mut receiver = Receiver::new(Role::Server, limits);
    receiver.allow_compression();
    let (mut inflation, mut contexts) = (Inflation::new(flow), Contexts::default());
    let (mut taken, mut output, mut left) = (Taken::default(), vec![0; cuts.output], Vec::new());
    for read in wire.chunks(cuts.read.min(wire.len()).max(1)) {
        left.extend_from_slice(read);
        let mut input = &mut left[..];
        while let Some(event) = receiver.receive(&mut input).expect("the frames are in order") {
            let Event::Data(mut piece) = event else { panic!("only data was sent") };
            loop {
                match inflation.inflate(&mut piece, &mut output, &limits, &mut contexts) {
                    Ok(None) => break,
                    Ok(Some(chunk)) => {
                        if chunk.message_start {
                            taken.messages.push((Vec::new(), false));
                        }
                        let (bytes, is_whole) = taken.messages.last_mut().expect("a message has begun");
                        assert!(!*is_whole, "a message ends once");
                        bytes.extend_from_slice(chunk.payload);
                        *is_whole = chunk.message_end;
                    }
                    Err(violation) => {
                        // A message that was only begun, by empty frames, is none.
                        taken.messages.pop_if(|(bytes, is_whole)| bytes.is_empty() && !*is_whole);
                        taken.violation = Some(violation);
                        return taken;
                    }
                }
            }
        }
        let kept = input.len();
        left.drain(..left.len() - kept);
    }
    taken
}

/// Holds what was taken to what the second inflater says.
fn judge(payloads: &[&[u8]], flow: Flow, kind: MessageKind, limits: Limits, taken: &Taken) {
    let mut history = Vec::new();
    let mut messages = taken.messages.iter();
    for payload in payloads {
        let result = message(payload, &history);
        let is_valid = result.is_ok();
        let inflated = match result {
            Ok(inflated) | Err(inflated) => inflated,
        };
        let bytes = &inflated.bytes;
        let is_too_big = bytes.len() as u64 > limits.message_bytes_max;
        let front =
            &bytes[..bytes.len().min(usize::try_from(limits.message_bytes_max).unwrap_or(usize::MAX))];
        let text_error = if kind == MessageKind::Text { std::str::from_utf8(front).err() } else { None };
        let text_is_wrong =
            text_error.is_some_and(|error| error.error_len().is_some() || (is_valid && !is_too_big));
        let violation = if text_is_wrong {
            Violation::TextNotUtf8
        } else if is_too_big {
            Violation::MessageTooBig
        } else if !is_valid {
            Violation::DeflateInvalid
        } else {
            assert_eq!(messages.next(), Some(&(bytes.clone(), true)));
            if inflated.forgets_until.is_some() {
                history.clear();
            }
            if flow.takeover {
                history.extend_from_slice(&bytes[inflated.forgets_until.unwrap_or(0)..]);
                let excess = history.len().saturating_sub(flow.window_bits.window_bytes());
                history.drain(..excess);
            }
            continue;
        };
        assert_eq!(taken.violation, Some(violation));
        let begun = messages.next().map_or(&[][..], |(begun, is_whole)| {
            assert!(!is_whole);
            begun
        });
        assert!(bytes.starts_with(begun));
        return;
    }
    assert_eq!((messages.next(), taken.violation), (None, None));
}

/// Deflates what came out, and inflates it again by the second inflater.
fn deflates_back(flow: Flow, taken: &Taken) {
    let (mut deflation, mut contexts, mut history) = (Deflation::new(flow), Contexts::default(), Vec::new());
    for (bytes, _) in &taken.messages {
        let mut payload = Vec::new();
        let (front, back) = bytes.split_at(bytes.len() / 3);
        deflation.deflate(&[front], false, &mut payload, &mut contexts);
        deflation.deflate(&[back], true, &mut payload, &mut contexts);
        let again = message(&payload, &history).expect("what we deflate is valid");
        assert_eq!(&again.bytes, bytes);
        assert!(again.distance_max <= flow.window_bits.window_bytes());
        if flow.takeover {
            history.extend_from_slice(bytes);
        }
    }
}

/// Messages that RFC 7692 shows, and what is wrong in ways that have been seen.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (settings, name) in [(0x46, "text"), (0x83, "takeover"), (0x26, "small")] {
        for (what, payloads) in MESSAGES {
            let mut bytes = vec![settings, 0x11];
            for payload in *payloads {
                bytes.extend(u16::try_from(payload.len()).expect("they are short").to_be_bytes());
                bytes.extend_from_slice(payload);
            }
            seeds.push(Seed { name: format!("{name}-{what}"), bytes });
        }
        let mut bomb = Vec::new();
        let flow = Flow { takeover: false, window_bits: WindowBits::MAX };
        Deflation::new(flow).deflate(&[&[b'z'; 40_000]], true, &mut bomb, &mut Contexts::default());
        let length = u16::try_from(bomb.len()).expect("it is short").to_be_bytes();
        seeds.push(Seed {
            name: format!("{name}-bomb"),
            bytes: [&[settings, 0xFF], &length[..], &bomb].concat(),
        });
    }
    seeds
}

const LARGE: Limits = Limits { message_bytes_max: 64 * 1024, message_fragments_max: u32::MAX };
const SMALL: Limits = Limits { message_bytes_max: 64, message_fragments_max: u32::MAX };

const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

const MESSAGES: &[(&str, &[&[u8]])] = &[
    ("hello", &[HELLO]),
    ("refers-to-the-first", &[HELLO, b"\xf2\x00\x11\x00\x00"]),
    ("stored", &[b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"]),
    ("last-block", &[b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", HELLO]),
    ("two-blocks", &[b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"]),
    ("empty", &[b"\x00", b"", b"\x02\x00", b"\x03\x00", HELLO]),
    ("last-blocks-many", &[b"\x03\x00\x03\x00\x03\x00\x03\x00\x03\x00"]),
    ("cut", &[b"\xf2\x48\xcd\xc9\xc9"]),
    ("tail-left-in", &[b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff"]),
    ("block-type-3", &[b"\x06\x00"]),
    ("too-far-back", &[b"\x02\xb2\x00\x00"]),
    ("not-utf8", &[b"\x00\x02\x00\xfd\xff\xc3\x28\x00"]),
    (
        "dynamic",
        &[b"\xbc\x8c\xcb\x15\x80\x30\x08\x04\x5b\xa1\x35\x36\xe2\x5f\xd1\x68\xfc\x55\x2f\x21\x15\x78\x71\x4e\xcb\xce\x3e\x20\x12\
            \x0a\x60\x06\x20\x46\x10\xb1\xc4\x46\x71\xb9\x63\x57\x7e\xb9\xb2\x01\x8a\xca\x09\xbf\x7e\xa1\xbd\x15\x5a\x53\x17\
            \x06\x42\xd4\x73\xa6\x5a\x2f\xea\xd3\xb4\x6c\xa4\x87\x44\xd7\x23\x3f\x37\x55\xda\x7c\xd9\xbe\x00"],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_give_messages_and_every_violation() {
        let mut missing = vec![Violation::DeflateInvalid, Violation::MessageTooBig, Violation::TextNotUtf8];
        let mut whole = 0;
        for Seed { bytes, .. } in seeds() {
            let payloads = split(&bytes[2..]);
            let kind = if bytes[0] & 0x40 == 0 { MessageKind::Binary } else { MessageKind::Text };
            let limits = if bytes[0] & 0x20 == 0 { LARGE } else { SMALL };
            let cuts = Cuts { frame: usize::MAX, read: usize::MAX, output: 65_536 };
            let taken = taken(&payloads, Flow::FULL, kind, limits, &cuts);
            whole += taken.messages.iter().filter(|(_, is_whole)| *is_whole).count();
            missing.retain(|violation| taken.violation != Some(*violation));
        }
        assert!(whole > 20 && missing.is_empty(), "{whole}, {missing:?}");
    }
}
