//! Certificates, keys and authorities from their files, each held against what it must be before it is used.
//!
//! What is wrong is said in words for the operator, with the file's name; never with anything of a key. Keys are wiped
//! from memory once rustls has taken them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use zeroize::{Zeroize as _, Zeroizing};

use super::CertificateFiles;
use super::names::{self, HostNames};
use super::settings::provider;
use crate::clock::UnixTime;

/// A certificate, its chain and its key.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) key: Arc<CertifiedKey>,
    /// The hosts that it is for.
    pub(crate) hosts: HostNames,
    pub(crate) expires_at: UnixTime,
}

/// Verifies the certificates of clients.
#[derive(Debug)]
pub(crate) struct ClientAuthorities(pub(crate) Arc<dyn ClientCertVerifier>);

/// What is wrong with one of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// Its name.
    pub file: PathBuf,
    /// What it was to be.
    pub which: WhichFile,
    /// What is wrong, as the end of a sentence that the file's name begins.
    pub wrong: String,
}

/// What a file was to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichFile {
    /// The certificate at this place in the configuration, from 0.
    Certificate(usize),
    /// The private key of that certificate.
    PrivateKey(usize),
    /// The authorities of client certificates.
    ClientAuthorities,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.file.display(), self.wrong)
    }
}

impl std::error::Error for FileError {}

impl Identity {
    /// Reads the certificate at `place` in the configuration, which must be good at `now`.
    pub(crate) fn read(files: &CertificateFiles, place: usize, now: UnixTime) -> Result<Self, FileError> {
        let certificate_error = |wrong: String| FileError {
            file: files.certificate_file.clone(),
            which: WhichFile::Certificate(place),
            wrong,
        };
        let key_error = |wrong: String| FileError {
            file: files.private_key_file.clone(),
            which: WhichFile::PrivateKey(place),
            wrong,
        };
        let chain = certificates(&files.certificate_file).map_err(certificate_error)?;
        let facts = chain.first().and_then(|own| names::facts(own));
        let facts =
            facts.ok_or_else(|| certificate_error("has a certificate that cannot be read".to_owned()))?;
        if facts.ends_at <= now {
            return Err(certificate_error(format!("has expired, on {}", facts.ends_at)));
        }
        if facts.begins_at > now {
            return Err(certificate_error(format!("is not valid before {}", facts.begins_at)));
        }
        let key = private_key(&files.private_key_file).map_err(key_error)?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                let certificate_file = files.certificate_file.display();
                return Err(key_error(format!("is not the key of the certificate in {certificate_file}")));
            }
            Err(_) => return Err(certificate_error("has a certificate that cannot be used".to_owned())),
        }
        Ok(Self { key: Arc::new(key), hosts: facts.hosts, expires_at: facts.ends_at })
    }
}

impl ClientAuthorities {
    /// Reads the authorities in `file`; without a certificate a client gets in only where that `is_optional`.
    pub(crate) fn read(file: &Path, is_optional: bool) -> Result<Self, FileError> {
        let error =
            |wrong: String| FileError { file: file.to_owned(), which: WhichFile::ClientAuthorities, wrong };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(file).map_err(error)? {
            roots
                .add(certificate)
                .map_err(|_| error("has a certificate that cannot be an authority".to_owned()))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let builder = if is_optional { builder.allow_unauthenticated() } else { builder };
        builder.build().map(Self).map_err(|_| error("has no certificate that can be an authority".to_owned()))
    }
}

/// The certificates in a file, at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(file)?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() && bytes.is_empty() => Err("is empty".to_owned()),
        Ok(found) if found.is_empty() => {
            Err("has no certificate in PEM (`-----BEGIN CERTIFICATE-----`)".to_owned())
        }
        Ok(found) => Ok(found),
        Err(_) => Err("is no proper PEM".to_owned()),
    }
}

fn private_key(file: &Path) -> Result<Arc<dyn rustls::sign::SigningKey>, String> {
    let bytes = read(file)?;
    let mut key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound if bytes.is_empty() => "is empty".to_owned(),
        pem::Error::NoItemsFound if has_encrypted_key(&bytes) => {
            "has a key that is encrypted with a pass phrase; decrypt it: `openssl pkey -in … -out …`"
                .to_owned()
        }
        pem::Error::NoItemsFound => "has no private key in PEM (`-----BEGIN PRIVATE KEY-----`)".to_owned(),
        // What exactly could be a piece of the key.
        _ => "is no proper PEM".to_owned(),
    })?;
    let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key);
    key.zeroize();
    signing.map_err(|_| {
        "has a private key of a kind that cannot be used; RSA of 2048 bits or more, ECDSA and Ed25519 can"
            .to_owned()
    })
}

fn has_encrypted_key(bytes: &[u8]) -> bool {
    const MARK: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    bytes.windows(MARK.len()).any(|window| window == MARK)
}

/// A file's bytes, wiped when they are dropped.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let unreadable = |error: io::Error| format!("cannot be read ({})", error.kind());
    let metadata = path.metadata().map_err(unreadable)?;
    // What is no plain file could make the reader wait forever.
    if !metadata.is_file() {
        return Err("is no plain file".to_owned());
    }
    // Room for all of it from the start: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX + 1));
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err("is longer than 1 MiB".to_owned());
    }
    Ok(bytes)
}

/// The most bytes of one file: the authorities of a whole organisation.
const FILE_BYTES_MAX: usize = 1024 * 1024;
