//! One segment, read on past its damage: every batch, and every part of one, of which it is certain where it belongs.
//!
//! Nothing is taken that is not covered by a checksum, and no content is taken for structure: what clients have stored can look
//! like anything. So a batch is looked for where one must begin, which the stamps of the sectors say and not their content,
//! and a record where the one before it ends.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::batch::{BATCH_HEADER, BatchHeader};
use crate::ids::{BatchSeq, GroupId, Position, SegmentSeq};
use crate::record::{OwnedRecord, RECORD_HEADER, claim, claimed_entry, decode};
use crate::scan::inspect_all;
use crate::sector::{BLOCK_SECTORS, FileSeed, SECTOR, SECTOR_PAYLOAD, SectorVerdict};

/// What is known of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Find {
    /// All of it.
    Record(OwnedRecord),
    /// It is the entry at this position, and its payload is lost.
    Hollow(GroupId, Position),
}

/// A batch, or the begin of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Salvaged {
    pub(super) seq: BatchSeq,
    /// Which batches were durable when it was submitted.
    pub(super) synced_upto: BatchSeq,
    /// Its records in the order pushed.
    pub(super) finds: Vec<Find>,
    /// There are no others in it.
    pub(super) is_whole: bool,
}

/// Blocks of which nothing could be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    /// Something in it is neither as before nor as after a write.
    pub(super) is_rotten: bool,
    /// Batches of which sectors are there, and what the head says of those durable then, if it can be read.
    pub(super) leftovers: BTreeMap<BatchSeq, Option<BatchSeq>>,
}

/// What a segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// Its batches in order, each with the hole before it.
    pub(super) batches: Vec<(Option<Hole>, Salvaged)>,
    /// What is behind the last of them, if anything was written there or may have been.
    pub(super) end: Option<Hole>,
}

impl Reading {
    /// The highest batch number seen, in whole or in part.
    pub(super) fn highest(&self) -> BatchSeq {
        let whole = self.batches.last().map_or(BatchSeq::NONE, |(_, batch)| batch.seq);
        let partly = self.end.as_ref().and_then(|hole| hole.leftovers.last_key_value());
        partly.map_or(whole, |(seq, _)| whole.max(*seq))
    }

    /// Nothing was ever written to it.
    pub(super) fn is_unused(&self) -> bool {
        self.batches.is_empty() && self.end.is_none()
    }

    /// More was or may have been behind the last batch than there is.
    pub(super) fn doubt_end(&mut self) {
        self.end.get_or_insert_with(|| Hole { is_rotten: true, leftovers: BTreeMap::new() }).is_rotten = true;
    }
}

/// Reads the segment `life`, of which `bytes` are whole blocks from the file's begin. `before` is the number of the batch before
/// its first, where that is known.
pub(super) fn read(seed: FileSeed, life: SegmentSeq, before: Option<BatchSeq>, bytes: &[u8]) -> Reading {
    let sectors = inspect_all(seed, life, 0, bytes);
    Reader { bytes, sectors }.run(before)
}

struct Reader<'a> {
    bytes: &'a [u8],
    sectors: Vec<SectorVerdict>,
}

