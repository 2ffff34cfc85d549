//! Tests on eight bytes at a time: the scans that every request and every answer go through.
//!
//! The bounds are exact per word ("is there any such byte"), which is all the callers ask.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// True if any byte of `word` is zero.
const fn has_zero(word: u64) -> bool {
    word.wrapping_sub(ONES) & !word & HIGHS != 0
}

/// True if any byte of `word`, ignoring the bits of `ignore`, equals `byte`.
const fn has(word: u64, byte: u8, ignore: u8) -> bool {
    has_zero((word & !(ONES * ignore as u64)) ^ (ONES * byte as u64))
}

/// True if any byte of `word` is below 0x20.
const fn has_control(word: u64) -> bool {
    has_zero(word & (ONES * 0xe0))
}

/// The length of the longest prefix, in whole words, without a byte below 0x20 and without 0x7f.
pub(crate) fn printable_prefix(bytes: &[u8]) -> usize {
    prefix(bytes, |word| has_control(word) || has(word, 0x7f, 0))
}

/// The length of the longest prefix, in whole words, that JSON prints as it is: ASCII without controls, `"`, `\`, `<`, `>`, `&`.
pub(crate) fn json_clean_prefix(bytes: &[u8]) -> usize {
    // `"` and `&` differ in bit 2 only, `<` and `>` in bit 1 only.
    prefix(bytes, |word| {
        word & HIGHS != 0 || has_control(word) || has(word, b'"', 4) || has(word, b'<', 2) || has(word, b'\\', 0)
    })
}

fn prefix(bytes: &[u8], stop: impl Fn(u64) -> bool) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().position(|word| stop(u64::from_le_bytes(*word))).unwrap_or(words.len()) * 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_is_judged_alone() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                let mut word = [b'x'; 8];
                word[place] = byte;
                let printable = byte >= 0x20 && byte != 0x7f;
                assert_eq!(printable_prefix(&word) == 8, printable, "{byte:#x} at {place}");
                let clean = (0x20..0x80).contains(&byte) && !b"\"\\<>&".contains(&byte);
                assert_eq!(json_clean_prefix(&word) == 8, clean, "{byte:#x} at {place}");
            }
        }
    }
}
