//! `/v1/revocations`: tokens that are good no longer.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::super::answer::{self, Answer, Refused};
use super::super::body::Members;
use super::super::operations::Operations;
use super::{Slice, time};
use crate::clock::UnixTime;
use crate::control::ControlError;
use crate::session::revocation::{Revocation, Target};
use crate::session::{KeepError, SessionId};

pub(super) fn list(operations: &Operations, mut query: Members) -> Result<Answer, Refused> {
    let Slice { after, count_max } = Slice::of(&mut query)?;
    query.finish()?;
    let after = match after.map(|after| named(&after)) {
        None => None,
        Some(Some(target)) => Some(target),
        Some(None) => return Err(Refused::unprocessable("after must be what `next` of a page was.")),
    };
    let now = operations.now();
    let (page, has_more) = operations.sessions().revocations_after(after.as_ref(), count_max, now);
    let next = page.last().filter(|_| has_more).map(name);
    let page: Vec<Value> = page.iter().map(|revocation| Value::Object(shown(revocation))).collect();
    Ok(answer::json(StatusCode::OK, &json!({ "revocations": page, "next": next })))
}

pub(super) async fn add(
    operations: &Operations,
    who: Arc<str>,
    mut body: Members,
) -> Result<Answer, Refused> {
    let now = operations.now();
    let (subject, token_id) = (body.text("subject")?, body.text("token_id")?);
    let (session, everyone) = (body.text("session")?, body.take("everyone"));
    let issued_until = body.take("issued_until").map(|value| moment(&value)).transpose()?;
    body.finish()?;
    let cutoff = issued_until.unwrap_or(now);
    let own_session: Option<SessionId> = session.as_deref().and_then(|session| session.parse().ok());
    let target = match (subject, token_id, session, everyone) {
        (Some(subject), None, None, None) => Target::Subject { subject, cutoff },
        (None, Some(token_id), None, None) => Target::Token { token_id },
        (None, None, Some(session), None) => target_of(operations, session),
        (None, None, None, Some(Value::Bool(true))) => Target::Everyone { cutoff },
        (_, _, _, _) => {
            let detail =
                "Name one of subject, token_id and session, which are strings, or \"everyone\": true.";
            return Err(Refused::unprocessable(detail));
        }
    };
    if issued_until.is_some() && matches!(target, Target::Token { .. } | Target::Session { .. }) {
        return Err(Refused::unprocessable("issued_until goes with subject and with everyone alone."));
    }
    let revocation = operations.sessions().revocation(target, now);
    let mut members = shown(&revocation);
    let on = name(&revocation);
    let revoked = operations.revoke(who, revocation, on, own_session).await;
    let revoked = revoked.map_err(|error| not_changed(&error))?;
    members.insert("closed".to_owned(), revoked.closed.into());
    Ok(answer::json(StatusCode::CREATED, &Value::Object(members)))
}

/// Where `session` names one of ours that lives, what keeps its token from beginning another.
fn target_of(operations: &Operations, session: String) -> Target {
    match session.parse::<SessionId>() {
        Ok(id) => operations.sessions().target_of(id),
        Err(_) => Target::Session { session },
    }
}

/// What a revocation is about, in one word; and its place in the list.
fn name(revocation: &Revocation) -> String {
    match &revocation.target {
        Target::Everyone { .. } => "everyone".to_owned(),
        Target::Session { session } => format!("session:{session}"),
        Target::Subject { subject, .. } => format!("subject:{subject}"),
        Target::Token { token_id } => format!("token_id:{token_id}"),
    }
}

/// What [`name`] has named; its moment says nothing.
fn named(name: &str) -> Option<Target> {
    let cutoff = UnixTime::from_millis(0);
    Some(match name.split_once(':') {
        None if name == "everyone" => Target::Everyone { cutoff },
        Some(("session", session)) => Target::Session { session: session.to_owned() },
        Some(("subject", subject)) => Target::Subject { subject: subject.to_owned(), cutoff },
        Some(("token_id", token_id)) => Target::Token { token_id: token_id.to_owned() },
        Some(_) | None => return None,
    })
}

fn shown(revocation: &Revocation) -> Map<String, Value> {
    let (name, value, cutoff) = match &revocation.target {
        Target::Subject { subject, cutoff } => ("subject", subject.clone().into(), Some(*cutoff)),
        Target::Token { token_id } => ("token_id", token_id.clone().into(), None),
        Target::Session { session } => ("session", session.clone().into(), None),
        Target::Everyone { cutoff } => ("everyone", Value::Bool(true), Some(*cutoff)),
    };
    let mut members = Map::new();
    members.insert(name.to_owned(), value);
    if cutoff.is_some() {
        members.insert("issued_until".to_owned(), time(cutoff));
    }
    members.insert("until".to_owned(), time(revocation.until));
    members
}

/// A moment that is written as RFC 3339 has it, or in seconds since 1970.
fn moment(value: &Value) -> Result<UnixTime, Refused> {
    let moment = match value {
        Value::String(text) => UnixTime::from_rfc_3339(text),
        Value::Number(seconds) => {
            seconds.as_u64().map(UnixTime::from_seconds).filter(|time| *time <= UnixTime::LAST_OF_RFC_3339)
        }
        _ => None,
    };
    let detail = "issued_until must be a time such as \"2026-11-22T08:44:14Z\", or seconds since 1970.";
    moment.ok_or_else(|| Refused::unprocessable(detail))
}

/// Why not all was done that was asked for. What is in the way on the disk is for the log alone.
pub(super) fn not_changed(error: &ControlError) -> Refused {
    match error {
        ControlError::Refused(error @ KeepError::NameInvalid) => {
            Refused::unprocessable(format!("Nothing was changed: {error}."))
        }
        ControlError::Refused(error @ KeepError::Full) => {
            Refused::new(StatusCode::INSUFFICIENT_STORAGE, format!("Nothing was changed: {error}."))
        }
        ControlError::NotKept { closed, .. } => Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("Not on disk, though {error}. Sessions closed: {closed}."),
        ),
        ControlError::NotLifted(_) => {
            Refused::new(StatusCode::SERVICE_UNAVAILABLE, format!("Nothing was changed: {error}."))
        }
    }
}
