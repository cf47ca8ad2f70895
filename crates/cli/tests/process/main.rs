//! The program as a process: what it holds, how it ends, and what it says, by what can be seen from outside.
//!
//! Each test drives the real binary over loopback sockets and signals, with a configuration and a folder of its own.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests: what fails here should panic, and numbers that were measured are told"
)]

mod admin;
mod audit;
mod canary;
mod connect;
mod connect_servers;
mod ends;
mod overload;
mod proxy;
mod reload;
mod resources;
mod secrets;
#[cfg(target_os = "linux")]
mod service;
mod state;
mod support;
mod tls;
