//! `drawgate token inspect`: what a token says, in words, and whether a gateway would take it.

use std::io::{Read, Write};
use std::time::Duration;

use drawgate::auth::{Authenticator, Keys, TokenError, numeric_date, token};
use drawgate::clock::UnixTime;
use serde_json::{Map, Value};

use super::{Error, KeyArgs, Outcome, World, print, shown};

/// `drawgate token inspect …`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The token; left out or `-`, it is read from standard input, where other users of this machine cannot see it
    #[arg(value_name = "TOKEN")]
    token: Option<String>,
    #[command(flatten)]
    key: KeyArgs,
}

pub(super) fn run(args: &Args, world: &mut World<'_>) -> Result<Outcome, Error> {
    let authenticator = args.key.authenticator(world)?;
    let token = match args.token.as_deref() {
        None | Some("-") => {
            if world.stdin_is_terminal {
                writeln!(world.stderr, "paste the token, then press Enter and Ctrl-D:")?;
            }
            let mut bytes = Vec::new();
            Read::take(&mut *world.stdin, READ_BYTES_MAX).read_to_end(&mut bytes)?;
            bytes
        }
        Some(token) => {
            writeln!(
                world.stderr,
                "warning: a token in the arguments can be seen by other users of this machine; \
                 better: drawgate token inspect < FILE"
            )?;
            token.as_bytes().to_vec()
        }
    };
    // A file or a paste often ends in a line break; a gateway would refuse it there.
    let token = token.trim_ascii();
    if let Keys::Remote(remote) = &authenticator.config().keys {
        authenticator.set_keys((world.fetch_keys)(remote).map_err(Error::Keys)?);
    }
    let verdict = authenticator.verify(token, world.now).map(|principal| principal.expires_at);
    let now = world.now;
    print(world.stdout, |out| explain(out, token, &verdict, &authenticator, now))?;
    Ok(if verdict.is_ok() { Outcome::Done } else { Outcome::NotValid })
}

fn explain(
    out: &mut dyn Write,
    token: &[u8],
    verdict: &Result<UnixTime, TokenError>,
    authenticator: &Authenticator,
    now: UnixTime,
) -> Result<(), Error> {
    match verdict {
        Ok(expires_at) if *expires_at > now => {
            writeln!(out, "This token is valid for another {}.", spoken(expires_at.since(now)))?;
        }
        Ok(_) => {
            let leeway = spoken(authenticator.config().leeway);
            writeln!(out, "This token is valid only by the leeway of {leeway}: its time is up.")?;
        }
        Err(error) => writeln!(out, "This token is not valid: {}.", with_sources(error))?,
    }
    let Ok(unverified) = token::read_unverified(token) else { return Ok(()) };
    let is_proven = match verdict {
        Ok(_) => true,
        Err(error) => is_said_after_the_signature(*error),
    };
    if !is_proven {
        writeln!(out, "What follows is what it says; nothing proves who wrote it.")?;
    }
    let subject_claims = &authenticator.config().subject_claims;
    let subject_claim = subject_claims.iter().find(|name| unverified.claims.contains_key(*name));
    section(out, "Header", &unverified.header, |name, _| header_words(name).to_owned())?;
    section(out, "Claims", &unverified.claims, |name, value| {
        if subject_claim.is_some_and(|claim| claim == name) {
            "the subject: who speaks on the connection".to_owned()
        } else {
            claim_words(name, value, now)
        }
    })
}

fn section(
    out: &mut dyn Write,
    title: &str,
    members: &Map<String, Value>,
    words: impl Fn(&str, &Value) -> String,
) -> Result<(), Error> {
    writeln!(out, "\n{title}")?;
    let rows: Vec<(String, String, String)> = members
        .iter()
        .map(|(name, value)| (shown(name), shown(&value.to_string()), words(name, value)))
        .collect();
    let width = |cell: fn(&(String, String, String)) -> &str| {
        rows.iter().map(|row| cell(row).chars().count()).max().unwrap_or(0).min(COLUMN_CHARACTERS_MAX)
    };
    let (name_width, value_width) = (width(|row| &row.0), width(|row| &row.1));
    for (name, value, words) in &rows {
        let line = format!("  {name:name_width$}  {value:value_width$}  {words}");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn header_words(name: &str) -> &'static str {
    match name {
        "alg" => "how it is signed; the gateway's key decides whether that is allowed",
        "typ" => "what kind of token it is",
        "kid" => "the name of the key",
        "crit" => "extensions that must be understood; the gateway understands none",
        "jwk" | "jku" | "x5c" | "x5u" => "a key of the token's own; the gateway never uses one",
        _ => "",
    }
}

fn claim_words(name: &str, value: &Value, now: UnixTime) -> String {
    let time = |what: &str| match numeric_date(value) {
        Some(moment) => format!("{what} {moment}, {}", from_now(moment, now)),
        None => "not a time: it must be a number of seconds since 1970".to_owned(),
    };
    match name {
        "exp" => time("expires at"),
        "nbf" => time("not valid before"),
        "iat" => time("issued at"),
        "iss" => "who issued it".to_owned(),
        "aud" => "whom it is for".to_owned(),
        "sub" => "the subject".to_owned(),
        "jti" => "the token's own name, by which it can be revoked".to_owned(),
        _ => String::new(),
    }
}

/// `in 12 minutes`, `5 minutes ago`, `now`.
fn from_now(moment: UnixTime, now: UnixTime) -> String {
    if moment > now {
        format!("in {}", spoken(moment.since(now)))
    } else if now.since(moment) < Duration::from_secs(1) {
        "now".to_owned()
    } else {
        format!("{} ago", spoken(now.since(moment)))
    }
}

/// The largest unit of which there are at least two, or the smallest there is; rounded down.
fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7200 => (seconds / 60, "minute"),
        7200..172_800 => (seconds / 3600, "hour"),
        172_800.. => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// Whether a token that is refused for this was made by whoever has the key.
fn is_said_after_the_signature(error: TokenError) -> bool {
    match error {
        TokenError::TooLong
        | TokenError::NotThreeParts
        | TokenError::HeaderMemberRefused(_)
        | TokenError::TypeRefused
        | TokenError::KeyIdRefused
        | TokenError::KeyUnknown
        | TokenError::AlgorithmRefused
        | TokenError::SignatureRefused => false,
        TokenError::NotBase64(part)
        | TokenError::NotUtf8(part)
        | TokenError::NotJson(part, _)
        | TokenError::NotAnObject(part) => match part {
            token::Part::Claims => true,
            token::Part::Header | token::Part::Signature => false,
        },
        TokenError::ClaimMalformed(_)
        | TokenError::ExpiryMissing
        | TokenError::IssuerRefused
        | TokenError::AudienceRefused
        | TokenError::SubjectMissing
        | TokenError::SubjectRefused
        | TokenError::LifetimeTooLong
        | TokenError::IssuedInTheFuture
        | TokenError::NotYetValid
        | TokenError::Expired => true,
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// How wide the columns of names and values may get before what follows them is no longer lined up.
const COLUMN_CHARACTERS_MAX: usize = 32;

/// How much is read from standard input: more than the longest token, so that one too long is seen to be.
const READ_BYTES_MAX: u64 = 64 * 1024;
