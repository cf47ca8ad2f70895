//! The answer of an application: one bounded head that accepts exactly what was asked, or none.
//!
//! RFC 6455 §4.1: no redirect is followed, no interim answer waited out, and nothing is believed that was not offered. Of the headers
//! only those on a list go on to the client: the application speaks to us, not for us.

use std::io;

use drawgate_protocol::deflate::Agreement;
use drawgate_protocol::handshake::{ClientRequest, HeadFault, HeadLimits, HeadScanner};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{DialError, HeaderName, Passing};
use crate::compression::Offer;

/// What an answer says that matters.
pub(super) struct Answer {
    pub(super) protocol: Option<String>,
    /// What it agrees to, of an offer to compress.
    pub(super) agreement: Option<Agreement>,
    /// What of it the client may see.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    /// What came behind it.
    pub(super) rest: Vec<u8>,
}

/// Reads the answer to `asked`, and no more than it may have.
pub(super) async fn read<S: AsyncRead + Unpin>(
    socket: &mut S,
    asked: &ClientRequest<'_>,
    passing: &Passing,
) -> Result<Answer, DialError> {
    let limits = HeadLimits::DEFAULT;
    let mut scanner = HeadScanner::response();
    let mut bytes = Vec::with_capacity(HEAD_BYTES_TYPICAL);
    let head_bytes = loop {
        // One byte more than allowed, so that the scanner sees that it is too much.
        let room = (limits.head_bytes_max + 1).saturating_sub(bytes.len());
        let count = (&mut *socket).take(room as u64).read_buf(&mut bytes).await.map_err(DialError::Cut)?;
        if count == 0 {
            return Err(DialError::Cut(io::ErrorKind::UnexpectedEof.into()));
        }
        match scanner.scan(&bytes, &limits) {
            Ok(None) => {}
            Ok(Some(head_bytes)) => break head_bytes,
            Err(fault) => return Err(DialError::Answer(fault.into())),
        }
    };
    let whole = scanner.whole(&bytes).ok_or(DialError::Answer(HeadFault::HeadIncomplete.into()))?;
    let accepted = asked.verify_whole(whole, &limits).map_err(DialError::Answer)?;
    let agreement = Offer::verify(&accepted.extensions).map_err(DialError::Compression)?;
    let protocol = accepted.protocol.map(str::to_owned);
    let cookies = accepted.header(SET_COOKIE).filter(|cookie| passing.cookies.pass(cookie));
    let listed = passing.answer_headers.iter().map(HeaderName::as_str);
    let headers = cookies
        .map(|value| (SET_COOKIE, value))
        .chain(listed.flat_map(|name| accepted.header(name).map(move |value| (name, value))))
        .map(|(name, value)| (name.to_owned(), value.to_vec()))
        .collect();
    Ok(Answer { protocol, agreement, headers, rest: bytes.split_off(head_bytes) })
}

/// The one header of an answer that goes on to the client without being listed, beside the subprotocol.
const SET_COOKIE: &str = "Set-Cookie";

const HEAD_BYTES_TYPICAL: usize = 512;
