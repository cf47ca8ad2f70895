//! Asks one application from time to time whether it is well: by a connection, by an HTTP answer, or by a whole WebSocket.
//!
//! One task for each application, which the server starts when the route is put in force and ends when it is out of force, or when the
//! drain begins. What a check has shown is counted by `balance`, and said where it changes something. Each check has a connection of its
//! own, which takes no client's place and goes the same way: the same names, deadlines below its own, authorities and addresses.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use drawgate_protocol::handshake::{ClientRequest, Header};
use drawgate_protocol::{CloseCode, CloseFrame, Event, Limits, Receiver, Role, Sender};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{sleep_until, timeout_at};

use super::pool::Seat;
use super::{DialError, HostSent, OriginSent, Passing, Upstream, answer, dial};
use crate::balance::{first_pause, next_pause};
use crate::chance::Chance;
use crate::clock::Clock;

/// How applications are asked whether they are well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is asked.
    pub kind: CheckKind,
    /// From the beginning of one check to the beginning of the next, give or take a tenth.
    pub interval: Duration,
    /// How long one may take; what takes longer has failed.
    pub timeout: Duration,
    /// Failures in a row after which no connection goes there.
    pub failures_max: u32,
    /// Successes in a row after which connections go there again.
    pub successes_min: u32,
}

impl Check {
    /// A check of this kind, with the default times and counts.
    #[must_use]
    pub const fn new(kind: CheckKind) -> Self {
        Self {
            kind,
            interval: CHECK_INTERVAL,
            timeout: CHECK_TIMEOUT,
            failures_max: CHECK_FAILURES_MAX,
            successes_min: CHECK_SUCCESSES_MIN,
        }
    }
}

/// What an application is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// To take a connection.
    Tcp,
    /// To answer `GET` of this path with a status of 2xx.
    Http {
        /// A path, and perhaps a query.
        path: String,
    },
    /// To answer the upgrade, and the Close behind it.
    WebSocket {
        /// A path, and perhaps a query; the address's own where there is none.
        path: Option<String>,
    },
}

/// Why a check has failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    #[error("{0}")]
    Dial(#[from] DialError),
    #[error("it took longer than {} ms", .0.as_millis())]
    TooSlow(Duration),
    #[error("the answer is not proper HTTP/1.1, or was cut off: {0}")]
    Http(hyper::Error),
    #[error("the answer has the status {0} instead of 2xx")]
    Status(u16),
}

impl Upstream {
    /// It is in force from now on; how many applications are to be checked.
    pub(crate) fn begin(&self) -> usize {
        let is_checked = self.config.check.is_some();
        self.pool.seats().iter().for_each(|seat| seat.begin(is_checked));
        if is_checked { self.pool.len() } else { 0 }
    }

    /// It is out of force: nothing that is still found out about its applications counts.
    pub(crate) fn end(&self) {
        self.pool.seats().iter().for_each(|seat| seat.end());
    }

    /// Checks the application at `place` until it is dropped.
    pub(crate) async fn keep_checking(self: Arc<Self>, place: usize, chance: Chance, clock: Clock) {
        let (Some(check), Some(seat)) = (&self.config.check, self.pool.seat(place)) else { return };
        // Beside the turns of connections, which are to be spread evenly.
        let mut turn = 0_usize;
        let mut due = clock.now() + first_pause(check.interval, chance.bits());
        loop {
            sleep_until(due).await;
            due = clock.now() + next_pause(check.interval, chance.bits());
            let checked = self.check(seat, (check, turn), &chance, &clock).await;
            seat.checked(checked, check);
            turn = turn.wrapping_add(1);
        }
    }

    /// Checks the application at `seat` once.
    async fn check(
        &self,
        seat: &Seat,
        (check, turn): (&Check, usize),
        chance: &Chance,
        clock: &Clock,
    ) -> Result<(), CheckError> {
        let until = clock.now() + check.timeout;
        let connect_timeout = self.config.connect_timeout.min(check.timeout);
        let too_slow = || Err(CheckError::TooSlow(check.timeout));
        let asked = async {
            let socket = dial::dial(seat, &self.config.resolver, turn, connect_timeout).await?;
            let host = host(&self.config.passing, seat);
            match &check.kind {
                CheckKind::Tcp => Ok(None),
                CheckKind::Http { path } => {
                    let socket = dial::encrypt(&seat.url, socket, self.tls.as_ref()).await?;
                    get(socket, host, path).await.map(|()| None)
                }
                CheckKind::WebSocket { path } => {
                    let mut socket = dial::encrypt(&seat.url, socket, self.tls.as_ref()).await?;
                    let path = path.as_deref().or(seat.url.path()).unwrap_or("/");
                    let rest = upgrade(&mut socket, (host, path), &self.config.passing, chance).await?;
                    Ok(Some((socket, rest)))
                }
            }
        };
        match timeout_at(until, asked).await {
            Ok(Ok(Some((socket, rest)))) => {
                // It has answered, and is well. How it says goodbye is waited for, so that it sees a whole WebSocket.
                let _ = timeout_at(until, close(socket, rest, chance.bytes())).await;
                Ok(())
            }
            Ok(outcome) => outcome.map(|_| ()),
            Err(_) => too_slow(),
        }
    }
}

