//! Sealed payloads through real sockets: what opens, what does not, and what anybody learns of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use drawgate::inspect::seal::{Config, KeyId, SALT_BYTES, Sealing};
use drawgate::inspect::{Format, Inspection, Inspections, Toward};
use drawgate::reason::Reason;
use drawgate::secret::Secret;
use drawgate::{Access, Handler, Message, Origins, Route, Server, Session};
use serde_json::{Value, json};

use crate::application::{Application, before};
use crate::sessions::{token, with_sessions};
use crate::support::{Case, Raw, echo, payload};

/// Says back what it hears; what it hears as `binary`, as binary.
struct Parrot;

impl Handler for Parrot {
    async fn message(&self, session: &Session, message: Message) {
        let answer = match message {
            Message::Text(text) if &*text == "binary" => Message::Binary(b"x".to_vec()),
            message => message,
        };
        let _ = session.send(answer).await;
    }
}

fn config() -> Config {
    Config::new(KeyId::parse("2026-11").unwrap(), Secret::new(&[b's'; 32]))
}

async fn start(config: Config) -> Case {
    let messages = Some(Inspection::new(Format::Json(Default::default())));
    let open = Inspections { messages: None, replies: None, seal: Some(config) };
    let inspected = Inspections { messages, ..open.clone() };
    let empty = drawgate::config::Config::from_toml(&echo("", ""), ".".as_ref(), &|_| None).unwrap();
    let mut builder = Server::from_config(empty);
    for (name, inspections) in [("sealed", open), ("inspected", inspected)] {
        let route = Route::new(name, &format!("/{name}"), Origins::Any, Access::Open, Parrot).unwrap();
        builder = builder.route(route.inspect(inspections));
    }
    Case::start_with(builder).await
}

/// The client's side: what it has derived from what it was told first.
async fn open(case: &Case, path: &str, config: &Config) -> (Raw, Sealing) {
    let mut raw = case.connect().await;
    raw.upgrade(path).await;
    let client = told(&mut raw, config).await;
    (raw, client)
}

/// What the gate says first, and the keys that come of it.
async fn told(raw: &mut Raw, config: &Config) -> Sealing {
    let frame = raw.read_frame().await;
    assert_eq!(frame.first, 0x81);
    let told: Value = serde_json::from_slice(&frame.payload).unwrap();
    assert_eq!((&told["type"], &told["kid"]), (&"session_sealed".into(), &config.key_id.as_str().into()));
    let salt = URL_SAFE_NO_PAD.decode(told["salt"].as_str().unwrap()).unwrap();
    Sealing::new(config, &<[u8; SALT_BYTES]>::try_from(salt).unwrap())
}

async fn says(raw: &mut Raw, client: &mut Sealing, text: &str) -> String {
    raw.send_frame(0x81, client.seal(Toward::Backend, text).unwrap().as_bytes()).await;
    let frame = raw.read_frame().await;
    assert_eq!(frame.first, 0x81, "{frame:?}");
    client.open(Toward::Client, &frame.payload).unwrap()
}

#[tokio::test]
async fn a_sealed_message_is_opened_for_the_application_and_its_answer_sealed() {
    let case = start(config()).await;
    let (mut raw, mut client) = open(&case, "/sealed", &config()).await;
    for text in ["hello", "", "\u{20ac}"] {
        assert_eq!(says(&mut raw, &mut client, text).await, text);
    }
    // In pieces too.
    let sealed = client.seal(Toward::Backend, "in pieces").unwrap();
    let (front, back) = sealed.split_at(9);
    raw.send_frame(0x01, front.as_bytes()).await;
    raw.send_frame(0x80, back.as_bytes()).await;
    let answer = raw.read_frame().await;
    assert_eq!(client.open(Toward::Client, &answer.payload).unwrap(), "in pieces");
    // Another session has other keys.
    let (_, mut other) = open(&case, "/sealed", &config()).await;
    assert_ne!(
        other.seal(Toward::Backend, "x"),
        Sealing::new(&config(), &[0; 32]).seal(Toward::Backend, "x")
    );
}

