//! The first part of a connection's life: from its first byte to a relay that only has to run.
//!
//! The request, its route, the page that asks, the credential, the answer: each step stands on those before it, and the first
//! that fails is what the client is told. All of it is one boxed future, dropped before the relay runs. Comes after the
//! firewall has seen the address; [`super`] concludes what ends here.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use drawgate_protocol::handshake::{Extension, Header, Request};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{timeout, timeout_at};

use super::announce::{Announced, announce};
use super::ending::{Ending, millis};
use super::onward::{self, Asked, NoWay};
use super::recognize::{Standing, identify, identify_by_message};
use super::relay::{Application, Far, Outcome, Relay, Unauthenticated};
use super::secure::{Secured, secure};
use super::{Door, Gate, NoRoom, Phase, Record, Route, WayIn};
use crate::address::forwarded;
use crate::auth::Authenticator;
use crate::backend::Backend;
use crate::backend::echo::Echoing;
use crate::backend::handler::{Handling, Session};
use crate::backend::upstream::{Connected, TRACEPARENT};
use crate::clock::Instant;
use crate::compression::{Compression, Declined};
use crate::observe::{Opened, Side};
use crate::overload::Stage;
use crate::principal::Principal;
use crate::pulse::Pulse;
use crate::reason::{self, Reason};
use crate::route::{Notice, RefuseBy};
use crate::tls::{Peer, Wire};
use crate::trace::Trace;
use crate::upgrade::{
    self, Entrance, Head, HeadError, Refused, check_host, send_refusal, switching_protocols,
};

/// Takes the client in, as far as a relay, or refuses it.
pub(super) async fn admit<S>(
    gate: &Arc<Gate>,
    way_in: Box<WayIn<S>>,
    record: &mut Record,
) -> Result<Box<Relay<Wire<S>>>, Ending>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let WayIn { door, socket, pulse, no_room } = *way_in;
    let Secured { wire: mut socket, mut peer, since } =
        enter(gate, &door, socket, no_room, record, &pulse).await?;
    let head = match read_head(gate, &door, &mut socket, since).await {
        Ok(head) => head,
        Err(HeadError::Refused(refused)) => return Err(refuse(gate, socket, refused).await),
        Err(HeadError::Incomplete) => return Err(Ending::by_client(Reason::RequestIncomplete, None)),
        Err(HeadError::Transport(error)) => {
            let detail = Some(error.to_string());
            return Err(Ending { detail, ..Ending::by_client(Reason::RequestIncomplete, None) });
        }
    };
    // The record of a handshake that fails says which page asked.
    let named = |ending| Ending { origin: head.origin().map(Box::from), ..ending };
    let Judged { entrance, request, standing } =
        match judge(gate, &door, &head, &mut peer, record, &pulse).await {
            Ok(judged) => judged,
            Err(refused) => return Err(named(refuse(gate, socket, refused).await)),
        };
    let route = &entrance.route;
    let asked = Asked { request: &request, entrance, peer: &peer };
    if matches!(route.backend, Backend::Upstream(_)) {
        record.has_trace(&gate.chance);
    }
    let mut early = head.rest().to_vec();
    let connected = match (&standing, &route.backend) {
        (Standing::Known, Backend::Upstream(upstream)) => {
            Some(onward::before_the_answer(gate, upstream, &asked, record, (&mut socket, &mut early)).await)
        }
        (_, _) => None,
    };
    let (connected, standing) = match connected.transpose() {
        Ok(connected) => (connected, standing),
        Err(NoWay::Ended(ending)) => return Err(named(ending)),
        Err(NoWay::Refused(refused)) if closes_for(route, &refused) => (None, Standing::Unwelcome(refused)),
        Err(NoWay::Refused(refused)) => return Err(named(refuse(gate, socket, refused).await)),
    };
    let (compression, agreed) = negotiate_compression(gate, route, &request.extensions);
    let answer = match answer(&asked, agreed.as_deref(), connected.as_ref(), &standing) {
        Ok(answer) => answer,
        Err(refused) => return Err(named(refuse(gate, socket, refused).await)),
    };
    if let Err(error) =
        timeout(ANSWER_TIME_MAX, socket.write_all(&answer)).await.unwrap_or_else(|_| Err(stuck()))
    {
        return Err(named(Ending::reset(&error)));
    }
    record.phase = Phase::Open;
    opened(gate, record, route, upgrade::origin(&request));
    let application = match (&standing, &route.authenticator) {
        (Standing::Known, _) => application(gate, route, record, &pulse, connected),
        (Standing::Unknown(_) | Standing::Unwelcome(_), authenticator) => {
            let patience = authenticator
                .as_ref()
                .map_or(DEADLINE_MAX, |authenticator| authenticator.config().first_message_timeout);
            let until = gate.facilities.now() + patience.min(DEADLINE_MAX);
            Application::Unauthenticated(Box::new(Unauthenticated::new(until)))
        }
    };
    let (facilities, terms) = (Arc::clone(&gate.facilities), Arc::clone(&route.terms));
    let mut relay = Box::new(Relay::new(socket, facilities, terms, Arc::clone(&pulse), application, early));
    relay.compress(compression);
    match (standing, &route.authenticator) {
        (Standing::Known, _) | (Standing::Unknown(_), None) => {
            begin_tenure(&mut relay, route, record);
            Ok(relay)
        }
        (Standing::Unwelcome(refused), _) => Err(close(&mut relay, refused.into_ending()).await),
        (Standing::Unknown(_place), Some(authenticator)) => {
            Box::pin(authenticate(gate, authenticator, &asked, &mut relay, &pulse, record)).await?;
            Ok(relay)
        }
    }
}

