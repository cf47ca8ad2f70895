//! Makes text that a peer chose safe to write into a log.
//!
//! Line ends, terminal escapes, control characters of any kind and everything beyond ASCII become `\u{…}`, so that a
//! record stays one record and a terminal that shows it stays unharmed. Quotes are left: whoever writes the record
//! quotes it. Nothing is decided here.

use std::fmt::{self, Display, Write};

/// Displays a value with everything but printable ASCII escaped, at most [`ENCODED_BYTES_MAX`] bytes of it.
///
/// A backslash is doubled, so that the encoding has one reading. What is cut ends in `...`.
#[derive(Clone, Copy)]
pub struct Encoded<'a>(pub &'a dyn Display);

impl Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut escaper = Escaper { output: f, room_bytes: ENCODED_BYTES_MAX, stopped: None };
        // An error that is not ours is that of a value which cannot display itself: what came before it stands.
        let _ = write!(escaper, "{}", self.0);
        match escaper.stopped {
            None => Ok(()),
            Some(Stopped::Full) => f.write_str(CUT),
            Some(Stopped::Failed) => Err(fmt::Error),
        }
    }
}

/// Escapes what is written to it; stops the writer when there is no more room, so that no time is spent on the rest.
struct Escaper<'a, 'b> {
    output: &'a mut fmt::Formatter<'b>,
    room_bytes: usize,
    stopped: Option<Stopped>,
}

enum Stopped {
    Full,
    Failed,
}

impl Escaper<'_, '_> {
    fn stop(&mut self, stopped: Stopped) -> fmt::Error {
        self.stopped = Some(stopped);
        fmt::Error
    }

    fn escaped(&mut self, character: char) -> fmt::Result {
        match character {
            '\\' => self.output.write_str(r"\\"),
            _ => write!(self.output, "{}", character.escape_unicode()),
        }
    }
}

impl Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.stopped.is_some() {
            return Err(fmt::Error);
        }
        let mut rest = text;
        while !rest.is_empty() {
            let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\\';
            let plain_bytes = rest.bytes().take_while(is_plain).count();
            // Every plain byte is a character.
            let (plain, from) = rest.split_at(plain_bytes.min(self.room_bytes));
            self.room_bytes -= plain.len();
            self.output.write_str(plain).map_err(|_| self.stop(Stopped::Failed))?;
            if plain.len() < plain_bytes {
                return Err(self.stop(Stopped::Full));
            }
            let mut characters = from.chars();
            let Some(character) = characters.next() else { break };
            let bytes = if character == '\\' { 2 } else { character.escape_unicode().len() };
            let Some(room_bytes) = self.room_bytes.checked_sub(bytes) else {
                return Err(self.stop(Stopped::Full));
            };
            self.room_bytes = room_bytes;
            self.escaped(character).map_err(|_| self.stop(Stopped::Failed))?;
            rest = characters.as_str();
        }
        Ok(())
    }
}

/// The most bytes of one encoded value, less the mark of a cut. A subject or a cause that is longer is no use in a log.
pub const ENCODED_BYTES_MAX: usize = 256;

const CUT: &str = "...";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_printable_ascii_comes_out() {
        let hostile = "a\r\n{\"level\":\"info\"}\u{1b}[31m\u{9b}31m\u{202e}\0\u{7f}é\\";
        let expected = r#"a\u{d}\u{a}{"level":"info"}\u{1b}[31m\u{9b}31m\u{202e}\u{0}\u{7f}\u{e9}\\"#;
        assert_eq!(Encoded(&hostile).to_string(), expected);
    }

    #[test]
    fn a_typed_escape_differs_from_an_encoded_character() {
        assert_ne!(Encoded(&r"\u{a}").to_string(), Encoded(&"\n").to_string());
    }

    #[test]
    fn a_long_value_is_cut_between_escapes() {
        let fits = "x".repeat(ENCODED_BYTES_MAX);
        assert_eq!(Encoded(&fits).to_string(), fits);
        let encoded = Encoded(&"\n".repeat(1000)).to_string();
        assert!(encoded.ends_with(r"\u{a}..."), "{encoded}");
        assert!(encoded.len() <= ENCODED_BYTES_MAX + CUT.len());
    }

    #[test]
    fn a_value_that_fails_to_display_does_not_panic() {
        struct Broken;
        impl Display for Broken {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("begun")?;
                Err(fmt::Error)
            }
        }
        assert_eq!(Encoded(&Broken).to_string(), "begun");
    }
}
