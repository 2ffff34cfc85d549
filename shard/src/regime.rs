//! Regimes: when this node may order changes.
//!
//! Leadership of the groups is learned by different executors at different moments, so "I lead them all" can be stale
//! by the time it has been gathered. A regime therefore opens in three steps: (1) every group is led with an entry of
//! its own term committed, (2) *then* every group is confirmed by a quorum round begun after all of (1), (3) indices
//! continue above the highest one in any of the node's logs. Without step (2) a node could hand out indices below ones
//! that a newer primary has already shown. See `docs/one-order.md`.

use mutant::Mutant;

use crate::ids::{Index, ShardId};
use crate::order::Token;

/// What the executors report about their groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The group is led, and an entry of this member's own term is committed.
    Led(ShardId),
    /// The group is not led any more. The executor has already called [`crate::order::Order::close`].
    Lost(ShardId),
    /// A quorum has confirmed the group in this round; `top` is the highest index in its log, committed or not.
    Confirmed {
        /// The group.
        shard: ShardId,
        /// The round it was asked in.
        round: u64,
        /// Highest index in the group's log.
        top: Index,
    },
}

/// What the node does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask every group for a quorum round of this number. Take a [`Token`] *first*, and pass it to [`Regimes::began`].
    Confirm {
        /// Number of the round.
        round: u64,
    },
    /// All confirmed: open with this token and highest index; start over with [`Regimes::spoiled`] if it is refused.
    Open {
        /// Taken before the round began.
        token: Token,
        /// Highest index in any log of this node.
        top: Index,
    },
}

#[derive(Debug)]
enum State {
    /// Not every group is led.
    Gathering,
    /// A round is under way.
    Confirming {
        token: Option<Token>,
        missing: Vec<bool>,
        top: Index,
    },
    Open,
}

/// Opens and closes this node's regimes. One per node; fed by one executor with the reports of all.
#[derive(Debug)]
pub struct Regimes {
    led: Vec<bool>,
    round: u64,
    state: State,
}

impl Regimes {
    /// For `shards` groups, none of them led.
    pub fn new(shards: usize) -> Self {
        Self { led: vec![false; shards], round: 0, state: State::Gathering }
    }

    /// Takes in one report; returns what to do now, if anything.
    pub fn report(&mut self, report: Report) -> Option<Action> {
        match report {
            Report::Led(shard) => {
                self.led[usize::from(shard.0)] = true;
                self.begin_round()
            }
            Report::Lost(_) if mutant::is(Mutant::LossForgotten) => None,
            Report::Lost(shard) => {
                self.led[usize::from(shard.0)] = false;
                self.state = State::Gathering;
                None
            }
            Report::Confirmed { shard, round, top } => self.confirmed(shard, round, top),
        }
    }

    /// The token that was taken before the round's questions went out.
    pub fn began(&mut self, token_of_round: Token) {
        if let State::Confirming { token, .. } = &mut self.state {
            *token = Some(token_of_round);
        }
    }

    /// The opening was refused because a group was lost meanwhile: gathers again, or begins another round.
    pub fn spoiled(&mut self) -> Option<Action> {
        self.state = State::Gathering;
        self.begin_round()
    }

    fn begin_round(&mut self) -> Option<Action> {
        if !matches!(self.state, State::Gathering) || self.led.contains(&false) {
            return None;
        }
        self.round += 1;
        self.state = State::Confirming { token: None, missing: vec![true; self.led.len()], top: Index(0) };
        Some(Action::Confirm { round: self.round })
    }

    fn confirmed(&mut self, shard: ShardId, of_round: u64, of_log: Index) -> Option<Action> {
        let State::Confirming { token, missing, top } = &mut self.state else { return None };
        if of_round != self.round {
            return None;
        }
        missing[usize::from(shard.0)] = false;
        *top = (*top).max(of_log);
        let token = (*token)?;
        if missing.contains(&true) && !mutant::is(Mutant::OneConfirmationIsEnough) {
            return None;
        }
        let action = Action::Open { token, top: *top };
        self.state = State::Open;
        Some(action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Order;

    const A: ShardId = ShardId(0);
    const B: ShardId = ShardId(1);

    fn confirmed(shard: ShardId, round: u64, top: u64) -> Report {
        Report::Confirmed { shard, round, top: Index(top) }
    }

    #[test]
    fn opens_above_the_highest_index_once_all_are_confirmed() {
        let order = Order::new(2, 1, Index(0));
        let mut regimes = Regimes::new(2);
        assert_eq!(regimes.report(Report::Led(A)), None);
        assert_eq!(regimes.report(Report::Led(B)), Some(Action::Confirm { round: 1 }));
        regimes.began(order.token());
        assert_eq!(regimes.report(confirmed(B, 1, 9)), None);
        let action = regimes.report(confirmed(A, 1, 4));
        assert_eq!(action, Some(Action::Open { token: order.token(), top: Index(9) }));
    }

    #[test]
    fn a_loss_starts_over_and_answers_of_the_old_round_do_not_count() {
        let order = Order::new(2, 1, Index(0));
        let mut regimes = Regimes::new(2);
        regimes.report(Report::Led(A));
        regimes.report(Report::Led(B));
        regimes.began(order.token());
        regimes.report(confirmed(A, 1, 4));
        assert_eq!(regimes.report(Report::Lost(B)), None);
        assert_eq!(regimes.report(confirmed(B, 1, 4)), None);
        assert_eq!(regimes.report(Report::Led(B)), Some(Action::Confirm { round: 2 }));
        regimes.began(order.token());
        assert_eq!(regimes.report(confirmed(A, 1, 4)), None);
        assert_eq!(regimes.report(confirmed(B, 2, 4)), None);
        assert!(matches!(regimes.report(confirmed(A, 2, 4)), Some(Action::Open { .. })));
    }

    #[test]
    fn a_spoiled_opening_asks_again() {
        let mut regimes = Regimes::new(1);
        assert_eq!(regimes.report(Report::Led(A)), Some(Action::Confirm { round: 1 }));
        assert_eq!(regimes.spoiled(), Some(Action::Confirm { round: 2 }));
    }
}
