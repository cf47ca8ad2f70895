//! What is counted of connections, and of the sessions on them, from the accept to the end.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::metrics::{ResultLabels, register};
use super::{Ended, Opened, Phase};

/// How connections began and ended, on whichever route.
#[derive(Debug)]
pub(super) struct LifeMetrics {
    accepted: Counter,
    failed: Counter,
    ends: Family<EndLabels, Counter>,
    handshake_duration: Histogram,
    connection_duration: Histogram,
    session_ends: Family<SessionEndLabels, Counter>,
    pub(super) sessions_refreshed: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    reason: &'static str,
    side: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SessionEndLabels {
    reason: &'static str,
}

impl LifeMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let handshakes = register(
            registry,
            "handshakes",
            "Handshakes that came to an end, by result: accepted with a 101, or failed",
            Family::<ResultLabels, Counter>::default(),
        );
        Self {
            accepted: handshakes.get_or_create_owned(&ResultLabels { result: "accepted" }),
            failed: handshakes.get_or_create_owned(&ResultLabels { result: "failed" }),
            ends: register(
                registry,
                "ends",
                "Connections that ended, in the handshake or after it, by reason (docs/errors.md) and by the side that ended them",
                Family::default(),
            ),
            handshake_duration: register_seconds(
                registry,
                "handshake_duration",
                "From the accept to the 101, or to the refusal",
                &HANDSHAKE_BUCKETS_SECONDS,
            ),
            connection_duration: register_seconds(
                registry,
                "connection_duration",
                "From the accept to the end, of connections that were opened",
                &CONNECTION_BUCKETS_SECONDS,
            ),
            session_ends: register(
                registry,
                "sessions_ended",
                "Sessions that ended, by the reason that their connection ended for (docs/errors.md)",
                Family::default(),
            ),
            sessions_refreshed: register(
                registry,
                "sessions_refreshed",
                "Tokens that were sent over an open connection and taken for its session",
                Counter::default(),
            ),
        }
    }

    pub(super) fn opened(&self, opened: &Opened<'_>) {
        self.accepted.inc();
        self.handshake_duration.observe(opened.handshake_duration.as_secs_f64());
    }

    pub(super) fn ended(&self, ended: &Ended<'_>) {
        let labels = EndLabels { reason: ended.reason.row().label, side: ended.ended_by.label() };
        self.ends.get_or_create(&labels).inc();
        if ended.session.is_some() {
            self.session_ends.get_or_create(&SessionEndLabels { reason: labels.reason }).inc();
        }
        let seconds = ended.duration.as_secs_f64();
        match ended.phase {
            Phase::Handshake => {
                self.failed.inc();
                self.handshake_duration.observe(seconds);
            }
            Phase::Open => self.connection_duration.observe(seconds),
        }
    }
}

fn register_seconds(registry: &mut Registry, name: &str, help: &str, buckets_seconds: &[f64]) -> Histogram {
    let histogram = Histogram::new(buckets_seconds.iter().copied());
    registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
    histogram
}

/// Up to the longest head timeout that makes sense.
const HANDSHAKE_BUCKETS_SECONDS: [f64; 11] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// From a failed first message to a connection that is never closed.
const CONNECTION_BUCKETS_SECONDS: [f64; 9] =
    [0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 14_400.0, 43_200.0, 86_400.0];
