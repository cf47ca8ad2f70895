//! The first step: what a message is made of. A message of the wrong kind is not looked into.

use std::borrow::Cow;

use drawgate_protocol::MessageKind;

use super::{Consequence, Inspected, Refusal, Toward};
use crate::json;
use crate::reason::Reason;

/// What messages are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text or binary. It is put together whole all the same, for rules on it, and for an application that takes no fragments.
    Any,
    /// Text, any.
    Text,
    /// Binary, any.
    Binary,
    /// Text that is strict JSON (RFC 8259) within these limits, so that every reader reads it the same way.
    Json(json::Limits),
}

impl Format {
    /// The kind of message that this is; `None` where it is either.
    #[must_use]
    pub const fn kind(&self) -> Option<MessageKind> {
        match self {
            Self::Any => None,
            Self::Text | Self::Json(_) => Some(MessageKind::Text),
            Self::Binary => Some(MessageKind::Binary),
        }
    }

    pub(super) fn check(&self, message: &mut Inspected<'_>, toward: Toward) -> Result<(), Refusal> {
        if self.kind().is_some_and(|kind| kind != message.kind) {
            // RFC 6455 §7.4.1: 1003 is for who received data of a type that it cannot accept. A client that sends the wrong kind
            // was not written for this route, so there is nothing to go on with.
            let then = (toward == Toward::Backend).then_some(Consequence::Close);
            return Err(Refusal { then, ..Refusal::because(Reason::MessageKindRefused) });
        }
        match self {
            Self::Any | Self::Text | Self::Binary => Ok(()),
            Self::Json(limits) => {
                message.document = Some(read(message.bytes, limits)?);
                Ok(())
            }
        }
    }
}

fn read<'m>(bytes: &'m [u8], limits: &json::Limits) -> Result<json::Document<'m>, Refusal> {
    let malformed = |offset_bytes, detail| Refusal {
        offset_bytes: Some(offset_bytes),
        detail: Some(detail),
        ..Refusal::because(Reason::MessageNotJson)
    };
    // The receiver has checked text; what a step has opened is checked here alone.
    let text = std::str::from_utf8(bytes)
        .map_err(|error| malformed(error.valid_up_to(), Cow::Borrowed("the text is not UTF-8")))?;
    json::read(text, limits).map_err(|fault| malformed(fault.offset_bytes, fault.to_string().into()))
}
