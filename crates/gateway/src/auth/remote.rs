//! Where keys lie that are not at hand: at an address, or where an issuer says that they are.
//!
//! What an operator wrote, read once into what can be asked. Never asks: `crate::jwks` does, and the connection verifies
//! with what came.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::url::{Url, UrlError};

/// Keys that are fetched, and fetched again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteKeys {
    /// Where they lie.
    pub location: KeyLocation,
    /// The authorities whose certificates are believed there, in PEM; the system's where none is named.
    pub authorities_file: Option<PathBuf>,
    /// From one fetch that went well to the next.
    pub refresh_interval: Duration,
    /// How old keys may become that could not be fetched anew; then nothing is verified with them any longer.
    pub stale_max: Duration,
}

/// Where keys lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyLocation {
    /// At this address.
    Url(Url),
    /// Where this issuer's document says.
    Issuer(Issuer),
}

impl KeyLocation {
    /// The address that is asked first, by which an operator knows it.
    #[must_use]
    pub fn url(&self) -> &Url {
        match self {
            Self::Url(url) => url,
            Self::Issuer(issuer) => &issuer.document,
        }
    }
}

/// An issuer whose document can be asked for (`OpenID` Connect Discovery 1.0 §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// Exactly as tokens name it.
    name: String,
    document: Url,
}

impl Issuer {
    /// Its name, as tokens have it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its document lies.
    #[must_use]
    pub fn document(&self) -> &Url {
        &self.document
    }
}

impl FromStr for Issuer {
    type Err = UrlError;

    fn from_str(name: &str) -> Result<Self, UrlError> {
        if name.contains('?') {
            return Err(UrlError::HasQuery);
        }
        // §4.1: a slash at the end is taken away first.
        let document = format!("{}{DOCUMENT_PATH}", name.strip_suffix('/').unwrap_or(name)).parse()?;
        Ok(Self { name: name.to_owned(), document })
    }
}

const DOCUMENT_PATH: &str = "/.well-known/openid-configuration";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_an_address_without_a_query() {
        for (name, document) in [
            ("https://issuer.example", "https://issuer.example/.well-known/openid-configuration"),
            ("https://issuer.example/", "https://issuer.example/.well-known/openid-configuration"),
            ("https://issuer.example/a", "https://issuer.example/a/.well-known/openid-configuration"),
        ] {
            let issuer: Issuer = name.parse().unwrap();
            assert_eq!((issuer.name(), &*issuer.document().to_string()), (name, document));
        }
        for (name, error) in [
            ("https://issuer.example/?a", UrlError::HasQuery),
            ("https://issuer.example/#a", UrlError::HasFragment),
            ("http://issuer.example", UrlError::NotEncrypted),
            ("issuer", UrlError::SchemeRefused),
        ] {
            assert_eq!(name.parse::<Issuer>(), Err(error), "{name}");
        }
    }
}
