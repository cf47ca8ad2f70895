//! A client of a route that seals its messages (docs/payload-encryption.md): each of its messages is sealed for itself, as its number
//! asks, and the first answer is opened.

use std::io::{self, Write as _};
use std::net::TcpStream;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::client::{self, Opcode};

/// What seals the messages of one connection.
#[derive(Debug)]
pub struct Sealer {
    to_gate: LessSafeKey,
    to_client: LessSafeKey,
    last_seq: u32,
}

impl Sealer {
    /// Connects to `port` by `request`, and begins the session that the gate announces.
    ///
    /// # Errors
    /// The gate does not announce one.
    pub fn connect(port: u16, request: &[u8]) -> io::Result<(TcpStream, Self)> {
        let mut socket = client::connect(port, None)?;
        socket.write_all(request)?;
        let head = read_until(&mut socket, |head| head.ends_with(b"\r\n\r\n"))?;
        if !head.starts_with(b"HTTP/1.1 101 ") {
            return Err(io::Error::other("the request was refused"));
        }
        let announced = read_frame(&mut socket)?;
        let salt = announced.split_once(r#""salt":""#).and_then(|(_, rest)| rest.split_once('"'));
        let salt = salt.ok_or_else(|| io::Error::other("no salt is announced"))?.0;
        let salt = Salt::new(HKDF_SHA256, &URL_SAFE_NO_PAD.decode(salt).map_err(io::Error::other)?);
        let derive = |to| {
            let info = format!("drawgate seal 1 {KEY_ID} to {to}");
            let material =
                salt.extract(SECRET).expand(&[info.as_bytes()], &AES_256_GCM).map(UnboundKey::from);
            material.map(LessSafeKey::new).map_err(io::Error::other)
        };
        Ok((socket, Self { to_gate: derive("gate")?, to_client: derive("client")?, last_seq: 0 }))
    }

    /// Makes `frame` that of the next message.
    ///
    /// # Errors
    /// The library does not seal.
    pub fn seal(&mut self, payload: &[u8], frame: &mut Vec<u8>) -> io::Result<()> {
        self.last_seq += 1;
        let seq = self.last_seq;
        let header = format!(r#"{{"alg":"dir","enc":"A256GCM","kid":"{KEY_ID}","seq":{seq},"to":"gate"}}"#);
        let header = URL_SAFE_NO_PAD.encode(header);
        let mut iv = [0; NONCE_LEN];
        iv[NONCE_LEN - 4..].copy_from_slice(&seq.to_be_bytes());
        let mut body = payload.to_vec();
        let nonce = Nonce::assume_unique_for_key(iv);
        let tag = self.to_gate.seal_in_place_separate_tag(nonce, Aad::from(header.as_bytes()), &mut body);
        let tag = tag.map_err(io::Error::other)?;
        let [iv, body, tag] = [&iv[..], &body, tag.as_ref()].map(|part| URL_SAFE_NO_PAD.encode(part));
        *frame = client::frame(Opcode::Text as u8, format!("{header}..{iv}.{body}.{tag}").as_bytes());
        Ok(())
    }

    /// Sends one message, and opens what comes back.
    ///
    /// # Errors
    /// It is not what was sent.
    pub fn check_echo(&mut self, mut socket: &TcpStream, payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::new();
        self.seal(payload, &mut frame)?;
        socket.write_all(&frame)?;
        let answer = read_frame(&mut socket)?;
        let parts: Vec<&str> = answer.split('.').collect();
        let [header, "", iv, body, tag] = parts[..] else {
            return Err(io::Error::other("what came back is not sealed"));
        };
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(io::Error::other);
        let nonce = Nonce::try_assume_unique_for_key(&decode(iv)?).map_err(io::Error::other)?;
        let mut body = [decode(body)?, decode(tag)?].concat();
        let opened = self.to_client.open_in_place(nonce, Aad::from(header.as_bytes()), &mut body);
        if opened.is_ok_and(|opened| opened == payload) {
            return Ok(());
        }
        Err(io::Error::other("what came back is not what was sent"))
    }
}

/// One frame of text, unmasked, whole.
fn read_frame(socket: &mut impl io::Read) -> io::Result<String> {
    let mut head = [0; 2];
    socket.read_exact(&mut head)?;
    let length = match head {
        [0x81, length @ 0..126] => usize::from(length),
        [0x81, 126] => {
            let mut length = [0; 2];
            socket.read_exact(&mut length)?;
            usize::from(u16::from_be_bytes(length))
        }
        _ => return Err(io::Error::other(format!("an unexpected frame came: {head:02x?}"))),
    };
    let mut payload = vec![0; length];
    socket.read_exact(&mut payload)?;
    String::from_utf8(payload).map_err(io::Error::other)
}

/// Byte by byte, so that nothing behind it is taken.
fn read_until(socket: &mut impl io::Read, is_whole: impl Fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !is_whole(&read) {
        socket.read_exact(&mut byte)?;
        read.push(byte[0]);
    }
    Ok(read)
}

/// What the route's key is known by, and the key.
pub const KEY_ID: &str = "bench";
/// At least 32 bytes.
pub const SECRET: &[u8] = b"ssssssssssssssssssssssssssssssssssssssss";
