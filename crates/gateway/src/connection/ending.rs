//! Why and how one connection ended: what the record and the counter are made of.
//!
//! Made where the end is decided, by the constructor that says whose doing it was; never changed into another end, save
//! where the closing itself fails.

use std::io;
use std::time::Duration;

use drawgate_protocol::{CloseCode, Limits as MessageLimits, LocalCode, Violation};

use crate::observe::{Side, Traffic};
use crate::reason::{Fault, Reason};

/// Why and how a connection ended.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) reason: Reason,
    pub(crate) by: Side,
    pub(crate) close_code: Option<u16>,
    pub(crate) violation: Option<Violation>,
    /// The limit that was exceeded, and what was found, in the limit's own unit.
    pub(crate) limit: Option<u64>,
    pub(crate) observed: Option<u64>,
    pub(crate) detail: Option<String>,
    /// What the client is told by `notice = "json"`, where that is more than the reason alone.
    pub(crate) notice: Option<Box<str>>,
    /// Of a request that did not get its `101`: the page that it named.
    pub(crate) origin: Option<Box<str>>,
    /// What had gone over the connection until then.
    pub(crate) traffic: Traffic,
}

impl Ending {
    /// By a rule of ours: the client is told by the reason's code.
    pub(crate) fn by_gate(reason: Reason) -> Self {
        Self {
            reason,
            by: Side::Gateway,
            close_code: reason.row().close.map(CloseCode::get),
            violation: None,
            limit: None,
            observed: None,
            detail: None,
            notice: None,
            origin: None,
            traffic: Traffic::default(),
        }
    }

    /// By the client, with a code of its own.
    pub(super) fn by_client(reason: Reason, close_code: Option<u16>) -> Self {
        Self { by: Side::Client, close_code, ..Self::by_gate(reason) }
    }

    /// By the operator's wish.
    pub(super) fn by_operator(reason: Reason) -> Self {
        Self { by: Side::Operator, ..Self::by_gate(reason) }
    }

    /// Nobody is let in, for `reason`.
    pub(super) fn shut(reason: Reason) -> Self {
        match reason.row().fault {
            Fault::Operator | Fault::None => Self::by_operator(reason),
            Fault::Client | Fault::Upstream | Fault::Gateway => Self::by_gate(reason),
        }
    }

    /// Whether it is a goodbye that the connection may still take its time for.
    pub(super) const fn is_of_a_drain(&self) -> bool {
        matches!(self.reason, Reason::Draining | Reason::RouteChanged | Reason::UpstreamDraining)
    }

    /// By the end of the gateway itself, or of whoever ran the connection.
    pub(super) fn cut() -> Self {
        let close_code = Some(LocalCode::Abnormal.get());
        Self { close_code, ..Self::by_operator(Reason::ForcedShutdown) }
    }

    /// By the application, with a code of its own.
    pub(super) fn by_application(code: CloseCode) -> Self {
        let close_code = Some(code.get());
        Self { by: Side::Application, close_code, ..Self::by_gate(Reason::ClosedByApplication) }
    }

    /// By a rule of the protocol that the client broke. `declared_bytes` is the size of the message, where that is known.
    pub(super) fn by_violation(
        reason: Reason,
        violation: Violation,
        limits: MessageLimits,
        declared_bytes: Option<u64>,
    ) -> Self {
        let fragments_max = u64::from(limits.message_fragments_max);
        let (limit, observed) = match violation {
            Violation::MessageTooBig => (Some(limits.message_bytes_max), declared_bytes),
            // Found at the first frame too many.
            Violation::FragmentsTooMany => (Some(fragments_max), fragments_max.checked_add(1)),
            _ => (None, None),
        };
        Self { violation: Some(violation), limit, observed, ..Self::by_gate(reason) }
    }

    /// By a rate that the client exceeded.
    pub(super) fn over(reason: Reason, limit: impl Into<u64>) -> Self {
        Self { limit: Some(limit.into()), ..Self::by_gate(reason) }
    }

    /// By a deadline, in milliseconds.
    pub(super) fn late(reason: Reason, limit: Option<Duration>, elapsed: Duration) -> Self {
        Self { limit: limit.map(millis), observed: Some(millis(elapsed)), ..Self::by_gate(reason) }
    }

    /// The transport ended without a Close.
    pub(super) fn lost() -> Self {
        Self::by_client(Reason::ConnectionLost, Some(LocalCode::Abnormal.get()))
    }

    /// The transport failed.
    pub(super) fn reset(error: &io::Error) -> Self {
        Self { reason: Reason::ConnectionReset, detail: Some(error.to_string()), ..Self::lost() }
    }

    /// Our Close was not answered in time.
    pub(super) fn unanswered(self) -> Self {
        let detail = Some(self.detail.unwrap_or_else(|| "our Close was not answered in time".to_owned()));
        match self.reason {
            // The application closed well, the client did not: that is what the record is about.
            Reason::ClosedByApplication => {
                let close_code = Some(LocalCode::Abnormal.get());
                Self { reason: Reason::CloseTimeout, by: Side::Gateway, close_code, detail, ..self }
            }
            _ => Self { detail, ..self },
        }
    }
}

/// A duration as records have it.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
