//! The handshake itself, and what is said of one that fails.

use std::io;

use rustls::pki_types::CertificateDer;
use rustls::{AlertDescription, CertificateError, Error, HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use super::names;
use super::{Peer, Tls, Wire};

/// A handshake that has been made.
#[derive(Debug)]
pub(crate) struct Established<S> {
    pub(crate) wire: Wire<S>,
    pub(crate) peer: Peer,
    /// The version, as metrics name it.
    pub(crate) version: &'static str,
    /// The client continues a session that it had.
    pub(crate) is_resumed: bool,
}

/// A handshake that could not be made. The alert, where there is one, has been written.
#[derive(Debug)]
pub(crate) struct Failure<S> {
    /// To be closed.
    pub(crate) socket: S,
    pub(crate) kind: FailureKind,
    /// For the operator: the alert's name and the rule, never anything that the client sent.
    pub(crate) detail: String,
}

/// Whose doing a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// We refused, by an alert.
    Refused,
    /// The client refused, by an alert: it does not like our certificate, most often.
    RefusedByClient,
    /// The client left, or the transport failed.
    Gone,
}

impl Tls {
    /// Makes the handshake. Waits as long as the client does; whoever calls has a deadline.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        socket: S,
    ) -> Result<Established<S>, Failure<S>> {
        let settings = std::sync::Arc::clone(&self.current().settings);
        let limit = |connection: &mut rustls::ServerConnection| {
            connection.set_buffer_limit(Some(BUFFERED_BYTES_MAX));
        };
        let accept = TlsAcceptor::from(settings).accept_with(socket, limit).into_fallible();
        let stream = accept.await.map_err(|(error, socket)| Failure::new(&error, socket))?;
        let connection = stream.get_ref().1;
        let certificate = connection.peer_certificates().and_then(<[CertificateDer<'_>]>::first);
        let peer = Peer {
            is_encrypted: true,
            server_name: connection.server_name().map(str::to_ascii_lowercase),
            certificate: certificate.and_then(names::client),
        };
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            _ => "1.2",
        };
        let is_resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        Ok(Established { wire: Wire::Tls(Box::new(stream.into())), peer, version, is_resumed })
    }
}

impl<S> Failure<S> {
    fn new(error: &io::Error, socket: S) -> Self {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
        let (kind, detail) = match cause {
            Some(Error::AlertReceived(alert)) => {
                (FailureKind::RefusedByClient, format!("the client sent the alert {}", alert_name(*alert)))
            }
            Some(cause) => {
                let (alert, rule) = (alert_of(cause), rule(cause));
                (FailureKind::Refused, format!("refused with the alert {}: {rule}", alert_name(alert)))
            }
            None => (FailureKind::Gone, format!("the handshake was not completed: {}", error.kind())),
        };
        Self { socket, kind, detail }
    }
}

/// The alert that rustls sends for `error` (RFC 8446 §6.2).
fn alert_of(error: &Error) -> AlertDescription {
    match error {
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            AlertDescription::UnexpectedMessage
        }
        Error::InvalidMessage(error) => (*error).into(),
        Error::NoCertificatesPresented => AlertDescription::CertificateRequired,
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::PeerIncompatible(incompatible) => match incompatible {
            rustls::PeerIncompatible::SupportedVersionsExtensionRequired
            | rustls::PeerIncompatible::Tls12NotOffered
            | rustls::PeerIncompatible::Tls12NotOfferedOrEnabled
            | rustls::PeerIncompatible::Tls13RequiredForQuic => AlertDescription::ProtocolVersion,
            _ => AlertDescription::HandshakeFailure,
        },
        Error::PeerMisbehaved(_) => AlertDescription::IllegalParameter,
        Error::InvalidCertificate(error) => error.clone().into(),
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::NoApplicationProtocol => AlertDescription::NoApplicationProtocol,
        _ => AlertDescription::InternalError,
    }
}

/// Which rule was broken. What certificate errors carry beside their name came from the peer.
fn rule(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => format!("client certificate: {}", certificate_rule(error)),
        other => other.to_string(),
    }
}

fn certificate_rule(error: &CertificateError) -> String {
    let text = format!("{error:?}");
    let end = text.find(|character: char| !character.is_ascii_alphanumeric()).unwrap_or(text.len());
    text.get(..end).unwrap_or_default().trim_end_matches("Context").to_owned()
}

/// The name that RFC 8446 §6 has for `alert`: `handshake_failure`.
fn alert_name(alert: AlertDescription) -> String {
    let text = format!("{alert:?}");
    let mut name = String::with_capacity(text.len() + 4);
    let mut was_lower = false;
    for character in text.chars() {
        if character.is_ascii_uppercase() && was_lower {
            name.push('_');
        }
        was_lower = character.is_ascii_lowercase();
        name.push(character.to_ascii_lowercase());
    }
    name
}

/// How much of what it has encrypted a connection keeps for a socket that takes nothing: one record. What is beyond it
/// waits unencrypted, where it is counted.
const BUFFERED_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_named_as_in_the_standard() {
        for (alert, name) in [
            (AlertDescription::HandshakeFailure, "handshake_failure"),
            (AlertDescription::UnknownCA, "unknown_ca"),
            (AlertDescription::BadRecordMac, "bad_record_mac"),
            (AlertDescription::CloseNotify, "close_notify"),
            (AlertDescription::NoApplicationProtocol, "no_application_protocol"),
        ] {
            assert_eq!(alert_name(alert), name);
        }
    }

    #[test]
    fn nothing_of_a_certificate_is_in_the_rule_that_it_broke() {
        let error = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        assert_eq!(rule(&error), "client certificate: ApplicationVerificationFailure");
        let error = Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            expected: "localhost".try_into().unwrap(),
            presented: vec!["\u{1b}evil".to_owned()],
        });
        assert_eq!(rule(&error), "client certificate: NotValidForName");
    }
}
