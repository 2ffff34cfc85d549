//! One request to one endpoint.

use std::io;
use std::net::ToSocketAddrs;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use ureq::http::{self, header};
use ureq::{Agent, Timeout};

use super::error::Trouble;
use super::{Attempt, Deadline, Endpoint, Error, socket};
use crate::text::os_error;

/// A redirect that leads to another one more often than this leads nowhere.
const REDIRECTS_MAX: usize = 10;

/// HTTP methods of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Put,
    Post,
    Delete,
}

impl Method {
    /// Its name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// A request that any endpoint may answer.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub method: Method,
    /// Escaped.
    pub path: String,
    /// Escaped, without the question mark. `None`: a request of a kind that has none, not even an empty one.
    pub query: Option<String>,
    pub body: Option<Vec<u8>>,
    /// What the body is.
    pub content_type: Option<&'static str>,
    /// The answer comes when something happens, so no time is too long to wait for it.
    pub waits: bool,
    /// No other endpoint gets it when one fails, which may have executed it all the same: the second answer would be wrong.
    pub once: bool,
}

impl Request {
    /// A request without query and body.
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), query: None, body: None, content_type: None, waits: false, once: false }
    }

    /// With a JSON body.
    pub(crate) fn json(self, body: String) -> Self {
        Self { body: Some(body.into_bytes()), content_type: Some("application/json"), ..self }
    }

    fn url(&self, endpoint: &Endpoint) -> String {
        let query = endpoint.query(self.query.as_deref());
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{mark}{query}", endpoint.dialled().url(&self.path))
    }

    /// The request as a command line.
    fn curl(&self, endpoint: &Endpoint) -> String {
        let body = self.body.as_ref().map(|body| format!(" -d {}", crate::text::quote(&String::from_utf8_lossy(body))));
        let url = endpoint.shown_url(&self.path, &endpoint.query(self.query.as_deref()));
        format!("curl -X {} {url}{}", self.method.name(), body.unwrap_or_default())
    }
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub status: u16,
    /// `X-Etcd-Index`, if it is there.
    pub index: Option<u64>,
    /// `X-Etcd-Cluster-Id`, or nothing.
    pub cluster_id: String,
    /// `Date`, if it is there: the server's clock.
    pub date: Option<OffsetDateTime>,
    pub body: Vec<u8>,
}

/// Sends requests.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    agent: Agent,
    /// The same for sockets.
    sockets: Agent,
    /// Longest wait for a connection, and then for the head of an answer; `None` for no limit.
    timeout: Option<Duration>,
    /// `Authorization`, if there is a user.
    credentials: Option<String>,
    /// Shows every request on standard error.
    debug: bool,
}

