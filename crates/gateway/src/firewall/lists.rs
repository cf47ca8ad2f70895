//! Which addresses may connect at all: an operator's lists, the longest network that matches counts.
//!
//! Decides only. Asked first of all by the firewall, before anything of the client is counted.

use std::net::IpAddr;

use crate::network::{Network, NetworkMap};

/// The lists `firewall.allow` and `firewall.deny`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressLists {
    /// The networks that may connect; `None` where no list is given, and then all may that are not denied.
    pub allow: Option<Vec<Network>>,
    /// The networks that may not.
    pub deny: Vec<Network>,
}

/// The same, to be asked.
#[derive(Debug)]
pub(super) struct Lists {
    verdicts: NetworkMap<Verdict>,
    /// The verdicts on whole /64s of IPv6, and what of one is denied by a longer network.
    of_clients: NetworkMap<Verdict>,
    denied_in_part: Vec<Network>,
    unlisted: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allow,
    Deny,
}

impl Lists {
    pub(super) fn new(lists: &AddressLists) -> Self {
        let (mut verdicts, mut of_clients) = (NetworkMap::default(), NetworkMap::default());
        let mut add = |network: Network, verdict| {
            verdicts.insert(network, verdict);
            if network.at_most(CLIENT_PREFIX_BITS) == network {
                of_clients.insert(network, verdict);
            }
        };
        for network in lists.allow.iter().flatten() {
            add(*network, Verdict::Allow);
        }
        // Second, so that what stands in both lists is denied.
        for network in &lists.deny {
            add(*network, Verdict::Deny);
        }
        let unlisted = if lists.allow.is_some() { Verdict::Deny } else { Verdict::Allow };
        let of_64 = |network: &Network| {
            let around = network.at_most(CLIENT_PREFIX_BITS);
            (around != *network).then_some(around)
        };
        let denied_in_part = lists.deny.iter().filter_map(of_64).collect();
        Self { verdicts, of_clients, denied_in_part, unlisted }
    }

    /// Whether any address is denied of what counts as one client: `client`, or the /64 of IPv6 that it is the first of.
    pub(super) fn denies_any_of(&self, client: IpAddr) -> bool {
        *self.of_clients.around(client).next().unwrap_or(&self.unlisted) == Verdict::Deny
            || self.denied_in_part.iter().any(|network| network.contains(client))
    }

    pub(super) fn denies(&self, address: IpAddr) -> bool {
        *self.verdicts.around(address).next().unwrap_or(&self.unlisted) == Verdict::Deny
    }
}

/// What of an IPv6 address tells clients apart, as [`crate::principal::ClientKey`] has it.
const CLIENT_PREFIX_BITS: u8 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(allow: Option<&[&str]>, deny: &[&str]) -> Lists {
        let read = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Lists::new(&AddressLists { allow: allow.map(read), deny: read(deny) })
    }

    #[test]
    fn r24_the_longest_network_counts_and_a_tie_is_denied() {
        let lists = lists(
            Some(&["10.0.0.0/8", "10.1.2.0/24", "10.9.0.0/16", "2001:db8::/32"]),
            &["10.1.0.0/16", "10.9.0.0/16", "10.1.2.3", "2001:db8:bad::/48"],
        );
        for (address, is_denied) in [
            ("10.0.0.1", false),
            ("10.1.0.1", true),
            ("10.1.2.1", false),
            ("10.1.2.3", true),
            ("10.9.0.1", true),
            ("192.0.2.1", true),
            ("::ffff:10.0.0.1", false),
            ("::ffff:10.1.0.1", true),
            ("2001:db8::1", false),
            ("2001:db8:bad::1", true),
            ("2001:db9::1", true),
        ] {
            assert_eq!(lists.denies(address.parse().unwrap()), is_denied, "{address}");
        }
    }

    #[test]
    fn o03_what_counts_as_one_client_is_denied_where_any_of_it_is() {
        let denied = |lists: &Lists, address: &str| lists.denies_any_of(address.parse().unwrap());
        let deny = lists(None, &["192.0.2.7", "2001:db8:0:1::5", "2001:db8:bad::/48"]);
        for (address, is_denied) in [
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:0:1::", true),
            ("2001:db8:0:2::", false),
            ("2001:db8:bad:7::", true),
        ] {
            assert_eq!(denied(&deny, address), is_denied, "{address}");
        }
        // Of the /64 around an address that may connect, all others may not.
        let allow = lists(Some(&["2001:db8:0:1::5", "2001:db8:0:2::/64", "192.0.2.7"]), &[]);
        assert!(denied(&allow, "2001:db8:0:1::") && !denied(&allow, "2001:db8:0:2::"));
        assert!(!denied(&allow, "192.0.2.7") && denied(&allow, "192.0.2.8"));
    }

    #[test]
    fn without_an_allow_list_all_may_that_are_not_denied_and_with_one_only_those_on_it() {
        let denied = |lists: &Lists, address: &str| lists.denies(address.parse().unwrap());
        let nothing = lists(None, &[]);
        assert!(!denied(&nothing, "192.0.2.1") && !denied(&nothing, "::1"));
        let deny = lists(None, &["192.0.2.0/24"]);
        assert!(denied(&deny, "192.0.2.1") && !denied(&deny, "192.0.3.1") && !denied(&deny, "::1"));
        // A list of one family says nothing of the other, which is then not on it.
        let v4 = lists(Some(&["0.0.0.0/0"]), &[]);
        assert!(!denied(&v4, "192.0.2.1") && denied(&v4, "::1"));
        let nobody = lists(Some(&[]), &[]);
        assert!(denied(&nobody, "192.0.2.1") && denied(&nobody, "::1"));
    }
}
