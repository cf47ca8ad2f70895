//! Masking (RFC 6455 §5.3): XOR with a four-byte key, up to 32 bytes at a time, at any alignment.

/// A masking key. Clients take a fresh, unpredictable one for each frame (§10.3).
pub type MaskKey = [u8; 4];

/// XORs `data` with `key`, in place; the same call masks and unmasks.
///
/// Returns the key as the byte after `data` needs it, so that a payload can be worked on piece by piece.
#[inline]
pub fn apply(key: MaskKey, data: &mut [u8]) -> MaskKey {
    if key == [0; 4] {
        return key;
    }
    // As numbers whose lowest byte comes first.
    let quad = u32::from_le_bytes(key);
    let word = u64::from(quad) << 32 | u64::from(quad);
    let (blocks, rest) = data.as_chunks_mut::<32>();
    for block in blocks {
        let (words, _) = block.as_chunks_mut::<8>();
        for bytes in words {
            *bytes = (u64::from_le_bytes(*bytes) ^ word).to_le_bytes();
        }
    }
    let (words, rest) = rest.as_chunks_mut::<8>();
    // Three at most, one by one: what short payloads mostly are is not worth the preparation of a loop.
    if let [one, others @ ..] = words {
        *one = (u64::from_le_bytes(*one) ^ word).to_le_bytes();
        if let [two, others @ ..] = others {
            *two = (u64::from_le_bytes(*two) ^ word).to_le_bytes();
            if let [three, ..] = others {
                *three = (u64::from_le_bytes(*three) ^ word).to_le_bytes();
            }
        }
    }
    let (quads, rest) = rest.as_chunks_mut::<4>();
    if let [bytes, ..] = quads {
        *bytes = (u32::from_le_bytes(*bytes) ^ quad).to_le_bytes();
    }
    let [a, b, c, _] = key;
    let used = match rest {
        [] => 0,
        [one] => {
            *one ^= a;
            1
        }
        [one, two] => {
            (*one, *two) = (*one ^ a, *two ^ b);
            2
        }
        [one, two, three, ..] => {
            (*one, *two, *three) = (*one ^ a, *two ^ b, *three ^ c);
            3
        }
    };
    quad.rotate_right(8 * used).to_le_bytes()
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
