//! The head of a request or a response: where it ends, and whether its lines are lines (RFC 9112 §2-§5).
//!
//! [`HeadScanner`] looks at each byte once, whatever the pieces they come in, and refuses at the first byte that proves
//! the head wrong. [`split_request`] and [`split_response`] then take a whole head apart, with httparse, and check it
//! again by themselves. What the lines say is judged after this, in `request` and `client`.

use core::fmt;

use super::header::{Header, Headers, is_token_byte};

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

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            request_line_bytes_max: 8 * 1024,
            head_bytes_max: 16 * 1024,
            headers_max: 64,
            list_bytes_max: 1024,
            list_entries_max: 16,
            uncounted_protocol_prefix: None,
        }
    }
}

/// Finds the end of a head while its bytes arrive; a few dozen bytes of state, none of them the peer's.
#[derive(Clone, Debug)]
pub struct HeadScanner {
    start: Start,
    part: Part,
    /// The last byte was CR: only LF may follow.
    after_return: bool,
    scanned_bytes: usize,
    line_start: usize,
    headers: usize,
    verdict: Option<Result<usize, HeadFault>>,
    #[cfg(test)]
    steps: usize,
}

impl HeadScanner {
    /// For the head of a request.
    #[must_use]
    pub const fn request() -> Self {
        Self::new(Start::Request)
    }

    /// For the head of a response.
    #[must_use]
    pub const fn response() -> Self {
        Self::new(Start::Response)
    }

    const fn new(start: Start) -> Self {
        Self {
            start,
            part: Part::StartLine,
            after_return: false,
            scanned_bytes: 0,
            line_start: 0,
            headers: 0,
            verdict: None,
            #[cfg(test)]
            steps: 0,
        }
    }

    /// Looks at what `bytes` (all that has arrived so far) has beyond the last call's, and says where the head ends:
    /// its length, or `None` while it is not whole. A verdict, once given, stays.
    ///
    /// # Errors
    /// The rule of HTTP that the head breaks or the limit that it exceeds.
    pub fn scan(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HeadFault> {
        while self.verdict.is_none() {
            let Some(byte) = bytes.get(self.scanned_bytes) else { return Ok(None) };
            self.verdict = self.step(*byte, bytes, limits).transpose();
            // Cannot overflow: the index was inside a slice.
            self.scanned_bytes += 1;
        }
        self.verdict.transpose()
    }

    /// Judges one byte, which stands at `scanned_bytes`.
    fn step(&mut self, byte: u8, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HeadFault> {
        #[cfg(test)]
        {
            self.steps += 1;
        }
        if self.scanned_bytes >= limits.head_bytes_max {
            return Err(HeadFault::HeadTooLarge);
        }
        if self.after_return {
            // RFC 9112 §2.2: a CR that no LF follows is invalid.
            return if byte == b'\n' { self.end_line(bytes) } else { Err(HeadFault::CarriageReturnBare) };
        }
        let at_line_start = self.scanned_bytes == self.line_start;
        match byte {
            b'\r' => self.return_found(at_line_start)?,
            // RFC 9112 §2.2 lets a recipient accept a lone LF. Where two readers differ on that, requests are smuggled.
            b'\n' => return Err(HeadFault::LineFeedBare),
            b'\t' if self.part != Part::StartLine => self.text_found(byte, at_line_start, limits)?,
            // RFC 9110 §5.5: NUL and the other controls are dangerous, in names and values alike.
            0..=0x1f | 0x7f => return Err(HeadFault::ControlCharacter),
            0x20..=0x7e | 0x80..=0xff => self.text_found(byte, at_line_start, limits)?,
        }
        Ok(None)
    }

    fn return_found(&mut self, at_line_start: bool) -> Result<(), HeadFault> {
        self.after_return = true;
        match self.part {
            // RFC 9112 §2.2 would have one empty line before a request ignored, for clients of the 1990s.
            Part::StartLine if at_line_start => Err(HeadFault::EmptyLineFirst),
            Part::HeaderName if !at_line_start => Err(HeadFault::HeaderNameMalformed),
            Part::StartLine | Part::HeaderName | Part::HeaderValue => Ok(()),
        }
    }

    fn text_found(&mut self, byte: u8, at_line_start: bool, limits: &HeadLimits) -> Result<(), HeadFault> {
        match self.part {
            Part::StartLine => {
                let line_bytes = self.scanned_bytes - self.line_start;
                if line_bytes >= limits.request_line_bytes_max {
                    return Err(HeadFault::StartLineTooLong);
                }
            }
            Part::HeaderName => {
                if at_line_start && matches!(byte, b' ' | b'\t') {
                    // RFC 9112 §5.2: obs-fold is refused; so is space before the first header (§2.2).
                    return Err(HeadFault::LineFolded);
                }
                if at_line_start && self.headers >= limits.headers_max {
                    return Err(HeadFault::HeadersTooMany);
                }
                if byte == b':' && !at_line_start {
                    self.part = Part::HeaderValue;
                    self.headers += 1;
                } else if !is_token_byte(byte) {
                    // RFC 9112 §5.1: no space between name and colon; a name is a token, and not empty.
                    return Err(HeadFault::HeaderNameMalformed);
                }
            }
            Part::HeaderValue => {}
        }
        Ok(())
    }

    /// The LF of a CRLF stands at `scanned_bytes`.
    fn end_line(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadFault> {
        self.after_return = false;
        let next_line_start = self.scanned_bytes + 1;
        match self.part {
            Part::StartLine => {
                let line = bytes.get(self.line_start..self.scanned_bytes - 1).unwrap_or_default();
                match self.start {
                    Start::Request => check_request_line(line)?,
                    Start::Response => check_status_line(line)?,
                }
            }
            Part::HeaderName => return Ok(Some(next_line_start)),
            Part::HeaderValue => {}
        }
        self.part = Part::HeaderName;
        self.line_start = next_line_start;
        Ok(None)
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

/// Takes a whole head apart. What follows the head's end is not looked at.
pub(super) fn split_request<'h>(bytes: &'h [u8], limits: &HeadLimits) -> Result<RequestHead<'h>, HeadFault> {
    let (head, mut slots) = scan_whole(HeadScanner::request(), bytes, limits)?;
    let mut parsed = httparse::Request::new(&mut slots);
    parsed.parse(head).map_err(fault_of)?;
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
        return Err(HeadFault::HeadIncomplete);
    };
    let headers = own_headers(parsed.headers);
    Ok(RequestHead { method, target, headers })
}

/// Takes a whole head apart. What follows the head's end is not looked at.
pub(super) fn split_response<'h>(
    bytes: &'h [u8],
    limits: &HeadLimits,
) -> Result<ResponseHead<'h>, HeadFault> {
    let (head, mut slots) = scan_whole(HeadScanner::response(), bytes, limits)?;
    let mut parsed = httparse::Response::new(&mut slots);
    parsed.parse(head).map_err(fault_of)?;
    let Some(status) = parsed.code else { return Err(HeadFault::HeadIncomplete) };
    let headers = own_headers(parsed.headers);
    Ok(ResponseHead { status, headers })
}

