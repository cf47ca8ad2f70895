//! The trace that a connection belongs to (W3C Trace Context): kept from a proxy that is trusted, or begun here.
//!
//! Reads and writes `traceparent`, and never asks whether whoever sent it may be believed; floor 1.

use std::fmt;

use crate::chance::Chance;
use crate::hex;

/// Names one trace in the records of all that have a part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// The trace of one connection, and our place in it. Of bytes, since it is kept for each, and numbers would take more room than they fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) id: TraceId,
    /// Names our part: the parent of what the application does.
    span: [u8; 8],
    flags: u8,
    /// Whether somebody else began it, so that a `tracestate` belongs to it.
    pub(crate) is_kept: bool,
}

impl Trace {
    /// A trace that begins here. Nothing has been decided against recording it, and an application that samples by its parent
    /// would otherwise record nothing.
    pub(crate) fn begin(chance: &Chance) -> Self {
        let id = u128::from_le_bytes(chance.bytes()).max(1);
        Self { id: TraceId(id.to_be_bytes()), span: span(chance), flags: SAMPLED, is_kept: false }
    }

    /// Our part of the trace that `lines`, all those of `traceparent`, name; `None` unless that is one, well-formed.
    pub(crate) fn keep(lines: &[&[u8]], chance: &Chance) -> Option<Self> {
        let [line] = lines else { return None };
        let (id, flags) = parse(line)?;
        Some(Self {
            id: TraceId(id.to_be_bytes()),
            span: span(chance),
            flags: flags & FLAGS_KNOWN,
            is_kept: true,
        })
    }

    /// The value of `traceparent` for the application.
    pub(crate) fn header(&self) -> String {
        let mut header = String::with_capacity(HEADER_BYTES);
        header.push_str("00");
        for part in [&self.id.0[..], &self.span, &[self.flags]] {
            header.push('-');
            // Writing to a string cannot fail.
            let _ = hex::write(part, &mut header);
        }
        header
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0, f)
    }
}

/// Trace Context §3.2.2.4: no span is all zeros.
fn span(chance: &Chance) -> [u8; 8] {
    chance.bits().max(1).to_be_bytes()
}

/// Trace Context §3.2: `version "-" trace-id "-" parent-id "-" trace-flags`, in lower case. A later version may have more behind
/// a further hyphen (§4.3).
fn parse(line: &[u8]) -> Option<(u128, u8)> {
    let (known, more) = line.split_at_checked(HEADER_BYTES)?;
    let text = std::str::from_utf8(known).ok()?;
    let mut fields = text.split('-');
    let version = number(fields.next()?, 2)?;
    let id = number(fields.next()?, 32)?;
    let parent = number(fields.next()?, 16)?;
    let flags = number(fields.next()?, 2)?;
    let has_sound_end = match version {
        0 => more.is_empty(),
        // §3.2.1: forbidden.
        0xff => false,
        _ => more.is_empty() || more.starts_with(b"-"),
    };
    let is_sound = has_sound_end && fields.next().is_none() && id != 0 && parent != 0;
    Some((id, u8::try_from(flags).ok()?)).filter(|_| is_sound)
}

fn number(text: &str, digits: usize) -> Option<u128> {
    let is_sound = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_sound { u128::from_str_radix(text, 16).ok() } else { None }
}

/// The bytes of version 00.
const HEADER_BYTES: usize = 55;
/// §3.2.2.5.1: whoever called may have recorded it.
const SAMPLED: u8 = 1;
/// That, and that the id is random; others mean nothing yet and are sent as zeros.
const FLAGS_KNOWN: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn keep(lines: &[&str]) -> Option<String> {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        Trace::keep(&lines, &Chance::seeded(1)).map(|trace| trace.header())
    }

    #[test]
    fn a_trace_is_kept_with_a_span_of_our_own() {
        for (line, flags) in [
            (SOUND.to_owned(), "01"),
            (SOUND.replace("-01", "-00"), "00"),
            (SOUND.replace("-01", "-ff"), "03"),
            (SOUND.replace("00-0af", "01-0af"), "01"),
            (SOUND.replace("00-0af", "cc-0af") + "-more-behind", "01"),
        ] {
            let kept = keep(&[&line]).unwrap();
            assert!(kept.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{line}: {kept}");
            assert!(kept.ends_with(&format!("-{flags}")), "{line}: {kept}");
            assert!(!kept.contains("b7ad6b7169203331"), "{kept}");
            assert!(parse(kept.as_bytes()).is_some(), "{kept}");
        }
    }

    #[test]
    fn what_is_no_traceparent_is_not_kept() {
        for line in [
            "",
            "00",
            &SOUND.to_uppercase(),
            &SOUND.replace("00-0af", "ff-0af"),
            &SOUND.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &SOUND.replace("b7ad6b7169203331", &"0".repeat(16)),
            &SOUND.replace("b7ad6b7169203331", "b7ad6b716920333g"),
            &SOUND.replace("-01", "-1"),
            &SOUND.replace("-b7", "_b7"),
            &format!("{SOUND}-more"),
            &format!("{SOUND}x"),
            &SOUND.replace("00-0af", "01-0af").replace("-01", "-01x"),
            &SOUND.replace("0af7", "+af7"),
        ] {
            assert_eq!(keep(&[line]), None, "{line}");
        }
        assert_eq!(keep(&[]), None);
        assert_eq!(keep(&[SOUND, SOUND]), None, "two could be read in two ways");
    }

    #[test]
    fn a_trace_that_begins_here_is_sound_and_another_each_time() {
        let chance = Chance::seeded(7);
        let [first, second] = [Trace::begin(&chance), Trace::begin(&chance)];
        assert_ne!(first.id, second.id);
        assert!(!first.is_kept && parse(first.header().as_bytes()).is_some(), "{}", first.header());
    }
}
