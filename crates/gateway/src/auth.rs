//! Credentials to a [`Principal`]: what an authenticator is told, and what it refuses.
//!
//! A JSON Web Token is verified in one order, each step trusting only the ones before it: its size and shape
//! (`token.rs`), what its header says (`jose.rs`), its signature (`keys.rs`), then its claims (`claims.rs`). Comes after
//! the upgrade or the first message and before the session. Never logs, waits, fetches or reads time: `now` is an
//! argument, and the same token, key and moment always give the same answer.

pub mod certificate;
mod claims;
pub(crate) mod credential;
pub(crate) mod failures;
mod jose;
mod keys;
pub mod token;

use std::time::Duration;

pub use self::claims::numeric_date;
pub use self::token::TokenError;
use self::token::{Compact, Part};
use crate::clock::UnixTime;
use crate::principal::Principal;
use crate::secret::Secret;
use crate::session;

/// Verifies credentials as one `[auth.NAME]` table says.
#[derive(Debug)]
pub struct Authenticator {
    config: Config,
    key: keys::VerifyingKey,
}

impl Authenticator {
    /// An authenticator for `config`.
    ///
    /// # Errors
    /// With the first of [`Config::problems`].
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        if let Some(problem) = config.problems().first() {
            return Err(*problem);
        }
        let key = keys::VerifyingKey::hmac(&config.key);
        Ok(Self { config, key })
    }

    /// Who speaks, according to `token`, a JSON Web Token in compact form with nothing around it.
    ///
    /// # Errors
    /// When the token is refused. [`TokenError::Expired`] is said only of a token whose signature and other claims are
    /// right.
    pub fn verify(&self, token: &[u8], now: UnixTime) -> Result<Principal, TokenError> {
        let compact = Compact::split(token)?;
        let header = token::object(compact.header, Part::Header)?;
        let algorithm = jose::algorithm(&header, &self.config.algorithms)?;
        let signature = token::decode(compact.signature, Part::Signature)?;
        if !self.key.verifies(algorithm, compact.signed, &signature) {
            return Err(TokenError::SignatureRefused);
        }
        let claims = token::object(compact.claims, Part::Claims)?;
        claims::principal(claims, &self.config, now)
    }

    /// What it was told.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }
}

/// How one `[auth.NAME]` table authenticates.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where a credential may come from, in the order of preference.
    pub credentials: Vec<CredentialSource>,
    /// The algorithms that tokens may be signed with; the key decides, the token's header only has to agree.
    pub algorithms: Vec<Algorithm>,
    /// The key for the HMAC algorithms.
    pub key: Secret,
    /// What `iss` must be.
    pub issuer: Expected,
    /// What `aud` must be or contain.
    pub audience: Expected,
    /// The claims that may name the subject: the first that is present counts, and must be a non-empty string.
    pub subject_claims: Vec<String>,
    /// How long a connection may take to send its first message, from the `101` on.
    pub first_message_timeout: Duration,
    /// The longest `exp - iat` that a token may have; `None` is unlimited.
    pub token_lifetime_max: Option<Duration>,
    /// How far clocks may differ when `exp`, `nbf` and `iat` are checked.
    pub leeway: Duration,
    /// How often one client may show a credential that is not good, in a minute; then it has to wait. `None` is unlimited.
    pub failures_per_client_per_minute: Option<u32>,
    /// The rules for the sessions that its credentials begin.
    pub sessions: session::Config,
}

impl Config {
    /// Whether tokens are a credential; where only certificates are, there is nothing to verify tokens with.
    #[must_use]
    pub fn takes_tokens(&self) -> bool {
        !CredentialSource::are_certificates(&self.credentials)
    }

    /// Everything in it that must not be, in the order of its fields.
    #[must_use]
    pub fn problems(&self) -> Vec<ConfigError> {
        let found = [
            (self.credentials.is_empty(), ConfigError::NoCredentials),
            (self.takes_tokens() && self.algorithms.is_empty(), ConfigError::NoAlgorithm),
            (self.takes_tokens() && self.key.expose().len() < HMAC_KEY_BYTES_MIN, ConfigError::KeyTooShort),
            (self.subject_claims.is_empty(), ConfigError::NoSubjectClaim),
            (self.leeway > LEEWAY_MAX, ConfigError::LeewayTooLong),
        ];
        found.into_iter().filter_map(|(is_wrong, problem)| is_wrong.then_some(problem)).collect()
    }
}

/// What an authenticator cannot start with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No place is named that a credential may come from.
    #[error("no source of credentials is named")]
    NoCredentials,
    /// No algorithm is allowed.
    #[error("no algorithm is named")]
    NoAlgorithm,
    /// RFC 7518 §3.2: an HMAC key must be at least as long as the hash.
    #[error("the secret is shorter than {HMAC_KEY_BYTES_MIN} bytes")]
    KeyTooShort,
    /// No claim may name the subject.
    #[error("no claim is named that says who the subject is")]
    NoSubjectClaim,
    /// More than clocks that are kept at all can differ.
    #[error("the leeway is longer than {} seconds", LEEWAY_MAX.as_secs())]
    LeewayTooLong,
}

/// Where a credential is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// The first message after the `101`.
    FirstMessage,
    /// `Authorization: Bearer TOKEN` (RFC 6750 §2.1).
    AuthorizationHeader,
    /// The cookie of this name. Browsers add it by themselves, so an Origin that the route names is required with it.
    Cookie(String),
    /// An entry `drawgate.token.TOKEN` among the subprotocols, beside at least one other: for browsers, which can send no
    /// header of their own.
    Subprotocol,
    /// The query parameter of this name. Addresses end up in logs and histories; this is the last choice.
    Query(String),
    /// A one-time ticket: the query parameter `ticket`, an entry `drawgate.ticket.TICKET` among the subprotocols, or the first
    /// message where that is a source too.
    Ticket,
    /// The certificate that the client showed in the TLS handshake; what is named in it is the subject.
    ClientCertificate(certificate::Name),
}

impl CredentialSource {
    /// Whether certificates are the only credential among `sources`.
    pub(crate) fn are_certificates(sources: &[Self]) -> bool {
        !sources.is_empty() && sources.iter().all(|source| matches!(source, Self::ClientCertificate(_)))
    }
}

/// A signature algorithm (RFC 7518 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
}

impl Algorithm {
    /// Its name in tokens and in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
        }
    }
}

/// What a claim must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Anything, or nothing: written out as `"any"`.
    Any,
    /// Exactly this.
    Exactly(String),
}

/// The shortest HMAC key: as long as what SHA-256 gives.
pub const HMAC_KEY_BYTES_MIN: usize = 32;

/// The longest leeway.
pub const LEEWAY_MAX: Duration = Duration::from_secs(30);
