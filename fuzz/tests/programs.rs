//! The simulation: the whole gateway in memory and on virtual time, with clients that seeds draw. `connection` holds it
//! to its promises; here is that a seed makes the same run each time, to the byte.
//!
//! `make simulate SEEDS=100000` runs more of them, `make simulate SEED=12` one.

use std::panic::catch_unwind;

use drawgate_fuzz::connection;

#[test]
fn random_programs_leave_the_gateway_sound() {
    if let Some(seed) = number("SEED") {
        let program = program(seed);
        println!("{}", connection::describe(&program));
        return connection::run(&program);
    }
    let first = number("FIRST").unwrap_or(0);
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    for seed in first..first + seeds {
        let program = program(seed);
        if let Err(panic) = catch_unwind(|| connection::run(&program)) {
            eprintln!(
                "seed {seed} fails; again: make simulate SEED={seed}\n{}",
                connection::describe(&program)
            );
            std::panic::resume_unwind(panic);
        }
    }
    println!("{seeds} seeds from {first} on leave the gateway sound");
}

#[test]
fn a_seed_replays_to_the_byte() {
    let seeds = number("SEED").map_or(0..REPLAYS, |seed| seed..seed + 1);
    for seed in seeds {
        let program = program(seed);
        let (first, second) = (connection::transcript(&program), connection::transcript(&program));
        let same = first.iter().zip(&second).take_while(|(one, other)| one == other).count();
        assert!(
            first == second,
            "seed {seed} makes two runs; again: make simulate SEED={seed}\n{}\nand\n{}",
            around(&first, same),
            around(&second, same)
        );
    }
}

/// What is there, for people.
fn around(transcript: &[u8], place: usize) -> String {
    let end = transcript.len().min(place + 200);
    String::from_utf8_lossy(&transcript[place.saturating_sub(200)..end]).into_owned()
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")))
}

/// A program that begins, as most lives do, with a client.
fn program(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut random = || {
        // SplitMix64.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ mixed >> 31).to_be_bytes()[0]
    };
    let length = usize::from(random()) / 4;
    let mut bytes = vec![random(), 0];
    bytes.extend(std::iter::repeat_with(random).take(length));
    bytes
}

const SEEDS: u64 = 10_000;

const REPLAYS: u64 = 200;
