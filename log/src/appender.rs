//! The writing side of one core's log as a value that is stepped: it decides what is written where, and others write.
//!
//! The driver's part of the bargain, on which recovery leans:
//! - a batch is written by one durable write, and [`Appender::written`] is told when that has succeeded;
//! - a segment is handed in ([`Appender::prepared`]) when its header is durable under its final name, every other sector
//!   carries a valid stamp, and after that the header of the one before it was written to name it ([`Appender::naming`]);
//! - segments are given up ([`Appender::take_retired`]) oldest first, each rename or removal durable before the next;
//! - after any failed write or fsync nothing more is asked of it.

use std::collections::{BTreeMap, VecDeque};

use mutant::Mutant;

use crate::batch::{BatchBuilder, BatchPlace};
use crate::carry::Carry;
use crate::floors::Floors;
use crate::ids::{BatchSeq, CoreId, Epoch, GroupId, LogIdentity, Position, RaftIndex, SegmentSeq};
use crate::record::Record;
use crate::recovery::{Inherited, Resume};
use crate::sector::BLOCK;
use crate::segment::{SEGMENT_BYTES_MIN, SegmentHeader};
use crate::tail::MAX_IN_FLIGHT;
use crate::whereabouts::{Range, Whereabouts};

/// How a log begins, or goes on.
#[derive(Clone, Debug)]
pub struct Start {
    /// Whose log.
    pub identity: LogIdentity,
    /// Where the log ended.
    pub resume: Resume,
    /// Size of new segments in bytes, a multiple of the block size.
    pub segment_bytes: u64,
}

/// A segment given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Written in this start.
    Own(SegmentHeader),
    /// Made ready and never used.
    Unused {
        /// Its header.
        header: SegmentHeader,
        /// The header of the segment being written, which names it: to be written anew, so that it names none, before the file
        /// loses its name.
        before: SegmentHeader,
    },
    /// Left by an earlier start.
    Inherited(Inherited),
}

impl Closed {
    /// In which core's log it is, and its number there.
    pub fn place(&self) -> (CoreId, SegmentSeq) {
        match self {
            Self::Own(header) | Self::Unused { header, .. } => (header.core, header.seq),
            Self::Inherited(segment) => (segment.core, segment.seq),
        }
    }
}

/// A batch to be written as one disk write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteTicket {
    /// Its number.
    pub seq: BatchSeq,
    /// The segment to write to.
    pub segment: SegmentSeq,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// How many bytes.
    pub length: usize,
}

/// The segment being written.
#[derive(Debug)]
struct Open {
    header: SegmentHeader,
    next_block: u32,
    groups: BTreeMap<GroupId, RaftIndex>,
}

impl Open {
    fn new(header: SegmentHeader) -> Self {
        Self { header, next_block: 1, groups: BTreeMap::new() }
    }

    fn blocks_left(&self) -> usize {
        (self.header.blocks - self.next_block) as usize
    }
}

/// A full segment, or one of an earlier start.
#[derive(Debug)]
struct Full {
    file: Closed,
    blocks: u32,
    groups: BTreeMap<GroupId, RaftIndex>,
    /// The batch that must be durable before this segment may go: the first of the segment after it.
    superseded_by: BatchSeq,
}

/// The entries of one group in the batch being gathered.
#[derive(Clone, Copy, Debug, Default)]
struct Gathered {
    /// Where the group's log ended before it.
    before: Option<Position>,
    /// The lowest index, which may override what was written before; 0: there are none.
    lowest: RaftIndex,
    highest: RaftIndex,
    /// The last one pushed.
    last: RaftIndex,
}

impl Gathered {
    fn take(&mut self, index: RaftIndex) {
        let none_yet = self.lowest == RaftIndex::default();
        self.lowest = if none_yet { index } else { self.lowest.min(index) };
        self.highest = self.highest.max(index);
        self.last = index;
    }

    fn has_entries(&self) -> bool {
        self.lowest > RaftIndex::default()
    }

    fn standing(&self) -> Option<Range> {
        self.has_entries().then_some(Range { first: self.lowest, last: self.last })
    }
}

