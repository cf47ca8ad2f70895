//! Instructions that the server itself executes for one message, counted under callgrind: the same on any machine.
//!
//! A server is run twice, for few messages and for many; what the second executes more is the messages'. The kernel's
//! instructions are not among them.

use std::fs;
use std::io;

use super::messages::{Case, cases};
use super::{Plan, Section, handshake};
use crate::client;
use crate::figures::{Table, rounded};
use crate::server::{Kind, Server};

/// Counts every case for every server of machine code.
///
/// # Errors
/// There is no valgrind, or a server does not run under it.
pub fn measure(plan: &Plan) -> io::Result<Section> {
    let (cases, kinds) = (cases(), plan.of(&KINDS));
    let headings: Vec<&str> =
        ["server"].into_iter().chain(cases.iter().map(|case| case.label)).chain(["handshake"]).collect();
    let mut table = Table::new(&headings);
    let mut figures = Vec::new();
    for kind in kinds {
        let mut row = vec![kind.label().to_owned()];
        for case in &cases {
            let instructions = for_message(plan, kind, case)?;
            row.push(rounded(instructions, 0));
            figures.push((format!("{}, {}", kind.label(), case.label), instructions));
        }
        if let Some(kind) = shaking(kind) {
            let instructions = difference(plan, kind, &HANDSHAKES, |server, count| {
                (0..count).try_for_each(|_| handshake::shake_hands(server, 1))
            })?;
            row.push(rounded(instructions, 0));
            figures.push((format!("{}, handshake", kind.label()), instructions));
        } else {
            row.push("n/a".to_owned());
        }
        table.push(row);
        eprintln!("instructions: {}", kind.label());
    }
    let body = format!(
        "Instructions in the server's own code and libraries for one message, or one connection's life, by callgrind: one \
         connection, one write at a time; without the kernel's. The bare echo's last column is the bare \
         handshake.\n\n{}",
        table.markdown()
    );
    Ok(Section { title: "Instructions", body, figures })
}

/// Who stands for `kind` where hands are shaken.
const fn shaking(kind: Kind) -> Option<Kind> {
    match kind {
        Kind::BareEcho => Some(Kind::BareHandshake),
        Kind::BareTokio => None,
        other => Some(other),
    }
}

fn for_message(plan: &Plan, kind: Kind, case: &Case) -> io::Result<f64> {
    let difference = difference(plan, kind, &WRITES, |server, count| {
        let websocket = kind.speaks_websocket();
        let socket = client::connect(server.port, server.request())?;
        (0..count).try_for_each(|_| client::check_echo(&socket, &case.batch, websocket))?;
        if websocket {
            client::close(&socket)?;
            // Whether it answers in time is not what is measured here.
            let _ = client::closed(&socket);
        }
        Ok(())
    })?;
    Ok(difference / f64::from(case.batch.messages))
}

/// Instructions for one more of what `work` does.
fn difference(
    plan: &Plan,
    kind: Kind,
    counts: &[u32; 2],
    work: impl Fn(&Server, u32) -> io::Result<()>,
) -> io::Result<f64> {
    let mut totals = [0.0; 2];
    for (total, count) in totals.iter_mut().zip(counts) {
        let file = plan.places.run.join("callgrind.out");
        let wrapper = ["valgrind", "--tool=callgrind", &format!("--callgrind-out-file={}", file.display())]
            .map(str::to_owned);
        let server = Server::start(&plan.places, kind, &wrapper)?;
        work(&server, *count)?;
        server.stop()?;
        *total = summary(&fs::read_to_string(file)?)
            .ok_or_else(|| io::Error::other(format!("callgrind counted nothing for {}", kind.label())))?;
    }
    Ok((totals[1] - totals[0]) / f64::from(counts[1] - counts[0]))
}

fn summary(profile: &str) -> Option<f64> {
    let totals = profile.lines().rev().find_map(|line| line.strip_prefix("totals: "))?;
    totals.trim().parse().ok()
}

const WRITES: [u32; 2] = [200, 1200];
const HANDSHAKES: [u32; 2] = [50, 250];
const KINDS: [Kind; 6] = [
    Kind::BareEcho,
    Kind::BareTokio,
    Kind::Drawgate,
    Kind::FastWebSockets,
    Kind::TokioWebSockets,
    Kind::Tungstenite,
];
