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
    unlisted: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allow,
    Deny,
}

impl Lists {
    pub(super) fn new(lists: &AddressLists) -> Self {
        let mut verdicts = NetworkMap::default();
        for network in lists.allow.iter().flatten() {
            verdicts.insert(*network, Verdict::Allow);
        }
        // Second, so that what stands in both lists is denied.
        for network in &lists.deny {
            verdicts.insert(*network, Verdict::Deny);
        }
        let unlisted = if lists.allow.is_some() { Verdict::Deny } else { Verdict::Allow };
        Self { verdicts, unlisted }
    }

    pub(super) fn denies(&self, address: IpAddr) -> bool {
        *self.verdicts.around(address).next().unwrap_or(&self.unlisted) == Verdict::Deny
    }
}

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