/// The writing side of one core's log.
///
/// Invariants: batch numbers grow by one; at most [`MAX_IN_FLIGHT`] batches are under way; the first batch of a segment
/// begins with where the log of each group with entries in it ended, and ends with the newest state of every group.
#[derive(Debug)]
pub struct Appender {
    identity: LogIdentity,
    core: CoreId,
    cores: u16,
    epoch: Epoch,
    segment_blocks: u32,
    builder: BatchBuilder,
    /// Every group with a record in the batch being gathered, and its entries there.
    pending_groups: BTreeMap<GroupId, Gathered>,
    carry: Carry,
    /// Where the groups' logs ended when a segment was begun, by the batch that says so and is not durable yet.
    ends: VecDeque<(BatchSeq, BTreeMap<GroupId, RaftIndex>)>,
    current: Option<Open>,
    next: Option<SegmentHeader>,
    full: VecDeque<Full>,
    retired: Vec<Closed>,
    whereabouts: Whereabouts,
    /// How far the groups of this core were asked to be compacted, and what was made known of it to the others.
    asked: BTreeMap<GroupId, RaftIndex>,
    floors: Floors,
    unpublished: bool,
    first_batch: BatchSeq,
    in_flight: VecDeque<(BatchSeq, bool)>,
    next_batch: BatchSeq,
    durable: BatchSeq,
    next_segment: SegmentSeq,
    /// What the next segment's header continues: the last segment that counts, and in an opening one where that ended.
    previous: SegmentSeq,
    opening: Option<BatchSeq>,
}

impl Appender {
    /// Begins a new epoch. Its first segment has to be made ready before anything can be written.
    pub fn new(start: Start) -> Self {
        assert!(start.segment_bytes >= SEGMENT_BYTES_MIN && start.segment_bytes.is_multiple_of(BLOCK as u64));
        let resume = start.resume;
        let full = resume.inherited.into_iter().map(|inherited| Full {
            blocks: inherited.blocks,
            groups: inherited.groups.clone(),
            file: Closed::Inherited(inherited),
            superseded_by: resume.first_batch,
        });
        Self {
            identity: start.identity,
            core: resume.core,
            cores: resume.cores,
            epoch: resume.epoch,
            segment_blocks: (start.segment_bytes / BLOCK as u64) as u32,
            builder: BatchBuilder::default(),
            pending_groups: BTreeMap::new(),
            carry: Carry::default(),
            ends: VecDeque::new(),
            current: None,
            next: None,
            full: full.collect(),
            retired: Vec::new(),
            whereabouts: Whereabouts::default(),
            asked: BTreeMap::new(),
            floors: resume.floors,
            unpublished: true,
            first_batch: resume.first_batch,
            in_flight: VecDeque::new(),
            next_batch: resume.first_batch,
            durable: resume.first_batch.previous(),
            next_segment: resume.next_segment,
            previous: resume.previous,
            opening: Some(resume.resumed_after),
        }
    }

    /// Copies a record into the batch being gathered.
    pub fn push(&mut self, record: &Record<'_>) {
        self.builder.push(record);
        let nothing_yet = || Gathered { before: self.carry.end(record.group()), ..Gathered::default() };
        let gathered = self.pending_groups.entry(record.group()).or_insert_with(nothing_yet);
        if let Record::Entry { index, .. } = *record {
            gathered.take(index);
        }
        self.carry.note(record, self.next_batch);
    }

    /// Bytes gathered and not yet under way.
    pub fn pending_bytes(&self) -> usize {
        self.builder.records_bytes()
    }

    /// Batches under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Everything up to this batch is on the disk.
    pub fn durable_upto(&self) -> BatchSeq {
        self.durable
    }

    /// The number that the batch being gathered will have.
    pub fn next_batch(&self) -> BatchSeq {
        self.next_batch
    }

