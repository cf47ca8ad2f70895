//! Networks of addresses, `192.0.2.0/24`: read strictly, so that each has one spelling that means what it says.
//!
//! Never resolves a name and never guesses: what other readers take for octal, for a shorter form or for a host within its
//! network is refused. Floor 1; lists and bans of addresses are made of these.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The addresses that begin with the same bits: an IPv4 or an IPv6 network, or a single address.
///
/// An IPv4 network that came mapped into IPv6 is kept as IPv4, as clients are; one of IPv6 never holds a client of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// Canonical, and zero beyond the prefix.
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// The network of this address and prefix.
    ///
    /// # Errors
    /// What is wrong with the two together.
    pub fn new(address: IpAddr, prefix_bits: u8) -> Result<Self, NetworkError> {
        if prefix_bits > bits_of(address) {
            return Err(NetworkError::PrefixTooLong { bits_max: bits_of(address) });
        }
        let cut = masked(address, prefix_bits);
        if cut != address {
            return Err(NetworkError::HostBitsSet { network: Self::folded(cut, prefix_bits) });
        }
        let network = Self::folded(address, prefix_bits);
        // Of all of IPv6 nobody thinks that it holds IPv4.
        if (1..MAPPED_PREFIX_BITS).contains(&prefix_bits) && network.address == masked(MAPPED, prefix_bits) {
            return Err(NetworkError::PartlyMapped);
        }
        Ok(network)
    }

    /// The network that `address` lies in and that has this many bits, or as many as the address has.
    #[must_use]
    pub fn around(address: IpAddr, prefix_bits: u8) -> Self {
        let address = address.to_canonical();
        let prefix_bits = prefix_bits.min(bits_of(address));
        Self { address: masked(address, prefix_bits), prefix_bits }
    }

    /// The network itself, or where it is one of IPv6 that is longer than this, the one around it.
    #[must_use]
    pub(crate) fn at_most(self, v6_prefix_bits_max: u8) -> Self {
        if self.address.is_ipv6() {
            Self::around(self.address, self.prefix_bits.min(v6_prefix_bits_max))
        } else {
            self
        }
    }

    /// The network that [`fmt::Display`] wrote as `text`: also one that nobody may write, but that is [`Self::around`] an
    /// address, such as the /64 around `::1`.
    pub(crate) fn from_own_text(text: &str) -> Result<Self, NetworkError> {
        match text.parse() {
            Err(error @ NetworkError::PartlyMapped) => {
                let (address, prefix_bits) = text.split_once('/').ok_or(error)?;
                let address = address.parse().map_err(|_| NetworkError::NoAddress)?;
                Ok(Self::around(address, prefix_bits.parse().map_err(|_| NetworkError::PrefixMalformed)?))
            }
            read => read,
        }
    }

    /// Whether the network holds `address`.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix_bits) == self.address
    }

    /// How many bits its addresses have in common.
    #[must_use]
    pub const fn prefix_bits(&self) -> u8 {
        self.prefix_bits
    }

    /// IPv4 where it is IPv4 mapped into IPv6 (RFC 4291 §2.5.5.2).
    fn folded(address: IpAddr, prefix_bits: u8) -> Self {
        match (address.to_canonical(), prefix_bits.checked_sub(MAPPED_PREFIX_BITS)) {
            (folded @ IpAddr::V4(_), Some(prefix_bits)) if address.is_ipv6() => {
                Self { address: folded, prefix_bits }
            }
            (_, _) => Self { address, prefix_bits },
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// An address, alone or with `/` and the bits of its prefix. RFC 4632 §3.1, RFC 4291 §2.3.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        // The standard library takes four decimal numbers without leading zeros, or RFC 4291's form, and no zone.
        let address: IpAddr = address.parse().map_err(|_| NetworkError::NoAddress)?;
        let Some(prefix) = prefix else { return Self::new(address, bits_of(address)) };
        let is_number = prefix.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || prefix.is_empty() || (prefix.starts_with('0') && prefix != "0") {
            return Err(NetworkError::PrefixMalformed);
        }
        let too_long = NetworkError::PrefixTooLong { bits_max: bits_of(address) };
        Self::new(address, prefix.parse().map_err(|_| too_long)?)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(|error| D::Error::custom(format_args!("the network {error}")))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// What stands before the prefix is no address in its one full form.
    #[error("is no address")]
    NoAddress,
    /// The prefix is no decimal number without leading zeros.
    #[error("has a prefix that is no number")]
    PrefixMalformed,
    /// The prefix has more bits than the address.
    #[error("has a prefix longer than the {bits_max} bits of its address")]
    PrefixTooLong {
        /// How many it may have.
        bits_max: u8,
    },
    /// Some of its addresses are IPv4 mapped into IPv6, which are never clients of it, and others are not.
    #[error("holds addresses of IPv4 among those of IPv6")]
    PartlyMapped,
    /// The address has bits beyond the prefix: either a host was meant, or another prefix.
    #[error("has bits set beyond its prefix")]
    HostBitsSet {
        /// The network that has none.
        network: Network,
    },
}

/// What is said of networks, found by address: the longest of those that hold it counts.
#[derive(Clone, Debug)]
pub(crate) struct NetworkMap<T> {
    entries: HashMap<Network, T>,
    /// How many entries there are of each length, for each family; no more lengths are tried than there are.
    lengths: [Lengths; 2],
}

/// How many networks there are with a prefix of so many bits.
type Lengths = BTreeMap<u8, usize>;

impl<T> Default for NetworkMap<T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), lengths: [Lengths::new(), Lengths::new()] }
    }
}

