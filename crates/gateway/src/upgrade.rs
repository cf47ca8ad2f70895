//! From bytes to a route: reads the request head within its bounds, judges it, and writes the `101` or the refusal.
//!
//! Comes after the firewall (and TLS); the session, the backend and the relay come after it. What the head itself must
//! be is [`drawgate_protocol::handshake`]'s; here are the things that a configuration decides: host, path and origin.
//! Deadlines are the caller's.

use std::io;

use drawgate_protocol::handshake::{
    Field, FieldFault, HeadFault, HeadLimits, HeadScanner, Header, Refusal, Request, SwitchingProtocols,
    header_lines,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::auth::credential::{OWN_SUBPROTOCOL, TOKEN_SUBPROTOCOL};
use crate::reason::Reason;
use crate::route::{Origins, PathPattern, canonical_origin};
use crate::tls::Peer;

/// The routes of one listener, in the order in which they are tried.
#[derive(Debug)]
pub(crate) struct Entrances<T>(Vec<Entrance<T>>);

/// Which requests may enter where.
#[derive(Debug)]
pub(crate) struct Entrance<T> {
    /// Which paths.
    pub(crate) path: PathPattern,
    /// Which hosts, in canonical form; empty for any.
    pub(crate) hosts: Vec<String>,
    /// Which pages.
    pub(crate) origins: Origins,
    /// What is entered.
    pub(crate) route: T,
}

/// Why a request was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// What the client is told.
    pub(crate) reason: Reason,
    /// What exactly was wrong with the head.
    pub(crate) cause: Option<Refusal>,
    /// What exactly was wrong, for the operator.
    pub(crate) detail: Option<String>,
    /// The limit that was exceeded, in its own unit.
    pub(crate) limit: Option<u64>,
    /// The request is a HEAD: its answer has the headers that a GET's would have, and no body.
    pub(crate) is_bodiless: bool,
}

/// A head that has been read, and what came behind it.
#[derive(Debug)]
pub(crate) struct Head {
    bytes: Vec<u8>,
    head_bytes: usize,
    /// What has found it whole.
    scanner: HeadScanner,
}

/// Why a head could not be read.
#[derive(Debug)]
pub(crate) enum HeadError {
    /// It breaks a rule.
    Refused(Refused),
    /// The client left before it was complete.
    Incomplete,
    /// The transport failed.
    Transport(io::Error),
}

impl Head {
    /// Reads a head, and no more than it may have: what a client sends beyond that stays in the kernel.
    pub(crate) async fn read<S: AsyncRead + Unpin>(socket: &mut S) -> Result<Self, HeadError> {
        let limits = HEAD_LIMITS;
        let mut scanner = HeadScanner::request();
        let mut bytes = Vec::with_capacity(HEAD_BYTES_TYPICAL);
        loop {
            // One byte more than allowed, so that the scanner sees that it is too much.
            let room = (limits.head_bytes_max + 1).saturating_sub(bytes.len());
            let count =
                (&mut *socket).take(room as u64).read_buf(&mut bytes).await.map_err(HeadError::Transport)?;
            if count == 0 {
                return Err(HeadError::Incomplete);
            }
            match scanner.scan(&bytes, &limits) {
                Ok(None) => {}
                Ok(Some(head_bytes)) => return Ok(Self { bytes, head_bytes, scanner }),
                Err(fault) => {
                    let refused = Refused::by_head(Refusal::Head(fault)).answering(&bytes);
                    return Err(HeadError::Refused(refused));
                }
            }
        }
    }

    /// The header lines, whatever is asked for; `None` where the head is no HTTP, which [`Self::request`] then says.
    pub(crate) fn headers(&self) -> Option<Vec<Header<'_>>> {
        header_lines(&self.bytes[..self.head_bytes], &HEAD_LIMITS).ok()
    }

    /// The page that it names, whatever becomes of it; for records. What is there and is no origin may be anything, a token
    /// as well, and is not told.
    pub(crate) fn origin(&self) -> Option<&str> {
        let headers = self.headers()?;
        let mut values = headers.iter().filter(|header| header.is("origin")).map(|header| header.value);
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        str::from_utf8(value).ok().filter(|origin| has_form_of_origin(origin))
    }

    /// The refusal of this head, for a reason that is not in itself.
    pub(crate) fn refused(&self, refused: Refused) -> Refused {
        refused.answering(&self.bytes)
    }

    /// The request that the head is.
    pub(crate) fn request(&self) -> Result<Request<'_>, Refused> {
        let whole = self.scanner.whole(&self.bytes);
        let whole = whole.ok_or(Refusal::Head(HeadFault::HeadIncomplete));
        whole
            .and_then(|head| Request::of_whole(head, &HEAD_LIMITS))
            .map_err(|refusal| Refused::by_head(refusal).answering(&self.bytes))
    }

    /// What came behind the head.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.head_bytes..]
    }
}

