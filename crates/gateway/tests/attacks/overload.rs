//! R11: what becomes of clients when the process runs out of memory, descriptors or time. What it uses is said by the test.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use drawgate::config::Config;
use drawgate::limits::Limits;
use drawgate::overload::{Readings, Used};
use drawgate::reason::Reason;
use drawgate::route::Origins;
use drawgate::server::{Access, Route};
use drawgate::{Handler, Message, Server, Session};

use crate::support::{
    Case, Frame, PATIENCE, Raw, echo, eventually, eventually_within, frame, payload, request,
};

/// What the process is said to use.
#[derive(Clone, Default)]
struct Given(Arc<Mutex<Readings>>);

impl Given {
    fn set(&self, readings: Readings) {
        *self.0.lock().unwrap() = readings;
    }

    /// So many thousandths of a megabyte of memory.
    fn memory(&self, thousandths: u64) {
        let memory = Some(Used { used: thousandths * 1000, max: 1_000_000 });
        self.set(Readings { memory, ..Readings::default() });
    }
}

async fn start(limits: &str, more: &str) -> (Case, Given) {
    let given = Given::default();
    let readings = given.clone();
    let text = echo(limits, &format!("[admin]\naddress = \"127.0.0.1:0\"\n{more}"));
    let config = Config::from_toml(&text, Path::new("."), &|_| None).unwrap_or_else(|p| panic!("{p}"));
    let builder = Server::from_config(config).readings(move || *readings.0.lock().unwrap());
    (Case::start_with(builder).await, given)
}

/// Up at once, down after a second.
async fn until_stage(case: &Case, stage: u64) {
    let is_there = || case.metric("drawgate_overload_stage") == stage;
    eventually_within(PATIENCE, is_there, || case.log_text()).await;
}

#[tokio::test]
async fn r11_at_the_first_stage_nobody_is_let_in_and_who_is_there_goes_on() {
    let (mut case, given) = start("", "").await;
    let mut waiting = case.connect().await;
    waiting.send(b"GET / HTTP/1.1\r\nHo").await;
    given.memory(749);
    eventually(|| case.metric("drawgate_memory_used_bytes") == 749_000, || case.observer.render()).await;
    let mut early = case.open().await;
    given.memory(750);
    until_stage(&case, 1).await;
    // Also one that has connected before, and has yet to say what it wants.
    waiting.expect_refusal(Reason::Overloaded).await;
    let response = case.connect().await.expect_refusal(Reason::Overloaded).await;
    assert!(response.retry_after().is_some_and(|seconds| (10..=20).contains(&seconds)), "{response:?}");
    eventually(|| case.ends(Reason::Overloaded) == 2, || case.log_text()).await;
    assert_eq!(case.metric("drawgate_overload_refused_total{cause=\"memory\"}"), 1);
    assert_eq!(case.metric("drawgate_memory_max_bytes"), 1_000_000);
    assert_eq!(case.ask_admin("/readyz").await, (503, "overloaded".to_owned()));
    assert_eq!(case.ask_admin("/healthz").await.0, 200);
    case.neighbour_is_unharmed().await;

    given.memory(699);
    until_stage(&case, 0).await;
    assert_eq!(case.ask_admin("/readyz").await, (200, "ready".to_owned()));
    case.open().await;
    early.send_frame(0x81, b"there all along").await;
    assert_eq!(early.read_frame().await, Frame::whole(0x81, b"there all along"));
    let changes: Vec<_> = case.records().into_iter().filter(|record| record["stage"].is_string()).collect();
    let [up, down] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(
        (&up["level"], &up["stage"], &up["cause"]),
        (&"WARN".into(), &"refusing".into(), &"memory".into())
    );
    assert_eq!((&up["memory_used"], &up["memory_max"]), (&750_000.into(), &1_000_000.into()));
    assert_eq!(
        (&down["level"], &down["stage"], &down["before"]),
        (&"INFO".into(), &"normal".into(), &"refusing".into())
    );
}

