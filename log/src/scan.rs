//! One segment, read on its own: the batches that stand in a row from its begin, and what is there behind them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use bytes::BytesMut;

use crate::batch::{BATCH_HEADER, BatchHeader};
use crate::error::Damage;
use crate::ids::{BatchSeq, GroupId, RaftIndex, SegmentSeq};
use crate::record::{OwnedRecord, RECORD_HEADER, Verified, claim, verify};
use crate::sector::{BLOCK, BLOCK_SECTORS, FileSeed, SECTOR, SECTOR_PAYLOAD, SectorVerdict, inspect};
use crate::segment::SegmentHeader;
use crate::tail::Found;

/// A whole batch.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Its head.
    pub header: BatchHeader,
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// What it holds, in the order pushed.
    pub records: Vec<OwnedRecord>,
}

/// Why the row of batches ends.
#[derive(Clone, Debug)]
pub struct Break {
    /// Where the next batch would begin, in bytes.
    pub offset: u64,
    /// What the sectors there say about that batch.
    pub found: Found,
    /// The damage, when `found` is [`Found::Rotten`].
    pub damage: Option<Damage>,
}

/// What a segment holds.
#[derive(Clone, Debug)]
pub struct SegmentScan {
    /// Its header.
    pub header: SegmentHeader,
    /// The whole batches from its begin, with consecutive numbers.
    pub batches: Vec<Batch>,
    /// What stands behind the last of them.
    pub end: Break,
    /// Batches of which sectors were written behind `end`: how many sectors, and what the header says of the batches
    /// durable then, if it can be read.
    pub leftovers: BTreeMap<BatchSeq, Leftover>,
    /// The first sector of the whole file, the header's excluded, that is neither old nor new, in bytes.
    pub rot: Option<u64>,
}

/// What is left of a batch that does not stand in the row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftover {
    /// How many of its sectors are there.
    pub sectors: u64,
    /// Which batches were durable when it was submitted.
    pub synced_upto: Option<BatchSeq>,
}

impl SegmentScan {
    /// The highest batch number seen, in whole or in part.
    pub fn highest(&self) -> BatchSeq {
        let whole = self.batches.last().map_or(BatchSeq::NONE, |batch| batch.header.seq);
        self.leftovers.last_key_value().map_or(whole, |(seq, _)| whole.max(*seq))
    }
}

/// Reads a segment of which `bytes` is the whole file and `header` has been checked. `file` is for reports.
pub fn scan_segment(file: &Path, header: SegmentHeader, bytes: &[u8]) -> SegmentScan {
    scan_for(file, header, bytes, &|_, _| true)
}

/// Whether the payload of a group's entry is wanted. It is verified in any case.
pub(crate) type Wanted<'a> = &'a (dyn Fn(GroupId, RaftIndex) -> bool + Sync);

/// As [`scan_segment`], with the payloads that are wanted: the others take no memory, and a start that has a snapshot wants
/// only what came after it.
pub(crate) fn scan_for(file: &Path, header: SegmentHeader, bytes: &[u8], is_wanted: Wanted<'_>) -> SegmentScan {
    Scanner::new(file, header, 0, bytes, is_wanted).run()
}

/// The whole batches that stand in a row from the begin of `bytes`, a part of a segment from block `block` on. `file` is for
/// reports.
pub(crate) fn scan_part(file: &Path, header: SegmentHeader, block: u32, bytes: &[u8]) -> Vec<Batch> {
    let mut scanner = Scanner::new(file, header, block, bytes, &|_, _| true);
    let mut batches: Vec<Batch> = Vec::new();
    let mut at = 0;
    while let Ok(batch) = scanner.batch_at(at, batches.last().map(|batch| batch.header.seq.next())) {
        at += batch.header.blocks() * BLOCK_SECTORS;
        batches.push(batch);
    }
    batches
}

/// Judges every sector of `bytes`, a part of the file with this seed from block `block` on.
pub(crate) fn inspect_all(seed: FileSeed, life: SegmentSeq, block: u32, bytes: &[u8]) -> Vec<SectorVerdict> {
    let sectors = bytes.chunks_exact(SECTOR).zip(block * BLOCK_SECTORS as u32..);
    sectors.map(|(sector, position)| inspect(sector, seed, position, life)).collect()
}

struct Scanner<'a> {
    file: &'a Path,
    header: SegmentHeader,
    bytes: &'a [u8],
    sectors: Vec<SectorVerdict>,
    is_wanted: Wanted<'a>,
    /// The memory that batches are looked at in, one after the other.
    payload: Vec<u8>,
}

