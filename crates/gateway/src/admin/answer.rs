//! What the admin listener answers: pages, JSON, and refusals as RFC 9457 has them.
//!
//! Decides nothing. Every answer says that nobody may keep it or guess its type. Comes after everything else.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;

/// An answer, whole.
pub(super) type Answer = Response<Full<Bytes>>;

/// A request that is refused, and what its sender is told.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    /// A sentence or two: what is wrong, and what to do about it. Never what the request said.
    detail: Cow<'static, str>,
    fields: Vec<(HeaderName, HeaderValue)>,
    /// Each thing that is wrong, where that is a list.
    problems: Vec<String>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), fields: Vec::new(), problems: Vec::new() }
    }

    /// Says each thing that is wrong.
    pub(super) fn because(mut self, problems: Vec<String>) -> Self {
        self.problems = problems;
        self
    }

    /// A body or a query that says what cannot be done (RFC 9110 §15.5.21).
    pub(super) fn unprocessable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// Adds a field to the answer's head. A value that cannot stand there is left out.
    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.fields.push((name, value));
        }
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<Refused> for Answer {
    /// Its type is the status alone.
    fn from(Refused { status, detail, fields, problems }: Refused) -> Self {
        let title = status.canonical_reason().unwrap_or_default();
        let mut problem = serde_json::json!({
            "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail,
        });
        if !problems.is_empty() {
            // RFC 9457 §3.2: a member of our own.
            problem["problems"] = problems.into();
        }
        let mut answer = page(status, PROBLEM_JSON, problem.to_string());
        answer.headers_mut().extend(fields);
        answer
    }
}

/// An answer of this type.
pub(super) fn page(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let fields: [(HeaderName, &'static str); 3] = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fields {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, value: &Value) -> Answer {
    page(status, JSON, value.to_string())
}

/// Done, and there is nothing to say of it.
pub(super) fn no_content() -> Answer {
    let mut answer = page(StatusCode::NO_CONTENT, JSON, "");
    answer.headers_mut().remove(header::CONTENT_TYPE);
    answer
}

pub(super) const PLAIN_TEXT: &str = "text/plain; charset=utf-8";
pub(super) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
pub(super) const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";
