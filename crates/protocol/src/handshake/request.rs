//! The server's reading of a request (RFC 6455 §4.2.1): a [`Request`] that cannot be wrong, or a [`Refusal`].
//!
//! Before it, `HeadScanner` has found the end of the head; after it, the gateway chooses a route and judges host, origin
//! and credentials. The rules are tried from the outside in, so that the answer names the first thing that is wrong:
//! HTTP, method, body, target, host, then the upgrade, and last its details.

use core::fmt;

use super::head::{HeadFault, HeadLimits, RequestHead, WholeHead, split_request};
use super::header::{Field, Header, Headers};
use super::host::Host;
use super::list::{Extension, extensions, tokens};
use super::refusal::Refusal;
use super::target::Target;
use super::{VERSION, is_key};

/// A valid request to open a WebSocket. It borrows from its head.
#[derive(Clone)]
pub struct Request<'h> {
    /// Path and query as they came, less the scheme and authority of an absolute form; what a gateway sends on.
    pub target: &'h str,
    /// Begins with a slash and has one spelling: no escape hides a letter, a dot or a slash, no segment is `.`, `..` or
    /// (but for the last) empty. What is routed is what is sent on.
    pub path: &'h str,
    /// What follows the question mark, escapes and all.
    pub query: Option<&'h str>,
    /// The value of `Host`.
    pub host: Host<'h>,
    /// The value of `Origin`, in visible ASCII; whether it is welcome is for others to say.
    pub origin: Option<&'h str>,
    /// The value of `Authorization`, in ASCII.
    pub authorization: Option<&'h str>,
    /// The value of `Sec-WebSocket-Key`: 16 bytes in canonical base64.
    pub key: &'h [u8; 24],
    /// The subprotocols on offer: tokens, in the client's order, none of them twice.
    pub protocols: Vec<&'h str>,
    /// The extensions on offer, in the client's order.
    pub extensions: Vec<Extension<'h>>,
    /// What `Connection` lists: `upgrade`, and the headers that are not to be sent on.
    pub connection: Vec<&'h str>,
    headers: Headers<'h>,
}

impl<'h> Request<'h> {
    /// Reads `head`, a whole head from its first byte; what follows its end is not looked at.
    ///
    /// # Errors
    /// The first rule that the request breaks, in the order that this module states.
    pub fn parse(head: &'h [u8], limits: &HeadLimits) -> Result<Self, Refusal> {
        Self::of_whole(WholeHead::of_request(head, limits)?, limits)
    }

    /// Reads `head`, which has been scanned as it came.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn of_whole(head: WholeHead<'h>, limits: &HeadLimits) -> Result<Self, Refusal> {
        let RequestHead { method, target, headers } = split_request(head)?;
        // RFC 6455 §4.2.1 (1). Methods have case (RFC 9110 §9.1).
        if method != "GET" {
            return Err(Refusal::MethodNotGet);
        }
        // RFC 9112 §6: what follows an upgrade is frames. A length, even 0, would give it a second reading.
        if headers.contains("Content-Length") || headers.contains("Transfer-Encoding") {
            return Err(Refusal::BodyDeclared);
        }
        let Target { authority, local: target, path, query } = Target::parse(target)?;
        let host = parse_host(&headers, authority)?;
        let connection = check_upgrade(&headers, limits)?;
        let key = parse_key(&headers)?;
        let origin = headers.once(Field::Origin)?;
        // RFC 6454 §7.1: an origin is `null` or `scheme://host[:port]`. Two of them would have space between.
        if origin.is_some_and(|origin| !is_visible(origin)) {
            return Err(Refusal::OriginMalformed);
        }
        let authorization = headers.once(Field::Authorization)?;
        let protocols = tokens(&headers, Field::Protocol, limits)?;
        check_unique(&protocols)?;
        let extensions = extensions(&headers, limits)?;
        Ok(Self {
            target,
            path,
            query,
            host,
            origin,
            authorization,
            key,
            protocols,
            extensions,
            connection,
            headers,
        })
    }

    /// The header lines in their order, without those whose names can be confused with others (see
    /// [`confusable_headers`](Self::confusable_headers)).
    pub fn headers(&self) -> impl Iterator<Item = Header<'h>> {
        self.headers.plain()
    }

    /// The header lines that are to be dropped: their names have more than letters, digits and hyphens, as
    /// `X_Forwarded_For` has, and would be taken for others by whom they are sent on to.
    pub fn confusable_headers(&self) -> impl Iterator<Item = Header<'h>> {
        self.headers.confusable()
    }

    /// The values of every line named `name`, in any case.
    pub fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'h [u8]> + 'a {
        self.headers.values(name)
    }
}

