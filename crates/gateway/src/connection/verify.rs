//! A token to whoever shows it, where that may take a look at keys elsewhere.
//!
//! A token that names a key which is not known may name one that is new: then the keys are asked for once, within limits
//! that `crate::jwks` keeps, and the token is verified again. Comes after the credential has been found; the authenticator
//! decides, and knows nothing of where keys come from.

use std::time::Duration;

use super::Route;
use crate::auth::{Authenticator, TokenError};
use crate::clock::Clock;
use crate::principal::{KeyPrint, Principal};
use crate::reason::Reason;

/// Why nobody is known by a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unverified {
    #[error("{0}")]
    Token(TokenError),
    /// There is nothing to verify with.
    #[error("there are no keys that could be used")]
    NoKeys,
}

impl Unverified {
    /// What the client is told.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Token(error) if error.is_expired() => Reason::TokenExpired,
            Self::Token(_) => Reason::TokenInvalid,
            Self::NoKeys => Reason::KeysUnavailable,
        }
    }
}

/// Who shows `token` on `route`.
pub(super) async fn verify(
    route: &Route,
    authenticator: &Authenticator,
    token: &[u8],
    clock: &Clock,
) -> Result<Principal, Unverified> {
    let Some(source) = &route.keys else {
        return authenticator.verify(token, clock.unix_now()).map_err(Unverified::Token);
    };
    let try_once = || {
        let keys = source.current().ok_or(Unverified::NoKeys)?;
        authenticator.verify_with(&keys, token, clock.unix_now()).map_err(Unverified::Token)
    };
    match try_once() {
        Err(Unverified::NoKeys | Unverified::Token(TokenError::KeyUnknown)) => {
            // Whatever came of it, what there is now decides.
            let _ = Box::pin(source.refresh(REFRESH_TIME_MAX)).await;
            try_once()
        }
        verified => verified,
    }
}

/// Whether the key that a token was verified with is among those that there are now. To be asked once the session is
/// registered: a key that is withdrawn between the two would otherwise leave it behind.
pub(super) fn is_withdrawn(route: &Route, key: Option<KeyPrint>) -> bool {
    let Some(key) = key else { return false };
    let keys = match (&route.keys, &route.authenticator) {
        (Some(source), _) => source.current(),
        (None, Some(authenticator)) => Some(authenticator.keys()),
        (None, None) => None,
    };
    // Keys that are too old say nothing of it.
    keys.is_some_and(|keys| !keys.has(key))
}

/// How long a client waits for keys to come: longer than a fetch may take.
const REFRESH_TIME_MAX: Duration = Duration::from_millis(3500);
