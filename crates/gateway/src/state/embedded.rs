//! The database of a store: what is in it, and how it is read and written.
//!
//! Each value is the JSON of what it stands for, so that the file explains itself and another version reads it. A commit
//! is of two phases: the file is whole after any crash, and where it is not, that is damage and said so, instead of a
//! state from before. Runs on the store's thread; `folder.rs` has found the file.

use std::io;
use std::path::{Path, PathBuf};

use redb::{
    Database, Durability, ReadableDatabase as _, ReadableTable, ReadableTableMetadata as _, Table,
    TableDefinition, TableError, WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{AddressBan, Change, ENTRIES_MAX, Loaded, StateError, Task, VALUE_BYTES_MAX};
use crate::audit::Mark;
use crate::clock::UnixTime;
use crate::session::OVER_TIME;
use crate::session::revocation::{Revocation, SubjectBan, Target};

/// The database, and how it is opened anew after a failure.
#[derive(Debug)]
pub(super) struct Embedded<O> {
    file: PathBuf,
    open: O,
    /// `None` after a failure: the database takes nothing more then, until it is opened anew.
    database: Option<Database>,
    durability: Durability,
    entries_max: u64,
}

impl<O: FnMut() -> Result<Database, StateError>> Embedded<O> {
    /// Opens the database, deletes what has been over for long, and reads the rest.
    pub(super) fn open(file: PathBuf, open: O, now: UnixTime) -> Result<(Self, Loaded), StateError> {
        let (durability, entries_max) = (Durability::Immediate, ENTRIES_MAX);
        let mut embedded = Self { file, open, database: None, durability, entries_max };
        let database = (embedded.open)()?;
        let loaded = load(&database, &embedded.file, now)?;
        embedded.database = Some(database);
        // A disk that is full must not keep the gateway from starting; it is tried again later.
        let _ = embedded.write(&[Task::Forget(now)]);
        Ok((embedded, loaded))
    }

    /// Does all of `tasks` in one transaction, which is on disk then, or none of them. Each may be refused by itself.
    pub(super) fn write(&mut self, tasks: &[Task]) -> Result<Vec<Result<(), StateError>>, StateError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => (self.open)().map_err(|error| match error {
                // It could be used before.
                StateError::Unusable { source, .. } => StateError::not_written(&self.file, &source),
                error => error,
            })?,
        };
        let outcomes = transact(&database, self.durability, self.entries_max, tasks)
            .map_err(|error| failed_to_write(&self.file, error))?;
        self.database = Some(database);
        Ok(outcomes)
    }

    /// What is said after a panic of [`Self::write`].
    pub(super) fn panicked(&self) -> StateError {
        contradictory(&self.file)
    }

    #[cfg(test)]
    pub(super) fn with_durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    #[cfg(test)]
    pub(super) fn with_room_for(self, entries_max: u64) -> Self {
        Self { entries_max, ..self }
    }
}

/// How every database is opened: checked whole each time, since what is damaged may otherwise go unnoticed.
pub(super) fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES_MAX).set_check_integrity_on_open(true);
    builder
}

/// Makes the tables of a new database, and closes it.
pub(super) fn begin(database: Database) -> Result<(), redb::Error> {
    let transaction = begin_write(&database, Durability::Immediate)?;
    transaction.open_table(ABOUT)?.insert(FORMAT_KEY, FORMAT)?;
    for table in [REVOCATIONS, SUBJECT_BANS, ADDRESS_BANS] {
        transaction.open_table(table)?;
    }
    transaction.commit()?;
    Ok(database.close()?)
}

/// What an error of opening or reading says of `file`.
pub(super) fn failed_to_read(file: &Path, error: impl Into<redb::Error>) -> StateError {
    match error.into() {
        redb::Error::Io(source) if !is_about_content(&source) => StateError::unusable(file, source),
        error => StateError::damaged(file, &error),
    }
}

fn failed_to_write(file: &Path, error: redb::Error) -> StateError {
    match error {
        redb::Error::Corrupted(detail) => StateError::damaged(file, &detail),
        error => StateError::not_written(file, &error),
    }
}

