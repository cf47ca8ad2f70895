//! What is counted and logged of the applications behind the gate, each by the address that the configuration has for it.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::Serialize;

use super::Observer;
use super::encode::Encoded;
use super::log::TARGET;
use super::metrics::register;

/// The counters of one application on one route.
#[derive(Debug)]
pub(crate) struct UpstreamMetrics {
    families: UpstreamFamilies,
    route: Arc<str>,
    upstream: Arc<str>,
    /// The connections that it has, or is asked for.
    pub(crate) connections: Gauge,
    /// Those that it took.
    pub(crate) dialled: Counter,
    /// Those that it did not.
    pub(crate) failed: Counter,
    ejected: Gauge,
    unhealthy: Gauge,
    drained: Gauge,
    checks_ok: Counter,
    checks_failed: Counter,
}

impl UpstreamMetrics {
    /// It failed again and again, at last for `error`, and is left alone for `time`.
    pub(crate) fn is_ejected(&self, time: Duration, error: &dyn Display) {
        self.ejected.set(1);
        tracing::error!(
            target: TARGET,
            message = "upstream left alone",
            route = &*self.route,
            upstream = &*self.upstream,
            seconds = time.as_secs(),
            error = %Encoded(&error),
        );
    }

    /// It is in force, and nothing is known of it yet, whatever another configuration had found.
    pub(crate) fn begin(&self, is_drained: bool) {
        self.drained.set(i64::from(is_drained));
        self.ejected.set(0);
        self.unhealthy.set(0);
    }

    /// A check of it has ended.
    pub(crate) fn checked(&self, is_well: bool) {
        if is_well {
            self.checks_ok.inc()
        } else {
            self.checks_failed.inc()
        };
    }

    /// So many checks in a row have failed, the last for `error`, that nobody goes there.
    pub(crate) fn is_unhealthy(&self, error: &dyn Display, is_told: bool) {
        self.unhealthy.set(1);
        if !is_told {
            return;
        }
        tracing::error!(
            target: TARGET,
            message = "upstream fails its health checks",
            route = &*self.route,
            upstream = &*self.upstream,
            error = %Encoded(&error),
        );
    }

    /// So many checks in a row have gone well that connections go there again.
    pub(crate) fn is_well(&self, is_told: bool) {
        self.unhealthy.set(0);
        if !is_told {
            return;
        }
        tracing::info!(
            target: TARGET,
            message = "upstream passes its health checks again",
            route = &*self.route,
            upstream = &*self.upstream,
        );
    }

    /// It takes connections again.
    pub(crate) fn is_back(&self) {
        self.ejected.set(0);
        tracing::info!(
            target: TARGET,
            message = "upstream takes connections again",
            route = &*self.route,
            upstream = &*self.upstream,
        );
    }
}

impl Observer {
    /// The certificate that a route's applications are shown has changed on disk, and was read again, or was not.
    pub(crate) fn upstream_certificate_read(
        &self,
        route: &str,
        file: &dyn Display,
        result: Result<(), String>,
    ) {
        self.0.metrics.upstreams.certificate_read(result.is_ok());
        match result {
            Ok(()) => tracing::info!(
                target: TARGET,
                message = "upstream certificate reloaded",
                route,
                certificate = %Encoded(&file),
            ),
            Err(error) => tracing::error!(
                target: TARGET,
                message = "upstream certificate not reloaded, the old one stays in use",
                route,
                certificate = %Encoded(&file),
                error = %Encoded(&error),
            ),
        }
    }
}

/// What an [`UpstreamMetrics`] is cut from.
#[derive(Clone, Debug)]
pub(super) struct UpstreamFamilies {
    /// By how many places in configurations, of now and of before, each is still counted.
    users: Arc<Mutex<HashMap<UpstreamLabels, usize>>>,
    connections: Family<UpstreamLabels, Gauge>,
    dials: Family<DialLabels, Counter>,
    ejected: Family<UpstreamLabels, Gauge>,
    unhealthy: Family<UpstreamLabels, Gauge>,
    drained: Family<UpstreamLabels, Gauge>,
    checks: Family<DialLabels, Counter>,
    certificate_reloads: Family<ReloadLabels, Counter>,
}

/// How an application stands, for whoever asks.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct UpstreamState {
    pub(crate) route: String,
    pub(crate) upstream: String,
    /// `in_use`, `left_alone`, `unhealthy`, or `drained`.
    pub(crate) state: &'static str,
    pub(crate) connections: i64,
    pub(crate) dials_ok: u64,
    pub(crate) dials_failed: u64,
}

impl UpstreamFamilies {
    /// All that there are, by route and address.
    pub(super) fn states(&self) -> Vec<UpstreamState> {
        let mut labels: Vec<UpstreamLabels> = self.users().keys().cloned().collect();
        labels.sort();
        let state = |labels: UpstreamLabels| {
            let dials = |result| {
                let UpstreamLabels { route, upstream } = labels.clone();
                self.dials.get_or_create(&DialLabels { route, upstream, result }).get()
            };
            UpstreamState {
                state: self.state(&labels),
                connections: self.connections.get_or_create(&labels).get(),
                dials_ok: dials("ok"),
                dials_failed: dials("failed"),
                route: labels.route.to_string(),
                upstream: labels.upstream.to_string(),
            }
        };
        labels.into_iter().map(state).collect()
    }

