//! Whether what a client got is what it may get for what it did.

use drawgate::reason::Reason;
use drawgate::route::Notice;
use drawgate_protocol::frame::frame_bytes;
use drawgate_protocol::handshake::{HeadLimits, HeadScanner, Request};
use drawgate_protocol::{Limits, MessageKind, Role};

use super::compressed;
use super::gateway::{BURST_MESSAGES, Command, PREFIX, burst_message, has_small_buffers, notice};
use super::pipe::State;
use super::program::Settings;
use super::records::Record;
use super::requests::TOKEN;
use crate::reference::engine::received;
use crate::reference::{Decoded, Seen, decode};

/// Holds the connection's whole life to the promises; gives the reason of ours that the client was told, if one.
pub(crate) fn assert_sound(
    state: &State,
    settings: Settings,
    sent_bytes_at_drain: Option<usize>,
) -> Option<Reason> {
    assert_eq!(state.complaint, None);
    // A client that reads all gets all there is.
    let is_whole = state.is_smooth || state.is_shut;
    let Ok(Some(head_bytes)) = HeadScanner::response().scan(&state.written, &HeadLimits::default()) else {
        let is_gone = state.is_finished && !has_request(&state.sent);
        assert!(is_gone || !is_whole, "no whole answer: {:?}", text(&state.written));
        return None;
    };
    let (head, rest) = state.written.split_at(head_bytes);
    if !head.starts_with(b"HTTP/1.1 101 ") {
        assert_refusal(head, rest, is_whole);
        return None;
    }
    let is_compressed = compressed::is_agreed(head);
    let got = Got::read(rest, is_whole, is_compressed);
    let asked = Asked::read(&state.sent, settings, is_compressed);
    let without_notice = got.without_notice(notice(settings), &asked);
    assert_prefix(&without_notice, &asked.answers);
    assert_pongs(&got.decoded, &asked.decoded);
    if !is_whole && !is_idle(state, &got) || has_small_buffers(settings) && !state.is_smooth {
        return got.reason();
    }
    assert!(got.decoded.closed || state.is_finished || asked.is_slow, "no Close");
    let must_have = asked.must_have(&got, settings, state, sent_bytes_at_drain);
    let has = without_notice.iter().filter(|message| message.is_whole).count();
    assert!(has >= must_have, "{has} answers where there should be {must_have}");
    got.reason()
}

/// The connection is logged as ended once, for the reason that the client was told, if it was told one.
pub(crate) fn assert_recorded(written: &[u8], records: &[Record], told: Option<Reason>) {
    let ends: Vec<&Record> = records.iter().filter(|record| record.field("reason").is_some()).collect();
    let [end] = &ends[..] else { panic!("it ends {} times: {records:#?}", ends.len()) };
    let opened = records.iter().filter(|record| record.message == "connection opened").count();
    assert_eq!(records.len(), opened + 1, "{records:#?}");
    let is_open = end.field("phase") == Some("open");
    assert_eq!(opened, usize::from(is_open), "{records:#?}");
    assert!(
        records.iter().all(|record| record.field("connection") == end.field("connection")),
        "{records:#?}"
    );
    let Some(status) = written.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3)).map(text) else {
        return;
    };
    assert_eq!(status == "101", is_open, "{end:#?}");
    if !is_open {
        assert_eq!(end.field("http_status"), Some(&*status), "{end:#?}");
    }
    let recorded = Reason::ALL.into_iter().find(|reason| end.field("reason") == Some(reason.row().label));
    let recorded = recorded.expect("a reason of the table");
    let agrees = match (told, recorded) {
        // Who is told to go and does not in time is cut, which is the end.
        (Some(Reason::Draining), Reason::ForcedShutdown) => true,
        // Its side had ended before, which is the first thing that happened; then its answers had to be given up.
        (Some(Reason::Overloaded | Reason::OutputStalled), Reason::ConnectionLost) => true,
        (Some(told), recorded) => told == recorded,
        (None, _) => true,
    };
    assert!(agrees, "the client is told {told:?}: {end:#?}");
}

