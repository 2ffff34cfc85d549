//! URLs as Go reads and writes them: what is refused, in which words, and what is shown of the rest.

use std::fmt;

use crate::text::quote;

/// A URL. Its parts are as they are shown; what they stand for is decoded where it is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Url {
    /// In small letters; may be empty.
    pub(super) scheme: String,
    /// What follows a scheme without a slash.
    pub(super) opaque: String,
    /// What stands before the `@`.
    pub(super) user: Option<String>,
    /// The host with its port.
    pub(super) host: String,
    /// Empty, or a path with a leading slash.
    pub(super) path: String,
    /// Without the question mark.
    pub(super) query: String,
    pub(super) ends_with_question: bool,
    /// With its mark.
    pub(super) fragment: String,
}

/// The parts of a URL that have rules of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    User,
    Host,
    Zone,
    Path,
    Query,
    Fragment,
}

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it, in Go's words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
        let wrong = |shown: &str, why: String| format!("parse {}: {why}", quote(shown));
        let mut parsed = before_fragment(url).map_err(|why| wrong(url, why))?;
        if !fragment.is_empty() {
            let shown = shown(fragment, Part::Fragment).map_err(|why| wrong(text, why))?;
            parsed.fragment = format!("#{shown}");
        }
        Ok(parsed)
    }

    /// The bytes of the path.
    pub(super) fn path_bytes(&self) -> Vec<u8> {
        unescape(&self.path, Part::Path).unwrap_or_default()
    }

    /// Whether the host is a host and a port, the way Go splits it.
    pub(super) fn has_port(&self) -> bool {
        let Some((host, _)) = self.host.rsplit_once(':') else { return false };
        match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').is_some_and(|inner| !inner.contains(['[', ']'])),
            None => !host.contains([':', '[', ']']),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, opaque, user, path, .. } = self;
        if !scheme.is_empty() {
            write!(f, "{scheme}:")?;
        }
        let host = escape(self.host.as_bytes(), Part::Host);
        if !host.is_empty() || !path.is_empty() || user.is_some() {
            f.write_str("//")?;
        }
        if let Some(user) = user {
            write!(f, "{user}@")?;
        }
        let mark = if self.query.is_empty() && !self.ends_with_question { "" } else { "?" };
        write!(f, "{opaque}{host}{path}{mark}{}{}", self.query, self.fragment)
    }
}

fn before_fragment(text: &str) -> Result<Url, String> {
    if text.contains(|c: char| c.is_ascii_control()) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    let (scheme, rest) = scheme(text)?;
    let ends_with_question = rest.ends_with('?') && rest.matches('?').count() == 1;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let url =
        Url { scheme: scheme.to_ascii_lowercase(), query: query.to_owned(), ends_with_question, ..Url::default() };
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            return Ok(Url { opaque: rest.to_owned(), ..url });
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    let authority = rest.strip_prefix("//").filter(|_| !scheme.is_empty() || !rest.starts_with("///"));
    let Some(authority) = authority else { return Ok(Url { path: shown(rest, Part::Path)?, ..url }) };
    let (authority, path) = authority.find('/').map_or((authority, ""), |at| authority.split_at(at));
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let (host, user) = (self::host(host)?, user.map(self::user).transpose()?);
    Ok(Url { user, host, path: shown(path, Part::Path)?, ..url })
}

fn scheme(text: &str) -> Result<(&str, &str), String> {
    let is_of_scheme =
        |at: usize, c: char| c.is_ascii_alphabetic() || at > 0 && (c.is_ascii_digit() || "+-.".contains(c));
    match text.char_indices().find(|&(at, c)| !is_of_scheme(at, c)) {
        Some((0, ':')) => Err("missing protocol scheme".to_owned()),
        Some((at, ':')) => Ok((&text[..at], &text[at + 1..])),
        _ => Ok(("", text)),
    }
}

fn user(text: &str) -> Result<String, String> {
    const ALLOWED: &str = "-._:~!$&'()*+,;=%@";
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || ALLOWED.contains(c)) {
        return Err("net/url: invalid userinfo".to_owned());
    }
    let part = |text| unescape(text, Part::User).map(|bytes| escape(&bytes, Part::User));
    match text.split_once(':') {
        Some((name, password)) => Ok(format!("{}:{}", part(name)?, part(password)?)),
        None => part(text),
    }
}

fn host(text: &str) -> Result<String, String> {
    let port = if text.starts_with('[') {
        let end = text.rfind(']').ok_or("missing ']' in host")?;
        &text[end + 1..]
    } else {
        text.rfind(':').map_or("", |at| &text[at..])
    };
    let digits = port.strip_prefix(':');
    if !port.is_empty() && !digits.is_some_and(|digits| digits.chars().all(|c| c.is_ascii_digit())) {
        return Err(format!("invalid port {} after host", quote(port)));
    }
    let zone = if text.starts_with('[') { text[..text.len() - port.len()].find("%25") } else { None };
    let (name, zone) = text.split_at(zone.unwrap_or(text.len()));
    let bytes = [unescape(name, Part::Host)?, unescape(zone, Part::Zone)?].concat();
    Ok(crate::text::lossy(&bytes))
}

