//! What waits to be written to one socket: whole frames, bounded, counted against the budget of all connections.
//!
//! While output flows nothing is held: a poll's frames leave by one write from the worker's buffer. Only what a blocked
//! socket did not take is kept here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use drawgate_protocol::frame::frame_bytes;
use drawgate_protocol::{MaskKey, OpCode, SendError, Sender};
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::AsyncWrite;
use tokio::sync::Notify;

use crate::clock::Moment;

/// The bytes that wait in all connections together, and the most that may.
#[derive(Debug)]
pub(crate) struct Budget {
    /// The metric itself, so that whoever reads it reads what is so.
    used: Gauge,
    bytes_max: usize,
    /// There is too little memory for anything more to wait, whatever the budget says.
    is_pressed: AtomicBool,
    /// Told when the budget is exceeded.
    pub(crate) exceeded: Notify,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize, used: Gauge) -> Self {
        Self { used, bytes_max, is_pressed: AtomicBool::new(false), exceeded: Notify::new() }
    }

    /// Whether whoever is blocked is to bring nothing more.
    pub(crate) fn press(&self, is_pressed: bool) {
        self.is_pressed.store(is_pressed, Ordering::Relaxed);
    }

    /// How much one read may bring.
    #[inline]
    pub(super) fn read_bytes_max(&self) -> usize {
        if self.is_pressed.load(Ordering::Relaxed) { PRESSED_READ_BYTES } else { super::worker::READ_BYTES }
    }

    fn is_tight(&self) -> bool {
        self.excess() > 0 || self.is_pressed.load(Ordering::Relaxed)
    }

    /// How many bytes wait in all.
    pub(crate) fn used(&self) -> usize {
        usize::try_from(self.used.get()).unwrap_or(0)
    }

    /// How many bytes are too many.
    pub(crate) fn excess(&self) -> usize {
        self.used().saturating_sub(self.bytes_max)
    }

    pub(super) fn charge(&self, before: usize, after: usize) {
        if after > before {
            self.used.inc_by(gauged(after - before));
            if self.excess() > 0 {
                self.exceeded.notify_one();
            }
        } else if before > after {
            self.used.dec_by(gauged(before - after));
        }
    }
}

/// The output of one connection.
#[derive(Debug)]
pub(super) struct Output {
    /// Nothing while output flows, so that an idle connection holds none of it.
    waiting: Option<Box<Waiting>>,
    budget: Arc<Budget>,
}

/// What the socket has not taken.
#[derive(Debug, Default)]
struct Waiting {
    /// Whole frames, behind what has been written of them.
    pending: Vec<u8>,
    /// How much of `pending` has been written.
    written_bytes: usize,
    /// How many bytes at the front belong to a frame that has been begun: they must go out before anything else.
    begun_bytes: usize,
    /// Where a pong lies that has not been begun, in `pending`.
    pong: Option<(usize, usize)>,
    /// When the socket last took something, if it is blocked.
    blocked_since: Option<Moment>,
    /// How much of it the budget counts.
    charged_bytes: usize,
}

