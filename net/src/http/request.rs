//! Requests, decoded in place from one connection's input.

use super::chunk::{ChunkDecoder, ChunkError};
use super::head::{self, Framing, Head};
use super::reject::Reject;
use super::syntax;

/// Empty lines skipped before a request: some clients send one after a form body.
const LEADING_EMPTY_LINES_MAX: usize = 2;

/// A buffer for chunked bodies that has grown beyond this is given back once its request is done with, so that an idle
/// connection does not hold megabytes.
const BUFFER_KEPT_BYTES: usize = 64 << 10;

/// What one request may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Request line and header fields, in bytes with the line ends; beyond it 431.
    pub head_bytes: usize,
    /// Body in bytes, decoded; beyond it [`Body::TooLarge`].
    pub body_bytes: usize,
}

impl Default for Limits {
    /// etcd 2.3 (Go): heads of 1 MiB + 4 KiB, so that keys of 1 MiB work, and forms of 10 MiB. The number of fields has
    /// no limit of its own: they are looked at once, in their order, and take no memory.
    fn default() -> Self {
        Self { head_bytes: (1 << 20) + 4096, body_bytes: 10 << 20 }
    }
}

impl Limits {
    /// Bytes a chunked body may take on the wire: small chunks are fine, but not megabytes of nothing but framing.
    const fn chunked_bytes(&self) -> usize {
        self.body_bytes + self.body_bytes / 4 + 4096
    }
}

/// A request's method. Names are case-sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of RFC 9110")]
pub enum Method<'a> {
    Get,
    Head,
    Put,
    Post,
    Delete,
    Options,
    Connect,
    Trace,
    /// Any other token.
    Other(&'a [u8]),
}

impl<'a> Method<'a> {
    /// The method of this name.
    pub const fn from_bytes(name: &'a [u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"PUT" => Self::Put,
            b"POST" => Self::Post,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"CONNECT" => Self::Connect,
            b"TRACE" => Self::Trace,
            other => Self::Other(other),
        }
    }

    /// The name on the wire.
    pub const fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Get => b"GET",
            Self::Head => b"HEAD",
            Self::Put => b"PUT",
            Self::Post => b"POST",
            Self::Delete => b"DELETE",
            Self::Options => b"OPTIONS",
            Self::Connect => b"CONNECT",
            Self::Trace => b"TRACE",
            Self::Other(name) => name,
        }
    }
}

/// The protocol version a client speaks. HTTP/1.2 and later count as HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Version {
    Http10,
    Http11,
}

/// A request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// All of it, decoded.
    Bytes(&'a [u8]),
    /// More than [`Limits::body_bytes`]. The rest was not waited for: answer and close, reading on for a moment
    /// so that the client sees the answer rather than a reset.
    TooLarge,
}

impl<'a> Body<'a> {
    /// The bytes; `None` if there were too many.
    pub const fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::TooLarge => None,
        }
    }
}

/// What of a request decides how its answer is framed; kept while the answer is made, when the request's bytes are
/// gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The version the answer is written in.
    pub version: Version,
    /// A HEAD request: the answer's body is left out.
    pub head: bool,
    /// False: the connection is closed after the answer.
    pub keep_alive: bool,
}

impl Exchange {
    /// The same, with the connection closed after the answer: when the server stops, or cannot trust what follows.
    #[must_use]
    pub const fn closing(self) -> Self {
        Self { keep_alive: false, ..self }
    }
}

/// One complete request. Of a header field given more than once, the first is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method.
    pub method: Method<'a>,
    /// The path, undecoded, but with well-formed escapes; the scheme and authority of an absolute URI are cut off. `*`
    /// for `OPTIONS *`; empty if the URI has no path.
    pub path: &'a [u8],
    /// The query, undecoded and unchecked; `None` also for an empty one.
    pub query: Option<&'a [u8]>,
    /// The version.
    pub version: Version,
    /// True if the connection may serve another request after this one. Always false with [`Body::TooLarge`].
    pub keep_alive: bool,
    /// `Content-Type`.
    pub content_type: Option<&'a [u8]>,
    /// `Origin`.
    pub origin: Option<&'a [u8]>,
    /// `Authorization`.
    pub authorization: Option<&'a [u8]>,
    /// `Accept`.
    pub accept: Option<&'a [u8]>,
    /// `Accept-Encoding`.
    pub accept_encoding: Option<&'a [u8]>,
    /// The body; empty when there is none.
    pub body: Body<'a>,
}

