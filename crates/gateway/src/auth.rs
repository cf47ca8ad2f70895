//! Credentials to a [`Principal`]: what an authenticator is told, and what it refuses.
//!
//! A JSON Web Token is verified in one order, each step trusting only the ones before it: its size and shape
//! (`token.rs`), what its header says (`jose.rs`), its signature (`keyset.rs`, `keys.rs`), then its claims (`claims.rs`).
//! Comes after the upgrade or the first message and before the session. Never logs, waits, fetches or reads time: `now` is
//! an argument, and the same token, keys and moment always give the same answer.

mod algorithm;
pub mod certificate;
mod claims;
pub(crate) mod credential;
pub(crate) mod failures;
mod jose;
pub mod jwks;
mod keys;
mod keyset;
mod pem;
mod remote;
mod sign;
pub mod token;
mod token_type;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

pub use self::algorithm::{Algorithm, KeyKind};
pub use self::claims::numeric_date;
pub use self::keys::{KeyError, RSA_BITS_MAX, RSA_BITS_MIN, VerifyingKey};
pub use self::keyset::{KEYS_MAX, KEYS_TRIED_MAX, KeySet, KeySetError};
pub use self::pem::{PEM_BYTES_MAX, PemError};
pub use self::remote::{Issuer, KeyLocation, RemoteKeys};
pub use self::sign::{SignError, SigningKey};
pub use self::token::TokenError;
use self::token::{Compact, Part};
pub use self::token_type::{TokenType, TokenTypeError};
use crate::clock::UnixTime;
use crate::principal::Principal;
use crate::secret::Secret;
use crate::session;

/// Verifies credentials as one `[auth.NAME]` table says.
#[derive(Debug)]
pub struct Authenticator {
    config: Config,
    /// What tokens are verified with now; the lock is held only to take or to change it.
    keys: RwLock<Arc<KeySet>>,
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
        let keys = RwLock::new(config.keys.set());
        Ok(Self { config, keys })
    }

    /// Verifies with `keys` from now on. Sessions that have begun go on.
    pub fn set_keys(&self, keys: KeySet) {
        self.share_keys(Arc::new(keys));
    }

    /// Verifies with `keys` from now on, as others do.
    pub(crate) fn share_keys(&self, keys: Arc<KeySet>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// What it verifies with now.
    #[must_use]
    pub fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who speaks, according to `token`, a JSON Web Token in compact form with nothing around it.
    ///
    /// # Errors
    /// When the token is refused. [`TokenError::Expired`] is said only of a token whose signature and other claims are
    /// right.
    pub fn verify(&self, token: &[u8], now: UnixTime) -> Result<Principal, TokenError> {
        self.verify_with(&self.keys(), token, now)
    }

    /// Who speaks, according to `token`, where `keys` are in the place of its own.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_with(&self, keys: &KeySet, token: &[u8], now: UnixTime) -> Result<Principal, TokenError> {
        let compact = Compact::split(token)?;
        let header = token::text(compact.header, Part::Header)?;
        let header = token::object(&header, Part::Header)?;
        let named = jose::read(header.root(), &self.config.algorithms, self.config.token_types.as_deref())?;
        let signature = token::decode(compact.signature, Part::Signature)?;
        let key = keys.verify(named, compact.signed, &signature)?;
        let text = token::text(compact.claims, Part::Claims)?;
        let claims = token::object(&text, Part::Claims)?;
        claims::principal(claims.root(), &text, key, &self.config, now)
    }

    /// Whom `token` says that it is for, whoever made it: for counting what is not good, never for deciding.
    pub(crate) fn claimed_subject(&self, token: &[u8]) -> Option<String> {
        let claims = token::read_unverified(token).ok()?.claims;
        let names = &self.config.subject_claims;
        names.iter().find_map(|name| claims.get(name))?.as_str().map(str::to_owned)
    }

    /// What it was told.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }
}

