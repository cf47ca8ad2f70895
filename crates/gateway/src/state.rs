//! What outlives the process: revocations and bans, on disk before anybody is told that they are kept; and how far the audit log has come.
//!
//! A [`Store`] is one directory of one process. It has a thread of its own, since waiting for a disk would hold up
//! connections; changes that wait for it while it writes are written together. It never decides what is in force, and
//! never begins anew over a file that is damaged: that would forget every revocation in it. Before it comes whoever
//! changes what is in force (`control.rs`); what it read at the start goes to the sessions before the first accept.

#[cfg(test)]
pub(crate) mod by_hand;
mod embedded;
mod folder;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};

use redb::Database;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use self::embedded::Embedded;
use self::folder::Folder;
use crate::audit::Mark;
use crate::clock::UnixTime;
use crate::session::revocation::{Revocation, SubjectBan};

/// The `[state]` table, where something is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The folder of the files. It is made where it is missing, for this user alone.
    pub directory: PathBuf,
}

/// Something that is to outlive the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Keeps tokens out. Of two of the same name, what keeps more out counts.
    Revoke(Revocation),
    /// Keeps a subject out, in place of another ban that it has.
    Ban(SubjectBan),
    /// Lets a subject in again.
    Unban {
        /// Which one.
        subject: String,
    },
    /// Keeps addresses out, in place of another ban of the same network.
    BanAddress(AddressBan),
    /// Lets addresses in again.
    UnbanAddress {
        /// Which ones, as the ban has them.
        network: String,
    },
    /// How far the audit log has come; `None` where another is to begin.
    Audit(Option<Mark>),
}

/// Addresses that are kept out, as it is stored and sent on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AddressBan {
    /// Which ones: an address, or a network as `203.0.113.0/24`.
    pub network: String,
    /// Until when; `None` is for good.
    pub until: Option<UnixTime>,
    /// Why, in the words of whoever banned them.
    pub reason: String,
}

/// What was on disk, without what is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The revocations.
    pub revocations: Vec<Revocation>,
    /// The bans of subjects.
    pub bans: Vec<SubjectBan>,
    /// The bans of addresses.
    pub address_bans: Vec<AddressBan>,
    /// How far the audit log had come, when it was last noted.
    pub audit: Option<Mark>,
}

/// Keeps changes on disk. Cheap to clone; dropping the last clone waits for what is still queued, and gives the directory
/// back.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None` once it is being dropped.
    queue: Option<SyncSender<Work>>,
    thread: Option<JoinHandle<()>>,
}

/// What becomes of a change.
pub(crate) type Outcome = oneshot::Receiver<Result<(), StateError>>;

/// What the thread has to do, and who waits for it.
#[derive(Debug)]
struct Work {
    task: Task,
    done: oneshot::Sender<Result<(), StateError>>,
}

#[derive(Clone, Debug)]
enum Task {
    Keep(Change),
    /// Deletes what has been over for long at this time.
    Forget(UnixTime),
}

impl Store {
    /// Opens what is kept in `directory`, and makes it where nothing is. Blocks the thread, for seconds where there
    /// are a million entries.
    ///
    /// # Errors
    /// When it cannot be used: another process has it, it is damaged, a later version wrote it, or the system refuses.
    pub fn open(directory: &Path, now: UnixTime) -> Result<(Self, Loaded), StateError> {
        let folder = Folder::claim(directory)?;
        folder.prepare()?;
        let file = folder.file().to_owned();
        // The folder goes with the closure to the thread, which gives it up when it ends.
        let open = || Embedded::open(file.clone(), move || folder.open(), now);
        let (embedded, loaded) =
            catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|_| Err(embedded::contradictory(&file)))?;
        let store = Self::start(embedded).map_err(|source| StateError::unusable(directory, source))?;
        Ok((store, loaded))
    }

    fn start<O>(embedded: Embedded<O>) -> io::Result<Self>
    where
        O: FnMut() -> Result<Database, StateError> + Send + 'static,
    {
        let (queue, waiting) = sync_channel(QUEUE_LENGTH_MAX);
        let thread =
            Builder::new().name("drawgate-state".to_owned()).spawn(move || work(embedded, &waiting))?;
        Ok(Self(Arc::new(Inner { queue: Some(queue), thread: Some(thread) })))
    }

    /// Keeps `change`. Ready when it is on disk; until then it may or may not survive. It is in the queue after the first
    /// poll, and is written also if this future is dropped then.
    ///
    /// # Errors
    /// When it is not on disk. After an error of the system it may be there all the same.
    pub async fn keep(&self, change: Change) -> Result<(), StateError> {
        self.ask(Task::Keep(change)).await
    }

    /// Keeps `change`, and blocks the thread until it is on disk.
    ///
    /// # Errors
    /// As for [`Self::keep`].
    ///
    /// # Panics
    /// On a thread that drives asynchronous tasks.
    pub fn keep_now(&self, change: Change) -> Result<(), StateError> {
        self.queue(Task::Keep(change))?.blocking_recv().unwrap_or(Err(StateError::Stopped))
    }

    /// Has `change` kept at some time; whoever wants to know when hears it from what is returned.
    pub(crate) fn note(&self, change: Change) -> Result<Outcome, StateError> {
        self.queue(Task::Keep(change))
    }

    /// Deletes what has been over for long. The others have to wait meanwhile, so do it seldom.
    ///
    /// # Errors
    /// When it could not be written; nothing is lost then.
    pub async fn forget(&self, now: UnixTime) -> Result<(), StateError> {
        self.ask(Task::Forget(now)).await
    }

    async fn ask(&self, task: Task) -> Result<(), StateError> {
        self.queue(task)?.await.unwrap_or(Err(StateError::Stopped))
    }

    fn queue(&self, task: Task) -> Result<Outcome, StateError> {
        let (done, outcome) = oneshot::channel();
        let queue = self.0.queue.as_ref().ok_or(StateError::Stopped)?;
        queue.try_send(Work { task, done }).map_err(|error| match error {
            TrySendError::Full(_) => StateError::Busy,
            TrySendError::Disconnected(_) => StateError::Stopped,
        })?;
        Ok(outcome)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A thread that has panicked has nothing left to do either.
            let _ = thread.join();
        }
    }
}

