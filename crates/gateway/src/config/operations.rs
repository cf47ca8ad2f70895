//! Reads what operators run and watch the gateway by: `[firewall]`, `[log]` and `[state]`.

use std::path::PathBuf;

use toml::de::DeValue;

use super::addresses::{AddressesDraft, addresses, network};
use super::defaults::{self, Amount};
use super::problem::ProblemKind;
use super::read::{Context, Table, Value};
use crate::firewall::{AddressLists, CLIENTS_PER_V6_48, automatic};
use crate::network::Network;
use crate::observe::{ErrorFile, LogFormat, LogLevel};
use crate::reason::{Fault, Reason};
use crate::{audit, firewall, observe, state};

/// Reads `[firewall]`, and what it says of proxies; a table that is not there is one that is empty.
pub(super) fn firewall(
    context: &mut Context<'_>,
    value: Option<&Value<'_>>,
) -> (firewall::Config, AddressesDraft) {
    let empty = toml::de::DeTable::default();
    let table = value.and_then(|value| value.table(context));
    let mut table = table.unwrap_or_else(|| Table::root(&empty));
    let allow = table.take(defaults::ALLOW.name());
    let deny = table.take(defaults::DENY.name());
    let connections_per_client_max = table.count(context, &defaults::CONNECTIONS_PER_CLIENT_MAX);
    let handshakes_per_client_per_minute = table.count(context, &defaults::HANDSHAKES_PER_CLIENT_PER_MINUTE);
    let config = firewall::Config {
        addresses: AddressLists {
            allow: allow.map(|value| networks(context, &value)),
            deny: deny.map(|value| networks(context, &value)).unwrap_or_default(),
        },
        connections_per_client_max,
        connections_per_v6_48_max: per_v6_48(
            context,
            &mut table,
            &defaults::CONNECTIONS_PER_V6_48_MAX,
            connections_per_client_max,
        ),
        automatic_bans: None,
        handshakes_per_client_per_minute,
        handshakes_per_v6_48_per_minute: per_v6_48(
            context,
            &mut table,
            &defaults::HANDSHAKES_PER_V6_48_PER_MINUTE,
            handshakes_per_client_per_minute,
        ),
    };
    let automatic_bans = automatic_bans(context, &mut table);
    let addresses = addresses(context, &mut table);
    // What a proxy's clients do before it has said who they are is not the proxy's doing.
    let never = addresses.trusted_proxies().to_vec();
    let automatic_bans = automatic_bans.map(|bans| automatic::Config { never, ..bans });
    let config = firewall::Config { automatic_bans, ..config };
    table.finish(context);
    (config, addresses)
}

/// Reads `automatic_bans`; where it is not there, nobody is banned but by an operator.
fn automatic_bans(context: &mut Context<'_>, table: &mut Table<'_>) -> Option<automatic::Config> {
    let value = table.take("automatic_bans")?;
    let mut table = value.table(context)?;
    let per_minute = table.required(context, "per_minute").and_then(|value| {
        let named = value.table(context)?.named(context);
        if named.is_empty() {
            let advice = "write how many of which reason, such as { token_invalid = 30 }";
            context.report(&value.place, ProblemKind::Missing, "is empty", advice);
            return None;
        }
        let read: Vec<_> = named.iter().map(|(label, value)| refusals(context, label, value)).collect();
        read.into_iter().collect::<Option<Vec<_>>>()
    });
    let first = table.deadline(context, &defaults::BAN_FIRST);
    let longest = table.deadline(context, &defaults::BAN_LONGEST);
    let is_shadow = match table.take("shadow") {
        None => Some(false),
        Some(value) => value.boolean(context),
    };
    table.finish(context);
    Some(automatic::Config {
        per_minute: per_minute?,
        first,
        longest,
        never: Vec::new(),
        is_shadow: is_shadow?,
    })
}

/// A label, and how often a minute it may be a client's.
fn refusals(context: &mut Context<'_>, label: &str, value: &Value<'_>) -> Option<(Reason, u32)> {
    // Whoever is kept out is refused for that; what is not the client's doing must not ban it.
    let is_of_clients = |reason: &Reason| {
        let row = reason.row();
        row.label == label && row.fault == Fault::Client && *reason != Reason::AddressBanned
    };
    let Some(reason) = Reason::ALL.into_iter().find(is_of_clients) else {
        let advice = "write a label of docs/errors.md whose fault is the client's, such as token_invalid";
        context.report(&value.place, ProblemKind::NotAllowed, "is no reason to ban a client", advice);
        return None;
    };
    let count = value.count_of(context, &defaults::BAN_PER_MINUTE)?;
    Some((reason, count))
}

