//! Plots, drawn by hand as SVG: nothing has to be loaded to see them.

use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 52.0;

/// Marks along an axis, more or less.
const MARKS: f64 = 6.0;

/// How values become places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    /// Powers of ten.
    Log,
    /// Quantiles by their nines: 0.9, 0.99, 0.999 are as far from each other.
    Nines,
}

/// One axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// What is shown, with its unit.
    pub(super) title: String,
    pub(super) scale: Scale,
}

impl Axis {
    pub(super) fn new(title: &str, scale: Scale) -> Self {
        Self { title: title.to_owned(), scale }
    }
}

/// One line of a plot. `class` gives it its colour: `c0` to `c4`, or `guide`.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) class: &'static str,
    pub(super) points: Vec<(f64, f64)>,
}

/// A plot.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
    /// A place on the x axis worth a line of its own.
    pub(super) mark: Option<(f64, String)>,
}

/// An axis with the range of what is shown on it.
struct Range {
    scale: Scale,
    min: f64,
    max: f64,
}

impl Range {
    fn over(scale: Scale, values: impl Iterator<Item = f64>) -> Self {
        let (min, max) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), v| (min.min(v), max.max(v)));
        let (min, max) = if min.is_finite() { (min, max) } else { (0.0, 1.0) };
        match scale {
            Scale::Linear => Self { scale, min: 0.0, max: if max > 0.0 { max * 1.05 } else { 1.0 } },
            Scale::Log => {
                let (low, high) = (min.max(1e-9).log10().floor(), max.max(1e-9).log10().ceil());
                Self { scale, min: low, max: if high > low { high } else { low + 1.0 } }
            }
            Scale::Nines => Self { scale, min: 0.0, max: nines(max).max(1.0) },
        }
    }

    /// Where a value is, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let value = match self.scale {
            Scale::Linear => value,
            Scale::Log => value.max(1e-9).log10(),
            Scale::Nines => nines(value),
        };
        ((value - self.min) / (self.max - self.min)).clamp(0.0, 1.0)
    }

    /// Values to be marked, with their texts.
    fn marks(&self) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Linear => {
                let step = nice_step(self.max / MARKS);
                (0..=(self.max / step) as u32).map(|n| f64::from(n) * step).map(|v| (v, number(v))).collect()
            }
            Scale::Log => {
                let decades = self.min as i32..=self.max as i32;
                decades.map(|decade| 10f64.powi(decade)).map(|v| (v, number(v))).collect()
            }
            Scale::Nines => {
                let marks = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999_999];
                marks.into_iter().filter(|v| nines(*v) <= self.max).map(|v| (v, percent(v))).collect()
            }
        }
    }
}

fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-7).log10()
}

fn nice_step(rough: f64) -> f64 {
    let decade = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * decade).find(|step| *step >= rough).unwrap_or(10.0 * decade)
}

fn number(value: f64) -> String {
    let trim = |text: String| {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    };
    match value {
        v if v >= 1e6 => trim(format!("{:.2}", v / 1e6)) + "M",
        v if v >= 1e4 => trim(format!("{:.1}", v / 1e3)) + "k",
        v => trim(format!("{v:.3}")),
    }
}

