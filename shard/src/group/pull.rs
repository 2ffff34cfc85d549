//! Bringing all groups to one leader: who leads the first one pulls the others.

use raft::{Raft, StateRole, Storage};

use crate::ids::MemberId;

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Campaign,
    Transfer(MemberId),
    /// Ask whoever leads for the leadership: it may not know who leads the first group, being no member there any more.
    Ask,
}

/// Keeps attempts apart, so that each has the time to succeed.
#[derive(Debug)]
pub(super) struct Pull {
    election_ticks: usize,
    /// Ticks to the next attempt.
    wait: usize,
}

impl Pull {
    pub(super) fn new(election_ticks: usize) -> Self {
        Self { election_ticks, wait: 0 }
    }

    pub(super) fn tick(&mut self) {
        self.wait = self.wait.saturating_sub(1);
    }

    /// The next attempt, if one is due.
    pub(super) fn next<T: Storage>(&mut self, raft: &Raft<T>, primary: Option<MemberId>) -> Option<Step> {
        let primary = primary?;
        if self.wait > 0 {
            return None;
        }
        let step = if primary.0 == raft.id { self.take(raft) } else { hand_over(raft, primary) };
        if step.is_some() {
            // A transfer has one timeout to come about, and so has an election.
            self.wait = self.election_ticks;
        }
        step
    }

    /// A leader that has been silent for a timeout is none: its followers would vote for another.
    fn take<T: Storage>(&self, raft: &Raft<T>) -> Option<Step> {
        let silent = raft.leader_id == 0 || raft.election_elapsed >= self.election_ticks;
        let step = if silent { Step::Campaign } else { Step::Ask };
        (raft.state != StateRole::Leader && raft.promotable()).then_some(step)
    }
}

fn hand_over<T: Storage>(raft: &Raft<T>, primary: MemberId) -> Option<Step> {
    let voter = raft.prs().conf().voters().contains(primary.0);
    let active = raft.prs().get(primary.0).is_some_and(|progress| progress.recent_active);
    (raft.state == StateRole::Leader && voter && active).then_some(Step::Transfer(primary))
}
