//! The turn: the main path of the server, from what has arrived to what is answered.

use std::collections::{HashSet, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use shard::command::{Batch, Numbered};
use shard::ids::{Index, ShardId};
use shard::regime::Report;
use shard::shard::Shard;

use super::crowd::Allowance;
use super::deliver::{action, operation};
use super::message::{Message, Proposal};
use super::ticket::Ticket;
use super::{Core, Inner};
use crate::failure::Fatal;

/// Bytes of commands that one turn numbers, beyond which they wait for the next: an entry has to fit into a frame for the
/// other members ([`net::peer::ENTRY_BYTES_MAX`]) with the largest command at its end.
const BATCH_BYTES: usize = 4 << 20;

/// Commands that one turn applies, and the rest of the last batch: about a millisecond. What is read is applied in any case.
const APPLIED_PER_TURN: u64 = 1024;

impl Core {
    /// Runs turns for ever: whenever something was stirred, has arrived, or has become durable.
    pub(crate) async fn drive(self: Rc<Self>) -> Result<(), Fatal> {
        loop {
            poll_fn(|cx| self.poll_work(cx)).await?;
            let (again, tasks) = self.turn()?;
            for task in tasks {
                glommio::spawn_local(task).detach();
            }
            if again {
                self.stirred.set(true);
                glommio::yield_if_needed().await;
            }
        }
    }

    /// One turn; and the tasks that it wants started, now that nobody is inside.
    fn turn(&self) -> Result<(bool, Vec<super::Task>), Fatal> {
        let mut inner = self.inner.borrow_mut();
        let again = inner.turn()?;
        Ok((again, std::mem::take(&mut inner.tasks)))
    }

    /// Ready when there is something to do. Registers with everything that may bring work *before* looking, so that
    /// nothing slips in between.
    fn poll_work(&self, cx: &mut Context<'_>) -> Poll<Result<(), Fatal>> {
        let mailbox = &self.node.mailboxes[self.me];
        mailbox.register(cx.waker());
        let progress = self.inner.borrow_mut().disk.poll_progress(cx)?.is_ready();
        // Whoever polls a parked driver has woken it, if only to say that `visible` was raised elsewhere.
        let woken = self.parked.replace(false);
        if self.stirred.replace(false) || woken || progress || !mailbox.is_empty() {
            return Poll::Ready(Ok(()));
        }
        *self.driver.borrow_mut() = Some(cx.waker().clone());
        self.parked.set(true);
        Poll::Pending
    }
}

impl Inner {
    /// One turn. True if there is more to do at once.
    fn turn(&mut self) -> Result<bool, Fatal> {
        let begun = Instant::now();
        self.metrics.turns.add(1);
        // Read before the queues are drained: whatever is complete now has its events in them.
        let complete = self.node.order.complete();
        self.take_messages();
        self.take_links();
        self.take_durable();
        if self.expiry.behind {
            self.expire();
        }
        let had_late = self.step_late();
        let rest = self.submit();
        self.ask_quorum();
        self.advance();
        let settled = self.write()?;
        let shown = self.show();
        self.release(complete);
        self.fan_out();
        self.hand_over();
        let leads = self.node.order.is_open();
        if had_late.is_some() || !shown && !leads {
            let applied = if shown { 0 } else { APPLIED_PER_TURN };
            self.rest(begun.elapsed(), had_late.unwrap_or(0) + applied);
        }
        // While the log has something gathered, its progress brings the next turn.
        let rest = self.may_go_on() || rest && self.disk.pending_bytes() == 0;
        Ok(self.tidy() || settled || rest || !shown && leads)
    }

    fn take_messages(&mut self) {
        let node = std::sync::Arc::clone(&self.node);
        let mailbox = &node.mailboxes[self.me];
        self.metrics.queue_depth.set(mailbox.len() as u64);
        // What arrives meanwhile is for the next turn: a busy sibling must not keep this one from answering.
        for _ in 0..mailbox.len() {
            for message in mailbox.pop().into_iter().flatten() {
                self.receive(message);
            }
        }
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Propose(proposal) => self.enqueue(proposal),
            Message::Ask(ticket, question) => self.question(ticket, question),
            Message::Answer(ticket, answer) => self.receive_answer(ticket, answer),
            Message::Watch(ticket, request) => self.watch(ticket, &request),
            Message::Unwatch(ticket) => self.unwatch(ticket),
            Message::More(ticket) => self.replay_more(ticket),
            Message::Replayed { ticket, from, upto } => self.replayed(ticket, from, upto),
            Message::Outrun(ticket) => self.outrun(ticket),
            Message::Event(ticket, index, body) => self.event(ticket, index, body),
            Message::PastEvent(ticket, index, body) => self.past_event(ticket, index, body),
            Message::Report(report) => self.regime_report(report),
            Message::Confirm { round } => self.confirm_all(round),
            Message::Peer(from, frame) => self.frame(from, frame),
            Message::Frontier(frontier) => self.note_frontier(&frontier),
            Message::Rotten(core, seq) => self.segment_rotten(core, seq),
            Message::Renew(shard, upto) => self.renew(shard, upto),
            Message::SnapshotLost(shard, upto) => self.snapshot_lost(shard, upto),
            Message::BackupOver(number) => self.end_backup(number),
            Message::Wake => {}
        }
    }

    /// Tells the groups which of their writes have become durable.
    fn take_durable(&mut self) {
        while let Some(written) = self.disk.next_durable() {
            self.metrics.fsync.observe(written.took);
            for (shard, number) in written.readies {
                let seat = self.seat(shard);
                self.shards[seat].persisted(number);
            }
            for (shard, message) in written.messages {
                self.post_raft(shard, message);
            }
        }
    }

    /// Numbers what is queued and hands each shard its part as one batch. True if it did, and there is more.
    pub(super) fn submit(&mut self) -> bool {
        self.drop_stale();
        if self.disk.is_full() {
            // Before the timelines are joined: a rebase must not get lost. Another member can not help either, as the answer comes
            // when a command is applied here.
            self.refuse_queue("etcdserver: no space left on device");
            return false;
        }
        if !self.node.order.is_open() {
            self.forward_queue();
            return false;
        }
        if self.disk.pending_bytes() > self.backlog_bytes {
            return false;
        }
        if !self.join_timelines() || self.queue.is_empty() {
            return false;
        }
        if !self.shards.iter().all(Shard::may_propose) {
            // A leadership was lost or given away in this turn; the regime ends with its `advance`.
            return false;
        }
        let mut allowance = self.allowance();
        let mut batches = self.number_queue(&mut allowance);
        self.used(&allowance);
        let count: usize = batches.iter().map(Vec::len).sum();
        if count == 0 {
            return false;
        }
        let concerned = (0..batches.len()).filter(|seat| !batches[*seat].is_empty());
        let ids: Vec<ShardId> = concerned.map(|seat| self.shards[seat].id()).collect();
        self.metrics.batch.observe(count as f64);
        let first = self.node.order.take(count as u64, ids.iter().copied());
        let now = self.node.clock.now_ns();
        for id in ids {
            let seat = self.seat(id);
            let commands = std::mem::take(&mut batches[seat]);
            self.shards[seat].propose(&Batch { first: first.0, now, commands });
            self.node.order.publish_uncommitted(id, self.shards[seat].oldest_uncommitted());
        }
        !self.queue.is_empty()
    }

    /// Per shard, the queued commands with their offsets in the order of arrival. Commands that cannot succeed, while
    /// nothing is under way, are answered here by a member that decides alone: they need no place in the log. Among others
    /// they do, for a refusal is an answer like any other, and there may be a newer primary that this one has not heard of.
    fn number_queue(&mut self, events: &mut Allowance) -> Vec<Vec<Numbered>> {
        let mut batches: Vec<Vec<Numbered>> = self.shards.iter().map(|_| Vec::new()).collect();
        // With anything under way, an answer out of the log could show a lower index than the one before it.
        let settled = self.is_alone() && self.shards.iter().all(Shard::is_settled);
        let mut offset = 0;
        let mut bytes = 0;
        while bytes < BATCH_BYTES
            && self.queue.front().is_some_and(|next| events.allows(&next.command))
            && let Some(Proposal { shard, ticket, process, command }) = self.queue.pop_front()
        {
            let size = command.size_bytes();
            self.queued_bytes = self.queued_bytes.saturating_sub(size);
            bytes += size;
            let seat = self.seat(shard);
            // Who forwarded it waits for it to come through the log.
            if settled && offset == 0 && process == self.node.process {
                // Read first: an index acknowledged before now must not be above what the refusal claims to know.
                let index = self.node.order.visible();
                if let Err(refusal) = self.shards[seat].check(&command) {
                    self.refused_unlogged(seat, ticket, index, &command, &refusal);
                    continue;
                }
            }
            if let Some(operation) = operation(&command) {
                self.metrics.writes[action(operation)].inc();
            }
            events.take(&self.shards[seat], &command);
            batches[seat].push(Numbered { offset, command, process, origin: ticket.0 });
            offset += 1;
        }
        batches
    }

    /// Takes from the groups what they have ready.
    fn advance(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        for seat in 0..self.shards.len() {
            let shard = &mut self.shards[seat];
            shard.advance(&mut out);
            if out.reports.iter().any(|report| matches!(report, Report::Lost(_))) {
                // At once, before anything that follows from it is published.
                self.node.order.close();
            }
            let id = shard.id();
            self.node.order.note_unapplied(id, shard.oldest_unapplied());
            self.node.order.publish_committed(id, shard.group().committed());
            self.node.order.publish_uncommitted(id, shard.oldest_uncommitted());
            self.node.order.publish_reached(id, shard.reached());
            for report in out.reports.drain(..) {
                self.leadership(report);
            }
        }
        if !out.removed.is_empty() {
            self.node.removed_from(out.removed.len());
            out.removed.clear();
        }
        for (shard, message) in out.at_once.drain(..) {
            self.post_raft(shard, message);
        }
        for snapshot in out.snapshots.drain(..) {
            self.send_state(snapshot);
        }
        self.fetch(out.fetches.drain(..));
        for (shard, context) in out.confirmed.drain(..) {
            self.confirmed(shard, context);
        }
        self.out = out;
        self.look_at_primary();
    }

    /// Gives the log what is to be made durable, and starts a write if one may start. True if a group was told at once that
    /// there was nothing to wait for, and may have more.
    fn write(&mut self) -> Result<bool, Fatal> {
        for write in std::mem::take(&mut self.out.writes) {
            if let Some(upto) = write.received {
                self.snapshots.restart(self.seat(write.shard), upto);
            }
            self.disk.push(&write);
        }
        for (shard, message) in self.disk.hold_back(self.out.after_durable.drain(..)) {
            self.post_raft(shard, message);
        }
        let settled = self.disk.settle();
        for (shard, number) in &settled {
            let seat = self.seat(*shard);
            self.shards[seat].persisted(*number);
        }
        if let Some(bytes) = self.disk.submit()? {
            self.metrics.log_bytes.add(bytes);
        }
        Ok(!settled.is_empty())
    }

    /// Raises `visible` as far as it goes, and applies up to it, or as much as a turn may. False: there is more.
    fn show(&mut self) -> bool {
        if let Some(visible) = self.node.order.raise(self.me) {
            self.wake_holders(visible);
        }
        let visible = self.node.order.visible();
        let mut budget = if self.rests() { 0 } else { self.appliable(APPLIED_PER_TURN) };
        Shard::fetch_ahead(&self.shards, visible, budget);
        for seat in 0..self.shards.len() {
            self.apply_some(seat, visible, &mut budget);
        }
        self.send_frontier();
        self.read_upto(visible);
        self.metrics.visible.set(visible.0);
        let shown = budget > 0;
        self.settle_forwards(visible, shown);
        shown
    }

    /// Wakes the executors that hold back something that may be shown now.
    fn wake_holders(&self, visible: Index) {
        let cores = self.node.cores();
        if cores == 1 {
            return;
        }
        let mut woken = vec![false; cores];
        woken[self.me] = true;
        for shard in (0..self.node.shards).map(ShardId) {
            let core = self.node.core_of(shard);
            if !woken[core] && self.node.order.is_unapplied(shard, visible) {
                woken[core] = true;
                self.node.mailboxes[core].wake();
            }
        }
    }

    /// Hands over everything for other executors, then publishes what has been applied as such.
    fn hand_over(&mut self) {
        self.post_all_raft();
        self.flushed = self.outbox.flush(&self.node.mailboxes);
        if !self.flushed {
            self.metrics.queue_full.add(1);
            return;
        }
        let mut moved = false;
        for shard in &self.shards {
            moved |= self.node.order.publish_unapplied(shard.id(), shard.oldest_unapplied());
        }
        if moved {
            self.wake_spread();
        }
    }

    /// Little by little, what must not be done all at once. True if there is more of it.
    fn tidy(&mut self) -> bool {
        /// Nodes freed per turn: a few tens of microseconds.
        const TIDY_NODES: usize = 256;
        let mut more = !self.flushed;
        for shard in &mut self.shards {
            more |= shard.store_mut().tidy(TIDY_NODES);
        }
        more
    }
}

