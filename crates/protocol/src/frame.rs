//! The frame header (RFC 6455 §5.2): opcodes, reserved bits, minimal lengths.
//!
//! `decode` is a pure function of the bytes so far and of what the receiver knows, and fails at the first byte that
//! proves a rule broken. It looks at headers only: payloads are [`crate::receive`]'s.

use crate::limits::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX};
use crate::mask::MaskKey;
use crate::violation::Violation;

/// Which end of the connection we are. Clients mask, servers do not (§5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that sent the request.
    Client,
    /// The end that answered it.
    Server,
}

/// What a frame is for (§5.2, §11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpCode {
    /// Goes on with the message that is open.
    Continuation,
    /// Begins a text message.
    Text,
    /// Begins a binary message.
    Binary,
    /// Begins or answers the closing handshake.
    Close,
    /// Asks for a Pong with the same payload.
    Ping,
    /// Answers a Ping, or comes unasked.
    Pong,
}

impl OpCode {
    /// The opcode with the value of the low four bits of a frame's first byte, if there is one.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    /// The value on the wire.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    /// Whether this is a control frame (§5.5).
    #[must_use]
    pub const fn is_control(self) -> bool {
        match self {
            Self::Close | Self::Ping | Self::Pong => true,
            Self::Continuation | Self::Text | Self::Binary => false,
        }
    }
}

/// A frame header whose rules all hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The last frame of its message.
    pub fin: bool,
    /// RSV1, which permessage-deflate sets on the first frame of a compressed message (RFC 7692 §7.2.3).
    pub compressed: bool,
    /// What the frame is for.
    pub opcode: OpCode,
    /// The masking key, on frames from clients.
    pub mask: Option<MaskKey>,
    /// How many payload bytes follow.
    pub payload_bytes: u64,
}

impl Header {
    /// Writes the header in its shortest form behind what is in `out`, as [`Self::encode`] does.
    #[inline]
    pub(crate) fn append(&self, out: &mut Vec<u8>) {
        let (header, used) = self.encode();
        out.extend_from_slice(&header[..used]);
    }

    /// The header's first byte.
    const fn first(&self) -> u8 {
        (self.fin as u8) << 7 | (self.compressed as u8) << 6 | self.opcode.bits()
    }

    /// Writes the header in its shortest form; returns the buffer and how much of it is used.
    #[must_use]
    #[inline]
    pub fn encode(&self) -> ([u8; HEADER_BYTES_MAX], usize) {
        let mut bytes = [0; HEADER_BYTES_MAX];
        bytes[0] = self.first();
        let mask_bit = u8::from(self.mask.is_some()) << 7;
        let mut used = 2;
        if let Ok(length @ 0..=125) = u8::try_from(self.payload_bytes) {
            bytes[1] = mask_bit | length;
        } else if let Ok(length) = u16::try_from(self.payload_bytes) {
            bytes[1] = mask_bit | LENGTH_IN_2_BYTES;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            used = 4;
        } else {
            bytes[1] = mask_bit | LENGTH_IN_8_BYTES;
            bytes[2..10].copy_from_slice(&self.payload_bytes.to_be_bytes());
            used = 10;
        }
        if let Some(key) = self.mask {
            bytes[used..used + 4].copy_from_slice(&key);
            used += 4;
        }
        (bytes, used)
    }
}

/// How many bytes the frame that `bytes` begins with has in all, header and payload; `None` if its length is not
/// complete. For whoever holds frames of its own making and must find where one ends.
#[must_use]
pub fn frame_bytes(bytes: &[u8]) -> Option<usize> {
    let (&[_, short], rest) = bytes.split_first_chunk::<2>()?;
    let key_bytes = if short & MASK_BIT == 0 { 0 } else { size_of::<MaskKey>() };
    let (header_bytes, payload_bytes) = match short & !MASK_BIT {
        LENGTH_IN_2_BYTES => (4, u64::from(u16::from_be_bytes(*rest.first_chunk::<2>()?))),
        LENGTH_IN_8_BYTES => (10, u64::from_be_bytes(*rest.first_chunk::<8>()?)),
        length => (2, u64::from(length)),
    };
    usize::try_from(payload_bytes).ok()?.checked_add(header_bytes + key_bytes)
}

