//! A batch is one disk write: whole blocks, beginning with a header and the records of one turn.
//!
//! ```text
//!  0       4         8           16       20      24             32         36    40
//!  | magic | records | batch seq | length | 0     | synced upto  | 0        | crc | records …
//! ```
//! Little endian, in the payload bytes of the batch's sectors (stamps left out). `length` counts header and records; the
//! rest of the last block is zeroes. `synced upto` is the highest batch known to be durable when this one was submitted:
//! what a later batch says is the proof that an earlier one had been promised. `crc` is CRC-32C over bytes 0..36; records
//! carry their own, and the sectors' checksums cover all of it, padding included.

use std::mem::{offset_of, size_of};

use crate::ids::{BatchSeq, SegmentSeq};
use crate::record::Record;
use crate::sector::{BLOCK, BLOCK_PAYLOAD, FileSeed, SECTOR, SECTOR_PAYLOAD, seal, u32_at, u64_at};

const MAGIC: u32 = u32::from_le_bytes(*b"uBat");

#[repr(C)]
struct Layout {
    magic: u32,
    records: u32,
    seq: u64,
    length: u32,
    zero: u32,
    synced_upto: u64,
    zero_too: u32,
    crc: u32,
}

/// Bytes of a batch before its first record.
pub const BATCH_HEADER: usize = size_of::<Layout>();
const CRC_AT: usize = offset_of!(Layout, crc);
const _: () = assert!(BATCH_HEADER == 40 && CRC_AT == 36 && BATCH_HEADER <= SECTOR_PAYLOAD);
const _: () = assert!(offset_of!(Layout, seq) == 8 && offset_of!(Layout, synced_upto) == 24);

/// The head of a batch, read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Its number.
    pub seq: BatchSeq,
    /// Header and records, in bytes.
    pub length: usize,
    /// How many records it holds.
    pub records: u32,
    /// The highest batch known to be durable when this one was submitted.
    pub synced_upto: BatchSeq,
}

impl BatchHeader {
    /// Reads the header at the start of a batch's payload. `None`: it is none.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let header = payload.get(..BATCH_HEADER)?;
        let crc_ok = u32_at(header, CRC_AT) == crc32c::crc32c(&header[..CRC_AT]);
        let header = Self {
            seq: BatchSeq::new(u64_at(header, offset_of!(Layout, seq))),
            length: u32_at(header, offset_of!(Layout, length)) as usize,
            records: (u32_at(header, 0) == MAGIC).then(|| u32_at(header, offset_of!(Layout, records)))?,
            synced_upto: BatchSeq::new(u64_at(header, offset_of!(Layout, synced_upto))),
        };
        (crc_ok && header.length >= BATCH_HEADER).then_some(header)
    }

    /// Blocks that the batch takes.
    pub fn blocks(&self) -> usize {
        blocks_for(self.length)
    }
}

/// Blocks that `length` bytes of header and records take.
pub fn blocks_for(length: usize) -> usize {
    length.div_ceil(BLOCK_PAYLOAD)
}

/// Gathers records until they are written as one batch. Reused from batch to batch.
#[derive(Debug)]
pub struct BatchBuilder {
    /// The batch's payload: a blank header, then records.
    payload: Vec<u8>,
    records: u32,
}

/// Where and as what a batch is written.
#[derive(Clone, Copy, Debug)]
pub struct BatchPlace {
    /// The file's seed.
    pub seed: FileSeed,
    /// The segment: the file's present life.
    pub life: SegmentSeq,
    /// First block, counted from the file's begin.
    pub block: u32,
    /// The batch's number.
    pub seq: BatchSeq,
    /// The highest batch that is durable now.
    pub synced_upto: BatchSeq,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self { payload: vec![0; BATCH_HEADER], records: 0 }
    }
}

impl BatchBuilder {
    /// Copies a record in. Returns the batch's size in bytes so far.
    pub fn push(&mut self, record: &Record<'_>) -> usize {
        record.encode(&mut self.payload);
        self.records += 1;
        self.payload.len()
    }

    /// Copies records in before all others.
    pub fn push_before<'a>(&mut self, records: impl Iterator<Item = Record<'a>>) {
        let others = self.payload.split_off(BATCH_HEADER);
        for record in records {
            self.push(&record);
        }
        self.payload.extend_from_slice(&others);
    }

    /// Whether nothing was pushed since the last [`BatchBuilder::clear`].
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes of the records pushed, headers and padding included.
    pub fn records_bytes(&self) -> usize {
        self.payload.len() - BATCH_HEADER
    }

    /// Blocks that the batch takes, were it written with `more` bytes of records.
    pub fn blocks_with(&self, more: usize) -> usize {
        blocks_for(self.payload.len() + more)
    }

    /// Blocks that the batch takes now.
    pub fn blocks(&self) -> usize {
        self.blocks_with(0)
    }

    /// Writes the whole batch into `out`, which has exactly [`BatchBuilder::blocks`] blocks, and begins the next.
    pub fn finish(&mut self, place: &BatchPlace, out: &mut [u8]) {
        assert!(!self.is_empty(), "an empty batch");
        assert_eq!(out.len(), self.blocks() * BLOCK);
        assert!(place.synced_upto < place.seq);
        self.fill_header(place);
        let first = place.block * (BLOCK / SECTOR) as u32;
        let mut rest = self.payload.as_slice();
        for (position, sector) in (first..).zip(out.chunks_exact_mut(SECTOR)) {
            let (now, later) = rest.split_at(rest.len().min(SECTOR_PAYLOAD));
            sector[..now.len()].copy_from_slice(now);
            sector[now.len()..SECTOR_PAYLOAD].fill(0);
            seal(sector, place.seed, position, place.life, place.seq);
            rest = later;
        }
        assert!(rest.is_empty());
        self.clear();
    }

    /// Throws away what was pushed. Keeps the memory up to a bound: one oversize batch must not pin it for ever.
    pub fn clear(&mut self) {
        const KEPT_BYTES: usize = 4 << 20;
        self.payload.truncate(BATCH_HEADER);
        self.payload.shrink_to(KEPT_BYTES);
        self.records = 0;
    }

    fn fill_header(&mut self, place: &BatchPlace) {
        let Ok(length) = u32::try_from(self.payload.len()) else { panic!("a batch of {} bytes", self.payload.len()) };
        let header = &mut self.payload[..BATCH_HEADER];
        header.fill(0);
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(offset_of!(Layout, magic), &MAGIC.to_le_bytes());
        put(offset_of!(Layout, records), &self.records.to_le_bytes());
        put(offset_of!(Layout, seq), &place.seq.get().to_le_bytes());
        put(offset_of!(Layout, length), &length.to_le_bytes());
        put(offset_of!(Layout, synced_upto), &place.synced_upto.get().to_le_bytes());
        let crc = crc32c::crc32c(&header[..CRC_AT]);
        header[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    }
}
