//! What each algorithm takes, with keys from PEM files, key sets and secrets, and that a key is for nothing else.

use drawgate::auth::token::Part;
use drawgate::auth::{
    Algorithm, Authenticator, Config, ConfigError, KeyKind, KeySet, Keys, SignError, SigningKey, TokenError,
};
use drawgate::clock::UnixTime;
use drawgate::secret::Secret;
use jsonwebtoken::EncodingKey;
use serde_json::json;

use crate::made::*;
use crate::pairs::*;

fn secret_config(algorithms: &[Algorithm], secret: &[u8]) -> Config {
    Config { algorithms: algorithms.to_vec(), keys: Keys::Secret(Secret::new(secret)), ..config() }
}

/// With our key for `algorithm`, and this algorithm alone.
fn for_one(algorithm: Algorithm) -> Authenticator {
    let config = match algorithm.key_kind() {
        KeyKind::Secret => secret_config(&[algorithm], LONG_SECRET),
        kind => set_config(KeySet::of(pair(kind).verifying()), &[algorithm]),
    };
    Authenticator::new(config).unwrap()
}

#[test]
fn every_algorithm_is_accepted_with_its_own_key() {
    for algorithm in Algorithm::ALL {
        let authenticator = for_one(algorithm);
        for key_id in [None, Some("what the issuer calls it")] {
            let token = issued(algorithm, key_id);
            assert_eq!(outcome(&authenticator, &token).as_deref(), Ok("alice"), "{algorithm}");
            let (signed, signature) = token.rsplit_once('.').unwrap();
            let other_claims = signed.replace('.', ".e30");
            let forged = format!("{other_claims}.{signature}");
            assert_eq!(outcome(&authenticator, &forged), Err(TokenError::SignatureRefused), "{algorithm}");
        }
    }
}

#[test]
fn ed25519_is_eddsa_by_its_name_of_rfc_9864_and_for_its_own_keys_alone() {
    let key = signing(Algorithm::EdDsa);
    let named = |name: &str| {
        token_with_header(&key, Algorithm::EdDsa, &json!({ "alg": name, "kid": "ours" }).to_string())
    };
    let jwk = |name: &str| pair(KeyKind::Ed25519).jwk_with(&json!({ "kid": "ours", "alg": name }));
    for published in ["EdDSA", "Ed25519"] {
        let authenticator = with_jwks(&[jwk(published)]);
        for name in ["EdDSA", "Ed25519"] {
            assert_eq!(outcome(&authenticator, &named(name)).as_deref(), Ok("alice"), "{published} {name}");
        }
        for name in ["Ed448", "ed25519", "ED25519", "EdDSA25519", "Ed25519ph"] {
            let refused = outcome(&authenticator, &named(name));
            assert_eq!(refused, Err(TokenError::AlgorithmRefused), "{published} {name}");
        }
    }
    // Where it is not allowed, its other name does not let it in; nor does it open a key of another kind.
    let p256 =
        Authenticator::new(set_config(KeySet::of(pair(KeyKind::P256).verifying()), &[Algorithm::Es256]));
    assert_eq!(outcome(&p256.unwrap(), &named("Ed25519")), Err(TokenError::AlgorithmRefused));
    let refused = outcome(&with_key(KeyKind::P256), &named("Ed25519"));
    assert!(refused.is_err(), "{refused:?}");
    // A key of another kind that says that it is for it is for nothing.
    let misnamed = pair(KeyKind::P256).jwk_with(&json!({ "kid": "theirs", "alg": "Ed25519" }));
    let beside = with_jwks(&[misnamed, jwk("Ed25519")]);
    assert_eq!(outcome(&beside, &issued(Algorithm::Es256, Some("theirs"))), Err(TokenError::KeyUnknown));
}

