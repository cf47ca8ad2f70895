//! The accept loop of one listener, which survives whatever the system says.

use std::fs::File;
use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::Entry;
use crate::connection::{self, Gate};
use crate::principal::{ClientAddr, PeerAddr};
use crate::reason::Reason;

/// Accepts until it is dropped.
pub(super) async fn accept(entry: Entry, listener: TcpListener) {
    let mut reserve = Reserve::open();
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                // Small frames must not wait for one another; a socket that cannot be told so still works.
                let _ = socket.set_nodelay(true);
                tokio::spawn(entry.clone().serve(socket, peer));
            }
            Err(error) if is_out_of_descriptors(&error) => {
                entry.gate.observer.descriptors_exhausted();
                turn_one_away(&entry.gate, &listener, &mut reserve).await;
            }
            // The client left while it waited, or the network failed under it: only that one is lost.
            Err(error) if is_about_one_connection(&error) => {}
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Gives up the reserve for as long as it takes to tell one client that there is no room. Without that the client would
/// wait in the queue, and the loop would find it there again at once.
async fn turn_one_away(gate: &Gate, listener: &TcpListener, reserve: &mut Reserve) {
    let had_reserve = reserve.give_up();
    if had_reserve && let Ok(Ok((socket, peer))) = timeout(TURN_AWAY_TIME_MAX, listener.accept()).await {
        turn_away(gate, &socket, ClientAddr::from(PeerAddr(peer)));
    }
    if !reserve.take_back() || !had_reserve {
        sleep(ACCEPT_PAUSE).await;
    }
}

fn turn_away(gate: &Gate, socket: &TcpStream, client: ClientAddr) {
    connection::turn_away_at_once(gate, client, Reason::DescriptorsExhausted, |answer| {
        // Straight to the kernel: the runtime does not yet know that a socket so new can be written. It has room for the
        // answer; if not, closing says enough.
        let _ = SockRef::from(socket).send(answer);
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
const TURN_AWAY_TIME_MAX: Duration = Duration::from_millis(10);
