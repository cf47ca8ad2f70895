//! A: credentials in the request: found where they may be, refused where they must be, told and kept nowhere.

use std::path::Path;
use std::time::Duration;

use drawgate::auth::token::sign_hs256;
use drawgate::config::Config;
use drawgate::reason::Reason;
use drawgate::secret::Secret;
use drawgate::ticket::{Grant, Tickets};
use drawgate::{Server, clock::Clock};
use serde_json::{Value, json};
use std::sync::Arc;

use crate::support::{Case, Frame, Raw, echo, request};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// An open echo at `/`, and a route at `/token` with these lines of `[auth.users]` and of the route.
fn with_credentials(credentials: &str, route: &str) -> (String, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), KEY).unwrap();
    let more = format!(
        r#"
        [routes.token]
        listeners = ["main"]
        path = "/token"
        origins = ["https://app.example"]
        auth = "users"
        backend = "echo"
        {route}
        [routes.token.limits]
        close_timeout = "300ms"
        [auth.users]
        credentials = {credentials}
        algorithms = ["HS256"]
        keys = {{ secret_file = {:?} }}
        issuer = "any"
        audience = "any"
        first_message_timeout = "300ms"
        "#,
        file.path()
    );
    (echo("", &more), file)
}

async fn start(credentials: &str, route: &str) -> Case {
    let (toml, _file) = with_credentials(credentials, route);
    Case::start(&toml).await
}

fn token(expires_in: i64) -> String {
    let now = i64::try_from(Clock::system().unix_now().seconds()).unwrap();
    let claims = json!({ "sub": "alice", "exp": now + expires_in, "canary": "seen-nowhere" });
    sign_hs256(&Secret::new(KEY.as_bytes()), claims.as_object().unwrap())
}

const ALL: &str = r#"["authorization_header", "subprotocol", "ticket", { cookie = "session" }, { query = "access_token" }]"#;

/// Asks for `target` with these header lines; gives what is answered.
async fn ask(case: &Case, target: &str, lines: &str) -> (Raw, String) {
    let mut raw = case.connect().await;
    raw.send(request(target, lines).as_bytes()).await;
    let head = raw.read_head().await;
    (raw, head)
}

async fn expect_refusal(case: &mut Case, target: &str, lines: &str, reason: Reason) -> (String, Value) {
    let sent = request(target, lines);
    let mut raw = case.connect().await;
    raw.send(sent.as_bytes()).await;
    let response = raw.expect_refusal(reason).await;
    let record =
        case.refused(reason, sent.split("access_token=").nth(1).unwrap_or_default().as_bytes()).await;
    assert_eq!(record["route"], "token", "{record}");
    (response.head, record)
}

#[tokio::test]
async fn a28_a29_a_token_gets_in_from_each_place_and_is_seen_in_no_other() {
    let case = start(ALL, "").await;
    let token = token(60);
    for (target, lines) in [
        ("/token".to_owned(), format!("Authorization: Bearer {token}\r\n")),
        ("/token".to_owned(), format!("Cookie: a=b; session={token}\r\nOrigin: https://app.example\r\n")),
        (format!("/token?x=1&access_token={token}"), String::new()),
        ("/token".to_owned(), format!("Sec-WebSocket-Protocol: chat, drawgate.token.{token}\r\n")),
    ] {
        let (mut raw, head) = ask(&case, &target, &lines).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(!head.contains("Sec-WebSocket-Protocol"), "nothing speaks chat here: {head}");
        raw.send_frame(0x81, b"hello").await;
        assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"hello"));
        raw.send_frame(0x88, &[]).await;
        raw.read_frame().await;
        raw.expect_end().await;
    }
    let log = case.log_text();
    assert!(log.contains("\"subject\":\"alice\"") && !log.contains("seen-nowhere"), "{log}");
    let records = case.records();
    let is_ours = |record: &&Value| record["message"] == "connection opened" && record["route"] == "token";
    let opened: Vec<_> = records.iter().filter(is_ours).collect();
    assert!(opened.len() == 4 && opened.iter().all(|record| record["subject"] == "alice"), "{log}");
    let origins: Vec<_> = opened.iter().map(|record| record["origin"].as_str()).collect();
    assert_eq!(origins, [None, Some("https://app.example"), None, None], "{log}");
    case.keeps_nothing_of(token.as_bytes());
    let metrics = case.observer.render();
    assert!(!metrics.contains(&token[..16]) && !metrics.contains("alice"), "{metrics}");
}

