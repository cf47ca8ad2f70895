//! Keys: what signs and verifies a token's bytes. The key decides the algorithm, never the token.
//!
//! The arithmetic and its constant-time comparison are the library's; the provider is named here, so that neither a
//! process-wide setting nor another crate's features can change it. Comes after `jose.rs`, before `claims.rs`.

use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{DecodingKey, EncodingKey};

use super::Algorithm;
use crate::secret::Secret;

/// A key that verifies tokens.
#[derive(Debug)]
pub(super) enum VerifyingKey {
    /// For the HMAC algorithms (RFC 7518 §3.2).
    Hmac(DecodingKey),
}

impl VerifyingKey {
    pub(super) fn hmac(secret: &Secret) -> Self {
        Self::Hmac(DecodingKey::from_secret(secret.expose()))
    }

    /// Whether `signature` over `signed` was made with this key and `algorithm`.
    pub(super) fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        match (self, algorithm) {
            (Self::Hmac(key), Algorithm::Hs256) => {
                // A key that does not fit its algorithm verifies nothing. A signature is compared whole: RFC 7518 §3.2
                // knows no truncated ones.
                (DEFAULT_PROVIDER.verifier_factory)(&library_name(algorithm), key)
                    .is_ok_and(|verifier| verifier.verify(signed, &signature.to_vec()).is_ok())
            }
        }
    }
}

/// The HMAC of `message` with SHA-256.
pub(super) fn hmac_sha256(secret: &Secret, message: &[u8]) -> Vec<u8> {
    let key = EncodingKey::from_secret(secret.expose());
    (DEFAULT_PROVIDER.signer_factory)(&library_name(Algorithm::Hs256), &key)
        .expect("an HMAC key fits an HMAC algorithm")
        .sign(message)
}

const fn library_name(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
    }
}
