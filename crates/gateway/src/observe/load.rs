//! What is counted and logged of the process's load.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use std::sync::atomic::AtomicU64;

use super::Observer;
use super::log::TARGET;
use super::metrics::{register, register_bytes};
use crate::overload::{Cause, Readings, Stage};

/// How much the process uses, and what came of it.
#[derive(Debug)]
pub(super) struct LoadMetrics {
    stage: Gauge,
    memory: Gauge,
    memory_max: Gauge,
    descriptors: Gauge,
    descriptors_max: Gauge,
    delay: Gauge<f64, AtomicU64>,
    refused: [Counter; Cause::ALL.len()],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabels {
    cause: &'static str,
}

impl LoadMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let refused = register(
            registry,
            "overload_refused",
            "Clients that were turned away at the accept because the process runs out of something, by what: memory, descriptors or delay",
            Family::<CauseLabels, Counter>::default(),
        );
        let delay = Gauge::<f64, AtomicU64>::default();
        registry.register_with_unit(
            "runtime_delay",
            "How late the runtime came to a task when that was last measured",
            Unit::Seconds,
            delay.clone(),
        );
        Self {
            stage: register(
                registry,
                "overload_stage",
                "How far it has come (docs/overload.md): 0, normal; 1, nobody is let in; 2, some are told to go",
                Gauge::default(),
            ),
            memory: register_bytes(
                registry,
                "memory_used",
                "Memory of the process, or of its control group, whichever is nearer to its limit; 0 where it is not known",
                Gauge::default(),
            ),
            memory_max: register_bytes(
                registry,
                "memory_max",
                "The limit that it is near to; 0 where there is none",
                Gauge::default(),
            ),
            descriptors: register(
                registry,
                "descriptors",
                "File descriptors that the process has open; 0 where it is not known",
                Gauge::default(),
            ),
            descriptors_max: register(
                registry,
                "descriptors_max",
                "File descriptors that the process could have open; 0 where it is not known",
                Gauge::default(),
            ),
            delay,
            refused: Cause::ALL
                .map(|cause| refused.get_or_create_owned(&CauseLabels { cause: cause.label() })),
        }
    }
}

impl Observer {
    /// The process uses so much.
    pub(crate) fn load_measured(&self, readings: &Readings) {
        let metrics = &self.0.metrics.load;
        let number = |number: Option<u64>| i64::try_from(number.unwrap_or(0)).unwrap_or(i64::MAX);
        let (memory, descriptors) = (readings.memory, readings.descriptors);
        metrics.memory.set(number(memory.map(|memory| memory.used)));
        metrics.memory_max.set(number(memory.map(|memory| memory.max)));
        metrics.descriptors.set(number(descriptors.map(|descriptors| descriptors.used)));
        metrics.descriptors_max.set(number(descriptors.map(|descriptors| descriptors.max)));
        metrics.delay.set(readings.delay.as_secs_f64());
    }

    /// Another stage is in force, or the same for something else.
    pub(crate) fn load_judged(&self, before: Stage, stage: Stage, cause: Option<Cause>, readings: &Readings) {
        self.0.metrics.load.stage.set(stage as i64);
        let (before, cause) = (before.label(), cause.map(Cause::label));
        let (memory, descriptors) = (readings.memory, readings.descriptors);
        // One macro call a level: levels are part of what tracing compiles in.
        macro_rules! record {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    target: TARGET,
                    message = $message,
                    stage = stage.label(),
                    before,
                    cause,
                    memory_used = memory.map(|memory| memory.used),
                    memory_max = memory.map(|memory| memory.max),
                    descriptors = descriptors.map(|descriptors| descriptors.used),
                    descriptors_max = descriptors.map(|descriptors| descriptors.max),
                    delay_ms = u64::try_from(readings.delay.as_millis()).unwrap_or(u64::MAX),
                )
            };
        }
        match stage {
            Stage::Normal => record!(info, "no longer overloaded"),
            Stage::Refusing => record!(warn, "overloaded, nobody is let in"),
            Stage::Shedding => record!(error, "overloaded, some are told to go"),
        }
    }

    /// What is used cannot be told, by a fault of ours, so that nothing is in force; `is_new` where it could the time before.
    pub(crate) fn load_lost(&self, is_new: bool) {
        self.0.metrics.load.stage.set(Stage::Normal as i64);
        if is_new {
            tracing::error!(target: TARGET, message = "the load cannot be measured, and nobody is turned away for it");
        }
    }

    /// A client was turned away for this.
    pub(crate) fn turned_away(&self, cause: Cause) {
        let place = Cause::ALL.iter().position(|other| *other == cause).unwrap_or(0);
        self.0.metrics.load.refused[place].inc();
    }
}
