//! Admits a peer, or not: lists and bans of addresses, caps and rates by client.
//!
//! The first stage of a connection's life, right after the accept and before a byte is read; TLS or the request head
//! comes next. Decides only: `now` is an argument, nothing here waits, logs or answers. Floor 2.

mod bans;
mod lists;

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::bans::Bans;
pub use self::bans::{AddressBan, BanError, REASON_BYTES_MAX};
pub use self::lists::AddressLists;
use self::lists::Lists;
use crate::clock::{Instant, UnixTime};
use crate::network::Network;
use crate::principal::{ClientAddr, ClientKey};
use crate::rate::{Rate, RateTable};

/// The `[firewall]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Which addresses may connect at all.
    pub addresses: AddressLists,
    /// The most connections that one client (IPv4 address, IPv6 /64) may have; `None` is unlimited.
    pub connections_per_client_max: Option<u32>,
    /// The handshakes that one client may begin in a minute, a tenth of them in one burst; `None` is unlimited.
    pub handshakes_per_client_per_minute: Option<u32>,
}

impl Default for Config {
    /// Any address; 1,000 connections and 3,000 handshakes a minute for each client.
    fn default() -> Self {
        Self {
            addresses: AddressLists::default(),
            connections_per_client_max: Some(1000),
            handshakes_per_client_per_minute: Some(3000),
        }
    }
}

/// Knows who may connect; counts connections and handshakes by client. One for all listeners; shared by reference.
#[derive(Debug)]
pub struct Firewall {
    lists: Lists,
    bans: Bans,
    connections: Option<Connections>,
    handshakes: Option<Handshakes>,
}

impl Firewall {
    /// A firewall that has seen nobody yet; its time begins at `now`.
    #[must_use]
    pub fn new(config: &Config, now: Instant) -> Self {
        let connections = config.connections_per_client_max;
        let handshakes = config.handshakes_per_client_per_minute;
        Self {
            lists: Lists::new(&config.addresses),
            bans: Bans::default(),
            connections: connections.map(|limit| Connections { limit, counts: Arc::default() }),
            handshakes: handshakes.map(|limit| Handshakes::new(limit, now)),
        }
    }

    /// Lets `client` in for one more connection that begins at `now`, or not.
    ///
    /// What is refused costs the client nothing: it is not counted as a handshake, and holds no slot.
    ///
    /// # Errors
    /// Why not: its address may not connect, or the limit that the client is at.
    pub fn admit(&self, client: ClientAddr, now: Instant) -> Result<Admission, Denied> {
        if self.lists.denies(client.ip()) {
            return Err(Denied::AddressDenied);
        }
        if self.is_banned(client, now) {
            return Err(Denied::AddressBanned);
        }
        let key = client.key();
        let slot = self.connections.as_ref().map(|connections| connections.reserve(key)).transpose()?;
        if let Some(Handshakes { limit, used }) = &self.handshakes {
            let limit = *limit;
            used.check(&key, now).map_err(|retry_after| Denied::RateExceeded { limit, retry_after })?;
        }
        Ok(Admission { _slot: slot })
    }
}

impl Firewall {
    /// Whether `client` is kept out by a ban at `now`.
    #[must_use]
    pub fn is_banned(&self, client: ClientAddr, now: Instant) -> bool {
        self.bans.hold(client.ip(), now)
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
        self.bans.list(now)
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

/// One admitted connection; dropping it frees the client's slot.
#[derive(Debug)]
#[must_use = "dropping it frees the slot"]
pub struct Admission {
    _slot: Option<Slot>,
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
    /// The client has as many connections as it may have.
    #[error("the client has {limit} connections, the most it may have")]
    ConnectionsExceeded {
        /// The most connections that one client may have.
        limit: u32,
    },
    /// The client begins handshakes faster than it may.
    #[error("the client began more than {limit} handshakes a minute, or a tenth of them at once")]
    RateExceeded {
        /// The handshakes that one client may begin in a minute.
        limit: u32,
        /// After this time one more will be let in.
        retry_after: Duration,
    },
}

#[derive(Debug)]
struct Connections {
    limit: u32,
    counts: Arc<Counts>,
}

impl Connections {
    /// One more connection of `key`, counted under the lock that compared it, so that no race passes the limit.
    fn reserve(&self, key: ClientKey) -> Result<Slot, Denied> {
        let mut counts = self.counts.shard(key);
        let count = counts.get(&key).copied().unwrap_or(0);
        if count >= self.limit {
            return Err(Denied::ConnectionsExceeded { limit: self.limit });
        }
        // Below a limit of the same type, so this is always one more.
        counts.insert(key, count.saturating_add(1));
        Ok(Slot { counts: Arc::clone(&self.counts), key })
    }
}

/// One of a client's connections.
#[derive(Debug)]
struct Slot {
    counts: Arc<Counts>,
    key: ClientKey,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.counts.shard(self.key);
        if let Entry::Occupied(mut count) = counts.entry(self.key) {
            *count.get_mut() = count.get().saturating_sub(1);
            if *count.get() == 0 {
                count.remove();
            }
        }
        // After a flood the map gives its memory back; halving at a quarter keeps the cost of that constant on average.
        if counts.capacity() > SHARD_KEYS_KEPT && counts.len() < counts.capacity() / 4 {
            let keys_kept = counts.capacity() / 2;
            counts.shrink_to(keys_kept);
        }
    }
}

/// How many connections each client has. There is no entry for a client that has none, so the size is bounded by the
/// connections there are.
#[derive(Debug)]
struct Counts {
    /// Keyed with a random secret, so that no client can aim at a shard or a bucket.
    hasher: RandomState,
    shards: [Mutex<HashMap<ClientKey, u32>>; SHARDS],
}

impl Default for Counts {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Counts {
    fn shard(&self, key: ClientKey) -> MutexGuard<'_, HashMap<ClientKey, u32>> {
        let shard = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).expect("less than a usize");
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Handshakes {
    limit: u32,
    used: RateTable,
}

impl Handshakes {
    fn new(limit: u32, now: Instant) -> Self {
        let rate = Rate::new(limit, Duration::from_secs(60), (limit / BURST_DIVISOR).max(1));
        Self { limit, used: RateTable::new(rate, now) }
    }
}

/// A tenth of what is let through in a minute may come at once; at least one.
const BURST_DIVISOR: u32 = 10;

/// Locks: enough that accepting workers seldom wait for each other.
const SHARDS: usize = 64;

/// A shard's map that has room for no more than this is not worth shrinking.
const SHARD_KEYS_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;
    use crate::clock::Clock;

