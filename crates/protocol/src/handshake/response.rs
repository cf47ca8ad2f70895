//! The server's `101` (RFC 6455 §4.2.2). Refusals before it are plain HTTP and are written by the gateway.

use super::accept_key;
use super::head::HeadLimits;
use super::header::{Field, Header};
use super::list::parse_extensions;
use super::request::Request;
use super::write::{WriteError, check_added, push_header};

/// What a server says when it accepts a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct SwitchingProtocols<'a> {
    /// The subprotocol that was chosen from the client's.
    pub protocol: Option<&'a str>,
    /// The extensions in use with their parameters, as the header's value.
    pub extensions: Option<&'a str>,
    /// More header lines; none that belongs to the handshake.
    pub headers: &'a [Header<'a>],
}

impl SwitchingProtocols<'_> {
    /// Appends the response to `out`. Whether the parameters of an extension answer the client's is the extension's to
    /// know.
    ///
    /// # Errors
    /// A subprotocol or an extension that `request` does not offer, or a header that may not be sent. Then `out` is as
    /// it was.
    pub fn write(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Result<(), WriteError> {
        // RFC 6455 §4.2.2 (5): only what the client offers may be chosen.
        if self.protocol.is_some_and(|protocol| !request.protocols.contains(&protocol)) {
            return Err(WriteError::ProtocolNotOffered);
        }
        if let Some(extensions) = self.extensions {
            let chosen = parse_extensions(extensions, &HeadLimits::default())
                .map_err(|_| WriteError::ExtensionsMalformed)?;
            if chosen.is_empty() {
                return Err(WriteError::ExtensionsMalformed);
            }
            let is_offered = |name| request.extensions.iter().any(|offer| offer.name == name);
            if !chosen.iter().all(|extension| is_offered(extension.name)) {
                return Err(WriteError::ExtensionNotOffered);
            }
        }
        check_added(self.headers)?;

        out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
        push_header(out, Field::Upgrade.name(), b"websocket");
        push_header(out, Field::Connection.name(), b"Upgrade");
        push_header(out, Field::Accept.name(), &accept_key(request.key));
        if let Some(protocol) = self.protocol {
            push_header(out, Field::Protocol.name(), protocol.as_bytes());
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
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Protocol: chat, v2\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

    fn written(response: &SwitchingProtocols<'_>) -> Result<String, WriteError> {
        let request = Request::parse(REQUEST, &HeadLimits::default()).unwrap();
        let mut out = Vec::new();
        let result = response.write(&request, &mut out);
        assert!(result.is_ok() || out.is_empty());
        result.map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_response_is_that_of_section_1_3() {
        let response = SwitchingProtocols { protocol: Some("chat"), ..SwitchingProtocols::default() };
        let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
        assert_eq!(written(&response).as_deref(), Ok(expected));
    }

    #[test]
    fn extensions_and_headers_are_added() {
        let response = SwitchingProtocols {
            protocol: None,
            extensions: Some("permessage-deflate; server_no_context_takeover"),
            headers: &[Header { name: "Server", value: b"drawgate" }],
        };
        let text = written(&response).unwrap();
        assert!(text.ends_with(
            "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\nServer: drawgate\r\n\r\n"
        ));
        assert!(!text.contains("Protocol:"));
    }

    #[test]
    fn h21_only_what_was_offered_is_accepted() {
        for protocol in ["CHAT", "v3", "", "chat, v2", "chat\r\nA: b"] {
            let response = SwitchingProtocols { protocol: Some(protocol), ..SwitchingProtocols::default() };
            assert_eq!(written(&response), Err(WriteError::ProtocolNotOffered), "{protocol}");
        }
        for (extensions, error) in [
            ("", WriteError::ExtensionsMalformed),
            ("permessage-deflate\r\nA: b", WriteError::ExtensionsMalformed),
            ("permessage-deflate; a=\"\r\n\"", WriteError::ExtensionsMalformed),
            ("x-other", WriteError::ExtensionNotOffered),
            ("permessage-deflate, x-other", WriteError::ExtensionNotOffered),
        ] {
            let response =
                SwitchingProtocols { extensions: Some(extensions), ..SwitchingProtocols::default() };
            assert_eq!(written(&response), Err(error), "{extensions}");
        }
        let headers = &[Header { name: "Sec-WebSocket-Protocol", value: b"v3" }];
        let response = SwitchingProtocols { headers, ..SwitchingProtocols::default() };
        assert_eq!(written(&response), Err(WriteError::HeaderReserved));
    }
}
