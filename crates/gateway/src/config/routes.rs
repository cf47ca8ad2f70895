//! Reads `[routes.NAME]` with its limits. Whether the listeners and authenticators it names exist is asked by
//! `check.rs`, when all tables have been read.

use toml::de::DeValue;

use super::backend::{BackendConfig, backend};
use super::defaults::{self, Amount};
use super::inspect;
use super::read::{Context, Place, Table, Value};
use crate::inspect::Inspections;
use crate::limits::{Limits, OverRate, Pace, Rates};
use crate::route::{Notice, Origins, PathPattern, RefuseBy, canonical_host, canonical_origin};

/// One `[routes.NAME]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteConfig {
    /// The name that logs and metrics know it by.
    pub name: String,
    /// The names of the listeners it appears on; each exists, and there is at least one.
    pub listeners: Vec<String>,
    /// The paths it takes.
    pub path: PathPattern,
    /// The hosts it takes, without ports, as [`canonical_host`] has them; empty is any host.
    pub hosts: Vec<String>,
    /// Which pages may connect.
    pub origins: Origins,
    /// The authenticator, which exists; `None` was written out as `"none"`.
    pub auth: Option<String>,
    /// How clients are told, beyond the close code.
    pub notice: Notice,
    /// How clients are refused that ask for it.
    pub refuse: RefuseBy,
    /// The bounds on its connections.
    pub limits: Limits,
    /// What is inspected of its messages.
    pub inspections: Inspections,
    /// Where messages go.
    pub backend: BackendConfig,
}

/// A route as far as it could be read.
pub(super) struct RouteDraft {
    pub(super) name: String,
    pub(super) listeners: Option<Vec<(String, Place)>>,
    pub(super) path: Option<(PathPattern, Place)>,
    pub(super) hosts: Option<Vec<String>>,
    pub(super) auth: Option<(Option<String>, Place)>,
    pub(super) origins: Option<(Origins, Place)>,
    notice: Notice,
    refuse: RefuseBy,
    limits: Limits,
    inspections: Option<Inspections>,
    backend: Option<BackendConfig>,
}

impl RouteDraft {
    /// The route, if nothing was missing.
    pub(super) fn finish(self) -> Option<RouteConfig> {
        Some(RouteConfig {
            name: self.name,
            listeners: self.listeners?.into_iter().map(|(name, _)| name).collect(),
            path: self.path?.0,
            hosts: self.hosts?,
            origins: self.origins?.0,
            auth: self.auth?.0,
            notice: self.notice,
            refuse: self.refuse,
            limits: self.limits,
            inspections: self.inspections?,
            backend: self.backend?,
        })
    }
}

/// Reads every `[routes.NAME]`.
pub(super) fn routes(context: &mut Context<'_>, value: &Value<'_>) -> Vec<RouteDraft> {
    let Some(table) = value.table(context) else {
        return Vec::new();
    };
    let named = table.named(context);
    named.into_iter().filter_map(|(name, value)| route(context, name, &value)).collect()
}

fn route(context: &mut Context<'_>, name: String, value: &Value<'_>) -> Option<RouteDraft> {
    let mut table = value.table(context)?;
    let listeners = table.required(context, "listeners").and_then(|value| {
        value.list_of(context, "a list of listeners' names", |context, element| element.text(context))
    });
    let path = table.required(context, "path").and_then(|value| Some((path(context, &value)?, value.place)));
    let hosts = match table.take(defaults::HOSTS.name()) {
        None => Some(Vec::new()),
        Some(value) => value.list_of(context, HOSTS_ADVICE, host).map(without_places),
    };
    let origins =
        table.required(context, "origins").and_then(|value| Some((origins(context, &value)?, value.place)));
    let auth = table.required(context, "auth").and_then(|value| {
        let name = value.text(context)?;
        Some(((name != NO_AUTH).then_some(name), value.place))
    });
    let backend = table.required(context, "backend").and_then(|value| backend(context, &value));
    let notices = [("close", Notice::Close), ("json", Notice::Json), ("text", Notice::Text)];
    let notice = table.choice(context, &defaults::NOTICE, &notices, &[]);
    let refusals = [("http", RefuseBy::Http), ("close", RefuseBy::Close)];
    let refuse = table.choice(context, &defaults::REFUSE, &refusals, &[]);
    let inspections = inspect::inspections(context, &mut table);
    let limits_value = table.take("limits");
    let limits = if inspections == Some(Inspections::default()) {
        limits(context, limits_value.as_ref(), &defaults::MESSAGE_BYTES_MAX)
    } else {
        limits(context, limits_value.as_ref(), &defaults::WHOLE_MESSAGE_BYTES_MAX)
    };
    table.finish(context);
    Some(RouteDraft {
        name,
        listeners,
        path,
        hosts,
        auth,
        origins,
        notice,
        refuse,
        limits,
        inspections,
        backend,
    })
}

