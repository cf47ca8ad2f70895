//! The form of a token, its header and its signature.

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use drawgate::auth::token::{Part, TOKEN_BYTES_MAX, read_unverified, sign_hs256};
use drawgate::auth::{Authenticator, Config, ConfigError, Expected, Keys, TokenError};
use drawgate::clock::UnixTime;
use drawgate::json::Rule;
use drawgate::principal::Principal;
use drawgate::secret::Secret;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::crypto::sign;
use serde_json::json;

use crate::made::*;

#[test]
fn the_example_of_rfc_7515_a_1_verifies() {
    let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                 eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
                 dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let config = Config {
        keys: Keys::Secret(Secret::new(&URL_SAFE_NO_PAD.decode(key).unwrap())),
        subject_claims: vec!["iss".to_owned()],
        issuer: Expected::Exactly("joe".to_owned()),
        ..config()
    };
    let authenticator = Authenticator::new(config).unwrap();
    let at = |seconds| authenticator.verify(token.as_bytes(), UnixTime::from_seconds(seconds));
    assert_eq!(&*at(1_300_819_380).unwrap().subject, "joe");
    assert_eq!(at(1_300_819_410), Err(TokenError::Expired));
}

#[test]
fn tokens_of_another_library_verify() {
    let claims = json!({ "sub": "alice", "exp": NOW_SECONDS + 60 });
    let token =
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &EncodingKey::from_secret(KEY));
    assert!(verify(&token.unwrap()).is_ok());
}

