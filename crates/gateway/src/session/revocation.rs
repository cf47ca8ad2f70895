//! What ends sessions from outside and keeps tokens out: revocations and bans, as they are asked for, stored and sent on.
//!
//! Plain values; `kept.rs` remembers those that are in force, and whoever stores them does so in this shape.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;

/// Tokens that are good no longer, though their signature and time are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revocation {
    /// Which tokens.
    #[serde(flatten)]
    pub target: Target,
    /// When it may be forgotten, because no token that it is about can be valid any more; `None` is never.
    pub until: Option<UnixTime>,
}

/// Which tokens a [`Revocation`] is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "target", rename_all = "snake_case")]
pub enum Target {
    /// Those of one subject that were issued at `cutoff` or before, or do not say when; later ones work.
    Subject {
        /// The subject.
        subject: String,
        /// The moment of the logout.
        cutoff: UnixTime,
    },
    /// The one with this `jti`.
    Token {
        /// The token's id.
        token_id: String,
    },
    /// Those whose `sid` claim is this; also the one live session with this id.
    Session {
        /// A session's id, the identity provider's or our own.
        session: String,
    },
    /// All that were issued at `cutoff` or before, or do not say when; later ones work.
    Everyone {
        /// The moment from which tokens are good again.
        cutoff: UnixTime,
    },
}

impl Revocation {
    /// A revocation of `target` at `now`, remembered for as long as a token lives: `token_time_max`, leeway included.
    #[must_use]
    pub fn new(target: Target, now: UnixTime, token_time_max: Option<Duration>) -> Self {
        // A cut-off that is still to come stops tokens that are issued until then.
        let last_issued = match &target {
            Target::Subject { cutoff, .. } | Target::Everyone { cutoff } => now.max(*cutoff),
            Target::Token { .. } | Target::Session { .. } => now,
        };
        Self { target, until: token_time_max.map(|time_max| last_issued.plus(time_max)) }
    }

    /// Whether it need not be remembered at `now`.
    #[must_use]
    pub fn is_over(&self, now: UnixTime) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Of this one and another of the same name what keeps more out: the later cut-off, until the later end.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let latest = |other: UnixTime| self.target.cutoff().map_or(other, |cutoff| cutoff.max(other));
        let target = match &other.target {
            Target::Subject { subject, cutoff } => {
                Target::Subject { subject: subject.clone(), cutoff: latest(*cutoff) }
            }
            Target::Everyone { cutoff } => Target::Everyone { cutoff: latest(*cutoff) },
            Target::Token { .. } | Target::Session { .. } => other.target.clone(),
        };
        Self { target, until: self.until.zip(other.until).map(|(one, other)| one.max(other)) }
    }
}

impl Target {
    /// The moment of the logout, where it is one.
    pub(super) fn cutoff(&self) -> Option<UnixTime> {
        match self {
            Self::Subject { cutoff, .. } | Self::Everyone { cutoff } => Some(*cutoff),
            Self::Token { .. } | Self::Session { .. } => None,
        }
    }

    /// The same, of what was issued until `cutoff`, where that is asked.
    pub(super) fn until(&self, cutoff: UnixTime) -> Self {
        match self {
            Self::Subject { subject, .. } => Self::Subject { subject: subject.clone(), cutoff },
            Self::Everyone { .. } => Self::Everyone { cutoff },
            Self::Token { .. } | Self::Session { .. } => self.clone(),
        }
    }
}

/// A subject that is kept out, whatever tokens it has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SubjectBan {
    /// Who is kept out.
    pub subject: String,
    /// Until when; `None` is for good.
    pub until: Option<UnixTime>,
}

impl SubjectBan {
    /// Whether it is no longer in force at `now`.
    #[must_use]
    pub fn is_over(&self, now: UnixTime) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_stored_reads_back_and_keeps_its_shape() {
        let now = UnixTime::from_seconds(1000);
        let subject = Target::Subject { subject: "alice".to_owned(), cutoff: now };
        let stored = [
            (
                subject,
                json!({ "target": "subject", "subject": "alice", "cutoff": 1_000_000, "until": 1_060_000 }),
            ),
            (
                Target::Token { token_id: "t1".to_owned() },
                json!({ "target": "token", "token_id": "t1", "until": 1_060_000 }),
            ),
            (
                Target::Session { session: "s1".to_owned() },
                json!({ "target": "session", "session": "s1", "until": 1_060_000 }),
            ),
            (
                Target::Everyone { cutoff: now },
                json!({ "target": "everyone", "cutoff": 1_000_000, "until": 1_060_000 }),
            ),
        ];
        for (target, expected) in stored {
            let revocation = Revocation::new(target, now, Some(Duration::from_secs(60)));
            let written = serde_json::to_value(&revocation).unwrap();
            assert_eq!(written, expected);
            assert_eq!(serde_json::from_value::<Revocation>(written).unwrap(), revocation);
        }
        let ban = SubjectBan { subject: "alice".to_owned(), until: None };
        let written = serde_json::to_value(&ban).unwrap();
        assert_eq!(written, json!({ "subject": "alice", "until": null }));
        assert_eq!(serde_json::from_value::<SubjectBan>(written).unwrap(), ban);
    }

    #[test]
    fn of_two_of_the_same_name_what_keeps_more_out_counts() {
        let at = UnixTime::from_seconds;
        let subject = |cutoff, until: Option<u64>| Revocation {
            target: Target::Subject { subject: "alice".to_owned(), cutoff: at(cutoff) },
            until: until.map(at),
        };
        assert_eq!(subject(100, Some(300)).merged(&subject(50, Some(400))), subject(100, Some(400)));
        assert_eq!(subject(50, Some(400)).merged(&subject(100, Some(300))), subject(100, Some(400)));
        assert_eq!(subject(50, None).merged(&subject(100, Some(300))), subject(100, None));
        assert_eq!(subject(50, Some(300)).merged(&subject(100, None)), subject(100, None));
    }

    #[test]
    fn it_is_over_when_no_token_that_it_is_about_can_be_valid() {
        let now = UnixTime::from_seconds(1000);
        let minute = Some(Duration::from_secs(60));
        let later = Target::Everyone { cutoff: UnixTime::from_seconds(1500) };
        assert_eq!(Revocation::new(later, now, minute).until, Some(UnixTime::from_seconds(1560)));
        let token = Revocation::new(Target::Token { token_id: "t1".to_owned() }, now, minute);
        assert!(!token.is_over(UnixTime::from_millis(1_059_999)));
        assert!(token.is_over(UnixTime::from_seconds(1060)));
        let forever = Revocation::new(Target::Everyone { cutoff: now }, now, None);
        assert!(!forever.is_over(UnixTime::from_millis(u64::MAX)));
    }
}
