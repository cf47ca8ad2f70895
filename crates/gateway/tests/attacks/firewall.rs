//! R and A: who is kept out by address, by list, by ban and by guessing.

use std::time::Duration;

use drawgate::auth::token::sign_hs256;
use drawgate::clock::Clock;
use drawgate::firewall::{AddressBan, BanError};
use drawgate::reason::Reason;
use drawgate::secret::Secret;
use drawgate::server::AddressBanError;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;

use crate::support::{Case, Frame, Raw, echo, eventually, frame, request};

/// The neighbour is at 127.0.0.1; whoever comes from elsewhere is refused before a byte is sent.
pub(crate) async fn turned_away(reason: Reason, toml: &str) {
    let mut case = Case::start(toml).await;
    Raw::connect_from(2, case.address).await.expect_refusal(reason).await;
    ended_from_elsewhere(&mut case, reason).await;
}

/// The record of the one end for `reason`, which came from 127.0.0.2.
async fn ended_from_elsewhere(case: &mut Case, reason: Reason) -> Value {
    eventually(|| case.ends(reason) == 1, || format!("not ended once:\n{}", case.log_text())).await;
    let [record] = &case.records_of(reason)[..] else { panic!("{}", case.log_text()) };
    assert_eq!(record["client"], "127.0.0.2", "{record}");
    case.neighbour_is_unharmed().await;
    record.clone()
}

/// Of two first messages that are no tokens the second is not looked at.
pub(crate) async fn guessed(reason: Reason, toml: &str) {
    let mut case = Case::start(toml).await;
    for told in [Reason::TokenInvalid, reason] {
        let mut raw = case.connect().await;
        raw.upgrade("/token").await;
        raw.send_frame(0x81, b"no token at all").await;
        expect_close_then_answer(&mut raw, told).await;
    }
    assert_eq!(case.refused(reason, b"no token at all").await["limit"], 1);
}

#[tokio::test]
async fn r24_who_may_connect_is_decided_by_the_longest_network_before_a_byte_is_read() {
    let lists =
        "[firewall]\nallow = [\"127.0.0.0/8\"]\ndeny = [\"127.0.0.0/28\", \"127.0.0.3\", \"192.0.2.0/24\"]";
    let allow = lists.replace("\"]\ndeny", "\", \"127.0.0.1\", \"127.0.0.2/31\", \"::1\"]\ndeny");
    let mut case = Case::start(&echo("", &allow)).await;
    Raw::connect_from(2, case.address).await.upgrade("/").await;
    Raw::connect_from(16, case.address).await.upgrade("/").await;
    for (host, count) in [(3, 1), (4, 2), (15, 3)] {
        let mut raw = Raw::connect_from(host, case.address).await;
        let response = raw.expect_refusal(Reason::AddressDenied).await;
        assert_eq!(response.status, 403);
        assert!(!response.head.contains("Retry-After"), "{response:?}");
        eventually(|| case.ends(Reason::AddressDenied) == count, || case.log_text()).await;
    }
    let records = case.records_of(Reason::AddressDenied);
    assert_eq!((&records[0]["client"], &records[0]["limit"]), (&json!("127.0.0.3"), &Value::Null));
    case.neighbour_is_unharmed().await;
}

/// A ban that lasts for a minute.
fn ban(network: &str) -> AddressBan {
    let until = Some(Clock::system().unix_now().plus(Duration::from_mins(1)));
    AddressBan { network: network.parse().unwrap(), until, reason: "it guesses".to_owned() }
}

/// A live connection of a network that is banned.
pub(crate) async fn banned(reason: Reason) {
    let mut case = Case::start(&echo("", "")).await;
    let mut raw = Raw::connect_from(2, case.address).await;
    raw.upgrade("/").await;
    assert_eq!(case.bans.ban_address(ban("127.0.0.2")).await.unwrap(), 1);
    expect_close_then_answer(&mut raw, reason).await;
    drop(raw);
    let record = ended_from_elsewhere(&mut case, reason).await;
    assert_eq!((&record["close_code"], &record["ended_by"]), (&json!(1008), &json!("operator")));
}

