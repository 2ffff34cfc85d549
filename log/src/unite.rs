//! One log of a group out of what several damaged members know: an election by hand, among members that do not run.
//!
//! The argument, with n members that have a vote and q of them a majority:
//!
//! 1. *What is put together is a log.* An entry, named by index and term, was made by the one leader of that term, and has the
//!    same content and the same entry before it in every log (raft's Log Matching). So a row of entries, each known whole and
//!    each known to follow the one before it, up from a snapshot or the begin, is a log that its last entry's leader had,
//!    whichever members the pieces come from. Two neighbours follow each other if some log shows it, or if they are of one
//!    term: a leader only appends. That they stand in one log on both sides of a gap shows nothing: what stood before it may
//!    have been overridden in it. What is surely committed is in the row where its index is, if 2. holds of the row's last entry:
//!    for that nothing else need be known of the log that this entry ends.
//! 2. *It holds everything that may have been acknowledged.* That was durable on q members. Of n - q + 1 members we know that
//!    their logs end no later, by term and index, than the row; one of them is among the q. Its log held what was acknowledged,
//!    and of two logs the one that ends later holds all that is committed of the other (Leader Completeness).
//! 3. *No promise is broken.* The members that are mended go into a term that is above every one in which anybody was elected, and
//!    have voted for nobody in it: votes given in older terms can not be given again. Whoever was elected was so by q members
//!    who had his term on their disks. If we know the term of n - q + 1 members, one of them is among the q, and the next one
//!    will do. If not, there is no telling what was lost; but a term is entered only by one who has written it down for
//!    good, so that [`UNSEEN_TERMS`] further ones would have taken the disks years of nothing else.
//!
//! It needs nobody who runs, and nothing of those that are whole is changed. Who have a vote must be known, and must not have
//! changed in the time of which the logs tell.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::groups::{Entry, Frontier, GroupLog};
use crate::ids::{GroupId, Position, RaftIndex};
use crate::record::HardState;
use crate::salvage::{Facts, Known};

/// More terms than anybody enters in the time that a group exists: at ten microseconds each, the least that a durable write takes,
/// four months of elections alone. What is mended can be mended again, some million times.
pub const UNSEEN_TERMS: u64 = 1 << 40;

/// One member, as its disk has it.
#[derive(Clone, Copy, Debug)]
pub struct Witness<'a> {
    /// The member.
    pub member: u64,
    /// What is certain of its logs.
    pub facts: &'a Facts,
    /// Its snapshots of the group that read well.
    pub snapshots: &'a [Position],
    /// It has not lost anything before: its disk says what it has promised.
    pub promises: bool,
}

/// Which log is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The group.
    pub group: GroupId,
    /// Who have a vote.
    pub voters: &'a [u64],
    /// Where the group's log begins.
    pub start: Position,
    /// For which of the witnesses it is meant.
    pub own: usize,
    /// That one may start from an empty log: it was there from the begin.
    pub own_may_be_empty: bool,
}

/// A log that keeps every promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct United {
    /// The log, on the newest snapshot that the member has or is to have.
    pub log: GroupLog,
    /// Where the entries begin: at `log.base`, or at an older snapshot of the member.
    pub from: Position,
    /// Whose snapshot `log.base` is: a witness; none where the log begins with nothing, or with a snapshot of its own.
    pub borrowed: Option<usize>,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Disunion {
    /// Two disks, or one, say what can not both be.
    #[error("group {group}, index {}, term {}: two logs contradict each other", .at.index, .at.term)]
    Contradiction {
        /// The group.
        group: GroupId,
        /// Where.
        at: Position,
    },
    /// An entry that may have been acknowledged, or what leads up to it, is whole nowhere.
    #[error("group {group}: no directory has a whole copy of {}", missing_text(*.from, *.to))]
    Missing {
        /// The group.
        group: GroupId,
        /// The first missing entry.
        from: RaftIndex,
        /// The last one, as far as that is known.
        to: RaftIndex,
    },
    /// The member has nothing that its log could begin with, and nobody can lend it anything.
    #[error(
        "group {group}: no directory has a snapshot of it, and this member, which has lost its log before or joined later, can not \
         begin without one"
    )]
    NoSnapshot {
        /// The group.
        group: GroupId,
    },
    /// Of too many members it is not known where their logs end.
    #[error(
        "group {group}: it is not certain that index {}, term {} is the end of what was acknowledged: the damage hides where \
         the logs of members {} ended, or their directories were not given; of {allowed} it may be unknown", .upto.index, .upto.term, hex(.hidden)
    )]
    EndsHidden {
        /// The group.
        group: GroupId,
        /// The longest log that is whole.
        upto: Position,
        /// Of which members.
        hidden: Vec<u64>,
        /// Of how many it need not be known.
        allowed: usize,
    },
}

fn hex(members: &[u64]) -> String {
    let members: Vec<String> = members.iter().map(|member| format!("{member:x}")).collect();
    members.join(", ")
}

