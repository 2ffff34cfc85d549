//! The cluster; one step touches one core of one node.

use std::collections::BTreeMap;

use shard::group::LogEntry;
use shard::ids::{MemberId, ShardId};

use crate::boot::{Start, Stopped};
use crate::checkers::{History, Truth};
use crate::core::Turn;
use crate::counts::{Counts, Happened};
use crate::disk::{Fault, Survives};
use crate::network::Network;
use crate::node::{Birth, Node, Place};
use crate::plan::Plan;
use crate::trace::Trace;
use shard::random::Random;

/// Nanoseconds of a step.
const STEP_NS: u64 = 1_000_000_000 / STEPS_PER_SECOND;
/// A run takes minutes of its own time: long enough for keys to expire.
pub(crate) const STEPS_PER_SECOND: u64 = 100;
/// Commands that clients ask a node for at a time, on average.
const ASKED: usize = 4;
/// What the world's clock reads in the beginning.
const BEGIN_NS: u64 = 1_000_000_000_000;

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) nodes: Vec<Node>,
    pub(crate) net: Network,
    pub(crate) truth: Truth,
    pub(crate) history: History,
    pub(crate) counts: Counts,
    pub(crate) trace: Trace,
    pub(crate) now: u64,
    pub(crate) schedule: Random,
    pub(crate) faults: Random,
    pub(crate) load: Random,
    /// For what a wide load has more than others.
    pub(crate) extra: Random,
    /// Ticket to what had been acknowledged when its command was asked for.
    pub(crate) tickets: BTreeMap<u64, u64>,
    pub(crate) next_ticket: u64,
    next_process: u64,
    /// Who is to lead the first group once it can.
    pub(crate) upset: Option<MemberId>,
    /// Ticks from the healing to the rest that lasted.
    pub(crate) rest_after: usize,
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan, readable: bool) -> Self {
        let node = |n: usize| Node::new(MemberId(n as u64), &plan, n > plan.founders);
        let mut world = Self {
            net: Network::new(seed, &plan),
            nodes: (1..=plan.nodes()).map(node).collect(),
            plan,
            truth: Truth::default(),
            history: History::default(),
            counts: Counts::default(),
            trace: Trace::new(readable),
            now: 0,
            schedule: Random::new(seed, 3),
            faults: Random::new(seed, 4),
            load: Random::new(seed, 5),
            extra: Random::new(seed, 6),
            tickets: BTreeMap::new(),
            next_ticket: 1,
            next_process: 1,
            upset: None,
            rest_after: 0,
        };
        (0..world.plan.founders).for_each(|at| world.start(at));
        world
    }

    /// The members other than this one that there are.
    pub(crate) fn others(&self, at: usize) -> Vec<MemberId> {
        let me = self.nodes[at].id;
        self.nodes.iter().filter(|node| !node.is_absent() && node.id != me).map(|node| node.id).collect()
    }

    /// What a node's clock reads, in nanoseconds.
    pub(crate) fn clock(&self, at: usize) -> u64 {
        let node = &self.nodes[at];
        let ahead = node.running.as_ref().map_or(node.clock_ahead_ns, |running| running.clock_ahead_ns);
        BEGIN_NS + self.now * STEP_NS + ahead
    }

    pub(crate) fn step(&mut self) {
        self.pass_time();
        self.inject();
        let at = self.schedule.below(self.nodes.len());
        let node = &mut self.nodes[at];
        if node.is_absent() || node.is_refused() {
            return;
        }
        if node.paused > 0 {
            node.paused -= 1;
            if node.paused == 0 && self.plan.wide == 1 {
                // It does not know yet how long it stood still, and a client has waited.
                self.ask_read(at, 0);
                self.turn(at, 0);
            }
            return;
        }
        let Some(running) = &mut node.running else {
            if self.faults.permille(30) {
                self.start(at);
            }
            return;
        };
        let core = self.schedule.below(running.cores.len());
        if running.cores[core].asleep > 0 {
            running.cores[core].asleep -= 1;
            return;
        }
        let some = 1 + self.schedule.below(3 * running.cores[core].shards.len());
        let what = self.schedule.below(100);
        self.trace.note(&[self.now, at as u64, core as u64, what as u64]);
        match what {
            0..36 => (0..some).for_each(|_| self.receive(at, core)),
            36..46 => self.tick(at, core),
            46..70 => self.some_disk(at, core, 2 + some),
            70..80 => self.read_mail(at, core),
            80..87 => (0..=self.load.below(2 * ASKED)).for_each(|_| self.ask(at)),
            87..89 => self.frontier(at),
            89..91 => self.note_shown(at, core),
            91..94 => self.maybe_snapshot(at, core),
            94..96 => self.ask_read(at, core),
            96..98 => self.read_log(at, core),
            _ => {}
        }
        self.turn(at, core);
        if let Some(said) = self.see_off() {
            self.forget_the_last(said);
        }
        self.read(at, core);
        self.watch_past(at, core);
    }

    pub(crate) fn pass_time(&mut self) {
        self.now += 1;
        self.net.now = self.now;
        if let Some(to) = self.upset {
            self.lead_first(to);
        }
    }

    fn some_disk(&mut self, at: usize, core: usize, calls: usize) {
        for _ in 0..calls {
            if self.schedule.permille(self.nodes[at].disk_speed) {
                self.disk(at, core);
            } else {
                self.counts.count(Happened::SlowDisk);
            }
        }
    }

    fn maybe_snapshot(&mut self, at: usize, core: usize) {
        if self.schedule.permille(self.plan.snapshots * 10) {
            self.snapshot(at, core);
        }
    }

    /// Runs a turn of the core, and checks everything.
    pub(crate) fn turn(&mut self, at: usize, core: usize) {
        let mut turn = Turn::default();
        if self.around(at, core, |core, around| core.turn(around, &mut turn)).is_none() {
            return;
        }
        let Some(running) = &mut self.nodes[at].running else { return };
        if core == 0 {
            let first = running.cores[0].shard(ShardId(0));
            let primary = first.primary();
            if turn.applied.system {
                running.system = first.store().system().clone();
            }
            if running.primary != primary {
                running.primary = primary;
                let id = self.nodes[at].id;
                self.trace.line(self.now, format_args!("node {id} follows {primary:?}"));
            }
        }
        let Some(running) = &mut self.nodes[at].running else { return };
        running.cores[0].mail.extend(turn.mail_to_first.drain(..));
        self.counts.add(Happened::SnapshotSent, turn.snapshots);
        self.observe(at, core, &turn);
        self.take_answers(at, turn);
        self.tell_senders();
    }

    /// Looks at what the core's logs have come to.
    fn observe(&mut self, at: usize, core: usize, turn: &Turn) {
        let Node { id, mirrors, running, birth, .. } = &mut self.nodes[at];
        let Some(running) = running else { return };
        self.truth.now = self.now;
        for write in &turn.writes {
            let mirror = &mut mirrors[usize::from(write.shard.0)];
            if let Some((base, _)) = write.received {
                mirror.entries.clear();
                mirror.committed = base.0;
            }
            if let Some(first) = write.entries.first() {
                mirror.entries.split_off(&first.index.0);
            }
            mirror.entries.extend(write.entries.iter().map(|entry: &LogEntry| (entry.index.0, entry.clone())));
        }
        for shard in &running.cores[core].shards {
            let seat = usize::from(shard.id().0);
            self.truth.commit(shard.id(), &mut mirrors[seat], shard.group().committed().0);
            // A digest visits every key: only when there is something new.
            if mirrors[seat].state.replace(shard.store().applied()) != Some(shard.store().applied()) {
                self.truth.state(shard.id(), shard.store().applied(), shard.store().digest());
                self.truth.events_of(shard);
            }
        }
        if *birth == Birth::Forgetful && !running.shards().any(shard::shard::Shard::is_amnesiac) {
            *birth = Birth::Joined;
        }
        for [shard, position, term] in std::mem::take(&mut self.truth.news) {
            self.trace.note(&[shard, position, term]);
            self.trace.line(self.now, format_args!("node {id}: shard {shard} commits {position} of term {term}"));
        }
        let visible = running.order.visible();
        assert!(running.visible <= visible, "I3: visible went back");
        running.visible = visible;
        if running.booted {
            self.truth.show(visible, |id| running.shard(id).position_upto(shard::ids::Index(u64::MAX)).0);
        }
    }

    /// Starts a node from what is durable.
    pub(crate) fn start(&mut self, at: usize) {
        self.next_process += 1;
        let members = self.nodes.iter().filter(|node| !node.is_absent()).map(|node| node.id).collect();
        let (plan, process, counts) = (&self.plan, self.next_process, &mut self.counts);
        let node = &mut self.nodes[at];
        if self.faults.permille(plan.cuts_in_boot) {
            node.disk.power_for = Some(self.faults.below(60) as u64);
        }
        // A start on a full disk lives on its ballast, which is not simulated.
        let full = std::mem::take(&mut node.disk.full);
        let started = node.boot(&mut Start { plan, members, process, random: &mut self.faults, counts });
        node.disk.full = full;
        let id = node.id;
        match started {
            Ok(()) => {
                node.disk.power_for = None;
                self.trace.line(self.now, format_args!("node {id} starts as process {process}"));
                let cores = node.running.as_ref().map_or(0, |running| running.cores.len());
                (0..cores).for_each(|core| self.turn(at, core));
                self.nodes[at].running.iter_mut().for_each(|running| running.booted = true);
            }
            Err(Stopped::Disk(Fault::Power)) => {
                self.trace.line(self.now, format_args!("node {id} loses power in its start"));
                self.counts.count(Happened::CutInBoot);
                self.crash_disk(at);
            }
            Err(Stopped::Disk(fault)) => panic!("a start met {fault:?}"),
            Err(Stopped::Log(error)) => {
                node.assert_damaged(plan, &error);
                self.trace.line(self.now, format_args!("node {id} is refused: {error}"));
                self.counts.count(Happened::Damaged);
                self.counts.count(Happened::Refused);
                self.give_up_data(at);
            }
        }
    }

    /// An operator's part, when a start is refused: among others, the member is given an empty disk.
    fn give_up_data(&mut self, at: usize) {
        if self.others(at).is_empty() {
            self.nodes[at].place = Place::Refused;
        } else {
            self.nodes[at].wipe();
        }
    }

    /// What the crash of a node leaves of what was not synced.
    pub(crate) fn crash_disk(&mut self, at: usize) {
        let kinds = [Survives::Nothing, Survives::Some, Survives::Some, Survives::Beginnings, Survives::All];
        let survives = self.survives(&kinds);
        self.crash_disk_to(at, survives);
    }

    /// What a cut of the power leaves: one of these, unless it was planned.
    pub(crate) fn survives(&mut self, kinds: &[Survives]) -> Survives {
        let drawn = kinds[self.faults.below(kinds.len())];
        if self.plan.cut_at == 0 { drawn } else { Survives::ALL[self.plan.cut_leaves % Survives::ALL.len()] }
    }

    pub(crate) fn crash_disk_to(&mut self, at: usize, survives: Survives) {
        let torn = self.nodes[at].disk.crash(survives, &mut self.faults);
        self.counts.add(Happened::TornWrite, u64::from(torn));
    }
}
