//! TLS on a listener: the handshake, and the transport that the rest of a connection speaks over.
//!
//! TLS 1.3 and 1.2 by rustls, whose cryptography (aws-lc-rs) is named here and taken from no process-wide setting. No
//! early data, no renegotiation, no resumption where clients show certificates. Comes after the firewall and before the
//! request head. Deadlines, the cap on handshakes and what becomes of a failure are the connection's; when files are read
//! again is the server's. Never logs or counts.

mod files;
mod handshake;
mod names;
mod own;
mod settings;
mod trust;
mod watch;
mod wire;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::server::ProducesTickets;

use crate::clock::UnixTime;
use crate::principal::ClientCertificate;

pub use files::{FileError, WhichFile};

pub(crate) use files::{ClientAuthorities, Identity};
pub(crate) use handshake::{Established, Failure, FailureKind};
pub(crate) use own::OwnCertificate;
#[cfg(test)]
pub(crate) use settings::provider;
pub(crate) use trust::{Trust, TrustError};
pub(crate) use watch::{Outlook, Watch};
pub(crate) use wire::Wire;

/// A listener's `tls` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The certificates, at least one. The first is for clients that name no host, or one that none of them is for.
    pub certificates: Vec<CertificateFiles>,
    /// Whether clients show certificates, too.
    pub clients: ClientCertificates,
}

impl Config {
    /// Every file that it names.
    fn files(&self) -> Vec<PathBuf> {
        let pairs = self.certificates.iter();
        let mut files: Vec<PathBuf> =
            pairs.flat_map(|pair| [pair.certificate_file.clone(), pair.private_key_file.clone()]).collect();
        files.extend(self.clients.authorities_file().cloned());
        files
    }
}

/// Where one certificate lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate and those that lead from it to a root, in PEM, its own first.
    pub certificate_file: PathBuf,
    /// Its private key, in PEM: PKCS #8, PKCS #1 or SEC 1.
    pub private_key_file: PathBuf,
}

/// Whether clients show certificates (RFC 8446 §4.3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked.
    NotAsked,
    /// They may; one that is shown must come from an authority in this file.
    Optional(PathBuf),
    /// They must, and it must come from an authority in this file.
    Required(PathBuf),
}

impl ClientCertificates {
    /// The file of the authorities.
    #[must_use]
    pub fn authorities_file(&self) -> Option<&PathBuf> {
        match self {
            Self::NotAsked => None,
            Self::Optional(file) | Self::Required(file) => Some(file),
        }
    }
}

/// What the handshake told of a client; nothing on a plain connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Whether the connection is encrypted.
    pub is_encrypted: bool,
    /// The host that the client asked for (SNI, RFC 6066 §3), in lower case.
    pub server_name: Option<String>,
    /// The certificate that it showed, which an authority of ours has signed.
    pub certificate: Option<ClientCertificate>,
}

/// The TLS of one listener: its certificates as they were last read, and what outlives them.
#[derive(Debug)]
pub(crate) struct Tls {
    config: Config,
    /// The same for every set of certificates, so that clients can resume across a change.
    tickets: Arc<dyn ProducesTickets>,
    current: RwLock<Arc<Current>>,
    watch: Mutex<Watch>,
}

/// One set of certificates in use.
#[derive(Debug)]
struct Current {
    settings: Arc<ServerConfig>,
    /// When each certificate ends, in the order of the configuration.
    expiries: Vec<UnixTime>,
}

impl Tls {
    /// Reads the files that `config` names.
    pub(crate) fn load(config: Config, now: UnixTime) -> Result<Self, FileError> {
        let tickets = settings::tickets();
        // Before the files are read, so that no change is missed.
        let watch = Mutex::new(Watch::new(config.files()));
        let current = RwLock::new(Arc::new(Current::read(&config, &tickets, now)?));
        Ok(Self { config, tickets, current, watch })
    }

    /// Looks at the files, and reads them again if they have changed; `None` where they have not. Where anything is wrong
    /// with any of them, what was in use stays in use.
    pub(crate) fn refresh(&self, now: UnixTime) -> Option<Result<(), FileError>> {
        let outlook = self.watch.lock().unwrap_or_else(PoisonError::into_inner).look();
        (outlook == Outlook::Changed).then(|| {
            let current = Arc::new(Current::read(&self.config, &self.tickets, now)?);
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
            Ok(())
        })
    }

    /// The certificate files and when the certificates in use end.
    pub(crate) fn expiries(&self) -> Vec<(&PathBuf, UnixTime)> {
        let files = self.config.certificates.iter().map(|files| &files.certificate_file);
        files.zip(self.current().expiries.iter().copied()).collect()
    }

    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Current {
    fn read(config: &Config, tickets: &Arc<dyn ProducesTickets>, now: UnixTime) -> Result<Self, FileError> {
        let mut identities = Vec::with_capacity(config.certificates.len());
        for (place, files) in config.certificates.iter().enumerate() {
            identities.push(Identity::read(files, place, now)?);
        }
        let authorities = config
            .clients
            .authorities_file()
            .map(|file| {
                ClientAuthorities::read(file, matches!(config.clients, ClientCertificates::Optional(_)))
            })
            .transpose()?;
        let expiries = identities.iter().map(|identity| identity.expires_at).collect();
        Ok(Self { settings: Arc::new(settings::settings(identities, authorities, tickets)), expiries })
    }
}
