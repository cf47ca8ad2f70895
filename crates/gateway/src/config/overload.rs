//! Reads `[server.overload]`: what is too much for the process.

use super::defaults;
use super::read::{Context, Table, Value};
use crate::overload::{Config, MemoryMax};

/// Reads the table; one that is not there is one that is empty.
pub(super) fn overload(context: &mut Context<'_>, value: Option<&Value<'_>>) -> Config {
    let empty = toml::de::DeTable::default();
    let table = value.and_then(|value| value.table(context));
    let mut table = table.unwrap_or_else(|| Table::root(&empty));
    let is_memory_written = table.contains(defaults::OVERLOAD_MEMORY_MAX.name());
    let memory_max = match table.amount(context, &defaults::OVERLOAD_MEMORY_MAX) {
        Some(bytes) => MemoryMax::Bytes(bytes),
        None if is_memory_written => MemoryMax::Unlimited,
        None => MemoryMax::System,
    };
    let config = Config {
        memory_max,
        memory_refuse_percent: table.count(context, &defaults::OVERLOAD_MEMORY_REFUSE_PERCENT),
        memory_shed_percent: table.count(context, &defaults::OVERLOAD_MEMORY_SHED_PERCENT),
        descriptors_refuse_percent: table.count(context, &defaults::OVERLOAD_DESCRIPTORS_REFUSE_PERCENT),
        delay_max: table.patience(context, &defaults::OVERLOAD_DELAY_MAX),
    };
    table.finish(context);
    config
}
