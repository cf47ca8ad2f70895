//! What encryption costs: CPU time for a connection's life within TLS, and memory of one that does nothing.
//!
//! Beside a server that is rustls on tokio and nothing else, with the same key, the same group (X25519) and the same suite;
//! clients never resume.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{Plan, Section};
use crate::figures::{Figure, Table, rounded};
use crate::server::{Kind, Server};

type Live = fn(&Server, &Arc<ClientConfig>) -> io::Result<()>;
type Encrypted = StreamOwned<ClientConnection, TcpStream>;

/// Measures both servers in turn.
///
/// # Errors
/// A server does not start, or refuses.
pub fn measure(plan: &Plan) -> io::Result<Section> {
    let client = make_certificate(&plan.places.run)?;
    let servers =
        KINDS.iter().map(|kind| Server::start(&plan.places, *kind, &[])).collect::<io::Result<Vec<_>>>()?;
    let mut idle = vec![Figure::default(); KINDS.len()];
    let mut lives = LIVES.map(|_| vec![[Figure::default(), Figure::default()]; KINDS.len()]);
    for round in 0..plan.rounds {
        for (live, figures) in LIVES.iter().zip(&mut lives) {
            let mut bare = f64::NAN;
            for (number, server) in servers.iter().enumerate() {
                live_for(server, &client, plan.warm_up(), *live)?;
                let cpu_ns = live_for(server, &client, plan.measured, *live)?;
                if server.kind == Kind::BareTls {
                    bare = cpu_ns;
                }
                figures[number][0].push(cpu_ns / 1000.0);
                figures[number][1].push(cpu_ns / bare);
            }
        }
        eprintln!("tls: round {} of {}", round + 1, plan.rounds);
    }
    for server in servers {
        server.stop()?;
    }
    for _ in 0..plan.rounds.min(IDLE_ROUNDS_MAX) {
        for (number, kind) in KINDS.iter().enumerate() {
            idle[number].push(idle_bytes(plan, *kind, &client)?);
        }
    }
    let mut table = Table::new(&[
        "server",
        "TLS handshake, µs",
        "over the bare one",
        "whole life, µs",
        "over the bare one",
        "bytes while idle",
    ]);
    let mut figures = Vec::new();
    for (number, kind) in KINDS.iter().enumerate() {
        table.push(vec![
            kind.label().to_owned(),
            lives[0][number][0].text(0),
            lives[0][number][1].text(2),
            lives[1][number][0].text(0),
            lives[1][number][1].text(2),
            idle[number].text(0),
        ]);
        figures.push((format!("{} handshake", kind.label()), lives[0][number][1].median()));
        figures.push((format!("{} life", kind.label()), lives[1][number][1].median()));
        figures.push((format!("{} idle", kind.label()), idle[number].median()));
    }
    let body = format!(
        "CPU time of the server for a connection that makes a TLS 1.3 handshake (ECDSA on P-256, X25519, never resumed) and \
         leaves, and for one that goes on: request, `101`, Close from both sides, `close_notify`. One at a time. The bare one is \
         rustls on tokio, and looks at nothing; Drawgate counts, and logs a record of the first and two of the second. Goal for the \
         handshake: 1.15. Bytes are resident memory for \
         each of {} connections after an echo of 1 KB. Goal: 16,384. Medians of {} runs of {} s.\n\n{}",
        rounded(plan.many as f64, 0),
        plan.rounds,
        rounded(plan.measured.as_secs_f64(), 1),
        table.markdown()
    );
    Ok(Section { title: "Within TLS", body, figures })
}

/// The files that both servers read, in `run`, and a client that trusts them.
fn make_certificate(run: &Path) -> io::Result<Arc<ClientConfig>> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).map_err(io::Error::other)?;
    fs::write(run.join("cert.pem"), made.cert.pem())?;
    fs::write(run.join("key.pem"), made.signing_key.serialize_pem())?;
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(run.join("cert.pem")).map_err(io::Error::other)?;
    roots.add(certificate).map_err(io::Error::other)?;
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The server's CPU time for one connection's life, in nanoseconds.
fn live_for(server: &Server, client: &Arc<ClientConfig>, time: Duration, live: Live) -> io::Result<f64> {
    let (cpu_ns, deadline) = (server.cpu_ns()?, Instant::now() + time);
    let mut connections = 0.0;
    while Instant::now() < deadline {
        live(server, client)?;
        connections += 1.0;
    }
    Ok((server.cpu_ns()? - cpu_ns) as f64 / connections)
}

/// The TLS handshake alone.
fn shake_hands(server: &Server, client: &Arc<ClientConfig>) -> io::Result<()> {
    let mut stream = connect(server, client)?;
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    stream.conn.send_close_notify();
    stream.flush()
}

/// The whole of it.
fn live(server: &Server, client: &Arc<ClientConfig>) -> io::Result<()> {
    let mut stream = open(server, client)?;
    stream.write_all(b"\x88\x82\0\0\0\0\x03\xe8")?;
    let mut close = Vec::new();
    // An end without close_notify is an error.
    stream.read_to_end(&mut close)?;
    if close == b"\x88\x02\x03\xe8" {
        return Ok(());
    }
    Err(io::Error::other(format!("the Close was answered with {close:?}")))
}

fn connect(server: &Server, client: &Arc<ClientConfig>) -> io::Result<Encrypted> {
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::clone(client), name).map_err(io::Error::other)?;
    let socket = TcpStream::connect(("127.0.0.1", server.port))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    Ok(StreamOwned::new(connection, socket))
}

/// A connection that has its `101`.
fn open(server: &Server, client: &Arc<ClientConfig>) -> io::Result<Encrypted> {
    let mut stream = connect(server, client)?;
    stream.write_all(REQUEST)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut piece = [0; 512];
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => head.extend_from_slice(&piece[..count]),
        }
    }
    if head.starts_with(b"HTTP/1.1 101 ") {
        return Ok(stream);
    }
    Err(io::Error::other(format!("the request was refused: {}", String::from_utf8_lossy(&head))))
}

/// The server's memory for each of many connections that have had an echo.
fn idle_bytes(plan: &Plan, kind: Kind, client: &Arc<ClientConfig>) -> io::Result<f64> {
    let server = Server::start(&plan.places, kind, &[])?;
    sleep(SETTLE_TIME);
    let empty = server.resident_bytes()?;
    let mut streams = Vec::with_capacity(plan.many);
    let message = [&b"\x82\xfe\x03\xe8\0\0\0\0"[..], &[b'm'; 1000]].concat();
    for _ in 0..plan.many {
        let mut stream = open(&server, client)?;
        stream.write_all(&message)?;
        // The bare one sends it back as it came, mask and all.
        let header_bytes = if kind == Kind::BareTls { 8 } else { 4 };
        let mut echo = vec![0; header_bytes + 1000];
        stream.read_exact(&mut echo)?;
        streams.push(stream);
    }
    sleep(SETTLE_TIME);
    let full = server.resident_bytes()?;
    drop(streams);
    server.stop()?;
    Ok((full as f64 - empty as f64) / plan.many as f64)
}

const LIVES: [Live; 2] = [shake_hands, live];
const KINDS: [Kind; 2] = [Kind::BareTls, Kind::DrawgateTls];
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
const SETTLE_TIME: Duration = Duration::from_millis(500);
/// Memory hardly varies from run to run.
const IDLE_ROUNDS_MAX: usize = 3;
