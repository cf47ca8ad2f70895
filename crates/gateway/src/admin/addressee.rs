//! Whether a request means this listener: what its Host and its target name, and whether another site's page sends it.
//!
//! A page that a browser loaded from elsewhere reaches loopback too, by a name that was made to resolve to it (DNS
//! rebinding) or as another origin, and gets nothing. Pure. Comes before everything else that is asked of a request.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use drawgate_protocol::handshake::Host;
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode, Uri};

use super::answer::Refused;
use crate::principal::ClientAddr;
use crate::route::canonical_host;

/// Where a request has come in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival<'a> {
    /// Who has connected.
    pub(super) client: ClientAddr,
    /// The address that the connection was accepted at.
    pub(super) own_addr: SocketAddr,
    pub(super) is_encrypted: bool,
    /// The names that the listener answers to beside its address, as [`canonical_host`] has them.
    pub(super) hosts: &'a [String],
}

/// By what the listener was addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addressee {
    /// Its own address, or a usual name of it.
    Own,
    /// A name that the operator has listed, as whoever forwards requests does.
    Listed,
}

impl Arrival<'_> {
    /// By what the request means this listener, if it does, and comes from no page of another origin.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<Addressee, Refused> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        // RFC 9112 §3.2: a request without Host, or with more than one, is answered with 400.
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Refused::new(StatusCode::BAD_REQUEST, "The request must have one Host header."));
        };
        let addressee = host.to_str().ok().and_then(|host| self.addressee(host));
        let Some(addressee) = addressee.filter(|_| self.is_own_target(request.uri())) else {
            return Err(Refused::new(
                StatusCode::MISDIRECTED_REQUEST,
                "This listener answers only to its own address, and to the names in admin.hosts.",
            ));
        };
        let is_own_origin = |origin: &HeaderValue| {
            let prefix = format!("{}://", self.scheme());
            let origin = origin.as_bytes().strip_prefix(prefix.as_bytes());
            origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host.as_bytes()))
        };
        if !request.headers().get_all(header::ORIGIN).iter().all(is_own_origin) {
            return Err(Refused::new(StatusCode::FORBIDDEN, "Pages of other origins may not read this."));
        }
        Ok(addressee)
    }

    /// RFC 9112 §3.2.2: a target in absolute form takes the place of Host, so it must name us as well.
    fn is_own_target(&self, target: &Uri) -> bool {
        let is_own_scheme = target.scheme_str().is_none_or(|scheme| scheme == self.scheme());
        is_own_scheme && target.authority().is_none_or(|host| self.addressee(host.as_str()).is_some())
    }

    /// Whether and how `host` names the listener: by its address and port, on loopback by any usual name of loopback and
    /// the port, or by a name that is listed. That one is taken with any port: who forwards requests may have another.
    fn addressee(&self, host: &str) -> Option<Addressee> {
        let host = Host::parse(host)?;
        let name = canonical_host(host.name())?;
        if self.is_own_name(&name) && host.port().unwrap_or(self.default_port()) == self.own_addr.port() {
            return Some(Addressee::Own);
        }
        self.hosts.contains(&name).then_some(Addressee::Listed)
    }

    fn is_own_name(&self, name: &str) -> bool {
        let own_ip = self.own_addr.ip().to_canonical();
        let is_loopback = own_ip.is_loopback();
        match parse_ip(name) {
            Some(ip) => {
                ip == own_ip || is_loopback && (ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST)
            }
            None => is_loopback && name == "localhost",
        }
    }

    const fn scheme(&self) -> &'static str {
        if self.is_encrypted { "https" } else { "http" }
    }

    /// The port that a Host without one means (RFC 9110 §4.2).
    const fn default_port(&self) -> u16 {
        if self.is_encrypted { 443 } else { 80 }
    }
}

/// The address that a URI's host writes out (RFC 3986 §3.2.2), if it is one.
fn parse_ip(name: &str) -> Option<IpAddr> {
    match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse().map(IpAddr::V6).ok(),
        None => name.parse().map(IpAddr::V4).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(own_addr: SocketAddr, is_encrypted: bool, hosts: &[String]) -> Arrival<'_> {
        let client = ClientAddr::new(Ipv4Addr::LOCALHOST.into());
        Arrival { client, own_addr, is_encrypted, hosts }
    }

    #[test]
    fn the_default_port_need_not_be_written_and_beyond_loopback_only_the_address_counts() {
        let own = |addr: &str, host: &str| {
            let own_addr = addr.parse().unwrap();
            arrival(own_addr, false, &[]).addressee(host) == Some(Addressee::Own)
        };
        assert!(own("127.0.0.1:80", "localhost") && own("[::1]:80", "[::1]") && own("[::1]:80", "[::1]:80"));
        assert!(own("[::ffff:127.0.0.1]:9090", "127.0.0.1:9090"));
        assert!(own("192.0.2.1:9090", "192.0.2.1:9090"));
        assert!(!own("192.0.2.1:9090", "localhost:9090") && !own("192.0.2.1:9090", "127.0.0.1:9090"));
        let own_addr = "192.0.2.1:443".parse().unwrap();
        let secure = arrival(own_addr, true, &[]);
        assert_eq!(secure.addressee("192.0.2.1"), Some(Addressee::Own));
        assert_eq!(secure.addressee("192.0.2.1:80"), None);
    }

    #[test]
    fn listed_names_are_taken_with_any_port_and_in_any_case() {
        let hosts = ["admin.example.com".to_owned()];
        let own_addr = "127.0.0.1:9090".parse().unwrap();
        let arrival = arrival(own_addr, false, &hosts);
        for host in ["admin.example.com", "Admin.Example.com:9443", "admin.example.com:9090"] {
            assert_eq!(arrival.addressee(host), Some(Addressee::Listed), "{host}");
        }
        for host in ["example.com", "admin.example.com.", "x.admin.example.com", "admin.example.com:x"] {
            assert_eq!(arrival.addressee(host), None, "{host}");
        }
    }
}