impl<'a> Scanner<'a> {
    /// `bytes` are those of the file from block `block` on.
    fn new(file: &'a Path, header: SegmentHeader, block: u32, bytes: &'a [u8], is_wanted: Wanted<'a>) -> Self {
        let sectors = inspect_all(header.seed(), header.seq, block, bytes);
        Self { file, header, bytes, sectors, is_wanted, payload: Vec::new() }
    }

    fn run(mut self) -> SegmentScan {
        let mut batches: Vec<Batch> = Vec::new();
        // The first block is the header's.
        let mut at = BLOCK_SECTORS;
        let end = loop {
            let opening = self.header.opens_epoch().then_some(self.header.first_batch);
            let expected = batches.last().map_or(opening, |batch| Some(batch.header.seq.next()));
            match self.batch_at(at, expected) {
                Ok(batch) => {
                    at += batch.header.blocks() * BLOCK_SECTORS;
                    batches.push(batch);
                }
                Err(mut end) => {
                    if let Some(damage) = &mut end.damage
                        && damage.group.is_none()
                    {
                        let mut before = batches.iter().rev().flat_map(|batch| batch.records.iter().rev());
                        damage.behind = damage.behind.or_else(|| before.find_map(OwnedRecord::position));
                    }
                    break end;
                }
            }
        };
        let leftovers = self.leftovers(at);
        let rot = self.sectors.iter().skip(1).position(|sector| *sector == SectorVerdict::Rotten);
        let rot = rot.map(|at| ((at + 1) * SECTOR) as u64);
        SegmentScan { header: self.header, batches, end, leftovers, rot }
    }

    /// The whole batch that begins at sector `at`, or what is there instead.
    fn batch_at(&mut self, at: usize, expected: Option<BatchSeq>) -> Result<Batch, Break> {
        let seq = match self.sectors.get(at) {
            None => return Err(stop(at, Found::Absent)),
            Some(SectorVerdict::Stale) => return Err(self.unfinished(at, at)),
            Some(SectorVerdict::Rotten) => {
                return Err(self.rotten(at, at, "a sector is not as it was written, and may begin a batch"));
            }
            Some(SectorVerdict::Current(seq)) => *seq,
        };
        if expected.is_some_and(|expected| expected != seq) {
            return Err(self.rotten(at, at, format!("batch {seq} stands in another batch's place")));
        }
        let header = self.batch_header(at).filter(|header| header.seq == seq);
        let Some(header) = header else { return Err(self.rotten(at, at, "the head of a batch cannot be read")) };
        let end = at + header.blocks() * BLOCK_SECTORS;
        let Some(sectors) = self.sectors.get(at..end) else {
            return Err(self.rotten(at, at, "a batch reaches beyond the file"));
        };
        if let Some(bad) = sectors.iter().position(|sector| *sector == SectorVerdict::Rotten) {
            return Err(self.rotten(at, at + bad, "a sector is not as it was written"));
        }
        if sectors.iter().any(|sector| *sector != SectorVerdict::Current(seq)) {
            return Err(self.unfinished(at, end));
        }
        self.records(at, header)
    }

    fn batch_header(&self, at: usize) -> Option<BatchHeader> {
        BatchHeader::decode(&self.bytes[at * SECTOR..at * SECTOR + SECTOR_PAYLOAD])
    }

    fn records(&mut self, at: usize, header: BatchHeader) -> Result<Batch, Break> {
        let mut payload = std::mem::take(&mut self.payload);
        self.copy_payload(at, header.length, &mut payload);
        let records = self.records_in(at, &header, &payload);
        self.payload = payload;
        Ok(Batch { header, offset: (at * SECTOR) as u64, records: records? })
    }

    /// The records of the batch at `at`, of which `payload` is the whole.
    fn records_in(&self, at: usize, header: &BatchHeader, payload: &[u8]) -> Result<Vec<OwnedRecord>, Break> {
        let mut from = BATCH_HEADER;
        // The count comes from a header with a good checksum, yet it must not size an allocation beyond the batch.
        let mut records = Vec::with_capacity((header.records as usize).min(payload.len() / 8));
        let mut wanted = Vec::new();
        for place in 0..header.records as usize {
            let Some(verified) = verify(&payload[from..]) else {
                return Err(self.rotten(at, at + from / SECTOR_PAYLOAD, "a record is not as it was pushed"));
            };
            let Verified { record, payload: Range { start, end }, size } = verified;
            if record.entry().is_some_and(|(group, index)| (self.is_wanted)(group, index)) {
                wanted.push((place, from + start..from + end));
            }
            records.push(record);
            from += size;
        }
        if from != payload.len() {
            return Err(self.rotten(at, at, "a batch holds more than its records"));
        }
        let size = wanted.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut memory = BytesMut::with_capacity(size);
        for (place, bytes) in wanted {
            memory.extend_from_slice(&payload[bytes]);
            records[place].set_payload(memory.split().freeze());
        }
        Ok(records)
    }

