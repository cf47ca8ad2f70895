//! Puts a server together: from a configuration, or step by step for a program that uses the library; then binds it.
//!
//! Comes before everything else of the server. What is in the way is a [`StartError`]; nothing is served yet.

use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::Server;
use super::draft::{Fixed, Sketch};
use super::operator::Admin;
use super::overload::{Gauge, Gauges};
use super::reload::{ReloadSource, Requests};
use super::route::{self, Route};
use super::start::StartError;
use crate::address;
use crate::address_bans;
use crate::admin;
use crate::audit::{self, Mark};
use crate::backend::upstream::Drains;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::compression;
use crate::config::{Config, ListenerConfig};
use crate::connection::{Budget, Facilities, Gate, Live, Load};
use crate::control::Control;
use crate::firewall::{self, Firewall};
use crate::observe::{self, Observer};
use crate::overload::{self, Readings};
use crate::session::Sessions;
use crate::state::{self, Loaded, Store};
use crate::ticket::Tickets;
use crate::timers::Timers;
use crate::tls;

/// Puts a [`Server`] together.
#[derive(Clone, Debug)]
pub struct Builder {
    listeners: Vec<ListenerConfig>,
    /// Those that were opened elsewhere, each with the name of the listener that it is for.
    sockets: Vec<(String, Arc<net::TcpListener>)>,
    routes: Vec<Route>,
    drain_timeout: Duration,
    firewall: firewall::Config,
    addresses: address::Config,
    log: Option<observe::Config>,
    workers: Option<usize>,
    reload_on_change: bool,
    reload_source: Option<ReloadSource>,
    warnings: Vec<String>,
    admin: Option<admin::Config>,
    overload: overload::Config,
    gauges: Gauges,
    buffers_bytes_max: usize,
    compression_bytes_max: usize,
    connections_max: usize,
    unauthenticated_max: usize,
    tickets: Arc<Tickets>,
    tls_handshakes_max: usize,
    state: Option<state::Config>,
    audit: Option<audit::Config>,
    clock: Clock,
    chance: Option<Chance>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            sockets: Vec::new(),
            routes: Vec::new(),
            drain_timeout: Duration::from_secs(10),
            firewall: firewall::Config::default(),
            addresses: address::Config::default(),
            log: None,
            workers: None,
            reload_on_change: false,
            reload_source: None,
            warnings: Vec::new(),
            admin: None,
            overload: overload::Config::default(),
            gauges: Gauges::default(),
            buffers_bytes_max: 256 * 1024 * 1024,
            compression_bytes_max: 256 * 1024 * 1024,
            connections_max: usize::MAX,
            unauthenticated_max: 10_000,
            tickets: Arc::default(),
            tls_handshakes_max: 2000,
            state: None,
            audit: None,
            clock: Clock::system(),
            chance: None,
        }
    }
}

impl Builder {
    /// Begins with what a configuration says.
    pub(super) fn from_config(config: Config) -> Self {
        let Config {
            server,
            listeners,
            routes,
            auth,
            firewall,
            addresses,
            log,
            admin,
            state,
            audit,
            buffers_bytes_max,
            compression_bytes_max,
            tls_handshakes_max,
            warnings,
        } = config;
        Self {
            listeners,
            routes: routes.into_iter().map(|route| Route::from_config(route, &auth)).collect(),
            drain_timeout: server.drain_timeout,
            connections_max: server.connections_max.unwrap_or(usize::MAX),
            overload: server.overload,
            unauthenticated_max: server.unauthenticated_max,
            firewall,
            addresses,
            log: Some(log),
            workers: server.workers,
            reload_on_change: server.reload_on_change,
            warnings,
            admin,
            state,
            audit,
            buffers_bytes_max: usize::try_from(buffers_bytes_max).unwrap_or(usize::MAX),
            compression_bytes_max: usize::try_from(compression_bytes_max).unwrap_or(usize::MAX),
            tls_handshakes_max: usize::try_from(tls_handshakes_max).unwrap_or(usize::MAX),
            ..Self::default()
        }
    }

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

    /// Has the listener `name` accept from `socket`, which was opened elsewhere and listens already, instead of opening one
    /// at its address. All else about the listener stays as it is.
    #[must_use]
    pub fn socket(mut self, name: &str, socket: net::TcpListener) -> Self {
        self.sockets.push((name.to_owned(), Arc::new(socket)));
        self
    }

