//! Target `handshake`: any bytes as the head of a request, or of a response to a request of ours.
//!
//! The input's first byte chooses the side and the limits; the rest is the head, and what comes behind it. Promises: no
//! panic; the same verdict however the head is cut, at the byte that proves it; nothing is read from behind its end; and
//! what was accepted has one reading, which can be sent on, answered, and the answer accepted.

use drawgate_protocol::handshake::{
    Accepted, ClientRequest, HeadFault, HeadLimits, HeadScanner, Refusal, Request, ResponseRefusal,
    SwitchingProtocols,
};

use crate::Seed;

/// Checks one input.
pub fn run(data: &[u8]) {
    let Some((settings, bytes)) = data.split_first() else { return };
    let limits = if settings & 2 == 0 { HeadLimits::default() } else { SMALL };
    if settings & 1 == 0 { check_request(bytes, &limits) } else { check_response(bytes, &limits) }
}

fn check_request(bytes: &[u8], limits: &HeadLimits) {
    let verdict = scan_every_way(&HeadScanner::request(), bytes, limits);
    let read = Request::parse(bytes, limits);
    let head = match verdict {
        Err(fault) => return assert_eq!(read.err(), Some(Refusal::Head(fault))),
        Ok(None) => return assert_eq!(read.err(), Some(Refusal::Head(HeadFault::HeadIncomplete))),
        Ok(Some(head_bytes)) => &bytes[..head_bytes],
    };
    match (read, Request::parse(head, limits)) {
        (Ok(request), Ok(alone)) => {
            assert_eq!(told(&request), told(&alone), "what follows the head is not read");
            assert_one_reading(&request);
            assert_can_be_sent_on(&request);
        }
        (Err(refusal), Err(alone)) => {
            assert_eq!(refusal, alone, "what follows the head is not read");
            assert!((400..=505).contains(&refusal.status()));
        }
        (read, alone) => panic!("{read:?} with what follows the head, {alone:?} without"),
    }
}

/// What a gateway decides by has no second spelling, and no header can end its line.
fn assert_one_reading(request: &Request<'_>) {
    assert!(request.path.starts_with('/') && request.target.starts_with(request.path));
    assert!(!request.path.contains("//") && !request.path.contains(['\\', ';', '#', '?', ' ']));
    assert!(request.path.split('/').all(|segment| segment != "." && segment != ".."));
    assert_eq!(request.header("Content-Length").chain(request.header("Transfer-Encoding")).count(), 0);
    assert_eq!(request.header("host").collect::<Vec<_>>(), [request.host.as_str().as_bytes()]);
    for header in request.headers().chain(request.confusable_headers()) {
        assert!(!header.name.is_empty() && header.name.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(!header.value.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127)));
    }
}

/// As a client we can ask the same of an upstream, which reads the same; its answer is accepted.
fn assert_can_be_sent_on(request: &Request<'_>) {
    let asked = ClientRequest {
        host: request.host.as_str(),
        target: request.target,
        origin: request.origin,
        protocols: &request.protocols,
        extensions: None,
        headers: &[],
        nonce: *b"sixteen bytes...",
    };
    let limits = HeadLimits { head_bytes_max: 64 * 1024, ..HeadLimits::default() };
    let (mut sent, mut answer) = (Vec::new(), Vec::new());
    asked.write(&mut sent).expect("what was read can be written");
    let read = Request::parse(&sent, &limits).expect("what we write can be read");
    assert_eq!((read.target, read.path, read.query), (request.target, request.path, request.query));
    assert_eq!((read.host.as_str(), read.origin), (request.host.as_str(), request.origin));
    assert_eq!(read.protocols, request.protocols);

    let protocol = read.protocols.last().copied();
    let switching = SwitchingProtocols { protocol, ..SwitchingProtocols::default() };
    switching.write(&read, &mut answer).expect("the subprotocol is on offer");
    let accepted = asked.verify(&answer, &limits).expect("the answer accepts");
    assert_eq!(accepted.protocol, protocol);
}

