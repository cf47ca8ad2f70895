//! The servers that are measured: how each is started, and what the kernel says of it.
//!
//! A server runs on one core and the load generator on another, so that neither takes the other's time. Only what was
//! started here is ended here.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::{client, configuration, tunnel};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A TCP echo without a protocol, on epoll alone.
    BareEcho,
    /// The same on tokio.
    BareTokio,
    /// A handshake that checks nothing.
    BareHandshake,
    /// The same, with the verification of a token's signature.
    BareVerifying,
    /// The product.
    Drawgate,
    /// The product with a log level that leaves out the records of ordinary connections.
    DrawgateQuiet,
    /// rustls on tokio, and nothing else.
    BareTls,
    /// The product within TLS.
    DrawgateTls,
    /// The product on a route that takes nobody without a token.
    DrawgateToken,
    /// The same with every limit that is off by default, and with metrics.
    DrawgateGuarded,
    /// A TCP relay without a protocol, on epoll alone.
    BareRelay,
    /// The product in front of an application, with a session, every limit and metrics.
    DrawgateRelay,
    /// The same, with tokens of a signature that costs next to nothing.
    DrawgateRelayHmac,
    /// The first, where each message from a client is strict JSON and fits a schema.
    DrawgateSchema,
    /// The same, with five rules on it.
    DrawgateRules,
    /// The first, where messages are sealed both ways.
    DrawgateSealed,
    /// nginx's tunnel.
    Nginx,
    /// `HAProxy`'s tunnel.
    HaProxy,
    /// Caddy's tunnel.
    Caddy,
    /// fastwebsockets.
    FastWebSockets,
    /// tokio-websockets.
    TokioWebSockets,
    /// tokio-tungstenite.
    Tungstenite,
    /// ws on Node.js.
    NodeWs,
    /// Python's websockets on uvloop.
    PythonWebSockets,
}

impl Kind {
    /// How the tables call it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::BareEcho => "bare echo",
            Self::BareTokio => "bare echo on tokio",
            Self::BareHandshake => "bare handshake",
            Self::BareVerifying => "bare handshake with a verification",
            Self::Drawgate => "drawgate",
            Self::DrawgateQuiet => "drawgate, level = \"error\"",
            Self::BareTls => "bare rustls on tokio",
            Self::DrawgateTls => "drawgate, TLS",
            Self::DrawgateToken => "drawgate, ES256",
            Self::DrawgateGuarded => "drawgate, ES256, limits, metrics",
            Self::BareRelay => "bare relay",
            Self::DrawgateRelay => "drawgate",
            Self::DrawgateRelayHmac => "drawgate, HS256",
            Self::DrawgateSchema => "drawgate, JSON and a schema",
            Self::DrawgateRules => "drawgate, JSON, a schema and rules",
            Self::DrawgateSealed => "drawgate, sealed",
            Self::Nginx => "nginx",
            Self::HaProxy => "HAProxy",
            Self::Caddy => "Caddy",
            Self::FastWebSockets => "fastwebsockets",
            Self::TokioWebSockets => "tokio-websockets",
            Self::Tungstenite => "tokio-tungstenite",
            Self::NodeWs => "ws (Node.js)",
            Self::PythonWebSockets => "websockets (Python, uvloop)",
        }
    }

    /// Whether it is the product in front of an application, which takes nobody without a token.
    #[must_use]
    pub const fn is_drawgate_relay(self) -> bool {
        matches!(
            self,
            Self::DrawgateRelay
                | Self::DrawgateRelayHmac
                | Self::DrawgateSchema
                | Self::DrawgateRules
                | Self::DrawgateSealed
        )
    }

    /// Whether its clients shake hands and are answered in frames.
    #[must_use]
    pub const fn speaks_websocket(self) -> bool {
        !matches!(self, Self::BareEcho | Self::BareTokio)
    }

    /// Whether it is the product, or one of those without which its figures mean nothing.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        matches!(
            self,
            Self::Drawgate
                | Self::DrawgateQuiet
                | Self::DrawgateTls
                | Self::DrawgateToken
                | Self::DrawgateGuarded
                | Self::DrawgateRelay
                | Self::DrawgateRelayHmac
                | Self::DrawgateSchema
                | Self::DrawgateRules
                | Self::DrawgateSealed
                | Self::BareRelay
                | Self::BareEcho
                | Self::BareTokio
                | Self::BareHandshake
                | Self::BareVerifying
                | Self::BareTls
        )
    }
}

