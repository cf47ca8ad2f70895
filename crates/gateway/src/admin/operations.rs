//! What operators and applications can do to a running server, and the record of what they did.
//!
//! The one place of this module that changes anything. What has begun is done to its end and recorded, also where whoever
//! asked for it has left meanwhile. Comes after a request has been understood.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;
use tokio::runtime::Handle;

use crate::address_bans::{AddressBanError, AddressBans};
use crate::causes::in_one_line;
use crate::chance::Chance;
use crate::clock::{Clock, UnixTime};
use crate::control::{Control, ControlError};
use crate::firewall::AddressBan;
use crate::network::Network;
use crate::observe::{Action, Closed, Event, Observer, Operated, UpstreamState};
use crate::session::revocation::{Revocation, SubjectBan};
use crate::session::{End, Revoked, SessionId, Sessions, Which};
use crate::ticket::{Grant, TicketError, Tickets};
use crate::upstream_drains::UpstreamDrains;
use crate::url::UpstreamUrl;

/// The parts of a server that can be worked on. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Operations {
    pub(crate) control: Control,
    pub(crate) address_bans: AddressBans,
    pub(crate) upstreams: UpstreamDrains,
    pub(crate) tickets: Arc<Tickets>,
    /// Every route's name, and whether it takes tickets.
    pub(crate) routes: Arc<RwLock<TicketRoutes>>,
    /// Has the configuration read again; what that has changed.
    pub(crate) reload: Reload,
    pub(crate) observer: Observer,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    /// Where the server runs.
    pub(crate) runtime: Handle,
}

/// Every route's name, and whether it takes tickets.
pub(crate) type TicketRoutes = Arc<[(Arc<str>, bool)]>;

/// Has the configuration read again, by whoever has the server.
pub(crate) type Reload =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Value, NotReloaded>> + Send>> + Send + Sync>;

/// Why everything is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotReloaded {
    /// There is no file to read again.
    NoFile,
    /// All that is wrong with it.
    Refused(Vec<String>),
    /// The server is about to end.
    Ending,
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations").field("control", &self.control).finish_non_exhaustive()
    }
}

