//! The configuration: one TOML file to a [`Config`] that cannot be wrong, or every problem with it at once.
//!
//! Each stage owns the type of its own table; this composes them. It reads the file's text, the secrets that the
//! text names and the environment it is given, and never anything else; it binds, starts and logs nothing. Before it
//! runs the program, which has the file's text; after it the server, which trusts what it says.
//!
//! Limits have defaults (docs/defaults.md). Security choices have none and must be written out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::{address, admin as admin_stage, audit, auth as auth_stage, firewall, observe, state};

mod addresses;
mod admin;
mod amount;
mod auth;
mod backend;
mod check;
mod defaults;
mod inspect;
mod keys;
mod later;
mod listeners;
mod operations;
mod overload;
mod page;
mod problem;
mod read;
mod routes;
mod suggest;
#[cfg(test)]
mod tests;
mod tls;
mod units;

pub use backend::BackendConfig;
pub use listeners::{ListenerConfig, ServerConfig};
pub use page::defaults_page;
pub use problem::{Position, Problem, ProblemKind, Problems};
pub use routes::RouteConfig;

use read::{Context, Place, Table, Value};

/// A configuration in which every name leads somewhere and every value lies within its bounds.
#[derive(Clone, Debug)]
pub struct Config {
    /// The process as a whole.
    pub server: ServerConfig,
    /// Where to listen, in the order of the file; at least one, each used by a route.
    pub listeners: Vec<ListenerConfig>,
    /// What to serve, in the order of the file; at least one.
    pub routes: Vec<RouteConfig>,
    /// The authenticators by name; each used by a route.
    pub auth: BTreeMap<String, auth_stage::Config>,
    /// Who is admitted.
    pub firewall: firewall::Config,
    /// Which proxies are trusted, and in which header they name their clients.
    pub addresses: address::Config,
    /// What is recorded, and where.
    pub log: observe::Config,
    /// The admin listener, if there is one.
    pub admin: Option<admin_stage::Config>,
    /// Where revocations and bans are kept, if they are to outlive the process.
    pub state: Option<state::Config>,
    /// The audit log; none where there is no such table.
    pub audit: Option<audit::Config>,
    /// The most bytes that all connections' buffers may hold together.
    pub buffers_bytes_max: u64,
    /// The most bytes that are set aside for compressed connections, all together.
    pub compression_bytes_max: u64,
    /// The most TLS handshakes that are made at a time.
    pub tls_handshakes_max: u64,
    /// What is allowed and probably not meant, a sentence each; the program shows them.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads a configuration from TOML.
    ///
    /// Relative paths in it begin at `base_directory`, the folder of the file. `environment` answers for `${NAME}`.
    /// Files that are named as secrets or certificates are read; certificates must be good at this time.
    ///
    /// # Errors
    /// Every problem at once: each with its place, what was found and what is allowed.
    pub fn from_toml(
        text: &str,
        base_directory: &Path,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Problems> {
        let mut context = Context::new(text, base_directory, environment);
        let config = read_text(&mut context, text);
        let warnings = std::mem::take(&mut context.warnings);
        match (Problems::new(context.problems), config) {
            (None, Some(config)) => Ok(Self { warnings, ..config }),
            (Some(problems), _) => Err(problems),
            // A reader that gives nothing has reported why; were one to forget, the answer is still no.
            (None, None) => Err(Problems::unexplained()),
        }
    }
}

/// The configuration of `drawgate demo`, with comments. Its files lie in the folder it is read for: it needs
/// `token.secret` there, and writes `websocket_errors.log`.
#[must_use]
pub fn demo_text() -> &'static str {
    include_str!("config/demo.toml")
}

/// The configuration that `drawgate init` writes, with comments; it is valid as it is, in any folder.
#[must_use]
pub fn start_text() -> &'static str {
    include_str!("config/start.toml")
}

fn read_text(context: &mut Context<'_>, text: &str) -> Option<Config> {
    if text.len() > TEXT_BYTES_MAX {
        context.report_file(ProblemKind::Syntax, None, "is longer than 1 MiB", "write less");
        return None;
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return read_document(context, document.get_ref());
    }
    // What could be saved from a broken file is not judged: most of what that found would be false.
    for error in errors.iter().take(SYNTAX_PROBLEMS_MAX) {
        let offset = error.span().map_or(0, |span| span.start);
        let wrong = format!("is no TOML here: {}", error.message().replace('\n', ", "));
        context.report_file(
            ProblemKind::Syntax,
            Some(offset),
            &wrong,
            "see https://toml.io for how it is written",
        );
    }
    None
}

