//! TLS: what works, and what a hostile peer does before there is a request (`refusals.rs`), with its certificate
//! (`clients.rs`), or when certificates change (`reload.rs`).

mod clients;
mod refusals;
mod reload;
pub(crate) mod support;

use std::sync::Arc;

use drawgate::reason::Reason;
use rustls::{HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncWriteExt as _, DuplexStream};

use self::support::{Client, Gateway};
use crate::support::{Frame, eventually, frame};

#[tokio::test]
async fn messages_are_echoed_over_both_versions_and_the_end_is_one_of_tls() {
    let mut gateway = Gateway::start().await;
    let versions: [(&'static rustls::SupportedProtocolVersion, &str); 2] =
        [(&rustls::version::TLS13, "1.3"), (&rustls::version::TLS12, "1.2")];
    for (version, label) in versions {
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(gateway.authority.root())
        .with_no_client_auth();
        let mut client = gateway.connect_with(config, "localhost").await.unwrap();
        client.upgrade().await;
        for bytes in [0, 1, 125, 126, 16_000, 65_535] {
            client.echo(&vec![7; bytes]).await;
        }
        assert_eq!(gateway.handshakes(label, "full"), 1);
        client.send(&frame(0x88, b"\x03\xe8")).await;
        assert_eq!(client.read_frame().await, Frame::whole(0x88, b"\x03\xe8"));
        // Without close_notify this would be an error.
        assert_eq!(client.read_to_end().await.unwrap(), b"");
        let protocol = client.stream.get_ref().1.protocol_version();
        assert_eq!(protocol == Some(ProtocolVersion::TLSv1_3), label == "1.3");
    }
    gateway.case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn what_the_socket_does_not_take_at_once_arrives_all_the_same() {
    let gateway = Gateway::start().await;
    // A pipe that takes half a kilobyte at a time: whatever is encrypted does not fit.
    let (near, far) = tokio::io::duplex(512);
    tokio::spawn(gateway.case.last_entry.clone().serve(far, "127.0.0.1:1".parse().unwrap()));
    let mut client =
        Client::<DuplexStream>::over(near, Arc::new(gateway.trusting()), "localhost").await.unwrap();
    client.upgrade().await;
    // In messages that are less than a record, and that end at its end. They come whole before a byte is read, so that
    // the answer is stuck; what wakes it then is only that the client reads.
    for bytes in [1, 10_000, 16_380, 16_384, 40_000] {
        client.echo(&vec![1; bytes]).await;
    }
}

#[tokio::test]
async fn a_client_that_comes_back_resumes() {
    let gateway = Gateway::start().await;
    let config = gateway.trusting();
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut client = gateway.connect_with(config.clone(), "localhost").await.unwrap();
        client.upgrade().await;
        client.echo(b"so that the ticket has come").await;
        assert_eq!(client.stream.get_ref().1.handshake_kind(), Some(expected));
    }
    assert_eq!(gateway.handshakes("1.3", "resumed"), 1);
}

#[tokio::test]
async fn h26_early_data_is_not_taken() {
    let gateway = Gateway::start().await;
    let mut config = gateway.trusting();
    config.enable_early_data = true;
    let mut client = gateway.connect_with(config.clone(), "localhost").await.unwrap();
    client.upgrade().await;
    client.echo(b"so that the ticket has come").await;
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut again = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    // It has a ticket, which says that early data is not allowed.
    assert!(again.early_data().is_none());
}

#[tokio::test]
async fn each_host_gets_its_certificate_and_others_the_first() {
    let gateway = Gateway::start_with(
        r#"certificates = [
            { certificate_file = "server.pem", private_key_file = "server.key" },
            { certificate_file = "server.pem", private_key_file = "server.key" },
        ]"#,
        "",
        "",
    )
    .await;
    // The list is read; which one is chosen is seen where they differ.
    drop(gateway);
    let folder = tempfile::tempdir().unwrap();
    let authority = support::Authority::new("one for all");
    for name in ["first.example", "second.example"] {
        authority.server(&[name]).write(folder.path(), name);
    }
    let files = |name: &str| drawgate::tls::CertificateFiles {
        certificate_file: folder.path().join(format!("{name}.pem")),
        private_key_file: folder.path().join(format!("{name}.key")),
    };
    let tls = drawgate::tls::Config {
        certificates: vec![files("first.example"), files("second.example")],
        clients: drawgate::tls::ClientCertificates::NotAsked,
    };
    let route =
        drawgate::Route::new("echo", "/*", drawgate::Origins::Any, drawgate::Access::Open, Silent).unwrap();
    let server = drawgate::Server::builder()
        .listen_tls("127.0.0.1:0".parse().unwrap(), tls)
        .route(route)
        .bind()
        .unwrap();
    let address = server.address();
    tokio::spawn(server.run(std::future::pending()));
    for (host, is_trusted) in [
        ("first.example", true),
        ("second.example", true),
        ("SECOND.example", true),
        ("third.example", false),
    ] {
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let config = support::builder(&authority).with_no_client_auth();
        let connected = Client::over(socket, Arc::new(config), host).await;
        assert_eq!(connected.is_ok(), is_trusted, "{host}");
    }
}

struct Silent;

impl drawgate::Handler for Silent {
    async fn message(&self, _: &drawgate::Session, _: drawgate::Message) {}
}

#[tokio::test]
async fn h13_a_host_unlike_the_name_in_the_handshake_is_misdirected() {
    let mut gateway = Gateway::start().await;
    for (name, host, status) in [
        ("localhost", "localhost", 101),
        ("localhost", "LOCALHOST:8443", 101),
        ("localhost", "localhost.", 101),
        ("a.gate.example", "a.gate.example", 101),
        // Who names no host in the handshake may ask for any.
        ("127.0.0.1", "whatever.example", 101),
        ("a.gate.example", "b.gate.example", 421),
    ] {
        let mut config = gateway.trusting();
        if name == "127.0.0.1" {
            config.dangerous().set_certificate_verifier(Arc::new(Anything));
        }
        let mut client = gateway.connect_with(config, name).await.unwrap();
        let head = client.ask(host, "").await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{name} {host}: {head}");
    }
    let record = gateway.case.ended(Reason::HostMisdirected).await;
    assert_eq!((&record["http_status"], &record["ended_by"]), (&421.into(), &"gateway".into()), "{record}");
}

/// Trusts every certificate: what is asked here is not whom to trust.
#[derive(Debug)]
struct Anything;

impl rustls::client::danger::ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn h12_the_same_origin_is_an_encrypted_one() {
    let gateway = Gateway::start().await;
    for (origin, status) in
        [("https://localhost", 101), ("http://localhost", 403), ("https://localhost:8443", 403)]
    {
        let mut client = gateway.connect().await;
        let head = client.ask("localhost", &format!("Origin: {origin}\r\n")).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{origin}: {head}");
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_off_is_lost_and_one_that_breaks_the_record_layer_is_reset() {
    let mut gateway = Gateway::start().await;
    let mut client = gateway.connect().await;
    client.upgrade().await;
    let (mut socket, _) = client.stream.into_inner();
    // No close_notify before it.
    socket.shutdown().await.unwrap();
    drop(socket);
    assert_eq!(gateway.case.ended(Reason::ConnectionLost).await["close_code"], 1006);

    let mut client = gateway.connect().await;
    client.upgrade().await;
    let (mut socket, _) = client.stream.into_inner();
    socket.write_all(b"\x17\x03\x03\x00\x20no record that anybody encrypted").await.unwrap();
    let record = gateway.case.ended(Reason::ConnectionReset).await;
    assert_eq!(record["detail"], "cannot decrypt peer's message", "{record}");
    gateway.case.neighbour_is_unharmed().await;
    eventually(|| gateway.case.ends(Reason::ConnectionReset) == 1, || gateway.case.log_text()).await;
}

#[tokio::test]
async fn r05_the_header_of_a_proxy_comes_before_the_handshake() {
    let firewall = "[firewall]\ntrusted_proxies = [\"127.0.0.1/32\"]\nconnections_per_client_max = 1";
    let mut gateway = Gateway::start_with("", "proxy_protocol = \"v1\"", firewall).await;
    let line = b"PROXY TCP4 203.0.113.7 192.0.2.1 54321 443\r\n";
    let mut socket = gateway.socket().await;
    socket.write_all(line).await.unwrap();
    let mut client = Client::over(socket, Arc::new(gateway.trusting()), "localhost").await.unwrap();
    // The scheme is that of our own handshake: the proxy has passed it on.
    let head = client.ask("localhost", "Origin: https://localhost\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client.echo(b"hello").await;
    let opened = |record: &serde_json::Value| record["message"] == "connection opened";
    let record = gateway.case.records().into_iter().rfind(opened).unwrap();
    assert_eq!((record["client"].as_str(), record["via"].as_str()), (Some("203.0.113.7"), Some("127.0.0.1")));

    // Refused before a handshake that costs more than a word is worth.
    let mut socket = gateway.socket().await;
    socket.write_all(line).await.unwrap();
    assert!(Client::over(socket, Arc::new(gateway.trusting()), "localhost").await.is_err());
    eventually(|| gateway.case.ends(Reason::ClientConnectionsExceeded) == 1, || gateway.case.log_text())
        .await;
    // A handshake in the header's place.
    assert!(gateway.connect_with(gateway.trusting(), "localhost").await.is_err());
    eventually(|| gateway.case.ends(Reason::ProxyHeaderInvalid) == 1, || gateway.case.log_text()).await;
    assert_eq!((gateway.handshakes("1.3", "full"), gateway.handshakes("none", "failed")), (1, 0));
    gateway.case.neighbour_is_unharmed().await;
}
