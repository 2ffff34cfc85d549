//! Numbers that depend on a seed alone: whoever runs something again with the same seed gets the same run.

/// `SplitMix64` (Steele, Lea, Flood 2014): tiny, and good enough to spread timeouts and to choose test cases. Nothing that
/// has to be secret.
#[derive(Clone, Debug)]
pub struct SplitMix(u64);

impl SplitMix {
    /// The same seed gives the same numbers, on every machine.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// What a run draws for one purpose.
#[derive(Clone, Debug)]
pub struct Random(SplitMix);

impl Random {
    /// Streams of one seed and of different `purpose` do not disturb each other.
    pub const fn new(seed: u64, purpose: u64) -> Self {
        let mut stream = SplitMix::new(seed ^ purpose.wrapping_mul(0xA076_1D64_78BD_642F));
        stream.draw();
        Self(stream)
    }

    /// The next 64 bits.
    pub const fn draw(&mut self) -> u64 {
        self.0.draw()
    }

    /// A number in `0..bound`; 0 if there is none.
    pub const fn below(&mut self, bound: usize) -> usize {
        let bound = if bound == 0 { 1 } else { bound as u64 };
        (self.draw() % bound) as usize
    }

    /// True `parts` times in a thousand.
    pub const fn permille(&mut self, parts: usize) -> bool {
        self.below(1000) < parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_its_published_values() {
        let mut random = SplitMix::new(0);
        assert_eq!([random.draw(), random.draw()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }
}
