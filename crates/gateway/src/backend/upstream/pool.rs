//! The applications of one route: how many connections each has, whether it is left alone, and what is counted of it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::check::CheckError;
use super::drains::{Drain, Drains};
use super::resolver::Asking;
use super::{Check, Config, DialError, Opening};
use crate::balance::{Balance, Breaker, Candidate, Choice, HashBy, Health, Turn, hash_of};
use crate::clock::Instant;
use crate::observe::{Observer, UpstreamMetrics};
use crate::principal::{ClientAddr, ClientKey};
use crate::url::UpstreamUrl;

/// The applications of one route.
pub(super) struct Pool {
    seats: Vec<Arc<Seat>>,
    balance: Balance,
    turn: AtomicUsize,
    /// Failures in a row after which one is left alone; none where there is no other to go to.
    failures_max: Option<u32>,
    /// Held while it is decided whether one is left alone, so that no two are that count on each other.
    ejecting: Mutex<()>,
}

/// One application.
pub(super) struct Seat {
    pub(super) url: UpstreamUrl,
    /// Where its name leads.
    pub(super) asking: Asking,
    weight: u32,
    connections_max: Option<u32>,
    seed: u64,
    open: AtomicU32,
    /// Which of the addresses of its name is the next one's first.
    turn: AtomicUsize,
    breaker: Mutex<Breaker>,
    /// What its checks have shown; `None` while there are none.
    health: Mutex<Option<Health>>,
    /// What its checks say: no connection is to go there.
    is_unhealthy: AtomicBool,
    /// It is out of force: what is found out about it is no news of the application any more.
    is_over: AtomicBool,
    /// What an operator says.
    drain: Arc<Drain>,
    metrics: UpstreamMetrics,
}

/// A connection's place at its application; given back when it is dropped.
pub(crate) struct Lease(Arc<Seat>);

/// A place that is taken while the application is dialled.
pub(super) struct Attempt<'p> {
    pool: &'p Pool,
    lease: Option<Lease>,
}

impl Pool {
    pub(super) fn new(config: &Config, route: &str, observer: &Observer, drains: &Drains) -> Self {
        let seat = |member: &super::Member| {
            let name = member.url.to_string();
            Arc::new(Seat {
                asking: Asking::default(),
                weight: member.weight,
                connections_max: member.connections_max,
                seed: hash_of(name.as_bytes()),
                open: AtomicU32::new(0),
                turn: AtomicUsize::new(0),
                breaker: Mutex::default(),
                health: Mutex::default(),
                is_unhealthy: AtomicBool::new(false),
                is_over: AtomicBool::new(false),
                drain: drains.of(&name),
                metrics: observer.upstream_metrics(route, &name),
                url: member.url.clone(),
            })
        };
        let seats: Vec<_> = config.members.iter().map(seat).collect();
        let failures_max = config.failures_max.filter(|_| seats.len() > 1);
        let turn = AtomicUsize::new(0);
        Self { seats, balance: config.balance.clone(), turn, failures_max, ejecting: Mutex::default() }
    }

    pub(super) const fn len(&self) -> usize {
        self.seats.len()
    }

    pub(super) fn seats(&self) -> &[Arc<Seat>] {
        &self.seats
    }

    pub(super) fn seat(&self, place: usize) -> Option<&Seat> {
        self.seats.get(place).map(|seat| &**seat)
    }

    /// Whether connections can go to another one than `seat`.
    fn has_another(&self, seat: &Arc<Seat>) -> bool {
        let mut others = self.seats.iter().filter(|other| !Arc::ptr_eq(other, seat));
        others.any(|other| other.is_open() && other.has_room() && !other.breaker().is_ejected())
    }

    /// What decides where this connection goes.
    pub(super) fn choice(&self, opening: &Opening<'_>) -> Choice {
        let next = || self.turn.fetch_add(1, Ordering::Relaxed);
        match &self.balance {
            Balance::LeastConnections => Choice::Least { turn: next() },
            Balance::RoundRobin => Choice::Round { turn: next() },
            Balance::Hash(by) => Choice::Hashed { key: key_of(by, opening) },
        }
    }

