//! `Forwarded` (RFC 7239) and `X-Forwarded-For`: which of the addresses in them is the client's.
//!
//! Each proxy adds at the end whom it was called by. So the end is the word of the proxy that called us, who is trusted, and
//! what stands before it is worth as much as whoever it names. The walk goes from the right, past addresses that are trusted
//! themselves, to the first that is not: the client. What stands left of that may be anything, and decides nothing.
//!
//! An entry on that way that is no address (`unknown`, `_hidden`, garbage) is a fault, and so is a header that is not there:
//! whatever one took in its place, clients could bring it about. Without I/O; the request has been read before.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{ClientAddressHeader, Config};
use crate::principal::ClientAddr;

/// What trusted proxies say of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// The client.
    pub client: ClientAddr,
    /// Whether it speaks TLS with the first trusted proxy; `None` where nobody says.
    pub is_encrypted: Option<bool>,
}

/// Why nobody can say who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The trusted proxy has not set the header that it is configured to set.
    #[error("the trusted proxy names no client in {header}")]
    Missing {
        /// The header.
        header: &'static str,
    },
    /// The header does not follow its grammar.
    #[error("{header} does not follow its grammar")]
    Malformed {
        /// The header.
        header: &'static str,
    },
    /// The entry that decides is hidden or unknown.
    #[error("the entry of Forwarded that decides hides the client")]
    Obfuscated,
    /// The entry that decides is no address.
    #[error("the entry of {header} that decides is no address")]
    NoAddress {
        /// The header.
        header: &'static str,
    },
    /// There are more trusted proxies in a row than are looked at.
    #[error("more than {HOPS_MAX} trusted proxies in a row")]
    HopsTooMany,
    /// The scheme is not one, or is none that leads to a WebSocket.
    #[error("the scheme that the proxy names is not one of http, https, ws and wss")]
    SchemeInvalid,
}

/// Who the client is that a request of a trusted proxy is for; `values` gives the lines of a header, in their order.
///
/// # Errors
/// Why it cannot be known. Such a request is to be refused.
pub fn named<'h, I>(config: &Config, values: impl Fn(&'static str) -> I) -> Result<Option<Named>, Fault>
where
    I: IntoIterator<Item = &'h [u8]>,
{
    let lines = |name| values(name).into_iter().collect::<Vec<_>>();
    let trusts = |address| config.trusts(address);
    match config.client_address_header {
        ClientAddressHeader::None => Ok(None),
        ClientAddressHeader::Forwarded => forwarded(&lines(FORWARDED), trusts).map(Some),
        ClientAddressHeader::XForwardedFor => {
            let client = x_forwarded_for(&lines(X_FORWARDED_FOR), trusts)?;
            let is_encrypted = x_forwarded_proto(&lines(X_FORWARDED_PROTO))?;
            Ok(Some(Named { client, is_encrypted }))
        }
    }
}

/// The client in the lines of `Forwarded`.
///
/// # Errors
/// Why it cannot be known.
pub fn forwarded(lines: &[&[u8]], trusts: impl Fn(ClientAddr) -> bool) -> Result<Named, Fault> {
    // A quote that a client leaves open must not swallow what the proxy adds: all of it is held to the grammar.
    let mut elements = Vec::new();
    for line in lines {
        elements.extend(self::elements(line).ok_or(Fault::Malformed { header: FORWARDED })?);
    }
    let address = |element: &Element<'_>| match element.node() {
        Some(Node::Address(address)) => Ok(address),
        Some(Node::Hidden) => Err(Fault::Obfuscated),
        None => Err(Fault::NoAddress { header: FORWARDED }),
    };
    let (client, element) =
        walk(elements.into_iter().rev(), address, trusts)?.ok_or(Fault::Missing { header: FORWARDED })?;
    // The proxy that saw the client saw its scheme.
    let is_encrypted = element.scheme.map(|scheme| is_encrypting(&scheme)).transpose()?;
    Ok(Named { client, is_encrypted })
}

/// The client in the lines of `X-Forwarded-For`.
///
/// # Errors
/// Why it cannot be known.
pub fn x_forwarded_for(lines: &[&[u8]], trusts: impl Fn(ClientAddr) -> bool) -> Result<ClientAddr, Fault> {
    // It has no quotes: commas are commas, and what stands on the left need not be read.
    let entries = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    let address = |entry: &&[u8]| {
        let text = std::str::from_utf8(entry).ok().map(trim);
        text.and_then(entry_address).ok_or(Fault::NoAddress { header: X_FORWARDED_FOR })
    };
    let found = walk(entries, address, trusts)?;
    found.map(|(client, _)| client).ok_or(Fault::Missing { header: X_FORWARDED_FOR })
}

