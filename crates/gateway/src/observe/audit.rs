//! The audit log: who connected, was refused, and ended, and what operators did, as lines of a chain ([`crate::audit`]).
//!
//! Lines are numbered and signed by a thread of its own, in the order in which they came; nobody waits for its disk. What it has written
//! is on disk before the key of the past is replaced: after a crash the lines are ahead of the key, never behind, and the next start
//! brings the key to where they end. While lines cannot be written they wait, as far as there is room.

use std::collections::VecDeque;
use std::fmt::{Display, Write as _};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::log::TARGET;
use super::metrics::register;
use crate::audit::{Config, Link, Mark, WhenFull};
use crate::clock::UnixTime;
use crate::disk::{self, Unclaimed};
use crate::state::{Change, Outcome, Store};

/// The way to the thread. Dropping it writes what is queued.
#[derive(Debug)]
pub(super) struct Audit {
    queue: Option<SyncSender<Job>>,
    /// Hears when the thread has ended.
    done: Mutex<Receiver<()>>,
    when_full: WhenFull,
    is_stuck: Arc<AtomicBool>,
    metrics: AuditMetrics,
}

/// What is counted of it.
#[derive(Clone, Debug)]
pub(super) struct AuditMetrics {
    count: Gauge,
    head: Gauge,
    lost: Counter,
    is_stuck: Gauge,
}

/// What the thread is asked for.
#[derive(Debug)]
enum Job {
    Write(Entry),
    /// Nothing comes any more that has to be noted elsewhere. Who asks hears when it has been.
    End(oneshot::Sender<()>),
}

/// What has happened, and when.
#[derive(Debug)]
struct Entry {
    time: UnixTime,
    members: String,
}

impl AuditMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self {
            count: register(
                registry,
                "audit_lines",
                "Lines of the audit log, from the first on; 0 without one",
                Gauge::default(),
            ),
            head: register(
                registry,
                "audit_head",
                "The first 48 bits of the code of its last line, as a number: with audit_lines what a copy of it must end in",
                Gauge::default(),
            ),
            lost: register(
                registry,
                "audit_lost",
                "What should have been in the audit log, and found no room while it could not be written",
                Counter::default(),
            ),
            is_stuck: register(
                registry,
                "audit_unwritable",
                "Whether the audit log cannot be written now",
                Gauge::default(),
            ),
        }
    }

    fn stands_at(&self, link: &Link) {
        self.count.set(i64::try_from(link.count()).unwrap_or(i64::MAX));
        let first = link.head.iter().take(6).fold(0_i64, |number, byte| number << 8 | i64::from(*byte));
        self.head.set(first);
    }
}

impl Audit {
    /// Opens the log, and brings the key to where it ends. How far it has come is noted in `store`, which knows of `mark`.
    ///
    /// # Errors
    /// There is no key, or the log does not go on from it, or does not come as far as the mark.
    pub(super) fn start(
        config: &Config,
        metrics: AuditMetrics,
        store: Option<Store>,
        mark: Option<Mark>,
    ) -> io::Result<Self> {
        let book = Book::open(config)?;
        if let Some(mark) = mark.filter(|mark| !book.link.has(mark)) {
            return Err(put_back(config, &book.link, &mark));
        }
        metrics.stands_at(&book.link);
        let (queue, entries) = sync_channel(QUEUE_LENGTH_MAX);
        let is_stuck = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            book,
            waiting: VecDeque::new(),
            notes: store.map(|store| Notes { store, noted: None, under_way: None }),
            is_stuck: Arc::clone(&is_stuck),
            metrics: metrics.clone(),
            has_told: false,
        };
        let (ended, done) = sync_channel(1);
        thread::Builder::new().name("drawgate-audit".to_owned()).spawn(move || {
            worker.run(&entries);
            let _ = ended.send(());
        })?;
        let done = Mutex::new(done);
        Ok(Self { queue: Some(queue), done, when_full: config.when_full, is_stuck, metrics })
    }

    /// Queues what has happened. Never waits.
    pub(super) fn write(&self, time: UnixTime, members: String) {
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            queue.try_send(Job::Write(Entry { time, members }))
        {
            self.metrics.lost.inc();
            self.is_stuck.store(true, Ordering::Release);
        }
    }

    /// Has all that is queued written and noted, and the store given back.
    pub(super) async fn end(&self) {
        let (done, outcome) = oneshot::channel();
        if self.queue.as_ref().is_some_and(|queue| queue.try_send(Job::End(done)).is_ok()) {
            let _ = outcome.await;
        }
    }

    /// Whether nobody may be let in, since it could not be recorded.
    pub(super) fn keeps_out(&self) -> bool {
        self.when_full == WhenFull::Closed && self.is_stuck.load(Ordering::Acquire)
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.queue = None;
        // One that hangs on its disk is left behind.
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = done.recv_timeout(DROP_TIMEOUT);
    }
}

