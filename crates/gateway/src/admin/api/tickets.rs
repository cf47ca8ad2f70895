//! `/v1/tickets`: an application vouches for somebody, whose page shows the ticket once.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header;
use serde_json::{Map, Value, json};

use super::super::answer::{self, Answer, Refused};
use super::super::body::Members;
use super::super::operations::Operations;
use super::time;
use crate::ticket::{Grant, TICKET_TIME_MAX, TicketError};

pub(super) fn issue(operations: &Operations, who: &str, mut body: Members) -> Result<Answer, Refused> {
    let subject = body.required_text("subject")?;
    let route = body.required_text("route")?;
    let seconds = body.count("session_seconds")?;
    let claims = match body.take("claims") {
        None => Map::new(),
        Some(Value::Object(claims)) => claims,
        Some(_) => return Err(Refused::unprocessable("claims must be an object.")),
    };
    body.finish()?;
    let seconds = seconds.ok_or_else(|| Refused::unprocessable("session_seconds is missing."))?;
    let routes = operations.routes();
    let route = match routes.iter().find(|(name, _)| **name == *route) {
        Some((name, true)) => name,
        Some((_, false)) => {
            let detail = "The route takes no tickets: put \"ticket\" into the credentials of its auth.";
            return Err(Refused::unprocessable(detail));
        }
        None => {
            let detail = "There is no such route: each has a table [routes.NAME] in the configuration.";
            return Err(Refused::unprocessable(detail));
        }
    };
    let grant = Grant {
        subject: subject.into(),
        claims,
        route: route.clone(),
        session_time: Duration::from_secs(seconds),
    };
    let expires_at = operations.now().plus(TICKET_TIME_MAX);
    let ticket = operations.issue(who, grant).map_err(not_issued)?;
    Ok(answer::json(StatusCode::CREATED, &json!({ "ticket": ticket, "expires_at": time(Some(expires_at)) })))
}

fn not_issued(error: TicketError) -> Refused {
    let detail = format!("No ticket was issued: {error}.");
    match error {
        TicketError::SubjectRefused | TicketError::ClaimsTooLarge | TicketError::SessionTimeRefused => {
            Refused::unprocessable(detail)
        }
        TicketError::Full => {
            let seconds = TICKET_TIME_MAX.as_secs().to_string();
            Refused::new(StatusCode::SERVICE_UNAVAILABLE, detail).with(header::RETRY_AFTER, &seconds)
        }
    }
}