/// What the lines of `X-Forwarded-Proto` say: nothing, or one scheme. A list would have no place that corresponds to the
/// client's in `X-Forwarded-For`, and a client could begin it.
///
/// # Errors
/// When it is anything else.
pub fn x_forwarded_proto(lines: &[&[u8]]) -> Result<Option<bool>, Fault> {
    match lines {
        [] => Ok(None),
        [line] => {
            let scheme = std::str::from_utf8(line).map_err(|_| Fault::SchemeInvalid)?;
            is_encrypting(trim(scheme)).map(Some)
        }
        _ => Err(Fault::SchemeInvalid),
    }
}

/// The first hop whose address is not trusted, or the last one; `None` where there is none at all.
fn walk<H>(
    hops: impl Iterator<Item = H>,
    address: impl Fn(&H) -> Result<IpAddr, Fault>,
    trusts: impl Fn(ClientAddr) -> bool,
) -> Result<Option<(ClientAddr, H)>, Fault> {
    let mut last = None;
    for (passed, hop) in hops.enumerate() {
        if passed == HOPS_MAX {
            return Err(Fault::HopsTooMany);
        }
        let client = ClientAddr::new(address(&hop)?);
        let is_trusted = trusts(client);
        last = Some((client, hop));
        if !is_trusted {
            break;
        }
    }
    Ok(last)
}

fn is_encrypting(scheme: &str) -> Result<bool, Fault> {
    // Some proxies name that of the WebSocket.
    let is = |names: [&str; 2]| names.iter().any(|name| scheme.eq_ignore_ascii_case(name));
    match (is(["https", "wss"]), is(["http", "ws"])) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        (false, false) => Err(Fault::SchemeInvalid),
    }
}

/// An address as it is found in `X-Forwarded-For`: with or without a port, IPv6 with or without brackets.
fn entry_address(text: &str) -> Option<IpAddr> {
    let address = match text.parse::<Ipv6Addr>() {
        Ok(address) => Some(address.into()),
        Err(_) => match node(text)? {
            Node::Address(address) => Some(address),
            Node::Hidden => None,
        },
    };
    address.filter(is_somebodys)
}

/// One element of `Forwarded` (§4): what one proxy says of whom it was called by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element<'h> {
    /// The value of `for`, without its quotes.
    pub called_by: Option<Cow<'h, str>>,
    /// The value of `proto`, without its quotes.
    pub scheme: Option<Cow<'h, str>>,
}

impl Element<'_> {
    fn node(&self) -> Option<Node> {
        node(self.called_by.as_deref()?)
    }
}

/// The elements of a line of `Forwarded`; `None` where it does not follow the grammar of §4.
#[must_use]
pub fn elements(line: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut rest = trim(std::str::from_utf8(line).ok()?);
    let mut elements = Vec::new();
    loop {
        let mut names = Vec::new();
        let mut element = Element::default();
        loop {
            if let Some((name, value, after)) = pair(rest)? {
                // §4: each parameter once in an element.
                if names.iter().any(|other: &&str| other.eq_ignore_ascii_case(name)) {
                    return None;
                }
                names.push(name);
                if name.eq_ignore_ascii_case("for") {
                    element.called_by = Some(value);
                } else if name.eq_ignore_ascii_case("proto") {
                    element.scheme = Some(value);
                }
                rest = after;
            }
            match rest.strip_prefix(';') {
                Some(after) => rest = after,
                None => break,
            }
            if names.len() > PARAMETERS_MAX {
                return None;
            }
        }
        elements.push(element);
        rest = rest.trim_start_matches(OWS);
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start_matches(OWS),
            None => return rest.is_empty().then_some(elements),
        }
    }
}

/// A name, its value, and what follows them.
type Pair<'h> = (&'h str, Cow<'h, str>, &'h str);

/// The pair that `text` begins with, if it begins with one (`Some(None)` where it does not); `None` where it begins wrong.
#[expect(clippy::option_option, reason = "no pair is not a fault: the grammar allows an element without")]
fn pair(text: &str) -> Option<Option<Pair<'_>>> {
    let (name, rest) = token(text);
    if name.is_empty() {
        return Some(None);
    }
    let rest = rest.strip_prefix('=')?;
    if let Some(quoted) = rest.strip_prefix('"') {
        let (value, rest) = unquote(quoted)?;
        return Some(Some((name, value, rest)));
    }
    let (value, rest) = token(rest);
    (!value.is_empty()).then_some(Some((name, Cow::Borrowed(value), rest)))
}

