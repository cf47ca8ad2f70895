//! RFC 6455 without I/O.

pub mod close;
pub mod handshake;
pub mod violation;

pub use close::{CloseCode, CloseFrame, CloseHandshake, LocalCode};
pub use violation::Violation;
