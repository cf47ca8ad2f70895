//! Sets of keys: which key a token means, what a JSON Web Key Set may hold, and what a PEM file may.

use drawgate::auth::jwks::{self, JWKS_BYTES_MAX, JwksError};
use drawgate::auth::{
    Algorithm, Authenticator, KEYS_MAX, KEYS_TRIED_MAX, KeyError, KeyKind, KeySet, KeySetError,
    PEM_BYTES_MAX, PemError, SigningKey, TokenError, VerifyingKey,
};
use drawgate::json::Rule;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::made::*;
use crate::pairs::*;

fn parse(keys: &Value) -> Result<KeySet, JwksError> {
    jwks::parse(json!({ "keys": keys }).to_string().as_bytes())
}

/// What is wrong with a set of our P-256 key with these changes to it.
fn refused(changes: &Value) -> JwksError {
    parse(&json!([pair(KeyKind::P256).jwk_with(changes)])).unwrap_err()
}

/// Whether our key with these changes is among the keys of a set, beside one that always is.
fn is_used(kind: KeyKind, changes: &Value) -> bool {
    let beside = if kind == KeyKind::Ed25519 { KeyKind::P384 } else { KeyKind::Ed25519 };
    let set = parse(&json!([pair(beside).jwk, pair(kind).jwk_with(changes)])).unwrap();
    set.keys().iter().any(|key| key.kind() == kind)
}

#[test]
fn a_token_means_the_key_that_it_names() {
    let other = strange_pair(KeyKind::P256);
    let authenticator = with_jwks(&[
        other.jwk_with(&json!({ "kid": "old" })),
        pair(KeyKind::P256).jwk_with(&json!({ "kid": "new" })),
    ]);
    assert!(outcome(&authenticator, &issued(Algorithm::Es256, Some("new"))).is_ok());
    assert_eq!(
        outcome(&authenticator, &issued(Algorithm::Es256, Some("old"))),
        Err(TokenError::SignatureRefused)
    );
    assert_eq!(outcome(&authenticator, &issued(Algorithm::Es256, Some("next"))), Err(TokenError::KeyUnknown));
    // Without a name each is tried.
    assert!(outcome(&authenticator, &issued(Algorithm::Es256, None)).is_ok());
    let by_old = other.signing.token(Algorithm::Es256, None, &claims(&json!({}))).unwrap();
    assert!(outcome(&authenticator, &by_old).is_ok());
    let stranger = strange_pair(KeyKind::P256).signing.token(Algorithm::Es256, None, &claims(&json!({})));
    assert_eq!(outcome(&authenticator, &stranger.unwrap()), Err(TokenError::SignatureRefused));
}

#[test]
fn keys_without_names_are_meant_by_any_token_and_those_beside_names_by_none_that_names_one() {
    let alone = with_jwks(&[pair(KeyKind::P256).jwk.clone()]);
    assert!(outcome(&alone, &issued(Algorithm::Es256, Some("whatever"))).is_ok());
    let beside = with_jwks(&[
        pair(KeyKind::P256).jwk.clone(),
        pair(KeyKind::Ed25519).jwk_with(&json!({ "kid": "named" })),
    ]);
    assert_eq!(outcome(&beside, &issued(Algorithm::Es256, Some("whatever"))), Err(TokenError::KeyUnknown));
    assert!(outcome(&beside, &issued(Algorithm::Es256, None)).is_ok());
    assert!(outcome(&beside, &issued(Algorithm::EdDsa, Some("named"))).is_ok());
}