impl Inner {
    /// What is queued of an earlier regime of this node: what other members forwarded may have been carried out by another
    /// primary meanwhile, and what the node wanted by itself was for that regime alone.
    pub(super) fn drop_stale(&mut self) {
        let token = self.node.order.token();
        if self.queue_of.replace(token) == Some(token) {
            return;
        }
        let own = self.node.process;
        self.queue.retain(|proposal| proposal.process == own && proposal.ticket != Ticket::NOBODY);
        self.queued_bytes = self.queue.iter().map(|proposal| proposal.command.size_bytes()).sum();
    }

    /// Answers everything that is queued with etcd's "raft internal error". What another member has forwarded it forwards again to
    /// the next primary.
    fn refuse_queue(&mut self, cause: &str) {
        self.queued_bytes = 0;
        for ticket in own_tickets(std::mem::take(&mut self.queue), self.node.process) {
            self.metrics.proposals_failed.add(1);
            self.deliver(ticket, super::deliver::raft_error(cause));
        }
    }

    /// Queues a command of the node's own; nobody waits for it.
    pub(super) fn propose_own(&mut self, shard: ShardId, command: shard::command::Command) {
        self.queue.push_back(Proposal { shard, ticket: Ticket::NOBODY, process: self.node.process, command });
    }
}

