//! The revocations and bans that are in force: asked at every session that begins.
//!
//! Bounded, and never by forgetting one that is in force: when it is full, the next is refused. Each is forgotten some time
//! after it is over, since a clock that is ahead for a while and set back must let nobody in. Pure: `now` is an argument. Comes after a token has been verified.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::revocation::{Revocation, SubjectBan, Target};
use crate::clock::UnixTime;
use crate::principal::Principal;

/// What keeps tokens and subjects out.
#[derive(Debug)]
pub(super) struct Kept {
    /// Tokens issued until this moment, or without one, whoever has them; and when that may be forgotten.
    everyone: Option<(UnixTime, Option<UnixTime>)>,
    /// Tokens of a subject that were issued until a moment, or without one.
    subjects: Names<UnixTime>,
    tokens: Names<()>,
    sessions: Names<()>,
    bans: Names<()>,
    count_max: usize,
}

/// Why a principal is kept out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Out {
    Revoked,
    Banned,
}

/// Why a revocation or a ban is not in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeepError {
    /// As many are in force as are kept; each that there is stays in force.
    #[error("as many revocations and bans are in force as can be kept")]
    Full,
    /// A name that no token and no session has: it is empty, or longer than [`NAME_BYTES_MAX`].
    #[error("the name is empty or longer than {NAME_BYTES_MAX} bytes")]
    NameInvalid,
}

impl Kept {
    /// Keeps nothing yet, and at most `count_max` names.
    pub(super) fn new(count_max: usize) -> Self {
        Self {
            everyone: None,
            subjects: Names::default(),
            tokens: Names::default(),
            sessions: Names::default(),
            bans: Names::default(),
            count_max,
        }
    }

    /// Whether, and why, `principal` is kept out at `now`.
    pub(super) fn refuse(&self, principal: &Principal, now: UnixTime) -> Result<(), Out> {
        if self.bans.in_force(&principal.subject, now).is_some() {
            return Err(Out::Banned);
        }
        let everyone = self.everyone.filter(|(_, until)| is_in_force(*until, now)).map(|(cutoff, _)| cutoff);
        let subject = self.subjects.in_force(&principal.subject, now).copied();
        // A token that does not say when it was issued may have been issued before any moment.
        let is_cut_off = |cutoff| principal.issued_at.is_none_or(|issued_at| issued_at <= cutoff);
        let is_named = |names: &Names<()>, name: Option<&str>| {
            name.is_some_and(|name| names.in_force(name, now).is_some())
        };
        if everyone.is_some_and(is_cut_off)
            || subject.is_some_and(is_cut_off)
            || is_named(&self.tokens, principal.token_id.as_deref())
            || is_named(&self.sessions, session_claim(principal).as_deref())
        {
            return Err(Out::Revoked);
        }
        Ok(())
    }

    /// Keeps `revocation`; where its name is kept already, what keeps more out counts.
    pub(super) fn revoke(&mut self, revocation: &Revocation, now: UnixTime) -> Result<(), KeepError> {
        self.make_room(now);
        let until = revocation.until;
        let name = match &revocation.target {
            Target::Everyone { cutoff } => {
                let (before, until_before) = self.everyone.unwrap_or((*cutoff, until));
                self.everyone = Some((before.max(*cutoff), later(until_before, until)));
                return Ok(());
            }
            Target::Subject { subject, .. } => subject,
            Target::Token { token_id } => token_id,
            Target::Session { session } => session,
        };
        let has_room = self.count() < self.count_max;
        match &revocation.target {
            Target::Everyone { .. } => Ok(()),
            Target::Subject { cutoff, .. } => {
                let latest = |before: &UnixTime| *cutoff.max(before);
                self.subjects.add(name, *cutoff, latest, until, has_room)
            }
            Target::Token { .. } => self.tokens.add(name, (), |()| (), until, has_room),
            Target::Session { .. } => self.sessions.add(name, (), |()| (), until, has_room),
        }
    }

