//! The data path: one connection from the `101` to its end, as one hand-written future.
//!
//! One turn is one read into the worker's buffer, everything that it holds, and one write of all that came of it. Nothing
//! borrowed survives the poll; an idle connection holds no buffer. Input stops while output is full, and the clocks that
//! judge the client stop with it. Comes after the upgrade; how it ended is told to [`super`], which logs and counts.

use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use drawgate_protocol::{
    Assembler, Chunk, CloseCode, CloseFrame, Event, Limits as MessageLimits, LocalCode, Message, MessageKind,
    Receiver, Role, SendError, Sender, Violation,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::output::{self, Output};
use super::worker::{self, Worker};
use super::{Ending, Facilities, Terms};
use crate::backend::echo::Echoing;
use crate::backend::handler::Handling;
use crate::backend::outbox::Outgoing;
use crate::clock::Instant;
use crate::compression::{COMPRESSED_STEP_BYTES, Compression, Outlet, Refused, Workshop};
use crate::observe::{Direction, FrameKind, Traffic, TrafficDelta};
use crate::pulse::{Pulse, Signal, Signals};
use crate::rate::{Gcra, Rate};
use crate::reason::Reason;
use crate::route::Notice;
use crate::timers::Timer;

/// One upgraded connection.
pub(crate) struct Relay<S> {
    socket: S,
    facilities: Arc<Facilities>,
    terms: Arc<Terms>,
    pulse: Arc<Pulse>,
    application: Application,
    receiver: Receiver,
    sender: Sender,
    compression: Option<Box<Compression>>,
    output: Output,
    /// What was read and not yet used: an incomplete header or control frame, or what came while input stood still.
    remainder: Vec<u8>,
    /// How much at the front of the remainder has been used since.
    remainder_used: usize,
    /// The remainder has not been looked at to its end.
    remainder_is_fresh: bool,
    phase: Phase,
    ending: Option<Box<Ending>>,
    timer: Option<(Instant, Timer)>,
    /// When the client was last heard of.
    heard_at: Instant,
    /// When a ping went out that nothing has answered.
    pinged_at: Option<Instant>,
    /// When the message that is open began.
    message_since: Option<Instant>,
    /// How much of the message that is being sent is out or waits; 0 between messages.
    sending_bytes: usize,
    /// The client's side has ended while the application worked, which may go on until then.
    input_until: Option<Instant>,
    /// Since when input stands still because output is full or the application is busy.
    paused_since: Option<Instant>,
    /// Few clients ping; all of them answer pings.
    pings: Option<Box<Gcra>>,
    pongs: Gcra,
    draining: bool,
    /// What has gone through so far.
    traffic: Traffic,
}

/// Who gets the messages.
#[derive(Debug)]
pub(crate) enum Application {
    /// Nobody yet: the first message is a credential.
    Unauthenticated(Box<Unauthenticated>),
    /// The built-in echo.
    Echo(Echoing),
    /// The application in this process.
    Handler(Box<Handling>),
}

/// A connection that is nobody's yet.
#[derive(Debug)]
pub(crate) struct Unauthenticated {
    pub(crate) until: Instant,
    assembler: Assembler,
    first: Option<Message>,
}

impl Unauthenticated {
    /// One whose first message must have come at `until`.
    pub(crate) const fn new(until: Instant) -> Self {
        Self { until, assembler: Assembler::new(FIRST_MESSAGE_LIMITS), first: None }
    }
}

/// What a relay comes to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The first message of a connection that has yet to authenticate; the relay goes on after
    /// [`Relay::authenticated`] or [`Relay::refuse`].
    FirstMessage(Message),
    /// The connection has ended.
    Ended(Ending),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Messages flow.
    Open,
    /// Our Close is out or queued; the peer's is awaited.
    Closing { until: Instant },
    /// Nothing is read any more; what is queued, our Close last, goes out, then our side of the transport closes.
    Finishing { until: Instant },
    /// The peer's side is awaited, so that bytes it still sends do not reset the connection under our Close.
    Lingering { until: Instant, bytes_left: usize },
    /// Over.
    Done,
}

