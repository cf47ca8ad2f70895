//! A file that is read again when it has changed.
//!
//! Looked at as the files of certificates are (`crate::tls`): a change is seen however the file was replaced, and taken once
//! it stands still. What its bytes mean, and whether they are used, is for whoever asks. Sleeps never; the server looks.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

use super::fetch::BODY_BYTES_MAX;
use crate::tls::{Outlook, Watch};

/// A file and what has been seen of it.
#[derive(Debug)]
pub(crate) struct WatchedFile {
    path: PathBuf,
    watch: Watch,
}

/// Why a file gives no bytes. Each is the end of a sentence that its name begins.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cannot be read ({})", .0.kind())]
    Unreadable(io::Error),
    #[error("is no plain file")]
    NotPlain,
    #[error("is longer than {BODY_BYTES_MAX} bytes")]
    TooLong,
}

impl WatchedFile {
    /// The file at `path`; what is done to it from now on is a change.
    pub(crate) fn new(path: PathBuf) -> Self {
        let watch = Watch::new(vec![path.clone()]);
        Self { path, watch }
    }

    /// Its bytes as they are now.
    pub(crate) fn read(&self) -> Result<Vec<u8>, FileError> {
        let metadata = self.path.metadata().map_err(FileError::Unreadable)?;
        // What is no plain file could make the reader wait forever.
        if !metadata.is_file() {
            return Err(FileError::NotPlain);
        }
        let file = File::open(&self.path).map_err(FileError::Unreadable)?;
        let mut bytes = Vec::new();
        file.take(BODY_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(FileError::Unreadable)?;
        if bytes.len() > BODY_BYTES_MAX {
            return Err(FileError::TooLong);
        }
        Ok(bytes)
    }

    /// Its bytes, if it has changed and has stood still since the last look.
    pub(crate) fn look(&mut self) -> Option<Result<Vec<u8>, FileError>> {
        (self.watch.look() == Outlook::Changed).then(|| self.read())
    }
}
