//! The request that goes to an application: the client's, less what is ours and what is nobody's to say but ours.
//!
//! Headers of the hop are dropped first (RFC 9110 §7.6.1), whatever `Connection` lists among them; then those by which somebody could
//! pass for another, and the credential that we took; only then are ours added, so that nothing that a client lists can take them
//! away. The key is a fresh one.

use std::borrow::Cow;
use std::fmt::Write as _;

use drawgate_protocol::handshake::{ClientRequest, Header, Request};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use super::{Connected, DialError, HostSent, Identity, OriginSent, Passing, Socket, answer};
use crate::auth::{CredentialSource, credential};
use crate::chance::Chance;
use crate::compression::Offer;
use crate::principal::{Claims, ClientAddr};
use crate::route::PathPattern;
use crate::session::SessionId;
use crate::tls::Wire;
use crate::trace::Trace;
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
    /// The trace that it belongs to.
    pub(crate) trace: Option<&'r Trace>,
    /// The subprotocols that the application may choose from.
    pub(crate) protocols: &'r [&'r str],
    /// Whether it is offered compression, for which there is room.
    pub(crate) offers_compression: bool,
}

/// Who an application is told that it speaks to.
#[derive(Clone, Copy)]
pub(crate) struct Speaker<'r> {
    pub(crate) subject: &'r str,
    pub(crate) session: Option<SessionId>,
    pub(crate) claims: &'r Claims,
}

/// Asks over `socket`, and reads the answer.
pub(super) async fn ask(
    mut socket: Wire<Socket>,
    url: &UpstreamUrl,
    opening: &Opening<'_>,
    passing: &Passing,
    chance: &Chance,
) -> Result<Connected, DialError> {
    let Opening { request, pattern, sources, .. } = *opening;
    let target = url.target_for(pattern, &credential::target_without(request, sources));
    let passed = passed_on(opening, passing);
    let ours = ours(opening, &passing.identity);
    let headers: Vec<Header<'_>> = passed
        .iter()
        .map(|(name, value)| Header { name, value })
        .chain(ours.iter().map(|(name, value)| Header { name, value: value.as_bytes() }))
        .collect();
    let extensions = opening.offers_compression.then(Offer::header);
    let asked = ClientRequest {
        host: match &passing.host {
            HostSent::Client => request.host.as_str(),
            HostSent::Address => url.authority(),
            HostSent::Set(host) => host,
        },
        target: &target,
        origin: match &passing.origin {
            OriginSent::Client => request.origin,
            OriginSent::Nothing => None,
            OriginSent::Set(origin) => Some(origin),
        },
        protocols: opening.protocols,
        extensions: extensions.as_deref(),
        headers: &headers,
        nonce: chance.bytes(),
    };
    let mut head = Vec::with_capacity(HEAD_BYTES_TYPICAL);
    asked.write(&mut head).map_err(DialError::Request)?;
    socket.write_all(&head).await.map_err(DialError::Cut)?;
    socket.flush().await.map_err(DialError::Cut)?;
    let answer::Answer { protocol, agreement, headers, rest } =
        answer::read(&mut socket, &asked, passing).await?;
    Ok(Connected { socket, lease: None, protocol, headers, agreement, offer: None, rest })
}

/// The client's headers that are its own business and the application's.
fn passed_on<'r>(opening: &Opening<'r>, passing: &Passing) -> Vec<(&'r str, Cow<'r, [u8]>)> {
    let Opening { request, sources, .. } = *opening;
    let takes_authorization = credential::is_authorization(request, sources);
    let headers = request.headers().filter(|header| {
        let is_of_the_hop = request.connection.iter().any(|listed| header.is(listed));
        let is_taken = takes_authorization && header.is("Authorization");
        !(is_of_the_hop || is_ours(header.name) || passing.identity.names(header.name) || is_taken)
    });
    headers
        .filter_map(|header| {
            let value = if header.is("Cookie") {
                cookies_passed(&credential::cookies_without(header.value, sources)?, passing)?.into()
            } else {
                header.value.into()
            };
            Some((header.name, value))
        })
        .collect()
}

/// One line of cookies, as far as they go on; `None` where nothing is left of it.
fn cookies_passed(line: &[u8], passing: &Passing) -> Option<Vec<u8>> {
    let cookies = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let left: Vec<&[u8]> = cookies.filter(|cookie| passing.cookies.pass(cookie)).collect();
    Some(left.join(&b"; "[..])).filter(|line| !line.is_empty())
}

