//! Binds, accepts and drains: the whole gateway as one value.
//!
//! Comes after the configuration, or after the builder of a program that uses the library; each socket that it accepts
//! becomes a task that lives one connection. It decides nothing about connections but whether there is room for them.

mod accept;
mod certificates;
mod route;
mod upkeep;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout_at};

use crate::admin::{self, AdminState};
use crate::auth;
use crate::chance::Chance;
use crate::clock::{Clock, Instant};
use crate::compression;
use crate::config::{Config, ListenerConfig};
use crate::connection::{self, Arrival, Budget, Door, Facilities, Gate, Live, NoRoom};
use crate::firewall::{self, Admission, Firewall};
use crate::observe::{ErrorFile, Observer};
use crate::principal::{ClientAddr, PeerAddr};
use crate::pulse::Signal;
use crate::reason::Reason;
use crate::session::Sessions;
use crate::ticket::Tickets;
use crate::timers::Timers;
use crate::tls;
use crate::upgrade::Entrances;

pub use route::{Access, Route};

/// A gateway that is bound and not yet running.
#[derive(Debug)]
pub struct Server {
    gate: Arc<Gate>,
    firewall: Arc<Firewall>,
    bound: Vec<Bound>,
    skipped: Vec<BindError>,
    admin: Option<TcpListener>,
    draining: watch::Sender<bool>,
    drain_timeout: Duration,
}

#[derive(Debug)]
struct Bound {
    name: String,
    address: SocketAddr,
    listener: TcpListener,
    door: Arc<Door>,
}

/// A listener without its socket: takes connections from wherever they come, through all the same stages.
#[derive(Clone, Debug)]
pub struct Entry {
    gate: Arc<Gate>,
    firewall: Arc<Firewall>,
    door: Arc<Door>,
}

impl Entry {
    /// Lives one connection over `socket`, whose other end is `peer`. Ready when it has ended, been logged and counted;
    /// dropping the future cuts the connection, which is logged and counted as well.
    pub fn serve<S>(self, socket: S, peer: SocketAddr) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let accepted_at = self.gate.facilities.clock.now();
        let client = ClientAddr::from(PeerAddr(peer));
        let admission = self.admit(client, accepted_at);
        let arrival = Arrival { socket, client, accepted_at, admission };
        connection::serve(self.gate, self.door, arrival)
    }
}

impl Entry {
    fn admit(&self, client: ClientAddr, now: Instant) -> Result<Admission, NoRoom> {
        let full = |_| {
            let limit = u64::try_from(self.gate.places_max).unwrap_or(u64::MAX);
            NoRoom { reason: Reason::ServerFull, limit }
        };
        let place = self.gate.places.try_acquire().map_err(full)?;
        let admission = self.firewall.admit(client, now).map_err(NoRoom::from)?;
        // The connection gives it back with its admission; a permit of its own would be another 16 bytes in each.
        place.forget();
        Ok(admission)
    }
}

/// How a drain went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// How many connections were cut because they did not end within the drain's time.
    pub cut: usize,
}

impl Server {
    /// Begins with nothing: add listeners and routes.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Begins with what a configuration says.
    #[must_use]
    pub fn from_config(config: Config) -> Builder {
        let Config {
            server,
            listeners,
            routes,
            auth,
            firewall,
            log,
            admin,
            buffers_bytes_max,
            compression_bytes_max,
            tls_handshakes_max,
            warnings: _,
        } = config;
        Builder {
            listeners,
            routes: routes.into_iter().map(|route| Route::from_config(route, &auth)).collect(),
            drain_timeout: server.drain_timeout,
            firewall,
            error_file: log.error_file,
            admin,
            buffers_bytes_max: usize::try_from(buffers_bytes_max).unwrap_or(usize::MAX),
            compression_bytes_max: usize::try_from(compression_bytes_max).unwrap_or(usize::MAX),
            tls_handshakes_max: usize::try_from(tls_handshakes_max).unwrap_or(usize::MAX),
            ..Builder::default()
        }
    }

