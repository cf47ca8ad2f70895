//! What is counted and logged of keys that come from elsewhere: how they were fetched or read again, and whether there are
//! any to verify with.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::encode::Encoded;
use super::log::TARGET;
use super::metrics::register;
use crate::clock::UnixTime;

/// The counters of one place that keys come from.
#[derive(Debug)]
pub(crate) struct KeyMetrics {
    source: Arc<str>,
    fetched: Counter,
    failed: Counter,
    fetched_at: Gauge<f64, AtomicU64>,
    usable: Gauge,
}

impl KeyMetrics {
    /// Keys have come at `now`, the same as before.
    pub(crate) fn fetched(&self, now: UnixTime) {
        self.fetched.inc();
        let since_1970 = now.since(UnixTime::from_seconds(0));
        self.fetched_at.set(since_1970.as_secs_f64());
        self.usable.set(1);
    }

    /// Other keys are in use now, `count` of them, and `ended` sessions were ended for it.
    pub(crate) fn replaced(&self, count: usize, ended: usize) {
        tracing::info!(
            target: TARGET,
            message = "keys replaced",
            source = &*self.source,
            keys = count,
            sessions_ended = ended,
        );
    }

    /// No keys have come; those that there are stay in use.
    pub(crate) fn failed(&self, error: &dyn Display) {
        self.failed.inc();
        tracing::error!(
            target: TARGET,
            message = "keys not renewed",
            source = &*self.source,
            error = %Encoded(&error),
        );
    }

    /// The keys have become too old to be used.
    pub(crate) fn expired(&self) {
        self.usable.set(0);
        tracing::error!(
            target: TARGET,
            message = "keys have become too old, no token of theirs is taken",
            source = &*self.source,
        );
    }
}

/// What a [`KeyMetrics`] is cut from.
#[derive(Debug)]
pub(super) struct KeyFamilies {
    fetches: Family<FetchLabels, Counter>,
    fetched_at: Family<SourceLabels, Gauge<f64, AtomicU64>>,
    usable: Family<SourceLabels, Gauge>,
}

impl KeyFamilies {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let fetched_at: Family<SourceLabels, Gauge<f64, AtomicU64>> = Family::default();
        registry.register_with_unit(
            "keys_fetched_timestamp",
            "When keys last came whole and good, in seconds since 1970; 0 if never",
            Unit::Seconds,
            fetched_at.clone(),
        );
        Self {
            fetches: register(
                registry,
                "keys_fetches",
                "Key sets that were fetched, or read again from a file that had changed, by result: ok, or failed, after which the old ones stay in use until they are too old",
                Family::default(),
            ),
            fetched_at,
            usable: register(
                registry,
                "keys_usable",
                "Whether there are keys from there that are not too old to verify tokens with",
                Family::default(),
            ),
        }
    }

    /// Makes every series of the place.
    pub(super) fn source(&self, name: &dyn Display) -> KeyMetrics {
        let source: Arc<str> = Encoded(&name).to_string().into();
        let fetches =
            |result| self.fetches.get_or_create_owned(&FetchLabels { source: Arc::clone(&source), result });
        let labels = SourceLabels { source: Arc::clone(&source) };
        KeyMetrics {
            fetched: fetches("ok"),
            failed: fetches("failed"),
            fetched_at: self.fetched_at.get_or_create_owned(&labels),
            usable: self.usable.get_or_create_owned(&labels),
            source,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FetchLabels {
    source: Arc<str>,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    source: Arc<str>,
}
