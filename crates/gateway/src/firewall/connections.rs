//! How many connections each client has, and each IPv6 /48: counted under the lock that compares, so that no race passes a limit.
//!
//! Decides only. Asked by the firewall once the address itself may connect; what it gives frees the places when it is dropped.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::{BuildHasher as _, Hash};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Denied;
use crate::principal::{ClientKey, SiteKey};

/// The caps on connections, shared by all that hold a place under them.
#[derive(Clone, Debug)]
pub(super) struct Connections(Arc<Caps>);

#[derive(Debug)]
struct Caps {
    by_client: Cap<ClientKey>,
    /// For clients of IPv6: who is given a /48 can have 65,536 of what is counted as one client.
    by_site: Cap<SiteKey>,
}

impl Connections {
    /// Where a cap is `None` connections are counted all the same: there may be one later.
    pub(super) fn new(per_client_max: Option<u32>, per_site_max: Option<u32>) -> Self {
        Self(Arc::new(Caps { by_client: Cap::new(per_client_max), by_site: Cap::new(per_site_max) }))
    }

    /// Caps what comes from now on at these limits. Who has more than that keeps it.
    pub(super) fn set_limits(&self, per_client_max: Option<u32>, per_site_max: Option<u32>) {
        self.0.by_client.set_limit(per_client_max);
        self.0.by_site.set_limit(per_site_max);
    }

    /// One more connection of `key`, if both caps have room for it.
    pub(super) fn reserve(&self, key: ClientKey) -> Result<Slot, Denied> {
        let Caps { by_client, by_site } = &*self.0;
        by_client.add(key)?;
        if let Some(site) = key.site()
            && let Err(denied) = by_site.add(site)
        {
            by_client.remove(key);
            return Err(denied);
        }
        Ok(Slot { caps: Arc::clone(&self.0), key })
    }
}

/// One of a client's connections.
#[derive(Debug)]
pub(super) struct Slot {
    caps: Arc<Caps>,
    key: ClientKey,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Caps { by_client, by_site } = &*self.caps;
        by_client.remove(self.key);
        if let Some(site) = self.key.site() {
            by_site.remove(site);
        }
    }
}

/// A limit, and how many there are by key. There is no entry for a key that has none, so the size is bounded by the
/// connections there are.
#[derive(Debug)]
struct Cap<K> {
    /// [`u32::MAX`] where there is none.
    limit: AtomicU32,
    /// Keyed with a random secret, so that no client can aim at a shard or a bucket.
    hasher: RandomState,
    shards: [Mutex<HashMap<K, u32>>; SHARDS],
}

impl<K: Copy + Eq + Hash> Cap<K> {
    fn new(limit: Option<u32>) -> Self {
        let limit = AtomicU32::new(limit.unwrap_or(u32::MAX));
        Self { limit, hasher: RandomState::new(), shards: std::array::from_fn(|_| Mutex::default()) }
    }

