//! `drawgate-bench [--smoke] [--ours] [--rounds N] [--drawgate FILE] [--page FILE] [PART]...`: measures, prints, and writes the page.
//!
//! The parts are messages, handshake, many, idle, tls, identity, relay (in four parts of its own), validation and instructions; without a name, all of
//! them. `--smoke` runs each but instructions for a moment and only asks whether figures come out; `--ours` leaves the peers out. It decides nothing about the product.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use drawgate_bench::page;
use drawgate_bench::part::{
    Plan, Section, handshake, identity, idle, instructions, many, messages, relay, tls, validation,
};
use drawgate_bench::server::{Places, pin};

fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)).and_then(|arguments| bench(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Arguments {
    parts: Vec<Part>,
    drawgate: PathBuf,
    page: Option<PathBuf>,
    rounds: usize,
    is_smoke: bool,
    is_ours: bool,
}

type Part = (&'static str, fn(&Plan) -> io::Result<Section>);

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> io::Result<Self> {
        let mut arguments = Self {
            parts: Vec::new(),
            drawgate: "target/release/drawgate".into(),
            page: None,
            rounds: ROUNDS,
            is_smoke: false,
            is_ours: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| io::Error::other(format!("{word} needs a value")));
            match word.as_str() {
                "--smoke" => arguments.is_smoke = true,
                "--ours" => arguments.is_ours = true,
                "--drawgate" => arguments.drawgate = value()?.into(),
                "--page" => arguments.page = Some(value()?.into()),
                "--rounds" => arguments.rounds = value()?.parse().map_err(io::Error::other)?,
                "all" => arguments.parts.extend(PARTS),
                name => {
                    let count = arguments.parts.len();
                    arguments.parts.extend(PARTS.iter().filter(|(part, _)| is_called(part, name)));
                    if arguments.parts.len() == count {
                        return Err(io::Error::other(format!("there is no part {name}; {}", part_names())));
                    }
                }
            }
        }
        if arguments.parts.is_empty() {
            arguments.parts.extend(PARTS);
        }
        if arguments.is_smoke {
            // Callgrind takes minutes.
            arguments.parts.retain(|(name, _)| *name != "instructions");
        }
        Ok(arguments)
    }
}

fn bench(arguments: &Arguments) -> io::Result<()> {
    let places = Places::find(&arguments.drawgate)?;
    let circumstances = page::circumstances(&places.bench);
    pin(places.cores.1)?;
    let plan = Plan {
        rounds: if arguments.is_smoke { 2 } else { arguments.rounds },
        measured: Duration::from_millis(if arguments.is_smoke { 200 } else { 500 }),
        many: if arguments.is_smoke { 300 } else { 9000 },
        is_ours: arguments.is_ours || arguments.is_smoke,
        places,
    };
    for (_, measure) in &arguments.parts {
        let section = measure(&plan)?;
        println!("## {}\n\n{}", section.title, section.body);
        check(&section)?;
        if let Some(page) = &arguments.page {
            page::write(page, &section, &circumstances)?;
        }
    }
    println!("{circumstances}");
    Ok(())
}

/// Figures that are no numbers, or missing, mean that the bench itself is broken.
fn check(section: &Section) -> io::Result<()> {
    let is_drawgate = |(name, _): &&(String, f64)| name.starts_with("drawgate");
    if section.figures.iter().filter(is_drawgate).count() == 0 {
        return Err(io::Error::other(format!("{}: nothing was measured of drawgate", section.title)));
    }
    match section.figures.iter().find(|(_, figure)| !figure.is_finite()) {
        Some((name, figure)) => {
            Err(io::Error::other(format!("{}: {name} came out as {figure}", section.title)))
        }
        None => Ok(()),
    }
}

/// Whether `name` is the part's, or that of a group of which it is one.
fn is_called(part: &str, name: &str) -> bool {
    part == name || part.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
}

fn part_names() -> String {
    let names: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
    format!("there are {} and all", names.join(", "))
}

const PARTS: [Part; 12] = [
    ("messages", messages::measure),
    ("handshake", handshake::measure),
    ("many", many::measure),
    ("idle", idle::measure),
    ("tls", tls::measure),
    ("identity", identity::measure),
    ("relay-messages", relay::messages),
    ("relay-handshake", relay::handshake),
    ("relay-many", relay::many),
    ("relay-idle", relay::idle),
    ("validation", validation::measure),
    ("instructions", instructions::measure),
];

const ROUNDS: usize = 7;
