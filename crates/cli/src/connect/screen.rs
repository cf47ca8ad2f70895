//! What is shown: messages on standard output, everything else on standard error.

use std::io::{self, IsTerminal as _, Write as _};

use drawgate_protocol::Message;

use crate::Failure;
use crate::token::shown;

/// Where messages go.
#[derive(Clone, Copy)]
pub(super) struct Screen {
    is_terminal: bool,
}

/// Whether whoever reads standard output still does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    Reads,
    HasGone,
}

impl Screen {
    /// Standard output as it is.
    pub(super) fn new() -> Self {
        Self { is_terminal: io::stdout().is_terminal() }
    }

    /// Prints a message: for people on one line, by whom it is, and without what could steer their terminal; for scripts its
    /// bytes as they are, and a line's end.
    pub(super) fn print(self, message: &Message) -> Result<Reader, Failure> {
        let mut line =
            if self.is_terminal { for_people(message).into_bytes() } else { message.as_bytes().to_vec() };
        line.push(b'\n');
        let mut stdout = io::stdout();
        match stdout.write_all(&line).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(Reader::Reads),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::HasGone),
            Err(error) => Err(Failure(format!("standard output cannot be written: {error}"))),
        }
    }
}

/// Says something that is not a message. What of it a server chose has been made harmless.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn for_people(message: &Message) -> String {
    match message {
        Message::Text(text) => format!("< {}", shown(text)),
        Message::Binary(bytes) => format!("< {}", hexadecimal(bytes)),
    }
}

/// Bytes as text: how many, and the first of them.
fn hexadecimal(bytes: &[u8]) -> String {
    let first = bytes.iter().take(HEXADECIMAL_BYTES_MAX);
    let digits: Vec<String> = first.map(|byte| format!("{byte:02x}")).collect();
    let more = if bytes.len() > HEXADECIMAL_BYTES_MAX { " …" } else { "" };
    let unit = if bytes.len() == 1 { "byte" } else { "bytes" };
    format!("(binary, {} {unit}) {}{more}", bytes.len(), digits.join(" ")).trim_end().to_owned()
}

const HEXADECIMAL_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_see_cannot_steer_their_terminal() {
        let text = Message::Text("a\x1b[2Jb\u{202e}\nc".to_owned());
        assert_eq!(for_people(&text), "< a\\u001b[2Jb\\u202e\\u000ac");
        assert_eq!(for_people(&Message::Binary(vec![0x1b, 0xff])), "< (binary, 2 bytes) 1b ff");
        assert_eq!(for_people(&Message::Binary(Vec::new())), "< (binary, 0 bytes)");
        let long = for_people(&Message::Binary(vec![7; 1000]));
        assert!(
            long.starts_with("< (binary, 1000 bytes) 07 07") && long.ends_with(" …") && long.len() < 300,
            "{long}"
        );
    }
}
