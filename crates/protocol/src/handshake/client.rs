//! The client's side (RFC 6455 §4.1): the request, and whether a response accepts it.
//!
//! A gateway is a client to its upstreams: until [`ClientRequest::verify`] has returned [`Accepted`], no byte may pass
//! between client and upstream, and after a [`ResponseRefusal`] the connection is closed and never used again.

use core::fmt;

use super::head::{HeadFault, HeadLimits, ResponseHead, WholeHead, split_response};
use super::header::{Field, FieldFault, Header, Headers, is_token};
use super::host::Host;
use super::list::{Extension, extensions, parse_extensions, tokens};
use super::request::{is_visible, lists};
use super::target::Target;
use super::write::{WriteError, check_added, push_header};
use super::{VERSION, accept_key, encode_key};

/// A request to open a WebSocket, as a client makes it.
#[derive(Clone, Copy)]
pub struct ClientRequest<'a> {
    /// The value of `Host`: a host, and a port unless it is the scheme's own.
    pub host: &'a str,
    /// Path and query, by the rules of [`Request::path`](super::Request::path).
    pub target: &'a str,
    /// The value of `Origin`; browsers send one.
    pub origin: Option<&'a str>,
    /// The subprotocols on offer, best first.
    pub protocols: &'a [&'a str],
    /// The extensions on offer, as the header's value.
    pub extensions: Option<&'a str>,
    /// More header lines; none that belongs to the handshake.
    pub headers: &'a [Header<'a>],
    /// Fresh random bytes for each connection (§4.1 (7)).
    pub nonce: [u8; 16],
}

impl<'a> ClientRequest<'a> {
    /// Appends the request to `out`.
    ///
    /// # Errors
    /// The first part that may not be sent. Then `out` is as it was.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), WriteError> {
        self.check()?;
        for part in ["GET ", self.target, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        push_header(out, Field::Host.name(), self.host.as_bytes());
        push_header(out, Field::Upgrade.name(), b"websocket");
        push_header(out, Field::Connection.name(), b"Upgrade");
        push_header(out, Field::Key.name(), &encode_key(&self.nonce));
        push_header(out, Field::Version.name(), VERSION.as_bytes());
        if let Some(origin) = self.origin {
            push_header(out, Field::Origin.name(), origin.as_bytes());
        }
        if !self.protocols.is_empty() {
            push_header(out, Field::Protocol.name(), self.protocols.join(", ").as_bytes());
        }
        if let Some(extensions) = self.extensions {
            push_header(out, Field::Extensions.name(), extensions.as_bytes());
        }
        for header in self.headers {
            push_header(out, header.name, header.value);
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Reads `head`, the whole head of the response to this request; what follows its end is not looked at.
    ///
    /// # Errors
    /// The first rule that the response breaks: by then the server has not accepted, whatever its status says.
    pub fn verify<'h>(&self, head: &'h [u8], limits: &HeadLimits) -> Result<Accepted<'h>, ResponseRefusal> {
        self.verify_whole(WholeHead::of_response(head, limits)?, limits)
    }

