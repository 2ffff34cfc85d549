//! The blocks of a PEM file, whatever they are: Go says what it found where it looked for something else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// What stands between two lines of dashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) label: String,
    pub(super) der: Vec<u8>,
}

/// All blocks of a file; what is none is skipped.
pub(super) fn blocks(file: &[u8]) -> Vec<Block> {
    let text = String::from_utf8_lossy(file);
    let mut lines = text.lines().map(str::trim_end);
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let Some(label) = marked(line, "-----BEGIN ") else { continue };
        // Headers, such as those of an encrypted key, have a colon.
        let body: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("-----")).collect();
        let base64: String = body.into_iter().filter(|line| !line.contains(':')).collect();
        found.extend(BASE64.decode(base64).ok().map(|der| Block { label: label.to_owned(), der }));
    }
    found
}

fn marked<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    line.strip_prefix(mark)?.strip_suffix("-----")
}

/// The content of a DER sequence that something begins with.
pub(super) fn sequence(der: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first().filter(|_| tag == SEQUENCE)?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) =
            rest.split_at_checked(usize::from(first & 0x7f)).filter(|(digits, _)| digits.len() <= 4)?;
        (digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit)), rest)
    };
    rest.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_between_other_things() {
        let file = b"garbage\n-----BEGIN A B-----\r\nProc-Type: 4\n\nAQID\nBA==\n-----END A B-----\n\
                     -----BEGIN BAD-----\n!\n-----END BAD-----\nmore\n-----BEGIN C-----\n-----END C-----\n";
        let block = |label: &str, der: &[u8]| Block { label: label.to_owned(), der: der.to_owned() };
        assert_eq!(blocks(file), [block("A B", &[1, 2, 3, 4]), block("C", &[])]);
        assert_eq!(blocks(b""), []);
    }

    #[test]
    fn sequences_have_short_and_long_lengths() {
        assert_eq!(sequence(&[0x30, 2, 7, 8, 9]), Some(&[7, 8][..]));
        assert_eq!(sequence(&[0x30, 0x81, 1, 7]), Some(&[7][..]));
        for bad in [&[][..], &[0x30], &[0x30, 2, 7], &[0x31, 1, 7], &[0x30, 0x82, 1], &[0x30, 0x85, 1, 1, 1, 1, 1]] {
            assert_eq!(sequence(bad), None, "{bad:?}");
        }
    }
}
