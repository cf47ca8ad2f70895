//! One end of a connection to one log record and one counter.

use std::path::PathBuf;

/// The `[log]` table. The level and format of the program's own log are the program's to apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The least severe level that is logged.
    pub level: LogLevel,
    /// How records are written.
    pub format: LogFormat,
    /// Where refusals and abnormal ends are also written, if anywhere.
    pub error_file: Option<ErrorFile>,
}

/// How severe a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something failed that should not.
    Error,
    /// Something was refused or looks wrong.
    Warn,
    /// What happens in normal operation.
    Info,
    /// For finding faults.
    Debug,
    /// Everything.
    Trace,
}

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// One line for people.
    Text,
}

/// A log file of bounded size: when it is full it is renamed to `.1`, the older ones move up, the oldest goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorFile {
    /// The current file.
    pub path: PathBuf,
    /// The most bytes one file may have.
    pub bytes_max: u64,
    /// The most files, the current one included; at least 1.
    pub files_max: u32,
}
