//! `/v1/events`: the newest things that went wrong or that operators did.

use hyper::StatusCode;
use serde_json::json;

use super::super::answer::{self, Answer, Refused};
use super::super::body::Members;
use super::super::operations::Operations;

pub(super) fn list(operations: &Operations, mut query: Members) -> Result<Answer, Refused> {
    let after = query.count("after")?.unwrap_or(0);
    query.finish()?;
    let (events, newest) = operations.events_after(after);
    Ok(answer::json(StatusCode::OK, &json!({ "events": events, "newest": newest })))
}
