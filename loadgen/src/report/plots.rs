//! Which plots a report has.

use super::Report;
use super::svg::{Axis, Line, Plot, Scale};
use crate::op::Op;
use crate::record::Latencies;
use crate::run::Measured;

/// Points of a curve over quantiles between two halvings of the distance to 100 %.
const TICKS: u32 = 6;

/// Colours of lines, in the order of their use.
const CLASSES: [&str; 5] = ["c0", "c1", "c2", "c3", "c4"];

/// All plots of a report.
pub(super) fn plots(report: &Report) -> Vec<Plot> {
    let run = report.main_run();
    let mut plots = Vec::new();
    if report.is_sweep {
        plots.extend([throughput(report), latency_over_load(report)]);
    }
    plots.push(percentiles(run));
    plots.extend([latency_over_time(run), rate_over_time(run)]);
    plots
}

fn line(name: &str, class: &'static str, points: impl Iterator<Item = (f64, f64)>) -> Line {
    Line { name: name.to_owned(), class, points: points.collect() }
}

fn ms(us: u64) -> f64 {
    us as f64 / 1e3
}

fn mark(report: &Report) -> Option<(f64, String)> {
    report.knee.map(|knee| (knee, format!("knee: {knee:.0}/s")))
}

fn throughput(report: &Report) -> Plot {
    let offered = |run: &Measured| run.offered.unwrap_or(0.0);
    let answered = report.runs.iter().map(|run| (offered(run), run.rate()));
    let all = report.runs.iter().map(|run| (offered(run), offered(run)));
    Plot {
        title: "Throughput over offered load".to_owned(),
        x: Axis::new("offered, requests per second", Scale::Linear),
        y: Axis::new("answered, per second", Scale::Linear),
        lines: vec![line("all that is offered", "guide", all), line("answered", "c0", answered)],
        mark: mark(report),
    }
}

fn latency_over_load(report: &Report) -> Plot {
    let at = |quantile: f64| {
        let runs = report.runs.iter();
        runs.map(move |run| (run.offered.unwrap_or(0.0), ms(run.tally.requests().value_at_quantile(quantile))))
    };
    Plot {
        title: "Latency over offered load".to_owned(),
        x: Axis::new("offered, requests per second", Scale::Linear),
        y: Axis::new("latency, ms", Scale::Log),
        lines: vec![line("p50", "c0", at(0.5)), line("p99", "c1", at(0.99)), line("p99.9", "c2", at(0.999))],
        mark: mark(report),
    }
}

fn percentiles(run: &Measured) -> Plot {
    let curve = |latencies: &Latencies| {
        let steps = latencies.iter_quantiles(TICKS);
        // The last step is 100 %, which is infinitely many nines.
        let points = steps.map(|step| (step.quantile_iterated_to(), ms(step.value_iterated_to())));
        points.filter(|(quantile, _)| *quantile < 1.0).collect::<Vec<_>>()
    };
    let mut curves = vec![("all requests", curve(&run.tally.requests()))];
    if run.offered.is_some() {
        curves.push(("since sent", curve(&run.tally.service)));
    }
    let kinds: Vec<_> = super::ops(run).filter(|op| *op != Op::Unsent).collect();
    if kinds.len() > 1 {
        let parts = kinds.into_iter().filter_map(|op| Some((op.name(), curve(run.tally.of(op)?))));
        curves.extend(parts.take(CLASSES.len() - curves.len()));
    }
    let lines = curves.into_iter().zip(CLASSES).map(|((name, points), class)| line(name, class, points.into_iter()));
    Plot {
        title: "Latency by percentile".to_owned(),
        x: Axis::new("percentile", Scale::Nines),
        y: Axis::new("latency, ms", Scale::Log),
        lines: lines.collect(),
        mark: None,
    }
}

fn latency_over_time(run: &Measured) -> Plot {
    // Nothing was answered in a row without requests; it has no latency.
    let rows = || run.timeline.iter().filter(|row| row.requests > 0);
    Plot {
        title: "Latency over time".to_owned(),
        x: Axis::new("time, s", Scale::Linear),
        y: Axis::new("latency, ms", Scale::Log),
        lines: vec![
            line("p50", "c0", rows().map(|row| (row.end_s, ms(row.p50_us)))),
            line("p99", "c1", rows().map(|row| (row.end_s, ms(row.p99_us)))),
            line("max", "c2", rows().map(|row| (row.end_s, ms(row.max_us)))),
        ],
        mark: None,
    }
}

fn rate_over_time(run: &Measured) -> Plot {
    let interval_s = run.timeline.first().map_or(1.0, |row| row.end_s);
    let rates = run.timeline.iter().map(|row| (row.end_s, row.requests as f64 / interval_s));
    let mut lines = vec![line("answered", "c0", rates)];
    if let Some(offered) = run.offered {
        lines.push(line("offered", "guide", run.timeline.iter().map(|row| (row.end_s, offered))));
    }
    Plot {
        title: "Requests over time".to_owned(),
        x: Axis::new("time, s", Scale::Linear),
        y: Axis::new("requests per second", Scale::Linear),
        lines,
        mark: None,
    }
}
