//! U18, A38, A28: what a backend's settings pass on to an application and of its answer, and that no client can add to it.

use std::net::SocketAddr;

use serde_json::json;

use crate::application::{Application, before};
use crate::sessions::token;
use crate::support::{Case, Raw, eventually, request};

/// A gateway before the application at `address`, with these settings of its backend.
async fn passing(address: SocketAddr, settings: &str, more: &str) -> Case {
    let toml = before(address, "", more).replace("\"], connect", &format!("\"], {settings}, connect"));
    assert!(toml.contains(settings), "{toml}");
    Case::start(&toml).await
}

/// What the application is asked for a client with these header lines, and what the client is answered.
async fn exchange(application: &Application, mut client: Raw, lines: &str, answer: &str) -> (String, String) {
    client.send(request("/app/", lines).as_bytes()).await;
    let head = application.accept().await.upgrade(answer).await;
    (head, client.read_head().await)
}

#[tokio::test]
async fn host_and_origin_are_those_that_the_backend_names() {
    let application = Application::start().await;
    let own = application.address.to_string();
    for (settings, host, origin) in [
        ("host = \"client\"", "gate.example", Some("https://a.example")),
        ("host = \"address\", origin = \"none\"", &*own, None),
        (
            "host = { set = \"app.internal:81\" }, origin = { set = \"https://b.example\" }",
            "app.internal:81",
            Some("https://b.example"),
        ),
    ] {
        let case = passing(application.address, settings, "").await;
        let lines = "Origin: https://a.example\r\n";
        let (head, _) = exchange(&application, case.connect().await, lines, "").await;
        let said = |name: &str| -> Vec<String> {
            head.lines().filter_map(|line| line.strip_prefix(name)).map(str::to_owned).collect()
        };
        assert_eq!(said("Host: "), [host], "{settings}");
        assert_eq!(said("Origin: "), origin.map(str::to_owned).into_iter().collect::<Vec<_>>(), "{settings}");
        assert!(
            head.contains("\r\nX-Forwarded-Host: gate.example\r\n"),
            "what was asked is still said: {head}"
        );
    }
}

#[tokio::test]
async fn u18_headers_of_an_answer_go_on_where_they_are_listed() {
    let application = Application::start().await;
    let case = passing(application.address, "answer_headers = [\"X-Room\"], cookies = [\"theme\"]", "").await;
    let answer = "X-ROOM: 7\r\nx-room: 8\r\nX-Rooms: 9\r\nServer: secret/1.0\r\nSet-Cookie: sid=1; Path=/theme=\r\n\
                  Set-Cookie: theme=dark; Secure\r\nSet-Cookie: themes=1\r\n";
    let lines = "Cookie: sid=1; theme=dark; themes=1\r\n";
    let (head, answered) = exchange(&application, case.connect().await, lines, answer).await;
    assert!(head.contains("\r\nCookie: theme=dark\r\n"), "{head}");
    assert!(
        answered.ends_with("=\r\nSet-Cookie: theme=dark; Secure\r\nX-Room: 7\r\nX-Room: 8\r\n\r\n"),
        "{answered}"
    );
}

#[tokio::test]
async fn no_cookie_goes_on_in_either_direction_where_none_is_to() {
    let application = Application::start().await;
    let case = passing(application.address, "cookies = \"none\"", "").await;
    let answer = "Set-Cookie: a=b\r\n";
    let (head, answered) = exchange(&application, case.connect().await, "Cookie: a=b\r\n", answer).await;
    assert!(!head.contains("Cookie"), "{head}");
    assert!(!answered.contains("Cookie"), "{answered}");
}

#[tokio::test]
async fn a38_who_it_is_goes_on_by_the_names_that_the_backend_gives() {
    let application = Application::start().await;
    let identity = "identity = { subject = \"Remote-User\", session = \"X-Sitting\", \
                    claims = { X-Team = \"team\", X-Level = \"level\", X-Absent = \"absent\" } }";
    let toml = with_tokens_and(application.address, identity);
    let case = Case::start(&toml).await;
    let token = token("alice", &json!({ "team": ["red,blue", "green\r\nX-Level: 9"], "level": 3 }));
    let lines = format!(
        "Origin: https://a.example\r\nAuthorization: Bearer {token}\r\nRemote-User: root\r\nx-team: root\r\n\
         X-TEAM: root\r\nX-Absent: root\r\nX-Sitting: root\r\nX_Team: root\r\nX-Drawgate-Subject: root\r\n"
    );
    let mut client = case.connect().await;
    client.send(request("/token", &lines).as_bytes()).await;
    let head = application.accept().await.upgrade("").await;
    assert!(!head.contains("root"), "{head}");
    for line in ["Remote-User: alice", "X-Team: red%2Cblue,green%0D%0AX-Level:%209", "X-Level: 3"] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
    }
    assert_eq!(head.matches("\r\nX-Level: ").count(), 1, "{head}");
    assert!(!head.contains("X-Absent") && !head.contains("X-Drawgate-"), "{head}");
}

fn with_tokens_and(address: SocketAddr, settings: &str) -> String {
    let toml = crate::upstream::tokens_toml(address, "\"authorization_header\"", "");
    let with = toml.replace(
        &format!("urls = [\"ws://{address}\"] }}"),
        &format!("urls = [\"ws://{address}\"], {settings} }}"),
    );
    assert!(with.contains(settings), "{with}");
    with
}

#[tokio::test]
async fn a_trace_is_kept_from_a_trusted_proxy_alone_and_its_id_is_in_the_record() {
    const ID: &str = "0af7651916cd43dd8448eb211c80319c";
    let application = Application::start().await;
    let firewall =
        "[firewall]\ntrusted_proxies = [\"127.0.0.2/32\"]\nclient_address_header = \"x_forwarded_for\"";
    let case = passing(application.address, "host = \"client\"", firewall).await;
    let address = *case.addresses.last().unwrap();
    let sound = format!("00-{ID}-b7ad6b7169203331-01");
    for (host, sent, is_kept) in [
        (2, vec![sound.clone()], true),
        (1, vec![sound.clone()], false),
        (2, vec![sound.clone(), sound.clone()], false),
        (2, vec![sound.replace("00-", "ff-")], false),
        (2, vec![], false),
    ] {
        let lines: String = sent.iter().map(|value| format!("Traceparent: {value}\r\n")).collect();
        let lines = format!("X-Forwarded-For: 192.0.2.9\r\ntracestate: a=1\r\n{lines}");
        let client = Raw::connect_from(host, address).await;
        let (head, _) = exchange(&application, client, &lines, "").await;
        let said: Vec<&str> = head.lines().filter_map(|line| line.strip_prefix("traceparent: ")).collect();
        let [said] = said[..] else { panic!("{head}") };
        assert_eq!(said.contains(ID), is_kept, "{host} {sent:?}: {said}");
        assert!(!said.contains("b7ad6b7169203331"), "the span is ours: {said}");
        assert_eq!(head.contains("\r\ntracestate: a=1\r\n"), is_kept, "{head}");
        assert!(!head.to_lowercase().contains("\r\ntraceparent: ff"), "{head}");
        // The application has gone by now: both records say to which trace that belongs.
        let of_the_trace = || case.records().iter().filter(|record| record["trace"] == said[3..35]).count();
        eventually(|| of_the_trace() >= 2, || format!("not two of {said}:\n{}", case.log_text())).await;
    }
}