#[test]
fn a_token_without_a_name_is_tried_with_a_bounded_number_of_keys() {
    let ours = pair(KeyKind::Ed25519);
    for before in [KEYS_TRIED_MAX - 1, KEYS_TRIED_MAX] {
        // Keys of another kind do not count.
        let mut keys = vec![pair(KeyKind::P256).jwk_with(&json!({ "kid": "p256" }))];
        for place in 0..before {
            keys.push(strange_pair(KeyKind::Ed25519).jwk_with(&json!({ "kid": place.to_string() })));
        }
        keys.push(ours.jwk_with(&json!({ "kid": "ours" })));
        let authenticator = with_jwks(&keys);
        let expected =
            if before < KEYS_TRIED_MAX { Ok("alice".to_owned()) } else { Err(TokenError::SignatureRefused) };
        assert_eq!(outcome(&authenticator, &issued(Algorithm::EdDsa, None)), expected, "{before}");
        assert!(outcome(&authenticator, &issued(Algorithm::EdDsa, Some("ours"))).is_ok());
    }
}

#[test]
fn every_kind_of_key_is_read_from_a_set_with_the_members_that_issuers_add() {
    for algorithm in public_algorithms() {
        let more = json!({
            "kid": "2026-11", "use": "sig", "key_ops": ["verify"], "alg": algorithm.name(), "x5t": "AAAA", "x5c": ["AAAA"],
            "x5u": "https://issuer.example.com/", "iat": 1_795_338_000, "extra": { "a": [1] }
        });
        let authenticator = with_jwks(&[pair(algorithm.key_kind()).jwk_with(&more)]);
        assert!(outcome(&authenticator, &issued(algorithm, Some("2026-11"))).is_ok(), "{algorithm}");
        // RFC 7517 §4.4: the key is for this algorithm and no other of its kind.
        for other in algorithm.key_kind().algorithms().filter(|other| *other != algorithm) {
            let token = issued(other, Some("2026-11"));
            assert_eq!(outcome(&authenticator, &token), Err(TokenError::AlgorithmRefused), "{other}");
        }
    }
}

#[test]
fn keys_for_another_use_or_of_unknown_kinds_are_left_out() {
    for kind in PUBLIC_KINDS {
        assert!(is_used(kind, &json!({})));
        for changes in [
            json!({ "use": "enc" }),
            json!({ "use": "" }),
            json!({ "use": "SIG" }),
            json!({ "key_ops": ["sign"] }),
            json!({ "key_ops": [] }),
            json!({ "key_ops": ["encrypt", "wrapKey"] }),
            json!({ "use": "enc", "key_ops": ["verify"] }),
            json!({ "use": "sig", "key_ops": ["deriveKey"] }),
            json!({ "alg": "HS256" }),
            json!({ "alg": "none" }),
            json!({ "alg": "RSA-OAEP-256" }),
            json!({ "alg": "ECDH-ES" }),
            json!({ "alg": "" }),
            json!({ "alg": if kind == KeyKind::P256 { "ES384" } else { "ES256" } }),
            json!({ "kty": "AKP" }),
            json!({ "kty": "rsa" }),
            json!({ "kty": "" }),
        ] {
            assert!(!is_used(kind, &changes), "{kind:?} {changes}");
            // Broken, but not for us: nobody needs to repair it for our sake.
            let mut broken = changes;
            broken["x"] = json!("!");
            assert!(!is_used(kind, &broken), "{kind:?} {broken}");
        }
        assert!(is_used(kind, &json!({ "key_ops": ["sign", "verify"] })));
    }
    for curve in ["P-521", "secp256k1", "Ed25519", "p-256"] {
        assert!(!is_used(KeyKind::P256, &json!({ "crv": curve })), "{curve}");
    }
    for curve in ["X25519", "Ed448", "P-256"] {
        assert!(!is_used(KeyKind::Ed25519, &json!({ "crv": curve })), "{curve}");
    }
    for left_out in [json!([]), json!([{ "kty": "AKP" }]), json!([{ "kty": "EC", "crv": "P-521" }])] {
        assert_eq!(parse(&left_out).unwrap_err(), JwksError::NoKey, "{left_out}");
    }
}

