//! The parts of the bench, each a section of docs/performance.md.

pub mod handshake;
pub mod identity;
pub mod idle;
pub mod instructions;
pub mod many;
pub mod messages;
pub mod relay;
pub mod tls;
pub mod validation;

use std::time::Duration;

use crate::server::{Kind, Places};

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the programs are.
    pub places: Places,
    /// Runs of each figure.
    pub rounds: usize,
    /// How long a run is.
    pub measured: Duration,
    /// How many connections are many.
    pub many: usize,
    /// The product and the bare servers alone.
    pub is_ours: bool,
}

impl Plan {
    /// Those of `kinds` that take part.
    #[must_use]
    pub fn of(&self, kinds: &[Kind]) -> Vec<Kind> {
        kinds.iter().copied().filter(|kind| !self.is_ours || kind.is_ours()).collect()
    }

    /// How long a run goes on before it counts.
    #[must_use]
    pub fn warm_up(&self) -> Duration {
        self.measured / 4
    }
}

/// A part's outcome.
#[derive(Clone, Debug)]
pub struct Section {
    /// The heading.
    pub title: &'static str,
    /// What was done, and the table.
    pub body: String,
    /// Each figure by name, for whoever checks them.
    pub figures: Vec<(String, f64)>,
}

/// Every server that echoes messages, the bare one first.
pub const ECHOES: [Kind; 8] = [
    Kind::BareEcho,
    Kind::BareTokio,
    Kind::Drawgate,
    Kind::FastWebSockets,
    Kind::TokioWebSockets,
    Kind::Tungstenite,
    Kind::NodeWs,
    Kind::PythonWebSockets,
];
