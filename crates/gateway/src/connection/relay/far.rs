//! The far side of a relayed connection: the application behind the gate, to which we are the client.
//!
//! Both sides are driven by one task. Each message goes on as it comes, piece by piece, under the route's bounds; pings are answered on
//! the side that they came from; a Close goes on with its code and reason. A side whose output is full stops the input of the other.
//! When one side ends, the other is told, and never sees a message whole that was not.

mod parting;

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use drawgate_protocol::{Chunk, Event, Receiver, Role, SendError, Sender};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::parting::Farewell;
use super::remainder::Remainder;
use super::{Application, Phase, Relay, Turn, kind_of};
use crate::backend::held::Held;
use crate::backend::upstream::{Connected, Lease, Socket};
use crate::clock::Moment;
use crate::compression::{Compression, Outlet, Refused, step_bytes};
use crate::connection::output::Output;
use crate::connection::worker::{self, Worker};
use crate::connection::{Ending, Facilities, Terms};
use crate::inspect::Toward;
use crate::observe::{Direction, TrafficDelta};
use crate::reason::Reason;
use crate::tls::Wire;

/// Our side of a connection to an application.
#[derive(Debug)]
pub(crate) struct Far {
    /// Nothing once it is over.
    socket: Option<Wire<Socket>>,
    /// Its place at the application, for as long as it lasts.
    lease: Option<Lease>,
    receiver: Receiver,
    sender: Sender,
    compression: Option<Box<Compression>>,
    output: Output,
    /// What was read and not yet used.
    remainder: Remainder,
    /// The remainder has not been looked at to its end.
    remainder_is_fresh: bool,
    /// What waits for more of its frame, from the client.
    from_client: Held,
    /// What waits for more of its frame, to the client.
    to_client: Held,
    stage: Stage,
    /// How much of the message that is being sent is out or waits; 0 between messages.
    sending_bytes: usize,
    /// Since when input stands still because the client's output is full.
    paused_since: Option<Moment>,
    /// When the application was last heard of.
    heard_at: Moment,
    /// When a ping went out that nothing has answered.
    pinged_at: Option<Moment>,
    /// The client's side has ended while it had to wait, and what it sent before may go on until then.
    pub(super) input_until: Option<Moment>,
    /// What the client is told once the application has nothing more to say.
    farewell: Option<Farewell>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Messages flow.
    Open,
    /// Our Close is out or queued; the application's is awaited.
    Closing { until: Moment },
    /// Both have closed, or what comes cannot be read. The end of the transport is awaited: whoever ends it first keeps its
    /// port for minutes, and ports towards an application are few (RFC 6455 §7.1.1).
    Finishing { until: Moment, bytes_left: u32 },
    /// Over.
    Done,
}

impl Far {
    /// The side of `connected`, under the bounds of the route.
    pub(crate) fn new(connected: Connected, facilities: &Facilities, terms: &Terms) -> Self {
        let Connected { socket, rest, lease, agreement, offer, .. } = connected;
        let limits = terms.message_limits();
        let compression = offer.zip(agreement).map(|(offer, agreement)| {
            let rate = terms.limits.inflated_bytes_per_second;
            offer.accepted(agreement, rate, limits.message_bytes_max)
        });
        let mut receiver = Receiver::new(Role::Client, limits);
        if compression.is_some() {
            receiver.allow_compression();
        }
        Self {
            socket: Some(socket),
            lease,
            receiver,
            sender: Sender::new(Role::Client),
            compression,
            output: Output::new(std::sync::Arc::clone(&facilities.budget)),
            remainder_is_fresh: !rest.is_empty(),
            remainder: Remainder::new(rest),
            from_client: Held::default(),
            to_client: Held::default(),
            stage: Stage::Open,
            sending_bytes: 0,
            paused_since: None,
            heard_at: facilities.now(),
            pinged_at: None,
            input_until: None,
            farewell: None,
        }
    }

    /// Whether `onward` bytes beside those that wait are too many: the client's input then stops.
    pub(super) fn is_full(&self, onward: usize) -> bool {
        self.output.is_full(onward, self.sending_bytes)
    }

