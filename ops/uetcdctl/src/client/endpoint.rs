//! Where a server is.

use std::fmt;

use super::url::{Url, query_unescape};
use crate::text::{clean_path, form_escape, path_escape};

/// A server's URL: scheme, host with port, and what every path begins with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint(Url);

impl Endpoint {
    /// Reads a URL. `host:port` is taken for `http://host:port`.
    ///
    /// # Errors
    /// What is wrong with it, in Go's words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let is_plain = !text.contains("://") && !text.starts_with(':');
        let read = if is_plain { Url::parse(&format!("http://{text}")) } else { Url::parse(text) };
        read.map(Self)
    }

    /// `http` or `https`, if the user did not type another.
    pub(crate) fn scheme(&self) -> &str {
        &self.0.scheme
    }

    /// Host, and port if there is one; the user in front of it goes nowhere. May be empty, as in etcdctl: then the endpoint never answers.
    pub(crate) fn authority(&self) -> &str {
        &self.0.host
    }

    /// The host without port and brackets.
    pub(crate) fn host(&self) -> &str {
        let (host, _) = split_port(&self.0.host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The digits behind the colon, which may be none, or too large a number.
    pub(crate) fn port(&self) -> &str {
        split_port(&self.0.host).1.trim_start_matches(':')
    }

    /// The socket's file, if that is what the URL names: host and port, in the working directory.
    pub(crate) fn socket(&self) -> Option<String> {
        let port = match self.scheme() {
            "unix" => "80",
            "unixs" => "443",
            _ => return None,
        };
        let (host, _) = split_port(&self.0.host);
        Some(if self.port().is_empty() { format!("{host}:{port}") } else { self.0.host.clone() })
    }

    /// Whether connections are encrypted.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.scheme(), "https" | "unixs")
    }

    /// This machine: proxies are not for it.
    pub(crate) fn is_local(&self) -> bool {
        self.is_port_alone()
            || self.host() == "localhost"
            || self.host().parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// `:port`, which Go takes for this machine.
    fn is_port_alone(&self) -> bool {
        let (host, port) = split_port(&self.0.host);
        host.is_empty() && port.len() > 1
    }

    /// Where it is to be connected to, in terms of HTTP.
    pub(crate) fn dialled(&self) -> Self {
        let local = || format!("localhost{}", split_port(&self.0.host).1);
        let host = if self.is_port_alone() { local() } else { self.0.host.clone() };
        Self(Url { scheme: self.0.scheme.replacen("unix", "http", 1), host, ..self.0.clone() })
    }

    /// The URL of a path below the endpoint; the path is escaped.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{}", self.0.scheme, self.0.host.trim_end_matches(':'), self.below(path))
    }

    /// The same as it is shown: with the user, and what stands behind the query.
    pub(crate) fn shown_url(&self, path: &str, query: &str) -> String {
        let (host, path) = (self.0.host.trim_end_matches(':').to_owned(), self.below(path));
        Url { host, path, query: query.to_owned(), ..self.0.clone() }.to_string()
    }

    fn below(&self, path: &str) -> String {
        // Escapes have neither slashes nor dots in them.
        clean_path(&format!("{}{path}", path_escape(self.0.path_bytes())))
    }

    /// The query of a request. `own`: its parameters, sorted, to which those of the endpoint are added; `None`: it has none, and
    /// the endpoint's goes as it is.
    pub(crate) fn query(&self, own: Option<&str>) -> String {
        let Some(own) = own.filter(|_| !self.0.query.is_empty()) else {
            return own.unwrap_or(&self.0.query).to_owned();
        };
        let is_own = |name: &str| own.split('&').any(|part| part.split('=').next() == Some(name));
        let added = self.0.query.split('&').filter_map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let escaped = |text| query_unescape(text).map(|bytes| form_escape(&bytes));
            let (name, value) = (escaped(name)?, escaped(value)?);
            (!part.is_empty() && !part.contains(';') && !is_own(&name)).then(|| format!("{name}={value}"))
        });
        let mut parts: Vec<String> =
            own.split('&').filter(|part| !part.is_empty()).map(str::to_owned).chain(added).collect();
        parts.sort_by_key(|part| query_unescape(part.split('=').next().unwrap_or_default()));
        parts.join("&")
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Host, and port with its colon.
fn split_port(authority: &str) -> (&str, &str) {
    let host_end = authority.rfind(']').unwrap_or(0);
    authority[host_end..].rfind(':').map_or((authority, ""), |at| authority.split_at(host_end + at))
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
            Endpoint::parse("http://a:x"),
            Err("parse \"http://a:x\": invalid port \":x\" after host".to_owned())
        );
        assert_eq!(
            Endpoint::parse("http://a:1/pre/").expect("good").url("/v2/keys/%C3%BC"),
            "http://a:1/pre/v2/keys/%C3%BC"
        );
    }

    #[test]
    fn queries_of_endpoints_are_kept() {
        for (text, own, want) in [
            ("http://a", Some("b=1"), "b=1"),
            ("http://a?x=y&a=%zz&;&c", Some("b=1&d="), "b=1&c=&d=&x=y"),
            ("http://a?b=2&a", Some("b=1"), "a=&b=1"),
            ("http://a?%zz", Some(""), ""),
            ("http://a?%zz", None, "%zz"),
            ("http://a", None, ""),
        ] {
            assert_eq!(Endpoint::parse(text).expect(text).query(own), want, "{text} {own:?}");
        }
        let endpoint = Endpoint::parse("http://u@a:1/b?x#y").expect("good");
        assert_eq!(endpoint.shown_url("/v2", "q"), "http://u@a:1/b/v2?q#y");
        assert_eq!(endpoint.url("/v2"), "http://a:1/b/v2");
    }

    #[test]
    fn sockets_are_files_in_the_working_directory() {
        for (text, file, dialled) in [
            ("unix://a:1", "a:1", "http://a:1/v"),
            ("unixs://a", "a:443", "https://a/v"),
            ("UNIX://a:/p", "a:80", "http://a/p/v"),
        ] {
            let endpoint = Endpoint::parse(text).expect(text);
            assert_eq!((endpoint.socket().as_deref(), endpoint.dialled().url("/v").as_str()), (Some(file), dialled));
        }
    }
}
