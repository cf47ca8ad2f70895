//! One key from a PEM file (RFC 7468): a public one to verify with, or a private one to sign with.
//!
//! A private key where a public one belongs is refused: whoever verifies must not be able to sign. Never prints anything
//! of a file. Reads no file either: the configuration does, and hands over what it holds.

use rustls::pki_types::alg_id;
use x509_parser::pem::parse_x509_pem;
use zeroize::Zeroizing;

use super::KeyKind;
use super::keys::{KeyError, VerifyingKey};

/// Why a file has no key that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// It is longer than [`PEM_BYTES_MAX`].
    #[error("the file is longer than {PEM_BYTES_MAX} bytes")]
    TooLong,
    /// No line begins a key.
    #[error("the file has no {0} in PEM (`-----BEGIN {1}-----`)")]
    Missing(&'static str, &'static str),
    /// There is more than one block.
    #[error("the file has more than one key")]
    Several,
    /// It has a private key, which has no business where tokens are verified.
    #[error(
        "the file has a private key; a gateway needs only the public one: `openssl pkey -in … -pubout -out …`"
    )]
    Private,
    /// It has a certificate.
    #[error("the file has a certificate; its key is wanted: `openssl x509 -in … -pubkey -noout`")]
    Certificate,
    /// It is a private key in a form of its own, or encrypted.
    #[error("the private key is not in plain PKCS#8: `openssl pkcs8 -topk8 -nocrypt -in … -out …`")]
    NotPkcs8,
    /// Begun and not ended, or not base64.
    #[error("the file is no proper PEM")]
    NotPem,
    /// Its key is of a kind that signs no tokens here.
    #[error("the key is none of RSA (2048 to 8192 bits), P-256, P-384 and Ed25519")]
    KindUnknown,
    /// It is of such a kind, and no use.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl VerifyingKey {
    /// The public key in `file`: `-----BEGIN PUBLIC KEY-----` (RFC 7468 §13), or `-----BEGIN RSA PUBLIC KEY-----` (RFC 8017
    /// §A.1.1).
    ///
    /// # Errors
    /// When it has not exactly one, or one that cannot be used.
    pub fn from_pem(file: &[u8]) -> Result<Self, PemError> {
        let labels = labels(file)?;
        if labels.iter().any(|label| label.contains("PRIVATE KEY")) {
            return Err(PemError::Private);
        }
        match labels.as_slice() {
            [] => Err(PemError::Missing("public key", "PUBLIC KEY")),
            ["PUBLIC KEY"] => from_public_key_info(&content(file, "PUBLIC KEY")?),
            ["RSA PUBLIC KEY"] => Ok(Self::rsa(&content(file, "RSA PUBLIC KEY")?)?),
            [_] if labels.contains(&"CERTIFICATE") => Err(PemError::Certificate),
            [_] => Err(PemError::Missing("public key", "PUBLIC KEY")),
            [_, _, ..] => Err(PemError::Several),
        }
    }
}

/// The bytes of the private key in `file`, which are wiped when they are dropped.
pub(super) fn private_key(file: &[u8]) -> Result<Zeroizing<Vec<u8>>, PemError> {
    match labels(file)?.as_slice() {
        ["PRIVATE KEY"] => content(file, "PRIVATE KEY"),
        [label] if label.contains("PRIVATE KEY") => Err(PemError::NotPkcs8),
        [] | [_] => Err(PemError::Missing("private key", "PRIVATE KEY")),
        [_, _, ..] => Err(PemError::Several),
    }
}

/// What the lines that begin something say it is.
fn labels(file: &[u8]) -> Result<Vec<&str>, PemError> {
    if file.len() > PEM_BYTES_MAX {
        return Err(PemError::TooLong);
    }
    let text = std::str::from_utf8(file).map_err(|_| PemError::NotPem)?;
    let begun = text.lines().filter_map(|line| line.strip_prefix("-----BEGIN "));
    Ok(begun.filter_map(|label| label.trim_end().strip_suffix("-----")).collect())
}

/// The bytes of the only block, which is a `label`.
fn content(file: &[u8], label: &str) -> Result<Zeroizing<Vec<u8>>, PemError> {
    let text = std::str::from_utf8(file).map_err(|_| PemError::NotPem)?;
    if !text.lines().any(|line| line.trim_end() == format!("-----END {label}-----")) {
        return Err(PemError::NotPem);
    }
    let (_, block) = parse_x509_pem(file).map_err(|_| PemError::NotPem)?;
    Ok(Zeroizing::new(block.contents))
}

/// The key in a `SubjectPublicKeyInfo` (RFC 5280 §4.1). Its algorithm says what it is, and nothing in the key may say
/// otherwise.
fn from_public_key_info(der: &[u8]) -> Result<VerifyingKey, PemError> {
    let (algorithm, key) = public_key_info(der).ok_or(KeyError::Malformed)?;
    let key = if algorithm == alg_id::RSA_ENCRYPTION.as_ref() {
        VerifyingKey::rsa(key)
    } else if algorithm == alg_id::ECDSA_P256.as_ref() {
        VerifyingKey::point(KeyKind::P256, key)
    } else if algorithm == alg_id::ECDSA_P384.as_ref() {
        VerifyingKey::point(KeyKind::P384, key)
    } else if algorithm == alg_id::ED25519.as_ref() {
        VerifyingKey::point(KeyKind::Ed25519, key)
    } else {
        // Also an RSA key that is marked for RSASSA-PSS alone, by an identifier of its own.
        return Err(PemError::KindUnknown);
    };
    Ok(key?)
}

/// The algorithm and the key, each as it is written; `None` if this is anything but the one right spelling of both.
fn public_key_info(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (info, &[]) = element(SEQUENCE, der)? else { return None };
    let (algorithm, rest) = element(SEQUENCE, info)?;
    let (bits, &[]) = element(BIT_STRING, rest)? else { return None };
    // The first byte says how many bits of the last one are none of the key's.
    let key = bits.strip_prefix(&[0])?;
    Some((algorithm, key))
}

/// The content of the element of DER that `der` begins with, and what comes after it (X.690 §8.1, §10.1): of at most 65,535
/// bytes, which is more than any file here.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match *der.strip_prefix(&[tag])? {
        [length @ 0..=0x7f, ref rest @ ..] => (length.into(), rest),
        [0x81, length @ 0x80..=0xff, ref rest @ ..] => (length.into(), rest),
        [0x82, high @ 1..=0xff, low, ref rest @ ..] => (u16::from_be_bytes([high, low]).into(), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// The longest file with a key.
pub const PEM_BYTES_MAX: usize = 64 * 1024;
