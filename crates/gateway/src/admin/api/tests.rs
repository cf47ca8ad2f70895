//! The table of the API: what is found in it, and what is said of the rest.

use super::*;

#[test]
fn paths_and_methods_lead_to_one_entry() {
    let found = |method, path| find(&method, path).map(|(entry, segment)| (entry.path, segment)).ok();
    assert_eq!(found(Method::GET, "/v1/sessions"), Some(("/v1/sessions", "")));
    assert_eq!(found(Method::HEAD, "/v1/sessions"), Some(("/v1/sessions", "")));
    assert_eq!(found(Method::DELETE, "/v1/sessions/a1"), Some(("/v1/sessions/{id}", "a1")));
    assert_eq!(found(Method::DELETE, "/v1/bans/a%2Fb"), Some(("/v1/bans/{subject}", "a%2Fb")));
    for path in
        ["/", "/v1", "/v1/sessions/", "/v1/sessions/a/b", "/v1/sessions/{id}/", "/V1/sessions", "/v1/bans/"]
    {
        let refused = find(&Method::DELETE, path).unwrap_err();
        let expected = if path == "/v1/sessions/{id}/" { StatusCode::NOT_FOUND } else { refused.status() };
        assert_eq!(refused.status(), expected, "{path}");
        assert_eq!(refused.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[test]
fn a_method_that_a_path_does_not_take_is_told_those_that_it_does() {
    for (method, path, allow) in [
        (Method::PUT, "/v1/sessions", "GET, HEAD"),
        (Method::POST, "/v1/sessions/a1", "GET, HEAD, DELETE"),
        (Method::DELETE, "/v1/bans", "GET, HEAD, POST"),
        (Method::GET, "/v1/tickets", "POST"),
    ] {
        let answer = Answer::from(find(&method, path).unwrap_err());
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers()[header::ALLOW], allow, "{method} {path}");
    }
}
