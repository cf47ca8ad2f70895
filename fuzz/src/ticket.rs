//! Target `ticket`: tickets issued and shown in any order, at any time, right and wrong ones, beside a model that is obviously
//! right.
//!
//! Each step is three bytes: what, which ticket, how far time moves or how the ticket is damaged; some carry the text that is
//! shown. Promises: no panic; a ticket speaks once, for its own subject, on its own route, within its time; nothing else
//! speaks at all.

use std::time::Duration;

use drawgate::clock::{Clock, UnixTime};
use drawgate::ticket::{Grant, TICKET_TIME_MAX, Tickets};

use crate::Seed;

/// A ticket that was issued.
struct Issued {
    text: String,
    subject: String,
    route: &'static str,
    until: Duration,
    is_void: bool,
}

/// Checks one input.
pub fn run(data: &[u8]) {
    let (tickets, start) = (Tickets::default(), Clock::system().now());
    let (mut issued, mut elapsed, mut steps): (Vec<Issued>, _, _) = (Vec::new(), Duration::ZERO, data);
    while let [what, which, how, rest @ ..] = steps {
        steps = rest;
        let unix_now = UnixTime::from_seconds(1_800_000_000).plus(elapsed);
        let show = |text: &str, route: &str| tickets.take(text, route, start + elapsed, unix_now);
        match what & 0x03 {
            0 => {
                let number = u8::try_from(issued.len()).unwrap_or(u8::MAX);
                let (subject, route) = (format!("subject {number}"), ROUTES[usize::from(how & 1)]);
                let grant = Grant {
                    subject: subject.as_str().into(),
                    claims: serde_json::Map::new(),
                    route: route.into(),
                    session_time: Duration::from_secs(1 + u64::from(*how)),
                };
                let mut secret = [*which; 32];
                secret[0] = number;
                let text = tickets.issue(grant, secret, start + elapsed, unix_now).expect("there is room");
                issued.push(Issued {
                    text,
                    subject,
                    route,
                    until: elapsed + TICKET_TIME_MAX,
                    is_void: false,
                });
            }
            1 => {
                let Some(ticket) = pick(&mut issued, *which) else { continue };
                let route = ROUTES[usize::from(how & 1)];
                let who = show(&ticket.text, route);
                let is_good = !ticket.is_void && route == ticket.route && elapsed < ticket.until;
                ticket.is_void = true;
                assert_eq!(who.map(|who| who.subject.to_string()), is_good.then(|| ticket.subject.clone()));
            }
            2 => {
                // One character of it is another.
                let Some(ticket) = pick(&mut issued, *which) else { continue };
                let mut text = ticket.text.clone().into_bytes();
                let place = usize::from(*how) % text.len();
                text[place] ^= 1 + (what >> 2);
                let text = String::from_utf8_lossy(&text).into_owned();
                if issued.iter().all(|other| other.text != text) {
                    assert_eq!(show(&text, ROUTES[0]), None);
                }
            }
            _ if what & 0x04 == 0 => elapsed += Duration::from_millis(u64::from(*which) * 100),
            _ => {
                let (text, rest) = steps.split_at(steps.len().min(usize::from(*which)));
                steps = rest;
                let text = String::from_utf8_lossy(text);
                if issued.iter().all(|other| other.text != text) {
                    assert_eq!(show(&text, ROUTES[0]), None);
                }
            }
        }
    }
    assert!(tickets.count() <= issued.iter().filter(|ticket| !ticket.is_void).count());
}

fn pick(issued: &mut [Issued], which: u8) -> Option<&mut Issued> {
    let count = issued.len();
    issued.get_mut(usize::from(which) % count.max(1))
}

/// Each kind of step once.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let seed = |name: &str, steps: &[&[u8]]| Seed { name: name.to_owned(), bytes: steps.concat() };
    let issue: &[u8] = &[0, 7, 0];
    let show: &[u8] = &[1, 0, 0];
    vec![
        seed("shown-once", &[issue, show]),
        seed("shown-twice", &[issue, show, show]),
        seed("shown-too-late", &[issue, &[3, 255, 0, 3, 45, 0], show]),
        seed("shown-just-in-time", &[issue, &[3, 255, 0, 3, 44, 0], show]),
        seed("shown-elsewhere-first", &[issue, &[1, 0, 1], show]),
        seed("guessed", &[issue, &[2, 0, 20, 2, 0, 3], show]),
        seed("made-up", &[issue, &[7, 8, 0], b"dgt_AAAA", show]),
        seed("several", &[issue, issue, &[0, 9, 1], &[1, 2, 1, 1, 1, 0, 1, 0, 0]]),
    ]
}

const ROUTES: [&str; 2] = ["chat", "other"];
