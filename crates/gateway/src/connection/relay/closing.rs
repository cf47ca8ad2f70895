//! How a relay closes: the notice and our Close, the drain, output that is given up, the transport's last moments.

use std::any::Any;
use std::io;
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use drawgate_protocol::{CloseCode, CloseFrame, MessageKind};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{Application, Phase, Relay, Turn};
use crate::clock::Moment;
use crate::connection::Ending;
use crate::connection::worker;
use crate::observe::{Direction, FrameKind, TrafficDelta};
use crate::reason::Reason;
use crate::route::Notice;
use crate::tls::Wire;

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Relay<S> {
    /// Queues the notice and our Close behind what this turn has produced.
    pub(super) fn close(&mut self, ending: Ending, turn: &mut Turn<'_>) {
        self.queue_close(ending, self.terms.notice, turn.fresh, turn.now);
    }

    /// Queues the notice and our Close behind what waits, between turns.
    pub(super) fn close_from_outside(&mut self, ending: Ending, now: Moment) {
        self.close_with_notice(ending, self.terms.notice, now);
    }

    pub(super) fn close_with_notice(&mut self, ending: Ending, notice: Notice, now: Moment) {
        let mut frames = mem::take(self.output.frames());
        self.queue_close(ending, notice, &mut frames, now);
        *self.output.frames() = frames;
    }

    pub(super) fn queue_close(&mut self, ending: Ending, notice: Notice, frames: &mut Vec<u8>, now: Moment) {
        if self.sender.is_closed() {
            return;
        }
        let row = ending.reason.row();
        let notice = match notice {
            Notice::Close => None,
            Notice::Json => {
                let seconds = row.retry_after_seconds(self.facilities.chance.bits());
                let own = || ending.reason.notice_json_after(seconds);
                Some(ending.notice.as_deref().map_or_else(own, str::to_owned))
            }
            Notice::Text => Some(row.title.to_owned()),
        };
        // A notice inside somebody's message would be taken for a part of it.
        if let Some(notice) = notice
            && row.close.is_some()
            && !self.sender.is_within_message()
            && self.sender.data(frames, MessageKind::Text, true, &[notice.as_bytes()], None).is_ok()
        {
            self.terms.metrics.add(&TrafficDelta::whole(Direction::Out, FrameKind::Text, notice.len()));
        }
        self.queue_close_frame(Self::close_frame_of(&ending), frames, now);
        self.ending.get_or_insert_with(|| Box::new(ending));
    }

    pub(super) fn close_frame_of(ending: &Ending) -> Option<CloseFrame<'static>> {
        let row = ending.reason.row();
        row.close.map(|code| CloseFrame { code, reason: row.close_reason })
    }

    pub(super) fn queue_close_frame(
        &mut self,
        close: Option<CloseFrame<'_>>,
        frames: &mut Vec<u8>,
        now: Moment,
    ) {
        let bytes = close.map_or(0, |close| close.reason.len() + 2);
        if self.sender.close(frames, close, None).is_ok() {
            self.terms.metrics.add(&TrafficDelta::whole(Direction::Out, FrameKind::Close, bytes));
        }
        self.message_since = None;
        self.phase = Phase::Closing { until: self.close_until(now) };
    }

    pub(super) fn close_for_application(&mut self, code: CloseCode, reason: &str, now: Moment) {
        let mut frames = mem::take(self.output.frames());
        self.queue_close_frame(Some(CloseFrame { code, reason }), &mut frames, now);
        *self.output.frames() = frames;
        self.ending.get_or_insert_with(|| Box::new(Ending::by_application(code)));
    }

    /// While draining: closes once everything that has come is answered. Whether it did.
    pub(super) fn drain(&mut self, now: Moment) -> bool {
        let is_answered = match &self.application {
            Application::Unauthenticated(_) | Application::Echo(_) => true,
            Application::Handler(handling) => handling.is_idle(),
            Application::Upstream(far) => far.is_idle() && !self.remainder_is_fresh,
        };
        // What has come may stand still until there is room for it.
        let is_answered = is_answered && !self.waits_for_room();
        if !self.draining || self.phase != Phase::Open || !self.output.is_empty() || !is_answered {
            return false;
        }
        if !self.leave_for_drain(now) {
            self.close_from_outside(self.drained(), now);
        }
        true
    }

    /// Why it drains.
    pub(super) fn drained(&self) -> Ending {
        Ending::by_operator(if self.terms.is_retired() {
            Reason::RouteChanged
        } else if self.application.is_drained() {
            Reason::UpstreamDraining
        } else {
            Reason::Draining
        })
    }

    /// Closes a connection whose output is stuck: what has not been begun is given up, so that a Close can be next.
    pub(super) fn give_up_output(&mut self, ending: Ending, now: Moment) {
        if self.sender.is_closed() {
            // It has been told, and does not even take that.
            self.ending = self.ending.take().map(|ending| Box::new(ending.unanswered()));
            self.phase = Phase::Done;
            return;
        }
        // A notice behind half a message would be taken for a part of it.
        let cuts_message = self.output.discard_unbegun();
        let notice = if cuts_message { Notice::Close } else { self.terms.notice };
        self.close_with_notice(ending, notice, now);
    }

    /// The peer's side has ended without a Close.
    pub(super) fn input_ended(&mut self, now: Moment) {
        self.ending.get_or_insert_with(|| Box::new(Ending::lost()));
        // A peer that has only closed its own side still gets what it asked for before; one that is gone answers our
        // next write with a reset.
        let until = self.close_until(now);
        self.phase = Phase::Finishing { until };
    }

    pub(super) fn fail(&mut self, error: &io::Error) {
        self.ending.get_or_insert_with(|| Box::new(Ending::reset(error)));
        self.phase = Phase::Done;
    }

    pub(super) fn close_until(&self, now: Moment) -> Moment {
        now + self.terms.limits.close_timeout.min(CLOSE_TIME_MAX)
    }

    /// Whether the transport may be dropped as soon as all has gone, since whoever drops a TCP socket ends it as well.
    ///
    /// Bytes that have not been read, or still come, reset the connection under our Close. Behind a peer's no data comes (RFC 6455 §5.5.1),
    /// but the answer to a ping may (§5.5.2), and peers are what they are: nothing may be known to come, and nothing lie there. Nor may
    /// there be anything of the application's end left to wait for.
    pub(super) fn needs_no_end(&self) -> bool {
        let is_through = self.is_through && !self.awaits_pong && !self.has_far();
        is_through && tcp_of(&self.socket).is_some_and(has_nothing_unread)
    }

    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        worker::lend(|worker| {
            let mut buffer = ReadBuf::new(&mut worker.input[..DISCARD_BYTES]);
            Pin::new(&mut self.socket).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
        })
    }
}

