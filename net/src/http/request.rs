//! Requests, decoded in place from one connection's input.

use super::head::{self, Head, LastFields};
use super::incoming::{Found, Incoming, Verdict};
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
    /// A body of so many bytes, or a chunked one of more, is waited for only if somebody reads it:
    /// [`Progress::Undecided`].
    pub unread_bytes: usize,
}

impl Default for Limits {
    /// etcd 2.3 (Go): heads of 1 MiB + 4 KiB, so that keys of 1 MiB work, forms of 10 MiB, and 256 KiB of what nobody
    /// reads. The number of fields has no limit of its own: they are looked at once, in their order, and take no memory.
    fn default() -> Self {
        Self { head_bytes: (1 << 20) + 4096, body_bytes: 10 << 20, unread_bytes: 256 << 10 }
    }
}

impl Limits {
    /// Bytes a chunked body may take on the wire: small chunks are fine, but not megabytes of nothing but framing.
    pub(crate) const fn chunked_bytes(&self) -> usize {
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
    /// Not waited for, because nobody reads it: see [`Progress::Undecided`].
    Unread,
}

impl<'a> Body<'a> {
    /// The bytes; `None` if they were not waited for.
    pub const fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::TooLarge | Self::Unread => None,
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
    /// True if the connection may serve another request after this one. Never with a body that was not waited for.
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
    /// All field lines as they came, checked, each with its CRLF: for [`super::relay`].
    pub lines: &'a [u8],
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
    Partial,
    /// The head is there, and a body that is waited for only if somebody reads it: it is long, or the client holds it
    /// back. Call [`Decoder::read_body`] and decode on; or answer `request` without a look at its body, and close.
    Undecided {
        /// The request, with [`Body::Unread`].
        request: Request<'a>,
        /// If the body is read, send [`CONTINUE`]: the client waits for it, and has nothing that is too large.
        wants_continue: bool,
        /// Where the body begins.
        consumed: usize,
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
    last: LastFields,
    /// Data of a chunked body.
    body: Vec<u8>,
}

#[derive(Debug)]
enum Phase {
    /// Looking for the end of the head.
    Head(HeadSearch),
    /// The head is `head`; looking for the end of its body.
    Body { head: Span, body: Incoming },
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

impl Decoder {
    /// A decoder for a new connection.
    pub fn new(limits: Limits) -> Self {
        Self { limits, phase: Phase::Head(HeadSearch::default()), last: LastFields::default(), body: Vec::new() }
    }

    /// Looks for a request at the start of `input`, which must begin with all the bytes of the previous call if that
    /// one was `Partial` or `Undecided`.
    pub fn decode<'a>(&'a mut self, input: &'a [u8]) -> Result<Progress<'a>, Reject> {
        let Some((head, verdict)) = self.advance(input)? else {
            return Ok(Progress::Partial);
        };
        let (body, consumed) = match verdict {
            Verdict::Found(Found::Sized(bytes), consumed) => (Body::Bytes(bytes), consumed),
            Verdict::Found(Found::Decoded, consumed) => (Body::Bytes(&self.body), consumed),
            Verdict::Found(Found::TooLarge, consumed) => (Body::TooLarge, consumed),
            Verdict::Undecided(consumed) => {
                let fits = head.framing.fits(&self.limits);
                let (request, wants_continue) = (assemble(&head, Body::Unread), head.expects_continue && fits);
                return Ok(Progress::Undecided { request, wants_continue, consumed });
            }
        };
        self.phase = Phase::Head(HeadSearch::default());
        Ok(Progress::Complete { request: assemble(&head, body), consumed })
    }

    /// The body of the request that was [`Progress::Undecided`] is read: decode on.
    pub fn read_body(&mut self) {
        let Phase::Body { body, .. } = &mut self.phase else { panic!("a body is read that nobody asked about") };
        body.is_read();
    }

    /// True if part of a request has been seen: a connection that ends now ends in the middle of it.
    pub fn is_inside_request(&self) -> bool {
        !matches!(self.phase, Phase::Head(HeadSearch { scanned: 0, .. }))
    }

    /// Bytes of the input that the request at its front takes, once its head says so; 0 before, for a body in chunks, and for one that is not
    /// waited for.
    pub fn expects(&self) -> usize {
        match &self.phase {
            Phase::Head(_) => 0,
            Phase::Body { head, body } => body.sized_bytes(&self.limits).map_or(0, |length| head.end + length),
        }
    }

    /// Bytes of memory that hold what of bodies in chunks was decoded, needed or not.
    pub fn buffered(&self) -> usize {
        self.body.capacity()
    }

    /// Between two requests: gives up the memory of what was decoded.
    pub fn let_go(&mut self) {
        if !self.is_inside_request() {
            self.body = Vec::new();
        }
    }

    /// The head and what is known of the body; `None` if more must come.
    fn advance<'i>(&mut self, input: &'i [u8]) -> Result<Option<(Head<'i>, Verdict<'i>)>, Reject> {
        let parsed = match self.phase {
            Phase::Head(search) => self.advance_head(search, input)?,
            Phase::Body { .. } => None,
        };
        let Phase::Body { head: span, body } = &mut self.phase else {
            return Ok(None);
        };
        let Some(verdict) = body.advance(span.end, input, &mut self.body, &self.limits)? else {
            return Ok(None);
        };
        let head = if let Some(head) = parsed { head } else { span.parse(input, &mut self.last)? };
        Ok(Some((head, verdict)))
    }

    /// Looks for the head; with it begins the body.
    fn advance_head<'i>(&mut self, mut search: HeadSearch, input: &'i [u8]) -> Result<Option<Head<'i>>, Reject> {
        if search.scanned == 0 && self.body.capacity() > BUFFER_KEPT_BYTES {
            self.body = Vec::new();
        }
        let Some(span) = search.find_end(input, self.limits.head_bytes, &self.last)? else {
            self.phase = Phase::Head(search);
            return Ok(None);
        };
        let head = span.parse(input, &mut self.last)?;
        self.body.clear();
        let body = Incoming::new(&head, span.end, &self.limits);
        self.phase = Phase::Body { head: span, body };
        Ok(Some(head))
    }
}

impl Span {
    fn parse<'i>(self, input: &'i [u8], last: &mut LastFields) -> Result<Head<'i>, Reject> {
        head::parse(&input[self.start..self.end], last)
    }
}

impl HeadSearch {
    /// Looks for the empty line that ends the head. Bytes that can begin no request, and lines that end in a bare LF,
    /// are refused as soon as they are seen.
    fn find_end(&mut self, input: &[u8], head_bytes: usize, last: &LastFields) -> Result<Option<Span>, Reject> {
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
            let is_first = self.line == self.start;
            self.line = line_feed + 1;
            if is_first && let Some(length) = last.again(&window[self.line..]) {
                // The lines that follow were looked at before.
                return Ok(Some(Span { start: self.start, end: self.line + length }));
            }
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
        keep_alive: head.keep_alive && body.bytes().is_some(),
        content_type: head.content_type,
        origin: head.origin,
        authorization: head.authorization,
        accept: head.accept,
        accept_encoding: head.accept_encoding,
        lines: head.lines,
        body,
    }
}
