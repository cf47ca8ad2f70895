//! Networks that are kept out for a time, or for good: in bounded memory, and none forgotten before its time.
//!
//! Decides only; `now` is an argument. Asked by the firewall at the accept and again before the `101`, changed by the operator.
//! A ban's end is turned into monotonic time once, so that a wall clock that is set afterwards moves it neither way.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::clock::{Instant, UnixTime};
use crate::network::{Network, NetworkMap};

/// A network that is kept out, as it is asked for, stored and sent on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressBan {
    /// Who is kept out. Of IPv6 at most a /64: what is longer stands for the /64 around it, which is one subscriber.
    pub network: Network,
    /// Until when; `None` is for good.
    pub until: Option<UnixTime>,
    /// Why, for people; at most [`REASON_BYTES_MAX`] bytes.
    pub reason: String,
}

impl AddressBan {
    /// Whether it is no longer in force at `now`.
    #[must_use]
    pub fn is_over(&self, now: UnixTime) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// The network that is really kept out.
    pub(crate) fn effective(&self) -> Network {
        ban_network(self.network)
    }
}

/// The network that a ban of `network` keeps out.
pub(crate) fn ban_network(network: Network) -> Network {
    network.at_most(CLIENT_V6_PREFIX_BITS)
}

/// Why a ban is not in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BanError {
    /// There are as many as are kept, and none of them is over. None is dropped for a new one.
    #[error("there are {count_max} bans of addresses, the most that are kept")]
    Full {
        /// How many are kept.
        count_max: usize,
    },
    /// The reason is too long to be kept.
    #[error("the reason is longer than {REASON_BYTES_MAX} bytes")]
    ReasonTooLong,
}

/// The bans that are in force.
pub(super) struct Bans {
    count_max: usize,
    state: RwLock<State>,
    /// As many as there are, to be read without the lock: there are none nearly everywhere and always.
    count: AtomicUsize,
}

#[derive(Default)]
struct State {
    bans: NetworkMap<Ban>,
    /// Those that end, the first of them first.
    ends: BTreeSet<(Instant, Network)>,
}

struct Ban {
    /// `None` where it never ends.
    ends_at: Option<Instant>,
    until: Option<UnixTime>,
    reason: Box<str>,
}

impl Default for Bans {
    fn default() -> Self {
        Self::new(BANS_MAX)
    }
}

impl Bans {
    fn new(count_max: usize) -> Self {
        Self { count_max, state: RwLock::default(), count: AtomicUsize::new(0) }
    }

    /// Puts `ban` in force, in place of another of the same network; one that is over lifts that.
    pub(super) fn ban(&self, ban: &AddressBan, now: Instant, unix_now: UnixTime) -> Result<(), BanError> {
        if ban.reason.len() > REASON_BYTES_MAX {
            return Err(BanError::ReasonTooLong);
        }
        let network = ban.effective();
        self.change(|state| {
            if ban.is_over(unix_now) {
                state.remove(network);
                return Ok(());
            }
            let is_new = state.bans.get(network).is_none();
            if is_new && state.bans.len() >= self.count_max {
                state.forget(now);
                if state.bans.len() >= self.count_max {
                    return Err(BanError::Full { count_max: self.count_max });
                }
            }
            // Where that lies beyond all time it never comes.
            let ends_at = ban.until.and_then(|until| now.checked_add(until.since(unix_now)));
            state.insert(network, Ban { ends_at, until: ban.until, reason: ban.reason.as_str().into() });
            Ok(())
        })
    }

    /// Lets a network in again; whether it had been kept out by a ban of just this network.
    pub(super) fn unban(&self, network: Network, now: Instant) -> bool {
        let network = ban_network(network);
        self.change(|state| state.remove(network)).is_some_and(|ban| !ban.is_over(now))
    }

    /// Whether `address` lies in a network that is kept out at `now`.
    pub(super) fn hold(&self, address: IpAddr, now: Instant) -> bool {
        if self.count() == 0 {
            return false;
        }
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.bans.around(address).any(|ban| !ban.is_over(now))
    }

    /// At most `count_max` of those in force at `now`, in the order of their networks from the one after `after` on; and
    /// whether more follow.
    pub(super) fn list(
        &self,
        after: Option<Network>,
        count_max: usize,
        now: Instant,
    ) -> (Vec<AddressBan>, bool) {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let follows = |network: Network| after.is_none_or(|after| network > after);
        let mut networks: Vec<(&Network, &Ban)> =
            state.bans.iter().filter(|(network, ban)| follows(**network) && !ban.is_over(now)).collect();
        networks.sort_unstable_by_key(|(network, _)| **network);
        let has_more = networks.len() > count_max;
        let page = networks.into_iter().take(count_max).map(|(network, ban)| AddressBan {
            network: *network,
            until: ban.until,
            reason: String::from(&*ban.reason),
        });
        (page.collect(), has_more)
    }

    /// Gives up those that are over; they are without force before that too.
    pub(super) fn forget(&self, now: Instant) {
        self.change(|state| state.forget(now));
    }

