//! Failed attempts to authenticate, by client and by the subject that they name: who guesses is made to wait.
//!
//! A client is asked about before a credential is looked at, and waits before anything is verified. Decides only; `now` is an
//! argument. What has expired or was revoked was good once, and is no guess.

use std::time::Duration;

use crate::clock::Instant;
use crate::principal::ClientAddr;
use crate::rate::{Rate, RateTable};

/// Counts the failures of one `[auth.NAME]` table, on all its routes together. Fixed memory, 1 MiB for each of the two, whatever
/// comes.
#[derive(Debug)]
pub(crate) struct Failures {
    limits: FailureLimits,
    clients: RateTable,
    /// Until a token is verified anybody can name any subject, so nobody is locked out by it: what is good is let in, and what is not
    /// hears that there was too much of it, from however many addresses it comes.
    subjects: RateTable,
}

/// The failures in a minute, of which all may come at once; `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FailureLimits {
    /// Of one client.
    pub(crate) per_client: Option<u32>,
    /// Of tokens that name one subject.
    pub(crate) per_subject: Option<u32>,
}

impl Failures {
    pub(crate) fn new(limits: FailureLimits, now: Instant) -> Self {
        let table = |limit| RateTable::new(rate(limit), now);
        Self { limits, clients: table(limits.per_client), subjects: table(limits.per_subject) }
    }

    /// The failures that are allowed.
    pub(crate) fn limits(&self) -> FailureLimits {
        self.limits
    }

    /// The same clients and subjects at other limits: what they have failed stays counted.
    pub(crate) fn at(&self, limits: FailureLimits) -> Self {
        let (clients, subjects) =
            (self.clients.at(rate(limits.per_client)), self.subjects.at(rate(limits.per_subject)));
        Self { limits, clients, subjects }
    }

    /// Whether `client` may try at `now`.
    ///
    /// # Errors
    /// When it has failed too often.
    pub(crate) fn may_try(&self, client: ClientAddr, now: Instant) -> Result<(), TooManyFailures> {
        let Some(limit) = self.limits.per_client else { return Ok(()) };
        self.clients.has_room(&client.key(), now).map_err(|_| TooManyFailures { limit, whose: Whose::Client })
    }

    /// An attempt of `client`, at `now`, has failed. No success makes up for it: who has one good token could guess on.
    pub(crate) fn note(&self, client: ClientAddr, now: Instant) {
        if self.limits.per_client.is_some() {
            // Over the rate nothing is owed beyond a whole burst, so that its end does not move away.
            let _ = self.clients.check(&client.key(), now);
        }
    }

    /// What has failed at `now` was a token that names `subject`.
    ///
    /// # Errors
    /// When there have been too many of them.
    pub(crate) fn note_subject(&self, subject: &str, now: Instant) -> Result<(), TooManyFailures> {
        let Some(limit) = self.limits.per_subject else { return Ok(()) };
        self.subjects.check(&subject, now).map_err(|_| TooManyFailures { limit, whose: Whose::Subject })
    }
}

/// Where there is no limit nothing is counted, so any rate does.
fn rate(limit: Option<u32>) -> Rate {
    let limit = limit.unwrap_or(u32::MAX);
    Rate::new(limit, Duration::from_mins(1), limit)
}

/// There were too many failures to go on now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyFailures {
    /// How many there may be in a minute.
    pub(crate) limit: u32,
    pub(crate) whose: Whose,
}

/// Whose failures were too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Client,
    Subject,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const LIMITS: FailureLimits = FailureLimits { per_client: Some(30), per_subject: Some(2) };

    fn client(ip: &str) -> ClientAddr {
        ClientAddr::new(ip.parse().unwrap())
    }

    #[test]
    fn a35_after_too_many_failures_a_client_has_to_wait_and_others_have_not() {
        let now = Clock::system().now();
        let failures = Failures::new(LIMITS, now);
        for _ in 0..30 {
            // To ask costs nothing.
            (0..3).for_each(|_| assert_eq!(failures.may_try(client("2001:db8::1"), now), Ok(())));
            failures.note(client("2001:db8::1"), now);
        }
        let too_many = Err(TooManyFailures { limit: 30, whose: Whose::Client });
        assert_eq!(failures.may_try(client("2001:db8::1"), now), too_many);
        assert_eq!(failures.may_try(client("2001:db8::2:1"), now), too_many, "the /64 is one client");
        assert_eq!(failures.may_try(client("2001:db8:0:1::1"), now), Ok(()));
        assert_eq!(failures.may_try(client("192.0.2.1"), now), Ok(()));
    }

    #[test]
    fn a35_one_more_may_be_tried_an_interval_later_however_often_it_was_tried_meanwhile() {
        let now = Clock::system().now();
        let failures = Failures::new(LIMITS, now);
        (0..1000).for_each(|_| failures.note(client("192.0.2.1"), now));
        let later = |millis| now + Duration::from_millis(millis);
        assert!(failures.may_try(client("192.0.2.1"), later(1999)).is_err());
        assert_eq!(failures.may_try(client("192.0.2.1"), later(2000)), Ok(()));
        failures.note(client("192.0.2.1"), later(2000));
        assert!(failures.may_try(client("192.0.2.1"), later(3999)).is_err());
    }

    #[test]
    fn a35_a_subject_that_is_named_too_often_is_told_and_others_are_not() {
        let now = Clock::system().now();
        let failures = Failures::new(LIMITS, now);
        (0..2).for_each(|_| assert_eq!(failures.note_subject("alice", now), Ok(())));
        let too_many = Err(TooManyFailures { limit: 2, whose: Whose::Subject });
        assert_eq!(failures.note_subject("alice", now), too_many);
        assert_eq!(failures.note_subject("bob", now), Ok(()));
        assert_eq!(failures.note_subject("alice", now + Duration::from_secs(30)), Ok(()));
        // Nobody has to wait for it.
        assert_eq!(failures.may_try(client("192.0.2.1"), now), Ok(()));
        let unlimited = Failures::new(FailureLimits { per_client: None, per_subject: None }, now);
        (0..1000).for_each(|_| assert_eq!(unlimited.note_subject("alice", now), Ok(())));
    }
}
