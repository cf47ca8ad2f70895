//! One-time tickets: an application vouches for somebody whose browser cannot send a header.
//!
//! An application has one issued, by the admin listener's API or by the library, and hands it to its page, which shows it
//! once, within [`TICKET_TIME_MAX`]. A ticket lives in memory alone, as its hash: a restart voids it, and nothing that is
//! read from memory or a dump can be shown. Pure: `now` and the random bits are arguments. Floor 2; the application
//! issues, the admission of connections takes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::clock::{Instant, UnixTime};
use crate::principal::Principal;

/// The tickets that have been issued and not yet shown. One for all routes; shared by reference.
#[derive(Debug, Default)]
pub struct Tickets(Mutex<HashMap<[u8; 32], Held>>);

/// For whom a ticket speaks, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// Who the client will be: a string of 1 to 256 bytes without control characters.
    pub subject: Arc<str>,
    /// What else is known of it, as a token's claims would say.
    pub claims: Map<String, Value>,
    /// The route that the ticket opens, and no other.
    pub route: Arc<str>,
    /// How long the session may last, from the moment at which the ticket is shown.
    pub session_time: Duration,
}

#[derive(Debug)]
struct Held {
    grant: Grant,
    issued_at: UnixTime,
    until: Instant,
}

/// Why no ticket is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// The subject is empty, too long, or has control characters.
    #[error("the subject is not a string of 1 to {SUBJECT_BYTES_MAX} bytes without control characters")]
    SubjectRefused,
    /// The claims are larger than [`CLAIMS_BYTES_MAX`].
    #[error("the claims have more than {CLAIMS_BYTES_MAX} bytes")]
    ClaimsTooLarge,
    /// No time, or more than [`SESSION_TIME_MAX`].
    #[error("the session's time is not between 1 second and {} hours", SESSION_TIME_MAX.as_secs() / 3600)]
    SessionTimeRefused,
    /// [`TICKETS_MAX`] tickets wait to be shown.
    #[error("{TICKETS_MAX} tickets wait to be shown, the most there may be")]
    Full,
}

