//! A log file of bounded size that survives a disk that does not.
//!
//! Appends whole lines. A file that would grow beyond its bound becomes `.1`, older ones move up, and the oldest goes.
//! After any error the file is opened anew at the next line, and a line that was cut short is ended first. Never waits
//! or retries by itself, and is only called from the thread of [`super::writer`].

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::PathBuf;

use super::ErrorFile;

/// The file and those before it. As a [`Write`](io::Write) it takes a whole line with each call.
#[derive(Debug)]
pub struct RotatingFile {
    config: ErrorFile,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    file: File,
    bytes: u64,
    /// A device or a pipe has no size and is never renamed.
    is_regular: bool,
}

impl RotatingFile {
    /// Opens the file, or makes it; its directory has to be there.
    ///
    /// # Errors
    /// When it cannot be opened for writing; the message names the path.
    pub fn open(config: ErrorFile) -> io::Result<Self> {
        let mut this = Self { config, current: None };
        this.current = Some(this.open_current().map_err(|error| {
            let path = this.config.path.display();
            io::Error::new(error.kind(), format!("cannot open the error file {path}: {error}"))
        })?);
        Ok(this)
    }

    /// Appends `line`, which ends in a line feed; starts a new file first where it does not fit. A line that alone is
    /// larger than the bound gets a file to itself.
    ///
    /// # Errors
    /// When any step fails; the line is then lost, and the next call starts over.
    pub fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        // Taken out, so that every early return leaves no handle behind and the next call opens a new one.
        let mut current = match self.current.take() {
            Some(current) => current,
            None => self.open_current()?,
        };
        let line_bytes = u64::try_from(line.len()).unwrap_or(u64::MAX);
        let fits = current.bytes.saturating_add(line_bytes) <= self.config.bytes_max;
        if current.is_regular && current.bytes > 0 && !fits {
            drop(current);
            self.shift()?;
            current = self.open_current()?;
        }
        current.file.write_all(line)?;
        current.bytes = current.bytes.saturating_add(line_bytes);
        self.current = Some(current);
        Ok(())
    }

    fn open_current(&self) -> io::Result<Current> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        // Records name addresses and subjects: not for everyone on the machine.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
        let mut file = options.open(&self.config.path)?;
        let metadata = file.metadata()?;
        let (is_regular, mut bytes) = (metadata.is_file(), metadata.len());
        if is_regular && bytes > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                bytes = bytes.saturating_add(1);
            }
        }
        Ok(Current { file, bytes, is_regular })
    }

    /// Makes room for a new file. Only the files below the first gap move, so that a failure half-way, tried again, loses
    /// nothing more.
    fn shift(&self) -> io::Result<()> {
        let Some(last) = self.config.files_max.checked_sub(1).filter(|last| *last > 0) else {
            return fs::remove_file(&self.config.path);
        };
        let gap = (1..last).find(|number| !self.numbered(*number).exists()).unwrap_or(last);
        for number in (1..gap).rev() {
            fs::rename(self.numbered(number), self.numbered(number.saturating_add(1)))?;
        }
        fs::rename(&self.config.path, self.numbered(1))
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.config.path);
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}

impl Write for RotatingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_line(line).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Lines go to the system at once.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;

    fn config(directory: &TempDir, bytes_max: u64, files_max: u32) -> ErrorFile {
        ErrorFile { path: directory.path().join("errors.log"), bytes_max, files_max }
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_full_file_moves_up_and_the_oldest_goes() {
        let directory = TempDir::new().unwrap();
        let mut file = RotatingFile::open(config(&directory, 10, 3)).unwrap();
        for line in ["one.\n", "two.\n", "three.\n", "four.\n", "five.\n", "six..\n", "seven.\n"] {
            file.write_line(line.as_bytes()).unwrap();
        }
        assert_eq!(names(directory.path()), ["errors.log", "errors.log.1", "errors.log.2"]);
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(read("errors.log"), "seven.\n");
        assert_eq!(read("errors.log.1"), "six..\n");
        assert_eq!(read("errors.log.2"), "five.\n");
    }

    #[test]
    fn no_file_is_larger_than_its_bound_and_each_is_filled() {
        for (bytes_max, bytes_full) in [(99, 90), (100, 100), (101, 100)] {
            let directory = TempDir::new().unwrap();
            let mut file = RotatingFile::open(config(&directory, bytes_max, 4)).unwrap();
            for number in 0..1000 {
                file.write_line(format!("line {number:04}\n").as_bytes()).unwrap();
            }
            assert_eq!(names(directory.path()).len(), 4);
            for number in 1..4 {
                let path = directory.path().join(format!("errors.log.{number}"));
                assert_eq!(fs::metadata(path).unwrap().len(), bytes_full);
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_is_not_for_everyone() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = TempDir::new().unwrap();
        let config = config(&directory, 10, 2);
        RotatingFile::open(config.clone()).unwrap();
        assert_eq!(fs::metadata(&config.path).unwrap().permissions().mode() & 0o007, 0);
    }

    #[test]
    fn with_one_file_the_old_lines_go() {
        let directory = TempDir::new().unwrap();
        let mut file = RotatingFile::open(config(&directory, 8, 1)).unwrap();
        file.write_line(b"first\n").unwrap();
        file.write_line(b"second\n").unwrap();
        assert_eq!(names(directory.path()), ["errors.log"]);
        assert_eq!(fs::read(directory.path().join("errors.log")).unwrap(), b"second\n");
    }

    #[test]
    fn a_restart_appends_and_ends_a_line_that_was_cut_short() {
        let directory = TempDir::new().unwrap();
        let config = config(&directory, 1000, 2);
        fs::write(&config.path, "whole\ncut").unwrap();
        RotatingFile::open(config.clone()).unwrap().write_line(b"next\n").unwrap();
        assert_eq!(fs::read_to_string(&config.path).unwrap(), "whole\ncut\nnext\n");
    }

    #[test]
    fn a_gap_takes_in_what_moves_up() {
        let directory = TempDir::new().unwrap();
        let config = config(&directory, 1, 5);
        for name in ["errors.log", "errors.log.1", "errors.log.3"] {
            fs::write(directory.path().join(name), format!("{name}\n")).unwrap();
        }
        RotatingFile::open(config).unwrap().write_line(b"new\n").unwrap();
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(read("errors.log.1"), "errors.log\n");
        assert_eq!(read("errors.log.2"), "errors.log.1\n");
        assert_eq!(read("errors.log.3"), "errors.log.3\n");
    }

    #[test]
    fn an_error_at_the_start_names_the_path() {
        let directory = TempDir::new().unwrap();
        let mut config = config(&directory, 10, 2);
        config.path = directory.path().join("missing").join("errors.log");
        let error = RotatingFile::open(config).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("missing/errors.log"), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_and_the_file_opens_anew_after_it() {
        let directory = TempDir::new().unwrap();
        let config = config(&directory, 1000, 2);
        std::os::unix::fs::symlink("/dev/full", &config.path).unwrap();
        let mut file = RotatingFile::open(config.clone()).unwrap();
        assert_eq!(file.write_line(b"lost\n").unwrap_err().kind(), io::ErrorKind::StorageFull);
        fs::remove_file(&config.path).unwrap();
        file.write_line(b"kept\n").unwrap();
        assert_eq!(fs::read(&config.path).unwrap(), b"kept\n");
    }
}
