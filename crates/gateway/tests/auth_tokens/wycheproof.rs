//! The kinds of cases of Project Wycheproof's `json_web_signature_test`, `json_web_key_test` and `rsa_signature_test`, made
//! anew with our own keys and claims. Each test names the comments or flags of the vectors that it stands for.

use drawgate::auth::token::Part;
use drawgate::auth::{Algorithm, Authenticator, Config, KeyKind, Keys, SigningKey, TokenError, jwks};
use drawgate::secret::Secret;
use num_bigint::BigUint;
use serde_json::json;

use crate::made::*;
use crate::pairs::*;

/// An authenticator whose key is of `algorithm` alone, as the vectors' keys are.
fn fixed(algorithm: Algorithm) -> Authenticator {
    if algorithm.key_kind() == KeyKind::Secret {
        let keys = Keys::Secret(Secret::new(LONG_SECRET));
        return Authenticator::new(Config { algorithms: vec![algorithm], keys, ..config() }).unwrap();
    }
    let more = json!({ "alg": algorithm.name(), "use": "sig", "kid": "kid-sign" });
    with_jwks(&[pair(algorithm.key_kind()).jwk_with(&more)])
}

/// `rejectsModifiedSignature`, `rejectsModifiedPayload`, `rejectsModifiedHeader`, `rejectsMissing…`, `rejectsExtra…`.
#[test]
fn a19_tokens_with_a_part_changed_missing_or_added_are_refused() {
    for algorithm in Algorithm::ALL {
        let authenticator = fixed(algorithm);
        let token = issued(algorithm, Some("kid-sign"));
        assert!(outcome(&authenticator, &token).is_ok(), "{algorithm}");
        let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
        let other_header =
            encode(json!({ "alg": algorithm.name(), "kid": "Xid-sign" }).to_string().as_bytes());
        let same_header = encode(json!({ "alg": algorithm.name() }).to_string().as_bytes());
        let other_claims = encode(good_claims().replace("alice", "root").as_bytes());
        let first = if signature.starts_with('A') { "B" } else { "A" };
        let unknown = match algorithm.key_kind() {
            KeyKind::Secret => TokenError::SignatureRefused,
            KeyKind::Rsa | KeyKind::P256 | KeyKind::P384 | KeyKind::Ed25519 => TokenError::KeyUnknown,
        };
        for (changed, expected) in [
            (format!("{header}.{claims}.{first}{}", &signature[1..]), TokenError::SignatureRefused),
            (format!("{header}.{other_claims}.{signature}"), TokenError::SignatureRefused),
            (format!("{other_header}.{claims}.{signature}"), unknown),
            (format!("{same_header}.{claims}.{signature}"), TokenError::SignatureRefused),
            (format!("{header}.{claims}."), TokenError::SignatureRefused),
            (format!("{header}..{signature}"), TokenError::SignatureRefused),
            (format!("{header}.{claims}"), TokenError::NotThreeParts),
            (format!("{header}.{signature}"), TokenError::NotThreeParts),
            (format!("{claims}.{signature}"), TokenError::NotThreeParts),
            (claims.to_owned(), TokenError::NotThreeParts),
            (String::new(), TokenError::NotThreeParts),
            (format!("{token}."), TokenError::NotThreeParts),
            (format!("{token}.foo"), TokenError::NotThreeParts),
        ] {
            assert_eq!(outcome(&authenticator, &changed), Err(expected), "{algorithm}: {changed}");
        }
        for headless in [format!(".{claims}.{signature}"), format!(".{claims}.")] {
            assert!(matches!(outcome(&authenticator, &headless), Err(TokenError::NotJson(Part::Header, _))));
        }
        // `rejectsValidJsonSerialization`, general and flattened (RFC 7515 §7.2).
        let flat = json!({ "payload": claims, "protected": header, "signature": signature });
        let general = json!({
            "payload": claims,
            "signatures": [{ "protected": header, "header": { "unknown": "untrustworthy" }, "signature": signature }]
        });
        for text in [flat.to_string(), general.to_string()] {
            assert!(outcome(&authenticator, &text).is_err(), "{text}");
        }
    }
}

