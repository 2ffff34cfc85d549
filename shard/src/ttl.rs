//! Time to live: a shard's own timeline, and which node goes next.
//!
//! Deadlines are kept on the shard's timeline, which is the primary's wall clock less an offset. When a new primary's
//! clock disagrees with the clock the log left off with, the offset moves (`Command::Rebase`) and every remaining time
//! stays what it was, at no cost per key. Only what is *shown* follows the wall clock.

use crate::ids::Index;
use mutant::Mutant;
use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::rc::Rc;

const NS_PER_S: u64 = 1_000_000_000;

/// The last instant there is, on both the timeline and the wall clock: 2262-04-11, the end of a signed 64-bit count of
/// nanoseconds. A TTL that reaches beyond is capped here. (etcd 2.3 wraps around instead, so that a long life becomes
/// a permanent or a very short one.)
pub const LAST_INSTANT: u64 = i64::MAX as u64;

/// An instant on the shard's timeline, in nanoseconds; from 1 to [`LAST_INSTANT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(NonZeroU64);

impl Deadline {
    /// The instant `ns`; none for 0, which stands for "no deadline" wherever a deadline is stored as a number, and for
    /// what lies beyond the last instant.
    pub fn from_ns(ns: u64) -> Option<Self> {
        NonZeroU64::new(ns).filter(|ns| ns.get() <= LAST_INSTANT).map(Self)
    }

    /// Nanoseconds on the shard's timeline.
    pub fn ns(self) -> u64 {
        self.0.get()
    }
}

/// Where the shard's timeline stands against the primary's wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    offset_ns: i64,
}

impl Timeline {
    /// A timeline that reads `offset_ns` less than the wall clock.
    pub fn new(offset_ns: i64) -> Self {
        Self { offset_ns }
    }

    /// What the wall clock reads more than the timeline.
    pub fn offset_ns(self) -> i64 {
        self.offset_ns
    }

    /// Follows a wall clock that has jumped by `by_ns`: remaining times stay.
    pub fn rebase(&mut self, by_ns: i64) {
        let by_ns = if mutant::is(Mutant::RebaseBackwards) { by_ns.saturating_neg() } else { by_ns };
        self.offset_ns = self.offset_ns.saturating_add(by_ns);
    }

    /// The deadline of a node written at `now` (wall clock, Unix nanoseconds) to live `ttl_s` seconds.
    pub fn deadline(self, now: u64, ttl_s: u64) -> Deadline {
        let ns = self.here(now).saturating_add(ttl_s.saturating_mul(NS_PER_S)).min(LAST_INSTANT);
        Deadline(NonZeroU64::new(ns).unwrap_or(NonZeroU64::MIN))
    }

    /// When a node goes, by the wall clock.
    pub fn expiration(self, deadline: Deadline) -> u64 {
        deadline.ns().saturating_add_signed(self.offset_ns).clamp(1, LAST_INSTANT)
    }

    /// Seconds left at `now`: rounded up, and truncated toward zero once the time is up.
    pub fn ttl_s(self, deadline: Deadline, now: u64) -> i64 {
        let (deadline, here) = (deadline.ns(), self.here(now));
        if deadline >= here {
            (deadline - here).div_ceil(NS_PER_S) as i64
        } else {
            -(((here - deadline) / NS_PER_S) as i64)
        }
    }

    /// Whether the time is up at `now`.
    pub fn is_due(self, deadline: Deadline, now: u64) -> bool {
        let early_ns = if mutant::is(Mutant::ExpiresEarly) { 2 * NS_PER_S } else { 0 };
        deadline.ns() <= self.here(now).saturating_add(early_ns)
    }

    /// The timeline's reading at the wall clock's `now`; at least 1, so that it can always be a deadline.
    fn here(self, now: u64) -> u64 {
        let here = i128::from(now) - i128::from(self.offset_ns);
        here.clamp(1, i128::from(LAST_INSTANT)) as u64
    }
}

/// One node's deadline. Ordered by time, then path. The creation tells a node from a later one at the same path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Due {
    pub(crate) deadline: Deadline,
    pub(crate) path: Rc<[u8]>,
    pub(crate) created: Index,
}

/// Every deadline of the tree, earliest first.
///
/// Invariant: each node with a deadline is here. The reverse holds only in the end: what a recursive removal took away
/// is taken out bit by bit, so a reader looks at the tree before it believes an entry.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    set: BTreeSet<Due>,
}

impl Deadlines {
    pub(crate) fn insert(&mut self, due: Due) {
        self.set.insert(due);
    }

    pub(crate) fn remove(&mut self, due: &Due) {
        self.set.remove(due);
    }

    pub(crate) fn earliest(&self) -> Option<&Due> {
        self.set.first()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Due> {
        self.set.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.set.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000 * NS_PER_S;

    #[test]
    fn shown_ttl_is_the_ceiling_of_what_is_left() {
        let line = Timeline::default();
        let deadline = line.deadline(NOW, 5);
        for (passed_ns, want) in [
            (0, 5),
            (1, 5),
            (NS_PER_S, 4),
            (4 * NS_PER_S + 1, 1),
            (5 * NS_PER_S, 0),
            (5 * NS_PER_S + 999_999_999, 0),
            (6 * NS_PER_S, -1),
            (7 * NS_PER_S + 1, -2),
        ] {
            assert_eq!(line.ttl_s(deadline, NOW + passed_ns), want, "{passed_ns} ns later");
        }
    }

    #[test]
    fn a_rebase_keeps_what_is_left_and_moves_what_is_shown() {
        let mut line = Timeline::default();
        let deadline = line.deadline(NOW, 100);
        line.rebase(-3600 * NS_PER_S as i64);
        let now = NOW - 3600 * NS_PER_S;
        assert_eq!(line.ttl_s(deadline, now), 100);
        assert_eq!(line.expiration(deadline), now + 100 * NS_PER_S);
        assert!(!line.is_due(deadline, now + 100 * NS_PER_S - 1) && line.is_due(deadline, now + 100 * NS_PER_S));
    }

    #[test]
    fn a_ttl_beyond_the_last_instant_is_capped() {
        let line = Timeline::default();
        for ttl_s in [9_223_372_036, 18_446_744_073, u64::MAX] {
            assert_eq!(line.deadline(NOW, ttl_s).ns(), LAST_INSTANT, "{ttl_s}");
        }
        assert_eq!(line.expiration(line.deadline(NOW, u64::MAX)), LAST_INSTANT);
    }

    #[test]
    fn the_edges_of_the_clock_do_not_break_it() {
        let line = Timeline::new(i64::MAX);
        assert_eq!(line.deadline(0, 0).ns(), 1);
        let mut line = Timeline::new(i64::MIN);
        line.rebase(-1);
        assert_eq!(line.deadline(u64::MAX, 1).ns(), LAST_INSTANT);
        assert_eq!(line.expiration(line.deadline(u64::MAX, 1)), 1);
    }
}
