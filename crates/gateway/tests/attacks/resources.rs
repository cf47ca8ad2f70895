//! R: resources. What only a whole process can show (memory, descriptors, churn) is in the program's own tests.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use drawgate::auth::token::sign_hs256;
use drawgate::clock::Clock;
use drawgate::config::Config;
use drawgate::limits::Limits;
use drawgate::reason::Reason;
use drawgate::secret::Secret;
use drawgate::{Access, Handler, Message, Origins, Route, Server, Session};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::time::{Instant, timeout};

use crate::support::{Case, PATIENCE, Raw, echo, eventually, frame, request, settled};

#[tokio::test]
async fn r01_a_client_at_its_connection_cap_is_refused_and_others_are_not() {
    let mut case = Case::start(&echo("", "[firewall]\nconnections_per_client_max = 3")).await;
    let held = [case.open().await, case.open().await];
    let mut raw = case.connect().await;
    // Refused at the accept: before a byte is sent.
    let response = raw.expect_refusal(Reason::ClientConnectionsExceeded).await;
    assert_eq!(response.status, 429);
    assert!(response.head.contains("Retry-After: 30\r\n"), "{response:?}");
    Raw::connect_from(2, case.address).await.upgrade("/").await;

    drop(held);
    let record = case.refused(Reason::ClientConnectionsExceeded, b"").await;
    assert_eq!((&record["limit"], &record["http_status"]), (&json!(3), &json!(429)));
    // The refused connection held no slot, and those that ended have given theirs back.
    let _again = [case.open().await, case.open().await];
}

#[tokio::test]
async fn r02_a_client_over_its_handshake_rate_is_refused_and_others_are_not() {
    // Ten a minute, one at once: that one is the neighbour's.
    let firewall = "[firewall]\nhandshakes_per_client_per_minute = 10";
    let mut case = Case::start(&echo("", firewall)).await;
    let mut raw = case.connect().await;
    let response = raw.expect_refusal(Reason::HandshakeRateExceeded).await;
    assert_eq!(response.status, 429);
    assert!(response.head.contains("Retry-After: 10\r\n"), "{response:?}");
    let record = case.refused(Reason::HandshakeRateExceeded, b"").await;
    assert_eq!(record["limit"], 10);

    for host in 2..=20 {
        case.connect().await.expect_refusal(Reason::HandshakeRateExceeded).await;
        Raw::connect_from(host, case.address).await.upgrade("/").await;
    }
    assert_eq!(case.ends(Reason::HandshakeRateExceeded), 20);
}

/// An echo with an admin listener, whose clients have 300 ms to read something, and then 2 s to read it all.
fn echo_for_slow_readers(more: &str) -> String {
    echo("stall_timeout = \"300ms\"", &format!("[admin]\naddress = \"127.0.0.1:0\"\n{more}"))
        .replace("close_timeout = \"300ms\"", "close_timeout = \"2s\"")
}

/// Sends binary messages until the gateway takes no more of them.
pub(crate) async fn flood(raw: &mut Raw) {
    let message = frame(0x82, &[b'f'; 60_000]);
    while timeout(Duration::from_millis(100), raw.stream.write_all(&message)).await.is_ok() {}
}

#[tokio::test]
async fn r06_a_slow_reader_pauses_its_source_and_is_closed_when_it_stalls() {
    let mut case = Case::start(&echo_for_slow_readers("")).await;
    let mut raw = Raw::connect_bounded(case.address).await;
    raw.upgrade("/").await;
    let flooding = tokio::spawn(async move {
        flood(&mut raw).await;
        raw
    });
    let mut most = 0;
    let mut buffered = case.buffered_bytes().await;
    // It grows, stays, and is given up when the stall is found.
    while most == 0 || buffered == most {
        (buffered, most) = (case.buffered_bytes().await, most.max(buffered));
        assert_eq!(case.ends(Reason::OutputStalled), 0);
        case.neighbour_is_unharmed().await;
    }
    assert!((64 * 1024..=OUTPUT_BYTES_MAX).contains(&most), "{most} bytes waited");

    let mut raw = flooding.await.unwrap();
    let (code, text) = raw.read_close().await;
    assert_eq!((code, &*text), (3008, Reason::OutputStalled.row().close_reason));
    // It cannot answer: it stopped in the middle of a frame.
    drop(raw);
    let record = case.refused(Reason::OutputStalled, &[b'f'; 16]).await;
    assert_eq!((&record["close_code"], &record["limit"]), (&json!(3008), &json!(300)));
    assert_eq!(case.buffered_bytes().await, 0);
}

