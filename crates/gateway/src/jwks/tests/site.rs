//! A server on loopback that answers as a test wants, well or badly.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::tls;
use crate::url::Url;

/// What is answered to every request.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// This, and then the end of the connection.
    Whole(Vec<u8>),
    /// This, and then the same 4 KiB without end.
    Endless(Vec<u8>, Vec<u8>),
    /// This, a byte at a time, each 10 ms after the other.
    Slow(Vec<u8>),
    /// This whole, after a while.
    Late(Duration, Vec<u8>),
    /// This, and then nothing.
    Unfinished(Vec<u8>),
}

impl Answer {
    /// A good answer.
    pub(super) fn body(body: &str) -> Self {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        Self::Whole([head.as_bytes(), body.as_bytes()].concat())
    }

    pub(super) fn text(answer: &str) -> Self {
        Self::Whole(answer.as_bytes().to_vec())
    }
}

/// A running server.
pub(super) struct Site {
    pub(super) address: SocketAddr,
    seen: Arc<Seen>,
    running: JoinHandle<()>,
    is_secure: bool,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    written_bytes: AtomicUsize,
    heads: Mutex<Vec<String>>,
}

impl Site {
    pub(super) async fn start(answer: Answer) -> Self {
        Self::start_with(move |_| answer.clone(), None).await
    }

    /// A server whose answers depend on the request's target.
    pub(super) async fn start_with(
        answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, is_secure) = (Arc::new(Seen::default()), tls.is_some());
        let (kept, answer) = (Arc::clone(&seen), Arc::new(answer));
        let running = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                kept.connections.fetch_add(1, Ordering::SeqCst);
                let (kept, answer, tls) = (Arc::clone(&kept), Arc::clone(&answer), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(socket, &kept, &*answer).await,
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                serve(socket, &kept, &*answer).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, seen, running, is_secure }
    }

    /// Its address, as `localhost`.
    pub(super) fn url(&self, target: &str) -> Url {
        self.name(target).parse().unwrap()
    }

    pub(super) fn name(&self, target: &str) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://localhost:{}{target}", self.address.port())
    }

    /// How many connections have come.
    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// How many bytes clients have let it write.
    pub(super) fn written_bytes(&self) -> usize {
        self.seen.written_bytes.load(Ordering::SeqCst)
    }

    /// The heads of the requests.
    pub(super) fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().unwrap().clone()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn serve<S>(mut socket: S, seen: &Seen, answer: &(impl Fn(&str) -> Answer + ?Sized))
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    seen.heads.lock().unwrap().push(head);
    let _ = match answer(&target) {
        Answer::Whole(bytes) => {
            let _ = socket.write_all(&bytes).await;
            socket.shutdown().await
        }
        Answer::Endless(head, again) => {
            let _ = socket.write_all(&head).await;
            loop {
                match socket.write_all(&again).await {
                    Ok(()) => seen.written_bytes.fetch_add(again.len(), Ordering::SeqCst),
                    Err(_) => return,
                };
            }
        }
        Answer::Slow(bytes) => {
            for byte in bytes {
                let _ = socket.write_all(&[byte]).await;
                let _ = socket.flush().await;
                sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        }
        Answer::Late(after, bytes) => {
            sleep(after).await;
            let _ = socket.write_all(&bytes).await;
            socket.shutdown().await
        }
        Answer::Unfinished(bytes) => {
            let _ = socket.write_all(&bytes).await;
            let _ = socket.flush().await;
            let _ = socket.read_u8().await;
            Ok(())
        }
    };
}

/// Signs certificates of servers.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), folder }
    }

    /// The file with its certificate.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What a server at `host` speaks TLS with; `is_over`: its certificate has ended.
    pub(super) fn server(&self, host: &str, is_over: bool) -> TlsAcceptor {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        if is_over {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 4, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate: CertificateDer<'static> = params.signed_by(&key, &self.issuer).unwrap().into();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}
