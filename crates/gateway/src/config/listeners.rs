//! Reads `[server]` and `[listeners.NAME]`. Binds nothing: the server does.

use std::net::SocketAddr;
use std::time::Duration;

use super::addresses::proxy_protocol;
use super::defaults;
use super::overload::overload;
use super::read::{Context, Place, Table, Value};
use super::tls::tls;
use crate::address::ProxyProtocol;
use crate::overload;

/// The `[server]` table, and what is bounded for the process as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// How many threads carry connections; `None` is one a core.
    pub workers: Option<usize>,
    /// How long connections may take to end when the process is told to.
    pub drain_timeout: Duration,
    /// Whether the configuration is read again when its file changes.
    pub reload_on_change: bool,
    /// The most connections at a time; `None` is as many as there are descriptors for.
    pub connections_max: Option<usize>,
    /// The most connections that may wait for their first message at a time.
    pub unauthenticated_max: usize,
    /// When nobody is let in any more, or some have to go, since the process runs out of something.
    pub overload: overload::Config,
}

/// One `[listeners.NAME]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// The name that routes, logs and metrics know it by.
    pub name: String,
    /// Where to listen; port 0 lets the system choose.
    pub address: SocketAddr,
    /// The certificates; `None` is plain TCP, written out as `tls = "none"`.
    pub tls: Option<crate::tls::Config>,
    /// How long a TLS handshake may take, from the accept on.
    pub tls_timeout: Duration,
    /// How long a request head may take, from the accept on, or from the end of the TLS handshake.
    pub head_timeout: Duration,
    /// The PROXY header that every connection begins with, before TLS; only trusted proxies may connect then.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How long that header may take, from the accept on.
    pub proxy_header_timeout: Duration,
    /// Whether the server refuses to start where it cannot listen here for want of the address or its family.
    pub required: bool,
}

/// A listener as far as it could be read.
pub(super) struct ListenerDraft {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) address: Option<(SocketAddr, Place)>,
    /// `None` where it could not be read.
    pub(super) tls: Option<Option<crate::tls::Config>>,
    tls_timeout: Duration,
    head_timeout: Duration,
    pub(super) proxy_protocol: Option<(ProxyProtocol, Place)>,
    proxy_header_timeout: Duration,
    required: bool,
}

impl ListenerDraft {
    /// The listener, if nothing was missing.
    pub(super) fn finish(self) -> Option<ListenerConfig> {
        let Self {
            name,
            place: _,
            address,
            tls,
            tls_timeout,
            head_timeout,
            proxy_protocol,
            proxy_header_timeout,
            required,
        } = self;
        let ((address, _), tls) = (address?, tls?);
        let proxy_protocol = proxy_protocol.map(|(versions, _)| versions);
        Some(ListenerConfig {
            name,
            address,
            tls,
            tls_timeout,
            head_timeout,
            proxy_protocol,
            proxy_header_timeout,
            required,
        })
    }
}

/// Reads `[server]`; gives what it holds, and the bounds on all buffers, on all compression and on TLS handshakes.
pub(super) fn server(context: &mut Context<'_>, value: Option<&Value<'_>>) -> (ServerConfig, u64, u64, u64) {
    let empty = toml::de::DeTable::default();
    let table = value.and_then(|value| value.table(context));
    let mut table = table.unwrap_or_else(|| Table::root(&empty));
    let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let reload_on_change = table
        .take(defaults::RELOAD_ON_CHANGE.name())
        .is_some_and(|value| value.boolean(context).unwrap_or(false));
    let server = ServerConfig {
        workers: table.amount(context, &defaults::WORKERS).map(count),
        drain_timeout: table.deadline(context, &defaults::DRAIN_TIMEOUT),
        reload_on_change,
        connections_max: table.amount(context, &defaults::CONNECTIONS_MAX).map(count),
        unauthenticated_max: count(table.bounded(context, &defaults::UNAUTHENTICATED_MAX)),
        overload: overload(context, table.take("overload").as_ref()),
    };
    let buffers_bytes_max = table.bounded(context, &defaults::BUFFERS_BYTES_MAX);
    let compression_bytes_max = table.bounded(context, &defaults::COMPRESSION_BYTES_MAX);
    let tls_handshakes_max = table.bounded(context, &defaults::TLS_HANDSHAKES_MAX);
    table.finish(context);
    (server, buffers_bytes_max, compression_bytes_max, tls_handshakes_max)
}

/// Reads every `[listeners.NAME]`.
pub(super) fn listeners(context: &mut Context<'_>, value: &Value<'_>) -> Vec<ListenerDraft> {
    let Some(table) = value.table(context) else {
        return Vec::new();
    };
    let named = table.named(context);
    named.into_iter().map(|(name, value)| listener(context, name, &value)).collect()
}

fn listener(context: &mut Context<'_>, name: String, value: &Value<'_>) -> ListenerDraft {
    let place = value.place.clone();
    let Some(mut table) = value.table(context) else {
        return ListenerDraft {
            name,
            place,
            address: None,
            tls: None,
            tls_timeout: Duration::ZERO,
            head_timeout: Duration::ZERO,
            proxy_protocol: None,
            proxy_header_timeout: Duration::ZERO,
            required: true,
        };
    };
    let address = table.required(context, "address").and_then(|value| {
        let address = address(context, &value)?;
        Some((address, value.place))
    });
    let tls = table.required(context, "tls").and_then(|value| tls(context, &value));
    let tls_timeout = table.deadline(context, &defaults::TLS_TIMEOUT);
    let head_timeout = table.deadline(context, &defaults::HEAD_TIMEOUT);
    let proxy_protocol = proxy_protocol(context, &mut table);
    let proxy_header_timeout = table.deadline(context, &defaults::PROXY_HEADER_TIMEOUT);
    let required = match table.take(defaults::LISTENER_REQUIRED.name()) {
        None => true,
        Some(value) => value.boolean(context).unwrap_or(true),
    };
    table.finish(context);
    ListenerDraft {
        name,
        place,
        address,
        tls,
        tls_timeout,
        head_timeout,
        proxy_protocol,
        proxy_header_timeout,
        required,
    }
}

/// Reads an IP address with its port. Names are not resolved: which interface answers must not depend on DNS.
pub(super) fn address(context: &mut Context<'_>, value: &Value<'_>) -> Option<SocketAddr> {
    let text = value.text(context)?;
    let address = text.parse();
    if address.is_err() {
        let advice = "write one such as \"127.0.0.1:8765\" or \"[::1]:8765\"; names are not resolved";
        value.not_allowed(context, "is no IP address with a port", advice);
    }
    address.ok()
}
