//! Another configuration while the server runs: asked for by a program, an operator, a signal or the file itself; read and made
//! ready as a whole, and then in force, or refused with every reason and without a trace.
//!
//! One at a time, in the order in which they were asked for. Made ready by `draft.rs`, put in force by `force.rs`; what is said
//! of it is the observer's.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use super::Builder;
use super::draft::{Draft, Plan};
use super::force::Force;
use crate::causes::in_one_line;
use crate::connection::Gate;
use crate::observe::{Changed, ReloadedBy};
use crate::tls::{Outlook, Watch};

/// Where a configuration is read again.
#[derive(Clone)]
pub struct ReloadSource {
    file: PathBuf,
    read: Arc<dyn Fn() -> Result<Builder, Vec<String>> + Send + Sync>,
}

impl ReloadSource {
    /// `read` makes another builder of `file`, or says everything that is wrong with it, a sentence each. It may block.
    pub fn new(
        file: PathBuf,
        read: impl Fn() -> Result<Builder, Vec<String>> + Send + Sync + 'static,
    ) -> Self {
        Self { file, read: Arc::new(read) }
    }
}

impl fmt::Debug for ReloadSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReloadSource").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Puts another configuration in force while a server runs; before that it waits until it does. Cheap to clone.
///
/// What is new holds for connections that come from then on. Those that live keep what they were opened with; docs/reload.md says
/// what reaches them all the same. What is counted goes on being counted: connections and handshakes by client, sessions,
/// bans, failed attempts.
///
/// ```no_run
/// # use drawgate::{Access, Handler, Message, Origins, Route, Server, Session};
/// # struct Chat;
/// # impl Handler for Chat { async fn message(&self, _: &Session, _: Message) {} }
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let address = "127.0.0.1:8765".parse()?;
/// let with = |path: &str| -> Result<_, Box<dyn std::error::Error>> {
///     let route = Route::new("chat", path, Origins::Same, Access::Open, Chat)?;
///     Ok(Server::builder().listen(address).route(route))
/// };
/// let server = with("/chat")?.bind()?;
/// let reloader = server.reloader();
/// tokio::spawn(server.run(std::future::pending()));
/// // The listener stays, and nobody is refused meanwhile.
/// let reloaded = reloader.replace(with("/rooms/*")?).await?;
/// assert_eq!(reloaded.routes_changed, ["chat"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Reloader {
    requests: mpsc::Sender<Request>,
    has_source: bool,
    /// By what is in force.
    drain_timeout: Arc<Mutex<Duration>>,
}

/// What another configuration has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// The routes that were not there before.
    pub routes_added: Vec<String>,
    /// Those of the same name of which anything is different.
    pub routes_changed: Vec<String>,
    /// Those that are gone; their connections are closed with 1012 once what had come is answered.
    pub routes_removed: Vec<String>,
    /// The listeners that accept now and did not.
    pub listeners_added: Vec<String>,
    /// Those that accept no more. Their connections go on.
    pub listeners_removed: Vec<String>,
    /// The settings that have changed and are as before, because they are read once.
    pub needs_restart: Vec<&'static str>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<String>,
    /// The sessions that were ended because the key of their token is gone.
    pub sessions_ended: usize,
    /// The connections that were ended because the lists of addresses do not let their clients in.
    pub connections_denied: usize,
}

/// Why everything is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// The server was not made from a file.
    #[error("this server has no configuration file to read again")]
    NoSource,
    /// All that is wrong, a sentence each.
    #[error("the configuration is refused, and everything is as it was: {}", .0.join("; "))]
    Refused(Vec<String>),
    /// The server drains, or has ended.
    #[error("the server is about to end")]
    Ending,
}

impl Reloader {
    /// Reads the configuration again where it was read first; ready when it is in force.
    ///
    /// # Errors
    /// When it is not, and everything is as it was.
    pub async fn reload(&self, by: ReloadedBy) -> Result<Reloaded, ReloadError> {
        if !self.has_source {
            return Err(ReloadError::NoSource);
        }
        self.ask(None, by).await
    }

    /// Puts what `builder` says in the place of what is in force; ready when it is. Of a route of which nothing is changed, the
    /// same handler included, nothing changes.
    ///
    /// # Errors
    /// When it is not in force, and everything is as it was.
    pub async fn replace(&self, builder: Builder) -> Result<Reloaded, ReloadError> {
        self.ask(Some(Box::new(builder)), ReloadedBy::Program).await
    }

    /// How long connections may take to end once the server is told to, by what is in force.
    #[must_use]
    pub fn drain_timeout(&self) -> Duration {
        *self.drain_timeout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, builder: Option<Box<Builder>>, by: ReloadedBy) -> Result<Reloaded, ReloadError> {
        let (answer, answered) = oneshot::channel();
        let request = Request { builder, by, answer };
        self.requests.send(request).await.map_err(|_| ReloadError::Ending)?;
        answered.await.unwrap_or(Err(ReloadError::Ending))
    }
}

