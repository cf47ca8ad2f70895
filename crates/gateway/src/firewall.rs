//! Admits a peer, or not: caps and rates by client. Decides only; `now` is an argument.

/// The `[firewall]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The most connections that one client (IPv4 address, IPv6 /64) may have; `None` is unlimited.
    pub connections_per_client_max: Option<u32>,
    /// The handshakes that one client may begin in a minute, a tenth of them in one burst; `None` is unlimited.
    pub handshakes_per_client_per_minute: Option<u32>,
}
