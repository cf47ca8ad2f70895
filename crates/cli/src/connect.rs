//! `drawgate connect`: a WebSocket client for people and scripts.
//!
//! At a terminal it shows what comes and sends what is typed; in a pipe it sends each line as a text message and prints
//! each message as a line, so that a gateway can be tried without installing anything. Everything that is not a message
//! goes to standard error. The protocol is the library's engine in the client's role.

mod client;
mod explain;
mod input;
mod opening;
mod screen;
mod tls;
mod url;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use drawgate::CloseCode;
use drawgate::chance::Chance;
use drawgate::clock::{Clock, Instant};
use drawgate_protocol::deflate::{Agreement, Flow};
use tokio::sync::{mpsc, oneshot};

use self::client::{Client, Heard};
use self::explain::Ending;
use self::input::{Signals, Wish};
pub(crate) use self::opening::reach;
use self::opening::{HeaderLine, Offer, Opened};
use self::screen::{Reader, Screen, note};
pub(crate) use self::tls::Socket;
pub(crate) use self::url::Url;
use crate::{Failure, Outcome};

/// `drawgate connect`
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXITS)]
pub(crate) struct Args {
    /// Where to connect: ws://HOST:PORT/PATH, or wss:// for TLS
    #[arg(value_name = "URL")]
    url: Url,
    /// Send this token. Others on this machine can see it: a file is better
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    token: Option<String>,
    /// Send this file's token; - is standard input, whose first line it then is
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Where the token goes: the first message, or the request's `Authorization: Bearer`
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = TokenAs::FirstMessage)]
    token_as: TokenAs,
    /// Say that the connection is for a page of this origin, as browsers do
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// Offer this subprotocol; may be repeated, best first
    #[arg(long = "subprotocol", value_name = "NAME")]
    subprotocols: Vec<String>,
    /// Add this line to the request, "NAME: VALUE"; may be repeated
    #[arg(long = "header", value_name = "LINE")]
    headers: Vec<HeaderLine>,
    /// Offer to compress messages (permessage-deflate)
    #[arg(long)]
    compress: bool,
    /// Trust the authorities in this PEM file, and not the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Say also what else passes: pings, pongs, how messages are compressed
    #[arg(long, short)]
    verbose: bool,
    /// How long to wait for more messages once standard input has ended, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 500, value_parser = milliseconds)]
    wait_ms: u64,
}

/// Where a token goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum TokenAs {
    FirstMessage,
    Header,
}

const EXITS: &str = "\
Exit codes:
  0  the connection ended well: you closed it, or the server did with 1000, 1001 or no code
  1  it was refused or lost, the server closed with another code, or a script was interrupted
  2  the arguments make no sense
  3  a second Ctrl-C, before the connection was closed";

fn milliseconds(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "write a number of milliseconds, such as 500")
}

pub(crate) fn connect(args: &Args) -> Result<Outcome, Failure> {
    on_runtime(async {
        let mut signals = Signals::new()?;
        let (begin, mut begun) = oneshot::channel();
        let (interrupt, interruption) = oneshot::channel();
        let (end, mut ended) = oneshot::channel();
        let args = args.clone();
        // The conversation may be stuck in a write to standard output, which cannot be told to stop; nor can the thread that
        // waits for standard input. Both end with the process.
        thread::spawn(move || end.send(on_runtime(converse(&args, begin, interruption))));
        tokio::select! {
            outcome = &mut ended => return outcome.unwrap_or_else(|_| panicked()),
            () = signals.next() => {}
        }
        if begun.try_recv().is_err() {
            return Err(interrupted());
        }
        // If nobody listens, the end is there already.
        let _ = interrupt.send(());
        tokio::select! {
            outcome = ended => outcome.unwrap_or_else(|_| panicked()),
            () = signals.next() => Ok(Outcome::Forced),
        }
    })
}

