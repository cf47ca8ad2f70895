//! `drawgate token`: makes tokens for trying a gateway out, and explains them.
//!
//! Decides nothing about tokens: the gateway's own authenticator does, so that what is said here is what a connection
//! would get. Never prints a key, and prints a token only where it has just made it. Runs after the arguments are read;
//! what it writes and reads is handed to it.

mod inspect;
mod issue;
mod secret_file;
mod signing;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use drawgate::auth::{self, Authenticator, KeySet, RemoteKeys};
use drawgate::clock::UnixTime;
use drawgate::config::{Config, Problems, demo_text};

pub(crate) use self::issue::ahead;
pub(crate) use self::secret_file::{ADMIN_FILE_NAME, SecretFile, ensure_admin_token, ensure_secret};

/// `drawgate token …`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a token and print it, and nothing else
    Issue(issue::Args),
    /// Explain a token: whether it is valid, why not, and what each claim says
    Inspect(inspect::Args),
}

/// Where the key and the rules come from.
#[derive(Debug, clap::Args)]
struct KeyArgs {
    /// The data folder of `drawgate demo`: its token.secret is the key
    #[arg(long, value_name = "DIR", default_value = DATA_FOLDER, conflicts_with = "config")]
    data: PathBuf,
    /// A configuration file: the key and the rules are those of its [auth] table
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Which [auth.NAME] table of the configuration, where it has several
    #[arg(long, value_name = "NAME", requires = "config")]
    auth: Option<String>,
}

/// What the commands see of the world.
pub(crate) struct World<'a> {
    pub(crate) stdin: &'a mut dyn Read,
    /// Whether somebody types what standard input gives.
    pub(crate) stdin_is_terminal: bool,
    pub(crate) stdout: &'a mut dyn Write,
    pub(crate) stderr: &'a mut dyn Write,
    pub(crate) now: UnixTime,
    pub(crate) read_config: &'a ReadConfig<'a>,
    pub(crate) fetch_keys: &'a FetchKeys<'a>,
}

/// Fetches the keys that a configuration gives the address of, or says what is in the way.
pub(crate) type FetchKeys<'a> = dyn Fn(&RemoteKeys) -> Result<KeySet, String> + 'a;

/// Reads a configuration file and gives its `[auth.NAME]` tables, or what is wrong with it.
pub(crate) type ReadConfig<'a> = dyn Fn(&Path) -> Result<BTreeMap<String, auth::Config>, String> + 'a;

/// What a command found, where it could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A token was made, or the one to inspect is valid.
    Done,
    /// The token to inspect is not valid.
    NotValid,
}

/// Why a command could not do its work. Says what to do next.
#[derive(Debug)]
pub(crate) enum Error {
    /// There is no key in the data folder.
    NoSecret(PathBuf),
    /// The key is there and cannot be read.
    SecretUnreadable(PathBuf, io::Error),
    /// The key is there and is no key, so that the demo's configuration cannot be used with it.
    SecretUnusable(PathBuf, Problems),
    /// The configuration is no use, for the reason that its reader gave.
    Config(String),
    /// The configuration has no such `[auth.NAME]` table, or several and none is chosen.
    AuthUnclear(Option<String>, Vec<String>),
    /// The rules or the key cannot be used.
    Auth(auth::ConfigError, PathBuf),
    /// The keys that the configuration gives the address of cannot be fetched.
    Keys(String),
    /// The configuration verifies with public keys, and no private one is given to sign with.
    NoSigningKey,
    /// The file with the private key has none that can be used.
    PrivateKey(PathBuf, auth::PemError),
    /// The token cannot be signed with that key and algorithm.
    Sign(auth::SignError),
    /// The token would expire before 1970, or after what a clock can show.
    ExpiryOutOfRange,
    /// Standard input or output failed.
    Stream(io::Error),
}

/// Does what `args` say.
///
/// # Errors
/// When it cannot; nothing has been printed on standard output then, unless that is what failed.
pub(crate) fn run(args: &Args, world: &mut World<'_>) -> Result<Outcome, Error> {
    match &args.command {
        Command::Issue(args) => issue::run(args, world).map(|()| Outcome::Done),
        Command::Inspect(args) => inspect::run(args, world),
    }
}

impl KeyArgs {
    /// The authenticator that a gateway with these settings would use.
    fn authenticator(&self, world: &mut World<'_>) -> Result<Authenticator, Error> {
        let (config, origin) = match &self.config {
            Some(file) => {
                let tables = (world.read_config)(file).map_err(Error::Config)?;
                (choose(tables, self.auth.as_deref())?, file.clone())
            }
            None => {
                let file = secret_file::path(&self.data);
                if let Some(warning) = secret_file::exposure(&file) {
                    writeln!(world.stderr, "warning: {warning}")?;
                }
                (choose(demo_config(&self.data)?.auth, None)?, file)
            }
        };
        Authenticator::new(config).map_err(|problem| Error::Auth(problem, origin))
    }
}