#[tokio::test]
async fn what_was_opened_is_inspected_and_notices_stay_open() {
    let case = start(config()).await;
    let (mut raw, mut client) = open(&case, "/inspected", &config()).await;
    assert_eq!(says(&mut raw, &mut client, r#"{"a":1}"#).await, r#"{"a":1}"#);
    raw.send_frame(0x81, client.seal(Toward::Backend, "hunter2-no-json").unwrap().as_bytes()).await;
    assert_eq!(says(&mut raw, &mut client, "[]").await, "[]");
    assert!(!case.log_text().contains("hunter2"), "{}", case.log_text());
}

#[tokio::test]
async fn a_first_message_is_a_token_in_the_open_and_what_follows_it_is_sealed() {
    let toml = with_sessions("", "");
    let key_file = toml.lines().find(|line| line.contains("secret_file =")).unwrap();
    let key_file = key_file.split('"').nth(1).unwrap();
    let seal = format!("[routes.token.seal]\nkey_id = \"2026-11\"\nsecret_file = {key_file:?}\n[auth.users]");
    let case = Case::start(&toml.replace("[auth.users]", &seal)).await;
    let config = Config { secret: Secret::from_file_bytes(&std::fs::read(key_file).unwrap()), ..config() };
    let mut raw = case.connect().await;
    raw.upgrade("/token").await;
    // A token in fragments is taken as it is on other routes.
    let token = token("alice", &json!({}));
    let (front, back) = token.split_at(9);
    raw.send_frame(0x01, front.as_bytes()).await;
    raw.send_frame(0x80, back.as_bytes()).await;
    let mut client = told(&mut raw, &config).await;
    let notice: Value = serde_json::from_slice(&raw.read_frame().await.payload).unwrap();
    assert!(notice["type"].is_string(), "{notice}");
    assert_eq!(says(&mut raw, &mut client, "hello").await, "hello");
}

#[tokio::test]
async fn an_application_behind_the_gate_gets_and_says_what_is_open() {
    let application = Application::start().await;
    let case = Case::start(&sealed_before(&application, "2026-11", b's').1).await;
    let (mut raw, mut seen) = application.join(&case, "/app/", "").await;
    let mut client = told(&mut raw, &config()).await;
    for text in ["hello", "\u{20ac}"] {
        raw.send_frame(0x81, client.seal(Toward::Backend, text).unwrap().as_bytes()).await;
        let frames = seen.read_message().await;
        assert_eq!((frames[0].first & 0x0F, payload(&frames)), (0x01, text.as_bytes().to_vec()));
        seen.send_frame(0x81, b"answered").await;
        let answer = raw.read_message().await;
        assert_eq!(client.open(Toward::Client, &payload(&answer)).unwrap(), "answered");
    }
    raw.send_frame(0x81, b"hunter2").await;
    expect_close(&mut raw, Reason::PayloadUnsealed).await;
}

#[tokio::test]
async fn another_key_by_a_reload_is_for_sessions_that_begin_then() {
    let application = Application::start().await;
    let (folder, toml) = sealed_before(&application, "2026-11", b's');
    let case = Case::start(&toml).await;
    let (mut old, mut old_seen) = application.join(&case, "/app/", "").await;
    let mut old_client = told(&mut old, &config()).await;
    let (other_folder, other_toml) = sealed_before(&application, "2026-12", b't');
    let other = drawgate::config::Config::from_toml(&other_toml, ".".as_ref(), &|_| None).unwrap();
    let reloaded = case.reloader.replace(Server::from_config(other)).await.unwrap();
    assert_eq!(reloaded.routes_changed, ["app"]);
    // Nobody needs the file of the old key any more.
    drop((folder, other_folder));
    let other = Config::new(KeyId::parse("2026-12").unwrap(), Secret::new(&[b't'; 32]));
    let (mut new, mut new_seen) = application.join(&case, "/app/", "").await;
    let mut new_client = told(&mut new, &other).await;
    for (raw, seen, client) in
        [(&mut old, &mut old_seen, &mut old_client), (&mut new, &mut new_seen, &mut new_client)]
    {
        raw.send_frame(0x81, client.seal(Toward::Backend, "hello").unwrap().as_bytes()).await;
        assert_eq!(payload(&seen.read_message().await), b"hello");
        seen.send_frame(0x81, b"answered").await;
        assert_eq!(client.open(Toward::Client, &payload(&raw.read_message().await)).unwrap(), "answered");
    }
    // And what the old key seals is nothing to a session of the new one.
    new.send_frame(0x81, old_client.seal(Toward::Backend, "hunter2").unwrap().as_bytes()).await;
    expect_close(&mut new, Reason::PayloadUnsealed).await;
}

/// A sealed route before the application, and the folder of its key.
fn sealed_before(application: &Application, key_id: &str, key: u8) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seal.key");
    std::fs::write(&file, [key; 32]).unwrap();
    let seal = format!("[routes.app.seal]\nkey_id = \"{key_id}\"\nsecret_file = {file:?}");
    let toml = before(application.address, "", &seal);
    (folder, toml)
}

/// What a client sends instead of what it has sealed.
type Tamper = fn(&mut Sealing) -> (u8, String);

#[tokio::test]
async fn what_is_not_sealed_as_it_has_to_be_closes_with_one_reason() {
    let tampers: [(&str, Tamper); 10] = [
        ("open", |_| (0x81, "hunter2".to_owned())),
        ("empty", |_| (0x81, String::new())),
        ("binary", |client| (0x82, sealed(client))),
        ("reflected", |client| (0x81, client.seal(Toward::Client, "hunter2").unwrap())),
        ("left out", |client| {
            client.seal(Toward::Backend, "hunter2").unwrap();
            (0x81, sealed(client))
        }),
        ("another key", |_| {
            let other = Config { secret: Secret::new(&[b't'; 32]), ..config() };
            (0x81, sealed(&mut Sealing::new(&other, &[1; 32])))
        }),
        ("another session", |_| (0x81, sealed(&mut Sealing::new(&config(), &[1; 32])))),
        ("a sixth part", |client| (0x81, sealed(client) + ".")),
        ("padded", |client| (0x81, sealed(client) + "=")),
        ("a shorter tag", |client| {
            (0x81, {
                let sealed = sealed(client);
                sealed[..sealed.len() - 6].to_owned()
            })
        }),
    ];
    for (what, tamper) in tampers {
        let mut case = start(config()).await;
        let (mut raw, mut client) = open(&case, "/sealed", &config()).await;
        let (first, payload) = tamper(&mut client);
        raw.send_frame(first, payload.as_bytes()).await;
        expect_close(&mut raw, Reason::PayloadUnsealed).await;
        drop(raw);
        case.refused(Reason::PayloadUnsealed, b"hunter2").await;
        assert!(!case.log_text().contains("hunter2"), "{what}");
    }
}

#[tokio::test]
async fn a_message_that_comes_again_closes() {
    let case = start(config()).await;
    let (mut raw, mut client) = open(&case, "/sealed", &config()).await;
    let sealed = sealed(&mut client);
    raw.send_frame(0x81, sealed.as_bytes()).await;
    raw.read_frame().await;
    raw.send_frame(0x81, sealed.as_bytes()).await;
    expect_close(&mut raw, Reason::PayloadUnsealed).await;
}

#[tokio::test]
async fn a_session_ends_before_its_key_has_sealed_too_much() {
    let bounded = Config { messages_max: 2, ..config() };
    let case = start(bounded).await;
    let (mut raw, mut client) = open(&case, "/sealed", &config()).await;
    assert_eq!(says(&mut raw, &mut client, "one").await, "one");
    raw.send_frame(0x81, client.seal(Toward::Backend, "two").unwrap().as_bytes()).await;
    expect_close(&mut raw, Reason::SealSpent).await;
}

#[tokio::test]
async fn a_reply_that_is_not_text_is_not_sealed_and_does_not_go_out() {
    let case = start(config()).await;
    let (mut raw, mut client) = open(&case, "/sealed", &config()).await;
    raw.send_frame(0x81, client.seal(Toward::Backend, "binary").unwrap().as_bytes()).await;
    expect_close(&mut raw, Reason::ReplyRefused).await;
}

fn sealed(client: &mut Sealing) -> String {
    client.seal(Toward::Backend, "hunter2").unwrap()
}

/// A Close is answered by one.
async fn expect_close(raw: &mut Raw, reason: Reason) {
    raw.send_frame(0x88, b"\x03\xe8").await;
    raw.expect_close(reason).await;
}

#[test]
fn the_page_has_the_example_as_it_stands() {
    let page = include_str!("../../../../docs/payload-encryption.md");
    assert!(page.contains(include_str!("../../../../examples/sealed.py")));
}
