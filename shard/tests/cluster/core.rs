//! One core of one node: its shards, its disk's queue, and what other cores have told it.

use std::collections::VecDeque;

use shard::command::{Batch, Command, Numbered};
use shard::group::Fetch;
use shard::ids::{Index, MemberId, RaftIndex, ShardId};
use shard::order::Order;
use shard::regime::Report;
use shard::shard::{Applied, Outputs, Shard};

use crate::disk::{Operation, Queue};
use crate::network::{Network, Payload};
use crate::plan::Bug;

/// Contexts of quorum rounds from here on are reads; below, they are rounds of the regime.
pub(crate) const READS: u64 = 1 << 32;

/// What one core tells another.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mail {
    /// To the first core.
    Report(Report),
    /// To every core: ask the groups.
    Confirm(u64),
    /// To every core: this much of the frontier is wanted.
    Gather(Index),
    /// To the core that sent a snapshot.
    Reported { shard: ShardId, peer: MemberId, arrived: bool },
}

pub(crate) struct Core {
    pub(crate) shards: Vec<Shard>,
    pub(crate) queue: Queue,
    pub(crate) mail: VecDeque<Mail>,
    /// What groups want from the log on disk.
    pub(crate) fetches: VecDeque<(ShardId, Fetch)>,
    /// Commands of clients, here or elsewhere, that wait for a turn.
    pub(crate) commands: Vec<(ShardId, u64, u64, Command)>,
    /// Steps that it sleeps through.
    pub(crate) asleep: usize,
}

/// Who runs a turn.
#[derive(Clone, Copy)]
pub(crate) struct Who {
    pub(crate) me: MemberId,
    pub(crate) process: u64,
    pub(crate) bug: Option<Bug>,
    pub(crate) reads_log: bool,
}

/// What a turn has led to, for the node.
#[derive(Default)]
pub(crate) struct Turn {
    pub(crate) mail_to_first: Vec<Mail>,
    pub(crate) reads: Vec<u64>,
    pub(crate) applied: Applied,
    pub(crate) snapshots: u64,
    pub(crate) removed: bool,
    /// The newest operation in the queue is of this turn.
    pub(crate) wrote: bool,
}

impl Core {
    pub(crate) fn shard(&mut self, id: ShardId) -> &mut Shard {
        self.shards.iter_mut().find(|shard| shard.id() == id).expect("the shard is on this core")
    }

    /// Numbers what clients asked for and gives it to the log.
    pub(crate) fn submit(&mut self, order: &Order, now: u64) {
        if self.commands.is_empty() || !order.is_open() {
            return;
        }
        let may = |commands: &[(ShardId, u64, u64, Command)], shards: &[Shard]| {
            let of = |id: &ShardId| shards.iter().find(|shard| shard.id() == *id);
            commands.iter().all(|(id, ..)| of(id).is_some_and(Shard::may_propose))
        };
        if !may(&self.commands, &self.shards) {
            return;
        }
        let commands = std::mem::take(&mut self.commands);
        let mut ids: Vec<ShardId> = commands.iter().map(|(id, ..)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        let first = order.take(commands.len() as u64, ids.iter().copied());
        for id in ids {
            let numbered = commands.iter().zip(0..).filter(|((of, ..), _)| *of == id);
            let commands = numbered.map(|((_, origin, process, command), offset)| Numbered {
                offset,
                command: command.clone(),
                origin: *origin,
                process: *process,
            });
            let batch = Batch { first: first.0, now, commands: commands.collect() };
            let shard = self.shard(id);
            shard.propose(&batch);
            order.publish_uncommitted(id, shard.oldest_uncommitted());
        }
    }

    /// Takes from the groups what is ready, and applies what may be shown.
    pub(crate) fn turn(&mut self, at: usize, who: Who, order: &Order, net: &mut Network, turn: &mut Turn) {
        let mut out = Outputs::default();
        for shard in &mut self.shards {
            shard.advance(&mut out);
            for (_, fetch) in out.fetches.extract_if(.., |_| !who.reads_log) {
                let nothing = shard.fetched(fetch.first, Vec::new(), RaftIndex(u64::MAX));
                nothing.expect("nothing is not wrong");
            }
            shard.advance(&mut out);
            order.note_unapplied(shard.id(), shard.oldest_unapplied());
            let uncommitted = shard.oldest_uncommitted().filter(|_| who.bug != Some(Bug::EarlyVisible));
            order.publish_uncommitted(shard.id(), uncommitted);
            order.publish_reached(shard.id(), shard.reached());
        }
        self.fetches.extend(out.fetches);
        for report in out.reports {
            if matches!(report, Report::Lost(_)) && who.bug != Some(Bug::Thaw) {
                order.close();
            }
            turn.mail_to_first.push(Mail::Report(report));
        }
        for (shard, context) in out.confirmed {
            if context >= READS {
                turn.reads.push(context);
            } else {
                let top = self.shard(shard).top();
                turn.mail_to_first.push(Mail::Report(Report::Confirmed { shard, round: context, top }));
            }
        }
        turn.removed |= !out.removed.is_empty();
        turn.snapshots += out.snapshots.len() as u64;
        for snapshot in out.snapshots {
            let payload = Payload::Snapshot { chunks: snapshot.chunks.collect(), message: snapshot.message };
            net.send(who.me, who.process, snapshot.to, snapshot.shard, payload);
        }
        for (shard, message) in out.at_once {
            net.send(who.me, who.process, MemberId(message.to), shard, Payload::Raft(message));
        }
        if who.bug == Some(Bug::AckBeforeDurable) {
            for write in &out.writes {
                write.number.into_iter().for_each(|number| self.shard(write.shard).persisted(number));
            }
            for (shard, message) in out.after_durable.drain(..) {
                net.send(who.me, who.process, MemberId(message.to), shard, Payload::Raft(message));
            }
        }
        turn.wrote = !out.writes.is_empty() || !out.after_durable.is_empty();
        if turn.wrote {
            self.queue.push_back(Operation { writes: out.writes, messages: out.after_durable, shown: None });
        }
        order.raise(at);
        let visible = order.visible();
        for shard in &mut self.shards {
            shard.apply(visible, &mut turn.applied);
            order.publish_unapplied(shard.id(), shard.oldest_unapplied());
        }
    }
}
