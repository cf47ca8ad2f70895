//! Certificates of clients.

use std::sync::Arc;
use std::time::Duration;

use drawgate::reason::Reason;
use rustls::HandshakeKind;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use tokio::time::Instant;

use super::support::{Authority, Gateway, Pair, builder};

#[tokio::test]
async fn only_clients_of_the_authority_get_in_and_they_do_not_resume() {
    let mut gateway = Gateway::start_with("client_ca_file = \"ca.pem\"", "", "").await;
    let alice = gateway.authority.client("alice");
    let config = gateway.known(alice.chain(), alice.private_key());
    for _ in 0..2 {
        let mut client = gateway.connect_with(config.clone(), "localhost").await.unwrap();
        client.upgrade().await;
        client.echo(b"known").await;
        // A session would outlive the certificate.
        assert_eq!(client.stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    }
    refused(&mut gateway, None, "certificate_required").await;
    let mallory = Authority::new("another").client("mallory");
    refused(&mut gateway, Some(&mallory), "unknown_ca").await;
    // One that is for servers.
    let server = gateway.authority.server(&["localhost"]);
    refused(&mut gateway, Some(&server), "certificate").await;
}

#[tokio::test]
async fn a_certificate_that_may_be_shown_must_still_be_good() {
    let tls = "client_ca_file = \"ca.pem\", client_auth = \"optional\"";
    let mut gateway = Gateway::start_with(tls, "", "").await;
    gateway.connect().await.upgrade().await;
    let mallory = Authority::new("another").client("mallory");
    refused(&mut gateway, Some(&mallory), "unknown_ca").await;
}

const BY_CERTIFICATE: &str = r#"
    [routes.known]
    listeners = ["secure"]
    path = "/known"
    origins = "any"
    auth = "devices"
    backend = "echo"
    [auth.devices]
    credentials = [{ client_certificate = "subject" }]
"#;

#[tokio::test]
async fn a_certificate_says_who_speaks() {
    let tls = "client_ca_file = \"ca.pem\", client_auth = \"optional\"";
    let mut gateway = Gateway::start_with(tls, "", BY_CERTIFICATE).await;
    let alice = gateway.authority.client("alice");
    let config = gateway.known(alice.chain(), alice.private_key());
    let mut client = gateway.connect_with(config, "localhost").await.unwrap();
    let asked = crate::support::request("/known", "").replace("gate.example", "localhost");
    client.send(asked.as_bytes()).await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 101 "));
    // No first message is awaited: this one is a message like others.
    client.echo(b"hello").await;
    client.send(&crate::support::frame(0x88, b"\x03\xe8")).await;
    client.read_to_end().await.unwrap();
    let record = gateway.case.ended(Reason::ClosedByClient).await;
    assert_eq!(record["subject"], "alice", "{record}");
    // Without a certificate nobody speaks there, whatever else is shown.
    let mut client = gateway.connect().await;
    client.send(asked.as_bytes()).await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 401 "));
    gateway.case.ended(Reason::TokenMissing).await;
}

/// A client with this certificate is refused, and the record names `alert`.
async fn refused(gateway: &mut Gateway, pair: Option<&Pair>, alert: &str) {
    let before = gateway.case.ends(Reason::TlsHandshakeFailed);
    let config = match pair {
        None => gateway.trusting(),
        Some(pair) => gateway.known(pair.chain(), pair.private_key()),
    };
    // In 1.3 the client hears of it with the first read.
    if let Ok(mut client) = gateway.connect_with(config, "localhost").await {
        assert!(client.read_to_end().await.is_err());
    }
    crate::support::eventually(
        || gateway.case.ends(Reason::TlsHandshakeFailed) == before + 1,
        || gateway.case.log_text(),
    )
    .await;
    let records = gateway.case.records_of(Reason::TlsHandshakeFailed);
    let detail = records.last().unwrap()["detail"].as_str().unwrap();
    assert!(detail.contains(alert), "{detail}");
    gateway.case.neighbour_is_unharmed().await;
}

/// Sends what no library would.
#[derive(Debug)]
struct Chain(Arc<CertifiedKey>);

impl ResolvesClientCert for Chain {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn h27_a_chain_made_to_be_searched_is_refused_in_bounded_time() {
    let mut gateway = Gateway::start_with("client_ca_file = \"ca.pem\"", "", "").await;
    // Every authority has the same name and another key, so that each could have signed each.
    let first = Authority::new("all alike");
    let mut chain = Vec::new();
    let mut last = first.authority("all alike");
    for _ in 0..100 {
        chain.push(last.certificate.der().clone());
        last = last.authority("all alike");
    }
    let client = last.client("mallory");
    let mut presented = client.chain();
    presented.extend(chain);
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&client.private_key()).unwrap();
    let resolver = Arc::new(Chain(Arc::new(CertifiedKey::new(presented, key))));
    let config = builder(&gateway.authority).with_client_cert_resolver(resolver);
    let begun = Instant::now();
    if let Ok(mut client) = gateway.connect_with(config, "localhost").await {
        assert!(client.read_to_end().await.is_err());
    }
    let record = gateway.case.refused(Reason::TlsHandshakeFailed, b"all alike, all alike").await;
    // A build without optimisation; a hundred signatures at most are checked.
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(record["detail"].as_str().unwrap().starts_with("refused with the alert "), "{record}");
}