fn missing_text(from: RaftIndex, to: RaftIndex) -> String {
    if from >= to { format!("entry {from}") } else { format!("all of the entries {from} to {to}") }
}

/// Finds the log that the members of a group may go on with; see above for why it is one.
pub fn unite(question: &Question<'_>, witnesses: &[Witness<'_>]) -> Result<United, Disunion> {
    let pool = Pool::gather(question, witnesses)?;
    let row = pool.longest();
    let (group, upto, allowed) = (question.group, row.tip, spared(question.voters));
    let hidden = |is_known: &dyn Fn(&Witness<'_>) -> bool| -> Vec<u64> {
        let known = |voter: &&u64| witnesses.iter().any(|w| w.member == **voter && w.promises && is_known(w));
        question.voters.iter().filter(|voter| !known(voter)).copied().collect()
    };
    let ends = hidden(&|witness| witness.facts.end.is_at_most(upto));
    if ends.len() > allowed {
        let missing = pool.missing_beyond(group, &row, witnesses);
        return Err(missing.unwrap_or(Disunion::EndsHidden { group, upto, hidden: ends, allowed }));
    }
    pool.check_committed(group, &row)?;
    let terms = hidden(&|witness| witness.facts.end.term.is_some());
    let term = pool.term + if terms.len() > allowed { UNSEEN_TERMS } else { 1 };
    row.rest(question, witnesses, HardState { term, vote: 0, commit: pool.commit }, pool.frontier)
}

/// Of how many members with a vote nothing need be known: of all others together, each majority has one.
fn spared(voters: &[u64]) -> usize {
    let quorum = voters.len() / 2 + 1;
    quorum - 1
}

/// What all know together.
struct Pool<'a> {
    entries: BTreeMap<Position, (Option<&'a Entry>, Option<u64>)>,
    /// Where a log may begin.
    bases: BTreeSet<Position>,
    /// The terms of entries that are surely committed.
    committed: BTreeMap<RaftIndex, u64>,
    /// Everything up to here is committed.
    commit: RaftIndex,
    term: u64,
    frontier: Option<Frontier>,
}

/// A row of entries, each whole and each following the one before it, from a base on.
struct Row<'a> {
    tip: Position,
    /// Newest first.
    entries: Vec<&'a Entry>,
    /// All bases that it passes, newest first.
    bases: Vec<Position>,
}

