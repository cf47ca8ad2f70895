//! A: sessions through real sockets: limited, revoked, refreshed, and ended on time.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use drawgate::auth::token::sign_hs256;
use drawgate::clock::{Clock, UnixTime};
use drawgate::config::Config;
use drawgate::reason::Reason;
use drawgate::secret::Secret;
use drawgate::session::revocation::{SubjectBan, Target};
use drawgate::session::{End, SessionId, Which};
use drawgate::{Access, Handler, Message, Origins, Route, Server, Session};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Case, Frame, Raw, echo, eventually, frame, request};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// An open echo, and one at `/token` whose sessions live by `auth`, lines of `[auth.users]`, and by `limits`.
pub(crate) fn with_sessions(auth: &str, limits: &str) -> String {
    // Once for all tests: one that is written anew is empty for a moment.
    static KEY_FILE: LazyLock<PathBuf> = LazyLock::new(|| {
        let path = std::env::temp_dir().join(format!("drawgate-sessions-{}.secret", std::process::id()));
        std::fs::write(&path, KEY).unwrap();
        path
    });
    let key = &*KEY_FILE;
    let more = format!(
        r#"
        [routes.token]
        listeners = ["main"]
        path = "/token"
        origins = "any"
        auth = "users"
        backend = "echo"
        notice = "json"
        [routes.token.limits]
        close_timeout = "300ms"
        {limits}
        [auth.users]
        credentials = ["authorization_header", "first_message"]
        algorithms = ["HS256"]
        keys = {{ secret_file = {key:?} }}
        issuer = "any"
        audience = "any"
        leeway = "0s"
        {auth}
        [firewall]
        handshakes_per_client_per_minute = "unlimited"
        "#
    );
    echo("", &more)
}

async fn start(auth: &str, limits: &str) -> Case {
    Case::start(&with_sessions(auth, limits)).await
}

fn now() -> u64 {
    Clock::system().unix_now().seconds()
}

/// A token of `subject` for a minute, with `claims` over that.
pub(crate) fn token(subject: &str, claims: &Value) -> String {
    let mut all = json!({ "sub": subject, "iat": now() - 10, "exp": now() + 600 });
    let members = all.as_object_mut().unwrap();
    members.extend(claims.as_object().unwrap().clone());
    sign_hs256(&Secret::new(KEY.as_bytes()), members)
}

/// A connection to `/token` that shows this token in its request, and the head of the answer.
pub(crate) async fn show(case: &Case, token: &str) -> (Raw, String) {
    let mut raw = case.connect().await;
    raw.send(request("/token", &format!("Authorization: Bearer {token}\r\n")).as_bytes()).await;
    let head = raw.read_head().await;
    (raw, head)
}

/// A session of `subject`.
pub(crate) async fn open(case: &Case, subject: &str, claims: &Value) -> Raw {
    let (raw, head) = show(case, &token(subject, claims)).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    raw
}

/// A connection to `/token` that has shown this token as its first message.
async fn show_first(case: &Case, token: &str) -> Raw {
    let mut raw = case.connect().await;
    raw.upgrade("/token").await;
    raw.send_frame(0x81, token.as_bytes()).await;
    raw
}

/// The next message, which must be a notice.
async fn notice(raw: &mut Raw) -> Value {
    let frame = raw.read_frame().await;
    assert_eq!(frame.first, 0x81, "{frame:?}");
    serde_json::from_slice(&frame.payload).unwrap()
}

/// The session still gets its echo.
async fn lives(raw: &mut Raw) {
    raw.send_frame(0x81, b"still here?").await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"still here?"));
}

async fn expect_close_then_answer(raw: &mut Raw, reason: Reason) {
    let row = reason.row();
    let (code, text) = raw.read_close().await;
    assert_eq!((Some(code), &*text), (row.close.map(drawgate::CloseCode::get), row.close_reason));
    raw.send_frame(0x88, &code.to_be_bytes()).await;
    raw.expect_end().await;
}

