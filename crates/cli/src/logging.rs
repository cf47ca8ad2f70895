//! Where the library's records go: lines on standard error, or in a file of bounded size.
//!
//! Writing never holds up a connection: lines wait in a bounded queue, and what does not fit is counted.

mod json;

use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use drawgate::observe::{Config, Encoded, ErrorFile, LogFormat, LogLevel, Observer, RotatingFile};
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;

use self::json::Json;
use crate::Failure;

/// The log while it is kept: dropping it writes what is still queued.
pub(crate) struct Log {
    _guard: WorkerGuard,
    lost: ErrorCounter,
    told: AtomicUsize,
    /// Records go to a file, so that whoever is at the terminal does not see them.
    is_apart: bool,
}

impl Log {
    /// Starts logging on standard error.
    pub(crate) fn to_stderr(config: &Config) -> Result<Self, Failure> {
        Self::start(config, io::stderr(), false)
    }

    /// Starts logging to `file`, which is kept within its bound.
    pub(crate) fn to_file(config: &Config, file: &Path) -> Result<Self, Failure> {
        let bounds =
            ErrorFile { path: file.to_owned(), bytes_max: LOG_FILE_BYTES_MAX, files_max: LOG_FILES_MAX };
        let file = RotatingFile::open(bounds).map_err(|error| Failure(error.to_string()))?;
        Self::start(config, file, true)
    }

    fn start(
        config: &Config,
        writer: impl io::Write + Send + 'static,
        is_apart: bool,
    ) -> Result<Self, Failure> {
        let writer = Gathering(BufWriter::new(writer));
        let (writer, guard) =
            NonBlockingBuilder::default().lossy(true).buffered_lines_limit(QUEUED_LINES_MAX).finish(writer);
        let lost = writer.error_counter();
        // Only what concerns connections at the level asked for; libraries speak up when something is wrong.
        let filter =
            Targets::new().with_target("drawgate", level(config.level)).with_default(LevelFilter::WARN);
        let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false).with_target(false);
        let lines = match config.format {
            LogFormat::Json => lines.event_format(Json).boxed(),
            LogFormat::Text => lines.boxed(),
        };
        tracing::subscriber::set_global_default(
            tracing_subscriber::registry().with(lines.with_filter(filter)),
        )
        .map_err(|error| Failure(format!("the log cannot be started: {error}")))?;
        log_panics();
        Ok(Self { _guard: guard, lost, told: AtomicUsize::new(0), is_apart })
    }

    /// Tells the operator at the terminal what a record says as well. Where the records themselves go there this is silent,
    /// so that every line there has the format that was asked for.
    pub(crate) fn tell(&self, text: &str) {
        if self.is_apart {
            say(text);
        }
    }

    /// Counts the lines that were lost since the last call.
    pub(crate) fn count_lost(&self, observer: &Observer) {
        let lost = self.lost.dropped_lines();
        let told = self.told.swap(lost, Ordering::Relaxed);
        observer.records_lost(lost.saturating_sub(told) as u64);
    }
}

/// Lines that come together leave by one write.
///
/// The thread that writes flushes when its queue is empty, and then would sleep until the next line wakes it. Under load that
/// wakes it for each, which costs whoever logs more than the line does; so it rests a moment, and finds some.
struct Gathering<W: io::Write>(BufWriter<W>);

impl<W: io::Write> io::Write for Gathering<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.0.flush();
        #[expect(clippy::disallowed_methods, reason = "a thread of its own, which no connection waits for")]
        thread::sleep(GATHERING_TIME);
        flushed
    }
}

/// A panic is a record like any other; the default would write it past the log.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("(no message)");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(target: "drawgate", message = "panic", panic = %Encoded(&message), place);
    }));
}

/// Tells the operator, at the terminal.
pub(crate) fn say(text: &str) {
    // Nobody to tell where this cannot be written.
    let _ = writeln!(io::stderr(), "{text}");
}

const fn level(level: LogLevel) -> LevelFilter {
    LevelFilter::from_level(match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    })
}

/// Lines that wait for a slow disk or terminal; about 4 MiB.
const QUEUED_LINES_MAX: usize = 8192;
/// How late a line may be; short for people, long for a processor.
const GATHERING_TIME: Duration = Duration::from_millis(2);
const LOG_FILE_BYTES_MAX: u64 = 10 * 1024 * 1024;
const LOG_FILES_MAX: u32 = 5;
