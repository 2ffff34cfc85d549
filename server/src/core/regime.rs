//! The node's regime, kept by executor 0 from the reports of all.

use std::sync::atomic::Ordering;

use shard::ids::{Index, ShardId};
use shard::regime::{Action, Report};

use super::Inner;
use super::message::Message;

/// The executor that keeps the regime.
const KEEPER: usize = 0;

impl Inner {
    /// A group of this executor was won or lost; in that case the order is closed already.
    pub(super) fn leadership(&mut self, report: Report) {
        if matches!(report, Report::Lost(_)) {
            self.give_up_rounds();
        }
        self.metrics.leader_changes.add(1);
        self.send(KEEPER, Message::Report(report));
    }

    /// On the keeper: a report of some executor.
    pub(super) fn regime_report(&mut self, report: Report) {
        let action = self.regimes.as_mut().and_then(|regimes| regimes.report(report));
        self.regime_action(action);
    }

    fn regime_action(&mut self, action: Option<Action>) {
        match action {
            Some(Action::Confirm { round }) => {
                // The token first: a loss from here on must spoil the opening.
                let token = self.node.order.token();
                if let Some(regimes) = &mut self.regimes {
                    regimes.began(token);
                }
                for core in 0..self.node.cores() {
                    self.send(core, Message::Confirm { round });
                }
            }
            Some(Action::Open { token, top }) => {
                if self.node.order.open(token, top) {
                    self.opened(top);
                } else {
                    let again = self.regimes.as_mut().and_then(shard::regime::Regimes::spoiled);
                    self.regime_action(again);
                }
            }
            None => {}
        }
    }

    fn opened(&mut self, top: Index) {
        self.node.primary_since_ns.store(self.node.clock.now_ns(), std::sync::atomic::Ordering::Relaxed);
        self.metrics.regimes.inc();
        tracing::info!(target: "uetcd", "primary of all {} shards, the order goes on above index {top}", self.node.shards);
        for core in 0..self.node.cores() {
            self.send(core, Message::Wake);
        }
    }

    /// On the keeper, every turn: who leads group 0, for the whole node.
    pub(super) fn look_at_primary(&mut self) {
        if self.me != KEEPER {
            return;
        }
        let Some(first) = self.shards.first() else { return };
        let (primary, term) = (first.primary().map_or(0, |primary| primary.0), first.group().term().0);
        self.node.term.store(term, Ordering::Release);
        if self.node.primary.swap(primary, Ordering::AcqRel) != primary {
            self.node.primary_since_ns.store(self.node.clock.now_ns(), Ordering::Relaxed);
            let member = self.node.member;
            if primary == 0 {
                tracing::info!(target: "raft", "{member:x} lost its primary at term {term}");
            } else {
                tracing::info!(target: "raft", "{member:x} follows primary {primary:x} at term {term}");
            }
            for core in 0..self.node.cores() {
                self.send(core, Message::Wake);
            }
        }
    }

    /// Every tick: the groups follow whoever leads group 0.
    pub(super) fn follow_primary(&mut self) {
        let primary = self.node.primary();
        for shard in &mut self.shards {
            shard.follow(primary);
        }
    }

    /// Asks every group of this executor for a quorum round.
    pub(super) fn confirm_all(&mut self, round: u64) {
        for shard in &mut self.shards {
            shard.confirm(context(round));
        }
    }

    /// A quorum round of one group came through: for the regime, or for reads.
    pub(super) fn confirmed(&mut self, shard: ShardId, confirmed: u64) {
        match round_of(confirmed) {
            Some(round) => {
                let top = self.shards[self.seat(shard)].top();
                self.send(KEEPER, Message::Report(Report::Confirmed { shard, round, top }));
            }
            None => self.quorum_confirmed(confirmed),
        }
    }
}

/// Contexts of regime rounds have the highest bit set; the others number the rounds of reads.
const REGIME: u64 = 1 << 63;

fn context(round: u64) -> u64 {
    round | REGIME
}

fn round_of(context: u64) -> Option<u64> {
    (context & REGIME != 0).then_some(context & !REGIME)
}
