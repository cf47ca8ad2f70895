//! Messages of a route that inspects them: put together whole, judged, and sent on as one; or not, and then the client is told
//! between two messages, and the record waits until whoever drives the relay has taken it.
//!
//! What is held of a message that has not come whole is bounded by the route's limits, and counted with all that waits in
//! the gateway. Connections of other routes have none of this, and pay one branch a piece.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use drawgate_protocol::{Assembler, Chunk, Message, MessageKind, Violation};
use tokio::io::{AsyncRead, AsyncWrite};

use super::tenure::Tenure;
use super::{Application, Phase, Relay, Turn};
use crate::clock::Moment;
use crate::compression::Outlet;
use crate::connection::identity::Identity;
use crate::connection::output::Budget;
use crate::connection::{Ending, Facilities, Terms};
use crate::inspect::policy::{Effect, Note};
use crate::inspect::seal::{Sealing, Spent, Unsealed};
use crate::inspect::{Context, Inspection, Inspections, Judgement, Refusal, Toward, Verdict};
use crate::observe::{Direction, FrameKind, TrafficDelta};
use crate::principal::{ClientAddr, Principal};
use crate::rate::{Gcra, Rate};
use crate::reason::Reason;
use crate::route::Notice;
use crate::session::SessionId;

/// What one connection of such a route has under way.
#[derive(Debug)]
pub(super) struct Inspecting {
    client: ClientAddr,
    session: Option<SessionId>,
    principal: Option<Arc<Principal>>,
    to_backend: Gathering,
    to_client: Gathering,
    /// The keys of the session, where the route seals messages.
    sealing: Option<Sealing>,
    /// Since when something of a message is held.
    held_since: Option<Moment>,
    budget: Arc<Budget>,
    /// How much of it the budget counts.
    charged_bytes: usize,
    /// What has yet to be recorded of the last message, which as an echo is looked at twice; nothing more is looked at meanwhile.
    remarks: VecDeque<Remarks>,
    /// What the client is to be told at the next boundary between messages.
    notices: VecDeque<String>,
}

/// The message of one direction that is open, and how many before it were refused.
#[derive(Debug)]
struct Gathering {
    assembler: Assembler,
    refusals: Gcra,
}

/// What there is to record of one message.
#[derive(Debug)]
pub(crate) struct Remarks {
    pub(crate) toward: Toward,
    /// Rules that had something to say and did not keep it from going on.
    pub(crate) notes: Vec<Note>,
    /// Why it does not go on, while its connection does, and the precise cause.
    pub(crate) refused: Option<(Reason, String)>,
}

impl Inspecting {
    /// For a connection of `client`, who is whoever `identity` says, if the route inspects anything.
    pub(super) fn new(
        terms: &Terms,
        facilities: &Facilities,
        client: ClientAddr,
        identity: Option<&Identity>,
        sealing: Option<Sealing>,
    ) -> Option<Box<Self>> {
        let Inspections { messages, replies, seal: _ } = &terms.inspections;
        if messages.is_none() && replies.is_none() && sealing.is_none() {
            return None;
        }
        let session = identity.and_then(|identity| identity.session.as_ref());
        let gathering =
            || Gathering { assembler: Assembler::new(terms.message_limits()), refusals: Gcra::default() };
        Some(Box::new(Self {
            client,
            session: session.map(|session| session.live().id()),
            principal: identity.map(|identity| Arc::clone(&identity.principal)),
            to_backend: gathering(),
            to_client: gathering(),
            sealing,
            held_since: None,
            budget: Arc::clone(&facilities.budget),
            charged_bytes: 0,
            remarks: VecDeque::new(),
            notices: VecDeque::new(),
        }))
    }

    fn gathering(&mut self, toward: Toward) -> &mut Gathering {
        match toward {
            Toward::Backend => &mut self.to_backend,
            Toward::Client => &mut self.to_client,
        }
    }

    fn held_bytes(&self) -> usize {
        self.to_backend.assembler.held_bytes() + self.to_client.assembler.held_bytes()
    }

    /// Adds a piece to the message that is open; the message, if it was the last.
    fn gather(
        &mut self,
        toward: Toward,
        chunk: &Chunk<'_>,
        now: Moment,
    ) -> Result<Option<Message>, Violation> {
        let gathered = self.gathering(toward).assembler.push(chunk);
        self.settle(now);
        gathered
    }

