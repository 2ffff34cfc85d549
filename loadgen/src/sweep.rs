//! Rising rates, to find the knee: the highest rate that the server follows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::Failure;
use crate::plan::{Plan, Sweep};
use crate::progress::{Progress, time};
use crate::run::{self, Measured};

/// Of what is offered, this much must be answered at a good rate.
const ANSWERED_MIN: f64 = 0.99;

/// The knee is known well enough when the lowest bad rate is above the highest good one by no more than this factor.
const CLOSE_ENOUGH: f64 = 1.05;

/// All runs of a sweep, in the order of their rates.
#[derive(Debug)]
pub(crate) struct Swept {
    pub(crate) runs: Vec<Measured>,
    /// The highest good rate, if there was one below every bad rate.
    pub(crate) knee: Option<f64>,
}

/// Whether the server has followed.
fn is_good(sweep: Sweep, measured: &Measured) -> bool {
    let p99_us = measured.tally.requests().value_at_quantile(0.99);
    let offered = measured.offered.unwrap_or(0.0);
    measured.rate() >= offered * ANSWERED_MIN && u128::from(p99_us) <= sweep.limit_p99.as_micros()
}

/// Which rate comes next: a geometric rise until one is bad, then halves of the gap.
#[derive(Debug)]
struct Search {
    sweep: Sweep,
    factor: f64,
    good: Option<f64>,
    bad: Option<f64>,
    left: u32,
}

impl Search {
    fn new(sweep: Sweep) -> Self {
        let factor = (sweep.to / sweep.from).powf(1.0 / f64::from(sweep.steps - 1));
        Self { sweep, factor, good: None, bad: None, left: sweep.steps }
    }

    fn next(&mut self) -> Option<f64> {
        self.left = self.left.checked_sub(1)?;
        match (self.good, self.bad) {
            (None, None) => Some(self.sweep.from),
            (None, Some(_)) => None,
            (Some(good), None) => (good < self.sweep.to * 0.999).then(|| round(good * self.factor).min(self.sweep.to)),
            (Some(good), Some(bad)) => (bad / good > CLOSE_ENOUGH).then(|| round((good * bad).sqrt())),
        }
    }

    fn tell(&mut self, rate: f64, is_good: bool) {
        *(if is_good { &mut self.good } else { &mut self.bad }) = Some(rate);
    }
}

/// Whole numbers are easier to read; small rates stay as they are.
fn round(rate: f64) -> f64 {
    if rate < 100.0 { rate } else { rate.round() }
}

/// Runs at one rate after the other.
pub(crate) fn run(plan: &Plan, sweep: Sweep, interrupted: &AtomicBool, progress: Progress) -> Result<Swept, Failure> {
    let (mut search, mut runs) = (Search::new(sweep), Vec::new());
    while let Some(rate) = search.next() {
        let at_rate = Arc::new(Plan { rate: Some(rate), ..plan.clone() }.renamed());
        let measured = run::run(&at_rate, interrupted, progress)?;
        let is_good = is_good(sweep, &measured);
        let p99 = time(measured.tally.requests().value_at_quantile(0.99));
        let verdict = if is_good { "good" } else { "too much" };
        progress.say(&format!("{rate:.0}/s offered, {:.0}/s answered, p99 {p99}: {verdict}", measured.rate()));
        search.tell(rate, is_good);
        let is_interrupted = interrupted.load(Ordering::Relaxed);
        runs.push(measured);
        if is_interrupted {
            break;
        }
    }
    runs.sort_by(|a, b| a.offered.unwrap_or(0.0).total_cmp(&b.offered.unwrap_or(0.0)));
    Ok(Swept { runs, knee: search.good })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn search(limit: f64) -> (Vec<f64>, Option<f64>) {
        let sweep = Sweep { from: 1000.0, to: 64_000.0, steps: 12, limit_p99: Duration::from_millis(10) };
        let mut search = Search::new(sweep);
        let mut rates = Vec::new();
        while let Some(rate) = search.next() {
            rates.push(rate);
            search.tell(rate, rate <= limit);
        }
        (rates, search.good)
    }

    #[test]
    fn the_knee_is_found() {
        let (rates, knee) = search(9000.0);
        let knee = knee.expect("there is one");
        assert!((9000.0 / CLOSE_ENOUGH..=9000.0).contains(&knee), "{knee}");
        assert!(rates.len() <= 12, "{rates:?}");
    }

    #[test]
    fn a_server_may_follow_everywhere_or_nowhere() {
        let (rates, knee) = search(1e9);
        assert!((knee.expect("the highest") - 64_000.0).abs() < 100.0, "{rates:?}");
        assert_eq!(search(1.0), (vec![1000.0], None));
    }
}
