//! O: the drain at scale. However many connections there are and whenever it begins, an application has been given a prefix of
//! what each client sent, without a gap, and each client has been given every answer to it.
//!
//! `SEED=7` runs one again; `DRAIN_CONNECTIONS=1000 DRAIN_MESSAGES=1000` is the size at which it is to hold: five seconds a
//! run.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use drawgate::config::Config;
use drawgate::limits::Limits;
use drawgate::{Access, Handler, Message, Origins, Route, Server, Session};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex as TurnMutex, Notify, oneshot};
use tokio::time::{sleep, timeout};

use crate::support::{echo, frame, request};

/// The application: remembers the last number of each client, which must be the one after the one before, and answers with it.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<HashMap<usize, usize>>>);

impl Handler for Book {
    async fn message(&self, session: &Session, message: Message) {
        let text = std::str::from_utf8(message.as_bytes()).unwrap();
        let (client, number) = text.trim_end().split_once(':').unwrap();
        let (client, number): (usize, usize) = (client.parse().unwrap(), number.parse().unwrap());
        {
            let mut last = self.0.lock().unwrap();
            let last = last.entry(client).or_default();
            assert_eq!(number, *last + 1, "client {client}: a gap, or something twice");
            *last = number;
        }
        let _ = session.send(message).await;
    }
}

impl Book {
    fn last(&self, client: usize) -> usize {
        self.0.lock().unwrap().get(&client).copied().unwrap_or_default()
    }
}

/// A generator for a test's choices (splitmix64), so that a seed makes the same ones again.
struct Choices(u64);

impl Choices {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }
}

/// What the clients have in common.
struct Crowd {
    messages: usize,
    answered: AtomicUsize,
    /// When so many answers have come, the drain begins.
    threshold: usize,
    drain: Notify,
}

/// What a client has seen.
#[derive(Debug)]
struct Story {
    answered: usize,
    /// The code of the gateway's Close, if one came.
    code: Option<u16>,
}

/// Sends its numbers in batches, reads the answers meanwhile, answers the Close.
async fn client(number: usize, address: SocketAddr, mut choices: Choices, crowd: Arc<Crowd>) -> Story {
    let refused = Story { answered: 0, code: None };
    let Ok(mut stream) = TcpStream::connect(address).await else { return refused };
    stream.write_all(request("/", "").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return refused,
        }
    }
    if !head.starts_with(b"HTTP/1.1 101") {
        assert!(head.starts_with(b"HTTP/1.1 503"), "{}", String::from_utf8_lossy(&head));
        return refused;
    }
    let (reading, writing) = stream.into_split();
    let (writing, is_over) = (Arc::new(TurnMutex::new(writing)), Arc::new(AtomicBool::new(false)));
    let sending = {
        let (writing, is_over, messages) = (Arc::clone(&writing), Arc::clone(&is_over), crowd.messages);
        tokio::spawn(async move {
            let mut next = 1;
            while next <= messages && !is_over.load(Ordering::Relaxed) {
                let mut batch = Vec::new();
                for _ in 0..=choices.below(16) {
                    let text = format!("{number}:{next}{}", " ".repeat(choices.below(60)));
                    batch.extend(frame(0x81, text.as_bytes()));
                    next += 1;
                    if next > messages {
                        break;
                    }
                }
                if writing.lock().await.write_all(&batch).await.is_err() {
                    return;
                }
                if choices.below(8) == 0 {
                    sleep(Duration::from_millis(u64::try_from(choices.below(4)).unwrap())).await;
                }
            }
        })
    };
    let story = read(number, reading, &writing, &is_over, &crowd).await;
    sending.await.unwrap();
    story
}

async fn read(
    number: usize,
    mut reading: OwnedReadHalf,
    writing: &TurnMutex<OwnedWriteHalf>,
    is_over: &AtomicBool,
    crowd: &Crowd,
) -> Story {
    let mut story = Story { answered: 0, code: None };
    let (mut unread, mut used) = (Vec::with_capacity(64 * 1024), 0);
    loop {
        while let Some(length) = unread.get(used + 1).map(|length| usize::from(length & 0x7F))
            && let Some(payload) = unread.get(used + 2..used + 2 + length)
        {
            assert!(length < 126, "all that comes is short");
            match unread[used] {
                0x81 => {
                    let text = std::str::from_utf8(payload).unwrap().trim_end();
                    assert_eq!(
                        text,
                        format!("{number}:{}", story.answered + 1),
                        "after the Close: {:?}",
                        story.code
                    );
                    assert_eq!(story.code, None, "something follows the Close");
                    story.answered += 1;
                    if crowd.answered.fetch_add(1, Ordering::Relaxed) + 1 == crowd.threshold {
                        crowd.drain.notify_one();
                    }
                }
                0x88 => {
                    let code = payload[..2].to_vec();
                    story.code = Some(u16::from_be_bytes([code[0], code[1]]));
                    is_over.store(true, Ordering::Relaxed);
                    let _ = writing.lock().await.write_all(&frame(0x88, &code)).await;
                }
                other => panic!("{other:#x} came"),
            }
            used += 2 + length;
        }
        unread.drain(..used);
        used = 0;
        if !matches!(reading.read_buf(&mut unread).await, Ok(1..)) {
            is_over.store(true, Ordering::Relaxed);
            return story;
        }
    }
}

