//! How long a connection may last: until its token expires, its session has to end, its time is up, or nobody has said
//! anything for too long. And how it lasts longer: by another token, sent over it.
//!
//! Only connections that authenticated, or whose route bounds their time or inspects their messages, have a [`Tenure`]. Its moments are monotonic: a
//! wall clock that is set changes none of them.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use drawgate_protocol::{Chunk, MessageKind};
use tokio::io::{AsyncRead, AsyncWrite};

use super::inspecting::{Inspecting, under_way};
use super::{Phase, Relay, Turn};
use crate::clock::Moment;
use crate::connection::Ending;
use crate::connection::identity::{Identity, Term};
use crate::connection::pace::Pacing;
use crate::inspect::seal::Sealing;
use crate::limits::Limits;
use crate::principal::{ClientAddr, Principal};
use crate::rate::{Gcra, Rate};
use crate::reason::Reason;
use crate::route::Notice;
use crate::session::{End, Live};

/// What bounds the time of one connection.
#[derive(Debug)]
pub(super) struct Tenure {
    live: Option<Arc<Live>>,
    began_at: Moment,
    /// When a message, or a part of one, last went either way.
    messaged_at: Moment,
    term: Term,
    refreshing: Option<Refreshing>,
    /// How fast it has been sending, where the route bounds that.
    pub(super) pacing: Option<Box<Pacing>>,
    /// Until when it is not read, since it was too fast.
    pub(super) held_until: Option<Moment>,
    /// Here because it lasts as long, and most connections have neither.
    pub(super) inspecting: Option<Box<Inspecting>>,
}

/// Looks for another token among the messages.
#[derive(Debug, Default)]
struct Refreshing {
    found: Found,
    rate: Gcra,
}

/// What the message that is open has turned out to be.
#[derive(Debug, Default)]
enum Found {
    /// Nothing of one has been seen, or it is for the application.
    #[default]
    Message,
    /// All of it so far begins [`REFRESH_MARK`]; whether a frame ended with it, or before.
    Perhaps { held: Vec<u8>, frame_ended: bool, is_fragmented: bool },
    /// A token, as far as it has come.
    Token(Vec<u8>),
    /// A token that has come whole.
    Whole(Vec<u8>),
}

/// What to do with a piece of a message.
enum Verdict {
    /// It is the application's, with what was held of the message before it.
    Deliver { held: Vec<u8>, frame_ended: bool },
    /// It is ours.
    Keep,
    /// It is no token that could be good.
    Refuse(&'static str),
}

impl Tenure {
    /// For a connection of whoever `identity` is, if its time is bounded at all.
    fn new(
        limits: &Limits,
        identity: Option<&Identity>,
        has_refresh: bool,
        (inspecting, pacing): (Option<Box<Inspecting>>, Option<Box<Pacing>>),
        now: Moment,
    ) -> Option<Box<Self>> {
        let is_bounded = limits.idle_timeout.is_some() || limits.session_time_max.is_some();
        if identity.is_none() && inspecting.is_none() && pacing.is_none() && !is_bounded {
            return None;
        }
        let live =
            identity.and_then(|identity| identity.session.as_ref()).map(|guard| Arc::clone(guard.live()));
        Some(Box::new(Self {
            refreshing: (has_refresh && live.is_some()).then(Refreshing::default),
            live,
            pacing,
            held_until: None,
            inspecting,
            began_at: identity.map_or(now, |identity| identity.began_at),
            messaged_at: now,
            term: identity.map_or(Term { warn_at: None, until: None }, |identity| identity.term),
        }))
    }

    /// Whether a message that has come whole has to be looked at as one that may bring another token.
    #[inline]
    pub(super) fn may_be_token(&self, payload: &[u8]) -> bool {
        self.refreshing.is_some() && payload.starts_with(REFRESH_MARK)
    }

    /// Whether a token waits to be verified, before anything behind it is looked at.
    pub(super) fn has_token(&self) -> bool {
        matches!(&self.refreshing, Some(Refreshing { found: Found::Whole(_), .. }))
    }

