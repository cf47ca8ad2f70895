//! A whole head of a request or a response, taken apart into its start line and headers (RFC 9112 §2-§5).
//!
//! Before this, `scanner` has found where the head ends, and says so by a [`WholeHead`]: nothing else is taken apart. httparse,
//! behind it, is a second opinion. What the lines say is judged after this, in `request` and `client`.

use core::fmt;

use super::header::{Header, Headers};
use super::scanner::HeadScanner;

/// How much of a head is read before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The request line or status line, without its CRLF. More is answered with 414.
    pub request_line_bytes_max: usize,
    /// The head, with all its line ends. More is answered with 431.
    pub head_bytes_max: usize,
    /// The header lines. More are answered with 431.
    pub headers_max: usize,
    /// Each comma-separated list that we interpret, over all of its lines.
    pub list_bytes_max: usize,
    /// The entries of such a list, empty ones included, and the parameters of one extension.
    pub list_entries_max: usize,
    /// One entry of `Sec-WebSocket-Protocol` that begins so (a credential) is not counted in `list_bytes_max`; the head
    /// bounds it. `None`: every entry is counted.
    pub uncounted_protocol_prefix: Option<&'static str>,
}

impl HeadLimits {
    /// What most servers take.
    pub const DEFAULT: Self = Self {
        request_line_bytes_max: 8 * 1024,
        head_bytes_max: 16 * 1024,
        headers_max: 64,
        list_bytes_max: 1024,
        list_entries_max: 16,
        uncounted_protocol_prefix: None,
    };
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What is wrong with a head before anyone asks what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeadFault {
    /// An empty line before the start line.
    EmptyLineFirst,
    /// A line that ends in LF without CR.
    LineFeedBare,
    /// A CR that no LF follows.
    CarriageReturnBare,
    /// A control character: NUL, or any other but a tab inside a value.
    ControlCharacter,
    /// A line that begins with a space or tab: a folded value, or space before the first header.
    LineFolded,
    /// A header name that is empty or not a token, or a line without a colon.
    HeaderNameMalformed,
    /// A start line that is not made of its three parts, each with one space between.
    StartLineMalformed,
    /// HTTP/0.9: a request line without a version, or one that names it.
    HttpVersionAncient,
    /// A version of HTTP other than 1.1.
    HttpVersionUnsupported,
    /// A start line longer than the limit.
    StartLineTooLong,
    /// A head larger than the limit.
    HeadTooLarge,
    /// More header lines than the limit.
    HeadersTooMany,
    /// The head was to be whole and is not: it has no empty line at its end.
    HeadIncomplete,
}

impl HeadFault {
    /// All of them, for tables and tests.
    pub const ALL: [Self; 13] = [
        Self::EmptyLineFirst,
        Self::LineFeedBare,
        Self::CarriageReturnBare,
        Self::ControlCharacter,
        Self::LineFolded,
        Self::HeaderNameMalformed,
        Self::StartLineMalformed,
        Self::HttpVersionAncient,
        Self::HttpVersionUnsupported,
        Self::StartLineTooLong,
        Self::HeadTooLarge,
        Self::HeadersTooMany,
        Self::HeadIncomplete,
    ];

    /// The HTTP status that answers a request with this fault.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::EmptyLineFirst
            | Self::LineFeedBare
            | Self::CarriageReturnBare
            | Self::ControlCharacter
            | Self::LineFolded
            | Self::HeaderNameMalformed
            | Self::StartLineMalformed
            | Self::HttpVersionAncient
            | Self::HeadIncomplete => 400,
            Self::StartLineTooLong => 414,
            Self::HeadTooLarge | Self::HeadersTooMany => 431,
            Self::HttpVersionUnsupported => 505,
        }
    }

    /// Where the rule is written.
    #[must_use]
    pub const fn source(self) -> &'static str {
        match self {
            Self::EmptyLineFirst | Self::LineFeedBare | Self::CarriageReturnBare | Self::HeadIncomplete => {
                "RFC 9112 §2.2"
            }
            Self::HttpVersionAncient => "RFC 9112 §2.3",
            Self::HttpVersionUnsupported => "RFC 9110 §15.6.6",
            Self::StartLineMalformed => "RFC 9112 §3",
            Self::StartLineTooLong => "RFC 9110 §15.5.15",
            Self::HeaderNameMalformed => "RFC 9112 §5.1",
            Self::LineFolded => "RFC 9112 §5.2",
            Self::ControlCharacter => "RFC 9110 §5.5",
            Self::HeadTooLarge | Self::HeadersTooMany => "RFC 6585 §5",
        }
    }
}

impl fmt::Display for HeadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyLineFirst => "an empty line comes before the start line",
            Self::LineFeedBare => "a line ends in LF without CR",
            Self::CarriageReturnBare => "a CR is not followed by LF",
            Self::ControlCharacter => "the head has a control character",
            Self::LineFolded => "a line begins with space",
            Self::HeaderNameMalformed => "a header name is not a token followed by a colon",
            Self::StartLineMalformed => "the start line does not have its three parts",
            Self::HttpVersionAncient => "the request is HTTP/0.9",
            Self::HttpVersionUnsupported => "the version of HTTP is not 1.1",
            Self::StartLineTooLong => "the start line is longer than the limit",
            Self::HeadTooLarge => "the head is larger than the limit",
            Self::HeadersTooMany => "the head has more header lines than the limit",
            Self::HeadIncomplete => "the head is not whole",
        })
    }
}

