//! Messages against formats, schemas and addresses, as the suites of others have them and as nobody should send them.

mod cost;
mod drawn;
mod email;
mod schemas;
mod suite;
mod text;
