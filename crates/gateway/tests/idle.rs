//! What an idle connection holds: counted, so that something that nobody needs while nothing happens is noticed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use allocation_counter::measure;
use drawgate::Server;
use drawgate::config::Config;
use tokio::task::spawn_blocking;

#[test]
fn an_idle_connection_holds_less_than_a_kibibyte() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let address = runtime.block_on(serve(CONFIGURATION));
    holds_less_than(BYTES_MAX, &runtime, address);
}

/// Both sides of it, on the gateway between.
#[test]
fn an_idle_relayed_connection_holds_less_than_two_and_a_half_kibibytes() {
    relayed_holds_less_than(RELAYED_BYTES_MAX, CONFIGURATION, "");
}

/// The contexts are the worker's: what is left is what was agreed on.
#[test]
fn an_idle_connection_that_compresses_towards_its_application_holds_no_context() {
    let application = CONFIGURATION.replace("backend =", "limits.compression = \"on\"\nbackend =");
    relayed_holds_less_than(RELAYED_BYTES_MAX + AGREED_BYTES_MAX, &application, ", compression = \"on\"");
}

/// Behind a gateway whose backend has this setting too, `application` is the configuration of an echo.
fn relayed_holds_less_than(bytes_max: i64, application: &str, setting: &str) {
    // The application is our echo, in a process that is not counted: on a thread of its own.
    let (tell, told) = std::sync::mpsc::channel();
    let echo = application.to_owned();
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
    let address = runtime.block_on(serve(&CONFIGURATION.replace("backend = \"echo\"", &backend)));
    holds_less_than(bytes_max, &runtime, address);
}

async fn serve(configuration: &str) -> SocketAddr {
    let config = Config::from_toml(configuration, Path::new("."), &|_| None).unwrap();
    let server = Server::from_config(config).bind().unwrap();
    let address = server.address();
    tokio::spawn(server.run(std::future::pending()));
    address
}

fn holds_less_than(bytes_max: i64, runtime: &tokio::runtime::Runtime, address: SocketAddr) {
    // The first ones make what all of them share. Clients run on a thread of their own, which is not counted.
    let open =
        |count| runtime.block_on(async move { spawn_blocking(move || open(address, count)).await.unwrap() });
    let _first = open(CONNECTIONS);
    let mut idle = Vec::new();
    let allocated = measure(|| idle = open(CONNECTIONS));
    let bytes = allocated.bytes_current / i64::try_from(idle.len()).unwrap();
    assert!((100..bytes_max).contains(&bytes), "an idle connection holds {bytes} bytes");
}

/// Connections that have each had one echo of 1,000 bytes.
fn open(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count)
        .map(|_| {
            let mut socket = TcpStream::connect(address).unwrap();
            socket.write_all(REQUEST).unwrap();
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

const RELAYED_BYTES_MAX: i64 = 2560;

/// What two flows, their rate and their room are.
const AGREED_BYTES_MAX: i64 = 512;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

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