    /// Reads `head`, which has been scanned as it came.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_whole<'h>(
        &self,
        head: WholeHead<'h>,
        limits: &HeadLimits,
    ) -> Result<Accepted<'h>, ResponseRefusal> {
        let ResponseHead { status, headers } = split_response(head)?;
        match status {
            // RFC 6455 §4.1: 101 and nothing else. That the server says Upgrade with another status means nothing.
            101 => {}
            100..=199 => return Err(ResponseRefusal::StatusInterim(status)),
            _ => return Err(ResponseRefusal::StatusNotSwitching(status)),
        }
        // RFC 9110 §8.6, RFC 9112 §6.1: neither may stand in a 1xx.
        if headers.contains("Content-Length") || headers.contains("Transfer-Encoding") {
            return Err(ResponseRefusal::BodyDeclared);
        }
        // RFC 6455 §4.1: the one value `websocket`, where the request may have listed more.
        let upgrade = headers.once(Field::Upgrade)?;
        if !upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket")) {
            return Err(ResponseRefusal::UpgradeNotWebSocket);
        }
        if !lists(&tokens(&headers, Field::Connection, limits)?, "upgrade") {
            return Err(ResponseRefusal::ConnectionNotUpgrade);
        }
        let accept = headers.once(Field::Accept)?.ok_or(ResponseRefusal::AcceptMissing)?;
        if accept.as_bytes() != accept_key(&encode_key(&self.nonce)) {
            return Err(ResponseRefusal::AcceptWrong);
        }
        let protocol = headers.once(Field::Protocol)?;
        if protocol.is_some_and(|protocol| !self.protocols.contains(&protocol)) {
            return Err(ResponseRefusal::ProtocolNotOffered);
        }
        let extensions = self.verify_extensions(&headers, limits)?;
        Ok(Accepted { protocol, extensions, headers })
    }

    /// RFC 6455 §4.1, §9.1: one line, of extensions that are on offer, each once.
    fn verify_extensions<'h>(
        &self,
        headers: &Headers<'h>,
        limits: &HeadLimits,
    ) -> Result<Vec<Extension<'h>>, ResponseRefusal> {
        // RFC 6455 §11.3.2: not more than one line in a response.
        headers.once(Field::Extensions)?;
        let accepted = extensions(headers, limits)?;
        let offers = self.offers().unwrap_or_default();
        for (index, extension) in accepted.iter().enumerate() {
            if !offers.iter().any(|offer| offer.name == extension.name) {
                return Err(ResponseRefusal::ExtensionNotOffered);
            }
            if accepted.iter().take(index).any(|earlier| earlier.name == extension.name) {
                return Err(ResponseRefusal::ExtensionDuplicated);
            }
        }
        Ok(accepted)
    }

    fn check(&self) -> Result<(), WriteError> {
        Host::parse(self.host).ok_or(WriteError::HostMalformed)?;
        match Target::parse(self.target) {
            Ok(Target { authority: None, .. }) => {}
            Ok(Target { authority: Some(_), .. }) | Err(_) => return Err(WriteError::TargetMalformed),
        }
        if self.origin.is_some_and(|origin| !is_visible(origin)) {
            return Err(WriteError::OriginMalformed);
        }
        for (index, protocol) in self.protocols.iter().enumerate() {
            if !is_token(protocol) {
                return Err(WriteError::ProtocolMalformed);
            }
            if self.protocols.iter().take(index).any(|earlier| earlier == protocol) {
                return Err(WriteError::ProtocolDuplicated);
            }
        }
        if self.extensions.is_some() && self.offers()?.is_empty() {
            return Err(WriteError::ExtensionsMalformed);
        }
        check_added(self.headers)
    }

    fn offers(&self) -> Result<Vec<Extension<'a>>, WriteError> {
        parse_extensions(self.extensions.unwrap_or_default(), &HeadLimits::default())
            .map_err(|_| WriteError::ExtensionsMalformed)
    }
}

impl fmt::Debug for ClientRequest<'_> {
    /// Prints the host only: credentials may be anywhere else.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRequest").field("host", &self.host).finish_non_exhaustive()
    }
}

/// A response that accepts. It borrows from its head.
#[derive(Clone)]
pub struct Accepted<'h> {
    /// The subprotocol that the server chose from those on offer.
    pub protocol: Option<&'h str>,
    /// The extensions that the server chose from those on offer, each once. Their parameters are still to be judged by
    /// the extension.
    pub extensions: Vec<Extension<'h>>,
    headers: Headers<'h>,
}

impl<'h> Accepted<'h> {
    /// The header lines in their order, without those whose names can be confused with others.
    pub fn headers(&self) -> impl Iterator<Item = Header<'h>> {
        self.headers.plain()
    }

    /// The values of every line named `name`, in any case.
    pub fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'h [u8]> + 'a {
        self.headers.values(name)
    }
}

impl fmt::Debug for Accepted<'_> {
    /// Prints no header's value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

