//! `simulate`: runs seeds of the simulation, and reports the first that violates a rule.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use simulate::{Cuts, Failure, Happened, Outcome, Plan, Tally, every_call, run, shrink};

#[cfg(feature = "mutants")]
mod mutants;

/// Runs whole clusters of uetcd with faults, each drawn from a seed.
#[derive(Debug, Parser)]
#[command(version, about)]
#[allow(clippy::struct_excessive_bools, reason = "flags of a command line")]
struct Options {
    /// Run this seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Run so many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first one of them.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Run seeds for so long instead.
    #[arg(long)]
    hours: Option<f64>,
    /// Change a number of the plan that the seed draws, as NAME=NUMBER.
    #[arg(long = "set", value_name = "NAME=NUMBER")]
    set: Vec<String>,
    /// Go on after a failure.
    #[arg(long)]
    keep_going: bool,
    /// Runs that may be spent on making a failing plan smaller.
    #[arg(long, default_value_t = 60)]
    shrink: usize,
    /// Run every seed twice: both have to be the same, step by step.
    #[arg(long)]
    twice: bool,
    /// One node without other faults: of every seed, cut the power at each call of the disk, and see all that it may leave.
    #[arg(long, conflicts_with = "twice")]
    every_call: bool,
    /// Print the plan and the trace's hash of every seed.
    #[arg(long)]
    verbose: bool,
    /// Leave out a rule on purpose, and see the first seed that notices.
    #[cfg(feature = "mutants")]
    #[arg(long, value_name = "NAME")]
    mutant: Option<String>,
    /// Do so with every rule that can be left out, and print a table.
    #[cfg(feature = "mutants")]
    #[arg(long)]
    mutants: bool,
}

/// Seeds from which on every fault must have occurred in one of a hundred.
const CAMPAIGN: u64 = 300;

/// How often progress is said.
const PROGRESS: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let options = Options::parse();
    #[cfg(feature = "mutants")]
    let done = mutants::search(options);
    #[cfg(not(feature = "mutants"))]
    let done = Search::new(options).run();
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("simulate: {error}");
            ExitCode::from(2)
        }
    }
}

/// The seeds so far.
struct Search {
    options: Options,
    begun: Instant,
    said: Instant,
    tally: Tally,
    done: u64,
    failed: Vec<u64>,
    /// The longest time from healing to rest, in election timeouts.
    rest_after: f64,
    cuts: Cuts,
}

impl Search {
    fn new(options: Options) -> Self {
        let begun = Instant::now();
        Self {
            options,
            begun,
            said: begun,
            tally: Tally::default(),
            done: 0,
            failed: Vec::new(),
            rest_after: 0.0,
            cuts: Cuts::default(),
        }
    }

    /// True: no seed has failed.
    fn run(mut self) -> Result<bool, String> {
        let (first, count) = match (self.options.seed, self.options.hours) {
            (Some(seed), _) => (seed, 1),
            (None, Some(_)) => (self.options.first, u64::MAX),
            (None, None) => (self.options.first, self.options.seeds),
        };
        let long_enough = self.options.hours.map(|hours| Duration::from_secs_f64(hours.max(0.0) * 3600.0));
        for nth in 0..count {
            if long_enough.is_some_and(|long_enough| self.begun.elapsed() >= long_enough) {
                break;
            }
            self.seed(first.saturating_add(nth))?;
            if !self.failed.is_empty() && !self.options.keep_going {
                break;
            }
        }
        Ok(self.report() && self.failed.is_empty())
    }

    fn seed(&mut self, seed: u64) -> Result<(), String> {
        let plan = Plan::draw(seed);
        let mut plan = if self.options.every_call { plan.alone() } else { plan };
        for text in &self.options.set {
            plan.set(text)?;
        }
        let passed = if self.options.every_call { self.every_call(seed, &plan) } else { self.one(seed, &plan) };
        if !passed {
            self.failed.push(seed);
        }
        self.done += 1;
        self.say_progress(seed);
        Ok(())
    }

