//! What clients ask for, and what they are told.

use shard::command::Command;
use shard::ids::{Index, ShardId};
use shard::refusal::Refusal;
use shard::store::Outcome;
use shard::view::NodeHandle;

use crate::checkers::{Answered, Past, Read};
use crate::core::{Asked, READS, Turn};
use crate::counts::Happened;
use crate::network::{Payload, Sender};
use crate::world::World;

/// Keys of a shard.
const KEYS: usize = 5;
/// Values that a compare-and-swap may expect.
const VALUES: usize = 5;
/// Seconds that a key lives, at most.
const TTL_MAX_S: usize = 6;

impl World {
    /// A client asks a node for a write.
    pub(crate) fn ask(&mut self, at: usize) {
        let shard = ShardId(self.load.below(self.plan.shards) as u16);
        let ticket = self.next_ticket;
        let command = self.command(shard, ticket);
        let node = &mut self.nodes[at];
        let Some(running) = &mut node.running else { return };
        self.next_ticket += 1;
        self.history.ask(ticket, &command, self.now);
        self.tickets.insert(ticket, self.truth.last_acknowledged());
        let process = running.process;
        if running.is_primary() {
            let core = running.core_of(shard);
            running.cores[core].commands.push(Asked { shard, ticket, process, command });
        } else if let Some(primary) = running.primary.filter(|primary| *primary != node.id) {
            self.counts.count(Happened::Forwarded);
            let sender = Sender { me: node.id, process };
            self.net.send(sender, primary, shard, Payload::Forward { ticket, process, command });
        }
    }

    fn command(&mut self, shard: ShardId, ticket: u64) -> Command {
        let mut command = self.plain_command(shard, ticket);
        if let Command::Set { ttl, .. } = &mut command
            && self.plan.wide == 1
            && self.extra.permille(300)
        {
            *ttl = Some(1 + self.extra.below(TTL_MAX_S) as u64);
        }
        command
    }

    fn plain_command(&mut self, shard: ShardId, ticket: u64) -> Command {
        let path = self.path(shard);
        let mut value = (ticket as usize % VALUES).to_string().into_bytes();
        match self.load.below(10) {
            0 => Command::Delete { path, dir: false, recursive: false },
            1 if self.load.permille(300) => {
                Command::Delete { path: format!("/s{shard}").into_bytes(), dir: true, recursive: true }
            }
            2..5 => {
                let prev_value = Some(self.load.below(VALUES).to_string().into_bytes());
                Command::CompareAndSwap { path, value, ttl: None, refresh: false, prev_value, prev_index: 0 }
            }
            _ => {
                if self.load.permille(200) {
                    value.resize(1 + self.load.below(self.plan.value_bytes), b'x');
                }
                Command::Set { path, value, dir: false, ttl: None, refresh: false }
            }
        }
    }

    fn path(&mut self, shard: ShardId) -> Vec<u8> {
        let name = self.load.below(KEYS);
        let hidden = if self.plan.wide == 1 && name == KEYS - 1 { "_" } else { "" };
        format!("/s{shard}/{hidden}k{name}").into_bytes()
    }

    /// A client asks for a quorum read of one group; only a primary takes it.
    pub(crate) fn ask_read(&mut self, at: usize, core: usize) {
        let Some(running) = &mut self.nodes[at].running else { return };
        if !running.is_primary() || running.cores[core].shards.is_empty() {
            return;
        }
        let context = READS + self.next_ticket;
        self.next_ticket += 1;
        running.reads.insert(context, self.truth.last_acknowledged());
        running.cores[core].shards[0].confirm(context);
    }

    /// A client reads a key from what the node shows.
    pub(crate) fn read(&mut self, at: usize, core: usize) {
        let Some(running) = &self.nodes[at].running else { return };
        let (visible, shards) = (running.visible, &running.cores[core].shards);
        if !running.booted || shards.is_empty() {
            return;
        }
        let nth = self.load.below(shards.len());
        let id = shards[nth].id();
        let path = self.path(id);
        let Some(running) = &mut self.nodes[at].running else { return };
        let shard = &mut running.cores[core].shards[nth];
        if !shard.shows(visible) || shard.oldest_unapplied().is_some_and(|first| first <= visible) {
            return;
        }
        let found = found(shard.store_mut().read(&path));
        self.counts.count(Happened::PlainRead);
        self.history.read(visible.0, Read { path, found });
    }

