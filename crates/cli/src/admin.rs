//! `drawgate sessions`, `revoke`, `bans`, `ban`, `unban`, `ticket` and `reload`: the operators' API of a running gateway, from a shell.
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
use drawgate::network::{Network, NetworkError};
use serde_json::{Map, Value};

use self::ask::{Door, Request};
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
    #[command(flatten)]
    who: Banned,
    /// For how long, such as 90s, 15m, 1h30m or 7d; without it, for good
    #[arg(long = "for", value_name = "TIME", value_parser = ahead)]
    time: Option<Duration>,
    /// Why, for whoever lists the bans of addresses
    #[arg(long, value_name = "TEXT", requires = "address", conflicts_with = "subject")]
    reason: Option<String>,
    /// For scripts: the gateway's answer, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: Where,
}

/// `drawgate unban`
#[derive(Debug, clap::Args)]
pub(crate) struct UnbanArgs {
    #[command(flatten)]
    who: Banned,
    #[command(flatten)]
    at: Where,
}

/// Whom a ban is about.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Banned {
    /// The subject
    #[arg(value_name = "SUBJECT")]
    subject: Option<String>,
    /// Whoever comes from this network, such as 203.0.113.0/24, or from this address
    #[arg(long, value_name = "NETWORK", value_parser = network)]
    address: Option<Network>,
}

/// `drawgate bans`
#[derive(Debug, clap::Args)]
pub(crate) struct BansArgs {
    /// For scripts: one JSON object a line, with a subject or a network
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: Where,
}

/// `drawgate upstreams`
#[derive(Debug, clap::Args)]
pub(crate) struct UpstreamsArgs {
    /// Send nobody there any more, and close those who are there, spread over up to 3 seconds
    #[arg(long, value_name = "URL", conflicts_with = "resume")]
    drain: Option<String>,
    /// Take that back
    #[arg(long, value_name = "URL")]
    resume: Option<String>,
    /// For scripts: one JSON object a line
    #[arg(long)]
    json: bool,
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

/// `drawgate reload`
#[derive(Debug, clap::Args)]
pub(crate) struct ReloadArgs {
    /// For scripts: the gateway's answer, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: Where,
}

pub(crate) fn sessions(args: &SessionsArgs) -> Result<Outcome, Failure> {
    let door = args.at.door(Scope::Read)?;
    let parameters = [("subject", args.subject.as_deref()), ("route", args.route.as_deref())];
    let mut is_first = true;
    each_page(&door, "/v1/sessions", "sessions", &parameters, |sessions| {
        let text = if args.json { show::lines(sessions) } else { show::sessions(sessions, is_first) };
        is_first = false;
        written(&text)
    })?;
    Ok(Outcome::Done)
}

pub(crate) fn upstreams(args: &UpstreamsArgs) -> Result<Outcome, Failure> {
    if let Some(url) = &args.drain {
        let body = Map::from_iter([("upstream".to_owned(), url.as_str().into())]);
        let answer = args.at.door(Scope::Operate)?.ask(&Request::post("/v1/drains", body))?;
        return print(&if args.json { show::line(&answer) } else { show::drained(&answer) });
    }
    if let Some(url) = &args.resume {
        args.at.door(Scope::Operate)?.ask(&Request::delete("/v1/drains", url))?;
        return print(&format!("{} takes connections again\n", shown(url)));
    }
    let answer = args.at.door(Scope::Read)?.ask(&Request::get("/v1/upstreams"))?;
    let upstreams = answer["upstreams"].as_array().map(Vec::as_slice).unwrap_or_default();
    print(&if args.json { show::lines(upstreams) } else { show::upstreams(upstreams) })
}

pub(crate) fn bans(args: &BansArgs) -> Result<Outcome, Failure> {
    let door = args.at.door(Scope::Read)?;
    let mut is_first = true;
    for (path, name) in [("/v1/address-bans", "address_bans"), ("/v1/bans", "bans")] {
        let is_read_on = each_page(&door, path, name, &[], |bans| {
            if bans.is_empty() {
                return Ok(true);
            }
            let text = if args.json { show::lines(bans) } else { show::bans(bans, is_first) };
            is_first = false;
            written(&text)
        })?;
        if !is_read_on {
            return Ok(Outcome::Done);
        }
    }
    if is_first && !args.json {
        return print("no bans\n");
    }
    Ok(Outcome::Done)
}

/// Hands over the list `name` at `path`, a page at a time, for as long as `show` says that somebody reads; whether somebody
/// still does.
fn each_page(
    door: &Door,
    path: &str,
    name: &str,
    parameters: &[(&str, Option<&str>)],
    mut show: impl FnMut(&[Value]) -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let mut after: Option<String> = None;
    loop {
        let place = [("after", after.as_deref()), ("limit", Some("1000"))];
        let answer = door.ask(&Request::get(path).with(&[parameters, &place].concat()))?;
        if !show(answer[name].as_array().map(Vec::as_slice).unwrap_or_default())? {
            return Ok(false);
        }
        match answer["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return Ok(true),
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
    if let Some(time) = args.time {
        body.insert("seconds".to_owned(), time.as_secs().into());
    }
    if let Some(reason) = &args.reason {
        body.insert("reason".to_owned(), reason.as_str().into());
    }
    let (path, member, name) = args.who.place();
    body.insert(member.to_owned(), name.into());
    let answer = args.at.door(Scope::Operate)?.ask(&Request::post(path, body))?;
    print(&if args.json { show::line(&answer) } else { show::banned(&answer) })
}

pub(crate) fn unban(args: &UnbanArgs) -> Result<Outcome, Failure> {
    let (path, _, name) = args.who.place();
    args.at.door(Scope::Operate)?.ask(&Request::delete(path, &name))?;
    print(&format!("{} is let in again\n", shown(&name)))
}

impl Banned {
    /// The path of such bans, the member that names whom one is about, and the name.
    fn place(&self) -> (&'static str, &'static str, String) {
        match &self.address {
            Some(network) => ("/v1/address-bans", "network", network.to_string()),
            // One of them is there: see the group.
            None => ("/v1/bans", "subject", self.subject.clone().unwrap_or_default()),
        }
    }
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

pub(crate) fn reload(args: &ReloadArgs) -> Result<Outcome, Failure> {
    let answer = args.at.door(Scope::Operate)?.ask(&Request::order("/v1/reload"))?;
    print(&if args.json { show::line(&answer) } else { show::reloaded(&answer) })
}

/// Reads a network.
fn network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|error| match error {
        NetworkError::HostBitsSet { network } => {
            format!("it {error}; write {network} for the whole network, or the address alone")
        }
        NetworkError::NoAddress
        | NetworkError::PrefixMalformed
        | NetworkError::PrefixTooLong { .. }
        | NetworkError::PartlyMapped => format!("it {error}; write it like 203.0.113.0/24 or 2001:db8::/32"),
    })
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
