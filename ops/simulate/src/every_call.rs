//! A script of writes whose power goes at each call of the disk in turn.

use std::fmt;

use crate::counts::Happened;
use crate::disk::Survives;
use crate::plan::Plan;
use crate::run::{Failure, Outcome, run};

/// What was cut, of one script or several.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cuts {
    /// Runs without a cut.
    pub scripts: u64,
    /// Writes acknowledged in these.
    pub writes: u64,
    /// Calls of the disk at which the power went.
    pub calls: u64,
    /// Runs with a cut.
    pub cuts: u64,
}

impl Cuts {
    /// Takes in those of another script.
    pub fn merge(&mut self, other: &Self) {
        self.scripts += other.scripts;
        self.writes += other.writes;
        self.calls += other.calls;
        self.cuts += other.cuts;
    }
}

impl fmt::Display for Cuts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scripts, writes, calls, cuts } = self;
        write!(
            f,
            "{writes} writes in {scripts} scripts, the power cut at each of {calls} calls of the disk, {cuts} times in all"
        )
    }
}

/// Runs the plan once as it is, and then once for each call of the first node's disk and all that a cut of the power there can leave of
/// what was not synced: all, nothing, any sectors, the first sectors of every write. `ran` is told of every run that passed.
///
/// # Errors
///
/// The first plan that violates a rule, and how.
pub fn every_call(seed: u64, plan: &Plan, mut ran: impl FnMut(&Outcome)) -> Result<Cuts, Box<(Plan, Failure)>> {
    let mut one = |plan: Plan| match run(seed, &plan, false) {
        Ok(outcome) => {
            ran(&outcome);
            Ok(outcome)
        }
        Err(failure) => Err(Box::new((plan, *failure))),
    };
    let writes = one(plan.clone())?.counts.of(Happened::Acknowledged);
    let mut cuts = Cuts { scripts: 1, writes, ..Cuts::default() };
    loop {
        let cut_at = cuts.calls as usize + 1;
        for cut_leaves in 0..Survives::ALL.len() {
            if !was_cut(&one(Plan { cut_at, cut_leaves, ..plan.clone() })?) {
                // The script has no such call.
                return Ok(cuts);
            }
            cuts.cuts += 1;
        }
        cuts.calls += 1;
    }
}

fn was_cut(outcome: &Outcome) -> bool {
    outcome.counts.of(Happened::PowerCut) + outcome.counts.of(Happened::CutInBoot) > 0
}
