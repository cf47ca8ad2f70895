//! The observer through its public door: what is logged, counted and written to the error file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::sync::{Mutex, Once};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::clock::UnixTime;
use crate::inspect::Toward;
use crate::inspect::policy::Effect;
use crate::session::SessionId;

/// Longer than any run takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(30);

fn client() -> ClientAddr {
    ClientAddr::new("192.0.2.7".parse().unwrap())
}

fn opened(route: &str) -> Opened<'_> {
    Opened {
        connection: ConnectionId::new(0xab),
        client: client(),
        via: None,
        route,
        origin: None,
        subject: None,
        session: None,
        trace: None,
        handshake_duration: Duration::from_millis(3),
    }
}

fn refused(reason: Reason) -> Ended<'static> {
    Ended {
        connection: ConnectionId::new(0xab),
        client: client(),
        via: None,
        route: None,
        subject: None,
        session: None,
        trace: None,
        phase: Phase::Handshake,
        reason,
        ended_by: Side::Gateway,
        close_code: None,
        http_status: reason.row().status,
        violation: None,
        detail: None,
        origin: None,
        limit: None,
        observed: None,
        traffic: Traffic::default(),
        duration: Duration::from_millis(12),
    }
}

fn ended(reason: Reason) -> Ended<'static> {
    Ended { phase: Phase::Open, route: Some("chat"), http_status: None, ..refused(reason) }
}

fn observer() -> Observer {
    Observer::new(None, &["chat"], Clock::system()).unwrap()
}

/// An observer with an error file, and a reader of that file.
fn observer_with_file(directory: &TempDir) -> (Observer, impl Fn(&Observer) -> Vec<Value>) {
    let config =
        ErrorFile { path: directory.path().join("websocket_errors.log"), bytes_max: 1 << 20, files_max: 2 };
    let clock = Clock::anchored(UnixTime::from_millis(1_793_349_854_007));
    let observer = Observer::new(Some(&config), &["chat"], clock).unwrap();
    let read = move |observer: &Observer| {
        assert!(observer.flush(PATIENCE));
        let text = fs::read_to_string(&config.path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    (observer, read)
}

/// What `body` logs as JSON lines, as the program does it.
fn logged_json(body: impl FnOnce()) -> String {
    captured(|output| tracing_subscriber::fmt().json().flatten_event(true).with_writer(output).finish(), body)
}

/// What `body` logs as lines for people.
fn logged_text(body: impl FnOnce()) -> String {
    captured(|output| tracing_subscriber::fmt().with_ansi(false).with_writer(output).finish(), body)
}

fn captured<S>(subscriber: impl FnOnce(Mutex<Output>) -> S, body: impl FnOnce()) -> String
where
    S: tracing::Subscriber + Send + Sync,
{
    // What is logged on other threads meanwhile must not settle that nobody listens here: tracing remembers that for all.
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| tracing::subscriber::set_global_default(tracing_subscriber::registry()).unwrap());
    let output = Output::default();
    tracing::subscriber::with_default(subscriber(Mutex::new(output.clone())), body);
    let bytes = std::mem::take(&mut *output.0.lock().unwrap());
    String::from_utf8(bytes).unwrap()
}

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(body: impl FnOnce()) -> Vec<Value> {
    logged_json(body).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn sample(page: &str, series: &str) -> u64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} is not in\n{page}")).parse().unwrap()
}