impl<T> NetworkMap<T> {
    /// Says `value` of `network`; what was said before.
    pub(crate) fn insert(&mut self, network: Network, value: T) -> Option<T> {
        let before = self.entries.insert(network, value);
        if before.is_none() {
            *self.lengths_of(network.address).entry(network.prefix_bits).or_default() += 1;
        }
        before
    }

    /// Says nothing of `network` any more; what was said before.
    pub(crate) fn remove(&mut self, network: Network) -> Option<T> {
        let before = self.entries.remove(&network)?;
        if let Entry::Occupied(mut count) = self.lengths_of(network.address).entry(network.prefix_bits) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        Some(before)
    }

    pub(crate) fn get(&self, network: Network) -> Option<&T> {
        self.entries.get(&network)
    }

    /// All that is said of networks that hold `address`, of the longest first.
    pub(crate) fn around(&self, address: IpAddr) -> impl Iterator<Item = &T> {
        let address = address.to_canonical();
        let lengths = self.lengths[usize::from(address.is_ipv6())].keys().rev();
        lengths.filter_map(move |bits| self.entries.get(&Network::around(address, *bits)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Network, &T)> {
        self.entries.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn lengths_of(&mut self, address: IpAddr) -> &mut Lengths {
        &mut self.lengths[usize::from(address.is_ipv6())]
    }
}

const fn bits_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// `address` without what lies beyond the prefix.
fn masked(address: IpAddr, prefix_bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix_bits.into())).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix_bits.into())).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

/// The first IPv4 address, mapped into IPv6.
const MAPPED: IpAddr = IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0));

