//! A route as a program describes it, and what the server makes of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::draft::Plan;
use super::keys::KeyPlaces;
use super::start::StartError;
use crate::auth::failures::{FailureLimits, Failures};
use crate::auth::{self, Authenticator, CredentialSource, KeySet};
use crate::backend::Backend;
use crate::backend::handler::{AnyHandler, Erased, Handler};
use crate::backend::upstream::{self, Drains, Upstream};
use crate::clock::{Clock, Instant};
use crate::config::{BackendConfig, RouteConfig};
use crate::connection::{self, Paces, Terms};
use crate::inspect::Inspections;
use crate::jwks::Source;
use crate::limits::Limits;
use crate::observe::Observer;
use crate::route::{self, Notice, Origins, PathError, PathPattern, RefuseBy};
use crate::ticket::TICKET_TIME_MAX;
use crate::upgrade::Entrance;

/// Which requests are taken, who may speak, and what answers.
#[derive(Clone, PartialEq)]
pub struct Route {
    name: String,
    /// Empty: all of them.
    listeners: Vec<String>,
    path: PathPattern,
    hosts: Vec<String>,
    origins: Origins,
    access: Access,
    /// The name of the configuration's table that `access` is, if it is one.
    auth_name: Option<String>,
    notice: Notice,
    refuse: RefuseBy,
    limits: Limits,
    inspections: Inspections,
    backend: Destination,
}

/// Where messages go, before what is there has been made ready.
#[derive(Clone)]
enum Destination {
    Echo(route::Echo),
    Handler(Arc<dyn AnyHandler>),
    Upstream(upstream::Config),
}

impl PartialEq for Destination {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Echo(own), Self::Echo(other)) => own == other,
            (Self::Handler(own), Self::Handler(other)) => Arc::ptr_eq(own, other),
            (Self::Upstream(own), Self::Upstream(other)) => own == other,
            (Self::Echo(_) | Self::Handler(_) | Self::Upstream(_), _) => false,
        }
    }
}

/// Who may speak. There is no default: it must be said.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one a route, while the server is built")]
pub enum Access {
    /// Anyone.
    Open,
    /// Who shows a token that verifies.
    Token(auth::Config),
}

impl Route {
    /// A route on all listeners, for any host: `path` is `/chat` (this path alone) or `/chat/*` (all below it).
    ///
    /// # Errors
    /// What makes `path` no pattern.
    pub fn new<H: Handler>(
        name: &str,
        path: &str,
        origins: Origins,
        access: Access,
        handler: H,
    ) -> Result<Self, PathError> {
        let backend = Destination::Handler(Arc::new(Erased(handler)));
        let limits = Limits { message_bytes_max: Some(WHOLE_MESSAGE_BYTES_MAX), ..Limits::default() };
        Self::to(name, path, origins, access, backend).map(|route| route.limits(limits))
    }

    /// The same in front of an application that speaks WebSocket itself.
    ///
    /// # Errors
    /// What makes `path` no pattern.
    pub fn upstream(
        name: &str,
        path: &str,
        origins: Origins,
        access: Access,
        upstream: upstream::Config,
    ) -> Result<Self, PathError> {
        Self::to(name, path, origins, access, Destination::Upstream(upstream))
    }

    fn to(
        name: &str,
        path: &str,
        origins: Origins,
        access: Access,
        backend: Destination,
    ) -> Result<Self, PathError> {
        Ok(Self {
            name: name.to_owned(),
            listeners: Vec::new(),
            path: PathPattern::parse(path)?,
            hosts: Vec::new(),
            origins,
            access,
            auth_name: None,
            notice: Notice::default(),
            refuse: RefuseBy::default(),
            limits: Limits::default(),
            inspections: Inspections::default(),
            backend,
        })
    }

    /// Tells clients of refusals by `notice` as well as by the close code.
    #[must_use]
    pub fn notice(mut self, notice: Notice) -> Self {
        self.notice = notice;
        self
    }

    /// Refuses clients by `refuse`; by default with an HTTP status.
    #[must_use]
    pub fn refuse(mut self, refuse: RefuseBy) -> Self {
        self.refuse = refuse;
        self
    }

    /// Bounds the connections by `limits`. By default a message has at most 64 KiB, since handlers get it whole.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Inspects messages by `inspections`: each is then held whole, within the limits, before it goes on.
    #[must_use]
    pub fn inspect(mut self, inspections: Inspections) -> Self {
        self.inspections = inspections;
        self
    }

    /// The name in logs and metrics.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it authenticates, if it does.
    fn auth(&self) -> Option<&auth::Config> {
        match &self.access {
            Access::Open => None,
            Access::Token(config) => Some(config),
        }
    }

    pub(super) fn from_config(config: RouteConfig, auth: &BTreeMap<String, auth::Config>) -> Self {
        let RouteConfig {
            name,
            listeners,
            path,
            hosts,
            origins,
            auth: auth_name,
            notice,
            refuse,
            limits,
            inspections,
            backend,
        } = config;
        // A configuration's references have been checked; were one wrong, nobody must get in for it.
        let access = match auth_name.as_ref().map(|auth_name| auth.get(auth_name).cloned()) {
            None => Access::Open,
            Some(found) => {
                Access::Token(found.expect("a configuration names only authenticators that it has"))
            }
        };
        let backend = match backend {
            BackendConfig::Echo(echo) => Destination::Echo(echo),
            BackendConfig::Upstream(config) => Destination::Upstream(config),
        };
        Self {
            name,
            listeners,
            path,
            hosts,
            origins,
            access,
            auth_name,
            notice,
            refuse,
            limits,
            inspections,
            backend,
        }
    }

