//! One connection from its accept to its end: admitted, relayed, concluded.
//!
//! [`serve`] is that life as one function. Its first part is boxed and dropped before the second begins, so that an idle
//! connection pays nothing for what it took to get there. [`conclude`] is the only code that logs and counts an end.
//! Comes after the firewall; before and beside it stands the server, which accepts and drains.

mod admit;
mod announce;
mod attempt;
mod ending;
mod identity;
mod live;
mod load;
mod masks;
mod onward;
mod output;
mod pace;
mod recognize;
mod relay;
mod secure;
mod verify;
mod worker;

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use drawgate_protocol::Limits as MessageLimits;
use drawgate_protocol::handshake::Extension;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

use crate::address::{self, ProxyProtocol};
use crate::auth::failures::Failures;
use crate::auth::{Authenticator, KeySet, Keys};
use crate::backend::Backend;
use crate::backend::upstream::Drains;
use crate::chance::Chance;
use crate::clock::{Clock, Instant, Moment};
use crate::compression::{self, Compression, Declined};
use crate::firewall::{AddressBan, Admission, Denied, Firewall};
use crate::inspect::Inspections;
use crate::jwks::Source;
use crate::limits::Limits;
use crate::network::Network;
use crate::observe::{Banned, Ended, Observer, OfMessage, Phase, RouteMetrics, TlsMetrics};
use crate::principal::{ClientAddr, ConnectionId};
use crate::pulse::Pulse;
use crate::reason::Reason;
use crate::route::{Notice, RefuseBy};
use crate::session::Sessions;
use crate::ticket::Tickets;
use crate::timers::Timers;
use crate::tls::Tls;
use crate::trace::Trace;
use crate::upgrade::{Entrances, Refused};

use admit::admit;
pub(crate) use ending::Ending;
use identity::Identity;
pub(crate) use live::Live;
pub(crate) use load::Load;
pub(crate) use output::Budget;
pub(crate) use pace::Paces;
use relay::{Outcome, Relay, Remarks};

/// What every connection's data path shares.
#[derive(Debug)]
pub(crate) struct Facilities {
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) started_at: Instant,
    pub(crate) timers: Timers<Arc<Pulse>>,
    pub(crate) budget: Arc<Budget>,
    /// What is left for compressed connections.
    pub(crate) compression: Arc<compression::Room>,
}

impl Facilities {
    /// Monotonic time, after the start.
    pub(crate) fn now(&self) -> Moment {
        Moment::after(self.started_at, self.clock.now())
    }

    /// What the clock shows at `moment`; `None` where it never will.
    fn instant(&self, moment: Moment) -> Option<Instant> {
        self.started_at.checked_add(moment.since_epoch())
    }
}

/// What every connection of one server shares.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) facilities: Arc<Facilities>,
    pub(crate) observer: Observer,
    pub(crate) chance: Chance,
    pub(crate) firewall: Firewall,
    pub(crate) live: Live,
    /// Whether anybody can be let in, or has to go, and whether it drains.
    pub(crate) load: Load,
    /// Places for connections that are let in.
    pub(crate) places: Arc<Semaphore>,
    /// How many there are.
    pub(crate) places_max: usize,
    /// What applications have vouched for and nobody has shown yet.
    pub(crate) tickets: Arc<Tickets>,
    /// Places for connections that have yet to send their first message.
    pub(crate) unauthenticated: Arc<Semaphore>,
    /// How many there are.
    pub(crate) unauthenticated_max: usize,
    /// Places for clients that are refused before a byte is read, while they are told so.
    pub(crate) turned_away: Semaphore,
    /// Places for TLS handshakes.
    pub(crate) tls_handshakes: Semaphore,
    /// How many there are.
    pub(crate) tls_handshakes_max: usize,
    /// The sessions that live, and what keeps tokens and subjects out.
    pub(crate) sessions: Arc<Sessions>,
    /// The applications that operators have drained.
    pub(crate) drains: Arc<Drains>,
}