impl<T> Entrances<T> {
    /// Puts the entrances in order: exact paths before prefixes, longer ones first, those of named hosts before those of
    /// any; otherwise in the order given.
    pub(crate) fn new(mut entrances: Vec<Entrance<T>>) -> Self {
        entrances.sort_by_key(|entrance| {
            let (is_prefix, bytes) = match &entrance.path {
                PathPattern::Exact(path) => (false, path.len()),
                PathPattern::Prefix(path) => (true, path.len()),
            };
            (is_prefix, std::cmp::Reverse(bytes), entrance.hosts.is_empty())
        });
        Self(entrances)
    }

    /// The first entrance that takes the request's host and path.
    pub(crate) fn find(&self, request: &Request<'_>) -> Result<&Entrance<T>, Refused> {
        let entrance = self.0.iter().find(|entrance| {
            let takes_path = match &entrance.path {
                PathPattern::Exact(path) => request.path == path,
                PathPattern::Prefix(path) => request.path.starts_with(path.as_str()),
            };
            takes_path
                && (entrance.hosts.is_empty()
                    || entrance.hosts.iter().any(|host| request.host.is_named(host)))
        });
        entrance.ok_or_else(|| Refused::because(Reason::RouteNotFound))
    }
}

impl<T> Entrance<T> {
    /// RFC 6455 §10.2: browsers say which page they act for, and cannot be made to lie about it. A client that sends no
    /// Origin is not a browser, and this protects nobody from it.
    pub(crate) fn check_origin(&self, request: &Request<'_>, peer: &Peer) -> Result<(), Refused> {
        let is_welcome = match request.origin {
            None => true,
            Some(origin) => self.names_origin(request, origin, peer).unwrap_or(true),
        };
        if is_welcome { Ok(()) } else { Err(Refused::because(Reason::OriginRefused)) }
    }

    /// A credential that browsers add by themselves proves nothing about the page that asks: that page must be named, and
    /// `"any"` names none.
    pub(crate) fn check_origin_of_ambient(&self, request: &Request<'_>, peer: &Peer) -> Result<(), Refused> {
        let is_named =
            request.origin.is_some_and(|origin| self.names_origin(request, origin, peer) == Some(true));
        if is_named { Ok(()) } else { Err(Refused::because(Reason::OriginRefused)) }
    }

    /// Whether `origin` is one of those that are named; `None` where none is, as any is welcome.
    fn names_origin(&self, request: &Request<'_>, origin: &str, peer: &Peer) -> Option<bool> {
        let scheme = if peer.is_encrypted { "https" } else { "http" };
        match &self.origins {
            Origins::Any => None,
            Origins::Listed(listed) => Some(listed.iter().any(|allowed| allowed == origin)),
            // Both in canonical form, so that a scheme's own port may be written or left out.
            Origins::Same => {
                let own = canonical_origin(&format!("{scheme}://{}", request.host.as_str()));
                Some(own.is_some() && canonical_origin(origin) == own)
            }
        }
    }
}

/// RFC 6454 §6.2: `null`, or a scheme, `://`, a host and perhaps a port. Neither a user nor a path stands in it.
/// The page that asks, for records: what is no origin may be anything.
pub(crate) fn origin<'h>(request: &Request<'h>) -> Option<&'h str> {
    request.origin.filter(|origin| has_form_of_origin(origin))
}

fn has_form_of_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return text == "null" };
    let is_of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let is_of_authority = |byte: u8| byte.is_ascii_graphic() && !b"/?#@\\\"".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(is_of_scheme)
        && authority.bytes().all(is_of_authority)
}

/// RFC 6066 §3: who names a host in the TLS handshake asks for the same one in the request; RFC 9110 §15.5.20 has a status
/// for who does not. Certificate, client authority and route would otherwise be those of different hosts.
pub(crate) fn check_host(request: &Request<'_>, peer: &Peer) -> Result<(), Refused> {
    let Some(server_name) = &peer.server_name else { return Ok(()) };
    // A name in the handshake never ends in a dot; a Host may, and means the same to DNS.
    let host = request.host.name();
    if host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case(server_name) {
        return Ok(());
    }
    Err(Refused::because(Reason::HostMisdirected))
}