/// What the thread owns.
struct Worker {
    book: Book,
    /// What has yet to be written.
    waiting: VecDeque<Entry>,
    /// `None` where nothing is noted elsewhere.
    notes: Option<Notes>,
    is_stuck: Arc<AtomicBool>,
    metrics: AuditMetrics,
    /// The operator knows that nothing can be written.
    has_told: bool,
}

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            if self.has_told {
                // Trying again signs all that waits anew: that is not to be done for each line that comes meanwhile.
                #[expect(
                    clippy::disallowed_methods,
                    reason = "a thread of its own, which no connection waits for"
                )]
                thread::sleep(RETRY_TIME);
            }
            let job = match jobs.recv_timeout(RETRY_TIME) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let is_quiet = job.is_none();
            let ends = self.take(job, jobs);
            self.write();
            if let Some(notes) = &mut self.notes {
                notes.note(&self.book.link, is_quiet);
            }
            if let Some(done) = ends {
                self.end_notes();
                let _ = done.send(());
            }
        }
        self.write();
        self.end_notes();
        self.metrics.lost.inc_by(self.waiting.len() as u64);
    }

    /// Takes `job` and those behind it, since what comes together is written together, and costs one wait for the disk. What finds no room
    /// beside what waits already is lost, and counted. Whoever has asked for the end.
    fn take(&mut self, job: Option<Job>, jobs: &Receiver<Job>) -> Option<oneshot::Sender<()>> {
        let mut ends = None;
        for job in job.into_iter().chain(jobs.try_iter()).take(QUEUE_LENGTH_MAX) {
            match job {
                Job::Write(entry) if self.waiting.len() < QUEUE_LENGTH_MAX => self.waiting.push_back(entry),
                Job::Write(_) => _ = self.metrics.lost.inc(),
                Job::End(done) => ends = Some(done),
            }
        }
        ends
    }

    /// Notes where the log stands, and gives the store back.
    fn end_notes(&mut self) {
        if let Some(mut notes) = self.notes.take() {
            notes.wait();
            notes.note(&self.book.link, true);
            notes.wait();
        }
    }

    fn write(&mut self) {
        if self.waiting.is_empty() && !self.is_stuck.load(Ordering::Acquire) {
            return;
        }
        match self.book.write(&mut self.waiting) {
            Ok(()) => {
                self.metrics.stands_at(&self.book.link);
                self.is_stuck.store(false, Ordering::Release);
                self.metrics.is_stuck.set(0);
                if std::mem::take(&mut self.has_told) {
                    tracing::warn!(target: TARGET, lost = self.metrics.lost.get(), "audit log is written again");
                }
            }
            Err(error) => {
                self.is_stuck.store(true, Ordering::Release);
                self.metrics.is_stuck.set(1);
                if !std::mem::replace(&mut self.has_told, true) {
                    tracing::error!(target: TARGET, %error, "audit log cannot be written");
                }
            }
        }
    }
}

/// Where how far the log has come is kept as well, so that whoever puts back an older log together with its key is found out.
struct Notes {
    store: Store,
    /// What was noted last.
    noted: Option<Mark>,
    under_way: Option<Outcome>,
}

