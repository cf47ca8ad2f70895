//! permessage-deflate on one connection: whether there is room for it, what it has agreed on, and what goes through it.
//!
//! Hop by hop, off unless the route says otherwise: with its clients, with its application, or with both. Neither side keeps
//! its context from message to message: contexts are the worker's, so that an idle connection holds none. Only a message that
//! has come in part holds one, and room for that is reserved before an offer is accepted or made. Decides and works in memory
//! only; negotiated in the upgrade of each side, used by the relay.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use drawgate_protocol::deflate::{
    Agreement, AnswerFault, Contexts, Deflation, Flow, INFLATER_BYTES_MAX, Inflation,
};
use drawgate_protocol::handshake::Extension;
use drawgate_protocol::{Chunk, Limits, MaskKey, MessageKind, SendError, Sender, Violation};

use prometheus_client::metrics::gauge::Gauge;

use crate::clock::Moment;
use crate::rate::{Gcra, Rate};

/// The contexts that all connections together may hold at a time.
#[derive(Debug)]
pub(crate) struct Room {
    /// The metric itself, so that whoever reads it reads what is so.
    reserved: Gauge,
    bytes_max: usize,
    /// Nothing is compressed for now: there is no time or memory to spare.
    is_paused: AtomicBool,
}

/// One connection's place in the [`Room`], until it is dropped.
#[derive(Debug)]
struct Reservation(Arc<Room>);

/// What an application may agree to: there is room for it.
#[derive(Debug)]
pub(crate) struct Offer(Reservation);

/// The compression of one side of a connection.
#[derive(Debug)]
pub(crate) struct Compression {
    inflation: Inflation,
    deflation: Deflation,
    /// How many bytes messages may inflate to in a second.
    inflated_rate: Option<Rate>,
    inflated: Gcra,
    /// The message that is being sent goes out compressed.
    sends_compressed: bool,
    reservation: Reservation,
}

/// What a worker lends to the compression of whichever connection it polls; empty until one needs it.
#[derive(Debug, Default)]
pub(crate) struct Workshop {
    contexts: Contexts,
    inflated: Vec<u8>,
    deflated: Vec<u8>,
}

/// Where frames of messages go: compressed, if that was agreed on and is worth it.
pub(crate) struct Outlet<'c> {
    pub(crate) sender: &'c mut Sender,
    pub(crate) compression: Option<(&'c mut Compression, &'c mut Workshop)>,
}

/// Why a connection goes on without compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Declined {
    /// The client offers none, or none that can be accepted.
    NoOffer,
    /// There is no room for another context.
    NoRoom,
}

/// Why inflating stops.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The message breaks a rule.
    Violation(Violation),
    /// The connection inflates more bytes a second than it may.
    OverRate,
}

impl Room {
    pub(crate) const fn new(bytes_max: usize, reserved: Gauge) -> Self {
        Self { reserved, bytes_max, is_paused: AtomicBool::new(false) }
    }

    /// From now on no message is compressed, or messages are again; those that have begun go on as they are.
    pub(crate) fn pause(&self, is_paused: bool) {
        self.is_paused.store(is_paused, Ordering::Relaxed);
    }

    fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Relaxed)
    }

    fn reserve(self: &Arc<Self>) -> Option<Reservation> {
        let before = self.reserved.inc_by(RESERVED_BYTES);
        let reservation = Reservation(Arc::clone(self));
        let after = usize::try_from(before.saturating_add(RESERVED_BYTES)).unwrap_or(usize::MAX);
        // Given back by being dropped, if it is too much.
        (after <= self.bytes_max).then_some(reservation)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.0.reserved.dec_by(RESERVED_BYTES);
    }
}

impl Offer {
    /// One to make to an application; `None` where there is no room for another context.
    pub(crate) fn new(room: &Arc<Room>) -> Option<Self> {
        room.reserve().map(Self)
    }

    /// How a request says it.
    pub(crate) fn header() -> String {
        OFFERED.offer()
    }

