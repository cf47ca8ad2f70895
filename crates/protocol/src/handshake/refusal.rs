//! Every reason for which the head of an upgrade request is refused, one variant a rule.
//!
//! A refusal carries no byte of the peer's. The gateway maps each to its row of the reason table; what a client hears
//! comes from there, and the headers that the answer must have from [`Refusal::answer_headers`].

use core::fmt;

use super::VERSION;
use super::head::HeadFault;
use super::header::{Field, FieldFault};

/// Why a request is not a handshake that can be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The head is not sound HTTP/1.1, or too big.
    Head(HeadFault),
    /// A header is duplicated, not text, or not the list that it should be.
    Field(FieldFault),
    /// A method other than GET.
    MethodNotGet,
    /// A target that is neither in origin form nor in absolute form.
    TargetFormUnsupported,
    /// A target in absolute form for another host than `Host` says.
    TargetNotHost,
    /// A path with a byte that may not stand in one, a semicolon, or a fragment.
    PathCharacter,
    /// A path with an escape that is broken, or that hides a slash, backslash, semicolon, control or bad UTF-8.
    PathEscape,
    /// A path with `//`, a dot segment, or an escape where none is needed.
    PathNotNormal,
    /// A query with a byte that may not stand in one, a broken escape, or a fragment.
    QueryMalformed,
    /// A `Content-Length`, even of 0, or a `Transfer-Encoding`.
    BodyDeclared,
    /// No `Host`.
    HostMissing,
    /// A `Host` that is not a host and perhaps a port.
    HostMalformed,
    /// No `Upgrade`: a plain request.
    UpgradeMissing,
    /// An `Upgrade` to something else.
    UpgradeNotWebSocket,
    /// A `Connection` that does not list `upgrade`, or none.
    ConnectionNotUpgrade,
    /// No `Sec-WebSocket-Version`.
    VersionMissing,
    /// A `Sec-WebSocket-Version` other than 13.
    VersionUnsupported,
    /// No `Sec-WebSocket-Key`.
    KeyMissing,
    /// A `Sec-WebSocket-Key` that is not 16 bytes in base64.
    KeyMalformed,
    /// An `Origin` that is empty or has space in it.
    OriginMalformed,
    /// A subprotocol that is offered twice.
    ProtocolDuplicated,
}

impl Refusal {
    /// The HTTP status that answers the request.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Head(fault) => fault.status(),
            Self::MethodNotGet => 405,
            // RFC 9110 §15.5.22: what is no handshake is told what would be. RFC 6455 §4.4: a version that we do not speak
            // is answered with the one that we do; who names none is helped by the same answer.
            Self::UpgradeMissing
            | Self::UpgradeNotWebSocket
            | Self::ConnectionNotUpgrade
            | Self::VersionMissing
            | Self::VersionUnsupported => 426,
            Self::Field(_)
            | Self::TargetFormUnsupported
            | Self::TargetNotHost
            | Self::PathCharacter
            | Self::PathEscape
            | Self::PathNotNormal
            | Self::QueryMalformed
            | Self::BodyDeclared
            | Self::HostMissing
            | Self::HostMalformed
            | Self::KeyMissing
            | Self::KeyMalformed
            | Self::OriginMalformed
            | Self::ProtocolDuplicated => 400,
        }
    }

    /// The headers that the answer must have because of its status. A `Connection: close` may stand beside them: the
    /// lines of `Connection` are one list.
    #[must_use]
    pub const fn answer_headers(self) -> &'static [(&'static str, &'static str)] {
        match self.status() {
            // RFC 9110 §15.5.6.
            405 => &ALLOW_HEADERS,
            // RFC 9110 §15.5.22 and §7.8, RFC 6455 §4.4.
            426 => &UPGRADE_HEADERS,
            _ => &[],
        }
    }

    /// Where the rule is written.
    #[must_use]
    pub const fn source(self) -> &'static str {
        match self {
            Self::Head(fault) => fault.source(),
            Self::Field(fault) => fault.source(),
            Self::TargetFormUnsupported | Self::TargetNotHost => "RFC 9112 §3.2",
            Self::PathCharacter | Self::PathEscape => "RFC 3986 §3.3",
            Self::PathNotNormal => "RFC 3986 §6.2.2",
            Self::QueryMalformed => "RFC 3986 §3.4",
            Self::BodyDeclared => "RFC 9112 §6.3",
            Self::HostMissing | Self::HostMalformed => "RFC 9112 §3.2",
            Self::MethodNotGet
            | Self::UpgradeMissing
            | Self::UpgradeNotWebSocket
            | Self::ConnectionNotUpgrade
            | Self::VersionMissing
            | Self::KeyMissing => "RFC 6455 §4.2.1",
            Self::VersionUnsupported => "RFC 6455 §4.4",
            Self::KeyMalformed => "RFC 6455 §11.3.1",
            Self::OriginMalformed => "RFC 6454 §7.1",
            Self::ProtocolDuplicated => "RFC 6455 §4.1",
        }
    }
}

impl From<HeadFault> for Refusal {
    fn from(fault: HeadFault) -> Self {
        Self::Head(fault)
    }
}

impl From<FieldFault> for Refusal {
    fn from(fault: FieldFault) -> Self {
        Self::Field(fault)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head(fault) => return fault.fmt(f),
            Self::Field(fault) => return fault.fmt(f),
            Self::MethodNotGet => "the method is not GET",
            Self::TargetFormUnsupported => "the target is neither a path nor an absolute address",
            Self::TargetNotHost => "the target names another host than Host",
            Self::PathCharacter => "the path has a character that may not stand in it",
            Self::PathEscape => "the path has an escape that may not stand in it",
            Self::PathNotNormal => "the path is not in its normal form",
            Self::QueryMalformed => "the query has a character or an escape that may not stand in it",
            Self::BodyDeclared => "the request declares a body",
            Self::HostMissing => "Host is missing",
            Self::HostMalformed => "Host is not a host",
            Self::UpgradeMissing => "the request does not ask for an upgrade",
            Self::UpgradeNotWebSocket => "the request asks for an upgrade to something else",
            Self::ConnectionNotUpgrade => "Connection does not list upgrade",
            Self::VersionMissing => "Sec-WebSocket-Version is missing",
            Self::VersionUnsupported => "Sec-WebSocket-Version is not 13",
            Self::KeyMissing => "Sec-WebSocket-Key is missing",
            Self::KeyMalformed => "Sec-WebSocket-Key is not 16 bytes in base64",
            Self::OriginMalformed => "Origin is not an origin",
            Self::ProtocolDuplicated => "a subprotocol is offered twice",
        })
    }
}

impl core::error::Error for Refusal {}

const ALLOW_HEADERS: [(&str, &str); 1] = [("Allow", "GET")];

const UPGRADE_HEADERS: [(&str, &str); 3] = [
    (Field::Upgrade.name(), "websocket"),
    (Field::Connection.name(), "Upgrade"),
    (Field::Version.name(), VERSION),
];