/// Somebody wants another configuration.
#[derive(Debug)]
pub(super) struct Request {
    /// `None` is where the first one came from.
    builder: Option<Box<Builder>>,
    by: ReloadedBy,
    answer: oneshot::Sender<Result<Reloaded, ReloadError>>,
}

/// Where requests arrive.
#[derive(Debug)]
pub(super) struct Requests {
    arrived: mpsc::Receiver<Request>,
    /// Kept, so that there is somebody who could ask for as long as this waits.
    reloader: Reloader,
    source: Option<ReloadSource>,
    /// Whether the file is looked at.
    is_watched: watch::Sender<bool>,
}

impl Requests {
    pub(super) fn new(source: Option<ReloadSource>) -> (Self, Reloader) {
        let (requests, arrived) = mpsc::channel(WAITING_MAX);
        let reloader = Reloader { requests, has_source: source.is_some(), drain_timeout: Arc::default() };
        let is_watched = watch::Sender::new(false);
        (Self { arrived, reloader: reloader.clone(), source, is_watched }, reloader)
    }

    /// Looks at the file, where there is one, for as long as what is in force wants that.
    pub(super) fn watch(&self, force: &Force, tasks: &mut JoinSet<()>) {
        self.follow(force.plan());
        if let Some(source) = self.source.clone() {
            tasks.spawn(watch_file(source, self.reloader(), self.is_watched.subscribe()));
        }
    }

    pub(super) fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Puts what is asked for in force, until it is dropped.
    pub(super) async fn serve(&mut self, gate: &Arc<Gate>, force: &mut Force) {
        loop {
            let request = tokio::select! {
                request = self.arrived.recv() => request,
                () = sleep(FORGET_INTERVAL) => {
                    force.forget();
                    continue;
                }
            };
            let Some(Request { builder, by, answer }) = request else { return };
            let outcome = match self.make_ready(builder, gate, force).await {
                Ok(draft) => Ok(force.replace(draft)),
                Err(problems) => Err(problems),
            };
            force.forget();
            match &outcome {
                Ok(reloaded) => gate.observer.reloaded(by, &reloaded.for_the_record()),
                Err(problems) => gate.observer.reload_refused(by, problems),
            }
            self.follow(force.plan());
            let _ = answer.send(outcome.map_err(ReloadError::Refused));
        }
    }

    /// What is not the connections' follows what is in force.
    pub(super) fn follow(&self, plan: &Plan) {
        self.is_watched.send_replace(plan.reload_on_change);
        *self.reloader.drain_timeout.lock().unwrap_or_else(PoisonError::into_inner) = plan.drain_timeout;
    }

    async fn make_ready(
        &self,
        builder: Option<Box<Builder>>,
        gate: &Arc<Gate>,
        force: &Force,
    ) -> Result<Draft, Vec<String>> {
        let (plan, gate, source) = (Arc::clone(force.plan()), Arc::clone(gate), self.source.clone());
        let work = move || {
            let builder = match (builder, source) {
                (Some(builder), _) => *builder,
                (None, Some(source)) => (source.read)()?,
                (None, None) => return Err(vec![ReloadError::NoSource.to_string()]),
            };
            let clock = &gate.facilities.clock;
            let draft = builder.sketch().draft(Some(&plan), &gate.observer, &gate.drains, clock);
            draft.map_err(|error| vec![in_one_line(&error)])
        };
        // Files may lie on a disk that is slow or far away.
        spawn_blocking(work).await.unwrap_or_else(|panic| Err(vec![format!("it could not be read: {panic}")]))
    }
}

/// Has the configuration read again whenever its file has changed and stands still, for as long as the plan that is in force
/// wants that.
async fn watch_file(source: ReloadSource, reloader: Reloader, mut is_wanted: watch::Receiver<bool>) {
    while is_wanted.wait_for(|is_wanted| *is_wanted).await.is_ok() {
        let mut file = Watch::new(vec![source.file.clone()]);
        while *is_wanted.borrow() {
            sleep(LOOK_INTERVAL).await;
            let looked = spawn_blocking(move || {
                let outlook = file.look();
                (file, outlook)
            });
            let Ok((same, outlook)) = looked.await else { return };
            file = same;
            if outlook == Outlook::Changed {
                // What is wrong with it has been said.
                let _ = reloader.reload(ReloadedBy::File).await;
            }
        }
    }
}

impl Reloaded {
    fn for_the_record(&self) -> Changed<'_> {
        Changed {
            routes: [&self.routes_added, &self.routes_changed, &self.routes_removed],
            listeners: [&self.listeners_added, &self.listeners_removed],
            needs_restart: &self.needs_restart,
            warnings: &self.warnings,
            connections_denied: self.connections_denied,
            sessions_ended: self.sessions_ended,
        }
    }
}

/// How many may wait for their turn; who comes then waits to be taken.
const WAITING_MAX: usize = 16;
/// How often it is looked whether somebody is left on routes that are gone.
const FORGET_INTERVAL: Duration = Duration::from_mins(1);
/// How often the file is looked at: it is in force two seconds after it has been written.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
