//! What is counted, and the text that Prometheus reads.
//!
//! Every label has a closed set of values: routes from the configuration and `none`, and the words of our own enums.
//! Nothing that a peer sends can make a new series. docs/metrics.md lists them all, held to the registry by a test.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry, Unit};

use super::audit::AuditMetrics;
use super::banned::BannedCounters;
use super::keys::KeyFamilies;
use super::lives::LifeMetrics;
use super::load::LoadMetrics;
use super::reloads::Reloads;
use super::tls::TlsFamilies;
use super::traffic::{Count, Direction, FrameKind, TrafficDelta};
use super::upstreams::UpstreamFamilies;
use super::writer::Lost;
use super::{Ended, Opened, Phase};
use crate::inspect::Toward;
use crate::inspect::policy::Effect;
use crate::reason::Reason;

/// All metrics of one gateway.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    /// By name. They change only where the configuration is read again.
    routes: RwLock<HashMap<Arc<str>, Arc<RouteMetrics>>>,
    frames: RouteFamilies,
    /// For what no route has taken.
    no_route: Arc<RouteMetrics>,
    pub(super) lives: LifeMetrics,
    pub(super) records: RecordMetrics,
    pub(super) state: StateMetrics,
    pub(super) reloads: Reloads,
    pub(super) load: LoadMetrics,
    pub(super) tls: TlsFamilies,
    pub(super) keys: KeyFamilies,
    pub(super) audit: AuditMetrics,
    pub(super) automatic_bans: BannedCounters,
    pub(super) upstreams: UpstreamFamilies,
    pub(super) memory: MemoryMetrics,
    pub(super) descriptors_exhausted: Counter,
}

impl Metrics {
    /// Every metric at zero, for the routes of the configuration.
    pub(super) fn new(routes: &[&str]) -> Self {
        let mut registry = Registry::with_prefix("drawgate");
        let frames = RouteFamilies::register(&mut registry);
        Self {
            routes: RwLock::new(
                routes.iter().map(|route| (Arc::from(*route), Arc::new(frames.route(route)))).collect(),
            ),
            no_route: Arc::new(frames.route(NO_ROUTE)),
            frames,
            lives: LifeMetrics::register(&mut registry),
            records: RecordMetrics::register(&mut registry),
            state: StateMetrics::register(&mut registry),
            reloads: Reloads::register(&mut registry),
            load: LoadMetrics::register(&mut registry),
            tls: TlsFamilies::register(&mut registry),
            keys: KeyFamilies::register(&mut registry),
            audit: AuditMetrics::register(&mut registry),
            automatic_bans: BannedCounters::register(&mut registry),
            upstreams: UpstreamFamilies::register(&mut registry),
            memory: MemoryMetrics::register(&mut registry),
            descriptors_exhausted: register(
                &mut registry,
                "descriptors_exhausted",
                "Accepts that failed because no file descriptor was left",
                Counter::default(),
            ),
            registry,
        }
    }

    pub(super) fn opened(&self, opened: &Opened<'_>) {
        self.lives.opened(opened);
        self.route(Some(opened.route)).connections.inc();
    }

    pub(super) fn ended(&self, ended: &Ended<'_>) {
        self.lives.ended(ended);
        if ended.session.is_some() {
            self.route(ended.route).sessions.dec();
        }
        if ended.phase == Phase::Open {
            self.route(ended.route).connections.dec();
        }
    }

