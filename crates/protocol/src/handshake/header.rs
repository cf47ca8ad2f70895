//! Header lines, looked up by name: once, or in all of their lines.
//!
//! Knows which headers the handshake interprets ([`Field`]) and what is wrong with one of them in general
//! ([`FieldFault`]). What each says is judged in `list`, `host`, `request` and `client`.

use core::fmt;

/// One header line: a name that is a token, and a value without the space around it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header<'h> {
    /// As the peer wrote it; compare without regard to case.
    pub name: &'h str,
    /// No control character but the tab; bytes from 0x80 on have no stated meaning (RFC 9110 §5.5).
    pub value: &'h [u8],
}

impl Header<'_> {
    /// Whether this is the header `name`, in any case.
    #[must_use]
    pub const fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Whether the name has letters, digits and hyphens only. In the environment of many frameworks all else turns into
    /// an underscore, and so does the hyphen: there `X_Forwarded_For` becomes `X-Forwarded-For`.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.name.bytes().all(|byte| PLAIN[usize::from(byte)])
    }
}

impl fmt::Debug for Header<'_> {
    /// Prints the name only: values hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A header that the handshake interprets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// `Authorization` (RFC 9110 §11.6.2).
    Authorization,
    /// `Connection` (RFC 9110 §7.6.1).
    Connection,
    /// `Host` (RFC 9110 §7.2).
    Host,
    /// `Origin` (RFC 6454 §7).
    Origin,
    /// `Sec-WebSocket-Accept` (RFC 6455 §11.3.3).
    Accept,
    /// `Sec-WebSocket-Extensions` (RFC 6455 §11.3.2).
    Extensions,
    /// `Sec-WebSocket-Key` (RFC 6455 §11.3.1).
    Key,
    /// `Sec-WebSocket-Protocol` (RFC 6455 §11.3.4).
    Protocol,
    /// `Sec-WebSocket-Version` (RFC 6455 §11.3.5).
    Version,
    /// `Upgrade` (RFC 9110 §7.8).
    Upgrade,
}

impl Field {
    /// The name as we write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authorization => "Authorization",
            Self::Connection => "Connection",
            Self::Host => "Host",
            Self::Origin => "Origin",
            Self::Accept => "Sec-WebSocket-Accept",
            Self::Extensions => "Sec-WebSocket-Extensions",
            Self::Key => "Sec-WebSocket-Key",
            Self::Protocol => "Sec-WebSocket-Protocol",
            Self::Version => "Sec-WebSocket-Version",
            Self::Upgrade => "Upgrade",
        }
    }
}

/// What is wrong with a header, whichever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldFault {
    /// It may stand once and stands more often.
    Duplicated(Field),
    /// Its value has bytes outside ASCII.
    NotAscii(Field),
    /// Its value is not a list of what it lists, or the list is empty.
    ListMalformed(Field),
    /// Its list has more bytes than the limit.
    ListTooLong(Field),
    /// Its list, or an extension in it, has more entries than the limit.
    ListEntriesTooMany(Field),
}

impl FieldFault {
    /// The header.
    #[must_use]
    pub const fn field(self) -> Field {
        match self {
            Self::Duplicated(field)
            | Self::NotAscii(field)
            | Self::ListMalformed(field)
            | Self::ListTooLong(field)
            | Self::ListEntriesTooMany(field) => field,
        }
    }

    /// Where the rule is written.
    #[must_use]
    pub const fn source(self) -> &'static str {
        match self {
            Self::Duplicated(_) => "RFC 9110 §5.3",
            Self::NotAscii(_) => "RFC 9110 §5.5",
            Self::ListMalformed(_) => "RFC 9110 §5.6.1",
            Self::ListTooLong(_) | Self::ListEntriesTooMany(_) => "RFC 6585 §5",
        }
    }
}

