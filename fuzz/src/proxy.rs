//! Target `proxy`: the header in which a proxy names its client, in any bytes.
//!
//! The first byte says which versions are taken, the rest is what came. Promises: no panic; never more is asked for than belongs
//! to the header, and never more taken than came; any beginning gives the answer of the whole, or none yet; what follows a
//! header changes nothing; what was read, written again in either version, is read the same.

use std::net::{IpAddr, SocketAddr};

use drawgate::address::ProxyProtocol;
use drawgate::address::proxy::{BLOCK_BYTES_MAX, Behalf, Header, LINE_BYTES_MAX, Parsed, parse};

use crate::Seed;

/// Checks one input.
pub fn run(data: &[u8]) {
    let Some((taken, bytes)) = data.split_first() else { return };
    let taken = [ProxyProtocol::Any, ProxyProtocol::V1, ProxyProtocol::V2][usize::from(taken % 3)];
    let verdict = parse(bytes, taken);
    let consumed = match verdict {
        Ok(Parsed::Whole(Header { consumed, behalf })) => {
            assert!(consumed <= bytes.len() && consumed <= BLOCK_BYTES_MAX);
            assert!(bytes[0] == b'\r' || consumed <= LINE_BYTES_MAX);
            assert_eq!(parse(&bytes[..consumed], taken), verdict, "what follows changes nothing");
            written_again(behalf);
            consumed
        }
        Ok(Parsed::Incomplete { bytes_min }) => {
            assert!(bytes_min > 0 && bytes.len() + bytes_min <= BLOCK_BYTES_MAX);
            usize::MAX
        }
        Err(_) => usize::MAX,
    };
    for end in 0..bytes.len().min(BLOCK_BYTES_MAX) {
        match parse(&bytes[..end], taken) {
            Ok(Parsed::Incomplete { bytes_min }) => {
                assert!(bytes_min > 0 && end + bytes_min <= consumed, "{end} + {bytes_min} of {consumed}");
            }
            decided => assert_eq!(decided, verdict, "at {end}"),
        }
    }
}

/// Writes `behalf` in both versions, as far as they can say it, and reads it back.
fn written_again(behalf: Behalf) {
    let Behalf::Client { source, destination, is_encrypted } = behalf else { return };
    let client = ClientOf { source, destination };
    let extensions = match is_encrypted {
        Some(is_encrypted) => vec![0x20, 0, 5, u8::from(is_encrypted), 0, 0, 0, 0],
        None => Vec::new(),
    };
    let block = client.block(&extensions);
    let expected = Header { consumed: block.len(), behalf };
    assert_eq!(parse(&block, ProxyProtocol::V2), Ok(Parsed::Whole(expected)));
    let line = client.line();
    let behalf = Behalf::Client { source, destination, is_encrypted: None };
    let expected = Header { consumed: line.len(), behalf };
    assert_eq!(parse(line.as_bytes(), ProxyProtocol::V1), Ok(Parsed::Whole(expected)), "{line}");
}

/// Writes headers.
struct ClientOf {
    source: SocketAddr,
    destination: SocketAddr,
}

impl ClientOf {
    fn line(&self) -> String {
        let Self { source, destination } = self;
        let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
        format!(
            "PROXY {family} {} {} {} {}\r\n",
            source.ip(),
            destination.ip(),
            source.port(),
            destination.port()
        )
    }

    fn block(&self, extensions: &[u8]) -> Vec<u8> {
        let octets = |address: &SocketAddr| match address.ip() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let ports = [self.source.port().to_be_bytes(), self.destination.port().to_be_bytes()].concat();
        let body = [octets(&self.source), octets(&self.destination), ports, extensions.to_vec()].concat();
        block(0x21, if self.source.is_ipv4() { 0x11 } else { 0x21 }, &body)
    }
}

fn block(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a short body").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, body].concat()
}

/// Both versions, both families, and what is wrong with them.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let seed = |name: &str, bytes: &[u8]| Seed { name: name.to_owned(), bytes: [&[0], bytes].concat() };
    let client = |source: &str, destination: &str| ClientOf {
        source: source.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
    };
    let (v4, v6) =
        (client("203.0.113.7:54321", "192.0.2.1:443"), client("[2001:db8::7]:1", "[2001:db8::1]:443"));
    let checked = b"\x03\x00\x04\0\0\0\0";
    vec![
        seed("line-v4", v4.line().as_bytes()),
        seed("line-v6", v6.line().as_bytes()),
        seed("line-unknown", b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n"),
        seed("line-with-request", &[v4.line().as_bytes(), b"GET / HTTP/1.1\r\n"].concat()),
        seed("line-too-long", &[b"PROXY TCP4 ", &[b'1'; 100][..]].concat()),
        seed("block-v4", &v4.block(b"")),
        seed("block-v6-with-alpn", &v6.block(b"\x01\x00\x02h2")),
        seed("block-tls", &v4.block(b"\x20\x00\x0d\x05\0\0\0\0\x21\x00\x05TLS13")),
        seed("block-checksum", &v4.block(checked)),
        seed("block-local", &block(0x20, 0x00, b"")),
        seed("block-unix", &block(0x21, 0x31, &[b'/'; 216])),
        seed("block-cut", &v4.block(b"\x01\x00\x02h2")[..30]),
        seed("block-too-long", &block(0x20, 0x00, &[0; 521])),
    ]
}
