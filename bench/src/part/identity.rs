//! What it costs to know who speaks: an upgrade with a token, messages of a session, and the end of one subject among many.

mod echo;
mod revoke;
mod upgrade;

use std::io;

use super::{Plan, Section};
use crate::configuration::ADMIN_TOKEN_FILE;
use crate::figures::rounded;
use crate::token::{Issuer, write_secret};

/// Measures all three.
///
/// # Errors
/// A server does not start, refuses who it should not, or ends the wrong ones.
pub fn measure(plan: &Plan) -> io::Result<Section> {
    let issuer = Issuer::new(&plan.places.run)?;
    write_secret(&plan.places.run.join(ADMIN_TOKEN_FILE), ADMIN_TOKEN.as_bytes())?;
    let parts = [upgrade::measure, echo::measure, revoke::measure];
    let mut body = format!(
        "Medians of {} runs of {} s, with their quartiles; what is compared takes turns.",
        plan.rounds,
        rounded(plan.measured.as_secs_f64(), 1)
    );
    let mut figures = Vec::new();
    for measure in parts {
        let (text, more) = measure(plan, &issuer)?;
        body = body + "\n\n" + text.trim_end();
        figures.extend(more);
    }
    Ok(Section { title: "Who speaks", body: body + "\n", figures })
}

/// What was done with its table, and each figure by name.
type Outcome = (String, Vec<(String, f64)>);

/// It opens a listener on loopback, for as long as the bench runs.
const ADMIN_TOKEN: &str = "bench-bench-bench-bench-bench-bench-bench-bench-bench-bench";
