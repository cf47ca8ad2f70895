//! An echo on tokio-tungstenite, as its repository's own echo server is written. `PORT`.

use std::io;

use drawgate_bench::peer;
use futures_util::{SinkExt as _, StreamExt as _};

fn main() -> io::Result<()> {
    peer::serve(|socket| async move {
        let Ok(mut socket) = tokio_tungstenite::accept_async(socket).await else { return };
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                return;
            }
        }
    })
}
