//! Why a server could not start, and what to do about it.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::session::KeepError;
use crate::state::StateError;
use crate::{auth, tls};

/// Why a server could not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No listener, or no route.
    #[error("there is no listener or no route: add at least one of each")]
    Empty,
    /// A listener could not be bound.
    #[error("{0}")]
    Bind(#[source] BindError),
    /// A socket was given for a listener that there is not, or that has one already.
    #[error(
        "a socket was given for the listener {0}, which there is not, or which has one already: give each listener one"
    )]
    SocketUnwanted(String),
    /// The error file cannot be written.
    #[error("the error file {path} cannot be opened: make its folder, or name another in log.error_file")]
    ErrorFile {
        /// The path of the file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The audit log cannot be kept.
    #[error("the audit log cannot be kept: {0}")]
    Audit(#[source] io::Error),
    /// A listener's certificate, its key or its client authorities cannot be used.
    #[error("{0}")]
    Tls(#[source] tls::FileError),
    /// The admin listener would be open to other machines without TLS.
    #[error(
        "the admin listener's address {0} is beyond loopback, where TLS is required: give it certificates, or a loopback \
         address"
    )]
    AdminExposed(SocketAddr),
    /// What outlives the process cannot be read or written.
    #[error("{0}")]
    State(#[source] StateError),
    /// More is on disk than can be in force.
    #[error("what is in state.directory cannot be in force: keep less for good")]
    Kept(#[source] KeepError),
    /// A route's authentication cannot work.
    #[error("a route's authentication cannot work")]
    Auth(#[source] auth::ConfigError),
    /// Nobody's certificate can be believed, and a route's applications show one; or there is none to show them.
    #[error("a route's applications cannot be spoken to: {0}")]
    Upstream(String),
    /// The system has no randomness to give.
    #[error("the system gives no randomness: {0}")]
    Randomness(String),
}

/// A listener that could not be bound.
#[derive(Debug)]
pub struct BindError {
    /// The listener's name.
    pub name: String,
    /// Where it was to listen.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

impl BindError {
    /// The address, or its whole family, does not exist on this machine.
    pub(super) fn is_address_missing(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrNotAvailable
            || self.source.kind() == io::ErrorKind::Unsupported
            || self.source.raw_os_error() == Some(ADDRESS_FAMILY_NOT_SUPPORTED)
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, address, source } = self;
        write!(f, "listener {name} cannot listen on {address}: {source}")?;
        match source.kind() {
            io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "; another program has it: stop that one (ss -ltnp shows it), or choose another port"
                )
            }
            io::ErrorKind::PermissionDenied => {
                write!(
                    f,
                    "; ports below 1024 need a privilege: choose another, or grant CAP_NET_BIND_SERVICE"
                )
            }
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "; this machine has no such address: choose one that it has")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Linux: `EAFNOSUPPORT`, for which the standard library has no kind.
const ADDRESS_FAMILY_NOT_SUPPORTED: i32 = 97;
