//! Whether the process is about to run out of something, and how much has to be given up so that it does not.
//!
//! Memory, file descriptors and the time that the runtime takes to come to a task, each against a threshold, with a distance between
//! going up a stage and coming down again. Decides only: whoever measures (`meter`) and whoever acts on it (`server/overload.rs`)
//! stand around it. Never looks at a connection.

use std::fmt;
use std::time::Duration;

use crate::clock::Instant;

/// What is too much; `None` is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The memory that there is.
    pub memory_max: MemoryMax,
    /// From this share of it on nobody is let in.
    pub memory_refuse_percent: Option<u32>,
    /// From this share of it on those who are there are told to go, the ones that cost most first.
    pub memory_shed_percent: Option<u32>,
    /// From this share of the process's file descriptors on nobody is let in.
    pub descriptors_refuse_percent: Option<u32>,
    /// Nobody is let in while the runtime comes to a task this late, three times in a row.
    pub delay_max: Option<Duration>,
}

/// The memory that the process may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryMax {
    /// The least limit of its control groups, or else the machine's memory.
    System,
    /// So many bytes, resident; beside the limits of control groups.
    Bytes(u64),
    /// Nobody looks at memory.
    Unlimited,
}

impl Default for Config {
    /// The defaults of docs/defaults.md.
    fn default() -> Self {
        Self {
            memory_max: MemoryMax::System,
            memory_refuse_percent: Some(75),
            memory_shed_percent: Some(85),
            descriptors_refuse_percent: Some(95),
            delay_max: Some(Duration::from_secs(1)),
        }
    }
}

/// How much of something is used, of how much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// What is used.
    pub used: u64,
    /// What there is.
    pub max: u64,
}

impl Used {
    fn is_at(self, percent: u32) -> bool {
        u128::from(self.used) * 100 >= u128::from(self.max) * u128::from(percent)
    }

    fn at(self, percent: u32) -> u64 {
        u64::try_from(u128::from(self.max) * u128::from(percent) / 100).unwrap_or(u64::MAX)
    }
}

/// What was measured; `None` is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// Bytes of memory.
    pub memory: Option<Used>,
    /// File descriptors of the process.
    pub descriptors: Option<Used>,
    /// How late the runtime came to the task that measures.
    pub delay: Duration,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// There is enough of everything.
    #[default]
    Normal,
    /// Nobody is let in.
    Refusing,
    /// Those who are there are told to go as well, the ones that cost most first.
    Shedding,
}

impl Stage {
    /// The word for it in records.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Refusing => "refusing",
            Self::Shedding => "shedding",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What there is too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Memory.
    Memory,
    /// File descriptors.
    Descriptors,
    /// Time of the runtime's threads.
    Delay,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Descriptors, Self::Delay];

    /// The word for it in records and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Descriptors => "descriptors",
            Self::Delay => "delay",
        }
    }
}

/// What follows from one measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) stage: Stage,
    /// Why it is not normal.
    pub(crate) cause: Option<Cause>,
    pub(crate) demand: Option<Demand>,
}

/// What has to be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    pub(crate) bytes: u64,
    /// What waits for slow peers was asked for before, and was not enough: connections that hold nothing go too.
    pub(crate) from_anyone: bool,
}

/// Judges one measurement after another.
#[derive(Debug)]
pub(crate) struct Judge {
    config: Config,
    stage: Stage,
    cause: Option<Cause>,
    /// Since when a lower stage would have been enough.
    calm_since: Option<Instant>,
    /// How many times in a row the runtime was late.
    late_in_a_row: u32,
    asked: Option<Asked>,
}

/// What was given up last.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// How much memory was used when it was asked for.
    used: u64,
    /// When it has had its time.
    until: Instant,
}

impl Judge {
    pub(crate) const fn new(config: Config) -> Self {
        Self { config, stage: Stage::Normal, cause: None, calm_since: None, late_in_a_row: 0, asked: None }
    }

    /// Up at once, down once a lower stage has been enough for [`CALM_TIME`].
    pub(crate) fn judge(&mut self, readings: &Readings, now: Instant) -> Verdict {
        let is_late = self.config.delay_max.is_some_and(|max| readings.delay >= max);
        self.late_in_a_row = if is_late { self.late_in_a_row.saturating_add(1) } else { 0 };
        let (needed, cause) = self.stage_of(readings, 0);
        let (kept, kept_cause) = self.stage_of(readings, RECOVERY_PERCENT);
        if needed > self.stage {
            (self.stage, self.cause, self.calm_since) = (needed, cause, None);
        } else if kept >= self.stage {
            self.calm_since = None;
            if kept == self.stage {
                // It may be something else by now that keeps it there.
                self.cause = kept_cause;
            }
        } else {
            let since = *self.calm_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= CALM_TIME {
                (self.stage, self.cause, self.calm_since) = (kept, kept_cause, None);
            }
        }
        let demand = readings.memory.and_then(|memory| self.demand(memory, now));
        Verdict { stage: self.stage, cause: self.cause, demand }
    }

