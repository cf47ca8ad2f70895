//! permessage-deflate (RFC 7692): what two ends agree on, and messages inflated and deflated as they go through.
//!
//! [`Agreement`] comes of the handshake, for either role. Then [`Inflation`] stands between the receiver and whoever takes
//! the messages: it is handed each piece of a compressed message, gives what the piece inflates to, and holds that to the
//! rules for text and size. [`Deflation`] stands before the sender. Neither decides whether compression is wanted, nor
//! how many bytes a second are too many. The work is done by contexts, which are large: [`Contexts`] lends them, so that
//! one set serves all connections of a thread. A connection holds one only in the middle of a compressed message, and
//! between messages at most the window that its peer may refer to.
//!
//! ```
//! use drawgate_protocol::deflate::{Agreement, Contexts, Deflation, Inflation};
//! use drawgate_protocol::{Event, Limits, MessageKind, Receiver, Role, Sender};
//!
//! let agreement = Agreement::FRUGAL;
//! let (mut contexts, mut deflated, mut wire) = (Contexts::default(), Vec::new(), Vec::new());
//! Deflation::new(agreement.server).deflate(&[b"Hello, ", b"hello"], true, &mut deflated, &mut contexts);
//! Sender::new(Role::Server).compressed_data(&mut wire, MessageKind::Text, true, &[&deflated], None)?;
//!
//! let mut receiver = Receiver::new(Role::Client, Limits::default());
//! receiver.allow_compression();
//! let Some(Event::Data(mut piece)) = receiver.receive(&mut &mut wire[..])? else { panic!("a message came") };
//! let mut inflation = Inflation::new(agreement.server);
//! let mut output = [0; 4096];
//! let chunk = inflation.inflate(&mut piece, &mut output, &Limits::default(), &mut contexts)?.expect("it is whole");
//! assert_eq!(chunk.payload, b"Hello, hello");
//! assert!(chunk.message_end);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod contexts;
mod deflation;
mod inflation;
mod negotiation;

pub use contexts::Contexts;
pub use deflation::Deflation;
pub use inflation::Inflation;
pub use negotiation::{Agreement, AnswerFault, Flow, WindowBits};

/// The name of the extension (RFC 7692 §8.1).
pub const EXTENSION: &str = "permessage-deflate";

/// The most memory of a context that inflates, its window of 32 KiB with it; a test measures it.
pub const INFLATER_BYTES_MAX: usize = 48 * 1024;
