//! The fuzz targets: functions of bytes that panic where a promise is broken.
//!
//! libFuzzer drives them through fuzz_targets/; tests/corpus.rs drives them over corpus/ on any compiler. Neither
//! holds an assertion of its own.
//!
//! To add a target: a module with a `run` and a `seeds` function, a line in [`TARGETS`], a binary in fuzz_targets/ and
//! in Cargo.toml; then `UPDATE_CORPUS=1 cargo test seeds` writes its seeds.

#![forbid(unsafe_code)]

pub mod audit;
pub mod bounds;
pub mod configuration;
pub mod connection;
pub mod deflate;
pub mod forwarded;
pub mod handshake;
// Shared with the protocol's tests of compression: a second inflater.
#[path = "../../crates/protocol/tests/reference/inflate.rs"]
mod inflate;
pub mod json;
pub mod jwe;
pub mod key_set;
pub mod policy;
pub mod proxy;
pub mod receiver;
// Shared with the protocol's property tests: one reference for both.
#[path = "../../crates/protocol/tests/reference/mod.rs"]
mod reference;
pub mod schema;
pub mod sender;
pub mod ticket;
pub mod token;

/// A function to fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of its module, of its binary and of its folder in corpus/.
    pub name: &'static str,
    /// Takes any bytes; panics where a promise is broken.
    pub run: fn(&[u8]),
    /// Small inputs that each mean something.
    pub seeds: fn() -> Vec<Seed>,
    /// How often its corpus is damaged and run again on the stable compiler, all files together: some seconds.
    pub damages: usize,
}

/// Runs the target of that name within its bounds: what libFuzzer calls.
///
/// # Panics
/// When a promise or a bound is broken, and when there is no such target.
pub fn run_bounded(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    bounds::run(target.expect("a binary has the name of its target"), data);
}

/// A file of a seed corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// What the input is about.
    pub name: String,
    /// The input.
    pub bytes: Vec<u8>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "audit", run: audit::run, seeds: audit::seeds, damages: 4_000 },
    Target { name: "configuration", run: configuration::run, seeds: configuration::seeds, damages: 9_000 },
    Target { name: "connection", run: connection::run, seeds: connection::seeds, damages: 4_000 },
    Target { name: "deflate", run: deflate::run, seeds: deflate::seeds, damages: 400_000 },
    Target { name: "forwarded", run: forwarded::run, seeds: forwarded::seeds, damages: 80_000 },
    Target { name: "handshake", run: handshake::run, seeds: handshake::seeds, damages: 50_000 },
    Target { name: "json", run: json::run, seeds: json::seeds, damages: 80_000 },
    Target { name: "jwe", run: jwe::run, seeds: jwe::seeds, damages: 4_000 },
    Target { name: "key_set", run: key_set::run, seeds: key_set::seeds, damages: 20_000 },
    Target { name: "policy", run: policy::run, seeds: policy::seeds, damages: 2_000 },
    Target { name: "proxy", run: proxy::run, seeds: proxy::seeds, damages: 40_000 },
    Target { name: "receiver", run: receiver::run, seeds: receiver::seeds, damages: 370_000 },
    Target { name: "schema", run: schema::run, seeds: schema::seeds, damages: 2_000 },
    Target { name: "sender", run: sender::run, seeds: sender::seeds, damages: 180_000 },
    Target { name: "ticket", run: ticket::run, seeds: ticket::seeds, damages: 80_000 },
    Target { name: "token", run: token::run, seeds: token::seeds, damages: 20_000 },
];
