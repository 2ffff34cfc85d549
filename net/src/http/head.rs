//! One request head: the request line and the header fields that matter, and what they say about the body.
//!
//! Where Go is lenient about how a message ends, this is not: two parsers that disagree there are how requests are
//! smuggled past a proxy. The deliberate differences: bare LF and obs-fold, an empty header name, `Content-Length`
//! given twice (even equal) or empty, `Content-Length` beside `Transfer-Encoding`, and `Transfer-Encoding` in HTTP/1.0
//! are all 400 here.

use super::reject::Reject;
use super::request::{Limits, Method, Version};
use super::syntax;
use super::uri::{self, Uri};
use crate::decimal;
use crate::swar;

/// How a request's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// That many bytes after the head; 0 when the head says nothing.
    Sized(u64),
    Chunked,
}

impl Framing {
    /// Whether the body may be as long as it is said to be.
    pub(crate) fn fits(self, limits: &Limits) -> bool {
        !matches!(self, Self::Sized(length) if length > limits.body_bytes as u64)
    }
}

/// A parsed head; borrows the input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    pub(crate) method: Method<'a>,
    pub(crate) uri: Uri<'a>,
    pub(crate) version: Version,
    pub(crate) framing: Framing,
    /// `Expect: 100-continue`, of an HTTP/1.1 client that has a body.
    pub(crate) expects_continue: bool,
    /// The client can use the connection for another request.
    pub(crate) keep_alive: bool,
    pub(crate) content_type: Option<&'a [u8]>,
    pub(crate) origin: Option<&'a [u8]>,
    pub(crate) authorization: Option<&'a [u8]>,
    pub(crate) accept: Option<&'a [u8]>,
    pub(crate) accept_encoding: Option<&'a [u8]>,
    /// The field lines, each with its CRLF.
    pub(crate) lines: &'a [u8],
}

/// Parses `head`: a request line, field lines, and the empty line, which is the first in it. Every line ends in CRLF. `last` are
/// the fields of the head before it on the same connection.
pub(crate) fn parse<'a>(head: &'a [u8], last: &mut LastFields) -> Result<Head<'a>, Reject> {
    let (method, uri, version, rest) = parse_request_line(head)?;
    let fields = last.read(rest)?;
    fields.check_host(method, version)?;
    let framing = fields.framing(version)?;
    let may_wait = version == Version::Http11 && framing != Framing::Sized(0);
    let value = |place: Option<Place>| place.map(|place| &rest[place.start as usize..place.end as usize]);
    Ok(Head {
        method,
        uri,
        version,
        framing,
        expects_continue: fields.expects_continue()? && may_wait,
        keep_alive: fields.connection.keeps_alive(version),
        content_type: value(fields.content_type),
        origin: value(fields.origin),
        authorization: value(fields.authorization),
        accept: value(fields.accept),
        accept_encoding: value(fields.accept_encoding),
        lines: rest.strip_suffix(LINE_END).unwrap_or(rest),
    })
}

/// The field lines that a connection has sent last, and what they say: most clients send the same ones with every request, and
/// comparing them takes much less time than reading them.
#[derive(Debug, Default)]
pub(crate) struct LastFields {
    /// With the empty line behind them; none yet if empty.
    lines: Vec<u8>,
    fields: Fields,
    /// A head was read. Nothing is remembered before one is read for the second time: many connections see only one.
    is_used: bool,
}

/// Bytes of field lines that are remembered at most: an idle connection holds them.
const REMEMBERED_MAX: usize = 512;

impl LastFields {
    /// The length of the field lines, and of the empty line behind them, that `input` begins with if they are the same again.
    pub(crate) fn again(&self, input: &[u8]) -> Option<usize> {
        (!self.lines.is_empty() && input.starts_with(&self.lines)).then_some(self.lines.len())
    }

    fn read(&mut self, lines: &[u8]) -> Result<Fields, Reject> {
        if self.lines == lines {
            return Ok(self.fields);
        }
        let fields = Fields::read(lines)?;
        if std::mem::replace(&mut self.is_used, true) && lines.len() <= REMEMBERED_MAX {
            self.lines.clear();
            self.lines.reserve_exact(lines.len());
            self.lines.extend_from_slice(lines);
            self.fields = fields;
        }
        Ok(fields)
    }
}

