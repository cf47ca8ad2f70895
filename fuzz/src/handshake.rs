//! Target `handshake`: any bytes as the head of a request and of a response, cut in any way.
//!
//! The input's first byte chooses limits, the second where the rest, the head, is cut. Promises: no panic; one verdict,
//! however the head is cut, given at the first byte that proves it and kept; a request is read from exactly the heads
//! that were found whole; and what was accepted can be written again and is then read as the same.

use drawgate_protocol::handshake::{
    ClientRequest, HeadFault, HeadLimits, HeadScanner, Header, Refusal, Request, ResponseRefusal,
    SwitchingProtocols,
};

use crate::Seed;
use crate::receiver::cuts;

/// Checks one input.
pub fn run(data: &[u8]) {
    let [settings, cutting, head @ ..] = data else { return };
    let head = &head[..head.len().min(HEAD_BYTES_MAX)];
    let limits = if settings & 1 == 0 { HeadLimits::default() } else { SMALL };
    let cuts = cuts(*cutting, head.len());

    let found = scanned(&HeadScanner::request(), head, &cuts, &limits);
    let parsed = Request::parse(head, &limits);
    match (found, &parsed) {
        (Ok(Some(head_bytes)), Ok(request)) => {
            assert!(head[..head_bytes].ends_with(b"\r\n\r\n"));
            let alone = Request::parse(&head[..head_bytes], &limits).expect("what follows is not looked at");
            assert_eq!(Fields::of(request), Fields::of(&alone));
            assert_request(request);
        }
        (Ok(Some(head_bytes)), Err(refusal)) => {
            assert!(!matches!(refusal, Refusal::Head(HeadFault::HeadIncomplete)));
            assert_eq!(Request::parse(&head[..head_bytes], &limits).err(), Some(*refusal));
        }
        (Ok(None), result) => {
            assert_eq!(result.as_ref().err(), Some(&Refusal::Head(HeadFault::HeadIncomplete)))
        }
        (Err(fault), result) => assert_eq!(result.as_ref().err(), Some(&Refusal::Head(fault))),
    }

    let found = scanned(&HeadScanner::response(), head, &cuts, &limits);
    match (found, CLIENT.verify(head, &limits)) {
        (Ok(Some(head_bytes)), Ok(accepted)) => {
            let alone = CLIENT.verify(&head[..head_bytes], &limits).expect("what follows is not looked at");
            assert_eq!(accepted.protocol, alone.protocol);
            assert!(accepted.protocol.is_none_or(|protocol| CLIENT.protocols.contains(&protocol)));
            assert!(accepted.extensions.len() <= 1, "one is on offer");
            let again = written_again("HTTP/1.1 101 ", accepted.headers());
            let again = CLIENT.verify(&again, &WIDE).expect("it was accepted before");
            assert_eq!(accepted.protocol, again.protocol);
        }
        (Ok(Some(_)), Err(refusal)) => assert_ne!(refusal, ResponseRefusal::Head(HeadFault::HeadIncomplete)),
        (Ok(None), result) => {
            assert_eq!(result.err(), Some(ResponseRefusal::Head(HeadFault::HeadIncomplete)));
        }
        (Err(fault), result) => assert_eq!(result.err(), Some(ResponseRefusal::Head(fault))),
    }
}

/// The one verdict on `head`.
fn scanned(
    scanner: &HeadScanner,
    head: &[u8],
    cuts: &[usize],
    limits: &HeadLimits,
) -> Result<Option<usize>, HeadFault> {
    let at_once = scanner.clone().scan(head, limits);
    let mut cut = scanner.clone();
    for end in cuts.iter().copied().chain([head.len()]) {
        let verdict = cut.scan(&head[..end], limits);
        assert!(
            verdict == Ok(None) && end < head.len() || verdict == at_once,
            "cut at {cuts:?}: {verdict:?}"
        );
    }
    let mut bytewise = scanner.clone();
    for end in 1..=head.len() {
        let verdict = bytewise.scan(&head[..end], limits);
        if let Ok(Some(head_bytes)) = verdict {
            assert!(head_bytes <= end);
        }
        if verdict != Ok(None) {
            assert_eq!(verdict, at_once, "at byte {end}");
            assert!(end <= limits.head_bytes_max + 1, "{end} bytes were taken");
            return at_once;
        }
    }
    assert_eq!(at_once, Ok(None));
    at_once
}

