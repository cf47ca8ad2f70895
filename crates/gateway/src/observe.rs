//! One end of a connection to one log record, one counter and, where it is not a normal one, one line of the error file.
//!
//! The only part of the library that logs and counts. It never decides how a connection ends, never waits for a disk,
//! and sets no subscriber: where tracing events go is the program's choice. Before it is the code that concludes a
//! connection; after it are the operator's log, `websocket_errors.log` and `/metrics`.

mod audit;
mod banned;
mod encode;
mod events;
mod keys;
mod lives;
mod load;
mod log;
mod metrics;
mod operated;
mod refused;
mod reloads;
mod rotate;
mod suppress;
mod tls;
mod traffic;
mod upstreams;
mod writer;

pub(crate) use banned::Banned;
pub use encode::{ENCODED_BYTES_MAX, Encoded};
pub(crate) use events::Event;
pub(crate) use keys::KeyMetrics;
pub use metrics::{CONTENT_TYPE, RouteMetrics};
pub(crate) use operated::{Action, Closed, Operated};
pub use refused::OfMessage;
pub(crate) use reloads::Changed;
pub use reloads::ReloadedBy;
pub use rotate::RotatingFile;
pub(crate) use tls::{HandshakeOutcome, TlsMetrics};
pub use traffic::{Count, Direction, FrameKind, Traffic, TrafficDelta};
pub(crate) use upstreams::{UpstreamMetrics, UpstreamState};

use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use drawgate_protocol::Violation;
use prometheus_client::metrics::gauge::Gauge;

use crate::audit::Mark;
use crate::clock::Clock;
use crate::principal::{ClientAddr, ConnectionId};
use crate::reason::{Fault, Reason};
use crate::session::SessionId;
use crate::state::Store;
use crate::trace::TraceId;
use audit::{Audit, Members};
use events::Events;
use log::Record;
use metrics::Metrics;
use suppress::{RecordKind, Suppressor};
use writer::Writer;

/// Logs and counts what happens to connections. Cheap to clone; dropping the last clone writes what is still queued for
/// the error file, for at most a second.
#[derive(Clone, Debug)]
pub struct Observer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    metrics: Metrics,
    suppressor: Suppressor,
    error_file: Option<Writer>,
    audit: OnceLock<Audit>,
    events: Events,
}

/// A line of the audit log about a connection, the same of an [`Opened`] and an [`Ended`] one.
macro_rules! about {
    ($kind:expr, $connection:expr) => {
        Members::of($kind)
            .with("connection", $connection.connection.to_string())
            .with("client", $connection.client.to_string())
            .maybe("via", $connection.via)
            .maybe("route", Option::<&str>::from($connection.route))
            .maybe("subject", $connection.subject)
            .maybe("session", $connection.session)
            .maybe("origin", $connection.origin)
    };
}

impl Observer {
    /// For the routes of the configuration; their names are the only ones that metrics will have.
    ///
    /// # Errors
    /// When the error file cannot be opened, or its thread not started.
    pub fn new(error_file: Option<&ErrorFile>, routes: &[&str], clock: Clock) -> io::Result<Self> {
        let metrics = Metrics::new(routes);
        let error_file = error_file
            .map(|config| {
                let mut file = RotatingFile::open(config.clone())?;
                Writer::start(move |line| file.write_line(line), metrics.records.lost.clone())
            })
            .transpose()?;
        let audit = OnceLock::new();
        Ok(Self(Arc::new(Inner {
            clock,
            metrics,
            suppressor: Suppressor::new(),
            error_file,
            audit,
            events: Events::default(),
        })))
    }

    /// Keeps an audit log from now on: to be called once, before anything happens that belongs in it. How far it has come is noted in
    /// `store`, where there is one, which has said `mark` of it.
    ///
    /// # Errors
    /// There is no key for it, or what is there does not go on from the key, or does not come as far as the mark.
    pub(crate) fn keep_audit(
        &self,
        config: &crate::audit::Config,
        store: Option<Store>,
        mark: Option<Mark>,
    ) -> io::Result<()> {
        let audit = Audit::start(config, self.0.metrics.audit.clone(), store, mark)?;
        let _ = self.0.audit.set(audit);
        self.audit(|| Members::of("started").with("version", env!("CARGO_PKG_VERSION")));
        Ok(())
    }

