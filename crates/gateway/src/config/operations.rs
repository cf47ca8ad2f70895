//! Reads what operators run and watch the gateway by: `[firewall]`, `[log]` and `[state]`.

use std::path::PathBuf;

use toml::de::DeValue;

use super::defaults;
use super::read::{Context, Table, Value};
use crate::observe::{ErrorFile, LogFormat, LogLevel};
use crate::{firewall, observe, state};

/// Reads `[firewall]`; a table that is not there is one that is empty.
pub(super) fn firewall(context: &mut Context<'_>, value: Option<&Value<'_>>) -> firewall::Config {
    let empty = toml::de::DeTable::default();
    let table = value.and_then(|value| value.table(context));
    let mut table = table.unwrap_or_else(|| Table::root(&empty));
    let config = firewall::Config {
        connections_per_client_max: table.count(context, &defaults::CONNECTIONS_PER_CLIENT_MAX),
        handshakes_per_client_per_minute: table.count(context, &defaults::HANDSHAKES_PER_CLIENT_PER_MINUTE),
    };
    table.finish(context);
    config
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
