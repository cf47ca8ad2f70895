//! The description of the API holds: each operation answers, with each status that it names, what it says.

use serde_json::{Value, json};

use crate::{Answer, Gate, UPSTREAM, secret_of};

#[tokio::test]
async fn every_operation_answers_as_the_description_says() {
    let gate = Gate::start("").await;
    let served = gate.send("GET", "/v1/openapi.json", "", b"").await.expect(200);
    let document: Value = serde_json::from_str(drawgate::admin::DESCRIPTION).unwrap();
    assert_eq!(served, document);
    assert_eq!(document["openapi"], "3.1.0");
    let mut count = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_uppercase();
            for (status, response) in operation["responses"].as_object().unwrap() {
                let response = resolved(&document, response);
                if status == "default" {
                    continue;
                }
                // Beyond ten failures there is another answer than 401.
                let other = if status == "401" { Some(Gate::start("").await) } else { None };
                let gate = other.as_ref().unwrap_or(&gate);
                let answer = provoke(gate, &method, path, operation, status).await;
                assert_eq!(answer.status.to_string(), *status, "{method} {path}: {answer:?}");
                holds(&document, response, &answer);
                count += 1;
            }
        }
    }
    assert!(count > 40, "{count} answers were looked at");
}

/// Asks so that the operation answers with `status`.
async fn provoke(gate: &Gate, method: &str, path: &str, operation: &Value, status: &str) -> Answer {
    // There is something to find, to end and to lift.
    let _session = gate.open("token", "alice", &json!({})).await;
    gate.post("/v1/bans", &json!({ "subject": "zoe" })).await.expect(201);
    gate.post("/v1/address-bans", &json!({ "network": "192.0.2.0/24" })).await.expect(201);
    gate.post("/v1/drains", &json!({ "upstream": UPSTREAM })).await.expect(201);
    let listed = gate.get("/v1/sessions?subject=alice").await.expect(200);
    let id = listed["sessions"][0]["id"].as_str().unwrap().to_owned();
    let named = |id: &str, subject: &str, network: &str| {
        let path = path.replace("{id}", id).replace("{subject}", subject).replace("{network}", network);
        // What is named beside the networks: an application that is drained, one that is not, and what is neither.
        let upstream = match network {
            "192.0.2.0%2F24" => UPSTREAM.replace('/', "%2F"),
            "%ff" => "%ff".to_owned(),
            _ => "ws:%2F%2F127.0.0.1:1".to_owned(),
        };
        path.replace("{upstream}", &upstream)
    };
    let mut target = named(&id, "zoe", "192.0.2.0%2F24");
    let mut body = match operation["operationId"].as_str().unwrap() {
        "revoke" => r#"{"token_id":"t1"}"#.to_owned(),
        "ban" => r#"{"subject":"carol","seconds":60}"#.to_owned(),
        "banAddress" => r#"{"network":"192.0.2.7","seconds":60,"reason":"flood"}"#.to_owned(),
        "drainUpstream" if status == "404" => r#"{"upstream":"ws://127.0.0.1:1"}"#.to_owned(),
        "drainUpstream" => format!("{{\"upstream\":\"{UPSTREAM}\"}}"),
        "issueTicket" => r#"{"subject":"carol","route":"token","session_seconds":60,"claims":{}}"#.to_owned(),
        _ => String::new(),
    };
    let scope = operation["security"][0]["token"][0].as_str().unwrap_or("read").to_owned();
    let (mut name, mut kind) = (Some("all"), "Content-Type: application/json\r\n");
    if operation["operationId"] == "endSessions" && matches!(status, "200" | "401" | "403") {
        target.push_str("?subject=alice");
    }
    match status {
        "200" | "201" | "204" => {}
        "401" => name = None,
        "403" => name = Some(if scope == "read" { "issuer" } else { "reader" }),
        "404" => target = named(&"0".repeat(32), "nobody", "192.0.2.9"),
        "400" if !body.is_empty() => body.push('}'),
        "400" if !path.contains("{id}") && path.contains('{') => target = named(&id, "%ff", "%ff"),
        "400" => target.push_str("?after=%ff"),
        "413" => body.push_str(&" ".repeat(64 * 1024)),
        "415" => kind = "",
        "422" if body.is_empty() => target.push_str("?limit=0"),
        "422" => r#"{"unknown":1}"#.clone_into(&mut body),
        other => panic!("{other} is provoked by nothing"),
    }
    let mut lines =
        name.map(|name| format!("Authorization: Bearer {}\r\n", secret_of(name))).unwrap_or_default();
    if !body.is_empty() {
        lines.push_str(&format!("{kind}Content-Length: {}\r\n", body.len()));
    }
    gate.send(method, &target, &lines, body.as_bytes()).await
}

/// The answer has the type, the fields and the members that `response` says.
fn holds(document: &Value, response: &Value, answer: &Answer) {
    for (field, header) in response["headers"].as_object().into_iter().flatten() {
        let is_there = answer.head.contains(&format!("\r\n{}: ", field.to_lowercase()));
        assert!(is_there || header["required"] != true, "no {field} in {answer:?}");
    }
    let Some(content) = response["content"].as_object() else {
        assert!(answer.body.is_empty(), "{answer:?}");
        return;
    };
    let (kind, content) = content.iter().next().unwrap();
    assert!(answer.head.contains(&format!("content-type: {kind}\r\n")), "no {kind} in {answer:?}");
    fits(document, &content["schema"], &answer.json());
}

/// `value` is what `schema` says, as far as this document's schemas say anything.
fn fits(document: &Value, schema: &Value, value: &Value) {
    let schema = resolved(document, schema);
    if let Some(constant) = schema.get("const") {
        assert_eq!(value, constant);
        return;
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds = &schema["type"];
    assert!(
        kinds == kind || kinds.as_array().is_some_and(|kinds| kinds.contains(&kind.into())),
        "{schema}: {value}"
    );
    if schema["format"] == "date-time" && !value.is_null() {
        assert!(drawgate::clock::UnixTime::from_rfc_3339(value.as_str().unwrap()).is_some(), "{value}");
    }
    for item in value.as_array().into_iter().flatten() {
        fits(document, &schema["items"], item);
    }
    let Some(members) = value.as_object() else { return };
    for required in schema["required"].as_array().into_iter().flatten() {
        assert!(members.contains_key(required.as_str().unwrap()), "no {required} in {value}");
    }
    for (name, member) in members {
        match schema["properties"].get(name) {
            Some(property) => fits(document, property, member),
            None => assert!(schema["additionalProperties"] != false, "{name} is not described: {value}"),
        }
    }
    if let Some(alternatives) = schema["oneOf"].as_array() {
        let count = alternatives
            .iter()
            .filter(|one| {
                one["required"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|name| value.get(name.as_str().unwrap()).is_some())
            })
            .count();
        assert_eq!(count, 1, "{value}");
    }
}

/// `value`, or what it refers to.
fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    match value["$ref"].as_str() {
        Some(reference) => {
            document.pointer(reference.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("{reference}"))
        }
        None => value,
    }
}
