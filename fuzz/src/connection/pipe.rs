//! The socket that the gateway gets and the client that holds its other end: no kernel, and every fault at a call.
//!
//! Reads and writes take at most so many bytes, now and then none though there are some; the client's window can close,
//! and its side can end well or by a reset. The gateway's end also holds the gateway to good manners.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The gateway's end.
#[derive(Debug)]
pub(crate) struct Pipe(Arc<Mutex<State>>);

/// The client's end.
#[derive(Clone, Debug)]
pub(crate) struct Client(Arc<Mutex<State>>);

/// Both ends of a new connection.
pub(crate) fn pipe() -> (Pipe, Client) {
    let state = Arc::new(Mutex::new(State::default()));
    (Pipe(Arc::clone(&state)), Client(state))
}

/// What the two ends share.
#[derive(Debug)]
pub(crate) struct State {
    inbound: VecDeque<u8>,
    /// All that the client has sent; what it holds back is not sent.
    pub(crate) sent: Vec<u8>,
    held_back: Vec<u8>,
    hold_back_bytes: usize,
    /// All that the gateway has written.
    pub(crate) written: Vec<u8>,
    /// How much the client had sent when the gateway first tried to write what it wrote last.
    pub(crate) sent_bytes_at_write: usize,
    /// The same for what it has tried to write and could not.
    sent_bytes_at_refusal: Option<usize>,
    window_bytes: usize,
    read_bytes_max: usize,
    write_bytes_max: usize,
    /// Every so many calls find nothing to do, and are told to come again; 0 for none.
    hiccup_every: u32,
    /// Since they were cut last; counted each for itself: in turns with each other they might never find anything.
    reads: u32,
    writes: u32,
    calls_in_a_row: u32,
    /// Whether the client always took what there was, at once.
    pub(crate) is_smooth: bool,
    pub(crate) is_finished: bool,
    pub(crate) is_reset: bool,
    /// The gateway has closed its writing side.
    pub(crate) is_shut: bool,
    is_dropped: bool,
    /// What the gateway did that it must not. It survives panics, so to panic here would tell nobody.
    pub(crate) complaint: Option<&'static str>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            inbound: VecDeque::new(),
            sent: Vec::new(),
            held_back: Vec::new(),
            hold_back_bytes: 0,
            written: Vec::new(),
            sent_bytes_at_write: 0,
            sent_bytes_at_refusal: None,
            window_bytes: usize::MAX,
            read_bytes_max: usize::MAX,
            write_bytes_max: usize::MAX,
            hiccup_every: 0,
            reads: 0,
            writes: 0,
            calls_in_a_row: 0,
            is_smooth: true,
            is_finished: false,
            is_reset: false,
            is_shut: false,
            is_dropped: false,
            complaint: None,
            reader: None,
            writer: None,
        }
    }
}

impl State {
    /// Whether the `number`th read or write is to find nothing though there is something.
    fn hiccups(&mut self, number: u32, cx: &Context<'_>) -> bool {
        self.calls_in_a_row += 1;
        if self.calls_in_a_row > CALLS_IN_A_ROW_MAX {
            self.complaint = Some("the gateway spins");
            self.is_reset = true;
        }
        let hiccups = self.hiccup_every > 0 && number.is_multiple_of(self.hiccup_every);
        if hiccups {
            cx.waker().wake_by_ref();
        }
        hiccups
    }

