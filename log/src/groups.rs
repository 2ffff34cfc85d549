//! What the records mean to raft's log: which entries stand, which were overridden, what a snapshot replaced.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;

use crate::error::{Damage, RecoveryError};
use crate::ids::{CoreId, Epoch, GroupId, Position, RaftIndex};
use crate::record::{EntryType, HardState, OwnedRecord, Record};
use crate::scan::Batch;

/// One raft entry, as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its term.
    pub term: u64,
    /// Its index.
    pub index: RaftIndex,
    /// What raft takes it for.
    pub entry_type: EntryType,
    /// The first etcd index of its commands; 0 when it has none.
    pub first: u64,
    /// How many commands it holds.
    pub count: u32,
    /// Its bytes.
    pub payload: Bytes,
}

impl Entry {
    /// Its index and term.
    pub fn position(&self) -> Position {
        Position { index: self.index, term: self.term }
    }
}

/// How far a node may show what it holds, and when that was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    /// Everything up to this etcd index is complete.
    pub visible: u64,
    /// What the primary's clock read, in nanoseconds of the Unix epoch.
    pub clock: u64,
}

/// What one raft group had made durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupLog {
    /// The snapshot that the entries continue, as the caller of [`crate::recover`] named it; `None` for the empty log.
    pub base: Option<Position>,
    /// The newest hard state.
    pub hard_state: Option<HardState>,
    /// The newest frontier.
    pub frontier: Option<Frontier>,
    /// The newest snapshot mark. It can be ahead of `base`, when an older snapshot had to be loaded.
    pub mark: Option<Position>,
    /// The entries after `base`, without gaps.
    pub entries: Vec<Entry>,
}

impl GroupLog {
    /// The index of the last entry, or of the snapshot that stands for it.
    pub fn last_index(&self) -> RaftIndex {
        self.last().index
    }

    /// The last entry, or the snapshot that stands for it.
    fn last(&self) -> Position {
        self.entries.last().map_or(self.base.unwrap_or_default(), Entry::position)
    }

    /// The records that repeat the group's state, for the log that it goes on in (see [`crate::LogWriter::open`]).
    pub fn state_records(&self, group: GroupId) -> impl Iterator<Item = Record<'static>> {
        // The snapshot that was loaded may have become durable right before a crash, and its mark not.
        let mark = self.mark.max(self.base).map(|position| Record::SnapshotMark { group, position });
        let state = self.hard_state.map(|state| Record::HardState { group, state });
        let frontier = self.frontier.map(|Frontier { visible, clock }| Record::Frontier { group, visible, clock });
        let end = Record::LogEnd { group, last: self.last() };
        mark.into_iter().chain(state).chain(frontier).chain([end])
    }

    fn entry_at(&self, index: RaftIndex) -> Option<&Entry> {
        let first = self.entries.first()?.index;
        self.entries.get(index.get().checked_sub(first.get())? as usize)
    }

    fn take(&mut self, record: &OwnedRecord) {
        match record.as_record() {
            Record::HardState { state, .. } => self.hard_state = Some(state),
            Record::Frontier { visible, clock, .. } => self.frontier = Some(Frontier { visible, clock }),
            Record::SnapshotMark { position, .. } => self.mark = self.mark.max(Some(position)),
            Record::SnapshotReceived { position, .. } => {
                self.entries.clear();
                self.mark = self.mark.max(Some(position));
            }
            Record::LogEnd { last, .. } => self.end_at(last),
            Record::Entry { term, index, entry_type, first, count, .. } => {
                let payload = record.payload().clone();
                self.append(Entry { term, index, entry_type, first, count, payload });
            }
        }
    }

    /// The log ended here when a segment was begun.
    fn end_at(&mut self, last: Position) {
        let stand = self.entries.partition_point(|entry| entry.index <= last.index);
        self.entries.truncate(stand);
        // Two logs with the same last entry are the same (raft's Log Matching). Of another one, or a shorter one, nothing stands:
        // what had overridden it, or come after it, was given up, and then a snapshot covers both; or it is missing, which shows at
        // the end.
        if last.term != 0 && self.entries.last().is_some_and(|entry| entry.position() != last) {
            self.entries.clear();
        }
    }

    fn append(&mut self, entry: Entry) {
        if let Some((first, last)) = self.entries.first().zip(self.entries.last()) {
            // What lies between may have been compacted from another core's log, where the group lived for a while. What
            // comes before is then of no use; that nothing needed is missing is checked against the snapshot at the end.
            let follows = entry.index <= last.index.next();
            let kept = if follows { entry.index.get().saturating_sub(first.index.get()) } else { 0 };
            self.entries.truncate(kept as usize);
        }
        self.entries.push(entry);
    }

    /// Lets the entries continue `base`, and checks that nothing between it and the log's end, at `ended`, is missing.
    fn rest_on(&mut self, group: GroupId, base: Option<Position>, mut ended: RaftIndex) -> Result<(), RecoveryError> {
        let floor = base.unwrap_or_default();
        self.base = base;
        // A snapshot that was received, its file durable and its mark not yet: it replaces a log that contradicts it. Below
        // a mark an entry may be stale (what overrode it was compacted), and says nothing about those after it.
        let unmarked = self.mark.is_none_or(|mark| mark.index < floor.index);
        if unmarked && self.entry_at(floor.index).is_some_and(|entry| entry.term != floor.term) {
            self.entries.clear();
            ended = floor.index;
        }
        let kept_from = self.entries.partition_point(|entry| entry.index <= floor.index);
        self.entries.drain(..kept_from);
        let missing = |from: RaftIndex, to| RecoveryError::MissingEntries { group, from, to: RaftIndex::new(to) };
        if let Some(first) = self.entries.first()
            && first.index > floor.index.next()
        {
            return Err(missing(floor.index.next(), first.index.get() - 1));
        }
        let marked = self.mark.unwrap_or_default().index;
        let committed = self.hard_state.unwrap_or_default().commit;
        let needed = marked.max(committed).max(ended);
        if needed > self.last_index() {
            return Err(missing(self.last_index().next(), needed.get()));
        }
        Ok(())
    }
}

