//! A set of keys, and which of them a token may be verified with. Nothing in a token is looked up anywhere but here.
//!
//! Never changes: what a source has anew is a new set. Made by `pem.rs`, `jwks.rs` or of a secret; asked by the authenticator
//! after `jose.rs` has read the header.

use std::collections::BTreeMap;

use super::jose::Named;
use super::keys::VerifyingKey;
use super::{Algorithm, TokenError};
use crate::principal::KeyPrint;
use crate::secret::Secret;

/// Keys, each of which may have a name.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<VerifyingKey>,
    by_id: BTreeMap<Box<str>, usize>,
}

/// Why keys make no set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// There are more than [`KEYS_MAX`].
    #[error("there are more than {KEYS_MAX} keys")]
    TooMany,
    /// Which of them a token means would be up to chance.
    #[error("two keys have the same name")]
    DuplicateId,
}

impl PartialEq for KeySet {
    /// Whether the same tokens verify with both. A secret, which has no print, is like no other key.
    fn eq(&self, other: &Self) -> bool {
        let is_same = |(own, other): (&VerifyingKey, &VerifyingKey)| {
            own.print().is_some() && own.print() == other.print() && own.is_for_the_same_as(other)
        };
        self.by_id == other.by_id
            && self.keys.len() == other.keys.len()
            && self.keys.iter().zip(&other.keys).all(is_same)
    }
}

impl KeySet {
    /// A set of `keys`.
    ///
    /// # Errors
    /// When there are too many, or two have the same name.
    pub fn new(keys: Vec<VerifyingKey>) -> Result<Self, KeySetError> {
        if keys.len() > KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let mut by_id = BTreeMap::new();
        for (index, key) in keys.iter().enumerate() {
            if let Some(id) = key.id()
                && by_id.insert(id.into(), index).is_some()
            {
                return Err(KeySetError::DuplicateId);
            }
        }
        Ok(Self { keys, by_id })
    }

    /// A set of one key.
    #[must_use]
    pub fn of(key: VerifyingKey) -> Self {
        let by_id = key.id().map(|id| (id.into(), 0)).into_iter().collect();
        Self { keys: vec![key], by_id }
    }

    /// A set of one secret, for the HMAC algorithms that it is long enough for.
    #[must_use]
    pub fn of_secret(secret: &Secret) -> Self {
        Self::of(VerifyingKey::secret(secret))
    }

    /// A set without keys: no token verifies.
    #[must_use]
    pub fn empty() -> Self {
        Self { keys: Vec::new(), by_id: BTreeMap::new() }
    }

    /// Its keys.
    #[must_use]
    pub fn keys(&self) -> &[VerifyingKey] {
        &self.keys
    }

    /// Whether it has this key.
    #[must_use]
    pub fn has(&self, key: KeyPrint) -> bool {
        self.keys.iter().any(|own| own.print() == Some(key))
    }

    /// Whether a key is for `algorithm`.
    #[must_use]
    pub fn has_key_for(&self, algorithm: Algorithm) -> bool {
        self.keys.iter().any(|key| key.is_for(algorithm))
    }

    /// The key that `signature` over `signed` was made with, if it is one that a token with this header can mean.
    ///
    /// A key without a name, alone or among such, is meant by any token: whoever was given one key as a file knows no
    /// name for it, and tokens may carry the issuer's. Where keys have names, a token's `kid` means the key of that name
    /// or none.
    pub(super) fn verify(
        &self,
        named: Named<'_>,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<Option<KeyPrint>, TokenError> {
        let verifies = |key: &&VerifyingKey| key.verifies(named.algorithm, signed, signature);
        let right = match named.key_id.filter(|_| !self.by_id.is_empty()) {
            Some(id) => {
                let key = self.by_id.get(id).and_then(|index| self.keys.get(*index));
                let key = key.ok_or(TokenError::KeyUnknown)?;
                if !key.is_for(named.algorithm) {
                    return Err(TokenError::AlgorithmRefused);
                }
                Some(key).filter(verifies)
            }
            None if !self.has_key_for(named.algorithm) => return Err(TokenError::AlgorithmRefused),
            None => {
                let meant = self.keys.iter().filter(|key| key.is_for(named.algorithm));
                meant.take(KEYS_TRIED_MAX).find(verifies)
            }
        };
        right.map(VerifyingKey::print).ok_or(TokenError::SignatureRefused)
    }
}

/// The most keys of a set.
pub const KEYS_MAX: usize = 32;
/// The most keys that a token which names none is tried with, so that what it costs is bounded.
pub const KEYS_TRIED_MAX: usize = 4;