/// What comes before the request: whether there is room, who the client is, and TLS.
async fn enter<S: AsyncRead + AsyncWrite + Unpin>(
    gate: &Gate,
    door: &Door,
    mut socket: S,
    no_room: Option<NoRoom>,
    record: &mut Record,
    pulse: &Pulse,
) -> Result<Secured<S>, Ending> {
    if let Some(no_room) = no_room {
        return Err(turn_away(gate, door, socket, no_room).await);
    }
    let Announced { is_encrypted, since } = announce(gate, door, &mut socket, record).await?;
    // Who is named in a header of the request is asked about there.
    if !door.addresses.reads_header_of(record.client)
        && let Err(no_room) = record.admit(gate, pulse)
    {
        return Err(turn_away(gate, door, socket, no_room).await);
    }
    let mut secured = secure(gate, door, socket, since).await?;
    secured.peer.is_encrypted = is_encrypted.unwrap_or(secured.peer.is_encrypted);
    Ok(secured)
}

/// A request that is to get its `101`, unless there is no application to be had.
struct Judged<'r> {
    entrance: &'r Entrance<Arc<Route>>,
    request: Request<'r>,
    standing: Standing,
}

/// Judges the request: which route it leads to, whether that route takes it, and who speaks.
async fn judge<'r>(
    gate: &Arc<Gate>,
    door: &'r Door,
    head: &'r Head,
    peer: &mut Peer,
    record: &mut Record,
    pulse: &Arc<Pulse>,
) -> Result<Judged<'r>, Refused> {
    introduce(gate, door, head, peer, record, pulse).map_err(|refused| head.refused(refused))?;
    let peer = &*peer;
    // Once more: whoever was kept out since the accept is among the live ones by now, and is told in one way or the other.
    if let Err(denied) = gate.firewall.lets_in(record.client, gate.facilities.clock.now()) {
        return Err(Refused::because(NoRoom::from(denied).reason));
    }
    if gate.observer.audit_keeps_out() {
        return Err(Refused::because(Reason::AuditUnavailable));
    }
    let request = head.request()?;
    check_host(&request, peer)?;
    let entrance = door.entrances.find(&request)?;
    let route = &entrance.route;
    // Known also where the route does not take the request.
    record.route = Some(Arc::clone(route));
    entrance.check_origin(&request, peer)?;
    let standing = match identify(gate, entrance, &request, peer, record, pulse).await {
        Err(refused) if closes_for(route, &refused) => Standing::Unwelcome(refused),
        identified => identified?,
    };
    Ok(Judged { entrance, request, standing })
}

/// Whether a client of `route` hears of this behind a `101`.
fn closes_for(route: &Route, refused: &Refused) -> bool {
    route.refuse == RefuseBy::Close && refused.can_close()
}

