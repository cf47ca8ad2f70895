//! A second inflater (RFC 1951), written to be read: whole data in, all that it gives or that it is invalid.
//!
//! It shares no code with the engine or with the library below it.

/// What compressed messages give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inflated {
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// The longest distance that a match went back.
    pub(crate) distance_max: usize,
    /// Where the last stream ended, if one did: what lies before may not be referred to any more.
    pub(crate) forgets_until: Option<usize>,
}

/// The payload of one compressed message, behind `history`; or all that came before the first wrong bit.
///
/// RFC 7692 §7.2.2: with four bytes put back the data ends where a block does, and those bytes give nothing. A stream
/// that says that it has ended may be followed by another.
pub(crate) fn message(payload: &[u8], history: &[u8]) -> Result<Inflated, Inflated> {
    let data = [payload, &[0x00, 0x00, 0xFF, 0xFF]].concat();
    let out = Inflated { bytes: history.to_vec(), ..Inflated::default() };
    let mut inflater = Inflater { data: &data, at: 0, payload_bits: payload.len() * 8, start: 0, out };
    let result = if payload.is_empty() { Some(()) } else { inflater.streams() };
    let mut inflated = inflater.out;
    inflated.bytes.drain(..history.len());
    inflated.forgets_until = inflated.forgets_until.map(|place| place - history.len());
    if result.is_some() { Ok(inflated) } else { Err(inflated) }
}

struct Inflater<'a> {
    data: &'a [u8],
    /// In bits.
    at: usize,
    payload_bits: usize,
    /// Where the stream's output begins.
    start: usize,
    out: Inflated,
}

/// Codes of one alphabet: how many there are of each length, and the symbols in the order of their codes.
struct Codes {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Codes {
    /// `None` if there are more codes than bits can tell apart, or fewer and it is not the one code of one bit.
    fn new(lengths: &[usize], may_lack: bool) -> Option<Self> {
        let mut counts = [0; 16];
        lengths.iter().for_each(|&length| counts[length] += 1);
        let mut symbols: Vec<usize> = (0..lengths.len()).filter(|&symbol| lengths[symbol] > 0).collect();
        symbols.sort_by_key(|&symbol| lengths[symbol]);
        let mut left = 1_usize;
        for &count in &counts[1..] {
            left = (left * 2).checked_sub(count)?;
        }
        let is_one_bit = counts[0] + counts[1] == lengths.len();
        (left == 0 || (may_lack && is_one_bit)).then_some(Self { counts, symbols })
    }
}

impl Inflater<'_> {
    /// Streams to the end of the data.
    fn streams(&mut self) -> Option<()> {
        loop {
            let is_last = self.bits(1)? == 1;
            match self.bits(2)? {
                0 => self.stored()?,
                1 => self.fixed()?,
                2 => self.dynamic()?,
                _ => return None,
            }
            if is_last {
                self.at = self.at.next_multiple_of(8);
                self.start = self.out.bytes.len();
                self.out.forgets_until = Some(self.start);
                if self.at >= self.payload_bits {
                    // Were it to end behind the payload it would need bytes that nobody sent.
                    return (self.at == self.payload_bits).then_some(());
                }
            } else if self.at == self.data.len() * 8 {
                return Some(());
            }
        }
    }

    fn stored(&mut self) -> Option<()> {
        self.at = self.at.next_multiple_of(8);
        let (length, check) = (self.bits(16)?, self.bits(16)?);
        if length != !check & 0xFFFF {
            return None;
        }
        for _ in 0..length {
            let byte = u8::try_from(self.bits(8)?).ok()?;
            self.put(byte)?;
        }
        Some(())
    }

    fn fixed(&mut self) -> Option<()> {
        let lengths: Vec<usize> = (0..288)
            .map(|symbol| match symbol {
                0..144 => 8,
                144..256 => 9,
                256..280 => 7,
                _ => 8,
            })
            .collect();
        let distances =
            Codes { counts: [0, 0, 0, 0, 0, 30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], symbols: (0..30).collect() };
        self.symbols(&Codes::new(&lengths, false)?, &distances)
    }

