//! The PROXY protocol, versions 1 and 2, as its specification has it (haproxy.org, proxy-protocol.txt): the header in which a
//! proxy names the client, before anything that the client says.
//!
//! Without I/O: bytes in, a verdict out; the same for any split of the same bytes. It never asks for a byte that may not be the
//! header's, so that whoever reads leaves the rest in the socket. Whether the sender may say anything is for others to judge.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Which versions a listener takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// The line of text.
    V1,
    /// The binary header.
    V2,
    /// Whichever comes.
    Any,
}

/// What has come so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header.
    Incomplete {
        /// How many more bytes it has at least; never 0.
        bytes_min: usize,
    },
    /// A header.
    Whole(Header),
}

/// A header that has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How many bytes it has.
    pub consumed: usize,
    /// For whom it speaks.
    pub behalf: Behalf,
}

/// For whom a header speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behalf {
    /// For the proxy itself, which looks after us (`LOCAL`, version 2 only).
    Local,
    /// For a client, which came over TCP.
    Client {
        /// The client.
        source: SocketAddr,
        /// Where the client connected to.
        destination: SocketAddr,
        /// Whether the client speaks TLS with the proxy; `None` where it does not say.
        is_encrypted: Option<bool>,
    },
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes are no header of a version that is taken here.
    #[error("the connection does not begin with a PROXY header of the version that is expected")]
    Missing,
    /// It has more bytes than any header needs.
    #[error("the PROXY header has more bytes than allowed")]
    TooLong,
    /// The line is not what version 1 says.
    #[error("the PROXY line is malformed")]
    LineMalformed,
    /// The version or the command does not exist.
    #[error("the PROXY header has a version or command that does not exist")]
    CommandUnknown,
    /// It is no TCP connection that the client made: a UNIX socket, a datagram, or something that does not exist.
    #[error("the PROXY header is for something else than TCP over IPv4 or IPv6")]
    FamilyUnsupported,
    /// The proxy says that it does not know who the client is.
    #[error("the PROXY header does not know the client")]
    SourceUnknown,
    /// It is shorter than the addresses that it announces, or what follows them runs over its end.
    #[error("the PROXY header has lengths that do not fit")]
    LengthMalformed,
    /// The checksum that it carries is another's.
    #[error("the PROXY header has a wrong checksum")]
    ChecksumWrong,
}

/// Reads the header that `bytes` begin with.
///
/// # Errors
/// What is wrong with it, as early as it can be known.
pub fn parse(bytes: &[u8], taken: ProxyProtocol) -> Result<Parsed, Fault> {
    let is_begun = |whole: &[u8]| whole.iter().zip(bytes).all(|(expected, byte)| expected == byte);
    let (takes_v1, takes_v2) = match taken {
        ProxyProtocol::V1 => (true, false),
        ProxyProtocol::V2 => (false, true),
        ProxyProtocol::Any => (true, true),
    };
    match (takes_v1 && is_begun(LINE_BEGIN), takes_v2 && is_begun(SIGNATURE)) {
        // Nothing has come: either may.
        (true, true) => Ok(Parsed::Incomplete { bytes_min: LINE_BYTES_MIN }),
        (true, false) => line(bytes),
        (false, true) => block(bytes),
        (false, false) => Err(Fault::Missing),
    }
}

/// Version 1, §2.1: one line of ASCII, with single spaces.
fn line(bytes: &[u8]) -> Result<Parsed, Fault> {
    let window = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        // Every byte but the last two is a visible character or a space.
        let text = window.strip_suffix(b"\r").unwrap_or(window);
        if !text.iter().all(|byte| is_line_text(*byte)) {
            return Err(Fault::LineMalformed);
        }
        if window.len() >= LINE_BYTES_MAX {
            return Err(Fault::TooLong);
        }
        return Ok(Parsed::Incomplete { bytes_min: line_bytes_left(window) });
    };
    let text = bytes[..end].strip_suffix(b"\r").ok_or(Fault::LineMalformed)?;
    if !text.iter().all(|byte| is_line_text(*byte)) {
        return Err(Fault::LineMalformed);
    }
    let text = std::str::from_utf8(text).map_err(|_| Fault::LineMalformed)?;
    let behalf = line_behalf(text.strip_prefix("PROXY ").ok_or(Fault::LineMalformed)?)?;
    Ok(Parsed::Whole(Header { consumed: end + 1, behalf }))
}