#[tokio::test]
async fn a29_the_subprotocol_that_means_no_other_is_chosen_and_the_token_is_never_echoed() {
    let case = start(ALL, "").await;
    let offer = format!("Sec-WebSocket-Protocol: drawgate, drawgate.token.{}\r\n", token(60));
    let (_raw, head) = ask(&case, "/token", &offer).await;
    assert!(
        head.starts_with("HTTP/1.1 101 ") && head.contains("Sec-WebSocket-Protocol: drawgate\r\n"),
        "{head}"
    );
    assert!(!head.contains("drawgate.token"), "{head}");
}

#[tokio::test]
async fn h09_a29_a_token_among_the_subprotocols_may_be_as_long_as_any() {
    let case = start(ALL, "").await;
    let now = Clock::system().unix_now().seconds();
    let claims = json!({ "sub": "alice", "exp": now + 60, "roles": "r".repeat(5000) });
    let token = sign_hs256(&Secret::new(KEY.as_bytes()), claims.as_object().unwrap());
    let offer = format!("Sec-WebSocket-Protocol: drawgate.token.{token}, drawgate\r\n");
    let (_raw, head) = ask(&case, "/token", &offer).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

#[tokio::test]
async fn a29_a_token_as_the_only_subprotocol_is_refused() {
    let mut case = start(ALL, "").await;
    let offer = format!("Sec-WebSocket-Protocol: drawgate.token.{}\r\n", token(60));
    let (head, record) = expect_refusal(&mut case, "/token", &offer, Reason::SubprotocolsInvalid).await;
    assert!(!head.contains("drawgate.token"), "{head}");
    assert!(record["detail"].as_str().unwrap().contains("only subprotocol"), "{record}");
}

#[tokio::test]
async fn a17_two_tokens_in_one_request_are_refused() {
    let mut case = start(ALL, "").await;
    let token = token(60);
    let lines = format!("Authorization: Bearer {token}\r\n");
    let target = format!("/token?access_token={token}");
    let (head, _) = expect_refusal(&mut case, &target, &lines, Reason::CredentialsConflicting).await;
    assert!(head.contains("error=\"invalid_request\""), "{head}");
}

#[tokio::test]
async fn a11_what_is_wrong_with_a_token_is_told_in_one_uniform_answer_but_expiry_of_a_genuine_one() {
    let mut answers = Vec::new();
    let other_key =
        sign_hs256(&Secret::new(&[b'x'; 32]), json!({ "sub": "alice", "exp": 1 }).as_object().unwrap());
    let no_expiry = sign_hs256(&Secret::new(KEY.as_bytes()), json!({ "sub": "alice" }).as_object().unwrap());
    for wrong in ["", "no token", "a.b.c", &other_key, &no_expiry] {
        let mut case = start(ALL, "").await;
        let lines = format!("Authorization: Bearer {wrong}\r\n");
        let mut raw = case.connect().await;
        raw.send(request("/token", &lines).as_bytes()).await;
        let response = raw.expect_refusal(Reason::TokenInvalid).await;
        case.refused(Reason::TokenInvalid, lines.as_bytes()).await;
        answers.push((response.head, response.body));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let challenge = "WWW-Authenticate: Bearer realm=\"drawgate\", error=\"invalid_token\"";
    assert!(answers[0].0.contains(challenge), "{answers:?}");

    let mut case = start(ALL, "").await;
    let lines = format!("Authorization: Bearer {}\r\n", token(-3600));
    expect_refusal(&mut case, "/token", &lines, Reason::TokenExpired).await;
}

#[tokio::test]
async fn a_request_without_a_token_is_told_how_to_bring_one_and_no_more() {
    let mut case = start(ALL, "").await;
    let (head, _) =
        expect_refusal(&mut case, "/token", "Authorization: Basic YTpi\r\n", Reason::TokenMissing).await;
    assert!(head.contains("\r\nWWW-Authenticate: Bearer realm=\"drawgate\"\r\n"), "{head}");
}

#[tokio::test]
async fn a_request_may_bring_the_token_or_leave_it_to_the_first_message() {
    let case = start(r#"["authorization_header", "first_message"]"#, "notice = \"text\"").await;
    let (mut raw, head) = ask(&case, "/token", "").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    raw.send_frame(0x81, token(60).as_bytes()).await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"Authenticated!"));
    let lines = format!("Authorization: Bearer {}\r\n", token(60));
    let (mut raw, head) = ask(&case, "/token", &lines).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    raw.send_frame(0x81, b"hello").await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"hello"));
}

#[tokio::test]
async fn a36_a_cookie_is_no_credential_without_an_origin_that_is_named() {
    for origin in
        ["", "Origin: https://evil.example\r\n", "Origin: null\r\n", "Origin: https://app.example.evil\r\n"]
    {
        let mut case = start(ALL, "").await;
        let lines = format!("Cookie: session={}\r\n{origin}", token(60));
        expect_refusal(&mut case, "/token", &lines, Reason::OriginRefused).await;
    }
}

