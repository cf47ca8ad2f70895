//! Reads `backend` of a route: the built-in echo, or the addresses of an application.

mod certificate;
mod health;
mod passing;

use toml::de::DeValue;

use super::defaults;
use super::keys::authorities_file;
use super::problem::ProblemKind;
use super::read::{Context, Table, Value};
use crate::backend::upstream::{self, Member, Resolver};
use crate::balance::{Balance, HashBy};
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
    let members = value.list_of(context, URLS_ADVICE, member);
    let is_empty = members.as_ref().is_some_and(Vec::is_empty);
    if is_empty {
        value.not_allowed(context, "is empty", &format!("write {URLS_ADVICE}"));
    }
    let authorities = table.take("ca_file");
    let ca_file = match &authorities {
        None => Some(None),
        Some(value) => authorities_file(context, value).map(Some),
    };
    // One that cannot be read may be one.
    let is_secure =
        members.as_ref().is_none_or(|members| members.iter().any(|(member, _)| member.url.is_secure()));
    let shown = certificate::certificate(context, table, is_secure);
    let balance = match table.take(defaults::BALANCE.name()) {
        None => Some(Balance::default()),
        Some(value) => balance(context, &value),
    };
    let failures_max = table.count(context, &defaults::UPSTREAM_FAILURES_MAX);
    let dials_max = table.count(context, &defaults::DIALS_MAX).unwrap_or(u32::MAX);
    let connect_timeout = table.deadline(context, &defaults::CONNECT_TIMEOUT);
    let answer_timeout = table.deadline(context, &defaults::ANSWER_TIMEOUT);
    let total_timeout = table.deadline(context, &defaults::TOTAL_TIMEOUT);
    let passing = passing::passing(context, table);
    let compression =
        table.choice(context, &defaults::UPSTREAM_COMPRESSION, &[("off", false), ("on", true)], &[]);
    let check = match table.take(defaults::HEALTH.name()) {
        None => Some(None),
        Some(value) => health::health(context, &value).map(|check| Some(Box::new(check))),
    };
    let members: Vec<_> = members.filter(|_| !is_empty)?.into_iter().map(|(member, _)| member).collect();
    let mut urls: Vec<String> = members.iter().map(|member| member.url.to_string()).collect();
    urls.sort();
    if let Some(twice) = urls.windows(2).find(|pair| pair[0] == pair[1]) {
        let wrong = format!("has {} twice", twice[0]);
        value.not_allowed(context, &wrong, "give it a weight instead, such as { url = \"…\", weight = 2 }");
        return None;
    }
    let (certificate, server_name) = shown?;
    Some(upstream::Config {
        members,
        balance: balance?,
        failures_max,
        dials_max,
        ca_file: ca_file?,
        certificate: certificate.map(Box::new),
        server_name,
        connect_timeout,
        answer_timeout,
        total_timeout,
        resolver: Resolver::default(),
        passing: Box::new(passing?),
        compression,
        check: check?,
    })
}

/// One application: an address, or a table with one.
fn member(context: &mut Context<'_>, value: &Value<'_>) -> Option<Member> {
    if let DeValue::String(_) = value.value {
        return url(context, value).map(Member::new);
    }
    let DeValue::Table(_) = value.value else {
        return value.wrong_type(context, MEMBER_ADVICE);
    };
    let mut table = value.table(context)?;
    let url = table.required(context, "url").and_then(|value| url(context, &value));
    let weight = table.count(context, &defaults::UPSTREAM_WEIGHT).unwrap_or(1);
    let connections_max = table.count(context, &defaults::UPSTREAM_CONNECTIONS_MAX);
    table.finish(context);
    Some(Member { url: url?, weight, connections_max })
}

fn balance(context: &mut Context<'_>, value: &Value<'_>) -> Option<Balance> {
    if let DeValue::String(_) = value.value {
        let choices =
            [("least_connections", Balance::LeastConnections), ("round_robin", Balance::RoundRobin)];
        return value.choice(context, &choices, &[]);
    }
    let DeValue::Table(_) = value.value else {
        return value.wrong_type(context, BALANCE_ADVICE);
    };
    let mut table = value.table(context)?;
    let by = table.required(context, "hash").and_then(|value| {
        if let DeValue::String(_) = value.value {
            return value.choice(context, &[("subject", HashBy::Subject), ("client", HashBy::Client)], &[]);
        }
        let DeValue::Table(_) = value.value else {
            return value.wrong_type(context, BALANCE_ADVICE);
        };
        let mut table = value.table(context)?;
        let name = table.required(context, "header").and_then(|value| {
            let name = value.text(context)?;
            let is_token =
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if !is_token {
                value.not_allowed(context, "is no name of a header", "write one such as \"X-Room\"");
            }
            is_token.then_some(name)
        });
        table.finish(context);
        name.map(HashBy::Header)
    });
    table.finish(context);
    by.map(Balance::Hash)
}

fn url(context: &mut Context<'_>, value: &Value<'_>) -> Option<UpstreamUrl> {
    let text = value.text(context)?;
    match text.parse() {
        Ok(url) => Some(url),
        Err(error) => {
            value.not_allowed(
                context,
                &format!("{error}"),
                "write an address such as \"ws://127.0.0.1:9000\" or \"unix:/run/app.sock\"",
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
const MEMBER_ADVICE: &str =
    "an address such as \"ws://127.0.0.1:9000\", or { url = \"…\", weight = 2, connections_max = 1000 }";
const BALANCE_ADVICE: &str = "\"least_connections\", \"round_robin\", or { hash = … } with \"subject\", \"client\" or { header = \"X-Room\" }";
