//! Where a server is.

use std::fmt;

use crate::text::{clean_path, path_escape, quote};

/// A server's URL: scheme, host with port, and what every path begins with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    scheme: String,
    /// May be empty, as in etcdctl: then the endpoint never answers.
    authority: String,
    /// Empty, or a path with a leading slash.
    path: String,
    /// Query and fragment, which are shown and not used.
    behind: String,
}

impl Endpoint {
    /// Reads a URL. `host:port` is taken for `http://host:port`.
    ///
    /// # Errors
    /// What is wrong with it, in Go's words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (url, fragment) = text.find('#').map_or((text, ""), |at| text.split_at(at));
        let wrong = |why: String| format!("parse {}: {why}", quote(url));
        if url.contains(|c: char| c.is_ascii_control()) {
            return Err(wrong("net/url: invalid control character in URL".to_owned()));
        }
        if url.starts_with(':') {
            return Err(wrong("missing protocol scheme".to_owned()));
        }
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (rest, query) = rest.find('?').map_or((rest, ""), |at| rest.split_at(at));
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        check_host(authority.rsplit_once('@').map_or(authority, |(_, host)| host)).map_err(wrong)?;
        path.match_indices('%').try_for_each(|(at, _)| check_escape(&path[at..]).map(drop)).map_err(wrong)?;
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            authority: authority.to_owned(),
            path: path.to_owned(),
            behind: format!("{query}{fragment}"),
        })
    }

    /// `http` or `https`, if the user did not type another.
    pub(crate) fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Host, and port if there is one.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The host without port and brackets.
    pub(crate) fn host(&self) -> &str {
        let (host, _) = split_port(&self.authority);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The digits behind the colon, which may be none, or too large a number.
    pub(crate) fn port(&self) -> &str {
        split_port(&self.authority).1.trim_start_matches(':')
    }

    /// This machine: proxies are not for it.
    pub(crate) fn is_local(&self) -> bool {
        self.is_port_alone()
            || self.host() == "localhost"
            || self.host().parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// `:port`, which Go takes for this machine.
    fn is_port_alone(&self) -> bool {
        let (host, port) = split_port(&self.authority);
        host.rsplit('@').next() == Some("") && port.len() > 1
    }

    /// Where it is to be connected to.
    pub(crate) fn dialled(&self) -> Self {
        let local = || format!("localhost{}", split_port(&self.authority).1);
        let authority = if self.is_port_alone() { local() } else { self.authority.clone() };
        Self { authority, ..self.clone() }
    }

    /// The URL of a path below the endpoint; the path is escaped.
    pub(crate) fn url(&self, path: &str) -> String {
        // Escapes have neither slashes nor dots in them.
        let path = clean_path(&format!("{}{path}", path_escape(&self.path)));
        format!("{}://{}{path}", self.scheme, self.authority.trim_end_matches(':'))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, authority, path, behind } = self;
        let slashes = if authority.is_empty() && path.is_empty() { "" } else { "//" };
        write!(f, "{scheme}:{slashes}{authority}{path}{behind}")
    }
}

/// Host, and port with its colon.
fn split_port(authority: &str) -> (&str, &str) {
    let host_end = authority.rfind(']').unwrap_or(0);
    authority[host_end..].rfind(':').map_or((authority, ""), |at| authority.split_at(host_end + at))
}

/// What Go allows in a host besides letters and digits.
const HOST_MARKS: &str = "-_.~!$&'()*+,;=:[]<>\"";

fn check_host(host: &str) -> Result<(), String> {
    if host.starts_with('[') && !host.contains(']') {
        return Err("missing ']' in host".to_owned());
    }
    let (_, port) = split_port(host);
    if !port.chars().skip(1).all(|c| c.is_ascii_digit()) {
        return Err(format!("invalid port {} after host", quote(port)));
    }
    for (at, c) in host.char_indices() {
        if c == '%' {
            // An escape may stand for a letter that is not ASCII, and for a percent sign.
            match check_escape(&host[at..])? {
                "%25" => {}
                escape if escape.as_bytes()[1] < b'8' => return Err(format!("invalid URL escape {}", quote(escape))),
                _ => {}
            }
        } else if c.is_ascii() && !c.is_ascii_alphanumeric() && !HOST_MARKS.contains(c) {
            return Err(format!("invalid character {} in host name", quote(&c.to_string())));
        }
    }
    Ok(())
}

/// The escape that a text begins with.
fn check_escape(text: &str) -> Result<&str, String> {
    let end = text.char_indices().nth(3).map_or(text.len(), |(at, _)| at);
    let escape = &text[..end];
    let good = escape.len() == 3 && escape[1..].chars().all(|c| c.is_ascii_hexdigit());
    if good { Ok(escape) } else { Err(format!("invalid URL escape {}", quote(escape))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_plain_addresses() {
        for (text, want, host) in [
            ("http://127.0.0.1:2379", "http://127.0.0.1:2379", "127.0.0.1"),
            (" localhost:2379", "http://localhost:2379", "localhost"),
            ("https://[::1]:2379/pre", "https://[::1]:2379/pre", "::1"),
            ("[::1]", "http://[::1]", "::1"),
            ("HTTPS://a/", "https://a/", "a"),
            ("http://a:1?x=y#z", "http://a:1?x=y#z", "a"),
            ("", "http:", ""),
            ("http:///v2", "http:///v2", ""),
        ] {
            let endpoint = Endpoint::parse(text).expect(text);
            assert_eq!((endpoint.to_string().as_str(), endpoint.host()), (want, host), "{text}");
        }
        for (text, why) in [
            ("://x", "missing protocol scheme"),
            ("http://a b", "invalid character \" \" in host name"),
            ("http://a:x", "invalid port \":x\" after host"),
            ("http://[::1", "missing ']' in host"),
            ("http://%zz", "invalid URL escape \"%zz\""),
            ("http://a%41", "invalid URL escape \"%41\""),
            ("http://a/%4", "invalid URL escape \"%4\""),
            ("http://a\x01", "net/url: invalid control character in URL"),
        ] {
            assert_eq!(Endpoint::parse(text), Err(format!("parse {}: {why}", quote(text))), "{text}");
        }
        for (text, want, is_local) in [
            ("http://:23/pre", "http://localhost:23/pre/v", true),
            ("http://a:23", "http://a:23/v", false),
            ("http://:", "http:///v", false),
            ("http://a:", "http://a/v", false),
        ] {
            let endpoint = Endpoint::parse(text).expect(text);
            assert_eq!((endpoint.dialled().url("/v").as_str(), endpoint.is_local()), (want, is_local), "{text}");
        }
        assert_eq!(
            Endpoint::parse("http://a:1/pre/").expect("good").url("/v2/keys/%C3%BC"),
            "http://a:1/pre/v2/keys/%C3%BC"
        );
    }
}