const LINE_END: &[u8] = b"\r\n";

/// Length of `HTTP/1.1`.
const VERSION_LEN: usize = 8;

type RequestLine<'a> = (Method<'a>, Uri<'a>, Version, &'a [u8]);

/// The request line's parts, and what follows it.
fn parse_request_line(head: &[u8]) -> Result<RequestLine<'_>, Reject> {
    let (method, rest) = cut_at_space(head, syntax::token_len(head))?;
    let (target, rest) = cut_at_space(rest, swar::find_blank(rest))?;
    let (version, rest) = rest.split_at_checked(VERSION_LEN).ok_or(Reject::Malformed)?;
    let rest = rest.strip_prefix(LINE_END).ok_or(Reject::Malformed)?;
    let version = parse_version(version)?;
    let method = Method::from_bytes(method);
    Ok((method, uri::parse(method, target)?, version, rest))
}

/// The first `len` bytes, which must be followed by a space, and what follows the space.
fn cut_at_space(text: &[u8], len: usize) -> Result<(&[u8], &[u8]), Reject> {
    let (taken, rest) = text.split_at(len);
    rest.strip_prefix(b" ").map(|rest| (taken, rest)).filter(|_| len > 0).ok_or(Reject::Malformed)
}

fn parse_version(text: &[u8]) -> Result<Version, Reject> {
    match text {
        // A later HTTP/1 speaks to us as to any HTTP/1.1 server.
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(Reject::UnsupportedVersion),
        _ => Err(Reject::Malformed),
    }
}

/// `Expect`, as far as it was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expect {
    #[default]
    Nothing,
    Continue,
    Other,
}

/// The options of `Connection` that matter.
#[derive(Clone, Copy, Debug, Default)]
struct Connection {
    close: bool,
    keep_alive: bool,
}

impl Connection {
    fn keeps_alive(self, version: Version) -> bool {
        !self.close && (self.keep_alive || version == Version::Http11)
    }
}

/// The place of a value among the field lines, which are shorter than 4 GiB.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: u32,
    end: u32,
}

/// The fields seen so far. Of a field that may be given once, the first counts, as in Go.
#[derive(Clone, Copy, Debug, Default)]
struct Fields {
    has_host: bool,
    content_length: Option<u64>,
    is_chunked: bool,
    /// `Trailer` announces a field that says where a message ends.
    trails_framing: bool,
    expect: Expect,
    connection: Connection,
    content_type: Option<Place>,
    origin: Option<Place>,
    authorization: Option<Place>,
    accept: Option<Place>,
    accept_encoding: Option<Place>,
}

impl Fields {
    /// Reads field lines and the empty line behind them, which is the first.
    fn read(lines: &[u8]) -> Result<Self, Reject> {
        let (mut fields, mut at) = (Self::default(), 0);
        while &lines[at..] != LINE_END {
            at += fields.take(&lines[at..], at)?;
        }
        Ok(fields)
    }

    /// Takes the field line at the start of `text`, which stands at `at`, and returns its length.
    ///
    /// A line that begins with a blank would continue the previous one (obs-fold); here it only has a bad name.
    fn take(&mut self, text: &[u8], at: usize) -> Result<usize, Reject> {
        let (name, rest) = text.split_at(syntax::token_len(text));
        let rest = rest.strip_prefix(b":").filter(|_| !name.is_empty()).ok_or_else(|| bad_name(text))?;
        let (value, rest) = rest.split_at(syntax::field_value_len(rest));
        // A CR alone could end the line for somebody else.
        let is_bare_cr = rest.starts_with(b"\r");
        let bad_value = if is_bare_cr { Reject::Malformed } else { Reject::InvalidHeaderValue };
        let rest = rest.strip_prefix(LINE_END).ok_or(bad_value)?;
        let (trimmed, value_at) = (syntax::trimmed(value), at + name.len() + 1);
        let place = Place { start: (value_at + trimmed.start) as u32, end: (value_at + trimmed.end) as u32 };
        self.note(name, &value[trimmed], place)?;
        Ok(text.len() - rest.len())
    }

