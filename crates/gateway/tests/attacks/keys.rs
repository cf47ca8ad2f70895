//! A: public keys, from their files to the answers. Tokens that nobody with the private key has made never get in, and
//! nothing that they point to is fetched.

use std::io::ErrorKind;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use drawgate::auth::token::sign_hs256;
use drawgate::auth::{Algorithm, SigningKey};
use drawgate::clock::Clock;
use drawgate::reason::Reason;
use drawgate::secret::Secret;
use rcgen::{KeyPair, PublicKeyData as _};
use serde_json::{Map, Value, json};

use crate::support::{Case, Frame, echo, request};

/// A gateway that verifies with our public key, from a file of either kind.
struct Keys {
    folder: tempfile::TempDir,
    signing: SigningKey,
    public_pem: String,
}

impl Keys {
    fn new() -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("issuer.pem"), pair.public_key_pem()).unwrap();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let point = pair.der_bytes();
        let key = json!({
            "kty": "EC", "crv": "P-256", "kid": "ours", "x": encode(&point[1..33]), "y": encode(&point[33..])
        });
        std::fs::write(folder.path().join("jwks.json"), json!({ "keys": [key] }).to_string()).unwrap();
        let signing = SigningKey::from_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self { folder, signing, public_pem: pair.public_key_pem() }
    }

    async fn start(&self, source: &str, file: &str) -> Case {
        let more = format!(
            r#"
            [routes.token]
            listeners = ["main"]
            path = "/token"
            origins = "any"
            auth = "users"
            backend = "echo"
            [auth.users]
            credentials = ["authorization_header"]
            algorithms = ["ES256"]
            keys = {{ {source} = {:?} }}
            issuer = "any"
            audience = "any"
            "#,
            self.folder.path().join(file)
        );
        Case::start(&echo("", &more)).await
    }

    /// A token with these members of the header besides, rightly signed.
    fn token(&self, more: &Value) -> String {
        let mut header = json!({ "alg": "ES256" });
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
        let claims = Value::Object(claims()).to_string();
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims));
        let signature = self.signing.sign(Algorithm::Es256, signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn claims() -> Map<String, Value> {
    let exp = Clock::system().unix_now().seconds() + 60;
    json!({ "sub": "alice", "exp": exp }).as_object().unwrap().clone()
}

const SOURCES: [(&str, &str); 2] = [("public_key_file", "issuer.pem"), ("jwks_file", "jwks.json")];

#[tokio::test]
async fn a_token_gets_in_by_a_public_key_from_either_kind_of_file() {
    let keys = Keys::new();
    for (source, file) in SOURCES {
        let case = keys.start(source, file).await;
        for token in [keys.token(&json!({})), keys.token(&json!({ "kid": "ours", "typ": "at+jwt" }))] {
            let mut raw = case.connect().await;
            raw.send(request("/token", &format!("Authorization: Bearer {token}\r\n")).as_bytes()).await;
            let head = raw.read_head().await;
            assert!(head.starts_with("HTTP/1.1 101 "), "{source}: {head}");
            raw.send_frame(0x81, b"hello").await;
            assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"hello"));
        }
    }
}

#[tokio::test]
async fn a02_a03_a04_a05_a07_forged_tokens_are_refused_alike_and_nothing_is_fetched() {
    let trap = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let url = format!("http://{}/keys", trap.local_addr().unwrap());
    let keys = Keys::new();
    let stranger = Keys::new();
    let good = keys.token(&json!({}));
    let signed = good.rsplit_once('.').unwrap().0;
    let mut answers = Vec::new();
    for (source, file) in SOURCES {
        let unknown_key =
            if source == "jwks_file" { keys.token(&json!({ "kid": url })) } else { good.clone() + "A" };
        for forged in [
            sign_hs256(&Secret::new(keys.public_pem.as_bytes()), &claims()),
            stranger.token(&json!({})),
            stranger.token(&json!({ "jwk": { "kty": "EC" } })),
            keys.token(&json!({ "jku": url })),
            keys.token(&json!({ "x5u": url })),
            stranger.token(&json!({ "kid": "../../../../dev/null" })),
            unknown_key,
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
        ] {
            let mut case = keys.start(source, file).await;
            let lines = format!("Authorization: Bearer {forged}\r\n");
            let mut raw = case.connect().await;
            raw.send(request("/token", &lines).as_bytes()).await;
            let response = raw.expect_refusal(Reason::TokenInvalid).await;
            case.refused(Reason::TokenInvalid, lines.as_bytes()).await;
            answers.push((response.head, response.body));
        }
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(trap.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "somebody connected");
}
