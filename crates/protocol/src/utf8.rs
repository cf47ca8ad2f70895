//! UTF-8 as it arrives (RFC 6455 §8.1, RFC 3629): a wrong byte is found when it comes, not when the message ends.

/// Checks a text message piece by piece. Keeps at most the first three bytes of a character that is not complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Utf8 {
    partial: [u8; 4],
    partial_bytes: u8,
}

/// Whether `text` is valid, and whole.
#[inline]
pub(crate) fn is_valid(text: &[u8]) -> bool {
    is_short_and_plain(text) || simdutf8::basic::from_utf8(text).is_ok()
}

/// Whether `text` is ASCII, where it is short. Most is, and that is seen in less time than the vector units need to begin.
#[inline]
fn is_short_and_plain(text: &[u8]) -> bool {
    if text.len() >= PLAIN_BYTES_MAX {
        return false;
    }
    // The last eight bytes may be among those before them.
    match text.last_chunk() {
        Some(last) => {
            let (words, _) = text.as_chunks::<8>();
            let all =
                words.iter().fold(u64::from_le_bytes(*last), |all, word| all | u64::from_le_bytes(*word));
            all & u64::from_le_bytes([0x80; 8]) == 0
        }
        None => text.iter().all(u8::is_ascii),
    }
}

impl Utf8 {
    /// Takes `bytes` as what follows; returns how many of them can be part of valid text.
    ///
    /// Fewer than `bytes.len()` means that the byte at that place is wrong, and the message with it.
    #[inline]
    pub(crate) fn accept(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while self.partial_bytes > 0 {
            let Some(&byte) = bytes.get(taken) else { return taken };
            if !self.extend(byte) {
                return taken;
            }
            taken += 1;
        }
        let rest = &bytes[taken..];
        if is_short_and_plain(rest) {
            return bytes.len();
        }
        let Err(error) = simdutf8::compat::from_utf8(rest) else { return bytes.len() };
        // What follows the last complete character: either it only ends early, or one of its bytes is wrong.
        let (valid, rest) = rest.split_at(error.valid_up_to());
        taken += valid.len();
        for &byte in rest {
            if !self.extend(byte) {
                break;
            }
            taken += 1;
        }
        taken
    }

    /// How many bytes the character at the end still lacks.
    #[inline]
    pub(crate) fn lacking(&self) -> u8 {
        if self.partial_bytes == 0 {
            return 0;
        }
        let length = match self.partial[0] {
            0xF0.. => 4,
            0xE0.. => 3,
            _ => 2,
        };
        length - self.partial_bytes
    }

    /// How many bytes of the character at the end have come, if it is not complete.
    pub(crate) fn partial_bytes(&self) -> usize {
        usize::from(self.partial_bytes)
    }

    /// Adds one byte to the character that is not complete; false if it cannot belong there.
    fn extend(&mut self, byte: u8) -> bool {
        let index = usize::from(self.partial_bytes);
        self.partial[index] = byte;
        match core::str::from_utf8(&self.partial[..=index]) {
            Ok(_) => self.partial_bytes = 0,
            Err(error) if error.error_len().is_none() => self.partial_bytes += 1,
            Err(_) => return false,
        }
        true
    }
}

/// Up to where text is looked at for being plain first.
const PLAIN_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes are accepted when they come all at once, checked against every cut.
    fn accepted(bytes: &[u8]) -> usize {
        let whole = Utf8::default().accept(bytes);
        for cut in 0..=bytes.len() {
            let mut utf8 = Utf8::default();
            let mut taken = utf8.accept(&bytes[..cut]);
            if taken == cut {
                taken += utf8.accept(&bytes[cut..]);
            }
            assert_eq!(taken, whole, "cut at {cut} in {bytes:x?}");
        }
        whole
    }

    #[test]
    fn text_is_accepted_up_to_the_byte_that_proves_it_wrong() {
        for (bytes, expected) in [
            (&b"plain"[..], 5),
            ("κόσμε €😀".as_bytes(), 18),
            (b"ab\xff", 2),
            (b"ab\x80", 2),
            (b"ab\xe2\x28", 3),
            (b"ab\xf0\x9f\x98\x28", 5),
            (b"\xe0\x80\x80", 1),           // overlong
            (b"\xed\xa0\x80", 1),           // a surrogate
            (b"\xf4\x90\x80\x80", 1),       // above U+10FFFF
            (b"\xc0\x80", 0),               // overlong, wrong from its first byte
            (b"ok\xf0\x9f\x98\x80\xc3", 7), // ends inside a character: no byte is wrong yet
        ] {
            assert_eq!(accepted(bytes), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn every_sequence_of_up_to_three_bytes_agrees_with_the_standard_library() {
        for bits in 0..1_u32 << 24 {
            let [_, bytes @ ..] = bits.to_be_bytes();
            // Bytes below 0x80 in front are plain; leave out the bulk of them.
            if bytes[0] < 0x7F {
                continue;
            }
            let accepted = Utf8::default().accept(&bytes);
            let expected = match core::str::from_utf8(&bytes) {
                Ok(_) => 3,
                Err(error) if error.error_len().is_none() => 3,
                Err(error) => {
                    let start = error.valid_up_to();
                    let prefix = (start + 1..=3).take_while(|&end| {
                        matches!(core::str::from_utf8(&bytes[start..end]), Err(e) if e.error_len().is_none())
                    });
                    start + prefix.count()
                }
            };
            assert_eq!(accepted, expected, "{bytes:x?}");
        }
    }

    #[test]
    fn lacking_counts_the_bytes_to_the_end_of_the_character() {
        for (bytes, lacking) in [(&b"a"[..], 0), (b"\xc3", 1), (b"\xe2", 2), (b"\xe2\x82", 1), (b"\xf0", 3)] {
            let mut utf8 = Utf8::default();
            utf8.accept(bytes);
            assert_eq!(utf8.lacking(), lacking);
        }
    }
}
