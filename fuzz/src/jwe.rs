//! Target `jwe`: sealed messages in any order, whole and damaged, and what nobody sealed, beside a model of their numbers.
//!
//! Each step is three bytes: what is shown to the gate, which message it is or where it is damaged, and by what; the first kind takes
//! the rest as the message. Promises: no panic; the next message of this session and direction opens as what was sealed, and once;
//! nothing else opens, and what does not open changes nothing.

use drawgate::inspect::Toward;
use drawgate::inspect::seal::{Config, KeyId, SALT_BYTES, Sealing};
use drawgate::secret::Secret;

use crate::Seed;

/// Checks one input.
pub fn run(data: &[u8]) {
    let (mut gate, messages) = (session(SALT), Messages::new());
    let (mut last, mut steps) = (0, data);
    while let [what, which, by, rest @ ..] = steps {
        steps = rest;
        let seq = usize::from(*which) % MESSAGES;
        let is_next = seq == last;
        match what % 6 {
            0 => {
                assert!(gate.open(Toward::Backend, rest).is_err(), "a message of nobody's");
                steps = &[];
            }
            1 => {
                let opened = gate.open(Toward::Backend, messages.to_gate[seq].as_bytes());
                assert_eq!(opened.ok(), is_next.then(|| text(seq)), "number {seq} after {last}");
                last += usize::from(is_next);
            }
            2 => refuse(&mut gate, messages.to_client[seq].as_bytes(), "reflected"),
            3 => refuse(&mut gate, messages.of_another_session[seq].as_bytes(), "of another session"),
            4 => {
                // The next one, since of no other is more looked at than its number.
                let Some(next) = messages.to_gate.get(last) else { continue };
                let mut damaged = next.clone().into_bytes();
                let place = usize::from(*which) % damaged.len();
                damaged[place] ^= (*by).max(1);
                refuse(&mut gate, &damaged, "damaged");
            }
            _ => {
                let Some(next) = messages.to_gate.get(last) else { continue };
                refuse(&mut gate, &next.as_bytes()[..usize::from(*which) % next.len()], "cut off");
                // A header of anybody's choice over a good body.
                let body = next.split_once('.').expect("five parts").1;
                let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
                let header = encoded(&rest[..end]);
                if !next.starts_with(&format!("{header}.")) {
                    refuse(&mut gate, format!("{header}.{body}").as_bytes(), "another header");
                }
                steps = rest.get(end + 1..).unwrap_or_default();
            }
        }
    }
    // Whatever came between, the next one is still taken.
    if let Some(next) = messages.to_gate.get(last) {
        assert_eq!(gate.open(Toward::Backend, next.as_bytes()), Ok(text(last)));
    }
}

fn refuse(gate: &mut Sealing, message: &[u8], what: &str) {
    assert!(gate.open(Toward::Backend, message).is_err(), "{what}: {}", String::from_utf8_lossy(message));
}

/// The first messages of a session each way, and of another one under the same key.
struct Messages {
    to_gate: Vec<String>,
    to_client: Vec<String>,
    of_another_session: Vec<String>,
}

impl Messages {
    fn new() -> Self {
        let all = |salt, toward| {
            let mut sealing = session(salt);
            (0..MESSAGES).map(|seq| sealing.seal(toward, &text(seq)).expect("it is not spent")).collect()
        };
        Self {
            to_gate: all(SALT, Toward::Backend),
            to_client: all(SALT, Toward::Client),
            of_another_session: all(&[9; SALT_BYTES], Toward::Backend),
        }
    }
}

fn text(seq: usize) -> String {
    "\u{20ac}".repeat(seq)
}

fn session(salt: &[u8; SALT_BYTES]) -> Sealing {
    let key_id = KeyId::parse("2026-11").expect("it is a name");
    Sealing::new(&Config::new(key_id, Secret::new(SECRET)), salt)
}

fn encoded(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// Each way to be refused, and to be good.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let seed = |name: &str, bytes: &[u8]| Seed { name: name.to_owned(), bytes: bytes.to_vec() };
    let header = |name: &str, header: &str| seed(name, &[b"\x05\x09\0", header.as_bytes(), b"\0"].concat());
    vec![
        seed("in-order", &[1, 0, 0, 1, 1, 0, 1, 2, 0, 1, 3, 0]),
        seed("again", &[1, 0, 0, 1, 0, 0]),
        seed("left-out", &[1, 0, 0, 1, 2, 0, 1, 1, 0]),
        seed("reflected", &[2, 0, 0, 1, 0, 0, 2, 1, 0]),
        seed("another-session", &[3, 0, 0]),
        seed("damaged-header", &[4, 3, 1, 1, 0, 0]),
        seed("damaged-tag", &[4, 255, 4]),
        seed("open", b"\0\0\0hello"),
        seed("five-parts", b"\0\0\0a..b.c.d"),
        seed("rfc-7516-a-1", &[b"\0\0\0".as_slice(), OF_NO_SESSION].concat()),
        header("ordered-otherwise", r#"{"enc":"A256GCM","alg":"dir","kid":"2026-11","seq":1,"to":"gate"}"#),
        header(
            "another-member",
            r#"{"alg":"dir","enc":"A256GCM","kid":"2026-11","seq":1,"to":"gate","zip":"DEF"}"#,
        ),
        header("twice", r#"{"alg":"dir","enc":"A256GCM","kid":"2026-11","seq":2,"seq":1,"to":"gate"}"#),
        header("a-fraction", r#"{"alg":"dir","enc":"A256GCM","kid":"2026-11","seq":1.0,"to":"gate"}"#),
        header("another-way", r#"{"alg":"RSA-OAEP","enc":"A256GCM","kid":"2026-11","seq":1,"to":"gate"}"#),
    ]
}

const MESSAGES: usize = 4;
const SALT: &[u8; SALT_BYTES] = &[7; SALT_BYTES];
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
/// The header of RFC 7516 §A.1, which is encrypted to a public key.
const OF_NO_SESSION: &[u8] =
    b"eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.AAAA.48V1_ALb6US04U3b.AAAA.XFBoMYUZodetZdvTiFvSkQ";
