//! Measures the load of the process, has it judged, and acts on that: the one task that does.
//!
//! Several times a second, whatever the connections do; they pay one atomic load at their accept. How late this task comes to
//! itself is how late the runtime is for everybody.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep_until;

use crate::connection::Gate;
use crate::meter::Meter;
use crate::overload::{Cause, Config, Judge, MemoryMax, Readings, Stage};

/// Where readings come from.
#[derive(Clone, Default)]
pub(super) enum Gauges {
    /// The system.
    #[default]
    System,
    /// Whoever says them.
    Given(Arc<dyn Fn() -> Readings + Send + Sync>),
    /// Nowhere: nothing is overloaded.
    None,
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Given(_) => "Given",
            Self::None => "None",
        })
    }
}

/// What measures, ready to.
pub(super) struct Gauge {
    config: Config,
    source: Source,
}

enum Source {
    System(Meter),
    Given(Arc<dyn Fn() -> Readings + Send + Sync>),
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauge").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Gauge {
    /// Finds out what there is to measure; `None` where nothing is.
    pub(super) fn new(config: Config, gauges: &Gauges) -> Option<Self> {
        let source = match gauges {
            Gauges::System => Source::System(Meter::system(config.memory_max)),
            Gauges::Given(read) => Source::Given(Arc::clone(read)),
            Gauges::None => return None,
        };
        Some(Self { config, source })
    }

    /// The most that one of the things that are bounded by bytes may take of the memory that there is.
    pub(super) fn bytes_max(&self) -> Option<usize> {
        let memory_max = match (&self.source, self.config.memory_max) {
            (_, MemoryMax::Unlimited) => None,
            (Source::System(meter), _) => meter.memory_max(),
            (Source::Given(read), _) => read().memory.map(|memory| memory.max),
        }?;
        usize::try_from(memory_max / MEMORY_PARTS).ok()
    }

    fn read(&self) -> Readings {
        match &self.source {
            Source::System(meter) => {
                Readings { memory: meter.memory(), descriptors: meter.descriptors(), delay: Duration::ZERO }
            }
            Source::Given(read) => read(),
        }
    }
}

/// Goes on until it is dropped.
pub(super) async fn watch(gate: Arc<Gate>, gauge: Gauge) {
    let clock = &gate.facilities.clock;
    let mut judge = Judge::new(gauge.config);
    let mut in_force = (Stage::Normal, None);
    loop {
        let due = clock.now() + SAMPLE_INTERVAL;
        sleep_until(due).await;
        let now = clock.now();
        let readings = gauge.read();
        let readings = Readings { delay: readings.delay.max(now.saturating_duration_since(due)), ..readings };
        let verdict = judge.judge(&readings, now);
        gate.observer.load_measured(&readings);
        let judged = (verdict.stage, verdict.cause);
        if judged != in_force {
            gate.load.set(judged.0, judged.1);
            gate.facilities.compression.pause(judged.0 > Stage::Normal);
            gate.facilities.budget.press(judged.0 > Stage::Normal && judged.1 == Some(Cause::Memory));
            gate.observer.load_judged(in_force.0, judged.0, judged.1, &readings);
            in_force = judged;
        }
        if let (Some(demand), Some(memory)) = (verdict.demand, readings.memory) {
            gate.live.relieve(&demand, memory.used.saturating_sub(waiting_bytes(&gate)));
        }
    }
}

fn waiting_bytes(gate: &Gate) -> u64 {
    u64::try_from(gate.facilities.budget.used()).unwrap_or(u64::MAX)
}

/// Quick enough that what comes meanwhile fits between two thresholds, and seldom enough to cost less than a thousandth of a core.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
/// What waits, and what compression has set aside, may be one of so many parts of the memory each, whatever is written: what is given up
/// stays with the allocator for seconds, and as much again may have come meanwhile.
const MEMORY_PARTS: u64 = 8;