fn is_line_text(byte: u8) -> bool {
    byte == b' ' || byte.is_ascii_graphic()
}

/// How many bytes a line that begins so has at least beyond them.
fn line_bytes_left(begin: &[u8]) -> usize {
    let least = if begin.starts_with(b"PROXY TCP4 ") {
        b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n".len()
    } else if begin.starts_with(b"PROXY TCP6 ") {
        b"PROXY TCP6 :: :: 0 0\r\n".len()
    } else {
        LINE_BYTES_MIN
    };
    let line_end_left = if begin.ends_with(b"\r") { 1 } else { 2 };
    least.saturating_sub(begin.len()).max(line_end_left)
}

fn line_behalf(text: &str) -> Result<Behalf, Fault> {
    // §2.1: whatever follows `UNKNOWN` says nothing.
    if text == "UNKNOWN" || text.starts_with("UNKNOWN ") {
        return Err(Fault::SourceUnknown);
    }
    let mut words = text.split(' ');
    let mut word = || words.next().ok_or(Fault::LineMalformed);
    let is_v4 = match word()? {
        "TCP4" => true,
        "TCP6" => false,
        _ => return Err(Fault::LineMalformed),
    };
    let (source, destination) = (line_address(word()?, is_v4)?, line_address(word()?, is_v4)?);
    let (source_port, destination_port) = (line_port(word()?)?, line_port(word()?)?);
    if words.next().is_some() {
        return Err(Fault::LineMalformed);
    }
    client(SocketAddr::new(source, source_port), SocketAddr::new(destination, destination_port), None)
}

fn line_address(text: &str, is_v4: bool) -> Result<IpAddr, Fault> {
    let address = if is_v4 {
        text.parse::<Ipv4Addr>().map(IpAddr::V4)
    } else {
        text.parse::<Ipv6Addr>().map(IpAddr::V6)
    };
    address.map_err(|_| Fault::LineMalformed)
}

/// Decimal, without a sign or leading zeros.
fn line_port(text: &str) -> Result<u16, Fault> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain).ok_or(Fault::LineMalformed)
}

/// Version 2, §2.2: a block of bytes that says how long it is.
fn block(bytes: &[u8]) -> Result<Parsed, Fault> {
    let Some((&[command, family, high, low], _)) =
        bytes[SIGNATURE.len().min(bytes.len())..].split_first_chunk::<4>()
    else {
        return Ok(Parsed::Incomplete { bytes_min: BLOCK_BYTES_MIN - bytes.len() });
    };
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Fault::CommandUnknown),
    };
    let consumed = BLOCK_BYTES_MIN + usize::from(u16::from_be_bytes([high, low]));
    if consumed > BLOCK_BYTES_MAX {
        return Err(Fault::TooLong);
    }
    let Some(header) = bytes.get(..consumed) else {
        return Ok(Parsed::Incomplete { bytes_min: consumed - bytes.len() });
    };
    let body = &header[BLOCK_BYTES_MIN..];
    // §2.2: what a LOCAL carries is skipped, its family included.
    let behalf = if is_local { Behalf::Local } else { block_behalf(header, family, body)? };
    Ok(Parsed::Whole(Header { consumed, behalf }))
}

fn block_behalf(header: &[u8], family: u8, body: &[u8]) -> Result<Behalf, Fault> {
    let (source, destination, extensions) = match family {
        0x11 => {
            let (addresses, rest) = body.split_first_chunk::<12>().ok_or(Fault::LengthMalformed)?;
            let [a, b, c, d, e, f, g, h, ports @ ..] = *addresses;
            let [source_port, destination_port] = block_ports(ports);
            let source = SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), source_port);
            (source, SocketAddr::new(Ipv4Addr::new(e, f, g, h).into(), destination_port), rest)
        }
        0x21 => {
            let malformed = Fault::LengthMalformed;
            let (source, rest) = body.split_first_chunk::<16>().ok_or(malformed)?;
            let (destination, rest) = rest.split_first_chunk::<16>().ok_or(malformed)?;
            let (ports, rest) = rest.split_first_chunk::<4>().ok_or(malformed)?;
            let [source_port, destination_port] = block_ports(*ports);
            let source = SocketAddr::new(Ipv6Addr::from(*source).into(), source_port);
            (source, SocketAddr::new(Ipv6Addr::from(*destination).into(), destination_port), rest)
        }
        0x00 => return Err(Fault::SourceUnknown),
        _ => return Err(Fault::FamilyUnsupported),
    };
    let is_encrypted = extensions_encrypted(header, extensions)?;
    client(source, destination, is_encrypted)
}

