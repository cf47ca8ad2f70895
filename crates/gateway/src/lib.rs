//! The life of WebSocket connections, so that applications need not run it.
//!
//! Drawgate admits, authenticates, limits, inspects, expires, drains and records connections. It is a program that
//! stands in front of any application, and this library for Rust servers that want the same in-process.
//!
//! A connection's life, in order; each step is a module, and modules import only from those further down the list:
//!
//! 1. [`server`] binds, accepts and drains; [`config`] says how; [`admin`] shows health, metrics and sessions, and ends these
//! 2. `connection` lives one connection, from the accept to its end, and concludes it
//! 3. [`address`] says who the client is, where trusted proxies stand in front; [`firewall`] admits it, or not
//!    ([`overload`] says when nobody can be admitted, because the process runs out of something)
//! 4. [`tls`] makes the handshake, where the listener encrypts; `upgrade` reads the request and finds the route
//! 5. [`auth`] turns a credential into a [`Principal`](principal::Principal)
//!    (`jwks` fetches the keys to verify with, where they lie elsewhere)
//! 6. [`session`] is the life that this begins: limited, refreshed, revoked
//! 7. [`backend`] answers: the built-in echo, a [`Handler`], or an application behind the gate
//! 8. [`inspect`] judges each message, where a route says so; `compression` stands between the answers and the frames, where a route has it on
//! 9. [`observe`] turns the end into one log record and one counter
//! 10. [`state`] keeps on disk what must outlive the process, and [`control`] is how it is changed (for networks `address_bans`)
//! 11. [`reason`] holds every way to end, and all that follows from it
//!
//! Deciding modules take `now` as an argument and do no I/O; [`clock`] is the only reader of time and [`chance`] the
//! only source of randomness.
//!
//! ```no_run
//! use drawgate::{Access, Handler, Message, Origins, Route, Server, Session};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     async fn message(&self, session: &Session, message: Message) {
//!         // An error says that the client has gone: there is nobody left to answer.
//!         let _ = session.send(message).await;
//!     }
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let route = Route::new("echo", "/*", Origins::Any, Access::Open, Echo)?;
//! let server = Server::builder().listen("127.0.0.1:9001".parse()?).route(route).bind()?;
//! server.run(std::future::pending()).await;
//! # Ok(())
//! # }
//! ```

pub mod address;
mod address_bans;
pub mod admin;
pub mod audit;
pub mod auth;
pub mod backend;
pub mod balance;
pub mod causes;
pub mod chance;
pub mod clock;
mod compression;
pub mod config;
mod connection;
pub mod control;
mod disk;
pub mod firewall;
mod hex;
pub mod inspect;
pub mod json;
mod jwks;
pub mod limits;
mod meter;
pub mod network;
pub mod observe;
pub mod overload;
pub mod principal;
mod pulse;
mod rate;
pub mod reason;
pub mod route;
pub mod secret;
pub mod server;
pub mod session;
pub mod state;
pub mod ticket;
mod timers;
pub mod tls;
pub mod trace;
mod upgrade;
mod upstream_drains;
pub mod url;

pub use backend::handler::{Handler, Session, SessionEnded};
pub use drawgate_protocol::{CloseCode, Message};
pub use route::Origins;
pub use server::{Access, Route, Server};
