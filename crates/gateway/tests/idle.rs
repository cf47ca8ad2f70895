//! What an idle connection holds: counted, so that something that nobody needs while nothing happens is noticed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use allocation_counter::measure;
use drawgate::Server;
use drawgate::auth::token::sign_hs256;
use drawgate::config::Config;
use drawgate::secret::Secret;
use tokio::task::spawn_blocking;

#[test]
fn an_idle_connection_holds_less_than_a_kibibyte() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let address = runtime.block_on(serve(CONFIGURATION));
    holds_less_than(BYTES_MAX, &runtime, address, "");
}

/// Both sides of it, on the gateway between.
#[test]
fn an_idle_relayed_connection_holds_less_than_two_kibibytes() {
    relayed_holds_less_than(RELAYED_BYTES_MAX, ["", ""], "", "");
}

/// The contexts are the worker's: what is left is what was agreed on.
#[test]
fn an_idle_connection_that_compresses_towards_its_application_holds_no_context() {
    let settings = [", compression = \"on\"", "limits.compression = \"on\""];
    relayed_holds_less_than(RELAYED_BYTES_MAX + AGREED_BYTES_MAX, settings, "", "");
}

/// The same with a token, and a session that it began.
#[test]
fn an_idle_relayed_connection_with_a_session_holds_less_than_two_and_a_half_kibibytes() {
    let claims = serde_json::json!({
        "iss": "https://issuer.example", "aud": "chat", "sub": "3f8a1f0e-1b1c-4b52-9a3c-7c1de1b7a001",
        "jti": "a-token-of-some-length", "iat": 1_700_000_000, "exp": 4_000_000_000_u64, "role": "member",
    });
    let secret = Secret::new(b"0123456789abcdef0123456789abcdef");
    let token = sign_hs256(&secret, claims.as_object().unwrap());
    relayed_holds_less_than(SESSION_BYTES_MAX, ["", ""], AUTH, &format!("Authorization: Bearer {token}\r\n"));
}

/// With these settings of the backend, and of the application's route.
fn relayed_holds_less_than(
    bytes_max: i64,
    [setting, application_setting]: [&str; 2],
    auth: &str,
    header: &str,
) {
    // The application is our echo, in a process that is not counted: on a thread of its own.
    let (tell, told) = std::sync::mpsc::channel();
    let echo = CONFIGURATION.replace("backend =", &format!("{application_setting}\nbackend ="));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tell.send(serve(&echo).await).unwrap();
            std::future::pending::<()>().await;
        });
    });
    let application = told.recv().unwrap();
    let backend = format!("backend = {{ urls = [\"ws://{application}\"]{setting} }}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let configuration = CONFIGURATION.replace("backend = \"echo\"", &backend) + auth;
    let configuration = match auth {
        "" => configuration,
        _ => configuration.replace("auth = \"none\"", "auth = \"users\""),
    };
    let address = runtime.block_on(serve(&configuration));
    holds_less_than(bytes_max, &runtime, address, header);
}

async fn serve(configuration: &str) -> SocketAddr {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token.secret"), "0123456789abcdef0123456789abcdef").unwrap();
    let config = Config::from_toml(configuration, folder.path(), &|_| None).unwrap();
    let server = Server::from_config(config).bind().unwrap();
    let address = server.address();
    tokio::spawn(server.run(std::future::pending()));
    address
}

fn holds_less_than(bytes_max: i64, runtime: &tokio::runtime::Runtime, address: SocketAddr, header: &str) {
    // The first ones make what all of them share. Clients run on a thread of their own, which is not counted.
    let open = |count| {
        let header = header.to_owned();
        runtime.block_on(async move { spawn_blocking(move || open(address, &header, count)).await.unwrap() })
    };
    let _first = open(CONNECTIONS);
    let mut idle = Vec::new();
    let allocated = measure(|| idle = open(CONNECTIONS));
    let bytes = allocated.bytes_current / i64::try_from(idle.len()).unwrap();
    assert!((100..bytes_max).contains(&bytes), "an idle connection holds {bytes} bytes");
}

/// Connections that have each had one echo of 1,000 bytes.
fn open(address: SocketAddr, header: &str, count: usize) -> Vec<TcpStream> {
    (0..count)
        .map(|_| {
            let mut socket = TcpStream::connect(address).unwrap();
            socket.write_all(format!("{REQUEST}{header}\r\n").as_bytes()).unwrap();
            let mut head = [0; HEAD_BYTES];
            socket.read_exact(&mut head).unwrap();
            assert!(head.starts_with(b"HTTP/1.1 101 ") && head.ends_with(b"\r\n\r\n"));
            // Masked with zeroes, a message is its own echo.
            let message = [b'm'; 1000];
            socket.write_all(&[&b"\x82\xfe\x03\xe8\0\0\0\0"[..], &message].concat()).unwrap();
            let mut echo = [0; 4 + 1000];
            socket.read_exact(&mut echo).unwrap();
            assert_eq!(echo, *[&b"\x82\x7e\x03\xe8"[..], &message].concat());
            socket
        })
        .collect()
}

const CONNECTIONS: usize = 300;

const BYTES_MAX: i64 = 1024;

/// What is resident is more: an allocator has its classes, and a table room to grow.
const RELAYED_BYTES_MAX: i64 = 2048;

/// What two flows, their rate and their room are.
const AGREED_BYTES_MAX: i64 = 512;

const SESSION_BYTES_MAX: i64 = 2560;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

/// What the answer to it has.
const HEAD_BYTES: usize = 129;

const CONFIGURATION: &str = r#"
[listeners.all]
address = "127.0.0.1:0"
tls = "none"

[routes.echo]
listeners = ["all"]
path = "/"
origins = "any"
auth = "none"
backend = "echo"

[firewall]
connections_per_client_max = "unlimited"
handshakes_per_client_per_minute = "unlimited"
"#;

const AUTH: &str = r#"
[auth.users]
credentials = ["authorization_header"]
algorithms = ["HS256"]
keys = { secret_file = "token.secret" }
issuer = "any"
audience = "any"
token_lifetime_max = "unlimited"
"#;
