//! A member that joins, and one that leaves: what the server does when it is told of them.

use mutant::Mutant;
use shard::group::{MemberChange, Members};
use shard::ids::{MemberId, ShardId};
use shard::shard::Shard;

use crate::counts::Happened;
use crate::node::Place;
use crate::world::World;

impl World {
    /// The changes of members that are wanted by now.
    pub(crate) fn plan_members(&mut self, step: usize) {
        if self.plan.changes_members == 0 {
            return;
        }
        let joiner = self.nodes.len() - 1;
        if self.joins.is_none() && step > self.plan.steps / 4 {
            self.joins = Some(self.nodes[joiner].id);
            self.nodes[joiner].place = Place::Here;
            self.start(joiner);
        }
        if self.leaves.is_none() && step > self.plan.steps / 2 && self.joins.is_some_and(|id| self.is_voter(id)) {
            self.counts.count(Happened::MemberAdded);
            self.leaves = Some(MemberId(1));
        }
        self.see_off();
    }

    /// Every group's leader has it among the voters.
    fn is_voter(&self, id: MemberId) -> bool {
        self.every_group(|members| members.voters.contains(&id))
    }

    fn every_group(&self, holds: impl Fn(&Members) -> bool) -> bool {
        self.first_group(&holds) && self.every_group_but_first(holds)
    }

    fn first_group(&self, holds: impl Fn(&Members) -> bool) -> bool {
        self.group(ShardId(0), holds)
    }

    fn every_group_but_first(&self, holds: impl Fn(&Members) -> bool) -> bool {
        (1..self.plan.shards as u16).map(ShardId).all(|id| self.group(id, &holds))
    }

    /// What a group's leader has applied of its members.
    fn group(&self, id: ShardId, holds: impl Fn(&Members) -> bool) -> bool {
        let running = self.nodes.iter().filter_map(|node| node.running.as_ref());
        running.map(|running| running.shard(id)).any(|shard| shard.may_propose() && holds(shard.members()))
    }

    /// Who has left every group is switched off for good.
    fn see_off(&mut self) {
        let Some(leaver) = self.leaves else { return };
        let at = leaver.0 as usize - 1;
        let early = mutant::is(Mutant::GoneTooEarly) && self.first_group(|members| !members.contains(leaver));
        if !self.nodes[at].is_absent() && (early || self.every_group(|members| !members.contains(leaver))) {
            self.nodes[at].place = Place::Absent;
            self.nodes[at].running = None;
            self.net.drop_all_for(leaver);
            self.counts.count(Happened::MemberRemoved);
            let others = self.nodes.iter_mut().filter_map(|node| node.running.as_mut());
            let shards = others.flat_map(|running| &mut running.cores).flat_map(|core| &mut core.shards);
            shards.for_each(|shard| shard.gone(leaver));
        }
    }

    /// Leaders bring their groups' members to what is wanted, one change at a time.
    pub(crate) fn change_members(&mut self, at: usize, core: usize) {
        // The leader of the first group pulls the others, and must be able to lead them: a member gets its vote there
        // last, and leaves there first.
        let votes_elsewhere =
            self.joins.is_some_and(|id| self.every_group_but_first(|members| members.voters.contains(&id)));
        let left_first = self.leaves.is_some_and(|id| self.first_group(|members| !members.contains(id)));
        let (joins, leaves) = (self.joins, self.leaves);
        let node = &mut self.nodes[at];
        let Some(running) = &mut node.running else { return };
        for shard in &mut running.cores[core].shards {
            let first = shard.id() == ShardId(0);
            let change = wanted(shard, joins, leaves).filter(|change| match change {
                MemberChange::AddLearner(_) => true,
                MemberChange::Promote(_) => !first || votes_elsewhere,
                MemberChange::Remove(_) => first || left_first,
            });
            if let Some(change) = change {
                if change == MemberChange::Remove(node.id) {
                    let heir = shard.members().voters.iter().copied().find(|voter| *voter != node.id);
                    if let Some(heir) = heir {
                        shard.transfer(heir);
                    }
                } else {
                    // Refused while another is under way: asked again at the next tick.
                    let _ = shard.propose_members(change);
                }
            }
        }
    }
}
fn wanted(shard: &Shard, joins: Option<MemberId>, leaves: Option<MemberId>) -> Option<MemberChange> {
    if !shard.may_propose() {
        return None;
    }
    let members = shard.members();
    let joining = joins.filter(|id| !members.voters.contains(id));
    if let Some(id) = joining {
        if !members.learners.contains(&id) {
            return Some(MemberChange::AddLearner(id));
        }
        let committed = shard.group().committed();
        let ready = shard.progress().any(|(peer, at)| peer == id && at.recent_active && at.matched >= committed);
        return ready.then_some(MemberChange::Promote(id));
    }
    leaves.filter(|id| members.contains(*id)).map(MemberChange::Remove)
}
