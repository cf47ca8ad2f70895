//! The tasks that ask applications whether they are well, one for each application of each route that is in force, and those that look
//! after the certificate that a route's applications are shown.
//!
//! What is asked and what follows is the backend's. They end with the route, and when the drain begins: whoever goes does not
//! complain of others that do.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet, spawn_blocking};
use tokio::time::sleep;

use super::route::Prepared;
use crate::backend::Backend;
use crate::backend::upstream::Upstream;
use crate::connection::Gate;
use crate::tls::OwnCertificate;

/// The tasks of the applications that are checked.
#[derive(Debug, Default)]
pub(super) struct Checks(Vec<Checked>);

/// The applications of one route, and the tasks that check them.
#[derive(Debug)]
struct Checked {
    upstream: Arc<Upstream>,
    tasks: Vec<AbortHandle>,
}

impl Checks {
    /// Has the applications of `routes` checked, and no others from now on. Those that were checked before go on.
    pub(super) fn keep(&mut self, routes: &[Prepared], gate: &Arc<Gate>, started: &mut JoinSet<()>) {
        let upstreams = || {
            routes.iter().filter_map(|prepared| match &prepared.route.backend {
                Backend::Upstream(upstream) => Some((upstream, &prepared.route.name)),
                Backend::Echo(_) | Backend::Handler(_) => None,
            })
        };
        self.0.retain(|checked| {
            let is_kept = upstreams().any(|(upstream, _)| Arc::ptr_eq(upstream, &checked.upstream));
            if !is_kept {
                checked.tasks.iter().for_each(AbortHandle::abort);
                checked.upstream.end();
            }
            is_kept
        });
        for (upstream, route) in upstreams() {
            if self.0.iter().any(|checked| Arc::ptr_eq(&checked.upstream, upstream)) {
                continue;
            }
            let start = |place| started.spawn(check(Arc::clone(upstream), place, Arc::clone(gate)));
            let mut tasks: Vec<_> = (0..upstream.begin()).map(start).collect();
            if let Some(own) = upstream.own_certificate() {
                let (own, route) = (Arc::clone(own), Arc::clone(route));
                tasks.push(started.spawn(keep_certificate(own, route, Arc::clone(gate))));
            }
            self.0.push(Checked { upstream: Arc::clone(upstream), tasks });
        }
    }
}

async fn check(upstream: Arc<Upstream>, place: usize, gate: Arc<Gate>) {
    let (chance, clock) = (gate.facilities.chance.clone(), gate.facilities.clock.clone());
    tokio::select! {
        biased;
        () = gate.load.until_draining() => {}
        () = upstream.keep_checking(place, chance, clock) => {}
    }
}

/// Has the certificate read again when its files change, until it is dropped.
async fn keep_certificate(own: Arc<OwnCertificate>, route: Arc<str>, gate: Arc<Gate>) {
    loop {
        sleep(LOOK_INTERVAL).await;
        let (own, now) = (Arc::clone(&own), gate.facilities.clock.unix_now());
        let file = own.file().clone();
        // Files may lie on a disk that is slow or far away.
        let result = match spawn_blocking(move || own.refresh(now)).await {
            Ok(None) => continue,
            Ok(Some(result)) => result.map_err(|error| error.to_string()),
            Err(panic) => Err(panic.to_string()),
        };
        gate.observer.upstream_certificate_read(&route, &file.display(), result);
    }
}

/// How often files are looked at, as those of listeners are.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