    /// What an application's answer agrees to, of extensions that were on offer.
    pub(crate) fn verify(answer: &[Extension<'_>]) -> Result<Option<Agreement>, AnswerFault> {
        OFFERED.verify(answer)
    }

    /// The application has agreed. Its messages are bounded as those of a client are.
    pub(crate) fn accepted(
        self,
        agreement: Agreement,
        inflated_bytes_per_second: Option<u64>,
        message_bytes_max: u64,
    ) -> Box<Compression> {
        let Agreement { server, client } = agreement;
        let rate = inflated_rate(inflated_bytes_per_second, message_bytes_max);
        Box::new(Compression::new((server, client), rate, self.0))
    }
}

impl Compression {
    /// What comes of a client's offers, and how the answer says it. Messages may inflate to `inflated_bytes_per_second`,
    /// and to as much as one of them may have at once.
    pub(crate) fn negotiate(
        offers: &[Extension<'_>],
        room: &Arc<Room>,
        inflated_bytes_per_second: Option<u64>,
        message_bytes_max: u64,
    ) -> Result<(Box<Self>, String), Declined> {
        let (agreement, answer) = Agreement::FRUGAL.accept(offers).ok_or(Declined::NoOffer)?;
        let reservation = room.reserve().ok_or(Declined::NoRoom)?;
        let Agreement { server, client } = agreement;
        let rate = inflated_rate(inflated_bytes_per_second, message_bytes_max);
        Ok((Box::new(Self::new((client, server), rate, reservation)), answer))
    }

    /// For what comes from the peer and what goes to it.
    fn new((from, to): (Flow, Flow), inflated_rate: Option<Rate>, reservation: Reservation) -> Self {
        Self {
            inflation: Inflation::new(from),
            deflation: Deflation::new(to),
            inflated_rate,
            inflated: Gcra::default(),
            sends_compressed: false,
            reservation,
        }
    }

    /// The next of what `piece` inflates to, in `output`.
    pub(crate) fn inflate<'o>(
        &mut self,
        piece: &mut Chunk<'_>,
        output: &'o mut [u8],
        limits: &Limits,
        workshop: &mut Workshop,
        now: Moment,
    ) -> Result<Option<Chunk<'o>>, Refused> {
        let chunk = self
            .inflation
            .inflate(piece, output, limits, &mut workshop.contexts)
            .map_err(Refused::Violation)?;
        if let (Some(chunk), Some(rate)) = (&chunk, &self.inflated_rate) {
            let bytes = u32::try_from(chunk.payload.len()).unwrap_or(u32::MAX);
            self.inflated.check_many(rate, bytes, now).map_err(|_| Refused::OverRate)?;
        }
        Ok(chunk)
    }
}

/// So many bytes a second, and as many at once as one message may have.
fn inflated_rate(bytes_per_second: Option<u64>, message_bytes_max: u64) -> Option<Rate> {
    let as_count = |bytes| u32::try_from(bytes).unwrap_or(u32::MAX);
    bytes_per_second.map(|bytes| {
        let burst = bytes.max(message_bytes_max);
        Rate::new(as_count(bytes), Duration::from_secs(1), as_count(burst))
    })
}

impl Workshop {
    /// The buffer to inflate into; it is to be given back.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.inflated);
        buffer.resize(INFLATED_BYTES, 0);
        buffer
    }

    pub(crate) fn return_buffer(&mut self, buffer: Vec<u8>) {
        self.inflated = buffer;
    }
}

impl Outlet<'_> {
    /// Whether a message has begun and its last frame has not been sent.
    pub(crate) const fn is_within_message(&self) -> bool {
        self.sender.is_within_message()
    }

    /// Appends one data frame to a client, as [`Sender::data`] does.
    #[inline]
    pub(crate) fn data(
        &mut self,
        out: &mut Vec<u8>,
        kind: MessageKind,
        last: bool,
        parts: &[&[u8]],
    ) -> Result<(), SendError> {
        self.keyed_data(out, kind, last, parts, None)
    }

    /// Appends one data frame, masked where it goes to an application.
    #[inline]
    pub(crate) fn keyed_data(
        &mut self,
        out: &mut Vec<u8>,
        kind: MessageKind,
        last: bool,
        parts: &[&[u8]],
        key: Option<MaskKey>,
    ) -> Result<(), SendError> {
        let Some((compression, workshop)) = &mut self.compression else {
            return self.sender.data(out, kind, last, parts, key);
        };
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let is_whole = last && !self.sender.is_within_message();
        if !self.sender.is_within_message() {
            // Of a message that comes in pieces nobody knows how long it will be.
            let is_worth_it = !last || bytes >= DEFLATED_BYTES_MIN;
            compression.sends_compressed = is_worth_it && !compression.reservation.0.is_paused();
        }
        if !compression.sends_compressed {
            return self.sender.data(out, kind, last, parts, key);
        }
        let deflated = &mut workshop.deflated;
        deflated.clear();
        compression.deflation.deflate(parts, last, deflated, &mut workshop.contexts);
        let result = if is_whole && deflated.len() >= bytes && compression.deflation.may_be_given_up() {
            self.sender.data(out, kind, last, parts, key)
        } else {
            self.sender.compressed_data(out, kind, last, &[deflated], key)
        };
        if deflated.capacity() > DEFLATED_BYTES_KEPT {
            *deflated = Vec::new();
        }
        result
    }
}

