//! `drawgate run`: a configuration served until a signal ends it.

use std::convert::Infallible;
use std::io::{self, IsTerminal as _};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use drawgate::Server;
use drawgate::causes::in_one_line;
use drawgate::config::Config;
use drawgate::observe::{Observer, ReloadedBy};
use drawgate::server::{Drained, ReloadError, ReloadSource, Reloader, StartError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::configuration;
use crate::logging::{Log, say};
use crate::service::{Given, Inherited, Line, Manager, Service};
use crate::{ConfigFile, Failure, Outcome};

/// `drawgate run`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    file: ConfigFile,
}

pub(crate) fn run(args: &Args) -> Result<Outcome, Failure> {
    // Before the threads of the log: what is read is taken out of the environment.
    let inherited = Inherited::take()?;
    let config = configuration::read(&args.file.config)?;
    let sockets = inherited.for_listeners(&config.listeners)?;
    let log = Log::to_stderr(&config.log)?;
    for warning in &config.warnings {
        tracing::warn!(target: "drawgate", message = "configuration warning", %warning);
    }
    for Given { listener, address, .. } in sockets.iter().filter(|given| given.is_elsewhere) {
        tracing::warn!(
            target: "drawgate",
            message = "the socket that was handed over is not where the configuration says; it is used as it is",
            listener,
            address = %address,
        );
    }
    let service = Service { file: Some(args.file.config.clone()), ..Service::new(sockets) };
    serve(config, &log, service, None, |server| {
        for (name, address) in server.addresses() {
            tracing::info!(target: "drawgate", message = "listening", listener = name, address = %address);
        }
        if let Some(address) = server.admin_address() {
            tracing::info!(target: "drawgate", message = "listening", listener = "admin", address = %address);
        }
        Ok(())
    })
}

/// Serves `config` until a signal, as `service` has it; `started` is called once every listener is bound. `if_taken` is what
/// else to do about a port that another program has.
pub(crate) fn serve(
    config: Config,
    log: &Log,
    service: Service,
    if_taken: Option<&str>,
    started: impl FnOnce(&Server) -> Result<(), Failure>,
) -> Result<Outcome, Failure> {
    let runtime = runtime(config.server.workers)?;
    let descriptors = raise_descriptor_limit();
    tell_of_descriptors(config.server.connections_max, descriptors, log);
    let Service { sockets, ear, file } = service;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let mut builder = builder(config, descriptors);
        if let Some(file) = file {
            let read = {
                let file = file.clone();
                move || configuration::read_again(&file).map(|config| self::builder(config, descriptors))
            };
            builder = builder.reload_from(ReloadSource::new(file, read));
        }
        let server = sockets
            .into_iter()
            .fold(builder, |builder, given| builder.socket(&given.listener, given.socket))
            .bind()
            .map_err(|error| Failure(explain(&error, if_taken)))?;
        for skipped in server.skipped() {
            log.tell(&format!("note: {skipped}; going on without it"));
            tracing::warn!(target: "drawgate", message = "listener skipped", error = %skipped);
        }
        started(&server)?;
        let observer = server.observer();
        let manager = match ear {
            Some(ear) => told(Manager::ready(ear, observer.clone(), server.reloader()).await),
            None => None,
        };
        let _hangups = Hangups::begin(&mut signals, server.reloader(), manager.as_ref());
        let outcome = until_drained(server, &mut signals, log, &observer, manager).await;
        log.count_lost(&observer);
        Ok(outcome)
    });
    // Whatever still runs is not waited for: everything that deserved it has been.
    runtime.shutdown_background();
    outcome
}

/// The manager, if it could be told.
fn told(manager: io::Result<Manager>) -> Option<Manager> {
    manager
        .inspect_err(|error| {
            tracing::warn!(
                target: "drawgate",
                message = "the service manager could not be told that all is ready",
                %error,
            );
        })
        .ok()
}

/// Serves until the first signal, then drains; a second signal ends the drain.
async fn until_drained(
    server: Server,
    signals: &mut Signals,
    log: &Log,
    observer: &Observer,
    manager: Option<Manager>,
) -> Outcome {
    let drain = Notify::new();
    let mut serving = pin!(server.run(drain.notified()));
    tokio::select! {
        drained = &mut serving => return report(drained),
        never = count_lost(log, observer) => match never {},
        () = signals.next() => {}
    }
    log.tell(
        "draining: what has come is answered, then connections are closed; another signal cuts them at once",
    );
    tracing::info!(target: "drawgate", message = "draining");
    if let Some(manager) = manager {
        manager.stopping();
    }
    drain.notify_one();
    tokio::select! {
        drained = serving => report(drained),
        () = signals.next() => {
            tracing::warn!(target: "drawgate", message = "ended by force");
            Outcome::Forced
        }
    }
}