    /// Takes a place at the one that `choice` says, of those that have not been `tried`.
    ///
    /// # Errors
    /// No application has one.
    pub(super) fn take(
        &self,
        choice: Choice,
        tried: &mut Vec<usize>,
        now: Instant,
    ) -> Result<Attempt<'_>, DialError> {
        loop {
            let candidates: Vec<Candidate> = self
                .seats
                .iter()
                .enumerate()
                .map(|(place, seat)| Candidate {
                    weight: seat.weight,
                    open: seat.open.load(Ordering::Relaxed),
                    seed: seat.seed,
                    is_eligible: !tried.contains(&place)
                        && seat.is_open()
                        && seat.has_room()
                        && seat.breaker().is_closed(now),
                })
                .collect();
            let Some(place) = choice.pick(&candidates) else {
                let is_full = self.seats.iter().any(|seat| seat.is_open() && !seat.has_room());
                return Err(if is_full { DialError::Full } else { DialError::AllEjected });
            };
            tried.push(place);
            let seat = &self.seats[place];
            // Others may have been faster.
            if !seat.breaker().claim(now) {
                continue;
            }
            match seat.enter() {
                Some(lease) => return Ok(Attempt { pool: self, lease: Some(lease) }),
                None => seat.breaker().abandoned(),
            }
        }
    }
}

impl Seat {
    /// The number of the connection that is made there next.
    pub(super) fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self) -> bool {
        self.connections_max.is_none_or(|max| self.open.load(Ordering::Relaxed) < max)
    }

    /// Whether connections may go there, as far as its checks and operators say.
    fn is_open(&self) -> bool {
        !self.is_unhealthy.load(Ordering::Relaxed) && !self.drain.is_on()
    }

    /// It is in force: what is counted of it stands for this seat from now on.
    pub(super) fn begin(&self, is_checked: bool) {
        *self.health() = is_checked.then(Health::default);
        self.metrics.begin(self.drain.is_on());
    }

    /// It is out of force: a check that ends now says nothing any more, nor does a connection that is being made.
    pub(super) fn end(&self) {
        *self.health() = None;
        let _told = self.breaker();
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// It took a connection, or is there to say no.
    fn succeeded(&self) {
        let mut breaker = self.breaker();
        if breaker.succeeded() && !self.is_over.load(Ordering::Relaxed) {
            self.metrics.is_back();
        }
    }

    /// It did not take a connection.
    fn failed(&self, failures_max: u32, error: &DialError, now: Instant) {
        let mut breaker = self.breaker();
        if let Some(time) = breaker.failed(failures_max, now)
            && !self.is_over.load(Ordering::Relaxed)
        {
            self.metrics.is_ejected(time, error);
        }
    }

    /// A check has ended.
    pub(super) fn checked(&self, checked: Result<(), CheckError>, check: &Check) {
        let mut health = self.health();
        let Some(health) = health.as_mut() else { return };
        self.metrics.checked(checked.is_ok());
        let Some(turn) = health.checked(checked.is_ok(), check.failures_max, check.successes_min) else {
            return;
        };
        self.is_unhealthy.store(turn == Turn::Out, Ordering::Relaxed);
        // Of one that is drained nobody expects that it is there.
        let is_told = !self.drain.is_on();
        match checked {
            Ok(()) => self.metrics.is_well(is_told),
            Err(error) => self.metrics.is_unhealthy(&error, is_told),
        }
    }

    fn health(&self) -> MutexGuard<'_, Option<Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more, if there is room for it.
    fn enter(self: &Arc<Self>) -> Option<Lease> {
        let max = self.connections_max.unwrap_or(u32::MAX);
        let more = |open: u32| (open < max).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        self.metrics.connections.inc();
        Some(Lease(Arc::clone(self)))
    }
}

