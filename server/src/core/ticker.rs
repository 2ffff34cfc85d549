//! What happens by the clock: raft's ticks, expiry, timeouts, housekeeping.

use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::zip;
use shard::command::Command;
use shard::ids::Index;
use shard::order::Token;
use shard::shard::Shard;

use super::{Core, Inner};

/// How often everything happens that is no raft tick: expiry may be late by this much, whatever the heartbeat is.
pub(super) const ROUND: Duration = Duration::from_millis(100);

/// Nodes that one shard expires in one batch: the next one follows when that is applied, a mass expiry must not stall the
/// core.
const EXPIRE_MAX: usize = 1000;

/// State of the expiry of this executor's shards.
pub(super) struct Expiry {
    /// Per shard: the index at which the last batch of expiries is applied.
    asked_upto: Vec<Index>,
    /// More was overdue than one batch takes: the next one need not wait for a round.
    pub(super) behind: bool,
    /// Some of what was asked for last waits to be numbered.
    is_queued: bool,
    /// The regime for which the shards' timelines have been joined to this node's clock.
    joined: Option<Token>,
}

impl Expiry {
    pub(super) fn new(shards: usize) -> Self {
        Self { asked_upto: vec![Index::ZERO; shards], behind: false, is_queued: false, joined: None }
    }
}

impl Core {
    /// Ticks until the process ends. Also keeps a timer alive on the executor, without which glommio 0.9 may sleep
    /// although a task is ready.
    pub(crate) async fn tick(self: Rc<Self>) {
        zip(self.every(self.node.config.heartbeat, Inner::beat), self.every(ROUND, Inner::round)).await;
    }

    async fn every(&self, interval: Duration, what: fn(&mut Inner)) {
        loop {
            glommio::timer::sleep(interval).await;
            what(&mut self.inner.borrow_mut());
            self.stir();
        }
    }

    /// Stands for election in all groups that have no other member to wait for.
    pub(crate) fn campaign_alone(&self) {
        for shard in &mut self.inner.borrow_mut().shards {
            if shard.group().is_alone() {
                shard.campaign();
            }
        }
        self.stir();
    }
}

impl Inner {
    /// A raft tick.
    fn beat(&mut self) {
        for shard in &mut self.shards {
            shard.tick();
        }
        self.follow_primary();
    }

    fn round(&mut self) {
        self.rounds += 1;
        self.make_way();
        self.remember();
        self.keep_members();
        if self.me == 0 {
            self.tell_frontier();
        }
        self.note_frontier_on_disk();
        self.tell_held();
        self.tick_forwards();
        self.tick_quorum();
        self.expire();
        self.time_out(rounds_in(self.node.config.request_timeout()));
        self.disk.tick();
        self.note_room();
        self.note_pace();
        self.cut_slow_watches();
        self.keep_clock();
        self.heal();
        self.start_snapshots();
    }

    /// Proposes the removal of what is overdue. Whether it still is, is decided when that is applied.
    pub(super) fn expire(&mut self) {
        if !self.node.order.is_open() || self.expiry.joined != Some(self.node.order.token()) {
            return;
        }
        if self.expiry.is_queued {
            // It would be asked for again.
            if self.has_expiries_queued() {
                return;
            }
            self.expiry.is_queued = false;
            self.expiry.asked_upto = self.shards.iter().map(Shard::top).collect();
        }
        let now = self.node.clock.now_ns();
        let behind = std::mem::take(&mut self.expiry.behind);
        for seat in 0..self.shards.len() {
            let shard = &mut self.shards[seat];
            let overdue = shard.store().next_deadline().is_some_and(|deadline| deadline <= now);
            if !overdue {
                continue;
            }
            if shard.store().applied() < self.expiry.asked_upto[seat] {
                self.expiry.behind |= behind;
                continue;
            }
            let id = shard.id();
            let due = shard.store_mut().due(now, EXPIRE_MAX);
            self.expiry.behind |= due.len() == EXPIRE_MAX;
            for command in due {
                self.propose_own(id, command);
            }
            self.submit();
            self.expiry.asked_upto[seat] = self.shards[seat].top();
            if self.has_expiries_queued() {
                (self.expiry.is_queued, self.expiry.behind) = (true, true);
                return;
            }
        }
    }

    /// Not all that was asked for could be numbered: too many watch it.
    fn has_expiries_queued(&self) -> bool {
        self.queue.iter().any(|proposal| matches!(proposal.command, Command::Expire { .. }))
    }

    /// Joins the shards' timelines to this node's clock once per regime, before the first command of a client.
    ///
    /// The log says what the clock read when it was written last. If ours reads something else, time has passed without
    /// a primary, or clocks differ: either way the remaining time of every node is kept. False: not possible yet.
    pub(super) fn join_timelines(&mut self) -> bool {
        let token = self.node.order.token();
        if self.expiry.joined == Some(token) {
            return true;
        }
        if !self.shards.iter().all(Shard::is_settled) {
            return false;
        }
        self.expiry.joined = Some(token);
        let now = self.node.clock.now_ns();
        for seat in 0..self.shards.len() {
            let shard = &self.shards[seat];
            let left_off = shard.clock();
            if shard.store().next_deadline().is_some() && left_off > 0 {
                let by_ns = now.wrapping_sub(left_off) as i64;
                let id = shard.id();
                self.queue.push_front(super::Proposal {
                    shard: id,
                    ticket: super::Ticket::NOBODY,
                    process: self.node.process,
                    command: Command::Rebase { by_ns },
                });
            }
        }
        true
    }

    /// Whether time goes by this node's clock for its shards, and everything that is needed for that is in the log.
    pub(super) fn has_joined(&self) -> bool {
        let order = &self.node.order;
        order.is_open() && self.expiry.joined == Some(order.token()) && self.queue.is_empty()
    }

    /// Notes the clock in the log about once a second while something can expire, so that a restart knows how much of
    /// its time was left.
    fn keep_clock(&mut self) {
        const SECOND_NS: u64 = 1_000_000_000;
        if self.rounds.is_multiple_of(rounds_in(Duration::from_secs(1))) {
            self.note_clock(SECOND_NS);
        }
    }

    /// Notes the clock for the shards that have something to expire and whose log was silent for `silent_ns`.
    pub(super) fn note_clock(&mut self, silent_ns: u64) {
        if !self.node.order.is_open() {
            return;
        }
        let now = self.node.clock.now_ns();
        let visible = self.node.order.visible();
        for shard in &self.shards {
            if shard.store().next_deadline().is_some() && shard.clock() + silent_ns < now {
                self.disk.push_frontier(shard.id(), visible, now);
            }
        }
    }
}

/// Rounds in a time of at least one.
pub(super) const fn rounds_in(time: Duration) -> u64 {
    (time.as_millis() / ROUND.as_millis()) as u64
}
