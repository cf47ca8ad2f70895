//! The API of the admin listener: which methods which paths have, which scope each asks for, and what answers.
//!
//! One table says all of it; docs/openapi.json says the same to others, and a test holds the two together. Comes after
//! the addressee has been checked. Nothing is changed here: that is `operations.rs`.

mod address_bans;
mod bans;
mod drains;
mod events;
mod reload;
mod revocations;
mod sessions;
mod tickets;
mod upstreams;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap};
use hyper::{Method, Request, StatusCode};
use serde_json::Value;

use super::access::{Access, Scope, Token};
use super::answer::{self, Answer, Refused};
use super::body::Members;
use super::operations::{Operations, TicketRoutes};
use crate::clock::UnixTime;
use crate::principal::ClientAddr;

/// The API of one server.
#[derive(Debug)]
pub(crate) struct Api {
    access: RwLock<Arc<Access>>,
    operations: Operations,
}

/// One method of one path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) method: &'static Method,
    /// A segment in braces stands for any one segment that is not empty.
    pub(super) path: &'static str,
    /// What a token must be for; `None` is open.
    pub(super) scope: Option<Scope>,
    task: Task,
}

#[derive(Clone, Copy, Debug)]
enum Task {
    ListSessions,
    ShowSession,
    EndSessions,
    EndSession,
    ListRevocations,
    Revoke,
    ListBans,
    Ban,
    Unban,
    ListAddressBans,
    BanAddress,
    UnbanAddress,
    ListEvents,
    ListUpstreams,
    Drain,
    Resume,
    IssueTicket,
    Reload,
    Describe,
}

impl Task {
    /// Whether a query says what is meant.
    const fn has_query(self) -> bool {
        matches!(
            self,
            Self::ListSessions
                | Self::EndSessions
                | Self::ListRevocations
                | Self::ListBans
                | Self::ListAddressBans
                | Self::ListEvents
        )
    }
}

impl Entry {
    const fn new(method: &'static Method, path: &'static str, scope: Option<Scope>, task: Task) -> Self {
        Self { method, path, scope, task }
    }
}

/// Everything that there is.
pub(super) const ENTRIES: [Entry; 19] = [
    Entry::new(&Method::GET, "/v1/sessions", Some(Scope::Read), Task::ListSessions),
    Entry::new(&Method::DELETE, "/v1/sessions", Some(Scope::Operate), Task::EndSessions),
    Entry::new(&Method::GET, "/v1/sessions/{id}", Some(Scope::Read), Task::ShowSession),
    Entry::new(&Method::DELETE, "/v1/sessions/{id}", Some(Scope::Operate), Task::EndSession),
    Entry::new(&Method::GET, "/v1/revocations", Some(Scope::Read), Task::ListRevocations),
    Entry::new(&Method::POST, "/v1/revocations", Some(Scope::Operate), Task::Revoke),
    Entry::new(&Method::GET, "/v1/bans", Some(Scope::Read), Task::ListBans),
    Entry::new(&Method::POST, "/v1/bans", Some(Scope::Operate), Task::Ban),
    Entry::new(&Method::DELETE, "/v1/bans/{subject}", Some(Scope::Operate), Task::Unban),
    Entry::new(&Method::GET, "/v1/address-bans", Some(Scope::Read), Task::ListAddressBans),
    Entry::new(&Method::POST, "/v1/address-bans", Some(Scope::Operate), Task::BanAddress),
    Entry::new(&Method::DELETE, "/v1/address-bans/{network}", Some(Scope::Operate), Task::UnbanAddress),
    Entry::new(&Method::GET, "/v1/events", Some(Scope::Read), Task::ListEvents),
    Entry::new(&Method::GET, "/v1/upstreams", Some(Scope::Read), Task::ListUpstreams),
    Entry::new(&Method::POST, "/v1/drains", Some(Scope::Operate), Task::Drain),
    Entry::new(&Method::DELETE, "/v1/drains/{upstream}", Some(Scope::Operate), Task::Resume),
    Entry::new(&Method::POST, "/v1/tickets", Some(Scope::Tickets), Task::IssueTicket),
    Entry::new(&Method::POST, "/v1/reload", Some(Scope::Operate), Task::Reload),
    Entry::new(&Method::GET, "/v1/openapi.json", None, Task::Describe),
];

/// The description of the API, an `OpenAPI` 3.1 document.
pub const DESCRIPTION: &str = include_str!("openapi.json");

impl Api {
    pub(crate) fn new(tokens: &[Token], operations: Operations) -> Self {
        let access = Access::new(tokens, operations.clock.now());
        Self { access: RwLock::new(Arc::new(access)), operations }
    }

    /// Lets in whoever shows one of `tokens` from now on; tickets are for `routes`.
    pub(crate) fn follow(&self, tokens: &[Token], routes: TicketRoutes) {
        let mut access = self.access.write().unwrap_or_else(PoisonError::into_inner);
        *access = Arc::new(access.with(tokens));
        self.operations.set_routes(routes);
    }

    fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether anybody can be let in.
    pub(super) fn has_tokens(&self) -> bool {
        self.access().has_tokens()
    }

