//! Tokens that somebody made without the key: by confusing what it is, by bringing another, by guessing at signatures.

use std::io::ErrorKind;
use std::net::TcpListener;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use drawgate::auth::{Algorithm, Authenticator, Config, KeyKind, KeySet, Keys, SigningKey, TokenError};
use drawgate::secret::Secret;
use serde_json::{Value, json};

use crate::made::*;
use crate::pairs::*;

const HMAC: [Algorithm; 3] = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512];
const SIGNATURES: [(KeyKind, Algorithm); 4] = [
    (KeyKind::Rsa, Algorithm::Rs256),
    (KeyKind::P256, Algorithm::Es256),
    (KeyKind::P384, Algorithm::Es384),
    (KeyKind::Ed25519, Algorithm::EdDsa),
];

/// Everything that could be taken for a secret in what the owner of a pair publishes.
fn published(pair: &Pair) -> Vec<Vec<u8>> {
    let pem = pair.public_pem.as_bytes().to_vec();
    let body: String = pair.public_pem.lines().filter(|line| !line.starts_with('-')).collect();
    let mut texts = vec![
        pem.trim_ascii().to_vec(),
        pem,
        STANDARD.decode(&body).unwrap(),
        body.into_bytes(),
        pair.jwk.to_string().into_bytes(),
        Vec::new(),
    ];
    for value in pair.jwk.as_object().unwrap().values() {
        texts.push(value.as_str().unwrap().into());
        texts.extend(URL_SAFE_NO_PAD.decode(value.as_str().unwrap()).ok());
    }
    texts
}

#[test]
fn a02_a_public_key_is_never_taken_for_a_secret() {
    for kind in PUBLIC_KINDS {
        let authenticator = with_key(kind);
        // Whoever has both kinds of keys, one after the other, could have a list with both kinds of algorithms.
        let mixed =
            Config { algorithms: HMAC.to_vec(), keys: Keys::Secret(Secret::new(LONG_SECRET)), ..config() };
        let mixed = Authenticator::new(mixed).unwrap();
        mixed.set_keys(KeySet::of(pair(kind).verifying()));
        for secret in published(pair(kind)) {
            for algorithm in HMAC {
                let key = SigningKey::secret(&Secret::new(&secret));
                let token = key.token(algorithm, None, &claims(&json!({}))).unwrap();
                assert_eq!(outcome(&authenticator, &token), Err(TokenError::AlgorithmRefused), "{kind:?}");
                assert_eq!(outcome(&mixed, &token), Err(TokenError::AlgorithmRefused), "{kind:?}");
                // And with the header of what the key is for.
                let named = json!({ "alg": kind.algorithms().next().unwrap().name() }).to_string();
                let token = token_with_header(&key, algorithm, &named);
                assert_eq!(outcome(&authenticator, &token), Err(TokenError::SignatureRefused), "{kind:?}");
            }
        }
    }
}

#[test]
fn a03_a_key_that_the_token_brings_is_never_used() {
    for (kind, algorithm) in SIGNATURES {
        let authenticator = with_key(kind);
        let attacker = strange_pair(kind);
        let with_header = |header: &Value| {
            outcome(&authenticator, &token_with_header(&attacker.signing, algorithm, &header.to_string()))
        };
        let name = algorithm.name();
        assert_eq!(
            with_header(&json!({ "alg": name, "jwk": attacker.jwk })),
            Err(TokenError::HeaderMemberRefused("jwk"))
        );
        assert_eq!(
            with_header(&json!({ "alg": name, "x5c": [STANDARD.encode(&attacker.public_pem)] })),
            Err(TokenError::HeaderMemberRefused("x5c"))
        );
        // Where a member is not known, it is not looked at.
        assert_eq!(
            with_header(&json!({ "alg": name, "key": attacker.jwk, "JWK": attacker.jwk })),
            Err(TokenError::SignatureRefused)
        );
        // Even our own key, which would verify.
        let own = json!({ "alg": name, "jwk": pair(kind).jwk }).to_string();
        let own = token_with_header(&pair(kind).signing, algorithm, &own);
        assert_eq!(outcome(&authenticator, &own), Err(TokenError::HeaderMemberRefused("jwk")));
    }
}

#[test]
fn a04_what_a_token_points_to_is_never_fetched() {
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let address = trap.local_addr().unwrap();
    for (kind, algorithm) in SIGNATURES {
        let key_set =
            with_jwks(&[pair(kind).jwk_with(&json!({ "kid": "k", "x5u": format!("http://{address}/x") }))]);
        for authenticator in [with_key(kind), key_set] {
            for name in ["jku", "x5u", "x5c", "jwk"] {
                for url in [format!("http://{address}/keys"), format!("https://{address}/keys")] {
                    let header = json!({ "alg": algorithm.name(), "kid": "k", name: url }).to_string();
                    let token = token_with_header(&pair(kind).signing, algorithm, &header);
                    assert_eq!(outcome(&authenticator, &token), Err(TokenError::HeaderMemberRefused(name)));
                }
            }
            // Neither is a kid that looks like an address.
            let header = json!({ "alg": algorithm.name(), "kid": format!("http://{address}/keys") });
            let _ = outcome(
                &authenticator,
                &token_with_header(&pair(kind).signing, algorithm, &header.to_string()),
            );
        }
    }
    assert_eq!(trap.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "somebody connected");
}

