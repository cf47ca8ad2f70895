//! Health, readiness, metrics and the operators' API, on a listener of their own.
//!
//! Answers only who addresses it by its own name (`addressee.rs`); what it tells of users, and whatever changes anything,
//! takes a token (`access.rs`). Connections are changed by what the server can do anyway (`operations.rs`), never from
//! here. Floor 4; [`serve`] runs beside the listeners, and outlasts them while they drain.
//!
//! A connection carries one request: there is no idle connection to keep, and one deadline holds for all of it.

mod access;
mod addressee;
mod answer;
mod api;
mod body;
mod dashboard;
mod operations;

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

pub use self::access::{Scope, Token};
use self::addressee::{Addressee, Arrival};
use self::answer::{Answer, OPENMETRICS, PLAIN_TEXT, Refused};
pub(crate) use self::api::Api;
pub use self::api::DESCRIPTION;
pub(crate) use self::operations::{NotReloaded, Operations, TicketRoutes};
use crate::connection::Encryption;
use crate::observe::HandshakeOutcome;
use crate::principal::PeerAddr;
use crate::tls::{self, Established};

/// The `[admin]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where to listen; beyond loopback `tls` is required.
    pub address: SocketAddr,
    /// The certificates; `None` is plain HTTP.
    pub tls: Option<tls::Config>,
    /// The names that are answered to beside the address, in lower case and without ports.
    pub hosts: Vec<String>,
    /// Who may see and change what; without any there is no API.
    pub tokens: Vec<Token>,
}

impl Config {
    /// Health and metrics alone, at `address`.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self { address, tls: None, hosts: Vec::new(), tokens: Vec::new() }
    }

    /// Whether it can be reached from this machine alone.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
    }
}

/// What the listener tells, and how long it waits.
#[derive(Clone)]
pub struct AdminState {
    /// Writes the metrics out as OpenMetrics text, up to and with its `# EOF`.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Why new connections are not welcome, in a word: from the moment draining begins, and while the process is overloaded.
    pub unready: Arc<dyn Fn() -> Option<&'static str> + Send + Sync>,
    /// How long clients may take.
    pub timeouts: Timeouts,
    api: Option<Arc<Api>>,
    hosts: Vec<String>,
    encryption: Option<Encryption>,
}

impl AdminState {
    /// State with the default timeouts, and without an API.
    pub fn new(
        metrics: impl Fn() -> String + Send + Sync + 'static,
        unready: impl Fn() -> Option<&'static str> + Send + Sync + 'static,
    ) -> Self {
        Self {
            metrics: Arc::new(metrics),
            unready: Arc::new(unready),
            timeouts: Timeouts::default(),
            api: None,
            hosts: Vec::new(),
            encryption: None,
        }
    }

    /// Serves `api` as well, and answers to `hosts` beside its address.
    #[must_use]
    pub(crate) fn with_api(self, api: Arc<Api>, hosts: Vec<String>) -> Self {
        Self { api: Some(api), hosts, ..self }
    }

    /// Its TLS, where it has any.
    pub(crate) fn encryption(&self) -> Option<&Encryption> {
        self.encryption.as_ref()
    }

    /// Speaks TLS, where there is any to speak.
    #[must_use]
    pub(crate) fn encrypted(self, encryption: Option<Encryption>) -> Self {
        Self { encryption, ..self }
    }
}

impl fmt::Debug for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminState").field("timeouts", &self.timeouts).finish_non_exhaustive()
    }
}

/// How long a client may take, from the accept on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To send its request head.
    pub head: Duration,
    /// Until it has read the whole answer.
    pub request: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { head: Duration::from_secs(5), request: Duration::from_secs(10) }
    }
}

/// Answers on `listener` until `shutdown`; then takes no new connections, lets requests in flight finish within their
/// deadline, and returns.
pub async fn serve(listener: TcpListener, state: AdminState, shutdown: impl Future<Output = ()>) {
    let state = Arc::new(state);
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stop, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_ended) = connections.join_next() => {}
            (stream, permit) = accept(&listener, &permits) => {
                connections.spawn(serve_connection(stream, permit, Arc::clone(&state), stopping.clone()));
            }
        }
    }
    drop(listener);
    drop(stop);
    while connections.join_next().await.is_some() {}
}

