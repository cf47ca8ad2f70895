//! H: which requests reach which route: paths, hosts, origins and listeners, and what tries to get around them.

use drawgate::Server;
use drawgate::config::Config;
use drawgate::reason::Reason;

use crate::exchange::{SWITCHING, answers};
use crate::support::{Case, Frame, Raw, request};

#[tokio::test]
async fn exact_paths_come_before_prefixes_and_longer_ones_first() {
    let toml = gateway(&[
        ("/chat", ""),
        ("/chat/*", ""),
        ("/chat/deep/*", ""),
        ("/chat/deep/er", ""),
        ("/chat/deep/er/*", ""),
        ("/CHAT", ""),
    ]);
    let case = Case::start(&toml).await;
    for (target, route) in [
        ("/chat", "/chat"),
        ("/chat?room=/chat/deep/er", "/chat"),
        ("/chat/", "/chat/*"),
        ("/chat/a", "/chat/*"),
        ("/chat/deep", "/chat/*"),
        ("/chat/deeper", "/chat/*"),
        ("/chat/deep/", "/chat/deep/*"),
        ("/chat/deep/e", "/chat/deep/*"),
        ("/chat/deep/er", "/chat/deep/er"),
        ("/chat/deep/err", "/chat/deep/*"),
        ("/chat/deep/er/a", "/chat/deep/er/*"),
        ("/CHAT", "/CHAT"),
        ("ws://gate.example/chat/a", "/chat/*"),
    ] {
        reaches(&mut case.connect().await, &request(target, ""), route).await;
    }
}

#[tokio::test]
async fn h13_paths_that_no_route_takes_are_answered_with_404() {
    for target in ["/chats", "/cha", "/Chat", "/chat/deep", "/chat//", "/deep", "/chat%20", "/tracer-7f3a"] {
        let mut case = Case::start(&gateway(&[("/chat", ""), ("/chat/deep/*", "")])).await;
        let reason = if target.contains("//") { Reason::RequestTargetInvalid } else { Reason::RouteNotFound };
        answers(&mut case, request(target, "").as_bytes(), reason).await;
    }
}

