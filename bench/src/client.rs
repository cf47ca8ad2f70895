//! A client's bytes: the handshake, masked frames made once and sent many times, and the counting of what comes back.
//!
//! It is as cheap as it can be, so that one core of it keeps a server busy, and it still notices an answer that is
//! wrong: every connection's first echo is compared, after that messages and their bytes are counted.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// The kind of a message, by its opcode (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// UTF-8.
    Text = 1,
    /// Any bytes.
    Binary = 2,
}

/// Messages to be sent by one write, and what must come back for them.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The frames.
    pub bytes: Vec<u8>,
    /// One message, unmasked.
    pub payload: Vec<u8>,
    /// How many there are.
    pub messages: u32,
}

impl Batch {
    /// `messages` times `payload`.
    #[must_use]
    pub fn new(opcode: Opcode, payload: &[u8], messages: u32) -> Self {
        let frame = frame(opcode as u8, payload);
        let bytes = frame.repeat(messages as usize);
        Self { bytes, payload: payload.to_vec(), messages }
    }
}

/// Connects to `port`, and shakes hands there by `request` if there is one.
///
/// # Errors
/// No connection, no `101`, or neither in time.
pub fn connect(port: u16, request: Option<&[u8]>) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    if let Some(request) = request {
        socket.write_all(request)?;
        accepted(&socket)?;
    }
    Ok(socket)
}

/// RFC 6455 §1.3's request, at the path that every server here takes; it shows `token`, if there is one.
#[must_use]
pub fn request(token: Option<&str>) -> Vec<u8> {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!(
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{authorization}\r\n"
    )
    .into_bytes()
}

/// Waits for the `101`.
///
/// # Errors
/// Another answer, or none in time.
pub fn accepted(mut socket: &TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") {
        let count = socket.read(&mut piece)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&piece[..count]);
    }
    // The key is the RFC's own (§1.3), and so is the answer to it.
    let is_right = String::from_utf8_lossy(&head).contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    if !head.starts_with(b"HTTP/1.1 101 ") || !is_right {
        return Err(io::Error::other(format!("the request was refused: {}", String::from_utf8_lossy(&head))));
    }
    Ok(())
}

/// Sends one batch and compares all that comes back with it, byte by byte.
///
/// # Errors
/// The echo is not what was sent.
pub fn check_echo(mut socket: &TcpStream, batch: &Batch, websocket: bool) -> io::Result<()> {
    socket.write_all(&batch.bytes)?;
    let mut counter = Counter::new(websocket, batch);
    counter.keep = Some(Vec::new());
    let mut piece = vec![0; 64 * 1024];
    while counter.messages < u64::from(batch.messages) {
        let count = socket.read(&mut piece)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        counter.take(&piece[..count])?;
    }
    let sent = if websocket { batch.payload.repeat(batch.messages as usize) } else { batch.bytes.clone() };
    if counter.keep.as_deref() == Some(&sent[..]) {
        return Ok(());
    }
    Err(io::Error::other("what came back is not what was sent"))
}

/// Closes as RFC 6455 §7.1 has it: our Close, the server's, the end of its side.
///
/// # Errors
/// The server's Close did not come in time.
pub fn close(mut socket: &TcpStream) -> io::Result<()> {
    socket.write_all(&close_frame())
}

/// A Close with code 1000.
#[must_use]
pub fn close_frame() -> Vec<u8> {
    frame(8, &[0x03, 0xe8])
}

/// Reads until the server's side has ended, and that it said Close first.
///
/// # Errors
/// It did not, or not in time.
pub fn closed(mut socket: &TcpStream) -> io::Result<()> {
    let mut last = Vec::new();
    socket.read_to_end(&mut last)?;
    if last.starts_with(&[0x88]) { Ok(()) } else { Err(io::Error::other("no Close came")) }
}

/// Counts the messages that a server sends, frame by frame; behind a bare echo, the bytes.
#[derive(Debug)]
pub struct Counter {
    /// Messages that are complete.
    pub messages: u64,
    /// `None` where messages come back sealed, which makes each as long as its number has digits.
    message_bytes: Option<usize>,
    websocket: bool,
    header: [u8; 10],
    header_bytes: usize,
    is_last: bool,
    left: usize,
    so_far: usize,
    keep: Option<Vec<u8>>,
}