/// Where a head is scanned for its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Request,
    Response,
}

/// The part of the head that the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    StartLine,
    HeaderName,
    HeaderValue,
}

/// The head at the front of `bytes`, and a slot for each of its headers.
fn scan_whole<'h>(
    mut scanner: HeadScanner,
    bytes: &'h [u8],
    limits: &HeadLimits,
) -> Result<(&'h [u8], Vec<httparse::Header<'h>>), HeadFault> {
    let head_bytes = scanner.scan(bytes, limits)?.ok_or(HeadFault::HeadIncomplete)?;
    let head = bytes.get(..head_bytes).ok_or(HeadFault::HeadIncomplete)?;
    Ok((head, vec![httparse::EMPTY_HEADER; scanner.headers]))
}

fn own_headers<'h>(parsed: &[httparse::Header<'h>]) -> Headers<'h> {
    Headers::new(parsed.iter().map(|header| Header { name: header.name, value: header.value }).collect())
}

/// RFC 9112 §3: `method SP request-target SP HTTP-version`. The parts themselves are looked at once the head is whole.
fn check_request_line(line: &[u8]) -> Result<(), HeadFault> {
    let mut parts = line.split(|byte| *byte == b' ');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        // An HTTP/0.9 client sends this line and waits: to wait for the rest of the head would be to hang.
        (Some([_, ..]), Some([_, ..]), None, None) => Err(HeadFault::HttpVersionAncient),
        (Some([_, ..]), Some([_, ..]), Some(version), None) => check_http_version(version),
        _ => Err(HeadFault::StartLineMalformed),
    }
}

/// RFC 9112 §4: `HTTP-version SP status-code SP [ reason-phrase ]`.
fn check_status_line(line: &[u8]) -> Result<(), HeadFault> {
    check_http_version(line.split(|byte| *byte == b' ').next().unwrap_or_default())
}

fn check_http_version(version: &[u8]) -> Result<(), HeadFault> {
    match version {
        b"HTTP/1.1" => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', b'0', b'.', b'0'..=b'9'] => Err(HeadFault::HttpVersionAncient),
        [b'H', b'T', b'T', b'P', b'/', b'1'..=b'9', b'.', b'0'..=b'9'] => {
            Err(HeadFault::HttpVersionUnsupported)
        }
        _ => Err(HeadFault::StartLineMalformed),
    }
}

