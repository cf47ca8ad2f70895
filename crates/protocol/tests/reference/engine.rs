//! Our receiver, in the words of the reference: what it makes of a stream that comes in pieces.

use drawgate_protocol::limits::REMAINDER_BYTES_MAX;
use drawgate_protocol::{Event, Limits, Receiver, Role};

use super::{Decoded, Proof, Seen};

/// What our receiver makes of `stream`, cut at `cuts`, with remainders presented again as a caller does.
///
/// The proof's place is the end of the piece that it was found in.
pub(crate) fn received(stream: &[u8], cuts: &[usize], role: Role, limits: Limits) -> Decoded {
    gathered(stream, cuts, role, limits, false)
}

/// The same, where messages are asked for whole first.
pub(crate) fn received_whole(stream: &[u8], cuts: &[usize], role: Role, limits: Limits) -> Decoded {
    gathered(stream, cuts, role, limits, true)
}

fn gathered(stream: &[u8], cuts: &[usize], role: Role, limits: Limits, is_whole_first: bool) -> Decoded {
    let mut decoded = Decoded::default();
    let mut receiver = Receiver::new(role, limits);
    let (mut left, mut fed) = (Vec::new(), 0);
    for (piece, _) in pieces(stream, cuts) {
        fed += piece.len();
        let mut buffer = [&left[..], piece].concat();
        let mut input = &mut buffer[..];
        loop {
            if is_whole_first && let Some(chunk) = receiver.whole_message(&mut input) {
                Seen::gather(&mut decoded.events, Event::Data(chunk));
                continue;
            }
            match receiver.receive(&mut input) {
                Ok(Some(event)) => Seen::gather(&mut decoded.events, event),
                Ok(None) => break,
                Err(violation) => {
                    assert_eq!(receiver.receive(&mut input), Err(violation), "a violation stays");
                    decoded.proof = Some(Proof { bytes: fed, violations: vec![violation] });
                    return decoded;
                }
            }
        }
        assert!(input.len() <= REMAINDER_BYTES_MAX, "{} bytes are left", input.len());
        left = input.to_vec();
    }
    decoded.closed = receiver.is_closed();
    decoded
}

/// `bytes` cut at the sorted places `cuts`; the last piece is marked.
pub(crate) fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<(&'a [u8], bool)> {
    let starts = core::iter::once(0).chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([bytes.len()]);
    starts
        .zip(ends)
        .enumerate()
        .map(|(index, (start, end))| (&bytes[start..end], index == cuts.len()))
        .collect()
}

/// Whether the events are the same, and the one violation named is among those proven first.
pub(crate) fn agrees(found: &Decoded, expected: &Decoded) -> bool {
    let violations_agree = match (&found.proof, &expected.proof) {
        (None, None) => true,
        (Some(found), Some(expected)) => {
            expected.violations.contains(&found.violations[0]) && expected.bytes <= found.bytes
        }
        (Some(_), None) | (None, Some(_)) => false,
    };
    violations_agree && found.events == expected.events && found.closed == expected.closed
}
