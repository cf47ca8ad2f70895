//! U, H, A: the way to the application behind the gate: what it may answer wrong, what reaches it and what does not.

use std::net::SocketAddr;
use std::time::Duration;

use drawgate::reason::Reason;
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use crate::application::{Application, Seen, accepting, before, before_url, unmasked};
use crate::fetched::acceptor;
use crate::sessions::{logout, revoke, token, with_sessions};
use crate::support::{Case, Frame, Raw, eventually, frame, request};
use crate::tls::support::Authority;

/// An address at which nobody listens.
async fn nobody() -> SocketAddr {
    Application::start().await.address
}

#[tokio::test]
async fn u01_an_application_that_is_not_there_is_a_502() {
    let mut case = Case::start(&before(nobody().await, "", "")).await;
    let mut client = case.connect().await;
    let sent = request("/app/", "X-Tracer: tracer-7f3a-0123456789\r\n");
    client.send(sent.as_bytes()).await;
    client.expect_refusal(Reason::UpstreamRefused).await;
    drop(client);
    case.refused(Reason::UpstreamRefused, b"tracer-7f3a-0123456789").await;
}

#[tokio::test]
async fn u01_no_way_there_is_a_502() {
    // The kernel does not connect to a broadcast address.
    let mut case = Case::start(&before_url("ws://255.255.255.255:9", "", "")).await;
    let mut client = case.connect().await;
    client.send(request("/app/", "").as_bytes()).await;
    client.expect_refusal(Reason::UpstreamUnreachable).await;
    case.refused(Reason::UpstreamUnreachable, b"").await;
}

#[tokio::test]
async fn u02_a_full_backlog_is_a_504_at_its_deadline() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) = timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        waiting.push(connected.unwrap());
    }
    let mut case = Case::start(&before(address, "", "")).await;
    let mut client = case.connect().await;
    client.send(request("/app/", "").as_bytes()).await;
    client.expect_refusal(Reason::UpstreamTimeout).await;
    let record = case.ended(Reason::UpstreamTimeout).await;
    assert_eq!(record["limit"], 200, "{record}");
}