    /// The application `upstream` has been drained, or that has been taken back; how many connections it has, on all routes.
    pub(super) fn drain(&self, upstream: &str, is_drained: bool) -> u64 {
        let labels: Vec<UpstreamLabels> =
            self.users().keys().filter(|labels| &*labels.upstream == upstream).cloned().collect();
        let count = |labels: &UpstreamLabels| {
            self.drained.get_or_create(labels).set(i64::from(is_drained));
            u64::try_from(self.connections.get_or_create(labels).get()).unwrap_or(0)
        };
        labels.iter().map(count).sum()
    }

    fn certificate_read(&self, is_ok: bool) {
        let result = if is_ok { "ok" } else { "failed" };
        self.certificate_reloads.get_or_create(&ReloadLabels { result }).inc();
    }

    /// What is in the way of connections: what lasts longest comes first.
    fn state(&self, labels: &UpstreamLabels) -> &'static str {
        if self.drained.get_or_create(labels).get() > 0 {
            "drained"
        } else if self.unhealthy.get_or_create(labels).get() > 0 {
            "unhealthy"
        } else if self.ejected.get_or_create(labels).get() > 0 {
            "left_alone"
        } else {
            "in_use"
        }
    }

    pub(super) fn register(registry: &mut Registry) -> Self {
        let certificate_reloads = Family::<ReloadLabels, Counter>::default();
        for result in ["ok", "failed"] {
            let _ = certificate_reloads.get_or_create(&ReloadLabels { result });
        }
        Self {
            users: Arc::default(),
            connections: register(
                registry,
                "upstream_connections",
                "Connections that an application has, or is asked for",
                Family::default(),
            ),
            dials: register(
                registry,
                "upstream_dials",
                "Connections that an application was asked for, by result: ok, or failed",
                Family::default(),
            ),
            ejected: register(
                registry,
                "upstream_ejected",
                "Whether an application is left alone, since it failed again and again",
                Family::default(),
            ),
            unhealthy: register(
                registry,
                "upstream_unhealthy",
                "Whether no connection goes to an application, since its health checks fail",
                Family::default(),
            ),
            drained: register(
                registry,
                "upstream_drained",
                "Whether no connection goes to an application, since an operator has drained it",
                Family::default(),
            ),
            certificate_reloads: register(
                registry,
                "upstream_certificate_reloads",
                "Times that the certificate which applications are shown was read again, by result: ok, or failed",
                certificate_reloads,
            ),
            checks: register(
                registry,
                "upstream_checks",
                "Health checks of an application, by result: ok, or failed",
                Family::default(),
            ),
        }
    }

    /// Makes every series of the application.
    pub(super) fn upstream(&self, route: &str, upstream: &str) -> UpstreamMetrics {
        let (route, upstream): (Arc<str>, Arc<str>) = (route.into(), upstream.into());
        let labels = UpstreamLabels { route: Arc::clone(&route), upstream: Arc::clone(&upstream) };
        let by_result = |family: &Family<DialLabels, Counter>, result| {
            let (route, upstream) = (Arc::clone(&route), Arc::clone(&upstream));
            family.get_or_create_owned(&DialLabels { route, upstream, result })
        };
        *self.users().entry(labels.clone()).or_default() += 1;
        UpstreamMetrics {
            families: self.clone(),
            connections: self.connections.get_or_create_owned(&labels),
            dialled: by_result(&self.dials, "ok"),
            failed: by_result(&self.dials, "failed"),
            ejected: self.ejected.get_or_create_owned(&labels),
            unhealthy: self.unhealthy.get_or_create_owned(&labels),
            drained: self.drained.get_or_create_owned(&labels),
            checks_ok: by_result(&self.checks, "ok"),
            checks_failed: by_result(&self.checks, "failed"),
            route,
            upstream,
        }
    }
}

impl UpstreamFamilies {
    fn users(&self) -> MutexGuard<'_, HashMap<UpstreamLabels, usize>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UpstreamMetrics {
    /// Gives up the series, with the last who counted in them.
    fn drop(&mut self) {
        let (route, upstream) = (Arc::clone(&self.route), Arc::clone(&self.upstream));
        let labels = UpstreamLabels { route, upstream };
        let mut users = self.families.users();
        let Some(count) = users.get_mut(&labels) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        users.remove(&labels);
        self.families.connections.remove(&labels);
        self.families.ejected.remove(&labels);
        self.families.unhealthy.remove(&labels);
        self.families.drained.remove(&labels);
        for result in ["ok", "failed"] {
            let UpstreamLabels { route, upstream } = labels.clone();
            let labels = DialLabels { route, upstream, result };
            self.families.dials.remove(&labels);
            self.families.checks.remove(&labels);
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    route: Arc<str>,
    upstream: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DialLabels {
    route: Arc<str>,
    upstream: Arc<str>,
    result: &'static str,
}