fn percent(quantile: f64) -> String {
    let text = format!("{:.4}", quantile * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Text as it may stand in HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Plot {
    /// The `svg` element.
    pub(super) fn draw(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x = Range::over(self.x.scale, points().map(|point| point.0));
        let y = Range::over(self.y.scale, points().map(|point| point.1));
        let mut out =
            format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n", escape(&self.title));
        self.push_frame(&mut out, &x, &y);
        if let Some((at, text)) = &self.mark {
            let at = at_x(x.place(*at));
            let _ = writeln!(
                out,
                "<line class=\"mark\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>",
                HEIGHT - BOTTOM
            );
            let _ = writeln!(
                out,
                "<text class=\"mark\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                at - 4.0,
                TOP + 12.0,
                escape(text)
            );
        }
        for line in &self.lines {
            push_line(&mut out, line, &x, &y);
        }
        self.push_legend(&mut out);
        out + "</svg>\n"
    }

    // Writing to a string cannot fail: the results are dropped.

    fn push_frame(&self, out: &mut String, x: &Range, y: &Range) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, text) in y.marks() {
            let at = at_y(y.place(value));
            let _ = writeln!(out, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>");
            let _ =
                writeln!(out, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>", LEFT - 6.0, at + 4.0);
        }
        for (value, text) in x.marks() {
            let at = at_x(x.place(value));
            let _ = writeln!(out, "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>");
            let _ =
                writeln!(out, "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>", bottom + 16.0);
        }
        let _ = writeln!(out, "<text class=\"title\" x=\"{LEFT}\" y=\"16\">{}</text>", escape(&self.title));
        let middle = f64::midpoint(LEFT, right);
        let _ = writeln!(
            out,
            "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 14.0,
            escape(&self.x.title)
        );
        let middle = f64::midpoint(TOP, bottom);
        let _ = writeln!(
            out,
            "<text transform=\"translate(16 {middle:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            escape(&self.y.title)
        );
    }

    fn push_legend(&self, out: &mut String) {
        let mut at = WIDTH - RIGHT;
        for line in self.lines.iter().rev() {
            let text = escape(&line.name);
            let _ = writeln!(
                out,
                "<text class=\"legend {}\" x=\"{at:.1}\" y=\"16\" text-anchor=\"end\">{text}</text>",
                line.class
            );
            // Letters are about seven units wide.
            at -= line.name.len() as f64 * 7.0 + 18.0;
        }
    }
}

fn at_x(place: f64) -> f64 {
    LEFT + place * (WIDTH - LEFT - RIGHT)
}

fn at_y(place: f64) -> f64 {
    HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)
}

fn push_line(out: &mut String, line: &Line, x: &Range, y: &Range) {
    let places: Vec<_> = line.points.iter().map(|(px, py)| (at_x(x.place(*px)), at_y(y.place(*py)))).collect();
    let _ = write!(out, "<polyline class=\"{}\" points=\"", line.class);
    for (px, py) in &places {
        let _ = write!(out, "{px:.1},{py:.1} ");
    }
    out.push_str("\"/>\n");
    // Few points are values to be pointed at; many are a curve.
    if places.len() <= 40 && line.class != "guide" {
        for ((px, py), (vx, vy)) in places.iter().zip(&line.points) {
            let title = format!("{}: {} at {}", escape(&line.name), number(*vy), number(*vx));
            let _ = writeln!(
                out,
                "<circle class=\"{}\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3\"><title>{title}</title></circle>",
                line.class
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_numbers() {
        let texts = |scale, max| {
            let range = Range::over(scale, [0.9, max].into_iter());
            range.marks().into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(texts(Scale::Linear, 95.0), "0 20 40 60 80");
        assert_eq!(texts(Scale::Log, 950.0), "0.1 1 10 100 1000");
        assert_eq!(texts(Scale::Nines, 0.999), "0 % 50 % 90 % 99 % 99.9 %");
        assert_eq!((number(12_500.0), number(2_000_000.0)), ("12.5k".to_owned(), "2M".to_owned()));
    }

    #[test]
    fn what_lies_outside_is_drawn_at_the_edge() {
        let range = Range::over(Scale::Log, [1.0, 100.0].into_iter());
        assert_eq!((range.place(0.0), range.place(10.0), range.place(1e9)), (0.0, 0.5, 1.0));
    }

    #[test]
    fn a_plot_without_points_is_a_frame() {
        let axis = Axis::new("<x>", Scale::Linear);
        let lines = vec![Line { name: "a".to_owned(), class: "c0", points: Vec::new() }];
        let plot = Plot { title: "t".to_owned(), x: axis.clone(), y: axis, lines, mark: None };
        let drawn = plot.draw();
        assert!(drawn.contains("&lt;x&gt;") && !drawn.contains("NaN"), "{drawn}");
    }
}