/// Reads `limits`; a table that is not there is one that is empty. `message_bytes_max` is what holds for the size of messages.
pub(super) fn limits(
    context: &mut Context<'_>,
    value: Option<&Value<'_>>,
    message_bytes_max: &Amount,
) -> Limits {
    let empty = toml::de::DeTable::default();
    let table = value.and_then(|value| value.table(context));
    let mut table = table.unwrap_or_else(|| Table::root(&empty));
    let limits = Limits {
        message_bytes_max: table.amount(context, message_bytes_max),
        message_fragments_max: table.count(context, &defaults::MESSAGE_FRAGMENTS_MAX),
        compression: table.choice(context, &defaults::COMPRESSION, &[("off", false), ("on", true)], &[]),
        inflated_bytes_per_second: table.amount(context, &defaults::INFLATED_BYTES_PER_SECOND),
        pace: pace(context, &mut table),
        message_timeout: table.patience(context, &defaults::MESSAGE_TIMEOUT),
        idle_timeout: table.patience(context, &defaults::IDLE_TIMEOUT),
        session_time_max: table.patience(context, &defaults::SESSION_TIME_MAX),
        ping_interval: table.patience(context, &defaults::PING_INTERVAL),
        pong_timeout: table.patience(context, &defaults::PONG_TIMEOUT),
        stall_timeout: table.patience(context, &defaults::STALL_TIMEOUT),
        close_timeout: table.deadline(context, &defaults::CLOSE_TIMEOUT),
    };
    table.finish(context);
    limits
}

fn pace(context: &mut Context<'_>, table: &mut Table<'_>) -> Pace {
    let mut rates = |[messages, bytes]: [&Amount; 2]| Rates {
        messages_per_second: table.amount(context, messages),
        bytes_per_second: table.amount(context, bytes),
    };
    let session = rates([&defaults::MESSAGES_PER_SECOND, &defaults::BYTES_PER_SECOND]);
    let subject = rates([&defaults::SUBJECT_MESSAGES_PER_SECOND, &defaults::SUBJECT_BYTES_PER_SECOND]);
    let client = rates([&defaults::CLIENT_MESSAGES_PER_SECOND, &defaults::CLIENT_BYTES_PER_SECOND]);
    let choices = [("close", OverRate::Close), ("slow", OverRate::Slow)];
    Pace { session, subject, client, over_rate: table.choice(context, &defaults::OVER_RATE, &choices, &[]) }
}

fn path(context: &mut Context<'_>, value: &Value<'_>) -> Option<PathPattern> {
    let text = value.text(context)?;
    match PathPattern::parse(&text) {
        Ok(path) => Some(path),
        Err(error) => {
            let advice = "write a path \"/chat\", or \"/chat/*\" for all below it";
            value.not_allowed(context, &error.to_string(), advice);
            None
        }
    }
}

fn host(context: &mut Context<'_>, value: &Value<'_>) -> Option<String> {
    let text = value.text(context)?;
    let host = canonical_host(&text);
    if host.is_none() {
        value.not_allowed(context, "is no host name", &format!("write {HOSTS_ADVICE}"));
    }
    host
}

fn origins(context: &mut Context<'_>, value: &Value<'_>) -> Option<Origins> {
    if let DeValue::String(_) = value.value {
        let text = value.text(context)?;
        return match text.as_str() {
            "any" => Some(Origins::Any),
            "same" => Some(Origins::Same),
            _ => {
                value.not_allowed(context, "is no choice here", &format!("write {ORIGINS_ADVICE}"));
                None
            }
        };
    }
    value.list_of(context, ORIGINS_ADVICE, origin).map(|list| Origins::Listed(without_places(list)))
}

fn origin(context: &mut Context<'_>, value: &Value<'_>) -> Option<String> {
    let text = value.text(context)?;
    let origin = canonical_origin(&text);
    if origin.is_none() {
        let advice = match text.as_str() {
            // RFC 6454 §7.3: any page can make its origin opaque, so that it is sent as `null`.
            "null" => "leave it out: every page can send it",
            "any" | "*" | "same" => "write origins = \"any\" or \"same\", without a list",
            _ => "write scheme, host and port alone, such as \"https://app.example.com\"; names in ASCII",
        };
        value.not_allowed(context, "is no origin", advice);
    }
    origin
}

fn without_places<T>(list: Vec<(T, Place)>) -> Vec<T> {
    list.into_iter().map(|(item, _)| item).collect()
}

/// The word that says that a route asks for no credential.
pub(super) const NO_AUTH: &str = "none";
const HOSTS_ADVICE: &str = "host names such as [\"chat.example.com\"], each in full, in ASCII, without a port; left out, any host is taken";
const ORIGINS_ADVICE: &str = "\"any\", \"same\", or a list such as [\"https://app.example.com\"]";
