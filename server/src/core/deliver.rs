//! From what was applied to those who wait for it.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use shard::command::Command;
use shard::ids::{Index, RaftIndex, ShardId, Term};
use shard::refusal::{Code, Refusal};
use shard::shard as machine;
use shard::stats::Operation;
use shard::store::Outcome;

use super::Inner;
use super::Waiter;
use super::answers::{Filled, counted_bytes};
use super::message::{Answer, KeysAnswer, Message};
use super::ticket::Ticket;
use super::turn::drop_given_up;
use crate::body;
use crate::metrics::WriteAction;

/// The answer to a command that could not be committed.
pub(crate) fn raft_error(cause: &str) -> Answer {
    let refusal = Refusal::new(Code::RaftInternal, cause);
    Answer::Keys(refused(&refusal, Index::ZERO))
}

/// The answer to a refused request; `index` is where the check was made.
pub(crate) fn refused(refusal: &Refusal, index: Index) -> KeysAnswer {
    let mut body = Vec::with_capacity(128);
    body::refusal(refusal, index, &mut body);
    KeysAnswer { status: refusal.code.http_status(), index, raft: None, body }
}

fn done(outcome: &Outcome, index: Index, raft: (RaftIndex, Term)) -> KeysAnswer {
    let mut body = Vec::new();
    let mut status = 200;
    if let Outcome::Event { event, .. } = outcome {
        body.reserve(body::event_size_hint(event));
        body::event(event, &mut body);
        status = if event.created_something() { 201 } else { 200 };
    }
    if let Outcome::System(Err(_)) = outcome {
        status = 409;
    }
    KeysAnswer { status, index, raft: Some(raft), body }
}

impl Inner {
    /// Applies one shard up to `visible` and hands out answers and events. Whoever watches is woken in the next turn.
    pub(super) fn apply(&mut self, seat: usize, visible: Index) {
        let mut all = u64::MAX;
        self.apply_some(seat, visible, &mut all);
        if self.fan_out.is_due()
            && let Some(core) = self.core.upgrade()
        {
            core.stir();
        }
    }

    /// As [`Inner::apply`], as long as there is something left of a turn's `budget` of commands.
    pub(super) fn apply_some(&mut self, seat: usize, visible: Index, budget: &mut u64) {
        let mut applied = std::mem::take(&mut self.applied);
        self.shards[seat].apply_some(visible, *budget, &mut applied);
        *budget = budget.saturating_sub(applied.commands);
        if applied.commands > 0 || applied.system {
            self.after_applying(seat, &mut applied);
        }
        self.applied = applied;
    }

    fn after_applying(&mut self, seat: usize, applied: &mut machine::Applied) {
        let id = self.shards[seat].id();
        let counters = &mut self.metrics.shards[seat];
        counters.committed.add(applied.commands);
        counters.applied.add(applied.commands);
        self.snapshots.applied(seat, applied.commands, std::mem::take(&mut applied.bytes));
        applied.commands = 0;
        self.metrics.expires.add(std::mem::take(&mut applied.expired));
        for answer in applied.answers.drain(..) {
            let keys = match &answer.result {
                Ok(outcome) => done(outcome, answer.index, (answer.at, answer.term)),
                Err(refusal) => refused(refusal, answer.index),
            };
            self.deliver(Ticket(answer.ticket), Answer::Keys(keys));
        }
        self.hand_out(id, &mut applied.deliveries);
        self.outrun_all(id, &mut applied.ended);
        // A snapshot of any other shard has replaced what says nothing of members.
        if std::mem::take(&mut applied.system) && id == ShardId(0) {
            self.node.set_system(self.shards[seat].store().system().clone());
        }
    }

    /// An answer that another executor has delivered.
    pub(super) fn receive_answer(&mut self, ticket: Ticket, answer: Answer) {
        let bytes = counted_bytes(&answer);
        if bytes > 0 {
            self.node.under_way[self.me].fetch_sub(bytes, Ordering::Relaxed);
        }
        self.deliver(ticket, answer);
    }

    /// Gives an answer to whoever holds the ticket, on whichever executor.
    pub(super) fn deliver(&mut self, ticket: Ticket, answer: Answer) {
        let Some(core) = ticket.core() else { return };
        if core != self.me {
            let bytes = counted_bytes(&answer);
            if bytes > 0 {
                self.node.under_way[core].fetch_add(bytes, Ordering::Relaxed);
            }
            self.send(core, Message::Answer(ticket, answer));
            return;
        }
        match self.waiting.find(ticket) {
            Some(Waiter::Post(post)) => post.put(answer),
            Some(Waiter::Feed(feed, _)) => match answer {
                Answer::Watching(registered) => feed.answer(registered),
                other => panic!("a watch was answered with {other:?}"),
            },
            Some(Waiter::Request { .. }) => {
                if let Some(Waiter::Request { lane, slot, .. }) = self.waiting.take(ticket) {
                    lane.fill(slot, Filled::new(answer, &self.budget));
                }
            }
            // It has given up: a timeout, or its connection is gone.
            None => {}
        }
    }

    /// Answers a command that the state refuses, without a place in the log.
    pub(super) fn refused_unlogged(
        &mut self,
        seat: usize,
        ticket: Ticket,
        index: Index,
        command: &Command,
        refusal: &Refusal,
    ) {
        if let Some(operation) = operation(command) {
            self.shards[seat].store_mut().count(operation, false);
            self.metrics.writes[action(operation)].inc();
        }
        self.deliver(ticket, Answer::Keys(refused(refusal, index)));
    }

    /// Ends the waiting of requests that have waited for `rounds` rounds.
    pub(super) fn time_out(&mut self, rounds: u64) {
        let now = self.rounds;
        let over = self.waiting.select(|waiter| match waiter {
            Waiter::Request { since_round, .. } => since_round + rounds <= now,
            Waiter::Post(_) | Waiter::Feed(..) => false,
        });
        if over.is_empty() {
            return;
        }
        let given_up: HashSet<Ticket> = over.iter().copied().collect();
        drop_given_up(&mut self.queue, self.node.process, &given_up);
        self.queued_bytes = self.queue.iter().map(|proposal| proposal.command.size_bytes()).sum();
        for ticket in over {
            self.metrics.proposals_failed.inc();
            self.deliver(ticket, raft_error("etcdserver: request timed out"));
        }
    }
}

/// Under which name a write is counted.
pub(super) fn action(operation: Operation) -> WriteAction {
    match operation {
        Operation::Get | Operation::Set => WriteAction::Set,
        Operation::Create => WriteAction::Create,
        Operation::Update => WriteAction::Update,
        Operation::Delete => WriteAction::Delete,
        Operation::CompareAndSwap => WriteAction::CompareAndSwap,
        Operation::CompareAndDelete => WriteAction::CompareAndDelete,
    }
}

pub(super) fn operation(command: &Command) -> Option<Operation> {
    match command {
        Command::Set { .. } => Some(Operation::Set),
        Command::Create { .. } => Some(Operation::Create),
        Command::Update { .. } => Some(Operation::Update),
        Command::CompareAndSwap { .. } => Some(Operation::CompareAndSwap),
        Command::Delete { .. } => Some(Operation::Delete),
        Command::CompareAndDelete { .. } => Some(Operation::CompareAndDelete),
        Command::Expire { .. } | Command::Rebase { .. } | Command::System(_) => None,
    }
}
