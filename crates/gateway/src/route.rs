//! A route: which requests it takes, who may speak on it, and where their messages go. Floor 1.

/// How a client is told, beyond the close code and reason that it always gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notice {
    /// By the Close frame alone.
    #[default]
    Close,
    /// By a text message in the shape of RFC 9457 before the Close frame.
    Json,
    /// By a text message with the reason's title before the Close frame.
    Text,
}

/// Which pages may open a connection (RFC 6455 §10.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Any page, and clients that are no browser.
    Any,
    /// Only pages whose origin is our own scheme and Host.
    Same,
    /// Only pages of these origins, compared as exact strings in their canonical form (`https://app.example.com`).
    Listed(Vec<String>),
}

/// Which request paths a route takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathPattern {
    /// This path alone.
    Exact(String),
    /// This path, which ends in `/`, and all below it: written `/chat/*`.
    Prefix(String),
}

/// The built-in backend that sends back what it gets; text stays text and binary stays binary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    /// What each answer begins with.
    pub prefix: String,
}