/// The `101`: what was agreed on, and what the application says; where that has yet to be asked, what it will be held to.
fn answer(
    asked: &Asked<'_>,
    extensions: Option<&str>,
    connected: Option<&Connected>,
    standing: &Standing,
) -> Result<Vec<u8>, Refused> {
    let route = &asked.entrance.route;
    let protocol = match (connected, &route.backend, standing) {
        (Some(connected), _, _) => connected.protocol.as_deref(),
        (None, Backend::Upstream(_), Standing::Unknown(_)) => asked.promised(),
        (None, _, _) => None,
    };
    let passed = connected.map_or(&[][..], |connected| &connected.headers).iter();
    let headers: Vec<_> = passed.map(|(name, value)| Header { name, value }).collect();
    switching_protocols(asked.request, extensions, protocol, &headers)
}

/// Who the client is, where a trusted proxy says so in the head; it is admitted, or not, as if it had connected itself. Before
/// the request is judged, so that what is refused is counted and recorded as the client's too.
fn introduce(
    gate: &Gate,
    door: &Door,
    head: &Head,
    peer: &mut Peer,
    record: &mut Record,
    pulse: &Pulse,
) -> Result<(), Refused> {
    if !door.addresses.reads_header_of(record.client) {
        return Ok(());
    }
    let Some(headers) = head.headers() else { return Ok(()) };
    let values = |name: &str| -> Vec<&[u8]> {
        headers.iter().filter(|header| header.is(name)).map(|header| header.value).collect()
    };
    let named = forwarded::named(&door.addresses, values)
        .map_err(|fault| Refused::detailed(Reason::ForwardedInvalid, &fault))?;
    if let Some(named) = named {
        record.is_from(named.client);
        peer.is_encrypted = named.is_encrypted.unwrap_or(peer.is_encrypted);
    }
    // Only whoever is believed about the client is about the trace.
    if let Some(trace) = Trace::keep(&values(TRACEPARENT), &gate.chance) {
        record.belongs_to(trace);
    }
    record
        .admit(gate, pulse)
        .map_err(|NoRoom { reason, limit }| Refused { limit, ..Refused::because(reason) })
}

impl Refused {
    /// Whether the client can hear of it by a Close, behind a `101`.
    fn can_close(&self) -> bool {
        self.reason.row().close.is_some()
    }

    fn into_ending(self) -> Ending {
        Ending { limit: self.limit, detail: self.detail, ..Ending::by_gate(self.reason) }
    }
}

/// What comes of a client's offers to compress: the state, and how the answer says it.
fn negotiate_compression(
    gate: &Gate,
    route: &Route,
    offers: &[Extension<'_>],
) -> (Option<Box<Compression>>, Option<String>) {
    match route.terms.negotiate_compression(offers, &gate.facilities) {
        Ok((agreed, answer)) => (Some(agreed), Some(answer)),
        Err(Declined::NoOffer) => (None, None),
        Err(Declined::NoRoom) => {
            gate.observer.compression_declined();
            (None, None)
        }
    }
}

/// The request head, within its deadline, which is moved by nothing.
async fn read_head<S: AsyncRead + Unpin>(
    gate: &Gate,
    door: &Door,
    socket: &mut S,
    since: Instant,
) -> Result<Head, HeadError> {
    let until = since + door.head_timeout.min(DEADLINE_MAX);
    tokio::select! {
        biased;
        reason = gate.load.until_shut() => Err(HeadError::Refused(Refused::because(reason))),
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
    asked: &Asked<'_>,
    relay: &mut Relay<S>,
    pulse: &Arc<Pulse>,
    record: &mut Record,
) -> Result<(), Ending>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let route = &asked.entrance.route;
    let waited = tokio::select! {
        biased;
        waited = poll_fn(|cx| relay.poll(cx)) => waited,
        // Whoever has not said who it is goes before those who have.
        () = gate.load.until(Stage::Shedding) => return Err(close(relay, Ending::by_gate(Reason::Overloaded)).await),
    };
    let message = match waited {
        Outcome::FirstMessage(message) => message,
        Outcome::Ended(ending) if ending.reason == Reason::FirstMessageTimeout => {
            let limit = Some(millis(authenticator.config().first_message_timeout));
            return Err(Ending { limit, ..ending });
        }
        Outcome::Ended(ending) => return Err(ending),
        // A connection that is nobody's has no session to refresh.
        Outcome::Token(_) | Outcome::Remarked(_) => return Err(Ending::by_gate(Reason::InternalError)),
    };
    let text = std::str::from_utf8(message.as_bytes()).unwrap_or_default();
    let begun = identify_by_message(gate, authenticator, route, text, record, pulse).await;
    if begun.is_ok() {
        // From here on the session can end, also while its application is dialled.
        begin_tenure(relay, route, record);
    }
    let connected = match (begun, &route.backend) {
        (Err(refused), _) => Err(NoWay::Refused(refused)),
        (Ok(()), Backend::Upstream(upstream)) => {
            onward::after_the_answer(gate, upstream, asked, record, relay).await.map(Some)
        }
        (Ok(()), Backend::Echo(_) | Backend::Handler(_)) => Ok(None),
    };
    match connected {
        Ok(connected) => {
            let notice =
                record.principal().and_then(|principal| verified_notice(route.terms.notice, principal));
            relay.authenticated(application(gate, route, record, pulse, connected), notice.as_deref());
            Ok(())
        }
        Err(NoWay::Ended(ending)) => Err(ending),
        Err(NoWay::Refused(refused)) => Err(close(relay, refused.into_ending()).await),
    }
}

/// Closes an upgraded connection that is nobody's, and sees it to its end.
async fn close<S: AsyncRead + AsyncWrite + Unpin + 'static>(relay: &mut Relay<S>, ending: Ending) -> Ending {
    relay.refuse(ending);
    match poll_fn(|cx| relay.poll(cx)).await {
        Outcome::Ended(ending) => ending,
        // After our Close no message is looked at.
        Outcome::FirstMessage(_) | Outcome::Token(_) | Outcome::Remarked(_) => {
            Ending::by_gate(Reason::InternalError)
        }
    }
}

