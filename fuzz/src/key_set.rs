//! Target `key_set`: what an issuer publishes, as a key set or as PEM, and what an operator could put in its place.
//!
//! Promises: no panic; a set that is read has 1 to 32 public keys with unlike names, and none that could sign; what is read
//! twice is the same; and a token verifies only with the key that made it.

use std::sync::Arc;
use std::time::Duration;

use drawgate::auth::jwks;
use drawgate::auth::{
    Algorithm, Authenticator, Config, CredentialSource, Expected, KEYS_MAX, KeyKind, KeySet, Keys,
    VerifyingKey,
};
use drawgate::clock::UnixTime;
use drawgate::session;
use serde_json::Value;

use crate::Seed;

/// Checks one input.
pub fn run(data: &[u8]) {
    if let Ok(set) = jwks::parse(data) {
        let again = jwks::parse(data).expect("what is read once is read again");
        assert_eq!(format!("{set:?}"), format!("{again:?}"));
        assert!((1..=KEYS_MAX).contains(&set.keys().len()));
        let text: Value = serde_json::from_slice(data).expect("what is strict is JSON");
        let written = text["keys"].as_array().expect("a list");
        assert!(written.iter().all(|key| key.get("d").is_none() && key["kty"] != "oct"));
        let mut ids: Vec<&str> = set.keys().iter().filter_map(VerifyingKey::id).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "two keys of one name");
        check(set, data);
    }
    if let Ok(key) = VerifyingKey::from_pem(data) {
        let text = String::from_utf8_lossy(data);
        assert!(text.contains("PUBLIC KEY-----") && !text.contains("PRIVATE KEY-----\n"));
        check(KeySet::of(key), data);
    }
}

/// Holds a set to what its keys may do.
fn check(set: KeySet, data: &[u8]) {
    for key in set.keys() {
        assert!(key.kind() != KeyKind::Secret && !key.is_for(Algorithm::Hs256));
        assert!(
            Algorithm::ALL
                .iter()
                .all(|algorithm| !key.is_for(*algorithm) || algorithm.key_kind() == key.kind())
        );
    }
    let algorithms = Algorithm::ALL.into_iter().filter(|algorithm| algorithm.key_kind() != KeyKind::Secret);
    let config = Config {
        credentials: vec![CredentialSource::FirstMessage],
        algorithms: algorithms.collect(),
        token_types: None,
        keys: Keys::Set(Arc::new(set)),
        issuer: Expected::Any,
        audience: Expected::Any,
        subject_claims: vec!["iss".to_owned()],
        first_message_timeout: Duration::from_secs(5),
        token_lifetime_max: None,
        leeway: Duration::ZERO,
        failures_per_client_per_minute: None,
        failures_per_subject_per_minute: None,
        sessions: session::Config::default(),
    };
    let authenticator = Authenticator::new(config).expect("a set with a key is enough");
    if authenticator.verify(TOKEN.as_bytes(), UnixTime::from_seconds(1_300_000_000)).is_ok() {
        let text = String::from_utf8_lossy(data);
        assert!(text.contains(TOKEN_KEY_X), "a token that this key has not made");
    }
}

/// Each kind of key, and what refuses a set.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let seed = |name: &str, text: &str| Seed { name: name.to_owned(), bytes: text.as_bytes().to_vec() };
    let p256 = format!(r#"{{"kty":"EC","crv":"P-256","x":"{TOKEN_KEY_X}","y":"{TOKEN_KEY_Y}"}}"#);
    let with = |more: &str| format!(r#"{{"keys":[{}{more}}}]}}"#, &p256[..p256.len() - 1]);
    let rsa = format!(r#"{{"keys":[{{"kty":"RSA","n":"{}E","e":"AQAB"}}]}}"#, "rq".repeat(170));
    let ed25519 =
        format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{ED25519_X}","use":"sig"}},{p256}]}}"#);
    vec![
        seed("p256", &with(r#","kid":"2026-11","alg":"ES256","key_ops":["verify"]"#)),
        seed("rsa", &rsa),
        seed("ed25519-and-p256", &ed25519),
        seed("for-another-use", &with(r#","use":"enc""#)),
        seed("private", &with(r#","d":"AAAA""#)),
        seed("secret", r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#),
        seed("unknown-kind", r#"{"keys":[{"kty":"AKP","pub":"AAAA"}]}"#),
        seed(
            "name-twice",
            &format!(r#"{{"keys":[{0},{0}]}}"#, p256.replace("\"kty\"", "\"kid\":\"a\",\"kty\"")),
        ),
        seed("pem", PEM),
        seed("pem-private", &PEM.replace("PUBLIC", "PRIVATE")),
        seed("pem-twice", &PEM.repeat(2)),
    ]
}

/// RFC 7515 §A.3.
const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.\
    eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
    DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
const TOKEN_KEY_X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const TOKEN_KEY_Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
/// RFC 8037 §A.2.
const ED25519_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
/// The same as RFC 8410 §10.1 writes public keys.
const PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
    -----END PUBLIC KEY-----\n";
