//! A record as one line of JSON: time, level, then its fields in their order.
//!
//! The shape is that of `tracing-subscriber`'s own JSON with flattened fields, which builds a tree of each record first: as
//! much work as all else that a handshake asks of this program. Here the fields go straight into the line.

use std::cell::RefCell;
use std::fmt::{self, Debug, Write};
use std::time::SystemTime;

use drawgate::clock::UnixTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Formats events as lines of JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // A line is many small pieces: they are put together here, and are the writer's as one.
        let mut text = String::with_capacity(LINE_BYTES_TYPICAL);
        text.push_str("{\"timestamp\":\"");
        push_time(&mut text);
        text.push_str("\",\"level\":\"");
        text.push_str(event.metadata().level().as_str());
        text.push('"');
        let mut line = Line { text, result: Ok(()) };
        event.record(&mut line);
        line.result?;
        line.text.push_str("}\n");
        writer.write_str(&line.text)
    }
}

/// The line so far.
struct Line {
    text: String,
    /// Visitors cannot fail, so that the first failure is kept.
    result: fmt::Result,
}

impl Line {
    /// `,"name":`, of names that are those of the source: identifiers and dots, nothing to escape.
    fn name(&mut self, field: &Field) {
        self.text.push_str(",\"");
        self.text.push_str(field.name());
        self.text.push_str("\":");
    }

    /// A member whose value is written as it is.
    fn plain(&mut self, field: &Field, value: &str) {
        self.name(field);
        self.text.push_str(value);
    }

    /// A member whose value is the text that `write` writes.
    fn quoted(&mut self, field: &Field, write: impl FnOnce(&mut Escaping<'_>) -> fmt::Result) {
        self.name(field);
        self.text.push('"');
        let written = write(&mut Escaping(&mut self.text));
        self.result = self.result.and(written);
        self.text.push('"');
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.quoted(field, |text| text.write_str(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, itoa::Buffer::new().format(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, itoa::Buffer::new().format(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, if value { "true" } else { "false" });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.quoted(field, |text| write!(text, "{value:?}"));
    }
}

/// The time of day in UTC, to the microsecond (RFC 3339). A second has its text once a thread: many records share it.
fn push_time(line: &mut String) {
    #[expect(
        clippy::disallowed_methods,
        reason = "a record says when it was written; nothing is decided by it"
    )]
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = since_epoch.as_secs();
    SECOND.with_borrow_mut(|(known, text)| {
        if *known != Some(seconds) {
            *text = UnixTime::from_seconds(seconds).to_string();
            *known = Some(seconds);
        }
        line.push_str(text.trim_end_matches('Z'));
    });
    // A million more than there are, for its zeros.
    let micros = 1_000_000 + since_epoch.subsec_micros();
    line.push('.');
    line.push_str(&itoa::Buffer::new().format(micros)[1..]);
    line.push('Z');
}

thread_local! {
    /// The last second that was written, and its text.
    static SECOND: RefCell<(Option<u64>, String)> = const { RefCell::new((None, String::new())) };
}

/// Writes text as the inside of a JSON string (RFC 8259 §7).
struct Escaping<'l>(&'l mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        // All that is escaped is one byte, so that a place of one is a boundary of characters.
        while let Some(at) = first_escaped(rest.as_bytes()) {
            let (plain, from) = rest.split_at(at);
            let (escaped, behind) = from.split_at(1);
            self.0.push_str(plain);
            match escaped {
                "\"" => self.0.push_str("\\\""),
                "\\" => self.0.push_str("\\\\"),
                "\n" => self.0.push_str("\\n"),
                "\r" => self.0.push_str("\\r"),
                "\t" => self.0.push_str("\\t"),
                control => write!(self.0, "\\u{:04x}", control.as_bytes()[0])?,
            }
            rest = behind;
        }
        self.0.push_str(rest);
        Ok(())
    }
}

