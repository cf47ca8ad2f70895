//! The admin listener: bound with the others, and given what it may tell of the gateway and do to it.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::reload::{ReloadError, Reloaded, Reloader};
use super::socket::listen;
use super::start::{BindError, StartError};
use super::{certificates, own_thread};
use crate::address_bans::AddressBans;
use crate::admin::{self, AdminState, Api, NotReloaded, Operations, TicketRoutes, Token};
use crate::connection::Gate;
use crate::control::Control;
use crate::observe::ReloadedBy;
use crate::upstream_drains::UpstreamDrains;

/// The admin listener, and what it is to serve.
#[derive(Debug)]
pub(super) struct Admin {
    pub(super) listener: TcpListener,
    pub(super) state: AdminState,
    face: AdminFace,
}

/// What of it follows the configuration.
#[derive(Clone, Debug)]
pub(super) struct AdminFace(Arc<Api>);

impl AdminFace {
    /// Lets in whoever shows one of `tokens` from now on; tickets are for `routes`.
    pub(super) fn follow(&self, tokens: &[Token], routes: TicketRoutes) {
        self.0.follow(tokens, routes);
    }
}

/// The same in the words of the API, which knows no server.
fn told(result: Result<Reloaded, ReloadError>) -> Result<Value, NotReloaded> {
    match result {
        Ok(reloaded) => Ok(json!({
            "routes_added": reloaded.routes_added,
            "routes_changed": reloaded.routes_changed,
            "routes_removed": reloaded.routes_removed,
            "listeners_added": reloaded.listeners_added,
            "listeners_removed": reloaded.listeners_removed,
            "needs_restart": reloaded.needs_restart,
            "warnings": reloaded.warnings,
            "sessions_ended": reloaded.sessions_ended,
            "connections_denied": reloaded.connections_denied,
        })),
        Err(ReloadError::NoSource) => Err(NotReloaded::NoFile),
        Err(ReloadError::Refused(problems)) => Err(NotReloaded::Refused(problems)),
        Err(ReloadError::Ending) => Err(NotReloaded::Ending),
    }
}

impl Admin {
    /// Binds the listener of `config`; `routes` are all routes' names, and whether they take tickets. `reloader` is for those who
    /// may have the configuration read again.
    pub(super) fn bind(
        config: admin::Config,
        gate: &Arc<Gate>,
        control: &Control,
        routes: TicketRoutes,
        reloader: Reloader,
    ) -> Result<Self, StartError> {
        let is_loopback = config.is_loopback();
        let admin::Config { address, tls, hosts, tokens } = config;
        if tls.is_none() && !is_loopback {
            return Err(StartError::AdminExposed(address));
        }
        let clock = &gate.facilities.clock;
        let encryption = tls
            .map(|tls| certificates::encryption(tls, TLS_TIMEOUT, &gate.observer, NAME, clock))
            .transpose()
            .map_err(StartError::Tls)?;
        let listener = listen(address)
            .map_err(|source| StartError::Bind(BindError { name: NAME.to_owned(), address, source }))?;
        let operations = Operations {
            control: control.clone(),
            address_bans: AddressBans::new(Arc::clone(gate), control.clone()),
            upstreams: UpstreamDrains::new(Arc::clone(gate)),
            tickets: Arc::clone(&gate.tickets),
            routes: Arc::new(RwLock::new(routes)),
            reload: Arc::new(move || {
                let reloader = reloader.clone();
                Box::pin(async move { told(reloader.reload(ReloadedBy::Operator).await) })
            }),
            observer: gate.observer.clone(),
            clock: clock.clone(),
            chance: gate.chance.clone(),
            runtime: Handle::current(),
        };
        let observer = gate.observer.clone();
        let gate = Arc::clone(gate);
        let api = Arc::new(Api::new(&tokens, operations));
        let unready = move || match () {
            () if gate.load.is_draining() => Some("draining"),
            () => gate.load.refuses().map(|_| "overloaded"),
        };
        let state = AdminState::new(move || observer.render(), unready)
            .with_api(Arc::clone(&api), hosts)
            .encrypted(encryption);
        Ok(Self { listener, state, face: AdminFace(api) })
    }

    pub(super) fn face(&self) -> AdminFace {
        self.face.clone()
    }

    /// Serves until it is `stopped`. Beside a runtime of several threads on one of its own: operators are answered also while clients
    /// keep all others busy.
    pub(super) async fn serve(self, stopped: watch::Receiver<bool>) {
        let Self { listener, state, .. } = self;
        let Ok(listener) = listener.into_std() else { return };
        // In a box, since it may have to be lived in either of two places.
        let serving = Box::pin(async move {
            if let Ok(listener) = TcpListener::from_std(listener) {
                serve(listener, state, stopped).await;
            }
        });
        own_thread::run("drawgate-admin", serving).await;
    }
}

async fn serve(listener: TcpListener, state: AdminState, mut stopped: watch::Receiver<bool>) {
    // Where the server was dropped there is nobody left to say it.
    let stopped = async move { drop(stopped.wait_for(|stopped| *stopped).await) };
    admin::serve(listener, state, stopped).await;
}

/// What records and metrics call it.
const NAME: &str = "admin";
/// As other listeners have it by default.
const TLS_TIMEOUT: Duration = Duration::from_secs(5);
