//! The connections that live: counted, and told together that the gateway drains or sheds load, or that a network is banned.
//!
//! A connection has its place from its accept to its end. Nothing is decided here but who is shed first.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::network::Network;
use crate::overload::Demand;
use crate::pulse::{Pulse, Signal};

/// The connections that live: to be told that the gateway drains or sheds load, and counted.
#[derive(Debug, Default)]
pub(crate) struct Live {
    places: Mutex<Places>,
    emptied: Notify,
}

/// A place for each; those that are free are used first.
#[derive(Debug, Default)]
struct Places {
    pulses: Vec<Option<Arc<Pulse>>>,
    free: Vec<usize>,
}

impl Live {
    /// Adds a connection, and gives it a place.
    pub(super) fn enter(&self, pulse: Arc<Pulse>) -> usize {
        self.locked().take(pulse)
    }

    /// Takes the connection out that has this place.
    pub(super) fn leave(&self, place: usize) {
        let mut places = self.locked();
        places.give_back(place);
        if places.count() == 0 {
            self.emptied.notify_waiters();
        }
    }

    /// How many live.
    pub(crate) fn count(&self) -> usize {
        self.locked().count()
    }

    /// Those that live now.
    pub(crate) fn pulses(&self) -> Vec<Arc<Pulse>> {
        self.locked().pulses.iter().flatten().cloned().collect()
    }

    /// Ends the connections of `network`; how many. Looks at all of them, under the lock, and wakes those outside it.
    pub(crate) fn ban(&self, network: Network) -> usize {
        let is_of = |pulse: &&Arc<Pulse>| pulse.client_address().is_some_and(|ip| network.contains(ip));
        let banned: Vec<_> = self.locked().pulses.iter().flatten().filter(is_of).cloned().collect();
        banned.iter().for_each(|pulse| pulse.signal(Signal::Banned));
        banned.len()
    }

    /// Ends the connections of whoever is `denied`, of whom the address is known, of IPv6 the first of its /64; how many.
    pub(crate) fn deny(&self, denied: impl Fn(IpAddr) -> bool) -> usize {
        let is_of = |pulse: &&Arc<Pulse>| pulse.client_address().is_some_and(&denied);
        let denied: Vec<_> = self.locked().pulses.iter().flatten().filter(is_of).cloned().collect();
        denied.iter().for_each(|pulse| pulse.signal(Signal::Denied));
        denied.len()
    }

    /// Has every connection look at whether its route has been retired.
    pub(crate) fn look_at_routes(&self) {
        self.pulses().iter().for_each(|pulse| pulse.signal(Signal::Retired));
    }

    /// Waits until none lives.
    pub(crate) async fn until_empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.count() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Ends the slowest readers until `excess` bytes of waiting output will have been given up.
    pub(crate) fn shed(&self, excess: usize) {
        let mut blocked: Vec<_> =
            self.pulses().into_iter().filter_map(|pulse| Some((pulse.blocked()?, pulse))).collect();
        blocked.sort_by_key(|((since_ms, _), _)| *since_ms);
        let mut freed = 0;
        for ((_, bytes), pulse) in blocked {
            if freed >= excess {
                return;
            }
            freed += bytes;
            pulse.signal(Signal::Shed);
        }
    }

    /// Has connections go until `demand` will have been met: those whose peers read slowest, for what waits there, and then, where that
    /// was not enough before, those of the clients that have the most. `others_bytes` is what all of them take beside what waits.
    pub(crate) fn relieve(&self, demand: &Demand, others_bytes: u64) {
        let pulses = self.pulses();
        let waiting: usize = pulses.iter().filter_map(|pulse| pulse.blocked()).map(|(_, bytes)| bytes).sum();
        let wanted = usize::try_from(demand.bytes).unwrap_or(usize::MAX);
        self.shed(wanted);
        let left = u64::try_from(wanted.saturating_sub(waiting)).unwrap_or(u64::MAX);
        if !demand.from_anyone || left == 0 {
            return;
        }
        let count = u64::try_from(pulses.len()).unwrap_or(u64::MAX).max(1);
        let each_bytes = (others_bytes / count).max(CONNECTION_BYTES_MIN);
        let wanted = usize::try_from(left.div_ceil(each_bytes)).unwrap_or(usize::MAX);
        for pulse in by_share(pulses).iter().take(wanted) {
            pulse.signal(Signal::Overload);
        }
    }

    fn locked(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those of the client with the most connections first.
fn by_share(pulses: Vec<Arc<Pulse>>) -> Vec<Arc<Pulse>> {
    let mut counts: HashMap<Option<IpAddr>, usize> = HashMap::new();
    for pulse in &pulses {
        *counts.entry(pulse.client_address()).or_default() += 1;
    }
    let mut pulses = pulses;
    // Of clients with as many the same one's stay together; within one the order is whichever places had.
    pulses.sort_by_cached_key(|pulse| {
        let client = pulse.client_address();
        (Reverse(counts.get(&client).copied().unwrap_or(0)), client)
    });
    pulses
}

/// What a connection takes at least, with its socket.
const CONNECTION_BYTES_MIN: u64 = 4096;

impl Places {
    fn count(&self) -> usize {
        self.pulses.len() - self.free.len()
    }

    fn take(&mut self, pulse: Arc<Pulse>) -> usize {
        if let Some(place) = self.free.pop() {
            self.pulses[place] = Some(pulse);
            return place;
        }
        self.pulses.push(Some(pulse));
        self.pulses.len() - 1
    }

    fn give_back(&mut self, place: usize) {
        self.pulses[place] = None;
        self.free.push(place);
        if self.count() == 0 {
            // What a flood has grown is given back.
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::ClientAddr;

    #[test]
    fn r18_a_ban_ends_nobody_whose_address_is_not_known_yet() {
        let live = Live::default();
        let (unknown, local) = (Arc::<Pulse>::default(), Arc::<Pulse>::default());
        local.belongs_to(ClientAddr::new("::1".parse().unwrap()).key());
        for pulse in [&unknown, &local] {
            live.enter(Arc::clone(pulse));
        }
        for prefix_bits in [64, 0] {
            assert_eq!(live.ban(Network::around("::1".parse().unwrap(), prefix_bits)), 1);
        }
        assert!(!unknown.is_called(std::task::Waker::noop()) && local.is_called(std::task::Waker::noop()));
    }

    #[test]
    fn a_place_that_was_given_back_is_the_next_to_be_taken() {
        let mut places = Places::default();
        let taken = [(); 3].map(|()| places.take(Arc::default()));
        assert_eq!((taken, places.count()), ([0, 1, 2], 3));
        places.give_back(1);
        assert_eq!((places.count(), places.take(Arc::default()), places.count()), (2, 1, 3));
    }

    #[test]
    fn when_the_last_has_gone_nothing_is_held() {
        let mut places = Places::default();
        let taken = [(); 100].map(|()| places.take(Arc::default()));
        taken.into_iter().for_each(|place| places.give_back(place));
        assert_eq!((places.count(), places.pulses.capacity(), places.free.capacity()), (0, 0, 0));
    }
}
