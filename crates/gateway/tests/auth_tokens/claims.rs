//! What a token claims, and what an authenticator is told to expect.

use std::time::Duration;

use drawgate::auth::token::{Part, sign_hs256};
use drawgate::auth::{Algorithm, Authenticator, Config, ConfigError, Expected, Keys, TokenError};
use drawgate::clock::UnixTime;
use drawgate::secret::Secret;
use serde_json::{Value, json};

use crate::made::*;

#[test]
fn a_good_token_names_its_principal() {
    let principal = verify(&token(&json!({ "jti": "t-1", "role": "admin" }))).unwrap();
    assert_eq!(&*principal.subject, "alice");
    assert_eq!(principal.token_id.as_deref(), Some("t-1"));
    assert_eq!(principal.issued_at, Some(now()));
    assert_eq!(principal.expires_at, UnixTime::from_seconds(NOW_SECONDS + 3600));
    assert_eq!(principal.claims["role"], "admin");
}

#[test]
fn a09_malformed_times_are_not_absent_ones() {
    for name in ["exp", "nbf", "iat"] {
        for value in [
            "null",
            "true",
            "\"1795341600\"",
            "\"\"",
            "-1",
            "-0.5",
            "[1795341600]",
            "{}",
            "1e300",
            "-1e300",
            "1e25",
            "9999999999999999999999999999999999999999",
        ] {
            let others = if name == "exp" { "" } else { r#""exp":1795341600,"# };
            let claims = format!(r#"{{"sub":"alice",{others}"{name}":{value}}}"#);
            assert_eq!(with_claims(&claims), Err(TokenError::ClaimMalformed(name)), "{claims}");
        }
        for value in ["1e400", "NaN", "Infinity", "0x6B02A6A0", "01795341600"] {
            let others = if name == "exp" { "" } else { r#""exp":1795341600,"# };
            let claims = format!(r#"{{"sub":"alice",{others}"{name}":{value}}}"#);
            assert!(matches!(with_claims(&claims), Err(TokenError::NotJson(Part::Claims, _))), "{claims}");
        }
    }
    // RFC 7519 §2: a NumericDate may have a fraction, and any spelling of a number is a number.
    let principal = with_claims(r#"{"sub":"alice","exp":1795338000.25}"#).unwrap();
    assert_eq!(principal.expires_at.millis(), NOW_SECONDS * 1000 + 250);
    assert!(with_claims(r#"{"sub":"alice","exp":1.7953380e9,"nbf":0,"iat":1795338000}"#).is_ok());
}

#[test]
fn a10_a_token_without_exp_is_refused() {
    assert_eq!(verify(&token(&json!({ "exp": null }))), Err(TokenError::ExpiryMissing));
    assert_eq!(
        verify(&token(&json!({ "exp": null, "EXP": NOW_SECONDS + 60 }))),
        Err(TokenError::ExpiryMissing)
    );
}

#[test]
fn a11_a_token_ends_at_exp_and_leeway() {
    let ends = |ago: u64| verify(&token(&json!({ "iat": NOW_SECONDS - 60, "exp": NOW_SECONDS - ago })));
    assert!(ends(29).is_ok());
    assert_eq!(ends(30), Err(TokenError::Expired));
    assert!(ends(30).unwrap_err().is_expired());
    let strict = |exp: u64| {
        let config = Config { leeway: Duration::ZERO, ..config() };
        verify_with(config, &token(&json!({ "iat": exp - 1, "exp": exp })))
    };
    assert!(strict(NOW_SECONDS + 1).is_ok());
    assert_eq!(strict(NOW_SECONDS), Err(TokenError::Expired));
    assert_eq!(verify(&token(&json!({ "iat": 0, "exp": 0 }))), Err(TokenError::Expired));
}

#[test]
fn a11_expired_is_only_said_of_a_token_that_was_good() {
    let expired = json!({ "iat": NOW_SECONDS - 7200, "exp": NOW_SECONDS - 3600 });
    let good = token(&expired);
    assert_eq!(verify(&good), Err(TokenError::Expired));
    let forged = sign_hs256(&Secret::new(b"another key another key another "), &claims(&expired));
    assert_eq!(verify(&forged), Err(TokenError::SignatureRefused));
    assert!(!TokenError::SignatureRefused.is_expired());
    let aimed = Config { audience: Expected::Exactly("chat".to_owned()), ..config() };
    assert_eq!(verify_with(aimed, &good), Err(TokenError::AudienceRefused));
    let other = json!({ "sub": "", "iat": NOW_SECONDS - 7200, "exp": NOW_SECONDS - 3600 });
    assert_eq!(verify(&token(&other)), Err(TokenError::SubjectRefused));
}

#[test]
fn a12_tokens_from_the_future_are_refused_beyond_the_leeway() {
    let with = |name: &str, ahead: u64| verify(&token(&json!({ name: NOW_SECONDS + ahead })));
    assert!(with("nbf", 30).is_ok());
    assert_eq!(with("nbf", 31), Err(TokenError::NotYetValid));
    assert!(with("iat", 30).is_ok());
    assert_eq!(with("iat", 31), Err(TokenError::IssuedInTheFuture));
    assert_eq!(
        Authenticator::new(Config { leeway: Duration::from_secs(31), ..config() }).unwrap_err(),
        ConfigError::LeewayTooLong
    );
}

#[test]
fn a13_issuer_and_audience_are_checked_where_they_are_expected() {
    let with = |changes: &Value| {
        let config = Config {
            issuer: Expected::Exactly("https://issuer.example.com/".to_owned()),
            audience: Expected::Exactly("chat".to_owned()),
            ..config()
        };
        let mut all = json!({ "iss": "https://issuer.example.com/", "aud": "chat" });
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        verify_with(config, &token(&all)).map(|_| ())
    };
    assert_eq!(with(&json!({})), Ok(()));
    assert_eq!(with(&json!({ "aud": ["other", "chat"] })), Ok(()));
    for issuer in [json!(null), json!("https://issuer.example.com"), json!("")] {
        assert_eq!(with(&json!({ "iss": issuer })), Err(TokenError::IssuerRefused), "{issuer}");
    }
    for audience in [json!(null), json!("Chat"), json!("chat "), json!([]), json!(["other"])] {
        assert_eq!(with(&json!({ "aud": audience })), Err(TokenError::AudienceRefused), "{audience}");
    }
    assert_eq!(
        with(&json!({ "iss": ["https://issuer.example.com/"] })),
        Err(TokenError::ClaimMalformed("iss"))
    );
    for audience in [json!(["chat", 1]), json!({ "chat": true }), json!(1)] {
        assert_eq!(with(&json!({ "aud": audience })), Err(TokenError::ClaimMalformed("aud")), "{audience}");
        // Also where any audience will do: malformed is not absent.
        assert_eq!(verify(&token(&json!({ "aud": audience }))), Err(TokenError::ClaimMalformed("aud")));
    }
}

#[test]
fn a15_a_short_hmac_key_refuses_to_start() {
    let with_key = |key: &[u8]| {
        Authenticator::new(Config { keys: Keys::Secret(Secret::new(key)), ..config() }).map(|_| ())
    };
    assert_eq!(with_key(&KEY[..31]), Err(ConfigError::KeyTooShort(Algorithm::Hs256)));
    assert_eq!(with_key(b""), Err(ConfigError::KeyTooShort(Algorithm::Hs256)));
    assert_eq!(with_key(&KEY[..32]), Ok(()));
}

#[test]
fn every_problem_of_a_configuration_is_named_at_once() {
    let broken = Config {
        credentials: vec![],
        algorithms: vec![],
        keys: Keys::Secret(Secret::new(b"")),
        subject_claims: vec![],
        leeway: Duration::MAX,
        ..config()
    };
    assert_eq!(
        broken.problems(),
        [
            ConfigError::NoCredentials,
            ConfigError::NoAlgorithm,
            ConfigError::NoSubjectClaim,
            ConfigError::LeewayTooLong
        ]
    );
}

#[test]
fn the_first_subject_claim_that_is_present_decides() {
    let subject = |changes: &Value| verify(&token(changes)).map(|principal| principal.subject.to_string());
    assert_eq!(subject(&json!({ "user_id": "bob" })).as_deref(), Ok("alice"));
    assert_eq!(subject(&json!({ "sub": null, "user_id": "bob" })).as_deref(), Ok("bob"));
    assert_eq!(subject(&json!({ "sub": null })), Err(TokenError::SubjectMissing));
    assert_eq!(subject(&json!({ "sub": "é".repeat(128) })).as_deref(), Ok(&*"é".repeat(128)));
    for sub in [
        json!(""),
        json!(7),
        json!(false),
        json!({}),
        json!(["alice"]),
        json!("a\nb"),
        json!("a\u{0}"),
        json!("\u{9b}31m"),
        json!("s".repeat(257)),
    ] {
        assert_eq!(
            subject(&json!({ "sub": sub, "user_id": "bob" })),
            Err(TokenError::SubjectRefused),
            "{sub}"
        );
    }
    assert_eq!(
        with_claims(r#"{"sub":null,"user_id":"bob","exp":1795341600}"#),
        Err(TokenError::SubjectRefused)
    );
}

#[test]
fn token_ids_are_short_strings() {
    for id in [json!(""), json!(7), json!("i".repeat(257)), json!("a\u{7f}")] {
        assert_eq!(verify(&token(&json!({ "jti": id }))), Err(TokenError::ClaimMalformed("jti")), "{id}");
    }
}

#[test]
fn a_token_that_would_live_too_long_is_refused() {
    let day = 24 * 3600;
    let lives = |iat: Value, exp: u64| verify(&token(&json!({ "iat": iat, "exp": exp }))).map(|_| ());
    assert_eq!(lives(json!(NOW_SECONDS - 3600), NOW_SECONDS + day - 3600), Ok(()));
    assert_eq!(lives(json!(NOW_SECONDS - 3600), NOW_SECONDS + day - 3599), Err(TokenError::LifetimeTooLong));
    // Without iat it counts from now.
    assert_eq!(lives(json!(null), NOW_SECONDS + day), Ok(()));
    assert_eq!(lives(json!(null), NOW_SECONDS + day + 1), Err(TokenError::LifetimeTooLong));
    assert_eq!(lives(json!(null), u64::MAX), Err(TokenError::LifetimeTooLong));
    let unlimited = Config { token_lifetime_max: None, ..config() };
    let principal = verify_with(unlimited, &token(&json!({ "exp": u64::MAX }))).unwrap();
    assert_eq!(principal.expires_at, UnixTime::from_millis(u64::MAX));
}

#[test]
fn o19_neither_errors_nor_debug_show_the_key_or_the_token() {
    let authenticator = Authenticator::new(config()).unwrap();
    let key = String::from_utf8(KEY.to_vec()).unwrap();
    let shown = format!("{authenticator:?} {:?}", authenticator.config());
    assert!(!shown.contains(&key) && !shown.contains(&format!("{KEY:?}")), "{shown}");
    for result in [
        with_header(r#"{"alg":"hunter2"}"#),
        with_header(r#"{"alg":"HS256","typ":"hunter2"}"#),
        with_claims(r#"{"sub":"hunter2","exp":"hunter2"}"#),
        with_claims(r#"{"sub":"hunter2","sub":"hunter2"}"#),
        with_claims(r#"{"sub":"hunter2\u0000","exp":1795341600}"#),
    ] {
        let error = result.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        assert!(!error.to_string().ends_with('.'), "{error}");
    }
}
