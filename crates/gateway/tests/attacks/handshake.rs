//! H: the opening handshake.
//!
//! Where several requests break one rule, each is sent to a gateway of its own, so that each is held to the rules of
//! refusals by itself. Which requests reach which route is in `routing`.

use std::time::Duration;

use drawgate::reason::Reason;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use crate::exchange::{
    Counted, SWITCHING, TRACER, accepts, answers, changed, head_of, read_of, refused, refuses, serve, sound,
};
use crate::support::{Case, Raw, echo, request};

#[tokio::test]
async fn h02_another_version_is_answered_with_ours() {
    let mut case = Case::start(&echo("", "")).await;
    let sent = request("/", "").replace("Version: 13", "Version: 777");
    let mut raw = case.connect().await;
    raw.send(sent.as_bytes()).await;
    let response = raw.expect_refusal(Reason::WebSocketVersionUnsupported).await;
    assert!(response.head.contains("Sec-WebSocket-Version: 13\r\n"), "{response:?}");
    case.refused(Reason::WebSocketVersionUnsupported, sent.as_bytes()).await;
}

#[tokio::test]
async fn h03_any_method_but_get_is_answered_with_405_and_get() {
    for method in ["POST", "PUT", "DELETE", "TRACE", "PATCH", "get", "GETX", "tracer-7f3a"] {
        refuses(changed("GET", method), Reason::MethodNotAllowed).await;
    }
}

#[tokio::test]
async fn h06_old_versions_and_requests_without_an_upgrade_are_answered_with_426() {
    for version in ["7", "8", "0", "14", "013", "+13", "13, 8", "13.0", "", "tracer-7f3a"] {
        let sent = changed("Version: 13", &format!("Version: {version}"));
        refuses(sent, Reason::WebSocketVersionUnsupported).await;
    }
    refuses(changed("Sec-WebSocket-Version: 13\r\n", ""), Reason::WebSocketVersionUnsupported).await;
    for (from, to) in [
        ("Upgrade: websocket\r\n", ""),
        ("Upgrade: websocket", "Upgrade: tracer-7f3a"),
        ("Upgrade: websocket", "Upgrade: websocket/13"),
        ("Upgrade: websocket", "Upgrade:"),
        ("Connection: Upgrade\r\n", ""),
        ("Connection: Upgrade", "Connection: keep-alive, tracer-7f3a"),
        ("Connection: Upgrade", "Connection: Upgrader"),
        ("Connection: Upgrade", "Connection:"),
    ] {
        refuses(changed(from, to), Reason::UpgradeRequired).await;
    }
}

#[tokio::test]
async fn h07_a_key_that_is_not_16_bytes_of_base64_is_answered_with_400() {
    let line = format!("Sec-WebSocket-Key: {KEY}\r\n");
    refuses(changed(&line, ""), Reason::WebSocketKeyInvalid).await;
    for key in [
        "",
        "tracer-7f3a",
        "dGhlIHNhbXBsZSBub25jZQ",    // no padding
        "dGhlIHNhbXBsZSBub25jZQ===", // too much of it
        "dGhlIHNhbXBsZSBub25jZR==",  // trailing bits that are not zero
        "dGhlIHNhbXBsZSBub25j",      // 15 bytes
        "dGhlIHNhbXBsZSBub25jZQA=",  // 17 bytes
        "dGhlIHNhbXBsZSBub2-jZQ==",  // the URL alphabet
        "dGhlIHNh XBsZSBub25jZQ==",
        "\u{e4}GhlIHNhbXBsZSBub25jZQ==",
    ] {
        refuses(changed(KEY, key), Reason::WebSocketKeyInvalid).await;
    }
}

#[tokio::test]
async fn h08_what_may_stand_once_and_stands_twice_is_answered_with_400() {
    for lines in [
        "Host: gate.example\r\n",
        "host: tracer-7f3a.example\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "sec-websocket-key: dHJhY2VyLTdmM2EAAAAAAA==\r\n",
        "Sec-WebSocket-Version: 13\r\n",
        "Sec-WebSocket-Version: 8\r\n",
        "Origin: https://a.example\r\nOrigin: https://a.example\r\n",
        "Origin: https://a.example\r\nORIGIN: https://tracer-7f3a.example\r\n",
        "Authorization: Bearer tracer-7f3a\r\nAuthorization: Bearer tracer-7f3a\r\n",
        "Authorization: Bearer a\r\nauthorization: Basic tracer-7f3a\r\n",
    ] {
        refuses(sound(lines), Reason::HeaderDuplicated).await;
    }
}

