//! Where a server is.

use std::fmt;

use crate::text::{clean_path, path_escape};

/// A server's URL: scheme, host with port, and what every path begins with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    scheme: String,
    authority: String,
    /// Empty, or a path with a leading slash and without one at its end.
    path: String,
}

impl Endpoint {
    /// Reads a URL. `host:port` is taken for `http://host:port`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let wrong = |why: &str| Err(format!("endpoint {text:?}: {why}; http://HOST:PORT is expected"));
        if authority.is_empty() {
            return wrong("no host");
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return wrong("a blank in it");
        }
        let port = authority.rsplit_once(']').map_or(authority, |(_, port)| port).rsplit_once(':');
        if port.is_some_and(|(_, port)| !port.is_empty() && port.parse::<u16>().is_err()) {
            return wrong("no port number behind the colon");
        }
        Ok(Self { scheme: scheme.to_ascii_lowercase(), authority: authority.to_owned(), path: path.to_owned() })
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
        let host = match self.authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => host,
            _ => &self.authority,
        };
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// This machine: proxies are not for it.
    pub(crate) fn is_local(&self) -> bool {
        self.host() == "localhost" || self.host().parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// The URL of a path below the endpoint; the path is escaped.
    pub(crate) fn url(&self, path: &str) -> String {
        // Escapes have neither slashes nor dots in them.
        let path = clean_path(&format!("{}{path}", path_escape(&self.path)));
        format!("{}://{}{path}", self.scheme, self.authority)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
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
        ] {
            let endpoint = Endpoint::parse(text).expect(text);
            assert_eq!((endpoint.to_string().as_str(), endpoint.host()), (want, host), "{text}");
        }
        for text in ["", "http://", "http://a b", "http://a:x", "http:///v2"] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            Endpoint::parse("http://a:1/pre/").expect("good").url("/v2/keys/%C3%BC"),
            "http://a:1/pre/v2/keys/%C3%BC"
        );
    }
}