impl<'a> Pool<'a> {
    fn gather(question: &Question<'_>, witnesses: &[Witness<'a>]) -> Result<Self, Disunion> {
        let mut pool = Self {
            entries: BTreeMap::new(),
            bases: BTreeSet::from([question.start]),
            committed: BTreeMap::from([(question.start.index, question.start.term)]),
            commit: question.start.index,
            term: question.start.term,
            frontier: None,
        };
        for witness in witnesses {
            let facts = witness.facts;
            if let Some(at) = facts.contradiction {
                return Err(Disunion::Contradiction { group: question.group, at });
            }
            for (at, known) in &facts.entries {
                pool.take(question.group, *at, known)?;
            }
            pool.bases.extend(witness.snapshots);
            for at in facts.committed.iter().chain(&facts.marks).chain(witness.snapshots) {
                if *pool.committed.entry(at.index).or_insert(at.term) != at.term {
                    return Err(Disunion::Contradiction { group: question.group, at: *at });
                }
            }
            pool.commit = pool.commit.max(facts.commit);
            pool.term = pool.term.max(facts.term).max(facts.end.term.unwrap_or(0));
            let both = pool.frontier.into_iter().chain(facts.frontier);
            pool.frontier = both.max_by_key(|frontier| (frontier.visible, frontier.clock));
        }
        // The leader of a term only ever appended: of its entries, none follows another's but the first.
        let is_odd = |(at, (_, after)): &(&Position, &(Option<&Entry>, Option<u64>))| {
            let index = RaftIndex::new(at.index.get().saturating_sub(1));
            after.is_some_and(|after| after != at.term) && pool.entries.contains_key(&Position { index, term: at.term })
        };
        if let Some((at, _)) = pool.entries.iter().find(is_odd) {
            return Err(Disunion::Contradiction { group: question.group, at: *at });
        }
        pool.term = pool.bases.iter().map(|base| base.term).max().unwrap_or(0).max(pool.term);
        Ok(pool)
    }

    fn take(&mut self, group: GroupId, at: Position, known: &'a Known) -> Result<(), Disunion> {
        let (entry, after) = self.entries.entry(at).or_default();
        let contradicts = matches!((*entry, &known.entry), (Some(old), Some(new)) if old != new)
            || matches!((*after, known.after), (Some(old), Some(new)) if old != new);
        if contradicts {
            return Err(Disunion::Contradiction { group, at });
        }
        *entry = entry.or(known.entry.as_ref());
        *after = after.or(known.after);
        Ok(())
    }

    /// The entry at a position and the position before it, if both are known.
    fn step(&self, at: Position) -> Option<(&'a Entry, Position)> {
        let (entry, after) = self.entries.get(&at).copied()?;
        let index = RaftIndex::new(at.index.get().checked_sub(1)?);
        // Both were made by the one leader of their term, who only ever appended.
        let same = Position { index, term: at.term };
        let after = after.or_else(|| self.entries.contains_key(&same).then_some(at.term));
        let after = after.or_else(|| self.committed.get(&index).copied().filter(|term| *term <= at.term));
        Some((entry?, Position { index, term: after? }))
    }

    /// The row that ends last in the order in which raft compares logs, down to the lowest base that it reaches.
    fn longest(&self) -> Row<'a> {
        // By index, so that what an entry follows comes before it.
        let mut reached = self.bases.clone();
        for at in self.entries.keys() {
            if self.step(*at).is_some_and(|(_, before)| reached.contains(&before)) {
                reached.insert(*at);
            }
        }
        let tip = reached.iter().copied().max_by_key(|at| (at.term, at.index)).unwrap_or_default();
        let mut row = Row { tip, entries: Vec::new(), bases: Vec::new() };
        let mut at = tip;
        loop {
            if self.bases.contains(&at) {
                row.bases.push(at);
            }
            match self.step(at).filter(|(_, before)| reached.contains(before)) {
                Some((entry, before)) => {
                    row.entries.push(entry);
                    at = before;
                }
                None => return row,
            }
        }
    }

    /// What keeps the row from reaching as far as some log surely did.
    fn missing_beyond(&self, group: GroupId, row: &Row<'_>, witnesses: &[Witness<'_>]) -> Option<Disunion> {
        let ends_later = |at: &Position| (at.term, at.index) > (row.tip.term, row.tip.index);
        let tips = witnesses.iter().filter_map(|witness| witness.facts.end.tip).filter(ends_later);
        let mut at = tips.max_by_key(|at| (at.term, at.index))?;
        while let Some((_, before)) = self.step(at) {
            at = before;
        }
        let is_whole = self.entries.get(&at).is_some_and(|(entry, _)| entry.is_some());
        let to = RaftIndex::new(at.index.get() - u64::from(is_whole));
        Some(Disunion::Missing { group, from: row.tip.index.next().min(to), to })
    }

    /// What anybody knew to be committed is on the row.
    fn check_committed(&self, group: GroupId, row: &Row<'_>) -> Result<(), Disunion> {
        if self.commit > row.tip.index {
            return Err(Disunion::Missing { group, from: row.tip.index.next(), to: self.commit });
        }
        let entries = row.entries.iter().map(|entry| (entry.index, entry.term));
        let terms: BTreeMap<RaftIndex, u64> = entries.chain(row.bases.iter().map(|at| (at.index, at.term))).collect();
        let contradicts = |(index, term): &(&RaftIndex, &u64)| {
            **index > row.tip.index || terms.get(index).is_some_and(|known| *known != **term)
        };
        match self.committed.iter().find(contradicts) {
            Some((index, term)) => Err(Disunion::Contradiction { group, at: Position { index: *index, term: *term } }),
            None => Ok(()),
        }
    }
}

impl Row<'_> {
    /// Puts the row on a snapshot that the member has; or on another's, which it is to have.
    fn rest(
        self,
        question: &Question<'_>,
        witnesses: &[Witness<'_>],
        state: HardState,
        frontier: Option<Frontier>,
    ) -> Result<United, Disunion> {
        let own = &witnesses[question.own];
        let is_own = |base: &Position| own.snapshots.contains(base);
        let is_empty_log = |base: &Position| question.own_may_be_empty && *base == question.start;
        let newest_own = own.snapshots.iter().max().copied();
        let mut borrowed = None;
        let base = match newest_own.filter(|base| self.bases.contains(base)) {
            Some(base) => base,
            None if newest_own.is_none() && self.bases.iter().any(is_empty_log) => question.start,
            None => {
                let lender = |base: &Position| witnesses.iter().position(|witness| witness.snapshots.contains(base));
                let found = self.bases.iter().find_map(|base| Some((*base, lender(base)?)));
                let is_from_begin = newest_own.is_none() && self.bases.contains(&question.start);
                let missing = || Disunion::Missing {
                    group: question.group,
                    from: newest_own.unwrap_or(question.start).index.next(),
                    to: self.bases.last().map_or(self.tip.index, |base| base.index),
                };
                let nothing = || if is_from_begin { Disunion::NoSnapshot { group: question.group } } else { missing() };
                let (base, lender) = found.ok_or_else(nothing)?;
                borrowed = Some(lender);
                base
            }
        };
        let older = self.bases.iter().filter(|at| borrowed.is_none() && is_own(at)).min().copied();
        let from = older.unwrap_or(base);
        let entries = self.entries.iter().rev().filter(|entry| entry.index > from.index);
        let state = HardState { commit: state.commit.max(base.index), ..state };
        let log = GroupLog {
            base: Some(base),
            hard_state: Some(state),
            frontier,
            mark: Some(base),
            entries: entries.map(|entry| (*entry).clone()).collect(),
        };
        Ok(United { log, from, borrowed })
    }
}
