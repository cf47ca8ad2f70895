//! Binds, accepts and drains: the whole gateway as one value.
//!
//! Comes after the configuration, or after the builder of a program that uses the library; each socket that it accepts
//! becomes a task that lives one connection. It decides nothing about connections but whether there is room for them.

mod accept;
mod builder;
mod certificates;
mod checks;
mod draft;
mod force;
mod keys;
mod operator;
mod overload;
mod own_thread;
mod reload;
mod route;
mod socket;
mod start;
mod upkeep;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout_at};

use crate::clock::Instant;
use crate::config::Config;
use crate::connection::{self, Arrival, Gate, NoRoom};
use crate::control::Control;
use crate::firewall::Admission;
use crate::observe::Observer;
use crate::principal::{ClientAddr, PeerAddr};
use crate::pulse::Signal;
use crate::reason::Reason;
use crate::session::Sessions;

use draft::{Draft, Place};
use force::Force;
use reload::Requests;

pub use crate::address_bans::{AddressBanError, AddressBans};
pub use crate::upstream_drains::UpstreamDrains;
pub use builder::Builder;
pub use keys::{KeysNotFetched, fetch_keys};
use operator::Admin;
pub use reload::{ReloadError, ReloadSource, Reloaded, Reloader};
pub use route::{Access, Route};
pub use start::{BindError, StartError};

/// A gateway that is bound and not yet running.
#[derive(Debug)]
pub struct Server {
    gate: Arc<Gate>,
    control: Control,
    draft: Draft,
    admin: Option<Admin>,
    gauge: Option<Box<overload::Gauge>>,
    requests: Requests,
}

/// A listener without its socket: takes connections from wherever they come, through all the same stages. Where another
/// configuration has no such listener any more, it goes on as it was.
#[derive(Clone, Debug)]
pub struct Entry {
    gate: Arc<Gate>,
    place: Arc<Place>,
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
        // Where somebody else speaks for the client, it is not known yet whom to count.
        let door = self.place.door();
        let is_known = door.proxy_protocol.is_none() && !door.addresses.reads_header_of(client);
        let admission = self.admit(is_known.then_some(client), accepted_at);
        let arrival = Arrival { socket, client, accepted_at, admission };
        connection::serve(self.gate, door, arrival)
    }
}

impl Entry {
    fn admit(&self, client: Option<ClientAddr>, now: Instant) -> Result<Option<Admission>, NoRoom> {
        if let Some(cause) = self.gate.load.refuses() {
            self.gate.observer.turned_away(cause);
            return Err(NoRoom { reason: Reason::Overloaded, limit: None });
        }
        let full = |_| {
            let limit = u64::try_from(self.gate.places_max).unwrap_or(u64::MAX);
            NoRoom { reason: Reason::ServerFull, limit: Some(limit) }
        };
        let place = self.gate.places.try_acquire().map_err(full)?;
        let admission = client.map(|client| self.gate.firewall.admit(client, now)).transpose()?;
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
        Builder::from_config(config)
    }

