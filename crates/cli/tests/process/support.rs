//! The program while it runs, and a client of it.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::Value;
use tempfile::TempDir;

/// A running `drawgate run`, ended with the test.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    stderr: Arc<Mutex<String>>,
    pub(crate) folder: Arc<TempDir>,
}

/// An echo at `/` without limits on how many connect, and an admin listener; `limits` are lines of
/// `[routes.echo.limits]`, `more` is anything that follows. The listener is at `port`.
pub(crate) fn echo_at(port: u16, limits: &str, more: &str) -> String {
    format!(
        r#"
        [listeners.main]
        address = "127.0.0.1:{port}"
        tls = "none"
        [routes.echo]
        listeners = ["main"]
        path = "/"
        origins = "any"
        auth = "none"
        backend = "echo"
        [routes.echo.limits]
        {limits}
        [firewall]
        connections_per_client_max = "unlimited"
        handshakes_per_client_per_minute = "unlimited"
        [admin]
        address = "127.0.0.1:0"
        {more}
        "#
    )
}

/// The same at a port of the system's choice.
pub(crate) fn echo(limits: &str, more: &str) -> String {
    echo_at(0, limits, more)
}

/// The program, to be given arguments.
pub(crate) fn drawgate() -> Command {
    Command::new(env!("CARGO_BIN_EXE_drawgate"))
}

impl Program {
    /// Starts the program with this configuration in a folder of its own.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), config)
    }

    /// Starts the program with this configuration in `folder`, and waits until it listens.
    pub(crate) fn start_in(folder: Arc<TempDir>, config: &str) -> Self {
        let mut command = drawgate();
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Self::start_by(command, folder, config)
    }

    /// The same by a command of one's own, which takes the arguments of the program's.
    pub(crate) fn start_by(mut command: Command, folder: Arc<TempDir>, config: &str) -> Self {
        let file = folder.path().join("drawgate.toml");
        fs::write(&file, config).unwrap();
        let mut child = command.args(["run", "--config"]).arg(&file).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let text = Arc::clone(&stderr);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                writeln!(text.lock().unwrap(), "{line}").unwrap();
            }
        });
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let mut this = Self { child, address: nowhere, admin: nowhere, stderr, folder };
        this.address = this.listening("main");
        this.admin = this.listening("admin");
        this
    }

    pub(crate) fn listening(&mut self, listener: &str) -> SocketAddr {
        let mut found = None;
        eventually(
            || {
                found = self.records().into_iter().find(|record| record["listener"] == listener);
                found.is_some() || self.child.try_wait().unwrap().is_some()
            },
            || format!("{listener} does not listen"),
        );
        let record = found.unwrap_or_else(|| panic!("the program has ended: {}", self.log()));
        record["address"].as_str().unwrap().parse().unwrap()
    }

    /// All that it has written to standard error.
    pub(crate) fn log(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// The records among it.
    pub(crate) fn records(&self) -> Vec<Value> {
        self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually(
            || {
                status = self.child.try_wait().unwrap();
                status.is_some()
            },
            || "the program does not end".to_owned(),
        );
        status.unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn proc(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string()).join(name)
    }

    /// The memory that it holds.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most memory that it has held.
    pub(crate) fn peak_resident_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, name: &str) -> u64 {
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// The processor time that it has used, in hundredths of a second.
    pub(crate) fn processor_ticks(&self) -> u64 {
        let stat = fs::read_to_string(self.proc("stat")).unwrap();
        // The name may hold anything but ends with the last parenthesis; user and system time are fields 14 and 15.
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// The numbers of its open descriptors.
    pub(crate) fn descriptors(&self) -> Vec<u64> {
        let entries = fs::read_dir(self.proc("fd")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    }

    /// Allows it descriptors below `limit` alone; `None` is as many as ever.
    pub(crate) fn limit_descriptors(&self, limit: Option<u64>) {
        // The program has raised its own limit to the hard one, which is ours as well.
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let limit = Rlimit { current: limit.or(maximum), maximum };
        prlimit(Some(self.pid()), Resource::Nofile, limit).unwrap();
    }

    /// The value of one metric line, named with its labels as it is printed; 0 where it is not there.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let (_, page) = self.ask_admin("/metrics");
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// What the admin listener answers on `path`: the status and the body.
    pub(crate) fn ask_admin(&self, path: &str) -> (u16, String) {
        let mut client = Client::connect(self.admin);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.admin).as_bytes());
        let answer = client.read_to_end();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// A new connection, upgraded.
    pub(crate) fn open(&self) -> Client {
        let mut client = Client::connect(self.address);
        client.upgrade();
        client
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that blocks, though not for ever.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Sends bytes; a peer that has closed already is no failure of the client's.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    pub(crate) fn request_upgrade(&mut self) {
        self.send(REQUEST);
    }

    pub(crate) fn upgrade(&mut self) {
        self.request_upgrade();
        let head = self.read_head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    }

    pub(crate) fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    /// A head, or as much of one as comes.
    pub(crate) fn read_to_head_or_end(&mut self) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && self.0.read_exact(&mut byte).is_ok() {
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    /// Sends a masked frame whose first byte is `first`.
    pub(crate) fn send_frame(&mut self, first: u8, payload: &[u8]) {
        let length = u16::try_from(payload.len()).unwrap();
        let mut frame = vec![first];
        match u8::try_from(length) {
            Ok(short @ 0..=125) => frame.push(0x80 | short),
            _ => {
                frame.push(0x80 | 126);
                frame.extend(length.to_be_bytes());
            }
        }
        // A mask of zeros changes nothing, and is one.
        frame.extend([0; 4]);
        frame.extend(payload);
        self.send(&frame);
    }

    /// Reads one frame of less than 64 KiB.
    pub(crate) fn read_frame(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 2];
        self.0.read_exact(&mut header).unwrap();
        let length = match header[1] {
            126 => {
                let mut length = [0; 2];
                self.0.read_exact(&mut length).unwrap();
                u16::from_be_bytes(length)
            }
            short => u16::from(short),
        };
        let mut payload = vec![0; usize::from(length)];
        self.0.read_exact(&mut payload).unwrap();
        (header[0], payload)
    }

    /// Sends a message and gets it back.
    pub(crate) fn echo(&mut self, payload: &[u8]) {
        self.send_frame(0x82, payload);
        assert_eq!(self.read_frame(), (0x82, payload.to_vec()));
    }

    /// Reads the Close, which must be the next frame: its code.
    pub(crate) fn read_close(&mut self) -> u16 {
        let (first, payload) = self.read_frame();
        assert_eq!(first, 0x88, "{payload:?}");
        u16::from_be_bytes([payload[0], payload[1]])
    }

    /// Closes well: the other side has nothing left of it when this returns.
    pub(crate) fn close(mut self) {
        self.send_frame(0x88, &1000_u16.to_be_bytes());
        self.read_close();
        self.read_to_end();
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.0);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Whatever still comes.
    pub(crate) fn read_to_end(&mut self) -> String {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
        }
        String::from_utf8(bytes).unwrap()
    }
}

/// Waits until `is_so`.
pub(crate) fn eventually(is_so: impl FnMut() -> bool, complaint: impl Fn() -> String) {
    eventually_within(PATIENCE, is_so, complaint);
}

/// Waits until `is_so`, at most as long as this.
pub(crate) fn eventually_within(
    patience: Duration,
    mut is_so: impl FnMut() -> bool,
    complaint: impl Fn() -> String,
) {
    let until = Instant::now() + patience;
    while !is_so() {
        assert!(Instant::now() < until, "{}", complaint());
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: gate.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
