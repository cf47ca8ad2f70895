//! Drawgate, the library.

pub mod admin;
pub mod auth;
pub mod chance;
pub mod clock;
pub mod config;
pub mod firewall;
pub mod limits;
pub mod observe;
pub mod principal;
pub mod route;
pub mod secret;
