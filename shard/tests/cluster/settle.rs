//! From the faults to rest: the phases of a run.

use std::fmt::Write as _;

use shard::command::SystemCommand;
use shard::group::Members;
use shard::ids::{MemberId, ShardId};

use crate::plan::{ELECTION_TICKS, Plan};
use crate::world::World;

/// Rounds (of one tick each) that a healed cluster has to come to rest.
const ROUNDS_MAX: usize = 40 * ELECTION_TICKS;

/// Who leaves, if members change.
const LEAVER: MemberId = MemberId(1);

/// A whole run of one seed.
pub(crate) fn run(seed: u64, plan: Plan) -> World {
    let mut world = World::new(seed, plan);
    for step in 0..world.plan.steps {
        world.step();
        if step % 50 == 0 {
            world.plan_members(step);
        }
    }
    world.settle(seed);
    world
}

impl World {
    /// The changes of members that are wanted by now.
    fn plan_members(&mut self, step: usize) {
        if !self.plan.changes_members {
            return;
        }
        let joiner = self.nodes[self.nodes.len() - 1].id;
        if step == 0 {
            for id in 1..=self.plan.founders as u64 {
                self.want(&add(MemberId(id)));
            }
        }
        if step > self.plan.steps / 4 && self.want(&add(joiner)) {
            let at = self.nodes.len() - 1;
            self.nodes[at].absent = false;
            self.start(at);
        }
        if step > self.plan.steps / 2
            && self.every_group(|members| members.voters.contains(&joiner))
            && self.want(&SystemCommand::RemoveMember { id: LEAVER.0 })
        {
            self.counts.promoted += 1;
        }
        self.see_off();
    }

    /// A change of the membership is wanted. False: it is no news.
    fn want(&mut self, change: &SystemCommand) -> bool {
        self.system.apply(change).is_ok()
    }

    fn every_group(&self, holds: impl Fn(&Members) -> bool) -> bool {
        (0..self.plan.shards).map(ShardId).all(|id| self.group(id, &holds))
    }

    /// What a group's leader has applied of its members.
    fn group(&self, id: ShardId, holds: impl Fn(&Members) -> bool) -> bool {
        let running = self.nodes.iter().filter_map(|node| node.running.as_ref());
        running.map(|running| running.shard(id)).any(|shard| shard.may_propose() && holds(shard.members()))
    }

    /// Who has left every group is switched off for good.
    fn see_off(&mut self) {
        let at = LEAVER.0 as usize - 1;
        if !self.nodes[at].absent && self.every_group(|members| !members.contains(LEAVER)) {
            self.nodes[at].absent = true;
            self.nodes[at].running = None;
            self.net.drop_all_for(LEAVER);
            self.counts.removed += 1;
        }
    }

    /// Heals everything, and sees the cluster come to rest within a bounded time.
    fn settle(&mut self, seed: u64) {
        self.net.calm();
        self.counts.lost = self.net.lost;
        self.plan.slow_disk = false;
        for node in &mut self.nodes {
            node.running.iter_mut().flat_map(|running| &mut running.cores).for_each(|core| core.asleep = 0);
        }
        let mut calm = 0;
        let mut asked: Option<(u64, usize)> = None;
        for round in 0..ROUNDS_MAX {
            self.round();
            self.plan_members(self.plan.steps);
            calm = if self.at_rest() { calm + 1 } else { 0 };
            // Once it looks like rest, a write has to be acknowledged; its client tries again if nothing comes back.
            let answered = asked.is_some_and(|(ticket, _)| !self.tickets.contains_key(&ticket));
            if calm >= 5 && !answered && asked.is_none_or(|(_, at)| round > at + 3 * ELECTION_TICKS) {
                asked = Some((self.next_ticket, round));
                let at = self.nodes.iter().rposition(|node| !node.absent).unwrap_or(0);
                self.ask(at);
            }
            if calm >= 20 && answered {
                self.counts.rounds_to_rest = round as u64;
                return self.check_rest();
            }
        }
        panic!("seed {seed}: healed, and never came to rest: {}", self.describe());
    }

    /// Everything that is under way comes through, and a tick passes.
    fn round(&mut self) {
        for at in 0..self.nodes.len() {
            if self.nodes[at].absent {
                continue;
            }
            if self.nodes[at].running.is_none() {
                self.start(at);
            }
            let cores = self.nodes[at].running.as_ref().map_or(0, |running| running.cores.len());
            for core in 0..cores {
                self.now += 1;
                self.net.now = self.now;
                for _ in 0..20 * usize::from(self.plan.shards) {
                    self.receive(at, core);
                }
                self.tick(at, core);
                self.turn(at, core);
                for _ in 0..4 {
                    (0..100).for_each(|_| self.sync(at, core));
                    self.turn(at, core);
                    (0..50).for_each(|_| self.read_mail(at, core));
                    (0..4).for_each(|_| self.read_log(at, core));
                    self.turn(at, core);
                }
            }
            self.frontier(at);
        }
    }

    /// One node is the primary, and all show the same.
    fn at_rest(&self) -> bool {
        let present = self.nodes.iter().filter(|node| !node.absent);
        let running: Vec<_> = present.filter_map(|node| node.running.as_ref()).collect();
        let members_done = !self.plan.changes_members || self.counts.removed == 1;
        let first = &running[0];
        members_done
            && running.iter().filter(|running| running.is_primary()).count() == 1
            && running.iter().all(|running| {
                running.visible == first.visible
                    && running.shards().all(|shard| {
                        let other = first.shard(shard.id());
                        shard.is_settled() && shard.store().applied() == other.store().applied()
                    })
            })
    }

    fn check_rest(&self) {
        let newest = self.truth.indices.last_key_value().map_or(0, |(index, _)| *index);
        for node in self.nodes.iter().filter(|node| !node.absent) {
            let running = node.running.as_ref().expect("all are up");
            assert!(running.visible.0 >= newest, "index {newest} is committed and never shown");
            assert!(!node.is_amnesiac(), "node {} never remembers: {}", node.id, self.describe());
            running.watcher.check_whole(running.visible, &self.truth);
        }
    }

    fn describe(&self) -> String {
        let mut text = format!("{:?}\n", self.plan);
        for node in &self.nodes {
            let Some(running) = &node.running else { continue };
            let _ = writeln!(
                text,
                "node {} visible {} open {} primary {:?} amnesia {:?}",
                node.id,
                running.visible,
                running.is_primary(),
                running.primary,
                node.amnesia
            );
            for shard in running.shards() {
                let _ = writeln!(
                    text,
                    "  shard {} {:?} leader {:?} last {} durable {} applied {:?} reached {} top {} members {:?}",
                    shard.id(),
                    shard.group(),
                    shard.leader(),
                    shard.group().last(),
                    shard.group().durable(),
                    shard.applied(),
                    shard.reached(),
                    shard.top(),
                    shard.group().members()
                );
            }
        }
        text
    }
}

fn add(member: MemberId) -> SystemCommand {
    let peer_urls = vec![format!("http://node{member}")];
    SystemCommand::AddMember { id: member.0, name: String::new(), peer_urls }
}
