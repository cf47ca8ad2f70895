//! Whom the gateway believes where it is the client: the authorities of the system, or those of a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::own::OwnCertificate;
use super::settings::provider;

/// Whose certificates are believed, where the gateway itself connects to somebody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Trust {
    /// The authorities of the system.
    System,
    /// Those in this PEM file, and no others.
    File(PathBuf),
}

impl Trust {
    /// The authorities. Reads files: not for a worker's thread.
    fn roots(&self) -> Result<RootCertStore, TrustError> {
        let roots = match self {
            Self::System => {
                let mut roots = RootCertStore::empty();
                // Some of the system's may be of a kind that is not known here.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                roots
            }
            Self::File(file) => read_roots(file)?,
        };
        if roots.is_empty() {
            return Err(match self {
                Self::System => TrustError::SystemHasNone,
                Self::File(file) => TrustError::wrong(file, "has no certificate in PEM"),
            });
        }
        Ok(roots)
    }

    /// The settings of a client that believes them, and no others. Reads files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn client_settings(&self) -> Result<Arc<ClientConfig>, TrustError> {
        self.settings(None)
    }

    /// The same of one that shows `own`, where it is asked for a certificate.
    ///
    /// # Errors
    /// What is wrong with the authorities.
    pub(crate) fn client_settings_showing(
        &self,
        own: Arc<OwnCertificate>,
    ) -> Result<Arc<ClientConfig>, TrustError> {
        self.settings(Some(own))
    }

    fn settings(&self, own: Option<Arc<OwnCertificate>>) -> Result<Arc<ClientConfig>, TrustError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for both versions")
            .with_root_certificates(self.roots()?);
        let mut settings = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let mut settings = builder.with_client_cert_resolver(own);
                // What was resumed would go on with the certificate that it began with.
                settings.resumption = Resumption::disabled();
                settings
            }
        };
        settings.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(settings))
    }

    /// Whether there is anyone to believe. Reads files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn check(&self) -> Result<(), TrustError> {
        self.roots().map(|_| ())
    }
}

/// Why nobody can be believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
    #[error("this system trusts no authority: install ca-certificates, or name a file of authorities")]
    SystemHasNone,
    #[error("server_name is no name of a host: write a DNS name or an IP address")]
    NameRefused,
    #[error("{} {wrong}", file.display())]
    File { file: PathBuf, wrong: String },
}

impl TrustError {
    fn wrong(file: &Path, wrong: &str) -> Self {
        Self::File { file: file.to_owned(), wrong: wrong.to_owned() }
    }
}

fn read_roots(file: &Path) -> Result<RootCertStore, TrustError> {
    let wrong = |wrong: &str| TrustError::wrong(file, wrong);
    // What is no plain file could make the reader wait forever.
    let metadata = file.metadata().map_err(|error| wrong(&format!("cannot be read ({})", error.kind())))?;
    if !metadata.is_file() {
        return Err(wrong("is no plain file"));
    }
    if metadata.len() > ROOTS_BYTES_MAX {
        return Err(wrong("is longer than 1 MiB"));
    }
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|_| wrong("cannot be read as PEM"))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|_| wrong("is no proper PEM"))?;
        roots.add(certificate).map_err(|_| wrong("has a certificate that cannot be an authority"))?;
    }
    Ok(roots)
}

/// Of a file of authorities.
const ROOTS_BYTES_MAX: u64 = 1024 * 1024;
