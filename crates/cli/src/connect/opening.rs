//! How a connection begins: TCP, TLS, the request, and what the server's answer means.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use drawgate::chance::Chance;
use drawgate_protocol::deflate::Agreement;
use drawgate_protocol::handshake::{ClientRequest, HeadLimits, HeadScanner, Header, ResponseRefusal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::tls::{self, Socket};
use super::url::Url;
use crate::Failure;
use crate::token::shown;

/// What is asked for beside the address.
pub(super) struct Offer<'a> {
    pub(super) origin: Option<&'a str>,
    pub(super) subprotocols: &'a [String],
    pub(super) headers: &'a [HeaderLine],
    /// Whether messages may be compressed.
    pub(super) compression: bool,
    /// Whose certificates are trusted, where that is not the system's to say.
    pub(super) authority: Option<&'a Path>,
}

/// A line of the request, written as `NAME: VALUE`.
#[derive(Clone)]
pub(super) struct HeaderLine {
    pub(super) name: String,
    pub(super) value: String,
}

impl FromStr for HeaderLine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once(':').ok_or("write it as \"NAME: VALUE\"")?;
        Ok(Self { name: name.trim().to_owned(), value: value.trim().to_owned() })
    }
}

impl std::fmt::Debug for HeaderLine {
    /// Prints no value, which may be a credential.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeaderLine").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A connection that the server has accepted.
pub(super) struct Opened {
    pub(super) socket: Socket,
    pub(super) subprotocol: Option<String>,
    /// How messages are compressed, if they may be.
    pub(super) agreement: Option<Agreement>,
    /// What came behind the answer.
    pub(super) unread: Vec<u8>,
}

/// Connects and upgrades.
pub(super) async fn open(url: &Url, offer: &Offer<'_>, chance: &Chance) -> Result<Opened, Failure> {
    let mut socket = reach(url, None, offer.authority).await?;
    let subprotocols: Vec<&str> = offer.subprotocols.iter().map(String::as_str).collect();
    let lines: Vec<Header<'_>> = offer.headers.iter().map(HeaderLine::as_header).collect();
    let extensions = offer.compression.then(|| Agreement::FULL.offer());
    let request = ClientRequest {
        host: &url.authority,
        target: &url.target,
        origin: offer.origin,
        protocols: &subprotocols,
        extensions: extensions.as_deref(),
        headers: &lines,
        nonce: chance.bytes(),
    };
    let mut head = Vec::new();
    request.write(&mut head).map_err(|error| Failure(format!("the request cannot be sent: {error}")))?;
    socket.write_all(&head).await.map_err(|error| lost(&error))?;
    socket.flush().await.map_err(|error| lost(&error))?;
    let (mut response, head_bytes) = timeout(ANSWER_TIME_MAX, read_head(&mut socket))
        .await
        .map_err(|_| Failure(format!("{url} does not answer the request")))??;
    let accepted = match request.verify(&response[..head_bytes], &HeadLimits::default()) {
        Ok(accepted) => accepted,
        Err(refusal) => return Err(refused(refusal, &mut socket, response.split_off(head_bytes)).await),
    };
    let agreement = Agreement::FULL.verify(&accepted.extensions).map_err(|fault| {
        Failure(format!("the server's answer is no WebSocket's (RFC 7692 §5.1): {fault}"))
    })?;
    let subprotocol = accepted.protocol.map(str::to_owned);
    Ok(Opened { socket, subprotocol, agreement, unread: response.split_off(head_bytes) })
}

impl HeaderLine {
    const fn as_header(&self) -> Header<'_> {
        Header { name: self.name.as_str(), value: self.value.as_bytes() }
    }
}

