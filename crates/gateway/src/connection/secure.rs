//! The first thing on a TLS listener: the handshake, within its deadline and the cap on how many are made at a time.
//!
//! Comes before the request head; on a plain listener it does nothing. A handshake that fails ends the connection here.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{timeout, timeout_at};

use super::admit::{ANSWER_TIME_MAX, DEADLINE_MAX};
use super::ending::millis;
use super::{Door, Ending, Gate};
use crate::clock::Instant;
use crate::observe::HandshakeOutcome;
use crate::reason::Reason;
use crate::tls::{Established, Failure, FailureKind, Peer, Wire};

/// What the rest of the connection goes on with.
pub(super) struct Secured<S> {
    pub(super) wire: Wire<S>,
    /// What the handshake told of the client.
    pub(super) peer: Peer,
    /// Since when the request head is awaited: the accept, the end of the PROXY header, or that of the handshake.
    pub(super) since: Instant,
}

/// Makes the handshake, where there is one to make; it is awaited since `since`.
pub(super) async fn secure<S>(
    gate: &Gate,
    door: &Door,
    socket: S,
    since: Instant,
) -> Result<Secured<S>, Ending>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(encryption) = &door.encryption else {
        return Ok(Secured { wire: Wire::Plain(socket), peer: Peer::default(), since });
    };
    let Ok(_place) = gate.tls_handshakes.try_acquire() else {
        encryption.metrics.handshake(HandshakeOutcome::Refused, None);
        let limit = u64::try_from(gate.tls_handshakes_max).ok();
        return Err(Ending { limit, ..Ending::by_gate(Reason::TlsFull) });
    };
    let until = since + encryption.timeout.min(DEADLINE_MAX);
    let made = tokio::select! {
        biased;
        // There is nothing yet that the client could be told in.
        reason = gate.load.until_shut() => {
            encryption.metrics.handshake(HandshakeOutcome::Failed, None);
            return Err(Ending::shut(reason));
        }
        // In a box, as all that most connections do not come to: a future has room for all of it, and is moved with it.
        made = timeout_at(until, Box::pin(encryption.tls.accept(socket))) => made,
    };
    match made {
        Ok(Ok(Established { wire, peer, version, is_resumed })) => {
            let outcome = if is_resumed { HandshakeOutcome::Resumed } else { HandshakeOutcome::Full };
            encryption.metrics.handshake(outcome, Some(version));
            // The head has its own time: a slow handshake must not leave it none.
            Ok(Secured { wire, peer, since: gate.facilities.clock.now() })
        }
        Ok(Err(Failure { socket, kind, detail })) => {
            encryption.metrics.handshake(HandshakeOutcome::Failed, None);
            let ending = match kind {
                FailureKind::Refused => Ending::by_gate(Reason::TlsHandshakeFailed),
                FailureKind::RefusedByClient => Ending::by_client(Reason::TlsHandshakeFailed, None),
                FailureKind::Gone => Ending::by_client(Reason::RequestIncomplete, None),
            };
            if kind == FailureKind::Refused {
                // Closing a socket with unread bytes would reset it, and the reset could overtake the alert.
                let _ = timeout(ANSWER_TIME_MAX, Box::pin(discard(socket))).await;
            }
            Err(Ending { detail: Some(detail), ..ending })
        }
        Err(_) => {
            encryption.metrics.handshake(HandshakeOutcome::Timeout, None);
            let elapsed = gate.facilities.clock.now().saturating_duration_since(since);
            Err(Ending {
                limit: Some(millis(encryption.timeout)),
                observed: Some(millis(elapsed)),
                ..Ending::by_gate(Reason::TlsTimeout)
            })
        }
    }
}

/// Closes our side, then waits for the client's.
async fn discard<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S) {
    let mut buffer = [0; 1024];
    let mut left = DISCARDED_BYTES_MAX;
    if socket.shutdown().await.is_err() {
        return;
    }
    while let Ok(count @ 1..) = socket.read(&mut buffer).await {
        left = left.saturating_sub(count);
        if left == 0 {
            return;
        }
    }
}

/// What a refused client may still send before it is cut off.
const DISCARDED_BYTES_MAX: usize = 64 * 1024;