    /// The last line of this server's audit log; the state is given back when this is ready.
    pub(crate) async fn end_audit(&self) {
        self.audit(|| Members::of("stopped"));
        if let Some(audit) = self.0.audit.get() {
            audit.end().await;
        }
    }

    /// Whether nobody may be let in, since the audit log cannot be written and is to be complete.
    #[must_use]
    pub fn audit_keeps_out(&self) -> bool {
        self.0.audit.get().is_some_and(Audit::keeps_out)
    }

    /// An operator has drained the application `upstream`, or taken that back; how many connections it has, on all routes.
    pub(crate) fn upstream_drained(&self, upstream: &str, is_drained: bool) -> u64 {
        self.0.metrics.upstreams.drain(upstream, is_drained)
    }

    /// How every application behind the gate stands.
    pub(crate) fn upstreams(&self) -> Vec<UpstreamState> {
        self.0.metrics.upstreams.states()
    }

    /// The newest things that went wrong or that operators did, behind number `after`, and the number of the newest.
    pub(crate) fn events_after(&self, after: u64) -> (Vec<Event>, u64) {
        self.0.events.after(after)
    }

    /// Adds a line to the audit log, where there is one.
    fn audit(&self, members: impl FnOnce() -> Members) {
        if let Some(audit) = self.0.audit.get() {
            audit.write(self.0.clock.unix_now(), members().into_text());
        }
    }

    /// A handshake was accepted: to be called once, at the `101`.
    pub fn connection_opened(&self, opened: &Opened<'_>) {
        self.0.metrics.opened(opened);
        self.audit(|| about!("connected", opened));
        match self.0.suppressor.pass(RecordKind::Opened, self.0.clock.now()) {
            Some(suppressed) => log::emit_opened(opened, suppressed),
            None => self.count_suppressed(),
        }
    }

    /// A connection ended: to be called once for every accepted socket, after [`Self::connection_opened`] where its
    /// handshake was accepted.
    pub fn connection_ended(&self, ended: &Ended<'_>) {
        self.0.metrics.ended(ended);
        let now = self.0.clock.now();
        let passed = self.0.suppressor.pass(RecordKind::Ended(ended.reason), now);
        // Of those that were let in every end is there; refusals could be as many as somebody likes.
        if ended.phase == Phase::Open || passed.is_some() {
            self.audit(|| {
                let kind = if ended.phase == Phase::Open { "ended" } else { "refused" };
                let members = about!(kind, ended)
                    .with("reason", ended.reason.row().label)
                    .with("ended_by", ended.ended_by.label());
                match passed.filter(|suppressed| *suppressed > 0 && ended.phase == Phase::Handshake) {
                    Some(suppressed) => members.with("suppressed", suppressed),
                    None => members,
                }
            });
        }
        let Some(suppressed) = passed else {
            self.count_suppressed();
            return;
        };
        if is_fault(ended.reason) {
            let kind = if ended.phase == Phase::Open { "ended" } else { "refused" };
            let event = Event {
                client: Some(ended.client.to_string()),
                route: ended.route.map(str::to_owned),
                subject: ended.subject.map(|subject| Encoded(&subject).to_string()),
                ..Event::new(kind, ended.reason.row().label)
            };
            self.0.events.push(event.detailed(ended.detail), self.0.clock.unix_now());
        }
        let record = Record::new(ended, suppressed);
        record.emit();
        if let Some(error_file) = &self.0.error_file
            && (ended.phase == Phase::Handshake || is_fault(ended.reason))
        {
            error_file.write(record.line(self.0.clock.unix_now()), now);
        }
    }

