//! A segment: one file of whole blocks. The first block holds the header, batches follow, each on a block of its own.
//!
//! ```text
//!  0       8         12     14      16    20      24         28       32
//!  | magic | version | core | cores | seq | birth | previous | blocks |
//!  32      40        48       56              64            72        508   512
//!  | epoch | cluster | member | resumed after | first batch | …       | crc |
//!  72     76        508
//!  | next | zeroes  |
//! ```
//! Little endian, one sector, so that it is written as a whole or not at all; `crc` is CRC-32C over bytes 0..508. The
//! other sectors of the first block, and all those not written yet, are formatted ([`format_block`]): *every* sector of a
//! segment carries a valid stamp at all times, or it has rotted.
//!
//! `next` is written into the header when the segment behind this one is ready, and before anything goes into that one: so
//! the newest segment of a log names none, or newer ones are gone.
//!
//! A file is made for one segment (`birth`) and recycled for later ones: the header is written anew, everything else
//! stays, and is known for stale by its stamp.

use std::mem::{offset_of, size_of};

use crate::ids::{BatchSeq, CoreId, Epoch, LogIdentity, SegmentSeq, is_counted};
use crate::sector::{BLOCK, BLOCK_SECTORS, FileSeed, SECTOR, SECTOR_PAYLOAD, seal, u16_at, u32_at, u64_at};

/// Size of a segment unless told otherwise: large enough that changing over (a few fsyncs in the background) happens less
/// than once in a thousand batches, small enough that a start, which writes two of them per core in full, costs a disk
/// with limited bandwidth little, and that one is read back in milliseconds.
pub const DEFAULT_SEGMENT_BYTES: u64 = 4 << 20;

/// Smallest segment: the header and room for something.
pub const SEGMENT_BYTES_MIN: u64 = 4 * BLOCK as u64;

/// Version of everything below this header. Raised by any change that an older build would misread.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"uetcdlog";

#[repr(C)]
struct Layout {
    magic: [u8; 8],
    version: u32,
    core: u16,
    cores: u16,
    seq: u32,
    birth: u32,
    previous: u32,
    blocks: u32,
    epoch: u64,
    cluster: u64,
    member: u64,
    resumed_after: u64,
    first_batch: u64,
    next: u32,
    zero: u32,
}

const CRC_AT: usize = SECTOR - 4;
const _: () = assert!(size_of::<Layout>() == 80 && size_of::<Layout>() <= CRC_AT);
const _: () = assert!(offset_of!(Layout, epoch) == 32 && offset_of!(Layout, first_batch) == 64);
const _: () = assert!(offset_of!(Layout, next) == 72);

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Whose log.
    pub identity: LogIdentity,
    /// Which core's.
    pub core: CoreId,
    /// How many cores that start of the process had.
    pub cores: u16,
    /// This segment.
    pub seq: SegmentSeq,
    /// The segment that the file was made for.
    pub birth: SegmentSeq,
    /// The segment before this one in the core's log; [`SegmentSeq::NONE`] in the first. It need not be `seq - 1`.
    pub previous: SegmentSeq,
    /// Size of the file in blocks, the header's included.
    pub blocks: u32,
    /// The start of the process that wrote it.
    pub epoch: Epoch,
    /// In a segment that opens an epoch: the last batch of the log that the start before it had found; whatever earlier
    /// segments hold beyond is void. [`BatchSeq::NONE`] elsewhere.
    pub resumed_after: BatchSeq,
    /// In a segment that opens an epoch: the number of its first batch. [`BatchSeq::NONE`] elsewhere, where batches
    /// simply go on.
    pub first_batch: BatchSeq,
    /// The segment behind this one, once it is ready; [`SegmentSeq::NONE`] before, and when it was given up unused.
    pub next: SegmentSeq,
}

#[cfg(test)]
impl SegmentHeader {
    /// Of a segment of 4 MiB that opens nothing and follows none.
    pub(crate) fn sample(seq: u32) -> Self {
        let seq = SegmentSeq::new(seq);
        Self {
            identity: LogIdentity { cluster: 1, member: 2 },
            core: CoreId::new(0),
            cores: 1,
            seq,
            birth: seq,
            previous: SegmentSeq::NONE,
            blocks: 1024,
            epoch: Epoch::default(),
            resumed_after: BatchSeq::NONE,
            first_batch: BatchSeq::NONE,
            next: SegmentSeq::NONE,
        }
    }
}

/// Why a header was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFault {
    /// The checksum or the magic is wrong.
    Rotten,
    /// Written by a build that knows another format.
    Version(u32),
    /// The content contradicts itself.
    Absurd,
}

impl SegmentHeader {
    /// Whether the segment is the first of its core in its epoch.
    pub fn opens_epoch(&self) -> bool {
        self.first_batch != BatchSeq::NONE
    }

    /// The seed of the file's stamps.
    pub fn seed(&self) -> FileSeed {
        FileSeed::new(self.identity, self.core, self.birth)
    }

    /// Size of the file.
    pub fn size_bytes(&self) -> u64 {
        u64::from(self.blocks) * BLOCK as u64
    }

