//! Applications behind the gate that speak WebSocket themselves: which of them a connection goes to, and the way there.
//!
//! A connection is dialled (`dial.rs`), asked for the upgrade (`request.rs`), and is the client's only once the answer has been
//! verified (`answer.rs`). Nothing of what the client sends goes out before that, and nothing is dialled before the client's own
//! request has been. Never reads or writes a frame: that is the relay's. Connections are one client's each, and never used again.

mod answer;
mod check;
mod dial;
mod drains;
mod passing;
mod pool;
mod request;
mod resolver;
mod socket;

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use drawgate_protocol::deflate::{Agreement, AnswerFault};
use drawgate_protocol::handshake::{ResponseRefusal, WriteError};
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use self::dial::Encryption;
use self::pool::{Pool, Seat};
use crate::balance::Balance;
use crate::chance::Chance;
use crate::clock::{Clock, Instant, UnixTime};
use crate::compression::Offer;
use crate::observe::Observer;
use crate::reason::Reason;
use crate::tls::{CertificateFiles, FileError, OwnCertificate, TrustError, Wire};
use crate::url::UpstreamUrl;

pub use check::{Check, CheckKind};
pub use passing::{Cookies, HeaderName, HeaderNameError, HostSent, Identity, OriginSent, Passing};
pub use resolver::Resolver;

pub(crate) use drains::Drains;
pub(crate) use pool::Lease;
pub(crate) use request::TRACEPARENT;
pub(crate) use request::{Opening, Speaker};
pub(crate) use socket::Socket;

/// Where the messages of a route go: a WebSocket application, unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The applications, at least one, each as good as the others.
    pub members: Vec<Member>,
    /// How connections are spread over them.
    pub balance: Balance,
    /// Failures in a row after which one of several is left alone for a while; `None` is never.
    pub failures_max: Option<u32>,
    /// The most connections that are being made at a time; others wait for their turn.
    pub dials_max: u32,
    /// The authorities, in PEM, one of which must have signed the certificates of `wss:` addresses; the system's where there is none.
    pub ca_file: Option<PathBuf>,
    /// The certificate that is shown to `wss:` addresses that ask for one.
    pub certificate: Option<Box<CertificateFiles>>,
    /// The host that the certificates of `wss:` addresses must be for, and that is named to them (SNI); that of each address where there
    /// is none.
    pub server_name: Option<String>,
    /// How long it may take to find the address and connect to it.
    pub connect_timeout: Duration,
    /// How long it may take then to answer, the TLS handshake included.
    pub answer_timeout: Duration,
    /// How long all of it may take: waiting for its turn, and every application that is tried.
    pub total_timeout: Duration,
    /// Who says where the names of addresses lead.
    pub resolver: Resolver,
    /// What goes on beside the messages.
    pub passing: Box<Passing>,
    /// Whether they are offered permessage-deflate (RFC 7692).
    pub compression: bool,
    /// How they are asked from time to time whether they are well; `None` is never.
    pub check: Option<Box<Check>>,
}

/// One application of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its address.
    pub url: UpstreamUrl,
    /// How much of the connections it gets beside the others, at least 1.
    pub weight: u32,
    /// The most connections that it has at a time; `None` is unlimited.
    pub connections_max: Option<u32>,
}

impl Member {
    /// The application at `url`, as good as any other.
    #[must_use]
    pub const fn new(url: UpstreamUrl) -> Self {
        Self { url, weight: 1, connections_max: None }
    }
}

impl Config {
    /// The application at `url`, with the default deadlines.
    #[must_use]
    pub fn new(url: UpstreamUrl) -> Self {
        Self {
            members: vec![Member::new(url)],
            balance: Balance::default(),
            failures_max: Some(FAILURES_MAX),
            dials_max: DIALS_MAX,
            ca_file: None,
            certificate: None,
            server_name: None,
            connect_timeout: CONNECT_TIMEOUT,
            answer_timeout: ANSWER_TIMEOUT,
            total_timeout: TOTAL_TIMEOUT,
            resolver: Resolver::default(),
            passing: Box::default(),
            compression: false,
            check: None,
        }
    }
}

/// The applications of one route, ready to be dialled.
pub(crate) struct Upstream {
    config: Config,
    pool: Pool,
    /// One place for each connection that is being made.
    dials: Semaphore,
    /// For addresses that are `wss:`.
    tls: Option<Encryption>,
    own: Option<Arc<OwnCertificate>>,
}

