//! The load generator's parts. It measures servers from outside: it starts them, and reads the kernel's accounts of them.
//!
//! Nothing here is a part of the product or depends on it.

pub mod client;
pub mod configuration;
pub mod figures;
pub mod load;
pub mod page;
pub mod part;
pub mod peer;
pub mod sealed;
pub mod server;
pub mod token;
pub mod tunnel;