/// What was accepted is in order, and stays the same however it is written again.
fn assert_request(request: &Request<'_>) {
    assert!(request.path.starts_with('/') && !request.path.contains("//") && !request.path.contains("/../"));
    let target =
        request.query.map_or_else(|| request.path.to_owned(), |query| format!("{}?{query}", request.path));
    assert_eq!(request.target, target);
    assert!(request.host.is_named(request.host.name()));
    assert!(request.connection.iter().any(|entry| entry.eq_ignore_ascii_case("upgrade")));

    let again = written_again(&format!("GET {target} HTTP/1.1"), request.headers());
    let again = Request::parse(&again, &WIDE).expect("it was accepted before");
    assert_eq!(Fields::of(&again), Fields::of(request));

    let offers: Vec<&[u8]> = request.header("Sec-WebSocket-Extensions").collect();
    let offers = String::from_utf8(offers.join(&b", "[..])).expect("it was read as text");
    // A list within its limit may be beyond it once its lines are joined.
    let extensions = (!request.extensions.is_empty() && offers.len() < 1000).then_some(&*offers);
    let client = ClientRequest {
        host: request.host.as_str(),
        target: request.target,
        origin: request.origin,
        protocols: &request.protocols,
        extensions,
        headers: &[],
        nonce: CLIENT.nonce,
    };
    let mut head = Vec::new();
    client.write(&mut head).expect("all of it was accepted from another");
    let ours = Request::parse(&head, &WIDE).expect("we write what we accept");
    assert_eq!(
        (ours.target, ours.host.as_str(), ours.origin),
        (request.target, request.host.as_str(), request.origin)
    );
    assert_eq!(ours.protocols, request.protocols);
    assert!(extensions.is_none() || ours.extensions == request.extensions);

    let answer =
        SwitchingProtocols { protocol: ours.protocols.last().copied(), ..SwitchingProtocols::default() };
    let mut head = Vec::new();
    answer.write(&ours, &mut head).expect("it is on offer");
    assert_eq!(HeadScanner::response().scan(&head, &WIDE), Ok(Some(head.len())));
    let accepted = client.verify(&head, &WIDE).expect("a server and a client agree");
    assert_eq!(accepted.protocol, answer.protocol);
}

/// The head that `start` and `headers` make.
fn written_again<'h>(start: &str, headers: impl Iterator<Item = Header<'h>>) -> Vec<u8> {
    let mut head = format!("{start}\r\n").into_bytes();
    for Header { name, value } in headers {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// All of a request that can be compared.
#[derive(Debug, PartialEq, Eq)]
struct Fields<'h> {
    target: &'h str,
    host: &'h str,
    origin: Option<&'h str>,
    authorization: Option<&'h str>,
    key: &'h [u8; 24],
    protocols: Vec<&'h str>,
    extensions: String,
    connection: Vec<&'h str>,
    headers: Vec<(&'h str, &'h [u8])>,
}

impl<'h> Fields<'h> {
    fn of(request: &'h Request<'h>) -> Self {
        Self {
            target: request.target,
            host: request.host.as_str(),
            origin: request.origin,
            authorization: request.authorization,
            key: request.key,
            protocols: request.protocols.clone(),
            extensions: format!("{:?}", request.extensions),
            connection: request.connection.clone(),
            headers: request.headers().map(|header| (header.name, header.value)).collect(),
        }
    }
}

/// Sound heads, and heads that each break one rule.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let seed = |name: &str, settings: u8, head: &str| Seed {
        name: name.to_owned(),
        bytes: [&[settings, 7], head.as_bytes()].concat(),
    };
    let mut seeds = vec![
        seed("request-sound", 0, REQUEST),
        seed("request-sound-with-bytes-behind", 0, &format!("{REQUEST}\u{1}more")),
        seed("request-beyond-small-limits", 1, REQUEST),
        seed("request-cut", 0, REQUEST.trim_end()),
        seed("response-sound", 0, RESPONSE),
        seed("response-refused", 0, &RESPONSE.replacen("101", "200", 1)),
        seed("response-with-another-accept", 0, &RESPONSE.replacen("s3p", "S3p", 1)),
        seed("response-with-a-protocol-not-offered", 0, &RESPONSE.replacen("v2", "v3", 1)),
    ];
    for (name, from, to) in CHANGES {
        assert!(REQUEST.contains(from), "{from}");
        seeds.push(seed(&format!("request-{name}"), 0, &REQUEST.replacen(from, to, 1)));
    }
    seeds
}

