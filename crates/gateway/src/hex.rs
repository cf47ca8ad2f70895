//! Bytes as lower-case hexadecimal digits: how connections, sessions and traces are named in records.

use std::fmt::{self, Write};

/// Writes two digits for each byte.
pub(crate) fn write(bytes: &[u8], output: &mut impl Write) -> fmt::Result {
    for piece in bytes.chunks(PIECE_BYTES) {
        let mut digits = [0; 2 * PIECE_BYTES];
        for ([high, low], byte) in digits.as_chunks_mut().0.iter_mut().zip(piece) {
            *high = DIGITS[usize::from(byte >> 4)];
            *low = DIGITS[usize::from(byte & 0xf)];
        }
        // Digits are ASCII.
        output.write_str(std::str::from_utf8(&digits[..2 * piece.len()]).map_err(|_| fmt::Error)?)?;
    }
    Ok(())
}

/// The digits as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    // A string takes all that there is memory for.
    let _ = write(bytes, &mut text);
    text
}

/// What most names have.
const PIECE_BYTES: usize = 16;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_two_digits_however_many_there_are() {
        let bytes: Vec<u8> = (0..=u8::MAX).collect();
        for count in [0, 1, 15, 16, 17, 32, 33, 256] {
            let expected: String = bytes[..count].iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(text(&bytes[..count]), expected);
        }
    }
}
