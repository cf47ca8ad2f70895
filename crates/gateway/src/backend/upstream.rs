//! Applications behind the gate that speak WebSocket themselves: which of them a connection goes to, and the way there.
//!
//! A connection is dialled (`dial.rs`), asked for the upgrade (`request.rs`), and is the client's only once the answer has been
//! verified (`answer.rs`). Nothing of what the client sends goes out before that, and nothing is dialled before the client's own
//! request has been. Never reads or writes a frame: that is the relay's. Connections are one client's each, and never used again.

mod answer;
mod dial;
mod request;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use drawgate_protocol::handshake::{ResponseRefusal, WriteError};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::chance::Chance;
use crate::reason::Reason;
use crate::tls::{Trust, TrustError, Wire};
use crate::url::UpstreamUrl;

pub(crate) use answer::SET_COOKIE;
pub(crate) use request::{Opening, Speaker};

/// Where the messages of a route go: a WebSocket application, unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The addresses of the application, at least one.
    pub urls: Vec<UpstreamUrl>,
    /// The authorities, in PEM, one of which must have signed the certificates of `wss:` addresses; the system's where there is none.
    pub ca_file: Option<PathBuf>,
    /// How long it may take to find the address and connect to it.
    pub connect_timeout: Duration,
    /// How long it may take then to answer, the TLS handshake included.
    pub answer_timeout: Duration,
}

impl Config {
    /// The application at `url`, with the default deadlines.
    #[must_use]
    pub fn new(url: UpstreamUrl) -> Self {
        Self {
            urls: vec![url],
            ca_file: None,
            connect_timeout: CONNECT_TIMEOUT,
            answer_timeout: ANSWER_TIMEOUT,
        }
    }
}

/// The application of one route, ready to be dialled.
pub(crate) struct Upstream {
    config: Config,
    /// For addresses that are `wss:`.
    tls: Option<TlsConnector>,
}

/// A connection to an application that has answered the upgrade as it must.
pub(crate) struct Connected {
    pub(crate) socket: Wire<TcpStream>,
    /// The subprotocol that it chose.
    pub(crate) protocol: Option<String>,
    /// The values of the headers of its answer that the client may see.
    pub(crate) cookies: Vec<Vec<u8>>,
    /// What came behind its answer.
    pub(crate) rest: Vec<u8>,
}

impl Upstream {
    /// Reads the authorities, if any address needs them.
    pub(crate) fn new(config: Config) -> Result<Arc<Self>, TrustError> {
        let needs_tls = config.urls.iter().any(UpstreamUrl::is_secure);
        let trust = config.ca_file.clone().map_or(Trust::System, Trust::File);
        let tls = needs_tls.then(|| trust.client_settings().map(TlsConnector::from)).transpose()?;
        Ok(Arc::new(Self { config, tls }))
    }

    /// Which of the addresses the next connection goes to.
    fn choose(&self) -> Option<&UpstreamUrl> {
        self.config.urls.first()
    }

    /// Dials, asks, and verifies the answer.
    pub(crate) async fn connect(
        &self,
        opening: &Opening<'_>,
        chance: &Chance,
    ) -> Result<Connected, DialError> {
        let url = self.choose().ok_or(DialError::Nowhere)?;
        let Config { connect_timeout, answer_timeout, .. } = self.config;
        let socket = timeout(connect_timeout, dial::dial(url, connect_timeout))
            .await
            .unwrap_or(Err(DialError::ConnectTooSlow(connect_timeout)))?;
        let answered = async {
            let socket = dial::encrypt(url, socket, self.tls.as_ref()).await?;
            request::ask(socket, url, opening, chance).await
        };
        timeout(answer_timeout, answered).await.unwrap_or(Err(DialError::AnswerTooSlow(answer_timeout)))
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
    #[error("the request cannot be written: {0}")]
    Request(WriteError),
}

impl DialError {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Nowhere | Self::Request(_) => Reason::InternalError,
            Self::Refused(_) => Reason::UpstreamRefused,
            Self::Unresolved(_) | Self::Unreachable(_) => Reason::UpstreamUnreachable,
            Self::ConnectTooSlow(_) | Self::AnswerTooSlow(_) => Reason::UpstreamTimeout,
            Self::Tls(_) => Reason::UpstreamTlsFailed,
            Self::Answer(ResponseRefusal::StatusNotSwitching(_)) => Reason::UpstreamDeclined,
            Self::Cut(_) | Self::Answer(_) => Reason::UpstreamAnswerInvalid,
        }
    }

    /// The deadline that passed, if one did.
    pub(crate) fn limit(&self) -> Option<Duration> {
        match self {
            Self::ConnectTooSlow(limit) | Self::AnswerTooSlow(limit) => Some(*limit),
            Self::Nowhere
            | Self::Unresolved(_)
            | Self::Refused(_)
            | Self::Unreachable(_)
            | Self::Tls(_)
            | Self::Cut(_)
            | Self::Answer(_)
            | Self::Request(_) => None,
        }
    }
}

/// A handshake across an ocean takes a third of a second; what takes longer than this will not come.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// An application may look the user up before it answers.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
