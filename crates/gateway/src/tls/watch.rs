//! Whether files have changed.
//!
//! By looking at them every second or so, not by notifications of the system: those are not made on network and overlay
//! file systems, are limited in number, and are easily lost where a file is replaced by way of links, as Kubernetes does.
//! A look follows links, so that any way to replace a file is seen. Sleeps never; the server looks.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// What has been seen of the files.
#[derive(Debug)]
pub(crate) struct Watch {
    files: Vec<PathBuf>,
    /// As they were when they were last read.
    read: Look,
    /// As they were at the last look.
    seen: Look,
}

/// What a look says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// Nothing to do.
    Unchanged,
    /// They are being changed, or have been since the last look.
    Changing,
    /// They have changed, and have been still since the last look.
    Changed,
}

/// Each file at one moment; `None` for one that could not be looked at.
type Look = Vec<Option<Fingerprint>>;

/// What changes when a file is written or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    /// When its contents or its attributes changed; unlike the time before, programs do not set it back.
    changed: (i64, i64),
}

impl Watch {
    /// Watches `files` from now on.
    pub(crate) fn new(files: Vec<PathBuf>) -> Self {
        let look = look(&files);
        Self { files, read: look.clone(), seen: look }
    }

    /// Looks again. A certificate and its key are two files: only when both have stood still from one look to the next
    /// are they read.
    pub(crate) fn look(&mut self) -> Outlook {
        let now = look(&self.files);
        let is_still = now == self.seen;
        self.seen = now;
        match (self.seen == self.read, is_still) {
            (true, _) => Outlook::Unchanged,
            (false, false) => Outlook::Changing,
            (false, true) => {
                // Read or refused, what lies there has been dealt with until it changes again.
                self.read.clone_from(&self.seen);
                Outlook::Changed
            }
        }
    }
}

fn look(files: &[PathBuf]) -> Look {
    files
        .iter()
        .map(|file| {
            let metadata = fs::metadata(file).ok()?;
            Some(Fingerprint {
                device: metadata.dev(),
                inode: metadata.ino(),
                bytes: metadata.size(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    fn watch(folder: &Path) -> Watch {
        Watch::new(["cert.pem", "key.pem"].map(|name| folder.join(name)).to_vec())
    }

    #[test]
    fn what_changed_is_told_once_when_it_stands_still() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["cert.pem", "key.pem"] {
            fs::write(folder.path().join(name), "old").unwrap();
        }
        let mut watch = watch(folder.path());
        assert_eq!(watch.look(), Outlook::Unchanged);
        fs::write(folder.path().join("cert.pem"), "longer").unwrap();
        assert_eq!(watch.look(), Outlook::Changing);
        fs::remove_file(folder.path().join("key.pem")).unwrap();
        assert_eq!(watch.look(), Outlook::Changing);
        assert_eq!(watch.look(), Outlook::Changed);
        assert_eq!(watch.look(), Outlook::Unchanged);
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_a_change() {
        // Kubernetes: cert.pem -> ..data/cert.pem, and ..data -> a folder that is replaced by a rename.
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["1", "2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("cert.pem"), "same").unwrap();
            fs::write(at(version).join("key.pem"), "same").unwrap();
        }
        symlink("1", at("..data")).unwrap();
        for name in ["cert.pem", "key.pem"] {
            symlink(Path::new("..data").join(name), at(name)).unwrap();
        }
        let mut watch = watch(folder.path());
        assert_eq!(watch.look(), Outlook::Unchanged);
        symlink("2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_eq!((watch.look(), watch.look()), (Outlook::Changing, Outlook::Changed));
    }
}
