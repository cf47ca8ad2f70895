//! What certificates say: which hosts one is for, when it ends, and who a client's is about.
//!
//! Certificates of clients are strangers' bytes that an authority of ours has signed: what is taken from them is bounded,
//! and has no character that could steer a log or a terminal.

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use crate::clock::UnixTime;
use crate::principal::ClientCertificate;

/// What a client's certificate says, which has been verified; `None` where it cannot be read.
pub(super) fn client(certificate: &CertificateDer<'_>) -> Option<ClientCertificate> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let subject = parsed.subject().iter_common_name().next();
    let mut this = ClientCertificate {
        subject: subject.and_then(|name| name.as_str().ok()).and_then(clean),
        dns_names: Vec::new(),
        emails: Vec::new(),
        uris: Vec::new(),
        begins_at: unix(parsed.validity().not_before),
        ends_at: unix(parsed.validity().not_after),
    };
    for name in alternative_names(&parsed) {
        let (list, text) = match name {
            GeneralName::DNSName(text) => (&mut this.dns_names, text),
            GeneralName::RFC822Name(text) => (&mut this.emails, text),
            GeneralName::URI(text) => (&mut this.uris, text),
            _ => continue,
        };
        if list.len() < NAMES_MAX {
            list.extend(clean(text));
        }
    }
    Some(this)
}

/// What a server's certificate says of itself.
pub(super) struct Facts {
    pub(super) hosts: HostNames,
    pub(super) begins_at: UnixTime,
    pub(super) ends_at: UnixTime,
}

pub(super) fn facts(certificate: &CertificateDer<'_>) -> Option<Facts> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = alternative_names(&parsed).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    Some(Facts {
        hosts: HostNames(names.collect()),
        begins_at: unix(parsed.validity().not_before),
        ends_at: unix(parsed.validity().not_after),
    })
}

/// The hosts that a certificate is for, in lower case; some begin with `*.`.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostNames(Vec<String>);

impl HostNames {
    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `host`, in lower case, is one of them. RFC 6125 §6.4.3: `*` stands for one whole label, the first.
    pub(crate) fn has(&self, host: &str) -> bool {
        self.0.iter().any(|name| match name.strip_prefix("*.") {
            None => name == host,
            Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest == parent),
        })
    }
}

fn alternative_names<'a>(parsed: &'a X509Certificate<'_>) -> impl Iterator<Item = &'a GeneralName<'a>> {
    let extension = parsed.subject_alternative_name().ok().flatten();
    extension.into_iter().flat_map(|extension| extension.value.general_names.iter())
}

/// A name that may stand in logs and be a subject; `None` for one that may not.
fn clean(name: &str) -> Option<String> {
    let is_fit = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains(char::is_control);
    is_fit.then(|| name.to_owned())
}

/// A moment before 1970 is taken for its first.
fn unix(time: ASN1Time) -> UnixTime {
    UnixTime::from_seconds(u64::try_from(time.timestamp()).unwrap_or(0))
}

/// The most names of one kind that are taken from a client's certificate, and the most bytes of one.
const NAMES_MAX: usize = 16;
const NAME_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(params: &CertificateParams) -> CertificateDer<'static> {
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let names = HostNames(vec!["example.com".to_owned(), "*.example.com".to_owned()]);
        for (host, is_named) in [
            ("example.com", true),
            ("chat.example.com", true),
            ("a.chat.example.com", false),
            ("example.org", false),
            (".example.com", true),
            ("com", false),
        ] {
            assert_eq!(names.has(host), is_named, "{host}");
        }
    }

    #[test]
    fn a_client_is_read_with_its_names() {
        let mut params = CertificateParams::new(vec!["device.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Alice");
        params.subject_alt_names.push(SanType::Rfc822Name("alice@example.com".try_into().unwrap()));
        params.subject_alt_names.push(SanType::URI("spiffe://example/alice".try_into().unwrap()));
        let read = client(&certificate(&params)).unwrap();
        assert_eq!(read.subject.as_deref(), Some("Alice"));
        assert_eq!(read.dns_names, ["device.example"]);
        assert_eq!(read.emails, ["alice@example.com"]);
        assert_eq!(read.uris, ["spiffe://example/alice"]);
        assert!(read.begins_at < read.ends_at);
    }

    #[test]
    fn names_that_are_long_many_or_steer_terminals_are_left_out() {
        let many = (0..100).map(|number| format!("host{number}.example")).collect::<Vec<_>>();
        let mut params = CertificateParams::new(many).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Al\u{1b}[2Jice");
        params.subject_alt_names.push(SanType::URI(format!("u:{}", "a".repeat(256)).try_into().unwrap()));
        let read = client(&certificate(&params)).unwrap();
        assert_eq!((read.subject, read.dns_names.len(), read.uris.len()), (None, 16, 0));
    }

    #[test]
    fn what_is_no_certificate_is_not_read() {
        for bytes in [&b""[..], b"\x30", b"\x30\x82\xff\xff", &[0x30; 1000]] {
            assert_eq!(client(&CertificateDer::from(bytes)), None);
        }
    }
}