/// Nobody has anything left to do: a client that takes all that there is has all its answers by now.
pub(crate) fn assert_answered(state: &State, settings: Settings) {
    let Ok(Some(head_bytes)) = HeadScanner::response().scan(&state.written, &HeadLimits::default()) else {
        return;
    };
    let (head, rest) = state.written.split_at(head_bytes);
    if !head.starts_with(b"HTTP/1.1 101 ") || !state.is_open() {
        return;
    }
    let is_compressed = compressed::is_agreed(head);
    let got = Got::read(rest, false, is_compressed);
    let asked = Asked::read(&state.sent, settings, is_compressed);
    if !got.decoded.closed && !asked.is_slow {
        let got = got.without_notice(notice(settings), &asked);
        let whole = |pieces: &[Piece]| pieces.iter().filter(|piece| piece.is_whole).count();
        assert_eq!(whole(&got), whole(&asked.answers), "answers that the client waits for");
    }
}

/// Whether the gateway ended the connection because nothing came, when there was nothing left to do.
fn is_idle(state: &State, got: &Got) -> bool {
    got.reason() == Some(Reason::PongTimeout) && state.sent_bytes_at_write == state.sent.len()
}

/// Whether a Close has come.
pub(crate) fn has_close(written: &[u8]) -> bool {
    let head_bytes = HeadScanner::response().scan(written, &HeadLimits::default());
    let Ok(Some(head_bytes)) = head_bytes else { return false };
    let mut left = &written[head_bytes..];
    while let Some(bytes) = frame_bytes(left).filter(|bytes| *bytes <= left.len()) {
        if left[0] & 0x0F == 8 {
            return true;
        }
        left = &left[bytes..];
    }
    false
}

fn has_request(sent: &[u8]) -> bool {
    HeadScanner::request().scan(sent, &HeadLimits::default()) != Ok(None)
}

fn assert_refusal(head: &[u8], body: &[u8], is_whole: bool) {
    let head = text(head);
    let length =
        head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a body's length");
    let length: usize = length.parse().expect("a length");
    assert!(body.len() == length || body.len() < length && !is_whole, "{head}{}", text(body));
    assert!(head.contains("Connection: close\r\n"));
    assert!(!is_whole || body.starts_with(b"{") && body.ends_with(b"}"));
}

/// A message, or what has come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    kind: MessageKind,
    payload: Vec<u8>,
    is_whole: bool,
}

impl Piece {
    fn gather(decoded: &Decoded) -> Vec<Self> {
        let mut messages: Vec<Self> = Vec::new();
        for event in &decoded.events {
            let Seen::Data { kind, payload, message_start, message_end, .. } = event else { continue };
            if *message_start {
                messages.push(Self { kind: *kind, payload: Vec::new(), is_whole: false });
            }
            let message = messages.last_mut().expect("a message begins with a beginning");
            message.payload.extend_from_slice(payload);
            message.is_whole = *message_end;
        }
        messages
    }
}

/// What came behind the `101`.
struct Got {
    decoded: Decoded,
    messages: Vec<Piece>,
    /// Code and reason of the Close.
    close: Option<(u16, String)>,
}

impl Got {
    fn read(frames: &[u8], is_whole: bool, is_compressed: bool) -> Self {
        let plain = is_compressed.then(|| compressed::plain_of_gateway(frames));
        let frames = plain.as_deref().unwrap_or(frames);
        let decoded = decode(frames, Role::Client, Limits::UNLIMITED);
        assert_eq!(decoded.proof, None, "{:02x?}", &frames[frames.len().saturating_sub(300)..]);
        let ours = received(frames, &[], Role::Client, Limits::UNLIMITED);
        assert_eq!(ours.events, decoded.events);
        let mut left = frames;
        while let Some(bytes) = frame_bytes(left).filter(|bytes| *bytes <= left.len()) {
            let is_close = left[0] & 0x0F == 8;
            left = &left[bytes..];
            assert!(!is_close || left.is_empty(), "behind the Close: {left:02x?}");
        }
        assert!(left.is_empty() || !is_whole, "a frame is cut off: {left:02x?}");
        let close = match decoded.events.last() {
            Some(Seen::Close(close)) => close.clone(),
            _ => None,
        };
        Self { messages: Piece::gather(&decoded), decoded, close }
    }

