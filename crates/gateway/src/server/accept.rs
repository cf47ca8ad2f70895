//! The accept loop of one listener, which survives whatever the system says.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::Entry;
use crate::connection;
use crate::principal::{ClientAddr, PeerAddr};
use crate::reason::Reason;

/// Accepts until the place is closed; what has come by then is still taken.
pub(super) async fn accept(entry: Entry, listener: TcpListener) {
    let mut reserve = Reserve::open();
    loop {
        let accepted = tokio::select! {
            biased;
            () = entry.place.closed.notified() => return take_the_last(&entry, listener),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                tokio::spawn(entry.clone().serve(socket, peer));
            }
            Err(error) if is_out_of_descriptors(&error) => {
                entry.gate.observer.descriptors_exhausted();
                turn_one_away(&entry, &listener, &mut reserve).await;
            }
            // The client left while it waited, or the network failed under it: only that one is lost.
            Err(error) if is_about_one_connection(&error) => {}
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Takes those who have connected already: closing the socket would reset them. Waits for nobody.
fn take_the_last(entry: &Entry, listener: TcpListener) {
    // The runtime may have yet to hear of them; the system knows.
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..LAST_MAX {
        let Ok((socket, peer)) = listener.accept() else { return };
        if socket.set_nonblocking(true).is_ok()
            && let Ok(socket) = TcpStream::from_std(socket)
        {
            tokio::spawn(entry.clone().serve(socket, peer));
        }
    }
}

/// Gives up the reserve for as long as it takes to tell one client that there is no room. Without that the client would
/// wait in the queue, and the loop would find it there again at once.
async fn turn_one_away(entry: &Entry, listener: &TcpListener, reserve: &mut Reserve) {
    let had_reserve = reserve.give_up();
    if had_reserve && let Ok(Ok((socket, peer))) = timeout(TURN_AWAY_TIME_MAX, listener.accept()).await {
        turn_away(entry, socket, ClientAddr::from(PeerAddr(peer)));
    }
    if !reserve.take_back() || !had_reserve {
        sleep(ACCEPT_PAUSE).await;
    }
}

fn turn_away(entry: &Entry, socket: TcpStream, client: ClientAddr) {
    connection::turn_away_at_once(&entry.gate, client, Reason::DescriptorsExhausted, |answer| {
        // What is not encrypted means nothing there.
        if entry.place.door().encryption.is_some() {
            return;
        }
        // The runtime has yet to hear that this socket can be written to; the system knows already. One that was just
        // accepted has room for the answer; if not, closing says enough.
        let Ok(socket) = socket.into_std() else { return };
        let _ = (&socket).write(answer);
        let _ = socket.shutdown(Shutdown::Write);
        // Bytes that were not read would turn the closing into a reset, and take the answer along.
        let mut discarded = [0; 1024];
        for _ in 0..DISCARDS_MAX {
            if !matches!((&socket).read(&mut discarded), Ok(1..)) {
                return;
            }
        }
    });
}

/// A descriptor that is held only to be given up when there are no others.
struct Reserve(Option<File>);

impl Reserve {
    fn open() -> Self {
        Self(File::open("/dev/null").ok())
    }

    fn give_up(&mut self) -> bool {
        self.0.take().is_some()
    }

    fn take_back(&mut self) -> bool {
        if self.0.is_none() {
            *self = Self::open();
        }
        self.0.is_some()
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(TOO_MANY_FILES_IN_SYSTEM | TOO_MANY_FILES_IN_PROCESS))
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// Linux: `ENFILE` and `EMFILE`, for which the standard library has no kinds.
const TOO_MANY_FILES_IN_SYSTEM: i32 = 23;
const TOO_MANY_FILES_IN_PROCESS: i32 = 24;
/// How long to wait where trying again at once could only fail again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// As many as the kernel's queue holds.
const LAST_MAX: usize = 4096;
/// How many reads of 1 KiB are made for a client that is turned away at once; a request seldom has more.
const DISCARDS_MAX: usize = 16;
const TURN_AWAY_TIME_MAX: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::backend::handler::{Handler, Session};
    use crate::route::Origins;
    use crate::server::{Access, Route, Server};

    struct Silent;

    impl Handler for Silent {
        async fn message(&self, _: &Session, _: drawgate_protocol::Message) {}
    }

    #[tokio::test]
    async fn r10_a_client_for_whom_there_is_no_descriptor_is_told_so() {
        let route = Route::new("route", "/*", Origins::Any, Access::Open, Silent).unwrap();
        let address = "127.0.0.1:0".parse().unwrap();
        let server = Server::builder().listen(address).route(route).bind().unwrap();
        let listener = &server.draft.opened[0].listener;
        let mut client = TcpStream::connect(server.address()).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let (socket, peer) = listener.accept().await.unwrap();
        assert!(socket.nodelay().unwrap(), "taken over from the listener");
        let entry = server.entry(&server.draft.plan.listeners[0].name).unwrap();
        turn_away(&entry, socket, ClientAddr::from(PeerAddr(peer)));
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer:?}");
    }
}
