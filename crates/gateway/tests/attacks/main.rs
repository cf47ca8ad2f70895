//! The attack catalogue: what a hostile peer does, through the real listener with raw bytes, one test a case.
//!
//! Each test is named by its case's id (`f05_…`). A refusal is held to the same rules in every one of them, by
//! [`support::Case::refused`]: the stated answer, one record with the reason's label, one count, nothing of the peer's
//! reflected or logged, all that it held freed within a second, and a well-behaved client beside it unharmed.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests: what fails here should panic, and seeds and numbers are told"
)]

mod addresses;
mod application;
mod audit;
mod bans;
mod checked;
mod compression;
mod credentials;
mod drained;
mod exchange;
mod fetched;
mod firewall;
mod framing;
mod handshake;
mod keys;
mod local;
mod messages;
mod named;
mod operations;
mod overload;
mod passing;
mod pipelined;
mod policy;
mod pool;
mod rates;
mod reasons;
mod relayed;
mod resources;
mod routing;
mod sealed;
mod sessions;
mod state;
mod support;
mod tls;
mod upstream;
mod upstream_compression;
mod upstream_tls;
