//! A route: which requests it takes, who may speak on it, and where their messages go. Floor 1.
//!
//! Reads path patterns, hosts and origins into the one form that is compared; never matches requests, which is
//! the upgrade's part.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// How a client is told, beyond the close code and reason that it always gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notice {
    /// By the Close frame alone.
    #[default]
    Close,
    /// By a text message in the shape of RFC 9457 before the Close frame.
    Json,
    /// By a text message with the reason's title before the Close frame.
    Text,
}

/// How a client is refused that asks for a route and may not have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RefuseBy {
    /// By an HTTP status, which browsers keep from the page's scripts.
    #[default]
    Http,
    /// By a `101` and a Close at once, whose code and reason a page's scripts see. Only what a close code can say is said so:
    /// a request that is malformed, or from another origin, is refused by its status.
    Close,
}

/// Which pages may open a connection (RFC 6455 §10.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Any page, and clients that are no browser.
    Any,
    /// Only pages whose origin is our own scheme and Host.
    Same,
    /// Only pages of these origins, compared as exact strings in their canonical form (`https://app.example.com`).
    Listed(Vec<String>),
}

/// Which request paths a route takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathPattern {
    /// This path alone.
    Exact(String),
    /// This path, which ends in `/`, and all below it: written `/chat/*`.
    Prefix(String),
}

/// The built-in backend that sends back what it gets; text stays text and binary stays binary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    /// What each answer begins with.
    pub prefix: String,
}

impl PathPattern {
    /// Reads `/chat` (this path alone) or `/chat/*` (`/chat/` and all below it).
    ///
    /// Paths are compared byte for byte, so a pattern is refused that no request could reach once the request's
    /// path has been checked: dot segments, empty segments, needless percent-escapes.
    ///
    /// # Errors
    /// What makes `text` no pattern.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        if !text.starts_with('/') {
            return Err(PathError::NotAbsolute);
        }
        let prefix = text.strip_suffix('*').filter(|prefix| prefix.ends_with('/'));
        let path = prefix.unwrap_or(text);
        check_path_bytes(path.as_bytes())?;
        let mut segments = path[1..].split('/').peekable();
        while let Some(segment) = segments.next() {
            // RFC 3986 §5.2.4: clients resolve dot segments before they ask.
            if segment == "." || segment == ".." {
                return Err(PathError::DotSegment);
            }
            if segment.is_empty() && segments.peek().is_some() {
                return Err(PathError::EmptySegment);
            }
        }
        Ok(match prefix {
            Some(prefix) => Self::Prefix(prefix.to_owned()),
            None => Self::Exact(text.to_owned()),
        })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => f.write_str(path),
            Self::Prefix(path) => write!(f, "{path}*"),
        }
    }
}

/// Why a string is no [`PathPattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with `/`.
    #[error("does not begin with `/`")]
    NotAbsolute,
    /// `*` stands elsewhere than at the end after `/`.
    #[error("has `*` elsewhere than at its end after `/`")]
    MisplacedWildcard,
    /// `?` or `#`: not part of a path.
    #[error("has a query or a fragment, which is no part of a path")]
    NotOnlyPath,
    /// A byte that no request path has, or that stages read in different ways.
    #[error(
        "has a character that paths do not have (others than A-Z a-z 0-9 - . _ ~ ! $ & ' ( ) + , = : @ / are written %XX)"
    )]
    BadCharacter,
    /// A percent-escape that is malformed, in lower case, or of a byte that has no business being escaped.
    #[error("has a percent-escape that is not two upper-case hexadecimal digits for a byte that needs one")]
    BadEscape,
    /// `.` or `..` as a segment.
    #[error("has a segment `.` or `..`")]
    DotSegment,
    /// `//`.
    #[error("has an empty segment, `//`")]
    EmptySegment,
    /// Longer than [`PATH_BYTES_MAX`].
    #[error("is longer than 1024 bytes")]
    TooLong,
}

/// `host` as routes compare it: a name in lower case, an IPv4 address, or an IPv6 address in brackets in its
/// shortest form (RFC 5952); `None` where it is none of these. Ports are not part of it.
#[must_use]
pub fn canonical_host(host: &str) -> Option<String> {
    if let Some(inner) = host.strip_prefix('[') {
        let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    // RFC 1035 §2.3.4: names have at most 253 characters as text, labels 63. An underscore is common in practice.
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if host.len() > 253 || !host.split('.').all(is_label) {
        return None;
    }
    // A last label of digits makes it an address (WHATWG URL, "ends in a number"): then it must be a good one.
    let last_is_number = host.rsplit('.').next()?.bytes().all(|byte| byte.is_ascii_digit());
    if last_is_number {
        return host.parse::<Ipv4Addr>().ok().map(|address| address.to_string());
    }
    Some(host.to_ascii_lowercase())
}

/// `origin` as browsers send it (RFC 6454 §6.2): `scheme://host`, and `:port` where that is not the scheme's own;
/// `None` where it is no such thing.
#[must_use]
pub fn canonical_origin(origin: &str) -> Option<String> {
    let (scheme, authority) = origin.split_once("://")?;
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    if !scheme_ok {
        return None;
    }
    let scheme = scheme.to_ascii_lowercase();
    // The colons of an IPv6 address are inside its brackets.
    let port_at = authority.rfind(':').filter(|colon| !authority[*colon..].contains(']'));
    let (host, port) = match port_at {
        None => (authority, None),
        Some(colon) => (&authority[..colon], Some(parse_port(&authority[colon + 1..])?)),
    };
    let host = canonical_host(host)?;
    match (scheme.as_str(), port) {
        (_, None) | ("http" | "ws", Some(80)) | ("https" | "wss", Some(443)) => {
            Some(format!("{scheme}://{host}"))
        }
        (_, Some(port)) => Some(format!("{scheme}://{host}:{port}")),
    }
}

/// A port in plain digits, without the sign that `str::parse` would take.
fn parse_port(text: &str) -> Option<u16> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
        .filter(|port| *port != 0)
}

