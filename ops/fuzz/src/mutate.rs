//! Changes to an input, as fuzzers make them.

use fastrand::Rng;

/// No input becomes longer.
pub(crate) const BYTES_MAX: usize = 64 << 10;

/// Numbers at the edges of what formats hold.
const EDGES: [u64; 12] = [0, 1, 7, 8, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 63, u64::MAX];

/// A few changes, drawn. `other` is another input, to take parts of.
pub(crate) fn mutate(input: &[u8], other: &[u8], words: &[&[u8]], random: &mut Rng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.usize(0..4) {
        change(&mut bytes, other, words, random);
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn change(bytes: &mut Vec<u8>, other: &[u8], words: &[&[u8]], random: &mut Rng) {
    let at = random.usize(0..=bytes.len());
    let some = random.usize(1..=16);
    let (rest, end) = (bytes.len() - at, (at + some).min(bytes.len()));
    match random.usize(0..10) {
        0 | 1 if rest > 0 => bytes[at] ^= 1 << random.u8(0..8),
        2 if rest > 0 => bytes[at] = random.u8(..),
        3 => drop(bytes.drain(at..end)),
        4 => drop(bytes.splice(at..at, (0..some).map(|_| random.u8(..)).collect::<Vec<_>>())),
        5 => {
            let again = bytes[at..end].to_vec();
            let to = random.usize(0..=bytes.len());
            bytes.splice(to..to, again);
        }
        6 => {
            let width = [1, 2, 4, 8][random.usize(0..4)].min(rest);
            let edge = EDGES[random.usize(0..EDGES.len())].to_le_bytes();
            bytes[at..at + width].copy_from_slice(&edge[..width]);
        }
        7 if !words.is_empty() => {
            let word = words[random.usize(0..words.len())];
            let upto = if random.bool() { at } else { (at + word.len()).min(bytes.len()) };
            bytes.splice(at..upto, word.iter().copied());
        }
        8 if !other.is_empty() => {
            let from = random.usize(0..other.len());
            let upto = (from + random.usize(1..=64)).min(other.len());
            bytes.splice(at..end, other[from..upto].iter().copied());
        }
        9 => bytes.truncate(at),
        _ => {}
    }
}