#[test]
fn tokens_of_another_library_verify_by_every_algorithm() {
    for algorithm in Algorithm::ALL {
        let name = algorithm.name().parse::<jsonwebtoken::Algorithm>().unwrap();
        let key = match algorithm.key_kind() {
            KeyKind::Secret => EncodingKey::from_secret(LONG_SECRET),
            // That library wants RSA keys as RFC 8017 §A.1.2 has them, without the wrapping of PKCS#8.
            KeyKind::Rsa => EncodingKey::from_rsa_der(inside_pkcs8(&pair(KeyKind::Rsa).private_der)),
            KeyKind::P256 | KeyKind::P384 => {
                EncodingKey::from_ec_der(&pair(algorithm.key_kind()).private_der)
            }
            KeyKind::Ed25519 => EncodingKey::from_ed_der(&pair(KeyKind::Ed25519).private_der),
        };
        let token = jsonwebtoken::encode(&jsonwebtoken::Header::new(name), &claims(&json!({})), &key);
        assert_eq!(outcome(&for_one(algorithm), &token.unwrap()).as_deref(), Ok("alice"), "{algorithm}");
    }
}

/// The `RSAPrivateKey` in a PKCS#8 of a key of 2048 bits: behind 26 bytes of version, algorithm and lengths.
fn inside_pkcs8(der: &[u8]) -> &[u8] {
    assert_eq!(der[22], 4, "an octet string");
    &der[26..]
}

#[test]
fn the_examples_of_rfc_7515_a_2_and_a_3_verify() {
    let claims =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let rsa = json!({
        "kty": "RSA", "e": "AQAB",
        "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2\
              lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2\
              CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb5\
              4h4FRWyuXpoQ"
    });
    let rsa_signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds\
                         9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN93\
                         83LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywl\
                         VmtVrBp0igcN_IoypGlUPQGe77Rw";
    let ec = json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
    });
    let ec_signature =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    for (header, jwk, signature) in
        [("eyJhbGciOiJSUzI1NiJ9", rsa, rsa_signature), ("eyJhbGciOiJFUzI1NiJ9", ec, ec_signature)]
    {
        let authenticator = with_jwks(&[jwk]);
        let config = Config { subject_claims: vec!["iss".to_owned()], ..authenticator.config().clone() };
        let authenticator = Authenticator::new(config).unwrap();
        let token = format!("{header}.{claims}.{signature}");
        let at = |seconds| authenticator.verify(token.as_bytes(), UnixTime::from_seconds(seconds));
        assert_eq!(&*at(1_300_819_380).unwrap().subject, "joe");
        assert_eq!(at(1_300_819_410), Err(TokenError::Expired));
    }
}

#[test]
fn the_example_of_rfc_8037_a_4_has_a_right_signature() {
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
                 hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    // What it signs is a sentence and no claims; that is found out behind the signature.
    let authenticator = with_jwks(&[jwk]);
    assert!(matches!(outcome(&authenticator, token), Err(TokenError::NotJson(Part::Claims, _))));
    assert_eq!(outcome(&authenticator, &token.replace("hgyY", "hgyZ")), Err(TokenError::SignatureRefused));
}

#[test]
fn a02_a_key_is_for_the_algorithms_of_its_kind_and_no_header_changes_that() {
    for kind in PUBLIC_KINDS {
        let authenticator = with_key(kind);
        for signed_by in Algorithm::ALL {
            for named in Algorithm::ALL {
                let header = json!({ "alg": named.name() }).to_string();
                let token = token_with_header(&signing(signed_by), signed_by, &header);
                let expected = if named.key_kind() != kind {
                    Err(TokenError::AlgorithmRefused)
                } else if named != signed_by {
                    Err(TokenError::SignatureRefused)
                } else {
                    Ok("alice".to_owned())
                };
                assert_eq!(outcome(&authenticator, &token), expected, "{kind:?}: {signed_by} as {named}");
            }
        }
    }
}

#[test]
fn a02_a_secret_is_for_nothing_but_hmac() {
    let hmac = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512];
    let authenticator = Authenticator::new(secret_config(&hmac, LONG_SECRET)).unwrap();
    for algorithm in Algorithm::ALL {
        let expected = if hmac.contains(&algorithm) {
            Ok("alice".to_owned())
        } else {
            Err(TokenError::AlgorithmRefused)
        };
        assert_eq!(outcome(&authenticator, &issued(algorithm, None)), expected, "{algorithm}");
    }
}

#[test]
fn a02_the_configured_algorithms_limit_what_a_key_could_do() {
    for allowed in public_algorithms() {
        let authenticator = for_one(allowed);
        for other in allowed.key_kind().algorithms().filter(|other| *other != allowed) {
            let token = issued(other, None);
            assert_eq!(outcome(&authenticator, &token), Err(TokenError::AlgorithmRefused), "{other}");
        }
    }
}

