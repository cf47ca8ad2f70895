//! Peers that do not get as far as a request.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use drawgate::reason::Reason;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::support::{Gateway, MOMENT};
use crate::support::{PATIENCE, eventually, request};

/// What comes until the end.
async fn read_to_end(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, socket.read_to_end(&mut bytes)).await.expect("an end comes");
    bytes
}

/// An alert record that is fatal (RFC 8446 §6) with this description.
fn alert(description: u8) -> [u8; 7] {
    [0x15, 3, 3, 0, 2, 2, description]
}

#[tokio::test]
async fn h26_plain_http_gets_an_alert() {
    let mut gateway = Gateway::start().await;
    let mut socket = gateway.socket().await;
    let sent = request("/", "");
    socket.write_all(sent.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut socket).await;
    // decode_error
    assert_eq!(answer, alert(50));
    let record = gateway.case.refused(Reason::TlsHandshakeFailed, sent.as_bytes()).await;
    assert!(
        record["detail"].as_str().unwrap().starts_with("refused with the alert decode_error: "),
        "{record}"
    );
    assert_eq!(gateway.handshakes("none", "failed"), 1);
}

#[tokio::test]
async fn h26_only_other_protocols_get_an_alert() {
    let mut gateway = Gateway::start().await;
    let mut config = gateway.trusting();
    config.alpn_protocols = vec![b"h2".to_vec()];
    assert!(gateway.connect_with(config, "localhost").await.is_err());
    let record = gateway.case.refused(Reason::TlsHandshakeFailed, b"").await;
    assert!(record["detail"].as_str().unwrap().contains("no_application_protocol"), "{record}");
    let mut config = gateway.trusting();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut client = gateway.connect_with(config, "localhost").await.unwrap();
    client.upgrade().await;
    assert_eq!(client.stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_certificate_is_said_to_have_refused() {
    let mut gateway = Gateway::start().await;
    let stranger = super::support::Authority::new("another");
    let config = super::support::builder(&stranger).with_no_client_auth();
    assert!(gateway.connect_with(config, "localhost").await.is_err());
    let record = gateway.case.refused(Reason::TlsHandshakeFailed, b"").await;
    assert_eq!(record["detail"], "the client sent the alert unknown_ca", "{record}");
    assert_eq!(record["ended_by"], "client", "{record}");
}

/// The client's first flight.
fn client_hello(gateway: &Gateway, host: &'static str) -> (ClientConnection, Vec<u8>) {
    let name = ServerName::try_from(host).unwrap();
    let mut connection = ClientConnection::new(Arc::new(gateway.trusting()), name).unwrap();
    let mut hello = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut hello).unwrap();
    }
    (connection, hello)
}

#[tokio::test]
async fn h26_a_client_hello_in_many_pieces_is_understood() {
    let gateway = Gateway::start().await;
    let (mut connection, hello) = client_hello(&gateway, "localhost");
    let mut socket = gateway.socket().await;
    // RFC 8446 §5.1: a handshake message may span records. Each of them comes in two segments.
    for piece in hello[5..].chunks(64) {
        let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
        socket.write_all(&[0x16, 3, 1, length[0]]).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        socket.write_all(&[&length[1..], piece].concat()).await.unwrap();
    }
    let mut buffer = [0; 16 * 1024];
    let until = Instant::now() + PATIENCE;
    while connection.is_handshaking() {
        assert!(Instant::now() < until, "the handshake does not end");
        let count = timeout(PATIENCE, socket.read(&mut buffer)).await.unwrap().unwrap();
        connection.read_tls(&mut &buffer[..count]).unwrap();
        connection.process_new_packets().unwrap();
    }
    connection.writer().write_all(request("/", "").replace("gate.example", "localhost").as_bytes()).unwrap();
    let mut bytes = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut bytes).unwrap();
    }
    socket.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let count = timeout(PATIENCE, socket.read(&mut buffer)).await.unwrap().unwrap();
        connection.read_tls(&mut &buffer[..count]).unwrap();
        connection.process_new_packets().unwrap();
        let _ = connection.reader().read_to_end(&mut answer);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn h26_a_name_with_control_characters_gets_an_alert_and_is_not_logged() {
    let mut gateway = Gateway::start().await;
    let (_, mut hello) = client_hello(&gateway, "name-to-be-spoilt.gate.example");
    let at = hello.windows(17).position(|window| window == b"name-to-be-spoilt").unwrap();
    hello[at..at + 17].copy_from_slice(b"a\x1b[2J\nlevel=\"IN\"\r");
    let mut socket = gateway.socket().await;
    socket.write_all(&hello).await.unwrap();
    // illegal_parameter
    assert_eq!(read_to_end(&mut socket).await, alert(47));
    let record = gateway.case.refused(Reason::TlsHandshakeFailed, b"").await;
    assert!(record["detail"].as_str().unwrap().contains("illegal_parameter"), "{record}");
    let log = gateway.case.log_text();
    assert!(!log.contains("[2J") && !log.contains("gate.example"), "{log}");
}