#[test]
fn a36_a_cookie_and_any_origin_do_not_go_together() {
    let (toml, _file) = with_credentials(ALL, "");
    let toml = toml.replace("origins = [\"https://app.example\"]", "origins = \"any\"");
    let problems = Config::from_toml(&toml, Path::new("."), &|_| None).unwrap_err().to_string();
    assert!(problems.contains("routes.token.origins"), "{problems}");
    assert!(problems.contains("lets every page use the cookie"), "{problems}");
}

#[tokio::test]
async fn a_page_hears_why_it_is_refused_where_the_route_says_so() {
    for (lines, reason) in [
        (String::new(), Reason::TokenMissing),
        (format!("Authorization: Bearer {}\r\n", token(-3600)), Reason::TokenExpired),
        ("Authorization: Bearer a.b.c\r\n".to_owned(), Reason::TokenInvalid),
    ] {
        let mut case = start(ALL, "refuse = \"close\"\n notice = \"text\"").await;
        let (mut raw, head) = ask(&case, "/token", &lines).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        raw.send_frame(0x81, b"never echoed").await;
        assert_eq!(raw.read_frame().await, Frame::whole(0x81, reason.row().title.as_bytes()));
        raw.expect_close(reason).await;
        drop(raw);
        let record = case.refused(reason, lines.as_bytes()).await;
        assert_eq!(record["close_code"], 3000, "{record}");
    }
    // What is not about who speaks is refused before there is a WebSocket.
    let mut case = start(ALL, "refuse = \"close\"").await;
    let both = format!("Authorization: Bearer {0}\r\nCookie: session={0}\r\n", token(60));
    expect_refusal(&mut case, "/token", &both, Reason::CredentialsConflicting).await;
}

fn issue(tickets: &Tickets, route: &str, secret: u8) -> String {
    let grant = Grant {
        subject: "alice".into(),
        claims: serde_json::Map::new(),
        route: route.into(),
        session_time: Duration::from_secs(600),
    };
    let clock = Clock::system();
    tickets.issue(grant, [secret; 32], clock.now(), clock.unix_now()).unwrap()
}

/// A case, and the tickets of its gateway.
async fn with_tickets(credentials: &str) -> (Case, Arc<Tickets>) {
    let (toml, _file) = with_credentials(credentials, "notice = \"text\"");
    let config = Config::from_toml(&toml, Path::new("."), &|_| None).unwrap();
    let tickets = Arc::new(Tickets::default());
    let builder = Server::from_config(config).tickets(Arc::clone(&tickets));
    (Case::start_with(builder).await, tickets)
}

#[tokio::test]
async fn a20_a_ticket_opens_its_route_once_from_each_place() {
    let (mut case, tickets) = with_tickets(r#"["ticket", "first_message"]"#).await;
    let in_query = |ticket: &str| (format!("/token?ticket={ticket}"), String::new());
    let in_protocol = |ticket: &str| {
        ("/token".to_owned(), format!("Sec-WebSocket-Protocol: drawgate, drawgate.ticket.{ticket}\r\n"))
    };
    for (secret, place) in [(1, in_query as fn(&str) -> _), (2, in_protocol)] {
        let ticket = issue(&tickets, "token", secret);
        let (target, lines) = place(&ticket);
        let (mut raw, head) = ask(&case, &target, &lines).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        raw.send_frame(0x81, b"hello").await;
        assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"hello"));
        case.keeps_nothing_of(ticket.as_bytes());
    }
    let ticket = issue(&tickets, "token", 3);
    for is_first in [true, false] {
        let (mut raw, _) = ask(&case, "/token", "").await;
        raw.send_frame(0x81, ticket.as_bytes()).await;
        if is_first {
            assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"Authenticated!"));
            raw.send_frame(0x88, &[]).await;
        } else {
            raw.expect_close(Reason::TokenInvalid).await;
        }
    }
    case.refused(Reason::TokenInvalid, ticket.as_bytes()).await;
}

#[tokio::test]
async fn a20_a_ticket_shown_again_or_elsewhere_is_refused_like_any_other() {
    let (mut case, tickets) = with_tickets(r#"["ticket"]"#).await;
    let ticket = issue(&tickets, "another", 1);
    let target = format!("/token?ticket={ticket}");
    let (head, record) = expect_refusal(&mut case, &target, "", Reason::TokenInvalid).await;
    assert!(head.contains("error=\"invalid_token\""), "{head}");
    assert!(record["detail"].as_str().unwrap().contains("no such ticket"), "{record}");
    case.keeps_nothing_of(ticket.as_bytes());
    assert_eq!(tickets.count(), 0);
}
