//! The chain of audit lines: each has a code over itself and the one before it, under a key that is replaced with every line.
//!
//! Pure. A line's code is HMAC-SHA-256 over the code before it and the line; its key is the one before it, put through HMAC, which
//! nobody can turn back. Whoever takes over a machine has the key of the next line, and with it cannot make or change a line
//! that came before (forward security; Bellare and Yee, 1997). Whoever has the first key, which was shown once, verifies them all.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::hex;

/// The `[audit]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file that lines are added to. Full ones get the number of their first line behind their name, and stay.
    pub path: PathBuf,
    /// The file of the key of the next line; made by `drawgate audit create`.
    pub key_file: PathBuf,
    /// The most bytes of one file.
    pub bytes_max: u64,
    /// What happens while lines cannot be written.
    pub when_full: WhenFull,
}

/// What happens while audit lines cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Traffic goes on; lines that find no room are counted as lost.
    Open,
    /// Nobody is let in until they can be. Who is connected stays, and operators still revoke and ban.
    Closed,
}

/// A key of the chain. Never shown in debug output; erased when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Zeroizing<[u8; KEY_BYTES]>);

/// Where a chain stands: what the next line needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The number of the next line; the first is 1.
    pub next: u64,
    /// The key of the next line.
    pub key: Key,
    /// The code of the last line; zeros before the first.
    pub head: [u8; CODE_BYTES],
}

/// How far a chain has come, for whoever keeps it elsewhere: the log ends there or further on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// How many lines there are.
    pub lines: u64,
    /// The code of the last line, in hexadecimal digits.
    pub head: String,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is no audit line.
    Malformed,
    /// Another line should stand here: one is missing, doubled, or in another's place.
    OutOfOrder {
        /// The number that should stand here.
        expected: u64,
        /// The number that stands here.
        found: u64,
    },
    /// Its code is not its own: it, or a line before it, was changed, or the key is not that of this chain.
    Changed {
        /// Its number.
        number: u64,
    },
}

impl Key {
    /// A key of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        Some(Self::new(bytes_of(text)?))
    }

    /// 64 hexadecimal digits, for whoever is to keep it.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::text(&*self.0))
    }

    fn next(&self) -> Self {
        let made = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*self.0), b"drawgate audit: the next key");
        let mut bytes = [0; KEY_BYTES];
        bytes.copy_from_slice(made.as_ref());
        Self::new(bytes)
    }

    fn code(&self, head: &[u8; CODE_BYTES], line: &[u8]) -> [u8; CODE_BYTES] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &*self.0));
        context.update(head);
        context.update(line);
        let mut code = [0; CODE_BYTES];
        code.copy_from_slice(context.sign().as_ref());
        code
    }
}

impl Link {
    /// The beginning of a chain under its first key.
    #[must_use]
    pub const fn first(key: Key) -> Self {
        Self { next: 1, key, head: [0; CODE_BYTES] }
    }

    /// Adds a line whose members are `members`, each `"name":value`, and returns it whole, with its line feed.
    pub fn add(&mut self, time: &dyn fmt::Display, members: &str) -> String {
        let mut line = format!(r#"{{"seq":{},"time":"{time}",{members}"#, self.next);
        let code = self.key.code(&self.head, line.as_bytes());
        // Writing to a string cannot fail.
        let _ = writeln!(line, r#"{MAC}{}"}}"#, hex::text(&code));
        *self = Self { next: self.next.saturating_add(1), key: self.key.next(), head: code };
        line
    }

    /// Verifies one line, without its line feed, and goes on to the next.
    ///
    /// # Errors
    /// What is wrong with it; the link stays where it was.
    pub fn verify(&mut self, line: &[u8]) -> Result<(), Flaw> {
        let text = std::str::from_utf8(line).map_err(|_| Flaw::Malformed)?;
        let (signed, code) =
            text.strip_suffix("\"}").and_then(|rest| rest.rsplit_once(MAC)).ok_or(Flaw::Malformed)?;
        let code: [u8; CODE_BYTES] = bytes_of(code).ok_or(Flaw::Malformed)?;
        let value: Value = serde_json::from_str(text).map_err(|_| Flaw::Malformed)?;
        let found = value.get("seq").and_then(Value::as_u64).ok_or(Flaw::Malformed)?;
        if found != self.next {
            return Err(Flaw::OutOfOrder { expected: self.next, found });
        }
        let own = self.key.code(&self.head, signed.as_bytes());
        verify_slices_are_equal(&own, &code).map_err(|_| Flaw::Changed { number: found })?;
        *self = Self { next: found.saturating_add(1), key: self.key.next(), head: code };
        Ok(())
    }

    /// How many lines there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// How far it has come.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { lines: self.count(), head: self.head_hex() }
    }

    /// Whether it has come as far as `mark` says, and there by the same line. What it came by is not looked at where it is further on.
    #[must_use]
    pub fn has(&self, mark: &Mark) -> bool {
        self.count() > mark.lines || self.mark() == *mark
    }

    /// The text of the key file: where the chain stands, and the key of the next line.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let key = self.key.to_hex();
        Zeroizing::new(format!(
            "{{\"version\":1,\"next\":{},\"head\":\"{}\",\"key\":\"{}\"}}\n",
            self.next,
            hex::text(&self.head),
            &*key
        ))
    }

