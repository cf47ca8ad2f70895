//! The program.

mod token;

fn main() {}
