//! The part of a group's raft log that is kept in memory: what raft may still ask for.

use std::collections::VecDeque;

use raft::prelude::{ConfState, Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};

use crate::ids::{RaftIndex, Term};

/// raft's view of the log. Everything in here is also on its way to the disk, or there already.
///
/// Invariant: entries are consecutive and start right above `base`.
#[derive(Debug)]
pub(super) struct MemLog {
    /// Position of the last entry that is not here any more: it is applied, and covered by the log on disk.
    base: (RaftIndex, Term),
    entries: VecDeque<Entry>,
    pub(super) hard: HardState,
    pub(super) conf: ConfState,
}

impl MemLog {
    pub(super) fn new(base: (RaftIndex, Term), entries: VecDeque<Entry>, hard: HardState, conf: ConfState) -> Self {
        for (at, entry) in entries.iter().enumerate() {
            assert_eq!(entry.index, base.0.0 + 1 + at as u64, "a gap in the recovered log");
        }
        Self { base, entries, hard, conf }
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
        self.entries.truncate(keep as usize);
        self.entries.extend(new.iter().cloned());
    }

    /// Forgets everything up to and including `upto`, which must be applied.
    pub(super) fn forget(&mut self, upto: RaftIndex) {
        while let Some(entry) = self.entries.front() {
            if entry.index > upto.0 {
                break;
            }
            self.base = (RaftIndex(entry.index), Term(entry.term));
            self.entries.pop_front();
        }
    }
}

impl Storage for MemLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard.clone(), self.conf.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let base = self.base.0.0;
        if low <= base {
            return Err(Error::Store(StorageError::Compacted));
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
            None => Err(Error::Store(StorageError::Compacted)),
            Some(0) => Ok(self.base.1.0),
            Some(nth) => {
                let entry = self.entries.get(nth as usize - 1);
                entry.map(|e| e.term).ok_or(Error::Store(StorageError::Unavailable))
            }
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.0.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, _: u64, _: u64) -> raft::Result<Snapshot> {
        // Snapshots travel outside raft's messages; a group of one member never asks for one.
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
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
        MemLog::new((RaftIndex(1), Term(1)), entries, HardState::default(), ConfState::default())
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
        log.forget(RaftIndex(3));
        assert_eq!(log.first_index().ok(), Some(4));
        assert_eq!(log.term(3).ok(), Some(2));
        assert!(log.term(2).is_err());
        let context = GetEntriesContext::empty(false);
        assert!(matches!(log.entries(3, 5, None, context), Err(Error::Store(StorageError::Compacted))));
        let context = GetEntriesContext::empty(false);
        assert_eq!(log.entries(4, 5, None, context).map(|e| e.len()).ok(), Some(1));
    }

    #[test]
    #[should_panic(expected = "appended to a log")]
    fn a_gap_is_our_own_bug() {
        log(&[(2, 1)]).append(&[entry(4, 1)]);
    }
}
