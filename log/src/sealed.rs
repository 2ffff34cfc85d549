//! Small files that are written whole: a magic, a checksum, a payload.
//!
//! ```text
//!  0       8         12       16        24    28
//!  | magic | version | 0      | length  | crc | payload
//! ```
//! Little endian; `crc` is CRC-32C over bytes 0..24 and the payload.

use bytes::Bytes;

use crate::sector::{u32_at, u64_at};

/// Largest file.
pub(crate) const SEALED_MAX: u64 = 1 << 20;

const VERSION: u32 = 1;
const HEADER: usize = 28;

/// One kind of such files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sealed {
    /// Its name in the member's folder.
    pub(crate) name: &'static str,
    /// What it begins with.
    pub(crate) magic: [u8; 8],
}

impl Sealed {
    /// The file with this payload.
    pub(crate) fn seal(self, payload: &[u8]) -> Vec<u8> {
        assert!(payload.len() + HEADER <= SEALED_MAX as usize);
        let mut bytes = Vec::with_capacity(HEADER + payload.len());
        bytes.extend_from_slice(&self.magic);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), payload);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    /// The payload of a file, or what is wrong with it.
    pub(crate) fn open(self, bytes: &[u8]) -> Result<Bytes, &'static str> {
        let (header, payload) = bytes.split_at_checked(HEADER).ok_or("it is too short")?;
        if crc32c::crc32c_append(crc32c::crc32c(&header[..24]), payload) != u32_at(header, 24) {
            return Err("its checksum is wrong");
        }
        if header[..8] != self.magic || u64_at(header, 16) != payload.len() as u64 {
            return Err("it is not what its name says");
        }
        if u32_at(header, 8) != VERSION {
            return Err("it was written by another version of uetcd");
        }
        Ok(Bytes::copy_from_slice(payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_noticed() {
        let kind = Sealed { name: "identity", magic: *b"uetcd-id" };
        let good = kind.seal(b"member 7 of cluster 9");
        assert_eq!(kind.open(&good).as_deref(), Ok(&b"member 7 of cluster 9"[..]));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(kind.open(&bad).is_err(), "bit {bit}");
        }
        for length in 0..good.len() {
            assert!(kind.open(&good[..length]).is_err(), "{length} bytes");
        }
        assert!(Sealed { magic: *b"uetcd-lg", ..kind }.open(&good).is_err(), "another kind of file");
    }
}
