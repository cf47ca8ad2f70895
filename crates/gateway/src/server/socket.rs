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
    if !is_listening(&socket)? {
        // To accept from it would fail for ever.
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the socket that was given for it does not listen",
        ));
    }
    prepare(&socket)?;
    TcpListener::from_std(listener)
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn is_listening(socket: &SockRef<'_>) -> io::Result<bool> {
    socket.is_listener()
}

/// Elsewhere the system does not tell.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn is_listening(_: &SockRef<'_>) -> io::Result<bool> {
    Ok(true)
}

fn prepare(socket: &SockRef<'_>) -> io::Result<()> {
    // Small frames must not wait for one another. Accepted sockets take this over, which spares each a call; one that cannot be
    // told so still works.
    let _ = socket.set_tcp_nodelay(true);
    socket.set_nonblocking(true)
}

/// How long the kernel's queue of connections that wait to be accepted may grow.
const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::handler::{Handler, Session};
    use crate::route::Origins;
    use crate::server::{Access, Builder, Route, Server, StartError};

    struct Silent;

    impl Handler for Silent {
        async fn message(&self, _: &Session, _: drawgate_protocol::Message) {}
    }

    const NAME: &str = "127.0.0.1:0";

    fn builder() -> Builder {
        let route = Route::new("route", "/*", Origins::Any, Access::Open, Silent).unwrap();
        Server::builder().listen(NAME.parse().unwrap()).route(route)
    }

    fn socket() -> net::TcpListener {
        net::TcpListener::bind(NAME).unwrap()
    }

    #[tokio::test]
    async fn a_listener_accepts_from_the_socket_that_it_was_given() {
        let given = socket();
        let address = given.local_addr().unwrap();
        let server = builder().socket(NAME, given).bind().unwrap();
        assert_eq!(server.address(), address);
        let _client = tokio::net::TcpStream::connect(address).await.unwrap();
        let (accepted, _) = server.draft.opened[0].listener.accept().await.unwrap();
        assert!(accepted.nodelay().unwrap());
    }

    #[tokio::test]
    async fn a_socket_that_no_listener_needs_or_that_does_not_listen_is_refused() {
        for sockets in [["elsewhere", NAME], [NAME, NAME]] {
            let builder = sockets.iter().fold(builder(), |builder, name| builder.socket(name, socket()));
            let error = builder.bind().unwrap_err();
            assert!(matches!(&error, StartError::SocketUnwanted(name) if name == sockets[0]), "{error}");
        }
        if cfg!(not(target_os = "linux")) {
            return;
        }
        let deaf = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let error = builder().socket(NAME, deaf.into()).bind().unwrap_err();
        assert!(
            matches!(&error, StartError::Bind(_)) && error.to_string().contains("does not listen"),
            "{error}"
        );
    }
}
