//! Where a request may carry its credential, and which one it is.
//!
//! Looks only where the route's authenticator says, finds at most one, and judges nothing of it: that is the token's and the
//! ticket's part. A credential that is there and malformed is never taken for absent. Comes after the route is known and
//! before the credential is verified; what the first message carries is found by the relay.

use drawgate_protocol::handshake::Request;

use super::CredentialSource;

/// What a request shows to say who speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credential<'r> {
    pub(crate) shown: Shown<'r>,
    /// A browser adds it by itself, whichever page asks: only the page's origin says whether that page may.
    pub(crate) is_ambient: bool,
}

/// The credential itself, as it came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown<'r> {
    /// A JSON Web Token in compact form.
    Token(&'r str),
    /// A one-time ticket.
    Ticket(&'r str),
}

/// Why no credential can be taken from a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// RFC 6750 §2: a client must not use more than one way in a request.
    #[error("the request carries more than one credential")]
    Conflicting,
    /// A browser fails a connection that offered subprotocols and got none back.
    #[error("the token is the only subprotocol on offer, so that none could be chosen")]
    TokenAlone,
    /// It is there, and is none.
    #[error("the Authorization header names Bearer without a token")]
    Malformed,
}

/// The one credential that `request` carries where `sources` look for it.
pub(crate) fn find<'r>(
    request: &Request<'r>,
    sources: &[CredentialSource],
) -> Result<Option<Credential<'r>>, Fault> {
    let mut found = None;
    for source in sources {
        each(request, source, &mut |shown| {
            let is_ambient = matches!(source, CredentialSource::Cookie(_));
            match found.replace(Credential { shown: shown?, is_ambient }) {
                None => Ok(()),
                Some(_) => Err(Fault::Conflicting),
            }
        })?;
    }
    Ok(found)
}

/// Hands each credential that `source` finds to `take`.
fn each<'r>(
    request: &Request<'r>,
    source: &CredentialSource,
    take: &mut dyn FnMut(Result<Shown<'r>, Fault>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    match source {
        // Neither is part of the request.
        CredentialSource::FirstMessage | CredentialSource::ClientCertificate(_) => Ok(()),
        CredentialSource::AuthorizationHeader => match request.authorization.and_then(bearer) {
            None => Ok(()),
            Some(token) => take(token.map(Shown::Token)),
        },
        CredentialSource::Cookie(name) => {
            let values = request.header("Cookie").filter_map(|line| std::str::from_utf8(line).ok());
            let mut cookies = values.flat_map(|line| line.split(';')).map(str::trim);
            cookies.try_for_each(|cookie| match value_of(cookie, name) {
                None => Ok(()),
                Some(value) => take(Ok(Shown::Token(value))),
            })
        }
        CredentialSource::Query(name) => {
            parameters(request, name).try_for_each(|value| take(Ok(Shown::Token(value))))
        }
        CredentialSource::Subprotocol => entries(request, TOKEN_SUBPROTOCOL)
            .try_for_each(|token| take(with_others(request, Shown::Token(token)))),
        CredentialSource::Ticket => {
            parameters(request, TICKET_PARAMETER).try_for_each(|value| take(Ok(Shown::Ticket(value))))?;
            entries(request, TICKET_SUBPROTOCOL)
                .try_for_each(|ticket| take(with_others(request, Shown::Ticket(ticket))))
        }
    }
}

/// The target of `request` less what `sources` look for in its query: whoever it is passed on to learns no credential.
pub(crate) fn target_without(request: &Request<'_>, sources: &[CredentialSource]) -> String {
    let Some(query) = request.query else { return request.target.to_owned() };
    let names = sources.iter().filter_map(|source| match source {
        CredentialSource::Query(name) => Some(name.as_str()),
        CredentialSource::Ticket => Some(TICKET_PARAMETER),
        CredentialSource::FirstMessage
        | CredentialSource::AuthorizationHeader
        | CredentialSource::Cookie(_)
        | CredentialSource::Subprotocol
        | CredentialSource::ClientCertificate(_) => None,
    });
    let names: Vec<&str> = names.collect();
    let is_credential = |pair: &&str| names.iter().any(|name| value_of(pair, name).is_some());
    if !query.split('&').any(|pair| is_credential(&pair)) {
        return request.target.to_owned();
    }
    let left: Vec<&str> = query.split('&').filter(|pair| !is_credential(pair)).collect();
    let mark = if left.is_empty() { "" } else { "?" };
    format!("{}{mark}{}", request.path, left.join("&"))
}

