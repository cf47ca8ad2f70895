//! x
mod token;
fn main(){}