    fn set_limit(&self, limit: Option<u32>) {
        self.limit.store(limit.unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    fn add(&self, key: K) -> Result<(), Denied> {
        let mut counts = self.shard(key);
        let count = counts.get(&key).copied().unwrap_or(0);
        let limit = self.limit.load(Ordering::Relaxed);
        if count >= limit {
            return Err(Denied::ConnectionsExceeded { limit });
        }
        // Below a limit of the same type, so this is always one more.
        counts.insert(key, count.saturating_add(1));
        Ok(())
    }

    fn remove(&self, key: K) {
        let mut counts = self.shard(key);
        if let Entry::Occupied(mut count) = counts.entry(key) {
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

    fn shard(&self, key: K) -> MutexGuard<'_, HashMap<K, u32>> {
        let shard = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).expect("less than a usize");
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Locks: enough that accepting workers seldom wait for each other.
const SHARDS: usize = 64;

/// A shard's map that has room for no more than this is not worth shrinking.
const SHARD_KEYS_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Barrier;
    use std::thread;

    use super::*;
    use crate::principal::ClientAddr;

    fn connections(per_client_max: u32, per_site_max: u32) -> Connections {
        Connections::new(Some(per_client_max), Some(per_site_max))
    }

    fn key(ip: &str) -> ClientKey {
        ClientAddr::new(ip.parse().unwrap()).key()
    }

    /// The clients that are counted, the room that the maps keep for them, and the /48s.
    fn held(connections: &Connections) -> (usize, usize, usize) {
        fn sum<K>(cap: &Cap<K>, of: fn(&HashMap<K, u32>) -> usize) -> usize {
            cap.shards.iter().map(|shard| of(&shard.lock().unwrap())).sum()
        }
        let Caps { by_client, by_site } = &*connections.0;
        (sum(by_client, HashMap::len), sum(by_client, HashMap::capacity), sum(by_site, HashMap::len))
    }

    #[test]
    fn r03_a_48_has_a_cap_of_its_own_whatever_of_its_64s_are_used() {
        let connections = connections(2, 5);
        let limit = |limit| Denied::ConnectionsExceeded { limit };
        let mut slots: Vec<_> = (0..5)
            .map(|subnet| connections.reserve(key(&format!("2001:db8:1:{subnet}::1"))).unwrap())
            .collect();
        assert_eq!(connections.reserve(key("2001:db8:1:ffff::1")).unwrap_err(), limit(5));
        // What is refused holds nothing; a client at its own limit hears of that.
        assert_eq!(held(&connections).0, 5);
        slots.pop();
        slots.push(connections.reserve(key("2001:db8:1:0::2")).unwrap());
        assert_eq!(connections.reserve(key("2001:db8:1:0::3")).unwrap_err(), limit(2));
        let _next_site = connections.reserve(key("2001:db8:2::1")).unwrap();
        // All of IPv4 is no site.
        let _v4: Vec<_> =
            (1..20).map(|host| connections.reserve(key(&format!("10.0.0.{host}"))).unwrap()).collect();
        assert_eq!(held(&connections).2, 2);
        drop(slots);
        assert_eq!((held(&connections).0, held(&connections).2), (20, 1));
    }

    #[test]
    fn either_cap_may_be_without_limit() {
        let site = Connections::new(None, Some(1));
        let _slot = site.reserve(key("2001:db8::1")).unwrap();
        assert!(site.reserve(key("2001:db8:0:1::1")).is_err());
        let _v4: Vec<_> = (0..10).map(|_| site.reserve(key("192.0.2.1")).unwrap()).collect();
        let client = Connections::new(Some(1), None);
        let _slots: Vec<_> =
            (0..10).map(|subnet| client.reserve(key(&format!("2001:db8:0:{subnet}::1"))).unwrap()).collect();
        assert!(client.reserve(key("2001:db8:0:1::2")).is_err());
        let neither = Connections::new(None, None);
        let _many: Vec<_> = (0..10).map(|_| neither.reserve(key("2001:db8::1")).unwrap()).collect();
    }

    #[test]
    fn o03_another_limit_finds_what_was_counted_before_also_where_there_was_none() {
        let connections = Connections::new(None, None);
        let slots: Vec<_> = (0..3).map(|_| connections.reserve(key("192.0.2.1")).unwrap()).collect();
        connections.set_limits(Some(3), None);
        assert_eq!(
            connections.reserve(key("192.0.2.1")).unwrap_err(),
            Denied::ConnectionsExceeded { limit: 3 }
        );
        connections.set_limits(Some(2), None);
        drop(slots);
        let _slots = [(); 2].map(|()| connections.reserve(key("192.0.2.1")).unwrap());
        assert!(connections.reserve(key("192.0.2.1")).is_err());
    }

    #[test]
    fn a_hundred_clients_in_parallel_never_pass_the_limit() {
        const LIMIT: u32 = 7;
        for (per_client_max, per_site_max) in [(LIMIT, 1000), (1000, LIMIT)] {
            let connections = connections(per_client_max, per_site_max);
            let (start, all_tried) = (Barrier::new(100), Barrier::new(100));
            for _ in 0..10 {
                let admitted = thread::scope(|scope| {
                    let attempt = || {
                        start.wait();
                        let slot = connections.reserve(key("2001:db8::1"));
                        // Nobody leaves before everybody has tried.
                        all_tried.wait();
                        u32::from(slot.is_ok())
                    };
                    let attempts: Vec<_> = (0..100).map(|_| scope.spawn(attempt)).collect();
                    attempts.into_iter().map(|attempt| attempt.join().unwrap()).sum::<u32>()
                });
                assert_eq!(admitted, LIMIT);
                assert_eq!((held(&connections).0, held(&connections).2), (0, 0));
            }
        }
    }

    #[test]
    fn r21_clients_that_are_gone_leave_nothing_behind() {
        let connections = connections(1000, 1000);
        let reserve = |bits: u32| {
            let ip: IpAddr = Ipv4Addr::from_bits(bits).into();
            connections.reserve(ClientAddr::new(ip).key()).unwrap()
        };
        let slots: Vec<_> = (0..100_000).map(reserve).collect();
        assert_eq!(held(&connections).0, 100_000);
        drop(slots);
        let (clients, capacity, _) = held(&connections);
        assert_eq!(clients, 0);
        assert!(capacity <= 2 * SHARDS * SHARD_KEYS_KEPT, "room for {capacity} clients is kept");
    }

    #[test]
    fn r19_two_firewalls_place_the_same_clients_differently() {
        let placed = || {
            let connections = connections(1, 1);
            let reserve = |host| connections.reserve(key(&format!("192.0.2.{host}"))).unwrap();
            let _slots: Vec<_> = (0..100).map(reserve).collect();
            let by_client = &connections.0.by_client;
            by_client.shards.each_ref().map(|shard| shard.lock().unwrap().len())
        };
        assert_ne!(placed(), placed());
    }
}
