//! Reads a listener's `tls`: `"none"`, or the files of its certificates, which are looked into.
//!
//! Never prints a key; a problem with one names its file. The server reads the files again when it binds.

use std::path::PathBuf;

use toml::de::DeValue;

use super::defaults;
use super::problem::ProblemKind;
use super::read::{Context, Table, Value};
use crate::clock::{Clock, UnixTime};
use crate::tls::{CertificateFiles, ClientAuthorities, ClientCertificates, Config, Identity, WhichFile};

/// Reads `tls`; `Some(None)` is `"none"`, and `None` something that cannot be used.
pub(super) fn tls(context: &mut Context<'_>, value: &Value<'_>) -> Option<Option<Config>> {
    if !matches!(value.value, DeValue::Table(_)) {
        return value.choice(context, &[("none", ())], &[]).map(|()| None);
    }
    let mut table = value.table(context)?;
    let now = Clock::system().unix_now();
    let certificates = certificates(context, &mut table, value, now);
    let clients = client_certificates(context, &mut table);
    table.finish(context);
    Some(Some(Config { certificates: certificates?, clients: clients? }))
}

/// Reads `certificate_file` and `private_key_file`, or a list of such pairs in `certificates`.
fn certificates(
    context: &mut Context<'_>,
    table: &mut Table<'_>,
    value: &Value<'_>,
    now: UnixTime,
) -> Option<Vec<CertificateFiles>> {
    let has_one = table.contains("certificate_file") || table.contains("private_key_file");
    match (table.take("certificates"), has_one) {
        (None, true) => certificate(context, table, 0, now).map(|files| vec![files]),
        (None, false) => {
            // Marked as asked for, so that a slip of the pen in one of them gets a suggestion.
            let _ = (table.take("certificate_file"), table.take("private_key_file"));
            context.report_unseen(&value.place, ProblemKind::Missing, "names no certificate", FILES_ADVICE);
            None
        }
        (Some(list), true) => {
            let _ = (table.take("certificate_file"), table.take("private_key_file"));
            let advice = "put the other certificate into the list too";
            context.report_unseen(
                &list.place,
                ProblemKind::Duplicate,
                "stands beside certificate_file",
                advice,
            );
            None
        }
        (Some(list), false) => {
            let elements = list
                .list(context, "a list of tables { certificate_file = \"…\", private_key_file = \"…\" }")?;
            if elements.len() > CERTIFICATES_MAX {
                let advice = "write at most 100; a certificate may be for many hosts";
                context.report_unseen(
                    &list.place,
                    ProblemKind::NotAllowed,
                    "has too many certificates",
                    advice,
                );
                return None;
            }
            let read = elements.iter().enumerate().map(|(place, element)| {
                let mut table = element.table(context)?;
                let files = certificate(context, &mut table, place, now);
                table.finish(context);
                files
            });
            // All of them, so that each one's problems are told.
            read.collect::<Vec<_>>().into_iter().collect()
        }
    }
}

fn certificate(
    context: &mut Context<'_>,
    table: &mut Table<'_>,
    place: usize,
    now: UnixTime,
) -> Option<CertificateFiles> {
    let certificate = table.required(context, "certificate_file");
    let key = table.required(context, "private_key_file");
    let certificate_file = file(context, certificate.as_ref());
    let private_key_file = file(context, key.as_ref());
    let files = CertificateFiles { certificate_file: certificate_file?, private_key_file: private_key_file? };
    match Identity::read(&files, place, now) {
        Ok(identity) => {
            warn(context, table, &files, &identity, now);
            Some(files)
        }
        Err(error) => {
            let (value, advice) = match error.which {
                WhichFile::PrivateKey(_) => (key, KEY_ADVICE),
                WhichFile::Certificate(_) | WhichFile::ClientAuthorities => (certificate, CERTIFICATE_ADVICE),
            };
            let wrong = format!("names a file that {}", error.wrong);
            context.report(&value?.place, ProblemKind::File, &wrong, advice);
            None
        }
    }
}

