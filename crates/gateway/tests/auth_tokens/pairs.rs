//! Pairs of keys of each kind, made once for all tests, and tokens signed with them.

use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use drawgate::auth::{
    Algorithm, Authenticator, Config, KeyKind, KeySet, Keys, SigningKey, TokenError, VerifyingKey, jwks,
};
use drawgate::principal::Principal;
use drawgate::secret::Secret;
use rcgen::{KeyPair, PublicKeyData as _, RsaKeySize};
use serde_json::{Value, json};

use crate::made::*;

/// As long as the longest hash.
pub(crate) const LONG_SECRET: &[u8] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A key that signs, and what its owner publishes.
pub(crate) struct Pair {
    pub(crate) signing: SigningKey,
    pub(crate) private_der: Vec<u8>,
    pub(crate) private_pem: String,
    pub(crate) public_pem: String,
    /// The members of its JSON Web Key that say what it is.
    pub(crate) jwk: Value,
}

impl Pair {
    fn new(pair: &KeyPair) -> Self {
        let private_pem = pair.serialize_pem();
        Self {
            signing: SigningKey::from_pem(private_pem.as_bytes()).unwrap(),
            private_der: pair.serialize_der(),
            public_pem: pair.public_key_pem(),
            jwk: jwk(pair),
            private_pem,
        }
    }

    pub(crate) fn verifying(&self) -> VerifyingKey {
        VerifyingKey::from_pem(self.public_pem.as_bytes()).unwrap()
    }

    /// The key's members with others beside them; null removes.
    pub(crate) fn jwk_with(&self, changes: &Value) -> Value {
        let mut jwk = self.jwk.clone();
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                jwk.as_object_mut().unwrap().remove(name);
            } else {
                jwk[name] = value.clone();
            }
        }
        jwk
    }
}

/// The public key as RFC 7518 §6 and RFC 8037 §2 write it.
fn jwk(pair: &KeyPair) -> Value {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let raw = pair.der_bytes();
    match pair.algorithm() {
        algorithm if *algorithm == rcgen::PKCS_ECDSA_P256_SHA256 => {
            json!({ "kty": "EC", "crv": "P-256", "x": encode(&raw[1..33]), "y": encode(&raw[33..]) })
        }
        algorithm if *algorithm == rcgen::PKCS_ECDSA_P384_SHA384 => {
            json!({ "kty": "EC", "crv": "P-384", "x": encode(&raw[1..49]), "y": encode(&raw[49..]) })
        }
        algorithm if *algorithm == rcgen::PKCS_ED25519 => {
            json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(raw) })
        }
        // RFC 8017 §A.1.1: a sequence of two integers; here of 2048 bits and of 65537.
        _ => {
            let modulus = raw.len() - 5 - 256;
            json!({ "kty": "RSA", "n": encode(&raw[modulus..raw.len() - 5]), "e": encode(&raw[raw.len() - 3..]) })
        }
    }
}

static RSA: LazyLock<Pair> = LazyLock::new(rsa);
static P256: LazyLock<Pair> = LazyLock::new(|| generated(&rcgen::PKCS_ECDSA_P256_SHA256));
static P384: LazyLock<Pair> = LazyLock::new(|| generated(&rcgen::PKCS_ECDSA_P384_SHA384));
static ED25519: LazyLock<Pair> = LazyLock::new(|| generated(&rcgen::PKCS_ED25519));

fn generated(algorithm: &'static rcgen::SignatureAlgorithm) -> Pair {
    Pair::new(&KeyPair::generate_for(algorithm).unwrap())
}

fn rsa() -> Pair {
    Pair::new(&KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap())
}

/// The kinds of keys that have a public half.
pub(crate) const PUBLIC_KINDS: [KeyKind; 4] = [KeyKind::Rsa, KeyKind::P256, KeyKind::P384, KeyKind::Ed25519];

/// Ours.
pub(crate) fn pair(kind: KeyKind) -> &'static Pair {
    match kind {
        KeyKind::Rsa => &RSA,
        KeyKind::P256 => &P256,
        KeyKind::P384 => &P384,
        KeyKind::Ed25519 => &ED25519,
        KeyKind::Secret => panic!("a secret is no pair"),
    }
}

/// Somebody else's.
pub(crate) fn strange_pair(kind: KeyKind) -> Pair {
    match kind {
        KeyKind::Rsa => rsa(),
        KeyKind::P256 => generated(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyKind::P384 => generated(&rcgen::PKCS_ECDSA_P384_SHA384),
        KeyKind::Ed25519 => generated(&rcgen::PKCS_ED25519),
        KeyKind::Secret => panic!("a secret is no pair"),
    }
}

/// The key that signs by `algorithm`.
pub(crate) fn signing(algorithm: Algorithm) -> SigningKey {
    match algorithm.key_kind() {
        KeyKind::Secret => SigningKey::secret(&Secret::new(LONG_SECRET)),
        kind => SigningKey::from_pem(pair(kind).private_pem.as_bytes()).unwrap(),
    }
}

pub(crate) fn public_algorithms() -> Vec<Algorithm> {
    Algorithm::ALL.into_iter().filter(|algorithm| algorithm.key_kind() != KeyKind::Secret).collect()
}

pub(crate) fn set_config(set: KeySet, algorithms: &[Algorithm]) -> Config {
    Config { algorithms: algorithms.to_vec(), keys: Keys::Set(Arc::new(set)), ..config() }
}

/// An authenticator with our key of this kind, for all algorithms that a public key can be for.
pub(crate) fn with_key(kind: KeyKind) -> Authenticator {
    Authenticator::new(set_config(KeySet::of(pair(kind).verifying()), &public_algorithms())).unwrap()
}

/// An authenticator with a key set as an issuer publishes it.
pub(crate) fn with_jwks(keys: &[Value]) -> Authenticator {
    let set = jwks::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
    Authenticator::new(set_config(set, &public_algorithms())).unwrap()
}

pub(crate) fn verified(authenticator: &Authenticator, token: &str) -> Result<Principal, TokenError> {
    authenticator.verify(token.as_bytes(), now())
}

/// Whose the token is, for comparing.
pub(crate) fn outcome(authenticator: &Authenticator, token: &str) -> Result<String, TokenError> {
    verified(authenticator, token).map(|principal| principal.subject.to_string())
}

/// A token over a header exactly as it is, rightly signed.
pub(crate) fn token_with_header(key: &SigningKey, algorithm: Algorithm, header: &str) -> String {
    let signed = signed_part(header);
    let signature = key.sign(algorithm, signed.as_bytes()).unwrap();
    with_signature(&signed, &signature)
}

pub(crate) fn signed_part(header: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(good_claims()))
}

pub(crate) fn with_signature(signed: &str, signature: &[u8]) -> String {
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A token as an issuer makes it.
pub(crate) fn issued(algorithm: Algorithm, key_id: Option<&str>) -> String {
    signing(algorithm).token(algorithm, key_id, &claims(&json!({}))).unwrap()
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of our public key of this kind, with what says what it is (RFC 5280 §4.1).
pub(crate) fn spki(kind: KeyKind) -> Vec<u8> {
    let body: String = pair(kind).public_pem.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(body).unwrap()
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}