/// The next connection, once there is a permit for it: until then it waits with the kernel.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let permit = Arc::clone(permits).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            // Most likely there is no file descriptor left: trying again at once would only spin.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Makes the TLS handshake where there is one to make, and goes on within it.
async fn serve_connection(
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
    state: Arc<AdminState>,
    stopping: watch::Receiver<()>,
) {
    let (Ok(own_addr), Ok(peer_addr)) = (stream.local_addr(), stream.peer_addr()) else { return };
    let arrival = Arrival {
        client: PeerAddr(peer_addr).into(),
        own_addr,
        is_encrypted: state.encryption.is_some(),
        hosts: &state.hosts,
    };
    let Some(Encryption { tls, timeout, metrics }) = &state.encryption else {
        return serve_request(stream, arrival, &state, stopping).await;
    };
    match tokio::time::timeout(*timeout, Box::pin(tls.accept(stream))).await {
        Ok(Ok(Established { wire, version, is_resumed, .. })) => {
            let outcome = if is_resumed { HandshakeOutcome::Resumed } else { HandshakeOutcome::Full };
            metrics.handshake(outcome, Some(version));
            serve_request(wire, arrival, &state, stopping).await;
        }
        Ok(Err(_)) => metrics.handshake(HandshakeOutcome::Failed, None),
        Err(_) => metrics.handshake(HandshakeOutcome::Timeout, None),
    }
}

/// Reads one request and answers it. What fails here, fails the client alone: there is nothing to tell.
async fn serve_request<S>(
    socket: S,
    arrival: Arrival<'_>,
    state: &AdminState,
    mut stopping: watch::Receiver<()>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Timeouts { head, request } = state.timeouts;
    let respond =
        |request: Request<_>| async move { Ok::<_, Infallible>(answer(request, arrival, state).await) };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), service_fn(respond));
    let mut connection = pin!(connection);
    let _ = tokio::time::timeout(request, async {
        tokio::select! {
            _ = &mut connection => {}
            // The sender is only ever dropped: the listener stops.
            _ = stopping.changed() => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    })
    .await;
}

/// The answer to one request.
async fn answer(request: Request<Incoming>, arrival: Arrival<'_>, state: &AdminState) -> Answer {
    let answered = match arrival.check(&request) {
        Ok(addressee) => match page_for(&request, arrival, addressee, state) {
            Some(page) => page,
            None => match &state.api {
                Some(api) => api.answer(request, arrival.client).await,
                None => Err(Refused::new(
                    StatusCode::NOT_FOUND,
                    "There are only /metrics, /healthz and /readyz here.",
                )),
            },
        },
        Err(refused) => Err(refused),
    };
    answered.unwrap_or_else(Answer::from)
}

/// The answer, where one of the pages is asked for that have no API.
fn page_for<B>(
    request: &Request<B>,
    arrival: Arrival<'_>,
    addressee: Addressee,
    state: &AdminState,
) -> Option<Result<Answer, Refused>> {
    let path = request.uri().path();
    let has_tokens = || state.api.as_ref().is_some_and(|api| api.has_tokens());
    let is_dashboard = dashboard::PATHS.contains(&path) && has_tokens();
    if !is_dashboard && !matches!(path, "/metrics" | "/healthz" | "/readyz") {
        return None;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let refused = Refused::new(StatusCode::METHOD_NOT_ALLOWED, "This can only be read.");
        return Some(Err(refused.with(header::ALLOW, "GET, HEAD")));
    }
    if is_dashboard {
        return dashboard::page(path).map(Ok);
    }
    // Whoever forwards requests to loopback brings those of other machines.
    let is_near = arrival.own_addr.ip().to_canonical().is_loopback() && addressee == Addressee::Own;
    if path == "/metrics"
        && !is_near
        && let Some(api) = &state.api
        && let Err(refused) = api.authorize(request.headers(), Scope::Read, arrival.client)
    {
        return Some(Err(refused));
    }
    Some(Ok(match path {
        "/metrics" => answer::page(StatusCode::OK, OPENMETRICS, (state.metrics)()),
        "/readyz" => match (state.unready)() {
            Some(why) => answer::page(StatusCode::SERVICE_UNAVAILABLE, PLAIN_TEXT, why),
            None => answer::page(StatusCode::OK, PLAIN_TEXT, "ready"),
        },
        _ => answer::page(StatusCode::OK, PLAIN_TEXT, "ok"),
    }))
}

/// Connections at once: many times what scrapers and probes need. Others wait to be accepted.
const CONNECTIONS_MAX: usize = 64;

/// The most bytes of a request head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The most fields of a request head.
const HEADERS_MAX: usize = 64;

/// How long to wait after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
