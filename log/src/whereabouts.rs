//! Where in this log the entries of every group stand, for reading them again while the process runs.
//!
//! The unit is a *stretch*: some consecutive batches of one segment, about [`STRETCH_BLOCKS`] long. A log of 256 MiB has a
//! thousand of them, so that looking one up may take a walk. Entries that earlier starts wrote are in no stretch.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::{GroupId, RaftIndex, SegmentSeq};
use crate::segment::SegmentHeader;

/// A stretch ends with the first batch that makes it this long: 256 KiB.
const STRETCH_BLOCKS: u32 = 64;

/// Some consecutive batches of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The segment's header.
    pub header: SegmentHeader,
    /// The first block of the first batch.
    pub block: u32,
    /// Their length in blocks.
    pub blocks: u32,
    /// No batch comes to it any more.
    pub is_whole: bool,
}

/// The entries of one group that a stretch has and that stand: none of a higher index counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first one.
    pub first: RaftIndex,
    /// The last one.
    pub last: RaftIndex,
}

#[derive(Debug)]
struct Stretch {
    header: SegmentHeader,
    block: u32,
    blocks: u32,
    groups: BTreeMap<GroupId, Range>,
}

/// See the module's description.
///
/// Invariant: the ranges of a group in all stretches, in their order, follow each other without gap or overlap.
#[derive(Debug, Default)]
pub struct Whereabouts {
    stretches: VecDeque<Stretch>,
}

impl Whereabouts {
    /// A batch of `blocks` was written at `block` of a segment, with entries of these groups: the lowest index, which may
    /// override what was written before, and the last.
    pub fn note(
        &mut self,
        header: &SegmentHeader,
        block: u32,
        blocks: u32,
        entries: impl Iterator<Item = (GroupId, Range)>,
    ) {
        let goes_on = |last: &&mut Stretch| last.header.seq == header.seq && last.blocks < STRETCH_BLOCKS;
        if let Some(last) = self.stretches.back_mut().filter(goes_on) {
            assert_eq!(last.block + last.blocks, block, "batches stand side by side");
            last.blocks += blocks;
        } else {
            self.stretches.push_back(Stretch { header: *header, block, blocks, groups: BTreeMap::new() });
        }
        for (group, range) in entries {
            self.append(group, range);
        }
    }

    fn append(&mut self, group: GroupId, new: Range) {
        let end = self.stretches.iter().rev().find_map(|stretch| stretch.groups.get(&group)).map(|range| range.last);
        if end.is_some_and(|end| end.next() != new.first) {
            // Nothing of what does not lead up to it: a snapshot has come between.
            self.cut(group, if end < Some(new.first) { RaftIndex::default() } else { new.first });
        }
        let Some(newest) = self.stretches.back_mut() else { return };
        newest.groups.entry(group).and_modify(|own| own.last = new.last).or_insert(new);
    }

    /// The entries of a group from `from` on count no more.
    fn cut(&mut self, group: GroupId, from: RaftIndex) {
        for stretch in self.stretches.iter_mut().rev() {
            let Some(range) = stretch.groups.get_mut(&group) else { continue };
            if range.first < from {
                range.last = range.last.min(RaftIndex::new(from.get() - 1));
                break;
            }
            stretch.groups.remove(&group);
        }
    }

    /// Segments up to this one are given up.
    pub fn forget_upto(&mut self, seq: SegmentSeq) {
        while self.stretches.pop_front_if(|stretch| stretch.header.seq <= seq).is_some() {}
    }

    /// The stretch that has this entry, and what else it has of the group.
    pub fn find(&self, group: GroupId, index: RaftIndex) -> Option<(Place, Range)> {
        let has = |range: &Range| range.first <= index && index <= range.last;
        let (at, range) = self.stretches.iter().enumerate().find_map(|(at, stretch)| {
            let range = stretch.groups.get(&group).filter(|range| has(range))?;
            Some((at, *range))
        })?;
        let Stretch { header, block, blocks, .. } = self.stretches[at];
        Some((Place { header, block, blocks, is_whole: at + 1 < self.stretches.len() }, range))
    }