#[test]
fn private_keys_and_secrets_refuse_the_whole_set() {
    let public = &pair(KeyKind::Ed25519).jwk;
    for kind in PUBLIC_KINDS {
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth"] {
            // Also in a key that is left out otherwise, and whatever it is.
            for changes in [json!({ member: "AAAA" }), json!({ member: null, "use": "enc" })] {
                let mut private = pair(kind).jwk_with(&json!({ "use": changes["use"] }));
                private[member] = changes[member].clone();
                let found = parse(&json!([public, private])).unwrap_err();
                assert_eq!(found, JwksError::Private(2), "{kind:?} {member}");
            }
        }
    }
    let secret = json!({ "kty": "oct", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY", "alg": "HS256" });
    assert_eq!(parse(&json!([secret, public])).unwrap_err(), JwksError::Secret(1));
    assert_eq!(parse(&json!([{ "kty": "oct" }])).unwrap_err(), JwksError::Secret(1));
}

#[test]
fn what_is_malformed_refuses_the_set_and_names_the_member() {
    for (changes, member) in [
        (json!({ "kty": null }), "kty"),
        (json!({ "kty": 1 }), "kty"),
        (json!({ "crv": null }), "crv"),
        (json!({ "crv": ["P-256"] }), "crv"),
        (json!({ "x": null }), "x"),
        (json!({ "y": null }), "y"),
        (json!({ "y": "" }), "y"),
        (json!({ "x": 7 }), "x"),
        (json!({ "alg": 7 }), "alg"),
        (json!({ "use": ["sig"] }), "use"),
        (json!({ "key_ops": "verify" }), "key_ops"),
        (json!({ "key_ops": ["verify", 1] }), "key_ops"),
        (json!({ "kid": 7 }), "kid"),
        (json!({ "kid": "k".repeat(129) }), "kid"),
    ] {
        assert_eq!(refused(&changes), JwksError::Malformed(1, member), "{changes}");
    }
    let x = pair(KeyKind::P256).jwk["x"].as_str().unwrap();
    for spelling in [
        format!("{x}="),
        format!("{x}\n"),
        format!(" {x}"),
        format!("AA{x}"),
        x[..40].to_owned(),
        x.replace(&x[..1], "+"),
    ] {
        assert_eq!(refused(&json!({ "x": spelling })), JwksError::Malformed(1, "x"), "{spelling}");
    }
    // A point that is not on the curve: nothing may be computed with it.
    let y = pair(KeyKind::P256).jwk["y"].clone();
    assert_eq!(refused(&json!({ "x": y })), JwksError::Key(1, KeyError::Malformed));
    assert_eq!(
        refused(&json!({ "x": "A".repeat(43), "y": "A".repeat(43) })),
        JwksError::Key(1, KeyError::Malformed)
    );
    // The coordinates of one curve under the name of another.
    let other = pair(KeyKind::P384).jwk_with(&json!({ "crv": "P-256" }));
    assert_eq!(parse(&json!([other])).unwrap_err(), JwksError::Malformed(1, "x"));
    for entry in [json!([null]), json!([[]]), json!(["key"]), json!([{}])] {
        assert_eq!(parse(&entry).unwrap_err(), JwksError::Malformed(1, "kty"), "{entry}");
    }
}

#[test]
fn rsa_keys_have_2048_to_8192_bits_and_a_proper_exponent() {
    let with = |modulus: &[u8], exponent: &[u8]| {
        let key = json!({ "kty": "RSA", "n": encode(modulus), "e": encode(exponent) });
        parse(&json!([key])).map(|_| ())
    };
    // Odd, and of exactly so many bits; whether it has two factors is nothing that can be seen.
    let modulus = |bits: usize| {
        let mut modulus = vec![0xa5; bits.div_ceil(8)];
        modulus[0] = if bits.is_multiple_of(8) { 0x80 } else { 1 << (bits % 8 - 1) };
        modulus
    };
    let usual = [1, 0, 1];
    for (bits, expected) in [
        (512, Err(KeyError::RsaTooShort)),
        (1024, Err(KeyError::RsaTooShort)),
        (2047, Err(KeyError::RsaTooShort)),
        (2048, Ok(())),
        (4096, Ok(())),
        (8192, Ok(())),
        (8193, Err(KeyError::RsaTooLong)),
        (16_384, Err(KeyError::RsaTooLong)),
    ] {
        assert_eq!(
            with(&modulus(bits), &usual),
            expected.map_err(|error| JwksError::Key(1, error)),
            "{bits}"
        );
    }
    let good = modulus(2048);
    for exponent in [&[0][..], &[1], &[2], &[1, 0, 0], &[1, 0, 0, 0, 0, 0, 1], &[0, 1, 0, 1], &[0xff; 256]] {
        assert_eq!(with(&good, exponent), Err(JwksError::Key(1, KeyError::Malformed)), "{exponent:?}");
    }
    assert_eq!(with(&good, &[]), Err(JwksError::Malformed(1, "e")));
    assert_eq!(with(&[&[0], &*good].concat(), &usual), Err(JwksError::Key(1, KeyError::Malformed)));
    let mut even = good.clone();
    even[255] = 0xa4;
    assert_eq!(with(&even, &usual), Err(JwksError::Key(1, KeyError::Malformed)));
    assert_eq!(with(&modulus(8 * 4096), &usual), Err(JwksError::Malformed(1, "n")));
}

#[test]
fn a_set_is_bounded_and_its_names_are_unlike() {
    let key = |name: &str| pair(KeyKind::Ed25519).jwk_with(&json!({ "kid": name }));
    let keys = |count: usize| (0..count).map(|place| key(&place.to_string())).collect::<Vec<_>>();
    assert_eq!(parse(&json!(keys(KEYS_MAX))).unwrap().keys().len(), KEYS_MAX);
    assert_eq!(parse(&json!(keys(KEYS_MAX + 1))).unwrap_err(), JwksError::Set(KeySetError::TooMany));
    assert_eq!(
        parse(&json!(vec![json!({ "kty": "AKP" }); KEYS_MAX + 1])).unwrap_err(),
        JwksError::Set(KeySetError::TooMany)
    );
    assert_eq!(
        parse(&json!([key("a"), key("b"), key("a")])).unwrap_err(),
        JwksError::Set(KeySetError::DuplicateId)
    );
    let other_kind = pair(KeyKind::P256).jwk_with(&json!({ "kid": "a" }));
    assert_eq!(parse(&json!([key("a"), other_kind])).unwrap_err(), JwksError::Set(KeySetError::DuplicateId));
    let left_out = pair(KeyKind::P256).jwk_with(&json!({ "kid": "a", "use": "enc" }));
    assert!(parse(&json!([key("a"), left_out])).is_ok(), "what is not used takes no name");
    let text = json!({ "keys": [key("a")] }).to_string();
    let padded = |length: usize| format!("{text}{}", " ".repeat(length - text.len()));
    assert!(jwks::parse(padded(JWKS_BYTES_MAX).as_bytes()).is_ok());
    assert_eq!(jwks::parse(padded(JWKS_BYTES_MAX + 1).as_bytes()).unwrap_err(), JwksError::TooLong);
    let too_many = (0..=KEYS_MAX).map(|_| pair(KeyKind::P256).verifying()).collect();
    assert_eq!(KeySet::new(too_many).unwrap_err(), KeySetError::TooMany);
}

#[test]
fn m02_a_set_is_strict_json() {
    let rule = |text: &str| match jwks::parse(text.as_bytes()) {
        Err(JwksError::NotJson(fault)) => fault.rule,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(rule(r#"{"keys":[],"keys":[]}"#), Rule::DuplicateName);
    assert_eq!(rule(r#"{"keys":[{"kty":"EC","kty":"oct"}]}"#), Rule::DuplicateName);
    assert_eq!(rule(r#"{"keys":[]} x"#), Rule::TrailingData);
    assert_eq!(rule(&"[".repeat(60_000)), Rule::TooDeep);
    assert_eq!(rule("\u{feff}{}"), Rule::ByteOrderMark);
    assert_eq!(jwks::parse(b"{\"keys\":\"\xff\"}").unwrap_err(), JwksError::NotUtf8);
    for text in ["{}", "[]", "7", r#"{"keys":{}}"#, r#"{"keys":null}"#, r#"{"Keys":[]}"#] {
        assert_eq!(jwks::parse(text.as_bytes()).unwrap_err(), JwksError::NoList, "{text}");
    }
}

#[test]
fn pem_files_hold_one_public_key() {
    for kind in PUBLIC_KINDS {
        let pair = pair(kind);
        let read = |text: &str| VerifyingKey::from_pem(text.as_bytes()).map(|key| key.kind());
        assert_eq!(read(&pair.public_pem), Ok(kind));
        assert_eq!(read(&pair.public_pem.replace('\n', "\r\n")), Ok(kind));
        assert_eq!(read(&format!("# the issuer's\n\n{}\n", pair.public_pem)), Ok(kind));
        assert_eq!(read(&pair.private_pem), Err(PemError::Private));
        assert_eq!(read(&format!("{}{}", pair.public_pem, pair.private_pem)), Err(PemError::Private));
        assert_eq!(read(&pair.public_pem.repeat(2)), Err(PemError::Several));
        let end = pair.public_pem.find("-----END").unwrap();
        for broken in [
            &pair.public_pem[..end],
            &pair.public_pem.replace("END PUBLIC", "END PRIVATE"),
            &pair.public_pem.replace("\nM", "\n*"),
        ] {
            assert_eq!(read(broken), Err(PemError::NotPem), "{broken}");
        }
        assert_eq!(read(&pair.public_pem.replace("PUBLIC KEY", "CERTIFICATE")), Err(PemError::Certificate));
        let padded = format!("{}{}", pair.public_pem, " ".repeat(PEM_BYTES_MAX));
        assert_eq!(read(&padded), Err(PemError::TooLong));
    }
    for label in ["RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
        let text = format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        assert_eq!(VerifyingKey::from_pem(text.as_bytes()).unwrap_err(), PemError::Private, "{label}");
        assert_eq!(SigningKey::from_pem(text.as_bytes()).unwrap_err(), PemError::NotPkcs8, "{label}");
    }
    for text in ["", "hello", "-----BEGIN PUBLIC KEY", "-----BEGIN OTHER-----\nAAAA\n-----END OTHER-----\n"] {
        let missing = VerifyingKey::from_pem(text.as_bytes()).unwrap_err();
        assert!(matches!(missing, PemError::Missing("public key", _)), "{text}: {missing}");
    }
    assert_eq!(VerifyingKey::from_pem(b"-----BEGIN PUBLIC KEY-----\n\xff").unwrap_err(), PemError::NotPem);
}

/// What `openssl` writes for kinds that are not for tokens here: P-521, Ed448, and RSA that is marked for PSS alone.
#[test]
fn pem_files_of_other_kinds_are_refused_by_what_they_say_they_are() {
    let read = |der: &[u8]| VerifyingKey::from_pem(pem("PUBLIC KEY", der).as_bytes()).map(|key| key.kind());
    let our_rsa = spki(KeyKind::Rsa);
    assert_eq!(read(&our_rsa), Ok(KeyKind::Rsa));
    // RFC 8017 §A.1.1: without the wrapping that says what it is.
    let bare = pem("RSA PUBLIC KEY", &our_rsa[24..]);
    assert_eq!(VerifyingKey::from_pem(bare.as_bytes()).unwrap().kind(), KeyKind::Rsa);
    assert_eq!(read(&our_rsa[24..]), Err(PemError::Key(KeyError::Malformed)));
    let changed = |der: &[u8], place: usize, to: u8| {
        let mut der = der.to_vec();
        der[place] = to;
        der
    };
    // The last byte of the object identifier: rsaEncryption is 1, id-RSASSA-PSS is 10.
    assert_eq!(read(&changed(&our_rsa, 16, 10)), Err(PemError::KindUnknown));
    // Ed25519 is 112, Ed448 is 113.
    assert_eq!(read(&changed(&spki(KeyKind::Ed25519), 8, 113)), Err(PemError::KindUnknown));
    // secp384r1 is 34, secp521r1 is 35; P-256 as if it were its neighbour.
    assert_eq!(read(&changed(&spki(KeyKind::P384), 19, 35)), Err(PemError::KindUnknown));
    assert_eq!(read(&changed(&spki(KeyKind::P256), 22, 6)), Err(PemError::KindUnknown));
    for kind in PUBLIC_KINDS {
        let der = spki(kind);
        assert_eq!(read(&[&*der, &[0]].concat()), Err(PemError::Key(KeyError::Malformed)), "{kind:?}");
        assert_eq!(read(&der[..der.len() - 1]), Err(PemError::Key(KeyError::Malformed)), "{kind:?}");
    }
}

#[test]
fn private_keys_sign_what_their_public_halves_verify() {
    for algorithm in public_algorithms() {
        let pair = strange_pair(algorithm.key_kind());
        let token = pair.signing.token(algorithm, Some("k"), &claims(&json!({}))).unwrap();
        let authenticator =
            Authenticator::new(set_config(KeySet::of(pair.verifying()), &[algorithm])).unwrap();
        assert!(outcome(&authenticator, &token).is_ok(), "{algorithm}");
        assert_eq!(SigningKey::from_pem(pair.public_pem.as_bytes()).unwrap_err(), {
            PemError::Missing("private key", "PRIVATE KEY")
        });
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_keys_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(jwks::parse(&bytes).is_err());
        prop_assert!(VerifyingKey::from_pem(&bytes).is_err());
        prop_assert!(VerifyingKey::from_pem(pem("PUBLIC KEY", &bytes).as_bytes()).is_err());
        prop_assert!(VerifyingKey::from_pem(pem("RSA PUBLIC KEY", &bytes).as_bytes()).is_err());
        prop_assert!(SigningKey::from_pem(pem("PRIVATE KEY", &bytes).as_bytes()).is_err());
    }

    #[test]
    fn arbitrary_members_never_panic(
        kty in prop::sample::select(vec!["RSA", "EC", "OKP", "oct", "x"]),
        crv in prop::sample::select(vec!["P-256", "P-384", "Ed25519", "x"]),
        x in prop::collection::vec(any::<u8>(), 0..100),
        y in prop::collection::vec(any::<u8>(), 0..100),
        text in any::<String>(),
    ) {
        let key = json!({
            "kty": kty, "crv": crv, "x": encode(&x), "y": encode(&y), "n": encode(&x), "e": encode(&y), "kid": text
        });
        let _ = parse(&json!([key]));
        let _ = parse(&json!([{ "kty": text, "use": text, "alg": text }]));
    }

    #[test]
    fn a_changed_public_key_is_refused_or_another(index in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for kind in PUBLIC_KINDS {
            let mut der = spki(kind);
            let place = index.index(der.len());
            prop_assume!(der[place] != byte);
            der[place] = byte;
            if let Ok(key) = VerifyingKey::from_pem(pem("PUBLIC KEY", &der).as_bytes()) {
                prop_assert_eq!(key.kind(), kind);
                let algorithm = kind.algorithms().next().unwrap();
                let authenticator = Authenticator::new(set_config(KeySet::of(key), &[algorithm])).unwrap();
                let refused = outcome(&authenticator, &issued(algorithm, None));
                prop_assert_eq!(refused, Err(TokenError::SignatureRefused));
            }
        }
    }
}
