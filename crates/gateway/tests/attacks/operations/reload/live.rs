//! O: what another configuration does to those who live, and to those who are on their way in.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use drawgate::auth::{Algorithm, SigningKey};
use drawgate::clock::Clock;
use drawgate::firewall::AddressBan;
use drawgate::reason::Reason;
use drawgate::server::Reloaded;
use rcgen::KeyPair;
use serde_json::json;
use tokio::time::sleep;

use super::{Reloading, free_address, is_open, lives, told, with_listener, with_route};
use crate::application::{Application, before, unmasked};
use crate::sessions::{open, show, token, with_sessions};
use crate::support::{Frame, Raw, echo, eventually, request};

#[tokio::test]
async fn o03_who_lives_keeps_the_limits_and_the_backend_and_who_comes_gets_the_new_ones() {
    let before = echo("message_bytes_max = \"1KiB\"", "");
    let after =
        echo("message_bytes_max = \"2KiB\"", "").replace("\"echo\"\n", "{ echo = { prefix = \"new: \" } }\n");
    let reloading = Reloading::start(&before).await;
    let mut old = reloading.case.open().await;
    let mut half = reloading.case.connect().await;
    let head = request("/", "");
    half.send(&head.as_bytes()[..40]).await;
    sleep(Duration::from_millis(20)).await;
    let reloaded = reloading.reloaded(&after).await;
    assert_eq!((reloaded.routes_changed, reloaded.needs_restart), (vec!["echo".to_owned()], vec![]));
    lives(&mut old).await;
    // One that was accepted before lives by what was in force then.
    half.send(&head.as_bytes()[40..]).await;
    assert!(half.read_head().await.starts_with("HTTP/1.1 101 "));
    lives(&mut half).await;
    let mut new = reloading.case.open().await;
    new.send_frame(0x82, &[0x61; 1500]).await;
    assert!(new.read_frame().await.payload.starts_with(b"new: "));
    old.send_frame(0x82, &[0x61; 1500]).await;
    told(&mut old, Reason::MessageTooBig).await;
    // The same again changes nothing at all.
    assert_eq!(reloading.reloaded(&after).await, Reloaded::default());
    lives_prefixed(&mut new).await;
}

async fn lives_prefixed(raw: &mut Raw) {
    raw.send_frame(0x81, b"x").await;
    assert_eq!(raw.read_frame().await.payload, b"new: x");
}

/// A route is gone: its clients are told so, others are not.
pub(crate) async fn route_changed(reason: Reason) {
    let plain = echo("", "");
    let mut reloading = Reloading::start(&with_route(&plain, "other")).await;
    let mut raw = reloading.case.connect().await;
    raw.upgrade("/other").await;
    assert_eq!(reloading.reloaded(&plain).await.routes_removed, ["other"]);
    told(&mut raw, reason).await;
    drop(raw);
    reloading.case.refused(reason, b"").await;
}

