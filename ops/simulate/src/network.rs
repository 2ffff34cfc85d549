//! Messages on their way: lost, doubled, late, out of order, or cut off one way or both.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use mutant::Mutant;
use raft::prelude::Message;
use shard::command::Command;
use shard::ids::{Index, MemberId, RaftIndex, ShardId};

use crate::counts::{Counts, Happened};
use crate::plan::Plan;
use shard::random::Random;

/// A primary's frontier: what is visible, and every shard's position.
#[derive(Clone, Debug)]
pub(crate) struct FrontierSaid {
    pub(crate) visible: Index,
    pub(crate) positions: Vec<RaftIndex>,
    pub(crate) clock: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum Payload {
    Raft(Message),
    Frontier(Rc<FrontierSaid>),
    Snapshot { chunks: Rc<Vec<Vec<u8>>>, message: Message },
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

/// Who sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender {
    pub(crate) me: MemberId,
    pub(crate) process: u64,
}

/// Per destination, and what is cut.
pub(crate) struct Network {
    random: Random,
    loss: usize,
    duplicates: usize,
    reorder: usize,
    boxes: Vec<VecDeque<Envelope>>,
    cut: BTreeSet<(MemberId, MemberId)>,
    pub(crate) now: u64,
    /// A message is on its way for so many steps at most.
    life: u64,
    pub(crate) counts: Counts,
    /// Snapshots that were lost: their senders are told.
    pub(crate) failed: Vec<Envelope>,
}

impl Network {
    pub(crate) fn new(seed: u64, plan: &Plan) -> Self {
        Self {
            random: Random::new(seed, 2),
            loss: plan.loss,
            duplicates: plan.duplicates,
            reorder: plan.reorder,
            boxes: (0..plan.nodes()).map(|_| VecDeque::new()).collect(),
            cut: BTreeSet::new(),
            now: 0,
            life: (60 * plan.nodes() * plan.cores_max) as u64,
            counts: Counts::default(),
            failed: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, sender: Sender, to: MemberId, shard: ShardId, payload: Payload) {
        let Sender { me, process } = sender;
        let envelope = Envelope { from: me, process, to, shard, payload, sent: self.now };
        if self.random.permille(self.loss) {
            return self.lose(envelope);
        }
        let inbox = &mut self.boxes[to.0 as usize - 1];
        let once = matches!(envelope.payload, Payload::Forward { .. }) && !mutant::is(Mutant::ForwardedTwice);
        if !once && self.random.permille(self.duplicates) {
            self.counts.count(Happened::MessageDoubled);
            inbox.push_back(envelope.clone());
        }
        inbox.push_back(envelope);
    }

    /// The next message for a node, if there is one for a shard that `takes`.
    pub(crate) fn receive(&mut self, to: MemberId, takes: impl Fn(ShardId) -> bool) -> Option<Envelope> {
        let inbox = &mut self.boxes[to.0 as usize - 1];
        let among: Vec<usize> = inbox
            .iter()
            .enumerate()
            .filter(|(_, envelope)| takes(envelope.shard))
            .map(|(at, _)| at)
            .take(self.reorder)
            .collect();
        let nth = self.random.below(among.len());
        let at = *among.get(nth)?;
        let envelope = inbox.remove(at)?;
        if nth > 0 {
            self.counts.count(Happened::Reordered);
        }
        if self.cut.contains(&(envelope.from, to)) || envelope.sent + self.life < self.now {
            self.lose(envelope);
            return None;
        }
        Some(envelope)
    }

    fn lose(&mut self, envelope: Envelope) {
        self.counts.count(Happened::MessageLost);
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
        (self.loss, self.duplicates, self.reorder) = (0, 0, 1);
    }
}