    /// Gives up what is held of the message that goes there.
    fn give_up(&mut self, toward: Toward, now: Moment) {
        let assembler = &mut self.gathering(toward).assembler;
        *assembler = assembler.emptied();
        self.settle(now);
    }

    /// Keeps the budget's count, and the time, true.
    fn settle(&mut self, now: Moment) {
        let bytes = self.held_bytes();
        self.budget.charge(self.charged_bytes, bytes);
        self.charged_bytes = bytes;
        self.held_since = if bytes == 0 { None } else { self.held_since.or(Some(now)) };
    }

    /// Keeps what there is to record, if there is anything.
    fn remark(&mut self, toward: Toward, notes: Vec<Note>, refused: Option<(Reason, String)>) {
        if refused.is_some() || !notes.is_empty() {
            self.remarks.push_back(Remarks { toward, notes, refused });
        }
    }

    fn context(&self, toward: Toward) -> Context<'_> {
        let (client, session) = (self.client, self.session);
        Context { toward, client, session, principal: self.principal.as_deref() }
    }

    /// Since when how much is held.
    pub(super) fn held(&self) -> Option<(Moment, usize)> {
        Some((self.held_since?, self.charged_bytes))
    }

    /// The session goes on under another token.
    pub(super) fn speaks(&mut self, principal: &Arc<Principal>) {
        self.principal = Some(Arc::clone(principal));
    }
}

