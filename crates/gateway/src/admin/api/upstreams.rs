//! `/v1/upstreams`: how the applications behind the gate stand.

use hyper::StatusCode;
use serde_json::json;

use super::super::answer::{self, Answer};
use super::super::operations::Operations;

pub(super) fn list(operations: &Operations) -> Answer {
    answer::json(StatusCode::OK, &json!({ "upstreams": operations.upstreams() }))
}