    /// Since when the socket has taken nothing, and how much waits for it.
    pub(super) fn blocked(&self) -> Option<(Moment, usize)> {
        Some((self.output.blocked_since()?, self.output.len()))
    }

    /// Whether an operator has drained the application.
    pub(super) fn is_drained(&self) -> bool {
        self.lease.as_ref().is_some_and(Lease::is_drained)
    }

    /// The memory of what has come from the application and may not be used yet.
    pub(super) fn held_bytes(&self) -> usize {
        if self.remainder_is_fresh { self.remainder.held_bytes() } else { 0 }
    }

    /// Whether the application has been given all that there is for it.
    pub(super) fn is_idle(&self) -> bool {
        self.output.is_empty()
    }

    /// Sends one piece on.
    pub(super) fn forward(&mut self, chunk: &Chunk<'_>, turn: &mut Turn<'_>) -> Result<(), SendError> {
        let Some(held) = self.from_client.release(chunk) else { return Ok(()) };
        let bytes = held.len() + chunk.payload.len();
        let compression = self.compression.as_deref_mut();
        let mut outlet = Outlet {
            sender: &mut self.sender,
            compression: compression.map(|compression| (compression, &mut *turn.workshop)),
        };
        let key = turn.keys.next();
        // What has come whole stands alone.
        let parts: [&[u8]; 2] = [&held, chunk.payload];
        let parts = if held.is_empty() { &parts[1..] } else { &parts };
        outlet.keyed_data(turn.onward, chunk.kind, chunk.message_end, parts, key)?;
        self.sending_bytes = if chunk.message_end { 0 } else { self.sending_bytes + bytes };
        Ok(())
    }

    /// Ends at once: the transport, and all that waits for it.
    pub(super) fn cut(&mut self) {
        self.socket = None;
        self.compression = None;
        self.output.forget();
        self.remainder = Remainder::default();
        self.remainder_is_fresh = false;
        self.stage = Stage::Done;
    }