fn panicked() -> Result<Outcome, Failure> {
    Err(Failure("the client has failed".to_owned()))
}

fn interrupted() -> Failure {
    Failure("interrupted".to_owned())
}

/// Runs one of the client's two sides to its end.
fn on_runtime(side: impl Future<Output = Result<Outcome, Failure>>) -> Result<Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure(format!("the client cannot be started: {error}")))?;
    runtime.block_on(side)
}

/// The whole of it. `begin` is told once the server has accepted; from then on an interruption closes the connection.
async fn converse(
    args: &Args,
    begin: oneshot::Sender<()>,
    interruption: oneshot::Receiver<()>,
) -> Result<Outcome, Failure> {
    let chance =
        Chance::system().map_err(|error| Failure(format!("the system gives no randomness: {error}")))?;
    let token = args.token_file.as_deref().map(input::token_in).transpose()?.or_else(|| args.token.clone());
    let (first_message, in_header) = match args.token_as {
        TokenAs::FirstMessage => (token, None),
        TokenAs::Header => (None, token),
    };
    let mut headers = args.headers.clone();
    headers.extend(
        in_header
            .map(|token| HeaderLine { name: "Authorization".to_owned(), value: format!("Bearer {token}") }),
    );
    let offer = Offer {
        origin: args.origin.as_deref(),
        subprotocols: &args.subprotocols,
        headers: &headers,
        compression: args.compress,
        authority: args.ca.as_deref(),
    };
    let opened = opening::open(&args.url, &offer, &chance).await?;
    let _ = begin.send(());
    let is_terminal = io::stdin().is_terminal();
    note(&format!("connected to {}{}", args.url, terms(&opened, args.compress || args.verbose)));
    if is_terminal {
        note(input::COMMANDS);
    }
    let mut conversation = Conversation {
        client: Client::new(opened, chance),
        phase: Phase::Talking,
        wait: Duration::from_millis(args.wait_ms),
        is_terminal,
        is_verbose: args.verbose,
        screen: Screen::new(),
        complaint: None,
    };
    if let Some(token) = first_message {
        conversation.client.send_text(&token);
    }
    let ending = conversation.hold(input::lines(), interruption).await?;
    conversation.client.finish().await;
    note(&ending.text());
    match conversation.complaint {
        Some(complaint) => Err(complaint),
        None => Ok(if ending.is_good() { Outcome::Done } else { Outcome::No }),
    }
}

/// One connection, and those at its end.
struct Conversation {
    client: Client,
    phase: Phase,
    /// How long to wait for answers once there is no more input.
    wait: Duration,
    /// Whether a person types.
    is_terminal: bool,
    is_verbose: bool,
    screen: Screen,
    /// What went wrong at our end, to be told last.
    complaint: Option<Failure>,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Input, and messages.
    Talking,
    /// More messages, until then: input has ended.
    Waiting(Instant),
    /// The answer to our Close, until then.
    Closing(Instant),
}

impl Conversation {
    /// From the first message to the end.
    async fn hold(
        &mut self,
        mut lines: mpsc::Receiver<io::Result<String>>,
        mut interruption: oneshot::Receiver<()>,
    ) -> Result<Ending, Failure> {
        let mut was_interrupted = false;
        loop {
            let wants_input = self.phase == Phase::Talking && self.client.has_room();
            tokio::select! {
                heard = self.client.hear() => match heard {
                    Heard::Ended(ending) => return Ok(ending),
                    heard => self.show(&heard)?,
                },
                line = lines.recv(), if wants_input => self.obey(line),
                _ = &mut interruption, if !was_interrupted => {
                    was_interrupted = true;
                    self.interrupt();
                }
                () = until(self.phase) => {
                    if let Some(ending) = self.time_is_up() {
                        return Ok(ending);
                    }
                }
            }
        }
    }

