//! What a run has measured, for people and for programs.

use std::fmt;

use hdrhistogram::Histogram;
use serde_json::json;

use crate::Options;
use crate::connection::Measured;

/// Percentiles that are shown.
const PERCENTILES: [f64; 6] = [50.0, 90.0, 95.0, 99.0, 99.9, 99.99];

/// The sum of all connections.
#[derive(Debug)]
pub(crate) struct Report {
    what: String,
    seconds: u64,
    latency_us: Histogram<u64>,
}

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        let Ok(latency_us) = Histogram::new(3) else { panic!("three digits are valid") };
        let what = format!(
            "{:?}, {} connections, {} under way each, {} keys in {} directories, values of {} bytes",
            options.workload,
            options.connections,
            options.pipeline,
            options.keys,
            options.directories,
            options.value_size
        );
        Self { what, seconds: options.duration, latency_us }
    }

    pub(crate) fn add(&mut self, measured: &Measured) {
        // Only a histogram that cannot grow refuses.
        let _ = self.latency_us.add(&measured.latency_us);
    }

    fn rate(&self) -> f64 {
        self.latency_us.len() as f64 / self.seconds as f64
    }

    pub(crate) fn to_json(&self) -> String {
        let percentiles: serde_json::Map<String, serde_json::Value> =
            PERCENTILES.iter().map(|p| (format!("p{p}"), json!(self.latency_us.value_at_percentile(*p)))).collect();
        json!({
            "workload": self.what,
            "seconds": self.seconds,
            "requests": self.latency_us.len(),
            "requests_per_second": self.rate(),
            "latency_us": percentiles,
            "latency_us_max": self.latency_us.max(),
            "latency_us_mean": self.latency_us.mean(),
        })
        .to_string()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        writeln!(f, "{} requests in {} s: {:.0} per second", self.latency_us.len(), self.seconds, self.rate())?;
        for p in PERCENTILES {
            writeln!(f, "  p{p:<6} {:>9} us", self.latency_us.value_at_percentile(p))?;
        }
        write!(f, "  max     {:>9} us", self.latency_us.max())
    }
}
