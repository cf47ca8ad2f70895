//! `/v1/sessions`: who is connected, and the end of one session or of a subject's.
//!
//! What a token said stays out of it: its claims are the application's, and nothing of a credential is kept.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::super::answer::{self, Answer, Refused};
use super::super::body::Members;
use super::super::operations::Operations;
use super::{Slice, time};
use crate::session::{Page, SessionId, SessionInfo, Which};

pub(super) fn list(operations: &Operations, mut query: Members) -> Result<Answer, Refused> {
    let subject = query.text("subject")?;
    let route = query.text("route")?;
    let Slice { after, count_max } = Slice::of(&mut query)?;
    query.finish()?;
    let after = match after.map(|after| after.parse()) {
        None => None,
        Some(Ok(after)) => Some(after),
        Some(Err(_)) => return Err(Refused::unprocessable("after must be what `next` of a page was.")),
    };
    let which = match (&subject, &route) {
        (None, None) => Which::All,
        (Some(subject), None) => Which::Subject(subject),
        (None, Some(route)) => Which::Route(route),
        (Some(subject), Some(route)) => Which::SubjectOn(subject, route),
    };
    let Page { sessions, next } = operations.sessions().list(which, after, count_max);
    let sessions: Vec<Value> = sessions.iter().map(shown).collect();
    let next = next.map(|next| next.to_string());
    Ok(answer::json(StatusCode::OK, &json!({ "sessions": sessions, "next": next })))
}

pub(super) fn show(operations: &Operations, id: &str) -> Result<Answer, Refused> {
    let session = id.parse().ok().and_then(|id| operations.sessions().get(id));
    session.map(|session| answer::json(StatusCode::OK, &shown(&session))).ok_or_else(not_there)
}

pub(super) fn end(operations: &Operations, who: &str, id: &str) -> Result<Answer, Refused> {
    let id: SessionId = id.parse().map_err(|_| not_there())?;
    if operations.end(who, id) { Ok(answer::no_content()) } else { Err(not_there()) }
}

/// Ends the sessions of one subject, which has to be named: all of them at once is a revocation of everyone.
pub(super) fn end_all(operations: &Operations, who: &str, mut query: Members) -> Result<Answer, Refused> {
    let subject = query.text("subject")?;
    let route = query.text("route")?;
    query.finish()?;
    let Some(subject) = subject else {
        return Err(Refused::unprocessable("Name the subject whose sessions are to end: ?subject=NAME."));
    };
    let closed = operations.end_of_subject(who, &subject, route.as_deref());
    Ok(answer::json(StatusCode::OK, &json!({ "subject": subject, "closed": closed })))
}

fn shown(session: &SessionInfo) -> Value {
    let principal = &session.principal;
    json!({
        "id": session.id.to_string(),
        "subject": &*principal.subject,
        "token_id": principal.token_id.as_deref(),
        "route": &*session.route,
        "client": session.client.to_string(),
        "connection": session.connection.to_string(),
        "started_at": time(Some(session.started_at)),
        "verified_at": time(Some(session.verified_at)),
        "expires_at": time(Some(principal.expires_at)),
    })
}

fn not_there() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "There is no such session; it may have ended.")
}