fn block_ports([a, b, c, d]: [u8; 4]) -> [u16; 2] {
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}

/// §2.2.1: the vectors behind the addresses, to the end. All are skipped but the checksum, and what TLS says of the client.
fn extensions_encrypted(header: &[u8], mut extensions: &[u8]) -> Result<Option<bool>, Fault> {
    let mut is_encrypted = None;
    while let Some((&[kind, high, low], rest)) = extensions.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, rest) = rest.split_at_checked(length).ok_or(Fault::LengthMalformed)?;
        match kind {
            KIND_CHECKSUM => {
                let carried: [u8; 4] = value.try_into().map_err(|_| Fault::LengthMalformed)?;
                let at = header.len() - rest.len() - carried.len();
                if checksum(header, at) != u32::from_be_bytes(carried) {
                    return Err(Fault::ChecksumWrong);
                }
            }
            // §2.2.5: a byte of flags, then whether the client's certificate was verified.
            KIND_TLS => match value {
                [flags, _, _, _, _, ..] => is_encrypted = Some(flags & FLAG_TLS != 0),
                _ => return Err(Fault::LengthMalformed),
            },
            _ => {}
        }
        extensions = rest;
    }
    if extensions.is_empty() { Ok(is_encrypted) } else { Err(Fault::LengthMalformed) }
}

/// The unspecified address is nobody's: no limit could count it.
fn client(source: SocketAddr, destination: SocketAddr, is_encrypted: Option<bool>) -> Result<Behalf, Fault> {
    if source.ip().to_canonical().is_unspecified() {
        return Err(Fault::SourceUnknown);
    }
    Ok(Behalf::Client { source, destination, is_encrypted })
}

/// The `CRC32c` (RFC 9260 §A) of `header`, with zeros in place of the four bytes from `at` on. A header is too short for a table
/// to be worth it.
fn checksum(header: &[u8], at: usize) -> u32 {
    let bytes =
        header.iter().enumerate().map(|(place, byte)| if (at..at + 4).contains(&place) { 0 } else { *byte });
    let crc = bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (CRC32C & (crc & 1).wrapping_neg()))
    });
    !crc
}

/// The most bytes of a line, its end included (§2.1).
pub const LINE_BYTES_MAX: usize = 107;
/// The most bytes of a block: what every path of IPv4 carries in one segment (576 bytes less 40), and §2 has it sent at once. The
/// largest addresses leave 484 bytes for what proxies add.
pub const BLOCK_BYTES_MAX: usize = 536;

const LINE_BEGIN: &[u8] = b"PROXY ";
const LINE_BYTES_MIN: usize = b"PROXY UNKNOWN\r\n".len();
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const BLOCK_BYTES_MIN: usize = SIGNATURE.len() + 4;
const KIND_CHECKSUM: u8 = 0x03;
const KIND_TLS: u8 = 0x20;
const FLAG_TLS: u8 = 0x01;
const CRC32C: u32 = 0x82F6_3B78;

#[cfg(test)]
mod tests {
    use super::*;

    fn block_of(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = [SIGNATURE, &[command, family]].concat();
        bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend(body);
        bytes
    }

    const V4: [u8; 12] = [203, 0, 113, 5, 192, 0, 2, 1, 0xD4, 0x31, 0x01, 0xBB];

    fn v4_with(extensions: &[u8]) -> Vec<u8> {
        block_of(0x21, 0x11, &[&V4, extensions].concat())
    }

    fn whole(bytes: &[u8]) -> Header {
        match parse(bytes, ProxyProtocol::Any) {
            Ok(Parsed::Whole(header)) => header,
            other => panic!("{other:?}"),
        }
    }

    fn fault(bytes: &[u8]) -> Fault {
        parse(bytes, ProxyProtocol::Any).unwrap_err()
    }

    fn client_of(source: &str, destination: &str, is_encrypted: Option<bool>) -> Behalf {
        Behalf::Client {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            is_encrypted,
        }
    }

