//! One connection from its accept to its end: admitted, relayed, concluded.
//!
//! [`serve`] is that life as one function. Its first part is boxed and dropped before the second begins, so that an idle
//! connection pays nothing for what it took to get there. [`conclude`] is the only code that logs and counts an end.
//! Comes after the firewall; before and beside it stands the server, which accepts and drains.

mod ending;
mod live;
mod output;
mod relay;
mod secure;
mod worker;

use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use drawgate_protocol::Limits as MessageLimits;
use drawgate_protocol::handshake::Extension;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Semaphore, watch};
use tokio::time::{timeout, timeout_at};

use crate::auth::{Authenticator, certificate};
use crate::backend::Backend;
use crate::backend::echo::Echoing;
use crate::backend::handler::{Handling, Session};
use crate::chance::Chance;
use crate::clock::{Clock, Instant};
use crate::compression::{self, Compression, Declined};
use crate::firewall::{Admission, Denied};
use crate::limits::Limits;
use crate::observe::{Ended, Observer, Opened, Phase, RouteMetrics, Side, TlsMetrics};
use crate::principal::{ClientAddr, ConnectionId, Principal};
use crate::pulse::Pulse;
use crate::reason::{Fault, Reason};
use crate::route::Notice;
use crate::timers::Timers;
use crate::tls::{Peer, Tls, Wire};
use crate::upgrade::{Entrances, Head, HeadError, Refused, Routed, send_refusal};

pub(crate) use ending::Ending;
use ending::millis;
pub(crate) use live::Live;
pub(crate) use output::Budget;
use relay::{Application, Outcome, Relay, Unauthenticated};
use secure::Secured;

/// What every connection's data path shares.
#[derive(Debug)]
pub(crate) struct Facilities {
    pub(crate) clock: Clock,
    pub(crate) started_at: Instant,
    pub(crate) timers: Timers<Arc<Pulse>>,
    pub(crate) budget: Arc<Budget>,
    /// What is left for compressed connections.
    pub(crate) compression: Arc<compression::Room>,
}

/// What every connection of one server shares.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) facilities: Arc<Facilities>,
    pub(crate) observer: Observer,
    pub(crate) chance: Chance,
    pub(crate) live: Live,
    /// Places for connections that are let in.
    pub(crate) places: Arc<Semaphore>,
    /// How many there are.
    pub(crate) places_max: usize,
    /// Places for connections that have yet to send their first message.
    pub(crate) unauthenticated: Arc<Semaphore>,
    /// Places for TLS handshakes.
    pub(crate) tls_handshakes: Semaphore,
    /// How many there are.
    pub(crate) tls_handshakes_max: usize,
    /// Places for clients that are refused before a byte is read, while they are told so.
    pub(crate) turned_away: Semaphore,
    /// Turns true when the drain begins.
    pub(crate) draining: watch::Receiver<bool>,
}

/// What the connections of one route live by.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) limits: Limits,
    pub(crate) notice: Notice,
    pub(crate) metrics: Arc<RouteMetrics>,
}

impl Terms {
    /// The bounds on messages, for the protocol.
    fn message_limits(&self) -> MessageLimits {
        MessageLimits {
            message_bytes_max: self.limits.message_bytes_max.unwrap_or(u64::MAX),
            message_fragments_max: self.limits.message_fragments_max.unwrap_or(u32::MAX),
        }
    }

    /// What comes of a client's offers to compress, and how the answer says it.
    fn negotiate_compression(
        &self,
        offers: &[Extension<'_>],
        facilities: &Facilities,
    ) -> Result<(Box<Compression>, String), Declined> {
        if !self.limits.compression {
            return Err(Declined::NoOffer);
        }
        let rate = self.limits.inflated_bytes_per_second;
        Compression::negotiate(offers, &facilities.compression, rate, self.message_limits().message_bytes_max)
    }
}

/// A route, ready to serve.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: Arc<str>,
    pub(crate) authenticator: Option<Authenticator>,
    pub(crate) backend: Backend,
    pub(crate) terms: Arc<Terms>,
}

/// A listener's side of a connection.
#[derive(Debug)]
pub(crate) struct Door {
    /// `None` where the listener is plain.
    pub(crate) encryption: Option<Encryption>,
    pub(crate) head_timeout: Duration,
    pub(crate) entrances: Entrances<Arc<Route>>,
}

