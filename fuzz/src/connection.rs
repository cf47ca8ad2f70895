//! Target `connection`: the whole gateway, in memory and on virtual time, with clients that do anything.
//!
//! The input is a [`Program`]. Promises: no panic and no spinning; every connection ends within [`END_TIME_MAX`] of the
//! last thing that happened to it, for one reason, which its only record, the counters and what the client is told agree
//! on; no limit is passed; what a client gets is one sound HTTP response and then sound
//! frames, with nothing behind a Close; answers are a prefix of those that the client asked for, and all of them where
//! it did nothing to lose them; at the end nothing is held; and the same input makes the same [`transcript`].

mod compressed;
mod gateway;
mod pipe;
mod program;
mod records;
mod requests;
mod verdict;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use drawgate::observe::Observer;
use drawgate::server::{Drained, Entry};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use self::gateway::{DRAIN_TIMEOUT, LISTENER};
use self::pipe::Client;
use self::program::{Action, Program, Settings, Step, op};
use self::records::Record;
use crate::Seed;
use crate::bounds::aside;

/// Checks one input.
pub fn run(data: &[u8]) {
    let _left = live(data);
}

/// All that the input's run leaves: what each client got, every record, and the metrics.
#[must_use]
pub fn transcript(data: &[u8]) -> Vec<u8> {
    let Left { lives, page } = live(data);
    // The series of a metric come in any order: they are in hash maps.
    let mut lines: Vec<&str> = page.lines().collect();
    lines.sort_unstable();
    let mut transcript = lines.join("\n").into_bytes();
    for (written, records) in lives {
        transcript.extend_from_slice(&written);
        transcript.extend_from_slice(format!("\n{records:#?}\n").as_bytes());
    }
    transcript
}

/// What a run leaves.
struct Left {
    /// What each client got, and what was logged of it.
    lives: Vec<(Vec<u8>, Vec<Record>)>,
    /// The metrics at the end.
    page: String,
}

/// Runs the program to its end.
fn live(data: &[u8]) -> Left {
    records::keep();
    let Program { settings, steps } = Program::decode(data);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("there is room for a runtime").block_on(async {
        let mut world = World::new(settings);
        for step in &steps {
            world.take(step).await;
        }
        world.end(settings).await
    })
}

/// The program that `data` is, for people.
#[must_use]
pub fn describe(data: &[u8]) -> String {
    let Program { settings, steps } = Program::decode(data);
    let mut lines = vec![format!("{settings:?}")];
    for Step { action, rests } in steps {
        lines.push(format!("{action:?}{}", if rests { "" } else { " at once" }));
    }
    lines.join("\n")
}

/// The gateway and its clients.
struct World {
    entry: Entry,
    observer: Observer,
    shutdown: Option<oneshot::Sender<()>>,
    running: JoinHandle<Drained>,
    lives: Vec<Life>,
    selected: usize,
    /// How many may be connected at a time.
    connections_max: usize,
}

/// One client, and the task that serves it.
struct Life {
    client: Client,
    /// Ends with what was logged of it.
    served: JoinHandle<Vec<Record>>,
    /// How much it had sent when the drain began.
    sent_bytes_at_drain: Option<usize>,
}

impl World {
    fn new(settings: Settings) -> Self {
        let server = gateway::gateway(settings);
        let (shutdown, told) = oneshot::channel();
        Self {
            entry: server.entry(LISTENER).expect("there is one listener"),
            observer: server.observer(),
            shutdown: Some(shutdown),
            running: tokio::spawn(server.run(async {
                let _ = told.await;
            })),
            lives: Vec::new(),
            selected: 0,
            connections_max: gateway::connections_per_client_max(settings)
                .map_or(CLIENTS_MAX, |max| max as usize),
        }
    }

    async fn take(&mut self, Step { action, rests }: &Step) {
        match action {
            Action::Open(number) => self.open(*number).await,
            Action::Select(number) if !self.lives.is_empty() => {
                self.selected = usize::from(*number) % self.lives.len();
            }
            Action::Wait { ms } => sleep(Duration::from_millis(*ms)).await,
            Action::Drain => self.drain(),
            other => {
                if let Some(life) = self.lives.get(self.selected) {
                    act(&life.client, other);
                }
            }
        }
        if *rests {
            // Time passes only when nobody has anything left to do.
            sleep(Duration::from_millis(1)).await;
        }
        self.lives.iter().for_each(|life| life.client.forgive_calls());
        let connected = self.lives.iter().filter(|life| life.is_connected()).count();
        assert!(connected <= self.connections_max, "{connected} connections at a time");
    }