    /// The stage that these readings are, with every threshold `less` lower, and what makes it so.
    fn stage_of(&self, readings: &Readings, less: u32) -> (Stage, Option<Cause>) {
        let is_at = |used: Option<Used>, percent: Option<u32>| {
            used.zip(percent).is_some_and(|(used, percent)| used.is_at(percent.saturating_sub(less)))
        };
        let Config { memory_refuse_percent, memory_shed_percent, descriptors_refuse_percent, .. } =
            self.config;
        if is_at(readings.memory, memory_shed_percent) {
            return (Stage::Shedding, Some(Cause::Memory));
        }
        if is_at(readings.memory, memory_refuse_percent) {
            return (Stage::Refusing, Some(Cause::Memory));
        }
        // Who is there keeps its descriptors: to refuse others is enough.
        if is_at(readings.descriptors, descriptors_refuse_percent) {
            return (Stage::Refusing, Some(Cause::Descriptors));
        }
        // Once is what a machine does that was suspended.
        let is_late = if less == 0 {
            self.late_in_a_row >= LATE_IN_A_ROW
        } else {
            self.config.delay_max.is_some_and(|max| readings.delay >= max / 2)
        };
        if is_late { (Stage::Refusing, Some(Cause::Delay)) } else { (Stage::Normal, None) }
    }

    /// How much has to go, so that no more is used than from which on nobody is let in. What was asked for needs a while until it can
    /// be seen; before that only what has grown beside it is asked for.
    fn demand(&mut self, memory: Used, now: Instant) -> Option<Demand> {
        let shed_percent = self.config.memory_shed_percent.filter(|percent| memory.is_at(*percent));
        let Some(shed_percent) = shed_percent else {
            if self.stage != Stage::Shedding {
                self.asked = None;
            }
            return None;
        };
        let aim_percent = self.config.memory_refuse_percent.unwrap_or(shed_percent).min(shed_percent);
        let aim = memory.at(aim_percent.saturating_sub(RECOVERY_PERCENT));
        let demand = match self.asked {
            Some(asked) if now < asked.until => {
                let growth = memory.used.saturating_sub(asked.used);
                if growth <= memory.at(GROWTH_PERCENT) {
                    return None;
                }
                Demand { bytes: growth, from_anyone: true }
            }
            asked => Demand { bytes: memory.used.saturating_sub(aim), from_anyone: asked.is_some() },
        };
        self.asked = Some(Asked { used: memory.used, until: now + SETTLE_TIME });
        Some(demand)
    }
}