pub(crate) fn revoke(case: &Case, target: Target) -> usize {
    let now = Clock::system().unix_now();
    case.sessions.revoke(&case.sessions.revocation(target, now), now).unwrap().closed
}

pub(crate) fn logout(subject: &str) -> Target {
    Target::Subject { subject: subject.to_owned(), cutoff: Clock::system().unix_now() }
}

/// Makes a connection end for `reason`, for the table of reasons.
pub(crate) async fn provoke(reason: Reason) {
    let auth = match reason {
        Reason::SessionsExceeded => "sessions_per_subject_max = 1",
        Reason::SessionReplaced => "sessions_per_subject_max = 1\nsessions_at_limit = \"end_oldest\"",
        Reason::RefreshRefused => "refresh = \"on\"",
        _ => "",
    };
    let mut case = start(auth, "").await;
    let mut raw = open(&case, "alice", &json!({})).await;
    let mut other = None;
    match reason {
        Reason::TokenRevoked => assert_eq!(revoke(&case, logout("alice")), 1),
        Reason::SubjectBanned => {
            let ban = SubjectBan { subject: "alice".to_owned(), until: None };
            assert_eq!(case.sessions.ban(&ban, Clock::system().unix_now()).unwrap().closed, 1);
        }
        Reason::SessionsExceeded => {
            let second = show_first(&case, &token("alice", &json!({}))).await;
            other = Some(std::mem::replace(&mut raw, second));
        }
        Reason::SessionReplaced => other = Some(open(&case, "alice", &json!({})).await),
        Reason::SessionEnded => assert_eq!(case.sessions.end(Which::Subject("alice"), End::Ended), 1),
        Reason::RefreshRefused => raw.send_frame(0x81, b"drawgate.refresh no.token.really").await,
        other => panic!("{other:?} is no end of a session"),
    }
    expect_close_then_answer(&mut raw, reason).await;
    drop(raw);
    let record = case.refused(reason, b"drawgate.refresh no.token.really").await;
    assert_eq!(record["subject"], "alice", "{record}");
    assert_eq!(record["session"].is_string(), reason != Reason::SessionsExceeded, "{record}");
    if let Some(mut other) = other {
        lives(&mut other).await;
    }
}

#[tokio::test]
async fn a21_what_is_revoked_or_banned_gets_in_neither_by_request_nor_by_message() {
    let case = start("", "").await;
    let good = token("alice", &json!({ "jti": "good", "sid": "good" }));
    for (name, target, claims) in [
        ("bob", Target::Token { token_id: "t1".to_owned() }, json!({ "jti": "t1" })),
        ("carol", Target::Session { session: "s1".to_owned() }, json!({ "sid": "s1" })),
        (
            "dave",
            Target::Subject { subject: "dave".to_owned(), cutoff: UnixTime::from_seconds(now() - 5) },
            json!({}),
        ),
    ] {
        assert_eq!(revoke(&case, target), 0);
        let revoked = token(name, &claims);
        let (_, head) = show(&case, &revoked).await;
        assert!(head.starts_with("HTTP/1.1 401 "), "{name}: {head}");
        show_first(&case, &revoked).await.expect_close_after_notice(Reason::TokenRevoked).await;
        // Another token, from after the logout, works.
        let fresh = token(name, &json!({ "iat": now(), "jti": "t2" }));
        let (_, head) = show(&case, &fresh).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{name}: {head}");
    }
    let ban = SubjectBan { subject: "eve".to_owned(), until: None };
    case.sessions.ban(&ban, Clock::system().unix_now()).unwrap();
    let (_, head) = show(&case, &token("eve", &json!({ "iat": now() }))).await;
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    show_first(&case, &token("eve", &json!({}))).await.expect_close_after_notice(Reason::SubjectBanned).await;
    let (mut raw, head) = show(&case, &good).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    lives(&mut raw).await;
}

