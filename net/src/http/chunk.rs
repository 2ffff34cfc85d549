//! The chunked transfer coding, read piece by piece.

use super::syntax;
use crate::percent;

/// Longest size line, extensions included, with its CRLF. Clients send a few digits; nobody uses extensions.
const LINE_MAX: usize = 256;

/// Digits of the largest size that fits 64 bits. More could only be leading zeros.
const SIZE_DIGITS_MAX: usize = 16;

/// Longest trailer section, with its empty line; Go's limit.
const TRAILERS_MAX: usize = 4096;

/// Why a chunked body cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkError {
    /// The coding's grammar is broken, or the trailers are too long.
    Malformed,
    /// The data announced so far exceeds the limit.
    TooLarge,
}

/// How far one call got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that are done with; the next call's input begins after them.
    pub consumed: usize,
    /// True when the final chunk has been read to its end.
    pub finished: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    /// The final chunk's size line was read, and so many bytes of trailers: more of them, or the empty line that ends the
    /// body, are due.
    Trailers(usize),
    Finished,
}

/// Decodes one chunked body. Its trailers are checked and dropped: nobody here asks for one.
#[derive(Clone, Debug)]
pub struct ChunkDecoder {
    state: State,
    announced: u64,
    limit: u64,
}

impl ChunkDecoder {
    /// A decoder at the start of a body that may have up to `limit` bytes of data.
    pub const fn new(limit: u64) -> Self {
        Self { state: State::Size, announced: 0, limit }
    }

    /// Decodes what is there of `input` and appends the data to `out`. An unfinished size line is left for the next
    /// call.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Progress, ChunkError> {
        self.decode_to(input, &mut |data| out.extend_from_slice(data))
    }

    /// As [`Self::decode`], with the data given away piece by piece; no piece is empty.
    pub(crate) fn decode_to(&mut self, input: &[u8], out: &mut impl FnMut(&[u8])) -> Result<Progress, ChunkError> {
        let mut consumed = 0;
        loop {
            let rest = &input[consumed..];
            let step = match self.state {
                State::Size => self.read_size(rest)?,
                State::Data(remaining) => self.copy_data(rest, remaining, out),
                State::DataEnd => self.expect_line_end(rest)?,
                State::Trailers(read) => self.skip_trailer(rest, read)?,
                State::Finished => return Ok(Progress { consumed, finished: true }),
            };
            match step {
                Some(taken) => consumed += taken,
                None => return Ok(Progress { consumed, finished: false }),
            }
        }
    }

    /// Whether everything that was begun is complete: no chunk, and nothing of the body's end.
    pub(crate) fn is_between_chunks(&self) -> bool {
        self.state == State::Size
    }

    fn read_size(&mut self, rest: &[u8]) -> Result<Option<usize>, ChunkError> {
        let Some(line_feed) = memchr::memchr(b'\n', &rest[..rest.len().min(LINE_MAX)]) else {
            return if rest.len() < LINE_MAX { Ok(None) } else { Err(ChunkError::Malformed) };
        };
        let line = rest[..line_feed].strip_suffix(b"\r").ok_or(ChunkError::Malformed)?;
        let size = parse_size(line).ok_or(ChunkError::Malformed)?;
        self.announced = self.announced.checked_add(size).ok_or(ChunkError::TooLarge)?;
        if self.announced > self.limit {
            return Err(ChunkError::TooLarge);
        }
        self.state = if size == 0 { State::Trailers(0) } else { State::Data(size) };
        Ok(Some(line_feed + 1))
    }

    fn copy_data(&mut self, rest: &[u8], remaining: u64, out: &mut impl FnMut(&[u8])) -> Option<usize> {
        let taken = rest.len().min(usize::try_from(remaining).unwrap_or(usize::MAX));
        if taken > 0 {
            out(&rest[..taken]);
        }
        let remaining = remaining - taken as u64;
        self.state = if remaining == 0 { State::DataEnd } else { State::Data(remaining) };
        (taken > 0).then_some(taken)
    }

    fn expect_line_end(&mut self, rest: &[u8]) -> Result<Option<usize>, ChunkError> {
        match rest {
            [b'\r', b'\n', ..] => {
                self.state = State::Size;
                Ok(Some(2))
            }
            [] | [b'\r'] => Ok(None),
            _ => Err(ChunkError::Malformed),
        }
    }

    /// Takes one line behind the data: a trailer, or the empty line.
    fn skip_trailer(&mut self, rest: &[u8], read: usize) -> Result<Option<usize>, ChunkError> {
        let left = TRAILERS_MAX - read;
        let Some(line_feed) = memchr::memchr(b'\n', &rest[..rest.len().min(left)]) else {
            return if rest.len() < left { Ok(None) } else { Err(ChunkError::Malformed) };
        };
        let line = &rest[..=line_feed];
        self.state = match line {
            b"\r\n" => State::Finished,
            _ if syntax::is_field_line(line) => State::Trailers(read + line.len()),
            _ => return Err(ChunkError::Malformed),
        };
        Ok(Some(line.len()))
    }
}

