//! Whether a message costs more where there are many connections: beside what it costs over 100, and beside the bare echo.

use std::io;

use super::messages::ascii;
use super::{Plan, Section};
use crate::client::{Batch, Opcode};
use crate::figures::{Figure, Table, rounded};
use crate::load::Load;
use crate::server::{Kind, Server};

/// Measures few and many connections in turn.
///
/// # Errors
/// A server does not start, or does not echo.
pub fn measure(plan: &Plan) -> io::Result<Section> {
    let batch = Batch::new(Opcode::Text, ascii(20).as_bytes(), 1);
    let kinds = plan.of(&KINDS);
    let servers =
        kinds.iter().map(|kind| Server::start(&plan.places, *kind, &[])).collect::<io::Result<Vec<_>>>()?;
    let mut ns = vec![[Figure::default(), Figure::default()]; kinds.len()];
    let mut growth = vec![Figure::default(); kinds.len()];
    for round in 0..plan.rounds {
        let mut bare_growth = f64::NAN;
        for (number, server) in servers.iter().enumerate() {
            let few = Load::open(server, FEW, &batch)?.run(server, plan.warm_up(), plan.measured)?;
            let many = Load::open(server, plan.many, &batch)?.run(server, plan.warm_up(), plan.measured)?;
            ns[number][0].push(few.cpu_ns);
            ns[number][1].push(many.cpu_ns);
            if server.kind == Kind::BareEcho {
                bare_growth = many.cpu_ns / few.cpu_ns;
            }
            growth[number].push(many.cpu_ns / few.cpu_ns / bare_growth);
        }
        eprintln!("many: round {} of {}", round + 1, plan.rounds);
    }
    for server in servers {
        server.stop()?;
    }
    let many = rounded(plan.many as f64, 0);
    let headings =
        ["server", "100 connections, ns", &format!("{many} connections, ns"), "growth over the bare echo's"];
    let mut table = Table::new(&headings);
    let mut figures = Vec::new();
    for (number, kind) in kinds.iter().enumerate() {
        let [few, many] = &ns[number];
        table.push(vec![kind.label().to_owned(), few.text(0), many.text(0), growth[number].text(2)]);
        figures.push((kind.label().to_owned(), growth[number].median()));
    }
    let body = format!(
        "CPU time for a message of 20 B, all connections busy. The bare echo too pays more for {many} sockets than for \
         {FEW}; the last column is how much more the server pays than that. Goal: 1.15. Medians of {} runs of {} s.\n\n{}",
        plan.rounds,
        rounded(plan.measured.as_secs_f64(), 1),
        table.markdown()
    );
    Ok(Section { title: "Many connections", body, figures })
}

const FEW: usize = 100;
const KINDS: [Kind; 4] = [Kind::BareEcho, Kind::BareTokio, Kind::Drawgate, Kind::FastWebSockets];
