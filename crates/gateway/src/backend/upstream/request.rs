//! The request that goes to an application: the client's, less what is ours and what is nobody's to say but ours.
//!
//! Headers of the hop are dropped first (RFC 9110 §7.6.1), whatever `Connection` lists among them; then those by which somebody could
//! pass for another, and the credential that we took; only then are ours added, so that nothing that a client lists can take them
//! away. The key is a fresh one.

use std::fmt::Write as _;

use drawgate_protocol::handshake::{ClientRequest, Header, Request};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{Connected, DialError, answer};
use crate::auth::{CredentialSource, credential};
use crate::chance::Chance;
use crate::principal::ClientAddr;
use crate::route::PathPattern;
use crate::session::SessionId;
use crate::tls::Wire;
use crate::url::UpstreamUrl;

/// What there is to say of a client that is to be let in.
#[derive(Clone, Copy)]
pub(crate) struct Opening<'r> {
    pub(crate) request: &'r Request<'r>,
    /// What has matched its path.
    pub(crate) pattern: &'r PathPattern,
    /// Where its credential was looked for.
    pub(crate) sources: &'r [CredentialSource],
    pub(crate) client: ClientAddr,
    pub(crate) is_encrypted: bool,
    /// Who it is, where it authenticated.
    pub(crate) speaker: Option<Speaker<'r>>,
    /// The subprotocols that the application may choose from.
    pub(crate) protocols: &'r [&'r str],
}

/// Who an application is told that it speaks to.
#[derive(Clone, Copy)]
pub(crate) struct Speaker<'r> {
    pub(crate) subject: &'r str,
    pub(crate) session: Option<SessionId>,
}

/// Asks over `socket`, and reads the answer.
pub(super) async fn ask(
    mut socket: Wire<TcpStream>,
    url: &UpstreamUrl,
    opening: &Opening<'_>,
    chance: &Chance,
) -> Result<Connected, DialError> {
    let Opening { request, pattern, sources, .. } = *opening;
    let target = url.target_for(pattern, &credential::target_without(request, sources));
    let passed = passed_on(opening);
    let ours = ours(opening);
    let headers: Vec<Header<'_>> = passed
        .iter()
        .map(|(name, value)| Header { name, value })
        .chain(ours.iter().map(|(name, value)| Header { name, value: value.as_bytes() }))
        .collect();
    let asked = ClientRequest {
        host: request.host.as_str(),
        target: &target,
        origin: request.origin,
        protocols: opening.protocols,
        extensions: None,
        headers: &headers,
        nonce: chance.bytes(),
    };
    let mut head = Vec::with_capacity(HEAD_BYTES_TYPICAL);
    asked.write(&mut head).map_err(DialError::Request)?;
    socket.write_all(&head).await.map_err(DialError::Cut)?;
    socket.flush().await.map_err(DialError::Cut)?;
    let answer::Answer { protocol, cookies, rest } = answer::read(&mut socket, &asked).await?;
    Ok(Connected { socket, lease: None, protocol, cookies, rest })
}

/// The client's headers that are its own business and the application's.
fn passed_on<'r>(opening: &Opening<'r>) -> Vec<(&'r str, Vec<u8>)> {
    let Opening { request, sources, .. } = *opening;
    let takes_authorization = credential::is_authorization(request, sources);
    let headers = request.headers().filter(|header| {
        let is_of_the_hop = request.connection.iter().any(|listed| header.is(listed));
        let is_taken = takes_authorization && header.is("Authorization");
        !(is_of_the_hop || is_ours(header.name) || is_taken)
    });
    headers
        .filter_map(|header| {
            let value = if header.is("Cookie") {
                credential::cookies_without(header.value, sources)?
            } else {
                header.value.to_vec()
            };
            Some((header.name, value))
        })
        .collect()
}

/// What we say of the client, and nobody else.
fn ours(opening: &Opening<'_>) -> Vec<(&'static str, String)> {
    let client = opening.client.ip();
    let host = opening.request.host.as_str();
    let scheme = if opening.is_encrypted { "https" } else { "http" };
    // RFC 7239 §6: an IPv6 address stands in brackets, and so within quotes, as a host with a port does.
    let node = if client.is_ipv6() { format!("\"[{client}]\"") } else { client.to_string() };
    let mut ours = vec![
        ("Forwarded", format!("for={node};host=\"{host}\";proto={scheme}")),
        ("X-Forwarded-For", client.to_string()),
        ("X-Forwarded-Host", host.to_owned()),
        ("X-Forwarded-Proto", scheme.to_owned()),
    ];
    if let Some(Speaker { subject, session }) = opening.speaker {
        ours.push(("X-Drawgate-Subject", escaped(subject)));
        ours.extend(session.map(|session| ("X-Drawgate-Session", session.to_string())));
    }
    ours
}

