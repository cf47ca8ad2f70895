//! What a server is to serve, made ready beside what it serves already.
//!
//! All that can fail is done here: files are read, sockets opened, routes made ready. Nothing of it is in force until
//! `force.rs` says so, and what is given up leaves no trace. What has not changed is taken from the plan before: a route whose
//! terms are the same is the same route, a listener at the same address keeps its socket.

use std::io;
use std::net::{self, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::certificates;
use super::keys::KeyPlaces;
use super::route::{self, Prepared, Route, SharedFailures};
use super::socket;
use super::start::{BindError, StartError};
use crate::backend::upstream::Drains;
use crate::clock::Clock;
use crate::config::ListenerConfig;
use crate::connection::{Door, Encryption};
use crate::observe::{self, Observer};
use crate::upgrade::Entrances;
use crate::{address, admin, audit, firewall, overload, state, tls};

/// What is served, or is to be.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) routes: Vec<Prepared>,
    pub(super) failures: SharedFailures,
    pub(super) keys: KeyPlaces,
    pub(super) listeners: Vec<Listening>,
    pub(super) firewall: firewall::Config,
    pub(super) drain_timeout: Duration,
    /// Whether the configuration is read again when its file changes.
    pub(super) reload_on_change: bool,
    pub(super) tokens: Vec<admin::Token>,
    pub(super) fixed: Fixed,
    /// What is allowed and probably not meant.
    pub(super) warnings: Vec<String>,
}

/// A plan that is ready, with what must be given to it once it is in force.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) plan: Plan,
    pub(super) opened: Vec<Opened>,
    /// Listeners that need not be there and are not.
    pub(super) skipped: Vec<BindError>,
}

/// A socket that listens and from which nobody accepts yet.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) place: Arc<Place>,
    pub(super) listener: TcpListener,
}

/// One listener.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) name: String,
    /// Where it was told to listen.
    configured: SocketAddr,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Its socket was opened elsewhere.
    is_given: bool,
    tls: Option<tls::Config>,
    /// Its door by this plan.
    pub(super) door: Arc<Door>,
    pub(super) place: Arc<Place>,
}

/// Where a listener's connections find their door. Outlives plans, as the socket does.
#[derive(Debug)]
pub(super) struct Place {
    door: RwLock<Arc<Door>>,
    /// That nobody is to accept here any more.
    pub(super) closed: Notify,
}

impl Place {
    fn new(door: Arc<Door>) -> Self {
        Self { door: RwLock::new(door), closed: Notify::new() }
    }

    /// The door for one connection, for as long as it lives.
    pub(super) fn door(&self) -> Arc<Door> {
        Arc::clone(&self.door.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The door for all that come from now on.
    pub(super) fn set_door(&self, door: &Arc<Door>) {
        *self.door.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(door);
    }
}

/// What is read once, when the server starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fixed {
    pub(super) workers: Option<usize>,
    pub(super) connections_max: usize,
    pub(super) unauthenticated_max: usize,
    pub(super) tls_handshakes_max: usize,
    pub(super) overload: overload::Config,
    pub(super) buffers_bytes_max: usize,
    pub(super) compression_bytes_max: usize,
    pub(super) log: Option<observe::Config>,
    /// Its tokens aside.
    pub(super) admin: Option<admin::Config>,
    pub(super) state: Option<state::Config>,
    pub(super) audit: Option<audit::Config>,
}

impl Fixed {
    /// The settings that are not as they were.
    pub(super) fn changed(&self, before: &Self) -> Vec<&'static str> {
        let is_changed = [
            ("server.workers", self.workers != before.workers),
            ("server.connections_max", self.connections_max != before.connections_max),
            ("server.unauthenticated_max", self.unauthenticated_max != before.unauthenticated_max),
            ("server.tls_handshakes_max", self.tls_handshakes_max != before.tls_handshakes_max),
            ("server.overload", self.overload != before.overload),
            ("server.buffers_bytes_max", self.buffers_bytes_max != before.buffers_bytes_max),
            ("server.compression_bytes_max", self.compression_bytes_max != before.compression_bytes_max),
            ("log", self.log != before.log),
            ("admin", self.admin != before.admin),
            ("state", self.state != before.state),
            ("audit", self.audit != before.audit),
        ];
        is_changed.into_iter().filter_map(|(name, is_changed)| is_changed.then_some(name)).collect()
    }
}

/// What a builder says of what can be changed while a server runs.
pub(super) struct Sketch {
    pub(super) listeners: Vec<ListenerConfig>,
    pub(super) sockets: Vec<(String, Arc<net::TcpListener>)>,
    pub(super) routes: Vec<Route>,
    pub(super) addresses: address::Config,
    pub(super) firewall: firewall::Config,
    pub(super) drain_timeout: Duration,
    pub(super) reload_on_change: bool,
    pub(super) tokens: Vec<admin::Token>,
    pub(super) fixed: Fixed,
    pub(super) warnings: Vec<String>,
}

