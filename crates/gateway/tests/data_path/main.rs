//! The data path through the public door: in-memory pipes, virtual time, raw bytes.
//!
//! Each case is something that a connection once got wrong, or easily could. Attacks through real sockets stand in a
//! folder of their own.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod pipes;
mod sessions;

use std::future::{Future as _, ready};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use drawgate::reason::Reason;
use drawgate::{Access, CloseCode, Handler, Message, Origins, Route, Session};
use drawgate_protocol::MessageKind;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

use pipes::{Client, Gateway, Tampered, continuation, echo, frame, peer};

/// Answers each message with so many messages of so many bytes.
struct Burst {
    count: usize,
    bytes: usize,
}

impl Handler for Burst {
    async fn message(&self, session: &Session, _: Message) {
        for _ in 0..self.count {
            if session.send(Message::Binary(vec![7; self.bytes])).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn r06_a_handler_that_waits_for_room_goes_on_when_the_slow_reader_reads() {
    const PIPE_BYTES: usize = 1024 * 1024;
    let gateway = Gateway::handler(Burst { count: 96, bytes: 32 * 1024 });
    let mut client = gateway.connect(PIPE_BYTES).await;
    client.send(&frame(MessageKind::Text, true, b"go")).await;
    let mut received = 0;
    let mut piece = vec![0; PIPE_BYTES];
    while received < 96 * (32 * 1024 + 4) {
        // The client looks away until nothing fits any more, then takes all of it at once.
        pipes::let_others_run().await;
        let read = tokio::time::timeout(Duration::from_secs(1), client.socket.read(&mut piece)).await;
        received += read.expect("the rest is sent").unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn r06_a_stalled_message_that_is_cut_short_is_followed_by_the_close_alone() {
    let gateway = Gateway::start(echo("text", ""));
    let mut client = gateway.connect(8 * 1024).await;
    client.send(&frame(MessageKind::Binary, false, &[1; 20_000])).await;
    client.send(&continuation(true, &[2; 20_000])).await;
    tokio::time::sleep(Duration::from_secs(16)).await;
    let told = client.until_close().await;
    assert_eq!(told.texts, [""; 0], "a notice inside a message would be taken for a part of it");
    assert_eq!(told.close, Some((3008, true)));
}

#[tokio::test(start_paused = true)]
async fn r11_a_connection_that_is_closing_and_still_in_the_way_is_cut() {
    let gateway = Gateway::handler_with(Burst { count: 1, bytes: 200_000 }, |builder| {
        builder.buffers_bytes_max(64 * 1024)
    });
    let mut client = gateway.connect(1024).await;
    // One frame that has been begun cannot be given up for a Close.
    client.send(&frame(MessageKind::Text, true, b"go")).await;
    pipes::let_others_run().await;
    let none_lives = tokio::time::timeout(Duration::from_secs(1), gateway.until_none_lives());
    none_lives.await.expect("it does not last until the client must have answered");
}

#[tokio::test(start_paused = true)]
async fn f27_a_panic_in_the_data_path_leaves_nothing_for_another_connection() {
    let gateway = Gateway::start(echo("close", ""));
    let (mut client, tampered) = Tampered::pipe(64 * 1024);
    gateway.serve(tampered.panic_at_write(2));
    client.upgrade().await;
    client.send(&frame(MessageKind::Text, true, b"not for others")).await;
    let mut rest = Vec::new();
    client.socket.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"");

    let mut other = gateway.connect(64 * 1024).await;
    other.send(&frame(MessageKind::Text, true, b"mine")).await;
    assert_eq!(other.take(6).await, b"\x81\x04mine");
}

#[tokio::test(start_paused = true)]
async fn r01_clients_that_are_being_refused_take_no_place_of_those_that_could_come_in() {
    let gateway = Gateway::build(echo("close", ""), |builder| builder.connections_max(1));
    let first = gateway.connect(4096).await;
    let mut refused = Vec::new();
    for _ in 0..3 {
        let mut client = gateway.open(4096);
        assert!(client.head().await.starts_with("HTTP/1.1 503"));
        refused.push(client);
    }
    drop(first);
    pipes::let_others_run().await;
    let mut next = gateway.open(4096);
    next.upgrade().await;
    drop(refused);
}

#[tokio::test(start_paused = true)]
async fn o08_a_connection_that_was_accepted_but_not_begun_when_the_drain_began_is_answered() {
    let server = pipes::bind(echo("close", ""), |builder| builder);
    let entry = server.entry(pipes::LISTENER).unwrap();
    let (ours, theirs) = tokio::io::duplex(4096);
    let mut client = Client { socket: theirs };
    client.send(pipes::REQUEST).await;
    let life = entry.serve(ours, peer());
    let mut run = pin!(server.run(ready(())));
    tokio::select! {
        _ = &mut run => panic!("the drain did not wait"),
        () = pipes::let_others_run() => {}
    }
    let (drained, ()) = tokio::join!(run, life);
    assert_eq!(drained.cut, 0);
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
}

/// What an application hears of its sessions.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn say(&self, word: impl Into<String>) {
        self.0.lock().unwrap().push(word.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Tells what it hears, and hands its sessions on.
struct Listener {
    heard: Heard,
    sessions: mpsc::UnboundedSender<Session>,
}

impl Listener {
    fn new() -> (Self, Heard, mpsc::UnboundedReceiver<Session>) {
        let (sessions, receiver) = mpsc::unbounded_channel();
        let heard = Heard::default();
        (Self { heard: heard.clone(), sessions }, heard, receiver)
    }
}

struct SayOnDrop(Heard);

impl Drop for SayOnDrop {
    fn drop(&mut self) {
        self.0.say("dropped");
    }
}

impl Handler for Listener {
    async fn opened(&self, session: &Session) {
        self.heard.say("opened");
        self.sessions.send(session.clone()).unwrap();
    }

    async fn message(&self, _: &Session, _: Message) {
        let _said = SayOnDrop(self.heard.clone());
        std::future::pending::<()>().await;
    }

    fn ended(&self, _: &Session, reason: Reason) {
        self.heard.say(format!("ended: {}", reason.row().label));
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_hears_the_end_of_a_connection_whose_future_is_dropped() {
    let (listener, heard, mut sessions) = Listener::new();
    let gateway = Gateway::handler(listener);
    let (ours, theirs) = tokio::io::duplex(4096);
    let mut client = Client { socket: theirs };
    let mut life = Box::pin(gateway.entry().serve(ours, peer()));
    tokio::select! {
        () = &mut life => panic!("it ended"),
        () = async { client.upgrade().await; pipes::let_others_run().await } => {}
    }
    let session = sessions.try_recv().unwrap();
    assert!(gateway.metrics().contains("drawgate_connections{route=\"route\"} 1"), "{}", gateway.metrics());
    drop(life);
    assert_eq!(heard.all(), ["opened", "ended: draining"]);
    assert!(session.send(Message::Text("too late".into())).await.is_err());
    assert!(gateway.metrics().contains("drawgate_connections{route=\"route\"} 0"), "{}", gateway.metrics());
}

#[tokio::test(start_paused = true)]
async fn while_a_connection_closes_its_call_is_dropped_and_nothing_more_is_taken() {
    let (listener, heard, mut sessions) = Listener::new();
    let gateway = Gateway::handler(listener);
    let mut client = gateway.connect(4096).await;
    client.send(&frame(MessageKind::Text, true, b"work")).await;
    pipes::let_others_run().await;
    let session = sessions.try_recv().unwrap();
    session.close(CloseCode::NORMAL, "enough");
    pipes::let_others_run().await;
    // The client has not answered the Close, so the connection is still there.
    assert_eq!(heard.all(), ["opened", "dropped"]);
    assert!(session.send(Message::Text("too late".into())).await.is_err());
    drop(client);
    gateway.until_none_lives().await;
    assert_eq!(heard.all().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn who_was_never_opened_is_never_ended() {
    let (listener, heard, _sessions) = Listener::new();
    let gateway = Gateway::handler(listener);
    // Too small for the 101, so that the gateway is cut while it waits to send the rest.
    let mut client = gateway.open(16);
    client.send(pipes::REQUEST).await;
    pipes::let_others_run().await;
    gateway.stop();
    pipes::let_others_run().await;
    let mut rest = Vec::new();
    client.socket.read_to_end(&mut rest).await.unwrap();
    assert!(rest.starts_with(b"HTTP/1.1 101"));
    assert_eq!(heard.all(), [""; 0]);
}

/// Counts how often it is woken.
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_kept_keeps_nothing_of_its_connections_task() {
    let (listener, _heard, mut sessions) = Listener::new();
    let gateway = Gateway::handler(listener);
    let (ours, theirs) = tokio::io::duplex(4096);
    let mut client = Client { socket: theirs };
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let mut life = Box::pin(gateway.entry().serve(ours, peer()));
    let mut run = || life.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(run().is_pending());
    client.send(pipes::REQUEST).await;
    assert!(run().is_pending());
    let session = sessions.try_recv().unwrap();
    drop(client);
    assert!(run().is_ready());
    drop(life);
    drop(waker);
    assert_eq!(Arc::strong_count(&count), 1);
    drop(session);
}

/// Sends each message back, from within the call.
struct Echo;

impl Handler for Echo {
    async fn message(&self, session: &Session, message: Message) {
        let _ = session.send(message).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_answers_to_one_read_leaves_by_one_write() {
    let gateway = Gateway::handler(Echo);
    let (mut client, tampered) = Tampered::pipe(64 * 1024);
    let writes = tampered.writes();
    gateway.serve(tampered);
    client.upgrade().await;
    assert_eq!(writes.load(Ordering::Relaxed), 1);
    client.send(&frame(MessageKind::Text, true, b"hello").repeat(16)).await;
    assert_eq!(client.take(16 * 7).await, b"\x81\x05hello".repeat(16));
    assert_eq!(writes.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_answers_at_once_does_not_wake_its_own_connection() {
    let gateway = Gateway::handler(Echo);
    let (ours, theirs) = tokio::io::duplex(4096);
    let mut client = Client { socket: theirs };
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let mut life = pin!(gateway.entry().serve(ours, peer()));
    let mut run = || life.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(run().is_pending());
    client.send(pipes::REQUEST).await;
    assert!(run().is_pending());
    client.head().await;
    let before = count.0.load(Ordering::Relaxed);
    client.send(&frame(MessageKind::Text, true, b"hello")).await;
    assert!(run().is_pending());
    assert_eq!(client.take(7).await, b"\x81\x05hello");
    // Once by what came; the pipe does not wake a writer that did not wait.
    assert_eq!(count.0.load(Ordering::Relaxed) - before, 1);
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_beyond_all_time_is_none() {
    let limits = drawgate::limits::Limits {
        message_timeout: Some(Duration::MAX),
        ping_interval: Some(Duration::MAX),
        pong_timeout: Some(Duration::MAX),
        stall_timeout: Some(Duration::MAX),
        close_timeout: Duration::MAX,
        ..drawgate::limits::Limits::default()
    };
    let route = Route::new("route", "/*", Origins::Any, Access::Open, Echo).unwrap().limits(limits);
    let gateway = Gateway::start(Gateway::builder_with(route, Duration::MAX));
    let mut client = gateway.connect(4096).await;
    client.send(&frame(MessageKind::Text, false, b"he")).await;
    client.send(&frame(MessageKind::Text, true, b"y")).await;
    // What continues a message is a continuation frame, so this is a violation that is told.
    assert_eq!(client.until_close().await.close, Some((1002, true)));

    // A client that only closes its side has as long as there is, too.
    let mut client = gateway.connect(4096).await;
    tokio::io::AsyncWriteExt::shutdown(&mut client.socket).await.unwrap();
    drop(client);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let page = gateway.metrics();
    assert!(page.contains("reason=\"connection_lost\",side=\"client\"} 1\n"), "{page}");
    assert!(!page.contains("internal_error\",side=\"gateway\"} 1"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn section_5_5_1_a_close_that_waited_behind_a_message_is_answered_though_the_client_has_hung_up() {
    let (listener, heard, _sessions) = Listener::new();
    let gateway = Gateway::handler(listener);
    let mut client = gateway.open(4096);
    // All of it comes with the request, so it waits while the application is told of the client.
    let close = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8];
    client.send(&[pipes::REQUEST, &close].concat()).await;
    tokio::io::AsyncWriteExt::shutdown(&mut client.socket).await.unwrap();
    client.head().await;
    let mut rest = Vec::new();
    client.socket.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"\x88\x02\x03\xe8");
    pipes::let_others_run().await;
    assert_eq!(heard.all(), ["opened", "ended: closed_by_client"]);
}
