//! Keys that verify. A key knows what it is, and so which algorithms it can verify at all; nothing that a token says can
//! make it verify by another.
//!
//! The arithmetic and its constant-time comparisons are the library's; our own are the bounds. Never holds a private
//! key. `pem.rs` and `jwks.rs` make public keys from files, `keyset.rs` chooses among keys. Comes after `jose.rs`, before
//! `claims.rs`.

use std::fmt;

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    self, ParsedPublicKey, RsaParameters, RsaSubjectPublicKey, VerificationAlgorithm,
};
use aws_lc_rs::{digest, hmac};

use super::{Algorithm, KeyKind};
use crate::principal::KeyPrint;
use crate::secret::Secret;

/// A key that verifies tokens.
pub struct VerifyingKey {
    kind: KeyKind,
    /// Its name, by which tokens choose it.
    id: Option<Box<str>>,
    /// Nothing of a secret is ever handed on.
    print: Option<KeyPrint>,
    /// It, made ready for each algorithm that it may be used with; never for one of another kind.
    ready: Vec<(Algorithm, Ready)>,
}

enum Ready {
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

/// Why a public key is no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// RFC 7518 §3.3: 2048 bits or larger.
    #[error("the RSA key has fewer than {RSA_BITS_MIN} bits")]
    RsaTooShort,
    /// What a signature costs grows with the key.
    #[error("the RSA key has more than {RSA_BITS_MAX} bits")]
    RsaTooLong,
    /// The bytes are not what such a key consists of: cut short, a point that is not on its curve, an even exponent.
    #[error("the key is malformed")]
    Malformed,
}

impl VerifyingKey {
    /// For the HMAC algorithms that `secret` is long enough for.
    #[must_use]
    pub fn secret(secret: &Secret) -> Self {
        let fits = |algorithm: &Algorithm| secret.expose().len() >= algorithm.secret_bytes_min();
        let ready = KeyKind::Secret
            .algorithms()
            .filter(fits)
            .map(|algorithm| {
                (algorithm, Ready::Secret(Box::new(hmac::Key::new(hash(algorithm), secret.expose()))))
            })
            .collect();
        Self { kind: KeyKind::Secret, id: None, print: None, ready }
    }

    /// An RSA key from its `RSAPublicKey` (RFC 8017 §A.1.1).
    pub(super) fn rsa(der: &[u8]) -> Result<Self, KeyError> {
        let bits = RsaParameters::public_modulus_len(der).map_err(|_| KeyError::Malformed)?;
        if bits < RSA_BITS_MIN {
            return Err(KeyError::RsaTooShort);
        }
        if bits > RSA_BITS_MAX {
            return Err(KeyError::RsaTooLong);
        }
        Self::public(KeyKind::Rsa, der)
    }