/// What a panic of the database says of `file`: the checks that it makes have not found what is wrong.
pub(super) fn contradictory(file: &Path) -> StateError {
    StateError::damaged(file, &"what is in it contradicts itself")
}

/// Whether an error of reading says that the file is not what it should be.
fn is_about_content(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn begin_write(database: &Database, durability: Durability) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(durability)?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

fn transact(
    database: &Database,
    durability: Durability,
    entries_max: u64,
    tasks: &[Task],
) -> Result<Vec<Result<(), StateError>>, redb::Error> {
    let transaction = begin_write(database, durability)?;
    let mut tables = Tables {
        audit: transaction.open_table(AUDIT)?,
        revocations: transaction.open_table(REVOCATIONS)?,
        subject_bans: transaction.open_table(SUBJECT_BANS)?,
        address_bans: transaction.open_table(ADDRESS_BANS)?,
    };
    let outcomes =
        tasks.iter().map(|task| tables.do_task(task, entries_max)).collect::<Result<Vec<_>, _>>()?;
    drop(tables);
    transaction.commit()?;
    Ok(outcomes)
}

/// What a transaction writes to.
struct Tables<'t> {
    audit: Table<'t, &'static str, &'static str>,
    revocations: Table<'t, &'static str, &'static str>,
    subject_bans: Table<'t, &'static str, &'static str>,
    address_bans: Table<'t, &'static str, &'static str>,
}

impl Tables<'_> {
    fn do_task(&mut self, task: &Task, entries_max: u64) -> Result<Result<(), StateError>, redb::Error> {
        let has_room = self.count()? < entries_max;
        let change = match task {
            Task::Keep(change) => change,
            Task::Forget(now) => return Ok(Ok(self.forget(*now)?)),
        };
        match change {
            Change::Revoke(revocation) => {
                let key = key(&revocation.target);
                let before = self.revocations.get(key.as_str())?.map(|before| before.value().to_owned());
                let before = before.and_then(|before| serde_json::from_str::<Revocation>(&before).ok());
                let revocation = match before {
                    Some(before) => before.merged(revocation),
                    None => revocation.clone(),
                };
                put(&mut self.revocations, &key, &revocation, has_room)
            }
            Change::Ban(ban) => put(&mut self.subject_bans, &ban.subject, ban, has_room),
            Change::BanAddress(ban) => put(&mut self.address_bans, &ban.network, ban, has_room),
            Change::Unban { subject } => {
                self.subject_bans.remove(subject.as_str())?;
                Ok(Ok(()))
            }
            Change::UnbanAddress { network } => {
                self.address_bans.remove(network.as_str())?;
                Ok(Ok(()))
            }
            // One entry, for which there is always room.
            Change::Audit(Some(mark)) => put(&mut self.audit, MARK_KEY, mark, true),
            Change::Audit(None) => {
                self.audit.remove(MARK_KEY)?;
                Ok(Ok(()))
            }
        }
    }

    fn count(&self) -> Result<u64, redb::Error> {
        Ok(self.revocations.len()? + self.subject_bans.len()? + self.address_bans.len()?)
    }

    /// Deletes what has been over for long. What cannot be read was found at the start, and is not ours to delete.
    fn forget(&mut self, now: UnixTime) -> Result<(), redb::Error> {
        let is_kept = |until: Option<UnixTime>| until.is_none_or(|until| until.plus(OVER_TIME) > now);
        let revocation = |text: &str| serde_json::from_str::<Revocation>(text).map(|entry| entry.until);
        let subject = |text: &str| serde_json::from_str::<SubjectBan>(text).map(|entry| entry.until);
        let address = |text: &str| serde_json::from_str::<AddressBan>(text).map(|entry| entry.until);
        self.revocations.retain(|_, text| revocation(text).map_or(true, is_kept))?;
        self.subject_bans.retain(|_, text| subject(text).map_or(true, is_kept))?;
        self.address_bans.retain(|_, text| address(text).map_or(true, is_kept))?;
        Ok(())
    }
}

