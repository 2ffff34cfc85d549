//! JSON as Go's encoder writes it: strings, numbers, times. The documents themselves are put together by who knows
//! their shape.

use crate::civil::Civil;
use crate::decimal;
use crate::swar;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Appends `number` in decimal.
pub fn push_u64(out: &mut Vec<u8>, number: u64) {
    decimal::push_u64(out, number);
}

/// Appends `number` in decimal.
pub fn push_i64(out: &mut Vec<u8>, number: i64) {
    decimal::push_i64(out, number);
}

/// Appends `text` as a JSON string, quotes included.
pub fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    push_escaped(out, text);
    out.push(b'"');
}

/// Appends `text` with the escapes of a JSON string, without quotes.
///
/// Go's choices (before 1.22): `<`, `>`, `&` and U+2028, U+2029 are escaped, backspace and form feed have no short
/// form, and every byte that is not valid UTF-8 becomes the six characters `\ufffd`.
pub fn push_escaped(out: &mut Vec<u8>, text: &[u8]) {
    let (clean, rest) = text.split_at(swar::find_json_special(text));
    out.extend_from_slice(clean);
    if str::from_utf8(rest).is_ok() {
        return push_valid(out, rest);
    }
    for chunk in rest.utf8_chunks() {
        push_valid(out, chunk.valid().as_bytes());
        for _ in chunk.invalid() {
            out.extend_from_slice(br"\ufffd");
        }
    }
}

/// Appends valid UTF-8. Of what is not ASCII, only U+2028 and U+2029 are special, and both begin with the byte E2.
fn push_valid(out: &mut Vec<u8>, mut text: &[u8]) {
    while !text.is_empty() {
        let special = text.iter().position(|&byte| SHORT[usize::from(byte)] != 0 || byte == 0xe2);
        let (plain, rest) = text.split_at(special.unwrap_or(text.len()));
        out.extend_from_slice(plain);
        text = match rest {
            [0xe2, 0x80, 0xa8, rest @ ..] => {
                out.extend_from_slice(br"\u2028");
                rest
            }
            [0xe2, 0x80, 0xa9, rest @ ..] => {
                out.extend_from_slice(br"\u2029");
                rest
            }
            [0xe2, rest @ ..] => {
                out.push(0xe2);
                rest
            }
            [byte, rest @ ..] => {
                push_ascii_escape(out, *byte);
                rest
            }
            [] => &[],
        };
    }
}

fn push_ascii_escape(out: &mut Vec<u8>, byte: u8) {
    match SHORT[usize::from(byte)] {
        b'u' => {
            let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 0xf)]);
        }
        letter => out.extend_from_slice(&[b'\\', letter]),
    }
}

/// What follows the backslash in a byte's escape; `u` for the long form, 0 for bytes without one.
const SHORT: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[b'\n' as usize] = b'n';
    table[b'\r' as usize] = b'r';
    table[b'\t' as usize] = b't';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[b'<' as usize] = b'u';
    table[b'>' as usize] = b'u';
    table[b'&' as usize] = b'u';
    table
};

/// Appends a moment as Go writes times in UTC: RFC 3339 with as many digits of the fraction as are needed, none for a
/// whole second. `unix_nanos` counts from the start of 1970; 64 bits reach from 1677 to 2262. No quotes.
pub fn push_time(out: &mut Vec<u8>, unix_nanos: i64) {
    let date = Civil::from_unix(unix_nanos.div_euclid(NANOS_PER_SECOND));
    let year = date.year as usize;
    let mut text = *b"YYYY-MM-DDTHH:MM:SS";
    text[0..2].copy_from_slice(decimal::pair(year / 100));
    text[2..4].copy_from_slice(decimal::pair(year % 100));
    text[5..7].copy_from_slice(decimal::pair(usize::from(date.month)));
    text[8..10].copy_from_slice(decimal::pair(usize::from(date.day)));
    text[11..13].copy_from_slice(decimal::pair(usize::from(date.hour)));
    text[14..16].copy_from_slice(decimal::pair(usize::from(date.minute)));
    text[17..19].copy_from_slice(decimal::pair(usize::from(date.second)));
    out.extend_from_slice(&text);
    push_fraction(out, unix_nanos.rem_euclid(NANOS_PER_SECOND) as usize);
    out.push(b'Z');
}

fn push_fraction(out: &mut Vec<u8>, nanos: usize) {
    if nanos == 0 {
        return;
    }
    let mut digits = *b".000000000";
    digits[1] = b'0' + (nanos / 100_000_000) as u8;
    for (at, power) in [(2, 1_000_000), (4, 10_000), (6, 100), (8, 1)] {
        digits[at..at + 2].copy_from_slice(decimal::pair(nanos / power % 100));
    }
    let zeros = digits.iter().rev().take_while(|&&digit| digit == b'0').count();
    out.extend_from_slice(&digits[..digits.len() - zeros]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &[u8]) -> String {
        let mut out = Vec::new();
        push_escaped(&mut out, text);
        String::from_utf8(out).expect("the output is always UTF-8")
    }

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        for (text, want) in [
            (&b"plain /'~ text, longer than a word"[..], "plain /'~ text, longer than a word"),
            (b"<a&b>\"\\", r#"\u003ca\u0026b\u003e\"\\"#),
            (b"\xff\x00\x08\x0c\n", r"\ufffd\u0000\u0008\u000c\n"),
            (b"\r\t\x1f\x7f", "\\r\\t\\u001f\x7f"),
            ("\u{2027}\u{2028}\u{2029}\u{202a}".as_bytes(), "\u{2027}\\u2028\\u2029\u{202a}"),
            ("uni\u{2603}\u{1f600}".as_bytes(), "uni\u{2603}\u{1f600}"),
            (b"a\xe2\x98b", r"a\ufffd\ufffdb"),
            (b"\xed\xa0\x80", r"\ufffd\ufffd\ufffd"),
            (b"\xf0\x90\x80", r"\ufffd\ufffd\ufffd"),
            (b"\xc0\x80", r"\ufffd\ufffd"),
            (b"", ""),
        ] {
            assert_eq!(escaped(text), want);
        }
        let mut out = Vec::new();
        push_string(&mut out, b"a\"b");
        assert_eq!(out, br#""a\"b""#);
    }

    #[test]
    fn times_have_only_the_digits_they_need() {
        for (nanos, want) in [
            (0, "1970-01-01T00:00:00Z"),
            (1, "1970-01-01T00:00:00.000000001Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (1_795_356_282_080_324_480, "2026-11-22T14:04:42.08032448Z"),
            (1_795_356_282_500_000_000, "2026-11-22T14:04:42.5Z"),
            (1_795_356_282_000_000_000, "2026-11-22T14:04:42Z"),
            (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
        ] {
            let mut out = Vec::new();
            push_time(&mut out, nanos);
            assert_eq!(String::from_utf8_lossy(&out), want);
        }
    }
}