#[test]
fn an_end_is_one_record_with_all_that_is_known() {
    let violation = Violation::MessageTooBig;
    let traffic = Traffic { messages_in: 1, bytes_in: 2, messages_out: 3, bytes_out: 4 };
    let end = Ended {
        via: Some(ClientAddr::new("192.0.2.8".parse().unwrap())),
        subject: Some("alice"),
        close_code: Some(1009),
        violation: Some(violation),
        detail: Some(&"declared by a frame"),
        limit: Some(65_536),
        observed: Some(70_000),
        traffic,
        ..ended(violation.into())
    };
    let mut records = logged(|| observer().connection_ended(&end));
    assert_eq!(records.len(), 1);
    let record = records[0].as_object_mut().unwrap();
    assert!(record.remove("timestamp").is_some());
    let expected = json!({
        "level": "WARN", "target": "drawgate", "message": "connection ended",
        "connection": "00000000000000ab", "client": "192.0.2.7", "via": "192.0.2.8", "route": "chat", "subject": "alice",
        "phase": "open", "reason": "message_too_big", "ended_by": "gateway", "close_code": 1009,
        "rule": "a message is larger than the limit", "section": "RFC 6455 §10.4",
        "detail": "declared by a frame", "limit": 65_536, "observed": 70_000,
        "messages_in": 1, "bytes_in": 2, "messages_out": 3, "bytes_out": 4, "duration_ms": 12,
    });
    assert_eq!(records[0], expected);
}