#[tokio::test]
async fn h09_lists_have_at_most_16_entries_and_1_kib() {
    let entries = |count: usize| (0..count).map(|number| format!("p{number}")).collect::<Vec<_>>().join(",");
    let bytes = |count: usize| format!("a,{}", "b".repeat(count - 2));
    for (field, reason) in [
        ("Sec-WebSocket-Protocol", Reason::SubprotocolsInvalid),
        ("Sec-WebSocket-Extensions", Reason::ExtensionsInvalid),
    ] {
        for list in [entries(16), bytes(1024)] {
            accepts(&sound(&format!("{field}: {list}\r\n"))).await;
        }
        for (list, limit) in [(entries(17), 16), (",".repeat(17), 16), (bytes(1025), 1024)] {
            let record = refuses(sound(&format!("{field}: {list}\r\n")), reason).await;
            assert_eq!(record["limit"], limit, "{record}");
        }
        // All lines of a header are one list.
        refuses(sound(&format!("{field}: {}\r\n{field}: z\r\n", entries(16))), reason).await;
        refuses(sound(&format!("{field}: {}\r\n", "a,".repeat(7_000))), reason).await;
        refuses(sound(&format!("{field}:\r\n")), reason).await;
    }
    let too_many = entries(17);
    refuses(
        changed("Upgrade: websocket", &format!("Upgrade: websocket,{too_many}")),
        Reason::RequestMalformed,
    )
    .await;
    refuses(
        changed("Connection: Upgrade", &format!("Connection: Upgrade,{too_many}")),
        Reason::RequestMalformed,
    )
    .await;
}

#[tokio::test]
async fn h09_extensions_that_made_parsers_of_others_crawl_are_answered_with_400() {
    let backslashes = "\\".repeat(900);
    for value in [
        format!("tracer-7f3a; b=\"{backslashes}"),
        format!("a; b=\"{backslashes}\""),
        format!("a{}", ";b".repeat(17)),
        format!("a; b=\"{}", "\\\"".repeat(400)),
        "a; b=\"c d\"".to_owned(),
        "a;".to_owned(),
        "a b".to_owned(),
        ";".to_owned(),
        "a; =b".to_owned(),
    ] {
        refuses(sound(&format!("Sec-WebSocket-Extensions: {value}\r\n")), Reason::ExtensionsInvalid).await;
    }
    // Space between the parts is allowed, as long as the list is short enough.
    accepts(&sound(&format!("Sec-WebSocket-Extensions: a;{}b\r\n", " ".repeat(1_000)))).await;
}

#[tokio::test]
async fn h10_a_request_line_has_at_most_8_kib() {
    let line_bytes = "GET / HTTP/1.1".len();
    let target = |bytes: usize| format!("/{}", "a".repeat(bytes - line_bytes));
    accepts(request(&target(8192), "").as_bytes()).await;
    let record = refuses(request(&target(8193), "").into_bytes(), Reason::RequestLineTooLong).await;
    assert_eq!(record["limit"], 8192);
    // It is refused before its end, wherever that may be.
    refuses(vec![b'a'; 8193], Reason::RequestLineTooLong).await;
}

#[tokio::test]
async fn h10_a_head_has_at_most_16_kib_and_64_headers() {
    let frame_bytes = request("/", "X: \r\n").len();
    let head = |bytes: usize| request("/", &format!("X: {}\r\n", "a".repeat(bytes - frame_bytes)));
    accepts(head(16_384).as_bytes()).await;
    let record = refuses(head(16_385).into_bytes(), Reason::RequestHeadTooLarge).await;
    assert_eq!(record["limit"], 16_384);

    let lines = |count: usize| "X: tracer-7f3a\r\n".repeat(count - 5);
    accepts(request("/", &lines(64)).as_bytes()).await;
    for count in [65, 2_000] {
        let record = refuses(request("/", &lines(count)).into_bytes(), Reason::RequestHeadersTooMany).await;
        assert_eq!(record["limit"], 64);
    }
}

