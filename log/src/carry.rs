//! What every segment repeats, so that an old one is needed for its entries only: the newest hard state, frontier and
//! snapshot mark of each group, and where its log ends. An idle group then never pins a segment by its vote.

use std::collections::BTreeMap;

use crate::groups::Frontier;
use crate::ids::{BatchSeq, GroupId, Position, RaftIndex};
use crate::record::{HardState, Record};

/// The newest of what is repeated, per group of one core.
#[derive(Debug, Default)]
pub(crate) struct Carry {
    groups: BTreeMap<GroupId, Newest>,
}

#[derive(Debug, Default)]
struct Newest {
    hard_state: Option<HardState>,
    frontier: Option<Frontier>,
    mark: Option<(Position, BatchSeq)>,
    last: Option<Position>,
}

impl Newest {
    fn take_mark(&mut self, position: Position, seq: BatchSeq) {
        // A repeated mark keeps the batch in which it first became durable.
        if self.mark.is_none_or(|(known, _)| known < position) {
            self.mark = Some((position, seq));
        }
    }

    fn records(&self, group: GroupId) -> impl Iterator<Item = Record<'static>> {
        let mark = self.mark.map(|(position, _)| Record::SnapshotMark { group, position });
        let state = self.hard_state.map(|state| Record::HardState { group, state });
        let frontier = self.frontier.map(|Frontier { visible, clock }| Record::Frontier { group, visible, clock });
        let end = self.last.map(|last| Record::LogEnd { group, last });
        mark.into_iter().chain(state).chain(frontier).chain(end)
    }
}

impl Carry {
    /// Notes a record that goes into batch `seq`.
    pub(crate) fn note(&mut self, record: &Record<'_>, seq: BatchSeq) {
        let newest = self.groups.entry(record.group()).or_default();
        match *record {
            Record::Entry { index, term, .. } => newest.last = Some(Position { index, term }),
            Record::LogEnd { last, .. } => newest.last = Some(last),
            Record::HardState { state, .. } => newest.hard_state = Some(state),
            Record::Frontier { visible, clock, .. } => newest.frontier = Some(Frontier { visible, clock }),
            Record::SnapshotMark { position, .. } => newest.take_mark(position, seq),
            Record::SnapshotReceived { position, .. } => {
                newest.take_mark(position, seq);
                newest.last = Some(position);
            }
        }
    }

    /// All of it, as records.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record<'static>> {
        self.groups.iter().flat_map(|(group, newest)| newest.records(*group))
    }

    /// Where the log of a group ends.
    pub(crate) fn end(&self, group: GroupId) -> Option<Position> {
        self.groups.get(&group)?.last
    }

    /// Where the groups' logs end.
    pub(crate) fn ends(&self) -> BTreeMap<GroupId, RaftIndex> {
        self.groups.iter().filter_map(|(group, newest)| Some((*group, newest.last?.index))).collect()
    }

    /// Bytes that [`Carry::records`] take in a batch.
    pub(crate) fn size_bytes(&self) -> usize {
        self.records().map(|record| record.size_bytes()).sum()
    }

    /// The groups that live on this core.
    pub(crate) fn groups(&self) -> impl Iterator<Item = GroupId> {
        self.groups.keys().copied()
    }

    /// How far the group's snapshot marks reach that are on the disk when everything up to `durable` is. `None`: the group
    /// does not live on this core.
    pub(crate) fn durable_mark(&self, group: GroupId, durable: BatchSeq) -> Option<RaftIndex> {
        let mark = self.groups.get(&group)?.mark.filter(|(_, seq)| *seq <= durable);
        Some(mark.map(|(position, _)| position.index).unwrap_or_default())
    }
}
