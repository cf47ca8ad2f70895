//! Sessions on virtual time: ended to the moment, whatever the wall clock does meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use drawgate::auth::token::sign_hs256;
use drawgate::auth::{self, Algorithm, CredentialSource, Expected, Keys};
use drawgate::chance::Chance;
use drawgate::clock::Clock;
use drawgate::limits::Limits;
use drawgate::route::Notice;
use drawgate::secret::Secret;
use drawgate::{Access, Handler, Message, Origins, Route, Session, session};
use drawgate_protocol::MessageKind;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::pipes::{Client, Gateway, REQUEST, Told, frame, let_others_run};

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
const START_SECONDS: u64 = 1_795_338_000;
const LEEWAY: Duration = Duration::from_secs(30);

struct Answer(Duration);

impl Handler for Answer {
    async fn message(&self, session: &Session, message: Message) {
        sleep(self.0).await;
        let _ = session.send(message).await;
    }
}

/// Wants a token as the first message, within `first_message_timeout`.
fn config(first_message_timeout: Duration) -> auth::Config {
    auth::Config {
        credentials: vec![CredentialSource::FirstMessage],
        algorithms: vec![Algorithm::Hs256],
        token_types: None,
        keys: Keys::Secret(Secret::new(KEY)),
        issuer: Expected::Any,
        audience: Expected::Any,
        subject_claims: vec!["sub".to_owned()],
        first_message_timeout,
        token_lifetime_max: None,
        leeway: LEEWAY,
        failures_per_client_per_minute: None,
        failures_per_subject_per_minute: None,
        sessions: session::Config { refresh: true, ..session::Config::default() },
    }
}

/// A gateway that wants a token, whose wall clock says what `wall` has, in milliseconds.
fn gateway(wall: &Arc<AtomicU64>, answer: Duration, limits: Limits) -> Gateway {
    let config = config(Duration::from_secs(5));
    let route = Route::new("route", "/*", Origins::Any, Access::Token(config), Answer(answer)).unwrap();
    let route = route.notice(Notice::Json).limits(limits);
    let clock = Clock::set_by(Arc::clone(wall));
    let builder = Gateway::builder_with(route, Duration::from_secs(5));
    Gateway::start(builder.deterministic(clock, Chance::seeded(1)))
}

/// Clients here do not answer pings.
fn patient() -> Limits {
    Limits { ping_interval: None, ..Limits::default() }
}

fn token(seconds: u64) -> String {
    let claims = json!({ "sub": "alice", "exp": START_SECONDS + seconds });
    sign_hs256(&Secret::new(KEY), claims.as_object().unwrap())
}

fn wall() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(START_SECONDS * 1000))
}

async fn open(gateway: &Gateway, seconds: u64) -> Client {
    let mut client = gateway.connect(64 * 1024).await;
    client.send(&frame(MessageKind::Text, true, token(seconds).as_bytes())).await;
    let_others_run().await;
    client
}

/// How long a client that says nothing more lasts; what it was told.
async fn lasts(client: &mut Client) -> (Duration, Vec<String>, Option<u16>) {
    let begun = Clock::system().now();
    let told = client.until_close().await;
    let types = told.texts.iter().map(|text| {
        let notice: serde_json::Value = serde_json::from_str(text).unwrap();
        notice["type"].as_str().unwrap().rsplit('#').next().unwrap().to_owned()
    });
    (begun.elapsed(), types.collect(), told.close.map(|(code, _)| code))
}

/// Within a tick of the timers.
fn is_at(elapsed: Duration, seconds: u64) -> bool {
    let expected = Duration::from_secs(seconds);
    (expected..expected + Duration::from_millis(50)).contains(&elapsed)
}

#[tokio::test(start_paused = true)]
async fn o07_a_wall_clock_that_jumps_neither_ends_a_session_nor_prolongs_it() {
    const HOUR_MILLIS: u64 = 3_600_000;
    for jumped in [(START_SECONDS * 1000) + HOUR_MILLIS, (START_SECONDS * 1000) - HOUR_MILLIS] {
        let wall = wall();
        let gateway = gateway(&wall, Duration::ZERO, patient());
        let mut client = open(&gateway, 600).await;
        wall.store(jumped, Ordering::Relaxed);
        let (elapsed, told, close) = lasts(&mut client).await;
        assert!(is_at(elapsed, 600 + LEEWAY.as_secs()), "{elapsed:?}");
        assert_eq!(told, ["authenticated", "session_expiring", "token_expired"]);
        assert_eq!(close, Some(3000));
    }
}

/// Counts the clients that it hears of.
struct Heard(Arc<AtomicU64>);