impl Output {
    pub(super) const fn new(budget: Arc<Budget>) -> Self {
        Self { waiting: None, budget }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.len())
    }

    /// Since when the socket has taken nothing, if it is blocked.
    pub(super) fn blocked_since(&self) -> Option<Moment> {
        self.waiting.as_ref()?.blocked_since
    }

    /// Whether `more` bytes beside those that wait would be too many: the matching input then stops.
    ///
    /// `message_bytes` is how much of the message that is still being sent is out or waits. A message that has begun may
    /// come to its end, though it is larger than the bound: a peer that sends it whole before it reads would otherwise
    /// wait for us, and we for it.
    #[inline]
    pub(super) fn is_full(&self, more: usize, message_bytes: usize) -> bool {
        self.len() + more >= FULL_BYTES.max(message_bytes.saturating_add(super::worker::READ_BYTES))
            || (self.blocked_since().is_some() && self.budget.is_tight())
    }

    /// Where frames go that do not belong to the poll's own output: notices, pings, Close.
    pub(super) fn frames(&mut self) -> &mut Vec<u8> {
        let waiting = self.waiting.get_or_insert_default();
        if !waiting.pending.is_empty() {
            waiting.make_room(FRAME_BYTES);
        }
        &mut waiting.pending
    }

    /// Queues a pong behind what waits. While the socket is blocked it takes the place of one that has not been begun
    /// (RFC 6455 §5.5.3), so that pings cannot make the output grow.
    pub(super) fn pong(
        &mut self,
        sender: &mut Sender,
        payload: &[u8],
        key: Option<MaskKey>,
    ) -> Result<(), SendError> {
        let waiting = self.waiting.get_or_insert_default();
        if let Some((start, bytes)) = waiting.pong.take() {
            waiting.pending.drain(start..start + bytes);
        }
        let start = waiting.pending.len();
        // One takes the place of another: no more than that is needed.
        waiting.pending.reserve_exact(payload.len() + HEADER_BYTES_MAX);
        sender.pong(&mut waiting.pending, payload, key)?;
        waiting.pong = Some((start, waiting.pending.len() - start));
        Ok(())
    }

    /// Gives up every frame that has not been begun, so that a Close can be the next; one that waits already is kept.
    /// Whether that leaves the peer within a message, whose end has been given up.
    pub(super) fn discard_unbegun(&mut self) -> bool {
        let Some(waiting) = &mut self.waiting else { return false };
        let cuts_message = waiting.discard_unbegun();
        waiting.settle(&self.budget);
        cuts_message
    }

    /// Writes what waits and then `fresh`; what the socket does not take is kept.
    ///
    /// Ready when everything has gone.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut S,
        cx: &mut Context<'_>,
        fresh: &mut Vec<u8>,
        now: Moment,
    ) -> Poll<io::Result<()>> {
        let bytes: &[u8] = match &mut self.waiting {
            Some(waiting) if !waiting.is_empty() => {
                waiting.append(fresh);
                &waiting.pending[waiting.written_bytes..]
            }
            Some(_) | None => fresh,
        };
        let mut written = 0;
        let result = loop {
            if written == bytes.len() {
                break Poll::Ready(Ok(()));
            }
            match Pin::new(&mut *socket).poll_write(cx, &bytes[written..]) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        if written == bytes.len() {
            fresh.clear();
            return match result {
                // A transport that encrypts may keep what it has taken.
                Poll::Ready(Ok(())) => self.poll_flush(socket, cx, written > 0, now),
                result => {
                    self.forget();
                    result
                }
            };
        }
        let waiting = self.waiting.get_or_insert_default();
        waiting.advance(fresh, written);
        waiting.blocked_since = match (result.is_pending(), waiting.blocked_since) {
            (false, _) => None,
            (true, Some(since)) if written == 0 => Some(since),
            (true, _) => Some(now),
        };
        waiting.settle(&self.budget);
        result
    }

    /// Everything has been handed to the transport, which may keep some of it while the socket is blocked. What it keeps
    /// is at most a record, and is not counted.
    fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut S,
        cx: &mut Context<'_>,
        has_progressed: bool,
        now: Moment,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(socket).poll_flush(cx);
        let since = self.blocked_since().filter(|_| !has_progressed);
        self.forget();
        if polled.is_pending() {
            self.waiting =
                Some(Box::new(Waiting { blocked_since: since.or(Some(now)), ..Waiting::default() }));
        }
        polled
    }

    /// Everything has gone, or is given up.
    pub(super) fn forget(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.budget.charge(waiting.charged_bytes, 0);
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.pending.len() - self.written_bytes
    }

    /// Adds what came behind it.
    fn append(&mut self, fresh: &mut Vec<u8>) {
        self.make_room(fresh.len());
        self.pending.append(fresh);
    }

    /// Grows by an eighth, since to move all for each small frame, or each piece of a large message, would cost its square; and no more,
    /// since twice of what thousands hold is a lot.
    fn make_room(&mut self, bytes: usize) {
        if self.pending.capacity() - self.pending.len() < bytes {
            // As much as most hold grows by less.
            let is_common = self.pending.len() < OUTPUT_BYTES_MAX;
            let step_max = if is_common { GROWTH_BYTES_MAX } else { usize::MAX };
            self.pending.reserve_exact(bytes.max((self.pending.len() / 8).min(step_max)));
        }
    }

    /// Takes `written` bytes off the front, where that is not all; where nothing waited yet, `fresh` is what does.
    fn advance(&mut self, fresh: &mut Vec<u8>, written: usize) {
        let is_fresh = self.is_empty();
        let bytes: &[u8] = if is_fresh { fresh } else { &self.pending[self.written_bytes..] };
        let mut boundary = if is_fresh { 0 } else { self.begun_bytes };
        while boundary < written {
            // What waits is whole frames of our own; a frame that cannot be measured would end with everything.
            boundary += frame_bytes(&bytes[boundary..]).unwrap_or(bytes.len() - boundary);
        }
        self.begun_bytes = boundary - written;
        if is_fresh {
            (self.pending, self.written_bytes) = (fresh[written..].to_vec(), 0);
            fresh.clear();
            return;
        }
        self.written_bytes += written;
        self.pong = self.pong.filter(|(start, _)| *start >= self.written_bytes + self.begun_bytes);
        // Moving the rest to the front each time would cost its square.
        if self.written_bytes > self.pending.len() / 2 {
            self.compact();
            // What is counted is what waits: no more than about twice of that is held.
            self.pending.shrink_to(self.pending.len());
        }
    }

    fn discard_unbegun(&mut self) -> bool {
        let unbegun = self.pending.split_off(self.written_bytes + self.begun_bytes);
        let (mut cuts_message, mut rest) = (None, &unbegun[..]);
        while let Some((frame, behind)) = frame_bytes(rest).and_then(|bytes| rest.split_at_checked(bytes)) {
            match frame.first().and_then(|first| OpCode::from_bits(first & OPCODE_BITS)) {
                Some(OpCode::Continuation) => _ = cuts_message.get_or_insert(true),
                Some(OpCode::Text | OpCode::Binary) => _ = cuts_message.get_or_insert(false),
                Some(OpCode::Close) => self.pending.extend_from_slice(frame),
                Some(OpCode::Ping | OpCode::Pong) | None => {}
            }
            rest = behind;
        }
        self.compact();
        self.pending.shrink_to_fit();
        self.pong = None;
        cuts_message.unwrap_or(false)
    }

    /// Gives up the space of what has been written.
    fn compact(&mut self) {
        self.pending.drain(..self.written_bytes);
        self.pong =
            self.pong.and_then(|(start, bytes)| Some((start.checked_sub(self.written_bytes)?, bytes)));
        self.written_bytes = 0;
    }

    /// Keeps the budget's count of this connection true.
    fn settle(&mut self, budget: &Budget) {
        let bytes = if self.blocked_since.is_some() { self.len() } else { 0 };
        budget.charge(self.charged_bytes, bytes);
        self.charged_bytes = bytes;
    }
}