/// What one turn works with: the worker's buffers, and the time.
struct Turn<'w> {
    fresh: &'w mut Vec<u8>,
    tally: &'w mut TrafficDelta,
    workshop: &'w mut Workshop,
    now: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Relay<S> {
    /// A relay over `socket`, on which `already_read` has come behind the request.
    pub(crate) fn new(
        socket: S,
        facilities: Arc<Facilities>,
        terms: Arc<Terms>,
        pulse: Arc<Pulse>,
        application: Application,
        already_read: Vec<u8>,
    ) -> Self {
        let now = facilities.clock.now();
        let limits = match application {
            Application::Unauthenticated(_) => FIRST_MESSAGE_LIMITS,
            Application::Echo(_) | Application::Handler(_) => terms.message_limits(),
        };
        let output = Output::new(Arc::clone(&facilities.budget));
        Self {
            socket,
            facilities,
            terms,
            pulse,
            application,
            receiver: Receiver::new(Role::Server, limits),
            sender: Sender::new(Role::Server),
            compression: None,
            output,
            remainder_is_fresh: !already_read.is_empty(),
            remainder: already_read,
            remainder_used: 0,
            phase: Phase::Open,
            ending: None,
            timer: None,
            heard_at: now,
            pinged_at: None,
            message_since: None,
            sending_bytes: 0,
            input_until: None,
            paused_since: None,
            pings: None,
            pongs: Gcra::default(),
            draining: false,
            traffic: Traffic::default(),
        }
    }

    /// Compresses from now on, if that was agreed on.
    pub(crate) fn compress(&mut self, compression: Option<Box<Compression>>) {
        if compression.is_some() {
            self.receiver.allow_compression();
        }
        self.compression = compression;
    }

    /// Hands the connection, whose first message was good, to its application; `notice` tells the client.
    pub(crate) fn authenticated(&mut self, application: Application, notice: Option<&str>) {
        self.application = application;
        self.receiver.set_limits(self.terms.message_limits());
        if let Some(text) = notice {
            self.queue_text(text);
        }
    }

    /// Closes the connection, and tells the client why.
    pub(crate) fn refuse(&mut self, ending: Ending) {
        let now = self.facilities.clock.now();
        self.close_from_outside(ending, now);
    }

    /// Drives the connection on.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let now = self.facilities.clock.now();
        let signals = self.pulse.listen(cx.waker());
        self.heed(signals, now);
        let outcome = self.drive(cx, now);
        if self.phase != Phase::Open
            && let Application::Handler(handling) = &mut self.application
        {
            handling.stop();
        }
        match &outcome {
            Poll::Pending => self.arm(),
            Poll::Ready(Outcome::FirstMessage(_)) => self.disarm(),
            Poll::Ready(Outcome::Ended(_)) => {
                self.disarm();
                self.pulse.forget_waker();
            }
        }
        let blocked_since = self.output.blocked_since().map(|since| since - self.facilities.started_at);
        self.pulse.record_blocked(self.output.len(), blocked_since);
        outcome
    }

    /// The application, which outlives the relay by the time it takes to tell it the end.
    pub(crate) fn into_application(self) -> Application {
        self.application
    }

    fn drive(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Outcome> {
        loop {
            match self.phase {
                Phase::Open | Phase::Closing { .. } => {
                    let has_progressed = self.turn(cx, now);
                    if let Application::Unauthenticated(nobody) = &mut self.application
                        && let Some(message) = nobody.first.take()
                    {
                        return Poll::Ready(Outcome::FirstMessage(message));
                    }
                    let has_progressed = has_progressed || self.drain(now);
                    if !has_progressed && matches!(self.phase, Phase::Open | Phase::Closing { .. }) {
                        return Poll::Pending;
                    }
                }
                Phase::Finishing { .. } => {
                    match output::poll_finish(&mut self.output, &mut self.socket, cx, now) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Err(_)) => self.phase = Phase::Done,
                        Poll::Ready(Ok(())) => {
                            self.phase = Phase::Lingering {
                                until: now + LINGER_TIME_MAX,
                                bytes_left: LINGER_BYTES_MAX,
                            };
                        }
                    }
                }
                Phase::Lingering { until, bytes_left } => match self.poll_discard(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(1..)) if bytes_left == 0 => self.phase = Phase::Done,
                    Poll::Ready(Ok(count @ 1..)) => {
                        self.phase = Phase::Lingering { until, bytes_left: bytes_left.saturating_sub(count) };
                    }
                    Poll::Ready(Ok(0) | Err(_)) => self.phase = Phase::Done,
                },
                Phase::Done => {
                    let ending = self.ending.take().map_or_else(Ending::lost, |ending| *ending);
                    return Poll::Ready(Outcome::Ended(Ending { traffic: self.traffic, ..ending }));
                }
            }
        }
    }

    /// One turn; whether anything came of it, so that another is worth while.
    fn turn(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let was_blocked = self.output.blocked_since().is_some();
        let has_worked = self.poll_handler(cx, now);
        worker::lend(|Worker { input, output: fresh, workshop }| {
            let mut tally = TrafficDelta::default();
            let mut turn = Turn { fresh, tally: &mut tally, workshop, now };
            let mut has_progressed = has_worked;
            has_progressed |= self.use_remainder(&mut turn);
            has_progressed |= self.read(cx, input, &mut turn);
            self.note_begun(now);
            if has_progressed {
                self.terms.metrics.add(turn.tally);
                self.traffic.add(turn.tally);
            }
            if self.has_call_to_begin() && !self.output.is_full(turn.fresh.len(), 0) {
                // A handler that answers at once answers all that one read brought, and it leaves by one write.
                self.output.frames().append(turn.fresh);
                return true;
            }
            match self.output.poll_write(&mut self.socket, cx, turn.fresh, now) {
                Poll::Ready(Ok(())) | Poll::Pending => {}
                Poll::Ready(Err(error)) => self.fail(&error),
            }
            // What stood still for want of room has some now, and nothing else would wake this task for it: input, and
            // what the application has to send while it is busy.
            let is_unblocked = was_blocked && self.output.blocked_since().is_none();
            has_progressed || is_unblocked || (self.paused_since.is_some() && !self.is_paused(0))
        })
    }

    fn has_call_to_begin(&self) -> bool {
        match &self.application {
            Application::Unauthenticated { .. } | Application::Echo(_) => false,
            Application::Handler(handling) => self.phase == Phase::Open && handling.has_call_to_begin(),
        }
    }

    /// Works on what was read before and has not been looked at to its end.
    fn use_remainder(&mut self, turn: &mut Turn<'_>) -> bool {
        if !self.remainder_is_fresh || self.is_paused(turn.fresh.len()) {
            return false;
        }
        let mut remainder = mem::take(&mut self.remainder);
        let mut rest = &mut remainder[self.remainder_used..];
        self.process(&mut rest, turn);
        let left = rest.len();
        self.remainder_used = remainder.len() - left;
        // Moving the rest to the front after each message would cost its square.
        if self.remainder_used > remainder.len() / 2 {
            remainder.drain(..self.remainder_used);
            remainder.shrink_to_fit();
            self.remainder_used = 0;
        }
        self.remainder = remainder;
        true
    }

    /// Reads once, if input may flow, and works on what has come.
    fn read(&mut self, cx: &mut Context<'_>, input: &mut [u8], turn: &mut Turn<'_>) -> bool {
        // The remainder may have held the peer's Close, after which nothing is read.
        if !self.is_receiving() {
            return false;
        }
        if self.remainder_is_fresh || self.is_paused(turn.fresh.len()) {
            return self.read_ahead(cx, input, turn);
        }
        self.resume(turn.now);
        if self.input_until.is_some() {
            self.input_ended(turn.now);
            return true;
        }
        let remainder = &self.remainder[self.remainder_used..];
        let kept = remainder.len();
        input[..kept].copy_from_slice(remainder);
        let mut buffer = ReadBuf::new(&mut input[kept..]);
        let count = match Pin::new(&mut self.socket).poll_read(cx, &mut buffer) {
            Poll::Pending => return false,
            Poll::Ready(Err(error)) => {
                self.fail(&error);
                return true;
            }
            Poll::Ready(Ok(())) => buffer.filled().len(),
        };
        if count == 0 {
            self.input_ended(turn.now);
            return true;
        }
        self.heard_at = turn.now;
        self.pinged_at = None;
        (self.remainder, self.remainder_used) = (Vec::new(), 0);
        let mut rest = &mut input[..kept + count];
        self.process(&mut rest, turn);
        if !rest.is_empty() {
            self.remainder = (&*rest).into();
        }
        true
    }

    /// While the application works nothing is processed; a little is read, so that a client that leaves is noticed.
    fn read_ahead(&mut self, cx: &mut Context<'_>, input: &mut [u8], turn: &Turn<'_>) -> bool {
        let kept = self.remainder.len() - self.remainder_used;
        let room = READ_AHEAD_BYTES_MAX.saturating_sub(kept);
        let is_full = self.output.is_full(turn.fresh.len(), self.sending_bytes);
        if is_full || room == 0 || self.input_until.is_some() {
            self.paused_since.get_or_insert(turn.now);
            return false;
        }
        self.resume(turn.now);
        let mut buffer = ReadBuf::new(&mut input[..room]);
        match Pin::new(&mut self.socket).poll_read(cx, &mut buffer) {
            Poll::Pending => return false,
            Poll::Ready(Err(error)) => self.fail(&error),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                // It may only have closed its own side: what it asked for before may still be answered, for a while.
                self.input_until = Some(turn.now + self.terms.limits.close_timeout);
            }
            Poll::Ready(Ok(())) => {
                (self.heard_at, self.pinged_at) = (turn.now, None);
                self.remainder.drain(..self.remainder_used);
                self.remainder_used = 0;
                self.remainder.extend_from_slice(buffer.filled());
                self.remainder_is_fresh = true;
            }
        }
        true
    }

    /// Works through `input` until it is used up or must wait; what is left stays in it.
    fn process(&mut self, input: &mut &mut [u8], turn: &mut Turn<'_>) {
        self.remainder_is_fresh = false;
        while self.is_receiving() {
            if self.is_paused(turn.fresh.len()) {
                self.remainder_is_fresh = !input.is_empty();
                return;
            }
            // Where little input can become much output, less of it is looked at at a time.
            let step = if self.compression.is_some() { COMPRESSED_STEP_BYTES } else { usize::MAX };
            let step = step.min(input.len());
            let mut front = &mut input[..step];
            let needs_more = match self.receiver.receive(&mut front) {
                Ok(None) => true,
                Ok(Some(event)) => {
                    self.take_event(event, turn);
                    if !self.receiver.is_within_message() {
                        self.message_since = None;
                    }
                    false
                }
                Err(violation) => {
                    self.break_off(violation, turn);
                    false
                }
            };
            let used = step - front.len();
            let is_all = step == input.len();
            *input = &mut mem::take(input)[used..];
            // What is left of a step is less than a control frame; its rest may lie behind the step.
            if needs_more && is_all {
                return;
            }
        }
        *input = &mut [];
    }

    /// A message begins with the first byte of its header: that may be all that ever comes.
    fn note_begun(&mut self, now: Instant) {
        let is_begun = !self.remainder.is_empty() && !self.remainder_is_fresh;
        if self.phase == Phase::Open && (is_begun || self.receiver.is_within_message()) {
            self.message_since.get_or_insert(now);
        }
    }

    fn take_event(&mut self, event: Event<'_>, turn: &mut Turn<'_>) {
        match event {
            Event::Close(close) => self.take_close(close, turn),
            // RFC 6455 §5.5.1: after our Close we need not look at data, nor answer pings.
            Event::Data(_) | Event::Ping(_) | Event::Pong(_) if self.sender.is_closed() => {}
            Event::Data(piece) if piece.compressed => self.take_compressed(piece, turn),
            Event::Data(chunk) => self.take_chunk(&chunk, turn),
            Event::Ping(payload) => {
                turn.tally.chunk(Direction::In, FrameKind::Ping, payload.len(), true);
                if self.pings.get_or_insert_default().check(&control_rate(), turn.now).is_err() {
                    return self.close(Ending::over(Reason::PingRateExceeded, CONTROLS_PER_SECOND), turn);
                }
                let sent = if self.output.blocked_since().is_some() {
                    self.output.pong(&mut self.sender, payload)
                } else {
                    self.sender.pong(turn.fresh, payload, None)
                };
                if sent.is_ok() {
                    turn.tally.chunk(Direction::Out, FrameKind::Pong, payload.len(), true);
                }
            }
            Event::Pong(payload) => {
                turn.tally.chunk(Direction::In, FrameKind::Pong, payload.len(), true);
                if self.pongs.check(&control_rate(), turn.now).is_err() {
                    self.close(Ending::over(Reason::PongRateExceeded, CONTROLS_PER_SECOND), turn);
                }
            }
        }
    }

    /// A piece of a compressed message: what it inflates to goes the way of any other.
    fn take_compressed(&mut self, mut piece: Chunk<'_>, turn: &mut Turn<'_>) {
        let limits = self.message_limits();
        let mut buffer = turn.workshop.take_buffer();
        while self.is_receiving()
            && !self.sender.is_closed()
            && let Some(compression) = &mut self.compression
        {
            match compression.inflate(&mut piece, &mut buffer, &limits, turn.workshop, turn.now) {
                Ok(None) => break,
                Ok(Some(chunk)) => self.take_chunk(&chunk, turn),
                Err(Refused::Violation(violation)) => self.break_off(violation, turn),
                Err(Refused::OverRate) => {
                    let limit = self.terms.limits.inflated_bytes_per_second.unwrap_or(u64::MAX);
                    self.close(Ending::over(Reason::InflationRateExceeded, limit), turn);
                }
            }
        }
        turn.workshop.return_buffer(buffer);
    }

    /// The bounds on the message that comes next.
    fn message_limits(&self) -> MessageLimits {
        match self.application {
            Application::Unauthenticated { .. } => FIRST_MESSAGE_LIMITS,
            Application::Echo(_) | Application::Handler(_) => self.terms.message_limits(),
        }
    }

    fn take_chunk(&mut self, chunk: &Chunk<'_>, turn: &mut Turn<'_>) {
        turn.tally.chunk(Direction::In, kind_of(chunk.kind), chunk.payload.len(), chunk.message_end);
        match &mut self.application {
            Application::Unauthenticated(nobody) => {
                if chunk.kind == MessageKind::Binary {
                    return self.close(Ending::by_gate(Reason::FirstMessageInvalid), turn);
                }
                match nobody.assembler.push(chunk) {
                    Ok(message) => nobody.first = message,
                    Err(violation) => self.break_off(violation, turn),
                }
            }
            Application::Echo(echoing) => match echoing.chunk(
                chunk,
                &mut Outlet {
                    sender: &mut self.sender,
                    compression: self
                        .compression
                        .as_deref_mut()
                        .map(|compression| (compression, &mut *turn.workshop)),
                },
                turn.fresh,
            ) {
                Ok(bytes) => {
                    self.sending_bytes = if chunk.message_end { 0 } else { self.sending_bytes + bytes };
                    turn.tally.chunk(Direction::Out, kind_of(chunk.kind), bytes, chunk.message_end);
                }
                // Data after our Close has been left out above, and messages are never interleaved.
                Err(_) => self.close(Ending::by_gate(Reason::InternalError), turn),
            },
            Application::Handler(handling) => {
                if let Err(violation) = handling.chunk(chunk) {
                    self.break_off(violation, turn);
                }
            }
        }
    }

    /// The peer's Close: answered with the same code (RFC 6455 §5.5.1), unless it is itself an answer.
    fn take_close(&mut self, close: Option<CloseFrame<'_>>, turn: &mut Turn<'_>) {
        turn.tally.chunk(
            Direction::In,
            FrameKind::Close,
            close.map_or(0, |close| close.reason.len() + 2),
            true,
        );
        let code = close.map_or(LocalCode::NoStatus.get(), |close| close.code.get());
        self.ending.get_or_insert_with(|| Box::new(Ending::by_client(Reason::ClosedByClient, Some(code))));
        if !self.sender.is_closed() {
            let answer = close.map(|close| CloseFrame { code: close.code, reason: "" });
            if self.sender.close(turn.fresh, answer, None).is_ok() {
                turn.tally.chunk(Direction::Out, FrameKind::Close, answer.map_or(0, |_| 2), true);
            }
        }
        self.phase = Phase::Finishing { until: self.close_until(turn.now) };
    }

    /// Fails the connection (RFC 6455 §7.1.7): what the peer sends can no longer be read, its Close included.
    fn break_off(&mut self, violation: Violation, turn: &mut Turn<'_>) {
        let is_first = matches!(self.application, Application::Unauthenticated(_));
        let reason = match violation {
            Violation::MessageTooBig if is_first => Reason::FirstMessageTooBig,
            Violation::FragmentsTooMany if is_first => Reason::FirstMessageInvalid,
            other => Reason::from(other),
        };
        let limits = self.message_limits();
        self.close(Ending::by_violation(reason, violation, limits), turn);
        self.phase = Phase::Finishing { until: self.close_until(turn.now) };
    }

    /// Queues the notice and our Close behind what this turn has produced.
    fn close(&mut self, ending: Ending, turn: &mut Turn<'_>) {
        self.queue_close(ending, self.terms.notice, turn.fresh, turn.now);
    }

    /// Queues the notice and our Close behind what waits, between turns.
    fn close_from_outside(&mut self, ending: Ending, now: Instant) {
        self.close_with_notice(ending, self.terms.notice, now);
    }

    fn close_with_notice(&mut self, ending: Ending, notice: Notice, now: Instant) {
        let mut frames = mem::take(self.output.frames());
        self.queue_close(ending, notice, &mut frames, now);
        *self.output.frames() = frames;
    }

    fn queue_close(&mut self, ending: Ending, notice: Notice, frames: &mut Vec<u8>, now: Instant) {
        if self.sender.is_closed() {
            return;
        }
        let row = ending.reason.row();
        let notice = match notice {
            Notice::Close => None,
            Notice::Json => Some(ending.reason.notice_json()),
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

    fn close_frame_of(ending: &Ending) -> Option<CloseFrame<'static>> {
        let row = ending.reason.row();
        row.close.map(|code| CloseFrame { code, reason: row.close_reason })
    }

    fn queue_close_frame(&mut self, close: Option<CloseFrame<'_>>, frames: &mut Vec<u8>, now: Instant) {
        let bytes = close.map_or(0, |close| close.reason.len() + 2);
        if self.sender.close(frames, close, None).is_ok() {
            self.terms.metrics.add(&TrafficDelta::whole(Direction::Out, FrameKind::Close, bytes));
        }
        self.message_since = None;
        self.phase = Phase::Closing { until: self.close_until(now) };
    }

    /// Lets the application work, and takes what it has to send while there is room.
    fn poll_handler(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Application::Handler(handling) = &mut self.application else { return false };
        if self.phase != Phase::Open {
            return false;
        }
        let was_busy = handling.is_busy();
        let result = if was_busy {
            // What the call sends is looked for below, so it need not wake us.
            self.pulse.hold_outbox();
            let result = handling.poll_call(cx);
            self.pulse.release_outbox();
            result
        } else {
            Poll::Ready(Ok(()))
        };
        let mut has_progressed = was_busy && result.is_ready();
        let mut tally = TrafficDelta::default();
        while !self.output.is_full(0, 0) {
            let Application::Handler(handling) = &mut self.application else { break };
            match handling.next_outgoing() {
                None => break,
                Some(Outgoing::Message(message)) => {
                    let (kind, bytes) = (message.kind(), message.as_bytes());
                    if self.send_message(kind, bytes).is_ok() {
                        tally.chunk(Direction::Out, kind_of(kind), bytes.len(), true);
                    }
                }
                Some(Outgoing::Close(code, reason)) => self.close_for_application(code, &reason, now),
            }
            has_progressed = true;
        }
        if has_progressed {
            self.terms.metrics.add(&tally);
            self.traffic.add(&tally);
        }
        if matches!(result, Poll::Ready(Err(_))) {
            self.close_from_outside(Ending::by_gate(Reason::HandlerPanicked), now);
        }
        has_progressed
    }

    /// Queues a message of the application's.
    fn send_message(&mut self, kind: MessageKind, bytes: &[u8]) -> Result<(), SendError> {
        let (sender, out) = (&mut self.sender, self.output.frames());
        match self.compression.as_deref_mut() {
            None => sender.data(out, kind, true, &[bytes], None),
            Some(compression) => worker::lend(|Worker { workshop, .. }| {
                Outlet { sender, compression: Some((compression, workshop)) }.data(out, kind, true, &[bytes])
            }),
        }
    }

    fn close_for_application(&mut self, code: CloseCode, reason: &str, now: Instant) {
        let mut frames = mem::take(self.output.frames());
        self.queue_close_frame(Some(CloseFrame { code, reason }), &mut frames, now);
        *self.output.frames() = frames;
        self.ending.get_or_insert_with(|| Box::new(Ending::by_application(code)));
    }

    /// While draining: closes once everything that has come is answered. Whether it did.
    fn drain(&mut self, now: Instant) -> bool {
        let is_answered = match &self.application {
            Application::Unauthenticated(_) | Application::Echo(_) => true,
            Application::Handler(handling) => handling.is_idle(),
        };
        if !self.draining || self.phase != Phase::Open || !self.output.is_empty() || !is_answered {
            return false;
        }
        self.close_from_outside(Ending::by_operator(Reason::Draining), now);
        true
    }

    fn heed(&mut self, signals: Signals, now: Instant) {
        if signals.contains(Signal::Timer) {
            // It may be one that fired while it was being put off; the one that took its place must not be forgotten.
            self.disarm();
            self.check_deadlines(now);
        }
        if signals.contains(Signal::Drain) {
            self.draining = true;
        }
        if signals.contains(Signal::Shed) && self.output.blocked_since().is_some() {
            self.give_up_output(Ending::by_gate(Reason::Overloaded), now);
        }
        if signals.contains(Signal::Abort) {
            self.ending = Some(Box::new(match self.ending.take() {
                Some(ending) if ending.reason != Reason::Draining => Ending { is_clean: false, ..*ending },
                Some(_) | None => Ending::cut(),
            }));
            self.phase = Phase::Done;
        }
    }

    fn check_deadlines(&mut self, now: Instant) {
        match self.phase {
            Phase::Open => {}
            Phase::Closing { until } if now >= until => {
                self.ending = self.ending.take().map(|ending| Box::new(ending.unanswered()));
                self.phase = Phase::Done;
                return;
            }
            Phase::Finishing { until } | Phase::Lingering { until, .. } if now >= until => {
                self.phase = Phase::Done;
                return;
            }
            Phase::Closing { .. } | Phase::Finishing { .. } | Phase::Lingering { .. } | Phase::Done => return,
        }
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| now >= deadline);
        let limits = &self.terms.limits;
        if passed(self.stalls_at()) {
            let limit = limits.stall_timeout;
            self.give_up_output(Ending::late(Reason::OutputStalled, limit), now);
        } else if passed(self.first_message_until()) {
            self.close_from_outside(Ending::by_gate(Reason::FirstMessageTimeout), now);
        } else if passed(self.message_until()) {
            let limit = limits.message_timeout;
            self.close_from_outside(Ending::late(Reason::MessageTimeout, limit), now);
        } else if passed(self.pong_until()) {
            let limit = limits.pong_timeout;
            self.close_from_outside(Ending::late(Reason::PongTimeout, limit), now);
        } else if passed(self.input_until) {
            self.input_ended(now);
        } else if passed(self.ping_at()) && self.sender.ping(self.output.frames(), &[], None).is_ok() {
            self.terms.metrics.add(&TrafficDelta::whole(Direction::Out, FrameKind::Ping, 0));
            self.pinged_at = Some(now);
        }
    }

    /// Closes a connection whose output is stuck: what has not been begun is given up, so that a Close can be next.
    fn give_up_output(&mut self, ending: Ending, now: Instant) {
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

    fn stalls_at(&self) -> Option<Instant> {
        self.output.blocked_since()?.checked_add(self.terms.limits.stall_timeout?)
    }

    fn first_message_until(&self) -> Option<Instant> {
        match self.application {
            Application::Unauthenticated(ref nobody) => Some(nobody.until),
            Application::Echo(_) | Application::Handler(_) => None,
        }
    }

    fn message_until(&self) -> Option<Instant> {
        if self.paused_since.is_some() {
            return None;
        }
        self.message_since?.checked_add(self.terms.limits.message_timeout?)
    }

    fn pong_until(&self) -> Option<Instant> {
        if self.paused_since.is_some() {
            return None;
        }
        self.pinged_at?.checked_add(self.terms.limits.pong_timeout?)
    }

    /// Pings go out only while input and output flow: while they stand still no answer could be seen.
    fn ping_at(&self) -> Option<Instant> {
        let is_deaf = self.paused_since.is_some() || self.input_until.is_some();
        if is_deaf || self.pinged_at.is_some() || !self.output.is_empty() {
            return None;
        }
        self.heard_at.checked_add(self.terms.limits.ping_interval?)
    }

    fn close_until(&self, now: Instant) -> Instant {
        now + self.terms.limits.close_timeout.min(CLOSE_TIME_MAX)
    }

    /// `None` where no limit is set, and where one lies beyond all time.
    fn next_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Open => [
                self.stalls_at(),
                self.first_message_until(),
                self.message_until(),
                self.pong_until(),
                self.ping_at(),
                self.input_until,
            ]
            .into_iter()
            .flatten()
            .min(),
            Phase::Closing { until } | Phase::Finishing { until } | Phase::Lingering { until, .. } => {
                Some(until)
            }
            Phase::Done => None,
        }
    }

    /// Sees to it that the next deadline wakes this connection. A timer that comes too early only looks again.
    fn arm(&mut self) {
        let Some(deadline) = self.next_deadline() else { return };
        if self.timer.as_ref().is_some_and(|(at, _)| *at <= deadline) {
            return;
        }
        self.disarm();
        self.timer = Some((deadline, self.facilities.timers.schedule(deadline, Arc::clone(&self.pulse))));
    }

    fn disarm(&mut self) {
        if let Some((_, timer)) = self.timer.take() {
            self.facilities.timers.cancel(timer);
        }
    }

    /// Input flows again: the time that it stood still does not count against the client.
    fn resume(&mut self, now: Instant) {
        let Some(paused_since) = self.paused_since.take() else { return };
        let pause = now.saturating_duration_since(paused_since);
        self.message_since = self.message_since.map(|since| since + pause);
        self.heard_at = now;
        self.pinged_at = None;
    }

    /// Whether input must wait, with `fresh` bytes of output beside what is pending.
    fn is_paused(&self, fresh: usize) -> bool {
        let is_busy = match &self.application {
            Application::Unauthenticated(nobody) => nobody.first.is_some(),
            Application::Echo(_) => false,
            // After our Close nothing of the application's goes out, so there is nothing to wait for.
            Application::Handler(handling) => handling.is_busy() && self.phase == Phase::Open,
        };
        is_busy || self.output.is_full(fresh, self.sending_bytes)
    }

    fn is_receiving(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Closing { .. })
    }

    /// The peer's side has ended without a Close.
    fn input_ended(&mut self, now: Instant) {
        self.ending.get_or_insert_with(|| Box::new(Ending::lost())).is_clean = false;
        // A peer that has only closed its own side still gets what it asked for before; one that is gone answers our
        // next write with a reset.
        let until = now + self.terms.limits.close_timeout;
        self.phase = Phase::Finishing { until };
    }

    fn fail(&mut self, error: &io::Error) {
        self.ending.get_or_insert_with(|| Box::new(Ending::reset(error))).is_clean = false;
        self.phase = Phase::Done;
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        worker::lend(|worker| {
            let mut buffer = ReadBuf::new(&mut worker.input[..DISCARD_BYTES]);
            Pin::new(&mut self.socket).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
        })
    }

    fn queue_text(&mut self, text: &str) {
        let sent = self.sender.data(self.output.frames(), MessageKind::Text, true, &[text.as_bytes()], None);
        if sent.is_ok() {
            self.terms.metrics.add(&TrafficDelta::whole(Direction::Out, FrameKind::Text, text.len()));
        }
    }
}

