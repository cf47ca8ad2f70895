//! The table of the API: what is found in it, and what is said of the rest.

use super::*;

#[test]
fn paths_and_methods_lead_to_one_entry() {
    let found = |method, path| find(&method, path).map(|(entry, segment)| (entry.path, segment)).ok();
    assert_eq!(found(Method::GET, "/v1/sessions"), Some(("/v1/sessions", "")));
    assert_eq!(found(Method::HEAD, "/v1/sessions"), Some(("/v1/sessions", "")));
    assert_eq!(found(Method::DELETE, "/v1/sessions/a1"), Some(("/v1/sessions/{id}", "a1")));
    assert_eq!(found(Method::DELETE, "/v1/bans/a%2Fb"), Some(("/v1/bans/{subject}", "a%2Fb")));
    assert_eq!(
        found(Method::DELETE, "/v1/address-bans/192.0.2.0%2F24"),
        Some(("/v1/address-bans/{network}", "192.0.2.0%2F24"))
    );
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
        (Method::PUT, "/v1/sessions", "GET, HEAD, DELETE"),
        (Method::POST, "/v1/sessions/a1", "GET, HEAD, DELETE"),
        (Method::DELETE, "/v1/bans", "GET, HEAD, POST"),
        (Method::GET, "/v1/tickets", "POST"),
    ] {
        let answer = Answer::from(find(&method, path).unwrap_err());
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers()[header::ALLOW], allow, "{method} {path}");
    }
}

#[test]
fn the_description_has_every_entry_with_its_scope_and_no_other() {
    let document: Value = serde_json::from_str(DESCRIPTION).unwrap();
    let mut described = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let scopes = operation["security"].as_array().unwrap().iter();
            let scopes: Vec<_> =
                scopes.map(|needed| needed["token"][0].as_str().unwrap().to_owned()).collect();
            described.push((path.clone(), method.to_uppercase(), scopes));
        }
    }
    let mut served: Vec<_> = ENTRIES
        .iter()
        .map(|entry| {
            let scopes = entry.scope.iter().map(ToString::to_string).collect();
            (entry.path.to_owned(), entry.method.to_string(), scopes)
        })
        .collect();
    described.sort();
    served.sort();
    assert_eq!(described, served);
}

#[test]
fn the_description_in_docs_is_the_one_that_is_served() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, DESCRIPTION).expect("docs/openapi.json can be written");
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == DESCRIPTION,
        "docs/openapi.json differs from admin/openapi.json; run: UPDATE_DOCS=1 cargo test -p drawgate description"
    );
}
