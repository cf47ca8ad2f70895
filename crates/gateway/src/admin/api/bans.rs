//! `/v1/bans`: subjects that are kept out, whatever tokens they have.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::super::answer::{self, Answer, Refused};
use super::super::body::{Members, decoded};
use super::super::operations::Operations;
use super::revocations::not_changed;
use super::{Slice, end_of_ban, time};
use crate::session::revocation::SubjectBan;

pub(super) fn list(operations: &Operations, mut query: Members) -> Result<Answer, Refused> {
    let Slice { after, count_max } = Slice::of(&mut query)?;
    query.finish()?;
    let (page, has_more) = operations.sessions().bans_after(after.as_deref(), count_max, operations.now());
    let next = page.last().filter(|_| has_more).map(|last| &last.subject);
    let bans: Vec<Value> =
        page.iter().map(|ban| json!({ "subject": ban.subject, "until": time(ban.until) })).collect();
    Ok(answer::json(StatusCode::OK, &json!({ "bans": bans, "next": next })))
}

pub(super) async fn add(
    operations: &Operations,
    who: Arc<str>,
    mut body: Members,
) -> Result<Answer, Refused> {
    let subject = body.required_text("subject")?;
    let seconds = body.count("seconds")?;
    body.finish()?;
    let until = end_of_ban(seconds, operations.now())?;
    let ban = SubjectBan { subject: subject.clone(), until };
    let revoked = operations.ban(who, ban).await.map_err(|error| not_changed(&error))?;
    let shown = json!({ "subject": subject, "until": time(until), "closed": revoked.closed });
    Ok(answer::json(StatusCode::CREATED, &shown))
}

pub(super) async fn remove(operations: &Operations, who: Arc<str>, subject: &str) -> Result<Answer, Refused> {
    let detail = "The path ends in no subject: percent-encode it as UTF-8.";
    let subject = decoded(subject).ok_or_else(|| Refused::new(StatusCode::BAD_REQUEST, detail))?;
    if operations.unban(who, subject).await.map_err(|error| not_changed(&error))? {
        return Ok(answer::no_content());
    }
    Err(Refused::new(StatusCode::NOT_FOUND, "This subject is not banned."))
}