    /// One run. True: it kept all rules.
    fn one(&mut self, seed: u64, plan: &Plan) -> bool {
        match run(seed, plan, false) {
            Ok(outcome) if self.options.twice && !is_the_same(seed, plan, &outcome) => {
                println!("seed {seed} is another run each time");
                false
            }
            Ok(outcome) => {
                if self.options.verbose {
                    println!("seed {seed}: hash {:016x}, {plan}", outcome.trace_hash);
                }
                self.note(&outcome);
                true
            }
            Err(failure) => {
                self.explain(seed, plan, &failure);
                false
            }
        }
    }

    /// A script whose power is cut at each call of the disk. True: everything acknowledged was always there after it.
    fn every_call(&mut self, seed: u64, plan: &Plan) -> bool {
        let done = every_call(seed, plan, |outcome| {
            self.note(outcome);
            self.say_progress(seed);
        });
        match done {
            Ok(cuts) => {
                self.cuts.merge(&cuts);
                true
            }
            Err(failed) => {
                let (plan, failure) = *failed;
                self.explain(seed, &plan, &failure);
                false
            }
        }
    }

    fn note(&mut self, outcome: &Outcome) {
        self.tally.add(&outcome.counts);
        self.rest_after = self.rest_after.max(outcome.rest_after);
    }

    fn say_progress(&mut self, seed: u64) {
        if self.said.elapsed() >= PROGRESS {
            self.said = Instant::now();
            let acknowledged = self.tally.counts.of(Happened::Acknowledged);
            let (seconds, failed) = (self.begun.elapsed().as_secs(), self.failed.len());
            eprintln!(
                "{seconds} s: {} seeds, the last {seed}, {acknowledged} commands acknowledged, {failed} failed",
                self.done
            );
        }
    }

    /// All that is needed to look into a failure.
    fn explain(&self, seed: u64, plan: &Plan, failure: &Failure) {
        println!("seed {seed} violates a rule: {}", failure.what);
        println!("plan: {plan}");
        let small = shrink(seed, plan, self.options.shrink);
        let Err(failure) = run(seed, &small, true) else { return };
        for line in &failure.trace {
            println!("{line}");
        }
        let mut original = Plan::draw(seed);
        let mut small = small;
        let knobs = small.knobs();
        let changed = original.knobs().into_iter().zip(knobs).filter(|((_, a), (_, b))| a != b);
        let set: Vec<String> = changed.map(|(_, (name, value))| format!("--set {name}={value}")).collect();
        println!("in short, seed {seed} violates: {}", failure.what);
        println!("again: simulate {}--seed {seed} {}", planted(&self.options), set.join(" "));
    }

    /// False: some fault hardly occurred, in a campaign that is large enough to say so.
    fn report(&self) -> bool {
        let passed = self.done - self.failed.len() as u64;
        println!("{} seeds, {} failed {:?}", self.done, self.failed.len(), self.failed);
        if self.options.every_call {
            println!("cuts: {}", self.cuts);
            return true;
        }
        if passed == 0 {
            return true;
        }
        println!("at rest after healing within {:.1} election timeouts", self.rest_after);
        let faults = Happened::ALL.iter().filter(|what| what.is_fault());
        let rarest = faults.map(|what| self.tally.runs_with(*what)).min().unwrap_or(0);
        println!("every fault in {:.1} % of the seeds at least", rarest as f64 * 100.0 / passed as f64);
        for what in Happened::ALL {
            let seeds = self.tally.runs_with(*what);
            let rare = if what.is_fault() && seeds * 100 < passed { "  in less than 1 % of the seeds" } else { "" };
            println!("  {:<36} {:>10} in {seeds} seeds{rare}", what.name(), self.tally.counts.of(*what));
        }
        passed < CAMPAIGN || !self.options.set.is_empty() || rarest * 100 >= passed
    }
}

fn is_the_same(seed: u64, plan: &Plan, outcome: &Outcome) -> bool {
    run(seed, plan, false).is_ok_and(|again| again.trace_hash == outcome.trace_hash)
}

/// The option that names the rule left out, if there is one.
#[cfg(feature = "mutants")]
fn planted(options: &Options) -> String {
    options.mutant.as_ref().map_or_else(String::new, |name| format!("--mutant {name} "))
}

#[cfg(not(feature = "mutants"))]
fn planted(_: &Options) -> &'static str {
    ""
}
