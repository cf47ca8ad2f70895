//! `drawgate seal` and `drawgate open`: one message of a route that seals them, for scripts.
//!
//! Draws the nonce: which numbers a script has used before is not known here, and a counter used twice would tell the key's secrets.

use std::fs;
use std::io::{self, Read as _};
use std::path::PathBuf;

use drawgate::chance::Chance;
use drawgate::inspect::Toward;
use drawgate::inspect::seal::{self, Config, KeyId, MESSAGES_MAX, Sealing};
use drawgate::secret::Secret;

use crate::{Failure, Outcome, print};

/// What `drawgate seal` and `drawgate open` have to know of a message.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file with the key, as the route's `secret_file` names it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The name of the key: `kid` of the session's first message
    #[arg(long, value_name = "NAME")]
    kid: String,
    /// The salt: `salt` of the session's first message
    #[arg(long, value_name = "BASE64URL")]
    salt: String,
    /// Whom the message is for
    #[arg(long, value_enum)]
    to: To,
    /// The number of the message in its direction, from 1
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..i64::from(MESSAGES_MAX)))]
    seq: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum To {
    /// From the client to the gate
    Gate,
    /// From the gate to the client
    Client,
}

impl To {
    const fn toward(self) -> Toward {
        match self {
            Self::Gate => Toward::Backend,
            Self::Client => Toward::Client,
        }
    }
}

/// Seals what is on standard input.
pub(crate) fn seal(args: &Args) -> Result<Outcome, Failure> {
    let mut sealing = sealing(args)?;
    let chance =
        Chance::system().map_err(|error| Failure(format!("the system gives no randomness: {error}")))?;
    let sealed = sealing.seal_with(args.to.toward(), &input()?, chance.bytes());
    print(&format!("{}\n", sealed.map_err(|error| Failure(error.to_string()))?))
}

/// Opens what is on standard input, less white space around it.
pub(crate) fn open(args: &Args) -> Result<Outcome, Failure> {
    let opened = sealing(args)?.open(args.to.toward(), input()?.trim().as_bytes());
    let text = opened.map_err(|error| {
        Failure(format!("{error}; hold --key, --kid, --salt, --to and --seq against whoever sealed it"))
    })?;
    print(&text)
}

fn sealing(args: &Args) -> Result<Sealing, Failure> {
    let bytes = fs::read(&args.key).map_err(|error| {
        Failure::unreadable(&args.key, &error, "name the file that the route's secret_file names")
    })?;
    let secret = Secret::from_file_bytes(&bytes);
    if secret.expose().len() < 32 {
        let path = args.key.display();
        return Err(Failure(format!(
            "{path}: is too short for a key; `openssl rand -hex 32` makes the content of one"
        )));
    }
    let key_id = KeyId::parse(&args.kid)
        .ok_or_else(|| Failure("--kid is no name of a key; write 1 to 64 of A-Z a-z 0-9 . _ -".to_owned()))?;
    let salt = seal::salt_from(&args.salt).ok_or_else(|| {
        Failure("--salt is none; write what the gate sent as `salt`: 43 characters of base64url".to_owned())
    })?;
    Ok(Sealing::new(&Config::new(key_id, secret), &salt).after(args.seq - 1))
}

fn input() -> Result<String, Failure> {
    let mut text = String::new();
    io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Failure(format!("standard input cannot be read: {error}; it must be UTF-8")))?;
    Ok(text)
}