    #[test]
    fn lines_of_both_families_are_read_and_what_follows_is_left() {
        let line = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\n";
        assert_eq!(
            whole(line),
            Header { consumed: 47, behalf: client_of("192.168.0.1:56324", "192.168.0.11:443", None) }
        );
        let longest = b"PROXY TCP6 ffff:f123:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 \
            65535\r\n";
        let header = whole(longest);
        assert_eq!(header.consumed, longest.len());
        let Behalf::Client { source, .. } = header.behalf else { panic!("{header:?}") };
        assert_eq!(source, "[ffff:f123:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap());
    }

    #[test]
    fn r05_lines_that_are_not_exact_are_refused() {
        for line in [
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
            "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
            "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.513 192.0.2.2 1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY UNIX /a /b\r\n",
            "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4\t192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY \r\n",
        ] {
            assert_eq!(fault(line.as_bytes()), Fault::LineMalformed, "{line:?}");
        }
        assert_eq!(fault(b"PROXY UNKNOWN\r\n"), Fault::SourceUnknown);
        assert_eq!(fault(b"PROXY UNKNOWN 192.0.2.1 192.0.2.2 1 2\r\n"), Fault::SourceUnknown);
        assert_eq!(fault(b"PROXY TCP4 0.0.0.0 192.0.2.2 1 2\r\n"), Fault::SourceUnknown);
        assert_eq!(fault(b"PROXY TCP6 ::ffff:0.0.0.0 ::1 1 2\r\n"), Fault::SourceUnknown);
        // Known before its end.
        assert_eq!(fault(b"PROXY TCP4 \x00"), Fault::LineMalformed);
        assert_eq!(fault(b"PROXY TCP4 \r "), Fault::LineMalformed);
    }

    #[test]
    fn r05_a_line_of_more_than_107_bytes_is_refused_at_the_107th() {
        let unknown = |bytes: usize| format!("PROXY UNKNOWN {:0>1$}\r\n", "", bytes - 16);
        assert_eq!(fault(unknown(107).as_bytes()), Fault::SourceUnknown);
        assert_eq!(fault(unknown(108).as_bytes()), Fault::TooLong);
        let begun = &unknown(200)[..106];
        assert!(matches!(parse(begun.as_bytes(), ProxyProtocol::V1), Ok(Parsed::Incomplete { .. })));
        assert_eq!(fault(&unknown(200).as_bytes()[..107]), Fault::TooLong);
    }

    #[test]
    fn blocks_of_both_families_are_read_and_what_follows_is_left() {
        let mut bytes = v4_with(&[]);
        bytes.extend(b"\x16\x03\x01");
        assert_eq!(
            whole(&bytes),
            Header { consumed: 28, behalf: client_of("203.0.113.5:54321", "192.0.2.1:443", None) }
        );
        let mut body = [0; 36];
        (body[0], body[15], body[31], body[33], body[35]) = (0x20, 7, 9, 1, 2);
        assert_eq!(
            whole(&block_of(0x21, 0x21, &body)),
            Header { consumed: 52, behalf: client_of("[2000::7]:1", "[::9]:2", None) }
        );
    }

    #[test]
    fn a_local_block_is_skipped_whatever_it_holds() {
        for (family, body) in
            [(0x00, &b""[..]), (0x11, &V4), (0x31, &[0; 216]), (0x00, b"\x04\x00\xFF"), (0xFF, b"x")]
        {
            let bytes = block_of(0x20, family, body);
            assert_eq!(whole(&bytes), Header { consumed: bytes.len(), behalf: Behalf::Local });
        }
    }

    #[test]
    fn r05_blocks_for_anything_but_tcp_clients_are_refused() {
        assert_eq!(fault(&block_of(0x21, 0x00, &[])), Fault::SourceUnknown);
        // Datagrams, UNIX sockets, and what does not exist.
        for family in [0x10, 0x12, 0x20, 0x22, 0x30, 0x31, 0x32, 0x01, 0x41, 0x13, 0xF1] {
            assert_eq!(fault(&block_of(0x21, family, &[0; 216])), Fault::FamilyUnsupported, "{family:#x}");
        }
        for command in [0x22, 0x2F, 0x11, 0x31, 0x01, 0x00] {
            assert_eq!(fault(&block_of(command, 0x11, &V4)), Fault::CommandUnknown, "{command:#x}");
        }
        assert_eq!(fault(&block_of(0x21, 0x11, &V4[..11])), Fault::LengthMalformed);
        assert_eq!(fault(&block_of(0x21, 0x21, &[1; 35])), Fault::LengthMalformed);
        assert_eq!(fault(&block_of(0x21, 0x11, &[0; 12])), Fault::SourceUnknown);
    }

    #[test]
    fn r05_a_block_of_537_bytes_is_refused_at_its_length_and_one_of_536_is_read() {
        let padding = |bytes: usize| {
            let length = u16::try_from(bytes - BLOCK_BYTES_MIN - V4.len() - 3).unwrap().to_be_bytes();
            v4_with(
                &[&[0x04], &length[..], &vec![0; length.len().max(bytes - BLOCK_BYTES_MIN - V4.len() - 3)]]
                    .concat(),
            )
        };
        assert_eq!(whole(&padding(536)).consumed, 536);
        assert_eq!(fault(&padding(537)[..16]), Fault::TooLong);
        assert_eq!(fault(&block_of(0x20, 0x00, &[0; 521])), Fault::TooLong);
    }

    #[test]
    fn vectors_are_skipped_but_must_fit() {
        let alpn = b"\x01\x00\x02h2";
        assert_eq!(whole(&v4_with(alpn)).consumed, 33);
        for extensions in [
            &alpn[..4],
            b"\x01",
            b"\x01\x00",
            b"\x01\xFF\xFF",
            b"\x01\x00\x02h2\x05",
            b"\x20\x00\x04\x01\0\0\0",
        ] {
            assert_eq!(fault(&v4_with(extensions)), Fault::LengthMalformed, "{extensions:?}");
        }
        let encrypted = |extensions: &[u8]| match whole(&v4_with(extensions)).behalf {
            Behalf::Client { is_encrypted, .. } => is_encrypted,
            Behalf::Local => panic!(),
        };
        assert_eq!(encrypted(alpn), None);
        assert_eq!(encrypted(b"\x20\x00\x05\x01\0\0\0\0"), Some(true));
        assert_eq!(encrypted(b"\x20\x00\x05\x00\0\0\0\0"), Some(false));
        assert_eq!(encrypted(b"\x20\x00\x0D\x05\0\0\0\0\x21\x00\x05TLS13"), Some(true));
    }

    #[test]
    fn a_checksum_is_held_to_the_header() {
        // RFC 9260 and every table of CRCs have this one.
        assert_eq!(checksum(b"123456789", usize::MAX - 4), 0xE306_9283);
        let mut bytes = v4_with(&[&b"\x03\x00\x04\0\0\0\0"[..], b"\x04\x00\x01x"].concat());
        let at = bytes.len() - 8;
        let sum = checksum(&bytes, at);
        assert_eq!(fault(&bytes), Fault::ChecksumWrong);
        bytes[at..at + 4].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(whole(&bytes).consumed, bytes.len());
        bytes[17] ^= 1;
        assert_eq!(fault(&bytes), Fault::ChecksumWrong);
        assert_eq!(fault(&v4_with(b"\x03\x00\x03\0\0\0")), Fault::LengthMalformed);
    }

    #[test]
    fn r05_a_version_that_is_not_taken_is_missing() {
        let line = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n";
        assert_eq!(parse(line, ProxyProtocol::V2), Err(Fault::Missing));
        assert_eq!(parse(&v4_with(&[]), ProxyProtocol::V1), Err(Fault::Missing));
        assert!(parse(line, ProxyProtocol::V1).is_ok() && parse(&v4_with(&[]), ProxyProtocol::V2).is_ok());
        for other in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\x16\x03\x01\x02\x00",
            b"PROXI",
            b"\r\n\r\n\0\r\nQUIT\r",
            b"\r\n\r\nP",
        ] {
            assert_eq!(fault(other), Fault::Missing, "{other:?}");
        }
    }

    #[test]
    fn no_byte_is_asked_for_that_is_not_the_headers_and_any_split_is_the_same() {
        let checked = [
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n".to_vec(),
            b"PROXY TCP6 1:: :: 1 2\r\n".to_vec(),
            v4_with(b"\x01\x00\x02h2"),
            block_of(0x20, 0, &[]),
        ];
        for bytes in checked {
            let mut steps = 0;
            let mut have = 0;
            while let Ok(Parsed::Incomplete { bytes_min }) = parse(&bytes[..have], ProxyProtocol::Any) {
                assert!(bytes_min > 0 && have + bytes_min <= bytes.len(), "{have} + {bytes_min}");
                have += bytes_min;
                steps += 1;
            }
            assert_eq!(have, whole(&bytes).consumed);
            assert!(steps <= 12, "{steps}");
            for have in 0..bytes.len() {
                assert!(
                    matches!(parse(&bytes[..have], ProxyProtocol::Any), Ok(Parsed::Incomplete { .. })),
                    "{have}"
                );
            }
        }
    }
}
