//! One core's log: which segments make it up, where it ends, and what in it counts.

use std::path::{Path, PathBuf};

use mutant::Mutant;

use crate::error::{Damage, RecoveryError, TornTail};
use crate::ids::{BatchSeq, Epoch, SegmentSeq};
use crate::scan::{Batch, SegmentScan};
use crate::sector::SECTOR;
use crate::segment::{SegmentHeader, file_name};
use crate::tail::{Evidence, Found, Verdict, judge, weigh};

/// Sorts a core's segments into those of the log, oldest first, and those that later ones have passed over.
///
/// `headers` in any order. The newest is followed back through `previous`. The front may be gone (it was recycled,
/// oldest first); a gap may not. Nor may the newest one name another: that was there, and may have been written to.
pub(crate) fn link(
    dir: &Path,
    mut headers: Vec<SegmentHeader>,
) -> Result<(Vec<SegmentHeader>, Vec<SegmentHeader>), RecoveryError> {
    headers.sort_by_key(|header| header.seq);
    let mut chain: Vec<SegmentHeader> = Vec::new();
    let mut passed_over = Vec::new();
    let mut wanted = headers.last().map_or(SegmentSeq::NONE, |newest| newest.seq);
    if let Some(lost) = headers.last().map(|newest| newest.next).filter(|next| *next != SegmentSeq::NONE) {
        return Err(RecoveryError::MissingNewest { file: dir.join(file_name(lost)) });
    }
    while let Some(header) = headers.pop() {
        if header.seq > wanted {
            passed_over.push(header);
            continue;
        }
        if header.seq < wanted {
            return Err(RecoveryError::MissingSegment { file: dir.join(file_name(wanted)) });
        }
        if chain.last().is_some_and(|later| !may_precede(&header, later)) {
            return Err(
                Damage::new(&dir.join(file_name(header.seq)), 0, "its epoch does not fit the next segment's").into()
            );
        }
        wanted = header.previous;
        chain.push(header);
    }
    chain.reverse();
    Ok((chain, passed_over))
}

fn may_precede(header: &SegmentHeader, later: &SegmentHeader) -> bool {
    if later.opens_epoch() { header.epoch < later.epoch } else { header.epoch == later.epoch }
}

/// A batch that counts.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) epoch: Epoch,
    pub(crate) segment: SegmentSeq,
    pub(crate) batch: Batch,
}

/// What counts in one core's log.
#[derive(Debug, Default)]
pub(crate) struct CoreLog {
    /// The batches, oldest first.
    pub(crate) batches: Vec<Placed>,
    /// The last batch that counts.
    pub(crate) last: BatchSeq,
    /// The last segment of which a batch counts; the log goes on after it.
    pub(crate) last_segment: SegmentSeq,
    /// The unfinished write that was dropped at the end, if there was one.
    pub(crate) torn: Option<TornTail>,
}

/// Reads the log out of its scanned segments, oldest first, as [`link`] gave them.
pub(crate) fn read(dir: &Path, scans: Vec<SegmentScan>) -> Result<CoreLog, RecoveryError> {
    let mut log = CoreLog::default();
    let mut scans = scans.into_iter().peekable();
    while let Some(first) = scans.next() {
        let mut segments = vec![first];
        while let Some(next) = scans.next_if(|next| !next.header.opens_epoch()) {
            segments.push(next);
        }
        // What a later start found and went on from is fixed: it must be there, and nothing beyond it counts.
        let fixed = scans.peek().map(|next| next.header.resumed_after);
        EpochReader { dir, fixed, segments: &mut segments }.read(&mut log)?;
    }
    Ok(log)
}

/// The segments of one start of the process.
struct EpochReader<'a> {
    dir: &'a Path,
    fixed: Option<BatchSeq>,
    segments: &'a mut [SegmentScan],
}