impl Wire {
    /// A wire that trusts and shows certificates as `tls` says.
    pub(crate) fn new(
        tls: ureq::tls::TlsConfig,
        timeout: Option<Duration>,
        user: Option<(&[u8], &[u8])>,
        debug: bool,
    ) -> Self {
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("uetcdctl/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .max_idle_connections_per_host(64)
            .build();
        let credentials =
            user.map(|(name, password)| format!("Basic {}", BASE64.encode([name, b":", password].concat())));
        Self { agent: config.clone().into(), sockets: socket::agent(config), timeout, credentials, debug }
    }

    /// The same without a word on standard error.
    pub(crate) fn quiet(&self) -> Self {
        Self { debug: false, ..self.clone() }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// `Deadline` when that has passed, else a `Cluster` of one attempt.
    pub(crate) fn send(&self, endpoint: &Endpoint, request: &Request, deadline: Deadline) -> Result<Reply, Error> {
        let mut response = self.open(endpoint, request, deadline)?;
        let body = response.body_mut().with_config().limit(u64::MAX).read_to_vec();
        let body = body.map_err(|error| explain_body(endpoint, &error))?;
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        Ok(Reply {
            status: response.status().as_u16(),
            index: text("X-Etcd-Index").and_then(|index| index.parse().ok()),
            cluster_id: text("X-Etcd-Cluster-Id").unwrap_or_default().to_owned(),
            date: text("Date").and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok()),
            body,
        })
    }

    /// Copies the body of an answer, of whatever size, and gives its `X-Etcd-Index`.
    ///
    /// # Errors
    /// As `send`, for any status but 200, and when the copy can not be written.
    pub(crate) fn download(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        to: &mut dyn io::Write,
    ) -> Result<u64, Error> {
        let mut response = self.open(endpoint, request, Deadline::NEVER)?;
        let status = response.status().as_u16();
        let mut body = response.body_mut().with_config().limit(u64::MAX).reader();
        if status != 200 {
            let mut why = String::new();
            // Best effort: the status says enough.
            let _ = io::Read::read_to_string(&mut io::Read::take(&mut body, 1024), &mut why);
            let text = format!("{endpoint} answers {status}: {}", why.trim_end());
            return Err(failed(endpoint, text, Trouble::Other));
        }
        io::copy(&mut body, to).map_err(|error| failed(endpoint, format!("{endpoint}: {error}"), Trouble::Other))?;
        let index = response.headers().get("X-Etcd-Index").and_then(|value| value.to_str().ok());
        Ok(index.and_then(|index| index.parse().ok()).unwrap_or(0))
    }

    /// Sends a request and reads the head of the answer, that of the last redirect.
    fn open(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        deadline: Deadline,
    ) -> Result<http::Response<ureq::Body>, Error> {
        if self.debug {
            eprintln!("cURL Command: {}", request.curl(endpoint));
        }
        let is_socket = endpoint.socket().is_some();
        if !matches!(endpoint.scheme(), "http" | "https") && !is_socket {
            let text = format!("unsupported protocol scheme {}", crate::text::quote(endpoint.scheme()));
            return Err(failed(endpoint, text, Trouble::Other));
        }
        let dialled = endpoint.dialled();
        if dialled.host().is_empty() {
            return Err(failed(endpoint, "http: no Host in request URL".to_owned(), Trouble::Other));
        }
        if !is_socket && !endpoint.port().is_empty() && endpoint.port().parse::<u16>().is_err() {
            let text = format!("dial tcp: address {}: invalid port", endpoint.port());
            return Err(failed(endpoint, text, Trouble::Connection));
        }
        let mut url = request.url(endpoint);
        for _ in 0..=REDIRECTS_MAX {
            let response = self.once(endpoint, &url, request, deadline)?;
            let location = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
            match location {
                Some(to) if response.status().is_redirection() => url = absolute(&dialled, to),
                _ => return Ok(response),
            }
        }
        Err(failed(endpoint, "client: too many redirects".to_owned(), Trouble::Other))
    }

    fn once(
        &self,
        endpoint: &Endpoint,
        url: &str,
        request: &Request,
        deadline: Deadline,
    ) -> Result<http::Response<ureq::Body>, Error> {
        let left = deadline.left()?;
        let mut builder = http::Request::builder().method(request.method.name()).uri(url);
        if let Some(content_type) = request.content_type {
            builder = builder.header(header::CONTENT_TYPE, content_type);
        }
        if let Some(credentials) = &self.credentials {
            builder = builder.header(header::AUTHORIZATION, credentials);
        }
        let header_timeout = if request.waits { None } else { self.timeout };
        let result = match &request.body {
            Some(body) => builder.body(body.as_slice()).map(|r| self.run(endpoint, r, header_timeout, left)),
            None if request.method == Method::Put => {
                builder.body(&[][..]).map(|r: http::Request<&[u8]>| self.run(endpoint, r, header_timeout, left))
            }
            None => builder.body(()).map(|r| self.run(endpoint, r, header_timeout, left)),
        };
        match result {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.alert(endpoint, url, &error, left).unwrap_or_else(|| explain(endpoint, &error))),
            Err(error) => Err(failed(endpoint, format!("{url}: {error}"), Trouble::Other)),
        }
    }

    /// What TLS says of a connection that was cut off. A server that refuses the client's certificate says so behind the handshake, and
    /// who sends a body meets the end of the connection before the word is read. A request without one gets to read it.
    fn alert(&self, endpoint: &Endpoint, url: &str, error: &ureq::Error, left: Option<Duration>) -> Option<Error> {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        let is_cut = |error: &io::Error| matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset);
        if !endpoint.is_tls() || !matches!(error, ureq::Error::Io(error) if is_cut(error)) {
            return None;
        }
        let request = http::Request::builder().uri(url).body(()).ok()?;
        let said = explain(endpoint, &self.run(endpoint, request, self.timeout, left).err()?);
        let is_of_tls = |attempt: &Attempt| attempt.trouble == Trouble::Tls;
        matches!(&said, Error::Cluster(attempts) if attempts.iter().all(is_of_tls)).then_some(said)
    }

    fn run<B: ureq::AsSendBody>(
        &self,
        endpoint: &Endpoint,
        request: http::Request<B>,
        header_timeout: Option<Duration>,
        left: Option<Duration>,
    ) -> Result<http::Response<ureq::Body>, ureq::Error> {
        let agent = if endpoint.socket().is_some() { &self.sockets } else { &self.agent };
        let mut config = agent
            .configure_request(request)
            .timeout_global(left)
            .timeout_connect(header_timeout)
            .timeout_recv_response(header_timeout);
        if endpoint.is_local() || endpoint.socket().is_some() {
            config = config.proxy(None);
        }
        agent.run(config.build())
    }
}