impl Raw {
    /// The notice of `reason` comes, then its Close.
    async fn expect_close_after_notice(&mut self, reason: Reason) {
        assert_eq!(notice(self).await["type"], reason.row().type_uri);
        expect_close_then_answer(self, reason).await;
    }
}

#[tokio::test]
async fn a_revocation_is_remembered_for_as_long_as_a_token_can_be_valid() {
    let target = Target::Token { token_id: "t1".to_owned() };
    for (auth, expected_seconds) in [
        ("", Some(24 * 3600)),
        ("token_lifetime_max = \"10m\"", Some(600)),
        // A ticket waits for 30 s, whatever tokens do.
        ("token_lifetime_max = \"1s\"", Some(30)),
        ("token_lifetime_max = \"unlimited\"", None),
    ] {
        let case = start(auth, "").await;
        let now = UnixTime::from_seconds(1000);
        let until = case.sessions.revocation(target.clone(), now).until;
        assert_eq!(until.map(|until| until.since(now).as_secs()), expected_seconds, "{auth}");
    }
}

#[tokio::test]
async fn a22_a_logout_closes_every_connection_of_its_subject_within_100_ms_and_no_other() {
    let case = start("", "").await;
    let mut alices = Vec::new();
    for _ in 0..20 {
        alices.push(open(&case, "alice", &json!({})).await);
    }
    let mut bob = open(&case, "bob", &json!({})).await;
    // One is in the middle of a message, one reads nothing.
    alices[0].send(&frame(0x01, b"half a mess")).await;
    lives(&mut alices[1]).await;
    let begun = Instant::now();
    assert_eq!(revoke(&case, logout("alice")), 20);
    for alice in &mut alices {
        let (code, _) = timeout(Duration::from_millis(100), alice.read_close()).await.unwrap();
        assert_eq!(code, 3000);
    }
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    lives(&mut bob).await;
    assert_eq!(case.sessions.count(), 1);
}

#[tokio::test]
async fn a22_a_client_that_does_not_read_is_cut_off_all_the_same() {
    let case = start("", "").await;
    let mut raw = Raw::connect_narrow(case.address).await;
    let bearer = format!("Authorization: Bearer {}\r\n", token("alice", &json!({})));
    raw.send(request("/token", &bearer).as_bytes()).await;
    raw.read_head().await;
    // Until what it is sent back fits nowhere any more.
    let message = frame(0x82, &[7; 60_000]);
    let mut last_taken = Instant::now();
    while last_taken.elapsed() < Duration::from_millis(200) {
        if raw.stream.try_write(&message).is_ok() {
            last_taken = Instant::now();
        }
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(revoke(&case, logout("alice")), 1);
    // It ends when its Close is not answered, and takes in nothing more before.
    eventually(|| case.ends(Reason::TokenRevoked) == 1, || case.log_text()).await;
}

#[tokio::test]
async fn a23_a_session_is_warned_and_ends_when_its_token_does() {
    let case = start("expiry_warning = \"1s\"", "").await;
    let expires_at = now() + 2;
    let mut raw = open(&case, "alice", &json!({ "exp": expires_at })).await;
    // A message that is under way puts the warning off, and is not broken by it.
    raw.send(&frame(0x01, &[b'a'; 2000])).await;
    assert_eq!(raw.read_frame().await.first, 0x01);
    let unix_millis = || Clock::system().unix_now().millis();
    while unix_millis() < (expires_at - 1) * 1000 + 200 {
        sleep(Duration::from_millis(10)).await;
    }
    raw.send(&frame(0x80, b"end")).await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x80, b"end"));
    let warning = notice(&mut raw).await;
    assert_eq!(warning["type"], "session_expiring");
    let told = warning["expires_at"].as_str().unwrap();
    assert_eq!(told, UnixTime::from_seconds(expires_at).to_string());
    raw.expect_close_after_notice(Reason::TokenExpired).await;
    let late_millis = unix_millis().saturating_sub(expires_at * 1000);
    assert!(unix_millis() >= expires_at * 1000 && late_millis < 1000, "{late_millis} ms late");
}