impl Request<'_> {
    /// How the answer is framed.
    pub fn exchange(&self) -> Exchange {
        Exchange { version: self.version, head: self.method == Method::Head, keep_alive: self.keep_alive }
    }
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Not all there.
    Partial {
        /// Send [`CONTINUE`] now: the client holds its body back until then. True at most once per request.
        wants_continue: bool,
    },
    /// A request, and the bytes of the input it took.
    Complete {
        /// The request; borrows the input and the decoder.
        request: Request<'a>,
        /// Where the next request begins. With [`Body::TooLarge`] the rest of the body is yet to come.
        consumed: usize,
    },
}

/// The interim answer to `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Decodes the request at the front of one connection's input.
///
/// Call [`Decoder::decode`] whenever bytes have arrived, with everything since the start of the request: the decoder
/// remembers how far it has looked, so a request that arrives byte by byte costs no more than one that arrives whole.
/// After `Complete`, cut `consumed` bytes off and call again: the next request may be there. After a [`Reject`] the
/// decoder must not be used again.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    phase: Phase,
    /// Data of a chunked body.
    body: Vec<u8>,
}

#[derive(Debug)]
enum Phase {
    /// Looking for the end of the head.
    Head(HeadSearch),
    /// The head is `head`; the body ends at `end`.
    Sized { head: Span, end: usize },
    /// The head is `head`; the body is decoded up to `at`.
    Chunked { head: Span, at: usize, decoder: ChunkDecoder },
}

/// A part of the input: a head, from the request line to the empty line.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
}

/// Where the search for a head's end stands. Invariant: `start <= line <= scanned`.
#[derive(Clone, Copy, Debug, Default)]
struct HeadSearch {
    /// The request line begins here, after skipped empty lines.
    start: usize,
    /// The line being scanned begins here.
    line: usize,
    /// No line feed from `line` up to here.
    scanned: usize,
}

/// A request whose bytes have all been found.
struct Found<'i> {
    head: Head<'i>,
    body: FoundBody<'i>,
    consumed: usize,
}

enum FoundBody<'i> {
    Sized(&'i [u8]),
    /// In the decoder's buffer.
    Decoded,
    TooLarge,
}

enum Step<'i> {
    Wait { wants_continue: bool },
    Found(Found<'i>),
}

const WAIT: Step<'static> = Step::Wait { wants_continue: false };