/// The header lines of a request in their order, whatever it asks for, without those whose names can be confused with others:
/// for what has to be known of a request that [`Request::parse`] may refuse.
///
/// # Errors
/// Where the head is not HTTP/1.1, or exceeds a limit.
pub fn header_lines<'h>(head: &'h [u8], limits: &HeadLimits) -> Result<Vec<Header<'h>>, HeadFault> {
    Ok(split_request(WholeHead::of_request(head, limits)?)?.headers.plain().collect())
}

impl fmt::Debug for Request<'_> {
    /// Prints host and path: credentials may be anywhere else, in the query and the subprotocols too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("host", &self.host.as_str())
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// RFC 9112 §3.2: exactly one `Host`; and where the target names a host too, they are the same.
fn parse_host<'h>(headers: &Headers<'h>, authority: Option<&str>) -> Result<Host<'h>, Refusal> {
    let text = headers.once(Field::Host)?.ok_or(Refusal::HostMissing)?;
    let host = Host::parse(text).ok_or(Refusal::HostMalformed)?;
    match authority {
        Some(authority) if !authority.eq_ignore_ascii_case(text) => Err(Refusal::TargetNotHost),
        Some(_) | None => Ok(host),
    }
}

/// RFC 6455 §4.2.1 (3), (4), (6). Returns what `Connection` lists.
fn check_upgrade<'h>(headers: &Headers<'h>, limits: &HeadLimits) -> Result<Vec<&'h str>, Refusal> {
    if !headers.contains(Field::Upgrade.name()) {
        return Err(Refusal::UpgradeMissing);
    }
    if !lists(&tokens(headers, Field::Upgrade, limits)?, "websocket") {
        return Err(Refusal::UpgradeNotWebSocket);
    }
    let connection = tokens(headers, Field::Connection, limits)?;
    if !lists(&connection, "upgrade") {
        return Err(Refusal::ConnectionNotUpgrade);
    }
    match headers.once(Field::Version)? {
        Some(VERSION) => Ok(connection),
        Some(_) => Err(Refusal::VersionUnsupported),
        None => Err(Refusal::VersionMissing),
    }
}

/// RFC 6455 §4.2.1 (5).
fn parse_key<'h>(headers: &Headers<'h>) -> Result<&'h [u8; 24], Refusal> {
    let text = headers.once(Field::Key)?.ok_or(Refusal::KeyMissing)?;
    let key = text.as_bytes().try_into().map_err(|_| Refusal::KeyMalformed)?;
    if is_key(key) { Ok(key) } else { Err(Refusal::KeyMalformed) }
}

/// RFC 6455 §4.1 (10): the subprotocols must be unique. They are few: the list was bounded when it was read.
fn check_unique(protocols: &[&str]) -> Result<(), Refusal> {
    let mut seen = Vec::with_capacity(protocols.len());
    for protocol in protocols {
        if seen.contains(protocol) {
            return Err(Refusal::ProtocolDuplicated);
        }
        seen.push(*protocol);
    }
    Ok(())
}

/// Whether a list has `wanted`, in any case.
pub(super) fn lists(entries: &[&str], wanted: &str) -> bool {
    entries.iter().any(|entry| entry.eq_ignore_ascii_case(wanted))
}