#[test]
fn an_opened_connection_is_one_record_and_one_in_the_gauge_until_it_ends() {
    let observer = observer();
    let records = logged(|| observer.connection_opened(&opened("chat")));
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["message"], "connection opened");
    assert_eq!(records[0]["connection"], "00000000000000ab");
    assert_eq!(records[0]["handshake_ms"], 3);
    assert_eq!(sample(&observer.render(), r#"drawgate_connections{route="chat"}"#), 1);
    assert_eq!(observer.route_metrics("chat").connections(), 1);
    observer.connection_ended(&ended(Reason::ClosedByClient));
    assert_eq!(sample(&observer.render(), r#"drawgate_connections{route="chat"}"#), 0);
}

#[test]
fn every_reason_is_logged_at_its_level_and_counted_by_its_label() {
    let observer = observer();
    for reason in Reason::ALL {
        let records = logged(|| observer.connection_ended(&ended(reason)));
        let row = reason.row();
        assert_eq!(records.len(), 1, "{}", row.label);
        assert_eq!(records[0]["reason"], row.label);
        assert_eq!(records[0]["level"], row.level.label().to_ascii_uppercase());
        let series = format!(r#"drawgate_ends_total{{reason="{}",side="gateway"}}"#, row.label);
        assert_eq!(sample(&observer.render(), &series), 1);
    }
}

#[test]
fn handshakes_and_durations_are_counted_by_how_far_a_connection_came() {
    let observer = observer();
    observer.connection_ended(&refused(Reason::OriginRefused));
    observer.connection_opened(&opened("chat"));
    observer.connection_ended(&ended(Reason::ClosedByClient));
    let page = observer.render();
    assert_eq!(sample(&page, r#"drawgate_handshakes_total{result="accepted"}"#), 1);
    assert_eq!(sample(&page, r#"drawgate_handshakes_total{result="failed"}"#), 1);
    assert_eq!(sample(&page, "drawgate_handshake_duration_seconds_count"), 2);
    assert_eq!(sample(&page, "drawgate_connection_duration_seconds_count"), 1);
    assert_eq!(sample(&page, r#"drawgate_connections{route="none"}"#), 0);
}

#[test]
fn buffered_bytes_and_exhausted_descriptors_are_counted() {
    let observer = observer();
    observer.buffered_bytes().inc_by(4096);
    observer.buffered_bytes().dec_by(96);
    observer.descriptors_exhausted();
    assert_eq!(sample(&observer.render(), "drawgate_buffered_bytes"), 4000);
    assert_eq!(sample(&observer.render(), "drawgate_descriptors_exhausted_total"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_error_file_takes_refusals_and_abnormal_ends_and_no_others() {
    let directory = TempDir::new().unwrap();
    let (observer, read) = observer_with_file(&directory);
    observer.connection_opened(&opened("chat"));
    observer.connection_ended(&refused(Reason::OriginRefused));
    observer.connection_ended(&refused(Reason::Draining));
    observer.connection_ended(&ended(Reason::ClosedByClient));
    observer.connection_ended(&ended(Reason::Draining));
    observer.connection_ended(&ended(Reason::ConnectionLost));
    let lines = read(&observer);
    let reasons: Vec<_> = lines.iter().map(|line| line["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["origin_refused", "draining", "connection_lost"]);
    let expected = json!({
        "time": "2026-10-30T08:44:14.007Z", "level": "warn", "message": "handshake failed",
        "connection": "00000000000000ab", "client": "192.0.2.7", "phase": "handshake",
        "reason": "origin_refused", "ended_by": "gateway", "http_status": 403,
        "messages_in": 0, "bytes_in": 0, "messages_out": 0, "bytes_out": 0, "duration_ms": 12,
    });
    assert_eq!(lines[0], expected);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_observer_writes_what_is_queued() {
    let directory = TempDir::new().unwrap();
    let (observer, _) = observer_with_file(&directory);
    let other = observer.clone();
    drop(observer);
    other.connection_ended(&refused(Reason::OriginRefused));
    drop(other);
    let text = fs::read_to_string(directory.path().join("websocket_errors.log")).unwrap();
    assert_eq!(text.lines().count(), 1);
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn a_full_disk_loses_records_counts_them_and_recovers() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("websocket_errors.log");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let config = ErrorFile { path: path.clone(), bytes_max: 1 << 20, files_max: 2 };
    let observer = Observer::new(Some(&config), &["chat"], Clock::system()).unwrap();
    observer.connection_ended(&refused(Reason::OriginRefused));
    assert!(observer.flush(PATIENCE));
    let dropped = r#"drawgate_log_records_dropped_total{cause="write_failed"}"#;
    assert_eq!(sample(&observer.render(), dropped), 1);

    fs::remove_file(&path).unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    observer.connection_ended(&refused(Reason::HostInvalid));
    assert!(observer.flush(PATIENCE));
    assert!(fs::read_to_string(&path).unwrap().contains("host_invalid"));
    assert_eq!(sample(&observer.render(), dropped), 1);
}

#[tokio::test(start_paused = true)]
async fn r15_a_flood_of_refusals_is_few_records_and_an_exact_count() {
    const FLOOD: u64 = 100_000;
    let directory = TempDir::new().unwrap();
    let (observer, read) = observer_with_file(&directory);
    let flood = refused(Reason::OriginRefused);
    let records = logged(|| (0..FLOOD).for_each(|_| observer.connection_ended(&flood)));
    assert_eq!(records.len(), 50);
    assert_eq!(read(&observer).len(), 50);
    let page = observer.render();
    assert_eq!(sample(&page, r#"drawgate_ends_total{reason="origin_refused",side="gateway"}"#), FLOOD);
    assert_eq!(sample(&page, "drawgate_log_records_suppressed_total"), FLOOD - 50);

    tokio::time::advance(Duration::from_millis(100)).await;
    let records = logged(|| observer.connection_ended(&flood));
    assert_eq!(records[0]["suppressed"], FLOOD - 50);
    assert_eq!(read(&observer)[50]["suppressed"], FLOOD - 50);
}

#[tokio::test(start_paused = true)]
async fn r15_what_no_record_told_of_is_reported_once() {
    let directory = TempDir::new().unwrap();
    let (observer, read) = observer_with_file(&directory);
    let flood = refused(Reason::OriginRefused);
    (0..60).for_each(|_| observer.connection_ended(&flood));
    (0..2005).for_each(|_| observer.connection_opened(&opened("chat")));
    let records = logged(|| observer.report_suppressed());
    assert_eq!(records.len(), 2);
    assert_eq!((&records[0]["reason"], &records[0]["suppressed"]), (&Value::Null, &json!(5)));
    assert_eq!((&records[1]["reason"], &records[1]["suppressed"]), (&json!("origin_refused"), &json!(10)));
    assert!(logged(|| observer.report_suppressed()).is_empty());
    let lines = read(&observer);
    assert_eq!((&lines[50]["message"], &lines[50]["suppressed"]), (&json!("records suppressed"), &json!(10)));
}

#[tokio::test(start_paused = true)]
async fn r16_what_a_peer_chose_stays_inside_its_field() {
    let directory = TempDir::new().unwrap();
    let (observer, read) = observer_with_file(&directory);
    let subject =
        "eve\r\n{\"level\":\"INFO\",\"reason\":\"closed_by_client\"}\u{1b}[2J\u{9b}2J\u{2028}\u{202e}\0";
    let detail = format!("\",\"reason\":\"x{}", "\u{85}".repeat(1000));
    let end = Ended {
        subject: Some(subject),
        origin: Some(&detail),
        detail: Some(&detail),
        ..ended(Reason::TokenInvalid)
    };
    let json = logged_json(|| observer.connection_ended(&end));
    let text = logged_text(|| observer.connection_ended(&end));
    let records = read(&observer);
    let file = fs::read_to_string(directory.path().join("websocket_errors.log")).unwrap();
    let is_printable = |character: char| matches!(character, ' '..='~' | '§');
    for (output, lines) in [(&json, 1), (&text, 1), (&file, 2)] {
        assert_eq!(output.lines().count(), lines, "{output}");
        assert!(output.lines().flat_map(str::chars).all(is_printable), "{output}");
    }
    for record in [serde_json::from_str::<Value>(&json).unwrap(), records[0].clone()] {
        assert_eq!(record["reason"], "token_invalid");
        assert!(record["subject"].as_str().unwrap().starts_with(r"eve\u{d}\u{a}{"));
        for field in ["detail", "origin"] {
            assert!(record[field].as_str().unwrap().len() <= ENCODED_BYTES_MAX + 3);
        }
    }
    let opened = Opened { origin: Some(&detail), subject: Some(subject), ..opened("chat") };
    let json = logged_json(|| observer.connection_opened(&opened));
    let text = logged_text(|| observer.connection_opened(&opened));
    for output in [&json, &text] {
        assert_eq!(output.lines().count(), 1, "{output}");
        assert!(output.lines().flat_map(str::chars).all(is_printable), "{output}");
    }
    let record: Value = serde_json::from_str(&json).unwrap();
    assert!(record["subject"].as_str().unwrap().starts_with(r"eve\u{d}\u{a}{"), "{record}");
    assert!(record["origin"].as_str().unwrap().len() <= ENCODED_BYTES_MAX + 3, "{record}");
    assert_eq!(record.get("reason"), None, "{record}");
}

#[test]
fn r17_nothing_a_peer_chooses_makes_a_series() {
    let observer = observer();
    for number in 0..1000 {
        let text = format!("invented-{number}");
        let connection = ConnectionId::new(number);
        let client = ClientAddr::new(std::net::Ipv6Addr::from_bits(u128::from(number)).into());
        observer.connection_opened(&Opened { connection, client, ..opened(&text) });
        let end = ended(Reason::TokenInvalid);
        let close_code = Some(4000 + u16::try_from(number).unwrap());
        let route = Some(text.as_str());
        observer.connection_ended(&Ended {
            connection,
            client,
            route,
            subject: route,
            origin: route,
            detail: Some(&text),
            close_code,
            ..end
        });
    }
    observer.connection_opened(&opened("invented"));
    let page = observer.render();
    assert!(!page.contains("invented"));
    assert_eq!(sample(&page, r#"drawgate_connections{route="none"}"#), 1);
    assert_eq!(sample(&page, r#"drawgate_connections{route="chat"}"#), 0);
    assert_eq!(page.lines().filter(|line| line.starts_with("drawgate_ends_total")).count(), 1);
    let routes: BTreeSet<_> =
        page.lines().filter_map(|line| line.split("route=\"").nth(1)?.split('"').next()).collect();
    assert!(routes.into_iter().eq(["chat", "none"]));
}

/// docs/metrics.md as the registry has it: one of everything is made, so that every series is there.
fn metrics_page() -> String {
    let observer = observer();
    for ended_by in [Side::Client, Side::Gateway, Side::Application, Side::Operator] {
        let session = Some(SessionId::new([0; 16]));
        observer.connection_ended(&Ended { ended_by, session, ..ended(Reason::TokenInvalid) });
    }
    observer.tls_metrics("public").certificate_expires(&"cert.pem", 30.0);
    let _ = observer.key_metrics(&"jwks.json");
    let _upstream = observer.upstream_metrics("none", "ws://127.0.0.1:9000");
    let route = observer.route_metrics("none");
    for toward in [Toward::Backend, Toward::Client] {
        route.message_refused(toward, Reason::MessageNotJson);
    }
    for effect in Effect::ALL {
        route.rule_applied(&"rule".into(), effect);
    }
    let rendered = observer.render();
    let mut page = METRICS_INTRODUCTION.to_owned();
    for help in rendered.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        let (family, meaning) = help.split_once(' ').unwrap();
        let of_type = format!("# TYPE {family} ");
        let metric_type = rendered.lines().find_map(|line| line.strip_prefix(&of_type)).unwrap();
        let suffix = if metric_type == "counter" { "_total" } else { "" };
        let labels = labels(&rendered, family);
        writeln!(page, "| `{family}{suffix}` | {metric_type} | {labels} | {meaning} |").unwrap();
    }
    page
}

fn labels(rendered: &str, family: &str) -> String {
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for sample in rendered.lines().filter_map(|line| line.strip_prefix(family)) {
        let Some((suffix, list)) = sample.split_once('{') else { continue };
        // One family's name may be the beginning of another's.
        if !["", "_total", "_bucket", "_sum", "_count"].contains(&suffix) {
            continue;
        }
        for label in list.split_once('}').unwrap().0.split(',') {
            let (name, value) = label.split_once('=').unwrap();
            labels.entry(name).or_default().insert(value.trim_matches('"'));
        }
    }
    // The bounds of a histogram's buckets are part of its type.
    labels.remove("le");
    let describe = |(name, values): (&str, BTreeSet<&str>)| match name {
        "route" => "`route`: a route's name, or `none`".to_owned(),
        "rule" => "`rule`: the name of a rule".to_owned(),
        "listener" => "`listener`: a listener's name".to_owned(),
        "upstream" => "`upstream`: an address in `urls`".to_owned(),
        "certificate" => "`certificate`: a certificate_file".to_owned(),
        "source" => "`source`: a jwks_url without its query, an issuer's document, or a jwks_file".to_owned(),
        "reason" => "`reason`: a label of [errors.md](errors.md)".to_owned(),
        _ => format!("`{name}`: {}", values.into_iter().collect::<Vec<_>>().join(", ")),
    };
    labels.into_iter().map(describe).collect::<Vec<_>>().join("; ")
}

const METRICS_INTRODUCTION: &str = "\
# Metrics

<!-- Generated from the registry; `UPDATE_DOCS=1 cargo test -p drawgate observe` rewrites it. -->

`/metrics` on the admin listener answers in the OpenMetrics text format. Every label has a closed set of values, so the
number of series is bounded by the configuration, whatever clients send. Counters are never suppressed, unlike log
records. All series are there from the start and at zero, but those of `drawgate_ends_total`,
`drawgate_sessions_ended_total`, `drawgate_messages_refused_total` and `drawgate_rules_applied_total`, which come with the first of their
kind. Directions are seen from the gateway: `in` comes from clients.

| metric | type | labels | meaning |
|---|---|---|---|
";

#[test]
fn metrics_page_is_what_the_registry_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, metrics_page()).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap(), metrics_page(), "run it once with UPDATE_DOCS=1");
}