    const fn is_receiving(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::Closing { .. })
    }

    fn resume(&mut self, now: Moment) {
        if self.paused_since.take().is_some() {
            (self.heard_at, self.pinged_at) = (now, None);
        }
    }

    /// Reads and discards until the application ends its side; whether anything came of it.
    fn poll_discard(&mut self, cx: &mut Context<'_>, input: &mut [u8]) -> bool {
        let (Stage::Finishing { until, bytes_left }, Some(socket)) = (self.stage, &mut self.socket) else {
            return false;
        };
        let mut buffer = ReadBuf::new(input);
        let count = match Pin::new(socket).poll_read(cx, &mut buffer) {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) => buffer.filled().len(),
            Poll::Ready(Err(_)) => 0,
        };
        let bytes_left = bytes_left.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        if count == 0 || bytes_left == 0 {
            self.cut();
        } else {
            self.stage = Stage::Finishing { until, bytes_left };
        }
        true
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Relay<S> {
    pub(super) fn far(&self) -> Option<&Far> {
        match &self.application {
            Application::Upstream(far) => Some(far),
            Application::Unauthenticated(_) | Application::Echo(_) | Application::Handler(_) => None,
        }
    }

    pub(super) fn far_mut(&mut self) -> Option<&mut Far> {
        match &mut self.application {
            Application::Upstream(far) => Some(far),
            Application::Unauthenticated(_) | Application::Echo(_) | Application::Handler(_) => None,
        }
    }

    /// Whether there is an application whose connection has not ended.
    pub(super) fn has_far(&self) -> bool {
        self.far().is_some_and(|far| far.stage != Stage::Done)
    }

    /// Whether what the application sends still goes to the client.
    const fn is_delivering(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Leaving { .. })
    }

    /// Whether the application's input must wait, with `fresh` bytes of output beside what is pending.
    fn is_far_paused(&self, fresh: usize) -> bool {
        self.is_delivering()
            && (self.output.is_full(fresh, self.sending_bytes as usize)
                || self.waits_for_room()
                || self.has_remarks())
    }

    /// Whether the application's input stands still and need not any more.
    pub(super) fn is_far_released(&self) -> bool {
        self.far().is_some_and(|far| far.paused_since.is_some()) && !self.is_far_paused(0)
    }

    /// One turn of the far side alone, while the client's closes; whether anything came of it.
    pub(super) fn turn_far(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        if !self.has_far() {
            return false;
        }
        worker::lend(|Worker { input, output: fresh, onward, keys, workshop }| {
            keys.draw_from(&self.facilities.chance);
            let mut tally = TrafficDelta::default();
            let mut turn = Turn { fresh, onward, keys, tally: &mut tally, workshop, now };
            let has_read = self.read_far(cx, input, &mut turn);
            self.write_far(cx, turn.onward, now) || has_read
        })
    }

    /// Reads once from the application, if its input may flow, and works on what has come.
    pub(super) fn read_far(&mut self, cx: &mut Context<'_>, input: &mut [u8], turn: &mut Turn<'_>) -> bool {
        let is_paused = self.is_far_paused(turn.fresh.len());
        let read_bytes_max = self.facilities.budget.read_bytes_max();
        let Some(far) = self.far_mut() else { return false };
        if !far.is_receiving() {
            return far.poll_discard(cx, input);
        }
        if is_paused {
            far.paused_since.get_or_insert(turn.now);
            return false;
        }
        far.resume(turn.now);
        if far.remainder_is_fresh {
            let mut remainder = mem::take(&mut far.remainder);
            let mut rest = remainder.unused_mut();
            self.process_far(&mut rest, turn);
            let left = rest.len();
            remainder.leave(left);
            if let Some(far) = self.far_mut() {
                far.remainder = remainder;
            }
            return true;
        }
        let Some(socket) = &mut far.socket else { return false };
        let remainder = far.remainder.unused();
        let kept = remainder.len();
        input[..kept].copy_from_slice(remainder);
        let mut buffer = ReadBuf::new(&mut input[kept..kept + read_bytes_max]);
        let count = match Pin::new(socket).poll_read(cx, &mut buffer) {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) => buffer.filled().len(),
            Poll::Ready(Err(error)) => {
                self.far_lost(Some(error.to_string()), turn.now, Some(turn));
                return true;
            }
        };
        if count == 0 {
            self.far_lost(None, turn.now, Some(turn));
            return true;
        }
        (far.heard_at, far.pinged_at) = (turn.now, None);
        far.remainder = Remainder::default();
        let mut rest = &mut input[..kept + count];
        self.process_far(&mut rest, turn);
        if let Some(far) = self.far_mut()
            && !rest.is_empty()
        {
            far.remainder = Remainder::new(rest.to_vec());
        }
        true
    }

    /// Writes what there is for the application; whether that changed anything.
    pub(super) fn write_far(&mut self, cx: &mut Context<'_>, onward: &mut Vec<u8>, now: Moment) -> bool {
        let Some(far) = self.far_mut() else { return false };
        let Some(socket) = &mut far.socket else {
            onward.clear();
            return false;
        };
        let was_blocked = far.output.blocked_since().is_some();
        match far.output.poll_write(socket, cx, onward, now) {
            Poll::Ready(Ok(())) => was_blocked,
            Poll::Pending => false,
            Poll::Ready(Err(error)) => {
                self.far_lost(Some(error.to_string()), now, None);
                true
            }
        }
    }

    /// Works through what the application sent until it is used up or must wait; what is left stays in `input`.
    fn process_far(&mut self, input: &mut &mut [u8], turn: &mut Turn<'_>) {
        loop {
            let is_paused = self.is_far_paused(turn.fresh.len());
            let Some(far) = self.far_mut() else { return };
            far.remainder_is_fresh = false;
            if !far.is_receiving() {
                *input = &mut [];
                return;
            }
            if is_paused {
                far.remainder_is_fresh = !input.is_empty();
                return;
            }
            if self.pass_whole_back(input, turn) {
                continue;
            }
            let Some(far) = self.far_mut() else { return };
            let step = step_bytes(far.compression.is_some()).min(input.len());
            let mut front = &mut input[..step];
            let needs_more = match far.receiver.receive(&mut front) {
                Ok(None) => true,
                Ok(Some(event)) => {
                    self.take_far_event(event, turn);
                    false
                }
                Err(violation) => {
                    self.far_broke(violation, turn);
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
    }

    /// Sends whole messages back for as long as one lies behind the other, where the route looks into none of them. Whether there was one.
    fn pass_whole_back(&mut self, input: &mut &mut [u8], turn: &mut Turn<'_>) -> bool {
        let before = input.len();
        if self.inspects(Toward::Client) {
            return false;
        }
        while self.is_delivering()
            && !self.output.is_full(turn.fresh.len(), self.sending_bytes as usize)
            && let Application::Upstream(far) = &mut self.application
            && let Some(chunk) = far.receiver.whole_message(input)
        {
            self.send_to_client(&chunk, turn);
        }
        if input.len() == before {
            return false;
        }
        self.note_message(turn.now);
        true
    }

    fn take_far_event(&mut self, event: Event<'_>, turn: &mut Turn<'_>) {
        match event {
            Event::Data(piece) if piece.compressed && self.is_delivering() => {
                self.take_far_compressed(piece, turn);
            }
            Event::Data(chunk) if self.is_delivering() => self.deliver_to_client(&chunk, turn),
            // The client has been told the end, or is gone.
            Event::Data(_) | Event::Pong(_) => {}
            Event::Ping(payload) => {
                let Some(far) = self.far_mut() else { return };
                let key = turn.keys.next();
                // After our Close nothing is sent any more, pongs included.
                let _ = if far.output.blocked_since().is_some() {
                    far.output.pong(&mut far.sender, payload, key)
                } else {
                    far.sender.pong(turn.onward, payload, key)
                };
            }
            Event::Close(close) => self.take_far_close(close, turn),
        }
    }

    /// A piece of a compressed message: what it inflates to goes the way of any other.
    fn take_far_compressed(&mut self, mut piece: Chunk<'_>, turn: &mut Turn<'_>) {
        let limits = self.terms.message_limits();
        let mut buffer = turn.workshop.take_buffer();
        while self.is_delivering()
            && let Some(far) = self.far_mut().filter(|far| far.is_receiving())
            && let Some(compression) = &mut far.compression
        {
            match compression.inflate(&mut piece, &mut buffer, &limits, turn.workshop, turn.now) {
                Ok(None) => break,
                Ok(Some(chunk)) => self.deliver_to_client(&chunk, turn),
                Err(Refused::Violation(violation)) => self.far_broke(violation, turn),
                Err(Refused::OverRate) => self.far_inflates_too_much(turn),
            }
        }
        turn.workshop.return_buffer(buffer);
    }

    fn deliver_to_client(&mut self, chunk: &Chunk<'_>, turn: &mut Turn<'_>) {
        self.note_message(turn.now);
        if self.inspects(Toward::Client) {
            self.inspect(Toward::Client, chunk, turn);
        } else {
            self.send_to_client(chunk, turn);
        }
    }

    pub(super) fn send_to_client(&mut self, chunk: &Chunk<'_>, turn: &mut Turn<'_>) {
        let Application::Upstream(far) = &mut self.application else { return };
        let Some(held) = far.to_client.release(chunk) else { return };
        let bytes = held.len() + chunk.payload.len();
        let compression = self.compression.as_deref_mut();
        let mut outlet = Outlet {
            sender: &mut self.sender,
            compression: compression.map(|compression| (compression, &mut *turn.workshop)),
        };
        let parts: [&[u8]; 2] = [&held, chunk.payload];
        let parts = if held.is_empty() { &parts[1..] } else { &parts };
        match outlet.data(turn.fresh, chunk.kind, chunk.message_end, parts) {
            Ok(()) => {
                self.sent_of_message(bytes, chunk.message_end);
                turn.tally.chunk(Direction::Out, kind_of(chunk.kind), bytes, chunk.message_end);
                self.tell(turn);
            }
            // While messages are delivered our Close has not been sent, and they are never interleaved.
            Err(_) => self.close(Ending::by_gate(Reason::InternalError), turn),
        }
    }
}
