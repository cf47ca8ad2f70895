//! Properties of the handshake through its public door: splits, round trips, and bytes that no one meant.

use std::io::{self, Read, Write};

use drawgate_protocol::handshake::{
    ClientRequest, HeadFault, HeadLimits, HeadScanner, Header, Request, SwitchingProtocols,
};
use proptest::prelude::*;
use proptest::sample::Index;
use tungstenite::HandshakeError;

/// The verdict on `bytes` when they arrive in the pieces that end at `cuts`.
fn verdict_in_pieces(
    mut scanner: HeadScanner,
    bytes: &[u8],
    cuts: &[Index],
) -> Result<Option<usize>, HeadFault> {
    let mut ends = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect::<Vec<_>>();
    ends.sort_unstable();
    for end in ends {
        let verdict = scanner.scan(&bytes[..end], &SMALL)?;
        if verdict.is_some() {
            return Ok(verdict);
        }
    }
    scanner.scan(bytes, &SMALL)
}

/// Heads that are nearly sound: pieces of heads in any order, with the odd byte among them.
fn near_heads() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(PIECES.to_vec()).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    let start = prop::sample::select(STARTS.to_vec());
    (start, prop::collection::vec(piece, 0..14)).prop_map(|(start, pieces)| {
        let mut bytes = start.to_vec();
        bytes.extend(pieces.concat());
        bytes.extend_from_slice(b"\r\n");
        bytes
    })
}