    /// The reason of ours that the Close gives.
    fn reason(&self) -> Option<Reason> {
        let (_, told) = self.close.as_ref()?;
        Reason::ALL.into_iter().find(|reason| reason.row().close.is_some() && reason.close_reason() == told)
    }

    /// The messages that are answers: without what the gateway says of its own.
    fn without_notice(&self, notice: Notice, asked: &Asked) -> Vec<Piece> {
        let mut messages = self.messages.clone();
        let is_told = |last: &Piece, reason: Reason| {
            let fits = |told: String| {
                if last.is_whole {
                    last.payload == told.as_bytes()
                } else {
                    told.as_bytes().starts_with(&last.payload)
                }
            };
            match notice {
                Notice::Close => false,
                // How long to wait is drawn anew for each.
                Notice::Json => {
                    let most = reason.row().retry.after_seconds().unwrap_or_default();
                    let seconds = (0..=u64::from(most)).map(|bits| reason.row().retry_after_seconds(bits));
                    seconds.map(|seconds| reason.notice_json_after(seconds)).any(fits)
                }
                Notice::Text => fits(reason.row().title.to_owned()),
            }
        };
        // Where the client stopped reading before the Close, the notice may be of any reason.
        let reasons = self.reason().map_or_else(|| Reason::ALL.to_vec(), |reason| vec![reason]);
        let is_notice = |last: &Piece| reasons.iter().any(|reason| is_told(last, *reason));
        if messages.last().is_some_and(is_notice) {
            messages.pop();
        }
        let is_greeting = |first: &Piece| match (notice, first.is_whole) {
            (Notice::Close, _) => false,
            (Notice::Json, true) => text(&first.payload).contains(r#""type":"authenticated""#),
            (Notice::Json, false) => first.payload.starts_with(b"{") || first.payload.is_empty(),
            (Notice::Text, true) => first.payload == b"Authenticated!",
            (Notice::Text, false) => b"Authenticated!".starts_with(&first.payload),
        };
        if asked.is_authenticated && messages.first().is_some_and(is_greeting) {
            messages.remove(0);
        }
        messages
    }
}

/// What the client asked for.
struct Asked {
    decoded: Decoded,
    answers: Vec<Piece>,
    /// The application takes its time, and a drain may not wait for it.
    is_slow: bool,
    /// The first message was a token.
    is_authenticated: bool,
    /// Compression was agreed on.
    is_compressed: bool,
}

impl Asked {
    fn read(sent: &[u8], settings: Settings, is_compressed: bool) -> Self {
        let limits = HeadLimits::default();
        let head_bytes = HeadScanner::request().scan(sent, &limits).ok().flatten().expect("it was accepted");
        let path = Request::parse(&sent[..head_bytes], &limits).expect("it was accepted").path.to_owned();
        let route_limits = super::gateway::limits(settings);
        let message_limits = match &*path {
            // Other limits hold for the first message; what exceeds either is not answered.
            "/token" => Limits::UNLIMITED,
            _ => Limits {
                message_bytes_max: match &*path {
                    "/handler" | "/echo" => route_limits.message_bytes_max.unwrap_or(u64::MAX),
                    other => panic!("{other} was accepted"),
                },
                message_fragments_max: route_limits.message_fragments_max.unwrap_or(u32::MAX),
            },
        };
        let plain = is_compressed.then(|| compressed::plain_of_client(&sent[head_bytes..]));
        let frames = plain.as_deref().unwrap_or(&sent[head_bytes..]);
        let decoded = decode(frames, Role::Server, message_limits);
        let mut messages = Piece::gather(&decoded);
        let is_token =
            |piece: &Piece| piece.is_whole && piece.kind == MessageKind::Text && piece.payload == TOKEN;
        let is_authenticated = path == "/token" && messages.first().is_some_and(is_token);
        match &*path {
            "/token" if is_authenticated => drop(messages.remove(0)),
            "/token" => messages.clear(),
            _ => {}
        }
        let is_handled = path == "/handler";
        let is_slow = |message: &Piece| matches!(Command::of(&message.payload), Command::Slow);
        let is_slow = is_handled && messages.iter().any(is_slow);
        let answers = if is_handled { handled(&messages) } else { echoed(messages) };
        Self { decoded, answers, is_slow, is_authenticated, is_compressed }
    }