/// Where programs lie.
#[derive(Clone, Debug)]
pub struct Places {
    /// The product.
    pub drawgate: PathBuf,
    /// The peers in Rust: beside this program.
    pub binaries: PathBuf,
    /// The bench's own folder, with what `install.sh` put there.
    pub bench: PathBuf,
    /// Configurations and output of the servers.
    pub run: PathBuf,
    /// The core of the servers, and that of the load generator.
    pub cores: (usize, usize),
}

impl Places {
    /// With the product at `drawgate`, and the first two cores that this process may use.
    ///
    /// # Errors
    /// There is one core only, or the folder for the servers' output cannot be made.
    pub fn find(drawgate: &Path) -> io::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let (Some(server), Some(generator)) = (cores.next(), cores.next()) else {
            return Err(io::Error::other(
                "two cores are needed: one for the servers, one for the load generator",
            ));
        };
        let binaries = std::env::current_exe()?.parent().map(Path::to_owned).unwrap_or_default();
        let bench = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let run = binaries.join("run");
        // What earlier runs have left.
        let _ = fs::remove_dir_all(&run);
        fs::create_dir_all(&run)?;
        let drawgate = fs::canonicalize(drawgate).map_err(|error| {
            io::Error::other(format!("there is no drawgate program at {}: {error}", drawgate.display()))
        })?;
        Ok(Self { drawgate, binaries, bench, run, cores: (server, generator) })
    }

    fn command(&self, kind: Kind, ports: Ports) -> io::Result<Command> {
        let port = ports.server.to_string();
        let binary = |name: &str| Command::new(self.binaries.join(name));
        let mut command = match kind {
            Kind::Drawgate
            | Kind::DrawgateQuiet
            | Kind::DrawgateTls
            | Kind::DrawgateToken
            | Kind::DrawgateGuarded
            | Kind::DrawgateRelay
            | Kind::DrawgateRelayHmac
            | Kind::DrawgateSchema
            | Kind::DrawgateRules
            | Kind::DrawgateSealed => {
                let text = configuration::of(kind, ports)
                    .ok_or_else(|| io::Error::other(format!("{} has no configuration", kind.label())))?;
                let file = self.run.join(format!("drawgate-{}.toml", ports.server));
                fs::write(&file, text)?;
                let mut command = Command::new(&self.drawgate);
                command.arg("run").arg("--config").arg(file);
                return Ok(command);
            }
            Kind::BareTls => {
                let mut command = binary("bare_tls");
                command.arg(port);
                command.args([self.run.join("cert.pem"), self.run.join("key.pem")]);
                return Ok(command);
            }
            Kind::BareEcho | Kind::BareHandshake => {
                let mut command = binary("bare");
                command.arg(if kind == Kind::BareEcho { "echo" } else { "handshake" });
                command
            }
            Kind::BareVerifying => {
                let mut command = binary("bare");
                command.args(["handshake", &port]).arg(self.run.join(configuration::PUBLIC_KEY_FILE));
                return Ok(command);
            }
            Kind::BareRelay => {
                let mut command = binary("bare_relay");
                command.args([port, ports.upstream.to_string()]);
                return Ok(command);
            }
            Kind::Nginx | Kind::HaProxy | Kind::Caddy => return self.tunnel(kind, ports),
            Kind::BareTokio => binary("bare_tokio"),
            Kind::FastWebSockets => binary("echo_fastwebsockets"),
            Kind::TokioWebSockets => binary("echo_tokio_websockets"),
            Kind::Tungstenite => binary("echo_tungstenite"),
            Kind::NodeWs => {
                let mut command = Command::new("node");
                command.arg(self.bench.join("peers/ws.mjs"));
                command
            }
            Kind::PythonWebSockets => {
                let mut command = Command::new(self.bench.join(".venv/bin/python"));
                command.arg(self.bench.join("peers/websockets_uvloop.py"));
                command
            }
        };
        command.arg(port);
        Ok(command)
    }

    /// A proxy that Debian packages, as one process with one thread for its work.
    fn tunnel(&self, kind: Kind, ports: Ports) -> io::Result<Command> {
        let text = tunnel::configuration(kind, ports, &self.run)
            .ok_or_else(|| io::Error::other(format!("{} is no tunnel", kind.label())))?;
        let file = self.run.join(format!("{}-{}", kind.label(), ports.server));
        fs::write(&file, text)?;
        let mut command = Command::new(match kind {
            Kind::Nginx => "nginx",
            Kind::HaProxy => "haproxy",
            _ => "caddy",
        });
        match kind {
            Kind::Nginx => command.arg("-p").arg(&self.run).arg("-c").arg(file),
            Kind::HaProxy => command.args(["-db", "-f"]).arg(file),
            _ => command.env("GOMAXPROCS", "1").args(["run", "--adapter", "caddyfile", "--config"]).arg(file),
        };
        Ok(command)
    }

    /// The same, whose servers run on the core of the load generator: for what is not measured itself.
    #[must_use]
    pub fn beside_the_generator(&self) -> Self {
        Self { cores: (self.cores.1, self.cores.1), ..self.clone() }
    }
}