    /// Reads the text of a key file.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let member = |name: &str| value.get(name).and_then(Value::as_str);
        let next = value.get("next")?.as_u64().filter(|next| *next > 0)?;
        if value.get("version")?.as_u64() != Some(1) {
            return None;
        }
        Some(Self { next, key: Key::from_hex(member("key")?)?, head: bytes_of(member("head")?)? })
    }

    /// The code of the last line, in hexadecimal digits.
    #[must_use]
    pub fn head_hex(&self) -> String {
        hex::text(&self.head)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(redacted)")
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("is no audit line"),
            Self::OutOfOrder { expected, found } => {
                write!(
                    f,
                    "has number {found}, where {expected} should stand: lines are missing, doubled or moved"
                )
            }
            Self::Changed { number } => write!(
                f,
                "(number {number}) does not have its own code: it or the one before it was changed, or the key is another chain's"
            ),
        }
    }
}

fn bytes_of<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

const KEY_BYTES: usize = 32;
const CODE_BYTES: usize = 32;
/// What stands between what a code is over and the code.
const MAC: &str = r#","mac":""#;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chain(count: u64) -> (Key, Vec<String>, Link) {
        let first = Key::new([7; KEY_BYTES]);
        let mut link = Link::first(first.clone());
        let lines = (1..=count)
            .map(|number| {
                let line = link.add(&"2026-11-26T12:00:00Z", &format!(r#""kind":"opened","n":{number}"#));
                line.trim_end().to_owned()
            })
            .collect();
        (first, lines, link)
    }

    fn verified(first: &Key, lines: &[String]) -> Result<Link, (usize, Flaw)> {
        let mut link = Link::first(first.clone());
        for (place, line) in lines.iter().enumerate() {
            link.verify(line.as_bytes()).map_err(|flaw| (place, flaw))?;
        }
        Ok(link)
    }

    #[test]
    fn what_was_written_is_verified_and_ends_where_the_writer_stands() {
        let (first, lines, link) = chain(20);
        assert_eq!(verified(&first, &lines).unwrap(), link);
        assert_eq!((link.count(), Link::from_text(&link.to_text())), (20, Some(link.clone())));
        assert_ne!(link.key, first, "the key of the past is gone");
        assert!(!format!("{link:?}").contains(&**link.key.to_hex()));
        assert!(serde_json::from_str::<Value>(&lines[3]).is_ok());
    }

    #[test]
    fn a_line_that_is_changed_missing_doubled_or_moved_is_found_where_it_is() {
        let (first, lines, _) = chain(6);
        let mut changed = lines.clone();
        changed[2] = changed[2].replace("\"n\":3", "\"n\":4");
        assert_eq!(verified(&first, &changed).unwrap_err(), (2, Flaw::Changed { number: 3 }));
        let mut missing = lines.clone();
        missing.remove(2);
        assert_eq!(verified(&first, &missing).unwrap_err(), (2, Flaw::OutOfOrder { expected: 3, found: 4 }));
        let mut moved = lines.clone();
        moved.swap(1, 4);
        assert_eq!(verified(&first, &moved).unwrap_err(), (1, Flaw::OutOfOrder { expected: 2, found: 5 }));
        let mut doubled = lines.clone();
        doubled.insert(1, lines[0].clone());
        assert_eq!(verified(&first, &doubled).unwrap_err(), (1, Flaw::OutOfOrder { expected: 2, found: 1 }));
        let cut = verified(&first, &lines[..4]).unwrap();
        assert_eq!(cut.count(), 4, "whoever knows how many there were sees it");
        // Renumbered to hide the gap.
        let mut renumbered = missing;
        for (place, line) in renumbered.iter_mut().enumerate().skip(2) {
            *line = line.replacen(&format!("\"seq\":{}", place + 2), &format!("\"seq\":{}", place + 1), 1);
        }
        assert_eq!(verified(&first, &renumbered).unwrap_err(), (2, Flaw::Changed { number: 3 }));
        let other = Key::new([8; KEY_BYTES]);
        assert_eq!(verified(&other, &lines).unwrap_err(), (0, Flaw::Changed { number: 1 }));
    }

    #[test]
    fn who_has_the_key_of_today_cannot_write_yesterday() {
        let (first, lines, link) = chain(5);
        let mut forged = lines;
        let mut attacker = Link { next: 3, ..link };
        forged[2] = attacker.add(&"2026-11-26T12:00:00Z", r#""kind":"opened","n":0"#).trim_end().to_owned();
        assert_eq!(verified(&first, &forged).unwrap_err(), (2, Flaw::Changed { number: 3 }));
    }

    #[test]
    fn what_is_no_line_or_key_is_refused() {
        let mut link = Link::first(Key::new([7; KEY_BYTES]));
        let before = link.clone();
        for line in
            ["", "{}", r#"{"seq":1}"#, r#"{"seq":1,"mac":"00"}"#, r#"{"seq":-1,"mac":""}"#, "\u{0}", "[1]"]
        {
            assert_eq!(link.verify(line.as_bytes()), Err(Flaw::Malformed), "{line}");
        }
        assert_eq!(link.verify(b"\xff"), Err(Flaw::Malformed));
        assert_eq!(link, before);
        for text in ["", "{}", r#"{"version":2,"next":1,"head":"","key":""}"#, r#"{"version":1,"next":0}"#] {
            assert_eq!(Link::from_text(text), None);
        }
        assert!(Key::from_hex("0").is_none() && Key::from_hex(&"g".repeat(64)).is_none());
        assert!(Key::from_hex(&"A".repeat(64)).is_none() && Key::from_hex(&"a".repeat(64)).is_some());
    }

    proptest! {
        #[test]
        fn any_byte_that_is_changed_is_found(line in 0_usize..5, place in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let (first, lines, _) = chain(5);
            let mut lines: Vec<Vec<u8>> = lines.into_iter().map(String::into_bytes).collect();
            let place = place.index(lines[line].len());
            lines[line][place] ^= 1 << bit;
            let mut link = Link::first(first);
            let flawed = lines.iter().position(|line| link.verify(line).is_err());
            prop_assert_eq!(flawed, Some(line));
        }
    }
}
