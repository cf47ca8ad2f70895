//! The data path: one connection from the `101` to its end, as one hand-written future.
//!
//! One turn is one read into the worker's buffer, everything that it holds, and one write of all that came of it. Nothing
//! borrowed survives the poll; an idle connection holds no buffer. Input stops while output is full, and the clocks that
//! judge the client stop with it. Comes after the upgrade; how it ended is told to [`super`], which logs and counts.

mod closing;
mod deadlines;
mod events;
mod far;
mod holding;
mod input;
mod inspecting;
mod pace;
mod remainder;
mod tenure;

use std::sync::Arc;
use std::task::{Context, Poll};

use drawgate_protocol::{
    Assembler, Limits as MessageLimits, Message, MessageKind, Receiver, Role, SendError, Sender,
};
use tokio::io::{AsyncRead, AsyncWrite};

use self::closing::{LINGER_BYTES_MAX, LINGER_TIME_MAX};
pub(crate) use self::far::Far;
pub(crate) use self::inspecting::Remarks;
use self::remainder::Remainder;
use self::tenure::Tenure;
use super::masks::MaskKeys;
use super::output::{self, Output};
use super::worker::{self, Worker};
use super::{Ending, Facilities, Terms};
use crate::backend::echo::Echoing;
use crate::backend::handler::Handling;
use crate::backend::outbox::Outgoing;
use crate::clock::Moment;
use crate::compression::{Compression, Outlet, Workshop};
use crate::inspect::Toward;
use crate::observe::{Direction, FrameKind, Traffic, TrafficDelta};
use crate::pulse::{Pulse, Signal, Signals};
use crate::rate::Gcra;
use crate::reason::Reason;
use crate::timers::Timer;

/// One upgraded connection.
pub(crate) struct Relay<S> {
    socket: S,
    facilities: Arc<Facilities>,
    terms: Arc<Terms>,
    pulse: Arc<Pulse>,
    application: Application,
    /// What bounds its time, and what it has under way of messages that are inspected, where anything does or is.
    tenure: Option<Box<Tenure>>,
    receiver: Receiver,
    sender: Sender,
    compression: Option<Box<Compression>>,
    output: Output,
    /// What was read and not yet used: an incomplete header or control frame, or what came while input stood still.
    remainder: Remainder,
    /// The remainder has not been looked at to its end.
    remainder_is_fresh: bool,
    /// How much the budget counts of what is held here and counts itself nowhere.
    held_bytes: u32,
    phase: Phase,
    ending: Option<Box<Ending>>,
    timer: Option<Timer>,
    /// When the client was last heard of.
    heard_at: Moment,
    /// When a ping went out that nothing has answered.
    pinged_at: Option<Moment>,
    /// When the message that is open began.
    message_since: Option<Moment>,
    /// How much of the message that is being sent is out or waits; 0 between messages, and no more than fits.
    sending_bytes: u32,
    /// Since when input stands still because output is full or the application is busy.
    paused_since: Option<Moment>,
    pings: Gcra,
    pongs: Gcra,
    draining: bool,
    /// The client has said that it closes, and nothing has come behind that.
    is_through: bool,
    /// A ping of ours may still be answered, also behind the client's Close (RFC 6455 §5.5.2).
    awaits_pong: bool,
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
    /// An application behind the gate.
    Upstream(Box<Far>),
}

impl Application {
    /// Whether an operator has drained it.
    fn is_drained(&self) -> bool {
        match self {
            Self::Upstream(far) => far.is_drained(),
            Self::Unauthenticated(_) | Self::Echo(_) | Self::Handler(_) => false,
        }
    }
}

/// A connection that is nobody's yet.
#[derive(Debug)]
pub(crate) struct Unauthenticated {
    pub(crate) until: Moment,
    assembler: Assembler,
    first: Option<Message>,
    /// The first message has been handed out, and nothing behind it is looked at before there is an application.
    is_taken: bool,
}

impl Unauthenticated {
    /// One whose first message must have come at `until`.
    pub(crate) const fn new(until: Moment) -> Self {
        Self { until, assembler: Assembler::new(FIRST_MESSAGE_LIMITS), first: None, is_taken: false }
    }

    /// It comes to nothing.
    fn give_up(&mut self) {
        (self.assembler, self.first) = (self.assembler.emptied(), None);
    }

    /// The memory of what has come of the first message.
    fn held_bytes(&self) -> usize {
        self.assembler.held_bytes() + self.first.as_ref().map_or(0, |first| first.as_bytes().len())
    }
}