    /// The metrics of `route`; those of `none` for a route that the configuration does not have.
    pub(super) fn route(&self, route: Option<&str>) -> Arc<RouteMetrics> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(route.and_then(|route| routes.get(route)).unwrap_or(&self.no_route))
    }

    /// Those of a route that may be new.
    pub(super) fn add_route(&self, route: &str) -> Arc<RouteMetrics> {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(self.frames.route(route));
        Arc::clone(routes.entry(route.into()).or_insert_with(new))
    }

    /// Gives up the series of routes that are not `kept` and that no connection is on any more.
    pub(super) fn forget_routes(&self, kept: impl Fn(&str) -> bool) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.retain(|name, metrics| {
            // Whoever could still count something holds it.
            let is_used = kept(name) || Arc::strong_count(metrics) > 1;
            if !is_used {
                self.frames.forget(name, metrics);
            }
            is_used
        });
    }

    /// The connections that are open now, on whichever route.
    pub(super) fn connections(&self) -> i64 {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.values().chain([&self.no_route]).map(|route| route.connections()).sum()
    }

    pub(super) fn render(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.registry).expect("writing to a string cannot fail");
        page
    }
}

/// The counters of one route, for the data path: relaxed atomics, made once.
#[derive(Debug)]
pub struct RouteMetrics {
    connections: Gauge,
    sessions: Gauge,
    route: Arc<str>,
    refused: Family<RefusedLabels, Counter>,
    rules: Family<RuleLabels, Counter>,
    /// The series of rules that there are.
    rules_made: Mutex<BTreeSet<(Arc<str>, &'static str)>>,
    slowed: Counter,
    frames: [[FrameCounters; FrameKind::ALL.len()]; Direction::ALL.len()],
}

#[derive(Debug)]
struct FrameCounters {
    messages: Counter,
    bytes: Counter,
}

impl RouteMetrics {
    /// Adds what a read or a write moved: one relaxed addition for each number that is not zero.
    pub fn add(&self, delta: &TrafficDelta) {
        for direction in Direction::ALL {
            for kind in FrameKind::ALL {
                let Count { messages, bytes } = delta.count(direction, kind);
                let counters = &self.frames[direction as usize][kind as usize];
                if messages > 0 {
                    counters.messages.inc_by(messages);
                }
                if bytes > 0 {
                    counters.bytes.inc_by(bytes);
                }
            }
        }
    }

    /// A session began; it ends with the record of its connection.
    pub fn session_began(&self) {
        self.sessions.inc();
    }

    /// A message was refused, whether or not its connection ended with it.
    pub fn message_refused(&self, toward: Toward, reason: Reason) {
        let (route, toward, reason) = (Arc::clone(&self.route), toward.label(), reason.row().label);
        self.refused.get_or_create(&RefusedLabels { route, toward, reason }).inc();
    }

    /// A client was too fast, and is not read for a while.
    pub fn input_slowed(&self) {
        self.slowed.inc();
    }

    /// A rule held on a message, or could not be told. The names of rules are the configuration's.
    pub fn rule_applied(&self, rule: &Arc<str>, effect: Effect) {
        let (route, rule, effect) = (Arc::clone(&self.route), Arc::clone(rule), effect.label());
        let made = (Arc::clone(&rule), effect);
        self.rules_made.lock().unwrap_or_else(PoisonError::into_inner).insert(made);
        self.rules.get_or_create(&RuleLabels { route, rule, effect }).inc();
    }

    /// The connections that are open now.
    #[must_use]
    pub fn connections(&self) -> i64 {
        self.connections.get()
    }
}

/// What a [`RouteMetrics`] is cut from.
#[derive(Debug)]
struct RouteFamilies {
    connections: Family<RouteLabels, Gauge>,
    sessions: Family<RouteLabels, Gauge>,
    refused: Family<RefusedLabels, Counter>,
    rules: Family<RuleLabels, Counter>,
    slowed: Family<RouteLabels, Counter>,
    messages: Family<FrameLabels, Counter>,
    bytes: Family<FrameLabels, Counter>,
}

impl RouteFamilies {
    fn register(registry: &mut Registry) -> Self {
        Self {
            connections: register(
                registry,
                "connections",
                "Connections that are open now, from the 101 on",
                Family::default(),
            ),
            sessions: register(
                registry,
                "sessions",
                "Connections that have authenticated, until they end",
                Family::default(),
            ),
            refused: register(
                registry,
                "messages_refused",
                "Messages that inspection did not let through, by where they were to go and by reason (docs/errors.md)",
                Family::default(),
            ),
            rules: register(
                registry,
                "rules_applied",
                "Messages on which a rule of inspect.rules held or could not be told, by what came of it (docs/policy.md)",
                Family::default(),
            ),
            slowed: register(
                registry,
                "input_slowed",
                "Times that a connection was not read for a while, since it was faster than its route allows",
                Family::default(),
            ),
            messages: register(
                registry,
                "messages",
                "Complete text and binary messages, and control frames, seen from the gateway",
                Family::default(),
            ),
            bytes: register_bytes(
                registry,
                "payload",
                "Payload of messages and control frames, without headers",
                Family::default(),
            ),
        }
    }