impl Operations {
    /// Every route's name, and whether it takes tickets.
    pub(super) fn routes(&self) -> TicketRoutes {
        Arc::clone(&self.routes.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_routes(&self, routes: TicketRoutes) {
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = routes;
    }

    /// Has the configuration read again; what that has changed.
    pub(super) async fn reload(&self, who: Arc<str>) -> Result<Value, NotReloaded> {
        let this = self.clone();
        self.to_its_end(async move {
            let result = (this.reload)().await;
            let outcome = match &result {
                Ok(_) => Ok(Closed::Nothing),
                Err(NotReloaded::NoFile) => Err("there is no configuration file".to_owned()),
                Err(NotReloaded::Refused(problems)) => Err(format!("it has {} problems", problems.len())),
                Err(NotReloaded::Ending) => Err("the server is about to end".to_owned()),
            };
            this.record(&who, Action::Reload, "configuration", outcome);
            result
        })
        .await
    }

    /// The newest things that went wrong or that operators did, behind number `after`, and the number of the newest.
    pub(super) fn events_after(&self, after: u64) -> (Vec<Event>, u64) {
        self.observer.events_after(after)
    }

    /// How every application behind the gate stands.
    pub(super) fn upstreams(&self) -> Vec<UpstreamState> {
        self.observer.upstreams()
    }

    pub(super) fn now(&self) -> UnixTime {
        self.clock.unix_now()
    }

    pub(super) fn sessions(&self) -> &Sessions {
        self.control.sessions()
    }

    /// Puts `revocation` in force for the operator `who`; records name what it is about by `on`. Where it is for the token of
    /// `session`, that ends also if it has had another token in the meantime.
    pub(super) async fn revoke(
        &self,
        who: Arc<str>,
        revocation: Revocation,
        on: String,
        session: Option<SessionId>,
    ) -> Result<Revoked, ControlError> {
        let this = self.clone();
        self.to_its_end(async move {
            let result = this.control.revoke(revocation).await;
            let left = session.map_or(0, |id| this.sessions().end(Which::Id(id), End::Revoked));
            let result = result.map(|Revoked { closed }| Revoked { closed: closed + left });
            this.record(&who, Action::Revoke, &on, closed(&result));
            result
        })
        .await
    }

    /// Keeps a subject out and ends its sessions.
    pub(super) async fn ban(&self, who: Arc<str>, ban: SubjectBan) -> Result<Revoked, ControlError> {
        let this = self.clone();
        self.to_its_end(async move {
            let subject = ban.subject.clone();
            let result = this.control.ban(ban).await;
            this.record(&who, Action::Ban, &subject, closed(&result));
            result
        })
        .await
    }

    /// Lets a subject in again; whether it had been kept out.
    pub(super) async fn unban(&self, who: Arc<str>, subject: String) -> Result<bool, ControlError> {
        let this = self.clone();
        self.to_its_end(async move {
            let result = this.control.unban(subject.clone()).await;
            let outcome = match &result {
                Ok(true) => Ok(Closed::Nothing),
                Ok(false) => Err("the subject is not banned".to_owned()),
                Err(error) => Err(in_one_line(error)),
            };
            this.record(&who, Action::Unban, &subject, outcome);
            result
        })
        .await
    }

    /// Keeps a network out and ends its connections; how many.
    pub(super) async fn ban_address(&self, who: Arc<str>, ban: AddressBan) -> Result<usize, AddressBanError> {
        let this = self.clone();
        self.to_its_end(async move {
            let network = ban.effective().to_string();
            let result = this.address_bans.ban_address(ban).await;
            let outcome =
                result.as_ref().map(|count| Closed::Connections(*count)).map_err(|error| in_one_line(error));
            this.record(&who, Action::BanAddress, &network, outcome);
            result
        })
        .await
    }

    /// Lets a network in again; whether it had been kept out by a ban of just this one.
    pub(super) async fn unban_address(
        &self,
        who: Arc<str>,
        network: Network,
    ) -> Result<bool, AddressBanError> {
        let this = self.clone();
        self.to_its_end(async move {
            let result = this.address_bans.unban_address(network).await;
            let outcome = match &result {
                Ok(true) => Ok(Closed::Nothing),
                Ok(false) => Err("the network is not banned".to_owned()),
                Err(error) => Err(in_one_line(error)),
            };
            this.record(&who, Action::UnbanAddress, &network.to_string(), outcome);
            result
        })
        .await
    }

    /// Ends the sessions of a subject, on one route or on all; how many there were. Its tokens stay good.
    pub(super) fn end_of_subject(&self, who: &str, subject: &str, route: Option<&str>) -> usize {
        let which = match route {
            Some(route) => Which::SubjectOn(subject, route),
            None => Which::Subject(subject),
        };
        let count = self.sessions().end(which, End::Ended);
        self.record(who, Action::EndSessions, subject, Ok(Closed::Sessions(count)));
        count
    }

    /// Ends one session; whether it was there.
    pub(super) fn end(&self, who: &str, id: SessionId) -> bool {
        let is_there = self.sessions().end(Which::Id(id), End::Ended) > 0;
        let outcome =
            if is_there { Ok(Closed::Sessions(1)) } else { Err("there is no such session".to_owned()) };
        self.record(who, Action::EndSession, &id.to_string(), outcome);
        is_there
    }

    /// Sends nobody to the application at `url` any more, and closes those who are there; how many those are, if any route leads there.
    pub(super) fn drain(&self, who: &str, url: &UpstreamUrl) -> Option<u64> {
        let count = self.upstreams.drain(url);
        let closed = |count: u64| Closed::Connections(usize::try_from(count).unwrap_or(usize::MAX));
        let outcome = count.map(closed).ok_or("no route leads to the application".to_owned());
        self.record(who, Action::DrainUpstream, &url.to_string(), outcome);
        count
    }

    /// Lets connections go to the application at `url` again; whether they did not.
    pub(super) fn resume(&self, who: &str, url: &UpstreamUrl) -> bool {
        let was_drained = self.upstreams.resume(url);
        let outcome =
            if was_drained { Ok(Closed::Nothing) } else { Err("the application is not drained".to_owned()) };
        self.record(who, Action::ResumeUpstream, &url.to_string(), outcome);
        was_drained
    }

    /// A ticket for `grant`.
    pub(super) fn issue(&self, who: &str, grant: Grant) -> Result<String, TicketError> {
        let subject = Arc::clone(&grant.subject);
        let result = self.tickets.issue(grant, self.chance.bytes(), self.clock.now(), self.now());
        let outcome = result.as_ref().map(|_| Closed::Nothing).map_err(ToString::to_string);
        self.record(who, Action::IssueTicket, &subject, outcome);
        result
    }

    /// One record a change, whether it was made or not.
    fn record(&self, who: &str, action: Action, on: &str, outcome: Result<Closed, String>) {
        let (closed, failure) = match outcome {
            Ok(closed) => (closed, None),
            Err(failure) => (Closed::Nothing, Some(failure)),
        };
        self.observer.operated(&Operated { who, action, on, closed, failure: failure.as_deref() });
    }

    /// Lives `change` as a task of the server's, which goes on where this is dropped because the client has left.
    async fn to_its_end<T: Send + 'static>(&self, change: impl Future<Output = T> + Send + 'static) -> T {
        match self.runtime.spawn(change).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and this with it.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

fn closed(result: &Result<Revoked, ControlError>) -> Result<Closed, String> {
    result.as_ref().map(|revoked| Closed::Sessions(revoked.closed)).map_err(|error| in_one_line(error))
}