/// Why a response does not accept the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResponseRefusal {
    /// The head is not sound HTTP/1.1, or too big.
    Head(HeadFault),
    /// A header is duplicated, not text, or not the list that it should be.
    Field(FieldFault),
    /// A 1xx other than 101. None was asked for.
    StatusInterim(u16),
    /// A final status: the server refuses, redirects, or knows no upgrades.
    StatusNotSwitching(u16),
    /// A 101 with a `Content-Length` or a `Transfer-Encoding`.
    BodyDeclared,
    /// An `Upgrade` that is not exactly `websocket`, or none.
    UpgradeNotWebSocket,
    /// A `Connection` that does not list `upgrade`, or none.
    ConnectionNotUpgrade,
    /// No `Sec-WebSocket-Accept`.
    AcceptMissing,
    /// A `Sec-WebSocket-Accept` that does not answer the key.
    AcceptWrong,
    /// A subprotocol that was not on offer.
    ProtocolNotOffered,
    /// An extension that was not on offer.
    ExtensionNotOffered,
    /// An extension that is accepted twice.
    ExtensionDuplicated,
}

impl ResponseRefusal {
    /// Where the rule is written.
    #[must_use]
    pub const fn source(self) -> &'static str {
        match self {
            Self::Head(fault) => fault.source(),
            Self::Field(fault) => fault.source(),
            Self::BodyDeclared => "RFC 9110 §8.6",
            Self::ExtensionDuplicated => "RFC 6455 §9.1",
            Self::StatusInterim(_)
            | Self::StatusNotSwitching(_)
            | Self::UpgradeNotWebSocket
            | Self::ConnectionNotUpgrade
            | Self::AcceptMissing
            | Self::AcceptWrong
            | Self::ProtocolNotOffered
            | Self::ExtensionNotOffered => "RFC 6455 §4.1",
        }
    }
}

impl From<HeadFault> for ResponseRefusal {
    fn from(fault: HeadFault) -> Self {
        Self::Head(fault)
    }
}

impl From<FieldFault> for ResponseRefusal {
    fn from(fault: FieldFault) -> Self {
        Self::Field(fault)
    }
}

impl fmt::Display for ResponseRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head(fault) => return fault.fmt(f),
            Self::Field(fault) => return fault.fmt(f),
            Self::StatusInterim(status) => return write!(f, "the interim status is {status} and not 101"),
            Self::StatusNotSwitching(status) => return write!(f, "the status is {status} and not 101"),
            Self::BodyDeclared => "the response declares a body",
            Self::UpgradeNotWebSocket => "Upgrade is not websocket",
            Self::ConnectionNotUpgrade => "Connection does not list upgrade",
            Self::AcceptMissing => "Sec-WebSocket-Accept is missing",
            Self::AcceptWrong => "Sec-WebSocket-Accept does not answer the key",
            Self::ProtocolNotOffered => "the subprotocol was not offered",
            Self::ExtensionNotOffered => "an extension was not offered",
            Self::ExtensionDuplicated => "an extension is accepted twice",
        })
    }
}

