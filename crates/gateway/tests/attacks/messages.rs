//! What becomes of messages that a route inspects: catalogue M, and how the relay holds, judges and passes them on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use drawgate::inspect::{Consequence, Format, Inspection, Inspections};
use drawgate::reason::Reason;
use drawgate::{Access, Handler, Message, Origins, Route, Server, Session};
use serde_json::Value;

use crate::application::{Application, Seen};
use crate::support::{Case, Frame, Raw, echo, eventually, frame};

/// Beside the echo of other cases one at `/inspected` that inspects what it gets, with this notice; `inspect` is lines of the table.
fn inspected(notice: &str, inspect: &str) -> String {
    inspected_within(notice, "", inspect)
}

/// The same, with lines of the route's limits.
fn inspected_within(notice: &str, limits: &str, inspect: &str) -> String {
    let route = format!(
        r#"
        [routes.inspected]
        listeners = ["main"]
        path = "/inspected"
        origins = "any"
        auth = "none"
        backend.echo = {{}}
        notice = "{notice}"
        [routes.inspected.limits]
        close_timeout = "300ms"
        {limits}
        [routes.inspected.inspect]
        {inspect}
        "#
    );
    echo("", &route)
}

async fn open(case: &Case) -> Raw {
    let mut raw = case.connect().await;
    raw.upgrade("/inspected").await;
    raw
}

/// The next message, as the notice that it is.
async fn notice(raw: &mut Raw) -> Value {
    let frame = raw.read_frame().await;
    assert_eq!(frame.first, 0x81, "a notice is a whole text message");
    serde_json::from_slice(&frame.payload).unwrap()
}

