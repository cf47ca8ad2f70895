//! Reads `backend` of a route: the built-in echo, or the addresses of an application.

use toml::de::DeValue;

use super::defaults;
use super::keys::authorities_file;
use super::problem::ProblemKind;
use super::read::{Context, Table, Value};
use crate::backend::upstream;
use crate::route::Echo;
use crate::url::UpstreamUrl;

/// Where the messages of a route go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendConfig {
    /// Back to where they came from.
    Echo(Echo),
    /// To an application behind the gate.
    Upstream(upstream::Config),
}

pub(super) fn backend(context: &mut Context<'_>, value: &Value<'_>) -> Option<BackendConfig> {
    if let DeValue::String(_) = value.value {
        value.choice(context, &[("echo", ())], &[])?;
        return Some(BackendConfig::Echo(Echo::default()));
    }
    let DeValue::Table(_) = value.value else {
        return value.wrong_type(context, ADVICE);
    };
    let mut table = value.table(context)?;
    let (echo_value, urls_value) = (table.take("echo"), table.take("urls"));
    let backend = match (&echo_value, &urls_value) {
        (Some(value), None) => echo(context, value).map(BackendConfig::Echo),
        (None, Some(value)) => application(context, &mut table, value).map(BackendConfig::Upstream),
        (Some(_), Some(value)) => {
            let wrong = "stands beside echo, and messages go to one place";
            context.report(&value.place, ProblemKind::NotAllowed, wrong, "leave one out");
            None
        }
        (None, None) => {
            value.not_allowed(context, "names no backend", &format!("write {ADVICE}"));
            None
        }
    };
    table.finish(context);
    backend
}

fn application(
    context: &mut Context<'_>,
    table: &mut Table<'_>,
    value: &Value<'_>,
) -> Option<upstream::Config> {
    let urls = value.list_of(context, URLS_ADVICE, url);
    let is_empty = urls.as_ref().is_some_and(Vec::is_empty);
    if is_empty {
        value.not_allowed(context, "is empty", &format!("write {URLS_ADVICE}"));
    }
    let authorities = table.take("ca_file");
    let ca_file = match &authorities {
        None => Some(None),
        Some(value) => authorities_file(context, value).map(Some),
    };
    let connect_timeout = table.deadline(context, &defaults::CONNECT_TIMEOUT);
    let answer_timeout = table.deadline(context, &defaults::ANSWER_TIMEOUT);
    let urls: Vec<_> = urls.filter(|_| !is_empty)?.into_iter().map(|(url, _)| url).collect();
    if let [first, _, ..] = &urls[..] {
        context
            .warnings
            .push(format!("{}: only the first, {first}, is used in this version", value.place.key));
    }
    Some(upstream::Config { urls, ca_file: ca_file?, connect_timeout, answer_timeout })
}

fn url(context: &mut Context<'_>, value: &Value<'_>) -> Option<UpstreamUrl> {
    let text = value.text(context)?;
    match text.parse() {
        Ok(url) => Some(url),
        Err(error) => {
            value.not_allowed(
                context,
                &format!("{error}"),
                "write an address such as \"ws://127.0.0.1:9000\"",
            );
            None
        }
    }
}

fn echo(context: &mut Context<'_>, value: &Value<'_>) -> Option<Echo> {
    let mut table = value.table(context)?;
    let prefix = match table.take(defaults::ECHO_PREFIX.name()) {
        None => Some(String::new()),
        Some(value) => value.text(context).filter(|prefix| {
            let fits = prefix.len() <= ECHO_PREFIX_BYTES_MAX;
            if !fits {
                value.not_allowed(context, "is too long", "write at most 1024 bytes");
            }
            fits
        }),
    };
    table.finish(context);
    prefix.map(|prefix| Echo { prefix })
}

/// The most bytes of an echo's prefix; it goes out with every message.
const ECHO_PREFIX_BYTES_MAX: usize = 1024;
const ADVICE: &str = "{ urls = [\"ws://127.0.0.1:9000\"] }, \"echo\", or { echo = { prefix = \"…\" } }";
const URLS_ADVICE: &str = "a list of addresses such as [\"ws://127.0.0.1:9000\"]";
