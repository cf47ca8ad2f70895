//! Measures the load of the process, has it judged, and acts on that: the one task that does.
//!
//! Several times a second, whatever the connections do; they pay one atomic load at their accept. A task on the runtime says that it was
//! come to; how long ago that is is how late the runtime is for everybody.

use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::own_thread;
use crate::clock::{Clock, Instant};
use crate::connection::Gate;
use crate::meter::Meter;
use crate::overload::{Cause, Config, Judge, MemoryMax, Readings, Stage, Verdict};

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

/// Goes on until it is dropped. Beside a runtime of several threads on one of its own, which has time also while clients keep all others busy.
pub(super) async fn watch(gate: Arc<Gate>, gauge: Gauge) {
    let clock = gate.facilities.clock.clone();
    let beat = Arc::new(AtomicU64::new(0));
    let (watched_beat, started_at) = (Arc::clone(&beat), clock.now());
    let watching = own_thread::run("drawgate-overload", async move {
        watch_beat(gate, gauge, &watched_beat, started_at).await;
    });
    tokio::select! {
        never = keep_beat(&clock, &beat, started_at) => match never {},
        () = watching => {}
    }
}

/// Says now and then that the runtime came to this task.
async fn keep_beat(clock: &Clock, beat: &AtomicU64, started_at: Instant) -> Infallible {
    loop {
        beat.store(millis_since(clock, started_at), Ordering::Relaxed);
        sleep(SAMPLE_INTERVAL).await;
    }
}

async fn watch_beat(gate: Arc<Gate>, gauge: Gauge, beat: &AtomicU64, started_at: Instant) {
    let clock = &gate.facilities.clock;
    let mut watcher = Watcher::new(gauge.config);
    let mut is_lost = false;
    loop {
        sleep(SAMPLE_INTERVAL).await;
        let since_beat = millis_since(clock, started_at).saturating_sub(beat.load(Ordering::Relaxed));
        let delay = Duration::from_millis(since_beat).saturating_sub(SAMPLE_INTERVAL);
        // A fault of ours must not keep the door shut for ever: while nothing can be told, nothing is in force.
        let was_lost = is_lost;
        is_lost = catch_unwind(AssertUnwindSafe(|| watcher.look(&gate, &gauge, delay))).is_err();
        if is_lost {
            watcher = Watcher::new(gauge.config);
            put_in_force(&gate, &Verdict { stage: Stage::Normal, cause: None, demand: None });
            gate.observer.load_lost(!was_lost);
        }
    }
}

/// What has been made of the measurements so far.
struct Watcher {
    judge: Judge,
    in_force: (Stage, Option<Cause>),
}

impl Watcher {
    const fn new(config: Config) -> Self {
        Self { judge: Judge::new(config), in_force: (Stage::Normal, None) }
    }

    /// Measures once, and does what follows from it.
    fn look(&mut self, gate: &Gate, gauge: &Gauge, delay: Duration) {
        let readings = gauge.read();
        let readings = Readings { delay: readings.delay.max(delay), ..readings };
        let verdict = self.judge.judge(&readings, gate.facilities.clock.now());
        gate.observer.load_measured(&readings);
        if (verdict.stage, verdict.cause) != self.in_force {
            put_in_force(gate, &verdict);
            gate.observer.load_judged(self.in_force.0, verdict.stage, verdict.cause, &readings);
            self.in_force = (verdict.stage, verdict.cause);
        }
        if let (Some(demand), Some(memory)) = (verdict.demand, readings.memory) {
            let waiting_bytes = u64::try_from(gate.facilities.budget.used()).unwrap_or(u64::MAX);
            gate.live.relieve(&demand, memory.used.saturating_sub(waiting_bytes));
        }
    }
}

fn put_in_force(gate: &Gate, verdict: &Verdict) {
    let is_overloaded = verdict.stage > Stage::Normal;
    gate.load.set(verdict.stage, verdict.cause);
    gate.facilities.compression.pause(is_overloaded);
    gate.facilities.budget.press(is_overloaded && verdict.cause == Some(Cause::Memory));
}

fn millis_since(clock: &Clock, started_at: Instant) -> u64 {
    u64::try_from(clock.now().saturating_duration_since(started_at).as_millis()).unwrap_or(u64::MAX)
}

/// Quick enough that what comes meanwhile fits between two thresholds, and seldom enough to cost less than a thousandth of a core.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
/// What waits, and what compression has set aside, may be one of so many parts of the memory each, whatever is written: what is given up
/// stays with the allocator for seconds, and as much again may have come meanwhile.
const MEMORY_PARTS: u64 = 8;
