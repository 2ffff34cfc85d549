//! Decimal numbers, both ways.

/// Decimal digits of `u64::MAX`.
const DIGITS_MAX: usize = 20;

const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

/// Appends `number` in decimal.
///
/// Copies all places and takes back those that are not needed: a copy of known length is a few instructions, where one of any
/// length is a call.
pub fn push_u64(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 2 * DIGITS_MAX];
    let mut at = DIGITS_MAX;
    while number >= 100 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(pair((number % 100) as usize));
        number /= 100;
    }
    if number >= 10 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(pair(number as usize));
    } else {
        at -= 1;
        digits[at] = b'0' + number as u8;
    }
    let (end, length) = (out.len(), DIGITS_MAX - at);
    if let Some(all) = digits[at..].first_chunk::<DIGITS_MAX>() {
        out.extend_from_slice(all);
    }
    out.truncate(end + length);
}

/// Appends `number` in decimal, with a `-` when it is negative.
pub fn push_i64(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    push_u64(out, number.unsigned_abs());
}

/// The two digits of `number`, which must be below 100.
pub fn pair(number: usize) -> &'static [u8] {
    &PAIRS[number * 2..number * 2 + 2]
}

/// Reads `[0-9]+`; `None` for anything else and for numbers beyond `u64::MAX`.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        let mut number = 1u64;
        for _ in 0..64 {
            for n in [number - 1, number, number + 1, u64::MAX - number] {
                let mut out = Vec::new();
                push_u64(&mut out, n);
                assert_eq!(out, n.to_string().as_bytes());
                assert_eq!(parse_u64(&out), Some(n));
                out.clear();
                push_i64(&mut out, n as i64);
                assert_eq!(out, (n as i64).to_string().as_bytes());
            }
            number = number.wrapping_mul(3).max(1);
        }
    }

    #[test]
    fn what_is_not_a_plain_number_is_refused() {
        for text in ["", " 1", "1 ", "+1", "-0", "0x1", "1_0", "1.0", "18446744073709551616", "99999999999999999999"] {
            assert_eq!(parse_u64(text.as_bytes()), None, "{text:?}");
        }
        for (text, number) in
            [("0", 0), ("007", 7), ("18446744073709551615", u64::MAX), ("000000000000000000000001", 1)]
        {
            assert_eq!(parse_u64(text.as_bytes()), Some(number), "{text:?}");
        }
    }
}