#[tokio::test]
async fn h10_a_huge_head_is_not_read_to_its_end() {
    let endless = request("/", "").replace("\r\n\r\n", "\r\nX: ") + &"a".repeat(10_000_000);
    let read_bytes = read_of(endless.as_bytes(), 431).await;
    assert!(read_bytes <= HEAD_BYTES_MAX + 1 + DISCARDED_BYTES_MAX, "{read_bytes} bytes were read");
    let many = format!("GET / HTTP/1.1\r\n{}", "X: tracer-7f3a\r\n".repeat(600_000));
    let read_bytes = read_of(many.as_bytes(), 431).await;
    assert!(read_bytes <= HEAD_BYTES_MAX + 1 + DISCARDED_BYTES_MAX, "{read_bytes} bytes were read");
}

#[tokio::test]
async fn h10_a_head_that_comes_byte_by_byte_costs_no_more_than_its_bytes() {
    let frame_bytes = request("/", "X: \r\n").len();
    let sent = request("/", &format!("X: {}\r\n", "a".repeat(HEAD_BYTES_MAX - frame_bytes)));
    let (mut client, server) = tokio::io::duplex(1);
    let (counted, reading) = Counted::new(server);
    // Who looked at all that has come with each byte would take 134 million steps, and far more time than this.
    let patient = echo("", "").replace("head_timeout = \"300ms\"", "head_timeout = \"1s\"");
    let serving = serve(counted, &patient);
    client.write_all(sent.as_bytes()).await.unwrap();
    let mut answer = vec![0; SWITCHING.len()];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), SWITCHING);
    assert_eq!(reading.bytes(), HEAD_BYTES_MAX);
    drop(client);
    serving.await.unwrap();
}

#[tokio::test]
async fn h11_silence_is_answered_with_408_at_the_deadline() {
    for sent in ["", "GET / HTTP/1.1\r\nX-Tracer: tracer-7f3a\r\nHost: gate.example\r\n"] {
        let mut case = Case::start(&echo("", "")).await;
        let begun_at = Instant::now();
        let mut raw = case.connect().await;
        raw.send(sent.as_bytes()).await;
        expect_timeout(&mut raw, begun_at).await;
        // The client stays, and is gone all the same.
        let record = refused(&mut case, Reason::RequestTimeout, sent.as_bytes()).await;
        assert_eq!(record["limit"], 300);
    }
}

#[tokio::test]
async fn h11_bytes_that_drip_do_not_move_the_deadline() {
    let mut case = Case::start(&echo("", "")).await;
    let sent = request("/", &"X-Tracer: tracer-7f3a\r\n".repeat(50));
    let begun_at = Instant::now();
    let mut raw = case.connect().await;
    let sent_bytes = raw.drip(sent.as_bytes(), Duration::from_millis(5)).await;
    assert!((2..sent.len()).contains(&sent_bytes), "{sent_bytes} bytes were sent");
    expect_timeout(&mut raw, begun_at).await;
    let (_, record) = tokio::join!(
        raw.drip(&sent.as_bytes()[sent_bytes..], Duration::from_millis(5)),
        refused(&mut case, Reason::RequestTimeout, sent.as_bytes()),
    );
    assert_eq!(record["limit"], 300);
}

