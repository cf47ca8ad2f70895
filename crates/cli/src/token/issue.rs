//! `drawgate token issue`: a token for trying a gateway out.

use std::time::Duration;

use drawgate::auth::{Config, Expected, Keys, TokenType};
use drawgate::clock::UnixTime;
use drawgate::json;
use serde_json::{Map, Value};

use super::signing::SigningArgs;
use super::{Error, KeyArgs, World, print};

/// `drawgate token issue …`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Who the token is for
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    subject: String,
    /// How long it is valid, such as 90s, 15m, 1h30m or 7d; with a minus it has already expired
    #[arg(long, value_name = "TIME", default_value = "1h", allow_hyphen_values = true, value_parser = offset)]
    expires_in: Offset,
    /// One more claim, NAME=VALUE; a value that is JSON is taken as such, any other as text. May be repeated
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, Value)>,
    #[command(flatten)]
    signing: SigningArgs,
    #[command(flatten)]
    key: KeyArgs,
}

/// A distance in time from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offset {
    Ahead(Duration),
    Ago(Duration),
}

pub(super) fn run(args: &Args, world: &mut World<'_>) -> Result<(), Error> {
    let authenticator = args.key.authenticator(world)?;
    let config = authenticator.config();
    let claims = claims(args, config, world.now)?;
    let (key, algorithm) = args.signing.choose(config, world)?;
    // The first that the gateway takes, whose order is the operator's.
    let typ = config.token_types.as_ref().and_then(|types| types.first()).map_or("JWT", TokenType::as_str);
    let token = key.token_of_type(typ, algorithm, args.signing.key_id(), &claims).map_err(Error::Sign)?;
    print(world.stdout, |out| Ok(writeln!(out, "{token}")?))?;
    // Whether the issuer publishes the key is not asked: whoever tries a gateway out may do that later.
    if matches!(config.keys, Keys::Remote(_)) {
        return Ok(());
    }
    match authenticator.verify(token.as_bytes(), world.now) {
        // Whoever asks for an expired token knows that it is.
        Err(error) if !error.is_expired() => {
            writeln!(world.stderr, "note: the gateway will refuse this token: {error}")?;
        }
        Ok(_) | Err(_) => {}
    }
    Ok(())
}

/// What the token says. Claims that were asked for go over those that the configuration suggests.
fn claims(args: &Args, config: &Config, now: UnixTime) -> Result<Map<String, Value>, Error> {
    let expires_at = match args.expires_in {
        Offset::Ahead(ahead) => now.seconds().checked_add(ahead.as_secs()),
        Offset::Ago(ago) => now.seconds().checked_sub(ago.as_secs()),
    };
    let expires_at = expires_at.ok_or(Error::ExpiryOutOfRange)?;
    let mut claims = Map::new();
    if let Expected::Exactly(issuer) = &config.issuer {
        claims.insert("iss".to_owned(), issuer.as_str().into());
    }
    if let Expected::Exactly(audience) = &config.audience {
        claims.insert("aud".to_owned(), audience.as_str().into());
    }
    // A token that has expired was issued no later than that.
    claims.insert("iat".to_owned(), now.seconds().min(expires_at).into());
    claims.extend(args.claims.iter().cloned());
    claims.insert("exp".to_owned(), expires_at.into());
    let subject_claim = config.subject_claims.first().map_or("sub", String::as_str);
    claims.insert(subject_claim.to_owned(), args.subject.as_str().into());
    Ok(claims)
}

/// Reads `NAME=VALUE`.
fn claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE, such as role=admin")?;
    match name {
        "" => Err("the name before the = is missing".to_owned()),
        "exp" => Err("say when it expires with --expires-in".to_owned()),
        "sub" => Err("say who it is for with --subject".to_owned()),
        _ => Ok((name.to_owned(), json::parse(value).unwrap_or_else(|_| value.into()))),
    }
}

/// Reads a time such as `1h30m`, of at least a second.
pub(crate) fn ahead(text: &str) -> Result<Duration, String> {
    const EXAMPLES: &str = "90s, 15m, 1h30m or 7d";
    match offset_like(text, EXAMPLES)? {
        Offset::Ahead(time) if time >= Duration::from_secs(1) => Ok(time),
        Offset::Ahead(_) | Offset::Ago(_) => {
            Err(format!("{text} is no time ahead: write it like {EXAMPLES}"))
        }
    }
}

/// Reads a time such as `1h30m` or `-90s`.
fn offset(text: &str) -> Result<Offset, String> {
    offset_like(text, "90s, 15m, 1h30m, 7d or -1h")
}

fn offset_like(text: &str, examples: &str) -> Result<Offset, String> {
    let example = || format!("{text} is no time: write it like {examples}");
    let (is_ago, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if rest.is_empty() {
        return Err(example());
    }
    let mut seconds = 0_u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let unit = after.chars().next().ok_or_else(example)?;
        let unit_seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(example()),
        };
        let count: u64 = number.parse().map_err(|_| example())?;
        let part = count.checked_mul(unit_seconds).filter(|part| *part <= OFFSET_SECONDS_MAX);
        seconds = part.and_then(|part| seconds.checked_add(part)).ok_or_else(example)?;
        rest = &after[unit.len_utf8()..];
    }
    if seconds > OFFSET_SECONDS_MAX {
        return Err(format!("{text} is too long: the longest is 36500d"));
    }
    let duration = Duration::from_secs(seconds);
    Ok(if is_ago { Offset::Ago(duration) } else { Offset::Ahead(duration) })
}

/// A hundred years.
const OFFSET_SECONDS_MAX: u64 = 36_500 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        for (text, seconds) in
            [("90s", 90), ("15m", 900), ("1h", 3600), ("1h30m", 5400), ("7d", 604_800), ("0s", 0)]
        {
            assert_eq!(offset(text), Ok(Offset::Ahead(Duration::from_secs(seconds))), "{text}");
            assert_eq!(offset(&format!("-{text}")), Ok(Offset::Ago(Duration::from_secs(seconds))), "{text}");
        }
        for text in [
            "",
            "-",
            "h",
            "1",
            "1h30",
            "--1h",
            "1 h",
            "1x",
            "1é",
            "+1h",
            "1.5h",
            "36501d",
            "99999999999999999999h",
        ] {
            assert!(offset(text).is_err(), "{text}");
        }
    }

    #[test]
    fn claims_are_json_where_they_can_be_and_text_otherwise() {
        for (text, value) in [
            ("a=1", serde_json::json!(1)),
            ("a=[\"x\",true]", serde_json::json!(["x", true])),
            ("a=admin", serde_json::json!("admin")),
            ("a=\"1\"", serde_json::json!("1")),
            ("a=", serde_json::json!("")),
            ("a=b=c", serde_json::json!("b=c")),
            ("a={\"b\":1,\"b\":2}", serde_json::json!("{\"b\":1,\"b\":2}")),
        ] {
            assert_eq!(claim(text), Ok(("a".to_owned(), value)), "{text}");
        }
        for text in ["a", "=1", "exp=1", "sub=bob", ""] {
            assert!(claim(text).is_err(), "{text}");
        }
    }
}
