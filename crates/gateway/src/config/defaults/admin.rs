//! What `[admin]` is where it is left out, and why.

use super::Word;

pub(in crate::config) static ADMIN: Word = Word {
    key: "admin",
    default: "no admin listener",
    allowed: "a table with `address`",
    reason: "A door that nobody asked for stays shut.",
};
pub(in crate::config) static ADMIN_TLS: Word = Word {
    key: "admin.tls",
    default: "none on loopback",
    allowed: "a table as in listeners.*.tls; required beyond loopback",
    reason: "On loopback nobody listens in; elsewhere a token that is read on the way opens everything.",
};
pub(in crate::config) static ADMIN_HOSTS: Word = Word {
    key: "admin.hosts",
    default: "its address alone, and the usual names of loopback",
    allowed: "a list of host names, without ports",
    reason: "A page that has its own name resolve to this listener is answered nothing.",
};
pub(in crate::config) static ADMIN_TOKENS: Word = Word {
    key: "admin.tokens",
    default: "no API",
    allowed: "tables tokens.NAME = { file = \"…\", scopes = [\"read\", \"operate\", \"tickets\"] }",
    reason: "Who may end sessions and speak for users must be said; there is no built-in password.",
};
