//! Every rule that a peer can break in frames and messages, one variant each, with its section and its close code.
//!
//! The handshake has refusals of its own ([`crate::handshake`]): before the `101` there is no close code.

use core::fmt;

use crate::close::CloseCode;

/// A rule that a peer broke. RFC 6455 is meant where no other source is named; [`Violation::rfc`] names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Violation {
    /// A reserved bit is set that no negotiated extension uses (§5.2).
    ReservedBits,
    /// An opcode that no one has defined (§5.2).
    OpcodeUnknown,
    /// A control frame without FIN (§5.5).
    ControlFragmented,
    /// A control frame that declares more than 125 bytes (§5.5).
    ControlTooLong,
    /// A frame from a client that is not masked (§5.1).
    NotMasked,
    /// A frame from a server that is masked (§5.1).
    Masked,
    /// A payload length written in more bytes than it needs (§5.2).
    LengthNotMinimal,
    /// A 64-bit payload length with its most significant bit set (§5.2).
    LengthTopBitSet,
    /// A continuation frame where no message is open (§5.4).
    ContinuationUnexpected,
    /// A new data frame inside an unfinished message (§5.4).
    MessageInterleaved,
    /// Text that is not UTF-8, or that ends inside a character (§8.1).
    TextNotUtf8,
    /// A Close frame with a body of one byte (§5.5.1).
    CloseBodyOneByte,
    /// A Close frame with a code that may not be sent (§7.4).
    CloseCodeInvalid,
    /// A Close frame whose reason is not UTF-8 (§5.5.1).
    CloseReasonNotUtf8,
    /// A message larger than the limit, found at the header that declares it (§10.4).
    MessageTooBig,
    /// A message in more frames than the limit; empty ones count (§10.4).
    FragmentsTooMany,
    /// A compressed message that is not valid deflate, or that ends inside a block (RFC 7692 §7.2.2).
    DeflateInvalid,
}

impl Violation {
    /// All of them, for tables and tests.
    pub const ALL: [Self; 17] = [
        Self::ReservedBits,
        Self::OpcodeUnknown,
        Self::ControlFragmented,
        Self::ControlTooLong,
        Self::NotMasked,
        Self::Masked,
        Self::LengthNotMinimal,
        Self::LengthTopBitSet,
        Self::ContinuationUnexpected,
        Self::MessageInterleaved,
        Self::TextNotUtf8,
        Self::CloseBodyOneByte,
        Self::CloseCodeInvalid,
        Self::CloseReasonNotUtf8,
        Self::MessageTooBig,
        Self::FragmentsTooMany,
        Self::DeflateInvalid,
    ];

    /// The code to close with (§7.4.1).
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::ReservedBits
            | Self::OpcodeUnknown
            | Self::ControlFragmented
            | Self::ControlTooLong
            | Self::NotMasked
            | Self::Masked
            | Self::LengthNotMinimal
            | Self::LengthTopBitSet
            | Self::ContinuationUnexpected
            | Self::MessageInterleaved
            | Self::CloseBodyOneByte
            | Self::CloseCodeInvalid => CloseCode::PROTOCOL_ERROR,
            Self::TextNotUtf8 | Self::CloseReasonNotUtf8 | Self::DeflateInvalid => CloseCode::INVALID_PAYLOAD,
            Self::MessageTooBig => CloseCode::MESSAGE_TOO_BIG,
            Self::FragmentsTooMany => CloseCode::POLICY_VIOLATION,
        }
    }

    /// The number of the RFC that states the rule.
    #[must_use]
    pub const fn rfc(self) -> u16 {
        match self {
            Self::DeflateInvalid => 7692,
            Self::ReservedBits
            | Self::OpcodeUnknown
            | Self::ControlFragmented
            | Self::ControlTooLong
            | Self::NotMasked
            | Self::Masked
            | Self::LengthNotMinimal
            | Self::LengthTopBitSet
            | Self::ContinuationUnexpected
            | Self::MessageInterleaved
            | Self::TextNotUtf8
            | Self::CloseBodyOneByte
            | Self::CloseCodeInvalid
            | Self::CloseReasonNotUtf8
            | Self::MessageTooBig
            | Self::FragmentsTooMany => 6455,
        }
    }

    /// The section of that RFC.
    #[must_use]
    pub const fn section(self) -> &'static str {
        match self {
            Self::NotMasked | Self::Masked => "5.1",
            Self::ReservedBits | Self::OpcodeUnknown | Self::LengthNotMinimal | Self::LengthTopBitSet => {
                "5.2"
            }
            Self::ContinuationUnexpected | Self::MessageInterleaved => "5.4",
            Self::ControlFragmented | Self::ControlTooLong => "5.5",
            Self::CloseBodyOneByte | Self::CloseReasonNotUtf8 => "5.5.1",
            Self::CloseCodeInvalid => "7.4",
            Self::TextNotUtf8 => "8.1",
            Self::DeflateInvalid => "7.2.2",
            Self::MessageTooBig | Self::FragmentsTooMany => "10.4",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReservedBits => "a reserved bit is set that no extension uses",
            Self::OpcodeUnknown => "the opcode is not defined",
            Self::ControlFragmented => "a control frame is fragmented",
            Self::ControlTooLong => "a control frame has more than 125 bytes",
            Self::NotMasked => "a frame from a client is not masked",
            Self::Masked => "a frame from a server is masked",
            Self::LengthNotMinimal => "a length is not written in its shortest form",
            Self::LengthTopBitSet => "a 64-bit length has its top bit set",
            Self::ContinuationUnexpected => "a continuation came where no message is open",
            Self::MessageInterleaved => "a message began inside an unfinished one",
            Self::TextNotUtf8 => "text is not UTF-8",
            Self::CloseBodyOneByte => "a close body has one byte",
            Self::CloseCodeInvalid => "a close code may not be sent",
            Self::CloseReasonNotUtf8 => "a close reason is not UTF-8",
            Self::MessageTooBig => "a message is larger than the limit",
            Self::FragmentsTooMany => "a message has more frames than the limit",
            Self::DeflateInvalid => "a compressed message is not valid deflate",
        })
    }
}

impl core::error::Error for Violation {}