    /// `revocation` together with what is kept by its name.
    pub(super) fn in_force(&self, revocation: &Revocation) -> Revocation {
        let kept = match &revocation.target {
            Target::Everyone { .. } => self.everyone,
            Target::Subject { subject, .. } => self.subjects.entries.get(&**subject).copied(),
            // Of these there is nothing but the name and its end.
            Target::Token { .. } | Target::Session { .. } => None,
        };
        kept.map_or_else(
            || revocation.clone(),
            |(cutoff, until)| {
                revocation.merged(&Revocation { target: revocation.target.until(cutoff), until })
            },
        )
    }

    /// Keeps a subject out; another ban of the same subject takes the place of the first.
    pub(super) fn ban(&mut self, ban: &SubjectBan, now: UnixTime) -> Result<(), KeepError> {
        self.make_room(now);
        let before = self.bans.remove(&ban.subject);
        let has_room = before.is_some() || self.count() < self.count_max;
        self.bans.add(&ban.subject, (), |()| (), ban.until, has_room)
    }

    /// Lets a subject in again; whether it had been kept out.
    pub(super) fn unban(&mut self, subject: &str, now: UnixTime) -> bool {
        self.bans.remove(subject).is_some_and(|(_, (_, until))| is_in_force(until, now))
    }

    /// The bans that are in force, in the order of their subjects.
    pub(super) fn bans(&self, now: UnixTime) -> Vec<SubjectBan> {
        self.bans_after(None, now).collect()
    }

    /// The revocations that are in force.
    pub(super) fn revocations(&self, now: UnixTime) -> Vec<Revocation> {
        self.revocations_after(None, now).collect()
    }

    /// The bans that are in force of subjects behind `after`, in the order of their names.
    pub(super) fn bans_after<'k>(
        &'k self,
        after: Option<&'k str>,
        now: UnixTime,
    ) -> impl Iterator<Item = SubjectBan> + 'k {
        let bans = self.bans.in_force_after(after, now);
        bans.map(|(subject, (), until)| SubjectBan { subject: subject.to_owned(), until })
    }

    /// The revocations that are in force behind `after`: everyone's, then sessions, subjects and tokens, each by name.
    pub(super) fn revocations_after<'k>(
        &'k self,
        after: Option<&'k Target>,
        now: UnixTime,
    ) -> impl Iterator<Item = Revocation> + 'k {
        // How far each kind is through: not begun, behind a name, or done.
        let (everyone, sessions, subjects, tokens) = match after {
            None => (false, Some(None), Some(None), Some(None)),
            Some(Target::Everyone { .. }) => (true, Some(None), Some(None), Some(None)),
            Some(Target::Session { session }) => (true, Some(Some(&**session)), Some(None), Some(None)),
            Some(Target::Subject { subject, .. }) => (true, None, Some(Some(&**subject)), Some(None)),
            Some(Target::Token { token_id }) => (true, None, None, Some(Some(&**token_id))),
        };
        let everyone = self.everyone.filter(|(_, until)| !everyone && is_in_force(*until, now));
        let everyone =
            everyone.map(|(cutoff, until)| Revocation { target: Target::Everyone { cutoff }, until });
        let sessions = sessions.into_iter().flat_map(move |after| self.sessions.in_force_after(after, now));
        let sessions = sessions.map(|(session, (), until)| Revocation {
            target: Target::Session { session: session.to_owned() },
            until,
        });
        let subjects = subjects.into_iter().flat_map(move |after| self.subjects.in_force_after(after, now));
        let subjects = subjects.map(|(subject, cutoff, until)| Revocation {
            target: Target::Subject { subject: subject.to_owned(), cutoff: *cutoff },
            until,
        });
        let tokens = tokens.into_iter().flat_map(move |after| self.tokens.in_force_after(after, now));
        let tokens = tokens.map(|(token_id, (), until)| Revocation {
            target: Target::Token { token_id: token_id.to_owned() },
            until,
        });
        everyone.into_iter().chain(sessions).chain(subjects).chain(tokens)
    }

    /// How many names are kept.
    pub(super) fn count(&self) -> usize {
        self.subjects.len() + self.tokens.len() + self.sessions.len() + self.bans.len()
    }

    /// Gives up what has been over for long.
    pub(super) fn forget(&mut self, now: UnixTime) {
        self.forget_over(OVER_TIME, now);
    }

    /// Gives up all that is over, where there is no room for more.
    fn make_room(&mut self, now: UnixTime) {
        if self.count() >= self.count_max {
            self.forget_over(Duration::ZERO, now);
        }
    }

    /// Gives up what has been over for `time`.
    fn forget_over(&mut self, time: Duration, now: UnixTime) {
        let is_kept = |until: UnixTime| until.plus(time) > now;
        self.everyone = self.everyone.filter(|(_, until)| until.is_none_or(is_kept));
        self.subjects.retain(is_kept);
        self.tokens.retain(is_kept);
        self.sessions.retain(is_kept);
        self.bans.retain(is_kept);
    }
}