/// What we say of the client, and nobody else.
fn ours<'s>(opening: &Opening<'s>, identity: &'s Identity) -> Vec<(&'s str, Cow<'s, str>)> {
    let client = opening.client.to_string();
    let host = opening.request.host.as_str();
    let scheme = if opening.is_encrypted { "https" } else { "http" };
    // RFC 7239 §6: an IPv6 address stands in brackets, and so within quotes, as a host with a port does.
    let [before, behind] = if opening.client.ip().is_ipv6() { ["for=\"[", "]\""] } else { ["for=", ""] };
    let forwarded = [before, &client, behind, ";host=\"", host, "\";proto=", scheme].concat();
    let mut ours: Vec<(&str, Cow<'_, str>)> = Vec::with_capacity(OURS_TYPICAL + identity.claims.len());
    ours.push(("Forwarded", forwarded.into()));
    ours.push(("X-Forwarded-For", client.into()));
    ours.push(("X-Forwarded-Host", host.into()));
    ours.push(("X-Forwarded-Proto", scheme.into()));
    if let Some(trace) = opening.trace {
        ours.push((TRACEPARENT, trace.header().into()));
        ours.extend(state_of(trace, opening.request).map(|state| (TRACESTATE, state.into())));
    }
    if let Some(Speaker { subject, session, claims }) = opening.speaker {
        ours.push((identity.subject.as_str(), escaped(subject).into()));
        ours.extend(session.map(|session| (identity.session.as_str(), session.to_string().into())));
        for (name, claim) in &identity.claims {
            ours.extend(claims.get(claim).as_ref().and_then(said).map(|value| (name.as_str(), value.into())));
        }
    }
    ours
}

/// Trace Context §3.3: the `tracestate` that belongs to a trace which somebody else began, all lines in one.
fn state_of(trace: &Trace, request: &Request<'_>) -> Option<String> {
    if !trace.is_kept {
        return None;
    }
    let lines = request.headers().filter(|header| header.is(TRACESTATE));
    let lines: Option<Vec<&str>> = lines.map(|header| std::str::from_utf8(header.value).ok()).collect();
    let state = lines?.join(",");
    let is_sound = (1..=TRACESTATE_BYTES_MAX).contains(&state.len()) && state.trim().len() == state.len();
    Some(state).filter(|_| is_sound)
}

/// A claim as a header says it: texts escaped, those of a list with commas between them, all else as JSON, escaped. A comma
/// within a text of a list is escaped too, so that nobody is given two groups by the name of one.
fn said(claim: &Value) -> Option<String> {
    match claim {
        Value::Null => None,
        Value::String(text) => Some(escaped(text)),
        Value::Array(elements) if elements.iter().all(Value::is_string) => {
            let texts = elements.iter().filter_map(Value::as_str);
            Some(texts.map(|text| escaped(text).replace(',', "%2C")).collect::<Vec<_>>().join(","))
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Some(escaped(&claim.to_string()))
        }
    }
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
    let Some(first) = name.bytes().next() else { return false };
    let first = usize::from(first.to_ascii_lowercase());
    let begins = |prefix: &str| {
        name.get(..prefix.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(prefix))
    };
    of_places(DROPPED, DROPPED_BY_FIRST[first]).any(|dropped| name.eq_ignore_ascii_case(dropped))
        || of_places(DROPPED_PREFIXES, PREFIXES_BY_FIRST[first]).any(begins)
}