/// A TLS listener's certificates, and how long a handshake may take, from the accept on.
#[derive(Clone, Debug)]
pub(crate) struct Encryption {
    pub(crate) tls: Arc<Tls>,
    pub(crate) timeout: Duration,
    pub(crate) metrics: Arc<TlsMetrics>,
}

/// A socket that was accepted, and what the firewall says of it.
#[derive(Debug)]
pub(crate) struct Arrival<S> {
    pub(crate) socket: S,
    pub(crate) client: ClientAddr,
    pub(crate) accepted_at: Instant,
    pub(crate) admission: Result<Admission, NoRoom>,
}

/// Why a socket is turned away before a byte is read, and at which limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoRoom {
    pub(crate) reason: Reason,
    pub(crate) limit: u64,
}

/// What the first part of a connection's life works with.
struct WayIn<S> {
    door: Arc<Door>,
    socket: S,
    pulse: Arc<Pulse>,
    /// Why the client is not let in.
    no_room: Option<NoRoom>,
}

/// What is known of a connection while it lives.
struct Record {
    connection: ConnectionId,
    client: ClientAddr,
    accepted_at: Instant,
    route: Option<Arc<Route>>,
    principal: Option<Arc<Principal>>,
    phase: Phase,
}

impl Record {
    fn new(gate: &Gate, client: ClientAddr, accepted_at: Instant) -> Self {
        Self {
            connection: ConnectionId::new(gate.chance.bits()),
            client,
            accepted_at,
            route: None,
            principal: None,
            phase: Phase::Handshake,
        }
    }
}

/// Lives one connection: the whole of it. It counts as live from this call on, not from the first poll, so that a drain
/// that begins between the two does not miss it.
///
/// What comes before the future, and what is in boxes, is so that the future stays small: it is what every idle connection
/// holds, and it has room for all that it is made of, used or not.
pub(crate) fn serve<S>(
    gate: Arc<Gate>,
    door: Arc<Door>,
    arrival: Arrival<S>,
) -> impl Future<Output = ()> + Send + use<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Arrival { socket, client, accepted_at, admission } = arrival;
    let (admission, no_room) = match admission {
        Ok(admission) => (Some(admission), None),
        Err(no_room) => (None, Some(no_room)),
    };
    let pulse = Arc::new(Pulse::default());
    let mut life = Life::begin(gate, &pulse, admission, client, accepted_at);
    let way_in = Box::new(WayIn { door, socket, pulse, no_room });
    async move {
        let Life { gate, record, .. } = &mut life;
        let mut relay = match caught(Box::pin(admit(gate, *way_in, record))).await {
            Ok(Ok(relay)) => relay,
            Ok(Err(ending)) | Err(ending) => return life.end(&ending),
        };
        let ending = match caught(poll_fn(|cx| relay.poll(cx))).await {
            Ok(outcome) => end(*relay, outcome),
            Err(ending) => ending,
        };
        life.end(&ending);
    }
}

/// A connection from its accept to its record, whatever becomes of the future that lives it.
struct Life {
    gate: Arc<Gate>,
    record: Record,
    /// Its place among the live ones.
    place: usize,
    /// What it holds if it was let in, beside one of the gate's places.
    admission: Option<Admission>,
    is_concluded: bool,
}

impl Life {
    fn begin(
        gate: Arc<Gate>,
        pulse: &Arc<Pulse>,
        admission: Option<Admission>,
        client: ClientAddr,
        accepted_at: Instant,
    ) -> Self {
        let record = Record::new(&gate, client, accepted_at);
        let place = gate.live.enter(Arc::clone(pulse));
        Self { gate, record, place, admission, is_concluded: false }
    }

    fn end(mut self, ending: &Ending) {
        self.is_concluded = true;
        conclude(&self.gate, &self.record, ending);
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if !self.is_concluded {
            conclude(&self.gate, &self.record, &Ending::cut());
        }
        if self.admission.take().is_some() {
            self.gate.places.add_permits(1);
        }
        self.gate.live.leave(self.place);
    }
}

