//! CPU time for a connection's life: accepted, upgraded, closed by both sides.

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Plan, Section};
use crate::client;
use crate::figures::{Figure, Table, rounded};
use crate::server::{Kind, Server};

/// Measures every server in turn.
///
/// # Errors
/// A server does not start, or refuses.
pub fn measure(plan: &Plan) -> io::Result<Section> {
    let kinds = plan.of(&KINDS);
    let servers =
        kinds.iter().map(|kind| Server::start(&plan.places, *kind, &[])).collect::<io::Result<Vec<_>>>()?;
    let mut ns = vec![Figure::default(); kinds.len()];
    let mut ratios = vec![Figure::default(); kinds.len()];
    for round in 0..plan.rounds {
        let mut bare = f64::NAN;
        for (number, server) in servers.iter().enumerate() {
            shake_hands_for(server, plan.warm_up())?;
            let cpu_ns = shake_hands_for(server, plan.measured)?;
            if server.kind == Kind::BareHandshake {
                bare = cpu_ns;
            }
            ns[number].push(cpu_ns);
            ratios[number].push(cpu_ns / bare);
        }
        eprintln!("handshake: round {} of {}", round + 1, plan.rounds);
    }
    for server in servers {
        server.stop()?;
    }
    let mut table = Table::new(&["server", "CPU, µs", "over the bare one"]);
    let mut figures = Vec::new();
    for (number, kind) in kinds.iter().enumerate() {
        table.push(vec![kind.label().to_owned(), ns[number].scaled(0.001).text(1), ratios[number].text(2)]);
        figures.push((kind.label().to_owned(), ratios[number].median()));
    }
    let body = format!(
        "CPU time of the server for a connection's whole life: accept, request, `101`, Close from both sides, close. \
         {AT_ONCE} at a time. The bare one checks nothing and logs nothing; Drawgate counts, and logs a record at open \
         and one at the end, which `level = \"error\"` leaves out. Goal: 1.35. Medians of {} runs of {} s.\n\n{}",
        plan.rounds,
        rounded(plan.measured.as_secs_f64(), 1),
        table.markdown()
    );
    Ok(Section { title: "A handshake", body, figures })
}

/// The server's CPU time for one connection's life, in nanoseconds.
///
/// # Errors
/// The server refuses one, or does not close as it should.
pub fn shake_hands_for(server: &Server, time: Duration) -> io::Result<f64> {
    let (cpu_ns, deadline) = (server.cpu_ns()?, Instant::now() + time);
    let mut connections = 0.0;
    while Instant::now() < deadline {
        shake_hands(server, AT_ONCE)?;
        connections += AT_ONCE as f64;
    }
    Ok((server.cpu_ns()? - cpu_ns) as f64 / connections)
}

/// Lets `count` connections live and end, each step of all of them before the next of any.
///
/// # Errors
/// The server refuses one, or does not close as it should.
pub fn shake_hands(server: &Server, count: usize) -> io::Result<()> {
    let sockets =
        (0..count).map(|_| TcpStream::connect(("127.0.0.1", server.port))).collect::<io::Result<Vec<_>>>()?;
    let request = server.request().unwrap_or_default();
    sockets.iter().try_for_each(|mut socket| socket.write_all(request))?;
    for step in [client::accepted, client::close, client::closed] {
        sockets.iter().try_for_each(step)?;
    }
    Ok(())
}

const AT_ONCE: usize = 32;
const KINDS: [Kind; 8] = [
    Kind::BareHandshake,
    Kind::Drawgate,
    Kind::DrawgateQuiet,
    Kind::FastWebSockets,
    Kind::TokioWebSockets,
    Kind::Tungstenite,
    Kind::NodeWs,
    Kind::PythonWebSockets,
];
