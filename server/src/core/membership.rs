//! The members of the groups follow the membership that shard 0 keeps.
//!
//! A change of the membership is one command in shard 0. Whoever is the primary then brings every group in line with it,
//! one change at a time, and goes on with that after a change of the primary: what a group lacks is seen by comparing.
//! A new member gets no vote before it has caught up, so one that never comes costs nothing.
//!
//! Who leads group 0 pulls the others, and must be able to lead them: a member gets its vote there last, and leaves there
//! first. A regime could not open otherwise, and so nobody could bring the groups in line either.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use shard::group::{MemberChange, Members, PeerProgress};
use shard::ids::{MemberId, RaftIndex, ShardId};
use shard::shard::Shard;
use shard::system::System;

use super::{Core, Inner};

/// Entries that a learner may lack when it gets its vote: what is under way in a busy group.
const BEHIND_MAX: u64 = 256;

impl Inner {
    /// Every tick, on the primary: proposes the next change of each group that needs one.
    pub(super) fn keep_members(&mut self) {
        let system = self.node.system();
        let lingers = |shard: &Shard| shard.group().members().all().any(|member| system.removed().contains(&member));
        let (linger, lingering) = (self.shards.iter().any(lingers), &self.node.lingering[self.me]);
        lingering.store(linger, Ordering::Release);
        if !linger && !std::sync::Arc::ptr_eq(&system, &self.node.system()) {
            // Another member was removed meanwhile, and looked for in vain in what is stale now.
            lingering.store(true, Ordering::Release);
        }
        self.node.groups.note(self.shards.iter().map(|shard| (shard.id(), shard.group().members())));
        if !self.node.order.is_open() {
            return;
        }
        let me = MemberId(self.node.member);
        for shard in &mut self.shards {
            let Some(change) = next_change(&system, shard) else { continue };
            if !self.node.groups.is_time_for(change, shard.id()) {
                continue;
            }
            if change == MemberChange::Remove(me) {
                // The others follow who leads group 0.
                if shard.id() == ShardId(0) {
                    hand_over(shard);
                }
            } else if let Ok(position) = shard.propose_members(change) {
                tracing::info!(target: "raft", "shard {}: {change:?} proposed at {position}", shard.id());
            }
        }
    }

    /// Every tick: notes when the groups of a member that lost its data know again what was promised.
    pub(super) fn remember(&mut self) {
        if self.forgetful && !self.shards.iter().any(Shard::is_amnesiac) {
            self.forgetful = false;
            self.node.forgetful.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Who the members of a node's groups are, for all its executors. Looked at and changed once per tick.
pub(super) struct Groups(Mutex<Vec<Option<Members>>>);

impl Groups {
    /// Of so many groups nothing is known yet.
    pub(super) fn new(groups: usize) -> Self {
        Self(Mutex::new(vec![None; groups]))
    }

    fn note<'a>(&self, members: impl Iterator<Item = (ShardId, &'a Members)>) {
        let mut known = self.known();
        for (shard, members) in members {
            let entry = &mut known[usize::from(shard.0)];
            if entry.as_ref() != Some(members) {
                *entry = Some(members.clone());
            }
        }
    }

    /// Whether the other groups have come far enough for a change of one.
    fn is_time_for(&self, change: MemberChange, shard: ShardId) -> bool {
        let known = self.known();
        let is_first = shard == ShardId(0);
        let votes =
            |id, members: &Option<Members>| members.as_ref().is_some_and(|members| members.voters.contains(&id));
        match change {
            MemberChange::AddLearner(_) => true,
            MemberChange::Promote(id) => !is_first || known.iter().skip(1).all(|members| votes(id, members)),
            MemberChange::Remove(id) => is_first || known[0].as_ref().is_some_and(|members| !members.contains(id)),
        }
    }

    fn known(&self) -> MutexGuard<'_, Vec<Option<Members>>> {
        // A panicking holder ends the process (`panic = "abort"`), so the lock is never poisoned.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// Before the process ends: hands the regime over, so that nobody has to wait for an election. Group 0 goes first, and
    /// pulls the others after it. True once this executor leads nothing, or there is nobody to hand over to.
    pub(crate) fn hand_over(&self) -> bool {
        let mut inner = self.inner.borrow_mut();
        let Some(first) = inner.shards.first_mut() else { return true };
        if first.id() == ShardId(0) && first.group().leads() && !hand_over(first) {
            return true;
        }
        let done = inner.shards.iter().all(|shard| !shard.group().leads() || shard.group().is_alone());
        drop(inner);
        self.stir();
        done
    }
}

/// What brings a group nearer to the membership.
fn next_change(system: &System, shard: &Shard) -> Option<MemberChange> {
    let members = shard.group().members();
    if let Some(gone) = members.all().find(|member| system.removed().contains(member)) {
        return Some(MemberChange::Remove(gone));
    }
    if let Some(new) = system.members().keys().find(|member| !members.contains(**member)) {
        return Some(MemberChange::AddLearner(*new));
    }
    let committed = shard.group().committed();
    let ready = shard.progress().find(|(member, progress)| has_caught_up(members, *member, progress, committed));
    ready.map(|(member, _)| MemberChange::Promote(member))
}

fn has_caught_up(members: &Members, member: MemberId, progress: &PeerProgress, committed: RaftIndex) -> bool {
    // raft takes a new member for active before it has said anything.
    let answers = progress.recent_active && progress.matched > RaftIndex(0);
    members.learners.contains(&member) && answers && progress.matched.0 + BEHIND_MAX >= committed.0
}

/// Hands a group over to the voter that can take over soonest: that has most. False: there is none.
pub(super) fn hand_over(shard: &mut Shard) -> bool {
    let voters = &shard.group().members().voters;
    let fit = shard.progress().filter(|(member, progress)| voters.contains(member) && progress.recent_active);
    let best = fit.max_by_key(|(member, progress)| (progress.matched, *member)).map(|(member, _)| member);
    best.map(|best| shard.transfer(best)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: MemberId = MemberId(3);

    fn voters(ids: &[u64]) -> Members {
        Members::of_voters(ids.iter().copied().map(MemberId))
    }

    fn note(groups: &Groups, shard: u16, members: &Members) {
        groups.note(std::iter::once((ShardId(shard), members)));
    }

    #[test]
    fn a_member_votes_in_the_first_group_last() {
        let groups = Groups::new(3);
        let promote = MemberChange::Promote(NEW);
        assert!(!groups.is_time_for(promote, ShardId(0)), "nothing is known of the others");
        assert!(groups.is_time_for(promote, ShardId(1)));
        note(&groups, 1, &voters(&[1, 3]));
        note(&groups, 2, &voters(&[1]));
        assert!(!groups.is_time_for(promote, ShardId(0)));
        note(&groups, 2, &voters(&[1, 3]));
        assert!(groups.is_time_for(promote, ShardId(0)));
    }

    #[test]
    fn a_member_leaves_the_first_group_first() {
        let groups = Groups::new(2);
        let remove = MemberChange::Remove(NEW);
        assert!(groups.is_time_for(remove, ShardId(0)));
        assert!(!groups.is_time_for(remove, ShardId(1)), "nothing is known of the first");
        note(&groups, 0, &voters(&[1, 3]));
        assert!(!groups.is_time_for(remove, ShardId(1)));
        note(&groups, 0, &voters(&[1]));
        assert!(groups.is_time_for(remove, ShardId(1)));
    }
}
