//! The requests over HTTP or HTTPS, directly or through `--discovery-proxy`.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use net::http::client::ResponseHead;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::super::blocking::{Connection, NoAnswer, ask, dial, exchange};
use super::super::urls::{Scheme, Url, split_host_port};
use super::super::value::quote;
use super::registry::{Answer, Request, Wire};
use super::token::Token;

/// A redirect that leads to another one more often than this leads nowhere.
const REDIRECTS_MAX: usize = 10;
/// How long it may take to get a connection. Requests with less time have less.
const CONNECT: Duration = Duration::from_secs(30);

/// [`Wire`] over the network: a connection for each request.
pub(super) struct Http<'a> {
    token: &'a Token,
    proxy: Option<Url>,
    tls: Arc<ClientConfig>,
}

impl<'a> Http<'a> {
    /// To the service of `token`.
    pub(super) fn new(token: &'a Token, proxy: Option<Url>) -> Self {
        Self { token, proxy, tls: Arc::new(trusting(roots())) }
    }

    fn once(&self, url: &str, request: &Request) -> Result<(ResponseHead, Vec<u8>), NoAnswer> {
        let target = Target::parse(url)?;
        let deadline = Instant::now() + request.limit;
        let mut stream = self.connect(&target, deadline)?;
        let bytes = encode(&target, self.proxy.is_some(), request.form.as_deref());
        exchange(&mut *stream, bytes.as_bytes(), deadline)
    }

    fn connect(&self, target: &Target<'_>, deadline: Instant) -> Result<Box<dyn Connection>, NoAnswer> {
        let proxy = self.proxy.as_ref().and_then(|proxy| split_host_port(proxy.host_port()));
        let proxy = proxy.and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = proxy.unwrap_or((target.host, target.port));
        let patience = Instant::now() + CONNECT;
        let mut stream = dial(host, port, deadline.min(patience)).map_err(|none| match none {
            // More time would have been left for an answer.
            NoAnswer::TimedOut if patience < deadline => {
                NoAnswer::Failed(format!("dial tcp {host}:{port}: i/o timeout"))
            }
            none => none,
        })?;
        if !target.is_tls {
            return Ok(Box::new(stream));
        }
        if proxy.is_some() {
            tunnel(&mut stream, target, deadline)?;
        }
        let failed = |error: &dyn std::fmt::Display| NoAnswer::Failed(format!("tls: {error}"));
        let name = ServerName::try_from(target.host.to_owned()).map_err(|error| failed(&error))?;
        let session = ClientConnection::new(Arc::clone(&self.tls), name).map_err(|error| failed(&error))?;
        Ok(Box::new(Tls(StreamOwned::new(session, stream))))
    }
}

impl Wire for Http<'_> {
    fn send(&self, request: &Request) -> Result<Answer, NoAnswer> {
        let mut url = format!("{}{}", self.token.service(), request.target);
        for _ in 0..=REDIRECTS_MAX {
            let (head, body) = self.once(&url, request)?;
            let text = |name| head.field(name).map(|value| String::from_utf8_lossy(value).into_owned());
            let Some(to) = text("Location").filter(|_| (300..400).contains(&head.status)) else {
                let index = text("X-Etcd-Index").and_then(|index| index.parse().ok()).unwrap_or(0);
                return Ok(Answer { status: head.status, index, body });
            };
            url = absolute(&url, &to);
        }
        Err(NoAnswer::Failed("client: too many redirects".to_owned()))
    }
}

/// A URL, as far as a request needs it.
struct Target<'u> {
    is_tls: bool,
    /// As it stands in the URL.
    authority: &'u str,
    /// Without brackets.
    host: &'u str,
    port: u16,
    path: &'u str,
}

impl<'u> Target<'u> {
    fn parse(url: &'u str) -> Result<Self, NoAnswer> {
        let wrong = || NoAnswer::Failed(format!("a redirect leads to {}", quote(url)));
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let is_tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(wrong()),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let has_port =
            authority.rfind(':') > authority.rfind(']') || authority.rfind(':').is_some() && !authority.contains(']');
        let (host, port) = if has_port {
            let (host, port) = split_host_port(authority).ok_or_else(wrong)?;
            (host, port.parse().map_err(|_| wrong())?)
        } else {
            (authority.trim_matches(['[', ']']), if is_tls { 443 } else { 80 })
        };
        // Nothing that would end the line of the request.
        if host.is_empty() || url.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(wrong());
        }
        Ok(Self { is_tls, authority, host, port, path: if path.is_empty() { "/" } else { path } })
    }
}

fn encode(target: &Target<'_>, through_proxy: bool, form: Option<&str>) -> String {
    let Target { authority, path, .. } = target;
    let service = if through_proxy && !target.is_tls { format!("http://{authority}") } else { String::new() };
    let method = if form.is_some() { "PUT" } else { "GET" };
    let mut request =
        format!("{method} {service}{path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: uetcd\r\nConnection: close\r\n");
    let form = form.unwrap_or_default();
    if !form.is_empty() {
        let length = form.len();
        // Writing to a `String` cannot fail.
        let _ = write!(request, "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n");
    }
    request + "\r\n" + form
}

