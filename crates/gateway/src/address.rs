//! Who the client is, where proxies stand in front: whose word counts, and which address it is that they name. Floor 2.
//!
//! Pure: bytes and addresses in, an address or a fault out. Reads PROXY headers ([`proxy`]) and the headers of requests
//! ([`forwarded`]); never a socket, and never an entry that nobody who is trusted has written. The connection asks it before
//! the TLS handshake and after the request head; what it finds is the [`ClientAddr`] that limits count by and records show.

pub mod forwarded;
pub mod proxy;

use crate::network::Network;
use crate::principal::ClientAddr;

pub use proxy::ProxyProtocol;

/// What `[firewall]` says of proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The proxies whose word about their clients counts. Whoever can connect from one of these addresses can be anybody.
    pub trusted_proxies: Vec<Network>,
    /// The header of requests in which they name clients.
    pub client_address_header: ClientAddressHeader,
}

impl Config {
    /// Whether `address` is that of a trusted proxy.
    #[must_use]
    pub fn trusts(&self, address: ClientAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address.ip()))
    }

    /// Whether requests from `address` name their clients in a header.
    #[must_use]
    pub fn reads_header_of(&self, address: ClientAddr) -> bool {
        self.client_address_header != ClientAddressHeader::None && self.trusts(address)
    }
}

/// In which header trusted proxies name their clients. The others are never looked at: a proxy passes on whatever clients write
/// into those that it does not set itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAddressHeader {
    /// In none.
    #[default]
    None,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`, with `X-Forwarded-Proto` beside it.
    XForwardedFor,
}
