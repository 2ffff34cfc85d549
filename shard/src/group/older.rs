//! The part of a group's raft log that is on the disk and not in memory any more: what its entries' terms are, and which
//! of them raft has asked for.

use std::cell::RefCell;
use std::collections::VecDeque;

use raft::prelude::Entry;
use raft::{Error, GetEntriesContext, StorageError};

use super::seed::Fetch;
use crate::ids::RaftIndex;

/// Requests of one group at a time. Each is for another position that some member has come to; raft asks again for what
/// was turned away, at the latest when that member answers a heartbeat.
const ASKED_MAX: usize = 4;

/// Data of the entries in one answer, in bytes: what one message takes, so that raft asks for the next while that is sent.
const FETCH_BYTES: usize = super::MESSAGE_BYTES as usize;

/// See the module's description.
///
/// Invariants: `terms` begins at or below `floor - 1` and goes up to the last entry that has left the memory.
#[derive(Debug)]
pub(super) struct Older {
    /// The first position that may be had from the disk. It only grows.
    floor: u64,
    /// Runs of entries of one term: the first position, and the term.
    terms: VecDeque<(u64, u64)>,
    asked: RefCell<Vec<Asked>>,
    /// What was fetched for raft, for the moment in which it is asked again.
    fetched: Option<(u64, Vec<Entry>)>,
}

/// Entries that raft wants.
#[derive(Debug)]
struct Asked {
    first: u64,
    upto: u64,
    context: GetEntriesContext,
    handed_out: bool,
}

impl Older {
    /// Nothing has left the memory yet. What will is on the disk from `floor` on; `base` is what lies below the memory.
    pub(super) fn new(floor: u64, base: (u64, u64)) -> Self {
        Self { floor, terms: VecDeque::from([base]), asked: RefCell::default(), fetched: None }
    }

    /// The first position that may be had from the disk.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// An entry leaves the memory.
    pub(super) fn push(&mut self, index: u64, term: u64) {
        if index < self.floor {
            self.terms.clear();
        }
        if self.terms.back().is_none_or(|run| run.1 != term) {
            self.terms.push_back((index, term));
        }
    }

    /// The term of an entry that has left the memory.
    pub(super) fn term(&self, index: u64) -> Option<u64> {
        if index + 1 < self.floor {
            return None;
        }
        let run = self.terms.partition_point(|run| run.0 <= index);
        self.terms.get(run.checked_sub(1)?).map(|run| run.1)
    }

    /// Answers raft, or notes what it wants. `high` is not above the first entry in memory.
    pub(super) fn entries(&self, low: u64, high: u64, context: GetEntriesContext) -> raft::Result<Vec<Entry>> {
        if let Some((_, entries)) = self.fetched.as_ref().filter(|fetched| fetched.0 == low) {
            return Ok(entries.clone());
        }
        if low < self.floor || !context.can_async() {
            return Err(Error::Store(StorageError::Compacted));
        }
        let mut asked = self.asked.borrow_mut();
        if asked.len() < ASKED_MAX && asked.iter().all(|other| other.first != low) {
            asked.push(Asked { first: low, upto: high - 1, context, handed_out: false });
        }
        Err(Error::Store(StorageError::LogTemporarilyUnavailable))
    }

    /// What raft has asked for since the last call.
    pub(super) fn take_asked(&mut self) -> impl Iterator<Item = Fetch> {
        let new = self.asked.get_mut().iter_mut().filter(|asked| !asked.handed_out);
        new.map(|asked| {
            asked.handed_out = true;
            Fetch { first: RaftIndex(asked.first), upto: RaftIndex(asked.upto), max_bytes: FETCH_BYTES }
        })
    }

    /// Who asked for the entries from `first` on, if that still matters.
    pub(super) fn answer(&mut self, first: u64) -> Option<GetEntriesContext> {
        let asked = self.asked.get_mut();
        let at = asked.iter().position(|asked| asked.first == first && asked.handed_out)?;
        Some(asked.swap_remove(at).context)
    }

    /// Whether these are the entries that have left the memory, from `first` on.
    pub(super) fn are_right(&self, first: u64, entries: &[Entry]) -> bool {
        (first..).zip(entries).all(|(index, entry)| entry.index == index && self.term(index) == Some(entry.term))
    }

    /// What raft gets when it asks again, until this is taken back.
    pub(super) fn lend(&mut self, fetched: Option<(u64, Vec<Entry>)>) {
        self.fetched = fetched;
    }

    /// The disk has nothing below `floor`.
    pub(super) fn raise_floor(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
        while self.terms.get(1).is_some_and(|second| second.0 < self.floor) {
            self.terms.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn older(entries: &[(u64, u64)]) -> Older {
        let mut older = Older::new(2, (1, 1));
        for &(index, term) in entries {
            older.push(index, term);
        }
        older
    }

    #[test]
    fn terms_are_known_down_to_the_one_below_the_floor() {
        let mut older = older(&[(2, 1), (3, 1), (4, 3), (5, 3), (6, 4)]);
        assert_eq!((1..=6).filter_map(|at| older.term(at)).collect::<Vec<_>>(), [1, 1, 1, 3, 3, 4]);
        older.raise_floor(5);
        assert_eq!((3..=6).map(|at| older.term(at)).collect::<Vec<_>>(), [None, Some(3), Some(3), Some(4)]);
        assert_eq!(older.terms.len(), 2);
        older.raise_floor(3);
        assert_eq!(older.floor(), 5, "what is gone does not come back");
    }

    #[test]
    fn what_came_from_an_earlier_start_is_not_to_be_had() {
        let mut older = Older::new(4, (1, 1));
        for (index, term) in [(2, 1), (3, 2), (4, 2), (5, 3)] {
            older.push(index, term);
        }
        assert_eq!((2..=5).map(|at| older.term(at)).collect::<Vec<_>>(), [None, Some(2), Some(2), Some(3)]);
    }

    #[test]
    fn raft_is_answered_once_the_entries_are_there() {
        let mut older = older(&[(2, 1), (3, 1)]);
        let ask = |older: &Older| older.entries(2, 4, GetEntriesContext::empty(true));
        assert!(matches!(ask(&older), Err(Error::Store(StorageError::LogTemporarilyUnavailable))));
        assert!(ask(&older).is_err(), "asked again meanwhile");
        let fetches: Vec<Fetch> = older.take_asked().collect();
        assert_eq!(fetches.iter().map(|f| (f.first.0, f.upto.0)).collect::<Vec<_>>(), [(2, 3)]);
        assert_eq!(older.take_asked().count(), 0, "handed out once");
        let entries = vec![Entry { index: 2, term: 1, ..Entry::default() }];
        assert!(older.are_right(2, &entries));
        assert!(!older.are_right(3, &entries));
        assert!(older.answer(2).is_some());
        older.lend(Some((2, entries)));
        assert_eq!(ask(&older).map(|entries| entries.len()).ok(), Some(1));
        older.lend(None);
        assert!(ask(&older).is_err());
    }

    #[test]
    fn below_the_floor_and_for_those_who_cannot_wait_there_is_nothing() {
        let older = older(&[(2, 1), (3, 1)]);
        for (low, can_wait) in [(1, true), (2, false)] {
            let answer = older.entries(low, 4, GetEntriesContext::empty(can_wait));
            assert!(matches!(answer, Err(Error::Store(StorageError::Compacted))));
        }
    }
}
