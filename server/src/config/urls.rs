//! URLs of members, by etcd's rules: what may stand in a list, how a list is ordered, and what exactly is said when one
//! is wrong.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use super::value::quote;

/// How a URL is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    /// Plain HTTP over TCP.
    Http,
    /// HTTP over TLS over TCP.
    Https,
    /// Plain HTTP over a socket file.
    Unix,
    /// HTTP over TLS over a socket file.
    Unixs,
}

impl Scheme {
    /// Whether it needs a certificate.
    pub(crate) const fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Unixs)
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            "unix" => Some(Self::Unix),
            "unixs" => Some(Self::Unixs),
            _ => None,
        }
    }
}

/// Where a URL points to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
    /// A host name or address (IPv6 without its brackets, empty for "all") and a port, 0 for "any free one".
    Tcp(String, u16),
    /// A socket file, relative to the working directory: etcd 3.4 names it by the `host:port` of the URL.
    Unix(PathBuf),
}

/// One URL of a member: scheme, host and port, nothing behind them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Url {
    text: String,
    scheme: Scheme,
    endpoint: Endpoint,
}

impl Url {
    /// Reads one URL. The error is etcd's text.
    pub(crate) fn parse(input: &str) -> Result<Self, String> {
        let (scheme, rest) = split_scheme(input)?;
        let wrong_scheme = || format!("URL scheme must be http, https, unix, or unixs: {input}");
        let scheme_text = scheme.to_ascii_lowercase();
        let scheme = Scheme::parse(&scheme_text).ok_or_else(wrong_scheme)?;
        let rest = rest.strip_prefix("//").unwrap_or("");
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if let Some(fault) = authority_fault(authority) {
            return Err(format!("parse {}: {fault}", quote(input)));
        }
        let no_port = || format!("URL address does not have the form \"host:port\": {input}");
        let (host, port) = split_host_port(authority).ok_or_else(no_port)?;
        if tail.starts_with('/') {
            return Err(format!("URL must not contain a path: {input}"));
        }
        if !tail.is_empty() || authority.contains('@') {
            return Err(format!("URL must not contain a user, a query or a fragment: {input}"));
        }
        let endpoint = match scheme {
            Scheme::Http | Scheme::Https => {
                let port = port.parse().map_err(|_| format!("URL port must be from 0 to 65535: {input}"))?;
                Endpoint::Tcp(host.to_owned(), port)
            }
            Scheme::Unix | Scheme::Unixs => Endpoint::Unix(PathBuf::from(authority)),
        };
        Ok(Self { text: format!("{scheme_text}://{authority}"), scheme, endpoint })
    }

    /// The text that is hashed into ids and shown to clients.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// How it is spoken to.
    pub(crate) const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Where it points to.
    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// `host:port` as it stands in the URL, which is how Go names an address in its errors.
    pub(crate) fn host_port(&self) -> &str {
        self.text.split_once("://").map_or("", |(_, authority)| authority)
    }