#[tokio::test]
async fn o15_a_panic_while_the_load_is_measured_keeps_the_door_shut_for_no_longer() {
    let (given, fails) = (Given::default(), Arc::new(AtomicBool::new(false)));
    let (readings, is_failing) = (given.clone(), Arc::clone(&fails));
    let config =
        Config::from_toml(&echo("", ""), Path::new("."), &|_| None).unwrap_or_else(|p| panic!("{p}"));
    let builder = Server::from_config(config).readings(move || {
        assert!(!is_failing.load(Ordering::SeqCst), "on purpose");
        *readings.0.lock().unwrap()
    });
    let case = Case::start_with(builder).await;
    for _ in 0..2 {
        given.memory(750);
        until_stage(&case, 1).await;
        case.connect().await.expect_refusal(Reason::Overloaded).await;
        fails.store(true, Ordering::SeqCst);
        until_stage(&case, 0).await;
        case.open().await;
        fails.store(false, Ordering::SeqCst);
    }
    until_stage(&case, 1).await;
    let lost =
        |record: &serde_json::Value| record["message"].as_str().unwrap_or("").contains("cannot be measured");
    assert_eq!(case.records().iter().filter(|record| lost(record)).count(), 2, "{}", case.log_text());
}

#[tokio::test]
async fn r10_short_of_descriptors_or_of_time_nobody_is_let_in_and_nobody_ended() {
    let (mut case, given) = start("", "[server.overload]\ndelay_max = \"200ms\"").await;
    let descriptors = Some(Used { used: 95, max: 100 });
    let delay = Duration::from_millis(200);
    for (cause, readings) in [
        ("descriptors", Readings { descriptors, ..Readings::default() }),
        ("delay", Readings { delay, ..Readings::default() }),
    ] {
        given.set(readings);
        until_stage(&case, 1).await;
        case.connect().await.expect_refusal(Reason::Overloaded).await;
        let refused = format!("drawgate_overload_refused_total{{cause=\"{cause}\"}}");
        eventually(|| case.metric(&refused) == 1, || case.observer.render()).await;
        case.neighbour_is_unharmed().await;
        given.set(Readings::default());
        until_stage(&case, 0).await;
    }
}

#[tokio::test]
async fn r11_at_the_second_stage_those_go_who_have_not_said_who_they_are_and_who_do_not_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token.secret"), "k".repeat(32)).unwrap();
    let more = format!(
        r#"
        [routes.token]
        listeners = ["main"]
        path = "/token"
        origins = "any"
        auth = "users"
        backend = "echo"
        limits.close_timeout = "300ms"
        [auth.users]
        credentials = ["first_message"]
        algorithms = ["HS256"]
        keys = {{ secret_file = "{}/token.secret" }}
        issuer = "any"
        audience = "any"
        "#,
        folder.path().display()
    );
    let (mut case, given) = start("", &more).await;
    let mut nobody = case.connect().await;
    nobody.upgrade("/token").await;
    nobody.send_frame(0x01, &[b'x'; 5000]).await;
    // Half a first message is counted, and more than its bytes.
    let buffered = || case.metric("drawgate_buffered_bytes");
    eventually(|| (5000..16_384).contains(&buffered()), || case.observer.render()).await;
    let mut slow = Raw::connect_narrow(case.address).await;
    slow.upgrade("/").await;
    while buffered() < 50_000 {
        slow.send_frame(0x82, &[7; 30_000]).await;
        tokio::task::yield_now().await;
    }
    given.memory(850);
    until_stage(&case, 2).await;
    nobody.expect_close(Reason::Overloaded).await;
    eventually(|| case.ends(Reason::Overloaded) == 2 && buffered() == 0, || case.log_text()).await;
    case.neighbour_is_unharmed().await;
    assert!(case.records().iter().any(|record| record["stage"] == "shedding" && record["level"] == "ERROR"));
}

#[tokio::test]
async fn r11_where_that_is_not_enough_those_go_first_whose_client_has_the_most() {
    let (mut case, given) = start("", "").await;
    let mut crowd = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::connect_from(2, case.address).await;
        raw.upgrade("/").await;
        crowd.push(raw);
    }
    given.memory(850);
    until_stage(&case, 2).await;
    // Nobody holds anything that waits, so nothing comes of it, however often it is looked at meanwhile.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(case.ends(Reason::Overloaded), 0);
    // Of four connections each is taken for a quarter of what is used: the growth is two of them.
    given.memory(850 + 400);
    eventually(|| case.ends(Reason::Overloaded) == 2, || case.log_text()).await;
    case.neighbour_is_unharmed().await;
    let mut told = 0;
    for raw in &mut crowd {
        raw.send_frame(0x81, b"still here?").await;
        let frame = raw.read_frame().await;
        told += usize::from(frame.first == 0x88 && frame.payload.starts_with(&1013_u16.to_be_bytes()));
    }
    assert_eq!(told, 2);
}

