//! Drawgate, the library.

pub mod chance;
pub mod clock;
pub mod principal;
