//! Close codes and Close frames (RFC 6455 §5.5.1, §7.4).
//!
//! A code that may travel is a [`CloseCode`]; a code that only ever describes an end locally is a [`LocalCode`].
//! The two are different types, so that 1005, 1006 and 1015 cannot be sent by mistake. Nothing here reads or writes
//! frames: [`crate::receive`] parses a Close frame into a [`CloseFrame`], [`crate::send`] writes one.

use core::fmt;

use crate::utf8::Utf8;
use crate::violation::Violation;

/// A close code that may appear in a Close frame: 1000-1003, 1007-1014, 3000-4999.
///
/// Sources: RFC 6455 §7.4.1 and §7.4.2, and the IANA registry for 1012, 1013 and 1014.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection has been fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: an endpoint is going away.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: a protocol error.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that cannot be accepted.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1007: data that is not consistent with its kind, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a message that violates the endpoint's policy.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message too big to process.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: the client expected an extension that was not negotiated.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: the server met an unexpected condition.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service restarts (IANA).
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: try again later (IANA).
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: the server, as a gateway, got an invalid response from upstream (IANA).
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 3000: unauthorized (IANA).
    pub const UNAUTHORIZED: Self = Self(3000);
    /// 3003: forbidden (IANA).
    pub const FORBIDDEN: Self = Self(3003);
    /// 3008: timeout (IANA).
    pub const TIMEOUT: Self = Self(3008);

    /// The code `value`, if it may appear in a Close frame.
    #[must_use]
    pub const fn new(value: u16) -> Option<Self> {
        match value {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(value)),
            _ => None,
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A close code that describes an end locally and never travels (RFC 6455 §7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LocalCode {
    /// 1005: the peer's Close frame carried no code.
    NoStatus,
    /// 1006: the connection ended without a Close frame.
    Abnormal,
    /// 1015: the TLS handshake failed.
    TlsFailed,
}

impl LocalCode {
    /// The number, for logs only.
    #[must_use]
    pub const fn get(self) -> u16 {
        match self {
            Self::NoStatus => 1005,
            Self::Abnormal => 1006,
            Self::TlsFailed => 1015,
        }
    }
}

/// The body of a Close frame: a code, and a reason of at most [`REASON_BYTES_MAX`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// Why the sender closes.
    pub code: CloseCode,
    /// For people; may be empty.
    pub reason: &'a str,
}

/// The most bytes that a close reason may have: a control payload less the code (RFC 6455 §5.5).
pub const REASON_BYTES_MAX: usize = 123;

impl<'a> CloseFrame<'a> {
    /// Parses a complete, unmasked Close payload; `None` is a Close without a code.
    ///
    /// # Errors
    /// A body of one byte, a code that may not be sent, or a reason that is not UTF-8.
    pub fn parse(payload: &'a [u8]) -> Result<Option<Self>, Violation> {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            // RFC 6455 §5.5.1: if there is a body, its first two bytes are the code.
            return if payload.is_empty() { Ok(None) } else { Err(Violation::CloseBodyOneByte) };
        };
        let code = CloseCode::new(u16::from_be_bytes(*code)).ok_or(Violation::CloseCodeInvalid)?;
        let reason = simdutf8::basic::from_utf8(reason).map_err(|_| Violation::CloseReasonNotUtf8)?;
        Ok(Some(Self { code, reason }))
    }

    /// Checks as much of an incomplete Close payload as has arrived, so that a wrong code or byte is found when it
    /// comes and not when the frame is whole; `bytes_lacking` are still to come.
    pub(crate) fn check_prefix(payload: &[u8], bytes_lacking: usize) -> Result<(), Violation> {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            // The high byte alone rules out most codes.
            let is_possible = payload.iter().all(|high| {
                (0..=u8::MAX).any(|low| CloseCode::new(u16::from_be_bytes([*high, low])).is_some())
            });
            return if is_possible { Ok(()) } else { Err(Violation::CloseCodeInvalid) };
        };
        CloseCode::new(u16::from_be_bytes(*code)).ok_or(Violation::CloseCodeInvalid)?;
        let mut utf8 = Utf8::default();
        let is_valid = utf8.accept(reason) == reason.len();
        // A character that the rest of the reason cannot finish is wrong as well.
        if is_valid && usize::from(utf8.lacking()) <= bytes_lacking {
            Ok(())
        } else {
            Err(Violation::CloseReasonNotUtf8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_be_sent_are_exactly_those_of_section_7_4() {
        let sendable = (0..=u16::MAX).filter(|code| CloseCode::new(*code).is_some());
        let expected = (1000..=1003).chain(1007..=1014).chain(3000..=4999);
        assert!(sendable.eq(expected));
    }

    #[test]
    fn local_codes_are_never_sendable() {
        for local in [LocalCode::NoStatus, LocalCode::Abnormal, LocalCode::TlsFailed] {
            assert_eq!(CloseCode::new(local.get()), None);
        }
    }

    #[test]
    fn close_payloads_parse_as_section_5_5_1_says() {
        assert_eq!(CloseFrame::parse(b""), Ok(None));
        assert_eq!(CloseFrame::parse(b"\x03"), Err(Violation::CloseBodyOneByte));
        let frame = CloseFrame { code: CloseCode::NORMAL, reason: "bye" };
        assert_eq!(CloseFrame::parse(b"\x03\xe8bye"), Ok(Some(frame)));
        assert_eq!(CloseFrame::parse(b"\x03\xed"), Err(Violation::CloseCodeInvalid));
        assert_eq!(CloseFrame::parse(b"\x03\xe8\xff"), Err(Violation::CloseReasonNotUtf8));
        assert_eq!(CloseFrame::parse(b"\x03\xe8\xc3"), Err(Violation::CloseReasonNotUtf8));
    }

    #[test]
    fn a_close_prefix_fails_at_the_byte_that_proves_it_wrong() {
        for (prefix, bytes_lacking, expected) in [
            (&b""[..], 2, Ok(())),
            (b"\x03", 1, Ok(())),
            (b"\x04", 1, Err(Violation::CloseCodeInvalid)),
            (b"\x03\xed", 5, Err(Violation::CloseCodeInvalid)),
            (b"\x03\xe8\xc3", 1, Ok(())),
            (b"\x03\xe8\xe2", 1, Err(Violation::CloseReasonNotUtf8)),
            (b"\x03\xe8\xc3\x28", 1, Err(Violation::CloseReasonNotUtf8)),
        ] {
            assert_eq!(CloseFrame::check_prefix(prefix, bytes_lacking), expected, "{prefix:x?}");
        }
    }
}