/// A connection to an application that has answered the upgrade as it must.
pub(crate) struct Connected {
    pub(crate) socket: Wire<Socket>,
    /// Its place among the application's connections.
    pub(crate) lease: Option<Lease>,
    /// The subprotocol that it chose.
    pub(crate) protocol: Option<String>,
    /// The headers of its answer that the client may see.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// What it has agreed to, of an offer to compress.
    pub(crate) agreement: Option<Agreement>,
    /// That offer, where it has.
    pub(crate) offer: Option<Offer>,
    /// What came behind its answer.
    pub(crate) rest: Vec<u8>,
}

impl Upstream {
    /// Reads the authorities, if any address needs them.
    pub(crate) fn new(
        config: Config,
        route: &str,
        observer: &Observer,
        drains: &Drains,
        now: UnixTime,
    ) -> Result<Arc<Self>, NotReady> {
        let needs_tls = config.members.iter().any(|member| member.url.is_secure());
        let own = config.certificate.as_deref().filter(|_| needs_tls);
        let own = own.map(|files| OwnCertificate::load(files.clone(), now)).transpose()?.map(Arc::new);
        let tls = needs_tls.then(|| Encryption::new(&config, own.clone())).transpose()?;
        let pool = Pool::new(&config, route, observer, drains);
        let dials = Semaphore::new(
            usize::try_from(config.dials_max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS),
        );
        Ok(Arc::new(Self { config, pool, dials, tls, own }))
    }

    /// Whether the applications are offered compression.
    pub(crate) const fn compresses(&self) -> bool {
        self.config.compression
    }

    /// What it shows to applications, to be read again when its files change.
    pub(crate) const fn own_certificate(&self) -> Option<&Arc<OwnCertificate>> {
        self.own.as_ref()
    }

    /// Finds the application, dials, asks, and verifies the answer. Another is tried as long as nothing has been asked of the first.
    pub(crate) async fn connect(
        &self,
        opening: &Opening<'_>,
        chance: &Chance,
        clock: &Clock,
    ) -> Result<Connected, DialError> {
        // Each step ends there at the latest: a timer for the whole would be one more for every connection.
        let end = End { at: clock.now() + self.config.total_timeout, time: self.config.total_timeout };
        let _turn = timeout_at(end.at, self.dials.acquire()).await.map_err(|_| end.error())?;
        let mut last = None;
        let (choice, mut tried) = (self.pool.choice(opening), Vec::with_capacity(self.pool.len()));
        loop {
            let attempt = match self.pool.take(choice, &mut tried, clock.now()) {
                Ok(attempt) => attempt,
                Err(none_left) => return Err(last.take().unwrap_or(none_left)),
            };
            let Some(seat) = attempt.seat() else { return Err(DialError::Nowhere) };
            match self.try_at(seat, opening, chance, clock, end).await {
                Ok(connected) => return Ok(Connected { lease: attempt.succeed(), ..connected }),
                // That says nothing of this one, which may have had its turn only now.
                Err((error @ DialError::AllTooSlow(_), _)) => return Err(error),
                Err((error, is_asked)) => {
                    attempt.fail(&error, is_asked, clock.now());
                    if is_asked {
                        return Err(error);
                    }
                    last = Some(error);
                }
            }
        }
    }

    /// One attempt; with its failure, whether the application may have been asked.
    async fn try_at(
        &self,
        seat: &Seat,
        opening: &Opening<'_>,
        chance: &Chance,
        clock: &Clock,
        end: End,
    ) -> Result<Connected, (DialError, bool)> {
        let Config { connect_timeout, answer_timeout, ref resolver, .. } = self.config;
        let url = &seat.url;
        let until = clock.now() + connect_timeout;
        let late = |_| Err(end.late(until, DialError::ConnectTooSlow(connect_timeout)));
        // Nothing is around the steps themselves: every connection on its way in has room for all of it.
        let dialled = dial::dial(seat, resolver, seat.next_turn(), connect_timeout);
        let socket = timeout_at(until.min(end.at), dialled).await.unwrap_or_else(late);
        let socket = socket.map_err(|error| (error, false))?;
        let mut is_asked = false;
        let answered = async {
            let socket = dial::encrypt(url, socket, self.tls.as_ref()).await?;
            is_asked = true;
            request::ask(socket, url, opening, &self.config.passing, chance).await
        };
        let until = clock.now() + answer_timeout;
        let late = |_| Err(end.late(until, DialError::AnswerTooSlow(answer_timeout)));
        let answer = timeout_at(until.min(end.at), answered).await.unwrap_or_else(late);
        answer.map_err(|error| (error.told_by_tls(), is_asked))
    }
}

/// The end of the time that there is for a connection to be made.
#[derive(Clone, Copy)]
struct End {
    at: Instant,
    /// How much there was.
    time: Duration,
}

impl End {
    fn error(self) -> DialError {
        DialError::AllTooSlow(self.time)
    }