    /// Whether both ends are there, and the client takes all that comes.
    pub(crate) const fn is_open(&self) -> bool {
        self.window_bytes == usize::MAX && !self.is_reset && !self.is_dropped
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

impl Client {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends `bytes`, behind what was held back; but what is to be held back now.
    pub(crate) fn send(&self, bytes: &[u8]) {
        let mut state = self.state();
        if state.is_finished || state.is_reset || state.sent.len() + bytes.len() > SENT_BYTES_MAX {
            return;
        }
        let mut bytes = [&std::mem::take(&mut state.held_back), bytes].concat();
        let hold_back_bytes = std::mem::take(&mut state.hold_back_bytes);
        state.held_back = bytes.split_off(bytes.len().saturating_sub(hold_back_bytes));
        state.sent.extend_from_slice(&bytes);
        state.inbound.extend(bytes);
        state.wake();
    }

    /// Holds back the last `bytes` of what is sent next.
    pub(crate) fn hold_back(&self, bytes: usize) {
        self.state().hold_back_bytes = bytes;
    }

    /// Takes at most `bytes` more.
    pub(crate) fn set_window(&self, bytes: usize) {
        let mut state = self.state();
        state.window_bytes = bytes;
        if bytes < usize::MAX {
            state.is_smooth = false;
        }
        state.wake();
    }

    /// Lets each read and write have at most so many bytes, the first [`PIECES_MAX`] of them, and each `hiccup_every`th none.
    pub(crate) fn cut(&self, read_bytes_max: usize, write_bytes_max: usize, hiccup_every: u32) {
        let mut state = self.state();
        (state.read_bytes_max, state.write_bytes_max) = (read_bytes_max.max(1), write_bytes_max.max(1));
        (state.reads, state.writes) = (0, 0);
        // To find nothing each time would be to spin.
        state.hiccup_every = if hiccup_every == 1 { 2 } else { hiccup_every };
        if hiccup_every > 0 {
            state.is_smooth = false;
        }
    }

    /// Has nothing more to send.
    pub(crate) fn finish(&self) {
        let mut state = self.state();
        state.is_finished = true;
        state.wake();
    }

    /// Is gone: what has not been read is lost.
    pub(crate) fn reset(&self) {
        let mut state = self.state();
        (state.is_reset, state.is_smooth) = (true, false);
        state.inbound.clear();
        state.wake();
    }

    /// The gateway has something new to react to.
    pub(crate) fn forgive_calls(&self) {
        self.state().calls_in_a_row = 0;
    }

    /// The gateway has let go of its end.
    pub(crate) fn is_dropped(&self) -> bool {
        self.state().is_dropped
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.remaining() == 0 {
            state.complaint = Some("a read of nothing, which looks like the end");
        }
        if state.is_reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if state.inbound.is_empty() && !state.is_finished {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.reads = state.reads.wrapping_add(1);
        let number = state.reads;
        if state.hiccups(number, cx) {
            return Poll::Pending;
        }
        let piece_bytes_max = if number < PIECES_MAX { state.read_bytes_max } else { usize::MAX };
        let count = state.inbound.len().min(piece_bytes_max).min(buffer.remaining());
        let (front, back) = state.inbound.as_slices();
        let (front, back) = (&front[..front.len().min(count)], &back[..count.saturating_sub(front.len())]);
        buffer.put_slice(front);
        buffer.put_slice(back);
        state.inbound.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_shut {
            state.complaint = Some("a write after the end");
        }
        if state.is_reset {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let piece_bytes_max = if state.writes < PIECES_MAX { state.write_bytes_max } else { usize::MAX };
        let count = bytes.len().min(piece_bytes_max).min(state.window_bytes);
        let sent_bytes = state.sent_bytes_at_refusal.unwrap_or(state.sent.len());
        // What is left has been made by now, and does not answer what comes before it goes.
        state.sent_bytes_at_refusal = Some(sent_bytes).filter(|_| count < bytes.len());
        if count == 0 && !bytes.is_empty() {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.writes = state.writes.wrapping_add(1);
        let number = state.writes;
        if state.hiccups(number, cx) {
            return Poll::Pending;
        }
        state.written.extend_from_slice(&bytes[..count]);
        state.sent_bytes_at_write = sent_bytes;
        if state.window_bytes < usize::MAX {
            state.window_bytes -= count;
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_reset {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        }
        state.is_shut = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_dropped = true;
    }
}

/// The most that one client sends: what more finds, less does too, and sooner.
const SENT_BYTES_MAX: usize = 400 * 1024;

/// How many reads and writes come in pieces: enough for every state to meet every cut, and no 400 KiB byte by byte.
const PIECES_MAX: u32 = 2000;

/// More than it takes to move all, with the answers.
const CALLS_IN_A_ROW_MAX: u32 = 50_000;
