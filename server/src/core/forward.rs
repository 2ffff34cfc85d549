//! Commands that another member has to order.
//!
//! A member that is not the primary hands what its clients want to the one that is: one frame per shard and turn. The
//! clients are answered when the commands are applied *here*, so they read their own writes on the member that they
//! talk to.
//!
//! When the primary is lost, what becomes of the commands under way is known as soon as this member shows what the next
//! regime began with: what is not applied by then is in no log that counts, and never will be, because a primary takes
//! forwards of its own term alone. It is handed to the new primary. So a client notices a fail-over by the time it takes.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use net::peer::{Forward, ForwardOutcome, Forwarded};
use shard::command::{Batch, BatchBytes, Numbered};
use shard::ids::{Index, MemberId, ShardId, Term};

use super::Inner;
use super::message::Proposal;
use super::ticket::Ticket;

/// Bytes of commands that may be under way to the primary from one executor.
const UNDER_WAY_BYTES_MAX: usize = 32 << 20;

/// What this executor has forwarded.
#[derive(Default)]
pub(super) struct Forwards {
    /// Frames sent so far.
    sent: u64,
    /// What is not answered.
    under_way: BTreeMap<u64, Sent>,
    under_way_bytes: usize,
    /// Nothing is sent before the next round: who was taken for the primary is not.
    paused: bool,
    /// The newest regime that is known, and what it began with at the most.
    regime: (Term, Index),
}

struct Sent {
    to: MemberId,
    term: Term,
    shard: ShardId,
    batch: Bytes,
    tickets: Vec<Ticket>,
}

impl Inner {
    /// Hands what is queued to the primary, if that is another member.
    pub(super) fn forward_queue(&mut self) {
        let Some(primary) = self.node.primary().filter(|primary| primary.0 != self.node.member) else { return };
        let full = self.forwards.under_way_bytes >= UNDER_WAY_BYTES_MAX;
        if self.queue.is_empty() || self.forwards.paused || full || !self.peers.is_connected(primary) {
            return;
        }
        self.queued_bytes = 0;
        let mut batches: BTreeMap<ShardId, Vec<Numbered>> = BTreeMap::new();
        for Proposal { shard, ticket, process, command } in std::mem::take(&mut self.queue) {
            // What this node wanted by itself, as a primary, ends with its regime; and who forwarded something to it
            // forwards it to the next one.
            if ticket != Ticket::NOBODY && process == self.node.process {
                let batch = batches.entry(shard).or_default();
                batch.push(Numbered { offset: batch.len() as u32, command, process, origin: ticket.0 });
            }
        }
        for (shard, commands) in batches {
            self.forward(primary, shard, commands);
        }
    }

    fn forward(&mut self, to: MemberId, shard: ShardId, commands: Vec<Numbered>) {
        self.forwards.sent += 1;
        let id = self.own_number(self.forwards.sent);
        let tickets = commands.iter().map(|numbered| Ticket(numbered.origin)).collect();
        let batch = Batch { first: 1, now: 0, commands }.encode().into_bytes();
        self.forwards.under_way_bytes += batch.len();
        let (process, term, number) = (self.node.process, self.node.term(), u32::from(shard.0));
        self.post(to, Forward { ticket: id, process, term: term.0, shard: number, command: batch.clone() });
        self.forwards.under_way.insert(id, Sent { to, term, shard, batch, tickets });
    }

    /// The answer to a forward of this executor.
    pub(super) fn forward_answered(&mut self, from: MemberId, answer: Forwarded) {
        match answer.outcome {
            // Its clients are answered when it is applied.
            ForwardOutcome::Proposed => {}
            ForwardOutcome::NotPrimary => {
                self.forwards.paused = true;
                if let Some(sent) = self.forwards.take(answer.ticket, from) {
                    self.try_again(sent, true);
                }
            }
            ForwardOutcome::Refused(reason) => {
                for ticket in self.forwards.take(answer.ticket, from).into_iter().flat_map(|sent| sent.tickets) {
                    self.metrics.proposals_failed.inc();
                    self.deliver(ticket, super::deliver::raft_error(&reason));
                }
            }
        }
    }

    /// It was not proposed and never will be: whoever still waits for it is the first in the queue again. Who waits on another
    /// executor is `elsewhere`: it may have been answered.
    fn try_again(&mut self, sent: Sent, elsewhere: bool) {
        for proposal in proposals(sent.shard, sent.batch).into_iter().flatten().rev() {
            if self.waits(proposal.ticket).unwrap_or(elsewhere) {
                self.queued_bytes += proposal.command.size_bytes();
                self.queue.push_front(proposal);
            }
        }
    }

    /// Whether somebody waits behind the ticket. None: on another executor, where that is not known.
    fn waits(&mut self, ticket: Ticket) -> Option<bool> {
        (ticket.core() == Some(self.me)).then(|| self.waiting.find(ticket).is_some())
    }

    /// A regime is known, and that it began at or below this index. The first that is heard of it counts.
    pub(super) fn regime_began(&mut self, term: Term, at: Index) {
        if term > self.forwards.regime.0 {
            self.forwards.regime = (term, at);
        }
    }