/// How many points below a threshold it is over: what a connection more or less takes must not flap.
const RECOVERY_PERCENT: u32 = 5;
/// For how long it must be over.
const CALM_TIME: Duration = Duration::from_secs(1);
/// How often in a row the runtime must be late.
const LATE_IN_A_ROW: u32 = 3;
/// How long what was asked for may take: connections are told so and have a while to answer, and the program's allocator gives back what
/// is freed over ten seconds. Whatever grows meanwhile is asked for at once.
const SETTLE_TIME: Duration = Duration::from_secs(15);
/// What may be more meanwhile.
const GROWTH_PERCENT: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    struct Bench {
        judge: Judge,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self { judge: Judge::new(Config::default()), now: Clock::system().now() }
        }

        fn after(&mut self, millis: u64, readings: Readings) -> Verdict {
            self.now += Duration::from_millis(millis);
            self.judge.judge(&readings, self.now)
        }

        fn memory(&mut self, millis: u64, percent: u64) -> (Stage, Option<Cause>) {
            let memory = Some(Used { used: percent * 10, max: 1000 });
            let Verdict { stage, cause, .. } = self.after(millis, Readings { memory, ..Readings::default() });
            (stage, cause)
        }
    }

    const MEMORY: Option<Cause> = Some(Cause::Memory);

    #[test]
    fn r11_stages_are_entered_at_once_and_left_when_it_has_been_calm() {
        let mut bench = Bench::new();
        assert_eq!(bench.memory(100, 74), (Stage::Normal, None));
        assert_eq!(bench.memory(100, 75), (Stage::Refusing, MEMORY));
        assert_eq!(bench.memory(100, 85), (Stage::Shedding, MEMORY));
        // Below the threshold and not yet far enough.
        assert_eq!(bench.memory(5000, 81), (Stage::Shedding, MEMORY));
        assert_eq!(bench.memory(5000, 79), (Stage::Shedding, MEMORY));
        assert_eq!(bench.memory(999, 79), (Stage::Shedding, MEMORY));
        assert_eq!(bench.memory(1, 79), (Stage::Refusing, MEMORY));
        assert_eq!(bench.memory(100, 60), (Stage::Refusing, MEMORY));
        assert_eq!(bench.memory(1000, 60), (Stage::Normal, None));
    }

    #[test]
    fn a_peak_within_the_calm_begins_it_anew() {
        let mut bench = Bench::new();
        bench.memory(0, 76);
        bench.memory(100, 60);
        assert_eq!(bench.memory(900, 72), (Stage::Refusing, MEMORY));
        assert_eq!(bench.memory(900, 60), (Stage::Refusing, MEMORY));
        assert_eq!(bench.memory(999, 60), (Stage::Refusing, MEMORY));
        assert_eq!(bench.memory(1, 60), (Stage::Normal, None));
    }

    #[test]
    fn it_does_not_flap_between_two_thresholds() {
        let mut bench = Bench::new();
        let mut changes = 0;
        let mut stage = Stage::Normal;
        for round in 0..1000 {
            let (next, _) = bench.memory(100, if round % 2 == 0 { 76 } else { 71 });
            changes += u32::from(next != stage);
            stage = next;
        }
        assert_eq!((changes, stage), (1, Stage::Refusing));
    }

    #[test]
    fn r11_what_is_asked_for_once_is_not_asked_for_again_before_it_can_be_seen() {
        let mut bench = Bench::new();
        let mut demand = |millis, used| {
            let memory = Some(Used { used, max: 1000 });
            bench.after(millis, Readings { memory, ..Readings::default() }).demand
        };
        assert_eq!(demand(0, 849), None);
        assert_eq!(demand(100, 900), Some(Demand { bytes: 200, from_anyone: false }));
        assert_eq!(demand(100, 900), None);
        assert_eq!(demand(100, 910), None);
        // What has come on top of it.
        assert_eq!(demand(100, 940), Some(Demand { bytes: 40, from_anyone: true }));
        assert_eq!(demand(14_999, 940), None);
        assert_eq!(demand(1, 930), Some(Demand { bytes: 230, from_anyone: true }));
        assert_eq!(demand(15_000, 820), None);
        // Another time, once this is over.
        assert_eq!(demand(100, 600), None);
        assert_eq!(demand(1000, 600), None);
        assert_eq!(demand(100, 850), Some(Demand { bytes: 150, from_anyone: false }));
    }

    #[test]
    fn r10_descriptors_and_delay_refuse_and_end_nobody() {
        let mut bench = Bench::new();
        let full = Readings { descriptors: Some(Used { used: 100, max: 100 }), ..Readings::default() };
        let verdict = bench.after(100, full);
        assert_eq!(
            verdict,
            Verdict { stage: Stage::Refusing, cause: Some(Cause::Descriptors), demand: None }
        );

        let mut bench = Bench::new();
        let late = Readings { delay: Duration::from_secs(1), ..Readings::default() };
        let stages = [100, 100, 100].map(|millis| bench.after(millis, late).stage);
        assert_eq!(stages, [Stage::Normal, Stage::Normal, Stage::Refusing]);
        let better = Readings { delay: Duration::from_millis(500), ..Readings::default() };
        assert_eq!(bench.after(5000, better).stage, Stage::Refusing);
        assert_eq!(bench.after(100, Readings::default()).stage, Stage::Refusing);
        assert_eq!(bench.after(1000, Readings::default()).stage, Stage::Normal);
    }

    #[test]
    fn one_pause_of_the_whole_machine_is_no_overload() {
        let mut bench = Bench::new();
        let suspended = Readings { delay: Duration::from_hours(8), ..Readings::default() };
        for _ in 0..10 {
            assert_eq!(bench.after(100, suspended).stage, Stage::Normal);
            assert_eq!(bench.after(100, Readings::default()).stage, Stage::Normal);
        }
    }

    #[test]
    fn what_is_switched_off_or_not_known_is_not_judged() {
        let config = Config {
            memory_max: MemoryMax::Unlimited,
            memory_refuse_percent: None,
            memory_shed_percent: None,
            descriptors_refuse_percent: None,
            delay_max: None,
        };
        let all = Some(Used { used: u64::MAX, max: u64::MAX });
        let readings = Readings { memory: all, descriptors: all, delay: Duration::MAX };
        let mut judge = Judge::new(config);
        let now = Clock::system().now();
        for _ in 0..10 {
            assert_eq!(
                judge.judge(&readings, now),
                Verdict { stage: Stage::Normal, cause: None, demand: None }
            );
        }
        let mut judge = Judge::new(Config::default());
        assert_eq!(judge.judge(&readings, now).stage, Stage::Shedding, "the largest numbers do not overflow");
    }
}