impl Sketch {
    /// Makes it ready beside what there is `before`, of which nothing is changed. Reads files and opens sockets: to be called
    /// within a runtime, where it may block.
    pub(super) fn draft(
        self,
        before: Option<&Plan>,
        observer: &Observer,
        drains: &Drains,
        clock: &Clock,
    ) -> Result<Draft, StartError> {
        if self.listeners.is_empty() || self.routes.is_empty() {
            return Err(StartError::Empty);
        }
        let (mut keys, mut failures) = (KeyPlaces::default(), SharedFailures::new());
        let routes = self.routes.into_iter();
        let routes: Vec<Prepared> = routes
            .map(|route| route.prepare((observer, drains), &mut keys, &mut failures, before, clock))
            .collect::<Result<_, _>>()?;
        let mut hall = Hall {
            routes: &routes,
            addresses: Arc::new(self.addresses),
            before: before.map_or(&[], |before| &before.listeners),
            taken: Vec::new(),
            sockets: self.sockets,
            observer,
            clock,
        };
        let (mut listeners, mut opened, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        for config in self.listeners {
            match hall.listen(config)? {
                Ok((listening, listener)) => {
                    let place = Arc::clone(&listening.place);
                    opened.extend(listener.map(|listener| Opened { place, listener }));
                    listeners.push(listening);
                }
                Err(error) => skipped.push(error),
            }
        }
        if let Some((name, _)) = hall.sockets.pop() {
            return Err(StartError::SocketUnwanted(name));
        }
        if listeners.is_empty() {
            return Err(skipped.pop().map_or(StartError::Empty, StartError::Bind));
        }
        let Self { firewall, drain_timeout, reload_on_change, tokens, fixed, warnings, .. } = self;
        let plan = Plan {
            routes,
            failures,
            keys,
            listeners,
            firewall,
            drain_timeout,
            reload_on_change,
            tokens,
            fixed,
            warnings,
        };
        Ok(Draft { plan, opened, skipped })
    }
}

impl Plan {
    pub(super) fn told_routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().map(|prepared| &prepared.told)
    }

    /// Every route's name, and whether it takes one-time tickets.
    pub(super) fn takes_tickets(&self) -> Arc<[(Arc<str>, bool)]> {
        self.told_routes().map(route::takes_tickets).collect()
    }
}

/// Makes listeners ready, one after the other.
struct Hall<'d> {
    routes: &'d [Prepared],
    addresses: Arc<address::Config>,
    before: &'d [Listening],
    /// Those of `before` that are kept.
    taken: Vec<usize>,
    sockets: Vec<(String, Arc<net::TcpListener>)>,
    observer: &'d Observer,
    clock: &'d Clock,
}

impl<'d> Hall<'d> {
    /// The listener, and its socket where that is a new one; what is in its way, where it need not be there.
    fn listen(
        &mut self,
        config: ListenerConfig,
    ) -> Result<Result<(Listening, Option<TcpListener>), BindError>, StartError> {
        let ListenerConfig { name, address: configured, required, .. } = config;
        let before = self.kept(&name, configured);
        let (listener, address, is_given) = match before {
            Some(before) => (None, before.address, before.is_given),
            None => match self.open(&name, configured) {
                Ok((listener, is_given)) => {
                    let address = listener.local_addr().unwrap_or(configured);
                    (Some(listener), address, is_given)
                }
                Err(source) => {
                    let error = BindError { name, address: configured, source };
                    let may_miss = !required && error.is_address_missing();
                    return if may_miss { Ok(Err(error)) } else { Err(StartError::Bind(error)) };
                }
            },
        };
        let same_files = before.filter(|before| before.name == name && before.tls == config.tls);
        let encryption = match (&config.tls, same_files.and_then(|before| before.door.encryption.as_ref())) {
            (None, _) => None,
            (Some(_), Some(encryption)) => {
                Some(Encryption { timeout: config.tls_timeout, ..encryption.clone() })
            }
            (Some(tls), None) => {
                let made = certificates::encryption(
                    tls.clone(),
                    config.tls_timeout,
                    self.observer,
                    &name,
                    self.clock,
                );
                Some(made.map_err(StartError::Tls)?)
            }
        };
        let entrances = self.routes.iter().filter_map(|route| route.entrance_for(&name)).collect();
        let door = Arc::new(Door {
            addresses: Arc::clone(&self.addresses),
            proxy_protocol: config.proxy_protocol,
            proxy_header_timeout: config.proxy_header_timeout,
            encryption,
            head_timeout: config.head_timeout,
            entrances: Entrances::new(entrances),
        });
        let place = match before {
            Some(before) => Arc::clone(&before.place),
            None => Arc::new(Place::new(Arc::clone(&door))),
        };
        Ok(Ok((Listening { name, configured, address, is_given, tls: config.tls, door, place }, listener)))
    }

    /// The listener before that goes on as this one: of this name where it was told to listen here, or had its socket from
    /// elsewhere; or else of another name, at this very address.
    fn kept(&mut self, name: &str, configured: SocketAddr) -> Option<&'d Listening> {
        let before = self.before;
        let free = || before.iter().enumerate().filter(|(place, _)| !self.taken.contains(place));
        let by_name = free()
            .find(|(_, known)| known.name == name && (known.is_given || known.configured == configured));
        let by_address = || {
            free().find(|(_, known)| {
                !known.is_given && known.configured == configured && configured.port() != 0
            })
        };
        let (place, known) = by_name.or_else(by_address)?;
        self.taken.push(place);
        Some(known)
    }

    /// The socket that was given for the listener `name`, or else one at `address`; whether it was given.
    fn open(&mut self, name: &str, address: SocketAddr) -> io::Result<(TcpListener, bool)> {
        match self.sockets.iter().position(|(listener, _)| listener == name) {
            Some(position) => Ok((socket::adopt(&self.sockets.remove(position).1)?, true)),
            None => Ok((socket::listen(address)?, false)),
        }
    }
}
