//! What a request says beside its path: the parameters of its query, and the members of its JSON body.
//!
//! Strict: one spelling, nothing twice, nothing unknown, nothing beyond its bound. What is refused is named by its own
//! name, never by what was sent. Comes after the token has been checked, so that strangers' bodies are not read.

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::Body;
use hyper::header::{self, HeaderMap};
use serde_json::{Map, Value};

use super::answer::Refused;
use crate::json;

/// The members of a body or the parameters of a query, each to be taken once; what nobody takes is refused.
#[derive(Debug)]
pub(super) struct Members {
    members: Map<String, Value>,
    /// Whether it is a query, in which everything is text.
    is_query: bool,
    known: Vec<&'static str>,
}

impl Members {
    /// Reads a body, which must be one JSON object.
    pub(super) async fn of_body<B>(headers: &HeaderMap, body: B) -> Result<Self, Refused>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        check_type(headers)?;
        let bytes = match Limited::new(body, BODY_BYTES_MAX).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                let detail = "The body has more than 64 KiB, the most that is read.";
                return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
            }
            Err(_) => return Err(Refused::new(StatusCode::BAD_REQUEST, "The body ends too early.")),
        };
        let text = str::from_utf8(&bytes)
            .map_err(|_| Refused::new(StatusCode::BAD_REQUEST, "The body is not UTF-8."))?;
        let value = json::parse(text).map_err(|fault| {
            Refused::new(StatusCode::BAD_REQUEST, format!("The body is not strict JSON: {fault}."))
        })?;
        match value {
            Value::Object(members) => Ok(Self { members, is_query: false, known: Vec::new() }),
            _ => Err(Refused::unprocessable("The body must be a JSON object.")),
        }
    }

    /// Reads a query, `NAME=VALUE` with `&` between (WHATWG URL §5.1).
    pub(super) fn of_query(query: Option<&str>) -> Result<Self, Refused> {
        let mut members = Map::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let [name, value] = [name, value].map(|part| decoded(&part.replace('+', " ")));
            let (Some(name), Some(value)) = (name, value) else {
                return Err(Refused::new(StatusCode::BAD_REQUEST, "The query is not percent-encoded UTF-8."));
            };
            if members.insert(name, Value::String(value)).is_some() {
                return Err(Refused::unprocessable("The query names one parameter twice."));
            }
        }
        Ok(Self { members, is_query: true, known: Vec::new() })
    }

    /// The value of `name`, if it is there.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.members.remove(name)
    }

    /// The string that `name` has, if it is there.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, Refused> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refused::unprocessable(format!("{name} must be a string."))),
        }
    }

    /// The string that `name` has, which must be there.
    pub(super) fn required_text(&mut self, name: &'static str) -> Result<String, Refused> {
        self.text(name)?.ok_or_else(|| Refused::unprocessable(format!("{name} is missing.")))
    }

    /// The whole number that `name` has, if it is there; at least 1.
    pub(super) fn count(&mut self, name: &'static str) -> Result<Option<u64>, Refused> {
        let count = match self.take(name) {
            None => return Ok(None),
            Some(Value::String(digits))
                if self.is_query && digits.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                digits.parse().ok()
            }
            Some(value) => value.as_u64(),
        };
        match count {
            Some(count @ 1..) => Ok(Some(count)),
            Some(0) | None => {
                Err(Refused::unprocessable(format!("{name} must be a whole number of at least 1.")))
            }
        }
    }

    /// Refuses what nobody has taken.
    pub(super) fn finish(self) -> Result<(), Refused> {
        if self.members.is_empty() {
            return Ok(());
        }
        let known = if self.known.is_empty() { "none".to_owned() } else { self.known.join(", ") };
        Err(Refused::unprocessable(format!("There is a name that is not known here; known are: {known}.")))
    }
}

/// RFC 8259 §11: JSON has no parameters that change what it says. Compressed bodies are not taken.
fn check_type(headers: &HeaderMap) -> Result<(), Refused> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let essence = match (types.next(), types.next()) {
        (Some(value), None) => value.to_str().ok().and_then(|value| value.split(';').next()),
        (_, _) => None,
    };
    let is_json = essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"));
    if !is_json || headers.contains_key(header::CONTENT_ENCODING) {
        let detail = "The body must be JSON, and say so: `Content-Type: application/json`.";
        return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    Ok(())
}

/// `text` without percent encoding (RFC 3986 §2.1), where that is UTF-8.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_first_chunk::<2>()?;
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(digits[0])? << 4 | digit(digits[1])?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// The most bytes of a body: many times what any request needs.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_percent_encoded_is_read_in_one_way() {
        for (text, plain) in [
            ("alice", Some("alice")),
            ("a%2Fb%20%C3%BC", Some("a/b ü")),
            ("a+b", Some("a+b")),
            ("", Some("")),
        ] {
            assert_eq!(decoded(text).as_deref(), plain);
        }
        for text in ["%", "%2", "%zz", "%+1", "%ff"] {
            assert_eq!(decoded(text), None, "{text}");
        }
    }

    #[test]
    fn a_query_names_each_parameter_once_and_none_that_is_unknown() {
        let mut query = Members::of_query(Some("subject=a%20b+c&limit=5&")).unwrap();
        assert_eq!(query.text("subject").unwrap().as_deref(), Some("a b c"));
        assert_eq!(query.count("limit").unwrap(), Some(5));
        query.finish().unwrap();
        assert!(Members::of_query(Some("a=1&a=2")).is_err());
        assert!(Members::of_query(Some("a=%ff")).is_err());
        let mut query = Members::of_query(Some("a=1&limit=0")).unwrap();
        assert!(query.count("limit").is_err());
        assert_eq!(query.finish().unwrap_err().status(), StatusCode::UNPROCESSABLE_ENTITY);
        for limit in ["", "+1", "-1", "1.5", "99999999999999999999"] {
            assert!(Members::of_query(Some(&format!("limit={limit}"))).unwrap().count("limit").is_err());
        }
    }
}
