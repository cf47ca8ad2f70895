//! One attempt to authenticate: not made at all for a client that has failed too often, and counted where it fails, for the client and for
//! the subject that its token names.
//!
//! Stands around every place that verifies a credential: of the request, of a first message, and of a refresh.

use super::{Gate, Route};
use crate::auth::Authenticator;
use crate::auth::failures::{TooManyFailures, Whose};
use crate::principal::ClientAddr;
use crate::reason::Reason;
use crate::upgrade::Refused;

/// Lets `client` try, by what `verify` verifies, if it may. What fails is a guess at whom `claimed` names, whoever that is.
pub(super) async fn attempt<T>(
    gate: &Gate,
    route: &Route,
    client: ClientAddr,
    claimed: impl FnOnce(&Authenticator) -> Option<String>,
    verify: impl Future<Output = Result<T, Refused>>,
) -> Result<T, Refused> {
    let (Some(failures), Some(authenticator)) = (&route.failures, &route.authenticator) else {
        return verify.await;
    };
    let now = gate.facilities.clock.now();
    failures.may_try(client, now)?;
    let verified = verify.await;
    // What has expired or was revoked was good once: whoever shows it has guessed nothing.
    if verified.as_ref().is_err_and(|refused| refused.reason == Reason::TokenInvalid) {
        failures.note(client, now);
        if let Some(subject) = claimed(authenticator) {
            failures.note_subject(&subject, now)?;
        }
    }
    verified
}

impl From<TooManyFailures> for Refused {
    fn from(TooManyFailures { limit, whose }: TooManyFailures) -> Self {
        let detail = match whose {
            Whose::Client => "of this client",
            Whose::Subject => "of tokens that name one subject; good ones of it are let in",
        };
        let refused = Self::detailed(Reason::AuthenticationRateExceeded, &detail);
        Self { limit: Some(limit.into()), ..refused }
    }
}