    /// So many bans of addresses are kept.
    pub fn address_bans(&self, count: usize) {
        self.0.metrics.state.address_bans.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A ban of an address was refused, since there are as many as are kept.
    pub fn address_ban_refused(&self) {
        self.0.metrics.state.address_bans_refused.inc();
    }

    /// The process has no file descriptor left for a connection that waits to be accepted.
    pub fn descriptors_exhausted(&self) {
        self.0.metrics.descriptors_exhausted.inc();
    }

    /// Another token was taken for a session.
    pub fn session_refreshed(&self) {
        self.0.metrics.lives.sessions_refreshed.inc();
    }

    /// A revocation, a ban or its end was written to the state, or was not, for what is wrong with it.
    pub fn state_written(&self, result: Result<(), &dyn Display>) {
        let Err(error) = result else {
            self.0.metrics.state.written.inc();
            return;
        };
        self.0.metrics.state.not_written.inc();
        log::emit_state_not_written(error);
    }

    /// A connection goes without compression, because others hold all that is set aside for it.
    pub fn compression_declined(&self) {
        self.0.metrics.memory.compression_declined.inc();
    }

    /// Counts records that the program's own log had to drop.
    pub fn records_lost(&self, count: u64) {
        self.0.metrics.records.lost.log_full.inc_by(count);
    }

    /// Tells how many records were suppressed and not yet told of, one record a reason. To be called every few seconds,
    /// and at the end.
    pub fn report_suppressed(&self) {
        for (kind, suppressed) in self.0.suppressor.take_suppressed() {
            let reason = match kind {
                RecordKind::Opened | RecordKind::Ticket | RecordKind::NotLetIn | RecordKind::Rule => None,
                RecordKind::Refused(reason) | RecordKind::Ended(reason) => Some(reason),
            };
            log::emit_suppressed(reason, suppressed);
            if let Some(reason) = reason.filter(|reason| is_fault(*reason))
                && let Some(error_file) = &self.0.error_file
            {
                let line = log::suppressed_line(reason, suppressed, self.0.clock.unix_now());
                error_file.write(line, self.0.clock.now());
            }
        }
    }

    /// The counters of `route` for the data path; those of `none` where the configuration has no such route.
    #[must_use]
    pub fn route_metrics(&self, route: &str) -> Arc<RouteMetrics> {
        self.0.metrics.route(Some(route))
    }

    /// The counters of a route that may be new.
    pub(crate) fn add_route(&self, route: &str) -> Arc<RouteMetrics> {
        self.0.metrics.add_route(route)
    }

    /// Gives up the series of routes that are not `kept`, once no connection is on them.
    pub(crate) fn forget_routes(&self, kept: impl Fn(&str) -> bool) {
        self.0.metrics.forget_routes(kept);
    }

    /// The connections that are open now, on all routes together.
    #[must_use]
    pub fn connections(&self) -> i64 {
        self.0.metrics.connections()
    }

    /// The counters of the TLS listener `name`, to be made once for each in the configuration.
    pub(crate) fn tls_metrics(&self, name: &str) -> Arc<TlsMetrics> {
        Arc::new(self.0.metrics.tls.listener(name))
    }

    /// The counters of the keys that come from `name`, to be made once for each such place in the configuration.
    pub(crate) fn key_metrics(&self, name: &dyn Display) -> KeyMetrics {
        self.0.metrics.keys.source(name)
    }

    /// The counters of the application `upstream` of `route`, to be made once for each in the configuration.
    pub(crate) fn upstream_metrics(&self, route: &str, upstream: &str) -> UpstreamMetrics {
        self.0.metrics.upstreams.upstream(route, upstream)
    }

    /// The gauge of output that waits for slow clients, for those who queue it to add to and subtract from.
    #[must_use]
    pub fn buffered_bytes(&self) -> Gauge {
        self.0.metrics.memory.buffered_bytes.clone()
    }

    /// The gauge of what is set aside for compressed connections, for those who know it to set.
    #[must_use]
    pub fn compression_bytes(&self) -> Gauge {
        self.0.metrics.memory.compression_bytes.clone()
    }

    /// All metrics in the OpenMetrics text format, of the type [`CONTENT_TYPE`].
    #[must_use]
    pub fn render(&self) -> String {
        self.0.metrics.render()
    }

    /// Waits until the error file has all that was queued for it, at most `timeout`; whether it has. Blocks the thread,
    /// so that it also works after the runtime has gone.
    #[must_use]
    pub fn flush(&self, timeout: Duration) -> bool {
        self.0.error_file.as_ref().is_none_or(|error_file| error_file.flush(timeout))
    }

    fn count_suppressed(&self) {
        self.0.metrics.records.suppressed.inc();
    }
}

/// A handshake that was accepted.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    /// The connection.
    pub connection: ConnectionId,
    /// Who it comes from.
    pub client: ClientAddr,
    /// The proxy that connected for the client, if one did.
    pub via: Option<ClientAddr>,
    /// The name of the route that took it.
    pub route: &'a str,
    /// The page that the request named. Chosen by a peer: it is encoded before it is logged.
    pub origin: Option<&'a str>,
    /// Who speaks on it, where the request had a credential. Encoded before it is logged.
    pub subject: Option<&'a str>,
    /// The session that has begun, where the request had a credential.
    pub session: Option<SessionId>,
    /// The trace that it belongs to, where it has one.
    pub trace: Option<TraceId>,
    /// From the accept to the `101`.
    pub handshake_duration: Duration,
}

