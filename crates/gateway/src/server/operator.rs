//! The admin listener: bound with the others, and given what it may tell of the gateway and do to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::certificates;
use super::socket::listen;
use super::start::{BindError, StartError};
use crate::address_bans::AddressBans;
use crate::admin::{self, AdminState, Api, Operations};
use crate::connection::Gate;
use crate::control::Control;

/// The admin listener, and what it is to serve.
#[derive(Debug)]
pub(super) struct Admin {
    pub(super) listener: TcpListener,
    pub(super) state: AdminState,
}

impl Admin {
    /// Binds the listener of `config`; `routes` are all routes' names, and whether they take tickets.
    pub(super) fn bind(
        config: admin::Config,
        gate: &Arc<Gate>,
        control: &Control,
        routes: Vec<(Arc<str>, bool)>,
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
            tickets: Arc::clone(&gate.tickets),
            routes: routes.into(),
            observer: gate.observer.clone(),
            clock: clock.clone(),
            chance: gate.chance.clone(),
        };
        let observer = gate.observer.clone();
        let draining = gate.draining.clone();
        let state = AdminState::new(move || observer.render(), move || !*draining.borrow())
            .with_api(Api::new(&tokens, operations), hosts)
            .encrypted(encryption);
        Ok(Self { listener, state })
    }

    pub(super) async fn serve(self, mut stopped: watch::Receiver<bool>) {
        admin::serve(self.listener, self.state, async move {
            let _ = stopped.wait_for(|stopped| *stopped).await;
        })
        .await;
    }
}

/// What records and metrics call it.
const NAME: &str = "admin";
/// As other listeners have it by default.
const TLS_TIMEOUT: Duration = Duration::from_secs(5);
