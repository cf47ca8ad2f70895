//! Which of several applications the next connection goes to, and which of them is left alone for a while.
//!
//! Pure (floor 2): what is known of each is an argument, and so is `now`. The backend keeps the counts and dials.

mod health;

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use crate::clock::Instant;

pub(crate) use health::{Health, Turn, first_pause, next_pause};

/// How connections are spread over the applications of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// To whichever has the fewest open, for its weight.
    #[default]
    LeastConnections,
    /// To each in turn, as often as its weight says.
    RoundRobin,
    /// Always to the same, as long as it is there: those of one key go together, on every gateway that has the same addresses.
    Hash(HashBy),
}

/// What connections that go together have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashBy {
    /// The subject; the client, where there is none.
    Subject,
    /// The client: an IPv4 address, or an IPv6 /64.
    Client,
    /// The value of this header of the request; the client, where it has none.
    Header(String),
}

/// What is known of one application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Its share, at least 1.
    pub(crate) weight: u32,
    /// The connections that it has.
    pub(crate) open: u32,
    /// Tells it from the others, the same on every gateway.
    pub(crate) seed: u64,
    /// It has room, is not left alone, and has not been tried for this connection.
    pub(crate) is_eligible: bool,
}

/// What decides between those that are eligible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The fewest connections; among equals each in turn.
    Least { turn: usize },
    /// Each in turn.
    Round { turn: usize },
    /// The one that the key belongs to.
    Hashed { key: u64 },
}

impl Choice {
    /// The place of the one that the connection goes to; `None` where none is eligible.
    pub(crate) fn pick(self, candidates: &[Candidate]) -> Option<usize> {
        let eligible = || candidates.iter().enumerate().filter(|(_, candidate)| candidate.is_eligible);
        match self {
            Self::Least { turn } => {
                let count = candidates.len().max(1);
                eligible()
                    .min_by(|(one, a), (other, b)| {
                        let load = |candidate: &Candidate, than: &Candidate| {
                            u64::from(candidate.open).saturating_mul(u64::from(than.weight.max(1)))
                        };
                        let distance = |place: usize| (place + count - turn % count) % count;
                        load(a, b).cmp(&load(b, a)).then(distance(*one).cmp(&distance(*other)))
                    })
                    .map(|(place, _)| place)
            }
            Self::Round { turn } => {
                let total: usize = eligible().map(|(_, candidate)| candidate.weight.max(1) as usize).sum();
                let mut left = turn.checked_rem(total)?;
                eligible()
                    .find(|(_, candidate)| {
                        let weight = candidate.weight.max(1) as usize;
                        let is_it = left < weight;
                        left = left.saturating_sub(weight);
                        is_it
                    })
                    .map(|(place, _)| place)
            }
            Self::Hashed { key } => eligible()
                .max_by(|(_, a), (_, b)| score(key, a).total_cmp(&score(key, b)))
                .map(|(place, _)| place),
        }
    }
}

/// Rendezvous hashing: each application draws a number for the key, and the largest wins. One that goes takes only its own keys with it.
fn score(key: u64, candidate: &Candidate) -> f64 {
    let drawn = hash_of(&[key.to_be_bytes(), candidate.seed.to_be_bytes()].concat());
    // In (0, 1): 53 bits, as many as the number has room for, and never 0.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit exactly")]
    let uniform = ((drawn >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(candidate.weight.max(1)) / uniform.ln()
}

/// A number for `bytes`, the same on every gateway and in every version.
pub(crate) fn hash_of(bytes: &[u8]) -> u64 {
    let digest = digest(&SHA256, bytes);
    digest.as_ref().first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first))
}

/// Whether an application is left alone, because it has failed again and again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Breaker {
    /// Failures since the last success.
    failures: u32,
    /// How often in a row it was left alone.
    ejections: u32,
    /// Until when it is.
    ejected_until: Option<Instant>,
    /// One connection is trying whether it is well again.
    is_probed: bool,
}

impl Breaker {
    /// Whether a connection may go there. Once its time is up, one may try, and others when that one has.
    pub(crate) fn is_closed(&self, now: Instant) -> bool {
        self.ejected_until.is_none_or(|until| now >= until && !self.is_probed)
    }

    /// Whether it is left alone, or has yet to show that it need not be any more.
    pub(crate) const fn is_ejected(&self) -> bool {
        self.ejected_until.is_some()
    }

    /// A connection goes there, if it may.
    pub(crate) fn claim(&mut self, now: Instant) -> bool {
        let may = self.is_closed(now);
        self.is_probed = self.ejected_until.is_some() && (may || self.is_probed);
        may
    }

    /// It took the connection. Whether it had been left alone.
    pub(crate) fn succeeded(&mut self) -> bool {
        let was_ejected = self.ejected_until.is_some();
        *self = Self::default();
        was_ejected
    }