/// The table that is named, or the only one.
fn choose(mut tables: BTreeMap<String, auth::Config>, wanted: Option<&str>) -> Result<auth::Config, Error> {
    let names: Vec<String> = tables.keys().cloned().collect();
    let chosen = match (wanted, names.as_slice()) {
        (Some(name), _) => tables.remove(name),
        (None, [only]) => tables.remove(only),
        (None, _) => None,
    };
    chosen.ok_or_else(|| Error::AuthUnclear(wanted.map(str::to_owned), names))
}

/// The demo's configuration, with the key of its data folder and without its admin tokens, which signing does not need.
///
/// # Errors
/// When the key is missing or is no use; nothing else about this configuration can be wrong.
pub(crate) fn demo_config(folder: &Path) -> Result<Config, Error> {
    let file = secret_file::path(folder);
    secret_file::open(&file)?;
    let lines = demo_text().lines().filter(|line| !line.starts_with("tokens."));
    Config::from_toml(&lines.collect::<Vec<_>>().join("\n"), folder, &|_| None)
        .map_err(|problems| Error::SecretUnusable(file, problems))
}

/// Prints by `write`; a reader that has heard enough is no failure.
fn print(out: &mut dyn Write, write: impl FnOnce(&mut dyn Write) -> Result<(), Error>) -> Result<(), Error> {
    match write(&mut *out).and_then(|()| Ok(out.flush()?)) {
        Err(Error::Stream(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSecret(path) => write!(
                f,
                "there is no key at {}: run `drawgate demo` once to make it, or name its folder with `--data DIR`",
                path.display()
            ),
            Self::SecretUnreadable(path, error) => write!(
                f,
                "the key at {} cannot be read ({error}): run this as the user that it belongs to",
                path.display()
            ),
            Self::SecretUnusable(path, problems) => {
                write!(f, "the key at {} cannot be used: the demo's configuration", path.display())?;
                for problem in problems {
                    write!(f, " {};", problem.wrong)?;
                }
                f.write_str(" remove it, and `drawgate demo` makes a new one")
            }
            Self::Config(problem) => f.write_str(problem),
            Self::AuthUnclear(None, names) if names.is_empty() => f.write_str(
                "the configuration has no [auth.NAME] table: add one, or use the key of a data folder with `--data DIR`",
            ),
            Self::AuthUnclear(None, names) => {
                write!(f, "the configuration has several [auth.NAME] tables: choose with `--auth NAME` one of {}", list(names))
            }
            Self::AuthUnclear(Some(wanted), names) => {
                write!(f, "the configuration has no [auth.{wanted}] table; it has {}", list(names))
            }
            Self::Auth(problem, path) => {
                write!(f, "the key or the rules of {} cannot be used: {problem}", path.display())
            }
            Self::Keys(problem) => write!(f, "the keys to verify with cannot be fetched: {problem}"),
            Self::NoSigningKey => f.write_str(
                "the configuration has public keys alone, which sign nothing: name the private one with \
                 `--private-key-file FILE`",
            ),
            Self::PrivateKey(path, error) => {
                write!(f, "the private key at {} cannot be used: {error}", path.display())
            }
            Self::Sign(error) => write!(f, "the token cannot be signed: {error}"),
            Self::ExpiryOutOfRange => f.write_str(
                "that is further from now than a clock can show: give `--expires-in` a shorter time, such as 1h",
            ),
            Self::Stream(error) => write!(f, "standard input or output failed: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// `a`, `b` and `c`, or `none`.
fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// `text` with everything that could steer a terminal or hide in it written as an escape.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || STEERING.iter().any(|range| range.contains(&character)) {
            // Writing to a string cannot fail.
            let _ = write!(shown, "\\u{:04x}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Characters that show nothing and change how others show: zero-width ones, bidirectional controls, separators, tags.
const STEERING: [std::ops::RangeInclusive<char>; 8] = [
    '\u{ad}'..='\u{ad}',
    '\u{61c}'..='\u{61c}',
    '\u{180e}'..='\u{180e}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{feff}'..='\u{feff}',
    '\u{e0000}'..='\u{e007f}',
];

/// Where `drawgate demo` keeps its files unless it is told otherwise.
pub(crate) const DATA_FOLDER: &str = "drawgate-data";

#[cfg(test)]
mod tests;
