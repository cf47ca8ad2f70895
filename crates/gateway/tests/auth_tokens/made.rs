//! What the tests verify with, and tokens made for them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use drawgate::auth::token::sign_hs256;
use drawgate::auth::{Algorithm, Authenticator, Config, CredentialSource, Expected, Keys, TokenError};
use drawgate::clock::UnixTime;
use drawgate::principal::Principal;
use drawgate::secret::Secret;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::crypto::sign;
use serde_json::{Map, Value, json};

pub(crate) const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
pub(crate) const NOW_SECONDS: u64 = 1_795_338_000;
pub(crate) const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

pub(crate) fn now() -> UnixTime {
    UnixTime::from_seconds(NOW_SECONDS)
}

pub(crate) fn config() -> Config {
    Config {
        credentials: vec![CredentialSource::FirstMessage],
        algorithms: vec![Algorithm::Hs256],
        token_types: None,
        keys: Keys::Secret(Secret::new(KEY)),
        issuer: Expected::Any,
        audience: Expected::Any,
        subject_claims: vec!["sub".to_owned(), "user_id".to_owned()],
        first_message_timeout: Duration::from_secs(5),
        token_lifetime_max: Some(Duration::from_hours(24)),
        leeway: Duration::from_secs(30),
        failures_per_client_per_minute: None,
        failures_per_subject_per_minute: None,
        sessions: drawgate::session::Config::default(),
    }
}

pub(crate) fn verify_with(config: Config, token: &str) -> Result<Principal, TokenError> {
    Authenticator::new(config).unwrap().verify(token.as_bytes(), now())
}

pub(crate) fn verify(token: &str) -> Result<Principal, TokenError> {
    verify_with(config(), token)
}

/// Good claims, with `changes` over them; null removes.
pub(crate) fn claims(changes: &Value) -> Map<String, Value> {
    let mut claims = json!({ "sub": "alice", "iat": NOW_SECONDS, "exp": NOW_SECONDS + 3600 });
    let members = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    members.clone()
}

pub(crate) fn token(changes: &Value) -> String {
    sign_hs256(&Secret::new(KEY), &claims(changes))
}

pub(crate) fn good_claims() -> String {
    Value::Object(claims(&json!({}))).to_string()
}

/// A token over two texts exactly as they are, with a right signature.
pub(crate) fn raw_token(header: &str, claims: &str) -> String {
    signed_parts(&URL_SAFE_NO_PAD.encode(header), &URL_SAFE_NO_PAD.encode(claims))
}

pub(crate) fn signed_parts(header: &str, claims: &str) -> String {
    let signed = format!("{header}.{claims}");
    let signature =
        sign(signed.as_bytes(), &EncodingKey::from_secret(KEY), jsonwebtoken::Algorithm::HS256).unwrap();
    format!("{signed}.{signature}")
}

pub(crate) fn with_header(header: &str) -> Result<Principal, TokenError> {
    verify(&raw_token(header, &good_claims()))
}

pub(crate) fn with_claims(claims: &str) -> Result<Principal, TokenError> {
    verify(&raw_token(HEADER, claims))
}
