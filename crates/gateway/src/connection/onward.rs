//! The way from an admitted client to the application behind the gate, before the relay runs.
//!
//! Where the request says who speaks, the application is dialled before the client's `101`, so that one that is not there is an honest
//! status; what the client sends meanwhile is kept, and a client that leaves ends the dial. On a route that authenticates by first
//! message nothing is dialled for a client that is nobody's.

use std::future::{pending, poll_fn};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

use super::ending::{Ending, millis};
use super::relay::{Outcome, Relay};
use super::{Gate, Record, Route};
use crate::auth::credential;
use crate::backend::upstream::{Connected, DialError, Opening, Speaker, Upstream};
use crate::compression::Offer;
use crate::reason::Reason;
use crate::tls::Peer;
use crate::upgrade::{Entrance, Refused};
use drawgate_protocol::handshake::Request;

/// A request that was found good, and where it leads.
pub(super) struct Asked<'r> {
    pub(super) request: &'r Request<'r>,
    pub(super) entrance: &'r Entrance<Arc<Route>>,
    pub(super) peer: &'r Peer,
}

/// Why a client does not get to the application.
pub(super) enum NoWay {
    /// It is to be told so.
    Refused(Refused),
    /// It has left, or been told already.
    Ended(Ending),
}

impl Asked<'_> {
    /// The subprotocol that a client is promised before the application can be asked: its first.
    pub(super) fn promised(&self) -> Option<&str> {
        credential::protocols_without(self.request).first().copied()
    }

    async fn dial(
        &self,
        gate: &Gate,
        upstream: &Upstream,
        record: &Record,
        protocols: &[&str],
    ) -> Result<Connected, Refused> {
        let authenticator = self.entrance.route.authenticator.as_ref();
        let sources = authenticator.map_or(&[][..], |authenticator| &authenticator.config().credentials);
        let offer = self.offer(gate, upstream);
        let opening = Opening {
            request: self.request,
            pattern: &self.entrance.path,
            sources,
            client: record.client,
            is_encrypted: self.peer.is_encrypted,
            speaker: record.principal().map(|principal| Speaker {
                subject: &principal.subject,
                session: record.session().map(|session| session.id()),
                claims: &principal.claims,
            }),
            trace: record.trace(),
            protocols,
            offers_compression: offer.is_some(),
        };
        let connected = upstream.connect(&opening, &gate.facilities.chance, &gate.facilities.clock).await?;
        // Where it is not accepted, its room is for others.
        Ok(Connected { offer: offer.filter(|_| connected.agreement.is_some()), ..connected })
    }

    /// What the application is offered of compression: nothing where the route says nothing of it, or there is no room.
    fn offer(&self, gate: &Gate, upstream: &Upstream) -> Option<Offer> {
        if !upstream.compresses() {
            return None;
        }
        let offer = Offer::new(&gate.facilities.compression);
        if offer.is_none() {
            gate.observer.compression_declined();
        }
        offer
    }
}

/// Dials before the client's `101`. What `socket` brings meanwhile is added to `early`.
pub(super) async fn before_the_answer<S: AsyncRead + Unpin>(
    gate: &Gate,
    upstream: &Upstream,
    asked: &Asked<'_>,
    record: &Record,
    (socket, early): (&mut S, &mut Vec<u8>),
) -> Result<Connected, NoWay> {
    let protocols = credential::protocols_without(asked.request);
    tokio::select! {
        biased;
        reason = gate.load.until_shut() => Err(NoWay::Refused(Refused::because(reason))),
        connected = asked.dial(gate, upstream, record, &protocols) => connected.map_err(NoWay::Refused),
        ending = left(socket, early) => Err(NoWay::Ended(ending)),
    }
}

/// Dials for a client whose first message was good. The relay carries its connection meanwhile.
pub(super) async fn after_the_answer<S>(
    gate: &Gate,
    upstream: &Upstream,
    asked: &Asked<'_>,
    record: &Record,
    relay: &mut Relay<S>,
) -> Result<Connected, NoWay>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let promised = asked.promised();
    let connected = tokio::select! {
        biased;
        connected = asked.dial(gate, upstream, record, promised.as_slice()) => {
            connected.map_err(NoWay::Refused)?
        }
        outcome = poll_fn(|cx| relay.poll(cx)) => return Err(NoWay::Ended(match outcome {
            Outcome::Ended(ending) => ending,
            // One first message has been taken, and a connection without an application takes no token.
            Outcome::FirstMessage(_) | Outcome::Token(_) | Outcome::Remarked(_) => Ending::by_gate(Reason::InternalError),
        })),
    };
    // The client has been promised a subprotocol, and would take what comes for it.
    if connected.protocol.as_deref() == promised {
        Ok(connected)
    } else {
        let detail = "the application did not choose the subprotocol that the client was promised";
        Err(NoWay::Refused(Refused::detailed(Reason::UpstreamAnswerInvalid, &detail)))
    }
}

/// Waits until the client leaves. What it sends is kept, as far as there is room; the rest stays in the kernel.
async fn left<S: AsyncRead + Unpin>(socket: &mut S, early: &mut Vec<u8>) -> Ending {
    loop {
        let room = EARLY_BYTES_MAX.saturating_sub(early.len());
        if room == 0 {
            return pending().await;
        }
        match (&mut *socket).take(room as u64).read_buf(early).await {
            Ok(0) => return Ending::lost(),
            Ok(_) => {}
            Err(error) => return Ending::reset(&error),
        }
    }
}

impl From<DialError> for Refused {
    fn from(error: DialError) -> Self {
        Self { limit: error.limit().map(millis), ..Self::detailed(error.reason(), &error) }
    }
}

/// How much is kept of what a client sends before it has its answer. It may not know of its own head's end before 16 KiB.
const EARLY_BYTES_MAX: usize = 32 * 1024;