#[tokio::test]
async fn h22_no_spelling_of_a_path_reaches_a_route_that_it_does_not_name() {
    for target in [
        "/open/../secret",
        "/open/%2e%2e/secret",
        "/open/..%2fsecret",
        "/open/..;/secret",
        "/open//secret",
        "/%73ecret",
        "/secret%00",
        "/secret;a",
        "//secret",
        "/./secret",
        "/secret%2f",
        "\\secret",
        "/open\\..\\secret",
    ] {
        let mut case = Case::start(&gateway(&[("/open/*", ""), ("/secret", "")])).await;
        answers(&mut case, request(target, "").as_bytes(), Reason::RequestTargetInvalid).await;
        assert_eq!(case.metric(r#"drawgate_handshakes_total{result="accepted"}"#), 1, "{target}");
    }
}

#[tokio::test]
async fn routes_of_a_named_host_come_before_those_of_any() {
    let toml = gateway(&[
        ("/a", ""),
        ("/a", "hosts = [\"a.example\", \"[::1]\"]"),
        ("/*", "hosts = [\"a.example\"]"),
        ("/b", "hosts = [\"b.example\", \"127.0.0.1\"]"),
    ]);
    let case = Case::start(&toml).await;
    for (host, target, route) in [
        ("gate.example", "/a", "/a"),
        ("a.example", "/a", "/a hosts = [\"a.example\", \"[::1]\"]"),
        ("A.Example:8443", "/a", "/a hosts = [\"a.example\", \"[::1]\"]"),
        ("[0:0::1]:80", "/a", "/a hosts = [\"a.example\", \"[::1]\"]"),
        ("b.example", "/a", "/a"),
        ("a.example.", "/a", "/a"),
        ("sub.a.example", "/a", "/a"),
        ("a.example", "/b", "/* hosts = [\"a.example\"]"),
        ("b.example", "/b", "/b hosts = [\"b.example\", \"127.0.0.1\"]"),
        ("127.0.0.1:1", "/b", "/b hosts = [\"b.example\", \"127.0.0.1\"]"),
    ] {
        let sent = request(target, "").replace("gate.example", host);
        reaches(&mut case.connect().await, &sent, route).await;
    }
}

#[tokio::test]
async fn h13_a_host_that_is_none_of_ours_is_answered_with_404_and_no_host_with_400() {
    let toml = gateway(&[("/a", "hosts = [\"a.example\"]")]);
    for host in [
        "tracer-7f3a.example",
        "a.example.tracer-7f3a",
        "tracer-7f3aa.example",
        "a.example.",
        "127.0.0.1",
        "[::1]",
        "a-example",
    ] {
        let mut case = Case::start(&toml).await;
        let sent = request("/a", "").replace("gate.example", host);
        answers(&mut case, sent.as_bytes(), Reason::RouteNotFound).await;
    }
    for host in [
        "",
        "a.example:",
        "a.example:0",
        "a.example:080",
        "a.example:65536",
        "a.example:tracer-7f3a",
        "a.example, a.example",
        "a.example a.example",
        "user@a.example",
        "http://a.example",
        "a.example/",
        "a%2eexample",
        "a..example",
        "[::1",
        "::1",
        "\u{e4}.example",
    ] {
        let mut case = Case::start(&toml).await;
        let sent = request("/a", "").replace("gate.example", host);
        answers(&mut case, sent.as_bytes(), Reason::HostInvalid).await;
    }
    let mut case = Case::start(&toml).await;
    let sent = request("/a", "").replace("Host: gate.example\r\n", "");
    answers(&mut case, sent.as_bytes(), Reason::HostInvalid).await;
}

#[tokio::test]
async fn h12_of_listed_origins_only_the_exact_ones_may_connect() {
    let toml = gateway(&[("/a", "")])
        .replace("\"any\"", "[\"https://app.example\", \"http://localhost:3000\", \"http://[::1]\"]");
    let case = Case::start(&toml).await;
    for origin in ["https://app.example", "http://localhost:3000", "http://[::1]"] {
        let sent = request("/a", &format!("Origin: {origin}\r\n"));
        reaches(&mut case.connect().await, &sent, "/a").await;
    }
    // Whoever sends none is no browser, and this protects nobody from it.
    reaches(&mut case.connect().await, &request("/a", ""), "/a").await;

    for origin in [
        "https://tracer-7f3a.example",
        "null",
        "NULL",
        "*",
        "http://app.example",
        "wss://app.example",
        "HTTPS://app.example",
        "https://App.example",
        "https://app.example:443",
        "https://app.example:8443",
        "https://app.example:",
        "https://app.example.",
        "https://app.example/",
        "https://app.example.tracer-7f3a",
        "https://tracer-7f3a-app.example",
        "https://app.example@tracer-7f3a",
        "https://app.example%00.tracer-7f3a",
        "https://app.example#.tracer-7f3a",
        "https://tracer-7f3a/https://app.example",
        "https://appxexample",
        "http://localhost",
        "http://localhost:30000",
        "http://[0:0::1]",
        "app.example",
        "//app.example",
        "https:app.example",
        "https://app.example,https://tracer-7f3a",
    ] {
        refuses_origin(&toml, "gate.example", origin, Reason::OriginRefused).await;
    }
    for origin in ["", "https://app.example https://tracer-7f3a", "https://app.example\u{e4}"] {
        refuses_origin(&toml, "gate.example", origin, Reason::RequestMalformed).await;
    }
}

#[tokio::test]
async fn h12_of_the_same_origin_is_who_names_our_scheme_and_host() {
    let toml = gateway(&[("/a", "")]).replace("\"any\"", "\"same\"");
    let case = Case::start(&toml).await;
    for (host, origin) in [
        ("gate.example", "http://gate.example"),
        ("gate.example:80", "http://gate.example"),
        ("gate.example:8080", "http://gate.example:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("127.0.0.1", "http://127.0.0.1"),
    ] {
        let sent = request("/a", &format!("Origin: {origin}\r\n"))
            .replace("Host: gate.example", &format!("Host: {host}"));
        reaches(&mut case.connect().await, &sent, "/a").await;
    }
    reaches(&mut case.connect().await, &request("/a", ""), "/a").await;
    for (host, origin) in [
        ("gate.example", "http://tracer-7f3a.example"),
        ("gate.example", "https://gate.example"),
        ("gate.example", "ws://gate.example"),
        ("gate.example", "http://gate.example:8080"),
        ("gate.example:8080", "http://gate.example"),
        ("gate.example:8080", "http://gate.example:80"),
        ("gate.example", "http://gate.example.tracer-7f3a"),
        ("gate.example", "http://tracer-7f3a-gate.example"),
        ("gate.example", "http://gate.example."),
        ("gate.example.", "http://gate.example."),
        ("gate.example", "http://gate.example/"),
        ("gate.example", "http://user@gate.example"),
        ("gate.example", "http://"),
        ("gate.example", "null"),
    ] {
        refuses_origin(&toml, host, origin, Reason::OriginRefused).await;
    }
}

#[tokio::test]
async fn h12_any_origin_is_also_one_that_is_opaque() {
    let case = Case::start(&gateway(&[("/a", "")])).await;
    for origin in ["null", "https://anything.example", "file://"] {
        let sent = request("/a", &format!("Origin: {origin}\r\n"));
        reaches(&mut case.connect().await, &sent, "/a").await;
    }
}

#[tokio::test]
async fn a_route_is_served_on_its_listeners_alone() {
    let listener = |name| format!("[listeners.{name}]\naddress = \"127.0.0.1:0\"\ntls = \"none\"\n");
    let route = |name, listeners, path| {
        format!(
            "[routes.{name}]\nlisteners = {listeners}\npath = \"{path}\"\norigins = \"any\"\nauth = \"none\"\n\
             backend = {{ echo = {{ prefix = \"{name} \" }} }}\n"
        )
    };
    let toml = [
        listener("inner"),
        listener("outer"),
        route("both", "[\"inner\", \"outer\"]", "/both"),
        route("inside", "[\"inner\"]", "/same"),
        route("outside", "[\"outer\"]", "/same"),
        route("secret", "[\"inner\"]", "/secret"),
    ]
    .concat();
    let config = Config::from_toml(&toml, std::path::Path::new("."), &|_| None).unwrap();
    let server = Server::from_config(config).bind().unwrap();
    let address =
        |wanted| server.addresses().find_map(|(name, address)| (name == wanted).then_some(address)).unwrap();
    let (inner, outer) = (address("inner"), address("outer"));
    assert_ne!(inner, outer);
    let running = tokio::spawn(server.run(std::future::pending()));
    for (address, path, route) in [
        (inner, "/both", "both"),
        (outer, "/both", "both"),
        (inner, "/same", "inside"),
        (outer, "/same", "outside"),
        (inner, "/secret", "secret"),
    ] {
        reaches(&mut Raw::connect(address).await, &request(path, ""), route).await;
    }
    // Naming the other listener in Host or target helps nobody.
    let other = format!("127.0.0.1:{}", inner.port());
    for target in ["/secret".to_owned(), format!("http://{other}/secret")] {
        let mut raw = Raw::connect(outer).await;
        raw.send(request(&target, "").replace("gate.example", &other).as_bytes()).await;
        raw.expect_refusal(Reason::RouteNotFound).await;
    }
    running.abort();
}

/// A gateway with these routes beside the neighbour's, each a path with further settings, each telling both in its echo.
fn gateway(routes: &[(&str, &str)]) -> String {
    let mut toml = "[listeners.main]\naddress = \"127.0.0.1:0\"\ntls = \"none\"\n\
        [routes.echo]\nlisteners = [\"main\"]\npath = \"/\"\nhosts = [\"gate.example\"]\norigins = \"any\"\n\
        auth = \"none\"\nbackend = \"echo\"\n"
        .to_owned();
    for (number, (path, more)) in routes.iter().enumerate() {
        let tells = format!("{path} {more}");
        toml += &format!(
            "[routes.r{number}]\nlisteners = [\"main\"]\npath = \"{path}\"\norigins = \"any\"\nauth = \"none\"\n\
             backend = {{ echo = {{ prefix = '{} ' }} }}\n{more}\n",
            tells.trim_end(),
        );
    }
    toml
}

/// `sent` opens a WebSocket on the route that tells `route`.
async fn reaches(raw: &mut Raw, sent: &str, route: &str) {
    raw.send(sent.as_bytes()).await;
    assert_eq!(raw.read_response().await.head, SWITCHING, "{sent}");
    raw.send_frame(0x81, b"?").await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, format!("{route} ?").as_bytes()), "{sent}");
}

/// A page of `origin` does not get in, and the record says where it wanted to, and who it was if that is an origin.
async fn refuses_origin(toml: &str, host: &str, origin: &str, reason: Reason) {
    let mut case = Case::start(toml).await;
    let sent = request("/a", &format!("Origin: {origin}\r\n"))
        .replace("Host: gate.example", &format!("Host: {host}"));
    let record = answers(&mut case, sent.as_bytes(), reason).await;
    let route = (reason == Reason::OriginRefused).then_some("r0");
    assert_eq!(record["route"].as_str(), route, "{record}");
    let after_scheme = origin.split_once("://").map(|(_, rest)| rest);
    let is_origin = origin == "null"
        || after_scheme.is_some_and(|rest| rest.bytes().all(|byte| !b"/?#@ ".contains(&byte) && byte < 0x80));
    assert_eq!(record["origin"].as_str(), is_origin.then_some(origin), "{record}");
}
