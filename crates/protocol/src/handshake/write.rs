//! Header lines that we send: checked before the first byte of a head is written, so that no value of ours can become
//! a line of its own (RFC 9110 §5.5).

use core::fmt;

use super::header::{Field, Header};
use super::scanner::plain_blocks;

/// Why a head was not written. These are mistakes of the caller's; nothing that a peer sent leads here unless the caller
/// passes it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteError {
    /// The host is not a host and perhaps a port.
    HostMalformed,
    /// The target is not a sound path and query.
    TargetMalformed,
    /// The origin is empty, or has bytes other than visible ASCII.
    OriginMalformed,
    /// A subprotocol is not a token.
    ProtocolMalformed,
    /// A subprotocol is offered twice.
    ProtocolDuplicated,
    /// The subprotocol is none that the client offers.
    ProtocolNotOffered,
    /// The extensions are not a list of extensions.
    ExtensionsMalformed,
    /// An extension is none that the client offers.
    ExtensionNotOffered,
    /// A header name has bytes other than letters, digits and hyphens, or none.
    HeaderNameMalformed,
    /// A header value has control characters, or space at an end.
    HeaderValueMalformed,
    /// A header belongs to the handshake or describes a body.
    HeaderReserved,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HostMalformed => "the host is not a host",
            Self::TargetMalformed => "the target is not a path and query",
            Self::OriginMalformed => "the origin is not an origin",
            Self::ProtocolMalformed => "a subprotocol is not a token",
            Self::ProtocolDuplicated => "a subprotocol is offered twice",
            Self::ProtocolNotOffered => "the subprotocol was not offered",
            Self::ExtensionsMalformed => "the extensions are not a list of extensions",
            Self::ExtensionNotOffered => "an extension was not offered",
            Self::HeaderNameMalformed => "a header name is malformed",
            Self::HeaderValueMalformed => "a header value is malformed",
            Self::HeaderReserved => "a header belongs to the handshake",
        })
    }
}

impl core::error::Error for WriteError {}

/// Checks the headers that a caller adds to a head.
pub(super) fn check_added(headers: &[Header<'_>]) -> Result<(), WriteError> {
    headers.iter().try_for_each(|header| {
        if header.name.is_empty() || !header.is_plain() {
            return Err(WriteError::HeaderNameMalformed);
        }
        if is_reserved(header) {
            return Err(WriteError::HeaderReserved);
        }
        if is_value(header.value) { Ok(()) } else { Err(WriteError::HeaderValueMalformed) }
    })
}

/// Writes one header line. The caller has checked it.
pub(super) fn push_header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

fn is_reserved(header: &Header<'_>) -> bool {
    let is_of_the_handshake = header
        .name
        .get(..RESERVED_PREFIX.len())
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case(RESERVED_PREFIX));
    is_of_the_handshake || RESERVED_NAMES.iter().any(|name| header.is(name))
}

/// RFC 9110 §5.5: `field-value`, which neither begins nor ends with space.
fn is_value(value: &[u8]) -> bool {
    let is_sound = |byte: &u8| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..);
    let rest = value.get(plain_blocks(value)..).unwrap_or_default();
    rest.iter().all(is_sound) && value.trim_ascii().len() == value.len()
}

/// RFC 6455 §11.3: the names that the protocol keeps for itself.
const RESERVED_PREFIX: &str = "Sec-WebSocket-";

const RESERVED_NAMES: [&str; 6] = [
    Field::Host.name(),
    Field::Origin.name(),
    Field::Upgrade.name(),
    Field::Connection.name(),
    "Content-Length",
    "Transfer-Encoding",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h20_no_value_becomes_a_line() {
        let check = |name, value| check_added(&[Header { name, value }]);
        assert_eq!(check("X-Name", b"J\xc3\xbcrgen\tB"), Ok(()));
        assert_eq!(check("X-Name", b""), Ok(()));
        for value in [b"a\r\nB: c".as_slice(), b"a\nb", b"a\rb", b"a\0", b"\x7f", b" a", b"a ", b"\ta"] {
            assert_eq!(
                check("X-Name", value),
                Err(WriteError::HeaderValueMalformed),
                "{}",
                value.escape_ascii()
            );
        }
        for name in ["", "a b", "a:", "a\r\nb", "X_Name", "\u{e4}"] {
            assert_eq!(check(name, b"a"), Err(WriteError::HeaderNameMalformed), "{name}");
        }
        for name in [
            "host",
            "SEC-WEBSOCKET-Foo",
            "sec-websocket-",
            "connection",
            "upgrade",
            "content-length",
            "origin",
        ] {
            assert_eq!(check(name, b"a"), Err(WriteError::HeaderReserved), "{name}");
        }
    }
}
