//! What goes wrong, when, and to whom.

use shard::ids::{MemberId, ShardId};
use shard::shard::Shard;

use crate::counts::Happened;
use crate::disk::{Damage, Fault, Survives};
use crate::world::World;

/// Steps of a node's pause, at most: several election timeouts.
const PAUSE_STEPS: usize = 600;
/// Steps of a core's.
const NAP_STEPS: usize = 200;
/// Calls within which a power cut comes that is under way.
const CUT_CALLS: usize = 40;
/// Calls within which it comes when something was said that must not be forgotten.
const LAST_CALLS: usize = 4;
/// The furthest jump of a clock: an hour, in nanoseconds.
const JUMP_NS: usize = 3_600_000_000_000;

impl World {
    /// Draws what goes wrong in this step.
    pub(crate) fn inject(&mut self) {
        let at = self.faults.below(self.nodes.len());
        let plan = self.plan.clone();
        let mut strikes = |times: usize| plan.strikes(times, &mut self.faults);
        let struck = [
            strikes(plan.kills),
            strikes(plan.power_cuts),
            strikes(plan.failed_writes),
            strikes(plan.full_disks),
            strikes(plan.partitions),
            strikes(plan.transfers),
            strikes(plan.naps),
            strikes(plan.pauses),
            strikes(plan.clock_jumps),
        ];
        let acts: [fn(&mut Self, usize); 9] = [
            Self::kill,
            Self::cut_power,
            Self::fail_writes,
            Self::fill_disk,
            Self::partition,
            Self::transfer,
            Self::nap,
            Self::pause,
            Self::jump_clock,
        ];
        for (act, _) in acts.iter().zip(struck).filter(|(_, struck)| *struck) {
            act(self, at);
        }
    }

    /// A change of members is under way: before it is done, the wrong one may lead the first group.
    pub(crate) fn upset(&mut self, member: MemberId) {
        if self.upset.is_none() && self.faults.permille(self.plan.upsets) {
            self.upset = Some(member);
        }
    }

    /// Hands the first group to a member as soon as it has a vote there.
    pub(crate) fn lead_first(&mut self, to: MemberId) {
        let running = self.nodes.iter_mut().filter_map(|node| node.running.as_mut());
        let mut first = running.map(|running| running.cores[0].shard(ShardId(0)));
        let may = |first: &&mut Shard| first.may_propose() && first.group().members().voters.contains(&to);
        if let Some(first) = first.find(may).filter(|first| first.group().me() != to) {
            first.transfer(to);
            self.upset = None;
            self.counts.count(Happened::LostLeadership);
            self.trace.line(self.now, format_args!("node {to} is to lead the first group"));
        }
    }

    /// Who has just said that another one has left may forget what it has not written.
    pub(crate) fn forget_the_last(&mut self, at: usize) {
        if self.faults.permille(self.plan.upsets) {
            let calls = self.faults.below(LAST_CALLS) as u64;
            self.nodes[at].disk.power_for.get_or_insert(calls);
        }
    }

    fn kill(&mut self, at: usize) {
        if self.nodes[at].running.is_some() {
            self.counts.count(Happened::Kill);
            self.end(at, Survives::All, "is killed");
        }
    }

    /// The power goes within the next calls of the disk.
    fn cut_power(&mut self, at: usize) {
        let calls = self.faults.below(CUT_CALLS) as u64;
        let node = &mut self.nodes[at];
        if node.running.is_some() {
            node.disk.power_for.get_or_insert(calls);
        }
    }

    fn fail_writes(&mut self, at: usize) {
        let calls = self.faults.below(CUT_CALLS) as u64;
        let node = &mut self.nodes[at];
        if node.running.is_some() {
            node.disk.fails_after.get_or_insert(calls);
        }
    }

    fn fill_disk(&mut self, at: usize) {
        let disk = &mut self.nodes[at].disk;
        disk.full = !disk.full;
        let full = disk.full;
        self.counts.add(Happened::FullDisk, u64::from(full));
        self.trace.line(self.now, format_args!("node {}'s disk is full: {full}", at + 1));
    }