/// What httparse finds beyond the scanner: a method or a target of bytes that they may not have, a status of letters.
fn fault_of(error: httparse::Error) -> HeadFault {
    match error {
        httparse::Error::HeaderName => HeadFault::HeaderNameMalformed,
        httparse::Error::HeaderValue => HeadFault::ControlCharacter,
        httparse::Error::NewLine => HeadFault::CarriageReturnBare,
        // The scanner has judged the version: what httparse misses there is one of the other parts.
        httparse::Error::Status | httparse::Error::Token | httparse::Error::Version => {
            HeadFault::StartLineMalformed
        }
        httparse::Error::TooManyHeaders => HeadFault::HeadersTooMany,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        request_line_bytes_max: 20,
        head_bytes_max: 60,
        headers_max: 2,
        list_bytes_max: 1024,
        list_entries_max: 16,
        uncounted_protocol_prefix: None,
    };

    /// The verdict, and the number of bytes that it took.
    fn verdict(bytes: &[u8]) -> (Result<Option<usize>, HeadFault>, usize) {
        let mut scanner = HeadScanner::request();
        let mut verdict = Ok(None);
        for length in 1..=bytes.len() {
            verdict = scanner.scan(&bytes[..length], &LIMITS);
            if verdict != Ok(None) {
                return (verdict, length);
            }
        }
        (verdict, bytes.len())
    }

    #[test]
    fn a_head_ends_at_its_empty_line() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut with_more = head.to_vec();
        with_more.extend_from_slice(b"\x81\x80\0\0\0\0");
        assert_eq!(verdict(head), (Ok(Some(head.len())), head.len()));
        assert_eq!(verdict(&with_more), (Ok(Some(head.len())), head.len()));
        assert_eq!(HeadScanner::request().scan(&with_more, &LIMITS), Ok(Some(head.len())));
    }

    #[test]
    fn a_verdict_stays() {
        let mut scanner = HeadScanner::request();
        assert_eq!(scanner.scan(b"\n", &LIMITS), Err(HeadFault::LineFeedBare));
        assert_eq!(scanner.scan(b"\nGET / HTTP/1.1\r\n\r\n", &LIMITS), Err(HeadFault::LineFeedBare));
        let mut scanner = HeadScanner::request();
        assert_eq!(scanner.scan(b"GET / HTTP/1.1\r\n\r\n", &LIMITS), Ok(Some(18)));
        assert_eq!(scanner.scan(b"", &LIMITS), Ok(Some(18)));
    }

    #[test]
    fn h17_each_fault_is_found_at_the_byte_that_proves_it() {
        for (bytes, fault, at) in [
            (b"\r\nGET / HTTP/1.1\r\n\r\n".as_slice(), HeadFault::EmptyLineFirst, 1),
            (b"\n", HeadFault::LineFeedBare, 1),
            (b"\x16\x03\x01", HeadFault::ControlCharacter, 1),
            (b"GET / HTTP/1.1\nHost: a\r\n\r\n", HeadFault::LineFeedBare, 15),
            (b"GET / HTTP/1.1\rHost: a\r\n\r\n", HeadFault::CarriageReturnBare, 16),
            (b"GET / HTTP/1.1\r\r\n", HeadFault::CarriageReturnBare, 16),
            (b"GET\t/ HTTP/1.1\r\n", HeadFault::ControlCharacter, 4),
            (b"GET / HTTP/1.1\r\n Host: a\r\n", HeadFault::LineFolded, 17),
            (b"GET / HTTP/1.1\r\nA: b\r\n\tc\r\n", HeadFault::LineFolded, 23),
            (b"GET / HTTP/1.1\r\n: a\r\n", HeadFault::HeaderNameMalformed, 17),
            (b"GET / HTTP/1.1\r\nA : b\r\n", HeadFault::HeaderNameMalformed, 18),
            (b"GET / HTTP/1.1\r\nA\t: b\r\n", HeadFault::HeaderNameMalformed, 18),
            (b"GET / HTTP/1.1\r\n\xc3\xa4: b\r\n", HeadFault::HeaderNameMalformed, 17),
            (b"GET / HTTP/1.1\r\nA\r\n", HeadFault::HeaderNameMalformed, 18),
            (b"GET / HTTP/1.1\r\nA: \0\r\n", HeadFault::ControlCharacter, 20),
            (b"GET / HTTP/1.1\r\nA: \x7f\r\n", HeadFault::ControlCharacter, 20),
            (b"GET / HTTP/1.1\r\nA: b\r\n\n", HeadFault::LineFeedBare, 23),
        ] {
            assert_eq!(verdict(bytes), (Err(fault), at), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn h16_other_versions_are_refused_at_the_end_of_the_first_line() {
        for (line, fault) in [
            ("GET /", HeadFault::HttpVersionAncient),
            ("GET / HTTP/0.9", HeadFault::HttpVersionAncient),
            ("GET / HTTP/1.0", HeadFault::HttpVersionUnsupported),
            ("GET / HTTP/1.2", HeadFault::HttpVersionUnsupported),
            ("PRI * HTTP/2.0", HeadFault::HttpVersionUnsupported),
            ("GET / http/1.1", HeadFault::StartLineMalformed),
            ("GET / HTTP/1.10", HeadFault::StartLineMalformed),
            ("GET / HTTP/1.1 ", HeadFault::StartLineMalformed),
            ("GET  / HTTP/1.1", HeadFault::StartLineMalformed),
            (" GET / HTTP/1.1", HeadFault::StartLineMalformed),
            ("GET", HeadFault::StartLineMalformed),
            ("GET /a b HTTP/1.1", HeadFault::StartLineMalformed),
        ] {
            let bytes = format!("{line}\r\n");
            assert_eq!(verdict(bytes.as_bytes()), (Err(fault), bytes.len()), "{line}");
        }
    }

    #[test]
    fn h10_limits_hold_exactly() {
        // 20 bytes of request line, 60 of head, 2 headers.
        let line_full = b"GET /890123 HTTP/1.1\r\n\r\n";
        assert_eq!(verdict(line_full).0, Ok(Some(24)));
        let line_over = b"GET /8901234 HTTP/1.1\r\n\r\n";
        assert_eq!(verdict(line_over), (Err(HeadFault::StartLineTooLong), 21));

        let head_full = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(37));
        assert_eq!(verdict(head_full.as_bytes()), (Ok(Some(60)), 60));
        let head_over = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(38));
        assert_eq!(verdict(head_over.as_bytes()), (Err(HeadFault::HeadTooLarge), 61));

        let headers_full = b"GET / HTTP/1.1\r\nA:\r\nA:\r\n\r\n";
        assert_eq!(verdict(headers_full), (Ok(Some(26)), 26));
        let headers_over = b"GET / HTTP/1.1\r\nA:\r\nA:\r\nA:\r\n\r\n";
        assert_eq!(verdict(headers_over), (Err(HeadFault::HeadersTooMany), 25));
    }

    #[test]
    fn h10_a_head_that_drips_costs_one_step_a_byte() {
        let limits = HeadLimits::default();
        let mut bytes = b"GET / HTTP/1.1\r\n".to_vec();
        for _ in 0..60 {
            bytes.extend_from_slice(format!("A: {}\r\n", "b".repeat(200)).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        let mut scanner = HeadScanner::request();
        for length in 0..bytes.len() {
            assert_eq!(scanner.scan(&bytes[..length], &limits), Ok(None));
        }
        assert_eq!(scanner.scan(&bytes, &limits), Ok(Some(bytes.len())));
        assert_eq!(scanner.steps, bytes.len());

        // A flood is left alone once it is refused.
        let mut scanner = HeadScanner::request();
        let flood = [b"GET / HTTP/1.1\r\n".as_slice(), &b"A: b\r\n".repeat(2_000)].concat();
        assert_eq!(scanner.scan(&flood, &limits), Err(HeadFault::HeadersTooMany));
        assert_eq!(scanner.steps, 16 + 64 * 6 + 1);
    }

    #[test]
    fn a_response_is_scanned_by_the_same_rules() {
        for (bytes, verdict) in [
            (b"HTTP/1.1 101 Switching Protocols\r\n\r\n".as_slice(), Ok(Some(36))),
            (b"HTTP/1.1 101\r\n\r\n", Ok(Some(16))),
            (b"HTTP/1.0 101 Switching Protocols\r\n\r\n", Err(HeadFault::HttpVersionUnsupported)),
            (b"HTTP/1.1\t101\r\n\r\n", Err(HeadFault::ControlCharacter)),
            (b"GET / HTTP/1.1\r\n\r\n", Err(HeadFault::StartLineMalformed)),
        ] {
            let limits = HeadLimits::default();
            assert_eq!(HeadScanner::response().scan(bytes, &limits), verdict, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_status_that_is_no_number_is_refused() {
        let limits = HeadLimits::default();
        for line in ["HTTP/1.1 1o1 x", "HTTP/1.1 1011 x", "HTTP/1.1 ", "HTTP/1.1  101 x", "HTTP/1.1"] {
            let head = format!("{line}\r\n\r\n");
            let fault = split_response(head.as_bytes(), &limits).err();
            assert_eq!(fault, Some(HeadFault::StartLineMalformed), "{line}");
        }
    }

    #[test]
    fn a_head_that_is_not_whole_is_not_taken_apart() {
        let fault = split_request(b"GET / HTTP/1.1\r\nHost: a\r\n", &HeadLimits::default()).err();
        assert_eq!(fault, Some(HeadFault::HeadIncomplete));
    }
}
