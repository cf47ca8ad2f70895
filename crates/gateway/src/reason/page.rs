//! docs/errors.md, written from the table.

use std::fmt::Write as _;

use super::{Fault, Reason, Retry, Row};

/// The whole of docs/errors.md.
#[must_use]
pub fn errors_page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for reason in Reason::ALL {
        entry(&mut page, reason.row());
    }
    page
}

/// Writing to a string cannot fail, so the results are not looked at.
fn entry(page: &mut String, row: &Row) {
    let Row { label, title, sentence, explanation, .. } = row;
    let _ = write!(page, "\n## {label}\n\n**{title}**: {sentence}.\n\n");
    for line in explanation.lines() {
        let _ = writeln!(page, "{}", line.trim());
    }
    let _ = writeln!(page, "\n- Answer: {}", answer(row));
    let _ = writeln!(page, "- Whose doing: {}", fault(row.fault));
    let _ = writeln!(page, "- Try again: {}", retry(row.retry));
    let _ = writeln!(page, "- Log level: {}", row.level.label());
}

fn answer(row: &Row) -> String {
    match (row.status, row.close) {
        (Some(status), Some(close)) => format!("HTTP {status} before the `101`, close code {close} after it"),
        (Some(status), None) => format!("HTTP {status}"),
        (None, Some(close)) => format!("close code {close}"),
        (None, None) => "nothing of our own".to_owned(),
    }
}

const fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::Client => "the client's, or its network's",
        Fault::Upstream => "the upstream's",
        Fault::Operator => "the operator's",
        Fault::Gateway => "the gateway's",
        Fault::None => "nobody's",
    }
}

fn retry(retry: Retry) -> String {
    match retry {
        Retry::Never => "no, the same attempt fails again".to_owned(),
        Retry::AtOnce => "yes, with backoff".to_owned(),
        Retry::AfterSeconds(1) => "yes, after a second, with backoff".to_owned(),
        Retry::AfterSeconds(seconds) => format!("yes, after {seconds} seconds, with backoff"),
        Retry::WithNewCredential => "with another token".to_owned(),
    }
}

const INTRODUCTION: &str = "\
# Errors

<!-- Generated from the reason table; `UPDATE_DOCS=1 cargo test -p drawgate reason` rewrites it. -->

Every way in which a connection ends, one entry each. The heading is the label: it starts the reason in the Close frame
(`token_expired: the token has expired`), ends the `type` of a problem or notice, and is the `reason` of log records and
metrics. Labels never change their meaning.

- Before the `101` a refusal is an HTTP status with a body of type `application/problem+json` (RFC 9457): `type`, `title`,
  `status`, `detail`, and `retry`.
- After it the answer is a Close frame. A route with `notice = \"json\"` sends an object of the same shape as a text message
  before it, with `close_code` in place of `status`; `notice = \"text\"` sends the title. A notice is data on the wire
  like any other: only the close code is authoritative.
- `retry` is `never`, `at_once`, `after` (with `retry_after_seconds`, and the `Retry-After` header before the `101`), or
  `with_new_credential`. Where an answer has the status 503, each client is told another number of seconds, between the one below and twice that, so that not
  all of them come back together.
- The codes 1005 (a Close without a code) and 1006 (no Close at all) are in log records only; they never travel.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_page_is_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, errors_page()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        assert_eq!(written, errors_page(), "run it once with UPDATE_DOCS=1");
    }
}
