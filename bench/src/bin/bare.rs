//! What nothing can be cheaper than: one thread, one epoll, one buffer, no protocol.
//!
//! `bare echo PORT` sends back whatever comes. `bare handshake PORT` reads a request head, answers it with the right
//! `101`, and answers a Close with a Close. It checks nothing that it need not: it is what servers are measured against.
//! `bare handshake PORT KEY` verifies as well, by aws-lc-rs and the P-256 key in this PEM file, the signature of the token that
//! comes in the head, and nothing else of it.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustix::event::epoll;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next();
    let port: u16 = arguments.next().and_then(|port| port.parse().ok()).ok_or_else(usage)?;
    let key = arguments.next().map(|file| public_key(&file)).transpose()?;
    let mode = match mode.as_deref() {
        Some("echo") => Mode::Echo,
        Some("handshake") => Mode::Handshake(key),
        _ => return Err(usage()),
    };
    serve(&mode, &TcpListener::bind(("127.0.0.1", port))?)
}

enum Mode {
    Echo,
    /// With the key that tokens are verified with, if they are.
    Handshake(Option<ParsedPublicKey>),
}

fn public_key(file: &str) -> io::Result<ParsedPublicKey> {
    let text = std::fs::read_to_string(file)?;
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(body).map_err(io::Error::other)?;
    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, der).map_err(io::Error::other)
}

struct Connection {
    socket: TcpStream,
    /// What came and could not be answered yet: a head that is incomplete, output that did not fit.
    kept: Vec<u8>,
    is_upgraded: bool,
}

fn serve(mode: &Mode, listener: &TcpListener) -> io::Result<()> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let readable = epoll::EventFlags::IN;
    listener.set_nonblocking(true)?;
    epoll::add(&poll, listener, epoll::EventData::new_u64(LISTENER), readable)?;
    let mut connections: HashMap<u64, Connection> = HashMap::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut events = Vec::with_capacity(1024);
    loop {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let (key, flags) = (event.data.u64(), event.flags);
            if key == LISTENER {
                while let Ok((socket, _)) = listener.accept() {
                    socket.set_nonblocking(true)?;
                    socket.set_nodelay(true)?;
                    let key = u64::try_from(socket.as_raw_fd()).map_err(io::Error::other)?;
                    epoll::add(&poll, &socket, epoll::EventData::new_u64(key), readable)?;
                    connections.insert(key, Connection { socket, kept: Vec::new(), is_upgraded: false });
                }
                continue;
            }
            let Some(connection) = connections.get_mut(&key) else { continue };
            let went_on = match mode {
                Mode::Echo => echo(connection, &mut buffer),
                Mode::Handshake(key) => shake_hands(connection, &mut buffer, key.as_ref()),
            };
            if went_on.is_err() {
                connections.remove(&key);
                continue;
            }
            if let Some(connection) = connections.get(&key) {
                let waits = matches!(mode, Mode::Echo) && !connection.kept.is_empty();
                if waits || flags.contains(epoll::EventFlags::OUT) {
                    let wanted = if waits { epoll::EventFlags::OUT } else { readable };
                    epoll::modify(&poll, &connection.socket, epoll::EventData::new_u64(key), wanted)?;
                }
            }
        }
    }
}

/// One read and one write; an error ends the connection.
fn echo(connection: &mut Connection, buffer: &mut [u8]) -> io::Result<()> {
    if !connection.kept.is_empty() {
        let written = written(connection.socket.write(&connection.kept))?;
        connection.kept.drain(..written);
        return Ok(());
    }
    let count = connection.socket.read(buffer)?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let written = written(connection.socket.write(&buffer[..count]))?;
    connection.kept.extend_from_slice(&buffer[written..count]);
    Ok(())
}

/// A head is answered with `101`, a Close with a Close, and anything else with nothing.
fn shake_hands(
    connection: &mut Connection,
    buffer: &mut [u8],
    key: Option<&ParsedPublicKey>,
) -> io::Result<()> {
    let count = connection.socket.read(buffer)?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if connection.is_upgraded {
        connection.socket.write_all(b"\x88\x02\x03\xe8")?;
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    connection.kept.extend_from_slice(&buffer[..count]);
    if !connection.kept.ends_with(b"\r\n\r\n") {
        return Ok(());
    }
    if let Some(key) = key {
        verify(&connection.kept, key).ok_or(io::ErrorKind::PermissionDenied)?;
    }
    let answer = answer(&connection.kept).ok_or(io::ErrorKind::InvalidData)?;
    connection.kept = Vec::new();
    connection.is_upgraded = true;
    connection.socket.write_all(answer.as_bytes())
}

/// Whether the key has made the token in `head`.
fn verify(head: &[u8], key: &ParsedPublicKey) -> Option<()> {
    let head = std::str::from_utf8(head).ok()?;
    let (_, after) = head.split_once("Authorization: Bearer ")?;
    let (token, _) = after.split_once("\r\n")?;
    let (signed, signature) = token.rsplit_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    key.verify_sig(signed.as_bytes(), &signature).ok()
}

/// RFC 6455 §4.2.2: the answer to the key in `head`.
fn answer(head: &[u8]) -> Option<String> {
    let head = std::str::from_utf8(head).ok()?;
    let (_, after) = head.split_once("Sec-WebSocket-Key: ")?;
    let (key, _) = after.split_once("\r\n")?;
    let mut digest = sha1_smol::Sha1::from(key);
    digest.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = STANDARD.encode(digest.digest().bytes());
    Some(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ))
}

fn written(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}

fn usage() -> io::Error {
    io::Error::other("usage: bare echo PORT, bare handshake PORT [KEY]")
}

const LISTENER: u64 = u64::MAX;
