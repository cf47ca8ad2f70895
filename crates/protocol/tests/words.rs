//! What errors say: each in words of its own, by one style, with the section of the RFC that it is about; and what is printed
//! for debugging, which never shows what a peer sent.

#![allow(clippy::unwrap_used, reason = "tests: what fails here should panic")]

use core::error::Error;

use drawgate_protocol::deflate::{Agreement, AnswerFault, Contexts, Deflation, Inflation};
use drawgate_protocol::handshake::{
    ClientRequest, Field, FieldFault, HeadFault, HeadLimits, Refusal, ResponseRefusal, WriteError,
};
use drawgate_protocol::{
    CloseCode, Event, Limits, MessageKind, Receiver, Role, SendError, Sender, Violation,
};

/// Holds errors to the style: lower case but for names, no full stop, no two alike, nothing of another error behind them.
fn hold_to_style<E: Error>(errors: &[E]) {
    let words: Vec<String> = errors.iter().map(ToString::to_string).collect();
    for (index, text) in words.iter().enumerate() {
        let is_lower = text.starts_with(|first: char| first.is_ascii_lowercase());
        let is_name = HEADER_NAMES.iter().any(|name| text.starts_with(&format!("{name} ")));
        assert!(is_lower || is_name, "{text}");
        assert!(text.ends_with(|last: char| last.is_ascii_alphanumeric()), "{text}");
        assert!(!words[..index].contains(text), "{text}");
        assert!(errors[index].source().is_none(), "{text}");
    }
}

/// The headers that a text may begin with.
const HEADER_NAMES: [&str; 7] = [
    "Connection",
    "Host",
    "Origin",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Upgrade",
];

/// The errors of a table whose rows are an error and the section that states its rule.
fn errors_of<E: Copy>(rows: &[(E, &str)]) -> Vec<E> {
    rows.iter().map(|(error, _)| *error).collect()
}

#[test]
fn every_violation_names_its_section() {
    let rows = [
        (Violation::ReservedBits, "RFC 6455 §5.2"),
        (Violation::OpcodeUnknown, "RFC 6455 §5.2"),
        (Violation::ControlFragmented, "RFC 6455 §5.5"),
        (Violation::ControlTooLong, "RFC 6455 §5.5"),
        (Violation::NotMasked, "RFC 6455 §5.1"),
        (Violation::Masked, "RFC 6455 §5.1"),
        (Violation::LengthNotMinimal, "RFC 6455 §5.2"),
        (Violation::LengthTopBitSet, "RFC 6455 §5.2"),
        (Violation::ContinuationUnexpected, "RFC 6455 §5.4"),
        (Violation::MessageInterleaved, "RFC 6455 §5.4"),
        (Violation::TextNotUtf8, "RFC 6455 §8.1"),
        (Violation::CloseBodyOneByte, "RFC 6455 §5.5.1"),
        (Violation::CloseCodeInvalid, "RFC 6455 §7.4"),
        (Violation::CloseReasonNotUtf8, "RFC 6455 §5.5.1"),
        (Violation::MessageTooBig, "RFC 6455 §10.4"),
        (Violation::FragmentsTooMany, "RFC 6455 §10.4"),
        (Violation::DeflateInvalid, "RFC 7692 §7.2.2"),
    ];
    assert_eq!(errors_of(&rows), Violation::ALL);
    for (violation, source) in rows {
        assert_eq!(format!("RFC {} §{}", violation.rfc(), violation.section()), source, "{violation}");
    }
    hold_to_style(&Violation::ALL);
}

#[test]
fn every_fault_of_a_head_names_its_section() {
    let rows = [
        (HeadFault::EmptyLineFirst, "RFC 9112 §2.2"),
        (HeadFault::LineFeedBare, "RFC 9112 §2.2"),
        (HeadFault::CarriageReturnBare, "RFC 9112 §2.2"),
        (HeadFault::ControlCharacter, "RFC 9110 §5.5"),
        (HeadFault::LineFolded, "RFC 9112 §5.2"),
        (HeadFault::HeaderNameMalformed, "RFC 9112 §5.1"),
        (HeadFault::StartLineMalformed, "RFC 9112 §3"),
        (HeadFault::HttpVersionAncient, "RFC 9112 §2.3"),
        (HeadFault::HttpVersionUnsupported, "RFC 9110 §15.6.6"),
        (HeadFault::StartLineTooLong, "RFC 9110 §15.5.15"),
        (HeadFault::HeadTooLarge, "RFC 6585 §5"),
        (HeadFault::HeadersTooMany, "RFC 6585 §5"),
        (HeadFault::HeadIncomplete, "RFC 9112 §2.2"),
    ];
    assert_eq!(errors_of(&rows), HeadFault::ALL);
    for (fault, source) in rows {
        assert_eq!(fault.source(), source, "{fault}");
    }
    hold_to_style(&HeadFault::ALL);
}