/// Holds each byte of a path against RFC 3986 §3.3, less what stages read in different ways (`;`, needless escapes).
fn check_path_bytes(path: &[u8]) -> Result<(), PathError> {
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'*' => return Err(PathError::MisplacedWildcard),
            b'?' | b'#' => return Err(PathError::NotOnlyPath),
            b'%' => {
                let escaped = after.split_first_chunk::<2>().ok_or(PathError::BadEscape)?;
                check_escape(*escaped.0)?;
                rest = escaped.1;
            }
            b'/' | b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'+' | b','
            | b'=' | b':' | b'@' => {}
            byte if byte.is_ascii_alphanumeric() => {}
            _ => return Err(PathError::BadCharacter),
        }
    }
    Ok(())
}

/// Allows an escape of a byte that can be written in no other way and means nothing to any stage.
fn check_escape(digits: [u8; 2]) -> Result<(), PathError> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    };
    let (Some(high), Some(low)) = (value(digits[0]), value(digits[1])) else {
        return Err(PathError::BadEscape);
    };
    let byte = high * 16 + low;
    // RFC 3986 §2.3: unreserved bytes are never escaped; separators and controls are a trap for whoever decodes.
    let trap = byte.is_ascii_alphanumeric() || byte.is_ascii_control() || b"-._~/\\%;".contains(&byte);
    if trap { Err(PathError::BadEscape) } else { Ok(()) }
}

/// The most bytes of a path pattern.
pub const PATH_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_exact_or_a_prefix() {
        assert_eq!(PathPattern::parse("/"), Ok(PathPattern::Exact("/".to_owned())));
        assert_eq!(PathPattern::parse("/chat"), Ok(PathPattern::Exact("/chat".to_owned())));
        assert_eq!(PathPattern::parse("/chat/*"), Ok(PathPattern::Prefix("/chat/".to_owned())));
        assert_eq!(PathPattern::parse("/*"), Ok(PathPattern::Prefix("/".to_owned())));
        assert_eq!(PathPattern::parse("/caf%C3%A9/"), Ok(PathPattern::Exact("/caf%C3%A9/".to_owned())));
        assert_eq!(PathPattern::parse("/a/*").expect("a prefix").to_string(), "/a/*");
    }

    #[test]
    fn paths_that_no_request_could_reach_are_refused() {
        let long = format!("/{}", "a".repeat(PATH_BYTES_MAX));
        for (text, error) in [
            ("", PathError::NotAbsolute),
            ("chat", PathError::NotAbsolute),
            ("/chat*", PathError::MisplacedWildcard),
            ("/*/chat", PathError::MisplacedWildcard),
            ("/chat?x=1", PathError::NotOnlyPath),
            ("/chat#x", PathError::NotOnlyPath),
            ("/ch at", PathError::BadCharacter),
            ("/ch\0at", PathError::BadCharacter),
            ("/café", PathError::BadCharacter),
            ("/a;b", PathError::BadCharacter),
            ("/%", PathError::BadEscape),
            ("/%2", PathError::BadEscape),
            ("/%c3%a9", PathError::BadEscape),
            ("/%2F", PathError::BadEscape),
            ("/%00", PathError::BadEscape),
            ("/%41", PathError::BadEscape),
            ("/a/../b", PathError::DotSegment),
            ("/./*", PathError::DotSegment),
            ("/a//b", PathError::EmptySegment),
            ("//*", PathError::EmptySegment),
            (&long, PathError::TooLong),
        ] {
            assert_eq!(PathPattern::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn hosts_have_one_form() {
        for (host, canonical) in [
            ("Chat.Example.com", "chat.example.com"),
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
            ("[0:0:0:0:0:0:0:1]", "[::1]"),
        ] {
            assert_eq!(canonical_host(host).as_deref(), Some(canonical), "{host}");
        }
        for host in [
            "",
            "a..b",
            ".a",
            "a.",
            "a:80",
            "::1",
            "[::1",
            "[::1]:80",
            "*.a",
            "bücher.de",
            "1.2.3.256",
            "a b",
        ] {
            assert_eq!(canonical_host(host), None, "{host:?}");
        }
    }

    #[test]
    fn origins_have_the_form_that_browsers_send() {
        for (origin, canonical) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.com:443", "https://app.example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:80", "http://[::1]"),
            ("http://[::1]", "http://[::1]"),
            ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
        ] {
            assert_eq!(canonical_origin(origin).as_deref(), Some(canonical), "{origin}");
        }
        for origin in [
            "",
            "null",
            "*",
            "app.example.com",
            "https://a/",
            "https://a/b",
            "https://u@a",
            "https://a:",
            "https://a:+1",
        ] {
            assert_eq!(canonical_origin(origin), None, "{origin:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn canonical_forms_are_stable_and_nothing_panics(text: String) {
            let _ = PathPattern::parse(&text);
            if let Some(host) = canonical_host(&text) {
                proptest::prop_assert_eq!(canonical_host(&host), Some(host));
            }
            if let Some(origin) = canonical_origin(&text) {
                proptest::prop_assert_eq!(canonical_origin(&origin), Some(origin));
            }
        }
    }
}