/// The session at the identity provider that a token belongs to (`sid`; OIDC Front-Channel Logout 1.0 §3).
pub(super) fn session_claim(principal: &Principal) -> Option<String> {
    let Value::String(claim) = principal.claims.get("sid")? else { return None };
    (1..=NAME_BYTES_MAX).contains(&claim.len()).then_some(claim)
}

/// What a name has, and its end; `None` is never.
type Entry<T> = (T, Option<UnixTime>);

/// Names, each with something and with its end.
#[derive(Debug)]
struct Names<T> {
    entries: BTreeMap<Arc<str>, Entry<T>>,
    /// The same names by their ends, where they have one.
    ends: BTreeSet<(UnixTime, Arc<str>)>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), ends: BTreeSet::new() }
    }
}

impl<T> Names<T> {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn in_force(&self, name: &str, now: UnixTime) -> Option<&T> {
        self.entries.get(name).filter(|(_, until)| is_in_force(*until, now)).map(|(value, _)| value)
    }

    /// Those whose name lies behind `after`.
    fn in_force_after<'n>(
        &'n self,
        after: Option<&'n str>,
        now: UnixTime,
    ) -> impl Iterator<Item = (&'n str, &'n T, Option<UnixTime>)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.entries.range::<str, _>((start, Bound::Unbounded));
        let entries = entries.filter(move |(_, (_, until))| is_in_force(*until, now));
        entries.map(|(name, (value, until))| (&**name, value, *until))
    }

    /// Adds `name`, or merges it with what it has, where `has_room` or it is there.
    fn add(
        &mut self,
        name: &str,
        value: T,
        merge: impl FnOnce(&T) -> T,
        until: Option<UnixTime>,
        has_room: bool,
    ) -> Result<(), KeepError> {
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
            return Err(KeepError::NameInvalid);
        }
        let (name, value, until) = match self.remove(name) {
            Some((name, (before, until_before))) => (name, merge(&before), later(until_before, until)),
            None if has_room => (Arc::from(name), value, until),
            None => return Err(KeepError::Full),
        };
        if let Some(until) = until {
            self.ends.insert((until, Arc::clone(&name)));
        }
        self.entries.insert(name, (value, until));
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Option<(Arc<str>, Entry<T>)> {
        let (name, entry) = self.entries.remove_entry(name)?;
        let Some(until) = entry.1 else { return Some((name, entry)) };
        let end = (until, name);
        self.ends.remove(&end);
        Some((end.1, entry))
    }

    /// Gives up those whose end `is_kept` is not true of, nor of any before it.
    fn retain(&mut self, is_kept: impl Fn(UnixTime) -> bool) {
        while let Some((until, _)) = self.ends.first()
            && !is_kept(*until)
            && let Some((_, name)) = self.ends.pop_first()
        {
            self.entries.remove(&name);
        }
    }
}