/// Connects to where `url` says, or to `address` where that is known to be the same.
pub(crate) async fn reach(
    url: &Url,
    address: Option<SocketAddr>,
    authority: Option<&Path>,
) -> Result<Socket, Failure> {
    let connecting = async {
        match address {
            Some(address) => TcpStream::connect(address).await,
            None => TcpStream::connect((url.host.as_str(), url.port)).await,
        }
    };
    let socket =
        timeout(ANSWER_TIME_MAX, connecting).await.map_err(|_| Failure(format!("{url} does not answer")))?;
    let socket = socket
        .map_err(|error| Failure(format!("{url} cannot be reached: {error}; is a server running there?")))?;
    let _ = socket.set_nodelay(true);
    timeout(ANSWER_TIME_MAX, tls::secure(url, authority, socket))
        .await
        .map_err(|_| Failure(format!("{url} does not answer the TLS handshake")))?
}

/// Reads a response's head; what came behind it is in the same vector.
async fn read_head(socket: &mut Socket) -> Result<(Vec<u8>, usize), Failure> {
    let mut scanner = HeadScanner::response();
    let mut bytes = Vec::new();
    loop {
        if socket.read_buf(&mut bytes).await.map_err(|error| lost(&error))? == 0 {
            return Err(Failure("the server ended the connection before it answered".to_owned()));
        }
        match scanner.scan(&bytes, &HeadLimits::default()) {
            Ok(Some(head_bytes)) => return Ok((bytes, head_bytes)),
            Ok(None) => {}
            Err(fault) => return Err(Failure(format!("the server's answer is not HTTP/1.1: {fault}"))),
        }
    }
}

/// What the server said instead of yes.
async fn refused(refusal: ResponseRefusal, socket: &mut Socket, mut body: Vec<u8>) -> Failure {
    let ResponseRefusal::StatusNotSwitching(status) = refusal else {
        return Failure(format!("the server's answer is no WebSocket's ({}): {refusal}", refusal.source()));
    };
    // Errors tell less than the status does; whatever came of the body is used.
    let _ = timeout(BODY_TIME_MAX, async {
        while body.len() < BODY_BYTES_MAX && socket.read_buf(&mut body).await.is_ok_and(|count| count > 0) {}
    })
    .await;
    let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let text = |name: &str| problem.as_ref().and_then(|problem| problem[name].as_str()).map(shown);
    let detail = text("detail").map(|detail| format!(": {detail}"));
    let detail =
        detail.unwrap_or_else(|| meaning(status).map(|text| format!(" ({text})")).unwrap_or_default());
    let kind = text("type").map(|kind| format!("\n  {kind}")).unwrap_or_default();
    let advice = advice(status).map(|advice| format!("\n  {advice}")).unwrap_or_default();
    Failure(format!("the server refused with status {status}{detail}{kind}{advice}"))
}

/// What a status means where the server does not say more (RFC 9110 §15).
const fn meaning(status: u16) -> Option<&'static str> {
    match status {
        200..=299 => Some("it answers plain HTTP there, and no WebSocket"),
        300..=399 => Some("it is elsewhere; redirects are not followed"),
        401 => Some("it wants credentials"),
        403 => Some("forbidden"),
        404 => Some("nothing is there"),
        426 => Some("it wants another protocol"),
        429 => Some("too many requests"),
        500..=599 => Some("the server has a problem of its own"),
        _ => None,
    }
}

/// What the user could do.
const fn advice(status: u16) -> Option<&'static str> {
    match status {
        401 => Some("a token goes into the request with --token-as header; other credentials with --header"),
        _ => None,
    }
}

fn lost(error: &io::Error) -> Failure {
    Failure(format!("the connection failed: {error}"))
}

const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
const BODY_TIME_MAX: Duration = Duration::from_secs(2);
const BODY_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_line_is_a_name_and_a_value_which_debug_does_not_print() {
        let line: HeaderLine = "Cookie:  session=a:b ".parse().unwrap();
        assert_eq!((line.name.as_str(), line.value.as_str()), ("Cookie", "session=a:b"));
        assert_eq!(format!("{line:?}"), "HeaderLine { name: \"Cookie\", .. }");
        assert!("Cookie".parse::<HeaderLine>().is_err());
    }
}
