//! What a source does over time; all of it virtual.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use super::super::source::{Event, Refreshed, Source, Timing};
use crate::clock::Clock;

const TIMING: Timing =
    Timing { refresh_interval: Duration::from_mins(5), stale_max: Duration::from_hours(1) };
const WAIT: Duration = Duration::from_secs(3);

/// A source of numbers, and what answers it.
struct Kept {
    source: Arc<Source<u32>>,
    told: Arc<Mutex<Vec<String>>>,
    fetches: Arc<AtomicUsize>,
    in_flight_max: Arc<AtomicUsize>,
    /// What is answered; `DOWN`: nothing is.
    answer: Arc<AtomicU32>,
    keeping: JoinHandle<()>,
}

const DOWN: u32 = u32::MAX;
/// How long an answer takes.
const FLIGHT: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
#[error("it is down")]
struct Down;

#[derive(Debug, thiserror::Error)]
#[error("it is no number")]
struct NoNumber(#[source] std::num::ParseIntError);

impl Kept {
    fn start(first: u32) -> Self {
        let source = Arc::new(Source::new(TIMING, Clock::system()));
        let told = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(AtomicU32::new(first));
        let (fetches, in_flight_max) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let keeping = tokio::spawn({
            let (source, told) = (Arc::clone(&source), Arc::clone(&told));
            let (fetches, in_flight_max, answer) =
                (Arc::clone(&fetches), Arc::clone(&in_flight_max), Arc::clone(&answer));
            async move {
                let in_flight = AtomicUsize::new(0);
                let fetch = async || {
                    fetches.fetch_add(1, Ordering::SeqCst);
                    in_flight_max.fetch_max(in_flight.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    sleep(FLIGHT).await;
                    in_flight.fetch_sub(1, Ordering::SeqCst);
                    match answer.load(Ordering::SeqCst) {
                        DOWN => Err(Down),
                        0 => Ok(b"zero".to_vec()),
                        number => Ok(number.to_string().into_bytes()),
                    }
                };
                let parse = |bytes: &[u8]| str::from_utf8(bytes).unwrap().parse().map_err(NoNumber);
                let tell = |event: Event<'_, u32>| told.lock().unwrap().push(words(&event));
                source.keep(fetch, parse, tell).await;
            }
        });
        Self { source, told, fetches, in_flight_max, answer, keeping }
    }

    /// One that has fetched once.
    async fn started(first: u32) -> Self {
        let kept = Self::start(first);
        sleep(FLIGHT + Duration::from_millis(1)).await;
        kept
    }

    fn answer(&self, answer: u32) {
        self.answer.store(answer, Ordering::SeqCst);
    }

    fn value(&self) -> Option<u32> {
        self.source.current().map(|value| *value)
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    /// What has been told since the last call.
    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    /// Asks, as many at once as are meant; what came of each.
    async fn flood(&self, askers: usize) -> Vec<Refreshed> {
        let mut asking = JoinSet::new();
        for _ in 0..askers {
            let source = Arc::clone(&self.source);
            asking.spawn(async move { source.refresh(WAIT).await });
        }
        asking.join_all().await
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

fn words(event: &Event<'_, u32>) -> String {
    match event {
        Event::Replaced(value) => format!("replaced by {value}"),
        Event::Confirmed => "confirmed".to_owned(),
        Event::Failed(error) => format!("failed: {error}"),
        Event::Expired => "expired".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_is_fetched_at_once_and_renewed_from_time_to_time() {
    let kept = Kept::start(1);
    assert_eq!(kept.value(), None);
    sleep(FLIGHT * 2).await;
    assert_eq!((kept.value(), kept.fetches()), (Some(1), 1));
    kept.answer(2);
    sleep(TIMING.refresh_interval - FLIGHT + Duration::from_millis(1)).await;
    assert_eq!((kept.value(), kept.fetches()), (Some(1), 2));
    sleep(FLIGHT).await;
    assert_eq!(kept.value(), Some(2));
    sleep(TIMING.refresh_interval + FLIGHT).await;
    assert_eq!(kept.told(), ["replaced by 1", "replaced by 2", "confirmed"]);
    // What is confirmed is young again.
    kept.answer(DOWN);
    sleep(TIMING.stale_max - FLIGHT * 3).await;
    assert_eq!(kept.value(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a31_down_the_value_is_used_up_to_the_stated_age_and_then_refused() {
    let begun_at = Clock::system().now();
    let kept = Kept::started(1).await;
    kept.answer(DOWN);
    // Its age counts from the request that brought it, not from the answer.
    tokio::time::sleep_until(begun_at + TIMING.stale_max - Duration::from_millis(1)).await;
    assert_eq!(kept.value(), Some(1));
    let told = kept.told();
    assert!(told.contains(&"failed: it is down".to_owned()) && !told.contains(&"expired".to_owned()));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(kept.value(), None);
    sleep(FLIGHT + Duration::from_secs(31)).await;
    let told = kept.told();
    assert_eq!(told.iter().filter(|told| *told == "expired").count(), 1, "{told:?}");
    // The same value again, when it is back.
    kept.answer(1);
    sleep(Duration::from_secs(33)).await;
    assert_eq!(kept.value(), Some(1));
    assert_eq!(kept.told().last().unwrap(), "replaced by 1", "who gave it up takes it again");
}

#[tokio::test(start_paused = true)]
async fn a31_while_nothing_comes_it_is_tried_again_ever_more_seldom() {
    let kept = Kept::start(DOWN);
    tokio::task::yield_now().await;
    assert_eq!(kept.fetches(), 1, "at once");
    // Each attempt takes a second; then 1, 2, 4, 8, 16, 30 and 30 seconds pass.
    for (seconds, before) in [2, 3, 5, 9, 17, 31, 31].into_iter().zip(1..) {
        sleep(Duration::from_secs(seconds) - Duration::from_millis(2)).await;
        assert_eq!(kept.fetches(), before, "not before {seconds} s have passed");
        sleep(Duration::from_millis(2)).await;
        tokio::task::yield_now().await;
        assert_eq!(kept.fetches(), before + 1, "after {seconds} s");
    }
    assert_eq!(kept.value(), None);
    assert!(!kept.told().contains(&"expired".to_owned()), "what never was cannot become too old");
}

#[tokio::test(start_paused = true)]
async fn a32_a_flood_causes_one_fetch_every_30_seconds() {
    let kept = Kept::started(1).await;
    assert_eq!(kept.fetches(), 1);
    for round in 0..4 {
        let before = kept.fetches();
        let begun_at = Clock::system().now();
        let came = kept.flood(1000).await;
        assert!(came.iter().all(|came| *came == Refreshed::Ended), "all share the one that is on its way");
        assert_eq!(kept.fetches(), before + 1, "round {round}");
        // Until 30 s after that one was asked for there is no other, however many ask.
        while begun_at.elapsed() < Duration::from_secs(29) {
            let came = kept.flood(10).await;
            assert!(came.iter().all(|came| *came == Refreshed::TooSoon), "round {round}: {came:?}");
            sleep(Duration::from_millis(500)).await;
        }
        assert_eq!(kept.fetches(), before + 1, "round {round}");
        tokio::time::sleep_until(begun_at + Duration::from_secs(30)).await;
    }
    assert_eq!(kept.in_flight_max.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a32_down_a_flood_causes_no_more_fetches_than_otherwise() {
    let kept = Kept::started(DOWN).await;
    let before = kept.fetches();
    let begun_at = Clock::system().now();
    while begun_at.elapsed() < Duration::from_mins(10) {
        kept.flood(10).await;
        sleep(Duration::from_millis(500)).await;
    }
    // One caused, and one by itself, every 30 seconds at most, but for the first few.
    assert!(kept.fetches() - before <= 2 * 20 + 6, "{}", kept.fetches() - before);
    assert_eq!(kept.in_flight_max.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a32_a_fetch_that_was_under_way_is_shared_and_not_repeated() {
    let kept = Kept::start(1);
    tokio::task::yield_now().await;
    assert_eq!(kept.flood(100).await, [Refreshed::Ended; 100]);
    sleep(FLIGHT * 10).await;
    assert_eq!(kept.fetches(), 1);
    assert_eq!(kept.flood(1).await, [Refreshed::Ended], "sharing one does not cost the next");
    assert_eq!(kept.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a32_nobody_waits_longer_than_it_says() {
    let kept = Kept::started(1).await;
    let begun_at = Clock::system().now();
    assert_eq!(kept.source.refresh(FLIGHT / 2).await, Refreshed::TimedOut);
    assert_eq!(begun_at.elapsed(), FLIGHT / 2);
    sleep(FLIGHT).await;
    assert_eq!(kept.fetches(), 2, "a fetch does not end with whoever caused it");
    // Nobody fetches.
    let alone = Source::<u32>::new(TIMING, Clock::system());
    assert_eq!(alone.refresh(WAIT).await, Refreshed::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a34_after_a_refresh_everyone_sees_the_new_value() {
    let kept = Kept::started(1).await;
    let before = kept.source.current().unwrap();
    kept.answer(2);
    let seen = {
        let (source, told) = (Arc::clone(&kept.source), Arc::clone(&kept.told));
        tokio::spawn(async move {
            assert_eq!(source.refresh(WAIT).await, Refreshed::Ended);
            (source.current().map(|value| *value), told.lock().unwrap().clone())
        })
    };
    let (value, told) = seen.await.unwrap();
    assert_eq!(value, Some(2));
    assert_eq!(told, ["replaced by 1", "replaced by 2"], "who is told hears of it first");
    assert_eq!((*before, kept.value()), (1, Some(2)));
}

#[tokio::test(start_paused = true)]
async fn a33_what_cannot_be_read_leaves_the_value_as_it_was() {
    let kept = Kept::started(1).await;
    kept.told();
    kept.answer(0);
    assert_eq!(kept.flood(1).await, [Refreshed::Ended]);
    assert_eq!(kept.value(), Some(1));
    let error = "failed: it is no number: invalid digit found in string";
    assert_eq!(kept.told(), [error]);
}