    /// The address to listen on; `None` for a socket file. Asks the resolver when the host is a name.
    ///
    /// Source: Go's `net.Listen`: no host, `0.0.0.0` and `::` all mean every address of both families (as far as the
    /// machine has IPv6); of the addresses of a name the first IPv4 one is taken.
    pub(crate) fn listen_address(&self) -> Result<Option<SocketAddr>, String> {
        let Endpoint::Tcp(host, port) = &self.endpoint else { return Ok(None) };
        let host = if host.is_empty() { "0.0.0.0" } else { host };
        if let Ok(ip) = host.parse::<IpAddr>() {
            let ip = if ip.is_unspecified() { unspecified() } else { ip };
            return Ok(Some(SocketAddr::new(ip, *port)));
        }
        let found: Vec<SocketAddr> =
            (host, *port).to_socket_addrs().map_err(|_| format!("listen tcp: lookup {host}: no such host"))?.collect();
        let best = found.iter().find(|address| address.is_ipv4()).or(found.first());
        best.copied().map(Some).ok_or_else(|| format!("listen tcp: lookup {host}: no such host"))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Every address: of both families where the machine has IPv6, since a socket bound to `::` takes IPv4 too.
fn unspecified() -> IpAddr {
    if std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok() {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    }
}

/// Splits off the scheme, with Go's complaints. A text without any has the empty scheme.
pub(super) fn split_scheme(input: &str) -> Result<(&str, &str), String> {
    let fault = |reason: &str| Err(format!("parse {}: {reason}", quote(input)));
    if input.chars().any(|c| c.is_ascii_control()) {
        return fault("net/url: invalid control character in URL");
    }
    let Some((before, after)) = input.split_once(':') else { return Ok(("", input)) };
    match before.bytes().position(|b| !b.is_ascii_alphanumeric() && !b"+-.".contains(&b)) {
        None if before.is_empty() => fault("missing protocol scheme"),
        None if before.as_bytes()[0].is_ascii_alphabetic() => Ok((before, after)),
        _ if before.contains(['/', '?', '#']) => Ok(("", input)),
        _ => fault("first path segment in URL cannot contain colon"),
    }
}

/// What Go's URL parser finds wrong with the part between `//` and the path.
pub(super) fn authority_fault(authority: &str) -> Option<String> {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let behind_host = match host.strip_prefix('[') {
        Some(inner) => match inner.split_once(']') {
            Some((_, behind)) => behind,
            None => return Some("missing ']' in host".to_owned()),
        },
        None => host.rfind(':').map_or("", |at| &host[at..]),
    };
    let is_port = behind_host.is_empty()
        || behind_host.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    if !is_port {
        return Some(format!("invalid port {} after host", quote(behind_host)));
    }
    if let Some(at) = host.find('%') {
        let escape: String = host[at..].chars().take(3).collect();
        return Some(format!("invalid URL escape {}", quote(&escape)));
    }
    let odd = host.chars().find(|c| c.is_whitespace() || "\"<>\\^`{|}".contains(*c));
    odd.map(|odd| format!("invalid character {} in host name", quote(&odd.to_string())))
}

/// Whether Go's URL parser takes an origin; the error is its text.
pub(super) fn check_origin(origin: &str) -> Result<(), String> {
    let (_, rest) = split_scheme(origin)?;
    let authority = rest.strip_prefix("//").map_or("", |rest| rest.split(['/', '?', '#']).next().unwrap_or(""));
    authority_fault(authority).map_or(Ok(()), |fault| Err(format!("parse {}: {fault}", quote(origin))))
}

/// `host:port` or `[v6]:port`; neither a bare host nor an address with several colons outside brackets.
pub(super) fn split_host_port(authority: &str) -> Option<(&str, &str)> {
    let (host, port) = authority.rsplit_once(':')?;
    if port.is_empty() {
        return None;
    }
    match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) => Some((inner, port)),
        None if host.contains([':', '[', ']']) => None,
        None => Some((host, port)),
    }
}

/// The URLs of one flag: at least one, sorted by text (the order given is lost, as in etcd).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Urls(Vec<Url>);

impl Urls {
    /// Reads a comma-separated list; spaces around an element do not count.
    pub(crate) fn parse(list: &str) -> Result<Self, String> {
        list.split(',').map(|url| Url::parse(url.trim())).collect::<Result<_, _>>().map(Self::sorted)
    }

    /// These, which must be at least one, in the order of a list.
    pub(super) fn sorted(urls: Vec<Url>) -> Self {
        assert!(!urls.is_empty());
        Self(Self::in_order(urls))
    }

    /// Any number of URLs in the order of a list.
    pub(super) fn in_order(mut urls: Vec<Url>) -> Vec<Url> {
        urls.sort_by(|a, b| a.text.cmp(&b.text));
        urls
    }

    /// The URLs in order.
    pub(crate) fn as_slice(&self) -> &[Url] {
        &self.0
    }

    /// The URLs in order.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Url> {
        self.0.iter()
    }

    /// Their texts in order, as they stand in the membership.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.0.iter().map(|url| url.text.clone()).collect()
    }
}

impl From<Url> for Urls {
    fn from(url: Url) -> Self {
        Self(vec![url])
    }
}