impl Reader<'_> {
    fn run(self, before: Option<BatchSeq>) -> Reading {
        let mut batches = Vec::new();
        let (mut last, mut hole) = (before, None);
        // The first block is the header's.
        let mut at = 1;
        while at < self.blocks() {
            if let Some((batch, blocks)) = self.batch_at(at, last, hole) {
                last = Some(batch.seq);
                batches.push((hole.take().map(|from| self.hole(from, at)), batch));
                at += blocks;
            } else {
                hole.get_or_insert(at);
                at += 1;
            }
        }
        let end = hole.map(|from| self.last_hole(from)).filter(|hole| hole.is_rotten || !hole.leftovers.is_empty());
        Reading { batches, end }
    }

    fn blocks(&self) -> usize {
        self.sectors.len() / BLOCK_SECTORS
    }

    fn sectors_of(&self, from: usize, upto: usize) -> &[SectorVerdict] {
        &self.sectors[from * BLOCK_SECTORS..upto * BLOCK_SECTORS]
    }

    /// The batch that begins at block `at`, if one surely does, and how many blocks it takes. `last` is the one before, and
    /// `hole` where what can not be read began behind that.
    fn batch_at(&self, at: usize, last: Option<BatchSeq>, hole: Option<usize>) -> Option<(Salvaged, usize)> {
        let SectorVerdict::Current(seq) = self.sectors[at * BLOCK_SECTORS] else { return None };
        let begins = match (hole, last) {
            (None, Some(last)) => seq == last.next(),
            (None, None) => true,
            (Some(from), last) => last.is_none_or(|last| seq > last.next()) && self.begins_at(at, seq, from, last),
        };
        let header = BatchHeader::decode(self.payload_of(at * BLOCK_SECTORS)).filter(|header| header.seq == seq)?;
        let blocks = header.blocks();
        if !begins || blocks > self.blocks() - at {
            return None;
        }
        let is_of_it = |verdict: &SectorVerdict| {
            matches!(verdict, SectorVerdict::Rotten) || *verdict == SectorVerdict::Current(seq)
        };
        self.sectors_of(at, at + blocks).iter().all(is_of_it).then(|| (self.records(at, header), blocks))
    }

    /// Whether batch `seq`, of which block `at` is a part, begins there. `from` is the first block that could not be read, right
    /// behind batch `last`.
    fn begins_at(&self, at: usize, seq: BatchSeq, from: usize, last: Option<BatchSeq>) -> bool {
        let before = self.sectors_of(at - 1, at);
        let is_of_another = |verdict: &SectorVerdict| matches!(verdict, SectorVerdict::Current(other) if *other != seq);
        // Each of the batches in between takes a block at least.
        let blocks = (at - from) as u64;
        let are_all_of_others = last.is_some_and(|last| seq.get() - last.get() - 1 == blocks);
        before.iter().any(is_of_another) || are_all_of_others
    }

    fn payload_of(&self, sector: usize) -> &[u8] {
        &self.bytes[sector * SECTOR..sector * SECTOR + SECTOR_PAYLOAD]
    }

    fn records(&self, at: usize, header: BatchHeader) -> Salvaged {
        let first = at * BLOCK_SECTORS;
        let sectors = first..first + header.length.div_ceil(SECTOR_PAYLOAD);
        let mut payload: Vec<u8> = sectors.flat_map(|sector| self.payload_of(sector)).copied().collect();
        payload.truncate(header.length);
        let payload = Bytes::from(payload);
        let good = |from: usize, length: usize| {
            let (begin, end) = (from / SECTOR_PAYLOAD, (from + length).div_ceil(SECTOR_PAYLOAD));
            self.sectors[first + begin..first + end].iter().all(|verdict| *verdict != SectorVerdict::Rotten)
        };
        let (mut from, mut finds) = (BATCH_HEADER, Vec::new());
        for _ in 0..header.records {
            let head = payload.len() - from >= RECORD_HEADER && good(from, RECORD_HEADER);
            let Some((find, size)) = head.then(|| find(&payload.slice(from..))).flatten() else { break };
            // A good checksum vouches for a payload, whatever became of the stamp beside it; what does not verify although
            // its sectors do was bad before it was written.
            if matches!(find, Find::Hollow(..)) && good(from, size) {
                break;
            }
            finds.push(find);
            from += size;
        }
        let is_whole = finds.len() == header.records as usize && from == header.length;
        Salvaged { seq: header.seq, synced_upto: header.synced_upto, finds, is_whole }
    }

    /// The blocks from `from` to before `upto`, where a batch begins.
    fn hole(&self, from: usize, upto: usize) -> Hole {
        let is_rotten = self.sectors_of(from, upto).contains(&SectorVerdict::Rotten);
        Hole { is_rotten, leftovers: self.leftovers(from, upto) }
    }

    /// What is behind the last batch: rot matters where one could begin, and as far as something was written.
    fn last_hole(&self, from: usize) -> Hole {
        let rest = self.sectors_of(from, self.blocks());
        let written = rest.iter().rposition(|verdict| matches!(verdict, SectorVerdict::Current(_)));
        let covered = &rest[..written.map_or(1, |last| last + 1)];
        Hole { is_rotten: covered.contains(&SectorVerdict::Rotten), leftovers: self.leftovers(from, self.blocks()) }
    }

    fn leftovers(&self, from: usize, upto: usize) -> BTreeMap<BatchSeq, Option<BatchSeq>> {
        let mut leftovers = BTreeMap::new();
        for sector in from * BLOCK_SECTORS..upto * BLOCK_SECTORS {
            let SectorVerdict::Current(seq) = self.sectors[sector] else { continue };
            let synced: &mut Option<BatchSeq> = leftovers.entry(seq).or_default();
            if sector.is_multiple_of(BLOCK_SECTORS) && synced.is_none() {
                let header = BatchHeader::decode(self.payload_of(sector)).filter(|header| header.seq == seq);
                *synced = header.map(|header| header.synced_upto);
            }
        }
        leftovers
    }
}

/// The record at the begin of `bytes`, whose header is good, and its size.
fn find(bytes: &Bytes) -> Option<(Find, usize)> {
    let (_, _, size) = claim(bytes)?;
    if size > bytes.len() {
        return None;
    }
    let record = decode(&mut bytes.clone()).map(Find::Record);
    let find = record.or_else(|| claimed_entry(bytes).map(|(group, position)| Find::Hollow(group, position)))?;
    Some((find, size))
}
