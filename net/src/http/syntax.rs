//! Which bytes may stand where in a message head.

use std::ops::Range;

use crate::swar;

/// True for the bytes of an RFC 9110 token: methods and header names.
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// The length of the longest prefix of `bytes` that is a token.
pub(crate) fn token_len(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(bytes.len())
}

/// The length of the longest prefix of `bytes` that may stand in a header value: no control byte but the tab.
pub(crate) fn field_value_len(bytes: &[u8]) -> usize {
    let mut len = swar::find_control(bytes);
    while bytes.get(len) == Some(&b'\t') {
        len += 1 + swar::find_control(&bytes[len + 1..]);
    }
    len
}

/// True if `line` is a header field with its CRLF.
pub(crate) fn is_field_line(line: &[u8]) -> bool {
    let (name, rest) = line.split_at(token_len(line));
    let value = rest.strip_prefix(b":").and_then(|rest| rest.strip_suffix(b"\r\n"));
    !name.is_empty() && value.is_some_and(|value| field_value_len(value) == value.len())
}

/// True if `value` may be a `Host` header; Go's rule, which is looser than the grammar. Empty is fine.
pub(crate) fn is_host(value: &[u8]) -> bool {
    value.iter().all(|&byte| HOST[byte as usize])
}

/// `value` without spaces and tabs at its ends.
pub(crate) fn trim(value: &[u8]) -> &[u8] {
    &value[trimmed(value)]
}

/// Where that is.
pub(crate) fn trimmed(value: &[u8]) -> Range<usize> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    start..end
}

/// True if the comma-separated list `value` has the item `token`, in any case.
pub(crate) fn list_has(value: &[u8], token: &[u8]) -> bool {
    value.split(|&byte| byte == b',').any(|item| trim(item).eq_ignore_ascii_case(token))
}

const TOKEN: [bool; 256] = alphanumeric_and(b"!#$%&'*+-.^_`|~");

const HOST: [bool; 256] = alphanumeric_and(b"!$%&'()*+,-.:;=[]_~");

const fn alphanumeric_and(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_in_the_classes_of_the_grammar() {
        for byte in 0..=u8::MAX {
            let control = byte < 0x20 || byte == 0x7f;
            let separator = b"()<>@,;:\\\"/[]?={} ".contains(&byte);
            assert_eq!(is_token_byte(byte), !control && !separator && byte < 0x80, "{byte:#x} in a token");
            for padding in [0, 7, 8, 9] {
                let mut bytes = vec![b'\t'; padding];
                bytes.push(byte);
                let allowed = !control || byte == b'\t';
                assert_eq!(field_value_len(&bytes), padding + usize::from(allowed), "{byte:#x} in a value");
            }
        }
        assert_eq!(token_len(b"a-b: c"), 3);
        assert!(is_host(b"[::1]:2379") && is_host(b"") && !is_host(b"a b") && !is_host(b"a\xff"));
    }

    #[test]
    fn lists_and_blanks() {
        assert_eq!(trim(b" \t a b\t "), b"a b");
        assert_eq!(trim(b" \t "), b"");
        assert!(list_has(b"Keep-Alive, CLOSE", b"close"));
        assert!(list_has(b",close,", b"close"));
        assert!(!list_has(b"closed, enclose", b"close"));
    }
}