impl<'a> IntoIterator for &'a Urls {
    type Item = &'a Url;
    type IntoIter = std::slice::Iter<'a, Url>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Joined with commas, without spaces, as etcd prints lists in its start lines.
impl fmt::Display for Urls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, url) in self.iter().enumerate() {
            write!(f, "{}{url}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts are those of etcd 3.4.23 for the same values.
    #[test]
    fn faults_are_named_in_the_words_of_etcd() {
        for (input, want) in [
            ("foo", "URL scheme must be http, https, unix, or unixs: foo"),
            ("ftp://a:1", "URL scheme must be http, https, unix, or unixs: ftp://a:1"),
            ("localhost:2379", "URL scheme must be http, https, unix, or unixs: localhost:2379"),
            ("http://a", "URL address does not have the form \"host:port\": http://a"),
            ("http://1:2:3", "URL address does not have the form \"host:port\": http://1:2:3"),
            ("http:a:1", "URL address does not have the form \"host:port\": http:a:1"),
            ("http://127.0.0.1:1/", "URL must not contain a path: http://127.0.0.1:1/"),
            ("http://[::1]:1/x", "URL must not contain a path: http://[::1]:1/x"),
            ("http://a:1?q", "URL must not contain a user, a query or a fragment: http://a:1?q"),
            ("http://u@a:1", "URL must not contain a user, a query or a fragment: http://u@a:1"),
            ("http://a:65536", "URL port must be from 0 to 65535: http://a:65536"),
            ("127.0.0.1:1", "parse \"127.0.0.1:1\": first path segment in URL cannot contain colon"),
            (":bad%", "parse \":bad%\": missing protocol scheme"),
            ("http://a:b", "parse \"http://a:b\": invalid port \":b\" after host"),
            ("http://a%zz:1", "parse \"http://a%zz:1\": invalid URL escape \"%zz\""),
            ("http://[::1:1", "parse \"http://[::1:1\": missing ']' in host"),
            ("http://a:1 b", "parse \"http://a:1 b\": invalid port \":1 b\" after host"),
            ("http://a:", "URL address does not have the form \"host:port\": http://a:"),
            ("http://a b:1", "parse \"http://a b:1\": invalid character \" \" in host name"),
            ("", "URL scheme must be http, https, unix, or unixs: "),
        ] {
            assert_eq!(Url::parse(input).map(|url| url.to_string()), Err(want.to_owned()), "{input:?}");
        }
    }

    #[test]
    fn a_list_is_trimmed_and_sorted() {
        let urls = Urls::parse(" http://b:1,http://a:10 , HTTP://a:9").expect("valid");
        assert_eq!(urls.to_string(), "http://a:10,http://a:9,http://b:1");
        assert_eq!(urls.texts().len(), 3);
    }

    #[test]
    fn an_endpoint_is_taken_apart() {
        let tcp = |host: &str, port| Endpoint::Tcp(host.to_owned(), port);
        for (input, want) in [
            ("http://localhost:2379", tcp("localhost", 2379)),
            ("https://[::1]:2380", tcp("::1", 2380)),
            ("http://:2379", tcp("", 2379)),
            ("unix://localhost:2379", Endpoint::Unix(PathBuf::from("localhost:2379"))),
        ] {
            assert_eq!(Url::parse(input).map(|url| url.endpoint), Ok(want), "{input}");
        }
    }

    #[test]
    fn a_listen_address_follows_the_rules_of_go() {
        let address = |input: &str| {
            let url = Url::parse(input).expect("valid");
            url.listen_address().map(|found| found.map(|address| address.to_string()))
        };
        assert_eq!(address("http://127.0.0.1:1"), Ok(Some("127.0.0.1:1".to_owned())));
        assert_eq!(address("http://[::1]:1"), Ok(Some("[::1]:1".to_owned())));
        assert_eq!(address("http://localhost:1"), Ok(Some("127.0.0.1:1".to_owned())));
        assert_eq!(address("unix://a:1"), Ok(None));
        let every = SocketAddr::new(unspecified(), 7).to_string();
        for input in ["http://:7", "http://0.0.0.0:7", "http://[::]:7"] {
            assert_eq!(address(input), Ok(Some(every.clone())), "{input}");
        }
    }
}
