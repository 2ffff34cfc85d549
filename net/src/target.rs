//! Request paths: decoding, Go's cleaning redirect, and the key a path names.
//!
//! etcd 2.3 inherits from Go's router that a path which is not clean (`//`, `.`, `..`, also percent-encoded) is
//! answered 301 to the clean one, whatever the method: no path can leave the key space.

use std::borrow::Cow;

use crate::http::request::Method;
use crate::percent::{self, Plus};

/// What a request's path turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// The decoded path; it is clean, so it can be routed.
    Clean(Cow<'a, [u8]>),
    /// Answer 301 to this URL.
    Redirect(Redirect),
    /// A `%` that begins no escape: 400 and close. The request decoder lets no such path through.
    Malformed,
}

/// A redirect to a clean path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    url: Vec<u8>,
}

impl Redirect {
    /// To this path, which needs no escapes, with this query.
    pub fn to(path: &[u8], query: Option<&[u8]>) -> Self {
        let mut url = path.to_vec();
        push_query(&mut url, query);
        Self { url }
    }

    /// The value of the `Location` header.
    pub fn location(&self) -> Cow<'_, [u8]> {
        if self.url.is_ascii() {
            return Cow::Borrowed(&self.url);
        }
        let mut location = Vec::with_capacity(self.url.len() + 16);
        for &byte in &self.url {
            // Lower case here, unlike in the path: two different functions in Go.
            if byte.is_ascii() { location.push(byte) } else { push_escape(&mut location, byte, b"0123456789abcdef") }
        }
        Cow::Owned(location)
    }

    /// Appends the HTML body. Only GET has one; HEAD has its content type, all other methods neither.
    pub fn write_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<a href=\"");
        for &byte in &self.url {
            match byte {
                b'&' => out.extend_from_slice(b"&amp;"),
                b'<' => out.extend_from_slice(b"&lt;"),
                b'>' => out.extend_from_slice(b"&gt;"),
                b'"' => out.extend_from_slice(b"&#34;"),
                b'\'' => out.extend_from_slice(b"&#39;"),
                other => out.push(other),
            }
        }
        out.extend_from_slice(b"\">Moved Permanently</a>.\n\n");
    }
}

/// Decodes and checks the undecoded `path` of a request. `OPTIONS` and `*` never come here: they are not routed by
/// path.
///
/// CONNECT is exempt from cleaning.
pub fn resolve<'a>(method: Method<'_>, path: &'a [u8], query: Option<&[u8]>) -> Target<'a> {
    let Ok(decoded) = percent::decode(path, Plus::Literal) else {
        return Target::Malformed;
    };
    if method == Method::Connect || is_clean(&decoded) {
        return Target::Clean(decoded);
    }
    let mut url = Vec::with_capacity(decoded.len() + query.map_or(0, |query| query.len() + 1));
    push_escaped_path(&mut url, &clean(&decoded));
    push_query(&mut url, query);
    Target::Redirect(Redirect { url })
}

fn push_query(url: &mut Vec<u8>, query: Option<&[u8]>) {
    if let Some(query) = query {
        url.push(b'?');
        url.extend_from_slice(query);
    }
}

/// The key that the part of a clean path after `/v2/keys` names: it begins with `/` and does not end with one, but for
/// the root.
///
/// The part itself, with its trailing slash, is what etcd 2.3 matches permissions against.
pub fn key(after_prefix: &[u8]) -> &[u8] {
    match after_prefix.strip_suffix(b"/").unwrap_or(after_prefix) {
        [] => b"/",
        key => key,
    }
}

/// True if [`clean`] would change nothing: begins with `/`, has no empty, `.` or `..` segment, but may end with one
/// `/`.
fn is_clean(path: &[u8]) -> bool {
    let Some(rest) = path.strip_prefix(b"/") else {
        return false;
    };
    // What most paths show at once, sixteen bytes at a time: nothing in them needs a closer look.
    let doubtful =
        |(byte, next): (&u8, &u8)| u8::from(*byte == b'/') & (u8::from(*next == b'/') | u8::from(*next == b'.'));
    if path.iter().zip(rest).fold(0, |found, pair| found | doubtful(pair)) == 0 {
        return true;
    }
    let body = rest.strip_suffix(b"/").unwrap_or(rest);
    rest.is_empty() || body.split(|&byte| byte == b'/').all(|segment| !matches!(segment, b"" | b"." | b".."))
}

/// Go's `cleanPath`: no empty and no dot segments, never above the root, one trailing slash kept.
fn clean(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in path.split(|&byte| byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => _ = kept.pop(),
            name => kept.push(name),
        }
    }
    let mut cleaned = Vec::with_capacity(path.len() + 1);
    for segment in &kept {
        cleaned.push(b'/');
        cleaned.extend_from_slice(segment);
    }
    if cleaned.is_empty() || path.ends_with(b"/") {
        cleaned.push(b'/');
    }
    cleaned
}

/// Go's path escaping: what is not unreserved and not one of `$&+,/:;=@`, in upper-case hex.
fn push_escaped_path(out: &mut Vec<u8>, path: &[u8]) {
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte) {
            out.push(byte);
        } else {
            push_escape(out, byte, b"0123456789ABCDEF");
        }
    }
}

