//! The opening handshake (RFC 6455 §4), both roles, without I/O: bytes of a head in, a verdict or bytes out.
//!
//! The server's side, in order: [`HeadScanner`] finds the end of the head as bytes arrive and refuses it at the first
//! byte that proves it wrong; [`Request::parse`] reads the whole head into a type that cannot be wrong, or into the
//! [`Refusal`] that names the rule ([`Request::of_whole`] where it has been scanned already); [`SwitchingProtocols::write`] answers. The client's side: [`ClientRequest::write`],
//! [`HeadScanner`] again, [`ClientRequest::verify`].
//!
//! Never decided here: deadlines, routes, which origins or hosts are welcome, and who the client is. Text that a peer
//! sent never gets into a [`Refusal`], so that an answer or a log made of one reflects nothing.
//!
//! ```
//! use drawgate_protocol::handshake::{HeadLimits, HeadScanner, Request, SwitchingProtocols};
//!
//! let bytes = b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
//!     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
//! let limits = HeadLimits::default();
//! let mut scanner = HeadScanner::request();
//! assert_eq!(scanner.scan(&bytes[..20], &limits), Ok(None));
//! let head_bytes = scanner.scan(bytes, &limits)?.expect("the head is whole");
//! let request = Request::parse(&bytes[..head_bytes], &limits)?;
//! assert_eq!(request.path, "/chat");
//!
//! let mut answer = Vec::new();
//! SwitchingProtocols::default().write(&request, &mut answer)?;
//! assert!(answer.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
mod head;
mod header;
mod host;
mod list;
mod refusal;
mod request;
mod response;
mod scanner;
mod target;
mod write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

pub use client::{Accepted, ClientRequest, ResponseRefusal};
pub use head::{HeadFault, HeadLimits, WholeHead};
pub use header::{Field, FieldFault, Header};
pub use host::Host;
pub use list::{Extension, Parameter};
pub use refusal::Refusal;
pub use request::{Request, header_lines};
pub use response::SwitchingProtocols;
pub use scanner::HeadScanner;
pub use write::WriteError;

/// The value of `Sec-WebSocket-Accept` that answers `key`, the value of `Sec-WebSocket-Key` (RFC 6455 §4.2.2).
#[must_use]
pub fn accept_key(key: &[u8; 24]) -> [u8; 28] {
    let hash = Sha1::new().chain_update(key).chain_update(ACCEPT_SUFFIX).finalize();
    let mut accept = [0; 28];
    STANDARD.encode_slice(hash, &mut accept).expect("20 bytes are 28 characters of base64");
    accept
}

/// The value of `Sec-WebSocket-Key` that carries `nonce` (RFC 6455 §4.1).
fn encode_key(nonce: &[u8; 16]) -> [u8; 24] {
    let mut key = [0; 24];
    STANDARD.encode_slice(nonce, &mut key).expect("16 bytes are 24 characters of base64");
    key
}

/// Whether `text` is exactly what 16 bytes look like in base64 (RFC 6455 §4.2.1), trailing bits and padding included.
fn is_key(text: &[u8; 24]) -> bool {
    let mut nonce = [0; 18];
    STANDARD.decode_slice(text, &mut nonce) == Ok(16)
}

/// Appended to the key before it is hashed (RFC 6455 §1.3).
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The one version of the protocol that there is (RFC 6455 §4.1).
const VERSION: &str = "13";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_value_is_that_of_the_sample_in_section_1_3() {
        assert_eq!(&accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(&encode_key(b"the sample nonce"), b"dGhlIHNhbXBsZSBub25jZQ==");
    }

    #[test]
    fn h07_a_key_is_canonical_base64_of_16_bytes() {
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for wrong in [
            b"dGhlIHNhbXBsZSBub25jZR==", // trailing bits that are not zero
            b"dGhlIHNhbXBsZSBub25jZQ=A", // padding in the middle
            b"dGhlIHNhbXBsZSBub25jZQA=", // 17 bytes
            b"dGhlIHNhbXBsZSBub25jZQAA", // 18 bytes
            b"dGhlIHNhbXBsZSBub2=jZQ==", // padding inside
            b"dGhlIHNhbXBsZSBub2 jZQ==", // a space
            b"dGhlIHNhbXBsZSBub2-jZQ==", // the URL alphabet
        ] {
            assert!(!is_key(wrong), "{}", String::from_utf8_lossy(wrong));
        }
    }
}