#[test]
fn a05_a_key_id_is_looked_up_in_the_set_and_nowhere_else() {
    let authenticator = with_jwks(&[
        pair(KeyKind::P256).jwk_with(&json!({ "kid": "ours" })),
        pair(KeyKind::Ed25519).jwk_with(&json!({ "kid": "other" })),
    ]);
    let with_key_id = |key_id: &str| {
        let header = json!({ "alg": "ES256", "kid": key_id }).to_string();
        outcome(&authenticator, &token_with_header(&pair(KeyKind::P256).signing, Algorithm::Es256, &header))
    };
    assert_eq!(with_key_id("ours").as_deref(), Ok("alice"));
    for key_id in [
        "",
        "Ours",
        "ours ",
        "ours\0",
        "../../../../dev/null",
        "/proc/self/environ",
        "file:///etc/passwd",
        "' OR '1'='1",
        "ours'; DROP TABLE keys; --",
        "$(id)",
        "%6furs",
        "0",
        &"k".repeat(128),
    ] {
        assert_eq!(with_key_id(key_id), Err(TokenError::KeyUnknown), "{key_id}");
    }
    assert_eq!(with_key_id(&"k".repeat(129)), Err(TokenError::KeyIdRefused));
    assert_eq!(with_key_id(&"k".repeat(5 * 1024)), Err(TokenError::KeyIdRefused));
    assert_eq!(with_key_id(&"k".repeat(10 * 1024)), Err(TokenError::TooLong));
    // The name of a key of another kind chooses that key, which is not for the algorithm.
    assert_eq!(with_key_id("other"), Err(TokenError::AlgorithmRefused));
}

