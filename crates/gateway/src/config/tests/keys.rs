//! Where keys come from, and whether the algorithms are such as they can be used with.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};

use super::*;
use crate::auth::Keys;

/// A configuration with these algorithms and keys, and everything else of it right.
fn with_keys(algorithms: &str, keys: &str) -> String {
    format!(
        "{}\n[auth.users]\ncredentials = [\"first_message\"]\nissuer = \"any\"\naudience = \"any\"\n\
         algorithms = {algorithms}\nkeys = {{ {keys} }}\n",
        LEAST.replace("\"none\"\nbackend", "\"users\"\nbackend")
    )
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = secret_folder(SECRET);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        fs::write(folder.path().join("public.pem"), key.public_key_pem()).unwrap();
        fs::write(folder.path().join("private.pem"), key.serialize_pem()).unwrap();
        let both = format!("{}{}", key.public_key_pem(), key.serialize_pem());
        fs::write(folder.path().join("both.pem"), both).unwrap();
        fs::write(folder.path().join("two.pem"), key.public_key_pem().repeat(2)).unwrap();
        fs::write(folder.path().join("jwks.json"), jwks("")).unwrap();
        fs::write(folder.path().join("private.json"), jwks(r#","d":"AAAA""#)).unwrap();
        fs::write(folder.path().join("empty.json"), r#"{"keys":[]}"#).unwrap();
        fs::write(folder.path().join("long.json"), format!("{}{}", jwks(""), " ".repeat(64 * 1024))).unwrap();
        Self(folder)
    }

    fn read(&self, algorithms: &str, keys: &str) -> Result<Config, Problems> {
        Config::from_toml(&with_keys(algorithms, keys), self.0.path(), &no_environment)
    }

    fn problem(&self, algorithms: &str, keys: &str) -> Problem {
        let problems = self.read(algorithms, keys).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems}");
        problems.iter().next().unwrap().clone()
    }
}

fn jwks(more: &str) -> String {
    let key = Ed25519KeyPair::generate().unwrap();
    let x = URL_SAFE_NO_PAD.encode(key.public_key());
    format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"2026-11","x":"{x}"{more}}}]}}"#)
}

#[test]
fn keys_are_read_from_each_kind_of_file() {
    let folder = Folder::new();
    for (algorithms, keys) in [
        ("[\"ES256\"]", "public_key_file = \"public.pem\""),
        ("[\"EdDSA\"]", "jwks_file = \"jwks.json\""),
        ("[\"Ed25519\"]", "jwks_file = \"jwks.json\""),
        // An issuer that changes its algorithm publishes keys for both, one after the other.
        ("[\"ES256\", \"EdDSA\"]", "jwks_file = \"jwks.json\""),
    ] {
        let config = folder.read(algorithms, keys).unwrap();
        assert_eq!(config.warnings, Vec::<String>::new());
        let (Keys::Set(set) | Keys::File(_, set)) = &config.auth["users"].keys else {
            panic!("{keys} gives no set")
        };
        assert_eq!(set.keys().len(), 1, "{keys}");
        assert!(
            config.auth["users"].algorithms.iter().any(|algorithm| set.has_key_for(*algorithm)),
            "{keys}"
        );
    }
    let config = folder.read("[\"HS256\"]", "secret_file = \"token.secret\"").unwrap();
    assert!(config.auth["users"].keys.secret().is_some());
}

#[test]
fn one_source_of_keys_is_named_and_no_more() {
    let folder = Folder::new();
    let none = folder.problem("[\"ES256\"]", "");
    assert_eq!((none.kind, none.key.as_str()), (ProblemKind::Missing, "auth.users.keys"));
    for keys in [
        "secret_file = \"token.secret\", public_key_file = \"public.pem\"",
        "public_key_file = \"public.pem\", jwks_file = \"jwks.json\"",
        "secret_file = \"token.secret\", public_key_file = \"public.pem\", jwks_file = \"jwks.json\"",
    ] {
        let problem = folder.problem("[\"ES256\"]", keys);
        assert_eq!((problem.kind, problem.key.as_str()), (ProblemKind::NotAllowed, "auth.users.keys"));
        assert!(problem.wrong.contains("several"), "{problem}");
    }
}