/// The first part: the request, the credential, the backend; up to a relay that only has to run.
async fn admit<S>(
    gate: &Arc<Gate>,
    way_in: WayIn<S>,
    record: &mut Record,
) -> Result<Box<Relay<Wire<S>>>, Ending>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let WayIn { door, socket, pulse, no_room } = way_in;
    if let Some(no_room) = no_room {
        return Err(turn_away(gate, &door, socket, no_room).await);
    }
    let Secured { wire: mut socket, peer, since } = secure::secure(gate, &door, socket, record).await?;
    let head = match read_head(gate, &door, &mut socket, since).await {
        Ok(head) => head,
        Err(HeadError::Refused(refused)) => return Err(refuse(socket, refused).await),
        Err(HeadError::Incomplete) => return Err(Ending::by_client(Reason::RequestIncomplete, None)),
        Err(HeadError::Transport(error)) => {
            return Err(Ending {
                detail: Some(error.to_string()),
                ..Ending::by_client(Reason::RequestIncomplete, None)
            });
        }
    };
    let mut compression = None;
    let negotiate = |route: &Arc<Route>, offers: &[Extension<'_>]| match route
        .terms
        .negotiate_compression(offers, &gate.facilities)
    {
        Ok((agreed, answer)) => {
            compression = Some(agreed);
            Some(answer)
        }
        Err(Declined::NoOffer) => None,
        Err(Declined::NoRoom) => {
            gate.observer.compression_declined();
            None
        }
    };
    let routed = head.judge(&door.entrances, &peer, negotiate);
    // Known also where the route does not take the request.
    record.route = routed.as_ref().ok().map(|routed| Arc::clone(&routed.route));
    let (route, answer) = match routed.and_then(|Routed { route, answer }| Ok((route, answer?))) {
        Ok(admitted) => admitted,
        Err(refused) => return Err(refuse(socket, refused).await),
    };
    if let Err(refused) = recognise(gate, &route, &peer, record) {
        return Err(refuse(socket, refused).await);
    }
    // Held until the first message has been judged.
    let place = match awaits_message(&route, record) {
        None => None,
        Some(_) => match Arc::clone(&gate.unauthenticated).try_acquire_owned() {
            Ok(place) => Some(place),
            Err(_) => return Err(refuse(socket, Refused::because(Reason::UnauthenticatedFull)).await),
        },
    };
    if let Err(error) = timeout(ANSWER_TIME_MAX, socket.write_all(&answer)).await.unwrap_or(Err(stuck())) {
        return Err(Ending::reset(&error));
    }
    record.phase = Phase::Open;
    opened(gate, record, &route);
    let application = match awaits_message(&route, record) {
        None => application(&route, record, &pulse),
        Some(authenticator) => {
            let until =
                gate.facilities.clock.now() + authenticator.config().first_message_timeout.min(DEADLINE_MAX);
            Application::Unauthenticated(Box::new(Unauthenticated::new(until)))
        }
    };
    let (facilities, terms) = (Arc::clone(&gate.facilities), Arc::clone(&route.terms));
    let mut relay =
        Box::new(Relay::new(socket, facilities, terms, Arc::clone(&pulse), application, head.into_rest()));
    relay.compress(compression);
    if let Some(authenticator) = awaits_message(&route, record) {
        authenticate(gate, authenticator, &route, &mut relay, &pulse, record).await?;
    }
    drop(place);
    Ok(relay)
}

/// Who speaks, where the client's certificate says it. Where nothing else could, it must.
fn recognise(gate: &Gate, route: &Route, peer: &Peer, record: &mut Record) -> Result<(), Refused> {
    let Some(authenticator) = &route.authenticator else { return Ok(()) };
    let sources = &authenticator.config().credentials;
    let found = certificate::principal(peer.certificate.as_ref(), sources, gate.facilities.clock.unix_now());
    let found = found.map_err(|_| Refused::because(Reason::TokenInvalid))?;
    if found.is_none() && !authenticator.config().takes_tokens() {
        return Err(Refused::because(Reason::TokenInvalid));
    }
    record.principal = found.map(Arc::new);
    Ok(())
}

/// What the first message is for, if it is yet to be said who speaks.
fn awaits_message<'r>(route: &'r Route, record: &Record) -> Option<&'r Authenticator> {
    route.authenticator.as_ref().filter(|_| record.principal.is_none())
}

