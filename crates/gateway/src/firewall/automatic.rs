//! Bans that nobody has to make: of clients that have been refused again and again, for longer each time.
//!
//! Decides only; whoever asks puts the ban in force. Memory is fixed: a table for each reason, and a bounded number of those who were banned
//! before. These bans are of this process alone, and end with it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Instant;
use crate::network::Network;
use crate::principal::{ClientAddr, ClientKey};
use crate::rate::{Rate, RateTable};
use crate::reason::Reason;

/// The `[firewall.automatic_bans]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// For which refusals, and how many of each a client may have in a minute.
    pub per_minute: Vec<(Reason, u32)>,
    /// How long the first ban of a client lasts; each within a day of the last doubles it.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
    /// Who is never banned: proxies that speak for others, above all.
    pub never: Vec<Network>,
    /// Nobody is banned: what would be is counted and logged.
    pub is_shadow: bool,
}

/// What has been counted.
#[derive(Debug)]
pub(super) struct Automatic {
    config: Config,
    tables: Vec<(Reason, RateTable)>,
    before: Mutex<HashMap<ClientKey, Before>>,
}

/// The last ban of a client.
#[derive(Clone, Copy, Debug)]
struct Before {
    until: Instant,
    time: Duration,
}

/// A ban that is to be put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sentence {
    pub(crate) client: ClientAddr,
    pub(crate) reason: Reason,
    pub(crate) time: Duration,
    pub(crate) is_shadow: bool,
}

impl Automatic {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        let table = |(reason, count): &(Reason, u32)| {
            (*reason, RateTable::new(Rate::new(*count, Duration::from_mins(1), *count), now))
        };
        let tables = config.per_minute.iter().map(table).collect();
        Self { config: config.clone(), tables, before: Mutex::default() }
    }

    /// Whether it goes by this configuration.
    pub(super) fn is_by(&self, config: &Config) -> bool {
        self.config == *config
    }

    /// Counts a refusal; the ban, where it was one too many.
    pub(super) fn note(&self, client: ClientAddr, reason: Reason, now: Instant) -> Option<Sentence> {
        if self.config.never.iter().any(|network| network.contains(client.ip())) {
            return None;
        }
        let (_, table) = self.tables.iter().find(|(counted, _)| *counted == reason)?;
        let key = client.key();
        if table.check(&key, now).is_ok() {
            return None;
        }
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let last = before.get(&key).copied();
        // Connections that ended with the ban, or, in shadow, would have.
        if last.is_some_and(|last| now < last.until) {
            return None;
        }
        let time = match last.filter(|last| now < last.until + REMEMBERED) {
            Some(last) => last.time.saturating_mul(2).min(self.config.longest),
            None => self.config.first.min(self.config.longest),
        };
        if before.len() >= REMEMBERED_MAX && !before.contains_key(&key) {
            before.retain(|_, last| now < last.until + REMEMBERED);
            if before.len() >= REMEMBERED_MAX
                && let Some(oldest) = before.iter().min_by_key(|(_, last)| last.until).map(|(key, _)| *key)
            {
                before.remove(&oldest);
            }
        }
        before.insert(key, Before { until: now + time, time });
        Some(Sentence { client, reason, time, is_shadow: self.config.is_shadow })
    }
}

/// How long a ban is remembered once it is over.
const REMEMBERED: Duration = Duration::from_hours(24);
/// How many are.
const REMEMBERED_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn automatic(now: Instant) -> Automatic {
        let config = Config {
            per_minute: vec![(Reason::TokenInvalid, 3), (Reason::PolicyRefused, 1)],
            first: Duration::from_secs(60),
            longest: Duration::from_secs(200),
            never: vec!["10.9.0.0/16".parse().unwrap()],
            is_shadow: false,
        };
        Automatic::new(&config, now)
    }

    fn client(address: &str) -> ClientAddr {
        ClientAddr::new(address.parse().unwrap())
    }

    #[test]
    fn one_refusal_too_many_is_a_ban_and_each_after_it_is_longer() {
        let mut now = Clock::system().now();
        let automatic = automatic(now);
        let one = client("192.0.2.1");
        let mut times = Vec::new();
        for _ in 0..4 {
            for _ in 0..3 {
                assert_eq!(automatic.note(one, Reason::TokenInvalid, now), None);
            }
            let sentence = automatic.note(one, Reason::TokenInvalid, now).unwrap();
            assert_eq!((sentence.client, sentence.reason), (one, Reason::TokenInvalid));
            assert_eq!(automatic.note(one, Reason::TokenInvalid, now), None, "one ban is enough");
            times.push(sentence.time.as_secs());
            now += sentence.time + Duration::from_secs(61);
        }
        assert_eq!(times, [60, 120, 200, 200]);
        now += REMEMBERED;
        (0..3).for_each(|_| assert_eq!(automatic.note(one, Reason::TokenInvalid, now), None));
        assert_eq!(automatic.note(one, Reason::TokenInvalid, now).unwrap().time.as_secs(), 60);
    }

    #[test]
    fn each_reason_and_each_client_is_counted_by_itself_and_others_not_at_all() {
        let now = Clock::system().now();
        let automatic = automatic(now);
        let (one, other) = (client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(automatic.note(one, Reason::PolicyRefused, now), None);
        assert_eq!(automatic.note(one, Reason::TokenInvalid, now), None);
        assert_eq!(automatic.note(other, Reason::PolicyRefused, now), None);
        for _ in 0..1000 {
            assert_eq!(automatic.note(one, Reason::ClosedByClient, now), None);
        }
        for _ in 0..1000 {
            assert_eq!(automatic.note(client("10.9.1.1"), Reason::PolicyRefused, now), None);
        }
        // Of IPv6 a /64 is one client.
        assert_eq!(automatic.note(client("2001:db8::1"), Reason::PolicyRefused, now), None);
        assert!(automatic.note(client("2001:db8::2"), Reason::PolicyRefused, now).is_some());
    }

    #[test]
    fn r18_those_who_are_remembered_are_bounded_and_the_newest() {
        let now = Clock::system().now();
        let automatic = automatic(now);
        for number in 0..10_100_u32 {
            let one = ClientAddr::new(std::net::Ipv4Addr::from(0x0a00_0000 + number).into());
            let at = now + Duration::from_millis(number.into());
            let _ = automatic.note(one, Reason::PolicyRefused, at);
            assert!(automatic.note(one, Reason::PolicyRefused, at).is_some());
        }
        assert_eq!(automatic.before.lock().unwrap().len(), REMEMBERED_MAX);
    }
}
