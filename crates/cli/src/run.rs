//! `drawgate run`: a configuration served until a signal ends it.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::time::Duration;

use drawgate::Server;
use drawgate::config::Config;
use drawgate::observe::Observer;
use drawgate::server::{Drained, StartError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::configuration;
use crate::logging::Log;
use crate::service::{Given, Inherited, Manager, Service};
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
    serve(config, &log, Service::new(sockets), None, |server| {
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
    let connections_max = connections_max(config.server.connections_max, raise_descriptor_limit(), log);
    let Service { sockets, ear } = service;
    let drain_timeout = config.server.drain_timeout;
    let routes: Vec<_> = config.routes.iter().map(|route| route.name.clone()).collect();
    let outcome = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let builder = Server::from_config(config).connections_max(connections_max);
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
        let routes = routes.iter().map(|route| observer.route_metrics(route)).collect();
        let manager = match ear {
            Some(ear) => told(Manager::ready(ear, routes, drain_timeout).await),
            None => None,
        };
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
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure(format!("signals cannot be listened for: {error}")));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
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

/// How many connections are taken: as many as there are descriptors for, or fewer where `wanted` says so.
fn connections_max(wanted: Option<usize>, descriptors: usize, log: &Log) -> usize {
    let available = connections_available(descriptors);
    let Some(wanted) = wanted else { return available };
    if wanted > available {
        log.tell(&format!(
            "note: server.connections_max is {wanted}, and there are descriptors for {available}: raise the limit of open files \
             (ulimit -n, LimitNOFILE=)"
        ));
        tracing::warn!(target: "drawgate", message = "fewer descriptors than server.connections_max", available);
    }
    wanted.min(available)
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
    let text = chain(error);
    if let StartError::Bind(bind) = error
        && let Some(advice) = if_taken
        && bind.source.kind() == io::ErrorKind::AddrInUse
    {
        return format!("{text}; {advice}");
    }
    text
}

/// An error and all that it came from, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors already say what they come from.
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Descriptors kept for the log, the admin listener and the runtime itself; never more than half of them.
const DESCRIPTORS_RESERVED: usize = 64;
const COUNT_INTERVAL: Duration = Duration::from_secs(1);
