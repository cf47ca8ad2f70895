//! The closed loop: each connection sends a batch by one write, waits until all of it has come back, and sends the next.
//!
//! One thread on one epoll. What the server spent meanwhile is read from the kernel's accounts.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use crate::client::{self, Batch, Counter};
use crate::sealed::Sealer;
use crate::server::{Kind, Server};

/// What one run came to.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The server's CPU time for one message, in nanoseconds.
    pub cpu_ns: f64,
    /// How many messages went each way in a second.
    pub messages_per_second: f64,
}

/// Connections to one server.
#[derive(Debug)]
pub struct Load<'b> {
    connections: Vec<Connection>,
    batch: &'b Batch,
    poll: OwnedFd,
    messages: u64,
}

#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    counter: Counter,
    /// How much of the batch is out.
    written: usize,
    /// How many messages will have come back when the batch has.
    due: u64,
    /// Where each message is sealed for itself: what seals it, and the frame of the last.
    sealed: Option<(Sealer, Vec<u8>)>,
}

impl Connection {
    /// What goes out.
    fn bytes<'a>(&'a self, batch: &'a Batch) -> &'a [u8] {
        self.sealed.as_ref().map_or(&batch.bytes, |(_, frame)| frame)
    }
}

impl<'b> Load<'b> {
    /// Opens `connections`, each checked by one echo.
    ///
    /// # Errors
    /// The server does not take them, or does not echo.
    pub fn open(server: &Server, connections: usize, batch: &'b Batch) -> io::Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let websocket = server.kind.speaks_websocket();
        let mut load = Self { connections: Vec::with_capacity(connections), batch, poll, messages: 0 };
        for key in 0..connections {
            let (socket, sealed) = match server.request() {
                Some(request) if server.kind == Kind::DrawgateSealed => {
                    let (socket, mut sealer) = Sealer::connect(server.port, request)?;
                    sealer.check_echo(&socket, &batch.payload)?;
                    (socket, Some((sealer, Vec::new())))
                }
                request => {
                    let socket = client::connect(server.port, request)?;
                    client::check_echo(&socket, batch, websocket)?;
                    (socket, None)
                }
            };
            socket.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(key as u64);
            epoll::add(&load.poll, &socket, data, epoll::EventFlags::IN)?;
            let counter =
                if sealed.is_some() { Counter::of_sealed(batch) } else { Counter::new(websocket, batch) };
            load.connections.push(Connection { socket, counter, written: batch.bytes.len(), due: 0, sealed });
        }
        Ok(load)
    }

    /// Runs for `warm_up` without looking, then for `measured`.
    ///
    /// # Errors
    /// The server ends a connection or answers wrongly.
    pub fn run(mut self, server: &Server, warm_up: Duration, measured: Duration) -> io::Result<Run> {
        let mut buffer = vec![0; 256 * 1024];
        for key in 0..self.connections.len() {
            self.send(key, true)?;
        }
        self.run_until(Instant::now() + warm_up, &mut buffer)?;
        let (messages, cpu_ns, started) = (self.messages, server.cpu_ns()?, Instant::now());
        // A machine that is busy may give the server no time at all for as long as one run.
        let (messages, cpu_ns) = loop {
            self.run_until(Instant::now() + measured, &mut buffer)?;
            let (messages, cpu_ns) = (self.messages - messages, server.cpu_ns()? - cpu_ns);
            if messages > 0 && cpu_ns > 0 {
                break (messages, cpu_ns);
            }
            if started.elapsed() > MEASURED_TIME_MAX {
                let what = format!("{}: {messages} messages in {cpu_ns} ns", server.kind.label());
                return Err(io::Error::other(what));
            }
        };
        Ok(Run {
            cpu_ns: cpu_ns as f64 / messages as f64,
            messages_per_second: messages as f64 / started.elapsed().as_secs_f64(),
        })
    }

    fn run_until(&mut self, deadline: Instant, buffer: &mut [u8]) -> io::Result<()> {
        let mut events = Vec::with_capacity(256);
        let wait = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        while Instant::now() < deadline {
            events.clear();
            epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), Some(&wait))?;
            for event in &events {
                let key = usize::try_from(event.data.u64()).map_err(io::Error::other)?;
                let flags = event.flags;
                if flags.contains(epoll::EventFlags::OUT) {
                    self.send(key, false)?;
                }
                if flags.intersects(!epoll::EventFlags::OUT) {
                    self.receive(key, buffer)?;
                }
            }
        }
        Ok(())
    }

    fn receive(&mut self, key: usize, buffer: &mut [u8]) -> io::Result<()> {
        let connection = &mut self.connections[key];
        let count = match connection.socket.read(buffer) {
            Ok(0) => return Err(io::Error::other("the server ended a connection")),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let before = connection.counter.messages;
        connection.counter.take(&buffer[..count])?;
        self.messages += connection.counter.messages - before;
        let is_out = connection.written == connection.bytes(self.batch).len();
        if connection.counter.messages == connection.due && is_out {
            self.send(key, true)?;
        }
        Ok(())
    }

    /// Begins the next batch, or goes on with the one that did not fit.
    fn send(&mut self, key: usize, is_next: bool) -> io::Result<()> {
        let connection = &mut self.connections[key];
        if is_next {
            connection.written = 0;
            connection.due += u64::from(self.batch.messages);
            if let Some((sealer, frame)) = &mut connection.sealed {
                sealer.seal(&self.batch.payload, frame)?;
            }
        }
        let mut socket = &connection.socket;
        match socket.write(&connection.bytes(self.batch)[connection.written..]) {
            Ok(count) => connection.written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let is_through = connection.written == connection.bytes(self.batch).len();
        if !is_next || !is_through {
            let wanted = if is_through {
                epoll::EventFlags::IN
            } else {
                epoll::EventFlags::IN | epoll::EventFlags::OUT
            };
            let data = epoll::EventData::new_u64(key as u64);
            epoll::modify(&self.poll, &connection.socket, data, wanted)?;
        }
        Ok(())
    }
}

const MEASURED_TIME_MAX: Duration = Duration::from_secs(20);
