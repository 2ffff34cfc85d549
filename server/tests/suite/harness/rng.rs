//! A small seeded random source: the same seed gives the same test.

use shard::random::SplitMix;

/// What chooses test cases.
#[derive(Clone)]
pub(crate) struct Rng(SplitMix);

impl Rng {
    /// The same seed gives the same numbers, on every machine.
    pub(crate) fn new(seed: u64) -> Self {
        Self(SplitMix::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x6A09_E667_F3BC_C909))
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0.draw()
    }

    /// A number in `0..bound`; `bound` is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of `items`, which is not empty.
    pub(crate) fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len() as u64) as usize]
    }
}

#[test]
fn the_same_seed_gives_the_same_numbers() {
    let draw = |seed| (0..5).map(|_| Rng::new(seed).below(1000)).collect::<Vec<_>>();
    assert_eq!(draw(7), draw(7));
    assert_ne!(Rng::new(1).next(), Rng::new(2).next());
}
