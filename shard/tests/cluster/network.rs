//! Messages on their way: lost, doubled, late, out of order, or cut off one way or both.

use std::collections::{BTreeSet, VecDeque};

use raft::prelude::Message;
use shard::command::Command;
use shard::ids::{Index, MemberId, RaftIndex, ShardId};

use crate::plan::Plan;
use shard::random::Random;

#[derive(Clone, Debug)]
pub(crate) enum Payload {
    Raft(Message),
    Frontier { visible: Index, position: RaftIndex },
    Snapshot { chunks: Vec<Vec<u8>>, message: Message },
    Forward { ticket: u64, process: u64, command: Command },
}

#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    pub(crate) from: MemberId,
    pub(crate) process: u64,
    pub(crate) to: MemberId,
    pub(crate) shard: ShardId,
    pub(crate) payload: Payload,
    sent: u64,
}

/// Per destination, and what is cut.
pub(crate) struct Network {
    random: Random,
    plan: Plan,
    boxes: Vec<VecDeque<Envelope>>,
    cut: BTreeSet<(MemberId, MemberId)>,
    pub(crate) now: u64,
    /// A message is on its way for so many steps at most.
    life: u64,
    pub(crate) lost: u64,
    /// Snapshots that were lost: their senders are told.
    pub(crate) failed: Vec<Envelope>,
}

impl Network {
    pub(crate) fn new(seed: u64, plan: &Plan, nodes: usize) -> Self {
        let life = (60 * nodes * plan.cores_max) as u64;
        let boxes = (0..nodes).map(|_| VecDeque::new()).collect();
        let (random, cut) = (Random::new(seed, 2), BTreeSet::new());
        Self { random, plan: plan.clone(), boxes, cut, now: 0, life, lost: 0, failed: Vec::new() }
    }

    pub(crate) fn send(&mut self, from: MemberId, process: u64, to: MemberId, shard: ShardId, payload: Payload) {
        let envelope = Envelope { from, process, to, shard, payload, sent: self.now };
        if self.random.permille(self.plan.loss) {
            return self.lose(envelope);
        }
        let inbox = &mut self.boxes[to.0 as usize - 1];
        let once = matches!(envelope.payload, Payload::Forward { .. });
        if !once && self.random.permille(self.plan.duplicates) {
            inbox.push_back(envelope.clone());
        }
        inbox.push_back(envelope);
    }

    /// The next message for a node, if there is one for a shard that `takes`.
    pub(crate) fn receive(&mut self, to: MemberId, takes: impl Fn(ShardId) -> bool) -> Option<Envelope> {
        let inbox = &mut self.boxes[to.0 as usize - 1];
        let among: Vec<usize> = inbox.iter().enumerate().filter(|(_, e)| takes(e.shard)).map(|(at, _)| at).collect();
        let at = *among.get(self.random.below(among.len().min(self.plan.reorder)))?;
        let envelope = inbox.remove(at)?;
        if self.cut.contains(&(envelope.from, to)) || envelope.sent + self.life < self.now {
            self.lose(envelope);
            return None;
        }
        Some(envelope)
    }

    fn lose(&mut self, envelope: Envelope) {
        self.lost += 1;
        if matches!(envelope.payload, Payload::Snapshot { .. }) {
            self.failed.push(envelope);
        }
    }

    /// What is on its way to a node that crashes is lost.
    pub(crate) fn drop_all_for(&mut self, to: MemberId) {
        for envelope in std::mem::take(&mut self.boxes[to.0 as usize - 1]) {
            self.lose(envelope);
        }
    }

    pub(crate) fn cut(&mut self, from: MemberId, to: MemberId) {
        self.cut.insert((from, to));
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    /// From now on everything arrives, in order.
    pub(crate) fn calm(&mut self) {
        self.heal();
        (self.plan.loss, self.plan.duplicates, self.plan.reorder) = (0, 0, 1);
    }
}