fn read_document(context: &mut Context<'_>, document: &DeTable<'_>) -> Option<Config> {
    let mut root = Table::root(document);
    let (server, buffers_bytes_max, compression_bytes_max, tls_handshakes_max) =
        listeners::server(context, root.take("server").as_ref());
    let listeners_value = root.required(context, "listeners");
    let listeners =
        listeners_value.as_ref().map_or_else(Vec::new, |value| listeners::listeners(context, value));
    let routes_value = root.required(context, "routes");
    let routes = routes_value.as_ref().map_or_else(Vec::new, |value| routes::routes(context, value));
    let authenticators = auth::authenticators(context, root.take("auth").as_ref());
    let (firewall, proxies) = operations::firewall(context, root.take("firewall").as_ref());
    let log = operations::log(context, root.take("log").as_ref());
    let state = operations::state(context, root.take("state").as_ref());
    let audit = operations::audit(context, root.take("audit").as_ref());
    let admin = root.take("admin").and_then(|value| admin::admin(context, &value));
    root.finish(context);

    report_empty(context, listeners_value.as_ref(), "write at least one table [listeners.NAME]");
    report_empty(context, routes_value.as_ref(), "write at least one table [routes.NAME]");
    let routes_count = routes_value.as_ref().and_then(entries_count).filter(|count| *count > 0);
    let all_routes_read = routes_count == Some(routes.len());
    check::references(context, &listeners, &authenticators, &routes, all_routes_read);
    check::duplicate_routes(context, &routes);
    check::cookies_from_anywhere(context, &authenticators, &routes);
    check::duplicate_addresses(context, &listened(&listeners, admin.as_ref()));
    check::certificates_unasked(context, &listeners, &authenticators, &routes);
    check::tickets_unissued(context, &authenticators, admin.as_ref().map(|(admin, _)| admin));
    check::exposure(context, &listeners);
    addresses::check(context, &proxies, &listeners);

    Some(Config {
        server,
        listeners: listeners.into_iter().map(listeners::ListenerDraft::finish).collect::<Option<_>>()?,
        routes: routes.into_iter().map(routes::RouteDraft::finish).collect::<Option<_>>()?,
        auth: authenticators
            .into_iter()
            .map(|(name, (_, config))| Some((name, config?)))
            .collect::<Option<_>>()?,
        firewall,
        addresses: proxies.finish(),
        log,
        admin: admin.map(|(admin, _)| admin),
        state,
        audit,
        buffers_bytes_max,
        compression_bytes_max,
        tls_handshakes_max,
        warnings: Vec::new(),
    })
}

/// Every address that is listened on, in the order of the file, with the key of its table.
fn listened(
    listeners: &[listeners::ListenerDraft],
    admin: Option<&(admin_stage::Config, Place)>,
) -> Vec<(String, SocketAddr, Place)> {
    let mut addresses: Vec<(String, SocketAddr, Place)> = listeners
        .iter()
        .filter_map(|listener| {
            let (address, place) = listener.address.clone()?;
            Some((listener.place.key.clone(), address, place))
        })
        .collect();
    addresses.extend(admin.map(|(admin, place)| ("admin".to_owned(), admin.address, place.clone())));
    addresses.sort_by_key(|(_, _, place)| place.offset());
    addresses
}

fn report_empty(context: &mut Context<'_>, value: Option<&Value<'_>>, advice: &str) {
    if let Some(value) = value.filter(|value| entries_count(value) == Some(0)) {
        context.report_unseen(&value.place, ProblemKind::Missing, "is empty", advice);
    }
}

fn entries_count(value: &Value<'_>) -> Option<usize> {
    match value.value {
        DeValue::Table(entries) => Some(entries.len()),
        _ => None,
    }
}

/// The most bytes of a configuration.
const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// The most problems of syntax that are listed; one mistake easily makes many.
const SYNTAX_PROBLEMS_MAX: usize = 20;
