//! The library's face: an application's [`Handler`], the [`Session`] that it is handed, and the panics that it may have.
//!
//! A handler is polled by its connection's own task. While it works on a message nothing more is read from that client,
//! so an application that is slow slows its clients down and nothing piles up.

use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use drawgate_protocol::{Assembler, Chunk, CloseCode, Limits, Message, Violation};

use super::outbox::{Outbox, Outgoing};
use crate::clock::{Moment, UnixTime};
use crate::principal::{Claims, ClientAddr, ConnectionId, Principal};
use crate::pulse::Pulse;
use crate::reason::Reason;
use crate::session::{Live, SessionId};

/// An application in this process. One value serves all connections of its routes.
///
/// Each connection has at most one call running at a time. When the connection ends the call's future is dropped where
/// it waits; a client that only closes its side of the transport leaves it the route's `close_timeout` to finish. A panic
/// closes that one connection with 1011.
pub trait Handler: Send + Sync + 'static {
    /// A client has connected, and authenticated where the route wants it.
    fn opened(&self, session: &Session) -> impl Future<Output = ()> + Send {
        let _ = session;
        async {}
    }

    /// A message has come. Answers go through [`Session::send`], as many as there are, from here or from any task.
    fn message(&self, session: &Session, message: Message) -> impl Future<Output = ()> + Send;

    /// The connection has ended, for whatever `reason`. Called once for each [`Handler::opened`].
    fn ended(&self, session: &Session, reason: Reason) {
        let _ = (session, reason);
    }
}

/// One client, to an application: who it is, and a way to answer. Cheap to clone; clones may be kept and sent from
/// elsewhere, and learn that the client has gone.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    connection: ConnectionId,
    client: ClientAddr,
    route: Arc<str>,
    live: Option<Arc<Live>>,
    outbox: Outbox,
}

impl Session {
    pub(crate) fn new(
        connection: ConnectionId,
        client: ClientAddr,
        route: Arc<str>,
        live: Option<Arc<Live>>,
        pulse: Arc<Pulse>,
    ) -> Self {
        Self(Arc::new(Inner { connection, client, route, live, outbox: Outbox::new(pulse) }))
    }

    /// Sends a message, once there is room for it: what waits for a slow client is bounded (64 KiB, 1,024 messages).
    ///
    /// # Errors
    /// [`SessionEnded`] if the connection has ended or is closing. A message that was taken may still be lost with the
    /// connection, as in any network.
    pub async fn send(&self, message: Message) -> Result<(), SessionEnded> {
        if self.0.outbox.send(message).await { Ok(()) } else { Err(SessionEnded) }
    }

    /// Closes the connection after what has been sent. A reason of more than 123 bytes is cut.
    pub fn close(&self, code: CloseCode, reason: &str) {
        let end = reason.floor_char_boundary(drawgate_protocol::close::REASON_BYTES_MAX);
        self.0.outbox.close(code, reason[..end].to_owned());
    }

    /// The connection's name in logs.
    #[must_use]
    pub fn connection(&self) -> ConnectionId {
        self.0.connection
    }

    /// The address of the client.
    #[must_use]
    pub fn client(&self) -> ClientAddr {
        self.0.client
    }

    /// The name of the route.
    #[must_use]
    pub fn route(&self) -> &str {
        &self.0.route
    }

    /// Who speaks, where the route authenticates: what the last token said.
    #[must_use]
    pub fn principal(&self) -> Option<Arc<Principal>> {
        self.0.live.as_ref().map(|live| live.principal())
    }

    /// The subject of the token, where the route authenticates. It stays the same for the whole session.
    #[must_use]
    pub fn subject(&self) -> Option<Arc<str>> {
        self.principal().map(|principal| Arc::clone(&principal.subject))
    }

    /// Every claim of the last token, where the route authenticates.
    #[must_use]
    pub fn claims(&self) -> Option<Claims> {
        self.principal().map(|principal| principal.claims.clone())
    }

    /// The name of the session, where the route authenticates: what an operator ends it by. Never a credential.
    #[must_use]
    pub fn id(&self) -> Option<SessionId> {
        self.0.live.as_ref().map(|live| live.id())
    }

    /// When the last token ends, where the route authenticates; a refresh moves it.
    #[must_use]
    pub fn expires_at(&self) -> Option<UnixTime> {
        self.principal().map(|principal| principal.expires_at)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("connection", &self.0.connection)
            .field("client", &self.0.client)
            .field("route", &self.0.route)
            .finish_non_exhaustive()
    }
}

/// The client has gone, or the connection is closing: nothing more can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended")]
pub struct SessionEnded;

/// A [`Handler`] whose type is not known, so that routes can have different ones.
pub(crate) trait AnyHandler: Send + Sync + fmt::Debug {
    fn opened(self: Arc<Self>, session: Session) -> Call;
    fn message(self: Arc<Self>, session: Session, message: Message) -> Call;
    fn ended(&self, session: &Session, reason: Reason);
}