    pub(super) fn take_token(&mut self) -> Option<Vec<u8>> {
        let found = &mut self.refreshing.as_mut()?.found;
        match mem::take(found) {
            Found::Whole(token) => Some(token),
            other => {
                *found = other;
                None
            }
        }
    }
}

impl Refreshing {
    /// Looks at the next piece. Nothing is held but what could be a token of ours.
    fn look(&mut self, chunk: &Chunk<'_>, now: Moment) -> Verdict {
        let deliver = |held, frame_ended| Verdict::Deliver { held, frame_ended };
        if chunk.message_start && chunk.kind == MessageKind::Text {
            self.found = Found::Perhaps { held: Vec::new(), frame_ended: false, is_fragmented: false };
        }
        match mem::take(&mut self.found) {
            Found::Message | Found::Whole(_) => deliver(Vec::new(), false),
            Found::Perhaps { mut held, frame_ended, is_fragmented } => {
                let awaited = &REFRESH_MARK[held.len()..];
                let seen = awaited.len().min(chunk.payload.len());
                if chunk.payload[..seen] != awaited[..seen] {
                    return deliver(held, frame_ended);
                }
                if seen < awaited.len() {
                    if chunk.message_end {
                        return deliver(held, frame_ended);
                    }
                    held.extend_from_slice(chunk.payload);
                    let (frame_ended, is_fragmented) = (chunk.frame_end, is_fragmented || chunk.frame_end);
                    self.found = Found::Perhaps { held, frame_ended, is_fragmented };
                    return Verdict::Keep;
                }
                if is_fragmented {
                    return Verdict::Refuse(IN_FRAGMENTS);
                }
                self.collect(Vec::new(), &chunk.payload[seen..], chunk, now)
            }
            Found::Token(bytes) => self.collect(bytes, chunk.payload, chunk, now),
        }
    }