fn check_response(bytes: &[u8], limits: &HeadLimits) {
    let verdict = scan_every_way(&HeadScanner::response(), bytes, limits);
    let read = ASKED.verify(bytes, limits);
    let head = match verdict {
        Err(fault) => return assert_eq!(read.err(), Some(ResponseRefusal::Head(fault))),
        Ok(None) => return assert_eq!(read.err(), Some(ResponseRefusal::Head(HeadFault::HeadIncomplete))),
        Ok(Some(head_bytes)) => &bytes[..head_bytes],
    };
    match (read, ASKED.verify(head, limits)) {
        (Ok(accepted), Ok(_)) => assert_is_what_was_asked(&accepted),
        (Err(refusal), Err(alone)) => assert_eq!(refusal, alone, "what follows the head is not read"),
        (read, alone) => panic!("{read:?} with what follows the head, {alone:?} without"),
    }
}

fn assert_is_what_was_asked(accepted: &Accepted<'_>) {
    assert!(accepted.protocol.is_none_or(|protocol| ASKED.protocols.contains(&protocol)));
    assert!(accepted.extensions.iter().all(|extension| extension.name == "permessage-deflate"));
    assert!(accepted.extensions.len() <= 1);
    let accepts: Vec<_> = accepted.header("Sec-WebSocket-Accept").collect();
    assert!(matches!(accepts[..], [accept] if accept.len() == 28));
}

/// The verdict on `bytes` at once, which must be that on any shorter front that has one.
fn scan_every_way(
    scanner: &HeadScanner,
    bytes: &[u8],
    limits: &HeadLimits,
) -> Result<Option<usize>, HeadFault> {
    let at_once = scanner.clone().scan(bytes, limits);
    let mut bytewise = scanner.clone();
    let verdict = (0..=bytes.len()).find_map(|end| match bytewise.scan(&bytes[..end], limits) {
        Ok(None) => None,
        verdict => Some((end, verdict)),
    });
    let (proven_at, verdict) = verdict.unwrap_or((0, Ok(None)));
    assert_eq!(verdict, at_once, "by bytes, and at once");
    if let Ok(Some(head_bytes)) = verdict {
        assert_eq!(head_bytes, proven_at, "a head is found at its last byte");
        assert!(head_bytes <= limits.head_bytes_max && bytes[..head_bytes].ends_with(b"\r\n\r\n"));
    }
    if verdict != Ok(None) {
        // A front that ends there has the verdict too, without anything that it would have to wait for.
        assert_eq!(scanner.clone().scan(&bytes[..proven_at], limits), verdict);
        assert!(proven_at <= limits.head_bytes_max.saturating_add(1));
    }
    verdict
}

/// What a request says, comparable.
fn told<'h>(request: &Request<'h>) -> (&'h str, &'h str, Option<&'h str>, Vec<&'h str>, usize) {
    let protocols = request.protocols.clone();
    (request.target, request.host.as_str(), request.origin, protocols, request.headers().count())
}