const REQUEST: &str = "GET /chat/a%20b?room=%2F1 HTTP/1.1\r\nHost: Server.example.com:8080\r\nUpgrade: websocket, h2c\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Origin: http://example.com\r\nSec-WebSocket-Protocol: chat, v2\r\nAuthorization: Bearer abc\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; x=\"10\"\r\nX_Odd:\r\nX:\t\u{e4} \r\n\r\n";

const RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: v2\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\nServer: x\r\n\r\n";

/// What makes the sound request another one.
const CHANGES: &[(&str, &str, &str)] = &[
    ("in-absolute-form", "GET /", "GET http://server.example.com:8080/"),
    ("for-another-host", "GET /", "GET http://other/"),
    ("by-post", "GET", "POST"),
    ("of-http-1-0", "HTTP/1.1", "HTTP/1.0"),
    ("of-http-0-9", " HTTP/1.1", ""),
    ("with-a-bare-lf", "13\r\n", "13\n"),
    ("with-a-bare-cr", "13\r\n", "13\rx"),
    ("with-nul", "chat, v2", "chat,\0v2"),
    ("folded", "Origin:", " Origin:"),
    ("without-a-name", "Origin:", ":"),
    ("with-two-hosts", "Origin:", "Host:"),
    ("with-a-body", "Origin: http://example.com", "Content-Length: 0"),
    ("with-dots-in-its-path", "/chat", "/../chat"),
    ("with-an-escaped-slash", "%20", "%2f"),
    ("with-a-short-key", "dGhl", ""),
    ("with-version-8", "Version: 13", "Version: 8"),
    ("with-a-protocol-twice", "chat, v2", "chat, chat"),
    ("with-a-list-of-nothing", "chat, v2", ", ,"),
    ("with-too-many-protocols", "chat, v2", "a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q"),
    ("with-a-broken-extension", "x=\"10\"", "x=\"a b"),
];

/// A client with something of everything on offer.
const CLIENT: ClientRequest<'static> = ClientRequest {
    host: "server.example.com",
    target: "/",
    origin: None,
    protocols: &["chat", "v2"],
    extensions: Some("permessage-deflate"),
    headers: &[],
    nonce: *b"the sample nonce",
};

/// Small enough for the limits to be met by chance.
const SMALL: HeadLimits = HeadLimits {
    request_line_bytes_max: 40,
    head_bytes_max: 400,
    headers_max: 8,
    list_bytes_max: 20,
    list_entries_max: 3,
    uncounted_protocol_prefix: Some("drawgate.token."),
};

/// What is within any limits when it comes is within these when it is written again.
const WIDE: HeadLimits = HeadLimits {
    request_line_bytes_max: 64 * 1024,
    head_bytes_max: 128 * 1024,
    headers_max: 80,
    list_bytes_max: 32 * 1024,
    list_entries_max: 64,
    uncounted_protocol_prefix: None,
};

/// More than the largest head.
const HEAD_BYTES_MAX: usize = 20 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_sound_or_refused_as_they_are_named() {
        for Seed { name, bytes } in seeds() {
            let is_refused = if name.starts_with("request-") {
                let limits = if bytes[0] == 0 { HeadLimits::default() } else { SMALL };
                Request::parse(&bytes[2..], &limits).is_err()
            } else {
                CLIENT.verify(&bytes[2..], &HeadLimits::default()).is_err()
            };
            let is_sound = name.contains("-sound") || name == "request-in-absolute-form";
            assert_eq!(is_refused, !is_sound, "{name}");
        }
    }
}
