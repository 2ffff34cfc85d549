//! Which bytes may stand where in a message head.

use crate::swar;

/// True for the bytes of an RFC 9110 token: methods and header names.
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// True if `bytes` is a non-empty token.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// True if `bytes` may stand in a header value: anything but control bytes, of which only the tab is allowed.
pub(crate) fn is_field_value(bytes: &[u8]) -> bool {
    let clean = swar::printable_prefix(bytes);
    bytes[clean..].iter().all(|&byte| (byte >= b' ' && byte != 0x7f) || byte == b'\t')
}

/// True if `bytes` has no control byte, no space and no DEL, so that it can be a request target.
pub(crate) fn is_visible(bytes: &[u8]) -> bool {
    memchr::memchr(b' ', bytes).is_none() && {
        let clean = swar::printable_prefix(bytes);
        bytes[clean..].iter().all(|&byte| byte > b' ' && byte != 0x7f)
    }
}

/// True if `value` may be a `Host` header; Go's rule, which is looser than the grammar. Empty is fine.
pub(crate) fn is_host(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=[]_~".contains(byte))
}

/// `value` without spaces and tabs at its ends.
pub(crate) fn trim(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

/// True if the comma-separated list `value` has the item `token`, in any case.
pub(crate) fn list_has(value: &[u8], token: &[u8]) -> bool {
    value.split(|&byte| byte == b',').any(|item| trim(item).eq_ignore_ascii_case(token))
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_in_the_classes_of_the_grammar() {
        for byte in 0..=u8::MAX {
            let control = byte < 0x20 || byte == 0x7f;
            let separator = b"()<>@,;:\\\"/[]?={} ".contains(&byte);
            assert_eq!(is_token(&[byte]), !control && !separator && byte < 0x80, "{byte:#x} in a token");
            for padding in [0, 7, 8, 9] {
                let mut bytes = vec![b'x'; padding];
                bytes.push(byte);
                assert_eq!(is_field_value(&bytes), !control || byte == b'\t', "{byte:#x} in a value");
                assert_eq!(is_visible(&bytes), !control && byte != b' ', "{byte:#x} in a target");
            }
        }
        assert!(!is_token(b""));
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