    /// Gives up every series of the route.
    fn forget(&self, route: &Arc<str>, metrics: &RouteMetrics) {
        let labels = RouteLabels { route: Arc::clone(route) };
        self.connections.remove(&labels);
        self.sessions.remove(&labels);
        self.slowed.remove(&labels);
        for toward in [Toward::Backend, Toward::Client].map(Toward::label) {
            for reason in Reason::ALL {
                let reason = reason.row().label;
                self.refused.remove(&RefusedLabels { route: Arc::clone(route), toward, reason });
            }
        }
        for (rule, effect) in metrics.rules_made.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            self.rules.remove(&RuleLabels { route: Arc::clone(route), rule: Arc::clone(rule), effect });
        }
        for direction in Direction::ALL {
            for kind in FrameKind::ALL {
                let labels = FrameLabels {
                    route: Arc::clone(route),
                    direction: direction.label(),
                    kind: kind.label(),
                };
                self.messages.remove(&labels);
                self.bytes.remove(&labels);
            }
        }
    }

    /// Makes every series of the route, so that each is there from the start and at zero.
    fn route(&self, route: &str) -> RouteMetrics {
        let route: Arc<str> = Arc::from(route);
        let frames = Direction::ALL.map(|direction| {
            FrameKind::ALL.map(|kind| {
                let labels = FrameLabels {
                    route: Arc::clone(&route),
                    direction: direction.label(),
                    kind: kind.label(),
                };
                FrameCounters {
                    messages: self.messages.get_or_create_owned(&labels),
                    bytes: self.bytes.get_or_create_owned(&labels),
                }
            })
        });
        RouteMetrics {
            sessions: self.sessions.get_or_create_owned(&RouteLabels { route: Arc::clone(&route) }),
            connections: self.connections.get_or_create_owned(&RouteLabels { route: Arc::clone(&route) }),
            refused: self.refused.clone(),
            slowed: self.slowed.get_or_create_owned(&RouteLabels { route: Arc::clone(&route) }),
            rules: self.rules.clone(),
            rules_made: Mutex::default(),
            route,
            frames,
        }
    }
}

/// Records of the program's log that were not written.
#[derive(Debug)]
pub(super) struct RecordMetrics {
    pub(super) lost: Lost,
    pub(super) suppressed: Counter,
}

impl RecordMetrics {
    fn register(registry: &mut Registry) -> Self {
        let lost = register(
            registry,
            "log_records_dropped",
            "Records that were lost, by cause: the error file's queue was full, a write to it failed, or the program's log was full",
            Family::<CauseLabels, Counter>::default(),
        );
        Self {
            lost: Lost {
                queue_full: lost.get_or_create_owned(&CauseLabels { cause: "queue_full" }),
                write_failed: lost.get_or_create_owned(&CauseLabels { cause: "write_failed" }),
                log_full: lost.get_or_create_owned(&CauseLabels { cause: "log_full" }),
            },
            suppressed: register(
                registry,
                "log_records_suppressed",
                "Log records not written because too many of their reason came at once",
                Counter::default(),
            ),
        }
    }
}

/// What outlives the process.
#[derive(Debug)]
pub(super) struct StateMetrics {
    pub(super) written: Counter,
    pub(super) not_written: Counter,
    pub(super) address_bans: Gauge,
    pub(super) address_bans_refused: Counter,
}