#[test]
fn a06_critical_extensions_are_refused_by_every_algorithm() {
    for (kind, algorithm) in SIGNATURES {
        let authenticator = with_key(kind);
        for (members, refused) in [
            (r#""crit":["exp"],"exp":1"#, "crit"),
            (r#""crit":["b64"],"b64":true"#, "crit"),
            (r#""crit":[]"#, "crit"),
            (r#""b64":false"#, "b64"),
        ] {
            let header = format!(r#"{{"alg":"{algorithm}",{members}}}"#);
            let token = token_with_header(&pair(kind).signing, algorithm, &header);
            assert_eq!(outcome(&authenticator, &token), Err(TokenError::HeaderMemberRefused(refused)));
        }
    }
}

/// The orders of the curves (SEC 2 §2.4.2, §2.5.1) and of Ed25519's base point (RFC 8032 §5.1, little-endian).
const ORDER_P256: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const ORDER_P384: &str =
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";
const ORDER_ED25519: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits = hexadecimal.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Our token by `algorithm`: what is signed, and the signature.
fn parts(kind: KeyKind, algorithm: Algorithm) -> (String, Vec<u8>) {
    let signed = signed_part(&json!({ "alg": algorithm.name() }).to_string());
    let signature = pair(kind).signing.sign(algorithm, signed.as_bytes()).unwrap();
    (signed, signature)
}

/// CVE-2022-21449: r and s must lie between 1 and the order less one.
#[test]
fn a07_numbers_out_of_range_are_no_ecdsa_signature() {
    for (kind, algorithm, order) in [
        (KeyKind::P256, Algorithm::Es256, bytes(ORDER_P256)),
        (KeyKind::P384, Algorithm::Es384, bytes(ORDER_P384)),
    ] {
        let authenticator = with_key(kind);
        let (signed, signature) = parts(kind, algorithm);
        let half = order.len();
        let (zero, most) = (vec![0; half], vec![0xff; half]);
        let mut one = zero.clone();
        one[half - 1] = 1;
        let mut above = order.clone();
        above[half - 1] += 1;
        let (r, s) = signature.split_at(half);
        let numbers = [zero.as_slice(), &one, &order, &above, &most, r, s];
        for (first, second) in numbers.iter().flat_map(|first| numbers.map(|second| (*first, second))) {
            let expected = if (first, second) == (r, s) {
                Ok("alice".to_owned())
            } else {
                Err(TokenError::SignatureRefused)
            };
            let token = with_signature(&signed, &[first, second].concat());
            assert_eq!(outcome(&authenticator, &token), expected, "{algorithm}: {first:02x?} {second:02x?}");
        }
    }
}

#[test]
fn a07_a_signature_has_its_one_length_and_form() {
    for (kind, algorithm) in SIGNATURES {
        let authenticator = with_key(kind);
        let (signed, signature) = parts(kind, algorithm);
        let refused = |signature: &[u8]| {
            let token = with_signature(&signed, signature);
            assert_eq!(outcome(&authenticator, &token), Err(TokenError::SignatureRefused), "{algorithm}");
        };
        assert!(outcome(&authenticator, &with_signature(&signed, &signature)).is_ok());
        for length in [0, 1, 31, 32, 47, 48, 63, 64, 65, 72, 95, 96, 97, 128, 132, 255, 256, 257, 2048] {
            if length != signature.len() {
                refused(&vec![0; length]);
                let mut other = signature.clone();
                other.resize(length, 0);
                refused(&other);
            }
            refused(&vec![0xff; length]);
        }
        refused(&[&[0], signature.as_slice()].concat());
        refused(&signature[1..]);
        refused(&signature.iter().rev().copied().collect::<Vec<_>>());
        for place in 0..signature.len() {
            let mut changed = signature.clone();
            changed[place] ^= 1;
            refused(&changed);
        }
        if matches!(kind, KeyKind::P256 | KeyKind::P384) {
            let half = signature.len() / 2;
            let (r, s) = signature.split_at(half);
            refused(&der_signature(r, s));
            // Each number with a zero before it, as if the curve were larger.
            refused(&[&[0], r, &[0], s].concat());
        }
    }
}

/// RFC 3279 §2.2.3: a sequence of two integers.
fn der_signature(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let mut number: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
        if number[0] >= 0x80 {
            number.insert(0, 0);
        }
        [&[2, u8::try_from(number.len()).unwrap()], number.as_slice()].concat()
    };
    let content = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(content.len()).unwrap()], content.as_slice()].concat()
}

/// RFC 8032 §5.1.7: S must be below the order, so that nobody makes a second signature of the first.
#[test]
fn a07_an_ed25519_signature_has_one_spelling() {
    let authenticator = with_key(KeyKind::Ed25519);
    let (signed, signature) = parts(KeyKind::Ed25519, Algorithm::EdDsa);
    let mut malleable = signature.clone();
    let mut carry = 0;
    for (byte, added) in malleable[32..].iter_mut().zip(bytes(ORDER_ED25519)) {
        let sum = u16::from(*byte) + u16::from(added) + carry;
        (*byte, carry) = ((sum & 0xff) as u8, sum >> 8);
    }
    assert_eq!(carry, 0, "S and the order fit 32 bytes");
    let token = with_signature(&signed, &malleable);
    assert_eq!(outcome(&authenticator, &token), Err(TokenError::SignatureRefused));
    // The neutral point with S = 0 is right for a key of small order alone.
    let mut neutral = vec![0; 64];
    neutral[0] = 1;
    let token = with_signature(&signed, &neutral);
    assert_eq!(outcome(&authenticator, &token), Err(TokenError::SignatureRefused));
}

#[test]
fn a08_encrypted_and_compressed_tokens_are_refused_with_every_key() {
    for (kind, algorithm) in SIGNATURES {
        let authenticator = with_key(kind);
        let key = &pair(kind).signing;
        for (name, value) in [("enc", json!("A256GCM")), ("zip", json!("DEF")), ("p2c", json!(u32::MAX))] {
            let header = json!({ "alg": algorithm.name(), name: value }).to_string();
            let token = token_with_header(key, algorithm, &header);
            assert_eq!(outcome(&authenticator, &token), Err(TokenError::HeaderMemberRefused(name)));
        }
        for alg in ["dir", "RSA-OAEP", "RSA1_5", "ECDH-ES", "PBES2-HS256+A128KW", "A256KW"] {
            let header = json!({ "alg": alg }).to_string();
            let token = token_with_header(key, algorithm, &header);
            assert_eq!(outcome(&authenticator, &token), Err(TokenError::AlgorithmRefused), "{alg}");
            let parts = URL_SAFE_NO_PAD.encode(json!({ "alg": alg, "enc": "A256GCM" }).to_string());
            let five = format!("{parts}.AAAA.AAAA.AAAA.AAAA");
            assert_eq!(outcome(&authenticator, &five), Err(TokenError::NotThreeParts), "{alg}");
        }
    }
}

#[test]
fn a01_alg_none_is_refused_with_every_key() {
    for (kind, algorithm) in SIGNATURES {
        let authenticator = with_key(kind);
        for name in ["none", "None", "NONE", "nOnE", "", "null"] {
            let header = json!({ "alg": name }).to_string();
            let signed = token_with_header(&pair(kind).signing, algorithm, &header);
            for token in [signed, format!("{}.", signed_part(&header))] {
                assert_eq!(outcome(&authenticator, &token), Err(TokenError::AlgorithmRefused), "{name}");
            }
        }
        let unsigned = format!("{}.", signed_part(&json!({ "alg": algorithm.name() }).to_string()));
        assert_eq!(outcome(&authenticator, &unsigned), Err(TokenError::SignatureRefused));
    }
}
