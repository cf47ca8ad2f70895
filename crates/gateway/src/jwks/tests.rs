//! What a server of keys could do to us, over real sockets; and what a source makes of it, on virtual time.

mod asked;
mod found;
mod kept;
mod site;
