//! Answers, found in what has been received. A body that is there as a whole is looked at in place.

use net::decimal::parse_u64;
use net::http::chunk::ChunkDecoder;

/// Fields of an answer; etcd sends about twelve.
const FIELDS_MAX: usize = 48;

/// Longest head that is waited for; etcd's are below 1 KiB.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// What comes in is no answer of an HTTP/1.1 server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(&'static str);

/// What is kept of a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// `X-Etcd-Index`.
    pub(crate) index: Option<u64>,
    /// The server will close the connection.
    pub(crate) closes: bool,
    framing: Framing,
}

/// How long the body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Framing {
    #[default]
    Chunked,
    Sized(usize),
}

impl Head {
    /// Whether the body comes in chunks, as events do.
    pub(crate) fn is_chunked(&self) -> bool {
        self.framing == Framing::Chunked
    }
}

/// One whole answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// `X-Etcd-Index`.
    pub(crate) index: Option<u64>,
    /// The server will close the connection.
    pub(crate) closes: bool,
    pub(crate) body: &'a [u8],
}

/// How far one call got.
#[derive(Debug)]
pub(crate) enum Progress<'a> {
    /// So many bytes are done with; the answer is not complete.
    Partial(usize),
    /// The answer, and how many bytes are done with.
    Complete(Answer<'a>, usize),
}

#[derive(Debug)]
enum State {
    Head,
    Sized(usize),
    Chunks(ChunkDecoder),
    /// The last answer was handed out; its body may be cleared.
    Done,
}

/// Finds the answers of one connection, one after the other.
#[derive(Debug)]
pub(crate) struct AnswerReader {
    state: State,
    head: Head,
    body: Vec<u8>,
}

impl AnswerReader {
    /// Before the first answer of a connection.
    pub(crate) fn new() -> Self {
        Self { state: State::Head, head: Head::default(), body: Vec::new() }
    }

    /// Looks at the bytes that follow what is done with.
    pub(crate) fn read<'a>(&'a mut self, input: &'a [u8]) -> Result<Progress<'a>, Malformed> {
        if matches!(self.state, State::Done) {
            self.body.clear();
            self.state = State::Head;
        }
        let mut consumed = 0;
        if matches!(self.state, State::Head) {
            let Some((head, length)) = read_head(input)? else { return Ok(Progress::Partial(0)) };
            (self.head, consumed) = (head, length);
            if let Framing::Sized(size) = head.framing
                && let Some(body) = input[length..].get(..size)
            {
                return Ok(Progress::Complete(answer(head, body), length + size));
            }
            self.state = match head.framing {
                Framing::Sized(size) => State::Sized(size),
                Framing::Chunked => State::Chunks(ChunkDecoder::new(u64::MAX)),
            };
        }
        let (taken, is_complete) = self.read_body(&input[consumed..])?;
        consumed += taken;
        if !is_complete {
            return Ok(Progress::Partial(consumed));
        }
        self.state = State::Done;
        Ok(Progress::Complete(answer(self.head, &self.body), consumed))
    }

    fn read_body(&mut self, input: &[u8]) -> Result<(usize, bool), Malformed> {
        match &mut self.state {
            State::Sized(remaining) => {
                let taken = input.len().min(*remaining);
                self.body.extend_from_slice(&input[..taken]);
                *remaining -= taken;
                Ok((taken, *remaining == 0))
            }
            State::Chunks(decoder) => {
                let result = decoder.decode(input, &mut self.body);
                let progress = result.map_err(|_| Malformed("a body in chunks is not well-formed"))?;
                Ok((progress.consumed, progress.finished))
            }
            State::Head | State::Done => unreachable!("a body follows its head"),
        }
    }
}

fn answer(head: Head, body: &[u8]) -> Answer<'_> {
    Answer { status: head.status, index: head.index, closes: head.closes, body }
}

/// Reads the head at the start of `input`: the head and its length, or `None` if it is not all there.
pub(crate) fn read_head(input: &[u8]) -> Result<Option<(Head, usize)>, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(input) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if input.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(Malformed("the answer's head is too long"));
        }
        Err(_) => return Err(Malformed("the answer is no HTTP/1.1; is this the client port of an etcd server?")),
    };
    let status = response.code.unwrap_or(0);
    let (mut index, mut framing, mut closes) = (None, None, false);
    for field in response.headers {
        // By length first: a field is looked at only if it can be one of these.
        match field.name.len() {
            12 if field.name.eq_ignore_ascii_case("X-Etcd-Index") => index = parse_u64(field.value),
            14 if field.name.eq_ignore_ascii_case("Content-Length") => {
                let size = parse_u64(field.value).ok_or(Malformed("the answer's Content-Length is no number"))?;
                framing = Some(Framing::Sized(size as usize));
            }
            17 if field.name.eq_ignore_ascii_case("Transfer-Encoding") => framing = Some(Framing::Chunked),
            10 if field.name.eq_ignore_ascii_case("Connection") => {
                closes = field.value.eq_ignore_ascii_case(b"close");
            }
            _ => {}
        }
    }
    let framing = framing.ok_or(Malformed("the answer does not say how long it is"))?;
    Ok(Some((Head { status, index, closes, framing }, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZED: &[u8] = b"HTTP/1.1 200 OK\r\nX-Etcd-Index: 7\r\nContent-Length: 3\r\n\r\nabc";
    const CHUNKED: &[u8] =
        b"HTTP/1.1 404 Not Found\r\nX-Etcd-Index: 8\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n";

    /// Reads a stream that comes in pieces of `size` bytes.
    fn read_all(stream: &[u8], size: usize) -> Vec<(u16, Option<u64>, Vec<u8>)> {
        let (mut reader, mut input, mut answers) = (AnswerReader::new(), Vec::new(), Vec::new());
        for piece in stream.chunks(size) {
            input.extend_from_slice(piece);
            loop {
                let (consumed, more) = match reader.read(&input).expect("well-formed") {
                    Progress::Partial(consumed) => (consumed, false),
                    Progress::Complete(answer, consumed) => {
                        answers.push((answer.status, answer.index, answer.body.to_vec()));
                        (consumed, true)
                    }
                };
                input.drain(..consumed);
                if !more {
                    break;
                }
            }
        }
        assert!(input.is_empty(), "{input:?}");
        answers
    }

    #[test]
    fn answers_are_found_however_they_come_in() {
        let stream = [SIZED, CHUNKED, SIZED, CHUNKED].concat();
        let (first, second) = ((200, Some(7), b"abc".to_vec()), (404, Some(8), b"def".to_vec()));
        let want = [first.clone(), second.clone(), first, second];
        for size in [1, 2, 3, 7, 50, stream.len()] {
            assert_eq!(read_all(&stream, size), want, "pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for input in [
            &b"\x15\x03\x01"[..],
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        ] {
            assert!(AnswerReader::new().read(input).is_err(), "{:?}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn a_server_that_closes_says_so() {
        let input = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        let mut reader = AnswerReader::new();
        let Ok(Progress::Complete(answer, _)) = reader.read(input) else { panic!("complete") };
        assert!(answer.closes && answer.index.is_none());
    }
}
