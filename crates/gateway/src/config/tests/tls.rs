//! What is wrong with certificates and keys, found before anything listens.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::OnceLock;

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};

use super::super::*;
use super::{LEAST, no_environment};

/// A certificate and its key, in PEM.
pub(super) struct Pair {
    certificate: String,
    key: String,
}

/// One that is good; made once.
pub(super) fn pair() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| signed(&KeyPair::generate().unwrap(), (2020, 2999)))
}

/// One from the beginning of one year to that of another.
fn signed(key: &KeyPair, years: (i32, i32)) -> Pair {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    Pair { certificate: params.self_signed(key).unwrap().pem(), key: key.serialize_pem() }
}

pub(super) fn write_pair(folder: &Path, pair: &Pair) {
    fs::write(folder.join("cert.pem"), &pair.certificate).unwrap();
    write_key(folder, &pair.key);
}

fn write_key(folder: &Path, key: &str) {
    fs::write(folder.join("key.pem"), key).unwrap();
    fs::set_permissions(folder.join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
}

/// `text` with its first listener encrypted.
pub(super) fn encrypted(text: &str) -> String {
    with_tls(text, "certificate_file = \"cert.pem\", private_key_file = \"key.pem\"")
}

fn with_tls(text: &str, tls: &str) -> String {
    text.replacen("tls = \"none\"", &format!("tls = {{ {tls} }}"), 1)
}

fn read(text: &str, folder: &Path) -> Result<Config, Problems> {
    Config::from_toml(text, folder, &no_environment)
}

/// The only problem with [`LEAST`] encrypted, in `folder`.
#[track_caller]
fn problem(folder: &Path, tls: &str) -> Problem {
    super::only(read(&with_tls(LEAST, tls), folder))
}

const FILES: &str = "certificate_file = \"cert.pem\", private_key_file = \"key.pem\"";

#[test]
fn good_files_are_taken_beyond_loopback_too_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    write_pair(folder.path(), pair());
    let text = encrypted(LEAST).replace("127.0.0.1:8080", "0.0.0.0:8443");
    assert_eq!(read(&text, folder.path()).unwrap().warnings, [""; 0]);
    let plain = read(&LEAST.replace("127.0.0.1:8080", "0.0.0.0:8443"), folder.path()).unwrap();
    assert!(plain.warnings[0].contains("without TLS"), "{:?}", plain.warnings);
}

#[test]
fn what_is_wrong_with_a_file_is_said_at_its_key() {
    let other = KeyPair::generate().unwrap();
    let expired = signed(&other, (2020, 2021));
    let future = signed(&other, (2998, 2999));
    let encrypted_key = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let cut = pair().certificate.replace("-----END CERTIFICATE-----", "");
    let (good, good_key) = (pair().certificate.as_str(), pair().key.as_str());
    for (certificate, key, at, wrong) in [
        (good, "", "private_key_file", "is empty"),
        (good, "nothing", "private_key_file", "no private key in PEM"),
        (good, good, "private_key_file", "no private key in PEM"),
        (good, encrypted_key, "private_key_file", "encrypted with a pass phrase"),
        (good, &*other.serialize_pem(), "private_key_file", "is not the key of the certificate"),
        ("", good_key, "certificate_file", "is empty"),
        ("nothing", good_key, "certificate_file", "no certificate in PEM"),
        (good_key, good_key, "certificate_file", "no certificate in PEM"),
        (rubbish, good_key, "certificate_file", "cannot be read"),
        (&cut, good_key, "certificate_file", "is no proper PEM"),
        (&expired.certificate, &expired.key, "certificate_file", "has expired, on 2021-01-01T00:00:00Z"),
        (&future.certificate, &future.key, "certificate_file", "is not valid before 2998-01-01T00:00:00Z"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cert.pem"), certificate).unwrap();
        write_key(folder.path(), key);
        let problem = problem(folder.path(), FILES);
        assert_eq!(
            (problem.kind, &*problem.key),
            (ProblemKind::File, &*format!("listeners.public.tls.{at}"))
        );
        assert!(problem.wrong.contains(wrong), "{wrong}: {problem}");
        assert!(!problem.to_string().contains(good_key.lines().nth(1).unwrap()), "{problem}");
    }
}

#[test]
fn tables_that_name_no_certificate_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_pair(folder.path(), pair());
    let pasted = pair().key.lines().nth(1).unwrap().to_owned();
    let (list, unknown) = (format!("certificates = [{{ {FILES} }}]"), format!("{FILES}, ciphers = \"ALL\""));
    for (tls, kind, at) in [
        ("", ProblemKind::Missing, "tls"),
        ("certificates = []", ProblemKind::NotAllowed, "tls.certificates"),
        ("certificates = \"cert.pem\"", ProblemKind::WrongType, "tls.certificates"),
        ("certificates = [\"cert.pem\"]", ProblemKind::WrongType, "tls.certificates[0]"),
        ("certificate_file = \"cert.pem\"", ProblemKind::Missing, "tls.private_key_file"),
        (&format!("{list}, {FILES}"), ProblemKind::Duplicate, "tls.certificates"),
        (&unknown, ProblemKind::UnknownKey, "tls.ciphers"),
        (&format!("{FILES}, client_auth = \"required\""), ProblemKind::Missing, "tls.client_auth"),
        (&format!("{FILES}, client_ca_file = \"none.pem\""), ProblemKind::File, "tls.client_ca_file"),
        (&format!("{FILES}, client_ca_file = \"key.pem\""), ProblemKind::File, "tls.client_ca_file"),
        (
            "certificate_file = \"cert.pem\", private_key_file = \"\"",
            ProblemKind::NotAllowed,
            "tls.private_key_file",
        ),
        (
            &format!(
                "certificate_file = \"cert.pem\", private_key_file = \"-----BEGIN PRIVATE KEY-----\\n{pasted}\""
            ),
            ProblemKind::NotAllowed,
            "tls.private_key_file",
        ),
    ] {
        let problem = problem(folder.path(), tls);
        assert_eq!((problem.kind, &*problem.key), (kind, &*format!("listeners.public.{at}")), "{tls}");
        assert!(!problem.to_string().contains(&pasted), "{problem}");
    }
    assert!(read(&with_tls(LEAST, &list), folder.path()).is_ok());
}

