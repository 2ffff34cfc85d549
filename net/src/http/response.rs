//! Responses, written as Go's server writes them.
//!
//! Order on the wire: the headers of the answer in alphabetical order, then `Date`, `Content-Length`, a content type
//! that was guessed from the body, `Connection`, `Transfer-Encoding`.

use super::date::DateStamp;
use super::request::{Exchange, Version};
use super::status::Status;
use crate::decimal;

/// The largest body sent with a `Content-Length`; larger ones are chunked. Measured on etcd 2.3: 2048 → length, 2049 →
/// chunked.
pub const SIZED_BODY_MAX: usize = 2048;

/// Room for the head of any answer without `Location`.
const HEAD_RESERVE: usize = 640;

/// Content types that uetcd sends.
pub mod content_type {
    /// The key space, members, auth, statistics.
    pub const JSON: &str = "application/json";
    /// `/debug/vars`.
    pub const JSON_UTF8: &str = "application/json; charset=utf-8";
    /// Errors in plain text, and what Go guesses for text.
    pub const TEXT: &str = "text/plain; charset=utf-8";
    /// Redirects.
    pub const HTML: &str = "text/html; charset=utf-8";
    /// Bytes that no browser shows.
    pub const BYTES: &str = "application/octet-stream";
    /// `/metrics`.
    pub const METRICS: &str = "text/plain; version=0.0.4";
}

/// Body of every 404 for an unknown path.
pub const NOT_FOUND_BODY: &[u8] = b"404 page not found\n";
/// Body of every 405.
pub const METHOD_NOT_ALLOWED_BODY: &[u8] = b"Method Not Allowed\n";

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a connection that must be closed serves wrong bytes when it is kept"]
pub enum Next {
    /// It serves the next request.
    KeepAlive,
    /// It is closed: agreed with the client, or the only way to mark the body's end.
    Close,
}

/// Status and headers of one answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head<'a> {
    status: Status,
    cors_origin: Option<&'a [u8]>,
    allow: Option<&'a str>,
    is_closing: bool,
    is_empty: bool,
    content_type: Option<&'a str>,
    sniffed_type: Option<&'a str>,
    location: Option<&'a [u8]>,
    nosniff: bool,
    cluster_id: Option<&'a str>,
    etcd_index: Option<u64>,
    raft: Option<(u64, u64)>,
}

impl<'a> Head<'a> {
    /// A head without headers.
    pub fn new(status: Status) -> Self {
        Self { status, ..Self::default() }
    }

    /// A head of a JSON answer.
    pub fn json(status: Status) -> Self {
        Self::new(status).content_type(content_type::JSON)
    }

    /// A head of an error in plain text, as Go's `http.Error` makes it.
    pub fn plain_error(status: Status) -> Self {
        Self { nosniff: true, ..Self::new(status).content_type(content_type::TEXT) }
    }

    /// The three CORS headers, allowing `origin`, which is `*` or the request's `Origin`; nothing for `None`.
    #[must_use]
    pub fn cors(self, origin: Option<&'a [u8]>) -> Self {
        Self { cors_origin: origin, ..self }
    }

    /// `Allow`, see [`crate::router`].
    #[must_use]
    pub fn allow(self, methods: &'a str) -> Self {
        Self { allow: Some(methods), ..self }
    }

    /// `Connection: close` among the answer's own headers. The exchange must say the same.
    #[must_use]
    pub fn closing(self) -> Self {
        Self { is_closing: true, ..self }
    }

    /// `Content-Length: 0` among the answer's own headers. The body must be empty.
    #[must_use]
    pub fn empty(self) -> Self {
        Self { is_empty: true, ..self }
    }

    /// `Content-Type` among the answer's own headers.
    #[must_use]
    pub fn content_type(self, value: &'a str) -> Self {
        Self { content_type: Some(value), ..self }
    }

    /// `Content-Type` where Go puts one that it guessed: behind the length, and only if there is a body.
    #[must_use]
    pub fn sniffed_type(self, value: &'a str) -> Self {
        Self { sniffed_type: Some(value), ..self }
    }