/// Writes what comes, until nobody is left who could ask.
fn work<O: FnMut() -> Result<Database, StateError>>(mut embedded: Embedded<O>, waiting: &Receiver<Work>) {
    while let Ok(first) = waiting.recv() {
        let (tasks, waiters): (Vec<_>, Vec<_>) = std::iter::once(first)
            .chain(waiting.try_iter().take(BATCH_LENGTH_MAX - 1))
            .map(|work| (work.task, work.done))
            .unzip();
        // A file that changes under us may make the database panic. Those who wait are told so, and the next ones served.
        let outcomes = catch_unwind(AssertUnwindSafe(|| embedded.write(&tasks)))
            .unwrap_or_else(|_| Err(embedded.panicked()))
            .unwrap_or_else(|error| vec![Err(error); tasks.len()]);
        for (done, outcome) in waiters.into_iter().zip(outcomes) {
            // Whoever has stopped waiting need not know.
            let _ = done.send(outcome);
        }
    }
}

/// Why something is not kept. Each says what to do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StateError {
    /// The directory or a file in it cannot be used.
    #[error(
        "{path} cannot be used: let Drawgate's user read and write there, or name another folder in state.directory"
    )]
    Unusable {
        /// Which one.
        path: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Another process has it.
    #[error(
        "{directory} is in use by {holder}: stop that one, or give this one a folder of its own in state.directory"
    )]
    InUse {
        /// The directory.
        directory: String,
        /// The process that has it, as far as it is known.
        holder: String,
    },
    /// It is not as it was written. Nothing in it has been changed.
    #[error(
        "{file} is damaged ({detail}): put a backup in its place, or move it away to start without the revocations and \
         bans in it"
    )]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A later version of Drawgate has written it.
    #[error(
        "{file} has format {found}, and this version of Drawgate knows formats up to {known}: run the version that wrote it"
    )]
    TooNew {
        /// The file.
        file: String,
        /// Its format.
        found: u64,
        /// The latest that is known.
        known: u64,
    },
    /// The disk refuses: it is full, or fails. Tried again with the next change.
    #[error("{file} could not be written ({detail}): make room on its disk, or replace it")]
    NotWritten {
        /// The file.
        file: String,
        /// What the system said.
        detail: String,
    },
    /// More changes wait than are held in memory.
    #[error("the disk is slower than what is to be kept: {QUEUE_LENGTH_MAX} changes wait")]
    Busy,
    /// As many entries are on disk as are kept.
    #[error("as many revocations and bans are on disk as are kept: {ENTRIES_MAX}")]
    Full,
    /// A value that no revocation and no ban needs.
    #[error("it is longer than {VALUE_BYTES_MAX} bytes")]
    TooLong,
    /// The store has been given up.
    #[error("nothing is kept any more: the thread that writes has ended")]
    Stopped,
}

impl StateError {
    fn unusable(path: &Path, source: io::Error) -> Self {
        Self::Unusable { path: path.display().to_string(), source: Arc::new(source) }
    }

    fn damaged(file: &Path, detail: &impl ToString) -> Self {
        Self::Damaged { file: file.display().to_string(), detail: detail.to_string() }
    }

    fn not_written(file: &Path, detail: &impl ToString) -> Self {
        Self::NotWritten { file: file.display().to_string(), detail: detail.to_string() }
    }
}

/// How many changes may wait for the disk.
const QUEUE_LENGTH_MAX: usize = 4096;
/// How many are written at once.
const BATCH_LENGTH_MAX: usize = 1024;
/// The most entries on disk: those that are in force at most, and as many that are over and not yet deleted.
const ENTRIES_MAX: u64 = 2_000_000;
/// The most bytes of one entry.
const VALUE_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests;
