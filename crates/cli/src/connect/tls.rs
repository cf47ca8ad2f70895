//! `wss:`: the TLS handshake of the client, whom it trusts, and what to say where it trusts nobody.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, Error, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::url::Url;
use crate::Failure;
use crate::token::shown;

/// The transport, plain or encrypted.
pub(crate) type Socket = Box<dyn Transport>;

/// What both kinds of transport can do.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Transport for T {}

/// Encrypts `socket` where the address asks for it. `authority` is a PEM file of those who are trusted; without it the
/// system's are.
pub(super) async fn secure(
    url: &Url,
    authority: Option<&Path>,
    socket: TcpStream,
) -> Result<Socket, Failure> {
    if !url.is_secure {
        return Ok(Box::new(socket));
    }
    let name = ServerName::try_from(url.host.clone())
        .map_err(|_| Failure(format!("{} is no name that a certificate could be for", shown(&url.host))))?;
    let roots = match authority {
        Some(file) => read(file)?,
        None => system()?,
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    match TlsConnector::from(Arc::new(config)).connect(name, socket).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(Failure(explain(url, &error, authority.is_some()))),
    }
}

fn read(file: &Path) -> Result<RootCertStore, Failure> {
    let wrong = |what: String| Failure(format!("{}: {what}", file.display()));
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| {
        wrong(format!("cannot be read: {error}; write --ca FILE with the certificate of the authority"))
    })?;
    for certificate in certificates {
        let added = certificate.map(|certificate| roots.add(certificate));
        added
            .map_err(|error| wrong(error.to_string()))?
            .map_err(|error| wrong(format!("has a certificate that cannot be an authority: {error}")))?;
    }
    if roots.is_empty() {
        return Err(wrong(
            "has no certificate in PEM; write --ca FILE with that of the authority".to_owned(),
        ));
    }
    Ok(roots)
}

fn system() -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    // Some of the system's may be of a kind that is not known here.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let advice = "install ca-certificates, or name the server's authority with --ca FILE";
        return Err(Failure(format!("this system trusts no authority: {advice}")));
    }
    Ok(roots)
}

/// What went wrong, and what to do. What of it a server could have chosen has been made harmless.
fn explain(url: &Url, error: &io::Error, has_authority: bool) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    let advice = match cause {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature))
            if has_authority =>
        {
            "the certificate is not signed by an authority in the file of --ca"
        }
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            "the certificate is signed by nobody whom this system trusts; if you do, name the authority with --ca FILE"
        }
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "the certificate is for another host; connect by one of its names",
        Some(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "the certificate has expired",
        Some(Error::InvalidCertificate(CertificateError::Other(rule))) => {
            return format!("{url}: the certificate is not good: {}", shown(&rule.to_string()));
        }
        Some(Error::InvalidCertificate(_)) => "the certificate is not good",
        Some(Error::InvalidMessage(_)) if url.is_http => "what answers there speaks no TLS; try http://",
        Some(Error::InvalidMessage(_)) => "what answers there speaks no TLS; try ws://",
        Some(Error::AlertReceived(alert)) => {
            return format!("{url}: the server refused the TLS handshake, with the alert {alert:?}");
        }
        Some(_) => "the TLS handshake failed; the server may offer no version from 1.2 on",
        None => return format!("{url}: the TLS handshake failed: {error}"),
    };
    format!("{url}: {advice}")
}