impl core::error::Error for HeadFault {}

/// A head that is whole and whose lines are lines: a `HeadScanner` has found it so.
#[derive(Clone, Copy)]
pub struct WholeHead<'h> {
    bytes: &'h [u8],
    headers: usize,
}

impl<'h> WholeHead<'h> {
    /// Of these `bytes`, in which there are so many header lines.
    pub(super) const fn new(bytes: &'h [u8], headers: usize) -> Self {
        Self { bytes, headers }
    }

    /// The head of a request at the front of `bytes`.
    pub(super) fn of_request(bytes: &'h [u8], limits: &HeadLimits) -> Result<Self, HeadFault> {
        Self::scan(HeadScanner::request(), bytes, limits)
    }

    /// The head of a response at the front of `bytes`.
    pub(super) fn of_response(bytes: &'h [u8], limits: &HeadLimits) -> Result<Self, HeadFault> {
        Self::scan(HeadScanner::response(), bytes, limits)
    }

    fn scan(mut scanner: HeadScanner, bytes: &'h [u8], limits: &HeadLimits) -> Result<Self, HeadFault> {
        scanner.scan(bytes, limits)?;
        scanner.whole(bytes).ok_or(HeadFault::HeadIncomplete)
    }

    /// A slot for each of its headers.
    fn slots(self) -> Vec<httparse::Header<'h>> {
        vec![httparse::EMPTY_HEADER; self.headers]
    }
}

impl fmt::Debug for WholeHead<'_> {
    /// Prints nothing of its lines: credentials may be in any of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WholeHead").field("headers", &self.headers).finish_non_exhaustive()
    }
}

/// A request's head in its parts.
pub(super) struct RequestHead<'h> {
    pub(super) method: &'h str,
    pub(super) target: &'h str,
    pub(super) headers: Headers<'h>,
}

/// A response's head in its parts.
pub(super) struct ResponseHead<'h> {
    pub(super) status: u16,
    pub(super) headers: Headers<'h>,
}

/// Takes a whole head apart.
pub(super) fn split_request(head: WholeHead<'_>) -> Result<RequestHead<'_>, HeadFault> {
    let mut slots = head.slots();
    let mut parsed = httparse::Request::new(&mut slots);
    parsed.parse(head.bytes).map_err(part_malformed)?;
    let (method, target) = parsed.method.zip(parsed.path).ok_or(HeadFault::HeadIncomplete)?;
    let headers = own_headers(parsed.headers);
    Ok(RequestHead { method, target, headers })
}

/// Takes a whole head apart.
pub(super) fn split_response(head: WholeHead<'_>) -> Result<ResponseHead<'_>, HeadFault> {
    let mut slots = head.slots();
    let mut parsed = httparse::Response::new(&mut slots);
    parsed.parse(head.bytes).map_err(part_malformed)?;
    let status = parsed.code.ok_or(HeadFault::HeadIncomplete)?;
    let headers = own_headers(parsed.headers);
    Ok(ResponseHead { status, headers })
}

fn own_headers<'h>(parsed: &[httparse::Header<'h>]) -> Headers<'h> {
    Headers::new(parsed.iter().map(|header| Header { name: header.name, value: header.value }).collect())
}

/// What httparse finds beyond the scanner, which has judged lines, headers and the version: a method or a target of bytes
/// that they may not have, or a status of letters.
const fn part_malformed(_: httparse::Error) -> HeadFault {
    HeadFault::StartLineMalformed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_is_no_number_is_refused() {
        let limits = HeadLimits::default();
        for line in ["HTTP/1.1 1o1 x", "HTTP/1.1 1011 x", "HTTP/1.1 ", "HTTP/1.1  101 x", "HTTP/1.1"] {
            let head = format!("{line}\r\n\r\n");
            let fault = WholeHead::of_response(head.as_bytes(), &limits).and_then(split_response).err();
            assert_eq!(fault, Some(HeadFault::StartLineMalformed), "{line}");
        }
    }

    #[test]
    fn a_head_that_is_not_whole_is_not_taken_apart() {
        let limits = HeadLimits::default();
        let fault = WholeHead::of_request(b"GET / HTTP/1.1\r\nHost: a\r\n", &limits).err();
        assert_eq!(fault, Some(HeadFault::HeadIncomplete));
        let (mut scanner, bytes) = (HeadScanner::request(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(scanner.whole(bytes).is_none(), "not scanned yet");
        assert_eq!(scanner.scan(bytes, &limits), Ok(Some(bytes.len())));
        assert_eq!(format!("{:?}", scanner.whole(bytes).unwrap()), "WholeHead { headers: 1, .. }");
        assert!(scanner.whole(&bytes[1..]).is_none(), "these are others");
        let mut refused = HeadScanner::request();
        assert!(refused.scan(b"\n", &limits).is_err() && refused.whole(b"\n").is_none());
    }

    #[test]
    fn h10_every_fault_has_its_words_and_a_status() {
        let words = HeadFault::ALL.map(|fault| fault.to_string());
        assert!(words.iter().enumerate().all(|(index, text)| !words[..index].contains(text)));
        let statuses = HeadFault::ALL.map(HeadFault::status);
        assert!(statuses.iter().all(|status| [400, 414, 431, 505].contains(status)));
        assert_eq!(HeadFault::StartLineTooLong.status(), 414);
        assert_eq!(HeadFault::HeadTooLarge.status(), 431);
        assert_eq!(HeadFault::HeadersTooMany.status(), 431);
    }
}