#[test]
fn a02_an_algorithm_that_the_key_is_not_for_is_refused_with_what_to_write() {
    let folder = Folder::new();
    for (algorithms, keys, element, advice) in [
        ("[\"ES256\"]", "secret_file = \"token.secret\"", 0, "HS256"),
        ("[\"HS256\"]", "public_key_file = \"public.pem\"", 0, "ES256"),
        ("[\"ES256\", \"HS256\"]", "public_key_file = \"public.pem\"", 1, "secret_file"),
        ("[\"HS512\"]", "jwks_file = \"jwks.json\"", 0, "secret_file"),
        ("[\"RS256\"]", "public_key_file = \"public.pem\"", 0, "\"ES256\""),
        ("[\"ES256\", \"ES384\"]", "public_key_file = \"public.pem\"", 1, "\"ES256\""),
    ] {
        let problem = folder.problem(algorithms, keys);
        let key = format!("auth.users.algorithms[{element}]");
        assert_eq!((problem.kind, problem.key.as_str()), (ProblemKind::NotAllowed, &*key), "{problem}");
        assert!(problem.advice.contains(advice), "{problem}");
    }
    let none = folder.problem("[\"ES256\", \"RS256\"]", "jwks_file = \"jwks.json\"");
    assert_eq!((none.kind, none.key.as_str()), (ProblemKind::NotAllowed, "auth.users.keys.jwks_file"));
    assert!(none.advice.contains("\"EdDSA\""), "{none}");
    // Two names of one algorithm.
    let twice = folder.problem("[\"EdDSA\", \"Ed25519\"]", "jwks_file = \"jwks.json\"");
    assert_eq!(
        (twice.key.as_str(), twice.kind),
        ("auth.users.algorithms[1]", ProblemKind::Duplicate),
        "{twice}"
    );
}

#[test]
fn a15_a_secret_shorter_than_the_hash_is_refused() {
    for (length, algorithm, is_allowed) in [
        (32, "HS256", true),
        (47, "HS384", false),
        (48, "HS384", true),
        (63, "HS512", false),
        (64, "HS512", true),
    ] {
        let text = with_keys(&format!("[\"{algorithm}\"]"), "secret_file = \"token.secret\"");
        match read_with_secret(&text, &"k".repeat(length)) {
            Ok(_) => assert!(is_allowed, "{length} {algorithm}"),
            Err(problems) => {
                assert!(!is_allowed, "{problems}");
                let problem = problems.iter().next().unwrap();
                assert_eq!(problem.key, "auth.users.algorithms[0]");
                assert!(problem.wrong.contains(&(length + 1).to_string()), "{problem}");
            }
        }
    }
}

#[test]
fn files_that_are_no_public_keys_are_refused_and_nothing_of_them_is_shown() {
    let folder = Folder::new();
    let short = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    fs::write(folder.0.path().join("rsa.pem"), short.public_key_pem()).unwrap();
    for (source, file, wrong) in [
        ("public_key_file", "private.pem", "private key"),
        ("public_key_file", "both.pem", "private key"),
        ("public_key_file", "two.pem", "more than one"),
        ("public_key_file", "cert.pem", "certificate"),
        ("public_key_file", "token.secret", "no public key"),
        ("public_key_file", "jwks.json", "no public key"),
        ("public_key_file", "absent.pem", "cannot be read"),
        ("public_key_file", "long.json", "too long"),
        ("public_key_file", ".", "no plain file"),
        ("jwks_file", "public.pem", "not strict JSON"),
        ("jwks_file", "private.json", "private key"),
        ("jwks_file", "empty.json", "no key that can verify"),
        ("jwks_file", "long.json", "too long"),
        ("jwks_file", "absent.json", "cannot be read"),
    ] {
        let algorithms = if source == "jwks_file" { "[\"EdDSA\"]" } else { "[\"ES256\"]" };
        let problem = folder.problem(algorithms, &format!("{source} = \"{file}\""));
        let key = format!("auth.users.keys.{source}");
        assert_eq!((problem.kind, problem.key.as_str()), (ProblemKind::File, &*key), "{problem}");
        assert!(problem.wrong.contains(wrong), "{problem}");
        assert!(!problem.to_string().contains("MIGH") && !problem.to_string().contains(SECRET), "{problem}");
    }
    assert!(folder.read("[\"PS256\"]", "public_key_file = \"rsa.pem\"").is_ok());
}

#[test]
fn o19_keys_written_where_their_files_belong_are_never_printed() {
    let folder = Folder::new();
    let private = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
    let inline = format!("public_key_file = '''{private}'''");
    let secret_line = private.lines().nth(1).unwrap();
    assert!(!folder.problem("[\"ES256\"]", &inline).to_string().contains(secret_line));
    let inline = r#"jwks_file = '{"keys":[{"kty":"OKP","d":"hunter2.hunter2"}]}'"#;
    assert!(!folder.problem("[\"EdDSA\"]", inline).to_string().contains("hunter2"));
}