#[tokio::test]
async fn r06_a_reader_that_never_reads_again_is_cut_and_nothing_of_it_is_kept() {
    let toml = echo_for_slow_readers("").replace("close_timeout = \"2s\"", "close_timeout = \"300ms\"");
    let mut case = Case::start(&toml).await;
    let mut raw = Raw::connect_bounded(case.address).await;
    raw.upgrade("/").await;
    flood(&mut raw).await;
    case.refused(Reason::OutputStalled, &[b'f'; 16]).await;
    assert_eq!(case.buffered_bytes().await, 0);
}

/// A client in memory, so that there can be a thousand without as many descriptors and kernel buffers.
struct Pipe {
    reader: ReadHalf<DuplexStream>,
    writer: Option<WriteHalf<DuplexStream>>,
    messages: usize,
}

impl Pipe {
    /// Connects the client of this number, upgraded.
    async fn open(case: &Case, number: u16) -> Self {
        let (ours, theirs) = duplex(4096);
        let [high, low] = number.to_be_bytes();
        let peer = SocketAddr::from((Ipv4Addr::new(10, 0, high, low), 40_000));
        tokio::spawn(case.entry.clone().serve(theirs, peer));
        let (mut reader, mut writer) = split(ours);
        writer.write_all(request("/", "").as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(reader.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        Self { reader, writer: Some(writer), messages: 0 }
    }

    /// Sends messages of 1,000 bytes, as fast as they are taken and without reading.
    fn flood(&mut self, messages: usize) {
        self.messages = messages;
        let mut writer = self.writer.take().unwrap();
        tokio::spawn(async move {
            let message = frame(0x82, &[b'f'; 1000]);
            for _ in 0..messages {
                if writer.write_all(&message).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Reads on until every message is answered, or the gateway closes: the code.
    async fn read_all(&mut self) -> Option<u16> {
        let (mut unread, mut answered_bytes) = (Vec::new(), 0);
        loop {
            while let Some(bytes) = drawgate_protocol::frame::frame_bytes(&unread)
                && unread.len() >= bytes
            {
                let frame: Vec<u8> = unread.drain(..bytes).collect();
                if frame[0] == 0x88 {
                    assert!(frame[4..].starts_with(b"overloaded: "));
                    return Some(u16::from_be_bytes([frame[2], frame[3]]));
                }
                answered_bytes += frame.len() - if frame.len() > 127 { 4 } else { 2 };
            }
            if answered_bytes == self.messages * 1000 {
                return None;
            }
            let read = timeout(PATIENCE, self.reader.read_buf(&mut unread)).await;
            assert!(read.expect("the gateway goes on").is_ok_and(|count| count > 0), "it ends early");
        }
    }
}

#[tokio::test]
async fn r07_a_thousand_slow_readers_share_one_budget_and_the_slowest_go_first() {
    const BUDGET: u64 = 5 << 20;
    let toml = echo_for_slow_readers("[server]\nbuffers_bytes_max = \"5MiB\"")
        .replace("stall_timeout = \"300ms\"", "stall_timeout = \"10s\"");
    let mut case = Case::start(&toml).await;
    let mut pipes = Vec::new();
    for number in 0..1000 {
        let mut pipe = Pipe::open(&case, number).await;
        if number < 10 {
            pipe.flood(200);
            // The first ten are blocked before all others.
            settled(|| case.buffered_bytes()).await;
        }
        pipes.push(pipe);
    }
    let by_elders = case.buffered_bytes().await;
    assert!((10 * 64 * 1024..=BUDGET).contains(&by_elders), "{by_elders} bytes wait for ten clients");

    pipes[10..].iter_mut().for_each(|pipe| pipe.flood(20));
    let mut most = 0;
    let until = Instant::now() + Duration::from_millis(500);
    while Instant::now() < until {
        most = most.max(case.buffered_bytes().await);
        tokio::task::yield_now().await;
    }
    // Without the budget it would be 20 MB. Whoever is read from when it is exceeded adds what one read brings.
    assert!(most <= BUDGET + 1000 * 8192, "{most} bytes waited");
    let left = case.buffered_bytes().await;
    assert!(left <= BUDGET, "{left} bytes still wait");
    case.neighbour_is_unharmed().await;

    let mut shed = Vec::new();
    let reading: Vec<_> =
        pipes.into_iter().map(|mut pipe| tokio::spawn(async move { pipe.read_all().await })).collect();
    for reading in reading {
        shed.push(reading.await.unwrap());
    }
    // Those that were blocked the longest, in their order, and no more than had to be.
    let count = shed.iter().take_while(|code| **code == Some(1013)).count();
    assert!((1..=10).contains(&count), "{count} were shed");
    assert_eq!(shed.iter().flatten().count(), count, "{shed:?}");
    eventually(
        || case.ends(Reason::Overloaded) == count as u64,
        || format!("{} ends for {count} clients", case.ends(Reason::Overloaded)),
    )
    .await;
    assert_eq!(case.records_of(Reason::Overloaded)[0]["close_code"], 1013);
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn r09_what_an_admitted_connection_no_longer_needs_is_not_part_of_its_task() {
    let case = Case::start(&echo("", "")).await;
    let (_ours, theirs) = duplex(1);
    // Heads, refusals and buffers are boxed and gone; an idle connection would pay for them all its life.
    let task_bytes = size_of_val(&case.entry.clone().serve(theirs, case.address));
    assert!(task_bytes <= 768, "{task_bytes} bytes");
}

#[tokio::test]
async fn r10_a_server_that_is_full_says_so_and_takes_the_next_when_one_has_gone() {
    let config =
        Config::from_toml(&echo("", ""), Path::new("."), &|_| None).unwrap_or_else(|p| panic!("{p}"));
    let mut case = Case::start_with(Server::from_config(config).connections_max(2)).await;
    let held = case.open().await;
    let response = case.connect().await.expect_refusal(Reason::ServerFull).await;
    assert!(response.retry_after().is_some_and(|seconds| (10..=20).contains(&seconds)), "{response:?}");
    drop(held);
    let record = case.refused(Reason::ServerFull, b"").await;
    assert_eq!(record["limit"], 2);
    case.open().await;
}

#[tokio::test]
async fn r15_a_flood_of_refusals_is_few_records_and_an_exact_count() {
    const FLOOD: u64 = 3000;
    let firewall = "[firewall]\nhandshakes_per_client_per_minute = \"unlimited\"";
    let mut case = Case::start(&echo("", firewall).replace("path = \"/*\"", "path = \"/\"")).await;
    let start = Instant::now();
    for _ in 0..FLOOD {
        let mut raw = case.connect().await;
        raw.send(request("/nowhere", "").as_bytes()).await;
        assert_eq!(raw.read_response().await.status, 404);
    }
    eventually(|| case.ends(Reason::RouteNotFound) == FLOOD, || "an end is missing".to_owned()).await;
    let records = case.records();
    let about = |record: &&Value| record["reason"] == "route_not_found";
    let summaries = records.iter().filter(about).filter(|record| record["message"] == "records suppressed");
    let summaries = summaries.count();
    let written = records.iter().filter(about).count() - summaries;
    // A burst of 50, then ten a second; a summary every five.
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
    assert!((50..=50 + 10 * seconds).contains(&written), "{written} records in {seconds} s");
    assert!(summaries <= 1 + seconds / 5, "{summaries} summaries in {seconds} s");
    assert_eq!(case.metric("drawgate_log_records_suppressed_total"), FLOOD - written as u64);
    case.observer.report_suppressed();
    let told = case.records().iter().filter_map(|record| record["suppressed"].as_u64()).sum::<u64>();
    assert_eq!(told, FLOOD - written as u64, "what was not written is told of");
    case.neighbour_is_unharmed().await;
}

/// Two routes: the open echo at `/`, and one at `/token` that wants a token signed with `SECRET`.
async fn case_with_tokens() -> Case {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token.secret"), SECRET).unwrap();
    let more = r#"
        [firewall]
        handshakes_per_client_per_minute = "unlimited"
        [routes.token]
        listeners = ["main"]
        path = "/token"
        origins = ["https://app.example"]
        auth = "users"
        backend = "echo"
        [auth.users]
        credentials = ["first_message"]
        algorithms = ["HS256"]
        keys = { secret_file = "token.secret" }
        issuer = "any"
        audience = "any"
    "#;
    let config = Config::from_toml(&echo("", more), folder.path(), &|_| None)
        .unwrap_or_else(|problems| panic!("{problems}"));
    Case::start_with(Server::from_config(config)).await
}

fn token_of(subject: &str) -> String {
    let now = Clock::system().unix_now().seconds();
    let claims = json!({ "sub": subject, "iat": now, "exp": now + 60 });
    sign_hs256(&Secret::new(SECRET.as_bytes()), claims.as_object().unwrap())
}

const SECRET: &str = "a secret of tests, 32 bytes long and more";

/// What would forge a record, or move a terminal, if it reached one.
const HOSTILE: &str =
    "\r\n{\"level\":\"INFO\",\"reason\":\"forged\"}\u{1b}[2J\u{9b}2J\u{2028}\u{202e}\",\"forged\":\"";

/// Sends raw bytes in place of a request; whatever comes back, nothing hostile is in it.
async fn send_hostile(case: &Case, request: &str) {
    let mut raw = case.connect().await;
    raw.send(request.as_bytes()).await;
    let response = raw.read_response().await;
    assert!(!response.head.contains("forged") && !response.body.contains("forged"), "{response:?}");
}

#[tokio::test]
async fn r16_what_a_peer_chose_never_leaves_its_field_in_the_log() {
    let mut case = case_with_tokens().await;
    send_hostile(&case, &request(&format!("/{HOSTILE}"), "")).await;
    send_hostile(&case, &request("/%0d%0a%1b[2Jforged", "")).await;
    send_hostile(&case, &request("/?%0d%0a\u{1b}forged", "")).await;
    for header in
        ["Origin", "User-Agent", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "X-Forwarded-For"]
    {
        send_hostile(&case, &request("/", &format!("{header}: a{HOSTILE}\r\n"))).await;
        let encoded = HOSTILE.replace(['\r', '\n'], " ");
        send_hostile(&case, &request("/token", &format!("{header}: a{encoded}\r\n"))).await;
    }
    send_hostile(&case, &request("/", "").replace("gate.example", &format!("gate{HOSTILE}"))).await;
    send_hostile(&case, &request("/", "").replace("GET", &format!("GET{HOSTILE}"))).await;

    let mut raw = case.open().await;
    raw.send_frame(0x88, &[&4000_u16.to_be_bytes(), HOSTILE.as_bytes()].concat()).await;
    raw.read_close().await;
    // A subject with control characters is none; what else may be in one is encoded.
    let mut raw = case.connect().await;
    raw.upgrade("/token").await;
    raw.send_frame(0x81, token_of(HOSTILE).as_bytes()).await;
    assert_eq!(raw.read_close().await, (3000, Reason::TokenInvalid.row().close_reason.to_owned()));
    let mut raw = case.connect().await;
    raw.upgrade("/token").await;
    raw.send_frame(0x81, token_of("eve\u{2028}\u{202e}\",\"reason\":\"forged").as_bytes()).await;
    raw.send_frame(0x82, b"in").await;
    assert_eq!(raw.read_frame().await.payload, b"in");
    drop(raw);

    let subject = || case.records().into_iter().find_map(|record| record.get("subject").cloned());
    eventually(|| subject().is_some(), || case.log_text()).await;
    assert_eq!(subject().unwrap(), r#"eve\u{2028}\u{202e}","reason":"forged"#);
    let log = case.log_text();
    let is_plain = |character: char| matches!(character, ' '..='~' | '§');
    assert!(log.lines().flat_map(str::chars).all(is_plain), "{log}");
    for record in case.records() {
        let record = record.as_object().unwrap();
        assert!(
            !record.contains_key("forged") && record.get("reason") != Some(&json!("forged")),
            "{record:?}"
        );
        for (name, value) in record {
            assert!(
                matches!(name.as_str(), "subject" | "origin") || !value.to_string().contains("forged"),
                "{record:?}"
            );
        }
    }
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn r17_no_request_message_or_token_makes_a_series() {
    let mut case = case_with_tokens().await;
    let series = |case: &Case| {
        let page = case.observer.render();
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        samples.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect::<BTreeSet<_>>()
    };
    let before = series(&case);
    for number in 0..100_u16 {
        let invented = format!("invented-{number}");
        for target in ["/", "/token", "/token/"] {
            let target = format!("{target}{invented}?{invented}");
            let host = format!("{invented}.example");
            let more = format!("Origin: https://{host}\r\nSec-WebSocket-Protocol: {invented}\r\n");
            let mut raw = case.connect().await;
            raw.send(request(&target, &more).replace("gate.example", &host).as_bytes()).await;
            raw.read_response().await;
        }
        let mut raw = case.open().await;
        let close = [&(4000 + number).to_be_bytes(), invented.as_bytes()].concat();
        raw.send_frame(0x88, &close).await;
        raw.read_close().await;
        let mut raw = case.connect().await;
        raw.upgrade("/token").await;
        raw.send_frame(0x81, token_of(&invented).as_bytes()).await;
        raw.send_frame(0x81, invented.as_bytes()).await;
        raw.read_frame().await;
    }
    let after = series(&case);
    let new: Vec<_> = after.difference(&before).collect();
    let ends = ["drawgate_ends_total{reason=\"", "drawgate_sessions_ended_total{reason=\""];
    assert!(new.iter().all(|series| ends.iter().any(|end| series.starts_with(end))), "{new:?}");
    assert!(new.len() <= 6, "{new:?}");
    assert!(!after.iter().any(|series| series.contains("invented")), "{after:?}");
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn r20_a_thousand_deadlines_at_once_are_each_kept() {
    const TIMERS: u64 = 1000;
    let firewall =
        "[firewall]\nhandshakes_per_client_per_minute = \"unlimited\"\nconnections_per_client_max = 2000";
    let mut case = Case::start(&echo("message_timeout = \"700ms\"", firewall)).await;
    let mut raws = Vec::new();
    for _ in 0..TIMERS {
        raws.push(case.open().await);
    }
    let begun = Instant::now();
    for raw in &mut raws {
        raw.send_frame(0x01, b"begun").await;
    }
    let all_begun = Instant::now();
    for raw in &mut raws {
        let (code, reason) = raw.read_close().await;
        assert_eq!((code, &*reason), (1008, Reason::MessageTimeout.row().close_reason));
        assert!(begun.elapsed() >= Duration::from_millis(700), "nobody is closed early");
    }
    // A tick late at most, and as long as it takes to say goodbye to a thousand.
    assert!(all_begun.elapsed() < Duration::from_millis(1700), "{:?}", all_begun.elapsed());
    drop(raws);
    eventually(|| case.ends(Reason::MessageTimeout) == TIMERS, || "an end is missing".to_owned()).await;
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn r26_many_small_messages_behind_a_prefix_stay_within_the_bytes_of_one_connection() {
    let prefix = "x".repeat(1000);
    let toml = echo_for_slow_readers("")
        .replace("backend = \"echo\"", &format!("backend = {{ echo = {{ prefix = \"{prefix}\" }} }}"))
        .replace("stall_timeout = \"300ms\"", "stall_timeout = \"10s\"");
    let config = Config::from_toml(&toml, Path::new("."), &|_| None).unwrap_or_else(|p| panic!("{p}"));
    let case = Case::start_with(Server::from_config(config)).await;
    let mut raw = Raw::connect_bounded(case.address).await;
    raw.upgrade("/").await;
    // One read of 64 KiB holds 10,922 of these, whose answers are 11 MB.
    let messages = frame(0x81, b"").repeat(20_000);
    raw.send(&messages).await;
    let most = settled(|| case.buffered_bytes()).await;
    assert!((64 * 1024..=OUTPUT_BYTES_MAX).contains(&most), "{most} bytes wait");
    for _ in 0..20_000 {
        assert_eq!(raw.read_frame().await.payload.len(), prefix.len());
    }
}

/// Answers `flood` with small messages without end, counting those that were taken; everything else with itself.
#[derive(Clone)]
struct Flooding(Arc<AtomicU64>);

impl Handler for Flooding {
    async fn message(&self, session: &Session, message: Message) {
        if message.as_bytes() != b"flood" {
            let _ = session.send(message).await;
            return;
        }
        while session.send(Message::Binary(vec![b'f'; 100])).await.is_ok() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn r26_an_application_that_floods_a_slow_client_waits_with_bounded_messages() {
    let taken = Arc::new(AtomicU64::new(0));
    let route = Route::new("echo", "/*", Origins::Any, Access::Open, Flooding(Arc::clone(&taken))).unwrap();
    let limits = Limits {
        stall_timeout: Some(Duration::from_millis(300)),
        close_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let builder = Server::builder()
        .listen("127.0.0.1:0".parse().unwrap())
        .admin(drawgate::admin::Config::new("127.0.0.1:0".parse().unwrap()))
        .route(route.limits(limits));
    let mut case = Case::start_with(builder).await;
    let mut pipe = Pipe::open(&case, 1).await;
    pipe.writer.as_mut().unwrap().write_all(&frame(0x81, b"flood")).await.unwrap();
    let count = async || taken.load(Ordering::Relaxed);
    let held = settled(count).await;
    // The pipe, the connection's output, and the 64 KiB or 1,024 messages that the outbox takes.
    assert!(held * 100 <= 4096 + OUTPUT_BYTES_MAX + 64 * 1024, "{held} messages of 100 bytes were taken");
    // All of it is counted: output, by the steps that it grows in, and the outbox.
    let counted = case.buffered_bytes().await;
    assert!(
        (held * 100..=OUTPUT_BYTES_MAX + (16 + 64) * 1024 + 1024).contains(&counted),
        "{counted} for {held}"
    );
    case.neighbour_is_unharmed().await;
    eventually(|| case.ends(Reason::OutputStalled) == 1, || "the slow client is still there".to_owned())
        .await;
    assert_eq!(case.buffered_bytes().await, 0);
    assert_eq!(taken.load(Ordering::Relaxed), held, "nothing is taken for who has gone");
}

/// The most bytes that wait for one client, beside a single message that is larger.
const OUTPUT_BYTES_MAX: u64 = 256 * 1024;