impl Decoder {
    /// A decoder for a new connection.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, phase: Phase::Head(HeadSearch { start: 0, line: 0, scanned: 0 }), body: Vec::new() }
    }

    /// Looks for a request at the start of `input`, which must begin with all the bytes of the previous call if that
    /// one was `Partial`.
    pub fn decode<'a>(&'a mut self, input: &'a [u8]) -> Result<Progress<'a>, Reject> {
        let Found { head, body, consumed } = match self.advance(input)? {
            Step::Wait { wants_continue } => return Ok(Progress::Partial { wants_continue }),
            Step::Found(found) => found,
        };
        self.phase = Phase::Head(HeadSearch::default());
        let body = match body {
            FoundBody::Sized(bytes) => Body::Bytes(bytes),
            FoundBody::Decoded => Body::Bytes(&self.body),
            FoundBody::TooLarge => Body::TooLarge,
        };
        Ok(Progress::Complete { request: assemble(&head, body), consumed })
    }

    /// True if part of a request has been seen: a connection that ends now ends in the middle of it.
    pub fn is_inside_request(&self) -> bool {
        !matches!(self.phase, Phase::Head(HeadSearch { scanned: 0, .. }))
    }

    fn advance<'i>(&mut self, input: &'i [u8]) -> Result<Step<'i>, Reject> {
        match self.phase {
            Phase::Head(search) => self.advance_head(search, input),
            Phase::Sized { end, .. } if input.len() < end => Ok(WAIT),
            Phase::Sized { head: span, end } => {
                let head = span.parse(input)?;
                Ok(Step::Found(Found { head, body: FoundBody::Sized(&input[span.end..end]), consumed: end }))
            }
            Phase::Chunked { .. } => self.advance_chunks(input),
        }
    }

    fn advance_head<'i>(&mut self, mut search: HeadSearch, input: &'i [u8]) -> Result<Step<'i>, Reject> {
        if search.scanned == 0 && self.body.capacity() > BUFFER_KEPT_BYTES {
            self.body = Vec::new();
        }
        let found = search.find_end(input, self.limits.head_bytes)?;
        self.phase = Phase::Head(search);
        let Some(span) = found else {
            return Ok(WAIT);
        };
        let head = span.parse(input)?;
        match head.framing {
            Framing::Sized(length) => Ok(self.begin_sized(head, span, length, input)),
            Framing::Chunked => {
                self.body.clear();
                let decoder = ChunkDecoder::new(self.limits.body_bytes as u64);
                self.phase = Phase::Chunked { head: span, at: span.end, decoder };
                Ok(match self.advance_chunks(input)? {
                    Step::Wait { .. } => Step::Wait { wants_continue: head.expects_continue },
                    found @ Step::Found(_) => found,
                })
            }
        }
    }

    fn begin_sized<'i>(&mut self, head: Head<'i>, span: Span, length: u64, input: &'i [u8]) -> Step<'i> {
        if length > self.limits.body_bytes as u64 {
            return Step::Found(Found { head, body: FoundBody::TooLarge, consumed: span.end });
        }
        let end = span.end + length as usize;
        let Some(body) = input.get(span.end..end) else {
            self.phase = Phase::Sized { head: span, end };
            return Step::Wait { wants_continue: head.expects_continue };
        };
        Step::Found(Found { head, body: FoundBody::Sized(body), consumed: end })
    }

    fn advance_chunks<'i>(&mut self, input: &'i [u8]) -> Result<Step<'i>, Reject> {
        let Phase::Chunked { head: span, at, decoder } = &mut self.phase else {
            unreachable!("only called while a chunked body is read");
        };
        let body = match decoder.decode(&input[*at..], &mut self.body) {
            Ok(progress) => {
                *at += progress.consumed;
                if progress.finished {
                    FoundBody::Decoded
                } else if input.len() - span.end > self.limits.chunked_bytes() {
                    FoundBody::TooLarge
                } else {
                    return Ok(WAIT);
                }
            }
            Err(ChunkError::TooLarge) => FoundBody::TooLarge,
            Err(ChunkError::Malformed) => return Err(Reject::Malformed),
        };
        let (span, consumed) = (*span, *at);
        Ok(Step::Found(Found { head: span.parse(input)?, body, consumed }))
    }
}

impl Span {
    fn parse(self, input: &[u8]) -> Result<Head<'_>, Reject> {
        head::parse(&input[self.start..self.end])
    }
}

impl HeadSearch {
    /// Looks for the empty line that ends the head. Bytes that can begin no request, and lines that end in a bare LF,
    /// are refused as soon as they are seen.
    fn find_end(&mut self, input: &[u8], head_bytes: usize) -> Result<Option<Span>, Reject> {
        if self.scanned == self.start && !self.skip_empty_lines(input)? {
            return Ok(None);
        }
        let window = &input[..input.len().min(self.start + head_bytes)];
        while let Some(offset) = memchr::memchr(b'\n', &window[self.scanned..]) {
            let line_feed = self.scanned + offset;
            if line_feed == self.line || window[line_feed - 1] != b'\r' {
                return Err(Reject::Malformed);
            }
            let is_empty = line_feed == self.line + 1;
            self.line = line_feed + 1;
            self.scanned = self.line;
            if is_empty {
                return Ok(Some(Span { start: self.start, end: self.line }));
            }
        }
        self.scanned = window.len();
        if window.len() - self.start >= head_bytes { Err(Reject::HeadTooLarge) } else { Ok(None) }
    }

    /// Moves `start` past empty lines; true if the request line has begun.
    fn skip_empty_lines(&mut self, input: &[u8]) -> Result<bool, Reject> {
        loop {
            match input[self.start..] {
                [first, ..] if syntax::is_token_byte(first) => return Ok(true),
                [b'\r', b'\n', ..] if self.start < 2 * LEADING_EMPTY_LINES_MAX => {
                    self.start += 2;
                    (self.line, self.scanned) = (self.start, self.start);
                }
                [] | [b'\r'] => return Ok(false),
                _ => return Err(Reject::Malformed),
            }
        }
    }
}

fn assemble<'a>(head: &Head<'a>, body: Body<'a>) -> Request<'a> {
    Request {
        method: head.method,
        path: head.uri.path,
        query: head.uri.query,
        version: head.version,
        keep_alive: head.keep_alive && body != Body::TooLarge,
        content_type: head.content_type,
        origin: head.origin,
        authorization: head.authorization,
        accept: head.accept,
        accept_encoding: head.accept_encoding,
        body,
    }
}