    async fn open(&mut self, number: u8) {
        let is_serving = self.shutdown.is_some() || self.lives.iter().any(|life| !life.served.is_finished());
        if self.lives.len() == CLIENTS_MAX || !is_serving {
            return;
        }
        let (socket, client) = pipe::pipe();
        client.send(&requests::head(number));
        let peer = SocketAddr::from(([192, 0, 2, 1], 40_000));
        let mut serving = Box::pin(records::of(self.entry.clone().serve(socket, peer)));
        // The gateway knows of a client from the first poll on; until then a drain does not wait for it.
        let first = poll_fn(|cx| Poll::Ready(serving.as_mut().poll(cx))).await;
        self.selected = self.lives.len();
        let sent_bytes_at_drain = self.shutdown.is_none().then_some(0);
        let served = tokio::spawn(async move {
            match first {
                Poll::Ready(records) => records,
                Poll::Pending => serving.await,
            }
        });
        self.lives.push(Life { client, served, sent_bytes_at_drain });
    }

    fn drain(&mut self) {
        let Some(shutdown) = self.shutdown.take() else { return };
        for life in &mut self.lives {
            life.sent_bytes_at_drain = Some(life.client.state().sent.len());
        }
        let _ = shutdown.send(());
    }

    /// Nothing more happens but time.
    async fn end(mut self, settings: Settings) -> Left {
        sleep(Duration::from_millis(1)).await;
        let mut lives = Vec::new();
        for life in &mut self.lives {
            if gateway::has_small_buffers(settings) {
                // Whoever may not gather more until there is room looks again after a while.
                sleep(ROOM_TIME_MAX).await;
            }
            aside(|| verdict::assert_answered(&life.client.state(), settings));
            let ended = timeout(END_TIME_MAX, &mut life.served).await;
            let records = ended.expect("a connection never ends").expect("nothing panics");
            assert!(life.client.is_dropped(), "the socket is still held");
            let mut state = life.client.state();
            let told = aside(|| verdict::assert_sound(&state, settings, life.sent_bytes_at_drain));
            verdict::assert_recorded(&state.written, &records, told);
            lives.push((std::mem::take(&mut state.written), records));
        }
        self.drain();
        let drained = timeout(DRAIN_TIMEOUT + Duration::from_secs(3), self.running).await;
        drained.expect("the gateway never ends").expect("nothing panics");
        let page = self.observer.render();
        assert_counted(&page, &lives);
        Left { lives, page }
    }
}

impl Life {
    /// It has its `101`, and has not ended.
    fn is_connected(&self) -> bool {
        !self.served.is_finished() && self.client.state().written.starts_with(b"HTTP/1.1 101 ")
    }
}

/// The metrics say what the records say, and that nothing is held.
fn assert_counted(page: &str, lives: &[(Vec<u8>, Vec<Record>)]) {
    // The few series that matter, found once.
    let lines: Vec<&str> =
        page.lines().filter(|line| COUNTED.iter().any(|metric| line.starts_with(metric))).collect();
    assert_eq!(sum(&lines, "drawgate_ends_total", ""), lives.len(), "{page}");
    assert_eq!(sum(&lines, "drawgate_handshakes_total", ""), lives.len(), "{page}");
    assert_eq!(sum(&lines, "drawgate_connections", ""), 0, "{page}");
    assert_eq!(sum(&lines, "drawgate_buffered_bytes", ""), 0, "{page}");
    let reasons =
        || lives.iter().flat_map(|(_, records)| records).filter_map(|record| record.field("reason"));
    for reason in reasons() {
        let recorded = reasons().filter(|other| *other == reason).count();
        let label = format!("reason=\"{reason}\"");
        assert_eq!(sum(&lines, "drawgate_ends_total", &label), recorded, "{reason}: {page}");
        assert!(!matches!(reason, "internal_error" | "handler_panicked"), "{page}");
    }
}

