//! The group's own election timeouts: raft draws its from the thread's random source, which a run that depends on its
//! seed alone must not.

use raft::{Raft, StateRole, Storage};

use crate::random::SplitMix;

/// How many times T the longest timeout is at most.
pub(super) const LONGEST: usize = 4;

/// The timeout drawn last, and what for.
#[derive(Debug)]
pub(super) struct Timeouts {
    random: SplitMix,
    ticks: usize,
    patient: bool,
    drawn: usize,
    drawn_for: (u64, StateRole),
}

impl Timeouts {
    pub(super) fn new<T: Storage>(seed: u64, ticks: usize, raft: &mut Raft<T>) -> Self {
        let drawn_for = (raft.term, raft.state);
        let mut timeouts = Self { random: SplitMix::new(seed), ticks, patient: false, drawn: ticks, drawn_for };
        timeouts.draw(raft);
        timeouts
    }

    /// Whether to wait twice as long, because somebody else ought to stand for election first.
    pub(super) fn be_patient<T: Storage>(&mut self, patient: bool, raft: &mut Raft<T>) {
        if self.patient != patient {
            self.patient = patient;
            self.draw(raft);
        }
    }

    /// raft re-draws whenever its role or term changes; ours goes back in.
    pub(super) fn keep<T: Storage>(&mut self, raft: &mut Raft<T>) {
        let now = (raft.term, raft.state);
        if now != self.drawn_for {
            self.drawn_for = now;
            self.draw(raft);
        } else if raft.randomized_election_timeout() != self.drawn {
            raft.set_randomized_election_timeout(self.drawn);
        }
    }

    fn draw<T: Storage>(&mut self, raft: &mut Raft<T>) {
        let least = if self.patient { 2 * self.ticks } else { self.ticks };
        self.drawn = least + (self.random.draw() % least as u64) as usize;
        raft.set_randomized_election_timeout(self.drawn);
    }
}