    /// How many are kept.
    pub(super) fn count(&self) -> usize {
        // In one order with what says whose a connection is: see `Pulse::belongs_to`.
        self.count.load(Ordering::SeqCst)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut state);
        // Under the lock, so that the last to count is the last to have changed.
        self.count.store(state.bans.len(), Ordering::SeqCst);
        changed
    }
}

impl fmt::Debug for Bans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bans").field("count", &self.count()).finish_non_exhaustive()
    }
}

impl State {
    fn insert(&mut self, network: Network, ban: Ban) {
        let ends_at = ban.ends_at;
        self.remove(network);
        self.bans.insert(network, ban);
        self.ends.extend(ends_at.map(|ends_at| (ends_at, network)));
    }

    fn remove(&mut self, network: Network) -> Option<Ban> {
        let ban = self.bans.remove(network)?;
        if let Some(ends_at) = ban.ends_at {
            self.ends.remove(&(ends_at, network));
        }
        Some(ban)
    }

    fn forget(&mut self, now: Instant) {
        while let Some((ends_at, network)) = self.ends.first().copied()
            && ends_at <= now
        {
            self.remove(network);
        }
    }
}

impl Ban {
    fn is_over(&self, now: Instant) -> bool {
        self.ends_at.is_some_and(|ends_at| ends_at <= now)
    }
}

/// The most bans of addresses that are kept; with the longest reasons some 30 MB.
const BANS_MAX: usize = 65_536;

/// The most bytes of a ban's reason.
pub const REASON_BYTES_MAX: usize = 256;