#[tokio::test]
async fn o03_a_route_that_is_removed_answers_what_has_come_and_closes_with_1012() {
    let plain = echo("", "");
    let mut reloading = Reloading::start(&with_route(&plain, "other")).await;
    let mut raw = reloading.case.connect().await;
    raw.upgrade("/other").await;
    let mut half = reloading.case.connect().await;
    let head = request("/other", "");
    half.send(&head.as_bytes()[..40]).await;
    sleep(Duration::from_millis(20)).await;
    for _ in 0..50 {
        raw.send_frame(0x82, &[7; 1000]).await;
    }
    let reloaded = reloading.reloaded(&plain).await;
    assert_eq!((reloaded.routes_removed, reloaded.routes_changed), (vec!["other".to_owned()], vec![]));
    for _ in 0..50 {
        assert_eq!(raw.read_frame().await, Frame::whole(0x82, &[7; 1000]));
    }
    told(&mut raw, Reason::RouteChanged).await;
    // One that was on its way in is told behind its 101.
    half.send(&head.as_bytes()[40..]).await;
    assert!(half.read_head().await.starts_with("HTTP/1.1 101 "));
    told(&mut half, Reason::RouteChanged).await;
    drop((raw, half));
    eventually(|| reloading.case.ends(Reason::RouteChanged) == 2, || reloading.case.log_text()).await;
    assert_eq!(reloading.reloaded(&plain).await, Reloaded::default());
    assert!(
        !reloading.case.observer.render().contains(r#"route="other""#),
        "its series go with the last of them"
    );
    reloading.case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn o03_an_application_whose_route_is_removed_may_still_answer_and_both_sides_are_told() {
    let application = Application::start().await;
    let mut reloading = Reloading::start(&before(application.address, "", "")).await;
    let mut client = reloading.case.connect().await;
    client.send(request("/app/", "").as_bytes()).await;
    let mut seen = application.accept().await;
    seen.upgrade("").await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 101 "));
    client.send_frame(0x81, b"question").await;
    assert_eq!(seen.read_frame().await, Frame::whole(0x81, b"question"));
    assert_eq!(reloading.reloaded(&echo("", "")).await.routes_removed, ["app"]);
    let told_close = seen.read_frame().await;
    assert_eq!((told_close.first, &told_close.payload[..2]), (0x88, &1001_u16.to_be_bytes()[..]));
    assert_eq!(&told_close.payload[2..], Reason::RouteChanged.row().label.as_bytes());
    seen.send(&[unmasked(0x81, b"answer"), unmasked(0x88, &1001_u16.to_be_bytes())].concat()).await;
    assert_eq!(client.read_frame().await, Frame::whole(0x81, b"answer"));
    told(&mut client, Reason::RouteChanged).await;
    drop(client);
    reloading.case.refused(Reason::RouteChanged, b"").await;
}

#[tokio::test]
async fn o03_a_route_that_asks_who_speaks_from_now_on_lets_nobody_go_on_who_has_not_said_so() {
    let closed = with_sessions("", "");
    let opened = closed.replacen("auth = \"users\"", "auth = \"none\"", 1);
    // Without its route the table would be one that nothing uses.
    let opened = opened.split("[auth.users]").next().unwrap().to_owned();
    let mut reloading = Reloading::start(&opened).await;
    let mut raw = reloading.case.connect().await;
    raw.upgrade("/token").await;
    reloading.reloaded(&closed).await;
    assert_eq!(raw.read_frame().await.first, 0x81, "the notice");
    told(&mut raw, Reason::RouteChanged).await;
    let mut session = open(&reloading.case, "alice", &json!({})).await;
    // The other way round nobody loses anything.
    reloading.reloaded(&opened).await;
    lives(&mut session).await;
    reloading.case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn o03_another_secret_ends_what_the_old_one_has_let_in_or_is_about_to() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("new.secret");
    std::fs::write(&secret, "another-secret-that-is-long-enough-for-it").unwrap();
    let before = with_sessions("", "");
    let old = before.split("secret_file = ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let after = before.replace(&old, &format!("{secret:?}"));
    let mut reloading = Reloading::start_in(folder, &before).await;
    let mut session = open(&reloading.case, "alice", &json!({})).await;
    let mut waiting = reloading.case.connect().await;
    waiting.upgrade("/token").await;
    reloading.reloaded(&after).await;
    for raw in [&mut session, &mut waiting] {
        assert_eq!(raw.read_frame().await.first, 0x81, "the notice");
        told(raw, Reason::RouteChanged).await;
    }
    let (_, head) = show(&reloading.case, &token("alice", &json!({}))).await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    // What of the table is no key is for those who come: sessions go on.
    reloading.reloaded(&before).await;
    let mut session = open(&reloading.case, "alice", &json!({})).await;
    reloading.reloaded(&before.replace("issuer = \"any\"", "issuer = \"https://issuer.example\"")).await;
    lives(&mut session).await;
    let (_, head) = show(&reloading.case, &token("alice", &json!({}))).await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    reloading.case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn o03_sessions_whose_public_key_is_gone_end_and_those_of_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut keys = Vec::new();
    for name in ["first.pem", "second.pem"] {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        std::fs::write(folder.path().join(name), pair.public_key_pem()).unwrap();
        keys.push(SigningKey::from_pem(pair.serialize_pem().as_bytes()).unwrap());
    }
    let with = |file: &str| {
        with_sessions("", "").replace("HS256", "ES256").split("keys = ").enumerate().fold(
            String::new(),
            |text, (place, part)| match part.split_once('\n') {
                Some((_, rest)) if place > 0 => {
                    format!("{text}keys = {{ public_key_file = \"{file}\" }}\n{rest}")
                }
                Some(_) | None => text + part,
            },
        )
    };
    let reloading = Reloading::start_in(folder, &with("first.pem")).await;
    let token = |key: &SigningKey| {
        let exp = Clock::system().unix_now().seconds() + 600;
        let [header, claims] = [json!({ "alg": "ES256" }), json!({ "sub": "alice", "exp": exp })]
            .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = key.sign(Algorithm::Es256, signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    };
    let enter = async |key: &SigningKey| show(&reloading.case, &token(key)).await;
    let (mut first, head) = enter(&keys[0]).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // One whose first message has yet to come is judged by what is in force when it does.
    let mut waiting = reloading.case.connect().await;
    waiting.upgrade("/token").await;
    assert_eq!(reloading.reloaded(&with("second.pem")).await.sessions_ended, 1);
    assert_eq!(first.read_frame().await.first, 0x81, "the notice");
    told(&mut first, Reason::TokenRevoked).await;
    waiting.send_frame(0x81, token(&keys[0]).as_bytes()).await;
    assert_eq!(waiting.read_frame().await.first, 0x81, "the notice");
    told(&mut waiting, Reason::TokenInvalid).await;
    let (mut second, head) = enter(&keys[1]).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let leeway = with("second.pem").replace("leeway = \"0s\"", "leeway = \"1s\"");
    let reloaded = reloading.reloaded(&leeway).await;
    assert_eq!((reloaded.routes_changed, reloaded.sessions_ended), (vec!["token".to_owned()], 0));
    lives(&mut second).await;
}

#[tokio::test]
async fn o03_lists_that_deny_an_address_end_its_connections_and_no_others() {
    let plain = echo("", "");
    let denying = format!("{plain}\n[firewall]\ndeny = [\"127.0.0.9\"]\n");
    let mut reloading = Reloading::start(&plain).await;
    let mut denied = Raw::connect_from(9, reloading.case.address).await;
    denied.upgrade("/").await;
    let mut half = Raw::connect_from(9, reloading.case.address).await;
    half.send(b"GET / HT").await;
    sleep(Duration::from_millis(20)).await;
    let reloaded = reloading.reloaded(&denying).await;
    assert_eq!(reloaded.connections_denied, 2);
    told(&mut denied, Reason::AddressDenied).await;
    half.send(&request("/", "").as_bytes()[8..]).await;
    half.expect_refusal(Reason::AddressDenied).await;
    Raw::connect_from(9, reloading.case.address).await.expect_refusal(Reason::AddressDenied).await;
    reloading.case.neighbour_is_unharmed().await;
    assert_eq!(reloading.reloaded(&denying).await, Reloaded::default());
}

#[tokio::test]
async fn o03_listeners_come_and_go_and_their_connections_stay() {
    let main = format!("address = \"{}\"", free_address());
    let plain = echo("", "").replace("address = \"127.0.0.1:0\"", &main);
    let side = free_address();
    let both = with_listener(&plain, side);
    let mut reloading = Reloading::start(&plain).await;
    assert!(!is_open(side).await);
    let reloaded = reloading.reloaded(&both).await;
    assert_eq!(reloaded.listeners_added, ["side"]);
    let mut raw = Raw::connect(side).await;
    raw.upgrade("/").await;
    // Another name at the same address is the same socket: who waits in it is served.
    let renamed = both.replace("side", "aside");
    let mut queued = Raw::connect(side).await;
    let reloaded = reloading.reloaded(&renamed).await;
    assert_eq!(
        (reloaded.listeners_added, reloaded.listeners_removed),
        (vec!["aside".to_owned()], vec!["side".to_owned()])
    );
    queued.upgrade("/").await;
    // Connected and not yet accepted when its listener goes.
    let mut last = Raw::connect(side).await;
    last.send(request("/", "").as_bytes()).await;
    assert_eq!(reloading.reloaded(&plain).await.listeners_removed, ["aside"]);
    assert!(last.read_head().await.starts_with("HTTP/1.1 101 "));
    assert!(!is_open(side).await);
    for raw in [&mut raw, &mut queued, &mut last] {
        lives(raw).await;
    }
    // What moves is bound before the old one is let go.
    let moved = plain.replace(&main, &format!("address = \"{side}\""));
    reloading.reloaded(&moved).await;
    assert!(is_open(side).await && !is_open(reloading.case.address).await);
    reloading.case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn o03_what_is_counted_and_banned_stays_counted_and_banned() {
    let with = |connections: u32, route: u32| {
        let auth = format!("sessions_per_subject_max = {route}\nfailures_per_client_per_minute = {route}");
        with_sessions(&auth, &format!("message_fragments_max = {connections}00")).replace(
            "handshakes_per_client_per_minute = \"unlimited\"",
            &format!(
                "connections_per_client_max = {connections}\nhandshakes_per_client_per_minute = \"unlimited\""
            ),
        )
    };
    let mut reloading = Reloading::start(&with(20, 2)).await;
    let case = &reloading.case;
    let network = "127.0.0.8".parse().unwrap();
    case.bans.ban_address(AddressBan { network, until: None, reason: String::new() }).await.unwrap();
    let _sessions = [open(case, "alice", &json!({})).await, open(case, "alice", &json!({})).await];
    let guess = async |address| {
        let mut raw = Raw::connect_from(7, address).await;
        raw.send(request("/token", "Authorization: Bearer no.such.token\r\n").as_bytes()).await;
        raw.read_response().await.status
    };
    for status in [401, 401, 429] {
        assert_eq!(guess(case.address).await, status);
    }
    reloading.reloaded(&with(4, 2)).await;
    let case = &reloading.case;
    Raw::connect_from(8, case.address).await.expect_refusal(Reason::AddressBanned).await;
    // The neighbour, two sessions and this one.
    let mut fourth = case.connect().await;
    fourth.upgrade("/").await;
    case.connect().await.expect_refusal(Reason::ClientConnectionsExceeded).await;
    drop(fourth);
    eventually(|| case.metric(r#"drawgate_connections{route="echo"}"#) == 1, || case.log_text()).await;
    let (_, head) = show(case, &token("alice", &json!({}))).await;
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    assert_eq!(guess(case.address).await, 429);
    assert_eq!(case.ends(Reason::SessionsExceeded), 1);
    // There is room for one session more where three are allowed; who has to wait still has to.
    reloading.reloaded(&with(20, 3)).await;
    let case = &reloading.case;
    let _third = open(case, "alice", &json!({})).await;
    let (_, head) = show(case, &token("alice", &json!({}))).await;
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    assert_eq!(guess(case.address).await, 429);
    reloading.case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn o03_an_application_that_is_taken_out_leaves_no_series() {
    let [one, other] =
        [Application::start().await, Application::start().await].map(|application| application.address);
    let both = format!("\"ws://{one}\", \"ws://{other}\"");
    let before = echo("", &routed(&both));
    let reloading = Reloading::start(&before).await;
    let rendered = || reloading.case.observer.render();
    assert!(rendered().contains(&one.to_string()) && rendered().contains(&other.to_string()));
    reloading.reloaded(&echo("", &routed(&format!("\"ws://{other}\"")))).await;
    assert!(
        !rendered().contains(&one.to_string()) && rendered().contains(&other.to_string()),
        "{}",
        rendered()
    );
}

fn routed(urls: &str) -> String {
    format!(
        "[routes.app]\nlisteners = [\"main\"]\npath = \"/app/*\"\norigins = \"any\"\nauth = \"none\"\nbackend = {{ urls = [{urls}] }}\n"
    )
}