#[tokio::test]
async fn r11_nothing_is_compressed_while_it_is_short_and_everything_is_again_after() {
    let (case, given) = start("compression = \"on\"", "").await;
    let mut raw = case.connect().await;
    raw.send(request("/", "Sec-WebSocket-Extensions: permessage-deflate\r\n").as_bytes()).await;
    assert!(raw.read_head().await.contains("permessage-deflate"));
    for (memory, stage, is_compressed) in [(0, 0, true), (750, 1, false), (0, 0, true)] {
        given.memory(memory);
        until_stage(&case, stage).await;
        raw.send_frame(0x82, &[b'a'; 10_000]).await;
        // Less is read at a time while memory is short, so it may come in more frames.
        let frames = raw.read_message().await;
        assert_eq!(frames[0].first & 0x40 != 0, is_compressed, "at stage {stage}");
        assert_eq!(payload(&frames).len() == 10_000, !is_compressed, "at stage {stage}");
    }
}

#[tokio::test]
async fn r11_what_waits_may_be_an_eighth_of_the_memory_whatever_is_written() {
    // The readings are there before the server is.
    let given = Given::default();
    let memory = Some(Used { used: 0, max: 1 << 20 });
    given.set(Readings { memory, ..Readings::default() });
    let text = echo("stall_timeout = \"10s\"", "[server]\nbuffers_bytes_max = \"1GiB\"");
    let config = Config::from_toml(&text, Path::new("."), &|_| None).unwrap_or_else(|p| panic!("{p}"));
    let mut case =
        Case::start_with(Server::from_config(config).readings(move || *given.0.lock().unwrap())).await;
    let mut slow = Raw::connect_narrow(case.address).await;
    slow.upgrade("/").await;
    // 128 KiB of it; a connection alone might hold twice of that.
    for _ in 0..200 {
        if case.ends(Reason::Overloaded) == 1 {
            break;
        }
        let _ = tokio::time::timeout(Duration::from_millis(20), slow.send_frame(0x82, &[7; 60_000])).await;
    }
    eventually(|| case.ends(Reason::Overloaded) == 1, || case.observer.render()).await;
    case.neighbour_is_unharmed().await;
}

/// Takes messages and does nothing.
struct Silent;

impl Handler for Silent {
    async fn message(&self, _: &Session, _: Message) {}
}

async fn before_a_handler(buffers_bytes_max: usize) -> Case {
    let config =
        Config::from_toml(&echo("", ""), Path::new("."), &|_| None).unwrap_or_else(|p| panic!("{p}"));
    let route = Route::new("handler", "/handler", Origins::Any, Access::Open, Silent).unwrap();
    let limits = Limits { close_timeout: Duration::from_millis(300), ..Limits::default() };
    let builder =
        Server::from_config(config).route(route.limits(limits)).buffers_bytes_max(buffers_bytes_max);
    Case::start_with(builder).await
}

#[tokio::test]
async fn r26_half_a_message_for_a_handler_is_counted_by_its_memory() {
    let case = before_a_handler(1 << 20).await;
    let mut raw = case.connect().await;
    raw.upgrade("/handler").await;
    // A thousand frames of a byte: what is held is what they come to.
    let pieces = [frame(0x02, b"b"), frame(0x00, b"b").repeat(1000)].concat();
    raw.send(&pieces).await;
    let buffered = || case.metric("drawgate_buffered_bytes");
    eventually(|| (1001..=2048).contains(&buffered()), || case.observer.render()).await;
    raw.send_frame(0x80, b"b").await;
    eventually(|| buffered() == 0, || case.observer.render()).await;
    raw.send_frame(0x02, &[7; 60_000]).await;
    eventually(|| buffered() >= 60_000, || case.observer.render()).await;
    drop(raw);
    eventually(|| buffered() == 0, || case.observer.render()).await;
}

#[tokio::test]
async fn r26_where_buffers_are_full_who_holds_the_longest_goes_and_others_wait_for_that() {
    let mut case = before_a_handler(128 * 1024).await;
    let mut elder = case.connect().await;
    elder.upgrade("/handler").await;
    elder.send_frame(0x02, &[7; 60_000]).await;
    eventually(|| case.metric("drawgate_buffered_bytes") >= 60_000, || case.observer.render()).await;
    let mut younger = case.connect().await;
    younger.upgrade("/handler").await;
    younger.send_frame(0x02, &[7; 60_000]).await;
    younger.send_frame(0x00, &[7; 30_000]).await;
    elder.expect_close(Reason::Overloaded).await;
    drop(elder);
    younger.send_frame(0x80, &[7; 10_000]).await;
    younger.send_frame(0x89, b"is it through?").await;
    assert_eq!(younger.read_frame().await, Frame::whole(0x8A, b"is it through?"));
    assert_eq!(case.ends(Reason::Overloaded), 1);
    case.neighbour_is_unharmed().await;
}
