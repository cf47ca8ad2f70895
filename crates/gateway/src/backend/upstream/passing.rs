//! What goes on to an application beside the messages, and what of its answer goes back: the settings of one backend.
//!
//! Names of headers are judged here, once; `request.rs` and `answer.rs` do what these settings say.

use std::str::FromStr;

/// What is passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passing {
    /// The `Host` that the application is asked for.
    pub host: HostSent,
    /// The `Origin` that it is told.
    pub origin: OriginSent,
    /// The cookies that go on, of the request and of the answer.
    pub cookies: Cookies,
    /// The headers in which it is told who speaks.
    pub identity: Identity,
    /// Headers of its answer that go on to the client, beside the subprotocol and `Set-Cookie`.
    pub answer_headers: Vec<HeaderName>,
}

/// The `Host` that an application is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostSent {
    /// The client's.
    #[default]
    Client,
    /// That of the application's own address.
    Address,
    /// This one.
    Set(String),
}

/// The `Origin` that an application is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OriginSent {
    /// The client's, if it names one.
    #[default]
    Client,
    /// None.
    Nothing,
    /// This one, whatever the client's.
    Set(String),
}

/// The cookies that go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cookies {
    /// All but a credential.
    #[default]
    All,
    /// None.
    Nothing,
    /// Those of these names; a credential among them does not go on either.
    Named(Vec<String>),
}

/// The headers in which an application is told who speaks. No client can send one of these names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The one of the subject.
    pub subject: HeaderName,
    /// The one of the session.
    pub session: HeaderName,
    /// Those of claims: the header, and the claim's name.
    pub claims: Vec<(HeaderName, String)>,
}

/// The name of a header that a configuration may speak of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderName(String);

/// Why a name is none that may be spoken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderNameError {
    /// It is not made of letters, digits and hyphens.
    #[error("is no name of a header")]
    Malformed,
    /// It is said by the request or the answer itself, or has a setting of its own.
    #[error("is a header that has its own rules")]
    Reserved,
}

impl Cookies {
    /// Whether the cookie in `pair`, `name=value` and perhaps attributes, goes on.
    pub(super) fn pass(&self, pair: &[u8]) -> bool {
        let name = pair.split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default().trim_ascii();
        match self {
            Self::All => true,
            Self::Nothing => false,
            // RFC 6265 §5.4: names of cookies have a case.
            Self::Named(names) => names.iter().any(|named| named.as_bytes() == name),
        }
    }
}

impl Identity {
    /// Whether `name` is one of them.
    pub(super) fn names(&self, name: &str) -> bool {
        let claims = self.claims.iter().map(|(name, _)| name);
        [&self.subject, &self.session].into_iter().chain(claims).any(|ours| ours.is(name))
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            subject: HeaderName(SUBJECT_HEADER.to_owned()),
            session: HeaderName(SESSION_HEADER.to_owned()),
            claims: Vec::new(),
        }
    }
}

impl HeaderName {
    /// The name, as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is this one, in any case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name)
    }
}

impl FromStr for HeaderName {
    type Err = HeaderNameError;

    fn from_str(text: &str) -> Result<Self, HeaderNameError> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_plain || !(1..=NAME_BYTES_MAX).contains(&text.len()) {
            return Err(HeaderNameError::Malformed);
        }
        let begins = |prefix: &&str| {
            text.get(..prefix.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(prefix))
        };
        let is_reserved = RESERVED.iter().any(|name| name.eq_ignore_ascii_case(text))
            || RESERVED_PREFIXES.iter().any(begins);
        if is_reserved { Err(HeaderNameError::Reserved) } else { Ok(Self(text.to_owned())) }
    }
}

/// What an application finds the subject in, unless it is told otherwise.
const SUBJECT_HEADER: &str = "X-Drawgate-Subject";
/// The same for the session.
const SESSION_HEADER: &str = "X-Drawgate-Session";

/// Longer than any name that is in use.
const NAME_BYTES_MAX: usize = 64;

/// Headers of the hop and of the handshake, those that frame a body, and those that have a setting or a rule of their own.
const RESERVED: &[&str] = &[
    "Connection",
    "Keep-Alive",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "HTTP2-Settings",
    "Content-Length",
    "Content-Encoding",
    "Content-Type",
    "Host",
    "Origin",
    "Authorization",
    "Cookie",
    "Set-Cookie",
    "Forwarded",
    "Traceparent",
    "Tracestate",
];

const RESERVED_PREFIXES: &[&str] = &["Sec-", "Proxy-", "X-Forwarded-"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_headers_are_plain_and_nobody_elses() {
        for (text, expected) in [
            ("X-User-Id", None),
            ("Remote-User", None),
            ("", Some(HeaderNameError::Malformed)),
            ("X_User", Some(HeaderNameError::Malformed)),
            ("X-User\r\nA", Some(HeaderNameError::Malformed)),
            ("X-\u{dc}ser", Some(HeaderNameError::Malformed)),
            (&"a".repeat(65), Some(HeaderNameError::Malformed)),
            ("host", Some(HeaderNameError::Reserved)),
            ("SET-COOKIE", Some(HeaderNameError::Reserved)),
            ("sec-websocket-key", Some(HeaderNameError::Reserved)),
            ("x-forwarded-for", Some(HeaderNameError::Reserved)),
            ("traceparent", Some(HeaderNameError::Reserved)),
        ] {
            assert_eq!(text.parse::<HeaderName>().err(), expected, "{text}");
        }
    }

    #[test]
    fn cookies_go_on_by_their_whole_names() {
        let named = Cookies::Named(vec!["theme".to_owned()]);
        for (pair, passes) in [
            ("theme=dark", true),
            ("theme", true),
            (" theme =x; Path=/", true),
            ("themes=x", false),
            ("Theme=x", false),
            ("a=theme", false),
        ] {
            assert_eq!(named.pass(pair.as_bytes()), passes, "{pair}");
        }
        assert!(Cookies::All.pass(b"a=b") && !Cookies::Nothing.pass(b"a=b"));
    }
}
