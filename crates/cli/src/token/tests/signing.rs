//! Issuing with private keys, and inspecting with the public ones.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use drawgate::auth::{Algorithm, KeySet, Keys, VerifyingKey};

use super::*;

/// A folder with a key pair of each kind that has a public half: `KIND.private.pem` and `KIND.public.pem`.
fn key_folder() -> tempfile::TempDir {
    let folder = data_folder();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    for (name, pair) in [
        ("rsa", rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)),
        ("p256", rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)),
        ("p384", rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384)),
        ("ed25519", rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)),
    ] {
        let pair = pair.unwrap();
        write(&format!("{name}.private.pem"), pair.serialize_pem());
        write(&format!("{name}.public.pem"), pair.public_key_pem());
    }
    folder
}

/// The rules of the demo, with this public key instead of its secret.
fn public_rules(folder: &Path, kind: &str, algorithms: &[Algorithm]) -> auth::Config {
    let pem = std::fs::read(folder.join(format!("{kind}.public.pem"))).unwrap();
    let set = KeySet::of(VerifyingKey::from_pem(&pem).unwrap());
    auth::Config {
        algorithms: algorithms.to_vec(),
        keys: Keys::Set(Arc::new(set)),
        ..choose(demo_config(folder).unwrap().auth, None).unwrap()
    }
}

#[test]
fn a14_a_token_issued_for_a_gateway_has_the_type_that_it_demands() {
    let folder = key_folder();
    let types = ["at+jwt", "JWT"].map(|name| name.parse().unwrap());
    let rules = public_rules(folder.path(), "ed25519", &[Algorithm::EdDsa]);
    let tables = [("users", auth::Config { token_types: Some(types.to_vec()), ..rules })];
    let file = folder.path().join("ed25519.private.pem");
    let words =
        ["issue", "--subject", "bob", "--config", "g.toml", "--private-key-file", file.to_str().unwrap()];
    let issued = run_with(&words, None, "", &tables);
    assert_eq!((issued.result.unwrap(), &*issued.stderr), (Outcome::Done, ""));
    let header = auth::token::read_unverified(issued.stdout.trim_end().as_bytes()).unwrap().header;
    assert_eq!(header["typ"], "at+jwt");
}

#[test]
fn tokens_are_issued_with_private_keys_and_inspected_with_the_public_ones() {
    let folder = key_folder();
    for (kind, algorithms) in [
        ("rsa", &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..]),
        ("p256", &["ES256"]),
        ("p384", &["ES384"]),
        ("ed25519", &["EdDSA"]),
    ] {
        let named: Vec<Algorithm> = algorithms.iter().map(|name| Algorithm::named(name).unwrap()).collect();
        let tables = [("users", public_rules(folder.path(), kind, &named))];
        let file = folder.path().join(format!("{kind}.private.pem"));
        let words =
            ["issue", "--subject", "bob", "--config", "g.toml", "--private-key-file", file.to_str().unwrap()];
        for name in algorithms {
            let more = ["--algorithm", name, "--key-id", "2026-11"];
            let issued = run_with(&[&words[..], &more].concat(), None, "", &tables);
            assert_eq!((issued.result.unwrap(), &*issued.stderr), (Outcome::Done, ""), "{name}");
            let header = auth::token::read_unverified(issued.stdout.trim_end().as_bytes()).unwrap().header;
            assert_eq!(header, object(&json!({ "alg": name, "typ": "JWT", "kid": "2026-11" })));
            let inspected = run_with(&["inspect", "--config", "g.toml"], None, &issued.stdout, &tables);
            assert_eq!(inspected.result.unwrap(), Outcome::Done, "{}", inspected.stdout);
            assert!(
                inspected.stdout.contains("kid  \"2026-11\"  the name of the key"),
                "{}",
                inspected.stdout
            );
        }
        // Left out, the algorithm is the first that the configuration lists.
        let issued = run_with(&words, None, "", &tables).stdout;
        let header = auth::token::read_unverified(issued.trim_end().as_bytes()).unwrap().header;
        assert_eq!((header["alg"].as_str(), header.get("kid")), (Some(algorithms[0]), None));
    }
}

#[test]
fn what_cannot_sign_is_said_with_what_to_do() {
    let folder = key_folder();
    let tables = [("users", public_rules(folder.path(), "p256", &[Algorithm::Es256]))];
    let issue = |words: &[&str]| {
        let words = [&["issue", "--subject", "bob", "--config", "g.toml"], words].concat();
        let ran = run_with(&words, None, "", &tables);
        assert_eq!(ran.stdout, "");
        ran.result.unwrap_err().to_string()
    };
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    assert!(issue(&[]).contains("name the private one with `--private-key-file FILE`"));
    let unfit = issue(&["--private-key-file", &file("p256.private.pem"), "--algorithm", "RS256"]);
    assert_eq!(unfit, "the token cannot be signed: a P-256 key cannot sign by RS256");
    let public = issue(&["--private-key-file", &file("p256.public.pem")]);
    assert!(public.contains("no private key in PEM (`-----BEGIN PRIVATE KEY-----`)"), "{public}");
    assert!(issue(&["--private-key-file", &file("absent.pem")]).contains("absent.pem cannot be read"));
    for words in [
        &["issue", "--subject", "a", "--private-key-file", "k.pem"][..],
        &["issue", "--subject", "a", "--algorithm", "none"],
        &["issue", "--subject", "a", "--algorithm", "es256"],
    ] {
        assert!(Program::try_parse_from(["token"].iter().chain(words)).is_err(), "{words:?}");
    }
}

#[test]
fn another_key_than_the_gateway_has_signs_with_a_note() {
    let folder = key_folder();
    let tables = [("users", public_rules(folder.path(), "p256", &[Algorithm::Es256]))];
    let file = folder.path().join("ed25519.private.pem");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let words =
        ["issue", "--subject", "a", "--config", "g.toml", "--private-key-file", file.to_str().unwrap()];
    let issued = run_with(&words, None, "", &tables);
    assert_eq!(issued.stdout.lines().count(), 1);
    let (warning, note) = issued.stderr.split_once('\n').unwrap();
    assert!(warning.starts_with("warning: others on this machine can get at the key"), "{warning}");
    assert_eq!(
        note,
        "note: the gateway will refuse this token: the header's alg is not what the key is for\n"
    );
    let key = std::fs::read_to_string(&file).unwrap();
    assert!(!issued.stderr.contains(key.lines().nth(1).unwrap()));
}

#[test]
fn secrets_sign_by_the_longer_hashes_too() {
    let folder = data_folder();
    let rules = choose(demo_config(folder.path()).unwrap().auth, None).unwrap();
    for name in ["HS384", "HS512"] {
        let algorithms = vec![Algorithm::named(name).unwrap()];
        let tables = [("users", auth::Config { algorithms, ..rules.clone() })];
        let issued = run_with(&["issue", "--subject", "a", "--config", "g.toml"], None, "", &tables);
        assert_eq!((issued.result.unwrap(), &*issued.stderr), (Outcome::Done, ""));
        let header = auth::token::read_unverified(issued.stdout.trim_end().as_bytes()).unwrap().header;
        assert_eq!(header["alg"], name);
    }
}
