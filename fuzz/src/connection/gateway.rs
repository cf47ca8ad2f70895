//! The gateway under test: three routes, one of them answered by an application that can be told to misbehave.

use std::sync::LazyLock;
use std::time::Duration;

use drawgate::chance::Chance;
use drawgate::clock::{Clock, UnixTime};
use drawgate::config::Config;
use drawgate::limits::Limits;
use drawgate::route::Notice;
use drawgate::{Access, CloseCode, Handler, Message, Origins, Route, Server, Session};

use super::program::Settings;

/// A gateway as `settings` say, on virtual time and a seed.
pub(crate) fn gateway(settings: Settings) -> Server {
    let mut config = CONFIG.clone();
    for route in &mut config.routes {
        route.notice = notice(settings);
        route.limits = limits(settings);
    }
    config.firewall.connections_per_client_max = connections_per_client_max(settings);
    if has_small_buffers(settings) {
        config.buffers_bytes_max = 4096;
    }
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

/// What all gateways have in common, read once.
static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("drawgate-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("there is a folder for temporary files");
    std::fs::write(folder.join("token.secret"), SECRET).expect("it can be written to");
    let config = Config::from_toml(CONFIGURATION, &folder, &|_| None);
    std::fs::remove_dir_all(&folder).expect("it can be removed");
    config.expect("it is a configuration")
});

const CONFIGURATION: &str = r#"
[server]
drain_timeout = "10s"

[listeners.public]
address = "127.0.0.1:0"
tls = "none"

[routes.echo]
listeners = ["public"]
path = "/echo"
origins = "any"
auth = "none"
backend = { echo = { prefix = "> " } }

[routes.token]
listeners = ["public"]
path = "/token"
origins = "any"
auth = "users"
backend = { echo = { prefix = "> " } }

[auth.users]
credentials = ["first_message"]
algorithms = ["HS256"]
keys = { secret_file = "token.secret" }
issuer = "any"
audience = "any"
token_lifetime_max = "unlimited"
leeway = "0s"
refresh = "on"
failures_per_client_per_minute = "unlimited"
failures_per_subject_per_minute = "unlimited"

[firewall]
handshakes_per_client_per_minute = "unlimited"

[log]
level = "error"
"#;

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
/// What the tokens of `requests.rs` are signed with.
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
