//! What rustls is told: versions, certificates, tickets, and which certificate a client gets.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use super::files::{ClientAuthorities, Identity};

/// The cryptography of every connection. Its defaults are AEAD suites and ephemeral key exchange alone, the hybrid of
/// X25519 and ML-KEM first.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Keys for session tickets (RFC 8446 §4.6.1) that change every six hours.
pub(super) fn tickets() -> Arc<dyn ProducesTickets> {
    rustls::crypto::aws_lc_rs::Ticketer::new().unwrap_or_else(|_| Arc::new(NoTickets))
}

/// The settings of a listener.
pub(super) fn settings(
    identities: Vec<Identity>,
    authorities: Option<ClientAuthorities>,
    tickets: &Arc<dyn ProducesTickets>,
) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has suites for both versions");
    let asks_clients = authorities.is_some();
    let builder = match authorities {
        None => builder.with_no_client_auth(),
        Some(ClientAuthorities(verifier)) => builder.with_client_cert_verifier(verifier),
    };
    let mut settings = builder.with_cert_resolver(Arc::new(Certificates(identities)));
    // RFC 7301 §3.2: a client that offers only other protocols is refused by the alert `no_application_protocol`.
    settings.alpn_protocols = vec![b"http/1.1".to_vec()];
    // RFC 8446 §8: early data can be replayed, and a handshake for a WebSocket is nothing to repeat.
    settings.max_early_data_size = 0;
    settings.session_storage = Arc::new(NoServerSessionStorage {});
    if asks_clients {
        // A session would outlive the certificate that began it, and the authority's withdrawal of it.
        settings.send_tls13_tickets = 0;
    } else {
        settings.ticketer = Arc::clone(tickets);
        // RFC 8446 §C.4: one for each connection; a client has seldom two from one page.
        settings.send_tls13_tickets = 1;
    }
    settings
}

/// The certificates of a listener.
#[derive(Debug)]
struct Certificates(Vec<Identity>);

impl ResolvesServerCert for Certificates {
    /// The first that is for the host and that the client can verify; else the first for the host; else the first. A
    /// client that does not know the name that it gets refuses by itself.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let can_verify =
            |identity: &&Identity| identity.key.key.choose_scheme(hello.signature_schemes()).is_some();
        let host = hello.server_name().map(str::to_ascii_lowercase);
        let mut for_host =
            self.0.iter().filter(|identity| host.as_ref().is_some_and(|host| identity.hosts.has(host)));
        let chosen = for_host.clone().find(can_verify).or_else(|| for_host.next());
        chosen.or_else(|| self.0.first()).map(|identity| Arc::clone(&identity.key))
    }
}

/// Where the system has no randomness for tickets, there are none.
#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