/// How many messages were refused on any route for `reason`.
fn refusals(case: &Case, toward: &str, reason: Reason) -> u64 {
    let label = reason.row().label;
    let series = |route| {
        format!(r#"drawgate_messages_refused_total{{route="{route}",toward="{toward}",reason="{label}"}}"#)
    };
    ["inspected", "app", "handler"].into_iter().map(|route| case.metric(&series(route))).sum()
}

/// The records of messages that were refused for `reason`.
async fn records(case: &Case, reason: Reason, count: usize) -> Vec<Value> {
    eventually(|| case.records_of(reason).len() >= count, || case.log_text()).await;
    let records = case.records_of(reason);
    assert_eq!(records.len(), count, "{records:?}");
    records
}

#[tokio::test]
async fn a_message_that_is_refused_is_told_and_the_connection_goes_on() {
    let mut case = Case::start(&inspected("json", "format = \"json\"")).await;
    let mut raw = open(&case).await;
    raw.send_frame(0x81, br#"{"a": 1}"#).await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, br#"{"a": 1}"#));
    let secret = br#"{"password": hunter2-correct-horse"#;
    raw.send_frame(0x81, secret).await;
    let told = notice(&mut raw).await;
    assert_eq!(told["type"], Reason::MessageNotJson.row().type_uri);
    assert_eq!((&told["offset_bytes"], told.get("close_code")), (&13.into(), None), "{told}");
    assert!(!told.to_string().contains("hunter2"), "{told}");
    raw.send_frame(0x81, b"[]").await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"[]"));

    let record = records(&case, Reason::MessageNotJson, 1).await.remove(0);
    assert_eq!((&record["message"], &record["toward"]), (&"message refused".into(), &"backend".into()));
    assert_eq!((&record["route"], &record["client"]), (&"inspected".into(), &"127.0.0.1".into()), "{record}");
    assert_eq!(refusals(&case, "backend", Reason::MessageNotJson), 1);
    assert_eq!(case.ends(Reason::MessageNotJson), 0);
    case.keeps_nothing_of(secret);
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn every_refusal_of_one_read_is_told_in_order_with_what_passes() {
    let case = Case::start(&inspected("text", "format = \"json\"")).await;
    let mut raw = open(&case).await;
    let burst: Vec<u8> =
        [&b"1"[..], b"x", b"2", b"", b"3"].iter().flat_map(|text| frame(0x81, text)).collect();
    raw.send(&burst).await;
    for expected in ["1", "Message Not JSON", "2", "Message Not JSON", "3"] {
        assert_eq!(raw.read_frame().await, Frame::whole(0x81, expected.as_bytes()));
    }
    records(&case, Reason::MessageNotJson, 2).await;
}

#[tokio::test]
async fn m12_a_message_of_the_wrong_kind_is_answered_with_1003() {
    for (format, first) in [("text", 0x82), ("json", 0x82), ("binary", 0x81)] {
        let mut case = Case::start(&inspected("json", &format!("format = \"{format}\""))).await;
        let mut raw = open(&case).await;
        // Whichever way it comes: whole, in frames, and byte by byte.
        raw.send_frame(first & 0x7F, b"1").await;
        raw.send_frame(0x80, b"2").await;
        let told = notice(&mut raw).await;
        assert_eq!((&told["close_code"], &told["title"]), (&1003.into(), &"Message Kind Refused".into()));
        raw.expect_close(Reason::MessageKindRefused).await;
        drop(raw);
        case.ended(Reason::MessageKindRefused).await;
        assert_eq!(refusals(&case, "backend", Reason::MessageKindRefused), 1);
        case.neighbour_is_unharmed().await;
    }
}

#[tokio::test]
async fn on_refusal_close_closes_with_1008_and_the_place() {
    let mut case = Case::start(&inspected("json", "format = \"json\"\non_refusal = \"close\"")).await;
    let mut raw = open(&case).await;
    raw.send_frame(0x81, b"{\"a\":1,\"a\":2}").await;
    let told = notice(&mut raw).await;
    assert_eq!((&told["close_code"], &told["offset_bytes"]), (&1008.into(), &7.into()), "{told}");
    raw.expect_close(Reason::MessageNotJson).await;
    drop(raw);
    let record = case.ended(Reason::MessageNotJson).await;
    assert!(record["detail"].as_str().unwrap().contains("same name"), "{record}");
}

#[tokio::test]
async fn too_many_refusals_close() {
    let mut case = Case::start(&inspected("close", "format = \"json\"\nrefusals_max = 2")).await;
    let mut raw = open(&case).await;
    for _ in 0..3 {
        raw.send_frame(0x81, b"x").await;
    }
    raw.expect_close(Reason::RefusalsExceeded).await;
    drop(raw);
    let record = case.ended(Reason::RefusalsExceeded).await;
    assert_eq!(record["limit"], 2);
    assert_eq!(refusals(&case, "backend", Reason::MessageNotJson), 3, "each is counted for what it was");
}

#[tokio::test]
async fn a_message_reaches_the_application_whole_or_not_at_all() {
    let application = Application::start().await;
    let (_case, mut client, mut seen) = application.open("[routes.app.inspect]\nformat = \"json\"").await;
    for byte in frame(0x01, b"{\"a\"") {
        client.send(&[byte]).await;
    }
    client.send_frame(0x00, b"").await;
    client.send_frame(0x80, b":1}").await;
    assert_eq!(seen.read_frame().await, Frame::whole(0x81, b"{\"a\":1}"), "three frames became one");
    client.send_frame(0x01, b"{\"a\"").await;
    client.send_frame(0x80, b":1} ]").await;
    client.send_frame(0x81, b"2").await;
    assert_eq!(seen.read_frame().await, Frame::whole(0x81, b"2"));
    // What was never whole is not passed on either.
    client.send_frame(0x01, b"[1,").await;
    client.send_frame(0x88, &1000_u16.to_be_bytes()).await;
    assert_eq!(seen.read_frame().await.first, 0x88);
}

#[tokio::test]
async fn any_message_goes_on_in_one_frame() {
    let case = Case::start(&inspected("close", "format = \"any\"")).await;
    let mut raw = open(&case).await;
    for opcode in [0x01, 0x02] {
        raw.send(&[frame(opcode, b"one "), frame(0x00, b"two "), frame(0x80, b"three")].concat()).await;
        assert_eq!(raw.read_frame().await, Frame::whole(0x80 | opcode, b"one two three"));
    }
}

#[tokio::test]
async fn a_notice_waits_for_the_end_of_a_reply_that_is_under_way() {
    let application = Application::start().await;
    let table = "[routes.app.inspect]\nformat = \"json\"";
    let toml = crate::application::before(application.address, "", table)
        .replace("path = \"/app/*\"", "path = \"/app/*\"\nnotice = \"text\"");
    let case = Case::start(&toml).await;
    let (mut client, mut seen) = application.join(&case, "/app/", "").await;
    seen.send_frame(0x01, b"half ").await;
    assert_eq!(client.read_frame().await, Frame::whole(0x01, b"half "));
    client.send_frame(0x81, b"x").await;
    records(&case, Reason::MessageNotJson, 1).await;
    seen.send_frame(0x80, b"whole").await;
    seen.send_frame(0x81, b"next").await;
    for (first, text) in [(0x80, "whole"), (0x81, "Message Not JSON"), (0x81, "next")] {
        assert_eq!(client.read_frame().await, Frame::whole(first, text.as_bytes()));
    }
}

#[tokio::test]
async fn a_reply_that_is_refused_is_dropped_counted_and_logged_as_the_application_s_fault() {
    let application = Application::start().await;
    let (case, mut client, mut seen) =
        application.open("[routes.app.inspect_replies]\nformat = \"json\"\nrefusals_max = 2").await;
    seen.send_frame(0x01, b"not ").await;
    seen.send_frame(0x80, b"json").await;
    seen.send_frame(0x82, b"{}").await;
    seen.send_frame(0x01, b"{\"b\":").await;
    seen.send_frame(0x80, b"2}").await;
    // Binary is not what was promised either, and here it does not close: it is not the client's doing.
    assert_eq!(client.read_close_or_frame().await, Ok(Frame::whole(0x81, b"{\"b\":2}")));
    let records = records(&case, Reason::ReplyRefused, 2).await;
    assert_eq!((&records[0]["level"], &records[0]["toward"]), (&"ERROR".into(), &"client".into()));
    assert!(records[0]["detail"].as_str().unwrap().starts_with("message_not_json: "), "{records:?}");
    assert_eq!(refusals(&case, "client", Reason::ReplyRefused), 2);
    // Clients may send what they like here.
    client.send_frame(0x82, b"\x00\x01").await;
    assert_eq!(seen.read_frame().await, Frame::whole(0x82, b"\x00\x01"));
    seen.send_frame(0x81, b"too many").await;
    client.expect_close(Reason::ReplyRefused).await;
    assert_eq!(seen.read_frame().await.first, 0x88);
}

#[tokio::test]
async fn a_reply_that_is_refused_closes_with_1014_where_that_is_asked_for() {
    let application = Application::start().await;
    let (case, mut client, mut seen): (Case, Raw, Seen) =
        application.open("[routes.app.inspect_replies]\nformat = \"json\"\non_refusal = \"close\"").await;
    seen.send_frame(0x81, b"not json").await;
    client.expect_close(Reason::ReplyRefused).await;
    drop((client, seen));
    eventually(|| case.ends(Reason::ReplyRefused) == 1, || case.log_text()).await;
}

#[tokio::test]
async fn a_last_reply_that_is_refused_ends_a_client_that_has_closed_at_once() {
    let application = Application::start().await;
    let (case, mut client, mut seen) =
        application.open("[routes.app.inspect_replies]\nformat = \"json\"\non_refusal = \"close\"").await;
    client.send_frame(0x88, &1000_u16.to_be_bytes()).await;
    assert_eq!(seen.read_frame().await.first, 0x88);
    seen.send_frame(0x81, b"{}").await;
    seen.send_frame(0x81, b"not json").await;
    assert_eq!(client.read_frame().await, Frame::whole(0x81, b"{}"));
    client.expect_close(Reason::ReplyRefused).await;
    drop((client, seen));
    eventually(|| case.ends(Reason::ReplyRefused) == 1, || case.log_text()).await;
    let record = &case.records_of(Reason::ReplyRefused)[0];
    assert!(!record["detail"].as_str().unwrap().contains("not answered"), "{record}");
}

#[tokio::test]
async fn the_echo_is_inspected_behind_its_prefix() {
    let replies = "[routes.inspected.inspect_replies]\nformat = \"json\"";
    let toml = inspected("close", &format!("format = \"text\"\n{replies}"))
        .replace("backend.echo = {}", "backend.echo.prefix = \"[1,\"");
    let case = Case::start(&toml).await;
    let mut raw = open(&case).await;
    raw.send_frame(0x81, b"2]").await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"[1,2]"));
    raw.send_frame(0x81, b"2").await;
    raw.send_frame(0x01, b"3,").await;
    raw.send_frame(0x80, b"4]").await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"[1,3,4]"));
    records(&case, Reason::ReplyRefused, 1).await;
}

