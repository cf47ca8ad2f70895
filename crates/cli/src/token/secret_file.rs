//! The key of a data folder: made once, whole or not at all, readable by its owner alone.
//!
//! Never overwrites a key and never prints one. Comes before anything that signs or verifies with it.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use drawgate::chance::Chance;
use zeroize::Zeroizing;

use super::Error;

/// The key's file, which is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecretFile {
    pub(crate) path: PathBuf,
    /// Whether it was made just now.
    pub(crate) created: bool,
    /// What the operator should hear about it, and do.
    pub(crate) warning: Option<String>,
}

/// Makes `folder` and its key where they are missing: 64 random hexadecimal characters, mode 0600.
///
/// The key comes to its name in one step and complete; of several that start at once, one makes it and all use it.
///
/// # Errors
/// When the folder or the file cannot be made. The error names the path and says what to do.
pub(crate) fn ensure_secret(folder: &Path, chance: &Chance) -> io::Result<SecretFile> {
    ensure(folder, FILE_NAME, chance)
}

/// The same for the token that opens the demo's admin listener.
///
/// # Errors
/// As [`ensure_secret`].
pub(crate) fn ensure_admin_token(folder: &Path, chance: &Chance) -> io::Result<SecretFile> {
    ensure(folder, ADMIN_FILE_NAME, chance)
}

fn ensure(folder: &Path, name: &str, chance: &Chance) -> io::Result<SecretFile> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
        explained(&error, folder, "choose a folder that can be written with `--data DIR`")
    })?;
    let path = folder.join(name);
    let created = match fs::symlink_metadata(&path) {
        Ok(_) => false,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(folder, name, chance).map_err(|error| {
                explained(&error, &path, "choose a folder that can be written with `--data DIR`")
            })?
        }
        Err(error) => {
            return Err(explained(&error, &path, "run this as the user that the folder belongs to"));
        }
    };
    let warning = exposure(&path);
    Ok(SecretFile { path, created, warning })
}

/// Whether it was this call that made the key.
fn create(folder: &Path, name: &str, chance: &Chance) -> io::Result<bool> {
    let path = folder.join(name);
    let mut text = Zeroizing::new(String::with_capacity(64));
    for byte in Zeroizing::new(chance.bytes::<32>()).iter() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    let draft = folder.join(format!("{name}.{:016x}.draft", chance.bits()));
    let linked = write_draft(&draft, &text).and_then(|()| {
        // Unlike a rename, a link never replaces what is already there.
        match fs::hard_link(&draft, &path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    });
    // What stays behind if this fails is a file that only its owner can read and nothing uses.
    let _ = fs::remove_file(&draft);
    let created = linked?;
    File::open(folder)?.sync_all()?;
    Ok(created)
}

fn write_draft(draft: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Makes sure that there is a key at `path` and that this user may read it. What it says is the configuration's matter.
pub(super) fn open(path: &Path) -> Result<(), Error> {
    match File::open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::NoSecret(path.to_owned())),
        Err(error) => Err(Error::SecretUnreadable(path.to_owned(), error)),
    }
}

/// What to say where others than its owner can get at the key.
pub(super) fn exposure(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        let path = path.display();
        format!("others on this machine can get at the key {path} (mode {mode:04o}): run `chmod 600 {path}`")
    })
}

/// Where the key of a data folder lies.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join(FILE_NAME)
}

fn explained(error: &io::Error, path: &Path, advice: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{} cannot be made ({error}): {advice}", path.display()))
}

const FILE_NAME: &str = "token.secret";
/// The file of the token that opens the demo's admin listener, in its data folder.
pub(crate) const ADMIN_FILE_NAME: &str = "admin.token";
