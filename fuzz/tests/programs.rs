//! Random programs for the whole gateway, from seeds, so that each can be run again: `SEED=12 cargo test --test programs`.
//!
//! `PROGRAMS=100000` runs more of them.

use std::panic::catch_unwind;

use drawgate_fuzz::connection;

#[test]
fn random_programs_leave_the_gateway_sound() {
    let number = |name| std::env::var(name).ok().and_then(|number| number.parse().ok());
    if let Some(seed) = number("SEED") {
        let program = program(seed);
        println!("{}", connection::describe(&program));
        return connection::run(&program);
    }
    for seed in 0..number("PROGRAMS").unwrap_or(PROGRAMS) {
        let program = program(seed);
        if let Err(panic) = catch_unwind(|| connection::run(&program)) {
            eprintln!("SEED={seed}\n{}", connection::describe(&program));
            std::panic::resume_unwind(panic);
        }
    }
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

const PROGRAMS: u64 = 3000;
