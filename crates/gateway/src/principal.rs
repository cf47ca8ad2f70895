//! The plain types that stages hand on: who a connection comes from, who speaks on it, and by which certificate.
//!
//! Nothing here decides, waits or reads time; floor 1.

mod claims;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::Arc;

pub use self::claims::Claims;
use crate::clock::UnixTime;
use crate::hex;

/// The address that a socket names as its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// The address of the client itself: the peer's, unless a trusted proxy names another.
///
/// An IPv4 address that came mapped into IPv6 is kept as IPv4, so that one client has one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddr(IpAddr);

impl ClientAddr {
    /// The client at `ip`, in its canonical form.
    #[must_use]
    pub fn new(ip: IpAddr) -> Self {
        Self(ip.to_canonical())
    }

    /// The address.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0
    }

    /// What limits and bans count by: an IPv4 address, or an IPv6 /64, which is one subscriber.
    #[must_use]
    pub fn key(self) -> ClientKey {
        match self.0 {
            IpAddr::V4(ip) => ClientKey(IpAddr::V4(ip)),
            IpAddr::V6(ip) => {
                ClientKey(IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))))
            }
        }
    }
}

impl From<PeerAddr> for ClientAddr {
    fn from(peer: PeerAddr) -> Self {
        Self::new(peer.0.ip())
    }
}

impl fmt::Display for ClientAddr {
    // Each record has one, and the standard library takes a thousand instructions for four numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IpAddr::V4(ip) = self.0 else { return self.0.fmt(f) };
        let (mut text, mut bytes) = ([0; IPV4_TEXT_BYTES_MAX], 0);
        let mut put = |byte| {
            text[bytes] = byte;
            bytes += 1;
        };
        for (place, octet) in ip.octets().into_iter().enumerate() {
            if place > 0 {
                put(b'.');
            }
            if octet >= 100 {
                put(b'0' + octet / 100);
            }
            if octet >= 10 {
                put(b'0' + octet / 10 % 10);
            }
            put(b'0' + octet % 10);
        }
        f.pad(str::from_utf8(&text[..bytes]).unwrap_or_default())
    }
}

/// The key that a client is counted by; made only by [`ClientAddr::key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey(IpAddr);

impl ClientKey {
    /// The IPv6 /48 that the client is in; none for IPv4.
    pub(crate) fn site(self) -> Option<SiteKey> {
        match self.0 {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some(SiteKey(ip.to_bits() >> (128 - SITE_PREFIX_BITS))),
        }
    }

    /// The key in 64 bits: the prefix of an IPv6 /64, and an IPv4 address behind 32 bits that begin no IPv6 address which
    /// anybody has (RFC 4291 §2.4 reserves all that begin with eight zeros).
    pub(crate) fn to_bits(self) -> u64 {
        match self.0 {
            IpAddr::V4(ip) => (IPV4_MARK << 32) | u64::from(ip.to_bits()),
            IpAddr::V6(ip) => u64::try_from(ip.to_bits() >> 64).expect("half of 128 bits"),
        }
    }

    /// The first address of the client whose key [`ClientKey::to_bits`] gave.
    pub(crate) fn address_of_bits(bits: u64) -> IpAddr {
        match (bits >> 32, u32::try_from(bits & u64::from(u32::MAX))) {
            (IPV4_MARK, Ok(bits)) => IpAddr::V4(Ipv4Addr::from_bits(bits)),
            (_, _) => IpAddr::V6(Ipv6Addr::from_bits(u128::from(bits) << 64)),
        }
    }
}

/// An IPv6 /48: what many providers give one subscriber, who has 65,536 networks of clients in it (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SiteKey(u128);

const SITE_PREFIX_BITS: u32 = 48;

/// What stands before an IPv4 address in a key's bits.
const IPV4_MARK: u64 = 0xffff;

const IPV4_TEXT_BYTES_MAX: usize = "255.255.255.255".len();

impl Default for ClientKey {
    /// The unspecified address, which no client has.
    fn default() -> Self {
        Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}

/// Names one connection in logs: 64 random bits. Never a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// The connection named by `bits`.
    #[must_use]
    pub const fn new(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0.to_be_bytes(), f)
    }
}

/// Who speaks: what a verified credential said. Shared by all that ask about the connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    /// The subject, never empty.
    pub subject: Arc<str>,
    /// The token's `jti`, where it has one.
    pub token_id: Option<Arc<str>>,
    /// When the credential was issued, where it says so.
    pub issued_at: Option<UnixTime>,
    /// When the credential ends; leeway is not included.
    pub expires_at: UnixTime,
    /// The public key that the credential was verified with, where that was one.
    pub key: Option<KeyPrint>,
    /// Every claim, as the token had them.
    pub claims: Claims,
}

/// Tells a public key from others: 64 bits of a hash of it. Whoever chooses the keys is trusted, so that no more are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPrint(NonZeroU64);

impl KeyPrint {
    /// The one with these bits; two of all values are one.
    #[must_use]
    pub const fn new(bits: [u8; 8]) -> Self {
        Self(NonZeroU64::MIN.saturating_add(u64::from_be_bytes(bits)))
    }
}

/// A client's certificate, which has been verified (RFC 5280).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The common name of its subject.
    pub subject: Option<String>,
    /// The `dNSName`s of its subjectAltName, at most 16, as all of these lists.
    pub dns_names: Vec<String>,
    /// The `rfc822Name`s of its subjectAltName.
    pub emails: Vec<String>,
    /// The `uniformResourceIdentifier`s of its subjectAltName, such as a SPIFFE ID.
    pub uris: Vec<String>,
    /// When it becomes valid.
    pub begins_at: UnixTime,
    /// When it ends.
    pub ends_at: UnixTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_reads_as_the_standard_library_writes_it() {
        for last in 0..=u8::MAX {
            for ip in [[last, 0, 9, 10], [99, last, 100, 255], [1, 2, last, last], [255, 249, 199, last]] {
                let ip = IpAddr::from(ip);
                assert_eq!(ClientAddr::new(ip).to_string(), ip.to_string());
            }
        }
    }

    #[test]
    fn a_connection_is_named_by_sixteen_digits() {
        assert_eq!(ConnectionId::new(0x0123_4567_89ab_cdef).to_string(), "0123456789abcdef");
        assert_eq!(ConnectionId::new(0).to_string(), "0000000000000000");
    }

    #[test]
    fn a_key_in_64_bits_is_still_that_of_its_client() {
        for (address, first) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("255.255.255.255", "255.255.255.255"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::1", "::"),
            ("ffff:ffff:ffff:ffff::", "ffff:ffff:ffff:ffff::"),
            ("64:ff9b::192.0.2.1", "64:ff9b::"),
        ] {
            let key = ClientAddr::new(address.parse().unwrap()).key();
            let first: IpAddr = first.parse().unwrap();
            assert_eq!(ClientKey::address_of_bits(key.to_bits()), first, "{address}");
        }
    }
}