/// The request head, within its deadline, which is moved by nothing.
async fn read_head<S: AsyncRead + Unpin>(
    gate: &Gate,
    door: &Door,
    socket: &mut S,
    since: Instant,
) -> Result<Head, HeadError> {
    let mut draining = gate.draining.clone();
    let until = since + door.head_timeout.min(DEADLINE_MAX);
    tokio::select! {
        biased;
        // First, because nobody tells a connection of a drain that has begun before it was upgraded.
        _ = draining.wait_for(|draining| *draining) => {
            Err(HeadError::Refused(Refused::because(Reason::Draining)))
        }
        head = timeout_at(until, Head::read(socket)) => {
            head.unwrap_or(Err(HeadError::Refused(Refused {
                limit: Some(millis(door.head_timeout)),
                ..Refused::because(Reason::RequestTimeout)
            })))
        }
    }
}

/// The first message as the credential. The relay carries the connection meanwhile, pings and all.
async fn authenticate<S>(
    gate: &Gate,
    authenticator: &Authenticator,
    route: &Arc<Route>,
    relay: &mut Relay<S>,
    pulse: &Arc<Pulse>,
    record: &mut Record,
) -> Result<(), Ending>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let message = match poll_fn(|cx| relay.poll(cx)).await {
        Outcome::FirstMessage(message) => message,
        Outcome::Ended(ending) if ending.reason == Reason::FirstMessageTimeout => {
            let limit = Some(millis(authenticator.config().first_message_timeout));
            return Err(Ending { limit, ..ending });
        }
        Outcome::Ended(ending) => return Err(ending),
    };
    match authenticator.verify(message.as_bytes(), gate.facilities.clock.unix_now()) {
        Ok(principal) => {
            let notice = verified_notice(route.terms.notice, &principal);
            record.principal = Some(Arc::new(principal));
            relay.authenticated(application(route, record, pulse), notice.as_deref());
            Ok(())
        }
        Err(error) => {
            let reason = if error.is_expired() { Reason::TokenExpired } else { Reason::TokenInvalid };
            relay.refuse(Ending { detail: Some(error.to_string()), ..Ending::by_gate(reason) });
            match poll_fn(|cx| relay.poll(cx)).await {
                Outcome::Ended(ending) => Err(ending),
                // After our Close no message is looked at.
                Outcome::FirstMessage(_) => Err(Ending::by_gate(Reason::InternalError)),
            }
        }
    }
}

/// What follows the second part, the relay: the news to the application.
fn end<S>(relay: Relay<S>, outcome: Outcome) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut ending = match outcome {
        Outcome::Ended(ending) => ending,
        // An authenticated relay has no first message left to give.
        Outcome::FirstMessage(_) => Ending::by_gate(Reason::InternalError),
    };
    if let Application::Handler(handling) = relay.into_application()
        && handling.end(ending.reason).is_err()
    {
        ending.detail = Some("the handler panicked when it was told of the end".to_owned());
    }
    ending
}

/// Who gets the messages of an admitted connection.
fn application(route: &Arc<Route>, record: &Record, pulse: &Arc<Pulse>) -> Application {
    match &route.backend {
        Backend::Echo(echo) => Application::Echo(Echoing::new(Arc::clone(echo))),
        Backend::Handler(handler) => {
            let session = Session::new(
                record.connection,
                record.client,
                Arc::clone(&route.name),
                record.principal.clone(),
                Arc::clone(pulse),
            );
            let limits = route.terms.message_limits();
            Application::Handler(Box::new(Handling::new(Arc::clone(handler), session, limits)))
        }
    }
}

/// What a client hears when its first message was good.
fn verified_notice(notice: Notice, principal: &Principal) -> Option<String> {
    match notice {
        Notice::Close => None,
        Notice::Text => Some("Authenticated!".to_owned()),
        Notice::Json => Some(
            serde_json::json!({
                "type": "authenticated",
                "subject": &*principal.subject,
                "expires_at": principal.expires_at.to_string(),
            })
            .to_string(),
        ),
    }
}

fn opened(gate: &Gate, record: &Record, route: &Route) {
    gate.observer.connection_opened(&Opened {
        connection: record.connection,
        client: record.client,
        route: &route.name,
        handshake_duration: gate.facilities.clock.now().saturating_duration_since(record.accepted_at),
    });
}

