//! Reads `[admin]`, and the tokens that it names. Compares none: `admin/access.rs` does.
//!
//! Never prints a token: a problem with one names its file, and what a file's content should have been.

use std::net::SocketAddr;

use super::defaults;
use super::keys::secret_file;
use super::listeners::address;
use super::problem::ProblemKind;
use super::read::{Context, Place, Value};
use super::tls::tls;
use crate::admin::{Config, Scope, Token};
use crate::route::canonical_host;

/// Reads `[admin]`, which is there; gives it with the place of its address.
pub(super) fn admin(context: &mut Context<'_>, value: &Value<'_>) -> Option<(Config, Place)> {
    let mut table = value.table(context)?;
    let address = table.required(context, "address").and_then(|value| {
        let address: SocketAddr = address(context, &value)?;
        Some((address, value.place))
    });
    let tls = match table.take(defaults::ADMIN_TLS.name()) {
        None => Some(None),
        Some(value) => tls(context, &value),
    };
    let hosts = match table.take(defaults::ADMIN_HOSTS.name()) {
        None => Some(Vec::new()),
        Some(value) => {
            value.list_of(context, HOSTS, host).map(|hosts| hosts.into_iter().map(|(host, _)| host).collect())
        }
    };
    let tokens = match table.take(defaults::ADMIN_TOKENS.name()) {
        None => Some(Vec::new()),
        Some(value) => tokens(context, &value),
    };
    table.finish(context);
    let (address, place) = address?;
    let config = Config { address, tls: tls?, hosts: hosts?, tokens: tokens? };
    if config.tls.is_none() && !config.is_loopback() {
        let wrong = "is beyond loopback, where TLS is required";
        let advice = "write admin.tls = { certificate_file = \"…\", private_key_file = \"…\" }, or a loopback address such as \
             \"127.0.0.1:9090\"";
        context.report(&place, ProblemKind::NotAllowed, wrong, advice);
        return None;
    }
    Some((config, place))
}

/// Reads every `tokens.NAME`.
fn tokens(context: &mut Context<'_>, value: &Value<'_>) -> Option<Vec<Token>> {
    let named = value.table(context)?.named(context);
    let read: Vec<_> = named.into_iter().map(|(name, value)| (token(context, name, &value), value)).collect();
    for (index, (token, value)) in read.iter().enumerate() {
        let is_same = |(other, _): &(Option<Token>, _)| matches!((other, token), (Some(other), Some(token)) if other.secret == token.secret);
        if read.iter().take(index).any(is_same) {
            let wrong = "is the same token as another";
            let advice = "give each a file of its own, so that records tell them apart";
            context.report_unseen(&value.place, ProblemKind::Duplicate, wrong, advice);
        }
    }
    // All of them, so that each one's problems are told.
    read.into_iter().map(|(token, _)| token).collect()
}

fn host(context: &mut Context<'_>, value: &Value<'_>) -> Option<String> {
    let text = value.text(context)?;
    let host = canonical_host(&text);
    if host.is_none() {
        value.not_allowed(context, "is no host name", &format!("write {HOSTS}"));
    }
    host
}

fn token(context: &mut Context<'_>, name: String, value: &Value<'_>) -> Option<Token> {
    let mut table = value.table(context)?;
    let file = table.required(context, "file");
    let secret = file.and_then(|value| {
        let secret = secret_file(context, &value)?;
        // RFC 6750 §2.1 allows fewer; what matters is that a header carries it whole.
        if !secret.expose().iter().all(u8::is_ascii_graphic) {
            let wrong = "names a file with other characters than letters, digits and ASCII punctuation";
            let advice = "`openssl rand -hex 32` makes a token that a header can carry";
            context.report(&value.place, ProblemKind::File, wrong, advice);
            return None;
        }
        Some(secret)
    });
    let scopes = table.required(context, "scopes").and_then(|value| {
        let choices = Scope::ALL.map(|scope| (scope.name(), scope));
        let what = "a list of scopes: \"read\", \"operate\", \"tickets\"";
        value.list_of(context, what, |context, element| element.choice(context, &choices, &[]))
    });
    table.finish(context);
    let scopes = scopes?.into_iter().map(|(scope, _)| scope).collect();
    Some(Token { name, secret: secret?, scopes })
}

const HOSTS: &str = "host names such as [\"admin.example.com\"], each in full, in ASCII, without a port";