impl Drop for Inspecting {
    fn drop(&mut self) {
        self.budget.charge(self.charged_bytes, 0);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Relay<S> {
    /// Whether the route inspects what goes there.
    pub(super) fn inspects(&self, toward: Toward) -> bool {
        self.terms.inspections.seal.is_some() || inspection(&self.terms, toward).is_some()
    }

    pub(super) fn inspecting(&self) -> Option<&Inspecting> {
        self.tenure.as_ref()?.inspecting.as_deref()
    }

    pub(super) fn take_remarks(&mut self) -> Option<Box<Remarks>> {
        under_way(&mut self.tenure)?.remarks.pop_front().map(Box::new)
    }

    /// Whether a record has to be written before more is looked at.
    pub(super) fn has_remarks(&self) -> bool {
        self.inspecting().is_some_and(|inspecting| !inspecting.remarks.is_empty())
    }

    /// Takes one piece of a message that is inspected; the whole message goes on, if it may, when the last has come.
    pub(super) fn inspect(&mut self, toward: Toward, chunk: &Chunk<'_>, turn: &mut Turn<'_>) {
        if chunk.message_start && chunk.message_end {
            // It has come whole, and is judged where it lies.
            return match self.judge(toward, chunk.kind, chunk.payload, turn.now) {
                Judged::Passes(None) => self.go_on(toward, chunk, turn),
                Judged::Passes(Some(Replacement { kind, bytes })) => {
                    self.go_on_whole(toward, kind, bytes, turn);
                }
                Judged::Refused => self.tell(turn),
                Judged::Ends(ending) => self.end_for(*ending, turn),
            };
        }
        let Some(inspecting) = under_way(&mut self.tenure) else { return };
        let message = match inspecting.gather(toward, chunk, turn.now) {
            Ok(Some(message)) => message,
            Ok(None) => return,
            Err(violation) => return self.exceed(toward, violation, turn),
        };
        match self.judge(toward, message.kind(), message.as_bytes(), turn.now) {
            Judged::Passes(Some(Replacement { kind, bytes })) => self.go_on_whole(toward, kind, bytes, turn),
            Judged::Passes(None) => {
                let kind = message.kind();
                let bytes = match message {
                    Message::Text(text) => text.into_bytes(),
                    Message::Binary(bytes) => bytes,
                };
                self.go_on_whole(toward, kind, bytes, turn);
            }
            Judged::Refused => self.tell(turn),
            Judged::Ends(ending) => self.end_for(*ending, turn),
        }
    }

    /// Closes, also where the client has closed already and answers no more.
    fn end_for(&mut self, ending: Ending, turn: &mut Turn<'_>) {
        let has_left = matches!(self.phase, Phase::Leaving { .. });
        if has_left {
            self.ending = None;
        }
        self.close(ending, turn);
        if has_left {
            self.phase = Phase::Finishing { until: self.close_until(turn.now) };
        }
    }

    /// What the application in this process wants sent: what goes out, if anything does.
    pub(super) fn inspect_outgoing(&mut self, message: Message, now: Moment) -> Option<Message> {
        match self.judge(Toward::Client, message.kind(), message.as_bytes(), now) {
            Judged::Passes(None) => Some(message),
            Judged::Passes(Some(Replacement { kind: MessageKind::Binary, bytes })) => {
                Some(Message::Binary(bytes))
            }
            Judged::Passes(Some(Replacement { kind: MessageKind::Text, bytes })) => {
                Some(Message::Text(String::from_utf8(bytes).ok()?))
            }
            Judged::Refused => None,
            Judged::Ends(ending) => {
                self.close_from_outside(*ending, now);
                None
            }
        }
    }

    /// The echo of one piece, behind its prefix, as the pieces of a message that is inspected.
    pub(super) fn inspect_echo(&mut self, chunk: &Chunk<'_>, turn: &mut Turn<'_>) {
        let Application::Echo(echoing) = &self.application else { return };
        if chunk.message_start && !echoing.prefix().is_empty() {
            let mut prefix = echoing.prefix().as_bytes().to_vec();
            let opening = Chunk { payload: &mut prefix, frame_end: false, message_end: false, ..*chunk };
            self.inspect(Toward::Client, &opening, turn);
            let mut rest = chunk.payload.to_vec();
            let rest = Chunk { payload: &mut rest, frame_start: false, message_start: false, ..*chunk };
            return self.inspect(Toward::Client, &rest, turn);
        }
        self.inspect(Toward::Client, chunk, turn);
    }

    fn go_on_whole(&mut self, toward: Toward, kind: MessageKind, mut bytes: Vec<u8>, turn: &mut Turn<'_>) {
        let whole = Chunk {
            kind,
            payload: &mut bytes,
            compressed: false,
            frame_start: true,
            frame_end: true,
            message_start: true,
            message_end: true,
        };
        self.go_on(toward, &whole, turn);
    }

    fn go_on(&mut self, toward: Toward, chunk: &Chunk<'_>, turn: &mut Turn<'_>) {
        match (toward, &self.application) {
            (Toward::Backend, _) => self.hand_on(chunk, turn),
            (Toward::Client, Application::Upstream(_)) => self.send_to_client(chunk, turn),
            (Toward::Client, _) => self.send_whole(chunk.kind, chunk.payload, turn),
        }
    }

    /// Sends a whole message of the built-in backend's.
    fn send_whole(&mut self, kind: MessageKind, bytes: &[u8], turn: &mut Turn<'_>) {
        let compression = self.compression.as_deref_mut();
        let mut outlet = Outlet {
            sender: &mut self.sender,
            compression: compression.map(|compression| (compression, &mut *turn.workshop)),
        };
        match outlet.data(turn.fresh, kind, true, &[bytes]) {
            Ok(()) => turn.tally.chunk(Direction::Out, super::kind_of(kind), bytes.len(), true),
            // Data after our Close has been left out, and whole messages are never interleaved.
            Err(_) => self.close(Ending::by_gate(Reason::InternalError), turn),
        }
    }

    /// The message is beyond the limits of the route, though each of its pieces was not.
    fn exceed(&mut self, toward: Toward, violation: Violation, turn: &mut Turn<'_>) {
        match toward {
            Toward::Backend => self.break_off(violation, turn),
            Toward::Client => {
                let limits = self.terms.message_limits();
                let ending = Ending::by_violation(Reason::UpstreamMisbehaved, violation, limits, None);
                self.close(ending, turn);
            }
        }
    }

    /// What becomes of a message. Where the route seals, what the client sends is opened first, and what it gets is sealed last.
    fn judge(&mut self, toward: Toward, kind: MessageKind, bytes: &[u8], now: Moment) -> Judged {
        if self.terms.inspections.seal.is_none() {
            return self.examine(toward, kind, bytes, now);
        }
        let text = match toward {
            Toward::Client => None,
            Toward::Backend => match self.open(kind, bytes) {
                Ok(text) => Some(text.into_bytes()),
                Err(reason) => {
                    self.terms.metrics.message_refused(toward, reason);
                    return Judged::Ends(Box::new(Ending::by_gate(reason)));
                }
            },
        };
        let judged = self.examine(toward, kind, text.as_deref().unwrap_or(bytes), now);
        match (judged, toward) {
            (Judged::Passes(None), Toward::Backend) => {
                Judged::Passes(text.map(|bytes| Replacement { kind, bytes }))
            }
            (Judged::Passes(None), Toward::Client) => self.seal(kind, bytes),
            (Judged::Passes(Some(Replacement { kind, bytes })), Toward::Client) => self.seal(kind, &bytes),
            (judged @ (Judged::Passes(Some(_)) | Judged::Refused | Judged::Ends(_)), _) => judged,
        }
    }

    /// What the client has sealed.
    fn open(&mut self, kind: MessageKind, bytes: &[u8]) -> Result<String, Reason> {
        let sealing = under_way(&mut self.tenure).and_then(|inspecting| inspecting.sealing.as_mut());
        match (sealing, kind) {
            (Some(sealing), _) if sealing.is_spent(Toward::Backend) => Err(Reason::SealSpent),
            (Some(sealing), MessageKind::Text) => {
                sealing.open(Toward::Backend, bytes).map_err(|Unsealed| Reason::PayloadUnsealed)
            }
            (_, MessageKind::Text | MessageKind::Binary) => Err(Reason::PayloadUnsealed),
        }
    }

    /// A reply, as it goes out; only text is sealed.
    fn seal(&mut self, kind: MessageKind, bytes: &[u8]) -> Judged {
        let sealing = under_way(&mut self.tenure).and_then(|inspecting| inspecting.sealing.as_mut());
        let text = (kind == MessageKind::Text).then(|| std::str::from_utf8(bytes).ok()).flatten();
        let (Some(sealing), Some(text)) = (sealing, text) else {
            let reason = Reason::ReplyRefused;
            self.terms.metrics.message_refused(Toward::Client, reason);
            return Judged::Ends(Box::new(ending(reason, "only text can be sealed".to_owned(), None)));
        };
        match sealing.seal(Toward::Client, text) {
            Ok(sealed) => Judged::Passes(Some(Replacement { kind, bytes: sealed.into_bytes() })),
            Err(Spent) => Judged::Ends(Box::new(Ending::by_gate(Reason::SealSpent))),
        }
    }

    /// What the steps of inspection make of a message that is open.
    fn examine(&mut self, toward: Toward, kind: MessageKind, bytes: &[u8], now: Moment) -> Judged {
        let (Some(inspecting), Some(inspection)) =
            (under_way(&mut self.tenure), inspection(&self.terms, toward))
        else {
            return Judged::Passes(None);
        };
        let Judgement { verdict, notes } = inspection.judge(kind, bytes, &inspecting.context(toward));
        for note in &notes {
            self.terms.metrics.rule_applied(&note.rule, note.effect);
        }
        let (refusal, closes, is_told) = match verdict {
            Verdict::Pass => {
                inspecting.remark(toward, notes, None);
                return Judged::Passes(None);
            }
            Verdict::Refuse(refusal) => (refusal, false, toward == Toward::Backend),
            Verdict::Close(refusal) => (refusal, true, true),
            Verdict::Drop(refusal) => (refusal, false, false),
        };
        let reason = match toward {
            Toward::Backend => refusal.reason,
            Toward::Client => Reason::ReplyRefused,
        };
        self.terms.metrics.message_refused(toward, reason);
        if let Some(rule) = &refusal.rule {
            self.terms.metrics.rule_applied(rule, Effect::of(&refusal, inspection.on_refusal));
        }
        let detail = described(toward, &refusal);
        let told = (toward == Toward::Backend).then_some(&refusal);
        if closes {
            inspecting.remark(toward, notes, None);
            return Judged::Ends(Box::new(ending(reason, detail, told)));
        }
        if let Some(refusals_max) = inspection.refusals_max
            && inspecting.gathering(toward).refusals.check(&per_minute(refusals_max), now).is_err()
        {
            let (reason, detail) = match toward {
                Toward::Backend => {
                    (Reason::RefusalsExceeded, format!("the last: {}, {detail}", reason.row().label))
                }
                Toward::Client => (reason, format!("too many were refused; the last: {detail}")),
            };
            let limit = Some(refusals_max.into());
            return Judged::Ends(Box::new(Ending { limit, ..ending(reason, detail, None) }));
        }
        if is_told && inspecting.notices.len() < NOTICES_MAX {
            inspecting.notices.extend(match self.terms.notice {
                Notice::Close => None,
                Notice::Json => Some(refusal.reason.refusal_json(&refusal.at(), false)),
                Notice::Text => Some(refusal.reason.row().title.to_owned()),
            });
        }
        inspecting.remark(toward, notes, Some((reason, detail)));
        Judged::Refused
    }

    /// Tells the client what there is to tell, unless a message to it is under way.
    #[inline]
    pub(super) fn tell(&mut self, turn: &mut Turn<'_>) {
        if self.inspecting().is_some() {
            self.tell_notices(turn);
        }
    }

    fn tell_notices(&mut self, turn: &mut Turn<'_>) {
        let Some(inspecting) = under_way(&mut self.tenure) else { return };
        if inspecting.notices.is_empty() || self.sender.is_within_message() || self.sender.is_closed() {
            return;
        }
        for notice in mem::take(&mut inspecting.notices) {
            if self.sender.data(turn.fresh, MessageKind::Text, true, &[notice.as_bytes()], None).is_ok() {
                self.terms.metrics.add(&TrafficDelta::whole(Direction::Out, FrameKind::Text, notice.len()));
            }
        }
    }

    /// Nothing more of what is held can become a message once the side that sends it has closed.
    pub(super) fn give_up_held(&mut self, now: Moment) {
        if self.phase != Phase::Open
            && let Application::Unauthenticated(nobody) = &mut self.application
        {
            nobody.give_up();
        }
        let (phase, Some(inspecting)) = (self.phase, under_way(&mut self.tenure)) else { return };
        let replies_go_on = matches!(phase, Phase::Open | Phase::Leaving { .. });
        if phase != Phase::Open && inspecting.charged_bytes > 0 {
            inspecting.give_up(Toward::Backend, now);
            if !replies_go_on {
                inspecting.give_up(Toward::Client, now);
            }
        }
    }
}

/// What the relay does with a message.
enum Judged {
    /// It goes on: as it is, or as this.
    Passes(Option<Replacement>),
    /// It has been dealt with; a notice may wait.
    Refused,
    Ends(Box<Ending>),
}

/// What goes on instead of a message that was sealed, or is to be.
struct Replacement {
    /// Text or binary; text is UTF-8.
    kind: MessageKind,
    /// The payload.
    bytes: Vec<u8>,
}

/// The end that a message brought about; `told` is what the client gets to know of it.
fn ending(reason: Reason, detail: String, told: Option<&Refusal>) -> Ending {
    let notice = told.map(|refusal| reason.refusal_json(&refusal.at(), true).into_boxed_str());
    Ending { detail: Some(detail), notice, ..Ending::by_gate(reason) }
}

/// What a connection has under way, where its messages are inspected.
pub(super) fn under_way(tenure: &mut Option<Box<Tenure>>) -> Option<&mut Inspecting> {
    tenure.as_mut()?.inspecting.as_deref_mut()
}

fn inspection(terms: &Terms, toward: Toward) -> Option<&Inspection> {
    match toward {
        Toward::Backend => terms.inspections.messages.as_ref(),
        Toward::Client => terms.inspections.replies.as_ref(),
    }
}

/// What the operator is told: of a reply also the reason, since its row is that of all replies.
fn described(toward: Toward, refusal: &Refusal) -> String {
    let mut text = match toward {
        Toward::Backend => String::new(),
        Toward::Client => format!("{}: ", refusal.reason.row().label),
    };
    text.push_str(refusal.detail.as_deref().unwrap_or(refusal.reason.row().sentence));
    if let Some(rule) = &refusal.rule {
        // Writing to a string cannot fail.
        let _ = write!(text, " (rule {rule:?})");
    }
    if let Some(pointer) = &refusal.pointer {
        // Writing to a string cannot fail.
        let _ = write!(text, " at {pointer:?}");
    }
    text
}

fn per_minute(count: u32) -> Rate {
    Rate::new(count, Duration::from_mins(1), count)
}

/// How many notices wait for a message to the client to end; what is refused beyond that is in the record alone.
const NOTICES_MAX: usize = 16;
