//! What came out, for people and for programs.

mod hgrm;
mod html;
mod json;
mod plots;
mod svg;
mod table;

use std::fs;
use std::path::Path;

use crate::cli::Options;
use crate::op::Op;
use crate::plan::Plan;
use crate::run::Measured;
use crate::sweep::Swept;

/// Percentiles that are shown.
const PERCENTILES: [f64; 6] = [50.0, 90.0, 95.0, 99.0, 99.9, 99.99];

/// One run, or all runs of a sweep.
#[derive(Debug)]
pub(crate) struct Report {
    /// What was done, in one line.
    what: String,
    is_sweep: bool,
    /// Of a sweep: the highest rate that the server followed.
    knee: Option<f64>,
    /// Never empty; of a sweep in the order of the rates.
    runs: Vec<Measured>,
}

impl Report {
    /// The report of a single run.
    pub(crate) fn of_run(plan: &Plan, measured: Measured) -> Self {
        Self { what: plan.describe(), is_sweep: false, knee: None, runs: vec![measured] }
    }

    /// The report of a sweep.
    pub(crate) fn of_sweep(plan: &Plan, swept: Swept) -> Self {
        assert!(!swept.runs.is_empty(), "a sweep has a first rate");
        Self { what: plan.describe(), is_sweep: true, knee: swept.knee, runs: swept.runs }
    }

    /// The run to look at in detail: of a sweep that at the knee, or the lowest rate when there was no good one.
    fn main_run(&self) -> &Measured {
        let at_knee = self.runs.iter().find(|run| self.knee.is_some() && run.offered == self.knee);
        at_knee.unwrap_or(&self.runs[0])
    }

    /// Prints it, and writes the files that were asked for. The error is one line for the user.
    pub(crate) fn write(&self, options: &Options) -> Result<(), String> {
        if options.json {
            println!("{}", json::document(self));
        } else {
            print!("{}", table::text(self));
        }
        let write = |file: &Path, text: String| {
            fs::write(file, text).map_err(|error| format!("{} cannot be written: {error}", file.display()))
        };
        if let Some(file) = &options.hgrm {
            write(file, hgrm::text(&self.main_run().tally.requests()))?;
        }
        if let Some(file) = &options.html {
            write(file, html::page(self))?;
        }
        Ok(())
    }
}

/// The kinds of which a run has latencies.
fn ops(run: &Measured) -> impl Iterator<Item = Op> {
    Op::ALL.into_iter().filter(|op| run.tally.count(*op) > 0)
}

#[cfg(test)]
mod testing {
    //! A report to be shown.

    use std::time::{Duration, Instant};

    use super::*;
    use crate::record::{Recorder, Window};
    use crate::script::testing::stage;
    use crate::timeline::Row;

    fn measured(offered: Option<f64>) -> Measured {
        let from = Instant::now();
        let until = from + Duration::from_secs(2);
        let (sender, _receiver) = std::sync::mpsc::channel::<crate::record::Interval>();
        let mut recorder = Recorder::new(sender);
        recorder.begin(Window { begun: from, from, until, interval: Duration::from_secs(1) });
        for n in 1..=1000 {
            let answered = from + Duration::from_micros(n);
            recorder.record(Op::Put, from, from + Duration::from_micros(n / 2), answered);
        }
        let row = |end_s| Row { end_s, requests: 500, p50_us: 250, p99_us: 495, max_us: 500 };
        let tally = recorder.end();
        Measured { offered, tally, timeline: vec![row(1.0), row(2.0)], seconds: 2.0, is_interrupted: false }
    }

    /// A closed loop, or a sweep of two rates.
    pub(super) fn report(is_sweep: bool) -> Report {
        let plan = &stage(&[]).plan;
        if !is_sweep {
            return Report::of_run(plan, measured(None));
        }
        let runs = vec![measured(Some(500.0)), measured(Some(1000.0))];
        Report::of_sweep(plan, Swept { runs, knee: Some(500.0) })
    }
}
