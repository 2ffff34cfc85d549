//! Percent-decoding with Go's rules and Go's error text.

use std::borrow::Cow;

/// What `+` stands for: a space in forms and queries, itself in paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plus {
    Literal,
    Space,
}

/// An escape that is not `%` and two hex digits: what Go quotes, which is at most three bytes from the `%` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadEscape {
    bytes: [u8; 3],
    len: u8,
}

/// Decodes `input`, borrowing it when there is nothing to decode. The first bad escape is the error.
pub(crate) fn decode(input: &[u8], plus: Plus) -> Result<Cow<'_, [u8]>, BadEscape> {
    let first = match plus {
        Plus::Literal => memchr::memchr(b'%', input),
        Plus::Space => memchr::memchr2(b'%', b'+', input),
    };
    first.map_or(Ok(Cow::Borrowed(input)), |at| decode_from(input, at, plus).map(Cow::Owned))
}

/// True if every `%` of `input` begins a well-formed escape.
pub(crate) fn is_well_formed(input: &[u8]) -> bool {
    memchr::memchr_iter(b'%', input).all(|at| escape_at(input, at).is_ok())
}

fn decode_from(input: &[u8], first: usize, plus: Plus) -> Result<Vec<u8>, BadEscape> {
    let mut out = Vec::with_capacity(input.len());
    out.extend_from_slice(&input[..first]);
    let mut at = first;
    while let Some(&byte) = input.get(at) {
        match byte {
            b'%' => {
                out.push(escape_at(input, at)?);
                at += 3;
                continue;
            }
            b'+' if plus == Plus::Space => out.push(b' '),
            other => out.push(other),
        }
        at += 1;
    }
    Ok(out)
}

fn escape_at(input: &[u8], at: usize) -> Result<u8, BadEscape> {
    let digits = input.get(at + 1).copied().and_then(hex).zip(input.get(at + 2).copied().and_then(hex));
    digits.map(|(high, low)| high << 4 | low).ok_or_else(|| BadEscape::new(&input[at..]))
}

/// The value of a hex digit in either case.
pub(crate) const fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Characters from U+0080 to U+07FF, all that two bytes can hold, that Go's `strconv.Quote` does not print, as
/// inclusive ranges (Unicode 13, Go 1.19).
const UNPRINTABLE: [(u32, u32); 20] = [
    (0x80, 0xa0),
    (0xad, 0xad),
    (0x378, 0x379),
    (0x380, 0x383),
    (0x38b, 0x38b),
    (0x38d, 0x38d),
    (0x3a2, 0x3a2),
    (0x530, 0x530),
    (0x557, 0x558),
    (0x58b, 0x58c),
    (0x590, 0x590),
    (0x5c8, 0x5cf),
    (0x5eb, 0x5ee),
    (0x5f5, 0x605),
    (0x61c, 0x61c),
    (0x6dd, 0x6dd),
    (0x70e, 0x70f),
    (0x74b, 0x74c),
    (0x7b2, 0x7bf),
    (0x7fb, 0x7fc),
];

impl BadEscape {
    fn new(from_percent: &[u8]) -> Self {
        let len = from_percent.len().min(3);
        let mut bytes = [0; 3];
        bytes[..len].copy_from_slice(&from_percent[..len]);
        Self { bytes, len: len as u8 }
    }

    /// Go's text: `invalid URL escape "%zz"`, the quoted part as Go's `strconv.Quote` writes it.
    pub fn cause(self) -> String {
        let mut text = String::from("invalid URL escape \"");
        for chunk in self.bytes[..usize::from(self.len)].utf8_chunks() {
            chunk.valid().chars().for_each(|c| push_quoted(&mut text, c));
            chunk.invalid().iter().for_each(|&byte| push_hex(&mut text, 'x', byte.into()));
        }
        text.push('"');
        text
    }
}

fn push_quoted(text: &mut String, c: char) {
    let code = u32::from(c);
    match c {
        '"' | '\\' => text.extend(['\\', c]),
        '\x07' => text.push_str("\\a"),
        '\x08' => text.push_str("\\b"),
        '\x0c' => text.push_str("\\f"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        '\x0b' => text.push_str("\\v"),
        _ if code < 0x20 || code == 0x7f => push_hex(text, 'x', code),
        _ if UNPRINTABLE.iter().any(|&(first, last)| (first..=last).contains(&code)) => {
            push_hex(text, 'u', code);
        }
        _ => text.push(c),
    }
}

/// `\x` and two digits, or `\u` and four.
fn push_hex(text: &mut String, letter: char, code: u32) {
    let digits = if letter == 'x' { 2 } else { 4 };
    text.extend(['\\', letter]);
    text.extend((0..digits).rev().filter_map(|digit| char::from_digit(code >> (4 * digit) & 0xf, 16)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_decode_and_plus_depends_on_the_place() {
        for (input, path, form) in [
            (&b"abc"[..], &b"abc"[..], &b"abc"[..]),
            (b"a+b", b"a+b", b"a b"),
            (b"%41%7a%7A", b"Azz", b"Azz"),
            (b"%2B+%00%ff", b"++\x00\xff", b"+ \x00\xff"),
            (b"%25zz", b"%zz", b"%zz"),
        ] {
            assert_eq!(decode(input, Plus::Literal).as_deref(), Ok(path));
            assert_eq!(decode(input, Plus::Space).as_deref(), Ok(form));
            assert!(is_well_formed(input));
        }
        assert!(matches!(decode(b"plain", Plus::Space), Ok(Cow::Borrowed(_))), "nothing to decode, nothing allocated");
    }

    /// Recorded from etcd 3.4.23 (Go 1.19).
    #[test]
    fn bad_escapes_are_quoted_as_go_quotes_them() {
        for (input, quoted) in [
            (&b"%zz"[..], r#""%zz""#),
            (b"a%", r#""%""#),
            (b"%1", r#""%1""#),
            (b"%1g&", r#""%1g""#),
            (b"%%41", r#""%%4""#),
            (b"%e9%0z", r#""%0z""#),
            (b"%\xff\xfe1", r#""%\xff\xfe""#),
            (b"%\"<", r#""%\"<""#),
            (b"%\xe2\x98\x83", r#""%\xe2\x98""#),
            (b"%\xc3\xa9", "\"%\u{e9}\""),
            (b"%\xc2\x85", r#""%\u0085""#),
            (b"%\n\x01", r#""%\n\x01""#),
        ] {
            let error = decode(input, Plus::Space).expect_err("bad escape");
            assert_eq!(error.cause(), format!("invalid URL escape {quoted}"));
            assert!(!is_well_formed(input));
        }
    }
}
