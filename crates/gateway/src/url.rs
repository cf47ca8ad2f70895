//! Addresses that the gateway itself asks: `https://HOST[:PORT][/PATH][?QUERY]`, and `http://` on this machine alone.
//!
//! Read once, where they are written, so that nothing asked later can be an address that must not be asked. Never
//! resolves or connects; floor 1.

mod site;
mod upstream;

use site::{Site, SiteError};
pub use upstream::{UpstreamUrl, UpstreamUrlError};

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An `https:` address, or an `http:` one on loopback, taken apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Url {
    site: Site,
    /// Path and query.
    target: String,
}

impl Url {
    /// Whether it is `https:`.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.site.is_secure
    }

    /// What `Host` says to it (RFC 9110 §7.2).
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.site.authority
    }

    /// The host in lower case, an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.site.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.site.port
    }

    /// Path and query, as in a request (RFC 9112 §3.2.1).
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Where it leads without asking a resolver: the address that it names, and both loopback ones for `localhost`
    /// (RFC 6761 §6.3). Empty for other names.
    #[must_use]
    pub fn own_addresses(&self) -> Vec<IpAddr> {
        self.site.own_addresses()
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.len() > URL_BYTES_MAX {
            return Err(UrlError::TooLong);
        }
        // RFC 3986 §2: everything else stands in it escaped. A backslash, which some take for a slash, is none of it.
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)) {
            return Err(UrlError::CharacterRefused);
        }
        let (is_secure, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some(_) | None => return Err(UrlError::SchemeRefused),
        };
        if rest.contains('#') {
            return Err(UrlError::HasFragment);
        }
        let (authority, target) = match rest.find(['/', '?']) {
            None => (rest, "/".to_owned()),
            Some(at) if rest[at..].starts_with('?') => (&rest[..at], format!("/{}", &rest[at..])),
            Some(at) => (&rest[..at], rest[at..].to_owned()),
        };
        let url = Self { site: Site::read(is_secure, authority)?, target };
        let own = url.own_addresses();
        if !is_secure && (own.is_empty() || !own.iter().all(IpAddr::is_loopback)) {
            return Err(UrlError::NotEncrypted);
        }
        Ok(url)
    }
}

impl fmt::Display for Url {
    /// Without the query, which may hold a credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure() { "https" } else { "http" };
        let path = self.target.split('?').next().unwrap_or_default();
        write!(f, "{scheme}://{}{path}", self.authority())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no address to ask. Each says what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is longer than [`URL_BYTES_MAX`].
    #[error("is longer than {URL_BYTES_MAX} bytes")]
    TooLong,
    /// It has what must be escaped in an address.
    #[error("has a character that an address cannot have: escape it as %XX")]
    CharacterRefused,
    /// It begins otherwise.
    #[error("does not begin with https:// (or, on this machine alone, http://)")]
    SchemeRefused,
    /// There is a name or a password in it.
    #[error("has a name or password before an @, which would end up in logs: leave them out")]
    HasUserInfo,
    /// It has a fragment, which is never sent.
    #[error("has a fragment: leave out # and what follows")]
    HasFragment,
    /// It has a query where none can be.
    #[error("has a query: leave out ? and what follows")]
    HasQuery,
    /// What should be a host is none.
    #[error("names no host")]
    HostRefused,
    /// `http:` to another machine: whoever is between could answer in its place.
    #[error("is not encrypted: write https://; http:// is only for localhost, 127.0.0.1 and [::1]")]
    NotEncrypted,
}

impl From<SiteError> for UrlError {
    fn from(error: SiteError) -> Self {
        match error {
            SiteError::HasUserInfo => Self::HasUserInfo,
            SiteError::HostRefused => Self::HostRefused,
        }
    }
}

/// The most bytes of an address.
pub const URL_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (text, is_secure, authority, host, port, target) in [
            ("https://keys.example", true, "keys.example", "keys.example", 443, "/"),
            ("https://Keys.Example:443/a/B?c=D", true, "keys.example", "keys.example", 443, "/a/B?c=D"),
            ("https://keys.example:8443?x", true, "keys.example:8443", "keys.example", 8443, "/?x"),
            ("https://192.0.2.1/", true, "192.0.2.1", "192.0.2.1", 443, "/"),
            ("https://[2001:db8::1]:1/", true, "[2001:db8::1]:1", "2001:db8::1", 1, "/"),
            ("http://localhost:8080/jwks", false, "localhost:8080", "localhost", 8080, "/jwks"),
            ("http://127.0.0.1", false, "127.0.0.1", "127.0.0.1", 80, "/"),
            ("http://127.1.2.3:81/", false, "127.1.2.3:81", "127.1.2.3", 81, "/"),
            ("http://[::1]/", false, "[::1]", "::1", 80, "/"),
        ] {
            let url: Url = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            let found = (url.is_secure(), url.authority(), url.host(), url.port(), url.target());
            assert_eq!(found, (is_secure, authority, host, port, target), "{text}");
        }
    }

    #[test]
    fn a33_http_beyond_loopback_is_no_address() {
        for text in [
            "http://keys.example/",
            "http://192.168.1.1/",
            "http://0.0.0.0/",
            "http://127.0.0.1.example/",
            // Other spellings of 127.0.0.1, which a resolver may know and this does not.
            "http://127.1/",
            "http://2130706433/",
            "http://localhost.example/",
            "http://localhost./",
            "http://[::]/",
            "http://[2001:db8::1]/",
        ] {
            assert_eq!(text.parse::<Url>(), Err(UrlError::NotEncrypted), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, error) in [
            ("", UrlError::SchemeRefused),
            ("keys.example/jwks", UrlError::SchemeRefused),
            ("file:///etc/passwd", UrlError::SchemeRefused),
            ("HTTPS://keys.example/", UrlError::SchemeRefused),
            ("https:/keys.example/", UrlError::SchemeRefused),
            ("https://", UrlError::HostRefused),
            ("https:///jwks", UrlError::HostRefused),
            ("https://keys.example:0/", UrlError::HostRefused),
            ("https://keys.example:/", UrlError::HostRefused),
            ("https://keys.example:65536/", UrlError::HostRefused),
            ("https://[::1/", UrlError::HostRefused),
            ("https://me@keys.example/", UrlError::HasUserInfo),
            ("https://me:word@keys.example/", UrlError::HasUserInfo),
            ("http://127.0.0.1@keys.example/", UrlError::HasUserInfo),
            ("https://keys.example/#a", UrlError::HasFragment),
            ("https://keys.example/a b", UrlError::CharacterRefused),
            ("https://keys.example\\@other.example/", UrlError::CharacterRefused),
            ("https://keys.example/\r\nX: y", UrlError::CharacterRefused),
            ("https://schlüssel.example/", UrlError::CharacterRefused),
        ] {
            assert_eq!(text.parse::<Url>(), Err(error), "{text}");
        }
        let long = format!("https://keys.example/{}", "a".repeat(URL_BYTES_MAX));
        assert_eq!(long.parse::<Url>(), Err(UrlError::TooLong));
    }

    #[test]
    fn a_query_is_not_shown() {
        let url: Url = "https://keys.example:8443/jwks?key=secret".parse().unwrap();
        assert_eq!(url.to_string(), "https://keys.example:8443/jwks");
        assert_eq!(format!("{url:?}"), "https://keys.example:8443/jwks");
    }
}
