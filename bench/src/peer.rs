//! What the peers in Rust share: one thread, a listener on the port that the first argument names, a task a connection.
//!
//! The servers themselves are in `bin/`, each as its own documentation shows it.

use std::io;

use tokio::net::{TcpListener, TcpStream};

/// Serves connections with `each` until the process is ended.
///
/// # Errors
/// The port cannot be bound, or the runtime cannot be made.
pub fn serve<F>(each: impl Fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let port: u16 = std::env::args()
        .nth(1)
        .and_then(|port| port.parse().ok())
        .ok_or_else(|| io::Error::other("the first argument must be a port"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            tokio::spawn(each(socket));
        }
    })
}