impl Notes {
    /// Notes where `link` stands, when that is worth waiting for the disk: never two notes at a time, and not for each line of many.
    fn note(&mut self, link: &Link, is_quiet: bool) {
        let behind = link.count() - self.noted.as_ref().map_or(0, |mark| mark.lines);
        if behind == 0 || !is_quiet && behind < NOTE_LINES {
            return;
        }
        if self.under_way.as_mut().is_some_and(|note| matches!(note.try_recv(), Err(TryRecvError::Empty))) {
            return;
        }
        let mark = link.mark();
        // What fails is made up for by the next one, and is told by whoever revokes or bans.
        self.under_way = self.store.note(Change::Audit(Some(mark.clone()))).ok();
        self.noted = self.under_way.is_some().then_some(mark);
    }

    /// For the disk.
    fn wait(&mut self) {
        if let Some(note) = self.under_way.take() {
            let _ = note.blocking_recv();
        }
    }
}

/// The files, and where the chain stands.
struct Book {
    config: Config,
    /// No other process writes this chain while this is held.
    _claim: File,
    link: Link,
    file: Option<File>,
    bytes: u64,
    /// The number of the first line in the file.
    first: u64,
    /// The last write failed, and a part of it may stand at the end.
    is_torn: bool,
}

impl Book {
    fn open(config: &Config) -> io::Result<Self> {
        let path = &config.key_file;
        let claim = disk::claim(&beside(path, ".lock")).map_err(|error| match error {
            Unclaimed::InUse(holder) => {
                let text = format!(
                    "{}: is in use by {holder}; give each gateway an [audit] of its own",
                    path.display()
                );
                io::Error::new(io::ErrorKind::ResourceBusy, text)
            }
            Unclaimed::Unusable(error) => told(&error, path, "cannot be locked"),
        })?;
        let text = fs::read_to_string(path)
            .map_err(|error| told(&error, path, "cannot be read; `drawgate audit create` makes one"))?;
        let link = Link::from_text(&text).ok_or_else(|| {
            let text =
                format!("{}: is no key of an audit log; `drawgate audit create` makes one", path.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        })?;
        let (file, config) = (None, config.clone());
        let mut book = Self { config, _claim: claim, link, file, bytes: 0, first: 1, is_torn: false };
        book.go_on()?;
        Ok(book)
    }

    /// Takes up what a crash left: a piece of a line goes, and the key follows the lines that are whole.
    fn go_on(&mut self) -> io::Result<()> {
        let path = self.config.path.clone();
        let mut file = open(&path).map_err(|error| told(&error, &path, "cannot be opened"))?;
        let (key_stands_at, mut whole_bytes, mut last) = (self.link.next, 0, 0);
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let count = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                break;
            }
            let number = serde_json::from_slice::<serde_json::Value>(&line)
                .ok()
                .and_then(|value| value.get("seq")?.as_u64());
            if whole_bytes == 0 {
                self.first = number.unwrap_or(1);
            }
            // Lines before the key are verified by whoever has the first key.
            if number.is_none_or(|number| number >= key_stands_at) {
                self.link.verify(line.trim_ascii_end()).map_err(|flaw| {
                    let text =
                        format!("{}: a line {flaw}; it does not go on from the key file", path.display());
                    io::Error::new(io::ErrorKind::InvalidData, text)
                })?;
            } else if number == Some(key_stands_at - 1)
                && !line.ends_with(format!("{}\"}}\n", self.link.head_hex()).as_bytes())
            {
                let text =
                    format!("{}: its last line is not the one that the key file knows", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            whole_bytes += count as u64;
            last = number.unwrap_or(0);
        }
        if whole_bytes == 0 {
            self.first = self.link.next;
        } else if last != self.link.count() {
            let text = format!(
                "{}: ends after line {last}, and its key file knows {}",
                path.display(),
                self.link.count()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        file.set_len(whole_bytes)?;
        file.seek(SeekFrom::End(0))?;
        (self.file, self.bytes) = (Some(file), whole_bytes);
        if self.link.next != key_stands_at {
            self.keep_key()?;
        }
        Ok(())
    }

    /// Writes what waits. What could not be written stays in it, and the chain where it was.
    fn write(&mut self, waiting: &mut VecDeque<Entry>) -> io::Result<()> {
        if self.bytes >= self.config.bytes_max {
            self.turn()?;
        }
        if self.file.is_none() {
            self.reopen()?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut link = self.link.clone();
        let mut lines = String::new();
        for entry in waiting.iter() {
            lines.push_str(&link.add(&entry.time, &entry.members));
        }
        let written = file.write_all(lines.as_bytes()).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // A part of it may stand there; nobody knows of it, so it goes before anything else is written.
            (self.is_torn, self.file) = (true, None);
            return Err(error);
        }
        self.bytes += lines.len() as u64;
        self.link = link;
        waiting.clear();
        self.keep_key()
    }

    /// Opens the file again. A piece of our own that was cut short goes; whatever else has become of the file is looked at as at the start,
    /// and nothing of it is ever cut.
    fn reopen(&mut self) -> io::Result<()> {
        let mut file = open(&self.config.path)?;
        let bytes = file.metadata()?.len();
        if self.is_torn && bytes > self.bytes {
            file.set_len(self.bytes)?;
        } else if bytes != self.bytes {
            self.is_torn = false;
            return self.go_on();
        }
        self.is_torn = false;
        file.seek(SeekFrom::End(0))?;
        self.file = Some(file);
        Ok(())
    }

    /// The file is full: it gets the number of its first line behind its name, and another begins. No file of another chain is written over.
    fn turn(&mut self) -> io::Result<()> {
        self.file = None;
        let full = beside(&self.config.path, &format!(".{:012}", self.first));
        if full.try_exists()? {
            let text = format!("{}: is there already; move it away", full.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        match fs::rename(&self.config.path, full) {
            // Somebody has taken it away already.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
        (self.bytes, self.first) = (0, self.link.next);
        self.reopen()
    }

    /// Replaces the key file whole; the key before it is gone.
    fn keep_key(&self) -> io::Result<()> {
        keep(&self.config.key_file, &self.link)
    }
}

/// Replaces the key file at `path` whole.
pub(super) fn keep(path: &Path, link: &Link) -> io::Result<()> {
    let draft = beside(path, ".new");
    let mut file = disk::private(OpenOptions::new().create(true).truncate(true)).open(&draft)?;
    file.write_all(link.to_text().as_bytes())?;
    file.sync_data()?;
    fs::rename(&draft, path)
}

/// Opens the log, and makes it where it is missing; then its name is on disk before its first line.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)?;
    if file.metadata()?.len() == 0 {
        disk::sync_around(path)?;
    }
    Ok(file)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// The log and its key are older than what the state knows of them.
fn put_back(config: &Config, link: &Link, mark: &Mark) -> io::Error {
    let text = format!(
        "{}: has {} lines by its key, and the state knows {}: an older log was put in its place, or its end was cut off. To begin another \
         on purpose, move it, its full files and its key away and run `drawgate audit create`",
        config.path.display(),
        link.count(),
        mark.lines
    );
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn told(error: &io::Error, path: &Path, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {what} ({error})", path.display()))
}

/// Members of a line, written one after the other.
pub(super) struct Members(String);

impl Members {
    /// A line of this kind.
    pub(super) fn of(kind: &str) -> Self {
        Self(format!(r#""kind":"{kind}""#))
    }

    /// Adds a member; what a peer chose is escaped as JSON has it.
    pub(super) fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        // Writing to a string cannot fail.
        let _ = write!(self.0, r#","{name}":{}"#, value.into());
        self
    }

    /// Adds a member, if there is one.
    pub(super) fn maybe(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(name, value.to_string()),
            None => self,
        }
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// How much may wait for the disk, at some 300 bytes each.
const QUEUE_LENGTH_MAX: usize = 8192;
/// How many lines may come before it is noted that they did; it is noted earlier where nothing has come for [`RETRY_TIME`].
const NOTE_LINES: u64 = 1000;
/// How often what waits is tried again.
const RETRY_TIME: Duration = Duration::from_millis(500);
/// How long dropping waits for a slow disk.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);
/// No line of ours is longer.
const LINE_BYTES_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests;
