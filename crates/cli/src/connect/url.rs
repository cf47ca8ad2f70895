//! The address to connect to: `ws://HOST[:PORT][/PATH][?QUERY]` (RFC 6455 §3).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use drawgate_protocol::handshake::Host;

/// A `ws:` or `wss:` address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// Whether it is `wss:` or `https:`.
    pub(super) is_secure: bool,
    /// Whether it is written as `http:` or `https:`, which is the same place.
    pub(super) is_http: bool,
    /// As in `Host`: the port is left out where it is the scheme's own.
    pub(super) authority: String,
    /// The host alone, without an IPv6 address's brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query.
    pub(super) target: String,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (is_secure, is_http, rest) = match text.split_once("://") {
            Some((scheme @ ("ws" | "http"), rest)) => (false, scheme == "http", rest),
            Some((scheme @ ("wss" | "https"), rest)) => (true, scheme == "https", rest),
            Some((scheme, _)) => return Err(format!("{scheme}:// is not a WebSocket: write ws://HOST:PORT")),
            None => return Err("write it as ws://HOST:PORT, or wss:// for TLS".to_owned()),
        };
        if rest.contains('#') {
            return Err(
                "a WebSocket address has no fragment (RFC 6455 §3): leave out # and what follows".to_owned()
            );
        }
        let (authority, target) = match rest.find(['/', '?']) {
            None => (rest, "/".to_owned()),
            Some(at) if rest[at..].starts_with('?') => (&rest[..at], format!("/{}", &rest[at..])),
            Some(at) => (&rest[..at], rest[at..].to_owned()),
        };
        let host = Host::parse(authority).ok_or("that is no host: write it as ws://HOST:PORT")?;
        let name = host.name();
        let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let default_port = if is_secure { SECURE_PORT } else { PLAIN_PORT };
        let port = host.port().unwrap_or(default_port);
        let authority = if port == default_port { host.name() } else { authority };
        Ok(Self { is_secure, is_http, authority: authority.to_owned(), host: name.to_owned(), port, target })
    }
}

impl Url {
    /// Whether nobody on a network reads what is sent there: it is encrypted, or leads to this machine.
    pub(crate) fn is_private(&self) -> bool {
        self.is_secure || self.host.eq_ignore_ascii_case("localhost") || self.is_loopback()
    }

    /// Whether it leads to this machine by an address.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    }

    /// As in `Host`.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A query may hold a credential.
        let path = self.target.split('?').next().unwrap_or_default();
        let scheme = match (self.is_http, self.is_secure) {
            (false, true) => "wss",
            (false, false) => "ws",
            (true, true) => "https",
            (true, false) => "http",
        };
        write!(f, "{scheme}://{}{path}", self.authority)
    }
}

const PLAIN_PORT: u16 = 80;
const SECURE_PORT: u16 = 443;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (text, authority, host, port, target) in [
            ("ws://localhost", "localhost", "localhost", 80, "/"),
            ("ws://localhost:80/a", "localhost", "localhost", 80, "/a"),
            ("ws://127.0.0.1:8765", "127.0.0.1:8765", "127.0.0.1", 8765, "/"),
            ("ws://[::1]:8765/chat?x=1", "[::1]:8765", "::1", 8765, "/chat?x=1"),
            ("ws://a?x", "a", "a", 80, "/?x"),
            ("ws://a:443", "a:443", "a", 443, "/"),
            ("wss://a", "a", "a", 443, "/"),
            ("wss://a:443/b", "a", "a", 443, "/b"),
            ("wss://a:80", "a:80", "a", 80, "/"),
        ] {
            let url: Url = text.parse().unwrap();
            let is_secure = text.starts_with("wss");
            let expected = Url {
                is_secure,
                is_http: false,
                authority: authority.into(),
                host: host.into(),
                port,
                target: target.into(),
            };
            assert_eq!(url, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_says_what_to_write() {
        for text in ["localhost:8765", "ftp://a", "wss://", "ws://", "ws://a:0", "ws://a#b", "ws://a b/"] {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_query_is_not_shown() {
        assert_eq!("ws://a:1/b?token=secret".parse::<Url>().unwrap().to_string(), "ws://a:1/b");
        assert_eq!("wss://a:1/b?token=secret".parse::<Url>().unwrap().to_string(), "wss://a:1/b");
        for text in ["http://a:1/b", "https://a:1/b"] {
            assert_eq!(text.parse::<Url>().unwrap().to_string(), text);
        }
    }
}