/// `rejectsInvalidBase64Padding` and its like: the same bytes in another spelling.
#[test]
fn a19_signatures_have_one_spelling_in_base64() {
    for algorithm in Algorithm::ALL {
        let authenticator = fixed(algorithm);
        let token = issued(algorithm, Some("kid-sign"));
        let (signed, signature) = token.rsplit_once('.').unwrap();
        for spelling in [
            format!("{signature}="),
            format!("{signature}=="),
            format!("{signature}\n"),
            format!("{signature}%3D"),
            format!(" {signature}"),
            format!("{}\r\n{}", &signature[..16], &signature[16..]),
            format!("{signature}A"),
            format!("{}+{}", &signature[..8], &signature[9..]),
            format!("{}/{}", &signature[..8], &signature[9..]),
        ] {
            let refused = outcome(&authenticator, &format!("{signed}.{spelling}"));
            let is_refused =
                matches!(refused, Err(TokenError::NotBase64(Part::Signature) | TokenError::SignatureRefused));
            // One more character may complete a group of four, and is another signature then.
            let is_longer = spelling.ends_with('A');
            assert!(
                is_refused && (is_longer || refused != Err(TokenError::SignatureRefused)),
                "{spelling:?}"
            );
        }
    }
}

/// The truncated codes of `hmac_sha256_test` and its like ("truncated tag"), and codes of another hash.
#[test]
fn a02_codes_are_compared_whole() {
    for algorithm in [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
        let authenticator = fixed(algorithm);
        let signed = signed_part(&json!({ "alg": algorithm.name() }).to_string());
        let secret = SigningKey::secret(&Secret::new(LONG_SECRET));
        let code = secret.sign(algorithm, signed.as_bytes()).unwrap();
        let refused = |code: &[u8]| {
            let token = with_signature(&signed, code);
            assert_eq!(outcome(&authenticator, &token), Err(TokenError::SignatureRefused), "{algorithm}");
        };
        assert!(outcome(&authenticator, &with_signature(&signed, &code)).is_ok());
        for length in 0..code.len() {
            refused(&code[..length]);
        }
        refused(&[code.as_slice(), &[0]].concat());
        for other in algorithm.key_kind().algorithms().filter(|other| *other != algorithm) {
            let other = secret.sign(other, signed.as_bytes()).unwrap();
            refused(&other);
            refused(&other[..other.len().min(code.len())]);
        }
        for short in [&LONG_SECRET[..63], b"", b"\0"] {
            refused(&SigningKey::secret(&Secret::new(short)).sign(algorithm, signed.as_bytes()).unwrap());
        }
    }
}

/// `WrongPrimitive`: PS256 for a key of RS256 and back, another hash, another curve; by name, in fact, or both.
#[test]
fn a02_a_signature_of_another_primitive_is_refused() {
    for algorithm in public_algorithms() {
        let authenticator = fixed(algorithm);
        for other in public_algorithms().into_iter().filter(|other| *other != algorithm) {
            let by_name = json!({ "alg": other.name(), "kid": "kid-sign" }).to_string();
            let in_fact = json!({ "alg": algorithm.name(), "kid": "kid-sign" }).to_string();
            for (header, expected) in
                [(by_name, TokenError::AlgorithmRefused), (in_fact, TokenError::SignatureRefused)]
            {
                let token = token_with_header(&signing(other), other, &header);
                assert_eq!(outcome(&authenticator, &token), Err(expected), "{algorithm} {other}");
            }
        }
        let renamed = json!({ "alg": "ES512", "kid": "kid-sign" }).to_string();
        let token = token_with_header(&signing(algorithm), algorithm, &renamed);
        assert_eq!(outcome(&authenticator, &token), Err(TokenError::AlgorithmRefused));
    }
}

/// `json_web_key_test`: keys whose `alg`, `use` or `key_ops` say that they do not sign, alone in their set.
#[test]
fn a02_a_key_that_is_not_to_verify_verifies_nothing() {
    for algorithm in public_algorithms() {
        let pair = pair(algorithm.key_kind());
        for changes in [
            json!({ "use": "enc" }),
            json!({ "key_ops": ["sign"] }),
            json!({ "key_ops": ["encrypt"] }),
            json!({ "use": "enc", "key_ops": ["verify"] }),
            json!({ "alg": "HS256" }),
            json!({ "alg": "none" }),
            json!({ "alg": "RSA1_5" }),
            json!({ "alg": if algorithm == Algorithm::Es256 { "ES384" } else { "ES256" }, "use": "enc" }),
        ] {
            let set = json!({ "keys": [pair.jwk_with(&changes)] }).to_string();
            assert_eq!(jwks::parse(set.as_bytes()).unwrap_err(), jwks::JwksError::NoKey, "{changes}");
        }
    }
}

