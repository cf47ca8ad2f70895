//! What the user gives: the token, lines of standard input, commands among them, and signals.

use std::io;
use std::path::Path;
use std::thread;

use drawgate::CloseCode;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::Failure;

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish<'l> {
    /// Send this.
    Text(&'l str),
    Ping,
    Close(CloseCode, &'l str),
    /// Nothing; this is to be said about it.
    Hint(&'static str),
}

impl<'l> Wish<'l> {
    /// Reads a line. Commands are for people: a script's lines are messages, whatever they begin with.
    pub(super) fn of(line: &'l str, has_commands: bool) -> Self {
        let Some(command) = line.strip_prefix('/').filter(|_| has_commands) else { return Self::Text(line) };
        if command.starts_with('/') {
            return Self::Text(command);
        }
        let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
        match name {
            "ping" => Self::Ping,
            "close" => {
                let (code, reason) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
                let code = if code.is_empty() {
                    Some(CloseCode::NORMAL)
                } else {
                    code.parse().ok().and_then(CloseCode::new)
                };
                code.map_or(Self::Hint(CODES), |code| Self::Close(code, reason.trim_start()))
            }
            _ => Self::Hint(COMMANDS),
        }
    }
}

/// The token from a file, or from the first line of standard input for `-`.
pub(super) fn token_in(file: &Path) -> Result<String, Failure> {
    let text = if file.as_os_str() == "-" {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    } else {
        std::fs::read_to_string(file)
    };
    let advice = "name the file with what `drawgate token issue` printed";
    let text = text.map_err(|error| Failure::unreadable(file, &error, advice))?;
    let token = text.trim_end();
    if token.is_empty() {
        return Err(Failure(format!("there is no token in {}; {advice}", file.display())));
    }
    Ok(token.to_owned())
}

/// The lines of standard input, read by a thread of their own: a terminal cannot be polled. An error is the last.
pub(super) fn lines() -> mpsc::Receiver<io::Result<String>> {
    let (sender, receiver) = mpsc::channel(LINES_WAITING_MAX);
    thread::spawn(move || {
        for line in io::stdin().lines() {
            let is_last = line.is_err();
            if sender.blocking_send(line).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

/// The signals that ask for the end: Ctrl-C's, and SIGTERM.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure(format!("signals cannot be listened for: {error}")));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// What can be typed.
pub(super) const COMMANDS: &str = "type a message and press Enter; /ping, /close [CODE [REASON]], //TEXT for a text that begins with a slash; Ctrl-D ends";
const CODES: &str = "that code may not be sent; 1000 to 1003, 1007 to 1014 and 3000 to 4999 may";
/// Lines that wait to be sent while the server is slow; a pipe then waits too.
const LINES_WAITING_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_have_commands() {
        let code = |code| CloseCode::new(code).unwrap();
        for (line, wish) in [
            ("hello", Wish::Text("hello")),
            ("", Wish::Text("")),
            ("//ping", Wish::Text("/ping")),
            ("/ping", Wish::Ping),
            ("/close", Wish::Close(code(1000), "")),
            ("/close 4001", Wish::Close(code(4001), "")),
            ("/close 4001  good bye", Wish::Close(code(4001), "good bye")),
            ("/close 1005", Wish::Hint(CODES)),
            ("/close soon", Wish::Hint(CODES)),
            ("/help", Wish::Hint(COMMANDS)),
        ] {
            assert_eq!(Wish::of(line, true), wish, "{line}");
            assert_eq!(Wish::of(line, false), Wish::Text(line), "{line}");
        }
    }
}
