//! Reads what operators run and watch the gateway by: `[firewall]`, `[log]` and `[admin]`.

use std::net::SocketAddr;

use super::addresses::{AddressesDraft, addresses};
use super::defaults;
use super::listeners::address;
use super::problem::ProblemKind;
use super::read::{Context, Place, Table, Value};
use crate::observe::{ErrorFile, LogFormat, LogLevel};
use crate::{admin, firewall, observe};

/// Reads `[firewall]`, and what it says of proxies; a table that is not there is one that is empty.
pub(super) fn firewall(
    context: &mut Context<'_>,
    value: Option<&Value<'_>>,
) -> (firewall::Config, AddressesDraft) {
    let empty = toml::de::DeTable::default();
    let table = value.and_then(|value| value.table(context));
    let mut table = table.unwrap_or_else(|| Table::root(&empty));
    let config = firewall::Config {
        connections_per_client_max: table.count(context, &defaults::CONNECTIONS_PER_CLIENT_MAX),
        handshakes_per_client_per_minute: table.count(context, &defaults::HANDSHAKES_PER_CLIENT_PER_MINUTE),
    };
    let addresses = addresses(context, &mut table);
    table.finish(context);
    (config, addresses)
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

/// Reads `[admin]`, which is there.
pub(super) fn admin(context: &mut Context<'_>, value: &Value<'_>) -> Option<(admin::Config, Place)> {
    let mut table = value.table(context)?;
    let address = table.required(context, "address").and_then(|value| {
        let address: SocketAddr = address(context, &value)?;
        if !address.ip().to_canonical().is_loopback() {
            let wrong = "is beyond loopback, where TLS is required, which is not supported yet";
            let advice = "write a loopback address such as \"127.0.0.1:9090\"";
            context.report(&value.place, ProblemKind::NotSupportedYet, wrong, advice);
            return None;
        }
        Some((address, value.place))
    });
    table.finish(context);
    address.map(|(address, place)| (admin::Config { address }, place))
}
