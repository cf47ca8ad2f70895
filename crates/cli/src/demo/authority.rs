//! The demo's own certificate authority, and the certificate that it signs for this machine.
//!
//! Both are made where they are missing and kept for the next start, so that who has told a browser of the authority need
//! not do it again; both are made anew before they end. The authority can vouch for this machine's own names alone, so that
//! nobody who gets at its key can pose as another site to whoever trusts it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use drawgate::clock::{Clock, UnixTime};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use x509_parser::pem::parse_x509_pem;
use zeroize::Zeroizing;

use crate::Failure;

/// Makes what is missing or near its end in `folder`; the authority's certificate.
pub(super) fn ensure(folder: &Path) -> Result<PathBuf, Failure> {
    let now = Clock::system().unix_now();
    let authority_file = folder.join(AUTHORITY);
    let kept = Zeroizing::new(fs::read_to_string(folder.join(AUTHORITY_KEY)).unwrap_or_default());
    let lasts =
        |file: &Path, margin: Duration| ends_at(file).is_some_and(|ends_at| ends_at > now.plus(margin));
    let key = KeyPair::from_pem(&kept).ok().filter(|_| lasts(&authority_file, AUTHORITY_MARGIN));
    let is_new = key.is_none();
    let key = match key {
        Some(key) => key,
        None => new_authority(folder, now)?,
    };
    let has_certificate = lasts(&folder.join(CERTIFICATE), CERTIFICATE_MARGIN) && folder.join(KEY).is_file();
    if is_new || !has_certificate {
        let issuer = Issuer::new(authority(now)?, key);
        let key = KeyPair::generate().map_err(|error| unmade(&error))?;
        let certificate = server(now)?.signed_by(&key, &issuer).map_err(|error| unmade(&error))?;
        write(&folder.join(KEY), &Zeroizing::new(key.serialize_pem()), SECRET)?;
        write(&folder.join(CERTIFICATE), &certificate.pem(), PUBLIC)?;
    }
    Ok(authority_file)
}

fn new_authority(folder: &Path, now: UnixTime) -> Result<KeyPair, Failure> {
    let key = KeyPair::generate().map_err(|error| unmade(&error))?;
    let certificate = authority(now)?.self_signed(&key).map_err(|error| unmade(&error))?;
    write(&folder.join(AUTHORITY_KEY), &Zeroizing::new(key.serialize_pem()), SECRET)?;
    write(&folder.join(AUTHORITY), &certificate.pem(), PUBLIC)?;
    Ok(key)
}

/// RFC 5280 §4.2.1.10: what it may sign for.
fn authority(now: UnixTime) -> Result<CertificateParams, Failure> {
    let mut params = CertificateParams::new(Vec::new()).map_err(|error| unmade(&error))?;
    params.distinguished_name.push(DnType::CommonName, "Drawgate demo authority, this machine only");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::V4([127, 0, 0, 0], [255, 0, 0, 0])),
            GeneralSubtree::IpAddress(CidrSubnet::V6(std::net::Ipv6Addr::LOCALHOST.octets(), [255; 16])),
        ],
        excluded_subtrees: Vec::new(),
    });
    lasting(params, now, AUTHORITY_LIFETIME)
}

fn server(now: UnixTime) -> Result<CertificateParams, Failure> {
    let hosts = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut params = CertificateParams::new(hosts).map_err(|error| unmade(&error))?;
    params.distinguished_name.push(DnType::CommonName, "Drawgate demo");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    lasting(params, now, CERTIFICATE_LIFETIME)
}

/// From an hour ago, since clocks differ.
fn lasting(
    mut params: CertificateParams,
    now: UnixTime,
    lifetime: Duration,
) -> Result<CertificateParams, Failure> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since_epoch = now.since(UnixTime::from_seconds(0));
    let begin = since_epoch.saturating_sub(Duration::from_hours(1));
    let far = || Failure("this machine's clock is not right: set it, and start again".to_owned());
    let at = |offset: Duration| {
        offset.try_into().ok().and_then(|offset| epoch.checked_add(offset)).ok_or_else(far)
    };
    params.not_before = at(begin)?;
    params.not_after = at(since_epoch.saturating_add(lifetime))?;
    Ok(params)
}

