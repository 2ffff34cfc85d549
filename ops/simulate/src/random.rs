//! The same seed gives the same run.

use shard::random::SplitMix;

pub(crate) struct Random(SplitMix);

impl Random {
    /// Streams of different `purpose` do not disturb each other.
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        let mut random = Self(SplitMix::new(seed ^ purpose.wrapping_mul(0xA076_1D64_78BD_642F)));
        random.next();
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.draw()
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// True `parts` times in a thousand.
    pub(crate) fn permille(&mut self, parts: usize) -> bool {
        self.below(1000) < parts
    }
}