/// All groups, while the logs are read in the order in which they were written.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    logs: BTreeMap<GroupId, Seen>,
}

/// A group's log so far, and where it was met last.
#[derive(Debug)]
struct Seen {
    log: GroupLog,
    /// Where the records say that it ends.
    end: RaftIndex,
    home: (Epoch, CoreId),
}

impl Groups {
    /// Takes the records of one batch of `core`'s log. Damage is reported without the file.
    pub(crate) fn take(&mut self, epoch: Epoch, core: CoreId, batch: &Batch) -> Result<(), Damage> {
        for record in &batch.records {
            let group = record.as_record().group();
            let new = || Seen { log: GroupLog::default(), end: RaftIndex::default(), home: (epoch, core) };
            let seen = self.logs.entry(group).or_insert_with(new);
            let (lived, home) = std::mem::replace(&mut seen.home, (epoch, core));
            if lived == epoch && home != core {
                let what = "the group is in two logs of the same start: files of two directories were mixed";
                return Err(Damage { group: Some(group), ..Damage::new(Path::new(""), batch.offset, what) });
            }
            seen.log.take(record);
            seen.end = end_after(record).unwrap_or(seen.end);
        }
        Ok(())
    }

    /// The finished logs, each resting on the snapshot that `base` names.
    pub(crate) fn finish(
        self,
        base: &dyn Fn(GroupId) -> Option<Position>,
    ) -> Result<BTreeMap<GroupId, GroupLog>, RecoveryError> {
        let rested = self.logs.into_iter().map(|(group, Seen { mut log, end, .. })| {
            log.rest_on(group, base(group), end)?;
            Ok((group, log))
        });
        rested.collect()
    }
}

/// Where the log of its group ends behind this record, if that says so.
fn end_after(record: &OwnedRecord) -> Option<RaftIndex> {
    match record.as_record() {
        Record::Entry { index, .. } => Some(index),
        Record::SnapshotReceived { position, .. } | Record::LogEnd { last: position, .. } => Some(position.index),
        Record::HardState { .. } | Record::Frontier { .. } | Record::SnapshotMark { .. } => None,
    }
}
