//! The text exposition of Prometheus, version 0.0.4.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::{Display, Write as _};

use super::cell::Histogram;

/// What a metric is, in the words of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Fixed buckets.
    Histogram,
    /// Quantiles.
    Summary,
}

impl Kind {
    const fn text(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// One label: its name and its value.
pub(super) type LabelPair<'a> = (&'a str, &'a dyn Display);

/// The page under construction; metrics come in any order and are shown by name.
#[derive(Default)]
pub(super) struct Page {
    metrics: BTreeMap<&'static str, Metric>,
}

/// The two lines about a metric, and its samples.
struct Metric {
    about: String,
    samples: String,
}

impl Page {
    /// Begins a metric; its samples follow through the result. A name stands once on a page.
    pub(super) fn metric(&mut self, name: &'static str, kind: Kind, help: &str) -> Samples<'_> {
        let about = format!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.text());
        let Entry::Vacant(place) = self.metrics.entry(name) else { panic!("{name} stands twice") };
        Samples { name, text: &mut place.insert(Metric { about, samples: String::new() }).samples }
    }

    /// The page. A metric without samples is left out, as in etcd.
    pub(super) fn finish(self) -> Vec<u8> {
        let shown = self.metrics.into_values().filter(|metric| !metric.samples.is_empty());
        shown.flat_map(|metric| [metric.about, metric.samples]).collect::<String>().into_bytes()
    }
}

/// The samples of one metric.
pub(super) struct Samples<'a> {
    name: &'static str,
    text: &'a mut String,
}

impl Samples<'_> {
    /// One value without labels.
    pub(super) fn value(&mut self, value: impl Display) {
        self.sample("", &[], value);
    }

    /// One value with labels.
    pub(super) fn labelled(&mut self, labels: &[LabelPair<'_>], value: impl Display) {
        self.sample("", labels, value);
    }

    /// The sum and the count of a summary.
    pub(super) fn totals(&mut self, labels: &[LabelPair<'_>], sum: f64, count: u64) {
        self.sample("_sum", labels, sum);
        self.sample("_count", labels, count);
    }

    /// All samples of a histogram.
    pub(super) fn histogram(&mut self, labels: &[LabelPair<'_>], histogram: &Histogram) {
        for (bound, count) in histogram.cumulative() {
            self.bucket(labels, &bound, count);
        }
        self.bucket(labels, &"+Inf", histogram.count());
        self.totals(labels, histogram.sum(), histogram.count());
    }

    fn bucket(&mut self, labels: &[LabelPair<'_>], bound: &dyn Display, count: u64) {
        let labels: Vec<LabelPair<'_>> = labels.iter().copied().chain([("le", bound)]).collect();
        self.sample("_bucket", &labels, count);
    }

    fn sample(&mut self, suffix: &str, labels: &[LabelPair<'_>], value: impl Display) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        for (at, (label, text)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            // Writing to a `String` cannot fail.
            let _ = write!(self.text, "{before}{label}=\"{}\"", escaped(&text.to_string()));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{after} {value}");
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_sorted_and_complete() {
        let mut page = Page::default();
        page.metric("b_total", Kind::Counter, "Counts.").labelled(&[("a", &"x\"y\\z\n"), ("n", &7)], 3_u64);
        page.metric("c_total", Kind::Counter, "Never happened.");
        let mut histogram = Histogram::new(&[0.5, 1.0]);
        histogram.observe(0.25);
        histogram.observe(2.0);
        page.metric("a_seconds", Kind::Histogram, "Takes.").histogram(&[("m", &"GET")], &histogram);
        let want = r#"# HELP a_seconds Takes.
# TYPE a_seconds histogram
a_seconds_bucket{m="GET",le="0.5"} 1
a_seconds_bucket{m="GET",le="1"} 1
a_seconds_bucket{m="GET",le="+Inf"} 2
a_seconds_sum{m="GET"} 2.25
a_seconds_count{m="GET"} 2
# HELP b_total Counts.
# TYPE b_total counter
b_total{a="x\"y\\z\n",n="7"} 3
"#;
        assert_eq!(String::from_utf8(page.finish()).expect("text"), want);
    }
}