    fn firewall(connections: Option<u32>, handshakes: Option<u32>) -> (Firewall, Instant) {
        let config = Config {
            connections_per_client_max: connections,
            handshakes_per_client_per_minute: handshakes,
            ..Config::default()
        };
        let now = Clock::system().now();
        (Firewall::new(&config, now), now)
    }

    fn client(ip: &str) -> ClientAddr {
        ClientAddr::new(ip.parse().unwrap())
    }

    /// The clients that are counted, and the room that the maps keep for them.
    fn held(firewall: &Firewall) -> (usize, usize) {
        let shards = &firewall.connections.as_ref().unwrap().counts.shards;
        let sum = |of: fn(&HashMap<ClientKey, u32>) -> usize| {
            shards.iter().map(|shard| of(&shard.lock().unwrap())).sum()
        };
        (sum(HashMap::len), sum(HashMap::capacity))
    }

    #[test]
    fn r01_a_client_at_its_connection_limit_is_refused_until_one_ends_and_others_are_not() {
        let (firewall, now) = firewall(Some(2), None);
        let first = firewall.admit(client("192.0.2.1"), now).unwrap();
        let _second = firewall.admit(client("192.0.2.1"), now).unwrap();
        let refused = firewall.admit(client("192.0.2.1"), now).unwrap_err();
        assert_eq!(refused, Denied::ConnectionsExceeded { limit: 2 });
        assert_eq!(refused.to_string(), "the client has 2 connections, the most it may have");
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
    fn a_hundred_clients_in_parallel_never_pass_the_limit() {
        const LIMIT: u32 = 7;
        let (firewall, now) = firewall(Some(LIMIT), None);
        let (start, all_tried) = (Barrier::new(100), Barrier::new(100));
        for _ in 0..20 {
            let admitted = thread::scope(|scope| {
                let attempt = || {
                    start.wait();
                    let admission = firewall.admit(client("192.0.2.1"), now);
                    // Nobody leaves before everybody has tried.
                    all_tried.wait();
                    u32::from(admission.is_ok())
                };
                let attempts: Vec<_> = (0..100).map(|_| scope.spawn(attempt)).collect();
                attempts.into_iter().map(|attempt| attempt.join().unwrap()).sum::<u32>()
            });
            assert_eq!(admitted, LIMIT);
            assert_eq!(held(&firewall).0, 0);
        }
    }

    #[test]
    fn r21_clients_that_are_gone_leave_nothing_behind() {
        let (firewall, now) = firewall(Some(1000), None);
        let admit =
            |bits: u32| firewall.admit(ClientAddr::new(std::net::Ipv4Addr::from_bits(bits).into()), now);
        let admissions: Vec<_> = (0..100_000).map(|bits| admit(bits).unwrap()).collect();
        assert_eq!(held(&firewall).0, 100_000);
        drop(admissions);
        let (clients, capacity) = held(&firewall);
        assert_eq!(clients, 0);
        assert!(capacity <= 2 * SHARDS * SHARD_KEYS_KEPT, "room for {capacity} clients is kept");
    }

    #[test]
    fn r19_two_firewalls_place_the_same_clients_differently() {
        let placed = || {
            let (firewall, now) = firewall(Some(1), None);
            let admit = |host| firewall.admit(client(&format!("192.0.2.{host}")), now).unwrap();
            let _admissions: Vec<_> = (0..100).map(admit).collect();
            let shards = &firewall.connections.as_ref().unwrap().counts.shards;
            shards.each_ref().map(|shard| shard.lock().unwrap().len())
        };
        assert_ne!(placed(), placed());
    }

    #[test]
    fn an_admission_takes_32_bytes() {
        assert!(size_of::<Admission>() <= 32);
    }
}