impl Handler for Heard {
    async fn opened(&self, _: &Session) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    async fn message(&self, _: &Session, _: Message) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a37_ten_thousand_who_wait_to_authenticate_are_closed_at_5_s_and_no_application_hears_of_them() {
    const COUNT: usize = 10_000;
    let heard = Arc::new(AtomicU64::new(0));
    let config = config(Duration::from_secs(5));
    let route = Route::new("route", "/*", Origins::Any, Access::Token(config), Heard(Arc::clone(&heard)));
    let unlimited = drawgate::firewall::Config {
        connections_per_client_max: None,
        handshakes_per_client_per_minute: None,
        ..drawgate::firewall::Config::default()
    };
    let builder = Gateway::builder_with(route.unwrap().limits(patient()), Duration::from_secs(5));
    let clock = Clock::set_by(wall());
    let gateway = Gateway::start(builder.firewall(unlimited).deterministic(clock, Chance::seeded(1)));
    let begun = Clock::system().now();
    let mut clients = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        clients.push(gateway.connect(1024).await);
    }
    // There is no room for one more, and nobody's place is taken for it.
    let mut excess = gateway.open(1024);
    excess.send(REQUEST).await;
    let refused = excess.take("HTTP/1.1 503 ".len()).await;
    assert_eq!(refused, b"HTTP/1.1 503 ");
    for client in &mut clients {
        let Told { close, .. } = client.until_close().await;
        assert_eq!(close, Some((3008, true)));
    }
    assert!(is_at(begun.elapsed(), 5), "{:?}", begun.elapsed());
    assert_eq!(heard.load(Ordering::Relaxed), 0);
    // Their places are free again when they have gone.
    drop(clients);
    let_others_run().await;
    let mut next = open(&gateway, 600).await;
    next.send(&frame(MessageKind::Text, true, b"hello")).await;
    let_others_run().await;
    assert_eq!(heard.load(Ordering::Relaxed), 2, "opened, and its message");
}

#[tokio::test(start_paused = true)]
async fn a23_the_warning_comes_its_time_before_the_token_ends_or_at_once() {
    for (seconds, warned_after) in [(600, 540), (30, 0)] {
        let gateway = gateway(&wall(), Duration::ZERO, patient());
        let mut client = open(&gateway, seconds).await;
        let begun = Clock::system().now();
        let mut seen = String::new();
        while !seen.contains("session_expiring") {
            seen.push(char::from(client.take(1).await[0]));
        }
        assert!(is_at(begun.elapsed(), warned_after), "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a24_a_refreshed_session_ends_with_its_last_token_and_is_warned_again() {
    let wall = wall();
    let gateway = gateway(&wall, Duration::ZERO, patient());
    let mut client = open(&gateway, 600).await;
    sleep(Duration::from_secs(580)).await;
    wall.store((START_SECONDS + 580) * 1000, Ordering::Relaxed);
    let refresh = format!("drawgate.refresh {}", token(1200));
    client.send(&frame(MessageKind::Text, true, refresh.as_bytes())).await;
    let (elapsed, told, close) = lasts(&mut client).await;
    assert!(is_at(elapsed, 1200 - 580 + LEEWAY.as_secs()), "{elapsed:?}");
    let expected =
        ["authenticated", "session_expiring", "session_refreshed", "session_expiring", "token_expired"];
    assert_eq!((told.as_slice(), close), (expected.map(str::to_owned).as_slice(), Some(3000)));
}

#[tokio::test(start_paused = true)]
async fn an_application_that_works_is_not_idle_and_its_client_is_from_the_answer_on() {
    let limits = Limits { idle_timeout: Some(Duration::from_secs(10)), ..patient() };
    let gateway = gateway(&wall(), Duration::from_secs(60), limits);
    let mut client = open(&gateway, 600).await;
    client.send(&frame(MessageKind::Text, true, br#"{"type":"answer"}"#)).await;
    let (elapsed, told, close) = lasts(&mut client).await;
    assert!(is_at(elapsed, 60 + 10), "{elapsed:?}");
    assert_eq!((told[1].as_str(), told[2].as_str(), close), ("answer", "idle_timeout", Some(3008)));
}

#[tokio::test(start_paused = true)]
async fn a22_a_session_is_ended_while_its_application_works() {
    let gateway = gateway(&wall(), Duration::from_secs(3600), patient());
    let mut client = open(&gateway, 600).await;
    client.send(&frame(MessageKind::Text, true, b"work")).await;
    let_others_run().await;
    assert_eq!(gateway.sessions().end(session::Which::Subject("alice"), session::End::Revoked), 1);
    let ended = timeout(Duration::from_millis(100), client.until_close()).await.unwrap();
    assert_eq!(ended.close.map(|(code, _)| code), Some(3000));
}
