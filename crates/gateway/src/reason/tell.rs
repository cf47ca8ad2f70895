//! What a client is told: texts made from a row and nothing else.
//!
//! Comes after a stage has returned its reason; whoever answers the client sends these. The words of the table need no
//! escaping in JSON, which a test of the table holds it to.

use std::fmt::Write as _;

use super::Reason;

impl Reason {
    /// The reason in our Close frame: `label: sentence`, at most 123 bytes.
    #[must_use]
    pub const fn close_reason(self) -> &'static str {
        self.row().close_reason
    }

    /// The body of a refusal before the `101`, as `application/problem+json` (RFC 9457 §3).
    #[must_use]
    pub fn problem_json(self) -> String {
        self.problem_json_after(self.row().retry.after_seconds())
    }

    /// The same for a client that is to wait for so many seconds: see [`Row::retry_after_seconds`](super::Row::retry_after_seconds).
    #[must_use]
    pub fn problem_json_after(self, seconds: Option<u32>) -> String {
        self.json("status", self.row().status, seconds)
    }

    /// The text message that tells a client by `notice = "json"`: the problem's shape, with the close code instead of a
    /// status.
    #[must_use]
    pub fn notice_json(self) -> String {
        self.notice_json_after(self.row().retry.after_seconds())
    }

    /// The same for a client that is to wait for so many seconds: see [`Row::retry_after_seconds`](super::Row::retry_after_seconds).
    #[must_use]
    pub fn notice_json_after(self, seconds: Option<u32>) -> String {
        self.json("close_code", self.row().close.map(drawgate_protocol::CloseCode::get), seconds)
    }

    /// The text message that tells a client by `notice = "json"` of a message that was refused: where in it, if that can be said, and
    /// no more of it. `closes` says whether a Close follows.
    #[must_use]
    pub fn refusal_json(self, at: &At<'_>, closes: bool) -> String {
        let mut json = if closes {
            self.notice_json()
        } else {
            self.json("close_code", None, self.row().retry.after_seconds())
        };
        json.pop();
        // Writing to a string cannot fail.
        if let Some(pointer) = at.pointer {
            let _ = write!(json, r#","pointer":{}"#, serde_json::Value::from(pointer));
        }
        if let Some(keyword) = at.keyword {
            let _ = write!(json, r#","keyword":{}"#, serde_json::Value::from(keyword));
        }
        if let Some(rule) = at.rule {
            let _ = write!(json, r#","rule":{}"#, serde_json::Value::from(rule));
        }
        if let Some(offset_bytes) = at.offset_bytes {
            let _ = write!(json, r#","offset_bytes":{offset_bytes}"#);
        }
        json.push('}');
        json
    }

    fn json(self, code_name: &str, code: Option<u16>, retry_after_seconds: Option<u32>) -> String {
        let row = self.row();
        let mut json = format!(
            r#"{{"type":"{}","title":"{}","detail":"{}","retry":"{}""#,
            row.type_uri,
            row.title,
            row.sentence,
            row.retry.label(),
        );
        // Writing to a string cannot fail.
        if let Some(seconds) = retry_after_seconds {
            let _ = write!(json, r#","retry_after_seconds":{seconds}"#);
        }
        if let Some(code) = code {
            let _ = write!(json, r#","{code_name}":{code}"#);
        }
        json.push('}');
        json
    }
}

/// The place in a message that was refused, in words that are not the message's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At<'a> {
    /// A JSON pointer (RFC 6901).
    pub pointer: Option<&'a str>,
    /// The keyword of the schema that was not met.
    pub keyword: Option<&'a str>,
    /// The operator's rule that holds on it, by its name.
    pub rule: Option<&'a str>,
    /// How far it could be read.
    pub offset_bytes: Option<usize>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_problem_is_the_object_of_rfc_9457() {
        let problem: Value = serde_json::from_str(&Reason::ServerFull.problem_json()).unwrap();
        let expected = json!({
            "type": "https://github.com/drawgate/drawgate/blob/main/docs/errors.md#server_full",
            "title": "Server Full",
            "status": 503,
            "detail": "the server has no room for more connections",
            "retry": "after",
            "retry_after_seconds": 10,
        });
        assert_eq!(problem, expected);
    }

    #[test]
    fn a_notice_carries_the_close_code() {
        let notice: Value = serde_json::from_str(&Reason::TokenExpired.notice_json()).unwrap();
        let expected = json!({
            "type": "https://github.com/drawgate/drawgate/blob/main/docs/errors.md#token_expired",
            "title": "Token Expired",
            "close_code": 3000,
            "detail": "the token has expired",
            "retry": "with_new_credential",
        });
        assert_eq!(notice, expected);
    }

    #[test]
    fn a_refused_message_is_told_by_its_place() {
        let at = At {
            pointer: Some("/a\"/0"),
            keyword: Some("type"),
            rule: Some("no \"a\""),
            offset_bytes: Some(7),
        };
        let refused: Value = serde_json::from_str(&Reason::MessageNotJson.refusal_json(&at, false)).unwrap();
        assert_eq!(
            (&refused["pointer"], &refused["keyword"], &refused["rule"], &refused["offset_bytes"]),
            (&json!("/a\"/0"), &json!("type"), &json!("no \"a\""), &json!(7))
        );
        assert_eq!(refused.get("close_code"), None, "the connection goes on");
        let closing = Reason::MessageNotJson.refusal_json(&At::default(), true);
        assert_eq!(closing, Reason::MessageNotJson.notice_json());
    }

    #[test]
    fn every_row_tells_valid_json_whose_type_ends_in_the_label() {
        for reason in Reason::ALL {
            for text in [reason.problem_json(), reason.notice_json()] {
                let value: Value = serde_json::from_str(&text).unwrap();
                assert!(value["type"].as_str().unwrap().ends_with(&format!("#{}", reason.row().label)));
            }
        }
    }
}
