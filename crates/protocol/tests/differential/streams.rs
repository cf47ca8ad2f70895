//! Streams from a seed: valid frames, each rule broken on purpose, and plain damage.

use drawgate_protocol::Limits;

/// A stream as a client might send it, and how it is received.
#[derive(Debug)]
pub(crate) struct Sample {
    /// What arrives.
    pub(crate) stream: Vec<u8>,
    /// The limits of all three engines.
    pub(crate) limits: Limits,
    /// How many bytes each read gives.
    pub(crate) piece_bytes: usize,
}

/// The stream with the number `seed`; the same one each time.
pub(crate) fn sample(seed: u64) -> Sample {
    let mut random = Random(seed);
    let is_large = random.one_in(200);
    let limits = Limits { message_bytes_max: if is_large { 70_000 } else { 1000 }, message_fragments_max: 4 };
    let mut writer = Writer { stream: Vec::new(), random, open: None };
    if is_large {
        let payload = vec![b'x'; 65_530 + writer.random.below(12)];
        writer.frame(0x82, &payload, Fault::None);
    }
    for _ in 0..=writer.random.below(6) {
        writer.any_frame();
    }
    let Writer { mut stream, mut random, .. } = writer;
    if random.one_in(5) {
        damage(&mut stream, &mut random);
    }
    if random.one_in(8) {
        stream.truncate(random.below(stream.len() + 1));
    }
    let piece_bytes = if random.one_in(3) { 1 + random.below(20) } else { stream.len().max(1) };
    Sample { stream, limits, piece_bytes }
}

/// What is wrong with a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    ReservedBits,
    Opcode,
    NotFinal,
    NotMasked,
    Width2,
    Width8,
    TopBit,
    Declared2To62,
}

struct Writer {
    stream: Vec<u8>,
    random: Random,
    /// The open message: whether it is text.
    open: Option<bool>,
}

impl Writer {
    /// A frame that mostly fits what came before it.
    fn any_frame(&mut self) {
        let fault = if self.random.one_in(8) { self.random.pick(FAULTS) } else { Fault::None };
        match self.random.below(10) {
            0 => {
                let payload = self.bytes(126);
                self.frame(0x89, &payload, fault);
            }
            1 => {
                let payload = self.bytes(130);
                self.frame(0x8A, &payload, fault);
            }
            2 if self.random.one_in(2) => {
                let body = self.close_body();
                self.frame(0x88, &body, fault);
            }
            _ => self.data_frame(fault),
        }
    }

    fn data_frame(&mut self, fault: Fault) {
        let fin = if self.random.one_in(2) { 0x80 } else { 0 };
        let in_order = !self.random.one_in(20);
        let is_text = match self.open {
            Some(is_text) if in_order => is_text,
            Some(_) | None => self.random.one_in(2),
        };
        let opcode = match (self.open.is_some() == in_order, is_text) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 2,
        };
        let payload = if is_text { self.text() } else { self.bytes(600) };
        self.frame(fin | opcode, &payload, fault);
        self.open = if fin == 0 { Some(is_text) } else { None };
    }

    fn frame(&mut self, first: u8, payload: &[u8], fault: Fault) {
        let length = payload.len() as u64;
        self.stream.push(match fault {
            Fault::ReservedBits => first | 0x10 << self.random.below(3),
            Fault::Opcode => first & 0xF0 | self.random.pick(&[3, 7, 11, 15]),
            Fault::NotFinal => first & 0x7F,
            Fault::None | Fault::NotMasked | Fault::Width2 | Fault::Width8 | Fault::TopBit => first,
            Fault::Declared2To62 => first,
        });
        let mask_bit = if fault == Fault::NotMasked { 0 } else { 0x80 };
        let short = u8::try_from(length).ok().filter(|short| *short < 126);
        let wide = match fault {
            Fault::TopBit => Some(length | 1 << 63),
            Fault::Declared2To62 => Some(1 << 62),
            Fault::Width8 => Some(length),
            Fault::None | Fault::ReservedBits | Fault::Opcode | Fault::NotFinal => None,
            Fault::NotMasked | Fault::Width2 => None,
        };
        let wide = wide.or((length > 0xFFFF).then_some(length));
        match (wide, short) {
            (Some(wide), _) => {
                self.stream.push(mask_bit | 127);
                self.stream.extend(wide.to_be_bytes());
            }
            (None, Some(short)) if fault != Fault::Width2 => self.stream.push(mask_bit | short),
            (None, _) => {
                self.stream.push(mask_bit | 126);
                self.stream.extend(&length.to_be_bytes()[6..]);
            }
        }
        let key = if mask_bit == 0 { [0; 4] } else { self.random.key() };
        if mask_bit != 0 {
            self.stream.extend(key);
        }
        self.stream.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ key[index % 4]));
    }

    /// Text, often in pieces that only together are whole characters, sometimes in none.
    fn text(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        for _ in 0..self.random.below(4) {
            text.extend_from_slice(if self.random.one_in(6) {
                self.random.pick(BROKEN_TEXTS)
            } else {
                self.random.pick(TEXTS)
            });
        }
        if self.random.one_in(12) {
            text.extend(vec![b'y'; self.random.below(900)]);
        }
        text
    }

    fn bytes(&mut self, below: usize) -> Vec<u8> {
        let length = if self.random.one_in(4) { self.random.below(below) } else { self.random.below(8) };
        (0..length).map(|_| self.random.byte()).collect()
    }

    fn close_body(&mut self) -> Vec<u8> {
        let code: u16 = self.random.pick(CLOSE_CODES);
        let reason = self.text();
        match self.random.below(8) {
            0 => Vec::new(),
            1 => vec![3],
            _ => [&code.to_be_bytes(), &reason[..reason.len().min(123)]].concat(),
        }
    }
}

/// Changes, removes or adds a byte.
fn damage(stream: &mut Vec<u8>, random: &mut Random) {
    let place = random.below(stream.len().max(1));
    match random.below(3) {
        0 if !stream.is_empty() => stream[place] = random.byte(),
        1 if !stream.is_empty() => drop(stream.remove(place)),
        _ => stream.insert(place, random.byte()),
    }
}

/// `SplitMix64`: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("less than a usize")
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn key(&mut self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.next().to_be_bytes();
        [a, b, c, d]
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

const FAULTS: &[Fault] = &[
    Fault::ReservedBits,
    Fault::Opcode,
    Fault::NotFinal,
    Fault::NotMasked,
    Fault::Width2,
    Fault::Width8,
    Fault::TopBit,
    Fault::Declared2To62,
];

const TEXTS: &[&[u8]] =
    &[b"", b"a", b"hello", "caf\u{e9}".as_bytes(), "\u{20ac}\u{1f600}".as_bytes(), "κόσμε".as_bytes()];

const BROKEN_TEXTS: &[&[u8]] = &[
    b"\xf0\x9f",
    b"\x98\x80",
    b"\xe2\x82",
    b"\xac",
    b"\xc3",
    b"\xa9",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\xff",
];

const CLOSE_CODES: &[u16] = &[
    1000, 1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000,
    65_535,
];
