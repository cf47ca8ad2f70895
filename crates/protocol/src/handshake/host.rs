//! The value of `Host`: a name or an address, and perhaps a port (RFC 9110 §7.2, RFC 3986 §3.2.2).
//!
//! Stricter than the grammar where that leaves one host several spellings: no percent escapes, no sub-delimiters, no
//! zone, no empty port, no leading zeros. Whether the host is one of ours is the router's question.

use core::fmt;
use core::net::Ipv6Addr;
use core::str::FromStr as _;

/// A host, and a port if one was given. It borrows from the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host<'h> {
    /// The whole value.
    text: &'h str,
    /// Without the port; with its brackets, if it is an IPv6 address.
    name: &'h str,
    address: Option<Ipv6Addr>,
    port: Option<u16>,
}

impl<'h> Host<'h> {
    /// Reads `name`, `name:port`, `[address]` or `[address]:port`; `None` if it is none of these.
    #[must_use]
    pub fn parse(text: &'h str) -> Option<Self> {
        let name_bytes = match text.strip_prefix('[') {
            // The bracket at the front, the address, and the bracket behind it.
            Some(rest) => rest.find(']')?.checked_add(2)?,
            None => text.find(':').unwrap_or(text.len()),
        };
        let (name, rest) = text.split_at_checked(name_bytes)?;
        let address = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            Some(address) => Some(Ipv6Addr::from_str(address).ok()?),
            None if is_name(name) => None,
            None => return None,
        };
        let port = if rest.is_empty() { None } else { Some(parse_port(rest.strip_prefix(':')?)?) };
        Some(Self { text, name, address, port })
    }

    /// The whole value as the peer wrote it.
    #[must_use]
    pub const fn as_str(&self) -> &'h str {
        self.text
    }

    /// The name or address as the peer wrote it, without the port; an IPv6 address has its brackets.
    #[must_use]
    pub const fn name(&self) -> &'h str {
        self.name
    }

    /// The port, if one was given; never 0.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether this is the host `name` (with brackets, if it is an IPv6 address), whatever the case and the port. A dot
    /// at the end makes another name.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        match (self.address, Host::parse(name)) {
            (Some(address), Some(other)) => other.address == Some(address),
            (None, _) | (_, None) => self.name.eq_ignore_ascii_case(name),
        }
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// Labels of letters, digits, hyphens and underscores, none of them empty; one dot may end them. An IPv4 address is
/// such a name too.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= NAME_BYTES_MAX && name.strip_suffix('.').unwrap_or(name).split('.').all(is_label)
}

fn parse_port(digits: &str) -> Option<u16> {
    let is_canonical = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    if is_canonical { digits.parse().ok() } else { None }
}

/// A name of 253 bytes (RFC 1035 §2.3.4, less the length bytes at its ends), and the dot that may follow.
const NAME_BYTES_MAX: usize = 254;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_and_ports_are_read() {
        for (text, name, port) in [
            ("chat.example.com", "chat.example.com", None),
            ("Chat.Example.COM:8443", "Chat.Example.COM", Some(8443)),
            ("localhost", "localhost", None),
            ("my_service:80", "my_service", Some(80)),
            ("example.com.", "example.com.", None),
            ("127.0.0.1:8765", "127.0.0.1", Some(8765)),
            ("[::1]:8765", "[::1]", Some(8765)),
            ("[2001:DB8::1]", "[2001:DB8::1]", None),
        ] {
            let host = Host::parse(text).unwrap();
            assert_eq!((host.name(), host.port(), host.as_str()), (name, port, text));
            assert_eq!(host.to_string(), text);
        }
    }

    #[test]
    fn h13_whatever_has_two_readings_is_refused() {
        let long = "a".repeat(255);
        for text in [
            "",
            ":80",
            "a:",
            "a:0",
            "a:080",
            "a:+80",
            "a:65536",
            "a:80:80",
            "a:b",
            "a b",
            "a,b",
            "user@a",
            "a/b",
            "a%2e",
            "a..b",
            ".a",
            ".",
            "..",
            "::1",
            "[::1",
            "::1]",
            "[]",
            "[::1]80",
            "[fe80::1%25eth0]",
            "[v1.x]",
            "[127.0.0.1]",
            "a\\b",
            "a?b",
            "a#b",
            "[[::1]]",
            "\u{e4}",
            &long,
        ] {
            assert_eq!(Host::parse(text), None, "{text}");
        }
    }

    #[test]
    fn names_compare_without_case_and_addresses_by_value() {
        let named = |text, name| Host::parse(text).unwrap().is_named(name);
        assert!(named("Chat.Example.com:443", "chat.example.COM"));
        assert!(named("[0:0::1]:443", "[::1]"));
        assert!(!named("[::2]", "[::1]"));
        assert!(!named("[::1]", "localhost"));
        assert!(!named("example.com.", "example.com"));
        assert!(!named("chat.example.com.evil.test", "chat.example.com"));
        assert!(!named("evil-chat.example.com", "chat.example.com"));
    }
}
