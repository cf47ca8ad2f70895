//! One record of a connection, as a tracing event and as a line of the error file.
//!
//! Both have the same fields. What a peer chose goes through [`Encoded`]; everything else is a number, or a word from a
//! closed set. Nothing is decided here: whether to write is the suppressor's, how severe is the reason table's.

use std::fmt::Display;

use drawgate_protocol::Violation;
use serde::{Serialize, Serializer};

use super::encode::Encoded;
use super::{Ended, Opened, Phase};
use crate::clock::UnixTime;
use crate::principal::{ClientAddr, ConnectionId};
use crate::reason::{Level, Reason};
use crate::session::SessionId;
use crate::trace::TraceId;

/// What is known of a connection at its end. Absent fields are left out.
#[derive(Debug, Serialize)]
pub(super) struct Record<'a> {
    message: &'static str,
    #[serde(serialize_with = "displayed")]
    connection: ConnectionId,
    #[serde(serialize_with = "displayed")]
    client: ClientAddr,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "displayed_if_there")]
    via: Option<ClientAddr>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "encoded_if_there")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "encoded_if_there")]
    origin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "encoded_if_there")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "displayed_if_there")]
    session: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "displayed_if_there")]
    trace: Option<TraceId>,
    phase: &'static str,
    reason: &'static str,
    ended_by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    close_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "displayed_if_there")]
    rule: Option<Violation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    section: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed: Option<u64>,
    messages_in: u64,
    bytes_in: u64,
    messages_out: u64,
    bytes_out: u64,
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    suppressed: Option<u64>,
    #[serde(skip)]
    level: Level,
}

impl<'a> Record<'a> {
    /// The record of `ended`; `suppressed` like it were not written.
    pub(super) fn new(ended: &Ended<'a>, suppressed: u64) -> Self {
        let row = ended.reason.row();
        let message = match ended.phase {
            Phase::Handshake => "handshake failed",
            Phase::Open => "connection ended",
        };
        Self {
            message,
            connection: ended.connection,
            client: ended.client,
            via: ended.via,
            route: ended.route,
            origin: ended.origin,
            subject: ended.subject,
            session: ended.session,
            trace: ended.trace,
            phase: ended.phase.label(),
            reason: row.label,
            ended_by: ended.ended_by.label(),
            close_code: ended.close_code,
            http_status: ended.http_status,
            rule: ended.violation,
            section: ended
                .violation
                .map(|violation| format!("RFC {} §{}", violation.rfc(), violation.section())),
            detail: ended.detail.map(encoded),
            limit: ended.limit,
            observed: ended.observed,
            messages_in: ended.traffic.messages_in,
            bytes_in: ended.traffic.bytes_in,
            messages_out: ended.traffic.messages_out,
            bytes_out: ended.traffic.bytes_out,
            duration_ms: millis(ended.duration),
            suppressed: Some(suppressed).filter(|count| *count > 0),
            level: row.level,
        }
    }

    /// Hands it to whatever the program subscribed to tracing.
    pub(super) fn emit(&self) {
        // The level of an event has to be a constant, so there is one call a level.
        macro_rules! event {
            ($level:ident) => {
                tracing::event!(
                    target: TARGET,
                    tracing::Level::$level,
                    connection = %self.connection,
                    client = %self.client,
                    via = self.via.map(display),
                    route = self.route.as_ref().map(|route| display(Encoded(route))),
                    origin = self.origin.as_ref().map(|origin| display(Encoded(origin))),
                    subject = self.subject.as_ref().map(|subject| display(Encoded(subject))),
                    session = self.session.map(display),
                    trace = self.trace.map(display),
                    phase = self.phase,
                    reason = self.reason,
                    ended_by = self.ended_by,
                    close_code = self.close_code,
                    http_status = self.http_status,
                    rule = self.rule.map(display),
                    section = self.section.as_deref(),
                    detail = self.detail.as_deref(),
                    limit = self.limit,
                    observed = self.observed,
                    messages_in = self.messages_in,
                    bytes_in = self.bytes_in,
                    messages_out = self.messages_out,
                    bytes_out = self.bytes_out,
                    duration_ms = self.duration_ms,
                    suppressed = self.suppressed,
                    "{}",
                    self.message
                )
            };
        }
        match self.level {
            Level::Error => event!(ERROR),
            Level::Warn => event!(WARN),
            Level::Info => event!(INFO),
        }
    }

