//! What can be wrong with a frame.

use super::{FRAME_BYTES_MAX, header::HEADER_BYTES};

/// Why a frame is not taken or not made. After an error of the decoder the stream has lost its place: close it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header's checksum does not fit: not a frame, or damaged.
    #[error("the {HEADER_BYTES} bytes where a frame should begin are no header of one (checksum)")]
    Header,
    /// The header is whole, but says what can not be.
    #[error("the header of a frame contradicts itself: {0}")]
    Contradiction(&'static str),
    /// A kind that this version does not know.
    #[error("a frame of the unknown kind {0}")]
    UnknownKind(u16),
    /// More than a frame may hold.
    #[error("a frame of {0} bytes, more than {FRAME_BYTES_MAX}")]
    TooLarge(usize),
    /// The payload's checksum does not fit.
    #[error("a frame of kind {kind} and {length} bytes is damaged (checksum)")]
    Damaged {
        /// Its kind.
        kind: u16,
        /// Its length in bytes.
        length: usize,
    },
    /// The checksum fits, but the payload is no archive of its kind.
    #[error("a frame of kind {kind} does not read back: {reason}")]
    Malformed {
        /// Its kind.
        kind: u16,
        /// What rkyv found.
        reason: String,
    },
    /// A list or a text is longer than it may be.
    #[error("a frame with {count} {what}, more than {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
}

/// Refuses a list that is too long.
pub(super) fn at_most(what: &'static str, count: usize, limit: usize) -> Result<(), FrameError> {
    if count > limit { Err(FrameError::TooMany { what, count, limit }) } else { Ok(()) }
}
