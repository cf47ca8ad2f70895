//! Where an issuer of tokens keeps its keys (`OpenID` Connect Discovery 1.0 §4), and what lies there.
//!
//! Believes a document only where it names the very issuer that was asked (§4.3), and goes on only to an address that an
//! operator could have written. Both requests share one deadline. Comes after `fetch.rs`, before `source.rs`.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use super::fetch::{Bounds, FetchError, get};
use crate::auth::{Issuer, KeyLocation};
use crate::json;
use crate::tls::Trust;
use crate::url::{Url, UrlError};

/// Why there are no bytes that could be keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocateError {
    #[error("the keys cannot be fetched")]
    Keys(#[source] FetchError),
    #[error("the issuer's document cannot be fetched")]
    Document(#[source] FetchError),
    #[error("the issuer's document and the keys took longer than {} ms", .0.as_millis())]
    TooSlow(Duration),
    #[error("the issuer's document is not strict JSON")]
    NotJson,
    #[error("the issuer's document names another issuer than the one that was asked")]
    IssuerDiffers,
    #[error("the issuer's document has no jwks_uri")]
    NoAddress,
    #[error("the jwks_uri in the issuer's document {0}")]
    AddressRefused(UrlError),
}

/// What lies at `location`.
pub(crate) async fn fetch(
    location: &KeyLocation,
    trust: &Trust,
    bounds: Bounds,
) -> Result<Vec<u8>, LocateError> {
    match location {
        KeyLocation::Url(url) => get(url, trust, bounds).await.map_err(LocateError::Keys),
        KeyLocation::Issuer(issuer) => {
            let too_slow = LocateError::TooSlow(bounds.deadline);
            let both = Box::pin(async {
                let url = discover(issuer, trust, bounds).await?;
                get(&url, trust, bounds).await.map_err(LocateError::Keys)
            });
            timeout(bounds.deadline, both).await.unwrap_or(Err(too_slow))
        }
    }
}

/// Where `issuer` says that its keys are.
async fn discover(issuer: &Issuer, trust: &Trust, bounds: Bounds) -> Result<Url, LocateError> {
    let document = get(issuer.document(), trust, bounds).await.map_err(LocateError::Document)?;
    let text = str::from_utf8(&document).map_err(|_| LocateError::NotJson)?;
    let document = json::parse(text).map_err(|_| LocateError::NotJson)?;
    // §4.3: identical, so that neither of two issuers at one host can speak for the other.
    if document.get("issuer").and_then(Value::as_str) != Some(issuer.name()) {
        return Err(LocateError::IssuerDiffers);
    }
    let address = document.get("jwks_uri").and_then(Value::as_str).ok_or(LocateError::NoAddress)?;
    let url: Url = address.parse().map_err(LocateError::AddressRefused)?;
    // Who is elsewhere has no business on this machine.
    if issuer.document().is_secure() && !url.is_secure() {
        return Err(LocateError::AddressRefused(UrlError::NotEncrypted));
    }
    Ok(url)
}