/// What the clients of an IPv6 /48 may have together; by default a multiple of what one may have.
fn per_v6_48(
    context: &mut Context<'_>,
    table: &mut Table<'_>,
    setting: &Amount,
    per_client: Option<u32>,
) -> Option<u32> {
    if table.contains(setting.name()) {
        return table.count(context, setting);
    }
    per_client.map(|limit| limit.saturating_mul(CLIENTS_PER_V6_48))
}

/// Reads a list of networks; each is what its text says and nothing near it.
fn networks(context: &mut Context<'_>, value: &Value<'_>) -> Vec<Network> {
    let what = "a list of networks such as [\"192.0.2.0/24\", \"2001:db8::/32\"]";
    let read = value.list_of(context, what, network).unwrap_or_default();
    read.into_iter().map(|(network, _)| network).collect()
}

/// Reads `[log]`; a table that is not there is one that is empty.
pub(super) fn log(context: &mut Context<'_>, value: Option<&Value<'_>>) -> observe::Config {
    let empty = toml::de::DeTable::default();
    let table = value.and_then(|value| value.table(context));
    let mut table = table.unwrap_or_else(|| Table::root(&empty));
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    let level = table.choice(context, &defaults::LOG_LEVEL, &levels, &[]);
    let formats = [("json", LogFormat::Json), ("text", LogFormat::Text)];
    let format = table.choice(context, &defaults::LOG_FORMAT, &formats, &[]);
    let error_file = table.take(defaults::ERROR_FILE.name()).and_then(|value| error_file(context, &value));
    table.finish(context);
    observe::Config { level, format, error_file }
}

fn error_file(context: &mut Context<'_>, value: &Value<'_>) -> Option<ErrorFile> {
    let mut table = value.table(context)?;
    let path = table.required(context, "path").and_then(|value| {
        let text = value.text(context)?;
        if text.is_empty() || text.ends_with('/') {
            value.not_allowed(context, "is no file's name", "write one such as \"websocket_errors.log\"");
            return None;
        }
        Some(context.resolve(&text))
    });
    let bytes_max = table.bounded(context, &defaults::ERROR_FILE_BYTES_MAX);
    let files_max = table.count(context, &defaults::ERROR_FILE_FILES_MAX).unwrap_or(1);
    table.finish(context);
    Some(ErrorFile { path: path?, bytes_max, files_max })
}

/// Reads `[state]`; where it is not there, nothing outlives the process.
pub(super) fn state(context: &mut Context<'_>, value: Option<&Value<'_>>) -> Option<state::Config> {
    let mut table = value?.table(context)?;
    let is_lasting = table.required(context, "store").and_then(|value| store(context, &value));
    let directory = table.take(defaults::STATE_DIRECTORY.name());
    table.finish(context);
    if is_lasting == Some(false)
        && let Some(directory) = &directory
    {
        directory.not_allowed(context, "says nothing where state.store is \"none\"", "leave one of them out");
    }
    let directory = match directory {
        Some(value) => folder(context, &value)?,
        None => context.resolve(defaults::STATE_DIRECTORY_DEFAULT),
    };
    is_lasting?.then_some(state::Config { directory })
}

/// Reads `[audit]`; where it is not there, none is kept.
pub(super) fn audit(context: &mut Context<'_>, value: Option<&Value<'_>>) -> Option<audit::Config> {
    let mut table = value?.table(context)?;
    let mut file = |name| {
        let text = table.required(context, name)?.text(context)?;
        Some(context.resolve(&text))
    };
    let (path, key_file) = (file("path"), file("key_file"));
    let bytes_max = table.bounded(context, &defaults::AUDIT_BYTES_MAX);
    let choices = [("open", audit::WhenFull::Open), ("closed", audit::WhenFull::Closed)];
    let when_full =
        table.required(context, "when_full").and_then(|value| value.choice(context, &choices, &[]));
    table.finish(context);
    Some(audit::Config { path: path?, key_file: key_file?, bytes_max, when_full: when_full? })
}

/// Whether anything is stored.
fn store(context: &mut Context<'_>, value: &Value<'_>) -> Option<bool> {
    if let DeValue::Table(entries) = value.value
        && !entries.is_empty()
    {
        value.table(context)?.finish(context);
        return None;
    }
    value.choice(context, &[("embedded", true), ("none", false)], &[])
}

fn folder(context: &mut Context<'_>, value: &Value<'_>) -> Option<PathBuf> {
    let text = value.text(context)?;
    if text.is_empty() {
        value.not_allowed(context, "is no folder's name", "write one such as \"drawgate-data\"");
        return None;
    }
    Some(context.resolve(&text))
}
