//! Health, readiness and metrics, on a listener of their own.

use std::net::SocketAddr;

/// The `[admin]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where to listen; loopback only, until TLS can be required of others.
    pub address: SocketAddr,
}
