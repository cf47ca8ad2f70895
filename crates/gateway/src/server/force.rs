//! Puts what is ready in force: the listeners that accept, the tasks that keep keys and certificates, and what becomes of those
//! who live by what was in force before.
//!
//! Comes after `draft.rs`; nothing here can fail. The doors change first, one store each, so that whoever comes from then on
//! lives by the new plan; then those that must not go on by the old one are told.

use std::sync::{Arc, Weak};

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::checks::Checks;
use super::draft::{Draft, Opened, Place, Plan};
use super::keys::{KeyKeepers, end_withdrawn};
use super::operator::AdminFace;
use super::reload::Reloaded;
use super::route::{self, Prepared};
use super::{Entry, SETTLE_TIME, accept, certificates};
use crate::auth::{Authenticator, Keys};
use crate::connection::{Encryption, Gate, Route};

/// What is in force.
#[derive(Debug)]
pub(super) struct Force {
    gate: Arc<Gate>,
    plan: Arc<Plan>,
    /// Routes that are out of force; connections may still live by them.
    past: Vec<Weak<Route>>,
    keepers: KeyKeepers,
    checks: Checks,
    certificates: Vec<(Encryption, AbortHandle)>,
    admin: Option<AdminFace>,
    tasks: JoinSet<()>,
    accepting: JoinSet<()>,
}

impl Force {
    /// Puts the first plan in force.
    pub(super) fn begin(gate: &Arc<Gate>, draft: Draft, admin: Option<AdminFace>) -> Self {
        let Draft { plan, opened, skipped: _ } = draft;
        let mut force = Self {
            gate: Arc::clone(gate),
            plan: Arc::new(plan),
            past: Vec::new(),
            keepers: KeyKeepers::default(),
            checks: Checks::default(),
            certificates: Vec::new(),
            admin,
            tasks: JoinSet::new(),
            accepting: JoinSet::new(),
        };
        force.keep();
        force.accept(opened);
        force
    }

    pub(super) fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Puts another plan in the place of the one that is in force.
    pub(super) fn replace(&mut self, draft: Draft) -> Reloaded {
        let Draft { mut plan, opened, skipped } = draft;
        let now = self.gate.facilities.clock.now();
        let mut reloaded = difference(&self.plan, &plan);
        // What is read once stays what it was when the server started.
        plan.fixed.clone_from(&self.plan.fixed);
        let before = std::mem::replace(&mut self.plan, Arc::new(plan));
        reloaded.warnings.extend(skipped.iter().map(|error| format!("{error}; going on without it")));
        self.gate.sessions.set_token_time_max(route::token_time_max(&mut self.plan.told_routes()));
        let lists_changed = self.gate.firewall.set_rules(&self.plan.firewall, now);
        for listening in &self.plan.listeners {
            listening.place.set_door(&listening.door);
        }
        for place in gone(&before, &self.plan) {
            place.closed.notify_one();
        }
        self.accept(opened);
        if let Some(admin) = &self.admin {
            admin.follow(&self.plan.tokens, self.plan.takes_tickets());
        }
        reloaded.sessions_ended = self.supersede(&before);
        if lists_changed {
            let firewall = &self.gate.firewall;
            reloaded.connections_denied = self.gate.live.deny(|client| firewall.denies_any_of(client));
        }
        self.keep();
        self.forget();
        reloaded
    }

    /// Gives up what is counted of routes that nobody is on any more.
    pub(super) fn forget(&self) {
        let is_told = |name: &str| self.plan.told_routes().any(|route| route.name() == name);
        self.gate.observer.forget_routes(is_told);
    }

    /// Stops accepting; what waits to be accepted is still taken, and told that the gateway drains.
    pub(super) async fn close(&mut self) {
        for listening in &self.plan.listeners {
            listening.place.closed.notify_one();
        }
        while self.accepting.join_next().await.is_some() {}
    }