/// Where the first byte stands that is escaped. Names and numbers, which are most of a line, have none: they are looked at a block
/// at a time.
fn first_escaped(text: &[u8]) -> Option<usize> {
    let (blocks, _) = text.as_chunks::<BLOCK_BYTES>();
    let is_plain = |block: &[u8; BLOCK_BYTES]| {
        // Without a branch, so that a compiler can take many bytes at once.
        block.iter().fold(true, |plain, byte| plain & (*byte >= b' ') & (*byte != b'"') & (*byte != b'\\'))
    };
    let plain_bytes = blocks.iter().take_while(|block| is_plain(block)).count() * BLOCK_BYTES;
    let rest = text.get(plain_bytes..)?;
    let at = rest.iter().position(|byte| IS_ESCAPED[usize::from(*byte)])?;
    Some(plain_bytes + at)
}

const BLOCK_BYTES: usize = 16;

/// What must not stand in a string as it is.
const IS_ESCAPED: [bool; 256] = {
    let mut is_escaped = [false; 256];
    let mut byte = 0;
    while byte < b' ' {
        is_escaped[byte as usize] = true;
        byte += 1;
    }
    is_escaped[b'"' as usize] = true;
    is_escaped[b'\\' as usize] = true;
    is_escaped
};

/// A record of a connection's end has some 400.
const LINE_BYTES_TYPICAL: usize = 512;

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// What is logged meanwhile, in this format and in the library's own.
    fn logged(log: impl FnOnce()) -> [String; 2] {
        let lines: [Arc<Mutex<Vec<u8>>>; 2] = Default::default();
        let writer = |number: usize| {
            let line = Arc::clone(&lines[number]);
            move || Shared(Arc::clone(&line))
        };
        let ours = tracing_subscriber::fmt::layer().event_format(Json).with_writer(writer(0));
        let theirs = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_target(false)
            .with_writer(writer(1));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(ours).with(theirs), log);
        lines.map(|line| String::from_utf8(line.lock().unwrap().clone()).unwrap())
    }

    #[derive(Clone)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// All but the time, which passes between the two.
    fn timeless(line: &str) -> Value {
        let mut value: Value = serde_json::from_str(line).unwrap();
        let time = value.as_object_mut().unwrap().remove("timestamp").unwrap();
        // As in "2026-10-30T08:44:14.007000Z".
        let shape: String = time.as_str().unwrap().replace(|digit: char| digit.is_ascii_digit(), "0");
        assert_eq!(shape, "0000-00-00T00:00:00.000000Z", "{time}");
        value
    }

    #[test]
    fn a_line_is_the_one_that_the_library_writes() {
        let lines = logged(|| {
            tracing::info!(
                target: "drawgate",
                client = %"192.0.2.1",
                count = 7_u64,
                below = -7_i64,
                small = Some(3_u16),
                good = true,
                absent = None::<u64>,
                debug = ?["x\"y", "\u{1b}[31m"],
                hostile = "\" \\ / \n\r\t\u{0}\u{8}\u{1f}\u{7f}\u{2028} é 🦀",
                "opened \"{}\"",
                1
            );
        });
        assert_eq!(timeless(&lines[0]), timeless(&lines[1]));
        let without_time = |line: &str| line.split_once("\"level\"").unwrap().1.to_owned();
        assert!(
            without_time(&lines[0]).starts_with(":\"INFO\",\"message\":\"opened \\\"1\\\"\""),
            "{}",
            lines[0]
        );
        assert!(lines[0].ends_with("}\n") && lines[0].matches('\n').count() == 1);
    }

    #[test]
    fn r16_no_character_leaves_its_string() {
        for character in (0..=0x1_00FF).filter_map(char::from_u32) {
            let mut line = String::from("\"");
            write!(Escaping(&mut line), "a{character}b").unwrap();
            line.push('"');
            let read: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(read, json!(format!("a{character}b")));
        }
    }
}
