//! The large state that inflating and deflating need, lent to one connection after another.
//!
//! What a context has seen of one connection must not reach another: each is reset when it is taken.

use core::fmt;

use zlib_rs::{Deflate, DeflateConfig, Inflate};

use super::negotiation::WindowBits;

/// Contexts that nobody uses, kept for the next who does. One for each thread is enough; it needs no lock.
#[derive(Default)]
#[allow(
    clippy::vec_box,
    reason = "they come from connections and go to them, which hold a pointer and no more"
)]
pub struct Contexts {
    inflaters: Vec<Box<Inflate>>,
    /// By the size of their window.
    deflaters: [Option<Box<Deflate>>; WINDOW_SIZES],
}

impl Contexts {
    /// A context that has seen nothing and inflates whatever any window has.
    pub(super) fn inflater(&mut self) -> Box<Inflate> {
        match self.inflaters.pop() {
            Some(mut inflater) => {
                inflater.reset(false);
                inflater
            }
            // zlib-rs has room for 32 KiB whatever the window, and `reset` returns to it.
            None => Box::new(Inflate::new(false, WindowBits::MAX.get())),
        }
    }

    pub(super) fn return_inflater(&mut self, inflater: Box<Inflate>) {
        if self.inflaters.len() < INFLATERS_KEPT {
            self.inflaters.push(inflater);
        }
    }

    /// A context that has seen nothing and deflates for a window of this size.
    pub(super) fn deflater(&mut self, window_bits: WindowBits) -> Box<Deflate> {
        if let Some(mut deflater) = self.deflater_of(window_bits).and_then(Option::take) {
            deflater.reset();
            return deflater;
        }
        let config = DeflateConfig {
            window_bits: -i32::from(window_bits.get()),
            level: LEVEL,
            mem_level: MEMORY_LEVEL,
            ..DeflateConfig::default()
        };
        Box::new(Deflate::new_with_config(config))
    }

    pub(super) fn return_deflater(&mut self, window_bits: WindowBits, deflater: Box<Deflate>) {
        if let Some(place) = self.deflater_of(window_bits) {
            *place = Some(deflater);
        }
    }

    fn deflater_of(&mut self, window_bits: WindowBits) -> Option<&mut Option<Box<Deflate>>> {
        self.deflaters.get_mut(usize::from(window_bits.get() - WindowBits::MIN.get()))
    }
}

impl fmt::Debug for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contexts").field("inflaters", &self.inflaters.len()).finish_non_exhaustive()
    }
}

const WINDOW_SIZES: usize = 7;

/// Messages that end return more contexts than are needed at a time only after many were open at once.
const INFLATERS_KEPT: usize = 8;

/// Measured on JSON, HTML and prose of 0.5 to 16 KiB: level 1 takes a third of the time and makes prose a third larger, since
/// its codes are fixed; levels 3 to 6 take a fifth to twice as much more, and save some percent.
const LEVEL: i32 = 2;

/// Buffers for 2,048 symbols: a block is closed after some kilobytes of text.
const MEMORY_LEVEL: i32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_contexts_are_kept_than_their_bounds_say() {
        let mut contexts = Contexts::default();
        let inflaters: Vec<_> = (0..=INFLATERS_KEPT).map(|_| contexts.inflater()).collect();
        for inflater in inflaters {
            contexts.return_inflater(inflater);
        }
        assert_eq!(contexts.inflaters.len(), INFLATERS_KEPT);

        for bits in WindowBits::MIN.get()..=WindowBits::MAX.get() {
            let size = WindowBits::new(bits).expect("a size between the smallest and the largest");
            let two = [contexts.deflater(size), contexts.deflater(size)];
            for deflater in two {
                contexts.return_deflater(size, deflater);
            }
        }
        assert!(contexts.deflaters.iter().all(Option::is_some), "one of each size");
    }
}