impl core::error::Error for ResponseRefusal {}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: ClientRequest<'static> = ClientRequest {
        host: "server.example.com",
        target: "/chat",
        origin: Some("http://example.com"),
        protocols: &["chat", "superchat"],
        extensions: Some("permessage-deflate; client_max_window_bits"),
        headers: &[Header { name: "Authorization", value: b"Bearer a" }],
        nonce: *b"the sample nonce",
    };

    const SOUND: &str = "HTTP/1.1 101 Switching Protocols\r\n\
        Upgrade: websocket\r\n\
        Connection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
        Sec-WebSocket-Protocol: chat\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

    /// What becomes of the sound response when `from` is replaced by `to`; `from` must be in it.
    fn refusal(from: &str, to: &str) -> Option<ResponseRefusal> {
        assert!(SOUND.contains(from), "{from}");
        REQUEST.verify(SOUND.replacen(from, to, 1).as_bytes(), &HeadLimits::default()).err()
    }

    fn refusal_with(line: &str) -> Option<ResponseRefusal> {
        refusal("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"))
    }

    #[test]
    fn the_request_is_that_of_section_1_2() {
        let mut out = Vec::new();
        REQUEST.write(&mut out).unwrap();
        let expected = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
            Origin: http://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n\
            Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nAuthorization: Bearer a\r\n\r\n";
        assert_eq!(String::from_utf8(out).as_deref(), Ok(expected));
        assert!(!format!("{REQUEST:?}").contains("Bearer"));
    }

    #[test]
    fn a_status_that_is_no_number_accepts_nothing() {
        let malformed = Some(ResponseRefusal::Head(HeadFault::StartLineMalformed));
        assert_eq!(refusal(" 101 ", " 1o1 "), malformed);
    }

    #[test]
    fn h20_nothing_that_is_malformed_is_sent() {
        for (request, error) in [
            (ClientRequest { host: "a\r\nB: c", ..REQUEST }, WriteError::HostMalformed),
            (ClientRequest { target: "/ HTTP/1.1\r\n", ..REQUEST }, WriteError::TargetMalformed),
            (ClientRequest { target: "/../a", ..REQUEST }, WriteError::TargetMalformed),
            (ClientRequest { target: "http://a/", ..REQUEST }, WriteError::TargetMalformed),
            (ClientRequest { origin: Some("a\r\nb"), ..REQUEST }, WriteError::OriginMalformed),
            (ClientRequest { protocols: &["a\r\nb"], ..REQUEST }, WriteError::ProtocolMalformed),
            (ClientRequest { protocols: &[""], ..REQUEST }, WriteError::ProtocolMalformed),
            (ClientRequest { protocols: &["a", "b", "a"], ..REQUEST }, WriteError::ProtocolDuplicated),
            (ClientRequest { extensions: Some("a\r\nb"), ..REQUEST }, WriteError::ExtensionsMalformed),
            (ClientRequest { extensions: Some(""), ..REQUEST }, WriteError::ExtensionsMalformed),
            (
                ClientRequest { headers: &[Header { name: "Cookie", value: b"a\r\nb" }], ..REQUEST },
                WriteError::HeaderValueMalformed,
            ),
            (
                ClientRequest { headers: &[Header { name: "host", value: b"a" }], ..REQUEST },
                WriteError::HeaderReserved,
            ),
        ] {
            let mut out = Vec::new();
            assert_eq!(request.write(&mut out), Err(error));
            assert_eq!(out, b"");
        }
    }

    #[test]
    fn the_response_of_section_1_3_accepts() {
        let accepted = REQUEST.verify(SOUND.as_bytes(), &HeadLimits::default()).unwrap();
        assert_eq!(accepted.protocol, Some("chat"));
        assert_eq!(
            accepted.extensions.iter().map(|extension| extension.name).collect::<Vec<_>>(),
            ["permessage-deflate"]
        );
        assert_eq!(accepted.headers().count(), 5);
        assert_eq!(accepted.header("UPGRADE").collect::<Vec<_>>(), [b"websocket"]);
        assert_eq!(refusal("Sec-WebSocket-Protocol: chat\r\n", ""), None);
        assert_eq!(refusal("Sec-WebSocket-Extensions: permessage-deflate\r\n", ""), None);
        assert_eq!(refusal("Upgrade: websocket", "upgrade: WebSocket"), None);
        assert_eq!(refusal("Connection: Upgrade", "Connection: keep-alive\r\nConnection: upgrade"), None);
    }

    #[test]
    fn h04_u15_u16_no_other_status_will_do() {
        for status in [200, 204, 301, 307, 400, 401, 426, 500, 999] {
            let refused = refusal("101 Switching", &format!("{status} Switching"));
            assert_eq!(refused, Some(ResponseRefusal::StatusNotSwitching(status)));
        }
        for status in [100, 102, 103, 199] {
            let refused = refusal("101 Switching", &format!("{status} Switching"));
            assert_eq!(refused, Some(ResponseRefusal::StatusInterim(status)));
        }
    }

    #[test]
    fn h05_z08_what_was_not_asked_for_is_refused() {
        assert_eq!(refusal("s3pP", "S3pP"), Some(ResponseRefusal::AcceptWrong));
        assert_eq!(refusal("xOo=", "xOo"), Some(ResponseRefusal::AcceptWrong));
        let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        assert_eq!(refusal(accept, ""), Some(ResponseRefusal::AcceptMissing));
        for protocol in ["v3", "CHAT", "chat, superchat", ""] {
            let refused = refusal("Protocol: chat", &format!("Protocol: {protocol}"));
            assert_eq!(refused, Some(ResponseRefusal::ProtocolNotOffered), "{protocol}");
        }
        assert_eq!(refusal("permessage-deflate", "x-other"), Some(ResponseRefusal::ExtensionNotOffered));
        let twice = "permessage-deflate, permessage-deflate";
        assert_eq!(refusal("permessage-deflate", twice), Some(ResponseRefusal::ExtensionDuplicated));
        let none_offered = ClientRequest { extensions: None, ..REQUEST };
        let refused = none_offered.verify(SOUND.as_bytes(), &HeadLimits::default()).err();
        assert_eq!(refused, Some(ResponseRefusal::ExtensionNotOffered));
    }

    #[test]
    fn a_response_without_the_upgrade_is_refused() {
        assert_eq!(refusal("Upgrade: websocket\r\n", ""), Some(ResponseRefusal::UpgradeNotWebSocket));
        for upgrade in ["h2c", "websocket, h2c", ""] {
            let refused = refusal("Upgrade: websocket", &format!("Upgrade: {upgrade}"));
            assert_eq!(refused, Some(ResponseRefusal::UpgradeNotWebSocket), "{upgrade}");
        }
        assert_eq!(refusal("Connection: Upgrade\r\n", ""), Some(ResponseRefusal::ConnectionNotUpgrade));
        assert_eq!(
            refusal("Connection: Upgrade", "Connection: close"),
            Some(ResponseRefusal::ConnectionNotUpgrade)
        );
        assert_eq!(refusal_with("Content-Length: 0"), Some(ResponseRefusal::BodyDeclared));
        assert_eq!(refusal_with("Transfer-Encoding: chunked"), Some(ResponseRefusal::BodyDeclared));
    }

    #[test]
    fn duplicates_in_a_response_are_refused() {
        for (field, line) in [
            (Field::Upgrade, "Upgrade: websocket"),
            (Field::Accept, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            (Field::Protocol, "Sec-WebSocket-Protocol: chat"),
            (Field::Extensions, "Sec-WebSocket-Extensions: permessage-deflate"),
        ] {
            assert_eq!(refusal_with(line), Some(ResponseRefusal::Field(FieldFault::Duplicated(field))));
        }
    }

    #[test]
    fn lists_in_a_response_that_are_none_are_refused() {
        for (field, from, to) in [
            (Field::Connection, "Connection: Upgrade", "Connection: Upgrade; a"),
            (Field::Extensions, "Extensions: permessage-deflate", "Extensions: permessage-deflate a"),
        ] {
            let malformed = ResponseRefusal::Field(FieldFault::ListMalformed(field));
            assert_eq!(refusal(from, to), Some(malformed), "{to}");
        }
    }

    #[test]
    fn u16_the_head_of_a_response_is_bounded() {
        let refused = refusal_with(&"A: b\r\n".repeat(2_000));
        assert_eq!(refused, Some(ResponseRefusal::Head(HeadFault::HeadersTooMany)));
        let refused = refusal_with(&format!("A: {}", "b".repeat(20_000)));
        assert_eq!(refused, Some(ResponseRefusal::Head(HeadFault::HeadTooLarge)));
        assert_eq!(refusal("\r\n\r\n", "\r\n"), Some(ResponseRefusal::Head(HeadFault::HeadIncomplete)));
    }
}