#[tokio::test]
async fn a24_a_good_token_prolongs_the_session_and_is_nobody_elses_business() {
    let case = start("refresh = \"on\"\nexpiry_warning = \"unlimited\"", "").await;
    let mut raw = open(&case, "alice", &json!({ "exp": now() + 2, "jti": "t1" })).await;
    let mut brief = open(&case, "alice", &json!({ "exp": now() + 2, "jti": "t3" })).await;
    let id = case.sessions.list(Which::Token("t1"), None, 1).sessions[0].id;
    let next = token("alice", &json!({ "jti": "t2" }));
    let refresh = format!("drawgate.refresh {next}");
    // In two pieces, with a message behind it that has to wait.
    let sent = [frame(0x81, refresh.as_bytes()), frame(0x81, b"behind")].concat();
    let (front, back) = sent.split_at(20);
    raw.send(front).await;
    raw.send(back).await;
    assert_eq!(notice(&mut raw).await["type"], "session_refreshed");
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"behind"));
    brief.expect_close_after_notice(Reason::TokenExpired).await;
    lives(&mut raw).await;
    assert_eq!(case.sessions.get(id).unwrap().principal.token_id.as_deref(), Some("t2"));
    // The old token's name is no way to it any more, the new one's is.
    assert_eq!(revoke(&case, Target::Token { token_id: "t1".to_owned() }), 0);
    assert_eq!(revoke(&case, Target::Token { token_id: "t2".to_owned() }), 1);
    raw.expect_close_after_notice(Reason::TokenRevoked).await;
    case.keeps_nothing_of(next.as_bytes());
}

#[tokio::test]
async fn a24_a_token_of_another_or_of_nobody_ends_the_session() {
    for (bad, reason) in [
        (token("mallory", &json!({})), Reason::RefreshRefused),
        (token("alice", &json!({ "exp": now() - 1 })), Reason::RefreshRefused),
        (format!("{}x", token("alice", &json!({}))), Reason::RefreshRefused),
        ("a".repeat(8192), Reason::RefreshRefused),
        (token("alice", &json!({ "jti": "revoked" })), Reason::TokenRevoked),
    ] {
        let mut case = start("refresh = \"on\"", "").await;
        revoke(&case, Target::Token { token_id: "revoked".to_owned() });
        let mut raw = open(&case, "alice", &json!({})).await;
        raw.send_frame(0x81, format!("drawgate.refresh {bad}").as_bytes()).await;
        // What follows it is not looked at.
        raw.send_frame(0x81, b"hello?").await;
        raw.expect_close_after_notice(reason).await;
        drop(raw);
        case.refused(reason, bad.as_bytes()).await;
    }
}

#[tokio::test]
async fn a24_new_tokens_may_come_only_so_often() {
    let case = start("refresh = \"on\"", "").await;
    let mut raw = open(&case, "alice", &json!({})).await;
    let refresh = format!("drawgate.refresh {}", token("alice", &json!({})));
    for _ in 0..5 {
        raw.send_frame(0x81, refresh.as_bytes()).await;
        assert_eq!(notice(&mut raw).await["type"], "session_refreshed");
    }
    raw.send_frame(0x81, refresh.as_bytes()).await;
    raw.expect_close_after_notice(Reason::RefreshRefused).await;
}