impl Tickets {
    /// A ticket for `grant`, made of 256 random bits; it can be shown once, until [`TICKET_TIME_MAX`] from `now` on.
    ///
    /// # Errors
    /// When the grant is not sound, or too many tickets wait to be shown.
    pub fn issue(
        &self,
        grant: Grant,
        secret: [u8; 32],
        now: Instant,
        unix_now: UnixTime,
    ) -> Result<String, TicketError> {
        grant.check()?;
        let ticket = format!("{TICKET_PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
        let mut held = self.locked();
        if held.len() >= TICKETS_MAX {
            held.retain(|_, ticket| ticket.until > now);
        }
        if held.len() >= TICKETS_MAX {
            return Err(TicketError::Full);
        }
        held.insert(hash(&ticket), Held { grant, issued_at: unix_now, until: now + TICKET_TIME_MAX });
        Ok(ticket)
    }

    /// Whoever shows `ticket` for `route` first: who that is. The ticket is void then, for another route too: it has been
    /// seen where it does not belong.
    #[must_use]
    pub fn take(&self, ticket: &str, route: &str, now: Instant, unix_now: UnixTime) -> Option<Principal> {
        if !ticket.starts_with(TICKET_PREFIX) || ticket.len() != TICKET_BYTES {
            return None;
        }
        let mut tickets = self.locked();
        let held = tickets.remove(&hash(ticket))?;
        if tickets.is_empty() {
            // What a burst has grown is given back.
            *tickets = HashMap::new();
        }
        drop(tickets);
        let Held { grant, issued_at, until } = held;
        (now < until && *grant.route == *route).then(|| Principal {
            key: None,
            subject: grant.subject,
            token_id: None,
            issued_at: Some(issued_at),
            expires_at: unix_now.plus(grant.session_time),
            claims: grant.claims.into(),
        })
    }

    /// How many wait to be shown; those whose time is up may still be counted.
    #[must_use]
    pub fn count(&self) -> usize {
        self.locked().len()
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<[u8; 32], Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Grant {
    fn check(&self) -> Result<(), TicketError> {
        let subject_fits = (1..=SUBJECT_BYTES_MAX).contains(&self.subject.len());
        if !subject_fits || self.subject.contains(char::is_control) {
            return Err(TicketError::SubjectRefused);
        }
        if serde_json::to_string(&self.claims).map_or(usize::MAX, |text| text.len()) > CLAIMS_BYTES_MAX {
            return Err(TicketError::ClaimsTooLarge);
        }
        if self.session_time < Duration::from_secs(1) || self.session_time > SESSION_TIME_MAX {
            return Err(TicketError::SessionTimeRefused);
        }
        Ok(())
    }
}

/// Found by its hash, a ticket is never compared byte by byte with what somebody guesses.
fn hash(ticket: &str) -> [u8; 32] {
    digest(&SHA256, ticket.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// What every ticket begins with, so that it is told from a token, and found by those who search for leaked secrets.
pub const TICKET_PREFIX: &str = "dgt_";
/// Its whole length: the prefix, and 32 bytes in base64.
const TICKET_BYTES: usize = TICKET_PREFIX.len() + 43;
/// How long a ticket may wait to be shown: long enough to load a page on a slow network.
pub const TICKET_TIME_MAX: Duration = Duration::from_secs(30);
/// The most tickets that wait to be shown: two thousand a second.
pub const TICKETS_MAX: usize = 65_536;
/// The most bytes of a grant's claims, as JSON.
pub const CLAIMS_BYTES_MAX: usize = 4096;
/// The longest subject, as in a token.
const SUBJECT_BYTES_MAX: usize = 256;
/// The longest session that a ticket may open.
pub const SESSION_TIME_MAX: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;
    use crate::clock::Clock;

    const UNIX_NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

    fn grant(subject: &str) -> Grant {
        Grant {
            subject: subject.into(),
            claims: Map::new(),
            route: "chat".into(),
            session_time: Duration::from_secs(600),
        }
    }

    fn issued(tickets: &Tickets, now: Instant) -> String {
        tickets.issue(grant("alice"), [7; 32], now, UNIX_NOW).unwrap()
    }

    #[test]
    fn a_ticket_speaks_for_its_subject_for_as_long_as_was_asked() {
        let (tickets, now) = (Tickets::default(), Clock::system().now());
        let ticket = issued(&tickets, now);
        assert_eq!((ticket.len(), &ticket[..4]), (TICKET_BYTES, "dgt_"));
        let later = UNIX_NOW.plus(Duration::from_secs(20));
        let who = tickets.take(&ticket, "chat", now + Duration::from_secs(20), later).unwrap();
        assert_eq!((&*who.subject, who.issued_at), ("alice", Some(UNIX_NOW)));
        assert_eq!(who.expires_at, later.plus(Duration::from_secs(600)));
    }

    #[test]
    fn a20_a_ticket_is_good_once_within_its_time_and_for_its_route() {
        let (tickets, now) = (Tickets::default(), Clock::system().now());
        let take = |ticket: &str, route, at| tickets.take(ticket, route, at, UNIX_NOW).is_some();
        let ticket = issued(&tickets, now);
        assert!(take(&ticket, "chat", now));
        assert!(!take(&ticket, "chat", now), "shown twice");

        let ticket = issued(&tickets, now);
        assert!(!take(&ticket, "chat", now + TICKET_TIME_MAX), "too late");

        let ticket = issued(&tickets, now);
        assert!(!take(&ticket, "other", now), "another route");
        assert!(!take(&ticket, "chat", now), "seen where it does not belong");

        let ticket = issued(&tickets, now);
        for wrong in ["", "dgt_", &ticket[4..], &ticket[..46], &format!("{ticket}A"), &ticket.to_uppercase()]
        {
            assert!(!take(wrong, "chat", now), "{wrong}");
        }
        assert_eq!(tickets.count(), 1);
    }

    #[test]
    fn a20_of_many_who_show_it_at_once_one_gets_in() {
        let (tickets, now) = (Tickets::default(), Clock::system().now());
        let (ticket, taken) = (issued(&tickets, now), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let is_in = tickets.take(&ticket, "chat", now, UNIX_NOW).is_some();
                    taken.fetch_add(usize::from(is_in), Ordering::Relaxed);
                });
            }
        });
        assert_eq!(taken.into_inner(), 1);
    }

    #[test]
    fn tickets_are_bounded_in_number_and_size() {
        let (tickets, now) = (Tickets::default(), Clock::system().now());
        let issue = |number: usize, at| {
            let mut secret = [0; 32];
            secret[..8].copy_from_slice(&number.to_le_bytes());
            tickets.issue(grant("alice"), secret, at, UNIX_NOW)
        };
        for number in 0..TICKETS_MAX {
            issue(number, now).unwrap();
        }
        assert_eq!(issue(TICKETS_MAX, now), Err(TicketError::Full));
        assert!(issue(TICKETS_MAX, now + TICKET_TIME_MAX).is_ok(), "those whose time is up make room");
        assert_eq!(tickets.count(), 1);

        let refused = |grant| tickets.issue(grant, [0; 32], now, UNIX_NOW).unwrap_err();
        for subject in ["", "a\nb", &"a".repeat(257)] {
            assert_eq!(refused(grant(subject)), TicketError::SubjectRefused);
        }
        let mut large = grant("alice");
        large.claims.insert("a".to_owned(), "x".repeat(CLAIMS_BYTES_MAX).into());
        assert_eq!(refused(large), TicketError::ClaimsTooLarge);
        for session_time in [Duration::ZERO, SESSION_TIME_MAX + Duration::from_secs(1)] {
            assert_eq!(refused(Grant { session_time, ..grant("alice") }), TicketError::SessionTimeRefused);
        }
    }
}