/// What applications are asked for. They need not keep to a small window: without takeover it is held no longer than a message, and
/// there is room for the largest; many servers cannot make another one.
const OFFERED: Agreement = Agreement { server: Flow { takeover: false, ..Flow::FULL }, client: Flow::FRUGAL };

/// What is set aside for one side of a connection, as the gauge has it.
const RESERVED_BYTES: i64 = INFLATER_BYTES_MAX as i64;

/// A message of fewer bytes goes out plain: it fits one packet either way, and compressing it costs more than sending it.
const DEFLATED_BYTES_MIN: usize = 128;

/// What one piece may inflate to before the application gets it.
const INFLATED_BYTES: usize = 64 * 1024;

/// A single large message is no reason to hold its size for ever.
const DEFLATED_BYTES_KEPT: usize = 256 * 1024;

/// How much input is worked on between two looks at whether output is full: of compressed input less, since a thousandfold of it
/// may come.
pub(crate) const fn step_bytes(is_compressed: bool) -> usize {
    if is_compressed { COMPRESSED_STEP_BYTES } else { usize::MAX }
}

const COMPRESSED_STEP_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use drawgate_protocol::Role;

    use super::*;

    fn negotiate(room: &Arc<Room>, rate: Option<u64>) -> Result<Box<Compression>, Declined> {
        let offer = Extension { name: "permessage-deflate", parameters: Vec::new() };
        Compression::negotiate(&[offer], room, rate, 1000).map(|(compression, _)| compression)
    }

    fn roomy() -> Arc<Room> {
        Arc::new(Room::new(usize::MAX, Gauge::default()))
    }

    #[test]
    fn z09_offers_are_declined_where_there_is_no_room_for_another_context() {
        let room = Arc::new(Room::new(2 * INFLATER_BYTES_MAX + 1, Gauge::default()));
        let first = negotiate(&room, None).unwrap();
        let _second = negotiate(&room, None).unwrap();
        assert_eq!(negotiate(&room, None).err(), Some(Declined::NoRoom));
        assert_eq!(room.reserved.get(), 2 * RESERVED_BYTES);
        drop(first);
        assert!(negotiate(&room, None).is_ok());
        assert_eq!(Compression::negotiate(&[], &room, None, 1000).err(), Some(Declined::NoOffer));
    }

    #[test]
    fn what_applications_are_offered_keeps_no_context_in_either_direction() {
        let header = Offer::header();
        assert_eq!(
            header,
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=12"
        );
    }

    #[test]
    fn z08_an_application_is_held_to_what_it_was_offered() {
        let parameter = |name| drawgate_protocol::handshake::Parameter { name, value: None };
        let answer = |names: &[&'static str]| {
            let parameters = names.iter().map(|name| parameter(*name)).collect();
            Offer::verify(&[Extension { name: "permessage-deflate", parameters }])
        };
        assert_eq!(Offer::verify(&[]), Ok(None));
        assert_eq!(answer(&[]), Err(AnswerFault::TakeoverKept));
        assert_eq!(answer(&["server_no_context_takeover", "x"]), Err(AnswerFault::ParameterInvalid));
        let agreed = answer(&["server_no_context_takeover"]).unwrap().unwrap();
        // What it does not ask of us we keep to all the same: it was told so.
        assert_eq!(agreed, OFFERED);
    }

    #[test]
    fn z09_an_offer_has_its_room_as_long_as_it_may_be_accepted() {
        let room = Arc::new(Room::new(INFLATER_BYTES_MAX, Gauge::default()));
        let offer = Offer::new(&room).unwrap();
        assert!(Offer::new(&room).is_none());
        let compression = offer.accepted(OFFERED, None, 1000);
        assert!(negotiate(&room, None).is_err(), "clients have what is left");
        drop(compression);
        assert_eq!(room.reserved.get(), 0);
    }

    #[test]
    fn small_messages_and_those_that_do_not_shrink_go_out_plain() {
        let (mut compression, mut workshop) = (negotiate(&roomy(), None).unwrap(), Workshop::default());
        let mut sender = Sender::new(Role::Server);
        let mut noise = vec![1_u8; 200];
        for index in 1..noise.len() {
            noise[index] = noise[index - 1].wrapping_mul(181).wrapping_add(59);
        }
        for (message, first) in [(&[b'a'; 127][..], 0x82), (&[b'a'; 128], 0xC2), (&noise, 0x82)] {
            let mut out = Vec::new();
            let mut outlet =
                Outlet { sender: &mut sender, compression: Some((&mut compression, &mut workshop)) };
            outlet.data(&mut out, MessageKind::Binary, true, &[message]).unwrap();
            assert_eq!(out[0], first, "{} bytes", message.len());
        }
    }

    #[test]
    fn all_frames_of_a_message_are_compressed_or_none() {
        let (mut compression, mut workshop) = (negotiate(&roomy(), None).unwrap(), Workshop::default());
        let (mut sender, mut out) = (Sender::new(Role::Server), Vec::new());
        let mut outlet = Outlet { sender: &mut sender, compression: Some((&mut compression, &mut workshop)) };
        outlet.data(&mut out, MessageKind::Text, false, &[b"a"]).unwrap();
        outlet.data(&mut out, MessageKind::Text, true, &[b"b"]).unwrap();
        assert_eq!(out[0], 0x41);
        let second = 2 + usize::from(out[1]);
        assert_eq!(out[second], 0x80);
    }

    #[test]
    fn while_it_is_paused_messages_go_out_plain_and_those_that_have_begun_go_on() {
        let room = roomy();
        let mut compression = Offer::new(&room).unwrap().accepted(OFFERED, None, 1000);
        let (mut sender, mut workshop) = (Sender::new(Role::Client), Workshop::default());
        let mut first_byte = |last, is_paused| {
            room.pause(is_paused);
            let mut out = Vec::new();
            let mut outlet =
                Outlet { sender: &mut sender, compression: Some((&mut compression, &mut workshop)) };
            let key = Some([1, 2, 3, 4]);
            outlet.keyed_data(&mut out, MessageKind::Text, last, &[&[b'a'; 200]], key).unwrap();
            assert!(out[1] & 0x80 != 0, "what goes to an application is masked");
            (out[0], out.len() < 100)
        };
        assert_eq!(first_byte(true, false), (0xC1, true));
        assert_eq!(first_byte(true, true), (0x81, false));
        assert_eq!(first_byte(false, false), (0x41, true));
        assert_eq!(first_byte(true, true), (0x80, true));
        assert_eq!(first_byte(false, true), (0x01, false));
        assert_eq!(first_byte(true, false), (0x80, false));
    }

    #[test]
    fn z03_what_inflates_in_a_second_is_bounded_beyond_one_message() {
        let now = Moment::EPOCH;
        let mut compression = negotiate(&roomy(), Some(100)).unwrap();
        let (mut workshop, mut payload) = (Workshop::default(), Vec::new());
        Deflation::new(Agreement::FRUGAL.client).deflate(
            &[&[0; 400]],
            true,
            &mut payload,
            &mut workshop.contexts,
        );
        let mut inflate = |now| {
            let mut payload = payload.clone();
            let mut piece = Chunk {
                kind: MessageKind::Binary,
                payload: &mut payload,
                compressed: true,
                frame_start: true,
                frame_end: true,
                message_start: true,
                message_end: true,
            };
            let mut output = [0; 1000];
            let result = compression.inflate(&mut piece, &mut output, &Limits::default(), &mut workshop, now);
            result.map(|chunk| chunk.map_or(0, |chunk| chunk.payload.len()))
        };
        assert_eq!((inflate(now), inflate(now), inflate(now)), (Ok(400), Ok(400), Err(Refused::OverRate)));
        assert_eq!(inflate(now + Duration::from_secs(2)), Ok(400));
    }
}
