//! The dashboard: one page with its style and its script, compiled in. What it shows it asks the API for, with the token of whoever looks.
//!
//! The page holds nothing that is anybody's secret, so it is open. It may load nothing from elsewhere, run no script but its own, and stand in
//! no frame; the token is kept by the page alone, so that there is no cookie for another site to use.

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};

use super::answer::{self, Answer};

/// The page, or a part of it, at `path`.
pub(super) fn page(path: &str) -> Option<Answer> {
    let (content_type, body) = match path {
        "/" => ("text/html; charset=utf-8", include_str!("dashboard/page.html")),
        "/dashboard.css" => ("text/css; charset=utf-8", include_str!("dashboard/style.css")),
        "/dashboard.js" => ("text/javascript; charset=utf-8", include_str!("dashboard/script.js")),
        _ => return None,
    };
    let mut answer = answer::page(StatusCode::OK, content_type, body);
    for (name, value) in FIELDS {
        answer.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    Some(answer)
}

/// Where the pages are.
pub(super) const PATHS: [&str; 3] = ["/", "/dashboard.css", "/dashboard.js"];

const FIELDS: [(&str, &str); 4] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    ),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];