#[tokio::test]
async fn a24_where_refresh_is_off_or_the_message_is_another_it_is_the_applications() {
    let case = start("", "").await;
    let mut raw = open(&case, "alice", &json!({})).await;
    raw.send_frame(0x81, b"drawgate.refresh a.b.c").await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"drawgate.refresh a.b.c"));
    let case = start("refresh = \"on\"", "").await;
    let mut raw = open(&case, "alice", &json!({})).await;
    for message in ["drawgate.refresh", "drawgate.refreshed a.b.c", "drawgate", ""] {
        raw.send_frame(0x81, message.as_bytes()).await;
        assert_eq!(raw.read_frame().await, Frame::whole(0x81, message.as_bytes()));
    }
    raw.send_frame(0x82, b"drawgate.refresh a.b.c").await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x82, b"drawgate.refresh a.b.c"));
    // Cut inside what could have been the mark, first by the network, then by the client.
    let whole = frame(0x81, b"drawgate.refused");
    raw.send(&whole[..10]).await;
    sleep(Duration::from_millis(50)).await;
    raw.send(&whole[10..]).await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"drawgate.refused"));
    raw.send(&[frame(0x01, b"drawgate."), frame(0x80, b"refused")].concat()).await;
    assert_eq!(crate::support::payload(&raw.read_message().await), b"drawgate.refused");
}

#[tokio::test]
async fn a25_a_logout_that_races_upgrades_leaves_no_survivor() {
    let case = start("", "").await;
    for round in 0..40_u64 {
        let subject = format!("user{round}");
        let token = token(&subject, &json!({}));
        let requests = (0..8).map(|_| async {
            let (mut raw, head) = show(&case, &token).await;
            match head.split(' ').nth(1).unwrap() {
                "101" => raw.read_close().await.0,
                status => status.parse().unwrap(),
            }
        });
        let logout = async {
            // Each round at another moment of the handshakes.
            for _ in 0..round * 4 {
                tokio::task::yield_now().await;
            }
            revoke(&case, logout(&subject))
        };
        let (answers, _) = tokio::join!(join_all(requests), logout);
        assert!(answers.iter().all(|answer| [401, 3000].contains(answer)), "{round}: {answers:?}");
    }
    assert_eq!(case.sessions.count(), 0);
}

