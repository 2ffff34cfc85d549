//! The folder of the server that the parser is in, as far as the parser needs it.

#![allow(dead_code, unreachable_pub, reason = "the server uses more of its files than is looked at here")]

#[path = "../../../../server/src/config/blocking.rs"]
mod blocking;
mod discovery;

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// The token's URL is not from outside, and is a good one.
mod urls {
    pub(super) fn split_scheme(text: &str) -> Result<(&str, &str), String> {
        text.split_once(':').ok_or_else(String::new)
    }

    pub(super) fn authority_fault(_: &str) -> Option<String> {
        None
    }
}

mod value {
    pub(super) fn quote(text: &str) -> String {
        format!("{text:?}")
    }
}

fn go_reason(error: &io::Error) -> String {
    error.to_string()
}

/// A connection over which the input comes, so many bytes at a time.
struct Replay<'a> {
    input: &'a [u8],
    piece: usize,
}

impl Read for Replay<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.piece.min(buffer.len()).min(self.input.len());
        let (now, later) = self.input.split_at(length);
        buffer[..length].copy_from_slice(now);
        self.input = later;
        Ok(length)
    }
}

impl Write for Replay<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl blocking::Connection for Replay<'_> {
    fn limit(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }
}

/// However a reply is cut, it is the same; and whatever it is, the registry is read, or there is a reason why not.
pub(crate) fn check(input: &[u8]) {
    let listen = |piece| {
        let deadline = Instant::now() + Duration::from_hours(1);
        let heard = blocking::exchange(&mut Replay { input, piece }, b"GET / HTTP/1.1\r\n\r\n", deadline);
        heard.map(|(head, body)| (head.status, body))
    };
    let whole = listen(usize::MAX);
    // A head is found where it ends, however much has come; only for short ones is every byte a cut.
    if input.len() <= 2000 {
        assert_eq!(listen(1), whole, "byte by byte");
    }
    assert_eq!(listen(61), whole, "in pieces");
    if let Ok((status, body)) = whole {
        discovery::read_registry(status, &body);
    }
    discovery::read_registry(200, input);
    discovery::read_registry(404, input);
}