    /// The oldest entry of a group that is to be had.
    pub fn first(&self, group: GroupId) -> Option<RaftIndex> {
        self.stretches.iter().find_map(|stretch| stretch.groups.get(&group)).map(|range| range.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId::new(3);

    /// Every batch takes a stretch of its own: (segment, lowest, last).
    fn written(batches: &[(u32, u64, u64)]) -> Whereabouts {
        let mut there = Whereabouts::default();
        let mut block = 1;
        for &(seq, first, last) in batches {
            let range = Range { first: RaftIndex::new(first), last: RaftIndex::new(last) };
            there.note(&SegmentHeader::sample(seq), block, STRETCH_BLOCKS, [(GROUP, range)].into_iter());
            block += STRETCH_BLOCKS;
        }
        there
    }

    fn ranges(there: &Whereabouts) -> Vec<(u64, u64)> {
        let ranges = there.stretches.iter().filter_map(|stretch| stretch.groups.get(&GROUP));
        ranges.map(|range| (range.first.get(), range.last.get())).collect()
    }

    #[test]
    fn what_stands_is_one_row() {
        for (name, batches, row) in [
            ("one after the other", &[(1, 5, 7), (1, 8, 8), (2, 9, 12)][..], &[(5, 7), (8, 8), (9, 12)][..]),
            ("an end is overridden", &[(1, 5, 7), (1, 8, 8), (1, 7, 9)], &[(5, 6), (7, 9)]),
            ("from a stretch's first on", &[(1, 5, 7), (1, 8, 9), (1, 8, 8)], &[(5, 7), (8, 8)]),
            ("all is overridden", &[(1, 5, 7), (1, 8, 9), (1, 4, 6)], &[(4, 6)]),
            ("a gap", &[(1, 5, 7), (1, 8, 9), (1, 20, 21)], &[(20, 21)]),
        ] {
            assert_eq!(ranges(&written(batches)), row, "{name}");
        }
    }

    #[test]
    fn batches_of_a_segment_share_a_stretch_until_it_is_long() {
        let mut there = Whereabouts::default();
        let mut index = 0;
        for batch in 0..2 * STRETCH_BLOCKS {
            index += 1;
            let range = Range { first: RaftIndex::new(index), last: RaftIndex::new(index + 1) };
            there.note(&SegmentHeader::sample(1), 1 + batch, 1, [(GROUP, range)].into_iter());
            index += 1;
        }
        let long = u64::from(2 * STRETCH_BLOCKS);
        assert_eq!(ranges(&there), [(1, long), (long + 1, 2 * long)]);
        let find = |index| there.find(GROUP, RaftIndex::new(index)).map(|(place, _)| (place.block, place.is_whole));
        assert_eq!(find(long), Some((1, true)));
        assert_eq!(find(long + 1), Some((1 + STRETCH_BLOCKS, false)));
        assert_eq!(find(2 * long + 1), None);
        assert_eq!(there.find(GroupId::new(4), RaftIndex::new(1)), None);
    }

    #[test]
    fn within_a_stretch_the_last_word_counts() {
        let mut there = Whereabouts::default();
        for (block, (first, last)) in [(5, 9), (7, 7), (8, 8)].into_iter().enumerate() {
            let range = Range { first: RaftIndex::new(first), last: RaftIndex::new(last) };
            there.note(&SegmentHeader::sample(1), 1 + block as u32, 1, [(GROUP, range)].into_iter());
        }
        assert_eq!(ranges(&there), [(5, 8)]);
    }

    #[test]
    fn what_is_given_up_is_not_to_be_had() {
        let mut there = written(&[(1, 1, 3), (1, 4, 5), (2, 6, 7)]);
        there.forget_upto(SegmentSeq::new(1));
        assert_eq!(there.first(GROUP), Some(RaftIndex::new(6)));
        assert_eq!(there.find(GROUP, RaftIndex::new(5)), None);
    }
}
