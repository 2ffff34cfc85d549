//! A member that joins, and one that leaves: what an operator does. What the groups make of it is `shard`'s.

use mutant::Mutant;
use shard::command::{Command, SystemCommand};
use shard::group::Members;
use shard::ids::{MemberId, ShardId};
use shard::membership::lingers;
use shard::shard::Shard;

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
        let is_member = self.running().any(|running| running.system.members().contains_key(&joiner));
        let at = joiner.0 as usize - 1;
        if is_member && self.nodes[at].is_absent() {
            self.nodes[at].place = Place::Here;
            self.start(at);
        }
    }

    /// A leader of every group has applied this of its members.
    fn every_group(&self, holds: impl Fn(&Members) -> bool) -> bool {
        let is_so = |shard: &Shard| shard.may_propose() && holds(shard.members());
        (0..self.plan.shards as u16).map(ShardId).all(|id| self.running().any(|running| is_so(running.shard(id))))
    }

    fn running(&self) -> impl Iterator<Item = &Running> {
        self.nodes.iter().filter_map(|node| node.running.as_ref())
    }

    /// A member of whose groups none counts on who leaves: an operator who asked that one waits for it.
    fn has_let_go(&self) -> Option<usize> {
        let groups = if mutant::is(Mutant::GoneTooEarly) { 1 } else { self.plan.shards };
        self.nodes.iter().position(|node| {
            let others = node.running.iter().filter(|_| node.id != LEAVER);
            let mut knowing = others.filter(|running| running.system.removed().contains(&LEAVER));
            knowing.any(|running| {
                let mut shards = running.shards().filter(|shard| usize::from(shard.id().0) < groups);
                !shards.any(|shard| lingers(shard, &running.system))
            })
        })
    }

    /// Who has left every group is switched off for good. Returns who has just said that it may be.
    pub(crate) fn see_off(&mut self) -> Option<usize> {
        let at = LEAVER.0 as usize - 1;
        let is_here = self.plan.changes_members > 0 && !self.nodes[at].is_absent();
        let said = self.has_let_go().filter(|_| is_here);
        if said.is_some() {
            self.nodes[at].place = Place::Absent;
            self.nodes[at].running = None;
            self.net.drop_all_for(LEAVER);
            self.counts.count(Happened::MemberRemoved);
        }
        said
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
