//! One whole message to a verdict: it goes on, or it does not, and why.
//!
//! Pure (floor 2): what it needs to know of the connection is in its [`Context`]. It never waits, logs or counts, and no part of a
//! message is in what it says is wrong: the pointer names members that the route's own schema names, and nothing else.
//! Before it the relay has put the message together; after it the relay sends it on, or tells the client.
//!
//! The steps of one direction, in their order, are one function: [`Inspection::judge`].

pub mod email;
mod format;
pub mod policy;
pub mod schema;
pub mod seal;

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use drawgate_protocol::MessageKind;
use serde_json::Value;

pub use format::Format;
pub use policy::Policy;
pub use schema::{Schema, Schemas};

use self::policy::Note;
use crate::json::Document;
use crate::principal::{ClientAddr, Principal};
use crate::reason::{At, Reason};
use crate::session::SessionId;

/// What is inspected on a route; nothing, by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspections {
    /// What clients send.
    pub messages: Option<Inspection>,
    /// What the backend sends.
    pub replies: Option<Inspection>,
    /// The key under which messages of both directions are sealed: opened before they are looked into, sealed after.
    pub seal: Option<seal::Config>,
}

/// What a message of one direction must be, and what becomes of one that is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// What it is made of.
    pub format: Format,
    /// What it must say, where it is JSON.
    pub schemas: Option<Schemas>,
    /// The operator's rules on it.
    pub policy: Option<Policy>,
    /// What happens when a message is refused, unless what refused it says otherwise.
    pub on_refusal: Consequence,
    /// The most messages of one connection that may be refused in a minute; `None` is unlimited.
    pub refusals_max: Option<u32>,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Toward {
    /// From the client to the backend.
    Backend,
    /// From the backend to the client.
    Client,
}

/// What becomes of a message that is refused. In no case does it go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// The client is told, as the route's `notice` says, and may go on.
    Notice,
    /// The connection is closed.
    Close,
    /// Nobody is told but the operator.
    Drop,
}

/// What may be known of the connection that a message belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Where the message goes.
    pub toward: Toward,
    /// Who the client is on the network.
    pub client: ClientAddr,
    /// The session, where one has begun.
    pub session: Option<SessionId>,
    /// Who speaks, with the subject and the claims of its newest token, where the route authenticates.
    pub principal: Option<&'a Principal>,
}

/// What becomes of a message, and what rules have to say of it beside that.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// What becomes of it.
    pub verdict: Verdict,
    /// Rules that hold on it and log, or are in shadow.
    pub notes: Vec<Note>,
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It goes on as it is.
    Pass,
    /// It does not, and the client is told.
    Refuse(Refusal),
    /// It does not, and the connection ends.
    Close(Refusal),
    /// It does not, and nobody is told.
    Drop(Refusal),
}

/// Why a message does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The row of the table.
    pub reason: Reason,
    /// Where in the message, as a JSON pointer (RFC 6901), if there is a place.
    pub pointer: Option<String>,
    /// The keyword of the schema that was not met.
    pub keyword: Option<String>,
    /// The rule that holds on it, or could not be told.
    pub rule: Option<Arc<str>>,
    /// Where in the message, in bytes from its beginning, if it could not be read beyond.
    pub offset_bytes: Option<usize>,
    /// The precise cause, for the operator alone. No part of the message is in it.
    pub detail: Option<Cow<'static, str>>,
    /// What becomes of it, where that is not the direction's to say.
    pub then: Option<Consequence>,
}

impl Inspection {
    /// A direction whose messages must be of this format; the client is told of one that is not, ten times a minute.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self {
            format,
            schemas: None,
            policy: None,
            on_refusal: Consequence::Notice,
            refusals_max: Some(REFUSALS_MAX),
        }
    }

    /// What becomes of a message, and which rules have had something to say that does not keep it from going on.
    #[must_use]
    pub fn judge(&self, kind: MessageKind, bytes: &[u8], context: &Context<'_>) -> Judgement {
        let mut message = Inspected { kind, bytes, document: None, value: OnceLock::new() };
        let mut notes = Vec::new();
        let verdict = match self.steps(&mut message, context, &mut notes) {
            Ok(()) => Verdict::Pass,
            Err(refusal) => match refusal.then.unwrap_or(self.on_refusal) {
                Consequence::Notice => Verdict::Refuse(refusal),
                Consequence::Close => Verdict::Close(refusal),
                Consequence::Drop => Verdict::Drop(refusal),
            },
        };
        Judgement { verdict, notes }
    }

    /// Every step, in order; the first that refuses ends it.
    fn steps(
        &self,
        message: &mut Inspected<'_>,
        context: &Context<'_>,
        notes: &mut Vec<Note>,
    ) -> Result<(), Refusal> {
        self.format.check(message, context.toward)?;
        if let Some(schemas) = &self.schemas {
            schemas.check(message)?;
        }
        if let Some(policy) = &self.policy {
            policy.check(message, context, notes)?;
        }
        Ok(())
    }
}

impl Toward {
    /// The word for it in records and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Client => "client",
        }
    }

    /// The word for whoever sends it.
    #[must_use]
    pub const fn from_whom(self) -> &'static str {
        match self {
            Self::Backend => "client",
            Self::Client => "backend",
        }
    }
}

impl Refusal {
    /// For this reason, about the message as a whole.
    #[must_use]
    pub const fn because(reason: Reason) -> Self {
        Self {
            reason,
            pointer: None,
            keyword: None,
            rule: None,
            offset_bytes: None,
            detail: None,
            then: None,
        }
    }

    /// The place, as a client may hear of it.
    pub(crate) fn at(&self) -> At<'_> {
        let (pointer, keyword) = (self.pointer.as_deref(), self.keyword.as_deref());
        At { pointer, keyword, rule: self.rule.as_deref(), offset_bytes: self.offset_bytes }
    }
}

/// A message on its way through the steps.
#[derive(Debug)]
struct Inspected<'m> {
    kind: MessageKind,
    bytes: &'m [u8],
    /// What it says, once a step has read it.
    document: Option<Document<'m>>,
    /// The same, for whoever needs it as a copy; made when it is first asked for.
    value: OnceLock<Value>,
}

impl Inspected<'_> {
    fn value(&self) -> Option<&Value> {
        let document = self.document.as_ref()?;
        Some(self.value.get_or_init(|| document.to_value()))
    }
}

/// Some slips in a minute are a person's or a new version's; more are a fault, or somebody who tries what passes.
pub(crate) const REFUSALS_MAX: u32 = 10;

#[cfg(test)]
mod tests;
