//! Memory of connections that do nothing, each after one echo of 1 KB: the server's own, and the kernel's.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::thread::sleep;
use std::time::Duration;

use super::messages::ascii;
use super::{ECHOES, Plan, Section};
use crate::client::{Batch, Opcode};
use crate::figures::{Figure, Table, rounded};
use crate::load::Load;
use crate::server::{Kind, Server};

/// Measures every server, freshly started in every round.
///
/// # Errors
/// A server does not start, or does not echo.
pub fn measure(plan: &Plan) -> io::Result<Section> {
    let kinds = plan.of(&ECHOES);
    let rounds = plan.rounds.min(ROUNDS_MAX);
    let mut bytes = vec![Figure::default(); kinds.len()];
    let mut kernel = Figure::default();
    for round in 0..rounds {
        for (number, kind) in kinds.iter().enumerate() {
            let (own, kernels) = idle_bytes(plan, *kind)?;
            bytes[number].push(own);
            if let Some(kernels) = kernels.filter(|_| *kind == Kind::BareEcho) {
                kernel.push(kernels);
            }
        }
        eprintln!("idle: round {} of {rounds}", round + 1);
    }
    let mut table = Table::new(&["server", "bytes a connection"]);
    let mut figures = Vec::new();
    for (number, kind) in kinds.iter().enumerate() {
        table.push(vec![kind.label().to_owned(), bytes[number].text(0)]);
        figures.push((kind.label().to_owned(), bytes[number].median()));
    }
    let body = format!(
        "Resident memory of the server above what it was with {FIRST} idle connections, for each of {} more, each after an \
         echo of 1 KB: the first ones bring in code and what all share. Goal: 1,024. Medians of {rounds} fresh starts. The kernel adds its own for each connection of any \
         of them: {} bytes for the socket, its file and its place in epoll (by the slab allocator's accounts; buffers \
         are empty).\n\n{}",
        rounded(plan.many as f64, 0),
        kernel.text(0),
        table.markdown()
    );
    Ok(Section { title: "An idle connection", body, figures })
}

/// A fresh server's bytes a connection, and the kernel's where it tells.
fn idle_bytes(plan: &Plan, kind: Kind) -> io::Result<(f64, Option<f64>)> {
    idle_bytes_of(Server::start(&plan.places, kind, &[])?, plan.many)
}

/// The bytes that a server, which is ended then, has for each of `count` connections beyond the first; and the kernel's where
/// it tells.
///
/// # Errors
/// The server does not take them, or does not echo.
pub fn idle_bytes_of(server: Server, count: usize) -> io::Result<(f64, Option<f64>)> {
    let batch = Batch::new(Opcode::Text, ascii(1000).as_bytes(), 1);
    let first = Load::open(&server, FIRST, &batch)?;
    sleep(SETTLE_TIME);
    let (few, kernel_few) = (server.resident_bytes()?, slab_bytes());
    let load = Load::open(&server, count, &batch)?;
    sleep(SETTLE_TIME);
    let (full, kernel_full) = (server.resident_bytes()?, slab_bytes());
    drop((first, load));
    server.stop()?;
    // Both ends of each connection are on this machine.
    let kernel = kernel_few.zip(kernel_full).map(|(few, full)| (full - few) / (2 * count) as f64);
    Ok(((full as f64 - few as f64) / count as f64, kernel))
}

/// What the kernel holds in the caches that a connection takes from.
fn slab_bytes() -> Option<f64> {
    let accounts = fs::read_to_string("/proc/slabinfo").ok()?;
    let mut bytes = HashMap::new();
    for line in accounts.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        if let [name, objects, _, object_bytes, ..] = fields[..]
            && SLAB_CACHES.contains(&name)
        {
            bytes.insert(name, objects.parse::<f64>().ok()? * object_bytes.parse::<f64>().ok()?);
        }
    }
    Some(bytes.values().sum())
}

const SLAB_CACHES: [&str; 6] =
    ["TCP", "sock_inode_cache", "filp", "dentry", "eventpoll_epi", "eventpoll_pwq"];
/// Connections that are there before the ones that are measured.
pub const FIRST: usize = 500;
const SETTLE_TIME: Duration = Duration::from_millis(500);
/// Memory hardly varies from run to run.
pub const ROUNDS_MAX: usize = 3;
