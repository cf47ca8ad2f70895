//! Sockets that listen: opened at an address, or opened elsewhere and taken over.
//!
//! Used while the server is bound. Accepts nothing, and knows no names.

use std::io;
use std::net::{self, SocketAddr};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpListener;

pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` beside `0.0.0.0` would otherwise claim the same port twice.
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for the last one's connections to be forgotten.
    socket.set_reuse_address(true)?;
    prepare(&SockRef::from(&socket))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Takes over a socket that somebody else has opened and may go on holding.
pub(super) fn adopt(listener: &net::TcpListener) -> io::Result<TcpListener> {
    let listener = listener.try_clone()?;
    let socket = SockRef::from(&listener);
    if !socket.is_listener()? {
        // To accept from it would fail for ever.
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the socket that was given for it does not listen",
        ));
    }
    prepare(&socket)?;
    TcpListener::from_std(listener)
}

fn prepare(socket: &SockRef<'_>) -> io::Result<()> {
    // Small frames must not wait for one another. Accepted sockets take this over, which spares each a call; one that cannot be
    // told so still works.
    let _ = socket.set_tcp_nodelay(true);
    socket.set_nonblocking(true)
}

/// How long the kernel's queue of connections that wait to be accepted may grow.
const BACKLOG: i32 = 4096;
