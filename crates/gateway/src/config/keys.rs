//! Reads `auth.NAME.keys`: one source of keys, its file or address, and whether the algorithms are such that its keys can be
//! used. Fetches nothing: the server does, once it runs.
//!
//! Never prints a key: a problem with one names its file, and what a file's content should have been. Called by `auth.rs`,
//! which has read the algorithms before.

use std::error::Error;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::auth::not_empty;
use super::defaults;
use super::problem::ProblemKind;
use super::read::{Context, Place, Table, Value};
use crate::auth::jwks::{self, JWKS_BYTES_MAX};
use crate::auth::{
    Algorithm, Expected, KeyKind, KeyLocation, KeySet, Keys, PEM_BYTES_MAX, RemoteKeys, VerifyingKey,
};
use crate::secret::Secret;
use crate::tls::Trust;
use crate::url::UrlError;

/// Keys as they were read, not yet held against the algorithms.
pub(super) struct Draft {
    keys: DraftKeys,
    /// Where their file is named.
    place: Place,
}

enum DraftKeys {
    Secret(Secret),
    /// One key that somebody chose.
    Public(VerifyingKey),
    /// What an issuer publishes, which may be for more than this.
    File(PathBuf, KeySet),
    /// What an issuer will have published.
    Remote(RemoteKeys),
}

/// Reads `keys = { secret_file = "…" }` and its like, for tokens of `issuer`.
pub(super) fn read(context: &mut Context<'_>, value: &Value<'_>, issuer: Option<&Expected>) -> Option<Draft> {
    let mut table = value.table(context)?;
    let secret = table.take("secret_file");
    let public_key = table.take("public_key_file");
    let jwks = table.take("jwks_file");
    let url = table.take("jwks_url");
    let discovery = table.take("issuer_discovery");
    let draft = match (&secret, &public_key, &jwks, &url, &discovery) {
        (Some(value), None, None, None, None) => secret_file(context, value).map(DraftKeys::Secret),
        (None, Some(value), None, None, None) => public_key_file(context, value).map(DraftKeys::Public),
        (None, None, Some(value), None, None) => {
            jwks_file(context, value).map(|(path, set)| DraftKeys::File(path, set))
        }
        (None, None, None, Some(value), None) => {
            let location = jwks_url(context, value);
            remote(context, &mut table, location)
        }
        (None, None, None, None, Some(value)) => {
            let location = issuer_discovery(context, value, issuer);
            remote(context, &mut table, location)
        }
        (None, None, None, None, None) => {
            let advice = format!("write {SOURCES}; a key itself never stands in a configuration");
            context.report_unseen(&value.place, ProblemKind::Missing, "names no key", &advice);
            None
        }
        (_, _, _, _, _) => {
            let wrong = "names several sources of keys, and there can be one";
            let advice = format!("write {SOURCES}, and no other");
            context.report_unseen(&value.place, ProblemKind::NotAllowed, wrong, &advice);
            None
        }
    };
    table.finish(context);
    let named = secret.or(public_key).or(jwks).or(url).or(discovery);
    let place = named.map_or_else(|| value.place.clone(), |value| value.place);
    draft.map(|keys| Draft { keys, place })
}

impl Draft {
    /// The keys, if all of `algorithms` are such as they can be used with.
    pub(super) fn fitting(
        self,
        context: &mut Context<'_>,
        algorithms: &[(Algorithm, Place)],
    ) -> Option<Keys> {
        let mut all_fit = true;
        for (algorithm, place) in algorithms {
            if let Some((wrong, advice)) = self.misfit(*algorithm) {
                context.report(place, ProblemKind::NotAllowed, &wrong, &advice);
                all_fit = false;
            }
        }
        if let DraftKeys::File(_, set) = &self.keys
            && all_fit
            && !algorithms.iter().any(|(algorithm, _)| set.has_key_for(*algorithm))
        {
            let wrong = "has no key for any of the algorithms";
            let fitting = Algorithm::ALL.into_iter().filter(|algorithm| set.has_key_for(*algorithm));
            let advice = format!("the algorithms of its keys are {}", listed(fitting));
            context.report(&self.place, ProblemKind::NotAllowed, wrong, &advice);
            all_fit = false;
        }
        if !all_fit {
            return None;
        }
        Some(match self.keys {
            DraftKeys::Secret(secret) => Keys::Secret(secret),
            DraftKeys::Public(key) => Keys::Set(Arc::new(KeySet::of(key))),
            DraftKeys::File(path, set) => Keys::File(path, Arc::new(set)),
            DraftKeys::Remote(remote) => Keys::Remote(remote),
        })
    }