/// What the connections of one route live by.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) limits: Limits,
    pub(crate) notice: Notice,
    pub(crate) inspections: Inspections,
    pub(crate) paces: Option<Paces>,
    pub(crate) metrics: Arc<RouteMetrics>,
    /// Turns true where nobody may go on by these terms.
    pub(crate) retired: AtomicBool,
}

impl Terms {
    /// Nobody may go on by them: those who live by them are to be told so next.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

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
    /// What counts failed attempts to authenticate, if anything; routes with the same authenticator share it.
    pub(crate) failures: Option<Arc<Failures>>,
    /// What tokens are verified with, where that is fetched.
    pub(crate) keys: Option<Arc<Source<KeySet>>>,
    pub(crate) refuse: RefuseBy,
    pub(crate) backend: Backend,
    pub(crate) terms: Arc<Terms>,
}

impl Route {
    /// The file that its keys come from, where they come from one.
    pub(crate) fn key_file(&self) -> Option<&PathBuf> {
        match &self.authenticator.as_ref()?.config().keys {
            Keys::File(path, _) => Some(path),
            Keys::None | Keys::Secret(_) | Keys::Set(_) | Keys::Remote(_) => None,
        }
    }
}

/// A TLS listener's certificates, and how long a handshake may take, from the accept on.
#[derive(Clone, Debug)]
pub(crate) struct Encryption {
    pub(crate) tls: Arc<Tls>,
    pub(crate) timeout: Duration,
    pub(crate) metrics: Arc<TlsMetrics>,
}

/// A listener's side of a connection.
#[derive(Debug)]
pub(crate) struct Door {
    /// Whose word about clients counts.
    pub(crate) addresses: Arc<address::Config>,
    /// The PROXY header that each connection begins with.
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
    pub(crate) proxy_header_timeout: Duration,
    /// `None` where the listener is plain.
    pub(crate) encryption: Option<Encryption>,
    pub(crate) head_timeout: Duration,
    pub(crate) entrances: Entrances<Arc<Route>>,
}

/// A socket that was accepted, and what the firewall says of it.
#[derive(Debug)]
pub(crate) struct Arrival<S> {
    pub(crate) socket: S,
    pub(crate) client: ClientAddr,
    pub(crate) accepted_at: Instant,
    /// `None` where a proxy has yet to say who the client is.
    pub(crate) admission: Result<Option<Admission>, NoRoom>,
}

/// Why a socket is turned away before a byte is read, and at which limit, if it is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoRoom {
    pub(crate) reason: Reason,
    pub(crate) limit: Option<u64>,
}

/// What the first part of a connection's life works with.
struct WayIn<S> {
    door: Arc<Door>,
    socket: S,
    pulse: Arc<Pulse>,
    /// Why the client is not let in.
    no_room: Option<NoRoom>,
}

/// The way of a connection beyond its own two ends.
#[derive(Default)]
struct Path {
    /// The proxy that speaks for the client, if one does.
    via: Option<ClientAddr>,
    /// The trace that it belongs to, where it has one.
    trace: Option<Trace>,
}

/// What is known of a connection while it lives.
struct Record {
    connection: ConnectionId,
    client: ClientAddr,
    /// What only connections by proxies and to applications have; in a box, so that others do not pay for it.
    path: Option<Box<Path>>,
    /// Whether it has one of the gate's places.
    has_place: bool,
    /// The client's share of the firewall's limits.
    admission: Option<Admission>,
    accepted_at: Instant,
    route: Option<Arc<Route>>,
    identity: Option<Box<Identity>>,
    phase: Phase,
    is_concluded: bool,
}

impl Record {
    fn new(gate: &Gate, client: ClientAddr, accepted_at: Instant) -> Self {
        Self {
            connection: ConnectionId::new(gate.chance.bits()),
            client,
            path: None,
            has_place: false,
            admission: None,
            accepted_at,
            route: None,
            identity: None,
            phase: Phase::Handshake,
            is_concluded: false,
        }
    }

    /// Who was taken for the client speaks for this one.
    fn is_from(&mut self, client: ClientAddr) {
        // The proxy that connected is the one that operators look for; those before it are in its log.
        let proxy = self.client;
        self.path.get_or_insert_default().via.get_or_insert(proxy);
        self.client = client;
    }

