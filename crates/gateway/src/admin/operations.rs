//! What operators and applications can do to a running server, and the record of what they did.
//!
//! The one place of this module that changes anything. Comes after a request has been understood.

use std::sync::Arc;

use crate::chance::Chance;
use crate::clock::{Clock, UnixTime};
use crate::observe::{Action, Observer, Operated};
use crate::session::revocation::{Revocation, SubjectBan};
use crate::session::{End, KeepError, Revoked, SessionId, Sessions, Which};
use crate::ticket::{Grant, TicketError, Tickets};

/// The parts of a server that can be worked on.
#[derive(Clone, Debug)]
pub(crate) struct Operations {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) tickets: Arc<Tickets>,
    /// Every route's name, and whether it takes tickets.
    pub(crate) routes: Vec<(Arc<str>, bool)>,
    pub(crate) observer: Observer,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
}

impl Operations {
    pub(super) fn now(&self) -> UnixTime {
        self.clock.unix_now()
    }

    /// Puts `revocation` in force for the operator `who`; records name what it is about by `on`.
    pub(super) async fn revoke(
        &self,
        who: &str,
        revocation: &Revocation,
        on: &str,
    ) -> Result<Revoked, KeepError> {
        let result = self.sessions.revoke(revocation, self.now());
        self.record(who, Action::Revoke, on, closed(&result));
        result
    }

    /// Keeps a subject out and ends its sessions.
    pub(super) async fn ban(&self, who: &str, ban: &SubjectBan) -> Result<Revoked, KeepError> {
        let result = self.sessions.ban(ban, self.now());
        self.record(who, Action::Ban, &ban.subject, closed(&result));
        result
    }

    /// Lets a subject in again; whether it had been kept out.
    pub(super) async fn unban(&self, who: &str, subject: &str) -> Result<bool, KeepError> {
        let result = Ok(self.sessions.unban(subject, self.now()));
        let outcome = match &result {
            Ok(true) => Ok(None),
            Ok(false) => Err("the subject is not banned".to_owned()),
            Err(error) => Err(KeepError::to_string(error)),
        };
        self.record(who, Action::Unban, subject, outcome);
        result
    }

    /// Ends one session; whether it was there.
    pub(super) async fn end(&self, who: &str, id: SessionId) -> bool {
        let is_there = self.sessions.end(Which::Id(id), End::Ended) > 0;
        let outcome = if is_there { Ok(Some(1)) } else { Err("there is no such session".to_owned()) };
        self.record(who, Action::EndSession, &id.to_string(), outcome);
        is_there
    }

    /// A ticket for `grant`.
    pub(super) async fn issue(&self, who: &str, grant: Grant) -> Result<String, TicketError> {
        let subject = Arc::clone(&grant.subject);
        let result = self.tickets.issue(grant, self.chance.bytes(), self.clock.now(), self.now());
        let outcome = result.as_ref().map(|_| None).map_err(ToString::to_string);
        self.record(who, Action::IssueTicket, &subject, outcome);
        result
    }

    /// One record a change, whether it was made or not.
    fn record(&self, who: &str, action: Action, on: &str, outcome: Result<Option<usize>, String>) {
        let (closed, failure) = match outcome {
            Ok(closed) => (closed, None),
            Err(failure) => (None, Some(failure)),
        };
        self.observer.operated(&Operated { who, action, on, closed, failure: failure.as_deref() });
    }
}

fn closed(result: &Result<Revoked, KeepError>) -> Result<Option<usize>, String> {
    result.map(|revoked| Some(revoked.closed)).map_err(|error| error.to_string())
}