    /// A client watches from some index in the past on, and compares what it is shown of it with what there was.
    pub(crate) fn watch_past(&mut self, at: usize, core: usize) {
        let Some(running) = &mut self.nodes[at].running else { return };
        let shards = &mut running.cores[core].shards;
        if self.plan.wide == 0 || !running.booted || shards.is_empty() || self.extra.permille(500) {
            return;
        }
        let nth = self.extra.below(shards.len());
        let key = self.extra.below(KEYS - 1);
        let recursive = self.extra.permille(500);
        let near = self.extra.below(3) as u64;
        let far = self.extra.draw();
        let shard = &mut shards[nth];
        let (cleared, applied) = (shard.store().history().cleared().0, shard.store().applied().0);
        let since = if self.extra.permille(500) { cleared + near } else { far % (applied + 2) };
        let path = if recursive { format!("/s{}", shard.id()) } else { format!("/s{}/k{key}", shard.id()) };
        let what = Past { path: path.into_bytes(), recursive, since: Index(since.max(1)) };
        let refused = what.check(shard, &self.truth);
        self.counts.count(if refused { Happened::PastRefused } else { Happened::PastWatched });
    }

    /// Takes what a turn has for the clients.
    pub(crate) fn take_answers(&mut self, at: usize, turn: Turn) {
        let Some(running) = &mut self.nodes[at].running else { return };
        for ticket in &turn.refused {
            self.tickets.remove(ticket);
            self.counts.count(Happened::OutOfSpace);
        }
        for (ticket, visible, refusal) in &turn.made_up {
            if let Some(after) = self.tickets.remove(ticket) {
                assert!(visible.0 >= after, "refused as of {visible} what began after {after} had been acknowledged");
                self.history.refuse(visible.0, *ticket, refusal.code.number());
                self.counts.count(Happened::MadeUp);
            }
        }
        for answer in &turn.applied.answers {
            if let Some(after) = self.tickets.remove(&answer.ticket) {
                self.trace.note(&[answer.ticket, answer.index.0, u64::from(answer.result.is_ok())]);
                self.truth.acknowledge(answer.ticket, answer.index, after);
                self.history.answer(answer.ticket, answered(&answer.result));
                self.counts.count(Happened::Acknowledged);
            }
        }
        for context in turn.reads {
            let floor = running.reads.remove(&context);
            if let Some(floor) = floor.filter(|_| running.is_primary()) {
                assert!(running.visible.0 >= floor, "a quorum read at {} after {floor}", running.visible);
                self.truth.told(running.visible);
                self.counts.count(Happened::QuorumRead);
            }
        }
        if !turn.applied.ended.is_empty() && running.watcher.end() {
            self.counts.count(Happened::WatchEnded);
        }
        turn.applied.deliveries.iter().for_each(|(_, event)| running.watcher.deliver(event.index.0));
        let events = running.watcher.release(running.order.complete(), &self.truth);
        self.counts.add(Happened::WatchEvent, events);
        let visible = running.visible;
        let listed = |shard: &shard::shard::Shard| {
            shard.shows(visible) && shard.oldest_unapplied().is_none_or(|first| first > visible)
        };
        if running.booted && running.shards().all(listed) {
            running.watcher.begin(visible, running.cores.iter_mut().flat_map(|core| &mut core.shards));
        }
    }
}

/// The value and index of a file.
pub(crate) fn found(node: Result<NodeHandle, Refusal>) -> Option<(Vec<u8>, u64)> {
    let node = node.ok()?;
    let view = node.view(b"", 0);
    Some((view.value?.to_vec(), view.modified.0))
}

fn answered(result: &Result<Outcome, Refusal>) -> Answered {
    match result {
        Ok(Outcome::Event { event, .. }) => {
            let prev = event.prev.as_ref().and_then(|prev| prev.value.as_ref());
            Answered::Done { prev: prev.map(|value| value.to_vec()) }
        }
        Ok(_) => Answered::Done { prev: None },
        Err(refusal) => Answered::Refused(refusal.code.number()),
    }
}