    /// The listeners' names and the addresses that they are bound to, in their order.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.bound.iter().map(|bound| (bound.name.as_str(), bound.address))
    }

    /// The address of the first listener.
    ///
    /// # Panics
    /// Never: a server without a listener cannot be built.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.bound.first().expect("a server has a listener").address
    }

    /// The address of the admin listener, if there is one.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// The listeners that need not be there and are not, each with what is in the way.
    pub fn skipped(&self) -> impl Iterator<Item = &BindError> {
        self.skipped.iter()
    }

    /// A way in for sockets that somebody else has accepted, as if they had come to `listener`; `None` where there is no
    /// such listener. It serves while [`Server::run`] runs.
    #[must_use]
    pub fn entry(&self, listener: &str) -> Option<Entry> {
        let bound = self.bound.iter().find(|bound| bound.name == listener)?;
        Some(Entry {
            gate: Arc::clone(&self.gate),
            firewall: Arc::clone(&self.firewall),
            door: Arc::clone(&bound.door),
        })
    }

    /// What logs and counts; for those who want its metrics without an admin listener.
    #[must_use]
    pub fn observer(&self) -> Observer {
        self.gate.observer.clone()
    }

    /// The sessions of its clients: to list and end them, and to keep tokens and subjects out.
    #[must_use]
    pub fn sessions(&self) -> Arc<Sessions> {
        Arc::clone(&self.gate.sessions)
    }

    /// Serves until `shutdown` is ready, then drains: accepts no more, lets each connection finish what has come, closes
    /// it with 1012, and cuts what is left when the drain's time is up. Dropping the future cuts all at once.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Drained {
        let gate = Arc::clone(&self.gate);
        let _cut = CutOnDrop(Arc::clone(&gate));
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let facilities = Arc::clone(&gate.facilities);
            async move {
                facilities.timers.run(|pulse| pulse.signal(Signal::Timer)).await;
            }
        });
        tasks.spawn(upkeep::shed_load(Arc::clone(&gate)));
        tasks.spawn(upkeep::report_suppressed(gate.observer.clone()));
        tasks.spawn(upkeep::forget_revocations(Arc::clone(&gate)));
        let encrypted = self.bound.iter().filter_map(|bound| bound.door.encryption.as_ref());
        for encryption in encrypted.cloned() {
            tasks.spawn(certificates::keep(encryption, gate.facilities.clock.clone()));
        }
        let (stop_admin, stopped) = watch::channel(false);
        let mut admin_tasks = JoinSet::new();
        if let Some(listener) = self.admin {
            admin_tasks.spawn(serve_admin(listener, Arc::clone(&gate), stopped));
        }
        let mut accepting = JoinSet::new();
        for bound in self.bound {
            let entry =
                Entry { gate: Arc::clone(&gate), firewall: Arc::clone(&self.firewall), door: bound.door };
            accepting.spawn(accept::accept(entry, bound.listener));
        }

        shutdown.await;
        accepting.shutdown().await;
        // The receivers live in the gate as long as this does.
        self.draining.send_replace(true);
        let drained = drain(&gate, self.drain_timeout).await;
        gate.observer.report_suppressed();
        stop_admin.send_replace(true);
        let _ = tokio::time::timeout(ADMIN_STOP_TIME_MAX, admin_tasks.join_next()).await;
        drained
    }
}

/// Tells each connection to finish, spread over the jitter so that not all clients come back at once; then cuts the rest.
async fn drain(gate: &Gate, drain_timeout: Duration) -> Drained {
    let begun_at = gate.facilities.clock.now();
    let until = begun_at + drain_timeout;
    let pulses = gate.live.pulses();
    let count = u32::try_from(pulses.len()).unwrap_or(u32::MAX).max(1);
    let jitter = DRAIN_JITTER_MAX.min(DRAIN_JITTER_EACH.saturating_mul(count)).min(drain_timeout / 2);
    let finish = async {
        for (pulse, position) in pulses.iter().zip(0..count) {
            sleep_until(begun_at + jitter * position / count).await;
            pulse.signal(Signal::Drain);
        }
        gate.live.until_empty().await;
    };
    if timeout_at(until, finish).await.is_ok() {
        return Drained { cut: 0 };
    }
    let left = gate.live.pulses();
    for pulse in &left {
        pulse.signal(Signal::Abort);
    }
    let _ = tokio::time::timeout(CUT_TIME_MAX, gate.live.until_empty()).await;
    Drained { cut: left.len() }
}