#[test]
fn every_refusal_of_a_request_names_its_section_and_its_answer() {
    let rows = [
        (Refusal::Head(HeadFault::LineFolded), "RFC 9112 §5.2"),
        (Refusal::Field(FieldFault::NotAscii(Field::Origin)), "RFC 9110 §5.5"),
        (Refusal::MethodNotGet, "RFC 6455 §4.2.1"),
        (Refusal::TargetFormUnsupported, "RFC 9112 §3.2"),
        (Refusal::TargetNotHost, "RFC 9112 §3.2"),
        (Refusal::PathCharacter, "RFC 3986 §3.3"),
        (Refusal::PathEscape, "RFC 3986 §3.3"),
        (Refusal::PathNotNormal, "RFC 3986 §6.2.2"),
        (Refusal::QueryMalformed, "RFC 3986 §3.4"),
        (Refusal::BodyDeclared, "RFC 9112 §6.3"),
        (Refusal::HostMissing, "RFC 9112 §3.2"),
        (Refusal::HostMalformed, "RFC 9112 §3.2"),
        (Refusal::UpgradeMissing, "RFC 6455 §4.2.1"),
        (Refusal::UpgradeNotWebSocket, "RFC 6455 §4.2.1"),
        (Refusal::ConnectionNotUpgrade, "RFC 6455 §4.2.1"),
        (Refusal::VersionMissing, "RFC 6455 §4.2.1"),
        (Refusal::VersionUnsupported, "RFC 6455 §4.4"),
        (Refusal::KeyMissing, "RFC 6455 §4.2.1"),
        (Refusal::KeyMalformed, "RFC 6455 §11.3.1"),
        (Refusal::OriginMalformed, "RFC 6454 §7.1"),
        (Refusal::ProtocolDuplicated, "RFC 6455 §4.1"),
    ];
    for (refusal, source) in rows {
        assert_eq!(refusal.source(), source, "{refusal}");
        // RFC 9110 §15.5.6, §15.5.22: what these statuses must say beside themselves; others need nothing.
        let names: Vec<_> = refusal.answer_headers().iter().map(|(name, _)| *name).collect();
        let expected: &[&str] = match refusal.status() {
            405 => &["Allow"],
            426 => &["Upgrade", "Connection", "Sec-WebSocket-Version"],
            _ => &[],
        };
        assert_eq!(names, expected, "{refusal}");
    }
    hold_to_style(&errors_of(&rows));
}

#[test]
fn every_refusal_of_a_response_names_its_section() {
    let rows = [
        (ResponseRefusal::Head(HeadFault::HeadIncomplete), "RFC 9112 §2.2"),
        (ResponseRefusal::Field(FieldFault::Duplicated(Field::Accept)), "RFC 9110 §5.3"),
        (ResponseRefusal::StatusInterim(103), "RFC 6455 §4.1"),
        (ResponseRefusal::StatusNotSwitching(404), "RFC 6455 §4.1"),
        (ResponseRefusal::BodyDeclared, "RFC 9110 §8.6"),
        (ResponseRefusal::UpgradeNotWebSocket, "RFC 6455 §4.1"),
        (ResponseRefusal::ConnectionNotUpgrade, "RFC 6455 §4.1"),
        (ResponseRefusal::AcceptMissing, "RFC 6455 §4.1"),
        (ResponseRefusal::AcceptWrong, "RFC 6455 §4.1"),
        (ResponseRefusal::ProtocolNotOffered, "RFC 6455 §4.1"),
        (ResponseRefusal::ExtensionNotOffered, "RFC 6455 §4.1"),
        (ResponseRefusal::ExtensionDuplicated, "RFC 6455 §9.1"),
    ];
    for (refusal, source) in rows {
        assert_eq!(refusal.source(), source, "{refusal}");
    }
    hold_to_style(&errors_of(&rows));
    assert_eq!(ResponseRefusal::StatusInterim(103).to_string(), "the interim status is 103 and not 101");
    assert_eq!(ResponseRefusal::StatusNotSwitching(404).to_string(), "the status is 404 and not 101");
}