/// How one `[auth.NAME]` table authenticates.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where a credential may come from, in the order of preference.
    pub credentials: Vec<CredentialSource>,
    /// The algorithms that tokens may be signed with. The key decides which of them; the token's header only has to agree.
    pub algorithms: Vec<Algorithm>,
    /// What `typ` must be one of; `None` where a token may leave it out, and otherwise says `JWT` or `at+jwt`.
    pub token_types: Option<Vec<TokenType>>,
    /// What tokens are verified with.
    pub keys: Keys,
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
    /// How many tokens that are not good may name one subject, in a minute; the next ones hear of that, and good ones are let in. `None`
    /// is unlimited.
    pub failures_per_subject_per_minute: Option<u32>,
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
        let mut problems = Vec::new();
        if self.credentials.is_empty() {
            problems.push(ConfigError::NoCredentials);
        }
        if self.takes_tokens() {
            problems.extend(self.problems_with_algorithms());
            if self.token_types.as_ref().is_some_and(Vec::is_empty) {
                problems.push(ConfigError::NoTokenType);
            }
        }
        if self.subject_claims.is_empty() {
            problems.push(ConfigError::NoSubjectClaim);
        }
        if self.leeway > LEEWAY_MAX {
            problems.push(ConfigError::LeewayTooLong);
        }
        problems
    }

    /// Each algorithm that the keys can be no use for, or that they are no use for any.
    fn problems_with_algorithms(&self) -> Vec<ConfigError> {
        if self.algorithms.is_empty() {
            return vec![ConfigError::NoAlgorithm];
        }
        let misfit = |algorithm: &Algorithm| match &self.keys {
            Keys::Secret(_) if algorithm.key_kind() != KeyKind::Secret => {
                Some(ConfigError::AlgorithmUnfit(*algorithm))
            }
            Keys::Secret(secret) if secret.expose().len() < algorithm.secret_bytes_min() => {
                Some(ConfigError::KeyTooShort(*algorithm))
            }
            // A public key must never come to be taken for a secret.
            Keys::Set(_) | Keys::File(..) | Keys::Remote(_) if algorithm.key_kind() == KeyKind::Secret => {
                Some(ConfigError::AlgorithmUnfit(*algorithm))
            }
            Keys::None | Keys::Secret(_) | Keys::Set(_) | Keys::File(..) | Keys::Remote(_) => None,
        };
        let misfits: Vec<ConfigError> = self.algorithms.iter().filter_map(misfit).collect();
        if matches!(self.keys, Keys::Remote(_)) {
            return misfits;
        }
        let keys = self.keys.set();
        if misfits.is_empty() && !self.algorithms.iter().any(|algorithm| keys.has_key_for(*algorithm)) {
            return vec![ConfigError::NoKey];
        }
        misfits
    }
}

/// Where the keys come from that tokens are verified with.
#[derive(Clone, Debug, PartialEq)]
pub enum Keys {
    /// There are none, since tokens are no credential.
    None,
    /// One secret, for the HMAC algorithms.
    Secret(Secret),
    /// Public keys, for all other algorithms.
    Set(Arc<KeySet>),
    /// The public keys of the key set in this file, as it was read, and as it will be whenever it changes.
    File(PathBuf, Arc<KeySet>),
    /// Public keys that are fetched. Until they have been, nothing verifies.
    Remote(RemoteKeys),
}

impl Keys {
    /// The secret, where they are one.
    #[must_use]
    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Secret(secret) => Some(secret),
            Self::None | Self::Set(_) | Self::File(..) | Self::Remote(_) => None,
        }
    }

    /// What an authenticator begins with.
    fn set(&self) -> Arc<KeySet> {
        match self {
            Self::None | Self::Remote(_) => Arc::new(KeySet::empty()),
            Self::Secret(secret) => Arc::new(KeySet::of_secret(secret)),
            Self::Set(set) | Self::File(_, set) => Arc::clone(set),
        }
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
    /// No type is allowed: no token would verify.
    #[error("no type of tokens is named")]
    NoTokenType,
    /// RFC 7518 §3.2: an HMAC key must be at least as long as the hash.
    #[error("the secret is shorter than the {} bytes that {algorithm} needs", .0.secret_bytes_min(), algorithm = .0)]
    KeyTooShort(Algorithm),
    /// A secret with an algorithm for public keys, or the other way round.
    #[error("the keys can never be for {0}")]
    AlgorithmUnfit(Algorithm),
    /// No key is for any of the algorithms: no token would verify.
    #[error("no key is for any of the algorithms")]
    NoKey,
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

/// What a claim must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Anything, or nothing: written out as `"any"`.
    Any,
    /// Exactly this.
    Exactly(String),
}

/// The longest leeway.
pub const LEEWAY_MAX: Duration = Duration::from_secs(30);
