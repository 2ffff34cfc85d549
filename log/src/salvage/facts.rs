//! What is certain about a group's log when parts of the records are missing.
//!
//! An entry is known by index and term, and has the same content and the same entry before it wherever it is found. So that one
//! entry *follows* another is a fact about the group, not about one member, and worth noting wherever a log shows it: the
//! one stood at the end when the other was appended. Whether it stood, a gap leaves open; and an old segment too, where what had
//! overridden an entry can be gone with a newer one of another core. That happens only at or below a snapshot mark.
//!
//! What a member may have promised is bounded by where its log ends. That is known exactly when an entry of the group was read
//! behind the last gap, for the last one appended is the last of the log. Where every segment begins, its end is noted (by older builds
//! without its term), and the member's term with it: no entry is of a later one.

use std::collections::{BTreeMap, BTreeSet};

use super::segment::Find;
use crate::groups::{Entry, Frontier};
use crate::ids::{Epoch, GroupId, Position, RaftIndex};
use crate::record::{HardState, OwnedRecord, Record};

/// One entry, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Its content; none: it was there, and could not be read.
    pub entry: Option<Entry>,
    /// The term of the entry before it.
    pub after: Option<u64>,
}

/// Where a member's log ends, as far as its disk still says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Its last entry, or what stands for it.
    pub tip: Option<Position>,
    /// The index of that.
    pub last: Option<RaftIndex>,
    /// The term that the member is in.
    pub term: Option<u64>,
}

impl End {
    /// Whether the log surely ends no later than at `position`, in the order in which raft compares logs.
    pub fn is_at_most(&self, position: Position) -> bool {
        match (self.tip, self.term) {
            (Some(tip), _) => (tip.term, tip.index) <= (position.term, position.index),
            (None, Some(term)) if term == position.term => self.last.is_some_and(|last| last <= position.index),
            (None, term) => term.is_some_and(|term| term < position.term),
        }
    }
}

/// All that is certain about one group from one member's logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Every entry that was met, overridden ones too.
    pub entries: BTreeMap<Position, Known>,
    /// Positions that snapshots were made of: committed.
    pub marks: BTreeSet<Position>,
    /// Entries that stood in this member's log when it knew them to be committed.
    pub committed: BTreeSet<Position>,
    /// How far it was surely committed.
    pub commit: RaftIndex,
    /// The highest term met.
    pub term: u64,
    /// The furthest frontier.
    pub frontier: Option<Frontier>,
    /// Where this member's log ends.
    pub end: End,
    /// Two things were read of which one can not be.
    pub contradiction: Option<Position>,
}

/// An entry's term, and the start in which it was written; none: it was committed and stands whatever else does.
type Standing = (u64, Option<Epoch>);

/// A group's facts, while its records are read in the order in which they were written.
#[derive(Debug)]
pub(super) struct Gatherer {
    facts: Facts,
    /// What stands at the end of the log, as far as that is known.
    standing: BTreeMap<RaftIndex, Standing>,
    /// The newest mark in the order of the log.
    mark: Option<Position>,
    /// Facts that hold only above every mark: an entry, and the term of the one before it.
    in_doubt: Vec<(Position, u64)>,
    /// What the batch that is being read said of the commit, and in which start that was.
    said: Option<(RaftIndex, Epoch)>,
    /// A gap may have held a mark above all that are known. Where a segment begins the newest is repeated.
    marks_hidden: bool,
}

impl Default for Gatherer {
    fn default() -> Self {
        // Before the first record nothing has been promised, nor after what was given up: every segment repeats the term. So it
        // is for a group of which nothing is found, if there is a log.
        let facts = Facts { end: End { term: Some(0), ..End::default() }, ..Facts::default() };
        Self { facts, standing: BTreeMap::new(), mark: None, in_doubt: Vec::new(), said: None, marks_hidden: false }
    }
}

impl Gatherer {
    /// Anything may have been written here.
    pub(super) fn gap(&mut self) {
        self.said = None;
        self.standing.clear();
        self.stand_on_mark();
        self.facts.end = End::default();
        self.marks_hidden = true;
    }

    /// What comes next is behind segments that are not there. What was given up a snapshot covers; of what is lost nobody knows that
    /// it was not. So what comes next follows nothing that is certain, until the end of the log is repeated.
    pub(super) fn front(&mut self) {
        self.standing.clear();
        self.stand_on_mark();
    }