/// When the certificate in `file` ends; `None` where there is none.
fn ends_at(file: &Path) -> Option<UnixTime> {
    let bytes = fs::read(file).ok()?;
    let (_, pem) = parse_x509_pem(&bytes).ok()?;
    let seconds = pem.parse_x509().ok()?.validity().not_after.timestamp();
    u64::try_from(seconds).ok().map(UnixTime::from_seconds)
}

/// Puts `text` into `file` in one step, for those whom `mode` lets read it.
fn write(file: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let draft = file.with_extension("draft");
    let written = || -> io::Result<()> {
        // One that a start before left behind may have another mode.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
        opened.write_all(text.as_bytes())?;
        opened.sync_all()?;
        fs::rename(&draft, file)
    };
    written().map_err(|error| {
        Failure(format!(
            "{} cannot be written: {error}; choose another folder with --data DIR",
            file.display()
        ))
    })
}

fn unmade(error: &rcgen::Error) -> Failure {
    Failure(format!("a certificate cannot be made: {error}"))
}

const AUTHORITY: &str = "ca.pem";
const AUTHORITY_KEY: &str = "ca.key";
const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";
const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;
/// Some years, since it takes a person to make browsers trust the next one.
const AUTHORITY_LIFETIME: Duration = Duration::from_hours(24 * 3650);
/// While it lasts longer than any certificate that it still signs.
const AUTHORITY_MARGIN: Duration = Duration::from_hours(24 * 100);
/// Shorter than any client's limit.
const CERTIFICATE_LIFETIME: Duration = Duration::from_hours(24 * 90);
const CERTIFICATE_MARGIN: Duration = Duration::from_hours(24 * 30);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn what_was_made_is_kept_and_keys_are_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let read = || {
            [AUTHORITY, AUTHORITY_KEY, CERTIFICATE, KEY]
                .map(|name| fs::read(folder.path().join(name)).unwrap())
        };
        ensure(folder.path()).unwrap();
        let made = read();
        ensure(folder.path()).unwrap();
        assert!(read() == made, "a second start makes nothing anew");
        for name in [AUTHORITY_KEY, KEY] {
            let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "no drafts are left");
    }

    #[test]
    fn what_is_missing_or_near_its_end_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
        ensure(folder.path()).unwrap();
        let (authority_before, certificate) = (read(AUTHORITY), read(CERTIFICATE));
        let now = Clock::system().unix_now();
        let end = ends_at(&folder.path().join(CERTIFICATE)).unwrap();
        assert_eq!(end.since(now).as_secs() / DAY.as_secs(), 89);

        // The certificate that has 29 days left, with the same authority.
        let key = KeyPair::from_pem(&fs::read_to_string(folder.path().join(AUTHORITY_KEY)).unwrap()).unwrap();
        let old = lasting(server(now).unwrap(), now, DAY * 29).unwrap();
        let issuer = Issuer::new(authority(now).unwrap(), key);
        let old = old.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().pem();
        fs::write(folder.path().join(CERTIFICATE), &old).unwrap();
        ensure(folder.path()).unwrap();
        assert!(read(CERTIFICATE) != old.as_bytes() && read(CERTIFICATE) != certificate);
        assert!(read(AUTHORITY) == authority_before);

        // An authority that is gone takes the certificate with it.
        let certificate = read(CERTIFICATE);
        fs::remove_file(folder.path().join(AUTHORITY_KEY)).unwrap();
        ensure(folder.path()).unwrap();
        assert!(read(AUTHORITY) != authority_before && read(CERTIFICATE) != certificate);
    }
}
