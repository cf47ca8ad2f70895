//! Networks, as configurations write them: an address and how many of its bits count (RFC 4632 §3.1, RFC 4291 §2.3).
//!
//! One spelling only. What other readers take for something else (octal numbers, missing parts, bits behind the prefix) is
//! refused by name, so that no list means another network than it says.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The addresses that begin alike, such as `10.0.0.0/8` or `2001:db8::/32`.
///
/// One of IPv4 that is written mapped into IPv6 is the same as the plain one; so are the addresses that it is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// Canonical, and without a bit behind the prefix.
    first: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Whether `address` is one of its own.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                (first.to_bits() ^ address.to_bits()) & mask_v4(self.prefix_bits) == 0
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                (first.to_bits() ^ address.to_bits()) & mask_v6(self.prefix_bits) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Whether it holds every address of its family.
    #[must_use]
    pub fn is_everybody(&self) -> bool {
        self.prefix_bits == 0
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = text.split_once('/').unwrap_or((text, ""));
        // The standard library's parser takes neither octal nor missing parts nor a zone.
        let address: IpAddr = address.parse().map_err(|_| NetworkError::NoAddress)?;
        if prefix.is_empty() {
            return Err(NetworkError::NoPrefix { address });
        }
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let is_number = (1..=3).contains(&prefix.len()) && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let is_plain = is_number && (prefix == "0" || !prefix.starts_with('0'));
        let bits = prefix.parse::<u8>().ok().filter(|bits| is_plain && *bits <= bits_max);
        let bits = bits.ok_or(NetworkError::PrefixInvalid { bits_max })?;
        let network = Self { first: first_of(address, bits), prefix_bits: bits };
        if network.first != address {
            return Err(NetworkError::HostBits { network });
        }
        network.canonical()
    }
}

impl Network {
    /// The same without the mapping of IPv4 into IPv6. A network that holds mapped addresses among others would trust, or not,
    /// what the parts of it alone do not say.
    fn canonical(self) -> Result<Self, NetworkError> {
        let IpAddr::V6(first) = self.first else { return Ok(self) };
        match (first.to_ipv4_mapped(), self.prefix_bits.checked_sub(MAPPED_PREFIX_BITS)) {
            (Some(first), Some(prefix_bits)) => Ok(Self { first: first.into(), prefix_bits }),
            _ if self.prefix_bits > 0 && self.contains_mapped() => Err(NetworkError::PartlyMapped),
            _ => Ok(self),
        }
    }

    fn contains_mapped(self) -> bool {
        let IpAddr::V6(first) = self.first else { return false };
        let mapped = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped();
        (first.to_bits() ^ mapped.to_bits()) & mask_v6(self.prefix_bits) == 0
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix_bits)
    }
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// What stands before the slash is no address in its full decimal or hexadecimal form.
    #[error("has no whole IP address, in decimal and without leading zeros")]
    NoAddress,
    /// It has no slash, or is nothing but an address and one.
    #[error("does not say how many bits count")]
    NoPrefix {
        /// The address alone.
        address: IpAddr,
    },
    /// What follows the slash is not a number of bits.
    #[error("has no number of bits from 0 to {bits_max} behind its slash")]
    PrefixInvalid {
        /// The bits that an address has.
        bits_max: u8,
    },
    /// The address has bits behind the prefix, so that it may be another network that was meant.
    #[error("has bits set behind its prefix")]
    HostBits {
        /// The network without them.
        network: Network,
    },
    /// The network has every IPv4 address mapped into IPv6, and others.
    #[error("has IPv4 addresses mapped into IPv6 among others")]
    PartlyMapped,
}

/// `address` without the bits behind the prefix.
fn first_of(address: IpAddr, prefix_bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & mask_v4(prefix_bits)).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & mask_v6(prefix_bits)).into(),
    }
}

fn mask_v4(prefix_bits: u8) -> u32 {
    u32::MAX.checked_shl(32_u32.saturating_sub(prefix_bits.into())).unwrap_or(0)
}

fn mask_v6(prefix_bits: u8) -> u128 {
    u128::MAX.checked_shl(128_u32.saturating_sub(prefix_bits.into())).unwrap_or(0)
}

/// RFC 4291 §2.5.5.2: `::ffff:0:0/96`.
const MAPPED_PREFIX_BITS: u8 = 96;

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn contains(text: &str, address: &str) -> bool {
        network(text).contains(address.parse().unwrap())
    }

    #[test]
    fn r24_networks_hold_the_addresses_that_begin_like_them() {
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.0"));
        assert!(contains("192.0.2.7/32", "192.0.2.7") && !contains("192.0.2.7/32", "192.0.2.6"));
        assert!(contains("0.0.0.0/0", "203.0.113.9") && !contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("::/0", "2001:db8::1") && !contains("::/0", "203.0.113.9"));
        assert!(
            contains("2001:db8::/33", "2001:db8:7fff::1") && !contains("2001:db8::/33", "2001:db8:8000::1")
        );
        assert!(contains("fe80::1/128", "fe80::1"));
    }

    #[test]
    fn r24_mapped_addresses_are_the_plain_ones_on_both_sides() {
        assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(contains("::ffff:10.0.0.0/104", "10.1.2.3"));
        assert_eq!(network("::ffff:10.0.0.0/104"), network("10.0.0.0/8"));
        assert_eq!(
            "::ffff:0:0/95".parse::<Network>(),
            Err(NetworkError::HostBits {
                network: Network { first: "::fffe:0:0".parse().unwrap(), prefix_bits: 95 }
            })
        );
        assert_eq!("::/16".parse::<Network>(), Err(NetworkError::PartlyMapped));
        assert_eq!("::fffe:0:0/95".parse::<Network>(), Err(NetworkError::PartlyMapped));
    }

    #[test]
    fn r24_whatever_has_two_readings_is_no_network() {
        for text in [
            "",
            "/",
            "/8",
            "10/8",
            "10.0/8",
            "10.0.0/24",
            "010.0.0.0/8",
            "10.0.0.00/8",
            "0x0a.0.0.0/8",
            "10.0.0.0.0/8",
            "167772160/8",
            " 10.0.0.0/8",
            "10.0.0.0 /8",
            "10.0.0.*/24",
            "10.0.0.0-10.0.0.9",
            "localhost/8",
            "fe80::1%eth0/64",
            "[::1]/128",
            "1::2::3/64",
            "10.0.0.0:80/8",
            "::ffff:010.0.0.0/104",
            "２.0.0.0/8",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::NoAddress), "{text}");
        }
        for text in [
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/-8",
            "10.0.0.0/8 ",
            "10.0.0.0/8/8",
            "10.0.0.0/255.0.0.0",
            "10.0.0.0/0008",
            "10.0.0.0/264",
            "10.0.0.0/٨",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::PrefixInvalid { bits_max: 32 }), "{text}");
        }
        assert_eq!("::/129".parse::<Network>(), Err(NetworkError::PrefixInvalid { bits_max: 128 }));
        for text in ["10.0.0.1", "10.0.0.1/", "::1"] {
            assert!(matches!(text.parse::<Network>(), Err(NetworkError::NoPrefix { .. })), "{text}");
        }
        let error = "10.0.0.1/8".parse::<Network>().unwrap_err();
        assert_eq!(error, NetworkError::HostBits { network: network("10.0.0.0/8") });
    }

    #[test]
    fn what_is_printed_is_read_again() {
        for text in ["10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0", "::/0", "127.0.0.1/32"] {
            assert_eq!(network(text).to_string(), text);
        }
    }
}
