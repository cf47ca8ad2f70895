//! A socket to an application: its name resolved, connected, and encrypted where its address says so.
//!
//! A Unix socket is found by its path. Names are resolved anew for each connection, and the address that is found is the one that is connected to. Deadlines for the whole
//! are the caller's.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::{Config, DialError, Socket};
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

/// A socket to where `url` leads: its path, or the first of the host's addresses that takes one.
pub(super) async fn dial(url: &UpstreamUrl, connect_timeout: Duration) -> Result<Socket, DialError> {
    if let Some(path) = url.socket() {
        return connect_to_path(path).await.map(|stream| Socket::Unix(Box::new(stream)));
    }
    let own = url.own_addresses();
    let addresses: Vec<SocketAddr> = if own.is_empty() {
        let found = lookup_host((url.host(), url.port())).await.map_err(DialError::Unresolved)?;
        found.take(ADDRESSES_MAX).collect()
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
    let stream = tls.connector.connect(name, socket).await.map_err(DialError::Tls)?;
    Ok(Wire::Tls(Box::new(stream.into())))
}

/// Between two looks at whether there is room to wait at a Unix socket.
const BACKLOG_PAUSE: Duration = Duration::from_millis(10);
/// How many addresses of a host are tried.
const ADDRESSES_MAX: usize = 4;
