//! What the peer sent, one event at a time: to the application, or to an end.

use drawgate_protocol::{
    Chunk, CloseFrame, Event, Limits as MessageLimits, LocalCode, MessageKind, Violation,
};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Application, FIRST_MESSAGE_LIMITS, Phase, Relay, Turn, kind_of};
use crate::compression::{Outlet, Refused};
use crate::connection::Ending;
use crate::inspect::Toward;
use crate::observe::{Direction, FrameKind};
use crate::rate::Rate;
use crate::reason::Reason;

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Relay<S> {
    pub(super) fn take_event(&mut self, event: Event<'_>, turn: &mut Turn<'_>) {
        match event {
            Event::Close(close) => self.take_close(close, turn),
            // RFC 6455 §5.5.1: after our Close we need not look at data, nor answer pings.
            Event::Data(_) | Event::Ping(_) | Event::Pong(_) if self.sender.is_closed() => {}
            Event::Data(piece) if piece.compressed => self.take_compressed(piece, turn),
            Event::Data(chunk) => self.take_chunk(&chunk, turn),
            Event::Ping(payload) => {
                turn.tally.chunk(Direction::In, FrameKind::Ping, payload.len(), true);
                if self.pings.check(&control_rate(), turn.now).is_err() {
                    return self.close(Ending::over(Reason::PingRateExceeded, CONTROLS_PER_SECOND), turn);
                }
                let sent = if self.output.blocked_since().is_some() {
                    self.output.pong(&mut self.sender, payload, None)
                } else {
                    self.sender.pong(turn.fresh, payload, None)
                };
                if sent.is_ok() {
                    turn.tally.chunk(Direction::Out, FrameKind::Pong, payload.len(), true);
                }
            }
            Event::Pong(payload) => {
                self.awaits_pong = false;
                turn.tally.chunk(Direction::In, FrameKind::Pong, payload.len(), true);
                if self.pongs.check(&control_rate(), turn.now).is_err() {
                    self.close(Ending::over(Reason::PongRateExceeded, CONTROLS_PER_SECOND), turn);
                }
            }
        }
    }

    /// A piece of a compressed message: what it inflates to goes the way of any other.
    pub(super) fn take_compressed(&mut self, mut piece: Chunk<'_>, turn: &mut Turn<'_>) {
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
    pub(super) fn message_limits(&self) -> MessageLimits {
        match self.application {
            Application::Unauthenticated { .. } => FIRST_MESSAGE_LIMITS,
            Application::Echo(_) | Application::Handler(_) | Application::Upstream(_) => {
                self.terms.message_limits()
            }
        }
    }

    #[inline]
    pub(super) fn take_chunk(&mut self, chunk: &Chunk<'_>, turn: &mut Turn<'_>) {
        turn.tally.chunk(Direction::In, kind_of(chunk.kind), chunk.payload.len(), chunk.message_end);
        self.note_message(turn.now);
        if self.keeps_pace(chunk, turn) && !self.takes_for_refresh(chunk, turn) {
            self.deliver(chunk, turn);
        }
    }

    /// Sees one piece on its way: into the message that is inspected, or on at once.
    #[inline]
    pub(super) fn deliver(&mut self, chunk: &Chunk<'_>, turn: &mut Turn<'_>) {
        // A credential is for the gate, and no message yet.
        let is_credential = matches!(self.application, Application::Unauthenticated(_));
        if self.inspects(Toward::Backend) && !is_credential {
            self.inspect(Toward::Backend, chunk, turn);
        } else {
            self.hand_on(chunk, turn);
        }
    }

    /// Hands one piece to whoever gets the messages.
    pub(super) fn hand_on(&mut self, chunk: &Chunk<'_>, turn: &mut Turn<'_>) {
        let inspects_echo = self.inspects(Toward::Client);
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
            Application::Echo(_) if inspects_echo => {
                self.inspect_echo(chunk, turn);
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
                    self.sent_of_message(bytes, chunk.message_end);
                    turn.tally.chunk(Direction::Out, kind_of(chunk.kind), bytes, chunk.message_end);
                    self.tell(turn);
                }
                // Data after our Close has been left out above, and messages are never interleaved.
                Err(_) => self.close(Ending::by_gate(Reason::InternalError), turn),
            },
            Application::Handler(handling) => {
                if let Err(violation) = handling.chunk(chunk) {
                    self.break_off(violation, turn);
                }
            }
            // After our Close to the application nothing of the client's is read.
            Application::Upstream(far) => {
                if far.forward(chunk, turn).is_err() {
                    self.close(Ending::by_gate(Reason::InternalError), turn);
                }
            }
        }
    }

    /// The peer's Close: answered with the same code (RFC 6455 §5.5.1), unless it is itself an answer.
    pub(super) fn take_close(&mut self, close: Option<CloseFrame<'_>>, turn: &mut Turn<'_>) {
        turn.tally.chunk(
            Direction::In,
            FrameKind::Close,
            close.map_or(0, |close| close.reason.len() + 2),
            true,
        );
        self.is_through = true;
        let code = close.map_or(LocalCode::NoStatus.get(), |close| close.code.get());
        self.ending.get_or_insert_with(|| Box::new(Ending::by_client(Reason::ClosedByClient, Some(code))));
        if !self.sender.is_closed() {
            if self.leave_with(close, turn) {
                return;
            }
            let answer = close.map(|close| CloseFrame { code: close.code, reason: "" });
            if self.sender.close(turn.fresh, answer, None).is_ok() {
                turn.tally.chunk(Direction::Out, FrameKind::Close, answer.map_or(0, |_| 2), true);
            }
        }
        self.phase = Phase::Finishing { until: self.close_until(turn.now) };
    }

    /// Fails the connection (RFC 6455 §7.1.7): what the peer sends can no longer be read, its Close included.
    pub(super) fn break_off(&mut self, violation: Violation, turn: &mut Turn<'_>) {
        let is_first = matches!(self.application, Application::Unauthenticated(_));
        let reason = match violation {
            Violation::MessageTooBig if is_first => Reason::FirstMessageTooBig,
            Violation::FragmentsTooMany if is_first => Reason::FirstMessageInvalid,
            other => Reason::from(other),
        };
        let limits = self.message_limits();
        let declared_bytes = self.receiver.declared_bytes();
        self.close(Ending::by_violation(reason, violation, limits, declared_bytes), turn);
        self.phase = Phase::Finishing { until: self.close_until(turn.now) };
    }
}

fn control_rate() -> Rate {
    Rate::new(CONTROLS_PER_SECOND, Duration::from_secs(1), CONTROLS_BURST)
}

/// The pings that a client may send, and the pongs; a keepalive needs one in some seconds.
const CONTROLS_PER_SECOND: u32 = 50;

/// How many of them may come at once.
const CONTROLS_BURST: u32 = 100;