async fn serve_admin(listener: TcpListener, gate: Arc<Gate>, mut stopped: watch::Receiver<bool>) {
    let observer = gate.observer.clone();
    let metrics = move || observer.render();
    let ready = move || !*gate.draining.borrow();
    let state = AdminState::new(metrics, ready);
    admin::serve(listener, state, async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
    })
    .await;
}

struct CutOnDrop(Arc<Gate>);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        for pulse in self.0.live.pulses() {
            pulse.signal(Signal::Abort);
        }
    }
}

/// Puts a [`Server`] together.
#[derive(Clone, Debug)]
pub struct Builder {
    listeners: Vec<ListenerConfig>,
    routes: Vec<Route>,
    drain_timeout: Duration,
    firewall: firewall::Config,
    error_file: Option<ErrorFile>,
    admin: Option<admin::Config>,
    buffers_bytes_max: usize,
    compression_bytes_max: usize,
    connections_max: usize,
    unauthenticated_max: usize,
    tickets: Arc<Tickets>,
    tls_handshakes_max: usize,
    clock: Clock,
    chance: Option<Chance>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            routes: Vec::new(),
            drain_timeout: Duration::from_secs(10),
            firewall: firewall::Config {
                connections_per_client_max: Some(1000),
                handshakes_per_client_per_minute: Some(3000),
            },
            error_file: None,
            admin: None,
            buffers_bytes_max: 256 * 1024 * 1024,
            compression_bytes_max: 256 * 1024 * 1024,
            connections_max: usize::MAX,
            unauthenticated_max: 10_000,
            tickets: Arc::default(),
            tls_handshakes_max: 2000,
            clock: Clock::system(),
            chance: None,
        }
    }
}

impl Builder {
    /// Listens on `address`, without TLS; the listener's name is the address.
    #[must_use]
    pub fn listen(self, address: SocketAddr) -> Self {
        self.listener(listener_at(address, None))
    }

    /// Listens on `address` with TLS; the listener's name is the address. The files are read when it is bound, and again
    /// whenever they change.
    #[must_use]
    pub fn listen_tls(self, address: SocketAddr, tls: tls::Config) -> Self {
        self.listener(listener_at(address, Some(tls)))
    }

    /// Adds a listener.
    #[must_use]
    pub fn listener(mut self, listener: ListenerConfig) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Adds a route.
    #[must_use]
    pub fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// Counts connections and handshakes by client as `config` says; by default 1,000 connections and 3,000 handshakes a
    /// minute.
    #[must_use]
    pub fn firewall(mut self, config: firewall::Config) -> Self {
        self.firewall = config;
        self
    }

    /// Takes at most this many connections at a time; by default as many as there are descriptors.
    #[must_use]
    pub fn connections_max(mut self, connections_max: usize) -> Self {
        self.connections_max = connections_max;
        self
    }

    /// Lets at most this many connections wait for their first message at a time; 10,000 by default.
    #[must_use]
    pub fn unauthenticated_max(mut self, unauthenticated_max: usize) -> Self {
        self.unauthenticated_max = unauthenticated_max;
        self
    }

    /// Takes the one-time tickets that are issued here.
    #[must_use]
    pub fn tickets(mut self, tickets: Arc<Tickets>) -> Self {
        self.tickets = tickets;
        self
    }

    /// Makes at most this many TLS handshakes at a time; 2,000 by default.
    #[must_use]
    pub fn tls_handshakes_max(mut self, tls_handshakes_max: usize) -> Self {
        self.tls_handshakes_max = tls_handshakes_max;
        self
    }

    /// Lets at most this many bytes wait for slow clients, in all connections together; 256 MiB by default.
    #[must_use]
    pub fn buffers_bytes_max(mut self, buffers_bytes_max: usize) -> Self {
        self.buffers_bytes_max = buffers_bytes_max;
        self
    }

