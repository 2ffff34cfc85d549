//! Request targets: origin form, absolute form, `*`, and the authority form of CONNECT.

use super::reject::Reject;
use super::request::Method;
use crate::percent;

/// The parts of a request target that mean something to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uri<'a> {
    /// Undecoded; every escape in it is well formed. Empty when the target has none (`http://host`, `CONNECT host:1`).
    pub(crate) path: &'a [u8],
    /// Undecoded and unchecked; `None` also for an empty one.
    pub(crate) query: Option<&'a [u8]>,
}

/// Splits `target`, whose bytes must all be visible.
///
/// `#` is part of the path or of the query, as in Go: no client sends fragments.
pub(crate) fn parse<'a>(method: Method<'_>, target: &'a [u8]) -> Result<Uri<'a>, Reject> {
    match target {
        b"*" => return Ok(Uri { path: target, query: None }),
        [b'/', ..] => return split(target),
        _ => {}
    }
    if method == Method::Connect {
        let end = target.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(target.len());
        check_authority(&target[..end])?;
        return split(&target[end..]);
    }
    let rest = after_scheme(target).ok_or(Reject::Malformed)?;
    if let Some(rest) = rest.strip_prefix(b"//") {
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        check_authority(&rest[..end])?;
        return split(&rest[end..]);
    }
    if rest.starts_with(b"/") {
        return split(rest);
    }
    // An opaque URI such as `mailto:x`: it has no path, but its query counts.
    split(memchr::memchr(b'?', rest).map_or(&[], |at| &rest[at..]))
}

fn split(target: &[u8]) -> Result<Uri<'_>, Reject> {
    let (path, query) = match memchr::memchr(b'?', target) {
        Some(at) => (&target[..at], Some(&target[at + 1..]).filter(|query| !query.is_empty())),
        None => (target, None),
    };
    if percent::is_well_formed(path) { Ok(Uri { path, query }) } else { Err(Reject::Malformed) }
}

/// What follows `scheme:`; `None` if `target` does not begin so.
fn after_scheme(target: &[u8]) -> Option<&[u8]> {
    let colon = memchr::memchr(b':', target)?;
    let (scheme, rest) = (&target[..colon], &target[colon + 1..]);
    let tail_ok = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let valid = scheme.first().is_some_and(u8::is_ascii_alphabetic) && scheme.iter().all(tail_ok);
    valid.then_some(rest)
}

/// Go's rules for `[user[:password]@]host[:port]`, less escapes in the host, which no client needs.
fn check_authority(authority: &[u8]) -> Result<(), Reject> {
    let host_start = memchr::memrchr(b'@', authority).map_or(0, |at| at + 1);
    let (user, host) = authority.split_at(host_start);
    let user_ok = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(byte);
    let host_ok = |byte: &u8| byte.is_ascii_alphanumeric() || *byte >= 0x80 || b"-_.~!$&'()*+,;=:[]<>\"".contains(byte);
    let port = match memchr::memrchr(b']', host) {
        Some(_) if !host.starts_with(b"[") => return Err(Reject::Malformed),
        Some(end) => &host[end + 1..],
        None if host.starts_with(b"[") => return Err(Reject::Malformed),
        None => memchr::memrchr(b':', host).map_or(&[][..], |at| &host[at..]),
    };
    let port_ok = port.is_empty() || (port[0] == b':' && port[1..].iter().all(u8::is_ascii_digit));
    let valid = user.iter().all(user_ok) && percent::is_well_formed(user) && host.iter().all(host_ok) && port_ok;
    if valid { Ok(()) } else { Err(Reject::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_split_as_go_splits_them() {
        for (target, path, query) in [
            ("/", "/", None),
            ("/a?b=c?d", "/a", Some("b=c?d")),
            ("/a?", "/a", None),
            ("/a%20b%zz", "!", None),
            ("/a?b=%zz", "/a", Some("b=%zz")),
            ("/a#b", "/a#b", None),
            ("//a//b", "//a//b", None),
            ("*", "*", None),
            ("a", "!", None),
            ("", "!", None),
            ("?a", "!", None),
            (":a", "!", None),
            ("1:/a", "!", None),
            ("http://h/a?b", "/a", Some("b")),
            ("HTTPS://h:1/a", "/a", None),
            ("http://u:p@h:1/a", "/a", None),
            ("http://h", "", None),
            ("http://h?x=1", "", Some("x=1")),
            ("http:///a", "/a", None),
            ("http:/a", "/a", None),
            ("http:", "", None),
            ("a:b?c", "", Some("c")),
            ("http://[::1]:2379/a", "/a", None),
            ("http://[::1/a", "!", None),
            ("http://::1]/a", "!", None),
            ("http://[::1]x/a", "!", None),
            ("http://h:x/a", "!", None),
            ("http://a%zz/a", "!", None),
            ("http://a%41/a", "!", None),
            ("http://u^@h/a", "!", None),
            ("http://h\\/a", "!", None),
        ] {
            let want = Some(Uri { path: path.as_bytes(), query: query.map(str::as_bytes) }).filter(|_| path != "!");
            assert_eq!(parse(Method::Get, target.as_bytes()).ok(), want, "{target}");
        }
    }

    #[test]
    fn connect_may_name_just_an_authority() {
        for (target, path) in [("h:1", ""), ("h", ""), ("/a//b", "/a//b"), ("h:1/x", "/x"), ("h:x", "!"), ("h^", "!")] {
            let want = Some(Uri { path: path.as_bytes(), query: None }).filter(|_| path != "!");
            assert_eq!(parse(Method::Connect, target.as_bytes()).ok(), want, "{target}");
        }
    }
}
