//! The configuration read again for an operator: what it answers, whom it lets in, and what is recorded.

use drawgate::reason::Reason;
use serde_json::json;

use crate::support::Case;
use crate::{Gate, echo, secret_of};

#[tokio::test]
async fn o01_a_bad_configuration_is_refused_with_every_problem_in_the_answer() {
    let gate = Gate::start("").await;
    gate.rewrite("drawgate.toml", |text| {
        text.replace("path = \"/other\"", "path = \"other\"").replace("leeway = \"5s\"", "leeway = \"5\"")
    });
    let answer = gate.ask("operator", "POST", "/v1/reload", None).await;
    assert!(answer.refused(422).contains("everything is as it was"), "{answer:?}");
    let problems = answer.json()["problems"].as_array().unwrap().clone();
    let has = |key: &str| problems.iter().any(|problem| problem.as_str().unwrap().contains(key));
    assert!(problems.len() == 3 && has("routes.other.path") && has("auth.users.leeway"), "{problems:?}");
    assert!(problems.iter().all(|problem| problem.as_str().unwrap().starts_with("line ")), "{problems:?}");
    gate.open("other", "alice", &json!({})).await;
    let log = gate.case.log_text();
    assert!(log.contains(r#""operator":"operator","action":"reload""#) && log.contains("not_done"), "{log}");
}

#[tokio::test]
async fn o03_tokens_routes_and_tickets_follow_the_configuration() {
    let gate = Gate::start("").await;
    assert_eq!(gate.ask("reader", "POST", "/v1/reload", None).await.status, 403);
    gate.rewrite("reader.token", |_| "another-token-of-this-test-2c51d6e0".to_owned());
    gate.rewrite("drawgate.toml", |text| {
        text.replace("/token\"\n", "/ticketed\"\n").replace("routes.token", "routes.ticketed")
    });
    let changed = gate.ask("all", "POST", "/v1/reload", None).await.expect(200);
    assert_eq!(
        (&changed["routes_added"], &changed["routes_removed"], &changed["routes_changed"]),
        (&json!(["ticketed"]), &json!(["token"]), &json!([]))
    );
    // The old token of the reader lets nobody in any more; those of the others are as before.
    assert_eq!(gate.ask("reader", "GET", "/v1/sessions", None).await.status, 401);
    let lines = "Authorization: Bearer another-token-of-this-test-2c51d6e0\r\n";
    gate.send("GET", "/v1/sessions", lines, b"").await.expect(200);
    let ticket = |route: &str| json!({ "subject": "alice", "route": route, "session_seconds": 60 });
    gate.ask("issuer", "POST", "/v1/tickets", Some(&ticket("ticketed"))).await.expect(201);
    gate.ask("issuer", "POST", "/v1/tickets", Some(&ticket("token"))).await.refused(422);
    assert!(!gate.case.log_text().contains(&secret_of("reader")));
}

#[tokio::test]
async fn a_server_that_was_made_of_no_file_says_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("all.token"), secret_of("all")).unwrap();
    let admin =
        "[admin]\naddress = \"127.0.0.1:0\"\ntokens.all = { file = \"all.token\", scopes = [\"operate\"] }\n";
    let config = drawgate::config::Config::from_toml(&echo("", admin), folder.path(), &|_| None).unwrap();
    let case = Case::start_with(drawgate::Server::from_config(config)).await;
    let gate = Gate { admin: case.admin.unwrap(), case, folder };
    let detail = gate.ask("all", "POST", "/v1/reload", None).await.refused(409);
    assert!(detail.contains("not made from a configuration file"), "{detail}");
    assert_eq!(gate.case.ends(Reason::InternalError), 0);
}