/// What a client does.
fn act(client: &Client, action: &Action) {
    match action {
        Action::Message { is_text, letter, bytes } => {
            let first = if *is_text { 0x81 } else { 0x82 };
            client.send(&requests::frame(first, &requests::payload(*letter, *bytes)));
        }
        Action::Frame { first, bytes } => {
            client.send(&requests::frame(*first, &requests::payload(*first, *bytes)));
        }
        Action::Compressed { is_text, letter, bytes } => {
            let first = if *is_text { 0xC1 } else { 0xC2 };
            client.send(&requests::frame(first, &requests::stored(&requests::payload(*letter, *bytes))));
        }
        Action::Raw(bytes) => client.send(bytes),
        Action::Controls { opcode, bytes, count } => {
            for number in 0..*count {
                client.send(&requests::frame(0x80 | opcode, &requests::payload(number, *bytes)));
            }
        }
        Action::Close(number) => client.send(&requests::frame(0x88, &requests::close_payload(*number))),
        Action::Token(number) => client.send(&requests::frame(0x81, &requests::token(*number))),
        Action::Window { bytes } => client.set_window(*bytes),
        Action::Unblock => client.set_window(usize::MAX),
        Action::Reset => client.reset(),
        Action::Finish => client.finish(),
        Action::Cut { read_bytes_max, write_bytes_max, hiccup_every } => {
            client.cut(*read_bytes_max, *write_bytes_max, *hiccup_every);
        }
        Action::HoldBack { bytes } => client.hold_back(*bytes),
        Action::AnswerClose => {
            let has_close = aside(|| verdict::has_close(&client.state().written));
            if has_close {
                client.send(&requests::frame(0x88, &requests::close_payload(0)));
            }
        }
        Action::Open(_) | Action::Select(_) | Action::Wait { .. } | Action::Drain => {}
    }
}

/// The sum of the series of one metric that have `label`.
fn sum(lines: &[&str], metric: &str, label: &str) -> usize {
    let is_of = |line: &&str| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let series = lines.iter().copied().filter(is_of).filter(|line| line.contains(label));
    let values: Vec<usize> = series
        .map(|line| {
            line.rsplit(' ')
                .next()
                .and_then(|value| value.parse().ok())
                .expect("a count that is not negative")
        })
        .collect();
    values.iter().sum()
}

/// A life of each kind, and each fault once.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    PROGRAMS.iter().map(|(name, steps)| Seed { name: (*name).to_owned(), bytes: steps.concat() }).collect()
}

const ECHO: &[u8] = &[op::OPEN, 0];
const HANDLER: &[u8] = &[op::OPEN, 5];
const AUTHENTICATED: &[u8] = &[op::OPEN, 9, op::TOKEN, 0];

/// 240 KB; twice that is more than the output holds.
const LARGE: &[u8] = &[op::BINARY, 0, 254, op::BINARY, 1, 254, op::BINARY, 2, 254, op::BINARY, 3, 254];

