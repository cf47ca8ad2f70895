//! Where a head ends, and whether its lines are lines, while its bytes arrive (RFC 9112 §2-§5).
//!
//! A byte that decides something is judged by itself; those between that decide nothing are passed over in runs. None is looked
//! at again, whatever the pieces they come in, and the first byte that proves the head wrong ends it.
//! `head` takes it apart once it is whole, by the [`WholeHead`] that says so.

use super::head::{HeadFault, HeadLimits, WholeHead};
use super::header::is_token_byte;

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
            self.scanned_bytes += self.plain_bytes(bytes, limits);
            let Some(byte) = bytes.get(self.scanned_bytes) else { return Ok(None) };
            self.verdict = self.step(*byte, bytes, limits).transpose();
            // Cannot overflow: the index was inside a slice.
            self.scanned_bytes += 1;
        }
        self.verdict.transpose()
    }

    /// The head at the front of `bytes`, which are what was scanned: they are not looked at again. `None` unless its end has been
    /// found in them.
    #[must_use]
    pub fn whole<'h>(&self, bytes: &'h [u8]) -> Option<WholeHead<'h>> {
        let head = bytes.get(..self.verdict?.ok()?)?;
        Some(WholeHead::new(head, self.headers))
    }

    /// How many bytes follow that [`step`](Self::step) would let pass one by one, without a change of state.
    fn plain_bytes(&mut self, bytes: &[u8], limits: &HeadLimits) -> usize {
        let at_line_start = self.scanned_bytes == self.line_start;
        let (class, end) = match self.part {
            _ if self.after_return => return 0,
            Part::HeaderName if at_line_start => return 0,
            Part::StartLine => (TEXT, self.line_start.saturating_add(limits.request_line_bytes_max)),
            Part::HeaderName => (TOKEN, limits.head_bytes_max),
            Part::HeaderValue => (VALUE, limits.head_bytes_max),
        };
        let end = end.min(limits.head_bytes_max).min(bytes.len());
        let rest = bytes.get(self.scanned_bytes..end).unwrap_or_default();
        let (blocks, rest) = rest.split_at(if class == VALUE { plain_blocks(rest) } else { 0 });
        let is_plain = |byte: &&u8| CLASSES[usize::from(**byte)] & class != 0;
        let plain_bytes = blocks.len() + rest.iter().take_while(is_plain).count();
        #[cfg(test)]
        {
            self.steps += plain_bytes;
        }
        plain_bytes
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

/// What a byte may be a plain part of: a start line, a header's name, its value.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = u8::MAX;
    loop {
        let is_text = matches!(byte, 0x20..=0x7e | 0x80..=0xff);
        classes[byte as usize] = if is_text { TEXT | VALUE } else { 0 }
            | if byte == b'\t' { VALUE } else { 0 }
            | if is_token_byte(byte) { TOKEN } else { 0 };
        if byte == 0 {
            break classes;
        }
        byte -= 1;
    }
};

/// How many bytes the blocks have that `value` begins with and that hold plain parts of a value only. Tokens are most of a head
/// that has one: a block at a time is a tenth of the work.
pub(super) fn plain_blocks(value: &[u8]) -> usize {
    let (blocks, _) = value.as_chunks::<BLOCK_BYTES>();
    let is_plain = |block: &[u8; BLOCK_BYTES]| {
        // Without a branch, so that a compiler can take many bytes at once.
        block
            .iter()
            .fold(true, |plain, byte| plain & (((*byte >= b' ') & (*byte != 0x7f)) | (*byte == b'\t')))
    };
    blocks.iter().take_while(|block| is_plain(block)).count() * BLOCK_BYTES
}

const BLOCK_BYTES: usize = 16;
const TEXT: u8 = 1;
const TOKEN: u8 = 2;
const VALUE: u8 = 4;

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
    fn a_block_is_plain_if_all_its_bytes_are() {
        for byte in 0..=u8::MAX {
            let is_plain = CLASSES[usize::from(byte)] & VALUE != 0;
            for at in [0, BLOCK_BYTES - 1, BLOCK_BYTES] {
                let mut value = [b'a'; 2 * BLOCK_BYTES + 1];
                value[at] = byte;
                let blocks = if is_plain { 2 } else { at / BLOCK_BYTES };
                assert_eq!(plain_blocks(&value), blocks * BLOCK_BYTES, "{byte:#x} at {at}");
            }
        }
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
    fn a_byte_is_passed_over_only_where_judging_it_changes_nothing() {
        let limits = HeadLimits::default();
        for before in ["G", "GET / HTTP/1.1\r\nA", "GET / HTTP/1.1\r\nA:", "GET / HTTP/1.1\r\nA: b"] {
            for byte in 0..=u8::MAX {
                let bytes = [before.as_bytes(), &[byte]].concat();
                let mut scanner = HeadScanner::request();
                assert_eq!(scanner.scan(before.as_bytes(), &limits), Ok(None));
                let is_plain = scanner.plain_bytes(&bytes, &limits) == 1;
                let state = (scanner.part, scanner.after_return, scanner.headers);
                let judged = scanner.step(byte, &bytes, &limits);
                let is_same = (scanner.part, scanner.after_return, scanner.headers) == state;
                assert_eq!(is_plain, judged == Ok(None) && is_same, "{before:?} {byte:#x}");
            }
        }
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
}
