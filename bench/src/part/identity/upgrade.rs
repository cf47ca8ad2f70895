//! CPU time for a connection's life that begins with an ES256 token, beside one without and a bare verification.
//!
//! What a verification takes is measured where it is needed: in the bare server, between one connection and the next. Again and again it
//! takes less, since then nothing has pushed it and its tables out of the processor's caches; that is told as well.

use std::io;

use super::Outcome;
use crate::figures::{Figure, Table};
use crate::part::Plan;
use crate::part::handshake::shake_hands_for;
use crate::server::{Kind, Server, pin};
use crate::token::Issuer;

/// Measures all of them in turn.
pub(super) fn measure(plan: &Plan, issuer: &Issuer) -> io::Result<Outcome> {
    let token = issuer.token("alice")?;
    let start = |kind| Server::start(&plan.places, kind, &[]);
    let servers = [
        start(Kind::Drawgate)?,
        start(Kind::DrawgateToken)?.with_token(&token),
        start(Kind::BareHandshake)?.with_token(&token),
        start(Kind::BareVerifying)?.with_token(&token),
    ];
    let mut ns: [Figure; 6] = Default::default();
    let [mut ratios, mut hot_ratios] = [Figure::default(), Figure::default()];
    for round in 0..plan.rounds {
        let mut lives = [f64::NAN; 4];
        for (server, cpu_ns) in servers.iter().zip(&mut lives) {
            shake_hands_for(server, plan.warm_up())?;
            *cpu_ns = shake_hands_for(server, plan.measured)?;
        }
        // Where the servers verify: cores differ.
        pin(plan.places.cores.0)?;
        let hot = issuer.verify_ns(&token, plan.measured);
        pin(plan.places.cores.1)?;
        let ([plain, identified, bare, verifying], hot) = (lives, hot?);
        let verified = verifying - bare;
        for (figure, cpu_ns) in ns.iter_mut().zip([bare, verifying, verified, hot, plain, identified]) {
            figure.push(cpu_ns);
        }
        ratios.push(identified / (plain + verified));
        hot_ratios.push(identified / (plain + hot));
        eprintln!("identity, upgrade: round {} of {}", round + 1, plan.rounds);
    }
    for server in servers {
        server.stop()?;
    }
    let mut table = Table::new(&["upgrade", "CPU, µs"]);
    let labels = [
        Kind::BareHandshake.label(),
        Kind::BareVerifying.label(),
        "a bare verification: the difference",
        "a bare verification, again and again",
        Kind::Drawgate.label(),
        Kind::DrawgateToken.label(),
    ];
    for (label, ns) in labels.into_iter().zip(&ns) {
        table.push(vec![label.to_owned(), ns.scaled(0.001).text(1)]);
    }
    table.push(vec!["ratio to drawgate without a token and the difference".to_owned(), ratios.text(2)]);
    table.push(vec!["ratio with the verification again and again".to_owned(), hot_ratios.text(2)]);
    let text = format!(
        "**An upgrade with an ES256 token** of {} bytes: CPU time of the server for a connection's whole life as under \"A \
         handshake\", where the route takes nobody without a token, beside that of one without, and beside what aws-lc-rs \
         alone takes for one P-256 signature over the same bytes: as part of a bare handshake, and again and again, when nothing \
         else has been in the processor's caches in between. Goal: 1.15 of the sum of those two.\n\n{}",
        token.len(),
        table.markdown()
    );
    Ok((text, vec![("drawgate, upgrade with a token".to_owned(), ratios.median())]))
}
