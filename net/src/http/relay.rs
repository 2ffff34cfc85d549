//! Messages that a proxy passes on: what it changes of their heads, and how their bodies are framed anew.
//!
//! Hop-by-hop fields are those of etcd's proxy. What says where a message ends is never copied: it is written from what
//! was understood, so that nobody behind the proxy can understand it otherwise.

use std::io::Write as _;
use std::net::IpAddr;

use super::client::{BodyDecoder, BodyProgress, Framing, ResponseError, ResponseHead};
use super::date::DateStamp;
use super::request::{Exchange, Method, Request, Version};
use super::response::{self, Next};
use super::status;
use super::syntax;
use crate::decimal;

/// Fields that are for the next hop only, as etcd has them: fields *named by* `Connection` stay.
const HOP_BY_HOP: [&[u8]; 8] = [
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"te",
    b"trailers",
    b"transfer-encoding",
    b"upgrade",
];

/// Fields of a request that are settled between client and proxy: its length is stated anew, its body is complete, and its
/// trailers are gone.
const SETTLED: [&[u8]; 3] = [b"content-length", b"expect", b"trailer"];

const FORWARDED_FOR: &[u8] = b"x-forwarded-for";

/// Appends `request` with its whole `body` as the proxy sends it on: HTTP/1.1, to stay on the connection. `client` is
/// added to `X-Forwarded-For`; `host` is named if the client named none.
pub fn write_request(out: &mut Vec<u8>, request: &Request<'_>, body: &[u8], client: Option<IpAddr>, host: &str) {
    out.reserve(request.path.len() + request.lines.len() + body.len() + 160);
    write_request_line(out, request);
    let mut has_host = false;
    for (name, value) in fields(request.lines) {
        has_host |= name.eq_ignore_ascii_case(b"host");
        if !is_one_of(name, &HOP_BY_HOP) && !is_one_of(name, &SETTLED) && !name.eq_ignore_ascii_case(FORWARDED_FOR) {
            push_field(out, name, value);
        }
    }
    if !has_host {
        push_field(out, b"Host", host.as_bytes());
    }
    push_forwarded_for(out, request, client);
    if !body.is_empty() || matches!(request.method, Method::Put | Method::Post) {
        out.extend_from_slice(b"Content-Length: ");
        decimal::push_u64(out, body.len() as u64);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

fn write_request_line(out: &mut Vec<u8>, request: &Request<'_>) {
    out.extend_from_slice(request.method.as_bytes());
    out.push(b' ');
    // An absolute URI may have no path; a request line may not.
    out.extend_from_slice(if request.path.is_empty() { b"/" } else { request.path });
    if let Some(query) = request.query {
        out.push(b'?');
        out.extend_from_slice(query);
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Everybody the request has passed, in one field. Without a client's address (a socket file) what was there stays.
fn push_forwarded_for(out: &mut Vec<u8>, request: &Request<'_>, client: Option<IpAddr>) {
    let before = fields(request.lines).filter(|(name, _)| name.eq_ignore_ascii_case(FORWARDED_FOR));
    let mut passed: Vec<Vec<u8>> = before.map(|(_, value)| value.to_vec()).collect();
    passed.extend(client.map(|client| client.to_string().into_bytes()));
    if !passed.is_empty() {
        push_field(out, b"X-Forwarded-For", &passed.join(&b", "[..]));
    }
}

/// The names and trimmed values of field lines that were checked.
fn fields(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let value = &line[colon + 1..];
        Some((&line[..colon], syntax::trim(value.strip_suffix(b"\r").unwrap_or(value))))
    })
}

fn push_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

fn is_one_of(name: &[u8], names: &[&[u8]]) -> bool {
    names.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// What the proxy adds to an answer.
#[derive(Clone, Copy, Debug)]
pub struct Additions<'a> {
    /// The origin that the proxy's own CORS headers allow; they replace those of the answer.
    pub cors_origin: Option<&'a [u8]>,
    /// For an answer that has no `Date`.
    pub date: &'a DateStamp,
}

/// How a body is framed for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    /// With the very bytes that came.
    AsItCame,
    /// In chunks made here: it came without any, and ends with its connection.
    Chunks,
    /// By the end of the connection.
    Bare,
}

/// The body of an answer on its way through.
#[derive(Debug)]
pub struct BodyRelay {
    decoder: BodyDecoder,
    coding: Coding,
    exchange: Exchange,
}

impl BodyRelay {
    /// Appends the head of `answer` as the proxy passes it on; its body follows through the result.
    ///
    /// Source: Go's server: all fields in alphabetical order, `Date` and `Content-Length` among them, then `Connection` and
    /// `Transfer-Encoding`.
    pub fn begin(out: &mut Vec<u8>, answer: &ResponseHead, exchange: Exchange, additions: Additions<'_>) -> Self {
        let coding = match (answer.framing(), exchange.version) {
            (Framing::Sized(_), _) | (Framing::Chunked, Version::Http11) => Coding::AsItCame,
            (Framing::UntilClose, Version::Http11) => Coding::Chunks,
            (Framing::Chunked | Framing::UntilClose, Version::Http10) => Coding::Bare,
        };
        let relay = Self { decoder: answer.body(), coding, exchange };
        write_status_line(out, answer.status, exchange.version);
        write_fields(out, answer, additions);
        match (exchange.version, relay.next()) {
            (Version::Http11, Next::Close) => out.extend_from_slice(b"Connection: close\r\n"),
            (Version::Http10, Next::KeepAlive) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
            (Version::Http11, Next::KeepAlive) | (Version::Http10, Next::Close) => {}
        }
        let is_chunked = coding == Coding::Chunks || coding == Coding::AsItCame && answer.framing() == Framing::Chunked;
        if is_chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        out.extend_from_slice(b"\r\n");
        relay
    }

    /// Appends what is there of the body. Chunks pass as they came, so one that was an event stays one.
    pub fn pass(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<BodyProgress, ResponseError> {
        match self.coding {
            Coding::AsItCame => {
                let progress = self.decoder.decode_to(input, &mut |_| {})?;
                out.extend_from_slice(&input[..progress.consumed]);
                Ok(progress)
            }
            Coding::Chunks => {
                let exchange = self.exchange;
                self.decoder.decode_to(input, &mut |data| response::write_chunk(out, exchange, data))
            }
            Coding::Bare => self.decoder.decode(input, out),
        }
    }

    /// The answer's connection has ended: appends the end of a body that ends so. `None`: the body was cut off.
    pub fn input_ended(&self, out: &mut Vec<u8>) -> Option<Next> {
        if !self.decoder.may_end_with_connection() {
            return None;
        }
        if self.coding == Coding::Chunks {
            let _ = response::finish_stream(out, self.exchange);
        }
        Some(self.next())
    }

    /// Ends a body of events that was cut off between two of them, so that the client sees an orderly end. `None`: it
    /// was cut off inside one, or is no body of that kind.
    pub fn finish_early(&self, out: &mut Vec<u8>) -> Option<Next> {
        self.decoder.is_between_chunks().then(|| response::finish_stream(out, self.exchange))
    }

    /// What becomes of the client's connection after the body.
    pub const fn next(&self) -> Next {
        match self.coding {
            Coding::AsItCame | Coding::Chunks if self.exchange.keep_alive => Next::KeepAlive,
            Coding::AsItCame | Coding::Chunks | Coding::Bare => Next::Close,
        }
    }
}

fn write_status_line(out: &mut Vec<u8>, status: u16, version: Version) {
    let version: &[u8] = if version == Version::Http11 { b"HTTP/1.1 " } else { b"HTTP/1.0 " };
    out.extend_from_slice(version);
    // Writing to a `Vec` cannot fail.
    let _ = match status::reason(status) {
        Some(reason) => write!(out, "{status} {reason}\r\n"),
        None => write!(out, "{status} status code {status}\r\n"),
    };
}

fn write_fields(out: &mut Vec<u8>, answer: &ResponseHead, additions: Additions<'_>) {
    let cors = additions.cors_origin.map(response::cors_fields);
    let passes = |name: &str| {
        let is_cors =
            |name: &str| name.get(..21).is_some_and(|start| start.eq_ignore_ascii_case("access-control-allow-"));
        !(is_one_of(name.as_bytes(), &HOP_BY_HOP) || cors.is_some() && is_cors(name))
    };
    let mut fields: Vec<(&str, &[u8])> = answer.fields().filter(|(name, _)| passes(name)).collect();
    if answer.field("Date").is_none() {
        fields.push(("Date", additions.date.as_bytes()));
    }
    fields.extend(cors.into_iter().flatten());
    fields.sort_by_key(|(name, _)| *name);
    for (name, value) in fields {
        push_field(out, name.as_bytes(), value);
    }
}
