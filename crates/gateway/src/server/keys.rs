//! Keys that the configuration only names: fetched while the server runs, or read again when their file changes. One task
//! for each place, whatever the number of routes that use it.
//!
//! When other keys come, sessions whose token was verified with one that is gone are ended: whoever withdraws a key takes
//! back what it has signed. Which keys verify is the connection's to ask; this only keeps them.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use crate::auth::{self, KeySet, Keys, RemoteKeys, jwks};
use crate::clock::Clock;
use crate::connection::{Gate, Route};
use crate::jwks::{Bounds, Event, Source, Timing, WatchedFile, chain, fetch};
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
#[derive(Debug)]
struct Remote {
    keys: RemoteKeys,
    source: Arc<Source<KeySet>>,
    metrics: KeyMetrics,
    /// The names of those that use them.
    routes: Vec<Arc<str>>,
}

/// Keys in a file.
#[derive(Debug)]
struct Watched {
    file: WatchedFile,
    metrics: KeyMetrics,
    routes: Vec<Arc<Route>>,
}

impl KeyPlaces {
    /// What a route of this name verifies with, where that is fetched.
    pub(super) fn source_for(
        &mut self,
        config: Option<&auth::Config>,
        route: &Arc<str>,
        observer: &Observer,
        clock: &Clock,
    ) -> Option<Arc<Source<KeySet>>> {
        let Keys::Remote(keys) = &config?.keys else { return None };
        if let Some(known) = self.remote.iter_mut().find(|known| known.keys == *keys) {
            known.routes.push(Arc::clone(route));
            return Some(Arc::clone(&known.source));
        }
        let timing = Timing { refresh_interval: keys.refresh_interval, stale_max: keys.stale_max };
        let source = Arc::new(Source::new(timing, clock.clone()));
        self.remote.push(Remote {
            metrics: observer.key_metrics(keys.location.url()),
            keys: keys.clone(),
            source: Arc::clone(&source),
            routes: vec![Arc::clone(route)],
        });
        Some(source)
    }

    /// Watches the file of this route's keys, where they are in one.
    pub(super) fn watch_for(&mut self, route: &Arc<Route>, observer: &Observer, clock: &Clock) {
        let Some(authenticator) = &route.authenticator else { return };
        let Keys::File(path, _) = &authenticator.config().keys else { return };
        let own = |file: &WatchedFile| {
            // What has been done to it since the configuration was read.
            if let Some(keys) = file.read().ok().and_then(|bytes| jwks::parse(&bytes).ok()) {
                authenticator.set_keys(keys);
            }
        };
        if let Some(known) = self.files.iter_mut().find(|known| known.file.path() == path) {
            known.routes.push(Arc::clone(route));
            return own(&known.file);
        }
        let metrics = observer.key_metrics(&path.display());
        metrics.fetched(clock.unix_now());
        let file = WatchedFile::new(path.clone());
        own(&file);
        self.files.push(Watched { file, metrics, routes: vec![Arc::clone(route)] });
    }

    /// Keeps all of them until the tasks are dropped.
    pub(super) fn keep(self, gate: &Arc<Gate>, tasks: &mut JoinSet<()>) {
        for remote in self.remote {
            tasks.spawn(keep_remote(remote, Arc::clone(gate)));
        }
        for watched in self.files {
            tasks.spawn(keep_file(watched, Arc::clone(gate)));
        }
    }
}

async fn keep_remote(remote: Remote, gate: Arc<Gate>) {
    let Remote { keys, source, metrics, routes } = remote;
    let trust = keys.authorities_file.map_or(Trust::System, Trust::File);
    let tell = |event: Event<'_, KeySet>| match event {
        Event::Replaced(keys) => {
            metrics.fetched(gate.facilities.clock.unix_now());
            metrics.replaced(keys.keys().len(), end_withdrawn(&gate, keys, &routes));
        }
        Event::Confirmed => metrics.fetched(gate.facilities.clock.unix_now()),
        Event::Failed(error) => metrics.failed(&error),
        Event::Expired => metrics.expired(),
    };
    source.keep(|| fetch(&keys.location, &trust, Bounds::default()), jwks::parse, tell).await;
}

async fn keep_file(watched: Watched, gate: Arc<Gate>) {
    let Watched { mut file, metrics, routes } = watched;
    let names: Vec<Arc<str>> = routes.iter().map(|route| Arc::clone(&route.name)).collect();
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
            .map_err(|error| chain(&error))
            .and_then(|bytes| jwks::parse(&bytes).map_err(|error| chain(&error)));
        match parsed {
            Ok(keys) => {
                let keys = Arc::new(keys);
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
    let bytes = fetched.map_err(|error| KeysNotFetched(chain(&error)))?;
    jwks::parse(&bytes).map_err(|error| KeysNotFetched(chain(&error)))
}

/// Why keys could not be fetched, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeysNotFetched(String);

/// Ends the sessions on `routes` whose token was verified with a key that is not among `keys`; how many.
fn end_withdrawn(gate: &Gate, keys: &KeySet, routes: &[Arc<str>]) -> usize {
    let is_withdrawn = |principal: &Principal, route: &str| {
        principal.key.is_some_and(|key| !keys.has(key)) && routes.iter().any(|own| **own == *route)
    };
    gate.sessions.end_where(Which::All, End::Revoked, is_withdrawn)
}

/// How often files are looked at: keys are in use two seconds after they have been written.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