#[tokio::test]
async fn r18_a_ban_ends_what_lives_of_its_network_at_once_and_nothing_else() {
    let mut case = start_with_tokens("").await;
    let mut open = Raw::connect_from(2, case.address).await;
    open.upgrade("/").await;
    let (mut known, _) = show(&case, 3, "/token", &token(60)).await;
    let mut unknown = Raw::connect_from(3, case.address).await;
    unknown.upgrade("/token").await;
    let mut within_its_head = Raw::connect_from(2, case.address).await;
    let head = request("/", "");
    let (first, rest) = head.split_at(20);
    within_its_head.send(first.as_bytes()).await;
    let mut other = Raw::connect_from(4, case.address).await;
    other.upgrade("/").await;

    assert_eq!(case.bans.ban_address(ban("127.0.0.2/31")).await.unwrap(), 4);
    for raw in [&mut open, &mut known, &mut unknown] {
        expect_close_then_answer(raw, Reason::AddressBanned).await;
    }
    within_its_head.send(rest.as_bytes()).await;
    within_its_head.expect_refusal(Reason::AddressBanned).await;
    // Before a byte is read.
    let response = Raw::connect_from(3, case.address).await.expect_refusal(Reason::AddressBanned).await;
    assert_eq!(response.status, 403);
    other.send_frame(0x81, b"hello").await;
    assert_eq!(other.read_frame().await, Frame::whole(0x81, b"hello"));
    case.neighbour_is_unharmed().await;
    eventually(|| case.ends(Reason::AddressBanned) == 5, || case.log_text()).await;
    assert!(!case.log_text().contains("it guesses"));
    assert_eq!((case.metric(BANS), case.bans.address_bans().len()), (1, 1));

    // Lifted by its own name alone.
    assert!(!case.bans.unban_address("127.0.0.2".parse().unwrap()).await.unwrap());
    assert!(case.bans.unban_address("127.0.0.2/31".parse().unwrap()).await.unwrap());
    Raw::connect_from(2, case.address).await.upgrade("/").await;
    assert_eq!((case.metric(BANS), case.bans.address_bans().len()), (0, 0));
}

#[tokio::test]
async fn r18_a_ban_ends_also_who_does_not_read() {
    let case = Case::start(&echo("stall_timeout = \"10s\"", "")).await;
    let mut raw = Raw::connect_from(2, case.address).await;
    raw.upgrade("/").await;
    let message = frame(0x82, &[b'f'; 60_000]);
    while timeout(Duration::from_millis(100), raw.stream.write_all(&message)).await.is_ok() {}
    assert_eq!(case.bans.ban_address(ban("127.0.0.0/30")).await.unwrap(), 2, "the neighbour as well");
    eventually(|| case.ends(Reason::AddressBanned) == 2, || case.log_text()).await;
}