#[test]
fn what_works_and_is_probably_not_meant_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let soon = crate::clock::Clock::system().unix_now().seconds() + 5 * 86_400;
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(soon);
    write_pair(
        folder.path(),
        &Pair { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() },
    );
    fs::set_permissions(folder.path().join("key.pem"), fs::Permissions::from_mode(0o640)).unwrap();
    let warnings = read(&encrypted(LEAST), folder.path()).unwrap().warnings;
    for (warning, part) in warnings.iter().zip(["expires on 20", "names no host", "chmod 600"]) {
        assert!(warning.contains(part), "{part}: {warning}");
    }
    assert_eq!(warnings.len(), 3, "{warnings:?}");
}

#[test]
fn a_route_for_certificates_needs_a_listener_that_asks_for_them() {
    let folder = tempfile::tempdir().unwrap();
    write_pair(folder.path(), pair());
    let auth = "[auth.devices]\ncredentials = [{ client_certificate = \"san_uri\" }]";
    let text = format!("{}\n{auth}", LEAST.replace("auth = \"none\"", "auth = \"devices\""));
    let asking = with_tls(&text, &format!("{FILES}, client_ca_file = \"cert.pem\""));
    let config = read(&asking, folder.path()).unwrap();
    assert!(!config.auth["devices"].takes_tokens());
    for silent in [text.clone(), encrypted(&text)] {
        let problem = super::only(read(&silent, folder.path()));
        assert_eq!((problem.kind, &*problem.key), (ProblemKind::NotAllowed, "routes.chat.auth"), "{problem}");
    }
    let unknown = asking.replace("san_uri", "cn");
    assert_eq!(super::only(read(&unknown, folder.path())).kind, ProblemKind::NotAllowed);
    let token = asking.replace("[{ client", "[\"first_message\", { client");
    assert_eq!(read(&token, folder.path()).unwrap_err().len(), 4, "a token's settings are missing");
}

#[test]
fn u12_what_an_application_is_shown_is_held_against_what_it_must_be() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_pair(folder, pair());
    fs::write(folder.join("other.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    fs::write(folder.join("old.pem"), signed(&KeyPair::generate().unwrap(), (2019, 2020)).certificate)
        .unwrap();
    let with = |url: &str, settings: &str| {
        let backend = format!("backend = {{ urls = [\"{url}\"], {settings} }}");
        read(&LEAST.replace("backend = \"echo\"", &backend), folder)
    };
    let both =
        "certificate_file = \"cert.pem\", private_key_file = \"key.pem\", server_name = \"app.internal\"";
    let config = with("wss://127.0.0.1", both).unwrap_or_else(|problems| panic!("{problems}"));
    let BackendConfig::Upstream(upstream) = &config.routes[0].backend else { panic!("{config:?}") };
    assert_eq!(upstream.server_name.as_deref(), Some("app.internal"));
    assert_eq!(upstream.certificate.as_ref().unwrap().private_key_file, folder.join("key.pem"));
    for (settings, key, told) in [
        ("certificate_file = \"cert.pem\"", "certificate_file", "private_key_file"),
        ("private_key_file = \"key.pem\"", "private_key_file", "certificate_file"),
        (
            "certificate_file = \"none.pem\", private_key_file = \"key.pem\"",
            "certificate_file",
            "cannot be read",
        ),
        ("certificate_file = \"old.pem\", private_key_file = \"key.pem\"", "certificate_file", "expired"),
        (
            "certificate_file = \"cert.pem\", private_key_file = \"other.key\"",
            "private_key_file",
            "not the key",
        ),
        (
            "certificate_file = \"key.pem\", private_key_file = \"key.pem\"",
            "certificate_file",
            "no certificate",
        ),
        ("server_name = \"a b\"", "server_name", "no name"),
        ("server_name = \"\"", "server_name", "no name"),
    ] {
        let problem = super::only(with("wss://127.0.0.1", settings));
        assert_eq!(problem.key, format!("routes.chat.backend.{key}"), "{problem}");
        assert!(problem.wrong.contains(told), "{problem}");
        assert!(!problem.to_string().contains("PRIVATE KEY-----\n"), "{problem}");
    }
    let problems = with("ws://127.0.0.1", both).unwrap_err();
    assert!(
        problems.len() == 3 && problems.iter().all(|problem| problem.wrong.contains("wss://")),
        "{problems}"
    );
}