/// Says back what it hears, and keeps it.
struct Parrot(Arc<Mutex<Vec<Message>>>);

impl Handler for Parrot {
    async fn message(&self, session: &Session, message: Message) {
        self.0.lock().unwrap().push(message.clone());
        let _ = session.send(message).await;
        let _ = session.send(Message::Text("no json".into())).await;
    }
}

#[tokio::test]
async fn what_a_handler_gets_and_sends_is_inspected() {
    let heard = Arc::default();
    let replies =
        Inspection { on_refusal: Consequence::Drop, ..Inspection::new(Format::Json(Default::default())) };
    let inspections = Inspections {
        messages: Some(Inspection::new(Format::Json(Default::default()))),
        replies: Some(replies),
        seal: None,
    };
    let route = Route::new("handler", "/handler", Origins::Any, Access::Open, Parrot(Arc::clone(&heard)));
    let config = drawgate::config::Config::from_toml(&echo("", ""), ".".as_ref(), &|_| None).unwrap();
    let builder = Server::from_config(config).route(route.unwrap().inspect(inspections));
    let case = Case::start_with(builder).await;
    let mut raw = case.connect().await;
    raw.upgrade("/handler").await;
    raw.send(&[frame(0x81, b"{}"), frame(0x81, b"nope"), frame(0x81, b"[1]")].concat()).await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"{}"));
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"[1]"));
    records(&case, Reason::ReplyRefused, 2).await;
    records(&case, Reason::MessageNotJson, 1).await;
    assert_eq!(*heard.lock().unwrap(), [Message::Text("{}".into()), Message::Text("[1]".into())]);
}