    /// What is wrong with `algorithm` for these keys, and what to do.
    fn misfit(&self, algorithm: Algorithm) -> Option<(String, String)> {
        let is_for_secrets = algorithm.key_kind() == KeyKind::Secret;
        match &self.keys {
            DraftKeys::Secret(_) if !is_for_secrets => {
                let fitting = listed(KeyKind::Secret.algorithms());
                Some((
                    "is for public keys, and secret_file names a secret".to_owned(),
                    format!("write {fitting}, or name public keys with public_key_file or jwks_file"),
                ))
            }
            DraftKeys::Secret(secret) if secret.expose().len() < algorithm.secret_bytes_min() => Some((
                format!("needs a secret of at least {} bytes", algorithm.secret_bytes_min()),
                "the one in secret_file is shorter; `openssl rand -hex 32` makes one of 64 bytes".to_owned(),
            )),
            DraftKeys::Public(_) | DraftKeys::File(..) | DraftKeys::Remote(_) if is_for_secrets => Some((
                "is for secrets, and a public key is none: whoever knows it could sign".to_owned(),
                "write the algorithm that the issuer signs by, such as ES256 or RS256, or secret_file"
                    .to_owned(),
            )),
            DraftKeys::Public(key) if !key.is_for(algorithm) => Some((
                format!("is not for the key in public_key_file, which is {}", key.kind().words()),
                format!("write {}", listed(key.kind().algorithms())),
            )),
            DraftKeys::Secret(_) | DraftKeys::Public(_) | DraftKeys::File(..) | DraftKeys::Remote(_) => None,
        }
    }
}

/// `"RS256", "PS256"`.
fn listed(algorithms: impl Iterator<Item = Algorithm>) -> String {
    let names: Vec<String> = algorithms.map(|algorithm| format!("\"{algorithm}\"")).collect();
    names.join(", ")
}

pub(super) fn secret_file(context: &mut Context<'_>, value: &Value<'_>) -> Option<Secret> {
    let advice = format!(
        "write the name of a file of {SECRET_BYTES_MIN} to {SECRET_FILE_BYTES_MAX} bytes, relative to the \
         configuration's folder; `openssl rand -hex 32` makes its content"
    );
    let bytes = file(context, value, SECRET_FILE_BYTES_MAX, &advice)?;
    let secret = Secret::from_file_bytes(&bytes);
    // RFC 7518 §3.2: a key of the size of the hash output or larger.
    if secret.expose().len() < SECRET_BYTES_MIN {
        let wrong = "names a file that is too short for a key, which could be guessed";
        context.report(&value.place, ProblemKind::File, wrong, &advice);
        return None;
    }
    let key = &value.place.key;
    if secret.expose().last().is_some_and(u8::is_ascii_whitespace) {
        context
            .warnings
            .push(format!("{key}: the file ends in white space, which is taken as part of the key"));
    }
    let text = value.text(context)?;
    let path = context.resolve(&text);
    if readable_by_others(&path) {
        context
            .warnings
            .push(format!("{key}: others than its owner may read the file; `chmod 600` keeps it secret"));
    }
    Some(secret)
}

fn public_key_file(context: &mut Context<'_>, value: &Value<'_>) -> Option<VerifyingKey> {
    let advice = "write the name of a file with the issuer's public key in PEM (`-----BEGIN PUBLIC KEY-----`), \
                  relative to the configuration's folder";
    let bytes = file(context, value, PEM_BYTES_MAX, advice)?;
    used(context, value, VerifyingKey::from_pem(&bytes), advice)
}

fn jwks_file(context: &mut Context<'_>, value: &Value<'_>) -> Option<(PathBuf, KeySet)> {
    let advice = "write the name of a file with the issuer's key set (JSON, RFC 7517), relative to the \
                  configuration's folder";
    let bytes = file(context, value, JWKS_BYTES_MAX, advice)?;
    let set = used(context, value, jwks::parse(&bytes), advice)?;
    let text = value.text(context)?;
    Some((context.resolve(&text), set))
}

fn jwks_url(context: &mut Context<'_>, value: &Value<'_>) -> Option<KeyLocation> {
    let text = not_empty(context, value)?;
    match text.parse() {
        Ok(url) => Some(KeyLocation::Url(url)),
        Err(error) => {
            let advice =
                "write the address of the issuer's key set, such as \"https://issuer.example/jwks.json\"";
            // There may be a password in it.
            context.report_unseen(
                &value.place,
                ProblemKind::NotAllowed,
                &UrlError::to_string(&error),
                advice,
            );
            None
        }
    }
}

/// Reads `issuer_discovery = true`: the issuer's own document says where its keys are.
fn issuer_discovery(
    context: &mut Context<'_>,
    value: &Value<'_>,
    issuer: Option<&Expected>,
) -> Option<KeyLocation> {
    if !value.boolean(context)? {
        value.not_allowed(context, "names no key", &format!("write {SOURCES}"));
        return None;
    }
    let found = match issuer? {
        Expected::Any => Err("needs the one issuer to ask, and issuer is \"any\"".to_owned()),
        Expected::Exactly(name) => {
            name.parse().map_err(|error: UrlError| format!("asks the issuer, whose name {error}"))
        }
    };
    match found {
        Ok(issuer) => Some(KeyLocation::Issuer(issuer)),
        Err(wrong) => {
            let advice =
                "write the issuer's address as issuer, exactly as its tokens have it, or jwks_url here";
            context.report(&value.place, ProblemKind::NotAllowed, &wrong, advice);
            None
        }
    }
}