/// `text` in visible ASCII: all else, and the percent sign itself, as `%XX` (RFC 3986 §2.1).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// Whether a header is none that a client can send on.
fn is_ours(name: &str) -> bool {
    let begins = |prefix: &str| {
        name.get(..prefix.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(prefix))
    };
    DROPPED.iter().any(|dropped| name.eq_ignore_ascii_case(dropped))
        || DROPPED_PREFIXES.iter().any(|prefix| begins(prefix))
}

/// Headers that are dropped.
const DROPPED: &[&str] = &[
    // Of the hop, whether or not `Connection` lists them (RFC 9110 §7.6.1, RFC 7540 §3.2.1).
    "Connection",
    "Keep-Alive",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "HTTP2-Settings",
    "Content-Length",
    // Said once, and by the request itself.
    "Host",
    "Origin",
    // Where the client is (RFC 7239, and what came before it).
    "Forwarded",
    "X-Real-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Host",
    "Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Fastly-Client-IP",
    // Another address than the one that was routed.
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    // Who the client is, to applications behind one gate or another.
    "X-User",
    "X-User-Id",
    "X-User-Name",
    "X-Username",
    "X-User-Email",
    "X-User-Role",
    "X-User-Roles",
    "X-User-Groups",
    "X-Email",
    "X-Client-Cert",
];

/// What names of headers begin with that are dropped, for the same reasons.
const DROPPED_PREFIXES: &[&str] = &[
    "Sec-WebSocket-",
    "Proxy-",
    "X-Forwarded-",
    "X-Original-",
    "X-Drawgate-",
    "X-Auth",
    "X-Remote-",
    "X-WebAuth-",
    "X-SSL-Client-",
    "X-Amzn-Oidc-",
    "X-Goog-Authenticated-",
    "X-MS-Client-Principal",
    "X-Pomerium-",
    "Cf-Access-",
    "Tailscale-User-",
    "SSL-Client-",
    "Remote-",
];

const HEAD_BYTES_TYPICAL: usize = 1024;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use drawgate_protocol::handshake::HeadLimits;

    use super::*;

    fn head(lines: &str) -> String {
        format!(
            "GET / HTTP/1.1\r\nHost: a:80\r\nUpgrade: websocket\r\nConnection: Upgrade, X-Hop, X-Forwarded-For\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{lines}\r\n"
        )
    }

    fn said(lines: &str, sources: &[CredentialSource], client: IpAddr, subject: Option<&str>) -> Vec<String> {
        let head = head(lines);
        let request = Request::parse(head.as_bytes(), &HeadLimits::default()).unwrap();
        let opening = Opening {
            request: &request,
            pattern: &PathPattern::Exact("/".to_owned()),
            sources,
            client: ClientAddr::new(client),
            is_encrypted: true,
            speaker: subject.map(|subject| Speaker { subject, session: None }),
            protocols: &[],
        };
        let passed = passed_on(&opening).into_iter();
        let passed = passed.map(|(name, value)| format!("{name}: {}", String::from_utf8(value).unwrap()));
        passed.chain(ours(&opening).into_iter().map(|(name, value)| format!("{name}: {value}"))).collect()
    }

    #[test]
    fn h19_a38_headers_that_are_ours_to_say_are_dropped_and_said_by_us_alone() {
        let lines: String = DROPPED
            .iter()
            .filter(|name| {
                !matches!(**name, "Host" | "Connection" | "Upgrade" | "Content-Length" | "Transfer-Encoding")
            })
            .map(|name| format!("{name}: evil\r\n"))
            .chain(DROPPED_PREFIXES.iter().map(|prefix| format!("{}x: evil\r\n", prefix.to_lowercase())))
            .collect();
        let lines = format!("{lines}X-Hop: evil\r\nX_Forwarded_For: evil\r\nUser-Agent: a\r\n");
        let client = IpAddr::V6(Ipv6Addr::LOCALHOST);
        assert_eq!(
            said(&lines, &[], client, Some("J\u{fc}rgen %\r\n")),
            [
                "User-Agent: a",
                "Forwarded: for=\"[::1]\";host=\"a:80\";proto=https",
                "X-Forwarded-For: ::1",
                "X-Forwarded-Host: a:80",
                "X-Forwarded-Proto: https",
                "X-Drawgate-Subject: J%C3%BCrgen%20%25%0D%0A",
            ]
        );
    }

    #[test]
    fn only_the_credential_that_is_ours_is_taken_away() {
        let client = IpAddr::from([192, 0, 2, 1]);
        let lines = "Authorization: Bearer x\r\nCookie: a=b; session=x\r\n";
        let ours = [CredentialSource::AuthorizationHeader, CredentialSource::Cookie("session".to_owned())];
        assert_eq!(
            said(lines, &ours, client, None)[..2],
            ["Cookie: a=b", "Forwarded: for=192.0.2.1;host=\"a:80\";proto=https"]
        );
        assert_eq!(
            said(lines, &[], client, None)[..2],
            ["Authorization: Bearer x", "Cookie: a=b; session=x"]
        );
        let basic = said("Authorization: Basic x\r\n", &ours, client, None);
        assert_eq!(basic[0], "Authorization: Basic x");
    }
}