/// What `Host` says: no client's, so the configured one or that of the address.
fn host<'c>(passing: &'c Passing, seat: &'c Seat) -> &'c str {
    match &passing.host {
        HostSent::Set(host) => host,
        HostSent::Client | HostSent::Address => seat.url.authority(),
    }
}

/// `GET` of `path`, and whether its status is 2xx. The body is nobody's.
async fn get<S>(socket: S, host: &str, path: &str) -> Result<(), CheckError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(socket))
        .await
        .map_err(CheckError::Http)?;
    let request = Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, AGENT)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .expect("a path and a host that the configuration was held to fit a request");
    let answered = sender.send_request(request);
    tokio::pin!(connection, answered);
    let mut is_over = false;
    let answer = loop {
        tokio::select! {
            biased;
            answer = &mut answered => break answer.map_err(CheckError::Http)?,
            // What happens to the connection is told by the answer.
            _ = &mut connection, if !is_over => is_over = true,
        }
    };
    let status: StatusCode = answer.status();
    if status.is_success() { Ok(()) } else { Err(CheckError::Status(status.as_u16())) }
}

/// Asks for the upgrade; what came behind the answer.
async fn upgrade<S>(
    socket: &mut S,
    (host, path): (&str, &str),
    passing: &Passing,
    chance: &Chance,
) -> Result<Vec<u8>, DialError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let origin = match &passing.origin {
        OriginSent::Set(origin) => Some(origin.as_str()),
        OriginSent::Client | OriginSent::Nothing => None,
    };
    let asked = ClientRequest {
        host,
        target: path,
        origin,
        protocols: &[],
        extensions: None,
        headers: &[Header { name: "User-Agent", value: AGENT.as_bytes() }],
        nonce: chance.bytes(),
    };
    let mut head = Vec::new();
    asked.write(&mut head).map_err(DialError::Request)?;
    socket.write_all(&head).await.map_err(DialError::Cut)?;
    socket.flush().await.map_err(DialError::Cut)?;
    Ok(answer::read(socket, &asked, passing).await?.rest)
}

/// Closes by 1000, and reads on until the answer to it, or until more has come than is worth waiting for.
async fn close<S>(mut socket: S, mut unread: Vec<u8>, key: [u8; 4])
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut goodbye = Vec::new();
    let frame = CloseFrame { code: CloseCode::NORMAL, reason: "" };
    let is_written = Sender::new(Role::Client).close(&mut goodbye, Some(frame), Some(key)).is_ok();
    if !is_written || socket.write_all(&goodbye).await.is_err() || socket.flush().await.is_err() {
        return;
    }
    let limits = Limits { message_bytes_max: u64::MAX, message_fragments_max: u32::MAX };
    let mut receiver = Receiver::new(Role::Client, limits);
    let mut read_bytes = unread.len();
    loop {
        let mut rest = &mut unread[..];
        loop {
            match receiver.receive(&mut rest) {
                Ok(Some(Event::Close(_))) | Err(_) => return,
                Ok(Some(_)) => {}
                Ok(None) => break,
            }
        }
        let kept = rest.len();
        unread.drain(..unread.len() - kept);
        match socket.read_buf(&mut unread).await {
            Ok(count @ 1..) if read_bytes < GOODBYE_BYTES_MAX => read_bytes += count,
            Ok(_) | Err(_) => return,
        }
    }
}

/// What a check says that it is.
const AGENT: &str = "drawgate-health-check";
/// Of an answer's head, and the most that is read at a time.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How much an application may say before it answers the Close.
const GOODBYE_BYTES_MAX: usize = 64 * 1024;
/// How often an application is asked.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How long an answer may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// With the times above, one that has stopped is found within 20 seconds.
const CHECK_FAILURES_MAX: u32 = 3;
/// One success could be an accident.
const CHECK_SUCCESSES_MIN: u32 = 2;
