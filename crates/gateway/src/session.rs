//! Sessions: what a verified credential begins, and what may end it before its connection does.

pub mod revocation;
