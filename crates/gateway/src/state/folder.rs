//! The directory of a store: made for this user alone, claimed by one process, with a database in it that is whole.
//!
//! A database is made under another name and takes its own when it is on disk, so that a file of that name which is empty
//! or cut short was damaged, never just begun. Comes before `embedded.rs`, which reads and writes what is in the file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError};

use super::StateError;
use super::embedded;
use crate::disk::{self, Unclaimed};

/// A directory that this process has claimed. Dropping it gives it up.
#[derive(Debug)]
pub(super) struct Folder {
    directory: PathBuf,
    file: PathBuf,
    /// Locked.
    _claim: File,
}

impl Folder {
    /// Makes `directory` where it is missing, and claims it.
    pub(super) fn claim(directory: &Path) -> Result<Self, StateError> {
        make(directory).map_err(|source| StateError::unusable(directory, source))?;
        let lock = directory.join(LOCK_NAME);
        let claim = disk::claim(&lock).map_err(|error| match error {
            Unclaimed::InUse(holder) => in_use(directory, holder),
            Unclaimed::Unusable(source) => StateError::unusable(&lock, source),
        })?;
        Ok(Self { directory: directory.to_owned(), file: directory.join(FILE_NAME), _claim: claim })
    }

    /// The file of the database.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Makes the database where there is none: at the start, and never later, when it would be one that has gone.
    pub(super) fn prepare(&self) -> Result<(), StateError> {
        match fs::symlink_metadata(&self.file) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create(),
            Err(source) => Err(StateError::unusable(&self.file, source)),
        }
    }

    /// Opens the database.
    pub(super) fn open(&self) -> Result<Database, StateError> {
        embedded::builder().open(&self.file).map_err(|error| match error {
            // Not one of ours, which would not have come past the claim.
            DatabaseError::DatabaseAlreadyOpen => in_use(&self.directory, "another process".to_owned()),
            error => embedded::failed_to_read(&self.file, error),
        })
    }

    fn create(&self) -> Result<(), StateError> {
        let draft = self.directory.join(DRAFT_NAME);
        let unusable = |source| StateError::unusable(&draft, source);
        match fs::remove_file(&draft) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(unusable(source)),
            Ok(()) | Err(_) => {}
        }
        let file = disk::private(OpenOptions::new().create_new(true)).open(&draft).map_err(unusable)?;
        let begun = FileBackend::new(file)
            .and_then(|backend| embedded::builder().create_with_backend(backend))
            .map_err(redb::Error::from)
            .and_then(embedded::begin);
        begun.map_err(|error| StateError::not_written(&draft, &error))?;
        let name = || {
            fs::rename(&draft, &self.file)?;
            disk::sync(&self.directory)
        };
        name().map_err(|source| StateError::unusable(&self.file, source))
    }
}

/// Makes `directory`, and sees to it that it is still there after a crash.
fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)?;
    disk::sync_around(directory)
}

fn in_use(directory: &Path, holder: String) -> StateError {
    StateError::InUse { directory: directory.display().to_string(), holder }
}

/// The database.
pub(super) const FILE_NAME: &str = "state.redb";
/// One that is being made.
const DRAFT_NAME: &str = "state.redb.new";
/// Locked by the process that has the directory, whose number is in it.
pub(super) const LOCK_NAME: &str = "lock";
