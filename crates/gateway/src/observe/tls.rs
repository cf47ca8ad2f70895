//! What is counted and logged of a TLS listener: its handshakes, its certificates, and when they were read again.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::encode::Encoded;
use super::log::TARGET;
use super::metrics::register;

/// How a TLS handshake went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HandshakeOutcome {
    /// Made, with a certificate.
    Full,
    /// Made, with the ticket of an earlier one.
    Resumed,
    /// Refused by an alert of either side, or not completed.
    Failed,
    /// Not completed in time.
    Timeout,
    /// Not begun: there was no place.
    Refused,
}

impl HandshakeOutcome {
    const fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Resumed => "resumed",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
        }
    }
}

/// The counters of one TLS listener.
#[derive(Debug)]
pub(crate) struct TlsMetrics {
    listener: Arc<str>,
    handshakes: HashMap<(HandshakeOutcome, &'static str), Counter>,
    reloaded: Counter,
    reload_failed: Counter,
    expiries: Family<CertificateLabels, Days>,
}

type Days = Gauge<f64, AtomicU64>;

impl TlsMetrics {
    /// Counts a handshake; `version` is `1.3` or `1.2` where it was made.
    pub(crate) fn handshake(&self, outcome: HandshakeOutcome, version: Option<&'static str>) {
        if let Some(counter) = self.handshakes.get(&(outcome, version.unwrap_or(NO_VERSION))) {
            counter.inc();
        }
    }

    /// How many days are left of the certificate in `file`; negative where it has expired.
    pub(crate) fn certificate_expires(&self, file: &dyn Display, days: f64) {
        let certificate = Encoded(&file).to_string().into();
        let labels = CertificateLabels { listener: Arc::clone(&self.listener), certificate };
        self.expiries.get_or_create(&labels).set(days);
    }

    /// The certificate in `file` is in use no longer.
    pub(crate) fn certificate_forgotten(&self, file: &dyn Display) {
        let certificate = Encoded(&file).to_string().into();
        self.expiries.remove(&CertificateLabels { listener: Arc::clone(&self.listener), certificate });
    }

    /// The files had changed and are in use now.
    pub(crate) fn reloaded(&self) {
        self.reloaded.inc();
        tracing::info!(target: TARGET, message = "certificates reloaded", listener = &*self.listener);
    }

    /// The files had changed and are not used, for what is wrong with them.
    pub(crate) fn reload_failed(&self, error: &dyn Display) {
        self.reload_failed.inc();
        tracing::error!(
            target: TARGET,
            message = "certificates not reloaded, the old ones stay in use",
            listener = &*self.listener,
            error = %Encoded(&error),
        );
    }
}

/// What a [`TlsMetrics`] is cut from.
#[derive(Debug)]
pub(super) struct TlsFamilies {
    handshakes: Family<HandshakeLabels, Counter>,
    reloads: Family<ReloadLabels, Counter>,
    expiries: Family<CertificateLabels, Days>,
}

impl TlsFamilies {
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self {
            handshakes: register(
                registry,
                "tls_handshakes",
                "TLS handshakes by version and outcome: full or resumed; failed, timeout, or refused for want of a place, where the version is none",
                Family::default(),
            ),
            reloads: register(
                registry,
                "certificate_reloads",
                "Changed certificate files that were read again, by result: ok, or failed, after which the old ones stay in use",
                Family::default(),
            ),
            expiries: register(
                registry,
                "certificate_expires_in_days",
                "Days until a certificate that is in use ends, by its file; negative once it has",
                Family::default(),
            ),
        }
    }

    /// Makes every series of the listener.
    pub(super) fn listener(&self, name: &str) -> TlsMetrics {
        let listener: Arc<str> = name.into();
        let series = |(outcome, version): (HandshakeOutcome, &'static str)| {
            let labels =
                HandshakeLabels { listener: Arc::clone(&listener), version, outcome: outcome.label() };
            ((outcome, version), self.handshakes.get_or_create_owned(&labels))
        };
        let reloads = |result| {
            self.reloads.get_or_create_owned(&ReloadLabels { listener: Arc::clone(&listener), result })
        };
        TlsMetrics {
            handshakes: SERIES.into_iter().map(series).collect(),
            reloaded: reloads("ok"),
            reload_failed: reloads("failed"),
            expiries: self.expiries.clone(),
            listener,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandshakeLabels {
    listener: Arc<str>,
    version: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    listener: Arc<str>,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabels {
    listener: Arc<str>,
    certificate: Arc<str>,
}

/// The label value of handshakes that agreed on no version.
const NO_VERSION: &str = "none";

/// Every outcome, with each version that it can have.
const SERIES: [(HandshakeOutcome, &str); 7] = [
    (HandshakeOutcome::Full, "1.3"),
    (HandshakeOutcome::Full, "1.2"),
    (HandshakeOutcome::Resumed, "1.3"),
    (HandshakeOutcome::Resumed, "1.2"),
    (HandshakeOutcome::Failed, NO_VERSION),
    (HandshakeOutcome::Timeout, NO_VERSION),
    (HandshakeOutcome::Refused, NO_VERSION),
];