/// The `101` to `request`, which agrees to `extensions` and to the subprotocol that the application chose, if it did, and passes
/// on its `headers`.
pub(crate) fn switching_protocols(
    request: &Request<'_>,
    extensions: Option<&str>,
    chosen: Option<&str>,
    headers: &[Header<'_>],
) -> Result<Vec<u8>, Refused> {
    let mut answer = Vec::with_capacity(ANSWER_BYTES_TYPICAL);
    // A browser fails a connection that offered subprotocols and got none back; ours is the one that means no other.
    let own = || request.protocols.iter().copied().find(|protocol| *protocol == OWN_SUBPROTOCOL);
    let protocol = chosen.or_else(own);
    // Nothing is chosen that the request did not offer, so nothing can be wrong with the answer.
    SwitchingProtocols { extensions, protocol, headers }
        .write(request, &mut answer)
        .map(|()| answer)
        .map_err(|_| Refused::because(Reason::InternalError))
}

impl Refused {
    pub(crate) const fn because(reason: Reason) -> Self {
        Self { reason, cause: None, detail: None, limit: None, is_bodiless: false }
    }

    /// For `reason`; the operator is told what exactly was wrong.
    pub(crate) fn detailed(reason: Reason, detail: &impl ToString) -> Self {
        Self { detail: Some(detail.to_string()), ..Self::because(reason) }
    }

    fn by_head(refusal: Refusal) -> Self {
        let limit = limit_of(refusal, &HEAD_LIMITS).and_then(|limit| u64::try_from(limit).ok());
        Self { cause: Some(refusal), limit, ..Self::detailed(reason_of(refusal), &refusal) }
    }

    /// RFC 9110 §9.3.2: the answer to a HEAD, refused as it is, has no body.
    fn answering(self, head: &[u8]) -> Self {
        Self { is_bodiless: head.starts_with(b"HEAD "), ..self }
    }

    /// The whole answer: status line, headers, and the problem of RFC 9457.
    /// Random `bits` spread those who are told to come back.
    pub(crate) fn answer(&self, bits: u64) -> Vec<u8> {
        use std::fmt::Write as _;
        let row = self.reason.row();
        let status = row.status.unwrap_or(500);
        let retry_after_seconds = row.retry_after_seconds(bits);
        let problem = self.reason.problem_json_after(retry_after_seconds);
        let mut head = format!("HTTP/1.1 {status} {}\r\n", reason_phrase(status));
        // Writing to a string cannot fail.
        for (name, value) in self.cause.map_or(&[][..], |cause| cause.answer_headers()) {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if let Some(challenge) = challenge(self.reason) {
            let _ = write!(head, "WWW-Authenticate: {challenge}\r\n");
        }
        if let Some(seconds) = retry_after_seconds {
            let _ = write!(head, "Retry-After: {seconds}\r\n");
        }
        let _ = write!(
            head,
            "Content-Type: application/problem+json\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             Connection: close\r\n\r\n",
            problem.len(),
        );
        if !self.is_bodiless {
            head.push_str(&problem);
        }
        head.into_bytes()
    }
}

/// Sends a refusal and closes our side; then waits for the client's, so that bytes it still sends do not reset the
/// connection under the answer. The caller bounds the time.
pub(crate) async fn send_refusal<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut S,
    answer: &[u8],
) -> io::Result<()> {
    socket.write_all(answer).await?;
    socket.shutdown().await?;
    let mut discarded = 0;
    let mut buffer = [0; 1024];
    while discarded < DISCARDED_BYTES_MAX {
        match socket.read(&mut buffer).await? {
            0 => break,
            count => discarded += count,
        }
    }
    Ok(())
}

/// RFC 6750 §3: how a client may say who it is, and what was wrong with how it did. Says nothing to a client that showed
/// nothing (§3.1).
fn challenge(reason: Reason) -> Option<String> {
    let row = reason.row();
    let error = match (reason, row.status) {
        (Reason::TokenMissing, _) => return Some(REALM.to_owned()),
        (Reason::CredentialsConflicting, _) => "invalid_request",
        (_, Some(401)) => "invalid_token",
        (_, _) => return None,
    };
    Some(format!("{REALM}, error=\"{error}\", error_description=\"{}\"", row.sentence))
}

/// The row of the table for each rule of the head.
const fn reason_of(refusal: Refusal) -> Reason {
    match refusal {
        Refusal::Head(fault) => reason_of_head(fault),
        Refusal::Field(fault) => reason_of_field(fault),
        Refusal::MethodNotGet => Reason::MethodNotAllowed,
        Refusal::TargetFormUnsupported
        | Refusal::TargetNotHost
        | Refusal::PathCharacter
        | Refusal::PathEscape
        | Refusal::PathNotNormal
        | Refusal::QueryMalformed => Reason::RequestTargetInvalid,
        Refusal::BodyDeclared => Reason::RequestBodyRefused,
        Refusal::HostMissing | Refusal::HostMalformed => Reason::HostInvalid,
        Refusal::UpgradeMissing | Refusal::UpgradeNotWebSocket | Refusal::ConnectionNotUpgrade => {
            Reason::UpgradeRequired
        }
        Refusal::OriginMalformed => Reason::RequestMalformed,
        Refusal::VersionMissing | Refusal::VersionUnsupported => Reason::WebSocketVersionUnsupported,
        Refusal::KeyMissing | Refusal::KeyMalformed => Reason::WebSocketKeyInvalid,
        Refusal::ProtocolDuplicated => Reason::SubprotocolsInvalid,
    }
}

const fn reason_of_head(fault: HeadFault) -> Reason {
    match fault {
        HeadFault::EmptyLineFirst
        | HeadFault::LineFeedBare
        | HeadFault::CarriageReturnBare
        | HeadFault::ControlCharacter
        | HeadFault::LineFolded
        | HeadFault::HeaderNameMalformed
        | HeadFault::StartLineMalformed
        | HeadFault::HttpVersionAncient
        | HeadFault::HeadIncomplete => Reason::RequestMalformed,
        HeadFault::HttpVersionUnsupported => Reason::HttpVersionUnsupported,
        HeadFault::StartLineTooLong => Reason::RequestLineTooLong,
        HeadFault::HeadTooLarge => Reason::RequestHeadTooLarge,
        HeadFault::HeadersTooMany => Reason::RequestHeadersTooMany,
    }
}

const fn reason_of_field(fault: FieldFault) -> Reason {
    match fault {
        FieldFault::Duplicated(_) => Reason::HeaderDuplicated,
        FieldFault::NotAscii(field)
        | FieldFault::ListMalformed(field)
        | FieldFault::ListTooLong(field)
        | FieldFault::ListEntriesTooMany(field) => match field {
            Field::Protocol => Reason::SubprotocolsInvalid,
            Field::Extensions => Reason::ExtensionsInvalid,
            Field::Host => Reason::HostInvalid,
            Field::Key => Reason::WebSocketKeyInvalid,
            Field::Accept
            | Field::Authorization
            | Field::Connection
            | Field::Origin
            | Field::Upgrade
            | Field::Version => Reason::RequestMalformed,
        },
    }
}

/// The limit that a head exceeds, in bytes or counts.
fn limit_of(refusal: Refusal, limits: &HeadLimits) -> Option<usize> {
    if let Refusal::Head(fault) = refusal {
        return match fault {
            HeadFault::StartLineTooLong => Some(limits.request_line_bytes_max),
            HeadFault::HeadTooLarge => Some(limits.head_bytes_max),
            HeadFault::HeadersTooMany => Some(limits.headers_max),
            HeadFault::EmptyLineFirst
            | HeadFault::LineFeedBare
            | HeadFault::CarriageReturnBare
            | HeadFault::ControlCharacter
            | HeadFault::LineFolded
            | HeadFault::HeaderNameMalformed
            | HeadFault::StartLineMalformed
            | HeadFault::HttpVersionAncient
            | HeadFault::HttpVersionUnsupported
            | HeadFault::HeadIncomplete => None,
        };
    }
    let Refusal::Field(fault) = refusal else { return None };
    match fault {
        FieldFault::ListTooLong(_) => Some(limits.list_bytes_max),
        FieldFault::ListEntriesTooMany(_) => Some(limits.list_entries_max),
        FieldFault::Duplicated(_) | FieldFault::NotAscii(_) | FieldFault::ListMalformed(_) => None,
    }
}

/// The reason phrases of RFC 9110 §15 and RFC 6585 for the statuses of the table.
const fn reason_phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Refused",
    }
}

