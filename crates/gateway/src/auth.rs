//! Credentials to a [`Principal`]: what an authenticator is told, and what it refuses.

use std::time::Duration;

use crate::secret::Secret;

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
}

/// Where a credential is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// The first message after the `101`.
    FirstMessage,
}

/// A signature algorithm (RFC 7518 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
}

/// What a claim must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Anything, or nothing: written out as `"any"`.
    Any,
    /// Exactly this.
    Exactly(String),
}
