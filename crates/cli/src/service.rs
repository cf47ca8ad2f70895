//! What `drawgate run` and the service manager that started it, systemd or one that speaks its language, have to do with each
//! other: sockets that it has opened (`sockets`), and word of readiness, life, connections and the end.
//!
//! Does nothing where the manager's variables are not in the environment, waits for the manager at the start alone, for a second
//! at most, and never ends the program. Before it come the arguments; `run` calls it as the server starts, and as it drains.

mod sockets;

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixDatagram as BlockingSocket;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use drawgate::observe::Observer;
use drawgate::server::Reloader;
use rustix::time::{ClockId, clock_gettime};
use tokio::net::UnixDatagram;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub(crate) use sockets::{Given, Inherited};

/// What the environment says of a service manager.
pub(crate) struct Service {
    /// The sockets that it has opened.
    pub(crate) sockets: Vec<Given>,
    /// Where it hears, if it wants to.
    pub(crate) ear: Option<Ear>,
    /// The configuration that can be read again, where there is a file.
    pub(crate) file: Option<PathBuf>,
}

impl Service {
    /// Nothing, whatever the environment says.
    pub(crate) const fn none() -> Self {
        Self { sockets: Vec::new(), ear: None, file: None }
    }

    /// The sockets that were found before, and what else the environment says.
    pub(crate) fn new(sockets: Vec<Given>) -> Self {
        Self { sockets, ear: Ear::from_environment(), file: None }
    }
}

/// Where the manager hears, before there is a runtime.
pub(crate) struct Ear {
    socket: BlockingSocket,
    watchdog: Option<Duration>,
}

impl Ear {
    fn from_environment() -> Option<Self> {
        let address = env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty())?;
        let variable = |name| env::var(name).ok();
        match connected(&address) {
            Ok(socket) => Some(Self {
                socket,
                watchdog: watchdog_interval(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID")),
            }),
            Err(error) => {
                // A container may hand on a variable whose socket it does not.
                tracing::warn!(
                    target: "drawgate",
                    message = "the service manager cannot be reached at NOTIFY_SOCKET; going on without it",
                    %error,
                );
                None
            }
        }
    }
}

/// The manager of a server that is ready.
pub(crate) struct Manager {
    socket: Arc<UnixDatagram>,
    observer: Observer,
    reloader: Reloader,
    counting: JoinHandle<()>,
}

impl Manager {
    /// Tells it that every listener is bound; from now on it hears that the workers live, and how many connections there are.
    pub(crate) async fn ready(ear: Ear, observer: Observer, reloader: Reloader) -> io::Result<Self> {
        let Ear { socket, watchdog } = ear;
        let socket = Arc::new(UnixDatagram::from_std(socket)?);
        let state = format!("READY=1\nSTATUS={}", count(observer.connections()));
        timeout(TELL_TIME_MAX, socket.send(state.as_bytes())).await??;
        if let Some(interval) = watchdog {
            // By the workers, which carry the connections: where they all stand still, this does.
            tokio::spawn(tell_of_life(Arc::clone(&socket), interval));
        }
        let counting = tokio::spawn(tell_count(Arc::clone(&socket), observer.clone()));
        Ok(Self { socket, observer, reloader, counting })
    }

    /// What it is told of the configuration by.
    pub(crate) fn line(&self) -> Line {
        Line { socket: Arc::clone(&self.socket), observer: self.observer.clone() }
    }

    /// Tells it that the drain has begun, and how long that may take.
    pub(crate) fn stopping(self) {
        self.counting.abort();
        let time_max = (self.reloader.drain_timeout() + END_TIME_MAX).as_micros();
        let count = count(self.observer.connections());
        let state = format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={time_max}\nSTATUS=draining, {count} to end");
        tell(&self.socket, &state);
    }
}

/// What the manager is told of the configuration by.
pub(crate) struct Line {
    socket: Arc<UnixDatagram>,
    observer: Observer,
}

