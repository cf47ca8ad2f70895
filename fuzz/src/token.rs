//! Target `token`: what strangers show as a JSON Web Token, and what holders of the key could sign.
//!
//! The first byte says which: any text as a token; a good token of which one byte is another; or a header and claims, any texts, signed
//! by the right key. Promises: no panic; the same text is judged the same each time; what is good is signed by the key over just these
//! bytes, is in time, and is for whom a lenient reader finds in it too; nothing else is good, in whatever way it is damaged.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use drawgate::auth::token::TOKEN_BYTES_MAX;
use drawgate::auth::{Algorithm, Authenticator, Config, CredentialSource, Expected, Keys, SigningKey};
use drawgate::clock::UnixTime;
use drawgate::secret::Secret;
use drawgate::session;
use serde_json::Value;

use crate::Seed;

/// Checks one input.
pub fn run(data: &[u8]) {
    let [what, rest @ ..] = data else { return };
    let authenticator = authenticator();
    match what % 4 {
        0 => {
            assert!(!judge(&authenticator, rest), "a token of nobody's");
        }
        1 => {
            let [place, by, ..] = rest else { return };
            let mut token = sign(HEADER.as_bytes(), CLAIMS.as_bytes());
            assert!(judge(&authenticator, &token));
            let place = usize::from(*place) % token.len();
            token[place] ^= by;
            assert_eq!(judge(&authenticator, &token), *by == 0, "{}", String::from_utf8_lossy(&token));
        }
        _ => {
            let at = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
            let (header, claims) = (&rest[..at], rest.get(at + 1..).unwrap_or_default());
            // Half of them with a header that is right, so that the claims are looked at.
            let header = if what & 1 == 0 { header } else { HEADER.as_bytes() };
            let token = sign(header, claims);
            if judge(&authenticator, &token) {
                assert_good(header, claims);
            }
        }
    }
}

/// Whether the token is good.
fn judge(authenticator: &Authenticator, token: &[u8]) -> bool {
    let now = UnixTime::from_seconds(NOW_SECONDS);
    let (first, second) = (authenticator.verify(token, now), authenticator.verify(token, now));
    assert_eq!(
        first.as_ref().map(|principal| &principal.subject),
        second.as_ref().map(|principal| &principal.subject)
    );
    assert!(first.is_err() || token.len() <= TOKEN_BYTES_MAX);
    first.is_ok()
}

/// What is good says what it must, to a reader that is not strict.
fn assert_good(header: &[u8], claims: &[u8]) {
    let header: Value = serde_json::from_slice(header).expect("what is strict is JSON");
    let claims: Value = serde_json::from_slice(claims).expect("what is strict is JSON");
    assert_eq!(header["alg"], "HS256");
    assert!(["crit", "jwk", "jku", "x5u", "x5c", "zip", "enc"].iter().all(|name| header.get(name).is_none()));
    let seconds = |name: &str| claims.get(name).map(|value| value.as_f64().expect("a number"));
    let (now, leeway) = (NOW_SECONDS as f64, LEEWAY.as_secs_f64());
    let expiry = seconds("exp").expect("it ends");
    assert!(now < expiry + leeway);
    assert!(seconds("nbf").is_none_or(|begin| begin <= now + leeway));
    assert!(
        seconds("iat").is_none_or(
            |issued| issued <= now + leeway && expiry - issued <= LIFETIME_MAX.as_secs_f64() + 1.0
        )
    );
    assert_eq!(claims["iss"], "issuer");
    let is_ours = |audience: &Value| audience == "chat";
    assert!(is_ours(&claims["aud"]) || claims["aud"].as_array().is_some_and(|all| all.iter().any(is_ours)));
    let subject = claims["sub"].as_str().expect("a subject");
    assert!((1..=256).contains(&subject.len()) && !subject.contains(char::is_control));
}

/// A token of these, whatever they are, by the right key.
fn sign(header: &[u8], claims: &[u8]) -> Vec<u8> {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = SigningKey::secret(&Secret::new(SECRET));
    let signature = key.sign(Algorithm::Hs256, signed.as_bytes()).expect("it is for it");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into_bytes()
}

fn authenticator() -> Authenticator {
    let config = Config {
        credentials: vec![CredentialSource::FirstMessage],
        algorithms: vec![Algorithm::Hs256],
        token_types: None,
        keys: Keys::Secret(Secret::new(SECRET)),
        issuer: Expected::Exactly("issuer".to_owned()),
        audience: Expected::Exactly("chat".to_owned()),
        subject_claims: vec!["sub".to_owned()],
        first_message_timeout: Duration::from_secs(5),
        token_lifetime_max: Some(LIFETIME_MAX),
        leeway: LEEWAY,
        failures_per_client_per_minute: None,
        failures_per_subject_per_minute: None,
        sessions: session::Config::default(),
    };
    Authenticator::new(config).expect("a secret is enough")
}

/// Each way to be refused, and to be good.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let seed = |name: &str, bytes: Vec<u8>| Seed { name: name.to_owned(), bytes };
    let claims = |name: &str, claims: &str| seed(name, [b"\x03\0", claims.as_bytes()].concat());
    let header = |name: &str, header: &str| {
        seed(name, [b"\x02", header.as_bytes(), b"\0", CLAIMS.as_bytes()].concat())
    };
    vec![
        seed("any-text", b"\0a.b.c".to_vec()),
        seed("another-key", [b"\0".as_slice(), TOKEN_OF_ANOTHER_KEY].concat()),
        seed("damaged-signature", vec![1, 255, 1]),
        seed("damaged-claims", vec![1, 60, 4]),
        seed("not-damaged", vec![1, 0, 0]),
        header("good", HEADER),
        header("of-type", r#"{"typ":"at+jwt","alg":"HS256","kid":"2026"}"#),
        header("none", r#"{"alg":"none"}"#),
        header("critical", r#"{"alg":"HS256","crit":["b64"],"b64":false}"#),
        header("own-key", r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}"#),
        header("twice", r#"{"alg":"none","alg":"HS256"}"#),
        claims("good-claims", CLAIMS),
        claims(
            "several-audiences",
            r#"{"iss":"issuer","aud":["x","chat"],"sub":"ann","exp":1800000100.5,"iat":1800000000,"nbf":1799999000,"jti":"7"}"#,
        ),
        claims("expired", r#"{"iss":"issuer","aud":"chat","sub":"ann","exp":1799999000}"#),
        claims("malformed", r#"{"iss":"issuer","aud":"chat","sub":"ann","exp":"1800000100"}"#),
        claims("endless", r#"{"iss":"issuer","aud":"chat","sub":"ann","exp":1e300}"#),
        claims("duplicate", r#"{"iss":"issuer","aud":"chat","sub":"ann","sub":"bob","exp":1800000100}"#),
    ]
}

const HEADER: &str = r#"{"alg":"HS256"}"#;
const CLAIMS: &str = r#"{"iss":"issuer","aud":"chat","sub":"ann","exp":1800000100}"#;
const NOW_SECONDS: u64 = 1_800_000_000;
const LEEWAY: Duration = Duration::from_secs(30);
const LIFETIME_MAX: Duration = Duration::from_secs(3600);
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
/// RFC 7515 §A.1.
const TOKEN_OF_ANOTHER_KEY: &[u8] = b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
    eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
    dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