/// The token (RFC 9110 §5.6.2) that `text` begins with, which may be empty, and what follows it.
fn token(text: &str) -> (&str, &str) {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let end = text.bytes().position(|byte| !is_token(byte)).unwrap_or(text.len());
    text.split_at(end)
}

/// What stands in quotes (RFC 9110 §5.6.4), the first of which has been taken, and what follows the last.
fn unquote(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = text.find(['"', '\\'])?;
    let is_text =
        |text: &str| text.chars().all(|character| character == '\t' || !character.is_ascii_control());
    if text.as_bytes()[end] == b'"' {
        let (value, rest) = (&text[..end], &text[end + 1..]);
        return is_text(value).then_some((Cow::Borrowed(value), rest));
    }
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return is_text(&value).then(|| (Cow::Owned(value), &text[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

/// Whom a node (§6) is.
enum Node {
    Address(IpAddr),
    /// `unknown`, or a name that means something to the proxy alone.
    Hidden,
}

/// Reads a node: an address or a hidden one, with or without a port, which may be hidden too.
fn node(text: &str) -> Option<Node> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let address: Ipv6Addr = address.parse().ok()?;
            return is_port_or_nothing(port)
                .then_some(IpAddr::V6(address))
                .filter(is_somebodys)
                .map(Node::Address);
        }
        None => text.find(':').map_or((text, ""), |at| text.split_at(at)),
    };
    if !is_port_or_nothing(port) {
        return None;
    }
    if name.eq_ignore_ascii_case("unknown") || is_obfuscated(name) {
        return Some(Node::Hidden);
    }
    let address: Ipv4Addr = name.parse().ok()?;
    Some(IpAddr::V4(address)).filter(is_somebodys).map(Node::Address)
}

/// Nothing, or a colon and a port (§6): up to five digits, or obfuscated.
fn is_port_or_nothing(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else { return text.is_empty() };
    let is_number = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    is_obfuscated(port) || (is_number && port.parse::<u16>().is_ok())
}

/// §6.3: an underscore, and something behind it.
fn is_obfuscated(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.strip_prefix('_').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(is_part))
}

/// The unspecified address is nobody's: no limit could count it.
fn is_somebodys(address: &IpAddr) -> bool {
    !address.to_canonical().is_unspecified()
}

/// RFC 9110 §5.6.3: the white space that may stand around entries.
fn trim(text: &str) -> &str {
    text.trim_matches(OWS)
}