    /// Sets at most this many bytes aside for compressed connections, all together, and declines offers beyond it; 256 MiB
    /// by default.
    #[must_use]
    pub fn compression_bytes_max(mut self, compression_bytes_max: usize) -> Self {
        self.compression_bytes_max = compression_bytes_max;
        self
    }

    /// Ends what has not ended by itself this long after the drain began; 10 s by default.
    #[must_use]
    pub fn drain_timeout(mut self, drain_timeout: Duration) -> Self {
        self.drain_timeout = drain_timeout;
        self
    }

    /// Serves health and metrics at this address, which must be a loopback one.
    #[must_use]
    pub fn admin(mut self, config: admin::Config) -> Self {
        self.admin = Some(config);
        self
    }

    /// Reads time from `clock` and randomness from `chance`, so that a run can be replayed.
    #[must_use]
    pub fn deterministic(mut self, clock: Clock, chance: Chance) -> Self {
        (self.clock, self.chance) = (clock, Some(chance));
        self
    }

    /// Binds all listeners. Call it within a tokio runtime.
    ///
    /// # Errors
    /// The first thing that is in the way.
    pub fn bind(self) -> Result<Server, StartError> {
        if self.listeners.is_empty() || self.routes.is_empty() {
            return Err(StartError::Empty);
        }
        let chance = match self.chance {
            Some(chance) => chance,
            None => Chance::system().map_err(|error| StartError::Randomness(error.to_string()))?,
        };
        let names: Vec<&str> = self.routes.iter().map(Route::name).collect();
        let observer =
            Observer::new(self.error_file.as_ref(), &names, self.clock.clone()).map_err(|source| {
                let path =
                    self.error_file.as_ref().map(|file| file.path.display().to_string()).unwrap_or_default();
                StartError::ErrorFile { path, source }
            })?;
        let (draining, drain_begun) = watch::channel(false);
        let facilities = Arc::new(Facilities {
            started_at: self.clock.now(),
            timers: Timers::new(self.clock.clone()),
            budget: Arc::new(Budget::new(self.buffers_bytes_max, observer.buffered_bytes())),
            compression: Arc::new(compression::Room::new(
                self.compression_bytes_max,
                observer.compression_bytes(),
            )),
            clock: self.clock.clone(),
        });
        let sessions = Arc::new(Sessions::new(chance.clone(), route::token_time_max(&self.routes)));
        let routes = self
            .routes
            .into_iter()
            .map(|route| route.prepare(&observer))
            .collect::<Result<Vec<_>, auth::ConfigError>>()
            .map_err(StartError::Auth)?;
        let (mut bound, mut skipped) = (Vec::new(), Vec::new());
        for ListenerConfig { name, address, tls, tls_timeout, head_timeout, required } in self.listeners {
            let encryption = tls
                .map(|tls| certificates::encryption(tls, tls_timeout, &observer, &name, &self.clock))
                .transpose()
                .map_err(StartError::Tls)?;
            match bind(address) {
                Ok(listener) => {
                    let address = listener.local_addr().unwrap_or(address);
                    let entrances = routes.iter().filter_map(|route| route.entrance_for(&name)).collect();
                    let door =
                        Arc::new(Door { encryption, head_timeout, entrances: Entrances::new(entrances) });
                    bound.push(Bound { name, address, listener, door });
                }
                Err(source) => {
                    let error = BindError { name, address, source };
                    if required || !error.is_address_missing() {
                        return Err(StartError::Bind(error));
                    }
                    skipped.push(error);
                }
            }
        }
        if bound.is_empty() {
            return Err(skipped.pop().map_or(StartError::Empty, StartError::Bind));
        }
        let admin = self.admin.map(|config| {
            bind(config.address).map_err(|source| {
                StartError::Bind(BindError { name: "admin".to_owned(), address: config.address, source })
            })
        });
        Ok(Server {
            firewall: Arc::new(Firewall::new(&self.firewall, facilities.started_at)),
            gate: Arc::new(Gate {
                facilities,
                observer,
                chance,
                live: Live::default(),
                places_max: self.connections_max,
                places: Arc::new(Semaphore::new(self.connections_max.min(Semaphore::MAX_PERMITS))),
                unauthenticated: Arc::new(Semaphore::new(
                    self.unauthenticated_max.min(Semaphore::MAX_PERMITS),
                )),
                tls_handshakes: Semaphore::new(self.tls_handshakes_max.min(Semaphore::MAX_PERMITS)),
                tls_handshakes_max: self.tls_handshakes_max,
                turned_away: Semaphore::new(TURNED_AWAY_MAX),
                tickets: self.tickets,
                sessions,
                draining: drain_begun,
            }),
            bound,
            skipped,
            admin: admin.transpose()?,
            draining,
            drain_timeout: self.drain_timeout,
        })
    }
}