/// How much one read brings while there is too little memory: of thousands that have yet to be blocked each may hold as much.
const PRESSED_READ_BYTES: usize = 4 * 1024;

/// By how much more than is needed output that waits grows, up to [`OUTPUT_BYTES_MAX`].
const GROWTH_BYTES_MAX: usize = 16 * 1024;
/// Of a frame (RFC 6455 §5.2).
const HEADER_BYTES_MAX: usize = 14;
/// Room for what is written between messages.
const FRAME_BYTES: usize = 512;

/// Sizes of vectors, which are never larger.
fn gauged(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Ready once everything has gone and, where it `shuts`, the writing side is closed.
pub(super) fn poll_finish<S: AsyncWrite + Unpin>(
    output: &mut Output,
    socket: &mut S,
    shuts: bool,
    cx: &mut Context<'_>,
    now: Moment,
) -> Poll<io::Result<()>> {
    ready!(output.poll_write(socket, cx, &mut Vec::new(), now))?;
    if shuts { Pin::new(socket).poll_shutdown(cx) } else { Poll::Ready(Ok(())) }
}

/// Where the opcode stands in a frame's first byte (RFC 6455 §5.2).
const OPCODE_BITS: u8 = 0x0F;

/// The most bytes that may wait in one connection, beside a single message that is larger.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// From here on nothing is read: what one read can still add stays within [`OUTPUT_BYTES_MAX`].
const FULL_BYTES: usize = OUTPUT_BYTES_MAX - super::worker::READ_BYTES - 8 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use drawgate_protocol::{MessageKind, Role};
    use tokio::io::{AsyncReadExt as _, DuplexStream};

    use super::*;

    async fn write(output: &mut Output, socket: &mut DuplexStream, fresh: &mut Vec<u8>, now: Moment) -> bool {
        std::future::poll_fn(|cx| Poll::Ready(output.poll_write(socket, cx, fresh, now).is_ready())).await
    }

    fn binary(bytes: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        let mut sender = Sender::new(Role::Server);
        sender.data(&mut frame, MessageKind::Binary, true, &[&vec![7; bytes]], None).unwrap();
        frame
    }

    #[tokio::test(start_paused = true)]
    async fn a_blocked_socket_leaves_the_rest_pending_and_counted() {
        let budget = Arc::new(Budget::new(100, Gauge::default()));
        let mut output = Output::new(Arc::clone(&budget));
        let (mut ours, mut theirs) = tokio::io::duplex(64);
        let now = Moment::EPOCH;
        let mut fresh = [binary(40), binary(100)].concat();
        assert!(!write(&mut output, &mut ours, &mut fresh, now).await);
        assert_eq!((output.len(), budget.used()), (144 - 64, 80));
        assert_eq!(output.blocked_since(), Some(now));
        assert!(fresh.is_empty());

        let later = now + Duration::from_secs(1);
        assert!(!write(&mut output, &mut ours, &mut Vec::new(), later).await);
        assert_eq!(output.blocked_since(), Some(now), "no progress has been made since");

        let mut read = [0; 64];
        theirs.read_exact(&mut read).await.unwrap();
        assert!(!write(&mut output, &mut ours, &mut Vec::new(), later).await);
        assert_eq!(output.blocked_since(), Some(later));
        theirs.read_exact(&mut read).await.unwrap();
        assert!(write(&mut output, &mut ours, &mut Vec::new(), later).await);
        assert!(output.waiting.is_none());
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn r06_a_large_message_that_waits_is_not_moved_for_each_piece_of_it() {
        let mut waiting = Waiting::default();
        let (mut moves, mut capacity) = (0, 0);
        for _ in 0..1024 {
            waiting.append(&mut vec![0; 16 * 1024]);
            moves += u32::from(waiting.pending.capacity() != capacity);
            capacity = waiting.pending.capacity();
        }
        assert!(moves < 64, "{moves} times for 16 MiB");
        assert!(capacity - waiting.pending.len() <= waiting.pending.len() / 8, "{capacity} bytes");
    }

    #[tokio::test(start_paused = true)]
    async fn f15_a_new_pong_replaces_the_unsent_one_while_output_is_blocked() {
        let mut output = Output::new(Arc::new(Budget::new(1000, Gauge::default())));
        let mut sender = Sender::new(Role::Server);
        let (mut ours, mut theirs) = tokio::io::duplex(10);
        let now = Moment::EPOCH;
        assert!(!write(&mut output, &mut ours, &mut binary(20), now).await);
        for payload in ["one", "two, longer", "three"] {
            output.pong(&mut sender, payload.as_bytes(), None).unwrap();
        }
        assert_eq!(output.len(), 12 + 7);
        let mut sent = Vec::new();
        while !write(&mut output, &mut ours, &mut Vec::new(), now).await {
            let mut byte = [0];
            theirs.read_exact(&mut byte).await.unwrap();
            sent.push(byte[0]);
        }
        drop(ours);
        theirs.read_to_end(&mut sent).await.unwrap();
        assert_eq!(sent, [binary(20), b"\x8a\x05three".to_vec()].concat());
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_not_been_begun_can_be_given_up_for_a_close() {
        let budget = Arc::new(Budget::new(1000, Gauge::default()));
        let mut output = Output::new(Arc::clone(&budget));
        let (mut ours, mut theirs) = tokio::io::duplex(30);
        let now = Moment::EPOCH;
        let mut fresh = [binary(20), binary(20), binary(20)].concat();
        assert!(!write(&mut output, &mut ours, &mut fresh, now).await);
        assert!(!output.discard_unbegun(), "whole messages are given up");
        assert_eq!(output.len(), 44 - 30, "the second frame has been begun, the third has not");
        assert_eq!(budget.used(), 14);
        let mut close = Vec::new();
        Sender::new(Role::Server).close(&mut close, None, None).unwrap();
        output.frames().extend_from_slice(&close);
        let mut read = [0; 30];
        theirs.read_exact(&mut read).await.unwrap();
        assert!(write(&mut output, &mut ours, &mut Vec::new(), now).await);
        drop(ours);
        let mut rest = Vec::new();
        theirs.read_to_end(&mut rest).await.unwrap();
        assert_eq!([&read[..], &rest].concat(), [binary(20), binary(20), close].concat());
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_is_cut_is_said_to_be_and_a_close_that_waits_is_kept() {
        let mut output = Output::new(Arc::new(Budget::new(1000, Gauge::default())));
        let mut sender = Sender::new(Role::Server);
        let (mut ours, _theirs) = tokio::io::duplex(5);
        let mut fresh = Vec::new();
        sender.data(&mut fresh, MessageKind::Text, false, &[b"begun"], None).unwrap();
        sender.data(&mut fresh, MessageKind::Text, true, &[b"not begun"], None).unwrap();
        sender.close(&mut fresh, None, None).unwrap();
        assert!(!write(&mut output, &mut ours, &mut fresh, Moment::EPOCH).await);
        for _ in 0..2 {
            output.discard_unbegun();
            let waiting = output.waiting.as_ref().unwrap();
            assert_eq!(waiting.pending[waiting.written_bytes..], *b"un\x88\x00");
        }

        let mut output = Output::new(Arc::new(Budget::new(1000, Gauge::default())));
        let mut fresh = b"\x01\x05begun\x80\x01x".to_vec();
        let (mut ours, _theirs) = tokio::io::duplex(5);
        assert!(!write(&mut output, &mut ours, &mut fresh, Moment::EPOCH).await);
        assert!(output.discard_unbegun());
    }
}
