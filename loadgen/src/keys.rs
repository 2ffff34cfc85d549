//! Which key comes next, and what it is called.

use std::sync::Arc;

use clap::ValueEnum;
use net::decimal::push_u64;

use crate::random::Random;

/// How requests are spread over the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Distribution {
    /// Every key as often as any other.
    Uniform,
    /// Few keys often, most of them seldom (Zipf's law with exponent 0.99, as in YCSB).
    Zipfian,
    /// One after the other; connections take turns.
    Sequential,
    /// Uniform, with all keys in a single directory.
    Hot,
}

/// Exponent of the zipfian distribution: YCSB's, so that figures can be compared.
const ZIPF_EXPONENT: f64 = 0.99;

/// Draws ranks by Zipf's law in constant time (Gray et al., "Quickly generating billion-record synthetic databases",
/// SIGMOD 1994).
#[derive(Debug)]
struct Zipf {
    count: f64,
    alpha: f64,
    zeta: f64,
    eta: f64,
}

impl Zipf {
    /// Takes time in proportion to `count`.
    fn new(count: u64) -> Self {
        let zeta = |upto: u64| (1..=upto).map(|rank| (rank as f64).powf(-ZIPF_EXPONENT)).sum::<f64>();
        let (all, two) = (zeta(count), zeta(count.min(2)));
        let eta = (1.0 - (2.0 / count as f64).powf(1.0 - ZIPF_EXPONENT)) / (1.0 - two / all);
        Self { count: count as f64, alpha: 1.0 / (1.0 - ZIPF_EXPONENT), zeta: all, eta }
    }

    /// The rank for a uniform `unit` in `0.0..1.0`: 0 is the most frequent.
    fn rank(&self, unit: f64) -> u64 {
        let scaled = unit * self.zeta;
        if scaled < 1.0 || self.count < 2.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5_f64.powf(ZIPF_EXPONENT) {
            return 1;
        }
        let rank = self.count * (self.eta * unit - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.count as u64 - 1)
    }
}

/// All keys of a run.
#[derive(Debug)]
pub(crate) struct KeySpace {
    prefix: String,
    directories: u64,
    depth: u32,
    distribution: Distribution,
    zipf: Option<Zipf>,
    /// How many there are.
    pub(crate) keys: u64,
}

impl KeySpace {
    /// `prefix` is what the names of all top-level directories begin with; `depth` levels lie between such a directory and
    /// its keys.
    pub(crate) fn new(prefix: &str, keys: u64, directories: u64, depth: u32, distribution: Distribution) -> Self {
        assert!(keys > 0 && directories > 0, "the command line admits neither");
        let directories = if distribution == Distribution::Hot { 1 } else { directories };
        let zipf = (distribution == Distribution::Zipfian).then(|| Zipf::new(keys));
        Self { prefix: prefix.to_owned(), directories, depth, distribution, zipf, keys }
    }

    /// Appends the top-level directory of key or object `number`: they are spread, so that all shards of a server have work.
    pub(crate) fn push_directory(&self, out: &mut Vec<u8>, number: u64) {
        self.push_top(out, b"d", number % self.directories);
    }

    /// Appends a top-level name: the prefix, what kind of thing it is, and its number.
    pub(crate) fn push_top(&self, out: &mut Vec<u8>, kind: &[u8], number: u64) {
        out.push(b'/');
        out.extend_from_slice(self.prefix.as_bytes());
        out.extend_from_slice(kind);
        push_u64(out, number);
    }

    /// Appends the whole name of key `key`.
    pub(crate) fn push_key(&self, out: &mut Vec<u8>, key: u64) {
        self.push_directory(out, key);
        for level in 1..=self.depth {
            out.extend_from_slice(b"/l");
            push_u64(out, u64::from(level));
        }
        out.extend_from_slice(b"/k");
        push_u64(out, key);
    }

    /// Top-level directories that the keys are spread over.
    pub(crate) fn directories(&self) -> u64 {
        self.directories
    }
}

/// The order in which one connection takes keys.
#[derive(Debug)]
pub(crate) struct KeyPicker {
    space: Arc<KeySpace>,
    random: Random,
    next: u64,
    step: u64,
}

