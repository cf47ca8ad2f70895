//! An authority, certificates, a gateway that uses them, and a client that trusts it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Case, Frame, PATIENCE, frame, request};

/// Signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: Certificate,
}

/// A certificate and its key, in PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// An authority below this one.
    pub(crate) fn authority(&self, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// A certificate for a server at `hosts`.
    pub(crate) fn server(&self, hosts: &[&str]) -> Pair {
        self.sign(hosts, "server", ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a client of this name.
    pub(crate) fn client(&self, name: &str) -> Pair {
        self.sign(&[], name, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A certificate for a server that ended long ago.
    pub(crate) fn expired_server(&self, host: &str) -> Pair {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 4, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    fn sign(&self, hosts: &[&str], name: &str, purpose: ExtendedKeyUsagePurpose) -> Pair {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    pub(crate) fn root(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        roots
    }
}

impl Pair {
    pub(crate) fn write(&self, folder: &Path, name: &str) {
        fs::write(folder.join(format!("{name}.pem")), &self.certificate).unwrap();
        fs::write(folder.join(format!("{name}.key")), &self.key).unwrap();
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.certificate.as_bytes()).map(Result::unwrap).collect()
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

/// A gateway with a plain listener, for the neighbour, and an encrypted one, whose certificate is for `localhost` and
/// `*.gate.example`.
pub(crate) struct Gateway {
    pub(crate) case: Case,
    pub(crate) authority: Authority,
    pub(crate) folder: TempDir,
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        Self::start_with("", "", "").await
    }

    /// `tls` is added to the `tls` table, `listener` to the listener's, `more` to the end.
    pub(crate) async fn start_with(tls: &str, listener: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("the gateway's authority");
        authority.server(&["localhost", "*.gate.example"]).write(folder.path(), "server");
        fs::write(folder.path().join("ca.pem"), authority.certificate.pem()).unwrap();
        let toml = toml(tls, listener, more);
        let config = drawgate::config::Config::from_toml(&toml, folder.path(), &|_| None)
            .unwrap_or_else(|problems| panic!("{problems}"));
        let case = Case::start_with(drawgate::Server::from_config(config)).await;
        Self { case, authority, folder }
    }

    /// A socket to the encrypted listener.
    pub(crate) async fn socket(&self) -> TcpStream {
        let socket = TcpStream::connect(self.case.addresses[1]).await.unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    /// A client's settings that trust the gateway.
    pub(crate) fn trusting(&self) -> ClientConfig {
        builder(&self.authority).with_no_client_auth()
    }

    /// The same, with a certificate.
    pub(crate) fn known(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> ClientConfig {
        builder(&self.authority).with_client_auth_cert(chain, key).unwrap()
    }

    /// An encrypted connection to `localhost`.
    pub(crate) async fn connect(&self) -> Client {
        self.connect_with(self.trusting(), "localhost").await.unwrap()
    }

    pub(crate) async fn connect_with(&self, config: ClientConfig, host: &str) -> std::io::Result<Client> {
        Client::over(self.socket().await, Arc::new(config), host).await
    }

    /// The value of `drawgate_tls_handshakes_total` for this version and outcome.
    pub(crate) fn handshakes(&self, version: &str, outcome: &str) -> u64 {
        self.case.metric(&format!(
            r#"drawgate_tls_handshakes_total{{listener="secure",version="{version}",outcome="{outcome}"}}"#
        ))
    }
}

pub(crate) fn builder(
    authority: &Authority,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authority.root())
}

fn toml(tls: &str, listener: &str, more: &str) -> String {
    let files = if tls.contains("certificates = ") {
        ""
    } else {
        "certificate_file = \"server.pem\", private_key_file = \"server.key\""
    };
    let separator = if files.is_empty() || tls.is_empty() { "" } else { ", " };
    format!(
        r#"
        [listeners.main]
        address = "127.0.0.1:0"
        tls = "none"
        [listeners.secure]
        address = "127.0.0.1:0"
        tls = {{ {files}{separator}{tls} }}
        {listener}
        [routes.echo]
        listeners = ["main", "secure"]
        path = "/*"
        origins = "same"
        auth = "none"
        backend = "echo"
        [routes.echo.limits]
        close_timeout = "300ms"
        {more}
        "#
    )
}

/// A client within TLS.
pub(crate) struct Client<S = TcpStream> {
    pub(crate) stream: TlsStream<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) async fn over(socket: S, config: Arc<ClientConfig>, host: &str) -> std::io::Result<Self> {
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let connecting = TlsConnector::from(config).connect(name, socket);
        let stream = timeout(PATIENCE, connecting).await.expect("the handshake ends in time")?;
        Ok(Self { stream })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.unwrap().unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Asks for a WebSocket at `host`; the answer's head.
    pub(crate) async fn ask(&mut self, host: &str, headers: &str) -> String {
        self.send(request("/", headers).replace("gate.example", host).as_bytes()).await;
        self.read_head().await
    }

    pub(crate) async fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, self.stream.read_u8()).await.unwrap().unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    pub(crate) async fn upgrade(&mut self) {
        let head = self.ask("localhost", "").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    }

    pub(crate) async fn read_frame(&mut self) -> Frame {
        let mut header = [0; 2];
        self.read(&mut header).await;
        let bytes = match header[1] {
            126 => {
                let mut bytes = [0; 2];
                self.read(&mut bytes).await;
                usize::from(u16::from_be_bytes(bytes))
            }
            127 => {
                let mut bytes = [0; 8];
                self.read(&mut bytes).await;
                usize::try_from(u64::from_be_bytes(bytes)).unwrap()
            }
            short => usize::from(short),
        };
        let mut payload = vec![0; bytes];
        self.read(&mut payload).await;
        Frame { first: header[0], payload }
    }

    async fn read(&mut self, buffer: &mut [u8]) {
        timeout(PATIENCE, self.stream.read_exact(buffer)).await.expect("in time").unwrap();
    }

    pub(crate) async fn echo(&mut self, payload: &[u8]) {
        self.send(&frame(0x82, payload)).await;
        assert!(self.read_message().await == payload, "the echo is what was sent");
    }

    /// Reads a message, whose frames may be several.
    pub(crate) async fn read_message(&mut self) -> Vec<u8> {
        let mut payload = Vec::new();
        loop {
            let frame = self.read_frame().await;
            payload.extend(frame.payload);
            if frame.first & 0x80 != 0 {
                return payload;
            }
        }
    }

    /// Whatever still comes; an error where the end is not one of TLS.
    pub(crate) async fn read_to_end(&mut self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        timeout(PATIENCE, self.stream.read_to_end(&mut bytes)).await.expect("an end comes").map(|_| bytes)
    }
}

pub(crate) const MOMENT: Duration = Duration::from_millis(300);