/// What the receiver knows that decides whether a header is allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expectation {
    /// Our own role: it decides whether frames must be masked.
    pub(crate) role: Role,
    /// permessage-deflate was negotiated, so RSV1 has a meaning.
    pub(crate) compression: bool,
    /// The message that is open is compressed.
    pub(crate) message_compressed: bool,
    /// A fragmented message is open.
    pub(crate) message_open: bool,
    /// How many bytes the message that is open, or the next one, may still take.
    pub(crate) message_bytes_left: u64,
    /// The same if it is compressed.
    pub(crate) compressed_bytes_left: u64,
    /// How many frames it may still take.
    pub(crate) fragments_left: u32,
    /// How many bytes the character at the end of the open text message still lacks.
    pub(crate) character_bytes_lacking: u8,
}

/// Decodes the header that `bytes` begins with. `None`: no rule is broken so far, and more bytes are needed.
///
/// Rules are checked in the order of the bytes that can break them, so that a header gives the same verdict however it
/// is cut.
#[inline]
pub(crate) fn decode(bytes: &[u8], expect: &Expectation) -> Result<Option<(Header, usize)>, Violation> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let (fin, compressed, opcode) = decode_first(first, expect)?;
    let Some((&second, rest)) = rest.split_first() else { return Ok(None) };

    match (expect.role, second & MASK_BIT != 0) {
        // RFC 6455 §5.1: a server must close on an unmasked frame, a client on a masked one.
        (Role::Server, false) => return Err(Violation::NotMasked),
        (Role::Client, true) => return Err(Violation::Masked),
        (Role::Server, true) | (Role::Client, false) => {}
    }
    let short = second & !MASK_BIT;
    if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
        return Err(Violation::ControlTooLong);
    }
    // RFC 6455 §5.5.1: if there is a body, it begins with a code of two bytes.
    if opcode == OpCode::Close && short == 1 {
        return Err(Violation::CloseBodyOneByte);
    }
    let is_compressed = compressed || expect.message_compressed;
    let bytes_left = match opcode {
        OpCode::Close | OpCode::Ping | OpCode::Pong => u64::MAX,
        OpCode::Continuation | OpCode::Text | OpCode::Binary if is_compressed => expect.compressed_bytes_left,
        OpCode::Continuation | OpCode::Text | OpCode::Binary => expect.message_bytes_left,
    };
    let Some((payload_bytes, rest)) = decode_length(short, rest, bytes_left)? else { return Ok(None) };
    // RFC 6455 §8.1: the last frame must be able to finish the character that an earlier one began.
    if fin && !opcode.is_control() && payload_bytes < u64::from(expect.character_bytes_lacking) {
        return Err(Violation::TextNotUtf8);
    }
    let (mask, rest) = if expect.role == Role::Server {
        let Some((key, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        (Some(*key), rest)
    } else {
        (None, rest)
    };
    Ok(Some((Header { fin, compressed, opcode, mask, payload_bytes }, bytes.len() - rest.len())))
}

#[inline]
fn decode_first(first: u8, expect: &Expectation) -> Result<(bool, bool, OpCode), Violation> {
    let (fin, compressed) = (first & FIN_BIT != 0, first & RSV1_BIT != 0);
    if first & (RSV2_BIT | RSV3_BIT) != 0 || (compressed && !expect.compression) {
        return Err(Violation::ReservedBits);
    }
    let opcode = OpCode::from_bits(first & 0x0F).ok_or(Violation::OpcodeUnknown)?;
    match opcode {
        OpCode::Close | OpCode::Ping | OpCode::Pong if !fin => return Err(Violation::ControlFragmented),
        // RFC 7692 §6: RSV1 is set on the first frame of a message and on no other.
        OpCode::Close | OpCode::Ping | OpCode::Pong | OpCode::Continuation if compressed => {
            return Err(Violation::ReservedBits);
        }
        OpCode::Continuation if !expect.message_open => return Err(Violation::ContinuationUnexpected),
        OpCode::Text | OpCode::Binary if expect.message_open => return Err(Violation::MessageInterleaved),
        OpCode::Continuation | OpCode::Text | OpCode::Binary if expect.fragments_left == 0 => {
            return Err(Violation::FragmentsTooMany);
        }
        OpCode::Close | OpCode::Ping | OpCode::Pong => {}
        OpCode::Continuation | OpCode::Text | OpCode::Binary => {}
    }
    Ok((fin, compressed, opcode))
}

/// The payload length and what follows it; `None` if it is incomplete and not provably wrong.
#[inline]
fn decode_length(short: u8, rest: &[u8], bytes_left: u64) -> Result<Option<(u64, &[u8])>, Violation> {
    let width = length_width(short);
    let (length_bytes, rest) = rest.split_at(rest.len().min(width));
    let at_least = length_at_least(short, width, length_bytes);
    if width == 8 && at_least >> 63 != 0 {
        return Err(Violation::LengthTopBitSet);
    }
    // RFC 6455 §5.2: the minimal number of bytes must be used. The high bytes of the length alone can prove it.
    let high_bytes_are_zero = width == 8 && length_bytes.len() >= 6 && at_least >> 16 == 0;
    let fits_short = width == 2 && length_bytes.len() == 2 && at_least < u64::from(LENGTH_IN_2_BYTES);
    if high_bytes_are_zero || fits_short {
        return Err(Violation::LengthNotMinimal);
    }
    if at_least > bytes_left {
        return Err(Violation::MessageTooBig);
    }
    Ok((length_bytes.len() == width).then_some((at_least, rest)))
}

/// The least that the payload can be that the beginning of a header declares.
pub(crate) fn payload_bytes_at_least(header: &[u8]) -> u64 {
    let [_, second, rest @ ..] = header else { return 0 };
    let short = second & !MASK_BIT;
    length_at_least(short, length_width(short), rest)
}

/// How many bytes of length follow the short one.
const fn length_width(short: u8) -> usize {
    match short {
        LENGTH_IN_2_BYTES => 2,
        LENGTH_IN_8_BYTES => 8,
        _ => 0,
    }
}

/// What has arrived of a length, as if the rest of it were zeros.
fn length_at_least(short: u8, width: usize, length_bytes: &[u8]) -> u64 {
    let mut at_least = if width == 0 { u64::from(short) } else { 0 };
    for index in 0..width {
        at_least = at_least << 8 | u64::from(length_bytes.get(index).copied().unwrap_or(0));
    }
    at_least
}

pub(crate) const FIN_BIT: u8 = 0x80;
pub(crate) const RSV1_BIT: u8 = 0x40;
const RSV2_BIT: u8 = 0x20;
const RSV3_BIT: u8 = 0x10;
pub(crate) const MASK_BIT: u8 = 0x80;
const LENGTH_IN_2_BYTES: u8 = 126;
const LENGTH_IN_8_BYTES: u8 = 127;

#[cfg(test)]
mod tests {
    use super::*;

    const FROM_CLIENT: Expectation = Expectation {
        role: Role::Server,
        compression: false,
        message_compressed: false,
        message_open: false,
        message_bytes_left: u64::MAX,
        compressed_bytes_left: u64::MAX,
        fragments_left: u32::MAX,
        character_bytes_lacking: 0,
    };

    /// The violation, and the number of bytes that it took to prove it.
    fn proof(bytes: &[u8], expect: &Expectation) -> (Violation, usize) {
        for length in 0..=bytes.len() {
            if let Err(violation) = decode(&bytes[..length], expect) {
                return (violation, length);
            }
        }
        panic!("no violation in {bytes:x?}");
    }

    #[test]
    fn section_5_2_lengths_round_trip_in_their_shortest_form() {
        for (payload_bytes, header_bytes) in
            [(0, 6), (125, 6), (126, 8), (65_535, 8), (65_536, 14), (u64::MAX >> 1, 14)]
        {
            let header = Header {
                fin: true,
                compressed: false,
                opcode: OpCode::Binary,
                mask: Some([9, 8, 7, 6]),
                payload_bytes,
            };
            let (bytes, used) = header.encode();
            assert_eq!(used, header_bytes);
            assert_eq!(decode(&bytes[..used], &FROM_CLIENT), Ok(Some((header, used))));
            for cut in 0..used {
                assert_eq!(decode(&bytes[..cut], &FROM_CLIENT), Ok(None));
            }
        }
    }

    #[test]
    fn the_extent_of_an_unmasked_frame_is_its_header_and_payload() {
        for (payload_bytes, in_all) in [(0, 2), (125, 127), (126, 130), (65_535, 65_539), (65_536, 65_546)] {
            let (bytes, used) =
                Header { fin: true, compressed: false, opcode: OpCode::Text, mask: None, payload_bytes }
                    .encode();
            assert_eq!(frame_bytes(&bytes[..used]), Some(in_all));
            assert_eq!(frame_bytes(&bytes[..used - 1]), None);
            let (bytes, used) = Header {
                fin: true,
                compressed: false,
                opcode: OpCode::Text,
                mask: Some([1; 4]),
                payload_bytes,
            }
            .encode();
            assert_eq!(frame_bytes(&bytes[..used]), Some(in_all + 4));
        }
    }

    #[test]
    fn violations_are_found_at_the_first_byte_that_proves_them() {
        let open = Expectation { message_open: true, ..FROM_CLIENT };
        let small = Expectation { message_bytes_left: 1000, ..FROM_CLIENT };
        let spent = Expectation { fragments_left: 0, ..FROM_CLIENT };
        let lacking = Expectation { message_open: true, character_bytes_lacking: 2, ..FROM_CLIENT };
        let client = Expectation { role: Role::Client, ..FROM_CLIENT };
        for (bytes, expect, violation, proven_at) in [
            (&[0xC1][..], &FROM_CLIENT, Violation::ReservedBits, 1),
            (&[0xA1], &FROM_CLIENT, Violation::ReservedBits, 1),
            (&[0x91], &FROM_CLIENT, Violation::ReservedBits, 1),
            (&[0x83], &FROM_CLIENT, Violation::OpcodeUnknown, 1),
            (&[0x8F], &FROM_CLIENT, Violation::OpcodeUnknown, 1),
            (&[0x09], &FROM_CLIENT, Violation::ControlFragmented, 1),
            (&[0x80], &FROM_CLIENT, Violation::ContinuationUnexpected, 1),
            (&[0x81], &open, Violation::MessageInterleaved, 1),
            (&[0x81], &spent, Violation::FragmentsTooMany, 1),
            (&[0x81, 0x05], &FROM_CLIENT, Violation::NotMasked, 2),
            (&[0x81, 0x85], &client, Violation::Masked, 2),
            (&[0x89, 0xFE], &FROM_CLIENT, Violation::ControlTooLong, 2),
            (&[0x88, 0x81], &FROM_CLIENT, Violation::CloseBodyOneByte, 2),
            (&[0x80, 0x81], &lacking, Violation::TextNotUtf8, 2),
            (&[0x82, 0xFE, 0x00, 0x7D], &FROM_CLIENT, Violation::LengthNotMinimal, 4),
            (&[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], &FROM_CLIENT, Violation::LengthNotMinimal, 8),
            (&[0x82, 0xFF, 0x80], &FROM_CLIENT, Violation::LengthTopBitSet, 3),
            (&[0x82, 0xFF, 0x40], &small, Violation::MessageTooBig, 3),
            (&[0x82, 0xFE, 0x04], &small, Violation::MessageTooBig, 3),
            (&[0x82, 0xFE, 0x03, 0xE9], &small, Violation::MessageTooBig, 4),
        ] {
            assert_eq!(proof(bytes, expect), (violation, proven_at), "{bytes:x?}");
        }
    }

    #[test]
    fn rsv1_is_allowed_on_the_first_frame_alone_and_only_where_negotiated() {
        let compression = Expectation { compression: true, ..FROM_CLIENT };
        assert_eq!(decode(&[0xC1], &compression), Ok(None));
        assert_eq!(decode(&[0xC9], &compression), Err(Violation::ReservedBits));
        let open = Expectation { message_open: true, ..compression };
        assert_eq!(decode(&[0xC0], &open), Err(Violation::ReservedBits));
    }

    #[test]
    fn a_compressed_message_has_a_limit_of_its_own_in_all_its_frames() {
        let first = Expectation {
            compression: true,
            message_bytes_left: 10,
            compressed_bytes_left: 20,
            ..FROM_CLIENT
        };
        let later = Expectation { message_open: true, message_compressed: true, ..first };
        for (bytes, expect) in [([0xC1, 0x80 | 20], &first), ([0x80, 0x80 | 20], &later)] {
            assert_eq!(decode(&bytes, expect), Ok(None));
        }
        for (bytes, expect) in
            [([0xC1, 0x80 | 21], &first), ([0x80, 0x80 | 21], &later), ([0x81, 0x80 | 11], &first)]
        {
            assert_eq!(decode(&bytes, expect), Err(Violation::MessageTooBig));
        }
    }
}
