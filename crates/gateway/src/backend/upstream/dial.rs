//! A socket to an application: its name resolved, connected, and encrypted where its address says so.
//!
//! A Unix socket is found by its path. Names are resolved anew for each connection, which begins with another of their addresses than the
//! one before; an address that is found is the one that is connected to, and is asked for only once. Deadlines for the whole are the
//! caller's.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::pool::Seat;
use super::{Config, DialError, Resolver, Socket};
use crate::tls::{OwnCertificate, Trust, TrustError, Wire};
use crate::url::UpstreamUrl;

/// How `wss:` addresses are spoken to.
pub(super) struct Encryption {
    connector: TlsConnector,
    /// In the place of the address's host.
    server_name: Option<ServerName<'static>>,
}

impl Encryption {
    /// Reads the authorities; `own` is shown where it is asked for.
    pub(super) fn new(config: &Config, own: Option<Arc<OwnCertificate>>) -> Result<Self, TrustError> {
        let trust = config.ca_file.clone().map_or(Trust::System, Trust::File);
        let settings = match own {
            None => trust.client_settings()?,
            Some(own) => trust.client_settings_showing(own)?,
        };
        let name = config.server_name.as_ref();
        let name = name.map(|name| ServerName::try_from(name.clone()).map_err(|_| TrustError::NameRefused));
        Ok(Self { connector: TlsConnector::from(settings), server_name: name.transpose()? })
    }
}

/// A socket to where the address of `seat` leads: its path, or the first of the host's addresses that takes one, beginning with the one whose
/// `turn` it is.
pub(super) async fn dial(
    seat: &Seat,
    resolver: &Resolver,
    turn: usize,
    connect_timeout: Duration,
) -> Result<Socket, DialError> {
    let url = &seat.url;
    if let Some(path) = url.socket() {
        return Box::pin(connect_to_path(path)).await.map(|stream| Socket::Unix(Box::new(stream)));
    }
    let own = url.own_addresses();
    let addresses: Vec<SocketAddr> = if own.is_empty() {
        let found = Box::pin(resolver.resolve(&seat.asking, url.host(), url.port())).await;
        let found = found.map_err(DialError::Unresolved)?;
        in_turn(found, turn)
    } else {
        own.into_iter().map(|ip| SocketAddr::new(ip, url.port())).collect()
    };
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    // One that swallows what is sent to it must not cost the others their turn; a single one has all the time.
    let share = connect_timeout / u32::try_from(addresses.len().max(1)).unwrap_or(1);
    let count = addresses.len();
    for (index, address) in addresses.into_iter().enumerate() {
        let is_last = index + 1 == count;
        let connecting = TcpStream::connect(address);
        let connected = if is_last { Ok(connecting.await) } else { timeout(share, connecting).await };
        match connected {
            Ok(Ok(socket)) => {
                // Small frames must not wait for one another; a socket that cannot be told so still works.
                let _ = socket.set_nodelay(true);
                return Ok(Socket::Tcp(socket));
            }
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(match failure.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => DialError::Refused(failure),
        io::ErrorKind::TimedOut => DialError::ConnectTooSlow(connect_timeout),
        _ => DialError::Unreachable(failure),
    })
}

/// The addresses of a name that are tried, in their order. Those of the family that came first have their turns before the others: it is the
/// one that the system has found to be reachable (RFC 6724 §6). Within a family, the order they came in is the resolver's whim.
fn in_turn(found: Vec<SocketAddr>, turn: usize) -> Vec<SocketAddr> {
    let prefers_ipv4 = found.first().is_some_and(SocketAddr::is_ipv4);
    let (mut first, mut second): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|address| address.is_ipv4() == prefers_ipv4);
    for family in [&mut first, &mut second] {
        family.sort_unstable();
        family.dedup();
        if let Some(next) = turn.checked_rem(family.len()) {
            family.rotate_left(next);
        }
    }
    first.extend(second);
    first.truncate(ADDRESSES_MAX);
    first
}

/// A socket to `path`. Where as many wait there as may, the kernel says so at once instead of letting this wait: it is asked again until the
/// deadline, which is the caller's.
async fn connect_to_path(path: &str) -> Result<UnixStream, DialError> {
    loop {
        let failure = match UnixStream::connect(path).await {
            Ok(socket) => return Ok(socket),
            Err(failure) => failure,
        };
        match failure.kind() {
            io::ErrorKind::WouldBlock => sleep(BACKLOG_PAUSE).await,
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                return Err(DialError::Refused(failure));
            }
            _ => return Err(DialError::Unreachable(failure)),
        }
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, DialError> {
    ServerName::try_from(host.to_owned()).map_err(|error| DialError::Unresolved(io::Error::other(error)))
}

/// Encrypts `socket`, where the address is `wss:`. Whoever answers must show a certificate for the address's host, or for the one that is
/// configured.
pub(super) async fn encrypt(
    url: &UpstreamUrl,
    socket: Socket,
    tls: Option<&Encryption>,
) -> Result<Wire<Socket>, DialError> {
    let Some(tls) = tls.filter(|_| url.is_secure()) else { return Ok(Wire::Plain(socket)) };
    let name = match &tls.server_name {
        Some(name) => name.clone(),
        None => server_name(url.host())?,
    };
    // In a box: a connection without TLS has no room for it.
    let stream = Box::pin(tls.connector.connect(name, socket)).await.map_err(DialError::Tls)?;
    Ok(Wire::Tls(Box::new(stream.into())))
}

/// Between two looks at whether there is room to wait at a Unix socket.
const BACKLOG_PAUSE: Duration = Duration::from_millis(10);
/// How many addresses of a host are tried.
const ADDRESSES_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u08_every_address_of_a_name_has_its_turn_whatever_order_they_come_in() {
        let address = |last: u8| SocketAddr::from(([192, 0, 2, last], 80));
        let firsts: Vec<_> = (0..6)
            .map(|turn| {
                let found = if turn % 2 == 0 { [1, 2, 3] } else { [3, 1, 2] };
                in_turn(found.map(address).to_vec(), turn)[0]
            })
            .collect();
        assert_eq!(firsts, [1, 2, 3, 1, 2, 3].map(address));
        let many = |turn| in_turn((0..50).map(address).collect(), turn);
        assert_eq!(many(48), [48, 49, 0, 1].map(address), "so many are tried for one connection");
        let other = |last: u16| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], 80));
        assert_eq!(in_turn(vec![other(1), address(1), other(2)], 1), [other(2), other(1), address(1)]);
        assert_eq!(in_turn(vec![address(1), other(1), other(2)], 1), [address(1), other(2), other(1)]);
        assert_eq!(in_turn([7, 7, 7].map(address).to_vec(), 5), [address(7)]);
        assert_eq!(in_turn(Vec::new(), 5), []);
    }
}
