//! What files need that outlast the process: one process at a time, nobody else who reads them, and names that survive a crash.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// Why a file could not be claimed.
#[derive(Debug)]
pub(crate) enum Unclaimed {
    /// Another process has it: its number, or that it is another.
    InUse(String),
    /// The file cannot be made, locked or written.
    Unusable(io::Error),
}

/// Locks the file `lock`, which is made where it is missing, and writes the number of this process into it for whoever comes next. Dropping
/// what is returned gives it up. That the file is there says nothing, only the lock does.
pub(crate) fn claim(lock: &Path) -> Result<File, Unclaimed> {
    let mut claim =
        private(OpenOptions::new().create(true).truncate(false)).open(lock).map_err(Unclaimed::Unusable)?;
    match claim.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Unclaimed::InUse(holder(&mut claim))),
        Err(TryLockError::Error(source)) => return Err(Unclaimed::Unusable(source)),
    }
    claim.set_len(0).and_then(|()| write!(claim, "{}", std::process::id())).map_err(Unclaimed::Unusable)?;
    Ok(claim)
}

/// Reads and writes, and a file that is made is for this user alone.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.read(true).write(true)
}

/// The names in a directory are on disk after this.
pub(crate) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The names beside this one, and its own, are on disk after this.
pub(crate) fn sync_around(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent != Path::new("") => sync(parent),
        Some(_) | None => sync(Path::new(".")),
    }
}

/// The process that has noted itself in `claim`.
fn holder(claim: &mut File) -> String {
    let mut text = String::new();
    let id: Option<u32> =
        claim.take(20).read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
    id.map_or_else(|| "another process".to_owned(), |id| format!("process {id}"))
}
