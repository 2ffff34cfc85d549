//! Segments of the log: sectors, batches, records.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use log::record::decode;
use log::sector::{BLOCK, BLOCK_SECTORS, SECTOR, SECTOR_PAYLOAD, seal};
use log::segment::file_name;
use log::{
    BatchSeq, CoreId, Disk, Epoch, FileBytes, LogIdentity, Position, SegmentHeader, SegmentScan, SegmentSeq, recover,
    scan_segment,
};

/// Whose log it is in all inputs.
pub(crate) const IDENTITY: LogIdentity = LogIdentity { cluster: 0xc1, member: 0xa1 };
const DIR: &str = "/log";
/// Blocks of a segment, at most.
const BLOCKS_MAX: usize = 16;
/// Where a batch's header has its checksum, its records' length and the first of them: `log/src/batch.rs`.
const BATCH_LENGTH: usize = 16;
const BATCH_CRC: usize = 36;
const BATCH_HEADER: usize = 40;
/// The same of a record: `log/src/record.rs`.
const RECORD_LENGTH: usize = 32;
const RECORD_CRC: usize = 36;
const RECORD_HEADER: usize = 40;

/// A disk with one file on it, in the folder of core 0 if that is one of a log.
pub(crate) struct OneFile {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

impl Disk for OneFile {
    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        let first = self.path.strip_prefix(dir).ok().and_then(|rest| rest.components().next());
        let name = first.map(|first| first.as_os_str().to_string_lossy().into_owned());
        name.map(|name| vec![name]).ok_or(io::ErrorKind::NotFound.into())
    }

    fn read_at(&self, path: &Path, offset: u64, limit: u64) -> io::Result<FileBytes> {
        if path != self.path {
            return Err(io::ErrorKind::NotFound.into());
        }
        let begin = self.bytes.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
        let end = self.bytes.len().min(begin.saturating_add(usize::try_from(limit).unwrap_or(usize::MAX)));
        Ok(FileBytes::from(self.bytes[begin..end].to_vec()))
    }
}

/// The header of the segment that all inputs stand in.
pub(crate) fn header(blocks: u32) -> SegmentHeader {
    SegmentHeader {
        identity: IDENTITY,
        core: CoreId::new(0),
        cores: 1,
        seq: SegmentSeq::new(3),
        birth: SegmentSeq::new(2),
        previous: SegmentSeq::NONE,
        blocks,
        epoch: Epoch::new(2),
        resumed_after: BatchSeq::NONE,
        first_batch: BatchSeq::new(5),
        next: SegmentSeq::NONE,
    }
}

/// The input is what follows the header's block. What is read of it is in order, and can be read again; a start either
/// fails or has nothing else.
pub(crate) fn check(input: &[u8]) {
    let blocks = input.len().div_ceil(BLOCK).clamp(3, BLOCKS_MAX);
    let mut body = input[..input.len().min(blocks * BLOCK)].to_vec();
    body.resize(blocks * BLOCK, 0);
    check_segment(&body);
    reseal(&mut body);
    check_segment(&body);
    // The header is read from a device, too.
    if let Some(sector) = input.get(..SECTOR) {
        let _ = SegmentHeader::decode(sector);
    }
}

fn check_segment(body: &[u8]) {
    let header = header((body.len() / BLOCK + 1) as u32);
    let mut bytes = vec![0; BLOCK];
    header.encode(&mut bytes);
    bytes.extend_from_slice(body);
    let path = Path::new(DIR).join("0").join(file_name(header.seq));
    let scan = scan_segment(&path, header, &bytes);
    check_scan(&scan);
    let disk = OneFile { path, bytes };
    let from_nothing = |_| Some(Position::default());
    if let Ok(recovered) = recover(&disk, Path::new(DIR), IDENTITY, &from_nothing) {
        let held = scan.batches.iter().flat_map(|batch| &batch.records).count();
        let found: usize = recovered.groups.values().map(|group| group.entries.len()).sum();
        assert!(found <= held, "{found} entries of {held} records");
        for group in recovered.groups.values() {
            let in_row = group.entries.windows(2).all(|two| two[0].index.next() == two[1].index);
            assert!(in_row, "a gap in a group's entries");
        }
        let _ = recovered.resume(2);
    }
}

/// Batches follow each other in number and place, end at the break, and their records can be written and read again.
fn check_scan(scan: &SegmentScan) {
    let mut at = BLOCK as u64;
    let mut next = scan.header.first_batch;
    for batch in &scan.batches {
        assert_eq!((batch.offset, batch.header.seq), (at, next));
        let mut written = Vec::new();
        batch.records.iter().for_each(|record| record.as_record().encode(&mut written));
        assert_eq!(written.len() + BATCH_HEADER, batch.header.length);
        let mut written = Bytes::from(written);
        for record in &batch.records {
            assert_eq!(decode(&mut written).as_ref(), Some(record));
        }
        at += (batch.header.blocks() * BLOCK) as u64;
        next = next.next();
    }
    assert_eq!(scan.end.offset, at);
    assert!(scan.batches.is_empty() || scan.highest() >= next.previous());
}

/// Stamps every sector for the batch and the life that it names, and makes good the checksums of batches and records.
fn reseal(body: &mut [u8]) {
    let (seed, mut at) = (header(3).seed(), 0);
    while at < body.len() {
        let blocks = reseal_batch(&mut body[at..]);
        at += blocks * BLOCK;
    }
    for (sector, position) in body.chunks_exact_mut(SECTOR).zip(BLOCK_SECTORS as u32..) {
        let stamp = |at: usize| u32::from_le_bytes([sector[at], sector[at + 1], sector[at + 2], sector[at + 3]]);
        let (batch, life) = (u64::from(stamp(SECTOR_PAYLOAD)), stamp(SECTOR_PAYLOAD + 8).clamp(1, 4));
        seal(sector, seed, position, SegmentSeq::new(life), BatchSeq::new(batch));
    }
}

/// Returns the blocks that it takes.
fn reseal_batch(bytes: &mut [u8]) -> usize {
    let mut payload: Vec<u8> =
        bytes.chunks_exact(SECTOR).flat_map(|sector| &sector[..SECTOR_PAYLOAD]).copied().collect();
    let field = |payload: &[u8], at: usize| {
        u32::from_le_bytes([payload[at], payload[at + 1], payload[at + 2], payload[at + 3]]) as usize
    };
    let length = field(&payload, BATCH_LENGTH).clamp(BATCH_HEADER, payload.len());
    let crc = crc32c::crc32c(&payload[..BATCH_CRC]);
    payload[BATCH_CRC..BATCH_HEADER].copy_from_slice(&crc.to_le_bytes());
    let mut at = BATCH_HEADER;
    while at + RECORD_HEADER <= length {
        let end = at.saturating_add(RECORD_HEADER).saturating_add(field(&payload, at + RECORD_LENGTH));
        if end > length {
            break;
        }
        let crc = crc32c::crc32c(&payload[at..at + RECORD_CRC]);
        let crc = crc32c::crc32c_append(crc, &payload[at + RECORD_HEADER..end]);
        payload[at + RECORD_CRC..at + RECORD_HEADER].copy_from_slice(&crc.to_le_bytes());
        at = end.next_multiple_of(8);
    }
    for (sector, piece) in bytes.chunks_exact_mut(SECTOR).zip(payload.chunks(SECTOR_PAYLOAD)) {
        sector[..piece.len()].copy_from_slice(piece);
    }
    log::batch::blocks_for(length).max(1)
}