fn tokens(count: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", 0..=count)
        .prop_map(|tokens| tokens.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_the_bytes_gives_the_same_verdict(
        bytes in near_heads(),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
    ) {
        let whole = HeadScanner::request().scan(&bytes, &SMALL);
        prop_assert_eq!(verdict_in_pieces(HeadScanner::request(), &bytes, &cuts), whole);
        let whole = HeadScanner::response().scan(&bytes, &SMALL);
        prop_assert_eq!(verdict_in_pieces(HeadScanner::response(), &bytes, &cuts), whole);
    }

    #[test]
    fn a_request_is_read_only_from_a_head_that_was_found(bytes in near_heads()) {
        let found = HeadScanner::request().scan(&bytes, &SMALL);
        match Request::parse(&bytes, &SMALL) {
            Ok(request) => {
                let head_bytes = found.unwrap().unwrap();
                prop_assert_eq!(bytes.get(head_bytes - 4..head_bytes), Some(b"\r\n\r\n".as_slice()));
                prop_assert!(request.path.starts_with('/'));
                prop_assert!(!request.path.contains("//"));
            }
            Err(refusal) => {
                prop_assert!((400..=505).contains(&refusal.status()));
                prop_assert!(!refusal.to_string().is_empty() && !refusal.source().is_empty());
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Request::parse(&bytes, &SMALL);
        let _ = REQUEST.verify(&bytes, &SMALL);
        let head = [b"GET / HTTP/1.1\r\nSec-WebSocket-Extensions: ".as_slice(), &bytes, b"\r\n\r\n"].concat();
        let _ = Request::parse(&head, &HeadLimits::default());
    }

    #[test]
    fn what_is_in_a_sound_request_never_panics(
        target in "[/?a.%;0-9A-Fa-f\\\\:\u{e4}]{0,12}",
        host in "[a:.0-9\\[\\]%_-]{0,12}",
        list in "[a,;=\"\\\\ \t/-]{0,24}",
    ) {
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Extensions: {list}\r\n\r\n"
        );
        if let Ok(request) = Request::parse(head.as_bytes(), &HeadLimits::default()) {
            prop_assert!(request.host.is_named(request.host.name()));
            prop_assert!(!request.extensions.is_empty());
        }
    }

    #[test]
    fn a_client_and_a_server_agree(
        nonce in any::<[u8; 16]>(),
        host in "[a-z][a-z0-9-]{0,20}(:[1-9][0-9]{0,3})?",
        target in "(/[A-Za-z0-9_~-]{1,8}){1,4}/?(\\?[a-z=&/?-]{0,20})?",
        origin in prop::option::of("https://[a-z]{1,10}"),
        protocols in tokens(8),
        chosen in any::<Index>(),
        value in "[!-~]{1,20}",
    ) {
        let protocols = protocols.iter().map(String::as_str).collect::<Vec<_>>();
        let client = ClientRequest {
            host: &host,
            target: &target,
            origin: origin.as_deref(),
            protocols: &protocols,
            extensions: Some("permessage-deflate; client_max_window_bits=\"10\""),
            headers: &[Header { name: "X-Value", value: value.as_bytes() }],
            nonce,
        };
        let limits = HeadLimits::default();
        let mut head = Vec::new();
        client.write(&mut head).unwrap();
        let request = Request::parse(&head, &limits).unwrap();
        prop_assert_eq!(request.target, &target);
        prop_assert_eq!(request.host.as_str(), &host);
        prop_assert_eq!(request.origin, origin.as_deref());
        prop_assert_eq!(&request.protocols, &protocols);
        prop_assert_eq!(request.extensions[0].parameters[0].value.as_deref(), Some("10"));
        prop_assert_eq!(request.header("x-value").collect::<Vec<_>>(), [value.as_bytes()]);

        let protocol = (!protocols.is_empty()).then(|| protocols[chosen.index(protocols.len())]);
        let answer = SwitchingProtocols { protocol, extensions: Some("permessage-deflate"), headers: &[] };
        let mut head = Vec::new();
        answer.write(&request, &mut head).unwrap();
        prop_assert_eq!(HeadScanner::response().scan(&head, &limits), Ok(Some(head.len())));
        let accepted = client.verify(&head, &limits).unwrap();
        prop_assert_eq!(accepted.protocol, protocol);
        prop_assert_eq!(accepted.extensions.len(), 1);

        // The answer to another key is no answer.
        let mut other = client;
        other.nonce[0] ^= 1;
        prop_assert!(other.verify(&head, &limits).is_err());
    }
}

/// Small enough for the limits to be met by chance.
const SMALL: HeadLimits = HeadLimits {
    request_line_bytes_max: 24,
    head_bytes_max: 300,
    headers_max: 9,
    list_bytes_max: 20,
    list_entries_max: 3,
    uncounted_protocol_prefix: None,
};

const REQUEST: ClientRequest<'static> = ClientRequest {
    host: "a",
    target: "/",
    origin: None,
    protocols: &["chat"],
    extensions: None,
    headers: &[],
    nonce: *b"the sample nonce",
};

const STARTS: [&[u8]; 6] = [
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    b"GET /chat?a=b HTTP/1.1\r\n",
    b"GET /chat?a=b HTTP/1.0\r\n",
    b"HTTP/1.1 101 Switching\r\n",
    b"GET /",
    b"",
];

const PIECES: [&[u8]; 12] = [
    b"Upgrade: websocket\r\n",
    b"Connection: Upgrade, X-A\r\n",
    b"Origin: http://a\r\n",
    b"Sec-WebSocket-Protocol: a, b\r\n",
    b"Sec-WebSocket-Extensions: a; b=\"1\"\r\n",
    b"X-A: \xc3\xa4\r\n",
    b"X_A:\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b"A",
];

/// A transport in memory: reads what it was given, keeps what is written, and would block otherwise.
#[derive(Default)]
struct Pipe {
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let bytes = buffer.len().min(self.incoming.len());
        buffer[..bytes].copy_from_slice(&self.incoming[..bytes]);
        self.incoming.drain(..bytes);
        Ok(bytes)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn tungstenite_accepts_our_request_and_we_accept_its_answer() {
    let mut pipe = Pipe::default();
    REQUEST.write(&mut pipe.incoming).unwrap();
    let socket = tungstenite::accept(pipe).unwrap();
    let answer = &socket.get_ref().outgoing;
    let accepted =
        ClientRequest { protocols: &[], ..REQUEST }.verify(answer, &HeadLimits::default()).unwrap();
    assert_eq!(accepted.protocol, None);
}

#[test]
fn we_accept_tungstenites_request_and_it_accepts_our_answer() {
    let Err(HandshakeError::Interrupted(mut unfinished)) =
        tungstenite::client("ws://localhost:8765/chat?a=b", Pipe::default())
    else {
        panic!("the client waits for an answer");
    };
    let pipe = unfinished.get_mut().get_mut();
    let request = Request::parse(&pipe.outgoing, &HeadLimits::default()).unwrap();
    assert_eq!((request.host.as_str(), request.target), ("localhost:8765", "/chat?a=b"));
    SwitchingProtocols::default().write(&request, &mut pipe.incoming).unwrap();
    assert!(unfinished.handshake().is_ok());
}