    /// The listeners' names and the addresses that they are bound to, in their order.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        let listeners = self.draft.plan.listeners.iter();
        listeners.map(|listening| (listening.name.as_str(), listening.address))
    }

    /// The address of the first listener.
    ///
    /// # Panics
    /// Never: a server without a listener cannot be built.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.draft.plan.listeners.first().expect("a server has a listener").address
    }

    /// The address of the admin listener, if there is one.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|admin| admin.listener.local_addr().ok())
    }

    /// The listeners that need not be there and are not, each with what is in the way.
    pub fn skipped(&self) -> impl Iterator<Item = &BindError> {
        self.draft.skipped.iter()
    }

    /// A way in for sockets that somebody else has accepted, as if they had come to `listener`; `None` where there is no
    /// such listener. It serves while [`Server::run`] runs.
    #[must_use]
    pub fn entry(&self, listener: &str) -> Option<Entry> {
        let listening = self.draft.plan.listeners.iter().find(|listening| listening.name == listener)?;
        Some(Entry { gate: Arc::clone(&self.gate), place: Arc::clone(&listening.place) })
    }

    /// What logs and counts; for those who want its metrics without an admin listener.
    #[must_use]
    pub fn observer(&self) -> Observer {
        self.gate.observer.clone()
    }

    /// The sessions of its clients: to list and end them. What it revokes itself is forgotten with the process;
    /// [`Self::control`] keeps it.
    #[must_use]
    pub fn sessions(&self) -> Arc<Sessions> {
        Arc::clone(&self.gate.sessions)
    }

    /// Keeps tokens and subjects out, and lets them in again, in a way that outlives the process where there is a state.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// The bans of addresses: to list and lift them, and to keep networks out.
    #[must_use]
    pub fn firewall(&self) -> AddressBans {
        AddressBans::new(Arc::clone(&self.gate), self.control.clone())
    }

    /// The applications behind it: to drain them, and to take that back.
    #[must_use]
    pub fn upstreams(&self) -> UpstreamDrains {
        UpstreamDrains::new(Arc::clone(&self.gate))
    }

    /// Puts other routes and listeners in the place of these while it runs.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        self.requests.reloader()
    }

    /// Serves until `shutdown` is ready, then drains: says so at `/readyz`, accepts no more, lets each connection finish what has
    /// come, closes it with 1012, and cuts what is left when the drain's time is up. Dropping the future cuts all at once.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Drained {
        let Self { gate, control, draft, admin, gauge, mut requests } = self;
        let _cut = CutOnDrop(Arc::clone(&gate));
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let facilities = Arc::clone(&gate.facilities);
            async move {
                facilities.timers.run(|pulse| pulse.signal(Signal::Timer)).await;
            }
        });
        tasks.spawn(upkeep::shed_load(Arc::clone(&gate)));
        if let Some(gauge) = gauge {
            tasks.spawn(overload::watch(Arc::clone(&gate), *gauge));
        }
        tasks.spawn(upkeep::report_suppressed(gate.observer.clone()));
        tasks.spawn(upkeep::forget_in_memory(Arc::clone(&gate), control.clone()));
        tasks.spawn(upkeep::forget_on_disk(control));
        if let Some(encryption) = admin.as_ref().and_then(|admin| admin.state.encryption()) {
            tasks.spawn(certificates::keep(encryption.clone(), gate.facilities.clock.clone()));
        }
        let (stop_admin, stopped) = watch::channel(false);
        let mut admin_tasks = JoinSet::new();
        let admin_face = admin.as_ref().map(Admin::face);
        if let Some(admin) = admin {
            admin_tasks.spawn(admin.serve(stopped));
        }
        let mut force = Force::begin(&gate, draft, admin_face);
        requests.watch(&force, &mut tasks);

        tokio::select! {
            biased;
            () = shutdown => {}
            () = requests.serve(&gate, &mut force) => {}
        }
        // Whoever asks for another configuration from now on hears that there will be none.
        drop(requests);
        // First, so that nobody is sent here any more who would find nobody to accept.
        gate.load.drain();
        force.close().await;
        let drained = drain(&gate, force.plan().drain_timeout).await;
        gate.observer.report_suppressed();
        stop_admin.send_replace(true);
        let _ = tokio::time::timeout(ADMIN_STOP_TIME_MAX, admin_tasks.join_next()).await;
        force.stop().await;
        let _ = tokio::time::timeout(STATE_CLOSE_TIME_MAX, gate.observer.end_audit()).await;
        // Whoever starts the next server finds the directory of the state given back.
        let _ = tokio::time::timeout(STATE_CLOSE_TIME_MAX, tasks.shutdown()).await;
        drained
    }
}

/// Tells each connection to finish, spread over the jitter so that not all clients come back at once; then cuts the rest.
async fn drain(gate: &Gate, drain_timeout: Duration) -> Drained {
    let now = gate.facilities.clock.now();
    let until = now + drain_timeout;
    let begun_at = now + SETTLE_TIME.min(drain_timeout / 2);
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

struct CutOnDrop(Arc<Gate>);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        for pulse in self.0.live.pulses() {
            pulse.signal(Signal::Abort);
        }
    }
}

/// Before the first goodbye. A timer goes off behind one look at what the kernel has to tell: without it a connection may not
/// have heard of a message that has come, and leave it behind its Close. Seen once, under load, and not brought about since.
const SETTLE_TIME: Duration = Duration::from_millis(2);
/// The longest time over which a drain's goodbyes are spread, and the share of each connection in it.
const DRAIN_JITTER_MAX: Duration = Duration::from_secs(3);
const DRAIN_JITTER_EACH: Duration = Duration::from_millis(2);
/// How long connections that are cut may take to be gone.
const CUT_TIME_MAX: Duration = Duration::from_secs(1);
const ADMIN_STOP_TIME_MAX: Duration = Duration::from_millis(500);
/// How long the state may take for its last writes; a disk that hangs must not hold up the end.
const STATE_CLOSE_TIME_MAX: Duration = Duration::from_secs(2);
