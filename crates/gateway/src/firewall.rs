//! Admits a peer, or not: lists and bans of addresses, caps and rates by client.
//!
//! The first stage of a connection's life, right after the accept and before a byte is read; TLS or the request head
//! comes next. Decides only: `now` is an argument, nothing here waits, logs or answers. Floor 2.

pub mod automatic;
mod bans;
mod connections;
mod lists;

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use self::automatic::{Automatic, Sentence};
use self::bans::Bans;
pub(crate) use self::bans::ban_network;
pub use self::bans::{AddressBan, BanError, REASON_BYTES_MAX};
use self::connections::{Connections, Slot};
pub use self::lists::AddressLists;
use self::lists::Lists;
use crate::clock::{Instant, UnixTime};
use crate::network::Network;
use crate::principal::{ClientAddr, ClientKey};
use crate::rate::{Rate, RateTable};
use crate::reason::Reason;

/// The `[firewall]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Which addresses may connect at all.
    pub addresses: AddressLists,
    /// The most connections that one client (IPv4 address, IPv6 /64) may have; `None` is unlimited.
    pub connections_per_client_max: Option<u32>,
    /// The most connections that the clients of one IPv6 /48 may have together, since one client may be given that much;
    /// `None` is unlimited.
    pub connections_per_v6_48_max: Option<u32>,
    /// The handshakes that one client may begin in a minute, a tenth of them in one burst; `None` is unlimited.
    pub handshakes_per_client_per_minute: Option<u32>,
    /// The handshakes that the clients of one IPv6 /48 may begin together in a minute, a tenth of them in one burst; `None` is
    /// unlimited.
    pub handshakes_per_v6_48_per_minute: Option<u32>,
    /// Who is banned for having been refused again and again; `None` is nobody.
    pub automatic_bans: Option<automatic::Config>,
}

/// How many times what one client may have the clients of one IPv6 /48 may have together, unless it is said otherwise.
pub const CLIENTS_PER_V6_48: u32 = 4;

impl Default for Config {
    /// Any address; 1,000 connections and 3,000 handshakes a minute for each client, four times that for an IPv6 /48.
    fn default() -> Self {
        Self {
            addresses: AddressLists::default(),
            connections_per_client_max: Some(1000),
            connections_per_v6_48_max: Some(1000 * CLIENTS_PER_V6_48),
            handshakes_per_client_per_minute: Some(3000),
            handshakes_per_v6_48_per_minute: Some(3000 * CLIENTS_PER_V6_48),
            automatic_bans: None,
        }
    }
}

/// Knows who may connect; counts connections and handshakes by client. One for all listeners; shared by reference.
#[derive(Debug)]
pub struct Firewall {
    rules: RwLock<Arc<Rules>>,
    bans: Bans,
    connections: Connections,
}

/// What can be changed while it runs; each client asks the rules once.
#[derive(Debug)]
struct Rules {
    config: Config,
    lists: Lists,
    handshakes: Handshakes,
    automatic: Option<Arc<Automatic>>,
}

impl Firewall {
    /// A firewall that has seen nobody yet; its time begins at `now`.
    #[must_use]
    pub fn new(config: &Config, now: Instant) -> Self {
        let handshakes = Handshakes { by_client: None, by_site: None }.at(config, now);
        let automatic = automatic_by(config, None, now);
        let rules =
            Rules { config: config.clone(), lists: Lists::new(&config.addresses), handshakes, automatic };
        let connections =
            Connections::new(config.connections_per_client_max, config.connections_per_v6_48_max);
        Self { rules: RwLock::new(Arc::new(rules)), bans: Bans::default(), connections }
    }