/// Has a proxy connect the stream to the target.
fn tunnel(stream: &mut TcpStream, target: &Target<'_>, deadline: Instant) -> Result<(), NoAnswer> {
    let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.to_owned() };
    let at = format!("{host}:{}", target.port);
    let request = format!("CONNECT {at} HTTP/1.1\r\nHost: {at}\r\nUser-Agent: uetcd\r\n\r\n");
    match ask(stream, request.as_bytes(), deadline)?.0.status {
        200..300 => Ok(()),
        status => Err(NoAnswer::Failed(format!("the proxy answers {status} to CONNECT {at}"))),
    }
}

/// A stream with TLS.
struct Tls(StreamOwned<ClientConnection, TcpStream>);

impl Read for Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Connection for Tls {
    fn limit(&self, left: Duration) -> io::Result<()> {
        self.0.sock.limit(left)
    }
}

fn trusting(roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.unwrap_or_else(|error| panic!("ring has no default versions of TLS: {error}"));
    versions.with_root_certificates(roots).with_no_client_auth()
}

/// The authorities that this machine trusts; where it keeps none, those of Mozilla.
fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// Where a redirect leads.
fn absolute(from: &str, to: &str) -> String {
    let Some(host) = from.find("://").map(|at| at + 3).filter(|_| to.starts_with('/')) else { return to.to_owned() };
    let service = from[host..].find('/').map_or(from, |path| &from[..host + path]);
    format!("{service}{to}")
}

/// The URL of `--discovery-proxy`. `host:port` is taken for one without its scheme, as etcd does. The error is etcd's text.
pub(super) fn proxy_at(text: &str) -> Result<Url, String> {
    let given = if text.starts_with("http") { Url::parse(text.trim_end_matches('/')) } else { Err(String::new()) };
    let url = given.or_else(|_| Url::parse(&format!("http://{text}")));
    match url {
        Ok(url) if url.scheme() == Scheme::Http => Ok(url),
        Ok(url) => Err(format!("invalid proxy address {}: {url} is not http", quote(text))),
        Err(reason) => Err(format!("invalid proxy address {}: {reason}", quote(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_leads_to_a_url_or_to_a_path() {
        assert_eq!(absolute("http://h:1/a?b", "https://i/c"), "https://i/c");
        assert_eq!(absolute("http://h:1/a?b", "/c?d"), "http://h:1/c?d");
        assert_eq!(absolute("http://h", "/c"), "http://h/c");
    }

    #[test]
    fn a_url_says_where_to_connect() {
        for (url, want) in [
            ("http://h:1/a?b", (false, "h", 1, "/a?b")),
            ("https://h", (true, "h", 443, "/")),
            ("http://[::1]/a", (false, "::1", 80, "/a")),
            ("http://[::1]:7/a", (false, "::1", 7, "/a")),
        ] {
            let target = Target::parse(url).unwrap_or_else(|none| panic!("{url}: {none}"));
            assert_eq!((target.is_tls, target.host, target.port, target.path), want, "{url}");
        }
        for url in ["ftp://h/", "/a", "http:///a", "http://h:x/", "http://h/ HTTP/1.1\r\n"] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_proxy_of_plain_text_is_told_the_whole_url() {
        let target = |url| Target::parse(url).unwrap_or_else(|none| panic!("{url}: {none}"));
        for (url, through_proxy, want) in [
            ("http://h:1/a", false, "GET /a HTTP/1.1\r\nHost: h:1\r\n"),
            ("http://h:1/a", true, "GET http://h:1/a HTTP/1.1\r\nHost: h:1\r\n"),
            ("https://h/a", true, "GET /a HTTP/1.1\r\nHost: h\r\n"),
        ] {
            let request = encode(&target(url), through_proxy, None);
            assert!(request.starts_with(want) && request.ends_with("\r\n\r\n"), "{request}");
        }
        let put = encode(&target("http://h/a"), false, Some("value=b"));
        assert!(put.starts_with("PUT /a ") && put.ends_with("Content-Length: 7\r\n\r\nvalue=b"), "{put}");
    }

    #[test]
    fn a_proxy_needs_no_scheme() {
        for (text, want) in [("h:1", "http://h:1"), ("http://h:1/", "http://h:1"), ("httpd:1", "http://httpd:1")] {
            assert_eq!(proxy_at(text).map(|url| url.to_string()), Ok(want.to_owned()), "{text}");
        }
        for text in ["https://h:1", "h h", "h"] {
            let refused = proxy_at(text).map(|url| url.to_string()).expect_err(text);
            assert!(refused.starts_with(&format!("invalid proxy address \"{text}\": ")), "{refused}");
        }
    }
}
