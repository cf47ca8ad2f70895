//! An issuer of tokens: one P-256 key, and what it signs. And what it takes to verify that, and nothing else.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, ParsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::time::{ClockId, clock_gettime};

use crate::configuration::{AUDIENCE, ISSUER, PUBLIC_KEY_FILE};

/// Signs tokens by ES256. Its key is new each time, and on no disk.
#[derive(Debug)]
pub struct Issuer(EcdsaKeyPair);

impl Issuer {
    /// A new one, whose public key is in `folder` from now on.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let made = rcgen::KeyPair::generate().map_err(io::Error::other)?;
        fs::write(folder.join(PUBLIC_KEY_FILE), made.public_key_pem())?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &made.serialize_der());
        key.map(Self).map_err(io::Error::other)
    }

    /// A token of `subject` for two hours, with the claims that issuers write.
    ///
    /// # Errors
    /// The clock is before 1970, or the library does not sign.
    pub fn token(&self, subject: &str) -> io::Result<String> {
        let now = SystemTime::UNIX_EPOCH.elapsed().map_err(io::Error::other)?.as_secs();
        let claims = format!(
            "{{\"iss\":\"{ISSUER}\",\"aud\":\"{AUDIENCE}\",\"sub\":\"{subject}\",\"iat\":{now},\"exp\":{},\
             \"jti\":\"{now:032x}\",\"scope\":\"chat.read chat.write\"}}",
            now + 2 * 60 * 60
        );
        let [header, claims] =
            ["{\"alg\":\"ES256\",\"typ\":\"JWT\"}", &claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let signed = format!("{header}.{claims}");
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).map_err(io::Error::other)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The CPU time of one bare verification of `token`, in nanoseconds, measured for `time`: no base64, no JSON, nothing but
    /// the library and a key that has been made ready.
    ///
    /// # Errors
    /// The token is not this issuer's.
    pub fn verify_ns(&self, token: &str, time: Duration) -> io::Result<f64> {
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.0.public_key().as_ref())
            .map_err(io::Error::other)?;
        let (signed, signature) =
            token.rsplit_once('.').ok_or_else(|| io::Error::other("the token has no signature"))?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(io::Error::other)?;
        let (before, deadline) = (thread_cpu_ns(), Instant::now() + time);
        let mut count = 0.0;
        while Instant::now() < deadline {
            key.verify_sig(signed.as_bytes(), &signature).map_err(io::Error::other)?;
            count += 1.0;
        }
        Ok((thread_cpu_ns() - before) / count)
    }
}

/// The CPU time of this thread so far, in nanoseconds.
fn thread_cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_verifies_and_another_does_not() {
        let folder = std::env::temp_dir();
        let issuer = Issuer::new(&folder).unwrap();
        let token = issuer.token("alice").unwrap();
        assert!(issuer.verify_ns(&token, Duration::from_millis(1)).unwrap() > 0.0);
        let foreign = Issuer::new(&folder).unwrap().token("alice").unwrap();
        assert!(issuer.verify_ns(&foreign, Duration::from_millis(1)).is_err());
    }
}