fn put<T: Serialize>(
    table: &mut Table<'_, &'static str, &'static str>,
    key: &str,
    value: &T,
    has_room: bool,
) -> Result<Result<(), StateError>, redb::Error> {
    let text = serde_json::to_string(value).expect("plain values have a JSON form");
    if text.len() > VALUE_BYTES_MAX {
        return Ok(Err(StateError::TooLong));
    }
    if !has_room && table.get(key)?.is_none() {
        return Ok(Err(StateError::Full));
    }
    table.insert(key, text.as_str())?;
    Ok(Ok(()))
}

/// Reads all that is not over, and refuses what this version does not understand.
fn load(database: &Database, file: &Path, now: UnixTime) -> Result<Loaded, StateError> {
    let read = || -> Result<_, redb::Error> {
        let transaction = database.begin_read()?;
        let format = transaction.open_table(ABOUT)?.get(FORMAT_KEY)?.map(|format| format.value());
        Ok((transaction, format))
    };
    let (transaction, format) = read().map_err(|error| failed_to_read(file, error))?;
    match format {
        Some(FORMAT) => {}
        Some(found) if found > FORMAT => {
            return Err(StateError::TooNew { file: file.display().to_string(), found, known: FORMAT });
        }
        Some(_) | None => return Err(StateError::damaged(file, &"it does not say its format")),
    }
    let read = || -> Result<_, redb::Error> {
        let revocations = values::<Revocation>(&transaction.open_table(REVOCATIONS)?)?;
        let subject_bans = values::<SubjectBan>(&transaction.open_table(SUBJECT_BANS)?)?;
        let address_bans = values::<AddressBan>(&transaction.open_table(ADDRESS_BANS)?)?;
        let marks = match transaction.open_table(AUDIT) {
            Ok(table) => values::<Mark>(&table)?,
            // Nothing has been written since it could be.
            Err(TableError::TableDoesNotExist(_)) => Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        Ok((revocations, subject_bans, address_bans, marks))
    };
    let (revocations, bans, address_bans, marks) = read().map_err(|error| failed_to_read(file, error))?;
    let unknown =
        |error: serde_json::Error| StateError::damaged(file, &format!("an entry is not one: {error}"));
    let (mut revocations, mut bans) = (revocations.map_err(unknown)?, bans.map_err(unknown)?);
    let mut address_bans = address_bans.map_err(unknown)?;
    revocations.retain(|revocation| !revocation.is_over(now));
    bans.retain(|ban| !ban.is_over(now));
    address_bans.retain(|ban| ban.until.is_none_or(|until| until > now));
    let audit = marks.map_err(unknown)?.pop();
    Ok(Loaded { revocations, bans, address_bans, audit })
}

/// Every value of a table.
fn values<T: DeserializeOwned>(
    table: &impl ReadableTable<&'static str, &'static str>,
) -> Result<serde_json::Result<Vec<T>>, redb::Error> {
    let mut values = Vec::new();
    for entry in table.iter()? {
        match serde_json::from_str(entry?.1.value()) {
            Ok(value) => values.push(value),
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(values))
}

/// The name of a revocation: two of the same are one.
fn key(target: &Target) -> String {
    match target {
        Target::Everyone { .. } => "everyone".to_owned(),
        Target::Subject { subject, .. } => format!("subject {subject}"),
        Target::Token { token_id } => format!("token {token_id}"),
        Target::Session { session } => format!("session {session}"),
    }
}

/// What the file is.
pub(super) const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
pub(super) const FORMAT_KEY: &str = "format";
/// The format that is written. Whoever changes what older versions cannot read counts it up.
pub(super) const FORMAT: u64 = 1;

const REVOCATIONS: TableDefinition<'_, &str, &str> = TableDefinition::new("revocations");
const SUBJECT_BANS: TableDefinition<'_, &str, &str> = TableDefinition::new("subject_bans");
const ADDRESS_BANS: TableDefinition<'_, &str, &str> = TableDefinition::new("address_bans");

/// One entry: how far the audit log has come.
const AUDIT: TableDefinition<'_, &str, &str> = TableDefinition::new("audit");
const MARK_KEY: &str = "mark";

/// What the database may hold in memory; nothing is read from it after the start.
const CACHE_BYTES_MAX: usize = 16 * 1024 * 1024;
