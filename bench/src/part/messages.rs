//! CPU time for a message over 100 connections, as a ratio to the bare echo in the same round.

use std::io;

use super::{ECHOES, Plan, Section};
use crate::client::{Batch, Opcode};
use crate::figures::{Figure, Table, rounded};
use crate::load::Load;
use crate::server::{Kind, Server};

/// What is sent.
#[derive(Debug)]
pub struct Case {
    /// How the table calls it.
    pub label: &'static str,
    /// What goes out by one write.
    pub batch: Batch,
    /// The most that the product may cost, over the bare echo.
    pub goal: f64,
}

/// All cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    let case = |label, payload: &[u8], messages, goal| Case {
        label,
        batch: Batch::new(Opcode::Text, payload, messages),
        goal,
    };
    let text = |bytes| ascii(bytes).into_bytes();
    vec![
        case("20 B", &text(20), 1, 1.2),
        case("1 KiB", &text(1024), 1, 1.2),
        case("20 B, 16 a write", &text(20), 16, 1.4),
        case("1 KiB, 16 a write", &text(1024), 16, 1.5),
        case("16 KiB", &text(16 * 1024), 1, 1.4),
        case("16 KiB of multi-byte UTF-8", multi_byte(16 * 1024).as_bytes(), 1, 1.7),
    ]
}

/// Measures every case for every server, one after the other, and that again in every round.
///
/// # Errors
/// A server does not start, or does not echo.
pub fn measure(plan: &Plan) -> io::Result<Section> {
    let cases = cases();
    let kinds = plan.of(&ECHOES);
    let servers =
        kinds.iter().map(|kind| Server::start(&plan.places, *kind, &[])).collect::<io::Result<Vec<_>>>()?;
    let mut bare_ns = vec![Figure::default(); cases.len()];
    let mut ratios = vec![vec![Figure::default(); servers.len()]; cases.len()];
    for round in 0..plan.rounds {
        for (case, (bare_ns, ratios)) in cases.iter().zip(bare_ns.iter_mut().zip(&mut ratios)) {
            let mut bare = f64::NAN;
            for (server, ratio) in servers.iter().zip(ratios) {
                let cpu_ns = message_ns(plan, server, &case.batch)?;
                if server.kind == Kind::BareEcho {
                    bare = cpu_ns;
                    bare_ns.push(bare);
                }
                ratio.push(cpu_ns / bare);
            }
        }
        eprintln!("messages: round {} of {}", round + 1, plan.rounds);
    }
    for server in servers {
        server.stop()?;
    }
    Ok(section(plan, &cases, &kinds, &bare_ns, &ratios))
}

/// The server's CPU time for a message of `batch` over [`CONNECTIONS`], in nanoseconds.
///
/// # Errors
/// The server does not echo.
pub fn message_ns(plan: &Plan, server: &Server, batch: &Batch) -> io::Result<f64> {
    Ok(Load::open(server, CONNECTIONS, batch)?.run(server, plan.warm_up(), plan.measured)?.cpu_ns)
}

fn section(
    plan: &Plan,
    cases: &[Case],
    kinds: &[Kind],
    bare_ns: &[Figure],
    ratios: &[Vec<Figure>],
) -> Section {
    let headings: Vec<&str> = ["server"].into_iter().chain(cases.iter().map(|case| case.label)).collect();
    let mut table = Table::new(&headings);
    let mut figures = Vec::new();
    let bare = bare_ns.iter().map(|figure| format!("{} ns", figure.text(0)));
    table.push(["bare echo".to_owned()].into_iter().chain(bare).collect());
    let goals = cases.iter().map(|case| format!("{:.1}", case.goal));
    table.push(["goal".to_owned()].into_iter().chain(goals).collect());
    for (number, kind) in kinds.iter().enumerate().filter(|(_, kind)| **kind != Kind::BareEcho) {
        let row = ratios.iter().map(|case| case[number].text(2));
        table.push([kind.label().to_owned()].into_iter().chain(row).collect());
        for (case, ratios) in cases.iter().zip(ratios) {
            figures.push((format!("{}, {}", kind.label(), case.label), ratios[number].median()));
        }
    }
    let body = format!(
        "CPU time of the server for one message, by the kernel's accounts, as a ratio to the bare echo of the same \
         round; the bare echo itself in nanoseconds. {CONNECTIONS} connections, each of which sends its next write \
         when all of the last has come back. Medians of {} runs of {} s, with their quartiles; servers and cases \
         take turns.\n\n{}",
        plan.rounds,
        rounded(plan.measured.as_secs_f64(), 1),
        table.markdown()
    );
    Section { title: "A message", body, figures }
}

/// Printable text of one byte a character.
#[must_use]
pub fn ascii(bytes: usize) -> String {
    (b'a'..=b'z').map(char::from).cycle().take(bytes).collect()
}

/// Text of two, three and four bytes a character, filled up where none of them fits any more.
#[must_use]
pub fn multi_byte(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes);
    for character in "žluťoučký漢字仮名交じり文🎉🚀Ελληνικά".chars().cycle() {
        if text.len() + character.len_utf8() > bytes {
            break;
        }
        text.push(character);
    }
    let lacking = bytes - text.len();
    text + &"x".repeat(lacking)
}

/// Connections that are busy.
pub const CONNECTIONS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multi_byte_text_has_the_length_that_was_asked_for() {
        for bytes in 0..200 {
            assert_eq!(multi_byte(bytes).len(), bytes);
        }
        let text = multi_byte(16 * 1024);
        assert!(text.chars().count() * 2 < text.len());
    }
}