    /// What was lost with an earlier regime is tried again. `shown`: everything up to `visible` is applied.
    pub(super) fn settle_forwards(&mut self, visible: Index, shown: bool) {
        let Some(lost) = self.forwards.take_lost(visible, shown) else { return };
        self.node.informed.store(true, Ordering::Release);
        for sent in lost.into_values().rev() {
            // Who waits elsewhere may have its answer already: carried out twice is worse than a timeout.
            self.try_again(sent, false);
        }
    }

    /// Time passes: what was answered, or given up, is forgotten, and what was refused is tried again.
    pub(super) fn tick_forwards(&mut self) {
        self.forwards.paused = false;
        let mut under_way = std::mem::take(&mut self.forwards.under_way);
        under_way.retain(|_, sent| sent.tickets.iter().any(|ticket| self.waits(*ticket) == Some(true)));
        self.forwards.under_way_bytes = under_way.values().map(|sent| sent.batch.len()).sum();
        self.forwards.under_way = under_way;
    }

    /// As the primary: commands that `from` forwards for a shard of this executor.
    pub(super) fn take_forward(&mut self, from: MemberId, forward: &Forward) {
        let outcome = self.queue_forward(forward);
        self.post(from, Forwarded { ticket: forward.ticket, outcome });
    }

    fn queue_forward(&mut self, forward: &Forward) -> ForwardOutcome {
        self.drop_stale();
        // What was meant for an earlier regime may have been handed to another primary meanwhile, and carried out.
        if !self.node.order.is_open() || forward.term != self.node.term().0 {
            return ForwardOutcome::NotPrimary;
        }
        if self.disk.is_full() {
            return ForwardOutcome::Refused("etcdserver: no space left on device".to_owned());
        }
        if self.queue_is_full() {
            self.metrics.queue_full.inc();
            return ForwardOutcome::Refused("etcdserver: too many requests".to_owned());
        }
        let Some(proposals) = proposals(ShardId(forward.shard as u16), forward.command.clone()) else {
            return ForwardOutcome::Refused("etcdserver: a forwarded command can not be read".to_owned());
        };
        for proposal in proposals {
            self.queued_bytes += proposal.command.size_bytes();
            self.queue.push_back(proposal);
        }
        ForwardOutcome::Proposed
    }

    /// A number of this executor's for a question to another member: the answer finds its way back by it.
    pub(super) fn own_number(&self, count: u64) -> u64 {
        (self.me as u64) << NUMBER_BITS | count & ((1 << NUMBER_BITS) - 1)
    }
}

/// Bits of a question's number below that of its executor.
const NUMBER_BITS: u32 = 48;

/// The executor that asked a question of this number.
pub(super) fn asker(number: u64) -> usize {
    (number >> NUMBER_BITS) as usize
}

impl Forwards {
    fn take(&mut self, id: u64, to: MemberId) -> Option<Sent> {
        if self.under_way.get(&id)?.to != to {
            return None;
        }
        let sent = self.under_way.remove(&id)?;
        self.under_way_bytes -= sent.batch.len();
        Some(sent)
    }

    /// What was sent in an earlier regime than one whose beginning is visible here. None: the beginning is not, or not all
    /// is `shown`; what is not applied has not been answered, and is not lost for that.
    fn take_lost(&mut self, visible: Index, shown: bool) -> Option<BTreeMap<u64, Sent>> {
        let (term, at) = self.regime;
        if !shown || at > visible || term == Term(0) {
            return None;
        }
        let (lost, under_way): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.under_way).into_iter().partition(|(_, sent)| sent.term < term);
        self.under_way = under_way;
        self.under_way_bytes -= lost.values().map(|sent| sent.batch.len()).sum::<usize>();
        Some(lost)
    }
}

/// The commands of a forwarded batch; none if it is not one.
fn proposals(shard: ShardId, batch: Bytes) -> Option<Vec<Proposal>> {
    let batch = BatchBytes::new(batch).ok()?.to_batch();
    let proposal =
        |Numbered { command, process, origin, .. }| Proposal { shard, ticket: Ticket(origin), process, command };
    Some(batch.commands.into_iter().map(proposal).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forward_is_lost_once_all_before_the_next_regime_is_applied() {
        let sent = |term| {
            let (to, shard, batch) = (MemberId(2), ShardId(0), Bytes::from_static(b"batch"));
            Sent { to, term: Term(term), shard, batch, tickets: Vec::new() }
        };
        let mut forwards = Forwards {
            under_way: BTreeMap::from([(1, sent(1)), (2, sent(2))]),
            under_way_bytes: 10,
            regime: (Term(2), Index(10)),
            ..Forwards::default()
        };
        assert!(forwards.take_lost(Index(9), true).is_none(), "the regime began later");
        assert!(forwards.take_lost(Index(10), false).is_none(), "it may be among what is not applied");
        let lost = forwards.take_lost(Index(10), true).expect("known now");
        assert!(lost.into_keys().eq([1]) && forwards.under_way.into_keys().eq([2]));
        assert_eq!(forwards.under_way_bytes, 5);
    }
}