    fn collect(&mut self, mut bytes: Vec<u8>, more: &[u8], chunk: &Chunk<'_>, now: Moment) -> Verdict {
        if chunk.frame_end && !chunk.message_end {
            return Verdict::Refuse(IN_FRAGMENTS);
        }
        if bytes.len() + more.len() > REFRESH_BYTES_MAX - REFRESH_MARK.len() {
            return Verdict::Refuse("the new token is too long");
        }
        bytes.extend_from_slice(more);
        if !chunk.message_end {
            self.found = Found::Token(bytes);
        } else if self.rate.check(&refresh_rate(), now).is_err() {
            return Verdict::Refuse("new tokens come too often");
        } else {
            self.found = Found::Whole(bytes);
        }
        Verdict::Keep
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Relay<S> {
    /// The connection is that of `client`, whose `identity` says, or anybody's, and lasts as long as that and the route's limits allow.
    pub(in crate::connection) fn begin_tenure(
        &mut self,
        client: ClientAddr,
        identity: Option<&Identity>,
        has_refresh: bool,
    ) {
        let now = self.facilities.now();
        let sealing = self.begin_sealing();
        let inspecting = Inspecting::new(&self.terms, &self.facilities, client, identity, sealing);
        let subject = identity.map(|identity| Arc::clone(&identity.principal.subject));
        let pacing = self.terms.paces.as_ref().map(|_| Box::new(Pacing::new(client, subject)));
        self.tenure = Tenure::new(&self.terms.limits, identity, has_refresh, (inspecting, pacing), now);
    }

    /// The keys of the session, where the route seals messages; the client is told of them before anything else.
    fn begin_sealing(&mut self) -> Option<Sealing> {
        let terms = Arc::clone(&self.terms);
        let config = terms.inspections.seal.as_ref()?;
        let salt = self.facilities.chance.bytes();
        self.queue_text(&Sealing::announcement(config, &salt));
        Some(Sealing::new(config, &salt))
    }

    /// The token that was sent is good: the session goes on under it.
    pub(in crate::connection) fn refreshed(&mut self, principal: &Arc<Principal>, term: Term) {
        if let Some(tenure) = &mut self.tenure {
            tenure.term = term;
        }
        if let Some(inspecting) = under_way(&mut self.tenure) {
            inspecting.speaks(principal);
        }
        if self.terms.notice == Notice::Json && self.phase == Phase::Open && !self.sender.is_within_message()
        {
            self.queue_text(&told("session_refreshed", principal));
        }
    }

    /// Something of a message went one way or the other.
    pub(super) fn note_message(&mut self, now: Moment) {
        if let Some(tenure) = &mut self.tenure {
            tenure.messaged_at = now;
        }
    }

    /// Whether `chunk` is not the application's, since it is part of another token. What was held of a message that is none goes
    /// to the application first.
    pub(super) fn takes_for_refresh(&mut self, chunk: &Chunk<'_>, turn: &mut Turn<'_>) -> bool {
        let Some(refreshing) = self.tenure.as_mut().and_then(|tenure| tenure.refreshing.as_mut()) else {
            return false;
        };
        match refreshing.look(chunk, turn.now) {
            Verdict::Keep => true,
            Verdict::Refuse(detail) => {
                let detail = Some(detail.to_owned());
                self.close(Ending { detail, ..Ending::by_gate(Reason::RefreshRefused) }, turn);
                true
            }
            Verdict::Deliver { mut held, frame_ended } => {
                if !held.is_empty() {
                    let held = Chunk {
                        kind: chunk.kind,
                        payload: &mut held,
                        compressed: false,
                        frame_start: true,
                        frame_end: frame_ended,
                        message_start: true,
                        message_end: false,
                    };
                    self.deliver(&held, turn);
                }
                // What was held may have been one piece too many.
                self.sender.is_closed()
            }
        }
    }

    /// The session has been told to end.
    pub(super) fn heed_session(&mut self, now: Moment) {
        let end = self.tenure.as_ref().and_then(|tenure| tenure.live.as_ref()).and_then(|live| live.end());
        let Some(end) = end else { return };
        let ending = match end {
            End::Revoked | End::Banned | End::Ended => Ending::by_operator(end.reason()),
            End::Replaced => Ending::by_gate(end.reason()),
        };
        self.end_session(ending, now);
    }

    /// Ends the connection because its session is over, whether or not the client reads. Of one that leaves, too: what the application still
    /// has to say is not for whoever may not be here.
    pub(super) fn end_session(&mut self, ending: Ending, now: Moment) {
        let is_leaving = matches!(self.phase, Phase::Leaving { .. });
        if self.phase != Phase::Open && !is_leaving {
            return;
        }
        if is_leaving {
            self.ending = None;
        }
        if self.output.blocked_since().is_some() {
            self.give_up_output(ending, now);
        } else {
            self.close_from_outside(ending, now);
        }
        if is_leaving && self.phase != Phase::Done {
            // Its own Close has come, or is not waited for any longer.
            self.phase = Phase::Finishing { until: self.close_until(now) };
        }
    }

    /// Why the time of the connection is up, if it is.
    pub(super) fn tenure_ended(&self, now: Moment) -> Option<Ending> {
        self.term_ended(now).or_else(|| {
            let tenure = self.tenure.as_ref()?;
            self.idle_until().filter(|until| now >= *until)?;
            let elapsed = now.since(tenure.messaged_at);
            Some(Ending::late(Reason::IdleTimeout, self.terms.limits.idle_timeout, elapsed))
        })
    }

    /// The same, but for one that has only been silent.
    pub(super) fn term_ended(&self, now: Moment) -> Option<Ending> {
        let tenure = self.tenure.as_ref()?;
        let passed = |deadline: Option<Moment>| deadline.is_some_and(|deadline| now >= deadline);
        if passed(tenure.term.until) {
            return Some(Ending::by_gate(Reason::TokenExpired));
        }
        if passed(self.session_until()) {
            let elapsed = now.since(tenure.began_at);
            let session_time_max = self.terms.limits.session_time_max;
            return Some(Ending::late(Reason::SessionTimeExceeded, session_time_max, elapsed));
        }
        None
    }

    /// The next moment at which something about the tenure is due.
    pub(super) fn tenure_due(&self) -> Option<Moment> {
        let tenure = self.tenure.as_ref()?;
        // While a message is under way no warning can go out, so there is nothing to wake for.
        let warn_at = tenure.term.warn_at.filter(|_| self.can_warn());
        [tenure.term.until, self.session_until(), self.idle_until(), warn_at].into_iter().flatten().min()
    }

    fn session_until(&self) -> Option<Moment> {
        Some(self.tenure.as_ref()?.began_at + self.terms.limits.session_time_max?)
    }

    /// Somebody who works on a message, or waits for room, is not idle.
    fn idle_until(&self) -> Option<Moment> {
        if self.paused_since.is_some() || self.is_paused(0, 0) {
            return None;
        }
        Some(self.tenure.as_ref()?.messaged_at + self.terms.limits.idle_timeout?)
    }

    fn can_warn(&self) -> bool {
        self.terms.notice == Notice::Json && self.phase == Phase::Open && !self.sender.is_within_message()
    }

    /// Tells the client that its session is about to end, between two messages. Whether it did.
    pub(super) fn warn(&mut self, now: Moment) -> bool {
        let can_warn = self.can_warn();
        let Some(tenure) = &mut self.tenure else { return false };
        let Some(live) = &tenure.live else { return false };
        if !can_warn || tenure.term.warn_at.is_none_or(|warn_at| now < warn_at) {
            return false;
        }
        tenure.term.warn_at = None;
        let text = told("session_expiring", &live.principal());
        self.queue_text(&text);
        true
    }
}

/// What a client is told of its session.
fn told(what: &str, principal: &Principal) -> String {
    serde_json::json!({ "type": what, "expires_at": principal.expires_at.to_string() }).to_string()
}

fn refresh_rate() -> Rate {
    Rate::new(REFRESHES_PER_MINUTE, Duration::from_mins(1), REFRESHES_BURST)
}

/// What a message that brings another token begins with.
const REFRESH_MARK: &[u8] = b"drawgate.refresh ";

const IN_FRAGMENTS: &str = "the new token came in fragments";

/// The most bytes of such a message.
const REFRESH_BYTES_MAX: usize = 8 * 1024;

/// How many a client may send: each costs a signature's check, and a token lasts for minutes at least.
const REFRESHES_PER_MINUTE: u32 = 10;

/// How many of them may come at once.
const REFRESHES_BURST: u32 = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What becomes of a message that arrives in these pieces: `|` ends a frame, and the last piece the message.
    fn look(pieces: &[&str]) -> (Vec<String>, Option<Vec<u8>>) {
        let mut refreshing = Refreshing::default();
        let now = Moment::EPOCH;
        let mut verdicts = Vec::new();
        let (mut frame_start, count) = (true, pieces.len());
        for (index, piece) in pieces.iter().enumerate() {
            let is_last = index + 1 == count;
            let frame_end = is_last || piece.ends_with('|');
            let mut payload = piece.trim_end_matches('|').as_bytes().to_vec();
            let chunk = Chunk {
                kind: MessageKind::Text,
                payload: &mut payload,
                compressed: false,
                frame_start,
                frame_end,
                message_start: index == 0,
                message_end: is_last,
            };
            frame_start = frame_end;
            verdicts.push(match refreshing.look(&chunk, now) {
                Verdict::Keep => "keep".to_owned(),
                Verdict::Refuse(why) => why.to_owned(),
                Verdict::Deliver { held, .. } => format!("deliver {}", String::from_utf8(held).unwrap()),
            });
        }
        let token = match refreshing.found {
            Found::Whole(token) => Some(token),
            Found::Message | Found::Perhaps { .. } | Found::Token(_) => None,
        };
        (verdicts, token)
    }

    #[test]
    fn a_token_is_found_however_it_is_cut_by_the_network() {
        let whole = "drawgate.refresh a.b.c";
        for cut in 0..=whole.len() {
            let (front, back) = whole.split_at(cut);
            let (verdicts, token) = look(&[front, back]);
            assert_eq!(verdicts, ["keep", "keep"], "{cut}");
            assert_eq!(token.unwrap(), b"a.b.c", "{cut}");
        }
    }

    #[test]
    fn what_is_no_token_goes_on_whole_and_in_order() {
        for (pieces, expected) in [
            (&["hello"][..], &["deliver "][..]),
            (&["drawgate.refresh"], &["deliver "]),
            (&["Drawgate.refresh x"], &["deliver "]),
            (&["draw", "n"], &["keep", "deliver draw"]),
            (&["draw|", "n", "more"], &["keep", "deliver draw", "deliver "]),
            (&["d", "rawgate", ".refresh"], &["keep", "keep", "deliver drawgate"]),
            (&["x", "drawgate.refresh a"], &["deliver ", "deliver "]),
            (&[""], &["deliver "]),
        ] {
            let (verdicts, token) = look(pieces);
            assert_eq!((verdicts.as_slice(), token), (expected.map_strings().as_slice(), None), "{pieces:?}");
        }
    }

    #[test]
    fn a24_a_token_in_fragments_or_too_long_is_refused_and_never_delivered() {
        for pieces in [
            &["drawgate.refresh a|", "b"][..],
            &["draw|", "gate.refresh a.b.c"],
            &["draw|", "gate", ".refresh a.b.c"],
            &["drawgate.refresh |", "a.b.c"],
            &["drawgate.refresh a", "b|", "c"],
        ] {
            let (verdicts, token) = look(pieces);
            assert!(verdicts.contains(&IN_FRAGMENTS.to_owned()), "{verdicts:?}");
            assert_eq!(token, None);
        }
        let long = |bytes: usize| format!("drawgate.refresh {}", "a".repeat(bytes - REFRESH_MARK.len()));
        assert_eq!(
            look(&[&long(REFRESH_BYTES_MAX)]).1.unwrap().len(),
            REFRESH_BYTES_MAX - REFRESH_MARK.len()
        );
        assert_eq!(look(&[&long(REFRESH_BYTES_MAX + 1)]).0, ["the new token is too long"]);
    }

    proptest! {
        /// Whatever is no token reaches the application whole, in order, in the frames that it came in.
        #[test]
        fn nothing_of_another_message_is_lost_or_moved(
            mark_bytes in 0..=REFRESH_MARK.len(),
            rest in "[a-z .]{0,40}",
            cuts in prop::collection::vec((0_usize..60, any::<bool>()), 0..6),
        ) {
            let text = [&REFRESH_MARK[..mark_bytes], rest.as_bytes()].concat();
            prop_assume!(!text.starts_with(REFRESH_MARK));
            let mut cuts: Vec<_> = cuts.into_iter().filter(|(at, _)| *at < text.len()).collect();
            cuts.sort_unstable();
            cuts.dedup_by_key(|(at, _)| *at);
            let mut pieces = Vec::new();
            let mut from = 0;
            for (at, ends_frame) in cuts {
                pieces.push((text[from..at].to_vec(), ends_frame));
                from = at;
            }
            pieces.push((text[from..].to_vec(), true));

            let (mut refreshing, now) = (Refreshing::default(), Moment::EPOCH);
            let (mut delivered, mut frame_ends, mut expected_ends) = (Vec::new(), Vec::new(), Vec::new());
            let (mut frame_start, mut sent, count) = (true, 0, pieces.len());
            for (index, (mut payload, frame_end)) in pieces.into_iter().enumerate() {
                sent += payload.len();
                if frame_end {
                    expected_ends.push(sent);
                }
                let chunk = Chunk {
                    kind: MessageKind::Text,
                    payload: &mut payload,
                    compressed: false,
                    frame_start,
                    frame_end,
                    message_start: index == 0,
                    message_end: index + 1 == count,
                };
                frame_start = frame_end;
                match refreshing.look(&chunk, now) {
                    Verdict::Keep => {}
                    Verdict::Refuse(why) => prop_assert!(false, "{why}"),
                    Verdict::Deliver { held, frame_ended } => {
                        delivered.extend_from_slice(&held);
                        if frame_ended {
                            frame_ends.push(delivered.len());
                        }
                        delivered.extend_from_slice(chunk.payload);
                        if frame_end {
                            frame_ends.push(delivered.len());
                        }
                    }
                }
            }
            prop_assert_eq!(&delivered, &text);
            // Frames that ended inside what was held have become one.
            prop_assert!(frame_ends.iter().all(|end| expected_ends.contains(end)), "{:?}", frame_ends);
            prop_assert_eq!(frame_ends.last(), expected_ends.last());
        }
    }

    trait MapStrings {
        fn map_strings(&self) -> Vec<String>;
    }

    impl MapStrings for [&str] {
        fn map_strings(&self) -> Vec<String> {
            self.iter().map(|text| (*text).to_owned()).collect()
        }
    }
}
