//! The smallest thing a disk writes or does not write: 512 bytes, each with a stamp that names the write it belongs to.
//!
//! ```text
//!  0                       496             504       508     512
//!  | payload               | batch seq     | life    | crc   |
//! ```
//! Little endian. `life` is the segment's number when the sector was written, so that what an earlier life of a recycled
//! file left behind still verifies, as what it is. `crc` is CRC-32C over the payload, the batch and the life, begun with
//! what is *not* stored: whose log, which core, which file ([`FileSeed`]) and which position in it. A block that turns up
//! where it was not written therefore never verifies.
//!
//! A sector is written as a whole or not at all; that, and only that, is what the torn-or-rotten rule leans on.

use std::mem::{offset_of, size_of};

use mutant::Mutant;

use crate::ids::{BatchSeq, CoreId, LogIdentity, SegmentSeq, is_counted};

/// Bytes that every disk writes as a whole or not at all.
pub const SECTOR: usize = 512;
/// What a sector has left for the log's own bytes.
pub const SECTOR_PAYLOAD: usize = SECTOR - size_of::<Stamp>();
/// The unit of writing: `O_DIRECT` on any disk we know of takes multiples of this.
pub const BLOCK: usize = 4096;
/// Sectors in a block.
pub const BLOCK_SECTORS: usize = BLOCK / SECTOR;
/// Payload bytes in a block.
pub const BLOCK_PAYLOAD: usize = BLOCK_SECTORS * SECTOR_PAYLOAD;

#[repr(C)]
struct Stamp {
    batch: u64,
    life: u32,
    crc: u32,
}

const BATCH_AT: usize = SECTOR_PAYLOAD + offset_of!(Stamp, batch);
const LIFE_AT: usize = SECTOR_PAYLOAD + offset_of!(Stamp, life);
const CRC_AT: usize = SECTOR_PAYLOAD + offset_of!(Stamp, crc);
const _: () = assert!(SECTOR_PAYLOAD == 496);
const _: () = assert!(BATCH_AT == 496 && LIFE_AT == 504 && CRC_AT == 508);
const _: () = assert!(BLOCK_PAYLOAD == 3968);

/// Where the checksums of one physical file begin: whose log, which core, and the segment number the file was made for.
/// A file keeps its birth number when it is recycled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSeed(u32);

impl FileSeed {
    /// The seed of the file that was made (not recycled) for segment `birth`.
    pub fn new(identity: LogIdentity, core: CoreId, birth: SegmentSeq) -> Self {
        let mut crc = crc32c::crc32c(&identity.cluster.to_le_bytes());
        crc = crc32c::crc32c_append(crc, &identity.member.to_le_bytes());
        crc = crc32c::crc32c_append(crc, &core.get().to_le_bytes());
        Self(crc32c::crc32c_append(crc, &birth.get().to_le_bytes()))
    }

    fn crc(self, position: u32, sector: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c_append(self.0, &position.to_le_bytes()), &sector[..CRC_AT])
    }
}

/// What one sector of a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectorVerdict {
    /// Written in this life of the segment, by this batch.
    Current(BatchSeq),
    /// Formatted, or left by an earlier life: the present one has not written it.
    Stale,
    /// Neither: damaged, zeroed, or written for another place.
    Rotten,
}

/// Stamps `sector`, whose first [`SECTOR_PAYLOAD`] bytes are in place. `position` counts the file's sectors from 0.
///
/// A formatted sector is one of [`BatchSeq::NONE`].
pub fn seal(sector: &mut [u8], seed: FileSeed, position: u32, life: SegmentSeq, batch: BatchSeq) {
    assert_eq!(sector.len(), SECTOR);
    assert!(life != SegmentSeq::NONE);
    sector[BATCH_AT..LIFE_AT].copy_from_slice(&batch.get().to_le_bytes());
    sector[LIFE_AT..CRC_AT].copy_from_slice(&life.get().to_le_bytes());
    let crc = seed.crc(position, sector);
    sector[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
}

/// Judges one sector of the file with this seed, whose present life is `life`.
pub fn inspect(sector: &[u8], seed: FileSeed, position: u32, life: SegmentSeq) -> SectorVerdict {
    assert_eq!(sector.len(), SECTOR);
    let batch = BatchSeq::new(u64_at(sector, BATCH_AT));
    let written = SegmentSeq::new(u32_at(sector, LIFE_AT));
    let crc_ok = u32_at(sector, CRC_AT) == seed.crc(position, sector);
    match (crc_ok, written) {
        // Life 0 is never stamped: zeroes must not pass, whatever the seed.
        (false, _) | (true, SegmentSeq::NONE) => SectorVerdict::Rotten,
        (true, written) if written > life || !is_counted(batch.get()) => SectorVerdict::Rotten,
        (true, _) if batch != BatchSeq::NONE && mutant::is(Mutant::OldLifeCounts) => SectorVerdict::Current(batch),
        (true, written) if written == life && batch != BatchSeq::NONE => SectorVerdict::Current(batch),
        (true, _) => SectorVerdict::Stale,
    }
}

/// Little-endian `u32` at `at`, which the caller has checked to be inside.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut raw = [0; 4];
    raw.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(raw)
}

/// Little-endian `u64` at `at`, which the caller has checked to be inside.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(raw)
}

/// Little-endian `u16` at `at`, which the caller has checked to be inside.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: LogIdentity = LogIdentity { cluster: 7, member: 9 };

    fn seed(birth: u32) -> FileSeed {
        FileSeed::new(IDENTITY, CoreId::new(1), SegmentSeq::new(birth))
    }

    fn sealed(position: u32, life: u32, batch: u64) -> [u8; SECTOR] {
        let mut sector = [0x5a; SECTOR];
        seal(&mut sector, seed(3), position, SegmentSeq::new(life), BatchSeq::new(batch));
        sector
    }

    #[test]
    fn a_sector_names_the_write_it_belongs_to() {
        use SectorVerdict::{Current, Rotten, Stale};
        let other = LogIdentity { cluster: 7, member: 10 };
        for (name, sector, seed, position, life, want) in [
            ("of this life", sealed(8, 5, 2), seed(3), 8, 5, Current(BatchSeq::new(2))),
            ("formatted", sealed(8, 5, 0), seed(3), 8, 5, Stale),
            ("of an earlier life", sealed(8, 4, 2), seed(3), 8, 5, Stale),
            ("formatted in an earlier life", sealed(8, 3, 0), seed(3), 8, 5, Stale),
            ("of a later life", sealed(8, 6, 2), seed(3), 8, 5, Rotten),
            ("of another place in the file", sealed(9, 5, 2), seed(3), 8, 5, Rotten),
            ("of another file", sealed(8, 5, 2), seed(4), 8, 5, Rotten),
            (
                "of another member",
                sealed(8, 5, 2),
                FileSeed::new(other, CoreId::new(1), SegmentSeq::new(3)),
                8,
                5,
                Rotten,
            ),
            ("zeroes", [0; SECTOR], seed(3), 8, 5, Rotten),
            ("ones", [0xff; SECTOR], seed(3), 8, 5, Rotten),
        ] {
            assert_eq!(inspect(&sector, seed, position, SegmentSeq::new(life)), want, "{name}");
        }
    }

    #[test]
    fn every_flipped_bit_is_rot() {
        let good = sealed(8, 5, 2);
        for bit in 0..SECTOR * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(inspect(&bad, seed(3), 8, SegmentSeq::new(5)), SectorVerdict::Rotten, "bit {bit}");
        }
    }
}
