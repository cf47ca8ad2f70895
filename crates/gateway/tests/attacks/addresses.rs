//! R03 to R05 and R24: who the client is. In most cases the trusted proxy is at 127.0.0.2, and whoever is not trusted at
//! 127.0.0.1.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use drawgate::config::Config;
use drawgate::firewall::AddressBan;
use drawgate::reason::Reason;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{Case, Frame, PATIENCE, Raw, echo, eventually, request};

/// An echo, and beside its listener one that is connected to by proxies, in `routes.echo` as well.
fn proxied(versions: &str, more: &str) -> String {
    echo("", &format!("[firewall]\ntrusted_proxies = [\"127.0.0.2/32\"]\n{more}"))
        .replace(r#"listeners = ["main"]"#, r#"listeners = ["main", "proxied"]"#)
        .replace(
            "[routes.echo]",
            &format!(
                r#"
                [listeners.proxied]
                address = "127.0.0.1:0"
                tls = "none"
                proxy_protocol = "{versions}"
                proxy_header_timeout = "300ms"
                [routes.echo]"#
            ),
        )
}

/// An echo that takes the word of 127.0.0.2, and of 10.0.0.0/8, in this header.
fn behind(header: &str, more: &str) -> String {
    let firewall = format!(
        "[firewall]\ntrusted_proxies = [\"127.0.0.2/32\", \"10.0.0.0/8\"]\nclient_address_header = \"{header}\"\n{more}"
    );
    echo("", &firewall)
}

/// A header of version 2 for a client that came over TCP.
fn block(source: &str, extensions: &[u8]) -> Vec<u8> {
    let source: SocketAddr = source.parse().unwrap();
    let (family, mut body) = match source {
        SocketAddr::V4(source) => (0x11, [source.ip().octets(), [192, 0, 2, 1]].concat()),
        SocketAddr::V6(source) => (0x21, [source.ip().octets(), [9; 16]].concat()),
    };
    body.extend(source.port().to_be_bytes());
    body.extend(443_u16.to_be_bytes());
    body.extend(extensions);
    block_of(0x21, family, &body)
}

fn block_of(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut block = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    block.extend([command, family]);
    block.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    block.extend(body);
    block
}

/// A connection from the trusted proxy to the last listener.
async fn from_proxy(case: &Case) -> Raw {
    Raw::connect_from(2, *case.addresses.last().unwrap()).await
}

/// A connection from the trusted proxy that begins with `header` and is upgraded.
async fn open_for(case: &Case, header: &[u8]) -> Raw {
    let mut raw = from_proxy(case).await;
    raw.send(header).await;
    raw.upgrade("/").await;
    raw
}

/// The answer to a request from the trusted proxy with these header lines.
async fn ask(case: &Case, headers: &str) -> (Raw, u16) {
    let mut raw = from_proxy(case).await;
    raw.send(request("/", headers).as_bytes()).await;
    let status = raw.read_response().await.status;
    (raw, status)
}

/// The records of connections that were opened: client and proxy.
fn opened(case: &Case) -> Vec<(Value, Value)> {
    let records = case.records().into_iter().filter(|record| record["message"] == "connection opened");
    // The first is the neighbour's.
    records.skip(1).map(|record| (record["client"].clone(), record["via"].clone())).collect()
}

#[tokio::test]
async fn r05_the_client_is_whom_the_trusted_proxy_names_before_anything_else() {
    let mut case = Case::start(&proxied("any", "")).await;
    let line = b"PROXY TCP4 203.0.113.7 192.0.2.1 54321 443\r\n";
    let mut first = open_for(&case, line).await;
    first.send_frame(0x81, b"hello").await;
    assert_eq!(first.read_frame().await, Frame::whole(0x81, b"hello"));
    let _second = open_for(&case, &block("[2001:db8::7]:1", b"\x01\x00\x02h2")).await;
    let _third = open_for(&case, &block("[::ffff:203.0.113.9]:1", b"")).await;
    assert_eq!(
        opened(&case),
        ["203.0.113.7", "2001:db8::7", "203.0.113.9"].map(|client| (json!(client), json!("127.0.0.2")))
    );
    // All in one segment, or a byte at a time: what follows the header is the request's.
    let mut whole = from_proxy(&case).await;
    whole.send(&[line, request("/", "").as_bytes()].concat()).await;
    assert_eq!(whole.read_response().await.status, 101);
    let mut trickled = from_proxy(&case).await;
    trickled.trickle(&block("198.51.100.1:9", b""), Duration::from_millis(1)).await;
    trickled.upgrade("/").await;

    drop(first);
    let record = ended(&case, Reason::ConnectionLost).await;
    assert_eq!((&record["client"], &record["via"]), (&json!("203.0.113.7"), &json!("127.0.0.2")));
    case.neighbour_is_unharmed().await;
}

/// The record of the only connection that ended for `reason`.
async fn ended(case: &Case, reason: Reason) -> Value {
    eventually(|| !case.records_of(reason).is_empty(), || case.log_text()).await;
    let records = case.records_of(reason);
    assert_eq!(records.len(), 1, "{records:?}");
    records[0].clone()
}

#[tokio::test]
async fn r05_a_header_from_anybody_else_is_not_even_read() {
    let mut case = Case::start(&proxied("any", "")).await;
    let sent = [&block("203.0.113.7:1", b""), request("/", "").as_bytes()].concat();
    let mut raw = Raw::connect(case.addresses[1]).await;
    raw.send(&sent).await;
    raw.expect_end().await;
    drop(raw);
    let record = case.refused(Reason::ProxyUntrusted, &sent).await;
    assert_eq!((&record["http_status"], &record["via"]), (&Value::Null, &Value::Null));
    // Where none is expected, a header is no request.
    let mut raw = Raw::connect_from(2, case.address).await;
    raw.send(&sent).await;
    assert_eq!(raw.read_response().await.status, 400);
}

#[tokio::test]
async fn r05_a_missing_or_malformed_header_ends_the_connection_without_a_word() {
    let long = |bytes: usize| block_of(0x20, 0, &vec![0; bytes - 16]);
    for (versions, sent, detail) in [
        ("v2", request("/", "").into_bytes(), "does not begin with a PROXY header"),
        (
            "v2",
            b"\x16\x03\x01\x00\xff\x01\x00\x00\xfb\x03\x03".to_vec(),
            "does not begin with a PROXY header",
        ),
        ("v2", b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\n".to_vec(), "of the version that is expected"),
        ("v1", block("203.0.113.7:1", b""), "of the version that is expected"),
        ("any", b"PROXY UDP4 203.0.113.7 192.0.2.1 1 2\r\n".to_vec(), "line is malformed"),
        ("any", b"PROXY UNKNOWN\r\n".to_vec(), "does not know the client"),
        ("any", block_of(0x21, 0x00, b""), "does not know the client"),
        ("any", block_of(0x21, 0x12, &[1; 12]), "something else than TCP"),
        ("any", block_of(0x21, 0x31, &[1; 216]), "something else than TCP"),
        ("any", block_of(0x22, 0x11, &[1; 12]), "command that does not exist"),
        ("any", block_of(0x21, 0x11, &[1; 11]), "lengths that do not fit"),
        ("any", long(537), "more bytes than allowed"),
        ("any", [&b"PROXY UNKNOWN "[..], &[b'a'; 200]].concat(), "more bytes than allowed"),
    ] {
        let case = Case::start(&proxied(versions, "")).await;
        let mut raw = from_proxy(&case).await;
        raw.send(&sent).await;
        raw.expect_end().await;
        let record = ended(&case, Reason::ProxyHeaderInvalid).await;
        assert!(record["detail"].as_str().unwrap().contains(detail), "{record}");
        assert_eq!(
            (&record["client"], &record["http_status"]),
            (&json!("127.0.0.2"), &Value::Null),
            "{record}"
        );
        case.keeps_nothing_of(&sent);
        // At the bound it is read: such a block speaks for the proxy itself.
        if versions != "v1" {
            let _bound = open_for(&case, &long(536)).await;
            assert_eq!(opened(&case), [(json!("127.0.0.2"), Value::Null)]);
        }
    }
}

#[tokio::test]
async fn r05_a_header_that_does_not_come_in_time_ends_the_connection() {
    for begun in [&b""[..], b"PROXY TCP4 203", b"\r\n\r\n\0\r\nQUIT\n\x21"] {
        let case = Case::start(&proxied("any", "")).await;
        let begun_at = Instant::now();
        let mut raw = from_proxy(&case).await;
        raw.trickle(begun, Duration::from_millis(5)).await;
        raw.expect_end().await;
        assert!((Duration::from_millis(290)..PATIENCE).contains(&begun_at.elapsed()));
        let record = ended(&case, Reason::ProxyHeaderTimeout).await;
        assert_eq!(record["limit"], 300, "{record}");
    }
    // By default it is three seconds.
    let toml = proxied("any", "").replace("proxy_header_timeout = \"300ms\"", "");
    let config = Config::from_toml(&toml, Path::new("."), &|_| None).unwrap();
    assert_eq!(config.listeners[1].proxy_header_timeout, Duration::from_secs(3));
}

#[tokio::test]
async fn r05_who_only_looks_whether_somebody_listens_is_no_fault() {
    let case = Case::start(&proxied("any", "")).await;
    drop(from_proxy(&case).await);
    let record = ended(&case, Reason::RequestIncomplete).await;
    assert_eq!(record["client"], "127.0.0.2");
}

#[tokio::test]
async fn r03_clients_behind_a_proxy_are_counted_by_their_own_networks() {
    let mut case = Case::start(&proxied("v2", "connections_per_client_max = 2")).await;
    let of = |source: &str| block(source, b"");
    let mut held = vec![
        open_for(&case, &of("[2001:db8:1:2::1]:1")).await,
        open_for(&case, &of("[2001:db8:1:2:ffff::9]:1")).await,
        open_for(&case, &of("203.0.113.7:1")).await,
        open_for(&case, &of("[::ffff:203.0.113.7]:1")).await,
    ];
    // However the rest of its address turns, and however it is written.
    for source in ["[2001:db8:1:2:a:b:c:d]:2", "203.0.113.7:2", "[::ffff:203.0.113.7]:3"] {
        let mut raw = from_proxy(&case).await;
        raw.send(&of(source)).await;
        assert_eq!(raw.expect_refusal(Reason::ClientConnectionsExceeded).await.status, 429);
    }
    // The next network and the next address are others; the proxy, which has made all of these, is at no limit.
    for source in ["[2001:db8:1:3::1]:1", "203.0.113.8:1", "198.51.100.1:1"] {
        held.push(open_for(&case, &of(source)).await);
    }
    eventually(|| case.ends(Reason::ClientConnectionsExceeded) == 3, || case.log_text()).await;
    let records = case.records_of(Reason::ClientConnectionsExceeded);
    assert_eq!(records[0]["client"], "2001:db8:1:2:a:b:c:d");
    assert_eq!(
        (&records[1]["client"], &records[2]["client"]),
        (&json!("203.0.113.7"), &json!("203.0.113.7"))
    );
    // A slot comes back with its connection.
    drop(held.swap_remove(2));
    ended(&case, Reason::ConnectionLost).await;
    let _again = open_for(&case, &of("203.0.113.7:4")).await;
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn r02_handshakes_behind_a_proxy_count_for_their_client() {
    // One at once.
    let case = Case::start(&proxied("v2", "handshakes_per_client_per_minute = 10")).await;
    for host in 1..=5 {
        let _open = open_for(&case, &block(&format!("203.0.113.{host}:1"), b"")).await;
        let mut raw = from_proxy(&case).await;
        raw.send(&block(&format!("203.0.113.{host}:2"), b"")).await;
        raw.expect_refusal(Reason::HandshakeRateExceeded).await;
    }
    eventually(|| case.ends(Reason::HandshakeRateExceeded) == 5, || case.log_text()).await;
}

#[tokio::test]
async fn r04_the_header_of_somebody_who_is_not_trusted_says_nothing() {
    let mut case = Case::start(&behind("x_forwarded_for", "connections_per_client_max = 2")).await;
    let spoof = "X-Forwarded-For: 203.0.113.7\r\nForwarded: for=203.0.113.8\r\n";
    let mut raw = case.connect().await;
    raw.send(request("/", spoof).as_bytes()).await;
    assert_eq!(raw.read_response().await.status, 101);
    assert_eq!(opened(&case), [(json!("127.0.0.1"), Value::Null)]);
    // Its own limit holds, whatever it says.
    let mut third = case.connect().await;
    third.send(request("/", &spoof.replace("203", "198")).as_bytes()).await;
    third.expect_refusal(Reason::ClientConnectionsExceeded).await;
    drop(raw);
    case.refused(Reason::ClientConnectionsExceeded, spoof.as_bytes()).await;
}

#[tokio::test]
async fn r04_the_rightmost_hop_that_is_not_trusted_is_the_client() {
    for (header, lines, client) in [
        ("x_forwarded_for", "X-Forwarded-For: 203.0.113.7\r\n", "203.0.113.7"),
        ("x_forwarded_for", "X-Forwarded-For: 198.51.100.1, 203.0.113.7\r\n", "203.0.113.7"),
        ("x_forwarded_for", "X-Forwarded-For: 198.51.100.1, 203.0.113.7, 10.1.1.1\r\n", "203.0.113.7"),
        (
            "x_forwarded_for",
            "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 203.0.113.7\r\n",
            "203.0.113.7",
        ),
        ("x_forwarded_for", "X-Forwarded-For: '\"<b>, 203.0.113.7\r\n", "203.0.113.7"),
        ("x_forwarded_for", "X-Forwarded-For: ::ffff:203.0.113.7\r\n", "203.0.113.7"),
        ("x_forwarded_for", "X-Forwarded-For: 203.0.113.7\r\nConnection: X-Forwarded-For\r\n", "203.0.113.7"),
        (
            "forwarded",
            "Forwarded: for=198.51.100.1, for=\"[2001:db8::1]:4711\";proto=https\r\n",
            "2001:db8::1",
        ),
        ("forwarded", "Forwarded: for=unknown, for=203.0.113.7, for=10.0.0.1\r\n", "203.0.113.7"),
        // Only the one that is configured counts, and only by its own name.
        ("forwarded", "X-Forwarded-For: 198.51.100.1\r\nForwarded: for=203.0.113.7\r\n", "203.0.113.7"),
        ("x_forwarded_for", "Forwarded: for=198.51.100.1\r\nX-Forwarded-For: 203.0.113.7\r\n", "203.0.113.7"),
        (
            "x_forwarded_for",
            "X-Forwarded-For: 203.0.113.7\r\nX_Forwarded_For: 198.51.100.1\r\n",
            "203.0.113.7",
        ),
    ] {
        let case = Case::start(&behind(header, "")).await;
        let (_raw, status) = ask(&case, lines).await;
        assert_eq!(status, 101, "{lines}");
        assert_eq!(opened(&case), [(json!(client), json!("127.0.0.2"))], "{lines}");
    }
}

#[tokio::test]
async fn r04_a_request_whose_client_cannot_be_known_is_refused() {
    for (header, lines, detail) in [
        ("x_forwarded_for", "", "names no client in X-Forwarded-For"),
        ("x_forwarded_for", "Forwarded: for=198.51.100.1\r\n", "names no client in X-Forwarded-For"),
        ("x_forwarded_for", "X_Forwarded_For: 198.51.100.1\r\n", "names no client in X-Forwarded-For"),
        ("x_forwarded_for", "X-Forwarded-For: \r\n", "is no address"),
        ("x_forwarded_for", "X-Forwarded-For: 198.51.100.1, unknown\r\n", "is no address"),
        ("x_forwarded_for", "X-Forwarded-For: 198.51.100.1, 0300.0.0.1, 10.0.0.1\r\n", "is no address"),
        ("x_forwarded_for", "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https, http\r\n", "scheme"),
        ("forwarded", "Forwarded: for=198.51.100.1, for=_hidden\r\n", "hides the client"),
        ("forwarded", "Forwarded: for=198.51.100.1, proto=https\r\n", "is no address"),
        ("forwarded", "Forwarded: for=198.51.100.1;x=\"\r\nForwarded: for=203.0.113.7\r\n", "grammar"),
    ] {
        let mut case = Case::start(&behind(header, "")).await;
        let mut raw = from_proxy(&case).await;
        let sent = request("/", lines);
        raw.send(sent.as_bytes()).await;
        assert_eq!(raw.expect_refusal(Reason::ForwardedInvalid).await.status, 400);
        drop(raw);
        let record = case.refused_from("127.0.0.2", Reason::ForwardedInvalid, sent.as_bytes()).await;
        assert!(record["detail"].as_str().unwrap().contains(detail), "{record}");
    }
}

#[tokio::test]
async fn r04_more_than_16_trusted_hops_are_refused_and_what_a_client_adds_is_not_counted() {
    let case = Case::start(&behind("x_forwarded_for", "")).await;
    let trusted = ["10.0.0.1"; 16].join(", ");
    let (_raw, status) = ask(&case, &format!("X-Forwarded-For: 203.0.113.7, {trusted}\r\n")).await;
    assert_eq!(status, 400);
    let (_raw, status) = ask(&case, &format!("X-Forwarded-For: {trusted}, {trusted}, 203.0.113.7\r\n")).await;
    assert_eq!(status, 101);
}

#[tokio::test]
async fn r04_limits_count_the_client_in_the_header_and_not_the_proxy() {
    let mut case = Case::start(&behind("x_forwarded_for", "connections_per_client_max = 2")).await;
    let mut held = Vec::new();
    for client in ["203.0.113.7", "203.0.113.7", "203.0.113.8", "2001:db8::1", "2001:db8::2"] {
        let (raw, status) = ask(&case, &format!("X-Forwarded-For: {client}\r\n")).await;
        assert_eq!(status, 101, "{client}");
        held.push(raw);
    }
    for client in ["203.0.113.7", "::ffff:203.0.113.7", "2001:db8::3"] {
        let mut raw = from_proxy(&case).await;
        raw.send(request("/", &format!("X-Forwarded-For: {client}\r\n")).as_bytes()).await;
        let response = raw.expect_refusal(Reason::ClientConnectionsExceeded).await;
        assert!(response.head.contains("Retry-After: 30\r\n"), "{response:?}");
    }
    eventually(|| case.ends(Reason::ClientConnectionsExceeded) == 3, || case.log_text()).await;
    let record = case.records_of(Reason::ClientConnectionsExceeded).remove(0);
    assert_eq!(
        (&record["client"], &record["via"], &record["limit"]),
        (&json!("203.0.113.7"), &json!("127.0.0.2"), &json!(2))
    );
    drop(held.remove(0));
    ended(&case, Reason::ConnectionLost).await;
    assert_eq!(ask(&case, "X-Forwarded-For: 203.0.113.7\r\n").await.1, 101);
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn r04_requests_that_are_refused_are_counted_and_recorded_as_the_clients() {
    // One at once.
    let case = Case::start(&behind("x_forwarded_for", "handshakes_per_client_per_minute = 10")).await;
    let asked = |client: &str| format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\r\n");
    for client in ["203.0.113.7", "203.0.113.8"] {
        for reason in [Reason::UpgradeRequired, Reason::HandshakeRateExceeded] {
            let mut raw = from_proxy(&case).await;
            raw.send(asked(client).as_bytes()).await;
            raw.expect_refusal(reason).await;
        }
    }
    eventually(|| case.ends(Reason::HandshakeRateExceeded) == 2, || case.log_text()).await;
    let records = case.records_of(Reason::UpgradeRequired);
    assert_eq!(
        (&records[0]["client"], &records[1]["client"]),
        (&json!("203.0.113.7"), &json!("203.0.113.8"))
    );
    // What is no HTTP has no header that could be believed.
    let mut raw = from_proxy(&case).await;
    raw.send(b"GET / HTTP/1.1\nX-Forwarded-For: 203.0.113.9\n\n").await;
    raw.expect_refusal(Reason::RequestMalformed).await;
    assert_eq!(ended(&case, Reason::RequestMalformed).await["client"], "127.0.0.2");
    // The answer to a HEAD has no body.
    let mut raw = from_proxy(&case).await;
    raw.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = raw.read_head().await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    raw.expect_end().await;
}

#[tokio::test]
async fn r05_a_proxy_in_front_of_the_proxy_is_followed_only_if_it_is_trusted_too() {
    // The header of requests counts where the PROXY header names one that is trusted.
    let more = "client_address_header = \"x_forwarded_for\"";
    let case =
        Case::start(&proxied("v2", more).replace("127.0.0.2/32\"", "127.0.0.2/32\", \"10.0.0.0/8\"")).await;
    let request = request("/", "X-Forwarded-For: 198.51.100.1\r\n");
    for (source, client) in [("10.0.0.9:1", "198.51.100.1"), ("203.0.113.7:1", "203.0.113.7")] {
        let mut raw = from_proxy(&case).await;
        raw.send(&[&block(source, b""), request.as_bytes()].concat()).await;
        assert_eq!(raw.read_response().await.status, 101);
        assert_eq!(opened(&case).pop().unwrap(), (json!(client), json!("127.0.0.2")));
    }
}

#[tokio::test]
async fn h12_behind_a_proxy_the_same_origin_has_the_scheme_that_the_proxy_saw() {
    let same = |toml: String| toml.replace("origins = \"any\"", "origins = \"same\"");
    let (https, http) = ("Origin: https://gate.example\r\n", "Origin: http://gate.example\r\n");
    let case = Case::start(&same(behind("x_forwarded_for", ""))).await;
    let client = "X-Forwarded-For: 203.0.113.7\r\n";
    for (scheme, origin, status) in [
        ("X-Forwarded-Proto: https\r\n", https, 101),
        ("X-Forwarded-Proto: https\r\n", http, 403),
        ("X-Forwarded-Proto: wss\r\n", https, 101),
        ("X-Forwarded-Proto: http\r\n", https, 403),
        ("X-Forwarded-Proto: http\r\n", http, 101),
        ("", http, 101),
        ("", https, 403),
    ] {
        assert_eq!(ask(&case, &format!("{client}{scheme}{origin}")).await.1, status, "{scheme}{origin}");
    }
    // Nobody else can say so.
    let mut raw = case.connect().await;
    raw.send(request("/", &format!("{client}X-Forwarded-Proto: https\r\n{https}")).as_bytes()).await;
    raw.expect_refusal(Reason::OriginRefused).await;

    let case = Case::start(&same(behind("forwarded", ""))).await;
    for (lines, status) in [("for=203.0.113.7;proto=https", 101), ("for=203.0.113.7", 403)] {
        assert_eq!(ask(&case, &format!("Forwarded: {lines}\r\n{https}")).await.1, status, "{lines}");
    }
    let case = Case::start(&same(proxied("v2", ""))).await;
    for (extensions, status) in
        [(&b"\x20\x00\x05\x01\0\0\0\0"[..], 101), (b"\x20\x00\x05\x00\0\0\0\0", 403), (b"", 403)]
    {
        let mut raw = from_proxy(&case).await;
        raw.send(&[&block("203.0.113.7:1", extensions), request("/", https).as_bytes()].concat()).await;
        assert_eq!(raw.read_response().await.status, status, "{extensions:?}");
    }
}

#[tokio::test]
async fn r24_only_networks_that_have_one_reading_are_taken() {
    for (network, advice) in [
        ("10.0.0.1/8", "write \"10.0.0.0/8\" for the whole network"),
        ("010.0.0.0/8", "without leading zeros"),
        ("10/8", "write four decimal numbers"),
        ("10.0.0.0/08", "write / and a number of bits"),
        ("10.0.0.0/33", "at most 32"),
        ("10.0.0.0/255.0.0.0", "write / and a number of bits"),
        ("::/16", "networks that hold none of ::ffff:0:0/96"),
        ("proxy.example/32", "names are not resolved"),
    ] {
        let toml = behind("forwarded", "").replace("10.0.0.0/8", network);
        let problems = Config::from_toml(&toml, Path::new("."), &|_| None).unwrap_err();
        let problem = problems.iter().next().unwrap();
        assert_eq!((problems.len(), &*problem.key), (1, "firewall.trusted_proxies[1]"), "{problem}");
        assert!(problem.advice.contains(advice), "{problem}");
    }
    // What is written mapped is the plain network, and nothing beside it.
    let toml = behind("x_forwarded_for", "").replace("127.0.0.2/32", "::ffff:127.0.0.2/128");
    let case = Case::start(&toml).await;
    assert_eq!(ask(&case, "X-Forwarded-For: 203.0.113.7\r\n").await.1, 101);
    assert_eq!(opened(&case), [(json!("203.0.113.7"), json!("127.0.0.2"))]);
}

#[tokio::test]
async fn r18_a_ban_is_of_the_client_that_the_proxy_names_and_not_of_the_proxy() {
    let case = Case::start(&proxied("any", "")).await;
    let mut banned = open_for(&case, &block("203.0.113.7:1", b"")).await;
    let mut other = open_for(&case, &block("203.0.113.8:1", b"")).await;
    let network = "203.0.113.7".parse().unwrap();
    let ban = AddressBan { network, until: None, reason: "it guesses".to_owned() };
    assert_eq!(case.bans.ban_address(ban).await.unwrap(), 1);
    assert_eq!(banned.read_close().await.1, Reason::AddressBanned.row().close_reason);
    let mut again = from_proxy(&case).await;
    again.send(&[&block("203.0.113.7:2", b"")[..], request("/", "").as_bytes()].concat()).await;
    again.expect_refusal(Reason::AddressBanned).await;
    other.send_frame(0x81, b"hello").await;
    assert_eq!(other.read_frame().await, Frame::whole(0x81, b"hello"));
}