#[tokio::test]
async fn what_is_held_to_be_inspected_is_counted_and_shed() {
    let toml = inspected_within("close", "message_bytes_max = \"1MiB\"", "format = \"binary\"");
    let case = Case::start(&format!("{toml}\n[server]\nbuffers_bytes_max = \"64KiB\"")).await;
    let mut raw = open(&case).await;
    raw.send_frame(0x02, &[7; 40_000]).await;
    eventually(|| case.metric("drawgate_buffered_bytes") == 40_000, || case.observer.render()).await;
    raw.send_frame(0x80, b"").await;
    raw.read_message().await;
    eventually(|| case.metric("drawgate_buffered_bytes") == 0, || case.observer.render()).await;
    raw.send_frame(0x02, &[7; 90_000]).await;
    raw.expect_close(Reason::Overloaded).await;
    drop(raw);
    eventually(|| case.metric("drawgate_buffered_bytes") == 0, || case.observer.render()).await;
}

#[tokio::test]
async fn an_inspected_message_has_64_kib_unless_the_route_says_otherwise() {
    let mut case = Case::start(&inspected("close", "format = \"text\"")).await;
    let mut raw = open(&case).await;
    raw.send_frame(0x81, &[b'a'; 64 * 1024]).await;
    assert_eq!(crate::support::payload(&raw.read_message().await).len(), 64 * 1024);
    raw.send(&frame(0x81, &[b'a'; 64 * 1024 + 1])[..14]).await;
    raw.expect_close(Reason::MessageTooBig).await;
    drop(raw);
    let record = case.ended(Reason::MessageTooBig).await;
    assert_eq!(record["limit"], 64 * 1024);
}