/// The size in a size line without its CRLF. Extensions are checked for stray bytes and otherwise ignored.
fn parse_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (number, extension) = line.split_at(digits);
    let extension_ok =
        extension.is_empty() || (extension.starts_with(b";") && syntax::field_value_len(extension) == extension.len());
    if digits == 0 || digits > SIZE_DIGITS_MAX || !extension_ok {
        return None;
    }
    number.iter().try_fold(0, |size, &digit| Some(size << 4 | u64::from(percent::hex(digit)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &[u8], limit: u64) -> Result<(Vec<u8>, Progress), ChunkError> {
        let mut out = Vec::new();
        let progress = ChunkDecoder::new(limit).decode(input, &mut out)?;
        Ok((out, progress))
    }

    #[test]
    fn bodies_decode_at_every_split() {
        let input = b"3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0001\r\n!\r\n0\r\nA: x\r\nB:\r\n\r\nnext";
        let (whole, progress) = decode(input, 14).expect("valid");
        assert_eq!(whole, b"abc0123456789!");
        assert_eq!(progress, Progress { consumed: input.len() - 4, finished: true });
        for step in 1..input.len() {
            let (mut decoder, mut out, mut at, mut end) = (ChunkDecoder::new(14), Vec::new(), 0, 0);
            loop {
                end = (end + step).min(input.len());
                let progress = decoder.decode(&input[at..end], &mut out).expect("valid");
                at += progress.consumed;
                if progress.finished {
                    break;
                }
            }
            assert_eq!((out, at), (whole.clone(), input.len() - 4), "in steps of {step}");
        }
    }

    #[test]
    fn broken_bodies_are_refused() {
        let long = [b"1;", &[b'x'; LINE_MAX][..], b"\r\n!\r\n"].concat();
        for input in [
            &b"\r\n"[..],
            b"x\r\n",
            b"-1\r\n",
            b"+1\r\n",
            b"0x1\r\n",
            b" 1\r\n",
            b"1 \r\n!\r\n",
            b"1\n!\r\n",
            b"1\r!\r\n",
            b"1 ;x\r\n!\r\n",
            b"1;\x01\r\n!\r\n",
            b"1;a\rb\r\n!\r\n",
            b"1\r\n!!\r\n",
            b"1\r\n!\n0\r\n\r\n",
            b"1\r\n!\r\r\n",
            b"00000000000000001\r\n!\r\n",
            b"0\r\n\n",
            b"0\r\nbad trailer\r\n\r\n",
            b"0\r\nbad trailer: x\r\n\r\n",
            b"0\r\n: x\r\n\r\n",
            b"0\r\nA : x\r\n\r\n",
            b"0\r\nA: x\n\r\n",
            b"0\r\nA: x\r\n folded\r\n\r\n",
            b"0\r\nA: x\ry\r\n\r\n",
            b"0\r\nA: \0\r\n\r\n",
            b"0\r\nA: x\r\n\n",
            &long,
        ] {
            assert_eq!(decode(input, 100), Err(ChunkError::Malformed), "{:?}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn trailers_are_dropped_up_to_a_limit() {
        let trailers = |filling: usize| format!("0\r\nA: {}\r\nB:\r\n\r\nnext", "x".repeat(filling));
        let fits = TRAILERS_MAX - "A: \r\nB:\r\n\r\n".len();
        for filling in [0, 1, fits] {
            let input = trailers(filling);
            let (out, progress) = decode(input.as_bytes(), 100).expect("valid");
            assert_eq!((out.len(), progress), (0, Progress { consumed: input.len() - 4, finished: true }), "{filling}");
        }
        assert_eq!(decode(trailers(fits + 1).as_bytes(), 100), Err(ChunkError::Malformed));
        let endless = [&b"0\r\n"[..], &[b'x'; TRAILERS_MAX][..]].concat();
        assert_eq!(decode(&endless, 100), Err(ChunkError::Malformed));
        assert!(decode(&endless[..endless.len() - 1], 100).is_ok_and(|(_, progress)| !progress.finished));
    }

    #[test]
    fn the_limit_counts_what_is_announced() {
        assert!(decode(b"4\r\n", 4).is_ok());
        for input in [&b"5\r\n"[..], b"ffffffffffffffff\r\n", b"1\r\n!\r\n4\r\n", b"1\r\n!\r\nffffffffffffffff\r\n"] {
            assert_eq!(decode(input, 4), Err(ChunkError::TooLarge));
        }
    }
}
