//! What no relay can be cheaper than: one thread, one epoll, one buffer, no protocol.
//!
//! `bare_relay PORT UPSTREAM_PORT` passes on whatever comes, both ways: one read, one write.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::event::epoll;

fn main() -> io::Result<()> {
    let ports: Vec<u16> = std::env::args().skip(1).filter_map(|port| port.parse().ok()).collect();
    let [port, upstream] = ports[..] else {
        return Err(io::Error::other("usage: bare_relay PORT UPSTREAM_PORT"));
    };
    serve(&TcpListener::bind(("127.0.0.1", port))?, upstream)
}

/// One socket of a pair, and what it could not take yet.
struct Side {
    socket: TcpStream,
    other: u64,
    kept: Vec<u8>,
}

fn serve(listener: &TcpListener, upstream: u16) -> io::Result<()> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    listener.set_nonblocking(true)?;
    epoll::add(&poll, listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let mut sides: HashMap<u64, Side> = HashMap::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut events = Vec::with_capacity(1024);
    loop {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let (key, flags) = (event.data.u64(), event.flags);
            if key == LISTENER {
                while let Ok((client, _)) = listener.accept() {
                    let sockets = [client, TcpStream::connect(("127.0.0.1", upstream))?];
                    let keys = [key_of(&sockets[0])?, key_of(&sockets[1])?];
                    for (number, socket) in sockets.into_iter().enumerate() {
                        socket.set_nonblocking(true)?;
                        socket.set_nodelay(true)?;
                        let data = epoll::EventData::new_u64(keys[number]);
                        epoll::add(&poll, &socket, data, epoll::EventFlags::IN)?;
                        sides
                            .insert(keys[number], Side { socket, other: keys[1 - number], kept: Vec::new() });
                    }
                }
                continue;
            }
            let passed = if flags.contains(epoll::EventFlags::OUT) {
                write_kept(&poll, &mut sides, key)
            } else {
                Ok(())
            }
            .and_then(|()| {
                if flags.intersects(!epoll::EventFlags::OUT) {
                    pass_on(&poll, &mut sides, key, &mut buffer)
                } else {
                    Ok(())
                }
            });
            if passed.is_err() {
                end(&mut sides, key);
            }
        }
    }
}

/// One read from one side and one write to the other; an error ends both.
fn pass_on(poll: &OwnedFd, sides: &mut HashMap<u64, Side>, key: u64, buffer: &mut [u8]) -> io::Result<()> {
    let Some(side) = sides.get_mut(&key) else { return Ok(()) };
    let (count, other) = (side.socket.read(buffer)?, side.other);
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let Some(target) = sides.get_mut(&other) else { return Ok(()) };
    let written = match target.socket.write(&buffer[..count]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        result => result?,
    };
    if written < count {
        target.kept.extend_from_slice(&buffer[written..count]);
        watch(poll, sides, key)?;
        watch(poll, sides, other)?;
    }
    Ok(())
}

fn write_kept(poll: &OwnedFd, sides: &mut HashMap<u64, Side>, key: u64) -> io::Result<()> {
    let Some(side) = sides.get_mut(&key) else { return Ok(()) };
    let written = side.socket.write(&side.kept)?;
    side.kept.drain(..written);
    if side.kept.is_empty() {
        let other = side.other;
        watch(poll, sides, key)?;
        watch(poll, sides, other)?;
    }
    Ok(())
}

/// A side is read while the other takes what comes, and written to while something is kept for it.
fn watch(poll: &OwnedFd, sides: &HashMap<u64, Side>, key: u64) -> io::Result<()> {
    let Some(side) = sides.get(&key) else { return Ok(()) };
    let mut flags = epoll::EventFlags::empty();
    flags.set(epoll::EventFlags::IN, sides.get(&side.other).is_none_or(|other| other.kept.is_empty()));
    flags.set(epoll::EventFlags::OUT, !side.kept.is_empty());
    Ok(epoll::modify(poll, &side.socket, epoll::EventData::new_u64(key), flags)?)
}

fn end(sides: &mut HashMap<u64, Side>, key: u64) {
    let Some(side) = sides.remove(&key) else { return };
    if let Some(other) = sides.remove(&side.other) {
        // What was written before this still arrives.
        let _ = other.socket.shutdown(Shutdown::Write);
    }
}

fn key_of(socket: &TcpStream) -> io::Result<u64> {
    u64::try_from(socket.as_raw_fd()).map_err(io::Error::other)
}

const LISTENER: u64 = u64::MAX;
