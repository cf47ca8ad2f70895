//! Secrets: bytes whose `Debug` prints nothing of them, that are wiped when the last owner drops them, and whose comparison
//! takes the same time wherever they differ. Floor 1.
//!
//! Never serialised, never displayed.

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Secret bytes, such as a key. Cheap to clone: all clones are one copy.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

impl Secret {
    /// Takes `bytes` as they are. Whoever has them wipes them.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(Arc::new(Zeroizing::new(bytes.to_vec())))
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

    /// Whether these are `other`'s bytes. How long it takes tells how many there are, and nothing else.
    #[must_use]
    pub fn is(&self, other: &[u8]) -> bool {
        self.0.ct_eq(other).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.expose())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use zeroize::ZeroizeOnDrop;

    use super::*;
    use crate::clock::Clock;

    #[test]
    fn o19_debug_prints_nothing_of_a_secret() {
        let secret = Secret::from_file_bytes(b"hunter2\n");
        assert_eq!(secret.expose(), b"hunter2");
        assert_eq!(format!("{secret:?} {secret:#?}"), "Secret(redacted) Secret(redacted)");
    }

    #[test]
    fn secrets_are_compared_whole() {
        let secret = Secret::new(b"hunter2");
        for (other, is_same) in [
            (&b"hunter2"[..], true),
            (b"hunter3", false),
            (b"hunter", false),
            (b"hunter22", false),
            (b"", false),
        ] {
            assert_eq!(secret.is(other), is_same);
            assert_eq!(secret == Secret::new(other), is_same);
        }
    }

    #[test]
    fn a30_where_a_secret_differs_is_not_told_by_time() {
        let (bytes, clock) = (vec![b's'; 256 * 1024], Clock::system());
        let secret = Secret::new(&bytes);
        let [mut first, mut last] = [bytes.clone(), bytes];
        first[0] = b'x';
        *last.last_mut().unwrap() = b'x';
        // The best of several, since others use the machine.
        let shortest = |guess: &[u8]| {
            let taken = (0..9).map(|_| {
                let begun = clock.now();
                assert!(!secret.is(std::hint::black_box(guess)));
                begun.elapsed()
            });
            taken.min().unwrap()
        };
        let (first, last) = (shortest(&first), shortest(&last));
        // A comparison that stops where they differ takes a thousandth.
        assert!(first * 4 > last, "{first:?} against {last:?}");
    }

    #[test]
    fn what_holds_the_bytes_wipes_them() {
        fn wiped<T: ZeroizeOnDrop>(_: &T) {}
        let Secret(bytes) = Secret::new(b"hunter2");
        // Does not compile for a vector that keeps what it held.
        wiped(&*bytes);
        assert_eq!(Arc::strong_count(&bytes), 1);
    }
}