/// The settings, then the steps.
const PROGRAMS: &[(&str, &[&[u8]])] = &[
    (
        "echo-and-close",
        &[&[0], ECHO, &[op::TEXT, 0, 5, op::BINARY, 0, 250, op::PING, 4, 0, op::CLOSE, 1, op::FINISH]],
    ),
    (
        "handler-in-every-way",
        &[
            &[0x80],
            HANDLER,
            &[op::TEXT, 1, 5, op::TEXT, 8, 5, op::TEXT, 7, 3, op::TEXT, 9, 3, op::WAIT, 6, op::ANSWER_CLOSE],
        ],
    ),
    ("token-then-echo", &[&[2], AUTHENTICATED, &[op::TEXT, 0, 9, op::CLOSE, 0]]),
    ("token-wrong", &[&[1, op::OPEN, 9, op::TOKEN, 5, op::ANSWER_CLOSE]]),
    ("token-never", &[&[2, op::OPEN, 9, op::PING, 0, 0, op::WAIT, 8]]),
    ("requests-refused", &[&[0, op::OPEN, 13, op::OPEN, 16, op::FINISH, op::OPEN, 17]]),
    (
        "bytes-one-by-one",
        &[&[0], ECHO, &[op::CUT, 1, 1, 2, op::TEXT, 0, 199, op::TEXT, 0, 220, op::CLOSE, 0]],
    ),
    ("message-that-never-ends", &[&[0], ECHO, &[op::FRAME, 1, 9, op::WAIT, 11, op::WAIT, 11]]),
    ("frame-cut-and-reset", &[&[0], ECHO, &[op::HOLD_BACK, 50, op::TEXT, 0, 100, op::RESET]]),
    ("frame-cut-and-finished", &[&[0], ECHO, &[op::HOLD_BACK, 50, op::TEXT, 0, 100, op::FINISH]]),
    ("reader-stalls", &[&[0x82], ECHO, &[op::WINDOW, 30, op::TEXT, 0, 254, op::PING, 9, 250, op::WAIT, 10]]),
    (
        "reader-stalls-in-mid-message",
        &[&[2], ECHO, &[op::WINDOW, 0x16, op::FRAME, 1, 20, op::FRAME, 0x80, 30, op::WAIT, 10, op::UNBLOCK]],
    ),
    (
        "reader-pauses-under-a-burst",
        &[
            &[0x80],
            HANDLER,
            &[op::WINDOW, 200, op::TEXT, 7, 9, op::WAIT, 5, op::UNBLOCK, op::WAIT, 5, op::CLOSE, 0],
        ],
    ),
    (
        "reader-pauses-under-a-burst-and-is-silent",
        &[&[0x80], HANDLER, &[op::WINDOW, 200, op::TEXT, 7, 9, op::UNBLOCK]],
    ),
    (
        "reader-pauses-under-an-echo",
        &[&[0x80], ECHO, &[op::WINDOW, 0], LARGE, LARGE, &[op::WAIT, 5, op::UNBLOCK, op::FINISH]],
    ),
    (
        "load-is-shed",
        &[&[0x88], ECHO, &[op::WINDOW, 30, op::BINARY, 0, 254, op::TEXT, 0, 99, op::WAIT, 2, op::UNBLOCK]],
    ),
    (
        "drain-after-all-is-answered",
        &[&[1], HANDLER, &[op::TEXT | 0x80, 8, 9, op::TEXT | 0x80, 0, 9, op::DRAIN]],
    ),
    (
        "drain-with-a-late-client",
        &[&[0], ECHO, &[op::FRAME, 1, 9, op::DRAIN | 0x80, op::OPEN, 1, op::WAIT, 11]],
    ),
    (
        "compressed-both-ways",
        &[
            &[0x10, op::OPEN, 0x80, op::COMPRESSED, 0, 250, op::COMPRESSED, 3, 9, op::TEXT, 0, 250],
            &[op::CUT, 3, 3, 0, op::COMPRESSED, 4, 99, op::HOLD_BACK, 50, op::COMPRESSED, 4, 250, op::FINISH],
        ],
    ),
    (
        "compressed-wrongly",
        &[&[0x10, op::OPEN, 0x80, op::FRAME, 0xC1, 90], &[op::OPEN, 5, op::COMPRESSED, 0, 9]],
    ),
    ("ping-flood", &[&[0], ECHO, &[op::PING | 0x80, 0, 255, op::PING, 0, 255]]),
    (
        "small-limits",
        &[&[4], ECHO, &[op::FRAME, 2, 10, op::FRAME, 0, 10, op::FRAME, 0, 10, op::FRAME, 0, 10]],
    ),
    (
        "no-room-for-a-third",
        &[&[0x20], AUTHENTICATED, &[op::OPEN, 9], ECHO, &[op::SELECT, 0, op::TEXT, 0, 9]],
    ),
    ("no-room-for-a-second-stranger", &[&[0x40, op::OPEN, 9], AUTHENTICATED, ECHO, &[op::TEXT, 0, 9]]),
];

const CLIENTS_MAX: usize = 3;

/// What the counters say of connections.
const COUNTED: [&str; 4] =
    ["drawgate_ends_total", "drawgate_handshakes_total", "drawgate_connections", "drawgate_buffered_bytes"];

/// Longer than it takes until who waits for room among all buffers goes on, once those who had to go are gone.
const ROOM_TIME_MAX: Duration = Duration::from_millis(200);

/// The longest deadlines in a row: a ping, its answer, the Close, and an application that is slow with every message.
const END_TIME_MAX: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_come_to_every_kind_of_end() {
        let pages: Vec<String> = seeds().iter().map(|seed| live(&seed.bytes).page).collect();
        for label in [
            "route_not_found",
            "method_not_allowed",
            "request_head_too_large",
            "client_connections_exceeded",
            "unauthenticated_full",
            "closed_by_client",
            "closed_by_application",
            "connection_lost",
            "connection_reset",
            "draining",
            "first_message_timeout",
            "token_invalid",
            "fragments_too_many",
            "message_timeout",
            "output_stalled",
            "overloaded",
            "ping_rate_exceeded",
            "pong_timeout",
        ] {
            let series = format!("drawgate_ends_total{{reason=\"{label}\"");
            assert!(pages.iter().any(|page| page.contains(&series)), "no seed ends with {label}");
        }
    }

    #[test]
    fn a_seed_has_its_messages_compressed_and_answered_so() {
        let seed = seeds().into_iter().find(|seed| seed.name == "compressed-both-ways").expect("it is there");
        let (written, _) = live(&seed.bytes).lives.swap_remove(0);
        let head_bytes = written.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
        let (head, frames) = written.split_at(head_bytes);
        assert!(compressed::is_agreed(head));
        assert_eq!(frames[0], 0xC1, "the first answer is compressed");
        let plain = compressed::plain_of_gateway(frames);
        assert!(plain.len() > frames.len(), "and smaller for it");
        assert!(plain.windows(4).any(|part| part == b"> xA" || part == b"> xB"));
    }
}
