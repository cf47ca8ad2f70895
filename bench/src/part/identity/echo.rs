//! CPU time for a message of a session with every limit and metrics on, beside one without any of it.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use super::Outcome;
use crate::client::{Batch, Opcode};
use crate::figures::{Figure, Table};
use crate::load::Load;
use crate::part::Plan;
use crate::part::messages::ascii;
use crate::server::{Kind, Server};
use crate::token::Issuer;

/// Measures both servers in turn, and the first of them first only in every other round.
pub(super) fn measure(plan: &Plan, issuer: &Issuer) -> io::Result<Outcome> {
    let cases = [("20 B", 20, 1), ("1 KiB", 1024, 1), ("20 B, 16 a write", 20, 16)]
        .map(|(label, bytes, messages)| (label, Batch::new(Opcode::Text, ascii(bytes).as_bytes(), messages)));
    let guarded =
        Server::start(&plan.places, Kind::DrawgateGuarded, &[])?.with_token(&issuer.token("alice")?);
    let servers = [Server::start(&plan.places, Kind::Drawgate, &[])?, guarded];
    let mut ns = cases.each_ref().map(|_| [Figure::default(), Figure::default()]);
    let mut ratios = cases.each_ref().map(|_| Figure::default());
    for round in 0..plan.rounds {
        for (case, (_, batch)) in cases.iter().enumerate() {
            let mut cpu_ns = [f64::NAN; 2];
            for turn in 0..2 {
                let number = (turn + round) % 2;
                let server = &servers[number];
                let load = Load::open(server, CONNECTIONS, batch)?;
                if number == 1 {
                    check_sessions(server)?;
                }
                cpu_ns[number] = load.run(server, plan.warm_up(), plan.measured)?.cpu_ns;
                ns[case][number].push(cpu_ns[number]);
            }
            ratios[case].push(cpu_ns[1] / cpu_ns[0]);
        }
        eprintln!("identity, echo: round {} of {}", round + 1, plan.rounds);
    }
    servers.into_iter().try_for_each(Server::stop)?;
    let headings: Vec<&str> =
        ["message, ns"].into_iter().chain(cases.iter().map(|(label, _)| *label)).collect();
    let mut table = Table::new(&headings);
    for (number, kind) in [Kind::Drawgate, Kind::DrawgateGuarded].into_iter().enumerate() {
        let row = ns.iter().map(|case| case[number].text(0));
        table.push([kind.label().to_owned()].into_iter().chain(row).collect());
    }
    let row = ratios.iter().map(|ratio| ratio.text(2));
    table.push(["ratio".to_owned()].into_iter().chain(row).collect());
    let text = format!(
        "**A message of a session**: CPU time of the server as under \"A message\", {CONNECTIONS} connections of one subject, \
         with `idle_timeout`, `session_time_max`, `sessions_per_subject_max`, `refresh`, the firewall's caps and the admin \
         listener, whose metrics are read once a run. Goal: 1.1.\n\n{}",
        table.markdown()
    );
    let name = |label: &str| format!("drawgate, session's message of {label}");
    let figures = cases.iter().zip(&ratios).map(|((label, _), ratio)| (name(label), ratio.median()));
    Ok((text, figures.collect()))
}

/// Reads the metrics, which have to know the sessions that are measured.
fn check_sessions(server: &Server) -> io::Result<()> {
    let mut socket = TcpStream::connect(("127.0.0.1", server.admin_port))?;
    let host = format!("Host: 127.0.0.1:{}", server.admin_port);
    socket.write_all(format!("GET /metrics HTTP/1.1\r\n{host}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let counts = answer.lines().filter(|line| line.starts_with(SESSIONS_METRIC));
    let counts = counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok());
    match counts.sum() {
        CONNECTIONS.. => Ok(()),
        fewer => Err(io::Error::other(format!("the metrics know of {fewer} sessions"))),
    }
}

const CONNECTIONS: usize = 100;
const SESSIONS_METRIC: &str = "drawgate_sessions{";
