//! The certificate that the gateway itself shows, where it is the client of somebody who asks for one.
//!
//! Read again when its files have changed, as a listener's is: each handshake takes what was read last. When that is, the server says.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;

use super::CertificateFiles;
use super::files::{FileError, Identity};
use super::watch::{Outlook, Watch};
use crate::clock::UnixTime;

/// A certificate of ours and its key, as they were last read.
#[derive(Debug)]
pub(crate) struct OwnCertificate {
    files: CertificateFiles,
    current: RwLock<Arc<CertifiedKey>>,
    watch: Mutex<Watch>,
}

impl OwnCertificate {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with one of the files.
    pub(crate) fn load(files: CertificateFiles, now: UnixTime) -> Result<Self, FileError> {
        // Before they are read, so that no change is missed.
        let watch =
            Mutex::new(Watch::new(vec![files.certificate_file.clone(), files.private_key_file.clone()]));
        let current = RwLock::new(Identity::read(&files, 0, now)?.key);
        Ok(Self { files, current, watch })
    }

    /// Looks at the files, and reads them again if they have changed; `None` where they have not. Where anything is wrong with them, what
    /// was in use stays in use.
    pub(crate) fn refresh(&self, now: UnixTime) -> Option<Result<(), FileError>> {
        let outlook = self.watch.lock().unwrap_or_else(PoisonError::into_inner).look();
        (outlook == Outlook::Changed).then(|| {
            let key = Identity::read(&self.files, 0, now)?.key;
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = key;
            Ok(())
        })
    }

    /// Where it lies.
    pub(crate) const fn file(&self) -> &PathBuf {
        &self.files.certificate_file
    }
}

impl ResolvesClientCert for OwnCertificate {
    /// There is but one: whoever asks for another's is shown this, and says no.
    fn resolve(&self, _authorities: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let current = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        current.key.choose_scheme(schemes).is_some().then_some(current)
    }

    fn has_certs(&self) -> bool {
        true
    }
}