/// A running call of the application's.
pub(crate) type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) struct Erased<H>(pub(crate) H);

impl<H> fmt::Debug for Erased<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::any::type_name::<H>())
    }
}

impl<H: Handler> AnyHandler for Erased<H> {
    fn opened(self: Arc<Self>, session: Session) -> Call {
        Box::pin(async move { self.0.opened(&session).await })
    }

    fn message(self: Arc<Self>, session: Session, message: Message) -> Call {
        Box::pin(async move { self.0.message(&session, message).await })
    }

    fn ended(&self, session: &Session, reason: Reason) {
        self.0.ended(session, reason);
    }
}

/// One connection's dealings with its application.
pub(crate) struct Handling {
    handler: Arc<dyn AnyHandler>,
    session: Session,
    assembler: Assembler,
    call: Option<Call>,
    /// The call has not been polled yet.
    call_is_fresh: bool,
    /// The application has heard that the client is there, and not yet that it has gone.
    is_opened: bool,
    is_stopped: bool,
    has_panicked: bool,
    /// The client's side has ended while the application worked, which may go on until then.
    pub(crate) input_until: Option<Moment>,
}

impl Handling {
    /// Begins by telling the application that the client has connected.
    pub(crate) fn new(handler: Arc<dyn AnyHandler>, session: Session, limits: Limits) -> Self {
        let call = Some(Arc::clone(&handler).opened(session.clone()));
        Self {
            handler,
            session,
            assembler: Assembler::new(limits),
            call,
            call_is_fresh: true,
            is_opened: false,
            is_stopped: false,
            has_panicked: false,
            input_until: None,
        }
    }

    /// Adds one piece, and calls the application when the message is whole.
    pub(crate) fn chunk(&mut self, chunk: &Chunk<'_>) -> Result<(), Violation> {
        if let Some(message) = self.assembler.push(chunk)? {
            self.call = Some(Arc::clone(&self.handler).message(self.session.clone(), message));
            self.call_is_fresh = true;
        }
        Ok(())
    }

    /// The memory of a message that has come in part, and of what waits to be sent, if `has_queue`.
    pub(crate) fn held_bytes(&self, has_queue: bool) -> usize {
        let queued_bytes = if has_queue { self.session.0.outbox.held_bytes() } else { 0 };
        self.assembler.held_bytes() + queued_bytes
    }

    /// Whether a message has come in part.
    pub(crate) fn is_gathering(&self) -> bool {
        self.assembler.held_bytes() > 0
    }

    /// Whether the application still works on something.
    pub(crate) fn is_busy(&self) -> bool {
        self.call.is_some()
    }

    /// Whether there is work that the application has not looked at.
    pub(crate) fn has_call_to_begin(&self) -> bool {
        self.call.is_some() && self.call_is_fresh
    }

    /// Lets the application go on. Ready when it is done, whether well or by a panic.
    pub(crate) fn poll_call(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Panicked>> {
        let Some(call) = &mut self.call else { return Poll::Ready(Ok(())) };
        // The first call of all is the one that tells of the client.
        (self.call_is_fresh, self.is_opened) = (false, true);
        let result = match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) => Ok(()),
            Err(_) => Err(Panicked),
        };
        // Even what a call leaves behind may panic when it is dropped.
        let call = self.call.take();
        Poll::Ready(result.and(catch_unwind(AssertUnwindSafe(|| drop(call))).map_err(|_| Panicked)))
    }

    /// The next of what the application wants sent.
    pub(crate) fn next_outgoing(&self) -> Option<Outgoing> {
        self.session.0.outbox.pop()
    }

    /// Whether the application has nothing to do and nothing to send.
    pub(crate) fn is_idle(&self) -> bool {
        self.call.is_none() && self.session.0.outbox.is_empty()
    }

    /// Takes nothing more from the application and drops its call: the connection is closing.
    pub(crate) fn stop(&mut self) {
        if mem::replace(&mut self.is_stopped, true) {
            return;
        }
        self.session.0.outbox.end();
        self.assembler = self.assembler.emptied();
        let call = self.call.take();
        self.has_panicked |= catch_unwind(AssertUnwindSafe(|| drop(call))).is_err();
    }

    /// Tells the application that the connection has ended.
    pub(crate) fn end(&mut self, reason: Reason) -> Result<(), Panicked> {
        self.tell(reason);
        if self.has_panicked { Err(Panicked) } else { Ok(()) }
    }

    fn tell(&mut self, reason: Reason) {
        self.stop();
        if mem::replace(&mut self.is_opened, false) {
            let tell = || self.handler.ended(&self.session, reason);
            self.has_panicked |= catch_unwind(AssertUnwindSafe(tell)).is_err();
        }
    }
}

impl Drop for Handling {
    /// A connection that is dropped where it stands has ended too.
    fn drop(&mut self) {
        self.tell(if std::thread::panicking() { Reason::InternalError } else { Reason::Draining });
    }
}

impl fmt::Debug for Handling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handling").field("handler", &self.handler).finish_non_exhaustive()
    }
}

/// The application panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;