/// Where a server listens on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// For its clients.
    pub server: u16,
    /// For whoever operates it, if it has such a listener.
    pub admin: u16,
    /// Where the application listens, if it stands before one.
    pub upstream: u16,
}

impl Ports {
    /// Two that nobody uses now.
    fn free(upstream: u16) -> io::Result<Self> {
        let listeners = [TcpListener::bind(("127.0.0.1", 0))?, TcpListener::bind(("127.0.0.1", 0))?];
        let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
        Ok(Self { server: port(&listeners[0])?, admin: port(&listeners[1])?, upstream })
    }
}

/// A server that runs; it is ended when this is dropped.
#[derive(Debug)]
pub struct Server {
    /// What it is.
    pub kind: Kind,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    /// Where its admin listener is, if it has one.
    pub admin_port: u16,
    request: Vec<u8>,
    child: Child,
}

impl Server {
    /// Starts one and waits until it accepts; `wrapper` is a program to run it under, with its arguments.
    ///
    /// # Errors
    /// It could not be started, or did not accept in time.
    pub fn start(places: &Places, kind: Kind, wrapper: &[String]) -> io::Result<Self> {
        Self::launch(places, kind, Ports::free(0)?, wrapper)
    }

    /// Starts one that stands before the application at `upstream`.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub fn start_before(places: &Places, kind: Kind, upstream: u16) -> io::Result<Self> {
        Self::launch(places, kind, Ports::free(upstream)?, &[])
    }

    /// Starts one that stands before the application at `upstream`, under `wrapper`.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub fn start_before_under(
        places: &Places,
        kind: Kind,
        upstream: u16,
        wrapper: &[String],
    ) -> io::Result<Self> {
        Self::launch(places, kind, Ports::free(upstream)?, wrapper)
    }

    fn launch(places: &Places, kind: Kind, ports: Ports, wrapper: &[String]) -> io::Result<Self> {
        let port = ports.server;
        let plain = places.command(kind, ports)?;
        let mut command = match wrapper {
            [] => plain,
            [program, arguments @ ..] => {
                let mut wrapped = Command::new(program);
                wrapped.args(arguments).arg(plain.get_program()).args(plain.get_args());
                wrapped
            }
        };
        let output = fs::File::create(places.run.join(format!("output-{port}.txt")))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // A child inherits the cores of the thread that starts it.
        pin(places.cores.0)?;
        let child = command.spawn();
        pin(places.cores.1)?;
        let failed = |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", kind.label()));
        let child = child.map_err(|error| failed(&error))?;
        let mut server = Self { kind, port, admin_port: ports.admin, request: client::request(None), child };
        let deadline = Instant::now() + START_TIME_MAX;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(failed(&format!("ended while starting, with {status}")));
            }
            if Instant::now() > deadline {
                return Err(failed(&"did not accept connections in time"));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// The same server, to whose clients `token` belongs.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.request = client::request(Some(token));
        self
    }

    /// What its clients ask for, if they shake hands.
    #[must_use]
    pub fn request(&self) -> Option<&[u8]> {
        self.kind.speaks_websocket().then_some(&self.request)
    }

    /// The CPU time of all its threads so far, in nanoseconds, by the scheduler's accounts.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu_ns(&self) -> io::Result<u64> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end while the list is read; its time is then lost to both readings.
            let Ok(accounts) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            let first = accounts.split(' ').next().and_then(|nanoseconds| nanoseconds.parse::<u64>().ok());
            total += first.ok_or_else(|| io::Error::other("/proc/PID/task/TID/schedstat cannot be read"))?;
        }
        Ok(total)
    }

    /// Its resident memory in bytes.
    ///
    /// # Errors
    /// It has ended.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok())
            .map(|kibibytes| kibibytes * 1024)
            .ok_or_else(|| io::Error::other("/proc/PID/status has no VmRSS"))
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Errors
    /// It does not end in time; it is killed then.
    pub fn stop(mut self) -> io::Result<()> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)?;
        }
        let deadline = Instant::now() + STOP_TIME_MAX;
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            sleep(Duration::from_millis(5));
        }
        Err(io::Error::other(format!("{} did not end when it was told to", self.kind.label())))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Holds this thread to one core.
///
/// # Errors
/// The core is not ours to use.
pub fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Under callgrind a program takes seconds to start.
const START_TIME_MAX: Duration = Duration::from_secs(60);
const STOP_TIME_MAX: Duration = Duration::from_secs(60);