async fn join_all<F: Future<Output = u16>>(futures: impl Iterator<Item = F>) -> Vec<u16> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|cx| {
        futures.retain_mut(|future| match future.as_mut().poll(cx) {
            std::task::Poll::Ready(answer) => {
                done.push(answer);
                false
            }
            std::task::Poll::Pending => true,
        });
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

#[tokio::test]
async fn a27_a_hundred_parallel_handshakes_get_as_many_sessions_as_the_limit() {
    let case = start("sessions_per_subject_max = 5", "").await;
    let token = token("alice", &json!({}));
    let mut kept = Vec::new();
    for _ in 0..100 {
        let mut raw = case.connect().await;
        raw.send(request("/token", &format!("Authorization: Bearer {token}\r\n")).as_bytes()).await;
        kept.push(raw);
    }
    let mut taken = 0;
    for raw in &mut kept {
        let head = raw.read_head().await;
        assert!(case.sessions.count() <= 5);
        match head.split(' ').nth(1).unwrap() {
            "101" => taken += 1,
            status => assert_eq!(status, "429", "{head}"),
        }
    }
    assert_eq!((taken, case.sessions.count()), (5, 5));
    drop(kept);
    eventually(|| case.sessions.count() == 0, || format!("{} are left", case.sessions.count())).await;
    assert_eq!(case.metric(r#"drawgate_sessions{route="token"}"#), 0);
    assert_eq!(case.metric(r#"drawgate_sessions_ended_total{reason="connection_lost"}"#), 5);
}

#[tokio::test]
async fn a34_live_sessions_are_checked_anew_when_a_key_is_withdrawn() {
    let case = start("", "").await;
    let mut old = open(&case, "alice", &json!({ "key": "old" })).await;
    let mut new = open(&case, "alice", &json!({ "key": "new" })).await;
    let ended = case
        .sessions
        .end_where(Which::Route("token"), End::Revoked, |principal, _| principal.claims["key"] == "old");
    assert_eq!(ended, 1);
    old.expect_close_after_notice(Reason::TokenRevoked).await;
    lives(&mut new).await;
}

#[tokio::test]
async fn pings_are_no_messages_and_messages_either_way_keep_a_connection() {
    let case = start("", "idle_timeout = \"300ms\"").await;
    let mut busy = open(&case, "alice", &json!({})).await;
    let mut quiet = open(&case, "alice", &json!({})).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(600) {
        lives(&mut busy).await;
        quiet.send_frame(0x89, b"").await;
        sleep(Duration::from_millis(50)).await;
    }
    let (code, _) = quiet.read_close().await;
    assert_eq!(code, 3008);
    lives(&mut busy).await;
}

#[tokio::test]
async fn a_session_lasts_no_longer_than_its_route_allows_however_busy_it_is() {
    let case = start("refresh = \"on\"", "session_time_max = \"300ms\"").await;
    let begun = Instant::now();
    let mut raw = open(&case, "alice", &json!({})).await;
    lives(&mut raw).await;
    let refresh = format!("drawgate.refresh {}", token("alice", &json!({})));
    raw.send_frame(0x81, refresh.as_bytes()).await;
    notice(&mut raw).await;
    raw.expect_close_after_notice(Reason::SessionTimeExceeded).await;
    let elapsed = begun.elapsed();
    assert!((Duration::from_millis(300)..Duration::from_millis(1300)).contains(&elapsed), "{elapsed:?}");
}

/// Says who speaks, by all that a session knows.
struct Who;

impl Handler for Who {
    async fn message(&self, session: &Session, _: Message) {
        let text = json!({
            "subject": session.subject().as_deref(),
            "role": session.claims().map(|claims| claims["role"].clone()),
            "id": session.id().map(|id| id.to_string()),
            "expires_at": session.expires_at().map(UnixTime::seconds),
        });
        let _ = session.send(Message::Text(text.to_string())).await;
    }
}

#[tokio::test]
async fn a26_an_application_knows_who_speaks_and_by_which_session_also_after_a_refresh() {
    let toml = with_sessions("refresh = \"on\"", "");
    let config = Config::from_toml(&toml, std::path::Path::new("."), &|_| None).unwrap();
    let access = Access::Token(config.auth["users"].clone());
    let route = Route::new("who", "/who", Origins::Any, access, Who).unwrap();
    let case = Case::start_with(Server::from_config(config).route(route)).await;
    let mut raw = case.connect().await;
    let bearer = |role: &str, seconds: u64| token("alice", &json!({ "role": role, "exp": now() + seconds }));
    let lines = format!("Authorization: Bearer {}\r\n", bearer("reader", 100));
    raw.send(request("/who", &lines).as_bytes()).await;
    raw.read_head().await;
    raw.send_frame(0x81, b"who?").await;
    let before = notice(&mut raw).await;
    raw.send_frame(0x81, format!("drawgate.refresh {}", bearer("writer", 200)).as_bytes()).await;
    raw.send_frame(0x81, b"who?").await;
    let after = notice(&mut raw).await;
    assert_eq!((&before["subject"], &before["role"]), (&json!("alice"), &json!("reader")));
    assert_eq!((&after["subject"], &after["role"]), (&json!("alice"), &json!("writer")));
    assert_eq!(before["id"], after["id"]);
    assert!(after["expires_at"].as_u64() > before["expires_at"].as_u64());
    let id: SessionId = before["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(case.sessions.get(id).unwrap().principal.subject.as_ref(), "alice");
    // The record of the opening has the session's name, which no credential is.
    let log = case.log_text();
    let opened = case.records().into_iter().find(|record| record["route"] == "who").unwrap();
    assert_eq!(opened["session"], before["id"], "{log}");
    assert_eq!(case.sessions.end(Which::Id(id), End::Ended), 1);
    let (code, _) = raw.read_close().await;
    assert_eq!(code, 1008);
}