#[tokio::test]
async fn h11_half_a_client_hello_is_no_request() {
    refuses(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03tracer-7f3a".to_vec(), Reason::RequestMalformed)
        .await;
}

#[tokio::test]
async fn h11_a_client_that_leaves_in_mid_request_is_recorded_and_forgotten() {
    for sent in ["", "GET / HTTP/1.1\r\nX-Tracer: tracer-7f3a\r\n"] {
        let mut case = Case::start(&echo("", "")).await;
        let mut raw = case.connect().await;
        raw.send(sent.as_bytes()).await;
        raw.stream.shutdown().await.unwrap();
        raw.expect_end().await;
        refused(&mut case, Reason::RequestIncomplete, sent.as_bytes()).await;
    }
}

#[tokio::test]
async fn h14_only_a_path_or_an_address_that_equals_host_is_a_target() {
    for target in ["http://gate.example/", "ws://gate.example/a?b", "WSS://GATE.example/"] {
        accepts(request(target, "").as_bytes()).await;
    }
    for target in [
        "http://tracer-7f3a.example/",
        "http://gate.example:80/",
        "http://user@gate.example/",
        "http://gate.example.tracer-7f3a/",
        "http:///",
        "http://gate.example",
        "ftp://gate.example/",
        "gate.example:80",
        "gate.example",
        "*",
        "tracer-7f3a",
    ] {
        refuses(request(target, "").into_bytes(), Reason::RequestTargetInvalid).await;
    }
    for (method, target) in [("CONNECT", "gate.example:80"), ("CONNECT", "/"), ("OPTIONS", "*")] {
        refuses(changed("GET /", &format!("{method} {target}")), Reason::MethodNotAllowed).await;
    }
}

#[tokio::test]
async fn h15_a_body_is_answered_with_400_and_not_read_as_a_request() {
    for lines in [
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\n",
        "content-length: tracer-7f3a\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "transfer-encoding: tracer-7f3a\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
    ] {
        let mut sent = sound(lines);
        sent.extend_from_slice(b"0\r\n\r\nGET /tracer-7f3a HTTP/1.1\r\nHost: gate.example\r\n\r\n");
        refuses(sent, Reason::RequestBodyRefused).await;
    }
}

#[tokio::test]
async fn h16_other_versions_of_http_are_refused_at_the_end_of_the_first_line() {
    for (line, reason) in [
        ("GET /tracer-7f3a", Reason::RequestMalformed),
        ("GET /tracer-7f3a HTTP/0.9", Reason::RequestMalformed),
        ("GET /tracer-7f3a HTTP/1.0", Reason::HttpVersionUnsupported),
        ("GET /tracer-7f3a HTTP/1.2", Reason::HttpVersionUnsupported),
        ("GET /tracer-7f3a HTTP/2.0", Reason::HttpVersionUnsupported),
        ("PRI * HTTP/2.0", Reason::HttpVersionUnsupported),
        ("GET /tracer-7f3a HTTP/1.10", Reason::RequestMalformed),
        ("GET /tracer-7f3a HTTP/1,1", Reason::RequestMalformed),
        ("GET /tracer-7f3a http/1.1", Reason::RequestMalformed),
        ("GET /tracer-7f3a HTTPS/1.1", Reason::RequestMalformed),
        ("GET /tracer-7f3a RTSP/1.1", Reason::RequestMalformed),
    ] {
        // Nothing follows: whoever waits for a whole head would answer with 408.
        refuses(format!("{line}\r\n").into_bytes(), reason).await;
        refuses(changed("GET / HTTP/1.1", line), reason).await;
    }
}

#[tokio::test]
async fn h17_lines_that_two_readers_may_read_in_two_ways_are_answered_with_400() {
    for (from, to) in [
        ("HTTP/1.1\r\n", "HTTP/1.1\n"),
        ("gate.example\r\n", "gate.example\n"),
        ("\r\n\r\n", "\r\n\n"),
        ("\r\n\r\n", "\n\n"),
        ("Host: ", "Host: \r"),
        ("GET / ", "\r\nGET / "),
        ("GET / ", "GET  / "),
        ("GET / ", "GET\t/ "),
        ("GET / ", " GET / "),
        ("GET / ", "GET / / "),
        ("Host:", " X: a\r\nHost:"),
        ("\r\n\r\n", "\r\n tracer-7f3a\r\n\r\n"),
        ("\r\n\r\n", "\r\n\ttracer-7f3a\r\n\r\n"),
        ("\r\n\r\n", "\r\n: tracer-7f3a\r\n\r\n"),
        ("\r\n\r\n", "\r\ntracer-7f3a\r\n\r\n"),
        ("Host:", "Host :"),
        ("Host:", "Ho st:"),
        ("Host:", "H\0st:"),
        ("Host:", "H\u{e4}st:"),
        ("gate.example", "gate\0.example"),
        ("gate.example", "gate\u{1b}[2J.example"),
        ("gate.example", "gate\u{7f}.example"),
        ("/ HTTP", "/\0 HTTP"),
    ] {
        refuses(changed(from, to), Reason::RequestMalformed).await;
    }
}

#[tokio::test]
async fn h18_names_with_underscores_say_nothing_about_the_client() {
    let mut case = Case::start(&echo("", "")).await;
    let more = "X_Forwarded_For: 203.0.113.7\r\nX-Forwarded-For: 203.0.113.8\r\nForwarded: for=203.0.113.9\r\n\
                X_Real_IP: 203.0.113.10\r\nSec_WebSocket_Key: tracer-7f3a\r\nSec_WebSocket_Protocol: tracer-7f3a\r\n\
                X_User_Id: tracer-7f3a\r\nOrigin_: tracer-7f3a\r\n";
    let mut raw = case.connect().await;
    raw.send(request("/", more).as_bytes()).await;
    assert_eq!(raw.read_response().await.head, SWITCHING);
    raw.send_frame(0x88, &1000_u16.to_be_bytes()).await;
    assert_eq!(raw.read_close().await.0, 1000);
    drop(raw);
    case.ended(Reason::ClosedByClient).await;
    let records = case.records();
    assert!(records.iter().all(|record| record["client"] == "127.0.0.1"), "{records:?}");
    let log = case.log_text();
    assert!(!log.contains("203.0.113.") && !log.contains(TRACER), "{log}");
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn h20_line_ends_and_separators_in_protocols_and_paths_are_refused_and_not_reflected() {
    for protocol in ["a b", "a;b", "a\"b", "a:b", "(a)", "a/b", "\u{e4}", "a, tracer-7f3a=1", "a, a", "", ","]
    {
        let sent = sound(&format!("Sec-WebSocket-Protocol: {protocol}\r\n"));
        refuses(sent, Reason::SubprotocolsInvalid).await;
    }
    for lines in [
        "Sec-WebSocket-Protocol: a\rSet-Cookie: tracer-7f3a\r\n",
        "Sec-WebSocket-Protocol: a\nSet-Cookie: tracer-7f3a\r\n",
        "Sec-WebSocket-Protocol: a\r\r\nSet-Cookie: tracer-7f3a\r\n",
        "Sec-WebSocket-Protocol: a\0\r\n",
    ] {
        refuses(sound(lines), Reason::RequestMalformed).await;
    }
    for target in ["/\rtracer-7f3a", "/\ntracer-7f3a", "/a\r\nSet-Cookie: tracer-7f3a\r\n"] {
        refuses(request(target, "").into_bytes(), Reason::RequestMalformed).await;
    }
    for target in ["/%0d%0aSet-Cookie:%20tracer-7f3a", "/%0a", "/%0D"] {
        refuses(request(target, "").into_bytes(), Reason::RequestTargetInvalid).await;
    }
}

#[tokio::test]
async fn h21_a_thousand_subprotocols_are_too_many_and_of_few_none_is_echoed() {
    let offer = |count: usize| {
        let protocols: Vec<_> = (0..count).map(|number| format!("p{number}")).collect();
        sound(&format!("Sec-WebSocket-Protocol: {}\r\n", protocols.join(", ")))
    };
    for count in [17, 1_000] {
        let record = refuses(offer(count), Reason::SubprotocolsInvalid).await;
        assert_eq!(record["limit"], 16);
    }
    for count in [1, 16] {
        accepts(&offer(count)).await;
    }
}

#[tokio::test]
async fn h22_a_path_has_one_spelling_or_is_answered_with_400() {
    for target in [
        "/../tracer-7f3a",
        "/a/../tracer-7f3a",
        "/a/..",
        "/./",
        "/a/.",
        "//",
        "//tracer-7f3a.example/",
        "/a//b",
        "/a//",
        "/%2e%2e/tracer-7f3a",
        "/%2E/",
        "/.%2e/",
        "/%61",
        "/a%00b",
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a%3bb",
        "/%c0%ae%c0%ae/",
        "/%ff",
        "/%",
        "/%1",
        "/%zz",
        "/a;b",
        "/a;jsessionid=tracer-7f3a",
        "/a\\b",
        "/\\..\\tracer-7f3a",
        "/a#tracer-7f3a",
        "/a?b#c",
        "/a?%",
        "/a?<script>tracer-7f3a</script>",
        "/\u{e4}",
    ] {
        refuses(request(target, "").into_bytes(), Reason::RequestTargetInvalid).await;
    }
    for target in ["/a/b.c/...", "/%C3%A4%20", "/a/", "/a?b=//../%2e;", "/a:@!$&'()*+,=b"] {
        accepts(request(target, "").as_bytes()).await;
    }
}

#[tokio::test]
async fn h23_an_upgrade_to_http_2_is_never_taken() {
    let upgrade = "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: tracer-7f3a\r\nUpgrade: ";
    let both = "Connection: Upgrade\r\n";
    let head = String::from_utf8(changed("Upgrade: websocket\r\n", "")).unwrap();
    let refused_head = head.replace(both, &format!("{upgrade}h2c\r\n"));
    refuses(refused_head.into_bytes(), Reason::UpgradeRequired).await;
    // Beside ours it is an offer like another, and not taken.
    let accepted_head = head.replace(both, &format!("{upgrade}h2c, websocket\r\n"));
    accepts(accepted_head.as_bytes()).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0tracer-7f3a";
    refuses(preface.to_vec(), Reason::HttpVersionUnsupported).await;
}

#[tokio::test]
async fn h28_plain_requests_are_answered_with_426_or_405() {
    let plain = "/ HTTP/1.1\r\nHost: gate.example\r\nUser-Agent: tracer-7f3a\r\n\r\n";
    refuses(format!("GET {plain}").into_bytes(), Reason::UpgradeRequired).await;
    refuses(format!("OPTIONS {plain}").into_bytes(), Reason::MethodNotAllowed).await;
    refuses(changed("GET", "OPTIONS"), Reason::MethodNotAllowed).await;
}

#[tokio::test]
async fn h28_the_answer_to_head_has_the_headers_of_a_refusal_and_no_body() {
    for (sent, reason) in [
        (changed("GET", "HEAD"), Reason::MethodNotAllowed),
        (b"HEAD / HTTP/1.1\r\nHost: gate.example\r\n\r\n".to_vec(), Reason::MethodNotAllowed),
        (b"HEAD / HTTP/1.0\r\n".to_vec(), Reason::HttpVersionUnsupported),
    ] {
        let mut case = Case::start(&echo("", "")).await;
        let mut raw = case.connect().await;
        raw.send(&sent).await;
        let mut answer = Vec::new();
        raw.stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), head_of(reason));
        drop(raw);
        refused(&mut case, reason, &sent).await;
    }
}

