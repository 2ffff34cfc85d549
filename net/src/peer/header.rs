//! The head of a frame.
//!
//! ```text
//!  0        4      6       8       12       16         20       24    28         32
//!  | length | kind | count | group | record | body crc | 0      | 0   | head crc | record … | blobs …
//! ```
//! Little endian. `length` is what follows the header, a multiple of 16; `record` of it are the rkyv archive, without the
//! zeroes that fill it up to a multiple of 16. `count` (of messages) and `group` say roughly what is inside to whoever
//! looks at a capture; the receiver goes by the archive. Both checksums are CRC-32C: `head crc` over bytes 0..28, so that
//! a length is believed before that much is waited for; `body crc` over all that follows the header.

use std::mem::{offset_of, size_of};

use super::{ALIGN, FRAME_BYTES_MAX, FrameError};

#[repr(C)]
struct Layout {
    length: u32,
    kind: u16,
    count: u16,
    group: u32,
    record: u32,
    body_crc: u32,
    zero: [u32; 2],
    head_crc: u32,
}

/// Length of a header.
pub(super) const HEADER_BYTES: usize = size_of::<Layout>();
const HEAD_CRC_AT: usize = offset_of!(Layout, head_crc);
const ZERO_AT: usize = offset_of!(Layout, zero);
const _: () = assert!(HEADER_BYTES == 32 && HEAD_CRC_AT == 28 && ZERO_AT == 20 && HEADER_BYTES.is_multiple_of(ALIGN));

/// A header, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes that follow.
    pub(super) length: usize,
    /// What they are.
    pub(super) kind: u16,
    /// How many of it.
    pub(super) count: u16,
    /// The group concerned; 0 if there are several.
    pub(super) group: u32,
    /// Bytes of the archive.
    pub(super) record: usize,
    /// Checksum of what follows.
    pub(super) body_crc: u32,
}

impl Header {
    /// Writes the header into its place.
    pub(super) fn write(&self, place: &mut [u8]) {
        assert!(self.length <= FRAME_BYTES_MAX && self.record <= self.length, "a header that nobody would take");
        place[..4].copy_from_slice(&(self.length as u32).to_le_bytes());
        place[4..6].copy_from_slice(&self.kind.to_le_bytes());
        place[6..8].copy_from_slice(&self.count.to_le_bytes());
        place[8..12].copy_from_slice(&self.group.to_le_bytes());
        place[12..16].copy_from_slice(&(self.record as u32).to_le_bytes());
        place[16..20].copy_from_slice(&self.body_crc.to_le_bytes());
        place[ZERO_AT..HEAD_CRC_AT].fill(0);
        let crc = crc32c::crc32c(&place[..HEAD_CRC_AT]);
        place[HEAD_CRC_AT..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads a header.
    pub(super) fn read(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if u32_at(HEAD_CRC_AT) != crc32c::crc32c(&bytes[..HEAD_CRC_AT]) {
            return Err(FrameError::Header);
        }
        let header = Self {
            length: u32_at(0) as usize,
            kind: u16_at(4),
            count: u16_at(6),
            group: u32_at(8),
            record: u32_at(12) as usize,
            body_crc: u32_at(16),
        };
        if header.length > FRAME_BYTES_MAX {
            return Err(FrameError::TooLarge(header.length));
        }
        if !header.length.is_multiple_of(ALIGN) {
            return Err(FrameError::Contradiction("its length is no multiple of 16"));
        }
        if header.record > header.length {
            return Err(FrameError::Contradiction("its archive is longer than all of it"));
        }
        Ok(header)
    }
}