    fn show(&mut self, heard: &Heard) -> Result<(), Failure> {
        match heard {
            Heard::Message(message) => {
                if self.screen.print(message)? == Reader::HasGone {
                    // Who reads only the first lines has heard enough.
                    self.close(CloseCode::NORMAL, "");
                }
                // Answers that still come are waited for.
                if let Phase::Waiting(_) = self.phase {
                    self.phase = Phase::Waiting(after(self.wait));
                }
            }
            Heard::Ping(payload) if self.is_verbose => {
                let unit = if payload.len() == 1 { "byte" } else { "bytes" };
                note(&format!("ping of {} {unit} from the server, answered", payload.len()));
            }
            Heard::Pong(Some(time)) => note(&format!("pong after {:.1} ms", time.as_secs_f64() * 1000.0)),
            Heard::Pong(None) if self.is_verbose => note("pong from the server, to no ping of ours"),
            Heard::Ping(_) | Heard::Pong(None) | Heard::Room | Heard::Ended(_) => {}
        }
        Ok(())
    }

    fn obey(&mut self, line: Option<io::Result<String>>) {
        match line {
            Some(Ok(line)) => match Wish::of(&line, self.is_terminal) {
                Wish::Text(text) => self.client.send_text(text),
                Wish::Ping => self.client.ping(),
                Wish::Close(code, reason) => self.close(code, reason),
                Wish::Hint(hint) => note(hint),
            },
            Some(Err(error)) => {
                self.complaint = Some(Failure(format!(
                    "standard input cannot be sent from here on: {error}; messages are lines of UTF-8"
                )));
                self.phase = Phase::Waiting(after(self.wait));
            }
            None => self.phase = Phase::Waiting(after(self.wait)),
        }
    }

    fn close(&mut self, code: CloseCode, reason: &str) {
        // The server has its time once.
        if !matches!(self.phase, Phase::Closing(_)) {
            self.client.close(code, reason);
            self.phase = Phase::Closing(after(CLOSE_TIME_MAX));
        }
    }

    /// Ctrl-C: for a person one more way to end, for a script a failure.
    fn interrupt(&mut self) {
        if !self.is_terminal {
            self.complaint = Some(interrupted());
        }
        self.close(CloseCode::NORMAL, "");
    }

    fn time_is_up(&mut self) -> Option<Ending> {
        match self.phase {
            Phase::Closing(_) => return Some(Ending::Unanswered),
            // A slow server has not yet heard what it is to answer.
            Phase::Waiting(_) if !self.client.has_sent_all() => self.phase = Phase::Waiting(after(self.wait)),
            Phase::Waiting(_) | Phase::Talking => self.close(CloseCode::NORMAL, ""),
        }
        None
    }
}

/// What to say of what was agreed on; of compression where somebody cares.
fn terms(opened: &Opened, with_compression: bool) -> String {
    let mut terms = opened.subprotocol.as_ref().map(|name| format!(", speaking {name}")).unwrap_or_default();
    if with_compression {
        terms.push_str(&match opened.agreement {
            Some(Agreement { server, client }) => {
                format!(", compressed: from the server {}, to it {}", flow(server), flow(client))
            }
            None => ", not compressed".to_owned(),
        });
    }
    terms
}

fn flow(flow: Flow) -> String {
    let takeover = if flow.takeover { "with" } else { "without" };
    format!("{takeover} takeover in a window of {} bits", flow.window_bits.get())
}

fn after(time: Duration) -> Instant {
    // A wait that the clock has no room for is as good as one without end.
    let now = Clock::system().now();
    now.checked_add(time).unwrap_or(now + FOREVER)
}

async fn until(phase: Phase) {
    match phase {
        Phase::Waiting(deadline) | Phase::Closing(deadline) => tokio::time::sleep_until(deadline).await,
        Phase::Talking => std::future::pending().await,
    }
}

/// How long the server may take to answer our Close.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);
const FOREVER: Duration = Duration::from_hours(24 * 365);