/// A token among the subprotocols may be long.
const HEAD_LIMITS: HeadLimits =
    HeadLimits { uncounted_protocol_prefix: Some(TOKEN_SUBPROTOCOL), ..HeadLimits::DEFAULT };
const REALM: &str = "Bearer realm=\"drawgate\"";
const HEAD_BYTES_TYPICAL: usize = 1024;
const ANSWER_BYTES_TYPICAL: usize = 160;
/// What a refused client may still send before it is cut off.
const DISCARDED_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_told_is_what_the_protocol_says_for_every_refusal() {
        let refusals = refusals();
        // Were one not in the list, its place would be missing.
        let places: BTreeSet<_> = refusals.iter().map(|refusal| place(*refusal)).collect();
        assert!(places.into_iter().eq(0..PLAIN.len() + 2));
        for refusal in refusals {
            let refused = Refused::by_head(refusal);
            assert_eq!(refused.reason.row().status, Some(refusal.status()), "{refusal}");
            let answer = String::from_utf8(refused.answer(0)).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {} ", refusal.status())), "{answer}");
            for (name, value) in refusal.answer_headers() {
                assert!(answer.contains(&format!("\r\n{name}: {value}\r\n")), "{answer}");
            }
        }
    }

    #[test]
    fn every_status_of_the_table_has_its_reason_phrase() {
        for status in Reason::ALL.iter().filter_map(|reason| reason.row().status) {
            assert_ne!(reason_phrase(status), "Refused", "{status}");
        }
    }

    #[test]
    fn a_limit_is_named_where_one_was_exceeded() {
        for (refusal, limit) in [
            (Refusal::Head(HeadFault::StartLineTooLong), Some(8192)),
            (Refusal::Head(HeadFault::HeadTooLarge), Some(16_384)),
            (Refusal::Head(HeadFault::HeadersTooMany), Some(64)),
            (Refusal::Field(FieldFault::ListTooLong(Field::Protocol)), Some(1024)),
            (Refusal::Field(FieldFault::ListEntriesTooMany(Field::Extensions)), Some(16)),
            (Refusal::Head(HeadFault::LineFolded), None),
            (Refusal::MethodNotGet, None),
        ] {
            assert_eq!(Refused::by_head(refusal).limit, limit, "{refusal}");
        }
    }

    fn refusals() -> Vec<Refusal> {
        let heads = HeadFault::ALL.map(Refusal::Head);
        let fields = FIELDS.into_iter().flat_map(|field| FAULTS.map(|fault| Refusal::Field(fault(field))));
        PLAIN.into_iter().chain(heads).chain(fields).collect()
    }

    /// A number for each variant: a new one does not compile until it has its own.
    fn place(refusal: Refusal) -> usize {
        match refusal {
            Refusal::MethodNotGet => 0,
            Refusal::TargetFormUnsupported => 1,
            Refusal::TargetNotHost => 2,
            Refusal::PathCharacter => 3,
            Refusal::PathEscape => 4,
            Refusal::PathNotNormal => 5,
            Refusal::QueryMalformed => 6,
            Refusal::BodyDeclared => 7,
            Refusal::HostMissing => 8,
            Refusal::HostMalformed => 9,
            Refusal::UpgradeMissing => 10,
            Refusal::UpgradeNotWebSocket => 11,
            Refusal::ConnectionNotUpgrade => 12,
            Refusal::VersionMissing => 13,
            Refusal::VersionUnsupported => 14,
            Refusal::KeyMissing => 15,
            Refusal::KeyMalformed => 16,
            Refusal::OriginMalformed => 17,
            Refusal::ProtocolDuplicated => 18,
            Refusal::Head(_) => 19,
            Refusal::Field(_) => 20,
        }
    }

    const PLAIN: [Refusal; 19] = [
        Refusal::MethodNotGet,
        Refusal::TargetFormUnsupported,
        Refusal::TargetNotHost,
        Refusal::PathCharacter,
        Refusal::PathEscape,
        Refusal::PathNotNormal,
        Refusal::QueryMalformed,
        Refusal::BodyDeclared,
        Refusal::HostMissing,
        Refusal::HostMalformed,
        Refusal::UpgradeMissing,
        Refusal::UpgradeNotWebSocket,
        Refusal::ConnectionNotUpgrade,
        Refusal::VersionMissing,
        Refusal::VersionUnsupported,
        Refusal::KeyMissing,
        Refusal::KeyMalformed,
        Refusal::OriginMalformed,
        Refusal::ProtocolDuplicated,
    ];

    const FIELDS: [Field; 10] = [
        Field::Authorization,
        Field::Connection,
        Field::Host,
        Field::Origin,
        Field::Accept,
        Field::Extensions,
        Field::Key,
        Field::Protocol,
        Field::Version,
        Field::Upgrade,
    ];

    const FAULTS: [fn(Field) -> FieldFault; 5] = [
        FieldFault::Duplicated,
        FieldFault::NotAscii,
        FieldFault::ListMalformed,
        FieldFault::ListTooLong,
        FieldFault::ListEntriesTooMany,
    ];
}