/// A part as Go shows it: as it was typed, unless it has to be escaped.
fn shown(text: &str, part: Part) -> Result<String, String> {
    let bytes = unescape(text, part)?;
    let is_fine = |byte: u8| b"!$&'()*+,;=:@[]%".contains(&byte) || !must_be_escaped(byte, part);
    Ok(if text.bytes().all(is_fine) { text.to_owned() } else { escape(&bytes, part) })
}

/// What a text of a query stands for.
pub(super) fn query_unescape(text: &str) -> Option<Vec<u8>> {
    unescape(text, Part::Query).ok()
}

fn unescape(text: &str, part: Part) -> Result<Vec<u8>, String> {
    let is_of_host = matches!(part, Part::Host | Part::Zone);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'%' => {
                let escape = &text[text.len() - behind.len() - 1..];
                let end = escape.char_indices().nth(3).map_or(escape.len(), |(at, _)| at);
                let escape = &escape[..end];
                let wrong = || format!("invalid URL escape {}", quote(escape));
                let digits = escape[1..].bytes().all(|digit| digit.is_ascii_hexdigit()) && escape.len() == 3;
                let value = u8::from_str_radix(&escape[1..], 16).ok().filter(|_| digits).ok_or_else(wrong)?;
                let fits = match part {
                    Part::Host => value >= 0x80 || escape == "%25",
                    Part::Zone => escape == "%25" || value == b' ' || !must_be_escaped(value, Part::Host),
                    _ => true,
                };
                if !fits {
                    return Err(wrong());
                }
                out.push(value);
                rest = &behind[2..];
            }
            b'+' if part == Part::Query => out.push(b' '),
            byte if is_of_host && byte < 0x80 && must_be_escaped(byte, part) => {
                return Err(format!("invalid character {} in host name", quote(&char::from(byte).to_string())));
            }
            byte => out.push(byte),
        }
    }
    Ok(out)
}

fn escape(bytes: &[u8], part: Part) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        if must_be_escaped(byte, part) {
            crate::text::push_escaped(&mut out, byte);
        } else {
            out.push(char::from(byte));
        }
    }
    out
}

fn must_be_escaped(byte: u8, part: Part) -> bool {
    match byte {
        byte if byte.is_ascii_alphanumeric() => false,
        b'-' | b'_' | b'.' | b'~' => false,
        byte if matches!(part, Part::Host | Part::Zone) => !b"!$&'()*+,;=:[]<>\"".contains(&byte),
        b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'?' | b'@' => match part {
            Part::User => b"@/?:".contains(&byte),
            Part::Path => byte == b'?',
            Part::Fragment => false,
            Part::Query | Part::Host | Part::Zone => true,
        },
        b'!' | b'(' | b')' | b'*' => part != Part::Fragment,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_as_go_shows_them() {
        for (text, want) in [
            ("http://a:1/b", "http://a:1/b"),
            ("HTTP://A:1", "http://A:1"),
            ("http://a?", "http://a?"),
            ("http://a#", "http://a"),
            ("http://a/ü b", "http://a/%C3%BC%20b"),
            ("http://a/%2f%20!", "http://a/%2f%20!"),
            ("http://a?x y#z<", "http://a?x y#z%3C"),
            ("http://a@b@c", "http://a%40b@c"),
            ("http://u:p%40@c", "http://u:p%40@c"),
            ("http://ü", "http://%C3%BC"),
            ("http://[fe80::1%25lo]:1", "http://[fe80::1%25lo]:1"),
            ("http://", "http:"),
            ("http:a:1", "http:a:1"),
        ] {
            assert_eq!(Url::parse(text).expect(text).to_string(), want, "{text}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for (text, why) in [
            ("127.0.0.1:1", "first path segment in URL cannot contain colon"),
            ("://x", "missing protocol scheme"),
            ("http://h:abc", "invalid port \":abc\" after host"),
            ("http://[::1]x", "invalid port \"x\" after host"),
            ("http://[::1", "missing ']' in host"),
            ("http://a b", "invalid character \" \" in host name"),
            ("http://a b@c", "net/url: invalid userinfo"),
            ("http://%zz", "invalid URL escape \"%zz\""),
            ("http://a%41", "invalid URL escape \"%41\""),
            ("http://a/%4", "invalid URL escape \"%4\""),
            ("http://a/%é", "invalid URL escape \"%é\""),
            ("http://a/%+1", "invalid URL escape \"%+1\""),
            ("http://a\x01", "net/url: invalid control character in URL"),
            ("http://a#%zz", "invalid URL escape \"%zz\""),
        ] {
            assert_eq!(Url::parse(text), Err(format!("parse {}: {why}", quote(text))), "{text}");
        }
    }
}