impl Line {
    /// The configuration is being read again. `sd_notify(3)`: the time lets the manager know that what it hears next is an answer.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
        tell(
            &self.socket,
            &format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=reading the configuration"),
        );
    }

    /// That is over, and all is ready as before.
    pub(crate) fn reloaded(&self, is_in_force: bool) {
        let count = count(self.observer.connections());
        let refused = if is_in_force { "" } else { ", the last configuration was refused: see the log" };
        tell(&self.socket, &format!("READY=1\nSTATUS={count}{refused}"));
    }
}

async fn tell_of_life(socket: Arc<UnixDatagram>, interval: Duration) {
    loop {
        tell(&socket, "WATCHDOG=1");
        sleep(interval).await;
    }
}

async fn tell_count(socket: Arc<UnixDatagram>, observer: Observer) {
    loop {
        sleep(COUNT_INTERVAL).await;
        tell(&socket, &format!("STATUS={}", count(observer.connections())));
    }
}

/// A manager that does not read is not waited for: what it misses here is told again, or happens all the same.
fn tell(socket: &UnixDatagram, state: &str) {
    let _ = socket.try_send(state.as_bytes());
}

fn count(connections: i64) -> String {
    format!("{connections} connection{}", if connections == 1 { "" } else { "s" })
}

/// `sd_notify(3)`: a path, or a name that begins with `@` and has no file.
fn connected(address: &OsStr) -> io::Result<BlockingSocket> {
    let socket = BlockingSocket::unbound()?;
    match address.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::linux::net::SocketAddrExt as _;
            socket.connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(name)?)?;
        }
        _ => socket.connect(address)?,
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// `sd_watchdog_enabled(3)`: how often to tell of life, which is twice in the time that was asked for; `None` where nobody asks, or
/// asks another process.
fn watchdog_interval(microseconds: Option<String>, process: Option<String>) -> Option<Duration> {
    let is_ours = process.is_none_or(|process| process == process::id().to_string());
    let microseconds: u64 = microseconds?.parse().ok().filter(|time| is_ours && *time > 0)?;
    Some((Duration::from_micros(microseconds) / 2).max(WATCHDOG_INTERVAL_MIN))
}

const COUNT_INTERVAL: Duration = Duration::from_secs(5);
/// How long a manager that does not read is waited for where it has to hear.
const TELL_TIME_MAX: Duration = Duration::from_secs(1);
/// What the end may take beside the drain itself.
const END_TIME_MAX: Duration = Duration::from_secs(5);
const WATCHDOG_INTERVAL_MIN: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn the_watchdog_is_told_twice_in_its_time_by_the_process_that_is_asked() {
        let interval =
            |time: &str, process: Option<&str>| watchdog_interval(Some(time.into()), process.map(Into::into));
        let us = process::id().to_string();
        let half = Some(Duration::from_secs(15));
        assert_eq!(interval("30000000", None), half);
        assert_eq!(interval("30000000", Some(&us)), half);
        assert_eq!(interval("30000000", Some("1")), None);
        assert_eq!(interval("0", None), None);
        assert_eq!(interval("often", None), None);
        assert_eq!(watchdog_interval(None, Some(us)), None);
        assert_eq!(interval("1", None), Some(WATCHDOG_INTERVAL_MIN));
    }

    #[test]
    fn o17_workers_that_stand_still_tell_nothing_and_those_that_go_on_do() {
        let (ours, theirs) = BlockingSocket::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let silence = Duration::from_millis(500);
        theirs.set_read_timeout(Some(silence)).unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let hear = || theirs.recv(&mut [0; 64]).map(|_| ());
        runtime.spawn(async {
            let socket = Arc::new(UnixDatagram::from_std(ours).unwrap());
            tell_of_life(socket, Duration::from_millis(5)).await;
        });
        for _ in 0..3 {
            hear().unwrap();
        }
        let (stuck, wait_stuck) = channel();
        let (release, wait_release) = channel::<()>();
        runtime.spawn(async move {
            stuck.send(()).unwrap();
            wait_release.recv().unwrap();
        });
        wait_stuck.recv().unwrap();
        theirs.set_nonblocking(true).unwrap();
        while hear().is_ok() {}
        theirs.set_nonblocking(false).unwrap();
        assert!(hear().is_err(), "a hundred of them would have come");
        release.send(()).unwrap();
        hear().unwrap();
    }
}
