//! An echo server on the library: `cargo run -p drawgate --example echo [ADDRESS]`, then connect with any WebSocket client.
#![expect(clippy::print_stdout, reason = "a program that says where it listens")]

use drawgate::{Access, Handler, Message, Origins, Route, Server, Session};

struct Echo;

impl Handler for Echo {
    async fn message(&self, session: &Session, message: Message) {
        // An error says that the client has gone: there is nobody left to answer.
        let _ = session.send(message).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let route = Route::new("echo", "/*", Origins::Any, Access::Open, Echo)?;
    let server = Server::builder().listen(address.parse()?).route(route).bind()?;
    println!("listening on ws://{}", server.address());
    server.run(async { tokio::signal::ctrl_c().await.expect("signals can be listened for") }).await;
    Ok(())
}
