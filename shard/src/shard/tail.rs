//! The batches of a shard's log that are not committed, as far as their indices go.

use std::collections::VecDeque;

use mutant::Mutant;

use crate::group::LogEntry;
use crate::ids::{Index, RaftIndex, Term};

/// One batch in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logged {
    pub(super) at: RaftIndex,
    pub(super) term: Term,
    /// What its turn counted from: at or below its first command.
    pub(super) first: Index,
    pub(super) last: Index,
    pub(super) clock: u64,
    pub(super) commands: usize,
}

/// Invariant: positions and indices strictly grow.
#[derive(Debug, Default)]
pub(super) struct Tail(VecDeque<Logged>);

impl Tail {
    pub(super) fn push(&mut self, logged: Logged) {
        if let Some(before) = self.0.back() {
            assert!(before.at < logged.at, "position {} after {}", logged.at, before.at);
            assert!(before.last < logged.first, "index {} after {}", logged.first, before.last);
        }
        self.0.push_back(logged);
    }

    /// Takes in entries as they are appended to the log: another leader's override what was there. A leader's own are
    /// there already.
    pub(super) fn append(&mut self, entries: &[LogEntry]) {
        let Some(first) = entries.first() else { return };
        let ours = |logged: &Logged| {
            let nth = logged.at.0.checked_sub(first.index.0);
            let entry = nth.and_then(|nth| entries.get(nth as usize));
            nth.is_none() || entry.is_some_and(|entry| entry.term == logged.term)
        };
        let keep = self.0.iter().take_while(|logged| ours(logged)).count();
        self.0.truncate(keep);
        let known = self.0.back().map_or(RaftIndex(0), |logged| logged.at);
        entries.iter().filter(|entry| entry.index > known).filter_map(logged).for_each(|logged| self.push(logged));
    }

    /// Everything up to `upto` is committed.
    pub(super) fn commit(&mut self, upto: RaftIndex) {
        let upto = RaftIndex(upto.0 + u64::from(mutant::is(Mutant::CommitsOneTooMany)));
        while self.0.front().is_some_and(|logged| logged.at <= upto) {
            self.0.pop_front();
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn first(&self) -> Option<Index> {
        self.0.front().map(|logged| logged.first)
    }

    pub(super) fn last(&self) -> Option<Index> {
        self.0.back().map(|logged| logged.last)
    }

    /// The last index, and the clock of its batch.
    pub(super) fn clock(&self) -> Option<(Index, u64)> {
        self.0.back().map(|logged| (logged.last, logged.clock))
    }

    pub(super) fn commands(&self) -> usize {
        self.0.iter().map(|logged| logged.commands).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn logged(entry: &LogEntry) -> Option<Logged> {
    let bytes = super::batch_of(entry)?;
    let batch = bytes.batch();
    Some(Logged {
        at: entry.index,
        term: entry.term,
        first: batch.first(),
        last: batch.last()?,
        clock: batch.now(),
        commands: batch.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Batch, Command, Numbered};

    fn entry(at: u64, term: u64, first: u64) -> LogEntry {
        let commands = [0, 2].map(|offset| {
            let command = Command::Rebase { by_ns: 0 };
            Numbered { offset, command, origin: 0, process: 0 }
        });
        let data = Batch { first, now: 7, commands: commands.into() }.encode().into_bytes();
        LogEntry { index: RaftIndex(at), term: Term(term), conf_change: false, data }
    }

    fn nothing(at: u64, term: u64) -> LogEntry {
        LogEntry { data: bytes::Bytes::new(), ..entry(at, term, 1) }
    }

    #[test]
    fn another_leaders_entries_take_the_place_of_those_at_their_positions() {
        let mut tail = Tail::default();
        tail.append(&[entry(2, 1, 10), nothing(3, 1), entry(4, 1, 20), entry(5, 1, 30)]);
        assert_eq!((tail.first(), tail.last(), tail.commands()), (Some(Index(10)), Some(Index(32)), 6));
        tail.append(&[entry(4, 1, 20), entry(5, 1, 30), entry(6, 1, 40)]);
        assert_eq!(tail.last(), Some(Index(42)));
        tail.append(&[nothing(4, 2)]);
        assert_eq!(tail.last(), Some(Index(12)), "the highest index went with the entries that held it");
        tail.append(&[entry(5, 2, 20)]);
        tail.commit(RaftIndex(4));
        assert_eq!((tail.first(), tail.last()), (Some(Index(20)), Some(Index(22))));
    }
}