    /// Goes by `config` from now on. What has been counted stays counted, bans stay in force, and nobody is ended for it: whether
    /// the lists have changed.
    pub(crate) fn set_rules(&self, config: &Config, now: Instant) -> bool {
        let before = self.rules();
        if before.config == *config {
            return false;
        }
        let rules = Rules {
            config: config.clone(),
            lists: Lists::new(&config.addresses),
            handshakes: before.handshakes.at(config, now),
            automatic: automatic_by(config, before.automatic.as_ref(), now),
        };
        self.connections.set_limits(config.connections_per_client_max, config.connections_per_v6_48_max);
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        before.config.addresses != config.addresses
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the lists keep out `client`, of IPv6 any address of the /64 that it is the first of.
    pub(crate) fn denies_any_of(&self, client: IpAddr) -> bool {
        self.rules().lists.denies_any_of(client)
    }

    /// Lets `client` in for one more connection that begins at `now`, or not.
    ///
    /// What is refused costs the client nothing: it is not counted as a handshake, and holds no slot.
    ///
    /// # Errors
    /// Why not: its address may not connect, or the limit that the client is at.
    pub fn admit(&self, client: ClientAddr, now: Instant) -> Result<Admission, Denied> {
        let rules = self.rules();
        self.lets_in_by(&rules, client, now)?;
        let key = client.key();
        let slot = self.connections.reserve(key)?;
        rules.handshakes.count(key, now)?;
        Ok(Admission { _slot: slot })
    }
}

impl Firewall {
    /// Lets `client` in as far as its address goes; nothing is counted.
    pub(crate) fn lets_in(&self, client: ClientAddr, now: Instant) -> Result<(), Denied> {
        self.lets_in_by(&self.rules(), client, now)
    }

    fn lets_in_by(&self, rules: &Rules, client: ClientAddr, now: Instant) -> Result<(), Denied> {
        if rules.lists.denies(client.ip()) {
            return Err(Denied::AddressDenied);
        }
        if self.is_banned(client, now) {
            return Err(Denied::AddressBanned);
        }
        Ok(())
    }

    /// Whether `client` is kept out by a ban at `now`.
    #[must_use]
    pub fn is_banned(&self, client: ClientAddr, now: Instant) -> bool {
        self.bans.hold(client.ip(), now)
    }

    /// Counts a refusal of `client` for `reason`; the ban that is to be put in force for it, if one is.
    pub(crate) fn note_refusal(&self, client: ClientAddr, reason: Reason, now: Instant) -> Option<Sentence> {
        let sentence = self.rules().automatic.as_ref()?.note(client, reason, now)?;
        // It would take the place of an operator's ban, which may be for longer or for good: what is refused while that comes into force
        // must not shorten it.
        (!self.is_banned(client, now)).then_some(sentence)
    }

    /// Puts `ban` in force. It ends no connection: see [`crate::server::AddressBans`].
    pub(crate) fn ban(&self, ban: &AddressBan, now: Instant, unix_now: UnixTime) -> Result<(), BanError> {
        self.bans.ban(ban, now, unix_now)
    }

    /// Lets a network in again; whether it had been kept out.
    pub(crate) fn unban(&self, network: Network, now: Instant) -> bool {
        self.bans.unban(network, now)
    }

    /// The bans that are in force, in the order of their networks.
    #[must_use]
    pub fn bans(&self, now: Instant) -> Vec<AddressBan> {
        self.bans.list(None, usize::MAX, now).0
    }

    /// At most `count_max` of them, those that come after `after`; and whether more follow.
    #[must_use]
    pub fn bans_after(
        &self,
        after: Option<Network>,
        count_max: usize,
        now: Instant,
    ) -> (Vec<AddressBan>, bool) {
        self.bans.list(after, count_max, now)
    }

    /// How many bans are kept.
    #[must_use]
    pub fn bans_count(&self) -> usize {
        self.bans.count()
    }

