//! Masking (RFC 6455 §5.3): XOR with a four-byte key, eight bytes at a time, at any alignment.

/// A masking key. Clients take a fresh, unpredictable one for each frame (§10.3).
pub type MaskKey = [u8; 4];

/// XORs `data` with `key`, in place; the same call masks and unmasks.
///
/// Returns the key as the byte after `data` needs it, so that a payload can be worked on piece by piece.
pub fn apply(key: MaskKey, data: &mut [u8]) -> MaskKey {
    if key == [0; 4] {
        return key;
    }
    let [a, b, c, d] = key;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = data.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key_byte) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key_byte;
    }
    let mut next = key;
    next.rotate_left(rest.len() % 4);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_5_3_masks_octet_i_with_key_octet_i_modulo_4() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for length in 0..70 {
            for offset in 0..9 {
                let original: Vec<u8> = (0..=250).cycle().step_by(7).take(length + offset).collect();
                let mut masked = original.clone();
                apply(key, &mut masked[offset..]);
                for i in 0..length {
                    assert_eq!(masked[offset + i], original[offset + i] ^ key[i % 4]);
                }
            }
        }
    }

    #[test]
    fn masking_in_pieces_equals_masking_at_once() {
        let key = [1, 2, 3, 4];
        let original: Vec<u8> = (0..64).collect();
        let mut whole = original.clone();
        apply(key, &mut whole);
        for cut in 0..=original.len() {
            let mut pieces = original.clone();
            let next = apply(key, &mut pieces[..cut]);
            apply(next, &mut pieces[cut..]);
            assert_eq!(pieces, whole);
        }
    }
}
