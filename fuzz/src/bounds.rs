//! What one input may cost: a target that needs more time or memory than this has failed.
//!
//! libFuzzer's entries call it; the replay of the corpus does not, since an unoptimised build on a busy machine is slow
//! for no fault of an input.

use std::cell::Cell;
use std::time::{Duration, Instant};

use allocation_counter::{measure, opt_out};
use rustix::time::{ClockId, clock_gettime};

use crate::Target;

/// Runs `target` over `data`, within the bounds.
///
/// # Panics
/// When a promise is broken, or the input takes more than [`TIME_MAX`] of the processor twice in a row, or holds more than
/// [`MEMORY_BYTES_MAX`] at once.
pub fn run(target: &Target, data: &[u8]) {
    bounded(|| (target.run)(data));
}

/// Does what is the harness's own work and no part of what is measured: a second decoder may be slow, and hold all at once.
pub fn aside<T>(work: impl FnOnce() -> T) -> T {
    let begun_at = thread_time();
    let mut result = None;
    opt_out(|| result = Some(work()));
    ASIDE.set(ASIDE.get() + thread_time().saturating_sub(begun_at));
    result.expect("the work is done")
}

thread_local! {
    static ASIDE: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
fn bounded(once: impl Fn()) {
    let begun_at = Instant::now();
    let allocated = measure(&once);
    assert!(allocated.bytes_max <= MEMORY_BYTES_MAX, "one input took {} bytes", allocated.bytes_max);
    // The clock on the wall is read in no time, and never runs slower than that of the thread.
    if begun_at.elapsed() <= TIME_MAX {
        return;
    }
    let (begun_at, aside) = (thread_time(), ASIDE.get());
    once();
    let taken = thread_time().saturating_sub(begun_at).saturating_sub(ASIDE.get() - aside);
    assert!(taken <= TIME_MAX, "one input took {taken:?}, again");
}

/// How long the processor has worked for this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).expect("less than a second"))
}

/// The most time of the processor that an input may take.
pub const TIME_MAX: Duration = Duration::from_millis(50);
/// The most bytes that an input may hold at once.
pub const MEMORY_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "to sleep costs no time of the processor")]
    fn an_input_that_costs_little_passes() {
        bounded(|| drop(black_box(vec![0_u8; 1000])));
        bounded(|| std::thread::sleep(TIME_MAX * 2));
    }

    #[test]
    fn an_input_that_holds_too_much_fails() {
        let holds_too_much = || bounded(|| drop(black_box(Vec::<u8>::with_capacity(65 * 1024 * 1024))));
        assert!(catch_unwind(holds_too_much).is_err());
    }

    fn work() {
        let begun_at = thread_time();
        while thread_time() - begun_at < TIME_MAX * 2 {}
    }

    #[test]
    fn an_input_that_works_too_long_fails() {
        assert!(catch_unwind(|| bounded(work)).is_err());
    }

    #[test]
    fn what_the_harness_does_for_itself_is_not_counted() {
        bounded(|| aside(work));
        bounded(|| aside(|| drop(black_box(Vec::<u8>::with_capacity(65 * 1024 * 1024)))));
    }
}
