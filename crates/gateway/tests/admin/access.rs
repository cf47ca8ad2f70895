//! Who may: tokens and their scopes, the listener's own name, other sites' pages.

use serde_json::json;

use crate::{Gate, TOKENS, raw_answer, secret_of};

/// Every method and path, what it needs, and a body where it takes one.
const ENTRIES: [(&str, &str, &str, &str); 16] = [
    ("GET", "/v1/sessions", "read", ""),
    ("GET", "/v1/sessions/0123", "read", ""),
    ("DELETE", "/v1/sessions/0123", "operate", ""),
    ("GET", "/v1/revocations", "read", ""),
    ("POST", "/v1/revocations", "operate", r#"{"token_id":"t1"}"#),
    ("GET", "/v1/bans", "read", ""),
    ("POST", "/v1/bans", "operate", r#"{"subject":"zoe"}"#),
    ("DELETE", "/v1/bans/zoe", "operate", ""),
    ("GET", "/v1/address-bans", "read", ""),
    ("POST", "/v1/address-bans", "operate", r#"{"network":"192.0.2.1"}"#),
    ("DELETE", "/v1/address-bans/192.0.2.1", "operate", ""),
    ("GET", "/v1/events", "read", ""),
    ("GET", "/v1/upstreams", "read", ""),
    ("POST", "/v1/drains", "operate", r#"{"upstream":"ws://127.0.0.1:9000"}"#),
    ("DELETE", "/v1/drains/ws:%2F%2F127.0.0.1:9000", "operate", ""),
    ("POST", "/v1/tickets", "tickets", r#"{"subject":"zoe","route":"token","session_seconds":60}"#),
];

#[tokio::test]
async fn r23_each_path_needs_a_token_with_its_scope() {
    let gate = Gate::start("").await;
    for (method, path, scope, body) in ENTRIES {
        for (name, scopes) in TOKENS {
            let body = (!body.is_empty()).then(|| serde_json::from_str(body).unwrap());
            let answer = gate.ask(name, method, path, body.as_ref()).await;
            if scopes.contains(scope) {
                assert!(matches!(answer.status, 200 | 201 | 204 | 404), "{method} {path} {name}: {answer:?}");
            } else {
                assert!(answer.refused(403).contains(&format!("\"{scope}\"")), "{answer:?}");
                let challenge = format!("error=\"insufficient_scope\", scope=\"{scope}\"");
                assert!(answer.head.contains("www-authenticate: Bearer "), "{answer:?}");
                assert!(answer.head.contains(&challenge), "{answer:?}");
            }
            gate.case.keeps_nothing_of(secret_of(name).as_bytes());
        }
    }
}

#[tokio::test]
async fn r23_without_a_good_token_nothing_is_told_and_nothing_changes() {
    let gate = Gate::start("").await;
    let good = secret_of("all");
    for line in [
        String::new(),
        format!("Authorization: Basic {good}\r\n"),
        format!("Authorization: Bearer {}\r\n", &good[1..]),
        format!("Authorization: Bearer {good}x\r\n"),
        format!("Authorization: Bearer {good}\r\nAuthorization: Bearer {good}\r\n"),
        format!("Cookie: token={good}\r\n"),
    ] {
        let answer = gate.send("DELETE", "/v1/bans/zoe", &line, b"").await;
        answer.refused(401);
        assert!(answer.head.contains("www-authenticate: Bearer realm="), "{answer:?}");
        assert!(!answer.body.contains(&good[..16]), "{answer:?}");
    }
    assert_eq!(gate.changes().len(), 0);
    let records = gate.case.records();
    let refused: Vec<_> =
        records.iter().filter(|record| record["message"] == "admin request refused").collect();
    assert_eq!(refused.len(), 6, "{records:?}");
    assert_eq!((&refused[0]["client"], &refused[0]["http_status"]), (&"127.0.0.1".into(), &401.into()));
    let by_query = gate.send("GET", &format!("/v1/sessions?access_token={good}"), "", b"").await;
    by_query.refused(401);
    // Beyond a few the answer is another, and a good token is taken all the same.
    let mut statuses = Vec::new();
    for _ in 0..10 {
        let answer = gate.send("GET", "/v1/sessions", "Authorization: Bearer guess\r\n", b"").await;
        assert_eq!(answer.status == 429, answer.head.contains("retry-after: "), "{answer:?}");
        statuses.push(answer.status);
    }
    assert!(statuses.contains(&401) && statuses.ends_with(&[429]), "{statuses:?}");
    gate.get("/v1/sessions").await.expect(200);
    gate.case.keeps_nothing_of(good.as_bytes());
}

#[tokio::test]
async fn health_readiness_and_the_description_are_open_and_metrics_are_on_loopback() {
    let gate = Gate::start("hosts = [\"admin.example.com\"]").await;
    for path in ["/healthz", "/readyz", "/metrics", "/v1/openapi.json"] {
        assert_eq!(gate.send("GET", path, "", b"").await.status, 200, "{path}");
    }
    // By a listed name a request may come from anywhere: whoever forwards it stands on this machine.
    let ask = async |path: &str, lines: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: admin.example.com\r\n{lines}\r\n");
        raw_answer(gate.admin, request.as_bytes()).await
    };
    assert_eq!(ask("/healthz", "").await.status, 200);
    ask("/metrics", "").await.refused(401);
    let as_name = |name: &str| format!("Authorization: Bearer {}\r\n", secret_of(name));
    ask("/metrics", &as_name("operator")).await.refused(403);
    assert_eq!(ask("/metrics", &as_name("reader")).await.status, 200);
    assert_eq!(ask("/v1/sessions", &as_name("reader")).await.status, 200);
}

#[tokio::test]
async fn r23_without_tokens_there_is_no_api() {
    let gate = Gate::start_with("").await;
    for (method, path, _, _) in ENTRIES {
        let detail = gate.send(method, path, "Authorization: Bearer x\r\n", b"").await.refused(404);
        assert!(detail.contains("configure admin.tokens"), "{detail}");
    }
    assert_eq!(gate.send("GET", "/metrics", "", b"").await.status, 200);
    gate.send("GET", "/", "", b"").await.refused(404);
}

#[tokio::test]
async fn r23_the_dashboard_is_a_page_without_data_that_runs_nothing_but_its_own() {
    let gate = Gate::start("").await;
    let _session = gate.open("token", "alice", &json!({})).await;
    for path in ["/", "/dashboard.css", "/dashboard.js"] {
        let answer = gate.send("GET", path, "", b"").await;
        assert_eq!(answer.status, 200, "{path}");
        for part in
            ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "nosniff", "no-referrer"]
        {
            assert!(answer.head.contains(part), "{path}: {}", answer.head);
        }
        assert!(!answer.body.contains("alice"), "{path}");
        gate.send("POST", path, "Content-Length: 0\r\n", b"").await.refused(405);
    }
    let foreign = gate.send("GET", "/", "Origin: https://evil.example\r\n", b"").await;
    foreign.refused(403);
}

#[tokio::test]
async fn what_goes_wrong_is_an_event_for_whoever_may_read() {
    let gate = Gate::start("").await;
    let (raw, head) = gate.show("token", "no-token-hunter2").await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    drop(raw);
    // The end is told once it has come.
    let refused = async || {
        loop {
            let told = gate.get("/v1/events").await.expect(200);
            if told["newest"] == 1 {
                break told;
            }
        }
    };
    let told = tokio::time::timeout(crate::support::PATIENCE, refused()).await.unwrap();
    let event = &told["events"][0];
    assert_eq!((&event["kind"], &event["reason"]), (&"refused".into(), &"token_invalid".into()), "{told}");
    gate.post("/v1/bans", &json!({ "subject": "zoe" })).await.expect(201);
    assert!(!told.to_string().contains("hunter2"));
    let newer = gate.get("/v1/events?after=1").await.expect(200);
    let [event] = newer["events"].as_array().unwrap().as_slice() else { panic!("{newer}") };
    assert_eq!(
        (&event["kind"], &event["reason"], &newer["newest"]),
        (&"operated".into(), &"ban".into(), &2.into())
    );
}

#[tokio::test]
async fn r23_a_page_of_another_site_gets_nothing_even_with_a_token() {
    let gate = Gate::start("").await;
    let _session = gate.open("token", "alice", &json!({})).await;
    let token = format!("Authorization: Bearer {}\r\n", secret_of("all"));
    let (admin, port) = (gate.admin, gate.admin.port());
    // DNS rebinding: a page reaches the address by a name of its own.
    for host in [format!("rebound.example:{port}"), "rebound.example".to_owned(), format!("127.0.0.2:{port}")]
    {
        let request = format!("GET /v1/sessions HTTP/1.1\r\nHost: {host}\r\n{token}\r\n");
        let answer = raw_answer(admin, request.as_bytes()).await;
        answer.refused(421);
        assert!(!answer.body.contains("alice"), "{answer:?}");
    }
    for origin in
        ["http://evil.example", "null", &format!("https://{admin}"), &format!("http://localhost:{port}")]
    {
        let answer = gate.send("GET", "/v1/sessions", &format!("{token}Origin: {origin}\r\n"), b"").await;
        answer.refused(403);
        assert!(!answer.head.contains("access-control-"), "{answer:?}");
    }
    // A browser asks first; nothing allows it to go on.
    let preflight = "Origin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n";
    gate.send("OPTIONS", "/v1/revocations", preflight, b"").await.refused(403);
    let own = format!("{token}Origin: http://{admin}\r\n");
    assert_eq!(gate.send("GET", "/v1/sessions", &own, b"").await.status, 200);
}