    fn note(&mut self, name: &[u8], value: &[u8], place: Place) -> Result<(), Reject> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.note_host(value)?,
            6 if name.eq_ignore_ascii_case(b"accept") => _ = self.accept.get_or_insert(place),
            6 if name.eq_ignore_ascii_case(b"expect") => self.note_expect(value),
            6 if name.eq_ignore_ascii_case(b"origin") => _ = self.origin.get_or_insert(place),
            7 if name.eq_ignore_ascii_case(b"trailer") => self.note_trailer(value),
            10 if name.eq_ignore_ascii_case(b"connection") => self.note_connection(value),
            12 if name.eq_ignore_ascii_case(b"content-type") => _ = self.content_type.get_or_insert(place),
            13 if name.eq_ignore_ascii_case(b"authorization") => _ = self.authorization.get_or_insert(place),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.note_length(value)?,
            15 if name.eq_ignore_ascii_case(b"accept-encoding") => _ = self.accept_encoding.get_or_insert(place),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.note_coding(value)?,
            _ => {}
        }
        Ok(())
    }

    fn note_host(&mut self, value: &[u8]) -> Result<(), Reject> {
        if self.has_host {
            return Err(Reject::Malformed);
        }
        self.has_host = true;
        if syntax::is_host(value) { Ok(()) } else { Err(Reject::MalformedHost) }
    }

    fn note_length(&mut self, value: &[u8]) -> Result<(), Reject> {
        if self.content_length.is_some() {
            return Err(Reject::Malformed);
        }
        self.content_length = Some(decimal::parse_u64(value).ok_or(Reject::Malformed)?);
        Ok(())
    }

    fn note_coding(&mut self, value: &[u8]) -> Result<(), Reject> {
        if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Reject::UnsupportedTransferEncoding);
        }
        self.is_chunked = true;
        Ok(())
    }

    fn note_trailer(&mut self, value: &[u8]) {
        let framing: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"trailer"];
        self.trails_framing |= framing.iter().any(|name| syntax::list_has(value, name));
    }

    fn note_connection(&mut self, value: &[u8]) {
        self.connection.close |= syntax::list_has(value, b"close");
        self.connection.keep_alive |= syntax::list_has(value, b"keep-alive");
    }

    fn note_expect(&mut self, value: &[u8]) {
        if self.expect == Expect::Nothing && !value.is_empty() {
            let is_continue = syntax::list_has(value, b"100-continue");
            self.expect = if is_continue { Expect::Continue } else { Expect::Other };
        }
    }

    fn check_host(&self, method: Method<'_>, version: Version) -> Result<(), Reject> {
        let needed = version == Version::Http11 && method != Method::Connect;
        if needed && !self.has_host { Err(Reject::MissingHost) } else { Ok(()) }
    }

    fn framing(&self, version: Version) -> Result<Framing, Reject> {
        match (self.is_chunked, self.content_length) {
            (false, length) => Ok(Framing::Sized(length.unwrap_or(0))),
            (true, None) if version == Version::Http11 && !self.trails_framing => Ok(Framing::Chunked),
            (true, _) => Err(Reject::Malformed),
        }
    }

    fn expects_continue(&self) -> Result<bool, Reject> {
        match self.expect {
            Expect::Nothing => Ok(false),
            Expect::Continue => Ok(true),
            Expect::Other => Err(Reject::ExpectationFailed),
        }
    }
}

/// What Go answers to the field line at the start of `text`, whose name is not a token: a line that is no field at all
/// has its own text.
fn bad_name(text: &[u8]) -> Reject {
    let line = &text[..memchr::memchr(b'\n', text).unwrap_or(text.len())];
    let is_folded = matches!(line.first(), Some(b' ' | b'\t'));
    if is_folded || memchr::memchr(b':', line).is_none() { Reject::Malformed } else { Reject::InvalidHeaderName }
}