/// Those of `names` that stand at `places`, each of which is a bit.
fn of_places(names: &[&'static str], places: u64) -> impl Iterator<Item = &'static str> {
    let mut left = places;
    std::iter::from_fn(move || {
        let place = left.trailing_zeros();
        left &= left.wrapping_sub(1);
        names.get(usize::try_from(place).ok()?).copied()
    })
}

/// For each byte, the places of those of `names` that begin with it, in lower case: most names differ from most in that already.
const fn by_first(names: &[&str]) -> [u64; 256] {
    assert!(names.len() < 64, "each has a bit");
    let mut places = [0; 256];
    let mut place = 0;
    while place < names.len() {
        places[names[place].as_bytes()[0].to_ascii_lowercase() as usize] |= 1 << place;
        place += 1;
    }
    places
}

const DROPPED_BY_FIRST: [u64; 256] = by_first(DROPPED);
const PREFIXES_BY_FIRST: [u64; 256] = by_first(DROPPED_PREFIXES);

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
    // The trace, which is a trusted proxy's or ours.
    TRACEPARENT,
    TRACESTATE,
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

/// The trace and our part in it (Trace Context §3.2).
pub(crate) const TRACEPARENT: &str = "traceparent";
/// What those who had a part in it keep there.
const TRACESTATE: &str = "tracestate";
/// Trace Context §3.3.1.5: this much is to be passed on; more may be left out whole.
const TRACESTATE_BYTES_MAX: usize = 512;

const HEAD_BYTES_TYPICAL: usize = 1024;
/// The address four times, the trace, who speaks and in which session.
const OURS_TYPICAL: usize = 8;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use drawgate_protocol::handshake::HeadLimits;

    use super::super::{Cookies, HeaderName};
    use super::*;

    fn head(lines: &str) -> String {
        format!(
            "GET / HTTP/1.1\r\nHost: a:80\r\nUpgrade: websocket\r\nConnection: Upgrade, X-Hop, X-Forwarded-For\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{lines}\r\n"
        )
    }

    fn sent(lines: &str, sources: &[CredentialSource], client: IpAddr, subject: Option<&str>) -> Vec<String> {
        sent_by(&Passing::default(), lines, sources, client, subject, None)
    }

    fn sent_by(
        passing: &Passing,
        lines: &str,
        sources: &[CredentialSource],
        client: IpAddr,
        subject: Option<&str>,
        trace: Option<&Trace>,
    ) -> Vec<String> {
        let claims = serde_json::json!({
            "email": "a@b.example", "roles": ["a,b", "c d"], "level": 7, "none": null, "at": { "x": 1 }
        });
        let claims = Claims::new(claims.as_object().unwrap());
        let head = head(lines);
        let request = Request::parse(head.as_bytes(), &HeadLimits::default()).unwrap();
        let opening = Opening {
            request: &request,
            pattern: &PathPattern::Exact("/".to_owned()),
            sources,
            client: ClientAddr::new(client),
            is_encrypted: true,
            speaker: subject.map(|subject| Speaker { subject, session: None, claims: &claims }),
            trace,
            protocols: &[],
            offers_compression: false,
        };
        let passed = passed_on(&opening, passing).into_iter();
        let passed = passed.map(|(name, value)| format!("{name}: {}", str::from_utf8(&value).unwrap()));
        passed
            .chain(
                ours(&opening, &passing.identity).into_iter().map(|(name, value)| format!("{name}: {value}")),
            )
            .collect()
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
            sent(&lines, &[], client, Some("J\u{fc}rgen %\r\n")),
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
            sent(lines, &ours, client, None)[..2],
            ["Cookie: a=b", "Forwarded: for=192.0.2.1;host=\"a:80\";proto=https"]
        );
        assert_eq!(
            sent(lines, &[], client, None)[..2],
            ["Authorization: Bearer x", "Cookie: a=b; session=x"]
        );
        let basic = sent("Authorization: Basic x\r\n", &ours, client, None);
        assert_eq!(basic[0], "Authorization: Basic x");
    }

    fn named() -> Passing {
        let name = |name: &str| name.parse::<HeaderName>().unwrap();
        let claims = [
            ("X-Mail", "email"),
            ("Groups", "roles"),
            ("X-Level", "level"),
            ("X-None", "none"),
            ("X-At", "at"),
            ("X-No", "no"),
        ];
        let claims = claims.map(|(header, claim)| (name(header), claim.to_owned())).to_vec();
        let identity = Identity { subject: name("Remote-User"), session: name("X-Sitting"), claims };
        Passing { identity, ..Passing::default() }
    }

    #[test]
    fn a38_claims_go_on_by_names_that_no_client_can_send() {
        let lines = "x-mail: evil\r\nGROUPS: evil\r\nX-None: evil\r\nX-No: evil\r\nX-Sitting: evil\r\n\
                     Remote-User: evil\r\nX-Drawgate-Subject: evil\r\n";
        let client = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(
            sent_by(&named(), lines, &[], client, Some("alice"), None)[4..],
            [
                "Remote-User: alice",
                "X-Mail: a@b.example",
                "Groups: a%2Cb,c%20d",
                "X-Level: 7",
                "X-At: {\"x\":1}"
            ]
        );
        // Nobody in particular has none of them.
        assert_eq!(sent_by(&named(), lines, &[], client, None, None).len(), 4);
    }

    #[test]
    fn cookies_go_on_as_far_as_the_setting_says_and_never_a_credential() {
        let client = IpAddr::from([192, 0, 2, 1]);
        let sources = [CredentialSource::Cookie("session".to_owned())];
        let first = |cookies| {
            let passing = Passing { cookies, ..Passing::default() };
            let line = "Cookie: session=x; theme=dark; a=b\r\n";
            sent_by(&passing, line, &sources, client, None, None).remove(0)
        };
        let two = vec!["session".to_owned(), "theme".to_owned()];
        assert_eq!(first(Cookies::All), "Cookie: theme=dark; a=b");
        assert_eq!(first(Cookies::Named(two.clone())), "Cookie: theme=dark");
        assert!(first(Cookies::Named(two[..1].to_vec())).starts_with("Forwarded: "));
        assert!(first(Cookies::Nothing).starts_with("Forwarded: "));
    }

    #[test]
    fn a_state_goes_on_with_the_trace_that_it_belongs_to_alone() {
        let client = IpAddr::from([192, 0, 2, 1]);
        let chance = Chance::seeded(1);
        let sent = |lines: &str, trace: &Trace| {
            sent_by(&Passing::default(), lines, &[], client, None, Some(trace)).split_off(4)
        };
        let lines = "tracestate: a=1\r\nTraceState: b=2\r\ntraceparent: evil\r\n";
        let line: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let kept = Trace::keep(&[line], &chance).unwrap();
        let parent = format!("traceparent: {}", kept.header());
        assert_eq!(sent(lines, &kept), [parent.as_str(), "tracestate: a=1,b=2"]);
        let begun = Trace::begin(&chance);
        assert_eq!(sent(lines, &begun), [format!("traceparent: {}", begun.header())]);
        let long = format!("tracestate: a={}\r\n", "1".repeat(511));
        assert_eq!(sent(&long, &kept), [parent]);
    }
}