#[tokio::test]
async fn r18_more_bans_than_are_kept_are_refused_and_counted_and_those_there_are_hold() {
    let mut case = Case::start(&echo("", "")).await;
    assert_eq!(case.bans.ban_address(ban("127.0.0.2")).await.unwrap(), 0);
    let mut refused = 0;
    for bits in 0..70_000_u32 {
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 | bits);
        match case.bans.ban_address(ban(&address.to_string())).await {
            Ok(ended) => assert_eq!(ended, 0),
            Err(error) => {
                assert!(
                    matches!(error, AddressBanError::Refused(BanError::Full { count_max: 65_536 })),
                    "{error:?}"
                );
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 70_000 - 65_535);
    assert_eq!(case.metric("drawgate_address_bans_refused_total"), refused);
    assert_eq!(case.metric(BANS), 65_536);
    Raw::connect_from(2, case.address).await.expect_refusal(Reason::AddressBanned).await;
    case.neighbour_is_unharmed().await;
}

/// Asks for `/` from `peer`, over a pipe, until the answer: its status.
async fn ask_from(case: &Case, peer: &str) -> (DuplexStream, String) {
    let (mut ours, theirs) = duplex(4096);
    tokio::spawn(case.entry.clone().serve(theirs, peer.parse().unwrap()));
    ours.write_all(request("/", "").as_bytes()).await.unwrap();
    let mut status = vec![0; "HTTP/1.1 101".len()];
    ours.read_exact(&mut status).await.unwrap();
    (ours, String::from_utf8(status).unwrap())
}

#[tokio::test]
async fn r03_whoever_has_a_48_has_no_more_for_all_its_networks() {
    let caps = "[firewall]\nconnections_per_client_max = 3\nconnections_per_v6_48_max = 5";
    let mut case = Case::start(&echo("", caps)).await;
    let mut held = Vec::new();
    for (peer, expected) in [
        ("[2001:db8:1:1::1]:1", 101),
        ("[2001:db8:1:1::2]:1", 101),
        ("[2001:db8:1:1:ffff::]:1", 101),
        ("[2001:db8:1:1::4]:1", 429),
        ("[2001:db8:1:2::1]:1", 101),
        ("[2001:db8:1:3::1]:1", 101),
        ("[2001:db8:1:4::1]:1", 429),
        ("[2001:db8:2:4::1]:1", 101),
        ("[::ffff:192.0.2.1]:1", 101),
        ("192.0.2.1:1", 101),
        ("[::ffff:192.0.2.1]:1", 101),
        ("192.0.2.1:1", 429),
        ("192.0.2.2:1", 101),
    ] {
        let (pipe, status) = ask_from(&case, peer).await;
        assert_eq!(status, format!("HTTP/1.1 {expected}"), "{peer}");
        held.push(pipe);
    }
    let reason = Reason::ClientConnectionsExceeded;
    eventually(|| case.records_of(reason).len() == 3, || case.log_text()).await;
    let limits: Vec<_> = case.records_of(reason).iter().map(|record| record["limit"].clone()).collect();
    assert_eq!(limits, [3, 5, 3]);
    drop(held);
    let is_alone = || case.metric(r#"drawgate_connections{route="echo"}"#) == 1;
    eventually(is_alone, || case.log_text()).await;
    assert_eq!(ask_from(&case, "[2001:db8:1:4::1]:1").await.1, "HTTP/1.1 101");
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn r10_the_configuration_bounds_all_connections_and_those_that_wait_to_authenticate() {
    let server = "[server]\nconnections_max = 4\nunauthenticated_max = 2";
    let mut case = start_with_tokens_and("", server).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut raw = case.connect().await;
        raw.upgrade("/token").await;
        held.push(raw);
    }
    let mut raw = case.connect().await;
    raw.send(request("/token", "").as_bytes()).await;
    raw.expect_refusal(Reason::UnauthenticatedFull).await;
    drop(raw);
    assert_eq!(case.ended(Reason::UnauthenticatedFull).await["limit"], 2);
    held.push(case.open().await);
    case.connect().await.expect_refusal(Reason::ServerFull).await;
    eventually(|| case.ends(Reason::ServerFull) == 1, || case.log_text()).await;
    assert_eq!(case.records_of(Reason::ServerFull)[0]["limit"], 4);
    case.neighbour_is_unharmed().await;
}

const BANS: &str = "drawgate_address_bans";

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn token(expires_in: i64) -> String {
    let now = i64::try_from(Clock::system().unix_now().seconds()).unwrap();
    let claims = json!({ "sub": "alice", "exp": now + expires_in });
    sign_hs256(&Secret::new(KEY.as_bytes()), claims.as_object().unwrap())
}

/// An open echo at `/`, and `/token` and `/other`, which share an authenticator that takes three failures a minute; one at
/// `/separate` has its own.
async fn start_with_tokens(route: &str) -> Case {
    start_with_tokens_and(route, "").await
}

async fn start_with_tokens_and(route: &str, more: &str) -> Case {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), KEY).unwrap();
    let users = |name: &str| {
        format!(
            r#"
            [auth.{name}]
            credentials = ["authorization_header", "first_message"]
            algorithms = ["HS256"]
            keys = {{ secret_file = {:?} }}
            issuer = "any"
            audience = "any"
            refresh = "on"
            failures_per_client_per_minute = 3
            failures_per_subject_per_minute = 5
            "#,
            file.path()
        )
    };
    let routes: String = [("token", "users"), ("other", "users"), ("separate", "guests")]
        .map(|(name, auth)| {
            format!(
                r#"
                [routes.{name}]
                listeners = ["main"]
                path = "/{name}"
                origins = "any"
                auth = "{auth}"
                backend = "echo"
                {route}
                limits.close_timeout = "300ms"
                "#
            )
        })
        .concat();
    let toml = echo("", &[&routes, &*users("users"), &users("guests"), more].concat());
    Case::start(&toml).await
}

/// Shows `token` on `target` from 127.0.0.`host`: what the answer begins with.
async fn show(case: &Case, host: u8, target: &str, token: &str) -> (Raw, String) {
    let mut raw = Raw::connect_from(host, case.address).await;
    raw.send(request(target, &format!("Authorization: Bearer {token}\r\n")).as_bytes()).await;
    let head = raw.read_head().await;
    (raw, head)
}

async fn expect_status(case: &Case, host: u8, target: &str, token: &str, status: &str) -> String {
    let (_raw, head) = show(case, host, target, token).await;
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{host} {target}: {head}");
    head
}