    /// An RSA key from its modulus and its exponent, big-endian and without leading zeros.
    pub(super) fn rsa_of(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let parts = PublicKeyComponents { n: modulus, e: exponent };
        // Only whole encodings are held against all that a key must be.
        let whole = parts.to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256);
        let whole = whole.and_then(|key| RsaSubjectPublicKey::from_der(key.as_ref()));
        Self::rsa(whole.map_err(|_| KeyError::Malformed)?.as_ref())
    }

    /// A key of a kind whose keys are points: from the point, not compressed, as SEC 1 §2.3.3 writes it, or as RFC 8032
    /// §5.1.5 does.
    pub(super) fn point(kind: KeyKind, point: &[u8]) -> Result<Self, KeyError> {
        let is_plain = match kind {
            KeyKind::P256 => point.len() == 65 && point[0] == 4,
            KeyKind::P384 => point.len() == 97 && point[0] == 4,
            KeyKind::Ed25519 => point.len() == 32,
            KeyKind::Secret | KeyKind::Rsa => false,
        };
        if is_plain { Self::public(kind, point) } else { Err(KeyError::Malformed) }
    }

    fn public(kind: KeyKind, bytes: &[u8]) -> Result<Self, KeyError> {
        let ready = kind.algorithms().map(|algorithm| {
            let verification = verification(algorithm).ok_or(KeyError::Malformed)?;
            let key = ParsedPublicKey::new(verification, bytes).map_err(|_| KeyError::Malformed)?;
            Ok((algorithm, Ready::Public(key)))
        });
        let digest = digest::digest(&digest::SHA256, &[kind.words().as_bytes(), &[0], bytes].concat());
        let print = digest.as_ref().first_chunk().map(|bits| KeyPrint::new(*bits));
        Ok(Self { kind, id: None, print, ready: ready.collect::<Result<_, _>>()? })
    }

    /// The same key by a name.
    #[must_use]
    pub fn named(self, id: &str) -> Self {
        Self { id: Some(id.into()), ..self }
    }

    /// The same key for `algorithm` and no other; for nothing, if it is not one of the key's own.
    #[must_use]
    pub fn only_for(mut self, algorithm: Algorithm) -> Self {
        self.ready.retain(|(own, _)| *own == algorithm);
        self
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Its name, if it has one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// What tells it from others, if it is public.
    #[must_use]
    pub fn print(&self) -> Option<KeyPrint> {
        self.print
    }

    /// Whether it may be used with `algorithm`.
    #[must_use]
    pub fn is_for(&self, algorithm: Algorithm) -> bool {
        self.ready.iter().any(|(own, _)| *own == algorithm)
    }

    /// Whether it may be used with the same algorithms as `other`.
    pub(super) fn is_for_the_same_as(&self, other: &Self) -> bool {
        let algorithms = |key: &Self| key.ready.iter().map(|(algorithm, _)| *algorithm).collect::<Vec<_>>();
        algorithms(self) == algorithms(other)
    }

    /// Whether `signature` over `signed` was made with this key by `algorithm`. Never true of an algorithm that the key is
    /// not for.
    pub(super) fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        match self.ready.iter().find(|(own, _)| *own == algorithm) {
            // A code is compared whole: RFC 7518 §3.2 knows no truncated ones.
            Some((_, Ready::Secret(key))) => hmac::verify(key, signed, signature).is_ok(),
            Some((_, Ready::Public(key))) => key.verify_sig(signed, signature).is_ok(),
            None => false,
        }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<Algorithm> = self.ready.iter().map(|(algorithm, _)| *algorithm).collect();
        f.debug_struct("VerifyingKey").field("id", &self.id).field("algorithms", &algorithms).finish()
    }
}

/// The code of `message` by one of the HMAC algorithms; SHA-256 for any other, which nobody asks for.
pub(super) fn code(algorithm: Algorithm, secret: &Secret, message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hash(algorithm), secret.expose()), message).as_ref().to_vec()
}

fn hash(algorithm: Algorithm) -> hmac::Algorithm {
    match algorithm {
        Algorithm::Hs384 => hmac::HMAC_SHA384,
        Algorithm::Hs512 => hmac::HMAC_SHA512,
        Algorithm::Hs256
        | Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512
        | Algorithm::Es256
        | Algorithm::Es384
        | Algorithm::EdDsa => hmac::HMAC_SHA256,
    }
}

/// How a public key verifies by `algorithm`; `None` if its keys are secrets.
fn verification(algorithm: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
    match algorithm {
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => None,
        Algorithm::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        // RFC 7518 §3.5: the salt is as long as the hash.
        Algorithm::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        // RFC 7518 §3.4: both numbers, each as long as the curve's order; never DER.
        Algorithm::Es256 => Some(&signature::ECDSA_P256_SHA256_FIXED),
        Algorithm::Es384 => Some(&signature::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDsa => Some(&signature::ED25519),
    }
}

/// The shortest RSA key.
pub const RSA_BITS_MIN: u32 = 2048;
/// The longest RSA key. Verifying with it takes sixteen times as long as with the shortest.
pub const RSA_BITS_MAX: u32 = 8192;
