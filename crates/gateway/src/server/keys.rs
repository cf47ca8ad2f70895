//! Keys that the configuration only names: fetched while the server runs, or read again when their file changes. One task
//! for each place, whatever the number of routes that use it.
//!
//! When other keys come, sessions whose token was verified with one that is gone are ended: whoever withdraws a key takes
//! back what it has signed. Which keys verify is the connection's to ask; this only keeps them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet, spawn_blocking};
use tokio::time::sleep;

use super::SETTLE_TIME;
use crate::auth::{self, KeySet, Keys, RemoteKeys, jwks};
use crate::causes::in_one_line;
use crate::clock::Clock;
use crate::connection::{Gate, Route};
use crate::jwks::{Bounds, Event, Source, Timing, WatchedFile, fetch};
use crate::observe::{KeyMetrics, Observer};
use crate::principal::Principal;
use crate::session::{End, Which};
use crate::tls::Trust;

/// Every place that keys come from, once.
#[derive(Debug, Default)]
pub(super) struct KeyPlaces {
    remote: Vec<Remote>,
    files: Vec<Watched>,
}

/// Keys at an address.
#[derive(Clone, Debug)]
struct Remote {
    keys: RemoteKeys,
    source: Arc<Source<KeySet>>,
    metrics: Arc<KeyMetrics>,
    /// The names of those that use them.
    routes: Vec<Arc<str>>,
    /// The same, for the task that fetches.
    users: Arc<Mutex<Vec<Arc<str>>>>,
}

/// Keys in a file.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    /// Until there is a task that looks at it.
    file: Mutex<Option<WatchedFile>>,
    metrics: Arc<KeyMetrics>,
    routes: Vec<Weak<Route>>,
    /// The same, for the task that looks.
    users: Arc<Mutex<Vec<Weak<Route>>>>,
}

/// A task that keeps one place.
#[derive(Debug)]
struct Keeping {
    place: Place,
    task: AbortHandle,
}

/// Which place that is.
#[derive(Clone, Debug)]
enum Place {
    Remote(Arc<Source<KeySet>>),
    File(PathBuf),
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Remote(own), Self::Remote(other)) => Arc::ptr_eq(own, other),
            (Self::File(own), Self::File(other)) => own == other,
            (Self::Remote(_), Self::File(_)) | (Self::File(_), Self::Remote(_)) => false,
        }
    }
}

/// The tasks that keep the places which are in force.
#[derive(Debug, Default)]
pub(super) struct KeyKeepers(Vec<Keeping>);

impl KeyKeepers {
    /// Keeps `places`, and no other from now on. Those that were kept before go on; `past` are routes that are out of force and
    /// that connections still live by.
    pub(super) fn keep(
        &mut self,
        places: &KeyPlaces,
        past: &[Arc<Route>],
        gate: &Arc<Gate>,
        tasks: &mut JoinSet<()>,
    ) {
        let mut kept = Vec::new();
        for remote in &places.remote {
            remote.source.set_timing(timing(&remote.keys));
            locked(&remote.users).clone_from(&remote.routes);
            let start = || tasks.spawn(keep_remote(remote.clone(), Arc::clone(gate)));
            kept.push(self.take_or(Place::Remote(Arc::clone(&remote.source)), start));
        }
        for watched in &places.files {
            let from_past = past.iter().filter(|route| route.key_file() == Some(&watched.path));
            let users = watched.routes.iter().cloned().chain(from_past.map(Arc::downgrade));
            *locked(&watched.users) = users.collect();
            let start = || {
                let file = locked(&watched.file).take();
                let file = file.unwrap_or_else(|| WatchedFile::new(watched.path.clone()));
                let (metrics, users) = (Arc::clone(&watched.metrics), Arc::clone(&watched.users));
                tasks.spawn(keep_file(file, metrics, users, Arc::clone(gate)))
            };
            kept.push(self.take_or(Place::File(watched.path.clone()), start));
        }
        for gone in std::mem::replace(&mut self.0, kept) {
            gone.task.abort();
        }
    }

    fn take_or(&mut self, place: Place, start: impl FnOnce() -> AbortHandle) -> Keeping {
        match self.0.iter().position(|keeping| keeping.place == place) {
            Some(position) => self.0.swap_remove(position),
            None => Keeping { place, task: start() },
        }
    }
}