/// Whether `text` is visible ASCII, without space, and something.
pub(super) fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::super::header::FieldFault;
    use super::*;

    const SOUND: &str = "GET /chat?room=1 HTTP/1.1\r\n\
        Host: server.example.com\r\n\
        Upgrade: websocket\r\n\
        Connection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Origin: http://example.com\r\n\
        Sec-WebSocket-Protocol: chat, superchat\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n";

    /// What becomes of the sound request when `from` is replaced by `to`; `from` must be in it.
    fn refusal(from: &str, to: &str) -> Option<Refusal> {
        assert!(SOUND.contains(from), "{from}");
        Request::parse(SOUND.replacen(from, to, 1).as_bytes(), &HeadLimits::default()).err()
    }

    fn refusal_with(line: &str) -> Option<Refusal> {
        refusal("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"))
    }

    #[test]
    fn the_header_lines_of_any_request_are_read_unless_it_is_no_http() {
        let lines = |head: &str| {
            let lines = header_lines(head.as_bytes(), &HeadLimits::default())?;
            Ok(lines.iter().map(|line| (line.name.to_owned(), line.value.to_vec())).collect::<Vec<_>>())
        };
        let posted =
            "POST /x HTTP/1.1\r\nX-Forwarded-For: a\r\nX_Forwarded_For: b\r\nX-Forwarded-For: c\r\n\r\n";
        let expected = [b"a", b"c"].map(|value| ("X-Forwarded-For".to_owned(), value.to_vec()));
        assert_eq!(lines(posted), Ok(expected.to_vec()));
        assert_eq!(lines("GET / HTTP/1.1\r\n: a\r\n\r\n"), Err(HeadFault::HeaderNameMalformed));
        assert_eq!(lines("G(T / HTTP/1.1\r\nA: b\r\n\r\n"), Err(HeadFault::StartLineMalformed));
    }

    #[test]
    fn the_request_of_section_1_2_is_read() {
        let request = Request::parse(SOUND.as_bytes(), &HeadLimits::default()).unwrap();
        assert_eq!((request.target, request.path, request.query), ("/chat?room=1", "/chat", Some("room=1")));
        assert_eq!(request.host.as_str(), "server.example.com");
        assert_eq!(request.origin, Some("http://example.com"));
        assert_eq!(request.authorization, None);
        assert_eq!(request.key, b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(request.protocols, ["chat", "superchat"]);
        assert_eq!(request.extensions, []);
        assert_eq!(request.connection, ["Upgrade"]);
        assert_eq!(request.headers().count(), 7);
        assert_eq!(request.header("origin").collect::<Vec<_>>(), [b"http://example.com"]);
        assert_eq!(format!("{request:?}"), "Request { host: \"server.example.com\", path: \"/chat\", .. }");
    }

    #[test]
    fn h02_h06_other_versions_and_none_are_answered_with_426() {
        for version in ["777", "7", "8", "0", "13, 8", "013", "", "x"] {
            assert_eq!(
                refusal("Version: 13", &format!("Version: {version}")),
                Some(Refusal::VersionUnsupported)
            );
        }
        assert_eq!(refusal("Sec-WebSocket-Version: 13\r\n", ""), Some(Refusal::VersionMissing));
        for refusal in [Refusal::VersionUnsupported, Refusal::VersionMissing] {
            assert_eq!(refusal.status(), 426);
            assert!(refusal.answer_headers().contains(&("Sec-WebSocket-Version", "13")));
        }
    }

    #[test]
    fn lists_that_are_none_are_refused() {
        for (field, from, to) in [
            (Field::Upgrade, "Upgrade: websocket", "Upgrade: websocket; a"),
            (Field::Connection, "Connection: Upgrade", "Connection: Upgrade a"),
            (Field::Protocol, "Protocol: chat", "Protocol: chat/"),
            (Field::Extensions, "Origin: http://example.com", "Sec-WebSocket-Extensions: a; =b"),
        ] {
            let malformed = Refusal::Field(FieldFault::ListMalformed(field));
            assert_eq!(refusal(from, to), Some(malformed), "{to}");
        }
    }

    #[test]
    fn h03_h14_h28_only_get_will_do() {
        for method in ["HEAD", "POST", "OPTIONS", "PUT", "get", "GETX", "TRACE"] {
            assert_eq!(refusal("GET", method), Some(Refusal::MethodNotGet), "{method}");
        }
        assert_eq!(
            refusal("GET /chat?room=1", "CONNECT server.example.com:443"),
            Some(Refusal::MethodNotGet)
        );
        assert_eq!(refusal("GET /chat?room=1", "OPTIONS *"), Some(Refusal::MethodNotGet));
        assert_eq!(Refusal::MethodNotGet.status(), 405);
        assert_eq!(Refusal::MethodNotGet.answer_headers(), [("Allow", "GET")]);
        assert_eq!(refusal("GET", "G{T"), Some(Refusal::Head(HeadFault::StartLineMalformed)));
    }

    #[test]
    fn h06_h23_h28_what_does_not_ask_for_this_upgrade_is_answered_with_426() {
        assert_eq!(refusal("Upgrade: websocket\r\n", ""), Some(Refusal::UpgradeMissing));
        for other in ["h2c", "foo", "", "websocket/13", "websocket2, h2c"] {
            let refusal = refusal("Upgrade: websocket", &format!("Upgrade: {other}"));
            assert_eq!(refusal, Some(Refusal::UpgradeNotWebSocket), "{other}");
        }
        for refusal in [Refusal::UpgradeMissing, Refusal::UpgradeNotWebSocket, Refusal::ConnectionNotUpgrade]
        {
            assert_eq!(refusal.status(), 426);
            assert!(
                refusal.answer_headers().starts_with(&[("Upgrade", "websocket"), ("Connection", "Upgrade")])
            );
        }
        assert_eq!(refusal("Connection: Upgrade\r\n", ""), Some(Refusal::ConnectionNotUpgrade));
        assert_eq!(
            refusal("Connection: Upgrade", "Connection: keep-alive"),
            Some(Refusal::ConnectionNotUpgrade)
        );
    }

    #[test]
    fn upgrade_and_connection_are_lists_without_case_over_all_their_lines() {
        assert_eq!(refusal("Upgrade: websocket", "upgrade: h2c\r\nUPGRADE: , WebSocket"), None);
        assert_eq!(
            refusal("Connection: Upgrade", "Connection: keep-alive, X-A\r\nconnection:\tUPGRADE\t"),
            None
        );
    }

    #[test]
    fn h07_a_key_that_is_missing_or_malformed_is_refused() {
        assert_eq!(refusal("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), Some(Refusal::KeyMissing));
        for key in
            ["", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZR==", "dGhlIHNhbXBsZSBub25jZQ===", "x"]
        {
            assert_eq!(refusal("dGhlIHNhbXBsZSBub25jZQ==", key), Some(Refusal::KeyMalformed), "{key}");
        }
    }

    #[test]
    fn h08_h13_what_may_stand_once_stands_once() {
        for (field, line) in [
            (Field::Host, "host: server.example.com"),
            (Field::Key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
            (Field::Version, "sec-websocket-version: 13"),
            (Field::Origin, "Origin: http://example.com"),
            (Field::Authorization, "Authorization: Bearer a\r\nAuthorization: Bearer a"),
        ] {
            assert_eq!(refusal_with(line), Some(Refusal::Field(FieldFault::Duplicated(field))), "{line}");
        }
    }

    #[test]
    fn h13_h14_there_is_one_host() {
        assert_eq!(refusal("Host: server.example.com\r\n", ""), Some(Refusal::HostMissing));
        assert_eq!(refusal("server.example.com", ""), Some(Refusal::HostMalformed));
        assert_eq!(refusal("server.example.com", "a, b"), Some(Refusal::HostMalformed));
        assert_eq!(
            refusal("server.example.com", "\u{e4}"),
            Some(Refusal::Field(FieldFault::NotAscii(Field::Host)))
        );
        let head = SOUND.replace("/chat", "wss://Server.example.com/chat");
        let request = Request::parse(head.as_bytes(), &HeadLimits::default()).unwrap();
        assert_eq!((request.target, request.path), ("/chat?room=1", "/chat"));
        for authority in ["server.example.net", "server.example.com:80", "user@server.example.com", ""] {
            let target = format!("http://{authority}/chat");
            assert_eq!(refusal("/chat", &target), Some(Refusal::TargetNotHost), "{target}");
        }
        for target in ["*", "server.example.com:80", "ftp://server.example.com/"] {
            assert_eq!(refusal("/chat", target), Some(Refusal::TargetFormUnsupported), "{target}");
        }
    }

    #[test]
    fn h15_any_sign_of_a_body_is_refused() {
        for line in [
            "Content-Length: 5",
            "content-length: 0",
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: identity\r\nContent-Length: 0",
        ] {
            assert_eq!(refusal_with(line), Some(Refusal::BodyDeclared), "{line}");
        }
    }

    #[test]
    fn h16_h17_the_head_itself_is_checked_again() {
        assert_eq!(refusal("HTTP/1.1", "HTTP/1.0"), Some(Refusal::Head(HeadFault::HttpVersionUnsupported)));
        assert_eq!(refusal("\r\n", "\n"), Some(Refusal::Head(HeadFault::LineFeedBare)));
        assert_eq!(refusal("\r\n\r\n", "\r\n"), Some(Refusal::Head(HeadFault::HeadIncomplete)));
        assert_eq!(HeadFault::HttpVersionUnsupported.status(), 505);
    }

    #[test]
    fn h18_underscores_neither_make_a_header_nor_double_one() {
        let head =
            SOUND.replace("\r\n\r\n", "\r\nX_Forwarded_For: 192.0.2.1\r\nSec_WebSocket_Key: a\r\n\r\n");
        let request = Request::parse(head.as_bytes(), &HeadLimits::default()).unwrap();
        assert_eq!(request.header("X-Forwarded-For").count(), 0);
        assert_eq!(request.headers().count(), 7);
        assert_eq!(request.confusable_headers().count(), 2);
    }

    #[test]
    fn h09_h20_h21_protocols_are_unique_tokens_and_few() {
        assert_eq!(refusal("chat, superchat", "chat, Chat"), None);
        assert_eq!(refusal("chat, superchat", "chat, chat"), Some(Refusal::ProtocolDuplicated));
        let malformed = Refusal::Field(FieldFault::ListMalformed(Field::Protocol));
        assert_eq!(refusal("chat, superchat", "chat superchat"), Some(malformed));
        let many = (0..1_000).map(|number| format!("p{number}")).collect::<Vec<_>>().join(",");
        let too_many = Refusal::Field(FieldFault::ListEntriesTooMany(Field::Protocol));
        assert_eq!(refusal("chat, superchat", &many), Some(too_many));
    }

    #[test]
    fn h12_an_origin_is_one_visible_word() {
        assert_eq!(refusal("http://example.com", "null"), None);
        for origin in ["", "http://a http://b", "http://a\thttp://b"] {
            assert_eq!(refusal("http://example.com", origin), Some(Refusal::OriginMalformed), "{origin}");
        }
        let not_ascii = Refusal::Field(FieldFault::NotAscii(Field::Origin));
        assert_eq!(refusal("http://example.com", "http://\u{e4}"), Some(not_ascii));
    }

    #[test]
    fn bytes_outside_ascii_stay_in_headers_that_nobody_interprets() {
        assert_eq!(refusal_with("X-Name: J\u{fc}rgen"), None);
        let not_ascii = Refusal::Field(FieldFault::NotAscii(Field::Authorization));
        assert_eq!(refusal_with("Authorization: J\u{fc}rgen"), Some(not_ascii));
    }
}