    /// Adds a route.
    #[must_use]
    pub fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// Lets addresses in, and counts connections and handshakes by client, as `config` says; by default any address, with 1,000
    /// connections and 3,000 handshakes a minute.
    #[must_use]
    pub fn firewall(mut self, config: firewall::Config) -> Self {
        self.firewall = config;
        self
    }

    /// Takes the word of these proxies about who their clients are; by default of none.
    #[must_use]
    pub fn addresses(mut self, config: address::Config) -> Self {
        self.addresses = config;
        self
    }

    /// Takes at most this many connections at a time; by default as many as there are descriptors.
    #[must_use]
    pub fn connections_max(mut self, connections_max: usize) -> Self {
        self.connections_max = connections_max;
        self
    }

    /// Lets nobody in, and has those go that cost most, where the process runs out of memory, descriptors or time, as `config` says.
    #[must_use]
    pub fn overload(mut self, config: overload::Config) -> Self {
        self.overload = config;
        self
    }

    /// Takes from `read` what the process uses, instead of asking the system; it is called ten times a second.
    #[must_use]
    pub fn readings(mut self, read: impl Fn() -> Readings + Send + Sync + 'static) -> Self {
        self.gauges = Gauges::Given(Arc::new(read));
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

    /// Keeps an audit log.
    #[must_use]
    pub fn audit(mut self, config: audit::Config) -> Self {
        self.audit = Some(config);
        self
    }

    /// Keeps revocations and bans in a directory, so that they outlive the process; by default they do not. One server of one
    /// process can have a directory. See [`Server::control`].
    #[must_use]
    pub fn state(mut self, config: state::Config) -> Self {
        self.state = Some(config);
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

    /// Sets at most this many bytes aside for compressed connections, all together, and declines offers, and makes none,
    /// beyond it; 256 MiB by default.
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

    /// Serves health and metrics, and the operators' API where there are tokens; beyond loopback with TLS alone.
    #[must_use]
    pub fn admin(mut self, config: admin::Config) -> Self {
        self.admin = Some(config);
        self
    }

    /// Reads time from `clock` and randomness from `chance`, so that a run can be replayed. Nor does it look at what the process uses,
    /// unless [`Self::readings`] are given after this.
    #[must_use]
    pub fn deterministic(mut self, clock: Clock, chance: Chance) -> Self {
        (self.clock, self.chance, self.gauges) = (clock, Some(chance), Gauges::None);
        self
    }

    /// Reads the configuration again from `source` when [`Reloader::reload`](super::Reloader::reload) or an operator asks for it,
    /// and by itself where the configuration says `server.reload_on_change`.
    #[must_use]
    pub fn reload_from(mut self, source: ReloadSource) -> Self {
        self.reload_source = Some(source);
        self
    }

    /// Binds all listeners. Call it within a tokio runtime.
    ///
    /// # Errors
    /// The first thing that is in the way.
    pub fn bind(mut self) -> Result<Server, StartError> {
        if self.listeners.is_empty() || self.routes.is_empty() {
            return Err(StartError::Empty);
        }
        let chance = match self.chance.take() {
            Some(chance) => chance,
            None => Chance::system().map_err(|error| StartError::Randomness(error.to_string()))?,
        };
        let observer = self.observer()?;
        let token_time_max = route::token_time_max(&mut self.routes.iter());
        let sessions = Arc::new(Sessions::new(chance.clone(), token_time_max));
        // Before the first accept: whoever was kept out is kept out from the beginning.
        let gauge = Gauge::new(self.overload, &self.gauges);
        let facilities = self.facilities(&observer, chance.clone(), gauge.as_ref());
        let firewall = Firewall::new(&self.firewall, facilities.started_at);
        let (store, mark) = self.load(&sessions, &firewall)?;
        if let Some(audit) = &self.audit {
            observer.keep_audit(audit, store.clone(), mark).map_err(StartError::Audit)?;
        }
        let control = Control::new(Arc::clone(&sessions), store, self.clock.clone(), observer.clone());
        let places = |count: usize| Semaphore::new(count.min(Semaphore::MAX_PERMITS));
        let (requests, reloader) = Requests::new(self.reload_source.take());
        let (tickets, admin_config) = (Arc::clone(&self.tickets), self.admin.clone());
        let (connections_max, unauthenticated_max) = (self.connections_max, self.unauthenticated_max);
        let (tls_handshakes_max, clock) = (self.tls_handshakes_max, self.clock.clone());
        let drains = Arc::<Drains>::default();
        let draft = self.sketch().draft(None, &observer, &drains, &clock)?;
        requests.follow(&draft.plan);
        let gate = Arc::new(Gate {
            firewall,
            facilities,
            observer,
            chance,
            live: Live::default(),
            load: Load::default(),
            places_max: connections_max,
            places: Arc::new(places(connections_max)),
            unauthenticated: Arc::new(places(unauthenticated_max)),
            unauthenticated_max,
            tls_handshakes: places(tls_handshakes_max),
            tls_handshakes_max,
            turned_away: Semaphore::new(TURNED_AWAY_MAX),
            tickets,
            sessions,
            drains,
        });
        let takes_tickets = draft.plan.takes_tickets();
        let admin = admin_config.map(|config| Admin::bind(config, &gate, &control, takes_tickets, reloader));
        Ok(Server { gate, control, draft, admin: admin.transpose()?, gauge: gauge.map(Box::new), requests })
    }

    /// What it says of what can be changed while a server runs, and of what cannot.
    pub(super) fn sketch(self) -> Sketch {
        let fixed = Fixed {
            workers: self.workers,
            connections_max: self.connections_max,
            unauthenticated_max: self.unauthenticated_max,
            tls_handshakes_max: self.tls_handshakes_max,
            overload: self.overload,
            buffers_bytes_max: self.buffers_bytes_max,
            compression_bytes_max: self.compression_bytes_max,
            log: self.log,
            admin: self.admin.clone().map(|admin| admin::Config { tokens: Vec::new(), ..admin }),
            state: self.state,
            audit: self.audit,
        };
        Sketch {
            listeners: self.listeners,
            sockets: self.sockets,
            routes: self.routes,
            addresses: self.addresses,
            firewall: self.firewall,
            drain_timeout: self.drain_timeout,
            reload_on_change: self.reload_on_change,
            tokens: self.admin.map_or_else(Vec::new, |admin| admin.tokens),
            fixed,
            warnings: self.warnings,
        }
    }

    /// Opens the state, if there is one, and puts what is in it in force.
    fn load(
        &self,
        sessions: &Sessions,
        firewall: &Firewall,
    ) -> Result<(Option<Store>, Option<Mark>), StartError> {
        let Some(config) = &self.state else { return Ok((None, None)) };
        let now = self.clock.unix_now();
        let (store, loaded) = Store::open(&config.directory, now).map_err(StartError::State)?;
        let Loaded { revocations, bans, address_bans, audit } = loaded;
        sessions.load(&revocations, &bans, now).map_err(StartError::Kept)?;
        address_bans::load(firewall, &address_bans, self.clock.now(), now).map_err(|detail| {
            StartError::State(state::StateError::Damaged {
                file: config.directory.display().to_string(),
                detail,
            })
        })?;
        Ok((Some(store), audit))
    }

    fn observer(&self) -> Result<Observer, StartError> {
        let names: Vec<&str> = self.routes.iter().map(Route::name).collect();
        let error_file = self.log.as_ref().and_then(|log| log.error_file.as_ref());
        Observer::new(error_file, &names, self.clock.clone()).map_err(|source| {
            let path = error_file.map(|file| file.path.display().to_string()).unwrap_or_default();
            StartError::ErrorFile { path, source }
        })
    }

    fn facilities(&self, observer: &Observer, chance: Chance, gauge: Option<&Gauge>) -> Arc<Facilities> {
        let bytes_max = gauge.and_then(Gauge::bytes_max).unwrap_or(usize::MAX);
        let room =
            compression::Room::new(self.compression_bytes_max.min(bytes_max), observer.compression_bytes());
        Arc::new(Facilities {
            started_at: self.clock.now(),
            timers: Timers::new(self.clock.clone()),
            budget: Arc::new(Budget::new(self.buffers_bytes_max.min(bytes_max), observer.buffered_bytes())),
            compression: Arc::new(room),
            clock: self.clock.clone(),
            chance,
        })
    }
}

/// A listener that is set as by default.
fn listener_at(address: SocketAddr, tls: Option<tls::Config>) -> ListenerConfig {
    ListenerConfig {
        name: address.to_string(),
        address,
        tls,
        tls_timeout: Duration::from_secs(5),
        head_timeout: Duration::from_secs(5),
        proxy_protocol: None,
        proxy_header_timeout: Duration::from_secs(3),
        required: true,
    }
}

/// How many clients that are refused before a byte is read are given the time to hear it.
const TURNED_AWAY_MAX: usize = 256;
