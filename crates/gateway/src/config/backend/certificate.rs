//! Reads how `wss:` addresses are spoken to: the certificate that the gateway shows, and the name that theirs must be for.

use rustls::pki_types::ServerName;

use crate::clock::Clock;
use crate::config::defaults;
use crate::config::problem::ProblemKind;
use crate::config::read::{Context, Table, Value};
use crate::config::tls::{CERTIFICATE_ADVICE, KEY_ADVICE, file, warn_of_age, warn_of_readers};
use crate::tls::{CertificateFiles, Identity, WhichFile};

/// The certificate and the name in `table`, the backend's; neither stands there where no address `is_secure`.
pub(super) fn certificate(
    context: &mut Context<'_>,
    table: &mut Table<'_>,
    is_secure: bool,
) -> Option<(Option<CertificateFiles>, Option<String>)> {
    let certificate = table.take(defaults::UPSTREAM_CERTIFICATE_FILE.name());
    let key = table.take(defaults::UPSTREAM_PRIVATE_KEY_FILE.name());
    let name = table.take(defaults::UPSTREAM_SERVER_NAME.name());
    let mut is_needed = true;
    for value in [&certificate, &key, &name].into_iter().flatten().filter(|_| !is_secure) {
        let advice = "write wss:// where the application speaks TLS, or leave it out";
        context.report(
            &value.place,
            ProblemKind::NotAllowed,
            "is for wss:// addresses, and there is none",
            advice,
        );
        is_needed = false;
    }
    if !is_needed {
        return None;
    }
    let certificate = match (certificate, key) {
        (None, None) => Some(None),
        (Some(certificate), Some(key)) => pair(context, table, &certificate, &key).map(Some),
        (Some(alone), None) => missing(context, &alone, "needs private_key_file beside it"),
        (None, Some(alone)) => missing(context, &alone, "needs certificate_file beside it"),
    };
    let server_name = match name {
        None => Some(None),
        Some(value) => server_name(context, &value).map(Some),
    };
    certificate.zip(server_name)
}

fn missing<T>(context: &mut Context<'_>, value: &Value<'_>, wrong: &str) -> Option<T> {
    context.report_unseen(&value.place, ProblemKind::Missing, wrong, "name both files, or neither");
    None
}

/// The pair, held against what it must be.
fn pair(
    context: &mut Context<'_>,
    table: &Table<'_>,
    certificate: &Value<'_>,
    key: &Value<'_>,
) -> Option<CertificateFiles> {
    let (certificate_file, private_key_file) = (file(context, Some(certificate)), file(context, Some(key)));
    let files = CertificateFiles { certificate_file: certificate_file?, private_key_file: private_key_file? };
    let now = Clock::system().unix_now();
    match Identity::read(&files, 0, now) {
        Ok(identity) => {
            warn_of_age(context, table, &files, &identity, now);
            warn_of_readers(context, table, &files);
            Some(files)
        }
        Err(error) => {
            let (value, advice) = match error.which {
                WhichFile::PrivateKey(_) => (key, KEY_ADVICE),
                WhichFile::Certificate(_) | WhichFile::ClientAuthorities => (certificate, CERTIFICATE_ADVICE),
            };
            context.report(
                &value.place,
                ProblemKind::File,
                &format!("names a file that {}", error.wrong),
                advice,
            );
            None
        }
    }
}

fn server_name(context: &mut Context<'_>, value: &Value<'_>) -> Option<String> {
    let name = value.text(context)?;
    if ServerName::try_from(name.as_str()).is_ok() {
        return Some(name);
    }
    value.not_allowed(
        context,
        "is no name of a host",
        "write a DNS name such as \"app.internal\", or an IP address",
    );
    None
}