/// Refuses before a byte is read. In a flood only some clients are given the time to hear why; those of a TLS listener
/// could hear it only after a handshake, which costs more than they are worth.
async fn turn_away<S: AsyncRead + AsyncWrite + Unpin>(
    gate: &Gate,
    door: &Door,
    socket: S,
    no_room: NoRoom,
) -> Ending {
    let NoRoom { reason, limit } = no_room;
    let ending = match gate.turned_away.try_acquire() {
        Ok(_place) if door.encryption.is_none() => refuse(socket, Refused::because(reason)).await,
        Ok(_) | Err(_) => Ending::by_gate(reason),
    };
    Ending { limit: Some(limit), ..ending }
}

/// Refuses a client for whom there is no descriptor to spare: what `send` does not do at once is not done.
pub(crate) fn turn_away_at_once(gate: &Gate, client: ClientAddr, reason: Reason, send: impl FnOnce(&[u8])) {
    send(&Refused::because(reason).answer());
    let record = Record::new(gate, client, gate.facilities.clock.now());
    conclude(gate, &record, &Ending::by_gate(reason));
}

/// Answers a request that is not accepted. An answer that cannot be delivered changes nothing.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S, refused: Refused) -> Ending {
    let _ = timeout(ANSWER_TIME_MAX, send_refusal(&mut socket, &refused.answer())).await;
    let by = match refused.reason.row().fault {
        Fault::Client | Fault::Upstream | Fault::Gateway => Side::Gateway,
        Fault::Operator | Fault::None => Side::Operator,
    };
    Ending {
        by,
        close_code: None,
        limit: refused.limit,
        detail: refused.cause.map(|cause| cause.to_string()),
        ..Ending::by_gate(refused.reason)
    }
}

/// One end: one record, one counter.
fn conclude(gate: &Gate, record: &Record, ending: &Ending) {
    let duration = gate.facilities.clock.now().saturating_duration_since(record.accepted_at);
    let is_open = record.phase == Phase::Open;
    gate.observer.connection_ended(&Ended {
        connection: record.connection,
        client: record.client,
        route: record.route.as_ref().map(|route| &*route.name),
        subject: record.principal.as_ref().map(|principal| &*principal.subject),
        phase: record.phase,
        reason: ending.reason,
        ended_by: ending.by,
        close_code: ending.close_code.filter(|_| is_open),
        http_status: ending.reason.row().status.filter(|_| !is_open),
        violation: ending.violation,
        detail: ending.detail.as_ref().map(|detail| detail as _),
        limit: ending.limit,
        observed: ending.observed,
        traffic: ending.traffic,
        duration,
    });
}

/// Polls `life`; a panic in it ends this connection and nothing else.
fn caught<F: Future + Unpin>(mut life: F) -> impl Future<Output = Result<F::Output, Ending>> {
    poll_fn(move |cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut life).poll(cx)));
        polled.map_or_else(|_| Poll::Ready(Err(Ending::by_gate(Reason::InternalError))), |poll| poll.map(Ok))
    })
}

impl From<Denied> for NoRoom {
    fn from(denied: Denied) -> Self {
        let (reason, limit) = match denied {
            Denied::ConnectionsExceeded { limit } => (Reason::ClientConnectionsExceeded, limit),
            Denied::RateExceeded { limit, .. } => (Reason::HandshakeRateExceeded, limit),
        };
        Self { reason, limit: limit.into() }
    }
}

fn stuck() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the answer could not be sent in time")
}

/// However long a program that uses the library lets a client take for its head or its first message; a configuration
/// has the same bound.
const DEADLINE_MAX: Duration = Duration::from_hours(1);

/// How long a client may take to receive an answer to its request, and to close after a refusal.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use tokio::net::TcpStream;

    use super::*;

    fn future_bytes<A, B, C, F>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn r09_what_an_idle_connection_holds_is_small() {
        // Measured with a TCP socket: 592 and 368 bytes. Two cache lines more would be a decision, not an accident.
        assert!(size_of::<Relay<Wire<TcpStream>>>() <= 640, "{}", size_of::<Relay<Wire<TcpStream>>>());
        // That it could be encrypted costs a plain connection a word at most.
        assert!(size_of::<Wire<TcpStream>>() <= size_of::<TcpStream>() + 8);
        let life_bytes = future_bytes(serve::<TcpStream>);
        assert!(life_bytes <= 448, "{life_bytes}");
    }
}
