//! One request to the admin listener, and what its answer means.
//!
//! Comes after the listener and its token have been found. What a gateway says of a refusal is shown as it stands, made
//! harmless for terminals.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use drawgate::secret::Secret;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::Failure;
use crate::connect::{Socket, Url, reach};
use crate::token::shown;

/// An admin listener, and what opens it.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) url: Url,
    /// Where the URL's host is reached, where that is known.
    pub(super) connect_to: Option<SocketAddr>,
    pub(super) token: Secret,
    /// Where the token comes from.
    pub(super) origin: String,
    /// Whose certificates are trusted, where that is not the system's to say.
    pub(super) authority: Option<PathBuf>,
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Request {
    method: Method,
    target: String,
    body: Option<Map<String, Value>>,
}

impl Request {
    pub(super) fn get(path: &str) -> Self {
        Self { method: Method::GET, target: path.to_owned(), body: None }
    }

    pub(super) fn post(path: &str, body: Map<String, Value>) -> Self {
        Self { method: Method::POST, target: path.to_owned(), body: Some(body) }
    }

    /// A post that says all by its path.
    pub(super) fn order(path: &str) -> Self {
        Self { method: Method::POST, target: path.to_owned(), body: None }
    }

    /// The one with this name at `path`.
    pub(super) fn delete(path: &str, name: &str) -> Self {
        Self { method: Method::DELETE, target: format!("{path}/{}", encoded(name)), body: None }
    }

    /// Adds those parameters that have a value.
    pub(super) fn with(mut self, parameters: &[(&str, Option<&str>)]) -> Self {
        let mut mark = '?';
        for (name, value) in parameters.iter().filter_map(|(name, value)| Some((name, (*value)?))) {
            self.target.push(mark);
            self.target.push_str(&format!("{name}={}", encoded(value)));
            mark = '&';
        }
        self
    }
}

impl Door {
    /// The answer, if it is none that refuses.
    pub(super) fn ask(&self, request: &Request) -> Result<Value, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure(format!("the client cannot be started: {error}")))?;
        runtime.block_on(async {
            let socket = reach(&self.url, self.connect_to, self.authority.as_deref()).await?;
            timeout(ANSWER_TIME_MAX, self.exchange(request, socket))
                .await
                .map_err(|_| Failure(format!("{} does not answer", self.url)))?
        })
    }

    async fn exchange(&self, request: &Request, socket: Socket) -> Result<Value, Failure> {
        let lost = |error: hyper::Error| {
            Failure(format!(
                "{} does not answer as an admin listener does ({error}): is it the address of [admin], and no other \
                 listener's?",
                self.url
            ))
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(lost)?;
        let mut exchange = pin!(async {
            let response = sender.send_request(self.message(request)?).await.map_err(lost)?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX)
                .collect()
                .await
                .map_err(|error| Failure(format!("{} does not finish its answer ({error})", self.url)))?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        });
        let response = tokio::select! {
            response = &mut exchange => response,
            // It has ended; what came before that is still to be read.
            _ = connection => exchange.await,
        }?;
        self.understand(&response)
    }

    fn message(&self, request: &Request) -> Result<hyper::Request<Full<Bytes>>, Failure> {
        let mut bearer = HeaderValue::from_bytes(&[b"Bearer ", self.token.expose()].concat())
            .map_err(|_| Failure(format!("the token of {} cannot stand in a request", self.origin)))?;
        bearer.set_sensitive(true);
        let body = request.body.clone().map(|body| Value::Object(body).to_string());
        let mut builder = hyper::Request::builder()
            .method(&request.method)
            .uri(&request.target)
            .header(header::HOST, self.url.authority())
            .header(header::AUTHORIZATION, bearer);
        if body.is_some() {
            builder = builder.header(header::CONTENT_TYPE, "application/json");
        }
        builder
            .body(Full::from(body.unwrap_or_default()))
            .map_err(|error| Failure(format!("the request cannot be sent: {error}")))
    }

    fn understand(&self, response: &Response<Bytes>) -> Result<Value, Failure> {
        let (status, body) = (response.status(), response.body());
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let value: Option<Value> = serde_json::from_slice(body).ok();
        match value {
            Some(value) if status.is_success() => Ok(value),
            Some(problem) if problem["detail"].is_string() => {
                let detail = problem["detail"].as_str().map(shown).unwrap_or_default();
                let problems = problem["problems"].as_array().into_iter().flatten();
                let lines = problems.filter_map(Value::as_str).flat_map(str::lines);
                let listed: String = lines.map(|line| format!("\n  {}", shown(line))).collect();
                Err(Failure(format!(
                    "{} refused with status {}: {detail}{listed}{}",
                    self.url,
                    status.as_u16(),
                    self.advice(status)
                )))
            }
            Some(_) | None => Err(Failure(format!(
                "{} answered with status {} and no answer of an admin listener: is it the address of [admin], and no \
                 other listener's?",
                self.url,
                status.as_u16()
            ))),
        }
    }

    /// What to do about a refusal that does not say so itself.
    fn advice(&self, status: StatusCode) -> String {
        let origin = &self.origin;
        match status {
            StatusCode::UNAUTHORIZED => format!(
                "\n  the token was that of {origin}; if it was made anew, start the gateway anew, or have it read its configuration again by SIGHUP"
            ),
            StatusCode::FORBIDDEN => format!("\n  the token was that of {origin}"),
            StatusCode::MISDIRECTED_REQUEST => {
                "\n  connect by the listener's own address, or add the name to admin.hosts".to_owned()
            }
            StatusCode::UPGRADE_REQUIRED => {
                "\n  clients connect there; is it the address of [admin], and no other listener's?".to_owned()
            }
            _ => String::new(),
        }
    }
}

/// `text` for a path's segment or a query's value (RFC 3986 §2).
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// A page of a thousand sessions is some 500 KiB.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_into_paths_and_queries_whole() {
        assert_eq!(Request::delete("/v1/bans", "a/b ü?").target, "/v1/bans/a%2Fb%20%C3%BC%3F");
        let parameters = [("subject", Some("a&b+c")), ("route", None), ("limit", Some("5"))];
        let request = Request::get("/v1/sessions").with(&parameters);
        assert_eq!(request.target, "/v1/sessions?subject=a%26b%2Bc&limit=5");
        assert_eq!(encoded("a.b-c_d~e"), "a.b-c_d~e");
    }
}