    /// Gives up bans whose time is over; they are without force before that too.
    pub(crate) fn forget(&self, now: Instant) {
        self.bans.forget(now);
    }
}

/// What counts refusals, with its counts where nothing of it has changed.
fn automatic_by(config: &Config, before: Option<&Arc<Automatic>>, now: Instant) -> Option<Arc<Automatic>> {
    let config = config.automatic_bans.as_ref()?;
    match before.filter(|before| before.is_by(config)) {
        Some(before) => Some(Arc::clone(before)),
        None => Some(Arc::new(Automatic::new(config, now))),
    }
}

/// One admitted connection; dropping it frees the client's slot.
#[derive(Debug)]
#[must_use = "dropping it frees the slot"]
pub struct Admission {
    _slot: Slot,
}

/// Why a peer is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The operator's lists do not let this address in.
    #[error("the lists of addresses do not let this one in")]
    AddressDenied,
    /// The address lies in a network that is banned.
    #[error("the address is banned")]
    AddressBanned,
    /// The client, or its IPv6 /48, has as many connections as it may have.
    #[error("the client or its network has {limit} connections, the most it may have")]
    ConnectionsExceeded {
        /// The most connections that it may have.
        limit: u32,
    },
    /// The client, or its IPv6 /48, begins handshakes faster than it may.
    #[error(
        "the client or its network began more than {limit} handshakes a minute, or a tenth of them at once"
    )]
    RateExceeded {
        /// The handshakes that it may begin in a minute.
        limit: u32,
        /// After this time one more will be let in.
        retry_after: Duration,
    },
}

/// How many handshakes each client begins, and each IPv6 /48.
#[derive(Debug)]
struct Handshakes {
    by_client: Option<Pace>,
    by_site: Option<Pace>,
}

impl Handshakes {
    /// The same at the rates of `config`: what has been counted stays counted.
    fn at(&self, config: &Config, now: Instant) -> Self {
        let pace = |before: &Option<Pace>, limit: Option<u32>| {
            limit
                .map(|limit| before.as_ref().map_or_else(|| Pace::new(limit, now), |before| before.at(limit)))
        };
        Self {
            by_client: pace(&self.by_client, config.handshakes_per_client_per_minute),
            by_site: pace(&self.by_site, config.handshakes_per_v6_48_per_minute),
        }
    }

    /// Counts one handshake of `key` at `now`. One that is refused costs nothing on either side, save where two of one client race.
    fn count(&self, key: ClientKey, now: Instant) -> Result<(), Denied> {
        let Self { by_client, by_site } = self;
        if let Some(pace) = by_client {
            pace.has_room(&key, now)?;
        }
        if let (Some(pace), Some(site)) = (by_site, key.site()) {
            pace.count(&site, now)?;
        }
        by_client.as_ref().map_or(Ok(()), |pace| pace.count(&key, now))
    }
}

/// A rate by key.
#[derive(Debug)]
struct Pace {
    limit: u32,
    used: RateTable,
}

impl Pace {
    fn new(limit: u32, now: Instant) -> Self {
        Self { limit, used: RateTable::new(Self::rate(limit), now) }
    }

    /// The same clients at another limit.
    fn at(&self, limit: u32) -> Self {
        Self { limit, used: self.used.at(Self::rate(limit)) }
    }

    fn rate(limit: u32) -> Rate {
        Rate::new(limit, Duration::from_secs(60), (limit / BURST_DIVISOR).max(1))
    }

    fn has_room(&self, key: &impl Hash, now: Instant) -> Result<(), Denied> {
        self.used.has_room(key, now).map_err(|retry_after| self.exceeded(retry_after))
    }

    fn count(&self, key: &impl Hash, now: Instant) -> Result<(), Denied> {
        self.used.check(key, now).map_err(|retry_after| self.exceeded(retry_after))
    }

    const fn exceeded(&self, retry_after: Duration) -> Denied {
        Denied::RateExceeded { limit: self.limit, retry_after }
    }
}