    /// How many whole answers the client must have got, having read all.
    fn must_have(
        &self,
        got: &Got,
        settings: Settings,
        state: &State,
        sent_bytes_at_drain: Option<usize>,
    ) -> usize {
        let whole = self.answers.iter().filter(|answer| answer.is_whole).count();
        let asked_to_close = match self.decoded.events.last() {
            Some(Seen::Close(close)) => Some(close.as_ref().map(|(code, _)| *code)),
            _ => None,
        };
        let closed = got.decoded.closed.then(|| got.close.as_ref().map(|(code, _)| *code));
        if !got.decoded.closed {
            // Its side ended well, so it is sent what it asked for before; an application that is slow has `close_timeout` for it all.
            return if state.is_finished && !self.is_slow { whole } else { 0 };
        }
        if asked_to_close == closed && got.close.as_ref().is_none_or(|(_, reason)| reason.is_empty()) {
            return whole;
        }
        let Some(reason) = got.reason() else { return 0 };
        // An application that is slow may have answers to give when the client has been silent for too long.
        if is_idle(state, got) && !self.is_slow {
            return whole;
        }
        let broken = self.decoded.proof.iter().flat_map(|proof| &proof.violations);
        if !self.is_authenticated && broken.into_iter().any(|violation| Reason::from(*violation) == reason) {
            return whole;
        }
        match sent_bytes_at_drain {
            Some(bytes @ 1..)
                if reason == Reason::Draining && state.is_smooth && has_request(&state.sent[..bytes]) =>
            {
                Self::read(&state.sent[..bytes], settings, self.is_compressed)
                    .answers
                    .iter()
                    .filter(|answer| answer.is_whole)
                    .count()
            }
            _ => 0,
        }
    }
}

fn echoed(messages: Vec<Piece>) -> Vec<Piece> {
    let echo = |message: Piece| Piece { payload: [PREFIX.as_bytes(), &message.payload].concat(), ..message };
    messages.into_iter().map(echo).collect()
}

fn handled(messages: &[Piece]) -> Vec<Piece> {
    let mut answers = Vec::new();
    for message in messages.iter().filter(|message| message.is_whole) {
        match Command::of(&message.payload) {
            Command::Echo | Command::Slow => answers.push(message.clone()),
            Command::Burst => {
                let burst = burst_message();
                let burst = Piece { kind: burst.kind(), payload: burst.as_bytes().to_vec(), is_whole: true };
                answers.extend(std::iter::repeat_n(burst, BURST_MESSAGES));
                answers.push(message.clone());
            }
            Command::Ignore => {}
            Command::Close => break,
        }
    }
    answers
}

fn assert_prefix(got: &[Piece], asked: &[Piece]) {
    for (at, piece) in got.iter().enumerate() {
        let Some(answer) = asked.get(at) else {
            panic!("answer {at} was not asked for: {:?}", text(&piece.payload))
        };
        let is_same = answer.kind == piece.kind
            && if piece.is_whole {
                answer.is_whole && answer.payload == piece.payload
            } else {
                at + 1 == got.len() && answer.payload.starts_with(&piece.payload)
            };
        assert!(
            is_same,
            "answer {at}: {:?} where it should be {:?}",
            text(&piece.payload),
            text(&answer.payload)
        );
    }
}

/// Each pong answers a ping, in their order.
fn assert_pongs(got: &Decoded, asked: &Decoded) {
    let mut pings = asked.events.iter().filter_map(|event| match event {
        Seen::Ping(payload) => Some(payload),
        _ => None,
    });
    for event in &got.events {
        let Seen::Pong(pong) = event else { continue };
        assert!(pings.any(|ping| ping == pong), "a pong to no ping: {pong:?}");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned()
}
