//! What was read and not yet used: an incomplete header or control frame, or what came while input stood still.
//!
//! Most of the time that is nothing, so nothing but a pointer is held for it.

/// The bytes at the front of the input that wait. Bounded by whoever keeps them: by one read, or by what is read ahead.
#[derive(Debug, Default)]
pub(super) struct Remainder(Option<Box<Held>>);

#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    /// How much at the front has been used.
    used: usize,
}

impl Remainder {
    /// Holds `bytes`, all of them unused.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self((!bytes.is_empty()).then(|| Box::new(Held { bytes, used: 0 })))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unused().is_empty()
    }

    /// The memory that it takes.
    pub(super) fn held_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |held| size_of::<Held>() + held.bytes.capacity())
    }

    pub(super) fn unused(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |held| &held.bytes[held.used..])
    }

    pub(super) fn unused_mut(&mut self) -> &mut [u8] {
        self.0.as_mut().map_or(&mut [], |held| &mut held.bytes[held.used..])
    }

    /// All but the last `left` bytes have been used.
    pub(super) fn leave(&mut self, left: usize) {
        let Some(held) = &mut self.0 else { return };
        held.used = held.bytes.len().saturating_sub(left);
        if held.used == held.bytes.len() {
            self.0 = None;
        } else if held.used > held.bytes.len() / 2 {
            // Moving the rest to the front after each message would cost its square.
            held.bytes.drain(..held.used);
            held.bytes.shrink_to_fit();
            held.used = 0;
        }
    }

    /// Adds what came behind it.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            None => *self = Self::new(bytes.to_vec()),
            Some(held) => {
                held.bytes.drain(..held.used);
                held.used = 0;
                held.bytes.extend_from_slice(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_stays_in_order_and_nothing_is_held_for_nothing() {
        let mut remainder = Remainder::new(b"abcdef".to_vec());
        remainder.leave(4);
        assert_eq!((remainder.unused(), remainder.is_empty()), (&b"cdef"[..], false));
        remainder.extend(b"gh");
        remainder.leave(1);
        remainder.extend(b"i");
        assert_eq!(remainder.unused_mut(), b"hi");
        remainder.leave(0);
        assert!(remainder.is_empty() && remainder.0.is_none());
        remainder.leave(0);
        remainder.extend(b"j");
        assert_eq!(remainder.unused(), b"j");
        assert!(Remainder::new(Vec::new()).0.is_none());
        assert_eq!(size_of::<Remainder>(), 8);
    }
}
