//! JSON Web Key Sets (RFC 7517 §5): text to the keys that tokens may be verified with.
//!
//! Keys for another use, and kinds that are not known here, are left out, as RFC 7517 §5 asks for: issuers publish them side
//! by side. What could only be a mistake refuses the whole set: a private key, a secret, a key that is broken, two keys of
//! one name. Never fetches or reads anything, and never follows what a key points to (`x5u`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::jose::KEY_ID_BYTES_MAX;
use super::keys::{KeyError, VerifyingKey};
use super::keyset::{KEYS_MAX, KeySet, KeySetError};
use super::{Algorithm, KeyKind};
use crate::json;

/// Why a set is refused. Places count from 1; nothing of a key is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// It is longer than [`JWKS_BYTES_MAX`].
    #[error("the key set is longer than {JWKS_BYTES_MAX} bytes")]
    TooLong,
    /// It is not UTF-8.
    #[error("the key set is not UTF-8")]
    NotUtf8,
    /// It is not strict JSON.
    #[error("the key set is not strict JSON")]
    NotJson(#[source] json::Fault),
    /// It is no object with a list of keys.
    #[error("the key set is no object with a list `keys`")]
    NoList,
    /// There are too many keys, or two of one name.
    #[error(transparent)]
    Set(#[from] KeySetError),
    /// A private key has got among the public ones: everyone who could read it can sign.
    #[error("key {0} is a private key; replace it everywhere, and publish public keys alone")]
    Private(usize),
    /// A secret in a set of public keys.
    #[error("key {0} is a secret (`oct`), which no key set may have; write secret_file for it")]
    Secret(usize),
    /// It is no object, or this member of it is missing or is not what its definition asks for.
    #[error("the member `{1}` of key {0} is missing or malformed")]
    Malformed(usize, &'static str),
    /// A key cannot be used.
    #[error("key {0} cannot be used")]
    Key(usize, #[source] KeyError),
    /// Nothing is left that can verify tokens.
    #[error("the key set has no key that can verify tokens")]
    NoKey,
}

/// The keys in `text` that can verify tokens; at least one.
///
/// # Errors
/// When it is no key set, has what a set of public keys must not have, or nothing that can be used.
pub fn parse(text: &[u8]) -> Result<KeySet, JwksError> {
    if text.len() > JWKS_BYTES_MAX {
        return Err(JwksError::TooLong);
    }
    let text = std::str::from_utf8(text).map_err(|_| JwksError::NotUtf8)?;
    let set = json::parse(text).map_err(JwksError::NotJson)?;
    let entries = set.get("keys").and_then(Value::as_array).ok_or(JwksError::NoList)?;
    if entries.len() > KEYS_MAX {
        return Err(KeySetError::TooMany.into());
    }
    let mut keys = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let place = index + 1;
        let members = entry.as_object().ok_or(JwksError::Malformed(place, "kty"))?;
        keys.extend(Entry { place, members }.key()?);
    }
    if keys.is_empty() {
        return Err(JwksError::NoKey);
    }
    Ok(KeySet::new(keys)?)
}

/// One of the keys, as it is written.
struct Entry<'set> {
    /// Which one, counting from 1.
    place: usize,
    members: &'set Map<String, Value>,
}

impl Entry<'_> {
    /// The key, if it is one to verify tokens with.
    fn key(&self) -> Result<Option<VerifyingKey>, JwksError> {
        if PRIVATE_MEMBERS.iter().any(|name| self.members.contains_key(*name)) {
            return Err(JwksError::Private(self.place));
        }
        let kind = match self.required("kty")? {
            "oct" => return Err(JwksError::Secret(self.place)),
            "RSA" => KeyKind::Rsa,
            "EC" => match self.required("crv")? {
                "P-256" => KeyKind::P256,
                "P-384" => KeyKind::P384,
                _ => return Ok(None),
            },
            "OKP" => match self.required("crv")? {
                "Ed25519" => KeyKind::Ed25519,
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        let algorithm = self.text("alg")?;
        let fitting = algorithm.map(|name| Algorithm::named(name).filter(|named| named.key_kind() == kind));
        if !self.is_to_verify()? || fitting == Some(None) {
            return Ok(None);
        }
        let mut key = self.material(kind)?;
        if let Some(algorithm) = fitting.flatten() {
            key = key.only_for(algorithm);
        }
        if let Some(id) = self.text("kid")? {
            if id.len() > KEY_ID_BYTES_MAX {
                return Err(JwksError::Malformed(self.place, "kid"));
            }
            key = key.named(id);
        }
        Ok(Some(key))
    }

    /// RFC 7517 §4.2 and §4.3: what the key is for, where that is said.
    fn is_to_verify(&self) -> Result<bool, JwksError> {
        let is_to_sign = self.text("use")?.is_none_or(|purpose| purpose == "sig");
        let Some(operations) = self.members.get("key_ops") else { return Ok(is_to_sign) };
        let malformed = JwksError::Malformed(self.place, "key_ops");
        let operations = operations.as_array().ok_or(malformed)?;
        if !operations.iter().all(Value::is_string) {
            return Err(malformed);
        }
        Ok(is_to_sign && operations.iter().any(|operation| operation == "verify"))
    }

    fn material(&self, kind: KeyKind) -> Result<VerifyingKey, JwksError> {
        let key = match kind {
            // RFC 7518 §6.3.1: without leading zeros, which the library holds them to.
            KeyKind::Rsa => {
                VerifyingKey::rsa_of(&self.bytes("n", RSA_BYTES_MAX)?, &self.bytes("e", RSA_BYTES_MAX)?)
            }
            KeyKind::P256 => VerifyingKey::point(kind, &self.both_coordinates(32)?),
            KeyKind::P384 => VerifyingKey::point(kind, &self.both_coordinates(48)?),
            KeyKind::Ed25519 => VerifyingKey::point(kind, &self.coordinate("x", 32)?),
            KeyKind::Secret => return Err(JwksError::Secret(self.place)),
        };
        key.map_err(|error| JwksError::Key(self.place, error))
    }

    /// SEC 1 §2.3.3: a point that is not compressed.
    fn both_coordinates(&self, length: usize) -> Result<Vec<u8>, JwksError> {
        let mut point = vec![4];
        point.extend(self.coordinate("x", length)?);
        point.extend(self.coordinate("y", length)?);
        Ok(point)
    }

    /// RFC 7518 §6.2.1.2: as long as the curve says, leading zeros included.
    fn coordinate(&self, name: &'static str, length: usize) -> Result<Vec<u8>, JwksError> {
        let bytes = self.bytes(name, length)?;
        if bytes.len() == length { Ok(bytes) } else { Err(JwksError::Malformed(self.place, name)) }
    }

    fn bytes(&self, name: &'static str, length_max: usize) -> Result<Vec<u8>, JwksError> {
        let bytes = URL_SAFE_NO_PAD.decode(self.required(name)?).ok();
        let bytes = bytes.filter(|bytes| !bytes.is_empty() && bytes.len() <= length_max);
        bytes.ok_or(JwksError::Malformed(self.place, name))
    }

    fn required(&self, name: &'static str) -> Result<&str, JwksError> {
        self.text(name)?.ok_or(JwksError::Malformed(self.place, name))
    }

    /// The member of this name, which is text wherever it is there.
    fn text(&self, name: &'static str) -> Result<Option<&str>, JwksError> {
        match self.members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(JwksError::Malformed(self.place, name)),
        }
    }
}

/// RFC 7518 §6.2.2 and §6.3.2, RFC 8037 §2: what only the owner of a key may have.
const PRIVATE_MEMBERS: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];
/// Twice the longest modulus that is of use, so that one too long is said to be just that.
const RSA_BYTES_MAX: usize = 2048;

/// The longest key set.
pub const JWKS_BYTES_MAX: usize = 64 * 1024;
