//! Frontiers as one shard sees them: "what is at or below V ends, in this shard's log, at this position".

use std::collections::VecDeque;

use mutant::Mutant;

use crate::ids::{Index, RaftIndex};

/// Frontiers kept that are not reached. When a shard lags more, those in between are skipped.
const NOTES_MAX: usize = 64;

/// The frontiers that were noted, and the highest that is reached.
///
/// Invariant: the noted ones are above `reached`, and grow.
#[derive(Debug)]
pub(super) struct Reach {
    reached: Index,
    notes: VecDeque<(Index, RaftIndex)>,
}

impl Reach {
    pub(super) fn new(reached: Index) -> Self {
        Self { reached, notes: VecDeque::new() }
    }

    pub(super) fn reached(&self) -> Index {
        self.reached
    }

    pub(super) fn note(&mut self, visible: Index, position: RaftIndex) {
        if visible <= self.notes.back().map_or(self.reached, |note| note.0) {
            return;
        }
        if self.notes.len() == NOTES_MAX {
            self.notes.pop_back();
        }
        self.notes.push_back((visible, position));
    }

    /// The log is committed up to `delivered`. A later frontier may come to an earlier position than one before it, if
    /// another member sent it.
    pub(super) fn advance(&mut self, delivered: RaftIndex) {
        let delivered = RaftIndex(delivered.0 + u64::from(mutant::is(Mutant::ReachedTooEarly)));
        if let Some(last) = self.notes.iter().rposition(|note| note.1 <= delivered) {
            self.reached = self.notes[last].0;
            self.notes.drain(..=last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reaches_the_highest_frontier_whose_position_is_committed() {
        let mut reach = Reach::new(Index(5));
        for (visible, position) in [(4, 1), (10, 3), (20, 7), (15, 4), (30, 6), (40, 9)] {
            reach.note(Index(visible), RaftIndex(position));
        }
        for (delivered, want) in [(2, 5), (3, 10), (5, 10), (6, 30), (8, 30), (9, 40)] {
            reach.advance(RaftIndex(delivered));
            assert_eq!(reach.reached(), Index(want), "committed up to {delivered}");
        }
    }

    #[test]
    fn keeps_the_newest_when_there_are_too_many() {
        let mut reach = Reach::new(Index::ZERO);
        (1..=1000).for_each(|n| reach.note(Index(n), RaftIndex(n)));
        assert_eq!(reach.notes.len(), NOTES_MAX);
        reach.advance(RaftIndex(1000));
        assert_eq!(reach.reached(), Index(1000));
    }
}