    fn dynamic(&mut self) -> Option<()> {
        const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
        let (literals, distances, lengths) = (self.bits(5)? + 257, self.bits(5)? + 1, self.bits(4)? + 4);
        if literals > 286 || distances > 30 {
            return None;
        }
        let mut code_lengths = [0; 19];
        for place in &ORDER[..lengths] {
            code_lengths[*place] = self.bits(3)?;
        }
        let codes = Codes::new(&code_lengths, false)?;
        let mut all = Vec::new();
        while all.len() < literals + distances {
            let (length, times) = match self.symbol(&codes)? {
                16 => (*all.last()?, 3 + self.bits(2)?),
                17 => (0, 3 + self.bits(3)?),
                18 => (0, 11 + self.bits(7)?),
                length => (length, 1),
            };
            all.extend(std::iter::repeat_n(length, times));
        }
        let (literal_lengths, distance_lengths) = all.split_at(literals);
        if all.len() > literals + distances || literal_lengths[256] == 0 {
            return None;
        }
        let literal_codes = Codes::new(literal_lengths, true)?;
        let distance_codes = Codes::new(distance_lengths, true)?;
        self.symbols(&literal_codes, &distance_codes)
    }

    fn symbols(&mut self, literals: &Codes, distances: &Codes) -> Option<()> {
        const LENGTHS: [usize; 29] = [
            3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
            163, 195, 227, 258,
        ];
        const LENGTH_BITS: [usize; 29] =
            [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
        loop {
            let symbol = self.symbol(literals)?;
            if symbol == 256 {
                return Some(());
            }
            if let Ok(byte) = u8::try_from(symbol) {
                self.put(byte)?;
                continue;
            }
            let length = LENGTHS.get(symbol - 257)? + self.bits(LENGTH_BITS[symbol - 257])?;
            let distance = self.symbol(distances)?;
            let distance = match distance {
                0..4 => distance + 1,
                4..30 => {
                    let bits = distance / 2 - 1;
                    ((2 + distance % 2) << bits) + 1 + self.bits(bits)?
                }
                _ => return None,
            };
            self.out.distance_max = self.out.distance_max.max(distance);
            for _ in 0..length {
                let from = self.out.bytes.len().checked_sub(distance).filter(|from| *from >= self.start)?;
                self.put(self.out.bytes[from])?;
            }
        }
    }

    /// The next symbol: a code of each length is a number below the count of that length, its highest bit first.
    fn symbol(&mut self, codes: &Codes) -> Option<usize> {
        let upcoming = self.peek().reverse_bits() >> 16;
        let (mut first, mut index) = (0, 0);
        for (length, count) in (1..).zip(&codes.counts[1..]) {
            let code = (upcoming >> (16 - length)) as usize;
            if code < first + count {
                self.skip(length)?;
                return codes.symbols.get(index + code - first).copied();
            }
            index += count;
            first = (first + count) * 2;
        }
        None
    }

    /// The next `count` bits, at most 16, the first the lowest.
    fn bits(&mut self, count: usize) -> Option<usize> {
        let value = self.peek() & ((1 << count) - 1);
        self.skip(count)?;
        Some(value as usize)
    }

    /// The next bits, 16 at the least; zeros behind the end.
    fn peek(&self) -> u32 {
        let rest = &self.data[self.at / 8..];
        let bytes = rest.first_chunk().copied().unwrap_or_else(|| {
            let mut bytes = [0; 4];
            bytes[..rest.len()].copy_from_slice(rest);
            bytes
        });
        u32::from_le_bytes(bytes) >> (self.at % 8)
    }

    /// Steps over bits, if there are so many.
    fn skip(&mut self, count: usize) -> Option<()> {
        self.at += count;
        (self.at <= self.data.len() * 8).then_some(())
    }

    /// Nothing may come of the bytes that nobody sent.
    fn put(&mut self, byte: u8) -> Option<()> {
        if self.at > self.payload_bits {
            return None;
        }
        self.out.bytes.push(byte);
        Some(())
    }
}