impl fmt::Display for FieldFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.field().name();
        match self {
            Self::Duplicated(_) => write!(f, "{name} stands more than once"),
            Self::NotAscii(_) => write!(f, "{name} has bytes outside ASCII"),
            Self::ListMalformed(_) => write!(f, "{name} is not a list as its grammar says"),
            Self::ListTooLong(_) => write!(f, "the list in {name} has more bytes than the limit"),
            Self::ListEntriesTooMany(_) => write!(f, "the list in {name} has more entries than the limit"),
        }
    }
}

impl core::error::Error for FieldFault {}

/// The header lines of a head, in their order.
#[derive(Clone)]
pub(super) struct Headers<'h>(Vec<Header<'h>>);

impl<'h> Headers<'h> {
    pub(super) const fn new(lines: Vec<Header<'h>>) -> Self {
        Self(lines)
    }

    /// Those whose names no one can confuse.
    pub(super) fn plain(&self) -> impl Iterator<Item = Header<'h>> {
        self.0.iter().copied().filter(Header::is_plain)
    }

    /// Those that are left out everywhere else.
    pub(super) fn confusable(&self) -> impl Iterator<Item = Header<'h>> {
        self.0.iter().copied().filter(|header| !header.is_plain())
    }

    /// The values of every line named `name`.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &'h [u8]> {
        self.0.iter().filter(move |header| header.is(name)).map(|header| header.value)
    }

    /// Whether there is such a line.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// The value of a header that may stand once.
    pub(super) fn once(&self, field: Field) -> Result<Option<&'h str>, FieldFault> {
        let mut lines = self.lines(field);
        let first = lines.next().transpose()?;
        if lines.next().is_some() { Err(FieldFault::Duplicated(field)) } else { Ok(first) }
    }

    /// The values of all lines of `field`, which together are one list (RFC 9110 §5.3).
    pub(super) fn lines(&self, field: Field) -> impl Iterator<Item = Result<&'h str, FieldFault>> {
        self.values(field.name()).map(move |value| ascii(value).ok_or(FieldFault::NotAscii(field)))
    }
}

fn ascii(value: &[u8]) -> Option<&str> {
    if value.is_ascii() { core::str::from_utf8(value).ok() } else { None }
}

/// Whether `byte` may stand in a token (RFC 9110 §5.6.2).
pub(super) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
}

/// Whether `text` is a token (RFC 9110 §5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| TOKEN[usize::from(byte)])
}

/// Looked up: names and tokens are read byte by byte, again and again.
const TOKEN: [bool; 256] = {
    let mut token = [false; 256];
    let mut byte = u8::MAX;
    while byte > 0 {
        token[byte as usize] = is_token_byte(byte);
        byte -= 1;
    }
    token
};

/// The bytes of a name that nobody can take for another.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = u8::MAX;
    while byte > 0 {
        plain[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'-';
        byte -= 1;
    }
    plain
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_token_are_those_of_rfc_9110_section_5_6_2() {
        let separators = b"\"(),/:;<=>?@[\\]{}";
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_graphic() && !separators.contains(&byte);
            assert_eq!(is_token_byte(byte), expected, "{byte:#x}");
        }
    }

    #[test]
    fn h18_underscores_never_make_a_name_equal_to_another() {
        let line = |name| Header { name, value: b"192.0.2.1" };
        let headers =
            Headers::new(vec![line("X_Forwarded_For"), line("X-Forwarded.For"), line("x-forwarded-for")]);
        let names = |header: Header<'_>| header.name.to_owned();
        assert_eq!(headers.plain().map(names).collect::<Vec<_>>(), ["x-forwarded-for"]);
        assert_eq!(
            headers.confusable().map(names).collect::<Vec<_>>(),
            ["X_Forwarded_For", "X-Forwarded.For"]
        );
        assert_eq!(headers.values("X-Forwarded-For").count(), 1);
    }

    #[test]
    fn debug_prints_no_value() {
        let header = Header { name: "Authorization", value: b"Bearer secret" };
        assert_eq!(format!("{header:?}"), "Header { name: \"Authorization\", .. }");
    }
}
