//! RFC 6455 and RFC 7692 without I/O: bytes in, events and bytes out, for both roles.
//!
//! This crate knows no sockets, no clock, no randomness and no log. Whoever has them calls, in this order:
//!
//! 1. [`Receiver::receive`] with what was read, again until it gives `None`; what it leaves in the input comes again
//!    with the next read;
//! 2. for each event, [`Sender`] to append what is to be answered to an output buffer;
//! 3. one write of that buffer.
//!
//! The receiver works on the caller's buffer in place and yields pieces of messages as they arrive; it keeps a few dozen
//! bytes between calls, and allocates nothing. Whoever needs whole messages puts an [`Assembler`] on top. A broken rule
//! is found at the first byte that proves it, and named: [`Violation`].
//!
//! ```
//! use drawgate_protocol::{Event, Limits, Receiver, Role, Sender};
//!
//! let mut receiver = Receiver::new(Role::Server, Limits::default());
//! let mut sender = Sender::new(Role::Server);
//! let mut read = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"; // RFC 6455 §5.7: a masked "Hello"
//! let mut output = Vec::new();
//!
//! let mut input = &mut read[..];
//! while let Some(event) = receiver.receive(&mut input)? {
//!     match event {
//!         Event::Data(chunk) if chunk.frame_end => {
//!             sender.data(&mut output, chunk.kind, chunk.message_end, &[chunk.payload], None)?;
//!         }
//!         Event::Data(_) => unreachable!("the frame has arrived whole"),
//!         Event::Ping(payload) => sender.pong(&mut output, payload, None)?,
//!         Event::Pong(_) => {}
//!         Event::Close(close) => sender.close(&mut output, close, None)?,
//!     }
//! }
//! assert_eq!(output, b"\x81\x05Hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod assemble;
pub mod close;
pub mod deflate;
pub mod frame;
pub mod handshake;
pub mod limits;
pub mod mask;
pub mod receive;
pub mod send;
mod utf8;
pub mod violation;

pub use assemble::{Assembler, Message};
pub use close::{CloseCode, CloseFrame, LocalCode};
pub use frame::{OpCode, Role};
pub use limits::Limits;
pub use mask::MaskKey;
pub use receive::{Chunk, Event, MessageKind, Receiver};
pub use send::{SendError, Sender};
pub use violation::Violation;