/// The tickets of this process, `own`, among those queued: another member's mean nothing here, or somebody else.
fn own_tickets(queue: VecDeque<Proposal>, own: u64) -> impl Iterator<Item = Ticket> {
    queue.into_iter().filter(move |proposal| proposal.process == own).map(|proposal| proposal.ticket)
}

/// Takes those who have given up waiting on this process, `own`, out of the queue: another member's tickets are others.
pub(super) fn drop_given_up(queue: &mut VecDeque<Proposal>, own: u64, given_up: &HashSet<Ticket>) {
    queue.retain(|proposal| proposal.process != own || !given_up.contains(&proposal.ticket));
}

#[cfg(test)]
mod tests {
    use shard::command::Command;

    use super::*;

    const OWN: u64 = 1;
    const OTHER: u64 = 2;

    /// Tickets of two processes, the same ones.
    fn queue() -> VecDeque<Proposal> {
        let proposal = |(process, ticket)| {
            let command = Command::Rebase { by_ns: 0 };
            Proposal { shard: ShardId(0), ticket: Ticket(ticket), process, command }
        };
        [(OTHER, 7), (OWN, 7), (OWN, 8), (OTHER, 8)].map(proposal).into()
    }

    #[test]
    fn a_ticket_of_another_process_is_nobodys_here() {
        assert!(own_tickets(queue(), OWN).eq([7, 8].map(Ticket)));
    }

    #[test]
    fn what_another_member_forwarded_outlives_who_gives_up_here() {
        let mut queue = queue();
        drop_given_up(&mut queue, OWN, &HashSet::from([Ticket(8)]));
        let left = queue.iter().map(|proposal| (proposal.process, proposal.ticket));
        assert!(left.eq([(OTHER, Ticket(7)), (OWN, Ticket(7)), (OTHER, Ticket(8))]));
    }
}