impl StateMetrics {
    fn register(registry: &mut Registry) -> Self {
        let writes = register(
            registry,
            "state_writes",
            "Revocations, bans and ends of bans that were to outlive the process, by result: ok, on disk, or failed",
            Family::<ResultLabels, Counter>::default(),
        );
        Self {
            written: writes.get_or_create_owned(&ResultLabels { result: "ok" }),
            not_written: writes.get_or_create_owned(&ResultLabels { result: "failed" }),
            address_bans: register(
                registry,
                "address_bans",
                "Bans of addresses that are kept; one that is over goes within a minute",
                Gauge::default(),
            ),
            address_bans_refused: register(
                registry,
                "address_bans_refused",
                "Bans of addresses that were not taken because there are as many as are kept",
                Counter::default(),
            ),
        }
    }
}

/// What connections hold, of which there is a limit for all together.
#[derive(Debug)]
pub(super) struct MemoryMetrics {
    pub(super) buffered_bytes: Gauge,
    pub(super) compression_bytes: Gauge,
    pub(super) compression_declined: Counter,
}

impl MemoryMetrics {
    fn register(registry: &mut Registry) -> Self {
        Self {
            buffered_bytes: register_bytes(
                registry,
                "buffered",
                "Output that waits for slow clients, and messages to be inspected that have not come whole, of all connections together",
                Gauge::default(),
            ),
            compression_bytes: register_bytes(
                registry,
                "compression",
                "Memory set aside for compressed connections, of all together",
                Gauge::default(),
            ),
            compression_declined: register(
                registry,
                "compression_declined",
                "Connections that go without compression because all that is set aside for it is in use",
                Counter::default(),
            ),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    route: Arc<str>,
    toward: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    route: Arc<str>,
    rule: Arc<str>,
    effect: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FrameLabels {
    route: Arc<str>,
    direction: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResultLabels {
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabels {
    cause: &'static str,
}

/// The registry adds the full stop to `help`, and `_total` to the name of a counter.
pub(super) fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

pub(super) fn register_bytes<M: Metric + Clone>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    metric: M,
) -> M {
    registry.register_with_unit(name, help, Unit::Bytes, metric.clone());
    metric
}

/// The content type of the rendered page.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The label value for connections that no route has taken.
const NO_ROUTE: &str = "none";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_reaches_the_series_of_its_route_direction_and_kind() {
        let metrics = Metrics::new(&["chat", "feed"]);
        let mut delta = TrafficDelta::default();
        delta.payload(Direction::In, FrameKind::Text, 30);
        delta.message(Direction::In, FrameKind::Text);
        delta.message(Direction::Out, FrameKind::Pong);
        metrics.route(Some("chat")).add(&delta);
        metrics.route(Some("chat")).add(&delta);
        let page = metrics.render();
        for line in [
            r#"drawgate_messages_total{route="chat",direction="in",kind="text"} 2"#,
            r#"drawgate_payload_bytes_total{route="chat",direction="in",kind="text"} 60"#,
            r#"drawgate_messages_total{route="chat",direction="out",kind="pong"} 2"#,
            r#"drawgate_messages_total{route="chat",direction="out",kind="text"} 0"#,
            r#"drawgate_messages_total{route="feed",direction="in",kind="text"} 0"#,
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn every_series_but_the_ends_is_there_from_the_start() {
        let page = Metrics::new(&["chat"]).render();
        for name in [
            r#"drawgate_connections{route="none"} 0"#,
            r#"drawgate_handshakes_total{result="failed"} 0"#,
            r#"drawgate_log_records_dropped_total{cause="queue_full"} 0"#,
            "drawgate_log_records_suppressed_total 0",
            "drawgate_descriptors_exhausted_total 0",
            "drawgate_buffered_bytes 0",
            "drawgate_handshake_duration_seconds_count 0",
        ] {
            assert!(page.lines().any(|line| line == name), "{name} is not in\n{page}");
        }
        assert!(page.ends_with("# EOF\n"));
    }
}