#[tokio::test]
async fn a35_who_guesses_tokens_is_soon_not_listened_to_and_others_are() {
    let mut case = start_with_tokens("").await;
    let good = token(60);
    for guess in ["a.b.c", "x", &token(60).replace('.', "..")] {
        // What has expired does not count, and no success makes up for a failure.
        expect_status(&case, 2, "/token", &good, "101").await;
        expect_status(&case, 2, "/token", &token(-3600), "401").await;
        expect_status(&case, 2, "/token", guess, "401").await;
    }
    // Nothing is verified any more, also on the other route of the same authenticator.
    for target in ["/token", "/other"] {
        for shown in [&good, "a.b.c"] {
            let head = expect_status(&case, 2, target, shown, "429").await;
            assert!(head.contains("Retry-After: 30\r\n"), "{head}");
        }
    }
    let records = case.records_of(Reason::AuthenticationRateExceeded);
    assert_eq!((&records[0]["client"], &records[0]["limit"]), (&json!("127.0.0.2"), &json!(3)));
    assert_eq!((&records[0]["route"], &records[0]["http_status"]), (&json!("token"), &json!(429)));
    assert!(records.iter().all(|record| record["subject"].is_null()), "{records:?}");
    // Other clients, other authenticators and open routes are as before.
    expect_status(&case, 3, "/token", &good, "101").await;
    expect_status(&case, 2, "/separate", &good, "101").await;
    Raw::connect_from(2, case.address).await.upgrade("/").await;
    case.keeps_nothing_of(good.as_bytes());
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn a35_first_messages_and_refreshes_are_attempts_like_any_other() {
    let mut case = start_with_tokens("").await;
    let good = token(60);
    let mut live = Vec::new();
    for _ in 0..2 {
        live.push(show(&case, 2, "/token", &good).await);
    }
    // Two by refresh, each of which costs a session.
    for (mut raw, _) in live {
        raw.send_frame(0x81, b"drawgate.refresh a.b.c").await;
        expect_close_then_answer(&mut raw, Reason::RefreshRefused).await;
    }
    let (mut patient, _) = show(&case, 2, "/token", &good).await;
    let first_message = async |told: Reason, message: &str| {
        let mut raw = Raw::connect_from(2, case.address).await;
        raw.upgrade("/token").await;
        raw.send_frame(0x81, message.as_bytes()).await;
        expect_close_then_answer(&mut raw, told).await;
    };
    first_message(Reason::TokenInvalid, "a.b.c").await;
    first_message(Reason::AuthenticationRateExceeded, "a.b.c").await;
    first_message(Reason::AuthenticationRateExceeded, &good).await;
    expect_status(&case, 2, "/token", &good, "429").await;
    // What lives goes on, until it asks for something to be verified.
    patient.send_frame(0x81, b"hello").await;
    assert_eq!(patient.read_frame().await, Frame::whole(0x81, b"hello"));
    patient.send_frame(0x81, format!("drawgate.refresh {good}").as_bytes()).await;
    expect_close_then_answer(&mut patient, Reason::AuthenticationRateExceeded).await;
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn a35_who_guesses_for_one_subject_from_many_addresses_is_told_and_its_owner_comes_in() {
    let mut case = start_with_tokens("").await;
    let good = token(60);
    // Signed by somebody else.
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", signature.chars().rev().skip(1).collect::<String>() + "A");
    for (host, status) in [(2, "401"), (3, "401"), (4, "401"), (5, "401"), (6, "401"), (7, "429"), (8, "429")]
    {
        expect_status(&case, host, "/token", &forged, status).await;
    }
    let records = case.records_of(Reason::AuthenticationRateExceeded);
    assert_eq!((&records[0]["client"], &records[0]["limit"]), (&json!("127.0.0.7"), &json!(5)));
    assert!(records[0]["detail"].as_str().unwrap().contains("name one subject"), "{records:?}");
    expect_status(&case, 9, "/token", &good, "101").await;
    expect_status(&case, 7, "/token", &good, "101").await;
    expect_status(&case, 8, "/token", "a.b.c", "401").await;
    case.keeps_nothing_of(good.as_bytes());
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn a35_browsers_hear_of_it_by_a_close() {
    let case = start_with_tokens("refuse = \"close\"").await;
    for told in [[Reason::TokenInvalid; 3].as_slice(), &[Reason::AuthenticationRateExceeded]].concat() {
        let (mut raw, head) = show(&case, 2, "/token", "a.b.c").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        expect_close_then_answer(&mut raw, told).await;
    }
}

async fn expect_close_then_answer(raw: &mut Raw, reason: Reason) {
    let row = reason.row();
    let (code, text) = raw.read_close().await;
    assert_eq!((Some(code), &*text), (row.close.map(drawgate::CloseCode::get), row.close_reason));
    raw.send_frame(0x88, &code.to_be_bytes()).await;
    raw.expect_end().await;
}