/// A tenth of what is let through in a minute may come at once; at least one.
const BURST_DIVISOR: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn r18_a_client_that_an_operator_has_banned_brings_no_shorter_ban_in_its_place() {
        let bans = automatic::Config {
            per_minute: vec![(Reason::TokenInvalid, 1)],
            first: Duration::from_secs(60),
            longest: Duration::from_secs(60),
            never: Vec::new(),
            is_shadow: false,
        };
        let now = Clock::system().now();
        let firewall = Firewall::new(&Config { automatic_bans: Some(bans), ..Config::default() }, now);
        let client = ClientAddr::new("192.0.2.1".parse().unwrap());
        assert_eq!(firewall.note_refusal(client, Reason::TokenInvalid, now), None);
        let for_good = AddressBan {
            network: Network::around(client.ip(), u8::MAX),
            until: None,
            reason: "by an operator".to_owned(),
        };
        firewall.ban(&for_good, now, UnixTime::from_seconds(1)).unwrap();
        // Handshakes that were under way.
        for _ in 0..3 {
            assert_eq!(firewall.note_refusal(client, Reason::TokenInvalid, now), None);
        }
        assert_eq!(firewall.bans(now), [for_good]);
        let other = ClientAddr::new("192.0.2.2".parse().unwrap());
        assert_eq!(firewall.note_refusal(other, Reason::TokenInvalid, now), None);
        assert!(firewall.note_refusal(other, Reason::TokenInvalid, now).is_some());
    }

    fn firewall(connections: Option<u32>, handshakes: Option<u32>) -> (Firewall, Instant) {
        let config = Config {
            connections_per_client_max: connections,
            connections_per_v6_48_max: None,
            handshakes_per_client_per_minute: handshakes,
            handshakes_per_v6_48_per_minute: None,
            ..Config::default()
        };
        let now = Clock::system().now();
        (Firewall::new(&config, now), now)
    }

    fn client(ip: &str) -> ClientAddr {
        ClientAddr::new(ip.parse().unwrap())
    }

    #[test]
    fn o03_other_rates_find_what_was_counted_before() {
        let (firewall, now) = firewall(None, Some(20));
        let here = client("192.0.2.1");
        for _ in 0..2 {
            let _ = firewall.admit(here, now).unwrap();
        }
        assert!(matches!(firewall.admit(here, now), Err(Denied::RateExceeded { limit: 20, .. })));
        let config = Config { handshakes_per_client_per_minute: Some(40), ..Config::default() };
        assert!(!firewall.set_rules(&config, now), "the lists are the same");
        let refused = firewall.admit(here, now).map(|_| ());
        assert!(matches!(refused, Err(Denied::RateExceeded { limit: 40, .. })), "{refused:?}");
        let _ = firewall.admit(client("192.0.2.2"), now).unwrap();
        let addresses =
            AddressLists { deny: vec!["192.0.2.0/24".parse().unwrap()], ..AddressLists::default() };
        assert!(firewall.set_rules(&Config { addresses, ..config }, now));
        assert_eq!(firewall.admit(here, now).unwrap_err(), Denied::AddressDenied);
        assert_eq!(firewall.lets_in(here, now), Err(Denied::AddressDenied));
    }

    #[test]
    fn r01_a_client_at_its_connection_limit_is_refused_until_one_ends_and_others_are_not() {
        let (firewall, now) = firewall(Some(2), None);
        let first = firewall.admit(client("192.0.2.1"), now).unwrap();
        let _second = firewall.admit(client("192.0.2.1"), now).unwrap();
        let refused = firewall.admit(client("192.0.2.1"), now).unwrap_err();
        assert_eq!(refused, Denied::ConnectionsExceeded { limit: 2 });
        assert_eq!(refused.to_string(), "the client or its network has 2 connections, the most it may have");
        let _other = firewall.admit(client("192.0.2.2"), now).unwrap();
        drop(first);
        let _third = firewall.admit(client("192.0.2.1"), now).unwrap();
    }

    #[test]
    fn r02_a_client_over_its_handshake_rate_is_refused_and_others_are_not() {
        let (firewall, now) = firewall(None, Some(3000));
        for _ in 0..300 {
            let _ended = firewall.admit(client("192.0.2.1"), now).unwrap();
        }
        let retry_after = Duration::from_millis(20);
        let refused = firewall.admit(client("192.0.2.1"), now).unwrap_err();
        assert_eq!(refused, Denied::RateExceeded { limit: 3000, retry_after });
        assert!(firewall.admit(client("192.0.2.2"), now).is_ok());
        assert!(firewall.admit(client("192.0.2.1"), now + retry_after).is_ok());
    }

    #[test]
    fn r03_addresses_of_one_v6_network_and_mapped_v4_addresses_are_one_client() {
        let (firewall, now) = firewall(Some(1), None);
        let _v6 = firewall.admit(client("2001:db8:1:2::1"), now).unwrap();
        assert!(firewall.admit(client("2001:db8:1:2:ffff::9"), now).is_err());
        let _next_network = firewall.admit(client("2001:db8:1:3::1"), now).unwrap();
        let _v4 = firewall.admit(client("192.0.2.1"), now).unwrap();
        assert!(firewall.admit(client("::ffff:192.0.2.1"), now).is_err());
    }

    #[test]
    fn r03_the_64s_of_one_48_share_a_rate_and_what_it_refuses_costs_the_client_nothing() {
        let config = Config {
            handshakes_per_client_per_minute: Some(20),
            handshakes_per_v6_48_per_minute: Some(50),
            ..Config::default()
        };
        let now = Clock::system().now();
        let firewall = Firewall::new(&config, now);
        let admit =
            |subnet: u32, now| firewall.admit(client(&format!("2001:db8:1:{subnet:x}::1")), now).map(drop);
        for subnet in 0..5 {
            assert_eq!(admit(subnet, now), Ok(()));
        }
        let (limit, retry_after) = (50, Duration::from_millis(1200));
        for subnet in [0x100, 0x101] {
            assert_eq!(admit(subnet, now), Err(Denied::RateExceeded { limit, retry_after }));
        }
        assert!(
            firewall.admit(client("2001:db8:2::1"), now).is_ok()
                && firewall.admit(client("192.0.2.1"), now).is_ok()
        );
        // The client that was refused has its whole burst still, and its own limit when that is used up.
        let later = now + Duration::from_secs(6);
        assert_eq!((admit(0x100, later), admit(0x100, later)), (Ok(()), Ok(())));
        let retry_after = Duration::from_secs(3);
        assert_eq!(admit(0x100, later), Err(Denied::RateExceeded { limit: 20, retry_after }));
    }

    #[test]
    fn what_is_refused_costs_nothing() {
        let (firewall, now) = firewall(Some(1), Some(20));
        let held = firewall.admit(client("192.0.2.1"), now).unwrap();
        assert_eq!(
            firewall.admit(client("192.0.2.1"), now).unwrap_err(),
            Denied::ConnectionsExceeded { limit: 1 }
        );
        drop(held);
        drop(firewall.admit(client("192.0.2.1"), now).unwrap());
        for _ in 0..2 {
            // Were the slot kept, the second refusal would be for the connections.
            let refused = firewall.admit(client("192.0.2.1"), now).unwrap_err();
            assert_eq!(refused, Denied::RateExceeded { limit: 20, retry_after: Duration::from_secs(3) });
        }
    }

    #[test]
    fn a_limit_of_none_refuses_nobody_and_a_limit_of_zero_everybody() {
        let (unlimited, now) = firewall(None, None);
        let admitted: Vec<_> = (0..5000).map(|_| unlimited.admit(client("192.0.2.1"), now)).collect();
        assert!(admitted.iter().all(Result::is_ok));
        for (connections, handshakes) in [(Some(0), None), (None, Some(0))] {
            let (closed, now) = firewall(connections, handshakes);
            assert!(closed.admit(client("192.0.2.1"), now).is_err());
        }
    }

    #[test]
    fn an_admission_takes_32_bytes() {
        assert!(size_of::<Admission>() <= 32);
    }
}
