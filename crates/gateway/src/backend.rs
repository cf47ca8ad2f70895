//! Where messages go: the built-in echo, a handler of the application in this process, or an application behind the gate.
//!
//! Comes after authentication. A backend gets what the receiver has let through and answers by frames in the
//! connection's output; it never touches the socket. Floor 3.

pub(crate) mod echo;
pub mod handler;
pub(crate) mod held;
pub(crate) mod outbox;
pub mod upstream;

use std::sync::Arc;

use crate::backend::handler::AnyHandler;
use crate::backend::upstream::Upstream;
use crate::route;

/// What a route does with messages.
#[derive(Clone, Debug)]
pub(crate) enum Backend {
    /// Sends each message back, behind a prefix.
    Echo(Arc<route::Echo>),
    /// Hands whole messages to the application.
    Handler(Arc<dyn AnyHandler>),
    /// Passes them on to an application, piece by piece.
    Upstream(Arc<Upstream>),
}