/// One line of cookies less those that `sources` look for; `None` where nothing is left of it.
pub(crate) fn cookies_without(line: &[u8], sources: &[CredentialSource]) -> Option<Vec<u8>> {
    let is_credential = |cookie: &[u8]| {
        sources.iter().any(|source| match source {
            CredentialSource::Cookie(name) => {
                cookie.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
            }
            CredentialSource::FirstMessage
            | CredentialSource::AuthorizationHeader
            | CredentialSource::Subprotocol
            | CredentialSource::Query(_)
            | CredentialSource::Ticket
            | CredentialSource::ClientCertificate(_) => false,
        })
    };
    let cookies = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let left: Vec<&[u8]> = cookies.filter(|cookie| !is_credential(cookie)).collect();
    Some(left.join(&b"; "[..])).filter(|line| !line.is_empty())
}

/// Whether the `Authorization` of `request` is what `sources` look for.
pub(crate) fn is_authorization(request: &Request<'_>, sources: &[CredentialSource]) -> bool {
    sources.contains(&CredentialSource::AuthorizationHeader)
        && request.authorization.and_then(bearer).is_some()
}

/// The subprotocols of `request` that are not for us: neither a credential, which is not passed on even where nobody looks for one,
/// nor the one that means no other.
pub(crate) fn protocols_without<'r>(request: &Request<'r>) -> Vec<&'r str> {
    let is_ours = |protocol: &&str| {
        *protocol == OWN_SUBPROTOCOL
            || protocol.starts_with(TOKEN_SUBPROTOCOL)
            || protocol.starts_with(TICKET_SUBPROTOCOL)
    };
    request.protocols.iter().copied().filter(|protocol| !is_ours(protocol)).collect()
}

/// RFC 6750 §2.1: `Bearer`, in any case (RFC 9110 §11.1), and a token. Other schemes are somebody else's business.
fn bearer(authorization: &str) -> Option<Result<&str, Fault>> {
    let (scheme, rest) = authorization.split_once(' ').unwrap_or((authorization, ""));
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return None;
    }
    let token = rest.trim_start_matches(' ');
    Some(if token.is_empty() { Err(Fault::Malformed) } else { Ok(token) })
}

/// The values of every query parameter that is named exactly `name`. Neither is decoded: a token needs no escapes.
fn parameters<'r>(request: &Request<'r>, name: &str) -> impl Iterator<Item = &'r str> {
    request.query.into_iter().flat_map(|query| query.split('&')).filter_map(move |pair| value_of(pair, name))
}

fn value_of<'r>(pair: &'r str, name: &str) -> Option<&'r str> {
    pair.split_once('=').and_then(|(found, value)| (found == name).then_some(value))
}

