//! Compressed messages made plain, for a verdict that knows nothing of them: by the second inflater, without contexts.

use super::requests::frame;
use crate::inflate;

/// Whether the gateway's response agrees on compression.
pub(crate) fn is_agreed(head: &[u8]) -> bool {
    head.windows(b"permessage-deflate".len()).any(|part| part == b"permessage-deflate")
}

/// The client's frames, with each compressed message in one plain frame; at the first that is wrong they break off, within
/// the message where it is one.
pub(crate) fn plain_of_client(frames: &[u8]) -> Vec<u8> {
    plain(frames, true, frame).0
}

/// The gateway's, all of which must be right; one that is cut off is left out.
pub(crate) fn plain_of_gateway(frames: &[u8]) -> Vec<u8> {
    let unmasked = |first: u8, payload: &[u8]| {
        let length = (payload.len() as u64).to_be_bytes();
        let header: &[u8] = match payload.len() {
            0..=125 => &[first, length[7]],
            126..=65_535 => &[first, 126, length[6], length[7]],
            _ => &[&[first, 127], &length[..]].concat(),
        };
        // What is not whole is not judged.
        if first & 0x80 == 0 { Vec::new() } else { [header, payload].concat() }
    };
    let (plain, is_sound) = plain(frames, false, unmasked);
    assert!(is_sound, "the gateway compresses wrongly: {:02x?}", &frames[..frames.len().min(300)]);
    plain
}

/// The plain frames, and whether all that is compressed was right. A frame whose header breaks a rule stays as it is, for the verdict
/// to find, and is the last.
fn plain(frames: &[u8], is_masked: bool, build: impl Fn(u8, &[u8]) -> Vec<u8>) -> (Vec<u8>, bool) {
    let (mut plain, mut left) = (Vec::new(), frames);
    // First byte and compressed payload of the message that has begun.
    let mut message: Option<(u8, Vec<u8>)> = None;
    while let Some(Frame { first, payload, bytes, is_whole, header }) = Frame::read(left) {
        let (raw, rest) = left.split_at(bytes);
        let is_control = first & 0x08 != 0;
        let begins = is_beginning(first) && message.is_none();
        let goes_on = first & 0x7F == 0 && message.is_some();
        if !begins && !goes_on {
            if message.is_some() && !is_control || first & 0x70 != 0 {
                break;
            }
            plain.extend_from_slice(raw);
            left = rest;
            continue;
        }
        if header != Some(is_masked) {
            if let Some((opcode, compressed)) = message {
                let (Ok(inflated) | Err(inflated)) = inflate::message(&compressed, &[]);
                plain.extend(build(opcode, &inflated.bytes));
            }
            plain.push(first & !0x40);
            plain.extend_from_slice(&left[1..]);
            return (plain, true);
        }
        left = rest;
        let (opcode, mut compressed) = message.take().unwrap_or((first & 0x0F, Vec::new()));
        compressed.extend(payload);
        if !is_whole || first & 0x80 == 0 {
            message = Some((opcode, compressed));
            continue;
        }
        match inflate::message(&compressed, &[]) {
            Ok(inflated) => plain.extend(build(0x80 | opcode, &inflated.bytes)),
            Err(inflated) => {
                plain.extend(build(opcode, &inflated.bytes));
                return (plain, false);
            }
        }
    }
    if let Some((opcode, compressed)) = message {
        let (Ok(inflated) | Err(inflated)) = inflate::message(&compressed, &[]);
        plain.extend(build(opcode, &inflated.bytes));
    } else if Frame::read(left).is_some() || !left.first().is_some_and(|first| is_beginning(*first)) {
        plain.extend_from_slice(left);
    }
    (plain, true)
}

/// Whether a frame with this first byte begins a compressed message, where none has begun.
const fn is_beginning(first: u8) -> bool {
    first & 0x70 == 0x40 && matches!(first & 0x0F, 1 | 2)
}

/// A frame, or what has come of one: its header, at the least.
struct Frame {
    first: u8,
    payload: Vec<u8>,
    bytes: usize,
    is_whole: bool,
    /// Whether it is masked; `None` if its length is not in its shortest form.
    header: Option<bool>,
}

impl Frame {
    fn read(left: &[u8]) -> Option<Self> {
        let (&[first, second], rest) = left.split_first_chunk()?;
        let (length, rest) = match second & 0x7F {
            126 => rest
                .split_first_chunk()
                .map(|(length, rest)| (u64::from(u16::from_be_bytes(*length)), rest))?,
            127 => rest.split_first_chunk().map(|(length, rest)| (u64::from_be_bytes(*length), rest))?,
            short => (u64::from(short), rest),
        };
        let shortest = match length {
            0..=125 => 2,
            126..=65_535 => 4,
            65_536.. => 10,
        };
        let is_minimal = left.len() - rest.len() == shortest;
        let (mask, rest) = match second & 0x80 {
            0 => ([0; 4], rest),
            _ => rest.split_first_chunk().map(|(mask, rest)| (*mask, rest))?,
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let came = length.min(rest.len());
        let payload = rest[..came].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        let header = is_minimal.then_some(second & 0x80 != 0);
        Some(Self { first, payload, bytes: left.len() - rest.len() + came, is_whole: came == length, header })
    }
}