    /// The first `length` payload bytes from sector `at` on, without the stamps.
    fn payload(&self, at: usize, length: usize) -> Vec<u8> {
        let mut payload = Vec::new();
        self.copy_payload(at, length, &mut payload);
        payload
    }

    /// As [`Self::payload`], in the place of what `out` held.
    fn copy_payload(&self, at: usize, length: usize, out: &mut Vec<u8>) {
        let rest = &self.bytes[at * SECTOR..];
        out.clear();
        // A damaged head may claim more than there is.
        out.reserve(length.next_multiple_of(SECTOR_PAYLOAD).min(rest.len()));
        for sector in rest.chunks_exact(SECTOR).take(length.div_ceil(SECTOR_PAYLOAD)) {
            out.extend_from_slice(&sector[..SECTOR_PAYLOAD]);
        }
        out.truncate(length);
    }

    /// The batch at `at` lacks a sector: a write that did not finish, unless something in what unfinished writes cover
    /// (up to `declared` by its own head, and to the last sector written) is neither old nor new.
    fn unfinished(&self, at: usize, declared: usize) -> Break {
        let written = |sector: &SectorVerdict| matches!(sector, SectorVerdict::Current(_));
        let last = self.sectors[at..].iter().rposition(written).map_or(at, |last| at + last + 1);
        let covered = &self.sectors[at..last.max(declared)];
        if let Some(bad) = covered.iter().position(|sector| *sector == SectorVerdict::Rotten) {
            return self.rotten(
                at,
                at + bad,
                "a sector within an unfinished write is neither as before nor as after it",
            );
        }
        stop(at, if covered.iter().any(written) { Found::Unfinished } else { Found::Absent })
    }

    fn rotten(&self, at: usize, bad: usize, what: impl Into<String>) -> Break {
        let mut damage = Damage::new(self.file, (bad * SECTOR) as u64, what);
        if let Some((group, index)) = self.owner(at, bad) {
            damage.group = Some(group);
            damage.index = index;
        } else {
            damage.behind = self.last_before(at, bad);
        }
        Break { offset: (at * SECTOR) as u64, found: Found::Rotten, damage: Some(damage) }
    }

    /// The last position that the batch at `at` tells of before sector `bad`.
    fn last_before(&self, at: usize, bad: usize) -> Option<(GroupId, RaftIndex)> {
        let header = self.batch_header(at)?;
        let payload = self.payload(at, header.length.min((bad - at) * SECTOR_PAYLOAD));
        let mut rest = payload.get(BATCH_HEADER..)?;
        let next = || {
            let Verified { record, size, .. } = verify(rest)?;
            rest = &rest[size..];
            Some(record)
        };
        std::iter::from_fn(next).filter_map(|record| record.position()).last()
    }

    /// Whose bytes sector `bad` of the batch at `at` holds: the first record in it that does not verify, and if all do
    /// (the damage is in a stamp), the first one; nobody's, if it is padding. Nothing that may itself be damaged is reported.
    fn owner(&self, at: usize, bad: usize) -> Option<(GroupId, Option<RaftIndex>)> {
        let header = self.batch_header(at)?;
        let payload = self.payload(at, header.length);
        let bad_from = (bad - at) * SECTOR_PAYLOAD;
        let mut first = None;
        let mut from = BATCH_HEADER;
        while from < payload.len().min(bad_from + SECTOR_PAYLOAD) {
            let (group, index, size) = claim(&payload[from..])?;
            if from + size > bad_from {
                if verify(&payload[from..]).is_none() {
                    return (from + RECORD_HEADER <= bad_from).then_some((group, index));
                }
                first = first.or(Some((group, index)));
            }
            from += size;
        }
        first
    }

    fn leftovers(&self, from: usize) -> BTreeMap<BatchSeq, Leftover> {
        let mut leftovers: BTreeMap<BatchSeq, Leftover> = BTreeMap::new();
        for (at, verdict) in self.sectors.iter().enumerate().skip(from) {
            let SectorVerdict::Current(seq) = verdict else { continue };
            let leftover = leftovers.entry(*seq).or_default();
            leftover.sectors += 1;
            if (at * SECTOR).is_multiple_of(BLOCK)
                && let Some(header) = self.batch_header(at).filter(|header| header.seq == *seq)
            {
                // The first is the head; one further in could only be payload that looks like one.
                leftover.synced_upto = leftover.synced_upto.or(Some(header.synced_upto));
            }
        }
        leftovers
    }
}

fn stop(at: usize, found: Found) -> Break {
    Break { offset: (at * SECTOR) as u64, found, damage: None }
}