const fn kind_of(kind: MessageKind) -> FrameKind {
    match kind {
        MessageKind::Text => FrameKind::Text,
        MessageKind::Binary => FrameKind::Binary,
    }
}

fn control_rate() -> Rate {
    Rate::new(CONTROLS_PER_SECOND, Duration::from_secs(1), CONTROLS_BURST)
}

/// Until it is authenticated a connection is nobody's: one text message of at most 8 KiB in at most 16 frames.
pub(crate) const FIRST_MESSAGE_LIMITS: MessageLimits =
    MessageLimits { message_bytes_max: 8 * 1024, message_fragments_max: 16 };

/// How much is read of a client whose messages the application has yet to get to.
const READ_AHEAD_BYTES_MAX: usize = 16 * 1024;

/// The pings that a client may send, and the pongs; a keepalive needs one in some seconds.
const CONTROLS_PER_SECOND: u32 = 50;

/// How many of them may come at once.
const CONTROLS_BURST: u32 = 100;

/// However long a route lets a peer take to answer our Close.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(3600);

/// How long a peer that has nothing more to say may take to close its side of the transport: a slow path's round trip.
const LINGER_TIME_MAX: Duration = Duration::from_millis(500);

/// How much it may still send meanwhile.
const LINGER_BYTES_MAX: usize = 64 * 1024;

const DISCARD_BYTES: usize = 16 * 1024;