/// A connection that ended, in its handshake or after it.
#[derive(Clone, Copy)]
pub struct Ended<'a> {
    /// The connection.
    pub connection: ConnectionId,
    /// Who it came from.
    pub client: ClientAddr,
    /// The proxy that connected for the client, if one did.
    pub via: Option<ClientAddr>,
    /// The name of the route that took it, where one had; after the `101` the one that it was opened with.
    pub route: Option<&'a str>,
    /// Who spoke on it, once that was known. Chosen by a peer: it is encoded before it is logged.
    pub subject: Option<&'a str>,
    /// The session, where one had begun.
    pub session: Option<SessionId>,
    /// The trace that it belonged to, where it had one.
    pub trace: Option<TraceId>,
    /// How far it had come.
    pub phase: Phase,
    /// Why it ended.
    pub reason: Reason,
    /// Who ended it.
    pub ended_by: Side,
    /// The close code as recorded, local-only ones included; after the `101` only.
    pub close_code: Option<u16>,
    /// The status that it was refused with; before the `101` only.
    pub http_status: Option<u16>,
    /// The rule of RFC 6455 that the client broke, if one.
    pub violation: Option<Violation>,
    /// The precise cause, for the operator alone. It is encoded before it is logged; it must hold no token, key or payload.
    pub detail: Option<&'a dyn Display>,
    /// The page that a request named which did not get its `101`. It is encoded before it is logged.
    pub origin: Option<&'a str>,
    /// The limit that was exceeded, in its own unit.
    pub limit: Option<u64>,
    /// What was found where the limit is, in the same unit.
    pub observed: Option<u64>,
    /// The messages that went over it.
    pub traffic: Traffic,
    /// From the accept to the end.
    pub duration: Duration,
}

/// How far a connection had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before the `101`.
    Handshake,
    /// After it.
    Open,
}

impl Phase {
    /// The word for it in records.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Open => "open",
        }
    }
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client, or its network.
    Client,
    /// The gateway, by one of its rules.
    Gateway,
    /// The application behind the gate.
    Application,
    /// The operator, by ending the process.
    Operator,
}

impl Side {
    /// The word for it in records and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Gateway => "gateway",
            Self::Application => "application",
            Self::Operator => "operator",
        }
    }
}

/// The `[log]` table. The level and format of the program's own log are the program's to apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The least severe level that is logged.
    pub level: LogLevel,
    /// How records are written.
    pub format: LogFormat,
    /// Where refusals and abnormal ends are also written, if anywhere.
    pub error_file: Option<ErrorFile>,
}

/// How severe a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something failed that should not.
    Error,
    /// Something was refused or looks wrong.
    Warn,
    /// What happens in normal operation.
    Info,
    /// For finding faults.
    Debug,
    /// Everything.
    Trace,
}

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// One line for people.
    Text,
}

/// A log file of bounded size: when it is full it is renamed to `.1`, the older ones move up, the oldest goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorFile {
    /// The current file.
    pub path: PathBuf,
    /// The most bytes one file may have.
    pub bytes_max: u64,
    /// The most files, the current one included; at least 1.
    pub files_max: u32,
}

/// Whether a reason is one that the error file is for, in whatever phase.
const fn is_fault(reason: Reason) -> bool {
    match reason.row().fault {
        Fault::Client | Fault::Upstream | Fault::Operator | Fault::Gateway => true,
        Fault::None => false,
    }
}

#[cfg(test)]
mod tests;