/// Of an IPv4 address mapped into IPv6 the first 96 bits are fixed.
const MAPPED_PREFIX_BITS: u8 = 96;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap_or_else(|error| panic!("{text} {error}"))
    }

    #[test]
    fn r24_a_network_has_one_spelling_and_no_other_is_guessed_at() {
        for (text, canonical) in [
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("::/0", "::/0"),
            ("2001:DB8:0:0::/32", "2001:db8::/32"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("::ffff:1.2.3.4/128", "1.2.3.4/32"),
            ("::ffff:1.2.3.4", "1.2.3.4/32"),
            ("::ffff:1.2.3.0/120", "1.2.3.0/24"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::fffe:0:0/96", "::fffe:0:0/96"),
        ] {
            assert_eq!(network(text).to_string(), canonical, "{text}");
        }
        for text in [
            "",
            "/",
            "/8",
            "1.2.3",
            "1.2.3/24",
            "010.0.0.1",
            "10.0.0.01/32",
            "0x7f.0.0.1",
            "127.1",
            "2130706433",
            "1.2.3.4.5",
            "1.2.3.256",
            " 1.2.3.4",
            "1.2.3.4 ",
            "1.2.3.4\n",
            "localhost",
            "*",
            "1.2.3.*",
            "::1%lo",
            "[::1]",
            "1.2.3.4:80",
            ":::",
            "1::2::3",
            "12345::",
            "１.2.3.4",
            "1.2.3.4-1.2.3.9",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::NoAddress), "{text}");
        }
        for text in [
            "1.2.3.4/",
            "1.2.3.4/+32",
            "1.2.3.4/032",
            "1.2.3.4/ 8",
            "1.2.3.4/-1",
            "1.2.3.0/255.255.255.0",
            "1.2.3.4/32/32",
            "1.2.3.4/0x8",
            "::/٣",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::PrefixMalformed), "{text}");
        }
        for (text, bits_max) in
            [("1.2.3.4/33", 32), ("1.2.3.4/256", 32), ("::/129", 128), ("::/99999999999999999999", 128)]
        {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::PrefixTooLong { bits_max }), "{text}");
        }
        for text in ["::/1", "::/80", "::fffe:0:0/95"] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::PartlyMapped), "{text}");
        }
        for (text, meant) in [
            ("1.2.3.4/24", "1.2.3.0/24"),
            ("1.2.3.4/0", "0.0.0.0/0"),
            ("2001:db8::1/64", "2001:db8::/64"),
            ("::ffff:1.2.3.4/96", "0.0.0.0/0"),
            ("::ffff:1.2.3.4/120", "1.2.3.0/24"),
        ] {
            let network = network(meant);
            assert_eq!(text.parse::<Network>(), Err(NetworkError::HostBitsSet { network }), "{text}");
        }
    }

    #[test]
    fn r24_a_client_is_found_in_its_family_alone_and_mapped_addresses_in_that_of_ipv4() {
        let contains = |text: &str, address: &str| network(text).contains(address.parse().unwrap());
        assert!(contains("192.0.2.0/24", "192.0.2.255") && !contains("192.0.2.0/24", "192.0.3.0"));
        assert!(
            contains("192.0.2.0/24", "::ffff:192.0.2.1") && contains("::ffff:192.0.2.0/120", "192.0.2.1")
        );
        assert!(!contains("::/0", "192.0.2.1") && !contains("::/0", "::ffff:192.0.2.1"));
        assert!(!contains("0.0.0.0/0", "::1") && !contains("0.0.0.0/0", "::192.0.2.1"));
        assert!(
            contains("2001:db8::/33", "2001:db8:7fff::1") && !contains("2001:db8::/33", "2001:db8:8000::1")
        );
    }

    #[test]
    fn the_longest_network_around_an_address_comes_first_and_what_is_removed_not_at_all() {
        let mut map = NetworkMap::default();
        for (text, value) in [("10.0.0.0/8", 8), ("10.1.0.0/16", 16), ("10.1.2.3", 32), ("::/0", 0)] {
            assert_eq!(map.insert(network(text), value), None);
        }
        let around =
            |map: &NetworkMap<u8>, ip: &str| map.around(ip.parse().unwrap()).copied().collect::<Vec<_>>();
        assert_eq!(around(&map, "10.1.2.3"), [32, 16, 8]);
        assert_eq!(around(&map, "10.1.2.4"), [16, 8]);
        assert_eq!((around(&map, "::1"), around(&map, "11.0.0.0")), (vec![0], vec![]));
        assert_eq!((map.insert(network("10.1.0.0/16"), 17), map.len()), (Some(16), 4));
        assert_eq!(
            (map.remove(network("10.1.0.0/16")), map.remove(network("10.1.0.0/16"))),
            (Some(17), None)
        );
        assert_eq!(around(&map, "10.1.2.4"), [8]);
        assert_eq!(map.lengths[0].len(), 2, "a length that nobody has is not tried");
    }

    #[test]
    fn what_was_written_of_the_network_around_an_address_is_read_though_nobody_may_write_it() {
        let around = Network::around("::1".parse().unwrap(), 64);
        assert_eq!("::/64".parse::<Network>(), Err(NetworkError::PartlyMapped));
        assert_eq!(Network::from_own_text("::/64"), Ok(around));
        assert!(
            around.contains("::1".parse().unwrap()) && !around.contains("::ffff:192.0.2.1".parse().unwrap())
        );
        assert_eq!(Network::from_own_text("192.0.2.0/24"), Ok(network("192.0.2.0/24")));
        for (text, error) in [("x/64", NetworkError::NoAddress), ("::1/x", NetworkError::PrefixMalformed)] {
            assert_eq!(Network::from_own_text(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_network_prints_as_it_is_read(address: IpAddr, bits in 0..=128_u8) {
            let around = Network::around(address, bits);
            prop_assert!(around.contains(address));
            prop_assert_eq!(Network::from_own_text(&around.to_string()), Ok(around));
            match around.to_string().parse() {
                Err(NetworkError::PartlyMapped) => prop_assert!(around.address.is_ipv6() && bits > 0),
                read => prop_assert_eq!(read, Ok(around)),
            }
        }
    }
}
