//! One request: what is refused of what can be answered.

use std::time::Duration;

use rustls::{CertificateError, Error};
use tokio::time::timeout;

use super::super::fetch::{Bounds, FetchError, get};
use super::site::{Answer, Authority, Site};
use crate::clock::Clock;
use crate::tls::Trust;

const BODY: &str = r#"{"keys":[]}"#;
const KIB: usize = 1024;

/// As in use, but for the time.
fn bounds() -> Bounds {
    Bounds { deadline: Duration::from_millis(300), ..Bounds::default() }
}

/// As in use.
async fn ask(site: &Site) -> Result<Vec<u8>, FetchError> {
    get(&site.url("/jwks"), &Trust::System, Bounds::default()).await
}

/// What comes of this answer.
async fn answered(answer: &str) -> Result<Vec<u8>, FetchError> {
    ask(&Site::start(Answer::text(answer)).await).await
}

#[test]
fn the_bounds_are_3_seconds_and_64_kib() {
    assert_eq!(Bounds::default(), Bounds { deadline: Duration::from_secs(3), body_bytes_max: 64 * KIB });
}

#[tokio::test]
async fn a_request_is_short_and_its_answer_comes_whole() {
    let site = Site::start(Answer::body(BODY)).await;
    assert_eq!(ask(&site).await.unwrap(), BODY.as_bytes());
    let host = format!("localhost:{}", site.address.port());
    let head = format!(
        "GET /jwks HTTP/1.1\r\nhost: {host}\r\nuser-agent: drawgate\r\naccept: application/json\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(site.heads(), [head]);
    for good in [
        format!("HTTP/1.1 200 OK\r\n\r\n{BODY}"),
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{BODY}\r\n0\r\n\r\n",
            BODY.len()
        ),
        format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{BODY}"),
    ] {
        assert_eq!(answered(&good).await.unwrap(), BODY.as_bytes(), "{good}");
    }
}

