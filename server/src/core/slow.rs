//! A primary whose disk is slower than the others' lets another member lead: what it is asked to write is durable on most of them long
//! before it is here, and is answered no sooner than it is here, too.

use std::sync::atomic::Ordering;
use std::time::Duration;

use shard::shard::Shard;

use super::Inner;
use super::ticker::rounds_in;

/// A write of the log that is under way for longer is late. A disk takes a hundredth of that, and a machine with much else to do some times as
/// much; but then the others are no quicker.
const LATE: Duration = Duration::from_millis(100);
/// Election timeouts for which the disk has to be late: what is over sooner is no reason to move.
const PATIENCE: u32 = 2;
/// How soon a primary that has let another one lead may do so again.
const AGAIN: Duration = Duration::from_mins(1);

/// How the disk of an executor's log keeps up with those of the other members.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Rounds in which it was late, twice, less those in which it was not: grows while it is late in more than a third of them.
    behind: u64,
    /// From this round on it may be said again.
    again_from: u64,
}

impl Pace {
    /// Another round. True while the disk has been late for `rounds` or so.
    fn round(&mut self, is_late: bool, rounds: u64) -> bool {
        self.behind = if is_late { (self.behind + 2).min(2 * rounds) } else { self.behind.saturating_sub(1) };
        self.behind >= rounds
    }
}

impl Inner {
    /// Once per round.
    pub(super) fn note_pace(&mut self) {
        let is_late = self.disk.oldest_write().is_some_and(|age| age >= LATE) && self.others_are_ahead();
        let slow = self.pace.round(is_late, rounds_in(PATIENCE * self.node.config.election));
        self.node.slow[self.me].store(slow, Ordering::Relaxed);
        if self.rounds < self.pace.again_from || !self.node.slow.iter().any(|slow| slow.load(Ordering::Relaxed)) {
            return;
        }
        if self.let_another_lead() {
            self.pace = Pace { behind: 0, again_from: self.rounds + rounds_in(AGAIN) };
            tracing::warn!(
                target: "etcdserver",
                "the disk of this member is slower than those of the others: another member is to lead. Look at the disk below the data directory"
            );
        }
    }

    /// Most members have something on their disks that this one, which leads, has not.
    fn others_are_ahead(&self) -> bool {
        let mut groups = self.shards.iter().map(Shard::group);
        groups.any(|group| group.leads() && group.committed() > group.durable())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds_until_slow(late: impl Fn(u64) -> bool) -> Option<u64> {
        let mut pace = Pace::default();
        (1..1000).find(|round| pace.round(late(*round), 20))
    }

    #[test]
    fn a_disk_that_is_late_most_of_the_time_is_slow_soon() {
        assert_eq!(rounds_until_slow(|_| true), Some(10));
        // A write of 300 ms after the other, looked at every 100 ms.
        assert!(rounds_until_slow(|round| round % 3 != 0).is_some_and(|rounds| rounds <= 20));
    }

    #[test]
    fn a_disk_that_is_late_now_and_then_is_not() {
        assert_eq!(rounds_until_slow(|round| round % 3 == 0), None);
        assert_eq!(rounds_until_slow(|round| round < 8 || round > 500 && round < 508), None);
    }

    #[test]
    fn what_was_slow_is_not_for_long_once_it_keeps_up() {
        let mut pace = Pace::default();
        assert_eq!((0..1000).filter(|_| pace.round(true, 20)).count(), 991);
        assert!((0..40).any(|_| !pace.round(false, 20)));
    }
}
