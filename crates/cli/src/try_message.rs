//! `drawgate try`: what would become of a message on a route, and why, without a gateway.
//!
//! Judges by the very stage that a gateway judges by; what the message holds is never printed.

use std::io::{self, IsTerminal as _, Read as _};
use std::net::IpAddr;
use std::path::PathBuf;

use drawgate::clock::Clock;
use drawgate::config::{Config, RouteConfig};
use drawgate::inspect::policy::{Effect, Note};
use drawgate::inspect::{Context, Inspection, Judgement, Refusal, Toward, Verdict};
use drawgate::json;
use drawgate::principal::{ClientAddr, Principal};
use drawgate::reason::Reason;
use drawgate_protocol::MessageKind;
use serde_json::Value;

use crate::logging::say;
use crate::{Failure, Outcome, configuration, print};

/// `drawgate try`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The route, as its table is named
    #[arg(long, value_name = "NAME")]
    route: String,
    /// Which way the message goes
    #[arg(long, value_enum, default_value = "message")]
    direction: Way,
    /// The message is binary; without it, text
    #[arg(long)]
    binary: bool,
    /// A file with the claims of whoever sends it, as a JSON object
    #[arg(long, value_name = "FILE")]
    claims: Option<PathBuf>,
    /// The address of the client
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", value_parser = address)]
    client: IpAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Way {
    /// From a client to the backend: the route's `inspect`
    Message,
    /// From the backend to a client: the route's `inspect_replies`
    Reply,
}

pub(crate) fn run(args: &Args) -> Result<Outcome, Failure> {
    match judged(args) {
        Ok((text, passes)) => {
            print(&text)?;
            Ok(if passes { Outcome::Done } else { Outcome::No })
        }
        // A script must be able to tell a message that is refused from a question that cannot be answered.
        Err(Failure(text)) => {
            say(&format!("error: {text}"));
            Ok(Outcome::Unasked)
        }
    }
}

fn judged(args: &Args) -> Result<(String, bool), Failure> {
    let config = configuration::read(&args.config)?;
    let route = route(&config, &args.route)?;
    let principal = args.claims.as_ref().map(principal).transpose()?;
    let (inspection, toward, table) = match args.direction {
        Way::Message => (route.inspections.messages.as_ref(), Toward::Backend, "inspect"),
        Way::Reply => (route.inspections.replies.as_ref(), Toward::Client, "inspect_replies"),
    };
    let Some(inspection) = inspection else {
        let name = &route.name;
        return Ok((format!("passes: [routes.{name}] has no {table}, so nothing is looked at\n"), true));
    };
    let bytes = message()?;
    let bytes_max = route.limits.message_bytes_max.unwrap_or(u64::MAX);
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
        let label = Reason::MessageTooBig.row().label;
        return Ok((format!("refused: {label}: {} bytes, {bytes_max} are allowed\n", bytes.len()), false));
    }
    let kind = if args.binary { MessageKind::Binary } else { MessageKind::Text };
    if kind == MessageKind::Text && std::str::from_utf8(&bytes).is_err() {
        let row = Reason::TextNotUtf8.row();
        return Ok((format!("refused: {}: {}\n", row.label, row.sentence), false));
    }
    let context = Context {
        toward,
        client: ClientAddr::new(args.client),
        session: None,
        principal: principal.as_ref(),
    };
    Ok(told(inspection, kind, &bytes, &context))
}

fn told(inspection: &Inspection, kind: MessageKind, bytes: &[u8], context: &Context<'_>) -> (String, bool) {
    let Judgement { verdict, notes } = inspection.judge(kind, bytes, context);
    let (mut text, passes) = match verdict {
        Verdict::Pass => ("passes: it goes on as it is\n".to_owned(), true),
        Verdict::Refuse(refusal) => {
            (explained(&refusal, "the client is told, and the connection goes on"), false)
        }
        Verdict::Drop(refusal) => (explained(&refusal, "nobody is told, and the connection goes on"), false),
        Verdict::Close(refusal) => (explained(&refusal, "the connection is closed"), false),
    };
    for Note { rule, effect } in &notes {
        let effect = match effect {
            Effect::Shadowed => "holds; it is in shadow, and would have stopped the message",
            Effect::ShadowFailed => "fails; it is in shadow, and would have refused the message",
            Effect::Logged => "holds, and is logged",
            // What stops a message is told as its refusal.
            Effect::Refused | Effect::Closed | Effect::Dropped => "holds, and stops the message",
            Effect::Failed => "fails, and stops the message",
        };
        text.push_str(&format!("  rule      {rule:?} {effect}\n"));
    }
    (text, passes)
}

fn explained(refusal: &Refusal, consequence: &str) -> String {
    let row = refusal.reason.row();
    let mut text = format!("refused: {}: {}\n", row.label, row.sentence);
    let mut line = |what: &str, value: &str| text.push_str(&format!("  {what:<8}  {value}\n"));
    if let Some(pointer) = &refusal.pointer {
        line("place", if pointer.is_empty() { "the whole message" } else { pointer });
    }
    if let Some(keyword) = &refusal.keyword {
        line("keyword", keyword);
    }
    if let Some(rule) = &refusal.rule {
        line("rule", &format!("{rule:?}"));
    }
    if let Some(offset_bytes) = refusal.offset_bytes {
        line("byte", &offset_bytes.to_string());
    }
    if let Some(detail) = &refusal.detail {
        line("detail", detail);
    }
    line("then", consequence);
    text
}

fn route<'c>(config: &'c Config, name: &str) -> Result<&'c RouteConfig, Failure> {
    config.routes.iter().find(|route| route.name == name).ok_or_else(|| {
        let names: Vec<&str> = config.routes.iter().map(|route| &*route.name).collect();
        Failure(format!("there is no route {name:?}; there are: {}", names.join(", ")))
    })
}

fn address(text: &str) -> Result<IpAddr, &'static str> {
    text.parse().map_err(|_| "write an IPv4 or IPv6 address, such as 203.0.113.7")
}

/// The claims of a token that is not there; its signature is nobody's business here.
fn principal(file: &PathBuf) -> Result<Principal, Failure> {
    let wrong = |what: &str| Failure(format!("{}: {what}; write {{\"sub\": \"…\"}}", file.display()));
    let advice = "name a file with the claims, such as {\"sub\": \"alice\"}";
    let text = std::fs::read_to_string(file).map_err(|error| Failure::unreadable(file, &error, advice))?;
    let claims = match json::parse(&text) {
        Ok(Value::Object(claims)) => claims,
        Ok(_) => return Err(wrong("is no JSON object")),
        Err(fault) => return Err(wrong(&format!("is no strict JSON: {fault}"))),
    };
    let subject = claims.get("sub").and_then(Value::as_str).unwrap_or("try");
    let now = Clock::system().unix_now();
    Ok(Principal {
        subject: subject.into(),
        token_id: None,
        issued_at: Some(now),
        expires_at: now,
        key: None,
        claims: claims.into(),
    })
}

fn message() -> Result<Vec<u8>, Failure> {
    if io::stdin().is_terminal() {
        say("type the message, then Ctrl-D:");
    }
    let mut bytes = Vec::new();
    let read = io::stdin().take(READ_BYTES_MAX).read_to_end(&mut bytes);
    read.map_err(|error| Failure(format!("the message cannot be read: {error}")))?;
    Ok(bytes)
}

/// More than any route that inspects can take.
const READ_BYTES_MAX: u64 = 17 * 1024 * 1024;
