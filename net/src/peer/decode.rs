//! From a stream of bytes to frames.

use bytes::Bytes;
use rkyv::util::AlignedVec;

use super::frame::Frame;
use super::header::{HEADER_BYTES, Header};
use super::{ALIGN, FrameError};

/// Bytes of a payload for which room is made before any of them has come; more is made as it comes.
const TRUSTED_BYTES: usize = 1 << 20;

/// Finds the frames in a stream, however it is cut. Each frame is received into a buffer of its own, which lives for as
/// long as anything that was taken out of it, and pins nothing else.
#[derive(Debug)]
pub struct Decoder {
    head: [u8; HEADER_BYTES],
    head_filled: usize,
    /// The header has been read, and this is being filled.
    body: Option<(Header, AlignedVec<ALIGN>)>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// At the beginning of a frame.
    pub const fn new() -> Self {
        Self { head: [0; HEADER_BYTES], head_filled: 0, body: None }
    }

    /// Takes bytes off `input` up to the end of a frame. `None`: all of it was taken and the frame goes on. After an
    /// error the stream must be closed.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        let (header, mut body) = match self.body.take() {
            Some(begun) => begun,
            None => match self.header(input)? {
                Some(header) => (header, AlignedVec::with_capacity(header.length.min(TRUSTED_BYTES))),
                None => return Ok(None),
            },
        };
        let (taken, rest) = input.split_at(input.len().min(header.length - body.len()));
        body.extend_from_slice(taken);
        *input = rest;
        if body.len() < header.length {
            self.body = Some((header, body));
            return Ok(None);
        }
        if crc32c::crc32c(&body) != header.body_crc {
            return Err(FrameError::Damaged { kind: header.kind, length: header.length });
        }
        Frame::read(&header, Bytes::from_owner(body)).map(Some)
    }

    /// In the middle of a frame.
    pub const fn is_inside(&self) -> bool {
        self.head_filled > 0 || self.body.is_some()
    }

    fn header(&mut self, input: &mut &[u8]) -> Result<Option<Header>, FrameError> {
        let (taken, rest) = input.split_at(input.len().min(HEADER_BYTES - self.head_filled));
        self.head[self.head_filled..][..taken.len()].copy_from_slice(taken);
        self.head_filled += taken.len();
        *input = rest;
        if self.head_filled < HEADER_BYTES {
            return Ok(None);
        }
        self.head_filled = 0;
        let header = Header::read(&self.head)?;
        if !Frame::knows(header.kind) {
            return Err(FrameError::UnknownKind(header.kind));
        }
        Ok(Some(header))
    }
}