impl EpochReader<'_> {
    fn read(self, log: &mut CoreLog) -> Result<(), RecoveryError> {
        let mut next = self.first_batch()?;
        let mut ended_in = 0;
        for (place, segment) in self.segments.iter_mut().enumerate() {
            match segment.batches.first() {
                Some(first) if first.header.seq == next => ended_in = place,
                _ if place == 0 => continue,
                _ => break,
            }
            for batch in std::mem::take(&mut segment.batches) {
                next = batch.header.seq.next();
                if self.fixed.is_none_or(|fixed| batch.header.seq <= fixed) {
                    log.last = batch.header.seq;
                    log.last_segment = segment.header.seq;
                    log.batches.push(Placed { epoch: segment.header.epoch, segment: segment.header.seq, batch });
                }
            }
        }
        if self.fixed.is_some_and(|fixed| next > fixed) {
            return Ok(());
        }
        log.torn = self.judge_end(next, ended_in)?;
        Ok(())
    }

    /// The number of the epoch's first batch that is still there.
    fn first_batch(&self) -> Result<BatchSeq, RecoveryError> {
        let front = &self.segments[0];
        match front.batches.first() {
            _ if front.header.opens_epoch() => Ok(front.header.first_batch),
            Some(first) => Ok(first.header.seq),
            // The segment before it was recycled only after this one's first batch was durable.
            None => Err(self.damage(0, "its first batch was durable and is not there").into()),
        }
    }

    /// The log breaks off before batch `next`, behind what segment number `ended_in` holds: a torn tail, or a loss?
    fn judge_end(&self, next: BatchSeq, ended_in: usize) -> Result<Option<TornTail>, RecoveryError> {
        let (found, place) = self.found(next, ended_in);
        let verdict = match judge(found, self.evidence(next)) {
            Verdict::Damaged if found == Found::Rotten && mutant::is(Mutant::RotDropped) => Verdict::TornTail,
            Verdict::Damaged if found != Found::Rotten && mutant::is(Mutant::LostWriteDropped) => Verdict::TornTail,
            Verdict::TornTail if mutant::is(Mutant::TornTailRefused) => Verdict::Damaged,
            verdict => verdict,
        };
        let end = &self.segments[ended_in].end;
        match verdict {
            Verdict::End => Ok(None),
            Verdict::TornTail => Ok(Some(TornTail {
                file: self.file(ended_in),
                offset: end.offset,
                bytes: self.dropped_bytes(ended_in),
                batch: next,
            })),
            // A batch that is not whole is never kept.
            Verdict::Damaged | Verdict::Keep => Err(self.segments[place]
                .end
                .damage
                .clone()
                .unwrap_or_else(|| {
                    self.damage(place, &format!("batch {next} was durable and is not there, or not whole"))
                })
                .into()),
        }
    }

    /// What stands in the places where batch `next` may begin: behind the last batch, or at the begin of the next segment.
    fn found(&self, next: BatchSeq, ended_in: usize) -> (Found, usize) {
        let places = ended_in..self.segments.len().min(ended_in + 2);
        for place in places.clone() {
            if self.segments[place].end.found == Found::Rotten && self.is_a_place_for_next(place, ended_in) {
                return (Found::Rotten, place);
            }
        }
        let written = |place: &usize| self.segments[*place].leftovers.contains_key(&next);
        places.clone().find(written).map_or((Found::Absent, ended_in), |place| (Found::Unfinished, place))
    }

    /// Whether the break in this segment is where the log ends, and not behind a later batch.
    fn is_a_place_for_next(&self, place: usize, ended_in: usize) -> bool {
        place == ended_in || self.segments[place].batches.is_empty()
    }

    fn evidence(&self, next: BatchSeq) -> Evidence {
        let fixed = self.fixed.is_some_and(|fixed| fixed >= next);
        let whole = self.segments.iter().flat_map(|segment| &segment.batches);
        let whole = whole.map(|batch| (batch.header.seq, Some(batch.header.synced_upto)));
        let partly = self.segments.iter().flat_map(|segment| &segment.leftovers);
        let partly = partly.map(|(seq, leftover)| (*seq, leftover.synced_upto));
        let written = whole.chain(partly).map(|(seen, synced)| weigh(next, seen, synced)).max();
        if fixed { Evidence::WasDurable } else { written.unwrap_or(Evidence::Nothing) }
    }

    fn dropped_bytes(&self, ended_in: usize) -> u64 {
        let segments = &self.segments[ended_in..];
        let partly: u64 = segments.iter().flat_map(|segment| segment.leftovers.values()).map(|left| left.sectors).sum();
        let whole = segments.iter().flat_map(|segment| &segment.batches);
        let whole: u64 = whole.map(|batch| (batch.header.blocks() * crate::sector::BLOCK) as u64).sum();
        partly * SECTOR as u64 + whole
    }

    fn damage(&self, place: usize, what: &str) -> Damage {
        Damage::new(&self.file(place), self.segments[place].end.offset, what)
    }

    fn file(&self, place: usize) -> PathBuf {
        self.dir.join(file_name(self.segments[place].header.seq))
    }
}