#[tokio::test]
async fn u03_h29_an_application_that_does_not_answer_is_a_504_at_its_deadline() {
    let application = Application::start().await;
    let mut case = Case::start(&before(application.address, "", "")).await;
    let mut client = case.connect().await;
    let began = Instant::now();
    client.send(request("/app/", "").as_bytes()).await;
    let mut silent = application.accept().await;
    silent.read_head().await;
    // A byte now and then moves no deadline.
    for byte in b"HTTP/1.1 1" {
        silent.send(&[*byte]).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.expect_refusal(Reason::UpstreamTimeout).await;
    assert!((280..2000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    silent.expect_end().await;
    let record = case.ended(Reason::UpstreamTimeout).await;
    assert_eq!(record["limit"], 300, "{record}");
}

/// What becomes of a client whose application gives `answer`, made from the head that it saw; nothing that the client sends
/// may reach it.
async fn answered(answer: impl Fn(&str) -> String, reason: Reason) {
    let application = Application::start().await;
    let mut case = Case::start(&before(application.address, "", "")).await;
    let mut client = case.connect().await;
    let mut sent = request("/app/", "Sec-WebSocket-Protocol: chat\r\n").into_bytes();
    sent.extend(frame(0x81, b"too early"));
    client.send(&sent).await;
    let mut seen = application.accept().await;
    let head = seen.read_head().await;
    seen.send(answer(&head).as_bytes()).await;
    client.expect_refusal(reason).await;
    seen.expect_end().await;
    drop(client);
    case.refused(reason, b"").await;
}

#[tokio::test]
async fn h04_an_answer_other_than_101_opens_no_tunnel() {
    for status in
        ["200 OK", "400 Bad Request", "403 Forbidden", "404 Not Found", "426 Upgrade Required", "503 Busy"]
    {
        let answer = |head: &str| accepting(head, "").replace("101 Switching Protocols", status);
        answered(answer, Reason::UpstreamDeclined).await;
    }
}

#[tokio::test]
async fn u15_a_redirect_is_not_followed() {
    let elsewhere = Application::start().await;
    for status in ["301 Moved Permanently", "307 Temporary Redirect"] {
        let location = format!("Location: ws://{}/\r\n", elsewhere.address);
        let answer = |head: &str| accepting(head, &location).replace("101 Switching Protocols", status);
        answered(answer, Reason::UpstreamDeclined).await;
    }
    elsewhere.sees_nothing().await;
}

#[tokio::test]
async fn h05_z08_an_answer_that_accepts_something_else_is_a_502() {
    for (from, to) in [
        ("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: x"),
        ("Sec-WebSocket-Accept: ", "X-Accept: "),
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("Connection: Upgrade", "Connection: close"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Protocol: other\r\n\r\n"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
        ("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n"),
        ("HTTP/1.1", "HTTP/1.0"),
        ("HTTP/1.1 101 Switching Protocols\r\n", "\x15\x03\x01\0\x02\x02\r\n"),
    ] {
        answered(|head| accepting(head, "").replacen(from, to, 1), Reason::UpstreamAnswerInvalid).await;
    }
}

#[tokio::test]
async fn u16_a_flood_of_interim_answers_and_a_head_without_end_are_a_502() {
    answered(|_| "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000), Reason::UpstreamAnswerInvalid).await;
    answered(|head| accepting(head, &"A: b\r\n".repeat(65)), Reason::UpstreamAnswerInvalid).await;
    let bomb = format!("A: {}\r\n", "b".repeat(20_000));
    answered(|head| accepting(head, &bomb), Reason::UpstreamAnswerInvalid).await;
}

#[tokio::test]
async fn u13_what_follows_the_101_in_one_segment_keeps_its_order() {
    let application = Application::start().await;
    let case = Case::start(&before(application.address, "", "")).await;
    let mut client = case.connect().await;
    client.send(request("/app/", "").as_bytes()).await;
    let mut seen = application.accept().await;
    let head = seen.read_head().await;
    let mut answer = accepting(&head, "").into_bytes();
    answer.extend(unmasked(0x81, b"one"));
    answer.extend(unmasked(0x82, b"two"));
    answer.extend(&unmasked(0x81, b"three")[..3]);
    seen.send(&answer).await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(client.read_frame().await, Frame::whole(0x81, b"one"));
    assert_eq!(client.read_frame().await, Frame::whole(0x82, b"two"));
    seen.send(&unmasked(0x81, b"three")[3..]).await;
    let three = client.read_message().await;
    assert_eq!(crate::support::payload(&three), b"three");
}

#[tokio::test]
async fn u18_of_an_answer_only_what_is_on_the_list_goes_on() {
    let application = Application::start().await;
    let case = Case::start(&before(application.address, "", "")).await;
    let mut client = case.connect().await;
    client.send(request("/app/", "Sec-WebSocket-Protocol: a, chat, drawgate\r\n").as_bytes()).await;
    let poison = "Sec-WebSocket-Protocol: chat\r\nSet-Cookie: a=b; Path=/\r\nSet-Cookie: c=d\r\nServer: secret/1.0\r\n\
                  X-Internal: 10.0.0.1\r\nAccess-Control-Allow-Origin: *\r\nStrict-Transport-Security: max-age=1\r\n";
    let head = application.accept().await.upgrade(poison).await;
    assert!(head.contains("\r\nSec-WebSocket-Protocol: a, chat\r\n"), "{head}");
    assert_eq!(
        client.read_head().await,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\
         Set-Cookie: a=b; Path=/\r\nSet-Cookie: c=d\r\n\r\n"
    );
}

#[tokio::test]
async fn h01_h02_h22_h23_nothing_is_dialled_for_a_request_that_is_not_good() {
    let application = Application::start().await;
    let case = Case::start(&before(application.address, "", "")).await;
    let good = request("/app/", "");
    for (from, to, status) in [
        ("Version: 13", "Version: 777", 426),
        ("Upgrade: websocket", "Upgrade: foo", 426),
        ("Upgrade: websocket", "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__", 426),
        ("/app/", "/app/../admin", 400),
        ("ZQ==", "", 400),
        ("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n", 400),
    ] {
        let mut client = case.connect().await;
        client.send(good.replacen(from, to, 1).as_bytes()).await;
        client.send(b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.read_response().await.status, status, "{to}");
    }
    application.sees_nothing().await;
}

#[tokio::test]
async fn h01_no_byte_of_the_client_goes_on_before_the_101() {
    let application = Application::start().await;
    let case = Case::start(&before(application.address, "", "")).await;
    let mut client = case.connect().await;
    let mut sent = request("/app/", "").into_bytes();
    sent.extend(frame(0x81, b"behind the head"));
    client.send(&sent).await;
    let mut seen = application.accept().await;
    let head = seen.read_head().await;
    client.send(&frame(0x81, b"while it is dialled")).await;
    let early = timeout(Duration::from_millis(100), seen.stream.readable()).await;
    assert!(early.is_err(), "something follows the request");
    seen.send(accepting(&head, "").as_bytes()).await;
    assert_eq!(seen.read_frame().await, Frame::whole(0x81, b"behind the head"));
    assert_eq!(seen.read_frame().await, Frame::whole(0x81, b"while it is dialled"));
}

#[tokio::test]
async fn h30_a_client_that_leaves_while_it_is_dialled_ends_the_dial() {
    let application = Application::start().await;
    let mut case = Case::start(&before(application.address, "", "").replace("300ms\" }", "5s\" }")).await;
    let mut client = case.connect().await;
    client.send(request("/app/", "").as_bytes()).await;
    let mut seen = application.accept().await;
    seen.read_head().await;
    let began = Instant::now();
    drop(client);
    seen.expect_end().await;
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    case.refused(Reason::ConnectionLost, b"").await;
}

/// A trace that a client claims to be part of.
const CLIENTS_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test]
async fn h18_h19_h22_a38_the_request_goes_on_less_what_nobody_else_may_say() {
    let application = Application::start().await;
    let case = Case::start(&before(application.address, "", "")).await;
    let more = "Origin: https://app.example\r\nUser-Agent: browser\r\nCookie: a=b\r\nAuthorization: Basic x\r\n\
                X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nX-User-Id: root\r\n\
                X-Drawgate-Subject: root\r\nRemote-User: root\r\nX-Auth-User: root\r\nProxy-Authorization: x\r\n\
                X-Hop: 1\r\nKeep-Alive: 1\r\n\
                traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=1\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
                Sec-WebSocket-Protocol: chat, drawgate.token.abc\r\n";
    let mut client = case.connect().await;
    let sent = request("/app/a%20b/c?d=e&access_token=f", more)
        .replace("Connection: Upgrade", "Connection: upgrade, X-Hop, X-Forwarded-For, X-Forwarded-Proto");
    client.send(sent.as_bytes()).await;
    let head = application.accept().await.upgrade("Sec-WebSocket-Protocol: chat\r\n").await;
    let (key, rest): (Vec<&str>, Vec<&str>) =
        head.lines().partition(|line| line.starts_with("Sec-WebSocket-Key: "));
    assert_ne!(key, ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="], "the key is a fresh one");
    let (trace, rest): (Vec<&str>, Vec<&str>) =
        rest.into_iter().partition(|line| line.starts_with("traceparent: "));
    assert!(trace.len() == 1 && !trace[0].contains(CLIENTS_TRACE), "{trace:?}");
    assert_eq!(
        rest,
        [
            "GET /app/a%20b/c?d=e&access_token=f HTTP/1.1",
            "Host: gate.example",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Origin: https://app.example",
            "Sec-WebSocket-Protocol: chat",
            "User-Agent: browser",
            "Cookie: a=b",
            "Authorization: Basic x",
            "Forwarded: for=127.0.0.1;host=\"gate.example\";proto=http",
            "X-Forwarded-For: 127.0.0.1",
            "X-Forwarded-Host: gate.example",
            "X-Forwarded-Proto: http",
            "",
        ]
    );
    assert!(client.read_head().await.contains("\r\nSec-WebSocket-Protocol: chat\r\n"));
}

#[tokio::test]
async fn the_path_of_an_address_takes_the_place_of_what_matched() {
    let application = Application::start().await;
    let case = Case::start(&before_url(&format!("ws://{}/ws", application.address), "", "")).await;
    let mut client = case.connect().await;
    client.send(request("/app/room?x=/app/", "").as_bytes()).await;
    let head = application.accept().await.read_head().await;
    assert!(head.starts_with("GET /ws/room?x=/app/ HTTP/1.1\r\n"), "{head}");
}

/// A gateway whose route `/token` leads to the application at `address` and looks for credentials in `sources`.
pub(crate) async fn with_tokens(address: SocketAddr, sources: &str, auth: &str) -> Case {
    Case::start(&tokens_toml(address, sources, auth)).await
}

/// The configuration of that.
pub(crate) fn tokens_toml(address: SocketAddr, sources: &str, auth: &str) -> String {
    let toml = with_sessions(auth, "")
        .replace("\"authorization_header\", \"first_message\"", sources)
        .replace(
            "auth = \"users\"\n        backend = \"echo\"",
            &format!("auth = \"users\"\n        backend = {{ urls = [\"ws://{address}\"] }}"),
        )
        .replace(
            "origins = \"any\"\n        auth = \"users\"",
            "origins = [\"https://a.example\"]\n        auth = \"users\"",
        );
    assert!(toml.contains(&format!("ws://{address}")), "{toml}");
    toml
}

#[tokio::test]
async fn a28_a29_a38_the_credential_stays_here_and_who_it_is_goes_on() {
    let application = Application::start().await;
    let sources =
        r#""authorization_header", "subprotocol", { query = "access_token" }, { cookie = "session" }"#;
    let case = with_tokens(application.address, sources, "").await;
    let token = token("J\u{fc}rgen", &json!({}));
    for (target, more) in [
        ("/token?a=b", format!("Authorization: Bearer {token}\r\n")),
        (&*format!("/token?a=b&access_token={token}"), String::new()),
        ("/token?a=b", format!("Cookie: session={token}\r\n")),
        ("/token?a=b", format!("Sec-WebSocket-Protocol: drawgate.token.{token}, drawgate\r\n")),
    ] {
        let mut client = case.connect().await;
        let lines = format!("Origin: https://a.example\r\nX-Drawgate-Session: 1\r\n{more}");
        client.send(request(target, &lines).as_bytes()).await;
        let head = application.accept().await.upgrade("").await;
        assert!(head.starts_with("GET /token?a=b HTTP/1.1\r\n"), "{head}");
        for gone in [&*token, "Authorization", "Cookie", "Sec-WebSocket-Protocol", "drawgate.token"] {
            assert!(!head.contains(gone), "{gone} in {head}");
        }
        assert!(head.contains("\r\nX-Drawgate-Subject: J%C3%BCrgen\r\n"), "{head}");
        let session = head.lines().filter_map(|line| line.strip_prefix("X-Drawgate-Session: "));
        let session: Vec<&str> = session.collect();
        assert!(session.len() == 1 && session[0].len() == 32, "{head}");
        let answer = client.read_head().await;
        assert!(case.log_text().contains(session[0]), "it is the session of the record");
        assert!(!answer.contains("drawgate.token"), "{answer}");
    }
    case.keeps_nothing_of(token.as_bytes());
    // Nothing is dialled for a token that is not good.
    let mut client = case.connect().await;
    client.send(request("/token", "Authorization: Bearer x\r\n").as_bytes()).await;
    client.expect_refusal(Reason::TokenInvalid).await;
    application.sees_nothing().await;
}

/// A client on a route that wants its token as first message.
async fn unauthenticated(case: &Case, more: &str) -> (Raw, String) {
    let mut client = case.connect().await;
    client.send(request("/token", more).as_bytes()).await;
    let head = client.read_head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    (client, head)
}

#[tokio::test]
async fn a37_nothing_is_dialled_before_the_first_message_is_good() {
    let application = Application::start().await;
    let case = with_tokens(application.address, "\"first_message\"", "").await;
    let (mut client, head) = unauthenticated(&case, "Sec-WebSocket-Protocol: chat, other\r\n").await;
    assert!(head.contains("\r\nSec-WebSocket-Protocol: chat\r\n"), "{head}");
    application.sees_nothing().await;
    let (mut liar, _) = unauthenticated(&case, "").await;
    liar.send_frame(0x81, b"no token").await;
    assert_eq!(liar.read_close().await.0, 3000);
    application.sees_nothing().await;

    client.send_frame(0x81, token("alice", &json!({})).as_bytes()).await;
    client.send_frame(0x81, b"behind the token").await;
    let mut seen = application.accept().await;
    let head = seen.upgrade("Sec-WebSocket-Protocol: chat\r\n").await;
    assert!(
        head.contains("\r\nSec-WebSocket-Protocol: chat\r\n"),
        "only what was promised is asked for: {head}"
    );
    assert!(head.contains("\r\nX-Drawgate-Subject: alice\r\n"), "{head}");
    assert_eq!(seen.read_frame().await, Frame::whole(0x81, b"behind the token"));
    let notice = client.read_frame().await;
    assert!(String::from_utf8(notice.payload).unwrap().contains("authenticated"));
    seen.send_frame(0x81, b"welcome").await;
    assert_eq!(client.read_frame().await, Frame::whole(0x81, b"welcome"));
}

#[tokio::test]
async fn u01_u15_behind_a_first_message_no_application_is_a_1014() {
    let mut case = with_tokens(nobody().await, "\"first_message\"", "").await;
    let (mut client, _) = unauthenticated(&case, "").await;
    client.send_frame(0x81, token("alice", &json!({})).as_bytes()).await;
    let told = client.read_close().await;
    assert_eq!(told, (1014, Reason::UpstreamRefused.row().close_reason.to_owned()));
    drop(client);
    case.ended(Reason::UpstreamRefused).await;

    let application = Application::start().await;
    let case = with_tokens(application.address, "\"first_message\"", "").await;
    let (mut client, _) = unauthenticated(&case, "Sec-WebSocket-Protocol: chat\r\n").await;
    client.send_frame(0x81, token("alice", &json!({})).as_bytes()).await;
    let mut seen = application.accept().await;
    seen.upgrade("").await;
    assert_eq!(client.read_close().await.0, 1014, "what was promised is not what there is");
    seen.expect_end().await;
}

#[tokio::test]
async fn h30_a_client_that_leaves_behind_its_first_message_ends_the_dial() {
    let application = Application::start().await;
    let mut case = with_tokens(application.address, "\"first_message\"", "").await;
    let (mut client, _) = unauthenticated(&case, "").await;
    client.send_frame(0x81, token("alice", &json!({})).as_bytes()).await;
    let mut seen = application.accept().await;
    seen.read_head().await;
    let began = Instant::now();
    drop(client);
    seen.expect_end().await;
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    case.refused(Reason::ConnectionLost, b"").await;
}

#[tokio::test]
async fn a25_a_logout_while_the_application_is_dialled_leaves_no_survivor() {
    let application = Application::start().await;
    let case = with_tokens(application.address, "\"first_message\", \"authorization_header\"", "").await;
    let told = (3000, Reason::TokenRevoked.row().close_reason.to_owned());
    // Behind the first message it is told at once.
    let (mut client, _) = unauthenticated(&case, "").await;
    client.send_frame(0x81, token("alice", &json!({})).as_bytes()).await;
    let mut seen = application.accept().await;
    seen.read_head().await;
    assert_eq!(revoke(&case, logout("alice")), 1);
    assert_eq!(client.read_close().await, told);
    client.send_frame(0x88, b"\x0b\xb8").await;
    seen.expect_end().await;
    // Before the `101` it is told behind it, and the application hears the end.
    let mut client = case.connect().await;
    let header = format!("Authorization: Bearer {}\r\n", token("bob", &json!({})));
    client.send(request("/token", &header).as_bytes()).await;
    let mut seen = application.accept().await;
    let head = seen.read_head().await;
    assert_eq!(revoke(&case, logout("bob")), 1);
    seen.send(accepting(&head, "").as_bytes()).await;
    client.read_head().await;
    assert_eq!(client.read_close().await, told);
    assert_eq!(seen.read_close().await, (1001, "token_revoked".to_owned()));
}

#[tokio::test]
async fn o08_a_drain_while_the_application_is_dialled_is_a_503() {
    let application = Application::start().await;
    let mut case = Case::start(&before(application.address, "", "").replace("300ms\" }", "5s\" }")).await;
    let mut client = case.connect().await;
    client.send(request("/app/", "").as_bytes()).await;
    let mut seen = application.accept().await;
    seen.read_head().await;
    case.drain();
    client.expect_refusal(Reason::Draining).await;
    seen.expect_end().await;
}

#[tokio::test]
async fn u01_where_a_route_refuses_by_close_the_code_says_it() {
    let toml = before(nobody().await, "", "").replace(
        "auth = \"none\"\n        backend = { urls",
        "auth = \"none\"\n        refuse = \"close\"\n        backend = { urls",
    );
    let mut case = Case::start(&toml).await;
    let mut client = case.connect().await;
    client.upgrade("/app/").await;
    assert_eq!(client.read_close().await, (1014, Reason::UpstreamRefused.row().close_reason.to_owned()));
    drop(client);
    case.ended(Reason::UpstreamRefused).await;
}

#[tokio::test]
async fn u12_an_application_is_believed_by_its_authority_and_for_its_name_alone() {
    let authority = Authority::new("the application's authority");
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, authority: &Authority| {
        let path = folder.path().join(file);
        std::fs::write(&path, authority.certificate.pem()).unwrap();
        path
    };
    let good = write("good.pem", &authority);
    let wrong = write("wrong.pem", &Authority::new("another"));
    for (name, ca_file, reason) in [
        ("localhost", &good, None),
        ("localhost", &wrong, Some(Reason::UpstreamTlsFailed)),
        ("other.example", &good, Some(Reason::UpstreamTlsFailed)),
    ] {
        let application = Application::start().await;
        let acceptor = acceptor(&authority.server(&[name]));
        let url = format!("wss://localhost:{}", application.address.port());
        let toml = before_url(&url, "", "")
            .replace("connect_timeout", &format!("ca_file = {ca_file:?}, connect_timeout"));
        let mut case = Case::start(&toml).await;
        let mut client = case.connect().await;
        client.send(request("/app/", "").as_bytes()).await;
        let stream = acceptor.accept(application.accept().await.stream).await;
        match (stream, reason) {
            (Ok(stream), None) => {
                assert_eq!(stream.get_ref().1.server_name(), Some("localhost"), "the host is named");
                let mut seen = Seen::over(stream);
                seen.upgrade("").await;
                assert!(client.read_head().await.starts_with("HTTP/1.1 101 "));
                client.send_frame(0x82, &[7; 100_000]).await;
                let there = seen.read_message().await;
                assert_eq!(crate::support::payload(&there), [7; 100_000]);
                seen.send_frame(0x82, &[8; 100_000]).await;
                assert_eq!(crate::support::payload(&client.read_message().await), [8; 100_000]);
            }
            (stream, Some(reason)) => {
                // In TLS 1.3 the server may be through before the client is.
                if let Ok(stream) = stream {
                    assert_eq!(Seen::over(stream).next_frame().await, None);
                }
                client.expect_refusal(reason).await;
                case.refused(reason, b"").await;
            }
            (Err(error), None) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn u12_plaintext_where_tls_should_be_is_a_502() {
    let application = Application::start().await;
    let case =
        Case::start(&before_url(&format!("wss://127.0.0.1:{}", application.address.port()), "", "")).await;
    let mut client = case.connect().await;
    client.send(request("/app/", "").as_bytes()).await;
    application.accept().await.send(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    client.expect_refusal(Reason::UpstreamTlsFailed).await;
    eventually(|| case.ends(Reason::UpstreamTlsFailed) == 1, || case.log_text()).await;
}
