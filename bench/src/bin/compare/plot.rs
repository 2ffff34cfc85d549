//! The plot of a sweep: one file that needs nothing else.

use std::fmt::Write as _;

use crate::results::{Report, SweepPoint};
use crate::stats::median;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 50.0;

/// Lines across.
const MARKS: u32 = 5;

/// Colours of put and get.
const COLOURS: [&str; 2] = ["#c2410c", "#1d4ed8"];

/// Where values stand.
struct Scale {
    executors_max: f64,
    rate_max: f64,
}

impl Scale {
    fn x(&self, executors: f64) -> f64 {
        LEFT + executors / self.executors_max * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, rate: f64) -> f64 {
        HEIGHT - BOTTOM - rate / self.rate_max * (HEIGHT - TOP - BOTTOM)
    }
}

pub(crate) fn render(report: &Report) -> String {
    let points: Vec<(&SweepPoint, f64)> =
        report.sweep.iter().filter_map(|point| Some((point, median(point.rates.iter().copied())?))).collect();
    let highest = |values: &mut dyn Iterator<Item = f64>| values.fold(1.0, f64::max);
    let scale = Scale {
        executors_max: highest(&mut points.iter().map(|(point, _)| point.executors as f64)),
        rate_max: round_up(highest(&mut points.iter().map(|&(_, rate)| rate))),
    };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
<text x=\"{LEFT}\" y=\"22\" font-size=\"15\">Requests per second over executors (dashed: as many times the first)</text>\n"
    );
    push_axes(&mut out, &scale, points.iter().map(|(point, _)| point.executors));
    for (number, workload) in ["put", "get"].into_iter().enumerate() {
        let line: Vec<_> = points.iter().copied().filter(|(point, _)| point.workload == workload).collect();
        push_line(&mut out, &scale, &line, number);
    }
    for (row, reason) in report.left_out.iter().enumerate() {
        let y = HEIGHT - BOTTOM - 8.0 - 16.0 * row as f64;
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{y}\" text-anchor=\"end\" fill=\"#666\">left out: {reason}</text>",
            WIDTH - RIGHT
        );
    }
    out.push_str("</svg>\n");
    out
}

fn push_axes(out: &mut String, scale: &Scale, executors: impl Iterator<Item = usize>) {
    for mark in 0..=MARKS {
        let rate = scale.rate_max * f64::from(mark) / f64::from(MARKS);
        let y = scale.y(rate);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{rate:.0}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            y + 4.0
        );
    }
    let mut shown: Vec<usize> = executors.collect();
    shown.sort_unstable();
    shown.dedup();
    for executors in shown {
        let (x, y) = (scale.x(executors as f64), HEIGHT - BOTTOM + 20.0);
        let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{executors}</text>");
    }
}

fn push_line(out: &mut String, scale: &Scale, line: &[(&SweepPoint, f64)], number: usize) {
    let Some(&(first, rate)) = line.first() else { return };
    let colour = COLOURS[number % COLOURS.len()];
    let path = |points: &mut dyn Iterator<Item = (f64, f64)>| {
        points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ")
    };
    let measured = path(&mut line.iter().map(|(point, rate)| (scale.x(point.executors as f64), scale.y(*rate))));
    let each = rate / first.executors as f64;
    let end = (scale.rate_max / each).min(scale.executors_max);
    let begin = first.executors as f64;
    let ideal = path(&mut [begin, end].into_iter().map(|n| (scale.x(n), scale.y(n * each))));
    let _ = writeln!(
        out,
        "<polyline points=\"{ideal}\" fill=\"none\" stroke=\"{colour}\" stroke-dasharray=\"4 4\" opacity=\"0.5\"/>\n\
<polyline points=\"{measured}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
<text x=\"{}\" y=\"42\" fill=\"{colour}\">{}</text>",
        LEFT + 60.0 * number as f64,
        first.workload.to_uppercase()
    );
    for (point, rate) in line {
        // Hollow: the load generator had no CPU of its own.
        let fill = if point.shared { "#fff" } else { colour };
        let (x, y) = (scale.x(point.executors as f64), scale.y(*rate));
        let _ = writeln!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
    }
}

/// The next number with one digit that is not zero.
fn round_up(value: f64) -> f64 {
    let unit = 10f64.powf(value.log10().floor());
    (value / unit).ceil() * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(workload: &'static str, executors: usize, rate: f64, shared: bool) -> SweepPoint {
        SweepPoint {
            workload,
            executors,
            connections: 64,
            shared,
            rates: vec![rate],
            cpu_us: vec![1.0],
            others: vec![0.0],
            client: vec![0.5],
        }
    }

    #[test]
    fn every_point_is_drawn_and_what_is_left_out_is_named() {
        let report = Report {
            sweep: vec![point("put", 1, 100.0, false), point("put", 2, 190.0, true), point("get", 1, 150.0, false)],
            left_out: vec!["4 executors: this machine has 2 CPUs".to_owned()],
            ..Report::default()
        };
        let svg = render(&report);
        assert_eq!((svg.matches("<circle").count(), svg.matches("fill=\"#fff\" stroke").count()), (3, 1));
        assert!(svg.contains("left out: 4 executors") && svg.contains(">200</text>"), "{svg}");
        assert!(
            !svg.contains("NaN") && !svg.contains("http://") || svg.matches("http://").count() == 1,
            "loads nothing"
        );
        assert!(render(&Report::default()).ends_with("</svg>\n"));
    }

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, want) in [(1.0, 1.0), (190.0, 200.0), (200.0, 200.0), (61_000.0, 70_000.0)] {
            assert!((round_up(value) - want).abs() < 1e-6, "{value}");
        }
    }
}
