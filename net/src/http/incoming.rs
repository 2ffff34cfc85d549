//! A request's body on its way: whether it is waited for, and where it ends.

use super::chunk::{ChunkDecoder, ChunkError};
use super::head::{Framing, Head};
use super::reject::Reject;
use super::request::Limits;

/// A body whose head was found.
#[derive(Debug)]
pub(crate) struct Incoming {
    coding: Coding,
    ask: Ask,
}

#[derive(Debug)]
enum Coding {
    /// So many bytes behind the head.
    Sized(u64),
    /// Decoded up to `at`.
    Chunked { at: usize, decoder: ChunkDecoder },
    /// Chunks of more than is taken; known up to here, and not decoded any further.
    TooLarge(usize),
}

/// When the caller has to say whether the body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// Before anything of it is taken: the client holds it back.
    Now,
    /// When it is known to be long.
    IfLong,
    /// No more: it is read.
    Never,
}

/// What is known of a body.
pub(crate) enum Verdict<'i> {
    /// It begins here, and is waited for only if somebody reads it.
    Undecided(usize),
    /// It ends here, or is not waited for from here on.
    Found(Found<'i>, usize),
}

/// A body.
pub(crate) enum Found<'i> {
    Sized(&'i [u8]),
    /// In the decoder's buffer.
    Decoded,
    TooLarge,
}

impl Incoming {
    /// The body of `head`, which begins at `start`.
    pub(crate) fn new(head: &Head<'_>, start: usize, limits: &Limits) -> Self {
        let coding = match head.framing {
            Framing::Sized(length) => Coding::Sized(length),
            Framing::Chunked => Coding::Chunked { at: start, decoder: ChunkDecoder::new(limits.body_bytes as u64) },
        };
        Self { coding, ask: if head.expects_continue { Ask::Now } else { Ask::IfLong } }
    }

    /// It is read, however long it is.
    pub(crate) fn is_read(&mut self) {
        self.ask = Ask::Never;
    }

    /// How long it is, if its head says so and it is taken.
    pub(crate) fn sized_bytes(&self, limits: &Limits) -> Option<usize> {
        match self.coding {
            Coding::Sized(length) if Framing::Sized(length).fits(limits) => usize::try_from(length).ok(),
            _ => None,
        }
    }

    /// Looks for its end; `None` if more must come. The data of a chunked body is appended to `data`.
    pub(crate) fn advance<'i>(
        &mut self,
        start: usize,
        input: &'i [u8],
        data: &mut Vec<u8>,
        limits: &Limits,
    ) -> Result<Option<Verdict<'i>>, Reject> {
        if self.ask == Ask::Now {
            return Ok(Some(Verdict::Undecided(start)));
        }
        let (is_long, verdict) = match &mut self.coding {
            Coding::Sized(length) => (*length >= limits.unread_bytes as u64, sized(*length, start, input, limits)),
            Coding::Chunked { at, decoder } => {
                let verdict = chunked(decoder, at, input, data)?;
                // Small chunks are fine, but not megabytes of nothing but framing.
                let is_flood = verdict.is_none() && input.len() - start > limits.chunked_bytes();
                let verdict = if is_flood { Some(Verdict::Found(Found::TooLarge, *at)) } else { verdict };
                let is_long = data.len() > limits.unread_bytes;
                if let Some(Verdict::Found(Found::TooLarge, at)) = verdict {
                    self.coding = Coding::TooLarge(at);
                    (true, verdict)
                } else {
                    (is_long, verdict)
                }
            }
            Coding::TooLarge(at) => (true, Some(Verdict::Found(Found::TooLarge, *at))),
        };
        let asks = is_long && self.ask == Ask::IfLong;
        Ok(if asks { Some(Verdict::Undecided(start)) } else { verdict })
    }
}

fn sized<'i>(length: u64, start: usize, input: &'i [u8], limits: &Limits) -> Option<Verdict<'i>> {
    if !Framing::Sized(length).fits(limits) {
        return Some(Verdict::Found(Found::TooLarge, start));
    }
    let end = start + length as usize;
    input.get(start..end).map(|body| Verdict::Found(Found::Sized(body), end))
}

fn chunked(
    decoder: &mut ChunkDecoder,
    at: &mut usize,
    input: &[u8],
    data: &mut Vec<u8>,
) -> Result<Option<Verdict<'static>>, Reject> {
    match decoder.decode(&input[*at..], data) {
        Ok(progress) => {
            *at += progress.consumed;
            Ok(progress.finished.then_some(Verdict::Found(Found::Decoded, *at)))
        }
        Err(ChunkError::TooLarge) => Ok(Some(Verdict::Found(Found::TooLarge, *at))),
        Err(ChunkError::Malformed) => Err(Reject::Malformed),
    }
}