    fn via(&self) -> Option<ClientAddr> {
        self.path.as_ref()?.via
    }

    fn trace(&self) -> Option<&Trace> {
        self.path.as_ref()?.trace.as_ref()
    }

    /// It belongs to a trace that somebody trusted has begun.
    fn belongs_to(&mut self, trace: Trace) {
        self.path.get_or_insert_default().trace = Some(trace);
    }

    /// It belongs to one from here on.
    fn has_trace(&mut self, chance: &Chance) {
        self.path.get_or_insert_default().trace.get_or_insert_with(|| Trace::begin(chance));
    }

    /// Asks the firewall, now that the client is known. Where it was asked at the accept, that was about the client.
    fn admit(&mut self, gate: &Gate, pulse: &Pulse) -> Result<(), NoRoom> {
        // Before it is asked about bans: one that comes in between finds the connection, and whose it is.
        pulse.belongs_to(self.client.key());
        if self.admission.is_none() {
            self.admission = Some(gate.firewall.admit(self.client, gate.facilities.clock.now())?);
        }
        Ok(())
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
    let (has_place, admission, no_room) = match admission {
        Ok(admission) => (true, admission, None),
        Err(no_room) => (false, None, Some(no_room)),
    };
    let pulse = Arc::new(Pulse::default());
    let record = Record { has_place, admission, ..Record::new(&gate, client, accepted_at) };
    let mut life = Life::begin(gate, &pulse, record);
    let way_in = Box::new(WayIn { door, socket, pulse, no_room });
    async move {
        let Life { gate, record, .. } = &mut life;
        let mut relay = match caught(Box::pin(admit(gate, way_in, record))).await {
            Ok(Ok(relay)) => relay,
            Ok(Err(ending)) | Err(ending) => return life.end(&ending),
        };
        let ending = loop {
            // What is held across a poll is held by every idle connection: nothing of what came is, and all is borrowed anew.
            let token = match caught(poll_fn(|cx| relay.poll(cx))).await {
                Ok(Outcome::Token(token)) => token,
                Ok(Outcome::Remarked(remarks)) => {
                    life.remark(&remarks);
                    continue;
                }
                Ok(outcome) => break end(&mut relay, outcome),
                Err(ending) => break ending,
            };
            Box::pin(identity::refresh(&life.gate, &mut life.record, &mut relay, token)).await;
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
}

impl Life {
    fn begin(gate: Arc<Gate>, pulse: &Arc<Pulse>, record: Record) -> Self {
        let place = gate.live.enter(Arc::clone(pulse));
        Self { gate, record, place }
    }

    /// A message was refused: one record.
    fn remark(&self, remarks: &Remarks) {
        let record = &self.record;
        let message = OfMessage {
            connection: record.connection,
            client: record.client,
            via: record.via(),
            route: record.route.as_ref().map_or("", |route| &*route.name),
            subject: record.principal().map(|principal| &*principal.subject),
            session: record.session().map(|session| session.id()),
            toward: remarks.toward,
        };
        for note in &remarks.notes {
            self.gate.observer.rule_applied(&message, note);
        }
        if let Some((reason, detail)) = &remarks.refused {
            self.gate.observer.message_refused(&message, *reason, detail);
            note_refusal(&self.gate, record, *reason);
        }
    }

    fn end(mut self, ending: &Ending) {
        self.record.is_concluded = true;
        conclude(&self.gate, &self.record, ending);
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if !self.record.is_concluded {
            conclude(&self.gate, &self.record, &Ending::cut());
        }
        if self.record.has_place {
            self.gate.places.add_permits(1);
        }
        self.gate.live.leave(self.place);
    }
}

/// What follows the second part, the relay: the news to the application.
fn end<S>(relay: &mut Relay<S>, outcome: Outcome) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut ending = match outcome {
        Outcome::Ended(ending) => ending,
        // An authenticated relay has no first message left to give, and a token is not the end.
        Outcome::FirstMessage(_) | Outcome::Token(_) | Outcome::Remarked(_) => {
            Ending::by_gate(Reason::InternalError)
        }
    };
    if !relay.tell_end(ending.reason) {
        ending.detail = Some("the handler panicked when it was told of the end".to_owned());
    }
    ending
}

/// Refuses a client for whom there is no descriptor to spare: what `send` does not do at once is not done.
pub(crate) fn turn_away_at_once(gate: &Gate, client: ClientAddr, reason: Reason, send: impl FnOnce(&[u8])) {
    send(&Refused::because(reason).answer(gate.chance.bits()));
    let record = Record::new(gate, client, gate.facilities.clock.now());
    conclude(gate, &record, &Ending::by_gate(reason));
}

/// One end: one record, one counter.
fn conclude(gate: &Gate, record: &Record, ending: &Ending) {
    let duration = gate.facilities.clock.now().saturating_duration_since(record.accepted_at);
    let is_open = record.phase == Phase::Open;
    gate.observer.connection_ended(&Ended {
        connection: record.connection,
        client: record.client,
        via: record.via(),
        route: record.route.as_ref().map(|route| &*route.name),
        subject: record.principal().map(|principal| &*principal.subject),
        session: record.session().map(|session| session.id()),
        trace: record.trace().map(|trace| trace.id),
        phase: record.phase,
        reason: ending.reason,
        ended_by: ending.by,
        close_code: ending.close_code.filter(|_| is_open),
        http_status: ending.reason.row().status.filter(|_| !is_open),
        violation: ending.violation,
        detail: ending.detail.as_ref().map(|detail| detail as _),
        origin: ending.origin.as_deref(),
        limit: ending.limit,
        observed: ending.observed,
        traffic: ending.traffic,
        duration,
    });
    note_refusal(gate, record, ending.reason);
}

/// Bans a client that has been refused too often, and ends what else it has; or only says that it would be.
fn note_refusal(gate: &Gate, record: &Record, reason: Reason) {
    let Gate { firewall, facilities, observer, live, .. } = gate;
    let now = facilities.clock.now();
    let Some(sentence) = firewall.note_refusal(record.client, reason, now) else { return };
    let until = facilities.clock.unix_now().plus(sentence.time);
    let network = Network::around(sentence.client.ip(), u8::MAX);
    let reason = format!("automatic: {}", reason.row().label);
    let ban = AddressBan { network, until: Some(until), reason };
    let is_in_force = !sentence.is_shadow && firewall.ban(&ban, now, facilities.clock.unix_now()).is_ok();
    let closed = if is_in_force { live.ban(ban.effective()) } else { 0 };
    observer.address_bans(firewall.bans_count());
    observer.banned(&Banned {
        ban: &ban,
        seconds: sentence.time.as_secs(),
        is_in_force,
        is_shadow: sentence.is_shadow,
        closed,
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
            Denied::AddressDenied => (Reason::AddressDenied, None),
            Denied::AddressBanned => (Reason::AddressBanned, None),
            Denied::ConnectionsExceeded { limit } => (Reason::ClientConnectionsExceeded, Some(limit)),
            Denied::RateExceeded { limit, .. } => (Reason::HandshakeRateExceeded, Some(limit)),
        };
        Self { reason, limit: limit.map(u64::from) }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use tokio::net::TcpStream;

    use super::*;
    use crate::tls::Wire;

    fn future_bytes<A, B, C, F>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn r09_what_an_idle_connection_holds_is_small() {
        // The allocator has a class of 320 bytes; the next is 384, for each of all connections.
        assert!(size_of::<Relay<Wire<TcpStream>>>() <= 320, "{}", size_of::<Relay<Wire<TcpStream>>>());
        // That it could be encrypted costs a plain connection a word at most.
        assert!(size_of::<Wire<TcpStream>>() <= size_of::<TcpStream>() + 8);
        // Of each relayed one; the next class is 64.
        assert!(size_of::<Path>() <= 48, "{}", size_of::<Path>());
        let life_bytes = future_bytes(serve::<TcpStream>);
        assert!(life_bytes <= 448, "{life_bytes}");
    }
}