fn explain(endpoint: &Endpoint, error: &ureq::Error) -> Error {
    match error {
        ureq::Error::Timeout(Timeout::Global) => Error::Deadline,
        ureq::Error::Timeout(_) => {
            failed(endpoint, format!("client: endpoint {endpoint} exceeded header timeout"), Trouble::Silence)
        }
        ureq::Error::HostNotFound => unknown_host(endpoint),
        ureq::Error::Io(error) => explain_io(endpoint, error),
        ureq::Error::Rustls(error) => failed(endpoint, explain_tls(error), Trouble::Tls),
        ureq::Error::Tls(error) => failed(endpoint, format!("tls: {error}"), Trouble::Tls),
        error => failed(endpoint, error.to_string(), Trouble::Other),
    }
}

/// Once the head of an answer is there, its end is not expected.
fn explain_body(endpoint: &Endpoint, error: &ureq::Error) -> Error {
    match error {
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            failed(endpoint, "unexpected EOF".to_owned(), Trouble::Closed)
        }
        error => explain(endpoint, error),
    }
}

fn failed(endpoint: &Endpoint, text: String, trouble: Trouble) -> Error {
    Error::Cluster(vec![Attempt { text, endpoint: endpoint.to_string(), trouble }])
}

fn unknown_host(endpoint: &Endpoint) -> Error {
    let text = format!("dial tcp: lookup {}{}: no such host", endpoint.host(), super::dns::on_server());
    failed(endpoint, text, Trouble::Name)
}

fn explain_io(endpoint: &Endpoint, error: &io::Error) -> Error {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData, TimedOut, UnexpectedEof};
    match error.kind() {
        UnexpectedEof => failed(endpoint, "EOF".to_owned(), Trouble::Closed),
        ConnectionReset | BrokenPipe | ConnectionAborted => {
            let (network, at) = match endpoint.socket() {
                Some(file) => ("unix", format!("@->{file}: read")),
                None => ("tcp", address(endpoint)),
            };
            let text = format!("read {network} {at}: {}", os_error(error));
            failed(endpoint, text, Trouble::Connection)
        }
        InvalidData => failed(endpoint, explain_invalid(error), Trouble::Tls),
        TimedOut if error.raw_os_error().is_none() => {
            failed(endpoint, format!("client: endpoint {endpoint} exceeded header timeout"), Trouble::Silence)
        }
        // That is how the standard library says that the C library found no address.
        _ if error.to_string().starts_with("failed to lookup address") => unknown_host(endpoint),
        _ if error.raw_os_error().is_none() => failed(endpoint, error.to_string(), Trouble::Other),
        _ => {
            let (network, at) = match endpoint.socket() {
                Some(file) => ("unix", file),
                None => ("tcp", address(endpoint)),
            };
            let text = format!("dial {network} {at}: connect: {}", os_error(error));
            failed(endpoint, text, Trouble::Connection)
        }
    }
}

/// rustls hides in an I/O error when the handshake fails.
fn explain_invalid(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    inner.map_or_else(|| error.to_string(), explain_tls)
}

fn explain_tls(error: &rustls::Error) -> String {
    use rustls::{CertificateError, Error as Tls};
    match error {
        Tls::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "x509: certificate signed by unknown authority".to_owned()
        }
        Tls::InvalidMessage(_) => "tls: first record does not look like a TLS handshake".to_owned(),
        Tls::AlertReceived(alert) => format!("remote error: tls: {}", spaced(&format!("{alert:?}"))),
        error => format!("tls: {error}"),
    }
}

/// `BadCertificate` in words.
fn spaced(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(c.to_lowercase());
    }
    words
}

/// The address that was dialled first, as far as it can be told.
fn address(endpoint: &Endpoint) -> String {
    let default_port = if endpoint.is_tls() { ":443" } else { ":80" };
    let authority = endpoint.authority();
    let found = |name: &str| name.to_socket_addrs().ok().and_then(|mut all| all.next()).map(|at| at.to_string());
    found(authority).or_else(|| found(&format!("{authority}{default_port}"))).unwrap_or_else(|| authority.to_owned())
}

fn absolute(endpoint: &Endpoint, location: &str) -> String {
    if location.starts_with('/') {
        return format!("{}://{}{location}", endpoint.scheme(), endpoint.authority());
    }
    location.to_owned()
}