impl Attempt<'_> {
    pub(super) fn seat(&self) -> Option<&Seat> {
        self.lease.as_ref().map(|lease| &*lease.0)
    }

    /// The application took the connection.
    pub(super) fn succeed(mut self) -> Option<Lease> {
        let lease = self.lease.take()?;
        lease.0.metrics.dialled.inc();
        lease.0.succeeded();
        Some(lease)
    }

    /// It did not, and this is why; whether it may have been asked what the client asks.
    ///
    /// Whoever can send a request that an application fails at could have one after the other left alone, and nobody would be served. So what
    /// may be the request's doing never takes away the last one; that nothing takes connections is nobody's request's doing.
    pub(super) fn fail(mut self, error: &DialError, is_asked: bool, now: Instant) {
        let Some(lease) = self.lease.take() else { return };
        let seat = &lease.0;
        seat.metrics.failed.inc();
        let _ejecting = self.pool.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        if !error.is_its_fault() || is_asked && !self.pool.has_another(seat) {
            // It is there, and says no; or there is no other.
            return seat.succeeded();
        }
        let Some(failures_max) = self.pool.failures_max else { return seat.breaker().abandoned() };
        seat.failed(failures_max, error, now);
    }
}

impl Drop for Attempt<'_> {
    /// The client left, or the drain came, before it could be told.
    fn drop(&mut self) {
        if let Some(lease) = &self.lease {
            lease.0.breaker().abandoned();
        }
    }
}

impl Lease {
    /// Whether an operator has drained the application: the connection is to go.
    pub(crate) fn is_drained(&self) -> bool {
        self.0.drain.is_on()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.connections.dec();
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease({})", self.0.url)
    }
}

/// The key that connections which go together have in common.
fn key_of(by: &HashBy, opening: &Opening<'_>) -> u64 {
    let named = match by {
        HashBy::Subject => opening.speaker.map(|speaker| speaker.subject.as_bytes()),
        HashBy::Client => None,
        HashBy::Header(name) => opening
            .request
            .headers()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value),
    };
    match named {
        Some(bytes) => hash_of(&[&b"by name "[..], bytes].concat()),
        None => key_of_client(opening.client),
    }
}

/// Of IPv6 the same for a whole /64, which is one client.
fn key_of_client(client: ClientAddr) -> u64 {
    let first = ClientKey::address_of_bits(client.key().to_bits());
    hash_of(format!("by client {first}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::Member;
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn u11_what_another_configuration_finds_out_says_nothing_of_the_one_in_force() {
        let (clock, drains) = (Clock::system(), Drains::default());
        let observer = Observer::new(None, &["chat"], clock.clone()).unwrap();
        let mut config = Config::new("ws://127.0.0.1:1".parse().unwrap());
        config.members.push(Member::new("ws://127.0.0.1:2".parse().unwrap()));
        config.failures_max = Some(1);
        let pool = || Pool::new(&config, "chat", &observer, &drains);
        let begin = |pool: &Pool| pool.seats().iter().for_each(|seat| seat.begin(false));
        let states = || observer.upstreams().iter().map(|upstream| upstream.state).collect::<Vec<_>>();
        let fail = |attempt: Attempt<'_>| {
            attempt.fail(
                &DialError::Refused(std::io::ErrorKind::ConnectionRefused.into()),
                false,
                clock.now(),
            );
        };
        fn attempt(pool: &Pool, now: Instant) -> Attempt<'_> {
            pool.take(Choice::Round { turn: 0 }, &mut Vec::new(), now).unwrap()
        }
        let before = pool();
        begin(&before);
        let on_its_way = attempt(&before, clock.now());
        let after = pool();
        before.seats().iter().for_each(|seat| seat.end());
        begin(&after);
        fail(on_its_way);
        assert_eq!(states(), ["in_use", "in_use"]);
        fail(attempt(&after, clock.now()));
        assert_eq!(states(), ["left_alone", "in_use"], "of the one in force it does");
    }

    #[test]
    fn r03_connections_of_one_v6_network_go_together() {
        let key = |ip: &str| key_of_client(ClientAddr::new(ip.parse().unwrap()));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
