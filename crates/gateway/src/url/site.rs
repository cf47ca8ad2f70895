//! The part of an address that says which machine and port: the same for whatever is asked there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use drawgate_protocol::handshake::Host;

/// A host and a port, and whether they are spoken to within TLS.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Site {
    pub(super) is_secure: bool,
    /// As in `Host`: the port is left out where it is the scheme's own.
    pub(super) authority: String,
    /// The host alone, in lower case, without an IPv6 address's brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// Why a text is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SiteError {
    /// There is a name or a password in it.
    HasUserInfo,
    /// What should be a host is none.
    HostRefused,
}

impl Site {
    /// Reads what stands between `//` and the path.
    pub(super) fn read(is_secure: bool, authority: &str) -> Result<Self, SiteError> {
        if authority.contains('@') {
            return Err(SiteError::HasUserInfo);
        }
        let authority = authority.to_ascii_lowercase();
        let host = Host::parse(&authority).ok_or(SiteError::HostRefused)?;
        let name = host.name();
        let default_port = if is_secure { SECURE_PORT } else { PLAIN_PORT };
        let port = host.port().unwrap_or(default_port);
        Ok(Self {
            is_secure,
            host: name.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            authority: if port == default_port { name.to_owned() } else { authority.clone() },
        })
    }

    /// Where it is without asking a resolver: the address that it names, and both loopback ones for `localhost`
    /// (RFC 6761 §6.3). Empty for other names.
    pub(super) fn own_addresses(&self) -> Vec<IpAddr> {
        if self.host == LOCALHOST {
            return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        }
        self.host.parse().into_iter().collect()
    }
}

const LOCALHOST: &str = "localhost";
const PLAIN_PORT: u16 = 80;
const SECURE_PORT: u16 = 443;
