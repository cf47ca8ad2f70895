//! What is counted and logged of configurations that were read again.
//!
//! One record for each, and one for each thing that is wrong with one that is refused.

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Observer;
use super::encode::Encoded;
use super::log::TARGET;
use super::metrics::{ResultLabels, register};
use crate::clock::UnixTime;

/// How configurations were read again.
#[derive(Debug)]
pub(super) struct Reloads {
    done: Counter,
    refused: Counter,
    done_at: Gauge<f64, AtomicU64>,
    refused_at: Gauge<f64, AtomicU64>,
}

impl Reloads {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let counts = register(
            registry,
            "reloads",
            "Configurations that were read again while the server ran, by result: ok, or failed, after which the old one stays in force",
            Family::<ResultLabels, Counter>::default(),
        );
        let times: Family<ResultLabels, Gauge<f64, AtomicU64>> = Family::default();
        registry.register_with_unit(
            "reload_timestamp",
            "When a configuration was last read again with this result, in seconds since 1970; 0 if never",
            Unit::Seconds,
            times.clone(),
        );
        let (ok, failed) = (ResultLabels { result: "ok" }, ResultLabels { result: "failed" });
        Self {
            done: counts.get_or_create_owned(&ok),
            refused: counts.get_or_create_owned(&failed),
            done_at: times.get_or_create_owned(&ok),
            refused_at: times.get_or_create_owned(&failed),
        }
    }
}

/// Who had the configuration read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadedBy {
    /// A signal to the process.
    Signal,
    /// An operator, through the admin listener.
    Operator,
    /// The file, which had changed.
    File,
    /// The program that has the server in it.
    Program,
}

impl ReloadedBy {
    /// The word for it in records.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Operator => "operator",
            Self::File => "file",
            Self::Program => "program",
        }
    }
}

impl fmt::Display for ReloadedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What another configuration has changed, for the record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changed<'a> {
    pub(crate) routes: [&'a [String]; 3],
    pub(crate) listeners: [&'a [String]; 2],
    pub(crate) needs_restart: &'a [&'static str],
    pub(crate) warnings: &'a [String],
    pub(crate) connections_denied: usize,
    pub(crate) sessions_ended: usize,
}

impl Observer {
    /// Another configuration is in force.
    pub(crate) fn reloaded(&self, by: ReloadedBy, changed: &Changed<'_>) {
        let reloads = &self.0.metrics.reloads;
        reloads.done.inc();
        reloads.done_at.set(self.seconds_now());
        let [added, changed_routes, removed] = changed.routes;
        let [listeners_added, listeners_removed] = changed.listeners;
        tracing::info!(
            target: TARGET,
            message = "configuration reloaded",
            by = by.label(),
            routes_added = list(added),
            routes_changed = list(changed_routes),
            routes_removed = list(removed),
            listeners_added = list(listeners_added),
            listeners_removed = list(listeners_removed),
            connections_denied = changed.connections_denied,
            sessions_ended = changed.sessions_ended,
        );
        for warning in changed.warnings.iter().take(PROBLEMS_MAX) {
            tracing::warn!(target: TARGET, message = "configuration warning", warning = %Whole(warning));
        }
        if !changed.needs_restart.is_empty() {
            tracing::warn!(
                target: TARGET,
                message = "some of what has changed needs a restart",
                settings = changed.needs_restart.join(", "),
            );
        }
    }

    /// A configuration was refused, and nothing has changed.
    pub(crate) fn reload_refused(&self, by: ReloadedBy, problems: &[String]) {
        let reloads = &self.0.metrics.reloads;
        reloads.refused.inc();
        reloads.refused_at.set(self.seconds_now());
        for problem in problems.iter().take(PROBLEMS_MAX) {
            tracing::error!(target: TARGET, message = "configuration problem", problem = %Whole(problem));
        }
        tracing::error!(
            target: TARGET,
            message = "configuration not reloaded, the old one stays in force",
            by = by.label(),
            problems = problems.len(),
        );
    }

    fn seconds_now(&self) -> f64 {
        self.0.clock.unix_now().since(UnixTime::from_seconds(0)).as_secs_f64()
    }
}

/// Names from the configuration; nothing where there are none.
fn list(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| names.join(", "))
}

/// A sentence about the operator's own file: each line of it is encoded by itself, so that none is cut short for those before it.
struct Whole<'a>(&'a str);

impl fmt::Display for Whole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, line) in self.0.lines().map(str::trim).enumerate() {
            if place > 0 {
                f.write_str(" | ")?;
            }
            write!(f, "{}", Encoded(&line))?;
        }
        Ok(())
    }
}

/// The most problems that are logged; one mistake seldom makes more.
const PROBLEMS_MAX: usize = 100;