    /// Writes the whole first block: the header, then formatted sectors.
    ///
    /// Of a recycled file only the first sector changes meaning: the rest of the block is never anything but formatted.
    pub fn encode(&self, block: &mut [u8]) {
        format_block(block, self.seed(), 0, self.seq);
        let header = &mut block[..SECTOR];
        header.fill(0);
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(offset_of!(Layout, magic), &MAGIC);
        put(offset_of!(Layout, version), &FORMAT_VERSION.to_le_bytes());
        put(offset_of!(Layout, core), &self.core.get().to_le_bytes());
        put(offset_of!(Layout, cores), &self.cores.to_le_bytes());
        put(offset_of!(Layout, seq), &self.seq.get().to_le_bytes());
        put(offset_of!(Layout, birth), &self.birth.get().to_le_bytes());
        put(offset_of!(Layout, previous), &self.previous.get().to_le_bytes());
        put(offset_of!(Layout, blocks), &self.blocks.to_le_bytes());
        put(offset_of!(Layout, epoch), &self.epoch.get().to_le_bytes());
        put(offset_of!(Layout, cluster), &self.identity.cluster.to_le_bytes());
        put(offset_of!(Layout, member), &self.identity.member.to_le_bytes());
        put(offset_of!(Layout, resumed_after), &self.resumed_after.get().to_le_bytes());
        put(offset_of!(Layout, first_batch), &self.first_batch.get().to_le_bytes());
        put(offset_of!(Layout, next), &self.next.get().to_le_bytes());
        let crc = crc32c::crc32c(&header[..CRC_AT]);
        header[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads a header from the first sector of a file.
    pub fn decode(sector: &[u8]) -> Result<Self, HeaderFault> {
        let header = sector.get(..SECTOR).ok_or(HeaderFault::Rotten)?;
        if header[..8] != MAGIC || u32_at(header, CRC_AT) != crc32c::crc32c(&header[..CRC_AT]) {
            return Err(HeaderFault::Rotten);
        }
        let version = u32_at(header, offset_of!(Layout, version));
        if version != FORMAT_VERSION {
            return Err(HeaderFault::Version(version));
        }
        let header = Self {
            identity: LogIdentity {
                cluster: u64_at(header, offset_of!(Layout, cluster)),
                member: u64_at(header, offset_of!(Layout, member)),
            },
            core: CoreId::new(u16_at(header, offset_of!(Layout, core))),
            cores: u16_at(header, offset_of!(Layout, cores)),
            seq: SegmentSeq::new(u32_at(header, offset_of!(Layout, seq))),
            birth: SegmentSeq::new(u32_at(header, offset_of!(Layout, birth))),
            previous: SegmentSeq::new(u32_at(header, offset_of!(Layout, previous))),
            blocks: u32_at(header, offset_of!(Layout, blocks)),
            epoch: Epoch::new(u64_at(header, offset_of!(Layout, epoch))),
            resumed_after: BatchSeq::new(u64_at(header, offset_of!(Layout, resumed_after))),
            first_batch: BatchSeq::new(u64_at(header, offset_of!(Layout, first_batch))),
            next: SegmentSeq::new(u32_at(header, offset_of!(Layout, next))),
        };
        header.is_plausible().then_some(header).ok_or(HeaderFault::Absurd)
    }

    fn is_plausible(&self) -> bool {
        self.birth != SegmentSeq::NONE
            && self.birth <= self.seq
            && self.previous < self.seq
            && (self.next == SegmentSeq::NONE || self.next > self.seq)
            && self.core.get() < self.cores
            && self.size_bytes() >= SEGMENT_BYTES_MIN
            && (self.opens_epoch() || self.previous != SegmentSeq::NONE)
            && (!self.opens_epoch() || self.resumed_after < self.first_batch)
            && is_counted(self.epoch.get())
            && is_counted(self.resumed_after.get())
            && is_counted(self.first_batch.get())
    }
}

/// Fills `block`, the file's block number `number`, with formatted sectors: stamped for no batch.
pub fn format_block(block: &mut [u8], seed: FileSeed, number: u32, birth: SegmentSeq) {
    assert_eq!(block.len(), BLOCK);
    let first = number * BLOCK_SECTORS as u32;
    for (position, sector) in (first..).zip(block.chunks_exact_mut(SECTOR)) {
        sector[..SECTOR_PAYLOAD].fill(0);
        seal(sector, seed, position, birth, BatchSeq::NONE);
    }
}

/// The name of a segment's file within its core's folder.
pub fn file_name(seq: SegmentSeq) -> String {
    format!("{:016x}.log", seq.get())
}

/// The name of a file kept to be recycled; `birth` is unique among a core's files.
pub fn spare_name(birth: SegmentSeq) -> String {
    format!("{:016x}.spare", birth.get())
}

/// What a name in a core's folder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A segment.
    Segment(SegmentSeq),
    /// A file to be recycled, or one that was being made.
    Spare(SegmentSeq),
    /// Not ours.
    Stranger,
}

/// Reads a file's name.
pub fn kind_of(name: &str) -> FileKind {
    let number = |hex: &str| match (hex.len(), u32::from_str_radix(hex, 16)) {
        (16, Ok(number)) if number > 0 && !hex.starts_with('+') => Some(SegmentSeq::new(number)),
        _ => None,
    };
    match name.rsplit_once('.') {
        Some((hex, "log")) => number(hex).map_or(FileKind::Stranger, FileKind::Segment),
        Some((hex, "spare")) => number(hex).map_or(FileKind::Stranger, FileKind::Spare),
        _ => FileKind::Stranger,
    }
}
