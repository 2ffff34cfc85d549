//! A member that joins, and one that leaves: what an operator does. What the groups make of it is `shard`'s.

use mutant::Mutant;
use shard::command::{Command, SystemCommand};
use shard::group::Members;
use shard::ids::{MemberId, ShardId};

use crate::core::{Asked, NOBODY};
use crate::counts::Happened;
use crate::node::{Place, Running};
use crate::world::World;

/// Who leaves.
const LEAVER: MemberId = MemberId(1);

impl World {
    /// The changes of members that are wanted by now.
    pub(crate) fn plan_members(&mut self, step: usize) {
        if self.plan.changes_members == 0 {
            return;
        }
        let joiner = self.nodes[self.nodes.len() - 1].id;
        // The log knows of nobody in the beginning: founders say themselves that they are members.
        (1..=self.plan.founders as u64).for_each(|id| self.want(&add(MemberId(id))));
        if step >= self.plan.steps / 4 {
            self.want(&add(joiner));
        }
        self.welcome(joiner);
        if step >= self.plan.steps / 2 && self.every_group(|members| members.voters.contains(&joiner)) {
            let is_first = self.counts.of(Happened::MemberAdded) == 0;
            self.counts.add(Happened::MemberAdded, u64::from(is_first));
            self.want(&SystemCommand::RemoveMember { id: LEAVER.0 });
        }
        self.see_off();
    }

    /// Asks a primary for a change of the membership, as long as it shows one that lacks it.
    fn want(&mut self, change: &SystemCommand) {
        let running = self.nodes.iter_mut().filter_map(|node| node.running.as_mut());
        let lacking = running.filter(|running| running.is_primary() && running.system.check(change).is_ok());
        for Running { process, cores, .. } in lacking {
            let command = Command::System(change.clone());
            cores[0].commands.push(Asked { shard: ShardId(0), ticket: NOBODY, process: *process, command });
        }
    }

    /// Whom the membership has is switched on.
    fn welcome(&mut self, joiner: MemberId) {
        let mut running = self.nodes.iter().filter_map(|node| node.running.as_ref());
        let is_member = running.any(|running| running.system.members().contains_key(&joiner));
        let at = joiner.0 as usize - 1;
        if is_member && self.nodes[at].is_absent() {
            self.nodes[at].place = Place::Here;
            self.start(at);
        }
    }

    fn every_group(&self, holds: impl Fn(&Members) -> bool) -> bool {
        (0..self.plan.shards as u16).map(ShardId).all(|id| self.group(id, &holds))
    }

    /// What a group's leader has applied of its members.
    fn group(&self, id: ShardId, holds: impl Fn(&Members) -> bool) -> bool {
        let running = self.nodes.iter().filter_map(|node| node.running.as_ref());
        running.map(|running| running.shard(id)).any(|shard| shard.may_propose() && holds(shard.members()))
    }

    /// Who has left every group is switched off for good.
    fn see_off(&mut self) {
        let has_left = |members: &Members| !members.contains(LEAVER);
        let at = LEAVER.0 as usize - 1;
        let early = mutant::is(Mutant::GoneTooEarly) && self.group(ShardId(0), has_left);
        if !self.nodes[at].is_absent() && (early || self.every_group(has_left)) {
            self.nodes[at].place = Place::Absent;
            self.nodes[at].running = None;
            self.net.drop_all_for(LEAVER);
            self.counts.count(Happened::MemberRemoved);
            let others = self.nodes.iter_mut().filter_map(|node| node.running.as_mut());
            let shards = others.flat_map(|running| &mut running.cores).flat_map(|core| &mut core.shards);
            shards.for_each(|shard| shard.gone(LEAVER));
        }
    }

    /// As the server's `core/membership.rs`.
    pub(crate) fn keep_members(&mut self, at: usize, core: usize) {
        let Some(Running { order, cores, groups, system, .. }) = &mut self.nodes[at].running else { return };
        for (_, change, _) in groups.keep(&mut cores[core].shards, system, order.is_open()) {
            self.upset(change.member());
        }
    }
}

fn add(member: MemberId) -> SystemCommand {
    let peer_urls = vec![format!("http://node{member}")];
    SystemCommand::AddMember { id: member.0, name: String::new(), peer_urls }
}