    /// What counts the failures of this route's clients: its own, or the one in `shared` that routes with the same
    /// authenticator have.
    /// What is counted by `before` stays counted.
    fn failures(
        &self,
        shared: &mut SharedFailures,
        before: Option<&SharedFailures>,
        now: Instant,
    ) -> Option<Arc<Failures>> {
        let auth = self.auth()?;
        let limits = FailureLimits {
            per_client: auth.failures_per_client_per_minute,
            per_subject: auth.failures_per_subject_per_minute,
        };
        if (limits.per_client, limits.per_subject) == (None, None) {
            return None;
        }
        let key = match &self.auth_name {
            Some(auth_name) => FailuresOf::Auth(auth_name.clone()),
            None => FailuresOf::Route(self.name.clone()),
        };
        let new = || match before.and_then(|before| before.get(&key)) {
            Some(known) if known.limits() == limits => Arc::clone(known),
            Some(known) => Arc::new(known.at(limits)),
            None => Arc::new(Failures::new(limits, now)),
        };
        Some(Arc::clone(shared.entry(key.clone()).or_insert_with(new)))
    }

    /// Whether all is the same but where it can be entered.
    fn has_terms_of(&self, other: &Self) -> bool {
        if self.name != other.name {
            return false;
        }
        let Self { listeners, path, hosts, origins, .. } = other.clone();
        Self { listeners, path, hosts, origins, ..self.clone() } == *other
    }

    /// Makes it ready, or takes what is ready in `before`, where nothing of it has changed.
    pub(super) fn prepare(
        self,
        (observer, drains): (&Observer, &Drains),
        places: &mut KeyPlaces,
        shared: &mut SharedFailures,
        before: Option<&Plan>,
        clock: &Clock,
    ) -> Result<Prepared, StartError> {
        let name: Arc<str> = self.name.as_str().into();
        let failures = self.failures(shared, before.map(|before| &before.failures), clock.now());
        let keys_before = before.map(|before| &before.keys);
        let keys = places.source_for(self.auth(), &name, keys_before, observer, clock);
        let known =
            before.and_then(|before| before.routes.iter().find(|known| known.told.has_terms_of(&self)));
        let route = match known {
            Some(known) => Arc::clone(&known.route),
            None => Arc::new(self.clone().ready(name, keys, failures, (observer, drains), clock)?),
        };
        places.watch_for(&route, known.is_none(), keys_before, observer, clock);
        Ok(Prepared { told: self, route })
    }

    fn ready(
        self,
        name: Arc<str>,
        keys: Option<Arc<Source<KeySet>>>,
        failures: Option<Arc<Failures>>,
        (observer, drains): (&Observer, &Drains),
        clock: &Clock,
    ) -> Result<connection::Route, StartError> {
        let authenticator = match self.access {
            Access::Open => None,
            Access::Token(config) => Some(Authenticator::new(config).map_err(StartError::Auth)?),
        };
        let backend = match self.backend {
            Destination::Echo(echo) => Backend::Echo(Arc::new(echo)),
            Destination::Handler(handler) => Backend::Handler(handler),
            Destination::Upstream(config) => {
                let upstream = Upstream::new(config, &name, observer, drains, clock.unix_now());
                Backend::Upstream(upstream.map_err(|error| StartError::Upstream(error.to_string()))?)
            }
        };
        let terms = Terms {
            paces: Paces::new(&self.limits, clock.now()),
            limits: self.limits,
            notice: self.notice,
            inspections: self.inspections,
            metrics: observer.add_route(&self.name),
            retired: AtomicBool::new(false),
        };
        Ok(connection::Route {
            name,
            authenticator,
            failures,
            keys,
            refuse: self.refuse,
            backend,
            terms: Arc::new(terms),
        })
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("name", &self.name).field("path", &self.path).finish_non_exhaustive()
    }
}

/// What counts failed attempts to authenticate.
pub(super) type SharedFailures = BTreeMap<FailuresOf, Arc<Failures>>;

/// Whose failures are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FailuresOf {
    /// Those of all routes with this `[auth.NAME]` table.
    Auth(String),
    /// Those of one route that a program has made.
    Route(String),
}

/// A route that is ready, and what it was made of.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) told: Route,
    pub(super) route: Arc<connection::Route>,
}

impl Prepared {
    /// The entrance at `listener`, if the route is served there.
    pub(super) fn entrance_for(&self, listener: &str) -> Option<Entrance<Arc<connection::Route>>> {
        let Route { listeners, path, hosts, origins, .. } = &self.told;
        let is_served = listeners.is_empty() || listeners.iter().any(|name| name == listener);
        is_served.then(|| Entrance {
            path: path.clone(),
            hosts: hosts.clone(),
            origins: origins.clone(),
            route: Arc::clone(&self.route),
        })
    }
}

/// The longest that a token can be valid for any of `routes`, leeway included: as long as a revocation is remembered.
pub(super) fn token_time_max(routes: &mut dyn Iterator<Item = &Route>) -> Option<Duration> {
    let times = routes.filter_map(Route::auth).map(|auth| {
        let lifetime_max = auth.token_lifetime_max?;
        Some(lifetime_max.saturating_add(auth.leeway).max(TICKET_TIME_MAX))
    });
    // One that has no bound leaves none for all of them.
    times.collect::<Option<Vec<_>>>().map(|times| times.into_iter().max().unwrap_or_default())
}

/// The route's name, and whether it takes one-time tickets.
pub(super) fn takes_tickets(route: &Route) -> (Arc<str>, bool) {
    let takes = |auth: &auth::Config| auth.credentials.contains(&CredentialSource::Ticket);
    (route.name().into(), route.auth().is_some_and(takes))
}

/// Handlers get messages whole, so a message costs its size.
const WHOLE_MESSAGE_BYTES_MAX: u64 = 64 * 1024;
