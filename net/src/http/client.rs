//! Responses, decoded: for our own clients of other members, of discovery services and of proxied servers.
//!
//! The parser is httparse; what is strict about body lengths on the server's side is strict here.

use super::chunk::{ChunkDecoder, ChunkError};
use super::syntax;
use crate::decimal;

/// Fields of a response that are looked at; etcd sends about twelve.
const FIELDS_MAX: usize = 64;

/// Longest head we wait for. etcd's are below 1 KiB; a redirect carries a URL.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// What is wrong with a response. The connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// The status line or a field is no HTTP: probably the port belongs to something else, or speaks TLS.
    #[error("the server's answer is not HTTP/1; check that the URL's scheme and port are those of an etcd server")]
    NotHttp,
    /// The head is longer than any that etcd sends.
    #[error("the server's answer has a head of more than {HEAD_BYTES_MAX} bytes or {FIELDS_MAX} fields")]
    HeadTooLarge,
    /// Statements about the body's length are missing their point.
    #[error("the server's answer is ambiguous about where it ends; a broken proxy may be in between")]
    Framing,
}

/// How a response's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Sized(u64),
    Chunked,
    UntilClose,
}

/// The head of one response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status code, 200 to 999.
    pub status: u16,
    /// True if the connection may be used again once the body has been read.
    pub keep_alive: bool,
    fields: Vec<(String, Vec<u8>)>,
    framing: Framing,
}

impl ResponseHead {
    pub(super) const fn framing(&self) -> Framing {
        self.framing
    }

    /// The first field of this name, in any case.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        let found = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_slice())
    }

    /// All fields, in order: for a proxy that passes them on.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// A decoder for the body that follows.
    pub fn body(&self) -> BodyDecoder {
        BodyDecoder(match self.framing {
            Framing::Sized(length) => Remaining::Bytes(length),
            Framing::Chunked => Remaining::Chunks(ChunkDecoder::new(u64::MAX)),
            Framing::UntilClose => Remaining::UntilClose,
        })
    }
}

/// Reads the head at the start of `input`: the head and its length, or `None` if it is not all there. Interim answers
/// (1xx) are skipped and counted into the length. `to_head`: the request was a HEAD, whose answer has no body.
pub fn decode_head(input: &[u8], to_head: bool) -> Result<Option<(ResponseHead, usize)>, ResponseError> {
    let mut start = 0;
    loop {
        let Some((head, len)) = decode_one(&input[start..], to_head)? else {
            return if input.len() - start > HEAD_BYTES_MAX { Err(ResponseError::HeadTooLarge) } else { Ok(None) };
        };
        start += len;
        if head.status >= 200 {
            return Ok(Some((head, start)));
        }
    }
}

fn decode_one(input: &[u8], to_head: bool) -> Result<Option<(ResponseHead, usize)>, ResponseError> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let len = match response.parse(input) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(ResponseError::HeadTooLarge),
        Err(_) => return Err(ResponseError::NotHttp),
    };
    let status = response.code.ok_or(ResponseError::NotHttp)?;
    let has = |name: &str, token: &[u8]| {
        let mut named = response.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        named.any(|field| syntax::list_has(field.value, token))
    };
    let framing = framing(status, to_head, response.headers)?;
    let persistent = response.version == Some(1) || has("connection", b"keep-alive");
    let head = ResponseHead {
        status,
        keep_alive: persistent && !has("connection", b"close") && framing != Framing::UntilClose,
        fields: response.headers.iter().map(|field| (field.name.to_owned(), field.value.to_vec())).collect(),
        framing,
    };
    Ok(Some((head, len)))
}

fn framing(status: u16, to_head: bool, fields: &[httparse::Header<'_>]) -> Result<Framing, ResponseError> {
    let mut length = None;
    let mut is_chunked = false;
    for field in fields {
        if field.name.eq_ignore_ascii_case("content-length") {
            let given = decimal::parse_u64(syntax::trim(field.value)).ok_or(ResponseError::Framing)?;
            if length.is_some_and(|length| length != given) {
                return Err(ResponseError::Framing);
            }
            length = Some(given);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            if is_chunked || !syntax::trim(field.value).eq_ignore_ascii_case(b"chunked") {
                return Err(ResponseError::Framing);
            }
            is_chunked = true;
        }
    }
    match (is_chunked, length) {
        _ if to_head || status < 200 || status == 204 || status == 304 => Ok(Framing::Sized(0)),
        (true, Some(_)) => Err(ResponseError::Framing),
        (true, None) => Ok(Framing::Chunked),
        (false, Some(length)) => Ok(Framing::Sized(length)),
        (false, None) => Ok(Framing::UntilClose),
    }
}

/// How far [`BodyDecoder::decode`] got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyProgress {
    /// Bytes of the input that are done with; the next call's input begins after them.
    pub consumed: usize,
    /// True when the body is complete. Never for a body that ends with the connection.
    pub finished: bool,
}

