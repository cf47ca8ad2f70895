//! U12: what is proved to applications behind `wss:`, and by them: names, and certificates on either side.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use drawgate::reason::Reason;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::application::{Application, Seen, before_url};
use crate::support::{Case, Raw, eventually_within, request};
use crate::tls::support::{Authority, Pair};

/// An application at an address, which is for `name` and asks for certificates that `authority` has signed.
struct Demanding {
    application: Application,
    acceptor: TlsAcceptor,
    authority: Authority,
    folder: TempDir,
}

impl Demanding {
    async fn start(name: &str, is_demanding: bool) -> Self {
        let authority = Authority::new("the application's authority");
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), authority.certificate.pem()).unwrap();
        let pair = authority.server(&[name]);
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let builder = rustls::ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = if is_demanding {
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let config = builder.with_single_cert(pair.chain(), pair.private_key()).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self { application: Application::start().await, acceptor, authority, folder }
    }

    fn path(&self, file: &str) -> String {
        format!("{:?}", self.folder.path().join(file))
    }

    /// A gateway before it, by its address, with these settings of the backend beside the authority.
    async fn gateway(&self, settings: &str) -> Case {
        let url = format!("wss://{}", self.application.address);
        let ca_file = self.path("ca.pem");
        let toml =
            before_url(&url, "", "").replace("urls =", &format!("ca_file = {ca_file}, {settings} urls ="));
        Case::start(&toml).await
    }

    /// The settings that show the pair in the files of this name.
    fn shown(&self, pair: &Pair, name: &str) -> String {
        pair.write(self.folder.path(), name);
        let (certificate, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        format!("certificate_file = {certificate}, private_key_file = {key},")
    }

    /// A client that gets through, and the connection that the application sees.
    async fn opened(&self, case: &Case) -> (Raw, TlsStream<TcpStream>) {
        let mut client = case.connect().await;
        client.send(request("/app/", "").as_bytes()).await;
        let stream = self.acceptor.accept(self.application.accept().await.stream).await.unwrap();
        let mut seen = Seen::over(stream);
        seen.upgrade("").await;
        assert!(client.read_head().await.starts_with("HTTP/1.1 101 "));
        (client, seen.stream)
    }

    /// A client that does not.
    async fn refused(&self, mut case: Case) {
        let mut client = case.connect().await;
        client.send(request("/app/", "").as_bytes()).await;
        let stream = self.acceptor.accept(self.application.accept().await.stream).await;
        // Whoever is refused by the gateway alone may have been let in by the application.
        if let Ok(stream) = stream {
            assert_eq!(Seen::over(stream).next_frame().await, None);
        }
        client.expect_refusal(Reason::UpstreamTlsFailed).await;
        case.refused(Reason::UpstreamTlsFailed, b"").await;
    }
}

/// The certificate that the gateway showed.
fn certificate(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn u12_an_application_that_asks_for_a_certificate_is_shown_it() {
    let application = Demanding::start("127.0.0.1", true).await;
    let pair = application.authority.client("gate");
    let case = application.gateway(&application.shown(&pair, "own")).await;
    let (_client, stream) = application.opened(&case).await;
    assert_eq!(certificate(&stream), pair.chain()[0].to_vec());
    // One that does not ask is told nothing.
    let open = Demanding::start("127.0.0.1", false).await;
    let case = open.gateway(&open.shown(&pair, "own")).await;
    let (_client, stream) = open.opened(&case).await;
    assert!(stream.get_ref().1.peer_certificates().is_none());
}

#[tokio::test]
async fn u12_an_application_that_is_shown_no_certificate_or_another_s_is_a_502() {
    let application = Demanding::start("127.0.0.1", true).await;
    application.refused(application.gateway("").await).await;
    let strange = Authority::new("another").client("gate");
    application.refused(application.gateway(&application.shown(&strange, "strange")).await).await;
}

#[tokio::test]
async fn u12_the_name_that_is_configured_is_asked_for_and_believed_in_the_place_of_the_address_s() {
    let application = Demanding::start("app.internal", false).await;
    let case = application.gateway("server_name = \"app.internal\",").await;
    let (_client, stream) = application.opened(&case).await;
    assert_eq!(stream.get_ref().1.server_name(), Some("app.internal"));
    application.refused(application.gateway("").await).await;
    application.refused(application.gateway("server_name = \"other.internal\",").await).await;
}

#[tokio::test]
async fn u12_a_certificate_that_is_replaced_is_shown_from_then_on_and_a_bad_one_is_not() {
    let application = Demanding::start("127.0.0.1", true).await;
    let (first, second) = (application.authority.client("first"), application.authority.client("second"));
    let case = application.gateway(&application.shown(&first, "own")).await;
    let (_client, stream) = application.opened(&case).await;
    assert_eq!(certificate(&stream), first.chain()[0].to_vec());
    second.write(application.folder.path(), "own");
    reloaded(&case, "ok").await;
    let (_client, stream) = application.opened(&case).await;
    assert_eq!(certificate(&stream), second.chain()[0].to_vec());
    fs::write(application.folder.path().join("own.key"), &first.key).unwrap();
    reloaded(&case, "failed").await;
    let (_client, stream) = application.opened(&case).await;
    assert_eq!(certificate(&stream), second.chain()[0].to_vec());
    let log = case.log_text();
    assert!(log.contains("upstream certificate not reloaded") && !log.contains("PRIVATE KEY"), "{log}");
}

/// Files are looked at every second.
async fn reloaded(case: &Case, result: &str) {
    let name = format!("drawgate_upstream_certificate_reloads_total{{result=\"{result}\"}}");
    eventually_within(Duration::from_secs(8), || case.metric(&name) > 0, || case.log_text()).await;
}
