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
    /// Calls of the disk at which the power went, those of restarts counted for each.
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

/// Runs the plan once as it is, then once for each call of the first node's disk and all that a cut of the power there can leave of
/// what was not synced: all, nothing, any sectors, the first sectors of every write. After `RESTARTS` of these cuts, about, all calls of
/// the start and of what comes after it are cut as well. `ran` is told of every run that passed.
///
/// # Errors
///
/// The first plan that violates a rule, and how.
pub fn every_call(seed: u64, plan: &Plan, ran: impl FnMut(&Outcome)) -> Result<Cuts, Box<(Plan, Failure)>> {
    let mut script = Script { seed, ran, cuts: Cuts::default() };
    let writes = script.run(plan.clone())?.counts.of(Happened::Acknowledged);
    script.cuts.calls = script.cut_each(|cut_at| Plan { cut_at, ..plan.clone() }, 1)?;
    let calls = script.cuts.calls as usize;
    for cut_at in (1..=calls).rev().step_by(calls.div_ceil(RESTARTS).max(1)) {
        script.cuts.calls += script.cut_each(|cut_again_at| Plan { cut_at, cut_again_at, ..plan.clone() }, 2)?;
    }
    Ok(Cuts { scripts: 1, writes, ..script.cuts })
}

/// Cuts of a script whose restarts are cut in turn.
const RESTARTS: usize = 8;

struct Script<F> {
    seed: u64,
    ran: F,
    cuts: Cuts,
}

impl<F: FnMut(&Outcome)> Script<F> {
    fn run(&mut self, plan: Plan) -> Result<Outcome, Box<(Plan, Failure)>> {
        match run(self.seed, &plan, false) {
            Ok(outcome) => {
                (self.ran)(&outcome);
                Ok(outcome)
            }
            Err(failure) => Err(Box::new((plan, *failure))),
        }
    }

    /// Cuts at the first call, the second one, and so on, until there is no such call whatever survives: fewer than `times` cuts. Returns
    /// how many there were.
    fn cut_each(&mut self, at: impl Fn(usize) -> Plan, times: u64) -> Result<u64, Box<(Plan, Failure)>> {
        let mut calls = 0;
        loop {
            let before = self.cuts.cuts;
            for cut_leaves in 0..Survives::ALL.len() {
                let counts = self.run(Plan { cut_leaves, ..at(calls as usize + 1) })?.counts;
                let was_cut = counts.of(Happened::PowerCut) + counts.of(Happened::CutInBoot) == times;
                self.cuts.cuts += u64::from(was_cut);
            }
            if self.cuts.cuts == before {
                return Ok(calls);
            }
            calls += 1;
        }
    }
}
