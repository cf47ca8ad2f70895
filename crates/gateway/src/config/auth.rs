//! Reads `[auth.NAME]`. Verifies nothing: the authenticator does. The keys that it names are read by `keys.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::de::DeValue;

use super::problem::ProblemKind;
use super::read::{Context, Place, Table, Value};
use super::routes::NO_AUTH;
use super::{defaults, keys};
use crate::auth::certificate::Name;
use crate::auth::{Algorithm, Config, CredentialSource, Expected, Keys, TokenType};
use crate::session::{self, AtLimit};

/// The authenticators by name, each as far as it could be read.
pub(super) type Drafts = BTreeMap<String, (Place, Option<Config>)>;

/// Reads every `[auth.NAME]`.
pub(super) fn authenticators(context: &mut Context<'_>, value: Option<&Value<'_>>) -> Drafts {
    let mut drafts = Drafts::new();
    let Some(table) = value.and_then(|value| value.table(context)) else {
        return drafts;
    };
    for (name, value) in table.named(context) {
        if name == NO_AUTH {
            let wrong = "takes the word that routes use for no authentication";
            context.report_unseen(&value.place, ProblemKind::NotAllowed, wrong, "choose another name");
        }
        let draft = authenticator(context, &value);
        drafts.insert(name, (value.place, draft));
    }
    drafts
}

fn authenticator(context: &mut Context<'_>, value: &Value<'_>) -> Option<Config> {
    let mut table = value.table(context)?;
    let credentials_value = table.required(context, "credentials");
    let credentials = credentials_value.as_ref().and_then(|value| {
        value.list_of(context, "a list of sources such as [\"first_message\"]", credential_source)
    });
    if credentials_value.is_some_and(|value| names_certificates_alone(&value)) {
        let leeway = table.deadline(context, &defaults::LEEWAY);
        let sessions = sessions(context, &mut table);
        table.finish(context);
        let credentials = credentials?.into_iter().map(|(source, _)| source).collect();
        return Some(certificates_alone(credentials, leeway, sessions));
    }
    let algorithms = table
        .required(context, "algorithms")
        .and_then(|value| value.list_of(context, "a list of algorithms such as [\"HS256\"]", algorithm));
    let token_types = match table.take(defaults::TOKEN_TYPES.name()) {
        None => Some(None),
        Some(value) => value
            .list_of(context, "a list of types such as [\"at+jwt\"]", token_type)
            .map(|types| Some(types.into_iter().map(|(token_type, _)| token_type).collect())),
    };
    let issuer = table.required(context, "issuer").and_then(|value| expected(context, &value));
    let keys = table.required(context, "keys");
    let keys = keys.and_then(|value| keys::read(context, &value, issuer.as_ref()));
    let keys = keys.and_then(|keys| keys.fitting(context, algorithms.as_deref()?));
    let audience = table.required(context, "audience").and_then(|value| expected(context, &value));
    let subject_claims = match table.take(defaults::SUBJECT_CLAIMS.name()) {
        None => Some(vec![DEFAULT_SUBJECT_CLAIM.to_owned()]),
        Some(value) => value
            .list_of(context, "a list of claims such as [\"sub\"]", not_empty)
            .map(|claims| claims.into_iter().map(|(claim, _)| claim).collect()),
    };
    let first_message_timeout = table.deadline(context, &defaults::FIRST_MESSAGE_TIMEOUT);
    let token_lifetime_max = table.patience(context, &defaults::TOKEN_LIFETIME_MAX);
    let leeway = table.deadline(context, &defaults::LEEWAY);
    let failures_per_client_per_minute = table.count(context, &defaults::FAILURES_PER_CLIENT_PER_MINUTE);
    let failures_per_subject_per_minute = table.count(context, &defaults::FAILURES_PER_SUBJECT_PER_MINUTE);
    let sessions = sessions(context, &mut table);
    table.finish(context);
    Some(Config {
        credentials: credentials?.into_iter().map(|(source, _)| source).collect(),
        algorithms: algorithms?.into_iter().map(|(algorithm, _)| algorithm).collect(),
        token_types: token_types?,
        keys: keys?,
        issuer: issuer?,
        audience: audience?,
        subject_claims: subject_claims?,
        first_message_timeout,
        token_lifetime_max,
        leeway,
        failures_per_client_per_minute,
        failures_per_subject_per_minute,
        sessions,
    })
}

/// Reads what an authenticator says of the sessions that it begins.
fn sessions(context: &mut Context<'_>, table: &mut Table<'_>) -> session::Config {
    let at_limit = [("refuse", AtLimit::Refuse), ("end_oldest", AtLimit::EndOldest)];
    session::Config {
        per_subject_max: table.count(context, &defaults::SESSIONS_PER_SUBJECT_MAX),
        at_limit: table.choice(context, &defaults::SESSIONS_AT_LIMIT, &at_limit, &[]),
        refresh: table.choice(context, &defaults::REFRESH, &[("off", false), ("on", true)], &[]),
        expiry_warning: table.patience(context, &defaults::EXPIRY_WARNING),
    }
}

