//! The tasks that ask applications whether they are well: one for each application of each route that is in force, and none besides.
//!
//! What they ask and what follows is the backend's. They end with the route, and when the drain begins: whoever goes does not
//! complain of others that do.

use std::sync::Arc;

use tokio::task::{AbortHandle, JoinSet};

use super::route::Prepared;
use crate::backend::Backend;
use crate::backend::upstream::Upstream;
use crate::connection::Gate;

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
    pub(super) fn keep(&mut self, routes: &[Prepared], gate: &Arc<Gate>, tasks: &mut JoinSet<()>) {
        let upstreams = || {
            routes.iter().filter_map(|prepared| match &prepared.route.backend {
                Backend::Upstream(upstream) => Some(upstream),
                Backend::Echo(_) | Backend::Handler(_) => None,
            })
        };
        self.0.retain(|checked| {
            let is_kept = upstreams().any(|upstream| Arc::ptr_eq(upstream, &checked.upstream));
            if !is_kept {
                checked.tasks.iter().for_each(AbortHandle::abort);
                checked.upstream.end();
            }
            is_kept
        });
        for upstream in upstreams() {
            if self.0.iter().any(|checked| Arc::ptr_eq(&checked.upstream, upstream)) {
                continue;
            }
            let start = |place| tasks.spawn(check(Arc::clone(upstream), place, Arc::clone(gate)));
            let tasks = (0..upstream.begin()).map(start).collect();
            self.0.push(Checked { upstream: Arc::clone(upstream), tasks });
        }
    }
}

async fn check(upstream: Arc<Upstream>, place: usize, gate: Arc<Gate>) {
    let (chance, clock) = (gate.facilities.chance.clone(), gate.facilities.clock.clone());
    let mut draining = gate.draining.clone();
    tokio::select! {
        biased;
        _ = draining.wait_for(|draining| *draining) => {}
        () = upstream.keep_checking(place, chance, clock) => {}
    }
}
