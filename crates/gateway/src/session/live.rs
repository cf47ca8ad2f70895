//! One session that lives: what is known of it, and the word that it has to end.
//!
//! Shared by the table, the connection and the application. Nothing is decided here.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Sessions;
use super::table::Serial;
use crate::clock::UnixTime;
use crate::hex;
use crate::principal::{ClientAddr, ConnectionId, Principal};
use crate::pulse::{Pulse, Signal};
use crate::reason::Reason;

/// Names one session: 128 random bits, new at each authentication. Never a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// The session named by `bits`.
    #[must_use]
    pub const fn new(bits: [u8; 16]) -> Self {
        Self(bits)
    }
}

impl fmt::Display for SessionId {
    /// 32 digits of lower-case hex.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0, f)
    }
}

impl FromStr for SessionId {
    type Err = NotASessionId;

    /// Exactly what [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self, NotASessionId> {
        let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        if text.len() != 32 || !text.as_bytes().iter().all(is_digit) {
            return Err(NotASessionId);
        }
        u128::from_str_radix(text, 16).map(|bits| Self(bits.to_be_bytes())).map_err(|_| NotASessionId)
    }
}

/// A text that is not 32 digits of lower-case hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session's id has 32 digits of lower-case hex")]
pub struct NotASessionId;

/// Why a session has to end before its connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum End {
    /// Its token was revoked, or the key that had signed it was withdrawn.
    Revoked = 1,
    /// Its subject was banned.
    Banned,
    /// An operator ended it.
    Ended,
    /// A newer one of the same subject took its place.
    Replaced,
}

impl End {
    const ALL: [Self; 4] = [Self::Revoked, Self::Banned, Self::Ended, Self::Replaced];

    /// What the client is told.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Revoked => Reason::TokenRevoked,
            Self::Banned => Reason::SubjectBanned,
            Self::Ended => Reason::SessionEnded,
            Self::Replaced => Reason::SessionReplaced,
        }
    }
}

/// A session, from its authentication to its end.
#[derive(Debug)]
pub(crate) struct Live {
    pub(super) sessions: Arc<Sessions>,
    pub(super) serial: Serial,
    pub(super) id: SessionId,
    pub(super) route: Arc<str>,
    pub(super) client: ClientAddr,
    pub(super) connection: ConnectionId,
    pub(super) started_at: UnixTime,
    pub(super) pulse: Arc<Pulse>,
    pub(super) verified: Mutex<Verified>,
    /// An [`End`], or 0.
    end: AtomicU8,
}

/// Who speaks in a session, and when that was last verified.
#[derive(Clone, Debug)]
pub(super) struct Verified {
    pub(super) principal: Arc<Principal>,
    pub(super) at: UnixTime,
}

/// Where a session begins.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    pub(crate) route: &'a Arc<str>,
    pub(crate) client: ClientAddr,
    pub(crate) connection: ConnectionId,
    pub(crate) pulse: &'a Arc<Pulse>,
}

impl Live {
    pub(super) fn new(
        sessions: Arc<Sessions>,
        (serial, id): (Serial, SessionId),
        opening: &Opening<'_>,
        principal: Arc<Principal>,
        now: UnixTime,
    ) -> Self {
        Self {
            sessions,
            serial,
            id,
            route: Arc::clone(opening.route),
            client: opening.client,
            connection: opening.connection,
            started_at: now,
            pulse: Arc::clone(opening.pulse),
            verified: Mutex::new(Verified { principal, at: now }),
            end: AtomicU8::new(0),
        }
    }

    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    /// Who speaks: what the last token said.
    pub(crate) fn principal(&self) -> Arc<Principal> {
        self.verified().principal
    }

    /// Another token speaks for the session from now on.
    pub(crate) fn refresh(
        &self,
        principal: Arc<Principal>,
        now: UnixTime,
    ) -> Result<(), super::RefreshError> {
        self.sessions.refresh(self, principal, now)
    }

    /// Why it has to end, if it has.
    pub(crate) fn end(&self) -> Option<End> {
        let end = self.end.load(Ordering::Acquire);
        End::ALL.into_iter().find(|known| *known as u8 == end)
    }

    /// Says that it has to end, and wakes its connection. The first word counts.
    pub(super) fn tell(&self, end: End) {
        let _ = self.end.compare_exchange(0, end as u8, Ordering::AcqRel, Ordering::Acquire);
        self.pulse.signal(Signal::Session);
    }

    pub(super) fn verified(&self) -> Verified {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_verified(&self, verified: Verified) {
        *self.verified.lock().unwrap_or_else(PoisonError::into_inner) = verified;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a26_an_id_is_128_bits_and_reads_back_in_one_spelling() {
        let id = SessionId::new([0x0f; 16]);
        let text = id.to_string();
        assert_eq!(text, "0f".repeat(16));
        assert_eq!(text.parse(), Ok(id));
        let bits = std::array::from_fn(|index| u8::try_from(index * 17 % 256).unwrap());
        assert_eq!(SessionId::new(bits).to_string(), format!("{:032x}", u128::from_be_bytes(bits)));
        assert_eq!(SessionId::new([0; 16]).to_string().len(), 32);
        let short = &text[1..];
        for wrong in [short, &text.to_uppercase(), &format!("+{short}"), "", "ü"] {
            assert_eq!(wrong.parse::<SessionId>(), Err(NotASessionId), "{wrong}");
        }
    }
}
