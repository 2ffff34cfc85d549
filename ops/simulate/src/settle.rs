//! From the faults to rest.

use std::fmt::Write as _;

use shard::command::Command;

use crate::counts::Happened;
use crate::load::found;
use crate::node::{Node, Running};
use crate::plan::ELECTION_TICKS;
use crate::world::World;

/// Rounds (of one tick each) that a healed cluster has to come to rest.
const ROUNDS_MAX: usize = 20 * ELECTION_TICKS;
/// Rounds that it has to stay there.
const CALM_ROUNDS: usize = 20;

impl World {
    /// All phases of a run: faults, healing, rest, checks.
    pub(crate) fn run(&mut self) {
        for step in 0..self.plan.steps {
            self.step();
            if step % 50 == 0 {
                self.plan_members(step);
            }
            if self.nodes[0].disk.planned_cuts > 0 {
                break;
            }
        }
        self.settle();
    }

    /// Heals everything, and sees the cluster come to rest within a bounded time.
    fn settle(&mut self) {
        self.heal();
        let mut calm = 0;
        let mut asked: Option<(u64, usize)> = None;
        for round in 0..ROUNDS_MAX {
            self.round();
            if self.nodes.iter().any(Node::is_refused) {
                // Alone, and its data is damaged: refusing is all that it can do.
                drop(self.history.check(&self.truth));
                return;
            }
            self.plan_members(self.plan.steps);
            calm = if self.at_rest() { calm + 1 } else { 0 };
            if calm == 1 {
                self.rest_after = round + 1;
            }
            // Once it looks like rest, a write has to be acknowledged; its client tries again if nothing comes back.
            let answered = asked.is_some_and(|(ticket, _)| !self.tickets.contains_key(&ticket));
            if calm >= 5 && !answered && asked.is_none_or(|(_, at)| round > at + 3 * ELECTION_TICKS) {
                asked = Some((self.next_ticket, round));
                let at = self.nodes.iter().rposition(|node| !node.is_absent()).unwrap_or(0);
                self.ask(at);
            }
            if calm >= CALM_ROUNDS && answered {
                return self.check_rest();
            }
        }
        panic!("liveness: healed, and never came to rest: {}", self.describe());
    }

    fn heal(&mut self) {
        self.trace.line(self.now, format_args!("everything is healed"));
        self.net.calm();
        let plan = &mut self.plan;
        (plan.cuts_in_boot, plan.wipes, plan.rot, plan.misdirected, plan.stale) = (0, 0, 0, 0, 0);
        for node in &mut self.nodes {
            (node.paused, node.disk_speed, node.disk.full) = (0, 1000, false);
            node.disk.keep_power();
            node.running.iter_mut().flat_map(|running| &mut running.cores).for_each(|core| core.asleep = 0);
        }
    }

    /// Everything that is under way comes through, and a tick passes.
    fn round(&mut self) {
        for at in 0..self.nodes.len() {
            if self.nodes[at].is_absent() || self.nodes[at].is_refused() {
                continue;
            }
            if self.nodes[at].running.is_none() {
                self.start(at);
            }
            let cores = self.nodes[at].running.as_ref().map_or(0, |running| running.cores.len());
            for core in 0..cores {
                self.pass_time();
                (0..20 * self.plan.shards).for_each(|_| self.receive(at, core));
                self.tick(at, core);
                self.turn(at, core);
                for _ in 0..4 {
                    (0..60).for_each(|_| self.disk(at, core));
                    self.turn(at, core);
                    (0..50).for_each(|_| self.read_mail(at, core));
                    (0..4).for_each(|_| self.read_log(at, core));
                    self.turn(at, core);
                }
                self.note_shown(at, core);
                self.read(at, core);
            }
            self.frontier(at);
        }
    }

    /// One node is the primary, and all show the same.
    fn at_rest(&self) -> bool {
        let present = self.nodes.iter().filter(|node| !node.is_absent());
        let all: Option<Vec<_>> = present.map(|node| node.running.as_ref()).collect();
        let Some(running) = all else { return false };
        let members_done = self.plan.changes_members == 0 || self.counts.of(Happened::MemberRemoved) == 1;
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

    fn check_rest(&mut self) {
        let rebased = self.truth.own.values().filter(|command| matches!(command, Command::Rebase { .. })).count();
        self.counts.add(Happened::Rebased, rebased as u64);
        self.counts.add(Happened::Expired, self.truth.expired.len() as u64);
        let newest = self.truth.indices.last_key_value().map_or(0, |(index, _)| *index);
        let model = self.history.check(&self.truth);
        for node in self.nodes.iter().filter(|node| !node.is_absent()) {
            let running = node.running.as_ref().expect("all are up");
            assert!(running.visible.0 >= newest, "index {newest} is committed and never shown");
            assert!(!node.is_forgetful(), "node {} never remembers: {}", node.id, self.describe());
            running.watcher.check_whole(running.visible, &self.truth);
            for path in model.paths() {
                let held = running.shards().find_map(|shard| found(shard.store().get(path)));
                let text = String::from_utf8_lossy(path);
                assert_eq!(held.as_ref(), model.get(path), "lost: {text} on node {}", node.id);
            }
        }
    }

    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            let state = match &node.running {
                _ if node.is_absent() => "absent".to_owned(),
                _ if node.is_refused() => "refused".to_owned(),
                None => "down".to_owned(),
                Some(running) => {
                    let (visible, primary) = (running.visible, running.primary);
                    format!("visible {visible}, open {}, primary {primary:?}", running.is_primary())
                }
            };
            let _ = writeln!(
                text,
                "node {}: {state}, forgetful {}, suspect {}",
                node.id,
                node.is_forgetful(),
                node.suspect
            );
            for shard in node.running.iter().flat_map(Running::shards) {
                let group = shard.group();
                let _ = writeln!(
                    text,
                    "  shard {} {group:?} leader {:?} last {} durable {} applied {:?} reached {} top {} members {:?}",
                    shard.id(),
                    shard.leader(),
                    group.last(),
                    group.durable(),
                    shard.applied(),
                    shard.reached(),
                    shard.top(),
                    group.members()
                );
            }
        }
        text
    }
}