    /// Ends its tasks.
    pub(super) async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }

    fn accept(&mut self, opened: Vec<Opened>) {
        while self.accepting.try_join_next().is_some() {}
        for Opened { place, listener } in opened {
            let entry = Entry { gate: Arc::clone(&self.gate), place };
            self.accepting.spawn(accept::accept(entry, listener));
        }
    }

    /// Has keys and certificates kept, and applications checked, by the plan, and by no other.
    fn keep(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        let past: Vec<_> = self.past.iter().filter_map(Weak::upgrade).collect();
        self.keepers.keep(&self.plan.keys, &past, &self.gate, &mut self.tasks);
        self.checks.keep(&self.plan.routes, &self.gate, &mut self.tasks);
        let mut kept = Vec::new();
        for encryption in
            self.plan.listeners.iter().filter_map(|listening| listening.door.encryption.as_ref())
        {
            let is_it = |(known, _): &(Encryption, _)| Arc::ptr_eq(&known.tls, &encryption.tls);
            kept.push(match self.certificates.iter().position(is_it) {
                Some(position) => self.certificates.swap_remove(position),
                None => {
                    let clock = self.gate.facilities.clock.clone();
                    (encryption.clone(), self.tasks.spawn(certificates::keep(encryption.clone(), clock)))
                }
            });
        }
        for (encryption, task) in std::mem::replace(&mut self.certificates, kept) {
            task.abort();
            certificates::forget(&encryption);
        }
    }

    /// Tells those who live by routes that are out of force what they must know; how many sessions were ended for it.
    fn supersede(&mut self, before: &Plan) -> usize {
        self.past.extend(before.routes.iter().map(|prepared| Arc::downgrade(&prepared.route)));
        let (mut is_anyone_retired, mut ended) = (false, 0);
        let (plan, gate) = (&self.plan, &self.gate);
        self.past.retain(|past| {
            let Some(past) = past.upgrade() else { return false };
            let now = plan.routes.iter().map(|prepared| &prepared.route).find(|now| now.name == past.name);
            match fate(&past, now) {
                Fate::InForce => return false,
                Fate::GoesOn => {}
                Fate::Retired => {
                    past.terms.retire();
                    is_anyone_retired = true;
                    return false;
                }
                Fate::OtherKeys => {
                    let keys = now.and_then(|now| now.authenticator.as_ref()).map(Authenticator::keys);
                    if let (Some(own), Some(keys)) = (&past.authenticator, keys) {
                        own.share_keys(Arc::clone(&keys));
                        ended += end_withdrawn(gate, &keys, std::slice::from_ref(&past.name));
                    }
                }
            }
            true
        });
        if is_anyone_retired {
            // What has come is seen first, as in a drain of the server.
            let gate = Arc::clone(&self.gate);
            self.tasks.spawn(async move {
                sleep(SETTLE_TIME).await;
                gate.live.look_at_routes();
            });
        }
        ended
    }
}

/// What becomes of those who live by a route that was in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is still.
    InForce,
    /// They go on by what they were opened with.
    GoesOn,
    /// They do, and their tokens are verified with other keys.
    OtherKeys,
    /// They may not go on: the route is gone, asks who speaks where it did not, or has keys that tell nothing of the old ones.
    Retired,
}

fn fate(past: &Arc<Route>, now: Option<&Arc<Route>>) -> Fate {
    let Some(now) = now else { return Fate::Retired };
    if Arc::ptr_eq(past, now) {
        return Fate::InForce;
    }
    let (past_keys, now_keys) = match (&past.authenticator, &now.authenticator) {
        (_, None) => return Fate::GoesOn,
        (None, Some(_)) => return Fate::Retired,
        (Some(past), Some(now)) => (&past.config().keys, &now.config().keys),
    };
    match (past_keys, now_keys) {
        (Keys::Set(_), Keys::Set(_)) => Fate::OtherKeys,
        (Keys::File(past, _), Keys::File(now, _)) if past == now => Fate::OtherKeys,
        (Keys::Secret(past), Keys::Secret(now)) if past == now => Fate::GoesOn,
        (Keys::None, Keys::None) => Fate::GoesOn,
        (Keys::Remote(_), Keys::Remote(_)) if is_same_source(past, now) => Fate::GoesOn,
        (Keys::None | Keys::Secret(_) | Keys::Set(_) | Keys::File(..) | Keys::Remote(_), _) => Fate::Retired,
    }
}

fn is_same_source(past: &Route, now: &Route) -> bool {
    matches!((&past.keys, &now.keys), (Some(past), Some(now)) if Arc::ptr_eq(past, now))
}

/// The places of listeners that are there no longer.
fn gone<'p>(before: &'p Plan, now: &'p Plan) -> impl Iterator<Item = &'p Arc<Place>> {
    let is_gone = |place: &&Arc<Place>| !now.listeners.iter().any(|now| Arc::ptr_eq(&now.place, place));
    before.listeners.iter().map(|listening| &listening.place).filter(is_gone)
}

/// What is told of a change.
fn difference(before: &Plan, now: &Plan) -> Reloaded {
    let names = |plan: &Plan| plan.told_routes().map(|route| route.name().to_owned()).collect::<Vec<_>>();
    let listeners =
        |plan: &Plan| plan.listeners.iter().map(|listening| listening.name.clone()).collect::<Vec<_>>();
    let without = |names: Vec<String>, others: &[String]| -> Vec<String> {
        names.into_iter().filter(|name| !others.contains(name)).collect()
    };
    let is_changed = |prepared: &&Prepared| {
        let known = before.routes.iter().find(|known| known.told.name() == prepared.told.name());
        known.is_some_and(|known| known.told != prepared.told)
    };
    Reloaded {
        routes_added: without(names(now), &names(before)),
        routes_changed: now.routes.iter().filter(is_changed).map(|new| new.told.name().to_owned()).collect(),
        routes_removed: without(names(before), &names(now)),
        listeners_added: without(listeners(now), &listeners(before)),
        listeners_removed: without(listeners(before), &listeners(now)),
        needs_restart: now.fixed.changed(&before.fixed),
        warnings: now.warnings.clone(),
        sessions_ended: 0,
        connections_denied: 0,
    }
}
