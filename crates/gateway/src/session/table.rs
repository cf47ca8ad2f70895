//! The sessions that live, found by id, subject, token, route and client.
//!
//! Ordered sets, so that the sessions of one name lie together and by age, and memory comes back when they go. Decides
//! nothing; [`super::Sessions`] holds it under its lock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::kept::session_claim;
use super::live::{Live, SessionId};
use crate::principal::{ClientKey, Principal};

/// The age of a session among all of this server: each new one has the next number.
pub(super) type Serial = u64;

#[derive(Debug, Default)]
pub(super) struct Table {
    last: Serial,
    sessions: BTreeMap<Serial, Arc<Live>>,
    ids: BTreeMap<SessionId, Serial>,
    /// Subject and route.
    subjects: BTreeSet<(Arc<str>, Arc<str>, Serial)>,
    /// Token ids.
    tokens: BTreeSet<(Arc<str>, Serial)>,
    /// The `sid` of tokens, where they have one.
    providers: BTreeSet<(Arc<str>, Serial)>,
    routes: BTreeSet<(Arc<str>, Serial)>,
    clients: BTreeSet<(ClientKey, Serial)>,
}

/// Which sessions are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which<'a> {
    /// All of them.
    All,
    /// The one with this id.
    Id(SessionId),
    /// Those of a subject.
    Subject(&'a str),
    /// Those of a subject on one route.
    SubjectOn(&'a str, &'a str),
    /// Those that a token with this id began, or last refreshed.
    Token(&'a str),
    /// Those of tokens with this `sid`.
    Provider(&'a str),
    /// Those on a route.
    Route(&'a str),
    /// Those of one client.
    Client(ClientKey),
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The number of the session that is added next.
    pub(super) fn next_serial(&mut self) -> Serial {
        self.last += 1;
        self.last
    }

    pub(super) fn add(&mut self, live: Arc<Live>) {
        let (serial, principal) = (live.serial, live.principal());
        self.ids.insert(live.id, serial);
        self.subjects.insert((Arc::clone(&principal.subject), Arc::clone(&live.route), serial));
        self.routes.insert((Arc::clone(&live.route), serial));
        self.clients.insert((live.client.key(), serial));
        self.name(&principal, serial);
        self.sessions.insert(serial, live);
    }

    /// Takes a session out, if it is still in.
    pub(super) fn remove(&mut self, serial: Serial) -> Option<Arc<Live>> {
        let live = self.sessions.remove(&serial)?;
        let principal = live.principal();
        self.ids.remove(&live.id);
        self.subjects.remove(&(Arc::clone(&principal.subject), Arc::clone(&live.route), serial));
        self.routes.remove(&(Arc::clone(&live.route), serial));
        self.clients.remove(&(live.client.key(), serial));
        self.unname(&principal, serial);
        Some(live)
    }

    pub(super) fn contains(&self, serial: Serial) -> bool {
        self.sessions.contains_key(&serial)
    }

    /// Another token speaks for a session: it is found by that one from now on.
    pub(super) fn rename(&mut self, serial: Serial, before: &Principal, after: &Principal) {
        self.unname(before, serial);
        self.name(after, serial);
    }

    /// The sessions of `subject` on `route`, the oldest first.
    pub(super) fn of(&self, subject: &Arc<str>, route: &Arc<str>) -> impl Iterator<Item = Serial> {
        let from = |serial| (Arc::clone(subject), Arc::clone(route), serial);
        self.subjects.range(from(0)..=from(Serial::MAX)).map(|(_, _, serial)| *serial)
    }

    /// The sessions that are meant and are younger than `after`, the oldest first.
    pub(super) fn find(&self, which: Which<'_>, after: Serial) -> Box<dyn Iterator<Item = &Arc<Live>> + '_> {
        let from = after.saturating_add(1);
        match which {
            Which::All => Box::new(self.sessions.range(from..).map(|(_, live)| live)),
            Which::Id(id) => {
                Box::new(self.all(self.ids.get(&id).copied().filter(move |serial| *serial >= from)))
            }
            Which::Subject(subject) => {
                let name: Arc<str> = subject.into();
                let start = (Arc::clone(&name), Arc::from(""), 0);
                let subjects = self.subjects.range(start..).take_while(move |(subject, ..)| *subject == name);
                let younger = subjects.map(|(_, _, serial)| *serial).filter(|serial| *serial >= from);
                // They lie by route, and pages go by age.
                let mut serials: Vec<Serial> = younger.collect();
                serials.sort_unstable();
                Box::new(self.all(serials))
            }
            Which::SubjectOn(subject, route) => {
                let name = |serial| (Arc::from(subject), Arc::from(route), serial);
                let range = self.subjects.range(name(from)..=name(Serial::MAX));
                Box::new(self.all(range.map(|(_, _, serial)| *serial)))
            }
            Which::Token(id) => Box::new(self.all(named(&self.tokens, id, from))),
            Which::Provider(id) => Box::new(self.all(named(&self.providers, id, from))),
            Which::Route(route) => Box::new(self.all(named(&self.routes, route, from))),
            Which::Client(key) => {
                let clients = self.clients.range((key, from)..=(key, Serial::MAX));
                Box::new(self.all(clients.map(|(_, serial)| *serial)))
            }
        }
    }

    fn all(&self, serials: impl IntoIterator<Item = Serial>) -> impl Iterator<Item = &Arc<Live>> {
        serials.into_iter().filter_map(|serial| self.sessions.get(&serial))
    }

    fn name(&mut self, principal: &Principal, serial: Serial) {
        if let Some(token_id) = &principal.token_id {
            self.tokens.insert((Arc::clone(token_id), serial));
        }
        if let Some(claim) = session_claim(principal) {
            self.providers.insert((claim.into(), serial));
        }
    }

    fn unname(&mut self, principal: &Principal, serial: Serial) {
        if let Some(token_id) = &principal.token_id {
            self.tokens.remove(&(Arc::clone(token_id), serial));
        }
        if let Some(claim) = session_claim(principal) {
            self.providers.remove(&(claim.into(), serial));
        }
    }
}

fn named<'t>(
    names: &'t BTreeSet<(Arc<str>, Serial)>,
    name: &str,
    from: Serial,
) -> impl Iterator<Item = Serial> + use<'t> {
    let name: Arc<str> = name.into();
    let range = (Arc::clone(&name), from)..=(name, Serial::MAX);
    names.range(range).map(|(_, serial)| *serial)
}

#[cfg(test)]
impl Table {
    /// How many entries all its parts have together.
    pub(super) fn entries(&self) -> usize {
        let parts = [self.subjects.len(), self.tokens.len(), self.providers.len(), self.routes.len()];
        parts.iter().sum::<usize>() + self.sessions.len() + self.ids.len() + self.clients.len()
    }
}