/// RFC 8017 §9.2: what EMSA-PKCS1-v1_5 puts before a SHA-256.
const DIGEST_INFO: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20];

/// The modulus and the private exponent of our RSA key (RFC 8017 §A.1.2).
struct RawRsa {
    modulus: BigUint,
    exponent: BigUint,
}

impl RawRsa {
    fn ours() -> Self {
        // Behind the wrapping of PKCS#8 and the header of the sequence: version, n, e, d.
        let mut rest = &pair(KeyKind::Rsa).private_der[30..];
        let mut integers = Vec::new();
        while integers.len() < 4 {
            assert_eq!(rest[0], 2, "an integer");
            let (length, content) = match rest[1] {
                0x82 => (usize::from(rest[2]) << 8 | usize::from(rest[3]), &rest[4..]),
                short => (usize::from(short), &rest[2..]),
            };
            integers.push(BigUint::from_bytes_be(&content[..length]));
            rest = &content[length..];
        }
        let exponent = integers.pop().unwrap();
        Self { modulus: integers.swap_remove(1), exponent }
    }

    /// A signature that opens to exactly these bytes, whatever they are.
    fn sign(&self, encoded: &[u8]) -> Vec<u8> {
        let signature = BigUint::from_bytes_be(encoded).modpow(&self.exponent, &self.modulus).to_bytes_be();
        [vec![0; 256 - signature.len()], signature].concat()
    }
}

/// `ModifiedPadding`, as forgeries with small exponents need it: all of the padding is checked, to the last byte.
#[test]
fn a07_rsa_padding_has_one_form() {
    let raw = RawRsa::ours();
    let authenticator = fixed(Algorithm::Rs256);
    let signed = signed_part(&json!({ "alg": "RS256", "kid": "kid-sign" }).to_string());
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, signed.as_bytes()).as_ref().to_vec();
    let hash = hash.as_slice();
    let verify =
        |encoded: &[u8]| outcome(&authenticator, &with_signature(&signed, &raw.sign(encoded))).map(|_| ());
    // 0, the block type, the filling, 0, and what is signed; 256 bytes in all.
    let padded = |block_type: u8, filling: u8, content: &[u8]| {
        let mut encoded = vec![filling; 256 - content.len()];
        encoded[..2].copy_from_slice(&[0, block_type]);
        encoded[255 - content.len()] = 0;
        [encoded.as_slice(), content].concat()
    };
    let right = [DIGEST_INFO.as_slice(), hash].concat();
    assert_eq!(verify(&padded(1, 0xff, &right)), Ok(()), "the one right form");

    let info = |prefix: &[u8]| [prefix, hash].concat();
    let with_byte = |place: usize, byte: u8| {
        let mut prefix = DIGEST_INFO;
        prefix[place] = byte;
        info(&prefix)
    };
    let garbage = padded(1, 0xff, &[right.as_slice(), &[0xaa; 100]].concat());
    let mut short_filling = vec![0, 1, 0xff, 0];
    short_filling.extend(&right);
    short_filling.resize(256, 0xaa);
    let mut other_filling = padded(1, 0xff, &right);
    other_filling[100] = 0xfe;
    let mut longer_zero = padded(1, 0xff, &right);
    longer_zero[203] = 0;
    for (why, encoded) in [
        ("block type 2", padded(2, 0xff, &right)),
        ("block type 0", padded(0, 0, &right)),
        ("filling of zeros", padded(1, 0, &right)),
        ("a byte of the filling changed", other_filling),
        ("the filling ends early", longer_zero),
        ("garbage behind the hash", garbage),
        ("little filling and much garbage", short_filling),
        ("no padding at all", [vec![0; 256 - 32], hash.to_vec()].concat()),
        ("no digest info", padded(1, 0xff, hash)),
        ("another hash named", padded(1, 0xff, &with_byte(14, 2))),
        (
            "SHA-1 named",
            padded(1, 0xff, &info(&[0x30, 0x21, 0x30, 9, 6, 5, 43, 14, 3, 2, 26, 5, 0, 4, 0x14])),
        ),
        (
            "no parameters",
            padded(
                1,
                0xff,
                &info(&[0x30, 0x2f, 0x30, 0x0b, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 4, 0x20]),
            ),
        ),
        (
            "long form of a length",
            padded(
                1,
                0xff,
                &info(&[
                    0x30, 0x81, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20,
                ]),
            ),
        ),
        (
            "indefinite length",
            padded(
                1,
                0xff,
                &[
                    &[0x30, 0x80, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20],
                    hash,
                    &[0, 0],
                ]
                .concat(),
            ),
        ),
        ("a tag changed", padded(1, 0xff, &with_byte(15, 0x45))),
        ("an octet string one byte longer", padded(1, 0xff, &with_byte(18, 0x21))),
        ("a hash cut short", padded(1, 0xff, &right[..right.len() - 1])),
        ("nothing", vec![0; 256]),
    ] {
        assert_eq!(encoded.len(), 256, "{why}");
        assert_eq!(verify(&encoded), Err(TokenError::SignatureRefused), "{why}");
    }

    // Numbers that need no key: 0, 1, the modulus and its neighbours; and a right signature plus the modulus.
    let modulus = raw.modulus.to_bytes_be();
    let less_one = (&raw.modulus - 1_u32).to_bytes_be();
    let more_one = (&raw.modulus + 1_u32).to_bytes_be();
    let signature = BigUint::from_bytes_be(&raw.sign(&padded(1, 0xff, &right)));
    let one = [vec![0; 255], vec![1]].concat();
    for number in [vec![0; 256], one, modulus, less_one, more_one, (signature + &raw.modulus).to_bytes_be()] {
        let token = with_signature(&signed, &number);
        assert_eq!(outcome(&authenticator, &token), Err(TokenError::SignatureRefused));
    }
}