    /// Whether the request shows a token for `scope`: whose.
    pub(super) fn authorize(
        &self,
        headers: &HeaderMap,
        scope: Scope,
        client: ClientAddr,
    ) -> Result<Arc<str>, Refused> {
        let access = self.access();
        if !access.has_tokens() {
            let detail = "This needs a token, and there is none: configure admin.tokens.";
            return Err(Refused::new(StatusCode::NOT_FOUND, detail));
        }
        access.check(headers, scope, self.operations.clock.now()).inspect_err(|refused| {
            self.operations.observer.operator_refused(client, refused.status().as_u16());
        })
    }

    /// The answer to a request, whatever its path.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        client: ClientAddr,
    ) -> Result<Answer, Refused> {
        let (parts, body) = request.into_parts();
        let (entry, segment) = find(&parts.method, parts.uri.path())?;
        let who = match entry.scope {
            Some(scope) => self.authorize(&parts.headers, scope, client)?,
            None => Arc::from(""),
        };
        let operations = &self.operations;
        let mut query = Members::of_query(parts.uri.query())?;
        if !entry.task.has_query() {
            query.finish()?;
            query = Members::of_query(None)?;
        }
        match entry.task {
            Task::ListSessions => sessions::list(operations, query),
            Task::ShowSession => sessions::show(operations, segment),
            Task::EndSessions => sessions::end_all(operations, &who, query),
            Task::EndSession => sessions::end(operations, &who, segment),
            Task::ListRevocations => revocations::list(operations, query),
            Task::Revoke => {
                revocations::add(operations, who, Members::of_body(&parts.headers, body).await?).await
            }
            Task::ListBans => bans::list(operations, query),
            Task::Ban => bans::add(operations, who, Members::of_body(&parts.headers, body).await?).await,
            Task::Unban => bans::remove(operations, who, segment).await,
            Task::ListAddressBans => address_bans::list(operations, query),
            Task::BanAddress => {
                address_bans::add(operations, who, Members::of_body(&parts.headers, body).await?).await
            }
            Task::UnbanAddress => address_bans::remove(operations, who, segment).await,
            Task::ListUpstreams => Ok(upstreams::list(operations)),
            Task::Drain => drains::add(operations, &who, Members::of_body(&parts.headers, body).await?),
            Task::Resume => drains::remove(operations, &who, segment),
            Task::ListEvents => events::list(operations, query),
            Task::IssueTicket => {
                tickets::issue(operations, &who, Members::of_body(&parts.headers, body).await?)
            }
            Task::Reload => reload::reload(operations, who).await,
            Task::Describe => Ok(answer::page(StatusCode::OK, answer::JSON, DESCRIPTION)),
        }
    }
}

/// The entry for `method` and `path`, and the segment that stands for what is in braces.
fn find<'p>(method: &Method, path: &'p str) -> Result<(&'static Entry, &'p str), Refused> {
    let of_path: Vec<_> =
        ENTRIES.iter().filter_map(|entry| Some((entry, segment(entry.path, path)?))).collect();
    // RFC 9110 §9.3.2: HEAD is GET without the content, which the server leaves out.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    if let Some((entry, segment)) = of_path.iter().find(|(entry, _)| entry.method == method) {
        return Ok((entry, segment));
    }
    if of_path.is_empty() {
        let detail = "There is nothing here; GET /v1/openapi.json says what there is, beside /metrics, /healthz and /readyz.";
        return Err(Refused::new(StatusCode::NOT_FOUND, detail));
    }
    let methods: Vec<&str> =
        of_path
            .iter()
            .flat_map(|(entry, _)| {
                if entry.method == Method::GET { vec!["GET", "HEAD"] } else { vec![entry.method.as_str()] }
            })
            .collect();
    let methods = methods.join(", ");
    let detail = format!("This path takes {methods}.");
    Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, detail).with(header::ALLOW, &methods))
}

/// The segment of `path` that stands for the one in braces, or nothing where `pattern` has none; `None` where they differ.
fn segment<'p>(pattern: &str, path: &'p str) -> Option<&'p str> {
    let Some((before, _)) = pattern.split_once('{') else { return (pattern == path).then_some("") };
    let segment = path.strip_prefix(before)?;
    (!segment.is_empty() && !segment.contains('/')).then_some(segment)
}

/// Until when what begins now and lasts so many seconds lasts; `None` is for good.
fn end_of_ban(seconds: Option<u64>, now: UnixTime) -> Result<Option<UnixTime>, Refused> {
    if seconds.is_some_and(|seconds| seconds > BAN_SECONDS_MAX) {
        let detail = "seconds must be at most ten years; leave it out for a ban for good.";
        return Err(Refused::unprocessable(detail));
    }
    Ok(seconds.map(|seconds| now.plus(Duration::from_secs(seconds))))
}

/// How much of a list is asked for.
struct Slice {
    after: Option<String>,
    count_max: usize,
}

impl Slice {
    fn of(query: &mut Members) -> Result<Self, Refused> {
        let after = query.text("after")?;
        let count_max = match query.count("limit")? {
            None => PAGE_DEFAULT,
            Some(count) => usize::try_from(count)
                .ok()
                .filter(|count| *count <= PAGE_MAX)
                .ok_or_else(|| Refused::unprocessable(format!("limit must be at most {PAGE_MAX}.")))?,
        };
        Ok(Self { after, count_max })
    }
}

/// A moment as JSON has it; `null` is never.
fn time(time: Option<UnixTime>) -> Value {
    time.map_or(Value::Null, |time| Value::String(time.to_string()))
}

/// Ten years.
const BAN_SECONDS_MAX: u64 = 3650 * 24 * 60 * 60;
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1000;

#[cfg(test)]
mod tests;