fn push_escape(out: &mut Vec<u8>, byte: u8, digits: &[u8; 16]) {
    out.extend([b'%', digits[usize::from(byte >> 4)], digits[usize::from(byte & 0xf)]]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve_get(path: &str, query: Option<&str>) -> Target<'static> {
        match resolve(Method::Get, path.as_bytes(), query.map(str::as_bytes)) {
            Target::Clean(path) => Target::Clean(Cow::Owned(path.into_owned())),
            Target::Redirect(redirect) => Target::Redirect(redirect),
            Target::Malformed => Target::Malformed,
        }
    }

    #[test]
    fn clean_paths_are_decoded_and_pass() {
        for (path, decoded) in [
            ("/", "/"),
            ("/v2/keys", "/v2/keys"),
            ("/v2/keys/", "/v2/keys/"),
            ("/v2/keys/a%2Fb", "/v2/keys/a/b"),
            ("/v2/keys/sp%20ace+plus", "/v2/keys/sp ace+plus"),
            ("/v2/keys/q%3Fmark%23;a=b", "/v2/keys/q?mark#;a=b"),
            ("/v2/keys/dots/...", "/v2/keys/dots/..."),
            ("/v2/keys/a..b/.hidden/%20", "/v2/keys/a..b/.hidden/ "),
            ("/v2/keys/nul%00x", "/v2/keys/nul\0x"),
        ] {
            assert_eq!(resolve_get(path, None), Target::Clean(Cow::Owned(decoded.as_bytes().to_vec())), "{path}");
        }
        assert!(matches!(resolve(Method::Get, b"/v2/keys/a", None), Target::Clean(Cow::Borrowed(_))));
        assert_eq!(resolve_get("/v2/keys/bad%zz", None), Target::Malformed);
    }

    /// Recorded from etcd 2.3.8 and 3.4.23.
    #[test]
    fn unclean_paths_are_redirected() {
        for (path, query, location) in [
            ("", None, "/"),
            ("", Some("x=1"), "/?x=1"),
            ("//", None, "/"),
            ("/..", None, "/"),
            ("/v2/keys/..", None, "/v2"),
            ("/v2/keys/.", None, "/v2/keys"),
            ("/v2/keys/./", None, "/v2/keys/"),
            ("/v2/keys/a/..", None, "/v2/keys"),
            ("/v2/keys//", None, "/v2/keys/"),
            ("//v2/keys/foo", None, "/v2/keys/foo"),
            ("/v2//keys/foo", None, "/v2/keys/foo"),
            ("/v2/keys/a/./b/", None, "/v2/keys/a/b/"),
            ("/v2/keys/../../etc/passwd", None, "/etc/passwd"),
            ("/v2/keys/%2e%2e/%2E%2E/secret", None, "/secret"),
            ("/v2/keys/a%2f%2Fb", Some("q=%20"), "/v2/keys/a/b?q=%20"),
            ("/v2/keys//foo", Some("recursive=true&x=1"), "/v2/keys/foo?recursive=true&x=1"),
            ("/v2/keys//x#frag", None, "/v2/keys/x%23frag"),
            ("/v2/keys//x", Some("a#fr%zz"), "/v2/keys/x?a#fr%zz"),
            ("/v2/keys//x", Some("q=%20&\u{2603}'\"<>"), "/v2/keys/x?q=%20&%e2%98%83'\"<>"),
            (
                "/v2/keys/./!*'()$&+,:;=@~-_%3f%25%e2%98%83%7f%00a%20b[]{}|^`\"",
                None,
                "/v2/keys/%21%2A%27%28%29$&+,:;=@~-_%3F%25%E2%98%83%7F%00a%20b%5B%5D%7B%7D%7C%5E%60%22",
            ),
        ] {
            let Target::Redirect(redirect) = resolve_get(path, query) else {
                panic!("{path} should be redirected");
            };
            assert_eq!(String::from_utf8_lossy(&redirect.location()), location, "{path}");
        }
    }

    #[test]
    fn the_body_is_escaped_for_html_and_keeps_raw_bytes() {
        let Target::Redirect(redirect) = resolve_get("/v2/keys//x", Some("q=%20&\u{2603}'\"<>")) else {
            panic!("not clean");
        };
        let mut body = Vec::new();
        redirect.write_body(&mut body);
        let want = "<a href=\"/v2/keys/x?q=%20&amp;\u{2603}&#39;&#34;&lt;&gt;\">Moved Permanently</a>.\n\n";
        assert_eq!(String::from_utf8_lossy(&body), want);
    }

    #[test]
    fn connect_is_not_cleaned() {
        assert_eq!(resolve(Method::Connect, b"/v2//keys", None), Target::Clean(Cow::Borrowed(b"/v2//keys")));
        assert_eq!(resolve(Method::Connect, b"", None), Target::Clean(Cow::Borrowed(b"")));
    }

    #[test]
    fn keys_lose_their_trailing_slash() {
        for (after_prefix, want) in [("", "/"), ("/", "/"), ("/foo", "/foo"), ("/foo/", "/foo"), ("/a/b/", "/a/b")] {
            assert_eq!(key(after_prefix.as_bytes()), want.as_bytes());
        }
    }
}