/// What is written next is the last, and the end of our side follows at once: both then leave in one segment, which costs us
/// and the peer half of two.
///
/// Nothing but a hint: where it cannot be given they leave as two, and whatever ends the socket sends what is held.
#[cfg(target_os = "linux")]
pub(super) fn gather_last<S: Any>(socket: &S) {
    if let Some(socket) = tcp_of(socket) {
        let _ = SockRef::from(socket).set_tcp_cork(true);
    }
}

/// Other systems send two.
#[cfg(not(target_os = "linux"))]
pub(super) fn gather_last<S>(_: &S) {}

/// The socket itself, where it is plain TCP.
fn tcp_of<S: Any>(socket: &S) -> Option<&TcpStream> {
    match (socket as &dyn Any).downcast_ref::<Wire<TcpStream>>()? {
        Wire::Plain(socket) => Some(socket),
        Wire::Tls(_) => None,
    }
}

/// Whether nothing lies in the kernel that has come over `socket`; asked there, since the runtime knows of it only after its next turn.
fn has_nothing_unread(socket: &TcpStream) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    match SockRef::from(socket).recv(&mut byte) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// However long a route lets a peer take to answer our Close.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(3600);

const DISCARD_BYTES: usize = 16 * 1024;

/// How long a peer that has nothing more to say may take to close its side of the transport: a slow path's round trip.
pub(super) const LINGER_TIME_MAX: Duration = Duration::from_millis(500);

/// How much it may still send meanwhile.
pub(super) const LINGER_BYTES_MAX: u32 = 64 * 1024;