#[tokio::test]
async fn a_held_message_that_does_not_end_is_timed_out() {
    let toml = inspected_within("close", "message_timeout = \"50ms\"", "format = \"text\"");
    let case = Case::start(&toml).await;
    let mut raw = open(&case).await;
    raw.send_frame(0x01, b"begun").await;
    tokio::time::timeout(Duration::from_secs(1), raw.expect_close(Reason::MessageTimeout)).await.unwrap();
}

impl Raw {
    /// The next frame, unless it is a Close.
    async fn read_close_or_frame(&mut self) -> Result<Frame, Frame> {
        let frame = self.read_frame().await;
        if frame.first == 0x88 { Err(frame) } else { Ok(frame) }
    }
}

/// A folder with a schema of this name.
fn folder(name: &str, schema: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), schema).unwrap();
    folder
}

async fn start_in(folder: &tempfile::TempDir, toml: &str) -> Case {
    let config = drawgate::config::Config::from_toml(toml, folder.path(), &|_| None);
    Case::start_with(Server::from_config(config.unwrap_or_else(|problems| panic!("{problems}")))).await
}

#[tokio::test]
async fn a_message_that_does_not_fit_its_schema_is_told_by_its_place() {
    let folder = folder("user.json", r#"{"properties":{"email":{"format":"email"}},"required":["email"]}"#);
    let toml = inspected("json", "format = \"json\"\nschema_file = \"user.json\"");
    let mut case = start_in(&folder, &toml).await;
    let mut raw = open(&case).await;
    raw.send_frame(0x81, br#"{"email":"ada@example.com"}"#).await;
    assert_eq!(raw.read_frame().await.payload, br#"{"email":"ada@example.com"}"#);
    let secret = br#"{"email":"hunter2-correct-horse-battery"}"#;
    raw.send_frame(0x81, secret).await;
    let told = notice(&mut raw).await;
    assert_eq!(told["type"], Reason::MessageSchemaMismatch.row().type_uri);
    assert_eq!((&told["pointer"], &told["keyword"]), (&"/email".into(), &"format".into()), "{told}");
    assert!(!told.to_string().contains("hunter2"), "{told}");
    raw.send_frame(0x81, b"{}").await;
    assert_eq!(notice(&mut raw).await["keyword"], "required");
    let records = records(&case, Reason::MessageSchemaMismatch, 2).await;
    assert!(records[0]["detail"].as_str().unwrap().ends_with("at \"/email\""), "{records:?}");
    assert_eq!(refusals(&case, "backend", Reason::MessageSchemaMismatch), 2);
    case.keeps_nothing_of(secret);
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn a_message_of_an_unknown_type_is_refused_or_passes_as_is_said() {
    let folder = folder("chat.json", r#"{"properties":{"text":{"type":"string"}}}"#);
    for unknown in ["refuse", "pass"] {
        let schemas = format!(
            "format = \"json\"\nschemas = {{ member = \"type\", files = {{ chat = \"chat.json\" }}, unknown = \"{unknown}\" }}"
        );
        let case = start_in(&folder, &inspected("json", &schemas)).await;
        let mut raw = open(&case).await;
        raw.send_frame(0x81, br#"{"type":"chat","text":1}"#).await;
        assert_eq!(notice(&mut raw).await["pointer"], "/text");
        for other in [&br#"{"type":"other"}"#[..], br#"{"type":7}"#, b"[]"] {
            raw.send_frame(0x81, other).await;
            let answer = raw.read_frame().await;
            if unknown == "pass" {
                assert_eq!(answer.payload, other);
            } else {
                let told: Value = serde_json::from_slice(&answer.payload).unwrap();
                assert_eq!(told["type"], Reason::MessageTypeUnknown.row().type_uri);
                assert_eq!(told["pointer"], "/type");
            }
        }
    }
}
