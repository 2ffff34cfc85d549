//! Text as Go prints it.

use std::fmt::Write as _;

/// A string in double quotes, as `%q` gives it.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c if (c as u32) < 0x80 && c.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A string as Go's JSON encoder writes it: safe inside HTML.
pub(crate) fn json_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\x1f' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Bytes of a form field, escaped.
pub(crate) fn form_escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => push_escaped(&mut out, byte),
        }
    }
    out
}

/// The kernel's text for an error: no capital, no number.
pub(crate) fn os_error(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// Bytes as text; U+FFFD stands for each byte that is not UTF-8.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    out
}

/// A URL's path, escaped as Go's `URL` does it.
pub(crate) fn path_escape(path: impl AsRef<[u8]>) -> String {
    let path = path.as_ref();
    let mut out = String::with_capacity(path.len());
    for &byte in path {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => out.push(char::from(byte)),
            b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'@' => {
                out.push(char::from(byte));
            }
            _ => push_escaped(&mut out, byte),
        }
    }
    out
}

/// One byte, escaped.
pub(crate) fn push_escaped(out: &mut String, byte: u8) {
    let _ = write!(out, "%{byte:02X}");
}

/// A path without `.`, `..` and doubled slashes. It begins with a slash; a slash at its end stays.
pub(crate) fn clean_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut clean = format!("/{}", parts.join("/"));
    if path.ends_with('/') && clean != "/" {
        clean.push('/');
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_in_go() {
        for (path, want) in [
            ("a", "/a"),
            ("/a/", "/a/"),
            ("//a//b", "/a/b"),
            ("/a/../../b", "/b"),
            ("", "/"),
            ("/..", "/"),
            ("/a/.", "/a"),
        ] {
            assert_eq!(clean_path(path), want, "{path}");
        }
    }

    #[test]
    fn what_go_escapes_is_escaped() {
        assert_eq!(
            path_escape("/key with space/ü!*'()[]?#%"),
            "/key%20with%20space/%C3%BC%21%2A%27%28%29%5B%5D%3F%23%25"
        );
        assert_eq!(path_escape("/a$&+,:;=@~b"), "/a$&+,:;=@~b");
        assert_eq!(path_escape(b"/\xe9"), "/%E9");
        assert_eq!(lossy(b"a\xe9\xa0b\xff"), "a\u{fffd}\u{fffd}b\u{fffd}");
        assert_eq!(form_escape(b"x y+&=\xff~"), "x+y%2B%26%3D%FF~");
        assert_eq!(quote("a\"\\\n\x01é"), r#""a\"\\\n\x01é""#);
        assert_eq!(json_string("<&>\u{8}\t"), "\"\\u003c\\u0026\\u003e\\u0008\\t\"");
    }
}