/// Decodes one body as it arrives; a watch's events come out one by one.
#[derive(Clone, Debug)]
pub struct BodyDecoder(Remaining);

#[derive(Clone, Debug)]
enum Remaining {
    Bytes(u64),
    Chunks(ChunkDecoder),
    UntilClose,
}

impl BodyDecoder {
    /// Appends what is there of the body to `out`, which the caller bounds and empties.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<BodyProgress, ResponseError> {
        self.decode_to(input, &mut |data| out.extend_from_slice(data))
    }

    /// As [`Self::decode`], with the data given away piece by piece; no piece is empty.
    pub(super) fn decode_to(
        &mut self,
        input: &[u8],
        out: &mut impl FnMut(&[u8]),
    ) -> Result<BodyProgress, ResponseError> {
        match &mut self.0 {
            Remaining::Bytes(remaining) => {
                let taken = input.len().min(usize::try_from(*remaining).unwrap_or(usize::MAX));
                if taken > 0 {
                    out(&input[..taken]);
                }
                *remaining -= taken as u64;
                Ok(BodyProgress { consumed: taken, finished: *remaining == 0 })
            }
            Remaining::Chunks(decoder) => match decoder.decode_to(input, out) {
                Ok(progress) => Ok(BodyProgress { consumed: progress.consumed, finished: progress.finished }),
                Err(ChunkError::Malformed | ChunkError::TooLarge) => Err(ResponseError::Framing),
            },
            Remaining::UntilClose => {
                if !input.is_empty() {
                    out(input);
                }
                Ok(BodyProgress { consumed: input.len(), finished: false })
            }
        }
    }

    /// True if the body is in chunks, and those that were begun are complete.
    pub(super) fn is_between_chunks(&self) -> bool {
        matches!(&self.0, Remaining::Chunks(decoder) if decoder.is_between_chunks())
    }

    /// True if the end of the connection is the end of the body, rather than a truncation.
    pub fn may_end_with_connection(&self) -> bool {
        matches!(self.0, Remaining::UntilClose | Remaining::Bytes(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &str) -> (ResponseHead, Vec<u8>, BodyProgress) {
        let (head, len) = decode_head(input.as_bytes(), false).expect("valid").expect("complete");
        let mut body = Vec::new();
        let progress = head.body().decode(&input.as_bytes()[len..], &mut body).expect("valid");
        (head, body, progress)
    }

    #[test]
    fn bodies_end_where_the_head_says() {
        for (head, body, want, finished, keep_alive) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "abcnext", "abc", true, true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "ab", "ab", false, true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "2\r\nab\r\n", "ab", false, true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "2\r\nab\r\n0\r\n\r\n", "ab", true, true),
            ("HTTP/1.0 200 OK\r\n\r\n", "ab", "ab", false, false),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n", "a", "a", true, true),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n", "a", "a", true, false),
            ("HTTP/1.1 204 No Content\r\n\r\n", "next", "", true, true),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\n", "a", "a", true, true),
        ] {
            let (parsed, got, progress) = decode(&format!("{head}{body}"));
            assert_eq!((got.as_slice(), progress.finished), (want.as_bytes(), finished), "{head:?}");
            assert_eq!(parsed.keep_alive, keep_alive, "{head:?}");
        }
    }

    #[test]
    fn fields_are_found_in_any_case() {
        let (head, ..) = decode("HTTP/1.1 404 Not Found\r\nX-Etcd-Index: 7\r\nContent-Length: 0\r\n\r\n");
        assert_eq!((head.status, head.field("x-etcd-index")), (404, Some(&b"7"[..])));
        assert_eq!(head.field("missing"), None);
        assert_eq!(head.fields().count(), 2);
    }

    #[test]
    fn broken_answers_are_refused() {
        for (input, want) in [
            ("\x15\x03\x01", ResponseError::NotHttp),
            ("SSH-2.0-OpenSSH\r\n", ResponseError::NotHttp),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", ResponseError::Framing),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", ResponseError::Framing),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", ResponseError::Framing),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", ResponseError::Framing),
        ] {
            assert_eq!(decode_head(input.as_bytes(), false), Err(want), "{input:?}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(HEAD_BYTES_MAX));
        assert_eq!(decode_head(endless.as_bytes(), false), Err(ResponseError::HeadTooLarge));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(FIELDS_MAX + 1));
        assert_eq!(decode_head(many.as_bytes(), false), Err(ResponseError::HeadTooLarge));
    }

    #[test]
    fn answers_to_head_have_no_body() {
        let input = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
        let (head, len) = decode_head(input, true).expect("valid").expect("complete");
        let progress = head.body().decode(&input[len..], &mut Vec::new()).expect("valid");
        assert!(progress.finished && head.body().may_end_with_connection());
    }
}