impl Counter {
    /// Of answers to `batch`.
    #[must_use]
    pub fn new(websocket: bool, batch: &Batch) -> Self {
        let echoed =
            if websocket { batch.payload.len() } else { batch.bytes.len() / batch.messages as usize };
        Self {
            messages: 0,
            message_bytes: Some(echoed),
            websocket,
            header: [0; 10],
            header_bytes: 0,
            is_last: false,
            left: 0,
            so_far: 0,
            keep: None,
        }
    }

    /// Of answers that are sealed.
    #[must_use]
    pub fn of_sealed(batch: &Batch) -> Self {
        Self { message_bytes: None, ..Self::new(true, batch) }
    }

    /// Counts what has come.
    ///
    /// # Errors
    /// A frame that no echo sends, or a message of another length than was sent.
    pub fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if let (false, Some(message_bytes)) = (self.websocket, self.message_bytes) {
            if let Some(keep) = &mut self.keep {
                keep.extend_from_slice(bytes);
            }
            self.so_far += bytes.len();
            self.messages += (self.so_far / message_bytes) as u64;
            self.so_far %= message_bytes;
            return Ok(());
        }
        while !bytes.is_empty() {
            if self.left == 0 && !self.take_header(&mut bytes)? {
                return Ok(());
            }
            let count = self.left.min(bytes.len());
            if let Some(keep) = &mut self.keep {
                keep.extend_from_slice(&bytes[..count]);
            }
            bytes = &bytes[count..];
            self.left -= count;
            self.so_far += count;
            if self.left == 0 && self.is_last {
                if self.message_bytes.is_some_and(|message_bytes| message_bytes != self.so_far) {
                    return Err(io::Error::other("a message came back with another length"));
                }
                self.messages += 1;
                self.so_far = 0;
            }
        }
        Ok(())
    }

    /// Takes the bytes of a header; whether it is complete.
    fn take_header(&mut self, bytes: &mut &[u8]) -> io::Result<bool> {
        loop {
            let header = &self.header[..self.header_bytes];
            let lacking = match header {
                [] | [_] => 2,
                [_, length, ..] => match length & 0x7f {
                    126 => 4,
                    127 => 10,
                    _ => 2,
                },
            };
            if header.len() == lacking {
                break;
            }
            let Some((first, rest)) = bytes.split_first() else { return Ok(false) };
            self.header[self.header_bytes] = *first;
            self.header_bytes += 1;
            *bytes = rest;
        }
        let [first, second, extended @ ..] = self.header;
        if !matches!(first & 0x7f, 0..=2) || second & 0x80 != 0 {
            return Err(io::Error::other(format!("an unexpected frame came: {first:02x} {second:02x}")));
        }
        self.left = match self.header_bytes {
            2 => usize::from(second),
            4 => usize::from(u16::from_be_bytes([extended[0], extended[1]])),
            _ => usize::try_from(u64::from_be_bytes(extended)).map_err(io::Error::other)?,
        };
        self.is_last = first & 0x80 != 0;
        self.header_bytes = 0;
        Ok(true)
    }
}

/// A masked frame, the last of its message.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | u8::try_from(length).unwrap_or(0)),
        length => match u16::try_from(length) {
            Ok(length) => {
                frame.push(0x80 | 126);
                frame.extend(length.to_be_bytes());
            }
            Err(_) => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        },
    }
    frame.extend(KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_section_5_7() {
        let expected = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(Batch::new(Opcode::Text, b"Hello", 1).bytes, expected);
    }

    #[test]
    fn messages_are_counted_however_they_are_cut_and_fragmented() {
        let batch = Batch::new(Opcode::Text, &[b'a'; 300], 1);
        let mut stream = vec![0x81, 126, 1, 44];
        stream.extend([b'a'; 300]);
        stream.extend([0x01, 100]);
        stream.extend([b'a'; 100]);
        stream.extend([0x80, 126, 0, 200]);
        stream.extend([b'a'; 200]);
        for cut in 1..stream.len() {
            let mut counter = Counter::new(true, &batch);
            counter.take(&stream[..cut]).unwrap();
            counter.take(&stream[cut..]).unwrap();
            assert_eq!(counter.messages, 2);
        }
    }

    #[test]
    fn an_answer_of_another_length_is_noticed() {
        let batch = Batch::new(Opcode::Binary, b"1234", 1);
        assert!(Counter::new(true, &batch).take(&[0x82, 3, 1, 2, 3]).is_err());
        assert!(Counter::new(true, &batch).take(&[0x88, 0]).is_err());
    }
}
