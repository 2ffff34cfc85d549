//! The table on standard output.

use std::fmt::Write as _;

use super::{PERCENTILES, Report, ops};
use crate::op::Op;
use crate::progress::time;
use crate::record::Latencies;
use crate::run::Measured;

/// The whole text.
pub(super) fn text(report: &Report) -> String {
    let mut out = format!("{}\n", report.what);
    if report.is_sweep {
        push_sweep(&mut out, report);
    }
    push_run(&mut out, report.main_run());
    out
}

// Writing to a string cannot fail: the results are dropped.

fn push_sweep(out: &mut String, report: &Report) {
    let _ = writeln!(out, "\n{:>12} {:>12} {:>10} {:>10} {:>10}", "offered/s", "answered/s", "p50", "p99", "p99.9");
    for run in &report.runs {
        let all = run.tally.requests();
        let at = |quantile| time(all.value_at_quantile(quantile));
        let mark = if run.offered == report.knee { "  knee" } else { "" };
        let offered = run.offered.unwrap_or(0.0);
        let _ = writeln!(
            out,
            "{offered:>12.0} {:>12.0} {:>10} {:>10} {:>10}{mark}",
            run.rate(),
            at(0.5),
            at(0.99),
            at(0.999)
        );
    }
    let _ = match report.knee {
        Some(knee) => writeln!(out, "\nknee: {knee:.0} requests per second; in detail:"),
        None => writeln!(out, "\nno knee: the lowest rate was too much already; in detail:"),
    };
}

fn push_run(out: &mut String, run: &Measured) {
    let _ = write!(out, "{} requests in {:.2} s: {:.0} per second", run.tally.answered(), run.seconds, run.rate());
    if let Some(offered) = run.offered {
        let _ = write!(out, " of {offered:.0} offered");
    }
    let unsent = run.tally.count(Op::Unsent);
    if unsent > 0 {
        let _ = write!(out, "; {unsent} due and not sent");
    }
    if run.tally.resumed > 0 {
        let _ = write!(out, "; {} watches ended early and were taken up again", run.tally.resumed);
    }
    if run.is_interrupted {
        out.push_str("; interrupted");
    }
    let _ = write!(out, "\n{:<14} {:>10}", "", "count");
    for percentile in PERCENTILES {
        let _ = write!(out, " {:>10}", format!("p{percentile}"));
    }
    let _ = writeln!(out, " {:>10} {:>10}", "max", "mean");
    push_row(out, "all", &run.tally.requests());
    if run.offered.is_some() {
        push_row(out, "since sent", &run.tally.service);
    }
    for op in ops(run) {
        run.tally.of(op).into_iter().for_each(|latencies| push_row(out, op.name(), latencies));
    }
}

fn push_row(out: &mut String, name: &str, latencies: &Latencies) {
    let _ = write!(out, "{name:<14} {:>10}", latencies.len());
    for percentile in PERCENTILES {
        let _ = write!(out, " {:>10}", time(latencies.value_at_percentile(percentile)));
    }
    let _ = writeln!(out, " {:>10} {:>10}", time(latencies.max()), time(latencies.mean() as u64));
}

#[cfg(test)]
mod tests {
    use super::super::testing::report;
    use super::*;

    #[test]
    fn a_run_has_a_row_for_each_kind() {
        let text = text(&report(false));
        assert!(text.contains("1000 requests in 2.00 s: 500 per second"), "{text}");
        let put = text.lines().find(|line| line.starts_with("put ")).expect("a row");
        assert!(put.contains("500 us") && put.contains("990 us"), "{put}");
    }

    #[test]
    fn a_sweep_names_the_knee() {
        let text = text(&report(true));
        assert!(text.contains("knee: 500 requests per second"), "{text}");
        assert_eq!(text.lines().filter(|line| line.ends_with("  knee")).count(), 1, "{text}");
    }
}
