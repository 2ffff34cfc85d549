//! The part of a group's raft log that is kept in memory: what raft may still ask for.

use std::collections::VecDeque;

use raft::prelude::{Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};

use super::members::Members;
use super::older::Older;
use crate::ids::{RaftIndex, Term};

/// raft's view of the log. Everything in here is also on its way to the disk, or there already.
///
/// Invariants: entries are consecutive and start right above `base`; `base <= applied`; `kept_bytes` is the data of the
/// entries up to `applied`.
#[derive(Debug)]
pub(super) struct MemLog {
    /// Position of the last entry that is not here any more: it is applied, and covered by the log on disk.
    base: (RaftIndex, Term),
    entries: VecDeque<Entry>,
    pub(super) hard: HardState,
    /// The last position that the shard's state contains, and the members as of there: what a snapshot would hold.
    applied: (RaftIndex, Term),
    members: Members,
    kept_bytes: usize,
    /// What is not here any more.
    older: Older,
}

impl MemLog {
    pub(super) fn new(base: (RaftIndex, Term), entries: VecDeque<Entry>, hard: HardState, members: Members) -> Self {
        for (at, entry) in entries.iter().enumerate() {
            assert_eq!(entry.index, base.0.0 + 1 + at as u64, "a gap in the recovered log");
        }
        let older = Older::new(base.0.0 + 1 + entries.len() as u64, (base.0.0, base.1.0));
        Self { base, entries, hard, applied: base, members, kept_bytes: 0, older }
    }

    /// Starts over from a snapshot that was accepted.
    pub(super) fn reset(&mut self, base: (RaftIndex, Term), members: Members) {
        self.entries.clear();
        (self.base, self.applied, self.members, self.kept_bytes) = (base, base, members, 0);
        self.older = Older::new(base.0.0 + 1, (base.0.0, base.1.0));
    }

    /// What has left the memory.
    pub(super) fn older(&mut self) -> &mut Older {
        &mut self.older
    }

    /// Position of the last entry that is not here any more.
    pub(super) fn base(&self) -> RaftIndex {
        self.base.0
    }

    pub(super) fn last(&self) -> u64 {
        self.base.0.0 + self.entries.len() as u64
    }

    /// Appends, dropping what a later leader overrides (raft §5.3).
    pub(super) fn append(&mut self, new: &[Entry]) {
        let Some(first) = new.first() else { return };
        let keep = first.index.checked_sub(self.base.0.0 + 1);
        let Some(keep) = keep.filter(|keep| *keep <= self.entries.len() as u64) else {
            panic!("entry {} appended to a log of {}..={}", first.index, self.base.0.0, self.last());
        };
        assert!(first.index > self.applied.0.0, "entry {} overrides what is applied", first.index);
        self.entries.truncate(keep as usize);
        self.entries.extend(new.iter().cloned());
    }

    /// The shard's state contains everything up to `upto`, with these members. Of the entries, at most `keep_bytes` of
    /// data stay for members that lag.
    pub(super) fn applied(&mut self, upto: (RaftIndex, Term), members: &Members, keep_bytes: usize) {
        let new = self.applied.0.0 + 1..=upto.0.0;
        self.kept_bytes += new.filter_map(|at| self.entry(at)).map(|entry| entry.data.len()).sum::<usize>();
        self.applied = upto;
        if self.members != *members {
            self.members.clone_from(members);
        }
        while self.kept_bytes > keep_bytes || keep_bytes == 0 {
            if self.entries.front().is_none_or(|entry| entry.index > upto.0.0) {
                break;
            }
            if let Some(entry) = self.entries.pop_front() {
                self.kept_bytes -= entry.data.len();
                self.older.push(entry.index, entry.term);
                self.base = (RaftIndex(entry.index), Term(entry.term));
            }
        }
    }

    fn entry(&self, index: u64) -> Option<&Entry> {
        let nth = index.checked_sub(self.base.0.0 + 1)?;
        self.entries.get(nth as usize)
    }
}

impl Storage for MemLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard.clone(), self.members.conf()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let base = self.base.0.0;
        if low <= base {
            return self.older.entries(low, high.min(base + 1), context);
        }
        assert!(high <= self.last() + 1, "entries up to {high} asked, the last is {}", self.last());
        let range = (low - base - 1) as usize..(high - base - 1) as usize;
        let mut found: Vec<Entry> = self.entries.range(range).cloned().collect();
        raft::util::limit_size(&mut found, max_size.into());
        Ok(found)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let base = self.base.0.0;
        match index.checked_sub(base) {
            None => self.older.term(index).ok_or(Error::Store(StorageError::Compacted)),
            Some(0) => Ok(self.base.1.0),
            Some(nth) => {
                let entry = self.entries.get(nth as usize - 1);
                entry.map(|e| e.term).ok_or(Error::Store(StorageError::Unavailable))
            }
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.older.floor().min(self.base.0.0 + 1))
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    /// The metadata alone: the state travels outside raft's messages.
    fn snapshot(&self, at_least: u64, _: u64) -> raft::Result<Snapshot> {
        if self.applied.0.0 == 0 || self.applied.0.0 < at_least {
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = (self.applied.0.0, self.applied.1.0);
        metadata.set_conf_state(self.members.conf());
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, ..Entry::default() }
    }

    fn log(entries: &[(u64, u64)]) -> MemLog {
        let entries = entries.iter().map(|&(i, t)| entry(i, t)).collect();
        MemLog::new((RaftIndex(1), Term(1)), entries, HardState::default(), Members::default())
    }

    #[test]
    fn a_later_leader_overrides_the_tail() {
        let mut log = log(&[(2, 1), (3, 1), (4, 1)]);
        log.append(&[entry(3, 2)]);
        assert_eq!((log.last(), log.term(3).ok()), (3, Some(2)));
    }

    #[test]
    fn what_was_forgotten_is_compacted_but_its_last_term_is_known() {
        let mut log = log(&[(2, 1), (3, 2), (4, 2)]);
        log.applied((RaftIndex(3), Term(2)), &Members::default(), 0);
        assert_eq!(log.first_index().ok(), Some(4));
        assert_eq!(log.term(3).ok(), Some(2));
        assert!(log.term(2).is_err());
        let context = GetEntriesContext::empty(false);
        assert!(matches!(log.entries(3, 5, None, context), Err(Error::Store(StorageError::Compacted))));
        let context = GetEntriesContext::empty(false);
        assert_eq!(log.entries(4, 5, None, context).map(|e| e.len()).ok(), Some(1));
    }

    #[test]
    fn a_bounded_tail_of_what_is_applied_stays() {
        let entries = (2..=9).map(|index| Entry { data: vec![0; 10].into(), ..entry(index, 1) }).collect();
        let mut log = MemLog::new((RaftIndex(1), Term(1)), entries, HardState::default(), Members::default());
        log.applied((RaftIndex(4), Term(1)), &Members::default(), 35);
        assert_eq!(log.first_index().ok(), Some(2));
        log.applied((RaftIndex(6), Term(1)), &Members::default(), 35);
        assert_eq!((log.first_index().ok(), log.last()), (Some(4), 9));
        assert_eq!(log.snapshot(0, 0).map(|s| s.get_metadata().index).ok(), Some(6));
        assert!(log.snapshot(7, 0).is_err());
    }

    #[test]
    #[should_panic(expected = "appended to a log")]
    fn a_gap_is_our_own_bug() {
        log(&[(2, 1)]).append(&[entry(4, 1)]);
    }
}
