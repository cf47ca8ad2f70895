//! `/v1/drains`: applications to which nobody is sent any more.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::json;

use super::super::answer::{self, Answer, Refused};
use super::super::body::{Members, decoded};
use super::super::operations::Operations;
use crate::url::UpstreamUrl;

pub(super) fn add(operations: &Operations, who: &Arc<str>, mut body: Members) -> Result<Answer, Refused> {
    let upstream = body.required_text("upstream")?;
    body.finish()?;
    let url = upstream
        .parse::<UpstreamUrl>()
        .map_err(|fault| Refused::unprocessable(format!("upstream must be {UPSTREAM}: it {fault}.")))?;
    let Some(connections) = operations.drain(who, &url) else {
        let detail = "No route leads to this application; GET /v1/upstreams lists those that there are.";
        return Err(Refused::new(StatusCode::NOT_FOUND, detail));
    };
    let drain = json!({ "upstream": url.to_string(), "connections": connections });
    Ok(answer::json(StatusCode::CREATED, &drain))
}

pub(super) fn remove(operations: &Operations, who: &Arc<str>, upstream: &str) -> Result<Answer, Refused> {
    let upstream = decoded(upstream).ok_or("is not percent-encoded UTF-8".to_owned());
    let read = |upstream: String| upstream.parse::<UpstreamUrl>().map_err(|fault| fault.to_string());
    let url = upstream.and_then(read).map_err(|fault| {
        let detail = format!("The path must end in {UPSTREAM}, percent-encoded (/ is %2F): it {fault}.");
        Refused::new(StatusCode::BAD_REQUEST, detail)
    })?;
    if operations.resume(who, &url) {
        return Ok(answer::no_content());
    }
    Err(Refused::new(StatusCode::NOT_FOUND, "This application is not drained."))
}

const UPSTREAM: &str = "an address as in urls, such as ws://127.0.0.1:9000";
