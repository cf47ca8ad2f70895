//! Instructions that the server itself executes for one message, counted under callgrind: the same on any machine.
//!
//! A server is run twice, for few messages and for many; what the second executes more is the messages'. The kernel's
//! instructions are not among them. The product's own are kept in `bench/instructions.csv`, a line a release, so that whoever makes
//! one sees what has become dearer.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use super::messages::{Case, cases};
use super::{Plan, Section, handshake, relay};
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
        let label = label(kind);
        let mut row = vec![label.to_owned()];
        for case in &cases {
            let instructions = for_message(plan, kind, case)?;
            row.push(rounded(instructions, 0));
            figures.push((format!("{label}, {}", case.label), instructions));
        }
        if let Some(kind) = shaking(kind) {
            let instructions = difference(plan, kind, &HANDSHAKES, |server, count| {
                (0..count).try_for_each(|_| handshake::shake_hands(server, 1))
            })?;
            row.push(rounded(instructions, 0));
            figures.push((format!("{label}, handshake"), instructions));
        } else {
            row.push("n/a".to_owned());
        }
        table.push(row);
        eprintln!("instructions: {label}");
    }
    let labels: Vec<&str> = cases.iter().map(|case| case.label).chain(["handshake"]).collect();
    let releases = releases(plan, &labels, &figures)?;
    let body = format!(
        "Instructions in the server's own code and libraries for one message, or one connection's life, by callgrind: one \
         connection, one write at a time; without the kernel's. The bare echo's last column is the bare \
         handshake. Relayed is a message there and back, in front of an application, with the session of an HS256 token, limits and metrics on.\n\n{}\nDrawgate's own, release by release; the last is as it is now:\n\n{releases}",
        table.markdown()
    );
    Ok(Section { title: "Instructions", body, figures })
}

/// The table of all releases, after the line of this one has been written.
fn releases(plan: &Plan, labels: &[&str], figures: &[(String, f64)]) -> io::Result<String> {
    let path = plan.places.bench.join("instructions.csv");
    let version = version(&plan.places.drawgate)?;
    let own = labels.iter().map(|label| {
        let name = format!("{}, {label}", Kind::Drawgate.label());
        let figure = figures.iter().find(|(figure, _)| *figure == name);
        figure.map(|(_, instructions)| format!("{instructions:.0}"))
    });
    let own: Vec<String> = own.map(Option::unwrap_or_default).collect();
    let text = with_release(&fs::read_to_string(&path).unwrap_or_default(), labels, &version, &own);
    fs::write(&path, &text)?;
    let mut table = Table::new(&["release"].iter().chain(labels).copied().collect::<Vec<_>>());
    for line in text.lines().skip(1) {
        let cell = |cell: &str| cell.parse().map_or_else(|_| cell.to_owned(), |number| rounded(number, 0));
        table.push(line.split(';').map(cell).collect());
    }
    Ok(table.markdown())
}

/// The lines, oldest first, with that of `version` new or replaced.
fn with_release(text: &str, labels: &[&str], version: &str, own: &[String]) -> String {
    let prefix = format!("{version};");
    let head = format!("release;{}", labels.join(";"));
    let others = text.lines().skip(1).filter(|line| !line.starts_with(&prefix)).map(str::to_owned);
    let lines: Vec<String> =
        [head].into_iter().chain(others).chain([format!("{prefix}{}", own.join(";"))]).collect();
    lines.join("\n") + "\n"
}

/// What the program says that it is.
fn version(drawgate: &Path) -> io::Result<String> {
    let output = Command::new(drawgate).arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().nth(1).map(str::to_owned);
    version.ok_or_else(|| io::Error::other(format!("no version: {text}")))
}

/// How the table calls `kind`.
const fn label(kind: Kind) -> &'static str {
    match kind {
        Kind::DrawgateRelayHmac => "drawgate, relayed",
        other => other.label(),
    }
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
        let (server, application) = start(plan, kind, &wrapper)?;
        work(&server, *count)?;
        server.stop()?;
        application.map_or(Ok(()), Server::stop)?;
        *total = summary(&fs::read_to_string(file)?)
            .ok_or_else(|| io::Error::other(format!("callgrind counted nothing for {}", kind.label())))?;
    }
    Ok((totals[1] - totals[0]) / f64::from(counts[1] - counts[0]))
}

/// Under `wrapper`, and the application that it stands before, if it does, of which nothing is counted.
fn start(plan: &Plan, kind: Kind, wrapper: &[String]) -> io::Result<(Server, Option<Server>)> {
    if !kind.is_drawgate_relay() {
        return Ok((Server::start(&plan.places, kind, wrapper)?, None));
    }
    let token = relay::credentials(plan)?.token_by_secret("alice")?;
    let application = Server::start(&plan.places.beside_the_generator(), Kind::DrawgateQuiet, &[])?;
    let proxy = Server::start_before_under(&plan.places, kind, application.port, wrapper)?;
    Ok((proxy.with_token(&token), Some(application)))
}

fn summary(profile: &str) -> Option<f64> {
    let totals = profile.lines().rev().find_map(|line| line.strip_prefix("totals: "))?;
    totals.trim().parse().ok()
}

const WRITES: [u32; 2] = [200, 1200];
const HANDSHAKES: [u32; 2] = [50, 250];
const KINDS: [Kind; 7] = [
    Kind::BareEcho,
    Kind::BareTokio,
    Kind::Drawgate,
    Kind::DrawgateRelayHmac,
    Kind::FastWebSockets,
    Kind::TokioWebSockets,
    Kind::Tungstenite,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_one_line_and_the_others_stay() {
        let figures = |number: u32| vec![number.to_string()];
        let text = with_release("", &["20 B"], "0.1.0", &figures(5));
        let text = with_release(&text, &["20 B"], "0.2.0", &figures(7));
        assert_eq!(with_release(&text, &["20 B"], "0.2.0", &figures(6)), "release;20 B\n0.1.0;5\n0.2.0;6\n");
    }
}
