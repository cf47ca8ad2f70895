//! An echo on tokio-websockets, as its README shows it. `PORT`.

use std::io;

use drawgate_bench::peer;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio_websockets::ServerBuilder;

fn main() -> io::Result<()> {
    peer::serve(|socket| async move {
        let Ok((_, mut socket)) = ServerBuilder::new().accept(socket).await else { return };
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                return;
            }
        }
    })
}
