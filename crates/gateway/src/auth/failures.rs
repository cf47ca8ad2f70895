//! Failed attempts to authenticate, by client: who guesses is made to wait, before anything is verified.
//!
//! Asked before a credential is looked at, told when one was refused that nobody could have been given. Decides only; `now` is an
//! argument. What has expired or was revoked was good once, and is no guess.

use std::time::Duration;

use crate::clock::Instant;
use crate::principal::ClientAddr;
use crate::rate::{Rate, RateTable};

/// Counts the failures of one `[auth.NAME]` table, on all its routes together. Fixed memory, 1 MiB, whatever comes.
///
/// Not by subject: until a token is verified anybody can name any, and could lock its owner out.
#[derive(Debug)]
pub(crate) struct Failures {
    limit: u32,
    used: RateTable,
}

impl Failures {
    /// At most `limit` in a minute, of which all may come at once.
    pub(crate) fn new(limit: u32, now: Instant) -> Self {
        Self { limit, used: RateTable::new(Rate::new(limit, Duration::from_mins(1), limit), now) }
    }

    /// The failures that one client may have in a minute.
    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// The same clients at another limit: what they have failed stays counted.
    pub(crate) fn at(&self, limit: u32) -> Self {
        Self { limit, used: self.used.at(Rate::new(limit, Duration::from_mins(1), limit)) }
    }

    /// Whether `client` may try at `now`.
    ///
    /// # Errors
    /// When it has failed too often.
    pub(crate) fn may_try(&self, client: ClientAddr, now: Instant) -> Result<(), TooManyFailures> {
        self.used.has_room(&client.key(), now).map_err(|_| TooManyFailures { limit: self.limit })
    }

    /// An attempt of `client`, at `now`, has failed. No success makes up for it: who has one good token could guess on.
    pub(crate) fn note(&self, client: ClientAddr, now: Instant) {
        // Over the rate nothing is owed beyond a whole burst, so that its end does not move away.
        let _ = self.used.check(&client.key(), now);
    }
}

/// A client has failed to authenticate too often to try again now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyFailures {
    /// The failures that one client may have in a minute.
    pub(crate) limit: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn client(ip: &str) -> ClientAddr {
        ClientAddr::new(ip.parse().unwrap())
    }

    #[test]
    fn a35_after_too_many_failures_a_client_has_to_wait_and_others_have_not() {
        let now = Clock::system().now();
        let failures = Failures::new(30, now);
        for _ in 0..30 {
            // To ask costs nothing.
            (0..3).for_each(|_| assert_eq!(failures.may_try(client("2001:db8::1"), now), Ok(())));
            failures.note(client("2001:db8::1"), now);
        }
        let too_many = Err(TooManyFailures { limit: 30 });
        assert_eq!(failures.may_try(client("2001:db8::1"), now), too_many);
        assert_eq!(failures.may_try(client("2001:db8::2:1"), now), too_many, "the /64 is one client");
        assert_eq!(failures.may_try(client("2001:db8:0:1::1"), now), Ok(()));
        assert_eq!(failures.may_try(client("192.0.2.1"), now), Ok(()));
    }

    #[test]
    fn a35_one_more_may_be_tried_an_interval_later_however_often_it_was_tried_meanwhile() {
        let now = Clock::system().now();
        let failures = Failures::new(30, now);
        (0..1000).for_each(|_| failures.note(client("192.0.2.1"), now));
        let later = |millis| now + Duration::from_millis(millis);
        assert!(failures.may_try(client("192.0.2.1"), later(1999)).is_err());
        assert_eq!(failures.may_try(client("192.0.2.1"), later(2000)), Ok(()));
        failures.note(client("192.0.2.1"), later(2000));
        assert!(failures.may_try(client("192.0.2.1"), later(3999)).is_err());
    }
}