impl KeyPicker {
    /// The keys of connection `connection` of `connections`.
    pub(crate) fn new(space: Arc<KeySpace>, random: Random, connection: u32, connections: u32) -> Self {
        let (next, step) = (u64::from(connection) % space.keys, u64::from(connections));
        Self { space, random, next, step }
    }

    /// The next key.
    pub(crate) fn pick(&mut self) -> u64 {
        let keys = self.space.keys;
        match (self.space.distribution, &self.space.zipf) {
            (Distribution::Zipfian, Some(zipf)) => zipf.rank(self.random.unit()),
            (Distribution::Sequential, _) => {
                let key = self.next;
                self.next = (self.next + self.step) % keys;
                key
            }
            _ => self.random.below(keys),
        }
    }

    /// The source of this connection's other decisions.
    pub(crate) fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// What the keys are part of.
    pub(crate) fn space(&self) -> &KeySpace {
        &self.space
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u64 = 200_000;

    fn counts(distribution: Distribution, keys: u64) -> Vec<u64> {
        let space = Arc::new(KeySpace::new("t-", keys, 4, 0, distribution));
        let mut picker = KeyPicker::new(space, Random::new(1, 0), 0, 1);
        let mut counts = vec![0; keys as usize];
        (0..DRAWS).for_each(|_| counts[picker.pick() as usize] += 1);
        counts
    }

    #[test]
    fn uniform_keys_pass_a_chi_squared_test() {
        let counts = counts(Distribution::Uniform, 100);
        let expected = DRAWS as f64 / 100.0;
        let chi: f64 = counts.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum();
        // 99 degrees of freedom: below 148.2 with a probability of 0.999.
        assert!(chi < 148.2, "chi squared is {chi}");
    }

    #[test]
    fn zipfian_keys_follow_zipfs_law() {
        let counts = counts(Distribution::Zipfian, 1000);
        let zeta: f64 = (1..=1000).map(|rank| f64::from(rank).powf(-ZIPF_EXPONENT)).sum();
        for rank in [1usize, 2] {
            let expected = DRAWS as f64 * (rank as f64).powf(-ZIPF_EXPONENT) / zeta;
            let got = counts[rank - 1] as f64;
            assert!((got / expected - 1.0).abs() < 0.05, "rank {rank}: {got} instead of {expected}");
        }
        // The method interpolates: single ranks are off by a few per cent, sums are not.
        let sum = |ranks: std::ops::Range<usize>| counts[ranks].iter().sum::<u64>() as f64;
        let share: f64 = (1..=100).map(|rank| f64::from(rank).powf(-ZIPF_EXPONENT)).sum::<f64>() / zeta;
        assert!((sum(0..100) / DRAWS as f64 - share).abs() < 0.03, "the first tenth has another share than {share}");
        assert!(sum(0..10) > sum(10..100) * 0.9 && sum(990..1000) > 0.0);
    }

    #[test]
    fn sequential_connections_share_the_keys_out() {
        let space = Arc::new(KeySpace::new("", 6, 2, 0, Distribution::Sequential));
        let order = |connection| {
            let mut picker = KeyPicker::new(Arc::clone(&space), Random::new(1, 0), connection, 2);
            (0..4).map(|_| picker.pick()).collect::<Vec<_>>()
        };
        assert_eq!((order(0), order(1)), (vec![0, 2, 4, 0], vec![1, 3, 5, 1]));
    }

    #[test]
    fn names_spread_over_directories_and_levels() {
        let name = |distribution, depth, key| {
            let mut out = Vec::new();
            KeySpace::new("lg-", 100, 8, depth, distribution).push_key(&mut out, key);
            String::from_utf8(out).expect("ASCII")
        };
        assert_eq!(name(Distribution::Uniform, 0, 13), "/lg-d5/k13");
        assert_eq!(name(Distribution::Uniform, 2, 13), "/lg-d5/l1/l2/k13");
        assert_eq!(name(Distribution::Hot, 0, 13), "/lg-d0/k13");
    }

    #[test]
    fn one_key_is_always_the_first() {
        for distribution in [Distribution::Uniform, Distribution::Zipfian, Distribution::Sequential, Distribution::Hot]
        {
            assert_eq!(counts(distribution, 1), [DRAWS]);
        }
    }
}
