//! Who speaks on a connection, and the session that this began.
//!
//! Made once a credential has been verified, and kept in the connection's record: the session ends with it at the latest.
//! The end of the credential is turned into monotonic time here, once, so that a wall clock that is set afterwards moves it
//! neither way.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::attempt::attempt;
use super::ending::Ending;
use super::relay::Relay;
use super::verify::{is_withdrawn, verify};
use super::{Facilities, Gate, Record, Route};
use crate::auth::Authenticator;
use crate::clock::Moment;
use crate::principal::Principal;
use crate::pulse::Pulse;
use crate::reason::Reason;
use crate::session::{Live, Opening, RefreshError, SessionGuard, SessionRefused};
use crate::upgrade::Refused;

/// Who speaks, and for how long. In a box of its own, which a connection that is anybody's does not have.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) principal: Arc<Principal>,
    /// When it was verified first.
    pub(super) began_at: Moment,
    pub(super) term: Term,
    /// Nothing where no session began.
    pub(super) session: Option<SessionGuard>,
}

/// How long a credential speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term {
    /// The client is to be told by then that it ends; `None` if never.
    pub(super) warn_at: Option<Moment>,
    /// Its end, leeway included; `None` where that lies beyond all time.
    pub(super) until: Option<Moment>,
}

impl Term {
    /// That of `principal`, who has just been verified.
    pub(super) fn new(
        principal: &Principal,
        leeway: Duration,
        warning: Option<Duration>,
        facilities: &Facilities,
    ) -> Self {
        let (now, unix_now) = (facilities.now(), facilities.clock.unix_now());
        let left = principal.expires_at.since(unix_now);
        Self {
            warn_at: warning.map(|warning| now + left.saturating_sub(warning)),
            until: Some(now + principal.expires_at.plus(leeway).since(unix_now)),
        }
    }
}

impl Record {
    /// The session of whoever has been verified begins. What has been said of them is in the record also if it does not.
    pub(super) fn begin_session(
        &mut self,
        gate: &Gate,
        route: &Route,
        principal: Principal,
        leeway: Duration,
        pulse: &Arc<Pulse>,
    ) -> Result<(), Refused> {
        let Some(authenticator) = &route.authenticator else { return Ok(()) };
        let config = &authenticator.config().sessions;
        let clock = &gate.facilities.clock;
        let principal = Arc::new(principal);
        let term = Term::new(&principal, leeway, config.expiry_warning, &gate.facilities);
        let identity = self.identity.insert(Box::new(Identity {
            principal: Arc::clone(&principal),
            began_at: gate.facilities.now(),
            term,
            session: None,
        }));
        let opening = Opening { route: &route.name, client: self.client, connection: self.connection, pulse };
        let key = principal.key;
        let guard = gate.sessions.open(principal, &opening, config, clock.unix_now())?;
        if is_withdrawn(route, key) {
            return Err(Refused::detailed(Reason::TokenRevoked, &"its key has just been withdrawn"));
        }
        route.terms.metrics.session_began();
        identity.session = Some(guard);
        Ok(())
    }

    /// Who speaks, where that is known.
    pub(super) fn principal(&self) -> Option<&Principal> {
        self.identity.as_ref().map(|identity| &*identity.principal)
    }

    /// The session, where one has begun.
    pub(super) fn session(&self) -> Option<&Arc<Live>> {
        self.identity.as_ref().and_then(|identity| identity.session.as_ref()).map(SessionGuard::live)
    }
}

/// The client sent another token over its connection: the session goes on with it, or ends. A session that has been ended
/// meanwhile does not wait for keys.
pub(super) async fn refresh<S>(gate: &Gate, record: &mut Record, relay: &mut Relay<S>, token: Vec<u8>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let pulse = relay.pulse();
    let called = poll_fn(|cx| if pulse.is_called(cx.waker()) { Poll::Ready(()) } else { Poll::Pending });
    let tried = tokio::select! {
        biased;
        // The relay hears why.
        () = called => return,
        tried = try_refresh(gate, record, &token) => tried,
    };
    match tried {
        Ok(Some((principal, term))) => relay.refreshed(&principal, term),
        // It has been told to end, which the relay is about to see.
        Ok(None) => {}
        Err(ending) => relay.refuse(ending),
    }
}

async fn try_refresh(
    gate: &Gate,
    record: &mut Record,
    token: &[u8],
) -> Result<Option<(Arc<Principal>, Term)>, Ending> {
    let clock = &gate.facilities.clock;
    let (Some(route), Some(live)) = (&record.route, record.session()) else { return Ok(None) };
    let Some(authenticator) = &route.authenticator else { return Ok(None) };
    let config = authenticator.config();
    let verified = async {
        verify(route, authenticator, token, clock)
            .await
            .map_err(|error| Refused::detailed(error.reason(), &error))
    };
    let claimed = |auth: &Authenticator| auth.claimed_subject(token);
    let verified = attempt(gate, route, record.client, claimed, verified).await;
    let principal = verified.map_err(|refused| {
        let reason = match refused.reason {
            Reason::AuthenticationRateExceeded | Reason::KeysUnavailable => refused.reason,
            _ => Reason::RefreshRefused,
        };
        Ending { limit: refused.limit, detail: refused.detail, ..Ending::by_gate(reason) }
    })?;
    let principal = Arc::new(principal);
    let term = Term::new(&principal, config.leeway, config.sessions.expiry_warning, &gate.facilities);
    match live.refresh(Arc::clone(&principal), clock.unix_now()) {
        Ok(()) => {}
        Err(RefreshError::Over) => return Ok(None),
        Err(RefreshError::Refused(refused)) => return Err(refresh_refused(refused.reason(), &refused)),
        Err(error @ RefreshError::SubjectDiffers) => {
            return Err(refresh_refused(Reason::RefreshRefused, &error));
        }
    }
    if is_withdrawn(route, principal.key) {
        return Err(refresh_refused(Reason::TokenRevoked, &"its key has just been withdrawn"));
    }
    gate.observer.session_refreshed();
    if let Some(identity) = &mut record.identity {
        identity.principal = Arc::clone(&principal);
    }
    Ok(Some((principal, term)))
}

fn refresh_refused(reason: Reason, detail: &dyn std::fmt::Display) -> Ending {
    Ending { detail: Some(detail.to_string()), ..Ending::by_gate(reason) }
}

impl From<SessionRefused> for Refused {
    fn from(refused: SessionRefused) -> Self {
        Self { limit: refused.limit().map(u64::from), ..Self::because(refused.reason()) }
    }
}
