//! The claims of a token (RFC 7519 §4) to a [`Principal`]. Malformed is not absent: a claim of the wrong type is refused
//! also where nothing asks for it.
//!
//! Never sees claims whose signature has not been verified. Comes last; what is wrong for good is said before what time
//! has brought, so that "expired" always means that a newer token of this kind would do.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{Config, Expected, TokenError};
use crate::clock::UnixTime;
use crate::json::{Element, Kind};
use crate::principal::{Claims, KeyPrint, Principal};

/// Who speaks, according to `claims` that have been verified with `key`; `text` is what they were read from.
pub(super) fn principal(
    claims: Element<'_>,
    text: &str,
    key: Option<KeyPrint>,
    config: &Config,
    now: UnixTime,
) -> Result<Principal, TokenError> {
    let registered = Registered::of(claims);
    let expires_at = moment(registered.exp, "exp")?.ok_or(TokenError::ExpiryMissing)?;
    let issued_at = moment(registered.iat, "iat")?;
    let not_before = moment(registered.nbf, "nbf")?;
    check_issuer(registered.iss, &config.issuer)?;
    check_audience(registered.aud, &config.audience)?;
    let subject = subject(claims, &config.subject_claims)?;
    let token_id = registered.jti.map(|id| identifier(id, "jti")).transpose()?;

    // Without `iat` a token counts as issued now: the least that its lifetime can be.
    let lifetime = expires_at.since(issued_at.unwrap_or(now));
    if config.token_lifetime_max.is_some_and(|lifetime_max| lifetime > lifetime_max) {
        return Err(TokenError::LifetimeTooLong);
    }
    if issued_at.is_some_and(|issued_at| issued_at > now.plus(config.leeway)) {
        return Err(TokenError::IssuedInTheFuture);
    }
    if not_before.is_some_and(|not_before| not_before > now.plus(config.leeway)) {
        return Err(TokenError::NotYetValid);
    }
    // RFC 7519 §4.1.4: not on or after that time.
    if now >= expires_at.plus(config.leeway) {
        return Err(TokenError::Expired);
    }
    Ok(Principal { subject, token_id, issued_at, expires_at, key, claims: Claims::of_text(text) })
}

/// The registered claims (RFC 7519 §4.1) that are judged, found in one pass.
#[derive(Default)]
struct Registered<'c> {
    exp: Option<Element<'c>>,
    iat: Option<Element<'c>>,
    nbf: Option<Element<'c>>,
    iss: Option<Element<'c>>,
    aud: Option<Element<'c>>,
    jti: Option<Element<'c>>,
}

impl<'c> Registered<'c> {
    fn of(claims: Element<'c>) -> Self {
        let mut found = Self::default();
        for (name, value) in claims.members() {
            let place = match name {
                "exp" => &mut found.exp,
                "iat" => &mut found.iat,
                "nbf" => &mut found.nbf,
                "iss" => &mut found.iss,
                "aud" => &mut found.aud,
                "jti" => &mut found.jti,
                _ => continue,
            };
            *place = Some(value);
        }
        found
    }
}

fn moment(claim: Option<Element<'_>>, name: &'static str) -> Result<Option<UnixTime>, TokenError> {
    let read = |value: Element<'_>| numeric_date(&value.to_value()).ok_or(TokenError::ClaimMalformed(name));
    claim.map(read).transpose()
}

/// The moment that a claim names.
///
/// RFC 7519 §2: seconds since 1970, fractions allowed; never a string, and nothing that a clock cannot show.
#[must_use]
pub fn numeric_date(value: &Value) -> Option<UnixTime> {
    if let Some(seconds) = value.as_u64() {
        return Some(UnixTime::from_seconds(seconds));
    }
    let since_1970 = Duration::try_from_secs_f64(value.as_f64()?).ok()?;
    Some(UnixTime::from_seconds(0).plus(since_1970))
}

fn check_issuer(issuer: Option<Element<'_>>, expected: &Expected) -> Result<(), TokenError> {
    let issuer = match issuer.map(Element::kind) {
        None => None,
        Some(Kind::String(issuer)) => Some(issuer),
        Some(_) => return Err(TokenError::ClaimMalformed("iss")),
    };
    match expected {
        Expected::Any => Ok(()),
        Expected::Exactly(expected) if issuer == Some(expected.as_str()) => Ok(()),
        Expected::Exactly(_) => Err(TokenError::IssuerRefused),
    }
}

/// RFC 7519 §4.1.3: a string, or an array of strings one of which has to be ours.
fn check_audience(audience: Option<Element<'_>>, expected: &Expected) -> Result<(), TokenError> {
    let audiences = || {
        let alone = audience.into_iter().filter(|audience| !audience.is_array());
        alone.chain(audience.into_iter().flat_map(Element::elements))
    };
    if !audiences().all(|audience| audience.as_str().is_some()) {
        return Err(TokenError::ClaimMalformed("aud"));
    }
    match expected {
        Expected::Any => Ok(()),
        Expected::Exactly(expected) if audiences().any(|audience| audience.as_str() == Some(expected)) => {
            Ok(())
        }
        Expected::Exactly(_) => Err(TokenError::AudienceRefused),
    }
}

/// The first claim that is present decides, so that nobody becomes another by breaking the one before it.
fn subject(claims: Element<'_>, names: &[String]) -> Result<Arc<str>, TokenError> {
    let value = names.iter().find_map(|name| claims.get(name)).ok_or(TokenError::SubjectMissing)?;
    identifier(value, "subject").map_err(|_| TokenError::SubjectRefused)
}

/// A name that indexes, logs and headers can carry: a string of 1 to [`IDENTIFIER_BYTES_MAX`] bytes without control
/// characters.
fn identifier(value: Element<'_>, name: &'static str) -> Result<Arc<str>, TokenError> {
    match value.as_str() {
        Some(text)
            if (1..=IDENTIFIER_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control) =>
        {
            Ok(text.into())
        }
        Some(_) | None => Err(TokenError::ClaimMalformed(name)),
    }
}

/// The longest subject and token id. The longest e-mail address, 254 bytes, fits.
const IDENTIFIER_BYTES_MAX: usize = 256;
