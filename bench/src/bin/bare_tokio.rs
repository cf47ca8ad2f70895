//! The bare echo again, on tokio: what the runtime alone costs, and holds for an idle connection with a buffer of its own
//! kept out of it. `bare_tokio PORT`.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use drawgate_bench::peer;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

fn main() -> io::Result<()> {
    peer::serve(|mut socket| async move {
        loop {
            let Ok(Some(rest)) = poll_fn(|cx| poll_turn(&mut socket, cx)).await else { return };
            if socket.write_all(&rest).await.is_err() {
                return;
            }
        }
    })
}

/// Reads and writes from the thread's buffer until the socket would block; what does not fit is the caller's.
fn poll_turn(socket: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
    BUFFER.with_borrow_mut(|buffer| {
        loop {
            let mut read = ReadBuf::new(buffer);
            match Pin::new(&mut *socket).poll_read(cx, &mut read) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) if read.filled().is_empty() => return Poll::Ready(Ok(None)),
                Poll::Ready(Ok(())) => {}
            }
            let count = read.filled().len();
            match socket.try_write(&buffer[..count]) {
                Ok(written) if written == count => {}
                Ok(written) => return Poll::Ready(Ok(Some(buffer[written..count].to_vec()))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Ok(Some(buffer[..count].to_vec())));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    })
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 * 1024]);
}
