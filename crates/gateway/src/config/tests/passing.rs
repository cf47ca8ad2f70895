//! What goes on to an application: `host`, `origin`, `cookies`, `answer_headers` and `identity` of a backend.

use super::*;
use crate::backend::upstream::{Cookies, HostSent, OriginSent, Passing};

fn before(settings: &str) -> Result<Config, Problems> {
    let backend = format!("backend = {{ urls = [\"ws://127.0.0.1:9000\"], {settings} }}");
    read_with_secret(&with_auth(AUTH).replace("backend = \"echo\"", &backend), SECRET)
}

fn passing(settings: &str) -> Passing {
    let config = before(settings).unwrap();
    let BackendConfig::Upstream(upstream) = &config.routes[0].backend else { panic!("{config:?}") };
    *upstream.passing.clone()
}

#[test]
fn what_goes_on_is_said_by_the_backend() {
    assert_eq!(passing("host = \"client\", origin = \"client\", cookies = \"all\""), Passing::default());
    let set = passing(
        "host = { set = \"app.internal:9000\" }, origin = { set = \"HTTPS://App.example:443\" }, \
         cookies = [\"theme\", \"lang\"], answer_headers = [\"X-Room\"], \
         identity = { subject = \"Remote-User\", session = \"X-Sitting\", claims = { X-Mail = \"email\" } }",
    );
    assert_eq!(set.host, HostSent::Set("app.internal:9000".to_owned()));
    assert_eq!(set.origin, OriginSent::Set("https://app.example".to_owned()));
    assert_eq!(set.cookies, Cookies::Named(vec!["theme".to_owned(), "lang".to_owned()]));
    assert!(set.answer_headers.len() == 1 && set.answer_headers[0].is("x-room"));
    let identity = &set.identity;
    assert_eq!((identity.subject.as_str(), identity.session.as_str()), ("Remote-User", "X-Sitting"));
    assert_eq!((identity.claims[0].0.as_str(), identity.claims[0].1.as_str()), ("X-Mail", "email"));
    let other = passing("host = \"address\", origin = \"none\", cookies = \"none\"");
    assert_eq!(
        (other.host, other.origin, other.cookies),
        (HostSent::Address, OriginSent::Nothing, Cookies::Nothing)
    );
}

#[test]
fn what_cannot_go_on_is_told() {
    for (settings, key) in [
        ("host = \"app.internal\"", "host"),
        ("host = { set = \"a b\" }", "host.set"),
        ("host = { set = \"a\\r\\nB: c\" }", "host.set"),
        ("host = { set = \"\" }", "host.set"),
        ("host = {}", "host.set"),
        ("host = { set = \"a\", x = 1 }", "host.x"),
        ("origin = \"https://app.example\"", "origin"),
        ("origin = { set = \"null\" }", "origin.set"),
        ("origin = { set = \"https://app.example/path\" }", "origin.set"),
        ("cookies = []", "cookies"),
        ("cookies = [\"a=b\"]", "cookies[0]"),
        ("cookies = [\"\"]", "cookies[0]"),
        ("cookies = [\"a\", \"a\"]", "cookies[1]"),
        ("answer_headers = [\"Set-Cookie\"]", "answer_headers[0]"),
        ("answer_headers = [\"Sec-WebSocket-Accept\"]", "answer_headers[0]"),
        ("answer_headers = [\"X_Room\"]", "answer_headers[0]"),
        ("identity = \"X-User\"", "identity"),
        ("identity = { subject = \"Host\" }", "identity.subject"),
        ("identity = { session = \"X-Drawgate-Subject\" }", "identity"),
        ("identity = { claims = { x-drawgate-subject = \"email\" } }", "identity"),
        ("identity = { claims = { X-A = \"a\", x-a = \"b\" } }", "identity"),
        ("identity = { claims = { Cookie = \"a\" } }", "identity.claims.Cookie"),
        ("identity = { claims = { X_A = \"a\" } }", "identity.claims.X_A"),
        ("identity = { claims = { X-A = \"\" } }", "identity.claims.X-A"),
        ("identity = { claims = { X-A = 1 } }", "identity.claims.X-A"),
        ("identity = { claim = {} }", "identity.claim"),
    ] {
        let problem = only(before(settings));
        assert_eq!(problem.key, format!("routes.chat.backend.{key}"), "{settings}: {problem}");
        assert!(!problem.advice.is_empty(), "{problem}");
    }
    assert_eq!(before("host = 1, origin = 1, cookies = 1, identity = { subject = 1 }").unwrap_err().len(), 4);
}
