//! Masking keys for frames to applications: a fresh one for each (RFC 6455 §10.3), from a pool that a worker fills now and then.
//!
//! Whoever could foresee a key could choose what stands on the wire behind it; so the pool is filled from the cryptographic
//! generator, a byte is used once, and what has been used is wiped.

use drawgate_protocol::MaskKey;

use crate::chance::Chance;

/// A worker's pool.
#[derive(Debug)]
pub(super) struct MaskKeys {
    bytes: [u8; POOL_BYTES],
    used: usize,
    /// Whose bytes they are.
    chance: Option<Chance>,
}

impl Default for MaskKeys {
    fn default() -> Self {
        Self { bytes: [0; POOL_BYTES], used: POOL_BYTES, chance: None }
    }
}

impl MaskKeys {
    /// From here on keys come from `chance`: a gateway that runs from a seed shares its thread with no other's bytes.
    pub(super) fn draw_from(&mut self, chance: &Chance) {
        if !self.chance.as_ref().is_some_and(|current| current.is_that_of(chance)) {
            (self.chance, self.used) = (Some(chance.clone()), POOL_BYTES);
        }
    }

    /// The next key; `None` where there is nobody to draw from.
    pub(super) fn next(&mut self) -> Option<MaskKey> {
        if self.used >= POOL_BYTES {
            self.chance.as_ref()?.fill(&mut self.bytes);
            self.used = 0;
        }
        let key_bytes = self.bytes.get_mut(self.used..)?.first_chunk_mut::<{ size_of::<MaskKey>() }>()?;
        self.used += key_bytes.len();
        Some(std::mem::take(key_bytes))
    }
}

const POOL_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn f26_every_key_is_fresh_and_from_the_generator() {
        let mut keys = MaskKeys::default();
        assert_eq!(keys.next(), None, "there is no key without a generator");
        keys.draw_from(&Chance::seeded(1));
        let drawn: Vec<MaskKey> = (0..1000).map(|_| keys.next().unwrap()).collect();
        assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), 1000);
        assert!(keys.bytes[..keys.used].iter().all(|byte| *byte == 0), "what has been used is wiped");

        let (seed, mut again) = (Chance::seeded(1), MaskKeys::default());
        again.draw_from(&seed);
        assert_eq!(again.next(), drawn.first().copied());
        again.draw_from(&Chance::seeded(2));
        assert!(!drawn.contains(&again.next().unwrap()), "another gateway's bytes are not used");
    }
}