async fn readiness(admin: SocketAddr) -> String {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    stream.write_all(format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Whoever is refused a connect finds the gateway not ready.
async fn watch_readiness(address: SocketAddr, admin: SocketAddr) {
    loop {
        if TcpStream::connect(address).await.is_err() {
            let answer = readiness(admin).await;
            assert!(answer.starts_with("HTTP/1.1 503 "), "refused, and yet ready: {answer}");
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

async fn drained_at_a_random_moment(seed: u64, connections: usize, messages: usize) {
    let mut choices = Choices(seed);
    let threshold = 1 + choices.below(connections * messages);
    println!(
        "SEED={seed}: {connections} connections, {messages} messages each, drained at answer {threshold}"
    );
    let book = Book::default();
    let route = Route::new("book", "/*", Origins::Any, Access::Open, book.clone()).unwrap();
    let unlimited = drawgate::firewall::Config {
        connections_per_client_max: None,
        handshakes_per_client_per_minute: None,
        ..drawgate::firewall::Config::default()
    };
    let application = Server::builder()
        .listen("127.0.0.1:0".parse().unwrap())
        .route(route.limits(Limits::default()))
        .firewall(unlimited)
        .bind()
        .unwrap();
    let upstream = application.address();
    let application = tokio::spawn(application.run(std::future::pending()));
    let toml = echo(
        "",
        "[firewall]\nconnections_per_client_max = \"unlimited\"\nhandshakes_per_client_per_minute = \"unlimited\"\n\
         [admin]\naddress = \"127.0.0.1:0\"\n[server]\ndrain_timeout = \"60s\"",
    )
    .replace("backend = \"echo\"", &format!("backend = {{ urls = [\"ws://{upstream}\"] }}"))
    .replace("close_timeout = \"300ms\"", "close_timeout = \"30s\"")
    .replace("head_timeout = \"300ms\"", "head_timeout = \"30s\"");
    let config = Config::from_toml(&toml, Path::new("."), &|_| None).unwrap_or_else(|p| panic!("{p}"));
    let gateway = Server::from_config(config).bind().unwrap();
    let (address, admin) = (gateway.address(), gateway.admin_address().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let gateway = tokio::spawn(gateway.run(async {
        let _ = stopped.await;
    }));
    let crowd = Arc::new(Crowd { messages, answered: AtomicUsize::new(0), threshold, drain: Notify::new() });
    let clients: Vec<_> = (0..connections)
        .map(|number| {
            tokio::spawn(client(number, address, Choices(seed ^ (number as u64) << 20), Arc::clone(&crowd)))
        })
        .collect();
    crowd.drain.notified().await;
    let watching = tokio::spawn(watch_readiness(address, admin));
    drop(stop);
    let drained = timeout(Duration::from_secs(90), gateway).await.expect("the gateway stops").unwrap();
    watching.await.unwrap();
    let (mut told, mut answered) = (0, 0);
    for (number, client) in clients.into_iter().enumerate() {
        let story = client.await.unwrap();
        assert_eq!(story.answered, book.last(number), "SEED={seed}, client {number}: {story:?}");
        assert!(story.answered == 0 || story.code == Some(1012), "SEED={seed}, client {number}: {story:?}");
        told += usize::from(story.code.is_some());
        answered += story.answered;
    }
    println!("  {told} were told 1012, {answered} messages were accepted and answered");
    assert_eq!(drained.cut, 0, "SEED={seed}");
    assert!(answered >= threshold, "SEED={seed}: {answered} answers");
    application.abort();
}

fn from_environment(name: &str) -> Option<usize> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o08_a_drain_at_any_moment_gives_each_application_a_prefix_and_each_client_every_answer_to_it() {
    let connections = from_environment("DRAIN_CONNECTIONS").unwrap_or(100);
    let messages = from_environment("DRAIN_MESSAGES").unwrap_or(1000);
    if let Some(seed) = from_environment("SEED") {
        return drained_at_a_random_moment(seed as u64, connections, messages).await;
    }
    let random = std::collections::hash_map::RandomState::new();
    for round in 0..3_u64 {
        let seed = std::hash::BuildHasher::hash_one(&random, round) % 1_000_000;
        drained_at_a_random_moment(seed, connections, messages).await;
    }
}