/// Requests and responses, accepted and refused.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let seed = |name: &str, settings, bytes: &[u8]| Seed {
        name: name.to_owned(),
        bytes: [&[settings], bytes].concat(),
    };
    let mut seeds = Vec::new();
    for (name, start, added) in REQUESTS {
        let head = [start, REQUEST_HEADERS, added, b"\r\n"].concat();
        seeds.push(seed(&format!("request-{name}"), 0, &head));
    }
    seeds.push(seed(
        "request-over-small-limits",
        2,
        &[b"GET /", &[b'a'; 300][..], b" HTTP/1.1\r\n"].concat(),
    ));
    seeds.push(seed("request-not-http", 0, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"));

    let (mut sent, mut accepting) = (Vec::new(), Vec::new());
    ASKED.write(&mut sent).expect("it is a request");
    let request = Request::parse(&sent, &HeadLimits::default()).expect("it can be read");
    let switching = SwitchingProtocols {
        protocol: Some("chat"),
        extensions: Some("permessage-deflate; server_no_context_takeover"),
        headers: &[],
    };
    switching.write(&request, &mut accepting).expect("both are on offer");
    seeds.push(seed("response-accepts", 1, &accepting));
    seeds.push(seed("response-accepts-and-frames-follow", 1, &[&accepting[..], b"\x81\x05Hello"].concat()));
    let lines = &accepting[..accepting.len() - 2];
    for (name, added) in [
        ("content-length", &b"Content-Length: 0\r\n"[..]),
        ("two-accepts", b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n"),
        ("extension-not-offered", b"Sec-WebSocket-Extensions: x-webkit\r\n"),
    ] {
        seeds.push(seed(&format!("response-refused-{name}"), 1, &[lines, added, b"\r\n"].concat()));
    }
    seeds.push(seed("response-refused-status", 1, b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"));
    seeds.push(seed("response-refused-interim", 1, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"));
    seeds
}

/// What the seeds of requests have in common.
const REQUEST_HEADERS: &[u8] = b"Host: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

/// Requests: a name, the first line, and header lines.
const REQUESTS: &[(&str, &[u8], &[u8])] = &[
    ("plain", b"GET /chat HTTP/1.1\r\n", b""),
    ("with-a-query", b"GET /chat?a=b%20c HTTP/1.1\r\n", b"Origin: https://example.com\r\n"),
    ("in-absolute-form", b"GET http://example.com/chat HTTP/1.1\r\n", b""),
    ("with-protocols", b"GET / HTTP/1.1\r\n", b"Sec-WebSocket-Protocol: chat, superchat\r\n"),
    (
        "with-extensions",
        b"GET / HTTP/1.1\r\n",
        b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=\"15\", x; y\r\n",
    ),
    ("with-an-underscore", b"GET / HTTP/1.1\r\n", b"X_Forwarded_For: 203.0.113.1\r\n"),
    ("refused-body", b"GET / HTTP/1.1\r\n", b"Content-Length: 0\r\n"),
    ("refused-method", b"POST / HTTP/1.1\r\n", b""),
    ("refused-version", b"GET / HTTP/1.0\r\n", b""),
    ("refused-dot-segments", b"GET /a/../b HTTP/1.1\r\n", b""),
    ("refused-escaped-slash", b"GET /a%2fb HTTP/1.1\r\n", b""),
    ("refused-two-hosts", b"GET / HTTP/1.1\r\n", b"Host: example.org\r\n"),
    ("refused-folded", b"GET / HTTP/1.1\r\n", b"X-A: b\r\n c\r\n"),
    ("refused-bare-line-feed", b"GET / HTTP/1.1\n", b""),
    ("refused-nul", b"GET / HTTP/1.1\r\n", b"X-A: b\0c\r\n"),
    ("refused-space-before-colon", b"GET / HTTP/1.1\r\n", b"X-A : b\r\n"),
];

/// The request of ours that responses are read against.
const ASKED: ClientRequest<'_> = ClientRequest {
    host: "upstream.example.com",
    target: "/chat",
    origin: None,
    protocols: &["chat", "superchat"],
    extensions: Some("permessage-deflate; client_max_window_bits"),
    headers: &[],
    nonce: *b"the sample nonce",
};

/// Limits that an input reaches soon.
const SMALL: HeadLimits = HeadLimits {
    request_line_bytes_max: 100,
    head_bytes_max: 400,
    headers_max: 8,
    list_bytes_max: 30,
    list_entries_max: 3,
    uncounted_protocol_prefix: Some("bearer."),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_refused_where_they_say_so() {
        let limits = HeadLimits::default();
        for Seed { name, bytes } in seeds() {
            let accepted = match bytes.split_first() {
                Some((0, head)) => Request::parse(head, &limits).is_ok(),
                Some((1, head)) => ASKED.verify(head, &limits).is_ok(),
                _ => continue,
            };
            let is_to_be = !name.contains("refused") && !name.contains("not-http");
            assert_eq!(accepted, is_to_be, "{name}");
        }
    }
}