#[tokio::test]
async fn versions_before_1_2_get_an_alert() {
    let mut gateway = Gateway::start().await;
    let (_, mut hello) = client_hello(&gateway, "localhost");
    // The legacy version says 1.1, and the extension that would offer others goes by another number.
    hello[10] = 2;
    let at = hello.windows(7).position(|window| window == [0, 43, 0, 5, 4, 3, 4]).unwrap();
    hello[at..at + 2].copy_from_slice(&[0xfa, 0xfa]);
    let mut socket = gateway.socket().await;
    socket.write_all(&hello).await.unwrap();
    // protocol_version
    assert_eq!(read_to_end(&mut socket).await, alert(70));
    let record = gateway.case.refused(Reason::TlsHandshakeFailed, b"").await;
    assert!(record["detail"].as_str().unwrap().contains("protocol_version"), "{record}");
}

#[tokio::test]
async fn h11_half_a_client_hello_is_closed_at_the_deadline() {
    let mut gateway = Gateway::start_with("", "tls_timeout = \"200ms\"", "").await;
    let (_, hello) = client_hello(&gateway, "localhost");
    let begun = Instant::now();
    let mut socket = gateway.socket().await;
    // Bytes that keep coming do not move it.
    for byte in &hello[..hello.len() / 2] {
        if socket.write_all(&[*byte]).await.is_err() || begun.elapsed() > MOMENT {
            break;
        }
        sleep(Duration::from_millis(2)).await;
    }
    let mut left = [0; 16];
    let end = timeout(PATIENCE, socket.read(&mut left)).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    assert!((200..600).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    let record = gateway.case.refused(Reason::TlsTimeout, &hello).await;
    assert_eq!(record["limit"], 200, "{record}");
    assert_eq!(gateway.handshakes("none", "timeout"), 1);
}

#[tokio::test]
async fn a_slow_handshake_leaves_the_request_its_time() {
    let listener = "tls_timeout = \"2s\"\nhead_timeout = \"300ms\"";
    let mut gateway = Gateway::start_with("", listener, "").await;
    let socket = gateway.socket().await;
    sleep(Duration::from_millis(400)).await;
    let config = Arc::new(gateway.trusting());
    let mut client = super::support::Client::over(socket, config, "localhost").await.unwrap();
    client.upgrade().await;
    drop(client);
    // And its own deadline still holds.
    let mut client = gateway.connect().await;
    let head = client.read_head().await;
    assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
    gateway.case.ended(Reason::RequestTimeout).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_handshake_is_no_warning() {
    let mut gateway = Gateway::start().await;
    drop(gateway.socket().await);
    let record = gateway.case.refused(Reason::RequestIncomplete, b"").await;
    assert_eq!(record["level"], "INFO", "{record}");
}

#[tokio::test]
async fn r22_handshakes_beyond_the_cap_are_closed_at_once() {
    let mut gateway =
        Gateway::start_with("", "tls_timeout = \"2s\"", "[server]\ntls_handshakes_max = 3").await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(gateway.socket().await);
    }
    sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    for _ in 0..20 {
        let mut socket = gateway.socket().await;
        assert_eq!(read_to_end(&mut socket).await, b"");
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(gateway.case.ends(Reason::TlsFull), 20);
    assert_eq!(gateway.handshakes("none", "refused"), 20);
    assert_eq!(gateway.case.records_of(Reason::TlsFull)[0]["limit"], 3);
    // The plain listener has no part in it, and a place that is left is free at once.
    gateway.case.neighbour_is_unharmed().await;
    drop(silent.pop());
    eventually(|| gateway.case.ends(Reason::RequestIncomplete) == 1, || gateway.case.log_text()).await;
    gateway.connect().await.upgrade().await;
}

#[tokio::test]
async fn clients_that_are_not_let_in_are_closed_without_a_word_in_the_clear() {
    let mut gateway = Gateway::start_with("", "", "[firewall]\nconnections_per_client_max = 1").await;
    let mut socket = gateway.socket().await;
    assert_eq!(read_to_end(&mut socket).await, b"");
    drop(socket);
    gateway.case.refused(Reason::ClientConnectionsExceeded, b"").await;
}

#[tokio::test]
async fn a_drain_does_not_wait_for_handshakes() {
    let mut gateway = Gateway::start_with("", "tls_timeout = \"2s\"", "").await;
    let mut socket = gateway.socket().await;
    sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    gateway.case.drain();
    assert_eq!(read_to_end(&mut socket).await, b"");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    gateway.case.stopped().await;
}
