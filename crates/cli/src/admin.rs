//! `drawgate sessions`, `revoke`, `ban`, `unban` and `ticket`: the operators' API of a running gateway, from a shell.
//!
//! Decides nothing: the gateway does. Never prints an operator's token, and never takes one as an argument, which others on
//! the machine could see. What answers is found by `find.rs`, asked by `ask.rs` and shown by `show.rs`.

mod ask;
mod find;
mod show;

use std::io::{self, Write as _};
use std::time::Duration;

use drawgate::admin::Scope;
use drawgate::json;
use serde_json::{Map, Value};

use self::ask::Request;
use self::find::Where;
pub(crate) use self::find::remember;
use crate::token::{ahead, shown};
use crate::{Failure, Outcome, print};

/// `drawgate sessions`
#[derive(Debug, clap::Args)]
pub(crate) struct SessionsArgs {
    /// Those of this subject alone
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// Those on this route alone
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// For scripts: one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: Where,
}

/// `drawgate revoke`
#[derive(Debug, clap::Args)]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    target: Target,
    /// For scripts: the gateway's answer, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// Every token of this subject that was issued until now
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// The token with this jti
    #[arg(long, value_name = "ID")]
    token_id: Option<String>,
    /// The token of this session; or all with this sid, where an identity provider names sessions
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Every token that was issued until now, whoever has it
    #[arg(long)]
    everyone: bool,
}

/// `drawgate ban`
#[derive(Debug, clap::Args)]
pub(crate) struct BanArgs {
    /// Who is to be kept out
    #[arg(value_name = "SUBJECT")]
    subject: String,
    /// For how long, such as 90s, 15m, 1h30m or 7d; without it, for good
    #[arg(long = "for", value_name = "TIME", value_parser = ahead)]
    time: Option<Duration>,
    /// For scripts: the gateway's answer, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: Where,
}

/// `drawgate unban`
#[derive(Debug, clap::Args)]
pub(crate) struct UnbanArgs {
    /// Who is to be let in again
    #[arg(value_name = "SUBJECT")]
    subject: String,
    #[command(flatten)]
    at: Where,
}

/// `drawgate ticket`
#[derive(Debug, clap::Args)]
pub(crate) struct TicketArgs {
    /// Who the client will be
    #[arg(long, value_name = "NAME")]
    subject: String,
    /// The route that the ticket opens
    #[arg(long, value_name = "NAME")]
    route: String,
    /// How long the session may last, such as 90s, 15m or 1h30m
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = ahead)]
    session_time: Duration,
    /// What else the application knows of the client: a JSON object
    #[arg(long, value_name = "JSON", value_parser = object)]
    claims: Option<Map<String, Value>>,
    /// For scripts: the gateway's answer, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: Where,
}

pub(crate) fn sessions(args: &SessionsArgs) -> Result<Outcome, Failure> {
    let door = args.at.door(Scope::Read)?;
    let mut page = 0;
    let mut after = None;
    loop {
        let parameters = [
            ("subject", args.subject.as_deref()),
            ("route", args.route.as_deref()),
            ("after", after.as_deref()),
            ("limit", Some("1000")),
        ];
        let answer = door.ask(&Request::get("/v1/sessions").with(&parameters))?;
        let sessions = answer["sessions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let text = if args.json { show::lines(sessions) } else { show::sessions(sessions, page == 0) };
        if !written(&text)? {
            return Ok(Outcome::Done);
        }
        page += 1;
        match answer["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return Ok(Outcome::Done),
        }
    }
}

pub(crate) fn revoke(args: &RevokeArgs) -> Result<Outcome, Failure> {
    let Target { subject, token_id, session, everyone } = &args.target;
    let mut body = Map::new();
    for (name, value) in [("subject", subject), ("token_id", token_id), ("session", session)] {
        if let Some(value) = value {
            body.insert(name.to_owned(), value.as_str().into());
        }
    }
    if *everyone {
        body.insert("everyone".to_owned(), true.into());
    }
    let answer = args.at.door(Scope::Operate)?.ask(&Request::post("/v1/revocations", body))?;
    print(&if args.json { show::line(&answer) } else { show::revoked(&answer) })
}

pub(crate) fn ban(args: &BanArgs) -> Result<Outcome, Failure> {
    let mut body = Map::new();
    body.insert("subject".to_owned(), args.subject.as_str().into());
    if let Some(time) = args.time {
        body.insert("seconds".to_owned(), time.as_secs().into());
    }
    let answer = args.at.door(Scope::Operate)?.ask(&Request::post("/v1/bans", body))?;
    print(&if args.json { show::line(&answer) } else { show::banned(&answer) })
}

pub(crate) fn unban(args: &UnbanArgs) -> Result<Outcome, Failure> {
    args.at.door(Scope::Operate)?.ask(&Request::delete("/v1/bans", &args.subject))?;
    print(&format!("{} is let in again\n", shown(&args.subject)))
}

pub(crate) fn ticket(args: &TicketArgs) -> Result<Outcome, Failure> {
    let mut body = Map::new();
    body.insert("subject".to_owned(), args.subject.as_str().into());
    body.insert("route".to_owned(), args.route.as_str().into());
    body.insert("session_seconds".to_owned(), args.session_time.as_secs().into());
    if let Some(claims) = &args.claims {
        body.insert("claims".to_owned(), claims.clone().into());
    }
    let answer = args.at.door(Scope::Tickets)?.ask(&Request::post("/v1/tickets", body))?;
    print(&if args.json { show::line(&answer) } else { show::text(&answer["ticket"]) + "\n" })
}

/// Reads a JSON object.
fn object(text: &str) -> Result<Map<String, Value>, String> {
    match json::parse(text) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err("write an object, such as '{\"roles\": [\"admin\"]}'".to_owned()),
        Err(fault) => Err(format!("that is not JSON: {fault}")),
    }
}

/// Prints `text`; whether somebody still reads.
fn written(text: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure(format!("standard output cannot be written: {error}"))),
    }
}