    /// Nobody knows: the connection was given up before it could be told.
    pub(crate) fn abandoned(&mut self) {
        self.is_probed = false;
    }

    /// It did not take the connection: for how long it is left alone, if it is from now on.
    pub(crate) fn failed(&mut self, failures_max: u32, now: Instant) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        self.is_probed = false;
        let was_ejected = self.ejected_until.is_some();
        if self.failures < failures_max && !was_ejected {
            return None;
        }
        if was_ejected && self.ejected_until.is_some_and(|until| now < until) {
            // One that was on its way when it was left alone.
            return None;
        }
        let time = EJECTION_TIME.saturating_mul(1 << self.ejections.min(5)).min(EJECTION_TIME_MAX);
        self.ejections = self.ejections.saturating_add(1);
        self.ejected_until = Some(now + time);
        Some(time)
    }
}

/// How long an application that fails is left alone at first; doubled each time that it is found so again.
const EJECTION_TIME: Duration = Duration::from_secs(10);
const EJECTION_TIME_MAX: Duration = Duration::from_mins(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn candidate(weight: u32, open: u32) -> Candidate {
        Candidate { weight, open, seed: u64::from(weight) << 32 | u64::from(open), is_eligible: true }
    }

    #[test]
    fn the_fewest_connections_for_its_weight_is_next_and_equals_take_turns() {
        let least = |turn, candidates: &[Candidate]| Choice::Least { turn }.pick(candidates);
        assert_eq!(least(0, &[candidate(1, 3), candidate(1, 2)]), Some(1));
        assert_eq!(least(0, &[candidate(4, 3), candidate(1, 1)]), Some(0));
        let same = [candidate(1, 0); 3];
        assert_eq!((0..4).map(|turn| least(turn, &same).unwrap()).collect::<Vec<_>>(), [0, 1, 2, 0]);
        let mut one_out = same;
        one_out[1].is_eligible = false;
        assert_eq!(least(1, &one_out), Some(2));
        assert_eq!(least(0, &[]), None);
    }

    #[test]
    fn turns_are_as_the_weights_say() {
        let mut candidates = [candidate(3, 0), candidate(1, 0)];
        let round = |candidates: &[Candidate]| {
            (0..8).map(|turn| Choice::Round { turn }.pick(candidates).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(round(&candidates), [0, 0, 0, 1, 0, 0, 0, 1]);
        candidates[0].is_eligible = false;
        assert_eq!(round(&candidates), [1; 8]);
        candidates[1].is_eligible = false;
        assert_eq!(Choice::Round { turn: 3 }.pick(&candidates), None);
    }

    #[test]
    fn a_key_stays_where_it_is_when_another_application_goes() {
        let mut candidates: Vec<Candidate> =
            (0..5).map(|seed| Candidate { weight: 1, open: 0, seed, is_eligible: true }).collect();
        let pick = |candidates: &[Candidate], key: u64| {
            Choice::Hashed { key: hash_of(&key.to_be_bytes()) }.pick(candidates).unwrap()
        };
        let before: Vec<usize> = (0..5000).map(|key| pick(&candidates, key)).collect();
        for place in 0..5 {
            let share = before.iter().filter(|chosen| **chosen == place).count();
            assert!((850..1150).contains(&share), "{share} of 5000 at {place}");
        }
        candidates[2].is_eligible = false;
        for (key, before) in before.iter().enumerate().filter(|(_, before)| **before != 2) {
            assert_eq!(pick(&candidates, key as u64), *before);
        }
        candidates[2] = Candidate { weight: 4, is_eligible: true, ..candidates[2] };
        let heavy = (0..5000).filter(|key| pick(&candidates, *key) == 2).count();
        assert!((2300..2700).contains(&heavy), "{heavy} of 5000, where half are its share");
    }

    #[test]
    fn u11_one_that_fails_again_and_again_is_left_alone_for_longer_each_time() {
        let mut now = Clock::system().now();
        let mut breaker = Breaker::default();
        assert_eq!([breaker.failed(3, now), breaker.failed(3, now)], [None; 2]);
        assert!(!breaker.succeeded() && breaker.claim(now), "a success forgets them");
        assert_eq!([breaker.failed(3, now), breaker.failed(3, now)], [None; 2]);
        let mut times = Vec::new();
        for _ in 0..7 {
            let time = breaker.failed(3, now).unwrap();
            assert_eq!(breaker.failed(3, now), None, "one that was on its way changes nothing");
            assert!(!breaker.claim(now + time - Duration::from_millis(1)));
            now += time;
            assert!(breaker.claim(now) && !breaker.claim(now), "one tries, and the others wait for it");
            times.push(time.as_secs());
        }
        assert_eq!(times, [10, 20, 40, 80, 160, 300, 300]);
        breaker.abandoned();
        assert!(breaker.claim(now));
        assert!(breaker.succeeded() && breaker.claim(now) && breaker.claim(now));
        assert_eq!(breaker, Breaker::default());
    }
}
