//! Keys that come from elsewhere: fetched, watched, and kept for a stated time.
//!
//! One bounded request (`fetch.rs`), perhaps after another that finds out where to ask (`discovery.rs`); a source that asks
//! again from time to time and when a token names a key that is not known, never more than once at a time (`source.rs`);
//! or a file that is read again when it changes (`file.rs`). What the bytes mean is said by whoever asks for them: this is
//! generic over the parsed value. Floor 3; the server starts and stops it.

mod discovery;
mod fetch;
mod file;
mod source;

pub(crate) use discovery::fetch;
pub(crate) use fetch::Bounds;
pub(crate) use file::WatchedFile;
pub(crate) use source::{Event, Source, Timing};

#[cfg(test)]
mod tests;
