//! From bytes to a route: reads the request head within its bounds, judges it, and writes the `101` or the refusal.
//!
//! Comes after the firewall (and TLS); the session, the backend and the relay come after it. What the head itself must
//! be is [`drawgate_protocol::handshake`]'s; here are the things that a configuration decides: host, path and origin.
//! Deadlines are the caller's.

use std::io;

use drawgate_protocol::handshake::{
    Extension, Field, FieldFault, HeadFault, HeadLimits, HeadScanner, Refusal, Request, SwitchingProtocols,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::reason::Reason;
use crate::route::{Origins, PathPattern, canonical_origin};

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

/// A request that was accepted: what to answer, and where it leads.
#[derive(Debug)]
pub(crate) struct Accepted<T> {
    /// The route.
    pub(crate) route: T,
    /// The `101`.
    pub(crate) answer: Vec<u8>,
}

/// Why a request was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// What the client is told.
    pub(crate) reason: Reason,
    /// What exactly was wrong with the head, for the operator.
    pub(crate) cause: Option<Refusal>,
}

/// A head that has been read, and what came behind it.
#[derive(Debug)]
pub(crate) struct Head {
    bytes: Vec<u8>,
    head_bytes: usize,
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
        let limits = HeadLimits::default();
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
                Ok(Some(head_bytes)) => return Ok(Self { bytes, head_bytes }),
                Err(fault) => return Err(HeadError::Refused(Refused::by_head(Refusal::Head(fault)))),
            }
        }
    }

    /// Judges the head: the route that it leads to, and the answer. `negotiate` accepts of the client's extensions what
    /// the route takes, and says how the answer puts it.
    pub(crate) fn judge<T: Clone>(
        &self,
        entrances: &Entrances<T>,
        negotiate: impl FnOnce(&T, &[Extension<'_>]) -> Option<String>,
    ) -> Result<Accepted<T>, Refused> {
        let limits = HeadLimits::default();
        let request = Request::parse(&self.bytes[..self.head_bytes], &limits).map_err(Refused::by_head)?;
        let entrance = entrances.find(&request).ok_or(Refused::because(Reason::RouteNotFound))?;
        if !entrance.admits_origin(&request) {
            return Err(Refused::because(Reason::OriginRefused));
        }
        let mut answer = Vec::with_capacity(ANSWER_BYTES_TYPICAL);
        let extensions = negotiate(&entrance.route, &request.extensions);
        // Nothing is chosen that the request did not offer, so nothing can be wrong with the answer.
        SwitchingProtocols { extensions: extensions.as_deref(), ..SwitchingProtocols::default() }
            .write(&request, &mut answer)
            .map_err(|_| Refused::because(Reason::InternalError))?;
        Ok(Accepted { route: entrance.route.clone(), answer })
    }

    /// What came behind the head.
    pub(crate) fn into_rest(mut self) -> Vec<u8> {
        if self.bytes.len() == self.head_bytes {
            return Vec::new();
        }
        self.bytes.split_off(self.head_bytes)
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

    fn find(&self, request: &Request<'_>) -> Option<&Entrance<T>> {
        self.0.iter().find(|entrance| {
            let takes_path = match &entrance.path {
                PathPattern::Exact(path) => request.path == path,
                PathPattern::Prefix(path) => request.path.starts_with(path.as_str()),
            };
            takes_path
                && (entrance.hosts.is_empty()
                    || entrance.hosts.iter().any(|host| request.host.is_named(host)))
        })
    }
}

impl<T> Entrance<T> {
    /// RFC 6455 §10.2: browsers say which page they act for, and cannot be made to lie about it. A client that sends no
    /// Origin is not a browser, and this protects nobody from it.
    fn admits_origin(&self, request: &Request<'_>) -> bool {
        let Some(origin) = request.origin else { return true };
        match &self.origins {
            Origins::Any => true,
            Origins::Listed(listed) => listed.iter().any(|allowed| allowed == origin),
            // Both in canonical form, so that a scheme's own port may be written or left out.
            Origins::Same => canonical_origin(&format!("http://{}", request.host.as_str()))
                .is_some_and(|own| canonical_origin(origin).as_deref() == Some(&own)),
        }
    }
}

impl Refused {
    pub(crate) const fn because(reason: Reason) -> Self {
        Self { reason, cause: None }
    }

    fn by_head(refusal: Refusal) -> Self {
        Self { reason: reason_of(refusal), cause: Some(refusal) }
    }

    /// The whole answer: status line, headers, and the problem of RFC 9457.
    pub(crate) fn answer(&self) -> Vec<u8> {
        use std::fmt::Write as _;
        let row = self.reason.row();
        let status = row.status.unwrap_or(500);
        let problem = self.reason.problem_json();
        let mut head = format!("HTTP/1.1 {status} {}\r\n", reason_phrase(status));
        // Writing to a string cannot fail.
        for (name, value) in self.cause.map_or(&[][..], |cause| cause.answer_headers()) {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if status == 401 {
            head.push_str("WWW-Authenticate: Bearer\r\n");
        }
        if let Some(seconds) = row.retry.after_seconds() {
            let _ = write!(head, "Retry-After: {seconds}\r\n");
        }
        let _ = write!(
            head,
            "Content-Type: application/problem+json\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             Connection: close\r\n\r\n{problem}",
            problem.len(),
        );
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
        Refusal::UpgradeMissing | Refusal::UpgradeNotWebSocket => Reason::UpgradeRequired,
        Refusal::ConnectionNotUpgrade | Refusal::VersionMissing | Refusal::OriginMalformed => {
            Reason::RequestMalformed
        }
        Refusal::VersionUnsupported => Reason::WebSocketVersionUnsupported,
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
            _ => Reason::RequestMalformed,
        },
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
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Refused",
    }
}

const HEAD_BYTES_TYPICAL: usize = 1024;
const ANSWER_BYTES_TYPICAL: usize = 160;
/// What a refused client may still send before it is cut off.
const DISCARDED_BYTES_MAX: usize = 64 * 1024;