/// Whether every source is a client's certificate, sound or not.
fn names_certificates_alone(value: &Value<'_>) -> bool {
    let DeValue::Array(elements) = value.value else { return false };
    let is_certificate = |element: &DeValue<'_>| match element {
        DeValue::Table(entries) => entries.contains_key("client_certificate"),
        _ => false,
    };
    !elements.is_empty() && elements.iter().all(|element| is_certificate(element.get_ref()))
}

/// What takes certificates alone: no token has a key, an issuer or an audience there.
fn certificates_alone(
    credentials: Vec<CredentialSource>,
    leeway: Duration,
    sessions: session::Config,
) -> Config {
    Config {
        credentials,
        algorithms: Vec::new(),
        token_types: None,
        keys: Keys::None,
        issuer: Expected::Any,
        audience: Expected::Any,
        subject_claims: vec![DEFAULT_SUBJECT_CLAIM.to_owned()],
        first_message_timeout: Duration::ZERO,
        token_lifetime_max: None,
        leeway,
        // Nobody guesses a certificate, and whoever shows one has been verified.
        failures_per_client_per_minute: None,
        failures_per_subject_per_minute: None,
        sessions,
    }
}

fn credential_source(context: &mut Context<'_>, value: &Value<'_>) -> Option<CredentialSource> {
    if let DeValue::Table(entries) = value.value {
        if entries.contains_key("client_certificate") {
            return client_certificate(context, value);
        }
        return named_source(context, value);
    }
    let choices = [
        ("authorization_header", CredentialSource::AuthorizationHeader),
        ("first_message", CredentialSource::FirstMessage),
        ("subprotocol", CredentialSource::Subprotocol),
        ("ticket", CredentialSource::Ticket),
    ];
    value.choice(context, &choices, &[])
}

/// Reads `{ cookie = "NAME" }` or `{ query = "NAME" }`.
fn named_source(context: &mut Context<'_>, value: &Value<'_>) -> Option<CredentialSource> {
    let mut table = value.table(context)?;
    let cookie = table.take("cookie");
    let query = table.take("query");
    table.finish(context);
    let (name_value, source): (_, fn(String) -> CredentialSource) = match (&cookie, &query) {
        (Some(name), None) => (name, CredentialSource::Cookie),
        (None, Some(name)) => (name, CredentialSource::Query),
        // A key that is none of these has been reported as such.
        (None, None) if matches!(&value.value, DeValue::Table(entries) if !entries.is_empty()) => {
            return None;
        }
        (_, _) => {
            let advice =
                "write { cookie = \"NAME\" }, { query = \"NAME\" } or { client_certificate = \"subject\" }";
            value.not_allowed(context, "names no one place", advice);
            return None;
        }
    };
    let name = name_value.text(context)?;
    // RFC 6265 §4.1.1 has tokens; those of them that stand in a query without escapes fit both.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if name.is_empty() || name.len() > SOURCE_NAME_BYTES_MAX || !name.bytes().all(is_plain) {
        let advice = "write 1 to 64 letters, digits and - . _ ~";
        name_value.not_allowed(context, "is no name", advice);
        return None;
    }
    Some(source(name))
}

/// Reads `{ client_certificate = "subject" }`.
fn client_certificate(context: &mut Context<'_>, value: &Value<'_>) -> Option<CredentialSource> {
    let mut table = value.table(context)?;
    let names = [
        ("subject", Name::Subject),
        ("san_dns", Name::SanDns),
        ("san_email", Name::SanEmail),
        ("san_uri", Name::SanUri),
    ];
    let name = table.take("client_certificate").and_then(|value| value.choice(context, &names, &[]));
    table.finish(context);
    name.map(CredentialSource::ClientCertificate)
}

fn algorithm(context: &mut Context<'_>, value: &Value<'_>) -> Option<Algorithm> {
    value.choice(context, &Algorithm::names().collect::<Vec<_>>(), &["ES512"])
}

fn token_type(context: &mut Context<'_>, value: &Value<'_>) -> Option<TokenType> {
    let read = value.text(context)?.parse::<TokenType>();
    let advice = "write what the header's typ says, such as \"at+jwt\" or \"JWT\"";
    read.map_err(|error| value.not_allowed(context, &error.to_string(), advice)).ok()
}

fn expected(context: &mut Context<'_>, value: &Value<'_>) -> Option<Expected> {
    let text = not_empty(context, value)?;
    Some(if text == "any" { Expected::Any } else { Expected::Exactly(text) })
}

pub(super) fn not_empty(context: &mut Context<'_>, value: &Value<'_>) -> Option<String> {
    let text = value.text(context)?;
    if text.is_empty() {
        value.not_allowed(context, "is empty", "write at least one character");
        return None;
    }
    Some(text)
}

/// The claim that names the subject unless others are listed.
const DEFAULT_SUBJECT_CLAIM: &str = "sub";
/// The most bytes of a cookie's or a parameter's name.
const SOURCE_NAME_BYTES_MAX: usize = 64;