#[test]
fn keys_are_named_by_an_address_or_by_their_issuer() {
    let folder = Folder::new();
    fs::write(folder.0.path().join("ca.pem"), authority()).unwrap();
    let config = folder.read("[\"ES256\"]", "jwks_url = \"https://issuer.example/jwks?a=secret\"").unwrap();
    let Keys::Remote(remote) = &config.auth["users"].keys else { panic!("it is fetched") };
    assert_eq!(remote.location.url().to_string(), "https://issuer.example/jwks");
    assert_eq!(remote.authorities_file, None);
    assert_eq!((remote.refresh_interval.as_secs(), remote.stale_max.as_secs()), (300, 3600));
    let keys = "jwks_url = \"https://[::1]\", jwks_ca_file = \"ca.pem\", refresh_interval = \"10s\", stale_max = \"1m\"";
    let config = folder.read("[\"ES256\"]", keys).unwrap();
    let Keys::Remote(remote) = &config.auth["users"].keys else { panic!("it is fetched") };
    assert_eq!(remote.authorities_file, Some(folder.0.path().join("ca.pem")));
    assert_eq!((remote.refresh_interval.as_secs(), remote.stale_max.as_secs()), (10, 60));
    let discovered = |issuer: &str| {
        let text = with_keys("[\"ES256\"]", "issuer_discovery = true");
        read(&text.replace("issuer = \"any\"", &format!("issuer = \"{issuer}\"")))
    };
    let config = discovered("https://issuer.example/tenant/").unwrap();
    let Keys::Remote(remote) = &config.auth["users"].keys else { panic!("it is fetched") };
    let document = "https://issuer.example/tenant/.well-known/openid-configuration";
    assert_eq!(remote.location.url().to_string(), document);
    for issuer in ["any", "issuer.example", "http://issuer.example", "https://issuer.example/?a"] {
        let problems = discovered(issuer).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems}");
        let problem = problems.iter().next().unwrap();
        assert_eq!(
            (problem.kind, &*problem.key),
            (ProblemKind::NotAllowed, "auth.users.keys.issuer_discovery")
        );
    }
}

#[test]
fn a33_an_address_that_must_not_be_asked_is_refused_here_already() {
    let folder = Folder::new();
    for (keys, key, kind) in [
        ("jwks_url = \"http://issuer.example/jwks\"", "jwks_url", ProblemKind::NotAllowed),
        ("jwks_url = \"http://10.0.0.1/jwks\"", "jwks_url", ProblemKind::NotAllowed),
        ("jwks_url = \"https://me:hunter2@issuer.example\"", "jwks_url", ProblemKind::NotAllowed),
        ("jwks_url = \"https://issuer.example/#a\"", "jwks_url", ProblemKind::NotAllowed),
        ("jwks_url = \"\"", "jwks_url", ProblemKind::NotAllowed),
        ("jwks_url = 7", "jwks_url", ProblemKind::WrongType),
        ("issuer_discovery = false", "issuer_discovery", ProblemKind::NotAllowed),
        ("issuer_discovery = \"yes\"", "issuer_discovery", ProblemKind::WrongType),
        ("jwks_url = \"https://a.example\", jwks_ca_file = \"none.pem\"", "jwks_ca_file", ProblemKind::File),
        ("jwks_url = \"https://a.example\", jwks_ca_file = \"jwks.json\"", "jwks_ca_file", ProblemKind::File),
        ("jwks_url = \"https://a.example\", stale_max = \"5m\"", "stale_max", ProblemKind::NotAllowed),
        ("jwks_url = \"https://a.example\", refresh_interval = \"2h\"", "keys", ProblemKind::NotAllowed),
        ("jwks_file = \"jwks.json\", stale_max = \"1h\"", "stale_max", ProblemKind::UnknownKey),
    ] {
        let algorithm = if keys.contains("jwks_file") { "[\"EdDSA\"]" } else { "[\"ES256\"]" };
        let problem = folder.problem(algorithm, keys);
        assert_eq!((problem.kind, problem.key.rsplit('.').next()), (kind, Some(key)), "{keys}: {problem}");
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }
    let problem = folder.problem("[\"HS256\"]", "jwks_url = \"https://a.example\"");
    assert_eq!(problem.kind, ProblemKind::NotAllowed, "{problem}");
}

fn authority() -> String {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}