fn entries<'a, 'r>(request: &'a Request<'r>, prefix: &'a str) -> impl Iterator<Item = &'r str> + use<'a, 'r> {
    request.protocols.iter().filter_map(move |protocol| protocol.strip_prefix(prefix))
}

fn with_others<'r>(request: &Request<'_>, shown: Shown<'r>) -> Result<Shown<'r>, Fault> {
    if request.protocols.len() > 1 { Ok(shown) } else { Err(Fault::TokenAlone) }
}

/// What the subprotocol begins with that is a token (RFC 6455 §1.9 leaves their names to their users).
pub(crate) const TOKEN_SUBPROTOCOL: &str = "drawgate.token.";
/// The subprotocol of clients that speak no other, and offer it beside their token.
pub(crate) const OWN_SUBPROTOCOL: &str = "drawgate";
/// What the subprotocol begins with that is a ticket.
const TICKET_SUBPROTOCOL: &str = "drawgate.ticket.";
/// The query parameter that holds a ticket.
const TICKET_PARAMETER: &str = "ticket";

#[cfg(test)]
mod tests {
    use drawgate_protocol::handshake::HeadLimits;

    use super::*;

    const ALL: fn() -> Vec<CredentialSource> = || {
        vec![
            CredentialSource::AuthorizationHeader,
            CredentialSource::Cookie("session".to_owned()),
            CredentialSource::Subprotocol,
            CredentialSource::Query("access_token".to_owned()),
            CredentialSource::Ticket,
            CredentialSource::FirstMessage,
        ]
    };

    /// What is found in a request with this query and these header lines.
    fn found(
        query: &str,
        lines: &[&str],
        sources: &[CredentialSource],
    ) -> Result<Option<(String, bool)>, Fault> {
        let head = format!(
            "GET /{query} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{}\r\n",
            lines.iter().map(|line| format!("{line}\r\n")).collect::<String>()
        );
        let request = Request::parse(head.as_bytes(), &HeadLimits::default()).unwrap();
        find(&request, sources).map(|found| {
            found.map(|Credential { shown, is_ambient }| match shown {
                Shown::Token(token) => (token.to_owned(), is_ambient),
                Shown::Ticket(ticket) => (format!("ticket {ticket}"), is_ambient),
            })
        })
    }

    #[test]
    fn a28_a29_nothing_of_a_credential_is_passed_on() {
        let head = |target: &str, lines: &str| {
            format!(
                "GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{lines}\r\n"
            )
        };
        let limits = HeadLimits::default();
        for (target, left) in [
            ("/a", "/a"),
            ("/a?", "/a?"),
            ("/a?b=c&d", "/a?b=c&d"),
            ("/a?access_token=x", "/a"),
            ("/a?b&access_token=x&&c=d", "/a?b&&c=d"),
            ("/a?ticket=x&access_token=y&access_token=z", "/a"),
            ("/a?access_token2=x", "/a?access_token2=x"),
        ] {
            let head = head(target, "");
            let request = Request::parse(head.as_bytes(), &limits).unwrap();
            assert_eq!(target_without(&request, &ALL()), left);
            assert_eq!(target_without(&request, &[]), target);
        }
        for (line, left) in [
            ("a=b; session=x; c=d", Some("a=b; c=d")),
            ("session=x", None),
            ("session=x;session=y", None),
            ("sessions=x;a", Some("sessions=x; a")),
        ] {
            let expected = left.map(|left| left.as_bytes().to_vec());
            assert_eq!(cookies_without(line.as_bytes(), &ALL()), expected);
        }
        let head =
            head("/", "Sec-WebSocket-Protocol: drawgate.token.x, drawgate, chat, drawgate.ticket.y\r\n");
        let request = Request::parse(head.as_bytes(), &limits).unwrap();
        assert_eq!(protocols_without(&request), ["chat"]);
    }

    #[test]
    fn each_source_is_looked_at_where_it_is_named_and_nowhere_else() {
        let cases: [(&str, &str, &str, usize); 6] = [
            ("", "Authorization: bearer  a.b.c", "a.b.c", 0),
            ("", "Cookie: x=1; session=a.b.c; y=2", "a.b.c", 1),
            ("", "Sec-WebSocket-Protocol: chat, drawgate.token.a.b.c", "a.b.c", 2),
            ("?x=1&access_token=a.b.c&y", "X: y", "a.b.c", 3),
            ("?ticket=dgt_x", "X: y", "ticket dgt_x", 4),
            ("", "Sec-WebSocket-Protocol: drawgate.ticket.dgt_x, chat", "ticket dgt_x", 4),
        ];
        for (query, line, expected, source) in cases {
            let expected = Ok(Some((expected.to_owned(), source == 1)));
            assert_eq!(found(query, &[line], &ALL()), expected, "{line}");
            assert_eq!(found(query, &[line], &ALL()[source..=source]), expected, "{line}");
            let mut others = ALL();
            others.remove(source);
            assert_eq!(found(query, &[line], &others), Ok(None), "{line}");
        }
    }

    #[test]
    fn a17_two_credentials_in_one_request_are_refused() {
        for (query, lines) in [
            ("?access_token=a&access_token=a", &[][..]),
            ("?access_token=a&ticket=b", &[]),
            ("", &["Cookie: session=a; session=b"]),
            ("", &["Cookie: session=a", "Cookie: session=a"]),
            ("", &["Authorization: Bearer a", "Cookie: session=a"]),
            ("?access_token=a", &["Authorization: Bearer a"]),
            ("", &["Sec-WebSocket-Protocol: chat, drawgate.token.a, drawgate.token.b"]),
            ("", &["Sec-WebSocket-Protocol: drawgate.token.a, drawgate.ticket.b"]),
        ] {
            assert_eq!(found(query, lines, &ALL()), Err(Fault::Conflicting), "{query} {lines:?}");
        }
    }

    #[test]
    fn what_is_there_and_malformed_is_not_absent() {
        for line in ["Authorization: Bearer", "Authorization: BEARER "] {
            assert_eq!(found("", &[line], &ALL()), Err(Fault::Malformed), "{line}");
        }
        for (query, line) in [("?access_token=", "X: y"), ("", "Cookie: session=")] {
            let empty = found(query, &[line], &ALL()).unwrap();
            assert_eq!(empty.map(|(token, _)| token), Some(String::new()), "{line}");
        }
        for line in ["Authorization: Basic YTpi", "Authorization: Bearerish a", "Cookie: Session=a; session"]
        {
            assert_eq!(found("?Access_Token=a&access_token", &[line], &ALL()), Ok(None), "{line}");
        }
    }

    #[test]
    fn a29_a_token_alone_is_refused_because_a_browser_would_fail() {
        for entry in ["drawgate.token.a.b.c", "drawgate.ticket.dgt_x"] {
            let line = format!("Sec-WebSocket-Protocol: {entry}");
            assert_eq!(found("", &[&line], &ALL()), Err(Fault::TokenAlone), "{entry}");
        }
    }
}
