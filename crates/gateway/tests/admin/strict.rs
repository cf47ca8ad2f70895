//! What is no request of this API: bodies, queries, methods, paths and sizes.

use serde_json::json;

use crate::{Gate, secret_of};

fn lines(more: &str) -> String {
    format!("Authorization: Bearer {}\r\n{more}", secret_of("all"))
}

#[tokio::test]
async fn a_body_is_strict_json_that_says_nothing_unknown() {
    let gate = Gate::start("").await;
    for (body, status) in [
        (r#"{"subject":"a"}"#, 201),
        (r#"{"subject":"a","subject":"b"}"#, 400),
        (r#"{"subject":"a",}"#, 400),
        (r#"{"subject":"a"} x"#, 400),
        ("", 400),
        (r#""subject""#, 422),
        ("[]", 422),
        ("{}", 422),
        (r#"{"subject":1}"#, 422),
        (r#"{"subject":"a","until":1}"#, 422),
        (r#"{"subject":""}"#, 422),
        (r#"{"subject":"a","token_id":"b"}"#, 422),
        (r#"{"everyone":false}"#, 422),
        (r#"{"everyone":"true"}"#, 422),
        (r#"{"token_id":"a","issued_until":1}"#, 422),
        (r#"{"subject":"a","issued_until":"yesterday"}"#, 422),
        (r#"{"subject":"a","issued_until":-1}"#, 422),
        (r#"{"subject":"a","issued_until":99999999999999}"#, 422),
    ] {
        let head = lines(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        let answer = gate.send("POST", "/v1/revocations", &head, body.as_bytes()).await;
        if status == 201 { drop(answer.expect(201)) } else { drop(answer.refused(status)) }
    }
    let long = json!({ "subject": "a".repeat(257) });
    gate.post("/v1/revocations", &long).await.refused(422);
    for body in [
        json!({ "subject": "a", "seconds": 0 }),
        json!({ "subject": "a", "seconds": 1.5 }),
        json!({ "seconds": 1 }),
    ] {
        gate.post("/v1/bans", &body).await.refused(422);
    }
    for body in [
        json!({ "network": "192.0.2.1/24" }),
        json!({ "network": "192.0.2" }),
        json!({ "network": "" }),
        json!({ "network": 1 }),
        json!({ "network": "192.0.2.1", "seconds": 0 }),
        json!({ "network": "192.0.2.1", "seconds": 315_360_001 }),
        json!({ "network": "192.0.2.1", "reason": 1 }),
        json!({ "network": "192.0.2.1", "reason": "x".repeat(257) }),
        json!({ "network": "192.0.2.1", "subject": "a" }),
        json!({ "reason": "x" }),
    ] {
        gate.post("/v1/address-bans", &body).await.refused(422);
    }
    let kept = gate.get("/v1/address-bans").await.expect(200);
    assert_eq!(kept, json!({ "address_bans": [], "next": null }));
    let not_utf8 = lines("Content-Type: application/json\r\nContent-Length: 2\r\n");
    gate.send("POST", "/v1/bans", &not_utf8, b"\"\xff").await.refused(400);
    let kept = gate.get("/v1/revocations").await.expect(200);
    assert_eq!(kept["revocations"].as_array().map(Vec::len), Some(1), "{kept}");
}

#[tokio::test]
async fn a_body_says_that_it_is_json_and_has_at_most_64_kib() {
    let gate = Gate::start("").await;
    let body = br#"{"subject":"a"}"#;
    for (kind, status) in [
        ("Content-Type: application/json\r\n", 201),
        ("Content-Type: Application/JSON; charset=utf-8\r\n", 201),
        ("", 415),
        ("Content-Type: text/plain\r\n", 415),
        ("Content-Type: application/x-www-form-urlencoded\r\n", 415),
        ("Content-Type: application/jsonp\r\n", 415),
        ("Content-Type: application/json\r\nContent-Type: text/plain\r\n", 415),
        ("Content-Type: application/json\r\nContent-Encoding: gzip\r\n", 415),
    ] {
        let head = lines(&format!("{kind}Content-Length: {}\r\n", body.len()));
        assert_eq!(gate.send("POST", "/v1/bans", &head, body).await.status, status, "{kind}");
    }
    let padded = |bytes: usize| format!("{{\"subject\":\"a\"{}}}", " ".repeat(bytes - 15));
    for (bytes, status) in [(64 * 1024, 201), (64 * 1024 + 1, 413)] {
        let body = padded(bytes);
        let head = lines(&format!("Content-Type: application/json\r\nContent-Length: {bytes}\r\n"));
        assert_eq!(gate.send("POST", "/v1/bans", &head, body.as_bytes()).await.status, status, "{bytes}");
    }
    // One that does not say how long it is, is counted while it comes.
    let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", 64 * 1024 + 1, padded(64 * 1024 + 1));
    let head = lines("Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n");
    gate.send("POST", "/v1/bans", &head, chunk.as_bytes()).await.refused(413);
}

#[tokio::test]
async fn unknown_paths_methods_and_parameters_are_told_what_there_is() {
    let gate = Gate::start("").await;
    for path in ["/v1", "/v1/", "/v1/session", "/v1/sessions/", "/v2/sessions", "/v1/bans/a/b", "/metrics/"] {
        gate.get(path).await.refused(404);
    }
    for (method, path, allow) in [
        ("PUT", "/v1/sessions", "GET, HEAD, DELETE"),
        ("PATCH", "/v1/sessions/a", "GET, HEAD, DELETE"),
        ("OPTIONS", "/v1/bans", "GET, HEAD, POST"),
        ("GET", "/v1/tickets", "POST"),
        ("POST", "/v1/openapi.json", "GET, HEAD"),
    ] {
        let answer = gate.ask("all", method, path, None).await;
        answer.refused(405);
        assert!(answer.head.contains(&format!("allow: {allow}\r\n")), "{answer:?}");
    }
    for query in
        ["limit=0", "limit=1001", "limit=x", "after=x", "sort=age", "subject=a&subject=b", "limit=1&limit=1"]
    {
        gate.get(&format!("/v1/sessions?{query}")).await.refused(422);
    }
    gate.get("/v1/revocations?after=x").await.refused(422);
    gate.get("/v1/address-bans?after=x").await.refused(422);
    gate.delete("/v1/address-bans/192.0.2.0/24").await.refused(404);
    gate.get("/v1/sessions?subject=%ff").await.refused(400);
    gate.get("/v1/sessions/0123?x=1").await.refused(422);
    gate.get("/v1/sessions?limit=1000&after=0").await.expect(200);
    let head = gate.ask("all", "HEAD", "/v1/sessions", None).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}
