//! The first thing on a listener behind proxies: the PROXY header, in which one that is trusted names the client.
//!
//! Comes before TLS and before anything of the client's, and reads no byte that is theirs. What is wrong ends the connection
//! without a word: who speaks is a proxy, or somebody who should not be here. Where no header is expected it does nothing.

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout_at;

use super::admit::DEADLINE_MAX;
use super::ending::millis;
use super::{Door, Ending, Gate, Record};
use crate::address::ProxyProtocol;
use crate::address::proxy::{self, Behalf, Header, Parsed};
use crate::clock::Instant;
use crate::principal::{ClientAddr, PeerAddr};
use crate::reason::Reason;

/// What the rest of the connection goes on with.
pub(super) struct Announced {
    /// Whether the client speaks TLS with the proxy, where that says so.
    pub(super) is_encrypted: Option<bool>,
    /// Since when what follows is awaited: the accept, or the end of the header.
    pub(super) since: Instant,
}

/// Reads the header, where there is one to read; the record knows the client from then on.
pub(super) async fn announce<S: AsyncRead + Unpin>(
    gate: &Gate,
    door: &Door,
    socket: &mut S,
    record: &mut Record,
) -> Result<Announced, Ending> {
    let Some(versions) = door.proxy_protocol else {
        return Ok(Announced { is_encrypted: None, since: record.accepted_at });
    };
    if !door.addresses.trusts(record.client) {
        return Err(Ending::by_gate(Reason::ProxyUntrusted));
    }
    let until = record.accepted_at + door.proxy_header_timeout.min(DEADLINE_MAX);
    let header = tokio::select! {
        biased;
        reason = gate.load.until_shut() => return Err(Ending::shut(reason)),
        header = timeout_at(until, read(socket, versions)) => header,
    };
    let since = gate.facilities.clock.now();
    let Ok(header) = header else {
        let elapsed = since.saturating_duration_since(record.accepted_at);
        return Err(Ending {
            limit: Some(millis(door.proxy_header_timeout)),
            observed: Some(millis(elapsed)),
            ..Ending::by_gate(Reason::ProxyHeaderTimeout)
        });
    };
    match header?.behalf {
        Behalf::Local => Ok(Announced { is_encrypted: None, since }),
        Behalf::Client { source, destination: _, is_encrypted } => {
            record.is_from(ClientAddr::from(PeerAddr(source)));
            Ok(Announced { is_encrypted, since })
        }
    }
}

/// Reads a header, and not a byte beyond it.
async fn read<S: AsyncRead + Unpin>(socket: &mut S, versions: ProxyProtocol) -> Result<Header, Ending> {
    let mut bytes = Vec::with_capacity(proxy::LINE_BYTES_MAX);
    loop {
        match proxy::parse(&bytes, versions) {
            Ok(Parsed::Whole(header)) => return Ok(header),
            Ok(Parsed::Incomplete { bytes_min }) => {
                match (&mut *socket).take(bytes_min as u64).read_buf(&mut bytes).await {
                    Ok(1..) => {}
                    // A look whether anybody listens here.
                    Ok(0) => return Err(Ending::by_client(Reason::RequestIncomplete, None)),
                    Err(error) => {
                        let detail = Some(error.to_string());
                        return Err(Ending { detail, ..Ending::by_client(Reason::RequestIncomplete, None) });
                    }
                }
            }
            Err(fault) => {
                let detail = Some(fault.to_string());
                return Err(Ending { detail, ..Ending::by_gate(Reason::ProxyHeaderInvalid) });
            }
        }
    }
}
