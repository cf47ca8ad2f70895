//! A message that was refused while its connection went on, and one on which a rule held that lets it pass: one record each.
//!
//! The counter is the data path's, which misses none; records are as few as those of any other reason.

use serde::Serialize;

use super::encode::Encoded;
use super::events::Event;
use super::log::{self, TARGET};
use super::suppress::RecordKind;
use super::{Observer, is_fault};
use crate::inspect::Toward;
use crate::inspect::policy::{Effect, Note};
use crate::principal::{ClientAddr, ConnectionId};
use crate::reason::{Level, Reason};
use crate::session::SessionId;

/// Whose message a record is about.
#[derive(Clone, Copy, Debug)]
pub struct OfMessage<'a> {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suppressed: Option<u64>,
}

impl Observer {
    /// A message was refused, and its connection goes on: to be called once for each. `detail` is the precise cause, for the operator
    /// alone; it is encoded before it is logged, and no part of the message is in it.
    pub fn message_refused(&self, of: &OfMessage<'_>, reason: Reason, detail: &str) {
        let (now, row) = (self.0.clock.now(), reason.row());
        let Some(suppressed) = self.0.suppressor.pass(RecordKind::Refused(reason), now) else {
            return self.count_suppressed();
        };
        let event = Event {
            client: Some(of.client.to_string()),
            route: Some(of.route.to_owned()),
            subject: of.subject.map(|subject| Encoded(&subject).to_string()),
            ..Event::new("message_refused", row.label)
        };
        self.0.events.push(event.detailed(Some(&detail)), self.0.clock.unix_now());
        let refusal = Record {
            reason: Some(row.label),
            detail: Some(Encoded(&detail).to_string()),
            ..Record::new(REFUSED, of, suppressed)
        };
        refusal.emit(row.level);
        if let Some(error_file) = &self.0.error_file
            && is_fault(reason)
        {
            error_file.write(log::line_of(self.0.clock.unix_now(), row.level, &refusal), now);
        }
    }

    /// A rule that logs, or is in shadow, held on a message: to be called once for each.
    pub fn rule_applied(&self, of: &OfMessage<'_>, note: &Note) {
        let Some(suppressed) = self.0.suppressor.pass(RecordKind::Rule, self.0.clock.now()) else {
            return self.count_suppressed();
        };
        let applied = Record {
            rule: Some(Encoded(&note.rule).to_string()),
            effect: Some(note.effect.label()),
            ..Record::new(APPLIED, of, suppressed)
        };
        applied.emit(if note.effect == Effect::ShadowFailed { Level::Warn } else { Level::Info });
    }
}

impl<'a> Record<'a> {
    fn new(message: &'static str, of: &OfMessage<'a>, suppressed: u64) -> Self {
        Self {
            message,
            connection: of.connection.to_string(),
            client: of.client.to_string(),
            via: of.via.map(|via| via.to_string()),
            route: of.route,
            subject: of.subject.map(|subject| Encoded(&subject).to_string()),
            session: of.session.map(|session| session.to_string()),
            toward: of.toward.label(),
            reason: None,
            rule: None,
            effect: None,
            detail: None,
            suppressed: Some(suppressed).filter(|count| *count > 0),
        }
    }

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
                    rule = self.rule,
                    effect = self.effect,
                    detail = self.detail,
                    suppressed = self.suppressed,
                    "{}",
                    self.message
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

const REFUSED: &str = "message refused";
const APPLIED: &str = "rule applied";
