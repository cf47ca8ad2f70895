//! Who speaks, by what the client shows: a credential of its request, its certificate, or its first message.
//!
//! Finds the credential, has it verified, and begins the session; what is wrong is what the client is told. Comes after the request has been
//! judged, and again after a first message; never reads from a socket or writes to one.

use std::sync::Arc;
use std::time::Duration;

use drawgate_protocol::handshake::Request;
use tokio::sync::OwnedSemaphorePermit;

use super::attempt::attempt;
use super::{Gate, Record, Route, verify};
use crate::auth::certificate::{self, CertificateError};
use crate::auth::credential::{self, Credential, Fault, Shown};
use crate::auth::{Authenticator, CredentialSource};
use crate::principal::Principal;
use crate::pulse::Pulse;
use crate::reason::Reason;
use crate::ticket::TICKET_PREFIX;
use crate::tls::Peer;
use crate::upgrade::{Entrance, Refused};

/// What is known, at the `101`, of who speaks.
pub(super) enum Standing {
    /// Who it is, or that it does not matter.
    Known,
    /// Nothing yet: the first message says it. Holds one of the places for those who wait.
    Unknown(OwnedSemaphorePermit),
    /// That it may not speak; browsers hear so only behind a `101`.
    Unwelcome(Refused),
}

/// Who speaks, as far as the request says.
pub(super) async fn identify(
    gate: &Arc<Gate>,
    entrance: &Entrance<Arc<Route>>,
    request: &Request<'_>,
    peer: &Peer,
    record: &mut Record,
    pulse: &Arc<Pulse>,
) -> Result<Standing, Refused> {
    let Some(authenticator) = &entrance.route.authenticator else { return Ok(Standing::Known) };
    match credential::find(request, &authenticator.config().credentials) {
        Ok(None) => recognize(gate, entrance, None, request, peer, record, pulse).await,
        found => {
            let client = record.client;
            let shown = found.as_ref().ok().and_then(|found| found.as_ref()).map(|found| found.shown);
            let recognized = async { recognize(gate, entrance, found?, request, peer, record, pulse).await };
            attempt(gate, &entrance.route, client, |auth| claimed(auth, shown?), recognized).await
        }
    }
}

/// Who speaks, according to the first message of whoever said nothing in the request.
pub(super) async fn identify_by_message(
    gate: &Gate,
    authenticator: &Authenticator,
    route: &Route,
    message: &str,
    record: &mut Record,
    pulse: &Arc<Pulse>,
) -> Result<(), Refused> {
    let shown = shown_by_message(message, &authenticator.config().credentials);
    let leeway = leeway_of(&shown, authenticator);
    let verified = verify(gate, authenticator, route, shown);
    let principal = attempt(gate, route, record.client, |auth| claimed(auth, shown), verified).await?;
    record.begin_session(gate, route, principal, leeway, pulse)
}

/// Who speaks, according to the credential that was `found` in the request, or to the certificate.
async fn recognize(
    gate: &Arc<Gate>,
    entrance: &Entrance<Arc<Route>>,
    found: Option<Credential<'_>>,
    request: &Request<'_>,
    peer: &Peer,
    record: &mut Record,
    pulse: &Arc<Pulse>,
) -> Result<Standing, Refused> {
    let route = &entrance.route;
    let Some(authenticator) = &route.authenticator else { return Ok(Standing::Known) };
    let sources = &authenticator.config().credentials;
    let unix_now = gate.facilities.clock.unix_now();
    if let Some(principal) = certificate::principal(peer.certificate.as_ref(), sources, unix_now)? {
        if found.is_some() {
            return Err(Fault::Conflicting.into());
        }
        // Browsers show a certificate whichever page asks, and always name the page; programs name none.
        if request.origin.is_some() {
            entrance.check_origin_of_ambient(request, peer)?;
        }
        record.begin_session(gate, route, principal, Duration::ZERO, pulse)?;
        return Ok(Standing::Known);
    }
    let Some(Credential { shown, is_ambient }) = found else {
        if !sources.contains(&CredentialSource::FirstMessage) {
            return Err(Refused::because(Reason::TokenMissing));
        }
        let place = Arc::clone(&gate.unauthenticated).try_acquire_owned();
        return place.map(Standing::Unknown).map_err(|_| Refused {
            limit: u64::try_from(gate.unauthenticated_max).ok(),
            ..Refused::because(Reason::UnauthenticatedFull)
        });
    };
    if is_ambient {
        entrance.check_origin_of_ambient(request, peer)?;
    }
    let leeway = leeway_of(&shown, authenticator);
    let principal = verify(gate, authenticator, route, shown).await?;
    record.begin_session(gate, route, principal, leeway, pulse)?;
    Ok(Standing::Known)
}

/// Who shows this.
async fn verify(
    gate: &Gate,
    authenticator: &Authenticator,
    route: &Route,
    shown: Shown<'_>,
) -> Result<Principal, Refused> {
    let clock = &gate.facilities.clock;
    match shown {
        Shown::Token(token) => verify::verify(route, authenticator, token.as_bytes(), clock)
            .await
            .map_err(|error| Refused::detailed(error.reason(), &error)),
        Shown::Ticket(ticket) => gate
            .tickets
            .take(ticket, &route.name, clock.now(), clock.unix_now())
            .ok_or_else(|| Refused::detailed(Reason::TokenInvalid, &"no such ticket waits for this route")),
    }
}

/// How long the session of whoever shows this goes on after its end: clocks differ between us and who signs tokens, not
/// between us and ourselves.
fn leeway_of(shown: &Shown<'_>, authenticator: &Authenticator) -> Duration {
    match shown {
        Shown::Token(_) => authenticator.config().leeway,
        Shown::Ticket(_) => Duration::ZERO,
    }
}

/// Whom the token that is shown names, if it is one.
fn claimed(authenticator: &Authenticator, shown: Shown<'_>) -> Option<String> {
    match shown {
        Shown::Token(token) => authenticator.claimed_subject(token.as_bytes()),
        Shown::Ticket(_) => None,
    }
}

/// What a first message shows.
fn shown_by_message<'m>(message: &'m str, sources: &[CredentialSource]) -> Shown<'m> {
    if message.starts_with(TICKET_PREFIX) && sources.contains(&CredentialSource::Ticket) {
        Shown::Ticket(message)
    } else {
        Shown::Token(message)
    }
}

impl From<CertificateError> for Refused {
    fn from(error: CertificateError) -> Self {
        Self::detailed(Reason::TokenInvalid, &error)
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        let reason = match fault {
            Fault::Conflicting => Reason::CredentialsConflicting,
            Fault::TokenAlone => Reason::SubprotocolsInvalid,
            Fault::Malformed => Reason::TokenInvalid,
        };
        Self::detailed(reason, &fault)
    }
}
