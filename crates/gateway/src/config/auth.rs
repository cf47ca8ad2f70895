//! Reads `[auth.NAME]`, and the secret that it names. Verifies nothing: the authenticator does.
//!
//! Never prints a key: a problem with one names its file, and what a file's content should have been.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use toml::de::DeValue;
use zeroize::Zeroizing;

use super::defaults;
use super::problem::ProblemKind;
use super::read::{Context, Place, Table, Value};
use super::routes::NO_AUTH;
use crate::auth::certificate::Name;
use crate::auth::{Algorithm, Config, CredentialSource, Expected};
use crate::secret::Secret;
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
    let key = table.required(context, "keys").and_then(|value| key(context, &value));
    let issuer = table.required(context, "issuer").and_then(|value| expected(context, &value));
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
    let sessions = sessions(context, &mut table);
    table.finish(context);
    Some(Config {
        credentials: credentials?.into_iter().map(|(source, _)| source).collect(),
        algorithms: algorithms?.into_iter().map(|(algorithm, _)| algorithm).collect(),
        key: key?,
        issuer: issuer?,
        audience: audience?,
        subject_claims: subject_claims?,
        first_message_timeout,
        token_lifetime_max,
        leeway,
        failures_per_client_per_minute,
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
        key: Secret::new(&[]),
        issuer: Expected::Any,
        audience: Expected::Any,
        subject_claims: vec![DEFAULT_SUBJECT_CLAIM.to_owned()],
        first_message_timeout: Duration::ZERO,
        token_lifetime_max: None,
        leeway,
        // Nobody guesses a certificate, and whoever shows one has been verified.
        failures_per_client_per_minute: None,
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
    let later = [
        "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
        "EdDSA",
    ];
    value.choice(context, &[("HS256", Algorithm::Hs256)], &later)
}

/// Reads `keys = { secret_file = "…" }`.
fn key(context: &mut Context<'_>, value: &Value<'_>) -> Option<Secret> {
    let mut table = value.table(context)?;
    let file = table.take("secret_file");
    let key = match &file {
        Some(value) => secret_file(context, value),
        None => None,
    };
    if file.is_none() && !table.has_later_key() {
        context.report_unseen(
            &value.place,
            ProblemKind::Missing,
            "names no key",
            "write { secret_file = \"…\" }; a key itself never stands in a configuration",
        );
    }
    table.finish(context);
    key
}

pub(super) fn secret_file(context: &mut Context<'_>, value: &Value<'_>) -> Option<Secret> {
    let text = not_empty(context, value)?;
    let path = context.resolve(&text);
    let secret = match read_secret(&path) {
        Ok(secret) => secret,
        Err(wrong) => {
            let advice = format!(
                "write the name of a file of {SECRET_BYTES_MIN} to {SECRET_FILE_BYTES_MAX} bytes, relative to the \
                 configuration's folder; `openssl rand -hex 32` makes its content"
            );
            if could_be_a_key(&text, &path) {
                context.report_unseen(&value.place, ProblemKind::File, &wrong, &advice);
            } else {
                context.report(&value.place, ProblemKind::File, &wrong, &advice);
            }
            return None;
        }
    };
    let key = &value.place.key;
    if secret.expose().last().is_some_and(u8::is_ascii_whitespace) {
        context
            .warnings
            .push(format!("{key}: the file ends in white space, which is taken as part of the key"));
    }
    if readable_by_others(&path) {
        context
            .warnings
            .push(format!("{key}: others than its owner may read the file; `chmod 600` keeps it secret"));
    }
    Some(secret)
}

/// Whether `text` looks less like a file's name than like a key that was written in its place.
fn could_be_a_key(text: &str, path: &Path) -> bool {
    text.len() >= SECRET_BYTES_MIN && !text.starts_with('/') && !text.contains('.') && !path.exists()
}

/// The secret in the file at `path`, or what is wrong with it.
fn read_secret(path: &Path) -> Result<Secret, String> {
    let unreadable = |error: std::io::Error| format!("names a file that cannot be read ({})", error.kind());
    // What is no plain file could make the reader wait forever.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err("names what is no plain file".to_owned());
    }
    // Room for all of it from the start: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_ROOM_BYTES));
    let file = File::open(path).map_err(unreadable)?;
    file.take(SECRET_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > SECRET_FILE_BYTES_MAX {
        return Err("names a file that is too long for a key".to_owned());
    }
    let secret = Secret::from_file_bytes(&bytes);
    // RFC 7518 §3.2: a key of the size of the hash output or larger.
    if secret.expose().len() < SECRET_BYTES_MIN {
        return Err("names a file that is too short for a key, which could be guessed".to_owned());
    }
    Ok(secret)
}

#[cfg(unix)]
pub(super) fn readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
pub(super) fn readable_by_others(_path: &Path) -> bool {
    false
}

fn expected(context: &mut Context<'_>, value: &Value<'_>) -> Option<Expected> {
    let text = not_empty(context, value)?;
    Some(if text == "any" { Expected::Any } else { Expected::Exactly(text) })
}

fn not_empty(context: &mut Context<'_>, value: &Value<'_>) -> Option<String> {
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
/// The least bytes of an HMAC key: 256 bits.
const SECRET_BYTES_MIN: usize = 32;
/// The most bytes of a file with a secret.
const SECRET_FILE_BYTES_MAX: u64 = 4096;
/// Enough for one byte more than that, and for the reader to see that there is no other.
const SECRET_ROOM_BYTES: usize = 4096 + 64;
