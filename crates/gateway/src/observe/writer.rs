//! The thread that writes the error file, so that nothing else ever waits for a disk.
//!
//! Records come over a bounded queue; one that finds it full is counted and gone. After a failed write, records are
//! counted and gone for a second, then it is tried again; failure and recovery are logged once each. Time comes with
//! the records: the thread reads none.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use crate::clock::Instant;

/// The way to the thread. Dropping it writes what is queued, within [`DROP_TIMEOUT`].
#[derive(Debug)]
pub(super) struct Writer {
    queue: Sender<Line>,
    backlog: Arc<Backlog>,
    lost: Lost,
}

/// The records that never reached the file, by cause.
#[derive(Clone, Debug, Default)]
pub(super) struct Lost {
    pub(super) queue_full: Counter,
    pub(super) write_failed: Counter,
    /// Counted by the program, whose log it is.
    pub(super) log_full: Counter,
}

impl Writer {
    /// Starts the thread. It calls `write` with one whole line at a time.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(super) fn start(
        write: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
        lost: Lost,
    ) -> io::Result<Self> {
        let (queue, lines) = mpsc::channel();
        let backlog = Arc::new(Backlog::default());
        let worker = Worker { write, failure: None, lost: lost.clone() };
        let thread_backlog = Arc::clone(&backlog);
        thread::Builder::new()
            .name("drawgate-errors".to_owned())
            .spawn(move || worker.run(&lines, &thread_backlog))?;
        Ok(Self { queue, backlog, lost })
    }

    /// Queues a line that ends in a line feed; `now` is when it happened. Never waits.
    pub(super) fn write(&self, text: String, now: Instant) {
        if !self.backlog.reserve() {
            self.lost.queue_full.inc();
            return;
        }
        if self.queue.send(Line { text, now }).is_err() {
            // The thread has ended, which only a panic in it can do.
            self.lost.write_failed.inc();
            self.backlog.release();
        }
    }

    /// Waits until all that was queued is written or lost, at most `timeout`; whether it came to that.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        self.backlog.wait_empty(timeout)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The thread ends when the queue is closed, which is right after this. One that hangs on its disk is left behind.
        self.flush(DROP_TIMEOUT);
    }
}

struct Line {
    text: String,
    now: Instant,
}

/// How many lines are queued or being written; what bounds the queue.
#[derive(Debug, Default)]
struct Backlog {
    lines: Mutex<usize>,
    emptied: Condvar,
}

impl Backlog {
    fn reserve(&self) -> bool {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = *lines < QUEUE_LINES_MAX;
        if has_room {
            *lines += 1;
        }
        has_room
    }

    fn release(&self) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        *lines = lines.saturating_sub(1);
        if *lines == 0 {
            self.emptied.notify_all();
        }
    }

    fn wait_empty(&self, timeout: Duration) -> bool {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.emptied.wait_timeout_while(lines, timeout, |lines| *lines > 0);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

/// What the thread owns.
struct Worker<W> {
    write: W,
    failure: Option<Failure>,
    lost: Lost,
}

struct Failure {
    retry_at: Instant,
    lines_lost: u64,
}

impl<W: FnMut(&[u8]) -> io::Result<()>> Worker<W> {
    fn run(mut self, lines: &Receiver<Line>, backlog: &Backlog) {
        for line in lines {
            self.line(&line);
            backlog.release();
        }
    }

    fn line(&mut self, line: &Line) {
        if let Some(failure) = &mut self.failure
            && line.now < failure.retry_at
        {
            failure.lines_lost = failure.lines_lost.saturating_add(1);
            self.lost.write_failed.inc();
            return;
        }
        match ((self.write)(line.text.as_bytes()), self.failure.take()) {
            (Ok(()), None) => {}
            (Ok(()), Some(failure)) => {
                tracing::warn!(target: "drawgate", lost = failure.lines_lost, "error file is written again");
            }
            (Err(error), failure) => {
                self.lost.write_failed.inc();
                if failure.is_none() {
                    tracing::error!(target: "drawgate", %error, "error file cannot be written");
                }
                let lines_lost = failure.map_or(0, |failure| failure.lines_lost).saturating_add(1);
                self.failure = Some(Failure { retry_at: line.now + RETRY_INTERVAL, lines_lost });
            }
        }
    }
}

/// The most lines that wait for the disk: at about a kilobyte each, 1 MiB.
const QUEUE_LINES_MAX: usize = 1024;

/// How long a file that failed is left alone.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long dropping waits for a slow disk.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    /// Longer than any run takes that does not hang.
    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_blocked_disk_never_blocks_the_caller() {
        let (unblock, blocked) = mpsc::channel::<()>();
        let (written_sender, written) = mpsc::channel();
        let write = move |line: &[u8]| {
            // Blocks until the other end is dropped.
            let _ = blocked.recv();
            written_sender.send(line.to_vec()).map_err(io::Error::other)
        };
        let lost = Lost::default();
        let writer = Writer::start(write, lost.clone()).unwrap();
        let now = Clock::system().now();
        for number in 0..QUEUE_LINES_MAX + 10 {
            writer.write(format!("{number}\n"), now);
        }
        assert_eq!(lost.queue_full.get(), 10);
        assert!(!writer.flush(Duration::from_millis(1)));
        drop(unblock);
        assert!(writer.flush(PATIENCE));
        assert_eq!(written.try_iter().count(), QUEUE_LINES_MAX);
        assert_eq!(lost.write_failed.get(), 0);
    }

    #[test]
    fn dropping_writes_what_is_queued() {
        let (sender, written) = mpsc::channel();
        let write = move |line: &[u8]| sender.send(line.to_vec()).map_err(io::Error::other);
        let writer = Writer::start(write, Lost::default()).unwrap();
        for _ in 0..100 {
            writer.write("line\n".to_owned(), Clock::system().now());
        }
        drop(writer);
        assert_eq!(written.try_iter().count(), 100);
    }

    #[test]
    fn a_failing_disk_is_tried_again_after_a_second_and_its_losses_counted() {
        let mut attempts = 0;
        let (sender, tried) = mpsc::channel();
        let write = move |line: &[u8]| {
            attempts += 1;
            sender.send(line.to_vec()).map_err(io::Error::other)?;
            if attempts < 3 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        };
        let lost = Lost::default();
        let mut worker = Worker { write, failure: None, lost: lost.clone() };
        let start = Clock::system().now();
        for (text, at_ms) in [("a", 0), ("b", 999), ("c", 1000), ("d", 1999), ("e", 2000), ("f", 2000)] {
            worker.line(&Line { text: text.to_owned(), now: start + Duration::from_millis(at_ms) });
        }
        assert_eq!(tried.try_iter().collect::<Vec<_>>(), [b"a", b"c", b"e", b"f"]);
        assert_eq!(lost.write_failed.get(), 4);
        assert!(worker.failure.is_none());
    }
}
