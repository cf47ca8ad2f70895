//! The admin listener with TLS, as it has to be beyond loopback.

use std::sync::Arc;
use std::time::Duration;

use drawgate::observe::Observer;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::{Gate, secret_of};

#[tokio::test]
async fn r23_beyond_loopback_everything_is_encrypted_and_metrics_need_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let [certificate_file, key_file] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&certificate_file, made.cert.pem()).unwrap();
    std::fs::write(&key_file, made.signing_key.serialize_pem()).unwrap();
    let lines = format!(
        "tokens.all = {{ file = \"all.token\", scopes = [\"read\"] }}\nhosts = [\"admin.example.com\"]\n\
         tls = {{ certificate_file = {certificate_file:?}, private_key_file = {key_file:?} }}"
    );
    let gate = Gate::start_at("0.0.0.0:0", &lines).await;
    let port = gate.admin.port();
    let token = format!("Authorization: Bearer {}\r\n", secret_of("all"));
    let ask = async |path: &str, host: &str, more: &str| {
        let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector(made.cert.der()).connect(name, socket).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(Duration::from_secs(3), stream.read_to_end(&mut answer)).await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    let own = format!("127.0.0.1:{port}");
    for (path, host, more, status) in [
        ("/healthz", &*own, "", "200"),
        ("/metrics", "admin.example.com", "", "401"),
        ("/metrics", "admin.example.com", &*token, "200"),
        ("/v1/sessions", &*own, &*token, "200"),
        ("/v1/sessions", &*own, "", "401"),
        ("/v1/sessions", "other.example.com", &*token, "421"),
        ("/healthz", &*own, &*format!("Origin: https://{own}\r\n"), "200"),
        ("/healthz", &*own, &*format!("Origin: http://{own}\r\n"), "403"),
    ] {
        let answer = ask(path, host, more).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {host}: {answer}");
    }
    let observer: Observer = gate.case.observer.clone();
    let made_line = r#"drawgate_tls_handshakes_total{listener="admin",version="1.3",outcome="full"} 8"#;
    assert!(observer.render().lines().any(|line| line == made_line), "{}", observer.render());
    // Who does not encrypt learns nothing.
    let mut plain = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    plain.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {own}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(3), plain.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
}

fn connector(certificate: &CertificateDer<'static>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}