/// Of two ends the later, where `None` is never.
fn later(one: Option<UnixTime>, other: Option<UnixTime>) -> Option<UnixTime> {
    Some(one?.max(other?))
}

fn is_in_force(until: Option<UnixTime>, now: UnixTime) -> bool {
    until.is_none_or(|until| until > now)
}

/// For how long what is over is kept, in memory and on disk: a clock that is wrong for a while takes nothing away.
pub(crate) const OVER_TIME: Duration = Duration::from_hours(1);

/// The longest name that can be revoked or banned: no subject and no token id is longer.
pub const NAME_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::principal::Claims;

    const fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(seconds)
    }

    fn principal(subject: &str, issued_at: Option<u64>, claims: &Value) -> Principal {
        Principal {
            key: None,
            subject: subject.into(),
            token_id: claims.get("jti").and_then(|id| id.as_str()).map(Arc::from),
            issued_at: issued_at.map(at),
            expires_at: at(10_000),
            claims: Claims::new(claims.as_object().unwrap()),
        }
    }

    fn kept(target: Target, until: Option<u64>) -> Kept {
        let mut kept = Kept::new(10);
        kept.revoke(&Revocation { target, until: until.map(at) }, at(100)).unwrap();
        kept
    }

    #[test]
    fn a21_a_cutoff_refuses_what_was_issued_until_then_or_does_not_say_when() {
        let targets = [
            Target::Subject { subject: "alice".to_owned(), cutoff: at(100) },
            Target::Everyone { cutoff: at(100) },
        ];
        for target in targets {
            let is_for_all = matches!(target, Target::Everyone { .. });
            let kept = kept(target, Some(200));
            for (issued_at, expected) in
                [(None, Err(Out::Revoked)), (Some(99), Err(Out::Revoked)), (Some(100), Err(Out::Revoked))]
            {
                assert_eq!(kept.refuse(&principal("alice", issued_at, &json!({})), at(199)), expected);
            }
            assert_eq!(kept.refuse(&principal("alice", Some(101), &json!({})), at(199)), Ok(()));
            let other = kept.refuse(&principal("bob", Some(100), &json!({})), at(199));
            assert_eq!(other, if is_for_all { Err(Out::Revoked) } else { Ok(()) });
            // Its time is over.
            assert_eq!(kept.refuse(&principal("alice", None, &json!({})), at(200)), Ok(()));
        }
    }

    #[test]
    fn a21_a_token_and_a_session_are_refused_by_name_alone() {
        let by_token = kept(Target::Token { token_id: "t1".to_owned() }, None);
        let by_session = kept(Target::Session { session: "s1".to_owned() }, None);
        let first = principal("alice", Some(500), &json!({ "jti": "t1", "sid": "s1" }));
        let second = principal("alice", Some(1), &json!({ "jti": "s1", "sid": "t1" }));
        let nameless = principal("t1", None, &json!({ "sid": 1 }));
        for kept in [by_token, by_session] {
            assert_eq!(kept.refuse(&first, at(u64::MAX / 1000)), Err(Out::Revoked));
            assert_eq!(kept.refuse(&second, at(100)), Ok(()));
            assert_eq!(kept.refuse(&nameless, at(100)), Ok(()));
        }
    }

    #[test]
    fn what_is_in_force_is_listed_from_any_place_on() {
        let mut kept = Kept::new(10);
        let target = |kind: &str, name: &str| match kind {
            "session" => Target::Session { session: name.to_owned() },
            "subject" => Target::Subject { subject: name.to_owned(), cutoff: at(1) },
            "token" => Target::Token { token_id: name.to_owned() },
            _ => Target::Everyone { cutoff: at(1) },
        };
        let all = [
            target("everyone", ""),
            target("session", "b"),
            target("subject", "a"),
            target("subject", "b"),
            target("token", "a"),
        ];
        for target in all.iter().rev() {
            kept.revoke(&Revocation { target: target.clone(), until: None }, at(100)).unwrap();
        }
        kept.revoke(&Revocation { target: target("subject", "aa"), until: Some(at(200)) }, at(100)).unwrap();
        let listed = |after: Option<&Target>| -> Vec<Target> {
            kept.revocations_after(after, at(200)).map(|revocation| revocation.target).collect()
        };
        assert_eq!(listed(None), all);
        for place in 0..all.len() {
            assert_eq!(listed(Some(&all[place])), all[place + 1..], "{place}");
        }
        // One that is gone has its place all the same.
        assert_eq!(listed(Some(&target("session", "a"))), all[1..]);
        assert_eq!(listed(Some(&target("session", "z"))), all[2..]);
        assert_eq!(listed(Some(&target("token", "z"))), []);
    }

    #[test]
    fn a_full_table_refuses_the_new_and_keeps_every_one_that_is_in_force() {
        let mut kept = Kept::new(3);
        let token =
            |name: &str, until| Revocation { target: Target::Token { token_id: name.to_owned() }, until };
        let ban = |subject: &str| SubjectBan { subject: subject.to_owned(), until: None };
        kept.revoke(&token("a", Some(at(200))), at(100)).unwrap();
        kept.revoke(&token("b", None), at(100)).unwrap();
        kept.ban(&ban("carol"), at(100)).unwrap();
        assert_eq!(kept.revoke(&token("d", None), at(199)), Err(KeepError::Full));
        assert_eq!(kept.ban(&ban("dave"), at(199)), Err(KeepError::Full));
        // What is there may be said again, and everyone needs no room.
        kept.revoke(&token("a", Some(at(150))), at(199)).unwrap();
        kept.ban(&ban("carol"), at(199)).unwrap();
        kept.revoke(&Revocation { target: Target::Everyone { cutoff: at(5) }, until: None }, at(199))
            .unwrap();
        let stranger = |id: &str| principal("x", Some(50), &json!({ "jti": id }));
        assert_eq!(kept.refuse(&stranger("a"), at(199)), Err(Out::Revoked));
        assert_eq!(kept.refuse(&stranger("b"), at(199)), Err(Out::Revoked));
        assert_eq!(kept.refuse(&stranger("d"), at(199)), Ok(()));
        // Room comes only from what is over.
        kept.revoke(&token("d", None), at(200)).unwrap();
        assert_eq!(kept.refuse(&stranger("a"), at(200)), Ok(()));
        assert_eq!(kept.count(), 3);
        assert_eq!(kept.revocations(at(200)).len(), 3);
    }

    #[test]
    fn of_two_revocations_of_a_name_what_keeps_more_out_counts() {
        let mut kept = Kept::new(10);
        let subject = |cutoff, until| Revocation {
            target: Target::Subject { subject: "alice".to_owned(), cutoff: at(cutoff) },
            until,
        };
        kept.revoke(&subject(100, Some(at(300))), at(0)).unwrap();
        kept.revoke(&subject(50, Some(at(200))), at(0)).unwrap();
        assert_eq!(kept.revocations(at(0)), [subject(100, Some(at(300)))]);
        kept.revoke(&subject(60, None), at(0)).unwrap();
        assert_eq!(kept.revocations(at(301)), [subject(100, None)]);
        // The end that it had is forgotten with it.
        kept.forget(at(1000));
        assert_eq!(kept.count(), 1);
    }

    #[test]
    fn a_ban_keeps_every_token_out_until_it_ends_or_is_lifted() {
        let mut kept = Kept::new(10);
        let until = |until| SubjectBan { subject: "alice".to_owned(), until };
        kept.ban(&until(None), at(100)).unwrap();
        let alice = principal("alice", Some(500), &json!({}));
        assert_eq!(kept.refuse(&alice, at(u64::MAX / 1000)), Err(Out::Banned));
        // A shorter one takes its place.
        kept.ban(&until(Some(at(200))), at(100)).unwrap();
        assert_eq!(kept.refuse(&alice, at(199)), Err(Out::Banned));
        assert_eq!(kept.bans(at(199)), [until(Some(at(200)))]);
        assert_eq!(kept.refuse(&alice, at(200)), Ok(()));
        assert!(kept.unban("alice", at(199)) && !kept.unban("alice", at(199)));
        assert_eq!(kept.refuse(&alice, at(150)), Ok(()));
    }

    #[test]
    fn o07_a_clock_that_is_an_hour_ahead_for_a_while_lets_nobody_in() {
        let hour = 3600;
        let mut kept = Kept::new(10);
        let targets = [
            Target::Everyone { cutoff: at(50) },
            Target::Subject { subject: "alice".to_owned(), cutoff: at(100) },
            Target::Token { token_id: "t1".to_owned() },
            Target::Session { session: "s1".to_owned() },
        ];
        for target in targets {
            kept.revoke(&Revocation { target, until: Some(at(200)) }, at(100)).unwrap();
        }
        kept.ban(&SubjectBan { subject: "bob".to_owned(), until: Some(at(200)) }, at(100)).unwrap();
        let kept_out = |kept: &Kept, now| {
            let of =
                |subject, issued_at, claims| kept.refuse(&principal(subject, issued_at, &claims), now).err();
            [
                of("carol", Some(50), json!({})),
                of("alice", Some(100), json!({})),
                of("carol", Some(101), json!({ "jti": "t1" })),
                of("carol", Some(101), json!({ "sid": "s1" })),
                of("bob", Some(101), json!({})),
            ]
        };
        let all = [Out::Revoked, Out::Revoked, Out::Revoked, Out::Revoked, Out::Banned].map(Some);
        assert_eq!(kept_out(&kept, at(150)), all);
        // Ahead, and seen by all that forgets; then set back.
        let ahead = at(150 + hour);
        assert_eq!(kept_out(&kept, ahead), [None; 5]);
        kept.forget(ahead);
        let other = Target::Token { token_id: "t2".to_owned() };
        kept.revoke(&Revocation { target: other, until: None }, ahead).unwrap();
        assert!(!kept.unban("carol", ahead));
        assert_eq!(kept_out(&kept, at(150)), all);
        // What is over for good goes.
        kept.forget(at(200 + hour));
        assert_eq!((kept_out(&kept, at(150)), kept.count()), ([None; 5], 1));
    }

    #[test]
    fn where_there_is_no_room_what_is_over_goes_at_once() {
        let mut kept = Kept::new(2);
        let token = |id: &str, until| Revocation {
            target: Target::Token { token_id: id.to_owned() },
            until: Some(at(until)),
        };
        kept.revoke(&token("t1", 200), at(100)).unwrap();
        kept.revoke(&token("t2", 300), at(100)).unwrap();
        assert_eq!(kept.revoke(&token("t3", 300), at(199)), Err(KeepError::Full));
        kept.revoke(&token("t3", 300), at(200)).unwrap();
        let bob = SubjectBan { subject: "bob".to_owned(), until: None };
        assert_eq!(kept.ban(&bob, at(299)), Err(KeepError::Full));
        kept.ban(&bob, at(300)).unwrap();
        assert_eq!(kept.count(), 1);
    }

    #[test]
    fn names_that_nothing_has_are_refused() {
        let mut kept = Kept::new(10);
        for name in [String::new(), "n".repeat(257)] {
            let token = Revocation { target: Target::Token { token_id: name.clone() }, until: None };
            assert_eq!(kept.revoke(&token, at(0)), Err(KeepError::NameInvalid));
            assert_eq!(
                kept.ban(&SubjectBan { subject: name, until: None }, at(0)),
                Err(KeepError::NameInvalid)
            );
        }
        assert_eq!(kept.count(), 0);
    }
}
