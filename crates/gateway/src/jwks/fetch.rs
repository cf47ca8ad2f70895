//! One `GET`, bounded in every direction: time, bytes, hops.
//!
//! HTTP/1.1 by hyper over a connection of its own, which is closed with it. Whoever answers `https:` shows a certificate
//! for that host; `http:` reaches loopback alone, which [`Url`] has seen to. Never follows a redirect, never asks a proxy,
//! never sends or keeps a cookie, and never believes what an answer says of its own length. Decides nothing about what
//! comes: `source.rs` and `discovery.rs` come after it.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::tls::{Trust, TrustError};
use crate::url::Url;

/// How much an answer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// For everything, from the name to the last byte.
    pub(crate) deadline: Duration,
    /// Of the body.
    pub(crate) body_bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { deadline: DEADLINE, body_bytes_max: BODY_BYTES_MAX }
    }
}

/// Why there is no answer that could be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("it took longer than {} ms", .0.as_millis())]
    TooSlow(Duration),
    #[error("the host's address cannot be found")]
    Unresolved(#[source] io::Error),
    #[error("nothing answers there")]
    Unreachable(#[source] io::Error),
    #[error("nobody's certificate can be believed")]
    Trust(#[source] TrustError),
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    #[error("the answer is not proper HTTP/1.1, or was cut off")]
    Http(#[source] hyper::Error),
    #[error(
        "the answer is a redirect (status {0}), which is never followed: name the address that it leads to"
    )]
    Redirect(u16),
    #[error("the answer has the status {0} instead of 200")]
    Status(u16),
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

/// The body of what `url` answers.
pub(crate) async fn get(url: &Url, trust: &Trust, bounds: Bounds) -> Result<Vec<u8>, FetchError> {
    let asked = Box::pin(ask(url, trust, bounds.body_bytes_max));
    timeout(bounds.deadline, asked).await.unwrap_or(Err(FetchError::TooSlow(bounds.deadline)))
}

async fn ask(url: &Url, trust: &Trust, body_bytes_max: usize) -> Result<Vec<u8>, FetchError> {
    if !url.is_secure() {
        return exchange(url, connect(url).await?, body_bytes_max).await;
    }
    let name = ServerName::try_from(url.host().to_owned())
        .map_err(|error| FetchError::Unresolved(io::Error::other(error)))?;
    let connector = connector(trust).await?;
    let socket = connect(url).await?;
    let socket = connector.connect(name, socket).await.map_err(FetchError::Tls)?;
    Box::pin(exchange(url, socket, body_bytes_max)).await
}

async fn connector(trust: &Trust) -> Result<TlsConnector, FetchError> {
    let trust = trust.clone();
    let settings = spawn_blocking(move || trust.client_settings()).await;
    let settings = settings.unwrap_or(Err(TrustError::SystemHasNone)).map_err(FetchError::Trust)?;
    Ok(TlsConnector::from(settings))
}

/// A socket to the first of the host's addresses that takes one.
async fn connect(url: &Url) -> Result<TcpStream, FetchError> {
    let mut addresses: Vec<SocketAddr> =
        url.own_addresses().into_iter().map(|ip| SocketAddr::new(ip, url.port())).collect();
    if addresses.is_empty() {
        let found = lookup_host((url.host(), url.port())).await.map_err(FetchError::Unresolved)?;
        addresses.extend(found.take(ADDRESSES_MAX));
    }
    let mut unreachable = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        // One that swallows what is sent to it must not cost the others their turn.
        match timeout(CONNECT_TIME_MAX, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => unreachable = error,
            Err(_) => unreachable = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(FetchError::Unreachable(unreachable))
}

/// Request and answer over `socket`, which is closed at the end.
async fn exchange<S>(url: &Url, socket: S, body_bytes_max: usize) -> Result<Vec<u8>, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .handshake(TokioIo::new(socket))
        .await
        .map_err(FetchError::Http)?;
    let request = Request::get(url.target())
        .header(HOST, url.authority())
        .header(USER_AGENT, "drawgate")
        .header(ACCEPT, "application/json")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .expect("what a URL is made of fits a request");
    let exchanged = async {
        let response = sender.send_request(request).await.map_err(FetchError::Http)?;
        read(response, body_bytes_max).await
    };
    // What happens to the connection is told by what comes of the exchange.
    let carried = async {
        let _ = connection.await;
        pending().await
    };
    tokio::select! {
        biased;
        body = exchanged => body,
        never = carried => never,
    }
}

/// The body, unless it is none of ours. What is too long is seen before it is kept.
async fn read(response: Response<Incoming>, bytes_max: usize) -> Result<Vec<u8>, FetchError> {
    let status = response.status();
    if status.is_redirection() {
        return Err(FetchError::Redirect(status.as_u16()));
    }
    if status != StatusCode::OK {
        return Err(FetchError::Status(status.as_u16()));
    }
    let mut incoming = response.into_body();
    if hyper::body::Body::size_hint(&incoming).lower() > bytes_max as u64 {
        return Err(FetchError::TooLong(bytes_max));
    }
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        // Trailers (RFC 9110 §6.5) are nobody's.
        let Ok(data) = frame.map_err(FetchError::Http)?.into_data() else { continue };
        if data.len() > bytes_max - body.len() {
            return Err(FetchError::TooLong(bytes_max));
        }
        body.extend_from_slice(&data);
    }
    Ok(body)
}

/// For everything: whoever waits for a key waits no longer than this.
const DEADLINE: Duration = Duration::from_secs(3);
/// A third of that: the most for a TCP handshake with one of several addresses.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(1);
/// How many addresses of a host are tried.
const ADDRESSES_MAX: usize = 4;
/// Of a body: 32 RSA keys of 4096 bits with their certificates need 50 KiB at most.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;
/// Of an answer's head, and the most that is read at a time.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How many header lines an answer may have.
const HEADERS_MAX: usize = 64;
