//! The cluster, its faults and its clients; one step touches one core of one node.

use std::collections::BTreeMap;

use shard::command::Command;
use shard::ids::{MemberId, RaftIndex, ShardId};
use shard::system::System;

use crate::core::{READS, Turn, Who};
use crate::network::{Network, Payload};
use crate::node::Node;
use crate::plan::{Bug, Plan};
use crate::truth::Truth;
use shard::random::Random;

/// What has happened, so that a run can prove that it did something.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) crashes: u64,
    pub(crate) wipes: u64,
    pub(crate) partitions: u64,
    pub(crate) transfers: u64,
    pub(crate) naps: u64,
    pub(crate) snapshots: u64,
    pub(crate) installed: u64,
    pub(crate) regimes: u64,
    pub(crate) acknowledged: u64,
    pub(crate) forwarded: u64,
    pub(crate) reads: u64,
    pub(crate) watches_ended: u64,
    pub(crate) promoted: u64,
    pub(crate) removed: u64,
    pub(crate) lost: u64,
    pub(crate) rounds_to_rest: u64,
    /// Times that the log on disk had what a member lacked, and had it no more.
    pub(crate) fetched: u64,
    pub(crate) not_fetched: u64,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) nodes: Vec<Node>,
    pub(crate) net: Network,
    pub(crate) truth: Truth,
    pub(crate) counts: Counts,
    pub(crate) now: u64,
    pub(crate) schedule: Random,
    faults: Random,
    pub(crate) load: Random,
    /// Ticket to what had been acknowledged when its command was asked for.
    pub(crate) tickets: BTreeMap<u64, u64>,
    pub(crate) next_ticket: u64,
    next_process: u64,
    /// The membership that is wanted. Nobody asks for it in a log here; `ops/simulate` does.
    pub(crate) system: System,
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan) -> Self {
        let nodes = plan.founders + usize::from(plan.changes_members);
        let mut world = Self {
            net: Network::new(seed, &plan, nodes),
            nodes: (1..=nodes).map(|n| Node::new(MemberId(n as u64), plan.shards, n > plan.founders)).collect(),
            plan,
            truth: Truth::default(),
            counts: Counts::default(),
            now: 0,
            schedule: Random::new(seed, 3),
            faults: Random::new(seed, 4),
            load: Random::new(seed, 5),
            tickets: BTreeMap::new(),
            next_ticket: 1,
            next_process: 1,
            system: System::default(),
        };
        (0..world.plan.founders).for_each(|at| world.start(at));
        world
    }

    pub(crate) fn step(&mut self) {
        self.now += 1;
        self.net.now = self.now;
        self.inject();
        let at = self.schedule.below(self.nodes.len());
        if self.nodes[at].absent {
            return;
        }
        let Some(running) = &mut self.nodes[at].running else {
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
        match self.schedule.below(100) {
            0..40 => (0..some).for_each(|_| self.receive(at, core)),
            40..52 => self.tick(at, core),
            52..70 if !self.plan.slow_disk || self.schedule.permille(200) => {
                (0..some).for_each(|_| self.sync(at, core));
            }
            70..80 => self.read_mail(at, core),
            80..88 => self.ask(at),
            88..92 => self.frontier(at),
            92..94 => self.note_shown(at, core),
            94 => self.snapshot(at, core),
            95 => self.ask_read(at, core),
            96..99 => self.read_log(at, core),
            _ => {}
        }
        self.turn(at, core);
    }

    /// Takes from the core what it has ready, and checks everything.
    pub(crate) fn turn(&mut self, at: usize, core: usize) {
        let (bug, reads_log) = (self.plan.bug, self.plan.log_read_entries > 0);
        let node = &mut self.nodes[at];
        let Some(running) = &mut node.running else { return };
        let who = Who { me: node.id, process: running.process, bug, reads_log };
        let mut turn = Turn::default();
        running.cores[core].submit(&running.order, self.now);
        running.cores[core].turn(core, who, &running.order, &mut self.net, &mut turn);
        if core == 0 {
            running.primary = running.cores[0].shard(ShardId(0)).primary();
        }
        running.cores[0].mail.extend(turn.mail_to_first.drain(..));
        self.counts.snapshots += turn.snapshots;
        self.observe(at, core, turn.wrote);
        self.take_answers(at, turn);
        self.tell_senders();
    }

    pub(crate) fn start(&mut self, at: usize) {
        self.next_process += 1;
        let voters: Vec<MemberId> = self.nodes.iter().filter(|node| !node.absent).map(|node| node.id).collect();
        let process = self.next_process;
        self.nodes[at].start(&self.plan, &voters, process, &mut self.faults);
        let shown = self.nodes[at].running.as_ref().map_or(0, |running| running.visible.0);
        assert!(shown <= self.truth.shown, "a disk says more than was ever shown");
        // What the log on the disk knows to be committed is there before anybody is served.
        let cores = self.nodes[at].running.as_ref().map_or(0, |running| running.cores.len());
        (0..cores).for_each(|core| self.turn(at, core));
        self.nodes[at].running.iter_mut().for_each(|running| running.booted = true);
    }

    fn inject(&mut self) {
        let nodes = self.nodes.len();
        let at = self.faults.below(nodes);
        if self.faults.permille(1) && self.faults.permille(self.plan.crashes * 300) {
            self.crash(at);
        }
        if self.faults.permille(1) && self.faults.permille(self.plan.partitions * 300) {
            self.partition(at);
        }
        if self.faults.permille(1) && self.faults.permille(self.plan.transfers * 300) {
            self.transfer(at);
        }
        if self.faults.permille(2) && self.faults.permille(self.plan.naps * 100) {
            let nap = self.faults.below(self.plan.nap_steps);
            if let Some(running) = &mut self.nodes[at].running {
                let core = self.faults.below(running.cores.len());
                running.cores[core].asleep = nap;
                self.counts.naps += 1;
            }
        }
    }

    fn crash(&mut self, at: usize) {
        let others_are_sane = self.nodes.iter().all(|node| !node.is_amnesiac());
        let node = &mut self.nodes[at];
        let Some(running) = node.running.take() else { return };
        self.counts.crashes += 1;
        self.net.drop_all_for(node.id);
        // Of what was under way, some had become durable.
        for core in running.cores {
            let durable = self.faults.below(core.queue.len() + 1);
            for operation in core.queue.into_iter().take(durable) {
                operation.writes.iter().for_each(|write| node.disk[usize::from(write.shard.0)].write(write));
            }
        }
        if self.plan.wipes && self.plan.founders > 1 && others_are_sane && self.faults.permille(500) {
            node.wipe();
            self.counts.wipes += 1;
        }
    }

    fn partition(&mut self, at: usize) {
        self.counts.partitions += 1;
        self.net.heal();
        if self.faults.permille(300) {
            return;
        }
        let me = self.nodes[at].id;
        let kind = self.faults.below(3);
        for other in self.nodes.iter().map(|node| node.id).filter(|other| *other != me) {
            if kind != 1 {
                self.net.cut(me, other);
            }
            if kind != 0 {
                self.net.cut(other, me);
            }
        }
    }

    fn transfer(&mut self, at: usize) {
        let to = self.nodes[self.faults.below(self.nodes.len())].id;
        let shard = self.faults.below(usize::from(self.plan.shards));
        if let Some(running) = &mut self.nodes[at].running {
            let id = ShardId(shard as u16);
            let core = running.core_of(id);
            running.cores[core].shard(id).transfer(to);
            self.counts.transfers += 1;
        }
    }

    /// A client asks a node for a write.
    pub(crate) fn ask(&mut self, at: usize) {
        let shard = ShardId(self.load.below(usize::from(self.plan.shards)) as u16);
        let ticket = self.next_ticket;
        let command = self.command(shard, ticket);
        let node = &mut self.nodes[at];
        let Some(running) = &mut node.running else { return };
        self.next_ticket += 1;
        self.tickets.insert(ticket, self.truth.last_acknowledged());
        let process = running.process;
        if running.is_primary() {
            let core = running.core_of(shard);
            running.cores[core].commands.push((shard, ticket, process, command));
        } else if let Some(primary) = running.primary.filter(|primary| *primary != node.id) {
            self.counts.forwarded += 1;
            self.net.send(node.id, process, primary, shard, Payload::Forward { ticket, process, command });
        }
    }

    fn command(&mut self, shard: ShardId, ticket: u64) -> Command {
        let path = format!("/s{shard}/k{}", self.load.below(5)).into_bytes();
        let value = (ticket % 7).to_string().into_bytes();
        match self.load.below(10) {
            0 => Command::Delete { path, dir: false, recursive: false },
            1 => Command::Delete { path: format!("/s{shard}").into_bytes(), dir: true, recursive: true },
            2..5 => {
                let prev_value = Some(self.load.below(7).to_string().into_bytes());
                Command::CompareAndSwap { path, value, ttl: None, refresh: false, prev_value, prev_index: 0 }
            }
            _ => Command::Set { path, value, dir: false, ttl: None, refresh: false },
        }
    }

    /// A client asks for a quorum read of one group; only a primary takes it.
    fn ask_read(&mut self, at: usize, core: usize) {
        let Some(running) = &mut self.nodes[at].running else { return };
        if !running.is_primary() || running.cores[core].shards.is_empty() {
            return;
        }
        let context = READS + self.next_ticket;
        self.next_ticket += 1;
        running.reads.insert(context, self.truth.last_acknowledged());
        running.cores[core].shards[0].confirm(context);
    }

    /// Reads from the log on disk what a group wants; a part of it, at times.
    pub(crate) fn read_log(&mut self, at: usize, core: usize) {
        let node = &mut self.nodes[at];
        let Some(running) = &mut node.running else { return };
        let Some((id, fetch)) = running.cores[core].fetches.pop_front() else { return };
        let disk = &node.disk[usize::from(id.0)];
        let some = 1 + self.faults.below(self.plan.log_read_entries);
        let stored = disk.entries.range(fetch.first.0..=fetch.upto.0).take(some);
        let there = disk.entries.contains_key(&fetch.first.0);
        let entries = stored.filter(|_| there).map(|(_, entry)| entry.clone()).collect();
        let from = disk.entries.first_key_value().map_or(fetch.upto.0 + 1, |(first, _)| *first);
        *(if there { &mut self.counts.fetched } else { &mut self.counts.not_fetched }) += 1;
        let answered = running.cores[core].shard(id).fetched(fetch.first, entries, RaftIndex(from));
        answered.expect("what was written is what is read");
    }

    /// Looks at what the core's logs have come to.
    fn observe(&mut self, at: usize, core: usize, wrote: bool) {
        let Node { mirrors, running, amnesia, .. } = &mut self.nodes[at];
        let Some(running) = running else { return };
        let writes = running.cores[core]
            .queue
            .back()
            .filter(|_| wrote)
            .map(|operation| operation.writes.as_slice())
            .unwrap_or_default();
        for write in writes {
            let mirror = &mut mirrors[usize::from(write.shard.0)];
            if let Some((base, _)) = write.received {
                mirror.entries.clear();
                mirror.committed = base.0;
            }
            if let Some(first) = write.entries.first() {
                mirror.entries.split_off(&first.index.0);
            }
            mirror.entries.extend(write.entries.iter().map(|entry| (entry.index.0, entry.clone())));
        }
        for shard in &running.cores[core].shards {
            let seat = usize::from(shard.id().0);
            self.truth.commit(shard.id(), &mut mirrors[seat], shard.group().committed().0);
            self.truth.state(shard.id(), shard.store().applied(), shard.store().digest());
            amnesia[seat] &= shard.is_amnesiac();
        }
        let visible = running.order.visible();
        assert!(running.visible <= visible, "I3: visible went back");
        running.visible = visible;
        if !running.booted {
            return;
        }
        self.truth.show(visible, |id| running.shard(id).position_upto(shard::ids::Index(u64::MAX)).0);
    }

    fn take_answers(&mut self, at: usize, turn: Turn) {
        let Some(running) = &mut self.nodes[at].running else { return };
        for answer in &turn.applied.answers {
            if let Some(after) = self.tickets.remove(&answer.ticket) {
                self.truth.acknowledge(answer.ticket, answer.index, after);
                self.counts.acknowledged += 1;
            }
        }
        for context in turn.reads {
            let floor = running.reads.remove(&context);
            if let Some(floor) = floor.filter(|_| running.is_primary()) {
                assert!(running.visible.0 >= floor, "a quorum read at {} after {floor}", running.visible);
                self.counts.reads += 1;
            }
        }
        for (_, event) in &turn.applied.deliveries {
            self.truth.event(event.index.0, &event.node.key);
        }
        if !turn.applied.ended.is_empty() {
            running.watcher.end();
            self.counts.watches_ended += 1;
        }
        turn.applied.deliveries.iter().for_each(|(_, event)| running.watcher.deliver(event.index.0));
        running.watcher.release(running.order.complete(), &self.truth);
        let visible = running.visible;
        let listed = |shard: &shard::shard::Shard| {
            shard.shows(visible) && shard.oldest_unapplied().is_none_or(|first| first > visible)
        };
        if self.plan.bug == Some(Bug::ShowsAhead) || running.shards().all(listed) {
            running.watcher.begin(visible, running.cores.iter_mut().flat_map(|core| &mut core.shards));
        }
    }
}