#[test]
fn a02_keys_of_the_wrong_kind_for_the_algorithms_refuse_to_start() {
    let problems = |config: Config| config.problems();
    for algorithm in public_algorithms() {
        let config = secret_config(&[algorithm], LONG_SECRET);
        assert_eq!(problems(config), [ConfigError::AlgorithmUnfit(algorithm)]);
    }
    for kind in PUBLIC_KINDS {
        let set = || KeySet::of(pair(kind).verifying());
        let both = set_config(set(), &[Algorithm::Hs256, Algorithm::Rs256, Algorithm::Hs512]);
        assert_eq!(
            problems(both),
            [ConfigError::AlgorithmUnfit(Algorithm::Hs256), ConfigError::AlgorithmUnfit(Algorithm::Hs512)]
        );
        let other = public_algorithms().into_iter().find(|algorithm| algorithm.key_kind() != kind).unwrap();
        assert_eq!(problems(set_config(set(), &[other])), [ConfigError::NoKey]);
    }
    assert_eq!(problems(set_config(KeySet::empty(), &[Algorithm::Es256])), [ConfigError::NoKey]);
    assert_eq!(problems(Config { keys: Keys::None, ..config() }), [ConfigError::NoKey]);
}

#[test]
fn a15_a_secret_shorter_than_the_hash_refuses_to_start() {
    for (algorithm, bytes_min) in [(Algorithm::Hs256, 32), (Algorithm::Hs384, 48), (Algorithm::Hs512, 64)] {
        let start = |length: usize| {
            Authenticator::new(secret_config(&[algorithm], &LONG_SECRET[..length])).map(|_| ()).unwrap_err()
        };
        for length in [0, 1, 31, bytes_min - 1] {
            assert_eq!(start(length), ConfigError::KeyTooShort(algorithm), "{length}");
        }
        let said = start(bytes_min - 1).to_string();
        assert!(said.contains(&bytes_min.to_string()) && said.contains(algorithm.name()), "{said}");
        let config = secret_config(&[algorithm], &LONG_SECRET[..bytes_min]);
        let token = SigningKey::secret(&Secret::new(&LONG_SECRET[..bytes_min]))
            .token(algorithm, None, &claims(&json!({})))
            .unwrap();
        assert_eq!(outcome(&Authenticator::new(config).unwrap(), &token).as_deref(), Ok("alice"));
    }
}

#[test]
fn other_keys_take_over_while_it_runs() {
    let authenticator = with_key(KeyKind::P256);
    let (before, after) = (issued(Algorithm::Es256, None), issued(Algorithm::EdDsa, None));
    assert!(outcome(&authenticator, &before).is_ok());
    assert_eq!(outcome(&authenticator, &after), Err(TokenError::AlgorithmRefused));
    authenticator.set_keys(KeySet::of(pair(KeyKind::Ed25519).verifying()));
    assert_eq!(outcome(&authenticator, &before), Err(TokenError::AlgorithmRefused));
    assert!(outcome(&authenticator, &after).is_ok());
    authenticator.set_keys(KeySet::empty());
    assert_eq!(outcome(&authenticator, &after), Err(TokenError::AlgorithmRefused));
}

#[test]
fn a_key_signs_by_its_own_algorithms_alone() {
    for algorithm in Algorithm::ALL {
        for other in Algorithm::ALL.into_iter().filter(|other| other.key_kind() != algorithm.key_kind()) {
            let refused = signing(algorithm).token(other, None, &claims(&json!({})));
            assert_eq!(refused, Err(SignError::AlgorithmUnfit(algorithm.key_kind(), other)));
        }
    }
}

#[test]
fn o19_keys_are_shown_by_what_they_are_for_alone() {
    for kind in PUBLIC_KINDS {
        let shown = format!("{:?} {:?}", pair(kind).signing, with_key(kind));
        let line = pair(kind).private_pem.lines().nth(1).unwrap();
        assert!(!shown.contains(line) && shown.len() < 2000, "{shown}");
    }
    let authenticator = Authenticator::new(secret_config(&[Algorithm::Hs512], LONG_SECRET)).unwrap();
    assert!(!format!("{authenticator:?}").contains("0123456789"), "{authenticator:?}");
}
