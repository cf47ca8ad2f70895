//! Tokens through the public door of the authenticator: what it takes, and each way in which it refuses.
//!
//! Tests are named with their case in the catalogue of attacks. Texts are written by hand wherever a library would not
//! write them.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

mod algorithms;
mod arbitrary;
mod claims;
mod forged;
mod form;
mod key_sets;
mod made;
mod pairs;
mod wycheproof;
