//! Searches eight bytes at a time: the scans that every request and every answer go through.
//!
//! A mask has the high bit of a byte set where that byte matches. Bits above the first match may be wrong, because the
//! subtraction borrows upwards; the lowest one is exact, and it is the only one used.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;
/// Nothing but `x`.
const FILLING: u64 = ONES * b'x' as u64;

/// Where the bytes of `word` are below `limit`, which is at most 0x80.
const fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * limit as u64) & !word & HIGHS
}

/// Where the bytes of `word`, ignoring the bits of `ignored`, equal `byte`.
const fn equal(word: u64, byte: u8, ignored: u8) -> u64 {
    below((word & !(ONES * ignored as u64)) ^ (ONES * byte as u64), 1)
}

/// The place of the first control byte (below 0x20, or DEL); the length if there is none.
pub(crate) fn find_control(bytes: &[u8]) -> usize {
    find(bytes, |word| below(word, 0x20) | equal(word, 0x7f, 0))
}

/// The place of the first control byte or space; the length if there is none.
pub(crate) fn find_blank(bytes: &[u8]) -> usize {
    find(bytes, |word| below(word, 0x21) | equal(word, 0x7f, 0))
}

/// The place of the first byte that JSON does not print as it is, or that is not ASCII; the length if there is none.
///
/// The former are the controls without DEL, and `"`, `\`, `<`, `>`, `&`.
pub(crate) fn find_json_special(bytes: &[u8]) -> usize {
    // Long texts by blocks that the compiler compares as a whole: most have nothing special in them.
    let (blocks, _) = bytes.as_chunks::<16>();
    let is_plain = |block: &&[u8; 16]| block.iter().fold(0, |found, byte| found | json_special(*byte)) == 0;
    let plain = 16 * blocks.iter().take_while(is_plain).count();
    // `"` and `&` differ in bit 2 only, `<` and `>` in bit 1 only.
    let mask =
        |word| (word & HIGHS) | below(word, 0x20) | equal(word, b'"', 4) | equal(word, b'<', 2) | equal(word, b'\\', 0);
    plain + find(&bytes[plain..], mask)
}

/// 1 for the bytes that [`find_json_special`] looks for, without a branch.
#[inline]
fn json_special(byte: u8) -> u8 {
    u8::from(byte < 0x20)
        | u8::from(byte == b'\\')
        | u8::from(byte >= 0x80)
        | u8::from(byte | 4 == b'&')
        | u8::from(byte | 2 == b'>')
}

#[inline]
fn find(bytes: &[u8], mask: impl Fn(u64) -> u64) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let found = mask(u64::from_le_bytes(*word));
        if found != 0 {
            return at * 8 + (found.trailing_zeros() / 8) as usize;
        }
    }
    if tail.is_empty() {
        return bytes.len();
    }
    // The last eight bytes, of which the first ones have been looked at; what is too short is filled up with letters, which
    // never match.
    let (last, skipped) = match bytes.last_chunk() {
        Some(last) => (u64::from_le_bytes(*last), bytes.len() - 8),
        None => (tail.iter().rev().fold(FILLING, |word, byte| word << 8 | u64::from(*byte)), 0),
    };
    let found = mask(last);
    if found == 0 { bytes.len() } else { skipped + (found.trailing_zeros() / 8) as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_found_at_every_place() {
        for byte in 0..=u8::MAX {
            let control = byte < 0x20 || byte == 0x7f;
            let special = !(0x20..0x80).contains(&byte) || b"\"\\<>&".contains(&byte);
            for len in 1..40 {
                for place in 0..len {
                    // What follows the place matches everything: only the first match counts.
                    let mut bytes = [b'x'; 40];
                    bytes[place] = byte;
                    bytes[place + 1..].fill(0);
                    let bytes = &bytes[..len];
                    let next = (place + 1).min(len);
                    assert_eq!(find_control(bytes), if control { place } else { next }, "{byte:#x} at {place}");
                    assert_eq!(find_blank(bytes), if control || byte == b' ' { place } else { next }, "{byte:#x}");
                    assert_eq!(find_json_special(bytes), if special { place } else { next }, "{byte:#x} at {place}");
                }
            }
        }
        assert_eq!(find_control(b""), 0);
    }
}