    /// Starts a batch with everything gathered. `None`: there is nothing, or two are under way, or the segment for it is
    /// not ready yet (see [`Appender::wants_segment`]).
    ///
    /// The caller must then fetch its bytes with [`Appender::encode`], before it pushes again.
    pub fn begin_write(&mut self) -> Option<WriteTicket> {
        if self.builder.is_empty() || self.in_flight.len() >= MAX_IN_FLIGHT || !self.make_room() {
            return None;
        }
        let current = self.current.as_mut()?;
        let seq = self.next_batch;
        let blocks = self.builder.blocks();
        assert!(blocks <= current.blocks_left());
        let offset = u64::from(current.next_block) * BLOCK as u64;
        self.in_flight.push_back((seq, false));
        Some(WriteTicket { seq, segment: current.header.seq, offset, length: blocks * BLOCK })
    }

    /// Writes the bytes of the batch just begun into `out`, of exactly the ticket's length.
    pub fn encode(&mut self, ticket: &WriteTicket, out: &mut [u8]) {
        let Some(current) = self.current.as_mut() else { panic!("no segment is open") };
        assert!(ticket.seq == self.next_batch && ticket.segment == current.header.seq);
        let place = BatchPlace {
            seed: current.header.seed(),
            life: current.header.seq,
            block: current.next_block,
            seq: ticket.seq,
            synced_upto: if mutant::is(Mutant::PromisedTooEarly) { ticket.seq.previous() } else { self.durable },
        };
        self.builder.finish(&place, out);
        let blocks = (ticket.length / BLOCK) as u32;
        current.next_block += blocks;
        self.next_batch = self.next_batch.next();
        let gathered = std::mem::take(&mut self.pending_groups);
        let entries = gathered.iter().filter_map(|(group, gathered)| Some((*group, gathered.standing()?)));
        self.whereabouts.note(&current.header, place.block, blocks, entries);
        for (group, gathered) in gathered {
            let highest = current.groups.entry(group).or_default();
            *highest = (*highest).max(gathered.highest);
        }
    }

    /// Where entries of this start can be read again.
    pub fn whereabouts(&self) -> &Whereabouts {
        &self.whereabouts
    }

    /// The batch is on the disk: its durable write has succeeded.
    pub fn written(&mut self, seq: BatchSeq) {
        let Some(slot) = self.in_flight.iter_mut().find(|(under_way, _)| *under_way == seq) else {
            panic!("batch {seq} is not under way")
        };
        slot.1 = true;
        if mutant::is(Mutant::WrittenOutOfOrder) {
            self.in_flight.iter_mut().filter(|(under_way, _)| *under_way <= seq).for_each(|(_, done)| *done = true);
        }
        // In order: a batch counts only when those before it do.
        while let Some((seq, true)) = self.in_flight.front() {
            self.durable = *seq;
            self.in_flight.pop_front();
        }
        self.release_overridden();
        self.retire();
    }

    /// The segment to make ready now, if one is missing: the one after the current, or a larger one for what is gathered.
    /// It is formatted anew, or a file of the same size is recycled (which keeps its own `birth`). Ask again after
    /// [`Appender::prepared`].
    pub fn wants_segment(&mut self) -> Option<SegmentHeader> {
        let blocks = self.blocks_wanted();
        if let Some(next) = self.next {
            if next.blocks as usize >= blocks {
                return None;
            }
            // Too small for what has to go into it: it is given up unused.
            self.next = None;
            let Some(current) = &mut self.current else { panic!("a segment is ready behind none") };
            current.header.next = SegmentSeq::NONE;
            self.retired.push(Closed::Unused { header: next, before: current.header });
        }
        let seq = self.next_segment;
        let previous = self.current.as_ref().map_or(self.previous, |current| current.header.seq);
        let (resumed_after, first_batch) = match self.opening {
            Some(resumed_after) => (resumed_after, self.next_batch),
            None => (BatchSeq::NONE, BatchSeq::NONE),
        };
        Some(SegmentHeader {
            identity: self.identity,
            core: self.core,
            cores: self.cores,
            seq,
            birth: seq,
            previous,
            blocks: blocks as u32,
            epoch: self.epoch,
            resumed_after,
            first_batch,
            next: SegmentSeq::NONE,
        })
    }

