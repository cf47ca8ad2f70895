//! A client's certificate as a credential: the name in it that the configuration asks for is the subject.
//!
//! The certificate has been verified in the TLS handshake, against the authorities of the listener; here it is only read.
//! Comes after TLS and beside the credentials of the request. Never logs, waits or reads time.

use serde_json::{Map, Value, json};

use super::CredentialSource;
use crate::clock::UnixTime;
use crate::principal::{ClientCertificate, Principal};

/// Which name of a certificate says who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// The common name of its subject.
    Subject,
    /// The first `dNSName` of its subjectAltName.
    SanDns,
    /// The first `rfc822Name`.
    SanEmail,
    /// The first `uniformResourceIdentifier`, such as a SPIFFE ID.
    SanUri,
}

/// Why a certificate is no credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It has no such name, or one that cannot be a subject.
    #[error("the client's certificate has no {} that can be a subject", .0.words())]
    NameMissing(Name),
    /// It has ended since the handshake.
    #[error("the client's certificate has expired")]
    Expired,
}

impl Name {
    const fn words(self) -> &'static str {
        match self {
            Self::Subject => "common name",
            Self::SanDns => "DNS name",
            Self::SanEmail => "e-mail address",
            Self::SanUri => "URI",
        }
    }

    fn of(self, certificate: &ClientCertificate) -> Option<&String> {
        match self {
            Self::Subject => certificate.subject.as_ref(),
            Self::SanDns => certificate.dns_names.first(),
            Self::SanEmail => certificate.emails.first(),
            Self::SanUri => certificate.uris.first(),
        }
    }
}

/// Who speaks, according to the certificate that the client showed; `None` where it showed none, or where certificates are
/// no credential here.
///
/// # Errors
/// When it showed one that says nothing of what the first such source asks for.
pub fn principal(
    shown: Option<&ClientCertificate>,
    sources: &[CredentialSource],
    now: UnixTime,
) -> Result<Option<Principal>, CertificateError> {
    let wanted = sources.iter().find_map(|source| {
        if let CredentialSource::ClientCertificate(name) = source { Some(*name) } else { None }
    });
    let (Some(certificate), Some(wanted)) = (shown, wanted) else { return Ok(None) };
    if certificate.ends_at <= now {
        return Err(CertificateError::Expired);
    }
    let subject = wanted.of(certificate).ok_or(CertificateError::NameMissing(wanted))?;
    Ok(Some(Principal {
        key: None,
        subject: subject.as_str().into(),
        token_id: None,
        issued_at: Some(certificate.begins_at),
        expires_at: certificate.ends_at,
        claims: claims(subject, certificate).into(),
    }))
}

/// What rules may ask about it, as if it were a token's.
fn claims(subject: &str, certificate: &ClientCertificate) -> Map<String, Value> {
    let ClientCertificate { subject: common_name, dns_names, emails, uris, .. } = certificate;
    let certificate =
        json!({ "subject": common_name, "san_dns": dns_names, "san_email": emails, "san_uri": uris });
    Map::from_iter([("sub".to_owned(), subject.into()), ("certificate".to_owned(), certificate)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> ClientCertificate {
        ClientCertificate {
            subject: Some("Alice".to_owned()),
            dns_names: vec!["a.example".to_owned(), "b.example".to_owned()],
            emails: vec!["alice@example.com".to_owned()],
            uris: vec!["spiffe://example/alice".to_owned()],
            begins_at: UnixTime::from_seconds(100),
            ends_at: UnixTime::from_seconds(200),
        }
    }

    const NOW: UnixTime = UnixTime::from_seconds(150);

    #[test]
    fn the_name_that_is_asked_for_is_the_subject() {
        for (name, subject) in [
            (Name::Subject, "Alice"),
            (Name::SanDns, "a.example"),
            (Name::SanEmail, "alice@example.com"),
            (Name::SanUri, "spiffe://example/alice"),
        ] {
            let sources = [CredentialSource::FirstMessage, CredentialSource::ClientCertificate(name)];
            let principal = principal(Some(&certificate()), &sources, NOW).unwrap().unwrap();
            assert_eq!(&*principal.subject, subject);
            assert_eq!(principal.issued_at, Some(UnixTime::from_seconds(100)));
            assert_eq!(principal.expires_at, UnixTime::from_seconds(200));
            assert_eq!(principal.claims["sub"], subject);
            assert_eq!(principal.claims["certificate"]["san_dns"][1], "b.example");
        }
    }

    #[test]
    fn a_certificate_without_that_name_or_that_has_ended_is_refused() {
        for name in [Name::Subject, Name::SanDns, Name::SanEmail, Name::SanUri] {
            let sources = [CredentialSource::ClientCertificate(name)];
            let empty = ClientCertificate {
                subject: None,
                dns_names: Vec::new(),
                emails: Vec::new(),
                uris: Vec::new(),
                ..certificate()
            };
            assert_eq!(principal(Some(&empty), &sources, NOW), Err(CertificateError::NameMissing(name)));
            let late = UnixTime::from_seconds(200);
            assert_eq!(principal(Some(&certificate()), &sources, late), Err(CertificateError::Expired));
        }
    }

    #[test]
    fn without_a_certificate_or_where_it_is_no_credential_nothing_is_said() {
        let wanted = [CredentialSource::ClientCertificate(Name::Subject)];
        assert_eq!(principal(None, &wanted, NOW), Ok(None));
        assert_eq!(principal(Some(&certificate()), &[CredentialSource::FirstMessage], NOW), Ok(None));
    }
}