/// The signals that end the program.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// The terminal that the program was started at is gone.
    terminal_gone: Arc<Notify>,
    /// What asks for the configuration to be read again, until somebody waits for it.
    hangup: Option<Signal>,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure(format!("signals cannot be listened for: {error}")));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            terminal_gone: Arc::default(),
            hangup: Some(listen(SignalKind::hangup())?),
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = self.terminal_gone.notified() => {}
        }
    }
}

/// The task that has the configuration read again at each `SIGHUP`, until this is dropped.
struct Hangups(Option<JoinHandle<()>>);

impl Hangups {
    fn begin(signals: &mut Signals, reloader: Reloader, manager: Option<&Manager>) -> Self {
        let (terminal_gone, line) = (Arc::clone(&signals.terminal_gone), manager.map(Manager::line));
        let began_at_terminal = is_at_terminal();
        Self(signals.hangup.take().map(|mut hangup| {
            tokio::spawn(async move {
                while hangup.recv().await.is_some() {
                    // The system says so too when it closes the terminal that the program was started at.
                    if began_at_terminal && !is_at_terminal() {
                        return terminal_gone.notify_one();
                    }
                    reload(&reloader, line.as_ref()).await;
                }
            })
        }))
    }
}

impl Drop for Hangups {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

fn is_at_terminal() -> bool {
    io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal()
}

/// Has the configuration read again; what came of it is in the log, and the service manager hears when it is over.
async fn reload(reloader: &Reloader, line: Option<&Line>) {
    if let Some(line) = line {
        line.reloading();
    }
    let result = reloader.reload(ReloadedBy::Signal).await;
    if let Err(ReloadError::NoSource) = result {
        let text = "SIGHUP: this command runs without a configuration file, so there is none to read again; it goes on as it was";
        say(text);
        tracing::warn!(target: "drawgate", message = "no configuration file to read again");
    }
    if let Some(line) = line {
        line.reloaded(result.is_ok());
    }
}

/// Keeps the count of lost log lines up to date.
async fn count_lost(log: &Log, observer: &Observer) -> Infallible {
    loop {
        tokio::time::sleep(COUNT_INTERVAL).await;
        log.count_lost(observer);
    }
}

fn report(drained: Drained) -> Outcome {
    match drained.cut {
        0 => tracing::info!(target: "drawgate", message = "drained"),
        cut => tracing::warn!(target: "drawgate", message = "drained", connections_cut = cut),
    }
    Outcome::Done
}

fn runtime(workers: Option<usize>) -> Result<Runtime, Failure> {
    let mut builder = Builder::new_multi_thread();
    if let Some(workers) = workers {
        builder.worker_threads(workers);
    }
    builder
        .enable_all()
        .thread_name("drawgate-worker")
        .build()
        .map_err(|error| Failure(format!("the worker threads cannot be started: {error}")))
}

/// What `config` says, with as many connections as there are descriptors for, or fewer where it says so.
fn builder(config: Config, descriptors: usize) -> drawgate::server::Builder {
    let available = connections_available(descriptors);
    let connections_max = config.server.connections_max.map_or(available, |wanted| wanted.min(available));
    Server::from_config(config).connections_max(connections_max)
}

/// Tells of it where more connections are `wanted` than there are descriptors for.
fn tell_of_descriptors(wanted: Option<usize>, descriptors: usize, log: &Log) {
    let available = connections_available(descriptors);
    if let Some(wanted) = wanted.filter(|wanted| *wanted > available) {
        log.tell(&format!(
            "note: server.connections_max is {wanted}, and there are descriptors for {available}: raise the limit of open files \
             (ulimit -n, LimitNOFILE=)"
        ));
        tracing::warn!(target: "drawgate", message = "fewer descriptors than server.connections_max", available);
    }
}

const fn connections_available(descriptors: usize) -> usize {
    let half = descriptors / 2;
    descriptors - if half < DESCRIPTORS_RESERVED { half } else { DESCRIPTORS_RESERVED }
}

/// Raises the soft limit of open files to the hard one; returns what it then is. Each connection takes a descriptor.
fn raise_descriptor_limit() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it cannot be raised the program runs with what it has.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let Rlimit { current, .. } = getrlimit(Resource::Nofile);
    current.map_or(usize::MAX, |current| usize::try_from(current).unwrap_or(usize::MAX))
}

fn explain(error: &StartError, if_taken: Option<&str>) -> String {
    let text = in_one_line(error);
    if let StartError::Bind(bind) = error
        && let Some(advice) = if_taken
        && bind.source.kind() == io::ErrorKind::AddrInUse
    {
        return format!("{text}; {advice}");
    }
    text
}

/// Descriptors kept for the log, the admin listener and the runtime itself; never more than half of them.
const DESCRIPTORS_RESERVED: usize = 64;
const COUNT_INTERVAL: Duration = Duration::from_secs(1);