    pub(super) fn take(&mut self, epoch: Epoch, find: &Find) {
        let record = match find {
            Find::Hollow(_, position) => return self.append(epoch, *position, None),
            Find::Record(record) => record,
        };
        match record.as_record() {
            Record::Entry { term, index, .. } => self.append(epoch, Position { index, term }, Some(entry_of(record))),
            Record::HardState { state, .. } => self.promise(epoch, state),
            Record::Frontier { visible, clock, .. } => {
                let seen = self.facts.frontier.get_or_insert_default();
                let newer = (visible, clock) > (seen.visible, seen.clock);
                *seen = if newer { Frontier { visible, clock } } else { *seen };
            }
            Record::SnapshotMark { position, .. } => self.mark(position),
            Record::SnapshotReceived { position, .. } => {
                self.standing.clear();
                self.mark(position);
                self.facts.end.tip = Some(position);
                self.facts.end.last = Some(position.index);
            }
            Record::LogEnd { last, .. } => self.log_end(epoch, last),
        }
    }

    /// Takes what `apart` knows and what is true whenever it was: nothing of where the log ended, or of what stood in it.
    pub(super) fn learn(&mut self, apart: Self) {
        let Facts { entries, marks, committed, commit, term, frontier, end: _, contradiction } = apart.facts;
        for (position, Known { entry, after }) in entries {
            self.note(position, entry);
            if let Some(after) = after {
                self.follows(position, after);
            }
        }
        let facts = &mut self.facts;
        facts.marks.extend(marks);
        facts.committed.extend(committed);
        (facts.commit, facts.term) = (facts.commit.max(commit), facts.term.max(term));
        facts.frontier = facts.frontier.into_iter().chain(frontier).max_by_key(|seen| (seen.visible, seen.clock));
        facts.contradiction = facts.contradiction.or(contradiction);
    }

    /// `floor`: an index that is no lower than any of which a snapshot was made.
    pub(super) fn finish(mut self, floor: RaftIndex) -> Facts {
        let highest = self.facts.marks.last().map_or(floor, |mark| mark.index.max(floor));
        let in_doubt = std::mem::take(&mut self.in_doubt).into_iter().filter(|_| !self.marks_hidden);
        for (position, after) in in_doubt.collect::<Vec<_>>() {
            // What is above every mark was not given up; and what a snapshot was made of was never overridden.
            let before = Position { index: RaftIndex::new(position.index.get() - 1), term: after };
            if before.index > highest || self.facts.marks.contains(&before) {
                self.follows(position, after);
            }
        }
        self.facts
    }

    /// A batch was read to its end. It was written in one piece: what it says of the commit goes with the log as it is behind it.
    /// Of what an earlier start wrote it is not certain that it stands: see above.
    pub(super) fn settle(&mut self) {
        let Some((commit, epoch)) = self.said.take() else { return };
        let standing = self.standing.range(..=commit).rev().take_while(|(_, (_, written))| *written == Some(epoch));
        for (index, (term, _)) in standing {
            if !self.facts.committed.insert(Position { index: *index, term: *term }) {
                break;
            }
        }
    }

    fn promise(&mut self, epoch: Epoch, state: HardState) {
        self.said = Some((state.commit, epoch));
        self.facts.commit = self.facts.commit.max(state.commit);
        self.facts.term = self.facts.term.max(state.term);
        let (tip, mark) = (self.facts.end.tip.map_or(0, |tip| tip.term), self.mark.map_or(0, |mark| mark.term));
        self.facts.end.term = Some(state.term.max(tip).max(mark));
    }

    fn append(&mut self, epoch: Epoch, position: Position, entry: Option<Entry>) {
        let Position { index, term } = position;
        self.note(position, entry);
        self.standing.split_off(&index);
        let before = index.get().checked_sub(1).and_then(|before| self.standing.get(&RaftIndex::new(before))).copied();
        match before {
            Some((after, written)) if written.is_none_or(|written| written == epoch) => self.follows(position, after),
            Some((after, _)) => self.in_doubt.push((position, after)),
            // What lies between is not known.
            None => {
                self.standing.clear();
                self.stand_on_mark();
            }
        }
        self.standing.insert(index, (term, Some(epoch)));
        let end = &mut self.facts.end;
        (end.tip, end.last) = (Some(position), Some(index));
        end.term = end.term.map(|known| known.max(term));
        self.facts.term = self.facts.term.max(term);
    }

    fn note(&mut self, position: Position, entry: Option<Entry>) {
        let known = self.facts.entries.entry(position).or_default();
        match (&known.entry, entry) {
            (Some(old), Some(new)) if *old != new => self.facts.contradiction = Some(position),
            (None, Some(new)) => known.entry = Some(new),
            _ => {}
        }
    }