    /// One line of JSON with its line feed, for the error file.
    pub(super) fn line(&self, time: UnixTime) -> String {
        line_of(time, self.level, self)
    }
}

/// Logs that a connection was opened; `suppressed` such records were not written.
pub(super) fn emit_opened(opened: &Opened<'_>, suppressed: u64) {
    tracing::info!(
        target: TARGET,
        connection = %opened.connection,
        client = %opened.client,
        via = opened.via.map(display),
        route = %Encoded(&opened.route),
        origin = opened.origin.as_ref().map(|origin| display(Encoded(origin))),
        subject = opened.subject.as_ref().map(|subject| display(Encoded(subject))),
        session = opened.session.map(display),
        trace = opened.trace.map(display),
        handshake_ms = millis(opened.handshake_duration),
        suppressed = Some(suppressed).filter(|count| *count > 0),
        "connection opened"
    );
}

/// Logs how many records of one kind were not written; `reason` is `None` for those that have none.
pub(super) fn emit_suppressed(reason: Option<Reason>, suppressed: u64) {
    let reason = reason.map(|reason| reason.row().label);
    tracing::warn!(target: TARGET, reason, suppressed, "{SUPPRESSED}");
}

/// Logs that a change of what is kept is not on disk.
pub(super) fn emit_state_not_written(error: &dyn Display) {
    tracing::error!(
        target: TARGET,
        error = %Encoded(&error),
        "a revocation, a ban or the end of one is not on disk"
    );
}

/// The same as a line for the error file.
pub(super) fn suppressed_line(reason: Reason, suppressed: u64, time: UnixTime) -> String {
    #[derive(Serialize)]
    struct Summary {
        message: &'static str,
        reason: &'static str,
        suppressed: u64,
    }
    let record = Summary { message: SUPPRESSED, reason: reason.row().label, suppressed };
    line_of(time, Level::Warn, record)
}

/// One line of JSON with its line feed, for the error file.
pub(super) fn line_of(time: UnixTime, level: Level, record: impl Serialize) -> String {
    line(&Line { time: rfc_3339_millis(time), level: level.label(), record })
}

#[derive(Serialize)]
struct Line<R> {
    time: String,
    level: &'static str,
    #[serde(flatten)]
    record: R,
}

fn line(line: &impl Serialize) -> String {
    let mut text =
        serde_json::to_string(line).expect("strings and numbers under fixed names always serialize");
    text.push('\n');
    text
}

fn encoded(value: &dyn Display) -> String {
    Encoded(value).to_string()
}

fn displayed<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

// What serde calls has a reference to the field itself.
#[expect(clippy::ref_option, reason = "that is what serde passes")]
fn displayed_if_there<S: Serializer>(value: &Option<impl Display>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value.as_ref().map_or(&"" as &dyn Display, |value| value))
}

fn encoded_if_there<S: Serializer>(value: &Option<&str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Encoded(&value.unwrap_or_default()))
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// RFC 3339 in UTC, to the millisecond.
fn rfc_3339_millis(time: UnixTime) -> String {
    let seconds = time.to_string();
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), time.millis() % 1000)
}

/// The target of every event of a connection, for filters.
pub(super) const TARGET: &str = "drawgate";

const SUPPRESSED: &str = "records suppressed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds() {
        assert_eq!(rfc_3339_millis(UnixTime::from_millis(1_793_349_854_007)), "2026-10-30T08:44:14.007Z");
    }
}