#[test]
fn every_fault_of_a_header_names_the_header_and_its_section() {
    let rows = [
        (FieldFault::Duplicated(Field::Host), "RFC 9110 §5.3"),
        (FieldFault::NotAscii(Field::Host), "RFC 9110 §5.5"),
        (FieldFault::ListMalformed(Field::Host), "RFC 9110 §5.6.1"),
        (FieldFault::ListTooLong(Field::Host), "RFC 6585 §5"),
        (FieldFault::ListEntriesTooMany(Field::Host), "RFC 6585 §5"),
    ];
    for (fault, source) in rows {
        assert_eq!((fault.field(), fault.source()), (Field::Host, source), "{fault}");
        assert!(fault.to_string().contains("Host"), "{fault}");
    }
    hold_to_style(&errors_of(&rows));
}

#[test]
fn mistakes_of_the_caller_are_told_by_the_same_style() {
    hold_to_style(&[
        WriteError::HostMalformed,
        WriteError::TargetMalformed,
        WriteError::OriginMalformed,
        WriteError::ProtocolMalformed,
        WriteError::ProtocolDuplicated,
        WriteError::ProtocolNotOffered,
        WriteError::ExtensionsMalformed,
        WriteError::ExtensionNotOffered,
        WriteError::HeaderNameMalformed,
        WriteError::HeaderValueMalformed,
        WriteError::HeaderReserved,
    ]);
    hold_to_style(&[
        SendError::AfterClose,
        SendError::Interleaved,
        SendError::ControlTooLong,
        SendError::ReasonTooLong,
        SendError::KeyRequired,
        SendError::KeyForbidden,
    ]);
    hold_to_style(&[
        AnswerFault::ParameterInvalid,
        AnswerFault::TakeoverKept,
        AnswerFault::WindowTooLarge,
        AnswerFault::WindowTooSmall,
    ]);
    assert_eq!(CloseCode::MESSAGE_TOO_BIG.to_string(), "1009");
}

#[test]
fn debug_shows_nothing_of_what_went_through() {
    const SECRET: &str = "a secret that a context remembers";
    let (flow, limits) = (Agreement::FULL.server, Limits::default());
    let (mut contexts, mut compressed, mut wire) = (Contexts::default(), Vec::new(), Vec::new());
    let mut deflation = Deflation::new(flow);
    deflation.deflate(&[SECRET.as_bytes()], true, &mut compressed, &mut contexts);
    let mut sender = Sender::new(Role::Server);
    sender.compressed_data(&mut wire, MessageKind::Text, true, &[&compressed], None).unwrap();
    let mut receiver = Receiver::new(Role::Client, limits);
    receiver.allow_compression();
    let Ok(Some(Event::Data(mut piece))) = receiver.receive(&mut &mut wire[..]) else {
        panic!("no message came")
    };
    let (mut inflation, mut output) = (Inflation::new(flow), [0; 64]);
    let chunk = inflation.inflate(&mut piece, &mut output, &limits, &mut contexts).unwrap().unwrap();
    assert_eq!(chunk.payload, SECRET.as_bytes());
    let shown = format!("{deflation:?} {inflation:?} {contexts:?}");
    for name in ["Deflation { flow: ", "Inflation { flow: ", "Contexts { inflaters: "] {
        assert!(shown.contains(name), "{shown}");
    }
    assert!(!shown.contains("secret"), "{shown}");

    let request = ClientRequest {
        host: "a",
        target: "/",
        origin: None,
        protocols: &["chat"],
        extensions: None,
        headers: &[],
        nonce: *b"the sample nonce",
    };
    let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\
        Set-Cookie: a secret\r\n\r\n";
    let accepted = request.verify(head, &HeadLimits::default()).unwrap();
    assert_eq!(format!("{accepted:?}"), "Accepted { protocol: Some(\"chat\"), .. }");
}