    /// `Location`.
    #[must_use]
    pub fn location(self, value: &'a [u8]) -> Self {
        Self { location: Some(value), ..self }
    }

    /// `X-Etcd-Cluster-Id`: hex, without leading zeros.
    #[must_use]
    pub fn cluster_id(self, hex: &'a str) -> Self {
        Self { cluster_id: Some(hex), ..self }
    }

    /// `X-Etcd-Index`.
    #[must_use]
    pub fn etcd_index(self, index: u64) -> Self {
        Self { etcd_index: Some(index), ..self }
    }

    /// `X-Raft-Index` and `X-Raft-Term`.
    #[must_use]
    pub fn raft(self, index: u64, term: u64) -> Self {
        Self { raft: Some((index, term)), ..self }
    }

    /// Appends the complete answer with `body`: the body is left out for HEAD and for statuses that have none.
    pub fn write(&self, out: &mut Vec<u8>, exchange: Exchange, date: &DateStamp, body: &[u8]) -> Next {
        let framing = Framing::of(self.status, exchange, body.len());
        out.reserve(HEAD_RESERVE + body.len());
        self.write_head(out, exchange, date, framing, body.len());
        if !exchange.head {
            match framing {
                Framing::Chunked => {
                    write_chunk(out, exchange, body);
                    return finish_stream(out, exchange);
                }
                Framing::Sized | Framing::UntilClose => out.extend_from_slice(body),
                Framing::Bodyless => {}
            }
        }
        framing.next(exchange)
    }

    /// Appends the head of an answer whose body is not known yet, as that of a watch. [`write_chunk`] and
    /// [`finish_stream`] continue it; HTTP/1.0 clients get the bare data until the connection is closed.
    pub fn write_stream_head(&self, out: &mut Vec<u8>, exchange: Exchange, date: &DateStamp) {
        let framing = if exchange.version == Version::Http11 { Framing::Chunked } else { Framing::UntilClose };
        out.reserve(HEAD_RESERVE);
        self.write_head(out, exchange, date, framing, 0);
    }

    fn write_head(&self, out: &mut Vec<u8>, exchange: Exchange, date: &DateStamp, framing: Framing, body_len: usize) {
        let version: &[u8] = if exchange.version == Version::Http11 { b"HTTP/1.1 " } else { b"HTTP/1.0 " };
        out.extend_from_slice(version);
        out.extend_from_slice(self.status.text().as_bytes());
        self.write_own_headers(out);
        out.extend_from_slice(b"\r\nDate: ");
        out.extend_from_slice(date.as_bytes());
        if framing == Framing::Sized && !self.is_empty {
            out.extend_from_slice(b"\r\nContent-Length: ");
            decimal::push_u64(out, body_len as u64);
        }
        if let Some(value) = self.sniffed_type.filter(|_| body_len > 0) {
            header(out, b"\r\nContent-Type: ", value.as_bytes());
        }
        match (exchange.version, framing.next(exchange)) {
            (Version::Http11, Next::Close) if !self.is_closing => out.extend_from_slice(b"\r\nConnection: close"),
            (Version::Http10, Next::KeepAlive) => out.extend_from_slice(b"\r\nConnection: keep-alive"),
            (Version::Http11, _) | (Version::Http10, Next::Close) => {}
        }
        if framing == Framing::Chunked && !exchange.head {
            out.extend_from_slice(b"\r\nTransfer-Encoding: chunked");
        }
        out.extend_from_slice(b"\r\n\r\n");
    }