#[tokio::test]
async fn a33_a_redirect_is_not_followed() {
    let other = Site::start(Answer::body(BODY)).await;
    for status in [301, 302, 303, 307, 308] {
        let location = other.name("/jwks");
        let error = answered(&format!(
            "HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        ))
        .await
        .unwrap_err();
        assert!(matches!(error, FetchError::Redirect(found) if found == status), "{status}: {error}");
        assert!(error.to_string().contains("redirect"), "{error}");
    }
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn a33_any_other_status_is_no_answer() {
    for status in [201, 204, 206, 401, 404, 429, 500, 503] {
        let error = answered(&format!("HTTP/1.1 {status} X\r\n\r\n")).await.unwrap_err();
        assert!(matches!(error, FetchError::Status(found) if found == status), "{status}: {error}");
    }
}

#[tokio::test]
async fn a33_a_body_without_end_stops_at_64_kib() {
    let chunk = [b"1000\r\n", vec![b'a'; 4 * KIB].as_slice(), b"\r\n"].concat();
    for (head, again) in [
        ("HTTP/1.1 200 OK\r\n\r\n", vec![b'a'; 4 * KIB]),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk),
    ] {
        let site = Site::start(Answer::Endless(head.into(), again)).await;
        let error = ask(&site).await.unwrap_err();
        assert!(matches!(error, FetchError::TooLong(found) if found == 64 * KIB), "{error}");
        // What the kernel's buffers took, at most.
        assert!(site.written_bytes() < 32 * KIB * KIB, "{}", site.written_bytes());
    }
}

#[tokio::test]
async fn a33_64_kib_are_taken_and_one_byte_more_is_not() {
    for (length, is_taken) in [(64 * KIB, true), (64 * KIB + 1, false)] {
        let body = "a".repeat(length);
        let answers = [
            format!("HTTP/1.1 200 OK\r\n\r\n{body}"),
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"),
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"),
        ];
        for answer in answers {
            match answered(&answer).await {
                Ok(found) => assert!(is_taken && found.len() == length, "{}", found.len()),
                Err(error) => assert!(!is_taken && matches!(error, FetchError::TooLong(_)), "{error}"),
            }
        }
    }
}

#[tokio::test]
async fn a33_a_content_length_that_lies_is_not_believed() {
    // 1 GiB is announced and never sent: the head is enough.
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n";
    let site = Site::start(Answer::Unfinished(head.into())).await;
    assert!(matches!(ask(&site).await, Err(FetchError::TooLong(_))));
    // More is announced than comes.
    let error = answered(&format!("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{BODY}")).await.unwrap_err();
    assert!(matches!(error, FetchError::Http(_)), "{error}");
    // More comes than is announced: the rest belongs to nothing.
    let found =
        answered(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{BODY}{BODY}", BODY.len())).await;
    assert_eq!(found.unwrap(), BODY.as_bytes());
    for lines in ["Content-Length: 1\r\nContent-Length: 11", "Content-Length: -1", "Content-Length: 11, 12"] {
        let error = answered(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n{BODY}")).await.unwrap_err();
        assert!(matches!(error, FetchError::Http(_)), "{lines}: {error}");
    }
}

#[tokio::test]
async fn a33_a_head_without_end_is_refused() {
    let many = "X: y\r\n".repeat(100);
    let long = "y".repeat(64 * KIB);
    for lines in [many, format!("X: {long}\r\n")] {
        let error = answered(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n{BODY}")).await.unwrap_err();
        assert!(matches!(error, FetchError::Http(_)), "{error}");
    }
    let site = Site::start(Answer::Endless("HTTP/1.1 200 OK\r\n".into(), b"X: y\r\n".repeat(1000))).await;
    assert!(matches!(ask(&site).await, Err(FetchError::Http(_))));
}

#[tokio::test]
async fn a33_whoever_is_slow_is_left_at_the_deadline() {
    let slow_body = format!("HTTP/1.1 200 OK\r\n\r\n{}", "a".repeat(KIB));
    for answer in [
        Answer::Slow(slow_body.clone().into()),
        Answer::Unfinished(Vec::new()),
        Answer::Unfinished("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1".into()),
        Answer::Unfinished("HTTP/1.1 200 OK\r\nX".into()),
    ] {
        let site = Site::start(answer.clone()).await;
        let begun_at = Clock::system().now();
        let url = site.url("/jwks");
        let asked = get(&url, &Trust::System, bounds());
        let error = timeout(Duration::from_secs(2), asked).await.expect("the deadline holds").unwrap_err();
        assert!(matches!(error, FetchError::TooSlow(_)), "{answer:?}: {error}");
        assert!(begun_at.elapsed() >= bounds().deadline, "{answer:?}");
    }
}

#[tokio::test]
async fn a33_a_tls_handshake_counts_towards_the_deadline() {
    let authority = Authority::new();
    let site = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", site.local_addr().unwrap().port()).parse().unwrap();
    let error = get(&url, &Trust::File(authority.file()), bounds()).await.unwrap_err();
    assert!(matches!(error, FetchError::TooSlow(_)), "{error}");
}

#[tokio::test]
async fn a33_what_is_no_http_is_no_answer() {
    for answer in ["", "SSH-2.0-x\r\n", "HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "{\"keys\":[]}"] {
        let error = answered(answer).await.unwrap_err();
        assert!(matches!(error, FetchError::Http(_)), "{answer}: {error}");
    }
}

#[tokio::test]
async fn a31_where_nobody_listens_nothing_answers() {
    let site = Site::start(Answer::body(BODY)).await;
    let url = site.url("/jwks");
    drop(site);
    tokio::task::yield_now().await;
    let error = get(&url, &Trust::System, Bounds::default()).await.unwrap_err();
    assert!(matches!(error, FetchError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn a33_https_is_believed_by_its_certificate_alone() {
    let authority = Authority::new();
    let trust = Trust::File(authority.file());
    let start = async |host, is_over| {
        Site::start_with(|_| Answer::body(BODY), Some(authority.server(host, is_over))).await
    };
    let site = start("localhost", false).await;
    assert_eq!(get(&site.url("/"), &trust, Bounds::default()).await.unwrap(), BODY.as_bytes());
    // An authority that is not ours, the system's authorities, another host's certificate, and one that is over.
    let refused = async |site: &Site, trust: &Trust| match get(&site.url("/"), trust, Bounds::default()).await
    {
        Err(FetchError::Tls(error)) => match error.get_ref().unwrap().downcast_ref::<Error>() {
            Some(Error::InvalidCertificate(why)) => why.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let other = Authority::new();
    let unknown = refused(&site, &Trust::File(other.file())).await;
    assert!(
        matches!(unknown, CertificateError::UnknownIssuer | CertificateError::BadSignature),
        "{unknown:?}"
    );
    let named = refused(&start("other.example", false).await, &trust).await;
    assert!(matches!(named, CertificateError::NotValidForNameContext { .. }), "{named:?}");
    let over = refused(&start("localhost", true).await, &trust).await;
    assert!(matches!(over, CertificateError::ExpiredContext { .. }), "{over:?}");
    assert!(site.heads().len() == 1, "no request goes to whom nobody believes");
}

#[tokio::test]
async fn a33_https_that_is_cut_off_is_not_whole() {
    // Without a length only the end of TLS says that nothing is missing (RFC 8446 §6.1).
    let authority = Authority::new();
    let answer = format!("HTTP/1.1 200 OK\r\n\r\n{BODY}");
    let site = Site::start_with(
        move |_| Answer::Slow(answer.clone().into()),
        Some(authority.server("localhost", false)),
    )
    .await;
    let error = get(&site.url("/"), &Trust::File(authority.file()), Bounds::default()).await.unwrap_err();
    assert!(matches!(error, FetchError::Http(_)), "{error}");
}

#[tokio::test]
async fn a_file_of_authorities_is_held_against_what_it_must_be() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("empty.pem"), "").unwrap();
    std::fs::write(at("bad.pem"), "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
    for (name, wrong) in [
        ("none.pem", "cannot be read"),
        ("", "is no plain file"),
        ("empty.pem", "has no certificate"),
        ("bad.pem", "is no proper PEM"),
    ] {
        let error = Trust::File(at(name)).check().unwrap_err().to_string();
        assert!(error.contains(wrong), "{name}: {error}");
    }
    let authority = Authority::new();
    Trust::File(authority.file()).check().unwrap();
}
