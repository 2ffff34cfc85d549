//! The search for a seed that notices a rule left out.

use mutant::Mutant;

use crate::plan::Plan;
use crate::run::run;

/// Looks for a mutant in some seeds.
#[derive(Clone, Copy, Debug)]
pub struct Hunt {
    mutant: Mutant,
    first: u64,
    seeds: u64,
}

/// A seed that fails with a mutant and passes without.
#[derive(Clone, Debug)]
pub struct Found {
    /// The seed.
    pub seed: u64,
    /// Seeds that were run, this one included.
    pub tried: u64,
    /// What was violated.
    pub what: String,
}

impl Hunt {
    /// In `seeds` seeds from `first` on.
    pub fn new(mutant: Mutant, first: u64, seeds: u64) -> Self {
        Self { mutant, first, seeds }
    }

    /// The first seed that notices; or how many did not.
    pub fn run(self) -> Result<Found, u64> {
        for tried in 1..=self.seeds {
            let seed = self.first + tried - 1;
            let plan = Plan::draw(seed);
            let failure = mutant::with(Some(self.mutant), || run(seed, &plan, false)).err();
            // A seed that fails anyway says nothing about the mutant.
            if let Some(failure) = failure.filter(|_| run(seed, &plan, false).is_ok()) {
                return Ok(Found { seed, tried, what: failure.what });
            }
        }
        Err(self.seeds)
    }
}

impl Found {
    /// The rule in a few words: the first line of what was said, without the place in the code, numbers apart.
    pub fn rule(&self) -> String {
        let said = self.what.split_once(":\n").map_or(self.what.as_str(), |(_, said)| said);
        said.lines().next().unwrap_or_default().replace('|', "/")
    }
}
