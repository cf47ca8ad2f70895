//! How fast a route's clients may send: what one session, one subject and one client have left of it.
//!
//! Decides nothing about the connection; the relay asks for each piece of a message, and closes or waits. Subjects and clients share tables
//! of fixed memory with all that is theirs on the route.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Instant, Moment};
use crate::limits::{Limits, OverRate, Rates};
use crate::principal::{ClientAddr, ClientKey};
use crate::rate::{Gcra, Rate, RateTable};
use crate::reason::Reason;

/// The rates of a route; none where it has none.
#[derive(Debug)]
pub(crate) struct Paces {
    over_rate: OverRate,
    session: Pair<Rate>,
    subject: Pair<RateTable>,
    client: Pair<RateTable>,
}

/// One for messages, one for their bytes.
#[derive(Debug, Default)]
struct Pair<T> {
    messages: Option<(T, u64)>,
    bytes: Option<(T, u64)>,
}

/// What one connection has used, and whose it is.
#[derive(Debug)]
pub(super) struct Pacing {
    messages: Gcra,
    bytes: Gcra,
    subject: Option<Arc<str>>,
    client: ClientAddr,
}

/// What a piece of a message is to a rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// It is the first of its message.
    pub(super) is_first: bool,
    pub(super) bytes: usize,
}

/// A rate that is exceeded, by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Over {
    pub(super) reason: Reason,
    pub(super) limit: u64,
    pub(super) whose: &'static str,
}

impl Paces {
    /// The rates of these limits, nothing of them used at `now`.
    pub(crate) fn new(limits: &Limits, now: Instant) -> Option<Self> {
        let pace = &limits.pace;
        if [pace.session, pace.subject, pace.client].iter().all(|rates| *rates == Rates::default()) {
            return None;
        }
        // A message that may be sent at all is never over the rate by itself.
        let burst = limits.message_bytes_max.unwrap_or(0);
        let table = |rate: Rate| RateTable::new(rate, now);
        Some(Self {
            over_rate: pace.over_rate,
            session: Pair::new(pace.session, burst, |rate| rate),
            subject: Pair::new(pace.subject, burst, table),
            client: Pair::new(pace.client, burst, table),
        })
    }

    /// Counts a piece; how long to wait before the next is read.
    ///
    /// # Errors
    /// The rate that it is over, where that is not to be waited for.
    pub(super) fn take(
        &self,
        pacing: &mut Pacing,
        piece: Piece,
        now: Moment,
        instant: Instant,
    ) -> Result<Duration, Over> {
        let mut wait = Duration::ZERO;
        let bytes = u32::try_from(piece.bytes).unwrap_or(u32::MAX);
        for (count, kind, is_counted) in
            [(1, Kind::Messages, piece.is_first), (bytes, Kind::Bytes, piece.bytes > 0)]
        {
            if !is_counted {
                continue;
            }
            let own = match kind {
                Kind::Messages => &mut pacing.messages,
                Kind::Bytes => &mut pacing.bytes,
            };
            if let Some((rate, limit)) = self.session.of(kind) {
                let held = match self.over_rate {
                    OverRate::Close => own.check_many(rate, count, now).map(|()| Duration::ZERO),
                    OverRate::Slow => Ok(own.spend(rate, count, now)),
                };
                wait = wait.max(held.map_err(|_| kind.over(*limit, "of the session"))?);
            }
            let mut shared = |table: &RateTable, key: &Key<'_>, limit, whose| {
                let held = match self.over_rate {
                    OverRate::Close => table.check_many(key, count, instant).map(|()| Duration::ZERO),
                    OverRate::Slow => Ok(table.spend(key, count, instant)),
                };
                wait = wait.max(held.map_err(|_| kind.over(limit, whose))?);
                Ok(())
            };
            if let (Some((table, limit)), Some(subject)) = (self.subject.of(kind), &pacing.subject) {
                shared(table, &Key::Subject(subject), *limit, "of the subject")?;
            }
            if let Some((table, limit)) = self.client.of(kind) {
                shared(table, &Key::Client(pacing.client.key()), *limit, "of the client")?;
            }
        }
        Ok(wait)
    }
}

impl Pacing {
    /// Nothing used yet, by `client`, who is `subject` where that is known.
    pub(super) const fn new(client: ClientAddr, subject: Option<Arc<str>>) -> Self {
        Self { messages: Gcra::NEW, bytes: Gcra::NEW, subject, client }
    }
}

impl<T> Pair<T> {
    fn new(rates: Rates, burst_bytes: u64, make: impl Fn(Rate) -> T) -> Self {
        let of = |per_second: Option<u64>, burst: u64| {
            let per_second = per_second?;
            let [count, burst] =
                [per_second, burst.max(per_second)].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
            Some((make(Rate::new(count, Duration::from_secs(1), burst)), per_second))
        };
        Self { messages: of(rates.messages_per_second, 1), bytes: of(rates.bytes_per_second, burst_bytes) }
    }