    /// The disk did not do what it was asked to.
    pub(crate) fn disk_failed(&mut self, at: usize, fault: Fault) {
        let (what, text) = match fault {
            Fault::Power => (Happened::PowerCut, "loses power"),
            Fault::Write => (Happened::FailedWrite, "ends after a failed write"),
            Fault::Sync => (Happened::FailedSync, "ends after a failed fsync"),
            Fault::Full | Fault::Missing => panic!("the log of node {} met {fault:?}", at + 1),
        };
        self.counts.count(what);
        // A failed sync may have made a part durable, like a power cut.
        let survives = self.survives(&[Survives::Nothing, Survives::Some, Survives::Beginnings, Survives::All]);
        self.end(at, survives, text);
    }

    fn end(&mut self, at: usize, survives: Survives, text: &str) {
        let node = &mut self.nodes[at];
        let ended = node.running.take();
        node.paused = 0;
        let id = node.id;
        let cores = ended.into_iter().flat_map(|running| running.cores);
        self.report_failed(at, cores.flat_map(|core| core.receiving).collect());
        self.net.drop_all_for(id);
        self.crash_disk_to(at, survives);
        self.trace.note(&[self.now, at as u64, survives as u64]);
        self.trace.line(self.now, format_args!("node {id} {text}; of what was not synced survives: {survives:?}"));
        self.hurt(at);
    }

    /// What happens to a disk while its node is down; only while all others hold what they promised.
    fn hurt(&mut self, at: usize) {
        let others_are_sane = self.nodes.iter().enumerate().all(|(nth, node)| nth == at || node.is_sane());
        if !others_are_sane {
            return;
        }
        let id = self.nodes[at].id;
        if self.faults.permille(self.plan.wipes) {
            self.nodes[at].wipe();
            self.counts.count(Happened::Wiped);
            self.trace.line(self.now, format_args!("node {id}'s disk is wiped"));
        }
        let kinds = [
            (self.plan.rot, Damage::Rot, Happened::Rot),
            (self.plan.misdirected, Damage::Misdirected, Happened::Misdirected),
            (self.plan.stale, Damage::Stale, Happened::Stale),
        ];
        for (rate, damage, what) in kinds {
            if !self.faults.permille(rate) {
                continue;
            }
            let node = &mut self.nodes[at];
            if let Some((path, offset)) = node.disk.damage(damage, &mut self.faults) {
                node.suspect = true;
                self.counts.count(what);
                let path = path.display();
                self.trace.line(self.now, format_args!("node {id}: {damage:?} in {path} at {offset}"));
            }
        }
    }

    fn partition(&mut self, at: usize) {
        self.net.heal();
        if self.faults.permille(300) {
            return;
        }
        self.counts.count(Happened::Partition);
        let me = self.nodes[at].id;
        let kind = self.faults.below(3);
        self.counts.add(Happened::OneWay, u64::from(kind < 2));
        for other in self.nodes.iter().map(|node| node.id).filter(|other| *other != me) {
            if kind != 1 {
                self.net.cut(me, other);
            }
            if kind != 0 {
                self.net.cut(other, me);
            }
        }
        self.trace.line(self.now, format_args!("node {me} is cut off, kind {kind}"));
    }

    fn transfer(&mut self, at: usize) {
        let to = self.nodes[self.faults.below(self.nodes.len())].id;
        let id = ShardId(self.faults.below(self.plan.shards) as u16);
        let Some(running) = &mut self.nodes[at].running else { return };
        let core = running.core_of(id);
        let shard = running.cores[core].shard(id);
        if shard.group().leads() {
            shard.transfer(to);
            self.counts.count(Happened::LostLeadership);
            self.trace.line(self.now, format_args!("node {} hands shard {id} to {to}", at + 1));
        }
    }

    fn nap(&mut self, at: usize) {
        let nap = self.faults.below(NAP_STEPS);
        if let Some(running) = &mut self.nodes[at].running {
            let core = self.faults.below(running.cores.len());
            running.cores[core].asleep = nap;
            self.counts.count(Happened::Nap);
        }
    }

    fn pause(&mut self, at: usize) {
        self.nodes[at].paused = self.faults.below(PAUSE_STEPS);
        self.counts.count(Happened::Pause);
    }

    fn jump_clock(&mut self, at: usize) {
        self.nodes[at].clock_ahead_ns = self.faults.below(JUMP_NS) as u64;
        self.counts.count(Happened::ClockJump);
    }
}
