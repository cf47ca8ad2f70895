//! `drawgate connect`: a WebSocket client for people and scripts.
//!
//! At a terminal it shows what comes and sends what is typed; in a pipe it sends each line as a text message and prints
//! each message as a line, so that a gateway can be tried without installing anything. Everything that is not a message
//! goes to standard error. The protocol is the library's engine in the client's role.

mod client;
mod explain;
mod tls;
mod url;

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use drawgate::CloseCode;
use drawgate::chance::Chance;
use tokio::sync::mpsc;

use self::client::{Client, Heard};
use self::explain::Ending;
use self::url::Url;
use crate::token::shown;
use crate::{Failure, Outcome};

/// `drawgate connect`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to connect: ws://HOST:PORT/PATH, or wss:// for TLS
    #[arg(value_name = "URL")]
    url: Url,
    /// Send this token as the first message. Others on this machine can see it: a file is better
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    token: Option<String>,
    /// Send this file's token as the first message; - is standard input, whose first line it then is
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Say that the connection is for a page of this origin, as browsers do
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// Offer this subprotocol; may be repeated, best first
    #[arg(long = "subprotocol", value_name = "NAME")]
    subprotocols: Vec<String>,
    /// Trust the authorities in this PEM file, and not the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// How long to wait for more messages once standard input has ended, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 500)]
    wait_ms: u64,
}

pub(crate) fn connect(args: &Args) -> Result<Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure(format!("the client cannot be started: {error}")))?;
    let outcome = runtime.block_on(converse(args));
    // The thread that waits for standard input cannot be told to stop.
    runtime.shutdown_background();
    outcome
}

async fn converse(args: &Args) -> Result<Outcome, Failure> {
    let chance =
        Chance::system().map_err(|error| Failure(format!("the system gives no randomness: {error}")))?;
    let mut stdin = io::stdin().lock();
    let token = read_token(args, &mut stdin)?;
    drop(stdin);
    let authority = args.ca.as_deref();
    let offer = client::Offer { origin: args.origin.as_deref(), subprotocols: &args.subprotocols, authority };
    let mut client = Client::open(&args.url, &offer, chance).await?;
    let is_terminal = io::stdin().is_terminal();
    note(&format!("connected to {}{}", args.url, client.subprotocol_note()));
    if is_terminal {
        note(
            "type a message and press Enter; /ping, /close [CODE [REASON]], //TEXT for a text that begins with a slash",
        );
    }
    if let Some(token) = token {
        client.send_text(&token).await?;
    }
    let mut lines = lines();
    let mut quiet_until = None;
    let ending = loop {
        tokio::select! {
            heard = client.hear() => match heard? {
                Heard::Message(text) => {
                    print_message(&text, is_terminal)?;
                    // Answers that still come are waited for.
                    quiet_until = quiet_until.map(|_| deadline(args.wait_ms));
                }
                Heard::Pong(after) => note(&format!("pong after {} ms", after.as_millis())),
                Heard::Ended(ending) => break ending,
            },
            line = lines.recv(), if quiet_until.is_none() => match line {
                Some(line) => obey(&mut client, &line, is_terminal).await?,
                None => quiet_until = Some(deadline(args.wait_ms)),
            },
            () = until(quiet_until), if quiet_until.is_some() => {
                client.close(CloseCode::NORMAL, "").await?;
                quiet_until = Some(deadline(CLOSE_WAIT_MS));
                if client.has_waited_for_close() {
                    break Ending::Unanswered;
                }
            }
        }
    };
    note(&ending.text());
    Ok(if ending.is_good() { Outcome::Done } else { Outcome::No })
}

/// Does what a line says. Commands are for people: a script's lines are messages, whatever they begin with.
async fn obey(client: &mut Client, line: &str, is_terminal: bool) -> Result<(), Failure> {
    let Some(command) = line.strip_prefix('/').filter(|_| is_terminal) else {
        return client.send_text(line).await;
    };
    if command.starts_with('/') {
        return client.send_text(command).await;
    }
    let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
    match name {
        "ping" => client.ping().await,
        "close" => {
            let (code, reason) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
            let code = if code.is_empty() { Some(1000) } else { code.parse().ok() };
            match code.and_then(CloseCode::new) {
                Some(code) => client.close(code, reason).await,
                None => {
                    note("that code may not be sent; 1000 to 1003, 1007 to 1014 and 3000 to 4999 may");
                    Ok(())
                }
            }
        }
        _ => {
            note("there is /ping and /close; write //TEXT to send a text that begins with a slash");
            Ok(())
        }
    }
}

fn read_token(args: &Args, stdin: &mut io::StdinLock<'_>) -> Result<Option<String>, Failure> {
    let text = match &args.token_file {
        None => return Ok(args.token.clone()),
        Some(file) if file.as_os_str() == "-" => {
            let mut line = String::new();
            stdin.read_line(&mut line).map(|_| line)
        }
        Some(file) => std::fs::read_to_string(file),
    };
    let named = args.token_file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
    let text = text.map_err(|error| Failure(format!("the token in {named} cannot be read: {error}")))?;
    Ok(Some(text.trim_end().to_owned()))
}

/// The lines of standard input, read by a thread of their own: a terminal cannot be polled.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(LINES_WAITING_MAX);
    std::thread::spawn(move || {
        for line in io::stdin().lines() {
            let Ok(line) = line else { return };
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Prints a message: as it is for scripts, and without what could steer the terminal for people.
fn print_message(text: &str, is_terminal: bool) -> Result<(), Failure> {
    let mut stdout = io::stdout();
    let line = if is_terminal || stdout.is_terminal() {
        format!("< {}\n", shown(text))
    } else {
        format!("{text}\n")
    };
    stdout
        .write_all(line.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure(format!("standard output cannot be written: {error}")))
}

/// Says something that is not a message. What of it a server chose has been made harmless.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn deadline(wait_ms: u64) -> tokio::time::Instant {
    drawgate::clock::Clock::system().now() + Duration::from_millis(wait_ms)
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// How long the server may take to answer our Close.
const CLOSE_WAIT_MS: u64 = 5000;
/// Lines that wait to be sent while the server is slow; a pipe then waits too.
const LINES_WAITING_MAX: usize = 64;
