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
    apply_short(quad, rest);
    quad.rotate_right(bits_used(data.len())).to_le_bytes()
}

/// The same for less than a block, where the key begins.
#[inline]
fn apply_short(quad: u32, data: &mut [u8]) {
    let count = data.len();
    let bits_used = bits_used(count);
    let word = u64::from(quad) << 32 | u64::from(quad);
    // The last eight bytes, or four, may be among those before them: they are masked apart and laid over these.
    let end = data.last_chunk().map(|last| u64::from_le_bytes(*last) ^ word.rotate_right(bits_used));
    // Three at most, one by one: what short payloads mostly are is not worth the preparation of a loop.
    if let (Some(last), ([one, others @ ..], _)) = (end, data.as_chunks_mut::<8>()) {
        *one = (u64::from_le_bytes(*one) ^ word).to_le_bytes();
        if let [two, others @ ..] = others {
            *two = (u64::from_le_bytes(*two) ^ word).to_le_bytes();
            if let [three, ..] = others {
                *three = (u64::from_le_bytes(*three) ^ word).to_le_bytes();
            }
        }
        data[count - 8..].copy_from_slice(&last.to_le_bytes());
    } else if let Some(last) =
        data.last_chunk().map(|last| u32::from_le_bytes(*last) ^ quad.rotate_right(bits_used))
    {
        let first = u32::from_le_bytes([data[0], data[1], data[2], data[3]]) ^ quad;
        data[..4].copy_from_slice(&first.to_le_bytes());
        data[count - 4..].copy_from_slice(&last.to_le_bytes());
    } else {
        for (byte, key) in data.iter_mut().zip(quad.to_le_bytes()) {
            *byte ^= key;
        }
    }
}

/// By how many bits the key has turned after so many bytes.
#[inline]
const fn bits_used(bytes: usize) -> u32 {
    match bytes % 4 {
        0 => 0,
        1 => 8,
        2 => 16,
        _ => 24,
    }
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
