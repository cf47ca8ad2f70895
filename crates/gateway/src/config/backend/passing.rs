//! Reads what goes on to an application beside the messages, and what of its answer goes back.

use drawgate_protocol::handshake::Host;
use toml::de::DeValue;

use crate::backend::upstream::{
    Cookies, HeaderName, HeaderNameError, HostSent, Identity, OriginSent, Passing,
};
use crate::config::defaults::{self, Word};
use crate::config::problem::ProblemKind;
use crate::config::read::{Context, Table, Value};
use crate::route::canonical_origin;

/// The settings in `table`, the backend's.
pub(super) fn passing(context: &mut Context<'_>, table: &mut Table<'_>) -> Option<Passing> {
    let host = read(context, table, &defaults::UPSTREAM_HOST, host);
    let origin = read(context, table, &defaults::UPSTREAM_ORIGIN, origin);
    let cookies = read(context, table, &defaults::UPSTREAM_COOKIES, cookies);
    let answer_headers = read(context, table, &defaults::ANSWER_HEADERS, answer_headers);
    let identity = match table.take("identity") {
        None => Some(Identity::default()),
        Some(value) => identity(context, &value),
    };
    let (host, origin, cookies, answer_headers) = (host?, origin?, cookies?, answer_headers?);
    Some(Passing { host, origin, cookies, identity: identity?, answer_headers })
}

fn read<T: Default>(
    context: &mut Context<'_>,
    table: &mut Table<'_>,
    word: &Word,
    read: impl Fn(&mut Context<'_>, &Value<'_>) -> Option<T>,
) -> Option<T> {
    table.take(word.name()).map_or_else(|| Some(T::default()), |value| read(context, &value))
}

fn host(context: &mut Context<'_>, value: &Value<'_>) -> Option<HostSent> {
    if let DeValue::String(_) = value.value {
        return value.choice(context, &[("client", HostSent::Client), ("address", HostSent::Address)], &[]);
    }
    let sound = |host: &str| Host::parse(host).map(|_| host.to_owned());
    let wrong = ("is no host", "write a name and perhaps a port, such as \"app.internal:9000\"");
    set(context, value, HOST_ADVICE, wrong, sound).map(HostSent::Set)
}

fn origin(context: &mut Context<'_>, value: &Value<'_>) -> Option<OriginSent> {
    if let DeValue::String(_) = value.value {
        return value.choice(context, &[("client", OriginSent::Client), ("none", OriginSent::Nothing)], &[]);
    }
    let wrong = (
        "is no origin",
        "write scheme, host and port alone, such as \"https://app.example.com\"; names in ASCII",
    );
    set(context, value, ORIGIN_ADVICE, wrong, canonical_origin).map(OriginSent::Set)
}

/// What `{ set = … }` says, where that is `sound`.
fn set(
    context: &mut Context<'_>,
    value: &Value<'_>,
    expected: &str,
    (wrong, advice): (&str, &str),
    sound: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let DeValue::Table(_) = value.value else { return value.wrong_type(context, expected) };
    let mut table = value.table(context)?;
    let set = table.required(context, "set").and_then(|value| {
        let read = sound(&value.text(context)?);
        if read.is_none() {
            value.not_allowed(context, wrong, advice);
        }
        read
    });
    table.finish(context);
    set
}

fn cookies(context: &mut Context<'_>, value: &Value<'_>) -> Option<Cookies> {
    if let DeValue::String(_) = value.value {
        return value.choice(context, &[("all", Cookies::All), ("none", Cookies::Nothing)], &[]);
    }
    let name = |context: &mut Context<'_>, value: &Value<'_>| {
        let name = value.text(context)?;
        // RFC 6265 §4.1.1: a token.
        let is_token = |byte: u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte);
        let is_sound = !name.is_empty() && name.bytes().all(is_token);
        if !is_sound {
            value.not_allowed(context, "is no name of a cookie", "write its name alone, such as \"theme\"");
        }
        is_sound.then_some(name)
    };
    let names = value.list_of(context, COOKIES_ADVICE, name)?;
    Some(Cookies::Named(names.into_iter().map(|(name, _)| name).collect()))
}

fn answer_headers(context: &mut Context<'_>, value: &Value<'_>) -> Option<Vec<HeaderName>> {
    let names = value.list_of(context, ANSWER_HEADERS_ADVICE, header_name)?;
    Some(names.into_iter().map(|(name, _)| name).collect())
}

fn identity(context: &mut Context<'_>, value: &Value<'_>) -> Option<Identity> {
    let mut table = value.table(context)?;
    let own = Identity::default();
    let subject = match table.take(defaults::IDENTITY_SUBJECT.name()) {
        None => Some(own.subject),
        Some(value) => header_name(context, &value),
    };
    let session = match table.take(defaults::IDENTITY_SESSION.name()) {
        None => Some(own.session),
        Some(value) => header_name(context, &value),
    };
    let claims = match table.take(defaults::IDENTITY_CLAIMS.name()) {
        None => Some(Vec::new()),
        Some(value) => claims(context, &value),
    };
    table.finish(context);
    let identity = Identity { subject: subject?, session: session?, claims: claims? };
    let claimed = identity.claims.iter().map(|(name, _)| name);
    let mut names: Vec<String> = [&identity.subject, &identity.session]
        .into_iter()
        .chain(claimed)
        .map(|name| name.as_str().to_ascii_lowercase())
        .collect();
    names.sort();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        let wrong = "has one header twice, and case makes no other of it";
        context.report_unseen(&value.place, ProblemKind::NotAllowed, wrong, "give each its own");
        return None;
    }
    Some(identity)
}

fn claims(context: &mut Context<'_>, value: &Value<'_>) -> Option<Vec<(HeaderName, String)>> {
    let named = value.table(context)?.named(context);
    let count = named.len();
    let read = |(name, value): (String, Value<'_>)| {
        let header = known(context, &value, &name);
        let claim = value.text(context).filter(|claim| {
            if claim.is_empty() {
                value.not_allowed(context, "is no claim", "write its name, such as \"email\"");
            }
            !claim.is_empty()
        });
        Some((header?, claim?))
    };
    let claims: Vec<_> = named.into_iter().filter_map(read).collect();
    (claims.len() == count).then_some(claims)
}

fn header_name(context: &mut Context<'_>, value: &Value<'_>) -> Option<HeaderName> {
    let name = value.text(context)?;
    known(context, value, &name)
}

/// The header `name`, which stands at `value` or before it.
fn known(context: &mut Context<'_>, value: &Value<'_>, name: &str) -> Option<HeaderName> {
    let error = match name.parse() {
        Ok(name) => return Some(name),
        Err(error) => error,
    };
    let advice = match error {
        HeaderNameError::Malformed => "write up to 64 of A-Z a-z 0-9 -, such as \"X-User-Email\"",
        HeaderNameError::Reserved => "write another; cookies, host and origin have settings of their own",
    };
    context.report_unseen(&value.place, ProblemKind::NotAllowed, &error.to_string(), advice);
    None
}

const HOST_ADVICE: &str = "\"client\", \"address\", or { set = \"app.internal\" }";
const ORIGIN_ADVICE: &str = "\"client\", \"none\", or { set = \"https://app.example.com\" }";
const COOKIES_ADVICE: &str = "\"all\", \"none\", or a list of names such as [\"theme\"]";
const ANSWER_HEADERS_ADVICE: &str = "a list of names such as [\"X-Room\"]";
