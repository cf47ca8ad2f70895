//! Addresses of applications behind the gate: `ws://HOST[:PORT][/PATH]` and `wss://…`.
//!
//! Unlike what the gateway asks for keys, an application may be reached unencrypted: whose network that is, is for the operator to
//! know. Never resolves or connects; floor 1.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::URL_BYTES_MAX;
use super::site::{Site, SiteError};
use crate::route::PathPattern;

/// The address of an application, taken apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamUrl {
    site: Site,
    path: Option<String>,
}

impl UpstreamUrl {
    /// Whether it is `wss:`.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.site.is_secure
    }

    /// The host and, where it is not the scheme's own, the port: what `Host` says of it.
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

    /// What takes the place of the path that the route matched; `None` where requests go on as they came.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Where it leads without asking a resolver: the address that it names, and both loopback ones for `localhost`
    /// (RFC 6761 §6.3). Empty for other names.
    #[must_use]
    pub fn own_addresses(&self) -> Vec<IpAddr> {
        self.site.own_addresses()
    }

    /// The target of a request for `target`, of which `pattern` has matched the path: the same, or with the path of this
    /// address in the place of what matched.
    pub(crate) fn target_for(&self, pattern: &PathPattern, target: &str) -> String {
        let Some(path) = self.path() else { return target.to_owned() };
        let (asked, query) = target.find('?').map_or((target, ""), |at| target.split_at(at));
        let rest = match pattern {
            PathPattern::Exact(_) => return format!("{path}{query}"),
            PathPattern::Prefix(prefix) => asked.strip_prefix(prefix.as_str()).unwrap_or_default(),
        };
        let path = path.strip_suffix('/').unwrap_or(path);
        format!("{path}/{rest}{query}")
    }
}

impl FromStr for UpstreamUrl {
    type Err = UpstreamUrlError;

    fn from_str(text: &str) -> Result<Self, UpstreamUrlError> {
        if text.len() > URL_BYTES_MAX {
            return Err(UpstreamUrlError::TooLong);
        }
        let (is_secure, rest) = match text.split_once("://") {
            Some(("wss", rest)) => (true, rest),
            Some(("ws", rest)) => (false, rest),
            Some(_) | None => return Err(UpstreamUrlError::SchemeRefused),
        };
        if rest.contains(['?', '#']) {
            return Err(UpstreamUrlError::HasQuery);
        }
        let (authority, path) = match rest.find('/') {
            None => (rest, None),
            Some(at) => (&rest[..at], Some(&rest[at..])),
        };
        let site = Site::read(is_secure, authority)?;
        let path = match path.map(PathPattern::parse) {
            None => None,
            Some(Ok(PathPattern::Exact(path))) => Some(path),
            Some(Ok(PathPattern::Prefix(_)) | Err(_)) => return Err(UpstreamUrlError::PathRefused),
        };
        Ok(Self { site, path })
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure() { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.site.authority, self.path().unwrap_or_default())
    }
}

impl fmt::Debug for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no address of an application. Each says what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamUrlError {
    /// It is longer than [`URL_BYTES_MAX`].
    #[error("is longer than {URL_BYTES_MAX} bytes")]
    TooLong,
    /// It begins otherwise.
    #[error("does not begin with ws:// or wss://")]
    SchemeRefused,
    /// There is a name or a password in it.
    #[error("has a name or password before an @, which would end up in logs: leave them out")]
    HasUserInfo,
    /// It has a query or a fragment.
    #[error("has a query or a fragment: leave out ? or # and what follows; the client's query is passed on")]
    HasQuery,
    /// What should be a host is none.
    #[error("names no host")]
    HostRefused,
    /// What should be a path is none that a request could have.
    #[error("has a path that no request could have: write it as a request would, such as /app")]
    PathRefused,
}

impl From<SiteError> for UpstreamUrlError {
    fn from(error: SiteError) -> Self {
        match error {
            SiteError::HasUserInfo => Self::HasUserInfo,
            SiteError::HostRefused => Self::HostRefused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (text, is_secure, host, port, path, shown) in [
            ("ws://127.0.0.1:9000", false, "127.0.0.1", 9000, None, "ws://127.0.0.1:9000"),
            ("ws://App.Example:80", false, "app.example", 80, None, "ws://app.example"),
            ("wss://app.example/", true, "app.example", 443, Some("/"), "wss://app.example/"),
            ("wss://[2001:db8::1]:1/a/b", true, "2001:db8::1", 1, Some("/a/b"), "wss://[2001:db8::1]:1/a/b"),
        ] {
            let url: UpstreamUrl = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(
                (url.is_secure(), url.host(), url.port(), url.path(), &*url.to_string()),
                (is_secure, host, port, path, shown)
            );
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, error) in [
            ("", UpstreamUrlError::SchemeRefused),
            ("127.0.0.1:9000", UpstreamUrlError::SchemeRefused),
            ("http://127.0.0.1:9000", UpstreamUrlError::SchemeRefused),
            ("ws://", UpstreamUrlError::HostRefused),
            ("ws:///a", UpstreamUrlError::HostRefused),
            ("ws://a:0", UpstreamUrlError::HostRefused),
            ("ws://a b", UpstreamUrlError::HostRefused),
            ("ws://me@a", UpstreamUrlError::HasUserInfo),
            ("ws://a/?b", UpstreamUrlError::HasQuery),
            ("ws://a#b", UpstreamUrlError::HasQuery),
            ("ws://a/b c", UpstreamUrlError::PathRefused),
            ("ws://a/../b", UpstreamUrlError::PathRefused),
            ("ws://a/b/*", UpstreamUrlError::PathRefused),
        ] {
            assert_eq!(text.parse::<UpstreamUrl>(), Err(error), "{text}");
        }
        let long = format!("ws://a/{}", "b".repeat(URL_BYTES_MAX));
        assert_eq!(long.parse::<UpstreamUrl>(), Err(UpstreamUrlError::TooLong));
    }

    #[test]
    fn a_path_takes_the_place_of_what_the_route_matched() {
        for (url, pattern, target, expected) in [
            ("ws://a", "/chat/*", "/chat/room?b=c", "/chat/room?b=c"),
            ("ws://a", "/chat", "/chat", "/chat"),
            ("ws://a/", "/chat/*", "/chat/room?b=c", "/room?b=c"),
            ("ws://a/", "/chat/*", "/chat/", "/"),
            ("ws://a/app", "/chat/*", "/chat/room/1", "/app/room/1"),
            ("ws://a/app/", "/chat/*", "/chat/room/1", "/app/room/1"),
            ("ws://a/app", "/*", "/room?x=/y", "/app/room?x=/y"),
            ("ws://a/app", "/chat", "/chat?b", "/app?b"),
            ("ws://a/app/", "/chat", "/chat", "/app/"),
        ] {
            let url: UpstreamUrl = url.parse().unwrap();
            let pattern = PathPattern::parse(pattern).unwrap();
            assert_eq!(url.target_for(&pattern, target), expected, "{url} {pattern} {target}");
        }
    }
}