const OWS: [char; 2] = [' ', '\t'];
const FORWARDED: &str = "Forwarded";
const X_FORWARDED_FOR: &str = "X-Forwarded-For";
const X_FORWARDED_PROTO: &str = "X-Forwarded-Proto";
/// How many entries are looked at, from the right. No installation has more trusted proxies in a row.
pub const HOPS_MAX: usize = 16;
/// The most parameters of an element; four are registered.
const PARAMETERS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn trusts(address: ClientAddr) -> bool {
        "10.0.0.0/8".parse::<crate::network::Network>().unwrap().contains(address.ip())
            || address.ip() == "2001:db8::10".parse::<IpAddr>().unwrap()
    }

    fn by_forwarded(lines: &[&str]) -> Result<(String, Option<bool>), Fault> {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        let Named { client, is_encrypted } = forwarded(&lines, trusts)?;
        Ok((client.to_string(), is_encrypted))
    }

    fn by_x(lines: &[&str]) -> Result<String, Fault> {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        x_forwarded_for(&lines, trusts).map(|client| client.to_string())
    }

    #[test]
    fn the_examples_of_rfc_7239_are_read() {
        let of = |line: &'static str| elements(line.as_bytes()).unwrap();
        let nodes =
            |line| of(line).iter().map(|element| element.called_by.clone().unwrap()).collect::<Vec<_>>();
        // §4.
        assert_eq!(nodes("for=\"_gazonk\""), ["_gazonk"]);
        assert_eq!(nodes("For=\"[2001:db8:cafe::17]:4711\""), ["[2001:db8:cafe::17]:4711"]);
        assert_eq!(nodes("for=192.0.2.60;proto=http;by=203.0.113.43"), ["192.0.2.60"]);
        assert_eq!(nodes("for=192.0.2.43, for=198.51.100.17"), ["192.0.2.43", "198.51.100.17"]);
        // §7.1: one list may come as two lines.
        assert_eq!(nodes("for=192.0.2.43,for=\"[2001:db8:cafe::17]\",for=unknown").len(), 3);
        assert_eq!(
            by_forwarded(&["for=192.0.2.60;proto=http;by=203.0.113.43"]),
            Ok(("192.0.2.60".into(), Some(false)))
        );
        assert_eq!(
            by_forwarded(&["For=\"[2001:db8:cafe::17]:4711\""]),
            Ok(("2001:db8:cafe::17".into(), None))
        );
        // §6.3, §7.4.
        assert_eq!(by_forwarded(&["for=_hidden, for=_SEVKISEK"]), Err(Fault::Obfuscated));
        assert_eq!(by_forwarded(&["for=unknown"]), Err(Fault::Obfuscated));
    }

    #[test]
    fn r04_the_rightmost_untrusted_hop_is_the_client() {
        assert_eq!(by_x(&["203.0.113.7"]), Ok("203.0.113.7".into()));
        assert_eq!(by_x(&["198.51.100.1, 203.0.113.7"]), Ok("203.0.113.7".into()));
        assert_eq!(by_x(&["198.51.100.1, 203.0.113.7, 10.0.0.2,10.0.0.3"]), Ok("203.0.113.7".into()));
        assert_eq!(by_x(&["10.9.9.9, 203.0.113.7"]), Ok("203.0.113.7".into()));
        assert_eq!(by_x(&["198.51.100.1", "203.0.113.7", "10.0.0.2"]), Ok("203.0.113.7".into()));
        // All are trusted: the one that began.
        assert_eq!(by_x(&["10.0.0.1, 10.0.0.2"]), Ok("10.0.0.1".into()));
        // What a client writes is not even read.
        assert_eq!(by_x(&["\u{1}\"<script>,,, unknown, 203.0.113.7"]), Ok("203.0.113.7".into()));
        assert_eq!(
            by_forwarded(&["for=_x, for=junk, for=203.0.113.7, for=10.0.0.2"]),
            Ok(("203.0.113.7".into(), None))
        );
    }

    #[test]
    fn r04_what_cannot_be_known_is_a_fault_and_never_another_address() {
        let none = Err(Fault::NoAddress { header: "X-Forwarded-For" });
        for line in [
            "",
            " ",
            ",",
            "203.0.113.7,",
            "203.0.113.7, ,",
            "203.0.113.7, unknown",
            "203.0.113.7, _x",
            "1.2.3",
            "01.2.3.4",
            "1.2.3.4.5",
            "203.0.113.7 10.0.0.1",
            "203.0.113.7, 10.0.0.1;",
            "fe80::1%eth0",
            "[::1",
            "::1]",
            "[1.2.3.4]",
            "1.2.3.4:",
            "1.2.3.4:65536",
            "1.2.3.4:x",
            "[::1]80",
            "\"1.2.3.4\"",
            "0.0.0.0",
            "::",
            "::ffff:0.0.0.0",
            "[::]:80",
            "localhost",
            "203.0.113.7, junk, 10.0.0.1",
        ] {
            assert_eq!(by_x(&[line]), none, "{line:?}");
        }
        assert_eq!(by_x(&[]), Err(Fault::Missing { header: "X-Forwarded-For" }));
        assert_eq!(by_forwarded(&[]), Err(Fault::Missing { header: "Forwarded" }));
        for line in
            ["", "for=a", "proto=https", "for=203.0.113.7,", "for=203.0.113.7, by=10.0.0.1", "for=\"::1\""]
        {
            assert_eq!(by_forwarded(&[line]), Err(Fault::NoAddress { header: "Forwarded" }), "{line:?}");
        }
    }

    #[test]
    fn entries_may_have_ports_and_brackets() {
        for (line, client) in [
            ("203.0.113.7:4711", "203.0.113.7"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            (" \t203.0.113.7\t ", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7, ::ffff:10.0.0.1", "203.0.113.7"),
        ] {
            assert_eq!(by_x(&[line]).as_deref(), Ok(client), "{line}");
        }
        assert_eq!(by_forwarded(&["for=\"203.0.113.7:_port\""]).unwrap().0, "203.0.113.7");
        assert_eq!(by_forwarded(&["FOR=\"\\2\\03.0.113.7\""]).unwrap().0, "203.0.113.7");
    }

    #[test]
    fn r04_a_quote_that_is_left_open_swallows_nothing() {
        let malformed = Err(Fault::Malformed { header: "Forwarded" });
        for begun in ["for=198.51.100.1;x=\"", "for=198.51.100.1;x=\"\\", "x=\"\\\"", "for=\"198.51.100.1"] {
            for added in [
                "for=203.0.113.7",
                "for=\"[2001:db8::1]\"",
                "for=203.0.113.7;by=\"x\"",
                "for=203.0.113.7;by=\"\"",
            ] {
                assert_eq!(by_forwarded(&[&format!("{begun}, {added}")]), malformed, "{begun} {added}");
                assert_eq!(by_forwarded(&[begun, added]), malformed, "{begun} {added}");
            }
        }
        for line in [
            "for",
            "for=",
            "=x",
            "for= 203.0.113.7",
            "for =203.0.113.7",
            "for=203.0.113.7 ;proto=http",
            "for=203.0.113.7:80",
            "for=[::1]",
            "for=1.2.3.4;for=1.2.3.4",
            "for=1.2.3.4;FOR=1.2.3.4",
            "for=\"a\"b",
            "for=1.2.3.4; proto=http",
            "for=\"\u{7f}\"",
            "for=é",
            "for=1.2.3.4 for=1.2.3.4",
        ] {
            assert_eq!(by_forwarded(&[line]), malformed, "{line:?}");
        }
        assert_eq!(by_forwarded(&[&format!("for=1.2.3.4{}", ";a=b".repeat(2))]), malformed);
        let many: String = (0..20).map(|number| format!(";a{number}=b")).collect();
        assert_eq!(by_forwarded(&[&format!("for=1.2.3.4{many}")]), malformed);
    }

    #[test]
    fn no_more_than_16_hops_are_looked_at() {
        let trusted = ["10.0.0.1"; HOPS_MAX].join(",");
        assert_eq!(by_x(&[&trusted]), Ok("10.0.0.1".into()));
        assert_eq!(by_x(&[&format!("203.0.113.7,{trusted}")]), Err(Fault::HopsTooMany));
        let untrusted = ["203.0.113.7"; 1000].join(",");
        assert_eq!(by_x(&[&untrusted]), Ok("203.0.113.7".into()));
    }

    #[test]
    fn the_scheme_is_that_of_the_proxy_that_saw_the_client() {
        let lines = ["for=203.0.113.7;proto=https, for=10.0.0.1;proto=http"];
        assert_eq!(by_forwarded(&lines), Ok(("203.0.113.7".into(), Some(true))));
        let spoofed = ["for=198.51.100.1;proto=https, for=203.0.113.7;proto=http"];
        assert_eq!(by_forwarded(&spoofed), Ok(("203.0.113.7".into(), Some(false))));
        assert_eq!(by_forwarded(&["for=203.0.113.7;proto=ftp"]), Err(Fault::SchemeInvalid));
        let proto =
            |lines: &[&str]| x_forwarded_proto(&lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>());
        assert_eq!(proto(&[]), Ok(None));
        for (scheme, is_encrypted) in
            [("https", true), ("HTTPS ", true), ("wss", true), ("http", false), ("ws", false)]
        {
            assert_eq!(proto(&[scheme]), Ok(Some(is_encrypted)), "{scheme}");
        }
        for lines in
            [&[""][..], &["https,http"], &["https", "http"], &["https", "https"], &["ssl"], &["httpss"]]
        {
            assert_eq!(proto(lines), Err(Fault::SchemeInvalid), "{lines:?}");
        }
    }

    #[test]
    fn r04_only_the_header_that_is_configured_counts() {
        let values = |name: &str| -> Vec<&'static [u8]> {
            match name {
                "Forwarded" => vec![b"for=203.0.113.1;proto=http"],
                "X-Forwarded-For" => vec![b"203.0.113.2"],
                "X-Forwarded-Proto" => vec![b"https"],
                _ => Vec::new(),
            }
        };
        let of = |client_address_header| {
            let config = Config { client_address_header, ..Config::default() };
            named(&config, values).unwrap().map(|named| (named.client.to_string(), named.is_encrypted))
        };
        assert_eq!(of(ClientAddressHeader::None), None);
        assert_eq!(of(ClientAddressHeader::Forwarded), Some(("203.0.113.1".into(), Some(false))));
        assert_eq!(of(ClientAddressHeader::XForwardedFor), Some(("203.0.113.2".into(), Some(true))));
    }
}