/// Reads what else is said of keys that are fetched.
fn remote(
    context: &mut Context<'_>,
    table: &mut Table<'_>,
    location: Option<KeyLocation>,
) -> Option<DraftKeys> {
    let authorities = table.take("jwks_ca_file");
    let authorities_file = match &authorities {
        None => Some(None),
        Some(value) => authorities_file(context, value).map(Some),
    };
    let refresh_interval = table.deadline(context, &defaults::KEYS_REFRESH_INTERVAL);
    let stale_max_value = table.peek(defaults::KEYS_STALE_MAX.name());
    let stale_max = table.deadline(context, &defaults::KEYS_STALE_MAX);
    if stale_max <= refresh_interval {
        let wrong = "is not longer than refresh_interval: good keys would be too old before they are renewed";
        let advice = "write several times the refresh_interval, so that an issuer may be away for a while";
        let place = stale_max_value.map_or_else(|| table.place().clone(), |value| value.place);
        context.report(&place, ProblemKind::NotAllowed, wrong, advice);
        return None;
    }
    let (location, authorities_file) = (location?, authorities_file?);
    Some(DraftKeys::Remote(RemoteKeys { location, authorities_file, refresh_interval, stale_max }))
}

/// A file of authorities, held against what it must be.
pub(super) fn authorities_file(context: &mut Context<'_>, value: &Value<'_>) -> Option<PathBuf> {
    let text = not_empty(context, value)?;
    let path = context.resolve(&text);
    match Trust::File(path.clone()).check() {
        Ok(()) => Some(path),
        Err(error) => {
            let advice = "write the name of a file with the certificates, in PEM, of the authorities that sign for the \
                          address, relative to the configuration's folder";
            context.report(&value.place, ProblemKind::File, &error.to_string(), advice);
            None
        }
    }
}

/// What a file's content was made into, or a problem that says why nothing.
fn used<T>(
    context: &mut Context<'_>,
    value: &Value<'_>,
    made: Result<T, impl Error>,
    advice: &str,
) -> Option<T> {
    made.map_err(|error| {
        let mut wrong = format!("names a file that cannot be used: {error}");
        if let Some(source) = error.source() {
            wrong.push_str(&format!(": {source}"));
        }
        context.report(&value.place, ProblemKind::File, &wrong, advice);
    })
    .ok()
}

/// The bytes of the file that `value` names, at most `bytes_max`; they are wiped when they are dropped.
fn file(
    context: &mut Context<'_>,
    value: &Value<'_>,
    bytes_max: usize,
    advice: &str,
) -> Option<Zeroizing<Vec<u8>>> {
    let text = not_empty(context, value)?;
    let path = context.resolve(&text);
    match read_file(&path, bytes_max) {
        Ok(bytes) => Some(bytes),
        Err(wrong) => {
            if could_be_a_key(&text, &path) {
                context.report_unseen(&value.place, ProblemKind::File, &wrong, advice);
            } else {
                context.report(&value.place, ProblemKind::File, &wrong, advice);
            }
            None
        }
    }
}

/// Whether `text` looks less like a file's name than like a key that was written in its place.
fn could_be_a_key(text: &str, path: &Path) -> bool {
    let is_key_in_text = text.contains("-----BEGIN") || text.contains('{');
    let is_long = text.len() >= SECRET_BYTES_MIN && !text.starts_with('/') && !text.contains('.');
    is_key_in_text || (is_long && !path.exists())
}

/// The content of the file at `path`, or what is wrong with it.
fn read_file(path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, String> {
    let unreadable = |error: std::io::Error| format!("names a file that cannot be read ({})", error.kind());
    // What is no plain file could make the reader wait forever.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err("names what is no plain file".to_owned());
    }
    // Room for one byte more, and for the reader to see that there is no other; all of it from the start: a vector that
    // grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_max + 64));
    let file = File::open(path).map_err(unreadable)?;
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > bytes_max {
        return Err("names a file that is too long for a key".to_owned());
    }
    Ok(bytes)
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

/// What may be written, for messages.
const SOURCES: &str = "one of { secret_file = \"…\" }, { public_key_file = \"…\" }, { jwks_file = \"…\" }, { jwks_url = \"…\" } \
                       and { issuer_discovery = true }";
/// The least bytes of an HMAC key: 256 bits.
const SECRET_BYTES_MIN: usize = 32;
/// The most bytes of a file with a secret.
const SECRET_FILE_BYTES_MAX: usize = 4096;
