//! Secrets: bytes whose `Debug` prints nothing of them. Floor 1.
//!
//! Never serialised, never displayed, compared only by the libraries that use them in constant time.

use std::fmt;
use std::sync::Arc;

/// Secret bytes, such as a key. Cheap to clone.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Takes `bytes` as they are.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// A key from a file's bytes, less one trailing newline; never decoded.
    #[must_use]
    pub fn from_file_bytes(bytes: &[u8]) -> Self {
        Self::new(bytes.strip_suffix(b"\n").unwrap_or(bytes))
    }

    /// The bytes, for the code that uses the key.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o19_debug_prints_nothing_of_a_secret() {
        let secret = Secret::from_file_bytes(b"hunter2\n");
        assert_eq!(secret.expose(), b"hunter2");
        assert_eq!(format!("{secret:?} {secret:#?}"), "Secret(redacted) Secret(redacted)");
    }
}
