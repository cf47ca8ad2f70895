//! CPU time for a connection's life that begins with an ES256 token, beside one without and a bare verification.

use std::io;

use super::Outcome;
use crate::figures::{Figure, Table};
use crate::part::Plan;
use crate::part::handshake::shake_hands_for;
use crate::server::{Kind, Server, pin};
use crate::token::Issuer;

/// Measures the three in turn.
pub(super) fn measure(plan: &Plan, issuer: &Issuer) -> io::Result<Outcome> {
    let token = issuer.token("alice")?;
    let plain = Server::start(&plan.places, Kind::Drawgate, &[])?;
    let identified = Server::start(&plan.places, Kind::DrawgateToken, &[])?.with_token(&token);
    let mut ns = [Figure::default(), Figure::default(), Figure::default()];
    let mut ratios = Figure::default();
    for round in 0..plan.rounds {
        let mut lives = [f64::NAN; 2];
        for (server, cpu_ns) in [&plain, &identified].into_iter().zip(&mut lives) {
            shake_hands_for(server, plan.warm_up())?;
            *cpu_ns = shake_hands_for(server, plan.measured)?;
        }
        // Where the servers verify: cores differ.
        pin(plan.places.cores.0)?;
        let verified = issuer.verify_ns(&token, plan.measured);
        pin(plan.places.cores.1)?;
        let [plain, identified] = lives;
        let verified = verified?;
        for (figure, cpu_ns) in ns.iter_mut().zip([plain, verified, identified]) {
            figure.push(cpu_ns);
        }
        ratios.push(identified / (plain + verified));
        eprintln!("identity, upgrade: round {} of {}", round + 1, plan.rounds);
    }
    plain.stop()?;
    identified.stop()?;
    let mut table = Table::new(&["upgrade", "CPU, µs"]);
    let labels = [Kind::Drawgate.label(), "a bare verification", Kind::DrawgateToken.label()];
    for (label, ns) in labels.into_iter().zip(&ns) {
        table.push(vec![label.to_owned(), ns.scaled(0.001).text(1)]);
    }
    table.push(vec!["ratio to the sum of the two".to_owned(), ratios.text(2)]);
    let text = format!(
        "**An upgrade with an ES256 token** of {} bytes: CPU time of the server for a connection's whole life as under \"A \
         handshake\", where the route takes nobody without a token, beside that of one without, and beside what aws-lc-rs \
         alone takes for one P-256 signature over the same bytes, again and again. Goal: 1.15 of the sum of those two.\n\n{}",
        token.len(),
        table.markdown()
    );
    Ok((text, vec![("drawgate, upgrade with a token".to_owned(), ratios.median())]))
}