/// Warns of what works and is probably not meant.
fn warn(
    context: &mut Context<'_>,
    table: &Table<'_>,
    files: &CertificateFiles,
    identity: &Identity,
    now: UnixTime,
) {
    warn_of_age(context, table, files, identity, now);
    if identity.hosts.is_empty() {
        let (key, file) = (&table.place.key, files.certificate_file.display());
        context.warnings.push(format!(
            "{key}: the certificate in {file} names no host (subjectAltName); clients that connect by name refuse it"
        ));
    }
    warn_of_readers(context, table, files);
}

/// Warns of a certificate that ends soon.
pub(super) fn warn_of_age(
    context: &mut Context<'_>,
    table: &Table<'_>,
    files: &CertificateFiles,
    identity: &Identity,
    now: UnixTime,
) {
    let key = &table.place.key;
    let days = identity.expires_at.since(now).as_secs() / DAY_SECONDS;
    if days < EXPIRY_WARNING_DAYS {
        let file = files.certificate_file.display();
        context.warnings.push(format!("{key}: the certificate in {file} expires on {}", identity.expires_at));
    }
}

/// Warns of a key that others may read.
pub(super) fn warn_of_readers(context: &mut Context<'_>, table: &Table<'_>, files: &CertificateFiles) {
    let key = &table.place.key;
    if super::keys::readable_by_others(&files.private_key_file) {
        context.warnings.push(format!(
            "{key}.private_key_file: others than its owner may read the file; `chmod 600` keeps it secret"
        ));
    }
}

/// Reads `client_ca_file` and `client_auth`.
fn client_certificates(context: &mut Context<'_>, table: &mut Table<'_>) -> Option<ClientCertificates> {
    let authorities = table.take(defaults::CLIENT_CA_FILE.name());
    let is_optional = match table.take(defaults::CLIENT_AUTH.name()) {
        None => false,
        Some(value) => {
            if authorities.is_none() {
                let advice = "name the authorities in client_ca_file, or leave this out";
                context.report(&value.place, ProblemKind::Missing, "needs client_ca_file", advice);
            }
            value.choice(context, &[("required", false), ("optional", true)], &[])?
        }
    };
    let Some(value) = authorities else { return Some(ClientCertificates::NotAsked) };
    let path = file(context, Some(&value))?;
    if let Err(error) = ClientAuthorities::read(&path, is_optional) {
        let wrong = format!("names a file that {}", error.wrong);
        let advice = "write the name of a PEM file with the certificates that sign those of clients";
        context.report(&value.place, ProblemKind::File, &wrong, advice);
        return None;
    }
    Some(if is_optional { ClientCertificates::Optional(path) } else { ClientCertificates::Required(path) })
}

/// The path that is written there. What looks like a key that was pasted in a path's place is not repeated.
pub(super) fn file(context: &mut Context<'_>, value: Option<&Value<'_>>) -> Option<PathBuf> {
    let value = value?;
    let text = value.text(context)?;
    if text.is_empty() {
        value.not_allowed(context, "is empty", "write the name of a file");
        return None;
    }
    if text.contains("-----BEGIN") || text.contains('\n') {
        let wrong = "is what belongs into a file";
        context.report_unseen(&value.place, ProblemKind::NotAllowed, wrong, "write the name of that file");
        return None;
    }
    Some(context.resolve(&text))
}

const FILES_ADVICE: &str = "write { certificate_file = \"…\", private_key_file = \"…\" }";
pub(super) const CERTIFICATE_ADVICE: &str = "write the name of a PEM file with the certificate and those that lead to its root, relative to \
     the configuration's folder";
pub(super) const KEY_ADVICE: &str = "write the name of the PEM file with that certificate's private key, relative to the configuration's folder";
/// The most certificates of one listener: each client's is looked for among them.
const CERTIFICATES_MAX: usize = 100;
const DAY_SECONDS: u64 = 24 * 60 * 60;
/// With fewer days left a check warns. Certificates that renew themselves do so with a third of 90 days, or of 45, left.
const EXPIRY_WARNING_DAYS: u64 = 14;