fn timing(keys: &RemoteKeys) -> Timing {
    Timing { refresh_interval: keys.refresh_interval, stale_max: keys.stale_max }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KeyPlaces {
    /// What a route of this name verifies with, where that is fetched. A place that is among those `before` goes on being kept.
    pub(super) fn source_for(
        &mut self,
        config: Option<&auth::Config>,
        route: &Arc<str>,
        before: Option<&Self>,
        observer: &Observer,
        clock: &Clock,
    ) -> Option<Arc<Source<KeySet>>> {
        let Keys::Remote(keys) = &config?.keys else { return None };
        if let Some(known) = self.remote.iter_mut().find(|known| known.keys == *keys) {
            known.routes.push(Arc::clone(route));
            return Some(Arc::clone(&known.source));
        }
        let is_same_place = |known: &&Remote| {
            known.keys.location == keys.location
                && known.keys.authorities_file == keys.authorities_file
                && !self.remote.iter().any(|own| Arc::ptr_eq(&own.source, &known.source))
        };
        let known = before.and_then(|before| {
            let mut same = before.remote.iter().filter(is_same_place);
            same.clone().find(|known| known.keys == *keys).or_else(|| same.next())
        });
        let routes = vec![Arc::clone(route)];
        let remote = match known {
            Some(Remote { source, metrics, users, .. }) => Remote {
                keys: keys.clone(),
                source: Arc::clone(source),
                metrics: Arc::clone(metrics),
                routes,
                users: Arc::clone(users),
            },
            None => Remote {
                metrics: Arc::new(observer.key_metrics(keys.location.url())),
                source: Arc::new(Source::new(timing(keys), clock.clone())),
                keys: keys.clone(),
                routes,
                users: Arc::default(),
            },
        };
        let source = Arc::clone(&remote.source);
        self.remote.push(remote);
        Some(source)
    }

    /// Watches the file of this route's keys, where they are in one. A file that is among those `before` goes on being watched.
    pub(super) fn watch_for(
        &mut self,
        route: &Arc<Route>,
        is_new: bool,
        before: Option<&Self>,
        observer: &Observer,
        clock: &Clock,
    ) {
        let Some(authenticator) = &route.authenticator else { return };
        let Keys::File(path, _) = &authenticator.config().keys else { return };
        let own = |file: &WatchedFile| {
            // What has been done to it since the configuration was read.
            if let Some(keys) = file.read().ok().and_then(|bytes| jwks::parse(&bytes).ok()) {
                authenticator.set_keys(keys);
            }
        };
        let file = WatchedFile::new(path.clone());
        // One that is in force has a task that gives it keys, and that ends sessions for it.
        if is_new {
            own(&file);
        }
        if let Some(known) = self.files.iter_mut().find(|known| known.path == *path) {
            known.routes.push(Arc::downgrade(route));
            return;
        }
        let known = before.and_then(|before| before.files.iter().find(|known| known.path == *path));
        let (metrics, users) = match known {
            Some(known) => (Arc::clone(&known.metrics), Arc::clone(&known.users)),
            None => {
                let metrics = Arc::new(observer.key_metrics(&path.display()));
                metrics.fetched(clock.unix_now());
                (metrics, Arc::default())
            }
        };
        let (file, routes) = (Mutex::new(Some(file)), vec![Arc::downgrade(route)]);
        self.files.push(Watched { path: path.clone(), file, metrics, routes, users });
    }
}

async fn keep_remote(remote: Remote, gate: Arc<Gate>) {
    let Remote { keys, source, metrics, users, .. } = remote;
    let trust = keys.authorities_file.map_or(Trust::System, Trust::File);
    // Those whose route is gone are told of that before keys of another issuer say that theirs are no good.
    sleep(2 * SETTLE_TIME).await;
    let tell = |event: Event<'_, KeySet>| match event {
        Event::Replaced(keys) => {
            metrics.fetched(gate.facilities.clock.unix_now());
            let routes = locked(&users).clone();
            metrics.replaced(keys.keys().len(), end_withdrawn(&gate, keys, &routes));
        }
        Event::Confirmed => metrics.fetched(gate.facilities.clock.unix_now()),
        Event::Failed(error) => metrics.failed(&error),
        Event::Expired => metrics.expired(),
    };
    source.keep(|| fetch(&keys.location, &trust, Bounds::default()), jwks::parse, tell).await;
}

async fn keep_file(
    mut file: WatchedFile,
    metrics: Arc<KeyMetrics>,
    users: Arc<Mutex<Vec<Weak<Route>>>>,
    gate: Arc<Gate>,
) {
    loop {
        sleep(LOOK_INTERVAL).await;
        // Files may lie on a disk that is slow or far away.
        let looked = spawn_blocking(move || {
            let read = file.look();
            (file, read)
        });
        let (same_file, read) = match looked.await {
            Ok(looked) => looked,
            Err(panic) => return metrics.failed(&panic),
        };
        file = same_file;
        let Some(read) = read else { continue };
        let parsed = read
            .map_err(|error| in_one_line(&error))
            .and_then(|bytes| jwks::parse(&bytes).map_err(|error| in_one_line(&error)));
        match parsed {
            Ok(keys) => {
                let keys = Arc::new(keys);
                let routes: Vec<_> = locked(&users).iter().filter_map(Weak::upgrade).collect();
                let names: Vec<Arc<str>> = routes.iter().map(|route| Arc::clone(&route.name)).collect();
                for authenticator in routes.iter().filter_map(|route| route.authenticator.as_ref()) {
                    authenticator.share_keys(Arc::clone(&keys));
                }
                metrics.fetched(gate.facilities.clock.unix_now());
                metrics.replaced(keys.keys().len(), end_withdrawn(&gate, &keys, &names));
            }
            Err(error) => metrics.failed(&error),
        }
    }
}

/// Fetches keys once, as a server does while it runs: for programs that look at a token without serving.
///
/// # Errors
/// When there are none to be had; says why.
pub async fn fetch_keys(keys: &RemoteKeys) -> Result<KeySet, KeysNotFetched> {
    let trust = keys.authorities_file.clone().map_or(Trust::System, Trust::File);
    let fetched = fetch(&keys.location, &trust, Bounds::default()).await;
    let bytes = fetched.map_err(|error| KeysNotFetched(in_one_line(&error)))?;
    jwks::parse(&bytes).map_err(|error| KeysNotFetched(in_one_line(&error)))
}

/// Why keys could not be fetched, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeysNotFetched(String);

/// Ends the sessions on `routes` whose token was verified with a key that is not among `keys`; how many.
pub(super) fn end_withdrawn(gate: &Gate, keys: &KeySet, routes: &[Arc<str>]) -> usize {
    let is_withdrawn = |principal: &Principal, route: &str| {
        principal.key.is_some_and(|key| !keys.has(key)) && routes.iter().any(|own| **own == *route)
    };
    gate.sessions.end_where(Which::All, End::Revoked, is_withdrawn)
}

/// How often files are looked at: keys are in use two seconds after they have been written.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