/// What a relay comes to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The first message of a connection that has yet to authenticate; the relay goes on after
    /// [`Relay::authenticated`] or [`Relay::refuse`].
    FirstMessage(Message),
    /// Another token for the session; it goes on until it is refused.
    Token(Vec<u8>),
    /// There is something to record of a message; the connection goes on.
    Remarked(Box<Remarks>),
    /// The connection has ended.
    Ended(Ending),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Messages flow.
    Open,
    /// Our Close is out or queued; the peer's is awaited.
    Closing { until: Moment },
    /// The client reads to the end what the application still has to say, and is not read any more.
    Leaving { until: Moment },
    /// Nothing is read any more; what is queued, our Close last, goes out, then our side of the transport closes.
    Finishing { until: Moment },
    /// The peer's side is awaited, so that bytes it still sends do not reset the connection under our Close.
    Lingering { until: Moment, bytes_left: u32 },
    /// Over.
    Done,
}

/// What one turn works with: the worker's buffers, and the time.
struct Turn<'w> {
    fresh: &'w mut Vec<u8>,
    /// What goes on to an application, and the keys that mask it.
    onward: &'w mut Vec<u8>,
    keys: &'w mut MaskKeys,
    tally: &'w mut TrafficDelta,
    workshop: &'w mut Workshop,
    now: Moment,
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Relay<S> {
    /// A relay over `socket`, on which `already_read` has come behind the request.
    pub(crate) fn new(
        socket: S,
        facilities: Arc<Facilities>,
        terms: Arc<Terms>,
        pulse: Arc<Pulse>,
        application: Application,
        already_read: Vec<u8>,
    ) -> Self {
        let now = facilities.now();
        let limits = match application {
            Application::Unauthenticated(_) => FIRST_MESSAGE_LIMITS,
            Application::Echo(_) | Application::Handler(_) | Application::Upstream(_) => {
                terms.message_limits()
            }
        };
        // Whoever retires the route or drains the application says so first, and then tells those who live: one of the two is seen.
        let must_go = terms.is_retired() || application.is_drained();
        let output = Output::new(Arc::clone(&facilities.budget));
        Self {
            socket,
            facilities,
            terms,
            pulse,
            application,
            tenure: None,
            receiver: Receiver::new(Role::Server, limits),
            sender: Sender::new(Role::Server),
            compression: None,
            output,
            remainder_is_fresh: !already_read.is_empty(),
            held_bytes: 0,
            remainder: Remainder::new(already_read),
            phase: Phase::Open,
            ending: None,
            timer: None,
            heard_at: now,
            pinged_at: None,
            message_since: None,
            sending_bytes: 0,
            paused_since: None,
            pings: Gcra::default(),
            pongs: Gcra::default(),
            draining: must_go,
            is_through: false,
            awaits_pong: false,
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
        self.draining |= application.is_drained();
        self.application = application;
        self.receiver.set_limits(self.terms.message_limits());
        if let Some(text) = notice {
            self.queue_text(text);
        }
    }

    /// Closes the connection, and tells the client why.
    pub(crate) fn refuse(&mut self, ending: Ending) {
        let now = self.facilities.now();
        self.close_from_outside(ending, now);
    }

    /// Drives the connection on.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let now = self.facilities.now();
        let signals = self.pulse.listen(cx.waker());
        self.heed(signals, now);
        self.release(now);
        let mut outcome = self.drive(cx, now);
        if signals.contains(Signal::Timer) && outcome.is_pending() {
            // Nobody is judged for what has not come before it has been looked for: where the gateway itself stood still, answers
            // lie beside the deadlines.
            self.check_deadlines(now);
            outcome = self.drive(cx, now);
        }
        if self.phase != Phase::Open
            && let Application::Handler(handling) = &mut self.application
        {
            handling.stop();
        }
        self.give_up_held(now);
        match &outcome {
            Poll::Pending => self.arm(),
            // It is polled again at once.
            Poll::Ready(Outcome::Remarked(_)) => {}
            Poll::Ready(Outcome::FirstMessage(_) | Outcome::Token(_)) => self.disarm(),
            Poll::Ready(Outcome::Ended(_)) => {
                self.disarm();
                self.pulse.forget_waker();
            }
        }
        self.record_held();
        outcome
    }

    /// Where it hears that it has to end, for whoever keeps it from being polled.
    pub(crate) fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    /// Tells an application in this process that the connection has ended; false if it panicked.
    pub(crate) fn tell_end(&mut self, reason: Reason) -> bool {
        match &mut self.application {
            Application::Handler(handling) => handling.end(reason).is_ok(),
            Application::Unauthenticated(_) | Application::Echo(_) | Application::Upstream(_) => true,
        }
    }

    fn drive(&mut self, cx: &mut Context<'_>, now: Moment) -> Poll<Outcome> {
        loop {
            self.part(now);
            if !self.takes_turns() {
                while self.turn_far(cx, now) {}
            }
            match self.phase {
                Phase::Open | Phase::Closing { .. } | Phase::Leaving { .. } => {
                    let has_progressed = self.turn(cx, now);
                    if let Application::Unauthenticated(nobody) = &mut self.application
                        && let Some(message) = nobody.first.take()
                    {
                        nobody.is_taken = true;
                        return Poll::Ready(Outcome::FirstMessage(message));
                    }
                    if let Some(token) = self.tenure.as_mut().and_then(|tenure| tenure.take_token()) {
                        return Poll::Ready(Outcome::Token(token));
                    }
                    if let Some(remarks) = self.take_remarks() {
                        return Poll::Ready(Outcome::Remarked(remarks));
                    }
                    let has_progressed = has_progressed || self.warn(now) || self.drain(now);
                    if !has_progressed && self.takes_turns() {
                        return Poll::Pending;
                    }
                }
                Phase::Finishing { .. } => {
                    let needs_no_end = self.needs_no_end();
                    match output::poll_finish(&mut self.output, &mut self.socket, !needs_no_end, cx, now) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Err(_)) => self.phase = Phase::Done,
                        Poll::Ready(Ok(())) if needs_no_end => self.phase = Phase::Done,
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
                        let count = u32::try_from(count).unwrap_or(u32::MAX);
                        self.phase = Phase::Lingering { until, bytes_left: bytes_left.saturating_sub(count) };
                    }
                    Poll::Ready(Ok(0) | Err(_)) => self.phase = Phase::Done,
                },
                // Its end is not the client's business, but a connection is not over before both sides are.
                Phase::Done if self.has_far() => return Poll::Pending,
                Phase::Done => {
                    // What rules had to say of the message that ended it.
                    if let Some(remarks) = self.take_remarks() {
                        return Poll::Ready(Outcome::Remarked(remarks));
                    }
                    let ending = self.ending.take().map_or_else(Ending::lost, |ending| *ending);
                    return Poll::Ready(Outcome::Ended(Ending { traffic: self.traffic, ..ending }));
                }
            }
        }
    }

    /// One turn; whether anything came of it, so that another is worth while.
    fn turn(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        let was_blocked = self.output.blocked_since().is_some();
        let has_worked = self.poll_handler(cx, now);
        worker::lend(|Worker { input, output: fresh, onward, keys, workshop }| {
            keys.draw_from(&self.facilities.chance);
            let mut tally = TrafficDelta::default();
            let mut turn = Turn { fresh, onward, keys, tally: &mut tally, workshop, now };
            let mut has_progressed = has_worked;
            has_progressed |= self.use_remainder(&mut turn);
            has_progressed |= self.read(cx, input, &mut turn);
            has_progressed |= self.read_far(cx, input, &mut turn);
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
            if matches!(self.phase, Phase::Finishing { .. }) {
                closing::gather_last(&self.socket);
            }
            match self.output.poll_write(&mut self.socket, cx, turn.fresh, now) {
                Poll::Ready(Ok(())) | Poll::Pending => {}
                Poll::Ready(Err(error)) => self.fail(&error),
            }
            has_progressed |= self.write_far(cx, turn.onward, now);
            // What stood still for want of room has some now, and nothing else would wake this task for it: input, and
            // what the application has to send while it is busy.
            let is_unblocked = was_blocked && self.output.blocked_since().is_none();
            let is_released = self.paused_since.is_some() && !self.is_paused(0, 0);
            has_progressed || is_unblocked || is_released || self.is_far_released()
        })
    }

    fn has_call_to_begin(&self) -> bool {
        match &self.application {
            Application::Unauthenticated(_) | Application::Echo(_) | Application::Upstream(_) => false,
            Application::Handler(handling) => self.phase == Phase::Open && handling.has_call_to_begin(),
        }
    }

    /// Lets the application work, and takes what it has to send while there is room.
    fn poll_handler(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
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
        if has_progressed {
            self.note_message(now);
        }
        let mut tally = TrafficDelta::default();
        while !self.output.is_full(0, 0) && !self.has_remarks() {
            let Application::Handler(handling) = &mut self.application else { break };
            match handling.next_outgoing() {
                None => break,
                Some(Outgoing::Message(mut message)) => {
                    self.note_message(now);
                    if self.inspects(Toward::Client) {
                        has_progressed = true;
                        let Some(passed) = self.inspect_outgoing(message, now) else { continue };
                        message = passed;
                    }
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

    fn heed(&mut self, signals: Signals, now: Moment) {
        if signals.contains(Signal::Timer) {
            // It may be one that fired while it was being put off; the one that took its place must not be forgotten.
            self.disarm();
            self.check_term(now);
        }
        if signals.contains(Signal::Drain) {
            self.draining = true;
        }
        if signals.contains(Signal::Retired) {
            self.draining |= self.terms.is_retired() || self.application.is_drained();
        }
        if signals.contains(Signal::Session) {
            self.heed_session(now);
        }
        if signals.contains(Signal::Banned) {
            self.end_session(Ending::by_operator(Reason::AddressBanned), now);
        }
        if signals.contains(Signal::Denied) {
            self.end_session(Ending::by_operator(Reason::AddressDenied), now);
        }
        if signals.contains(Signal::Shed) {
            self.shed(now);
        }
        if signals.contains(Signal::Overload) {
            self.end_for_load(now);
        }
        if signals.contains(Signal::Abort) {
            if let Some(far) = self.far_mut() {
                far.cut();
            }
            self.ending = Some(Box::new(match self.ending.take() {
                Some(ending) if !ending.is_of_a_drain() => *ending,
                Some(_) | None => Ending::cut(),
            }));
            self.phase = Phase::Done;
        }
    }

    /// Gives up what waits for whoever does not read it, since the buffers of all connections are full.
    fn shed(&mut self, now: Moment) {
        let overloaded = Ending::by_gate(Reason::Overloaded);
        if self.output.blocked_since().is_some() {
            return self.give_up_output(overloaded, now);
        }
        if let Some(far) = self.far_mut().filter(|far| far.blocked().is_some()) {
            far.cut();
            return self.close_from_outside(overloaded, now);
        }
        let is_gathering = self.inspecting().is_some_and(|inspecting| inspecting.held().is_some());
        if is_gathering || self.holds_anything() {
            self.close_from_outside(overloaded, now);
        }
    }

    /// Ends it though it may hold nothing; if it has been told and has not gone, without another word.
    fn end_for_load(&mut self, now: Moment) {
        if self.sender.is_closed() {
            self.give_up_output(Ending::by_gate(Reason::Overloaded), now);
        } else {
            self.end_session(Ending::by_gate(Reason::Overloaded), now);
        }
    }

    /// Whether input must wait, with `fresh` bytes of output beside what is pending, and `onward` bytes for an application.
    #[inline]
    fn is_paused(&self, fresh: usize, onward: usize) -> bool {
        let is_full = || self.output.is_full(fresh, self.sending_bytes as usize);
        let is_busy = match &self.application {
            Application::Unauthenticated(nobody) => {
                nobody.first.is_some() || (nobody.is_taken && self.phase == Phase::Open) || is_full()
            }
            Application::Echo(_) => is_full(),
            // After our Close nothing of the application's goes out, so there is nothing to wait for.
            Application::Handler(handling) => (handling.is_busy() && self.phase == Phase::Open) || is_full(),
            Application::Upstream(far) => far.is_full(onward) && self.phase == Phase::Open,
        };
        is_busy
            || self.is_held()
            || self.waits_for_room()
            || self.has_remarks()
            || self.tenure.as_ref().is_some_and(|tenure| tenure.has_token())
    }

    /// So many bytes of the message that is being sent are out or wait, and it may be its end.
    fn sent_of_message(&mut self, bytes: usize, is_end: bool) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.sending_bytes = if is_end { 0 } else { self.sending_bytes.saturating_add(bytes) };
    }

    /// Whether there is still something to do with messages.
    const fn takes_turns(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Closing { .. } | Phase::Leaving { .. })
    }

    fn is_receiving(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Closing { .. })
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

/// Until it is authenticated a connection is nobody's: one text message of at most 8 KiB in at most 16 frames.
pub(crate) const FIRST_MESSAGE_LIMITS: MessageLimits =
    MessageLimits { message_bytes_max: 8 * 1024, message_fragments_max: 16 };