    /// The header that the segment being written gets before segment `next`, which was asked for, is handed in. `None`: it is
    /// the first of this start.
    pub fn naming(&self, next: SegmentSeq) -> Option<SegmentHeader> {
        self.current.as_ref().map(|current| SegmentHeader { next, ..current.header })
    }

    /// The segment asked for is ready; `header` is what was written to it.
    pub fn prepared(&mut self, header: SegmentHeader) {
        assert!(header.seq == self.next_segment && self.next.is_none());
        self.next_segment = self.next_segment.next();
        if let Some(current) = &mut self.current {
            current.header.next = header.seq;
            self.next = Some(header);
        } else {
            self.current = Some(Open::new(header));
            self.opening = None;
        }
    }

    /// Whether the segment after the current one is ready.
    pub fn has_next(&self) -> bool {
        self.next.is_some()
    }

    /// Bytes left in the segment being written.
    pub fn room_bytes(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| (current.blocks_left() * BLOCK) as u64)
    }

    /// Segments of earlier starts that are still needed.
    pub fn inherited(&self) -> usize {
        self.full.iter().filter(|full| matches!(full.file, Closed::Inherited(_))).count()
    }

    /// Earlier starts of which the first segment is still needed.
    pub fn inherited_starts(&self) -> usize {
        let begins = |full: &&Full| matches!(&full.file, Closed::Inherited(inherited) if inherited.opens_epoch);
        self.full.iter().filter(begins).count()
    }

    /// Bytes of all segments, of earlier starts too.
    pub fn size_bytes(&self) -> u64 {
        let full: u64 = self.full.iter().map(|full| u64::from(full.blocks)).sum();
        let current = self.current.as_ref().map_or(0, |current| current.header.blocks);
        let next = self.next.map_or(0, |next| next.blocks);
        (full + u64::from(current) + u64::from(next)) * BLOCK as u64
    }

    /// Gives up segments of which every entry is at or below its group's index in `upto`, which names groups of this core.
    ///
    /// An index must not be above any snapshot that the group is to be loadable from. A segment goes once that snapshot's
    /// mark ([`Record::SnapshotMark`], [`Record::SnapshotReceived`]) is durable; one of an earlier start, which can hold
    /// groups of other cores, once the logs of those have come as far. An index may be named before its mark is pushed.
    pub fn compact(&mut self, upto: &[(GroupId, RaftIndex)]) {
        for (group, index) in upto {
            let floor = self.asked.entry(*group).or_default();
            *floor = (*floor).max(*index);
        }
        self.unpublished = true;
        self.retire();
    }

    /// The group, and the index that it would have to be compacted to, that keeps the oldest segment from being given up.
    pub fn oldest_pin(&self) -> Option<(GroupId, RaftIndex)> {
        self.pins(self.full.front()?).next()
    }

    /// The groups that keep segment `seq` of `core`'s log, or one before it, from being given up, and to which index each
    /// would have to be compacted. `None`: this log does not have it, or it is being written.
    pub fn pins_upto(&self, core: CoreId, seq: SegmentSeq) -> Option<BTreeMap<GroupId, RaftIndex>> {
        let place = self.full.iter().position(|full| full.file.place() == (core, seq))?;
        let mut pins = BTreeMap::new();
        for (group, index) in self.full.range(..=place).flat_map(|full| self.pins(full)) {
            let highest: &mut RaftIndex = pins.entry(group).or_default();
            *highest = index.max(*highest);
        }
        Some(pins)
    }

    fn pins(&self, full: &Full) -> impl Iterator<Item = (GroupId, RaftIndex)> {
        full.groups.iter().map(|(group, index)| (*group, *index)).filter(|(group, index)| !self.allows(*group, *index))
    }

    /// Segments given up since the last call, in the order in which they must go.
    pub fn take_retired(&mut self) -> Vec<Closed> {
        // Other cores may have come further.
        self.retire();
        std::mem::take(&mut self.retired)
    }

    /// Blocks that the next segment must have: the usual, or room for everything gathered and carried.
    fn blocks_wanted(&self) -> usize {
        const HEADER_BLOCKS: usize = 1;
        let usual = self.segment_blocks as usize;
        if self.current.as_ref().is_some_and(|current| self.builder.blocks() <= current.blocks_left()) {
            return usual;
        }
        let ends: usize = self.ends_before().map(|record| record.size_bytes()).sum();
        usual.max(self.builder.blocks_with(self.carry.size_bytes() + ends) + HEADER_BLOCKS)
    }

    /// Where the logs ended before the entries that are gathered.
    fn ends_before(&self) -> impl Iterator<Item = Record<'static>> {
        let with_entries = self.pending_groups.iter().filter(|(_, gathered)| gathered.has_entries());
        with_entries.filter_map(|(group, gathered)| Some(Record::LogEnd { group: *group, last: gathered.before? }))
    }

    /// Makes sure that what is gathered fits the current segment; changes over to the next one if it does not.
    fn make_room(&mut self) -> bool {
        let Some(current) = &self.current else { return false };
        if self.builder.blocks() <= current.blocks_left() {
            return true;
        }
        let wanted = self.blocks_wanted();
        let Some(next) = self.next.take_if(|next| next.blocks as usize >= wanted) else { return false };
        let Some(current) = self.current.replace(Open::new(next)) else { return false };
        self.full.push_back(Full {
            blocks: current.header.blocks,
            file: Closed::Own(current.header),
            groups: current.groups,
            superseded_by: self.next_batch,
        });
        self.ends.push_back((self.next_batch, self.carry.ends()));
        // What comes first has to follow what is in earlier segments, and not what is left of those of another core's.
        let before: Vec<Record<'static>> = self.ends_before().collect();
        self.builder.push_before(before.into_iter());
        // At the end: it is the newest state, what is gathered included.
        for record in self.carry.records() {
            self.builder.push(&record);
            self.pending_groups.entry(record.group()).or_default();
        }
        true
    }

    /// Once the ends of the groups' logs are durable in a segment, entries beyond them in earlier segments (overridden
    /// ones) no longer pin those. Not before: what overrode them may yet be lost.
    fn release_overridden(&mut self) {
        while let Some((seq, ends)) =
            self.ends.pop_front_if(|(seq, _)| *seq <= self.durable || mutant::is(Mutant::OverrideNotAwaited))
        {
            for full in self.full.iter_mut().filter(|full| full.superseded_by <= seq) {
                for (group, index) in &mut full.groups {
                    *index = ends.get(group).map_or(*index, |end| (*index).min(*end));
                }
            }
        }
    }

    fn retire(&mut self) {
        self.publish();
        while let Some(oldest) = self.full.front() {
            let allowed = oldest.groups.iter().all(|(group, index)| self.allows(*group, *index));
            let follows = oldest.superseded_by <= self.durable || mutant::is(Mutant::OverrideNotAwaited);
            if !allowed || !follows {
                break;
            }
            let Some(oldest) = self.full.pop_front() else { break };
            if let Closed::Own(header) = &oldest.file {
                self.whereabouts.forget_upto(header.seq);
            }
            self.retired.push(oldest.file);
        }
    }

    /// Tells the other cores how far the groups of this one are compacted, once the state of these is durable here.
    fn publish(&mut self) {
        if !self.unpublished || self.durable < self.first_batch {
            return;
        }
        for group in self.carry.groups() {
            self.floors.publish(group, self.floor_here(group).unwrap_or_default());
        }
        self.unpublished =
            self.asked.iter().any(|(group, asked)| self.floor_here(*group).is_some_and(|here| here < *asked));
    }

    /// How far a group of this core is compacted: as far as asked for, and marked durably.
    fn floor_here(&self, group: GroupId) -> Option<RaftIndex> {
        let marked = self.carry.durable_mark(group, self.durable)?;
        Some(self.asked.get(&group).map_or(RaftIndex::default(), |asked| (*asked).min(marked)))
    }

    fn allows(&self, group: GroupId, index: RaftIndex) -> bool {
        self.floor_here(group).or_else(|| self.floors.of(group)).is_some_and(|floor| index <= floor)
    }
}