/// A listener that is set as by default.
fn listener_at(address: SocketAddr, tls: Option<tls::Config>) -> ListenerConfig {
    let (tls_timeout, head_timeout) = (Duration::from_secs(5), Duration::from_secs(5));
    ListenerConfig { name: address.to_string(), address, tls, tls_timeout, head_timeout, required: true }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` beside `0.0.0.0` would otherwise claim the same port twice.
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for the last one's connections to be forgotten.
    socket.set_reuse_address(true)?;
    // Small frames must not wait for one another. Accepted sockets take this over, which spares each a call; one that cannot be
    // told so still works.
    let _ = socket.set_tcp_nodelay(true);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Why a server could not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No listener, or no route.
    #[error("there is no listener or no route: add at least one of each")]
    Empty,
    /// A listener could not be bound.
    #[error("{0}")]
    Bind(#[source] BindError),
    /// The error file cannot be written.
    #[error("the error file {path} cannot be opened: make its folder, or name another in log.error_file")]
    ErrorFile {
        /// The path of the file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A listener's certificate, its key or its client authorities cannot be used.
    #[error("{0}")]
    Tls(#[source] tls::FileError),
    /// A route's authentication cannot work.
    #[error("a route's authentication cannot work")]
    Auth(#[source] auth::ConfigError),
    /// The system has no randomness to give.
    #[error("the system gives no randomness: {0}")]
    Randomness(String),
}

/// A listener that could not be bound.
#[derive(Debug)]
pub struct BindError {
    /// The listener's name.
    pub name: String,
    /// Where it was to listen.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

impl BindError {
    /// The address, or its whole family, does not exist on this machine.
    fn is_address_missing(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrNotAvailable
            || self.source.kind() == io::ErrorKind::Unsupported
            || self.source.raw_os_error() == Some(ADDRESS_FAMILY_NOT_SUPPORTED)
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, address, source } = self;
        write!(f, "listener {name} cannot listen on {address}: {source}")?;
        match source.kind() {
            io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "; another program has it: stop that one (ss -ltnp shows it), or choose another port"
                )
            }
            io::ErrorKind::PermissionDenied => {
                write!(
                    f,
                    "; ports below 1024 need a privilege: choose another, or grant CAP_NET_BIND_SERVICE"
                )
            }
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "; this machine has no such address: choose one that it has")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// How long the kernel's queue of connections that wait to be accepted may grow.
const BACKLOG: i32 = 4096;
/// The longest time over which a drain's goodbyes are spread, and the share of each connection in it.
const DRAIN_JITTER_MAX: Duration = Duration::from_secs(3);
const DRAIN_JITTER_EACH: Duration = Duration::from_millis(2);
/// How long connections that are cut may take to be gone.
const CUT_TIME_MAX: Duration = Duration::from_secs(1);
const ADMIN_STOP_TIME_MAX: Duration = Duration::from_millis(500);
/// How many clients that are refused before a byte is read are given the time to hear it.
const TURNED_AWAY_MAX: usize = 256;
/// Linux: `EAFNOSUPPORT`, for which the standard library has no kind.
const ADDRESS_FAMILY_NOT_SUPPORTED: i32 = 97;
