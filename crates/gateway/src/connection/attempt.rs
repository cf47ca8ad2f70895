//! One attempt to authenticate: not made at all for a client that has failed too often, and counted where it fails.
//!
//! Stands around every place that verifies a credential: of the request, of a first message, and of a refresh.

use super::{Gate, Route};
use crate::auth::failures::TooManyFailures;
use crate::principal::ClientAddr;
use crate::reason::Reason;
use crate::upgrade::Refused;

/// Lets `client` try, by what `verify` verifies, if it may.
pub(super) async fn attempt<T>(
    gate: &Gate,
    route: &Route,
    client: ClientAddr,
    verify: impl Future<Output = Result<T, Refused>>,
) -> Result<T, Refused> {
    let Some(failures) = &route.failures else { return verify.await };
    let now = gate.facilities.clock.now();
    failures.may_try(client, now)?;
    let verified = verify.await;
    // What has expired or was revoked was good once: whoever shows it has guessed nothing.
    if verified.as_ref().is_err_and(|refused| refused.reason == Reason::TokenInvalid) {
        failures.note(client, now);
    }
    verified
}

impl From<TooManyFailures> for Refused {
    fn from(TooManyFailures { limit }: TooManyFailures) -> Self {
        Self { limit: Some(limit.into()), ..Self::because(Reason::AuthenticationRateExceeded) }
    }
}
