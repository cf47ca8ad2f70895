//! What clients send: heads, tokens, frames and Closes, right and wrong ones.

/// A request head; the first two thirds of the numbers are right ones, and half of all offer compression.
pub(crate) fn head(number: u8) -> Vec<u8> {
    let (path, other) = match number % 18 {
        0..=4 => ("/echo", ""),
        5..=8 => ("/handler", ""),
        9..=12 => ("/token", ""),
        13 => ("/nowhere", ""),
        14 => ("/echo", "Content-Length: 3\r\n"),
        15 => ("/echo", "Host: twice\r\n"),
        16 => return b"POST /echo HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        _ => return [&b"GET /echo HTTP/1.1\r\nHost: a\r\nX: "[..], &[b'x'; 20_000]].concat(),
    };
    let offer = match number & 0x80 {
        0 => "",
        _ => "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n",
    };
    format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\n{other}{offer}Upgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// A first message.
pub(crate) fn token(number: u8) -> Vec<u8> {
    match number % 8 {
        0..=3 => TOKEN.to_vec(),
        4 => TOKEN_EXPIRED.to_vec(),
        5 => [TOKEN, b"x"].concat(),
        6 => vec![b'.'; 9000],
        _ => Vec::new(),
    }
}

/// `payload` as a compressed message that did not get smaller: a stored block, and the beginning of an empty one.
pub(crate) fn stored(payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(60_000)];
    let (low, high) = (low_byte(payload.len()), low_byte(payload.len() >> 8));
    [&[0, low, high, !low, !high], payload, &[0]].concat()
}

/// A masked frame.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | low_byte(length)),
        length @ 126..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend([low_byte(length >> 8), low_byte(length)]);
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    let begin = frame.len();
    frame.extend_from_slice(payload);
    for quad in frame[begin..].chunks_mut(MASK.len()) {
        quad.iter_mut().zip(MASK).for_each(|(byte, mask)| *byte ^= mask);
    }
    frame
}

/// The payload of a Close; the last ones may not be sent.
pub(crate) fn close_payload(number: u8) -> Vec<u8> {
    match number % 10 {
        0 => Vec::new(),
        1 => [&1001_u16.to_be_bytes()[..], b"away"].concat(),
        2 => 4999_u16.to_be_bytes().to_vec(),
        3 => 3000_u16.to_be_bytes().to_vec(),
        4 => vec![3],
        5 => 1005_u16.to_be_bytes().to_vec(),
        6 => [&1000_u16.to_be_bytes()[..], b"\xff"].concat(),
        _ => [&1000_u16.to_be_bytes()[..], "tschüss".as_bytes()].concat(),
    }
}

/// A payload that is UTF-8, that begins with what the application looks at, and that is not the same twice.
pub(crate) fn payload(letter: u8, bytes: usize) -> Vec<u8> {
    let mut payload: Vec<u8> = (0..bytes).map(|at| b'A' + (letter ^ low_byte(at ^ at >> 7)) % 26).collect();
    if let Some(first) = payload.first_mut() {
        *first = command(letter);
    }
    payload
}

/// The first letter of such a message.
fn command(letter: u8) -> u8 {
    COMMANDS[usize::from(letter) % COMMANDS.len()]
}

/// Whether such a message asks for a burst.
pub(crate) fn is_burst(letter: u8) -> bool {
    command(letter) == b'b'
}

fn low_byte(number: usize) -> u8 {
    number.to_le_bytes()[0]
}

/// Mostly those that are echoed.
const COMMANDS: &[u8] = b"xyzABCDbsciqxEFGHJKLMNOPQR";

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Subject `ann`, for an hour.
pub(crate) const TOKEN: &[u8] =
    b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJleHAiOjE4MDAwMDM2MDB9.\
    ipIt6rWiK4NvWJq-oR8eATOpUkE9Ot85pTP8S0u_p14";

const TOKEN_EXPIRED: &[u8] =
    b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJleHAiOjE3OTk5OTAwMDB9.\
    r5KHYT6LeThMmCupPFQU50cPvRnfe71NI1Lka87y48k";