#[test]
fn a01_alg_none_is_refused_in_any_case() {
    for name in ["none", "None", "NONE", "nOnE"] {
        let header = format!(r#"{{"alg":"{name}"}}"#);
        assert_eq!(with_header(&header), Err(TokenError::AlgorithmRefused), "{name}");
        let unsigned =
            format!("{}.{}.", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(good_claims()));
        assert_eq!(verify(&unsigned), Err(TokenError::AlgorithmRefused), "{name}");
    }
    let parts = format!("{}.{}.", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(good_claims()));
    assert_eq!(verify(&parts), Err(TokenError::SignatureRefused));
}

#[test]
fn a02_the_key_decides_the_algorithm() {
    for alg in
        ["RS256", "PS256", "ES256", "EdDSA", "HS384", "HS512", "hs256", "HS256 ", "HS25", "", "\\u0000HS256"]
    {
        assert_eq!(with_header(&format!(r#"{{"alg":"{alg}"}}"#)), Err(TokenError::AlgorithmRefused), "{alg}");
    }
    for header in ["{}", r#"{"alg":null}"#, r#"{"alg":["HS256"]}"#, r#"{"alg":256}"#, r#"{"ALG":"HS256"}"#] {
        assert_eq!(with_header(header), Err(TokenError::AlgorithmRefused), "{header}");
    }
    let claims = claims(&json!({}));
    for algorithm in [jsonwebtoken::Algorithm::HS384, jsonwebtoken::Algorithm::HS512] {
        let header = jsonwebtoken::Header::new(algorithm);
        let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(KEY)).unwrap();
        assert_eq!(verify(&token), Err(TokenError::AlgorithmRefused));
    }
}

#[test]
fn a02_a_signature_of_another_hash_or_key_is_refused() {
    let parts = raw_token(HEADER, &good_claims());
    let signed = parts.rsplit_once('.').unwrap().0;
    for (key, algorithm) in [
        (KEY, jsonwebtoken::Algorithm::HS384),
        (KEY, jsonwebtoken::Algorithm::HS512),
        (&b"fedcba9876543210fedcba9876543210"[..], jsonwebtoken::Algorithm::HS256),
        (b"", jsonwebtoken::Algorithm::HS256),
    ] {
        let signature = sign(signed.as_bytes(), &EncodingKey::from_secret(key), algorithm).unwrap();
        assert_eq!(verify(&format!("{signed}.{signature}")), Err(TokenError::SignatureRefused));
    }
    let signature = parts.rsplit_once('.').unwrap().1;
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    for length in [0, 1, 16, 31] {
        let short = URL_SAFE_NO_PAD.encode(&bytes[..length]);
        assert_eq!(verify(&format!("{signed}.{short}")), Err(TokenError::SignatureRefused));
    }
}

#[test]
fn a03_a_token_that_brings_its_key_is_refused() {
    let key = r#"{"kty":"oct","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}"#;
    assert_eq!(
        with_header(&format!(r#"{{"alg":"HS256","jwk":{key}}}"#)),
        Err(TokenError::HeaderMemberRefused("jwk"))
    );
}

/// Nothing in the crate's verification can open a connection; that pointers are refused is what can be seen here.
#[test]
fn a04_a_token_that_points_to_its_key_is_refused() {
    for name in ["jku", "x5u", "x5c"] {
        let header = format!(r#"{{"alg":"HS256","{name}":"http://127.0.0.1:1/"}}"#);
        assert_eq!(with_header(&header), Err(TokenError::HeaderMemberRefused(name)));
    }
}

#[test]
fn a05_a_key_id_is_short_text_and_chooses_nothing() {
    let with_key_id = |key_id: &str| with_header(&format!(r#"{{"alg":"HS256","kid":{}}}"#, json!(key_id)));
    for key_id in ["", "../../../../dev/null", "' OR '1'='1", "k\0", &"k".repeat(128)] {
        assert!(with_key_id(key_id).is_ok(), "{key_id}");
    }
    assert_eq!(with_key_id(&"k".repeat(129)), Err(TokenError::KeyIdRefused));
    assert_eq!(with_key_id(&"k".repeat(10 * 1024)), Err(TokenError::TooLong));
    assert_eq!(with_header(r#"{"alg":"HS256","kid":7}"#), Err(TokenError::KeyIdRefused));
    assert_eq!(with_header(r#"{"alg":"HS256","kid":null}"#), Err(TokenError::KeyIdRefused));
}

#[test]
fn a06_critical_extensions_are_refused() {
    for header in [
        r#"{"alg":"HS256","crit":["exp"],"exp":1}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":null}"#,
    ] {
        assert_eq!(with_header(header), Err(TokenError::HeaderMemberRefused("crit")), "{header}");
    }
    assert_eq!(with_header(r#"{"alg":"HS256","b64":false}"#), Err(TokenError::HeaderMemberRefused("b64")));
    // RFC 7515 §4: members that are not understood, and not critical, are ignored.
    assert!(with_header(r#"{"alg":"HS256","x":1,"cty":"json","x5t":"AA"}"#).is_ok());
}

#[test]
fn a07_a_signature_of_zeros_is_refused() {
    let parts = raw_token(HEADER, &good_claims());
    let signed = parts.rsplit_once('.').unwrap().0;
    for length in [0, 32, 64] {
        let zeros = URL_SAFE_NO_PAD.encode(vec![0; length]);
        assert_eq!(verify(&format!("{signed}.{zeros}")), Err(TokenError::SignatureRefused));
    }
}

#[test]
fn a08_encrypted_and_compressed_tokens_are_refused() {
    for (name, value) in
        [("enc", "A256GCM"), ("zip", "DEF"), ("p2s", "AA"), ("p2c", "1000000"), ("epk", "{}")]
    {
        let header = format!(r#"{{"alg":"HS256","{name}":"{value}"}}"#);
        assert_eq!(with_header(&header), Err(TokenError::HeaderMemberRefused(name)));
    }
    for alg in ["dir", "PBES2-HS256+A128KW", "A256KW"] {
        assert_eq!(with_header(&format!(r#"{{"alg":"{alg}"}}"#)), Err(TokenError::AlgorithmRefused), "{alg}");
    }
    assert_eq!(
        verify("eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAA.AAAA.AAAA"),
        Err(TokenError::NotThreeParts)
    );
}

#[test]
fn a14_tokens_made_for_another_use_are_refused() {
    let with_type = |media_type: &str| with_header(&format!(r#"{{"alg":"HS256","typ":{media_type}}}"#));
    for media_type in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/JWT"] {
        assert!(with_type(&json!(media_type).to_string()).is_ok(), "{media_type}");
    }
    for media_type in [
        "id+jwt",
        "dpop+jwt",
        "logout+jwt",
        "JWE",
        "",
        "at+jwt;x=1",
        "text/jwt",
        "application/application/jwt",
    ] {
        assert_eq!(with_type(&json!(media_type).to_string()), Err(TokenError::TypeRefused), "{media_type}");
    }
    assert_eq!(with_type("null"), Err(TokenError::TypeRefused));
    assert_eq!(with_type(r#"["JWT"]"#), Err(TokenError::TypeRefused));
    assert!(with_header(r#"{"alg":"HS256"}"#).is_ok());
}

#[test]
fn a14_where_types_are_demanded_a_token_has_one_of_them() {
    let verified = |types: &[&str], header: &str| {
        let types = types.iter().map(|name| name.parse().unwrap()).collect();
        verify_with(Config { token_types: Some(types), ..config() }, &raw_token(header, &good_claims()))
            .map(|_| ())
    };
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        let header = json!({ "alg": "HS256", "typ": typ }).to_string();
        assert_eq!(verified(&["at+jwt"], &header), Ok(()), "{typ}");
        assert_eq!(verified(&["JWT", "application/at+jwt"], &header), Ok(()), "{typ}");
        assert_eq!(verified(&["JWT"], &header), Err(TokenError::TypeRefused), "{typ}");
    }
    for header in [
        r#"{"alg":"HS256"}"#,
        r#"{"alg":"HS256","typ":"JWT"}"#,
        r#"{"alg":"HS256","typ":null}"#,
        r#"{"alg":"HS256","typ":["at+jwt"]}"#,
        r#"{"alg":"HS256","typ":""}"#,
        r#"{"alg":"HS256","typ":"id+jwt"}"#,
        r#"{"alg":"HS256","typ":"at+jwt;x=1"}"#,
    ] {
        assert_eq!(verified(&["at+jwt"], header), Err(TokenError::TypeRefused), "{header}");
    }
    // A type of the issuer's own as well.
    assert_eq!(verified(&["chat+jwt"], r#"{"alg":"HS256","typ":"chat+jwt"}"#), Ok(()));
    let none = Config { token_types: Some(Vec::new()), ..config() };
    assert_eq!(Authenticator::new(none).unwrap_err(), ConfigError::NoTokenType);
}

#[test]
fn a16_a_long_token_is_refused_before_it_is_looked_at() {
    let authenticator = Authenticator::new(config()).unwrap();
    let dots = ".".repeat(1_000_000);
    // Were any dot looked at, the answer would be that there are too many parts.
    assert_eq!(authenticator.verify(dots.as_bytes(), now()), Err(TokenError::TooLong));
    assert_eq!(
        authenticator.verify(&dots.as_bytes()[..TOKEN_BYTES_MAX], now()),
        Err(TokenError::NotThreeParts)
    );

    // A token of exactly the longest length, and one byte more.
    let sized = |length: usize| {
        (0..8192)
            .map(|pad| token(&json!({ "pad": "p".repeat(pad) })))
            .find(|token| token.len() >= length)
            .unwrap()
    };
    let (fits, too_long) = (sized(TOKEN_BYTES_MAX - 1), sized(TOKEN_BYTES_MAX + 1));
    assert!(fits.len() <= TOKEN_BYTES_MAX && verify(&fits).is_ok());
    assert_eq!(verify(&too_long), Err(TokenError::TooLong));
}

#[test]
fn a_token_has_exactly_three_parts() {
    for text in ["", ".", "a", "a.b", "a.b.c.d", "..."] {
        assert_eq!(verify(text), Err(TokenError::NotThreeParts), "{text}");
    }
    assert!(verify("..").is_err());
    let good = token(&json!({}));
    for text in [
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{good}"),
        good.replace('.', ".."),
        good.replace('.', "%2e"),
    ] {
        assert_eq!(verify(&text), Err(TokenError::NotThreeParts), "{text}");
    }
}

#[test]
fn a18_duplicate_names_are_refused_in_header_and_claims() {
    let is_duplicate = |result: Result<Principal, TokenError>, part: Part| match result {
        Err(TokenError::NotJson(found, fault)) => found == part && fault.rule == Rule::DuplicateName,
        Ok(_) | Err(_) => false,
    };
    assert!(is_duplicate(with_header(r#"{"alg":"none","alg":"HS256"}"#), Part::Header));
    assert!(is_duplicate(with_header(r#"{"alg":"HS256","\u0061lg":"HS256"}"#), Part::Header));
    for claims in [
        r#"{"sub":"alice","sub":"root","exp":1795341600}"#,
        r#"{"sub":"alice","exp":1,"exp":1795341600}"#,
        r#"{"sub":"alice","s\u0075b":"root","exp":1795341600}"#,
        r#"{"sub":"alice","exp":1795341600,"deep":[{"a":1,"a":2}]}"#,
    ] {
        assert!(is_duplicate(with_claims(claims), Part::Claims), "{claims}");
    }
}

#[test]
fn a19_base64_has_one_spelling() {
    let (header, claims) = (URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(good_claims()));
    // One byte short of a multiple of three, so that padding and spare bits exist; `>?` gives `-` and `_`.
    let odd_header = r#"{"alg":"HS256","a":"?>?>"}"#;
    let padded = URL_SAFE.encode(odd_header);
    assert!(padded.ends_with('='), "{padded}");
    let bare = padded.trim_end_matches('=');
    assert!(verify(&signed_parts(bare, &claims)).is_ok());
    for spelling in [
        padded.clone(),
        format!("{bare}\n"),
        format!(" {bare}"),
        format!("{} {}", &bare[..4], &bare[4..]),
        bare.replace(['-', '_'], "/"),
        next_spelling(bare),
    ] {
        assert_eq!(
            verify(&signed_parts(&spelling, &claims)),
            Err(TokenError::NotBase64(Part::Header)),
            "{spelling}"
        );
    }
    let good = signed_parts(&header, &claims);
    for spelling in [
        format!("{good}="),
        format!("{good}\n"),
        format!("{good} "),
        format!("{good}\0"),
        next_spelling(&good),
    ] {
        assert_eq!(verify(&spelling), Err(TokenError::NotBase64(Part::Signature)), "{spelling}");
    }
    assert_eq!(
        verify(&signed_parts(&header, &format!("{claims}!"))),
        Err(TokenError::NotBase64(Part::Claims))
    );
}

/// The same bytes to a lax reader: the last character with a spare bit set.
fn next_spelling(encoded: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = encoded.split_at(encoded.len() - 1);
    let index = ALPHABET.find(last).unwrap();
    format!("{rest}{}", &ALPHABET[index + 1..index + 2])
}

#[test]
fn header_and_claims_are_strict_json_objects() {
    for text in ["[]", "null", "\"alg\"", "7", "true"] {
        assert_eq!(with_header(text), Err(TokenError::NotAnObject(Part::Header)), "{text}");
        assert_eq!(with_claims(text), Err(TokenError::NotAnObject(Part::Claims)), "{text}");
    }
    for text in ["", "{", "\u{feff}{}", "{} {}", "{\"a\":\"\\ud800\"}", &format!("{}1", "[".repeat(4000))] {
        assert!(matches!(with_header(text), Err(TokenError::NotJson(Part::Header, _))), "{text}");
        assert!(matches!(with_claims(text), Err(TokenError::NotJson(Part::Claims, _))), "{text}");
    }
    let latin_1 = URL_SAFE_NO_PAD.encode(b"{\"sub\":\"\xe9\"}");
    let token = signed_parts(&URL_SAFE_NO_PAD.encode(HEADER), &latin_1);
    assert_eq!(verify(&token), Err(TokenError::NotUtf8(Part::Claims)));
}

#[test]
fn reading_unverified_shows_what_a_forged_token_says() {
    let forged = sign_hs256(&Secret::new(b"x"), &claims(&json!({})));
    let unverified = read_unverified(forged.as_bytes()).unwrap();
    assert_eq!(unverified.header["alg"], "HS256");
    assert_eq!(unverified.claims["sub"], "alice");
    assert_eq!(read_unverified(b"a.b"), Err(TokenError::NotThreeParts));
}
