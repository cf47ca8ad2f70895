//! `drawgate`, the program: arguments, configuration files, signals, log set-up.
//!
//! Makes no decision about connections: those are the library's. Each subcommand is a module; what they share is here:
//! how arguments are read, and how a failure becomes an exit code.

mod admin;
mod audit;
mod configuration;
mod connect;
mod demo;
mod logging;
mod proxy;
mod run;
mod seal;
mod service;
mod token;
mod try_message;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use drawgate::clock::Clock;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// WebSocket connections, kept: authenticated, limited, inspected, drained and recorded.
#[derive(Debug, Parser)]
#[command(name = "drawgate", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start two servers to try out: an echo, and one that asks for a token
    Demo(demo::Args),
    /// Stand before a WebSocket application, without a file
    Proxy(proxy::Args),
    /// Serve what a configuration file says
    Run(run::Args),
    /// Check a configuration file and print every problem with it
    Check(configuration::CheckArgs),
    /// Say what would become of a message on a route, and why; the message is read from standard input
    Try(try_message::Args),
    /// Write a commented configuration file to start from
    Init(configuration::InitArgs),
    /// Connect to a WebSocket server: type, see messages, and hear why it closed
    Connect(connect::Args),
    /// Make tokens, and explain them
    Token(token::Args),
    /// List the sessions of a running gateway
    Sessions(admin::SessionsArgs),
    /// List the applications behind a running gateway, and how they stand
    Upstreams(admin::UpstreamsArgs),
    /// Refuse tokens from now on, and end their sessions
    Revoke(admin::RevokeArgs),
    /// List who is kept out: networks and subjects
    Bans(admin::BansArgs),
    /// Keep a subject or a network out, and end its sessions or connections
    Ban(admin::BanArgs),
    /// Let a subject or a network in again
    Unban(admin::UnbanArgs),
    /// Make a one-time ticket for somebody's browser, and print it
    Ticket(admin::TicketArgs),
    /// Have a running gateway read its configuration again
    Reload(admin::ReloadArgs),
    /// Make the key of an audit log, and verify one
    Audit(audit::Args),
    /// Seal a message of a route that seals them; it is read from standard input
    Seal(seal::Args),
    /// Open a sealed message; it is read from standard input
    Open(seal::Args),
    /// Print the version
    Version,
    /// Print a script that completes drawgate's arguments in a shell
    Completions {
        /// The shell to print it for
        shell: clap_complete::Shell,
    },
    /// Write drawgate's manual pages into a folder
    Manual {
        /// The folder; it must exist
        folder: PathBuf,
    },
}

/// A command that did not do what it was asked; printed after `error: `. Says what to do next.
#[derive(Debug)]
struct Failure(String);

impl Failure {
    /// A file cannot be read; `advice` says which one is meant.
    fn unreadable(file: &Path, error: &io::Error, advice: &str) -> Self {
        Self(format!("{}: cannot be read: {error}; {advice}", file.display()))
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It did what it was asked.
    Done,
    /// It did its work, and the answer is no.
    No,
    /// It could not be asked what it was asked; why has been said.
    Unasked,
    /// A second signal ended it before it was through.
    Forced,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match execute(arguments.command) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(EXIT_FAILED),
        Ok(Outcome::Unasked) => ExitCode::from(EXIT_UNASKED),
        Ok(Outcome::Forced) => ExitCode::from(EXIT_FORCED),
        Err(Failure(text)) => {
            // Nobody to tell where this cannot be written.
            let _ = writeln!(io::stderr(), "error: {text}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn execute(command: Command) -> Result<Outcome, Failure> {
    match command {
        Command::Demo(args) => demo::demo(&args),
        Command::Proxy(args) => proxy::proxy(&args),
        Command::Run(args) => run::run(&args),
        Command::Check(args) => configuration::check(&args),
        Command::Try(args) => try_message::run(&args),
        Command::Init(args) => configuration::init(&args),
        Command::Connect(args) => connect::connect(&args),
        Command::Token(args) => token_command(&args),
        Command::Sessions(args) => admin::sessions(&args),
        Command::Upstreams(args) => admin::upstreams(&args),
        Command::Revoke(args) => admin::revoke(&args),
        Command::Bans(args) => admin::bans(&args),
        Command::Ban(args) => admin::ban(&args),
        Command::Unban(args) => admin::unban(&args),
        Command::Ticket(args) => admin::ticket(&args),
        Command::Reload(args) => admin::reload(&args),
        Command::Audit(args) => audit::audit(&args),
        Command::Seal(args) => seal::seal(&args),
        Command::Open(args) => seal::open(&args),
        Command::Version => print(&format!("drawgate {}\n", env!("CARGO_PKG_VERSION"))),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "drawgate", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
        Command::Manual { folder } => match clap_mangen::generate_to(Arguments::command(), &folder) {
            Ok(()) => Ok(Outcome::Done),
            Err(error) => Err(Failure(format!(
                "the manual cannot be written into {}: {error}; name a folder that exists and is yours",
                folder.display()
            ))),
        },
    }
}

fn token_command(args: &token::Args) -> Result<Outcome, Failure> {
    let read_config = |file: &Path| match configuration::read(file) {
        Ok(config) => Ok(config.auth),
        Err(Failure(text)) => Err(text),
    };
    let fetch_keys = |keys: &drawgate::auth::RemoteKeys| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.block_on(drawgate::server::fetch_keys(keys)).map_err(|error| error.to_string())
    };
    let mut world = token::World {
        stdin: &mut io::stdin(),
        stdin_is_terminal: io::stdin().is_terminal(),
        stdout: &mut io::stdout(),
        stderr: &mut io::stderr(),
        now: Clock::system().unix_now(),
        read_config: &read_config,
        fetch_keys: &fetch_keys,
    };
    match token::run(args, &mut world) {
        Ok(token::Outcome::Done) => Ok(Outcome::Done),
        Ok(token::Outcome::NotValid) => Ok(Outcome::No),
        Err(error) => Err(Failure(error.to_string())),
    }
}

/// Prints `text` on standard output. A reader that has heard enough is no failure.
fn print(text: &str) -> Result<Outcome, Failure> {
    let mut stdout = io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure(format!("standard output cannot be written: {error}")))
        }
        Ok(()) | Err(_) => Ok(Outcome::Done),
    }
}

/// Where a configuration file is named.
#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(long = "config", value_name = "FILE")]
    config: PathBuf,
}

const EXIT_FAILED: u8 = 1;
// Also clap's, for arguments that make no sense.
const EXIT_UNASKED: u8 = 2;
const EXIT_FORCED: u8 = 3;
