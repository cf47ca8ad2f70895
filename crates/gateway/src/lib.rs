//! Drawgate, the library.

pub mod admin;
pub mod auth;
pub mod chance;
pub mod clock;
pub mod config;
pub mod firewall;
pub mod json;
pub mod limits;
pub mod observe;
pub mod principal;
pub mod rate;
pub mod reason;
pub mod route;
pub mod secret;
pub mod timers;