#[tokio::test]
async fn h28_nothing_of_admin_is_on_a_public_listener() {
    let admin = "[admin]\naddress = \"127.0.0.1:0\"\n";
    let toml = echo("", admin).replace("path = \"/*\"", "path = \"/\"");
    for path in ["/metrics", "/healthz", "/readyz", "/v1/sessions", "/v1/openapi.json", "/admin"] {
        let mut case = Case::start(&toml).await;
        assert!(case.admin.is_some_and(|admin| admin != case.address));
        answers(&mut case, request(path, "").as_bytes(), Reason::RouteNotFound).await;
        let mut case = Case::start(&toml).await;
        let plain = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", case.address);
        answers(&mut case, plain.as_bytes(), Reason::UpgradeRequired).await;
    }
}

#[tokio::test]
async fn a_refusal_that_passes_says_when_to_come_back() {
    let firewall = "[firewall]\nconnections_per_client_max = 1\n";
    let mut case = Case::start(&echo("", firewall)).await;
    let sent = sound("");
    answers(&mut case, &sent, Reason::ClientConnectionsExceeded).await;
    assert!(head_of(Reason::ClientConnectionsExceeded).contains("\r\nRetry-After: 30\r\n"));
}

/// The gateway gives up on a head at its deadline of 300 ms, not before and not much later.
async fn expect_timeout(raw: &mut Raw, begun_at: Instant) {
    let response = raw.expect_refusal(Reason::RequestTimeout).await;
    let elapsed = begun_at.elapsed();
    assert_eq!(response.head, head_of(Reason::RequestTimeout));
    let due = Duration::from_millis(300)..Duration::from_millis(1_000);
    assert!(due.contains(&elapsed), "{elapsed:?}");
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// What is read of a client that was refused, until it is cut off: 64 KiB, and what the last read brings.
const DISCARDED_BYTES_MAX: usize = 65 * 1024;