    fn follows(&mut self, position: Position, after: u64) {
        let known = self.facts.entries.entry(position).or_default();
        if after > position.term || known.after.is_some_and(|known| known != after) {
            self.facts.contradiction = Some(position);
        }
        known.after = Some(after);
    }

    fn mark(&mut self, position: Position) {
        self.facts.marks.insert(position);
        self.facts.term = self.facts.term.max(position.term);
        self.facts.commit = self.facts.commit.max(position.index);
        self.mark = self.mark.max(Some(position));
        self.facts.end.term = self.facts.end.term.map(|known| known.max(position.term));
        self.stand_on_mark();
    }

    /// What a snapshot was made of is committed: it stands in this log for good.
    fn stand_on_mark(&mut self) {
        if let Some(mark) = self.mark {
            self.standing.insert(mark.index, (mark.term, None));
        }
    }

    fn log_end(&mut self, epoch: Epoch, last: Position) {
        let Position { index, term } = last;
        self.standing.split_off(&index.next());
        self.facts.end.last = Some(index);
        // The group's mark, if it has one, is told before this.
        self.marks_hidden = false;
        if term != 0 {
            let standing = self.standing.get(&index).copied().filter(|(standing, _)| *standing == term);
            if standing.is_none() {
                // Something between what was read and this is missing, or was given up.
                self.standing.clear();
                self.stand_on_mark();
            }
            let written = standing.map_or(Some(epoch), |(_, written)| written.map(|_| epoch));
            self.standing.insert(index, (term, written));
            self.facts.end.tip = Some(last);
            return;
        }
        // Below the mark an entry that seems to stand can have been overridden.
        let is_certain = self.mark.is_none_or(|mark| index >= mark.index);
        let standing = self.standing.get(&index).filter(|_| is_certain);
        self.facts.end.tip = standing.map(|(term, _)| Position { index, term: *term });
    }
}

fn entry_of(record: &OwnedRecord) -> Entry {
    let Record::Entry { term, index, entry_type, first, count, .. } = record.as_record() else {
        panic!("only entries are kept")
    };
    // A copy: the batch's memory goes.
    let payload = bytes::Bytes::copy_from_slice(record.payload());
    Entry { term, index, entry_type, first, count, payload }
}

/// Whose record it is.
pub(super) fn group_of(find: &Find) -> GroupId {
    match find {
        Find::Record(record) => record.as_record().group(),
        Find::Hollow(group, _) => *group,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::record::{EntryType, decode};

    const GROUP: GroupId = GroupId::new(1);

    const fn at(index: u64, term: u64) -> Position {
        Position { index: RaftIndex::new(index), term }
    }

    fn take(gatherer: &mut Gatherer, epoch: u64, record: Record<'_>) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        let record = decode(&mut Bytes::from(bytes)).expect("it was just encoded");
        gatherer.take(Epoch::new(epoch), &Find::Record(record));
    }

    fn entry(index: u64, term: u64) -> Record<'static> {
        let (index, entry_type) = (RaftIndex::new(index), EntryType::Normal);
        Record::Entry { group: GROUP, term, index, entry_type, first: 0, count: 0, payload: b"" }
    }

    /// Two entries, and one of the next start, whose segment repeats the end as `last`; then a gap if `gap`.
    fn two_starts(last: Position, gap: bool) -> Facts {
        let mut gatherer = Gatherer::default();
        take(&mut gatherer, 1, entry(1, 1));
        take(&mut gatherer, 1, entry(2, 1));
        take(&mut gatherer, 2, Record::LogEnd { group: GROUP, last });
        take(&mut gatherer, 2, entry(3, 4));
        if gap {
            gatherer.gap();
        }
        gatherer.finish(RaftIndex::new(0))
    }

    #[test]
    fn without_its_term_the_end_shows_what_follows_it_only_where_no_gap_may_hide_a_snapshot() {
        assert_eq!(two_starts(at(2, 0), false).entries[&at(3, 4)].after, Some(1));
        assert_eq!(two_starts(at(2, 0), true).entries[&at(3, 4)].after, None);
        assert_eq!(two_starts(at(2, 1), true).entries[&at(3, 4)].after, Some(1));
    }

    #[test]
    fn an_end_of_another_term_shows_that_something_is_missing() {
        let facts = two_starts(at(2, 3), false);
        assert_eq!((facts.entries[&at(3, 4)].after, facts.contradiction), (Some(3), None));
        assert_eq!(facts.entries[&at(2, 1)].after, Some(1), "it was written all the same");
    }
}
