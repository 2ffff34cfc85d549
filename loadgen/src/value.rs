//! Values that tell whose they are: what is read can be checked without knowing who wrote it, or when.

use std::fmt;
use std::str::FromStr;

use crate::random::{Random, mix};

/// Length of the pattern that a key's value repeats.
const PATTERN: usize = 16;

/// How long values are, in bytes: always the same, or drawn from a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    min: usize,
    max: usize,
}

/// Longest value: the longest form that etcd accepts is 10 MiB, and holds a little more than the value.
const SIZE_MAX: usize = (10 << 20) - 64;

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number of bytes"));
        let (min, max) = match text.split_once('-') {
            Some((min, max)) => (number(min)?, number(max)?),
            None => (number(text)?, number(text)?),
        };
        if min > max {
            return Err(format!("{min} is more than {max}"));
        }
        if max > SIZE_MAX {
            return Err(format!("etcd takes no values above {SIZE_MAX} bytes"));
        }
        Ok(Self { min, max })
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max { write!(f, "{}", self.min) } else { write!(f, "{}-{}", self.min, self.max) }
    }
}

impl Sizes {
    /// The length of the next value.
    pub(crate) fn pick(self, random: &mut Random) -> usize {
        if self.min == self.max { self.min } else { self.min + random.below((self.max - self.min + 1) as u64) as usize }
    }
}

/// Appends a value of `size` bytes that belongs to key `key`: its pattern, over and over.
pub(crate) fn push_pattern(out: &mut Vec<u8>, key: u64, size: usize) {
    let begin = out.len();
    out.extend_from_slice(&pattern(key)[..size.min(PATTERN)]);
    while out.len() - begin < size {
        let have = out.len() - begin;
        out.extend_from_within(begin..begin + have.min(size - have));
    }
}

/// Whether `value` is one that belongs to `key`, of whatever length: another run may have written it.
pub(crate) fn is_pattern(value: &[u8], key: u64) -> bool {
    let head = value.len().min(PATTERN);
    value[..head] == pattern(key)[..head] && value[head..] == value[..value.len() - head]
}

fn pattern(key: u64) -> [u8; PATTERN] {
    let bits = mix(key.wrapping_add(0x5bd1_e995));
    std::array::from_fn(|n| b"0123456789abcdef"[(bits >> (4 * n)) as usize & 15])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_recognized_at_any_length_and_for_their_key_only() {
        for size in [0, 1, 15, 16, 17, 64, 100, 5000] {
            let mut value = b"before".to_vec();
            push_pattern(&mut value, 7, size);
            let value = &value[6..];
            assert_eq!(value.len(), size);
            assert!(is_pattern(value, 7), "{size}");
            assert!(size < 15 || !is_pattern(value, 8), "{size}");
            if let Some(last) = value.len().checked_sub(1) {
                let mut damaged = value.to_vec();
                damaged[last] ^= 1;
                assert!(!is_pattern(&damaged, 7), "{size}");
            }
        }
    }

    #[test]
    fn values_stay_the_same_over_versions() {
        // What an older build has written must be readable; and `bench/src/bin/responder.rs` answers with this one.
        let mut value = Vec::new();
        push_pattern(&mut value, 0, 64);
        assert_eq!(value, b"7fd8d567026ac4ea".repeat(4));
    }

    #[test]
    fn sizes_are_a_number_or_a_range() {
        let mut random = Random::new(1, 1);
        assert_eq!("64".parse::<Sizes>().map(|sizes| sizes.pick(&mut random)), Ok(64));
        let range: Sizes = "3-5".parse().expect("a range");
        assert!((0..100).all(|_| (3..=5).contains(&range.pick(&mut random))));
        assert_eq!(range.to_string(), "3-5");
        for wrong in ["", "a", "5-3", "1-", "10485761"] {
            assert!(wrong.parse::<Sizes>().is_err(), "{wrong:?}");
        }
    }
}