/// `rsa_pss_*_test`: the salt is as long as the hash (RFC 7518 §3.5), and a signature opens to its own padding alone.
#[test]
fn a07_pss_padding_has_one_form() {
    let raw = RawRsa::ours();
    let authenticator = fixed(Algorithm::Ps256);
    let signed = signed_part(&json!({ "alg": "PS256", "kid": "kid-sign" }).to_string());
    let verify =
        |encoded: &[u8]| outcome(&authenticator, &with_signature(&signed, &raw.sign(encoded))).map(|_| ());
    let hash = |bytes: &[u8]| aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().to_vec();
    // RFC 8017 §9.1.1 and §B.2.1; the top bit is cleared, since the modulus has 2048 bits.
    let encoded = |salt: &[u8], trailer: u8, filler: u8, separator: u8| {
        let h = hash(&[&[0; 8], hash(signed.as_bytes()).as_slice(), salt].concat());
        let mut block = vec![filler; 255 - 32 - salt.len() - 1];
        block.push(separator);
        block.extend(salt);
        let mask = (0_u32..).flat_map(|counter| hash(&[h.as_slice(), &counter.to_be_bytes()].concat()));
        block.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        block[0] &= 0x7f;
        [block.as_slice(), &h, &[trailer]].concat()
    };
    assert_eq!(verify(&encoded(&[7; 32], 0xbc, 0, 1)), Ok(()), "the one right form");
    for length in [0, 1, 20, 31, 33, 48, 64, 222] {
        let other = encoded(&vec![7; length], 0xbc, 0, 1);
        assert_eq!(verify(&other), Err(TokenError::SignatureRefused), "a salt of {length} bytes");
    }
    for (trailer, filler, separator) in [(0xcc, 0, 1), (0, 0, 1), (0xbc, 1, 1), (0xbc, 0, 0), (0xbc, 0, 2)] {
        let other = encoded(&[7; 32], trailer, filler, separator);
        assert_eq!(verify(&other), Err(TokenError::SignatureRefused), "{trailer} {filler} {separator}");
    }
    let mut top_bit = encoded(&[7; 32], 0xbc, 0, 1);
    top_bit[0] |= 0x80;
    assert_eq!(verify(&top_bit), Err(TokenError::SignatureRefused));
}