/// Clients of IPv6 are told apart by so many bits.
const CLIENT_V6_PREFIX_BITS: u8 = 64;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;

    const UNIX_NOW: UnixTime = UnixTime::from_seconds(1_000_000);

    fn ban(network: &str, seconds: Option<u64>) -> AddressBan {
        let until = seconds.map(|seconds| UNIX_NOW.plus(Duration::from_secs(seconds)));
        AddressBan { network: network.parse().unwrap(), until, reason: "a test".to_owned() }
    }

    fn listed(bans: &Bans, now: Instant) -> Vec<AddressBan> {
        bans.list(None, usize::MAX, now).0
    }

    fn start() -> Instant {
        Clock::system().now()
    }

    fn held(bans: &Bans, address: &str, now: Instant) -> bool {
        bans.hold(address.parse().unwrap(), now)
    }

    #[test]
    fn a_ban_holds_its_network_until_its_end_and_not_a_moment_longer() {
        let (bans, now) = (Bans::default(), start());
        assert!(!held(&bans, "192.0.2.1", now));
        bans.ban(&ban("192.0.2.0/24", Some(60)), now, UNIX_NOW).unwrap();
        bans.ban(&ban("2001:db8::/32", None), now, UNIX_NOW).unwrap();
        let minute = now + Duration::from_mins(1);
        for address in ["192.0.2.1", "::ffff:192.0.2.255"] {
            assert!(held(&bans, address, now) && held(&bans, address, minute - Duration::from_nanos(1)));
            assert!(!held(&bans, address, minute), "{address}");
        }
        assert!(!held(&bans, "192.0.3.1", now));
        assert!(held(&bans, "2001:db8:ffff::1", now + Duration::from_hours(24 * 3650)));
        assert_eq!((listed(&bans, now).len(), listed(&bans, minute).len(), bans.count()), (2, 1, 2));
        bans.forget(minute);
        assert_eq!(bans.count(), 1);
        assert!(bans.state.read().unwrap().ends.is_empty());
    }

    #[test]
    fn a_ban_within_a_network_that_is_free_again_still_holds() {
        let (bans, now) = (Bans::default(), start());
        bans.ban(&ban("10.0.0.0/8", Some(1000)), now, UNIX_NOW).unwrap();
        bans.ban(&ban("10.1.0.0/16", Some(10)), now, UNIX_NOW).unwrap();
        let later = now + Duration::from_secs(11);
        assert!(held(&bans, "10.1.0.1", later), "the longer one is over, the shorter is not");
        assert!(bans.unban("10.0.0.0/8".parse().unwrap(), later));
        assert!(!held(&bans, "10.1.0.1", later) && held(&bans, "10.1.0.1", now));
        assert!(!bans.unban("10.1.0.0/16".parse().unwrap(), later), "it was over");
        assert!(!bans.unban("10.2.0.0/16".parse().unwrap(), later));
    }

    #[test]
    fn bans_are_listed_a_page_at_a_time_in_the_order_of_their_networks() {
        let (bans, now) = (Bans::default(), start());
        for network in ["2001:db8::/32", "10.0.0.0/16", "10.0.0.0/8", "9.0.0.0/8"] {
            bans.ban(&ban(network, Some(60)), now, UNIX_NOW).unwrap();
        }
        let page = |after: Option<&str>, count_max| {
            let after = after.map(|after| after.parse().unwrap());
            let (page, has_more) = bans.list(after, count_max, now);
            (page.iter().map(|ban| ban.network.to_string()).collect::<Vec<_>>(), has_more)
        };
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(page(None, 2), (named(&["9.0.0.0/8", "10.0.0.0/8"]), true));
        assert_eq!(page(Some("10.0.0.0/8"), 2), (named(&["10.0.0.0/16", "2001:db8::/32"]), false));
        // One that has gone meanwhile has a place all the same.
        assert_eq!(page(Some("10.0.0.0/9"), 1), (named(&["10.0.0.0/16"]), true));
        assert_eq!(page(Some("2001:db8::/32"), 1), (Vec::new(), false));
        assert_eq!(bans.list(None, 1, now + Duration::from_mins(1)), (Vec::new(), false));
    }

    #[test]
    fn another_ban_of_the_same_network_takes_the_place_of_the_first_and_one_that_is_over_lifts_it() {
        let (bans, now) = (Bans::default(), start());
        for (seconds, holds) in [(Some(10), true), (None, true), (Some(20), true), (Some(0), false)] {
            bans.ban(&ban("192.0.2.1", seconds), now, UNIX_NOW).unwrap();
            assert_eq!(held(&bans, "192.0.2.1", now), holds, "{seconds:?}");
            assert_eq!(bans.state.read().unwrap().ends.len(), usize::from(holds && seconds.is_some()));
        }
        assert_eq!(bans.count(), 0);
    }

    #[test]
    fn r03_a_ban_of_one_v6_address_holds_all_of_its_64() {
        let (bans, now) = (Bans::default(), start());
        bans.ban(&ban("2001:db8::1", None), now, UNIX_NOW).unwrap();
        assert!(held(&bans, "2001:db8::ffff:1", now) && !held(&bans, "2001:db8:0:1::1", now));
        assert_eq!(listed(&bans, now)[0].network.to_string(), "2001:db8::/64");
        assert!(bans.unban("2001:db8::2".parse().unwrap(), now));
        assert!(!held(&bans, "2001:db8::1", now));
    }

    #[test]
    fn r18_ten_million_keys_take_no_place_of_an_active_ban_and_only_those_of_bans_that_are_over() {
        let (bans, now) = (Bans::default(), start());
        let of = |bits: u32, seconds| {
            let network = Network::around(Ipv4Addr::from_bits(bits).into(), 32);
            AddressBan { network, until: seconds, reason: String::new() }
        };
        let minute = Some(UNIX_NOW.plus(Duration::from_mins(1)));
        let count = u32::try_from(BANS_MAX).unwrap();
        // All but a thousand for good.
        for bits in 0..count {
            bans.ban(&of(bits, minute.filter(|_| bits < 1000)), now, UNIX_NOW).unwrap();
        }
        let full = Err(BanError::Full { count_max: BANS_MAX });
        for bits in count..10_000_000 {
            assert_eq!(bans.ban(&of(bits, None), now, UNIX_NOW), full);
        }
        assert!((0..count).all(|bits| bans.hold(Ipv4Addr::from_bits(bits).into(), now)));
        // Of one that is there the end may still be moved.
        assert_eq!(bans.ban(&of(7, None), now, UNIX_NOW), Ok(()));
        let later = now + Duration::from_mins(1);
        let new = (count..count + 2000).filter(|bits| bans.ban(&of(*bits, None), later, UNIX_NOW).is_ok());
        assert_eq!((new.count(), bans.count()), (999, BANS_MAX));
        assert!((1000..count).all(|bits| bans.hold(Ipv4Addr::from_bits(bits).into(), later)));
    }

    #[test]
    fn r25_a_wall_clock_that_is_set_moves_no_end() {
        let (bans, now) = (Bans::default(), start());
        bans.ban(&ban("192.0.2.1", Some(60)), now, UNIX_NOW).unwrap();
        // An hour ahead or back: what asks has monotonic time alone, and a later ban does not disturb an earlier one.
        for unix_now in [UNIX_NOW.plus(Duration::from_hours(1)), UnixTime::from_seconds(1)] {
            bans.ban(&ban("192.0.2.2", None), now, unix_now).unwrap();
            assert!(held(&bans, "192.0.2.1", now + Duration::from_secs(59)));
            assert!(!held(&bans, "192.0.2.1", now + Duration::from_secs(60)));
        }
    }

    #[test]
    fn what_is_stored_reads_back_and_keeps_its_shape() {
        let ban = ban("192.0.2.0/24", Some(60));
        let written = serde_json::to_value(&ban).unwrap();
        let expected =
            serde_json::json!({ "network": "192.0.2.0/24", "until": 1_000_060_000, "reason": "a test" });
        assert_eq!(written, expected);
        assert_eq!(serde_json::from_value::<AddressBan>(written).unwrap(), ban);
        let long = AddressBan { reason: "x".repeat(257), ..ban };
        assert_eq!(Bans::default().ban(&long, start(), UNIX_NOW), Err(BanError::ReasonTooLong));
    }
}
