//! A message that was refused while its connection went on, as one record.
//!
//! The counter is the data path's, which misses none; records are as few as those of any other reason.

use serde::Serialize;

use super::encode::Encoded;
use super::log::{self, TARGET};
use super::suppress::RecordKind;
use super::{Observer, is_fault};
use crate::inspect::Toward;
use crate::principal::{ClientAddr, ConnectionId};
use crate::reason::{Level, Reason};
use crate::session::SessionId;

/// A message that did not go on.
#[derive(Clone, Copy, Debug)]
pub struct MessageRefused<'a> {
    /// The connection.
    pub connection: ConnectionId,
    /// Who it comes from.
    pub client: ClientAddr,
    /// The proxy that connected for the client, if one did.
    pub via: Option<ClientAddr>,
    /// The name of the route.
    pub route: &'a str,
    /// Who speaks on it, where that is known. Encoded before it is logged.
    pub subject: Option<&'a str>,
    /// The session, where one has begun.
    pub session: Option<SessionId>,
    /// Where the message was to go.
    pub toward: Toward,
    /// Why it did not.
    pub reason: Reason,
    /// The precise cause, for the operator alone. It is encoded before it is logged; no part of the message is in it.
    pub detail: &'a str,
}

/// The same as it is written.
#[derive(Debug, Serialize)]
struct Record<'a> {
    message: &'static str,
    connection: String,
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
    route: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    toward: &'static str,
    reason: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    suppressed: Option<u64>,
}

impl Observer {
    /// A message was refused, and its connection goes on: to be called once for each.
    pub fn message_refused(&self, refused: &MessageRefused<'_>) {
        let now = self.0.clock.now();
        let Some(suppressed) = self.0.suppressor.pass(RecordKind::Refused(refused.reason), now) else {
            return self.count_suppressed();
        };
        let level = refused.reason.row().level;
        let record = Record {
            message: MESSAGE,
            connection: refused.connection.to_string(),
            client: refused.client.to_string(),
            via: refused.via.map(|via| via.to_string()),
            route: refused.route,
            subject: refused.subject.map(|subject| Encoded(&subject).to_string()),
            session: refused.session.map(|session| session.to_string()),
            toward: refused.toward.label(),
            reason: refused.reason.row().label,
            detail: Encoded(&refused.detail).to_string(),
            suppressed: Some(suppressed).filter(|count| *count > 0),
        };
        record.emit(level);
        if let Some(error_file) = &self.0.error_file
            && is_fault(refused.reason)
        {
            error_file.write(log::line_of(self.0.clock.unix_now(), level, &record), now);
        }
    }
}

impl Record<'_> {
    fn emit(&self, level: Level) {
        // The level of an event has to be a constant, so there is one call a level.
        macro_rules! event {
            ($level:ident) => {
                tracing::event!(
                    target: TARGET,
                    tracing::Level::$level,
                    connection = self.connection,
                    client = self.client,
                    via = self.via,
                    route = self.route,
                    subject = self.subject,
                    session = self.session,
                    toward = self.toward,
                    reason = self.reason,
                    detail = self.detail,
                    suppressed = self.suppressed,
                    "{MESSAGE}"
                )
            };
        }
        match level {
            Level::Error => event!(ERROR),
            Level::Warn => event!(WARN),
            Level::Info => event!(INFO),
        }
    }
}

const MESSAGE: &str = "message refused";
