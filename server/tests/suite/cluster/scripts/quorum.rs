//! Which members a script may take away without taking the quorum.

use std::collections::BTreeSet;

/// Who counts. A change of the members takes a moment until all groups have made it; until then both the old and the new count.
#[derive(Debug, Default)]
pub(super) struct Quorum {
    /// Members that were started and not removed.
    pub(super) members: BTreeSet<usize>,
    /// Those of them that run.
    pub(super) running: BTreeSet<usize>,
    /// Started not long ago: some group may not count them yet.
    pub(super) fresh: BTreeSet<usize>,
    /// Removed not long ago: some group may count them still.
    pub(super) leaving: BTreeSet<usize>,
}

impl Quorum {
    /// True when the groups go on without this member.
    pub(super) fn bears_loss_of(&self, nth: usize) -> bool {
        self.stands(&self.members, &self.without(nth))
    }

    /// True when a removal of this member can be carried out, and the groups go on afterwards.
    pub(super) fn bears_removal_of(&self, nth: usize) -> bool {
        let mut left = self.members.clone();
        left.remove(&nth);
        !left.is_empty() && self.stands(&self.members, &self.running) && self.stands(&left, &self.without(nth))
    }

    fn without(&self, nth: usize) -> BTreeSet<usize> {
        self.running.iter().copied().filter(|&other| other != nth).collect()
    }

    fn stands(&self, members: &BTreeSet<usize>, running: &BTreeSet<usize>) -> bool {
        let old: BTreeSet<usize> = members.difference(&self.fresh).chain(&self.leaving).copied().collect();
        let both: BTreeSet<usize> = members.union(&self.leaving).copied().collect();
        [members, &old, &both].iter().all(|voters| 2 * running.intersection(voters).count() > voters.len())
    }
}

#[test]
fn both_the_old_and_the_new_members_count() {
    let set = |members: &[usize]| members.iter().copied().collect::<BTreeSet<usize>>();
    let three = Quorum { members: set(&[0, 1, 2]), running: set(&[0, 1, 2]), ..Quorum::default() };
    assert!(three.bears_loss_of(0) && three.bears_removal_of(0));
    let two_run = Quorum { running: set(&[0, 1]), ..three };
    assert!(!two_run.bears_loss_of(0) && !two_run.bears_removal_of(0) && two_run.bears_removal_of(2));
    let joined =
        Quorum { members: set(&[0, 1, 2]), running: set(&[0, 1, 2]), fresh: set(&[1, 2]), ..Quorum::default() };
    assert!(!joined.bears_loss_of(0) && joined.bears_loss_of(1), "the first may be the only voter still");
    let shrunk = Quorum { members: set(&[0, 1]), running: set(&[0, 1]), leaving: set(&[2]), ..Quorum::default() };
    assert!(!shrunk.bears_loss_of(0));
    let exchanged = Quorum { members: set(&[0, 2, 3]), running: set(&[0, 2, 3]), fresh: set(&[3]), leaving: set(&[1]) };
    assert!(!exchanged.bears_loss_of(3), "four may count, and two of them be left");
    let alone = Quorum { members: set(&[0]), running: set(&[0]), ..Quorum::default() };
    assert!(!alone.bears_loss_of(0) && !alone.bears_removal_of(0));
}
