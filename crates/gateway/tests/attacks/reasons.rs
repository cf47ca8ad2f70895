//! Every row of the table of reasons can be reached: an exhaustive match that names a scenario for each, and runs it.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use drawgate::auth::token::sign_hs256;
use drawgate::config::Config;
use drawgate::reason::Reason;
use drawgate::secret::Secret;
use drawgate::server::Builder;
use drawgate::{Access, CloseCode, Handler, Message, Origins, Route, Server, Session};
use drawgate_protocol::{Limits, Receiver, Role, Violation};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::support::{Case, Raw, echo, frame, request};

#[test]
fn every_row_can_be_reached() {
    for reason in Reason::ALL {
        // A runtime for each, so that nothing of one scenario is left in the records of the next.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // Boxed, because the match holds the future of every scenario.
        runtime.block_on(Box::pin(provoke(reason)));
    }
}

async fn provoke(reason: Reason) {
    match reason {
        Reason::RequestMalformed => refused(reason, "", b"GET / HTTP/1.1\nHost: a\n\n").await,
        Reason::RequestTargetInvalid => refused(reason, "", request("/a//b", "").as_bytes()).await,
        Reason::RequestLineTooLong => {
            refused(reason, "", request(&format!("/{}", "a".repeat(9000)), "").as_bytes()).await;
        }
        Reason::RequestHeadTooLarge => {
            let header = format!("X-Padding: {}\r\n", "a".repeat(17_000));
            refused(reason, "", request("/", &header).as_bytes()).await;
        }
        Reason::RequestHeadersTooMany => {
            refused(reason, "", request("/", &"A: b\r\n".repeat(65)).as_bytes()).await;
        }
        Reason::RequestTimeout => refused(reason, "", b"GET / HT").await,
        Reason::RequestIncomplete => {
            let mut case = Case::start(&echo("", "")).await;
            case.connect().await.send(b"GET / HT").await;
            case.refused(reason, b"").await;
        }
        Reason::HttpVersionUnsupported => {
            refused(reason, "", request("/", "").replace("HTTP/1.1", "HTTP/1.0").as_bytes()).await;
        }
        Reason::MethodNotAllowed => {
            refused(reason, "", request("/", "").replace("GET", "POST").as_bytes()).await;
        }
        Reason::UpgradeRequired => refused(reason, "", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await,
        Reason::WebSocketVersionUnsupported => {
            refused(reason, "", request("/", "").replace("Version: 13", "Version: 8").as_bytes()).await;
        }
        Reason::WebSocketKeyInvalid => {
            refused(reason, "", request("/", "").replace("ZQ==", "").as_bytes()).await;
        }
        Reason::HeaderDuplicated => refused(reason, "", request("/", "Host: other\r\n").as_bytes()).await,
        Reason::HostInvalid => {
            refused(reason, "", request("/", "").replace("Host: gate.example\r\n", "").as_bytes()).await;
        }
        Reason::RouteNotFound => {
            let toml = echo("", "").replace("\"/*\"", "\"/\"");
            refused_with(reason, Server::from_config(config(&toml)), request("/other", "").as_bytes()).await;
        }
        Reason::OriginRefused => {
            let toml = echo("", "").replace("origins = \"any\"", "origins = [\"https://app.example\"]");
            let mut case = Case::start_with(Server::from_config(config(&toml))).await;
            let mut raw = case.connect().await;
            raw.send(request("/", "Origin: https://evil.example\r\n").as_bytes()).await;
            raw.expect_refusal(reason).await;
            drop(raw);
            // The record has the one thing of the request that says why.
            let record = case.refused(reason, request("/", "").as_bytes()).await;
            assert_eq!(record["origin"], "https://evil.example", "{record}");
        }
        Reason::RequestBodyRefused => {
            refused(reason, "", request("/", "Content-Length: 0\r\n").as_bytes()).await;
        }
        Reason::SubprotocolsInvalid => {
            refused(reason, "", request("/", "Sec-WebSocket-Protocol: a, a\r\n").as_bytes()).await;
        }
        Reason::ExtensionsInvalid => {
            refused(reason, "", request("/", "Sec-WebSocket-Extensions: a;\r\n").as_bytes()).await;
        }
        Reason::ProxyUntrusted => {
            elsewhere("tests/attacks/addresses.rs", "fn r05_a_header_from_anybody_else");
        }
        Reason::ProxyHeaderInvalid => {
            elsewhere("tests/attacks/addresses.rs", "fn r05_a_missing_or_malformed");
        }
        Reason::ProxyHeaderTimeout => {
            elsewhere("tests/attacks/addresses.rs", "fn r05_a_header_that_does_not");
        }
        Reason::ForwardedInvalid => elsewhere("tests/attacks/addresses.rs", "fn r04_a_request_whose_client"),
        Reason::TlsHandshakeFailed => elsewhere("tests/attacks/tls/refusals.rs", "fn h26_plain_"),
        Reason::TlsTimeout => elsewhere("tests/attacks/tls/refusals.rs", "fn h11_"),
        Reason::TlsFull => elsewhere("tests/attacks/tls/refusals.rs", "fn r22_"),
        Reason::HostMisdirected => elsewhere("tests/attacks/tls.rs", "fn h13_"),
        Reason::AddressDenied => {
            let toml = echo("", "[firewall]\nallow = [\"127.0.0.1\", \"10.0.0.0/8\"]");
            crate::firewall::turned_away(reason, &toml).await;
        }
        Reason::AddressBanned => crate::firewall::banned(reason).await,
        Reason::RouteChanged => crate::operations::route_changed(reason).await,
        Reason::UpstreamDraining => crate::drained::drained(reason).await,
        Reason::HandshakeRateExceeded => {
            refused(reason, "[firewall]\nhandshakes_per_client_per_minute = 1", b"").await;
        }
        Reason::ClientConnectionsExceeded => {
            refused(reason, "[firewall]\nconnections_per_client_max = 1", b"").await;
        }
        Reason::ServerFull => refused_with(reason, builder("").connections_max(1), b"").await,
        // Takes the descriptors of a whole process.
        Reason::DescriptorsExhausted => elsewhere("../cli/tests/process/resources.rs", "fn r10_"),
        Reason::Draining => drained(Duration::from_secs(5), reason, true).await,
        Reason::UnauthenticatedFull => {
            let builder = builder(&token_route()).unauthenticated_max(0);
            refused_with(reason, builder, request("/token", "").as_bytes()).await;
        }
        Reason::FirstMessageTimeout => closed(reason, "/token", &token_route(), b"").await,
        Reason::FirstMessageInvalid => {
            closed(reason, "/token", &token_route(), &frame(0x82, b"binary")).await;
        }
        Reason::FirstMessageTooBig => {
            closed(reason, "/token", &token_route(), &frame(0x81, &[b'a'; 8193])).await;
        }
        Reason::TokenMissing => {
            let builder = builder(&token_route().replace("first_message\"]", "authorization_header\"]"));
            refused_with(reason, builder, request("/token", "").as_bytes()).await;
        }
        Reason::CredentialsConflicting => {
            let sources = r#"authorization_header", { query = "token" }]"#;
            let builder = builder(&token_route().replace("first_message\"]", sources));
            let sent = request("/token?token=a", "Authorization: Bearer a\r\n");
            refused_with(reason, builder, sent.as_bytes()).await;
        }
        Reason::TokenInvalid => closed(reason, "/token", &token_route(), &frame(0x81, b"no token")).await,
        Reason::AuthenticationRateExceeded => {
            let route = format!("{}\nfailures_per_client_per_minute = 1", token_route());
            crate::firewall::guessed(reason, &echo("", &route)).await;
        }
        Reason::TokenExpired => {
            let claims = serde_json::json!({ "sub": "alice", "exp": 1_000_000 });
            let token = sign_hs256(&Secret::new(KEY.as_bytes()), claims.as_object().unwrap());
            closed(reason, "/token", &token_route(), &frame(0x81, token.as_bytes())).await;
        }
        Reason::KeysUnavailable => crate::fetched::provoke().await,
        Reason::TokenRevoked
        | Reason::SubjectBanned
        | Reason::SessionsExceeded
        | Reason::SessionReplaced
        | Reason::SessionEnded
        | Reason::RefreshRefused => crate::sessions::provoke(reason).await,
        Reason::SessionTimeExceeded => {
            closed(reason, "/strict", &strict_route("session_time_max = \"50ms\""), b"").await;
        }
        Reason::IdleTimeout => {
            closed(reason, "/strict", &strict_route("idle_timeout = \"50ms\""), b"").await;
        }
        Reason::FrameReservedBits => closed(reason, "/", "", &frame(0xC1, b"")).await,
        Reason::FrameOpcodeUnknown => closed(reason, "/", "", &frame(0x83, b"")).await,
        Reason::ControlFragmented => closed(reason, "/", "", &frame(0x09, b"")).await,
        Reason::ControlTooLong => closed(reason, "/", "", &frame(0x89, &[0; 126])).await,
        Reason::FrameNotMasked => closed(reason, "/", "", b"\x81\x01a").await,
        // Only servers must not mask; the gateway is a client to upstreams alone.
        Reason::FrameMasked => {
            let mut masked = frame(0x81, b"a");
            let found = Receiver::new(Role::Client, Limits::default()).receive(&mut &mut masked[..]);
            assert_eq!(found, Err(Violation::Masked));
            assert_eq!(Reason::from(Violation::Masked), reason);
        }
        Reason::FrameLengthNotMinimal => closed(reason, "/", "", b"\x82\xfe\x00\x01").await,
        Reason::FrameLengthInvalid => closed(reason, "/", "", b"\x82\xff\x80").await,
        Reason::ContinuationUnexpected => closed(reason, "/", "", &frame(0x80, b"")).await,
        Reason::MessageInterleaved => {
            closed(reason, "/", "", &[frame(0x01, b"a"), frame(0x81, b"b")].concat()).await;
        }
        Reason::TextNotUtf8 => closed(reason, "/", "", &frame(0x81, b"\xff")).await,
        Reason::CloseBodyInvalid => closed(reason, "/", "", &frame(0x88, b"\x03")).await,
        Reason::CloseCodeInvalid => closed(reason, "/", "", &frame(0x88, b"\x03\xed")).await,
        Reason::CloseReasonNotUtf8 => closed(reason, "/", "", &frame(0x88, b"\x03\xe8\xff")).await,
        Reason::MessageTooBig => closed(reason, "/", "", b"\x82\xff\x00\x00\x00\x00\x40\x00\x00\x00").await,
        Reason::FragmentsTooMany => {
            let sent = [frame(0x02, b""), frame(0x00, b"").repeat(1024)].concat();
            closed(reason, "/", "", &sent).await;
        }
        Reason::DeflateInvalid => {
            let compressed = strict_route("compression = \"on\"");
            closed_on(reason, "/strict", OFFER, &compressed, &frame(0xC1, b"\xff\xff")).await;
        }
        Reason::InflationRateExceeded => {
            let limits =
                "compression = \"on\"\ninflated_bytes_per_second = \"1KiB\"\nmessage_bytes_max = \"1KiB\"";
            // 255 zeros each.
            let sent = frame(0xC2, b"\x62\x60\x18\xd1\x00\x00").repeat(100);
            closed_on(reason, "/strict", OFFER, &strict_route(limits), &sent).await;
        }
        Reason::MessageTimeout => {
            closed(reason, "/strict", &strict_route("message_timeout = \"50ms\""), &frame(0x01, b"a")).await;
        }
        Reason::PingRateExceeded => closed(reason, "/", "", &frame(0x89, b"").repeat(200)).await,
        Reason::PongRateExceeded => closed(reason, "/", "", &frame(0x8A, b"").repeat(200)).await,
        Reason::PongTimeout => {
            let limits = "ping_interval = \"50ms\"\npong_timeout = \"50ms\"";
            closed(reason, "/strict", &strict_route(limits), b"").await;
        }
        Reason::OutputStalled => {
            let builder = builder(&strict_route("stall_timeout = \"50ms\""));
            stuck(reason, builder, "/strict").await;
        }
        Reason::Overloaded => stuck(reason, builder(&strict_route("")).buffers_bytes_max(1), "/strict").await,
        Reason::CloseTimeout => {
            let mut case = Case::start_with(builder("").route(application(Act::Close))).await;
            let mut raw = case.connect().await;
            raw.upgrade("/application").await;
            raw.send(&frame(0x81, b"go")).await;
            assert_eq!(raw.read_close().await, (4000, "enough".to_owned()));
            raw.expect_end().await;
            case.refused(reason, b"").await;
        }
        Reason::MessageKindRefused => {
            elsewhere("tests/attacks/messages.rs", "fn m12_a_message_of_the_wrong_kind");
        }
        Reason::MessageNotJson => elsewhere("tests/attacks/messages.rs", "fn on_refusal_close_closes"),
        Reason::MessageSchemaMismatch => {
            elsewhere("tests/attacks/messages.rs", "fn a_message_that_does_not_fit_its_schema");
        }
        Reason::MessageTypeUnknown => {
            elsewhere("tests/attacks/messages.rs", "fn a_message_of_an_unknown_type");
        }
        Reason::MessageRateExceeded => {
            elsewhere("tests/attacks/rates.rs", "fn r12_messages_faster_than_the_rate");
        }
        Reason::ByteRateExceeded => elsewhere("tests/attacks/rates.rs", "fn r13_bytes_faster_than_the_rate"),
        Reason::UpstreamFull => elsewhere("tests/attacks/pool.rs", "fn u17_applications_without_room"),
        Reason::UpstreamsUnavailable => elsewhere("tests/attacks/pool.rs", "fn u11_where_all_are_left_alone"),
        Reason::AuditUnavailable => {
            elsewhere("tests/attacks/audit.rs", "fn o05_while_the_audit_log_cannot_be_written_nobody");
        }
        Reason::PolicyRefused => elsewhere("tests/attacks/policy.rs", "fn m13_a_rule_closes_or_drops"),
        Reason::PolicyRuleFailed => elsewhere("tests/attacks/policy.rs", "fn m13_a_rule_that_cannot_be_told"),
        Reason::PayloadUnsealed => {
            elsewhere("tests/attacks/sealed.rs", "fn what_is_not_sealed_as_it_has_to_be");
        }
        Reason::SealSpent => elsewhere("tests/attacks/sealed.rs", "fn a_session_ends_before_its_key"),
        Reason::RefusalsExceeded => elsewhere("tests/attacks/messages.rs", "fn too_many_refusals"),
        Reason::ReplyRefused => elsewhere("tests/attacks/messages.rs", "fn a_reply_that_is_refused_closes"),
        Reason::HandlerPanicked => {
            let mut case = Case::start_with(builder("").route(application(Act::Panic))).await;
            let mut raw = case.connect().await;
            raw.upgrade("/application").await;
            raw.send(&frame(0x81, b"go")).await;
            raw.send(&frame(0x88, b"\x03\xf3")).await;
            raw.expect_close(reason).await;
            case.refused(reason, b"").await;
        }
        Reason::InternalError => internal_error().await,
        Reason::ClosedByClient => {
            let mut case = Case::start(&echo("", "")).await;
            let mut raw = case.open().await;
            raw.send(&frame(0x88, b"\x0f\xa0bye")).await;
            assert_eq!(raw.read_close().await, (4000, String::new()));
            raw.expect_end().await;
            drop(raw);
            assert_eq!(case.refused(reason, b"").await["close_code"], 4000);
        }
        Reason::ClosedByApplication => {
            let mut case = Case::start_with(builder("").route(application(Act::Close))).await;
            let mut raw = case.connect().await;
            raw.upgrade("/application").await;
            raw.send(&frame(0x81, b"go")).await;
            assert_eq!(raw.read_close().await, (4000, "enough".to_owned()));
            raw.send(&frame(0x88, b"\x0f\xa0")).await;
            raw.expect_end().await;
            drop(raw);
            assert_eq!(case.refused(reason, b"").await["close_code"], 4000);
        }
        Reason::ConnectionLost => {
            let mut case = Case::start(&echo("", "")).await;
            drop(case.open().await);
            assert_eq!(case.refused(reason, b"").await["close_code"], 1006);
        }
        Reason::ConnectionReset => {
            let mut case = Case::start(&echo("", "")).await;
            let raw = case.open().await;
            socket2::SockRef::from(&raw.stream).set_linger(Some(Duration::ZERO)).unwrap();
            drop(raw);
            assert_eq!(case.refused(reason, b"").await["close_code"], 1006);
        }
        Reason::UpstreamRefused => elsewhere("tests/attacks/upstream.rs", "fn u01_"),
        Reason::UpstreamUnreachable => elsewhere("tests/attacks/upstream.rs", "fn u01_no_way_"),
        Reason::UpstreamTimeout => elsewhere("tests/attacks/upstream.rs", "fn u03_"),
        Reason::UpstreamTlsFailed => elsewhere("tests/attacks/upstream.rs", "fn u12_"),
        Reason::UpstreamDeclined => elsewhere("tests/attacks/upstream.rs", "fn u15_"),
        Reason::UpstreamAnswerInvalid => elsewhere("tests/attacks/upstream.rs", "fn h05_"),
        Reason::UpstreamLost => elsewhere("tests/attacks/relayed.rs", "fn u05_"),
        Reason::UpstreamMisbehaved => elsewhere("tests/attacks/relayed.rs", "fn u06_"),
        Reason::UpstreamStalled => elsewhere("tests/attacks/relayed.rs", "fn u04_"),
        Reason::UpstreamSilent => elsewhere("tests/attacks/relayed.rs", "fn u07_"),
        Reason::ForcedShutdown => drained(Duration::from_millis(50), reason, false).await,
    }
}

fn config(toml: &str) -> Config {
    Config::from_toml(toml, Path::new("."), &|_| None).unwrap_or_else(|problems| panic!("{problems}"))
}

/// An open echo, and what `more` says.
fn builder(more: &str) -> Builder {
    Server::from_config(config(&echo("", more)))
}

/// A route at `/strict` beside the open one, whose clients live by `limits`.
fn strict_route(limits: &str) -> String {
    format!(
        r#"
        [routes.strict]
        listeners = ["main"]
        path = "/strict"
        origins = "any"
        auth = "none"
        backend = "echo"
        [routes.strict.limits]
        close_timeout = "100ms"
        {limits}
        "#
    )
}

/// A route at `/token` that wants a token as first message within 100 ms.
fn token_route() -> String {
    let key = std::env::temp_dir().join(format!("drawgate-reasons-{}.secret", std::process::id()));
    std::fs::write(&key, KEY).unwrap();
    format!(
        r#"
        [routes.token]
        listeners = ["main"]
        path = "/token"
        origins = "any"
        auth = "users"
        backend = "echo"
        [routes.token.limits]
        close_timeout = "100ms"
        [auth.users]
        credentials = ["first_message"]
        first_message_timeout = "100ms"
        algorithms = ["HS256"]
        keys = {{ secret_file = {key:?} }}
        issuer = "any"
        audience = "any"
        "#
    )
}

/// What is sent is refused before the 101.
async fn refused(reason: Reason, more: &str, sent: &[u8]) {
    refused_with(reason, builder(more), sent).await;
}

async fn refused_with(reason: Reason, builder: Builder, sent: &[u8]) {
    let mut case = Case::start_with(builder).await;
    let mut raw = case.connect().await;
    raw.send(sent).await;
    let response = raw.expect_refusal(reason).await;
    let seconds = reason.row().retry.after_seconds();
    assert!(seconds.is_none_or(|least| response.retry_after().unwrap() >= least), "{response:?}");
    drop(raw);
    let record = case.refused(reason, sent).await;
    assert_eq!(record["http_status"], response.status);
}

/// What is sent on an open connection to `target` closes it.
async fn closed(reason: Reason, target: &str, more: &str, sent: &[u8]) {
    closed_on(reason, target, "", more, sent).await;
}

/// The same, with `headers` in the request.
async fn closed_on(reason: Reason, target: &str, headers: &str, more: &str, sent: &[u8]) {
    let mut case = Case::start(&echo("", more)).await;
    let mut raw = case.connect().await;
    raw.send(request(target, headers).as_bytes()).await;
    assert_eq!(raw.read_response().await.status, 101);
    raw.send(sent).await;
    raw.expect_close_then_answer(reason).await;
    drop(raw);
    let record = case.refused(reason, sent).await;
    assert_eq!(record["close_code"], reason.row().close.unwrap().get());
    match reason {
        Reason::MessageTooBig => {
            assert_eq!((&record["limit"], &record["observed"]), (&(1 << 20).into(), &(1 << 30).into()));
        }
        Reason::FragmentsTooMany => {
            assert_eq!((&record["limit"], &record["observed"]), (&1024.into(), &1025.into()));
        }
        Reason::MessageTimeout | Reason::PongTimeout | Reason::SessionTimeExceeded | Reason::IdleTimeout => {
            assert_eq!(record["limit"], 50);
            assert!(
                record["observed"].as_u64().is_some_and(|observed| (50..1000).contains(&observed)),
                "{record}"
            );
        }
        Reason::FirstMessageTimeout => assert_eq!(record["limit"], 100),
        _ => {}
    }
}

/// A client sends and never reads, until the gateway has had enough.
async fn stuck(reason: Reason, builder: Builder, target: &str) {
    let mut case = Case::start_with(builder).await;
    let mut raw = case.connect().await;
    raw.upgrade(target).await;
    let message = frame(0x82, &[0; 60_000]);
    while case.ends(reason) == 0 {
        raw.send_while_it_is_taken(&message).await;
    }
    drop(raw);
    case.refused(reason, b"").await;
}

/// The gateway drains; a client that answers its Close is let go, one that does not is cut.
async fn drained(drain_timeout: Duration, reason: Reason, answers: bool) {
    let mut case = Case::start_with(builder("").drain_timeout(drain_timeout)).await;
    let mut raw = case.open().await;
    case.drain();
    if answers {
        raw.expect_close_then_answer(Reason::Draining).await;
    }
    let ended = Box::pin(case.stopped()).await;
    assert!(ended.ends(reason) >= 1, "{}", ended.log_text());
}

fn elsewhere(file: &str, test: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(text.contains(test), "{} has no {test}", path.display());
}

#[derive(Clone, Copy)]
enum Act {
    Close,
    Panic,
}

impl Handler for Act {
    async fn message(&self, session: &Session, _: Message) {
        match self {
            Self::Close => session.close(CloseCode::new(4000).unwrap(), "enough"),
            Self::Panic => panic!("a handler's own fault"),
        }
    }
}

fn application(act: Act) -> Route {
    let limits = drawgate::limits::Limits { close_timeout: Duration::from_millis(100), ..Default::default() };
    Route::new("application", "/application", Origins::Any, Access::Open, act).unwrap().limits(limits)
}

/// Something of ours panics: here a socket, which no handler answers for.
async fn internal_error() {
    let server = builder("").bind().unwrap();
    let (entry, observer) = (server.entry("main").unwrap(), server.observer());
    let running = tokio::spawn(server.run(std::future::pending()));
    entry.serve(PanickingSocket, "127.0.0.1:1".parse().unwrap()).await;
    let line = "drawgate_ends_total{reason=\"internal_error\",side=\"gateway\"} 1\n";
    assert!(observer.render().contains(line), "{}", observer.render());
    running.abort();
}

struct PanickingSocket;

impl AsyncRead for PanickingSocket {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        panic!("a socket's own fault");
    }
}

impl AsyncWrite for PanickingSocket {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Raw {
    /// The Close comes; it is answered with the same code, and the connection ends.
    async fn expect_close_then_answer(&mut self, reason: Reason) {
        let row = reason.row();
        let (code, text) = self.read_close().await;
        assert_eq!((Some(code), &*text), (row.close.map(CloseCode::get), row.close_reason));
        self.send_frame(0x88, &code.to_be_bytes()).await;
        self.expect_end().await;
    }

    /// Sends for as long as the socket takes it at once.
    async fn send_while_it_is_taken(&mut self, bytes: &[u8]) {
        while self.stream.try_write(bytes).is_ok_and(|count| count == bytes.len()) {
            tokio::task::yield_now().await;
        }
        // The client's pace, between two looks at whether it is taken again.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
const KEY: &str = "0123456789abcdef0123456789abcdef";
