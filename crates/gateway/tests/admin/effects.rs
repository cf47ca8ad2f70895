//! What the API does to sessions that live, and to those that would begin.

use drawgate::clock::Clock;
use drawgate::reason::Reason;
use serde_json::{Value, json};

use crate::support::Raw;
use crate::{Gate, UPSTREAM, closed, lives, token};

#[tokio::test]
async fn sessions_are_listed_by_subject_and_route_a_page_at_a_time() {
    let gate = Gate::start("").await;
    let mut open = Vec::new();
    for (route, subject) in [("other", "alice"), ("token", "alice"), ("token", "bob"), ("other", "alice")] {
        open.push(gate.open(route, subject, &json!({ "jti": "j1" })).await);
    }
    let named = |page: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let sessions = page["sessions"].as_array().unwrap().iter();
        sessions.map(|session| (text(&session["subject"]), text(&session["route"]))).collect()
    };
    let pair = |subject: &str, route: &str| (subject.to_owned(), route.to_owned());
    let all = gate.get("/v1/sessions").await.expect(200);
    assert_eq!((named(&all).len(), &all["next"]), (4, &Value::Null));
    let session = &all["sessions"][0];
    assert_eq!((&session["token_id"], &session["client"]), (&"j1".into(), &"127.0.0.1".into()), "{session}");
    for name in ["started_at", "verified_at", "expires_at"] {
        assert!(session[name].as_str().is_some_and(|time| time.ends_with('Z')), "{session}");
    }
    let one = gate.get(&format!("/v1/sessions/{}", session["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(one, *session);
    // Those of one subject lie on two routes, and yet no page leaves one out.
    let (mut found, mut after) = (Vec::new(), String::new());
    for _ in 0..3 {
        let page = gate.get(&format!("/v1/sessions?subject=alice&limit=1{after}")).await.expect(200);
        found.extend(named(&page));
        after = page["next"].as_str().map(|next| format!("&after={next}")).unwrap_or_default();
    }
    assert_eq!((found.len(), after.as_str()), (3, ""), "{found:?}");
    assert_eq!(found.iter().filter(|found| **found == pair("alice", "other")).count(), 2);
    for (query, count) in
        [("route=token", 2), ("route=none", 0), ("subject=alice&route=other", 2), ("subject=carol", 0)]
    {
        let page = gate.get(&format!("/v1/sessions?{query}")).await.expect(200);
        assert_eq!(named(&page).len(), count, "{query}");
    }
}

#[tokio::test]
async fn an_operator_ends_one_session_and_no_other() {
    let gate = Gate::start("").await;
    let mut first = gate.open("token", "alice", &json!({})).await;
    let mut second = gate.open("token", "alice", &json!({})).await;
    let page = gate.get("/v1/sessions?subject=alice").await.expect(200);
    let id = page["sessions"][0]["id"].as_str().unwrap().to_owned();
    let answer = gate.ask("operator", "DELETE", &format!("/v1/sessions/{id}"), None).await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    closed(&mut first, Reason::SessionEnded).await;
    lives(&mut second).await;
    gate.delete(&format!("/v1/sessions/{id}")).await.refused(404);
    gate.get(&format!("/v1/sessions/{id}")).await.refused(404);
    gate.delete("/v1/sessions/nonsense").await.refused(404);
    let changes = gate.changes();
    assert_eq!(changes.len(), 2, "{changes:?}");
    let [done, not_done] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!((&done["operator"], &done["action"]), (&"operator".into(), &"end_session".into()));
    assert_eq!((&done["on"], &done["outcome"]), (&id.as_str().into(), &"done".into()), "{done}");
    assert_eq!(done["sessions_closed"], 1, "{done}");
    assert_eq!(
        (&not_done["operator"], &not_done["outcome"]),
        (&"all".into(), &"not_done".into()),
        "{not_done}"
    );
}

#[tokio::test]
async fn an_operator_ends_the_sessions_of_a_subject_and_its_tokens_stay_good() {
    let gate = Gate::start("").await;
    let mut here = gate.open("token", "alice", &json!({})).await;
    let mut there = gate.open("other", "alice", &json!({})).await;
    let mut bob = gate.open("token", "bob", &json!({})).await;
    let ended = |query: &str| format!("/v1/sessions?{query}");
    assert_eq!(gate.delete(&ended("subject=alice&route=other")).await.expect(200)["closed"], 1);
    closed(&mut there, Reason::SessionEnded).await;
    lives(&mut here).await;
    assert_eq!(
        gate.delete(&ended("subject=alice")).await.expect(200),
        json!({ "subject": "alice", "closed": 1 })
    );
    closed(&mut here, Reason::SessionEnded).await;
    lives(&mut bob).await;
    lives(&mut gate.open("token", "alice", &json!({})).await).await;
    assert_eq!(gate.delete(&ended("subject=carol")).await.expect(200)["closed"], 0);
    gate.delete(&ended("route=token")).await.refused(422);
    lives(&mut bob).await;
    let change = &gate.changes()[0];
    assert_eq!((&change["action"], &change["on"]), (&"end_sessions".into(), &"alice".into()), "{change}");
}

#[tokio::test]
async fn a22_what_is_revoked_closes_within_100_ms_and_does_not_come_back() {
    for body in ["subject", "token_id", "session", "provider", "everyone"] {
        let gate = Gate::start("").await;
        let mut alice = gate.open("token", "alice", &json!({ "jti": "t1", "sid": "s1" })).await;
        let mut bob = gate.open("token", "bob", &json!({})).await;
        let page = gate.get("/v1/sessions?subject=alice").await.expect(200);
        let request = match body {
            "subject" => json!({ "subject": "alice" }),
            "token_id" => json!({ "token_id": "t1" }),
            "session" => json!({ "session": page["sessions"][0]["id"] }),
            "provider" => json!({ "session": "s1" }),
            _ => json!({ "everyone": true }),
        };
        let revoked = gate.ask("operator", "POST", "/v1/revocations", Some(&request)).await.expect(201);
        closed(&mut alice, Reason::TokenRevoked).await;
        if body == "everyone" {
            assert_eq!(revoked["closed"], 2, "{revoked}");
            closed(&mut bob, Reason::TokenRevoked).await;
        } else {
            assert_eq!(revoked["closed"], 1, "{revoked}");
            lives(&mut bob).await;
        }
        let (_, head) = gate.show("token", &token("alice", &json!({ "jti": "t1", "sid": "s1" }))).await;
        assert!(head.starts_with("HTTP/1.1 401 "), "{body}: {head}");
        let later = token("alice", &json!({ "iat": Clock::system().unix_now().seconds() + 1 }));
        let (_, head) = gate.show("token", &later).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{body}: {head}");

        let listed = gate.get("/v1/revocations").await.expect(200);
        let [kept] = listed["revocations"].as_array().unwrap().as_slice() else { panic!("{listed}") };
        let mut without_count = revoked.clone();
        without_count.as_object_mut().unwrap().remove("closed");
        assert_eq!(*kept, without_count);
        let changes = gate.changes();
        assert_eq!((changes.len(), &changes[0]["action"]), (1, &"revoke".into()), "{changes:?}");
        assert_eq!(changes[0]["sessions_closed"], revoked["closed"]);
    }
}

#[tokio::test]
async fn a_revocation_may_say_until_when_tokens_were_issued() {
    let gate = Gate::start("").await;
    let now = Clock::system().unix_now();
    let hour_ago = now.seconds() - 3600;
    let shown = drawgate::clock::UnixTime::from_seconds(hour_ago).to_string();
    for until in [json!(hour_ago), json!(shown)] {
        let body = json!({ "subject": "alice", "issued_until": until });
        let revoked = gate.post("/v1/revocations", &body).await.expect(201);
        assert_eq!(revoked["issued_until"], shown.as_str(), "{revoked}");
    }
    let (_, head) = gate.show("token", &token("alice", &json!({ "iat": hour_ago - 1 }))).await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    let (_, head) = gate.show("token", &token("alice", &json!({ "iat": hour_ago + 1 }))).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

#[tokio::test]
async fn a_ban_ends_sessions_and_keeps_their_subject_out_until_it_is_lifted() {
    let gate = Gate::start("").await;
    let subject = "alice/ü";
    let mut alice = gate.open("token", subject, &json!({})).await;
    let mut bob = gate.open("token", "bob", &json!({})).await;
    let banned = gate.post("/v1/bans", &json!({ "subject": subject, "seconds": 3600 })).await.expect(201);
    assert_eq!((&banned["subject"], &banned["closed"]), (&subject.into(), &1.into()), "{banned}");
    closed(&mut alice, Reason::SubjectBanned).await;
    lives(&mut bob).await;
    let (_, head) = gate.show("token", &token(subject, &json!({}))).await;
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    let for_good = gate.post("/v1/bans", &json!({ "subject": "zoe" })).await.expect(201);
    assert_eq!((&for_good["until"], &for_good["closed"]), (&Value::Null, &0.into()), "{for_good}");
    let page = gate.get("/v1/bans?limit=1").await.expect(200);
    assert_eq!((&page["bans"][0]["subject"], &page["next"]), (&subject.into(), &subject.into()), "{page}");
    let page = gate.get("/v1/bans?after=alice%2F%C3%BC").await.expect(200);
    assert_eq!((&page["bans"][0]["subject"], &page["next"]), (&"zoe".into(), &Value::Null), "{page}");
    assert_eq!(gate.delete("/v1/bans/alice%2F%C3%BC").await.status, 204);
    gate.delete("/v1/bans/alice%2F%C3%BC").await.refused(404);
    gate.delete("/v1/bans/%ff").await.refused(400);
    let (_, head) = gate.show("token", &token(subject, &json!({}))).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let actions: Vec<_> = gate.changes().into_iter().map(|change| change["action"].clone()).collect();
    assert_eq!(actions, ["ban", "ban", "unban", "unban"]);
}

#[tokio::test]
async fn a_ban_of_a_network_ends_its_connections_and_keeps_it_out_until_it_is_lifted() {
    let gate = Gate::start("").await;
    let mut near = Raw::connect_from(2, gate.case.address).await;
    near.upgrade("/").await;
    let mut bob = gate.open("token", "bob", &json!({})).await;
    let body = json!({ "network": "127.0.0.2", "seconds": 3600, "reason": "flood" });
    let banned = gate.ask("operator", "POST", "/v1/address-bans", Some(&body)).await.expect(201);
    assert_eq!((&banned["network"], &banned["reason"]), (&"127.0.0.2/32".into(), &"flood".into()));
    assert_eq!(banned["closed"], 1, "{banned}");
    closed(&mut near, Reason::AddressBanned).await;
    lives(&mut bob).await;
    Raw::connect_from(2, gate.case.address).await.expect_refusal(Reason::AddressBanned).await;

    // Of IPv6 all of a subscriber's network is kept out, and named.
    let v6 = gate.post("/v1/address-bans", &json!({ "network": "2001:db8::1" })).await.expect(201);
    let expected = json!({ "network": "2001:db8::/64", "until": null, "reason": "", "closed": 0 });
    assert_eq!(v6, expected);
    let page = gate.get("/v1/address-bans?limit=1").await.expect(200);
    let listed = &page["address_bans"][0];
    assert_eq!((&listed["network"], &listed["until"]), (&banned["network"], &banned["until"]), "{page}");
    assert!(listed["until"].as_str().is_some_and(|time| time.ends_with('Z')), "{page}");
    assert_eq!(page["next"], "127.0.0.2/32", "{page}");
    let page = gate.get("/v1/address-bans?after=127.0.0.2%2F32").await.expect(200);
    let networks = page["address_bans"].as_array().unwrap().len();
    assert_eq!(
        (networks, &page["address_bans"][0]["network"], &page["next"]),
        (1, &"2001:db8::/64".into(), &Value::Null)
    );

    let target = "/v1/address-bans/127.0.0.2%2F32";
    assert_eq!(gate.delete(target).await.status, 204);
    gate.delete(target).await.refused(404);
    gate.delete("/v1/address-bans/127.0.0.2%2F8").await.refused(400);
    assert_eq!(gate.delete("/v1/address-bans/2001:db8::7").await.status, 204);
    Raw::connect_from(2, gate.case.address).await.upgrade("/").await;
    let changes = gate.changes();
    let actions: Vec<_> = changes.iter().map(|change| change["action"].clone()).collect();
    let expected = ["ban_address", "ban_address", "unban_address", "unban_address", "unban_address"];
    assert_eq!(actions, expected);
    let record = &changes[0];
    assert_eq!((&record["operator"], &record["on"]), (&"operator".into(), &"127.0.0.2/32".into()));
    assert_eq!((&record["connections_closed"], &record["outcome"]), (&1.into(), &"done".into()), "{record}");
    assert_eq!(record.get("sessions_closed"), None, "{record}");
    assert_eq!(changes[3]["outcome"], "not_done", "{changes:?}");
}

#[tokio::test]
async fn revocations_are_listed_a_page_at_a_time() {
    let gate = Gate::start("").await;
    for body in [
        json!({ "token_id": "b" }),
        json!({ "subject": "a" }),
        json!({ "token_id": "a" }),
        json!({ "everyone": true }),
    ] {
        gate.post("/v1/revocations", &body).await.expect(201);
    }
    let (mut found, mut after) = (Vec::new(), String::new());
    for _ in 0..2 {
        let page = gate.get(&format!("/v1/revocations?limit=2{after}")).await.expect(200);
        found.extend(page["revocations"].as_array().unwrap().clone());
        after = page["next"].as_str().map(|next| format!("&after={next}")).unwrap_or_default();
    }
    assert_eq!((found.len(), after.as_str()), (4, ""));
    assert!(found[0]["everyone"] == true && found[1]["subject"] == "a", "{found:?}");
    assert!(found[2]["token_id"] == "a" && found[3]["token_id"] == "b", "{found:?}");
}

#[tokio::test]
async fn a20_a_ticket_from_the_api_opens_its_route_once() {
    let gate = Gate::start("").await;
    let body =
        json!({ "subject": "carol", "route": "token", "session_seconds": 60, "claims": { "roles": ["a"] } });
    let issued = gate.ask("issuer", "POST", "/v1/tickets", Some(&body)).await.expect(201);
    let ticket = issued["ticket"].as_str().unwrap().to_owned();
    assert!(ticket.starts_with("dgt_") && issued["expires_at"].as_str().unwrap().ends_with('Z'), "{issued}");
    for status in ["101", "401"] {
        let mut raw = gate.case.connect().await;
        raw.send(crate::request(&format!("/token?ticket={ticket}"), "").as_bytes()).await;
        let head = raw.read_head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        if status == "101" {
            lives(&mut raw).await;
            let page = gate.get("/v1/sessions?subject=carol").await.expect(200);
            assert_eq!(page["sessions"][0]["route"], "token", "{page}");
            assert!(!page.to_string().contains(&ticket));
        }
    }
    let changes = gate.changes();
    assert_eq!((changes.len(), &changes[0]["action"]), (1, &"issue_ticket".into()), "{changes:?}");
    assert_eq!((&changes[0]["operator"], &changes[0]["on"]), (&"issuer".into(), &"carol".into()));
    gate.case.keeps_nothing_of(ticket.as_bytes());
    for (member, value) in [
        ("route", json!("other")),
        ("route", json!("echo")),
        ("route", json!("nowhere")),
        ("subject", json!("")),
        ("claims", json!([])),
        ("session_seconds", json!(86_401)),
        ("session_seconds", json!(0)),
        ("session_seconds", json!("60")),
    ] {
        let mut body = body.clone();
        body[member] = value;
        gate.post("/v1/tickets", &body).await.refused(422);
    }
}

#[tokio::test]
async fn o10_what_the_api_has_acknowledged_is_in_force_after_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let lines = format!("[state]\nstore = \"embedded\"\ndirectory = {:?}\n", state.path());
    let gate = Gate::start(&lines).await;
    gate.post("/v1/revocations", &json!({ "token_id": "t1" })).await.expect(201);
    gate.post("/v1/bans", &json!({ "subject": "bob" })).await.expect(201);
    gate.post("/v1/bans", &json!({ "subject": "carol" })).await.expect(201);
    assert_eq!(gate.delete("/v1/bans/carol").await.status, 204);
    let network = json!({ "network": "127.0.0.2", "reason": "flood" });
    gate.post("/v1/address-bans", &network).await.expect(201);
    gate.post("/v1/address-bans", &json!({ "network": "127.0.0.3" })).await.expect(201);
    assert_eq!(gate.delete("/v1/address-bans/127.0.0.3").await.status, 204);
    gate.case.stop().await;

    let gate = Gate::start(&lines).await;
    for (subject, status) in [("alice", "401"), ("bob", "403"), ("carol", "101")] {
        let claims = if subject == "alice" { json!({ "jti": "t1" }) } else { json!({}) };
        let (_, head) = gate.show("token", &token(subject, &claims)).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{subject}: {head}");
    }
    let bans = gate.get("/v1/bans").await.expect(200);
    assert_eq!(bans["bans"], json!([{ "subject": "bob", "until": null }]));
    let bans = gate.get("/v1/address-bans").await.expect(200);
    let expected = json!([{ "network": "127.0.0.2/32", "until": null, "reason": "flood" }]);
    assert_eq!(bans["address_bans"], expected);
    Raw::connect_from(2, gate.case.address).await.expect_refusal(Reason::AddressBanned).await;
    Raw::connect_from(3, gate.case.address).await.upgrade("/").await;
}

#[tokio::test]
async fn a_ban_that_a_list_has_told_of_is_lifted_and_gone_on_from_by_that_name() {
    let gate = Gate::start("").await;
    for network in ["::1", "2001:db8::1"] {
        gate.post("/v1/address-bans", &json!({ "network": network })).await.expect(201);
    }
    let page = gate.get("/v1/address-bans?limit=1").await.expect(200);
    assert_eq!((&page["address_bans"][0]["network"], &page["next"]), (&"::/64".into(), &"::/64".into()));
    let page = gate.get("/v1/address-bans?after=%3A%3A%2F64").await.expect(200);
    assert_eq!(page["address_bans"][0]["network"], "2001:db8::/64");
    assert_eq!(gate.delete("/v1/address-bans/%3A%3A%2F64").await.status, 204);
    let page = gate.get("/v1/address-bans").await.expect(200);
    assert_eq!(page["address_bans"].as_array().map(Vec::len), Some(1), "{page}");
    // What nobody could mean is not taken for it.
    gate.delete("/v1/address-bans/%3A%3A1%2F64").await.refused(400);
    gate.post("/v1/address-bans", &json!({ "network": "::/64" })).await.refused(422);
}

#[tokio::test]
async fn o04_an_application_is_drained_and_that_is_taken_back() {
    let gate = Gate::start("").await;
    let state = async || {
        let listed = gate.get("/v1/upstreams").await.expect(200);
        listed["upstreams"][0]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state().await, "in_use");
    let drain = json!({ "upstream": UPSTREAM });
    let told = json!({ "upstream": UPSTREAM, "connections": 0 });
    for _ in 0..2 {
        assert_eq!(gate.post("/v1/drains", &drain).await.expect(201), told);
        assert_eq!(state().await, "drained");
    }
    gate.post("/v1/drains", &json!({ "upstream": "127.0.0.1:9" })).await.refused(422);
    gate.post("/v1/drains", &json!({ "upstream": "ws://127.0.0.1:10" })).await.refused(404);
    // An address is one, however it is written.
    gate.delete("/v1/drains/ws:%2F%2f127.0.0.1:9").await.expect(204);
    assert_eq!(state().await, "in_use");
    gate.delete("/v1/drains/ws:%2F%2F127.0.0.1:9").await.refused(404);
    let changes = gate.changes();
    let actions: Vec<_> = changes.iter().map(|change| change["action"].as_str().unwrap()).collect();
    assert_eq!(actions[..2], ["drain_upstream", "drain_upstream"], "{changes:?}");
    assert!(actions.ends_with(&["resume_upstream", "resume_upstream"]), "{changes:?}");
    assert!(changes.iter().all(|change| change["operator"] == "all"), "{changes:?}");
}
