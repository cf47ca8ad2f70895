//! An issuer of tokens: one P-256 key and one secret, and what is signed by them. And what it takes to verify a signature by the key, and
//! nothing else.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, ParsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::time::{ClockId, clock_gettime};

use crate::configuration::{AUDIENCE, ISSUER, PUBLIC_KEY_FILE, SECRET_FILE};

/// Signs tokens by ES256, and by HS256 where that is asked for. What it signs by is new each time.
#[derive(Debug)]
pub struct Issuer {
    key: EcdsaKeyPair,
    secret: hmac::Key,
}

impl Issuer {
    /// A new one, whose public key and secret are in `folder` from now on.
    ///
    /// # Errors
    /// A file cannot be written, or the system has no randomness.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let made = rcgen::KeyPair::generate().map_err(io::Error::other)?;
        fs::write(folder.join(PUBLIC_KEY_FILE), made.public_key_pem())?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &made.serialize_der());
        let key = key.map_err(io::Error::other)?;
        // None of its bytes is white space, which files of secrets may end in.
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).map_err(io::Error::other)?;
        let secret = URL_SAFE_NO_PAD.encode(secret);
        write_secret(&folder.join(SECRET_FILE), secret.as_bytes())?;
        Ok(Self { key, secret: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()) })
    }

    /// A token of `subject` for two hours, with the claims that issuers write.
    ///
    /// # Errors
    /// The clock is before 1970, or the library does not sign.
    pub fn token(&self, subject: &str) -> io::Result<String> {
        let signed = signed_part("ES256", subject)?;
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).map_err(io::Error::other)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The same, signed by the secret.
    ///
    /// # Errors
    /// The clock is before 1970.
    pub fn token_by_secret(&self, subject: &str) -> io::Result<String> {
        let signed = signed_part("HS256", subject)?;
        let tag = hmac::sign(&self.secret, signed.as_bytes());
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag)))
    }

    /// The CPU time of one bare verification of `token`, in nanoseconds, measured for `time`: no base64, no JSON, nothing but
    /// the library and a key that has been made ready.
    ///
    /// # Errors
    /// The token is not this issuer's.
    pub fn verify_ns(&self, token: &str, time: Duration) -> io::Result<f64> {
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref())
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

/// Header and claims of a token for two hours, with what issuers write.
fn signed_part(algorithm: &str, subject: &str) -> io::Result<String> {
    let now = SystemTime::UNIX_EPOCH.elapsed().map_err(io::Error::other)?.as_secs();
    let claims = format!(
        "{{\"iss\":\"{ISSUER}\",\"aud\":\"{AUDIENCE}\",\"sub\":\"{subject}\",\"iat\":{now},\"exp\":{},\
         \"jti\":\"{now:032x}\",\"scope\":\"chat.read chat.write\"}}",
        now + 2 * 60 * 60
    );
    let header = format!("{{\"alg\":\"{algorithm}\",\"typ\":\"JWT\"}}");
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    Ok(format!("{header}.{claims}"))
}

/// Writes `secret` to `file`, for nobody else to read.
///
/// # Errors
/// It cannot be written.
pub fn write_secret(file: &Path, secret: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
    file.write_all(secret)
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
