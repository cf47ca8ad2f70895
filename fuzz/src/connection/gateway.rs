//! The gateway under test: three routes, one of them answered by an application that can be told to misbehave.

use std::collections::BTreeMap;
use std::time::Duration;

use drawgate::auth::{self, Algorithm, CredentialSource, Expected};
use drawgate::chance::Chance;
use drawgate::clock::{Clock, UnixTime};
use drawgate::config::{Config, ListenerConfig, RouteConfig, ServerConfig};
use drawgate::limits::Limits;
use drawgate::observe::{self, LogFormat, LogLevel};
use drawgate::route::{Echo, Notice, PathPattern, RefuseBy};
use drawgate::secret::Secret;
use drawgate::{Access, CloseCode, Handler, Message, Origins, Route, Server, Session, firewall};

use super::program::Settings;

/// A gateway as `settings` say, on virtual time and a seed.
pub(crate) fn gateway(settings: Settings) -> Server {
    let listener = ListenerConfig {
        name: LISTENER.to_owned(),
        address: ([127, 0, 0, 1], 0).into(),
        head_timeout: Duration::from_secs(5),
        required: true,
    };
    let routes = [("echo", None), ("token", Some(LISTENER.to_owned()))]
        .map(|(name, auth)| RouteConfig {
            name: name.to_owned(),
            listeners: vec![LISTENER.to_owned()],
            path: PathPattern::parse(&format!("/{name}")).expect("it is a path"),
            hosts: Vec::new(),
            origins: Origins::Any,
            auth,
            notice: notice(settings),
            refuse: RefuseBy::Http,
            limits: limits(settings),
            backend: Echo { prefix: PREFIX.to_owned() },
        })
        .to_vec();
    let config = Config {
        server: ServerConfig { workers: None, drain_timeout: DRAIN_TIMEOUT },
        listeners: vec![listener],
        routes,
        auth: BTreeMap::from([(LISTENER.to_owned(), authentication())]),
        firewall: firewall::Config {
            connections_per_client_max: connections_per_client_max(settings),
            handshakes_per_client_per_minute: None,
        },
        log: observe::Config { level: LogLevel::Error, format: LogFormat::Json, error_file: None },
        admin: None,
        buffers_bytes_max: if has_small_buffers(settings) { 4096 } else { 256 * 1024 * 1024 },
        compression_bytes_max: 256 * 1024 * 1024,
        warnings: Vec::new(),
    };
    let handler = Route::new("handler", "/handler", Origins::Any, Access::Open, Application)
        .expect("it is a path")
        .notice(notice(settings))
        .limits(limits(settings));
    Server::from_config(config)
        .route(handler)
        .unauthenticated_max(if settings.bit(6) { 1 } else { 100 })
        .deterministic(Clock::anchored(UnixTime::from_seconds(NOW_SECONDS)), Chance::seeded(7))
        .bind()
        .expect("the loopback has a free port")
}

pub(crate) const fn notice(settings: Settings) -> Notice {
    match settings.two_bits(0) {
        1 => Notice::Json,
        2 => Notice::Text,
        _ => Notice::Close,
    }
}

pub(crate) fn limits(settings: Settings) -> Limits {
    let compression = settings.bit(4);
    if settings.bit(2) {
        Limits {
            message_bytes_max: Some(3000),
            message_fragments_max: Some(3),
            compression,
            ..Limits::default()
        }
    } else {
        Limits { compression, ..Limits::default() }
    }
}

pub(crate) const fn connections_per_client_max(settings: Settings) -> Option<u32> {
    if settings.bit(5) { Some(2) } else { None }
}

/// All connections' buffers are so small that load is shed.
pub(crate) const fn has_small_buffers(settings: Settings) -> bool {
    settings.bit(3)
}

fn authentication() -> auth::Config {
    auth::Config {
        credentials: vec![CredentialSource::FirstMessage],
        algorithms: vec![Algorithm::Hs256],
        key: Secret::new(b"0123456789abcdef0123456789abcdef"),
        issuer: Expected::Any,
        audience: Expected::Any,
        subject_claims: vec!["sub".to_owned()],
        first_message_timeout: Duration::from_secs(5),
        token_lifetime_max: None,
        leeway: Duration::ZERO,
    }
}

/// Does what a message's first byte says, and echoes the message where that says nothing.
struct Application;

impl Handler for Application {
    async fn message(&self, session: &Session, message: Message) {
        match Command::of(message.as_bytes()) {
            Command::Echo => {}
            Command::Burst => {
                for _ in 0..BURST_MESSAGES {
                    if session.send(burst_message()).await.is_err() {
                        return;
                    }
                }
            }
            Command::Slow => tokio::time::sleep(Duration::from_secs(1)).await,
            Command::Close => return session.close(APPLICATION_CODE, "bye"),
            Command::Ignore => return,
        }
        let _ = session.send(message).await;
    }
}

/// What the application does.
pub(crate) enum Command {
    Echo,
    /// Many large messages, then the echo.
    Burst,
    /// The echo, after a while.
    Slow,
    Close,
    Ignore,
}

impl Command {
    pub(crate) fn of(message: &[u8]) -> Self {
        match message.first() {
            Some(b'b') => Self::Burst,
            Some(b's') => Self::Slow,
            Some(b'c') => Self::Close,
            Some(b'i') => Self::Ignore,
            _ => Self::Echo,
        }
    }
}

pub(crate) fn burst_message() -> Message {
    Message::Binary(vec![0xBB; 8000])
}

/// More than the outbox and the output hold together.
pub(crate) const BURST_MESSAGES: usize = 50;

pub(crate) const APPLICATION_CODE: CloseCode = CloseCode::NORMAL;
pub(crate) const LISTENER: &str = "public";
pub(crate) const PREFIX: &str = "> ";
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// When programs run; the tokens of `requests` are made for it.
const NOW_SECONDS: u64 = 1_800_000_000;
