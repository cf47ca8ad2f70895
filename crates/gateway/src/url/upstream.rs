//! Addresses of applications behind the gate: `ws://HOST[:PORT][/PATH]`, `wss://…`, and `unix:/SOCKET[:/PATH]`.
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
    /// Of a socket, what `Host` says to it.
    site: Site,
    /// The path of a Unix socket.
    socket: Option<String>,
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

    /// The Unix socket that it leads to, by its absolute path; `None` where it is a host and a port.
    #[must_use]
    pub fn socket(&self) -> Option<&str> {
        self.socket.as_deref()
    }

    /// The host in lower case, an IPv6 address without its brackets; `localhost` for a Unix socket.
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
    /// (RFC 6761 §6.3). Empty for other names, and for Unix sockets.
    #[must_use]
    pub fn own_addresses(&self) -> Vec<IpAddr> {
        if self.socket.is_some() { Vec::new() } else { self.site.own_addresses() }
    }

    /// Reads what stands behind `unix:`: the path of a socket, and behind another colon the path of requests, if they are to have one.
    fn of_socket(text: &str) -> Result<Self, UpstreamUrlError> {
        let (socket, path) = match text.split_once(':') {
            None => (text, None),
            Some((socket, path)) => (socket, Some(path)),
        };
        let is_plain = socket.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte));
        let is_file = socket.starts_with('/') && !socket.starts_with("//") && !socket.ends_with('/');
        if !is_plain || !is_file || socket.len() > SOCKET_BYTES_MAX {
            return Err(UpstreamUrlError::SocketRefused);
        }
        if text.contains(['?', '#']) {
            return Err(UpstreamUrlError::HasQuery);
        }
        let site = Site::read(false, "localhost")?;
        Ok(Self { site, socket: Some(socket.to_owned()), path: path.map(path_of).transpose()? })
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
        if let Some(rest) = text.strip_prefix("unix:") {
            return Self::of_socket(rest);
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
        Ok(Self { site, socket: None, path: path.map(path_of).transpose()? })
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(socket) = &self.socket {
            write!(f, "unix:{socket}")?;
            return self.path().map_or(Ok(()), |path| write!(f, ":{path}"));
        }
        let scheme = if self.is_secure() { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.site.authority, self.path().unwrap_or_default())
    }
}

impl fmt::Debug for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn path_of(text: &str) -> Result<String, UpstreamUrlError> {
    match PathPattern::parse(text) {
        Ok(PathPattern::Exact(path)) => Ok(path),
        Ok(PathPattern::Prefix(_)) | Err(_) => Err(UpstreamUrlError::PathRefused),
    }
}

/// The most bytes of a socket's path: `sun_path` of unix(7), less the byte that ends it.
const SOCKET_BYTES_MAX: usize = 107;

/// Why a text is no address of an application. Each says what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamUrlError {
    /// It is longer than [`URL_BYTES_MAX`].
    #[error("is longer than {URL_BYTES_MAX} bytes")]
    TooLong,
    /// It begins otherwise.
    #[error("does not begin with ws://, wss:// or unix:/")]
    SchemeRefused,
    /// Behind `unix:` there is no path that a socket can be reached by.
    #[error(
        "names no socket: write unix: and its absolute path, in at most {SOCKET_BYTES_MAX} visible ASCII characters, such as unix:/run/app.sock"
    )]
    SocketRefused,
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
    fn a_socket_is_a_path_and_perhaps_the_path_of_requests() {
        for (text, socket, path) in [
            ("unix:/run/app.sock", "/run/app.sock", None),
            ("unix:/run/app.sock:/room", "/run/app.sock", Some("/room")),
            ("unix:/run/app.sock:/", "/run/app.sock", Some("/")),
            ("unix:/a", "/a", None),
        ] {
            let url: UpstreamUrl = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((url.socket(), url.path(), &*url.to_string()), (Some(socket), path, text));
            assert!(!url.is_secure() && url.own_addresses().is_empty());
            assert_eq!((url.authority(), url.host()), ("localhost", "localhost"));
        }
        let url: UpstreamUrl = "unix:/run/app.sock:/room".parse().unwrap();
        let pattern = PathPattern::parse("/chat/*").unwrap();
        assert_eq!(url.target_for(&pattern, "/chat/7?a=b"), "/room/7?a=b");
        let longest = format!("unix:/{}", "a".repeat(SOCKET_BYTES_MAX - 1));
        assert!(longest.parse::<UpstreamUrl>().is_ok());
        assert_eq!(format!("{longest}a").parse::<UpstreamUrl>(), Err(UpstreamUrlError::SocketRefused));
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, error) in [
            ("", UpstreamUrlError::SchemeRefused),
            ("127.0.0.1:9000", UpstreamUrlError::SchemeRefused),
            ("http://127.0.0.1:9000", UpstreamUrlError::SchemeRefused),
            ("unix:", UpstreamUrlError::SocketRefused),
            ("unix:app.sock", UpstreamUrlError::SocketRefused),
            ("unix:/", UpstreamUrlError::SocketRefused),
            ("unix:///run/app.sock", UpstreamUrlError::SocketRefused),
            ("unix:/run/", UpstreamUrlError::SocketRefused),
            ("unix:/run/a b", UpstreamUrlError::SocketRefused),
            ("unix:/run/a\0b", UpstreamUrlError::SocketRefused),
            ("unix:@abstract", UpstreamUrlError::SocketRefused),
            ("unix:/run/app.sock:room", UpstreamUrlError::PathRefused),
            ("unix:/run/app.sock:/a/*", UpstreamUrlError::PathRefused),
            ("unix:/run/app.sock:/a?b", UpstreamUrlError::HasQuery),
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
