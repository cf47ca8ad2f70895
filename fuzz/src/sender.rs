//! Target `sender`: any calls on the sender, in any order, right and wrong ones.
//!
//! The input's first byte chooses the role; each call is then three bytes (what, how long, key) and its payload.
//! Promises: no panic; a refused call appends nothing; whatever was appended, the other end takes without a violation,
//! and as what it was meant to be.

use drawgate_protocol::{CloseCode, CloseFrame, Limits, MessageKind, Role, SendError, Sender};

use crate::Seed;
use crate::reference::Seen;
use crate::reference::engine::received;

/// Checks one input.
pub fn run(data: &[u8]) {
    let Some((settings, mut calls)) = data.split_first() else { return };
    let from = if settings & 1 == 0 { Role::Client } else { Role::Server };
    let to = if settings & 1 == 0 { Role::Server } else { Role::Client };
    let (mut sender, mut out, mut expected) = (Sender::new(from), Vec::new(), Vec::new());
    while let [what, length, key, rest @ ..] = calls {
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        calls = rest;
        // Mostly the kind of key that the role wants.
        let is_keyed = (from == Role::Client) != (*key == 0xEE);
        let key = is_keyed.then_some([*key, key.rotate_left(3), !key, key.wrapping_mul(7)]);
        let before = out.len();
        match call(&mut sender, &mut out, *what, payload, key) {
            Ok(seen) => expected.push(seen),
            Err(_) => assert_eq!(out.len(), before, "a refused call appends nothing"),
        }
    }
    let taken = received(&out, &[], to, Limits::UNLIMITED);
    assert_eq!(taken.proof, None);
    assert_eq!(taken.events, expected);
    assert_eq!((taken.closed, sender.is_closed()), (sender.is_closed(), taken.closed));
}

/// Makes one call; gives what the other end must see of it.
fn call(
    sender: &mut Sender,
    out: &mut Vec<u8>,
    what: u8,
    payload: &[u8],
    key: Option<[u8; 4]>,
) -> Result<Seen, SendError> {
    let last = what & 0x80 != 0;
    // Text must be text: that is the caller's part.
    let text: Vec<u8> = payload.iter().map(|byte| byte & 0x7F).collect();
    let message_start = !sender.is_within_message();
    let data = |kind, payload: &[u8]| {
        let payload = payload.to_vec();
        Seen::Data { kind, payload, message_start, frame_end: true, message_end: last }
    };
    match what & 0x07 {
        0 | 1 => {
            sender.data(out, MessageKind::Text, last, &[&text], key)?;
            Ok(data(MessageKind::Text, &text))
        }
        2 | 3 => {
            let (front, back) = payload.split_at(payload.len() / 2);
            sender.data(out, MessageKind::Binary, last, &[front, &[], back], key)?;
            Ok(data(MessageKind::Binary, payload))
        }
        4 => sender.ping(out, payload, key).map(|()| Seen::Ping(payload.to_vec())),
        5 => sender.pong(out, payload, key).map(|()| Seen::Pong(payload.to_vec())),
        6 => sender.close(out, None, key).map(|()| Seen::Close(None)),
        _ => {
            let reason = String::from_utf8(text).expect("it is ASCII");
            let code = CloseCode::new(3000 + u16::from(what)).expect("it is in the range for applications");
            sender.close(out, Some(CloseFrame { code, reason: &reason }), key)?;
            Ok(Seen::Close(Some((code.get(), reason))))
        }
    }
}

/// Right calls and wrong ones, for both roles.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (role, name) in [(0, "client"), (1, "server")] {
        for (what, calls) in CALLS {
            seeds.push(Seed { name: format!("{name}-{what}"), bytes: [&[role], *calls].concat() });
        }
        let long = [&[role, 4, 126, 1][..], &[b'p'; 126], &[7, 124, 1], &[b'r'; 124]].concat();
        seeds.push(Seed { name: format!("{name}-control-too-long"), bytes: long });
    }
    seeds
}

/// Calls: what, how long, key, payload.
const CALLS: &[(&str, &[u8])] = &[
    ("text", b"\x80\x05\x01Hello"),
    ("fragments-with-a-ping", b"\x00\x02\x01He\x04\x01\x02p\x80\x03\x03llo"),
    ("binary-in-parts", b"\x82\x04\x09\xff\x00\xfe\x01"),
    ("interleaved", b"\x02\x01\x01a\x80\x01\x01b\x82\x01\x01c"),
    ("close-with-a-reason", b"\x07\x03\x01bye"),
    ("after-close", b"\x06\x00\x01\x80\x01\x01a\x05\x00\x01\x06\x00\x01"),
    ("wrong-key", b"\x80\x01\xeea\x80\x01\x01b"),
    ("empty-frames", b"\x00\x00\x01\x00\x00\x01\x80\x00\x01"),
];