    /// What is too slow where a step that had until `until` is `late`: all of it, if there was no more time.
    fn late(self, until: Instant, late: DialError) -> DialError {
        if self.at <= until { self.error() } else { late }
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Why there is no connection to the application.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("the route names no address")]
    Nowhere,
    #[error("the address of the host cannot be found: {0}")]
    Unresolved(io::Error),
    #[error("nothing takes connections there: {0}")]
    Refused(io::Error),
    #[error("there is no way there: {0}")]
    Unreachable(io::Error),
    #[error("no connection within {} ms", .0.as_millis())]
    ConnectTooSlow(Duration),
    #[error("the TLS handshake failed: {0}")]
    Tls(io::Error),
    #[error("no answer within {} ms", .0.as_millis())]
    AnswerTooSlow(Duration),
    #[error("the connection ended before the answer was complete: {0}")]
    Cut(io::Error),
    #[error("the answer is none: {0}")]
    Answer(ResponseRefusal),
    #[error("the answer does not accept the offer to compress: {0}")]
    Compression(AnswerFault),
    #[error("the request cannot be written: {0}")]
    Request(WriteError),
    #[error("every application has as many connections as it may have")]
    Full,
    #[error(
        "every application is left alone, since it failed again and again or its checks did, or is drained"
    )]
    AllEjected,
    #[error("no application took the connection within {} ms", .0.as_millis())]
    AllTooSlow(Duration),
}

/// Why applications cannot be spoken to at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotReady {
    #[error("their certificates could not be verified: {0}")]
    Trust(#[from] TrustError),
    #[error("the certificate that they are shown cannot be used: {0}")]
    Certificate(#[from] FileError),
}

impl DialError {
    /// The same, and where a connection was cut by TLS, that. In TLS 1.3 an application says what it has against our certificate only when
    /// the handshake is over for us (RFC 8446 §4.4.2.4).
    fn told_by_tls(self) -> Self {
        match self {
            Self::Cut(error)
                if error.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<rustls::Error>) =>
            {
                Self::Tls(error)
            }
            other => other,
        }
    }

    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Nowhere | Self::Request(_) => Reason::InternalError,
            Self::Refused(_) => Reason::UpstreamRefused,
            Self::Unresolved(_) | Self::Unreachable(_) => Reason::UpstreamUnreachable,
            Self::ConnectTooSlow(_) | Self::AnswerTooSlow(_) | Self::AllTooSlow(_) => Reason::UpstreamTimeout,
            Self::Tls(_) => Reason::UpstreamTlsFailed,
            Self::Answer(ResponseRefusal::StatusNotSwitching(_)) => Reason::UpstreamDeclined,
            Self::Cut(_) | Self::Answer(_) | Self::Compression(_) => Reason::UpstreamAnswerInvalid,
            Self::Full => Reason::UpstreamFull,
            Self::AllEjected => Reason::UpstreamsUnavailable,
        }
    }

    /// Whether the application is not well. One that answers with another status than `101` has looked at the request; with one of
    /// its own making (5xx), it is not.
    pub(crate) const fn is_its_fault(&self) -> bool {
        match self {
            Self::Answer(ResponseRefusal::StatusNotSwitching(status)) => *status >= 500,
            Self::Nowhere | Self::Request(_) | Self::Full | Self::AllEjected => false,
            Self::Refused(_)
            | Self::Unresolved(_)
            | Self::Unreachable(_)
            | Self::ConnectTooSlow(_)
            | Self::AnswerTooSlow(_)
            | Self::AllTooSlow(_)
            | Self::Tls(_)
            | Self::Cut(_)
            | Self::Answer(_)
            | Self::Compression(_) => true,
        }
    }

    /// The deadline that passed, if one did.
    pub(crate) fn limit(&self) -> Option<Duration> {
        match self {
            Self::ConnectTooSlow(limit) | Self::AnswerTooSlow(limit) | Self::AllTooSlow(limit) => {
                Some(*limit)
            }
            Self::Nowhere
            | Self::Unresolved(_)
            | Self::Refused(_)
            | Self::Unreachable(_)
            | Self::Tls(_)
            | Self::Cut(_)
            | Self::Answer(_)
            | Self::Compression(_)
            | Self::Request(_)
            | Self::Full
            | Self::AllEjected => None,
        }
    }
}

/// A handshake across an ocean takes a third of a second; what takes longer than this will not come.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// An application may look the user up before it answers.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// One that is slow to connect, and another that takes its time to answer.
pub(crate) const TOTAL_TIMEOUT: Duration = Duration::from_secs(15);
/// One failure is an accident.
pub(crate) const FAILURES_MAX: u32 = 5;
/// More at a time would only wait in the application's backlog.
pub(crate) const DIALS_MAX: u32 = 256;