    const fn of(&self, kind: Kind) -> Option<&(T, u64)> {
        match kind {
            Kind::Messages => self.messages.as_ref(),
            Kind::Bytes => self.bytes.as_ref(),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Messages,
    Bytes,
}

impl Kind {
    const fn over(self, limit: u64, whose: &'static str) -> Over {
        let reason = match self {
            Self::Messages => Reason::MessageRateExceeded,
            Self::Bytes => Reason::ByteRateExceeded,
        };
        Over { reason, limit, whose }
    }
}

#[derive(Hash)]
enum Key<'k> {
    Subject(&'k str),
    Client(ClientKey),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::limits::Pace;
    use crate::rate::WAIT_MAX;

    fn limits(over_rate: OverRate) -> Limits {
        let rates = |messages, bytes| Rates { messages_per_second: messages, bytes_per_second: bytes };
        let pace = Pace {
            session: rates(Some(2), Some(100)),
            subject: rates(Some(3), None),
            client: rates(Some(5), None),
            over_rate,
        };
        Limits { message_bytes_max: Some(150), pace, ..Limits::default() }
    }

    fn pacing(address: &str, subject: Option<&str>) -> Pacing {
        Pacing::new(ClientAddr::new(address.parse().unwrap()), subject.map(Arc::from))
    }

    const MESSAGE: Piece = Piece { is_first: true, bytes: 1 };

    #[test]
    fn without_rates_there_is_nothing_to_ask() {
        assert!(Paces::new(&Limits::default(), Clock::system().now()).is_none());
    }

    #[test]
    fn r12_r14_each_of_session_subject_and_client_has_its_own_and_shares_it() {
        let at = Clock::system().now();
        let paces = Paces::new(&limits(OverRate::Close), at).unwrap();
        let now = Moment::EPOCH;
        let mut one = pacing("192.0.2.1", Some("alice"));
        let take = |pacing: &mut Pacing| paces.take(pacing, MESSAGE, now, at);
        assert_eq!([take(&mut one), take(&mut one)], [Ok(Duration::ZERO); 2]);
        assert_eq!(take(&mut one).unwrap_err(), Kind::Messages.over(2, "of the session"));
        // Another session of hers has one left of three, though it comes from elsewhere.
        let mut other = pacing("192.0.2.2", Some("alice"));
        assert_eq!(take(&mut other), Ok(Duration::ZERO));
        assert_eq!(take(&mut other).unwrap_err(), Kind::Messages.over(3, "of the subject"));
        // Others of her client share five with her.
        for _ in 0..3 {
            assert_eq!(take(&mut pacing("192.0.2.1", None)), Ok(Duration::ZERO));
        }
        assert_eq!(
            take(&mut pacing("192.0.2.1", None)).unwrap_err(),
            Kind::Messages.over(5, "of the client")
        );
        assert_eq!(take(&mut pacing("192.0.2.3", Some("bob"))), Ok(Duration::ZERO));
    }

    #[test]
    fn r03_the_addresses_of_one_v6_network_share_the_rate_of_one_client() {
        let at = Clock::system().now();
        let paces = Paces::new(&limits(OverRate::Close), at).unwrap();
        let takes = |last: u16| {
            paces.take(&mut pacing(&format!("2001:db8::{last:x}"), None), MESSAGE, Moment::EPOCH, at)
        };
        for last in 0..5 {
            assert_eq!(takes(last), Ok(Duration::ZERO));
        }
        assert_eq!(takes(5).unwrap_err(), Kind::Messages.over(5, "of the client"));
        let other = paces.take(&mut pacing("2001:db8:0:1::1", None), MESSAGE, Moment::EPOCH, at);
        assert_eq!(other, Ok(Duration::ZERO));
    }

    #[test]
    fn r13_a_message_that_is_allowed_is_never_over_by_itself_and_the_next_is() {
        let at = Clock::system().now();
        let paces = Paces::new(&limits(OverRate::Close), at).unwrap();
        let mut pacing = pacing("192.0.2.1", None);
        let large = Piece { is_first: true, bytes: 150 };
        assert_eq!(paces.take(&mut pacing, large, Moment::EPOCH, at), Ok(Duration::ZERO));
        assert_eq!(
            paces.take(&mut pacing, MESSAGE, Moment::EPOCH, at).unwrap_err(),
            Kind::Bytes.over(100, "of the session")
        );
    }

    #[test]
    fn r14_who_is_to_be_slowed_waits_for_just_what_is_too_much() {
        let at = Clock::system().now();
        let paces = Paces::new(&limits(OverRate::Slow), at).unwrap();
        let mut pacing = pacing("192.0.2.1", None);
        let mut waits = Vec::new();
        for _ in 0..4 {
            waits.push(
                paces.take(&mut pacing, Piece { is_first: true, bytes: 0 }, Moment::EPOCH, at).unwrap(),
            );
        }
        assert_eq!(waits, [0, 0, 500, 1000].map(Duration::from_millis));
        let huge = Piece { is_first: false, bytes: 1 << 30 };
        assert_eq!(paces.take(&mut pacing, huge, Moment::EPOCH, at), Ok(WAIT_MAX));
    }

    #[test]
    fn r14_whoever_shares_an_address_with_one_who_sent_for_hours_waits_no_longer_than_a_moment() {
        let begun = Clock::system().now();
        let limits = Limits {
            message_bytes_max: Some(100),
            pace: Pace {
                over_rate: OverRate::Slow,
                client: Rates { messages_per_second: None, bytes_per_second: Some(100) },
                ..Pace::default()
            },
            ..Limits::default()
        };
        let paces = Paces::new(&limits, begun).unwrap();
        let client = ClientAddr::new("192.0.2.1".parse().unwrap());
        let piece = Piece { is_first: true, bytes: 100 };
        let mut at = begun;
        // A thousand connections of one who takes no notice.
        for _ in 0..3600 {
            at += Duration::from_secs(1);
            for _ in 0..10 {
                let wait = paces.take(&mut Pacing::new(client, None), piece, Moment::EPOCH, at).unwrap();
                assert!(wait <= WAIT_MAX);
            }
        }
        at += WAIT_MAX + Duration::from_secs(1);
        let neighbour = paces.take(&mut Pacing::new(client, None), piece, Moment::EPOCH, at);
        assert_eq!(neighbour, Ok(Duration::ZERO));
    }
}
