//! Makes tokens: for trying a gateway out, and for tests. The gateway itself never signs one.
//!
//! Says nothing of its own: `exp`, `iat` and the subject are the caller's to put in. Never prints a key.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::pem::{self, PemError};
use super::{Algorithm, KeyKind, keys};
use crate::secret::Secret;

/// A key that signs tokens.
pub struct SigningKey(Signer);

enum Signer {
    Secret(Secret),
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Why nothing was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The key is for others.
    #[error("{} cannot sign by {algorithm}", .0.words(), algorithm = .1)]
    AlgorithmUnfit(KeyKind, Algorithm),
    /// The library could not, and says no more.
    #[error("the signature could not be made")]
    Failed,
}

impl SigningKey {
    /// A secret, for the HMAC algorithms.
    #[must_use]
    pub fn secret(secret: &Secret) -> Self {
        Self(Signer::Secret(secret.clone()))
    }

    /// The private key in `file`, PKCS#8 in PEM (`-----BEGIN PRIVATE KEY-----`).
    ///
    /// # Errors
    /// When it has none, or one of a kind that signs no tokens.
    pub fn from_pem(file: &[u8]) -> Result<Self, PemError> {
        let der = pem::private_key(file)?;
        let signer = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der)
            .map(Signer::Ed25519)
            .or_else(|_| {
                EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &der).map(Signer::P256)
            })
            .or_else(|_| {
                EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, &der).map(Signer::P384)
            })
            .or_else(|_| RsaKeyPair::from_pkcs8(&der).map(Signer::Rsa));
        signer.map(Self).map_err(|_| PemError::KindUnknown)
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        match &self.0 {
            Signer::Secret(_) => KeyKind::Secret,
            Signer::Rsa(_) => KeyKind::Rsa,
            Signer::P256(_) => KeyKind::P256,
            Signer::P384(_) => KeyKind::P384,
            Signer::Ed25519(_) => KeyKind::Ed25519,
        }
    }

    /// A token that says `claims`, signed by `algorithm`; it names its key where there is a `key_id`. Its type is `JWT`.
    ///
    /// # Errors
    /// When the key is not for `algorithm`.
    pub fn token(
        &self,
        algorithm: Algorithm,
        key_id: Option<&str>,
        claims: &Map<String, Value>,
    ) -> Result<String, SignError> {
        self.token_of_type("JWT", algorithm, key_id, claims)
    }

    /// The same with the type `typ`.
    ///
    /// # Errors
    /// As [`Self::token`].
    pub fn token_of_type(
        &self,
        typ: &str,
        algorithm: Algorithm,
        key_id: Option<&str>,
        claims: &Map<String, Value>,
    ) -> Result<String, SignError> {
        if algorithm.key_kind() != self.kind() {
            return Err(SignError::AlgorithmUnfit(self.kind(), algorithm));
        }
        let mut header = json!({ "alg": algorithm.name(), "typ": typ });
        if let Some(key_id) = key_id {
            header["kid"] = key_id.into();
        }
        let write = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", write(&header), write(&Value::Object(claims.clone())));
        let signature = self.sign(algorithm, signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The signature of `message`.
    ///
    /// # Errors
    /// When the key is not for `algorithm`.
    pub fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let random = SystemRandom::new();
        match &self.0 {
            Signer::Secret(secret) => Ok(keys::code(algorithm, secret, message)),
            Signer::Rsa(key) => {
                let encoding =
                    rsa_encoding(algorithm).ok_or(SignError::AlgorithmUnfit(KeyKind::Rsa, algorithm))?;
                let mut signature = vec![0; key.public_modulus_len()];
                let signed = key.sign(encoding, &random, message, &mut signature);
                signed.map(|()| signature).map_err(|_| SignError::Failed)
            }
            Signer::P256(key) | Signer::P384(key) => {
                let signature = key.sign(&random, message).map_err(|_| SignError::Failed)?;
                Ok(signature.as_ref().to_vec())
            }
            Signer::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.kind().words())
    }
}

/// A token that says `claims`, signed with HMAC-SHA-256.
#[must_use]
pub fn sign_hs256(secret: &Secret, claims: &Map<String, Value>) -> String {
    SigningKey::secret(secret)
        .token(Algorithm::Hs256, None, claims)
        .expect("a secret signs by every HMAC algorithm")
}

fn rsa_encoding(algorithm: Algorithm) -> Option<&'static signature::RsaSignatureEncoding> {
    match algorithm {
        Algorithm::Rs256 => Some(&signature::RSA_PKCS1_SHA256),
        Algorithm::Rs384 => Some(&signature::RSA_PKCS1_SHA384),
        Algorithm::Rs512 => Some(&signature::RSA_PKCS1_SHA512),
        Algorithm::Ps256 => Some(&signature::RSA_PSS_SHA256),
        Algorithm::Ps384 => Some(&signature::RSA_PSS_SHA384),
        Algorithm::Ps512 => Some(&signature::RSA_PSS_SHA512),
        Algorithm::Hs256
        | Algorithm::Hs384
        | Algorithm::Hs512
        | Algorithm::Es256
        | Algorithm::Es384
        | Algorithm::EdDsa => None,
    }
}