    /// The headers that etcd's handlers set, in alphabetical order.
    fn write_own_headers(&self, out: &mut Vec<u8>) {
        if let Some(origin) = self.cors_origin {
            for (name, value) in cors_fields(origin) {
                header(out, b"\r\n", name.as_bytes());
                header(out, b": ", value);
            }
        }
        if let Some(methods) = self.allow {
            header(out, b"\r\nAllow: ", methods.as_bytes());
        }
        if self.is_closing {
            out.extend_from_slice(b"\r\nConnection: close");
        }
        if self.is_empty {
            out.extend_from_slice(b"\r\nContent-Length: 0");
        }
        if let Some(value) = self.content_type {
            header(out, b"\r\nContent-Type: ", value.as_bytes());
        }
        if let Some(value) = self.location {
            header(out, b"\r\nLocation: ", value);
        }
        if self.nosniff {
            out.extend_from_slice(b"\r\nX-Content-Type-Options: nosniff");
        }
        if let Some(hex) = self.cluster_id {
            header(out, b"\r\nX-Etcd-Cluster-Id: ", hex.as_bytes());
        }
        if let Some(index) = self.etcd_index {
            out.extend_from_slice(b"\r\nX-Etcd-Index: ");
            decimal::push_u64(out, index);
        }
        if let Some((index, term)) = self.raft {
            out.extend_from_slice(b"\r\nX-Raft-Index: ");
            decimal::push_u64(out, index);
            out.extend_from_slice(b"\r\nX-Raft-Term: ");
            decimal::push_u64(out, term);
        }
    }
}

/// The names and values of the headers that allow `origin`, in alphabetical order.
pub(super) const fn cors_fields(origin: &[u8]) -> [(&'static str, &[u8]); 3] {
    [
        ("Access-Control-Allow-Headers", b"accept, content-type, authorization"),
        ("Access-Control-Allow-Methods", b"POST, GET, OPTIONS, PUT, DELETE"),
        ("Access-Control-Allow-Origin", origin),
    ]
}

fn header(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}

/// Appends `data` to an answer begun with [`Head::write_stream_head`], as one chunk. `data` must not be empty: an empty
/// chunk would end the body.
pub fn write_chunk(out: &mut Vec<u8>, exchange: Exchange, data: &[u8]) {
    if exchange.head {
        return;
    }
    out.reserve(data.len() + 20);
    begin_chunk(out, exchange, data.len());
    out.extend_from_slice(data);
    end_chunk(out, exchange);
}

/// What comes before so many bytes of data, of an answer that has data.
pub fn begin_chunk(out: &mut Vec<u8>, exchange: Exchange, length: usize) {
    assert!(length > 0, "an empty chunk ends the body");
    if exchange.version == Version::Http11 {
        push_hex(out, length);
        out.extend_from_slice(b"\r\n");
    }
}

/// What comes behind them.
pub fn end_chunk(out: &mut Vec<u8>, exchange: Exchange) {
    if exchange.version == Version::Http11 {
        out.extend_from_slice(b"\r\n");
    }
}

/// Ends an answer begun with [`Head::write_stream_head`]. To cut a stream off so that the client notices, close the
/// connection without calling this.
pub fn finish_stream(out: &mut Vec<u8>, exchange: Exchange) -> Next {
    if exchange.version == Version::Http10 {
        return Next::Close;
    }
    if !exchange.head {
        out.extend_from_slice(b"0\r\n\r\n");
    }
    if exchange.keep_alive { Next::KeepAlive } else { Next::Close }
}

fn push_hex(out: &mut Vec<u8>, number: usize) {
    let digits = (usize::BITS - number.leading_zeros()).div_ceil(4).max(1);
    out.extend((0..digits).rev().map(|digit| b"0123456789abcdef"[number >> (4 * digit) & 0xf]));
}

/// How a body's end is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Sized,
    Chunked,
    /// HTTP/1.0 knows no chunks.
    UntilClose,
    /// Neither a length nor a body.
    Bodyless,
}

impl Framing {
    /// Go's rule for a handler that wrote `len` bytes and returned.
    fn of(status: Status, exchange: Exchange, len: usize) -> Self {
        match (exchange.version, len) {
            _ if status == Status::NoContent => Self::Bodyless,
            (_, 0) if exchange.head => Self::Bodyless,
            (_, 0..=SIZED_BODY_MAX) => Self::Sized,
            (Version::Http11, _) => Self::Chunked,
            (Version::Http10, _) if exchange.head => Self::Bodyless,
            (Version::Http10, _) => Self::UntilClose,
        }
    }

    fn next(self, exchange: Exchange) -> Next {
        if exchange.keep_alive && self != Self::UntilClose { Next::KeepAlive } else { Next::Close }
    }
}