/// From here on the time of the connection counts.
fn begin_tenure<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    relay: &mut Relay<S>,
    route: &Route,
    record: &Record,
) {
    let has_refresh =
        route.authenticator.as_ref().is_some_and(|authenticator| authenticator.config().sessions.refresh);
    relay.begin_tenure(record.client, record.identity.as_deref(), has_refresh);
}

/// Who gets the messages of an admitted connection: whoever is `connected`, where the route has an application behind the gate.
fn application(
    gate: &Gate,
    route: &Arc<Route>,
    record: &Record,
    pulse: &Arc<Pulse>,
    connected: Option<Connected>,
) -> Application {
    match (&route.backend, connected) {
        (_, Some(connected)) => {
            Application::Upstream(Box::new(Far::new(connected, &gate.facilities, &route.terms)))
        }
        (Backend::Upstream(_), None) => {
            unreachable!("a client is let in once its application is connected")
        }
        (Backend::Echo(echo), None) => Application::Echo(Echoing::new(Arc::clone(echo))),
        (Backend::Handler(handler), None) => {
            let session = Session::new(
                record.connection,
                record.client,
                Arc::clone(&route.name),
                record.session().map(Arc::clone),
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

fn opened(gate: &Gate, record: &Record, route: &Route, origin: Option<&str>) {
    gate.observer.connection_opened(&Opened {
        connection: record.connection,
        client: record.client,
        via: record.via(),
        route: &route.name,
        origin,
        subject: record.principal().map(|principal| &*principal.subject),
        session: record.session().map(|session| session.id()),
        trace: record.trace().map(|trace| trace.id),
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
        Ok(_place) if door.encryption.is_none() => refuse(gate, socket, Refused::because(reason)).await,
        Ok(_) | Err(_) => Ending::by_gate(reason),
    };
    Ending { limit, ..ending }
}

/// Answers a request that is not accepted. An answer that cannot be delivered changes nothing.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(gate: &Gate, mut socket: S, refused: Refused) -> Ending {
    let answer = refused.answer(gate.chance.bits());
    // In a box: its buffer would be part of every connection's way in.
    let _ = timeout(ANSWER_TIME_MAX, Box::pin(send_refusal(&mut socket, &answer))).await;
    let by = match refused.reason.row().fault {
        reason::Fault::Client | reason::Fault::Upstream | reason::Fault::Gateway => Side::Gateway,
        reason::Fault::Operator | reason::Fault::None => Side::Operator,
    };
    Ending {
        by,
        close_code: None,
        limit: refused.limit,
        detail: refused.detail,
        ..Ending::by_gate(refused.reason)
    }
}

fn stuck() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the answer could not be sent in time")
}

/// However long a program that uses the library lets a client take for its head or its first message; a configuration
/// has the same bound.
pub(super) const DEADLINE_MAX: Duration = Duration::from_hours(1);

/// How long a client may take to receive an answer to its request, and to close after a refusal.
pub(super) const ANSWER_TIME_MAX: Duration = Duration::from_millis(500);
